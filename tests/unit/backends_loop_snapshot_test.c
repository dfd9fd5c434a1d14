/* The loop backend: snapshots, clones, groups of snapshots with their guardian, and adopted images. */
#include "loop_lab.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/guardian.h"
#include "sys/hook.h"
#include "sys/loop.h"
#include "sys/mount.h"
#include "util/clock.h"

/* A path of the lab that no later one writes over. */
struct path {
	char text[LAB_PATH_BYTES + 80];
};

static struct path path_of(const struct lab *lab, const char *name)
{
	struct path p;

	snprintf(p.text, sizeof(p.text), "%s/%.70s", lab->path, name);
	return p;
}

/* ---- snapshots and clones ---- */

/* A volume in use is snapshotted, changed, restored, and both are mounted side by side. */
static void check_restore(struct bench *bench, const char *fs, uint64_t bytes)
{
	struct cleat_record *rec = wish(bench, "orig", fs, bytes), *vol = made(bench, rec), *snap, *clone,
			    *second;
	const struct path one = path_of(bench->lab, "one"), two = path_of(bench->lab, "two"),
			  three = path_of(bench->lab, "three");

	mounted(bench, vol, "one");
	put_file(one.text, "f", "before");
	snap = snapped(bench, "snap", vol, one.text);
	assert_int_equal(snap->kind, CLEAT_KIND_SNAPSHOT);
	assert_int_equal(snap->capacity_bytes, bytes);
	put_file(one.text, "f", "after");
	clone = cloned(bench, "clone", snap, NULL);
	assert_int_equal(clone->kind, CLEAT_KIND_VOLUME);
	assert_true(clone->clone && clone->formatted);
	mounted(bench, clone, "two");
	expect_file(one.text, "f", "after");
	expect_file(two.text, "f", "before");
	put_file(two.text, "f", "clone");
	/* A volume can be cloned without a snapshot, in use, and a clone again. */
	second = cloned(bench, "second", clone, two.text);
	put_file(two.text, "f", "clone, later");
	mounted(bench, second, "three");
	expect_file(three.text, "f", "clone");
	expect_file(one.text, "f", "after");
	unmounted(bench, vol, "one");
	removed(bench, vol);
	unmounted(bench, second, "three");
	unmounted(bench, clone, "two");
	removed(bench, snap);
	removed(bench, clone);
	removed(bench, second);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(snap);
	cleat_record_unref(clone);
	cleat_record_unref(second);
}

static void test_snapshot__restores_in_a_pool_file(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "", 0, "always");
	check_restore(&bench, "ext4", 64 * LAB_MIB);
	check_restore(&bench, "xfs", 320 * LAB_MIB);
	check_restore(&bench, "btrfs", 256 * LAB_MIB);
	bench_done(&bench);
}

static void test_snapshot__restores_on_a_host_that_shares_blocks(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "btrfs", 2 * LAB_GIB, "auto");
	check_restore(&bench, "ext4", 64 * LAB_MIB);
	check_restore(&bench, "xfs", 320 * LAB_MIB);
	bench_done(&bench);
}

static void test_snapshot__of_a_block_volume_has_what_was_written(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	char device[64], text[8] = "";

	bench_open(&bench, *state, "", 0, "always");
	struct cleat_record *rec = wish(&bench, "b", "", 8 * LAB_MIB), *vol = made(&bench, rec), *snap,
			    *clone;
	mapped(&bench, vol, false, device, sizeof(device));
	int fd = open(device, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "old", 3, 0), 3);
	snap = snapped(&bench, "s", vol, NULL);
	assert_int_equal(pwrite(fd, "new", 3, 0), 3);
	close(fd);
	clone = cloned(&bench, "c", snap, NULL);
	lab_ok(bench.b->unmap(bench.pool, NULL, vol, &err), &err);
	mapped(&bench, clone, false, device, sizeof(device));
	fd = open(device, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, text, 3, 0), 3);
	assert_string_equal(text, "old");
	close(fd);
	removed(&bench, clone);
	removed(&bench, snap);
	removed(&bench, vol);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(snap);
	cleat_record_unref(clone);
	bench_done(&bench);
}

