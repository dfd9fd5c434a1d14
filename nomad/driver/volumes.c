/* volumes.c - see volumes.h. */
#include "driver/volumes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/kv.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/size.h"

#define RELEASE_MS 30000 /* the host waits for it; the janitor tries again */
#define NAME_ROOM (CLEAT_NAME_MAX_BYTES + CLEAT_POOL_NAME_MAX_BYTES + 2)

/* One volume on its way. */
struct work {
	struct driver_volumes *v;
	const struct driver_volumes_task *task;
	struct driver_volume_config *config;
	char pool[CLEAT_POOL_NAME_MAX_BYTES + 1];
	char name[CLEAT_NAME_MAX_BYTES + 1];
	char ref[NAME_ROOM]; /* pool/name */
	bool recoverable;    /* of the error, if there is one */
};

static enum cleat_code out_of_memory(struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code ask(struct work *w, const char *method, const ProtobufCMessage *in,
			   unsigned timeout_ms, void *out, struct cleat_error *err)
{
	enum cleat_code code = driver_daemon_call(w->v->daemon, method, in, timeout_ms, true, out, err);

	w->recoverable = driver_daemon_may_recover(code);
	return code;
}

/* ---- names ---- */

static enum cleat_code find_pool(struct work *w, struct cleat_error *err)
{
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetInfoResponse *info = NULL;
	const char *pool = w->config->pool ? w->config->pool : w->v->default_pool;

	if (!pool) {
		if (ask(w, "GetInfo", &in.base, DRIVER_DAEMON_QUICK_MS, &info, err))
			return err->code;
		pool = info->default_pool;
	}
	if (!*pool)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "pool: none is given, and the daemon has no default pool");
	snprintf(w->pool, sizeof(w->pool), "%s", pool);
	return CLEAT_OK;
}

static enum cleat_code find_names(struct work *w, struct cleat_error *err)
{
	if (find_pool(w, err))
		return err->code;
	int n = w->config->with_allocation
			? snprintf(w->name, sizeof(w->name), "%s-%s", w->config->name, w->task->who.alloc_id)
			: snprintf(w->name, sizeof(w->name), "%s", w->config->name);
	if (n < 0 || (size_t)n >= sizeof(w->name))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "name: '%.64s' with the allocation's id is longer than %d bytes",
				       w->config->name, CLEAT_NAME_MAX_BYTES);
	snprintf(w->ref, sizeof(w->ref), "%s/%s", w->pool, w->name);
	return CLEAT_OK;
}

/* ---- the volume ---- */

/* Labels tell people where a volume came from; nothing is decided by them. */
static enum cleat_code labels_of(const struct work *w, struct cleat_kvs *out, struct cleat_error *err)
{
	if (cleat_kv_set(out, "nomad.job", w->task->job, err) ||
	    cleat_kv_set(out, "nomad.group", w->task->group, err) ||
	    cleat_kv_set(out, "nomad.task", w->task->who.task, err) ||
	    cleat_kv_set(out, "nomad.alloc", w->task->who.alloc_id, err) ||
	    cleat_kv_set(out, "nomad.node", w->task->node, err))
		return err->code;
	return w->config->with_allocation ? cleat_kv_set(out, "nomad.lifetime", "allocation", err) : CLEAT_OK;
}

static enum cleat_code params_of(const struct work *w, struct cleat_kvs *out, struct cleat_error *err)
{
	if (cleat_kv_copy(&w->config->options, out, err))
		return err->code;
	return w->config->fs ? cleat_kv_set(out, "fs", w->config->fs, err) : CLEAT_OK;
}

static enum cleat_code fill_create(struct work *w, struct cleat_pb_arena *a, const struct cleat_kvs *params,
				   const struct cleat_kvs *labels, Cleat__V1__CreateVolumeRequest *in,
				   struct cleat_error *err)
{
	if (cleat_pb_map(a, params, &cleat__v1__create_volume_request__params_entry__descriptor,
			 &in->n_params, &in->params, err) ||
	    cleat_pb_map(a, labels, &cleat__v1__create_volume_request__labels_entry__descriptor,
			 &in->n_labels, &in->labels, err))
		return err->code;
	in->pool = w->pool;
	in->name = w->name;
	in->scope = cleat_pb_text(w->task->scope);
	in->capacity_bytes = w->config->size_bytes;
	return CLEAT_OK;
}

