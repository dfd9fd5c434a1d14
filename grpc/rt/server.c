/* server.c - a server's life: made, started, stopped in order, freed. */
#include "rt/internal.h"

#include "rt/core.h"

#include <grpc/compression.h>
#include <grpc/support/time.h>
#include <string.h>

#define DEFAULT_WORKERS 8
#define DEFAULT_QUEUED 256
#define DEFAULT_CALLS 4096
#define DEFAULT_REQUEST_BYTES (4u << 20)
#define DEFAULT_UNSENT_BYTES ((size_t)8 << 20)
#define UNPACKED_PER_WIRE_BYTE 8
#define DEFAULT_IDLE_MS (10 * 60 * 1000)
#define DEFAULT_MAX_FD 512
#define HIGHEST_MAX_FD 65535
/* Accepts that wait per role: more than one, so that a burst does not wait for the poller. */
#define ACCEPTS_POSTED 16
#define STREAMS_PER_CONNECTION 256
/* For calls to end when a server is freed without having been stopped. */
#define LAST_RESORT_MS 5000
/* How often a stop looks whether calls are left. */
#define IDLE_CHECK_MS 50

/* ---- new and free ---- */

static void set_defaults(struct cleat_rpc_server_config *c)
{
	c->pollers = c->pollers ? c->pollers : 1;
	c->max_workers = c->max_workers ? c->max_workers : DEFAULT_WORKERS;
	c->max_queued = c->max_queued ? c->max_queued : DEFAULT_QUEUED;
	c->max_calls = c->max_calls ? c->max_calls : DEFAULT_CALLS;
	c->max_request_bytes = c->max_request_bytes ? c->max_request_bytes : DEFAULT_REQUEST_BYTES;
	if (!c->max_unpacked_bytes)
		c->max_unpacked_bytes = UNPACKED_PER_WIRE_BYTE * (size_t)c->max_request_bytes;
	c->max_unsent_bytes = c->max_unsent_bytes ? c->max_unsent_bytes : DEFAULT_UNSENT_BYTES;
	c->idle_ms = c->idle_ms ? c->idle_ms : DEFAULT_IDLE_MS;
	c->max_fd = c->max_fd ? c->max_fd : DEFAULT_MAX_FD;
	if (c->max_fd > HIGHEST_MAX_FD)
		c->max_fd = HIGHEST_MAX_FD;
}

static enum cleat_code init_server(struct cleat_rpc_server *s, struct cleat_error *err)
{
	pthread_mutex_init(&s->objects.lock, NULL);
	pthread_mutex_init(&s->peers.lock, NULL);
	s->peers.of = calloc(s->config.max_fd + 1, sizeof(*s->peers.of));
	s->pollers = calloc(s->config.pollers, sizeof(*s->pollers));
	if (!s->peers.of || !s->pollers)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for a server");
	enum cleat_code code = cleat_rt_cond_init(&s->objects.none, err);
	if (code == CLEAT_OK)
		code = cleat_rt_pool_init(&s->pool, s->config.max_workers, s->config.max_queued, err);
	return code;
}

enum cleat_code cleat_rpc_server_new(const struct cleat_rpc_server_config *config,
				     struct cleat_rpc_server **server_out, struct cleat_error *err)
{
	struct cleat_rpc_server *s = calloc(1, sizeof(*s));

	if (!s)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for a server");
	s->config = *config;
	s->wake_fd = -1;
	set_defaults(&s->config);
	cleat_rt_core_init();
	enum cleat_code code = init_server(s, err);
	if (code != CLEAT_OK) {
		cleat_rpc_server_free(s);
		return code;
	}
	s->queue = grpc_completion_queue_create_for_next(NULL);
	s->down_queue = grpc_completion_queue_create_for_pluck(NULL);
	*server_out = s;
	return CLEAT_OK;
}

