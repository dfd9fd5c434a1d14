/* The loop backend: pools of each layout, and volumes from their creation to their removal, on real loop
 * devices. */
#include "loop_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/fsctl.h"
#include "sys/loop.h"
#include "sys/mount.h"
#include "sys/spawn.h"

/* ---- pools ---- */

static void test_pool__gets_a_pool_file_where_blocks_cannot_be_shared(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "ext4", 2 * LAB_GIB, "auto");
	assert_true(lab_exists(bench.lab, "host/pool/pool.img"));
	expect_loops(&bench, 2);
	assert_true(bench.b->capabilities(bench.pool) & CLEAT_CAN_SNAPSHOT);
	assert_false(bench.b->capabilities(bench.pool) & CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY);
	bench_close(&bench);
	expect_loops(&bench, 1); /* the host's own */
	assert_false(lab_exists(bench.lab, "run/pool/bench"));
	bench_done(&bench);
}

static void test_pool__needs_no_pool_file_where_blocks_can_be_shared(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "xfs", LAB_GIB, "auto");
	assert_false(lab_exists(bench.lab, "host/pool/pool.img"));
	assert_false(bench.b->capabilities(bench.pool) & CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY);
	bench_done(&bench);
}

static void test_pool__says_so_when_it_can_only_copy(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "ext4", LAB_GIB, "never");
	assert_false(lab_exists(bench.lab, "host/pool/pool.img"));
	assert_true(bench.b->capabilities(bench.pool) & CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY);
	bench_done(&bench);
}

static void test_pool__layout_is_decided_once(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;

	bench_open(&bench, *state, "ext4", 2 * LAB_GIB, "never");
	bench_close(&bench);
	bench_set(&bench, "pool_file", "always");
	lab_ok(bench_reopen(&bench, &err), &err);
	assert_false(lab_exists(bench.lab, "host/pool/pool.img"));
	bench_done(&bench);
}

static void test_pool__is_offline_without_its_pool_file(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;

	bench_open(&bench, *state, "ext4", 2 * LAB_GIB, "auto");
	bench_close(&bench);
	assert_int_equal(
		rename(lab_join(bench.lab, "host/pool/pool.img"), lab_join(bench.lab, "host/pool.img")), 0);
	lab_expect(bench_reopen(&bench, &err), &err, CLEAT_UNAVAILABLE, "pool.img' is missing");
	assert_int_equal(
		rename(lab_join(bench.lab, "host/pool.img"), lab_join(bench.lab, "host/pool/pool.img")), 0);
	lab_ok(bench_reopen(&bench, &err), &err);
	bench_done(&bench);
}

static void test_pool__half_made_pool_file_is_made_anew(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;

	bench_open(&bench, *state, "ext4", 2 * LAB_GIB, "auto");
	bench_close(&bench);
	/* As if the daemon had been killed during mkfs. */
	assert_int_equal(rename(lab_join(bench.lab, "host/pool/pool.img"),
				lab_join(bench.lab, "host/pool/pool.img.new-abc")),
			 0);
	assert_int_equal(unlink(lab_join(bench.lab, "host/pool/loop-layout")), 0);
	lab_ok(bench_reopen(&bench, &err), &err);
	assert_true(lab_exists(bench.lab, "host/pool/pool.img"));
	assert_false(lab_exists(bench.lab, "host/pool/pool.img.new-abc"));
	bench_done(&bench);
}

/* The pool's process ends without closing; volumes stay mounted. */
static void in_child(void (*fn)(struct bench *bench), struct bench *bench)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		fn(bench);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void open_make_and_mount(struct bench *bench)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *rec = wish(bench, "a", "ext4", 64 * LAB_MIB), *vol;

	lab_ok(bench_reopen(bench, &err), &err);
	vol = made(bench, rec);
	put_file(mounted(bench, vol, "mnt"), "f", "kept");
}

static void test_pool__mount_of_a_killed_process_is_taken_over(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	struct cleat_record *rec;

	bench_open(&bench, *state, "ext4", 2 * LAB_GIB, "auto");
	bench_close(&bench);
	in_child(open_make_and_mount, &bench);
	assert_int_equal(lab_count_mounts(bench.lab), 3);
	rec = wish(&bench, "a", "ext4", 64 * LAB_MIB);
	lab_ok(bench_reopen(&bench, &err), &err);
	lab_expect(bench.b->remove(bench.pool, NULL, rec, &err), &err, CLEAT_FAILED_PRECONDITION, "in use");
	/* Closing leaves what is in use alone. */
	bench_close(&bench);
	expect_file(lab_join(bench.lab, "mnt"), "f", "kept");
	lab_ok(bench_reopen(&bench, &err), &err);
	unmounted(&bench, rec, "mnt");
	removed(&bench, rec);
	cleat_record_unref(rec);
	bench_done(&bench);
}

