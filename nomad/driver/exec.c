/* exec.c - see exec.h. */
#include "driver/exec.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/command.h"
#include "driver/driver.h"
#include "driver/thread.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

#define CHUNK_BYTES 16384
#define OUTPUT_MAX_BYTES                                                                                     \
	(1024 * 1024) /* of ExecTask, each of stdout and stderr; what comes after is dropped */
#define STDIN_MAX_BYTES                                                                                      \
	(8 * 1024 * 1024) /* more than one message can have; the caller is not read from until the command   \
			     has taken it */
#define UNSENT_MAX 16	  /* messages that wait for the caller; the command is not read from meanwhile */
#define MAX_SESSIONS 256
#define LINGER_MS 1000 /* ExecTask: for output of what the command left running */
#define ASK_MS 1000    /* ExecTask: how often is asked whether the caller still waits */

static atomic_uint sessions; /* commands that run for callers, of both kinds */

static void put_exit(const struct run_exit *exit, Nomad__ExitResult *out)
{
	nomad__exit_result__init(out);
	out->exit_code = exit->code;
	out->signal = exit->signal;
	out->oom_killed = exit->oom_killed;
}

/* The task, with a reference, in which one more command may run; else the call has failed. */
static struct driver_task *may_begin(struct driver_tasks *tasks, const char *id, size_t n_command,
				     struct cleat_rpc_call *call)
{
	struct driver_task *task = NULL;

	if (n_command == 0)
		cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT, "no command is given");
	else if (atomic_load(&sessions) >= MAX_SESSIONS)
		cleat_rpc_call_fail(call, CLEAT_RESOURCE_EXHAUSTED, "too many commands run in tasks");
	else if ((task = driver_tasks_find(tasks, id)) == NULL)
		cleat_rpc_call_fail(call, CLEAT_NOT_FOUND, "no task '%s'", id);
	return task;
}

/* ---- ExecTask ---- */

struct capture {
	uint8_t *bytes; /* owned */
	size_t len, room;
};

static void keep(struct capture *c, const uint8_t *bytes, size_t n, size_t most)
{
	if (c->len + n > most)
		n = most > c->len ? most - c->len : 0;
	if (c->len + n > c->room) {
		size_t room = (c->len + n) * 2;
		uint8_t *grown = realloc(c->bytes, room);
		if (!grown)
			return;
		c->bytes = grown;
		c->room = room;
	}
	if (n)
		memcpy(c->bytes + c->len, bytes, n);
	c->len += n;
}

/* Reads what is there; false at the end of the file. */
static bool drain(int fd, struct capture *c)
{
	uint8_t bytes[CHUNK_BYTES];

	for (;;) {
		ssize_t n = read(fd, bytes, sizeof(bytes));
		if (n > 0)
			keep(c, bytes, (size_t)n, OUTPUT_MAX_BYTES);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return false;
		else if (errno == EAGAIN)
			return true;
	}
}

/* Collects both outputs until the command has ended and they are closed, or something else keeps them open.
 */
static void collect(struct driver_command *c, struct capture out[2], struct cleat_rpc_call *call)
{
	struct pollfd fds[3] = { { c->io.stdout_fd, POLLIN, 0 },
				 { c->io.stderr_fd, POLLIN, 0 },
				 { c->ended_fd, POLLIN, 0 } };
	int64_t until = 0;

	while (fds[0].fd >= 0 || fds[1].fd >= 0 || fds[2].fd >= 0) {
		int64_t left = until ? until - cleat_time_mono_ms() : ASK_MS;
		if ((until && left <= 0) || cleat_rpc_call_cancelled(call))
			return;
		if (poll(fds, 3, (int)left) < 0 && errno != EINTR)
			return;
		for (int i = 0; i < 2; i++)
			if (fds[i].fd >= 0 && fds[i].revents && !drain(fds[i].fd, &out[i]))
				fds[i].fd = -1;
		if (fds[2].fd >= 0 && fds[2].revents) {
			fds[2].fd = -1;
			until = cleat_time_mono_ms() + LINGER_MS;
		}
	}
}

static void answer_exec(const struct driver_command *c, const struct capture out[2],
			struct cleat_rpc_call *call)
{
	Nomad__ExecTaskResponse m = NOMAD__EXEC_TASK_RESPONSE__INIT;
	Nomad__ExitResult result;

	if (!driver_command_ended(c)) {
		cleat_rpc_call_fail(call, CLEAT_INTERNAL, "the command's output cannot be read");
		return;
	}
	if (c->code) {
		cleat_rpc_call_fail(call, driver_host_code(c->code), "%s", c->err.msg);
		return;
	}
	put_exit(&c->exit, &result);
	m.result = &result;
	m.stdout = (ProtobufCBinaryData){ out[0].len, out[0].bytes };
	m.stderr = (ProtobufCBinaryData){ out[1].len, out[1].bytes };
	cleat_rpc_call_reply(call, &m.base);
}

