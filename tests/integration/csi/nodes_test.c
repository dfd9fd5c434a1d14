/* nodes_test.c - two daemons as two nodes: a volume is one node's, and the other says so. */
#include "lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct two {
	struct lab *a, *b;
};

static int set_up(void **state)
{
	static struct two both;

	*state = &both;
	return lab_setup((void **)(void *)&both.a) || lab_setup((void **)(void *)&both.b);
}

static int tear_down(void **state)
{
	struct two *both = *state;

	return lab_teardown((void **)(void *)&both->a) || lab_teardown((void **)(void *)&both->b);
}

static void start_both(struct two *both)
{
	static const char *const node_b[] = { "--node", "node-b", NULL };

	memcpy(both->b->options, node_b, sizeof(node_b));
	both->a->no_base = both->b->no_base = true;
	both->a->pools = both->b->pools = "  default:\n    backend: loop\n";
	lab_start(both->a);
	lab_start(both->b);
}

static void stop_both(struct two *both)
{
	lab_stop(both->a);
	lab_stop(both->b);
}

static Csi__V1__CreateVolumeRequest *small(struct lab *l, const char *name)
{
	Csi__V1__CreateVolumeRequest *in = create_request(l, name);

	in->n_parameters = 0;
	in->capacity_range = range_of(l, SMALL_BYTES, 0);
	return in;
}

static void test_nodes__each_has_its_own_volumes(void **state)
{
	struct two *both = *state;
	struct lab *a = both->a, *b = both->b;

	start_both(both);
	/* One name on both is two volumes, and the ids differ although the pools have one name. */
	const Csi__V1__Volume *va = ok_create(a, small(a, "db")), *vb = ok_create(b, small(b, "db"));
	assert_string_not_equal(va->volume_id, vb->volume_id);
	assert_string_equal(va->accessible_topology[0]->segments[0]->value, "node-a");
	assert_string_equal(vb->accessible_topology[0]->segments[0]->value, "node-b");
	assert_string_equal(va->volume_context[0]->key, "node");
	assert_string_equal(va->volume_context[0]->value, "node-a");
	/* Each makes what is wanted on its node, and says when it is not. */
	Csi__V1__CreateVolumeRequest *in = small(a, "there");
	in->accessibility_requirements = topology_of(a, "topology.cleat/node", "node-b");
	REFUSED(a, controller, "CreateVolume", *in, CLEAT_RESOURCE_EXHAUSTED, "node-a");
	ok_create(b, in);
	char *target = ok_publish(a, va->volume_id, "t", cap_mount(a, MODE(SINGLE_NODE_WRITER), "", NULL));
	put_file(target, "f", "text");
	ok_unpublish(a, va->volume_id, "t");
	stop_both(both);
}

#define NOBODYS(l, service, method, in)                                                                      \
	REFUSED(l, service, method, in, CLEAT_FAILED_PRECONDITION, "ask the daemon of the node that has")
#define NODE_AS(l, service, method, in)                                                                      \
	REFUSED(l, service, method, in, CLEAT_FAILED_PRECONDITION, "ask the daemon of node 'node-a'")

