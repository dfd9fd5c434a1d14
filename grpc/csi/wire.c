/* wire.c - from the engine's structs to the messages of CSI, in an arena.  Texts are borrowed from the
 * structs. */
#include "csi/internal.h"

#include <stdio.h>
#include <string.h>

char *csi_wire_copy(struct cleat_pb_arena *a, const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = cleat_pb_arena_get(a, n);

	return copy ? memcpy(copy, text, n) : NULL;
}

bool csi_wire_time(struct cleat_pb_arena *a, int64_t ms, Google__Protobuf__Timestamp **out)
{
	*out = cleat_pb_arena_get(a, sizeof(**out));
	if (!*out)
		return false;
	google__protobuf__timestamp__init(*out);
	(*out)->seconds = ms / 1000;
	(*out)->nanos = (int32_t)(ms % 1000) * 1000000;
	return true;
}

static bool look_at_pool(struct cleat_csi *c, struct cleat_pb_arena *a, const char *name,
			 struct csi_pool_memo *memo)
{
	struct cleat_pool_state pool;

	if (strcmp(memo->name, name) == 0)
		return true;
	memo->shared = cleat_pool_get(c->engine, name, &pool, NULL) == CLEAT_OK && pool.shared;
	if (!csi_topology_of_pool(c, a, name, memo->shared, &memo->place))
		return false;
	snprintf(memo->name, sizeof(memo->name), "%s", name);
	return true;
}

static bool put_place(struct cleat_pb_arena *a, const struct csi_pool_memo *memo, size_t *n,
		      Csi__V1__Topology ***list)
{
	if (!memo->place)
		return true;
	*list = cleat_pb_arena_get(a, sizeof(**list));
	if (!*list)
		return false;
	(*list)[0] = memo->place;
	*n = 1;
	return true;
}

/* `node` lets a daemon name the right one when it is asked for another's volume. */
static bool put_context(struct cleat_csi *c, struct cleat_pb_arena *a, const struct cleat_record *r,
			bool local, Csi__V1__Volume *out)
{
	struct cleat_kv pairs[2];
	const struct cleat_kvs kvs = { pairs, (size_t)local + (r->capacity_bytes == 0) };
	ProtobufCMessage **entries = NULL;
	size_t n = 0;

	if (local)
		pairs[n++] = (struct cleat_kv){ cleat_pb_text("node"),
						cleat_pb_text(cleat_engine_node(c->engine)) };
	if (r->capacity_bytes == 0)
		pairs[n++] = (struct cleat_kv){ cleat_pb_text("size_enforced"), cleat_pb_text("false") };
	if (!cleat_wire_map(a, &kvs, &csi__v1__volume__volume_context_entry__descriptor, false,
			    &out->n_volume_context, &entries))
		return false;
	out->volume_context = (void *)entries;
	return true;
}

static bool is_there(struct cleat_csi *c, const char *id, enum cleat_kind kind)
{
	struct cleat_volume_state v;

	if (cleat_volume_get(c->engine, id, NULL, kind, &v, NULL))
		return false;
	cleat_volume_state_done(&v);
	return true;
}

static bool put_source(struct cleat_csi *c, struct cleat_pb_arena *a, const struct cleat_record *r,
		       Csi__V1__Volume *out)
{
	const bool snapshot = r->source[0] && is_there(c, r->source, CLEAT_KIND_SNAPSHOT);
	Csi__V1__VolumeContentSource *s;

	/* Of a source that is gone nobody knows any more what it was. */
	if (!snapshot && (!r->source[0] || !is_there(c, r->source, CLEAT_KIND_VOLUME)))
		return true;
	out->content_source = s = cleat_pb_arena_get(a, sizeof(*s));
	if (!s)
		return false;
	csi__v1__volume_content_source__init(s);
	if (snapshot) {
		s->type_case = CSI__V1__VOLUME_CONTENT_SOURCE__TYPE_SNAPSHOT;
		s->snapshot = cleat_pb_arena_get(a, sizeof(*s->snapshot));
		if (!s->snapshot)
			return false;
		csi__v1__volume_content_source__snapshot_source__init(s->snapshot);
		s->snapshot->snapshot_id = r->source;
		return true;
	}
	s->type_case = CSI__V1__VOLUME_CONTENT_SOURCE__TYPE_VOLUME;
	s->volume = cleat_pb_arena_get(a, sizeof(*s->volume));
	if (!s->volume)
		return false;
	csi__v1__volume_content_source__volume_source__init(s->volume);
	s->volume->volume_id = r->source;
	return true;
}

Csi__V1__Volume *csi_wire_volume(struct cleat_csi *c, struct cleat_pb_arena *a,
				 const struct cleat_volume_state *v, struct csi_pool_memo *memo)
{
	Csi__V1__Volume *out = cleat_pb_arena_get(a, sizeof(*out));

	if (!out || !look_at_pool(c, a, v->pool, memo))
		return NULL;
	csi__v1__volume__init(out);
	out->volume_id = cleat_pb_text(v->id);
	out->capacity_bytes = (int64_t)v->record->capacity_bytes;
	if (!put_context(c, a, v->record, !memo->shared, out) || !put_source(c, a, v->record, out) ||
	    !put_place(a, memo, &out->n_accessible_topology, &out->accessible_topology))
		return NULL;
	return out;
}

Csi__V1__Snapshot *csi_wire_snapshot(struct cleat_csi *c, struct cleat_pb_arena *a,
				     const struct cleat_volume_state *v, struct csi_pool_memo *memo)
{
	Csi__V1__Snapshot *out = cleat_pb_arena_get(a, sizeof(*out));
	const struct cleat_record *r = v->record;
	char group[CSI_GROUP_ID_BYTES] = "";

	if (!out || !look_at_pool(c, a, v->pool, memo))
		return NULL;
	csi__v1__snapshot__init(out);
	out->snapshot_id = cleat_pb_text(v->id);
	out->source_volume_id = r->source;
	out->size_bytes = (int64_t)r->capacity_bytes;
	out->ready_to_use = true;
	if (r->group[0])
		csi_group_id(v->id, r->group, group);
	out->group_snapshot_id = csi_wire_copy(a, group);
	if (!out->group_snapshot_id || !csi_wire_time(a, r->created_ms, &out->creation_time))
		return NULL;
	if (!put_place(a, memo, &out->n_accessible_topology, &out->accessible_topology))
		return NULL;
	return out;
}

bool csi_wire_nodes(struct cleat_pb_arena *a, const struct cleat_volume_state *v, size_t *n_out,
		    char ***nodes_out)
{
	const struct cleat_record *r = v->record;

	if (r->attachment_count == 0)
		return true;
	*nodes_out = cleat_pb_arena_get(a, r->attachment_count * sizeof(**nodes_out));
	if (!*nodes_out)
		return false;
	for (size_t i = 0; i < r->attachment_count; i++)
		(*nodes_out)[i] = r->attachments[i].node;
	*n_out = r->attachment_count;
	return true;
}
