/* jobconfig.h - what a job writes into its task's  config { }  block, decoded and checked. */
#ifndef CLEAT_DRIVER_JOBCONFIG_H
#define CLEAT_DRIVER_JOBCONFIG_H

#include <cleat/record.h>

#include "driver/keys.h"

#define DRIVER_VOLUMES_MAX 64 /* of one task */

/* A  volume { }  block.  Texts that are optional are NULL when absent. */
struct driver_volume_config {
	char *name, *pool, *size, *fs, *destination, *access_mode, *lifetime;
	bool create, read_only;
	struct cleat_kvs options; /* creation parameters: uid, gid, mode and the backend's */
	struct cleat_kvs mount_options;
	/* Made from the texts by the check. */
	uint64_t size_bytes; /* 0: not given */
	enum cleat_access_mode mode;
	bool with_allocation; /* its lifetime is the allocation's */
};

struct driver_job_config {
	char *command;
	char **args;
	char *rootfs, *work_dir, *hostname, *seccomp;
	char **cap_add, **cap_drop;
	struct cleat_kvs ulimit; /* name -> "soft" or "soft:hard" */
	int64_t pids_limit;	 /* -1: not given */
	bool no_new_privileges;
	struct driver_blocks volumes; /* struct driver_volume_config */
};

extern const struct driver_key driver_job_keys[];

static inline struct driver_volume_config *driver_job_volume(const struct driver_job_config *c, size_t i)
{
	return (struct driver_volume_config *)c->volumes.items + i;
}

/* Decodes and checks everything that can be checked without the daemon.  INVALID_ARGUMENT names field and
 * value. */
enum cleat_code driver_job_read(const uint8_t *bytes, size_t n, struct driver_job_config *out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
void driver_job_done(struct driver_job_config *c);

#endif
