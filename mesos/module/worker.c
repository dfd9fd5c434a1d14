/* worker.c - see worker.h.
 *
 * The list holds all jobs in the order of their arrival.  A job may start when no job before it touches the
 * same container or volume; one that waits for its next attempt lets others pass, but for its own container.
 */
#include "module/worker.h"

#include "module/process.h"

#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_JOBS 65536

struct mesos_job {
	struct mesos_job *next;
	char *key;
	bool alone, running;
	struct mesos_args queues, argv;
	mesos_job_start_fn start;
	mesos_job_done_fn done;
	void *arg;
	int64_t not_before_ms;
	struct mesos_process process; /* of the thread only */
};

struct mesos_worker {
	pthread_t thread;
	pthread_mutex_t lock; /* the list and stop; innermost */
	int wake_fd;
	int64_t limit_ms;
	struct mesos_job *first, **last;
	size_t count;
	bool stop;
};

static void job_free(struct mesos_job *job)
{
	free(job->key);
	mesos_args_done(&job->queues);
	mesos_args_done(&job->argv);
	free(job);
}

/* ---- order ---- */

static bool share_queue(const struct mesos_job *a, const struct mesos_job *b)
{
	for (size_t i = 0; i < a->queues.count; i++)
		for (size_t k = 0; k < b->queues.count; k++)
			if (strcmp(a->queues.items[i], b->queues.items[k]) == 0)
				return true;
	return false;
}

/* Whether `later` must wait for `before`. */
static bool in_the_way(const struct mesos_job *before, const struct mesos_job *later, int64_t now_ms)
{
	if (*before->key && strcmp(before->key, later->key) == 0)
		return true;
	if (!before->running && before->not_before_ms > now_ms)
		return false;
	return before->alone || later->alone || share_queue(before, later);
}

static bool may_start(const struct mesos_worker *w, const struct mesos_job *job, int64_t now_ms)
{
	if (job->running || job->not_before_ms > now_ms)
		return false;
	bool behind = false;
	for (const struct mesos_job *j = w->first; j; j = j->next) {
		/* Of those behind it only what runs already is in the way: it passed while this one waited.
		 */
		if (j == job)
			behind = true;
		else if ((!behind || j->running) && in_the_way(j, job, now_ms))
			return false;
	}
	return true;
}

/* ---- the thread ---- */

static void unlink_job(struct mesos_worker *w, struct mesos_job *job)
{
	struct mesos_job **at = &w->first;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	if (w->last == &job->next)
		w->last = at;
	w->count--;
}

/* Tells the job's owner, who may want it again; not after CANCELLED. */
static void answer(struct mesos_worker *w, struct mesos_job *job, const struct mesos_reply *reply)
{
	const int64_t again_ms = job->done(job->arg, reply);

	pthread_mutex_lock(&w->lock);
	job->running = false;
	job->not_before_ms = cleat_time_mono_ms() + again_ms;
	if (again_ms <= 0)
		unlink_job(w, job);
	else
		job = NULL;
	pthread_mutex_unlock(&w->lock);
	if (job)
		job_free(job);
}

static void answer_error(struct mesos_worker *w, struct mesos_job *job, const struct cleat_error *err)
{
	const struct mesos_reply reply = { .err = *err };

	answer(w, job, &reply);
}

/* The command line as it was given, and what the owner adds now. */
static enum cleat_code make_line(const struct mesos_job *job, struct mesos_args *line,
				 struct cleat_error *err)
{
	for (size_t i = 0; i < job->argv.count; i++)
		mesos_args_add(line, job->argv.items[i]);
	if (job->start)
		job->start(job->arg, line);
	return mesos_args_check(line, err);
}

static void start(struct mesos_worker *w, struct mesos_job *job)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct mesos_args line = { 0 };

	if (make_line(job, &line, &err) || mesos_process_start(&job->process, line.items, w->limit_ms, &err))
		answer_error(w, job, &err);
	mesos_args_done(&line);
}

/* The next job that may start, marked as running; NULL when there is none. */
static struct mesos_job *next_to_start(struct mesos_worker *w)
{
	const int64_t now_ms = cleat_time_mono_ms();
	struct mesos_job *found = NULL;
	size_t running = 0;

	pthread_mutex_lock(&w->lock);
	for (struct mesos_job *j = w->first; j; j = j->next)
		running += j->running;
	for (struct mesos_job *j = w->first; j && !found && running < MESOS_MAX_RUNNING && !w->stop;
	     j = j->next)
		if (may_start(w, j, now_ms))
			found = j;
	if (found)
		found->running = true;
	pthread_mutex_unlock(&w->lock);
	return found;
}

static size_t list_running(struct mesos_worker *w, struct mesos_job *out[MESOS_MAX_RUNNING])
{
	size_t n = 0;

	pthread_mutex_lock(&w->lock);
	for (struct mesos_job *j = w->first; j && n < MESOS_MAX_RUNNING; j = j->next)
		if (j->running)
			out[n++] = j;
	pthread_mutex_unlock(&w->lock);
	return n;
}

static void look_at(struct mesos_worker *w, struct mesos_job *job)
{
	struct mesos_reply reply;

	if (cleat_time_mono_ms() >= job->process.deadline_ms)
		mesos_process_kill(&job->process);
	if (!mesos_process_look(&job->process))
		return;
	mesos_process_finish(&job->process, &reply);
	answer(w, job, &reply);
	mesos_reply_done(&reply);
}