/* One command on its way, in a thread of its own: a script that hangs keeps no worker from starting and
 * ending tasks. */
struct once {
	struct cleat_rpc_call *call; /* held, and with it the request */
	struct driver_task *task;
	char **argv; /* owned; the words are the request's */
	int64_t timeout_ms;
};

static void once_free(struct once *o)
{
	cleat_rpc_call_drop(o->call);
	driver_task_unref(o->task);
	free(o->argv);
	free(o);
	atomic_fetch_sub(&sessions, 1);
}

static void *run_once(void *arg)
{
	struct capture out[2] = { { NULL, 0, 0 }, { NULL, 0, 0 } };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct driver_command *c = NULL;
	struct once *o = arg;

	if (driver_command_start(driver_task_run(o->task), o->argv, false, o->timeout_ms, &c, &err)) {
		cleat_rpc_call_fail(o->call, driver_host_code(err.code), "%s", err.msg);
	} else {
		close(c->io.stdin_fd);
		c->io.stdin_fd = -1;
		collect(c, out, o->call);
		answer_exec(c, out, o->call);
		driver_command_free(c);
	}
	free(out[0].bytes);
	free(out[1].bytes);
	once_free(o);
	return NULL;
}

/* Takes the task's reference over, also on failure. */
static enum cleat_code start_once(struct driver_task *task, const Nomad__ExecTaskRequest *in,
				  int64_t timeout_ms, struct cleat_rpc_call *call, struct cleat_error *err)
{
	struct once *o = malloc(sizeof(*o));

	if (!o) {
		driver_task_unref(task);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	*o = (struct once){ call, task, driver_command_words(in->command, in->n_command), timeout_ms };
	atomic_fetch_add(&sessions, 1);
	cleat_rpc_call_hold(call);
	if (!o->argv)
		cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (o->argv && driver_thread(run_once, o, NULL, err) == CLEAT_OK)
		return CLEAT_OK;
	once_free(o);
	return err->code;
}

void driver_exec(struct driver_tasks *tasks, const Nomad__ExecTaskRequest *in, int64_t timeout_ms,
		 struct cleat_rpc_call *call)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct driver_task *task = may_begin(tasks, in->task_id, in->n_command, call);

	if (task && start_once(task, in, timeout_ms, call, &err))
		cleat_rpc_call_fail(call, driver_host_code(err.code), "%s", err.msg);
}

/* ---- ExecTaskStreaming ---- */

/* One session.  The poller puts in what the caller says; the session's thread does everything else. */
struct session {
	atomic_uint refs;	     /* the call's and the thread's */
	struct cleat_rpc_call *call; /* held by the thread */
	struct driver_task *task;
	char **argv; /* owned, words too */
	bool tty;
	int wake_fd;
	pthread_mutex_t lock; /* for what follows */
	struct capture input; /* from .at on still to be written */
	size_t input_at;
	bool input_closed, gone, paused;
	int rows, columns; /* 0: nothing new */
};

static void free_words(char **words)
{
	for (char **p = words; p && *p; p++)
		free(*p);
	free(words);
}

