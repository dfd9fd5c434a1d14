/* btrfs.c - see btrfs.h. */
#include "sys/btrfs.h"

#include "sys/hook.h"
#include "sys/internal.h"
#include "util/mem.h"

#include <btrfsutil.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Newer than the headers of Debian 12. */
#define QUOTA_CTL_ENABLE_SIMPLE 4
#define QGROUP_STATUS_SIMPLE (1ULL << 3)
#ifndef BTRFS_QGROUP_LEVEL_SHIFT
#define BTRFS_QGROUP_LEVEL_SHIFT 48
#endif

static int call(int fd, unsigned long request, const char *name, const char *what, void *args)
{
	int e = cleat_sys_step(name, what);

	while (e == 0 && ioctl(fd, request, args) < 0) {
		if (errno != EINTR)
			e = errno;
	}
	return e;
}

bool cleat_sys_is_btrfs(int fd)
{
	struct statfs st;

	return fstatfs(fd, &st) == 0 && (unsigned long)st.f_type == BTRFS_SUPER_MAGIC;
}

bool cleat_sys_is_subvolume(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && st.st_ino == BTRFS_FIRST_FREE_OBJECTID &&
	       cleat_sys_is_btrfs(fd);
}

enum cleat_code cleat_sys_subvolume_id(int fd, uint64_t *id_out, struct cleat_error *err)
{
	struct btrfs_ioctl_ino_lookup_args args = { .objectid = BTRFS_FIRST_FREE_OBJECTID };

	if (ioctl(fd, BTRFS_IOC_INO_LOOKUP, &args) < 0)
		return cleat_error_errno(err, errno, "find the subvolume id");
	*id_out = args.treeid;
	return CLEAT_OK;
}

enum cleat_code cleat_sys_subvolume_create(int dirfd, const char *name, struct cleat_error *err)
{
	struct btrfs_ioctl_vol_args args = { 0 };
	enum cleat_code code = cleat_sys_check_name(name, err);

	if (code)
		return code;
	snprintf(args.name, sizeof(args.name), "%s", name);
	int e = call(dirfd, BTRFS_IOC_SUBVOL_CREATE, "ioctl(BTRFS_IOC_SUBVOL_CREATE)", name, &args);
	return e ? cleat_error_errno(err, e, "create subvolume '%s'", name) : CLEAT_OK;
}

enum cleat_code cleat_sys_subvolume_snapshot(int source_fd, int dirfd, const char *name, bool read_only,
					     struct cleat_error *err)
{
	struct btrfs_ioctl_vol_args_v2 args = { .fd = source_fd,
						.flags = read_only ? BTRFS_SUBVOL_RDONLY : 0 };
	enum cleat_code code = cleat_sys_check_name(name, err);

	if (code)
		return code;
	snprintf(args.name, sizeof(args.name), "%s", name);
	int e = call(dirfd, BTRFS_IOC_SNAP_CREATE_V2, "ioctl(BTRFS_IOC_SNAP_CREATE_V2)", name, &args);
	return e ? cleat_error_errno(err, e, "snapshot subvolume as '%s'", name) : CLEAT_OK;
}

enum cleat_code cleat_sys_subvolume_delete(int dirfd, const char *name, struct cleat_error *err)
{
	enum cleat_code code = cleat_sys_check_name(name, err);
	struct stat st;

	if (code)
		return code;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? CLEAT_OK : cleat_error_errno(err, errno, "stat '%s'", name);
	if (!S_ISDIR(st.st_mode) || st.st_ino != BTRFS_FIRST_FREE_OBJECTID)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' is not a subvolume", name);
	int e = cleat_sys_step("ioctl(BTRFS_IOC_SNAP_DESTROY)", name);
	if (e)
		return cleat_error_errno(err, e, "delete subvolume '%s'", name);
	enum btrfs_util_error problem =
		btrfs_util_delete_subvolume_fd(dirfd, name, BTRFS_UTIL_DELETE_SUBVOLUME_RECURSIVE);
	e = errno;
	if (problem == BTRFS_UTIL_OK || e == ENOENT)
		return CLEAT_OK;
	return cleat_error_errno(err, e, "delete subvolume '%s': %s", name, btrfs_util_strerror(problem));
}

/* ---- quota ----------------------------------------------------------------------------------- */

/* Finds the first item of `tree` with this object id and type and an offset in [least, most]: 0, ENOENT when
 * there is none, or an errno value.  Copies n bytes of it; an item that is shorter counts as none. */
