/* mesos_test.c - what the isolator volume/csi of Mesos 1.11 sends, in its order: every container that asks
 * for a volume has it staged and published again at the same paths, while it is published; the last one takes
 * it away once. */
#include "lab.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One volume as Mesos keeps it: ROOT/<id>/staging and ROOT/<id>/target, of which it makes staging and what is
 * above target. */
struct mesos {
	struct lab *l;
	char *id, *dir, *staging, *target;
	Csi__V1__VolumeCapability *cap;
	bool read_only;
};

/* A volume that an operator made by hand, as tasks with static provisioning name them. */
static char *make_by_hand(struct lab *l, const char *pool, const char *name)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__CreateVolumeResponse *out = NULL;

	in.pool = keep(l, pool);
	in.name = keep(l, name);
	in.capacity_bytes = XFS_BYTES;
	if (test_daemon_call(&l->d, "CreateVolume", &in.base, (ProtobufCMessage **)&out, &l->err))
		fail_msg("%s", l->err.msg);
	return keep(l, out->volume->id);
}

static void mesos_init(struct mesos *m, struct lab *l, char *id)
{
	*m = (struct mesos){ .l = l, .id = id };
	m->dir = keepf(l, "%s/%s", l->work, id);
	m->staging = keepf(l, "%s/staging", m->dir);
	m->target = keepf(l, "%s/target", m->dir);
	m->cap = cap_mount(l, MODE(SINGLE_NODE_WRITER), "", NULL);
}

static void make_directories(struct mesos *m)
{
	mkdir(m->dir, 0755);
	mkdir(m->staging, 0755);
	assert_int_equal(access(m->staging, F_OK), 0);
}

/* What a container costs, whether the volume is there already or not. */
static void ok_container(struct mesos *m)
{
	Csi__V1__NodeStageVolumeRequest stage = CSI__V1__NODE_STAGE_VOLUME_REQUEST__INIT;
	Csi__V1__NodePublishVolumeRequest publish = CSI__V1__NODE_PUBLISH_VOLUME_REQUEST__INIT;

	make_directories(m);
	stage.volume_id = publish.volume_id = m->id;
	stage.staging_target_path = publish.staging_target_path = m->staging;
	stage.volume_capability = publish.volume_capability = m->cap;
	publish.target_path = m->target;
	publish.readonly = m->read_only;
	OK(m->l, node, "NodeStageVolume", stage);
	OK(m->l, node, "NodePublishVolume", publish);
	assert_true(is_mounted(m->target));
}

/* The last container has gone. */
static void ok_last(struct mesos *m)
{
	Csi__V1__NodeUnpublishVolumeRequest unpublish = CSI__V1__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__NodeUnstageVolumeRequest unstage = CSI__V1__NODE_UNSTAGE_VOLUME_REQUEST__INIT;

	unpublish.volume_id = unstage.volume_id = m->id;
	unpublish.target_path = m->target;
	unstage.staging_target_path = m->staging;
	OK(m->l, node, "NodeUnpublishVolume", unpublish);
	OK(m->l, node, "NodeUnstageVolume", unstage);
	assert_int_equal(mounts_below(m->dir), 0);
}

static void ok_probes(struct lab *l)
{
	Csi__V1__ProbeRequest probe = CSI__V1__PROBE_REQUEST__INIT;
	Csi__V1__GetPluginCapabilitiesRequest capabilities = CSI__V1__GET_PLUGIN_CAPABILITIES_REQUEST__INIT;
	Csi__V1__GetPluginInfoRequest info = CSI__V1__GET_PLUGIN_INFO_REQUEST__INIT;
	Csi__V1__NodeGetCapabilitiesRequest node = CSI__V1__NODE_GET_CAPABILITIES_REQUEST__INIT;
	bool stages = false;

	OK(l, identity, "Probe", probe);
	OK(l, identity, "GetPluginCapabilities", capabilities);
	OK(l, identity, "GetPluginInfo", info);
	const Csi__V1__NodeGetCapabilitiesResponse *out = OK(l, node, "NodeGetCapabilities", node);
	for (size_t i = 0; i < out->n_capabilities; i++)
		stages |= out->capabilities[i]->rpc &&
			  out->capabilities[i]->rpc->type ==
				  CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__STAGE_UNSTAGE_VOLUME;
	assert_true(stages);
}

