/* events.c - the ring of the last events, and those who listen. */
#include "engine/engine.h"

#include <string.h>

#define KEPT_EVENTS 4096

struct kept {
	struct cleat_event event; /* its texts point into `text` */
	char *text;
};

struct cleat_events_sub {
	struct events *ev;
	struct cleat_events_sub *next;
	cleat_event_fn fn;
	void *arg;
};

struct events {
	pthread_mutex_t lock; /* engine.h: number 3; held while subscribers are called */
	struct kept ring[KEPT_EVENTS];
	uint64_t last; /* number of the newest event; 0: none yet */
	struct cleat_events_sub *subs;
};

struct events *events_new(void)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (ev)
		pthread_mutex_init(&ev->lock, NULL);
	return ev;
}

void events_free(struct events *ev)
{
	if (!ev)
		return;
	for (size_t i = 0; i < KEPT_EVENTS; i++)
		free(ev->ring[i].text);
	pthread_mutex_destroy(&ev->lock);
	free(ev);
}

/* Copies the event and its four texts into one slot; without memory the texts are left out. */
static void keep(struct kept *slot, const struct cleat_event *event)
{
	const char *from[] = { event->pool, event->volume, event->name, event->text };
	const char **to[] = { &slot->event.pool, &slot->event.volume, &slot->event.name, &slot->event.text };
	size_t need = 0;

	for (size_t i = 0; i < CLEAT_COUNT(from); i++)
		need += strlen(from[i] ? from[i] : "") + 1;
	free(slot->text);
	slot->text = malloc(need);
	slot->event = *event;
	char *at = slot->text;
	for (size_t i = 0; i < CLEAT_COUNT(from); i++) {
		*to[i] = "";
		if (!slot->text || !from[i])
			continue;
		size_t n = strlen(from[i]) + 1;
		memcpy(at, from[i], n);
		*to[i] = at;
		at += n;
	}
}

void events_emit(struct cleat_engine *e, const struct cleat_event *event)
{
	struct events *ev = e->events;

	pthread_mutex_lock(&ev->lock);
	struct kept *slot = &ev->ring[++ev->last % KEPT_EVENTS];
	keep(slot, event);
	slot->event.number = ev->last;
	slot->event.time_ms = cleat_time_wall_ms();
	for (struct cleat_events_sub *sub = ev->subs; sub; sub = sub->next)
		sub->fn(&slot->event, sub->arg);
	pthread_mutex_unlock(&ev->lock);
}

void emit_volume(struct cleat_engine *e, enum cleat_event_kind kind, const struct pool *p, const char *id, const char *name,
		 const char *text)
{
	const struct cleat_event event = { .kind = kind,
					   .pool = p ? p->name : "",
					   .volume = id,
					   .name = name,
					   .text = text };

	events_emit(e, &event);
}

enum cleat_code cleat_events_subscribe(struct cleat_engine *e, const char *epoch, uint64_t after, cleat_event_fn fn, void *arg,
				       struct cleat_events_sub **out, struct cleat_error *err)
{
	struct events *ev = e->events;

	if (epoch && *epoch && strcmp(epoch, e->epoch) != 0)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE, "epoch '%s' is over: list again and watch from epoch '%s'", epoch,
				       e->epoch);
	if (after && (!epoch || !*epoch))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "an event number needs the epoch it belongs to");
	struct cleat_events_sub *sub = calloc(1, sizeof(*sub));
	if (!sub)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	*sub = (struct cleat_events_sub){ ev, NULL, fn, arg };
	pthread_mutex_lock(&ev->lock);
	bool known = after <= ev->last && (after == 0 || ev->last - after <= KEPT_EVENTS);
	if (known) {
		for (uint64_t n = after ? after + 1 : ev->last + 1; n <= ev->last; n++)
			fn(&ev->ring[n % KEPT_EVENTS].event, arg);
		sub->next = ev->subs;
		ev->subs = sub;
	}
	uint64_t last = ev->last;
	pthread_mutex_unlock(&ev->lock);
	if (!known) {
		free(sub);
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE,
				       "events after number %llu are not kept (newest is %llu): list again",
				       (unsigned long long)after, (unsigned long long)last);
	}
	*out = sub;
	return CLEAT_OK;
}

void cleat_events_unsubscribe(struct cleat_events_sub *sub)
{
	if (!sub)
		return;
	pthread_mutex_lock(&sub->ev->lock);
	struct cleat_events_sub **at = &sub->ev->subs;
	while (*at != sub)
		at = &(*at)->next;
	*at = sub->next;
	pthread_mutex_unlock(&sub->ev->lock);
	free(sub);
}

uint64_t cleat_events_last(struct cleat_engine *e)
{
	pthread_mutex_lock(&e->events->lock);
	uint64_t last = e->events->last;
	pthread_mutex_unlock(&e->events->lock);
	return last;
}
