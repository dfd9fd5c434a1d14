/* loop.c - the loop backend's table, its parameters, and opening and closing a pool. */
#include "backends/loop/loop.h"

#include <fcntl.h>
#include <string.h>

#include "sys/file.h"
#include "sys/mount.h"
#include "sys/spawn.h"
#include "util/mem.h"

static const char *const pool_file_choices[] = { "auto", "never", "always", NULL };
static const char *const fs_choices[] = { "ext4", "xfs", "btrfs", NULL };

const struct cleat_param loop_pool_params[] = {
	CLEAT_POOLDIR_PARAMS,
	{ "pool_file", CLEAT_PARAM_CHOICE, NULL, "auto", pool_file_choices, 0, 0,
	  "Whether the volumes lie in one XFS file, which makes snapshots cheap: auto does so where the file "
	  "system below "
	  "cannot share blocks.  Decided when the pool is first opened.",
	  false },
	{ "fs", CLEAT_PARAM_CHOICE, NULL, "ext4", fs_choices, 0, 0,
	  "File system of volumes that do not name one.", false },
	{ "default_size", CLEAT_PARAM_SIZE, "bytes", "1GiB", NULL, 16 * LOOP_MIB, 0,
	  "Size of volumes that do not name one.", false },
	{ "overcommit", CLEAT_PARAM_DECIMAL, "factor", "1.0", NULL, 0, 0,
	  "How much more may be promised than there is free space.", false },
	{ "low_percent", CLEAT_PARAM_UINT, "percent", "10", NULL, 0, 100,
	  "The pool counts as low when less than this share of its space is free.", false },
	{ "direct_io", CLEAT_PARAM_BOOL, NULL, "true", NULL, 0, 0,
	  "Keep the node from caching images a second time below the volumes' own file systems.", false },
	{ NULL, CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, NULL, false },
};

const struct cleat_param loop_volume_params[] = {
	{ "fs", CLEAT_PARAM_CHOICE, NULL, NULL, fs_choices, 0, 0,
	  "File system of the volume; the pool's without it.", false },
	{ "thick", CLEAT_PARAM_BOOL, NULL, "false", NULL, 0, 0,
	  "Reserve all blocks at once, so that writing can never fail for want of space in the pool.",
	  false },
	{ NULL, CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, NULL, false },
};

static enum cleat_code check(struct cleat_error *err)
{
	static const char *const tools[] = { "mke2fs", "e2fsck", "resize2fs", "mkfs.xfs" };
	struct cleat_sys_place place;
	enum cleat_code code = cleat_sys_look(AT_FDCWD, "/dev/loop-control", &place, err);

	if (code)
		return code;
	if (!place.exists || !S_ISCHR(place.mode))
		return cleat_error_set(
			err, CLEAT_FAILED_PRECONDITION,
			"no loop devices: '/dev/loop-control' is missing (load the module 'loop')");
	for (size_t i = 0; i < CLEAT_COUNT(tools); i++)
		if (!cleat_sys_have_tool(tools[i]))
			return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
					       "'%s' is not installed (packages e2fsprogs and xfsprogs)",
					       tools[i]);
	return CLEAT_OK;
}

/* ---- opening and closing ---- */

static enum cleat_code configure(struct loop_pool *pool, const struct cleat_pool_options *opts,
				 struct cleat_error *err)
{
	const struct cleat_kvs *config = opts->config;

	pool->default_bytes = cleat_param_number(loop_pool_params, config, "default_size");
	pool->overcommit = cleat_param_decimal(loop_pool_params, config, "overcommit");
	pool->low_percent = cleat_param_number(loop_pool_params, config, "low_percent");
	pool->direct_io = cleat_param_bool(loop_pool_params, config, "direct_io");
	pool->fs = strdup(cleat_param_text(loop_pool_params, config, "fs"));
	pool->name = strdup(opts->name);
	if (!pool->fs || !pool->name)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return CLEAT_OK;
}

static void close_pool(void *arg)
{
	struct loop_pool *pool = arg;

	if (!pool)
		return;
	loop_layout_close(pool);
	cleat_pooldir_close(&pool->dir);
	loop_book_done(&pool->book);
	free(pool->mount_path);
	free(pool->data_path);
	free(pool->fs);
	free(pool->name);
	free(pool);
}

