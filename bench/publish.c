/* publish.c - publish and unpublish of volumes that are staged already, beside the bare system calls on the
 * same mounts.
 *
 * Each worker has a volume and a target of its own.  That no child process runs is read from the kernel: the
 * page faults of the daemon's children stay what they are (and mke2fs shows before that they are counted).
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define VOLUMES BENCH_MAX_WORKERS
#define IMAGE_BYTES (64u << 20)
#define PREPARE_WORKERS 8
#define ROUNDS 10
#define ROUND_SECONDS 0.3
#define MEDIAN_MS_AT_ONE 1.0
#define RATE_AT_EIGHT 1000
#define MANY_WORKERS_RATIO 0.95 /* "not worse": what rounds differ by anyway */

struct lab {
	struct bench_daemon *daemon;
	const char *pool;
	char ids[VOLUMES][CLEAT_ID_MAX_BYTES + 1];
};

static void target_of(const struct lab *l, unsigned worker, const char *who, char out[BENCH_PATH_BYTES])
{
	snprintf(out, BENCH_PATH_BYTES, "%.400s/%s-%s-%u", l->daemon->targets, l->pool, who, worker);
}

/* ---- ours ---- */

static enum cleat_code cycle_ours(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	struct lab *l = arg;
	char target[BENCH_PATH_BYTES];

	(void)number;
	target_of(l, worker, "ours", target);
	if (bench_publish(l->daemon->client, l->ids[worker], target, err))
		return err->code;
	return bench_unpublish(l->daemon->client, l->ids[worker], target, err);
}

/* ---- the bare system calls ---- */

