/* tasks.c - see tasks.h. */
#include "driver/tasks.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver/thread.h"
#include "nomad/driver.pb-c.h"
#include "rt/pb.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

/* Between a process's end and the monitor's note about it lie some milliseconds. */
#define ENDING_POLL_MS 10
/* A task whose process cannot be watched is looked at this often. */
#define BLIND_POLL_MS 250
#define MAX_EVENTS 32

/* A held call.  Those of StopTask have a time at which the task is killed. */
struct waiter {
	struct waiter *next;
	struct cleat_rpc_call *call;
	bool stop;
	int64_t kill_at_ms; /* monotonic; of a stop */
};

struct driver_task {
	struct driver_task *next;
	unsigned refs;		/* under the table's lock, but for the last one */
	State__Task *record;	/* owned, constant */
	struct run_handle *run; /* owned */
	int pidfd;		/* -1: ending, or cannot be watched */
	bool ending;		/* its process is gone, its exit not known yet */
	bool killing;		/* a thread does */
	bool ended;
	struct run_exit exit;
	struct waiter *waiters;
};

struct driver_tasks {
	pthread_mutex_t lock;
	pthread_cond_t unlocked;
	struct driver_task *first;
	size_t count;
	struct driver_tasks_lock *locks; /* on containers that somebody works on */
	int epoll_fd, wake_fd;
	pthread_t watcher;
	bool watching; /* the thread runs */
	bool stopping;
};

/* ---- answers ---- */

/* With every part that the host looks at: a missing result would take it down. */
static void answer_wait(struct cleat_rpc_call *call, const struct run_exit *exit)
{
	Nomad__WaitTaskResponse out = NOMAD__WAIT_TASK_RESPONSE__INIT;
	Nomad__ExitResult result = NOMAD__EXIT_RESULT__INIT;
	char message[sizeof(exit->message)];

	memcpy(message, exit->message, sizeof(message));
	if (exit->oom_killed && !message[0])
		snprintf(message, sizeof(message), "OOM Killed"); /* the host shows the text, not the flag */
	result.exit_code = exit->code;
	result.signal = exit->signal;
	result.oom_killed = exit->oom_killed;
	out.result = &result;
	out.err = message;
	cleat_rpc_call_reply(call, &out.base);
}

static void answer_stop(struct cleat_rpc_call *call)
{
	Nomad__StopTaskResponse out = NOMAD__STOP_TASK_RESPONSE__INIT;

	cleat_rpc_call_reply(call, &out.base);
}

static void answer_ended(struct waiter *list, const struct run_exit *exit)
{
	while (list) {
		struct waiter *w = list;

		list = w->next;
		if (w->stop)
			answer_stop(w->call);
		else
			answer_wait(w->call, exit);
		cleat_rpc_call_drop(w->call);
		free(w);
	}
}

static void answer_error(struct waiter *list, const struct cleat_error *err)
{
	while (list) {
		struct waiter *w = list;

		list = w->next;
		cleat_rpc_call_fail_error(w->call, err);
		cleat_rpc_call_drop(w->call);
		free(w);
	}
}

static struct waiter *take_waiters(struct driver_task *task)
{
	struct waiter *list = task->waiters;

	task->waiters = NULL;
	return list;
}

/* ---- the table ---- */

