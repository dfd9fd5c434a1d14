/* state.c - see state.h. */
#include "driver/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rt/pb.h"
#include "util/ids.h"
#include "util/mem.h"

#define MAX_VOLUMES 256
#define MAX_NAMES 65536
#define NAME_MAX_BYTES 128

struct driver_state {
	char *tasks;  /* path of tasks/ */
	char *mounts; /* path of mounts/ */
	int dir_fd, records_fd, mounts_fd, allocs_fd;
	int lock_fd; /* -1: not the leader */
};

/* ---- names ---- */

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
	       c == '-' || c == '.';
}

static bool is_name(const char *text)
{
	size_t n = 0;

	while (is_name_char(text[n]))
		n++;
	return n > 0 && text[n] == '\0' && n <= NAME_MAX_BYTES && text[0] != '.' && text[0] != '-';
}

static size_t add_clean(char *out, const char *text, size_t n, size_t most)
{
	if (n > most)
		n = most;
	for (size_t i = 0; i < n; i++)
		out[i] = is_name_char(text[i]) && text[i] != '.' ? text[i] : '_';
	return n;
}

void driver_container_name(const char *task_id, char out[DRIVER_CONTAINER_BYTES])
{
	const char *first = strchr(task_id, '/'), *last = strrchr(task_id, '/');
	size_t n = add_clean(out, task_id, first ? (size_t)(first - task_id) : strlen(task_id), 8);

	if (first && last > first + 1) {
		out[n++] = '-';
		n += add_clean(out + n, first + 1, (size_t)(last - first - 1), 40);
	}
	snprintf(out + n, DRIVER_CONTAINER_BYTES - n, "-%016llx",
		 (unsigned long long)cleat_id_hash(task_id, strlen(task_id), 0));
}

/* ---- bytes ---- */

static enum cleat_code bad(const char *what, struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the recorded state is not valid: %s", what);
}

static bool is_path(const char *path)
{
	if (path[0] != '/' || strlen(path) >= 4096)
		return false;
	for (const char *p = path; (p = strstr(p, "/..")); p += 3)
		if (p[3] == '/' || p[3] == '\0')
			return false;
	return true;
}

static enum cleat_code check_volumes(State__Volume *const *list, size_t n, bool targets,
				     struct cleat_error *err)
{
	if (n > MAX_VOLUMES)
		return bad("too many volumes", err);
	for (size_t i = 0; i < n; i++) {
		if (!*list[i]->volume)
			return bad("a volume has no name", err);
		if (targets ? !is_path(list[i]->target) : *list[i]->target != '\0')
			return bad("a volume's target", err);
	}
	return CLEAT_OK;
}

static enum cleat_code check_format(uint32_t format, struct cleat_error *err)
{
	if (format == 0)
		return bad("it has no format", err);
	if (format > DRIVER_STATE_FORMAT)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "the recorded state has format %u, newer than this plugin's %d: "
				       "install the newer one again",
				       format, DRIVER_STATE_FORMAT);
	return CLEAT_OK;
}

static enum cleat_code check_task(const State__Task *t, struct cleat_error *err)
{
	if (check_format(t->format, err))
		return err->code;
	if (!*t->id || !is_name(t->container))
		return bad("the task's name", err);
	if (!is_path(t->alloc_dir))
		return bad("the allocation's directory", err);
	return check_volumes(t->volumes, t->n_volumes, true, err);
}

enum cleat_code driver_state_decode_task(const uint8_t *bytes, size_t n, State__Task **out,
					 struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	cleat_autopb ProtobufCMessage *m = NULL;

	err = err ? err : &own;
	if (n > DRIVER_STATE_MAX_BYTES)
		return bad("it is too long", err);
	if (cleat_pb_unpack(&state__task__descriptor, bytes, n, 8 * DRIVER_STATE_MAX_BYTES, &m, err))
		return cleat_error_wrap(err, "the recorded state is not valid");
	if (check_task((State__Task *)m, err))
		return err->code;
	*out = (State__Task *)cleat_steal(m);
	return CLEAT_OK;
}

