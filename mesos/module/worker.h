/* worker.h - one thread that runs the programs: each job is one program, jobs on one container or one volume
 * run in the order in which they were given, others beside each other. */
#ifndef CLEAT_MESOS_WORKER_H
#define CLEAT_MESOS_WORKER_H

#include "module/args.h"
#include "module/helper.h"
#include "module/reply.h"

#include <stdint.h>

#define MESOS_MAX_RUNNING 8

struct mesos_worker;
struct mesos_job;

/* What the program answered, or why there is no answer (reply->ok is false then too).  Called on the thread,
 * with no lock held.  A return above 0: the job is to be run again, not before so many milliseconds; else it
 * is freed. */
typedef int64_t (*mesos_job_done_fn)(void *arg, const struct mesos_reply *reply);
/* Called on the thread just before the program starts, with no lock held: may add to the command line.  Each
 * run starts from the command line as it was given. */
typedef void (*mesos_job_start_fn)(void *arg, struct mesos_args *argv);

struct mesos_job_spec {
	const char *key;	   /* of the container; "" when alone */
	bool alone;		   /* beside no other job */
	const char *const *queues; /* names of volumes; copied */
	size_t queue_count;
	struct mesos_args *argv;  /* taken over, also on failure */
	mesos_job_start_fn start; /* may be NULL */
	mesos_job_done_fn done;
	void *arg;
};

/* limit_ms: a program still running after that is killed, with its process group. */
enum cleat_code mesos_worker_new(int64_t limit_ms, struct mesos_worker **out,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Kills what runs, answers every job with CANCELLED and ends the thread. */
void mesos_worker_free(struct mesos_worker *w);
/* On failure done is not called. */
enum cleat_code mesos_worker_add(struct mesos_worker *w, const struct mesos_job_spec *spec,
				 struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