static void wake(struct driver_tasks *t)
{
	uint64_t one = 1;

	if (write(t->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		cleat_debug("wake the watcher: %d", errno);
}

static struct driver_task *find_locked(struct driver_tasks *t, const char *id)
{
	for (struct driver_task *task = t->first; task; task = task->next)
		if (strcmp(task->record->id, id) == 0)
			return task;
	return NULL;
}

struct driver_task *driver_tasks_find(struct driver_tasks *t, const char *id)
{
	pthread_mutex_lock(&t->lock);
	struct driver_task *task = find_locked(t, id);
	if (task)
		__atomic_add_fetch(&task->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&t->lock);
	return task;
}

void driver_task_unref(struct driver_task *task)
{
	if (!task || __atomic_sub_fetch(&task->refs, 1, __ATOMIC_ACQ_REL))
		return;
	cleat_pb_free(&task->record->base);
	run_unref(task->run);
	free(task);
}

bool driver_tasks_has(struct driver_tasks *t, const char *container)
{
	bool has = false;

	pthread_mutex_lock(&t->lock);
	for (struct driver_task *task = t->first; task; task = task->next)
		has |= strcmp(task->record->container, container) == 0;
	pthread_mutex_unlock(&t->lock);
	return has;
}

size_t driver_tasks_count(struct driver_tasks *t)
{
	pthread_mutex_lock(&t->lock);
	size_t n = t->count;
	pthread_mutex_unlock(&t->lock);
	return n;
}

const State__Task *driver_task_record(const struct driver_task *task)
{
	return task->record;
}

struct run_handle *driver_task_run(const struct driver_task *task)
{
	return task->run;
}

bool driver_task_ended(struct driver_tasks *t, const struct driver_task *task, struct run_exit *out)
{
	pthread_mutex_lock(&t->lock);
	bool ended = task->ended;
	if (ended)
		*out = task->exit;
	pthread_mutex_unlock(&t->lock);
	return ended;
}

/* Watches the first process; without one the task is on its way out (or out). */
static void watch_process(struct driver_tasks *t, struct driver_task *task)
{
	pid_t pid = run_pid(task->run);
	struct epoll_event event = { .events = EPOLLIN };

	task->pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (task->pidfd < 0) {
		task->ending = pid <= 0 || errno == ESRCH;
		return;
	}
	event.data.fd = task->pidfd;
	if (epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, task->pidfd, &event)) {
		close(task->pidfd);
		task->pidfd = -1;
	}
}

static void unwatch(struct driver_task *task)
{
	if (task->pidfd >= 0)
		close(task->pidfd); /* which takes it out of the epoll set */
	task->pidfd = -1;
}

enum cleat_code driver_tasks_add(struct driver_tasks *t, State__Task *record, struct run_handle *run,
				 struct cleat_error *err)
{
	struct driver_task *task = calloc(1, sizeof(*task));

	if (!task)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	task->refs = 1;
	task->record = record;
	task->run = run;
	task->pidfd = -1;
	pthread_mutex_lock(&t->lock);
	bool there = find_locked(t, record->id) != NULL;
	if (!there) {
		task->next = t->first;
		t->first = task;
		t->count++;
		task->ended = run_ended(run, &task->exit);
		if (!task->ended)
			watch_process(t, task);
	}
	pthread_mutex_unlock(&t->lock);
	if (there) {
		free(task);
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "the task is known already");
	}
	wake(t);
	return CLEAT_OK;
}

void driver_tasks_remove(struct driver_tasks *t, const char *id)
{
	struct cleat_error gone = CLEAT_ERROR_INIT;
	struct waiter *waiters = NULL;
	struct driver_task *task;

	pthread_mutex_lock(&t->lock);
	struct driver_task **p = &t->first;
	while (*p && strcmp((*p)->record->id, id) != 0)
		p = &(*p)->next;
	task = *p;
	if (task) {
		*p = task->next;
		t->count--;
		unwatch(task);
		waiters = take_waiters(task);
	}
	bool ended = task && task->ended;
	pthread_mutex_unlock(&t->lock);
	if (!task)
		return;
	cleat_error_set(&gone, CLEAT_NOT_FOUND, "the task was destroyed");
	if (ended)
		answer_ended(waiters, &task->exit);
	else
		answer_error(waiters, &gone);
	driver_task_unref(task);
}

/* ---- one at a time ---- */

static bool is_locked(const struct driver_tasks *t, const char *container)
{
	for (const struct driver_tasks_lock *l = t->locks; l; l = l->next)
		if (strcmp(l->container, container) == 0)
			return true;
	return false;
}

bool driver_tasks_lock(struct driver_tasks *t, struct driver_tasks_lock *lock, const char *container,
		       bool try)
{
	pthread_mutex_lock(&t->lock);
	while (is_locked(t, container) && !try)
		pthread_cond_wait(&t->unlocked, &t->lock);
	bool taken = !is_locked(t, container);
	if (taken) {
		*lock = (struct driver_tasks_lock){ t->locks, container };
		t->locks = lock;
	}
	pthread_mutex_unlock(&t->lock);
	return taken;
}

void driver_tasks_unlock(struct driver_tasks *t, struct driver_tasks_lock *lock)
{
	pthread_mutex_lock(&t->lock);
	struct driver_tasks_lock **p = &t->locks;
	while (*p != lock)
		p = &(*p)->next;
	*p = lock->next;
	pthread_cond_broadcast(&t->unlocked);
	pthread_mutex_unlock(&t->lock);
}

/* ---- waiting ---- */

/* The caller has gone, on the poller: whoever takes the waiter out of the list answers and drops it. */
static void waiter_gone(struct cleat_rpc_call *call, void *arg)
{
	struct driver_tasks *t = arg;
	struct waiter *mine = NULL;

	pthread_mutex_lock(&t->lock);
	for (struct driver_task *task = t->first; task && !mine; task = task->next) {
		struct waiter **p = &task->waiters;

		while (*p && (*p)->call != call)
			p = &(*p)->next;
		mine = *p;
		if (mine)
			*p = mine->next;
	}
	pthread_mutex_unlock(&t->lock);
	if (!mine)
		return;
	cleat_rpc_call_fail(call, CLEAT_CANCELLED, "the caller has gone");
	cleat_rpc_call_drop(call);
	free(mine);
}