static void test_snapshot__copies_only_what_is_not_in_use(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	const struct path one = path_of(*state, "one"), two = path_of(*state, "two");

	bench_open(&bench, *state, "ext4", LAB_GIB, "never");
	struct cleat_record *rec = wish(&bench, "orig", "ext4", 64 * LAB_MIB), *vol = made(&bench, rec),
			    *snap, *clone;
	struct cleat_record *wanted = cleat_record_copy(vol), *out = NULL;
	const struct cleat_where where = { .stage_path = one.text };
	const struct cleat_record *sources[] = { vol }, *recs[] = { wanted };
	mounted(&bench, vol, "one");
	put_file(one.text, "f", "before");
	assert_int_equal(cleat_record_set(&wanted->key, "snap", NULL), CLEAT_OK);
	lab_expect(bench.b->snapshot(bench.pool, NULL, sources, &where, recs, 1, &out, &err), &err,
		   CLEAT_FAILED_PRECONDITION, "while the volume is unpublished");
	unmounted(&bench, vol, "one");
	snap = snapped(&bench, "snap", vol, NULL);
	mounted(&bench, vol, "one");
	put_file(one.text, "f", "after");
	clone = cloned(&bench, "clone", snap, NULL);
	mounted(&bench, clone, "two");
	expect_file(two.text, "f", "before");
	unmounted(&bench, clone, "two");
	unmounted(&bench, vol, "one");
	removed(&bench, vol);
	removed(&bench, snap);
	removed(&bench, clone);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(snap);
	cleat_record_unref(clone);
	cleat_record_unref(wanted);
	bench_done(&bench);
}

static void test_clone__may_be_larger_and_grows_at_its_first_mount(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_source source = { .fd = -1 };
	struct bench bench;
	struct statvfs sv;

	bench_open(&bench, *state, "", 0, "always");
	struct cleat_record *rec = wish(&bench, "orig", "ext4", 64 * LAB_MIB), *vol = made(&bench, rec),
			    *clone = NULL;
	struct cleat_record *larger = wish(&bench, "clone", "ext4", 128 * LAB_MIB);
	lab_ok(bench.b->create(bench.pool, NULL, larger, vol, NULL, &clone, &err), &err);
	assert_int_equal(clone->capacity_bytes, 128 * LAB_MIB);
	assert_int_equal(clone->fs_bytes, 64 * LAB_MIB);
	lab_ok(bench.b->map(bench.pool, NULL, clone, false, &source, &err), &err);
	lab_ok(cleat_fs_grow_unmounted(cleat_fs_find("ext4"), source.path, source.fd, &err), &err);
	close(source.fd);
	assert_int_equal(statvfs(mounted(&bench, clone, "mnt"), &sv), 0);
	assert_true(sv.f_blocks * sv.f_frsize > 96 * LAB_MIB);
	unmounted(&bench, clone, "mnt");
	removed(&bench, clone);
	cleat_record_unref(clone);
	clone = NULL;
	larger->capacity_bytes = 32 * LAB_MIB;
	lab_expect(bench.b->create(bench.pool, NULL, larger, vol, NULL, &clone, &err), &err,
		   CLEAT_OUT_OF_RANGE, "smaller than");
	larger->capacity_bytes = 0;
	assert_int_equal(cleat_record_set(&larger->fs, "xfs", NULL), CLEAT_OK);
	lab_expect(bench.b->create(bench.pool, NULL, larger, vol, NULL, &clone, &err), &err,
		   CLEAT_INVALID_ARGUMENT, "not 'xfs'");
	larger->access_type = CLEAT_ACCESS_BLOCK;
	lab_expect(bench.b->create(bench.pool, NULL, larger, vol, NULL, &clone, &err), &err,
		   CLEAT_INVALID_ARGUMENT, "access type");
	removed(&bench, vol);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(larger);
	bench_done(&bench);
}

static uint64_t available(const struct bench *bench)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pool_space space = { 0 };

	lab_ok(bench->b->space(bench->pool, &space, &err), &err);
	return space.available_bytes;
}

