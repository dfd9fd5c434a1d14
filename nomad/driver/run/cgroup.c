/* cgroup.c - the task's control groups: where they are, killing what is in them, removing them.  crun makes
 * them and sets the limits. */
#include "driver/run/internal.h"

#include "util/buf.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define OUR_PARENT "/cleat"
/* Directories that we have made for others' to be in are known by this bit, which means nothing to cgroups: it is there from their
 * birth, so that a kill leaves none without it. */
#define OUR_MARK S_ISVTX
#define MAX_HIERARCHIES 64
#define MAX_DEPTH 16
#define UNIFIED RUN_CGROUP_ROOT "/unified"

enum run_cgroup_mode run_cgroup_mode(void)
{
	struct statfs fs;

	if (statfs(RUN_CGROUP_ROOT, &fs) < 0)
		return RUN_CGROUP_NONE;
	if (fs.f_type == CGROUP2_SUPER_MAGIC)
		return RUN_CGROUP_V2;
	/* cgroups(7): a tmpfs with a directory for each controller. */
	return statfs(RUN_CGROUP_ROOT "/memory", &fs) == 0 && fs.f_type == CGROUP_SUPER_MAGIC
		       ? RUN_CGROUP_V1
		       : RUN_CGROUP_NONE;
}

bool run_cgroup_is_mixed(void)
{
	struct statfs fs;
	char controllers[256];

	return run_cgroup_mode() == RUN_CGROUP_V1 && statfs(UNIFIED, &fs) == 0 &&
	       fs.f_type == CGROUP2_SUPER_MAGIC &&
	       run_small_file(UNIFIED "/cgroup.controllers", controllers, sizeof(controllers)) &&
	       controllers[0] != '\0';
}

/* ---- where ---- */

/* The mounts that a cgroup of ours is in: "" for cgroup v2, else the directories of controllers. */
struct hierarchies {
	char names[MAX_HIERARCHIES][64];
	size_t count;
};

static void find_hierarchies(struct hierarchies *h)
{
	h->count = 0;
	if (run_cgroup_mode() == RUN_CGROUP_V2) {
		h->names[h->count++][0] = '\0';
		return;
	}
	DIR *dir = opendir(RUN_CGROUP_ROOT);
	if (!dir)
		return;
	/* Links ("cpu" to "cpu,cpuacct") lead to what is seen anyway; what cgroup2 has here is not for us. */
	for (const struct dirent *d; h->count < MAX_HIERARCHIES && (d = readdir(dir));)
		if (d->d_name[0] != '.' && d->d_type == DT_DIR && strcmp(d->d_name, "unified") != 0 &&
		    strlen(d->d_name) < sizeof(h->names[0]))
			snprintf(h->names[h->count++], sizeof(h->names[0]), "%s", d->d_name);
	closedir(dir);
}

static bool path_in(const char *hierarchy, const char *cgroup, char path[PATH_MAX])
{
	int n = snprintf(path, PATH_MAX, RUN_CGROUP_ROOT "%s%s%s", *hierarchy ? "/" : "", hierarchy, cgroup);

	return n > 0 && n < PATH_MAX;
}

/* The parent as a path below the mounts: one "/" in front, none behind. */
static enum cleat_code tidy_parent(const char *parent, char out[PATH_MAX / 2], struct cleat_error *err)
{
	if (!parent || !*parent)
		parent = OUR_PARENT;
	if (run_path_is_beneath(parent, RUN_CGROUP_ROOT))
		parent += strlen(RUN_CGROUP_ROOT);
	parent += strspn(parent, "/");
	size_t n = strlen(parent);
	while (n > 0 && parent[n - 1] == '/')
		n--;
	if (n == 0 || n >= PATH_MAX / 2 - RUN_ID_MAX_BYTES - 2)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "parent cgroup '%.200s' is the root, or too long", parent);
	snprintf(out, PATH_MAX / 2, "/%.*s", (int)n, parent);
	if (strstr(out, "//") || strstr(out, "/./") || strstr(out, "/../") ||
	    strcmp(strrchr(out, '/'), "/..") == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "parent cgroup '%.200s' is not a plain path", out);
	return CLEAT_OK;
}

