/* suite_data.c - sizes that hold, growth, usage, adoption, health. */
#include "suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/kv.h"

static uint64_t capacity_of(struct world *w, const char *volume)
{
	struct cleat_volume_state v;
	uint64_t bytes;

	ok_get(w, volume, CLEAT_KIND_VOLUME, &v);
	bytes = v.record->capacity_bytes;
	cleat_volume_state_done(&v);
	return bytes;
}

static struct cleat_usage usage_of(struct world *w, const char *volume)
{
	struct cleat_request req = req_for(CLEAT_VERB_USAGE, volume);
	struct cleat_result res;
	struct cleat_usage u;

	ok_call(w, &req, &res);
	u = res.usage;
	cleat_engine_result_done(&res);
	return u;
}

static void expand(struct world *w, const char *volume, uint64_t bytes, bool *later_out)
{
	struct cleat_request req = req_for(CLEAT_VERB_EXPAND, volume);
	struct cleat_result res;

	req.capacity_bytes = bytes;
	ok_call(w, &req, &res);
	assert_true(res.volumes[0].record->capacity_bytes >= bytes || !can(w, CLEAT_CAN_ENFORCE_SIZE));
	*later_out = res.grows_at_next_stage;
	cleat_engine_result_done(&res);
}

static void test_size__a_full_volume_stops_at_its_own_size(void **state)
{
	struct world *w = *state;
	struct cleat_request health = req_for(CLEAT_VERB_HEALTH, POOL "/db");
	struct cleat_result res;
	char t[256], path[300];
	int stopped = 0;

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	const uint64_t capacity = capacity_of(w, POOL "/db");
	uint64_t written = fill(t, "big", capacity * 2, &stopped);
	assert_true(stopped == ENOSPC || stopped == EDQUOT);
	assert_true(written <= capacity);
	assert_true(written >= capacity / 4);
	if (w->fx->traits & SHOWS_SIZE_IN_DF)
		assert_true(df_total(t) <= capacity && df_total(t) >= capacity / 2);
	/* A full volume is not a sick one, and it works again when there is room. */
	ok_call(w, &health, &res);
	assert_true(res.healthy);
	cleat_engine_result_done(&res);
	snprintf(path, sizeof(path), "%s/big", t);
	assert_int_equal(unlink(path), 0);
	ok_unpublish(w, POOL "/db", t);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "small", MIB, 2);
	world_tidy(w);
}

/* Root with CAP_SYS_RESOURCE may pass a project quota on ext4, others may not: the limit itself must be set.
 */
static void test_size__is_set_as_a_quota(void **state)
{
	struct world *w = *state;
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	const uint64_t capacity = capacity_of(w, POOL "/db");
	assert_true(df_total(t) <= capacity && df_total(t) >= capacity / 2);
	struct cleat_usage u = usage_of(w, POOL "/db");
	assert_true(u.total_bytes <= capacity);
	world_tidy(w);
}

static void test_usage__follows_what_is_written(void **state)
{
	struct world *w = *state;
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	struct cleat_usage empty = usage_of(w, POOL "/db");
	put_file(t, "f", 6 * MIB, 1);
	sync_fs(t); /* what is counted lies on the disk */
	struct cleat_usage filled = usage_of(w, POOL "/db");
	assert_true(filled.used_bytes >= empty.used_bytes + 5 * MIB);
	if (can(w, CLEAT_CAN_ENFORCE_SIZE)) {
		assert_true(filled.total_bytes <= capacity_of(w, POOL "/db"));
		assert_true(filled.available_bytes + 5 * MIB <= empty.available_bytes);
	}
	ok_unpublish(w, POOL "/db", t);
	if (can(w, CLEAT_CAN_USAGE_OFFLINE)) {
		struct cleat_usage offline = usage_of(w, POOL "/db");
		assert_true(offline.used_bytes >= 5 * MIB);
	} else {
		struct cleat_request req = req_for(CLEAT_VERB_USAGE, POOL "/db");
		refused_any(w, &req, CODE(CLEAT_FAILED_PRECONDITION) | CODE(CLEAT_UNIMPLEMENTED), NULL);
	}
	world_tidy(w);
}

