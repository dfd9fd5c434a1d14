/* suite_snapshots.c - snapshots, restores, clones and groups of them, also of volumes that are being written.
 */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/kv.h"

/* Where snapshots need an unpublished volume, it is unpublished for the moment. */
static void snapshot_of(struct world *w, const char *volume, const char *name, const char *leaf,
			char id_out[CLEAT_ID_MAX_BYTES + 1])
{
	const bool offline = can(w, CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY);
	char t[256];

	if (offline)
		ok_unpublish(w, volume, target_path(w, leaf, false, t));
	ok_snapshot(w, volume, name, id_out);
	if (offline)
		ok_publish(w, volume, leaf, t);
}

static bool has_snapshots(const struct world *w)
{
	return can(w, CLEAT_CAN_SNAPSHOT) || can(w, CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY);
}

static void test_snapshot__holds_what_was_there_then(void **state)
{
	struct world *w = *state;
	char t[256], r[256], snap[CLEAT_ID_MAX_BYTES + 1], path[300];
	struct cleat_volume_state v, origin;

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "old", 2 * MIB, 1);
	snapshot_of(w, POOL "/db", "monday", "t", snap);
	put_file(t, "old", 2 * MIB, 2);
	put_file(t, "new", MIB, 3);
	ok_get(w, snap, CLEAT_KIND_SNAPSHOT, &v);
	ok_get(w, POOL "/db", CLEAT_KIND_VOLUME, &origin);
	assert_string_equal(v.record->name, "monday");
	assert_string_equal(v.record->source, origin.id);
	cleat_volume_state_done(&v);
	cleat_volume_state_done(&origin);
	assert_int_equal(count_volumes(w, CLEAT_KIND_SNAPSHOT), 1);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 1);
	ok_clone(w, snap, "restored", w->fx->volume_bytes, NULL);
	ok_publish(w, POOL "/restored", "r", r);
	assert_true(has_file(r, "old", 2 * MIB, 1));
	snprintf(path, sizeof(path), "%s/new", r);
	assert_int_equal(access(path, F_OK), -1);
	/* The restored one is a volume of its own, and the original goes on. */
	put_file(r, "old", 1000, 4);
	assert_true(has_file(t, "old", 2 * MIB, 2) && has_file(t, "new", MIB, 3));
	ok_clone(w, POOL "/monday", "second", w->fx->volume_bytes, NULL);
	ok_unpublish(w, POOL "/restored", r);
	ok_publish(w, POOL "/second", "r", r);
	assert_true(has_file(r, "old", 2 * MIB, 1));
	world_tidy(w);
}

static void test_snapshot__is_idempotent_by_name(void **state)
{
	struct world *w = *state;
	char first[CLEAT_ID_MAX_BYTES + 1], second[CLEAT_ID_MAX_BYTES + 1];
	struct cleat_request req = req_for(CLEAT_VERB_SNAPSHOT, POOL "/other");

	world_open(w);
	ok_create(w, "db", NULL);
	ok_create(w, "other", NULL);
	ok_snapshot(w, POOL "/db", "monday", first);
	ok_snapshot(w, POOL "/db", "monday", second);
	assert_string_equal(first, second);
	req.name = "monday";
	refused(w, &req, CLEAT_ALREADY_EXISTS, "monday");
	ok_delete_snapshot(w, first);
	ok_delete_snapshot(w, first);
	ok_delete_snapshot(w, POOL "/monday");
	ok_call(w, &req, NULL);
	req = req_for(CLEAT_VERB_SNAPSHOT, POOL "/never-was");
	req.name = "x";
	refused(w, &req, CLEAT_NOT_FOUND, "never-was");
	world_tidy(w);
}

