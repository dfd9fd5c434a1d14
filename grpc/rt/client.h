/* client.h - blocking calls over the gRPC C core: unary, and server streams.  Safe to share between threads.
 *
 * Written for a daemon on a local socket: reconnects within a quarter of a second, no proxies, no name
 * service.
 */
#ifndef CLEAT_RT_CLIENT_H
#define CLEAT_RT_CLIENT_H

#include "rt/pb.h"

#include <cleat/error.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>

struct cleat_rpc_client;

/* Zero means the default. */
struct cleat_rpc_client_config {
	const char *target;		 /* "unix:/run/x.sock", "127.0.0.1:7000"; borrowed for the call */
	grpc_channel_credentials *creds; /* borrowed; NULL means insecure */
	unsigned first_backoff_ms;	 /* default 100 */
	unsigned max_backoff_ms;	 /* default 250 */
	uint32_t max_reply_bytes;	 /* of one message on the wire, default 4 MiB */
	/* One thread watches the connection.  Without it an idle client notices only at its next call that
	 * the server went away: worth it for programs that live on, not for a command. */
	bool watch;
};

/* Nothing is sent before the first call: a server that is not there shows as UNAVAILABLE then. */
enum cleat_code cleat_rpc_client_new(const struct cleat_rpc_client_config *config,
				     struct cleat_rpc_client **client_out,
				     struct cleat_error *err) CLEAT_MUST_CHECK;
/* When no call is running any more; NULL is fine. */
void cleat_rpc_client_free(struct cleat_rpc_client *c);
/* Whether anybody listens at the Unix socket: 0, or the errno of connecting.  For telling people why a call
 * was UNAVAILABLE: gRPC's own text for a dead socket speaks of subchannels. */
int cleat_rpc_try_socket(const char *path);

/* Ends calls from another thread.  Each call that names it is cancelled, running or yet to come; for one call
 * at a time. */
struct cleat_rpc_canceller {
	pthread_mutex_t lock;
	grpc_call *call; /* the running one */
	bool cancelled;
};
#define CLEAT_RPC_CANCELLER_INIT                                                                             \
	{                                                                                                    \
		PTHREAD_MUTEX_INITIALIZER, NULL, false                                                       \
	}
void cleat_rpc_cancel(struct cleat_rpc_canceller *k);

struct cleat_rpc_header {
	const char *key;   /* lower case */
	const char *value; /* printable ASCII */
};

#define CLEAT_RPC_MAX_HEADERS 8
#define CLEAT_RPC_MAX_DETAILS_BYTES 1024

/* All zero is a plain call without a time limit; a NULL pointer means that. */
struct cleat_rpc_options {
	unsigned timeout_ms; /* 0: none */
	bool wait_for_ready; /* wait (within the limit) for a server that is not there, instead of failing */
	/* The call may safely be sent twice: repeat it once, within the limit, when the connection died
	 * before anything came back (UNAVAILABLE, or CANCELLED by a server that stopped). */
	bool idempotent;
	const struct cleat_rpc_header *headers;
	size_t n_headers;		       /* at most CLEAT_RPC_MAX_HEADERS */
	struct cleat_rpc_canceller *canceller; /* may be NULL */
	/* Filled from grpc-status-details-bin (a serialized google.rpc.Status) if not NULL; *details_len is 0
	 * when there is none, or a longer one. */
	uint8_t *details; /* CLEAT_RPC_MAX_DETAILS_BYTES */
	size_t *details_len;
};

/* Calls a unary method and blocks.  On OK *out belongs to the caller: cleat_pb_free().  The error has the
 * code and text of the status; INTERNAL also when the answer is not a valid message; CANCELLED after
 * cleat_rpc_cancel(); INVALID_ARGUMENT when the service has no such method or a header is not legal. */
enum cleat_code cleat_rpc_client_call(struct cleat_rpc_client *c, const ProtobufCServiceDescriptor *service,
				      const char *method, const ProtobufCMessage *in,
				      const struct cleat_rpc_options *options, ProtobufCMessage **out,
				      struct cleat_error *err);

/* Takes each message of a stream (borrowed for the call), in this thread; false ends the stream. */
typedef bool (*cleat_rpc_message_fn)(const ProtobufCMessage *message, void *arg);

/* Calls a server-streaming method and blocks until the stream ends.  OK: the server ended it, or on_message
 * returned false.  Errors as above; what came before them has been delivered.  Repeated only while nothing
 * was delivered. */
enum cleat_code cleat_rpc_client_stream(struct cleat_rpc_client *c, const ProtobufCServiceDescriptor *service,
					const char *method, const ProtobufCMessage *in,
					const struct cleat_rpc_options *options,
					cleat_rpc_message_fn on_message, void *arg, struct cleat_error *err);

static inline void cleat_cleanup_rpc_client(struct cleat_rpc_client **c)
{
	cleat_rpc_client_free(*c);
}

#endif
