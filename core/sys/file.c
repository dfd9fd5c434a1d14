/* file.c - see file.h: single files and directories.  Copying is in copy.c, whole trees are in tree.c. */
#include "sys/file.h"

#include "sys/hook.h"
#include "sys/internal.h"
#include "util/buf.h"
#include "util/ids.h"
#include "util/mem.h"

#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Tries, while things are renamed around the path (EAGAIN, openat2(2)) or signals come. */
#define MAX_OPENS 64

enum cleat_code cleat_sys_check_name(const char *name, struct cleat_error *err)
{
	if (name[0] == '\0')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a file name is empty");
	if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not a plain file name", name);
	return CLEAT_OK;
}

int cleat_sys_open_beneath(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	bool makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = makes ? mode & 07777 : 0, /* openat2 refuses a mode that means nothing */
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | resolve,
	};
	long fd = -1;

	for (int i = 0; i < MAX_OPENS && fd < 0; i++) {
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		if (fd < 0 && errno != EINTR && errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

enum cleat_code cleat_sys_path_error(struct cleat_error *err, int errnum, const char *call, const char *path)
{
	switch (errnum) {
	case EXDEV:
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s '%s': it leads out of its directory",
				       call, path);
	case ELOOP:
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "%s '%s': a symbolic link is in the way", call, path);
	case ENOTDIR:
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "%s '%s': Not a directory", call,
				       path);
	case EISDIR:
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "%s '%s': Is a directory", call, path);
	case ENOTEMPTY:
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "%s '%s': Directory not empty", call,
				       path);
	default:
		return cleat_error_errno(err, errnum, "%s '%s'", call, path);
	}
}

enum cleat_code cleat_sys_open_root(const char *path, int *fd_out, struct cleat_error *err)
{
	if (path[0] != '/')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not an absolute path", path);
	int fd = (int)TEMP_FAILURE_RETRY(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		return cleat_sys_path_error(err, errno, "open", path);
	*fd_out = fd;
	return CLEAT_OK;
}

enum cleat_code cleat_sys_open_at(int dirfd, const char *path, int flags, mode_t mode, int *fd_out,
				  struct cleat_error *err)
{
	bool changes = (flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE;
	int injected = changes ? cleat_sys_step("open", path) : 0;
	int fd = injected ? -injected : cleat_sys_open_beneath(dirfd, path, flags, mode, 0);

	if (fd < 0)
		return cleat_sys_path_error(err, -fd, "open", path);
	*fd_out = fd;
	return CLEAT_OK;
}

enum cleat_code cleat_sys_mkdir_at(int dirfd, const char *name, mode_t mode, bool exist_ok,
				   struct cleat_error *err)
{
	enum cleat_code code = cleat_sys_check_name(name, err);
	struct stat st;

	if (code != CLEAT_OK)
		return code;
	int e = cleat_sys_step("mkdirat", name);
	if (e == 0 && mkdirat(dirfd, name, mode) < 0)
		e = errno;
	if (e == 0)
		return CLEAT_OK;
	if (e == EEXIST && exist_ok && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode))
		return CLEAT_OK;
	return cleat_sys_path_error(err, e, "mkdir", name);
}

enum cleat_code cleat_sys_unlink_at(int dirfd, const char *name, int flags, struct cleat_error *err)
{
	enum cleat_code code = cleat_sys_check_name(name, err);

	if (code != CLEAT_OK)
		return code;
	int e = cleat_sys_step("unlinkat", name);
	if (e == 0 && unlinkat(dirfd, name, flags) < 0)
		e = errno;
	if (e == 0 || e == ENOENT)
		return CLEAT_OK;
	return cleat_sys_path_error(err, e, "remove", name);
}

enum cleat_code cleat_sys_rename_at(int from_dirfd, const char *from, int to_dirfd, const char *to,
				    bool noreplace, struct cleat_error *err)
{
	enum cleat_code code = cleat_sys_check_name(from, err);

	if (code == CLEAT_OK)
		code = cleat_sys_check_name(to, err);
	if (code != CLEAT_OK)
		return code;
	int e = cleat_sys_step("renameat2", to);
	if (e == 0 && renameat2(from_dirfd, from, to_dirfd, to, noreplace ? RENAME_NOREPLACE : 0) < 0)
		e = errno;
	if (e == 0)
		return CLEAT_OK;
	/* Without noreplace, EEXIST says what ENOTEMPTY says: a directory that is not empty is in the way. */
	if (e == ENOTEMPTY || (e == EEXIST && !noreplace))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "rename '%s' to '%s': Directory not empty", from, to);
	return cleat_error_errno(err, e, "rename '%s' to '%s'", from, to);
}

