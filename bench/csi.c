/* csi.c - our CSI endpoint beside kubernetes-csi's reference driver (csi-driver-host-path), when its program
 * is given: the same calls, by the same load generator.  Without it the peer's columns stay empty.
 *
 * Each worker has a volume, a staging path and a target of its own.  The reference syncs nothing to disk and
 * knows no real sizes; ours does both.  How creation through CSI compares with the native API, and whether a
 * page of a list depends on how many volumes there are, are measured by csi_list.c.
 */
#include "bench.h"

#include <errno.h>
#include <sys/stat.h>

#define VOLUMES BENCH_MAX_WORKERS
#define VOLUME_BYTES (64u << 20)
#define PREPARE_WORKERS 8
#define ROUNDS 6
#define ROUND_SECONDS 0.3
#define PROBE_CPU_US 25.0
#define PUBLISH_MS_AT_ONE 1.2
#define PUBLISH_RATE_AT_EIGHT 1000
#define STATS_MS_AT_ONE 0.15

/* ---- plugins ---- */

struct lab {
	const struct bench_csi_plugin *plugin;
	const char *pool;
	char ids[VOLUMES][CLEAT_ID_MAX_BYTES + 1];
};

static void path_of(const struct lab *l, const char *what, uint64_t number, char out[BENCH_PATH_BYTES])
{
	snprintf(out, BENCH_PATH_BYTES, "%.400s/%s-%s-%u", l->plugin->targets, what, l->pool,
		 (unsigned)number);
}

static enum cleat_code make_dir(const char *path, struct cleat_error *err)
{
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return CLEAT_OK;
	return cleat_error_errno(err, errno, "make '%s'", path);
}

enum cleat_code bench_csi_reference_start(const struct bench *b, struct bench_csi_plugin *p,
					  struct cleat_error *err)
{
	char dir[BENCH_PATH_BYTES], state[BENCH_PATH_BYTES + 8], socket[BENCH_PATH_BYTES + 8];
	char endpoint[BENCH_PATH_BYTES + 24], log[BENCH_PATH_BYTES];
	const char *argv[] = { b->reference, "--statedir", state,   "--endpoint",
			       endpoint,     "--nodeid",   "bench", NULL };

	*p = (struct bench_csi_plugin){ .pool = "" };
	if (!b->reference)
		return CLEAT_OK;
	snprintf(dir, sizeof(dir), "%.400s/reference", b->work);
	snprintf(state, sizeof(state), "%s/s", dir);
	snprintf(socket, sizeof(socket), "%s/c", dir);
	snprintf(endpoint, sizeof(endpoint), "unix://%s", socket);
	snprintf(log, sizeof(log), "%.400s/reference.log", b->work);
	snprintf(p->targets, sizeof(p->targets), "%s/t", dir);
	if (make_dir(dir, err) || make_dir(state, err) || make_dir(p->targets, err) ||
	    bench_spawn(b, argv, log, &p->pid, err) || bench_wait_for_socket(socket, err) ||
	    bench_client(socket, &p->client, err))
		return err->code;
	return bench_csi_probe(p->client, err);
}

void bench_csi_reference_stop(const struct bench *b, struct bench_csi_plugin *p)
{
	if (!p->pid)
		return;
	cleat_rpc_client_free(p->client);
	bench_end_process(b, p->pid);
	bench_unmount_below(p->targets);
	*p = (struct bench_csi_plugin){ .pool = "" };
}

enum cleat_code bench_csi_daemon_start(const struct bench *b, const char *name, const char *pools,
				       struct bench_daemon *d, struct bench_csi_plugin *p,
				       struct cleat_error *err)
{
	char text[2 * BENCH_PATH_BYTES], socket[BENCH_PATH_BYTES];

	*p = (struct bench_csi_plugin){ .pool = "" };
	snprintf(socket, sizeof(socket), "%.400s/%s/c", b->work, name);
	snprintf(text, sizeof(text), "%scsi:\n  socket: %s\n", pools, socket);
	if (bench_daemon_start(b, name, text, d, err) || bench_client(socket, &p->client, err))
		return err->code;
	p->pid = d->pid;
	snprintf(p->targets, sizeof(p->targets), "%s", d->targets);
	return CLEAT_OK;
}

