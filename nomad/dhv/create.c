/* create.c - the volume is there and mounted: for the first time, again, or larger.
 *
 * Nomad calls create to make a volume, to have it back after every start of the agent, and to change it, and
 * does not say which.  What is found decides.  The rules:
 *
 * - Nomad's id of the volume is the key; it is a label of the volume, and the name of the record.
 * - A request that the record says was fulfilled changes nothing: the volume is mounted if it is not, and
 * that is all. While it is mounted the answer does not depend on the daemon: an error would stop the tasks
 * that use the volume.
 * - A volume that was handed out once is never replaced by a new one: if it is gone, that is the answer.
 * - Nomad forgets a volume whose first create fails, and asks with another id when the user tries again.  So
 * what such a create leaves is marked until Nomad has been given it, and is taken up or removed by the next
 * create of that name on this node: Nomad's agent runs only one create of a name at a time.
 */
#include "dhv/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhv/files.h"
#include "dhv/record.h"
#include "dhv/volume.h"
#include "dhv/wish.h"
#include "util/mem.h"
#include "util/text.h"

#define MOUNTED_WHOLE_MS 10000 /* a daemon that is up but busy */
#define SUFFIX_BYTES 9	       /* a dot and eight digits of Nomad's id */

struct work {
	struct dhv_context *c;
	const struct dhv_request *r;
	struct dhv_wish wish;
	struct dhv_daemon daemon;
	struct dhv_record rec;
	bool known;	/* rec is there */
	bool fulfilled; /* ... and of this very request */
	bool mounted;	/* ... and its path is */
	struct dhv_volume v;
	bool made; /* by this very call */
	char *path;
};

static void work_done(struct work *w)
{
	dhv_wish_done(&w->wish);
	dhv_daemon_close(&w->daemon);
	dhv_record_done(&w->rec);
	dhv_volume_done(&w->v);
	free(w->path);
}

static void forget_error(struct cleat_error *err)
{
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
}

static void look_at_record(struct work *w)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	w->known = dhv_record_load(w->r, &w->rec, &err) == CLEAT_OK;
	if (err.code && err.code != CLEAT_NOT_FOUND)
		dhv_warn(w->c, "%s: the volume is looked for by its label", err.msg);
	w->fulfilled = w->known && dhv_record_is_of(&w->rec, w->r);
	w->mounted = w->fulfilled && dhv_is_mounted(w->rec.path);
}

/* ---- a volume that is there ---- */

static enum cleat_code check_owner(const struct work *w, struct cleat_error *err)
{
	if (strcmp(w->v.owner, w->r->id) == 0)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "volume '%s' of Cleat belongs to %s%s now",
			       w->v.id, *w->v.owner ? "Nomad's volume " : "no volume of Nomad", w->v.owner);
}

/* The parameters that the volume does not have as the specification says now. */
static enum cleat_code changed_params(const struct work *w, const struct cleat_kvs *wanted,
				      struct cleat_kvs *out, struct cleat_error *err)
{
	for (size_t i = 0; i < wanted->count; i++) {
		const char *key = wanted->items[i].key, *value = wanted->items[i].value;
		const bool fs = strcmp(key, "fs") == 0;
		const char *has = fs && *w->v.fs ? w->v.fs : cleat_kv_get(&w->v.params, key);

		if (has && strcmp(has, value) == 0)
			continue;
		if (fs)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "parameter 'fs': value '%.40s': the volume has '%s' already",
					       value, *w->v.fs ? w->v.fs : "directories");
		if (cleat_kv_set(out, key, value, err))
			return err->code;
	}
	return CLEAT_OK;
}

/* One at a time, so that a refusal names parameter and value. */
static enum cleat_code change_params(struct work *w, const struct cleat_kvs *changed, struct cleat_error *err)
{
	for (size_t i = 0; i < changed->count; i++) {
		const struct cleat_kvs one = { .items = &changed->items[i], .count = 1 };

		if (dhv_volume_modify(&w->daemon, &w->v, &one, NULL, err))
			return cleat_error_wrap(err, "parameter '%s': value '%.100s'", changed->items[i].key,
						changed->items[i].value);
	}
	return CLEAT_OK;
}

/* Only what the specification itself says: the plugin's defaults are for new volumes. */
static enum cleat_code apply_params(struct work *w, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs changed = { 0 };
	struct dhv_wish own = { 0 };

	if (dhv_wish_read(&w->r->params, NULL, &own, err))
		return err->code;
	if (changed_params(w, &own.params, &changed, err) == CLEAT_OK)
		(void)!change_params(w, &changed, err);
	dhv_wish_done(&own);
	return err->code;
}

