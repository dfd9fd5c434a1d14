/* exec.c - a further process in a running task: crun puts it there and waits for it, as a child of ours.
 *
 * Nothing is written to disk for it: the process's description and crun's log are in memory, its number comes
 * over a pipe.  crun writes that number when the process is all set up and its program has been found.
 */
#include "driver/run/internal.h"

#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_LIMIT_MS 30000
#define ASK_EVERY_MS 250
#define HANG_UP_MS 200 /* for a shell to save what it wants to save */
#define GRACE_MS 2000  /* for crun to see that its process was killed */
#define WORDS_BYTES 256

struct run_exec {
	struct run_handle *task; /* a reference */
	pid_t crun;
	int crun_fd; /* pidfd */
	pid_t pid;   /* on the host; 0 while it is not known */
	int pid_fd, session;
	int log_fd;	      /* crun's log */
	int master;	      /* of the terminal, -1: none */
	pthread_mutex_t lock; /* of what follows */
	bool ended;
	struct run_exit end;
};

/* Everything that is needed only while it starts. */
struct launch {
	int spec_fd; /* process.json */
	int pid_pipe[2];
	int ours[3], theirs[3]; /* stdin, stdout, stderr */
	struct run_console console;
};

static void launch_done(struct launch *l, int dirfd)
{
	cleat_cleanup_close(&l->spec_fd);
	for (size_t i = 0; i < CLEAT_COUNT(l->pid_pipe); i++)
		cleat_cleanup_close(&l->pid_pipe[i]);
	for (size_t i = 0; i < CLEAT_COUNT(l->ours); i++) {
		cleat_cleanup_close(&l->ours[i]);
		cleat_cleanup_close(&l->theirs[i]);
	}
	run_console_close(dirfd, &l->console);
}

/* ---- what crun is told ---- */

static bool has_term(const json_t *env)
{
	const json_t *variable;
	size_t i;

	json_array_foreach(env, i,
			   variable) if (json_string_value(variable) &&
					 strncmp(json_string_value(variable), "TERM=", 5) == 0) return true;
	return false;
}

/* The task's own process, with another command. */
static enum cleat_code describe(const struct run_handle *h, char *const *argv, bool tty, json_t **out,
				struct cleat_error *err)
{
	json_t *process = NULL, *args = json_array();
	enum cleat_code code = run_get_json(h->place.fd, "process.json", &process, err);
	bool ok = code == CLEAT_OK && args;

	for (; ok && *argv; argv++)
		if (json_array_append_new(args, json_string(*argv)) < 0) {
			code = cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%.60s' is not UTF-8 text",
					       *argv);
			ok = false;
		}
	json_t *env = json_object_get(process, "env");
	if (ok && tty && !has_term(env))
		ok = json_array_append_new(env, json_string("TERM=xterm")) == 0;
	ok = ok && json_object_set(process, "args", args) == 0 &&
	     json_object_set_new(process, "terminal", json_boolean(tty)) == 0;
	json_decref(args);
	if (ok) {
		*out = process;
		return CLEAT_OK;
	}
	json_decref(process);
	return code != CLEAT_OK ? code : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code write_spec(const json_t *process, int *fd_out, struct cleat_error *err)
{
	cleat_autofree char *text = json_dumps(process, JSON_COMPACT);
	cleat_autoclose int fd = memfd_create("process.json", MFD_CLOEXEC);
	size_t n = text ? strlen(text) : 0;

	if (!text)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (fd < 0 || write(fd, text, n) != (ssize_t)n)
		return cleat_error_errno(err, errno, "describe the process");
	*fd_out = cleat_steal_fd(&fd);
	return CLEAT_OK;
}

static enum cleat_code open_pipes(struct launch *l, struct cleat_error *err)
{
	for (int i = 0; i < 3; i++) {
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) < 0)
			return cleat_error_errno(err, errno, "pipe");
		l->ours[i] = ends[i == 0];
		l->theirs[i] = ends[i != 0];
	}
	return CLEAT_OK;
}

static enum cleat_code prepare(struct run_exec *x, struct launch *l, char *const *argv, bool tty,
			       struct cleat_error *err)
{
	json_t *process = NULL;
	enum cleat_code code = describe(x->task, argv, tty, &process, err);

	if (code == CLEAT_OK)
		code = write_spec(process, &l->spec_fd, err);
	json_decref(process);
	if (code == CLEAT_OK)
		code = tty ? run_console_open(x->task->place.fd, &l->console, err) : open_pipes(l, err);
	if (code != CLEAT_OK)
		return code;
	x->log_fd = memfd_create("crun.log", MFD_CLOEXEC);
	if (x->log_fd < 0 || pipe2(l->pid_pipe, O_CLOEXEC) < 0)
		return cleat_error_errno(err, errno, "start a process in the task");
	return CLEAT_OK;
}