/* ---- growth ------------------------------------------------------------------------------------------- */

/* Whether the volume at t really takes that much, when its size is enforced. */
static void must_hold(struct world *w, const char *t, uint64_t bytes)
{
	int stopped = 0;
	char path[300];

	uint64_t written = fill(t, "growth", bytes, &stopped);
	if (stopped || written < bytes)
		fail_msg("only %llu of %llu bytes went in: %s", (unsigned long long)written,
			 (unsigned long long)bytes, strerror(stopped));
	snprintf(path, sizeof(path), "%s/growth", t);
	assert_int_equal(unlink(path), 0);
	(void)w;
}

static void test_expand__under_a_published_volume(void **state)
{
	struct world *w = *state;
	const uint64_t before = w->fx->volume_bytes, after = 3 * w->fx->volume_bytes;
	bool later = false, again = false;
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", MIB, 1);
	expand(w, POOL "/db", after, &later);
	assert_true(capacity_of(w, POOL "/db") >= after);
	assert_true(has_file(t, "f", MIB, 1));
	put_file(t, "g", MIB, 2);
	/* ext4 grows online where the kernel lets us: the run under User Mode Linux says that it does there.
	 */
	if (later) {
		assert_true(w->fx->traits & FS_GROWS_LATER_OK);
		assert_null(getenv("CLEAT_EXPECT_EXT4_ONLINE"));
		ok_unpublish(w, POOL "/db", t);
		ok_publish(w, POOL "/db", "t", t);
	}
	must_hold(w, t, before + before / 2);
	if (w->fx->traits & SHOWS_SIZE_IN_DF)
		assert_true(df_total(t) > 2 * before);
	expand(w, POOL "/db", after, &again);
	assert_false(again);
	assert_true(has_file(t, "f", MIB, 1) && has_file(t, "g", MIB, 2));
	world_tidy(w);
}

static void test_expand__while_nobody_uses_it(void **state)
{
	struct world *w = *state;
	const uint64_t before = w->fx->volume_bytes, after = 3 * w->fx->volume_bytes;
	bool later = false;
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", MIB, 1);
	ok_unpublish(w, POOL "/db", t);
	expand(w, POOL "/db", after, &later);
	expand(w, POOL "/db", after, &later);
	world_close(w);
	world_open(w);
	assert_true(capacity_of(w, POOL "/db") >= after);
	ok_publish(w, POOL "/db", "t", t);
	must_hold(w, t, before + before / 2);
	assert_true(has_file(t, "f", MIB, 1));
	world_tidy(w);
}

static void test_expand__xfs_and_btrfs_grow_online(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *fs;
		uint64_t bytes;
	} kinds[] = { { "xfs", 320 * MIB }, { "btrfs", 256 * MIB } };
	bool later = true;
	char t[256], ref[64];

	world_open(w);
	for (size_t i = 0; i < CLEAT_COUNT(kinds); i++) {
		cleat_autokvs struct cleat_kvs params = kv_one("fs", kinds[i].fs);
		struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

		req.name = kinds[i].fs;
		req.capacity_bytes = kinds[i].bytes;
		req.params = &params;
		ok_create_with(w, &req, NULL);
		snprintf(ref, sizeof(ref), POOL "/%s", kinds[i].fs);
		ok_publish(w, ref, kinds[i].fs, t);
		put_file(t, "f", MIB, 1);
		expand(w, ref, 2 * kinds[i].bytes, &later);
		assert_false(later);
		assert_true(df_total(t) > kinds[i].bytes * 3 / 2);
		assert_true(has_file(t, "f", MIB, 1));
		ok_unpublish(w, ref, t);
	}
	world_tidy(w);
}

