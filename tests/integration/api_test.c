/* api_test.c - every call of cleat.v1.Volumes once over the wire, against a real daemon with real volumes:
 * what a client asks for arrives, and what the engine knows comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon.h"

#include "util/mem.h"

#include <cleat/volume.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

static struct test_daemon d;

static int set_up(void **state)
{
	(void)state;
	test_daemon_init(&d);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	test_daemon_done(&d);
	return 0;
}

/* A writable copy for a field of a message; the ring is large enough for one test's texts. */
static char *t(const char *text)
{
	static char ring[32][256];
	static unsigned next;
	char *at = ring[next++ % CLEAT_COUNT(ring)];

	snprintf(at, sizeof(ring[0]), "%s", text);
	return at;
}

/* The answer of a call that must succeed. */
static ProtobufCMessage *ask(const char *method, const ProtobufCMessage *in)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	ProtobufCMessage *out = NULL;

	if (test_daemon_call(&d, method, in, &out, &err)) {
		cleat_autofree char *log = test_daemon_log(&d);
		fail_msg("%s: %s: %s; log:\n%s", method, cleat_code_name(err.code), err.msg, log);
	}
	return out;
}

static enum cleat_code code_of(const char *method, const ProtobufCMessage *in)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	return test_daemon_call(&d, method, in, NULL, &err);
}

#define ASK(type, var, method, in)                                                                           \
	cleat_autopb ProtobufCMessage *var##_any = ask(method, &(in).base);                                  \
	const type *var = (const void *)var##_any

/* ---- one volume's life on the embedded default pool ---- */

static void create(const char *name)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	Cleat__V1__CreateVolumeRequest__ParamsEntry fs = CLEAT__V1__CREATE_VOLUME_REQUEST__PARAMS_ENTRY__INIT,
						    mode = fs;
	Cleat__V1__CreateVolumeRequest__ParamsEntry *params[] = { &fs, &mode };
	Cleat__V1__CreateVolumeRequest__LabelsEntry
		one = CLEAT__V1__CREATE_VOLUME_REQUEST__LABELS_ENTRY__INIT,
		two = one;
	Cleat__V1__CreateVolumeRequest__LabelsEntry *labels[] = { &one, &two };

	in.name = t(name);
	in.capacity_bytes = 64 * MIB;
	in.access_type = CLEAT__V1__ACCESS_TYPE__ACCESS_TYPE_MOUNT;
	fs.key = t("fs");
	fs.value = t("ext4");
	mode.key = t("mode");
	mode.value = t("1770");
	in.params = params;
	in.n_params = 2;
	one.key = two.key = t("app");
	one.value = t("first");
	two.value = t("shop"); /* the last one counts */
	in.labels = labels;
	in.n_labels = 2;
	ASK(Cleat__V1__CreateVolumeResponse, out, "CreateVolume", in);
	assert_false(out->already);
	assert_string_equal(out->volume->name, name);
	assert_string_equal(out->volume->pool, "default");
	assert_string_equal(out->volume->fs, "ext4");
	assert_true(out->volume->capacity_bytes >= 64 * MIB);
	assert_int_equal(out->volume->access_type, CLEAT__V1__ACCESS_TYPE__ACCESS_TYPE_MOUNT);
	assert_int_equal(out->volume->n_labels, 1);
	assert_string_equal(out->volume->labels[0]->value, "shop");
	assert_true(out->volume->created_ms > 0);
	ASK(Cleat__V1__CreateVolumeResponse, again, "CreateVolume", in);
	assert_true(again->already);
	assert_string_equal(again->volume->id, out->volume->id);
	in.capacity_bytes = 128 * MIB;
	assert_int_equal(code_of("CreateVolume", &in.base), CLEAT_ALREADY_EXISTS);
}

