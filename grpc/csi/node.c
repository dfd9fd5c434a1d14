/* node.c - volumes staged and published on this node, and taken away again. */
#include "csi/internal.h"

#include <stdio.h>
#include <string.h>

/* ---- whose it is, for people ---- */

/* Copies the part of path that follows `before`, up to the next slash. */
static bool part_after(const char *path, const char *before, char *out, size_t room)
{
	const char *at = strstr(path, before);

	if (!at)
		return false;
	at += strlen(before);
	snprintf(out, room, "%.*s", (int)strcspn(at, "/"), at);
	return out[0];
}

/* CSI tells no owner, but the paths of kubelet and Nomad do. */
static void make_owner(const char *path, ProtobufCMessage **context, size_t n, char owner[200])
{
	const char *pod = csi_map_get(context, n, CSI_KUBERNETES_PREFIX "pod.name");
	const char *space = csi_map_get(context, n, CSI_KUBERNETES_PREFIX "pod.namespace");
	char part[128];

	if (pod && space)
		snprintf(owner, 200, "pod %.80s/%.80s", space, pod);
	else if (part_after(path, "/per-alloc/", part, sizeof(part)))
		snprintf(owner, 200, "alloc %s", part);
	else if (part_after(path, "/pods/", part, sizeof(part)))
		snprintf(owner, 200, "pod %s", part);
	else
		snprintf(owner, 200, "CSI");
}

/* ---- staging and publishing ---- */

struct mount_call {
	const char *volume_id, *target;
	const Csi__V1__VolumeCapability *capability;
	ProtobufCMessage **context;
	size_t n_context;
	bool read_only;
};

static void reply_empty(struct cleat_rpc_call *call)
{
	Csi__V1__NodePublishVolumeResponse out = CSI__V1__NODE_PUBLISH_VOLUME_RESPONSE__INIT;

	cleat_rpc_call_reply(call, &out.base);
}

static void answer_done(struct cleat_pending *p, struct cleat_rpc_call *call,
			const struct cleat_result *result)
{
	(void)p;
	(void)result;
	reply_empty(call);
}

static void refuse_quietly(struct cleat_rpc_call *call, const Csi__V1__VolumeCapability *cap,
			   const struct cleat_error *err)
{
	csi_autoaccess struct csi_access access = { 0 };

	(void)!csi_access_take(cap, &access, NULL);
	csi_fail_quietly(call, &access, err);
}

static void refuse_stage(struct cleat_pending *p, struct cleat_rpc_call *call, const struct cleat_error *err)
{
	refuse_quietly(
		call, ((const Csi__V1__NodeStageVolumeRequest *)(const void *)p->in)->volume_capability, err);
}

static void refuse_publish(struct cleat_pending *p, struct cleat_rpc_call *call,
			   const struct cleat_error *err)
{
	refuse_quietly(call,
		       ((const Csi__V1__NodePublishVolumeRequest *)(const void *)p->in)->volume_capability,
		       err);
}

/* csi.md, "NodePublishVolume": once the plugin has SINGLE_NODE_MULTI_WRITER, the older SINGLE_NODE_WRITER is
 * one writer at one target.  Several readers harm nobody. */
static enum cleat_access_mode publish_mode(enum cleat_access_mode mode)
{
	return mode == CLEAT_MODE_SINGLE_NODE_WRITER ? CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER : mode;
}

static enum cleat_code check_mount(struct cleat_csi *c, const struct mount_call *m, struct csi_access *access,
				   struct cleat_error *err)
{
	const struct csi_hint hint = { .context = csi_map_get(m->context, m->n_context, "node") };
	struct cleat_volume_state v;

	if (csi_access_take(m->capability, access, err) ||
	    csi_find(c, m->volume_id, CLEAT_KIND_VOLUME, hint, &v, err))
		return err->code;
	enum cleat_code code = csi_access_check(c, access, &v, CLEAT_FAILED_PRECONDITION, err);
	cleat_volume_state_done(&v);
	return code;
}

static void do_mount(struct cleat_csi *c, struct cleat_rpc_call *call, const ProtobufCMessage *in,
		     const struct mount_call *m, enum cleat_verb verb)
{
	struct cleat_request r = cleat_pending_request(call, verb);
	csi_autoaccess struct csi_access access = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pending *p;
	char owner[200];

	if (check_mount(c, m, &access, &err)) {
		csi_fail_quietly(call, &access, &err);
		return;
	}
	make_owner(m->target, m->context, m->n_context, owner);
	r.volume = m->volume_id;
	r.target = m->target;
	r.mode = verb == CLEAT_VERB_PUBLISH ? publish_mode(access.mode) : access.mode;
	r.read_only = m->read_only;
	r.mount_options = &access.flags;
	r.owner = owner;
	if (!(p = cleat_pending_new(call, sizeof(*p), c, in, answer_done)))
		return;
	p->refuse = verb == CLEAT_VERB_PUBLISH ? refuse_publish : refuse_stage;
	cleat_pending_submit(p, c->engine, &r);
}

