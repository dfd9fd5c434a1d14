/* start.c - see start.h. */
#include "driver/start.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/janitor.h"
#include "driver/taskspec.h"
#include "google/rpc/status.pb-c.h"
#include "nomad/recoverable_error.pb-c.h"
#include "rt/pb.h"
#include "util/log.h"
#include "util/mem.h"

/* ---- errors ---- */

void driver_fail(struct cleat_rpc_call *call, const struct cleat_error *err, bool recoverable)
{
	Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT, *list[1] = { &any };
	Nomad__RecoverableError detail = NOMAD__RECOVERABLE_ERROR__INIT;
	char type[] = "type.googleapis.com/hashicorp.nomad.plugins.shared.structs.RecoverableError";
	enum cleat_code code = recoverable ? CLEAT_FAILED_PRECONDITION : driver_host_code(err->code);
	char text[sizeof(err->msg)];
	uint8_t bytes[8];

	memcpy(text, err->msg, sizeof(text));
	detail.recoverable = recoverable;
	any.type_url = type;
	any.value = (ProtobufCBinaryData){ nomad__recoverable_error__pack(&detail, bytes), bytes };
	status.code = (int32_t)code; /* must be the status's own */
	status.message = text;
	status.n_details = 1;
	status.details = list;
	cleat_rpc_call_set_details(call, &status.base);
	cleat_rpc_call_fail(call, code, "%s", text);
}

/* ---- cleaning up ---- */

enum cleat_code driver_clean(struct driver *d, State__Task *record, struct cleat_error *err)
{
	const struct driver_who who = { record->id, record->alloc_id, record->name };

	if (run_destroy(&d->run, record->container, err))
		return err->code;
	if (record->n_volumes && record->phase != STATE__PHASE__RELEASING) {
		record->phase = STATE__PHASE__RELEASING;
		if (driver_state_save_task(d->state, record, err))
			return err->code;
	}
	if (record->n_volumes && !d->daemon)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "volumes are switched off, but the task has some");
	if (record->n_volumes && driver_volumes_release(&d->volumes, &who, record, err))
		return err->code;
	return driver_state_forget_task(d->state, record, err);
}

/* Each start has a new id, so an older task of the same allocation and name is one that the host does not
 * know any more; it would keep the volumes from the new one. */
static void clean_older(struct driver *d, const State__Task *record)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char **names = NULL;
	size_t same =
		(size_t)(strrchr(record->container, '-') - record->container) + 1; /* all but the hash */

	if (driver_state_list_tasks(d->state, &names, &err))
		return;
	for (char **p = names; *p; p++) {
		cleat_autopb State__Task *older = NULL;
		struct driver_tasks_lock lock;

		if (strncmp(*p, record->container, same) != 0 || strcmp(*p, record->container) == 0 ||
		    !driver_tasks_lock(d->tasks, &lock, *p, true))
			continue;
		if (!driver_tasks_has(d->tasks, *p) &&
		    driver_state_load_task(d->state, *p, &older, NULL) == CLEAT_OK &&
		    strcmp(older->alloc_id, record->alloc_id) == 0 &&
		    strcmp(older->name, record->name) == 0 && driver_clean(d, older, &err))
			cleat_log_kv(CLEAT_LOG_WARN, "an earlier start of the task cannot be cleaned up",
				     "task", older->id, "error", err.msg);
		driver_tasks_unlock(d->tasks, &lock);
	}
	driver_state_free_names(names);
}

/* ---- StartTask ---- */

/* One start on its way. */
struct start {
	struct driver *d;
	const Nomad__TaskConfig *task;
	struct driver_job_config job;
	State__Task *record;	/* owned until the table has it */
	struct run_handle *run; /* likewise */
	bool recoverable;
	bool container; /* there may be something of it */
};

static enum cleat_code new_record(struct start *s, struct cleat_error *err)
{
	char container[DRIVER_CONTAINER_BYTES];
	State__Task *r = malloc(sizeof(*r));

	if (!r)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	state__task__init(r);
	s->record = r;
	driver_container_name(s->task->id, container);
	r->format = DRIVER_STATE_FORMAT;
	r->phase = STATE__PHASE__STARTING;
	r->id = strdup(s->task->id);
	r->container = strdup(container);
	r->name = strdup(s->task->name);
	r->alloc_id = strdup(s->task->alloc_id);
	r->alloc_dir = strdup(s->task->alloc_dir);
	if (!r->id || !r->container || !r->name || !r->alloc_id || !r->alloc_dir)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return CLEAT_OK;
}

static enum cleat_code check_task(const Nomad__TaskConfig *task, struct cleat_error *err)
{
	if (!task || !*task->id || !*task->name || strchr(task->name, '/'))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the task has no usable id or name");
	if (task->alloc_dir[0] != '/')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the task's allocation has no directory");
	return CLEAT_OK;
}