static void test_pool__pool_file_follows_the_file_system_below_it(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop = { .fd = -1 };
	struct bench bench;
	struct statvfs sv;
	struct stat st;
	bool found = false, grown = false;

	bench_open(&bench, *state, "btrfs", LAB_GIB, "always");
	assert_int_equal(stat(lab_join(bench.lab, "host/pool/pool.img"), &st), 0);
	assert_int_equal(st.st_size, LAB_GIB);
	bench_close(&bench);
	int fd = open(lab_join(bench.lab, "host.img"), O_RDWR | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 4 * LAB_GIB), 0);
	lab_ok(cleat_sys_loop_find(fd, false, &loop, &found, &err), &err);
	close(fd);
	lab_ok(cleat_sys_loop_update_size(loop.path, &err), &err);
	lab_ok(cleat_fs_grow_mounted(cleat_fs_find("btrfs"), bench.host, loop.path, &grown, &err), &err);
	lab_ok(bench_reopen(&bench, &err), &err);
	assert_int_equal(stat(lab_join(bench.lab, "host/pool/pool.img"), &st), 0);
	assert_int_equal(st.st_size, 4 * LAB_GIB);
	assert_int_equal(statvfs(bench_data(&bench, ""), &sv), 0);
	assert_true(sv.f_blocks * sv.f_frsize > 3 * LAB_GIB);
	bench_done(&bench);
}

static void test_pool__probe_notices_a_lost_mount(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;

	bench_open(&bench, *state, "ext4", 2 * LAB_GIB, "auto");
	lab_ok(bench.b->probe(bench.pool, &err), &err);
	assert_int_equal(umount2(bench_data(&bench, ""), MNT_DETACH), 0);
	lab_expect(bench.b->probe(bench.pool, &err), &err, CLEAT_UNAVAILABLE, "no longer mounted");
	bench_done(&bench);
}

/* ---- volumes ---- */

static void check_life(struct bench *bench, const char *fs, uint64_t bytes)
{
	struct cleat_record *rec = wish(bench, fs, fs, bytes), *vol = made(bench, rec),
			    *again = made(bench, rec);
	char name[CLEAT_KEY_MAX_BYTES + 1];
	struct statvfs sv;
	int loops = lab_count_loops(bench->lab);

	assert_int_equal(vol->capacity_bytes, bytes);
	assert_int_equal(vol->fs_bytes, bytes);
	assert_true(vol->formatted);
	assert_string_equal(again->key, vol->key);
	const char *path = mounted(bench, vol, fs);
	assert_int_equal(statvfs(path, &sv), 0);
	assert_true(sv.f_blocks * sv.f_frsize <= bytes && sv.f_blocks * sv.f_frsize > bytes / 2);
	assert_false(has_file(path, "lost+found"));
	put_file(path, "f", "written");
	expect_loops(bench, loops + 1);
	unmounted(bench, vol, fs);
	expect_loops(bench, loops);
	expect_file(mounted(bench, vol, fs), "f", "written");
	unmounted(bench, vol, fs);
	removed(bench, vol);
	removed(bench, vol);
	snprintf(name, sizeof(name), "%s", fs);
	assert_false(has_file(bench_data(bench, "volumes"), name));
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(again);
}

static void test_volume__lives_in_a_pool_file(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "", 0, "always");
	check_life(&bench, "ext4", 64 * LAB_MIB);
	check_life(&bench, "xfs", 320 * LAB_MIB);
	check_life(&bench, "btrfs", 256 * LAB_MIB);
	bench_done(&bench);
}

static void test_volume__lives_in_a_plain_pool(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "btrfs", LAB_GIB, "auto");
	check_life(&bench, "ext4", 64 * LAB_MIB);
	check_life(&bench, "xfs", 320 * LAB_MIB);
	bench_done(&bench);
}

static void test_volume__parameters_reach_mkfs(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	char words[4096] = "";

	bench_open(&bench, *state, "", 0, "never");
	struct cleat_record *rec = wish(&bench, "a", "ext4", 64 * LAB_MIB);
	wish_param(rec, "ext4.inode_size", "1024");
	wish_param(rec, "ext4.reserved_percent", "7");
	wish_param(rec, "uid", "1000");
	struct cleat_record *vol = made(&bench, rec);
	assert_string_equal(cleat_kv_get(&vol->attributes, "owner_pending"), "true");
	const char *argv[] = { "dumpe2fs", "-h", bench_data(&bench, "volumes/a/image"), NULL };
	lab_ok(cleat_sys_spawn(&(struct cleat_spawn){ .argv = argv, .keep_fd = -1 }, words, sizeof(words),
			       NULL, &err),
	       &err);
	assert_non_null(strstr(words, "Inode size:	          1024"));
	assert_non_null(strstr(words, "Reserved block count:     1146")); /* 7 % of 16384 */
	assert_non_null(strstr(words, "Block size:               4096"));
	removed(&bench, vol);
	cleat_record_unref(vol);
	cleat_record_unref(rec);
	bench_done(&bench);
}

