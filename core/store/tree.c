/* tree.c - see tree.h: the verbs that make, change and remove trees.  Looking at them is in tree_look.c,
 * adoption in tree_adopt.c. */
#include "store/tree.h"

#include "sys/file.h"
#include "sys/list.h"
#include "util/clock.h"
#include "util/kv.h"
#include "util/mem.h"
#include "util/size.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#define BLOCK_BYTES 4096
#define COPY_LIMIT_MS (24LL * 3600 * 1000)
#define REMOVE_LIMIT_MS (6LL * 3600 * 1000)
#define DEFAULT_MODE 0755 /* as mkfs leaves the root of a new file system */

enum cleat_code cleat_tree_init(struct cleat_tree *t, unsigned low_percent, struct cleat_error *err)
{
	const size_t longest = sizeof(((struct cleat_source *)0)->path) -
			       sizeof("/volumes//" CLEAT_TREE_DATA) - CLEAT_KEY_MAX_BYTES;

	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->held.lock, NULL);
	t->held.watch_fd = -1;
	t->low_percent = low_percent;
	enum cleat_code code = cleat_tree_place_find(t, err);
	if (!code && strlen(t->place.path) > longest)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "pool directory '%.*s...': its path is longer than %zu bytes",
				       cleat_text_cut(t->place.path, 100), t->place.path, longest);
	return code;
}

void cleat_tree_close(void *pool)
{
	struct cleat_tree *t = pool;

	if (t->medium && t->medium->tidy && !t->dir.id.read_only)
		t->medium->tidy(t);
	cleat_pooldir_close(&t->dir);
	cleat_tree_place_done(t);
	pthread_mutex_destroy(&t->held.lock);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* ---- records --------------------------------------------------------------------------------- */

enum cleat_code cleat_tree_draft(const struct cleat_record *wish, struct cleat_record **out,
				 struct cleat_error *err)
{
	struct cleat_record *draft = cleat_record_copy(wish);

	if (!draft)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (!draft->created_ms)
		draft->created_ms = cleat_time_wall_ms();
	draft->formatted = true; /* a directory needs no mkfs, ever */
	*out = draft;
	return CLEAT_OK;
}

static enum cleat_code set_number(struct cleat_record *rec, const char *key, uint64_t number,
				  struct cleat_error *err)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	return cleat_kv_set(&rec->attributes, key, text, err);
}

static uint64_t round_up(uint64_t bytes)
{
	if (bytes < CLEAT_TREE_MIN_BYTES)
		return CLEAT_TREE_MIN_BYTES;
	return (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

enum cleat_code cleat_tree_fill_size(const struct cleat_tree *t, struct cleat_record *rec, bool enforced,
				     struct cleat_error *err)
{
	uint64_t wish = rec->capacity_bytes;

	if (wish > INT64_MAX - BLOCK_BYTES)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE, "'%s': the size is too large", rec->name);
	enforced = enforced && t->enforces && wish > 0;
	rec->capacity_bytes = enforced ? round_up(wish) : 0;
	if (enforced)
		cleat_kv_remove(&rec->attributes, CLEAT_TREE_REQUESTED);
	else if (wish > 0 && set_number(rec, CLEAT_TREE_REQUESTED, wish, err))
		return err->code;
	return cleat_kv_set(&rec->attributes, CLEAT_TREE_ENFORCES, enforced ? "true" : "false", err);
}

enum cleat_code cleat_tree_confirm(const struct cleat_tree *t, const struct cleat_record *draft,
				   struct cleat_record **out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *stored = NULL;
	enum cleat_code code = cleat_pooldir_confirm(&t->dir, draft, &stored, err);

	*out = NULL;
	if (code || !stored)
		return code;
	const char *was = cleat_kv_get(&stored->attributes, CLEAT_TREE_REQUESTED);
	const char *is = cleat_kv_get(&draft->attributes, CLEAT_TREE_REQUESTED);
	if (was && is && strcmp(was, is) != 0)
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "'%s' exists with another capacity",
				       stored->name);
	*out = stored;
	stored = NULL;
	return CLEAT_OK;
}

/* ---- helpers of creation --------------------------------------------------------------------- */

enum cleat_code cleat_tree_open_made(int attempt_fd, int *fd_out, struct cleat_error *err)
{
	return cleat_sys_open_at(attempt_fd, CLEAT_TREE_DATA, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, fd_out,
				 err);
}

static bool owner_param(const struct cleat_record *rec, const char *key, uint32_t *out)
{
	if (!cleat_kv_get(&rec->params, key))
		return false;
	*out = (uint32_t)cleat_param_number(cleat_param_common, &rec->params, key);
	return true;
}