static void test_snapshot__survives_its_volume_and_a_restart(void **state)
{
	struct world *w = *state;
	char t[256], snap[CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", MIB, 1);
	ok_unpublish(w, POOL "/db", t);
	ok_snapshot(w, POOL "/db", "monday", snap);
	ok_delete(w, POOL "/db");
	world_close(w);
	world_open(w);
	ok_clone(w, snap, "back", w->fx->volume_bytes, NULL);
	ok_publish(w, POOL "/back", "t", t);
	assert_true(has_file(t, "f", MIB, 1));
	ok_delete_snapshot(w, snap);
	assert_true(has_file(t, "f", MIB, 1));
	world_tidy(w);
}

static void test_snapshot__lists_by_volume(void **state)
{
	struct world *w = *state;
	struct cleat_list_query q = { .kind = CLEAT_KIND_SNAPSHOT, .source = POOL "/a" };
	struct cleat_volume_list list;

	world_open(w);
	ok_create(w, "a", NULL);
	ok_create(w, "b", NULL);
	ok_snapshot(w, POOL "/a", "a1", NULL);
	ok_snapshot(w, POOL "/a", "a2", NULL);
	ok_snapshot(w, POOL "/b", "b1", NULL);
	assert_int_equal(cleat_volume_list(w->e, &q, &list, NULL), CLEAT_OK);
	assert_int_equal(list.count, 2);
	cleat_volume_list_done(&list);
	world_tidy(w);
}

static void test_snapshot__of_a_used_volume_is_refused_where_it_would_lie(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_SNAPSHOT, POOL "/db");
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	req.name = "monday";
	if (can(w, CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY))
		refused(w, &req, CLEAT_FAILED_PRECONDITION, NULL);
	else if (!has_snapshots(w))
		refused(w, &req, CLEAT_UNIMPLEMENTED, NULL);
	else
		ok_call(w, &req, NULL);
	world_tidy(w);
}

static void test_clone__of_a_volume_may_be_larger(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	char t[256], c[256];
	int stopped = 0;

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", MIB, 1);
	ok_unpublish(w, POOL "/db", t);
	req.name = "copy";
	req.source = POOL "/db";
	req.capacity_bytes = 2 * w->fx->volume_bytes;
	if (!can(w, CLEAT_CAN_CLONE)) {
		refused_any(w, &req, CODE(CLEAT_UNIMPLEMENTED) | CODE(CLEAT_FAILED_PRECONDITION), NULL);
		world_tidy(w);
		return;
	}
	ok_create_with(w, &req, NULL);
	ok_create_with(w, &req, NULL);
	ok_publish(w, POOL "/copy", "c", c);
	assert_true(has_file(c, "f", MIB, 1));
	assert_true(fill(c, "g", w->fx->volume_bytes + w->fx->volume_bytes / 4, &stopped) >
		    w->fx->volume_bytes);
	/* Both at once: a copy must not be taken for its original (XFS and btrfs go by UUID). */
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", MIB, 2);
	assert_true(has_file(c, "f", MIB, 1));
	req.name = "small";
	req.capacity_bytes = w->fx->volume_bytes / 2;
	req.limit_bytes = w->fx->volume_bytes / 2;
	refused_any(w, &req,
		    CODE(CLEAT_OUT_OF_RANGE) | CODE(CLEAT_INVALID_ARGUMENT) | CODE(CLEAT_FAILED_PRECONDITION),
		    NULL);
	req = req_for(CLEAT_VERB_CREATE, NULL);
	req.name = "nothing";
	req.source = POOL "/never-was";
	refused(w, &req, CLEAT_NOT_FOUND, "never-was");
	world_tidy(w);
}

