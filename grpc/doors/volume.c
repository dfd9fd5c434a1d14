/* volume.c - see volume.h. */
#include "doors/volume.h"

#include "util/clock.h"
#include "util/mem.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define PAGE 500
#define AGAIN_MS 200	       /* between two tries */
#define ARENA_BYTES (1u << 20) /* for the pairs of one request */

/* ---- where a volume is ---- */

static enum cleat_code put_pool(const char *from, char pool[CLEAT_DOOR_POOL_BYTES], struct cleat_error *err)
{
	if (!*from)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "no pool is the default one");
	if (strlen(from) >= CLEAT_DOOR_POOL_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%.100s' is no name of a pool", from);
	snprintf(pool, CLEAT_DOOR_POOL_BYTES, "%s", from);
	return CLEAT_OK;
}

/* The pool called `wanted` if there is one, else the default pool. */
static enum cleat_code pool_or_default(struct cleat_door *d, const char *wanted,
				       char pool[CLEAT_DOOR_POOL_BYTES], struct cleat_error *err)
{
	Cleat__V1__ListPoolsRequest in = CLEAT__V1__LIST_POOLS_REQUEST__INIT;
	cleat_autopb Cleat__V1__ListPoolsResponse *out = NULL;
	const char *found = "";

	if (cleat_door_call(d, "ListPools", &in.base, &out, err))
		return err->code;
	for (size_t i = 0; i < out->n_pools; i++) {
		const Cleat__V1__Pool *p = out->pools[i];

		if (strcmp(p->name, wanted) == 0)
			return put_pool(p->name, pool, err);
		if (p->is_default)
			found = p->name;
	}
	return put_pool(found, pool, err);
}

enum cleat_code cleat_door_pool_of(struct cleat_door *d, const struct cleat_door_driver *entry,
				   const char *driver, char pool[CLEAT_DOOR_POOL_BYTES],
				   struct cleat_error *err)
{
	return entry->pool ? put_pool(entry->pool, pool, err) : pool_or_default(d, driver, pool, err);
}

static enum cleat_code put_name(struct cleat_door_place *out, const char *name, struct cleat_error *err)
{
	if (!*name)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the volume has no name");
	if (strlen(name) >= sizeof(out->name) || strchr(name, '/'))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%.150s' is no name of a volume", name);
	snprintf(out->name, sizeof(out->name), "%s", name);
	snprintf(out->ref, sizeof(out->ref), "%s/%s", out->pool, out->name);
	return CLEAT_OK;
}

enum cleat_code cleat_door_place_by_driver(struct cleat_door *d, const struct cleat_door_driver *entry,
					   const char *driver, const char *name, struct cleat_door_place *out,
					   struct cleat_error *err)
{
	if (cleat_door_pool_of(d, entry, driver, out->pool, err))
		return err->code;
	return put_name(out, name, err);
}

enum cleat_code cleat_door_place_by_pool(struct cleat_door *d, const char *pool, const char *name,
					 struct cleat_door_place *out, struct cleat_error *err)
{
	enum cleat_code code =
		pool && *pool ? put_pool(pool, out->pool, err) : pool_or_default(d, "", out->pool, err);

	return code ? code : put_name(out, name, err);
}

/* ---- found or made ---- */

static enum cleat_code put_id(const Cleat__V1__Volume *v, char id[CLEAT_DOOR_ID_BYTES],
			      struct cleat_error *err)
{
	if (!v || !*v->id || strlen(v->id) >= CLEAT_DOOR_ID_BYTES)
		return cleat_error_set(err, CLEAT_INTERNAL, "the daemon's answer has no id");
	snprintf(id, CLEAT_DOOR_ID_BYTES, "%s", v->id);
	return CLEAT_OK;
}

enum cleat_code cleat_door_find(struct cleat_door *d, const struct cleat_door_place *place, const char *scope,
				char id[CLEAT_DOOR_ID_BYTES], struct cleat_error *err)
{
	Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetVolumeResponse *out = NULL;

	in.volume = cleat_pb_text(place->ref);
	in.scope = cleat_pb_text(scope);
	if (cleat_door_call(d, "GetVolume", &in.base, &out, err))
		return err->code;
	return put_id(out->volume, id, err);
}

