/* attempt.c - one image on its way into the pool: made in new/, filled, and made visible by one rename. */
#include "backends/loop/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "sys/file.h"
#include "sys/fsctl.h"
#include "util/kv.h"
#include "util/mem.h"

enum cleat_code loop_attempt_begin_empty(struct loop_pool *pool, const struct cleat_record *rec,
					 uint64_t reserve_bytes, struct loop_attempt *out,
					 struct cleat_error *err)
{
	enum cleat_code code = reserve_bytes ? loop_admit(pool, rec->name, reserve_bytes, err) : CLEAT_OK;

	if (code)
		return code;
	out->pool = pool;
	out->reserved_bytes = reserve_bytes;
	return cleat_pooldir_begin(&pool->dir, rec->key, &out->name, &out->dir_fd, err);
}

enum cleat_code loop_attempt_begin(struct loop_pool *pool, const struct cleat_record *rec,
				   uint64_t reserve_bytes, struct loop_attempt *out, struct cleat_error *err)
{
	enum cleat_code code = loop_attempt_begin_empty(pool, rec, reserve_bytes, out, err);

	if (!code)
		code = cleat_sys_open_at(out->dir_fd, LOOP_IMAGE, O_CREAT | O_EXCL | O_RDWR, 0600,
					 &out->image_fd, err);
	return code;
}

void loop_attempt_path(const struct loop_attempt *a, char *path, size_t path_bytes)
{
	snprintf(path, path_bytes, "%s/new/%s/%s", a->pool->data_path, a->name, LOOP_IMAGE);
}

static void give_back(struct loop_attempt *a)
{
	if (a->reserved_bytes)
		loop_release(a->pool, a->reserved_bytes);
	a->reserved_bytes = 0;
}

enum cleat_code loop_attempt_commit(struct loop_attempt *a, const struct cleat_record *rec,
				    struct cleat_error *err)
{
	enum cleat_code code = cleat_sys_fsync(a->image_fd, rec->name, err);

	if (!code)
		code = loop_book_put(&a->pool->book, rec, err);
	if (code)
		return code;
	code = cleat_pooldir_commit(&a->pool->dir, a->name, a->dir_fd, rec, err);
	if (code) {
		if (code != CLEAT_ALREADY_EXISTS)
			loop_book_remove(&a->pool->book, rec->key);
		return code;
	}
	free(cleat_steal(a->name));
	give_back(a);
	return CLEAT_OK;
}

void loop_attempt_done(struct loop_attempt *a)
{
	if (a->image_fd >= 0)
		close(a->image_fd);
	if (a->dir_fd >= 0)
		close(a->dir_fd);
	if (a->name)
		cleat_pooldir_abandon(&a->pool->dir, a->name);
	free(a->name);
	if (a->pool)
		give_back(a);
	*a = (struct loop_attempt)LOOP_ATTEMPT_INIT;
}

enum cleat_code loop_open_image(const struct loop_pool *pool, const struct cleat_record *rec, int flags,
				int *fd_out, struct cleat_error *err)
{
	cleat_autoclose int dir = -1;
	enum cleat_code code = cleat_pooldir_open_volume(&pool->dir, rec->key, &dir, err);

	if (code)
		return code;
	code = cleat_sys_open_at(dir, LOOP_IMAGE, flags, 0, fd_out, err);
	if (code == CLEAT_NOT_FOUND)
		code = cleat_error_set(err, CLEAT_DATA_LOSS, "the image of '%s' is missing", rec->name);
	return code;
}

static enum cleat_code copy_attribute(const struct cleat_record *from, struct cleat_record *to,
				      const char *key, struct cleat_error *err)
{
	const char *value = cleat_kv_get(&from->attributes, key);

	return value ? cleat_kv_set(&to->attributes, key, value, err) : CLEAT_OK;
}

enum cleat_code loop_inherit(const struct loop_pool *pool, const struct cleat_record *source,
			     struct cleat_record *rec, struct cleat_error *err)
{
	const char *lineage = cleat_kv_get(&source->attributes, LOOP_ATTR_LINEAGE);
	enum cleat_code code = copy_attribute(source, rec, LOOP_ATTR_SECTOR, err);

	if (!code && pool->reflink)
		code = cleat_kv_set(&rec->attributes, LOOP_ATTR_LINEAGE, lineage ? lineage : source->key,
				    err);
	if (!code)
		code = cleat_record_set(&rec->fs, source->fs, err);
	if (code)
		return code;
	rec->access_type = source->access_type;
	rec->formatted = source->formatted;
	rec->fs_bytes = source->fs_bytes ? source->fs_bytes : source->capacity_bytes;
	rec->clone = true;
	return CLEAT_OK;
}

static void show_progress(uint64_t done, uint64_t total, void *arg)
{
	cleat_op_progress(arg, done, total);
}

enum cleat_code loop_fill(const struct loop_pool *pool, struct cleat_op *op, int from_fd, int to_fd,
			  const char *name, struct cleat_error *err)
{
	/* Blocks can only be shared between files that are both overwritten in place or both not. */
	if (pool->copy_on_write && cleat_sys_overwrites_in_place(from_fd)) {
		enum cleat_code code = cleat_sys_set_overwrite_in_place(to_fd, name, err);
		if (code)
			return code;
	}
	if (pool->reflink) {
		cleat_op_step(op, "clone image", LOOP_STEP_MS);
		return cleat_sys_clone_file(from_fd, to_fd, name, err);
	}
	cleat_op_step(op, "copy image", LOOP_COPY_MS);
	return cleat_sys_copy_file(from_fd, to_fd, name, show_progress, op, err);
}
