/* backends_btrfs_test.c - the btrfs backend, and the dir backend on btrfs, on a real file system in a loop
 * device. */
#include "tree_lab.h"

#include "sys/btrfs.h"
#include "sys/mount.h"
#include "util/clock.h"
#include "util/kv.h"
#include "util/mem.h"

#include <btrfsutil.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs_tree.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

extern const struct cleat_backend cleat_backend_dir;
extern const struct cleat_backend cleat_backend_btrfs;

#define PLAIN_TEST(function) cmocka_unit_test_setup_teardown(function, tree_setup_plain, tree_teardown)
#define BTRFS_TEST(function) cmocka_unit_test_setup_teardown(function, tree_setup_btrfs, tree_teardown)

static const char *const quota_full[] = { "quota", "qgroup", NULL };
static const char *const quota_none[] = { "quota", "none", NULL };

static void open_pool(struct tree_lab *t)
{
	tree_open(t, &cleat_backend_btrfs, NULL);
}

static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static uint64_t subvolume_id(struct tree_lab *t, const char *path)
{
	cleat_autoclose int fd = open_dir(path);
	uint64_t id = 0;

	lab_ok(cleat_sys_subvolume_id(fd, &id, &t->err), &t->err);
	return id;
}

static uint64_t limit_of(struct tree_lab *t, const char *key)
{
	cleat_autoclose int fd = open_dir(tree_data(t, key, ""));
	uint64_t used = 0, limit = 0;

	lab_ok(cleat_sys_btrfs_commit(fd, &t->err), &t->err);
	lab_ok(cleat_sys_btrfs_usage(fd, subvolume_id(t, tree_data(t, key, "")), &used, &limit, &t->err),
	       &t->err);
	return limit;
}

/* Subvolumes of the whole file system, by the kernel's own list. */
static int count_subvolumes(const struct tree_lab *t)
{
	struct btrfs_util_subvolume_iterator *it = NULL;
	int count = 0;
	char *path = NULL;
	uint64_t id = 0;

	assert_int_equal(
		btrfs_util_create_subvolume_iterator(tree_path(t, ""), BTRFS_FS_TREE_OBJECTID, 0, &it),
		BTRFS_UTIL_OK);
	while (btrfs_util_subvolume_iterator_next(it, &path, &id) == BTRFS_UTIL_OK) {
		free(path);
		count++;
	}
	btrfs_util_destroy_subvolume_iterator(it);
	return count;
}

