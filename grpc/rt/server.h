/* server.h - serves protobuf-c services over the gRPC C core: roles, listeners, start and ordered stop.
 *
 * One completion queue, one poller thread that never blocks, a pool of workers that may.  A role is one set
 *of services for one kind of caller; each listener says which role a connection gets.  Life:
 *
 *	cleat_rpc_server_new -> cleat_rpc_role_new, cleat_rpc_role_add ... -> cleat_rpc_listen_... ->
 *	cleat_rpc_server_start -> (serves) -> cleat_rpc_server_stop -> cleat_rpc_server_free
 *
 * Nothing is added after the start.  Threads that the server starts block all signals; those of the core
 *inherit the mask of the thread that calls cleat_rpc_server_new().  SIGPIPE must be ignored.
 */
#ifndef CLEAT_RT_SERVER_H
#define CLEAT_RT_SERVER_H

#include "rt/call.h"

#include <cleat/error.h>
#include <grpc/grpc_security.h>
#include <sys/stat.h>

struct cleat_rpc_server;

enum cleat_rpc_lane {
	CLEAT_RPC_WORKER, /* runs on a worker: may block */
	CLEAT_RPC_INLINE, /* runs on the poller, which every other call waits for: must not block */
};

enum cleat_rpc_kind {
	CLEAT_RPC_UNARY,
	CLEAT_RPC_SERVER_STREAM, /* cleat_rpc_call_reply() per message, then end or fail */
	CLEAT_RPC_BIDI, /* on_message per request message, always on the poller; answers as a server stream */
};

/* How a method is run.  The generated descriptor does not say that a method streams, so it is said here. */
struct cleat_rpc_method {
	const char *name; /* as in the .proto; NULL: every method that is not named */
	enum cleat_rpc_lane lane;
	enum cleat_rpc_kind kind;
	/* Bidi only.  m is valid during the call only; NULL comes once, last: half close, or the caller is
	 * gone. */
	void (*on_message)(ProtobufCService *svc, struct cleat_rpc_call *c, const ProtobufCMessage *m);
};

/* A finished call, once, on whatever thread finished it: must not block.  `call` answers the questions of
 * call.h (id, peer, role, data); it must not be answered or held. */
struct cleat_rpc_done {
	const char *method;
	enum cleat_code code;
	const char *text; /* of an error; "" with OK */
	uint64_t
		duration_us; /* from the arrival of its headers to its status being handed to the transport */
	bool lost;	     /* the caller was gone (or out of time) and did not get the answer */
};
typedef void (*cleat_rpc_done_fn)(const struct cleat_rpc_call *call, const struct cleat_rpc_done *done,
				  void *arg);

/* Zero means the default. */
struct cleat_rpc_server_config {
	unsigned pollers;     /* default 1; every further one costs wake-ups: see docs/rpc-runtime.md */
	unsigned max_workers; /* default 8; started when first needed, then kept */
	unsigned max_queued;  /* calls that wait for a worker, default 256; beyond: RESOURCE_EXHAUSTED */
	unsigned max_calls;   /* calls at once, held ones too, default 4096; beyond: RESOURCE_EXHAUSTED */
	uint32_t max_request_bytes; /* on the wire, default 4 MiB */
	size_t max_unpacked_bytes;  /* of one request in memory, default 8 x max_request_bytes */
	size_t max_unsent_bytes;    /* that a stream may have waiting for a slow reader, default 8 MiB */
	unsigned idle_ms;	    /* connections without calls are closed after this, default 10 min */
	unsigned max_fd; /* connections that would get a higher descriptor are refused, default 512 */
	cleat_rpc_done_fn on_done; /* may be NULL */
	void *done_arg;
};

