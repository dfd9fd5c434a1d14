/* fingerprint.c - see fingerprint.h. */
#include "driver/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/attributes.h"
#include "driver/streams.h"
#include "driver/thread.h"
#include "rt/pb.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

#define REFRESH_MS 30000     /* the host expects to hear something about this often */
#define DOWN_REFRESH_MS 1000 /* while the daemon does not answer */
#define EARLY_LOOKS 10 /* so many times after DOWN_REFRESH_MS while a pool's free space is not known yet */
#define CALM_MS 500    /* many events make one look */
#define ANSWER_MS 5000 /* a daemon that takes longer is not healthy */
#define PAGE 500

struct driver_fingerprint {
	struct driver_streams streams;
	struct driver_daemon *daemon; /* NULL: none, or not started */
	const struct run_env *run;
	pthread_mutex_t lock; /* for what follows; before the streams' */
	pthread_cond_t changed;
	bool started, watching, dirty, stopping;
	pthread_t asker, watcher;
	unsigned char *packed; /* the last message; owned */
	size_t n_packed;
	bool was_healthy; /* for the log */
	/* Of the asking thread alone: */
	struct driver_attributes attributes;
	unsigned early; /* looks in a row that found a pool whose space was not known */
	char text[CLEAT_ERROR_TEXT_BYTES];
};

/* ---- looking ---- */

/* A daemon that has just started measures its pools after it has said that they are there. */
static bool all_known(const Cleat__V1__ListPoolsResponse *pools)
{
	for (size_t i = 0; i < pools->n_pools; i++)
		if (pools->pools[i]->online &&
		    (!pools->pools[i]->space || !pools->pools[i]->space->total_bytes))
			return false;
	return true;
}

static enum cleat_code ask_pools(struct driver_fingerprint *f, struct cleat_error *err)
{
	Cleat__V1__GetInfoRequest info_in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	Cleat__V1__ListPoolsRequest in = CLEAT__V1__LIST_POOLS_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetInfoResponse *info = NULL;
	cleat_autopb Cleat__V1__ListPoolsResponse *out = NULL;

	if (driver_daemon_call(f->daemon, "GetInfo", &info_in.base, ANSWER_MS, false, &info, err) ||
	    driver_daemon_call(f->daemon, "ListPools", &in.base, ANSWER_MS, false, &out, err))
		return err->code;
	driver_attribute_set(&f->attributes, "driver.cleat.daemon.version", info->version);
	driver_attributes_pools(&f->attributes, out->pools, out->n_pools);
	f->early = all_known(out) ? 0 : f->early + 1;
	return CLEAT_OK;
}

/* A list that changes under the pages is asked for anew at the next event. */
static enum cleat_code ask_volumes(struct driver_fingerprint *f, struct cleat_error *err)
{
	cleat_autofree char *token = strdup("");

	while (token && !f->attributes.full) {
		Cleat__V1__ListVolumesRequest in = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;
		cleat_autopb Cleat__V1__ListVolumesResponse *out = NULL;

		in.any_scope = true;
		in.page_size = PAGE;
		in.page_token = token;
		if (driver_daemon_call(f->daemon, "ListVolumes", &in.base, ANSWER_MS, false, &out, err))
			return err->code;
		driver_attributes_volumes(&f->attributes, out->volumes, out->n_volumes);
		free(token);
		token = *out->next_page_token ? strdup(out->next_page_token) : NULL;
	}
	return CLEAT_OK;
}

