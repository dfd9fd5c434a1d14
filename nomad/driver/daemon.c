/* daemon.c - see daemon.h. */
#include "driver/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 8000 /* a daemon restarts well within it */
#define REPLY_MAX_BYTES (16u << 20)

struct driver_daemon {
	char *socket;
	struct cleat_rpc_client *client;
	struct cleat_rpc_canceller watch;
};

enum cleat_code driver_daemon_new(const char *socket, struct driver_daemon **out, struct cleat_error *err)
{
	char target[128];
	struct cleat_rpc_client_config config = { .target = target, .max_reply_bytes = REPLY_MAX_BYTES };
	struct driver_daemon *d = calloc(1, sizeof(*d));

	if (d)
		d->socket = strdup(socket);
	if (!d || !d->socket) {
		driver_daemon_free(d);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	pthread_mutex_init(&d->watch.lock, NULL);
	snprintf(target, sizeof(target), "unix:%s", socket);
	enum cleat_code code = cleat_rpc_client_new(&config, &d->client, err);
	if (code)
		driver_daemon_free(d);
	else
		*out = d;
	return code;
}

void driver_daemon_free(struct driver_daemon *d)
{
	if (!d)
		return;
	cleat_rpc_client_free(d->client);
	free(d->socket);
	free(d);
}

const char *driver_daemon_socket(const struct driver_daemon *d)
{
	return d->socket;
}

/* The runtime's own words for a dead socket speak of subchannels; people need to know which socket. */
static enum cleat_code explain(const struct driver_daemon *d, bool waited, struct cleat_error *err)
{
	if (err->code == CLEAT_UNAVAILABLE || (err->code == CLEAT_DEADLINE_EXCEEDED && waited))
		return cleat_error_set(err, CLEAT_UNAVAILABLE,
				       "the volume daemon does not answer at '%s': is cleatd running?",
				       d->socket);
	return err->code;
}

/* Asks for nothing, to learn whether anybody is there. */
static enum cleat_code wait_for_daemon(struct driver_daemon *d, struct cleat_error *err)
{
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	const struct cleat_rpc_options options = { .timeout_ms = PATIENCE_MS,
						   .wait_for_ready = true,
						   .idempotent = true };
	cleat_autopb ProtobufCMessage *out = NULL;

	if (cleat_rpc_client_call(d->client, &cleat__v1__volumes__descriptor, "GetInfo", &in.base, &options,
				  &out, err))
		return explain(d, true, err);
	return CLEAT_OK;
}

enum cleat_code driver_daemon_call(struct driver_daemon *d, const char *method, const ProtobufCMessage *in,
				   unsigned timeout_ms, bool patient, void *out, struct cleat_error *err)
{
	const struct cleat_rpc_options options = { .timeout_ms = timeout_ms, .idempotent = true };
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	enum cleat_code code = cleat_rpc_client_call(d->client, &cleat__v1__volumes__descriptor, method, in,
						     &options, out, err);
	if (code == CLEAT_UNAVAILABLE && patient && wait_for_daemon(d, err) == CLEAT_OK) {
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
		code = cleat_rpc_client_call(d->client, &cleat__v1__volumes__descriptor, method, in, &options,
					     out, err);
	}
	return code ? explain(d, false, err) : CLEAT_OK;
}

enum cleat_code driver_daemon_watch(struct driver_daemon *d, cleat_rpc_message_fn on_message, void *arg,
				    struct cleat_error *err)
{
	Cleat__V1__WatchRequest in = CLEAT__V1__WATCH_REQUEST__INIT;
	const struct cleat_rpc_options options = { .canceller = &d->watch };

	return cleat_rpc_client_stream(d->client, &cleat__v1__volumes__descriptor, "Watch", &in.base,
				       &options, on_message, arg, err);
}

void driver_daemon_cancel(struct driver_daemon *d)
{
	cleat_rpc_cancel(&d->watch);
}

bool driver_daemon_may_recover(enum cleat_code code)
{
	return code == CLEAT_UNAVAILABLE || code == CLEAT_ABORTED || code == CLEAT_DEADLINE_EXCEEDED ||
	       code == CLEAT_RESOURCE_EXHAUSTED || code == CLEAT_CANCELLED;
}