static void expect_refusal(const struct bench *bench, struct cleat_record *rec, enum cleat_code code,
			   const char *words)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *out = NULL;

	lab_expect(bench->b->create(bench->pool, NULL, rec, NULL, NULL, &out, &err), &err, code, words);
	assert_null(out);
	cleat_record_unref(rec);
}

static void test_volume__impossible_sizes_are_refused_with_the_limit(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "", 0, "never");
	expect_refusal(&bench, wish(&bench, "a", "xfs", 299 * LAB_MIB), CLEAT_OUT_OF_RANGE,
		       "xfs needs at least 300 MiB");
	expect_refusal(&bench, wish(&bench, "a", "btrfs", LAB_MIB), CLEAT_OUT_OF_RANGE,
		       "btrfs needs at least 256 MiB");
	expect_refusal(&bench, wish(&bench, "a", "ext4", LAB_MIB), CLEAT_OUT_OF_RANGE,
		       "ext4 needs at least 16 MiB");
	expect_refusal(&bench, wish(&bench, "a", "ext4", UINT64_MAX), CLEAT_OUT_OF_RANGE, "at most");
	expect_refusal(&bench, wish(&bench, "a", "", UINT64_C(1) << 59), CLEAT_RESOURCE_EXHAUSTED,
		       "overcommit 1");
	expect_refusal(&bench, wish(&bench, "a", "ntfs", LAB_GIB), CLEAT_INVALID_ARGUMENT,
		       "no file system 'ntfs'");
	/* Nothing is left of them. */
	assert_int_equal(rmdir(bench_data(&bench, "new")), 0);
	assert_int_equal(rmdir(bench_data(&bench, "volumes")), 0);
	bench_done(&bench);
}

static void test_volume__sizes_are_rounded_up_and_have_a_default(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "", 0, "never");
	struct cleat_record *rec = wish(&bench, "a", "", 1), *vol = made(&bench, rec);
	assert_int_equal(vol->capacity_bytes, 4096);
	removed(&bench, vol);
	cleat_record_unref(vol);
	rec->capacity_bytes = 0;
	vol = made(&bench, rec);
	assert_int_equal(vol->capacity_bytes, LAB_GIB);
	removed(&bench, vol);
	cleat_record_unref(vol);
	cleat_record_unref(rec);
	bench_done(&bench);
}

static void test_volume__same_key_for_another_volume_is_refused(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "", 0, "never");
	struct cleat_record *rec = wish(&bench, "a", "", LAB_MIB), *vol = made(&bench, rec),
			    *other = cleat_record_copy(rec);
	assert_int_equal(cleat_record_set(&other->name, "another", NULL), CLEAT_OK);
	expect_refusal(&bench, other, CLEAT_ALREADY_EXISTS, "exists with another name");
	removed(&bench, vol);
	cleat_record_unref(vol);
	cleat_record_unref(rec);
	bench_done(&bench);
}

static void test_volume__failed_mkfs_leaves_nothing(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "", 0, "never");
	lab_inject("posix_spawn", 1, EIO);
	expect_refusal(&bench, wish(&bench, "a", "ext4", 64 * LAB_MIB), CLEAT_INTERNAL, "mke2fs");
	lab_inject_off();
	assert_int_equal(rmdir(bench_data(&bench, "new")), 0);
	assert_int_equal(rmdir(bench_data(&bench, "volumes")), 0);
	bench_done(&bench);
}

/* ---- devices ---- */

static void test_map__gives_the_same_device_twice(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	char first[64], second[64];

	bench_open(&bench, *state, "", 0, "always");
	struct cleat_record *rec = wish(&bench, "b", "", 8 * LAB_MIB), *vol = made(&bench, rec);
	mapped(&bench, vol, false, first, sizeof(first));
	mapped(&bench, vol, false, second, sizeof(second));
	assert_string_equal(first, second);
	lab_ok(bench.b->unmap(bench.pool, NULL, vol, &err), &err);
	lab_ok(bench.b->unmap(bench.pool, NULL, vol, &err), &err);
	expect_loops(&bench, 1);
	removed(&bench, vol);
	cleat_record_unref(vol);
	cleat_record_unref(rec);
	bench_done(&bench);
}

