/* snapshots_test.c - snapshots, restores, clones and groups: that they hold the right data, once, and can be
 * asked for again. */
#include "lab.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static Csi__V1__VolumeCapability *writer(struct lab *l)
{
	return cap_mount(l, MODE(SINGLE_NODE_WRITER), "", NULL);
}

static void delete_snapshot(struct lab *l, const char *id)
{
	Csi__V1__DeleteSnapshotRequest in = CSI__V1__DELETE_SNAPSHOT_REQUEST__INIT;

	in.snapshot_id = keep(l, id);
	OK(l, controller, "DeleteSnapshot", in);
}

/* What a new volume from that source holds in file f; and asking for it twice gives it once. */
static void check_copy(struct lab *l, const char *name, Csi__V1__VolumeContentSource *source, uint64_t bytes,
		       const char *text)
{
	Csi__V1__CreateVolumeRequest *in = create_request(l, name);

	in->capacity_range = range_of(l, bytes, 0);
	in->volume_content_source = source;
	const Csi__V1__Volume *v = ok_create(l, in);
	char *id = keep(l, v->volume_id);
	assert_non_null(v->content_source);
	assert_int_equal(v->content_source->type_case, source->type_case);
	assert_int_equal(v->capacity_bytes, bytes);
	assert_string_equal(ok_create(l, in)->volume_id, id);
	char *target = ok_publish(l, id, name, writer(l));
	assert_true(has_file(target, "f", text));
	assert_true(df_total(target) > bytes * 7 / 10 && df_total(target) <= bytes);
	put_file(target, "own", name);
	ok_unpublish(l, id, name);
	assert_string_equal(ok_create(l, in)->volume_id, id); /* also after it was used */
	ok_delete(l, id);
}

static void test_copies__hold_what_was_there_and_can_be_asked_for_again(void **state)
{
	struct lab *l = *state;

	lab_start(l);
	char *id = ok_volume(l, "db");
	char *target = ok_publish(l, id, "t", writer(l));
	put_file(target, "f", "monday");
	char *snapshot = ok_snapshot(l, id, "s");
	put_file(target, "f", "tuesday");
	assert_string_equal(ok_snapshot(l, id, "s"), snapshot);
	check_copy(l, "restored", source_of(l, snapshot, NULL), XFS_BYTES, "monday");
	check_copy(l, "larger", source_of(l, snapshot, NULL), XFS_BYTES + 100 * MIB, "monday");
	check_copy(l, "clone", source_of(l, NULL, id), XFS_BYTES, "tuesday"); /* of a volume in use */
	check_copy(l, "larger-clone", source_of(l, NULL, id), XFS_BYTES + 100 * MIB, "tuesday");
	ok_unpublish(l, id, "t");
	ok_delete(l, id); /* the snapshot outlives it */
	check_copy(l, "later", source_of(l, snapshot, NULL), XFS_BYTES, "monday");
	delete_snapshot(l, snapshot);
	delete_snapshot(l, snapshot);
	lab_stop(l);
}

static void test_copies__what_cannot_be_is_refused(void **state)
{
	struct lab *l = *state;
	Csi__V1__CreateVolumeRequest *in = create_request(l, "copy");

	lab_start(l);
	char *id = ok_volume(l, "db"), *snapshot = ok_snapshot(l, id, "s");
	in->volume_content_source = source_of(l, snapshot, NULL);
	in->capacity_range = range_of(l, 0, XFS_BYTES - 1);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_OUT_OF_RANGE, "limit");
	in->capacity_range = range_of(l, 16 * MIB, 0); /* no smaller than its source, but that is allowed */
	assert_int_equal(ok_create(l, in)->capacity_bytes, XFS_BYTES);
	in = create_request(l, "copy2");
	in->volume_content_source = source_of(l, snapshot, NULL);
	PARAMS(l, in, "pool", "plain");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "plain");
	PARAMS(l, in, "fs", "ext4");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "xfs");
	in->n_parameters = 0;
	in->volume_capabilities[0] = cap_block(l, MODE(SINGLE_NODE_WRITER));
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "mount access");
	in = create_request(l, "copy3");
	in->volume_content_source = source_of(l, id, NULL); /* a volume, but said to be a snapshot */
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_NOT_FOUND, "snapshot");
	in->volume_content_source = source_of(l, NULL, snapshot);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_NOT_FOUND, "volume");
	in->volume_content_source = source_of(l, "", NULL);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "id is missing");
	lab_stop(l);
}

