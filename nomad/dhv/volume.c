/* volume.c - see volume.h. */
#include "dhv/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "util/text.h"

#define REQUEST_BYTES (512u << 10) /* of the maps of one request */

static enum cleat_code out_of_memory(struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

/* ---- from messages and back ---- */

void dhv_volume_done(struct dhv_volume *v)
{
	cleat_kv_done(&v->params);
}

static const char *label_of(const Cleat__V1__Volume *m, const char *key)
{
	for (size_t i = 0; i < m->n_labels; i++)
		if (strcmp(m->labels[i]->key, key) == 0)
			return m->labels[i]->value;
	return "";
}

static uint64_t bytes_of(const Cleat__V1__Volume *m)
{
	for (size_t i = 0; m->capacity_bytes == 0 && i < m->n_attributes; i++)
		if (strcmp(m->attributes[i]->key, "requested_bytes") == 0)
			return strtoull(m->attributes[i]->value, NULL, 10);
	return m->capacity_bytes;
}

/* scope is the one it is asked for in, which need not be its own. */
static enum cleat_code take(const Cleat__V1__Volume *m, const char *scope, struct dhv_volume *out,
			    struct cleat_error *err)
{
	struct dhv_volume v = { .unfinished = *label_of(m, DHV_LABEL_UNFINISHED),
				.taken = *label_of(m, DHV_LABEL_TAKEN),
				.bytes = bytes_of(m),
				.claim_count = m->claim_count };

	snprintf(v.id, sizeof(v.id), "%s", m->id);
	snprintf(v.pool, sizeof(v.pool), "%s", m->pool);
	snprintf(v.name, sizeof(v.name), "%s", m->name);
	snprintf(v.scope, sizeof(v.scope), "%s", scope); /* before out goes: it may be out's own */
	snprintf(v.fs, sizeof(v.fs), "%s", m->fs);
	snprintf(v.owner, sizeof(v.owner), "%s", label_of(m, DHV_LABEL_VOLUME));
	snprintf(v.node, sizeof(v.node), "%s", label_of(m, DHV_LABEL_NODE));
	for (size_t i = 0; i < m->n_params; i++)
		if (cleat_kv_set(&v.params, m->params[i]->key, m->params[i]->value, err)) {
			dhv_volume_done(&v);
			return err->code;
		}
	dhv_volume_done(out);
	*out = v;
	return CLEAT_OK;
}

static enum cleat_code take_answer(const Cleat__V1__Volume *m, const char *scope, struct dhv_volume *out,
				   struct cleat_error *err)
{
	return m ? take(m, scope, out, err)
		 : cleat_error_set(err, CLEAT_INTERNAL, "the daemon's answer has no volume");
}

/* ---- finding ---- */

enum cleat_code dhv_volume_get(struct dhv_daemon *d, const char *ref, const char *scope,
			       struct dhv_volume *out, struct cleat_error *err)
{
	Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetVolumeResponse *answer = NULL;

	in.volume = cleat_pb_text(ref);
	in.scope = cleat_pb_text(scope);
	if (dhv_daemon_call(d, "GetVolume", &in.base, &answer, err))
		return err->code;
	return take_answer(answer->volume, scope, out, err);
}

/* One page; *next_out (to be freed) is NULL at the end. */
static enum cleat_code find_in_page(struct dhv_daemon *d, Cleat__V1__ListVolumesRequest *in, const char *id,
				    struct dhv_volume *out, char **next_out, struct cleat_error *err)
{
	cleat_autopb Cleat__V1__ListVolumesResponse *page = NULL;

	*next_out = NULL;
	if (dhv_daemon_call(d, "ListVolumes", &in->base, &page, err))
		return err->code;
	for (size_t i = 0; i < page->n_volumes; i++)
		if (strcmp(label_of(page->volumes[i], DHV_LABEL_VOLUME), id) == 0)
			return take(page->volumes[i], page->volumes[i]->scope, out, err);
	if (*page->next_page_token && !(*next_out = strdup(page->next_page_token)))
		return out_of_memory(err);
	return CLEAT_OK;
}

/* out->id stays "" when there is none.  Without a namespace (an agent that deletes what it could not note
 * down) all are looked through. */
enum cleat_code dhv_volume_find_label(struct dhv_daemon *d, const struct dhv_request *r,
				      struct dhv_volume *out, struct cleat_error *err)
{
	Cleat__V1__ListVolumesRequest in = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;
	cleat_autofree char *token = NULL;

	in.scope = cleat_pb_text(r->namespace);
	in.any_scope = !*r->namespace;
	do {
		char *next;

		in.page_token = cleat_pb_text(token);
		if (find_in_page(d, &in, r->id, out, &next, err))
			return err->code;
		free(token);
		token = next;
	} while (!out->id[0] && token);
	if (!out->id[0])
		return cleat_error_set(err, CLEAT_NOT_FOUND, "no volume of Cleat belongs to '%s'", r->id);
	return CLEAT_OK;
}

/* An id begins with the stored name of its pool. */
static bool is_of_pool(const char *id, const Cleat__V1__Pool *p)
{
	const size_t n = strlen(p->stored_name);

	return n && strncmp(id, p->stored_name, n) == 0 && id[n] == '.';
}

/* A volume that is not found may be in a pool that could not be looked into.  id may be NULL. */
static enum cleat_code its_pool_is_seen(struct dhv_daemon *d, const char *id, struct cleat_error *err)
{
	Cleat__V1__ListPoolsRequest in = CLEAT__V1__LIST_POOLS_REQUEST__INIT;
	cleat_autopb Cleat__V1__ListPoolsResponse *list = NULL;
	const Cleat__V1__Pool *unseen = NULL;

	if (dhv_daemon_call(d, "ListPools", &in.base, &list, err))
		return err->code;
	for (size_t i = 0; i < list->n_pools; i++) {
		if (!list->pools[i]->online)
			unseen = list->pools[i];
		else if (id && is_of_pool(id, list->pools[i]))
			return CLEAT_OK;
	}
	return unseen ? cleat_error_set(err, CLEAT_UNAVAILABLE, "pool '%s' is offline: %s", unseen->name,
					unseen->reason)
		      : CLEAT_OK;
}

static enum cleat_code find_once(struct dhv_daemon *d, const struct dhv_request *r, const char *id,
				 const char *scope, struct dhv_volume *out, struct cleat_error *err)
{
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return id ? dhv_volume_get(d, id, scope, out, err) : dhv_volume_find_label(d, r, out, err);
}

enum cleat_code dhv_volume_find(struct dhv_daemon *d, const struct dhv_request *r, const char *id,
				const char *scope, struct dhv_volume *out, struct cleat_error *err)
{
	enum cleat_code code = find_once(d, r, id, scope, out, err);
	struct cleat_error unseen;

	while (code == CLEAT_NOT_FOUND) {
		unseen = (struct cleat_error)CLEAT_ERROR_INIT;
		/* Only an answer after the pool has been seen counts: it may have come just now. */
		if (its_pool_is_seen(d, id, &unseen) == CLEAT_OK)
			return find_once(d, r, id, scope, out, err);
		*err = unseen;
		if (!dhv_daemon_wait(d))
			return err->code;
		code = find_once(d, r, id, scope, out, err);
	}
	return code;
}

enum cleat_code dhv_default_pool(struct dhv_daemon *d, char out[64], struct cleat_error *err)
{
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetInfoResponse *info = NULL;

	if (dhv_daemon_call(d, "GetInfo", &in.base, &info, err))
		return err->code;
	if (!*info->default_pool)
		return cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"parameter 'pool' is missing, and no pool of the daemon is the default one");
	snprintf(out, 64, "%s", info->default_pool);
	return CLEAT_OK;
}