enum added { ADDED, UNKNOWN_TASK, HAS_ENDED, NO_MEMORY };

/* Holds the call for the task with this id, if it runs. */
static enum added add_waiter(struct driver_tasks *t, const char *id, const struct waiter *how,
			     struct run_exit *exit_out)
{
	struct waiter *w = malloc(sizeof(*w));
	enum added result = NO_MEMORY;

	pthread_mutex_lock(&t->lock);
	struct driver_task *task = find_locked(t, id);
	if (!task)
		result = UNKNOWN_TASK;
	else if (task->ended) {
		result = HAS_ENDED;
		*exit_out = task->exit;
	} else if (w) {
		result = ADDED;
		*w = *how;
		w->next = task->waiters;
		task->waiters = w;
		cleat_rpc_call_hold(w->call);
		w = NULL;
	}
	pthread_mutex_unlock(&t->lock);
	free(w);
	return result;
}

void driver_tasks_wait(struct driver_tasks *t, const char *id, struct cleat_rpc_call *call)
{
	struct run_exit exit;

	cleat_rpc_call_hold(call);
	switch (add_waiter(t, id, &(struct waiter){ .call = call }, &exit)) {
	case ADDED:
		cleat_rpc_call_on_close(call, waiter_gone, t);
		break;
	case UNKNOWN_TASK:
		cleat_rpc_call_fail(call, CLEAT_NOT_FOUND, "no task '%s'", id);
		break;
	case HAS_ENDED:
		answer_wait(call, &exit);
		break;
	case NO_MEMORY:
		cleat_rpc_call_fail(call, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		break;
	}
	cleat_rpc_call_drop(call);
}

void driver_tasks_stop(struct driver_tasks *t, const char *id, int signal, int64_t timeout_ms,
		       struct cleat_rpc_call *call)
{
	struct waiter how = { .call = call,
			      .stop = true,
			      .kill_at_ms = cleat_time_mono_ms() + (timeout_ms > 0 ? timeout_ms : 0) };
	struct driver_task *task = driver_tasks_find(t, id);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_exit exit;

	if (task && run_withholds(task->run, signal))
		how.kill_at_ms = cleat_time_mono_ms();
	else if (task && timeout_ms > 0 && run_signal(task->run, signal, &err) && err.code != CLEAT_NOT_FOUND)
		cleat_log_kv(CLEAT_LOG_WARN, "a task cannot be signalled", "task", id, "error", err.msg);
	driver_task_unref(task);
	cleat_rpc_call_hold(call);
	switch (add_waiter(t, id, &how, &exit)) {
	case ADDED:
		cleat_rpc_call_on_close(call, waiter_gone, t);
		wake(t);
		break;
	case UNKNOWN_TASK: /* gone is done; an error would be retried for minutes */
	case HAS_ENDED:
		answer_stop(call);
		break;
	case NO_MEMORY:
		cleat_rpc_call_fail(call, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		break;
	}
	cleat_rpc_call_drop(call);
}

/* ---- killing ---- */

struct kill {
	struct driver_tasks *t;
	struct driver_task *task; /* a reference */
};

/* The stops that wait for this kill get its error; the host repeats them. */
static struct waiter *take_stops(struct driver_task *task)
{
	struct waiter *taken = NULL;

	for (struct waiter **p = &task->waiters; *p;) {
		struct waiter *w = *p;

		if (!w->stop) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		w->next = taken;
		taken = w;
	}
	return taken;
}

static void *kill_task(void *arg)
{
	struct kill *k = arg;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct waiter *failed = NULL;

	enum cleat_code code = run_stop(k->task->run, SIGKILL, 0, &err);
	pthread_mutex_lock(&k->t->lock);
	k->task->killing = false;
	if (code)
		failed = take_stops(k->task);
	pthread_mutex_unlock(&k->t->lock);
	if (code)
		cleat_log_kv(CLEAT_LOG_ERROR, "a task cannot be killed", "task", k->task->record->id, "error",
			     err.msg);
	answer_error(failed, &err);
	wake(k->t);
	driver_task_unref(k->task);
	free(k);
	return NULL;
}

/* With the lock held. */
static void start_kill(struct driver_tasks *t, struct driver_task *task)
{
	struct kill *k = malloc(sizeof(*k));
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (!k)
		return; /* the next round tries again */
	*k = (struct kill){ t, task };
	__atomic_add_fetch(&task->refs, 1, __ATOMIC_RELAXED);
	task->killing = true;
	if (driver_thread(kill_task, k, NULL, &err) == CLEAT_OK)
		return;
	task->killing = false;
	__atomic_sub_fetch(&task->refs, 1, __ATOMIC_RELAXED);
	free(k);
}

/* ---- the watcher ---- */

struct finished {
	struct waiter *waiters;
	struct run_exit exit;
};

static int sooner(int a, int64_t b)
{
	int64_t bounded = b < 0 ? 0 : b > 60000 ? 60000 : b;

	return a < 0 || bounded < a ? (int)bounded : a;
}

/* Kills what was asked to end and has not; returns when to look again. */
static int look_at_stops(struct driver_tasks *t, struct driver_task *task, int64_t now, int timeout)
{
	for (struct waiter *w = task->waiters; w; w = w->next) {
		if (!w->stop || task->killing)
			continue;
		if (w->kill_at_ms <= now)
			start_kill(t, task);
		timeout = task->killing ? timeout
					: sooner(timeout, w->kill_at_ms - now > 0 ? w->kill_at_ms - now
										  : BLIND_POLL_MS);
	}
	return timeout;
}

/* One task, with the lock held.  What waits for one that has ended is handed out. */
static int look_at(struct driver_tasks *t, struct driver_task *task, int64_t now, int timeout,
		   struct finished *out)
{
	if (task->ended)
		return timeout;
	if (task->pidfd < 0 && run_ended(task->run, &task->exit)) {
		task->ended = true;
		*out = (struct finished){ take_waiters(task), task->exit };
		return timeout;
	}
	if (task->pidfd < 0)
		timeout = sooner(timeout, task->ending ? ENDING_POLL_MS : BLIND_POLL_MS);
	return look_at_stops(t, task, now, timeout);
}

/* One round over all tasks; answers outside of the lock, and starts over when it did, because the list may be
 * another one then. */
static int look_at_all(struct driver_tasks *t)
{
	for (;;) {
		struct finished finished = { NULL, { 0 } };
		int64_t now = cleat_time_mono_ms();
		int timeout = -1;

		pthread_mutex_lock(&t->lock);
		for (struct driver_task *task = t->first; task && !finished.waiters; task = task->next)
			timeout = look_at(t, task, now, timeout, &finished);
		pthread_mutex_unlock(&t->lock);
		if (!finished.waiters)
			return timeout;
		answer_ended(finished.waiters, &finished.exit);
	}
}

static void process_ended(struct driver_tasks *t, int fd)
{
	pthread_mutex_lock(&t->lock);
	for (struct driver_task *task = t->first; task; task = task->next)
		if (task->pidfd == fd) {
			unwatch(task);
			task->ending = true;
		}
	pthread_mutex_unlock(&t->lock);
}

static void *watch(void *arg)
{
	struct driver_tasks *t = arg;
	struct epoll_event events[MAX_EVENTS];

	for (;;) {
		int n = epoll_wait(t->epoll_fd, events, MAX_EVENTS, look_at_all(t));
		uint64_t count;

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd != t->wake_fd)
				process_ended(t, events[i].data.fd);
			else if (read(t->wake_fd, &count, sizeof(count)) < 0)
				continue;
		}
		pthread_mutex_lock(&t->lock);
		bool stop = t->stopping;
		pthread_mutex_unlock(&t->lock);
		if (stop)
			return NULL;
	}
}

