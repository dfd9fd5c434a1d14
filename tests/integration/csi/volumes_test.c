/* volumes_test.c - what the controller says of volumes: names, sizes, parameters, places, pages, attachments.
 */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The native API's view of a volume. */
static const Cleat__V1__Volume *native(struct lab *l, const char *id, ProtobufCMessage **out)
{
	Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;

	in.volume = keep(l, id);
	assert_int_equal(test_daemon_call(&l->d, "GetVolume", &in.base, out, &l->err), CLEAT_OK);
	return ((Cleat__V1__GetVolumeResponse *)(void *)*out)->volume;
}

static const char *value_of(Cleat__V1__Volume__LabelsEntry **entries, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(entries[i]->key, key) == 0)
			return entries[i]->value;
	return "";
}

/* ---- creating ---- */

static void test_create__again_is_the_same_and_otherwise_is_refused(void **state)
{
	struct lab *l = *state;
	Csi__V1__CreateVolumeRequest *in;
	char *id;

	lab_start(l);
	id = ok_volume(l, "db");
	assert_string_equal(ok_volume(l, "db"), id);
	in = create_request(l, "db");
	in->capacity_range = range_of(l, 2 * XFS_BYTES, 0);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_ALREADY_EXISTS, "is smaller");
	in->capacity_range = range_of(l, 0, XFS_BYTES / 2);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_ALREADY_EXISTS, "larger than the limit");
	in = create_request(l, "db");
	PARAMS(l, in, "fs", "ext4");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_ALREADY_EXISTS, "other parameters");
	PARAMS(l, in, "fs", "xfs", "uid", "7");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_ALREADY_EXISTS, "other parameters");
	in->n_parameters = 0; /* fewer than it was made with are others, too */
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_ALREADY_EXISTS, "made with the parameter 'fs'");
	in->volume_capabilities[0] = cap_mount(l, MODE(SINGLE_NODE_WRITER), "xfs", NULL);
	assert_string_equal(ok_create(l, in)->volume_id, id); /* the same by another name */
	in = create_request(l, "db");
	in->n_parameters = 0;
	in->volume_capabilities[0] = cap_block(l, MODE(SINGLE_NODE_WRITER));
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_ALREADY_EXISTS, "access type");
	in = create_request(l, "db");
	in->volume_content_source = source_of(l, NULL, id);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_ALREADY_EXISTS, "another source");
	in = create_request(l, "db");
	PARAMS(l, in, "pool", "plain");
	in->capacity_range = NULL;
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_ALREADY_EXISTS, "in pool 'default'");
	ok_delete(l, id);
	ok_delete(l, id);
	lab_stop(l);
}

static void test_create__sizes_are_what_was_asked_for_or_refused(void **state)
{
	struct lab *l = *state;
	Csi__V1__CreateVolumeRequest *in = create_request(l, "db");

	lab_start(l);
	assert_int_equal(ok_create(l, in)->capacity_bytes, XFS_BYTES);
	in = create_request(l, "exact");
	in->capacity_range = range_of(l, XFS_BYTES, XFS_BYTES);
	assert_int_equal(ok_create(l, in)->capacity_bytes, XFS_BYTES);
	in = create_request(l, "limit");
	in->capacity_range = range_of(l, 0, XFS_BYTES + 4095); /* no size: the default, but not above this */
	const Csi__V1__Volume *v = ok_create(l, in);
	assert_true(v->capacity_bytes > 0 && (uint64_t)v->capacity_bytes <= XFS_BYTES + 4095);
	in = create_request(l, "none");
	in->capacity_range = NULL;
	assert_int_equal(ok_create(l, in)->capacity_bytes, 1024 * MIB);
	in = create_request(l, "bad");
	in->capacity_range = range_of(l, XFS_BYTES, 0);
	in->capacity_range->limit_bytes = -1;
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "negative");
	in->capacity_range = range_of(l, XFS_BYTES, XFS_BYTES - 1);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "limit");
	in->capacity_range = range_of(l, UINT64_C(1) << 50, 0);
	assert_true(CODE(l, controller, "CreateVolume", *in) == CLEAT_RESOURCE_EXHAUSTED ||
		    l->err.code == CLEAT_OUT_OF_RANGE);
	/* A directory has no size of its own here, and says so instead of pretending. */
	in = create_request(l, "soft");
	PARAMS(l, in, "pool", "plain");
	v = ok_create(l, in);
	assert_int_equal(v->capacity_bytes, 0);
	bool told = false;
	for (size_t i = 0; i < v->n_volume_context; i++)
		told |= strcmp(v->volume_context[i]->key, "size_enforced") == 0 &&
			strcmp(v->volume_context[i]->value, "false") == 0;
	assert_true(told);
	in = create_request(l, "hard");
	PARAMS(l, in, "pool", "plain", "hard_size", "true");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_FAILED_PRECONDITION, "hard size");
	lab_stop(l);
}

