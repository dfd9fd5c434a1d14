/* service.c - see service.h.  Handlers check what must be checked and hand over; what blocks is on the worker
 * lane. */
#include "driver/service.h"

#include <stdlib.h>
#include <string.h>

#include "driver/exec.h"
#include "driver/jobconfig.h"
#include "driver/signals.h"
#include "driver/start.h"
#include "driver/thread.h"
#include "nomad/base.pb-c.h"
#include "nomad/driver.pb-c.h"
#include "rt/pb.h"
#include "util/mem.h"

#define DEFAULT_KILL_SIGNAL "SIGTERM"
#define SCHEMA_MAX_BYTES (64 * 1024)

/* The order is that of the methods' table below.  The struct is laid out as protobuf-c would have generated
 * it; it cannot generate this one, because of the method Init. */
struct driver_methods {
	ProtobufCService base;
#define METHOD(field, Name)                                                                                  \
	void (*field)(struct driver_methods * service, const Nomad__##Name##Request *in,                     \
		      ProtobufCClosure done, void *call);
	METHOD(init, Init)
	METHOD(task_config_schema, TaskConfigSchema)
	METHOD(capabilities, Capabilities)
	METHOD(fingerprint, Fingerprint)
	METHOD(recover_task, RecoverTask)
	METHOD(start_task, StartTask)
	METHOD(wait_task, WaitTask)
	METHOD(stop_task, StopTask)
	METHOD(destroy_task, DestroyTask)
	METHOD(inspect_task, InspectTask)
	METHOD(task_stats, TaskStats)
	METHOD(task_events, TaskEvents)
	METHOD(shutdown, Shutdown)
	METHOD(signal_task, SignalTask)
	METHOD(exec_task, ExecTask)
	METHOD(exec_task_streaming, ExecTaskStreaming)
	METHOD(create_network, CreateNetwork)
	METHOD(destroy_network, DestroyNetwork)
#undef METHOD
};

/* What the host's request and our handlers find each other by. */
struct services {
	Nomad__BasePlugin_Service base;
	struct driver_methods driver;
	struct driver *d;
};

static struct services services; /* one driver per process */

static struct driver *driver_of(void)
{
	return services.d;
}

/* ---- BasePlugin ---- */

static void plugin_info(Nomad__BasePlugin_Service *service, const Nomad__PluginInfoRequest *in,
			Nomad__PluginInfoResponse_Closure done, void *call)
{
	Nomad__PluginInfoResponse out = NOMAD__PLUGIN_INFO_RESPONSE__INIT;
	char api[] = "v0.1.0", version[] = CLEAT_VERSION, name[] = DRIVER_NAME;
	char *versions[] = { api };

	(void)service;
	(void)in;
	out.type = NOMAD__PLUGIN_TYPE__DRIVER;
	out.n_plugin_api_versions = 1;
	out.plugin_api_versions = versions;
	out.plugin_version = version;
	out.name = name;
	done(&out, call);
}

static Hcl__Spec *schema(const struct driver_key *keys, struct cleat_pb_arena *arena, void *call)
{
	cleat_pb_arena_init(arena, SCHEMA_MAX_BYTES);
	Hcl__Spec *spec = driver_keys_schema(keys, arena);

	if (!spec)
		cleat_rpc_call_fail(call, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return spec;
}

static void config_schema(Nomad__BasePlugin_Service *service, const Nomad__ConfigSchemaRequest *in,
			  Nomad__ConfigSchemaResponse_Closure done, void *call)
{
	Nomad__ConfigSchemaResponse out = NOMAD__CONFIG_SCHEMA_RESPONSE__INIT;
	struct cleat_pb_arena arena;

	(void)service;
	(void)in;
	out.spec = schema(driver_settings_keys, &arena, call);
	if (out.spec)
		done(&out, call);
	cleat_pb_arena_reset(&arena);
}

/* Only the call that comes with the agent's own configuration is meant to last. */
static void set_config(Nomad__BasePlugin_Service *service, const Nomad__SetConfigRequest *in,
		       Nomad__SetConfigResponse_Closure done, void *call)
{
	Nomad__SetConfigResponse out = NOMAD__SET_CONFIG_RESPONSE__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)service;
	if (driver_configure(driver_of(), in->msgpack_config.data, in->msgpack_config.len,
			     in->nomad_config != NULL, &err))
		cleat_rpc_call_fail(call, driver_host_code(err.code), "%s", err.msg);
	else
		done(&out, call);
}