static void fill(const struct bench *bench, const char *key, uint64_t bytes)
{
	char path[64], chunk[4096];

	snprintf(path, sizeof(path), "volumes/%s/image", key);
	int fd = open(bench_data(bench, path), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	memset(chunk, 'x', sizeof(chunk));
	for (uint64_t at = 0; at < bytes; at += sizeof(chunk))
		assert_int_equal(pwrite(fd, chunk, sizeof(chunk), (off_t)at), sizeof(chunk));
	assert_int_equal(fsync(fd), 0);
	close(fd);
}

#define ABOUT(value, bytes) assert_in_range((value) + 16 * LAB_MIB, (bytes), (bytes) + 32 * LAB_MIB)

/* Shared blocks may all have to be written anew. */
static void test_snapshot__promises_the_source_its_full_size_while_blocks_are_shared(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;

	bench_open(&bench, *state, "xfs", LAB_GIB, "auto");
	struct cleat_record *rec = wish(&bench, "orig", "", 200 * LAB_MIB), *vol = made(&bench, rec), *snap,
			    *clone;
	uint64_t all = available(&bench);
	fill(&bench, "orig", 150 * LAB_MIB);
	ABOUT(available(&bench), all);
	snap = snapped(&bench, "s", vol, NULL);
	ABOUT(available(&bench), all - 150 * LAB_MIB);
	clone = cloned(&bench, "c", snap, NULL);
	ABOUT(available(&bench), all - 350 * LAB_MIB);
	/* Also after a restart, and as long as two of them are left. */
	bench_close(&bench);
	lab_ok(bench_reopen(&bench, &err), &err);
	ABOUT(available(&bench), all - 350 * LAB_MIB);
	removed(&bench, snap);
	ABOUT(available(&bench), all - 350 * LAB_MIB);
	removed(&bench, vol);
	ABOUT(available(&bench), all);
	removed(&bench, clone);
	ABOUT(available(&bench), all + 200 * LAB_MIB);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(snap);
	cleat_record_unref(clone);
	bench_done(&bench);
}

static void test_snapshot__is_refused_when_the_promise_could_not_be_kept(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	const struct cleat_where where = { NULL, NULL };
	struct bench bench;

	bench_open(&bench, *state, "xfs", LAB_GIB, "auto");
	struct cleat_record *rec = wish(&bench, "orig", "", available(&bench) - 32 * LAB_MIB),
			    *vol = made(&bench, rec), *out = NULL;
	struct cleat_record *wanted = wish(&bench, "s", "", 0);
	const struct cleat_record *sources[] = { vol }, *recs[] = { wanted };
	wanted->kind = CLEAT_KIND_SNAPSHOT;
	fill(&bench, "orig", 100 * LAB_MIB);
	lab_expect(bench.b->snapshot(bench.pool, NULL, sources, &where, recs, 1, &out, &err), &err,
		   CLEAT_RESOURCE_EXHAUSTED, "'the s' needs 100 MiB");
	assert_int_equal(rmdir(bench_data(&bench, "new")), 0);
	removed(&bench, vol);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(wanted);
	bench_done(&bench);
}

static void test_clone__thick_one_has_blocks_of_its_own(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;

	bench_open(&bench, *state, "ext4", 2 * LAB_GIB, "always");
	struct cleat_record *rec = wish(&bench, "orig", "", 100 * LAB_MIB), *vol = made(&bench, rec),
			    *clone = NULL;
	struct cleat_record *wanted = wish(&bench, "c", "", 0);
	fill(&bench, "orig", 50 * LAB_MIB);
	uint64_t before = available(&bench);
	wish_param(wanted, "thick", "true");
	lab_ok(bench.b->create(bench.pool, NULL, wanted, vol, NULL, &clone, &err), &err);
	ABOUT(available(&bench), before - 100 * LAB_MIB);
	removed(&bench, vol);
	removed(&bench, clone);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(wanted);
	cleat_record_unref(clone);
	bench_done(&bench);
}

/* ---- groups ---- */

#define GROUP 3

struct group {
	struct cleat_record *vols[GROUP], *wanted[GROUP], *snaps[GROUP];
	struct cleat_where wheres[GROUP];
	struct path paths[GROUP];
};

static void group_make(struct bench *bench, struct group *g)
{
	static const char *const fs[GROUP] = { "ext4", "xfs", "ext4" };
	static const uint64_t bytes[GROUP] = { 64 * LAB_MIB, 320 * LAB_MIB, 64 * LAB_MIB };
	struct cleat_error err = CLEAT_ERROR_INIT;

	memset(g, 0, sizeof(*g));
	for (int i = 0; i < GROUP; i++) {
		char key[8], snap[8];
		snprintf(key, sizeof(key), "v%d", i);
		snprintf(snap, sizeof(snap), "s%d", i);
		struct cleat_record *rec = wish(bench, key, fs[i], bytes[i]);
		g->vols[i] = made(bench, rec);
		cleat_record_unref(rec);
		g->paths[i] = path_of(bench->lab, key);
		mounted(bench, g->vols[i], key);
		put_file(g->paths[i].text, "f", key);
		g->wheres[i].stage_path = g->paths[i].text;
		g->wanted[i] = wish(bench, snap, fs[i], 0);
		g->wanted[i]->kind = CLEAT_KIND_SNAPSHOT;
		lab_ok(cleat_record_set(&g->wanted[i]->group, "the group", &err), &err);
	}
}

static enum cleat_code group_take(const struct bench *bench, struct group *g, struct cleat_error *err)
{
	return bench->b->snapshot(bench->pool, NULL, (const struct cleat_record *const *)g->vols, g->wheres,
				  (const struct cleat_record *const *)g->wanted, GROUP, g->snaps, err);
}

static void group_done(struct bench *bench, struct group *g)
{
	for (int i = 0; i < GROUP; i++) {
		char key[8];
		snprintf(key, sizeof(key), "v%d", i);
		put_file(g->paths[i].text, "g", "not frozen");
		unmounted(bench, g->vols[i], key);
		removed(bench, g->vols[i]);
		removed(bench, g->wanted[i]);
		cleat_record_unref(g->vols[i]);
		cleat_record_unref(g->wanted[i]);
		cleat_record_unref(g->snaps[i]);
	}
}

static void test_group__has_all_volumes_of_one_moment(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	struct group g;
	struct cleat_record *again[GROUP];

	bench_open(&bench, *state, "", 0, "always");
	group_make(&bench, &g);
	lab_ok(group_take(&bench, &g, &err), &err);
	memcpy(again, g.snaps, sizeof(again));
	lab_ok(group_take(&bench, &g, &err), &err); /* the same again */
	for (int i = 0; i < GROUP; i++) {
		char key[8], clone_key[8];
		snprintf(key, sizeof(key), "v%d", i);
		snprintf(clone_key, sizeof(clone_key), "c%d", i);
		assert_int_equal(again[i]->created_ms, g.snaps[i]->created_ms);
		cleat_record_unref(again[i]);
		struct cleat_record *clone = cloned(&bench, clone_key, g.snaps[i], NULL);
		expect_file(mounted(&bench, clone, "clone"), "f", key);
		unmounted(&bench, clone, "clone");
		removed(&bench, clone);
		cleat_record_unref(clone);
	}
	group_done(&bench, &g);
	bench_done(&bench);
}

static int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = -2;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Any one step fails: nothing has appeared, nothing is frozen, nothing is left. */
static void test_group__appears_whole_or_not_at_all(void **state)
{
	static const struct {
		const char *call;
		int n;
	} points[] = { { "ioctl(FICLONE)", 2 },
		       { "renameat2", 2 },
		       { "renameat2", 3 },
		       { "renameat2", 4 },
		       { "posix_spawn", 1 } };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	struct group g;

	bench_open(&bench, *state, "", 0, "always");
	group_make(&bench, &g);
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		lab_inject(points[i].call, points[i].n, EIO);
		if (group_take(&bench, &g, &err) == CLEAT_OK)
			fail_msg("step %d of %s was not passed", points[i].n, points[i].call);
		lab_inject_off();
		assert_int_equal(count_entries(bench_data(&bench, "volumes")), GROUP);
		assert_int_equal(count_entries(bench_data(&bench, "new")), 0);
		for (int v = 0; v < GROUP; v++)
			put_file(g.paths[v].text, "h", "not frozen");
	}
	lab_ok(group_take(&bench, &g, &err), &err);
	group_done(&bench, &g);
	bench_done(&bench);
}

