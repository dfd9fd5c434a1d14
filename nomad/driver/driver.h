/* driver.h - the driver as a whole: what SetConfig makes, and what the methods of both services share. */
#ifndef CLEAT_DRIVER_DRIVER_H
#define CLEAT_DRIVER_DRIVER_H

#include <stdatomic.h>

#include "driver/events.h"
#include "driver/fingerprint.h"
#include "driver/run.h"
#include "driver/settings.h"
#include "driver/state.h"
#include "driver/stats.h"
#include "driver/tasks.h"
#include "driver/volumes.h"

#define DRIVER_NAME "cleat"

struct driver_janitor;

struct driver {
	/* From the beginning: */
	struct driver_events *events;
	struct driver_fingerprint *fingerprint;
	pthread_mutex_t config_lock;
	atomic_bool ready; /* what follows is there, and constant */
	struct driver_settings settings;
	struct driver_state *state;
	struct driver_daemon *daemon; /* NULL: volumes are switched off */
	struct driver_volumes volumes;
	struct driver_tasks *tasks;
	struct driver_stats *stats;
	struct driver_janitor *janitor;
	struct run_env run;
};

/* Nothing that another process could notice: the agent starts the program several times only to ask it. */
enum cleat_code driver_init(struct driver *d, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Checks the configuration; with `apply` it takes effect, once.  A second time it must be good, and changes
 * nothing. */
enum cleat_code driver_configure(struct driver *d, const uint8_t *bytes, size_t n, bool apply,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Ends every stream and long poll, so that the server can stop.  The threads end with the process. */
void driver_stop(struct driver *d);

/* The code that the host may be told: two that it takes for "the plugin is gone", and starts another one for,
 * are changed. */
enum cleat_code driver_host_code(enum cleat_code code);

/* Fails the call and returns false before SetConfig. */
bool driver_is_ready(struct driver *d, struct cleat_rpc_call *call);

#endif
