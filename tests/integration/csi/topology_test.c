/* topology_test.c - from where volumes can be reached: the node, and what pools declare; and the pool that is
 * meant when none is named. */
#include "lab.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NODE_KEY "topology.cleat/node"
#define ZONE_KEY "topology.cleat/zone"
#define DISK_KEY "example.com/disk"

/* Pools: `near` (loop) and `bare` (dir) of this node, and `far` (dir), of which the marker says that others
 * share it. */
static void start(struct lab *l)
{
	char *far = keepf(l, "%s/far", l->d.dir);
	const char *const share[] = { "sed", "-i", "s/\"node\"/\"shared\"/",
				      keepf(l, "%s/cleat-pool.json", far), NULL };

	assert_int_equal(mkdir(far, 0700), 0);
	l->no_base = true;
	l->pools = keepf(l, "  far:\n    backend: dir\n    path: %s\n", far);
	lab_start(l);
	lab_stop(l);
	assert_int_equal(run_program(share), 0);
	l->pools = keepf(l,
			 "  near:\n    backend: loop\n    topology: {zone: a, " DISK_KEY ": ssd}\n"
			 "  bare:\n    backend: dir\n%s    topology: {zone: a, region: north}\n",
			 l->pools);
	l->csi = "default_pool: near\n";
	lab_start(l);
}

static Csi__V1__CreateVolumeRequest *small(struct lab *l, const char *name, const char *pool)
{
	Csi__V1__CreateVolumeRequest *in = create_request(l, name);

	in->n_parameters = 0;
	if (pool)
		PARAMS(l, in, "pool", pool);
	in->capacity_range = range_of(l, SMALL_BYTES, 0);
	return in;
}

static const char *segment(const Csi__V1__Topology *t, const char *key)
{
	for (size_t i = 0; i < t->n_segments; i++)
		if (strcmp(t->segments[i]->key, key) == 0)
			return t->segments[i]->value;
	return "";
}

static void test_topology__is_the_node_and_what_pools_declare(void **state)
{
	struct lab *l = *state;
	Csi__V1__NodeGetInfoRequest ask = CSI__V1__NODE_GET_INFO_REQUEST__INIT;

	start(l);
	/* The node is where all of its pools are. */
	const Csi__V1__NodeGetInfoResponse *info = OK(l, node, "NodeGetInfo", ask);
	const Csi__V1__Topology *t = info->accessible_topology;
	assert_int_equal(t->n_segments, 4);
	assert_string_equal(segment(t, NODE_KEY), "node-a");
	assert_string_equal(segment(t, ZONE_KEY), "a");
	assert_string_equal(segment(t, DISK_KEY), "ssd");
	assert_string_equal(segment(t, "topology.cleat/region"), "north");
	/* A volume is where its own pool is: on the node, too, unless others share the pool. */
	const Csi__V1__Volume *v = ok_create(l, small(l, "v1", NULL));
	assert_memory_equal(v->volume_id, "near-", 5); /* no pool is named */
	t = v->accessible_topology[0];
	assert_int_equal(t->n_segments, 3);
	assert_string_equal(segment(t, NODE_KEY), "node-a");
	assert_string_equal(segment(t, ZONE_KEY), "a");
	assert_string_equal(segment(t, DISK_KEY), "ssd");
	t = ok_create(l, small(l, "v2", "bare"))->accessible_topology[0];
	assert_int_equal(t->n_segments, 1);
	assert_string_equal(segment(t, NODE_KEY), "node-a");
	v = ok_create(l, small(l, "v3", "far"));
	assert_memory_equal(v->volume_id, "far-", 4);
	t = v->accessible_topology[0];
	assert_int_equal(t->n_segments, 2);
	assert_string_equal(segment(t, ZONE_KEY), "a");
	assert_string_equal(segment(t, "topology.cleat/region"), "north");
	Csi__V1__ListVolumesRequest list = CSI__V1__LIST_VOLUMES_REQUEST__INIT;
	const Csi__V1__ListVolumesResponse *all = OK(l, controller, "ListVolumes", list);
	for (size_t i = 0; i < all->n_entries; i++) {
		v = all->entries[i]->volume;
		assert_int_equal(v->n_accessible_topology, 1);
		assert_int_equal(v->accessible_topology[0]->n_segments, v->volume_id[0] == 'n'	 ? 3
									: v->volume_id[0] == 'b' ? 1
												 : 2);
	}
	assert_int_equal(all->n_entries, 3);
	lab_stop(l);
}