static int find_item(int fd, struct btrfs_ioctl_search_key key, uint64_t *offset_out, void *item, size_t n)
{
	struct btrfs_ioctl_search_args args = { .key = key };
	struct btrfs_ioctl_search_header header;

	args.key.max_objectid = key.min_objectid;
	args.key.max_type = key.min_type;
	args.key.max_transid = UINT64_MAX;
	args.key.nr_items = 1;
	if (ioctl(fd, BTRFS_IOC_TREE_SEARCH, &args) < 0)
		return errno;
	if (args.key.nr_items < 1)
		return ENOENT;
	memcpy(&header, args.buf, sizeof(header));
	if (header.type != key.min_type || header.offset < key.min_offset || header.offset > key.max_offset ||
	    header.len < n)
		return ENOENT;
	*offset_out = header.offset;
	if (n)
		memcpy(item, args.buf + sizeof(header), n);
	return 0;
}

/* Items of the quota tree have object id 0, and the id of the group as their offset. */
static int read_item(int fd, uint8_t type, uint64_t offset, void *item, size_t n)
{
	const struct btrfs_ioctl_search_key key = {
		.tree_id = BTRFS_QUOTA_TREE_OBJECTID,
		.min_type = type,
		.min_offset = offset,
		.max_offset = offset,
	};
	uint64_t found = 0;

	return find_item(fd, key, &found, item, n);
}

enum cleat_code cleat_sys_btrfs_quota(int fd, enum cleat_btrfs_quota *out, struct cleat_error *err)
{
	uint64_t words[3] = { 0 }; /* version, generation, flags of struct btrfs_qgroup_status_item */
	int e = read_item(fd, BTRFS_QGROUP_STATUS_KEY, 0, words, sizeof(words));

	if (e && e != ENOENT)
		return cleat_error_errno(err, e, "read the state of btrfs quotas");
	uint64_t flags = le64toh(words[2]);
	if (e || !(flags & BTRFS_QGROUP_STATUS_FLAG_ON))
		*out = CLEAT_BTRFS_QUOTA_OFF;
	else
		*out = flags & QGROUP_STATUS_SIMPLE ? CLEAT_BTRFS_QUOTA_SIMPLE : CLEAT_BTRFS_QUOTA_FULL;
	return CLEAT_OK;
}

enum cleat_code cleat_sys_btrfs_quota_enable(int fd, enum cleat_btrfs_quota mode, struct cleat_error *err)
{
	struct btrfs_ioctl_quota_ctl_args args = { 0 };
	enum cleat_btrfs_quota now = CLEAT_BTRFS_QUOTA_OFF;
	bool simple = mode == CLEAT_BTRFS_QUOTA_SIMPLE;
	enum cleat_code code = cleat_sys_btrfs_quota(fd, &now, err);

	if (code || now == mode)
		return code;
	if (now != CLEAT_BTRFS_QUOTA_OFF)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "the file system has %s switched on already",
				       simple ? "full quota groups" : "simple quotas");
	args.cmd = simple ? QUOTA_CTL_ENABLE_SIMPLE : BTRFS_QUOTA_CTL_ENABLE;
	int e = call(fd, BTRFS_IOC_QUOTA_CTL, "ioctl(BTRFS_IOC_QUOTA_CTL)", simple ? "simple" : "full",
		     &args);
	if (simple && (e == EINVAL || e == ENOTTY))
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED,
				       "this kernel has no simple quotas (Linux 6.7)");
	return e ? cleat_error_errno(err, e, "switch btrfs quotas on") : CLEAT_OK;
}

static int create_group(int fd, uint64_t id, bool create)
{
	struct btrfs_ioctl_qgroup_create_args args = { .create = create, .qgroupid = id };

	return call(fd, BTRFS_IOC_QGROUP_CREATE, "ioctl(BTRFS_IOC_QGROUP_CREATE)",
		    create ? "create" : "remove", &args);
}

enum cleat_code cleat_sys_btrfs_limit(int fd, uint64_t id, uint64_t bytes, struct cleat_error *err)
{
	struct btrfs_ioctl_qgroup_limit_args args = { .qgroupid = id };

