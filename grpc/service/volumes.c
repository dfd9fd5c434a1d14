/* volumes.c - the changing calls: each becomes one request to the engine and is answered from there. */
#include "service/internal.h"

#include <string.h>

static struct cleat_request volume_request(const struct cleat_rpc_call *call, enum cleat_verb verb,
					   const char *volume, const char *scope)
{
	struct cleat_request r = cleat_pending_request(call, verb);

	r.volume = volume;
	r.scope = scope;
	return r;
}

static void submit(Cleat__V1__Volumes_Service *base, struct cleat_rpc_call *call, const ProtobufCMessage *in,
		   const struct cleat_request *r, cleat_answer_fn answer)
{
	struct cleat_service *s = service_of(base);
	struct cleat_pending *p = cleat_pending_new(call, sizeof(*p), s, in, answer);

	if (p)
		cleat_pending_submit(p, s->engine, r);
}

/* The one volume (or snapshot) of a result; remembers its id for the log. */
static Cleat__V1__Volume *result_volume(struct cleat_pending *p, struct cleat_pb_arena *a,
					const struct cleat_result *result)
{
	if (result->volume_count == 0)
		return NULL;
	memcpy(p->note.id, result->volumes[0].id, sizeof(p->note.id));
	return cleat_wire_volume(a, &result->volumes[0]);
}

/* ---- volumes ---- */

static void answer_create(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	Cleat__V1__CreateVolumeResponse out = CLEAT__V1__CREATE_VOLUME_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.volume = result_volume(p, &a, result);
	out.already = result->already;
	if (out.volume)
		cleat_rpc_call_reply(call, &out.base);
	else
		cleat_reply_no_memory(call);
}

static void on_create_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__CreateVolumeRequest *in,
			     Cleat__V1__CreateVolumeResponse_Closure done, void *call)
{
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_CREATE);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_wire_kvs params, labels;

	(void)done;
	if (cleat_wire_kvs((void *)in->params, in->n_params, "params", &params, &err) ||
	    cleat_wire_kvs((void *)in->labels, in->n_labels, "labels", &labels, &err) ||
	    cleat_wire_access_type(in->access_type, &r.access_type, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.pool = in->pool;
	r.name = in->name;
	r.scope = in->scope;
	r.capacity_bytes = in->capacity_bytes;
	r.limit_bytes = in->limit_bytes;
	r.params = &params.kvs;
	r.labels = &labels.kvs;
	r.source = in->source;
	r.hard_size = in->hard_size;
	submit(base, call, &in->base, &r, answer_create);
}

static void answer_adopt(struct cleat_pending *p, struct cleat_rpc_call *call,
			 const struct cleat_result *result)
{
	Cleat__V1__AdoptVolumeResponse out = CLEAT__V1__ADOPT_VOLUME_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.volume = result_volume(p, &a, result);
	out.already = result->already;
	if (out.volume)
		cleat_rpc_call_reply(call, &out.base);
	else
		cleat_reply_no_memory(call);
}

static void on_adopt_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__AdoptVolumeRequest *in,
			    Cleat__V1__AdoptVolumeResponse_Closure done, void *call)
{
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_ADOPT);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_wire_kvs params, labels;

	(void)done;
	if (cleat_wire_kvs((void *)in->params, in->n_params, "params", &params, &err) ||
	    cleat_wire_kvs((void *)in->labels, in->n_labels, "labels", &labels, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.pool = in->pool;
	r.name = in->name;
	r.scope = in->scope;
	r.what = in->what;
	r.params = &params.kvs;
	r.labels = &labels.kvs;
	submit(base, call, &in->base, &r, answer_adopt);
}

static void answer_delete(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	Cleat__V1__DeleteVolumeResponse out = CLEAT__V1__DELETE_VOLUME_RESPONSE__INIT;

	(void)p;
	out.already = result->already;
	cleat_rpc_call_reply(call, &out.base);
}

static void on_delete_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__DeleteVolumeRequest *in,
			     Cleat__V1__DeleteVolumeResponse_Closure done, void *call)
{
	const struct cleat_request r = volume_request(call, CLEAT_VERB_DELETE, in->volume, in->scope);

	(void)done;
	submit(base, call, &in->base, &r, answer_delete);
}

static void answer_expand(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	Cleat__V1__ExpandVolumeResponse out = CLEAT__V1__EXPAND_VOLUME_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.volume = result_volume(p, &a, result);
	out.grows_at_next_stage = result->grows_at_next_stage;
	if (out.volume)
		cleat_rpc_call_reply(call, &out.base);
	else
		cleat_reply_no_memory(call);
}

