/* poolfile.c - where a pool's images lie: in its directory, or, where that file system cannot share blocks,
 * inside a pool file.
 *
 * The choice is made when the pool is opened for the first time and then remembered in a small file, so that
 * a pool file which is not there is a pool that is offline and never an empty pool.
 */
#include "backends/loop/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/file.h"
#include "sys/fsctl.h"
#include "sys/list.h"
#include "sys/mount.h"
#include "util/buf.h"
#include "util/ids.h"
#include "util/kv.h"
#include "util/mem.h"

#define LAYOUT_FILE "loop-layout"
#define LAYOUT_PLAIN "plain\n"
#define LAYOUT_POOL_FILE "pool-file\n"
#define FILE_MIN_BYTES LOOP_GIB
/* ext4 with blocks of 4096 bytes holds no larger file; what lies on something else may still grow past it
 * later. */
#define FILE_MAX_BYTES (16 * LOOP_TIB - LOOP_GIB)
#define FILE_ATTEMPT "pool.img.new-"

enum layout {
	LAYOUT_UNDECIDED,
	LAYOUT_IS_PLAIN,
	LAYOUT_IS_POOL_FILE,
};

/* ---- reflinks, by trying ---- */

/* Unnamed files: a try that is cut off leaves nothing. */
static bool can_share_blocks(int dir_fd)
{
	static const char block[LOOP_BLOCK_BYTES];
	cleat_autoclose int from = -1, to = -1;

	return cleat_sys_open_at(dir_fd, ".", O_TMPFILE | O_RDWR, 0600, &from, NULL) == CLEAT_OK &&
	       cleat_sys_open_at(dir_fd, ".", O_TMPFILE | O_RDWR, 0600, &to, NULL) == CLEAT_OK &&
	       cleat_sys_write(from, block, sizeof(block), "reflink trial", NULL) == CLEAT_OK &&
	       cleat_sys_clone_file(from, to, "reflink trial", NULL) == CLEAT_OK;
}

/* ---- the decision ---- */

static bool exists(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool saw_one(const char *name, unsigned char type, void *arg)
{
	(void)name;
	(void)type;
	*(bool *)arg = true;
	return false;
}

static enum cleat_code read_layout(const struct loop_pool *pool, enum layout *out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(64);
	struct cleat_error inner = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_sys_read_file(pool->dir.root_fd, LAYOUT_FILE, 32, &text, &inner);

	if (code == CLEAT_OK && strcmp(cleat_buf_text(&text), LAYOUT_PLAIN) == 0)
		*out = LAYOUT_IS_PLAIN;
	else if (code == CLEAT_OK && strcmp(cleat_buf_text(&text), LAYOUT_POOL_FILE) == 0)
		*out = LAYOUT_IS_POOL_FILE;
	else if (code == CLEAT_OK)
		return cleat_error_set(err, CLEAT_UNAVAILABLE,
				       "offline: '%s/%s' does not say 'plain' or 'pool-file'", pool->dir.path,
				       LAYOUT_FILE);
	else if (code == CLEAT_NOT_FOUND)
		*out = exists(pool->dir.root_fd, LOOP_POOL_FILE) ? LAYOUT_IS_POOL_FILE : LAYOUT_UNDECIDED;
	else {
		*err = inner;
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "offline: %s", inner.msg);
	}
	return CLEAT_OK;
}

static enum cleat_code write_layout(const struct loop_pool *pool, const char *text, struct cleat_error *err)
{
	if (exists(pool->dir.root_fd, LAYOUT_FILE))
		return CLEAT_OK;
	return cleat_sys_replace_file(pool->dir.root_fd, LAYOUT_FILE, text, strlen(text), 0600, true, err);
}

/* Only a pool without volumes can still get a pool file. */
static enum cleat_code wants_pool_file(const struct loop_pool *pool, const char *policy, bool *out,
				       struct cleat_error *err)
{
	bool used = false;
	enum cleat_code code = cleat_sys_list(pool->dir.volumes_fd, ".", saw_one, &used, err);

	if (code)
		return code;
	if (used || strcmp(policy, "never") == 0)
		*out = false;
	else
		*out = strcmp(policy, "always") == 0 || !can_share_blocks(pool->dir.root_fd);
	return CLEAT_OK;
}

/* ---- making the pool file ---- */

/* As large as the file system below: what is really there is watched by admission, not by the size of a
 * sparse file. */
static enum cleat_code file_bytes(const struct loop_pool *pool, uint64_t *out, struct cleat_error *err)
{
	struct cleat_sys_space host;
	enum cleat_code code = cleat_sys_space(pool->dir.root_fd, pool->dir.path, &host, err);

	if (code)
		return code;
	uint64_t bytes = host.total_bytes - host.total_bytes % LOOP_MIB;
	if (bytes < FILE_MIN_BYTES)
		bytes = FILE_MIN_BYTES;
	*out = bytes > FILE_MAX_BYTES ? FILE_MAX_BYTES : bytes;
	return CLEAT_OK;
}