static enum cleat_code bare_bind(const char *source, const char *target, struct cleat_error *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	cleat_autoclose int fd = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return cleat_error_errno(err, errno, "open_tree '%s'", source);
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return cleat_error_errno(err, errno, "mount_setattr");
	if (move_mount(fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return cleat_error_errno(err, errno, "move_mount to '%s'", target);
	return CLEAT_OK;
}

static enum cleat_code cycle_bare(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	struct lab *l = arg;
	char source[2 * BENCH_PATH_BYTES], target[BENCH_PATH_BYTES];

	(void)number;
	snprintf(source, sizeof(source), "%s/mnt/stage/%s", l->daemon->runtime, l->ids[worker]);
	target_of(l, worker, "bare", target);
	if (mkdir(target, 0755) < 0)
		return cleat_error_errno(err, errno, "mkdir '%s'", target);
	if (bare_bind(source, target, err))
		return err->code;
	if (umount2(target, UMOUNT_NOFOLLOW) < 0)
		return cleat_error_errno(err, errno, "umount2 '%s'", target);
	if (rmdir(target) < 0)
		return cleat_error_errno(err, errno, "rmdir '%s'", target);
	return CLEAT_OK;
}

/* ---- volumes ---- */

static enum cleat_code prepare_one(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	struct lab *l = arg;
	char name[32];

	(void)worker;
	snprintf(name, sizeof(name), "volume-%llu", (unsigned long long)number);
	if (bench_create(l->daemon->client, l->pool, name, IMAGE_BYTES, l->ids[number], err))
		return err->code;
	return bench_stage(l->daemon->client, l->ids[number], err);
}

/* ---- rows ---- */

static void print_latency(const struct lab *l, const struct bench_side *ours, const struct bench_side *bare)
{
	struct bench_row row = {
		.group = "publish", .unit = "ms", .ours = ours->p50_us / 1e3, .peer = bare->p50_us / 1e3
	};

	if (ours->workers == 1) {
		row.target = BENCH_OURS_AT_MOST;
		row.limit = MEDIAN_MS_AT_ONE;
	}
	snprintf(row.measure, sizeof(row.measure), "publish + unpublish, %s, %u at once: median", l->pool,
		 ours->workers);
	bench_row(&row);
}

static void print_rate(const struct lab *l, const struct bench_side *ours, const struct bench_side *bare)
{
	struct bench_row row = { .group = "publish", .unit = "/s", .ours = ours->rate, .peer = bare->rate };

	row.ratio = bench_rate_ratio(ours, bare);
	if (ours->workers == 8) {
		row.target = BENCH_OURS_AT_LEAST;
		row.limit = RATE_AT_EIGHT;
	}
	snprintf(row.measure, sizeof(row.measure), "publish + unpublish, %s, %u at once: cycles", l->pool,
		 ours->workers);
	bench_row(&row);
}

static void print_cpu(const struct lab *l, const struct bench_side *ours, const struct bench_side *bare)
{
	struct bench_row row = {
		.group = "publish", .unit = "us", .ours = ours->cpu_us, .peer = bare->cpu_us
	};

	row.ratio = bench_cpu_ratio(ours, bare);
	snprintf(row.measure, sizeof(row.measure), "publish + unpublish, %s, %u at once: CPU per cycle",
		 l->pool, ours->workers);
	bench_row(&row);
}

static void print_many_workers(const struct lab *l, const struct bench_side *most,
			       const struct bench_side *some)
{
	struct bench_row row = { .group = "publish",
				 .unit = "/s",
				 .ours = most->rate,
				 .peer = some->rate,
				 .ratio = bench_rate_ratio(most, some),
				 .target = BENCH_RATIO_AT_LEAST,
				 .limit = MANY_WORKERS_RATIO };

	snprintf(row.measure, sizeof(row.measure), "publish + unpublish, %s, %u at once (peer: ours, %u)",
		 l->pool, most->workers, some->workers);
	bench_row(&row);
}

static void print_children(const struct lab *l, uint64_t faults)
{
	struct bench_row row = {
		.group = "publish", .unit = "", .peer = -1, .target = BENCH_OURS_AT_MOST, .limit = 0
	};

	row.ours = (double)faults;
	snprintf(row.measure, sizeof(row.measure), "publish + unpublish, %s: page faults of child processes",
		 l->pool);
	bench_row(&row);
}

static enum cleat_code measure(const struct bench *b, struct lab *l, struct cleat_error *err)
{
	const uint64_t faults = bench_children_faults(l->daemon->pid);
	const struct bench_plan plan = { ROUNDS, ROUND_SECONDS };
	const struct bench_side ours = { .cycle = cycle_ours, .arg = l, .pid = l->daemon->pid };
	const struct bench_side bare = { .cycle = cycle_bare, .arg = l };
	struct bench_side sides[BENCH_LOADS][2];

	if (bench_take_turns_at_loads(b, &plan, &ours, &bare, sides, err))
		return err->code;
	for (size_t i = 0; i < BENCH_LOADS; i++) {
		print_latency(l, &sides[i][0], &sides[i][1]);
		print_rate(l, &sides[i][0], &sides[i][1]);
		print_cpu(l, &sides[i][0], &sides[i][1]);
	}
	print_many_workers(l, &sides[2][0], &sides[1][0]);
	print_children(l, bench_children_faults(l->daemon->pid) - faults);
	return CLEAT_OK;
}

static enum cleat_code run_pool(const struct bench *b, struct bench_daemon *d, const char *pool,
				struct cleat_error *err)
{
	struct lab l = { .daemon = d, .pool = pool };

	bench_say("publish: making %d volumes in pool %s", VOLUMES, pool);
	if (bench_do_all(PREPARE_WORKERS, VOLUMES, prepare_one, &l, err))
		return err->code;
	return measure(b, &l, err);
}

enum cleat_code bench_run_publish(struct bench *b, struct cleat_error *err)
{
	struct bench_daemon d;
	enum cleat_code code = bench_daemon_start(
		b, "publish", "  dir: {backend: dir}\n  loop: {backend: loop, overcommit: 100}\n", &d, err);

	if (code == CLEAT_OK)
		code = run_pool(b, &d, "dir", err);
	if (code == CLEAT_OK)
		code = run_pool(b, &d, "loop", err);
	if (code == CLEAT_OK && bench_children_faults(d.pid) == 0)
		code = cleat_error_set(
			err, CLEAT_INTERNAL,
			"this kernel counts no page faults of children, so nothing shows that none ran");
	bench_daemon_stop(b, &d);
	return code;
}