/* The process ends between two renames; the next start finishes the group. */
static int end_at_third_rename(const char *call, const char *what, void *arg)
{
	static int n;

	(void)what;
	(void)arg;
	if (strcmp(call, "renameat2") == 0 && ++n == 3)
		_exit(0);
	return 0;
}

static void test_group__is_finished_by_the_next_start(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	struct group g;
	int status = 0;

	bench_open(&bench, *state, "", 0, "always");
	group_make(&bench, &g);
	pid_t pid = fork();
	if (pid == 0) {
		cleat_sys_hook_set(end_at_third_rename, NULL);
		_exit(group_take(&bench, &g, &err) ? 1 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(count_entries(bench_data(&bench, "volumes")) < 2 * GROUP);
	bench_close(&bench);
	lab_ok(bench_reopen(&bench, &err), &err);
	assert_non_null(strstr(bench.found, "finished"));
	assert_int_equal(count_entries(bench_data(&bench, "volumes")), 2 * GROUP);
	assert_int_equal(count_entries(bench_data(&bench, "new")), 0);
	lab_ok(group_take(&bench, &g, &err), &err);
	group_done(&bench, &g);
	bench_done(&bench);
}

/* ---- the guardian ---- */

static const char *guardian(void)
{
	static char path[512];
	char self[400] = "";

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	*strrchr(self, '/') = '\0';
	snprintf(path, sizeof(path), "%s/cleat-thaw", self);
	return path;
}

/* Whether a write on it returns: tried by a child, because on a frozen one it would wait. */
static bool writes_return(const char *dir, int64_t wait_ms)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		char path[300];
		close_range(3, ~0U, 0); /* it may live on, and must hold nothing */
		snprintf(path, sizeof(path), "%s/probe", dir);
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		_exit(fd < 0 || write(fd, "x", 1) != 1);
	}
	for (int64_t end = cleat_time_mono_ms() + wait_ms; cleat_time_mono_ms() < end;
	     nanosleep(&pause, NULL))
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status == 0;
	kill(pid, SIGKILL);
	return false; /* it is waited for when it can end */
}

