/* create.c - create and delete of a `dir` volume, durable, beside a peer that makes the same synced system
 * calls; and the same with many volumes in the pool. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define ROUNDS 10
#define ROUND_SECONDS 0.4
#define RATE_RATIO 0.6
#define FLAT_WORKERS 8
#define FLAT_RATIO 0.9 /* "flat": what rounds differ by anyway */

/* ---- ours ---- */

static enum cleat_code cycle_ours(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	struct bench_daemon *d = arg;
	char name[64], id[CLEAT_ID_MAX_BYTES + 1];

	snprintf(name, sizeof(name), "worker-%u-%llu", worker, (unsigned long long)number);
	if (bench_create(d->client, "many", name, 0, id, err))
		return err->code;
	return bench_delete(d->client, id, err);
}

/* ---- the same system calls, bare ---- */

struct bare {
	int new_fd, volumes_fd, trash_fd;
};

/* As long as a record is. */
static const char record[] = "{\"format\":1,\"kind\":\"volume\",\"key\":\"0123456789abcdef\",\"name\":"
			     "\"worker-12-345678\",\"scope\":\"\","
			     "\"capacity\":0,\"access\":\"mount\",\"created\":1760000000000,\"attributes\":{"
			     "\"enforces_size\":\"false\"}}\n";

static enum cleat_code failed(struct cleat_error *err, const char *what)
{
	return cleat_error_errno(err, errno, "%s", what);
}

static enum cleat_code bare_create(const struct bare *p, const char *name, struct cleat_error *err)
{
	if (mkdirat(p->new_fd, name, 0700) < 0)
		return failed(err, "mkdir attempt");
	cleat_autoclose int dir = openat(p->new_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || mkdirat(dir, "data", 0755) < 0)
		return failed(err, "mkdir data");
	cleat_autoclose int file = openat(dir, "record.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file < 0 || write(file, record, strlen(record)) < 0 || fsync(file) < 0)
		return failed(err, "write record");
	if (fsync(dir) < 0)
		return failed(err, "fsync attempt");
	if (renameat(p->new_fd, name, p->volumes_fd, name) < 0 || fsync(p->volumes_fd) < 0)
		return failed(err, "rename to volumes");
	return CLEAT_OK;
}

static enum cleat_code bare_remove(const struct bare *p, const char *name, struct cleat_error *err)
{
	if (renameat(p->volumes_fd, name, p->trash_fd, name) < 0 || fsync(p->volumes_fd) < 0)
		return failed(err, "rename to trash");
	cleat_autoclose int dir = openat(p->trash_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || unlinkat(dir, "record.json", 0) < 0 || unlinkat(dir, "data", AT_REMOVEDIR) < 0)
		return failed(err, "empty the trash");
	return unlinkat(p->trash_fd, name, AT_REMOVEDIR) < 0 ? failed(err, "rmdir") : CLEAT_OK;
}

static enum cleat_code cycle_bare(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	char name[64];

	snprintf(name, sizeof(name), "worker-%u-%llu", worker, (unsigned long long)number);
	return bare_create(arg, name, err) ? err->code : bare_remove(arg, name, err);
}

static int open_room(const struct bench_daemon *d, const char *name)
{
	char path[BENCH_PATH_BYTES + 32];

	snprintf(path, sizeof(path), "%s/%s", d->dir, name);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -1;
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static enum cleat_code bare_open(const struct bench_daemon *d, struct bare *p, struct cleat_error *err)
{
	*p = (struct bare){ open_room(d, "bare-new"), open_room(d, "bare-volumes"),
			    open_room(d, "bare-trash") };
	return p->new_fd < 0 || p->volumes_fd < 0 || p->trash_fd < 0
		       ? failed(err, "make the peer's directories")
		       : CLEAT_OK;
}

static void bare_close(struct bare *p)
{
	cleat_cleanup_close(&p->new_fd);
	cleat_cleanup_close(&p->volumes_fd);
	cleat_cleanup_close(&p->trash_fd);
}

/* ---- rows ---- */

static void print_rows(const struct bench_side *ours, const struct bench_side *bare)
{
	struct bench_row row = {
		.group = "create", .unit = "/s", .target = BENCH_RATIO_AT_LEAST, .limit = RATE_RATIO
	};

	snprintf(row.measure, sizeof(row.measure), "create + delete, dir, %u at once: cycles", ours->workers);
	row.ours = ours->rate;
	row.peer = bare->rate;
	row.ratio = bench_rate_ratio(ours, bare);
	bench_row(&row);
	row.target = BENCH_NO_TARGET;
	row.unit = "us";
	snprintf(row.measure, sizeof(row.measure), "create + delete, dir, %u at once: CPU per cycle",
		 ours->workers);
	row.ours = ours->cpu_us;
	row.peer = bare->cpu_us;
	row.ratio = bench_cpu_ratio(ours, bare);
	bench_row(&row);
}

static enum cleat_code measure(const struct bench *b, struct bench_daemon *d, struct bare *p,
			       struct cleat_error *err)
{
	const struct bench_plan plan = { ROUNDS, ROUND_SECONDS };
	const struct bench_side ours = { .cycle = cycle_ours, .arg = d, .pid = d->pid };
	const struct bench_side bare = { .cycle = cycle_bare, .arg = p };
	struct bench_side sides[BENCH_LOADS][2];

	if (bench_take_turns_at_loads(b, &plan, &ours, &bare, sides, err))
		return err->code;
	for (size_t i = 0; i < BENCH_LOADS; i++)
		print_rows(&sides[i][0], &sides[i][1]);
	return CLEAT_OK;
}

enum cleat_code bench_run_create(struct bench *b, struct cleat_error *err)
{
	struct bench_daemon *d;
	struct bare p = { -1, -1, -1 };
	enum cleat_code code = bench_daemon_filled(b, 0, &d, err);

	if (code == CLEAT_OK)
		code = bare_open(d, &p, err);
	if (code == CLEAT_OK)
		code = measure(b, d, &p, err);
	bare_close(&p);
	return code;
}

/* ---- with many volumes ---- */

enum cleat_code bench_run_flat(struct bench *b, struct cleat_error *err)
{
	static const uint64_t totals[] = { 0, 1000, 10000 };
	const struct bench_plan plan = { ROUNDS, ROUND_SECONDS };
	struct bench_side sides[CLEAT_COUNT(totals)] = { 0 };

	for (size_t i = 0; i < CLEAT_COUNT(totals); i++) {
		struct bench_daemon *d;
		if (bench_daemon_filled(b, totals[i], &d, err))
			return err->code;
		sides[i] = (struct bench_side){
			.cycle = cycle_ours, .arg = d, .workers = FLAT_WORKERS, .pid = d->pid
		};
	}
	if (bench_take_turns(b, &plan, sides, CLEAT_COUNT(sides), err))
		return err->code;
	for (size_t i = 1; i < CLEAT_COUNT(totals); i++) {
		struct bench_row row = { .group = "flat",
					 .unit = "/s",
					 .ours = sides[i].rate,
					 .peer = sides[0].rate,
					 .ratio = bench_rate_ratio(&sides[i], &sides[0]),
					 .target = BENCH_RATIO_AT_LEAST,
					 .limit = FLAT_RATIO };
		snprintf(row.measure, sizeof(row.measure),
			 "create + delete, dir, %d at once, beside %llu volumes (peer: 0)", FLAT_WORKERS,
			 (unsigned long long)totals[i]);
		bench_row(&row);
	}
	return CLEAT_OK;
}
