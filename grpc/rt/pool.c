/* pool.c - the workers: threads for calls that may block, started when first needed, behind a bounded queue.
 */
#include "rt/internal.h"

enum cleat_code cleat_rt_pool_init(struct rpc_pool *p, unsigned max_threads, unsigned max_queued,
				   struct cleat_error *err)
{
	p->tail = &p->head;
	p->max_threads = max_threads;
	p->max_queued = max_queued;
	p->threads = calloc(max_threads, sizeof(*p->threads));
	if (!p->threads)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for %u workers",
				       max_threads);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	return cleat_rt_cond_init(&p->ended, err);
}

/* A call whose caller went away while it waited is not started. */
static void run_or_skip(struct cleat_rpc_call *c)
{
	if (!cleat_rpc_call_cancelled(c)) {
		cleat_rt_call_run(c);
		return;
	}
	if (cleat_rpc_call_time_left_ms(c) == 0)
		cleat_rt_call_finish(c, CLEAT_DEADLINE_EXCEEDED, "the time was up before a worker was free");
	else
		cleat_rt_call_finish(c, CLEAT_CANCELLED, "the caller went away before a worker was free");
	cleat_rpc_call_drop(c);
}

static struct cleat_rpc_call *take_call(struct rpc_pool *p)
{
	while (!p->head && !p->stop)
		pthread_cond_wait(&p->work, &p->lock);
	struct cleat_rpc_call *c = p->head;
	if (!c)
		return NULL;
	p->head = c->next_queued;
	if (!p->head)
		p->tail = &p->head;
	p->queued--;
	return c;
}

static void *worker(void *arg)
{
	struct rpc_pool *p = arg;
	struct cleat_rpc_call *c;

	pthread_mutex_lock(&p->lock);
	while ((c = take_call(p))) {
		p->busy++;
		pthread_mutex_unlock(&p->lock);
		run_or_skip(c);
		cleat_rt_call_unref(c);
		pthread_mutex_lock(&p->lock);
		p->busy--;
	}
	p->running--;
	pthread_cond_broadcast(&p->ended);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* With the lock held.  Without a single worker the queue would never move: then the call must be refused. */
static bool have_worker(struct rpc_pool *p)
{
	if (p->queued < p->running - p->busy || p->started == p->max_threads)
		return true;
	p->running++;
	if (cleat_rt_thread_start(&p->threads[p->started], "rpc-worker", worker, p, NULL) == CLEAT_OK)
		p->started++;
	else
		p->running--;
	return p->running > 0;
}

/* With the lock held.  Calls that a free worker is about to take do not count as waiting. */
static bool has_room(const struct rpc_pool *p)
{
	return !p->stop && p->queued < p->max_queued + (p->max_threads - p->busy);
}

bool cleat_rt_pool_add(struct rpc_pool *p, struct cleat_rpc_call *c)
{
	pthread_mutex_lock(&p->lock);
	bool added = has_room(p) && have_worker(p);
	if (added) {
		cleat_rt_call_ref(c);
		c->next_queued = NULL;
		*p->tail = c;
		p->tail = &c->next_queued;
		p->queued++;
		pthread_cond_signal(&p->work);
	}
	pthread_mutex_unlock(&p->lock);
	return added;
}

bool cleat_rt_pool_stop(struct rpc_pool *p, const struct timespec *until)
{
	int e = 0;

	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	while (p->running && e == 0)
		e = pthread_cond_timedwait(&p->ended, &p->lock, until);
	bool ended = p->running == 0;
	pthread_mutex_unlock(&p->lock);
	for (; ended && p->started; p->started--)
		pthread_join(p->threads[p->started - 1], NULL);
	return ended;
}

void cleat_rt_pool_done(struct rpc_pool *p)
{
	free(p->threads);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->ended);
}