/* A file system that cannot grow while it is mounted grows when it is mounted again.  Nomad changes only what
 * no allocation uses; if somebody does, the plain unmount refuses, and it grows another time. */
static enum cleat_code mount_again(struct work *w, struct cleat_error *err)
{
	if (dhv_volume_unpublish(&w->daemon, &w->v, err) == CLEAT_OK || w->daemon.unreachable)
		return err->code;
	dhv_warn(w->c, "the file system of '%s' grows when it is next mounted: %s", w->v.id, err->msg);
	forget_error(err);
	return CLEAT_OK;
}

/* Nomad itself refuses a capacity_max below what the volume has; one that was grown by hand since is as good.
 */
static enum cleat_code grow(struct work *w, struct cleat_error *err)
{
	bool at_next_stage = false;

	if (w->r->min_bytes <= w->v.bytes)
		return CLEAT_OK;
	if (dhv_volume_expand(&w->daemon, &w->v, w->r->min_bytes, w->r->max_bytes, &at_next_stage, err))
		return err->code;
	return at_next_stage && w->v.claim_count ? mount_again(w, err) : CLEAT_OK;
}

/* Handed out before: as the request says, or as it was. */
static enum cleat_code have_again(struct work *w, struct cleat_error *err)
{
	enum cleat_code code = dhv_volume_find(&w->daemon, w->r, w->rec.volume, w->rec.scope, &w->v, err);

	if (code == CLEAT_NOT_FOUND)
		return cleat_error_set(
			err, CLEAT_NOT_FOUND,
			"volume '%s' of Cleat, which held the data, is gone; nothing was created instead: "
			"delete the volume in Nomad, or bring its pool back",
			w->rec.volume);
	if (code || check_owner(w, err) || w->fulfilled)
		return err->code;
	if (apply_params(w, err))
		return err->code;
	return grow(w, err);
}

/* ---- a volume that was there before Nomad ---- */

static enum cleat_code check_free(const struct work *w, struct cleat_error *err)
{
	if (*w->v.owner && w->v.claim_count)
		return cleat_error_set(
			err, CLEAT_FAILED_PRECONDITION,
			"parameter 'volume': value '%.100s': it is in use by Nomad's volume %s",
			w->wish.volume, w->v.owner);
	if (w->r->max_bytes && w->v.bytes > w->r->max_bytes)
		return cleat_error_set(
			err, CLEAT_OUT_OF_RANGE,
			"parameter 'volume': value '%.100s': it has %llu bytes, more than capacity_max, %llu",
			w->wish.volume, (unsigned long long)w->v.bytes, (unsigned long long)w->r->max_bytes);
	return CLEAT_OK;
}

static enum cleat_code put_labels(struct work *w, bool taken, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs labels = { 0 };

	if (cleat_kv_set(&labels, DHV_LABEL_VOLUME, w->r->id, err) ||
	    cleat_kv_set(&labels, DHV_LABEL_NODE, w->r->node, err) ||
	    (taken && cleat_kv_set(&labels, DHV_LABEL_TAKEN, "true", err)))
		return err->code;
	return dhv_volume_modify(&w->daemon, &w->v, NULL, &labels, err);
}

static enum cleat_code reference(struct work *w, char out[DHV_NAME_BYTES + 64], struct cleat_error *err)
{
	char pool[64];

	snprintf(out, DHV_NAME_BYTES + 64, "%s", w->wish.volume);
	if (strpbrk(w->wish.volume, "/."))
		return CLEAT_OK;
	if (w->wish.pool)
		snprintf(pool, sizeof(pool), "%s", w->wish.pool);
	else if (dhv_default_pool(&w->daemon, pool, err))
		return err->code;
	snprintf(out, DHV_NAME_BYTES + 64, "%s/%s", pool, w->wish.volume);
	return CLEAT_OK;
}

static enum cleat_code take_existing(struct work *w, struct cleat_error *err)
{
	char ref[DHV_NAME_BYTES + 64];

	if (reference(w, ref, err))
		return err->code;
	if (dhv_volume_get(&w->daemon, ref, w->r->namespace, &w->v, err))
		return cleat_error_wrap(err, "parameter 'volume'");
	const bool mine = strcmp(w->v.owner, w->r->id) == 0;
	if ((!mine && check_free(w, err)) || apply_params(w, err) || grow(w, err))
		return err->code;
	return mine ? CLEAT_OK : put_labels(w, true, err);
}

/* ---- a new volume ---- */

/* Made for a create that Nomad has forgotten, and used by nobody. */
static bool is_left_over(const struct work *w, const struct dhv_volume *v)
{
	return v->unfinished && strcmp(v->node, w->r->node) == 0 && strcmp(v->owner, w->r->id) != 0;
}