static void test_clone__of_each_file_system_mounts_beside_its_original(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *fs;
		uint64_t bytes;
	} kinds[] = { { "xfs", 320 * MIB }, { "btrfs", 256 * MIB }, { "ext4", 32 * MIB } };
	char t[256], c[256], ref[64], copy[64];

	world_open(w);
	for (size_t i = 0; i < CLEAT_COUNT(kinds); i++) {
		cleat_autokvs struct cleat_kvs params = kv_one("fs", kinds[i].fs);
		struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

		req.name = kinds[i].fs;
		req.capacity_bytes = kinds[i].bytes;
		req.params = &params;
		ok_create_with(w, &req, NULL);
		snprintf(ref, sizeof(ref), POOL "/%s", kinds[i].fs);
		snprintf(copy, sizeof(copy), "%s-copy", kinds[i].fs);
		ok_publish(w, ref, "t", t);
		put_file(t, "f", MIB, 1);
		snapshot_of(w, ref, kinds[i].fs, "t", NULL);
		put_file(t, "f", MIB, 2);
		ok_clone(w, ref, copy, kinds[i].bytes, NULL); /* by name: the snapshot comes first */
		snprintf(copy, sizeof(copy), POOL "/%s-copy", kinds[i].fs);
		ok_publish(w, copy, "c", c);
		assert_true(has_file(c, "f", MIB, 1));
		assert_true(has_file(t, "f", MIB, 2));
		put_file(c, "g", MIB, 3);
		ok_unpublish(w, copy, c);
		ok_unpublish(w, ref, t);
		ok_publish(w, copy, "c", c);
		assert_true(has_file(c, "g", MIB, 3));
		ok_unpublish(w, copy, c);
	}
	world_tidy(w);
}

/* ---- while being written ------------------------------------------------------------------------------ */

struct writer {
	pthread_t thread;
	char dir[2][256];
	atomic_uint done; /* files 0..done-1 are synced, in both directories when there are two */
	atomic_bool stop;
	atomic_bool failed;
};

static bool write_synced(const char *dir, unsigned number)
{
	char path[300], text[4096];
	ssize_t n = snprintf(text, sizeof(text), "file %u\n", number);

	snprintf(path, sizeof(path), "%s/w%u", dir, number % 64);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	bool ok = write(fd, text, (size_t)n) == n && fsync(fd) == 0;
	close(fd);
	snprintf(path, sizeof(path), "%s/count", dir);
	fd = ok ? open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) : -1;
	if (fd < 0)
		return false;
	snprintf(text, sizeof(text), "%010u", number);
	ok = pwrite(fd, text, 10, 0) == 10 && fsync(fd) == 0;
	close(fd);
	return ok;
}

static void *write_on(void *arg)
{
	struct writer *wr = arg;

	for (unsigned n = 1; !atomic_load(&wr->stop); n++) {
		for (int i = 0; i < 2 && wr->dir[i][0]; i++)
			if (!write_synced(wr->dir[i], n))
				atomic_store(&wr->failed, true);
		if (atomic_load(&wr->failed))
			return NULL;
		atomic_store(&wr->done, n);
	}
	return NULL;
}

/* Without asserts in between: the thread must end whatever happens. */
static void writer_stop(struct writer *wr)
{
	atomic_store(&wr->stop, true);
	pthread_join(wr->thread, NULL);
}

static void writer_start(struct writer *wr)
{
	assert_int_equal(pthread_create(&wr->thread, NULL, write_on, wr), 0);
	for (int i = 0; i < 2000 && atomic_load(&wr->done) < 3 && !atomic_load(&wr->failed); i++)
		usleep(5000);
}

static unsigned read_count(const char *dir)
{
	char path[300], text[11] = "";

	snprintf(path, sizeof(path), "%s/count", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, 10) : -1;
	if (fd >= 0)
		close(fd);
	unsigned count = 0;
	return n == 10 && sscanf(text, "%u", &count) == 1 ? count : 0;
}

