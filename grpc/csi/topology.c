/* topology.c - on which node a volume lies.  Segments that are not ours say nothing about it and are ignored:
 * COs send what their users wrote. */
#include "csi/internal.h"

#include <string.h>

bool csi_topology_is_here(const struct cleat_csi *c, const Csi__V1__Topology *t)
{
	const char *node = t ? csi_map_get((void *)t->segments, t->n_segments, CLEAT_CSI_NODE_KEY) : NULL;

	return !node || strcmp(node, cleat_engine_node(c->engine)) == 0;
}

enum cleat_code csi_topology_check(const struct cleat_csi *c, const Csi__V1__TopologyRequirement *want,
				   bool shared, struct cleat_error *err)
{
	if (shared || !want || want->n_requisite == 0)
		return CLEAT_OK;
	for (size_t i = 0; i < want->n_requisite; i++)
		if (csi_topology_is_here(c, want->requisite[i]))
			return CLEAT_OK;
	return cleat_error_set(
		err, CLEAT_RESOURCE_EXHAUSTED,
		"none of the requisite topologies is %s=%s, the only one that this daemon can provide",
		CLEAT_CSI_NODE_KEY, cleat_engine_node(c->engine));
}

Csi__V1__Topology *csi_topology_here(const struct cleat_csi *c, struct cleat_pb_arena *a)
{
	Csi__V1__Topology *t = cleat_pb_arena_get(a, sizeof(*t));
	Csi__V1__Topology__SegmentsEntry *entry = cleat_pb_arena_get(a, sizeof(*entry));

	if (!t || !entry)
		return NULL;
	csi__v1__topology__init(t);
	csi__v1__topology__segments_entry__init(entry);
	entry->key = cleat_wire_text(CLEAT_CSI_NODE_KEY);
	entry->value = cleat_wire_text(cleat_engine_node(c->engine));
	t->segments = cleat_pb_arena_get(a, sizeof(*t->segments));
	if (!t->segments)
		return NULL;
	t->segments[0] = entry;
	t->n_segments = 1;
	return t;
}
