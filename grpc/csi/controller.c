/* controller.c - volumes made, deleted, attached, grown and changed. */
#include "csi/internal.h"

#include <stdio.h>
#include <string.h>

/* The volume that a verb gave back. */
static const struct cleat_volume_state *the_volume(const struct cleat_result *result)
{
	return result->volume_count ? &result->volumes[0] : NULL;
}

/* All empty messages are alike on the wire. */
static void reply_empty(struct cleat_rpc_call *call)
{
	Csi__V1__DeleteVolumeResponse out = CSI__V1__DELETE_VOLUME_RESPONSE__INIT;

	cleat_rpc_call_reply(call, &out.base);
}

static void answer_done(struct cleat_pending *p, struct cleat_rpc_call *call,
			const struct cleat_result *result)
{
	(void)p;
	(void)result;
	reply_empty(call);
}

/* ---- CreateVolume ---- */

/* What one CreateVolume wants, put together from all parts of its request. */
struct wish {
	struct csi_name name;
	struct csi_params params;
	struct csi_access access; /* of the first capability; mode and flags of each are checked on the way */
	struct cleat_pool_state pool;
	uint64_t bytes, limit_bytes;
	const char *source; /* "" or an id */
	char fs[16];	    /* that it will have, unless a parameter says otherwise; "" for a directory */
};

static void wish_done(struct wish *w)
{
	csi_params_done(&w->params);
	csi_access_done(&w->access);
}
#define autowish __attribute__((cleanup(wish_done)))

static enum cleat_code agree(const struct csi_access *a, const struct csi_access *b, struct cleat_error *err)
{
	if (a->type != b->type)
		return cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"volume_capabilities: a volume is for mount or for block access, not for both");
	if (a->fs[0] && b->fs[0] && strcmp(a->fs, b->fs) != 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "volume_capabilities: two file systems, '%s' and '%s'", a->fs, b->fs);
	return CLEAT_OK;
}

/* fs_type of the capabilities is the parameter fs by another name. */
static enum cleat_code take_fs(struct wish *w, const char *fs_type, struct cleat_error *err)
{
	const char *fs = cleat_kv_get(&w->params.params, "fs");

	if (!fs_type[0])
		return CLEAT_OK;
	if (!w->pool.fs[0])
		return cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"fs_type '%s': volumes of pool '%s' (%s) are directories, leave it empty", fs_type,
			w->pool.name, w->pool.backend);
	if (fs && strcmp(fs, fs_type) != 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "fs_type is '%s', but the parameter fs is '%s'", fs_type, fs);
	return fs ? CLEAT_OK : cleat_kv_set(&w->params.params, "fs", fs_type, err);
}

/* Flags that could never be mounted with are refused now, not when a task starts. */
static enum cleat_code check_flags(const struct wish *w, const struct csi_access *a, struct cleat_error *err)
{
	const char *fs = cleat_kv_get(&w->params.params, "fs");

	if (a->type == CLEAT_ACCESS_BLOCK)
		return CLEAT_OK;
	return cleat_volume_check_mount_options(fs ? fs : w->fs, &a->flags, err);
}

static enum cleat_code take_capabilities(struct cleat_csi *c, const Csi__V1__CreateVolumeRequest *in,
					 struct wish *w, struct cleat_error *err)
{
	for (size_t i = 0; i < in->n_volume_capabilities; i++) {
		csi_autoaccess struct csi_access one = { 0 };

		if (csi_access_take(in->volume_capabilities[i], &one, err) ||
		    csi_access_possible(c, &one, &w->pool, CLEAT_INVALID_ARGUMENT, err) ||
		    (i > 0 && agree(&w->access, &one, err)) || take_fs(w, one.fs, err) ||
		    check_flags(w, &one, err))
			return err->code;
		if (i == 0)
			w->access = one, one = (struct csi_access){ 0 };
		else if (one.fs[0])
			w->access.fs = one.fs;
	}
	return CLEAT_OK;
}

/* The source must be there, and decides on the pool unless one is named. */
static enum cleat_code take_source(struct cleat_csi *c, const Csi__V1__VolumeContentSource *source,
				   struct wish *w, char pool[CLEAT_POOL_NAME_MAX_BYTES + 1],
				   struct cleat_error *err)
{
	enum cleat_kind kind = CLEAT_KIND_VOLUME;
	struct cleat_volume_state v;