/* The state of things as attributes, and the health that follows from it. */
static Nomad__FingerprintResponse__HealthState look(struct driver_fingerprint *f)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	driver_attributes_begin(&f->attributes);
	driver_attribute_set(&f->attributes, "driver.cleat.version", CLEAT_VERSION);
	driver_attribute_set(&f->attributes, "driver.cleat.daemon.healthy", "false");
	if (run_check(f->run, &err)) {
		snprintf(f->text, sizeof(f->text), "%s", err.msg);
		return NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__UNDETECTED;
	}
	if (f->daemon && (ask_pools(f, &err) || ask_volumes(f, &err))) {
		driver_attributes_keep(&f->attributes);
		driver_attribute_set(&f->attributes, "driver.cleat.daemon.healthy", "false");
		snprintf(f->text, sizeof(f->text), "%s", err.msg);
		return NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__UNHEALTHY;
	}
	if (f->daemon)
		driver_attribute_set(&f->attributes, "driver.cleat.daemon.healthy", "true");
	if (f->attributes.full)
		driver_attribute_set(&f->attributes, "driver.cleat.volumes_complete", "false");
	snprintf(f->text, sizeof(f->text), "Healthy");
	return NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__HEALTHY;
}

/* ---- telling ---- */

static void send_packed(struct driver_fingerprint *f, struct cleat_rpc_call *call)
{
	ProtobufCMessage *m = protobuf_c_message_unpack(&nomad__fingerprint_response__descriptor, NULL,
							f->n_packed, f->packed);

	if (!m)
		return;
	if (call)
		cleat_rpc_call_reply(call, m);
	else
		driver_streams_send(&f->streams, m);
	protobuf_c_message_free_unpacked(m, NULL);
}

/* Sends when something has changed, or when it is time to be heard again.  With the lock held. */
static void tell(struct driver_fingerprint *f, unsigned char *bytes, size_t n, bool always)
{
	bool same = f->packed && n == f->n_packed && memcmp(bytes, f->packed, n) == 0;

	if (same) {
		free(bytes);
	} else {
		free(f->packed);
		f->packed = bytes;
		f->n_packed = n;
	}
	if (!same || always)
		send_packed(f, NULL);
}

static void log_change(struct driver_fingerprint *f, bool healthy)
{
	if (healthy != f->was_healthy)
		cleat_log_kv(healthy ? CLEAT_LOG_INFO : CLEAT_LOG_WARN,
			     healthy ? "the driver is healthy" : "the driver is not healthy", "reason",
			     healthy ? NULL : f->text);
	f->was_healthy = healthy;
}

static bool look_and_tell(struct driver_fingerprint *f, bool always)
{
	Nomad__FingerprintResponse__HealthState health = look(f);
	bool healthy = health == NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__HEALTHY;
	size_t n = 0;
	unsigned char *bytes = driver_attributes_pack(&f->attributes, health, f->text, &n);

	log_change(f, healthy);
	if (!bytes)
		return healthy;
	pthread_mutex_lock(&f->lock);
	tell(f, bytes, n, always);
	pthread_mutex_unlock(&f->lock);
	return healthy;
}

/* ---- the threads ---- */

