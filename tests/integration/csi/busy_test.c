/* busy_test.c - many calls at once, slow storage, callers that leave: nobody waits for what is not theirs,
 * nothing is done twice. */
#include "lab.h"

#include "util/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The rules of the fault layer from now on. */
static void set_faults(struct lab *l, const char *rules)
{
	char *next = keepf(l, "%s.new", l->fault_file);
	cleat_autoclose int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, rules, strlen(rules)), strlen(rules));
	assert_int_equal(rename(next, l->fault_file), 0);
}

static void start_with_faults(struct lab *l)
{
	l->fault_file = keepf(l, "%s/faults", l->d.dir);
	set_faults(l, "");
	lab_start(l);
}

/* ---- calls in threads of their own ---- */

struct errand {
	struct lab *l;
	const ProtobufCServiceDescriptor *service;
	const char *method;
	const ProtobufCMessage *in;
	unsigned timeout_ms;
	pthread_t thread;
	struct cleat_error err;
	atomic_bool finished;
};

static void *run_errand(void *arg)
{
	struct errand *e = arg;
	const struct cleat_rpc_options options = { .timeout_ms = e->timeout_ms };
	cleat_autopb ProtobufCMessage *out = NULL;

	(void)cleat_rpc_client_call(e->l->client, e->service, e->method, e->in, &options, &out, &e->err);
	atomic_store(&e->finished, true);
	return NULL;
}

static struct errand *send(struct lab *l, const ProtobufCServiceDescriptor *service, const char *method,
			   const ProtobufCMessage *in, unsigned timeout_ms)
{
	struct errand *e = keep_bytes(l, sizeof(*e));

	*e = (struct errand){
		.l = l, .service = service, .method = method, .in = in, .timeout_ms = timeout_ms
	};
	assert_int_equal(pthread_create(&e->thread, NULL, run_errand, e), 0);
	return e;
}
#define SEND(l, service, method, in, ms) send(l, &csi__v1__##service##__descriptor, method, &(in).base, ms)

static enum cleat_code wait_for(struct errand *e)
{
	pthread_join(e->thread, NULL);
	return e->err.code;
}

/* Waits until the daemon has begun n operations of that sort. */
static void until_running(struct lab *l, const char *verb, size_t n)
{
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	int64_t until_ms = cleat_time_mono_ms() + TEST_WAIT_MS;

	for (size_t found = 0; found < n;) {
		cleat_autopb ProtobufCMessage *out = NULL;

		assert_true(cleat_time_mono_ms() < until_ms);
		assert_int_equal(test_daemon_call(&l->d, "GetInfo", &in.base, &out, &l->err), CLEAT_OK);
		const Cleat__V1__GetInfoResponse *info = (const void *)out;
		found = 0;
		for (size_t i = 0; i < info->n_operations; i++)
			found += strcmp(info->operations[i]->verb, verb) == 0;
	}
}

/* ---- waiting ---- */

static void test_aborted__says_what_runs(void **state)
{
	struct lab *l = *state;
	Csi__V1__NodeStageVolumeRequest stage = CSI__V1__NODE_STAGE_VOLUME_REQUEST__INIT;
	Csi__V1__ControllerExpandVolumeRequest grow = CSI__V1__CONTROLLER_EXPAND_VOLUME_REQUEST__INIT;
	char *gate = keepf(l, "%s/gate", l->d.dir);

	start_with_faults(l);
	stage.volume_id = grow.volume_id = ok_volume(l, "db");
	stage.volume_capability = cap_mount(l, MODE(SINGLE_NODE_WRITER), "", NULL);
	stage.staging_target_path = target_of(l, "s");
	assert_int_equal(mkdir(stage.staging_target_path, 0755), 0);
	close(open(gate, O_CREAT | O_CLOEXEC, 0600));
	set_faults(l, keepf(l, "map=hang:%s:120000", gate));
	struct errand *slow = SEND(l, node, "NodeStageVolume", stage, TEST_WAIT_MS);
	until_running(l, "stage volume", 1);
	grow.capacity_range = range_of(l, 2 * XFS_BYTES, 0);
	int64_t before_ms = cleat_time_mono_ms();
	REFUSED(l, controller, "ControllerExpandVolume", grow, CLEAT_ABORTED, "stage volume");
	assert_true(cleat_time_mono_ms() - before_ms < 20000);
	assert_false(atomic_load(&slow->finished));
	struct errand *twin = SEND(l, node, "NodeStageVolume", stage, TEST_WAIT_MS); /* the same call joins */
	assert_int_equal(unlink(gate), 0);
	assert_int_equal(wait_for(slow), CLEAT_OK);
	assert_int_equal(wait_for(twin), CLEAT_OK);
	OK(l, controller, "ControllerExpandVolume", grow);
	ok_unpublish(l, stage.volume_id, "s");
	Csi__V1__NodeUnstageVolumeRequest off = CSI__V1__NODE_UNSTAGE_VOLUME_REQUEST__INIT;
	off.volume_id = stage.volume_id;
	off.staging_target_path = stage.staging_target_path;
	OK(l, node, "NodeUnstageVolume", off);
	lab_stop(l);
}