static enum cleat_code make_volumes(struct start *s, struct cleat_error *err)
{
	char cgroup[4096];
	struct driver_volumes_task task = {
		.who = { s->task->id, s->task->alloc_id, s->task->name },
		.scope = s->task->namespace_,
		.job = s->task->job_id,
		.group = s->task->task_group_name,
		.node = s->task->node_name,
		.alloc_dir = s->task->alloc_dir,
		.witness_cgroup = cgroup,
	};

	if (s->job.volumes.count == 0)
		return CLEAT_OK;
	if (!s->d->daemon)
		return cleat_error_set(
			err, CLEAT_PERMISSION_DENIED,
			"config: volume: volumes are switched off in the plugin's configuration");
	driver_task_cgroup(s->task, cgroup, sizeof(cgroup));
	return driver_volumes_prepare(&s->d->volumes, &task, &s->job, s->record, &s->recoverable, err);
}

static enum cleat_code run_container(struct start *s, struct cleat_error *err)
{
	struct run_spec spec = { 0 };

	if (driver_taskspec(&s->d->settings, s->task, &s->job, s->record, &spec, err))
		return err->code;
	s->container = true;
	enum cleat_code code = run_start(&s->d->run, &spec, &s->run, err);
	s->recoverable = code && driver_daemon_may_recover(code);
	run_spec_done(&spec);
	return code;
}

static void answer_start(struct start *s, const uint8_t *state, size_t n, struct cleat_rpc_call *call)
{
	Nomad__StartTaskResponse out = NOMAD__START_TASK_RESPONSE__INIT;
	Nomad__TaskHandle handle = NOMAD__TASK_HANDLE__INIT;
	union {
		const void *from;
		void *to;
	} task = { .from = s->task }, bytes = { .from = state };

	handle.version = 1;
	handle.config = task.to; /* all of it: without it the task could not be recovered */
	handle.state = NOMAD__TASK_STATE__RUNNING;
	handle.driver_state = (ProtobufCBinaryData){ n, bytes.to };
	out.handle = &handle;
	cleat_rpc_call_reply(call, &out.base);
}

/* Records that it runs, and hands record and handle over to the table. */
static enum cleat_code take_up(struct start *s, uint8_t **state_out, size_t *n_out, struct cleat_error *err)
{
	s->record->phase = STATE__PHASE__STARTED;
	if (driver_state_save_task(s->d->state, s->record, err) ||
	    driver_state_encode(&s->record->base, state_out, n_out, err) ||
	    driver_tasks_add(s->d->tasks, s->record, s->run, err))
		return err->code;
	s->record = NULL;
	s->run = NULL;
	return CLEAT_OK;
}

static void undo(struct start *s)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (!s->record || !s->record->container)
		return;
	if (driver_clean(s->d, s->record, &err)) {
		cleat_log_kv(CLEAT_LOG_WARN, "a start that failed cannot be undone yet", "task",
			     s->record->id, "error", err.msg);
		driver_janitor_wake(s->d->janitor);
	}
}

static enum cleat_code do_start(struct start *s, struct cleat_rpc_call *call, struct cleat_error *err)
{
	cleat_autofree uint8_t *state = NULL;
	size_t n;

	clean_older(s->d, s->record);
	if (driver_state_save_task(s->d->state, s->record, err) || make_volumes(s, err) ||
	    run_container(s, err) || take_up(s, &state, &n, err)) {
		undo(s);
		return err->code;
	}
	answer_start(s, state, n, call);
	cleat_log_kv(CLEAT_LOG_INFO, "task started", "task", s->task->id, "alloc", s->task->alloc_id);
	return CLEAT_OK;
}

static enum cleat_code start_locked(struct start *s, struct cleat_rpc_call *call, struct cleat_error *err)
{
	char container[DRIVER_CONTAINER_BYTES];
	struct driver_tasks_lock lock;
	enum cleat_code code;

	if (new_record(s, err))
		return err->code;
	driver_container_name(s->task->id, container);
	if (!driver_tasks_lock(s->d->tasks, &lock, container, true))
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "the task is being started or destroyed");
	if (driver_tasks_has(s->d->tasks, container))
		code = cleat_error_set(err, CLEAT_ALREADY_EXISTS, "the task runs already");
	else
		code = do_start(s, call, err);
	driver_tasks_unlock(s->d->tasks, &lock);
	return code;
}

/* Somebody waits at each FIFO for the task to begin, and would hold up the end of it for seconds. */
static void let_reader_go(const char *path)
{
	cleat_autoclose int fd = -1;
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISFIFO(st.st_mode))
		fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
}

void driver_start(struct driver *d, const Nomad__StartTaskRequest *in, struct cleat_rpc_call *call)
{
	struct start s = { .d = d, .task = in->task };
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (check_task(in->task, &err) ||
	    driver_job_read(in->task->msgpack_driver_config.data, in->task->msgpack_driver_config.len, &s.job,
			    &err) ||
	    start_locked(&s, call, &err)) {
		cleat_log_kv(CLEAT_LOG_WARN, "task not started", "task", in->task ? in->task->id : "",
			     "error", err.msg);
		let_reader_go(in->task ? in->task->stdout_path : "");
		let_reader_go(in->task ? in->task->stderr_path : "");
		driver_fail(call, &err, s.recoverable);
	}
	driver_job_done(&s.job);
	cleat_pb_free(s.record ? &s.record->base : NULL);
	if (s.run)
		run_unref(s.run);
}

