/* stats.c - see stats.h. */
#include "driver/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/thread.h"
#include "nomad/driver.pb-c.h"
#include "util/clock.h"
#include "util/mem.h"

#define MIN_INTERVAL_MS 100
#define MAX_INTERVAL_MS 3600000
#define DEFAULT_INTERVAL_MS 1000
#define MAX_STREAMS 4096

struct stream {
	struct stream *next;
	struct cleat_rpc_call *call; /* held; NULL: the caller has gone, or it was ended */
	struct driver_task *task;    /* a reference */
	int64_t interval_ms, due_ms; /* monotonic */
	bool busy;		     /* is being looked at without the lock: whoever does frees it */
	bool has_last;
	struct run_stats last;
};

struct driver_stats {
	struct driver_tasks *tasks;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct stream *first;
	size_t count;
	pthread_t thread;
	bool running, stopping;
	double mhz; /* of one core, for ticks */
};

/* ---- numbers ---- */

/* Nomad counts CPU in MHz: those of a core at full speed. */
static double core_mhz(void)
{
	char line[256];
	double mhz = 0, khz;
	FILE *f = fopen("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "re");

	if (f && fscanf(f, "%lf", &khz) == 1)
		mhz = khz / 1000;
	if (f)
		fclose(f);
	f = mhz > 0 ? NULL : fopen("/proc/cpuinfo", "re");
	while (f && mhz <= 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, "cpu MHz", 7) == 0 && strchr(line, ':'))
			mhz = strtod(strchr(line, ':') + 1, NULL);
	if (f)
		fclose(f);
	return mhz > 0 ? mhz : 1000;
}

static double percent(uint64_t now, uint64_t before, int64_t ms)
{
	return now > before && ms > 0 ? (double)(now - before) / ((double)ms * 1e6) * 100 : 0;
}

static size_t fill_cpu(const struct driver_stats *s, const struct stream *w, const struct run_stats *now,
		       Nomad__CPUUsage *cpu, Nomad__CPUUsage__Fields *fields)
{
	const struct run_stats *last = &w->last;
	int64_t ms = w->has_last ? now->time_ms - last->time_ms : 0;

	if (w->has_last) {
		cpu->system_mode = percent(now->cpu_system_ns, last->cpu_system_ns, ms);
		cpu->user_mode = percent(now->cpu_user_ns, last->cpu_user_ns, ms);
		cpu->percent = percent(now->cpu_total_ns, last->cpu_total_ns, ms);
		cpu->total_ticks = cpu->percent / 100 * s->mhz;
	}
	cpu->throttled_periods = now->throttled_periods;
	cpu->throttled_time = now->throttled_ns;
	for (unsigned i = 0; i <= NOMAD__CPUUSAGE__FIELDS__PERCENT; i++)
		fields[i] = (Nomad__CPUUsage__Fields)i;
	return NOMAD__CPUUSAGE__FIELDS__PERCENT + 1;
}

static size_t fill_memory(const struct run_stats *now, Nomad__MemoryUsage *memory,
			  Nomad__MemoryUsage__Fields *fields)
{
	size_t n = 0;

	memory->rss = now->memory_rss;
	memory->cache = now->memory_cache;
	memory->usage = now->memory_usage;
	memory->swap = now->memory_swap;
	memory->max_usage = now->has_max ? now->memory_max : 0;
	memory->kernel_usage = now->has_kernel ? now->memory_kernel : 0;
	fields[n++] = NOMAD__MEMORY_USAGE__FIELDS__RSS;
	fields[n++] = NOMAD__MEMORY_USAGE__FIELDS__CACHE;
	fields[n++] = NOMAD__MEMORY_USAGE__FIELDS__USAGE;
	fields[n++] = NOMAD__MEMORY_USAGE__FIELDS__SWAP;
	if (now->has_max)
		fields[n++] = NOMAD__MEMORY_USAGE__FIELDS__MAX_USAGE;
	if (now->has_kernel)
		fields[n++] = NOMAD__MEMORY_USAGE__FIELDS__KERNEL_USAGE;
	return n;
}

/* All parts are there, always: a message without one of them takes the agent down. */
static void send_stats(const struct driver_stats *s, const struct stream *w, const struct run_stats *now,
		       struct cleat_rpc_call *call)
{
	Nomad__TaskStatsResponse out = NOMAD__TASK_STATS_RESPONSE__INIT;
	Nomad__TaskStats stats = NOMAD__TASK_STATS__INIT;
	Nomad__TaskResourceUsage usage = NOMAD__TASK_RESOURCE_USAGE__INIT;
	Nomad__CPUUsage cpu = NOMAD__CPUUSAGE__INIT;
	Nomad__MemoryUsage memory = NOMAD__MEMORY_USAGE__INIT;
	Google__Protobuf__Timestamp when = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Nomad__CPUUsage__Fields cpu_fields[8];
	Nomad__MemoryUsage__Fields memory_fields[8];

	cpu.n_measured_fields = fill_cpu(s, w, now, &cpu, cpu_fields);
	cpu.measured_fields = cpu_fields;
	memory.n_measured_fields = fill_memory(now, &memory, memory_fields);
	memory.measured_fields = memory_fields;
	usage.cpu = &cpu;
	usage.memory = &memory;
	when.seconds = now->time_ms / 1000;
	when.nanos = (int32_t)(now->time_ms % 1000) * 1000000;
	stats.id = driver_task_record(w->task)->id;
	stats.timestamp = &when;
	stats.agg_resource_usage = &usage;
	out.stats = &stats;
	cleat_rpc_call_reply(call, &out.base);
}

/* ---- the thread ---- */

