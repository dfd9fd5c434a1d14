/* volumes.h - the volumes of a task: created, grown and published before it starts, released after it has
 * gone.
 *
 * Nothing here deletes data.  An allocation's volumes are only noted down, for the janitor.
 */
#ifndef CLEAT_DRIVER_VOLUMES_H
#define CLEAT_DRIVER_VOLUMES_H

#include <pthread.h>

#include "driver/daemon.h"
#include "driver/events.h"
#include "driver/jobconfig.h"
#include "driver/state.h"

struct driver_volumes {
	struct driver_daemon *daemon;
	struct driver_events *events;
	struct driver_state *state;
	const char *default_pool;   /* NULL: the daemon's */
	pthread_mutex_t alloc_lock; /* records of allocations are read and then written */
};

/* What volumes need to know about their task; all borrowed. */
struct driver_volumes_task {
	struct driver_who who;
	const char *scope; /* the job's namespace */
	const char *job, *group, *node;
	const char *alloc_dir;
	const char *witness_cgroup; /* "": none; the claim is stale when it is gone */
};

/* Makes all volumes of the job's configuration ready and records them in `record`, which must be empty of
 * volumes and saved already; it is saved again before anything is claimed.  record->volumes[i]->target is
 * where volume i is mounted then.  *recoverable_out: a later attempt may succeed.  On failure the record may
 * hold claims: call driver_volumes_release(). */
enum cleat_code driver_volumes_prepare(struct driver_volumes *v, const struct driver_volumes_task *task,
				       struct driver_job_config *job, State__Task *record,
				       bool *recoverable_out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Unpublishes all volumes of the record; what is gone is fine. */
enum cleat_code driver_volumes_release(struct driver_volumes *v, const struct driver_who *who,
				       const State__Task *record, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Deletes the volumes of an allocation whose directory is gone. */
enum cleat_code driver_volumes_delete(struct driver_volumes *v, const State__Allocation *alloc,
				      struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