enum cleat_code run_cgroup_plan(const struct run_spec *spec, struct run_plan *plan, struct cleat_error *err)
{
	char parent[PATH_MAX / 2];
	enum cleat_code code = tidy_parent(spec->cgroup_parent, parent, err);

	if (code != CLEAT_OK)
		return code;
	if (asprintf(&plan->cgroup, "%s/%s", parent, spec->id) < 0) {
		plan->cgroup = NULL;
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	return CLEAT_OK;
}

/* Makes the directories above the cgroup in one hierarchy, and marks those that were not there as ours. */
static void make_parents_in(const char *hierarchy, const char *cgroup)
{
	char parent[PATH_MAX / 2], path[PATH_MAX];

	for (const char *slash = strchr(cgroup + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - cgroup), cgroup);
		if (!path_in(hierarchy, parent, path) || mkdir(path, 0755 | OUR_MARK) < 0)
			continue; /* it is there, or the runtime will say why it cannot be */
	}
}

void run_cgroup_make_parents(const char *cgroup)
{
	struct hierarchies h;

	find_hierarchies(&h);
	for (size_t i = 0; i < h.count; i++)
		make_parents_in(h.names[i], cgroup);
}

/* ---- what is in it ---- */

static bool each_in_file(int dir, bool (*fn)(pid_t pid, void *arg), void *arg)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	bool more = true;
	long pid;

	if (!file) {
		cleat_cleanup_close(&fd);
		return true;
	}
	while (more && fscanf(file, "%ld", &pid) == 1)
		if (pid > 1) /* 0: a process of a namespace that we do not see */
			more = fn((pid_t)pid, arg);
	fclose(file);
	return more;
}

/* Calls fn for the processes of the directory and of those below it; takes the descriptor over. */
static bool each_below(int dir, int depth, bool (*fn)(pid_t pid, void *arg), void *arg)
{
	bool more = each_in_file(dir, fn, arg);
	DIR *list = fdopendir(dir);

	if (!list) {
		close(dir);
		return more;
	}
	for (const struct dirent *d; more && depth < MAX_DEPTH && (d = readdir(list));) {
		if (d->d_type != DT_DIR || d->d_name[0] == '.')
			continue;
		int below = openat(dirfd(list), d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0)
			more = each_below(below, depth + 1, fn, arg);
	}
	closedir(list);
	return more;
}