static void session_unref(void *arg)
{
	struct session *s = arg;

	if (atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	driver_task_unref(s->task);
	free_words(s->argv);
	free(s->input.bytes);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
	atomic_fetch_sub(&sessions, 1);
}

static void wake(struct session *s)
{
	uint64_t one = 1;

	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		cleat_debug("wake an exec session: %d", errno);
}

/* ---- sending ---- */

/* Which of the two outputs, and its bytes or its end. */
static void send_output(struct session *s, bool is_stderr, const uint8_t *bytes, size_t n)
{
	Nomad__ExecTaskStreamingResponse m = NOMAD__EXEC_TASK_STREAMING_RESPONSE__INIT;
	Nomad__ExecTaskStreamingIOOperation io = NOMAD__EXEC_TASK_STREAMING_IOOPERATION__INIT;
	union {
		const uint8_t *from;
		uint8_t *to;
	} u = { .from = bytes };

	io.data = (ProtobufCBinaryData){ n, u.to };
	io.close = n == 0;
	if (is_stderr)
		m.stderr = &io;
	else
		m.stdout = &io;
	cleat_rpc_call_reply(s->call, &m.base);
}

static void send_exit(struct session *s, const struct run_exit *exit)
{
	Nomad__ExecTaskStreamingResponse m = NOMAD__EXEC_TASK_STREAMING_RESPONSE__INIT;
	Nomad__ExitResult result;

	put_exit(exit, &result);
	m.exited = true;
	m.result = &result;
	cleat_rpc_call_reply(s->call, &m.base);
	cleat_rpc_call_end(s->call);
}

/* ---- the thread ---- */

enum { WAKE, ENDED, INPUT, OUTPUT, ERRORS, N_FDS };

/* What the caller said since the last look: a new window size is set at once. */
static void take_news(struct session *s, struct driver_command *c)
{
	uint64_t count;

	if (read(s->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&s->lock);
	int rows = s->rows, columns = s->columns;
	s->rows = s->columns = 0;
	pthread_mutex_unlock(&s->lock);
	if (s->tty && rows > 0 && columns > 0 && run_exec_resize(c->exec, rows, columns, NULL))
		cleat_debug("the window size of an exec session cannot be set");
}

static bool is_gone(struct session *s)
{
	pthread_mutex_lock(&s->lock);
	bool gone = s->gone;
	pthread_mutex_unlock(&s->lock);
	return gone || cleat_rpc_call_cancelled(s->call);
}

/* The command has all of it: closes its input, or on a terminal types the end-of-file character. */
static void close_input(struct session *s, struct driver_command *c)
{
	static const char end_of_file = 4; /* VEOF of a terminal that nobody has reconfigured */

	if (s->tty) {
		if (write(c->io.stdin_fd, &end_of_file, 1) < 0)
			cleat_debug("end the input of an exec session: %d", errno);
	} else if (c->io.stdin_fd >= 0) {
		close(c->io.stdin_fd);
	}
	if (!s->tty)
		c->io.stdin_fd = -1;
	s->input_closed = false;
}

static void discard_input(struct session *s)
{
	s->input.len = s->input_at = 0;
}

/* Writes what fits.  With the lock held: the descriptor does not block. */
static void write_input(struct session *s, struct driver_command *c)
{
	while (s->input_at < s->input.len && c->io.stdin_fd >= 0) {
		ssize_t n = write(c->io.stdin_fd, s->input.bytes + s->input_at, s->input.len - s->input_at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			break; /* the command does not read any more */
		s->input_at += (size_t)n;
	}
	discard_input(s);
	if (s->input_closed && c->io.stdin_fd >= 0)
		close_input(s, c);
}

/* Whether input waits for the command afterwards. */
static bool feed(struct session *s, struct driver_command *c)
{
	pthread_mutex_lock(&s->lock);
	write_input(s, c);
	bool waits = s->input_at < s->input.len;
	bool resume = s->paused && !waits;
	if (resume)
		s->paused = false;
	pthread_mutex_unlock(&s->lock);
	if (resume)
		cleat_rpc_call_resume(s->call);
	return waits;
}

/* Passes on what one output has; false at its end. */
static bool pass_on(struct session *s, int fd, bool is_stderr)
{
	uint8_t bytes[CHUNK_BYTES];

	for (;;) {
		if (!cleat_rpc_call_wait(s->call, UNSENT_MAX))
			return false;
		ssize_t n = read(fd, bytes, sizeof(bytes));
		if (n > 0)
			send_output(s, is_stderr, bytes, (size_t)n);
		else if (n < 0 && errno == EINTR)
			continue;
		else
			return n < 0 && errno == EAGAIN; /* EIO: the terminal's other side is closed */
	}
}

/* Until the command has ended and its output is passed on.  A terminal ends with its first process, whatever
 * it left running. */
static void converse(struct session *s, struct driver_command *c)
{
	struct pollfd fds[N_FDS] = {
		[WAKE] = { s->wake_fd, POLLIN, 0 },
		[ENDED] = { c->ended_fd, POLLIN, 0 },
		[OUTPUT] = { c->io.stdout_fd, POLLIN, 0 },
		[ERRORS] = { s->tty ? -1 : c->io.stderr_fd, POLLIN, 0 },
	};
	bool ended = false;

	while (!ended || (!s->tty && (fds[OUTPUT].fd >= 0 || fds[ERRORS].fd >= 0))) {
		fds[INPUT] = (struct pollfd){ feed(s, c) ? c->io.stdin_fd : -1, POLLOUT, 0 };
		if (poll(fds, N_FDS, -1) < 0 && errno != EINTR)
			return;
		take_news(s, c);
		if (is_gone(s))
			return;
		if (fds[ENDED].revents) {
			fds[ENDED].fd = -1;
			ended = true;
		}
		if (fds[OUTPUT].fd >= 0 && (fds[OUTPUT].revents || ended) &&
		    !pass_on(s, fds[OUTPUT].fd, false))
			fds[OUTPUT].fd = -1;
		if (fds[ERRORS].fd >= 0 && fds[ERRORS].revents && !pass_on(s, fds[ERRORS].fd, true))
			fds[ERRORS].fd = -1;
	}
}

static void finish(struct session *s, struct driver_command *c)
{
	if (is_gone(s) || !driver_command_ended(c)) {
		cleat_rpc_call_fail(s->call, CLEAT_ABORTED, "the session was given up");
		return;
	}
	if (c->code) {
		cleat_rpc_call_fail(s->call, driver_host_code(c->code), "%s", c->err.msg);
		return;
	}
	send_output(s, false, NULL, 0);
	if (!s->tty)
		send_output(s, true, NULL, 0);
	send_exit(s, &c->exit);
}

static void *run_session(void *arg)
{
	struct session *s = arg;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct driver_command *c = NULL;

	if (driver_command_start(driver_task_run(s->task), s->argv, s->tty, 0, &c, &err)) {
		cleat_rpc_call_fail(s->call, driver_host_code(err.code), "%s", err.msg);
	} else {
		converse(s, c);
		finish(s, c);
		driver_command_free(c);
	}
	pthread_mutex_lock(&s->lock);
	s->gone = true; /* nobody reads the input any more */
	s->paused = false;
	pthread_mutex_unlock(&s->lock);
	cleat_rpc_call_resume(s->call);
	cleat_rpc_call_drop(s->call);
	session_unref(s);
	return NULL;
}

/* ---- on the poller ---- */

static void caller_gone(struct cleat_rpc_call *call, void *arg)
{
	struct session *s = cleat_rpc_call_data(call);

	(void)arg;
	pthread_mutex_lock(&s->lock);
	s->gone = true;
	pthread_mutex_unlock(&s->lock);
	wake(s);
}

static char **copy_words(char *const *words, size_t n)
{
	char **copy = n ? calloc(n + 1, sizeof(*copy)) : NULL;

	for (size_t i = 0; copy && i < n; i++) {
		copy[i] = strdup(words[i]);
		if (!copy[i]) {
			free_words(copy);
			return NULL;
		}
	}
	return copy;
}

/* Takes the task's reference over, also on failure. */
static struct session *session_new(struct cleat_rpc_call *call, struct driver_task *task,
				   const Nomad__ExecTaskStreamingRequest__Setup *setup)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		driver_task_unref(task);
		return NULL;
	}
	atomic_fetch_add(&sessions, 1);
	atomic_init(&s->refs, 1);
	s->task = task;
	s->call = call;
	s->tty = setup->tty;
	s->argv = copy_words(setup->command, setup->n_command);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&s->lock, NULL);
	if (s->argv && s->wake_fd >= 0)
		return s;
	session_unref(s);
	return NULL;
}

