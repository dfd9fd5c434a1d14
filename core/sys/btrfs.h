/* btrfs.h - subvolumes, their snapshots, and the quota that limits them (btrfs-ioctl(2), libbtrfsutil); knows no volumes.
 *
 * Sizes are enforced by the quota group 0/<subvolume id>.  Simple quotas (kernel 6.7) charge an extent to the subvolume that wrote it and cost
 * nothing; full quota groups count what a subvolume refers to and make snapshots and deletions slower.
 */
#ifndef CLEAT_SYS_BTRFS_H
#define CLEAT_SYS_BTRFS_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether fd is on btrfs. */
bool cleat_sys_is_btrfs(int fd);
/* Whether fd is the root directory of a subvolume. */
bool cleat_sys_is_subvolume(int fd);
/* Id of the subvolume that the directory fd lies in. */
enum cleat_code cleat_sys_subvolume_id(int fd, uint64_t *id_out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Makes an empty subvolume; ALREADY_EXISTS when the name is taken. */
enum cleat_code cleat_sys_subvolume_create(int dirfd, const char *name, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Makes a snapshot of the subvolume source_fd: everything that was written before the call, at one point in time.  Subvolumes nested in the
 * source are empty directories in the snapshot.  Durable on return. */
enum cleat_code cleat_sys_subvolume_snapshot(int source_fd, int dirfd, const char *name, bool read_only, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Deletes the subvolume and those nested in it; gone is OK, a plain directory is FAILED_PRECONDITION. */
enum cleat_code cleat_sys_subvolume_delete(int dirfd, const char *name, struct cleat_error *err) CLEAT_MUST_CHECK;

enum cleat_btrfs_quota {
	CLEAT_BTRFS_QUOTA_OFF,
	CLEAT_BTRFS_QUOTA_FULL,
	CLEAT_BTRFS_QUOTA_SIMPLE,
};
/* What the file system has switched on. */
enum cleat_code cleat_sys_btrfs_quota(int fd, enum cleat_btrfs_quota *out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Switches quotas on (for the whole file system).  UNIMPLEMENTED when the kernel knows no simple quotas; already on in that mode is OK. */
enum cleat_code cleat_sys_btrfs_quota_enable(int fd, enum cleat_btrfs_quota mode, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Limits what subvolume `id` may refer to; bytes 0: no limit.  Repeating it is cheap (one ioctl). */
enum cleat_code cleat_sys_btrfs_limit(int fd, uint64_t id, uint64_t bytes, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Bytes charged to subvolume `id` and its limit (0: none), as of the last commit of the file system.  NOT_FOUND without a quota group. */
enum cleat_code cleat_sys_btrfs_usage(int fd, uint64_t id, uint64_t *used_out, uint64_t *limit_out, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Removes the quota group of a deleted subvolume.  False while the kernel says that it is still in use: until its cleaner has been there.
 * Newer kernels remove the group by themselves then, older ones (Debian 12) do not: ask again later. */
bool cleat_sys_btrfs_forget(int fd, uint64_t id);
/* Calls fn for each quota group of a subvolume that was deleted (cleaned up or not yet), unless somebody put the group into another one. */
typedef void (*cleat_btrfs_group_fn)(uint64_t id, void *arg);
enum cleat_code cleat_sys_btrfs_stale_groups(int fd, cleat_btrfs_group_fn fn, void *arg, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Commits the running transaction, if there is one (nothing is written back that no transaction holds yet). */
enum cleat_code cleat_sys_btrfs_commit(int fd, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