static void stream_free(struct stream *w)
{
	driver_task_unref(w->task);
	free(w);
}

/* With the lock held: takes it out of the list; it is freed by whoever looks at it, if anybody does. */
static void unlink_stream(struct driver_stats *s, struct stream *w)
{
	struct stream **p = &s->first;

	while (*p && *p != w)
		p = &(*p)->next;
	if (!*p)
		return;
	*p = w->next;
	s->count--;
}

static void end_call(struct cleat_rpc_call *call)
{
	if (!call)
		return;
	cleat_rpc_call_end(call);
	cleat_rpc_call_drop(call);
}

/* Reads and sends without the lock; `w` is busy meanwhile.  False when the stream is over. */
static bool measure(struct driver_stats *s, struct stream *w, struct cleat_rpc_call *call)
{
	struct run_stats now = { 0 };
	struct run_exit exit;

	if (driver_task_ended(s->tasks, w->task, &exit))
		return false;
	if (run_stats(driver_task_run(w->task), &now, NULL))
		return true; /* between its end and our knowing it; a silent interval is fine */
	send_stats(s, w, &now, call);
	w->last = now;
	w->has_last = true;
	return true;
}

static void look_at(struct driver_stats *s, struct stream *w)
{
	struct cleat_rpc_call *call = w->call;

	w->busy = true;
	cleat_rpc_call_hold(call);
	pthread_mutex_unlock(&s->lock);
	bool goes_on = measure(s, w, call);
	cleat_rpc_call_drop(call);
	pthread_mutex_lock(&s->lock);
	w->busy = false;
	if (w->call && goes_on) {
		w->due_ms = cleat_time_mono_ms() + w->interval_ms;
		return;
	}
	call = w->call;
	w->call = NULL;
	if (call)
		unlink_stream(s, w);
	pthread_mutex_unlock(&s->lock);
	end_call(call);
	stream_free(w);
	pthread_mutex_lock(&s->lock);
}

static void *run(void *arg)
{
	struct driver_stats *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		struct stream *next = NULL;

		for (struct stream *w = s->first; w; w = w->next)
			if (!next || w->due_ms < next->due_ms)
				next = w;
		int64_t wait = next ? next->due_ms - cleat_time_mono_ms() : 60000;
		if (wait > 0)
			driver_cond_wait_ms(&s->changed, &s->lock, wait);
		else
			look_at(s, next);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- for the service ---- */

/* On the poller. */
static void gone(struct cleat_rpc_call *call, void *arg)
{
	struct driver_stats *s = arg;
	struct stream *mine = NULL;

	pthread_mutex_lock(&s->lock);
	for (struct stream *w = s->first; w && !mine; w = w->next)
		if (w->call == call)
			mine = w;
	bool busy = mine && mine->busy;
	if (mine) {
		mine->call = NULL;
		unlink_stream(s, mine);
	}
	pthread_mutex_unlock(&s->lock);
	if (!mine)
		return;
	end_call(call);
	if (!busy)
		stream_free(mine);
}

static enum cleat_code add(struct driver_stats *s, struct stream *w, struct cleat_error *err)
{
	if (s->stopping || s->count >= MAX_STREAMS)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "too many streams, or shutting down");
	if (!s->running && driver_thread(run, s, &s->thread, err))
		return err->code;
	s->running = true;
	w->next = s->first;
	s->first = w;
	s->count++;
	pthread_cond_signal(&s->changed);
	return CLEAT_OK;
}

void driver_stats_attach(struct driver_stats *s, const char *id, int64_t interval_ms,
			 struct cleat_rpc_call *call)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct driver_task *task = driver_tasks_find(s->tasks, id);
	struct stream *w = task ? calloc(1, sizeof(*w)) : NULL;

	if (!w) {
		if (task)
			cleat_rpc_call_fail(call, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		else
			cleat_rpc_call_fail(call, CLEAT_NOT_FOUND, "no task '%s'", id);
		driver_task_unref(task);
		return;
	}
	interval_ms = interval_ms <= 0 ? DEFAULT_INTERVAL_MS : interval_ms;
	w->interval_ms = interval_ms < MIN_INTERVAL_MS	 ? MIN_INTERVAL_MS
			 : interval_ms > MAX_INTERVAL_MS ? MAX_INTERVAL_MS
							 : interval_ms;
	w->due_ms = cleat_time_mono_ms();
	w->task = task;
	w->call = call;
	cleat_rpc_call_hold(call);
	pthread_mutex_lock(&s->lock);
	enum cleat_code code = add(s, w, &err);
	pthread_mutex_unlock(&s->lock);
	if (code == CLEAT_OK) {
		cleat_rpc_call_on_close(call, gone, s);
		return;
	}
	cleat_rpc_call_fail_error(call, &err);
	cleat_rpc_call_drop(call);
	stream_free(w);
}

struct driver_stats *driver_stats_new(struct driver_tasks *tasks)
{
	struct driver_stats *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->tasks = tasks;
	s->mhz = core_mhz();
	pthread_mutex_init(&s->lock, NULL);
	driver_cond_init(&s->changed);
	return s;
}

void driver_stats_stop(struct driver_stats *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_signal(&s->changed);
	while (s->first) {
		struct stream *w = s->first;
		struct cleat_rpc_call *call = w->call;
		bool busy = w->busy;

		w->call = NULL;
		unlink_stream(s, w);
		pthread_mutex_unlock(&s->lock);
		end_call(call);
		if (!busy)
			stream_free(w);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
}

void driver_stats_free(struct driver_stats *s)
{
	if (!s)
		return;
	driver_stats_stop(s);
	if (s->running)
		pthread_join(s->thread, NULL);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s);
}
