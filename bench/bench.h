/* bench.h - what the benchmarks share: a daemon on a private directory, closed loops of workers, and the rows
 * of the table.
 *
 * The method, everywhere: ours and the peer take turns in short rounds, so that whatever else the machine
 * does hits both alike; rates and processor time are medians over the rounds, latencies come from all cycles
 * together.  Ratios and processor time per call can be believed on a busy machine; absolute numbers only on a
 * quiet one.
 */
#ifndef CLEAT_BENCH_H
#define CLEAT_BENCH_H

#include <cleat/error.h>
#include <cleat/record.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#include "rt/client.h"
#include "util/mem.h"

#define BENCH_PATH_BYTES 512
#define BENCH_MAX_WORKERS 64
#define BENCH_MAX_ROUNDS 40
#define BENCH_MAX_SIDES 6
#define BENCH_MAX_KEPT 4 /* filled daemons */

struct bench_daemon;

struct bench {
	const char *work;      /* private directory on the file system to be measured; exists */
	const char *cleatd;    /* program */
	const char *goserver;  /* program; NULL: that peer is left out */
	const char *reference; /* CSI's reference driver; NULL: likewise */
	double scale;	       /* of the length of rounds; 1 is what the tables are made with */
	struct bench_daemon *kept[BENCH_MAX_KEPT]; /* see bench_daemon_filled() */
};

/* ---- rows (table.c) ---- */

enum bench_target {
	BENCH_NO_TARGET, /* told, not judged */
	BENCH_OURS_AT_MOST,
	BENCH_OURS_AT_LEAST,
	BENCH_RATIO_AT_MOST,
	BENCH_RATIO_AT_LEAST,
};

struct bench_row {
	const char *group; /* name of the benchmark */
	char measure[96];
	double ours, peer; /* peer below 0: there is none */
	double ratio;	   /* 0: of ours to peer as they stand here */
	const char *unit;  /* "ms", "us", "/s", "MiB", "" */
	enum bench_target target;
	double limit;
};

/* Prints the row to standard output, fields separated by tabs: group, measure, ours, peer, ratio, target,
 * met. */
void bench_row(const struct bench_row *row);
/* One line for whoever watches, to standard error. */
void bench_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- loops of workers (load.c) ---- */

/* One cycle of one worker; number counts that worker's cycles. */
typedef enum cleat_code (*bench_cycle_fn)(void *arg, unsigned worker, uint64_t number,
					  struct cleat_error *err);

/* One of those who take turns. */
struct bench_side {
	bench_cycle_fn cycle;
	void *arg;
	unsigned workers;
	pid_t pid; /* whose processor time counts; 0: this process (the bare system calls) */
	/* Results: of each round, and medians over them. */
	double rates[BENCH_MAX_ROUNDS];	  /* cycles per second */
	double cpus_us[BENCH_MAX_ROUNDS]; /* of pid, per cycle, without its children */
	size_t rounds;
	double rate, cpu_us;
	double p50_us, p99_us; /* of all cycles */
};

struct bench_plan {
	unsigned rounds;
	double round_seconds;
};

