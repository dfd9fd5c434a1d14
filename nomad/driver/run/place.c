/* place.c - a task's directory: making, opening, locking; writing small files into it. */
#include "driver/run/internal.h"

#include "sys/file.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_FILE "lock"
#define JSON_MAX_BYTES (4 << 20)
#define LOOK_EVERY_NS 20000000
#define MAKE_LIMIT_MS 5000 /* for those who only look whether the lock is held */

void run_place_done(struct run_place *place)
{
	free(place->path);
	cleat_cleanup_close(&place->fd);
	cleat_cleanup_close(&place->lock_fd); /* and with it the lock */
	*place = (struct run_place)RUN_PLACE_INIT;
}

static char *path_of(const struct run_env *env, const char *id)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s", env->dir, id) < 0 ? NULL : path;
}

static enum cleat_code open_lock(struct run_place *place, struct cleat_error *err)
{
	return cleat_sys_open_at(place->fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, &place->lock_fd,
				 err);
}

/* Whether the directory that was locked is still the one under that name: it may have been removed, and made
 * anew, while we waited. */
static bool is_current(const struct run_env *env, const char *id, int fd)
{
	cleat_autofree char *path = path_of(env, id);
	struct stat ours, now;

	return path && fstat(fd, &ours) == 0 && lstat(path, &now) == 0 && ours.st_ino == now.st_ino &&
	       ours.st_dev == now.st_dev;
}

static enum cleat_code lock_place(struct run_place *place, const char *id, int64_t limit_ms,
				  struct cleat_error *err)
{
	const struct timespec pause = { .tv_nsec = LOOK_EVERY_NS };
	int64_t end_ms = cleat_time_mono_ms() + limit_ms;
	enum cleat_code code = open_lock(place, err);

	if (code != CLEAT_OK)
		return code;
	while (flock(place->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return cleat_error_errno(err, errno, "lock task '%s'", id);
		if (cleat_time_mono_ms() >= end_ms)
			return cleat_error_set(err, CLEAT_UNAVAILABLE,
					       "task '%s' is being started or removed by somebody else", id);
		nanosleep(&pause, NULL);
	}
	return CLEAT_OK;
}

enum cleat_code run_place_make(const struct run_env *env, const char *id, struct run_place *out,
			       struct cleat_error *err)
{
	struct run_place place = RUN_PLACE_INIT;
	cleat_autoclose int dir = -1;

	enum cleat_code code = cleat_sys_mkdir_path(env->dir, 0700, err);
	if (code == CLEAT_OK)
		code = cleat_sys_open_root(env->dir, &dir, err);
	if (code == CLEAT_OK)
		code = cleat_sys_mkdir_at(dir, RUN_CRUN_ROOT, 0700, true, err);
	if (code == CLEAT_OK)
		code = cleat_sys_mkdir_at(dir, id, 0700, false, err);
	if (code == CLEAT_ALREADY_EXISTS)
		return cleat_error_set(err, code, "there is a task '%s' already", id);
	place.path = path_of(env, id);
	if (code == CLEAT_OK && !place.path)
		code = cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (code == CLEAT_OK)
		code = cleat_sys_open_at(dir, id, O_RDONLY | O_DIRECTORY, 0, &place.fd, err);
	if (code == CLEAT_OK)
		code = lock_place(&place, id, MAKE_LIMIT_MS, err);
	if (code == CLEAT_OK && !is_current(env, id, place.fd))
		code = cleat_error_set(err, CLEAT_ABORTED, "task '%s' was removed while it was being started",
				       id);
	if (code == CLEAT_OK)
		*out = place;
	else
		run_place_done(&place);
	return code;
}

enum cleat_code run_place_open(const struct run_env *env, const char *id, bool lock, int64_t limit_ms,
			       struct run_place *out, struct cleat_error *err)
{
	struct run_place place = RUN_PLACE_INIT;
	enum cleat_code code = run_check_id(id, err);

	if (code != CLEAT_OK)
		return code;
	place.path = path_of(env, id);
	place.fd = place.path ? open(place.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (place.fd < 0)
		code = place.path && errno != ENOENT
			       ? cleat_error_errno(err, errno, "open '%s'", place.path)
			       : cleat_error_set(err, CLEAT_NOT_FOUND, "there is no task '%s'", id);
	if (code == CLEAT_OK && lock)
		code = lock_place(&place, id, limit_ms, err);
	if (code == CLEAT_OK && lock && !is_current(env, id, place.fd))
		code = cleat_error_set(err, CLEAT_NOT_FOUND, "task '%s' has just been removed", id);
	if (code == CLEAT_OK)
		*out = place;
	else
		run_place_done(&place);
	return code;
}

bool run_place_is_busy(const struct run_place *place)
{
	cleat_autoclose int fd = openat(place->fd, LOCK_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

enum cleat_code run_list(const struct run_env *env, bool (*fn)(const char *id, void *arg), void *arg,
			 struct cleat_error *err)
{
	DIR *dir = opendir(env->dir);

	if (!dir)
		return errno == ENOENT ? CLEAT_OK : cleat_error_errno(err, errno, "list '%s'", env->dir);
	for (const struct dirent *d; (d = readdir(dir));)
		if (run_check_id(d->d_name, NULL) == CLEAT_OK && !fn(d->d_name, arg))
			break;
	closedir(dir);
	return CLEAT_OK;
}

/* ---- small files ---- */

enum cleat_code run_put_file(int dirfd, const char *name, const void *bytes, size_t n, mode_t mode,
			     struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	char attempt[NAME_MAX];

	snprintf(attempt, sizeof(attempt), "%s.new", name);
	enum cleat_code code = cleat_sys_unlink_at(dirfd, attempt, 0, err);
	if (code == CLEAT_OK)
		code = cleat_sys_open_at(dirfd, attempt, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode, &fd,
					 err);
	if (code == CLEAT_OK)
		code = cleat_sys_set_owner(fd, (uid_t)-1, (gid_t)-1, mode, name, err);
	if (code == CLEAT_OK)
		code = cleat_sys_write(fd, bytes, n, name, err);
	return code == CLEAT_OK ? cleat_sys_rename_at(dirfd, attempt, dirfd, name, false, err) : code;
}

enum cleat_code run_put_json(int dirfd, const char *name, const json_t *json, struct cleat_error *err)
{
	cleat_autofree char *text = json_dumps(json, JSON_COMPACT);

	if (!text)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory for '%s'", name);
	return run_put_file(dirfd, name, text, strlen(text), 0600, err);
}

enum cleat_code run_get_json(int dirfd, const char *name, json_t **out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(JSON_MAX_BYTES);
	enum cleat_code code = cleat_sys_read_file(dirfd, name, JSON_MAX_BYTES, &text, err);
	json_error_t trouble;

	if (code != CLEAT_OK)
		return code;
	json_t *json = json_loadb(cleat_buf_text(&text), text.len, JSON_REJECT_DUPLICATES, &trouble);
	if (!json_is_object(json)) {
		json_decref(json);
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'%s' of the task cannot be read: %s", name,
				       trouble.text);
	}
	*out = json;
	return CLEAT_OK;
}

bool run_get_number(int dirfd, const char *path, long *out)
{
	cleat_autoclose int fd = openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char text[32], *end;
	ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (got <= 0)
		return false;
	text[got] = '\0';
	errno = 0;
	*out = strtol(text, &end, 10);
	return errno == 0 && end != text && (*end == '\0' || *end == '\n');
}
