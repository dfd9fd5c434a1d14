/* topology.c - from where volumes can be reached: those of a local pool from this node only, and in either
 * case what the pool's configuration says.  Segments that nobody here has declared say nothing about it and
 * are ignored: COs send what their users wrote. */
#include "csi/internal.h"

#include <stdio.h>
#include <string.h>

/* A key without a domain is one of ours; what is said of the node's name is not, that is given. */
static enum cleat_code put(struct cleat_kvs *out, const char *key, const char *value, struct cleat_error *err)
{
	char full[sizeof(CLEAT_CSI_TOPOLOGY_PREFIX) + 128];

	snprintf(full, sizeof(full), "%s%s", strchr(key, '/') ? "" : CLEAT_CSI_TOPOLOGY_PREFIX, key);
	return strcmp(full, CLEAT_CSI_NODE_KEY) == 0 ? CLEAT_OK : cleat_kv_set(out, full, value, err);
}

/* What that pool, or with NULL what all of them, declare; and the node. */
static enum cleat_code segments(const struct cleat_csi *c, const char *pool, bool node, struct cleat_kvs *out,
				struct cleat_error *err)
{
	struct cleat_kvs declared = { 0 };
	enum cleat_code code;

	if (cleat_pool_topology(c->engine, pool, &declared, err))
		return err->code;
	code = CLEAT_OK;
	for (size_t i = 0; code == CLEAT_OK && i < declared.count; i++)
		code = put(out, declared.items[i].key, declared.items[i].value, err);
	cleat_pool_topology_done(&declared);
	if (code == CLEAT_OK && node)
		code = cleat_kv_set(out, CLEAT_CSI_NODE_KEY, cleat_engine_node(c->engine), err);
	return code;
}

/* ---- judging ---- */

static bool agrees(const struct cleat_kvs *here, const Csi__V1__Topology *t)
{
	for (size_t i = 0; i < t->n_segments; i++) {
		const char *has = cleat_kv_get(here, t->segments[i]->key);

		if (has && strcmp(has, t->segments[i]->value) != 0)
			return false;
	}
	return true;
}

/* Where a volume of that pool can be said to be: a local one is where its node is, whichever pool told. */
static enum cleat_code places(const struct cleat_csi *c, const struct cleat_pool_state *pool,
			      struct cleat_kvs *out, struct cleat_error *err)
{
	return segments(c, pool->shared ? pool->name : NULL, !pool->shared, out, err);
}

bool csi_topology_is_here(const struct cleat_csi *c, const struct cleat_pool_state *pool,
			  const Csi__V1__Topology *t)
{
	cleat_autokvs struct cleat_kvs here = { 0 };

	return !t || places(c, pool, &here, NULL) || agrees(&here, t);
}

static enum cleat_code refuse(const struct cleat_kvs *here, struct cleat_error *err)
{
	char text[300] = "";
	size_t n = 0;

	for (size_t i = 0; i < here->count && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s=%s", i ? ", " : "",
				      here->items[i].key, here->items[i].value);
	return cleat_error_set(
		err, CLEAT_RESOURCE_EXHAUSTED,
		"none of the requisite topologies agrees with %s, the only one that this daemon can provide",
		text);
}

enum cleat_code csi_topology_check(const struct cleat_csi *c, const Csi__V1__TopologyRequirement *want,
				   const struct cleat_pool_state *pool, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs here = { 0 };

	if (!want || want->n_requisite == 0)
		return CLEAT_OK;
	if (places(c, pool, &here, err))
		return err->code;
	for (size_t i = 0; i < want->n_requisite; i++)
		if (agrees(&here, want->requisite[i]))
			return CLEAT_OK;
	return refuse(&here, err);
}

/* ---- telling ---- */

/* NULL in *out: from everywhere. */
static bool wire(struct cleat_pb_arena *a, const struct cleat_kvs *kvs, Csi__V1__Topology **out)
{
	Csi__V1__Topology *t = cleat_pb_arena_get(a, sizeof(*t));

	*out = NULL;
	if (kvs->count == 0)
		return true;
	if (!t)
		return false;
	csi__v1__topology__init(t);
	t->segments = cleat_pb_arena_get(a, kvs->count * sizeof(*t->segments));
	for (; t->segments && t->n_segments < kvs->count; t->n_segments++) {
		Csi__V1__Topology__SegmentsEntry *e = cleat_pb_arena_get(a, sizeof(*e));

		if (!e)
			return false;
		csi__v1__topology__segments_entry__init(e);
		e->key = csi_wire_copy(a, kvs->items[t->n_segments].key);
		e->value = csi_wire_copy(a, kvs->items[t->n_segments].value);
		if (!e->key || !e->value)
			return false;
		t->segments[t->n_segments] = e;
	}
	*out = t;
	return t->segments;
}

bool csi_topology_of_pool(const struct cleat_csi *c, struct cleat_pb_arena *a, const char *pool, bool shared,
			  Csi__V1__Topology **out)
{
	cleat_autokvs struct cleat_kvs kvs = { 0 };

	return segments(c, pool, !shared, &kvs, NULL) == CLEAT_OK && wire(a, &kvs, out);
}

bool csi_topology_of_node(const struct cleat_csi *c, struct cleat_pb_arena *a, Csi__V1__Topology **out)
{
	cleat_autokvs struct cleat_kvs kvs = { 0 };

	return segments(c, NULL, true, &kvs, NULL) == CLEAT_OK && wire(a, &kvs, out);
}

bool csi_topology_is_declared(const struct cleat_csi *c)
{
	cleat_autokvs struct cleat_kvs kvs = { 0 };

	return segments(c, NULL, false, &kvs, NULL) == CLEAT_OK && kvs.count > 0;
}