static void test_create__any_name_that_csi_allows_is_one(void **state)
{
	struct lab *l = *state;
	char slashes[129], long_utf8[129];
	const char *const good[] = { "a/b",	    "a%2Fb", "..",    "../../etc/passwd", "tab\there",
				     "line\nbreak", " ",     slashes, long_utf8,	  "\xc3\xa9t\xc3\xa9",
				     "a.b",	    "-rf" };
	const char *const bad[] = { "bell\a", "nul\x01", "del\x7f", "c1\xc2\x85" };
	char *ids[CLEAT_COUNT(good)];
	Csi__V1__CreateVolumeRequest *in;
	cleat_autopb ProtobufCMessage *out = NULL;

	memset(slashes, '/', 128);
	slashes[128] = '\0';
	for (size_t i = 0; i < 128; i += 2)
		memcpy(long_utf8 + i, "\xc3\xa9", 2);
	memcpy(long_utf8, "//", 2);
	long_utf8[128] = '\0';
	lab_start(l);
	for (size_t i = 0; i < CLEAT_COUNT(good); i++) {
		ids[i] = ok_block(l, good[i]);
		assert_string_equal(ok_block(l, good[i]), ids[i]);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(ids[i], ids[k]);
	}
	const Cleat__V1__Volume *v = native(l, ids[0], &out);
	assert_string_equal(v->name, "a%2Fb");
	assert_string_equal(value_of(v->labels, v->n_labels, "csi.name"), "a/b");
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		in = create_request(l, bad[i]);
		REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "control characters");
	}
	in = create_request(l, "");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "name is missing");
	in->name = keepf(l, "%0129d", 7);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "longer than 128");
	for (size_t i = 0; i < CLEAT_COUNT(good); i++)
		ok_delete(l, ids[i]);
	lab_stop(l);
}

static void test_create__parameters_are_honoured_or_refused_by_name(void **state)
{
	struct lab *l = *state;
	Csi__V1__CreateVolumeRequest *in = create_request(l, "db");
	cleat_autopb ProtobufCMessage *out = NULL;

	lab_start(l);
	PARAMS(l, in, "pool", "default", "fs", "xfs", "uid", "1234", "mode", "0751",
	       "csi.storage.k8s.io/pvc/name", "claim", "csi.storage.k8s.io/pvc/namespace", "shop",
	       "csi.storage.k8s.io/what-will-come", "x");
	char *id = keep(l, ok_create(l, in)->volume_id);
	const Cleat__V1__Volume *v = native(l, id, &out);
	assert_string_equal(v->fs, "xfs");
	assert_string_equal(value_of(v->labels, v->n_labels, "kubernetes.pvc.name"), "claim");
	assert_string_equal(value_of(v->labels, v->n_labels, "kubernetes.pvc.namespace"), "shop");
	char *target = ok_publish(l, id, "t", cap_mount(l, MODE(SINGLE_NODE_WRITER), "xfs", NULL));
	struct stat st;
	assert_int_equal(stat(target, &st), 0);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_mode & 07777, 0751);
	ok_unpublish(l, id, "t");

	in = create_request(l, "bad");
	PARAMS(l, in, "colour", "red");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "colour");
	PARAMS(l, in, "pool", "nowhere");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "nowhere");
	PARAMS(l, in, "hard_size", "perhaps");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "hard_size");
	PARAMS(l, in, "fs", "xfs");
	in->volume_capabilities[0] = cap_mount(l, MODE(SINGLE_NODE_WRITER), "ext4", NULL);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "'ext4'");
	PARAMS(l, in, "pool", "plain");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "directories");
	in = create_request(l, "bad");
	in->n_parameters = 0;
	in->volume_capabilities[0] = cap_mount(l, MODE(SINGLE_NODE_WRITER), "ntfs", NULL);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "ntfs");
	in = create_request(l, "bad");
	in->volume_capabilities[1] = cap_block(l, MODE(SINGLE_NODE_WRITER));
	in->n_volume_capabilities = 2;
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "not for both");
	in->n_volume_capabilities = 1;
	in->volume_capabilities[0]->mount->volume_mount_group = keep(l, "1000");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "volume_mount_group");
	in = create_request(l, "bad");
	in->volume_capabilities[0] =
		cap_mount(l, MODE(SINGLE_NODE_WRITER), "", "data=journal"); /* of ext4, not of xfs */
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "data");
	in = create_request(l, "bad");
	in->mutable_parameters =
		map_of(l, &csi__v1__create_volume_request__mutable_parameters_entry__descriptor,
		       &in->n_mutable_parameters, "uid", "5", NULL);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "uid");
	ok_delete(l, id);
	lab_stop(l);
}

