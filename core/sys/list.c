/* list.c - see list.h. */
#include "sys/list.h"

#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

enum cleat_code cleat_sys_list(int dirfd, const char *name, cleat_sys_list_fn fn, void *arg,
			       struct cleat_error *err)
{
	cleat_autoclose int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return cleat_error_errno(err, errno, "open directory '%s'", name);
	__attribute__((cleanup(cleanup_dir))) DIR *dir = fdopendir(fd);
	if (!dir)
		return cleat_error_errno(err, errno, "list '%s'", name);
	fd = -1; /* closed with dir */
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (!entry)
			return errno ? cleat_error_errno(err, errno, "list '%s'", name) : CLEAT_OK;
		if (!is_dot(entry->d_name) && !fn(entry->d_name, entry->d_type, arg))
			return CLEAT_OK;
	}
}

enum cleat_code cleat_sys_path_of(int fd, char *path, size_t path_bytes, struct cleat_error *err)
{
	static const char deleted[] = " (deleted)";
	char link[40];
	struct stat st;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, path_bytes);
	if (n < 0)
		return cleat_error_errno(err, errno, "read '%s'", link);
	if ((size_t)n >= path_bytes)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a path is longer than %zu bytes",
				       path_bytes - 1);
	path[n] = '\0';
	/* The kernel's mark of a removed directory looks like a name; only the link count tells them apart.
	 */
	const size_t mark = sizeof(deleted) - 1;
	if ((size_t)n > mark && strcmp(path + n - mark, deleted) == 0 && fstat(fd, &st) == 0 &&
	    st.st_nlink == 0)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "'%s' was removed", path);
	return CLEAT_OK;
}

const char *cleat_sys_fs_name(int fd)
{
	struct statfs st;

	if (fstatfs(fd, &st) != 0)
		return "another file system";
	switch ((unsigned long)st.f_type) {
	case EXT4_SUPER_MAGIC:
		return "ext4";
	case XFS_SUPER_MAGIC:
		return "xfs";
	case BTRFS_SUPER_MAGIC:
		return "btrfs";
	case TMPFS_MAGIC:
		return "tmpfs";
	case OVERLAYFS_SUPER_MAGIC:
		return "overlay";
	case NFS_SUPER_MAGIC:
		return "nfs";
	default:
		return "another file system";
	}
}