enum cleat_code cleat_sys_fsync(int fd, const char *what, struct cleat_error *err)
{
	int e = cleat_sys_step("fsync", what);

	if (e == 0 && TEMP_FAILURE_RETRY(fsync(fd)) < 0)
		e = errno;
	return e == 0 ? CLEAT_OK : cleat_error_errno(err, e, "fsync '%s'", what);
}

enum cleat_code cleat_sys_syncfs(int fd, const char *what, struct cleat_error *err)
{
	int e = cleat_sys_step("syncfs", what);

	if (e == 0 && TEMP_FAILURE_RETRY(syncfs(fd)) < 0)
		e = errno;
	return e == 0 ? CLEAT_OK : cleat_error_errno(err, e, "syncfs '%s'", what);
}

enum cleat_code cleat_sys_write(int fd, const void *bytes, size_t n, const char *what,
				struct cleat_error *err)
{
	const char *p = bytes;

	while (n > 0) {
		int e = cleat_sys_step("write", what);
		ssize_t done = e ? -1 : write(fd, p, n);
		if (done < 0 && e == 0)
			e = errno;
		if (e == EINTR)
			continue;
		if (e)
			return cleat_error_errno(err, e, "write '%s'", what);
		if (done == 0) /* a device that takes nothing and says so would keep us here */
			return cleat_error_set(err, CLEAT_INTERNAL, "write '%s': nothing was written", what);
		p += done;
		n -= (size_t)done;
	}
	return CLEAT_OK;
}

/* Appends the rest of fd to out, at most max_bytes. */
static enum cleat_code read_all(int fd, const char *path, size_t max_bytes, struct cleat_buf *out,
				struct cleat_error *err)
{
	char chunk[16384];
	size_t total = 0;

	for (;;) {
		ssize_t got = TEMP_FAILURE_RETRY(read(fd, chunk, sizeof(chunk)));
		if (got < 0)
			return cleat_error_errno(err, errno, "read '%s'", path);
		if (got == 0)
			break;
		total += (size_t)got;
		if (total > max_bytes)
			return cleat_error_set(err, CLEAT_DATA_LOSS, "'%s' is larger than %zu bytes", path,
					       max_bytes);
		cleat_buf_add(out, chunk, (size_t)got);
	}
	if (!cleat_buf_ok(out))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "read '%s': no room for %zu bytes",
				       path, total);
	return CLEAT_OK;
}

enum cleat_code cleat_sys_read_file(int dirfd, const char *path, size_t max_bytes, struct cleat_buf *out,
				    struct cleat_error *err)
{
	/* O_NONBLOCK: a pipe of that name must not keep us waiting for a writer. */
	cleat_autoclose int fd = cleat_sys_open_beneath(dirfd, path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0, 0);
	size_t before = out->len;
	struct stat st;

	if (fd < 0)
		return cleat_sys_path_error(err, -fd, "open", path);
	if (fstat(fd, &st) < 0)
		return cleat_error_errno(err, errno, "stat '%s'", path);
	if (!S_ISREG(st.st_mode))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' is not a regular file", path);
	enum cleat_code code = read_all(fd, path, max_bytes, out, err);
	if (code != CLEAT_OK && out->data) {
		out->len = before;
		out->data[before] = '\0';
	}
	return code;
}

/* Makes `temp` with the bytes in it, on disk. */
static enum cleat_code write_new(int dirfd, const char *temp, const void *bytes, size_t n, mode_t mode,
				 struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	enum cleat_code code = cleat_sys_open_at(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL, mode, &fd, err);

	if (code == CLEAT_OK)
		code = cleat_sys_write(fd, bytes, n, temp, err);
	if (code == CLEAT_OK)
		code = cleat_sys_fsync(fd, temp, err);
	return code;
}

enum cleat_code cleat_sys_replace_file(int dirfd, const char *name, const void *bytes, size_t n, mode_t mode,
				       bool sync_dir, struct cleat_error *err)
{
	char key[CLEAT_ID_KEY_BYTES], temp[NAME_MAX + 1];
	enum cleat_code code = cleat_sys_check_name(name, err);

	if (code != CLEAT_OK)
		return code;
	cleat_id_new_key(key);
	if (snprintf(temp, sizeof(temp), "%s.%s.tmp", name, key) >= (int)sizeof(temp))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "file name '%s' is too long", name);
	code = write_new(dirfd, temp, bytes, n, mode, err);
	if (code == CLEAT_OK)
		code = cleat_sys_rename_at(dirfd, temp, dirfd, name, false, err);
	if (code != CLEAT_OK) {
		/* The first error is the one to tell; what may stay behind has a name that tells what it is.
		 */
		enum cleat_code ignored = cleat_sys_unlink_at(dirfd, temp, 0, NULL);
		(void)ignored;
		return code;
	}
	return sync_dir ? cleat_sys_fsync(dirfd, name, err) : CLEAT_OK;
}

