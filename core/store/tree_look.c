/* tree_look.c - see tree.h: the verbs that look at trees or hand them out, and change nothing but limits. */
#include "store/tree.h"

#include "sys/file.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#define TREE_CAN                                                                                             \
	(CLEAT_CAN_MOUNT | CLEAT_CAN_CLONE | CLEAT_CAN_EXPAND | CLEAT_CAN_EXPAND_ONLINE | CLEAT_CAN_ADOPT)
#define DATA_PATH_BYTES (CLEAT_KEY_MAX_BYTES + sizeof("/" CLEAT_TREE_DATA))

enum cleat_code cleat_tree_probe(void *pool, struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	enum cleat_code code = cleat_pooldir_probe(&t->dir, err);

	if (!code && t->medium->tidy)
		t->medium->tidy(t);
	return code;
}

unsigned cleat_tree_capabilities(void *pool)
{
	const struct cleat_tree *t = pool;

	return TREE_CAN | t->medium->capabilities |
	       (t->enforces ? (unsigned)CLEAT_CAN_ENFORCE_SIZE | (unsigned)CLEAT_CAN_USAGE_OFFLINE : 0U);
}

enum cleat_code cleat_tree_space(void *pool, struct cleat_pool_space *out, struct cleat_error *err)
{
	const struct cleat_tree *t = pool;
	struct cleat_sys_space space;
	enum cleat_code code = cleat_sys_space(t->dir.volumes_fd, t->dir.path, &space, err);

	if (code)
		return code;
	*out = (struct cleat_pool_space){
		.total_bytes = space.total_bytes,
		.available_bytes = space.available_bytes,
		.used_bytes = space.total_bytes - space.free_bytes,
		.promised_bytes = atomic_load(&t->promised_bytes),
		.max_volume_bytes = space.total_bytes,
		.min_volume_bytes = t->enforces ? CLEAT_TREE_MIN_BYTES : 0,
		.low = space.available_bytes / 100 < space.total_bytes / 10000 * t->low_percent,
	};
	return CLEAT_OK;
}

/* ---- scan ------------------------------------------------------------------------------------ */

struct scan {
	cleat_scan_fn fn;
	void *arg;
	uint64_t promised_bytes;
	bool stopped;
};

static bool scan_one(struct cleat_record *rec, const char *broken, void *arg)
{
	struct scan *s = arg;

	if (!broken && rec->kind == CLEAT_KIND_VOLUME)
		s->promised_bytes += rec->capacity_bytes;
	s->stopped = !s->fn(rec, broken, s->arg);
	return !s->stopped;
}

enum cleat_code cleat_tree_scan(void *pool, cleat_scan_fn fn, void *arg, struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	struct scan s = { .fn = fn, .arg = arg };
	enum cleat_code code = cleat_pooldir_scan(&t->dir, scan_one, &s, err);

	if (!code && !s.stopped)
		atomic_store(&t->promised_bytes, s.promised_bytes);
	return code;
}

/* ---- one volume ------------------------------------------------------------------------------ */

enum cleat_code cleat_tree_open_data(const struct cleat_tree *t, const struct cleat_record *rec, int flags,
				     int *fd_out, struct cleat_error *err)
{
	cleat_autoclose int volume_fd = -1;
	struct cleat_error inner = CLEAT_ERROR_INIT;
	char path[DATA_PATH_BYTES];

	snprintf(path, sizeof(path), "%.*s/%s", CLEAT_KEY_MAX_BYTES, rec->key, CLEAT_TREE_DATA);
	enum cleat_code code =
		cleat_sys_open_at(t->dir.volumes_fd, path, flags | O_NOFOLLOW, 0, fd_out, &inner);
	if (code == CLEAT_OK)
		return code;
	if (code == CLEAT_NOT_FOUND) {
		if (cleat_pooldir_open_volume(&t->dir, rec->key, &volume_fd, NULL))
			return cleat_error_set(err, CLEAT_NOT_FOUND, "'%s' is not in the pool", rec->name);
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'%s': its data directory is missing",
				       rec->name);
	}
	if (err)
		*err = inner;
	return code;
}

static bool has_limit(const struct cleat_tree *t, const struct cleat_record *rec)
{
	return rec->capacity_bytes > 0 && rec->kind == CLEAT_KIND_VOLUME && !t->soft;
}

