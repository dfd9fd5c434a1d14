/* node_look.c - what this node is and can do, and what its volumes hold; growing file systems in use. */
#include "csi/internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- paths ---- */

/* Whether two absolute paths are the same but for repeated and trailing slashes. */
static bool same_path(const char *a, const char *b)
{
	while (*a == '/' && *b == '/') {
		a += strspn(a, "/");
		b += strspn(b, "/");
		size_t n = strcspn(a, "/");

		if (strncmp(a, b, n) != 0 || (b[n] && b[n] != '/'))
			return false;
		a += n;
		b += n;
	}
	return a[strspn(a, "/")] == '\0' && b[strspn(b, "/")] == '\0';
}

static bool is_in(const struct cleat_claim_list *list, const char *path)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].state == CLEAT_CLAIM_ACTIVE && same_path(list->items[i].target, path))
			return true;
	return false;
}

/* Whether the volume is staged or published at that path. */
static enum cleat_code check_at(struct cleat_csi *c, const char *id, const char *path,
				struct cleat_error *err)
{
	struct cleat_claim_list list = { 0 };
	char *token = NULL;
	bool found = false;

	do {
		enum cleat_code code = cleat_claim_list(c->engine, id, token, 0, &list, err);

		free(token);
		token = NULL;
		if (code)
			return code;
		found = is_in(&list, path);
		if (!found && list.next_token[0] && !(token = strdup(list.next_token)))
			found = true; /* no memory to look further: the engine knows more */
		cleat_claim_list_done(&list);
	} while (!found && token);
	if (!found)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "volume '%s' is not at '%.200s'", id, path);
	return CLEAT_OK;
}

/* ---- NodeGetVolumeStats ---- */

static void answer_stats(struct cleat_pending *p, struct cleat_rpc_call *call,
			 const struct cleat_result *result)
{
	const struct cleat_usage *u = &result->usage;
	Csi__V1__VolumeUsage usage[2] = { CSI__V1__VOLUME_USAGE__INIT, CSI__V1__VOLUME_USAGE__INIT };
	Csi__V1__VolumeUsage *list[2] = { &usage[0], &usage[1] };
	Csi__V1__NodeGetVolumeStatsResponse out = CSI__V1__NODE_GET_VOLUME_STATS_RESPONSE__INIT;

	(void)p;
	usage[0].unit = CSI__V1__VOLUME_USAGE__UNIT__BYTES;
	usage[0].total = (int64_t)u->total_bytes;
	usage[0].used = (int64_t)u->used_bytes;
	usage[0].available = (int64_t)u->available_bytes;
	usage[1].unit = CSI__V1__VOLUME_USAGE__UNIT__INODES;
	usage[1].total = (int64_t)u->total_inodes;
	usage[1].used = (int64_t)u->used_inodes;
	usage[1].available = (int64_t)u->available_inodes;
	out.usage = list;
	out.n_usage = u->total_inodes ? 2 : 1;
	cleat_rpc_call_reply(call, &out.base);
}

static void on_node_get_volume_stats(Csi__V1__Node_Service *base,
				     const Csi__V1__NodeGetVolumeStatsRequest *in,
				     Csi__V1__NodeGetVolumeStatsResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_node(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_USAGE);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_volume_state v;
	struct cleat_pending *p;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "NodeGetVolumeStats") ||
	    csi_lacks(call, in->volume_id, "volume_id") || csi_lacks(call, in->volume_path, "volume_path") ||
	    !csi_found(c, call, in->volume_id, CLEAT_KIND_VOLUME, CSI_NO_HINT, &v))
		return;
	const bool block = v.record->access_type == CLEAT_ACCESS_BLOCK;
	cleat_volume_state_done(&v);
	/* Where we did not publish a device kubelet may have bound it: the engine looks. */
	if (check_at(c, in->volume_id, in->volume_path, &err) == CLEAT_NOT_FOUND && block &&
	    in->volume_path[0] == '/') {
		r.target = in->volume_path;
	} else if (err.code) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.volume = in->volume_id;
	if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_stats)))
		cleat_pending_submit(p, c->engine, &r);
}

/* ---- NodeExpandVolume ---- */

static void reply_expanded(struct cleat_rpc_call *call, uint64_t bytes)
{
	Csi__V1__NodeExpandVolumeResponse out = CSI__V1__NODE_EXPAND_VOLUME_RESPONSE__INIT;

	out.capacity_bytes = (int64_t)bytes;
	cleat_rpc_call_reply(call, &out.base);
}

static void answer_expand(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	(void)p;
	if (result->grows_at_next_stage)
		cleat_rpc_call_fail(
			call, CLEAT_FAILED_PRECONDITION,
			"the file system cannot grow while it is in use; it grows when it is staged next");
	else
		reply_expanded(call, result->volume_count ? result->volumes[0].record->capacity_bytes : 0);
}

/* The device has the size that ControllerExpandVolume gave it, and its file system follows; unless there is
 * no such call, then both grow here. */
static enum cleat_code check_expand(struct cleat_csi *c, const Csi__V1__NodeExpandVolumeRequest *in,
				    const struct cleat_volume_state *v, struct cleat_request *r,
				    struct csi_access *access, struct cleat_error *err)
{
	uint64_t wanted;