/* How many of three bytes the device takes. */
static void expect_written(const char *device, int bytes)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0 && bytes < 0)
		return;
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "new", 3, 0), bytes);
	close(fd);
}

static void test_map__block_device_stays_without_a_user_and_holds_what_is_written(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	char device[64], text[16] = "";

	bench_open(&bench, *state, "", 0, "always");
	struct cleat_record *rec = wish(&bench, "b", "", 8 * LAB_MIB), *vol = made(&bench, rec);
	mapped(&bench, vol, false, device, sizeof(device));
	int fd = open(device, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "raw", 3, 4096), 3);
	assert_int_equal(fsync(fd), 0);
	/* In use: not removed, and the device stays usable. */
	close(fd);
	lab_ok(bench.b->unmap(bench.pool, NULL, vol, &err), &err);
	mapped(&bench, vol, true, device, sizeof(device));
	fd = open(device, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, text, 3, 4096), 3);
	assert_string_equal(text, "raw");
	close(fd);
	expect_written(device, -1);
	mapped(&bench, vol, false, device, sizeof(device));
	expect_written(device, 3);
	removed(&bench, vol);
	expect_loops(&bench, 1);
	cleat_record_unref(vol);
	cleat_record_unref(rec);
	bench_done(&bench);
}

static void test_map__refuses_while_a_tool_of_a_killed_daemon_runs(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_source source = { .fd = -1 };
	struct bench bench;

	bench_open(&bench, *state, "", 0, "never");
	struct cleat_record *rec = wish(&bench, "a", "ext4", 32 * LAB_MIB), *vol = made(&bench, rec);
	/* The descriptor of map() is what a tool inherits; its lock lives as long as any copy of it. */
	lab_ok(bench.b->map(bench.pool, NULL, vol, false, &source, &err), &err);
	int tool = source.fd;
	lab_expect(bench.b->map(bench.pool, NULL, vol, false, &source, &err), &err, CLEAT_ABORTED,
		   "still running on 'the a'");
	assert_true(err.retry);
	lab_expect(bench.b->remove(bench.pool, NULL, vol, &err), &err, CLEAT_FAILED_PRECONDITION, "in use");
	close(tool);
	removed(&bench, vol);
	cleat_record_unref(vol);
	cleat_record_unref(rec);
	bench_done(&bench);
}

static void test_recover__frees_block_devices_that_nobody_uses(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	char device[64];

	bench_open(&bench, *state, "", 0, "always");
	struct cleat_record *rec = wish(&bench, "b", "", 8 * LAB_MIB), *vol = made(&bench, rec);
	mapped(&bench, vol, false, device, sizeof(device));
	bench_close(&bench);
	expect_loops(&bench, 2);
	lab_ok(bench_reopen(&bench, &err), &err);
	assert_non_null(strstr(bench.found, "which holds volume 'b' for nobody, freed"));
	expect_loops(&bench, 1);
	removed(&bench, vol);
	cleat_record_unref(vol);
	cleat_record_unref(rec);
	bench_done(&bench);
}

static void test_recover__sweeps_attempts_and_trash(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;

	bench_open(&bench, *state, "", 0, "always");
	assert_int_equal(mkdir(bench_data(&bench, "new/a.b"), 0700), 0);
	put_file(bench_data(&bench, "new/a.b"), "image", "half");
	assert_int_equal(mkdir(bench_data(&bench, "trash/c.d"), 0700), 0);
	bench_close(&bench);
	lab_ok(bench_reopen(&bench, &err), &err);
	assert_non_null(strstr(bench.found, "'a.b' removed"));
	assert_non_null(strstr(bench.found, "'c.d' removed"));
	assert_false(has_file(bench_data(&bench, "new"), "a.b"));
	bench_done(&bench);
}

struct finding {
	const struct bench *bench;
	const char *target;
	char key[CLEAT_KEY_MAX_BYTES + 1];
};

static bool find_one(const struct cleat_mount_entry *entry, void *arg)
{
	struct finding *f = arg;
	char key[CLEAT_KEY_MAX_BYTES + 1];

	if (strcmp(entry->target, f->target) == 0 && f->bench->b->find_mount(f->bench->pool, entry, key))
		memcpy(f->key, key, sizeof(key));
	return true;
}

static const char *key_at(struct finding *f, const struct bench *bench, const char *target)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	*f = (struct finding){ .bench = bench, .target = target };
	lab_ok(cleat_sys_mounts(find_one, f, &err), &err);
	return f->key;
}

