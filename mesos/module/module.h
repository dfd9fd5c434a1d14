/* module.h - what the isolator module knows, in C: from a container's environment and volumes to what is
 * published for it, and back at cleanup and recovery.  Knows no version of Mesos and none of its types; the
 * adaptor in mesos/compat translates.
 *
 * Every call returns at once: Mesos calls a module directly, so one that waits stops every container of the
 * agent.  The work is done by one thread, which starts programs (helper.h) and waits for all of them
 * together; what concerns one volume is done in the order in which it was asked for.
 */
#ifndef CLEAT_MESOS_MODULE_H
#define CLEAT_MESOS_MODULE_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cleat_mesos;

/* ---- what a container asks for: filled by the adaptor, then given away ---- */

struct cleat_mesos_request;

/* Texts have a length, because what Mesos calls a string may hold NUL, which is refused.  They are copied. */
struct cleat_mesos_text {
	const char *data;
	size_t bytes;
};

/* NULL when there is no memory; every function below takes NULL then.  What is wrong with the parts is kept,
 * and becomes the answer of cleat_mesos_prepare(). */
struct cleat_mesos_request *cleat_mesos_request_new(void);
void cleat_mesos_request_free(struct cleat_mesos_request *r);
/* The ids of the container's chain, the outermost first; at least one, at most 32. */
void cleat_mesos_request_id(struct cleat_mesos_request *r, struct cleat_mesos_text id);
void cleat_mesos_request_sandbox(struct cleat_mesos_request *r, struct cleat_mesos_text path);
/* The container's root file system, when it has an image. */
void cleat_mesos_request_rootfs(struct cleat_mesos_request *r, struct cleat_mesos_text path);
/* It has an image, but this release of Mesos does not say where its root file system is. */
void cleat_mesos_request_hidden_rootfs(struct cleat_mesos_request *r);
/* It runs beside the tasks of its parent, whose mounts it shares: it gets nothing of its own. */
void cleat_mesos_request_debug(struct cleat_mesos_request *r);
void cleat_mesos_request_user(struct cleat_mesos_request *r, struct cleat_mesos_text name);
void cleat_mesos_request_variable(struct cleat_mesos_request *r, struct cleat_mesos_text name,
				  struct cleat_mesos_text value);
/* A volume of its ContainerInfo with a Docker volume driver; those of other drivers than `cleat` are somebody
 * else's.  Options follow their volume. */
void cleat_mesos_request_volume(struct cleat_mesos_request *r, struct cleat_mesos_text driver,
				struct cleat_mesos_text name, struct cleat_mesos_text path, bool read_only);
void cleat_mesos_request_option(struct cleat_mesos_request *r, struct cleat_mesos_text key,
				struct cleat_mesos_text value);

/* ---- answers ---- */

struct cleat_mesos_answer {
	const char *error; /* one line; NULL: all went well */
	/* To be run in the container's new mount namespace, as the agent's user, before anything changes its
	 * root; argc 0: the container has no volumes of ours and needs no namespace. */
	size_t argc;
	const char *const *argv; /* argv[0] is the program, absolute */
	const char *shell;	 /* the same for a shell; needs no quotes */
};

/* Called exactly once, on a thread of the module or, when there is nothing to wait for, of the caller, with
 * no lock held; the answer is gone after it returned. */
typedef void (*cleat_mesos_done_fn)(void *arg, const struct cleat_mesos_answer *answer);

/* ---- the module ---- */

/* One line for each parameter: its name, what it is without being given, and what it means; NULL ends. */
struct cleat_mesos_parameter {
	const char *key, *value, *text;
};
extern const struct cleat_mesos_parameter cleat_mesos_parameters[];

/* The parameters of the manifest, as texts ended by NUL; `version` is the Mesos that this was built for.
 * Starts the thread, and says on stderr that the module is there. */
enum cleat_code cleat_mesos_new(const struct cleat_mesos_parameter *params, size_t count, const char *version,
				struct cleat_mesos **out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Ends the thread; what was not answered is answered with an error, programs that run are ended. */
void cleat_mesos_free(struct cleat_mesos *m);

/* Takes r.  The volumes are published when done is called without an error; after an error the caller still
 * calls cleat_mesos_cleanup().  A container that is known already is an error. */
void cleat_mesos_prepare(struct cleat_mesos *m, struct cleat_mesos_request *r, cleat_mesos_done_fn done,
			 void *arg);
/* Of r only the ids are used; takes r.  pid is the container's first process: claims outlive it no longer. */
void cleat_mesos_isolate(struct cleat_mesos *m, struct cleat_mesos_request *r, pid_t pid);
/* The same.  A container that is unknown or has nothing succeeds.  So does one whose volumes cannot be
 * released now: an agent that is told of a failure keeps the container for ever; the release is repeated
 * until it works, and said on stderr. */
void cleat_mesos_cleanup(struct cleat_mesos *m, struct cleat_mesos_request *r, cleat_mesos_done_fn done,
			 void *arg);
/* Takes the containers that still run or will be cleaned up by the agent, and frees the array's requests; of
 * all others what they hold is released.  A daemon that is not there is no error: the release is repeated. */
void cleat_mesos_recover(struct cleat_mesos *m, struct cleat_mesos_request *const *alive, size_t count,
			 cleat_mesos_done_fn done, void *arg);

#ifdef __cplusplus
}
#endif
#endif
