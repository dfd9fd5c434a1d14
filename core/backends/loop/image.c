/* image.c - creating, cloning, enlarging and removing images, and what can be said of one without mounting
 * it. */
#include "backends/loop/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/file.h"
#include "sys/fsctl.h"
#include "util/clock.h"
#include "util/kv.h"
#include "util/mem.h"
#include "util/size.h"

#define IMAGE_MAX_BYTES (UINT64_C(1) << 60)

static bool is_thick(const struct cleat_record *rec)
{
	return cleat_param_bool(loop_volume_params, &rec->params, "thick");
}

/* ---- what is to be made ---- */

static enum cleat_code check_bytes(const struct cleat_record *rec, uint64_t bytes, uint64_t *out,
				   struct cleat_error *err)
{
	const struct cleat_fs *fs = *rec->fs ? cleat_fs_find(rec->fs) : NULL;
	uint64_t least = fs ? fs->min_bytes : LOOP_BLOCK_BYTES;
	char text[2][CLEAT_SIZE_TEXT_BYTES];

	if (bytes > IMAGE_MAX_BYTES)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE, "'%s' would have %s: at most %s are possible",
				       rec->name, cleat_size_format(bytes, text[0]),
				       cleat_size_format(IMAGE_MAX_BYTES, text[1]));
	bytes = (bytes + LOOP_BLOCK_BYTES - 1) / LOOP_BLOCK_BYTES * LOOP_BLOCK_BYTES;
	if (bytes < least)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE,
				       "'%s' would have %s: a volume with %s needs at least %s", rec->name,
				       cleat_size_format(bytes, text[0]), fs ? fs->name : "block access",
				       cleat_size_format(least, text[1]));
	*out = bytes;
	return CLEAT_OK;
}

static enum cleat_code choose_fs(const struct loop_pool *pool, struct cleat_record *rec,
				 struct cleat_error *err)
{
	const char *wanted = cleat_param_text(loop_volume_params, &rec->params, "fs");

	if (rec->access_type == CLEAT_ACCESS_BLOCK)
		return cleat_record_set(&rec->fs, "", err);
	if (!*rec->fs && cleat_record_set(&rec->fs, wanted ? wanted : pool->fs, err))
		return CLEAT_RESOURCE_EXHAUSTED;
	if (!cleat_fs_find(rec->fs))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "there is no file system '%s'", rec->fs);
	return CLEAT_OK;
}

/* What uid, gid and mode ask for is done by whoever mounts the volume first. */
static enum cleat_code note_owner(struct cleat_record *rec, struct cleat_error *err)
{
	if (!cleat_kv_get(&rec->params, "uid") && !cleat_kv_get(&rec->params, "gid") &&
	    !cleat_kv_get(&rec->params, "mode"))
		return CLEAT_OK;
	return cleat_kv_set(&rec->attributes, LOOP_ATTR_OWNER, "true", err);
}

static enum cleat_code plan_common(struct cleat_record *rec, struct cleat_error *err)
{
	if (rec->created_ms == 0)
		rec->created_ms = cleat_time_wall_ms();
	enum cleat_code code = cleat_kv_set(&rec->attributes, "enforces_size", "true", err);
	return code ? code : note_owner(rec, err);
}

static enum cleat_code plan_fresh(const struct loop_pool *pool, struct cleat_record *rec,
				  struct cleat_error *err)
{
	uint64_t bytes = rec->capacity_bytes ? rec->capacity_bytes : pool->default_bytes;
	enum cleat_code code = choose_fs(pool, rec, err);

	if (!code)
		code = check_bytes(rec, bytes, &rec->capacity_bytes, err);
	if (code)
		return code;
	rec->formatted = rec->access_type != CLEAT_ACCESS_BLOCK;
	rec->fs_bytes = rec->formatted ? rec->capacity_bytes : 0;
	return plan_common(rec, err);
}

static enum cleat_code plan_clone(const struct loop_pool *pool, const struct cleat_record *source,
				  struct cleat_record *rec, struct cleat_error *err)
{
	uint64_t bytes = rec->capacity_bytes ? rec->capacity_bytes : source->capacity_bytes;

