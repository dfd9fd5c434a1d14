/* container.c - ROOT and the directories of containers in it: made, locked, removed. */
#include "helper/helper.h"

#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOCK_AGAIN_MS 50

/* ---- ROOT ---- */

/* Whoever may write there could make a target out of anything. */
static enum cleat_code check_root(int fd, const char *path, struct cleat_error *err)
{
	struct stat st;

	if (fstat(fd, &st))
		return cleat_error_errno(err, errno, "look at '%s'", path);
	if (st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_PERMISSION_DENIED,
			       "'%s' must belong to the agent's user, and nobody else may write there", path);
}

enum cleat_code helper_root_open(struct helper *h, bool make, struct cleat_error *err)
{
	const char *path = h->args->root ? h->args->root : CLEAT_MESOS_DEFAULT_ROOT;

	if (make && mkdir(path, 0700) && errno != EEXIST)
		return cleat_error_errno(err, errno, "make '%s'", path);
	/* The daemon follows no symlinks on the way to a target. */
	cleat_autofree char *real = realpath(path, NULL);
	if (!real && errno == ENOENT && !make)
		return CLEAT_OK;
	if (!real || strlen(real) >= sizeof(h->root))
		return cleat_error_errno(err, real ? ENAMETOOLONG : errno, "find '%s'", path);
	if (make && helper_share(real, err))
		return err->code;
	cleat_autoclose int fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%s'", real);
	if (check_root(fd, real, err))
		return err->code;
	snprintf(h->root, sizeof(h->root), "%s", real);
	h->root_fd = cleat_steal_fd(&fd);
	return CLEAT_OK;
}

enum cleat_code helper_keys(const struct helper *h, void (*fn)(const char *key, void *arg), void *arg,
			    struct cleat_error *err)
{
	int fd = openat(h->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (!dir) {
		cleat_error_errno(err, errno, "list '%s'", h->root);
		if (fd >= 0)
			close(fd);
		return err->code;
	}
	for (struct dirent *e; (e = readdir(dir));)
		if (helper_is_key(e->d_name))
			fn(e->d_name, arg);
	closedir(dir);
	return CLEAT_OK;
}

/* ---- locks ---- */

/* A lock of the kernel, which goes with its program; waited for in short turns, because waiting must end. */
static enum cleat_code lock(const struct helper *h, int fd, const char *what, struct cleat_error *err)
{
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return cleat_error_errno(err, errno, "lock '%s'", what);
		if (cleat_door_left_ms(h->door) <= LOCK_AGAIN_MS)
			return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED,
					       "another program works on '%s' all the time", what);
		poll(NULL, 0, LOCK_AGAIN_MS);
	}
	return CLEAT_OK;
}

enum cleat_code helper_root_lock(const struct helper *h, int *fd_out, struct cleat_error *err)
{
	cleat_autoclose int fd = openat(h->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%s'", h->root);
	if (lock(h, fd, h->root, err))
		return err->code;
	*fd_out = cleat_steal_fd(&fd);
	return CLEAT_OK;
}

/* ---- ROOT/KEY ---- */

/* Whether the locked directory is still the one by that name: its last user may have removed it meanwhile. */
static bool is_current(const struct helper *h, const char *key, int fd)
{
	struct stat mine, named;

	return fstat(fd, &mine) == 0 && fstatat(h->root_fd, key, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

enum cleat_code helper_container_open(const struct helper *h, const char *key, bool make,
				      struct helper_container *out, struct cleat_error *err)
{
	*out = (struct helper_container){ .fd = -1 };
	snprintf(out->key, sizeof(out->key), "%s", key);
	snprintf(out->path, sizeof(out->path), "%s/%s", h->root, key);
	for (;;) {
		if (make && mkdirat(h->root_fd, key, 0700) && errno != EEXIST)
			return cleat_error_errno(err, errno, "make '%s'", out->path);
		cleat_autoclose int fd =
			openat(h->root_fd, key, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT) {
			if (make)
				continue; /* removed just now */
			return CLEAT_OK;
		}
		if (fd < 0)
			return cleat_error_errno(err, errno, "open '%s'", out->path);
		if (lock(h, fd, out->path, err))
			return err->code;
		if (is_current(h, key, fd)) {
			out->fd = cleat_steal_fd(&fd);
			return CLEAT_OK;
		}
	}
}

void helper_container_close(struct helper_container *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

void helper_container_remove(const struct helper *h, struct helper_container *c)
{
	char name[16];

	/* What is a mount, or holds something, stays, and then so does the directory. */
	for (unsigned i = 0; i < CLEAT_MESOS_MAX_VOLUMES; i++) {
		snprintf(name, sizeof(name), "%u", i);
		(void)unlinkat(c->fd, name, AT_REMOVEDIR);
	}
	(void)unlinkat(c->fd, "intent", 0);
	(void)unlinkat(c->fd, "intent.new", 0);
	(void)unlinkat(h->root_fd, c->key, AT_REMOVEDIR);
}