/* A source without a pool is one of the volume's own pool, as it is for other drivers. */
static char *source_ref(struct cleat_pb_arena *a, const struct cleat_door_place *place, const char *source)
{
	size_t bytes = sizeof(place->pool) + (source ? strlen(source) : 0) + 2;
	char *ref;

	if (!source || strpbrk(source, "/."))
		return cleat_pb_text(source);
	if ((ref = cleat_pb_arena_get(a, bytes)))
		snprintf(ref, bytes, "%s/%s", place->pool, source);
	return ref;
}

static enum cleat_code create(struct cleat_door *d, struct cleat_pb_arena *a,
			      const struct cleat_door_place *place, const char *scope,
			      const struct cleat_door_options *o, char id[CLEAT_DOOR_ID_BYTES],
			      struct cleat_error *err)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__CreateVolumeResponse *out = NULL;

	in.pool = cleat_pb_text(place->pool);
	in.name = cleat_pb_text(place->name);
	in.scope = cleat_pb_text(scope);
	in.capacity_bytes = o->size_bytes;
	if (!(in.source = source_ref(a, place, o->source)))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (cleat_pb_map(a, &o->params, &cleat__v1__create_volume_request__params_entry__descriptor,
			 &in.n_params, &in.params, err) ||
	    cleat_door_call(d, "CreateVolume", &in.base, &out, err))
		return err->code;
	return put_id(out->volume, id, err);
}

enum cleat_code cleat_door_ensure(struct cleat_door *d, const struct cleat_door_place *place,
				  const char *scope, const struct cleat_door_options *o,
				  char id[CLEAT_DOOR_ID_BYTES], struct cleat_error *err)
{
	struct cleat_error look = CLEAT_ERROR_INIT;
	struct cleat_pb_arena a;

	if (cleat_door_find(d, place, scope, id, &look) != CLEAT_NOT_FOUND) {
		if (look.code)
			*err = look;
		return look.code;
	}
	cleat_pb_arena_init(&a, ARENA_BYTES);
	create(d, &a, place, scope, o, id, err);
	cleat_pb_arena_reset(&a);
	if (err->code != CLEAT_ALREADY_EXISTS)
		return err->code;
	/* Somebody else has just made it, otherwise: it exists now. */
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return cleat_door_find(d, place, scope, id, err);
}

/* ---- made visible, and released ---- */

/* Whether the word is what the value's name, ACCESS_MODE_SINGLE_NODE_WRITER, says in short. */
static bool is_mode(const char *word, const char *value)
{
	const char *rest = value + strlen("ACCESS_MODE_");

	for (; *word && *rest; word++, rest++)
		if (*word != (*rest == '_' ? '-' : (char)tolower((unsigned char)*rest)))
			return false;
	return !*word && !*rest;
}

enum cleat_code cleat_door_mode_parse(const char *word, int *mode_out, bool *read_only_out,
				      struct cleat_error *err)
{
	const ProtobufCEnumDescriptor *e = &cleat__v1__access_mode__descriptor;

	*mode_out = 0;
	*read_only_out = strcmp(word, "ro") == 0;
	if (*read_only_out || strcmp(word, "rw") == 0)
		return CLEAT_OK;
	for (unsigned i = 0; i < e->n_values; i++) {
		if (e->values[i].value == 0 || !is_mode(word, e->values[i].name))
			continue;
		*mode_out = e->values[i].value;
		*read_only_out = strstr(word, "reader-only") != NULL;
		return CLEAT_OK;
	}
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
			       "'%.60s' is neither rw nor ro nor an access mode like multi-node-multi-writer",
			       word);
}

enum cleat_code cleat_door_publish(struct cleat_door *d, const struct cleat_door_publish *p, char *path,
				   struct cleat_error *err)
{
	Cleat__V1__PublishVolumeRequest in = CLEAT__V1__PUBLISH_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__PublishVolumeResponse *out = NULL;

