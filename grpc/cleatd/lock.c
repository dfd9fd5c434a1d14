/* lock.c - see lock.h.  The kernel's lock decides; the text in the file is for people. */
#include "cleatd/lock.h"

#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define MAX_PATH_BYTES 1200

static enum cleat_code make_dir(const char *path, mode_t mode, struct cleat_error *err)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return CLEAT_OK;
	int e = errno;
	if (e == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return CLEAT_OK;
	return cleat_error_errno(err, e, "create directory '%s'", path);
}

/* mkdir -p; only the last one is ours alone. */
static enum cleat_code make_dirs(const char *path, struct cleat_error *err)
{
	char part[MAX_PATH_BYTES];

	snprintf(part, sizeof(part), "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (make_dir(part, 0755, err))
			return err->code;
		*slash = '/';
	}
	return make_dir(part, 0700, err);
}

static enum cleat_code refuse(int fd, const char *state_dir, struct cleat_error *err)
{
	char who[256] = "";
	ssize_t n = pread(fd, who, sizeof(who) - 1, 0);

	if (n > 0)
		who[n] = '\0';
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
			       "state directory '%s' is served by another cleatd%s%s", state_dir,
			       n > 0 ? ": " : "", who);
}

static void say_who(int fd, const char *socket_path)
{
	char who[256];
	int n = snprintf(who, sizeof(who), "process %d, socket %s\n", (int)getpid(), socket_path);

	if (n > (int)sizeof(who) - 1)
		n = (int)sizeof(who) - 1;
	if (ftruncate(fd, 0) == 0 && pwrite(fd, who, (size_t)n, 0) == n)
		return;
	/* A full disk must not keep the daemon from starting: the lock holds without the text. */
}

enum cleat_code cleatd_lock(const char *state_dir, const char *socket_path, int *fd_out,
			    struct cleat_error *err)
{
	char path[MAX_PATH_BYTES];
	cleat_autoclose int fd = -1;

	if (make_dirs(state_dir, err))
		return err->code;
	snprintf(path, sizeof(path), "%s/cleatd.lock", state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%s'", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int e = errno;
		return e == EWOULDBLOCK ? refuse(fd, state_dir, err)
					: cleat_error_errno(err, e, "lock '%s'", path);
	}
	say_who(fd, socket_path);
	*fd_out = cleat_steal_fd(&fd);
	return CLEAT_OK;
}