enum cleat_code cleat_tree_apply_owner(int data_fd, const struct cleat_record *rec, mode_t default_mode,
				       struct cleat_error *err)
{
	uint32_t uid = (uint32_t)-1, gid = (uint32_t)-1, mode = default_mode;

	bool wanted = owner_param(rec, "uid", &uid);
	wanted |= owner_param(rec, "gid", &gid);
	wanted |= owner_param(rec, "mode", &mode);
	if (!wanted && default_mode == (mode_t)-1)
		return CLEAT_OK;
	return cleat_sys_set_owner(data_fd, uid, gid, mode, rec->name, err);
}

enum cleat_code cleat_tree_admit(const struct cleat_tree *t, const char *name, uint64_t bytes,
				 struct cleat_error *err)
{
	char wanted[CLEAT_SIZE_TEXT_BYTES], left[CLEAT_SIZE_TEXT_BYTES];
	struct cleat_sys_space space;

	if (bytes == 0)
		return CLEAT_OK;
	if (cleat_sys_space(t->dir.volumes_fd, t->dir.path, &space, err))
		return err->code;
	if (bytes <= space.available_bytes)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "'%s': %s are wanted, the pool has %s left",
			       name, cleat_size_format(bytes, wanted),
			       cleat_size_format(space.available_bytes, left));
}

void cleat_tree_abandon(struct cleat_tree *t, const char *attempt)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT;

	if (t->medium->remove(t, t->dir.new_fd, attempt, &ignored))
		return; /* the sweep at the next start removes it */
}

static enum cleat_code check_wish(const struct cleat_record *rec, struct cleat_error *err)
{
	if (rec->access_type == CLEAT_ACCESS_BLOCK)
		return cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"'%s': block access needs a pool with devices; this one has directories", rec->name);
	if (*rec->fs)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "'%s': a directory takes no file system, and '%s' was given",
				       rec->name, rec->fs);
	return CLEAT_OK;
}

/* A clone is as large as its source unless more is wanted. */
static enum cleat_code clone_size(struct cleat_record *draft, const struct cleat_record *source,
				  struct cleat_error *err)
{
	if (draft->capacity_bytes == 0)
		draft->capacity_bytes = source->capacity_bytes;
	if (draft->capacity_bytes < source->capacity_bytes)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE,
				       "'%s': a clone cannot be smaller than its source (%llu bytes)",
				       draft->name, (unsigned long long)source->capacity_bytes);
	return CLEAT_OK;
}

/* Fills the attempt and lets it appear. */
static enum cleat_code make_or_copy(struct cleat_tree *t, struct cleat_op *op,
				    const struct cleat_record *source, bool in_use, int attempt_fd,
				    struct cleat_record *draft, struct cleat_error *err)
{
	cleat_autoclose int source_fd = -1;
	cleat_autoclose int data_fd = -1;
	bool fresh = !source;

	if (fresh && t->medium->make(t, attempt_fd, draft, err))
		return err->code;
	if (!fresh) {
		cleat_op_step(op, draft->kind == CLEAT_KIND_SNAPSHOT ? "snapshot" : "copy data",
			      COPY_LIMIT_MS);
		if (cleat_tree_open_data(t, source, O_RDONLY | O_DIRECTORY, &source_fd, err) ||
		    t->medium->copy(t, op, source_fd, in_use, attempt_fd, draft, err))
			return err->code;
	}
	if (draft->kind == CLEAT_KIND_SNAPSHOT) /* read-only, and just like its source */
		return CLEAT_OK;
	if (cleat_tree_open_made(attempt_fd, &data_fd, err))
		return err->code;
	return cleat_tree_apply_owner(data_fd, draft, fresh ? DEFAULT_MODE : (mode_t)-1, err);
}

/* A snapshot cannot grow, so it is promised nothing. */
static uint64_t promise_of(const struct cleat_record *rec)
{
	return rec->kind == CLEAT_KIND_VOLUME ? rec->capacity_bytes : 0;
}

/* A new volume, a clone or a snapshot: draft becomes *out, the stored record. */
static enum cleat_code build(struct cleat_tree *t, struct cleat_op *op, const struct cleat_record *source,
			     bool in_use, struct cleat_record **draft, struct cleat_record **out,
			     struct cleat_error *err)
{
	cleat_autofree char *attempt = NULL;
	cleat_autoclose int attempt_fd = -1;

	enum cleat_code code = cleat_pooldir_begin(&t->dir, (*draft)->key, &attempt, &attempt_fd, err);
	if (code)
		return code;
	code = make_or_copy(t, op, source, in_use, attempt_fd, *draft, err);
	if (!code)
		code = cleat_pooldir_prepare(&t->dir, attempt_fd, *draft, err);
	if (!code)
		code = cleat_pooldir_appear(&t->dir, attempt, (*draft)->key, err);
	if (code) {
		cleat_tree_abandon(t, attempt);
		return code;
	}
	atomic_fetch_add(&t->promised_bytes, promise_of(*draft));
	*out = cleat_steal(*draft);
	return CLEAT_OK;
}