static enum cleat_code format_file(const struct loop_pool *pool, const char *name, int fd,
				   struct cleat_error *err)
{
	char path[CLEAT_ERROR_TEXT_BYTES];
	struct cleat_fs_make_opts how = { .path = path, .keep_fd = -1 };
	enum cleat_code code = file_bytes(pool, &how.bytes, err);

	snprintf(path, sizeof(path), "%s/%s", pool->dir.path, name);
	if (!code)
		code = cleat_sys_truncate(fd, how.bytes, path, err);
	if (!code)
		code = cleat_fs_make(cleat_fs_find("xfs"), &how, err);
	return code ? code : cleat_sys_fsync(fd, path, err);
}

/* A pool file appears whole, by rename; what a killed attempt left is removed by the next opening. */
static enum cleat_code make_file(const struct loop_pool *pool, struct cleat_error *err)
{
	char key[CLEAT_ID_KEY_BYTES], name[sizeof(FILE_ATTEMPT) + sizeof(key)];
	cleat_autoclose int fd = -1;
	int root = pool->dir.root_fd;

	cleat_id_new_key(key);
	snprintf(name, sizeof(name), "%s%s", FILE_ATTEMPT, key);
	enum cleat_code code = cleat_sys_open_at(root, name, O_CREAT | O_EXCL | O_RDWR, 0600, &fd, err);
	if (code)
		return code;
	if (strcmp(cleat_sys_fs_name(fd), "btrfs") == 0)
		code = cleat_sys_set_overwrite_in_place(fd, name, err);
	if (!code)
		code = format_file(pool, name, fd, err);
	if (!code)
		code = cleat_sys_rename_at(root, name, root, LOOP_POOL_FILE, true, err);
	if (!code)
		code = cleat_sys_fsync(root, pool->dir.path, err);
	if (code && cleat_sys_unlink_at(root, name, 0, NULL))
		return code;
	return code;
}

static bool sweep_one(const char *name, unsigned char type, void *arg)
{
	const struct loop_pool *pool = arg;

	(void)type;
	if (strncmp(name, FILE_ATTEMPT, strlen(FILE_ATTEMPT)) == 0 &&
	    cleat_sys_unlink_at(pool->dir.root_fd, name, 0, NULL))
		return true;
	return true;
}

/* ---- mounting it ---- */

static enum cleat_code bind_file(const struct loop_pool *pool, struct cleat_loop *loop,
				 struct cleat_error *err)
{
	char path[CLEAT_ERROR_TEXT_BYTES];
	unsigned flags = CLEAT_LOOP_AUTOCLEAR | (pool->direct_io ? CLEAT_LOOP_DIRECT_IO : 0);

	snprintf(path, sizeof(path), "%s/%s", pool->dir.path, LOOP_POOL_FILE);
	return cleat_sys_loop_bind(pool->file_fd, path, flags, LOOP_BLOCK_BYTES, loop, err);
}

/* `discard`: what volumes give back, or leave when they are deleted, goes back to the disk.  `nouuid`: a copy
 * of a pool's directory may be served on the same machine. */
static enum cleat_code mount_file(const struct loop_pool *pool, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs options = { NULL, 0 };
	struct cleat_loop loop = { .fd = -1 };
	enum cleat_code code = bind_file(pool, &loop, err);

	if (!code)
		code = cleat_kv_set(&options, "discard", "", err);
	if (!code)
		code = cleat_fs_mount(cleat_fs_find("xfs"), loop.path, pool->mount_path, &options,
				      CLEAT_MOUNT_NOEXEC | CLEAT_MOUNT_NOATIME, true, err);
	if (loop.fd >= 0)
		close(loop.fd);
	return code;
}

/* After a killed daemon the pool file is mounted still: that mount is taken over if it is really ours. */
static enum cleat_code take_over(const struct loop_pool *pool, const struct cleat_sys_place *place,
				 struct cleat_error *err)
{
	struct cleat_loop loop = { .fd = -1 };
	bool found = false;
	enum cleat_code code = cleat_sys_loop_find(pool->file_fd, false, &loop, &found, err);

	if (code || (found && loop.dev == place->dev))
		return code;
	return cleat_error_set(err, CLEAT_UNAVAILABLE,
			       "offline: something else than '%s/%s' is mounted on '%s'", pool->dir.path,
			       LOOP_POOL_FILE, pool->mount_path);
}

static enum cleat_code ensure_mounted(const struct loop_pool *pool, struct cleat_error *err)
{
	struct cleat_sys_place place;
	enum cleat_code code = cleat_sys_mkdir_path(pool->mount_path, 0700, err);

	if (!code)
		code = cleat_sys_look(AT_FDCWD, pool->mount_path, &place, err);
	if (code)
		return code;
	return place.is_mount_root ? take_over(pool, &place, err) : mount_file(pool, err);
}

/* The file system below was made larger: the pool file follows. */
static enum cleat_code follow_growth(const struct loop_pool *pool, struct cleat_error *err)
{
	struct cleat_loop loop = { .fd = -1 };
	struct stat st;
	uint64_t wanted = 0;
	bool found = false, grown = false;
	enum cleat_code code = file_bytes(pool, &wanted, err);

