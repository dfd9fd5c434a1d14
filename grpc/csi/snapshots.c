/* snapshots.c - snapshots of single volumes. */
#include "csi/internal.h"

#include <string.h>

/* ---- CreateSnapshot ---- */

/* Two long names that were shortened to the same one. */
static bool is_other(const struct cleat_volume_state *v, const char *name)
{
	const char *has = cleat_kv_get(&v->record->labels, CSI_NAME_LABEL);

	return has && strcmp(has, name) != 0;
}

static void answer_create(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	const struct cleat_volume_state *v = result->volume_count ? &result->volumes[0] : NULL;
	const Csi__V1__CreateSnapshotRequest *in = (const void *)p->in;
	Csi__V1__CreateSnapshotResponse out = CSI__V1__CREATE_SNAPSHOT_RESPONSE__INIT;
	struct csi_pool_memo memo = { .name = "" };
	cleat_autoarena struct cleat_pb_arena a;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	if (v && is_other(v, in->name)) {
		cleat_rpc_call_fail(call, CLEAT_ALREADY_EXISTS, "snapshot '%s' has another name", v->id);
		return;
	}
	if (v)
		csi_note_id(p, v);
	out.snapshot = v ? csi_wire_snapshot(p->owner, &a, v, &memo) : NULL;
	/* Who named one place and got it is not told so again: csi-sanity 5.6 takes even an equal topology
	 * for another one (it compares the cached sizes of the messages, too).  Who named several learns
	 * which; GetSnapshot and ListSnapshots always tell. */
	if (out.snapshot && in->accessibility_requirements &&
	    in->accessibility_requirements->n_requisite == 1)
		out.snapshot->n_accessible_topology = 0;
	cleat_reply_if(call, out.snapshot, &out.base);
}

static enum cleat_code check_create(struct cleat_csi *c, const Csi__V1__CreateSnapshotRequest *in,
				    struct csi_name *name, struct csi_params *params, struct cleat_error *err)
{
	struct cleat_volume_state v;
	struct cleat_pool_state pool;

	if (csi_name_take(in->name, "name", CLEAT_NAME_MAX_BYTES, name, err) ||
	    csi_params_take_snapshot((void *)in->parameters, in->n_parameters, params, err) ||
	    csi_find(c, in->source_volume_id, CLEAT_KIND_VOLUME, CSI_NO_HINT, &v, err))
		return err->code;
	if (cleat_pool_get(c->engine, v.pool, &pool, err) == CLEAT_OK &&
	    csi_topology_check(c, in->accessibility_requirements, &pool, err) == CLEAT_OK)
		(void)!csi_check_other_pools(c, CLEAT_KIND_SNAPSHOT, name->text, v.pool, err);
	cleat_volume_state_done(&v);
	if (err->code == CLEAT_OK && !name->same)
		(void)!cleat_kv_set(&params->labels, CSI_NAME_LABEL, in->name, err);
	return err->code;
}

static void on_create_snapshot(Csi__V1__Controller_Service *base, const Csi__V1__CreateSnapshotRequest *in,
			       Csi__V1__CreateSnapshotResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_SNAPSHOT);
	csi_autoparams struct csi_params params = { .pool = "" };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pending *p;
	struct csi_name name;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "CreateSnapshot") ||
	    csi_lacks(call, in->name, "name") || csi_lacks(call, in->source_volume_id, "source_volume_id"))
		return;
	if (check_create(c, in, &name, &params, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.volume = in->source_volume_id;
	r.name = name.text;
	r.labels = &params.labels;
	if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_create)))
		cleat_pending_submit(p, c->engine, &r);
}

/* ---- DeleteSnapshot ---- */

static void reply_deleted(struct cleat_rpc_call *call)
{
	Csi__V1__DeleteSnapshotResponse out = CSI__V1__DELETE_SNAPSHOT_RESPONSE__INIT;

	cleat_rpc_call_reply(call, &out.base);
}

static void answer_delete(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	(void)p;
	(void)result;
	reply_deleted(call);
}

/* A member of a group is one point in time with the others, and goes with them. */
static enum cleat_code check_delete(struct cleat_csi *c, const char *id, struct cleat_error *err)
{
	struct cleat_volume_state v;

	if (csi_find(c, id, CLEAT_KIND_SNAPSHOT, CSI_NO_HINT, &v, err))
		return err->code;
	if (v.record->group[0])
		cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"snapshot '%s' is part of group '%s': delete that with DeleteVolumeGroupSnapshot", id,
			v.record->group);
	cleat_volume_state_done(&v);
	return err->code;
}

static void on_delete_snapshot(Csi__V1__Controller_Service *base, const Csi__V1__DeleteSnapshotRequest *in,
			       Csi__V1__DeleteSnapshotResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_DELETE_SNAPSHOT);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pending *p;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "DeleteSnapshot") ||
	    csi_lacks(call, in->snapshot_id, "snapshot_id"))
		return;
	switch (check_delete(c, in->snapshot_id, &err)) {
	case CLEAT_OK:
		break;
	case CLEAT_NOT_FOUND:
		reply_deleted(call);
		return;
	default:
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.volume = in->snapshot_id;
	if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_delete)))
		cleat_pending_submit(p, c->engine, &r);
}