enum cleat_code driver_state_decode_alloc(const uint8_t *bytes, size_t n, State__Allocation **out,
					  struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	cleat_autopb ProtobufCMessage *m = NULL;

	err = err ? err : &own;
	if (n > DRIVER_STATE_MAX_BYTES)
		return bad("it is too long", err);
	if (cleat_pb_unpack(&state__allocation__descriptor, bytes, n, 8 * DRIVER_STATE_MAX_BYTES, &m, err))
		return cleat_error_wrap(err, "the recorded state is not valid");
	const State__Allocation *a = (State__Allocation *)m;
	if (check_format(a->format, err))
		return err->code;
	if (!is_name(a->id) || !is_path(a->dir))
		return bad("the allocation", err);
	if (check_volumes(a->volumes, a->n_volumes, false, err))
		return err->code;
	*out = (State__Allocation *)cleat_steal(m);
	return CLEAT_OK;
}

enum cleat_code driver_state_encode(const ProtobufCMessage *m, uint8_t **bytes_out, size_t *n_out,
				    struct cleat_error *err)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *bytes = malloc(n + 1);

	if (!bytes)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	protobuf_c_message_pack(m, bytes);
	*bytes_out = bytes;
	*n_out = n;
	return CLEAT_OK;
}

/* ---- small files ---- */

static enum cleat_code write_all(int fd, const uint8_t *bytes, size_t n, const char *name,
				 struct cleat_error *err)
{
	while (n) {
		ssize_t k = write(fd, bytes, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return cleat_error_errno(err, errno, "write the record '%s'", name);
		bytes += k;
		n -= (size_t)k;
	}
	return fsync(fd) ? cleat_error_errno(err, errno, "sync the record '%s'", name) : CLEAT_OK;
}

/* Readers see the old file or the new one. */
static enum cleat_code replace(int dirfd, const char *name, const uint8_t *bytes, size_t n,
			       struct cleat_error *err)
{
	char temporary[NAME_MAX_BYTES + CLEAT_ID_KEY_BYTES + 2], key[CLEAT_ID_KEY_BYTES];

	cleat_id_new_key(key);
	snprintf(temporary, sizeof(temporary), ".%s.%s", name, key);
	cleat_autoclose int fd =
		openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return cleat_error_errno(err, errno, "create the record '%s'", name);
	if (write_all(fd, bytes, n, name, err) == CLEAT_OK && renameat(dirfd, temporary, dirfd, name) == 0) {
		fsync(dirfd);
		return CLEAT_OK;
	}
	int e = errno;
	unlinkat(dirfd, temporary, 0);
	return err->code ? err->code : cleat_error_errno(err, e, "replace the record '%s'", name);
}

static enum cleat_code save(int dirfd, const char *name, const ProtobufCMessage *m, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	cleat_autofree uint8_t *bytes = NULL;
	size_t n;

	if (!is_name(name))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%.64s' is no name for a record", name);
	if (driver_state_encode(m, &bytes, &n, &own) || replace(dirfd, name, bytes, n, &own)) {
		if (err)
			*err = own;
		return own.code;
	}
	return CLEAT_OK;
}

static enum cleat_code load(int dirfd, const char *name, uint8_t **bytes_out, size_t *n_out,
			    struct cleat_error *err)
{
	struct stat st;
	cleat_autoclose int fd = is_name(name) ? openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

	if (fd < 0)
		return cleat_error_errno(err, is_name(name) ? errno : ENOENT, "the record '%.64s'", name);
	if (fstat(fd, &st) || st.st_size > DRIVER_STATE_MAX_BYTES)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "the record '%s' is too long", name);
	cleat_autofree uint8_t *bytes = malloc((size_t)st.st_size + 1);
	if (!bytes)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	ssize_t n = read(fd, bytes, (size_t)st.st_size);
	if (n != st.st_size)
		return cleat_error_errno(err, n < 0 ? errno : EIO, "read the record '%s'", name);
	*bytes_out = cleat_steal(bytes);
	*n_out = (size_t)n;
	return CLEAT_OK;
}