static size_t claims_of(struct lab *l, const char *id)
{
	Cleat__V1__ListClaimsRequest in = CLEAT__V1__LIST_CLAIMS_REQUEST__INIT;
	cleat_autopb Cleat__V1__ListClaimsResponse *out = NULL;
	size_t n = 0;

	in.volume = keep(l, id);
	if (test_daemon_call(&l->d, "ListClaims", &in.base, (ProtobufCMessage **)&out, &l->err))
		fail_msg("%s", l->err.msg);
	for (size_t i = 0; i < out->n_claims; i++)
		n += !out->claims[i]->staging;
	return n;
}

static void test_mesos__containers_that_share_a_volume(void **state)
{
	struct lab *l = *state;
	struct mesos m;

	lab_start(l);
	ok_probes(l);
	mesos_init(&m, l, make_by_hand(l, "default", "shared"));
	ok_container(&m);
	put_file(m.target, "f", "first");
	for (int i = 0; i < 3; i++)
		ok_container(&m);
	assert_true(has_file(m.target, "f", "first"));
	assert_int_equal(claims_of(l, m.id), 1);
	assert_int_equal(mounts_below(m.dir), 2); /* staging and target, not one over the other */
	ok_last(&m);
	assert_int_equal(access(m.target, F_OK), -1); /* ours: made and removed */
	assert_int_equal(claims_of(l, m.id), 0);
	ok_container(&m); /* and again */
	assert_true(has_file(m.target, "f", "first"));
	ok_last(&m);
	ok_last(&m); /* of an agent that was killed before it noted that it was done */
	ok_delete(l, m.id);
	lab_stop(l);
}

/* After a restart the agent publishes again what its running containers use. */
static void test_mesos__recovery_publishes_again(void **state)
{
	struct lab *l = *state;
	struct mesos m;

	lab_start(l);
	mesos_init(&m, l, make_by_hand(l, "default", "kept"));
	ok_container(&m);
	put_file(m.target, "f", "text");
	ok_container(&m);
	lab_crash(l);
	ok_probes(l);
	ok_container(&m);
	assert_true(has_file(m.target, "f", "text"));
	assert_int_equal(mounts_below(m.dir), 2);
	assert_int_equal(claims_of(l, m.id), 1);
	ok_last(&m);
	ok_delete(l, m.id);
	lab_stop(l);
}

/* target_path_exists: Mesos makes the target, and it is Mesos that removes it. */
static void test_mesos__a_target_that_mesos_made_stays(void **state)
{
	struct lab *l = *state;
	struct mesos m;

	lab_start(l);
	mesos_init(&m, l, make_by_hand(l, "plain", "made"));
	make_directories(&m);
	assert_int_equal(mkdir(m.target, 0755), 0);
	ok_container(&m);
	ok_container(&m);
	ok_last(&m);
	assert_int_equal(access(m.target, F_OK), 0);
	ok_delete(l, m.id);
	lab_stop(l);
}

static void test_mesos__read_only_is_repeated_too(void **state)
{
	struct lab *l = *state;
	struct mesos m;

	lab_start(l);
	mesos_init(&m, l, make_by_hand(l, "default", "ro"));
	m.read_only = true;
	ok_container(&m);
	ok_container(&m);
	assert_int_equal(open(keepf(l, "%s/f", m.target), O_CREAT | O_WRONLY | O_CLOEXEC, 0600), -1);
	/* One target cannot be both: the second container is told. */
	Csi__V1__NodePublishVolumeRequest other = CSI__V1__NODE_PUBLISH_VOLUME_REQUEST__INIT;
	other.volume_id = m.id;
	other.staging_target_path = m.staging;
	other.target_path = m.target;
	other.volume_capability = m.cap;
	REFUSED(l, node, "NodePublishVolume", other, CLEAT_ALREADY_EXISTS, "read-only");
	ok_last(&m);
	ok_delete(l, m.id);
	lab_stop(l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, lab_setup, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mesos__containers_that_share_a_volume),
		TEST(test_mesos__recovery_publishes_again),
		TEST(test_mesos__a_target_that_mesos_made_stays),
		TEST(test_mesos__read_only_is_repeated_too),
	};

	return lab_run("csi_mesos", tests, CLEAT_COUNT(tests));
}
