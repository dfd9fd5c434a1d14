/* suite_names.c - names, sizes and parameters that must not be believed. */
#include "suite.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/kv.h"

static void test_names__bad_ones_are_refused_and_leave_nothing(void **state)
{
	struct world *w = *state;
	char long_name[301], too_long[CLEAT_NAME_MAX_BYTES + 2];
	const char *const bad[] = {
		"",	  "a/b",	 "/",	    "..",	   ".",	      "../../etc", "tab\there",
		"bell\a", "\x1b[31mred", "del\x7f", "line\nbreak", long_name, too_long
	};
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	memset(too_long, 'n', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	world_open(w);
	req.capacity_bytes = w->fx->volume_bytes;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		req.name = bad[i];
		refused(w, &req, CLEAT_INVALID_ARGUMENT, NULL);
	}
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 0);
	assert_int_equal(pool_entries(w, "volumes"), 0);
	world_tidy(w);
}

static void test_names__odd_but_good_ones_work(void **state)
{
	struct world *w = *state;
	char longest[CLEAT_NAME_MAX_BYTES + 1];
	const char *const good[] = { "a",      "with space",	 "-rf",
				     "--help", "name.with.dots", "\xc3\xa9t\xc3\xa9",
				     "$(id)",  "a;b|c&d",	 "'quoted\"",
				     "%s%n",   longest };
	char id[CLEAT_ID_MAX_BYTES + 1], ref[256];

	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	world_open(w);
	for (size_t i = 0; i < CLEAT_COUNT(good); i++) {
		ok_create(w, good[i], id);
		snprintf(ref, sizeof(ref), POOL "/%s", good[i]);
		assert_true(exists(w, ref, CLEAT_KIND_VOLUME));
		ok_delete(w, ref);
		assert_false(exists(w, id, CLEAT_KIND_VOLUME));
	}
	world_tidy(w);
}

static void test_names__of_volumes_that_cannot_be_are_no_paths(void **state)
{
	struct world *w = *state;
	const char *const bad[] = { "..", "../..", POOL "/..", POOL "/../../etc", "/etc/passwd", POOL ".",
				    ".x", "a.b.c", "\t" };
	char ref[CLEAT_ID_MAX_BYTES + 64];
	struct cleat_pool_state pool;

	world_open(w);
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, bad[i]);

		refused_any(w, &req, CODE(CLEAT_NOT_FOUND) | CODE(CLEAT_INVALID_ARGUMENT), NULL);
	}
	/* The right pool, and a key that would climb out of it. */
	assert_int_equal(cleat_pool_get(w->e, POOL, &pool, NULL), CLEAT_OK);
	snprintf(ref, sizeof(ref), "%s.../../../x", pool.stored_name);
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, ref);
	refused_any(w, &req, CODE(CLEAT_NOT_FOUND) | CODE(CLEAT_INVALID_ARGUMENT), NULL);
	world_tidy(w);
}

static void test_sizes__impossible_ones_are_refused(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

	world_open(w);
	req.name = "db";
	/* What was negative before it became unsigned. */
	req.capacity_bytes = (uint64_t)-1;
	refused_any(w, &req, CODE(CLEAT_OUT_OF_RANGE) | CODE(CLEAT_INVALID_ARGUMENT), NULL);
	req.capacity_bytes = 1ULL << 63;
	refused_any(w, &req, CODE(CLEAT_OUT_OF_RANGE) | CODE(CLEAT_INVALID_ARGUMENT), NULL);
	req.capacity_bytes = 2 * w->fx->volume_bytes;
	req.limit_bytes = w->fx->volume_bytes;
	refused_any(w, &req, CODE(CLEAT_OUT_OF_RANGE) | CODE(CLEAT_INVALID_ARGUMENT), NULL);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 0);
	world_tidy(w);
}

