/* group.c - snapshots of several volumes at one point in time.
 *
 * A group is nothing but its members, whose records name it; its id is made from that name, so that it is
 * found again without being kept.
 */
#include "csi/internal.h"

#include "util/ids.h"

#include <stdio.h>
#include <string.h>

#define GROUP_NAME_MAX_BYTES (CLEAT_NAME_MAX_BYTES - 3) /* members are called <group>-<number> */

void csi_group_id(const char *snapshot_id, const char *group, char id_out[CSI_GROUP_ID_BYTES])
{
	const size_t n = strlen(group);
	char pool[CLEAT_ID_MAX_BYTES + 1];

	csi_pool_of_id(snapshot_id, pool);
	snprintf(id_out, CSI_GROUP_ID_BYTES, "%.*s.g%016llx%06llx", CLEAT_POOL_NAME_MAX_BYTES, pool,
		 (unsigned long long)cleat_id_hash(group, n, 0x6373690003ULL),
		 (unsigned long long)(cleat_id_hash(group, n, 0x6373690004ULL) & 0xffffff));
}

/* ---- finding ---- */

struct members {
	struct cleat_volume_state items[CLEAT_GROUP_MAX];
	size_t count;
};

static void members_done(struct members *m)
{
	for (size_t i = 0; i < m->count; i++)
		cleat_volume_state_done(&m->items[i]);
	m->count = 0;
}
#define automembers __attribute__((cleanup(members_done)))

/* Takes from the page what belongs to the group. */
static void take_page(struct cleat_volume_list *page, const char *group_id, struct members *out)
{
	char id[CSI_GROUP_ID_BYTES];

	for (size_t i = 0; i < page->count && out->count < CLEAT_GROUP_MAX; i++) {
		struct cleat_volume_state *v = &page->items[i];

		if (!v->record->group[0])
			continue;
		csi_group_id(v->id, v->record->group, id);
		if (strcmp(id, group_id) != 0)
			continue;
		out->items[out->count] = *v;
		cleat_record_ref(v->record);
		out->count++;
	}
}

/* NOT_FOUND: there is no member. */
static enum cleat_code find_members(struct cleat_csi *c, const char *group_id, struct members *out,
				    struct cleat_error *err)
{
	struct cleat_list_query query = { .kind = CLEAT_KIND_SNAPSHOT };
	struct cleat_volume_list page = { 0 };
	struct cleat_volume_state none;
	char token[sizeof(page.next_token)] = "";

	/* No snapshot has such an id; but this says whether its pool is ours. */
	if (csi_find(c, group_id, CLEAT_KIND_SNAPSHOT, CSI_NO_HINT, &none, err) == CLEAT_OK) {
		cleat_volume_state_done(&none);
		return cleat_error_set(err, CLEAT_NOT_FOUND, "'%s' is a snapshot, not a group", group_id);
	}
	if (err->code != CLEAT_NOT_FOUND)
		return err->code;
	do {
		query.token = token;
		if (cleat_volume_list(c->engine, &query, &page, err))
			return err->code;
		take_page(&page, group_id, out);
		memcpy(token, page.next_token, sizeof(token));
		cleat_volume_list_done(&page);
	} while (token[0] && out->count < CLEAT_GROUP_MAX);
	if (out->count == 0)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "group snapshot '%s' does not exist", group_id);
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return CLEAT_OK;
}

static bool names(char *const *ids, size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(ids[i], id) == 0)
			return true;
	return false;
}

static bool is_member(const struct members *m, const char *id)
{
	for (size_t i = 0; i < m->count; i++)
		if (strcmp(m->items[i].id, id) == 0)
			return true;
	return false;
}

/* snapshot_ids, where given, must be the members; what is gone already may still be named by a deletion. */
static enum cleat_code check_ids(struct cleat_csi *c, const struct members *m, char *const *ids, size_t n,
				 bool gone_may_be, struct cleat_error *err)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT;
	struct cleat_volume_state v;

	for (size_t i = 0; n && i < m->count; i++)
		if (!names(ids, n, m->items[i].id))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "snapshot_ids: '%s' is part of the group and not named",
					       m->items[i].id);
	for (size_t i = 0; i < n; i++) {
		if (is_member(m, ids[i]))
			continue;
		if (gone_may_be &&
		    csi_find(c, ids[i], CLEAT_KIND_SNAPSHOT, CSI_NO_HINT, &v, &ignored) == CLEAT_NOT_FOUND)
			continue;
		if (gone_may_be && ignored.code == CLEAT_OK)
			cleat_volume_state_done(&v);
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "snapshot_ids: '%.64s' is not part of the group", ids[i]);
	}
	return CLEAT_OK;
}

/* ---- answering ---- */