/* ---- reading ---- */

static bool wire_entries(struct cleat_csi *c, struct cleat_pb_arena *a,
			 const struct cleat_volume_state *items, size_t count,
			 Csi__V1__ListSnapshotsResponse *out)
{
	struct csi_pool_memo memo = { .name = "" };

	out->entries = cleat_pb_arena_get(a, (count + 1) * sizeof(*out->entries));
	if (!out->entries)
		return false;
	for (size_t i = 0; i < count; i++) {
		Csi__V1__ListSnapshotsResponse__Entry *e = cleat_pb_arena_get(a, sizeof(*e));

		if (!e)
			return false;
		csi__v1__list_snapshots_response__entry__init(e);
		e->snapshot = csi_wire_snapshot(c, a, &items[i], &memo);
		if (!e->snapshot)
			return false;
		out->entries[out->n_entries++] = e;
	}
	return true;
}

/* Answers with a page, or with the number of entries to try instead when it is too large. */
static size_t reply_snapshots(struct cleat_csi *c, struct cleat_rpc_call *call,
			      struct cleat_volume_list *list)
{
	Csi__V1__ListSnapshotsResponse out = CSI__V1__LIST_SNAPSHOTS_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;
	size_t fewer;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	bool complete = wire_entries(c, &a, list->items, list->count, &out);
	out.next_token = list->next_token;
	fewer = cleat_reply_smaller_page(list->count,
					 csi__v1__list_snapshots_response__get_packed_size(&out));
	if (fewer == 0)
		cleat_reply_if(call, complete, &out.base);
	return fewer;
}

/* With snapshot_id: that one, or none. */
static void list_one(struct cleat_csi *c, struct cleat_rpc_call *call,
		     const Csi__V1__ListSnapshotsRequest *in)
{
	Csi__V1__ListSnapshotsResponse out = CSI__V1__LIST_SNAPSHOTS_RESPONSE__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoarena struct cleat_pb_arena a;
	struct cleat_volume_state v;
	bool complete = true;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	if (csi_find(c, in->snapshot_id, CLEAT_KIND_SNAPSHOT, CSI_NO_HINT, &v, &err)) {
		if (err.code == CLEAT_UNAVAILABLE) {
			cleat_rpc_call_fail_error(call, &err);
			return;
		}
		cleat_rpc_call_reply(call, &out.base);
		return;
	}
	if (!in->source_volume_id[0] || strcmp(in->source_volume_id, v.record->source) == 0)
		complete = wire_entries(c, &a, &v, 1, &out);
	cleat_reply_if(call, complete, &out.base);
	cleat_volume_state_done(&v);
}

static void list_page(struct cleat_csi *c, struct cleat_rpc_call *call, struct cleat_list_query *query)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	do {
		struct cleat_volume_list page;

		if (cleat_volume_list(c->engine, query, &page, &err)) {
			cleat_rpc_call_fail_error(call, &err);
			return;
		}
		query->page = reply_snapshots(c, call, &page);
		cleat_volume_list_done(&page);
	} while (query->page);
}

static void on_list_snapshots(Csi__V1__Controller_Service *base, const Csi__V1__ListSnapshotsRequest *in,
			      Csi__V1__ListSnapshotsResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	Csi__V1__ListSnapshotsResponse none = CSI__V1__LIST_SNAPSHOTS_RESPONSE__INIT;
	struct cleat_list_query query = { .kind = CLEAT_KIND_SNAPSHOT, .token = in->starting_token };

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "ListSnapshots") ||
	    csi_negative(call, in->max_entries))
		return;
	query.page = (size_t)in->max_entries;
	query.source = in->source_volume_id;
	if (in->snapshot_id[0])
		list_one(c, call, in);
	else if (in->source_volume_id[0] && !csi_is_id(in->source_volume_id))
		cleat_rpc_call_reply(call, &none.base); /* a name, perhaps, but no id */
	else
		list_page(c, call, &query);
}

static void on_get_snapshot(Csi__V1__Controller_Service *base, const Csi__V1__GetSnapshotRequest *in,
			    Csi__V1__GetSnapshotResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	Csi__V1__GetSnapshotResponse out = CSI__V1__GET_SNAPSHOT_RESPONSE__INIT;
	struct csi_pool_memo memo = { .name = "" };
	struct cleat_volume_state v;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "GetSnapshot") ||
	    csi_lacks(call, in->snapshot_id, "snapshot_id") ||
	    !csi_found(c, call, in->snapshot_id, CLEAT_KIND_SNAPSHOT, CSI_NO_HINT, &v))
		return;
	cleat_autoarena struct cleat_pb_arena a;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.snapshot = csi_wire_snapshot(c, &a, &v, &memo);
	cleat_reply_if(call, out.snapshot, &out.base);
	cleat_volume_state_done(&v);
}

void csi_set_snapshots(Csi__V1__Controller_Service *base)
{
	base->create_snapshot = on_create_snapshot;
	base->delete_snapshot = on_delete_snapshot;
	base->list_snapshots = on_list_snapshots;
	base->get_snapshot = on_get_snapshot;
}