static void publish(const char *volume, const char *target)
{
	Cleat__V1__PublishVolumeRequest in = CLEAT__V1__PUBLISH_VOLUME_REQUEST__INIT;
	Cleat__V1__PublishVolumeRequest__MountOptionsEntry option =
		CLEAT__V1__PUBLISH_VOLUME_REQUEST__MOUNT_OPTIONS_ENTRY__INIT;
	Cleat__V1__PublishVolumeRequest__MountOptionsEntry *options = &option;
	struct stat st;

	in.volume = t(volume);
	in.target = t(target);
	in.mode = CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER;
	in.owner = t("task web");
	in.witness_pid = getpid();
	option.key = t("noatime");
	in.mount_options = &options;
	in.n_mount_options = 1;
	ASK(Cleat__V1__PublishVolumeResponse, out, "PublishVolume", in);
	assert_string_equal(out->target, target);
	assert_int_equal(stat(target, &st), 0);
	assert_int_equal(st.st_mode & 07777, 01770);
}

static void look_at_claims(const char *volume, const char *target)
{
	Cleat__V1__ListClaimsRequest in = CLEAT__V1__LIST_CLAIMS_REQUEST__INIT;
	char wanted[32];

	snprintf(wanted, sizeof(wanted), "pid %d", (int)getpid());
	in.volume = t(volume);
	ASK(Cleat__V1__ListClaimsResponse, out, "ListClaims", in);
	assert_int_equal(out->n_claims, 1);
	assert_string_equal(out->claims[0]->target, target);
	assert_string_equal(out->claims[0]->owner, "task web");
	assert_string_equal(out->claims[0]->witness, wanted);
	assert_int_equal(out->claims[0]->mode, CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER);
	assert_false(out->claims[0]->stale);
	assert_false(out->claims[0]->staging);
	assert_true(out->claims[0]->since_ms > 0);
	Cleat__V1__DeleteVolumeRequest del = CLEAT__V1__DELETE_VOLUME_REQUEST__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	del.volume = t(volume);
	assert_int_equal(test_daemon_call(&d, "DeleteVolume", &del.base, NULL, &err),
			 CLEAT_FAILED_PRECONDITION);
	assert_non_null(strstr(err.msg, "task web"));
}

static void look_at_usage_and_health(const char *volume)
{
	Cleat__V1__GetUsageRequest usage_in = CLEAT__V1__GET_USAGE_REQUEST__INIT;
	Cleat__V1__GetHealthRequest health_in = CLEAT__V1__GET_HEALTH_REQUEST__INIT;

	usage_in.volume = t(volume);
	ASK(Cleat__V1__GetUsageResponse, usage, "GetUsage", usage_in);
	assert_true(usage->total_bytes > 40 * MIB && usage->total_bytes <= 64 * MIB);
	assert_true(usage->available_bytes > 0 && usage->available_bytes <= usage->total_bytes);
	assert_true(usage->total_inodes > usage->used_inodes);
	health_in.volume = t(volume);
	ASK(Cleat__V1__GetHealthResponse, health, "GetHealth", health_in);
	assert_true(health->healthy);
}

static void snapshot(const char *volume, const char *name)
{
	Cleat__V1__CreateSnapshotRequest in = CLEAT__V1__CREATE_SNAPSHOT_REQUEST__INIT;
	Cleat__V1__GetSnapshotRequest get = CLEAT__V1__GET_SNAPSHOT_REQUEST__INIT;
	Cleat__V1__ListSnapshotsRequest list_in = CLEAT__V1__LIST_SNAPSHOTS_REQUEST__INIT;
	Cleat__V1__DeleteSnapshotRequest del = CLEAT__V1__DELETE_SNAPSHOT_REQUEST__INIT;

	in.volume = t(volume);
	in.name = t(name);
	ASK(Cleat__V1__CreateSnapshotResponse, out, "CreateSnapshot", in);
	assert_string_equal(out->snapshot->name, name);
	assert_string_not_equal(out->snapshot->source, "");
	get.snapshot = out->snapshot->id;
	ASK(Cleat__V1__GetSnapshotResponse, got, "GetSnapshot", get);
	assert_string_equal(got->snapshot->name, name);
	list_in.volume = t(volume);
	ASK(Cleat__V1__ListSnapshotsResponse, list, "ListSnapshots", list_in);
	assert_int_equal(list->n_snapshots, 1);
	assert_string_equal(list->snapshots[0]->id, out->snapshot->id);
	assert_string_equal(list->next_page_token, "");
	del.snapshot = out->snapshot->id;
	ASK(Cleat__V1__DeleteSnapshotResponse, gone, "DeleteSnapshot", del);
	assert_false(gone->already);
	ASK(Cleat__V1__DeleteSnapshotResponse, again, "DeleteSnapshot", del);
	assert_true(again->already);
}