/* When something is due without anybody's doing: a deadline, a next attempt. */
static int64_t next_due_ms(struct mesos_worker *w, struct mesos_job *const *running, size_t count)
{
	const int64_t now_ms = cleat_time_mono_ms();
	int64_t due_ms = INT64_MAX;

	for (size_t i = 0; i < count; i++)
		if (!running[i]->process.killed && running[i]->process.deadline_ms < due_ms)
			due_ms = running[i]->process.deadline_ms;
	pthread_mutex_lock(&w->lock);
	for (struct mesos_job *j = w->first; j; j = j->next)
		if (!j->running && j->not_before_ms > now_ms && j->not_before_ms < due_ms)
			due_ms = j->not_before_ms;
	pthread_mutex_unlock(&w->lock);
	return due_ms;
}

static void wait_for_something(struct mesos_worker *w, struct mesos_job *const *running, size_t count)
{
	struct pollfd fds[1 + 2 * MESOS_MAX_RUNNING] = { { .fd = w->wake_fd, .events = POLLIN } };
	const int64_t due_ms = next_due_ms(w, running, count), now_ms = cleat_time_mono_ms();
	uint64_t count_of_wakes;
	nfds_t n = 1;

	for (size_t i = 0; i < count; i++) {
		fds[n++] = (struct pollfd){ .fd = running[i]->process.pid_fd, .events = POLLIN };
		fds[n++] = (struct pollfd){ .fd = running[i]->process.out_fd, .events = POLLIN };
	}
	const int64_t left_ms = due_ms == INT64_MAX ? -1 : due_ms > now_ms ? due_ms - now_ms : 0;
	poll(fds, n, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
	const ssize_t ignored =
		fds[0].revents ? read(w->wake_fd, &count_of_wakes, sizeof(count_of_wakes)) : 0;
	(void)ignored; /* nothing to read: nobody woke us */
}

/* Ends what runs and answers every job. */
static void give_up(struct mesos_worker *w)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct mesos_job *running[MESOS_MAX_RUNNING];

	cleat_error_set(&err, CLEAT_CANCELLED, "the module is going away");
	for (size_t count; (count = list_running(w, running));) {
		for (size_t i = 0; i < count; i++)
			mesos_process_kill(&running[i]->process);
		wait_for_something(w, running, count);
		for (size_t i = 0; i < count; i++)
			look_at(w, running[i]);
	}
	while (w->first)
		answer_error(w, w->first, &err);
}

static bool stopping(struct mesos_worker *w)
{
	pthread_mutex_lock(&w->lock);
	const bool stop = w->stop;
	pthread_mutex_unlock(&w->lock);
	return stop;
}

static void *work(void *arg)
{
	struct mesos_worker *w = arg;
	struct mesos_job *running[MESOS_MAX_RUNNING];

	while (!stopping(w)) {
		for (struct mesos_job *job; (job = next_to_start(w));)
			start(w, job);
		const size_t count = list_running(w, running);
		wait_for_something(w, running, count);
		for (size_t i = 0; i < count; i++)
			look_at(w, running[i]);
	}
	give_up(w);
	return NULL;
}

/* ---- from outside ---- */

static void wake(struct mesos_worker *w)
{
	const uint64_t one = 1;
	ssize_t ignored = write(w->wake_fd, &one, sizeof(one));

	(void)ignored; /* full: it is awake already */
}

/* No signal of the agent's is taken by the thread. */
static int start_thread(struct mesos_worker *w)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	const int rc = pthread_create(&w->thread, NULL, work, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

enum cleat_code mesos_worker_new(int64_t limit_ms, struct mesos_worker **out, struct cleat_error *err)
{
	struct mesos_worker *w = calloc(1, sizeof(*w));

	if (!w)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	pthread_mutex_init(&w->lock, NULL);
	w->last = &w->first;
	w->limit_ms = limit_ms;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const int rc = w->wake_fd < 0 ? errno : start_thread(w);
	if (rc) {
		cleat_error_errno(err, rc, "start the thread");
		if (w->wake_fd >= 0)
			close(w->wake_fd);
		pthread_mutex_destroy(&w->lock);
		free(w);
		return err->code;
	}
	*out = w;
	return CLEAT_OK;
}

void mesos_worker_free(struct mesos_worker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_mutex_unlock(&w->lock);
	wake(w);
	pthread_join(w->thread, NULL);
	close(w->wake_fd);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static struct mesos_job *job_new(const struct mesos_job_spec *spec)
{
	struct mesos_job *job = calloc(1, sizeof(*job));

	if (!job) {
		mesos_args_done(spec->argv);
		return NULL;
	}
	job->argv = *spec->argv;
	*spec->argv = (struct mesos_args){ 0 };
	job->key = strdup(spec->key);
	for (size_t i = 0; i < spec->queue_count; i++)
		mesos_args_add(&job->queues, spec->queues[i]);
	job->alone = spec->alone;
	job->start = spec->start;
	job->done = spec->done;
	job->arg = spec->arg;
	if (job->key && !job->queues.failed && !job->argv.failed)
		return job;
	job_free(job);
	return NULL;
}

enum cleat_code mesos_worker_add(struct mesos_worker *w, const struct mesos_job_spec *spec,
				 struct cleat_error *err)
{
	struct mesos_job *job = job_new(spec);
	bool full;

	if (!job)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	pthread_mutex_lock(&w->lock);
	full = w->count >= MAX_JOBS;
	if (!full) {
		*w->last = job;
		w->last = &job->next;
		w->count++;
	}
	pthread_mutex_unlock(&w->lock);
	if (full) {
		job_free(job);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "%d operations are waiting already",
				       MAX_JOBS);
	}
	wake(w);
	return CLEAT_OK;
}