static void test_expand__never_makes_smaller(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_EXPAND, POOL "/db");
	bool later;

	world_open(w);
	ok_create(w, "db", NULL);
	const uint64_t before = capacity_of(w, POOL "/db");
	expand(w, POOL "/db", before / 2, &later);
	assert_int_equal(capacity_of(w, POOL "/db"), before);
	req.capacity_bytes = (uint64_t)-1;
	refused_any(w, &req, CODE(CLEAT_OUT_OF_RANGE) | CODE(CLEAT_INVALID_ARGUMENT), NULL);
	req.capacity_bytes = 0;
	refused_any(w, &req, CODE(CLEAT_OUT_OF_RANGE) | CODE(CLEAT_INVALID_ARGUMENT), NULL);
	if (w->fx->traits & ADMITS_BY_SPACE) {
		req.capacity_bytes = 2 * w->fx->base_bytes;
		refused_any(w, &req, CODE(CLEAT_RESOURCE_EXHAUSTED) | CODE(CLEAT_OUT_OF_RANGE), NULL);
	}
	assert_int_equal(capacity_of(w, POOL "/db"), before);
	req = req_for(CLEAT_VERB_EXPAND, POOL "/never-was");
	req.capacity_bytes = before;
	refused(w, &req, CLEAT_NOT_FOUND, "never-was");
	world_tidy(w);
}

static void test_expand__is_unimplemented_where_it_cannot_be(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_EXPAND, POOL "/db");
	bool later;

	world_open(w);
	ok_create(w, "db", NULL);
	if (can(w, CLEAT_CAN_EXPAND)) {
		expand(w, POOL "/db", 2 * w->fx->volume_bytes, &later);
	} else {
		req.capacity_bytes = 2 * w->fx->volume_bytes;
		refused_any(w, &req, CODE(CLEAT_UNIMPLEMENTED) | CODE(CLEAT_FAILED_PRECONDITION), NULL);
	}
	world_tidy(w);
}

static void test_thick__is_really_there(void **state)
{
	struct world *w = *state;
	cleat_autokvs struct cleat_kvs params = kv_one("thick", "true");
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	struct cleat_usage u;
	struct cleat_request space = req_for(CLEAT_VERB_POOL_SPACE, NULL);
	struct cleat_result before, after;

	world_open(w);
	ok_call(w, &space, &before);
	req.name = "db";
	req.capacity_bytes = 64 * MIB;
	req.params = &params;
	ok_create_with(w, &req, NULL);
	ok_call(w, &space, &after);
	/* Promises and blocks are counted once, not twice. */
	u.used_bytes = before.space.available_bytes - after.space.available_bytes;
	assert_true(u.used_bytes >= 60 * MIB && u.used_bytes <= 80 * MIB);
	assert_true(after.space.used_bytes >= before.space.used_bytes + 60 * MIB);
	cleat_engine_result_done(&before);
	cleat_engine_result_done(&after);
	world_tidy(w);
}

/* ---- adoption ----------------------------------------------------------------------------------------- */

/* Something with a file in it, made without us: an ext4 image, a directory, a subvolume. */
static void make_foreign(struct world *w, const char *path)
{
	char mounted[300];

	if (!(w->fx->traits & KEEPS_IMAGE)) {
		const char *const subvolume[] = { "btrfs", "-q", "subvolume", "create", path, NULL };

		if (strcmp(w->fx->backend, "btrfs") == 0)
			assert_int_equal(run_tool(subvolume), 0);
		else
			assert_int_equal(mkdir(path, 0755), 0);
		put_file(path, "f", MIB, 1);
		return;
	}
	const char *const make[] = { "mke2fs", "-q", "-F", "-t", "ext4", path, "32M", NULL };
	target_path(w, "foreign", true, mounted);
	const char *const mount[] = { "mount", "-o", "loop", path, mounted, NULL };
	assert_int_equal(run_tool(make), 0);
	assert_int_equal(run_tool(mount), 0);
	put_file(mounted, "f", MIB, 1);
	assert_int_equal(umount(mounted), 0);
	assert_int_equal(loops_left(path, NULL), 0);
}

