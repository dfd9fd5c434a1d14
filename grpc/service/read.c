/* read.c - the reading calls: answered at once, from the engine's memory. */
#include "service/internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_OPERATIONS_SHOWN 1000

/* Leaves the note for the log; without memory the line just lacks the volume. */
static void note(struct cleat_rpc_call *call, const char *volume)
{
	struct cleat_call_note *n = volume[0] ? calloc(1, sizeof(*n)) : NULL;

	if (!n)
		return;
	cleat_call_note_subject(n, NULL, volume);
	cleat_rpc_call_set_data(call, n, free);
}

/* ---- the daemon and its pools ---- */

/* All pools, in the arena. */
static struct cleat_pool_state *get_pools(struct cleat_service *s, struct cleat_pb_arena *a, size_t *n_out)
{
	size_t room = cleat_pool_list(s->engine, NULL, 0);
	struct cleat_pool_state *pools = cleat_pb_arena_get(a, (room ? room : 1) * sizeof(*pools));

	if (!pools)
		return NULL;
	size_t n = cleat_pool_list(s->engine, pools, room);
	*n_out = n < room ? n : room; /* a reload may have added some */
	return pools;
}

static bool put_operations(struct cleat_service *s, struct cleat_pb_arena *a, Cleat__V1__GetInfoResponse *out)
{
	size_t room = cleat_operation_list(s->engine, NULL, 0);
	struct cleat_operation *operations;

	if (room == 0)
		return true;
	if (room > MAX_OPERATIONS_SHOWN)
		room = MAX_OPERATIONS_SHOWN;
	operations = cleat_pb_arena_get(a, room * sizeof(*operations));
	out->operations = cleat_pb_arena_get(a, room * sizeof(*out->operations));
	if (!operations || !out->operations)
		return false;
	size_t n = cleat_operation_list(s->engine, operations, room);
	for (size_t i = 0; i < n && i < room; i++) {
		out->operations[i] = cleat_wire_operation(a, &operations[i]);
		if (!out->operations[i])
			return false;
		out->n_operations++;
	}
	return true;
}

static void on_get_info(Cleat__V1__Volumes_Service *base, const Cleat__V1__GetInfoRequest *in,
			Cleat__V1__GetInfoResponse_Closure done, void *call)
{
	struct cleat_service *s = service_of(base);
	Cleat__V1__GetInfoResponse out = CLEAT__V1__GET_INFO_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;
	struct cleat_pool_state *pools;
	size_t n = 0;

	(void)in;
	(void)done;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.version = cleat_pb_text(cleat_version());
	out.node = cleat_pb_text(cleat_engine_node(s->engine));
	out.epoch = cleat_pb_text(cleat_engine_epoch(s->engine));
	out.last_event = cleat_events_last(s->engine);
	pools = get_pools(s, &a, &n);
	for (size_t i = 0; pools && i < n; i++)
		if (pools[i].is_default)
			out.default_pool = pools[i].name;
	bool complete = pools && put_operations(s, &a, &out);
	cleat_reply_if(call, complete, &out.base);
}

static void on_list_pools(Cleat__V1__Volumes_Service *base, const Cleat__V1__ListPoolsRequest *in,
			  Cleat__V1__ListPoolsResponse_Closure done, void *call)
{
	Cleat__V1__ListPoolsResponse out = CLEAT__V1__LIST_POOLS_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;
	struct cleat_pool_state *pools;
	size_t n = 0;

	(void)in;
	(void)done;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	pools = get_pools(service_of(base), &a, &n);
	out.pools = cleat_pb_arena_get(&a, (n + 1) * sizeof(*out.pools));
	bool complete = pools && out.pools;
	for (size_t i = 0; complete && i < n; i++) {
		out.pools[i] = cleat_wire_pool(&a, &pools[i]);
		complete = out.pools[i];
		out.n_pools++;
	}
	cleat_reply_if(call, complete, &out.base);
}