#define LANE 8 /* operations of one pool at once */
#define PROBES 200

static void test_probe__answers_while_everything_else_hangs(void **state)
{
	struct lab *l = *state;
	Csi__V1__ProbeRequest probe = CSI__V1__PROBE_REQUEST__INIT;
	Csi__V1__ListVolumesRequest list = CSI__V1__LIST_VOLUMES_REQUEST__INIT;
	Csi__V1__NodeGetInfoRequest info = CSI__V1__NODE_GET_INFO_REQUEST__INIT;
	Csi__V1__CreateVolumeRequest *in[LANE + 4];
	struct errand *slow[LANE + 4];
	char *gate = keepf(l, "%s/gate", l->d.dir);

	start_with_faults(l);
	close(open(gate, O_CREAT | O_CLOEXEC, 0600));
	set_faults(l, keepf(l, "create=hang:%s:120000", gate));
	for (size_t i = 0; i < CLEAT_COUNT(slow); i++) {
		in[i] = create_request(l, keepf(l, "v%zu", i));
		slow[i] = SEND(l, controller, "CreateVolume", *in[i], TEST_WAIT_MS);
	}
	until_running(l, "create volume", CLEAT_COUNT(slow));
	int64_t before_ms = cleat_time_mono_ms();
	for (int i = 0; i < PROBES; i++) {
		const Csi__V1__ProbeResponse *out = OK(l, identity, "Probe", probe);

		assert_true(out->ready->value);
		OK(l, controller, "ListVolumes", list);
		OK(l, node, "NodeGetInfo", info);
	}
	assert_true(cleat_time_mono_ms() - before_ms < 10000);
	for (size_t i = 0; i < CLEAT_COUNT(slow); i++)
		assert_false(atomic_load(&slow[i]->finished));
	assert_int_equal(unlink(gate), 0);
	for (size_t i = 0; i < CLEAT_COUNT(slow); i++)
		assert_int_equal(wait_for(slow[i]), CLEAT_OK);
	lab_stop(l);
}

static bool is_ready(struct lab *l)
{
	Csi__V1__ProbeRequest probe = CSI__V1__PROBE_REQUEST__INIT;
	const Csi__V1__ProbeResponse *out = OK(l, identity, "Probe", probe);

	return out->ready->value;
}

/* Starts the daemon anew over a pool that takes its time to open. */
static void restart_slowly(struct lab *l)
{
	test_daemon_stop(&l->d);
	set_faults(l, "open=delay:1500");
	lab_start(l);
	assert_false(is_ready(l));
}