static void begin(struct driver_tasks *tasks, struct cleat_rpc_call *call,
		  const Nomad__ExecTaskStreamingRequest__Setup *setup)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct driver_task *task =
		may_begin(tasks, setup ? setup->task_id : "", setup ? setup->n_command : 0, call);

	if (!task)
		return;
	struct session *s = session_new(call, task, setup);
	if (!s) {
		cleat_rpc_call_fail(call, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	cleat_rpc_call_set_data(call, s, session_unref);
	atomic_fetch_add(&s->refs, 1);
	cleat_rpc_call_hold(call);
	if (driver_thread(run_session, s, NULL, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		cleat_rpc_call_drop(call);
		session_unref(s);
		return;
	}
	cleat_rpc_call_on_close(call, caller_gone, NULL);
}

static void take_input(struct session *s, struct cleat_rpc_call *call,
		       const Nomad__ExecTaskStreamingRequest *in)
{
	pthread_mutex_lock(&s->lock);
	if (in->stdin && in->stdin->data.len && !s->gone && !s->input_closed)
		keep(&s->input, in->stdin->data.data, in->stdin->data.len, STDIN_MAX_BYTES);
	if (in->stdin && in->stdin->close)
		s->input_closed = true;
	if (in->tty_size && in->tty_size->height > 0 && in->tty_size->width > 0) {
		s->rows = in->tty_size->height;
		s->columns = in->tty_size->width;
	}
	/* No more is read from the caller until the command has taken this: memory stays bounded, nothing is
	 * lost. */
	if (s->input.len - s->input_at > 0 && !s->gone) {
		s->paused = true;
		cleat_rpc_call_pause(call);
	}
	pthread_mutex_unlock(&s->lock);
	wake(s);
}

void driver_exec_message(struct driver_tasks *tasks, struct cleat_rpc_call *call,
			 const Nomad__ExecTaskStreamingRequest *in)
{
	struct session *s = cleat_rpc_call_data(call);

	if (!in)
		return; /* the caller sends no more; that it has gone is told by on_close */
	if (!s)
		begin(tasks, call, in->setup);
	else
		take_input(s, call, in);
}
