/* files.c - see files.h. */
#include "dhv/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/ids.h"
#include "util/mem.h"

enum cleat_code dhv_file_read(int dir_fd, const char *name, size_t most, char **text_out, size_t *n_out,
			      struct cleat_error *err)
{
	cleat_autoclose int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	cleat_autofree char *text = fd < 0 ? NULL : malloc(most + 2);
	size_t n = 0;

	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%s'", name);
	if (!text)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	for (ssize_t k = 1; k > 0 && n <= most; n += (size_t)k)
		if ((k = read(fd, text + n, most + 1 - n)) < 0)
			return cleat_error_errno(err, errno, "read '%s'", name);
	if (n > most)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE, "'%s' is longer than %zu bytes", name, most);
	text[n] = '\0';
	*text_out = cleat_steal(text);
	*n_out = n;
	return CLEAT_OK;
}

static enum cleat_code write_all(int fd, const char *name, const char *text, size_t n,
				 struct cleat_error *err)
{
	while (n) {
		ssize_t k = write(fd, text, n);

		if (k < 0)
			return cleat_error_errno(err, errno, "write '%s'", name);
		text += k;
		n -= (size_t)k;
	}
	return fsync(fd) ? cleat_error_errno(err, errno, "sync '%s'", name) : CLEAT_OK;
}

enum cleat_code dhv_file_write(int dir_fd, const char *name, const char *text, size_t n,
			       struct cleat_error *err)
{
	char attempt[320], key[CLEAT_ID_KEY_BYTES];

	cleat_id_new_key(key);
	snprintf(attempt, sizeof(attempt), "%.255s.%s", name, key);
	cleat_autoclose int fd =
		openat(dir_fd, attempt, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return cleat_error_errno(err, errno, "make '%s'", attempt);
	if (write_all(fd, attempt, text, n, err) == CLEAT_OK && renameat(dir_fd, attempt, dir_fd, name))
		cleat_error_errno(err, errno, "rename '%s'", attempt);
	if (err->code)
		unlinkat(dir_fd, attempt, 0);
	else if (fsync(dir_fd))
		cleat_error_errno(err, errno, "sync the directory of '%s'", name);
	return err->code;
}

enum cleat_code dhv_files_remove(int dir_fd, const char *prefix, struct cleat_error *err)
{
	int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);

	if (!dir) {
		cleat_error_errno(err, errno, "list the directory of '%s'", prefix);
		if (copy >= 0)
			close(copy);
		return err->code;
	}
	for (struct dirent *d; (d = readdir(dir));)
		if (strncmp(d->d_name, prefix, strlen(prefix)) == 0 && unlinkat(dir_fd, d->d_name, 0) &&
		    errno != ENOENT)
			cleat_error_errno(err, errno, "remove '%s'", d->d_name);
	closedir(dir);
	return err->code;
}

bool dhv_is_mounted(const char *path)
{
	struct statx st;

	/* Never asks a far side that may not answer. */
	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE,
		     &st) == 0 &&
	       (st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) &&
	       (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}