static Csi__V1__VolumeGroupSnapshot *wire_group(struct cleat_csi *c, struct cleat_pb_arena *a,
						const struct cleat_volume_state *items, size_t count)
{
	Csi__V1__VolumeGroupSnapshot *g = cleat_pb_arena_get(a, sizeof(*g));
	struct csi_pool_memo memo = { .name = "" };

	if (!g || count == 0)
		return NULL;
	csi__v1__volume_group_snapshot__init(g);
	g->snapshots = cleat_pb_arena_get(a, count * sizeof(*g->snapshots));
	if (!g->snapshots || !csi_wire_time(a, items[0].record->created_ms, &g->creation_time))
		return NULL;
	for (size_t i = 0; i < count; i++) {
		g->snapshots[i] = csi_wire_snapshot(c, a, &items[i], &memo);
		if (!g->snapshots[i])
			return NULL;
	}
	g->n_snapshots = count;
	g->group_snapshot_id = g->snapshots[0]->group_snapshot_id;
	g->ready_to_use = true;
	return g;
}

/* CreateVolumeGroupSnapshot and GetVolumeGroupSnapshot answer with the same message but for its name. */
static void reply_group(struct cleat_csi *c, struct cleat_rpc_call *call,
			const struct cleat_volume_state *items, size_t count)
{
	Csi__V1__GetVolumeGroupSnapshotResponse out = CSI__V1__GET_VOLUME_GROUP_SNAPSHOT_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.group_snapshot = wire_group(c, &a, items, count);
	cleat_reply_if(call, out.group_snapshot, &out.base);
}

/* ---- the calls ---- */

static void answer_create(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	reply_group(p->owner, call, result->volumes, result->volume_count);
}

/* All in one pool, which can do it. */
static enum cleat_code check_source(struct cleat_csi *c, const char *id,
				    char pool[CLEAT_POOL_NAME_MAX_BYTES + 1], struct cleat_error *err)
{
	struct cleat_pool_state state;
	struct cleat_volume_state v;

	if (csi_find(c, id, CLEAT_KIND_VOLUME, CSI_NO_HINT, &v, err))
		return err->code;
	if (pool[0] && strcmp(pool, v.pool) != 0)
		cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				"'%s' is in pool '%s' and others are in '%s': only volumes of one pool can "
				"be cut together",
				id, v.pool, pool);
	else if (cleat_pool_get(c->engine, v.pool, &state, err) == CLEAT_OK &&
		 !(state.capabilities & CLEAT_CAN_GROUP_SNAPSHOT))
		cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				"pool '%s' (%s) cannot take snapshots of several volumes together", v.pool,
				state.backend);
	memcpy(pool, v.pool, sizeof(v.pool));
	cleat_volume_state_done(&v);
	return err->code;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum cleat_code check_create(struct cleat_csi *c, const Csi__V1__CreateVolumeGroupSnapshotRequest *in,
				    struct csi_name *name, struct csi_params *params, struct cleat_error *err)
{
	char pool[CLEAT_POOL_NAME_MAX_BYTES + 1] = "";

	if (in->n_source_volume_ids == 0 || in->n_source_volume_ids > CLEAT_GROUP_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "source_volume_ids: 1 to %d are wanted, not %zu", CLEAT_GROUP_MAX,
				       in->n_source_volume_ids);
	if (csi_name_take(in->name, "name", GROUP_NAME_MAX_BYTES, name, err) ||
	    csi_params_take_snapshot((void *)in->parameters, in->n_parameters, params, err))
		return err->code;
	for (size_t i = 0; i < in->n_source_volume_ids; i++)
		if (check_source(c, in->source_volume_ids[i], pool, err))
			return err->code;
	return name->same ? CLEAT_OK : cleat_kv_set(&params->labels, CSI_NAME_LABEL, in->name, err);
}

static void on_create(Csi__V1__GroupController_Service *base,
		      const Csi__V1__CreateVolumeGroupSnapshotRequest *in,
		      Csi__V1__CreateVolumeGroupSnapshotResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_group(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_GROUP_SNAPSHOT);
	csi_autoparams struct csi_params params = { .pool = "" };
	struct cleat_error err = CLEAT_ERROR_INIT;
	const char *ids[CLEAT_GROUP_MAX];
	struct cleat_pending *p;
	struct csi_name name;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "CreateVolumeGroupSnapshot") ||
	    csi_lacks(call, in->name, "name"))
		return;
	if (check_create(c, in, &name, &params, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	/* The same volumes in another order are the same group. */
	memcpy(ids, in->source_volume_ids, in->n_source_volume_ids * sizeof(*ids));
	qsort(ids, in->n_source_volume_ids, sizeof(*ids), by_text);
	r.volumes = ids;
	r.volume_count = in->n_source_volume_ids;
	r.name = name.text;
	r.labels = &params.labels;
	if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_create)))
		cleat_pending_submit(p, c->engine, &r);
}