	if (rec->access_type != source->access_type)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "'%s' and its source '%s' differ in access type", rec->name,
				       source->name);
	if (*rec->fs && strcmp(rec->fs, source->fs) != 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "source '%s' has file system '%s', not '%s'", source->name, source->fs,
				       rec->fs);
	if (bytes < source->capacity_bytes)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE,
				       "'%s' would be smaller than its source '%s' (%llu bytes)", rec->name,
				       source->name, (unsigned long long)source->capacity_bytes);
	enum cleat_code code = loop_inherit(pool, source, rec, err);
	if (!code)
		code = check_bytes(rec, bytes, &rec->capacity_bytes, err);
	if (!code)
		code = plan_common(rec, err);
	/* A thick clone gets blocks of its own. */
	if (!code && is_thick(rec))
		cleat_kv_remove(&rec->attributes, LOOP_ATTR_LINEAGE);
	return code;
}

/* ---- creating ---- */

static enum cleat_code format_image(struct loop_attempt *a, struct cleat_op *op,
				    const struct cleat_record *rec, struct cleat_error *err)
{
	char path[CLEAT_ERROR_TEXT_BYTES], step[32];
	const struct cleat_fs_make_opts how = { .path = path,
						.bytes = rec->capacity_bytes,
						.params = &rec->params,
						.keep_fd = -1,
						.thick = is_thick(rec) };

	snprintf(step, sizeof(step), "mkfs.%s", rec->fs);
	cleat_op_step(op, step, LOOP_MKFS_MS);
	loop_attempt_path(a, path, sizeof(path));
	return cleat_fs_make(cleat_fs_find(rec->fs), &how, err);
}

/* Blocks are reserved before mkfs, so that a lack of space is found early, and again after it, because mkfs
 * may have given some back. */
static enum cleat_code make_thick(struct loop_attempt *a, struct cleat_op *op, const struct cleat_record *rec,
				  struct cleat_error *err)
{
	cleat_op_step(op, "reserve blocks", LOOP_MKFS_MS);
	return loop_reserve_blocks(a->pool, a->image_fd, rec->capacity_bytes, rec->name, err);
}

static enum cleat_code fill_fresh(struct loop_attempt *a, struct cleat_op *op, const struct cleat_record *rec,
				  struct cleat_error *err)
{
	bool thick = is_thick(rec);
	enum cleat_code code = CLEAT_OK;

	if (thick && a->pool->copy_on_write)
		code = cleat_sys_set_overwrite_in_place(a->image_fd, rec->name, err);
	if (!code)
		code = cleat_sys_truncate(a->image_fd, rec->capacity_bytes, rec->name, err);
	if (!code && thick)
		code = make_thick(a, op, rec, err);
	if (!code && rec->formatted)
		code = format_image(a, op, rec, err);
	if (!code && thick && rec->formatted)
		code = make_thick(a, op, rec, err);
	return code;
}

static enum cleat_code own_blocks(struct loop_attempt *a, struct cleat_op *op, const struct cleat_record *rec,
				  struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	if (a->pool->reflink)
		code = cleat_sys_unshare(a->image_fd, rec->capacity_bytes, rec->name, err);
	if (code == CLEAT_UNIMPLEMENTED)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'%s': a thick clone is not possible on the file system of pool '%s'",
				       rec->name, a->pool->name);
	return code ? code : make_thick(a, op, rec, err);
}

static enum cleat_code fill_clone(struct loop_attempt *a, struct cleat_op *op,
				  const struct cleat_record *source, const struct cleat_where *where,
				  const struct cleat_record *rec, struct cleat_error *err)
{
	cleat_autoclose int from = -1;
	enum cleat_code code = loop_open_image(a->pool, source, O_RDONLY, &from, err);

	if (!code)
		code = loop_sync_source(a->pool, op, source, where, from, err);
	if (!code)
		code = loop_fill(a->pool, op, from, a->image_fd, rec->name, err);
	if (!code)
		code = cleat_sys_truncate(a->image_fd, rec->capacity_bytes, rec->name, err);
	if (!code && is_thick(rec))
		code = own_blocks(a, op, rec, err);
	if (!code && rec->formatted)
		code = cleat_fs_make_distinct(cleat_fs_find(rec->fs), a->image_fd, rec->name, err);
	return code;
}

