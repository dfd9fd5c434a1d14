/* start.h - starting, finding again and removing a task: container and volumes together. */
#ifndef CLEAT_DRIVER_START_H
#define CLEAT_DRIVER_START_H

#include "driver/driver.h"
#include "nomad/driver.pb-c.h"

/* StartTask: answers the call with a handle, or with an error that says whether trying again may help. */
void driver_start(struct driver *d, const Nomad__StartTaskRequest *in, struct cleat_rpc_call *call);
/* RecoverTask: takes a task over that another process, or this one, has started.  Repeating it is fine. */
void driver_recover(struct driver *d, const Nomad__RecoverTaskRequest *in, struct cleat_rpc_call *call);
/* DestroyTask: kills what runs (with `force`), removes the container and releases its volumes; what cannot be
 * released now is left to the janitor.  No data is deleted. */
void driver_destroy(struct driver *d, const char *id, bool force, struct cleat_rpc_call *call);

/* Takes away a task that nobody looks after: container, then claims, then its record. */
enum cleat_code driver_clean(struct driver *d, State__Task *record, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Fails the call with the host's own detail that the restart policy applies, or not. */
void driver_fail(struct cleat_rpc_call *call, const struct cleat_error *err, bool recoverable);

#endif
