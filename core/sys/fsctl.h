/* fsctl.h - requests to mounted file systems (grow) and to single files (ranges, extents, links) that are
 * neither mounting nor naming. */
#ifndef CLEAT_SYS_FSCTL_H
#define CLEAT_SYS_FSCTL_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each grows the mounted file system at mount_fd to `bytes`, the size of its device. */

/* EXT4_IOC_RESIZE_FS.  *allowed_out false with CLEAT_OK: the kernel does not let this process (no
 * CAP_SYS_RESOURCE), or cannot do it online with this file system's features. */
enum cleat_code cleat_sys_grow_ext4(int mount_fd, uint64_t bytes, const char *what, bool *allowed_out,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* XFS_IOC_FSGROWFSDATA. */
enum cleat_code cleat_sys_grow_xfs(int mount_fd, uint64_t bytes, const char *what,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* BTRFS_IOC_RESIZE "max". */
enum cleat_code cleat_sys_grow_btrfs(int mount_fd, const char *what,
				     struct cleat_error *err) CLEAT_MUST_CHECK;

/* Opens a device or file by absolute path (its last component may not be a symlink).  flags as for open(2);
 * O_CLOEXEC is added. */
enum cleat_code cleat_sys_open_path(const char *path, int flags, int *fd_out,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* All n bytes at offset; a file that ends before is DATA_LOSS. */
enum cleat_code cleat_sys_read_at(int fd, void *out, size_t n, uint64_t offset, const char *what,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code cleat_sys_write_at(int fd, const void *bytes, size_t n, uint64_t offset, const char *what,
				   struct cleat_error *err) CLEAT_MUST_CHECK;

/* fallocate(2) over [offset, offset + bytes) without changing the size of the file. */
enum cleat_code cleat_sys_allocate_range(int fd, uint64_t offset, uint64_t bytes, const char *what,
					 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Gives the file blocks of its own where it shares them (FALLOC_FL_UNSHARE_RANGE): UNIMPLEMENTED where that cannot be had. */
enum cleat_code cleat_sys_unshare(int fd, uint64_t bytes, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Calls fn for every allocated extent of the file (FS_IOC_FIEMAP), with its place on the device below, until
 * fn returns false. */
typedef bool (*cleat_extent_fn)(uint64_t physical, uint64_t bytes, void *arg);
enum cleat_code cleat_sys_extents(int fd, const char *what, cleat_extent_fn fn, void *arg,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* FS_NOCOW_FL of a file, which must be empty when it is set: overwriting in place where the file system would copy (btrfs).  Where there is no
 * such flag, setting it does nothing. */
enum cleat_code cleat_sys_set_overwrite_in_place(int fd, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;
bool cleat_sys_overwrites_in_place(int fd);

/* Gives the open file one more name (linkat(2)).  ALREADY_EXISTS when that is taken. */
enum cleat_code cleat_sys_link(int fd, int to_dirfd, const char *name,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
/* FAILED_PRECONDITION when another process, or another descriptor, has the file open (a write lease, taken
 * and given back at once). Where the file system knows no leases the answer is CLEAT_OK. */
enum cleat_code cleat_sys_only_opener(int fd, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
