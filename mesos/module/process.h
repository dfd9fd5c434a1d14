/* process.h - one run of `cleat-mesos`: started, read from and waited for without ever blocking. */
#ifndef CLEAT_MESOS_PROCESS_H
#define CLEAT_MESOS_PROCESS_H

#include "module/reply.h"

#include "util/buf.h"

#include <stdint.h>
#include <sys/types.h>

struct mesos_process {
	pid_t pid;	    /* 0: none */
	int pid_fd, out_fd; /* readable at its end, and when it has written; -1 when done with */
	int status;	    /* once pid_fd is -1 */
	bool lost;	    /* the agent took the status away: the answer alone counts */
	bool killed;
	int64_t deadline_ms; /* on the monotonic clock */
	struct cleat_buf out;
};

/* argv ends in NULL. */
enum cleat_code mesos_process_start(struct mesos_process *p, char *const *argv, int64_t limit_ms,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* Reads what is there and notices its end; true when it is over. */
bool mesos_process_look(struct mesos_process *p);
/* SIGKILL to it and all that it started. */
void mesos_process_kill(struct mesos_process *p);
/* Its answer, once it is over; releases everything. */
void mesos_process_finish(struct mesos_process *p, struct mesos_reply *out);

#endif