static void test_sizes__huge_ones_are_refused_where_sizes_count(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

	world_open(w);
	req.name = "db";
	req.capacity_bytes = INT64_MAX;
	refused_any(w, &req, CODE(CLEAT_OUT_OF_RANGE) | CODE(CLEAT_RESOURCE_EXHAUSTED), NULL);
	req.capacity_bytes = 2 * w->fx->base_bytes;
	refused_any(w, &req, CODE(CLEAT_OUT_OF_RANGE) | CODE(CLEAT_RESOURCE_EXHAUSTED), NULL);
	assert_int_equal(pool_entries(w, "volumes"), 0);
	world_tidy(w);
}

static void test_sizes__a_full_pool_admits_no_more(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL),
			     space = req_for(CLEAT_VERB_POOL_SPACE, NULL);
	struct cleat_result res;
	uint64_t available;

	world_open(w);
	ok_call(w, &space, &res);
	available = res.space.available_bytes;
	cleat_engine_result_done(&res);
	assert_true(available > 64 * MIB && available < w->fx->base_bytes);
	req.name = "big";
	req.capacity_bytes = available / MIB * MIB - 16 * MIB;
	ok_create_with(w, &req, NULL);
	req.name = "more";
	req.capacity_bytes = 64 * MIB;
	refused(w, &req, CLEAT_RESOURCE_EXHAUSTED, NULL);
	/* Promises count, not blocks: the big one is still empty. */
	ok_call(w, &space, &res);
	assert_true(res.space.available_bytes < 64 * MIB);
	assert_true(res.space.promised_bytes >= available / MIB * MIB - 16 * MIB);
	cleat_engine_result_done(&res);
	ok_delete(w, POOL "/big");
	ok_create_with(w, &req, NULL);
	world_tidy(w);
}

/* Takes every block that is left on the fixture's file system. */
static void take_all(const char *path)
{
	cleat_autoclose int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	off_t at = 0;

	assert_true(fd >= 0);
	for (off_t step = 256 * (off_t)MIB; step >= 4096;) {
		if (fallocate(fd, 0, at, step) == 0)
			at += step;
		else
			step /= 2;
	}
	assert_true(at > 0);
}

/* Somebody else fills the disk under the pool: calls fail clearly or work, and nothing that was there is
 * lost. */
static void test_sizes__a_disk_that_is_really_full_loses_nothing(void **state)
{
	struct world *w = *state;
	static const enum cleat_verb verbs[] = { CLEAT_VERB_CREATE, CLEAT_VERB_MODIFY, CLEAT_VERB_SNAPSHOT,
						 CLEAT_VERB_EXPAND };
	cleat_autokvs struct cleat_kvs labels = kv_one("tier", "gold");
	char hog[256], t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", MIB, 1);
	snprintf(hog, sizeof(hog), "%s/base/hog", suite_dir);
	take_all(hog);
	for (size_t i = 0; i < CLEAT_COUNT(verbs); i++) {
		struct cleat_request req = req_for(verbs[i], POOL "/db");
		struct cleat_result res = { 0 };
		struct cleat_error err;

		req.name = "more";
		req.capacity_bytes =
			verbs[i] == CLEAT_VERB_EXPAND ? 64 * w->fx->volume_bytes : w->fx->volume_bytes;
		req.labels = verbs[i] == CLEAT_VERB_MODIFY ? &labels : NULL;
		enum cleat_code code = call(w, &req, &res, &err);
		if (code == CLEAT_OK)
			cleat_engine_result_done(&res);
		else if (code != CLEAT_RESOURCE_EXHAUSTED && code != CLEAT_UNIMPLEMENTED &&
			 code != CLEAT_FAILED_PRECONDITION)
			fail_msg("%s on a full disk: %s: %s", cleat_verb_name(verbs[i]),
				 cleat_code_name(code), err.msg);
		if (code == CLEAT_OK && verbs[i] == CLEAT_VERB_CREATE)
			assert_false(w->fx->traits & ADMITS_BY_SPACE);
	}
	assert_int_equal(pool_entries(w, "new"), 0);
	assert_true(has_file(t, "f", MIB, 1));
	assert_int_equal(unlink(hog), 0);
	char base[128];
	snprintf(base, sizeof(base), "%s/base", suite_dir);
	sync_fs(base); /* btrfs gives blocks back with its next commit */
	ok_create(w, "later", NULL);
	put_file(t, "g", MIB, 2);
	assert_true(has_file(t, "f", MIB, 1));
	world_close(w);
	world_open(w);
	assert_true(has_file(t, "f", MIB, 1));
	world_tidy(w);
}

