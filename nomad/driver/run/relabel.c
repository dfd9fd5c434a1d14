/* relabel.c - the SELinux label of a volume, where the machine has SELinux. */
#include "driver/run/internal.h"

#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ATTRIBUTE "security.selinux"
#define MAX_DEPTH 128 /* each level keeps a directory open */

bool run_selinux_is_on(void)
{
	return access("/sys/fs/selinux/enforce", F_OK) == 0;
}

/* Through /proc, because there is no call that sets the attribute of a descriptor opened for its path only,
 * nor of a link beneath one. */
static int label_fd(int fd, const char *label)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return setxattr(path, ATTRIBUTE, label, strlen(label), 0) < 0 ? errno : 0;
}

static int label_below(int dir, dev_t device, const char *label, int depth);

static int label_entry(int dir, const char *name, dev_t device, const char *label, int depth)
{
	cleat_autoclose int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? 0 : errno;
	if (fstat(fd, &st) < 0)
		return errno;
	if (st.st_dev != device || S_ISLNK(st.st_mode))
		return 0;
	int e = label_fd(fd, label);
	if (e || !S_ISDIR(st.st_mode) || depth >= MAX_DEPTH)
		return e;
	int below = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return below < 0 ? errno : label_below(below, device, label, depth + 1);
}

/* Takes the descriptor over. */
static int label_below(int dir, dev_t device, const char *label, int depth)
{
	DIR *list = fdopendir(dir);
	int e = 0;

	if (!list) {
		e = errno;
		close(dir);
		return e;
	}
	for (const struct dirent *d; e == 0 && (d = readdir(list));)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			e = label_entry(dirfd(list), d->d_name, device, label, depth);
	closedir(list);
	return e;
}

enum cleat_code run_relabel(const char *path, const char *label, struct cleat_error *err)
{
	cleat_autoclose int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;
	int e = fd < 0 || fstat(fd, &st) < 0 ? errno : label_fd(fd, label);

	if (e == 0 && S_ISDIR(st.st_mode)) {
		int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		e = dir < 0 ? errno : label_below(dir, st.st_dev, label, 0);
	}
	/* Read-only and without labels: it is used with the one that the whole file system has. */
	if (e == 0 || e == ENOTSUP || e == EROFS)
		return CLEAT_OK;
	return cleat_error_errno(err, e, "label '%.200s' with '%.100s'", path, label);
}
