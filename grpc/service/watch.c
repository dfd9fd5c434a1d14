/* watch.c - Watch: the engine's events to any number of callers, each with a bounded queue.
 *
 * A watcher ends because its caller left, reads too slowly, or the server stops.  The engine must not be
 * asked to forget a subscriber from within an event, so whoever sees the end only marks it, and one thread,
 * the reaper, does the rest.  A watcher is the data of its call and lives as long as that.
 */
#include "service/internal.h"

#include <stdlib.h>
#include <string.h>

/* The engine keeps 4096 events, which a new watcher may get at once; as many again may come before its caller
 * has read them. */
#ifndef CLEAT_WATCH_MAX_UNREAD /* a test wants to reach it */
#define CLEAT_WATCH_MAX_UNREAD 8192
#endif
#define MAX_WATCHERS 64

struct watcher {
	struct cleat_call_note note; /* first: see calllog.h */
	struct cleat_service *service;
	struct cleat_rpc_call *call;	     /* held until reaped */
	char volume[CLEAT_ID_MAX_BYTES + 1]; /* id; "" for all */
	atomic_bool ended;		     /* set once, with the lock; read without */
	bool subscribed;		     /* with the lock: sub is set */
	struct cleat_events_sub *sub;
	struct watcher *prev, *next; /* in service.watchers */
	struct watcher *next_ended;
};

/* ---- ends ---- */

/* With the lock. */
static void queue_for_reaper(struct watcher *w)
{
	w->next_ended = w->service->ended;
	w->service->ended = w;
	pthread_cond_signal(&w->service->watch_wake);
}

static void mark_ended_locked(struct watcher *w)
{
	if (atomic_exchange(&w->ended, true) || !w->subscribed)
		return; /* not yet subscribed: who does that sees the mark */
	queue_for_reaper(w);
}

static void mark_ended(struct watcher *w)
{
	pthread_mutex_lock(&w->service->watch_lock);
	mark_ended_locked(w);
	pthread_mutex_unlock(&w->service->watch_lock);
}

static void caller_left(struct cleat_rpc_call *call, void *arg)
{
	(void)call;
	mark_ended(arg);
}

static void unlink_watcher(struct watcher *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		w->service->watchers = w->next;
	if (w->next)
		w->next->prev = w->prev;
}

static void reap(struct watcher *w)
{
	cleat_events_unsubscribe(w->sub);
	cleat_rpc_call_fail(w->call, CLEAT_CANCELLED,
			    "the caller left"); /* nothing if it has ended otherwise */
	cleat_rpc_call_drop(w->call);
}

static void *run_reaper(void *arg)
{
	struct cleat_service *s = arg;

	pthread_mutex_lock(&s->watch_lock);
	for (;;) {
		struct watcher *w = s->ended;

		if (w) {
			s->ended = w->next_ended;
			unlink_watcher(w);
			pthread_mutex_unlock(&s->watch_lock);
			reap(w);
			pthread_mutex_lock(&s->watch_lock);
		} else if (s->quit) {
			break;
		} else {
			pthread_cond_wait(&s->watch_wake, &s->watch_lock);
		}
	}
	pthread_mutex_unlock(&s->watch_lock);
	return NULL;
}

/* At the stop of the server: watchers never end by themselves and would use up its grace. */
static void end_all(void *arg)
{
	struct cleat_service *s = arg;

	pthread_mutex_lock(&s->watch_lock);
	s->stopping = true;
	for (struct watcher *w = s->watchers; w; w = w->next) {
		cleat_rpc_call_fail(w->call, CLEAT_UNAVAILABLE, "the daemon is stopping");
		mark_ended_locked(w);
	}
	pthread_mutex_unlock(&s->watch_lock);
}

/* ---- events ---- */

static void on_event(const struct cleat_event *event, void *arg)
{
	struct watcher *w = arg;
	Cleat__V1__Event out;

	if (atomic_load(&w->ended) || (w->volume[0] && strcmp(w->volume, event->volume) != 0))
		return;
	if (cleat_rpc_call_unsent(w->call) >= CLEAT_WATCH_MAX_UNREAD) {
		cleat_rpc_call_fail(w->call, CLEAT_RESOURCE_EXHAUSTED,
				    "the watcher reads too slowly: %d events wait; list again and watch anew",
				    CLEAT_WATCH_MAX_UNREAD);
		mark_ended(w);
		return;
	}
	cleat_wire_event(event, cleat_engine_epoch(w->service->engine), &out);
	if (!cleat_rpc_call_reply(w->call, &out.base))
		mark_ended(w);
}