enum cleat_code cleat_sys_truncate(int fd, uint64_t bytes, const char *what, struct cleat_error *err)
{
	if (bytes > INT64_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "truncate '%s': the size is too large",
				       what);
	int e = cleat_sys_step("ftruncate", what);
	if (e == 0 && TEMP_FAILURE_RETRY(ftruncate(fd, (off_t)bytes)) < 0)
		e = errno;
	return e == 0 ? CLEAT_OK
		      : cleat_error_errno(err, e, "truncate '%s' to %llu bytes", what,
					  (unsigned long long)bytes);
}

enum cleat_code cleat_sys_allocate(int fd, uint64_t bytes, const char *what, struct cleat_error *err)
{
	if (bytes > INT64_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "allocate '%s': the size is too large",
				       what);
	if (bytes == 0) /* fallocate(2) refuses a length of 0 */
		return CLEAT_OK;
	int e = cleat_sys_step("fallocate", what);
	if (e == 0 && TEMP_FAILURE_RETRY(fallocate(fd, 0, 0, (off_t)bytes)) < 0)
		e = errno;
	return e == 0 ? CLEAT_OK
		      : cleat_error_errno(err, e, "allocate %llu bytes for '%s'", (unsigned long long)bytes,
					  what);
}

/* fchmod(2) knows nothing of O_PATH descriptors; their entry in /proc does. */
static int change_mode(int fd, mode_t mode)
{
	char link[32];

	if (fchmod(fd, mode) == 0)
		return 0;
	if (errno != EBADF)
		return errno;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return chmod(link, mode) == 0 ? 0 : errno;
}

enum cleat_code cleat_sys_set_owner(int fd, uid_t uid, gid_t gid, mode_t mode, const char *what,
				    struct cleat_error *err)
{
	if (uid != (uid_t)-1 || gid != (gid_t)-1) {
		int e = cleat_sys_step("fchownat", what);
		if (e == 0 && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
			e = errno;
		if (e)
			return cleat_error_errno(err, e, "change owner of '%s'", what);
	}
	if (mode != (mode_t)-1) {
		int e = cleat_sys_step("fchmod", what);
		if (e == 0)
			e = change_mode(fd, mode & 07777);
		if (e)
			return cleat_error_errno(err, e, "change mode of '%s'", what);
	}
	return CLEAT_OK;
}

enum cleat_code cleat_sys_lock(int fd, const char *what, struct cleat_error *err)
{
	int e = cleat_sys_step("flock", what);

	if (e == 0 && TEMP_FAILURE_RETRY(flock(fd, LOCK_EX | LOCK_NB)) < 0)
		e = errno;
	if (e == EWOULDBLOCK)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "lock '%s': held by another process",
				       what);
	return e == 0 ? CLEAT_OK : cleat_error_errno(err, e, "lock '%s'", what);
}

/* A far side may claim more blocks than 64 bits of bytes can say. */
static uint64_t times(uint64_t blocks, uint64_t block_bytes)
{
	uint64_t product;

	return __builtin_mul_overflow(blocks, block_bytes, &product) ? UINT64_MAX : product;
}

enum cleat_code cleat_sys_space(int fd, const char *what, struct cleat_sys_space *out,
				struct cleat_error *err)
{
	struct statfs fs;

	if (TEMP_FAILURE_RETRY(fstatfs(fd, &fs)) < 0)
		return cleat_error_errno(err, errno, "statfs '%s'", what);
	uint64_t unit = (uint64_t)(fs.f_frsize > 0 ? fs.f_frsize : fs.f_bsize);
	*out = (struct cleat_sys_space){
		.total_bytes = times(fs.f_blocks, unit),
		.free_bytes = times(fs.f_bfree, unit),
		.available_bytes = times(fs.f_bavail, unit),
		.total_inodes = fs.f_files,
		.free_inodes = fs.f_ffree,
		.read_only = (fs.f_flags & ST_RDONLY) != 0,
	};
	return CLEAT_OK;
}