static void test_find_mount__knows_mounts_binds_and_published_devices(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	struct finding f;
	char device[64];

	bench_open(&bench, *state, "", 0, "always");
	struct cleat_record *rec = wish(&bench, "fm", "btrfs", 256 * LAB_MIB), *vol = made(&bench, rec);
	struct cleat_record *raw_rec = wish(&bench, "raw", "", LAB_MIB), *raw = made(&bench, raw_rec);
	const char *path = mounted(&bench, vol, "mnt"), *bind = lab_join(bench.lab, "bind"),
		   *node = lab_join(bench.lab, "node");
	lab_mkdir(bench.lab, "bind");
	lab_write(bench.lab, "node", "");
	assert_int_equal(mount(path, bind, NULL, MS_BIND, NULL), 0);
	mapped(&bench, raw, false, device, sizeof(device));
	assert_int_equal(mount(device, node, NULL, MS_BIND, NULL), 0);
	assert_string_equal(key_at(&f, &bench, path), "fm");
	assert_string_equal(key_at(&f, &bench, bind), "fm");
	assert_string_equal(key_at(&f, &bench, node), "raw");
	assert_string_equal(key_at(&f, &bench, bench_data(&bench, "")), "");
	assert_string_equal(key_at(&f, &bench, "/proc"), "");
	assert_int_equal(umount2(node, 0) | umount2(bind, 0), 0);
	unmounted(&bench, vol, "mnt");
	lab_ok(bench.b->unmap(bench.pool, NULL, raw, &err), &err);
	removed(&bench, vol);
	removed(&bench, raw);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(raw_rec);
	cleat_record_unref(raw);
	bench_done(&bench);
}

/* ---- promises ---- */

static struct cleat_pool_space space_of(const struct bench *bench)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pool_space space = { 0 };

	lab_ok(bench->b->space(bench->pool, &space, &err), &err);
	return space;
}

static void check_admission(struct bench *bench)
{
	struct cleat_pool_space space = space_of(bench), later;
	struct cleat_record *rec = wish(bench, "big", "", space.available_bytes / 2), *big = made(bench, rec),
			    *rest_rec, *rest;

	later = space_of(bench);
	assert_int_equal(later.promised_bytes, big->capacity_bytes);
	assert_in_range(later.available_bytes, space.available_bytes - big->capacity_bytes - 8 * LAB_MIB,
			space.available_bytes - big->capacity_bytes);
	expect_refusal(bench, wish(bench, "more", "", later.available_bytes + LAB_MIB),
		       CLEAT_RESOURCE_EXHAUSTED, "left to promise (overcommit 1)");
	rest_rec = wish(bench, "rest", "", later.available_bytes - LAB_MIB);
	rest = made(bench, rest_rec);
	removed(bench, big);
	removed(bench, rest);
	assert_int_equal(space_of(bench).promised_bytes, 0);
	cleat_record_unref(rec);
	cleat_record_unref(big);
	cleat_record_unref(rest_rec);
	cleat_record_unref(rest);
}

static void test_space__no_more_is_promised_than_there_is(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "ext4", LAB_GIB, "never");
	check_admission(&bench);
	bench_done(&bench);
}

static void test_space__pool_file_counts_what_lies_below_it(void **state)
{
	struct bench bench;

	/* The pool file is as large as 1 GiB, the file system below it is smaller. */
	bench_open(&bench, *state, "ext4", 512 * LAB_MIB, "always");
	assert_true(space_of(&bench).available_bytes < 512 * LAB_MIB);
	check_admission(&bench);
	bench_done(&bench);
}

static void test_space__overcommit_promises_more(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;

	bench_open(&bench, *state, "ext4", LAB_GIB, "never");
	uint64_t once = space_of(&bench).available_bytes;
	bench_close(&bench);
	bench_set(&bench, "overcommit", "3");
	lab_ok(bench_reopen(&bench, &err), &err);
	struct cleat_record *rec = wish(&bench, "a", "", 2 * once), *vol = made(&bench, rec);
	assert_in_range(space_of(&bench).available_bytes, once - 16 * LAB_MIB, once + 16 * LAB_MIB);
	removed(&bench, vol);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	bench_done(&bench);
}

static void test_space__is_low_below_the_watermark(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;

	bench_open(&bench, *state, "ext4", 512 * LAB_MIB, "never");
	assert_false(space_of(&bench).low);
	bench_close(&bench);
	bench_set(&bench, "low_percent", "99");
	lab_ok(bench_reopen(&bench, &err), &err);
	assert_true(space_of(&bench).low);
	bench_done(&bench);
}

static uint64_t free_below(const char *path)
{
	struct statvfs sv;

	assert_int_equal(statvfs(path, &sv), 0);
	return sv.f_bavail * sv.f_frsize;
}