static void expand_and_modify(const char *volume)
{
	Cleat__V1__ExpandVolumeRequest in = CLEAT__V1__EXPAND_VOLUME_REQUEST__INIT;
	Cleat__V1__ModifyVolumeRequest mod = CLEAT__V1__MODIFY_VOLUME_REQUEST__INIT;
	Cleat__V1__ModifyVolumeRequest__LabelsEntry
		label = CLEAT__V1__MODIFY_VOLUME_REQUEST__LABELS_ENTRY__INIT,
		*labels = &label;

	in.volume = t(volume);
	in.capacity_bytes = 96 * MIB;
	ASK(Cleat__V1__ExpandVolumeResponse, out, "ExpandVolume", in);
	assert_true(out->volume->capacity_bytes >= 96 * MIB);
	mod.volume = t(volume);
	label.key = t("app");
	mod.labels = &labels;
	mod.n_labels = 1;
	ASK(Cleat__V1__ModifyVolumeResponse, changed, "ModifyVolume", mod);
	assert_int_equal(changed->volume->n_labels, 0);
	assert_true(changed->volume->capacity_bytes >= 96 * MIB);
}

static void unpublish_and_delete(const char *volume, const char *target)
{
	Cleat__V1__UnpublishVolumeRequest in = CLEAT__V1__UNPUBLISH_VOLUME_REQUEST__INIT;
	Cleat__V1__DeleteVolumeRequest del = CLEAT__V1__DELETE_VOLUME_REQUEST__INIT;
	Cleat__V1__GetVolumeRequest get = CLEAT__V1__GET_VOLUME_REQUEST__INIT;

	in.volume = t(volume);
	in.target = t(target);
	for (int i = 0; i < 2; i++) { /* gone is done */
		ASK(Cleat__V1__UnpublishVolumeResponse, out, "UnpublishVolume", in);
		assert_non_null(out);
	}
	get.volume = t(volume);
	ASK(Cleat__V1__GetVolumeResponse, got, "GetVolume", get);
	assert_int_equal(got->volume->claim_count, 0);
	assert_false(got->volume->staged);
	del.volume = t(volume);
	ASK(Cleat__V1__DeleteVolumeResponse, gone, "DeleteVolume", del);
	assert_false(gone->already);
	ASK(Cleat__V1__DeleteVolumeResponse, again, "DeleteVolume", del);
	assert_true(again->already);
	assert_int_equal(code_of("GetVolume", &get.base), CLEAT_NOT_FOUND);
}

static void test_api__a_volume_lives_from_create_to_delete(void **state)
{
	char target[64];

	(void)state;
	test_daemon_start(&d, NULL);
	snprintf(target, sizeof(target), "%.40s/target", d.dir);
	assert_int_equal(mkdir(target, 0755), 0);
	create("db");
	publish("default/db", target);
	look_at_claims("default/db", target);
	look_at_usage_and_health("default/db");
	expand_and_modify("default/db");
	unpublish_and_delete("default/db", target);
	test_daemon_stop(&d);
}

static void test_api__a_snapshot_lives_from_create_to_delete(void **state)
{
	(void)state;
	test_daemon_start(&d, NULL);
	create("db");
	snapshot("default/db", "s1");
	unpublish_and_delete("default/db", "");
	test_daemon_stop(&d);
}

