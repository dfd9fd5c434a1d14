/* csi_api.c - the calls of CSI that the benchmarks make, the same for ours and for the reference driver.  See
 * bench.h. */
#include "bench.h"

#include <string.h>

#include "csi/v1/csi.pb-c.h"

#define TIMEOUT_MS 60000

/* Without a place for the answer it says no more than that the call is done. */
static enum cleat_code call(struct cleat_rpc_client *c, const ProtobufCServiceDescriptor *service,
			    const char *method, const ProtobufCMessage *in, ProtobufCMessage **out,
			    struct cleat_error *err)
{
	static const struct cleat_rpc_options options = { .timeout_ms = TIMEOUT_MS };
	cleat_autopb ProtobufCMessage *plain = NULL;

	return cleat_rpc_client_call(c, service, method, in, &options, out ? out : &plain, err);
}

#define CONTROLLER &csi__v1__controller__descriptor
#define NODE &csi__v1__node__descriptor

/* protobuf-c's fields for text are older than const; nothing writes to them. */
static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

/* A directory for one writer: what both drivers take. */
struct wish {
	Csi__V1__VolumeCapability capability;
	Csi__V1__VolumeCapability__AccessMode mode;
	Csi__V1__VolumeCapability__MountVolume mount;
};

static Csi__V1__VolumeCapability *wish_make(struct wish *w)
{
	csi__v1__volume_capability__init(&w->capability);
	csi__v1__volume_capability__access_mode__init(&w->mode);
	csi__v1__volume_capability__mount_volume__init(&w->mount);
	w->mode.mode = CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__SINGLE_NODE_WRITER;
	w->capability.access_mode = &w->mode;
	w->capability.access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
	w->capability.mount = &w->mount;
	return &w->capability;
}

enum cleat_code bench_csi_probe(struct cleat_rpc_client *c, struct cleat_error *err)
{
	Csi__V1__ProbeRequest in = CSI__V1__PROBE_REQUEST__INIT;

	return call(c, &csi__v1__identity__descriptor, "Probe", &in.base, NULL, err);
}

enum cleat_code bench_csi_create(struct cleat_rpc_client *c, const char *pool, const char *name,
				 uint64_t bytes, char id_out[CLEAT_ID_MAX_BYTES + 1], struct cleat_error *err)
{
	Csi__V1__CreateVolumeRequest in = CSI__V1__CREATE_VOLUME_REQUEST__INIT;
	Csi__V1__CreateVolumeRequest__ParametersEntry entry =
		CSI__V1__CREATE_VOLUME_REQUEST__PARAMETERS_ENTRY__INIT;
	Csi__V1__CreateVolumeRequest__ParametersEntry *parameters[] = { &entry };
	Csi__V1__CapacityRange range = CSI__V1__CAPACITY_RANGE__INIT;
	cleat_autopb ProtobufCMessage *answer = NULL;
	struct wish w;
	Csi__V1__VolumeCapability *capabilities[] = { wish_make(&w) };

	in.name = text(name);
	in.volume_capabilities = capabilities;
	in.n_volume_capabilities = 1;
	entry.key = text("pool");
	entry.value = text(pool);
	in.parameters = parameters;
	in.n_parameters = pool[0] != '\0';
	range.required_bytes = (int64_t)bytes;
	in.capacity_range = bytes ? &range : NULL;
	if (call(c, CONTROLLER, "CreateVolume", &in.base, &answer, err))
		return err->code;
	const Csi__V1__CreateVolumeResponse *out = (const Csi__V1__CreateVolumeResponse *)answer;
	if (!out->volume || strlen(out->volume->volume_id) > CLEAT_ID_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INTERNAL, "CreateVolume answered without a usable volume");
	snprintf(id_out, CLEAT_ID_MAX_BYTES + 1, "%s", out->volume->volume_id);
	return CLEAT_OK;
}

enum cleat_code bench_csi_delete(struct cleat_rpc_client *c, const char *id, struct cleat_error *err)
{
	Csi__V1__DeleteVolumeRequest in = CSI__V1__DELETE_VOLUME_REQUEST__INIT;

	in.volume_id = text(id);
	return call(c, CONTROLLER, "DeleteVolume", &in.base, NULL, err);
}

enum cleat_code bench_csi_stage(struct cleat_rpc_client *c, const char *id, const char *staging,
				struct cleat_error *err)
{
	Csi__V1__NodeStageVolumeRequest in = CSI__V1__NODE_STAGE_VOLUME_REQUEST__INIT;
	struct wish w;

	in.volume_id = text(id);
	in.staging_target_path = text(staging);
	in.volume_capability = wish_make(&w);
	return call(c, NODE, "NodeStageVolume", &in.base, NULL, err);
}

enum cleat_code bench_csi_publish(struct cleat_rpc_client *c, const char *id, const char *staging,
				  const char *target, struct cleat_error *err)
{
	Csi__V1__NodePublishVolumeRequest in = CSI__V1__NODE_PUBLISH_VOLUME_REQUEST__INIT;
	struct wish w;

	in.volume_id = text(id);
	in.staging_target_path = text(staging);
	in.target_path = text(target);
	in.volume_capability = wish_make(&w);
	return call(c, NODE, "NodePublishVolume", &in.base, NULL, err);
}

enum cleat_code bench_csi_unpublish(struct cleat_rpc_client *c, const char *id, const char *target,
				    struct cleat_error *err)
{
	Csi__V1__NodeUnpublishVolumeRequest in = CSI__V1__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;

	in.volume_id = text(id);
	in.target_path = text(target);
	return call(c, NODE, "NodeUnpublishVolume", &in.base, NULL, err);
}

enum cleat_code bench_csi_stats(struct cleat_rpc_client *c, const char *id, const char *path,
				struct cleat_error *err)
{
	Csi__V1__NodeGetVolumeStatsRequest in = CSI__V1__NODE_GET_VOLUME_STATS_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *answer = NULL;

	in.volume_id = text(id);
	in.volume_path = text(path);
	if (call(c, NODE, "NodeGetVolumeStats", &in.base, &answer, err))
		return err->code;
	if (((const Csi__V1__NodeGetVolumeStatsResponse *)answer)->n_usage == 0)
		return cleat_error_set(err, CLEAT_INTERNAL, "NodeGetVolumeStats answered without usage");
	return CLEAT_OK;
}

enum cleat_code bench_csi_list(struct cleat_rpc_client *c, unsigned most, char token[BENCH_TOKEN_BYTES],
			       size_t *count_out, struct cleat_error *err)
{
	Csi__V1__ListVolumesRequest in = CSI__V1__LIST_VOLUMES_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *answer = NULL;

	in.max_entries = (int32_t)most;
	in.starting_token = token;
	if (call(c, CONTROLLER, "ListVolumes", &in.base, &answer, err))
		return err->code;
	const Csi__V1__ListVolumesResponse *out = (const Csi__V1__ListVolumesResponse *)answer;
	if (strlen(out->next_token) >= BENCH_TOKEN_BYTES)
		return cleat_error_set(err, CLEAT_INTERNAL, "a page token of %zu bytes",
				       strlen(out->next_token));
	memcpy(token, out->next_token, strlen(out->next_token) + 1);
	*count_out = out->n_entries;
	return CLEAT_OK;
}