#define MANY 9

static void test_snapshots__are_listed_whole_and_by_volume(void **state)
{
	struct lab *l = *state;
	Csi__V1__ListSnapshotsRequest in = CSI__V1__LIST_SNAPSHOTS_REQUEST__INIT;
	Csi__V1__GetSnapshotRequest get = CSI__V1__GET_SNAPSHOT_REQUEST__INIT;
	const Csi__V1__ListSnapshotsResponse *out;
	unsigned total = 0;
	char *last = NULL;

	lab_start(l);
	char *a = ok_block(l, "a"), *b = ok_block(l, "b");
	for (int i = 0; i < MANY; i++)
		last = ok_snapshot(l, i % 3 ? a : b, keepf(l, "s%d", i));
	in.max_entries = 2;
	do {
		out = OK(l, controller, "ListSnapshots", in);
		assert_true(out->n_entries <= 2);
		total += (unsigned)out->n_entries;
		for (size_t i = 0; i < out->n_entries; i++) {
			const Csi__V1__Snapshot *s = out->entries[i]->snapshot;
			assert_true(s->ready_to_use);
			assert_true(s->creation_time->seconds > 1600000000);
			assert_int_equal(s->size_bytes, SMALL_BYTES);
			assert_string_equal(s->group_snapshot_id, "");
			assert_int_equal(s->n_accessible_topology, 1);
		}
		in.starting_token = out->next_token;
	} while (out->next_token[0]);
	assert_int_equal(total, MANY);
	in = (Csi__V1__ListSnapshotsRequest)CSI__V1__LIST_SNAPSHOTS_REQUEST__INIT;
	in.source_volume_id = b;
	out = OK(l, controller, "ListSnapshots", in);
	assert_int_equal(out->n_entries, 3);
	ok_delete(l, b); /* a volume that is gone still names its snapshots */
	out = OK(l, controller, "ListSnapshots", in);
	assert_int_equal(out->n_entries, 3);
	in.source_volume_id = keep(l, "a"); /* a name is no id */
	out = OK(l, controller, "ListSnapshots", in);
	assert_int_equal(out->n_entries, 0);
	in.source_volume_id = b;
	in.snapshot_id = last; /* of a */
	out = OK(l, controller, "ListSnapshots", in);
	assert_int_equal(out->n_entries, 0);
	in.source_volume_id = a;
	out = OK(l, controller, "ListSnapshots", in);
	assert_int_equal(out->n_entries, 1);
	in.snapshot_id = keep(l, "elsewhere-12345678.abcdefghijklmnop");
	out = OK(l, controller, "ListSnapshots", in);
	assert_int_equal(out->n_entries, 0);
	get.snapshot_id = last;
	const Csi__V1__GetSnapshotResponse *got = OK(l, controller, "GetSnapshot", get);
	assert_string_equal(got->snapshot->source_volume_id, a);
	get.snapshot_id = a;
	REFUSED(l, controller, "GetSnapshot", get, CLEAT_NOT_FOUND, "snapshot");
	lab_stop(l);
}