static void test_adopt__takes_in_what_is_there(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_ADOPT, NULL);
	char what[256], t[256], id[CLEAT_ID_MAX_BYTES + 1], again[CLEAT_ID_MAX_BYTES + 1];
	struct cleat_volume_state v;

	snprintf(what, sizeof(what), "%s-foreign", w->pool_path);
	make_foreign(w, what);
	world_open(w);
	req.name = "db";
	req.what = what;
	ok_create_with(w, &req, id);
	ok_create_with(w, &req, again);
	assert_string_equal(id, again);
	ok_get(w, id, CLEAT_KIND_VOLUME, &v);
	assert_true(v.record->adopted);
	cleat_volume_state_done(&v);
	world_close(w);
	world_open(w);
	ok_publish(w, id, "t", t);
	assert_true(has_file(t, "f", MIB, 1));
	put_file(t, "g", MIB, 2);
	ok_unpublish(w, id, t);
	world_tidy(w);
	/* Deleted as any other volume, and whatever name it had before is not left behind as something else.
	 */
	remove_all(what);
}

static void test_adopt__refuses_what_it_cannot_take(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_ADOPT, NULL);
	static const char *const bad[] = { "relative", "/proc/self/mem", "/nothing/here", "", "/" };
	char what[300];

	world_open(w);
	req.name = "db";
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		req.what = bad[i];
		refused_any(w, &req,
			    CODE(CLEAT_INVALID_ARGUMENT) | CODE(CLEAT_FAILED_PRECONDITION) |
				    CODE(CLEAT_NOT_FOUND) | CODE(CLEAT_PERMISSION_DENIED),
			    NULL);
	}
	/* The pool's own insides. */
	req.what = w->pool_path;
	refused_any(w, &req, CODE(CLEAT_INVALID_ARGUMENT) | CODE(CLEAT_FAILED_PRECONDITION), NULL);
	/* Neither a file system nor a directory. */
	put_file(suite_dir, "base/rubbish", 100000, 1);
	snprintf(what, sizeof(what), "%s/base/rubbish", suite_dir);
	req.what = what;
	refused_any(w, &req, CODE(CLEAT_INVALID_ARGUMENT) | CODE(CLEAT_FAILED_PRECONDITION), NULL);
	assert_int_equal(unlink(what), 0);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 0);
	world_tidy(w);
}

const struct suite_case suite_data[] = {
	CASE(test_size__a_full_volume_stops_at_its_own_size, IN_QUICK, CLEAT_CAN_ENFORCE_SIZE, 0),
	CASE(test_size__is_set_as_a_quota, IN_QUICK, CLEAT_CAN_ENFORCE_SIZE, SHOWS_SIZE_IN_DF),
	CASE(test_usage__follows_what_is_written, IN_QUICK, 0, 0),
	CASE(test_expand__under_a_published_volume, IN_QUICK, CLEAT_CAN_EXPAND | CLEAT_CAN_ENFORCE_SIZE, 0),
	CASE(test_expand__while_nobody_uses_it, IN_QUICK, CLEAT_CAN_EXPAND | CLEAT_CAN_ENFORCE_SIZE, 0),
	CASE(test_expand__xfs_and_btrfs_grow_online, 0, CLEAT_CAN_EXPAND_ONLINE, KEEPS_IMAGE),
	CASE(test_expand__never_makes_smaller, 0, CLEAT_CAN_EXPAND | CLEAT_CAN_ENFORCE_SIZE, 0),
	CASE(test_expand__is_unimplemented_where_it_cannot_be, 0, 0, 0),
	CASE(test_thick__is_really_there, 0, 0, KEEPS_IMAGE),
	CASE(test_adopt__takes_in_what_is_there, IN_QUICK, CLEAT_CAN_ADOPT, IN_DIRECTORY),
	CASE(test_adopt__refuses_what_it_cannot_take, 0, CLEAT_CAN_ADOPT, IN_DIRECTORY),
	{ 0 },
};