/* ---- life ---- */

enum cleat_code driver_tasks_new(struct driver_tasks **out, struct cleat_error *err)
{
	struct driver_tasks *t = calloc(1, sizeof(*t));

	if (!t)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->unlocked, NULL);
	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = t->wake_fd };
	if (t->epoll_fd < 0 || t->wake_fd < 0 || epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, t->wake_fd, &event)) {
		cleat_error_errno(err, errno, "watch tasks");
		driver_tasks_free(t);
		return err->code;
	}
	if (driver_thread(watch, t, &t->watcher, err)) {
		driver_tasks_free(t);
		return err->code;
	}
	t->watching = true;
	*out = t;
	return CLEAT_OK;
}

void driver_tasks_stop_all(struct driver_tasks *t)
{
	struct cleat_error ending = CLEAT_ERROR_INIT;
	struct waiter *all = NULL;

	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	for (struct driver_task *task = t->first; task; task = task->next) {
		struct waiter **end = &task->waiters;

		while (*end)
			end = &(*end)->next;
		*end = all;
		all = take_waiters(task);
	}
	pthread_mutex_unlock(&t->lock);
	cleat_error_set(&ending, CLEAT_UNAVAILABLE, "the plugin is ending");
	answer_error(all, &ending);
	wake(t);
}

void driver_tasks_free(struct driver_tasks *t)
{
	if (!t)
		return;
	if (t->watching) {
		driver_tasks_stop_all(t);
		pthread_join(t->watcher, NULL);
	}
	while (t->first) {
		struct driver_task *task = t->first;

		t->first = task->next;
		unwatch(task);
		driver_task_unref(task);
	}
	if (t->epoll_fd >= 0)
		close(t->epoll_fd);
	if (t->wake_fd >= 0)
		close(t->wake_fd);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->unlocked);
	free(t);
}