static void test_snapshots__one_name_is_one_snapshot(void **state)
{
	struct lab *l = *state;
	Csi__V1__CreateSnapshotRequest in = CSI__V1__CREATE_SNAPSHOT_REQUEST__INIT;
	char *slashed;

	lab_start(l);
	char *a = ok_block(l, "a"), *b = ok_block(l, "b");
	ok_snapshot(l, a, "s");
	in.name = keep(l, "s");
	in.source_volume_id = b;
	REFUSED(l, controller, "CreateSnapshot", in, CLEAT_ALREADY_EXISTS, a);
	slashed = ok_snapshot(l, a, "x/y");
	assert_string_equal(ok_snapshot(l, a, "x/y"), slashed);
	assert_string_not_equal(ok_snapshot(l, a, "x%2Fy"), slashed);
	in.name = keep(l, "p");
	in.parameters = map_of(l, &csi__v1__create_snapshot_request__parameters_entry__descriptor,
			       &in.n_parameters, "csi.storage.k8s.io/volumesnapshot/name", "x", NULL);
	OK(l, controller, "CreateSnapshot", in);
	in.name = keep(l, "q");
	in.parameters = map_of(l, &csi__v1__create_snapshot_request__parameters_entry__descriptor,
			       &in.n_parameters, "colour", "x", NULL);
	REFUSED(l, controller, "CreateSnapshot", in, CLEAT_INVALID_ARGUMENT, "colour");
	in.n_parameters = 0;
	in.accessibility_requirements = topology_of(l, "topology.cleat/node", "node-b");
	REFUSED(l, controller, "CreateSnapshot", in, CLEAT_RESOURCE_EXHAUSTED, "node-a");
	lab_stop(l);
}

/* ---- groups ---- */

/* Writes n to the first file, then to the second, each durably, so that at any moment first >= second >=
 * first - 1. */
static struct {
	const char *first, *second;
	atomic_bool stop;
	atomic_uint written;
	pthread_t thread;
	bool running;
} pen;

static void write_number(const char *dir, unsigned n)
{
	char path[300], text[16];

	snprintf(path, sizeof(path), "%s/n", dir);
	snprintf(text, sizeof(text), "%010u", n);
	cleat_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_SYNC, 0644);
	if (fd < 0 || pwrite(fd, text, 10, 0) != 10)
		abort();
}

static void *write_on(void *arg)
{
	(void)arg;
	for (unsigned n = 1; !atomic_load(&pen.stop); n++) {
		write_number(pen.first, n);
		write_number(pen.second, n);
		atomic_store(&pen.written, n);
	}
	return NULL;
}

static void stop_writing(void)
{
	if (!pen.running)
		return;
	atomic_store(&pen.stop, true);
	pthread_join(pen.thread, NULL);
	pen.running = false;
}

/* Also when the test has failed: nothing may keep the volumes busy. */
static int teardown(void **state)
{
	stop_writing();
	return lab_teardown(state);
}

static unsigned read_number(const char *dir)
{
	char path[300], text[16] = "";

	snprintf(path, sizeof(path), "%s/n", dir);
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, 10), 10);
	return (unsigned)strtoul(text, NULL, 10);
}

static Csi__V1__CreateVolumeGroupSnapshotRequest *group_request(struct lab *l, const char *name, char *a,
								char *b)
{
	Csi__V1__CreateVolumeGroupSnapshotRequest *in = keep_bytes(l, sizeof(*in));

	csi__v1__create_volume_group_snapshot_request__init(in);
	in->name = keep(l, name);
	in->source_volume_ids = keep_bytes(l, 2 * sizeof(char *));
	in->source_volume_ids[0] = a;
	in->source_volume_ids[1] = b;
	in->n_source_volume_ids = b ? 2 : 1;
	return in;
}

static const Csi__V1__VolumeGroupSnapshot *ok_group(struct lab *l,
						    const Csi__V1__CreateVolumeGroupSnapshotRequest *in)
{
	const Csi__V1__CreateVolumeGroupSnapshotResponse *out =
		OK(l, group_controller, "CreateVolumeGroupSnapshot", *in);

	return out->group_snapshot;
}

static unsigned number_in(struct lab *l, const Csi__V1__VolumeGroupSnapshot *g, const char *source,
			  const char *name)
{
	Csi__V1__CreateVolumeRequest *in = create_request(l, name);
	const char *snapshot = NULL;

	for (size_t i = 0; i < g->n_snapshots; i++)
		if (strcmp(g->snapshots[i]->source_volume_id, source) == 0)
			snapshot = g->snapshots[i]->snapshot_id;
	assert_non_null(snapshot);
	in->volume_content_source = source_of(l, snapshot, NULL);
	char *id = keep(l, ok_create(l, in)->volume_id);
	unsigned n = read_number(ok_publish(l, id, name, writer(l)));
	ok_unpublish(l, id, name);
	ok_delete(l, id);
	return n;
}

