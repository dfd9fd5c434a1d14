/* loop_lab.c - see loop_lab.h. */
#include "loop_lab.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sys/loop.h"
#include "sys/mount.h"
#include "util/clock.h"

static void make_host(struct bench *bench, const char *fs, uint64_t bytes)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop = { .fd = -1 };
	const char *image = lab_join(bench->lab, "host.img");
	const struct cleat_fs_make_opts how = { .path = image, .bytes = bytes, .keep_fd = -1 };
	int fd = lab_sparse(bench->lab, "host.img", bytes);

	lab_ok(cleat_fs_make(cleat_fs_find(fs), &how, &err), &err);
	lab_ok(cleat_sys_loop_bind(fd, image, CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, 4096, &loop, &err),
	       &err);
	close(fd);
	lab_mkdir(bench->lab, "host");
	snprintf(bench->host, sizeof(bench->host), "%s/host", bench->lab->path);
	lab_ok(cleat_fs_mount(cleat_fs_find(fs), loop.path, bench->host, NULL, 0, false, &err), &err);
	close(loop.fd);
}

static void note_line(const char *line, void *arg)
{
	struct bench *bench = arg;
	size_t n = strlen(bench->found);

	snprintf(bench->found + n, sizeof(bench->found) - n, "%s\n", line);
}

static bool nobody(const char *key, void *arg)
{
	(void)key;
	(void)arg;
	return false;
}

static bool take_all(struct cleat_record *rec, const char *broken, void *arg)
{
	(void)rec;
	(void)broken;
	(void)arg;
	return true;
}

enum cleat_code bench_reopen(struct bench *bench, struct cleat_error *err)
{
	char uuid[sizeof(bench->id.uuid)];
	const struct cleat_pool_options opts = { .name = "bench",
						 .state_dir = bench->lab->path,
						 .runtime_dir = bench->runtime,
						 .config = &bench->config,
						 .expect_uuid = bench->id.uuid[0] ? uuid : NULL,
						 .node = "lab" };

	memcpy(uuid, bench->id.uuid, sizeof(uuid));
	bench->found[0] = '\0';
	enum cleat_code code = bench->b->open(&opts, &bench->pool, &bench->id, err);
	if (!code)
		code = bench->b->recover(bench->pool, nobody, note_line, bench, err);
	return code ? code : bench->b->scan(bench->pool, take_all, NULL, err);
}

void bench_set(struct bench *bench, const char *key, const char *value)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_ok(cleat_kv_set(&bench->config, key, value, &err), &err);
}

void bench_open(struct bench *bench, struct lab *lab, const char *host_fs, uint64_t host_bytes,
		const char *pool_file)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	*bench = (struct bench){ .lab = lab, .b = &cleat_backend_loop };
	snprintf(bench->runtime, sizeof(bench->runtime), "%s/run", lab->path);
	if (*host_fs)
		make_host(bench, host_fs, host_bytes);
	snprintf(bench->path, sizeof(bench->path), "%s%s/pool", lab->path, *host_fs ? "/host" : "");
	assert_int_equal(mkdir(bench->path, 0700), 0);
	bench_set(bench, "path", bench->path);
	bench_set(bench, "pool_file", pool_file);
	lab_ok(bench_reopen(bench, &err), &err);
}

void bench_close(struct bench *bench)
{
	bench->b->close(bench->pool);
	bench->pool = NULL;
}

void bench_done(struct bench *bench)
{
	if (bench->pool)
		bench_close(bench);
	if (*bench->host)
		assert_int_equal(umount2(bench->host, 0), 0);
	cleat_kv_done(&bench->config);
}

const char *bench_data(const struct bench *bench, const char *below)
{
	static char paths[4][512];
	static unsigned next;
	char *path = paths[next++ % 4], inside[LAB_PATH_BYTES + 32];
	struct stat st;

	snprintf(inside, sizeof(inside), "%s/pool/bench", bench->runtime);
	snprintf(path, sizeof(paths[0]), "%s/%s", stat(inside, &st) == 0 ? inside : bench->path, below);
	return path;
}