/* ---- changing ---- */

static enum cleat_code labels_of(const struct dhv_request *r, struct cleat_kvs *out, struct cleat_error *err)
{
	if (cleat_kv_set(out, DHV_LABEL_VOLUME, r->id, err) ||
	    (*r->node && cleat_kv_set(out, DHV_LABEL_NODE, r->node, err)))
		return err->code;
	return cleat_kv_set(out, DHV_LABEL_UNFINISHED, "true", err);
}

enum cleat_code dhv_volume_create(struct dhv_daemon *d, const struct dhv_request *r, const struct dhv_wish *w,
				  const char *pool, const char *name, struct dhv_volume *out,
				  bool *already_out, struct cleat_error *err)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__CreateVolumeResponse *answer = NULL;
	cleat_autokvs struct cleat_kvs labels = { 0 };
	struct cleat_pb_arena a;

	in.pool = cleat_pb_text(pool);
	in.name = cleat_pb_text(name);
	in.scope = cleat_pb_text(r->namespace);
	in.capacity_bytes = r->min_bytes;
	in.limit_bytes = r->max_bytes;
	in.source = cleat_pb_text(w->source);
	in.hard_size = w->hard_size;
	cleat_pb_arena_init(&a, REQUEST_BYTES);
	if (labels_of(r, &labels, err) == CLEAT_OK &&
	    cleat_pb_map(&a, &labels, &cleat__v1__create_volume_request__labels_entry__descriptor,
			 &in.n_labels, &in.labels, err) == CLEAT_OK &&
	    cleat_pb_map(&a, &w->params, &cleat__v1__create_volume_request__params_entry__descriptor,
			 &in.n_params, &in.params, err) == CLEAT_OK &&
	    dhv_daemon_call(d, "CreateVolume", &in.base, &answer, err) == CLEAT_OK) {
		*already_out = answer->already;
		(void)!take_answer(answer->volume, r->namespace, out, err);
	}
	cleat_pb_arena_reset(&a);
	return err->code;
}