static void test_api__a_group_snapshot_keeps_the_order_of_the_request(void **state)
{
	Cleat__V1__CreateGroupSnapshotRequest in = CLEAT__V1__CREATE_GROUP_SNAPSHOT_REQUEST__INIT;
	char *volumes[] = { t("default/b"), t("default/a") };
	char *many[CLEAT_GROUP_MAX + 1];

	(void)state;
	test_daemon_start(&d, NULL);
	create("a");
	create("b");
	in.volumes = volumes;
	in.n_volumes = 2;
	in.name = t("g");
	ASK(Cleat__V1__CreateGroupSnapshotResponse, out, "CreateGroupSnapshot", in);
	assert_int_equal(out->n_snapshots, 2);
	assert_string_equal(out->snapshots[0]->group, out->snapshots[1]->group);
	Cleat__V1__GetVolumeRequest get = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	get.volume = volumes[0];
	ASK(Cleat__V1__GetVolumeResponse, b, "GetVolume", get);
	assert_string_equal(out->snapshots[0]->source, b->volume->id);
	for (size_t i = 0; i < CLEAT_COUNT(many); i++)
		many[i] = volumes[0];
	in.volumes = many;
	in.n_volumes = CLEAT_COUNT(many);
	assert_int_equal(code_of("CreateGroupSnapshot", &in.base), CLEAT_INVALID_ARGUMENT);
	in.n_volumes = 0;
	assert_int_equal(code_of("CreateGroupSnapshot", &in.base), CLEAT_INVALID_ARGUMENT);
	test_daemon_stop(&d);
}

static void test_api__attach_and_stage_show_in_the_volume(void **state)
{
	Cleat__V1__AttachVolumeRequest attach = CLEAT__V1__ATTACH_VOLUME_REQUEST__INIT;
	Cleat__V1__DetachVolumeRequest detach = CLEAT__V1__DETACH_VOLUME_REQUEST__INIT;
	Cleat__V1__StageVolumeRequest stage = CLEAT__V1__STAGE_VOLUME_REQUEST__INIT;
	Cleat__V1__UnstageVolumeRequest unstage = CLEAT__V1__UNSTAGE_VOLUME_REQUEST__INIT;
	Cleat__V1__ReleaseClaimRequest release = CLEAT__V1__RELEASE_CLAIM_REQUEST__INIT;
	Cleat__V1__GetVolumeRequest get = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	Cleat__V1__PublishVolumeRequest chosen = CLEAT__V1__PUBLISH_VOLUME_REQUEST__INIT;
	Cleat__V1__GetInfoRequest ask_info = CLEAT__V1__GET_INFO_REQUEST__INIT;

	(void)state;
	test_daemon_start(&d, NULL);
	create("v");
	attach.volume = detach.volume = stage.volume = unstage.volume = release.volume = get.volume =
		chosen.volume = t("default/v");
	attach.node = t("another-node"); /* a local pool's volumes are here only */
	assert_int_equal(code_of("AttachVolume", &attach.base), CLEAT_NOT_FOUND);
	attach.node = t("");
	attach.mode = CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_WRITER;
	assert_int_equal(code_of("AttachVolume", &attach.base), CLEAT_OK);
	assert_int_equal(code_of("StageVolume", &stage.base), CLEAT_OK);
	ASK(Cleat__V1__GetVolumeResponse, got, "GetVolume", get);
	assert_int_equal(got->volume->n_attachments, 1);
	ASK(Cleat__V1__GetInfoResponse, info, "GetInfo", ask_info);
	assert_string_equal(got->volume->attachments[0]->node, info->node);
	assert_true(got->volume->staged);
	ASK(Cleat__V1__PublishVolumeResponse, where, "PublishVolume", chosen);
	assert_int_equal(where->target[0], '/');
	assert_int_equal(access(where->target, F_OK), 0);
	release.target = where->target;
	assert_int_equal(code_of("ReleaseClaim", &release.base), CLEAT_OK);
	assert_int_equal(code_of("UnstageVolume", &unstage.base), CLEAT_OK);
	assert_int_equal(code_of("DetachVolume", &detach.base), CLEAT_OK);
	ASK(Cleat__V1__GetVolumeResponse, after, "GetVolume", get);
	assert_int_equal(after->volume->n_attachments, 0);
	assert_false(after->volume->staged);
	assert_int_equal(after->volume->claim_count, 0);
	attach.mode = (Cleat__V1__AccessMode)99;
	assert_int_equal(code_of("AttachVolume", &attach.base), CLEAT_INVALID_ARGUMENT);
	test_daemon_stop(&d);
}

