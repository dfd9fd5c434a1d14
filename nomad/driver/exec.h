/* exec.h - further commands in a running task: script checks, and `nomad alloc exec` with its terminal. */
#ifndef CLEAT_DRIVER_EXEC_H
#define CLEAT_DRIVER_EXEC_H

#include "driver/tasks.h"
#include "nomad/driver.pb-c.h"

/* ExecTask: runs the command, in a thread of its own, and answers with its output. */
void driver_exec(struct driver_tasks *tasks, const Nomad__ExecTaskRequest *in, int64_t timeout_ms,
		 struct cleat_rpc_call *call);

/* ExecTaskStreaming: takes each message of the call, NULL at its end.  Each session has a thread of its own.
 */
void driver_exec_message(struct driver_tasks *tasks, struct cleat_rpc_call *call,
			 const Nomad__ExecTaskStreamingRequest *in);

#endif