	w->source = "";
	if (!source || source->type_case == CSI__V1__VOLUME_CONTENT_SOURCE__TYPE__NOT_SET)
		return CLEAT_OK;
	if (source->type_case == CSI__V1__VOLUME_CONTENT_SOURCE__TYPE_SNAPSHOT) {
		kind = CLEAT_KIND_SNAPSHOT;
		w->source = source->snapshot->snapshot_id;
	} else {
		w->source = source->volume->volume_id;
	}
	if (!w->source[0])
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "volume_content_source: the id is missing");
	if (csi_find(c, w->source, kind, CSI_NO_HINT, &v, err))
		return err->code;
	memcpy(pool, v.pool, sizeof(v.pool));
	snprintf(w->fs, sizeof(w->fs), "%.15s", v.record->fs);
	cleat_volume_state_done(&v);
	return CLEAT_OK;
}

static enum cleat_code take_pool(struct cleat_csi *c, const Csi__V1__CreateVolumeRequest *in, struct wish *w,
				 struct cleat_error *err)
{
	char pool[CLEAT_POOL_NAME_MAX_BYTES + 1] = "";

	if (take_source(c, in->volume_content_source, w, pool, err)) {
		/* In that place it cannot be made, in another it can: COs then try another. */
		if (err->code == CLEAT_FAILED_PRECONDITION && in->accessibility_requirements &&
		    in->accessibility_requirements->n_requisite)
			err->code = CLEAT_RESOURCE_EXHAUSTED;
		return err->code;
	}
	if (csi_pool_get(c, w->params.pool[0] ? w->params.pool : pool, &w->pool, err))
		return err->code;
	if (!w->source[0])
		memcpy(w->fs, w->pool.fs, sizeof(w->fs));
	return csi_topology_check(c, in->accessibility_requirements, &w->pool, err);
}

static enum cleat_code make_wish(struct cleat_csi *c, const Csi__V1__CreateVolumeRequest *in, struct wish *w,
				 struct cleat_error *err)
{
	if (csi_name_take(in->name, "name", CLEAT_NAME_MAX_BYTES, &w->name, err) ||
	    csi_take_range(in->capacity_range, &w->bytes, &w->limit_bytes, err) ||
	    csi_params_take((void *)in->parameters, in->n_parameters, &w->params, err) ||
	    take_pool(c, in, w, err) || take_capabilities(c, in, w, err) ||
	    csi_params_take_mutable((void *)in->mutable_parameters, in->n_mutable_parameters, w->pool.backend,
				    &w->params.params, err) ||
	    csi_check_other_pools(c, CLEAT_KIND_VOLUME, w->name.text, w->pool.name, err))
		return err->code;
	return w->name.same ? CLEAT_OK : cleat_kv_set(&w->params.labels, CSI_NAME_LABEL, in->name, err);
}

static bool has_entry(ProtobufCMessage **entries, size_t n, const char *key)
{
	return csi_map_get(entries, n, key) != NULL;
}

static bool asks_for(const Csi__V1__CreateVolumeRequest *in, const char *key)
{
	if (has_entry((void *)in->parameters, in->n_parameters, key))
		return true;
	if (strcmp(key, "fs") != 0)
		return false;
	for (size_t i = 0; i < in->n_volume_capabilities; i++)
		if (in->volume_capabilities[i]->access_type_case ==
			    CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT &&
		    in->volume_capabilities[i]->mount->fs_type[0])
			return true;
	return false;
}

/* The engine has compared all that was asked for; a volume that was made with more than that is another one,
 * too.
 */
static enum cleat_code check_same(const struct cleat_volume_state *v, const Csi__V1__CreateVolumeRequest *in,
				  const char *backend, struct cleat_error *err)
{
	const struct cleat_record *r = v->record;
	const char *name = cleat_kv_get(&r->labels, CSI_NAME_LABEL);

	if (name && strcmp(name, in->name) != 0)
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "volume '%s' has another name, '%s'", v->id,
				       name);
	for (size_t i = 0; i < r->params.count; i++) {
		const char *key = r->params.items[i].key;

		if (!asks_for(in, key) && !csi_is_changeable(backend, key))
			return cleat_error_set(err, CLEAT_ALREADY_EXISTS,
					       "volume '%s' exists and was made with the parameter '%s'",
					       in->name, key);
	}
	return CLEAT_OK;
}

static void answer_create(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	Csi__V1__CreateVolumeResponse out = CSI__V1__CREATE_VOLUME_RESPONSE__INIT;
	const struct cleat_volume_state *v = the_volume(result);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct csi_pool_memo memo = { .name = "" };
	struct cleat_pool_state pool;
	struct cleat_csi *c = p->owner;
	cleat_autoarena struct cleat_pb_arena a;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	if (result->already && v &&
	    (cleat_pool_get(c->engine, v->pool, &pool, &err) ||
	     check_same(v, (const void *)p->in, pool.backend, &err))) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	if (v)
		csi_note_id(p, v);
	out.volume = v ? csi_wire_volume(c, &a, v, &memo) : NULL;
	cleat_reply_if(call, out.volume, &out.base);
}