static void test_start__calls_wait_for_the_pools_and_probe_says_so(void **state)
{
	struct lab *l = *state;
	Csi__V1__ControllerGetVolumeRequest get = CSI__V1__CONTROLLER_GET_VOLUME_REQUEST__INIT;
	Csi__V1__GetSnapshotRequest snapshot = CSI__V1__GET_SNAPSHOT_REQUEST__INIT;
	Csi__V1__GetVolumeGroupSnapshotRequest group = CSI__V1__GET_VOLUME_GROUP_SNAPSHOT_REQUEST__INIT;
	Csi__V1__ListVolumesRequest list = CSI__V1__LIST_VOLUMES_REQUEST__INIT;
	Csi__V1__DeleteVolumeRequest del = CSI__V1__DELETE_VOLUME_REQUEST__INIT;

	start_with_faults(l);
	get.volume_id = del.volume_id = ok_volume(l, "db");
	snapshot.snapshot_id = ok_snapshot(l, get.volume_id, "s");
	restart_slowly(l);
	const Csi__V1__ControllerGetVolumeResponse *volume = OK(l, controller, "ControllerGetVolume", get);
	assert_string_equal(volume->volume->volume_id, get.volume_id);
	assert_true(is_ready(l));
	restart_slowly(l);
	const Csi__V1__GetSnapshotResponse *got = OK(l, controller, "GetSnapshot", snapshot);
	assert_string_equal(got->snapshot->source_volume_id, get.volume_id);
	group.group_snapshot_id = keepf(l, "%.*s.gnone", (int)strcspn(get.volume_id, "."), get.volume_id);
	REFUSED(l, group_controller, "GetVolumeGroupSnapshot", group, CLEAT_NOT_FOUND, "does not exist");
	const Csi__V1__ListVolumesResponse *all = OK(l, controller, "ListVolumes", list);
	assert_int_equal(all->n_entries, 1);
	restart_slowly(l);
	OK(l, controller, "DeleteVolume", del); /* nothing is gone only because it is not known yet */
	all = OK(l, controller, "ListVolumes", list);
	assert_int_equal(all->n_entries, 0);
	lab_stop(l);
}

static void test_callers__who_leave_stop_nothing_and_find_it_done(void **state)
{
	struct lab *l = *state;
	Csi__V1__CreateVolumeRequest *in = create_request(l, "db");
	Csi__V1__ListVolumesRequest list = CSI__V1__LIST_VOLUMES_REQUEST__INIT;

	start_with_faults(l);
	set_faults(l, "create=delay:1500:1");
	assert_int_equal(wait_for(SEND(l, controller, "CreateVolume", *in, 200)), CLEAT_DEADLINE_EXCEEDED);
	char *id = keep(l, ok_create(l, in)->volume_id); /* joins it, or finds it */
	assert_string_equal(ok_create(l, in)->volume_id, id);
	set_faults(l, "create=late:UNAVAILABLE:1"); /* it was made, and the answer was lost */
	in = create_request(l, "lost");
	assert_int_equal(CODE(l, controller, "CreateVolume", *in), CLEAT_UNAVAILABLE);
	ok_create(l, in);
	const Csi__V1__ListVolumesResponse *out = OK(l, controller, "ListVolumes", list);
	assert_int_equal(out->n_entries, 2);
	lab_stop(l);
}

/* ---- many at once ---- */

#define WORKERS 8
#define ROUNDS 12

struct worker {
	struct lab *l;
	int number;
	pthread_t thread;
	char failure[256];
};

/* A call of a worker: its own memory, since the lab's is the main thread's. */
static enum cleat_code ask(struct worker *w, const ProtobufCServiceDescriptor *service, const char *method,
			   const ProtobufCMessage *in, ProtobufCMessage **out)
{
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS };
	cleat_autopb ProtobufCMessage *mine = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	enum cleat_code code =
		cleat_rpc_client_call(w->l->client, service, method, in, &options, out ? out : &mine, &err);

	if (code && code != CLEAT_ABORTED && !w->failure[0])
		snprintf(w->failure, sizeof(w->failure), "%s: %s: %.180s", method, cleat_code_name(code),
			 err.msg);
	return code;
}