static void test_snapshot__of_a_busy_volume_has_everything_synced_before(void **state)
{
	struct world *w = *state;
	struct writer wr = { 0 };
	struct cleat_request req = req_for(CLEAT_VERB_SNAPSHOT, POOL "/db");
	struct cleat_result res = { 0 };
	struct cleat_error err;
	char r[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", wr.dir[0]);
	writer_start(&wr);
	const unsigned before = atomic_load(&wr.done);
	req.name = "monday";
	enum cleat_code code = call(w, &req, &res, &err);
	const unsigned after = atomic_load(&wr.done) + 1;
	writer_stop(&wr);
	if (code != CLEAT_OK)
		fail_msg("snapshot of a busy volume: %s", err.msg);
	cleat_engine_result_done(&res);
	assert_false(atomic_load(&wr.failed));
	assert_true(before >= 3);
	ok_clone(w, POOL "/monday", "restored", w->fx->volume_bytes, NULL);
	ok_publish(w, POOL "/restored", "r", r);
	const unsigned count = read_count(r);
	if (count < before || count > after)
		fail_msg("the snapshot has %u, taken between %u and %u", count, before, after);
	put_file(r, "writable", 1000, 1);
	world_tidy(w);
}

static void test_snapshot__a_group_is_one_moment(void **state)
{
	struct world *w = *state;
	struct writer wr = { 0 };
	static const char *const both[] = { POOL "/a", POOL "/b" };
	struct cleat_request req = req_for(CLEAT_VERB_GROUP_SNAPSHOT, NULL);
	struct cleat_result res = { 0 };
	struct cleat_error err;
	char ra[256], rb[256];

	world_open(w);
	ok_create(w, "a", NULL);
	ok_create(w, "b", NULL);
	req.volumes = both;
	req.volume_count = 2;
	req.name = "monday";
	if (!can(w, CLEAT_CAN_GROUP_SNAPSHOT)) {
		refused_any(w, &req, CODE(CLEAT_UNIMPLEMENTED) | CODE(CLEAT_FAILED_PRECONDITION), NULL);
		assert_int_equal(count_volumes(w, CLEAT_KIND_SNAPSHOT), 0);
		world_tidy(w);
		return;
	}
	ok_publish(w, POOL "/a", "a", wr.dir[0]);
	ok_publish(w, POOL "/b", "b", wr.dir[1]);
	if (can(w, CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY)) {
		refused(w, &req, CLEAT_FAILED_PRECONDITION, "in use");
		assert_int_equal(count_volumes(w, CLEAT_KIND_SNAPSHOT), 0);
		ok_unpublish(w, POOL "/a", wr.dir[0]);
		ok_unpublish(w, POOL "/b", wr.dir[1]);
		ok_call(w, &req, NULL);
		assert_int_equal(count_volumes(w, CLEAT_KIND_SNAPSHOT), 2);
		world_tidy(w);
		return;
	}
	writer_start(&wr);
	enum cleat_code code = call(w, &req, &res, &err);
	const unsigned then = atomic_load(&wr.done);
	for (int i = 0; i < 2000 && atomic_load(&wr.done) < then + 2; i++)
		usleep(5000); /* thawed again: the writer goes on */
	const unsigned later = atomic_load(&wr.done);
	writer_stop(&wr);
	if (code != CLEAT_OK)
		fail_msg("group snapshot: %s", err.msg);
	assert_true(later >= then + 2);
	assert_false(atomic_load(&wr.failed));
	assert_int_equal(res.volume_count, 2);
	assert_string_not_equal(res.volumes[0].record->group, "");
	assert_string_equal(res.volumes[0].record->group, res.volumes[1].record->group);
	/* The same group again is the same snapshots. */
	struct cleat_result again;
	ok_call(w, &req, &again);
	assert_int_equal(again.volume_count, 2);
	assert_string_equal(again.volumes[0].id, res.volumes[0].id);
	cleat_engine_result_done(&again);
	assert_int_equal(count_volumes(w, CLEAT_KIND_SNAPSHOT), 2);
	ok_clone(w, res.volumes[0].id, "ra", w->fx->volume_bytes, NULL);
	ok_clone(w, res.volumes[1].id, "rb", w->fx->volume_bytes, NULL);
	cleat_engine_result_done(&res);
	ok_publish(w, POOL "/ra", "ra", ra);
	ok_publish(w, POOL "/rb", "rb", rb);
	/* The writer writes a, then b: at any one moment a is at most one ahead, and never behind. */
	const unsigned a = read_count(ra), b = read_count(rb);
	if (a < b || a > b + 1 || b < 2)
		fail_msg("a has %u, b has %u: two moments", a, b);
	world_tidy(w);
}

static void test_snapshot__a_group_with_a_stranger_is_refused_whole(void **state)
{
	struct world *w = *state;
	static const char *const strangers[] = { POOL "/a", POOL "/never-was" };
	struct cleat_request req = req_for(CLEAT_VERB_GROUP_SNAPSHOT, NULL);

	world_open(w);
	ok_create(w, "a", NULL);
	req.volumes = strangers;
	req.volume_count = 2;
	req.name = "monday";
	refused_any(w, &req,
		    CODE(CLEAT_NOT_FOUND) | CODE(CLEAT_UNIMPLEMENTED) | CODE(CLEAT_FAILED_PRECONDITION),
		    NULL);
	req.volume_count = 0;
	refused(w, &req, CLEAT_INVALID_ARGUMENT, NULL);
	assert_int_equal(count_volumes(w, CLEAT_KIND_SNAPSHOT), 0);
	world_tidy(w);
}

static void test_snapshot__deletions_take_only_their_own_kind(void **state)
{
	struct world *w = *state;
	char id[CLEAT_ID_MAX_BYTES + 1], snap[CLEAT_ID_MAX_BYTES + 1], t[256];

	world_open(w);
	ok_create(w, "db", id);
	ok_snapshot(w, id, "monday", snap);
	ok_publish(w, id, "t", t);
	put_file(t, "f", MIB, 1);
	ok_delete_snapshot(w, id); /* there is no snapshot of that id: gone is done */
	ok_delete(w, snap);	   /* and no volume of that one */
	assert_true(exists(w, id, CLEAT_KIND_VOLUME));
	assert_true(exists(w, snap, CLEAT_KIND_SNAPSHOT));
	assert_true(has_file(t, "f", MIB, 1));
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, snap);
	char other[256];
	req.target = target_path(w, "other", true, other);
	refused(w, &req, CLEAT_NOT_FOUND, NULL);
	world_tidy(w);
}