/* ---- Driver: what it is ---- */

/* Nothing has to be set up for an agent. */
static void init(struct driver_methods *service, const Nomad__InitRequest *in, ProtobufCClosure done,
		 void *call)
{
	Nomad__InitResponse out = NOMAD__INIT_RESPONSE__INIT;

	(void)service;
	(void)in;
	done(&out.base, call);
}

/* The end itself is ordered by another service; tasks go on. */
static void shutdown(struct driver_methods *service, const Nomad__ShutdownRequest *in, ProtobufCClosure done,
		     void *call)
{
	Nomad__ShutdownResponse out = NOMAD__SHUTDOWN_RESPONSE__INIT;

	(void)service;
	(void)in;
	done(&out.base, call);
}

static void task_config_schema(struct driver_methods *service, const Nomad__TaskConfigSchemaRequest *in,
			       ProtobufCClosure done, void *call)
{
	Nomad__TaskConfigSchemaResponse out = NOMAD__TASK_CONFIG_SCHEMA_RESPONSE__INIT;
	struct cleat_pb_arena arena;

	(void)service;
	(void)in;
	out.spec = schema(driver_job_keys, &arena, call);
	if (out.spec)
		done(&out.base, call);
	cleat_pb_arena_reset(&arena);
}

/* IMAGE means: Nomad builds no root for the task, gives it no environment of the agent's, and names /alloc,
 * /local and /secrets in it. */
static void capabilities(struct driver_methods *service, const Nomad__CapabilitiesRequest *in,
			 ProtobufCClosure done, void *call)
{
	Nomad__CapabilitiesResponse out = NOMAD__CAPABILITIES_RESPONSE__INIT;
	Nomad__DriverCapabilities can = NOMAD__DRIVER_CAPABILITIES__INIT;
	Nomad__NetworkIsolationSpec__NetworkIsolationMode modes[] = {
		NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__HOST,
		NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__GROUP,
		NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__NONE,
	};

	(void)service;
	(void)in;
	can.send_signals = true;
	can.exec = true;
	can.fs_isolation = NOMAD__DRIVER_CAPABILITIES__FSISOLATION__IMAGE;
	can.n_network_isolation_modes = CLEAT_COUNT(modes);
	can.network_isolation_modes = modes;
	can.mount_configs = NOMAD__DRIVER_CAPABILITIES__MOUNT_CONFIGS__UNKNOWN_MOUNTS; /* which means any */
	can.dynamic_workload_users = atomic_load(&driver_of()->ready) && driver_of()->settings.dynamic_users;
	out.capabilities = &can;
	done(&out.base, call);
}

static void fingerprint(struct driver_methods *service, const Nomad__FingerprintRequest *in,
			ProtobufCClosure done, void *call)
{
	(void)service;
	(void)in;
	(void)done;
	driver_fingerprint_attach(driver_of()->fingerprint, call);
}

static void task_events(struct driver_methods *service, const Nomad__TaskEventsRequest *in,
			ProtobufCClosure done, void *call)
{
	(void)service;
	(void)in;
	(void)done;
	driver_events_attach(driver_of()->events, call);
}

/* ---- Driver: tasks ---- */

static void start_task(struct driver_methods *service, const Nomad__StartTaskRequest *in,
		       ProtobufCClosure done, void *call)
{
	(void)service;
	(void)done;
	if (driver_is_ready(driver_of(), call))
		driver_start(driver_of(), in, call);
	driver_thread_trim_stack();
}

static void recover_task(struct driver_methods *service, const Nomad__RecoverTaskRequest *in,
			 ProtobufCClosure done, void *call)
{
	(void)service;
	(void)done;
	if (driver_is_ready(driver_of(), call))
		driver_recover(driver_of(), in, call);
	driver_thread_trim_stack();
}