static enum cleat_code try_create(struct tree_lab *t, const struct cleat_record *wish,
				  const struct cleat_record *source)
{
	cleat_autorecord struct cleat_record *rec = NULL;

	return t->b->create(t->pool, NULL, wish, source, NULL, &rec, &t->err);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void test_btrfs__needs_btrfs_and_makes_nothing_elsewhere(void **state)
{
	struct tree_lab *t = *state;

	lab_expect(tree_try_open(t, &cleat_backend_btrfs, NULL), &t->err, CLEAT_UNAVAILABLE, "needs btrfs");
	assert_int_equal(tree_entries(t, "pool"), 0);
}

static enum cleat_btrfs_quota quota_now(struct tree_lab *t)
{
	cleat_autoclose int fd = open_dir(tree_path(t, ""));
	enum cleat_btrfs_quota now = CLEAT_BTRFS_QUOTA_OFF;

	lab_ok(cleat_sys_btrfs_quota(fd, &now, &t->err), &t->err);
	return now;
}

static void test_btrfs__quota_is_switched_on_as_configured(void **state)
{
	struct tree_lab *t = *state;
	static const char *const simple[] = { "quota", "simple", NULL };

	tree_open(t, &cleat_backend_btrfs, quota_none);
	assert_int_equal(quota_now(t), CLEAT_BTRFS_QUOTA_OFF);
	assert_false(t->b->capabilities(t->pool) & CLEAT_CAN_ENFORCE_SIZE);
	cleat_autorecord struct cleat_record *soft = tree_make(t, "soft", TREE_SIZE);
	assert_int_equal(soft->capacity_bytes, 0);
	assert_string_equal(tree_attribute(soft, "requested_bytes"), "16777216");
	tree_close(t);
	tree_open(t, &cleat_backend_btrfs, quota_full);
	assert_int_equal(quota_now(t), CLEAT_BTRFS_QUOTA_FULL);
	assert_true(t->b->capabilities(t->pool) & CLEAT_CAN_ENFORCE_SIZE);
	tree_close(t);
	lab_expect(tree_try_open(t, &cleat_backend_btrfs, simple), &t->err, CLEAT_FAILED_PRECONDITION,
		   "full quota groups");
	open_pool(t);
	assert_int_equal(quota_now(t), CLEAT_BTRFS_QUOTA_FULL);
}

/* Kernels before 6.7 have no simple quotas: auto takes full groups there. */
static void test_btrfs__auto_prefers_simple_quotas(void **state)
{
	struct tree_lab *t = *state;

	open_pool(t);
	enum cleat_btrfs_quota now = quota_now(t);
	cleat_autoclose int fd = open_dir(tree_path(t, ""));
	assert_true(now == CLEAT_BTRFS_QUOTA_SIMPLE || now == CLEAT_BTRFS_QUOTA_FULL);
	if (now == CLEAT_BTRFS_QUOTA_FULL)
		assert_int_equal(access("/sys/fs/btrfs/features/simple_quota", F_OK), -1);
	assert_int_equal(t->b->capabilities(t->pool), CLEAT_CAN_MOUNT | CLEAT_CAN_ENFORCE_SIZE |
							      CLEAT_CAN_SNAPSHOT | CLEAT_CAN_CLONE |
							      CLEAT_CAN_EXPAND | CLEAT_CAN_EXPAND_ONLINE |
							      CLEAT_CAN_ADOPT | CLEAT_CAN_USAGE_OFFLINE);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static void check_enforced(struct tree_lab *t)
{
	struct cleat_usage usage;
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", TREE_SIZE - 1), *grown = NULL;

	assert_int_equal(rec->capacity_bytes, TREE_SIZE);
	assert_string_equal(tree_attribute(rec, "enforces_size"), "true");
	uint64_t first = tree_fill(tree_data(t, "abc", "fill"), 3 * TREE_SIZE);
	assert_true(first > TREE_SIZE / 2 && first <= TREE_SIZE);
	lab_ok(t->b->usage(t->pool, NULL, rec, NULL, &usage, &t->err), &t->err);
	assert_int_equal(usage.total_bytes, TREE_SIZE);
	assert_true(usage.used_bytes >= first && usage.used_bytes <= TREE_SIZE);
	assert_int_equal(usage.available_bytes, TREE_SIZE - usage.used_bytes);
	lab_ok(t->b->expand(t->pool, NULL, rec, 2 * TREE_SIZE, NULL, &grown, &t->err), &t->err);
	assert_int_equal(grown->capacity_bytes, 2 * TREE_SIZE);
	assert_int_equal(limit_of(t, "abc"), 2 * TREE_SIZE);
	assert_true(tree_fill(tree_data(t, "abc", "more"), TREE_SIZE) >= TREE_SIZE / 2);
	tree_remove(t, grown);
	tree_expect_tidy(t, 0);
}

static void test_btrfs__sizes_are_enforced_by_simple_or_full_quota(void **state)
{
	struct tree_lab *t = *state;

	open_pool(t);
	check_enforced(t);
}

static void test_btrfs__sizes_are_enforced_by_full_quota(void **state)
{
	struct tree_lab *t = *state;

	tree_open(t, &cleat_backend_btrfs, quota_full);
	check_enforced(t);
}

static void test_btrfs__expand_never_shrinks_and_repeats(void **state)
{
	struct tree_lab *t = *state;
	cleat_autorecord struct cleat_record *same = NULL, *huge = NULL, *limited = NULL;
	struct cleat_pool_space space;

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", TREE_SIZE),
					     *open_end = tree_make(t, "def", 0);
	lab_ok(t->b->expand(t->pool, NULL, rec, TREE_SIZE / 2, NULL, &same, &t->err), &t->err);
	assert_int_equal(same->capacity_bytes, TREE_SIZE);
	lab_expect(t->b->expand(t->pool, NULL, rec, UINT64_C(1) << 50, NULL, &huge, &t->err), &t->err,
		   CLEAT_RESOURCE_EXHAUSTED, "are wanted");
	assert_int_equal(limit_of(t, "abc"), TREE_SIZE);
	assert_int_equal(limit_of(t, "def"), 0);
	tree_fill(tree_data(t, "def", "fill"), 2 * TREE_SIZE);
	lab_expect(t->b->expand(t->pool, NULL, open_end, TREE_SIZE, NULL, &limited, &t->err), &t->err,
		   CLEAT_OUT_OF_RANGE, "already");
	lab_ok(t->b->expand(t->pool, NULL, open_end, 4 * TREE_SIZE, NULL, &limited, &t->err), &t->err);
	assert_int_equal(limit_of(t, "def"), 4 * TREE_SIZE);
	lab_ok(t->b->space(t->pool, &space, &t->err), &t->err);
	assert_int_equal(space.promised_bytes, 5 * TREE_SIZE);
}

static void test_btrfs__lost_limit_comes_back_with_map(void **state)
{
	struct tree_lab *t = *state;
	struct cleat_source source = { .fd = -1 };

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", TREE_SIZE);
	cleat_autoclose int fd = open_dir(tree_data(t, "abc", ""));
	lab_ok(cleat_sys_btrfs_limit(fd, subvolume_id(t, tree_data(t, "abc", "")), 0, &t->err), &t->err);
	assert_int_equal(limit_of(t, "abc"), 0);
	tree_map_ok(t, rec);
	assert_int_equal(limit_of(t, "abc"), TREE_SIZE);
	LAB_RUN("btrfs", "quota", "disable", tree_path(t, ""));
	lab_expect(t->b->map(t->pool, NULL, rec, false, &source, &t->err), &t->err, CLEAT_FAILED_PRECONDITION,
		   "switched off");
	tree_close(t);
	tree_open(t, &cleat_backend_btrfs, quota_none);
	tree_map_ok(t, rec); /* by order of the configuration */
	tree_close(t);
	open_pool(t);
	tree_map_ok(t, rec);
	assert_int_equal(limit_of(t, "abc"), TREE_SIZE);
}

/* ---- snapshots and clones -------------------------------------------------------------------- */

static void test_btrfs__snapshot_is_the_moment_and_read_only(void **state)
{
	struct tree_lab *t = *state;
	struct cleat_source source = { .fd = -1 };
	cleat_autorecord struct cleat_record *rec = NULL;

	open_pool(t);
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", TREE_SIZE);
	tree_put(tree_data(t, "vol", "file"), "before");
	cleat_autorecord struct cleat_record *snap = tree_snapshot(t, vol, "snap");
	cleat_autorecord struct cleat_record *again = tree_snapshot(t, vol, "snap");
	tree_put(tree_data(t, "vol", "file"), "after!");
	assert_int_equal(again->created_ms, snap->created_ms);
	assert_int_equal(snap->capacity_bytes, TREE_SIZE);
	assert_true(tree_holds(tree_data(t, "snap", "file"), "before"));
	assert_int_equal(open(tree_data(t, "snap", "new"), O_CREAT | O_WRONLY, 0600), -1);
	assert_int_equal(errno, EROFS);
	lab_ok(t->b->map(t->pool, NULL, snap, false, &source, &t->err), &t->err);
	assert_true(source.read_only);
	close(source.fd);
	lab_expect(t->b->expand(t->pool, NULL, snap, 2 * TREE_SIZE, NULL, &rec, &t->err), &t->err,
		   CLEAT_INVALID_ARGUMENT, "snapshot");
	tree_remove(t, vol); /* the snapshot does not need it */
	assert_true(tree_holds(tree_data(t, "snap", "file"), "before"));
	tree_remove(t, snap);
	tree_expect_tidy(t, 0);
	assert_int_equal(count_subvolumes(t), 0);
}

static void test_btrfs__clones_have_their_own_size_and_owner(void **state)
{
	static const char *const params[] = { "uid", "77", "mode", "0711", NULL };
	struct tree_lab *t = *state;
	struct stat st;

	open_pool(t);
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", TREE_SIZE);
	tree_put(tree_data(t, "vol", "file"), "data");
	cleat_autorecord struct cleat_record *snap = tree_snapshot(t, vol, "snap");
	cleat_autorecord struct cleat_record *a = tree_clone(t, vol, "a", 0),
					     *b = tree_clone(t, snap, "b", 2 * TREE_SIZE);
	assert_int_equal(a->capacity_bytes, TREE_SIZE);
	assert_int_equal(b->capacity_bytes, 2 * TREE_SIZE);
	assert_int_equal(limit_of(t, "a"), TREE_SIZE);
	assert_int_equal(limit_of(t, "b"), 2 * TREE_SIZE);
	tree_put(tree_data(t, "b", "file"), "own data");
	assert_true(tree_holds(tree_data(t, "a", "file"), "data"));
	assert_true(tree_holds(tree_data(t, "snap", "file"), "data"));
	cleat_autorecord struct cleat_record *owned = tree_wish("c", "c", 0, params),
					     *less = tree_wish("d", "d", TREE_SIZE / 2, NULL);
	lab_ok(try_create(t, owned, snap), &t->err);
	assert_int_equal(stat(tree_data(t, "c", ""), &st), 0);
	assert_int_equal(st.st_uid, 77);
	assert_int_equal(st.st_mode & 07777, 0711);
	lab_expect(try_create(t, less, snap), &t->err, CLEAT_OUT_OF_RANGE, "smaller than its source");
	tree_expect_tidy(t, 5);
}

static void test_btrfs__groups_are_refused(void **state)
{
	struct tree_lab *t = *state;
	cleat_autorecord struct cleat_record *wish = tree_wish("s", "s", 0, NULL);
	struct cleat_record *out[2] = { NULL, NULL };

	open_pool(t);
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", TREE_SIZE);
	const struct cleat_record *sources[] = { vol, vol }, *wishes[] = { wish, wish };
	lab_expect(t->b->snapshot(t->pool, NULL, sources, NULL, wishes, 2, out, &t->err), &t->err,
		   CLEAT_UNIMPLEMENTED, "several volumes");
}

/* ---- removal --------------------------------------------------------------------------------- */

static void nest(const char *path)
{
	assert_int_equal(btrfs_util_create_subvolume(path, 0, NULL, NULL), BTRFS_UTIL_OK);
}

static void test_btrfs__remove_takes_nested_subvolumes_along(void **state)
{
	struct tree_lab *t = *state;

	open_pool(t);
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", 0);
	nest(tree_data(t, "vol", "inner"));
	nest(tree_data(t, "vol", "inner/deeper"));
	assert_int_equal(mkdir(tree_data(t, "vol", "dir"), 0755), 0);
	nest(tree_data(t, "vol", "dir/other"));
	assert_int_equal(btrfs_util_create_snapshot(tree_data(t, "vol", "inner"),
						    tree_data(t, "vol", "frozen"),
						    BTRFS_UTIL_CREATE_SNAPSHOT_READ_ONLY, NULL, NULL),
			 BTRFS_UTIL_OK);
	assert_int_equal(count_subvolumes(t), 5);
	tree_remove(t, vol);
	tree_remove(t, vol);
	tree_expect_tidy(t, 0);
	assert_int_equal(count_subvolumes(t), 0);
}

/* Until the kernel's cleaner has taken every deleted subvolume away. */
static void wait_for_cleaner(struct tree_lab *t, int fd)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	size_t left = 1;

	for (int64_t end = cleat_time_mono_ms() + 30000; left > 0; nanosleep(&pause, NULL)) {
		uint64_t *ids = NULL;
		lab_ok(cleat_sys_btrfs_commit(fd, &t->err), &t->err); /* it wakes up at a commit */
		assert_int_equal(btrfs_util_deleted_subvolumes_fd(fd, &ids, &left), BTRFS_UTIL_OK);
		free(ids);
		assert_true(cleat_time_mono_ms() < end);
	}
	lab_ok(cleat_sys_btrfs_commit(fd, &t->err), &t->err); /* and what it did is counted at the next */
}

/* Removes a limited volume that holds something; the id of its subvolume. */
static uint64_t make_and_remove(struct tree_lab *t)
{
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", TREE_SIZE);
	uint64_t id = subvolume_id(t, tree_data(t, "vol", ""));

	tree_fill(tree_data(t, "vol", "fill"), TREE_MIB);
	assert_int_equal(limit_of(t, "vol"), TREE_SIZE);
	tree_remove(t, vol);
	return id;
}

/* The kernel lets a group go only when its cleaner has been there, and older ones do not remove it by
 * themselves. */
static void test_btrfs__remove_leaves_no_quota_group(void **state)
{
	struct tree_lab *t = *state;
	cleat_autoclose int fd = open_dir(tree_path(t, ""));
	uint64_t used, limit;
	int tries = 0;

	tree_open(t, &cleat_backend_btrfs, quota_full);
	uint64_t id = make_and_remove(t);
	do {
		wait_for_cleaner(t, fd);
		lab_ok(t->b->probe(t->pool, &t->err), &t->err);
		lab_ok(cleat_sys_btrfs_commit(fd, &t->err), &t->err);
	} while (cleat_sys_btrfs_usage(fd, id, &used, &limit, NULL) != CLEAT_NOT_FOUND && ++tries < 50);
	assert_true(tries < 50);
}

/* Where the kernel has not removed the group by itself (Debian 12), a start does; groups of living subvolumes
 * stay. */
static void test_btrfs__recovery_finds_quota_groups_left_behind(void **state)
{
	struct tree_lab *t = *state;
	cleat_autoclose int fd = open_dir(tree_path(t, ""));
	uint64_t used, limit, ids[2];

	tree_open(t, &cleat_backend_btrfs, quota_full);
	ids[0] = make_and_remove(t);
	nest(tree_path(t, "other"));
	ids[1] = subvolume_id(t, tree_path(t, "other"));
	tree_close(t);
	wait_for_cleaner(t, fd);
	open_pool(t);
	tree_recover(t);
	lab_ok(cleat_sys_btrfs_commit(fd, &t->err), &t->err);
	lab_expect(cleat_sys_btrfs_usage(fd, ids[0], &used, &limit, &t->err), &t->err, CLEAT_NOT_FOUND,
		   "quota");
	t->err = (struct cleat_error)CLEAT_ERROR_INIT;
	lab_ok(cleat_sys_btrfs_usage(fd, ids[1], &used, &limit, &t->err), &t->err);
}

static void bind(const char *from, const char *to)
{
	mkdir(to, 0755);
	assert_int_equal(mount(from, to, NULL, MS_BIND, NULL), 0);
}

struct search {
	const struct tree_lab *t;
	const char *target;
	char key[CLEAT_KEY_MAX_BYTES + 1];
	bool is_ours;
	char source[64];
	int device;
};

static bool look_at(const struct cleat_mount_entry *entry, void *arg)
{
	struct search *s = arg;

	if (strcmp(entry->target, s->target) == 0)
		s->is_ours = s->t->b->find_mount(s->t->pool, entry, s->key);
	return true;
}

static void test_btrfs__mounts_of_volumes_are_recognised(void **state)
{
	struct tree_lab *t = *state;
	const char *target = lab_join(t->lab, "target");
	struct search s = { .t = t, .target = target };

	open_pool(t);
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", 0);
	bind(tree_data(t, "vol", ""), target);
	lab_ok(cleat_sys_mounts(look_at, &s, &t->err), &t->err);
	assert_true(s.is_ours);
	assert_string_equal(s.key, "vol");
	lab_expect(t->b->remove(t->pool, NULL, vol, &t->err), &t->err, CLEAT_FAILED_PRECONDITION, target);
	assert_int_equal(umount2(target, 0), 0);
	tree_remove(t, vol);
}

static bool find_source(const struct cleat_mount_entry *entry, void *arg)
{
	struct search *s = arg;

	if (strcmp(entry->target, s->target) != 0)
		return true;
	s->device = open(entry->source, O_RDONLY | O_CLOEXEC);
	snprintf(s->source, sizeof(s->source), "%s", entry->source);
	return false;
}

/* Unmounts fs and mounts only its subvolume `name` there, as most systems do it. */
static void mount_subvolume(struct tree_lab *t, const char *name)
{
	struct search s = { .target = lab_join(t->lab, "fs"), .device = -1 };
	char options[64];

	lab_ok(cleat_sys_mounts(find_source, &s, &t->err), &t->err);
	assert_true(s.device >= 0); /* keeps the loop device while nothing is mounted */
	snprintf(options, sizeof(options), "subvol=%s", name);
	assert_int_equal(umount2(s.target, 0), 0);
	assert_int_equal(mount(s.source, s.target, "btrfs", 0, options), 0);
	close(s.device);
}

static void test_btrfs__pool_may_lie_in_a_mounted_subvolume(void **state)
{
	struct tree_lab *t = *state;
	const char *target = lab_join(t->lab, "target");
	struct search s = { .t = t, .target = target };

	nest(tree_path(t, "home"));
	mount_subvolume(t, "home");
	lab_mkdir(t->lab, "fs/pool");
	open_pool(t);
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", TREE_SIZE);
	assert_int_equal(limit_of(t, "vol"), TREE_SIZE);
	bind(tree_data(t, "vol", ""), target);
	lab_ok(cleat_sys_mounts(look_at, &s, &t->err), &t->err);
	assert_true(s.is_ours);
	assert_string_equal(s.key, "vol");
	lab_expect(t->b->remove(t->pool, NULL, vol, &t->err), &t->err, CLEAT_FAILED_PRECONDITION, target);
	assert_int_equal(umount2(target, 0), 0);
	tree_remove(t, vol);
}

/* ---- adoption -------------------------------------------------------------------------------- */

static enum cleat_code try_adopt(struct tree_lab *t, const char *key, uint64_t bytes, const char *what,
				 struct cleat_record **out)
{
	cleat_autorecord struct cleat_record *wish = tree_wish(key, key, bytes, NULL);

	return t->b->adopt(t->pool, NULL, wish, what, out, &t->err);
}

static void test_btrfs__adopts_subvolumes_only(void **state)
{
	struct tree_lab *t = *state;
	cleat_autorecord struct cleat_record *rec = NULL, *again = NULL;

	open_pool(t);
	nest(tree_path(t, "old"));
	tree_put(tree_path(t, "old/letter"), "dear");
	lab_mkdir(t->lab, "fs/plain");
	lab_expect(try_adopt(t, "abc", 0, tree_path(t, "plain"), &rec), &t->err, CLEAT_FAILED_PRECONDITION,
		   "takes subvolumes");
	lab_ok(try_adopt(t, "abc", TREE_SIZE, tree_path(t, "old"), &rec), &t->err);
	assert_int_equal(rec->capacity_bytes, TREE_SIZE);
	assert_int_equal(limit_of(t, "abc"), TREE_SIZE);
	assert_true(tree_holds(tree_data(t, "abc", "letter"), "dear"));
	lab_ok(try_adopt(t, "abc", TREE_SIZE, tree_path(t, "old"), &again), &t->err);
	cleat_autorecord struct cleat_record *snap = tree_snapshot(t, rec, "snap");
	tree_remove(t, rec);
	tree_remove(t, snap);
	assert_int_equal(count_subvolumes(t), 0);
}

static void adopt_old(struct tree_lab *t)
{
	cleat_autorecord struct cleat_record *rec = NULL;

	if (try_adopt(t, "abc", TREE_SIZE, tree_path(t, "old"), &rec))
		_exit(1);
}

static void test_btrfs__adoption_cut_off_anywhere_loses_nothing(void **state)
{
	struct tree_lab *t = *state;
	bool killed = true;

	nest(tree_path(t, "old"));
	tree_put(tree_path(t, "old/letter"), "dear");
	for (int n = 1; killed; n++) {
		cleat_autorecord struct cleat_record *rec = NULL;
		open_pool(t);
		killed = tree_killed_at(n, adopt_old, t);
		tree_recover(t);
		bool there = tree_holds(tree_path(t, "old/letter"), "dear");
		assert_true(there != tree_holds(tree_data(t, "abc", "letter"), "dear"));
		tree_expect_tidy(t, !there);
		lab_ok(try_adopt(t, "abc", TREE_SIZE, tree_path(t, "old"), &rec), &t->err);
		assert_int_equal(rename(tree_data(t, "abc", ""), tree_path(t, "old")), 0);
		tree_remove(t, rec);
		tree_close(t);
	}
}

/* ---- being cut off --------------------------------------------------------------------------- */

static void live(struct tree_lab *t)
{
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", TREE_SIZE), *grown = NULL;

	tree_put(tree_data(t, "vol", "file"), "hello");
	cleat_autorecord struct cleat_record *snap = tree_snapshot(t, vol, "snap");
	cleat_autorecord struct cleat_record *clone = tree_clone(t, snap, "clone", 0);
	lab_ok(t->b->expand(t->pool, NULL, clone, 2 * TREE_SIZE, NULL, &grown, &t->err), &t->err);
	tree_remove(t, vol);
	tree_remove(t, snap);
	tree_remove(t, grown);
}

struct found {
	struct cleat_record *recs[8];
	int count;
};

static bool collect(struct cleat_record *rec, const char *broken, void *arg)
{
	struct found *f = arg;

	if (broken)
		fail_msg("'%s' is broken: %s", rec->key, broken);
	assert_true(f->count < 8);
	f->recs[f->count++] = cleat_record_ref(rec);
	return true;
}

static void test_btrfs__life_of_a_volume_may_be_cut_off_anywhere(void **state)
{
	struct tree_lab *t = *state;
	bool killed = true;
	int n;

	for (n = 1; killed; n++) {
		struct found f = { .count = 0 };
		open_pool(t);
		killed = tree_killed_at(n, live, t);
		tree_recover(t);
		lab_ok(t->b->scan(t->pool, collect, &f, &t->err), &t->err);
		tree_expect_tidy(t, f.count);
		assert_int_equal(count_subvolumes(t), f.count);
		for (int i = 0; i < f.count; i++) {
			lab_ok(t->b->health(t->pool, NULL, f.recs[i], &t->err), &t->err);
			tree_map_ok(t, f.recs[i]);
			if (f.recs[i]->kind == CLEAT_KIND_VOLUME)
				assert_int_equal(limit_of(t, f.recs[i]->key), f.recs[i]->capacity_bytes);
			tree_remove(t, f.recs[i]);
			cleat_record_unref(f.recs[i]);
		}
		tree_close(t);
	}
	assert_true(n > 40);
}

static void test_btrfs__failing_steps_leave_no_subvolume(void **state)
{
	struct tree_lab *t = *state;
	bool failed = true;

	open_pool(t);
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", TREE_SIZE);
	cleat_autorecord struct cleat_record *snap = tree_snapshot(t, vol, "snap");
	cleat_autorecord struct cleat_record *wish = tree_wish("abc", "abc", TREE_SIZE, NULL);
	for (int n = 1; failed; n++) {
		lab_inject(NULL, n, EIO);
		failed = try_create(t, wish, n % 2 ? snap : NULL) != CLEAT_OK;
		lab_inject_off();
		assert_int_equal(tree_entries(t, "pool/new"), 0);
		int volumes = tree_entries(t, "pool/volumes");
		assert_true(volumes == 2 || volumes == 3); /* the last sync may fail after it appeared */
		assert_int_equal(count_subvolumes(t), volumes);
	}
}

/* ---- the dir backend on btrfs ---------------------------------------------------------------- */

static void test_dir__enforces_sizes_on_btrfs(void **state)
{
	struct tree_lab *t = *state;

	tree_open(t, &cleat_backend_dir, NULL);
	assert_int_equal(t->b->capabilities(t->pool), CLEAT_CAN_MOUNT | CLEAT_CAN_ENFORCE_SIZE |
							      CLEAT_CAN_SNAPSHOT | CLEAT_CAN_CLONE |
							      CLEAT_CAN_EXPAND | CLEAT_CAN_EXPAND_ONLINE |
							      CLEAT_CAN_ADOPT | CLEAT_CAN_USAGE_OFFLINE);
	check_enforced(t);
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", TREE_SIZE);
	tree_put(tree_data(t, "vol", "file"), "data");
	cleat_autorecord struct cleat_record *snap = tree_snapshot(t, vol, "snap"),
					     *clone = tree_clone(t, snap, "clone", 0);
	assert_true(tree_holds(tree_data(t, "clone", "file"), "data"));
	tree_remove(t, vol);
	tree_remove(t, snap);
	tree_remove(t, clone);
	assert_int_equal(count_subvolumes(t), 0);
}

static void test_dir__never_enforces_when_told_so(void **state)
{
	static const char *const never[] = { "enforce", "never", NULL };
	struct tree_lab *t = *state;

	tree_open(t, &cleat_backend_dir, never);
	assert_int_equal(quota_now(t), CLEAT_BTRFS_QUOTA_OFF);
	assert_false(t->b->capabilities(t->pool) & (CLEAT_CAN_ENFORCE_SIZE | CLEAT_CAN_USAGE_OFFLINE));
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", TREE_SIZE);
	assert_int_equal(vol->capacity_bytes, 0);
	assert_string_equal(tree_attribute(vol, "enforces_size"), "false");
	cleat_autorecord struct cleat_record *snap = tree_snapshot(t, vol, "snap");
	tree_remove(t, snap);
	tree_remove(t, vol);
}

/* A plain directory keeps working, without a promise about its size, and can be cloned by copying. */
static void test_dir__adopts_plain_directories_on_btrfs_without_limit(void **state)
{
	struct tree_lab *t = *state;
	const struct cleat_where staged = { .stage_path = "/run/somewhere" };
	cleat_autorecord struct cleat_record *rec = NULL, *snap = NULL, *out = NULL;
	struct cleat_usage usage;

	tree_open(t, &cleat_backend_dir, NULL);
	lab_mkdir(t->lab, "fs/old");
	tree_put(tree_path(t, "old/letter"), "dear");
	lab_ok(try_adopt(t, "abc", TREE_SIZE, tree_path(t, "old"), &rec), &t->err);
	assert_int_equal(rec->capacity_bytes, 0);
	assert_string_equal(tree_attribute(rec, "enforces_size"), "false");
	tree_map_ok(t, rec);
	lab_expect(t->b->usage(t->pool, NULL, rec, NULL, &usage, &t->err), &t->err, CLEAT_UNIMPLEMENTED,
		   "not counted");
	const struct cleat_record *sources[] = { rec };
	cleat_autorecord struct cleat_record *wish = tree_wish("snap", "snap", 0, NULL),
					     *clone_wish = tree_wish("c", "c", 0, NULL);
	const struct cleat_record *wishes[] = { wish };
	lab_expect(t->b->snapshot(t->pool, NULL, sources, NULL, wishes, 1, &snap, &t->err), &t->err,
		   CLEAT_FAILED_PRECONDITION, "plain directory");
	lab_expect(t->b->create(t->pool, NULL, clone_wish, rec, &staged, &out, &t->err), &t->err,
		   CLEAT_FAILED_PRECONDITION, "in use");
	cleat_autorecord struct cleat_record *clone = tree_clone(t, rec, "clone", TREE_SIZE);
	assert_int_equal(clone->capacity_bytes, TREE_SIZE);
	assert_true(tree_holds(tree_data(t, "clone", "letter"), "dear"));
	tree_remove(t, rec);
	tree_remove(t, clone);
	tree_expect_tidy(t, 0);
}

/* A pool that enforced sizes and was then copied to a file system that cannot must not go on as if it did. */
static void test_dir__pool_without_its_quota_says_so(void **state)
{
	struct tree_lab *t = *state;
	static const char *const never[] = { "enforce", "never", NULL };
	struct cleat_source source = { .fd = -1 };

	tree_open(t, &cleat_backend_dir, NULL);
	cleat_autorecord struct cleat_record *vol = tree_make(t, "vol", 0),
					     *limited = tree_wish("vol", "vol", TREE_SIZE, NULL);
	lab_ok(t->b->update(t->pool, NULL, limited, &t->err), &t->err);
	lab_expect(t->b->map(t->pool, NULL, limited, false, &source, &t->err), &t->err,
		   CLEAT_FAILED_PRECONDITION, "cannot enforce");
	lab_expect(t->b->health(t->pool, NULL, limited, &t->err), &t->err, CLEAT_FAILED_PRECONDITION,
		   "cannot enforce");
	tree_close(t);
	tree_open(t, &cleat_backend_dir, never);
	tree_map_ok(t, limited);
	lab_ok(t->b->health(t->pool, NULL, limited, &t->err), &t->err);
	tree_remove(t, vol);
}

/* ---- many at once ---------------------------------------------------------------------------- */

#define WORKERS 6

struct worker {
	struct tree_lab *t;
	pthread_t thread;
	int number;
	struct cleat_error err;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	const struct cleat_backend *b = w->t->b;
	char key[24];

	for (int i = 0; i < 4 && !w->err.code; i++) {
		snprintf(key, sizeof(key), "w%d-%d", w->number, i);
		cleat_autorecord struct cleat_record *wish = tree_wish(key, key, TREE_SIZE, NULL);
		cleat_autorecord struct cleat_record *rec = NULL;
		if (b->create(w->t->pool, NULL, wish, NULL, NULL, &rec, &w->err) ||
		    b->remove(w->t->pool, NULL, rec, &w->err))
			break;
	}
	return NULL;
}

static void test_btrfs__volumes_do_not_disturb_each_other(void **state)
{
	struct tree_lab *t = *state;
	struct worker workers[WORKERS] = { 0 };

	open_pool(t);
	for (int i = 0; i < WORKERS; i++) {
		workers[i].t = t;
		workers[i].number = i;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		lab_ok(workers[i].err.code, &workers[i].err);
	}
	tree_expect_tidy(t, 0);
	assert_int_equal(count_subvolumes(t), 0);
}

static int need_btrfs(void)
{
	static const char *const tools[] = { "mkfs.btrfs", "btrfs", NULL };
	int skip_code = lab_need_loop();
	FILE *list;
	char line[64];
	bool known = false;

	if (skip_code || (skip_code = lab_need_tools(tools)))
		return skip_code;
	list = fopen("/proc/filesystems", "re");
	while (list && fgets(line, sizeof(line), list))
		known = known || strstr(line, "btrfs");
	if (list)
		fclose(list);
	if (!known)
		printf("skipped: this kernel has no btrfs\n");
	return known ? 0 : 77;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAIN_TEST(test_btrfs__needs_btrfs_and_makes_nothing_elsewhere),
		BTRFS_TEST(test_btrfs__quota_is_switched_on_as_configured),
		BTRFS_TEST(test_btrfs__auto_prefers_simple_quotas),
		BTRFS_TEST(test_btrfs__sizes_are_enforced_by_simple_or_full_quota),
		BTRFS_TEST(test_btrfs__sizes_are_enforced_by_full_quota),
		BTRFS_TEST(test_btrfs__expand_never_shrinks_and_repeats),
		BTRFS_TEST(test_btrfs__lost_limit_comes_back_with_map),
		BTRFS_TEST(test_btrfs__snapshot_is_the_moment_and_read_only),
		BTRFS_TEST(test_btrfs__clones_have_their_own_size_and_owner),
		BTRFS_TEST(test_btrfs__groups_are_refused),
		BTRFS_TEST(test_btrfs__remove_takes_nested_subvolumes_along),
		BTRFS_TEST(test_btrfs__remove_leaves_no_quota_group),
		BTRFS_TEST(test_btrfs__recovery_finds_quota_groups_left_behind),
		BTRFS_TEST(test_btrfs__mounts_of_volumes_are_recognised),
		BTRFS_TEST(test_btrfs__pool_may_lie_in_a_mounted_subvolume),
		BTRFS_TEST(test_btrfs__adopts_subvolumes_only),
		BTRFS_TEST(test_btrfs__adoption_cut_off_anywhere_loses_nothing),
		BTRFS_TEST(test_btrfs__life_of_a_volume_may_be_cut_off_anywhere),
		BTRFS_TEST(test_btrfs__failing_steps_leave_no_subvolume),
		BTRFS_TEST(test_btrfs__volumes_do_not_disturb_each_other),
		BTRFS_TEST(test_dir__enforces_sizes_on_btrfs),
		BTRFS_TEST(test_dir__never_enforces_when_told_so),
		BTRFS_TEST(test_dir__adopts_plain_directories_on_btrfs_without_limit),
		PLAIN_TEST(test_dir__pool_without_its_quota_says_so),
	};
	int skip_code = need_btrfs();

	return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
