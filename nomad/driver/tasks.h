/* tasks.h - the tasks that this process looks after, and who waits for their end.
 *
 * One thread watches all of them, so that any number of WaitTask and StopTask calls can be open: each is a
 * held call, answered when its task has ended.  Locks: the table's lock is taken before a call's own; nothing
 * here is called with a call's lock held.
 */
#ifndef CLEAT_DRIVER_TASKS_H
#define CLEAT_DRIVER_TASKS_H

#include <cleat/error.h>
#include <stdbool.h>

#include "cleat/nomad/v1/state.pb-c.h"
#include "driver/run.h"
#include "rt/call.h"

struct driver_tasks;
struct driver_task;

enum cleat_code driver_tasks_new(struct driver_tasks **out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Answers what still waits, with UNAVAILABLE: this process ends, the tasks go on. */
void driver_tasks_stop_all(struct driver_tasks *t);
/* After the server has stopped. */
void driver_tasks_free(struct driver_tasks *t);

/* Takes over the record (a message of its own) and a reference of the handle.  ALREADY_EXISTS: the caller
 * keeps both. */
enum cleat_code driver_tasks_add(struct driver_tasks *t, State__Task *record, struct run_handle *run,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* With a reference, or NULL. */
struct driver_task *driver_tasks_find(struct driver_tasks *t, const char *id);
void driver_task_unref(struct driver_task *task);
/* Takes it out of the table; who waits for it gets its exit, or NOT_FOUND. */
void driver_tasks_remove(struct driver_tasks *t, const char *id);
size_t driver_tasks_count(struct driver_tasks *t);

const State__Task *driver_task_record(const struct driver_task *task);
struct run_handle *driver_task_run(const struct driver_task *task);
/* The exit, if it has ended. */
bool driver_task_ended(struct driver_tasks *t, const struct driver_task *task, struct run_exit *out);

/* Answers the call of WaitTask, now or when the task ends. */
void driver_tasks_wait(struct driver_tasks *t, const char *id, struct cleat_rpc_call *call);
/* Sends the signal and answers the call of StopTask when the task has ended, by itself or because the time
 * was over. */
void driver_tasks_stop(struct driver_tasks *t, const char *id, int signal, int64_t timeout_ms,
		       struct cleat_rpc_call *call);

/* One at a time may start, recover or destroy a task. */
struct driver_tasks_lock {
	struct driver_tasks_lock *next;
	const char *container; /* borrowed while it is held */
};
/* Blocks; with `try` it returns false when somebody has it.  The lock lives with the caller. */
bool driver_tasks_lock(struct driver_tasks *t, struct driver_tasks_lock *lock, const char *container,
		       bool try);
void driver_tasks_unlock(struct driver_tasks *t, struct driver_tasks_lock *lock);
/* Whether a task with this container is in the table. */
bool driver_tasks_has(struct driver_tasks *t, const char *container);

#endif