enum cleat_code dhv_volume_delete(struct dhv_daemon *d, const struct dhv_volume *v, struct cleat_error *err)
{
	Cleat__V1__DeleteVolumeRequest in = CLEAT__V1__DELETE_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__DeleteVolumeResponse *answer = NULL;

	in.volume = cleat_pb_text(v->id);
	in.scope = cleat_pb_text(v->scope);
	return dhv_daemon_call(d, "DeleteVolume", &in.base, &answer, err);
}

enum cleat_code dhv_volume_expand(struct dhv_daemon *d, struct dhv_volume *v, uint64_t min_bytes,
				  uint64_t max_bytes, bool *at_next_stage_out, struct cleat_error *err)
{
	Cleat__V1__ExpandVolumeRequest in = CLEAT__V1__EXPAND_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__ExpandVolumeResponse *answer = NULL;

	in.volume = cleat_pb_text(v->id);
	in.scope = cleat_pb_text(v->scope);
	in.capacity_bytes = min_bytes;
	in.limit_bytes = max_bytes;
	if (dhv_daemon_call(d, "ExpandVolume", &in.base, &answer, err))
		return err->code;
	*at_next_stage_out = answer->grows_at_next_stage;
	return take_answer(answer->volume, v->scope, v, err);
}

enum cleat_code dhv_volume_modify(struct dhv_daemon *d, struct dhv_volume *v, const struct cleat_kvs *params,
				  const struct cleat_kvs *labels, struct cleat_error *err)
{
	Cleat__V1__ModifyVolumeRequest in = CLEAT__V1__MODIFY_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__ModifyVolumeResponse *answer = NULL;
	struct cleat_pb_arena a;

	in.volume = cleat_pb_text(v->id);
	in.scope = cleat_pb_text(v->scope);
	cleat_pb_arena_init(&a, REQUEST_BYTES);
	if (cleat_pb_map(&a, params, &cleat__v1__modify_volume_request__params_entry__descriptor,
			 &in.n_params, &in.params, err) == CLEAT_OK &&
	    cleat_pb_map(&a, labels, &cleat__v1__modify_volume_request__labels_entry__descriptor,
			 &in.n_labels, &in.labels, err) == CLEAT_OK &&
	    dhv_daemon_call(d, "ModifyVolume", &in.base, &answer, err) == CLEAT_OK)
		(void)!take_answer(answer->volume, v->scope, v, err);
	cleat_pb_arena_reset(&a);
	return err->code;
}

