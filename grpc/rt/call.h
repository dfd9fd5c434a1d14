/* call.h - what a handler sees of one call: answering it, now or later, and what is known about it.
 *
 * A handler is an ordinary generated protobuf-c method; its closure_data is the call.  It must see to it that
 *the call is answered exactly once, and may do so at once, or later from any thread:
 *
 *	static void on_create(Cleat__V1__Volumes_Service *s, const Cleat__V1__CreateRequest *in,
 *			      Cleat__V1__CreateResponse_Closure done, void *call)
 *	{
 *		cleat_rpc_call_hold(call);
 *		engine_create(in->name, created, call);  // returns at once; `in` stays valid until the drop
 *	}
 *	static void created(const struct cleat_error *err, const struct volume *v, void *call)
 *	{
 *		if (err)
 *			cleat_rpc_call_fail_error(call, err);
 *		else
 *			cleat_rpc_call_reply(call, &response.base);
 *		cleat_rpc_call_drop(call);
 *	}
 *
 * A call that nobody holds any more and that has no answer is answered INTERNAL, so a forgotten answer cannot
 * leave a caller waiting.  Everything here may be called from any thread while the call is held (or from
 *within its handler), also after the caller has gone away: answers then lead nowhere, without harm.
 */
#ifndef CLEAT_RT_CALL_H
#define CLEAT_RT_CALL_H

#include <cleat/error.h>
#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cleat_rpc_call;
struct cleat_rpc_role;

/* Who connected, as the kernel said when the connection was accepted (SO_PEERCRED). */
struct cleat_rpc_peer {
	bool known; /* false on listeners of the core (TCP, TLS), which know no uid */
	uid_t uid;
	gid_t gid;
	pid_t pid; /* the process that connected; it may have handed the socket on, or have ended */
};

/* ---- answering ---- */

/* Keeps the call, with its request message, beyond the handler's return; each hold needs one drop.  A held
 * call notices when its caller goes away. */
void cleat_rpc_call_hold(struct cleat_rpc_call *c);
/* The same for whoever does not want to know before the answer whether the caller is still there: one event
 * less. */
void cleat_rpc_call_keep(struct cleat_rpc_call *c);
void cleat_rpc_call_drop(struct cleat_rpc_call *c);

/* Unary: the answer.  Streams: one more message; never blocks.  False when it leads nowhere because the call
 * has ended (a stream also ends, with RESOURCE_EXHAUSTED, when more unread bytes wait than the server's
 * max_unsent_bytes).  The message is serialized before this returns. */
bool cleat_rpc_call_reply(struct cleat_rpc_call *c, const ProtobufCMessage *message);
/* Ends a stream with OK. */
void cleat_rpc_call_end(struct cleat_rpc_call *c);
/* Ends any call with an error (CLEAT_OK is turned into INTERNAL).  Messages already queued are sent first. */
void cleat_rpc_call_fail(struct cleat_rpc_call *c, enum cleat_code code, const char *fmt, ...)
	CLEAT_PRINTF(3, 4);
void cleat_rpc_call_fail_error(struct cleat_rpc_call *c, const struct cleat_error *err);
/* The generated closure does the same: closure(&m, call) is reply, closure(NULL, call) is end; a unary call
 * that ends without a message is INTERNAL. */

/* Before the answer: adds a serialized google.rpc.Status as trailer grpc-status-details-bin. */
void cleat_rpc_call_set_details(struct cleat_rpc_call *c, const ProtobufCMessage *rpc_status);
/* Before the answer: adds a trailer.  False for an illegal key or value, or when there are eight already. */
bool cleat_rpc_call_add_trailer(struct cleat_rpc_call *c, const char *key, const char *value);

/* ---- streams ---- */

/* Blocks until fewer than n messages wait to be sent.  False when the call is dead.  Worker lane only. */
bool cleat_rpc_call_wait(struct cleat_rpc_call *c, unsigned n);
/* Messages that wait to be sent. */
unsigned cleat_rpc_call_unsent(struct cleat_rpc_call *c);
/* Bidi, within on_message: no further message is read until cleat_rpc_call_resume(), so that a fast caller is held back by its own window
 * instead of filling memory.  Every pause needs a resume, also after the answer: the last on_message comes only then. */
void cleat_rpc_call_pause(struct cleat_rpc_call *c);
/* From any thread, also when nothing is paused; the call must be held. */
void cleat_rpc_call_resume(struct cleat_rpc_call *c);

/* ---- what is known ---- */

/* The caller has gone, or its deadline has passed.  Kept up to date for worker and streaming methods and for
 * held calls. */
bool cleat_rpc_call_cancelled(const struct cleat_rpc_call *c);
/* Runs fn once when the caller has gone before the answer was out (at once if it already has), on the poller:
 * fn must not block.  Not run when the call ends in good order.  One fn per call; the call must be held until
 * it has been answered. */
void cleat_rpc_call_on_close(struct cleat_rpc_call *c, void (*fn)(struct cleat_rpc_call *c, void *arg),
			     void *arg);
/* Time until the deadline [ms], at least 0; INT64_MAX when the caller gave none. */
int64_t cleat_rpc_call_time_left_ms(const struct cleat_rpc_call *c);

/* Counts up from 1 over all calls of the server: for logs. */
uint64_t cleat_rpc_call_id(const struct cleat_rpc_call *c);
/* "/package.Service/Method" as the caller sent it, cut to 255 bytes. */
const char *cleat_rpc_call_method(const struct cleat_rpc_call *c);
/* The role that the listener's admission gave to the connection: certain, since a role is a server object. */
const struct cleat_rpc_role *cleat_rpc_call_role(const struct cleat_rpc_call *c);
/* For logs: a descriptor number that is reused in the very moment a call arrives could show the newer peer.
 * Decide by role. */
struct cleat_rpc_peer cleat_rpc_call_peer(const struct cleat_rpc_call *c);
/* Copies a text header to buf, cut to fit; false when it was not sent. */
bool cleat_rpc_call_metadata(const struct cleat_rpc_call *c, const char *key, char *buf, size_t room);

/* One pointer of the handler's own, for whoever sees the call later (the on_done hook, for example); freed
 * with the call. */
void cleat_rpc_call_set_data(struct cleat_rpc_call *c, void *data, void (*free_data)(void *));
void *cleat_rpc_call_data(const struct cleat_rpc_call *c);

/* The core's own objects, for what has no function here (the TLS identity of a peer, binary headers). */
grpc_call *cleat_rpc_call_core(const struct cleat_rpc_call *c);
const grpc_metadata_array *cleat_rpc_call_headers(const struct cleat_rpc_call *c);

#endif