static void test_create__lies_where_it_may_or_is_refused(void **state)
{
	struct lab *l = *state;
	Csi__V1__CreateVolumeRequest *in = create_request(l, "db");

	lab_start(l);
	in->accessibility_requirements = topology_of(l, "topology.cleat/node", "node-b");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_RESOURCE_EXHAUSTED, "node-a");
	in->accessibility_requirements = topology_of(l, "topology.cleat/node", "node-a");
	const Csi__V1__Volume *v = ok_create(l, in);
	assert_int_equal(v->n_accessible_topology, 1);
	assert_int_equal(v->accessible_topology[0]->n_segments, 1);
	assert_string_equal(v->accessible_topology[0]->segments[0]->key, "topology.cleat/node");
	assert_string_equal(v->accessible_topology[0]->segments[0]->value, "node-a");
	in = create_request(l, "other");
	in->accessibility_requirements = topology_of(l, "rack", "r7"); /* says nothing of ours */
	ok_create(l, in);
	in = create_request(l, "third");
	in->accessibility_requirements = topology_of(l, "rack", "r7");
	in->accessibility_requirements->n_requisite = 0;
	ok_create(l, in);
	lab_stop(l);
}

static void test_create__modes_of_many_nodes_need_the_operator(void **state)
{
	static const Csi__V1__VolumeCapability__AccessMode__Mode many[] = { MODE(MULTI_NODE_READER_ONLY),
									    MODE(MULTI_NODE_SINGLE_WRITER),
									    MODE(MULTI_NODE_MULTI_WRITER) };
	static const Csi__V1__VolumeCapability__AccessMode__Mode one[] = { MODE(SINGLE_NODE_WRITER),
									   MODE(SINGLE_NODE_READER_ONLY),
									   MODE(SINGLE_NODE_SINGLE_WRITER),
									   MODE(SINGLE_NODE_MULTI_WRITER) };
	struct lab *l = *state;
	Csi__V1__CreateVolumeRequest *in = create_request(l, "db");

	lab_start(l);
	for (size_t i = 0; i < CLEAT_COUNT(many); i++) {
		in->volume_capabilities[0] = cap_mount(l, many[i], "", NULL);
		REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "csi.local_multi_node");
	}
	for (size_t i = 0; i < CLEAT_COUNT(one); i++) {
		in->volume_capabilities[0] = cap_mount(l, one[i], "", NULL);
		ok_create(l, in);
	}
	in->volume_capabilities[0] = cap_mount(l, (Csi__V1__VolumeCapability__AccessMode__Mode)99, "", NULL);
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "access_mode");
	lab_stop(l);
	l->csi = "  local_multi_node: true\n";
	lab_start(l);
	for (size_t i = 0; i < CLEAT_COUNT(many); i++) {
		in->volume_capabilities[0] = cap_mount(l, many[i], "", NULL);
		ok_create(l, in);
	}
	lab_stop(l);
}

/* ---- ids ---- */

