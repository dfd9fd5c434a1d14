/* copytree.c - see copytree.h. */
#include "sys/copytree.h"

#include "sys/file.h"
#include "sys/hook.h"
#include "sys/internal.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define MAX_DEPTH 200		    /* each level holds three descriptors */
#define MAX_LINKED_FILES (1U << 20) /* files with several names that are remembered at once */
#define XATTR_LIST_BYTES 65536	    /* XATTR_LIST_MAX and XATTR_SIZE_MAX of Linux */

/* A file that has more names than were met so far. */
struct linked {
	dev_t dev;
	ino_t ino;
	nlink_t names_left;
	char path[]; /* of its first name, beneath the copy's root */
};

struct copier {
	int to_root;
	dev_t dev;	 /* of the source: a directory on another device is not ours */
	bool no_reflink; /* the first try told */
	void *linked;	 /* tsearch(3) tree of struct linked by ino */
	size_t linked_count;
	char path[PATH_MAX]; /* of what is being copied, beneath the root */
	size_t path_len;
	char *names, *value; /* XATTR_LIST_BYTES each, owned */
	uint64_t done_bytes;
	void (*progress)(uint64_t done_bytes, void *arg);
	void *progress_arg;
};

static enum cleat_code fail(const struct copier *c, int e, const char *call, struct cleat_error *err)
{
	return cleat_error_errno(err, e, "copy '%s': %s", c->path, call);
}

/* 0 when the call may be made, or the errno value it is to fail with. */
static int step(const struct copier *c, const char *call)
{
	return cleat_sys_step(call, c->path);
}

/* ---- hard links ------------------------------------------------------------------------------ */

static int compare_linked(const void *a, const void *b)
{
	const struct linked *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static struct linked *find_linked(const struct copier *c, const struct stat *st)
{
	const struct linked key = { .dev = st->st_dev, .ino = st->st_ino };
	struct linked *const *found = tfind(&key, &c->linked, compare_linked);

	return found ? *found : NULL;
}

static void forget_linked(struct copier *c, struct linked *l)
{
	tdelete(l, &c->linked, compare_linked);
	c->linked_count--;
	free(l);
}

static enum cleat_code remember_linked(struct copier *c, const struct stat *st, struct cleat_error *err)
{
	if (c->linked_count >= MAX_LINKED_FILES)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED,
				       "copy '%s': more than %u files with several names", c->path,
				       MAX_LINKED_FILES);
	struct linked *l = malloc(sizeof(*l) + c->path_len + 1);
	if (!l)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	l->dev = st->st_dev;
	l->ino = st->st_ino;
	l->names_left = st->st_nlink - 1;
	memcpy(l->path, c->path, c->path_len + 1);
	if (!tsearch(l, &c->linked, compare_linked)) {
		free(l);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	c->linked_count++;
	return CLEAT_OK;
}

/* Links the name to the copy of its file, if that was made already. */
static enum cleat_code link_again(struct copier *c, int to_dir, const char *name, const struct stat *st,
				  bool *done_out, struct cleat_error *err)
{
	struct linked *l = st->st_nlink > 1 ? find_linked(c, st) : NULL;

	*done_out = l != NULL;
	if (!l)
		return CLEAT_OK;
	int e = step(c, "linkat");
	if (e == 0 && linkat(c->to_root, l->path, to_dir, name, 0) < 0)
		e = errno;
	if (e)
		return fail(c, e, "link", err);
	if (--l->names_left == 0)
		forget_linked(c, l);
	return CLEAT_OK;
}

/* ---- attributes ------------------------------------------------------------------------------ */

/* Labels that a security module makes by itself, and what belongs to the source's file system alone, stay
 * behind. */
static bool is_portable(const char *name)
{
	return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
	       strcmp(name, "security.capability") == 0 || strncmp(name, "system.posix_acl_", 17) == 0;
}

static enum cleat_code copy_xattr(struct copier *c, int from, int to, const char *name,
				  struct cleat_error *err)
{
	ssize_t n = fgetxattr(from, name, c->value, XATTR_LIST_BYTES);

	if (n < 0)
		return errno == ENODATA ? CLEAT_OK : fail(c, errno, name, err);
	int e = step(c, "fsetxattr");
	if (e == 0 && fsetxattr(to, name, c->value, (size_t)n, 0) < 0)
		e = errno;
	return e ? fail(c, e, name, err) : CLEAT_OK;
}

static enum cleat_code copy_xattrs(struct copier *c, int from, int to, struct cleat_error *err)
{
	ssize_t n = flistxattr(from, c->names, XATTR_LIST_BYTES);

	if (n < 0)
		return errno == EOPNOTSUPP ? CLEAT_OK : fail(c, errno, "list extended attributes", err);
	for (const char *name = c->names; name < c->names + n; name += strlen(name) + 1)
		if (is_portable(name) && copy_xattr(c, from, to, name, err))
			return err->code;
	return CLEAT_OK;
}

/* The owner first: changing it takes away set-user-id bits and capabilities. The times last: everything else
 * changes them. */
static enum cleat_code copy_attributes(struct copier *c, int from, int to, const struct stat *st,
				       struct cleat_error *err)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	if (cleat_sys_set_owner(to, st->st_uid, st->st_gid, (mode_t)-1, c->path, err) ||
	    copy_xattrs(c, from, to, err) ||
	    cleat_sys_set_owner(to, (uid_t)-1, (gid_t)-1, st->st_mode & 07777, c->path, err))
		return err->code;
	int e = step(c, "futimens");
	if (e == 0 && futimens(to, times) < 0)
		e = errno;
	return e ? fail(c, e, "set times", err) : CLEAT_OK;
}