static void *ask(void *arg)
{
	struct driver_fingerprint *f = arg;
	int64_t told_ms = 0;

	pthread_mutex_lock(&f->lock);
	while (!f->stopping) {
		int64_t now = cleat_time_mono_ms();
		bool always = now - told_ms >= REFRESH_MS;

		f->dirty = false;
		pthread_mutex_unlock(&f->lock);
		bool healthy = look_and_tell(f, always);
		if (always)
			told_ms = now;
		pthread_mutex_lock(&f->lock);
		bool soon = f->early > 0 && f->early <= EARLY_LOOKS;
		int64_t next = now + (soon ? DOWN_REFRESH_MS : REFRESH_MS);
		if (!f->stopping)
			driver_cond_wait_ms(&f->changed, &f->lock, healthy ? CALM_MS : DOWN_REFRESH_MS);
		while (healthy && !f->dirty && !f->stopping && cleat_time_mono_ms() < next)
			driver_cond_wait_ms(&f->changed, &f->lock, next - cleat_time_mono_ms());
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static bool set_dirty(struct driver_fingerprint *f)
{
	pthread_mutex_lock(&f->lock);
	bool goes_on = !f->stopping;
	f->dirty = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return goes_on;
}

/* Progress of operations, and who uses what, change nothing that is told. */
static bool on_event(const ProtobufCMessage *message, void *arg)
{
	const Cleat__V1__Event *e = (const Cleat__V1__Event *)message;

	switch (e->kind) {
	case CLEAT__V1__EVENT_KIND__EVENT_KIND_VOLUME_CREATED:
	case CLEAT__V1__EVENT_KIND__EVENT_KIND_VOLUME_DELETED:
	case CLEAT__V1__EVENT_KIND__EVENT_KIND_VOLUME_CHANGED:
	case CLEAT__V1__EVENT_KIND__EVENT_KIND_POOL_ONLINE:
	case CLEAT__V1__EVENT_KIND__EVENT_KIND_POOL_OFFLINE:
	case CLEAT__V1__EVENT_KIND__EVENT_KIND_POOL_LOW:
		return set_dirty(arg);
	default:
		return true;
	}
}

/* The stream's end is the first to tell that the daemon has gone. */
static void *follow(void *arg)
{
	struct driver_fingerprint *f = arg;

	do {
		struct cleat_error err = CLEAT_ERROR_INIT;

		if (driver_daemon_watch(f->daemon, on_event, f, &err))
			cleat_debug("the daemon's events: %s", err.msg);
		if (!set_dirty(f))
			return NULL;
		pthread_mutex_lock(&f->lock);
		if (!f->stopping)
			driver_cond_wait_ms(&f->changed, &f->lock, DOWN_REFRESH_MS);
		pthread_mutex_unlock(&f->lock);
	} while (set_dirty(f));
	return NULL;
}

/* ---- life ---- */

struct driver_fingerprint *driver_fingerprint_new(void)
{
	struct driver_fingerprint *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	driver_streams_init(&f->streams);
	pthread_mutex_init(&f->lock, NULL);
	driver_cond_init(&f->changed);
	f->was_healthy = true; /* so that the first reason not to be is logged */
	f->packed =
		driver_attributes_pack(&f->attributes, NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__UNDETECTED,
				       "not configured yet", &f->n_packed);
	return f;
}

enum cleat_code driver_fingerprint_start(struct driver_fingerprint *f, struct driver_daemon *daemon,
					 const struct run_env *run, struct cleat_error *err)
{
	f->daemon = daemon;
	f->run = run;
	/* Streams that are opened now hear of the first look, which takes milliseconds, and not that nothing
	 * is known. */
	pthread_mutex_lock(&f->lock);
	free(f->packed);
	f->packed = NULL;
	f->n_packed = 0;
	f->started = driver_thread(ask, f, &f->asker, err) == CLEAT_OK;
	f->watching = f->started && daemon && driver_thread(follow, f, &f->watcher, err) == CLEAT_OK;
	pthread_mutex_unlock(&f->lock);
	return err->code;
}

/* With the streams' lock held, inside of ours. */
static void send_first(struct cleat_rpc_call *call, void *arg)
{
	struct driver_fingerprint *f = arg;

	if (f->packed)
		send_packed(f, call);
}

void driver_fingerprint_attach(struct driver_fingerprint *f, struct cleat_rpc_call *call)
{
	pthread_mutex_lock(&f->lock);
	driver_streams_add(&f->streams, call, send_first, f);
	pthread_mutex_unlock(&f->lock);
}

void driver_fingerprint_stop(struct driver_fingerprint *f)
{
	pthread_mutex_lock(&f->lock);
	f->stopping = true;
	pthread_cond_broadcast(&f->changed);
	bool watching = f->watching;
	pthread_mutex_unlock(&f->lock);
	if (watching)
		driver_daemon_cancel(f->daemon);
	driver_streams_stop(&f->streams);
}

void driver_fingerprint_free(struct driver_fingerprint *f)
{
	if (!f)
		return;
	driver_fingerprint_stop(f);
	if (f->started)
		pthread_join(f->asker, NULL);
	if (f->watching)
		pthread_join(f->watcher, NULL);
	driver_attributes_done(&f->attributes);
	driver_streams_done(&f->streams);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->changed);
	free(f->packed);
	free(f);
}
