/* adopt.c - taking in an image file that exists already, without writing a byte of its contents. */
#include "backends/loop/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/file.h"
#include "sys/fsctl.h"
#include "sys/probe.h"
#include "util/clock.h"
#include "util/kv.h"
#include "util/mem.h"

/* ---- may it be taken ---- */

static enum cleat_code check_unused(int fd, const char *what, struct cleat_error *err)
{
	struct cleat_loop loop = { .fd = -1 };
	bool found = false;
	enum cleat_code code = cleat_sys_loop_find(fd, false, &loop, &found, err);

	if (!code && found)
		code = cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' is in use by %s", what,
				       loop.path);
	if (!code)
		code = cleat_sys_lock(fd, what, err);
	return code ? code : cleat_sys_only_opener(fd, what, err);
}

static enum cleat_code open_what(const char *what, int *fd_out, struct stat *st, struct cleat_error *err)
{
	if (what[0] != '/')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not an absolute path", what);
	if (stat(what, st) == 0 && !S_ISREG(st->st_mode))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not a regular file", what);
	enum cleat_code code = cleat_sys_open_path(what, O_RDWR | O_NONBLOCK, fd_out, err);
	if (code)
		return code;
	if (fstat(*fd_out, st) || !S_ISREG(st->st_mode))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not a regular file", what);
	return check_unused(*fd_out, what, err);
}

/* The file system that was asked for by name, or any that is known. */
static enum cleat_code find_fs(const struct cleat_record *rec, int fd, const char *what,
			       const struct cleat_fs **out, struct cleat_error *err)
{
	const char *wanted = cleat_kv_get(&rec->params, "fs");
	struct cleat_sys_content content;
	enum cleat_code code = cleat_sys_probe(fd, what, &content, err);

	if (code)
		return code;
	*out = cleat_fs_find(content.type);
	if (!*out)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'%s' holds %s%s: ext4, xfs and btrfs can be adopted", what,
				       content.empty ? "nothing" : "", content.empty ? "" : content.type);
	if (wanted && strcmp(wanted, content.type) != 0)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' holds %s, not %s", what,
				       content.type, wanted);
	return CLEAT_OK;
}

/* ---- its record ---- */

static enum cleat_code plan_fs(struct cleat_record *rec, int fd, const char *what, uint64_t bytes,
			       struct cleat_error *err)
{
	const struct cleat_fs *fs = NULL;
	uint32_t sector = 512;
	uint64_t filled = 0;
	enum cleat_code code = find_fs(rec, fd, what, &fs, err);

	if (!code)
		code = cleat_fs_sector_bytes(fs, fd, what, &sector, err);
	if (!code)
		code = cleat_fs_filled_bytes(fs, fd, what, &filled, err);
	if (!code && filled > bytes)
		code = cleat_error_set(err, CLEAT_DATA_LOSS,
				       "'%s' is cut off: its file system has %llu bytes, the file %llu", what,
				       (unsigned long long)filled, (unsigned long long)bytes);
	if (!code)
		code = cleat_record_set(&rec->fs, fs->name, err);
	if (!code && sector == 512)
		code = cleat_kv_set(&rec->attributes, LOOP_ATTR_SECTOR, "512", err);
	rec->formatted = true;
	rec->fs_bytes = bytes;
	/* It may be a copy of what is mounted elsewhere. */
	rec->clone = true;
	return code;
}

static enum cleat_code plan(struct cleat_record *rec, int fd, const char *what, uint64_t bytes,
			    struct cleat_error *err)
{
	enum cleat_code code;

	if (rec->capacity_bytes > bytes)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE,
				       "'%s' has %llu bytes, fewer than the %llu asked for", what,
				       (unsigned long long)bytes, (unsigned long long)rec->capacity_bytes);
	if (rec->access_type == CLEAT_ACCESS_BLOCK)
		/* Whoever wrote it elsewhere counted in sectors of 512 bytes. */
		code = cleat_kv_set(&rec->attributes, LOOP_ATTR_SECTOR, "512", err);
	else
		code = plan_fs(rec, fd, what, bytes, err);
	if (!code)
		code = cleat_kv_set(&rec->attributes, LOOP_ATTR_ADOPTED, what, err);
	if (!code)
		code = cleat_kv_set(&rec->attributes, "enforces_size", "true", err);
	rec->capacity_bytes = bytes;
	rec->adopted = true;
	if (rec->created_ms == 0)
		rec->created_ms = cleat_time_wall_ms();
	return code;
}

/* ---- taking it ---- */

static bool same_device(const struct loop_pool *pool, const struct stat *st)
{
	struct stat data;

	return fstat(pool->data_fd, &data) == 0 && data.st_dev == st->st_dev;
}

static void show_progress(uint64_t done, uint64_t total, void *arg)
{
	cleat_op_progress(arg, done, total);
}

/* A second name for the file itself; the first one is taken away when the volume exists, so that the data
 * always has one. */