enum cleat_code loop_create(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			    const struct cleat_record *source, const struct cleat_where *where,
			    struct cleat_record **rec_out, struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	loop_autoattempt struct loop_attempt a = LOOP_ATTEMPT_INIT;
	cleat_autorecord struct cleat_record *planned = cleat_record_copy(rec);
	enum cleat_code code;

	if (!planned)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	code = source ? plan_clone(pool, source, planned, err) : plan_fresh(pool, planned, err);
	if (!code)
		code = cleat_pooldir_confirm(&pool->dir, planned, rec_out, err);
	if (code || *rec_out)
		return code;
	code = loop_attempt_begin(pool, planned, planned->capacity_bytes, &a, err);
	if (!code)
		code = source ? fill_clone(&a, op, source, where, planned, err)
			      : fill_fresh(&a, op, planned, err);
	cleat_op_step(op, "commit", LOOP_STEP_MS);
	if (!code)
		code = loop_attempt_commit(&a, planned, err);
	if (!code)
		*rec_out = cleat_steal(planned);
	return code;
}

/* ---- enlarging ---- */

static enum cleat_code enlarge_image(struct loop_pool *pool, struct cleat_op *op,
				     const struct cleat_record *rec, struct cleat_error *err)
{
	cleat_autoclose int image = -1;
	struct cleat_loop loop = { .fd = -1 };
	struct stat st;
	bool mapped = false;
	enum cleat_code code = loop_open_image(pool, rec, O_RDWR, &image, err);

	if (code)
		return code;
	if (fstat(image, &st))
		return cleat_error_set(err, CLEAT_INTERNAL, "look at the image of '%s'", rec->name);
	if ((uint64_t)st.st_size < rec->capacity_bytes)
		code = cleat_sys_truncate(image, rec->capacity_bytes, rec->name, err);
	if (!code && is_thick(rec)) {
		cleat_op_step(op, "reserve blocks", LOOP_MKFS_MS);
		code = loop_reserve_blocks(pool, image, rec->capacity_bytes, rec->name, err);
	}
	if (!code)
		code = cleat_sys_loop_find(image, false, &loop, &mapped, err);
	if (!code && mapped)
		code = cleat_sys_loop_update_size(loop.path, err);
	return code ? code : cleat_sys_fsync(image, rec->name, err);
}

enum cleat_code loop_expand(void *arg, struct cleat_op *op, const struct cleat_record *rec, uint64_t bytes,
			    const struct cleat_where *where, struct cleat_record **rec_out,
			    struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	cleat_autorecord struct cleat_record *larger = cleat_record_copy(rec);
	enum cleat_code code;

	(void)where;
	if (!larger)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	cleat_op_step(op, "enlarge image", LOOP_STEP_MS);
	code = check_bytes(rec, bytes > rec->capacity_bytes ? bytes : rec->capacity_bytes,
			   &larger->capacity_bytes, err);
	if (code)
		return code;
	/* Also when the size is that already: a call that was cut off may have left the device behind. */
	uint64_t more = larger->capacity_bytes - rec->capacity_bytes;
	code = more ? loop_admit(pool, rec->name, more, err) : CLEAT_OK;
	if (code)
		return code;
	code = enlarge_image(pool, op, larger, err);
	if (!code && more)
		code = cleat_pooldir_update(&pool->dir, larger, err);
	if (!code)
		code = loop_book_put(&pool->book, larger, err);
	loop_release(pool, more);
	if (!code)
		*rec_out = cleat_steal(larger);
	return code;
}

/* ---- removing ---- */

static enum cleat_code check_unused(struct loop_pool *pool, const struct cleat_record *rec, bool *gone_out,
				    struct cleat_error *err)
{
	cleat_autoclose int image = -1;
	struct cleat_error inner = CLEAT_ERROR_INIT;
	enum cleat_code code = loop_open_image(pool, rec, O_RDONLY, &image, &inner);