	/* All ones takes the limit away (btrfs_limit_qgroup() in the kernel). */
	args.lim.flags = BTRFS_QGROUP_LIMIT_MAX_RFER;
	args.lim.max_rfer = bytes ? bytes : UINT64_MAX;
	int e = call(fd, BTRFS_IOC_QGROUP_LIMIT, "ioctl(BTRFS_IOC_QGROUP_LIMIT)", "", &args);
	if (e == ENOENT &&
	    bytes) { /* a subvolume older than the quotas, or one whose group was removed by hand */
		e = create_group(fd, id, true);
		if (e == 0 || e == EEXIST)
			e = call(fd, BTRFS_IOC_QGROUP_LIMIT, "ioctl(BTRFS_IOC_QGROUP_LIMIT)", "", &args);
	}
	if (e == ENOTCONN)
		return bytes ? cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
					       "btrfs quotas are switched off")
			     : CLEAT_OK;
	if (e == ENOENT && !bytes)
		return CLEAT_OK;
	return e ? cleat_error_errno(err, e, "limit subvolume %llu", (unsigned long long)id) : CLEAT_OK;
}

enum cleat_code cleat_sys_btrfs_usage(int fd, uint64_t id, uint64_t *used_out, uint64_t *limit_out,
				      struct cleat_error *err)
{
	uint64_t info[2] = { 0 };  /* generation, referenced of struct btrfs_qgroup_info_item */
	uint64_t limit[2] = { 0 }; /* flags, max_referenced of struct btrfs_qgroup_limit_item */
	int e = read_item(fd, BTRFS_QGROUP_INFO_KEY, id, info, sizeof(info));

	if (e)
		return cleat_error_errno(err, e, "read the quota of subvolume %llu", (unsigned long long)id);
	e = read_item(fd, BTRFS_QGROUP_LIMIT_KEY, id, limit, sizeof(limit));
	if (e && e != ENOENT)
		return cleat_error_errno(err, e, "read the limit of subvolume %llu", (unsigned long long)id);
	*used_out = le64toh(info[1]);
	*limit_out = le64toh(limit[0]) & BTRFS_QGROUP_LIMIT_MAX_RFER ? le64toh(limit[1]) : 0;
	return CLEAT_OK;
}

bool cleat_sys_btrfs_forget(int fd, uint64_t id)
{
	return create_group(fd, id, false) != EBUSY; /* gone, or no quotas at all: nothing is left to do */
}

/* Whether there is any item with this object id and type. */
static bool has_item(int fd, uint64_t tree, uint64_t objectid, uint8_t type)
{
	const struct btrfs_ioctl_search_key key = {
		.tree_id = tree,
		.min_objectid = objectid,
		.min_type = type,
		.max_offset = UINT64_MAX,
	};
	uint64_t offset = 0;

	return find_item(fd, key, &offset, NULL, 0) != ENOENT;
}

/* A subvolume that was deleted loses its back reference at once, its root item when the cleaner is done. */
static bool is_stale(int fd, uint64_t id)
{
	return !has_item(fd, BTRFS_ROOT_TREE_OBJECTID, id, BTRFS_ROOT_BACKREF_KEY) &&
	       !has_item(fd, BTRFS_QUOTA_TREE_OBJECTID, id, BTRFS_QGROUP_RELATION_KEY);
}

enum cleat_code cleat_sys_btrfs_stale_groups(int fd, cleat_btrfs_group_fn fn, void *arg,
					     struct cleat_error *err)
{
	struct btrfs_ioctl_search_key key = {
		.tree_id = BTRFS_QUOTA_TREE_OBJECTID,
		.min_type = BTRFS_QGROUP_INFO_KEY,
		.min_offset = BTRFS_FIRST_FREE_OBJECTID,
		.max_offset =
			(UINT64_C(1) << BTRFS_QGROUP_LEVEL_SHIFT) - 1, /* level 0: groups of subvolumes */
	};
	uint64_t id = 0;
	int e;

	while ((e = find_item(fd, key, &id, NULL, 0)) == 0) {
		if (is_stale(fd, id))
			fn(id, arg);
		key.min_offset = id + 1;
	}
	return e == ENOENT ? CLEAT_OK : cleat_error_errno(err, e, "list btrfs quota groups");
}

enum cleat_code cleat_sys_btrfs_commit(int fd, struct cleat_error *err)
{
	uint64_t transid = 0;
	int e = call(fd, BTRFS_IOC_START_SYNC, "ioctl(BTRFS_IOC_START_SYNC)", "", &transid);

	if (e == 0)
		e = call(fd, BTRFS_IOC_WAIT_SYNC, "ioctl(BTRFS_IOC_WAIT_SYNC)", "", &transid);
	return e ? cleat_error_errno(err, e, "commit the btrfs transaction") : CLEAT_OK;
}
