/* pending.h - a call whose request the engine has: it is held until the engine answers, from an engine
 *thread.
 *
 *	struct cleat_pending *p = cleat_pending_new(call, sizeof(*p), service, in, answer);
 *	if (p)
 *		cleat_pending_submit(p, engine, &request);
 *
 * A door may put it at the beginning of a larger struct of its own.
 */
#ifndef CLEAT_SERVICE_PENDING_H
#define CLEAT_SERVICE_PENDING_H

#include "service/calllog.h"

#include <cleat/volume.h>

struct cleat_pending;

/* Answers the call. */
typedef void (*cleat_answer_fn)(struct cleat_pending *p, struct cleat_rpc_call *call,
				const struct cleat_result *result);
typedef void (*cleat_refuse_fn)(struct cleat_pending *p, struct cleat_rpc_call *call,
				const struct cleat_error *err);

/* The data of the call, freed with it. */
struct cleat_pending {
	struct cleat_call_note note; /* first: see calllog.h */
	struct cleat_rpc_call *call;
	void *owner;		    /* the service */
	const ProtobufCMessage *in; /* lives as long as the call is held */
	cleat_answer_fn answer;	    /* may submit again, with another answer */
	cleat_refuse_fn refuse;	    /* NULL: the engine's error is the answer */
};

/* A zeroed struct of `size` bytes that begins with a cleat_pending, as the data of the call.  NULL without
 * memory: the call has been answered. */
void *cleat_pending_new(struct cleat_rpc_call *call, size_t size, void *owner, const ProtobufCMessage *in,
			cleat_answer_fn answer);
/* What every request of a call has: verb, deadline, caller.  Without a uid (a TLS caller) the stricter target
 * rule holds. */
struct cleat_request cleat_pending_request(const struct cleat_rpc_call *call, enum cleat_verb verb);
/* Holds the call and hands the request to the engine.  The note gets the request's subject unless it has one.
 */
void cleat_pending_submit(struct cleat_pending *p, struct cleat_engine *engine,
			  const struct cleat_request *r);

#endif