void bench_csi_daemon_stop(const struct bench *b, struct bench_daemon *d, struct bench_csi_plugin *p)
{
	cleat_rpc_client_free(p->client);
	p->client = NULL;
	bench_daemon_stop(b, d);
}

/* ---- cycles ---- */

static enum cleat_code cycle_probe(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	const struct lab *l = arg;

	(void)worker;
	(void)number;
	return bench_csi_probe(l->plugin->client, err);
}

static enum cleat_code publish(const struct lab *l, unsigned worker, struct cleat_error *err)
{
	char staging[BENCH_PATH_BYTES], target[BENCH_PATH_BYTES];

	path_of(l, "stage", worker, staging);
	path_of(l, "target", worker, target);
	return bench_csi_publish(l->plugin->client, l->ids[worker], staging, target, err);
}

static enum cleat_code unpublish(const struct lab *l, unsigned worker, struct cleat_error *err)
{
	char target[BENCH_PATH_BYTES];

	path_of(l, "target", worker, target);
	return bench_csi_unpublish(l->plugin->client, l->ids[worker], target, err);
}

static enum cleat_code cycle_publish(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	(void)number;
	return publish(arg, worker, err) ? err->code : unpublish(arg, worker, err);
}

static enum cleat_code cycle_stats(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	const struct lab *l = arg;
	char target[BENCH_PATH_BYTES];

	(void)number;
	path_of(l, "target", worker, target);
	return bench_csi_stats(l->plugin->client, l->ids[worker], target, err);
}

/* ---- volumes ---- */

static enum cleat_code prepare_one(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	struct lab *l = arg;
	char name[48], staging[BENCH_PATH_BYTES];

	(void)worker;
	snprintf(name, sizeof(name), "volume-%s-%llu", l->pool, (unsigned long long)number);
	path_of(l, "stage", number, staging);
	if (make_dir(staging, err) ||
	    bench_csi_create(l->plugin->client, l->pool, name, VOLUME_BYTES, l->ids[number], err))
		return err->code;
	return bench_csi_stage(l->plugin->client, l->ids[number], staging, err);
}

static enum cleat_code publish_one(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	(void)worker;
	return publish(arg, (unsigned)number, err);
}

static enum cleat_code unpublish_one(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	(void)worker;
	return unpublish(arg, (unsigned)number, err);
}

/* ---- rows ---- */

/* What is measured, and what it is judged by; 0: not. */
struct question {
	const char *what;
	bench_cycle_fn cycle;
	double ms_at_one, rate_at_eight, cpu_us_at_one;
};

static void judge(struct bench_row *row, enum bench_target target, bool applies, double limit)
{
	row->target = applies && limit > 0 ? target : BENCH_NO_TARGET;
	row->limit = limit;
}

static void print_rows(const struct question *q, const struct bench_side *ours, const struct bench_side *peer)
{
	struct bench_row row = { .group = "csi", .unit = "ms" };

	snprintf(row.measure, sizeof(row.measure), "CSI: %s, %u at once: median", q->what, ours->workers);
	row.ours = ours->p50_us / 1e3;
	row.peer = peer ? peer->p50_us / 1e3 : -1;
	judge(&row, BENCH_OURS_AT_MOST, ours->workers == 1, q->ms_at_one);
	bench_row(&row);
	row.unit = "/s";
	snprintf(row.measure, sizeof(row.measure), "CSI: %s, %u at once: cycles", q->what, ours->workers);
	row.ours = ours->rate;
	row.peer = peer ? peer->rate : -1;
	row.ratio = bench_rate_ratio(ours, peer);
	judge(&row, BENCH_OURS_AT_LEAST, ours->workers == 8, q->rate_at_eight);
	bench_row(&row);
	row.unit = "us";
	snprintf(row.measure, sizeof(row.measure), "CSI: %s, %u at once: CPU per cycle", q->what,
		 ours->workers);
	row.ours = ours->cpu_us;
	row.peer = peer ? peer->cpu_us : -1;
	row.ratio = bench_cpu_ratio(ours, peer);
	judge(&row, BENCH_OURS_AT_MOST, ours->workers == 1, q->cpu_us_at_one);
	bench_row(&row);
}