static void test_space__thick_volume_has_its_blocks_down_to_the_disk(void **state)
{
	struct bench bench;
	struct stat st;

	bench_open(&bench, *state, "ext4", LAB_GIB, "always");
	uint64_t before = free_below(bench.host);
	struct cleat_record *rec = wish(&bench, "t", "ext4", 128 * LAB_MIB);
	wish_param(rec, "thick", "true");
	struct cleat_record *vol = made(&bench, rec);
	assert_int_equal(stat(bench_data(&bench, "volumes/t/image"), &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= 128 * LAB_MIB);
	assert_true(before - free_below(bench.host) >= 128 * LAB_MIB);
	/* Nothing of it is still to be allocated. */
	uint64_t left = space_of(&bench).available_bytes;
	assert_true(left > before - 128 * LAB_MIB - 64 * LAB_MIB);
	/* The kernel's late initialisation does not punch holes into it. */
	const char *path = mounted(&bench, vol, "mnt");
	put_file(path, "f", "x");
	unmounted(&bench, vol, "mnt");
	assert_int_equal(stat(bench_data(&bench, "volumes/t/image"), &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= 128 * LAB_MIB);
	removed(&bench, vol);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	bench_done(&bench);
}

struct racer {
	const struct bench *bench;
	pthread_t thread;
	struct cleat_record *rec, *out;
	enum cleat_code code;
	struct cleat_error err;
};

static void *race(void *arg)
{
	struct racer *r = arg;

	r->code = r->bench->b->create(r->bench->pool, NULL, r->rec, NULL, NULL, &r->out, &r->err);
	return NULL;
}

#define RACERS 8

/* All ask at once for a third of what is there: not more than three can have it. */
static void test_space__is_not_promised_twice_to_calls_at_the_same_time(void **state)
{
	struct bench bench;
	struct racer racers[RACERS];
	int made_count = 0;

	bench_open(&bench, *state, "ext4", LAB_GIB, "never");
	const uint64_t third = space_of(&bench).available_bytes / 3 - 8 * LAB_MIB;
	for (int i = 0; i < RACERS; i++) {
		char key[8];
		snprintf(key, sizeof(key), "r%d", i);
		racers[i] = (struct racer){ .bench = &bench,
					    .rec = wish(&bench, key, "", third),
					    .err = CLEAT_ERROR_INIT };
	}
	for (int i = 0; i < RACERS; i++)
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	for (int i = 0; i < RACERS; i++) {
		assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
		if (racers[i].code)
			lab_expect(racers[i].code, &racers[i].err, CLEAT_RESOURCE_EXHAUSTED,
				   "left to promise");
		else
			removed(&bench, racers[i].out);
		made_count += racers[i].code == CLEAT_OK;
		cleat_record_unref(racers[i].out);
		cleat_record_unref(racers[i].rec);
	}
	assert_in_range(made_count, 1, 3);
	assert_int_equal(space_of(&bench).promised_bytes, 0);
	bench_done(&bench);
}

static void test_space__thick_volume_on_btrfs_is_overwritten_in_place(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;

	bench_open(&bench, *state, "btrfs", LAB_GIB, "auto");
	struct cleat_record *rec = wish(&bench, "t", "ext4", 64 * LAB_MIB),
			    *clone_rec = wish(&bench, "c", "ext4", 0), *out = NULL;
	wish_param(rec, "thick", "true");
	struct cleat_record *vol = made(&bench, rec);
	int fd = open(bench_data(&bench, "volumes/t/image"), O_RDONLY | O_CLOEXEC);
	assert_true(cleat_sys_overwrites_in_place(fd));
	close(fd);
	/* An ordinary clone can still share its blocks. */
	struct cleat_record *clone = cloned(&bench, "s", vol, NULL);
	wish_param(clone_rec, "thick", "true");
	lab_expect(bench.b->create(bench.pool, NULL, clone_rec, vol, NULL, &out, &err), &err,
		   CLEAT_FAILED_PRECONDITION, "thick clone is not possible");
	removed(&bench, vol);
	removed(&bench, clone);
	cleat_record_unref(rec);
	cleat_record_unref(clone_rec);
	cleat_record_unref(vol);
	cleat_record_unref(clone);
	bench_done(&bench);
}

/* ---- enlarging ---- */

static struct cleat_record *expanded(const struct bench *bench, const struct cleat_record *rec,
				     uint64_t bytes)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	const struct cleat_where where = { NULL, NULL };
	struct cleat_record *out = NULL;

	lab_ok(bench->b->expand(bench->pool, NULL, rec, bytes, &where, &out, &err), &err);
	return out;
}

static void check_online_growth(struct bench *bench, const char *fs, uint64_t bytes)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *rec = wish(bench, fs, fs, bytes), *vol = made(bench, rec), *larger;
	const char *path = mounted(bench, vol, fs);
	struct cleat_source source = { .fd = -1 };
	struct statvfs before, after;
	bool grown = false;

	assert_int_equal(statvfs(path, &before), 0);
	larger = expanded(bench, vol, bytes + 64 * LAB_MIB + 1);
	assert_int_equal(larger->capacity_bytes, bytes + 64 * LAB_MIB + 4096);
	assert_int_equal(larger->fs_bytes, bytes);
	lab_ok(bench->b->map(bench->pool, NULL, larger, false, &source, &err), &err);
	close(source.fd);
	lab_ok(cleat_fs_grow_mounted(cleat_fs_find(fs), path, source.path, &grown, &err), &err);
	assert_int_equal(statvfs(path, &after), 0);
	if (grown)
		assert_true(after.f_blocks * after.f_frsize >=
			    before.f_blocks * before.f_frsize + 48 * LAB_MIB);
	else
		assert_string_equal(fs, "ext4");
	unmounted(bench, larger, fs);
	if (!grown) {
		lab_ok(bench->b->map(bench->pool, NULL, larger, false, &source, &err), &err);
		lab_ok(cleat_fs_grow_unmounted(cleat_fs_find(fs), source.path, source.fd, &err), &err);
		close(source.fd);
		path = mounted(bench, larger, fs);
		assert_int_equal(statvfs(path, &after), 0);
		assert_true(after.f_blocks * after.f_frsize >=
			    before.f_blocks * before.f_frsize + 48 * LAB_MIB);
		unmounted(bench, larger, fs);
	}
	removed(bench, larger);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(larger);
}