static void test_ids__are_never_names(void **state)
{
	struct lab *l = *state;
	Csi__V1__ControllerGetVolumeRequest get = CSI__V1__CONTROLLER_GET_VOLUME_REQUEST__INIT;
	Csi__V1__DeleteSnapshotRequest del = CSI__V1__DELETE_SNAPSHOT_REQUEST__INIT;
	char *id, *dotted, *snapshot;

	lab_start(l);
	id = ok_volume(l, "db");
	dotted = ok_block(l, "a.b"); /* looks like an id */
	snapshot = ok_snapshot(l, id, "s");
	const char *const names[] = { "db", "default/db", "a.b", "",	   "x.y",
				      "..", "default-.",  ".x",	 snapshot, "a.b.c" };
	for (size_t i = 0; i < CLEAT_COUNT(names); i++) {
		get.volume_id = keep(l, names[i]);
		enum cleat_code code = CODE(l, controller, "ControllerGetVolume", get);
		assert_true(code == CLEAT_NOT_FOUND ||
			    code == (names[i][0] ? CLEAT_FAILED_PRECONDITION : CLEAT_INVALID_ARGUMENT));
	}
	ok_delete(l, "db");
	ok_delete(l, "default/db");
	ok_delete(l, snapshot);
	del.snapshot_id = id;
	OK(l, controller, "DeleteSnapshot", del);
	del.snapshot_id = keep(l, "s");
	OK(l, controller, "DeleteSnapshot", del);
	get.volume_id = id;
	OK(l, controller, "ControllerGetVolume", get);
	get.volume_id = dotted;
	OK(l, controller, "ControllerGetVolume", get);
	del.snapshot_id = snapshot;
	OK(l, controller, "DeleteSnapshot", del);
	lab_stop(l);
}

/* ---- lists ---- */

#define MANY 150 /* more than the engine lists under one hold of its lock */

static size_t index_of(char *const *ids, const char *id)
{
	for (size_t i = 0; i < MANY; i++)
		if (ids[i] && strcmp(ids[i], id) == 0)
			return i;
	fail_msg("'%s' is none of ours", id);
	return 0;
}

static void test_list__gives_everything_once_in_pages(void **state)
{
	struct lab *l = *state;
	Csi__V1__ListVolumesRequest in = CSI__V1__LIST_VOLUMES_REQUEST__INIT;
	const Csi__V1__ListVolumesResponse *out;
	char *ids[MANY];
	unsigned seen[MANY] = { 0 }, total = 0;

	lab_start(l);
	for (size_t i = 0; i < MANY; i++)
		ids[i] = ok_block(l, keepf(l, "v%zu", i));
	in.max_entries = 67;
	do {
		out = OK(l, controller, "ListVolumes", in);
		assert_true(out->n_entries <= 67);
		for (size_t i = 0; i < out->n_entries; i++) {
			seen[index_of(ids, out->entries[i]->volume->volume_id)]++;
			assert_int_equal(out->entries[i]->volume->capacity_bytes, SMALL_BYTES);
		}
		total += (unsigned)out->n_entries;
		/* The last one of the page goes; the token stays good. */
		if (out->n_entries)
			ok_delete(l, out->entries[out->n_entries - 1]->volume->volume_id);
		in.starting_token = out->next_token;
	} while (out->next_token[0]);
	assert_int_equal(total, MANY);
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(seen[i], 1);
	in.starting_token = keep(l, "0");
	REFUSED(l, controller, "ListVolumes", in, CLEAT_ABORTED, "token");
	in.starting_token = keep(l, "");
	in.max_entries = -1;
	REFUSED(l, controller, "ListVolumes", in, CLEAT_INVALID_ARGUMENT, "max_entries");
	in.max_entries = 0;
	out = OK(l, controller, "ListVolumes", in);
	assert_int_equal(out->n_entries, MANY - 3);
	assert_string_equal(out->next_token, "");
	lab_stop(l);
}

/* ---- attachments ---- */

