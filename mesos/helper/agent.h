/* agent.h - the Mesos agent of this machine, as `check` sees it: its process, its flags, its list of modules.
 */
#ifndef CLEAT_MESOS_HELPER_AGENT_H
#define CLEAT_MESOS_HELPER_AGENT_H

#include "util/buf.h"

#include <cleat/error.h>
#include <stdbool.h>
#include <sys/types.h>

struct json_t;

struct helper_agent {
	pid_t pid; /* 0: none runs */
	/* Values of its flags, from the command line or else the environment; "" where it has its default. */
	char *isolation, *modules, *modules_dir, *launcher, *containerizers, *path;
	char *version;	 /* of the libmesos it has mapped; "" when that cannot be told */
	char *module;	 /* the file of ours that it has mapped; "" */
	bool own_mounts; /* its mount namespace is another than that of process 1 */
};

/* The first agent that runs here; pid 0 when there is none. */
enum cleat_code helper_agent_find(struct helper_agent *out, struct cleat_error *err) CLEAT_MUST_CHECK;
void helper_agent_done(struct helper_agent *a);

/* The library that holds the module `name`, from what the flag --modules says: a path, file://PATH, or the
 * JSON itself.  *library_out is borrowed from *root_out, which the caller gives back (json_decref); NULL: it
 * is not in the list. */
enum cleat_code helper_manifest_find(const char *modules, const char *name, struct json_t **root_out,
				     struct json_t **library_out, struct json_t **module_out,
				     struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