static enum cleat_code create(struct work *w, struct cleat_error *err)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__CreateVolumeResponse *out = NULL;
	cleat_autokvs struct cleat_kvs params = { 0 };
	cleat_autokvs struct cleat_kvs labels = { 0 };
	char size[CLEAT_SIZE_TEXT_BYTES];
	struct cleat_pb_arena a;

	cleat_pb_arena_init(&a, 64 * 1024);
	if (params_of(w, &params, err) == CLEAT_OK && labels_of(w, &labels, err) == CLEAT_OK &&
	    fill_create(w, &a, &params, &labels, &in, err) == CLEAT_OK &&
	    ask(w, "CreateVolume", &in.base, DRIVER_DAEMON_LONG_MS, &out, err) == CLEAT_OK && !out->already &&
	    out->volume)
		driver_events_tell(w->v->events, &w->task->who, "Volume '%s' created%s%s", w->ref,
				   out->volume->capacity_bytes ? ", " : "",
				   out->volume->capacity_bytes
					   ? cleat_size_format(out->volume->capacity_bytes, size)
					   : "");
	cleat_pb_arena_reset(&a);
	return err->code;
}

static enum cleat_code grow(struct work *w, const Cleat__V1__Volume *is, struct cleat_error *err)
{
	Cleat__V1__ExpandVolumeRequest in = CLEAT__V1__EXPAND_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__ExpandVolumeResponse *out = NULL;
	char before[CLEAT_SIZE_TEXT_BYTES], after[CLEAT_SIZE_TEXT_BYTES];

	in.volume = w->ref;
	in.scope = cleat_pb_text(w->task->scope);
	in.capacity_bytes = w->config->size_bytes;
	if (ask(w, "ExpandVolume", &in.base, DRIVER_DAEMON_LONG_MS, &out, err))
		return err->code;
	driver_events_tell(
		w->v->events, &w->task->who, "Volume '%s' grown from %s to %s", w->ref,
		cleat_size_format(is->capacity_bytes, before),
		cleat_size_format(out->volume ? out->volume->capacity_bytes : in.capacity_bytes, after));
	return CLEAT_OK;
}

/* A volume that exists is taken as it is, but for its size, which may grow. */
static enum cleat_code fit(struct work *w, const Cleat__V1__Volume *is, struct cleat_error *err)
{
	if (w->config->fs && *is->fs && strcmp(w->config->fs, is->fs) != 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "fs: the volume exists and has '%s', the job says '%s'", is->fs,
				       w->config->fs);
	if (is->capacity_bytes && w->config->size_bytes > is->capacity_bytes)
		return grow(w, is, err);
	return CLEAT_OK;
}

static enum cleat_code look(struct work *w, Cleat__V1__GetVolumeResponse **out, struct cleat_error *err)
{
	Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;

	in.volume = w->ref;
	in.scope = cleat_pb_text(w->task->scope);
	return ask(w, "GetVolume", &in.base, DRIVER_DAEMON_QUICK_MS, out, err);
}

/* With the daemon's own words: it may be the pool that there is not. */
static enum cleat_code is_missing(const struct work *w, struct cleat_error *err)
{
	const struct cleat_error reason = *err;

	return cleat_error_set(err, CLEAT_NOT_FOUND,
			       "there is no such volume in pool '%s' on node '%s', and create is not set: %s",
			       w->pool, w->task->node, reason.msg[0] ? reason.msg : "not found");
}

static enum cleat_code ensure(struct work *w, struct cleat_error *err)
{
	cleat_autopb Cleat__V1__GetVolumeResponse *is = NULL;
	enum cleat_code code = look(w, &is, err);

	if (code == CLEAT_OK && is->volume)
		return fit(w, is->volume, err);
	if (code && code != CLEAT_NOT_FOUND)
		return code;
	if (!w->config->create && !w->config->with_allocation)
		return is_missing(w, err);
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return create(w, err);
}

/* ---- the claim ---- */