static void test_group__is_one_moment_of_all_its_volumes(void **state)
{
	struct lab *l = *state;

	lab_start(l);
	char *a = ok_volume(l, "a"), *b = ok_volume(l, "b");
	pen.first = ok_publish(l, a, "a", writer(l));
	pen.second = ok_publish(l, b, "b", writer(l));
	write_number(pen.first, 0);
	write_number(pen.second, 0);
	assert_int_equal(pthread_create(&pen.thread, NULL, write_on, NULL), 0);
	pen.running = true;
	for (int i = 0; i < 5; i++) {
		unsigned seen = atomic_load(&pen.written);

		while (atomic_load(&pen.written) < seen + 20)
			sched_yield();
		const Csi__V1__VolumeGroupSnapshot *g =
			ok_group(l, group_request(l, keepf(l, "g%d", i), a, b));
		unsigned first = number_in(l, g, a, "ra"), second = number_in(l, g, b, "rb");

		assert_true(first >= second && first <= second + 1);
		assert_true(second >= seen); /* what was acknowledged before is in it */
	}
	stop_writing();
	ok_unpublish(l, a, "a");
	ok_unpublish(l, b, "b");
	lab_stop(l);
}

static void test_group__is_kept_and_deleted_as_one(void **state)
{
	struct lab *l = *state;
	Csi__V1__DeleteVolumeGroupSnapshotRequest del = CSI__V1__DELETE_VOLUME_GROUP_SNAPSHOT_REQUEST__INIT;
	Csi__V1__GetVolumeGroupSnapshotRequest get = CSI__V1__GET_VOLUME_GROUP_SNAPSHOT_REQUEST__INIT;
	Csi__V1__DeleteSnapshotRequest one = CSI__V1__DELETE_SNAPSHOT_REQUEST__INIT;
	Csi__V1__ListSnapshotsRequest list = CSI__V1__LIST_SNAPSHOTS_REQUEST__INIT;
	char *ids[3];

	lab_start(l);
	char *a = ok_block(l, "a"), *b = ok_block(l, "b"), *other = ok_block(l, "c");
	const Csi__V1__VolumeGroupSnapshot *g = ok_group(l, group_request(l, "nightly/1", a, b));
	assert_int_equal(g->n_snapshots, 2);
	assert_true(g->ready_to_use);
	assert_true(g->creation_time->seconds > 1600000000);
	for (size_t i = 0; i < 2; i++)
		assert_string_equal(g->snapshots[i]->group_snapshot_id, g->group_snapshot_id);
	ids[0] = keep(l, g->snapshots[0]->snapshot_id);
	ids[1] = keep(l, g->snapshots[1]->snapshot_id);
	ids[2] = ok_snapshot(l, a, "alone");
	del.group_snapshot_id = get.group_snapshot_id = keep(l, g->group_snapshot_id);
	/* The same again, in any order. */
	g = ok_group(l, group_request(l, "nightly/1", b, a));
	assert_string_equal(g->group_snapshot_id, get.group_snapshot_id);
	assert_string_equal(g->snapshots[0]->snapshot_id, ids[0]);
	REFUSED(l, group_controller, "CreateVolumeGroupSnapshot", *group_request(l, "nightly/1", a, other),
		CLEAT_ALREADY_EXISTS, "exists");
	REFUSED(l, group_controller, "CreateVolumeGroupSnapshot", *group_request(l, "nightly/1", a, NULL),
		CLEAT_ALREADY_EXISTS, "exists");
	one.snapshot_id = ids[0];
	REFUSED(l, controller, "DeleteSnapshot", one, CLEAT_INVALID_ARGUMENT, "group");
	get.snapshot_ids = ids;
	get.n_snapshot_ids = 2;
	const Csi__V1__GetVolumeGroupSnapshotResponse *got =
		OK(l, group_controller, "GetVolumeGroupSnapshot", get);
	assert_int_equal(got->group_snapshot->n_snapshots, 2);
	get.n_snapshot_ids = 1;
	REFUSED(l, group_controller, "GetVolumeGroupSnapshot", get, CLEAT_INVALID_ARGUMENT, ids[1]);
	get.n_snapshot_ids = 3;
	REFUSED(l, group_controller, "GetVolumeGroupSnapshot", get, CLEAT_INVALID_ARGUMENT, ids[2]);
	del.snapshot_ids = ids;
	del.n_snapshot_ids = 3;
	REFUSED(l, group_controller, "DeleteVolumeGroupSnapshot", del, CLEAT_INVALID_ARGUMENT, ids[2]);
	lab_crash(l); /* nothing of a group is kept in the daemon */
	del.n_snapshot_ids = 2;
	OK(l, group_controller, "DeleteVolumeGroupSnapshot", del);
	OK(l, group_controller, "DeleteVolumeGroupSnapshot", del);
	get.n_snapshot_ids = 2;
	REFUSED(l, group_controller, "GetVolumeGroupSnapshot", get, CLEAT_NOT_FOUND, get.group_snapshot_id);
	const Csi__V1__ListSnapshotsResponse *left = OK(l, controller, "ListSnapshots", list);
	assert_int_equal(left->n_entries, 1);
	assert_string_equal(left->entries[0]->snapshot->snapshot_id, ids[2]);
	lab_stop(l);
}

