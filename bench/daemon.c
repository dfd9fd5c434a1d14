/* daemon.c - cleatd on a private directory.  See bench.h. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define UP_LIMIT_MS 30000
#define POLL_US 200
#define FILL_WORKERS 16

/* ---- files ---- */

static enum cleat_code make_dir(const char *path, struct cleat_error *err)
{
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return CLEAT_OK;
	return cleat_error_errno(err, errno, "make '%s'", path);
}

static enum cleat_code write_config(const char *path, const char *pools, struct cleat_error *err)
{
	cleat_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || dprintf(fd, "pools:\n%s", pools) < 0)
		return cleat_error_errno(err, errno, "write '%s'", path);
	return CLEAT_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)at;
	return type == FTW_DP ? rmdir(path) : unlink(path);
}

/* ---- up and answering ---- */

static void pause_us(long us)
{
	nanosleep(&(struct timespec){ 0, us * 1000 }, NULL);
}

static bool accepts(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	cleat_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0;
}

/* The client of the library would wait a tenth of a second between its tries: the socket is watched by hand.
 */
enum cleat_code bench_wait_for_socket(const char *path, struct cleat_error *err)
{
	const double until_ms = bench_now_ms() + UP_LIMIT_MS;

	while (!accepts(path)) {
		if (bench_now_ms() > until_ms)
			return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED, "nobody listens on '%s'", path);
		pause_us(POLL_US);
	}
	return CLEAT_OK;
}

static enum cleat_code wait_for_volumes(struct bench_daemon *d, const char *id, struct cleat_error *err)
{
	const double until_ms = bench_now_ms() + UP_LIMIT_MS;
	bool online = false;

	for (;;) {
		struct cleat_error now = CLEAT_ERROR_INIT;
		if (id ? bench_get(d->client, id, &now) == CLEAT_OK
		       : bench_pools_online(d->client, &online, &now) == CLEAT_OK && online)
			return CLEAT_OK;
		if (bench_now_ms() > until_ms)
			return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED, "no volume call works: %s",
					       now.msg);
		pause_us(POLL_US);
	}
}

/* exec, first health answer, first answer of a volume call. */
static enum cleat_code bring_up(const struct bench *b, struct bench_daemon *d, const char *id,
				double *health_ms_out, double *volume_ms_out, struct cleat_error *err)
{
	char config[BENCH_PATH_BYTES + 16], state[BENCH_PATH_BYTES + 16], log[BENCH_PATH_BYTES + 16];
	const char *argv[16] = { b->cleatd,  "--state-dir", state,    "--runtime-dir", d->runtime,
				 "--socket", d->socket,	    "--node", "bench",	       "--any-namespace" };
	const size_t fixed = 10;

	snprintf(config, sizeof(config), "%s/cleatd.yaml", d->dir);
	snprintf(state, sizeof(state), "%s/state", d->dir);
	snprintf(log, sizeof(log), "%s/log", d->dir);
	if (access(config, F_OK) == 0) {
		argv[fixed] = "--config";
		argv[fixed + 1] = config;
	}
	const double begin_ms = bench_now_ms();
	if (bench_spawn(b, argv, log, &d->pid, err) || bench_wait_for_socket(d->socket, err) ||
	    bench_client(d->socket, &d->client, err) || bench_health(d->client, err))
		return err->code;
	*health_ms_out = bench_now_ms() - begin_ms;
	if (wait_for_volumes(d, id, err))
		return err->code;
	*volume_ms_out = bench_now_ms() - begin_ms;
	return CLEAT_OK;
}

enum cleat_code bench_daemon_start(const struct bench *b, const char *name, const char *pools,
				   struct bench_daemon *d, struct cleat_error *err)
{
	char config[BENCH_PATH_BYTES + 16];
	double health_ms, volume_ms;

	*d = (struct bench_daemon){ 0 };
	snprintf(d->dir, sizeof(d->dir), "%s/%s", b->work, name);
	snprintf(d->runtime, sizeof(d->runtime), "%s/run", d->dir);
	snprintf(d->targets, sizeof(d->targets), "%s/targets", d->dir);
	snprintf(d->socket, sizeof(d->socket), "%s/s", d->dir);
	snprintf(config, sizeof(config), "%s/cleatd.yaml", d->dir);
	if (make_dir(d->dir, err) || make_dir(d->targets, err) || (pools && write_config(config, pools, err)))
		return err->code;
	return bring_up(b, d, NULL, &health_ms, &volume_ms, err);
}

static void end_daemon(const struct bench *b, struct bench_daemon *d)
{
	cleat_rpc_client_free(d->client);
	d->client = NULL;
	bench_end_process(b, d->pid);
	d->pid = 0;
}

enum cleat_code bench_daemon_restart(const struct bench *b, struct bench_daemon *d, const char *id,
				     double *health_ms_out, double *volume_ms_out, struct cleat_error *err)
{
	double health_ms, volume_ms;

	end_daemon(b, d);
	return bring_up(b, d, id, health_ms_out ? health_ms_out : &health_ms,
			volume_ms_out ? volume_ms_out : &volume_ms, err);
}

void bench_daemon_stop(const struct bench *b, struct bench_daemon *d)
{
	char below[BENCH_PATH_BYTES + 2];

	if (!d->dir[0])
		return;
	end_daemon(b, d);
	snprintf(below, sizeof(below), "%s/", d->dir);
	bench_unmount_below(below);
	if (nftw(d->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		bench_say("'%s' cannot be removed: %s", d->dir, strerror(errno));
	d->dir[0] = '\0';
}

/* ---- a daemon with many volumes ---- */

static enum cleat_code fill_one(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	struct bench_daemon *d = arg;
	char name[32], id[CLEAT_ID_MAX_BYTES + 1];

	(void)worker;
	snprintf(name, sizeof(name), "filled-%06llu", (unsigned long long)number);
	return bench_create(d->client, "many", name, 0, id, err);
}

static enum cleat_code new_filled(const struct bench *b, uint64_t count, struct bench_daemon *d,
				  struct cleat_error *err)
{
	char name[32];

	snprintf(name, sizeof(name), "f%llu", (unsigned long long)count);
	if (bench_daemon_start(b, name, "  many: {backend: dir}\n", d, err))
		return err->code;
	bench_say("making %llu volumes", (unsigned long long)count);
	if (bench_do_all(FILL_WORKERS, count, fill_one, d, err))
		return err->code;
	d->filled = count;
	return CLEAT_OK;
}

enum cleat_code bench_daemon_filled(struct bench *b, uint64_t count, struct bench_daemon **out,
				    struct cleat_error *err)
{
	size_t i = 0;

	for (; i < BENCH_MAX_KEPT && b->kept[i]; i++)
		if (b->kept[i]->filled == count)
			return *out = b->kept[i], CLEAT_OK;
	if (i == BENCH_MAX_KEPT || !(b->kept[i] = calloc(1, sizeof(*b->kept[i]))))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no room for one more daemon");
	*out = b->kept[i];
	return new_filled(b, count, b->kept[i], err);
}

void bench_daemons_stop(struct bench *b)
{
	for (size_t i = 0; i < BENCH_MAX_KEPT && b->kept[i]; i++) {
		bench_daemon_stop(b, b->kept[i]);
		free(b->kept[i]);
		b->kept[i] = NULL;
	}
}