/* Whether somebody else's claim is why the volume cannot be had: then it may be given back. */
static bool held_by_others(struct work *w, const char *target)
{
	Cleat__V1__ListClaimsRequest in = CLEAT__V1__LIST_CLAIMS_REQUEST__INIT;
	cleat_autopb Cleat__V1__ListClaimsResponse *out = NULL;
	bool others = false;

	in.volume = w->ref;
	in.scope = cleat_pb_text(w->task->scope);
	if (driver_daemon_call(w->v->daemon, "ListClaims", &in.base, DRIVER_DAEMON_QUICK_MS, false, &out,
			       NULL))
		return true; /* nothing is known: trying again does no harm */
	for (size_t i = 0; i < out->n_claims; i++)
		others |= strcmp(out->claims[i]->target, target) != 0;
	return others;
}

static enum cleat_code publish(struct work *w, const char *target, struct cleat_error *err)
{
	Cleat__V1__PublishVolumeRequest in = CLEAT__V1__PUBLISH_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__PublishVolumeResponse *out = NULL;
	struct cleat_pb_arena a;
	char owner[512];

	snprintf(owner, sizeof(owner), "alloc %s task %s", w->task->who.alloc_id, w->task->who.task);
	cleat_pb_arena_init(&a, 64 * 1024);
	in.volume = w->ref;
	in.scope = cleat_pb_text(w->task->scope);
	in.target = cleat_pb_text(target);
	in.mode = (Cleat__V1__AccessMode)w->config->mode;
	in.read_only = w->config->read_only;
	in.owner = owner;
	in.witness_cgroup = cleat_pb_text(w->task->witness_cgroup);
	enum cleat_code code =
		cleat_pb_map(&a, &w->config->mount_options,
			     &cleat__v1__publish_volume_request__mount_options_entry__descriptor,
			     &in.n_mount_options, &in.mount_options, err);
	if (code == CLEAT_OK)
		code = ask(w, "PublishVolume", &in.base, DRIVER_DAEMON_LONG_MS, &out, err);
	cleat_pb_arena_reset(&a);
	if (code == CLEAT_FAILED_PRECONDITION)
		w->recoverable = held_by_others(w, target);
	if (code == CLEAT_OK)
		driver_events_tell(w->v->events, &w->task->who, "Volume '%s' mounted at '%s'%s", w->ref,
				   w->config->destination, w->config->read_only ? " read-only" : "");
	return code;
}

/* ---- what is noted before it is done ---- */

static enum cleat_code add_volume(State__Volume ***list, size_t *n, const char *ref, const char *scope,
				  const char *target, struct cleat_error *err)
{
	State__Volume **grown = realloc(*list, (*n + 1) * sizeof(**list));
	State__Volume *item = malloc(sizeof(*item));

	if (grown)
		*list = grown;
	if (!grown || !item) {
		free(item);
		return out_of_memory(err);
	}
	state__volume__init(item);
	grown[(*n)++] = item;
	item->volume = strdup(ref);
	item->scope = strdup(scope);
	item->target = strdup(target);
	return item->volume && item->scope && item->target ? CLEAT_OK : out_of_memory(err);
}

static enum cleat_code new_alloc(const struct driver_volumes_task *task, State__Allocation **out,
				 struct cleat_error *err)
{
	State__Allocation *a = malloc(sizeof(*a));

	if (!a)
		return out_of_memory(err);
	state__allocation__init(a);
	a->format = DRIVER_STATE_FORMAT;
	a->id = strdup(task->who.alloc_id);
	a->dir = strdup(task->alloc_dir);
	a->root_inode = driver_state_root_inode(task->alloc_dir);
	*out = a;
	return a->id && a->dir ? CLEAT_OK : out_of_memory(err);
}

static bool has_volume(const State__Allocation *a, const char *ref)
{
	for (size_t i = 0; i < a->n_volumes; i++)
		if (strcmp(a->volumes[i]->volume, ref) == 0)
			return true;
	return false;
}

/* Notes that the volume goes with its allocation, before it is created. */
static enum cleat_code note_alloc(struct work *w, struct cleat_error *err)
{
	cleat_autopb State__Allocation *a = NULL;

	enum cleat_code code = driver_state_load_alloc(w->v->state, w->task->who.alloc_id, &a, err);
	if (code == CLEAT_NOT_FOUND) {
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
		code = new_alloc(w->task, &a, err);
	}
	if (code || has_volume(a, w->ref))
		return code;
	if (add_volume(&a->volumes, &a->n_volumes, w->ref, w->task->scope, "", err))
		return err->code;
	return driver_state_save_alloc(w->v->state, a, err);
}