static enum cleat_code forget(int dirfd, const char *name, struct cleat_error *err)
{
	if (!is_name(name) || unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return CLEAT_OK;
	return cleat_error_errno(err, errno, "remove the record '%s'", name);
}

void driver_state_free_names(char **names)
{
	for (char **p = names; p && *p; p++)
		free(*p);
	free(names);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds the names of the entries that could be records; what a killed writer left begins with a dot. */
static enum cleat_code read_names(DIR *dir, char **names, size_t *n, struct cleat_error *err)
{
	for (struct dirent *d; *n < MAX_NAMES && (d = readdir(dir));) {
		if (!is_name(d->d_name))
			continue;
		names[*n] = strdup(d->d_name);
		if (!names[*n])
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		++*n;
	}
	return CLEAT_OK;
}

static enum cleat_code list(int dirfd, char ***names_out, struct cleat_error *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	char **names = calloc(MAX_NAMES + 1, sizeof(*names));
	enum cleat_code code = CLEAT_OK;
	size_t n = 0;

	if (!dir)
		code = cleat_error_errno(err, errno, "read the records");
	else if (!names)
		code = cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	else
		code = read_names(dir, names, &n, err);
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	if (code) {
		driver_state_free_names(names);
		return code;
	}
	qsort(names, n, sizeof(*names), by_name);
	*names_out = names;
	return CLEAT_OK;
}

/* ---- the directory ---- */

static enum cleat_code make_path(const char *path, struct cleat_error *err)
{
	cleat_autofree char *copy = strdup(path);

	for (char *p = copy ? copy + 1 : NULL; p && *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) && errno != EEXIST)
			return cleat_error_errno(err, errno, "make the state directory '%s'", copy);
		*p = '/';
	}
	if (!copy)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return mkdir(path, 0700) && errno != EEXIST
		       ? cleat_error_errno(err, errno, "make the state directory '%s'", path)
		       : CLEAT_OK;
}

static enum cleat_code open_below(int dirfd, const char *name, int *fd_out, struct cleat_error *err)
{
	if (mkdirat(dirfd, name, 0700) && errno != EEXIST)
		return cleat_error_errno(err, errno, "make '%s' in the state directory", name);
	*fd_out = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *fd_out < 0 ? cleat_error_errno(err, errno, "open '%s' in the state directory", name)
			   : CLEAT_OK;
}

static enum cleat_code open_all(struct driver_state *s, const char *dir, struct cleat_error *err)
{
	int tasks_fd = -1;

	if (asprintf(&s->tasks, "%s/tasks", dir) < 0 || asprintf(&s->mounts, "%s/mounts", dir) < 0)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (make_path(dir, err))
		return err->code;
	s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return cleat_error_errno(err, errno, "open the state directory '%s'", dir);
	if (open_below(s->dir_fd, "tasks", &tasks_fd, err))
		return err->code;
	close(tasks_fd);
	if (open_below(s->dir_fd, "records", &s->records_fd, err) ||
	    open_below(s->dir_fd, "mounts", &s->mounts_fd, err) ||
	    open_below(s->dir_fd, "allocs", &s->allocs_fd, err))
		return err->code;
	return CLEAT_OK;
}

enum cleat_code driver_state_open(const char *dir, struct driver_state **out, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct driver_state *s = calloc(1, sizeof(*s));

	err = err ? err : &own;
	if (!s)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	s->dir_fd = s->records_fd = s->mounts_fd = s->allocs_fd = s->lock_fd = -1;
	if (open_all(s, dir, err)) {
		driver_state_close(s);
		return err->code;
	}
	*out = s;
	return CLEAT_OK;
}

void driver_state_close(struct driver_state *s)
{
	if (!s)
		return;
	cleat_cleanup_close(&s->records_fd);
	cleat_cleanup_close(&s->mounts_fd);
	cleat_cleanup_close(&s->allocs_fd);
	cleat_cleanup_close(&s->lock_fd);
	cleat_cleanup_close(&s->dir_fd);
	free(s->tasks);
	free(s->mounts);
	free(s);
}

const char *driver_state_tasks_dir(const struct driver_state *s)
{
	return s->tasks;
}

bool driver_state_lead(struct driver_state *s)
{
	if (s->lock_fd >= 0)
		return true;
	cleat_autoclose int fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		return false;
	s->lock_fd = cleat_steal_fd(&fd);
	return true;
}

/* ---- tasks ---- */

