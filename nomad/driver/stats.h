/* stats.h - TaskStats: one thread reads the counters of all tasks that somebody wants to know about. */
#ifndef CLEAT_DRIVER_STATS_H
#define CLEAT_DRIVER_STATS_H

#include <cleat/error.h>

#include "driver/tasks.h"

struct driver_stats;

struct driver_stats *driver_stats_new(struct driver_tasks *tasks); /* NULL without memory */
/* Sends the task's counters at once and then each interval, until the task ends or the caller goes. */
void driver_stats_attach(struct driver_stats *s, const char *id, int64_t interval_ms,
			 struct cleat_rpc_call *call);
/* Ends the streams. */
void driver_stats_stop(struct driver_stats *s);
void driver_stats_free(struct driver_stats *s);

#endif