static void on_create_volume(Csi__V1__Controller_Service *base, const Csi__V1__CreateVolumeRequest *in,
			     Csi__V1__CreateVolumeResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_CREATE);
	struct cleat_error err = CLEAT_ERROR_INIT;
	autowish struct wish w = { .source = "" };
	struct cleat_pending *p;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "CreateVolume") ||
	    csi_lacks(call, in->name, "name"))
		return;
	if (in->n_volume_capabilities == 0) {
		cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT, "volume_capabilities is missing");
		return;
	}
	if (make_wish(c, in, &w, &err)) {
		csi_fail_quietly(call, &w.access, &err);
		return;
	}
	if (!(p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_create)))
		return;
	r.pool = w.pool.name;
	r.name = w.name.text;
	r.capacity_bytes = w.bytes;
	r.limit_bytes = w.limit_bytes;
	r.access_type = w.access.type;
	r.params = &w.params.params;
	r.labels = &w.params.labels;
	r.source = w.source;
	r.hard_size = w.params.hard_size;
	cleat_pending_submit(p, c->engine, &r);
}

/* ---- DeleteVolume ---- */

/* What was asked about is gone, or was never ours: done.  Anything else that is wrong with it is said. */
static bool is_gone(struct cleat_csi *c, struct cleat_rpc_call *call, const char *id, struct csi_hint hint)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_volume_state v;

	if (csi_find(c, id, CLEAT_KIND_VOLUME, hint, &v, &err) == CLEAT_OK) {
		cleat_volume_state_done(&v);
		return false;
	}
	if (err.code == CLEAT_NOT_FOUND)
		reply_empty(call);
	else
		cleat_rpc_call_fail_error(call, &err);
	return true;
}

static void on_delete_volume(Csi__V1__Controller_Service *base, const Csi__V1__DeleteVolumeRequest *in,
			     Csi__V1__DeleteVolumeResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_DELETE);
	struct cleat_pending *p;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "DeleteVolume") ||
	    csi_lacks(call, in->volume_id, "volume_id") || is_gone(c, call, in->volume_id, CSI_NO_HINT))
		return;
	r.volume = in->volume_id;
	if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_done)))
		cleat_pending_submit(p, c->engine, &r);
}

/* ---- attaching ---- */

static void answer_publish(struct cleat_pending *p, struct cleat_rpc_call *call,
			   const struct cleat_result *result)
{
	Csi__V1__ControllerPublishVolumeResponse out = CSI__V1__CONTROLLER_PUBLISH_VOLUME_RESPONSE__INIT;

	(void)p;
	(void)result;
	cleat_rpc_call_reply(call, &out.base);
}

static enum cleat_code check_publish(struct cleat_csi *c, const Csi__V1__ControllerPublishVolumeRequest *in,
				     struct csi_access *access, struct cleat_error *err)
{
	const struct csi_hint hint = {
		.context = csi_map_get((void *)in->volume_context, in->n_volume_context, "node"),
		.node_id = in->node_id,
	};
	struct cleat_volume_state v;

	if (csi_access_take(in->volume_capability, access, err) ||
	    csi_find(c, in->volume_id, CLEAT_KIND_VOLUME, hint, &v, err))
		return err->code;
	enum cleat_code code = csi_access_check(c, access, &v, CLEAT_INVALID_ARGUMENT, err);
	cleat_volume_state_done(&v);
	return code;
}

static void on_controller_publish_volume(Csi__V1__Controller_Service *base,
					 const Csi__V1__ControllerPublishVolumeRequest *in,
					 Csi__V1__ControllerPublishVolumeResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_ATTACH);
	csi_autoaccess struct csi_access access = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pending *p;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "ControllerPublishVolume") ||
	    csi_lacks(call, in->volume_id, "volume_id") || csi_lacks(call, in->node_id, "node_id"))
		return;
	if (check_publish(c, in, &access, &err)) {
		csi_fail_quietly(call, &access, &err);
		return;
	}
	r.volume = in->volume_id;
	r.node = in->node_id;
	r.mode = access.mode;
	r.read_only = in->readonly;
	r.node_limit = strcmp(in->node_id, cleat_engine_node(c->engine)) == 0 ? c->max_volumes : 0;
	if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_publish)))
		cleat_pending_submit(p, c->engine, &r);
}