static void test_sizes__zero_takes_the_default(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	struct cleat_volume_state v;

	world_open(w);
	req.name = "db";
	ok_create_with(w, &req, NULL);
	ok_get(w, POOL "/db", CLEAT_KIND_VOLUME, &v);
	if (w->fx->traits & KEEPS_IMAGE)
		assert_true(v.record->capacity_bytes > 0);
	cleat_volume_state_done(&v);
	ok_create_with(w, &req, NULL); /* and again is the same */
	world_tidy(w);
}

static void test_sizes__below_the_least_are_refused_or_rounded_up(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	struct cleat_result res = { 0 };
	struct cleat_error err;

	world_open(w);
	req.name = "tiny";
	req.capacity_bytes = 1;
	enum cleat_code code = call(w, &req, &res, &err);
	if (code == CLEAT_OK) {
		assert_true(res.volumes[0].record->capacity_bytes >= 1 || !can(w, CLEAT_CAN_ENFORCE_SIZE));
		cleat_engine_result_done(&res);
	} else {
		assert_true(code == CLEAT_OUT_OF_RANGE || code == CLEAT_INVALID_ARGUMENT);
		assert_int_equal(pool_entries(w, "volumes"), 0);
	}
	world_tidy(w);
}

static void test_sizes__a_hard_one_is_refused_where_none_is_enforced(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	struct cleat_volume_state v;

	world_open(w);
	req.name = "db";
	req.capacity_bytes = w->fx->volume_bytes;
	req.hard_size = true;
	if (can(w, CLEAT_CAN_ENFORCE_SIZE)) {
		ok_create_with(w, &req, NULL);
		world_tidy(w);
		return;
	}
	refused(w, &req, CLEAT_FAILED_PRECONDITION, NULL);
	/* Without the demand it is made, and says that nobody enforces the size. */
	req.hard_size = false;
	ok_create_with(w, &req, NULL);
	ok_get(w, POOL "/db", CLEAT_KIND_VOLUME, &v);
	assert_string_equal(cleat_kv_get(&v.record->attributes, "enforces_size"), "false");
	cleat_volume_state_done(&v);
	world_tidy(w);
}

static void test_sizes__the_default_bows_to_a_limit(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	struct cleat_result res;

	world_open(w);
	req.name = "db";
	req.limit_bytes = w->fx->volume_bytes + 1; /* no whole number of blocks */
	ok_call(w, &req, &res);
	assert_true(res.volumes[0].record->capacity_bytes <= req.limit_bytes);
	cleat_engine_result_done(&res);
	world_tidy(w);
}

const struct suite_case suite_names[] = {
	CASE(test_names__bad_ones_are_refused_and_leave_nothing, IN_QUICK, 0, 0),
	CASE(test_names__odd_but_good_ones_work, 0, 0, 0),
	CASE(test_names__of_volumes_that_cannot_be_are_no_paths, 0, 0, 0),
	CASE(test_sizes__impossible_ones_are_refused, 0, 0, 0),
	CASE(test_sizes__huge_ones_are_refused_where_sizes_count, 0, CLEAT_CAN_ENFORCE_SIZE, ADMITS_BY_SPACE),
	CASE(test_sizes__a_full_pool_admits_no_more, 0, CLEAT_CAN_ENFORCE_SIZE, COUNTS_PROMISES),
	CASE(test_sizes__a_disk_that_is_really_full_loses_nothing, 0, 0, IN_DIRECTORY),
	CASE(test_sizes__zero_takes_the_default, 0, 0, 0),
	CASE(test_sizes__the_default_bows_to_a_limit, 0, 0, 0),
	CASE(test_sizes__below_the_least_are_refused_or_rounded_up, 0, 0, 0),
	CASE(test_sizes__a_hard_one_is_refused_where_none_is_enforced, IN_QUICK, 0, 0),
	{ 0 },
};
