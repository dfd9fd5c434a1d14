/* tree_subvolumes.c - trees that are btrfs subvolumes: limited by their quota group, snapshot and cloned
 * without copying. */
#include "store/tree.h"

#include "sys/btrfs.h"
#include "sys/copytree.h"
#include "sys/file.h"
#include "util/log.h"
#include "util/mem.h"

#include <string.h>

#define STALE_AT_ONCE 16 /* quota groups asked for in one go */

static enum cleat_code set_limit(int data_fd, uint64_t bytes, struct cleat_error *err)
{
	uint64_t id = 0;
	enum cleat_code code = cleat_sys_subvolume_id(data_fd, &id, err);

	return code ? code : cleat_sys_btrfs_limit(data_fd, id, bytes, err);
}

static enum cleat_code limit_made(const struct cleat_tree *t, int attempt_fd, const struct cleat_record *rec,
				  struct cleat_error *err)
{
	cleat_autoclose int fd = -1;

	if (!t->enforces || rec->capacity_bytes == 0)
		return CLEAT_OK;
	enum cleat_code code = cleat_tree_open_made(attempt_fd, &fd, err);
	return code ? code : set_limit(fd, rec->capacity_bytes, err);
}

static enum cleat_code make(struct cleat_tree *t, int attempt_fd, struct cleat_record *rec,
			    struct cleat_error *err)
{
	enum cleat_code code = cleat_sys_subvolume_create(attempt_fd, CLEAT_TREE_DATA, err);

	return code ? code : limit_made(t, attempt_fd, rec, err);
}

static void tell_progress(uint64_t done_bytes, void *arg)
{
	cleat_op_progress(arg, done_bytes, 0);
}

/* An adopted directory that is no subvolume of its own can only be copied, and only while nothing writes
 * there. */
static enum cleat_code copy_plain(struct cleat_tree *t, struct cleat_op *op, int source_fd, bool in_use,
				  int attempt_fd, struct cleat_record *rec, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;

	if (rec->kind == CLEAT_KIND_SNAPSHOT || in_use)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "the source of '%s' is a plain directory, not a subvolume: it can "
				       "only be cloned, and not while in use",
				       rec->name);
	if (make(t, attempt_fd, rec, err) || cleat_tree_open_made(attempt_fd, &fd, err) ||
	    cleat_sys_copy_tree(source_fd, fd, tell_progress, op, err) ||
	    cleat_sys_syncfs(fd, rec->name, err))
		return err->code;
	return CLEAT_OK;
}

/* The limit of a clone counts all that it refers to, but with simple quotas only what it writes itself. */
static enum cleat_code copy(struct cleat_tree *t, struct cleat_op *op, int source_fd, bool in_use,
			    int attempt_fd, struct cleat_record *rec, struct cleat_error *err)
{
	bool snapshot = rec->kind == CLEAT_KIND_SNAPSHOT;

	if (!cleat_sys_is_subvolume(source_fd))
		return copy_plain(t, op, source_fd, in_use, attempt_fd, rec, err);
	enum cleat_code code =
		cleat_sys_subvolume_snapshot(source_fd, attempt_fd, CLEAT_TREE_DATA, snapshot, err);
	if (!code && !snapshot)
		code = limit_made(t, attempt_fd, rec, err);
	return code;
}

static bool can_limit(const struct cleat_tree *t, int data_fd, const struct cleat_record *rec)
{
	(void)t;
	(void)rec;
	return cleat_sys_is_subvolume(data_fd);
}

static enum cleat_code limit(struct cleat_tree *t, int data_fd, const struct cleat_record *rec,
			     uint64_t bytes, struct cleat_error *err)
{
	(void)t;
	if (!cleat_sys_is_subvolume(data_fd))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'%s' has a size limit, but its data is not a subvolume any more",
				       rec->name);
	return set_limit(data_fd, bytes, err);
}

/* Quota groups are written when a transaction commits, so what was just written counts only after one. */
static enum cleat_code used(struct cleat_tree *t, int data_fd, const struct cleat_record *rec,
			    uint64_t *used_out, struct cleat_error *err)
{
	uint64_t id = 0, most = 0;

	if (!t->enforces || !cleat_sys_is_subvolume(data_fd))
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "'%s': usage is not counted without quotas",
				       rec->name);
	enum cleat_code code = cleat_sys_subvolume_id(data_fd, &id, err);
	if (!code)
		code = cleat_sys_btrfs_commit(data_fd, err);
	return code ? code : cleat_sys_btrfs_usage(data_fd, id, used_out, &most, err);
}

/* ---- quota groups that outlive their subvolume ----------------------------------------------- */

static void remember_stale(uint64_t id, void *arg)
{
	struct cleat_tree *t = arg;

	pthread_mutex_lock(&t->lock);
	if (t->stale_count < CLEAT_TREE_STALE_MAX)
		t->stale_groups[t->stale_count++] = id;
	pthread_mutex_unlock(&t->lock);
}

