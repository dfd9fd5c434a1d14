/* handle.c - a task that runs or has run: finding it, its end, signals. */
#include "driver/run/internal.h"

#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUSY_LIMIT_MS 2000
#define ASK_EVERY_MS 250
#define KILL_LIMIT_MS 30000 /* after SIGKILL; what hangs in the kernel longer is told, not waited for */
#define SIGNAL_CODE 128
#define MAX_SIGNAL 64

static enum cleat_code out_of_memory(struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code keep_tools(struct run_handle *h, const struct run_env *env, struct cleat_error *err)
{
	struct run_tools tools;
	enum cleat_code code = run_tools_find(env, &tools, err);

	if (code != CLEAT_OK)
		return code;
	h->crun = strdup(tools.crun);
	h->crun_root = strdup(tools.root);
	return h->crun && h->crun_root ? CLEAT_OK : out_of_memory(err);
}

enum cleat_code run_handle_new(const struct run_env *env, const char *id, struct run_place *place,
			       struct run_handle **out, struct cleat_error *err)
{
	struct run_handle *h = calloc(1, sizeof(*h));
	char boot_id[RUN_BOOT_ID_BYTES];

	if (!h)
		return out_of_memory(err);
	atomic_init(&h->refs, 1);
	h->pid_fd = h->conmon_fd = -1;
	h->place = (struct run_place)RUN_PLACE_INIT;
	pthread_mutex_init(&h->lock, NULL);
	h->id = strdup(id);
	enum cleat_code code = h->id ? keep_tools(h, env, err) : out_of_memory(err);
	if (code == CLEAT_OK)
		code = run_plan_read(place->fd, &h->plan, err);
	if (code == CLEAT_OK)
		code = run_birth_read(place->fd, &h->birth, err);
	if (code != CLEAT_OK) {
		run_unref(h);
		return code;
	}
	h->place = *place;
	*place = (struct run_place)RUN_PLACE_INIT;
	cleat_cleanup_close(&h->place.lock_fd);
	h->place.lock_fd = -1;
	run_boot_id(boot_id);
	if (strcmp(boot_id, h->birth.boot_id) == 0) {
		h->pid_fd = run_process_open(h->birth.pid, h->birth.pid_start);
		h->conmon_fd = run_process_open(h->birth.conmon, h->birth.conmon_start);
	}
	*out = h;
	return CLEAT_OK;
}

/* A child of the one who was killed may have the lock a moment longer, until it executes its program. */
static bool is_busy_for_long(const struct run_place *place)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	for (int64_t end_ms = cleat_time_mono_ms() + BUSY_LIMIT_MS; run_place_is_busy(place);
	     nanosleep(&pause, NULL))
		if (cleat_time_mono_ms() > end_ms)
			return true;
	return false;
}

enum cleat_code run_attach(const struct run_env *env, const char *id, struct run_handle **out,
			   struct cleat_error *err)
{
	struct run_place place = RUN_PLACE_INIT;
	enum cleat_code code = run_place_open(env, id, false, 0, &place, err);

	if (code != CLEAT_OK)
		return code;
	if (is_busy_for_long(&place))
		code = cleat_error_set(err, CLEAT_UNAVAILABLE,
				       "task '%s' is being started or removed by somebody else", id);
	if (code == CLEAT_OK)
		code = run_handle_new(env, id, &place, out, err);
	run_place_done(&place);
	if (code == CLEAT_NOT_FOUND)
		code = cleat_error_set(err, code, "the start of task '%s' was cut off", id);
	return code;
}

struct run_handle *run_ref(struct run_handle *h)
{
	atomic_fetch_add(&h->refs, 1);
	return h;
}

void run_unref(struct run_handle *h)
{
	if (!h || atomic_fetch_sub(&h->refs, 1) != 1)
		return;
	cleat_cleanup_close(&h->pid_fd);
	cleat_cleanup_close(&h->conmon_fd);
	run_place_done(&h->place);
	run_plan_done(&h->plan);
	pthread_mutex_destroy(&h->lock);
	free(h->id);
	free(h->crun);
	free(h->crun_root);
	free(h);
}

int64_t run_started_ms(const struct run_handle *h)
{
	return h->birth.started_ms;
}

const char *run_notes(const struct run_handle *h)
{
	return h->plan.notes;
}

pid_t run_pid(const struct run_handle *h)
{
	return run_process_ended(h->pid_fd, 0) ? 0 : h->birth.pid;
}

/* ---- its end ---- */

/* A program can end with such a code by itself; shells do when what they ran was killed.  Nothing tells the
 * two apart afterwards. */
static int signal_of(int code)
{
	static const int never[] = { SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH };
	int signal = code - SIGNAL_CODE;

	for (size_t i = 0; i < CLEAT_COUNT(never); i++)
		if (signal == never[i])
			return 0;
	return signal > 0 && signal <= MAX_SIGNAL ? signal : 0;
}