static void reap(void)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
}

struct frozen {
	struct bench bench;
	struct cleat_record *rec, *vol;
	struct path path;
	int fd;
};

static void frozen_open(struct frozen *f, struct lab *lab)
{
	bench_open(&f->bench, lab, "", 0, "never");
	f->rec = wish(&f->bench, "v", "ext4", 64 * LAB_MIB);
	f->vol = made(&f->bench, f->rec);
	f->path = path_of(lab, "mnt");
	mounted(&f->bench, f->vol, "mnt");
	f->fd = open(f->path.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
}

static void frozen_done(struct frozen *f)
{
	reap();
	close(f->fd);
	unmounted(&f->bench, f->vol, "mnt");
	removed(&f->bench, f->vol);
	cleat_record_unref(f->vol);
	cleat_record_unref(f->rec);
	bench_done(&f->bench);
}

static void test_guardian__holds_still_until_told(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_guardian g;
	struct frozen f;

	frozen_open(&f, *state);
	lab_ok(cleat_sys_guardian_freeze(guardian(), &f.fd, 1, 60000, &g, &err), &err);
	assert_false(writes_return(f.path.text, 100));
	lab_ok(cleat_sys_guardian_thaw(&g, &err), &err);
	assert_true(writes_return(f.path.text, 10000));
	frozen_done(&f);
}

static void test_guardian__thaws_when_the_time_is_over_and_says_so(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_guardian g;
	struct frozen f;

	frozen_open(&f, *state);
	lab_ok(cleat_sys_guardian_freeze(guardian(), &f.fd, 1, 1000, &g, &err), &err);
	assert_true(writes_return(f.path.text, 10000));
	lab_expect(cleat_sys_guardian_thaw(&g, &err), &err, CLEAT_ABORTED, "not frozen long enough");
	assert_true(err.retry);
	frozen_done(&f);
}

static void test_guardian__thaws_when_its_starter_is_gone(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_guardian g;
	struct frozen f;
	int status = 0;

	frozen_open(&f, *state);
	pid_t pid = fork();
	if (pid == 0)
		_exit(cleat_sys_guardian_freeze(guardian(), &f.fd, 1, 60000, &g, &err) ? 1 : 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(writes_return(f.path.text, 10000));
	frozen_done(&f);
}

static void test_guardian__killed_one_leaves_nothing_frozen(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_guardian g;
	struct frozen f;

	frozen_open(&f, *state);
	lab_ok(cleat_sys_guardian_freeze(guardian(), &f.fd, 1, 60000, &g, &err), &err);
	assert_int_equal(kill(g.pid, SIGKILL), 0);
	lab_expect(cleat_sys_guardian_thaw(&g, &err), &err, CLEAT_ABORTED, "not frozen long enough");
	assert_true(writes_return(f.path.text, 10000));
	frozen_done(&f);
}

static void test_guardian__one_that_cannot_freeze_says_why(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_guardian g;
	struct frozen f;
	int fds[2];

	frozen_open(&f, *state);
	fds[0] = f.fd;
	fds[1] = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lab_expect(cleat_sys_guardian_freeze(guardian(), fds, 2, 60000, &g, &err), &err, CLEAT_ABORTED,
		   "Operation not supported");
	close(fds[1]);
	assert_true(writes_return(f.path.text, 10000));
	lab_expect(cleat_sys_guardian_freeze("/nowhere/cleat-thaw", &f.fd, 1, 60000, &g, &err), &err,
		   CLEAT_NOT_FOUND, "nowhere");
	frozen_done(&f);
}

static void test_recover__thaws_what_was_left_frozen(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct frozen f;

	frozen_open(&f, *state);
	lab_ok(cleat_sys_freeze(f.fd, "mnt", &err), &err);
	assert_false(writes_return(f.path.text, 100));
	bench_close(&f.bench);
	lab_ok(bench_reopen(&f.bench, &err), &err);
	assert_true(writes_return(f.path.text, 10000));
	frozen_done(&f);
}

/* ---- adoption ---- */

static struct cleat_record *adopted(const struct bench *bench, const struct cleat_record *rec,
				    const char *what)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *out = NULL;

	lab_ok(bench->b->adopt(bench->pool, NULL, rec, what, &out, &err), &err);
	return out;
}

static void refuse_adoption(const struct bench *bench, const struct cleat_record *rec, const char *what,
			    enum cleat_code code, const char *words)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *out = NULL;

	lab_expect(bench->b->adopt(bench->pool, NULL, rec, what, &out, &err), &err, code, words);
	assert_null(out);
}

