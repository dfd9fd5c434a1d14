/* events.h - lines about tasks that `nomad alloc status` shows, to every TaskEvents stream that is open. */
#ifndef CLEAT_DRIVER_EVENTS_H
#define CLEAT_DRIVER_EVENTS_H

#include <cleat/error.h>

#include "nomad/driver.pb-c.h"
#include "rt/call.h"

struct driver_events;

/* Whom an event is about; borrowed for the call. */
struct driver_who {
	const char *task_id, *alloc_id, *task;
};

struct driver_events *driver_events_new(void); /* NULL without memory */
void driver_events_free(struct driver_events *e);
/* Takes part in a call of TaskEvents: what happened while no stream was open is sent first (the newest of
 * it). */
void driver_events_attach(struct driver_events *e, struct cleat_rpc_call *call);
/* Ends the streams. */
void driver_events_stop(struct driver_events *e);
void driver_events_tell(struct driver_events *e, const struct driver_who *who, const char *fmt, ...)
	CLEAT_PRINTF(3, 4);

#endif