static bool was_out_of_memory(const struct run_handle *h)
{
	/* conmon leaves a file when it was told; the counter knows also of what happened while nobody looked.
	 */
	return run_cgroup_oom_kills(h->plan.cgroup) > 0 ||
	       faccessat(h->place.fd, "oom", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void tell_unknown(const struct run_handle *h, struct run_exit *end)
{
	char boot_id[RUN_BOOT_ID_BYTES];

	run_boot_id(boot_id);
	end->code = SIGNAL_CODE + SIGKILL;
	end->signal = SIGKILL;
	end->finished_ms = cleat_time_wall_ms();
	const char *why = "conmon, which watched the task, was killed; how the task ended is not known";
	if (strcmp(boot_id, h->birth.boot_id) != 0)
		why = "the machine was restarted while the task ran";
	else if (faccessat(h->place.fd, "task.json", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		why = "the task was removed";
	snprintf(end->message, sizeof(end->message), "%s", why);
}

/* What conmon wrote; false when it did not. */
static bool read_exit_file(const struct run_handle *h, struct run_exit *end)
{
	char path[RUN_ID_MAX_BYTES + 16];
	struct stat st;
	long code;

	snprintf(path, sizeof(path), "exit/%s", h->id);
	if (!run_get_number(h->place.fd, path, &code) ||
	    fstatat(h->place.fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	end->code = (int)code;
	end->signal = signal_of(end->code);
	end->finished_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	return true;
}

/* Where it has ended, how; with the lock held.  conmon is waited for, not the task: it writes the exit code
 * last, and while it is there the task's output is still open. */
static bool look(struct run_handle *h)
{
	struct run_exit end = { .code = 0 };

	if (h->ended)
		return true;
	if (run_end_read(h->place.fd, &h->end)) {
		h->ended = true;
		return true;
	}
	if (!run_process_ended(h->conmon_fd, 0))
		return false;
	if (!read_exit_file(h, &end)) {
		if (!run_process_ended(h->pid_fd, 0)) /* it goes on without conmon */
			return false;
		tell_unknown(h, &end);
	}
	end.oom_killed = end.code != 0 && was_out_of_memory(h);
	h->end = end;
	h->ended = true;
	/* For those who come when the cgroup is gone. */
	if (run_end_write(h->place.fd, &end, NULL) != CLEAT_OK)
		cleat_debug("task %s: its end could not be written down", h->id);
	return true;
}

bool run_ended(struct run_handle *h, struct run_exit *out)
{
	pthread_mutex_lock(&h->lock);
	bool ended = look(h);
	if (ended && out)
		*out = h->end;
	pthread_mutex_unlock(&h->lock);
	return ended;
}

/* Waits until there may be something to see. */
static void pause_for(const struct run_handle *h, int timeout_ms)
{
	run_process_ended(run_process_ended(h->conmon_fd, 0) ? h->pid_fd : h->conmon_fd, timeout_ms);
}

enum cleat_code run_wait(struct run_handle *h, bool (*cancelled)(void *arg), void *arg, bool *ended_out,
			 struct run_exit *out, struct cleat_error *err)
{
	(void)err;
	for (;;) {
		*ended_out = run_ended(h, out);
		if (*ended_out || (cancelled && cancelled(arg)))
			return CLEAT_OK;
		pause_for(h, ASK_EVERY_MS);
	}
}

static bool wait_until(struct run_handle *h, int64_t end_ms)
{
	for (int64_t left_ms; !run_ended(h, NULL);) {
		left_ms = end_ms - cleat_time_mono_ms();
		if (left_ms <= 0)
			return false;
		pause_for(h, left_ms < ASK_EVERY_MS ? (int)left_ms : ASK_EVERY_MS);
	}
	return true;
}

/* ---- signals ---- */

enum cleat_code run_signal(struct run_handle *h, int signal, struct cleat_error *err)
{
	int e = run_process_signal(h->pid_fd, signal);

	if (e == 0)
		return CLEAT_OK;
	if (e == ESRCH)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "task '%s' has ended", h->id);
	return cleat_error_errno(err, e, "signal %d to task '%s'", signal, h->id);
}

bool run_withholds(struct run_handle *h, int signal)
{
	return run_process_withholds(h->birth.pid, signal) && !run_process_ended(h->pid_fd, 0);
}

enum cleat_code run_stop(struct run_handle *h, int signal, int64_t timeout_ms, struct cleat_error *err)
{
	int64_t now_ms = cleat_time_mono_ms();

	if (run_ended(h, NULL))
		return CLEAT_OK;
	bool hopeless = run_withholds(h, signal);
	if (!hopeless && timeout_ms > 0 && run_signal(h, signal, NULL) == CLEAT_OK &&
	    wait_until(h, now_ms + timeout_ms))
		return CLEAT_OK;
	/* The first process takes all others of its namespace with it. */
	run_process_signal(h->pid_fd, SIGKILL);
	if (wait_until(h, cleat_time_mono_ms() + 2 * ASK_EVERY_MS))
		return CLEAT_OK;
	run_cgroup_kill(h->plan.cgroup);
	if (wait_until(h, cleat_time_mono_ms() + KILL_LIMIT_MS))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED,
			       "task '%s' does not end though it was killed: it hangs in the kernel", h->id);
}
