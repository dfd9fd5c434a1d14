/* client.c - the channel of a client: its settings, its watcher, its queues, its end. */
#include "rt/client_internal.h"

#include "rt/core.h"

#include <errno.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "util/mem.h"

#define DEFAULT_FIRST_BACKOFF_MS 100
#define DEFAULT_MAX_BACKOFF_MS 250
#define CONNECT_LIMIT_MS 10000
#define DEFAULT_REPLY_BYTES (4u << 20)
#define UNPACKED_PER_WIRE_BYTE 16

/* Blocking calls poll the socket only while they run.  Somebody who waits for changes of the connection makes
 * the channel notice a dead server, and reconnect, in between. */
static void *watch(void *arg)
{
	struct cleat_rpc_client *c = arg;

	for (;;) {
		pthread_mutex_lock(&c->watch_lock);
		bool stopping = c->stopping;
		if (!stopping) {
			grpc_connectivity_state now = grpc_channel_check_connectivity_state(c->channel, 1);
			grpc_channel_watch_connectivity_state(
				c->channel, now, gpr_inf_future(GPR_CLOCK_MONOTONIC), c->watch_queue, c);
		}
		pthread_mutex_unlock(&c->watch_lock);
		if (stopping)
			return NULL;
		grpc_completion_queue_next(c->watch_queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	}
}

static grpc_arg number(const char *key, unsigned value)
{
	return (grpc_arg){ .type = GRPC_ARG_INTEGER,
			   .key = (char *)(uintptr_t)key,
			   .value.integer = (int)value };
}

static grpc_channel *make_channel(const struct cleat_rpc_client_config *config)
{
	unsigned first = config->first_backoff_ms ? config->first_backoff_ms : DEFAULT_FIRST_BACKOFF_MS;
	unsigned most = config->max_backoff_ms ? config->max_backoff_ms : DEFAULT_MAX_BACKOFF_MS;
	grpc_arg args[] = {
		number(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, first),
		/* In spite of its name this is how long one attempt to connect may take; a server that was
		 * just started by its socket, on a busy machine, needs more than the back-off. */
		number(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_LIMIT_MS),
		number(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, most),
		number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
		       config->max_reply_bytes ? config->max_reply_bytes : DEFAULT_REPLY_BYTES),
		number(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		number(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		number(GRPC_ARG_ENABLE_RETRIES, 0), /* the only retry is ours */
		number(GRPC_ARG_ENABLE_CHANNELZ, 0),
		number(GRPC_ARG_HTTP2_BDP_PROBE, 0),
	};
	grpc_channel_args all = { CLEAT_COUNT(args), args };
	grpc_channel_credentials *used = config->creds;

	if (!used)
		used = grpc_insecure_credentials_create();
	grpc_channel *channel = grpc_channel_create(config->target, used, &all);
	if (!config->creds)
		grpc_channel_credentials_release(used);
	return channel;
}

static enum cleat_code start_watcher(struct cleat_rpc_client *c, struct cleat_error *err)
{
	c->watch_queue = grpc_completion_queue_create_for_next(NULL);
	int e = pthread_create(&c->watcher, NULL, watch, c);
	c->watching = e == 0;
	return e ? cleat_error_errno(err, e, "start the watcher thread") : CLEAT_OK;
}

enum cleat_code cleat_rpc_client_new(const struct cleat_rpc_client_config *config,
				     struct cleat_rpc_client **client_out, struct cleat_error *err)
{
	struct cleat_rpc_client *c = calloc(1, sizeof(*c));
	uint32_t reply_bytes = config->max_reply_bytes ? config->max_reply_bytes : DEFAULT_REPLY_BYTES;

	if (!c)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for a client");
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->watch_lock, NULL);
	c->max_unpacked_bytes = UNPACKED_PER_WIRE_BYTE * (size_t)reply_bytes;
	cleat_rt_core_init();
	c->channel = make_channel(config);
	enum cleat_code code = config->watch ? start_watcher(c, err) : CLEAT_OK;
	if (code != CLEAT_OK)
		cleat_rpc_client_free(c);
	else
		*client_out = c;
	return code;
}

/* Destroying the channel completes a watch that is pending; the lock keeps the watcher from starting another.
 */
static void stop_watcher(struct cleat_rpc_client *c)
{
	pthread_mutex_lock(&c->watch_lock);
	c->stopping = true;
	grpc_channel_destroy(c->channel);
	pthread_mutex_unlock(&c->watch_lock);
	if (c->watching)
		pthread_join(c->watcher, NULL);
	if (!c->watch_queue)
		return;
	grpc_completion_queue_shutdown(c->watch_queue);
	while (grpc_completion_queue_next(c->watch_queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
	       GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(c->watch_queue);
}

static void destroy_queue(grpc_completion_queue *q)
{
	grpc_completion_queue_shutdown(q);
	grpc_completion_queue_pluck(q, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	grpc_completion_queue_destroy(q);
}

void cleat_rpc_client_free(struct cleat_rpc_client *c)
{
	if (!c)
		return;
	stop_watcher(c);
	for (struct rpc_spare *s = c->spares, *next; s; s = next) {
		next = s->next;
		destroy_queue(s->queue);
		free(s);
	}
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->watch_lock);
	free(c);
	cleat_rt_core_shutdown();
}

/* ---- queues ---- */

grpc_completion_queue *cleat_rt_client_take_queue(struct cleat_rpc_client *c)
{
	pthread_mutex_lock(&c->lock);
	struct rpc_spare *s = c->spares;
	if (s)
		c->spares = s->next;
	pthread_mutex_unlock(&c->lock);
	if (!s)
		return grpc_completion_queue_create_for_pluck(NULL);
	grpc_completion_queue *q = s->queue;
	free(s);
	return q;
}

void cleat_rt_client_give_queue(struct cleat_rpc_client *c, grpc_completion_queue *q)
{
	struct rpc_spare *s = malloc(sizeof(*s));

	if (!s) {
		destroy_queue(q);
		return;
	}
	s->queue = q;
	pthread_mutex_lock(&c->lock);
	s->next = c->spares;
	c->spares = s;
	pthread_mutex_unlock(&c->lock);
}

/* ---- cancelling ---- */

void cleat_rpc_cancel(struct cleat_rpc_canceller *k)
{
	pthread_mutex_lock(&k->lock);
	k->cancelled = true;
	if (k->call)
		grpc_call_cancel(k->call, NULL);
	pthread_mutex_unlock(&k->lock);
}

int cleat_rpc_try_socket(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	cleat_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ? errno : 0;
}