static enum cleat_code ask(const struct bench *b, const struct question *q, struct lab *ours,
			   struct lab *reference, struct cleat_error *err)
{
	const struct bench_plan plan = { ROUNDS, ROUND_SECONDS };
	const struct bench_side our = { .cycle = q->cycle, .arg = ours, .pid = ours->plugin->pid };
	const struct bench_side peer = { .cycle = q->cycle,
					 .arg = reference,
					 .pid = reference ? reference->plugin->pid : 0 };
	struct bench_side sides[BENCH_LOADS][2];

	bench_say("csi: %s", q->what);
	if (bench_take_turns_at_loads(b, &plan, &our, reference ? &peer : NULL, sides, err))
		return err->code;
	for (size_t i = 0; i < BENCH_LOADS; i++)
		print_rows(q, &sides[i][0], reference ? &sides[i][1] : NULL);
	return CLEAT_OK;
}

/* ---- all of it ---- */

static enum cleat_code prepare(struct lab *l, struct cleat_error *err)
{
	bench_say("csi: making %d volumes in pool %s", VOLUMES, l->pool[0] ? l->pool : "of the reference");
	return bench_do_all(PREPARE_WORKERS, VOLUMES, prepare_one, l, err);
}

static enum cleat_code on_all(struct lab *l, bench_cycle_fn job, struct cleat_error *err)
{
	return bench_do_all(PREPARE_WORKERS, VOLUMES, job, l, err);
}

static enum cleat_code ask_stats(const struct bench *b, struct lab *ours, struct lab *reference,
				 struct cleat_error *err)
{
	static const struct question stats = { "NodeGetVolumeStats, loop", cycle_stats, STATS_MS_AT_ONE, 0,
					       0 };

	if (on_all(ours, publish_one, err) || (reference && on_all(reference, publish_one, err)) ||
	    ask(b, &stats, ours, reference, err) || on_all(ours, unpublish_one, err))
		return err->code;
	return reference ? on_all(reference, unpublish_one, err) : CLEAT_OK;
}

static enum cleat_code ask_all(const struct bench *b, struct lab *dir, struct lab *loop,
			       struct lab *reference, struct cleat_error *err)
{
	static const struct question probe = { "Probe", cycle_probe, 0, 0, PROBE_CPU_US };
	static const struct question in_dir = { "publish + unpublish, dir", cycle_publish, PUBLISH_MS_AT_ONE,
						PUBLISH_RATE_AT_EIGHT, 0 };
	static const struct question in_loop = { "publish + unpublish, loop", cycle_publish,
						 PUBLISH_MS_AT_ONE, PUBLISH_RATE_AT_EIGHT, 0 };

	if (prepare(dir, err) || prepare(loop, err) || (reference && prepare(reference, err)))
		return err->code;
	if (ask(b, &probe, dir, reference, err) || ask(b, &in_dir, dir, reference, err) ||
	    ask(b, &in_loop, loop, NULL, err))
		return err->code;
	return ask_stats(b, loop, reference, err);
}

enum cleat_code bench_run_csi(struct bench *b, struct cleat_error *err)
{
	struct bench_csi_plugin plugin, other;
	struct bench_daemon d = { .dir = "" };
	struct lab dir = { .plugin = &plugin, .pool = "dir" };
	struct lab loop = { .plugin = &plugin, .pool = "loop" };
	struct lab reference = { .plugin = &other, .pool = "" };
	enum cleat_code code = bench_csi_reference_start(b, &other, err);

	plugin = (struct bench_csi_plugin){ .pool = "" };
	if (code == CLEAT_OK)
		code = bench_csi_daemon_start(
			b, "csi", "  dir: {backend: dir}\n  loop: {backend: loop, overcommit: 100}\n", &d,
			&plugin, err);
	if (code == CLEAT_OK)
		code = ask_all(b, &dir, &loop, other.pid ? &reference : NULL, err);
	bench_csi_daemon_stop(b, &d, &plugin);
	bench_csi_reference_stop(b, &other);
	return code == CLEAT_OK ? bench_run_csi_list(b, err) : code;
}