static void test_api__scopes_are_kept_apart(void **state)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	Cleat__V1__GetVolumeRequest get = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	Cleat__V1__ListVolumesRequest list_in = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;

	(void)state;
	test_daemon_config(&d, "pools: {default: {backend: dir}}\n");
	test_daemon_start(&d, NULL);
	in.name = t("v");
	in.scope = t("blue");
	assert_int_equal(code_of("CreateVolume", &in.base), CLEAT_OK);
	in.scope = t("");
	assert_int_equal(code_of("CreateVolume", &in.base), CLEAT_OK);
	get.volume = t("default/v");
	get.scope = t("blue");
	ASK(Cleat__V1__GetVolumeResponse, got, "GetVolume", get);
	assert_string_equal(got->volume->scope, "blue");
	ASK(Cleat__V1__ListVolumesResponse, own, "ListVolumes", list_in);
	assert_int_equal(own->n_volumes, 1);
	assert_string_equal(own->volumes[0]->scope, "");
	list_in.any_scope = true;
	ASK(Cleat__V1__ListVolumesResponse, all, "ListVolumes", list_in);
	assert_int_equal(all->n_volumes, 2);
	test_daemon_stop(&d);
}

/* ---- lists ---- */

/* Creates n volumes whose labels take about `bytes` bytes each. */
static void create_many(int n, size_t bytes)
{
	static char value[4096];
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	Cleat__V1__CreateVolumeRequest__LabelsEntry entries[16], *labels[16];
	size_t per = bytes / CLEAT_COUNT(entries);

	assert_true(per < sizeof(value));
	memset(value, 'x', per);
	value[per] = '\0';
	for (size_t i = 0; i < CLEAT_COUNT(entries); i++) {
		char key[8];

		snprintf(key, sizeof(key), "k%zu", i);
		cleat__v1__create_volume_request__labels_entry__init(&entries[i]);
		entries[i].key = t(key);
		entries[i].value = value;
		labels[i] = &entries[i];
	}
	in.labels = labels;
	in.n_labels = per ? CLEAT_COUNT(entries) : 0;
	for (int i = 0; i < n; i++) {
		char name[16];

		snprintf(name, sizeof(name), "v%03d", i);
		in.name = name;
		assert_int_equal(code_of("CreateVolume", &in.base), CLEAT_OK);
	}
}

static void test_api__lists_come_in_pages_and_bad_tokens_are_aborted(void **state)
{
	Cleat__V1__ListVolumesRequest in = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;
	size_t seen = 0, pages = 0;
	char token[160] = "";

	(void)state;
	test_daemon_config(&d, "pools: {default: {backend: dir}}\n");
	test_daemon_start(&d, NULL);
	create_many(25, 0);
	in.page_size = 10;
	do {
		in.page_token = token;
		ASK(Cleat__V1__ListVolumesResponse, out, "ListVolumes", in);
		seen += out->n_volumes;
		pages++;
		snprintf(token, sizeof(token), "%s", out->next_page_token);
	} while (token[0]);
	assert_int_equal(seen, 25);
	assert_int_equal(pages, 3);
	in.page_token = t("made-up");
	assert_int_equal(code_of("ListVolumes", &in.base), CLEAT_ABORTED);
	in.page_token = t("");
	in.page_size = 4000000000u;
	ASK(Cleat__V1__ListVolumesResponse, all, "ListVolumes", in);
	assert_int_equal(all->n_volumes, 25);
	in.name = t("v007");
	ASK(Cleat__V1__ListVolumesResponse, one, "ListVolumes", in);
	assert_int_equal(one->n_volumes, 1);
	test_daemon_stop(&d);
}

static void test_api__a_page_that_would_be_too_large_is_cut_and_goes_on(void **state)
{
	Cleat__V1__ListVolumesRequest in = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;
	size_t seen = 0, pages = 0;
	char token[160] = "";

	(void)state;
	test_daemon_config(&d, "pools: {default: {backend: dir}}\n");
	test_daemon_start(&d, NULL);
	create_many(100, 60000); /* six megabytes: more than a client accepts in one message */
	do {
		in.page_token = token;
		ASK(Cleat__V1__ListVolumesResponse, out, "ListVolumes", in);
		assert_true(protobuf_c_message_get_packed_size(&out->base) <= 3 * MIB);
		seen += out->n_volumes;
		pages++;
		snprintf(token, sizeof(token), "%s", out->next_page_token);
	} while (token[0]);
	assert_int_equal(seen, 100);
	assert_true(pages >= 2 && pages <= 4);
	test_daemon_stop(&d);
}