/* The record of an id that Nomad has forgotten. */
static void forget_record(const struct work *w, const char *id)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT;

	if (dhv_is_id(id))
		(void)!dhv_record_remove(w->r->volumes_dir, id, &ignored);
}

static enum cleat_code remove_left_over(struct work *w, const struct dhv_volume *v, struct cleat_error *err)
{
	dhv_warn(w->c, "volume '%s' of Cleat was left by a create that did not end: removed", v->id);
	if (dhv_volume_unpublish(&w->daemon, v, err) || dhv_volume_delete(&w->daemon, v, err))
		return err->code;
	forget_record(w, v->owner);
	return CLEAT_OK;
}

/* What has the name: a left-over goes.  *free_out says that the name is free now. */
static enum cleat_code clear_name(struct work *w, const char *pool, const char *name, bool *free_out,
				  struct cleat_error *err)
{
	struct dhv_volume dhv_autovolume v = { 0 };
	char ref[DHV_NAME_BYTES + 64];

	snprintf(ref, sizeof(ref), "%s/%s", pool, name);
	enum cleat_code code = dhv_volume_get(&w->daemon, ref, w->r->namespace, &v, err);
	*free_out = code == CLEAT_NOT_FOUND || (code == CLEAT_OK && is_left_over(w, &v));
	if (code == CLEAT_NOT_FOUND)
		forget_error(err);
	else if (*free_out)
		(void)!remove_left_over(w, &v, err);
	return err->code;
}

/* A volume that was asked for with the very same words: it is taken up. */
static enum cleat_code take_up(struct work *w, struct cleat_error *err)
{
	char before[DHV_ID_BYTES];

	snprintf(before, sizeof(before), "%s", w->v.owner);
	if (put_labels(w, false, err))
		return err->code;
	dhv_warn(w->c, "volume '%s' of Cleat was left by a create that did not end: taken up", w->v.id);
	forget_record(w, before);
	return CLEAT_OK;
}

/* *mine_out: false when the name belongs to another volume. */
static enum cleat_code make_named(struct work *w, const char *pool, const char *name, bool *mine_out,
				  struct cleat_error *err)
{
	bool already = false, is_free = false;
	enum cleat_code code =
		dhv_volume_create(&w->daemon, w->r, &w->wish, pool, name, &w->v, &already, err);

	*mine_out = false;
	if (code == CLEAT_ALREADY_EXISTS) { /* with other words */
		forget_error(err);
		if (clear_name(w, pool, name, &is_free, err) || !is_free)
			return err->code;
		code = dhv_volume_create(&w->daemon, w->r, &w->wish, pool, name, &w->v, &already, err);
	}
	if (code || (already && is_left_over(w, &w->v) && take_up(w, err)))
		return err->code;
	w->made = !already;
	*mine_out = strcmp(w->v.owner, w->r->id) == 0;
	return CLEAT_OK;
}

static enum cleat_code make(struct work *w, struct cleat_error *err)
{
	char pool[64], name[DHV_NAME_BYTES];
	bool mine = false;

	snprintf(pool, sizeof(pool), "%s", w->wish.pool ? w->wish.pool : "");
	if (!*pool && dhv_default_pool(&w->daemon, pool, err))
		return err->code;
	if (make_named(w, pool, w->r->name, &mine, err) || mine)
		return err->code;
	/* The name is taken by a volume that has nothing to do with this one. */
	snprintf(name, sizeof(name), "%.*s.%.8s",
		 cleat_text_cut(w->r->name, DHV_NAME_BYTES - 1 - SUFFIX_BYTES), w->r->name, w->r->id);
	dhv_warn(w->c,
		 "pool '%s' has a volume '%s' already, which is not this one: it is called '%s' in Cleat",
		 pool, w->r->name, name);
	if (make_named(w, pool, name, &mine, err) || mine)
		return err->code;
	return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "pool '%s' has volumes '%s' and '%s' already", pool,
			       w->r->name, name);
}

/* Nothing is recorded: most likely it is new, but its label decides. */
static enum cleat_code have(struct work *w, struct cleat_error *err)
{
	if (w->wish.volume)
		return take_existing(w, err);
	enum cleat_code code = dhv_volume_find_label(&w->daemon, w->r, &w->v, err);
	if (code == CLEAT_NOT_FOUND) {
		forget_error(err);
		return make(w, err);
	}
	if (code || apply_params(w, err))
		return err->code;
	return grow(w, err);
}

/* ---- all of it ---- */

/* With another access mode or other options than now: as it is when the request is the old one, and anew when
 * it is not. */