static void on_node_stage_volume(Csi__V1__Node_Service *base, const Csi__V1__NodeStageVolumeRequest *in,
				 Csi__V1__NodeStageVolumeResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_node(base);
	const struct mount_call m = {
		.volume_id = in->volume_id,
		.target = in->staging_target_path,
		.capability = in->volume_capability,
		.context = (void *)in->volume_context,
		.n_context = in->n_volume_context,
	};

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "NodeStageVolume") ||
	    csi_lacks(call, in->volume_id, "volume_id") ||
	    csi_lacks(call, in->staging_target_path, "staging_target_path"))
		return;
	do_mount(c, call, &in->base, &m, CLEAT_VERB_STAGE);
}

static void on_node_publish_volume(Csi__V1__Node_Service *base, const Csi__V1__NodePublishVolumeRequest *in,
				   Csi__V1__NodePublishVolumeResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_node(base);
	const struct mount_call m = {
		.volume_id = in->volume_id,
		.target = in->target_path,
		.capability = in->volume_capability,
		.context = (void *)in->volume_context,
		.n_context = in->n_volume_context,
		.read_only = in->readonly,
	};

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "NodePublishVolume") ||
	    csi_lacks(call, in->volume_id, "volume_id") || csi_lacks(call, in->target_path, "target_path"))
		return;
	if (!in->volume_capability) {
		cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT, "volume_capability is missing");
		return;
	}
	if (c->stage && !in->staging_target_path[0]) {
		cleat_rpc_call_fail(call, CLEAT_FAILED_PRECONDITION,
				    "staging_target_path is missing: this plugin has STAGE_UNSTAGE_VOLUME");
		return;
	}
	do_mount(c, call, &in->base, &m, CLEAT_VERB_PUBLISH);
}

/* ---- taking away ---- */

/* A volume that is in no pool of this node is not mounted here either, or the engine would know it. */
static void refuse_gone(struct cleat_pending *p, struct cleat_rpc_call *call, const struct cleat_error *err)
{
	(void)p;
	if (err->code == CLEAT_NOT_FOUND)
		reply_empty(call);
	else
		cleat_rpc_call_fail_error(call, err);
}

static void do_unmount(struct cleat_csi *c, struct cleat_rpc_call *call, const ProtobufCMessage *in,
		       const char *id, const char *target, enum cleat_verb verb)
{
	struct cleat_request r = cleat_pending_request(call, verb);
	struct cleat_pending *p;

	if (!csi_is_id(id)) {
		cleat_rpc_call_fail(call, CLEAT_NOT_FOUND, "volume '%.*s' does not exist", CLEAT_ID_MAX_BYTES,
				    id);
		return;
	}
	r.volume = id;
	r.target = target;
	if (!(p = cleat_pending_new(call, sizeof(*p), c, in, answer_done)))
		return;
	p->refuse = refuse_gone;
	cleat_pending_submit(p, c->engine, &r);
}

static void on_node_unstage_volume(Csi__V1__Node_Service *base, const Csi__V1__NodeUnstageVolumeRequest *in,
				   Csi__V1__NodeUnstageVolumeResponse_Closure done, void *call)
{
	(void)done;
	if (!csi_lacks(call, in->volume_id, "volume_id") &&
	    !csi_lacks(call, in->staging_target_path, "staging_target_path"))
		do_unmount(csi_of_node(base), call, &in->base, in->volume_id, in->staging_target_path,
			   CLEAT_VERB_UNSTAGE);
}

static void on_node_unpublish_volume(Csi__V1__Node_Service *base,
				     const Csi__V1__NodeUnpublishVolumeRequest *in,
				     Csi__V1__NodeUnpublishVolumeResponse_Closure done, void *call)
{
	(void)done;
	if (!csi_lacks(call, in->volume_id, "volume_id") && !csi_lacks(call, in->target_path, "target_path"))
		do_unmount(csi_of_node(base), call, &in->base, in->volume_id, in->target_path,
			   CLEAT_VERB_UNPUBLISH);
}

void csi_set_node(Csi__V1__Node_Service *base)
{
	base->node_stage_volume = on_node_stage_volume;
	base->node_unstage_volume = on_node_unstage_volume;
	base->node_publish_volume = on_node_publish_volume;
	base->node_unpublish_volume = on_node_unpublish_volume;
}