static void test_attach__is_one_nodes_and_its_holder_is_named(void **state)
{
	struct lab *l = *state;
	Csi__V1__ControllerPublishVolumeRequest in = CSI__V1__CONTROLLER_PUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__ControllerUnpublishVolumeRequest out_of = CSI__V1__CONTROLLER_UNPUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__ControllerGetVolumeRequest get = CSI__V1__CONTROLLER_GET_VOLUME_REQUEST__INIT;
	Csi__V1__DeleteVolumeRequest del = CSI__V1__DELETE_VOLUME_REQUEST__INIT;

	lab_start(l);
	in.volume_id = out_of.volume_id = get.volume_id = del.volume_id = ok_volume(l, "db");
	in.volume_capability = cap_mount(l, MODE(SINGLE_NODE_WRITER), "", NULL);
	in.node_id = keep(l, "node-b");
	REFUSED(l, controller, "ControllerPublishVolume", in, CLEAT_NOT_FOUND, "node-a");
	in.node_id = keep(l, "node-a");
	OK(l, controller, "ControllerPublishVolume", in);
	OK(l, controller, "ControllerPublishVolume", in);
	in.readonly = true;
	REFUSED(l, controller, "ControllerPublishVolume", in, CLEAT_ALREADY_EXISTS, "node-a");
	in.readonly = false;
	in.volume_capability = cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "", NULL);
	REFUSED(l, controller, "ControllerPublishVolume", in, CLEAT_ALREADY_EXISTS, "node-a");
	in.volume_capability = cap_block(l, MODE(SINGLE_NODE_WRITER));
	REFUSED(l, controller, "ControllerPublishVolume", in, CLEAT_INVALID_ARGUMENT, "mount access");
	const Csi__V1__ControllerGetVolumeResponse *got = OK(l, controller, "ControllerGetVolume", get);
	assert_int_equal(got->status->n_published_node_ids, 1);
	assert_string_equal(got->status->published_node_ids[0], "node-a");
	REFUSED(l, controller, "DeleteVolume", del, CLEAT_FAILED_PRECONDITION, "node-a");
	lab_stop(l);

	/* The disk is carried to another node: the old one still holds the volume, until somebody says
	 * otherwise. */
	static const char *const node_b[] = { "--node", "node-b", NULL };
	memcpy(l->options, node_b, sizeof(node_b));
	lab_start(l);
	in.node_id = keep(l, "node-b");
	in.volume_capability = cap_mount(l, MODE(SINGLE_NODE_WRITER), "", NULL);
	REFUSED(l, controller, "ControllerPublishVolume", in, CLEAT_FAILED_PRECONDITION, "node-a");
	out_of.node_id = keep(l, "node-c"); /* not there: done */
	OK(l, controller, "ControllerUnpublishVolume", out_of);
	REFUSED(l, controller, "ControllerPublishVolume", in, CLEAT_FAILED_PRECONDITION, "node-a");
	out_of.node_id = keep(l, ""); /* from all nodes */
	OK(l, controller, "ControllerUnpublishVolume", out_of);
	OK(l, controller, "ControllerUnpublishVolume", out_of);
	OK(l, controller, "ControllerPublishVolume", in);
	OK(l, controller, "ControllerUnpublishVolume", out_of);
	ok_delete(l, in.volume_id);
	OK(l, controller, "ControllerUnpublishVolume", out_of); /* gone is done */
	REFUSED(l, controller, "ControllerPublishVolume", in, CLEAT_NOT_FOUND, "does not exist");
	lab_stop(l);
}

static void test_attach__a_node_has_its_limit(void **state)
{
	struct lab *l = *state;
	Csi__V1__ControllerPublishVolumeRequest in = CSI__V1__CONTROLLER_PUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__NodeGetInfoRequest ask = CSI__V1__NODE_GET_INFO_REQUEST__INIT;
	Csi__V1__ControllerUnpublishVolumeRequest off = CSI__V1__CONTROLLER_UNPUBLISH_VOLUME_REQUEST__INIT;
	char *ids[3];

	l->csi = "  max_volumes: 2\n";
	lab_start(l);
	const Csi__V1__NodeGetInfoResponse *info = OK(l, node, "NodeGetInfo", ask);
	assert_int_equal(info->max_volumes_per_node, 2);
	assert_string_equal(info->node_id, "node-a");
	in.volume_capability = cap_block(l, MODE(SINGLE_NODE_WRITER));
	in.node_id = keep(l, "node-a");
	for (size_t i = 0; i < 3; i++) {
		in.volume_id = ids[i] = ok_block(l, keepf(l, "v%zu", i));
		if (i < 2)
			OK(l, controller, "ControllerPublishVolume", in);
	}
	REFUSED(l, controller, "ControllerPublishVolume", in, CLEAT_RESOURCE_EXHAUSTED, "node-a");
	in.volume_id = ids[0]; /* attached already: counts no second time */
	OK(l, controller, "ControllerPublishVolume", in);
	off.volume_id = ids[1];
	OK(l, controller, "ControllerUnpublishVolume", off);
	in.volume_id = ids[2];
	OK(l, controller, "ControllerPublishVolume", in);
	lab_stop(l);
}

/* ---- changing ---- */