/* The members go one after the other. */
struct deletion {
	struct cleat_pending p; /* first */
	char ids[CLEAT_GROUP_MAX][CLEAT_ID_MAX_BYTES + 1];
	size_t count, next;
};

static void reply_deleted(struct cleat_rpc_call *call)
{
	Csi__V1__DeleteVolumeGroupSnapshotResponse out = CSI__V1__DELETE_VOLUME_GROUP_SNAPSHOT_RESPONSE__INIT;

	cleat_rpc_call_reply(call, &out.base);
}

static void delete_next(struct cleat_pending *p, struct cleat_rpc_call *call,
			const struct cleat_result *result)
{
	struct deletion *d = (struct deletion *)p;
	struct cleat_csi *c = p->owner;

	(void)result;
	if (d->next == d->count) {
		reply_deleted(call);
		return;
	}
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_DELETE_SNAPSHOT);
	r.volume = d->ids[d->next++];
	cleat_pending_submit(p, c->engine, &r);
}

static enum cleat_code check_deletion(struct cleat_csi *c,
				      const Csi__V1__DeleteVolumeGroupSnapshotRequest *in, struct members *m,
				      struct cleat_error *err)
{
	if (find_members(c, in->group_snapshot_id, m, err))
		return err->code;
	return check_ids(c, m, in->snapshot_ids, in->n_snapshot_ids, true, err);
}

static void on_delete(Csi__V1__GroupController_Service *base,
		      const Csi__V1__DeleteVolumeGroupSnapshotRequest *in,
		      Csi__V1__DeleteVolumeGroupSnapshotResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_group(base);
	struct cleat_error err = CLEAT_ERROR_INIT;
	automembers struct members m = { .count = 0 };
	struct deletion *d;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "DeleteVolumeGroupSnapshot") ||
	    csi_lacks(call, in->group_snapshot_id, "group_snapshot_id"))
		return;
	if (check_deletion(c, in, &m, &err)) {
		if (err.code == CLEAT_NOT_FOUND)
			reply_deleted(call);
		else
			cleat_rpc_call_fail_error(call, &err);
		return;
	}
	if (!(d = cleat_pending_new(call, sizeof(*d), c, &in->base, delete_next)))
		return;
	cleat_call_note_subject(&d->p.note, NULL, in->group_snapshot_id);
	for (; d->count < m.count; d->count++)
		memcpy(d->ids[d->count], m.items[d->count].id, sizeof(d->ids[0]));
	delete_next(&d->p, call, NULL);
}

static void on_get(Csi__V1__GroupController_Service *base, const Csi__V1__GetVolumeGroupSnapshotRequest *in,
		   Csi__V1__GetVolumeGroupSnapshotResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_group(base);
	struct cleat_error err = CLEAT_ERROR_INIT;
	automembers struct members m = { .count = 0 };

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "GetVolumeGroupSnapshot") ||
	    csi_lacks(call, in->group_snapshot_id, "group_snapshot_id"))
		return;
	if (find_members(c, in->group_snapshot_id, &m, &err) ||
	    check_ids(c, &m, in->snapshot_ids, in->n_snapshot_ids, false, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	reply_group(c, call, m.items, m.count);
}

static void on_get_capabilities(Csi__V1__GroupController_Service *base,
				const Csi__V1__GroupControllerGetCapabilitiesRequest *in,
				Csi__V1__GroupControllerGetCapabilitiesResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_group(base);
	Csi__V1__GroupControllerGetCapabilitiesResponse out =
		CSI__V1__GROUP_CONTROLLER_GET_CAPABILITIES_RESPONSE__INIT;
	Csi__V1__GroupControllerServiceCapability cap = CSI__V1__GROUP_CONTROLLER_SERVICE_CAPABILITY__INIT,
						  *list = &cap;
	Csi__V1__GroupControllerServiceCapability__RPC rpc =
		CSI__V1__GROUP_CONTROLLER_SERVICE_CAPABILITY__RPC__INIT;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "GroupControllerGetCapabilities"))
		return;
	rpc.type =
		CSI__V1__GROUP_CONTROLLER_SERVICE_CAPABILITY__RPC__TYPE__CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT;
	cap.type_case = CSI__V1__GROUP_CONTROLLER_SERVICE_CAPABILITY__TYPE_RPC;
	cap.rpc = &rpc;
	if (csi_abilities(c).group) {
		out.capabilities = &list;
		out.n_capabilities = 1;
	}
	cleat_rpc_call_reply(call, &out.base);
}

void csi_set_group(Csi__V1__GroupController_Service *base)
{
	base->create_volume_group_snapshot = on_create;
	base->delete_volume_group_snapshot = on_delete;
	base->get_volume_group_snapshot = on_get;
	base->group_controller_get_capabilities = on_get_capabilities;
}