enum cleat_code driver_state_save_task(struct driver_state *s, const State__Task *t, struct cleat_error *err)
{
	return save(s->records_fd, t->container, &t->base, err);
}

enum cleat_code driver_state_load_task(struct driver_state *s, const char *container, State__Task **out,
				       struct cleat_error *err)
{
	cleat_autofree uint8_t *bytes = NULL;
	size_t n;
	enum cleat_code code = load(s->records_fd, container, &bytes, &n, err);

	return code ? code : driver_state_decode_task(bytes, n, out, err);
}

enum cleat_code driver_state_make_target(struct driver_state *s, const char *container, unsigned index,
					 char **path_out, struct cleat_error *err)
{
	char *path;
	char name[16];

	if (mkdirat(s->mounts_fd, container, 0700) && errno != EEXIST)
		return cleat_error_errno(err, errno, "make the directory of mounts of '%s'", container);
	cleat_autoclose int fd =
		openat(s->mounts_fd, container, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	snprintf(name, sizeof(name), "%u", index);
	if (fd < 0 || (mkdirat(fd, name, 0700) && errno != EEXIST))
		return cleat_error_errno(err, errno, "make the mount point '%s/%u'", container, index);
	if (asprintf(&path, "%s/%s/%u", s->mounts, container, index) < 0)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	*path_out = path;
	return CLEAT_OK;
}

/* rmdir fails on what is still mounted, and on what was made by somebody else; nothing is removed by force.
 */
static enum cleat_code remove_targets(struct driver_state *s, const State__Task *t, struct cleat_error *err)
{
	for (size_t i = 0; i < t->n_volumes; i++)
		if (rmdir(t->volumes[i]->target) && errno != ENOENT)
			return cleat_error_errno(err, errno, "remove the mount point '%s'",
						 t->volumes[i]->target);
	if (is_name(t->container) && unlinkat(s->mounts_fd, t->container, AT_REMOVEDIR) && errno != ENOENT &&
	    errno != ENOTEMPTY)
		return cleat_error_errno(err, errno, "remove the directory of mounts of '%s'", t->container);
	return CLEAT_OK;
}

enum cleat_code driver_state_forget_task(struct driver_state *s, const State__Task *t,
					 struct cleat_error *err)
{
	enum cleat_code code = remove_targets(s, t, err);

	return code ? code : forget(s->records_fd, t->container, err);
}

enum cleat_code driver_state_list_tasks(struct driver_state *s, char ***names_out, struct cleat_error *err)
{
	return list(s->records_fd, names_out, err);
}

/* ---- allocations ---- */

enum cleat_code driver_state_save_alloc(struct driver_state *s, const State__Allocation *a,
					struct cleat_error *err)
{
	return save(s->allocs_fd, a->id, &a->base, err);
}

enum cleat_code driver_state_load_alloc(struct driver_state *s, const char *id, State__Allocation **out,
					struct cleat_error *err)
{
	cleat_autofree uint8_t *bytes = NULL;
	size_t n;
	enum cleat_code code = load(s->allocs_fd, id, &bytes, &n, err);

	return code ? code : driver_state_decode_alloc(bytes, n, out, err);
}

enum cleat_code driver_state_forget_alloc(struct driver_state *s, const char *id, struct cleat_error *err)
{
	return forget(s->allocs_fd, id, err);
}

enum cleat_code driver_state_list_allocs(struct driver_state *s, char ***names_out, struct cleat_error *err)
{
	return list(s->allocs_fd, names_out, err);
}

static bool parent_of(const char *dir, char *out, size_t room)
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	while (n > 1 && dir[n - 1] != '/')
		n--;
	if (n == 0 || n >= room)
		return false;
	memcpy(out, dir, n);
	out[n] = '\0';
	return true;
}

uint64_t driver_state_root_inode(const char *dir)
{
	char parent[4096];
	struct stat st;

	return parent_of(dir, parent, sizeof(parent)) && stat(parent, &st) == 0 ? st.st_ino : 0;
}

bool driver_state_dir_is_gone(const char *dir, uint64_t root_inode)
{
	struct stat st;

	if (root_inode == 0 || driver_state_root_inode(dir) != root_inode)
		return false;
	return lstat(dir, &st) != 0 && errno == ENOENT;
}
