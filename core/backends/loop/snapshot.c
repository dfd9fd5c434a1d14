/* snapshot.c - snapshots: an image of one moment, sharing blocks with its volume; several of the same moment
 * as a group. */
#include "backends/loop/loop.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "sys/file.h"
#include "sys/guardian.h"
#include "sys/spawn.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/kv.h"
#include "util/mem.h"

#define FREEZE_LIMIT_MS 5000
#define FREEZE_STEP_MS (90 * 1000)

/* One call for all its volumes. */
struct shot {
	struct loop_pool *pool;
	size_t count;
	const struct cleat_record *const *sources;
	const struct cleat_where *wheres;
	struct cleat_record *planned[LOOP_GROUP_MAX];
	struct cleat_record *existing[LOOP_GROUP_MAX];
	struct loop_attempt attempts[LOOP_GROUP_MAX];
	int images[LOOP_GROUP_MAX]; /* of the sources */
	int mounts[LOOP_GROUP_MAX]; /* of those that are to be frozen */
	size_t mount_count;
};

static void shot_done(struct shot *s)
{
	for (size_t i = 0; i < s->count; i++) {
		loop_attempt_done(&s->attempts[i]);
		cleat_record_unref(s->planned[i]);
		cleat_record_unref(s->existing[i]);
		cleat_cleanup_close(&s->images[i]);
	}
	for (size_t i = 0; i < s->mount_count; i++)
		cleat_cleanup_close(&s->mounts[i]);
	free(s);
}

static void shot_cleanup(struct shot **s)
{
	if (*s)
		shot_done(*s);
}

static struct shot *shot_new(struct loop_pool *pool, const struct cleat_record *const *sources,
			     const struct cleat_where *wheres, size_t count)
{
	struct shot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->pool = pool;
	s->count = count;
	s->sources = sources;
	s->wheres = wheres;
	for (size_t i = 0; i < count; i++) {
		s->attempts[i] = (struct loop_attempt)LOOP_ATTEMPT_INIT;
		s->images[i] = -1;
	}
	return s;
}

/* ---- what is to be made ---- */

static enum cleat_code plan_one(const struct loop_pool *pool, const struct cleat_record *source,
				const struct cleat_record *wish, struct cleat_record **out,
				struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = cleat_record_copy(wish);

	if (!rec)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	rec->kind = CLEAT_KIND_SNAPSHOT;
	rec->capacity_bytes = source->capacity_bytes;
	if (rec->created_ms == 0)
		rec->created_ms = cleat_time_wall_ms();
	enum cleat_code code = loop_inherit(pool, source, rec, err);
	if (!code)
		*out = cleat_steal(rec);
	return code;
}

/* *done_out: all of them are there already. */
static enum cleat_code plan(struct shot *s, const struct cleat_record *const *recs, bool *done_out,
			    struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;
	size_t there = 0;

	for (size_t i = 0; i < s->count && !code; i++) {
		code = plan_one(s->pool, s->sources[i], recs[i], &s->planned[i], err);
		if (!code)
			code = cleat_pooldir_confirm(&s->pool->dir, s->planned[i], &s->existing[i], err);
		there += s->existing[i] != NULL;
	}
	if (!code && there > 0 && there < s->count)
		code = cleat_error_set(err, CLEAT_ALREADY_EXISTS,
				       "%zu of the %zu snapshots exist already: '%s' is incomplete", there,
				       s->count, recs[0]->group);
	*done_out = there == s->count;
	return code;
}

/* With shared blocks the source may come to need as much again as it has; a copy takes as much as there is to
 * copy. */
static uint64_t cost(struct loop_pool *pool, const struct cleat_record *source)
{
	if (pool->reflink &&
	    (source->kind == CLEAT_KIND_SNAPSHOT || loop_book_shared(&pool->book, source->key)))
		return 0;
	return loop_allocated(pool, source->key);
}

static enum cleat_code begin(struct shot *s, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	for (size_t i = 0; i < s->count && !code; i++) {
		code = loop_open_image(s->pool, s->sources[i], O_RDONLY, &s->images[i], err);
		if (!code)
			code = loop_attempt_begin(s->pool, s->planned[i], cost(s->pool, s->sources[i]),
						  &s->attempts[i], err);
	}
	return code;
}

