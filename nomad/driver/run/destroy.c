/* destroy.c - removing a task, however far it came: container, cgroups, conmon, directory. */
#include "driver/run/internal.h"

#include "sys/file.h"
#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_LIMIT_MS 90000 /* longer than a start takes at most */
#define END_LIMIT_MS 30000
#define CGROUP_LIMIT_MS 10000
#define GRACE_MS 2000	    /* for conmon to end by itself */
#define PRUNE_LIMIT_MS 5000 /* under an endless row of starts, one of which uses the parents then */
#define PAUSE_NS 5000000

/* ---- pruning, and making cgroups meanwhile ---- */

/* A descriptor that holds the lock, or a negative errno value. */
static int open_prune_lock(const struct run_tools *tools, int how)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/.lock", tools->root);
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || TEMP_FAILURE_RETRY(flock(fd, how)) == 0)
		return fd < 0 ? -errno : fd;
	int e = errno;
	close(fd);
	return -e;
}

int run_prune_hold(const struct run_tools *tools)
{
	return open_prune_lock(tools, LOCK_SH);
}

int run_prune_begin(const struct run_tools *tools)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	int64_t end_ms = cleat_time_mono_ms() + PRUNE_LIMIT_MS;
	int fd;

	while ((fd = open_prune_lock(tools, LOCK_EX | LOCK_NB)) == -EWOULDBLOCK &&
	       cleat_time_mono_ms() < end_ms)
		nanosleep(&pause, NULL);
	return fd;
}

/* ---- ending what runs ---- */

