/* call.c - an empty call that is answered on the poller (health Check), beside a minimal grpc-go server: the
 * same load generator against both. */
#include "bench.h"

#define ROUNDS 16
#define ROUND_SECONDS 0.3
#define CPU_RATIO 0.6

static enum cleat_code check(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	(void)worker;
	(void)number;
	return bench_health(arg, err);
}

/* ---- the peer ---- */

struct peer {
	pid_t pid;
	struct cleat_rpc_client *client;
};

static enum cleat_code peer_start(const struct bench *b, struct peer *p, struct cleat_error *err)
{
	char log[BENCH_PATH_BYTES], socket[BENCH_PATH_BYTES];
	const char *argv[] = { b->goserver, "-socket", socket, NULL };

	snprintf(socket, sizeof(socket), "%.400s/go", b->work);
	snprintf(log, sizeof(log), "%.400s/goserver.log", b->work);
	if (bench_spawn(b, argv, log, &p->pid, err) || bench_wait_for_socket(socket, err) ||
	    bench_client(socket, &p->client, err))
		return err->code;
	return bench_health(p->client, err);
}

static void peer_stop(const struct bench *b, struct peer *p)
{
	cleat_rpc_client_free(p->client);
	bench_end_process(b, p->pid);
}

/* ---- rows ---- */

static void print_rows(const struct bench_side *ours, const struct bench_side *peer)
{
	struct bench_row row = {
		.group = "call", .unit = "us", .target = BENCH_RATIO_AT_MOST, .limit = CPU_RATIO
	};

	snprintf(row.measure, sizeof(row.measure), "empty call, %u at once: server CPU per call",
		 ours->workers);
	row.ours = ours->cpu_us;
	row.peer = peer ? peer->cpu_us : -1;
	row.ratio = bench_cpu_ratio(ours, peer);
	bench_row(&row);
	row.target = BENCH_NO_TARGET;
	snprintf(row.measure, sizeof(row.measure), "empty call, %u at once: median", ours->workers);
	row.ours = ours->p50_us;
	row.peer = peer ? peer->p50_us : -1;
	row.ratio = 0;
	bench_row(&row);
	row.unit = "/s";
	snprintf(row.measure, sizeof(row.measure), "empty call, %u at once: calls", ours->workers);
	row.ours = ours->rate;
	row.peer = peer ? peer->rate : -1;
	row.ratio = bench_rate_ratio(ours, peer);
	bench_row(&row);
}

static enum cleat_code measure(const struct bench *b, const struct bench_daemon *d, const struct peer *p,
			       struct cleat_error *err)
{
	const struct bench_plan plan = { ROUNDS, ROUND_SECONDS };
	const struct bench_side ours = { .cycle = check, .arg = d->client, .pid = d->pid };
	const struct bench_side peer = { .cycle = check, .arg = p->client, .pid = p->pid };
	struct bench_side sides[BENCH_LOADS][2];

	if (bench_take_turns_at_loads(b, &plan, &ours, p->pid ? &peer : NULL, sides, err))
		return err->code;
	for (size_t i = 0; i < BENCH_LOADS; i++)
		print_rows(&sides[i][0], p->pid ? &sides[i][1] : NULL);
	return CLEAT_OK;
}

enum cleat_code bench_run_call(struct bench *b, struct cleat_error *err)
{
	struct bench_daemon d;
	struct peer p = { 0 };
	enum cleat_code code = bench_daemon_start(b, "call", "  bench: {backend: dir}\n", &d, err);

	if (code == CLEAT_OK && b->goserver)
		code = peer_start(b, &p, err);
	if (code == CLEAT_OK)
		code = measure(b, &d, &p, err);
	peer_stop(b, &p);
	bench_daemon_stop(b, &d);
	return code;
}