static void test_modify__changes_what_can_be_changed_and_nothing_else(void **state)
{
	struct lab *l = *state;
	Csi__V1__ControllerModifyVolumeRequest in = CSI__V1__CONTROLLER_MODIFY_VOLUME_REQUEST__INIT;
	const ProtobufCMessageDescriptor *entry =
		&csi__v1__controller_modify_volume_request__mutable_parameters_entry__descriptor;
	cleat_autopb ProtobufCMessage *out = NULL, *after = NULL;

	lab_start(l);
	in.volume_id = ok_volume(l, "db");
	in.mutable_parameters = map_of(l, entry, &in.n_mutable_parameters, "allow_scopes", "blue", NULL);
	OK(l, controller, "ControllerModifyVolume", in);
	OK(l, controller, "ControllerModifyVolume", in);
	in.mutable_parameters =
		map_of(l, entry, &in.n_mutable_parameters, "allow_scopes", "red", "fs", "ext4", NULL);
	REFUSED(l, controller, "ControllerModifyVolume", in, CLEAT_INVALID_ARGUMENT, "'fs'");
	in.mutable_parameters =
		map_of(l, entry, &in.n_mutable_parameters, "allow_scopes", "red", "colour", "x", NULL);
	REFUSED(l, controller, "ControllerModifyVolume", in, CLEAT_INVALID_ARGUMENT, "'colour'");
	const Cleat__V1__Volume *v = native(l, in.volume_id, &out);
	bool blue = false;
	for (size_t i = 0; i < v->n_params; i++)
		blue |= strcmp(v->params[i]->key, "allow_scopes") == 0 &&
			strcmp(v->params[i]->value, "blue") == 0;
	assert_true(blue); /* nothing of a refused call was done */
	in.n_mutable_parameters = 0;
	OK(l, controller, "ControllerModifyVolume", in);
	assert_int_equal(native(l, in.volume_id, &after)->n_params, v->n_params);
	lab_stop(l);
}

static void test_expand__gives_what_was_asked_for_and_never_less(void **state)
{
	struct lab *l = *state;
	Csi__V1__ControllerExpandVolumeRequest in = CSI__V1__CONTROLLER_EXPAND_VOLUME_REQUEST__INIT;
	const Csi__V1__ControllerExpandVolumeResponse *out;

	lab_start(l);
	in.volume_id = ok_volume(l, "db");
	in.capacity_range = range_of(l, XFS_BYTES + 64 * MIB, 0);
	for (int i = 0; i < 2; i++) {
		out = OK(l, controller, "ControllerExpandVolume", in);
		assert_int_equal(out->capacity_bytes, XFS_BYTES + 64 * MIB);
		assert_false(out->node_expansion_required);
	}
	in.capacity_range = range_of(l, XFS_BYTES, 0); /* large enough already */
	out = OK(l, controller, "ControllerExpandVolume", in);
	assert_int_equal(out->capacity_bytes, XFS_BYTES + 64 * MIB);
	in.capacity_range = range_of(l, XFS_BYTES, XFS_BYTES);
	REFUSED(l, controller, "ControllerExpandVolume", in, CLEAT_OUT_OF_RANGE, "already");
	in.capacity_range = range_of(l, 0, XFS_BYTES);
	REFUSED(l, controller, "ControllerExpandVolume", in, CLEAT_INVALID_ARGUMENT, "required_bytes");
	in.capacity_range = range_of(l, XFS_BYTES, 0);
	in.volume_capability = cap_block(l, MODE(SINGLE_NODE_WRITER));
	REFUSED(l, controller, "ControllerExpandVolume", in, CLEAT_INVALID_ARGUMENT, "mount access");
	lab_stop(l);
}

/* ---- what there is ---- */

static bool has(const Csi__V1__ControllerGetCapabilitiesResponse *out, unsigned type)
{
	for (size_t i = 0; i < out->n_capabilities; i++)
		if ((unsigned)out->capabilities[i]->rpc->type == type)
			return true;
	return false;
}

static bool plugin_has(const Csi__V1__GetPluginCapabilitiesResponse *out, unsigned type)
{
	for (size_t i = 0; i < out->n_capabilities; i++)
		if (out->capabilities[i]->type_case == CSI__V1__PLUGIN_CAPABILITY__TYPE_SERVICE &&
		    (unsigned)out->capabilities[i]->service->type == type)
			return true;
	return false;
}