/* conmon, or a process that is making the container, holds this lock. */
static bool is_alive(const struct run_place *place)
{
	cleat_autoclose int fd = openat(place->fd, "alive", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* The process that a pid file tells of.  Without the record of when it began, only one that has to do with
 * this task will do. */
static int open_recorded(const struct run_place *place, const char *file, pid_t known, uint64_t start)
{
	long pid = 0;

	if (known > 0)
		return run_process_open(known, start);
	if (!is_alive(place) || !run_get_number(place->fd, file, &pid))
		return -1;
	return run_process_open((pid_t)pid, run_process_start((pid_t)pid));
}

static void read_birth_if_ours(const struct run_place *place, struct run_birth *birth)
{
	char boot_id[RUN_BOOT_ID_BYTES];

	run_boot_id(boot_id);
	if (run_birth_read(place->fd, birth, NULL) != CLEAT_OK || strcmp(birth->boot_id, boot_id) != 0)
		*birth = (struct run_birth){ .pid = 0 };
}

static bool kill_recorded(const struct run_place *place, const char *file, pid_t known, uint64_t start)
{
	cleat_autoclose int fd = open_recorded(place, file, known, start);

	run_process_signal(fd, SIGKILL);
	return !run_process_ended(fd, 0);
}

/* Kills the task, and lets conmon see it and end; kills conmon when it does not, or when it is still having
 * the container made. */
static enum cleat_code end_all(const struct run_place *place, const struct run_plan *plan, const char *id,
			       struct cleat_error *err)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	int64_t began_ms = cleat_time_mono_ms();
	struct run_birth birth;

	read_birth_if_ours(place, &birth);
	for (;;) {
		cleat_autoclose int conmon =
			open_recorded(place, "conmon.pid", birth.conmon, birth.conmon_start);
		bool runs = kill_recorded(place, "pid", birth.pid, birth.pid_start);
		int64_t waited_ms = cleat_time_mono_ms() - began_ms;
		if (plan->cgroup && waited_ms > 0)
			run_cgroup_kill(plan->cgroup);
		if (waited_ms > GRACE_MS)
			run_process_signal(conmon, SIGKILL);
		if (!runs && run_process_ended(conmon, 0) && !is_alive(place))
			return CLEAT_OK;
		if (waited_ms > END_LIMIT_MS)
			return cleat_error_set(
				err, CLEAT_DEADLINE_EXCEEDED,
				"task '%s' does not end though it was killed: it hangs in the kernel", id);
		nanosleep(&pause, NULL);
	}
}

/* ---- the rest ---- */

static enum cleat_code remove_container(const struct run_tools *tools, const char *id,
					struct cleat_error *err)
{
	const char *args[] = { "delete", "--force", id, NULL };
	char state[PATH_MAX + RUN_ID_MAX_BYTES + 2];
	cleat_autoclose int root = -1;

	snprintf(state, sizeof(state), "%s/%s", tools->root, id);
	if (access(state, F_OK) < 0 && errno == ENOENT)
		return CLEAT_OK;
	enum cleat_code code = run_crun(tools, args, err);
	/* A container that was cut off in the making is none to crun; what there is of it are files. */
	if (access(state, F_OK) < 0 && errno == ENOENT)
		return CLEAT_OK;
	code = cleat_sys_open_root(tools->root, &root, err);
	return code == CLEAT_OK ? cleat_sys_remove_tree(root, id, err) : code;
}

static enum cleat_code remove_cgroups(const struct run_tools *tools, const struct run_plan *plan,
				      struct cleat_error *err)
{
	enum cleat_code code =
		plan->cgroup ? run_cgroup_remove(plan->cgroup, CGROUP_LIMIT_MS, err) : CLEAT_OK;
	cleat_autoclose int lock = code == CLEAT_OK && plan->cgroup ? run_prune_begin(tools) : -1;

	if (lock >= 0)
		run_cgroup_prune(plan->cgroup);
	return code;
}

/* The directory, under the lock that is in it: under another name first, so that nobody finds half of it. */
static enum cleat_code remove_directory(const struct run_tools *tools, const char *id,
					struct cleat_error *err)
{
	char dir[PATH_MAX], gone[RUN_ID_MAX_BYTES + 8];
	cleat_autoclose int fd = -1;

	snprintf(dir, sizeof(dir), "%.*s", (int)(strlen(tools->root) - strlen("/" RUN_CRUN_ROOT)),
		 tools->root);
	snprintf(gone, sizeof(gone), ".gone-%s", id);
	enum cleat_code code = cleat_sys_open_root(dir, &fd, err);
	if (code == CLEAT_OK)
		code = cleat_sys_remove_tree(fd, gone, err);
	if (code == CLEAT_OK)
		code = cleat_sys_rename_at(fd, id, fd, gone, false, err);
	return code == CLEAT_OK ? cleat_sys_remove_tree(fd, gone, err) : code;
}

/* What a destroy that was cut off has left under the other name. */
static enum cleat_code remove_rest(const struct run_env *env, const char *id, struct cleat_error *err)
{
	char gone[RUN_ID_MAX_BYTES + 8];
	cleat_autoclose int fd = -1;
	struct cleat_error why = CLEAT_ERROR_INIT;

	enum cleat_code code = cleat_sys_open_root(env->dir, &fd, &why);
	if (code == CLEAT_NOT_FOUND)
		return CLEAT_OK;
	snprintf(gone, sizeof(gone), ".gone-%s", id);
	if (code == CLEAT_OK)
		code = cleat_sys_remove_tree(fd, gone, &why);
	return code == CLEAT_OK ? CLEAT_OK : cleat_error_set(err, code, "%s", why.msg);
}

enum cleat_code run_destroy_locked(const struct run_tools *tools, const char *id, struct run_place *place,
				   struct cleat_error *err)
{
	struct run_plan plan = { .cgroup = NULL };
	struct cleat_error why = CLEAT_ERROR_INIT;

	/* Without a plan nothing was started. */
	enum cleat_code code = run_plan_read(place->fd, &plan, &why);
	if (code != CLEAT_OK && code != CLEAT_NOT_FOUND && code != CLEAT_DATA_LOSS)
		return cleat_error_set(err, code, "%s", why.msg);
	code = end_all(place, &plan, id, err);
	if (code == CLEAT_OK)
		code = remove_container(tools, id, err);
	if (code == CLEAT_OK)
		code = remove_cgroups(tools, &plan, err);
	if (code == CLEAT_OK)
		code = remove_directory(tools, id, err);
	run_plan_done(&plan);
	return code;
}

enum cleat_code run_destroy(const struct run_env *env, const char *id, struct cleat_error *err)
{
	struct run_place place = RUN_PLACE_INIT;
	struct cleat_error why = CLEAT_ERROR_INIT;
	struct run_tools tools;

	enum cleat_code code = run_check_id(id, err);
	if (code != CLEAT_OK)
		return code;
	code = run_place_open(env, id, true, LOCK_LIMIT_MS, &place, &why);
	if (code == CLEAT_NOT_FOUND)
		return remove_rest(env, id, err);
	if (code != CLEAT_OK)
		return cleat_error_set(err, code, "%s", why.msg);
	code = run_tools_find(env, &tools, err);
	if (code == CLEAT_OK)
		code = run_destroy_locked(&tools, id, &place, err);
	run_place_done(&place);
	return code == CLEAT_OK ? CLEAT_OK : cleat_error_wrap(err, "remove task '%s'", id);
}