/* ---- volumes and snapshots ---- */

static void on_get_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__GetVolumeRequest *in,
			  Cleat__V1__GetVolumeResponse_Closure done, void *call)
{
	Cleat__V1__GetVolumeResponse out = CLEAT__V1__GET_VOLUME_RESPONSE__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoarena struct cleat_pb_arena a;
	struct cleat_volume_state v;

	(void)done;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	if (service_gate(service_of(base), call, &in->base, "GetVolume"))
		return;
	note(call, in->volume);
	if (cleat_volume_get(service_of(base)->engine, in->volume, in->scope, CLEAT_KIND_VOLUME, &v, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	out.volume = cleat_wire_volume(&a, &v);
	cleat_reply_if(call, out.volume, &out.base);
	cleat_volume_state_done(&v);
}

static void on_get_snapshot(Cleat__V1__Volumes_Service *base, const Cleat__V1__GetSnapshotRequest *in,
			    Cleat__V1__GetSnapshotResponse_Closure done, void *call)
{
	Cleat__V1__GetSnapshotResponse out = CLEAT__V1__GET_SNAPSHOT_RESPONSE__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoarena struct cleat_pb_arena a;
	struct cleat_volume_state v;

	(void)done;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	if (service_gate(service_of(base), call, &in->base, "GetSnapshot"))
		return;
	note(call, in->snapshot);
	if (cleat_volume_get(service_of(base)->engine, in->snapshot, in->scope, CLEAT_KIND_SNAPSHOT, &v,
			     &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	out.snapshot = cleat_wire_volume(&a, &v);
	cleat_reply_if(call, out.snapshot, &out.base);
	cleat_volume_state_done(&v);
}

static const char *unless_empty(const char *text)
{
	return text[0] ? text : NULL;
}

/* One page as messages in the arena. */
static Cleat__V1__Volume **wire_volumes(struct cleat_pb_arena *a, const struct cleat_volume_list *list)
{
	Cleat__V1__Volume **out = cleat_pb_arena_get(a, (list->count + 1) * sizeof(*out));

	for (size_t i = 0; out && i < list->count; i++) {
		out[i] = cleat_wire_volume(a, &list->items[i]);
		if (!out[i])
			return NULL;
	}
	return out;
}

/* Answers with a page, or with the number of entries to try instead when it is too large. */
static size_t reply_volumes(struct cleat_rpc_call *call, struct cleat_volume_list *list)
{
	Cleat__V1__ListVolumesResponse out = CLEAT__V1__LIST_VOLUMES_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;
	size_t fewer;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.volumes = wire_volumes(&a, list);
	if (!out.volumes && list->count > 1)
		return list->count / 2;
	out.n_volumes = out.volumes ? list->count : 0;
	out.next_page_token = list->next_token;
	fewer = cleat_reply_smaller_page(list->count,
					 cleat__v1__list_volumes_response__get_packed_size(&out));
	if (fewer == 0)
		cleat_reply_if(call, out.volumes, &out.base);
	return fewer;
}

/* ListSnapshots answers with the same fields under the same numbers, so one function serves both. */
static void list(struct cleat_service *s, struct cleat_rpc_call *call, struct cleat_list_query *query)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	do {
		struct cleat_volume_list page;

		if (cleat_volume_list(s->engine, query, &page, &err)) {
			cleat_rpc_call_fail_error(call, &err);
			return;
		}
		query->page = reply_volumes(call, &page);
		cleat_volume_list_done(&page);
	} while (query->page);
}

static void on_list_volumes(Cleat__V1__Volumes_Service *base, const Cleat__V1__ListVolumesRequest *in,
			    Cleat__V1__ListVolumesResponse_Closure done, void *call)
{
	struct cleat_list_query query = {
		.kind = CLEAT_KIND_VOLUME,
		.pool = in->pool,
		.scope = in->any_scope ? NULL : in->scope,
		.name = unless_empty(in->name),
		.token = in->page_token,
		.page = in->page_size < CLEAT_PAGE_MAX ? in->page_size : CLEAT_PAGE_MAX,
	};

	(void)done;
	if (!service_gate(service_of(base), call, &in->base, "ListVolumes"))
		list(service_of(base), call, &query);
}

static void on_list_snapshots(Cleat__V1__Volumes_Service *base, const Cleat__V1__ListSnapshotsRequest *in,
			      Cleat__V1__ListSnapshotsResponse_Closure done, void *call)
{
	struct cleat_list_query query = {
		.kind = CLEAT_KIND_SNAPSHOT,
		.pool = in->pool,
		.scope = in->any_scope ? NULL : in->scope,
		.name = unless_empty(in->name),
		.source = unless_empty(in->volume),
		.token = in->page_token,
		.page = in->page_size < CLEAT_PAGE_MAX ? in->page_size : CLEAT_PAGE_MAX,
	};

	(void)done;
	if (service_gate(service_of(base), call, &in->base, "ListSnapshots"))
		return;
	note(call, in->volume);
	list(service_of(base), call, &query);
}

/* ---- claims ---- */

static size_t reply_claims(struct cleat_rpc_call *call, struct cleat_claim_list *list)
{
	Cleat__V1__ListClaimsResponse out = CLEAT__V1__LIST_CLAIMS_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;
	size_t fewer;
	bool complete;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.claims = cleat_pb_arena_get(&a, (list->count + 1) * sizeof(*out.claims));
	complete = out.claims;
	for (size_t i = 0; complete && i < list->count; i++) {
		out.claims[i] = cleat_wire_claim(&a, &list->items[i]);
		complete = out.claims[i];
		out.n_claims += complete;
	}
	out.next_page_token = list->next_token;
	fewer = cleat_reply_smaller_page(list->count, cleat__v1__list_claims_response__get_packed_size(&out));
	if (fewer == 0)
		cleat_reply_if(call, complete, &out.base);
	return fewer;
}

/* The id of the volume whose claims are wanted; "" for all. */
static enum cleat_code claims_of(struct cleat_service *s, const Cleat__V1__ListClaimsRequest *in,
				 char id[CLEAT_ID_MAX_BYTES + 1], struct cleat_error *err)
{
	struct cleat_volume_state v;

	id[0] = '\0';
	if (!in->volume[0])
		return CLEAT_OK;
	if (cleat_volume_get(s->engine, in->volume, in->scope, CLEAT_KIND_VOLUME, &v, err))
		return err->code;
	memcpy(id, v.id, sizeof(v.id));
	cleat_volume_state_done(&v);
	return CLEAT_OK;
}

static void on_list_claims(Cleat__V1__Volumes_Service *base, const Cleat__V1__ListClaimsRequest *in,
			   Cleat__V1__ListClaimsResponse_Closure done, void *call)
{
	struct cleat_service *s = service_of(base);
	size_t page = in->page_size < CLEAT_PAGE_MAX ? in->page_size : CLEAT_PAGE_MAX;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char id[CLEAT_ID_MAX_BYTES + 1];

	(void)done;
	if (service_gate(s, call, &in->base, "ListClaims"))
		return;
	note(call, in->volume);
	if (claims_of(s, in, id, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	do {
		struct cleat_claim_list list;

		if (cleat_claim_list(s->engine, id, in->page_token, page, &list, &err)) {
			cleat_rpc_call_fail_error(call, &err);
			return;
		}
		page = reply_claims(call, &list);
		cleat_claim_list_done(&list);
	} while (page);
}

void service_set_reading(Cleat__V1__Volumes_Service *base)
{
	base->get_info = on_get_info;
	base->list_pools = on_list_pools;
	base->get_volume = on_get_volume;
	base->get_snapshot = on_get_snapshot;
	base->list_volumes = on_list_volumes;
	base->list_snapshots = on_list_snapshots;
	base->list_claims = on_list_claims;
}