/* ---- taking ---- */

static enum cleat_code sync_all(struct shot *s, struct cleat_op *op, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	for (size_t i = 0; i < s->count && !code; i++)
		code = loop_sync_source(s->pool, op, s->sources[i], &s->wheres[i], s->images[i], err);
	return code;
}

static enum cleat_code fill_all(struct shot *s, struct cleat_op *op, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	for (size_t i = 0; i < s->count && !code; i++)
		code = loop_fill(s->pool, op, s->images[i], s->attempts[i].image_fd, s->planned[i]->name,
				 err);
	return code;
}

/* Mounted volumes can be held still; of raw devices in use only one may be among them, which then is the
 * moment. */
static enum cleat_code open_mounts(struct shot *s, struct cleat_error *err)
{
	size_t raw = 0;

	for (size_t i = 0; i < s->count; i++) {
		const char *path = s->wheres[i].stage_path;
		bool block = s->sources[i]->access_type == CLEAT_ACCESS_BLOCK;
		raw += block && (path || s->wheres[i].device);
		if (raw > 1)
			return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
					       "'%s' is a block volume in use: only one such can be part of "
					       "a group snapshot",
					       s->sources[i]->name);
		if (block || !path || s->sources[i]->kind == CLEAT_KIND_SNAPSHOT)
			continue;
		enum cleat_code code = cleat_sys_open_root(path, &s->mounts[s->mount_count], err);
		if (code)
			return code;
		s->mount_count++;
	}
	return CLEAT_OK;
}

static enum cleat_code take_frozen(struct shot *s, struct cleat_op *op, struct cleat_error *err)
{
	char program[CLEAT_ERROR_TEXT_BYTES];
	struct cleat_error inner = CLEAT_ERROR_INIT;
	struct cleat_guardian guardian;
	enum cleat_code code = loop_guardian_path(program, sizeof(program), err);

	if (code)
		return code;
	cleat_op_step(op, "freeze and clone", FREEZE_STEP_MS);
	code = cleat_sys_guardian_freeze(program, s->mounts, s->mount_count, FREEZE_LIMIT_MS, &guardian, err);
	if (code)
		return code;
	code = fill_all(s, NULL, err);
	enum cleat_code thawed = cleat_sys_guardian_thaw(&guardian, &inner);
	if (!code && thawed) {
		code = thawed;
		if (err)
			*err = inner;
	}
	return code;
}

static enum cleat_code take(struct shot *s, struct cleat_op *op, struct cleat_error *err)
{
	enum cleat_code code = sync_all(s, op, err);

	if (!code && s->count > 1 && s->pool->reflink)
		code = open_mounts(s, err);
	if (code)
		return code;
	return s->mount_count > 0 ? take_frozen(s, op, err) : fill_all(s, op, err);
}

enum cleat_code loop_snapshot(void *arg, struct cleat_op *op, const struct cleat_record *const *sources,
			      const struct cleat_where *wheres, const struct cleat_record *const *recs,
			      size_t count, struct cleat_record **recs_out, struct cleat_error *err)
{
	bool done = false;
	enum cleat_code code;

	if (count == 0 || count > LOOP_GROUP_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "%zu snapshots at once: 1 to %d are possible", count, LOOP_GROUP_MAX);
	__attribute__((cleanup(shot_cleanup))) struct shot *s = shot_new(arg, sources, wheres, count);
	if (!s)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	code = plan(s, recs, &done, err);
	if (!code && !done)
		code = begin(s, err);
	if (!code && !done)
		code = take(s, op, err);
	cleat_op_step(op, "commit", LOOP_STEP_MS);
	if (!code && !done)
		code = loop_group_commit(s->pool, s->attempts, s->planned, count, err);
	for (size_t i = 0; i < count && !code; i++)
		recs_out[i] = done ? cleat_steal(s->existing[i]) : cleat_steal(s->planned[i]);
	return code;
}