const struct suite_case suite_snapshots[] = {
	CASE(test_snapshot__holds_what_was_there_then, IN_QUICK, CLEAT_CAN_SNAPSHOT, 0),
	CASE(test_snapshot__is_idempotent_by_name, 0, CLEAT_CAN_SNAPSHOT, 0),
	CASE(test_snapshot__deletions_take_only_their_own_kind, 0, CLEAT_CAN_SNAPSHOT, 0),
	CASE(test_snapshot__survives_its_volume_and_a_restart, 0, CLEAT_CAN_SNAPSHOT, 0),
	CASE(test_snapshot__lists_by_volume, 0, CLEAT_CAN_SNAPSHOT, 0),
	CASE(test_snapshot__of_a_used_volume_is_refused_where_it_would_lie, 0, 0, 0),
	CASE(test_clone__of_a_volume_may_be_larger, IN_QUICK, 0, 0),
	CASE(test_clone__of_each_file_system_mounts_beside_its_original, 0, CLEAT_CAN_CLONE, KEEPS_IMAGE),
	CASE(test_snapshot__of_a_busy_volume_has_everything_synced_before, 0, CLEAT_CAN_SNAPSHOT,
	     SNAPSHOTS_IN_USE),
	CASE(test_snapshot__a_group_is_one_moment, 0, 0, 0),
	CASE(test_snapshot__a_group_with_a_stranger_is_refused_whole, 0, 0, 0),
	{ 0 },
};