/* ---- verbs ----------------------------------------------------------------------------------- */

enum cleat_code cleat_tree_create(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				  const struct cleat_record *source, const struct cleat_where *where,
				  struct cleat_record **rec_out, struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	cleat_autorecord struct cleat_record *draft = NULL;
	cleat_autorecord struct cleat_record *stored = NULL;
	struct cleat_error own = CLEAT_ERROR_INIT;
	bool in_use = where && where->stage_path;

	err = err ? err : &own;
	if (check_wish(rec, err) || cleat_tree_draft(rec, &draft, err) ||
	    (source && clone_size(draft, source, err)))
		return err->code;
	draft->clone = source != NULL;
	uint64_t wanted = draft->capacity_bytes;
	if (cleat_tree_fill_size(t, draft, true, err) || cleat_tree_confirm(t, draft, &stored, err))
		return err->code;
	if (!stored && (cleat_tree_admit(t, rec->name, wanted, err) ||
			build(t, op, source, in_use, &draft, &stored, err)))
		return err->code;
	*rec_out = stored;
	stored = NULL;
	return CLEAT_OK;
}

enum cleat_code cleat_tree_snapshot(void *pool, struct cleat_op *op,
				    const struct cleat_record *const *sources,
				    const struct cleat_where *wheres, const struct cleat_record *const *recs,
				    size_t count, struct cleat_record **recs_out, struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	cleat_autorecord struct cleat_record *draft = NULL;
	cleat_autorecord struct cleat_record *stored = NULL;
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	if (!(t->medium->capabilities & CLEAT_CAN_SNAPSHOT))
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "pool '%s' (%s) has no snapshots",
				       t->dir.id.stored_name, t->medium->name);
	if (count != 1)
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED,
				       "pool '%s' cannot take snapshots of several volumes at one moment",
				       t->dir.id.stored_name);
	if (cleat_tree_draft(recs[0], &draft, err))
		return err->code;
	draft->kind = CLEAT_KIND_SNAPSHOT;
	draft->capacity_bytes = sources[0]->capacity_bytes;
	if (cleat_tree_fill_size(t, draft, true, err) || cleat_tree_confirm(t, draft, &stored, err))
		return err->code;
	if (!stored && build(t, op, sources[0], wheres && wheres[0].stage_path, &draft, &stored, err))
		return err->code;
	recs_out[0] = stored;
	stored = NULL;
	return CLEAT_OK;
}

enum cleat_code cleat_tree_update(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				  struct cleat_error *err)
{
	struct cleat_tree *t = pool;

	(void)op;
	return cleat_pooldir_update(&t->dir, rec, err);
}

/* Without a limit there is nothing to grow; the wish is remembered. */
static enum cleat_code note_wish(struct cleat_tree *t, struct cleat_record **draft, uint64_t bytes,
				 struct cleat_record **out, struct cleat_error *err)
{
	const char *was = cleat_kv_get(&(*draft)->attributes, CLEAT_TREE_REQUESTED);
	uint64_t before = 0;

	if (was && cleat_size_parse(was, &before, NULL))
		before = 0;
	if (bytes > before && (set_number(*draft, CLEAT_TREE_REQUESTED, bytes, err) ||
			       cleat_pooldir_update(&t->dir, *draft, err)))
		return err->code;
	*out = cleat_steal(*draft);
	return CLEAT_OK;
}

/* The limit first: if this is cut off, the volume may hold more than its record says until the call is
 * repeated or it is mapped again. */
static enum cleat_code raise_limit(struct cleat_tree *t, int data_fd, struct cleat_record **draft,
				   uint64_t bytes, struct cleat_record **out, struct cleat_error *err)
{
	uint64_t before = (*draft)->capacity_bytes, used = 0;

	if (before == 0 && t->medium->used(t, data_fd, *draft, &used, NULL) == CLEAT_OK && used > bytes)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE,
				       "'%s' holds %llu bytes already, more than the limit wanted",
				       (*draft)->name, (unsigned long long)used);
	(*draft)->capacity_bytes = bytes > before ? bytes : before;
	if (cleat_tree_fill_size(t, *draft, true, err))
		return err->code;
	uint64_t now = (*draft)->capacity_bytes;
	if ((now > before && cleat_tree_admit(t, (*draft)->name, now - before, err)) ||
	    t->medium->limit(t, data_fd, *draft, now, err) ||
	    (now > before && cleat_pooldir_update(&t->dir, *draft, err)))
		return err->code;
	atomic_fetch_add(&t->promised_bytes, now - before);
	*out = cleat_steal(*draft);
	return CLEAT_OK;
}