static void close_pool_cleanup(struct loop_pool **pool)
{
	close_pool(*pool);
}

static struct loop_pool *new_pool(void)
{
	struct loop_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->dir = (struct cleat_pooldir){
		.root_fd = -1, .volumes_fd = -1, .new_fd = -1, .trash_fd = -1, .lock_fd = -1
	};
	pool->file_fd = -1;
	pool->data_fd = -1;
	loop_book_init(&pool->book);
	return pool;
}

static enum cleat_code open_pool(const struct cleat_pool_options *opts, void **pool_out,
				 struct cleat_pool_identity *id_out, struct cleat_error *err)
{
	__attribute__((cleanup(close_pool_cleanup))) struct loop_pool *pool = new_pool();
	enum cleat_code code;

	if (!pool)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	code = configure(pool, opts, err);
	if (!code)
		code = cleat_pooldir_open(opts, "loop", &pool->dir, err);
	if (!code)
		code = loop_layout_open(pool, opts, err);
	if (code)
		return code;
	*id_out = pool->dir.id;
	*pool_out = cleat_steal(pool);
	return CLEAT_OK;
}

static enum cleat_code probe(void *arg, struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	enum cleat_code code = cleat_pooldir_probe(&pool->dir, err);

	return code ? code : loop_layout_probe(pool, err);
}

static unsigned capabilities(void *arg)
{
	const struct loop_pool *pool = arg;
	unsigned can = CLEAT_CAN_MOUNT | CLEAT_CAN_BLOCK | CLEAT_CAN_ENFORCE_SIZE | CLEAT_CAN_SNAPSHOT |
		       CLEAT_CAN_GROUP_SNAPSHOT | CLEAT_CAN_CLONE | CLEAT_CAN_EXPAND |
		       CLEAT_CAN_EXPAND_ONLINE | CLEAT_CAN_ADOPT | CLEAT_CAN_USAGE_OFFLINE;

	return pool->reflink ? can : can | CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY;
}

/* ---- records ---- */

struct scan {
	struct loop_pool *pool;
	cleat_scan_fn fn;
	void *arg;
	bool stopped;
	enum cleat_code code;
	struct cleat_error *err;
};

static bool scan_one(struct cleat_record *rec, const char *broken, void *arg)
{
	struct scan *s = arg;

	if (!broken)
		s->code = loop_book_put(&s->pool->book, rec, s->err);
	s->stopped = s->code != CLEAT_OK || !s->fn(rec, broken, s->arg);
	return !s->stopped;
}

static enum cleat_code scan(void *arg, cleat_scan_fn fn, void *fn_arg, struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	struct scan s = { pool, fn, fn_arg, false, CLEAT_OK, err };
	enum cleat_code code = cleat_pooldir_scan(&pool->dir, scan_one, &s, err);

	if (code || s.code)
		return code ? code : s.code;
	pthread_mutex_lock(&pool->book.lock);
	pool->book.complete = pool->book.complete || !s.stopped;
	pthread_mutex_unlock(&pool->book.lock);
	return CLEAT_OK;
}

static enum cleat_code update(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			      struct cleat_error *err)
{
	struct loop_pool *pool = arg;

	cleat_op_step(op, "store record", LOOP_STEP_MS);
	return cleat_pooldir_update(&pool->dir, rec, err);
}

const struct cleat_backend cleat_backend_loop = {
	.version = CLEAT_BACKEND_VERSION,
	.name = "loop",
	.summary = "a file system image per volume, mounted through a loop device",
	.pool_params = loop_pool_params,
	.volume_params = loop_volume_params,
	.uses_fs = true,
	.check = check,
	.open = open_pool,
	.close = close_pool,
	.probe = probe,
	.capabilities = capabilities,
	.space = loop_space,
	.scan = scan,
	.recover = loop_recover,
	.leftovers = loop_leftovers,
	.create = loop_create,
	.adopt = loop_adopt,
	.update = update,
	.remove = loop_remove,
	.expand = loop_expand,
	.snapshot = loop_snapshot,
	.map = loop_map,
	.unmap = loop_unmap,
	.usage = loop_usage,
	.health = loop_health,
	.find_mount = loop_find_mount,
};