static enum cleat_code start_crun(struct run_exec *x, const struct launch *l, struct cleat_error *err)
{
	char root[PATH_MAX + 16], log[80], spec[80], pid_file[80], console[100];
	const char *argv[] = { x->task->crun,
			       root,
			       "--cgroup-manager=cgroupfs",
			       log,
			       "--log-format=json",
			       "exec",
			       pid_file,
			       spec,
			       l->console.fd >= 0 ? console : x->task->id,
			       l->console.fd >= 0 ? x->task->id : NULL,
			       NULL };
	const struct run_child child = {
		.argv = argv, .in = l->theirs[0], .out = l->theirs[1], .err = l->theirs[2]
	};
	int self = (int)getpid();

	snprintf(root, sizeof(root), "--root=%s", x->task->crun_root);
	snprintf(log, sizeof(log), "--log=/proc/%d/fd/%d", self, x->log_fd);
	snprintf(spec, sizeof(spec), "--process=/proc/%d/fd/%d", self, l->spec_fd);
	snprintf(pid_file, sizeof(pid_file), "--pid-file=/proc/%d/fd/%d", self, l->pid_pipe[1]);
	snprintf(console, sizeof(console), "--console-socket=%s", l->console.path);
	enum cleat_code code = run_child_start(&child, &x->crun, err);
	if (code == CLEAT_OK)
		x->crun_fd = (int)syscall(SYS_pidfd_open, x->crun, 0);
	return code;
}

/* ---- its beginning ---- */

/* Reads the process's number, or waits for crun to end without one. */
static bool read_pid(struct run_exec *x, int fd)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = x->crun_fd, .events = POLLIN } };
	char text[32] = "";

	if (TEMP_FAILURE_RETRY(poll(p, 2, START_LIMIT_MS)) <= 0 || !(p[0].revents & POLLIN))
		return false;
	if (TEMP_FAILURE_RETRY(read(fd, text, sizeof(text) - 1)) <= 0)
		return false;
	x->pid = (pid_t)strtol(text, NULL, 10);
	x->pid_fd = run_process_open(x->pid, run_process_start(x->pid));
	x->session = run_process_session(x->pid);
	return x->pid > 0;
}

static void reap(struct run_exec *x);

static enum cleat_code tell_failure(struct run_exec *x, const char *command, struct cleat_error *err)
{
	char words[WORDS_BYTES];

	kill(x->crun, SIGKILL); /* not waited for yet: the number is its own */
	reap(x);
	if (run_ended(x->task, NULL))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "task '%s' has ended", x->task->id);
	if (!run_log_words(x->log_fd, words, sizeof(words)))
		return cleat_error_set(err, CLEAT_INTERNAL,
				       "crun could not start '%.100s' and does not say why", command);
	return cleat_error_set(err, run_words_code(words), "%s", words);
}

/* Hands the ends over; with a terminal two descriptors of its master. */
static enum cleat_code hand_over(struct run_exec *x, struct launch *l, struct run_exec_io *io_out,
				 struct cleat_error *err)
{
	struct run_exec_io io = { -1, -1, -1 };

	if (x->master < 0) {
		io = (struct run_exec_io){ cleat_steal_fd(&l->ours[0]), cleat_steal_fd(&l->ours[1]),
					   cleat_steal_fd(&l->ours[2]) };
	} else {
		io.stdin_fd = fcntl(x->master, F_DUPFD_CLOEXEC, 3);
		io.stdout_fd = fcntl(x->master, F_DUPFD_CLOEXEC, 3);
		if (io.stdin_fd < 0 || io.stdout_fd < 0) {
			int e = errno;
			cleat_cleanup_close(&io.stdin_fd);
			return cleat_error_errno(err, e, "duplicate a terminal");
		}
	}
	*io_out = io;
	return CLEAT_OK;
}

static enum cleat_code launch(struct run_exec *x, struct launch *l, char *const *argv, bool tty,
			      struct run_exec_io *io_out, struct cleat_error *err)
{
	enum cleat_code code = prepare(x, l, argv, tty, err);

	if (code == CLEAT_OK)
		code = start_crun(x, l, err);
	if (code != CLEAT_OK)
		return code;
	for (size_t i = 0; i < CLEAT_COUNT(l->theirs); i++) {
		cleat_cleanup_close(&l->theirs[i]);
		l->theirs[i] = -1;
	}
	if (tty && run_console_accept(&l->console, x->crun_fd, START_LIMIT_MS, &x->master, NULL) != CLEAT_OK)
		return tell_failure(x, argv[0], err);
	if (!read_pid(x, l->pid_pipe[0]))
		return tell_failure(x, argv[0], err);
	return hand_over(x, l, io_out, err);
}

enum cleat_code run_exec_start(struct run_handle *h, char *const *argv, bool tty, struct run_exec **out,
			       struct run_exec_io *io_out, struct cleat_error *err)
{
	struct launch l = { -1, { -1, -1 }, { -1, -1, -1 }, { -1, -1, -1 }, { .fd = -1 } };