static void test_nodes__the_wrong_one_names_the_right_one(void **state)
{
	struct two *both = *state;
	struct lab *a = both->a, *b = both->b;
	Csi__V1__DeleteVolumeRequest del = CSI__V1__DELETE_VOLUME_REQUEST__INIT;
	Csi__V1__ControllerPublishVolumeRequest attach = CSI__V1__CONTROLLER_PUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__ControllerUnpublishVolumeRequest detach = CSI__V1__CONTROLLER_UNPUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__ControllerExpandVolumeRequest grow = CSI__V1__CONTROLLER_EXPAND_VOLUME_REQUEST__INIT;
	Csi__V1__CreateSnapshotRequest snap = CSI__V1__CREATE_SNAPSHOT_REQUEST__INIT;
	Csi__V1__DeleteSnapshotRequest unsnap = CSI__V1__DELETE_SNAPSHOT_REQUEST__INIT;
	Csi__V1__ControllerModifyVolumeRequest modify = CSI__V1__CONTROLLER_MODIFY_VOLUME_REQUEST__INIT;
	Csi__V1__ValidateVolumeCapabilitiesRequest validate =
		CSI__V1__VALIDATE_VOLUME_CAPABILITIES_REQUEST__INIT;
	Csi__V1__DeleteVolumeGroupSnapshotRequest ungroup =
		CSI__V1__DELETE_VOLUME_GROUP_SNAPSHOT_REQUEST__INIT;
	Csi__V1__NodePublishVolumeRequest *publish;

	start_both(both);
	const Csi__V1__Volume *v = ok_create(a, small(a, "db"));
	del.volume_id = attach.volume_id = detach.volume_id = grow.volume_id = snap.source_volume_id =
		modify.volume_id = validate.volume_id = v->volume_id;
	NOBODYS(b, controller, "DeleteVolume", del);
	attach.volume_capability = cap_mount(b, MODE(SINGLE_NODE_WRITER), "", NULL);
	attach.node_id = detach.node_id = keep(b, "node-a");
	NODE_AS(b, controller, "ControllerPublishVolume", attach);
	NODE_AS(b, controller, "ControllerUnpublishVolume", detach);
	grow.capacity_range = range_of(b, 2 * SMALL_BYTES, 0);
	NOBODYS(b, controller, "ControllerExpandVolume", grow);
	NOBODYS(b, controller, "ControllerModifyVolume", modify);
	snap.name = keep(b, "s");
	NOBODYS(b, controller, "CreateSnapshot", snap);
	validate.volume_capabilities = &attach.volume_capability;
	validate.n_volume_capabilities = 1;
	NOBODYS(b, controller, "ValidateVolumeCapabilities", validate);
	unsnap.snapshot_id = ok_snapshot(a, v->volume_id, "s");
	NOBODYS(b, controller, "DeleteSnapshot", unsnap);
	ungroup.group_snapshot_id =
		keepf(b, "%.*s.g0123456789abcdef012345", (int)strcspn(v->volume_id, "."), v->volume_id);
	NOBODYS(b, group_controller, "DeleteVolumeGroupSnapshot", ungroup);
	Csi__V1__CreateVolumeRequest *in = small(b, "copy");
	in->volume_content_source = source_of(b, NULL, v->volume_id);
	NOBODYS(b, controller, "CreateVolume", *in);
	/* Whoever chose the place, and may choose another, is told that it is not this one. */
	in->accessibility_requirements = topology_of(b, "topology.cleat/node", "node-b");
	REFUSED(b, controller, "CreateVolume", *in, CLEAT_RESOURCE_EXHAUSTED, "the node that has");
	in->accessibility_requirements = NULL;
	/* What the CO knows of the volume tells where it is, also when it asks for another node. */
	attach.node_id = keep(b, "node-b");
	attach.volume_context = (void *)v->volume_context;
	attach.n_volume_context = v->n_volume_context;
	NODE_AS(b, controller, "ControllerPublishVolume", attach);
	publish = publish_request(b, v->volume_id, "t", attach.volume_capability);
	publish->volume_context = (void *)v->volume_context;
	publish->n_volume_context = v->n_volume_context;
	NODE_AS(b, node, "NodePublishVolume", *publish);
	/* Once told, it is known of everything in that pool. */
	NODE_AS(b, controller, "DeleteVolume", del);
	NODE_AS(b, controller, "ControllerExpandVolume", grow);
	NODE_AS(b, controller, "ControllerModifyVolume", modify);
	NODE_AS(b, controller, "CreateSnapshot", snap);
	NODE_AS(b, controller, "DeleteSnapshot", unsnap);
	NODE_AS(b, controller, "ValidateVolumeCapabilities", validate);
	NODE_AS(b, group_controller, "DeleteVolumeGroupSnapshot", ungroup);
	NODE_AS(b, controller, "CreateVolume", *in);
	/* A context that no daemon gave is not repeated, and changes nothing. */
	attach.volume_context =
		map_of(b, &csi__v1__controller_publish_volume_request__volume_context_entry__descriptor,
		       &attach.n_volume_context, "node", "node-c\nnode-d", NULL);
	NODE_AS(b, controller, "ControllerPublishVolume", attach);
	OK(a, controller, "DeleteSnapshot", unsnap);
	OK(a, controller, "DeleteVolume", del);
	stop_both(both);
}

/* ---- the socket ---- */

static bool answers_at(struct lab *l, const char *path)
{
	struct cleat_rpc_client_config config = { .target = keepf(l, "unix:%s", path) };
	Csi__V1__GetPluginInfoRequest in = CSI__V1__GET_PLUGIN_INFO_REQUEST__INIT;
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS };
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_rpc_client *client;

	assert_int_equal(cleat_rpc_client_new(&config, &client, &l->err), CLEAT_OK);
	enum cleat_code code = cleat_rpc_client_call(client, &csi__v1__identity__descriptor, "GetPluginInfo",
						     &in.base, &options, &out, &l->err);
	cleat_rpc_client_free(client);
	return code == CLEAT_OK;
}

static void test_socket__the_environment_goes_before_the_file_and_the_option_before_both(void **state)
{
	struct two *both = *state;
	struct lab *l = both->a;
	char *environment = keepf(l, "%s/environment.sock", l->d.dir);
	char *option = keepf(l, "%s/option.sock", l->d.dir);
	const char *const options[] = { "--csi-socket", option, NULL };

	l->no_base = true;
	l->pools = "  default:\n    backend: dir\n";
	lab_start(l); /* with the file's */
	lab_stop(l);
	setenv("CSI_ENDPOINT", keepf(l, "unix://%s", environment), 1);
	test_daemon_start(&l->d, NULL);
	assert_true(answers_at(l, environment));
	assert_int_equal(access(l->socket, F_OK), -1);
	test_daemon_stop(&l->d);
	test_daemon_start(&l->d, options);
	assert_true(answers_at(l, option));
	assert_int_equal(access(environment, F_OK), -1);
	test_daemon_stop(&l->d);
	unsetenv("CSI_ENDPOINT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nodes__each_has_its_own_volumes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nodes__the_wrong_one_names_the_right_one, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			test_socket__the_environment_goes_before_the_file_and_the_option_before_both, set_up,
			tear_down),
	};

	return lab_run("csi_nodes_test", tests, CLEAT_COUNT(tests));
}