/* For what cannot be opened: symlinks, devices, pipes. */
static enum cleat_code copy_attributes_at(struct copier *c, int to_dir, const char *name,
					  const struct stat *st, struct cleat_error *err)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	int e = step(c, "fchownat");

	if (e == 0 && fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		e = errno;
	if (e)
		return fail(c, e, "change owner", err);
	if (!S_ISLNK(st->st_mode)) {
		e = step(c, "fchmodat");
		if (e == 0 && fchmodat(to_dir, name, st->st_mode & 07777, 0) < 0)
			e = errno;
		if (e)
			return fail(c, e, "change mode", err);
	}
	e = step(c, "utimensat");
	if (e == 0 && utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		e = errno;
	return e ? fail(c, e, "set times", err) : CLEAT_OK;
}

/* ---- one entry of each sort ------------------------------------------------------------------ */

static enum cleat_code copy_content(struct copier *c, int from, int to, struct cleat_error *err)
{
	struct cleat_error inner = CLEAT_ERROR_INIT;

	if (!c->no_reflink) {
		enum cleat_code code = cleat_sys_clone_file(from, to, c->path, &inner);
		if (code == CLEAT_OK)
			return code;
		if (code != CLEAT_UNIMPLEMENTED) {
			*err = inner;
			return code;
		}
		c->no_reflink = true;
	}
	return cleat_sys_copy_file(from, to, c->path, NULL, NULL, err);
}

static enum cleat_code copy_regular(struct copier *c, int from_dir, int to_dir, const char *name,
				    const struct stat *st, struct cleat_error *err)
{
	cleat_autoclose int from = -1, to = -1;

	if (cleat_sys_open_at(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &from, err) ||
	    cleat_sys_open_at(to_dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600, &to, err) ||
	    (st->st_size > 0 && copy_content(c, from, to, err)) || copy_attributes(c, from, to, st, err))
		return err->code;
	c->done_bytes += (uint64_t)st->st_blocks * 512;
	if (c->progress)
		c->progress(c->done_bytes, c->progress_arg);
	return CLEAT_OK;
}

static enum cleat_code copy_symlink(struct copier *c, int from_dir, int to_dir, const char *name,
				    const struct stat *st, struct cleat_error *err)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(from_dir, name, text, sizeof(text) - 1);

	if (n < 0)
		return fail(c, errno, "read link", err);
	text[n] = '\0';
	int e = step(c, "symlinkat");
	if (e == 0 && symlinkat(text, to_dir, name) < 0)
		e = errno;
	return e ? fail(c, e, "make symlink", err) : copy_attributes_at(c, to_dir, name, st, err);
}

static enum cleat_code copy_special(struct copier *c, int to_dir, const char *name, const struct stat *st,
				    struct cleat_error *err)
{
	int e = step(c, "mknodat");

	if (e == 0 && mknodat(to_dir, name, st->st_mode & (S_IFMT | 0600), st->st_rdev) < 0)
		e = errno;
	return e ? fail(c, e, "make node", err) : copy_attributes_at(c, to_dir, name, st, err);
}

static enum cleat_code copy_directory(struct copier *c, int from, int to, const struct stat *st,
				      unsigned depth, struct cleat_error *err);