	if (!argv || !argv[0] || !argv[0][0])
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "there is no command");
	if (run_pid(h) == 0)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "task '%s' has ended", h->id);
	struct run_exec *x = calloc(1, sizeof(*x));
	if (!x)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	x->task = run_ref(h);
	x->crun_fd = x->pid_fd = x->log_fd = x->master = -1;
	pthread_mutex_init(&x->lock, NULL);
	enum cleat_code code = launch(x, &l, argv, tty, io_out, err);
	launch_done(&l, h->place.fd);
	if (code == CLEAT_OK)
		*out = x;
	else
		run_exec_free(x);
	return code;
}

enum cleat_code run_exec_resize(struct run_exec *x, int rows, int columns, struct cleat_error *err)
{
	struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };

	if (rows < 0 || columns < 0 || rows > UINT16_MAX || columns > UINT16_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "no terminal has %d rows and %d columns",
				       rows, columns);
	if (x->master < 0)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "the process has no terminal");
	return ioctl(x->master, TIOCSWINSZ, &size) < 0
		       ? cleat_error_errno(err, errno, "set the terminal's size")
		       : CLEAT_OK;
}

/* ---- its end ---- */

/* Takes crun's status; with an end already taken, nothing. */
static void reap(struct run_exec *x)
{
	int status = 0;

	pthread_mutex_lock(&x->lock);
	if (!x->ended && x->crun > 0 && TEMP_FAILURE_RETRY(waitpid(x->crun, &status, 0)) == x->crun) {
		x->end.finished_ms = cleat_time_wall_ms();
		x->end.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		x->end.signal = x->end.code > 128 && x->end.code <= 128 + 64 ? x->end.code - 128 : 0;
		if (x->end.code != 0)
			run_log_words(x->log_fd, x->end.message, sizeof(x->end.message));
	}
	x->ended = true;
	pthread_mutex_unlock(&x->lock);
}

static bool kill_in_session(pid_t pid, void *arg)
{
	const struct run_exec *x = arg;

	if (run_process_session(pid) == x->session)
		kill(pid, SIGKILL);
	return true;
}

/* Kills the process and what it has started; crun then ends by itself.  One with a terminal is told first, as
 * when the line is cut. */
static void kill_all(struct run_exec *x)
{
	if (x->master >= 0 && run_process_signal(x->pid_fd, SIGHUP) == 0)
		run_process_ended(x->crun_fd, HANG_UP_MS);
	run_process_signal(x->pid_fd, SIGKILL);
	if (x->session > 1 && x->session != run_process_session(x->task->birth.pid))
		run_cgroup_each(x->task->plan.cgroup, kill_in_session, x);
	if (!run_process_ended(x->crun_fd, GRACE_MS))
		run_process_signal(x->crun_fd, SIGKILL);
}

static bool has_ended(struct run_exec *x)
{
	pthread_mutex_lock(&x->lock);
	bool ended = x->ended;
	pthread_mutex_unlock(&x->lock);
	return ended;
}

/* OK when it ended by itself. */
static enum cleat_code wait_for(struct run_exec *x, int64_t timeout_ms, bool (*cancelled)(void *arg),
				void *arg, struct cleat_error *err)
{
	int64_t end_ms = cleat_time_mono_ms() + timeout_ms;

	while (!has_ended(x)) {
		int64_t left_ms = timeout_ms > 0 ? end_ms - cleat_time_mono_ms() : ASK_EVERY_MS;
		if (left_ms <= 0)
			return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED,
					       "the command was killed after %lld ms", (long long)timeout_ms);
		if (cancelled && cancelled(arg))
			return cleat_error_set(
				err, CLEAT_CANCELLED,
				"the command was killed, because nobody waits for it any more");
		if (run_process_ended(x->crun_fd, left_ms < ASK_EVERY_MS ? (int)left_ms : ASK_EVERY_MS))
			break;
	}
	return CLEAT_OK;
}

enum cleat_code run_exec_wait(struct run_exec *x, int64_t timeout_ms, bool (*cancelled)(void *arg), void *arg,
			      struct run_exit *out, struct cleat_error *err)
{
	enum cleat_code code = wait_for(x, timeout_ms, cancelled, arg, err);

	if (code != CLEAT_OK)
		kill_all(x);
	reap(x);
	*out = x->end; /* nobody changes it any more */
	return code;
}

void run_exec_free(struct run_exec *x)
{
	if (!x)
		return;
	if (x->crun > 0 && !has_ended(x)) {
		kill_all(x);
		reap(x);
	}
	cleat_cleanup_close(&x->crun_fd);
	cleat_cleanup_close(&x->pid_fd);
	cleat_cleanup_close(&x->log_fd);
	cleat_cleanup_close(&x->master);
	pthread_mutex_destroy(&x->lock);
	run_unref(x->task);
	free(x);
}