	if (check_at(c, in->volume_id, in->volume_path, err) ||
	    csi_take_range(in->capacity_range, &wanted, &r->limit_bytes, err))
		return err->code;
	if (in->volume_capability && (csi_access_take(in->volume_capability, access, err) ||
				      csi_access_check(c, access, v, CLEAT_INVALID_ARGUMENT, err)))
		return err->code;
	r->capacity_bytes = v->record->capacity_bytes;
	if (c->node_expand && wanted > r->capacity_bytes)
		r->capacity_bytes = wanted;
	else if (r->capacity_bytes && wanted > r->capacity_bytes)
		return cleat_error_set(
			err, CLEAT_OUT_OF_RANGE,
			"volume '%s' has %llu bytes, not %llu: ControllerExpandVolume comes first", v->id,
			(unsigned long long)v->record->capacity_bytes, (unsigned long long)wanted);
	return CLEAT_OK;
}

static void on_node_expand_volume(Csi__V1__Node_Service *base, const Csi__V1__NodeExpandVolumeRequest *in,
				  Csi__V1__NodeExpandVolumeResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_node(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_EXPAND);
	csi_autoaccess struct csi_access access = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_volume_state v;
	struct cleat_pending *p;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "NodeExpandVolume") ||
	    csi_lacks(call, in->volume_id, "volume_id") || csi_lacks(call, in->volume_path, "volume_path") ||
	    !csi_found(c, call, in->volume_id, CLEAT_KIND_VOLUME, CSI_NO_HINT, &v))
		return;
	enum cleat_code code = check_expand(c, in, &v, &r, &access, &err);
	cleat_volume_state_done(&v);
	r.volume = in->volume_id;
	if (code)
		csi_fail_quietly(call, &access, &err);
	else if (r.capacity_bytes == 0) /* no size is enforced: it has grown already */
		reply_expanded(call, 0);
	else if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_expand)))
		cleat_pending_submit(p, c->engine, &r);
}

/* ---- the node ---- */

static void on_node_get_info(Csi__V1__Node_Service *base, const Csi__V1__NodeGetInfoRequest *in,
			     Csi__V1__NodeGetInfoResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_node(base);
	Csi__V1__NodeGetInfoResponse out = CSI__V1__NODE_GET_INFO_RESPONSE__INIT;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "NodeGetInfo"))
		return;
	cleat_autoarena struct cleat_pb_arena a;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.node_id = cleat_pb_text(cleat_engine_node(c->engine));
	out.max_volumes_per_node = c->max_volumes;
	cleat_reply_if(call,
		       !csi_abilities(c).placed || csi_topology_of_node(c, &a, &out.accessible_topology),
		       &out.base);
}

#define CAN(name) CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__##name
#define MAX_CAPABILITIES 8

struct node_capabilities {
	Csi__V1__NodeServiceCapability caps[MAX_CAPABILITIES], *list[MAX_CAPABILITIES];
	Csi__V1__NodeServiceCapability__RPC rpcs[MAX_CAPABILITIES];
	size_t n;
};

static void add(struct node_capabilities *all, bool have, Csi__V1__NodeServiceCapability__RPC__Type type)
{
	const size_t i = all->n;

	if (!have || i == MAX_CAPABILITIES)
		return;
	csi__v1__node_service_capability__init(&all->caps[i]);
	csi__v1__node_service_capability__rpc__init(&all->rpcs[i]);
	all->rpcs[i].type = type;
	all->caps[i].type_case = CSI__V1__NODE_SERVICE_CAPABILITY__TYPE_RPC;
	all->caps[i].rpc = &all->rpcs[i];
	all->list[all->n++] = &all->caps[i];
}

static void on_node_get_capabilities(Csi__V1__Node_Service *base,
				     const Csi__V1__NodeGetCapabilitiesRequest *in,
				     Csi__V1__NodeGetCapabilitiesResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_node(base);
	Csi__V1__NodeGetCapabilitiesResponse out = CSI__V1__NODE_GET_CAPABILITIES_RESPONSE__INIT;
	struct node_capabilities all = { .n = 0 };

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "NodeGetCapabilities"))
		return;
	add(&all, c->stage, CAN(STAGE_UNSTAGE_VOLUME));
	add(&all, true, CAN(GET_VOLUME_STATS));
	add(&all, csi_abilities(c).expand, CAN(EXPAND_VOLUME));
	add(&all, true, CAN(SINGLE_NODE_MULTI_WRITER));
	add(&all, true, CAN(GET_VOLUME_HEALTH));
	add(&all, true, CAN(GET_STORAGE_HEALTH));
	out.capabilities = all.list;
	out.n_capabilities = all.n;
	cleat_rpc_call_reply(call, &out.base);
}

void csi_set_node_look(Csi__V1__Node_Service *base)
{
	base->node_get_volume_stats = on_node_get_volume_stats;
	base->node_expand_volume = on_node_expand_volume;
	base->node_get_info = on_node_get_info;
	base->node_get_capabilities = on_node_get_capabilities;
}
