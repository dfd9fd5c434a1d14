/* memory.c - what a daemon needs of memory, and how soon after its start it answers. */
#include "bench.h"

#define MANY 10000
#define SETTLE_MS 500 /* after the start: what it does once is done */
#define STARTS 11
#define IDLE_MIB 4
#define MANY_MIB 10
#define HEALTH_MS 30
#define VOLUME_MS 500

/* ---- memory
 * ----------------------------------------------------------------------------------------------------------------
 */

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

/* ---- start
 * --------------------------------------------------------------------------------------------------------------------
 */

static enum cleat_code time_starts(const struct bench *b, struct bench_daemon *d, const char *id,
				   const char *beside, struct cleat_error *err)
{
	double health[STARTS], volume[STARTS];
	struct bench_row row = { .group = "start", .unit = "ms", .peer = -1, .target = BENCH_OURS_AT_MOST };

	for (unsigned i = 0; i < STARTS; i++)
		if (bench_daemon_restart(b, d, id, &health[i], &volume[i], err))
			return err->code;
	row.ours = bench_median(health, STARTS);
	row.limit = HEALTH_MS;
	snprintf(row.measure, sizeof(row.measure), "exec to first health answer, %s", beside);
	bench_row(&row);
	row.ours = bench_median(volume, STARTS);
	row.limit = VOLUME_MS;
	snprintf(row.measure, sizeof(row.measure), "exec to first volume call, %s", beside);
	bench_row(&row);
	return CLEAT_OK;
}

static enum cleat_code starts_with(struct bench *b, uint64_t count, const char *beside,
				   struct cleat_error *err)
{
	struct bench_daemon *d;
	char token[BENCH_TOKEN_BYTES] = "", id[CLEAT_ID_MAX_BYTES + 1] = "";
	size_t n;

	if (bench_daemon_filled(b, count, &d, err) || bench_list(d->client, 1, token, &n, id, err))
		return err->code;
	return time_starts(b, d, *id ? id : NULL, beside, err);
}

enum cleat_code bench_run_start(struct bench *b, struct cleat_error *err)
{
	if (starts_with(b, 0, "no volumes", err))
		return err->code;
	return starts_with(b, MANY, "10,000 volumes", err);
}