/* An image as somebody else would have made it, with a file on it. */
static struct path foreign_image(const struct bench *bench, const char *name, const char *const *mkfs,
				 uint64_t bytes)
{
	const struct path image = path_of(bench->lab, name), dir = path_of(bench->lab, "foreign");

	close(lab_sparse(bench->lab, name, bytes));
	const char *argv[12] = { NULL };
	int n = 0;
	for (; mkfs[n]; n++)
		argv[n] = mkfs[n];
	argv[n] = image.text;
	lab_run(argv);
	if (!lab_exists(bench->lab, "foreign"))
		lab_mkdir(bench->lab, "foreign");
	LAB_RUN("mount", "-o", "loop", image.text, dir.text);
	put_file(dir.text, "f", name);
	LAB_RUN("umount", dir.text);
	return image;
}

static void check_adoption(struct bench *bench, const char *name, const char *const *mkfs, uint64_t bytes,
			   bool stays)
{
	const int loops = lab_count_loops(bench->lab);
	const struct path image = foreign_image(bench, name, mkfs, bytes);
	struct cleat_record *rec = wish(bench, "a", "ext4", 0), *vol, *again;

	expect_loops(bench, loops);
	lab_ok(cleat_record_set(&rec->fs, "", NULL), NULL);
	vol = adopted(bench, rec, image.text);
	assert_true(vol->adopted && vol->formatted);
	assert_int_equal(vol->capacity_bytes, bytes);
	assert_int_equal(lab_exists(bench->lab, name), stays);
	again = adopted(bench, rec, image.text);
	assert_int_equal(again->created_ms, vol->created_ms);
	const char *path = mounted(bench, vol, "mnt");
	expect_file(path, "f", name);
	put_file(path, "g", "ours now");
	unmounted(bench, vol, "mnt");
	removed(bench, vol);
	unlink(image.text);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(again);
}