static void test_topology__a_requirement_is_met_or_refused(void **state)
{
	static const char *const pools[] = { NULL, "bare", "far" };
	struct lab *l = *state;
	Csi__V1__GetCapacityRequest room = CSI__V1__GET_CAPACITY_REQUEST__INIT;

	start(l);
	for (size_t i = 0; i < CLEAT_COUNT(pools); i++) {
		Csi__V1__CreateVolumeRequest *in = small(l, keepf(l, "v%zu", i), pools[i]);
		const Csi__V1__GetCapacityResponse *out;

		/* The node is in zone a, whichever of its pools told. */
		in->accessibility_requirements = topology_of(l, ZONE_KEY, "b");
		if (i != 2)
			REFUSED(l, controller, "CreateVolume", *in, CLEAT_RESOURCE_EXHAUSTED,
				NODE_KEY "=node-a");
		else
			REFUSED(l, controller, "CreateVolume", *in, CLEAT_RESOURCE_EXHAUSTED, ZONE_KEY "=a");
		in->accessibility_requirements = topology_of(l, ZONE_KEY, "a");
		ok_create(l, in);
		/* Another node may reach what is shared. */
		in = small(l, keepf(l, "w%zu", i), pools[i]);
		in->accessibility_requirements = topology_of(l, NODE_KEY, "node-b");
		if (i != 2)
			REFUSED(l, controller, "CreateVolume", *in, CLEAT_RESOURCE_EXHAUSTED, "node-a");
		else
			ok_create(l, in);
		room.parameters = (void *)in->parameters;
		room.n_parameters = in->n_parameters;
		room.accessible_topology = in->accessibility_requirements->requisite[0];
		out = OK(l, controller, "GetCapacity", room);
		assert_true(i == 2 ? out->available_capacity > 0 : out->available_capacity == 0);
		room.accessible_topology = topology_of(l, ZONE_KEY, "b")->requisite[0];
		out = OK(l, controller, "GetCapacity", room);
		assert_int_equal(out->available_capacity, 0);
		room.accessible_topology = topology_of(l, ZONE_KEY, "a")->requisite[0];
		out = OK(l, controller, "GetCapacity", room);
		assert_true(out->available_capacity > 0);
	}
	lab_stop(l);
}

/* Two places instead of one. */
static Csi__V1__TopologyRequirement *either(struct lab *l, Csi__V1__TopologyRequirement *a,
					    Csi__V1__TopologyRequirement *b)
{
	Csi__V1__Topology **both = keep_bytes(l, 2 * sizeof(*both));

	both[0] = a->requisite[0];
	both[1] = b->requisite[0];
	a->requisite = both;
	a->n_requisite = 2;
	return a;
}

static void test_topology__of_a_snapshot_is_told_to_whoever_does_not_know_it(void **state)
{
	struct lab *l = *state;
	Csi__V1__CreateSnapshotRequest in = CSI__V1__CREATE_SNAPSHOT_REQUEST__INIT;
	Csi__V1__GetSnapshotRequest get = CSI__V1__GET_SNAPSHOT_REQUEST__INIT;
	const Csi__V1__CreateSnapshotResponse *out;

	start(l);
	in.source_volume_id = ok_create(l, small(l, "db", NULL))->volume_id;
	in.name = keep(l, "s");
	out = OK(l, controller, "CreateSnapshot", in);
	assert_int_equal(out->snapshot->n_accessible_topology, 1);
	assert_string_equal(segment(out->snapshot->accessible_topology[0], NODE_KEY), "node-a");
	assert_string_equal(segment(out->snapshot->accessible_topology[0], DISK_KEY), "ssd");
	in.accessibility_requirements =
		either(l, topology_of(l, NODE_KEY, "node-b"), topology_of(l, NODE_KEY, "node-a"));
	out = OK(l, controller, "CreateSnapshot", in);
	assert_int_equal(out->snapshot->n_accessible_topology, 1);
	/* Exactly one place was asked for, and that is it. */
	in.accessibility_requirements = topology_of(l, NODE_KEY, "node-a");
	out = OK(l, controller, "CreateSnapshot", in);
	assert_int_equal(out->snapshot->n_accessible_topology, 0);
	get.snapshot_id = out->snapshot->snapshot_id;
	const Csi__V1__GetSnapshotResponse *got = OK(l, controller, "GetSnapshot", get);
	assert_int_equal(got->snapshot->n_accessible_topology, 1);
	in.accessibility_requirements = topology_of(l, NODE_KEY, "node-b");
	REFUSED(l, controller, "CreateSnapshot", in, CLEAT_RESOURCE_EXHAUSTED, "node-a");
	lab_stop(l);
}

#define LAB(test) cmocka_unit_test_setup_teardown(test, lab_setup, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAB(test_topology__is_the_node_and_what_pools_declare),
		LAB(test_topology__a_requirement_is_met_or_refused),
		LAB(test_topology__of_a_snapshot_is_told_to_whoever_does_not_know_it),
	};

	return lab_run("csi_topology_test", tests, CLEAT_COUNT(tests));
}