/* ---- begins ---- */

static void watcher_free(void *data)
{
	struct watcher *w = data;

	atomic_fetch_sub(&w->service->watcher_count, 1);
	free(w);
}

static enum cleat_code resolve(struct cleat_service *s, const Cleat__V1__WatchRequest *in, struct watcher *w,
			       struct cleat_error *err)
{
	struct cleat_volume_state v;

	if (!in->volume[0])
		return CLEAT_OK;
	if (cleat_volume_get(s->engine, in->volume, in->scope, CLEAT_KIND_VOLUME, &v, err))
		return err->code;
	memcpy(w->volume, v.id, sizeof(w->volume));
	cleat_volume_state_done(&v);
	return CLEAT_OK;
}

static enum cleat_code watcher_new(struct cleat_service *s, struct cleat_rpc_call *call, struct watcher **out,
				   struct cleat_error *err)
{
	struct watcher *w;

	if (atomic_fetch_add(&s->watcher_count, 1) >= MAX_WATCHERS) {
		atomic_fetch_sub(&s->watcher_count, 1);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "%d callers watch already",
				       MAX_WATCHERS);
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		atomic_fetch_sub(&s->watcher_count, 1);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for a watcher");
	}
	w->service = s;
	w->call = call;
	cleat_rpc_call_set_data(call, w, watcher_free);
	*out = w;
	return CLEAT_OK;
}

static enum cleat_code link_watcher(struct watcher *w, struct cleat_error *err)
{
	struct cleat_service *s = w->service;
	bool stopping;

	pthread_mutex_lock(&s->watch_lock);
	stopping = s->stopping;
	if (!stopping) {
		cleat_rpc_call_hold(w->call);
		w->next = s->watchers;
		if (w->next)
			w->next->prev = w;
		s->watchers = w;
	}
	pthread_mutex_unlock(&s->watch_lock);
	return stopping ? cleat_error_set(err, CLEAT_UNAVAILABLE, "the daemon is stopping") : CLEAT_OK;
}

/* sub NULL: subscribing failed, and the call has been told so; the reaper lets go of it all the same. */
static void subscribed(struct watcher *w, struct cleat_events_sub *sub)
{
	struct cleat_service *s = w->service;

	pthread_mutex_lock(&s->watch_lock);
	w->sub = sub;
	w->subscribed = true;
	if (!sub)
		atomic_store(&w->ended, true);
	if (atomic_load(&w->ended))
		queue_for_reaper(w);
	pthread_mutex_unlock(&s->watch_lock);
}

void service_on_watch(Cleat__V1__Volumes_Service *base, const Cleat__V1__WatchRequest *in,
		      Cleat__V1__Event_Closure done, void *call)
{
	struct cleat_service *s = service_of(base);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_events_sub *sub = NULL;
	struct watcher *w;

	(void)done;
	if (service_gate(s, call, &in->base, "Watch"))
		return;
	if (watcher_new(s, call, &w, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	cleat_call_note_subject(&w->note, NULL, in->volume);
	if (resolve(s, in, w, &err) || link_watcher(w, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	cleat_rpc_call_on_close(call, caller_left, w);
	if (cleat_events_subscribe(s->engine, in->epoch, in->after, on_event, w, &sub, &err))
		cleat_rpc_call_fail_error(call, &err);
	subscribed(w, sub);
}

/* ---- life ---- */

enum cleat_code service_watch_init(struct cleat_service *s, struct cleat_rpc_server *server,
				   struct cleat_error *err)
{
	pthread_mutex_init(&s->watch_lock, NULL);
	pthread_cond_init(&s->watch_wake, NULL);
	if (cleat_rpc_server_on_stop(server, end_all, s, err) ||
	    cleat_service_thread(&s->reaper, run_reaper, s, err))
		return err->code;
	s->reaping = true;
	return CLEAT_OK;
}

void service_watch_done(struct cleat_service *s)
{
	if (s->reaping) {
		pthread_mutex_lock(&s->watch_lock);
		s->quit = true;
		pthread_cond_signal(&s->watch_wake);
		pthread_mutex_unlock(&s->watch_lock);
		pthread_join(s->reaper, NULL);
	}
	pthread_cond_destroy(&s->watch_wake);
	pthread_mutex_destroy(&s->watch_lock);
}