	if (code || fstat(pool->file_fd, &st) || wanted < (uint64_t)st.st_size + LOOP_GIB)
		return code;
	code = cleat_sys_truncate(pool->file_fd, wanted, LOOP_POOL_FILE, err);
	if (!code)
		code = cleat_sys_loop_find(pool->file_fd, false, &loop, &found, err);
	if (!code && found)
		code = cleat_sys_loop_update_size(loop.path, err);
	if (!code && found)
		code = cleat_fs_grow_mounted(cleat_fs_find("xfs"), pool->mount_path, loop.path, &grown, err);
	return code;
}

static enum cleat_code open_inside(struct loop_pool *pool, const struct cleat_pool_options *opts,
				   struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf path = CLEAT_BUF_INIT(4096);
	enum cleat_code code =
		cleat_sys_open_at(pool->dir.root_fd, LOOP_POOL_FILE, O_RDWR, 0, &pool->file_fd, err);

	if (code == CLEAT_NOT_FOUND)
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "offline: the pool file '%s/%s' is missing",
				       pool->dir.path, LOOP_POOL_FILE);
	if (code)
		return code;
	cleat_buf_addf(&path, "%s/pool/%s", opts->runtime_dir, opts->name);
	pool->mount_path = cleat_buf_steal(&path);
	if (!pool->mount_path)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	code = ensure_mounted(pool, err);
	if (!code && !pool->dir.id.read_only)
		code = follow_growth(pool, err);
	if (!code)
		code = cleat_sys_open_root(pool->mount_path, &pool->data_fd, err);
	return code ? code : cleat_pooldir_move_data(&pool->dir, pool->data_fd, err);
}

/* ---- opening and closing ---- */

static enum cleat_code decide(const struct loop_pool *pool, const struct cleat_pool_options *opts,
			      enum layout *layout, struct cleat_error *err)
{
	const char *policy = cleat_param_text(loop_pool_params, opts->config, "pool_file");
	bool wanted = false;
	enum cleat_code code = wants_pool_file(pool, policy, &wanted, err);

	if (!code && wanted)
		code = make_file(pool, err);
	if (!code)
		*layout = wanted ? LAYOUT_IS_POOL_FILE : LAYOUT_IS_PLAIN;
	return code;
}

enum cleat_code loop_layout_open(struct loop_pool *pool, const struct cleat_pool_options *opts,
				 struct cleat_error *err)
{
	enum layout layout = LAYOUT_UNDECIDED;
	enum cleat_code code = read_layout(pool, &layout, err);

	if (!code && !pool->dir.id.read_only)
		code = cleat_sys_list(pool->dir.root_fd, ".", sweep_one, pool, err);
	if (!code && layout == LAYOUT_UNDECIDED)
		code = decide(pool, opts, &layout, err);
	if (!code && !pool->dir.id.read_only)
		code = write_layout(pool, layout == LAYOUT_IS_PLAIN ? LAYOUT_PLAIN : LAYOUT_POOL_FILE, err);
	if (!code && layout == LAYOUT_IS_POOL_FILE)
		code = open_inside(pool, opts, err);
	else if (!code)
		code = cleat_sys_open_at(pool->dir.root_fd, ".", O_RDONLY | O_DIRECTORY, 0, &pool->data_fd,
					 err);
	if (code)
		return code;
	pool->data_path = strdup(pool->mount_path ? pool->mount_path : pool->dir.path);
	if (!pool->data_path)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	pool->reflink = can_share_blocks(pool->data_fd);
	pool->copy_on_write = strcmp(cleat_sys_fs_name(pool->data_fd), "btrfs") == 0;
	return CLEAT_OK;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void loop_layout_close(struct loop_pool *pool)
{
	close_fd(&pool->data_fd);
	close_fd(&pool->dir.volumes_fd);
	close_fd(&pool->dir.new_fd);
	close_fd(&pool->dir.trash_fd);
	/* Busy means that volumes are in use: the next opening takes the mount over. */
	if (pool->mount_path && cleat_sys_unmount(pool->mount_path, NULL) == CLEAT_OK)
		rmdir(pool->mount_path);
	close_fd(&pool->file_fd);
}

enum cleat_code loop_layout_probe(const struct loop_pool *pool, struct cleat_error *err)
{
	cleat_autoclose int dir = -1;
	struct cleat_sys_place place;
	struct stat st;
	enum cleat_code code;

	if (!pool->mount_path)
		return CLEAT_OK;
	code = cleat_sys_look(AT_FDCWD, pool->mount_path, &place, err);
	if (code)
		return code;
	if (fstat(pool->data_fd, &st) || !place.exists || place.dev != st.st_dev)
		return cleat_error_set(err, CLEAT_UNAVAILABLE,
				       "offline: the pool file is no longer mounted on '%s'",
				       pool->mount_path);
	/* Opening fails on an XFS that has shut itself down; looking at it does not. */
	code = cleat_sys_open_at(pool->data_fd, ".", O_RDONLY | O_DIRECTORY, 0, &dir, err);
	if (code)
		return cleat_error_set(err, CLEAT_UNAVAILABLE,
				       "offline: the file system in the pool file of '%s' has failed",
				       pool->name);
	return CLEAT_OK;
}