static void test_expand__reaches_the_file_system(void **state)
{
	struct bench bench;

	bench_open(&bench, *state, "", 0, "always");
	check_online_growth(&bench, "ext4", 64 * LAB_MIB);
	check_online_growth(&bench, "xfs", 320 * LAB_MIB);
	check_online_growth(&bench, "btrfs", 256 * LAB_MIB);
	bench_done(&bench);
}

static void test_expand__block_device_grows_under_its_user_and_never_shrinks(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	char device[64];
	uint64_t bytes = 0;

	bench_open(&bench, *state, "", 0, "always");
	struct cleat_record *rec = wish(&bench, "b", "", 8 * LAB_MIB), *vol = made(&bench, rec), *larger,
			    *same;
	mapped(&bench, vol, false, device, sizeof(device));
	larger = expanded(&bench, vol, 16 * LAB_MIB);
	lab_ok(cleat_sys_block_size(device, &bytes, &err), &err);
	assert_int_equal(bytes, 16 * LAB_MIB);
	same = expanded(&bench, larger, LAB_MIB);
	assert_int_equal(same->capacity_bytes, 16 * LAB_MIB);
	removed(&bench, larger);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(larger);
	cleat_record_unref(same);
	bench_done(&bench);
}

static void test_expand__is_admitted_or_changes_nothing(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	const struct cleat_where where = { NULL, NULL };
	struct bench bench;
	struct stat st;

	bench_open(&bench, *state, "ext4", LAB_GIB, "never");
	struct cleat_record *rec = wish(&bench, "b", "", 8 * LAB_MIB), *vol = made(&bench, rec), *out = NULL;
	lab_expect(bench.b->expand(bench.pool, NULL, vol, 2 * LAB_GIB, &where, &out, &err), &err,
		   CLEAT_RESOURCE_EXHAUSTED, "left to promise");
	assert_int_equal(stat(bench_data(&bench, "volumes/b/image"), &st), 0);
	assert_int_equal(st.st_size, 8 * LAB_MIB);
	assert_int_equal(space_of(&bench).promised_bytes, 8 * LAB_MIB);
	/* A call that was cut off after the image had grown is finished by the next. */
	assert_int_equal(truncate(bench_data(&bench, "volumes/b/image"), 16 * LAB_MIB), 0);
	out = expanded(&bench, vol, 16 * LAB_MIB);
	assert_int_equal(out->capacity_bytes, 16 * LAB_MIB);
	removed(&bench, out);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	cleat_record_unref(out);
	bench_done(&bench);
}

/* ---- looking ---- */