	*gone_out = code == CLEAT_NOT_FOUND;
	if (code == CLEAT_NOT_FOUND || code == CLEAT_DATA_LOSS) /* without an image nothing can hold it */
		return CLEAT_OK;
	if (!code)
		code = loop_free_device(pool, rec, image, &inner);
	if (code && err)
		*err = inner;
	return code;
}

/* XFS frees the blocks of a removed file some time later; those of a file that was cut off are free at once,
 * and the next creation is admitted by what is free.  An adopted image may still have its old name: then its
 * contents are not ours alone. */
static void free_blocks(const struct loop_pool *pool, const char *trash)
{
	cleat_autoclose int image = -1;
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", trash, LOOP_IMAGE);
	if (cleat_sys_open_at(pool->dir.trash_fd, path, O_RDWR, 0, &image, NULL) || fstat(image, &st) ||
	    st.st_nlink != 1)
		return;
	if (cleat_sys_truncate(image, 0, path, NULL))
		return;
}

enum cleat_code loop_remove(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			    struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	cleat_autofree char *trash = NULL;
	bool gone = false;
	enum cleat_code code;

	cleat_op_step(op, "remove image", LOOP_STEP_MS);
	code = check_unused(pool, rec, &gone, err);
	if (!code)
		code = cleat_pooldir_discard(&pool->dir, rec->key, &trash, err);
	if (code)
		return code;
	loop_book_remove(&pool->book, rec->key);
	if (!trash)
		return CLEAT_OK;
	free_blocks(pool, trash);
	return cleat_pooldir_purge(&pool->dir, trash, err);
}

/* ---- looking ---- */

enum cleat_code loop_usage(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			   const struct cleat_where *where, struct cleat_usage *out, struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	cleat_autoclose int image = -1;
	struct stat st;

	if (rec->access_type != CLEAT_ACCESS_BLOCK && where && where->stage_path)
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "the file system of '%s' knows better",
				       rec->name);
	cleat_op_step(op, "look at image", LOOP_STEP_MS);
	enum cleat_code code = loop_open_image(pool, rec, O_RDONLY, &image, err);
	if (code)
		return code;
	if (fstat(image, &st))
		return cleat_error_set(err, CLEAT_INTERNAL, "look at the image of '%s'", rec->name);
	uint64_t used = (uint64_t)st.st_blocks * 512, total = rec->capacity_bytes;
	*out = (struct cleat_usage){
		.total_bytes = total,
		.used_bytes = used < total ? used : total,
		.available_bytes = used < total ? total - used : 0,
	};
	return CLEAT_OK;
}

static enum cleat_code check_contents(const struct cleat_record *rec, int image, uint64_t bytes,
				      struct cleat_error *err)
{
	const struct cleat_fs *fs = cleat_fs_find(rec->fs);
	uint64_t filled = 0;

	if (rec->access_type == CLEAT_ACCESS_BLOCK || !rec->formatted)
		return CLEAT_OK;
	if (!fs)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'%s' has unknown file system '%s'", rec->name,
				       rec->fs);
	enum cleat_code code = cleat_fs_filled_bytes(fs, image, rec->name, &filled, err);
	if (!code && filled > bytes)
		code = cleat_error_set(err, CLEAT_DATA_LOSS,
				       "the file system of '%s' is %llu bytes large, its image only %llu",
				       rec->name, (unsigned long long)filled, (unsigned long long)bytes);
	return code;
}

enum cleat_code loop_health(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			    struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	cleat_autoclose int image = -1;
	struct stat st;

	cleat_op_step(op, "look at image", LOOP_STEP_MS);
	enum cleat_code code = loop_open_image(pool, rec, O_RDONLY, &image, err);
	if (code == CLEAT_NOT_FOUND)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'%s' is missing", rec->name);
	if (code)
		return code;
	if (fstat(image, &st))
		return cleat_error_set(err, CLEAT_INTERNAL, "look at the image of '%s'", rec->name);
	if ((uint64_t)st.st_size < rec->capacity_bytes)
		return cleat_error_set(
			err, CLEAT_DATA_LOSS, "the image of '%s' has %llu bytes instead of %llu", rec->name,
			(unsigned long long)st.st_size, (unsigned long long)rec->capacity_bytes);
	return check_contents(rec, image, (uint64_t)st.st_size, err);
}
