/* settings.h - the plugin's own configuration: the `config` of the agent's  plugin "nomad-driver-cleat" { }
 * block. */
#ifndef CLEAT_DRIVER_SETTINGS_H
#define CLEAT_DRIVER_SETTINGS_H

#include "driver/keys.h"

struct driver_settings {
	char *socket;	     /* of cleatd */
	char *state_dir;     /* absolute; what must survive a restart of the plugin */
	char *default_pool;  /* NULL: the daemon's default */
	char **allow_caps;   /* "CAP_..." or short; what jobs may have at most */
	char **allow_rootfs; /* absolute prefixes under which a job's rootfs must lie; NULL: none may be given
			      */
	char *crun, *conmon;
	char *helper; /* absolute path of cleat-run-helper; NULL: where it is usually */
	char *log_level;
	int64_t pids_limit;    /* of a task that says none; 0: none */
	bool volumes;	       /* jobs may have volumes, and cleatd is looked after */
	bool dynamic_users; /* tasks without a user get one of their own from the agent */
	bool allow_unconfined; /* jobs may switch seccomp off */
};

extern const struct driver_key driver_settings_keys[];

/* Decodes and checks; every key has a default, so n may be 0. */
enum cleat_code driver_settings_read(const uint8_t *bytes, size_t n, struct driver_settings *out,
				     struct cleat_error *err) CLEAT_MUST_CHECK;
void driver_settings_done(struct driver_settings *s);

#endif
