/* events.c - see events.h. */
#include "driver/events.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/streams.h"
#include "util/clock.h"

#define KEPT 64 /* events that wait for the first stream */

struct kept {
	char *task_id, *alloc_id, *task, *message; /* owned */
	int64_t time_ms;
};

struct driver_events {
	struct driver_streams streams;
	pthread_mutex_t lock;	/* before the streams' */
	struct kept kept[KEPT]; /* the oldest first */
	size_t n_kept;
};

struct driver_events *driver_events_new(void)
{
	struct driver_events *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	driver_streams_init(&e->streams);
	pthread_mutex_init(&e->lock, NULL);
	return e;
}

static void kept_done(struct kept *k)
{
	free(k->task_id);
	free(k->alloc_id);
	free(k->task);
	free(k->message);
	*k = (struct kept){ 0 };
}

void driver_events_free(struct driver_events *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n_kept; i++)
		kept_done(&e->kept[i]);
	driver_streams_done(&e->streams);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

/* With no field left out: the host copies all of them. */
static void fill(const struct kept *k, Nomad__DriverTaskEvent *m, Google__Protobuf__Timestamp *when)
{
	nomad__driver_task_event__init(m);
	google__protobuf__timestamp__init(when);
	when->seconds = k->time_ms / 1000;
	when->nanos = (int32_t)(k->time_ms % 1000) * 1000000;
	m->task_id = k->task_id;
	m->alloc_id = k->alloc_id;
	m->task_name = k->task;
	m->message = k->message;
	m->timestamp = when;
}

static void keep(struct driver_events *e, struct kept *k)
{
	if (e->n_kept == KEPT) {
		kept_done(&e->kept[0]);
		memmove(&e->kept[0], &e->kept[1], (KEPT - 1) * sizeof(e->kept[0]));
		e->n_kept--;
	}
	e->kept[e->n_kept++] = *k;
	*k = (struct kept){ 0 };
}

/* With the lock of the events held, by driver_events_attach(). */
static void send_kept(struct cleat_rpc_call *call, void *arg)
{
	struct driver_events *e = arg;

	for (size_t i = 0; i < e->n_kept; i++) {
		Google__Protobuf__Timestamp when;
		Nomad__DriverTaskEvent m;

		fill(&e->kept[i], &m, &when);
		cleat_rpc_call_reply(call, &m.base);
		kept_done(&e->kept[i]);
	}
	e->n_kept = 0;
}

void driver_events_attach(struct driver_events *e, struct cleat_rpc_call *call)
{
	pthread_mutex_lock(&e->lock);
	driver_streams_add(&e->streams, call, send_kept, e);
	pthread_mutex_unlock(&e->lock);
}

void driver_events_stop(struct driver_events *e)
{
	driver_streams_stop(&e->streams);
}

void driver_events_tell(struct driver_events *e, const struct driver_who *who, const char *fmt, ...)
{
	struct cleat_error line = CLEAT_ERROR_INIT; /* makes one clean line of it */
	Google__Protobuf__Timestamp when;
	Nomad__DriverTaskEvent m;
	va_list args;

	va_start(args, fmt);
	cleat_error_vset(&line, CLEAT_UNKNOWN, fmt, args);
	va_end(args);
	struct kept k = { strdup(who->task_id), strdup(who->alloc_id), strdup(who->task), strdup(line.msg),
			  cleat_time_wall_ms() };
	if (k.task_id && k.alloc_id && k.task && k.message) {
		fill(&k, &m, &when);
		pthread_mutex_lock(&e->lock);
		if (driver_streams_send(&e->streams, &m.base) == 0)
			keep(e, &k);
		pthread_mutex_unlock(&e->lock);
	}
	kept_done(&k);
}
