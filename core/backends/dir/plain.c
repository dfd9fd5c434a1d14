/* plain.c - trees that are plain directories: no limit, no snapshot, clones by copying (sharing blocks where
 * the file system can). */
#include "backends/dir/dir_int.h"

#include "sys/copytree.h"
#include "sys/file.h"
#include "util/mem.h"

enum cleat_code cleat_dir_make(struct cleat_tree *t, int attempt_fd, struct cleat_record *rec,
			       struct cleat_error *err)
{
	(void)t;
	(void)rec;
	return cleat_sys_mkdir_at(attempt_fd, CLEAT_TREE_DATA, 0700, false, err);
}

static void tell_progress(uint64_t done_bytes, void *arg)
{
	cleat_op_progress(arg, done_bytes, 0);
}

enum cleat_code cleat_dir_copy_into(struct cleat_op *op, int source_fd, bool in_use, int attempt_fd,
				    const struct cleat_record *rec, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;

	if (in_use)
		return cleat_error_set(
			err, CLEAT_FAILED_PRECONDITION,
			"the source of '%s' is in use: a directory can only be cloned while it is not staged",
			rec->name);
	if (cleat_tree_open_made(attempt_fd, &fd, err) ||
	    cleat_sys_copy_tree(source_fd, fd, tell_progress, op, err))
		return err->code;
	/* The commit that follows syncs only the record and its directory. */
	return cleat_sys_syncfs(fd, rec->name, err);
}

static enum cleat_code copy(struct cleat_tree *t, struct cleat_op *op, int source_fd, bool in_use,
			    int attempt_fd, struct cleat_record *rec, struct cleat_error *err)
{
	enum cleat_code code = cleat_dir_make(t, attempt_fd, rec, err);

	return code ? code : cleat_dir_copy_into(op, source_fd, in_use, attempt_fd, rec, err);
}

static bool can_limit(const struct cleat_tree *t, int data_fd, const struct cleat_record *rec)
{
	(void)t;
	(void)data_fd;
	(void)rec;
	return false;
}

static enum cleat_code limit(struct cleat_tree *t, int data_fd, const struct cleat_record *rec,
			     uint64_t bytes, struct cleat_error *err)
{
	(void)t;
	(void)data_fd;
	if (bytes == 0)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
			       "'%s' has a size limit, and plain directories have none", rec->name);
}

static enum cleat_code used(struct cleat_tree *t, int data_fd, const struct cleat_record *rec,
			    uint64_t *used_out, struct cleat_error *err)
{
	(void)t;
	(void)data_fd;
	(void)used_out;
	return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "'%s': nothing counts what a plain directory uses",
			       rec->name);
}

static enum cleat_code remove_entry(struct cleat_tree *t, int parent_fd, const char *name,
				    struct cleat_error *err)
{
	(void)t;
	return cleat_sys_remove_tree(parent_fd, name, err);
}

const struct cleat_tree_medium cleat_dir_plain = {
	.name = "plain directories",
	.capabilities = 0,
	.make = cleat_dir_make,
	.copy = copy,
	.can_limit = can_limit,
	.limit = limit,
	.used = used,
	.remove = remove_entry,
};