void run_cgroup_each(const char *cgroup, bool (*fn)(pid_t pid, void *arg), void *arg)
{
	struct hierarchies h;
	char path[PATH_MAX];

	find_hierarchies(&h);
	for (size_t i = 0; i < h.count; i++) {
		int dir = path_in(h.names[i], cgroup, path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
							    : -1;
		/* A process is in the same place in all of them, so the first that is there will do. */
		if (dir >= 0) {
			each_below(dir, 0, fn, arg);
			return;
		}
	}
}

static void put(const char *hierarchy, const char *cgroup, const char *file, const char *text)
{
	char path[PATH_MAX], whole[PATH_MAX];

	if (!path_in(hierarchy, cgroup, path) ||
	    snprintf(whole, sizeof(whole), "%s/%s", path, file) >= (int)sizeof(whole))
		return;
	cleat_autoclose int fd = open(whole, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		return; /* what it should have done is looked at by whoever waits for it */
}

static bool kill_one(pid_t pid, void *arg)
{
	(void)arg;
	kill(pid, SIGKILL);
	return true;
}

void run_cgroup_kill(const char *cgroup)
{
	bool v2 = run_cgroup_mode() == RUN_CGROUP_V2;

	if (v2)
		put("", cgroup, "cgroup.kill", "1"); /* Linux 5.14 */
	run_cgroup_each(cgroup, kill_one, NULL);
	/* A frozen process dies when it thaws. */
	if (v2)
		put("", cgroup, "cgroup.freeze", "0");
	else
		put("freezer", cgroup, "freezer.state", "THAWED");
}

uint64_t run_cgroup_oom_kills(const char *cgroup)
{
	bool v2 = run_cgroup_mode() == RUN_CGROUP_V2;
	char path[PATH_MAX], whole[PATH_MAX], text[1024];
	uint64_t kills = 0;

	if (!path_in(v2 ? "" : "memory", cgroup, path) ||
	    snprintf(whole, sizeof(whole), "%s/%s", path, v2 ? "memory.events" : "memory.oom_control") >=
		    (int)sizeof(whole) ||
	    !run_small_file(whole, text, sizeof(text)) || !run_number_key(text, "oom_kill", &kills))
		return 0;
	return kills;
}

bool run_cgroup_limits_swap(const char *cgroup)
{
	char parent[PATH_MAX / 2], path[PATH_MAX];

	if (run_cgroup_mode() != RUN_CGROUP_V2)
		return access(RUN_CGROUP_ROOT "/memory/memory.memsw.limit_in_bytes", F_OK) == 0;
	/* The root has no such file; the nearest directory that is there and has limits tells. */
	snprintf(parent, sizeof(parent), "%s", cgroup);
	for (char *slash; (slash = strrchr(parent, '/')) && slash != parent;) {
		*slash = '\0';
		if (path_in("", parent, path) && access(path, F_OK) == 0) {
			strncat(path, "/memory.swap.max", sizeof(path) - strlen(path) - 1);
			return access(path, F_OK) == 0;
		}
	}
	return false;
}

/* ---- removing ---- */

/* Removes a directory of a cgroup file system and those below it; 0, or the errno value of what is left. */
static int remove_below(int parent, const char *name, int depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	int e = 0;

	if (!list) {
		int open_error = errno;
		cleat_cleanup_close(&fd);
		return open_error == ENOENT ? 0 : open_error;
	}
	for (const struct dirent *d; depth < MAX_DEPTH && (d = readdir(list));)
		if (d->d_type == DT_DIR && d->d_name[0] != '.')
			e = remove_below(dirfd(list), d->d_name, depth + 1);
	closedir(list);
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return e ? e : errno;
}

static enum cleat_code remove_in(const char *hierarchy, const char *cgroup, int64_t end_ms,
				 struct cleat_error *err)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	char path[PATH_MAX];

	if (!path_in(hierarchy, cgroup, path))
		return cleat_error_set(err, CLEAT_INTERNAL, "the path of cgroup '%.200s' is too long",
				       cgroup);
	for (;;) {
		int e = remove_below(AT_FDCWD, path, 0);
		if (e == 0)
			return CLEAT_OK;
		if (e != EBUSY || cleat_time_mono_ms() >= end_ms)
			return cleat_error_errno(err, e, "remove cgroup '%s'", path);
		run_cgroup_kill(cgroup);
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 64000000)
			pause.tv_nsec *= 2;
	}
}

enum cleat_code run_cgroup_remove(const char *cgroup, int64_t limit_ms, struct cleat_error *err)
{
	int64_t end_ms = cleat_time_mono_ms() + limit_ms;
	enum cleat_code code = CLEAT_OK;
	struct hierarchies h;

	find_hierarchies(&h);
	for (size_t i = 0; i < h.count; i++) {
		enum cleat_code now = remove_in(h.names[i], cgroup, end_ms, code == CLEAT_OK ? err : NULL);
		code = code == CLEAT_OK ? now : code;
	}
	return code;
}

static void prune_in(const char *hierarchy, const char *cgroup)
{
	char parent[PATH_MAX / 2], path[PATH_MAX];
	struct stat st;

	snprintf(parent, sizeof(parent), "%s", cgroup);
	for (char *slash; (slash = strrchr(parent, '/')) && slash != parent;) {
		*slash = '\0';
		if (!path_in(hierarchy, parent, path))
			return;
		if (strcmp(parent, OUR_PARENT) != 0 && stat(path, &st) == 0 && !(st.st_mode & OUR_MARK))
			return; /* somebody else's */
		if (rmdir(path) < 0 && errno != ENOENT)
			return; /* in use: whoever is last in it removes it */
	}
}

void run_cgroup_prune(const char *cgroup)
{
	struct hierarchies h;

	find_hierarchies(&h);
	for (size_t i = 0; i < h.count; i++)
		prune_in(h.names[i], cgroup);
}