enum cleat_code cleat_tree_expand(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				  uint64_t bytes, const struct cleat_where *where,
				  struct cleat_record **rec_out, struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	cleat_autorecord struct cleat_record *draft = NULL;
	cleat_autoclose int data_fd = -1;
	struct cleat_error own = CLEAT_ERROR_INIT;

	(void)op;
	(void)where;
	err = err ? err : &own;
	if (rec->kind == CLEAT_KIND_SNAPSHOT)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is a snapshot: it cannot grow",
				       rec->name);
	if (bytes > INT64_MAX - BLOCK_BYTES)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE, "'%s': the size is too large", rec->name);
	if (cleat_tree_open_data(t, rec, O_RDONLY | O_DIRECTORY, &data_fd, err) ||
	    cleat_tree_draft(rec, &draft, err))
		return err->code;
	if (!t->enforces || !t->medium->can_limit(t, data_fd, rec))
		return note_wish(t, &draft, bytes, rec_out, err);
	return raise_limit(t, data_fd, &draft, bytes, rec_out, err);
}

/* ---- removal --------------------------------------------------------------------------------- */

struct leftovers {
	struct cleat_tree *t;
	const char *key;
	enum cleat_code code;
	struct cleat_error *err;
};

static bool purge_leftover(const char *name, unsigned char type, void *arg)
{
	struct leftovers *l = arg;
	size_t n = strlen(l->key);

	(void)type;
	if (strncmp(name, l->key, n) != 0 || name[n] != '.')
		return true;
	l->code = l->t->medium->remove(l->t, l->t->dir.trash_fd, name, l->err);
	return l->code == CLEAT_OK;
}

/* A deletion that came as far as the trash before: what could not be removed then is tried again, so that a
 * repeated call tells again. */
static enum cleat_code purge_leftovers(struct cleat_tree *t, const char *key, struct cleat_error *err)
{
	struct leftovers l = { t, key, CLEAT_OK, err };
	enum cleat_code code = cleat_sys_list(t->dir.trash_fd, ".", purge_leftover, &l, err);

	return code ? code : l.code;
}

enum cleat_code cleat_tree_remove(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				  struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	cleat_autofree char *trash = NULL;
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	if (cleat_tree_check_unmounted(t, rec, err) || cleat_pooldir_discard(&t->dir, rec->key, &trash, err))
		return err->code;
	if (!trash)
		return purge_leftovers(t, rec->key, err);
	atomic_fetch_sub(&t->promised_bytes, promise_of(rec));
	cleat_op_step(op, "remove data", REMOVE_LIMIT_MS);
	if (t->medium->remove(t, t->dir.trash_fd, trash, err))
		return cleat_error_wrap(err, "'%.*s' is deleted, but its space is not free yet",
					cleat_text_cut(rec->name, 60), rec->name);
	return CLEAT_OK;
}

/* ---- recovery -------------------------------------------------------------------------------- */

struct recovery {
	struct cleat_tree *t;
	cleat_report_fn report;
	void *report_arg;
};

static enum cleat_code remove_swept(int parent_fd, const char *name, void *arg, struct cleat_error *err)
{
	struct recovery *r = arg;
	cleat_autofree char *from = NULL;
	char line[300];

	if (parent_fd == r->t->dir.new_fd && cleat_tree_adopt_undo(r->t, name, &from, err))
		return err->code;
	if (from && r->report) {
		snprintf(line, sizeof(line), "directory put back to '%.*s': its adoption was not finished",
			 cleat_text_cut(from, 200), from);
		r->report(line, r->report_arg);
	}
	return r->t->medium->remove(r->t, parent_fd, name, err);
}

enum cleat_code cleat_tree_leftovers(void *pool, bool (*in_use)(const char *key, void *arg),
				     cleat_report_fn report, void *arg, struct cleat_error *err)
{
	const struct cleat_tree *t = pool;

	(void)in_use;
	return cleat_pooldir_leftovers(&t->dir, report, arg, err);
}

enum cleat_code cleat_tree_recover(void *pool, bool (*in_use)(const char *key, void *arg),
				   cleat_report_fn report, void *arg, struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	struct recovery r = { t, report, arg };
	struct cleat_error own = CLEAT_ERROR_INIT;

	(void)in_use;
	enum cleat_code code = cleat_pooldir_sweep(&t->dir, remove_swept, &r, report, arg, err ? err : &own);
	if (!code && t->medium->recover)
		t->medium->recover(t);
	return code;
}