static enum cleat_code note(struct work *w, State__Task *record, unsigned index, struct cleat_error *err)
{
	cleat_autofree char *target = NULL;

	if (driver_state_make_target(w->v->state, record->container, index, &target, err) ||
	    add_volume(&record->volumes, &record->n_volumes, w->ref, w->task->scope, target, err) ||
	    driver_state_save_task(w->v->state, record, err))
		return err->code;
	if (!w->config->with_allocation)
		return CLEAT_OK;
	pthread_mutex_lock(&w->v->alloc_lock);
	enum cleat_code code = note_alloc(w, err);
	pthread_mutex_unlock(&w->v->alloc_lock);
	return code;
}

/* ---- all of them ---- */

static enum cleat_code prepare_one(struct work *w, State__Task *record, unsigned index,
				   struct cleat_error *err)
{
	if (find_names(w, err) || note(w, record, index, err) || ensure(w, err) ||
	    publish(w, record->volumes[index]->target, err))
		return err->code;
	record->volumes[index]->mounted = true;
	return CLEAT_OK;
}

enum cleat_code driver_volumes_prepare(struct driver_volumes *v, const struct driver_volumes_task *task,
				       struct driver_job_config *job, State__Task *record,
				       bool *recoverable_out, struct cleat_error *err)
{
	for (size_t i = 0; i < job->volumes.count; i++) {
		struct work w = { .v = v, .task = task, .config = driver_job_volume(job, i) };

		if (prepare_one(&w, record, (unsigned)i, err)) {
			*recoverable_out = w.recoverable;
			return cleat_error_wrap(err, "volume '%s'", w.ref[0] ? w.ref : w.config->name);
		}
	}
	return CLEAT_OK;
}

static enum cleat_code release_one(struct driver_volumes *v, const struct driver_who *who,
				   const State__Volume *volume, struct cleat_error *err)
{
	Cleat__V1__UnpublishVolumeRequest in = CLEAT__V1__UNPUBLISH_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__UnpublishVolumeResponse *out = NULL;

	in.volume = volume->volume;
	in.scope = volume->scope;
	in.target = volume->target;
	enum cleat_code code =
		driver_daemon_call(v->daemon, "UnpublishVolume", &in.base, RELEASE_MS, false, &out, err);
	if (code == CLEAT_OK && volume->mounted)
		driver_events_tell(v->events, who, "Volume '%s' released", volume->volume);
	/* Another namespace's volume was noted, but never had. */
	bool nothing = code == CLEAT_NOT_FOUND || (code == CLEAT_PERMISSION_DENIED && !volume->mounted);
	if (!nothing)
		return code;
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return CLEAT_OK;
}

enum cleat_code driver_volumes_release(struct driver_volumes *v, const struct driver_who *who,
				       const State__Task *record, struct cleat_error *err)
{
	struct cleat_error first = CLEAT_ERROR_INIT;

	for (size_t i = record->n_volumes; i-- > 0;) {
		struct cleat_error one = CLEAT_ERROR_INIT;

		if (release_one(v, who, record->volumes[i], &one) == CLEAT_OK || first.code)
			continue;
		cleat_error_wrap(&one, "release volume '%s'", record->volumes[i]->volume);
		first = one;
	}
	if (first.code && err)
		*err = first;
	return first.code;
}

enum cleat_code driver_volumes_delete(struct driver_volumes *v, const State__Allocation *alloc,
				      struct cleat_error *err)
{
	for (size_t i = 0; i < alloc->n_volumes; i++) {
		Cleat__V1__DeleteVolumeRequest in = CLEAT__V1__DELETE_VOLUME_REQUEST__INIT;
		cleat_autopb Cleat__V1__DeleteVolumeResponse *out = NULL;

		in.volume = alloc->volumes[i]->volume;
		in.scope = alloc->volumes[i]->scope;
		if (driver_daemon_call(v->daemon, "DeleteVolume", &in.base, DRIVER_DAEMON_LONG_MS, false,
				       &out, err))
			return cleat_error_wrap(err, "delete volume '%s' of allocation '%s'", in.volume,
						alloc->id);
		if (!out->already)
			cleat_log_kv(CLEAT_LOG_INFO, "volume deleted with its allocation", "volume",
				     in.volume, "alloc", alloc->id);
	}
	return CLEAT_OK;
}