static void test_usage__is_known_while_unpublished(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_where where = { NULL, NULL };
	struct cleat_usage usage;
	struct bench bench;

	bench_open(&bench, *state, "", 0, "never");
	struct cleat_record *rec = wish(&bench, "u", "ext4", 64 * LAB_MIB), *vol = made(&bench, rec);
	lab_ok(bench.b->usage(bench.pool, NULL, vol, &where, &usage, &err), &err);
	assert_int_equal(usage.total_bytes, 64 * LAB_MIB);
	assert_in_range(usage.used_bytes, 4096, 32 * LAB_MIB);
	assert_int_equal(usage.used_bytes + usage.available_bytes, usage.total_bytes);
	where.stage_path = "/anywhere";
	assert_int_equal(bench.b->usage(bench.pool, NULL, vol, &where, &usage, &err), CLEAT_UNIMPLEMENTED);
	removed(&bench, vol);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	bench_done(&bench);
}

static void test_health__tells_what_is_wrong(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct bench bench;
	static const char nothing[8192];

	bench_open(&bench, *state, "", 0, "never");
	struct cleat_record *rec = wish(&bench, "h", "ext4", 64 * LAB_MIB), *vol = made(&bench, rec);
	const char *image = bench_data(&bench, "volumes/h/image");
	lab_ok(bench.b->health(bench.pool, NULL, vol, &err), &err);
	int fd = open(image, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, nothing, sizeof(nothing), 0), sizeof(nothing));
	close(fd);
	lab_expect(bench.b->health(bench.pool, NULL, vol, &err), &err, CLEAT_DATA_LOSS,
		   "no ext4 super block");
	assert_int_equal(truncate(image, LAB_MIB), 0);
	lab_expect(bench.b->health(bench.pool, NULL, vol, &err), &err, CLEAT_DATA_LOSS,
		   "1048576 bytes instead of 67108864");
	assert_int_equal(unlink(image), 0);
	lab_expect(bench.b->health(bench.pool, NULL, vol, &err), &err, CLEAT_DATA_LOSS,
		   "image of 'the h' is missing");
	removed(&bench, vol);
	cleat_record_unref(rec);
	cleat_record_unref(vol);
	bench_done(&bench);
}

int main(void)
{
	static const char *const tools[] = { "mke2fs", "mkfs.xfs", "mkfs.btrfs", NULL };
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_pool__gets_a_pool_file_where_blocks_cannot_be_shared),
		LAB_TEST(test_pool__needs_no_pool_file_where_blocks_can_be_shared),
		LAB_TEST(test_pool__says_so_when_it_can_only_copy),
		LAB_TEST(test_pool__layout_is_decided_once),
		LAB_TEST(test_pool__is_offline_without_its_pool_file),
		LAB_TEST(test_pool__half_made_pool_file_is_made_anew),
		LAB_TEST(test_pool__mount_of_a_killed_process_is_taken_over),
		LAB_TEST(test_pool__pool_file_follows_the_file_system_below_it),
		LAB_TEST(test_pool__probe_notices_a_lost_mount),
		LAB_TEST(test_volume__lives_in_a_pool_file),
		LAB_TEST(test_volume__lives_in_a_plain_pool),
		LAB_TEST(test_volume__parameters_reach_mkfs),
		LAB_TEST(test_volume__impossible_sizes_are_refused_with_the_limit),
		LAB_TEST(test_volume__sizes_are_rounded_up_and_have_a_default),
		LAB_TEST(test_volume__same_key_for_another_volume_is_refused),
		LAB_TEST(test_volume__failed_mkfs_leaves_nothing),
		LAB_TEST(test_map__gives_the_same_device_twice),
		LAB_TEST(test_map__block_device_stays_without_a_user_and_holds_what_is_written),
		LAB_TEST(test_map__refuses_while_a_tool_of_a_killed_daemon_runs),
		LAB_TEST(test_recover__frees_block_devices_that_nobody_uses),
		LAB_TEST(test_recover__sweeps_attempts_and_trash),
		LAB_TEST(test_find_mount__knows_mounts_binds_and_published_devices),
		LAB_TEST(test_space__no_more_is_promised_than_there_is),
		LAB_TEST(test_space__pool_file_counts_what_lies_below_it),
		LAB_TEST(test_space__overcommit_promises_more),
		LAB_TEST(test_space__is_low_below_the_watermark),
		LAB_TEST(test_space__thick_volume_has_its_blocks_down_to_the_disk),
		LAB_TEST(test_space__is_not_promised_twice_to_calls_at_the_same_time),
		LAB_TEST(test_space__thick_volume_on_btrfs_is_overwritten_in_place),
		LAB_TEST(test_expand__reaches_the_file_system),
		LAB_TEST(test_expand__block_device_grows_under_its_user_and_never_shrinks),
		LAB_TEST(test_expand__is_admitted_or_changes_nothing),
		LAB_TEST(test_usage__is_known_while_unpublished),
		LAB_TEST(test_health__tells_what_is_wrong),
	};
	int skip = lab_need_loop();

	if (!skip)
		skip = lab_need_tools(tools);
	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