#define CAN(name) CSI__V1__CONTROLLER_SERVICE_CAPABILITY__RPC__TYPE__##name

static void test_capabilities__are_those_of_the_pools(void **state)
{
	struct lab *l = *state;
	Csi__V1__ControllerGetCapabilitiesRequest ask = CSI__V1__CONTROLLER_GET_CAPABILITIES_REQUEST__INIT;
	Csi__V1__GetPluginCapabilitiesRequest ask_plugin = CSI__V1__GET_PLUGIN_CAPABILITIES_REQUEST__INIT;
	Csi__V1__GroupControllerGetCapabilitiesRequest ask_group =
		CSI__V1__GROUP_CONTROLLER_GET_CAPABILITIES_REQUEST__INIT;

	lab_start(l);
	const Csi__V1__ControllerGetCapabilitiesResponse *out =
		OK(l, controller, "ControllerGetCapabilities", ask);
	assert_true(has(out, CAN(CREATE_DELETE_SNAPSHOT)));
	assert_true(has(out, CAN(PUBLISH_UNPUBLISH_VOLUME)));
	const Csi__V1__GetPluginCapabilitiesResponse *plugin =
		OK(l, identity, "GetPluginCapabilities", ask_plugin);
	assert_true(plugin_has(plugin, CSI__V1__PLUGIN_CAPABILITY__SERVICE__TYPE__GROUP_CONTROLLER_SERVICE));
	assert_true(plugin_has(plugin,
			       CSI__V1__PLUGIN_CAPABILITY__SERVICE__TYPE__VOLUME_ACCESSIBILITY_CONSTRAINTS));
	lab_stop(l);

	/* Directories on a file system without snapshots; and no attaching. */
	l->pools = "  plain:\n    backend: dir\n";
	l->csi = "  attach: false\n  driver_name: my.driver\n";
	lab_start(l);
	out = OK(l, controller, "ControllerGetCapabilities", ask);
	assert_true(has(out, CAN(CREATE_DELETE_VOLUME)));
	assert_true(has(out, CAN(CLONE_VOLUME)));
	assert_false(has(out, CAN(PUBLISH_UNPUBLISH_VOLUME)));
	assert_false(has(out, CAN(LIST_VOLUMES_PUBLISHED_NODES)));
	Csi__V1__GetPluginInfoRequest ask_info = CSI__V1__GET_PLUGIN_INFO_REQUEST__INIT;
	const Csi__V1__GetPluginInfoResponse *info = OK(l, identity, "GetPluginInfo", ask_info);
	assert_string_equal(info->name, "my.driver");
	assert_string_not_equal(info->vendor_version, "");
	plugin = OK(l, identity, "GetPluginCapabilities", ask_plugin);
	assert_false(plugin_has(plugin, CSI__V1__PLUGIN_CAPABILITY__SERVICE__TYPE__GROUP_CONTROLLER_SERVICE));
	const Csi__V1__GroupControllerGetCapabilitiesResponse *group =
		OK(l, group_controller, "GroupControllerGetCapabilities", ask_group);
	assert_int_equal(group->n_capabilities, 0);
	lab_stop(l);
}

static void test_capacity__is_the_pools_and_nothing_where_nothing_can_be(void **state)
{
	struct lab *l = *state;
	Csi__V1__GetCapacityRequest in = CSI__V1__GET_CAPACITY_REQUEST__INIT;
	const ProtobufCMessageDescriptor *entry =
		&csi__v1__get_capacity_request__parameters_entry__descriptor;
	const Csi__V1__GetCapacityResponse *out;
	Csi__V1__VolumeCapability *caps[1];

	lab_start(l);
	out = OK(l, controller, "GetCapacity", in);
	const int64_t before = out->available_capacity;
	assert_true(before > (int64_t)(1024 * MIB) && before <= (int64_t)(8192 * MIB));
	ok_volume(l, "db");
	out = OK(l, controller, "GetCapacity", in);
	assert_true(out->available_capacity <=
		    before - (int64_t)XFS_BYTES); /* what is promised is not there any more */
	in.accessible_topology = topology_of(l, "topology.cleat/node", "node-b")->requisite[0];
	out = OK(l, controller, "GetCapacity", in);
	assert_int_equal(out->available_capacity, 0);
	in.accessible_topology = NULL;
	in.parameters = map_of(l, entry, &in.n_parameters, "pool", "plain", NULL);
	out = OK(l, controller, "GetCapacity", in);
	assert_true(out->available_capacity > 0);
	caps[0] = cap_block(l, MODE(SINGLE_NODE_WRITER));
	in.volume_capabilities = caps;
	in.n_volume_capabilities = 1;
	out = OK(l, controller, "GetCapacity", in); /* no directory is a device */
	assert_int_equal(out->available_capacity, 0);
	in.parameters = map_of(l, entry, &in.n_parameters, "pool", "nowhere", NULL);
	REFUSED(l, controller, "GetCapacity", in, CLEAT_INVALID_ARGUMENT, "nowhere");
	lab_stop(l);
}