/* ---- RecoverTask ---- */

/* The file has the last word; the handle's copy serves when it is lost. */
static enum cleat_code find_record(struct driver *d, const Nomad__TaskHandle *handle, const char *container,
				   State__Task **out, struct cleat_error *err)
{
	enum cleat_code code = driver_state_load_task(d->state, container, out, err);

	if (code != CLEAT_NOT_FOUND)
		return code;
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return driver_state_decode_task(handle->driver_state.data, handle->driver_state.len, out, err);
}

static enum cleat_code recover_locked(struct driver *d, const Nomad__TaskHandle *handle,
				      const char *container, struct cleat_error *err)
{
	cleat_autopb State__Task *record = NULL;
	struct run_handle *run = NULL;

	if (driver_tasks_has(d->tasks, container))
		return CLEAT_OK;
	if (find_record(d, handle, container, &record, err))
		return err->code;
	if (strcmp(record->container, container) != 0 || strcmp(record->id, handle->config->id) != 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "the recorded state is that of another task, '%.128s'", record->id);
	if (record->phase == STATE__PHASE__RELEASING)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "the task was destroyed already");
	if (run_attach(&d->run, container, &run, err))
		return err->code;
	record->phase = STATE__PHASE__STARTED;
	if (driver_state_save_task(d->state, record, err) || driver_tasks_add(d->tasks, record, run, err)) {
		run_unref(run);
		return err->code;
	}
	(void)cleat_steal(record);
	return CLEAT_OK;
}

void driver_recover(struct driver *d, const Nomad__RecoverTaskRequest *in, struct cleat_rpc_call *call)
{
	Nomad__RecoverTaskResponse out = NOMAD__RECOVER_TASK_RESPONSE__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char container[DRIVER_CONTAINER_BYTES];
	struct driver_tasks_lock lock;

	if (!in->handle || !in->handle->config || !*in->handle->config->id) {
		cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT, "the handle names no task");
		return;
	}
	driver_container_name(in->handle->config->id, container);
	driver_tasks_lock(d->tasks, &lock, container, false);
	enum cleat_code code = recover_locked(d, in->handle, container, &err);
	driver_tasks_unlock(d->tasks, &lock);
	if (code) {
		cleat_log_kv(CLEAT_LOG_WARN, "task not recovered", "task", in->handle->config->id, "error",
			     err.msg);
		cleat_rpc_call_fail(call, driver_host_code(code), "%s", err.msg);
		return;
	}
	cleat_log_kv(CLEAT_LOG_INFO, "task recovered", "task", in->handle->config->id);
	cleat_rpc_call_reply(call, &out.base);
}

/* ---- DestroyTask ---- */

static enum cleat_code check_destroy(struct driver *d, const char *id, bool force, struct cleat_error *err)
{
	struct driver_task *task = driver_tasks_find(d->tasks, id);
	struct run_exit exit;
	bool runs =
		task && !driver_task_ended(d->tasks, task, &exit) && !run_ended(driver_task_run(task), &exit);

	driver_task_unref(task);
	return runs && !force ? cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "the task still runs")
			      : CLEAT_OK;
}

/* The container must be gone for good; claims that cannot be released now are made up for. */
static enum cleat_code destroy_locked(struct driver *d, const char *id, const char *container,
				      struct cleat_error *err)
{
	struct cleat_error clean = CLEAT_ERROR_INIT;
	cleat_autopb State__Task *record = NULL;

	if (run_destroy(&d->run, container, err))
		return err->code;
	driver_tasks_remove(d->tasks, id);
	enum cleat_code code = driver_state_load_task(d->state, container, &record, &clean);
	if (code == CLEAT_NOT_FOUND)
		return CLEAT_OK;
	if (code == CLEAT_OK && driver_clean(d, record, &clean) == CLEAT_OK)
		return CLEAT_OK;
	cleat_log_kv(CLEAT_LOG_WARN, "a task's volumes cannot be released yet", "task", id, "error",
		     clean.msg);
	driver_janitor_wake(d->janitor);
	return CLEAT_OK;
}

void driver_destroy(struct driver *d, const char *id, bool force, struct cleat_rpc_call *call)
{
	Nomad__DestroyTaskResponse out = NOMAD__DESTROY_TASK_RESPONSE__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char container[DRIVER_CONTAINER_BYTES];
	struct driver_tasks_lock lock;

	driver_container_name(id, container);
	driver_tasks_lock(d->tasks, &lock, container, false);
	enum cleat_code code = check_destroy(d, id, force, &err);
	if (code == CLEAT_OK)
		code = destroy_locked(d, id, container, &err);
	driver_tasks_unlock(d->tasks, &lock);
	if (code)
		cleat_rpc_call_fail(call, driver_host_code(code), "%s", err.msg);
	else
		cleat_rpc_call_reply(call, &out.base);
}
