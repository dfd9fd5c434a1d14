/* lane.c - the bounded worker threads of one pool.
 *
 * Threads are started when work waits and nobody is idle, and end after some seconds without work.  A thread that is stuck in a step past
 * its limit is left behind: it no longer counts, so another may take its place, and it ends when it comes back.
 */
#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>

#define IDLE_SECONDS 5
#define STACK_BYTES (512 * 1024)

void lane_init(struct lane *lane)
{
	pthread_condattr_t attr;

	*lane = (struct lane){ 0 };
	lane->tail = &lane->head;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&lane->work, &attr);
	pthread_condattr_destroy(&attr);
}

static struct op *pop(struct lane *lane)
{
	struct op *op = lane->head;

	if (op) {
		lane->head = op->lane_next;
		if (!lane->head)
			lane->tail = &lane->head;
		lane->queued--;
	}
	return op;
}

/* With the lock: the next operation, or NULL when the thread should end. */
static struct op *wait_for_work(struct cleat_engine *e, struct lane *lane)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	for (;;) {
		struct op *op = pop(lane);
		if (op || e->closing)
			return op;
		lane->idle++;
		int rc = pthread_cond_timedwait(&lane->work, &e->lock, &until);
		lane->idle--;
		if (rc == ETIMEDOUT && !lane->head)
			return NULL;
	}
}

static void *worker(void *arg)
{
	struct pool *pool = arg;
	struct cleat_engine *e = pool->e;
	struct lane *lane = &pool->lane;
	char name[16]; /* what the kernel keeps; else it would be that of whoever started the thread */

	snprintf(name, sizeof(name), "lane-%.10s", pool->name);
	pthread_setname_np(pthread_self(), name);
	pthread_mutex_lock(&e->lock);
	for (struct op *op; (op = wait_for_work(e, lane));) {
		lane->busy++;
		pthread_mutex_unlock(&e->lock);
		ops_run(op);
		pthread_mutex_lock(&e->lock);
		lane->busy--;
		if (lane->threads > pool->max_threads + lane->left_behind)
			break; /* this one was stuck for a while and has been replaced */
	}
	lane->threads--;
	e->thread_count--;
	pthread_cond_broadcast(&e->quiet);
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

static int start_thread(struct pool *pool)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int rc = pthread_create(&thread, &attr, worker, pool);
	pthread_attr_destroy(&attr);
	return rc;
}

void lane_fill(struct pool *pool)
{
	struct lane *lane = &pool->lane;

	/* Threads left behind do not count against the lane's width. */
	while (lane->idle < lane->queued && lane->threads < pool->max_threads + lane->left_behind) {
		if (start_thread(pool) != 0)
			return;
		lane->threads++;
		pool->e->thread_count++;
		if (lane->threads - lane->left_behind - lane->busy >= lane->queued)
			return; /* those that are starting count as idle */
	}
}

enum cleat_code lane_push(struct pool *pool, struct op *op, struct cleat_error *err)
{
	struct lane *lane = &pool->lane;

	if (lane->left_behind >= MAX_LEFT_BEHIND)
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "pool '%s': %u operations are stuck in its storage", pool->name,
				       lane->left_behind);
	if (lane->queued >= MAX_LANE_QUEUE)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "pool '%s': %u operations are waiting already",
				       pool->name, lane->queued);
	op->lane_next = NULL;
	*lane->tail = op;
	lane->tail = &op->lane_next;
	lane->queued++;
	lane_fill(pool);
	return CLEAT_OK;
}
