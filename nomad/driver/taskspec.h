/* taskspec.h - from the host's task and the job's configuration to what runs in a container. */
#ifndef CLEAT_DRIVER_TASKSPEC_H
#define CLEAT_DRIVER_TASKSPEC_H

#include "driver/jobconfig.h"
#include "driver/run.h"
#include "driver/settings.h"
#include "cleat/nomad/v1/state.pb-c.h"
#include "nomad/driver.pb-c.h"

/* Fills a zeroed spec; record's volumes are those of the job, in order, published already.  On failure the
 * spec is empty. */
enum cleat_code driver_taskspec(const struct driver_settings *settings, const Nomad__TaskConfig *task,
				struct driver_job_config *job, const State__Task *record,
				struct run_spec *out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* The cgroup that the host made for the task and removes after it; "" when it manages none. */
void driver_task_cgroup(const Nomad__TaskConfig *task, char *out, size_t room);

#endif