struct cleat_record *wish(const struct bench *bench, const char *key, const char *fs, uint64_t bytes)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *rec = cleat_record_new(CLEAT_KIND_VOLUME);
	char name[64];

	(void)bench;
	assert_non_null(rec);
	snprintf(name, sizeof(name), "the %s", key);
	lab_ok(cleat_record_set(&rec->key, key, &err), &err);
	lab_ok(cleat_record_set(&rec->name, name, &err), &err);
	lab_ok(cleat_record_set(&rec->fs, fs, &err), &err);
	rec->access_type = *fs ? CLEAT_ACCESS_MOUNT : CLEAT_ACCESS_BLOCK;
	rec->capacity_bytes = bytes;
	return rec;
}

void wish_param(struct cleat_record *rec, const char *key, const char *value)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_ok(cleat_kv_set(&rec->params, key, value, &err), &err);
}

struct cleat_record *made(const struct bench *bench, const struct cleat_record *rec)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *out = NULL;

	lab_ok(bench->b->create(bench->pool, NULL, rec, NULL, NULL, &out, &err), &err);
	assert_non_null(out);
	return out;
}

static void set_source(const struct bench *bench, struct cleat_record *rec, const struct cleat_record *source)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char id[CLEAT_ID_MAX_BYTES + 1];

	snprintf(id, sizeof(id), "%.30s.%.32s", bench->id.stored_name, source->key);
	lab_ok(cleat_record_set(&rec->source, id, &err), &err);
}

struct cleat_record *cloned(const struct bench *bench, const char *key, const struct cleat_record *source,
			    const char *stage)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *rec = wish(bench, key, source->fs, 0), *out = NULL;
	const struct cleat_where where = { .stage_path = stage };

	set_source(bench, rec, source);
	lab_ok(bench->b->create(bench->pool, NULL, rec, source, &where, &out, &err), &err);
	cleat_record_unref(rec);
	return out;
}

struct cleat_record *snapped(const struct bench *bench, const char *key, const struct cleat_record *source,
			     const char *stage)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *rec = wish(bench, key, source->fs, 0), *out = NULL;
	const struct cleat_where where = { .stage_path = stage };
	const struct cleat_record *sources[] = { source }, *recs[] = { rec };

	rec->kind = CLEAT_KIND_SNAPSHOT;
	set_source(bench, rec, source);
	lab_ok(bench->b->snapshot(bench->pool, NULL, sources, &where, recs, 1, &out, &err), &err);
	cleat_record_unref(rec);
	return out;
}

void removed(const struct bench *bench, const struct cleat_record *rec)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_ok(bench->b->remove(bench->pool, NULL, rec, &err), &err);
}

const char *mounted(const struct bench *bench, const struct cleat_record *rec, const char *name)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_source source = { .fd = -1 };
	const char *path = lab_join(bench->lab, name);

	lab_ok(bench->b->map(bench->pool, NULL, rec, false, &source, &err), &err);
	assert_int_equal(source.kind, CLEAT_SOURCE_DEVICE);
	if (!lab_exists(bench->lab, name))
		lab_mkdir(bench->lab, name);
	lab_ok(cleat_fs_mount(cleat_fs_find(rec->fs), source.path, path, NULL, 0, rec->clone, &err), &err);
	close(source.fd);
	return path;
}

void unmounted(const struct bench *bench, const struct cleat_record *rec, const char *name)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_ok(cleat_sys_unmount(lab_join(bench->lab, name), &err), &err);
	lab_ok(bench->b->unmap(bench->pool, NULL, rec, &err), &err);
}

void mapped(const struct bench *bench, const struct cleat_record *rec, bool read_only, char *device,
	    size_t room)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_source source = { .fd = -1 };

	lab_ok(bench->b->map(bench->pool, NULL, rec, read_only, &source, &err), &err);
	close(source.fd);
	snprintf(device, room, "%s", source.path);
}

void expect_loops(const struct bench *bench, int count)
{
	const struct timespec pause = { .tv_nsec = 5000000 };

	for (int64_t end = cleat_time_mono_ms() + 5000; lab_count_loops(bench->lab) != count;
	     nanosleep(&pause, NULL))
		if (cleat_time_mono_ms() > end)
			fail_msg("%d loop devices instead of %d", lab_count_loops(bench->lab), count);
}

void put_file(const char *dir, const char *name, const char *text)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

bool has_file(const char *dir, const char *name)
{
	char path[600];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) == 0;
}

void expect_file(const char *dir, const char *name, const char *text)
{
	char path[600], got[256] = "";

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, got, sizeof(got) - 1) >= 0);
	close(fd);
	assert_string_equal(got, text);
}
