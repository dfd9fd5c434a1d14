/* lists.c - what there is: volumes, room, and what the controller can do. */
#include "csi/internal.h"

#include <string.h>

/* ---- volumes ---- */

static Csi__V1__ListVolumesResponse__Entry *wire_entry(struct cleat_csi *c, struct cleat_pb_arena *a,
						       const struct cleat_volume_state *v,
						       struct csi_pool_memo *memo)
{
	Csi__V1__ListVolumesResponse__Entry *e = cleat_pb_arena_get(a, sizeof(*e));
	Csi__V1__ListVolumesResponse__VolumeStatus *status = cleat_pb_arena_get(a, sizeof(*status));

	if (!e || !status)
		return NULL;
	csi__v1__list_volumes_response__entry__init(e);
	csi__v1__list_volumes_response__volume_status__init(status);
	e->status = status;
	e->volume = csi_wire_volume(c, a, v, memo);
	if (!e->volume || !csi_wire_nodes(a, v, &status->n_published_node_ids, &status->published_node_ids))
		return NULL;
	return e;
}

/* Answers with a page, or with the number of entries to try instead when it is too large. */
static size_t reply_volumes(struct cleat_csi *c, struct cleat_rpc_call *call, struct cleat_volume_list *list)
{
	Csi__V1__ListVolumesResponse out = CSI__V1__LIST_VOLUMES_RESPONSE__INIT;
	struct csi_pool_memo memo = { .name = "" };
	cleat_autoarena struct cleat_pb_arena a;
	bool complete;
	size_t fewer;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.entries = cleat_pb_arena_get(&a, (list->count + 1) * sizeof(*out.entries));
	complete = out.entries;
	for (size_t i = 0; complete && i < list->count; i++) {
		out.entries[i] = wire_entry(c, &a, &list->items[i], &memo);
		complete = out.entries[i];
		out.n_entries += complete;
	}
	out.next_token = list->next_token;
	fewer = cleat_reply_smaller_page(list->count, csi__v1__list_volumes_response__get_packed_size(&out));
	if (fewer == 0)
		cleat_reply_if(call, complete, &out.base);
	return fewer;
}

static void on_list_volumes(Csi__V1__Controller_Service *base, const Csi__V1__ListVolumesRequest *in,
			    Csi__V1__ListVolumesResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_list_query query = { .kind = CLEAT_KIND_VOLUME, .token = in->starting_token };

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "ListVolumes") ||
	    csi_negative(call, in->max_entries))
		return;
	query.page = (size_t)in->max_entries;
	do {
		struct cleat_volume_list page;

		if (cleat_volume_list(c->engine, &query, &page, &err)) {
			cleat_rpc_call_fail_error(call, &err);
			return;
		}
		query.page = reply_volumes(c, call, &page);
		cleat_volume_list_done(&page);
	} while (query.page);
}

static void on_controller_get_volume(Csi__V1__Controller_Service *base,
				     const Csi__V1__ControllerGetVolumeRequest *in,
				     Csi__V1__ControllerGetVolumeResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	Csi__V1__ControllerGetVolumeResponse out = CSI__V1__CONTROLLER_GET_VOLUME_RESPONSE__INIT;
	Csi__V1__ControllerGetVolumeResponse__VolumeStatus status =
		CSI__V1__CONTROLLER_GET_VOLUME_RESPONSE__VOLUME_STATUS__INIT;
	struct csi_pool_memo memo = { .name = "" };
	struct cleat_volume_state v;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "ControllerGetVolume") ||
	    csi_lacks(call, in->volume_id, "volume_id") ||
	    !csi_found(c, call, in->volume_id, CLEAT_KIND_VOLUME, CSI_NO_HINT, &v))
		return;
	cleat_autoarena struct cleat_pb_arena a;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.volume = csi_wire_volume(c, &a, &v, &memo);
	out.status = &status;
	cleat_reply_if(call,
		       out.volume && csi_wire_nodes(&a, &v, &status.n_published_node_ids,
						    &status.published_node_ids),
		       &out.base);
	cleat_volume_state_done(&v);
}

/* ---- room ---- */

static void answer_capacity(struct cleat_pending *p, struct cleat_rpc_call *call,
			    const struct cleat_result *result)
{
	Csi__V1__GetCapacityResponse out = CSI__V1__GET_CAPACITY_RESPONSE__INIT;
	Google__Protobuf__Int64Value most = GOOGLE__PROTOBUF__INT64_VALUE__INIT;
	Google__Protobuf__Int64Value least = GOOGLE__PROTOBUF__INT64_VALUE__INIT;
	const struct cleat_pool_space *s = &result->space;

	(void)p;
	out.available_capacity = (int64_t)s->available_bytes;
	if (s->max_volume_bytes) {
		most.value = (int64_t)(s->max_volume_bytes < s->available_bytes ? s->max_volume_bytes
										: s->available_bytes);
		out.maximum_volume_size = &most;
	}
	if (s->min_volume_bytes) {
		least.value = (int64_t)s->min_volume_bytes;
		out.minimum_volume_size = &least;
	}
	cleat_rpc_call_reply(call, &out.base);
}