static void on_controller_unpublish_volume(Csi__V1__Controller_Service *base,
					   const Csi__V1__ControllerUnpublishVolumeRequest *in,
					   Csi__V1__ControllerUnpublishVolumeResponse_Closure done,
					   void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_DETACH);
	struct cleat_pending *p;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "ControllerUnpublishVolume") ||
	    csi_lacks(call, in->volume_id, "volume_id") ||
	    is_gone(c, call, in->volume_id, (struct csi_hint){ .node_id = in->node_id }))
		return;
	r.volume = in->volume_id;
	r.node = in->node_id;
	if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_done)))
		cleat_pending_submit(p, c->engine, &r);
}

/* ---- growing ---- */

static void answer_expand(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	Csi__V1__ControllerExpandVolumeResponse out = CSI__V1__CONTROLLER_EXPAND_VOLUME_RESPONSE__INIT;
	const struct cleat_volume_state *v = the_volume(result);

	(void)p;
	if (v) {
		out.capacity_bytes = (int64_t)v->record->capacity_bytes;
		/* Whoever stages it later finds it grown; only who has it now must do something. */
		out.node_expansion_required =
			result->grows_at_next_stage && (v->staged || v->record->attachment_count > 0);
	}
	cleat_reply_if(call, v, &out.base);
}

static enum cleat_code check_expand(struct cleat_csi *c, const Csi__V1__ControllerExpandVolumeRequest *in,
				    struct csi_access *access, struct cleat_error *err)
{
	struct cleat_volume_state v;
	enum cleat_code code = CLEAT_OK;

	if (in->volume_capability && csi_access_take(in->volume_capability, access, err))
		return err->code;
	if (csi_find(c, in->volume_id, CLEAT_KIND_VOLUME, CSI_NO_HINT, &v, err))
		return err->code;
	if (in->volume_capability)
		code = csi_access_check(c, access, &v, CLEAT_INVALID_ARGUMENT, err);
	cleat_volume_state_done(&v);
	return code;
}

static void on_controller_expand_volume(Csi__V1__Controller_Service *base,
					const Csi__V1__ControllerExpandVolumeRequest *in,
					Csi__V1__ControllerExpandVolumeResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_EXPAND);
	csi_autoaccess struct csi_access access = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pending *p;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "ControllerExpandVolume") ||
	    csi_lacks(call, in->volume_id, "volume_id"))
		return;
	if (csi_take_range(in->capacity_range, &r.capacity_bytes, &r.limit_bytes, &err) == CLEAT_OK &&
	    r.capacity_bytes == 0)
		cleat_error_set(&err, CLEAT_INVALID_ARGUMENT, "capacity_range.required_bytes is missing");
	if (err.code || check_expand(c, in, &access, &err)) {
		csi_fail_quietly(call, &access, &err);
		return;
	}
	r.volume = in->volume_id;
	if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_expand)))
		cleat_pending_submit(p, c->engine, &r);
}

/* ---- changing ---- */

static void on_controller_modify_volume(Csi__V1__Controller_Service *base,
					const Csi__V1__ControllerModifyVolumeRequest *in,
					Csi__V1__ControllerModifyVolumeResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_MODIFY);
	cleat_autokvs struct cleat_kvs params = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pool_state pool;
	struct cleat_volume_state v;
	struct cleat_pending *p;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "ControllerModifyVolume") ||
	    csi_lacks(call, in->volume_id, "volume_id") ||
	    !csi_found(c, call, in->volume_id, CLEAT_KIND_VOLUME, CSI_NO_HINT, &v))
		return;
	if (cleat_pool_get(c->engine, v.pool, &pool, &err) == CLEAT_OK)
		(void)!csi_params_take_mutable((void *)in->mutable_parameters, in->n_mutable_parameters,
					       pool.backend, &params, &err);
	cleat_volume_state_done(&v);
	if (err.code) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.volume = in->volume_id;
	r.params = &params;
	if ((p = cleat_pending_new(call, sizeof(*p), c, &in->base, answer_done)))
		cleat_pending_submit(p, c->engine, &r);
}

void csi_set_controller(Csi__V1__Controller_Service *base)
{
	base->create_volume = on_create_volume;
	base->delete_volume = on_delete_volume;
	base->controller_publish_volume = on_controller_publish_volume;
	base->controller_unpublish_volume = on_controller_unpublish_volume;
	base->controller_expand_volume = on_controller_expand_volume;
	base->controller_modify_volume = on_controller_modify_volume;
}