/* Lets the sides take turns; each first runs for one short round that does not count. */
enum cleat_code bench_take_turns(const struct bench *b, const struct bench_plan *plan,
				 struct bench_side *sides, size_t count,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* The same for ours and a peer (NULL: none) at 1, 8 and 64 workers, all six in turn: so that numbers of
 * workers can be compared as well. */
#define BENCH_LOADS 3
extern const unsigned bench_loads[BENCH_LOADS];
enum cleat_code bench_take_turns_at_loads(const struct bench *b, const struct bench_plan *plan,
					  const struct bench_side *ours, const struct bench_side *peer,
					  struct bench_side out[BENCH_LOADS][2],
					  struct cleat_error *err) CLEAT_MUST_CHECK;
/* Medians of the ratios of rounds next to each other, which noise disturbs less than the ratio of two
 * medians; -1 without rounds of both. */
double bench_rate_ratio(const struct bench_side *ours, const struct bench_side *peer);
double bench_cpu_ratio(const struct bench_side *ours, const struct bench_side *peer);
/* Runs cycles number 0..total-1 once each, spread over the workers (the number is the job's, not the
 * worker's). */
enum cleat_code bench_do_all(unsigned workers, uint64_t total, bench_cycle_fn cycle, void *arg,
			     struct cleat_error *err) CLEAT_MUST_CHECK;
double bench_median(double *values, size_t count); /* sorts them */
double bench_now_ms(void);

/* ---- processes (proc.c) ---- */

/* Starts argv[0] (a path) with output and errors appended to the file log, and leaves its id in <work>/pids/,
 * where a cleaner finds it. */
enum cleat_code bench_spawn(const struct bench *b, const char *const *argv, const char *log, pid_t *pid_out,
			    struct cleat_error *err) CLEAT_MUST_CHECK;
/* SIGTERM, and waits; SIGKILL after ten seconds. */
void bench_end_process(const struct bench *b, pid_t pid);
double bench_cpu_us(pid_t pid); /* processor time so far, of all threads; 0: this process */
/* Minor page faults of the children that pid has waited for (proc(5), field cminflt): any child that ran a
 * program made some. */
uint64_t bench_children_faults(pid_t pid);
/* A line "<key>: n kB" of /proc/<pid>/status, in MiB. */
double bench_status_mib(pid_t pid, const char *key);
/* Unmounts everything below path, and what is stacked on it. */
void bench_unmount_below(const char *path);

/* ---- a daemon (daemon.c) ---- */

struct bench_daemon {
	pid_t pid;
	char dir[BENCH_PATH_BYTES]; /* state, runtime, targets lie below */
	char runtime[BENCH_PATH_BYTES + 16], targets[BENCH_PATH_BYTES + 16], socket[BENCH_PATH_BYTES + 32];
	struct cleat_rpc_client *client;
	uint64_t filled; /* volumes made by bench_daemon_filled() */
};

/* Starts cleatd on <work>/<name>/ with the pools of the YAML text (NULL: no configuration at all), waits
 * until it answers and every pool is online. */
enum cleat_code bench_daemon_start(const struct bench *b, const char *name, const char *pools,
				   struct bench_daemon *d, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Ends it and starts it again on the same directory; *health_ms_out and *volume_ms_out (may be NULL) are the
 * times from exec to the first answer of health, and of a volume call (of the volume id; NULL: a list). */
enum cleat_code bench_daemon_restart(const struct bench *b, struct bench_daemon *d, const char *id,
				     double *health_ms_out, double *volume_ms_out,
				     struct cleat_error *err) CLEAT_MUST_CHECK;
/* Ends it and removes its mounts and files. */
void bench_daemon_stop(const struct bench *b, struct bench_daemon *d);
/* A daemon with a `dir` pool named "many" that holds `count` volumes; made once, kept until
 * bench_daemons_stop(). */
enum cleat_code bench_daemon_filled(struct bench *b, uint64_t count, struct bench_daemon **out,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
void bench_daemons_stop(struct bench *b);
/* Waits until somebody accepts connections there. */
enum cleat_code bench_wait_for_socket(const char *path, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_client(const char *socket, struct cleat_rpc_client **out,
			     struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- calls (api.c) ---- */

enum cleat_code bench_health(struct cleat_rpc_client *c, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_pools_online(struct cleat_rpc_client *c, bool *online_out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_create(struct cleat_rpc_client *c, const char *pool, const char *name, uint64_t bytes,
			     char id_out[CLEAT_ID_MAX_BYTES + 1], struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_delete(struct cleat_rpc_client *c, const char *id,
			     struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_get(struct cleat_rpc_client *c, const char *id,
			  struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_stage(struct cleat_rpc_client *c, const char *id,
			    struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_publish(struct cleat_rpc_client *c, const char *id, const char *target,
			      struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_unpublish(struct cleat_rpc_client *c, const char *id, const char *target,
				struct cleat_error *err) CLEAT_MUST_CHECK;

#define BENCH_TOKEN_BYTES 128
/* The page after token, which becomes that of the next one ("" at the end); first_id_out may be NULL. */
enum cleat_code bench_list(struct cleat_rpc_client *c, unsigned page, char token[BENCH_TOKEN_BYTES],
			   size_t *count_out, char *first_id_out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- CSI (csi_api.c): the same calls to ours and to the reference driver ---- */

enum cleat_code bench_csi_probe(struct cleat_rpc_client *c, struct cleat_error *err) CLEAT_MUST_CHECK;
/* pool "": no parameter at all. */
enum cleat_code bench_csi_create(struct cleat_rpc_client *c, const char *pool, const char *name,
				 uint64_t bytes, char id_out[CLEAT_ID_MAX_BYTES + 1],
				 struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_csi_delete(struct cleat_rpc_client *c, const char *id,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* The directory `staging` exists. */
enum cleat_code bench_csi_stage(struct cleat_rpc_client *c, const char *id, const char *staging,
				struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_csi_publish(struct cleat_rpc_client *c, const char *id, const char *staging,
				  const char *target, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_csi_unpublish(struct cleat_rpc_client *c, const char *id, const char *target,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_csi_stats(struct cleat_rpc_client *c, const char *id, const char *path,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* As bench_list(). */
enum cleat_code bench_csi_list(struct cleat_rpc_client *c, unsigned most, char token[BENCH_TOKEN_BYTES],
			       size_t *count_out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Whoever serves CSI (csi.c). */
struct bench_csi_plugin {
	pid_t pid; /* 0: there is none */
	struct cleat_rpc_client *client;
	const char *pool;		     /* for what is made there; "" for the reference */
	char targets[BENCH_PATH_BYTES + 16]; /* directory for staging paths and targets */
};
/* A daemon with the pools of the YAML text that serves CSI, too. */
enum cleat_code bench_csi_daemon_start(const struct bench *b, const char *name, const char *pools,
				       struct bench_daemon *d, struct bench_csi_plugin *p,
				       struct cleat_error *err) CLEAT_MUST_CHECK;
void bench_csi_daemon_stop(const struct bench *b, struct bench_daemon *d, struct bench_csi_plugin *p);
/* One at a time; none is started when no program is given. */
enum cleat_code bench_csi_reference_start(const struct bench *b, struct bench_csi_plugin *p,
					  struct cleat_error *err) CLEAT_MUST_CHECK;
void bench_csi_reference_stop(const struct bench *b, struct bench_csi_plugin *p);

/* ---- the benchmarks, one a file ---- */

enum cleat_code bench_run_call(struct bench *b, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_run_publish(struct bench *b, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_run_create(struct bench *b, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_run_flat(struct bench *b, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_run_list(struct bench *b, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_run_mount(struct bench *b, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_run_csi(struct bench *b, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_run_csi_list(struct bench *b, struct cleat_error *err) CLEAT_MUST_CHECK; /* its end */
enum cleat_code bench_run_memory(struct bench *b, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code bench_run_start(struct bench *b, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