static void one_round(struct worker *w, const char *id, const char *stage, char *target)
{
	Csi__V1__ControllerPublishVolumeRequest attach = CSI__V1__CONTROLLER_PUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__NodeStageVolumeRequest st = CSI__V1__NODE_STAGE_VOLUME_REQUEST__INIT;
	Csi__V1__NodePublishVolumeRequest pub = CSI__V1__NODE_PUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__NodeUnpublishVolumeRequest unpub = CSI__V1__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__VolumeCapability__AccessMode mode = CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__INIT;
	Csi__V1__VolumeCapability__MountVolume mnt = CSI__V1__VOLUME_CAPABILITY__MOUNT_VOLUME__INIT;
	Csi__V1__VolumeCapability cap = CSI__V1__VOLUME_CAPABILITY__INIT;
	char id_text[80], stage_text[128];

	snprintf(id_text, sizeof(id_text), "%s", id);
	snprintf(stage_text, sizeof(stage_text), "%s", stage);
	mode.mode = MODE(SINGLE_NODE_MULTI_WRITER);
	cap.access_mode = &mode;
	cap.access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
	cap.mount = &mnt;
	attach.volume_id = st.volume_id = pub.volume_id = unpub.volume_id = id_text;
	attach.node_id = (char[]){ "node-a" };
	attach.volume_capability = st.volume_capability = pub.volume_capability = &cap;
	st.staging_target_path = pub.staging_target_path = stage_text;
	pub.target_path = unpub.target_path = target;
	ask(w, &csi__v1__controller__descriptor, "ControllerPublishVolume", &attach.base, NULL);
	ask(w, &csi__v1__node__descriptor, "NodeStageVolume", &st.base, NULL);
	if (ask(w, &csi__v1__node__descriptor, "NodePublishVolume", &pub.base, NULL) == CLEAT_OK &&
	    !is_mounted(target))
		snprintf(w->failure, sizeof(w->failure), "'%s' is not mounted", target);
	ask(w, &csi__v1__node__descriptor, "NodeUnpublishVolume", &unpub.base, NULL);
	if (is_mounted(target) && !w->failure[0])
		snprintf(w->failure, sizeof(w->failure), "'%s' is still mounted", target);
}

static char *shared_id, *shared_stage;

/* All on one volume, each at targets of its own: what COs do that have lost their state. */
static void *work(void *arg)
{
	struct worker *w = arg;
	char target[128];

	for (int i = 0; i < ROUNDS; i++) {
		snprintf(target, sizeof(target), "%s/w%d-%d", w->l->work, w->number, i);
		one_round(w, shared_id, shared_stage, target);
	}
	return NULL;
}

static void test_many__on_one_volume_end_in_good_order(void **state)
{
	struct lab *l = *state;
	struct worker workers[WORKERS];

	lab_start(l);
	shared_id = ok_volume(l, "db");
	shared_stage = target_of(l, "s");
	assert_int_equal(mkdir(shared_stage, 0755), 0);
	for (int i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .l = l, .number = i };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		if (workers[i].failure[0])
			fail_msg("worker %d: %s", i, workers[i].failure);
	}
	assert_int_equal(mounts_below(l->work), 1); /* the staging path */
	Csi__V1__NodeUnstageVolumeRequest off = CSI__V1__NODE_UNSTAGE_VOLUME_REQUEST__INIT;
	Csi__V1__ControllerUnpublishVolumeRequest detach = CSI__V1__CONTROLLER_UNPUBLISH_VOLUME_REQUEST__INIT;
	off.volume_id = detach.volume_id = shared_id;
	off.staging_target_path = shared_stage;
	OK(l, node, "NodeUnstageVolume", off);
	OK(l, controller, "ControllerUnpublishVolume", detach);
	assert_int_equal(mounts_below(l->work), 0);
	ok_delete(l, shared_id);
	lab_stop(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define LAB(test) cmocka_unit_test_setup_teardown(test, lab_setup, lab_teardown)
		LAB(test_aborted__says_what_runs),
		LAB(test_probe__answers_while_everything_else_hangs),
		LAB(test_start__calls_wait_for_the_pools_and_probe_says_so),
		LAB(test_callers__who_leave_stop_nothing_and_find_it_done),
		LAB(test_many__on_one_volume_end_in_good_order),
	};

	return lab_run("csi_busy_test", tests, CLEAT_COUNT(tests));
}