static enum cleat_code take_file(struct loop_attempt *a, struct cleat_op *op, int fd,
				 const struct cleat_record *rec, bool move, struct cleat_error *err)
{
	enum cleat_code code;

	if (move) {
		code = cleat_sys_link(fd, a->dir_fd, LOOP_IMAGE, err);
		return code ? code : cleat_sys_open_at(a->dir_fd, LOOP_IMAGE, O_RDWR, 0, &a->image_fd, err);
	}
	code = cleat_sys_open_at(a->dir_fd, LOOP_IMAGE, O_CREAT | O_EXCL | O_RDWR, 0600, &a->image_fd, err);
	cleat_op_step(op, "copy image", LOOP_COPY_MS);
	return code ? code : cleat_sys_copy_file(fd, a->image_fd, rec->name, show_progress, op, err);
}

/* The last, incomplete block is made whole: a device ends at a sector. */
static enum cleat_code round_up(const struct loop_attempt *a, const struct cleat_record *rec,
				struct cleat_error *err)
{
	struct stat st;

	if (fstat(a->image_fd, &st))
		return cleat_error_set(err, CLEAT_INTERNAL, "look at the image of '%s'", rec->name);
	if ((uint64_t)st.st_size >= rec->capacity_bytes)
		return CLEAT_OK;
	return cleat_sys_truncate(a->image_fd, rec->capacity_bytes, rec->name, err);
}

/* Takes the old name away if it still is one of the image. */
static enum cleat_code drop_old_name(const struct loop_pool *pool, const struct cleat_record *rec,
				     const char *what, struct cleat_error *err)
{
	cleat_autoclose int image = -1, dir = -1;
	cleat_autofree char *parent = strdup(what);
	struct stat st, old;
	char *slash = parent ? strrchr(parent, '/') : NULL;
	enum cleat_code code = loop_open_image(pool, rec, O_RDONLY, &image, err);

	if (code || !slash || fstat(image, &st) || fstatat(AT_FDCWD, what, &old, AT_SYMLINK_NOFOLLOW) ||
	    st.st_dev != old.st_dev || st.st_ino != old.st_ino)
		return code;
	*slash = '\0';
	code = cleat_sys_open_root(*parent ? parent : "/", &dir, err);
	return code ? code : cleat_sys_unlink_at(dir, slash + 1, 0, err);
}

static enum cleat_code find_existing(const struct loop_pool *pool, const struct cleat_record *rec,
				     const char *what, struct cleat_record **out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *there = NULL;
	struct cleat_error inner = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_pooldir_read(&pool->dir, rec->key, &there, &inner);

	if (code == CLEAT_NOT_FOUND)
		return CLEAT_OK;
	if (code) {
		if (err)
			*err = inner;
		return code;
	}
	const char *from = cleat_kv_get(&there->attributes, LOOP_ATTR_ADOPTED);
	if (!from || strcmp(from, what) != 0)
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "'%s' exists and was not adopted from '%s'",
				       there->name, what);
	code = drop_old_name(pool, there, what, err);
	if (!code)
		*out = cleat_steal(there);
	return code;
}

static enum cleat_code adopt(struct loop_pool *pool, struct cleat_op *op, struct cleat_record *rec,
			     const char *what, struct cleat_error *err)
{
	loop_autoattempt struct loop_attempt a = LOOP_ATTEMPT_INIT;
	cleat_autoclose int fd = -1;
	struct stat st = { 0 };
	enum cleat_code code = open_what(what, &fd, &st, err);
	uint64_t bytes = ((uint64_t)st.st_size + LOOP_BLOCK_BYTES - 1) / LOOP_BLOCK_BYTES * LOOP_BLOCK_BYTES;
	bool move = same_device(pool, &st);
	uint64_t has = (uint64_t)st.st_blocks * 512;

	if (!code)
		code = plan(rec, fd, what, bytes, err);
	/* What a file of this file system has already is no longer free. */
	if (!code)
		code = loop_attempt_begin_empty(pool, rec,
						!move	      ? bytes
						: bytes > has ? bytes - has
							      : 0,
						&a, err);
	if (!code)
		code = take_file(&a, op, fd, rec, move, err);
	if (!code)
		code = round_up(&a, rec, err);
	if (!code)
		code = loop_attempt_commit(&a, rec, err);
	return code || !move ? code : drop_old_name(pool, rec, what, err);
}

enum cleat_code loop_adopt(void *arg, struct cleat_op *op, const struct cleat_record *rec, const char *what,
			   struct cleat_record **rec_out, struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	cleat_autorecord struct cleat_record *planned = NULL;
	enum cleat_code code;

	cleat_op_step(op, "look at image", LOOP_STEP_MS);
	*rec_out = NULL;
	code = find_existing(pool, rec, what, rec_out, err);
	if (code || *rec_out)
		return code;
	planned = cleat_record_copy(rec);
	if (!planned)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	code = adopt(pool, op, planned, what, err);
	if (!code)
		*rec_out = cleat_steal(planned);
	return code;
}
