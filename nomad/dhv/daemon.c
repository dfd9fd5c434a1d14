/* daemon.c - see daemon.h. */
#include "dhv/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include "util/mem.h"

#define REPLY_MAX_BYTES (64u << 20) /* a page of volumes with all their labels */
#define AGAIN_MS 200		    /* between two tries */

enum cleat_code dhv_daemon_open(const char *socket, int64_t patience_ms, int64_t limit_ms,
				struct dhv_daemon *out, struct cleat_error *err)
{
	const int64_t now_ms = cleat_time_mono_ms();
	char target[128];
	struct cleat_rpc_client_config config = { .target = target, .max_reply_bytes = REPLY_MAX_BYTES };

	*out = (struct dhv_daemon){ .socket = socket,
				    .patience_until_ms = now_ms + patience_ms,
				    .end_ms = now_ms + limit_ms };
	snprintf(target, sizeof(target), "unix:%s", socket);
	return cleat_rpc_client_new(&config, &out->client, err);
}

void dhv_daemon_close(struct dhv_daemon *d)
{
	cleat_rpc_client_free(d->client);
	d->client = NULL;
}

/* gRPC's own words for a dead socket speak of subchannels. */
static void explain(struct dhv_daemon *d, struct cleat_error *err)
{
	int e;

	if (err->code == CLEAT_DEADLINE_EXCEEDED && cleat_time_mono_ms() >= d->end_ms) {
		cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED,
				"no answer of the daemon in time; what was begun goes on there");
		return;
	}
	/* When somebody is there, the answer was the daemon's own. */
	if (err->code != CLEAT_UNAVAILABLE || (e = cleat_rpc_try_socket(d->socket)) == 0)
		return;
	d->unreachable = true;
	cleat_error_set(err, CLEAT_UNAVAILABLE, "no daemon at '%s': %s (%s)", d->socket, strerror(e),
			e == EACCES ? "only root and the members of the socket's group may use it"
				    : "is cleatd running?");
}

static bool may_pass(const struct dhv_daemon *d, enum cleat_code code)
{
	return code == CLEAT_UNAVAILABLE || code == CLEAT_ABORTED ||
	       (code == CLEAT_RESOURCE_EXHAUSTED && d->needs_no_space);
}

bool dhv_daemon_wait(const struct dhv_daemon *d)
{
	const struct timespec a_little = { .tv_nsec = AGAIN_MS * 1000000L };

	if (cleat_time_mono_ms() + AGAIN_MS >= d->patience_until_ms)
		return false;
	nanosleep(&a_little, NULL);
	return true;
}

static enum cleat_code once(struct dhv_daemon *d, const char *method, const ProtobufCMessage *in, void *out,
			    struct cleat_error *err)
{
	const int64_t left_ms = d->end_ms - cleat_time_mono_ms();
	const struct cleat_rpc_options options = { .timeout_ms = left_ms > 0 ? (unsigned)left_ms : 1,
						   .idempotent = true };

	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	d->unreachable = false;
	return cleat_rpc_client_call(d->client, &cleat__v1__volumes__descriptor, method, in, &options, out,
				     err);
}

enum cleat_code dhv_daemon_call(struct dhv_daemon *d, const char *method, const ProtobufCMessage *in,
				void *out, struct cleat_error *err)
{
	do {
		if (once(d, method, in, out, err) == CLEAT_OK)
			return CLEAT_OK;
	} while (may_pass(d, err->code) && dhv_daemon_wait(d));
	explain(d, err);
	return err->code;
}