static enum cleat_code publish_differently(struct work *w, struct cleat_error *err)
{
	if (w->known && !w->fulfilled) {
		forget_error(err);
		if (dhv_volume_unpublish(&w->daemon, &w->v, err))
			return err->code;
		return dhv_volume_publish(&w->daemon, &w->v, w->r, &w->wish, &w->path, err);
	}
	struct cleat_error second = CLEAT_ERROR_INIT;
	if (dhv_volume_claims(&w->daemon, &w->v, &w->path, NULL, &second) || !w->path)
		return err->code;
	dhv_warn(w->c, "%s: left as it is", err->msg);
	forget_error(err);
	return CLEAT_OK;
}

static enum cleat_code publish(struct work *w, struct cleat_error *err)
{
	enum cleat_code code = dhv_volume_publish(&w->daemon, &w->v, w->r, &w->wish, &w->path, err);

	return code == CLEAT_ALREADY_EXISTS ? publish_differently(w, err) : code;
}

/* A record that cannot be written makes later starts less robust, not this one wrong. */
static void note(struct work *w)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	/* Borrows everything. */
	struct dhv_record rec = { .format = DHV_RECORD_FORMAT,
				  .volume = w->v.id,
				  .scope = w->v.scope,
				  .path = w->path,
				  .bytes = w->v.bytes,
				  .min_bytes = w->r->min_bytes,
				  .max_bytes = w->r->max_bytes,
				  .params = w->r->params };
	rec.name = cleat_pb_text(w->r->name);
	if (w->known && w->rec.format > DHV_RECORD_FORMAT)
		return; /* of a newer release: not ours to shorten */
	if (w->fulfilled && w->rec.bytes == rec.bytes && strcmp(w->rec.path, rec.path) == 0 &&
	    strcmp(w->rec.volume, rec.volume) == 0)
		return;
	if (dhv_record_save(w->r, &rec, &err))
		dhv_warn(w->c, "%s", err.msg);
}

static enum cleat_code finish(struct work *w, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs labels = { 0 };

	note(w);
	if (!w->v.unfinished)
		return CLEAT_OK;
	if (cleat_kv_set(&labels, DHV_LABEL_UNFINISHED, "", err))
		return err->code;
	return dhv_volume_modify(&w->daemon, &w->v, NULL, &labels, err);
}

/* What this very call made, and cannot hand out: Nomad will not ask for it again. */
static void undo(struct work *w)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT; /* the next create of that name finds the mark */

	if (!w->made || !w->v.unfinished)
		return;
	w->daemon.patience_until_ms = 0;
	if (dhv_volume_unpublish(&w->daemon, &w->v, &ignored) == CLEAT_OK)
		(void)!dhv_volume_delete(&w->daemon, &w->v, &ignored);
	(void)!dhv_record_remove(w->r->volumes_dir, w->r->id, &ignored);
}

static enum cleat_code serve(struct work *w, struct cleat_error *err)
{
	const struct dhv_limits *l = w->c->limits;
	const int64_t patience_ms = w->mounted ? l->mounted_ms : w->known ? l->known_ms : l->new_ms;
	const int64_t whole_ms =
		w->mounted && l->whole_ms > MOUNTED_WHOLE_MS ? MOUNTED_WHOLE_MS : l->whole_ms;

	if (dhv_wish_read(&w->r->params, &w->c->settings->defaults, &w->wish, err) ||
	    dhv_daemon_open(w->c->settings->socket, patience_ms, whole_ms, &w->daemon, err))
		return err->code;
	w->daemon.needs_no_space = w->fulfilled;
	if (w->known ? have_again(w, err) : have(w, err))
		return err->code;
	if (publish(w, err) || finish(w, err))
		undo(w);
	w->c->unreachable = w->daemon.unreachable;
	return err->code;
}

/* Tasks use what is mounted; an error would stop them, and mend nothing. */
static enum cleat_code answer_from_record(struct work *w, struct dhv_answer *answer, struct cleat_error *err)
{
	dhv_warn(w->c, "'%s' is mounted at '%s', as recorded; the daemon could not be asked: %s",
		 w->rec.volume, w->rec.path, err->msg);
	forget_error(err);
	w->c->unreachable = false;
	*answer = (struct dhv_answer){ .path = cleat_steal(w->rec.path), .bytes = w->rec.bytes };
	return CLEAT_OK;
}

enum cleat_code dhv_create(struct dhv_context *c, struct dhv_answer *answer, struct cleat_error *err)
{
	struct work w = { .c = c, .r = c->request };

	look_at_record(&w);
	if (serve(&w, err) == CLEAT_OK)
		*answer = (struct dhv_answer){ .path = cleat_steal(w.path), .bytes = w.v.bytes };
	else if (w.mounted)
		(void)!answer_from_record(&w, answer, err);
	c->unreachable |= err->code && w.daemon.unreachable;
	work_done(&w);
	return err->code;
}
