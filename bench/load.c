/* load.c - closed loops: each worker starts its next cycle when its last one is done.  See bench.h. */
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 4096
#define WARM_UP_SHARE 0.3 /* of a round */

double bench_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int by_size_single(const void *a, const void *b)
{
	const float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

double bench_median(double *values, size_t count)
{
	if (count == 0)
		return 0;
	qsort(values, count, sizeof(*values), by_size);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* ---- latencies of all cycles ---- */

struct samples {
	float *us;
	size_t count, room;
};

static bool samples_add(struct samples *s, float us)
{
	if (s->count == s->room) {
		const size_t room = s->room ? s->room * 2 : FIRST_ROOM;
		float *grown = realloc(s->us, room * sizeof(*grown));
		if (!grown)
			return false;
		s->us = grown;
		s->room = room;
	}
	s->us[s->count++] = us;
	return true;
}

static bool samples_append(struct samples *to, const struct samples *from)
{
	for (size_t i = 0; i < from->count; i++)
		if (!samples_add(to, from->us[i]))
			return false;
	return true;
}

/* Of sorted samples. */
static double samples_at(const struct samples *s, double share)
{
	return s->count ? (double)s->us[(size_t)((double)(s->count - 1) * share)] : 0;
}

/* ---- one round ---- */

struct round {
	bench_cycle_fn cycle;
	void *arg;
	double seconds;
	atomic_bool failed;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t opened;
	bool open; /* the workers may begin */
	struct cleat_error err;
};

struct worker {
	pthread_t thread;
	struct round *round;
	unsigned index;
	uint64_t number;	/* of the next cycle */
	uint64_t cycles;	/* in this round */
	struct samples samples; /* of this round */
};

static void fail(struct round *r, const struct cleat_error *err)
{
	pthread_mutex_lock(&r->lock);
	if (!r->failed)
		r->err = *err;
	r->failed = true;
	pthread_mutex_unlock(&r->lock);
}

static void wait_until_open(struct round *r)
{
	pthread_mutex_lock(&r->lock);
	while (!r->open)
		pthread_cond_wait(&r->opened, &r->lock);
	pthread_mutex_unlock(&r->lock);
}

static void open_gate(struct round *r)
{
	pthread_mutex_lock(&r->lock);
	r->open = true;
	pthread_cond_broadcast(&r->opened);
	pthread_mutex_unlock(&r->lock);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct round *r = w->round;
	struct cleat_error err = CLEAT_ERROR_INIT;

	wait_until_open(r);
	const double until_ms = bench_now_ms() + r->seconds * 1e3;
	for (double begin = bench_now_ms(), end; begin < until_ms && !r->failed; begin = end) {
		if (r->cycle(r->arg, w->index, w->number++, &err) != CLEAT_OK) {
			fail(r, &err);
			break;
		}
		end = bench_now_ms();
		w->cycles++;
		if (!samples_add(&w->samples, (float)((end - begin) * 1e3))) {
			cleat_error_set(&err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
			fail(r, &err);
			break;
		}
	}
	return NULL;
}

/* What one side keeps over its rounds. */
struct course {
	struct worker workers[BENCH_MAX_WORKERS];
	struct samples samples;
};

static uint64_t gather(struct course *c, unsigned workers, bool keep, struct cleat_error *err)
{
	uint64_t cycles = 0;

	for (unsigned i = 0; i < workers; i++) {
		struct worker *w = &c->workers[i];
		cycles += w->cycles;
		if (keep && !samples_append(&c->samples, &w->samples))
			cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		w->samples.count = 0;
		w->cycles = 0;
	}
	return cycles;
}

/* How many threads there are; fewer than asked for is a failure of the round. */
static unsigned start_workers(struct course *c, struct round *r, unsigned workers)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	for (unsigned i = 0; i < workers; i++) {
		c->workers[i].index = i;
		c->workers[i].round = r;
		if (pthread_create(&c->workers[i].thread, NULL, work, &c->workers[i]) == 0)
			continue;
		cleat_error_set(&err, CLEAT_RESOURCE_EXHAUSTED, "no thread for worker %u", i);
		fail(r, &err);
		return i;
	}
	return workers;
}

static enum cleat_code run_round(struct course *c, struct bench_side *side, double seconds, bool keep,
				 struct cleat_error *err)
{
	struct round r = { .cycle = side->cycle,
			   .arg = side->arg,
			   .seconds = seconds,
			   .lock = PTHREAD_MUTEX_INITIALIZER,
			   .opened = PTHREAD_COND_INITIALIZER,
			   .err = CLEAT_ERROR_INIT };
	const unsigned started = start_workers(c, &r, side->workers);
	const double cpu_us = bench_cpu_us(side->pid), begin_ms = bench_now_ms();

	open_gate(&r);
	for (unsigned i = 0; i < started; i++)
		pthread_join(c->workers[i].thread, NULL);
	const double took_s = (bench_now_ms() - begin_ms) / 1e3, used_us = bench_cpu_us(side->pid) - cpu_us;
	const uint64_t cycles = gather(c, side->workers, keep, &r.err);
	if (r.err.code) {
		*err = r.err;
		return err->code;
	}
	if (keep && cycles) {
		side->rates[side->rounds] = (double)cycles / took_s;
		side->cpus_us[side->rounds++] = used_us / (double)cycles;
	}
	return CLEAT_OK;
}

/* ---- taking turns ---- */

/* Of values, or of values divided by those of `by`. */
static double median_of(const double *values, const double *by, size_t count)
{
	double copy[BENCH_MAX_ROUNDS];

	for (size_t i = 0; i < count; i++)
		copy[i] = by ? (by[i] > 0 ? values[i] / by[i] : 0) : values[i];
	return bench_median(copy, count);
}

double bench_rate_ratio(const struct bench_side *ours, const struct bench_side *peer)
{
	return peer && ours->rounds == peer->rounds && ours->rounds
		       ? median_of(ours->rates, peer->rates, ours->rounds)
		       : -1;
}

double bench_cpu_ratio(const struct bench_side *ours, const struct bench_side *peer)
{
	return peer && ours->rounds == peer->rounds && ours->rounds
		       ? median_of(ours->cpus_us, peer->cpus_us, ours->rounds)
		       : -1;
}

static void summarize(struct course *c, struct bench_side *side)
{
	if (c->samples.count)
		qsort(c->samples.us, c->samples.count, sizeof(*c->samples.us), by_size_single);
	side->p50_us = samples_at(&c->samples, 0.50);
	side->p99_us = samples_at(&c->samples, 0.99);
	side->rate = median_of(side->rates, NULL, side->rounds);
	side->cpu_us = median_of(side->cpus_us, NULL, side->rounds);
}

static void course_free(struct course *c)
{
	for (size_t i = 0; c && i < BENCH_MAX_WORKERS; i++)
		free(c->workers[i].samples.us);
	if (c)
		free(c->samples.us);
	free(c);
}

static enum cleat_code all_rounds(const struct bench *b, const struct bench_plan *plan,
				  struct bench_side *sides, size_t count, struct course **courses,
				  struct cleat_error *err)
{
	const double seconds = plan->round_seconds * b->scale;

	for (size_t i = 0; i < count; i++)
		if (run_round(courses[i], &sides[i], seconds * WARM_UP_SHARE, false, err))
			return err->code;
	for (unsigned round = 0; round < plan->rounds; round++)
		for (size_t i = 0; i < count; i++)
			if (run_round(courses[i], &sides[i], seconds, true, err))
				return err->code;
	return CLEAT_OK;
}

enum cleat_code bench_take_turns(const struct bench *b, const struct bench_plan *plan,
				 struct bench_side *sides, size_t count, struct cleat_error *err)
{
	struct course *courses[BENCH_MAX_SIDES] = { NULL };
	enum cleat_code code = CLEAT_OK;

	if (count > BENCH_MAX_SIDES || plan->rounds > BENCH_MAX_ROUNDS)
		return cleat_error_set(err, CLEAT_INTERNAL, "a plan beyond the limits of the bench");
	for (size_t i = 0; i < count && code == CLEAT_OK; i++)
		if (sides[i].workers > BENCH_MAX_WORKERS)
			code = cleat_error_set(err, CLEAT_INTERNAL, "more workers than the bench can have");
		else if (!(courses[i] = calloc(1, sizeof(*courses[i]))))
			code = cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (code == CLEAT_OK)
		code = all_rounds(b, plan, sides, count, courses, err);
	for (size_t i = 0; i < count; i++) {
		if (code == CLEAT_OK)
			summarize(courses[i], &sides[i]);
		course_free(courses[i]);
	}
	return code;
}

const unsigned bench_loads[BENCH_LOADS] = { 1, 8, 64 };

enum cleat_code bench_take_turns_at_loads(const struct bench *b, const struct bench_plan *plan,
					  const struct bench_side *ours, const struct bench_side *peer,
					  struct bench_side out[BENCH_LOADS][2], struct cleat_error *err)
{
	struct bench_side sides[2 * BENCH_LOADS];
	const size_t each = peer ? 2 : 1;
	enum cleat_code code;

	for (size_t i = 0; i < each * BENCH_LOADS; i++) {
		sides[i] = i % each ? *peer : *ours;
		sides[i].workers = bench_loads[i / each];
	}
	code = bench_take_turns(b, plan, sides, each * BENCH_LOADS, err);
	for (size_t i = 0; i < each * BENCH_LOADS; i++)
		out[i / each][i % each] = sides[i];
	return code;
}

/* ---- a number of jobs ---- */

struct jobs {
	bench_cycle_fn cycle;
	void *arg;
	uint64_t total;
	atomic_uint_fast64_t next;
	atomic_bool failed;
	struct cleat_error err; /* of the one that set failed first */
};

struct hand {
	pthread_t thread;
	struct jobs *jobs;
	unsigned index;
	bool running;
};

static void *do_jobs(void *arg)
{
	struct hand *h = arg;
	struct jobs *j = h->jobs;
	struct cleat_error err = CLEAT_ERROR_INIT;

	for (uint64_t n; (n = atomic_fetch_add(&j->next, 1)) < j->total && !j->failed;) {
		if (j->cycle(j->arg, h->index, n, &err) == CLEAT_OK)
			continue;
		if (!atomic_exchange(&j->failed, true))
			j->err = err;
		break;
	}
	return NULL;
}

enum cleat_code bench_do_all(unsigned workers, uint64_t total, bench_cycle_fn cycle, void *arg,
			     struct cleat_error *err)
{
	struct jobs jobs = { .cycle = cycle, .arg = arg, .total = total, .err = CLEAT_ERROR_INIT };
	struct hand hands[BENCH_MAX_WORKERS] = { 0 };

	for (unsigned i = 0; i < workers && i < BENCH_MAX_WORKERS; i++) {
		hands[i].jobs = &jobs;
		hands[i].index = i;
		hands[i].running = pthread_create(&hands[i].thread, NULL, do_jobs, &hands[i]) == 0;
	}
	for (unsigned i = 0; i < workers && i < BENCH_MAX_WORKERS; i++)
		if (hands[i].running)
			pthread_join(hands[i].thread, NULL);
	if (!jobs.failed && jobs.next >= total)
		return CLEAT_OK;
	if (!jobs.failed)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no threads");
	*err = jobs.err;
	return err->code;
}