static void wait_task(struct driver_methods *service, const Nomad__WaitTaskRequest *in, ProtobufCClosure done,
		      void *call)
{
	(void)service;
	(void)done;
	if (driver_is_ready(driver_of(), call))
		driver_tasks_wait(driver_of()->tasks, in->task_id, call);
}

static int64_t ms_of(const Google__Protobuf__Duration *d)
{
	if (!d || d->seconds < 0 || d->nanos < 0)
		return 0;
	return d->seconds > 10000000 ? 10000000000 : d->seconds * 1000 + d->nanos / 1000000;
}

static void stop_task(struct driver_methods *service, const Nomad__StopTaskRequest *in, ProtobufCClosure done,
		      void *call)
{
	const char *name = *in->signal ? in->signal : DEFAULT_KILL_SIGNAL;
	int number = driver_signal_number(name);

	(void)service;
	(void)done;
	if (!driver_is_ready(driver_of(), call))
		return;
	if (number == 0)
		cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT, "kill_signal: '%s' is no signal", name);
	else
		driver_tasks_stop(driver_of()->tasks, in->task_id, number, ms_of(in->timeout), call);
}

static void destroy_task(struct driver_methods *service, const Nomad__DestroyTaskRequest *in,
			 ProtobufCClosure done, void *call)
{
	(void)service;
	(void)done;
	if (driver_is_ready(driver_of(), call))
		driver_destroy(driver_of(), in->task_id, in->force, call);
	driver_thread_trim_stack();
}

static void put_time(int64_t ms, Google__Protobuf__Timestamp *out)
{
	google__protobuf__timestamp__init(out);
	/* Never: the zero time of the host's language, because a missing one is an error there. */
	out->seconds = ms > 0 ? ms / 1000 : -62135596800;
	out->nanos = ms > 0 ? (int32_t)(ms % 1000) * 1000000 : 0;
}

static void answer_inspect(const struct driver_task *task, bool ended, const struct run_exit *exit,
			   ProtobufCClosure done, void *call)
{
	const State__Task *record = driver_task_record(task);
	Nomad__InspectTaskResponse out = NOMAD__INSPECT_TASK_RESPONSE__INIT;
	Nomad__TaskStatus status = NOMAD__TASK_STATUS__INIT;
	Nomad__TaskDriverStatus more = NOMAD__TASK_DRIVER_STATUS__INIT;
	Nomad__TaskDriverStatus__AttributesEntry container =
		NOMAD__TASK_DRIVER_STATUS__ATTRIBUTES_ENTRY__INIT;
	Nomad__TaskDriverStatus__AttributesEntry *entries[] = { &container };
	Nomad__ExitResult result = NOMAD__EXIT_RESULT__INIT;
	Google__Protobuf__Timestamp started, completed;
	char key[] = "container";

	put_time(run_started_ms(driver_task_run(task)), &started);
	put_time(ended ? exit->finished_ms : 0, &completed);
	result.exit_code = ended ? exit->code : 0;
	result.signal = ended ? exit->signal : 0;
	result.oom_killed = ended && exit->oom_killed;
	status.id = record->id;
	status.name = record->name;
	status.state = ended ? NOMAD__TASK_STATE__EXITED : NOMAD__TASK_STATE__RUNNING;
	status.started_at = &started;
	status.completed_at = &completed;
	status.result = &result;
	container.key = key;
	container.value = record->container;
	more.n_attributes = 1;
	more.attributes = entries;
	out.task = &status;
	out.driver = &more;
	done(&out.base, call);
}

static void inspect_task(struct driver_methods *service, const Nomad__InspectTaskRequest *in,
			 ProtobufCClosure done, void *call)
{
	struct driver *d = driver_of();
	struct run_exit exit = { 0 };

	(void)service;
	if (!driver_is_ready(d, call))
		return;
	struct driver_task *task = driver_tasks_find(d->tasks, in->task_id);
	if (!task) {
		cleat_rpc_call_fail(call, CLEAT_NOT_FOUND, "no task '%s'", in->task_id);
		return;
	}
	bool ended = driver_task_ended(d->tasks, task, &exit);
	answer_inspect(task, ended, &exit, done, call);
	driver_task_unref(task);
}