static void test_group__what_cannot_be_cut_together_leaves_nothing(void **state)
{
	struct lab *l = *state;
	Csi__V1__ListSnapshotsRequest list = CSI__V1__LIST_SNAPSHOTS_REQUEST__INIT;
	Csi__V1__CreateVolumeRequest *in = create_request(l, "dir");
	Csi__V1__CreateVolumeGroupSnapshotRequest *many;

	lab_start(l);
	PARAMS(l, in, "pool", "plain");
	char *a = ok_block(l, "a"), *dir = keep(l, ok_create(l, in)->volume_id);
	REFUSED(l, group_controller, "CreateVolumeGroupSnapshot", *group_request(l, "g", a, dir),
		CLEAT_FAILED_PRECONDITION, "plain");
	REFUSED(l, group_controller, "CreateVolumeGroupSnapshot", *group_request(l, "g", dir, NULL),
		CLEAT_FAILED_PRECONDITION, "plain");
	REFUSED(l, group_controller, "CreateVolumeGroupSnapshot", *group_request(l, "g", a, a),
		CLEAT_INVALID_ARGUMENT, "twice");
	REFUSED(l, group_controller, "CreateVolumeGroupSnapshot", *group_request(l, "g", a, keep(l, "a")),
		CLEAT_NOT_FOUND, "does not exist");
	many = group_request(l, "g", a, NULL);
	many->n_source_volume_ids = 0;
	REFUSED(l, group_controller, "CreateVolumeGroupSnapshot", *many, CLEAT_INVALID_ARGUMENT,
		"source_volume_ids");
	const Csi__V1__ListSnapshotsResponse *out = OK(l, controller, "ListSnapshots", list);
	assert_int_equal(out->n_entries, 0);
	/* The longest name there can be. */
	ok_group(l, group_request(l, keepf(l, "%0128d", 7), a, NULL));
	ok_group(l, group_request(l, keepf(l, "%0128d", 7), a, NULL));
	out = OK(l, controller, "ListSnapshots", list);
	assert_int_equal(out->n_entries, 1);
	lab_stop(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define LAB(test) cmocka_unit_test_setup_teardown(test, lab_setup, teardown)
		LAB(test_copies__hold_what_was_there_and_can_be_asked_for_again),
		LAB(test_copies__what_cannot_be_is_refused),
		LAB(test_snapshots__are_listed_whole_and_by_volume),
		LAB(test_snapshots__one_name_is_one_snapshot),
		LAB(test_group__is_one_moment_of_all_its_volumes),
		LAB(test_group__is_kept_and_deleted_as_one),
		LAB(test_group__what_cannot_be_cut_together_leaves_nothing),
	};

	return lab_run("csi_snapshots_test", tests, CLEAT_COUNT(tests));
}