/* Nothing may use the queue any more but the pollers, which end with it. */
static void end_pollers(struct cleat_rpc_server *s)
{
	grpc_completion_queue_shutdown(s->queue);
	if (s->n_pollers == 0)
		grpc_completion_queue_next(s->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	while (s->n_pollers)
		pthread_join(s->pollers[--s->n_pollers], NULL);
	grpc_completion_queue_destroy(s->queue);
	grpc_completion_queue_shutdown(s->down_queue);
	grpc_completion_queue_pluck(s->down_queue, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	grpc_completion_queue_destroy(s->down_queue);
}

/* The core wants to be shut down before it is destroyed, also when it never ran. */
static void destroy_core(struct cleat_rpc_role *role)
{
	if (!role->core)
		return;
	if (!role->down) {
		grpc_completion_queue *q = role->server->down_queue;
		grpc_server_shutdown_and_notify(role->core, q, role);
		grpc_completion_queue_pluck(q, role, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	}
	grpc_server_destroy(role->core);
}

void cleat_rpc_server_free(struct cleat_rpc_server *s)
{
	if (!s || s->stuck)
		return;
	if (s->started && !s->stopped && cleat_rpc_server_stop(s, 0, LAST_RESORT_MS, NULL) != CLEAT_OK)
		return;
	cleat_rt_listeners_stop(s);
	for (struct cleat_rpc_role *r = s->roles, *next; r; r = next) {
		next = r->next;
		destroy_core(r);
		cleat_rt_role_free(r);
	}
	if (s->queue)
		end_pollers(s);
	cleat_rt_pool_done(&s->pool);
	pthread_mutex_destroy(&s->objects.lock);
	pthread_cond_destroy(&s->objects.none);
	pthread_mutex_destroy(&s->peers.lock);
	free(s->peers.of);
	free(s->pollers);
	free(s);
	cleat_rt_core_shutdown();
}

unsigned cleat_rpc_server_calls(struct cleat_rpc_server *s)
{
	return atomic_load(&s->live);
}

/* ---- start ---- */

static grpc_arg number(const char *key, unsigned value)
{
	return (grpc_arg){ .type = GRPC_ARG_INTEGER,
			   .key = (char *)(uintptr_t)key,
			   .value.integer = (int)value };
}

static void make_core(struct cleat_rpc_role *role)
{
	struct cleat_rpc_server *s = role->server;
	grpc_arg args[] = {
		number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, s->config.max_request_bytes),
		/* No compression: the core applies the size limit after unpacking, so that a small gzip body
		 * could take any amount of memory. */
		number(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE),
		number(GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_PER_CONNECTION),
		/* Also ends connections that never send a byte: sockets given to the core have no handshake
		 * timeout. */
		number(GRPC_ARG_MAX_CONNECTION_IDLE_MS, s->config.idle_ms),
		number(GRPC_ARG_ENABLE_CHANNELZ, 0),
		number(GRPC_ARG_HTTP2_BDP_PROBE, 0),
	};
	grpc_channel_args all = { CLEAT_COUNT(args), args };

	if (role->core)
		return;
	role->core = grpc_server_create(&all, NULL);
	grpc_server_register_completion_queue(role->core, s->queue, NULL);
}

enum cleat_code cleat_rpc_listen_core(struct cleat_rpc_server *s, const char *address,
				      grpc_server_credentials *creds, struct cleat_rpc_role *role,
				      int *port_out, struct cleat_error *err)
{
	grpc_server_credentials *used = creds;

	if (s->started)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "the server runs already");
	make_core(role);
	if (!used)
		used = grpc_insecure_server_credentials_create();
	int port = grpc_server_add_http2_port(role->core, address, used);
	if (!creds)
		grpc_server_credentials_release(used);
	if (port == 0)
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "cannot listen on '%s'", address);
	if (port_out)
		*port_out = port;
	return CLEAT_OK;
}

static _Thread_local const grpc_completion_queue *polled; /* by this thread */

bool cleat_rt_is_poller(const struct cleat_rpc_server *s)
{
	return polled == s->queue;
}

static void *poll_loop(void *arg)
{
	grpc_completion_queue *queue = arg;

	polled = queue;
	for (;;) {
		grpc_event event =
			grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (event.type != GRPC_OP_COMPLETE)
			continue;
		struct rpc_op *op = event.tag;
		EDGE_IN(op);
		op->done(op, event.success);
	}
}

static enum cleat_code start_pollers(struct cleat_rpc_server *s, struct cleat_error *err)
{
	while (s->n_pollers < s->config.pollers) {
		enum cleat_code code = cleat_rt_thread_start(&s->pollers[s->n_pollers], "rpc-poll", poll_loop,
							     s->queue, err);
		if (code != CLEAT_OK)
			return code;
		s->n_pollers++;
	}
	return CLEAT_OK;
}

