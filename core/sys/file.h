/* file.h - files and directories relative to descriptors; no path given here can leave the directory it starts from.
 *
 * Every function that changes something passes cleat_sys_step() first, names the path in its error, and leaves its
 * outputs alone on failure.  Paths are relative to dirfd and are resolved with openat2(RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS
 * |RESOLVE_NO_MAGICLINKS) where they have more than one component; single components are used as they are ("/" in them is
 * INVALID_ARGUMENT).
 */
#ifndef CLEAT_SYS_FILE_H
#define CLEAT_SYS_FILE_H

#include <cleat/error.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct cleat_buf;

/* Opens an absolute path as a directory (symlinks in it are followed: for configured paths only). */
enum cleat_code cleat_sys_open_root(const char *path, int *fd_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Opens path beneath dirfd.  flags as for open(2), O_CLOEXEC is added. */
enum cleat_code cleat_sys_open_at(int dirfd, const char *path, int flags, mode_t mode, int *fd_out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* mkdir -p of an absolute configured path, missing components with `mode`. */
enum cleat_code cleat_sys_mkdir_path(const char *path, mode_t mode, struct cleat_error *err) CLEAT_MUST_CHECK;
/* mkdirat(2); EEXIST of a directory is OK when exist_ok. */
enum cleat_code cleat_sys_mkdir_at(int dirfd, const char *name, mode_t mode, bool exist_ok, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* unlinkat(2); flags 0 or AT_REMOVEDIR; what does not exist is OK. */
enum cleat_code cleat_sys_unlink_at(int dirfd, const char *name, int flags, struct cleat_error *err) CLEAT_MUST_CHECK;
/* renameat2(2); with noreplace an existing target is ALREADY_EXISTS. */
enum cleat_code cleat_sys_rename_at(int from_dirfd, const char *from, int to_dirfd, const char *to, bool noreplace,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* Removes a file or a whole tree; never crosses a mount point (FAILED_PRECONDITION then), never follows symlinks; gone is OK. */
enum cleat_code cleat_sys_remove_tree(int dirfd, const char *name, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code cleat_sys_fsync(int fd, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code cleat_sys_syncfs(int fd, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Writes all n bytes at the current position. */
enum cleat_code cleat_sys_write(int fd, const void *bytes, size_t n, const char *what, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Appends a whole file to out; DATA_LOSS when it is larger than max_bytes; NOT_FOUND when absent. */
enum cleat_code cleat_sys_read_file(int dirfd, const char *path, size_t max_bytes, struct cleat_buf *out,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* Replaces a small file durably: writes "<name>.<random>.tmp", fsync, rename over name, fsync of dirfd when sync_dir. */
enum cleat_code cleat_sys_replace_file(int dirfd, const char *name, const void *bytes, size_t n, mode_t mode,
				       bool sync_dir, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code cleat_sys_truncate(int fd, uint64_t bytes, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;
/* fallocate(2) mode 0 over [0, bytes): every byte is really there. */
enum cleat_code cleat_sys_allocate(int fd, uint64_t bytes, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;
/* ioctl(FICLONE): UNIMPLEMENTED where the file system has no reflinks. */
enum cleat_code cleat_sys_clone_file(int from_fd, int to_fd, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Copies data, keeping holes (SEEK_DATA, copy_file_range).  progress (may be NULL) is called now and then. */
enum cleat_code cleat_sys_copy_file(int from_fd, int to_fd, const char *what,
				    void (*progress)(uint64_t done, uint64_t total, void *arg), void *arg,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* fchownat + fchmodat of an open directory or file: uid/gid of (uid_t)-1 and mode of (mode_t)-1 are left alone; the mode is
 * applied exactly (umask has no say), after the owner. */
enum cleat_code cleat_sys_set_owner(int fd, uid_t uid, gid_t gid, mode_t mode, const char *what, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* flock(2) LOCK_EX|LOCK_NB: FAILED_PRECONDITION "held by another process" when somebody has it. */
enum cleat_code cleat_sys_lock(int fd, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;

struct cleat_sys_space {
	uint64_t total_bytes, free_bytes, available_bytes; /* available: without what is reserved for root */
	uint64_t total_inodes, free_inodes;
	bool read_only;
};
/* fstatfs(2) of the file system that fd is on. */
enum cleat_code cleat_sys_space(int fd, const char *what, struct cleat_sys_space *out, struct cleat_error *err)
	CLEAT_MUST_CHECK;

#endif