/* ---- pools and the whole ---- */

static void test_api__pools_tell_what_they_can_and_hold(void **state)
{
	Cleat__V1__ListPoolsRequest list_in = CLEAT__V1__LIST_POOLS_REQUEST__INIT;
	Cleat__V1__GetPoolRequest in = CLEAT__V1__GET_POOL_REQUEST__INIT;
	bool mount = false;

	(void)state;
	test_daemon_config(&d, "pools: {default: {backend: dir}, gone: {backend: dir, path: %s/nowhere}}\n",
			   d.dir);
	test_daemon_start(&d, NULL);
	test_daemon_create(&d, "", "v");
	ASK(Cleat__V1__ListPoolsResponse, list, "ListPools", list_in);
	assert_int_equal(list->n_pools, 2);
	in.refresh = true;
	ASK(Cleat__V1__GetPoolResponse, out, "GetPool", in);
	assert_string_equal(out->pool->name, "default");
	assert_string_equal(out->pool->backend, "dir");
	assert_true(out->pool->online);
	assert_true(out->pool->is_default);
	assert_int_equal(out->pool->volume_count, 1);
	assert_true(out->pool->space->total_bytes > 0);
	assert_true(out->pool->space->age_ms >= 0 && out->pool->space->age_ms < 60000);
	for (size_t i = 0; i < out->pool->n_capabilities; i++)
		mount |= out->pool->capabilities[i] == CLEAT__V1__CAPABILITY__CAPABILITY_MOUNT;
	assert_true(mount);
	in.pool = t("gone");
	assert_int_equal(code_of("GetPool", &in.base), CLEAT_UNAVAILABLE);
	in.refresh = false;
	ASK(Cleat__V1__GetPoolResponse, gone, "GetPool", in);
	assert_false(gone->pool->online);
	assert_string_not_equal(gone->pool->reason, "");
	in.pool = t("none");
	assert_int_equal(code_of("GetPool", &in.base), CLEAT_NOT_FOUND);
	test_daemon_stop(&d);
}

static bool has_key(Cleat__V1__Parameter *const *list, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i]->key, key) == 0)
			return true;
	return false;
}

static void test_api__parameters_of_backends_and_file_systems_are_told(void **state)
{
	Cleat__V1__ListParametersRequest in = CLEAT__V1__LIST_PARAMETERS_REQUEST__INIT;

	(void)state;
	test_daemon_config(&d, "pools: {default: {backend: dir}}\n");
	test_daemon_start(&d, NULL);
	ASK(Cleat__V1__ListParametersResponse, all, "ListParameters", in);
	assert_true(all->n_backends >= 3);
	assert_string_equal(all->file_systems[0]->fs, "ext4");
	assert_true(all->file_systems[0]->n_make > 0);
	assert_true(has_key(all->file_systems[0]->mount, all->file_systems[0]->n_mount, "noatime"));
	in.backend = t("loop");
	ASK(Cleat__V1__ListParametersResponse, loop, "ListParameters", in);
	assert_int_equal(loop->n_backends, 1);
	assert_true(loop->backends[0]->uses_fs);
	assert_true(has_key(loop->backends[0]->pool, loop->backends[0]->n_pool, "path"));
	assert_true(has_key(loop->backends[0]->volume, loop->backends[0]->n_volume, "uid"));
	in.backend = t("dir");
	ASK(Cleat__V1__ListParametersResponse, dir, "ListParameters", in);
	assert_int_equal(dir->n_file_systems, 0);
	in.backend = t("none");
	assert_int_equal(code_of("ListParameters", &in.base), CLEAT_NOT_FOUND);
	test_daemon_stop(&d);
}