enum cleat_code cleat_rpc_server_start(struct cleat_rpc_server *s, struct cleat_error *err)
{
	if (s->started)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "the server runs already");
	enum cleat_code code = start_pollers(s, err);
	if (code != CLEAT_OK)
		return code;
	s->started = true;
	for (struct cleat_rpc_role *r = s->roles; r; r = r->next) {
		cleat_rt_role_sort(r);
		make_core(r);
		grpc_server_start(r->core);
		for (unsigned i = 0; i < ACCEPTS_POSTED; i++)
			cleat_rt_post_accept(r);
	}
	return cleat_rt_listeners_start(s, err);
}

/* ---- stop ---- */

enum cleat_code cleat_rpc_server_on_stop(struct cleat_rpc_server *s, void (*fn)(void *arg), void *arg,
					 struct cleat_error *err)
{
	if (s->n_stop_hooks == RPC_MAX_STOP_HOOKS)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "a server has at most %d stop hooks",
				       RPC_MAX_STOP_HOOKS);
	s->stop_hooks[s->n_stop_hooks].fn = fn;
	s->stop_hooks[s->n_stop_hooks++].arg = arg;
	return CLEAT_OK;
}

/* Running calls go on; callers learn that they must not send new ones. */
static void begin_shutdown(struct cleat_rpc_server *s)
{
	atomic_store(&s->stopping, true);
	cleat_rt_listeners_stop(s);
	for (struct cleat_rpc_role *r = s->roles; r; r = r->next)
		grpc_server_shutdown_and_notify(r->core, s->down_queue, r);
	for (unsigned i = 0; i < s->n_stop_hooks; i++)
		s->stop_hooks[i].fn(s->stop_hooks[i].arg);
}

static bool wait_for_cores(struct cleat_rpc_server *s, unsigned ms)
{
	gpr_timespec until =
		gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis((int64_t)ms, GPR_TIMESPAN));

	for (struct cleat_rpc_role *r = s->roles; r; r = r->next) {
		if (r->down)
			continue;
		r->down = grpc_completion_queue_pluck(s->down_queue, r, until, NULL).type == GRPC_OP_COMPLETE;
		if (!r->down)
			return false;
	}
	return true;
}

/* A client that is idle and does not look at its socket keeps its connection; once no call is left, none
 * needs any grace. */
static bool wait_for_calls(struct cleat_rpc_server *s, unsigned grace_ms)
{
	uint64_t until_us = cleat_rt_now_us() + (uint64_t)grace_ms * 1000;

	for (;;) {
		uint64_t now_us = cleat_rt_now_us();
		unsigned left_ms = now_us < until_us ? (unsigned)((until_us - now_us) / 1000) : 0;

		if (wait_for_cores(s, left_ms < IDLE_CHECK_MS ? left_ms : IDLE_CHECK_MS))
			return true;
		if (left_ms == 0 || atomic_load(&s->live) == 0)
			return false;
	}
}

static void cancel_all(struct cleat_rpc_server *s)
{
	for (struct cleat_rpc_role *r = s->roles; r; r = r->next)
		if (!r->down)
			grpc_server_cancel_all_calls(r->core);
}

static bool wait_for_objects(struct cleat_rpc_server *s, const struct timespec *until)
{
	int e = 0;

	pthread_mutex_lock(&s->objects.lock);
	while (s->objects.count && e == 0)
		e = pthread_cond_timedwait(&s->objects.none, &s->objects.lock, until);
	bool none = s->objects.count == 0;
	pthread_mutex_unlock(&s->objects.lock);
	return none;
}

static enum cleat_code still_running(struct cleat_rpc_server *s, struct cleat_error *err)
{
	s->stuck = true;
	return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED, "%u calls are still running",
			       cleat_rpc_server_calls(s));
}

enum cleat_code cleat_rpc_server_stop(struct cleat_rpc_server *s, unsigned grace_ms, unsigned hard_ms,
				      struct cleat_error *err)
{
	if (!s->started || s->stopped)
		return CLEAT_OK;
	s->stopped = true;
	begin_shutdown(s);
	bool down = wait_for_calls(s, grace_ms);
	struct timespec until = cleat_rt_after_ms(hard_ms);
	if (!down) {
		cancel_all(s);
		down = wait_for_cores(s, hard_ms);
	}
	/* The transports are gone, but cancelled handlers and holders may go on.  A batch that is started on
	 * a queue that is shut down makes the core abort, so every call object has to be gone before that. */
	if (!down || !cleat_rt_pool_stop(&s->pool, &until) || !wait_for_objects(s, &until))
		return still_running(s, err);
	return CLEAT_OK;
}