static void on_expand_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__ExpandVolumeRequest *in,
			     Cleat__V1__ExpandVolumeResponse_Closure done, void *call)
{
	struct cleat_request r = volume_request(call, CLEAT_VERB_EXPAND, in->volume, in->scope);

	(void)done;
	r.capacity_bytes = in->capacity_bytes;
	r.limit_bytes = in->limit_bytes;
	submit(base, call, &in->base, &r, answer_expand);
}

static void answer_modify(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	Cleat__V1__ModifyVolumeResponse out = CLEAT__V1__MODIFY_VOLUME_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.volume = result_volume(p, &a, result);
	if (out.volume)
		cleat_rpc_call_reply(call, &out.base);
	else
		cleat_reply_no_memory(call);
}

static void on_modify_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__ModifyVolumeRequest *in,
			     Cleat__V1__ModifyVolumeResponse_Closure done, void *call)
{
	struct cleat_request r = volume_request(call, CLEAT_VERB_MODIFY, in->volume, in->scope);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_wire_kvs params, labels;

	(void)done;
	if (cleat_wire_kvs((void *)in->params, in->n_params, "params", &params, &err) ||
	    cleat_wire_kvs((void *)in->labels, in->n_labels, "labels", &labels, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.params = &params.kvs;
	r.labels = &labels.kvs;
	submit(base, call, &in->base, &r, answer_modify);
}

static void answer_usage(struct cleat_pending *p, struct cleat_rpc_call *call,
			 const struct cleat_result *result)
{
	Cleat__V1__GetUsageResponse out = CLEAT__V1__GET_USAGE_RESPONSE__INIT;

	(void)p;
	out.total_bytes = result->usage.total_bytes;
	out.used_bytes = result->usage.used_bytes;
	out.available_bytes = result->usage.available_bytes;
	out.total_inodes = result->usage.total_inodes;
	out.used_inodes = result->usage.used_inodes;
	out.available_inodes = result->usage.available_inodes;
	cleat_rpc_call_reply(call, &out.base);
}

static void on_get_usage(Cleat__V1__Volumes_Service *base, const Cleat__V1__GetUsageRequest *in,
			 Cleat__V1__GetUsageResponse_Closure done, void *call)
{
	const struct cleat_request r = volume_request(call, CLEAT_VERB_USAGE, in->volume, in->scope);

	(void)done;
	submit(base, call, &in->base, &r, answer_usage);
}

static void answer_health(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	Cleat__V1__GetHealthResponse out = CLEAT__V1__GET_HEALTH_RESPONSE__INIT;

	(void)p;
	out.healthy = result->healthy;
	if (result->health_text)
		out.text = result->health_text;
	cleat_rpc_call_reply(call, &out.base);
}

static void on_get_health(Cleat__V1__Volumes_Service *base, const Cleat__V1__GetHealthRequest *in,
			  Cleat__V1__GetHealthResponse_Closure done, void *call)
{
	const struct cleat_request r = volume_request(call, CLEAT_VERB_HEALTH, in->volume, in->scope);

	(void)done;
	submit(base, call, &in->base, &r, answer_health);
}

/* ---- snapshots ---- */

static void answer_snapshot(struct cleat_pending *p, struct cleat_rpc_call *call,
			    const struct cleat_result *result)
{
	Cleat__V1__CreateSnapshotResponse out = CLEAT__V1__CREATE_SNAPSHOT_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;

	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.snapshot = result_volume(p, &a, result);
	out.already = result->already;
	if (out.snapshot)
		cleat_rpc_call_reply(call, &out.base);
	else
		cleat_reply_no_memory(call);
}

static void on_create_snapshot(Cleat__V1__Volumes_Service *base, const Cleat__V1__CreateSnapshotRequest *in,
			       Cleat__V1__CreateSnapshotResponse_Closure done, void *call)
{
	struct cleat_request r = volume_request(call, CLEAT_VERB_SNAPSHOT, in->volume, in->scope);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_wire_kvs labels;

	(void)done;
	if (cleat_wire_kvs((void *)in->labels, in->n_labels, "labels", &labels, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.name = in->name;
	r.labels = &labels.kvs;
	submit(base, call, &in->base, &r, answer_snapshot);
}

static void answer_group_snapshot(struct cleat_pending *p, struct cleat_rpc_call *call,
				  const struct cleat_result *result)
{
	Cleat__V1__CreateGroupSnapshotResponse out = CLEAT__V1__CREATE_GROUP_SNAPSHOT_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;

	(void)p;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.snapshots = cleat_pb_arena_get(&a, result->volume_count * sizeof(*out.snapshots));
	for (size_t i = 0; out.snapshots && i < result->volume_count; i++) {
		out.snapshots[i] = cleat_wire_volume(&a, &result->volumes[i]);
		if (!out.snapshots[i])
			out.snapshots = NULL;
		else
			out.n_snapshots++;
	}
	out.already = result->already;
	if (out.snapshots)
		cleat_rpc_call_reply(call, &out.base);
	else
		cleat_reply_no_memory(call);
}

static void on_create_group_snapshot(Cleat__V1__Volumes_Service *base,
				     const Cleat__V1__CreateGroupSnapshotRequest *in,
				     Cleat__V1__CreateGroupSnapshotResponse_Closure done, void *call)
{
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_GROUP_SNAPSHOT);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_wire_kvs labels;

	(void)done;
	if (in->n_volumes == 0 || in->n_volumes > CLEAT_GROUP_MAX) {
		cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT,
				    "a group snapshot is of 1 to %d volumes, not of %zu", CLEAT_GROUP_MAX,
				    in->n_volumes);
		return;
	}
	if (cleat_wire_kvs((void *)in->labels, in->n_labels, "labels", &labels, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.volumes = (const char *const *)in->volumes;
	r.volume_count = in->n_volumes;
	r.scope = in->scope;
	r.name = in->name;
	r.labels = &labels.kvs;
	submit(base, call, &in->base, &r, answer_group_snapshot);
}

static void answer_delete_snapshot(struct cleat_pending *p, struct cleat_rpc_call *call,
				   const struct cleat_result *result)
{
	Cleat__V1__DeleteSnapshotResponse out = CLEAT__V1__DELETE_SNAPSHOT_RESPONSE__INIT;

	(void)p;
	out.already = result->already;
	cleat_rpc_call_reply(call, &out.base);
}

static void on_delete_snapshot(Cleat__V1__Volumes_Service *base, const Cleat__V1__DeleteSnapshotRequest *in,
			       Cleat__V1__DeleteSnapshotResponse_Closure done, void *call)
{
	const struct cleat_request r =
		volume_request(call, CLEAT_VERB_DELETE_SNAPSHOT, in->snapshot, in->scope);

	(void)done;
	submit(base, call, &in->base, &r, answer_delete_snapshot);
}

/* ---- on nodes ---- */

/* The answer of calls that have nothing to tell but that it is done; all these messages are empty on the
 * wire. */
static void answer_done(struct cleat_pending *p, struct cleat_rpc_call *call,
			const struct cleat_result *result)
{
	Cleat__V1__AttachVolumeResponse out = CLEAT__V1__ATTACH_VOLUME_RESPONSE__INIT;

	(void)p;
	(void)result;
	cleat_rpc_call_reply(call, &out.base);
}

static void on_attach_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__AttachVolumeRequest *in,
			     Cleat__V1__AttachVolumeResponse_Closure done, void *call)
{
	struct cleat_request r = volume_request(call, CLEAT_VERB_ATTACH, in->volume, in->scope);
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)done;
	if (cleat_wire_mode(in->mode, &r.mode, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.node = in->node;
	r.read_only = in->read_only;
	submit(base, call, &in->base, &r, answer_done);
}

static void on_detach_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__DetachVolumeRequest *in,
			     Cleat__V1__DetachVolumeResponse_Closure done, void *call)
{
	struct cleat_request r = volume_request(call, CLEAT_VERB_DETACH, in->volume, in->scope);

	(void)done;
	r.node = in->node;
	r.force = in->force;
	submit(base, call, &in->base, &r, answer_done);
}

static void on_stage_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__StageVolumeRequest *in,
			    Cleat__V1__StageVolumeResponse_Closure done, void *call)
{
	struct cleat_request r = volume_request(call, CLEAT_VERB_STAGE, in->volume, in->scope);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_wire_kvs options;

	(void)done;
	if (cleat_wire_mode(in->mode, &r.mode, &err) ||
	    cleat_wire_kvs((void *)in->mount_options, in->n_mount_options, "mount_options", &options, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.target = in->path;
	r.read_only = in->read_only;
	r.mount_options = &options.kvs;
	r.owner = in->owner;
	submit(base, call, &in->base, &r, answer_done);
}

static void on_unstage_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__UnstageVolumeRequest *in,
			      Cleat__V1__UnstageVolumeResponse_Closure done, void *call)
{
	struct cleat_request r = volume_request(call, CLEAT_VERB_UNSTAGE, in->volume, in->scope);

	(void)done;
	r.target = in->path;
	submit(base, call, &in->base, &r, answer_done);
}

static void answer_publish(struct cleat_pending *p, struct cleat_rpc_call *call,
			   const struct cleat_result *result)
{
	Cleat__V1__PublishVolumeResponse out = CLEAT__V1__PUBLISH_VOLUME_RESPONSE__INIT;

	(void)p;
	if (result->target)
		out.target = result->target;
	cleat_rpc_call_reply(call, &out.base);
}

static void on_publish_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__PublishVolumeRequest *in,
			      Cleat__V1__PublishVolumeResponse_Closure done, void *call)
{
	struct cleat_request r = volume_request(call, CLEAT_VERB_PUBLISH, in->volume, in->scope);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_wire_kvs options;

	(void)done;
	if (cleat_wire_mode(in->mode, &r.mode, &err) ||
	    cleat_wire_kvs((void *)in->mount_options, in->n_mount_options, "mount_options", &options, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	r.target = in->target;
	r.read_only = in->read_only;
	r.mount_options = &options.kvs;
	r.owner = in->owner;
	r.witness.pid = in->witness_pid;
	r.witness.cgroup = in->witness_cgroup[0] ? in->witness_cgroup : NULL;
	submit(base, call, &in->base, &r, answer_publish);
}

static void on_unpublish_volume(Cleat__V1__Volumes_Service *base, const Cleat__V1__UnpublishVolumeRequest *in,
				Cleat__V1__UnpublishVolumeResponse_Closure done, void *call)
{
	struct cleat_request r = volume_request(call, CLEAT_VERB_UNPUBLISH, in->volume, in->scope);

	(void)done;
	r.target = in->target;
	submit(base, call, &in->base, &r, answer_done);
}

static void on_release_claim(Cleat__V1__Volumes_Service *base, const Cleat__V1__ReleaseClaimRequest *in,
			     Cleat__V1__ReleaseClaimResponse_Closure done, void *call)
{
	struct cleat_request r = volume_request(call, CLEAT_VERB_RELEASE, in->volume, in->scope);

	(void)done;
	r.target = in->target;
	r.force = in->force;
	submit(base, call, &in->base, &r, answer_done);
}

/* ---- pools, and the whole ---- */

/* After the space was read anew, the pool's state has it. */
static void answer_pool(struct cleat_pending *p, struct cleat_rpc_call *call,
			const struct cleat_result *result)
{
	const Cleat__V1__GetPoolRequest *in = (const void *)p->in;
	struct cleat_service *s = p->owner;
	Cleat__V1__GetPoolResponse out = CLEAT__V1__GET_POOL_RESPONSE__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pool_state state;
	cleat_autoarena struct cleat_pb_arena a;

	(void)result;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	if (cleat_pool_get(s->engine, in->pool, &state, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	out.pool = cleat_wire_pool(&a, &state);
	if (out.pool)
		cleat_rpc_call_reply(call, &out.base);
	else
		cleat_reply_no_memory(call);
}

static void on_get_pool(Cleat__V1__Volumes_Service *base, const Cleat__V1__GetPoolRequest *in,
			Cleat__V1__GetPoolResponse_Closure done, void *call)
{
	struct cleat_pending now = { .owner = service_of(base), .in = &in->base };
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_POOL_SPACE);

	(void)done;
	r.pool = in->pool;
	if (in->refresh)
		submit(base, call, &in->base, &r, answer_pool);
	else
		answer_pool(&now, call, NULL);
}

static void answer_doctor(struct cleat_pending *p, struct cleat_rpc_call *call,
			  const struct cleat_result *result)
{
	Cleat__V1__DoctorResponse out = CLEAT__V1__DOCTOR_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;

	(void)p;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	out.findings = cleat_pb_arena_get(&a, result->finding_count * sizeof(*out.findings));
	for (size_t i = 0; out.findings && i < result->finding_count; i++) {
		out.findings[i] = cleat_wire_finding(&a, &result->findings[i]);
		if (!out.findings[i])
			out.findings = NULL;
		else
			out.n_findings++;
	}
	if (out.findings)
		cleat_rpc_call_reply(call, &out.base);
	else
		cleat_reply_no_memory(call);
}

static void on_doctor(Cleat__V1__Volumes_Service *base, const Cleat__V1__DoctorRequest *in,
		      Cleat__V1__DoctorResponse_Closure done, void *call)
{
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_DOCTOR);

	(void)done;
	r.fix = in->fix;
	submit(base, call, &in->base, &r, answer_doctor);
}

void service_set_changing(Cleat__V1__Volumes_Service *base)
{
	base->create_volume = on_create_volume;
	base->adopt_volume = on_adopt_volume;
	base->delete_volume = on_delete_volume;
	base->expand_volume = on_expand_volume;
	base->modify_volume = on_modify_volume;
	base->get_usage = on_get_usage;
	base->get_health = on_get_health;
	base->create_snapshot = on_create_snapshot;
	base->create_group_snapshot = on_create_group_snapshot;
	base->delete_snapshot = on_delete_snapshot;
	base->attach_volume = on_attach_volume;
	base->detach_volume = on_detach_volume;
	base->stage_volume = on_stage_volume;
	base->unstage_volume = on_unstage_volume;
	base->publish_volume = on_publish_volume;
	base->unpublish_volume = on_unpublish_volume;
	base->release_claim = on_release_claim;
	base->get_pool = on_get_pool;
	base->doctor = on_doctor;
}
