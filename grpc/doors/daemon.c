/* daemon.c - see daemon.h. */
#include "doors/daemon.h"

#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define REPLY_MAX_BYTES (64u << 20) /* a page of claims or volumes with all their labels */

struct cleat_door {
	struct cleat_rpc_client *client;
	int64_t deadline_ms, patience_ms;
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static const char *choose_socket(const char *socket)
{
	const char *env = getenv("CLEAT_SOCKET");

	if (socket)
		return socket;
	return env && *env ? env : CLEAT_DOOR_SOCKET;
}

enum cleat_code cleat_door_open(const char *socket, int64_t limit_ms, int64_t patience_ms,
				struct cleat_door **out, struct cleat_error *err)
{
	cleat_autodoor struct cleat_door *d = calloc(1, sizeof(*d));
	char target[sizeof(d->socket) + 8];
	const struct cleat_rpc_client_config config = { .target = target,
							.max_reply_bytes = REPLY_MAX_BYTES };

	if (!d)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	socket = choose_socket(socket);
	if (*socket != '/' || strlen(socket) >= sizeof(d->socket))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "socket '%s' is no absolute path of at most 107 bytes", socket);
	snprintf(d->socket, sizeof(d->socket), "%s", socket);
	d->deadline_ms = cleat_time_mono_ms() + limit_ms;
	d->patience_ms = patience_ms;
	snprintf(target, sizeof(target), "unix:%s", socket);
	if (cleat_rpc_client_new(&config, &d->client, err))
		return err->code;
	*out = cleat_steal(d);
	return CLEAT_OK;
}

void cleat_door_close(struct cleat_door *d)
{
	if (!d)
		return;
	cleat_rpc_client_free(d->client);
	free(d);
}

const char *cleat_door_socket(const struct cleat_door *d)
{
	return d->socket;
}

void cleat_door_set_limit(struct cleat_door *d, int64_t limit_ms)
{
	d->deadline_ms = cleat_time_mono_ms() + limit_ms;
}

int64_t cleat_door_left_ms(const struct cleat_door *d)
{
	int64_t left_ms = d->deadline_ms - cleat_time_mono_ms();

	return left_ms > 0 ? left_ms : 0;
}

/* ---- what to say when nobody answers ---- */

/* gRPC's own text for a dead socket speaks of subchannels. */
static enum cleat_code explain(const struct cleat_door *d, struct cleat_error *err)
{
	int e;

	if (err->code == CLEAT_DEADLINE_EXCEEDED && cleat_door_left_ms(d) == 0)
		return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED,
				       "no answer from '%s' in time; what was begun goes on in the daemon",
				       d->socket);
	if (err->code != CLEAT_UNAVAILABLE || !(e = cleat_rpc_try_socket(d->socket)))
		return err->code; /* the daemon's own answer */
	return cleat_error_set(err, CLEAT_UNAVAILABLE, "no daemon at '%s': %s (%s)", d->socket, strerror(e),
			       e == EACCES ? "only root and the members of the socket's group may use it"
					   : "is cleatd running?");
}

/* ---- calling ---- */

static enum cleat_code call(struct cleat_door *d, const char *method, const ProtobufCMessage *in,
			    int64_t limit_ms, bool wait, void *out, struct cleat_error *err)
{
	const struct cleat_rpc_options options = { .timeout_ms = (unsigned)(limit_ms > 0 ? limit_ms : 1),
						   .wait_for_ready = wait,
						   .idempotent = true };

	return cleat_rpc_client_call(d->client, &cleat__v1__volumes__descriptor, method, in, &options, out,
				     err);
}

/* Asks for nothing, to learn whether somebody is there by now. */
static bool comes_back(struct cleat_door *d)
{
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error ignored = CLEAT_ERROR_INIT;
	int64_t limit_ms = cleat_door_left_ms(d);

	limit_ms = limit_ms < d->patience_ms ? limit_ms : d->patience_ms;
	return limit_ms > 0 && call(d, "GetInfo", &in.base, limit_ms, true, &out, &ignored) == CLEAT_OK;
}

enum cleat_code cleat_door_call(struct cleat_door *d, const char *method, const ProtobufCMessage *in,
				void *out, struct cleat_error *err)
{
	struct cleat_error first = CLEAT_ERROR_INIT;

	if (call(d, method, in, cleat_door_left_ms(d), false, out, &first) == CLEAT_OK)
		return CLEAT_OK;
	if (first.code == CLEAT_UNAVAILABLE && cleat_rpc_try_socket(d->socket) != 0 && comes_back(d)) {
		first = (struct cleat_error)CLEAT_ERROR_INIT;
		if (call(d, method, in, cleat_door_left_ms(d), false, out, &first) == CLEAT_OK)
			return CLEAT_OK;
	}
	*err = first;
	return explain(d, err);
}
