/* pending.c - see pending.h. */
#include "service/pending.h"

#include "service/reply.h"
#include "util/clock.h"

#include <stdlib.h>

void *cleat_pending_new(struct cleat_rpc_call *call, size_t size, void *owner, const ProtobufCMessage *in,
			cleat_answer_fn answer)
{
	struct cleat_pending *p = calloc(1, size);

	if (!p) {
		cleat_reply_no_memory(call);
		return NULL;
	}
	p->call = call;
	p->owner = owner;
	p->in = in;
	p->answer = answer;
	cleat_rpc_call_set_data(call, p, free);
	return p;
}

struct cleat_request cleat_pending_request(const struct cleat_rpc_call *call, enum cleat_verb verb)
{
	struct cleat_rpc_peer peer = cleat_rpc_call_peer(call);
	int64_t left_ms = cleat_rpc_call_time_left_ms(call);

	return (struct cleat_request){
		.size = sizeof(struct cleat_request),
		.verb = verb,
		.deadline_ms = left_ms == INT64_MAX ? 0 : cleat_time_mono_ms() + left_ms,
		.caller_uid = peer.known ? peer.uid : (unsigned)-1,
	};
}

static void finished(const struct cleat_error *err, const struct cleat_result *result, void *arg)
{
	struct cleat_pending *p = arg;
	struct cleat_rpc_call *call = p->call;

	if (err->code == CLEAT_OK)
		p->answer(p, call, result);
	else if (p->refuse)
		p->refuse(p, call, err);
	else
		cleat_rpc_call_fail_error(call, err);
	cleat_rpc_call_drop(call);
}

void cleat_pending_submit(struct cleat_pending *p, struct cleat_engine *engine, const struct cleat_request *r)
{
	if (!p->note.subject[0] && r->volume)
		cleat_call_note_subject(&p->note, NULL, r->volume);
	else if (!p->note.subject[0] && r->name)
		cleat_call_note_subject(&p->note, r->pool, r->name);
	/* An operation goes on whether its caller is there or not, so nobody needs to be told. */
	cleat_rpc_call_keep(p->call);
	cleat_engine_submit(engine, r, finished, p);
}