#define MKFS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void check_all_adoptions(struct bench *bench, bool stays)
{
	check_adoption(bench, "e4", MKFS("mke2fs", "-q", "-F", "-t", "ext4"), 64 * LAB_MIB, stays);
	check_adoption(bench, "e1", MKFS("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024"), 32 * LAB_MIB,
		       stays);
	check_adoption(bench, "x5", MKFS("mkfs.xfs", "-q", "-s", "size=512"), 320 * LAB_MIB, stays);
	check_adoption(bench, "b", MKFS("mkfs.btrfs", "-q"), 256 * LAB_MIB, stays);
}

static void test_adopt__copies_into_a_pool_file(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "", 0, "always");
	check_all_adoptions(&bench, true);
	bench_done(&bench);
}

static void test_adopt__moves_on_the_same_file_system(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "", 0, "never");
	check_all_adoptions(&bench, false);
	bench_done(&bench);
}

static void test_adopt__finishes_a_move_that_was_cut_off(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "", 0, "never");
	const struct path image =
		foreign_image(&bench, "e4", MKFS("mke2fs", "-q", "-F", "-t", "ext4"), 64 * LAB_MIB);
	struct cleat_record *rec = wish(&bench, "a", "ext4", 0), *vol, *again;
	expect_loops(&bench, 0);
	vol = adopted(&bench, rec, image.text);
	assert_int_equal(link(bench_data(&bench, "volumes/a/image"), image.text), 0);
	again = adopted(&bench, rec, image.text);
	assert_false(lab_exists(bench.lab, "e4"));
	/* Somebody's new file of that name is not ours to take away. */
	lab_write(bench.lab, "e4", "another");
	cleat_record_unref(again);
	again = adopted(&bench, rec, image.text);
	assert_true(lab_exists(bench.lab, "e4"));
	removed(&bench, vol);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(again);
	bench_done(&bench);
}

static void test_adopt__refuses_what_is_in_use_or_no_volume(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop = { .fd = -1 };
	struct bench bench;

	bench_open(&bench, *state, "", 0, "never");
	const struct path image =
		foreign_image(&bench, "e4", MKFS("mke2fs", "-q", "-F", "-t", "ext4"), 64 * LAB_MIB);
	const struct path cut =
		foreign_image(&bench, "cut", MKFS("mke2fs", "-q", "-F", "-t", "ext4"), 64 * LAB_MIB);
	const struct path empty = path_of(bench.lab, "empty"), symlink_path = path_of(bench.lab, "symlink");
	struct cleat_record *rec = wish(&bench, "a", "ext4", 0);
	expect_loops(&bench, 0);
	close(lab_sparse(bench.lab, "empty", LAB_MIB));
	assert_int_equal(symlink(image.text, symlink_path.text), 0);
	refuse_adoption(&bench, rec, "e4", CLEAT_INVALID_ARGUMENT, "not an absolute path");
	refuse_adoption(&bench, rec, "/nowhere/e4", CLEAT_NOT_FOUND, "/nowhere/e4");
	refuse_adoption(&bench, rec, bench.path, CLEAT_INVALID_ARGUMENT, "not a regular file");
	refuse_adoption(&bench, rec, "/dev/zero", CLEAT_INVALID_ARGUMENT, "not a regular file");
	refuse_adoption(&bench, rec, symlink_path.text, CLEAT_FAILED_PRECONDITION, "symbolic link");
	refuse_adoption(&bench, rec, empty.text, CLEAT_FAILED_PRECONDITION, "holds nothing");
	assert_int_equal(truncate(cut.text, 32 * LAB_MIB), 0);
	refuse_adoption(&bench, rec, cut.text, CLEAT_DATA_LOSS, "is cut off");
	rec->capacity_bytes = LAB_GIB;
	refuse_adoption(&bench, rec, image.text, CLEAT_OUT_OF_RANGE, "fewer than");
	rec->capacity_bytes = 0;
	wish_param(rec, "fs", "xfs");
	refuse_adoption(&bench, rec, image.text, CLEAT_FAILED_PRECONDITION, "holds ext4, not xfs");
	wish_param(rec, "fs", "ext4");
	int fd = open(image.text, O_RDWR | O_CLOEXEC);
	refuse_adoption(&bench, rec, image.text, CLEAT_FAILED_PRECONDITION, "open in another process");
	lab_ok(cleat_sys_loop_bind(fd, image.text, CLEAT_LOOP_AUTOCLEAR, 512, &loop, &err), &err);
	close(fd);
	refuse_adoption(&bench, rec, image.text, CLEAT_FAILED_PRECONDITION, loop.path);
	close(loop.fd);
	assert_int_equal(count_entries(bench_data(&bench, "volumes")), 0);
	assert_int_equal(count_entries(bench_data(&bench, "new")), 0);
	assert_true(lab_exists(bench.lab, "e4"));
	cleat_record_unref(rec);
	bench_done(&bench);
}

