/* timer.c - the engine's one timer thread: deadlines of waiters, limits of steps, retries of offline pools, the reconciler. */
#include "engine/engine.h"

#define STACK_BYTES (256 * 1024)

static struct timespec mono_timespec(int64_t ms)
{
	return (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
}

/* What is due for pool p: 0, or the verb to submit.  With the lock. */
static int due(struct pool *p, int64_t now)
{
	if (p->phase == POOL_OFFLINE && p->retry_at_ms <= now) {
		p->retry_at_ms = now + PROBE_EVERY_MS;
		return VERB_OPEN_POOL;
	}
	if (p->phase == POOL_ONLINE && p->probe_at_ms <= now) {
		p->probe_at_ms = now + PROBE_EVERY_MS;
		return VERB_PROBE_POOL;
	}
	return 0;
}

static void look_at_pools(struct cleat_engine *e)
{
	const int64_t now = cleat_time_mono_ms();

	for (size_t i = 0;; i++) {
		pthread_mutex_lock(&e->lock);
		struct pool *p = i < e->pool_count && !e->closing ? e->pools[i] : NULL;
		int verb = p ? due(p, now) : 0;
		pthread_mutex_unlock(&e->lock);
		if (!p)
			return;
		if (verb)
			ops_submit_inner(e, p, verb, "");
	}
}

static bool reconcile_due(struct cleat_engine *e)
{
	const int64_t now = cleat_time_mono_ms();

	pthread_mutex_lock(&e->lock);
	bool is_due = !e->closing && e->reconcile_at_ms <= now;
	if (is_due)
		e->reconcile_at_ms = now + RECONCILE_EVERY_MS;
	pthread_mutex_unlock(&e->lock);
	return is_due;
}

static void *run(void *arg)
{
	struct cleat_engine *e = arg;

	for (;;) {
		int64_t next = ops_expire(e);
		look_at_pools(e);
		if (reconcile_due(e))
			reconcile_start(e);
		pthread_mutex_lock(&e->lock);
		if (e->closing && e->op_count == 0)
			break;
		struct timespec until = mono_timespec(next);
		pthread_cond_timedwait(&e->timer_wake, &e->lock, &until);
		pthread_mutex_unlock(&e->lock);
	}
	e->thread_count--;
	pthread_cond_broadcast(&e->quiet);
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

enum cleat_code timer_start(struct cleat_engine *e, struct cleat_error *err)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&e->lock);
	int rc = pthread_create(&thread, &attr, run, e);
	if (rc == 0)
		e->thread_count++;
	pthread_mutex_unlock(&e->lock);
	pthread_attr_destroy(&attr);
	return rc ? cleat_error_errno(err, rc, "start the timer thread") : CLEAT_OK;
}