/* No room for what cannot be made here at all. */
static void reply_no_room(struct cleat_rpc_call *call)
{
	Csi__V1__GetCapacityResponse out = CSI__V1__GET_CAPACITY_RESPONSE__INIT;

	cleat_rpc_call_reply(call, &out.base);
}

static enum cleat_code check_capacity(struct cleat_csi *c, const Csi__V1__GetCapacityRequest *in,
				      struct csi_params *params, struct cleat_pool_state *pool,
				      bool *possible_out, struct cleat_error *err)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT;

	if (csi_params_take((void *)in->parameters, in->n_parameters, params, err) ||
	    csi_pool_get(c, params->pool, pool, err))
		return err->code;
	*possible_out = pool->online && csi_topology_is_here(c, pool, in->accessible_topology);
	for (size_t i = 0; i < in->n_volume_capabilities; i++) {
		csi_autoaccess struct csi_access one = { 0 };

		if (csi_access_take(in->volume_capabilities[i], &one, err))
			return err->code;
		*possible_out &=
			csi_access_possible(c, &one, pool, CLEAT_INVALID_ARGUMENT, &ignored) == CLEAT_OK;
	}
	return CLEAT_OK;
}

static void on_get_capacity(Csi__V1__Controller_Service *base, const Csi__V1__GetCapacityRequest *in,
			    Csi__V1__GetCapacityResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_POOL_SPACE);
	csi_autoparams struct csi_params params = { .pool = "" };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pool_state pool;
	struct cleat_pending *p;
	bool possible = false;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "GetCapacity"))
		return;
	if (check_capacity(c, in, &params, &pool, &possible, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	if (!possible) {
		reply_no_room(call);
		return;
	}
	r.pool = pool.name;
	if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_capacity)))
		cleat_pending_submit(p, c->engine, &r);
}

/* ---- what the controller can do ---- */

#define CAN(name) CSI__V1__CONTROLLER_SERVICE_CAPABILITY__RPC__TYPE__##name
#define MAX_CAPABILITIES 20

struct controller_capabilities {
	Csi__V1__ControllerServiceCapability caps[MAX_CAPABILITIES], *list[MAX_CAPABILITIES];
	Csi__V1__ControllerServiceCapability__RPC rpcs[MAX_CAPABILITIES];
	size_t n;
};

static void add(struct controller_capabilities *all, bool have,
		Csi__V1__ControllerServiceCapability__RPC__Type type)
{
	const size_t i = all->n;

	if (!have || i == MAX_CAPABILITIES)
		return;
	csi__v1__controller_service_capability__init(&all->caps[i]);
	csi__v1__controller_service_capability__rpc__init(&all->rpcs[i]);
	all->rpcs[i].type = type;
	all->caps[i].type_case = CSI__V1__CONTROLLER_SERVICE_CAPABILITY__TYPE_RPC;
	all->caps[i].rpc = &all->rpcs[i];
	all->list[i] = &all->caps[i];
	all->n++;
}

static void fill(const struct cleat_csi *c, struct controller_capabilities *all,
		 const struct csi_abilities *have)
{
	const bool attach = c->attach;

	add(all, true, CAN(CREATE_DELETE_VOLUME));
	add(all, attach, CAN(PUBLISH_UNPUBLISH_VOLUME));
	add(all, true, CAN(LIST_VOLUMES));
	add(all, true, CAN(GET_CAPACITY));
	add(all, have->snapshot, CAN(CREATE_DELETE_SNAPSHOT));
	add(all, have->snapshot, CAN(LIST_SNAPSHOTS));
	add(all, have->clone, CAN(CLONE_VOLUME));
	add(all, attach, CAN(PUBLISH_READONLY));
	add(all, have->expand && !c->node_expand, CAN(EXPAND_VOLUME));
	add(all, attach, CAN(LIST_VOLUMES_PUBLISHED_NODES));
	add(all, true, CAN(GET_VOLUME));
	add(all, true, CAN(SINGLE_NODE_MULTI_WRITER));
	add(all, true, CAN(MODIFY_VOLUME)); /* allow_scopes, for volumes of any pool */
	add(all, have->snapshot, CAN(GET_SNAPSHOT));
	add(all, true, CAN(GET_VOLUME_HEALTH));
	add(all, true, CAN(LIST_VOLUME_HEALTH));
}

static void on_controller_get_capabilities(Csi__V1__Controller_Service *base,
					   const Csi__V1__ControllerGetCapabilitiesRequest *in,
					   Csi__V1__ControllerGetCapabilitiesResponse_Closure done,
					   void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	Csi__V1__ControllerGetCapabilitiesResponse out = CSI__V1__CONTROLLER_GET_CAPABILITIES_RESPONSE__INIT;
	struct controller_capabilities all = { .n = 0 };

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "ControllerGetCapabilities"))
		return;
	const struct csi_abilities have = csi_abilities(c);
	fill(c, &all, &have);
	out.capabilities = all.list;
	out.n_capabilities = all.n;
	cleat_rpc_call_reply(call, &out.base);
}

void csi_set_lists(Csi__V1__Controller_Service *base)
{
	base->list_volumes = on_list_volumes;
	base->controller_get_volume = on_controller_get_volume;
	base->get_capacity = on_get_capacity;
	base->controller_get_capabilities = on_controller_get_capabilities;
}