/* A pool that was carried to another file system must not go on promising what it cannot keep. */
static enum cleat_code check_enforceable(const struct cleat_tree *t, const struct cleat_record *rec,
					 struct cleat_error *err)
{
	if (t->enforces || t->dir.id.read_only || !has_limit(t, rec))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
			       "'%s' has a size limit, and this pool (%s) cannot enforce it here any more",
			       rec->name, t->medium->name);
}

/* Limits are set again whenever a volume is handed out: they may have been lost in a crash of the machine
 * (btrfs keeps them outside of what fsync(2) covers), or with quotas that somebody switched off and on. */
static enum cleat_code renew_limit(struct cleat_tree *t, const struct cleat_record *rec,
				   struct cleat_error *err)
{
	cleat_autoclose int fd = -1;

	if (check_enforceable(t, rec, err))
		return err->code;
	if (!t->enforces || !has_limit(t, rec))
		return CLEAT_OK;
	if (cleat_tree_open_data(t, rec, O_RDONLY | O_DIRECTORY, &fd, err))
		return err->code;
	return t->medium->limit(t, fd, rec, rec->capacity_bytes, err);
}

enum cleat_code cleat_tree_map(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			       bool read_only, struct cleat_source *source_out, struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	cleat_autoclose int fd = -1;
	struct cleat_source source = { .kind = CLEAT_SOURCE_DIRECTORY, .fd = -1 };
	struct cleat_error own = CLEAT_ERROR_INIT;

	(void)op;
	err = err ? err : &own;
	if (cleat_tree_open_data(t, rec, O_PATH | O_DIRECTORY, &fd, err) || renew_limit(t, rec, err))
		return err->code;
	int n = snprintf(source.path, sizeof(source.path), "%s/volumes/%s/%s", t->place.path, rec->key,
			 CLEAT_TREE_DATA);
	if (n < 0 || (size_t)n >= sizeof(source.path))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s': the path of its pool is too long",
				       rec->name);
	source.read_only = read_only || rec->kind == CLEAT_KIND_SNAPSHOT;
	source.fd = cleat_steal_fd(&fd);
	*source_out = source;
	return CLEAT_OK;
}

enum cleat_code cleat_tree_unmap(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				 struct cleat_error *err)
{
	(void)pool;
	(void)op;
	(void)rec;
	(void)err;
	return CLEAT_OK; /* a directory takes nothing to hand out */
}

enum cleat_code cleat_tree_usage(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				 const struct cleat_where *where, struct cleat_usage *out,
				 struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	cleat_autoclose int fd = -1;
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct cleat_sys_space space;
	uint64_t used = 0;

	(void)op;
	(void)where;
	err = err ? err : &own;
	if (cleat_tree_open_data(t, rec, O_RDONLY | O_DIRECTORY, &fd, err) ||
	    t->medium->used(t, fd, rec, &used, err) ||
	    cleat_sys_space(t->dir.volumes_fd, t->dir.path, &space, err))
		return err->code;
	uint64_t total = rec->capacity_bytes ? rec->capacity_bytes : space.total_bytes;
	uint64_t left = total > used ? total - used : 0;
	*out = (struct cleat_usage){
		.total_bytes = total,
		.used_bytes = used,
		.available_bytes = left < space.available_bytes ? left : space.available_bytes,
	};
	return CLEAT_OK;
}

enum cleat_code cleat_tree_health(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				  struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	cleat_autorecord struct cleat_record *stored = NULL;
	cleat_autoclose int fd = -1;
	struct cleat_error own = CLEAT_ERROR_INIT;

	(void)op;
	err = err ? err : &own;
	if (cleat_tree_open_data(t, rec, O_PATH | O_DIRECTORY, &fd, err))
		return err->code;
	if (cleat_pooldir_read(&t->dir, rec->key, &stored, err)) {
		cleat_error_wrap(err, "'%.*s'", cleat_text_cut(rec->name, 100), rec->name);
		if (err->code ==
		    CLEAT_NOT_FOUND) /* the directory is there, so something took the record away */
			err->code = CLEAT_DATA_LOSS;
		return err->code;
	}
	return check_enforceable(t, rec, err);
}
