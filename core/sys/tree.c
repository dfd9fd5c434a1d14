/* tree.c - see file.h: making a path, removing a tree. */
#include "sys/file.h"

#include "sys/hook.h"
#include "sys/internal.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEPTH 256 /* directories in one another; each holds one descriptor while it is emptied */
#define MAX_PASSES                                                                                           \
	4 /* over one directory, when it fills again behind us or the file system skips entries              \
	   */

static enum cleat_code make_one(const char *path, mode_t mode, struct cleat_error *err)
{
	struct stat st;

	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return CLEAT_OK;
		return cleat_sys_path_error(err, ENOTDIR, "mkdir", path);
	}
	int e = cleat_sys_step("mkdir", path);
	if (e == 0 && mkdir(path, mode) < 0)
		e = errno;
	if (e == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) /* somebody else was quicker */
		return CLEAT_OK;
	return e == 0 ? CLEAT_OK : cleat_sys_path_error(err, e, "mkdir", path);
}

enum cleat_code cleat_sys_mkdir_path(const char *path, mode_t mode, struct cleat_error *err)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (path[0] != '/')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not an absolute path", path);
	if (n >= sizeof(part))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "path '%.64s...' is too long", path);
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		part[i] = '\0';
		enum cleat_code code = make_one(part, mode, err);
		if (code != CLEAT_OK)
			return code;
		if (i < n)
			part[i] = '/';
	}
	return CLEAT_OK;
}

/* A directory that is being emptied. */
struct level {
	const struct level *up; /* NULL: the tree's own top */
	const char *name;
	DIR *dir; /* owned by empty_dir() */
	unsigned depth;
};

/* Writes "top/below/name" to text, cut in front when too long. */
static void show_path(const struct level *in, const char *name, char *text, size_t room)
{
	size_t at = room - 1;
	size_t n = strlen(name);

	text[at] = '\0';
	for (;;) {
		if (n + 4 > at) {
			memcpy(text + at - 3, "...", 3);
			at -= 3;
			break;
		}
		at -= n;
		memcpy(text + at, name, n);
		if (!in)
			break;
		text[--at] = '/';
		name = in->name;
		n = strlen(name);
		in = in->up;
	}
	memmove(text, text + at, room - at);
}

/* Whether chattr(1) protects the entry or the directory it is in. */
static bool is_protected(int dirfd, const char *name)
{
	const uint64_t bits = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND;
	struct statx x;

	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &x) == 0 && (x.stx_attributes & bits))
		return true;
	return statx(dirfd, "", AT_EMPTY_PATH, STATX_TYPE, &x) == 0 && (x.stx_attributes & bits);
}

static enum cleat_code fail(const struct level *in, int dirfd, const char *name, int e,
			    struct cleat_error *err)
{
	char path[300];

	show_path(in, name, path, sizeof(path));
	if (e == EXDEV || e == EBUSY)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "remove '%s': something is mounted there", path);
	if (e == EPERM && is_protected(dirfd, name))
		return cleat_error_set(
			err, CLEAT_FAILED_PRECONDITION,
			"remove '%s': it is protected by an immutable or append-only attribute", path);
	return cleat_sys_path_error(err, e, "remove", path);
}

static int unlink_step(int dirfd, const char *name, int flags)
{
	int e = cleat_sys_step("unlinkat", name);

	if (e == 0 && unlinkat(dirfd, name, flags) < 0)
		e = errno;
	return e == ENOENT ? 0 : e;
}

static enum cleat_code remove_dir(const struct level *in, int dirfd, const char *name,
				  struct cleat_error *err);

/* Removes what d names in the directory of `in`, whatever it is. */
static enum cleat_code remove_entry(const struct level *in, int dirfd, const struct dirent *d,
				    struct cleat_error *err)
{
	int e = EISDIR;

	if (d->d_type != DT_DIR)
		e = unlink_step(dirfd, d->d_name, 0);
	if (e == EISDIR)
		return remove_dir(in, dirfd, d->d_name, err);
	return e == 0 ? CLEAT_OK : fail(in, dirfd, d->d_name, e, err);
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static enum cleat_code empty_dir(const struct level *l, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;
	int fd = dirfd(l->dir);

	rewinddir(l->dir);
	while (code == CLEAT_OK) {
		errno = 0;
		const struct dirent *d = readdir(l->dir);
		if (!d && errno)
			return fail(l->up, fd, l->name, errno, err);
		if (!d)
			break;
		if (!is_dots(d->d_name))
			code = remove_entry(l, fd, d, err);
	}
	return code;
}

/* Opens name as a directory of the same mount; 0 or an errno value (EXDEV: a mount point). */
static int open_level(int dirfd, const char *name, DIR **dir_out)
{
	int fd = cleat_sys_open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOATIME, 0, RESOLVE_NO_XDEV);

	if (fd == -EPERM) /* O_NOATIME is for the owner */
		fd = cleat_sys_open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0, RESOLVE_NO_XDEV);
	if (fd < 0)
		return -fd;
	*dir_out = fdopendir(fd);
	if (*dir_out)
		return 0;
	int e = errno;
	close(fd);
	return e;
}

static enum cleat_code remove_dir(const struct level *in, int dirfd, const char *name,
				  struct cleat_error *err)
{
	struct level l = { .up = in, .name = name, .depth = in ? in->depth + 1 : 1 };
	enum cleat_code code;

	if (l.depth > MAX_DEPTH)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "remove: directories are more than %d deep at '%.64s'", MAX_DEPTH,
				       name);
	int e = open_level(dirfd, name, &l.dir);
	if (e == ENOENT)
		return CLEAT_OK;
	if (e)
		return fail(in, dirfd, name, e, err);
	int pass = 0;
	do {
		code = empty_dir(&l, err);
		e = code == CLEAT_OK ? unlink_step(dirfd, name, AT_REMOVEDIR) : 0;
	} while ((e == ENOTEMPTY || e == EEXIST) && ++pass < MAX_PASSES);
	closedir(l.dir);
	return e == 0 ? code : fail(in, dirfd, name, e, err);
}

enum cleat_code cleat_sys_remove_tree(int dirfd, const char *name, struct cleat_error *err)
{
	enum cleat_code code = cleat_sys_check_name(name, err);

	if (code != CLEAT_OK)
		return code;
	int e = unlink_step(dirfd, name, 0);
	if (e == 0)
		return CLEAT_OK;
	/* unlink(2) of a directory is EISDIR, but EPERM when the directory is immutable. */
	return e == EISDIR ? remove_dir(NULL, dirfd, name, err) : fail(NULL, dirfd, name, e, err);
}