	in.volume = cleat_pb_text(p->volume);
	in.scope = cleat_pb_text(p->scope);
	in.target = cleat_pb_text(p->target);
	in.owner = cleat_pb_text(p->owner);
	in.mode = (Cleat__V1__AccessMode)p->mode;
	in.read_only = p->read_only;
	in.witness_pid = p->witness_pid;
	if (cleat_door_call(d, "PublishVolume", &in.base, &out, err))
		return err->code;
	if (strlen(out->target) >= CLEAT_DOOR_PATH_BYTES)
		return cleat_error_set(err, CLEAT_INTERNAL, "the daemon's answer has no possible path");
	if (path)
		snprintf(path, CLEAT_DOOR_PATH_BYTES, "%s", out->target);
	return CLEAT_OK;
}

/* Whether the error may be over in a moment: another operation on the volume, or a mount that a process which
 * is just ending still uses. */
static bool may_pass(const struct cleat_door *d, enum cleat_code code, int64_t busy_until_ms)
{
	if (cleat_door_left_ms(d) <= AGAIN_MS)
		return false;
	return code == CLEAT_ABORTED ||
	       (code == CLEAT_FAILED_PRECONDITION && cleat_time_mono_ms() < busy_until_ms);
}

enum cleat_code cleat_door_unpublish(struct cleat_door *d, const char *volume, const char *target,
				     int64_t busy_ms, struct cleat_error *err)
{
	Cleat__V1__UnpublishVolumeRequest in = CLEAT__V1__UNPUBLISH_VOLUME_REQUEST__INIT;
	const int64_t busy_until_ms = cleat_time_mono_ms() + busy_ms;
	struct cleat_error own;

	in.volume = cleat_pb_text(volume);
	in.target = cleat_pb_text(target);
	for (;;) {
		cleat_autopb Cleat__V1__UnpublishVolumeResponse *out = NULL;

		own = (struct cleat_error)CLEAT_ERROR_INIT;
		if (cleat_door_call(d, "UnpublishVolume", &in.base, &out, &own) == CLEAT_OK ||
		    own.code == CLEAT_NOT_FOUND)
			return CLEAT_OK;
		if (!may_pass(d, own.code, busy_until_ms))
			break;
		poll(NULL, 0, AGAIN_MS);
	}
	*err = own;
	return err->code;
}

/* ---- lists ---- */

/* The token of the page before, kept while the next page is asked for. */
static enum cleat_code keep_token(const char *token, char **kept, struct cleat_error *err)
{
	free(*kept);
	*kept = strdup(token);
	return *kept ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

enum cleat_code cleat_door_claims(struct cleat_door *d, const char *volume, cleat_door_claim_fn fn, void *arg,
				  struct cleat_error *err)
{
	Cleat__V1__ListClaimsRequest in = CLEAT__V1__LIST_CLAIMS_REQUEST__INIT;
	cleat_autofree char *token = NULL;

	in.volume = cleat_pb_text(volume);
	in.page_size = PAGE;
	do {
		cleat_autopb Cleat__V1__ListClaimsResponse *out = NULL;

		if (cleat_door_call(d, "ListClaims", &in.base, &out, err) ||
		    keep_token(out->next_page_token, &token, err))
			return err->code;
		for (size_t i = 0; i < out->n_claims; i++)
			if (!out->claims[i]->staging && !fn(out->claims[i], arg))
				return CLEAT_OK;
		in.page_token = token;
	} while (*token);
	return CLEAT_OK;
}

enum cleat_code cleat_door_volumes(struct cleat_door *d, const char *pool, const char *scope,
				   cleat_door_volume_fn fn, void *arg, struct cleat_error *err)
{
	Cleat__V1__ListVolumesRequest in = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;
	cleat_autofree char *token = NULL;

	in.pool = cleat_pb_text(pool);
	in.scope = cleat_pb_text(scope);
	in.page_size = PAGE;
	do {
		cleat_autopb Cleat__V1__ListVolumesResponse *out = NULL;

		if (cleat_door_call(d, "ListVolumes", &in.base, &out, err) ||
		    keep_token(out->next_page_token, &token, err))
			return err->code;
		for (size_t i = 0; i < out->n_volumes; i++)
			if (!fn(out->volumes[i], arg))
				return CLEAT_OK;
		in.page_token = token;
	} while (*token);
	return CLEAT_OK;
}
