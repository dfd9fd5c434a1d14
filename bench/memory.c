/* memory.c - what a daemon needs of memory, and how soon after its start it answers. */
#include "bench.h"

#define MANY 10000
#define SETTLE_MS 500 /* after the start: what it does once is done */
#define STARTS 11
#define IDLE_MIB 4
#define MANY_MIB 10
#define HEALTH_MS 30
#define VOLUME_MS 500

/* ---- memory ---- */

static void print_memory(pid_t pid, const char *when, double limit_mib)
{
	struct bench_row row = { .group = "memory", .unit = "MiB", .peer = -1 };

	row.ours = bench_status_mib(pid, "RssAnon");
	row.target = limit_mib > 0 ? BENCH_OURS_AT_MOST : BENCH_NO_TARGET;
	row.limit = limit_mib;
	snprintf(row.measure, sizeof(row.measure), "private memory (RssAnon), %s", when);
	bench_row(&row);
	row.ours = bench_status_mib(pid, "VmRSS");
	row.target = BENCH_NO_TARGET;
	snprintf(row.measure, sizeof(row.measure), "all resident memory, %s", when);
	bench_row(&row);
}

static void settle(void)
{
	nanosleep(&(struct timespec){ 0, SETTLE_MS * 1000000L }, NULL);
}

static enum cleat_code idle(const struct bench *b, struct cleat_error *err)
{
	struct bench_daemon d;
	enum cleat_code code = bench_daemon_start(b, "idle", NULL, &d, err);

	if (code == CLEAT_OK) {
		settle();
		print_memory(d.pid, "idle", IDLE_MIB);
	}
	bench_daemon_stop(b, &d);
	return code;
}

enum cleat_code bench_run_memory(struct bench *b, struct cleat_error *err)
{
	struct bench_daemon *d;

	if (idle(b, err) || bench_daemon_filled(b, MANY, &d, err))
		return err->code;
	print_memory(d->pid, "10,000 volumes, made one by one", MANY_MIB);
	if (bench_daemon_restart(b, d, NULL, NULL, NULL, err))
		return err->code;
	settle();
	print_memory(d->pid, "10,000 volumes, just started", MANY_MIB);
	return CLEAT_OK;
}

/* ---- start ---- */

struct starts {
	struct bench_daemon *daemon;
	char id[CLEAT_ID_MAX_BYTES + 1]; /* of one of its volumes; "" when there is none */
	double health_ms[STARTS], volume_ms[STARTS];
};

static enum cleat_code prepare_starts(struct bench *b, uint64_t count, struct starts *s,
				      struct cleat_error *err)
{
	char token[BENCH_TOKEN_BYTES] = "";
	size_t n;

	if (bench_daemon_filled(b, count, &s->daemon, err))
		return err->code;
	return bench_list(s->daemon->client, 1, token, &n, s->id, err);
}

static void print_starts(struct starts *s, const char *beside)
{
	struct bench_row row = { .group = "start", .unit = "ms", .peer = -1, .target = BENCH_OURS_AT_MOST };

	row.ours = bench_median(s->health_ms, STARTS);
	row.limit = HEALTH_MS;
	snprintf(row.measure, sizeof(row.measure), "exec to first health answer, %s", beside);
	bench_row(&row);
	row.ours = bench_median(s->volume_ms, STARTS);
	row.limit = VOLUME_MS;
	snprintf(row.measure, sizeof(row.measure), "exec to first volume call, %s", beside);
	bench_row(&row);
}

enum cleat_code bench_run_start(struct bench *b, struct cleat_error *err)
{
	struct starts s[2] = { 0 };

	if (prepare_starts(b, 0, &s[0], err) || prepare_starts(b, MANY, &s[1], err))
		return err->code;
	for (size_t i = 0; i < STARTS; i++)
		for (size_t k = 0; k < 2; k++)
			if (bench_daemon_restart(b, s[k].daemon, s[k].id[0] ? s[k].id : NULL,
						 &s[k].health_ms[i], &s[k].volume_ms[i], err))
				return err->code;
	print_starts(&s[0], "no volumes");
	print_starts(&s[1], "10,000 volumes");
	return CLEAT_OK;
}