static void task_stats(struct driver_methods *service, const Nomad__TaskStatsRequest *in,
		       ProtobufCClosure done, void *call)
{
	(void)service;
	(void)done;
	if (driver_is_ready(driver_of(), call))
		driver_stats_attach(driver_of()->stats, in->task_id, ms_of(in->collection_interval), call);
}

static void signal_task(struct driver_methods *service, const Nomad__SignalTaskRequest *in,
			ProtobufCClosure done, void *call)
{
	Nomad__SignalTaskResponse out = NOMAD__SIGNAL_TASK_RESPONSE__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	int number = driver_signal_number(in->signal);

	(void)service;
	if (!driver_is_ready(driver_of(), call))
		return;
	struct driver_task *task = driver_tasks_find(driver_of()->tasks, in->task_id);
	if (number == 0)
		cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT, "'%s' is no signal", in->signal);
	else if (!task)
		cleat_rpc_call_fail(call, CLEAT_NOT_FOUND, "no task '%s'", in->task_id);
	else if (run_signal(driver_task_run(task), number, &err))
		cleat_rpc_call_fail_error(call, &err);
	else
		done(&out.base, call);
	driver_task_unref(task);
}

static void exec_task(struct driver_methods *service, const Nomad__ExecTaskRequest *in, ProtobufCClosure done,
		      void *call)
{
	(void)service;
	(void)done;
	if (driver_is_ready(driver_of(), call))
		driver_exec(driver_of()->tasks, in, ms_of(in->timeout), call);
}

static void exec_task_streaming(ProtobufCService *service, struct cleat_rpc_call *call,
				const ProtobufCMessage *m)
{
	(void)service;
	if (!m || driver_is_ready(driver_of(), call))
		driver_exec_message(driver_of()->tasks, call, (const Nomad__ExecTaskStreamingRequest *)m);
}

/* ---- Driver: networks ---- */

/* The capabilities say that the host makes networks itself, so it does not ask. */
static void create_network(struct driver_methods *service, const Nomad__CreateNetworkRequest *in,
			   ProtobufCClosure done, void *call)
{
	(void)service;
	(void)in;
	(void)done;
	cleat_rpc_call_fail(call, CLEAT_UNIMPLEMENTED, "this driver makes no networks: the agent does");
}

static void destroy_network(struct driver_methods *service, const Nomad__DestroyNetworkRequest *in,
			    ProtobufCClosure done, void *call)
{
	Nomad__DestroyNetworkResponse out = NOMAD__DESTROY_NETWORK_RESPONSE__INIT;

	(void)service;
	(void)in;
	done(&out.base, call); /* there is none of ours */
}

/* ---- the tables ---- */

#define METHOD(Name, name, answer)                                                                           \
	{                                                                                                    \
#Name, &nomad__##name##_request__descriptor, &nomad__##answer##__descriptor                  \
	}
static const ProtobufCMethodDescriptor method_descriptors[] = {
	METHOD(Init, init, init_response),
	METHOD(TaskConfigSchema, task_config_schema, task_config_schema_response),
	METHOD(Capabilities, capabilities, capabilities_response),
	METHOD(Fingerprint, fingerprint, fingerprint_response),
	METHOD(RecoverTask, recover_task, recover_task_response),
	METHOD(StartTask, start_task, start_task_response),
	METHOD(WaitTask, wait_task, wait_task_response),
	METHOD(StopTask, stop_task, stop_task_response),
	METHOD(DestroyTask, destroy_task, destroy_task_response),
	METHOD(InspectTask, inspect_task, inspect_task_response),
	METHOD(TaskStats, task_stats, task_stats_response),
	METHOD(TaskEvents, task_events, driver_task_event),
	METHOD(Shutdown, shutdown, shutdown_response),
	METHOD(SignalTask, signal_task, signal_task_response),
	METHOD(ExecTask, exec_task, exec_task_response),
	METHOD(ExecTaskStreaming, exec_task_streaming, exec_task_streaming_response),
	METHOD(CreateNetwork, create_network, create_network_response),
	METHOD(DestroyNetwork, destroy_network, destroy_network_response),
};
#undef METHOD