/* ---- the standing claim ---- */

static void owner_text(const struct dhv_request *r, char out[512])
{
	snprintf(out, 512, "Nomad's dynamic host volume '%.*s' (namespace %.128s, id %s)",
		 cleat_text_cut(r->name, 160), r->name, r->namespace, r->id);
}

enum cleat_code dhv_volume_publish(struct dhv_daemon *d, const struct dhv_volume *v,
				   const struct dhv_request *r, const struct dhv_wish *w, char **path_out,
				   struct cleat_error *err)
{
	Cleat__V1__PublishVolumeRequest in = CLEAT__V1__PUBLISH_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__PublishVolumeResponse *answer = NULL;
	struct cleat_pb_arena a;
	char owner[512];

	owner_text(r, owner);
	in.volume = cleat_pb_text(v->id);
	in.scope = cleat_pb_text(v->scope);
	in.owner = owner;
	in.mode = (Cleat__V1__AccessMode)w->access_mode;
	in.read_only = w->read_only;
	cleat_pb_arena_init(&a, REQUEST_BYTES);
	if (cleat_pb_map(&a, &w->mount_options,
			 &cleat__v1__publish_volume_request__mount_options_entry__descriptor,
			 &in.n_mount_options, &in.mount_options, err) == CLEAT_OK)
		(void)!dhv_daemon_call(d, "PublishVolume", &in.base, &answer, err);
	cleat_pb_arena_reset(&a);
	if (err->code)
		return err->code;
	if (answer->target[0] != '/')
		return cleat_error_set(err, CLEAT_INTERNAL, "the daemon's answer has no path");
	*path_out = strdup(answer->target);
	return *path_out ? CLEAT_OK : out_of_memory(err);
}

enum cleat_code dhv_volume_unpublish(struct dhv_daemon *d, const struct dhv_volume *v,
				     struct cleat_error *err)
{
	Cleat__V1__UnpublishVolumeRequest in = CLEAT__V1__UNPUBLISH_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__UnpublishVolumeResponse *answer = NULL;

	in.volume = cleat_pb_text(v->id);
	in.scope = cleat_pb_text(v->scope);
	return dhv_daemon_call(d, "UnpublishVolume", &in.base, &answer, err);
}

/* A target that the daemon chose is named after the volume. */
static bool is_standing(const Cleat__V1__Claim *c, const struct dhv_volume *v)
{
	const char *slash = strrchr(c->target, '/');

	return !c->staging && slash && strcmp(slash + 1, v->id) == 0;
}

static enum cleat_code keep(const char *value, char **out, struct cleat_error *err)
{
	if (!out || *out)
		return CLEAT_OK;
	*out = strdup(value);
	return *out ? CLEAT_OK : out_of_memory(err);
}

enum cleat_code dhv_volume_claims(struct dhv_daemon *d, const struct dhv_volume *v, char **path_out,
				  char **others_out, struct cleat_error *err)
{
	Cleat__V1__ListClaimsRequest in = CLEAT__V1__LIST_CLAIMS_REQUEST__INIT;
	cleat_autopb Cleat__V1__ListClaimsResponse *list = NULL;

	in.volume = cleat_pb_text(v->id);
	in.scope = cleat_pb_text(v->scope);
	if (dhv_daemon_call(d, "ListClaims", &in.base, &list, err))
		return err->code;
	for (size_t i = 0; i < list->n_claims; i++) {
		const Cleat__V1__Claim *c = list->claims[i];
		const bool standing = is_standing(c, v);

		if (!standing && c->stale)
			continue;
		if (keep(standing    ? c->target
			 : *c->owner ? c->owner
				     : c->target,
			 standing ? path_out : others_out, err))
			return err->code;
	}
	return CLEAT_OK;
}