enum cleat_code cleat_rpc_server_new(const struct cleat_rpc_server_config *config,
				     struct cleat_rpc_server **server_out,
				     struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- roles ---- */

/* A new, empty role; owned by the server.  A role costs about 50 kB. */
enum cleat_code cleat_rpc_role_new(struct cleat_rpc_server *s, const char *name,
				   struct cleat_rpc_role **role_out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
const char *cleat_rpc_role_name(const struct cleat_rpc_role *role);

/* Adds a service to a role; the same one may go into several.  svc is borrowed until the server is freed;
 * methods only for this call.  A method without an entry is unary on a worker.  A handler left NULL is
 * answered UNIMPLEMENTED.  INVALID_ARGUMENT: an entry names no method of the service; ALREADY_EXISTS. */
enum cleat_code cleat_rpc_role_add(struct cleat_rpc_role *role, ProtobufCService *svc,
				   const struct cleat_rpc_method *methods, size_t n_methods,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* The same under another service name, for versions of a service whose messages agree on the wire. */
enum cleat_code cleat_rpc_role_add_as(struct cleat_rpc_role *role, const char *name, ProtobufCService *svc,
				      const struct cleat_rpc_method *methods, size_t n_methods,
				      struct cleat_error *err) CLEAT_MUST_CHECK;
/* The role's services in alphabetical order, to fn (borrowed for the call).  After the start. */
void cleat_rpc_role_services(const struct cleat_rpc_role *role, void (*fn)(const char *name, void *arg),
			     void *arg);

/* ---- listeners ---- */

/* Which role a connection gets: `admit` decides if there is one, else it is `role`.  NULL refuses: the
 * connection is closed.  Runs on the accept thread and must not block for long. */
struct cleat_rpc_admission {
	struct cleat_rpc_role *role;
	struct cleat_rpc_role *(*admit)(const struct cleat_rpc_peer *who, void *arg);
	void *arg;
};

struct cleat_rpc_unix {
	const char *path; /* at most 107 bytes; its folder must exist and belong to us */
	mode_t mode;	  /* 0 means 0600; holds before the first connection is possible */
	bool set_group;
	gid_t group; /* with set_group */
};

/* Creates a socket at a path.  A socket that is dead (connection refused) is replaced; FAILED_PRECONDITION
 * when somebody listens there or the path is no socket.  The stop removes the path if it is still ours. */
enum cleat_code cleat_rpc_listen_unix(struct cleat_rpc_server *s, const struct cleat_rpc_unix *where,
				      const struct cleat_rpc_admission *who,
				      struct cleat_error *err) CLEAT_MUST_CHECK;
/* Serves a Unix socket that listens already (see rt/activation.h); fd belongs to the server from here on,
 * also on failure.  Connections that came before the start are served. */
enum cleat_code cleat_rpc_listen_fd(struct cleat_rpc_server *s, int fd, const struct cleat_rpc_admission *who,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* A listener inside the core ("127.0.0.1:0", "unix:/path"): needed for TLS; callers' uids stay unknown, and
 * for a unix: address the umask alone decides the mode.  creds is borrowed, NULL means insecure.  *port_out
 * (may be NULL) is the TCP port. */
enum cleat_code cleat_rpc_listen_core(struct cleat_rpc_server *s, const char *address,
				      grpc_server_credentials *creds, struct cleat_rpc_role *role,
				      int *port_out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- running ---- */

/* fn runs when the stop begins, after new calls are refused: it should end long-lived streams, which would
 * use up the grace.  At most eight. */
enum cleat_code cleat_rpc_server_on_stop(struct cleat_rpc_server *s, void (*fn)(void *arg), void *arg,
					 struct cleat_error *err) CLEAT_MUST_CHECK;

enum cleat_code cleat_rpc_server_start(struct cleat_rpc_server *s, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Refuses new connections and calls, lets running calls finish for grace_ms, cancels them, and waits up to
 * hard_ms more until every call is gone, held ones too.  DEADLINE_EXCEEDED when some are not: the server then
 * stays allocated, and the process should end. */
enum cleat_code cleat_rpc_server_stop(struct cleat_rpc_server *s, unsigned grace_ms, unsigned hard_ms,
				      struct cleat_error *err) CLEAT_MUST_CHECK;
/* Frees a server that was stopped or never started; NULL is fine.  One whose stop failed is left alone. */
void cleat_rpc_server_free(struct cleat_rpc_server *s);

/* Calls accepted and not finished, held ones too. */
unsigned cleat_rpc_server_calls(struct cleat_rpc_server *s);

static inline void cleat_cleanup_rpc_server(struct cleat_rpc_server **s)
{
	cleat_rpc_server_free(*s);
}

#endif