static void test_validate__says_yes_or_why_not(void **state)
{
	struct lab *l = *state;
	Csi__V1__ValidateVolumeCapabilitiesRequest in = CSI__V1__VALIDATE_VOLUME_CAPABILITIES_REQUEST__INIT;
	const Csi__V1__ValidateVolumeCapabilitiesResponse *out;
	Csi__V1__VolumeCapability *caps[2];
	const ProtobufCMessageDescriptor *entry =
		&csi__v1__validate_volume_capabilities_request__parameters_entry__descriptor;
	const struct {
		Csi__V1__VolumeCapability *cap;
		const char *why;
	} no[] = {
		{ cap_block(l, MODE(SINGLE_NODE_WRITER)), "mount access" },
		{ cap_mount(l, MODE(SINGLE_NODE_WRITER), "ext4", NULL), "ext4" },
		{ cap_mount(l, MODE(MULTI_NODE_MULTI_WRITER), "", NULL), "MULTI_NODE" },
	};

	lab_start(l);
	in.volume_id = ok_volume(l, "db");
	in.volume_capabilities = caps;
	in.n_volume_capabilities = 2;
	caps[0] = cap_mount(l, MODE(SINGLE_NODE_WRITER), "", NULL);
	caps[1] = cap_mount(l, MODE(SINGLE_NODE_READER_ONLY), "xfs", "noatime");
	in.parameters = map_of(l, entry, &in.n_parameters, "fs", "xfs", "pool", "default", NULL);
	out = OK(l, controller, "ValidateVolumeCapabilities", in);
	assert_non_null(out->confirmed);
	assert_int_equal(out->confirmed->n_volume_capabilities, 2);
	assert_string_equal(out->confirmed->volume_capabilities[1]->mount->fs_type, "xfs");
	assert_int_equal(out->confirmed->n_parameters, 2);
	for (size_t i = 0; i < CLEAT_COUNT(no); i++) {
		caps[1] = no[i].cap;
		out = OK(l, controller, "ValidateVolumeCapabilities", in);
		assert_null(out->confirmed);
		assert_non_null(strstr(out->message, no[i].why));
	}
	caps[1] = caps[0];
	in.parameters = map_of(l, entry, &in.n_parameters, "pool", "plain", NULL);
	out = OK(l, controller, "ValidateVolumeCapabilities", in);
	assert_null(out->confirmed);
	assert_non_null(strstr(out->message, "plain"));
	lab_stop(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define LAB(test) cmocka_unit_test_setup_teardown(test, lab_setup, lab_teardown)
		LAB(test_create__again_is_the_same_and_otherwise_is_refused),
		LAB(test_create__sizes_are_what_was_asked_for_or_refused),
		LAB(test_create__any_name_that_csi_allows_is_one),
		LAB(test_create__parameters_are_honoured_or_refused_by_name),
		LAB(test_create__lies_where_it_may_or_is_refused),
		LAB(test_create__modes_of_many_nodes_need_the_operator),
		LAB(test_ids__are_never_names),
		LAB(test_list__gives_everything_once_in_pages),
		LAB(test_attach__is_one_nodes_and_its_holder_is_named),
		LAB(test_attach__a_node_has_its_limit),
		LAB(test_modify__changes_what_can_be_changed_and_nothing_else),
		LAB(test_expand__gives_what_was_asked_for_and_never_less),
		LAB(test_capabilities__are_those_of_the_pools),
		LAB(test_capacity__is_the_pools_and_nothing_where_nothing_can_be),
		LAB(test_validate__says_yes_or_why_not),
	};

	return lab_run("csi_volumes_test", tests, CLEAT_COUNT(tests));
}