static enum cleat_code copy_subdirectory(struct copier *c, int from_dir, int to_dir, const char *name,
					 unsigned depth, struct cleat_error *err)
{
	cleat_autoclose int from = -1, to = -1;
	struct stat st;

	if (depth >= MAX_DEPTH)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "copy: directories are more than %d deep at '%.64s'", MAX_DEPTH, name);
	if (cleat_sys_open_at(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &from, err) ||
	    cleat_sys_mkdir_at(to_dir, name, 0700, false, err) ||
	    cleat_sys_open_at(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &to, err))
		return err->code;
	if (fstat(from, &st) < 0)
		return fail(c, errno, "stat", err);
	return copy_directory(c, from, to, &st, depth + 1, err);
}

static enum cleat_code copy_new(struct copier *c, int from_dir, int to_dir, const char *name,
				const struct stat *st, struct cleat_error *err)
{
	if (S_ISREG(st->st_mode))
		return copy_regular(c, from_dir, to_dir, name, st, err);
	if (S_ISLNK(st->st_mode))
		return copy_symlink(c, from_dir, to_dir, name, st, err);
	return copy_special(c, to_dir, name, st, err);
}

/* Device numbers cannot tell: on overlayfs and btrfs they differ within one mount. */
static bool is_mount_root(int dirfd, const char *name)
{
	struct statx x;

	return statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &x) == 0 &&
	       (x.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static enum cleat_code copy_entry(struct copier *c, int from_dir, int to_dir, const char *name,
				  unsigned depth, struct cleat_error *err)
{
	struct stat st;
	bool done = false;

	if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, errno, "stat", err);
	if (is_mount_root(from_dir, name))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "copy '%s': something is mounted there", c->path);
	if (S_ISDIR(st.st_mode))
		return copy_subdirectory(c, from_dir, to_dir, name, depth, err);
	if (link_again(c, to_dir, name, &st, &done, err) ||
	    (!done && copy_new(c, from_dir, to_dir, name, &st, err)))
		return err->code;
	return !done && st.st_nlink > 1 ? remember_linked(c, &st, err) : CLEAT_OK;
}

/* ---- directories ----------------------------------------------------------------------------- */

static bool push_name(struct copier *c, const char *name)
{
	size_t room = sizeof(c->path) - c->path_len;
	int n = snprintf(c->path + c->path_len, room, "%s%s", c->path_len ? "/" : "", name);

	if (n < 0 || (size_t)n >= room)
		return false;
	c->path_len += (size_t)n;
	return true;
}

static enum cleat_code copy_entries(struct copier *c, DIR *dir, int from, int to, unsigned depth,
				    struct cleat_error *err)
{
	size_t len = c->path_len;

	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (!entry)
			return errno ? fail(c, errno, "read directory", err) : CLEAT_OK;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		enum cleat_code code = push_name(c, entry->d_name)
					       ? copy_entry(c, from, to, entry->d_name, depth, err)
					       : fail(c, ENAMETOOLONG, "path", err);
		if (code)
			return code;
		c->path_len = len;
		c->path[len] = '\0';
	}
}

static enum cleat_code copy_directory(struct copier *c, int from, int to, const struct stat *st,
				      unsigned depth, struct cleat_error *err)
{
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* closedir() closes it */
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		int e = errno;
		cleat_cleanup_close(&fd);
		return fail(c, e, "open directory", err);
	}
	enum cleat_code code = copy_entries(c, dir, from, to, depth, err);
	closedir(dir);
	return code ? code : copy_attributes(c, from, to, st, err);
}

enum cleat_code cleat_sys_copy_tree(int from_fd, int to_fd, void (*progress)(uint64_t done_bytes, void *arg),
				    void *arg, struct cleat_error *err)
{
	cleat_autofree char *names = malloc(XATTR_LIST_BYTES);
	cleat_autofree char *value = malloc(XATTR_LIST_BYTES);
	cleat_autofree struct copier *c = calloc(1, sizeof(*c));
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct stat st;

	if (!err)
		err = &own;
	if (!names || !value || !c)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (fstat(from_fd, &st) < 0)
		return cleat_error_errno(err, errno, "copy a tree: stat");
	*c = (struct copier){
		.to_root = to_fd,
		.names = names,
		.value = value,
		.progress = progress,
		.progress_arg = arg,
	};
	enum cleat_code code = copy_directory(c, from_fd, to_fd, &st, 0, err);
	tdestroy(c->linked, free);
	return code;
}