static void test_api__doctor_finds_nothing_on_a_sound_node(void **state)
{
	Cleat__V1__DoctorRequest in = CLEAT__V1__DOCTOR_REQUEST__INIT;

	(void)state;
	test_daemon_config(&d, "pools: {default: {backend: dir}}\n");
	test_daemon_start(&d, NULL);
	test_daemon_create(&d, "", "v");
	ASK(Cleat__V1__DoctorResponse, out, "Doctor", in);
	for (size_t i = 0; i < out->n_findings; i++)
		fail_msg("%s: %s", out->findings[i]->subject, out->findings[i]->problem);
	test_daemon_stop(&d);
}

static void test_api__adopt_takes_a_directory_that_is_there(void **state)
{
	Cleat__V1__AdoptVolumeRequest in = CLEAT__V1__ADOPT_VOLUME_REQUEST__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	test_daemon_config(&d, "pools: {default: {backend: dir}}\n");
	test_daemon_start(&d, NULL);
	in.name = t("v");
	in.what = t("/no/such/directory");
	assert_int_not_equal(test_daemon_call(&d, "AdoptVolume", &in.base, NULL, &err), CLEAT_OK);
	assert_non_null(strstr(err.msg, "/no/such/directory"));
	test_daemon_stop(&d);
}

/* ---- limits of what comes in ---- */

static void test_api__names_and_pairs_beyond_their_limits_are_refused(void **state)
{
	static const char *const names[] = { "", "a/b", "..", "a\nb", "\x01", "x\x7f" };
	static char huge[301];
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	Cleat__V1__CreateVolumeRequest__ParamsEntry p = CLEAT__V1__CREATE_VOLUME_REQUEST__PARAMS_ENTRY__INIT,
						    *params = &p;

	(void)state;
	test_daemon_config(&d, "pools: {default: {backend: dir}}\n");
	test_daemon_start(&d, NULL);
	for (size_t i = 0; i < CLEAT_COUNT(names); i++) {
		in.name = t(names[i]);
		assert_int_equal(code_of("CreateVolume", &in.base), CLEAT_INVALID_ARGUMENT);
	}
	memset(huge, 'n', 300);
	in.name = huge;
	assert_int_equal(code_of("CreateVolume", &in.base), CLEAT_INVALID_ARGUMENT);
	in.name = t("v");
	in.access_type = (Cleat__V1__AccessType)9;
	assert_int_equal(code_of("CreateVolume", &in.base), CLEAT_INVALID_ARGUMENT);
	in.access_type = 0;
	p.key = t("");
	p.value = t("x");
	in.params = &params;
	in.n_params = 1;
	assert_int_equal(code_of("CreateVolume", &in.base), CLEAT_INVALID_ARGUMENT);
	p.key = t("no-such-parameter");
	assert_int_equal(code_of("CreateVolume", &in.base), CLEAT_INVALID_ARGUMENT);
	in.n_params = 0;
	in.capacity_bytes = UINT64_MAX;
	assert_int_not_equal(code_of("CreateVolume", &in.base), CLEAT_OK);
	in.capacity_bytes = 2 * MIB;
	in.limit_bytes = MIB;
	assert_int_equal(code_of("CreateVolume", &in.base), CLEAT_INVALID_ARGUMENT);
	test_daemon_stop(&d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_api__##name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_volume_lives_from_create_to_delete),
		TEST(a_snapshot_lives_from_create_to_delete),
		TEST(a_group_snapshot_keeps_the_order_of_the_request),
		TEST(attach_and_stage_show_in_the_volume),
		TEST(scopes_are_kept_apart),
		TEST(lists_come_in_pages_and_bad_tokens_are_aborted),
		TEST(a_page_that_would_be_too_large_is_cut_and_goes_on),
		TEST(pools_tell_what_they_can_and_hold),
		TEST(parameters_of_backends_and_file_systems_are_told),
		TEST(doctor_finds_nothing_on_a_sound_node),
		TEST(adopt_takes_a_directory_that_is_there),
		TEST(names_and_pairs_beyond_their_limits_are_refused),
	};

	if (geteuid() != 0 || access("/dev/loop-control", F_OK) != 0) {
		fprintf(stderr, "skipped: needs root and loop devices\n");
		return 77;
	}
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