/* By name, for protobuf-c's search. */
static const unsigned method_order[] = { 2, 16, 17, 8, 14, 15, 3, 0, 9, 4, 12, 13, 5, 7, 1, 11, 10, 6 };
_Static_assert(CLEAT_COUNT(method_order) == CLEAT_COUNT(method_descriptors), "each method once");
_Static_assert(sizeof(struct driver_methods) ==
		       sizeof(ProtobufCService) + CLEAT_COUNT(method_descriptors) * sizeof(void (*)(void)),
	       "one handler per method, directly after the base");

static const ProtobufCServiceDescriptor driver_descriptor = {
	PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC,
	"hashicorp.nomad.plugins.drivers.proto.Driver",
	"Driver",
	"Nomad__Driver",
	"hashicorp.nomad.plugins.drivers.proto",
	CLEAT_COUNT(method_descriptors),
	method_descriptors,
	method_order,
};

static const struct cleat_rpc_method driver_lanes[] = {
	{ .name = "Init", .lane = CLEAT_RPC_INLINE },
	{ .name = "Shutdown", .lane = CLEAT_RPC_INLINE },
	{ .name = "TaskConfigSchema", .lane = CLEAT_RPC_INLINE },
	{ .name = "Capabilities", .lane = CLEAT_RPC_INLINE },
	{ .name = "Fingerprint", .lane = CLEAT_RPC_INLINE, .kind = CLEAT_RPC_SERVER_STREAM },
	{ .name = "WaitTask", .lane = CLEAT_RPC_INLINE },
	{ .name = "TaskStats", .lane = CLEAT_RPC_INLINE, .kind = CLEAT_RPC_SERVER_STREAM },
	{ .name = "TaskEvents", .lane = CLEAT_RPC_INLINE, .kind = CLEAT_RPC_SERVER_STREAM },
	{ .name = "ExecTask", .lane = CLEAT_RPC_INLINE },
	{ .name = "ExecTaskStreaming",
	  .lane = CLEAT_RPC_INLINE,
	  .kind = CLEAT_RPC_BIDI,
	  .on_message = exec_task_streaming },
	{ .name = "CreateNetwork", .lane = CLEAT_RPC_INLINE },
	{ .name = "DestroyNetwork", .lane = CLEAT_RPC_INLINE },
};

static const struct cleat_rpc_method base_lanes[] = {
	{ .name = "PluginInfo", .lane = CLEAT_RPC_INLINE },
	{ .name = "ConfigSchema", .lane = CLEAT_RPC_INLINE },
};

enum cleat_code driver_service_add(struct driver *d, struct cleat_rpc_role *role, struct cleat_error *err)
{
	services.d = d;
	services.base = (Nomad__BasePlugin_Service){
		.base = { &nomad__base_plugin__descriptor, protobuf_c_service_invoke_internal, NULL },
		.plugin_info = plugin_info,
		.config_schema = config_schema,
		.set_config = set_config,
	};
	services.driver = (struct driver_methods){
		.base = { &driver_descriptor, protobuf_c_service_invoke_internal, NULL },
		.init = init,
		.task_config_schema = task_config_schema,
		.capabilities = capabilities,
		.fingerprint = fingerprint,
		.recover_task = recover_task,
		.start_task = start_task,
		.wait_task = wait_task,
		.stop_task = stop_task,
		.destroy_task = destroy_task,
		.inspect_task = inspect_task,
		.task_stats = task_stats,
		.task_events = task_events,
		.shutdown = shutdown,
		.signal_task = signal_task,
		.exec_task = exec_task,
		.create_network = create_network,
		.destroy_network = destroy_network,
	};
	if (cleat_rpc_role_add(role, &services.base.base, base_lanes, CLEAT_COUNT(base_lanes), err))
		return err->code;
	return cleat_rpc_role_add(role, &services.driver.base, driver_lanes, CLEAT_COUNT(driver_lanes), err);
}