static bool take_stale(struct cleat_tree *t, uint64_t *id_out)
{
	bool taken = false;

	pthread_mutex_lock(&t->lock);
	if (t->stale_count > 0) {
		taken = true;
		*id_out = t->stale_groups[0];
		memmove(t->stale_groups, t->stale_groups + 1, --t->stale_count * sizeof(t->stale_groups[0]));
	}
	pthread_mutex_unlock(&t->lock);
	return taken;
}

/* Asks for some of them, oldest first; those that are still in use go to the end of the list. */
static void tidy(struct cleat_tree *t)
{
	uint64_t id = 0;

	for (int i = 0; i < STALE_AT_ONCE && take_stale(t, &id); i++)
		if (!cleat_sys_btrfs_forget(t->dir.root_fd, id))
			remember_stale(id, t);
}

/* Also groups that others have left: they are of no use to anybody, because ids of subvolumes are never used
 * again. */
static void recover(struct cleat_tree *t)
{
	if (!t->enforces || t->dir.id.read_only)
		return;
	if (cleat_sys_btrfs_stale_groups(t->dir.root_fd, remember_stale, t, NULL))
		cleat_debug("pool '%s': quota groups of deleted subvolumes cannot be listed",
			    t->dir.id.stored_name);
	tidy(t);
}

/* ---- removal --------------------------------------------------------------------------------- */

static enum cleat_code remove_subvolume(struct cleat_tree *t, int entry_fd, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	struct cleat_error inner = CLEAT_ERROR_INIT;
	uint64_t id = 0;
	enum cleat_code code = cleat_tree_open_made(entry_fd, &fd, &inner);

	if (code == CLEAT_NOT_FOUND)
		return CLEAT_OK;
	if (!code && !cleat_sys_is_subvolume(fd))
		return CLEAT_OK;
	if (!code)
		code = cleat_sys_subvolume_id(fd, &id, &inner);
	if (!code)
		code = cleat_sys_subvolume_delete(entry_fd, CLEAT_TREE_DATA, &inner);
	if (code) {
		if (err)
			*err = inner;
		return code;
	}
	if (t->enforces) {
		remember_stale(id, t);
		tidy(t);
	}
	return CLEAT_OK;
}

static enum cleat_code remove_entry(struct cleat_tree *t, int parent_fd, const char *name,
				    struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	struct cleat_error inner = CLEAT_ERROR_INIT;

	(void)t;
	enum cleat_code code =
		cleat_sys_open_at(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd, &inner);
	if (code == CLEAT_OK)
		code = remove_subvolume(t, fd, &inner);
	else if (code == CLEAT_NOT_FOUND ||
		 code == CLEAT_FAILED_PRECONDITION) /* gone, or a file: the next line's business */
		code = CLEAT_OK;
	if (code == CLEAT_OK)
		return cleat_sys_remove_tree(parent_fd, name, err);
	if (err)
		*err = inner;
	return code;
}

const struct cleat_tree_medium cleat_tree_subvolumes = {
	.name = "btrfs subvolumes",
	.capabilities = CLEAT_CAN_SNAPSHOT,
	.make = make,
	.copy = copy,
	.can_limit = can_limit,
	.limit = limit,
	.used = used,
	.remove = remove_entry,
	.recover = recover,
	.tidy = tidy,
};

/* ---- switching quotas on --------------------------------------------------------------------- */

static enum cleat_code enable_any(int fd, struct cleat_error *err)
{
	struct cleat_error inner = CLEAT_ERROR_INIT;
	enum cleat_btrfs_quota now = CLEAT_BTRFS_QUOTA_OFF;
	enum cleat_code code = cleat_sys_btrfs_quota(fd, &now, err);

	if (code || now != CLEAT_BTRFS_QUOTA_OFF)
		return code;
	code = cleat_sys_btrfs_quota_enable(fd, CLEAT_BTRFS_QUOTA_SIMPLE, &inner);
	if (code == CLEAT_UNIMPLEMENTED)
		return cleat_sys_btrfs_quota_enable(fd, CLEAT_BTRFS_QUOTA_FULL, err);
	if (code)
		*err = inner;
	return code;
}

enum cleat_code cleat_tree_subvolumes_quota(struct cleat_tree *t, enum cleat_tree_quota wanted,
					    struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	enum cleat_code code = CLEAT_OK;

	err = err ? err : &own;
	switch (wanted) {
	case CLEAT_TREE_QUOTA_NONE:
		t->soft = true;
		return CLEAT_OK;
	case CLEAT_TREE_QUOTA_AUTO:
		code = enable_any(t->dir.root_fd, err);
		break;
	case CLEAT_TREE_QUOTA_SIMPLE:
		code = cleat_sys_btrfs_quota_enable(t->dir.root_fd, CLEAT_BTRFS_QUOTA_SIMPLE, err);
		break;
	case CLEAT_TREE_QUOTA_FULL:
		code = cleat_sys_btrfs_quota_enable(t->dir.root_fd, CLEAT_BTRFS_QUOTA_FULL, err);
		break;
	}
	t->enforces = code == CLEAT_OK;
	return code;
}
