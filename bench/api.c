/* api.c - the calls of the native API that the benchmarks make.  See bench.h. */
#include "bench.h"

#include <string.h>

#include "cleat/v1/volumes.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"

#define TIMEOUT_MS 30000

static enum cleat_code call(struct cleat_rpc_client *c, const char *method, const ProtobufCMessage *in,
			    void *out, struct cleat_error *err)
{
	static const struct cleat_rpc_options options = { .timeout_ms = TIMEOUT_MS };

	return cleat_rpc_client_call(c, &cleat__v1__volumes__descriptor, method, in, &options, out, err);
}

/* For calls whose answer says no more than that they are done. */
static enum cleat_code call_plain(struct cleat_rpc_client *c, const char *method, const ProtobufCMessage *in,
				  struct cleat_error *err)
{
	cleat_autopb ProtobufCMessage *out = NULL;

	return call(c, method, in, &out, err);
}

/* protobuf-c's fields for text are older than const; nothing writes to them. */
static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

enum cleat_code bench_client(const char *socket, struct cleat_rpc_client **out, struct cleat_error *err)
{
	char target[BENCH_PATH_BYTES + 64];

	snprintf(target, sizeof(target), "unix:%s", socket);
	return cleat_rpc_client_new(
		&(struct cleat_rpc_client_config){ .target = target, .max_reply_bytes = 64u << 20 }, out,
		err);
}

enum cleat_code bench_health(struct cleat_rpc_client *c, struct cleat_error *err)
{
	static const struct cleat_rpc_options options = { .timeout_ms = TIMEOUT_MS };
	Grpc__Health__V1__HealthCheckRequest in = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;

	return cleat_rpc_client_call(c, &grpc__health__v1__health__descriptor, "Check", &in.base, &options,
				     &out, err);
}

enum cleat_code bench_pools_online(struct cleat_rpc_client *c, bool *online_out, struct cleat_error *err)
{
	Cleat__V1__ListPoolsRequest in = CLEAT__V1__LIST_POOLS_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *answer = NULL;

	if (call(c, "ListPools", &in.base, &answer, err))
		return err->code;
	const Cleat__V1__ListPoolsResponse *out = (const Cleat__V1__ListPoolsResponse *)answer;
	*online_out = out->n_pools > 0;
	for (size_t i = 0; i < out->n_pools; i++)
		*online_out = *online_out && out->pools[i]->online;
	return CLEAT_OK;
}

enum cleat_code bench_create(struct cleat_rpc_client *c, const char *pool, const char *name, uint64_t bytes,
			     char id_out[CLEAT_ID_MAX_BYTES + 1], struct cleat_error *err)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *answer = NULL;

	in.pool = text(pool);
	in.name = text(name);
	in.capacity_bytes = bytes;
	if (call(c, "CreateVolume", &in.base, &answer, err))
		return err->code;
	const Cleat__V1__CreateVolumeResponse *out = (const Cleat__V1__CreateVolumeResponse *)answer;
	if (!out->volume)
		return cleat_error_set(err, CLEAT_INTERNAL, "CreateVolume answered without a volume");
	snprintf(id_out, CLEAT_ID_MAX_BYTES + 1, "%s", out->volume->id);
	return CLEAT_OK;
}

enum cleat_code bench_delete(struct cleat_rpc_client *c, const char *id, struct cleat_error *err)
{
	Cleat__V1__DeleteVolumeRequest in = CLEAT__V1__DELETE_VOLUME_REQUEST__INIT;

	in.volume = text(id);
	return call_plain(c, "DeleteVolume", &in.base, err);
}

enum cleat_code bench_get(struct cleat_rpc_client *c, const char *id, struct cleat_error *err)
{
	Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;

	in.volume = text(id);
	return call_plain(c, "GetVolume", &in.base, err);
}

enum cleat_code bench_stage(struct cleat_rpc_client *c, const char *id, struct cleat_error *err)
{
	Cleat__V1__StageVolumeRequest in = CLEAT__V1__STAGE_VOLUME_REQUEST__INIT;

	in.volume = text(id);
	return call_plain(c, "StageVolume", &in.base, err);
}

enum cleat_code bench_publish(struct cleat_rpc_client *c, const char *id, const char *target,
			      struct cleat_error *err)
{
	Cleat__V1__PublishVolumeRequest in = CLEAT__V1__PUBLISH_VOLUME_REQUEST__INIT;

	in.volume = text(id);
	in.target = text(target);
	in.owner = text("bench");
	return call_plain(c, "PublishVolume", &in.base, err);
}

enum cleat_code bench_unpublish(struct cleat_rpc_client *c, const char *id, const char *target,
				struct cleat_error *err)
{
	Cleat__V1__UnpublishVolumeRequest in = CLEAT__V1__UNPUBLISH_VOLUME_REQUEST__INIT;

	in.volume = text(id);
	in.target = text(target);
	return call_plain(c, "UnpublishVolume", &in.base, err);
}

enum cleat_code bench_list(struct cleat_rpc_client *c, unsigned page, char token[BENCH_TOKEN_BYTES],
			   size_t *count_out, char *first_id_out, struct cleat_error *err)
{
	Cleat__V1__ListVolumesRequest in = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *answer = NULL;

	in.any_scope = true;
	in.page_size = page;
	in.page_token = token;
	if (call(c, "ListVolumes", &in.base, &answer, err))
		return err->code;
	const Cleat__V1__ListVolumesResponse *out = (const Cleat__V1__ListVolumesResponse *)answer;
	if (strlen(out->next_page_token) >= BENCH_TOKEN_BYTES)
		return cleat_error_set(err, CLEAT_INTERNAL, "a page token of %zu bytes",
				       strlen(out->next_page_token));
	memcpy(token, out->next_page_token, strlen(out->next_page_token) + 1);
	*count_out = out->n_volumes;
	if (first_id_out && out->n_volumes)
		snprintf(first_id_out, CLEAT_ID_MAX_BYTES + 1, "%s", out->volumes[0]->id);
	return CLEAT_OK;
}