static void test_adopt__takes_raw_contents_for_block_access(void **state)
{
	struct bench bench;
	char device[64], text[8] = "";

	bench_open(&bench, *state, "", 0, "always");
	const struct path image = path_of(bench.lab, "raw");
	int fd = lab_sparse(bench.lab, "raw", 2 * LAB_MIB + 512);
	assert_int_equal(pwrite(fd, "raw", 3, 2 * LAB_MIB), 3);
	close(fd);
	struct cleat_record *rec = wish(&bench, "a", "", 0), *vol = adopted(&bench, rec, image.text);
	assert_int_equal(vol->capacity_bytes, 2 * LAB_MIB + 4096);
	mapped(&bench, vol, false, device, sizeof(device));
	fd = open(device, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, text, 3, 2 * LAB_MIB), 3);
	assert_string_equal(text, "raw");
	close(fd);
	removed(&bench, vol);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	bench_done(&bench);
}

/* A failed test must not leave the machine with a frozen file system, which nobody could unmount. */
static int thaw_and_teardown(void **state)
{
	static const char *const names[] = { "mnt", "v0", "v1", "v2" };
	const struct lab *lab = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int fd = openat(lab->fd, names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		ioctl(fd, FITHAW, 0);
		close(fd);
	}
	reap();
	return lab_teardown(state);
}

#define FREEZE_TEST(function) cmocka_unit_test_setup_teardown(function, lab_setup, thaw_and_teardown)

int main(void)
{
	static const char *const tools[] = { "mke2fs", "mkfs.xfs", "mkfs.btrfs", NULL };
	const struct CMUnitTest tests[] = {
		FREEZE_TEST(test_snapshot__restores_in_a_pool_file),
		FREEZE_TEST(test_snapshot__restores_on_a_host_that_shares_blocks),
		FREEZE_TEST(test_snapshot__of_a_block_volume_has_what_was_written),
		FREEZE_TEST(test_snapshot__copies_only_what_is_not_in_use),
		FREEZE_TEST(test_clone__may_be_larger_and_grows_at_its_first_mount),
		FREEZE_TEST(test_snapshot__promises_the_source_its_full_size_while_blocks_are_shared),
		FREEZE_TEST(test_snapshot__is_refused_when_the_promise_could_not_be_kept),
		FREEZE_TEST(test_clone__thick_one_has_blocks_of_its_own),
		FREEZE_TEST(test_group__has_all_volumes_of_one_moment),
		FREEZE_TEST(test_group__appears_whole_or_not_at_all),
		FREEZE_TEST(test_group__is_finished_by_the_next_start),
		FREEZE_TEST(test_guardian__holds_still_until_told),
		FREEZE_TEST(test_guardian__thaws_when_the_time_is_over_and_says_so),
		FREEZE_TEST(test_guardian__thaws_when_its_starter_is_gone),
		FREEZE_TEST(test_guardian__killed_one_leaves_nothing_frozen),
		FREEZE_TEST(test_guardian__one_that_cannot_freeze_says_why),
		FREEZE_TEST(test_recover__thaws_what_was_left_frozen),
		FREEZE_TEST(test_adopt__copies_into_a_pool_file),
		FREEZE_TEST(test_adopt__moves_on_the_same_file_system),
		FREEZE_TEST(test_adopt__finishes_a_move_that_was_cut_off),
		FREEZE_TEST(test_adopt__refuses_what_is_in_use_or_no_volume),
		FREEZE_TEST(test_adopt__takes_raw_contents_for_block_access),
	};
	int skip = lab_need_loop();

	if (!skip)
		skip = lab_need_tools(tools);
	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
