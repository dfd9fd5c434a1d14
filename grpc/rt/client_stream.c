/* client_stream.c - server-streaming calls: messages are handed over in the caller's thread as they arrive.
 */
#include "rt/client_internal.h"

#include <grpc/byte_buffer.h>
#include <string.h>

struct stream {
	struct rpc_attempt a; /* its address is the tag of the sending batch */
	char status_tag, message_tag;
	cleat_rpc_message_fn on_message;
	void *arg;
	bool ended_here; /* on_message wanted no more */
};

/* Waits for the next message; false at the end of the stream. */
static bool next_message(struct stream *s)
{
	grpc_op op;

	memset(&op, 0, sizeof(op));
	op.op = GRPC_OP_RECV_MESSAGE;
	op.data.recv_message.recv_message = &s->a.reply;
	if (!cleat_rt_attempt_start(&s->a, &op, 1, &s->message_tag))
		return false;
	cleat_rt_attempt_wait(&s->a, &s->message_tag);
	return s->a.reply != NULL;
}

/* Hands messages over until the stream ends; an error here is one of ours, not the server's status. */
static enum cleat_code deliver(struct stream *s, struct cleat_error *err)
{
	while (next_message(s)) {
		ProtobufCMessage *m = NULL;
		enum cleat_code code = cleat_rt_attempt_unpack(&s->a, &m, err);
		bool more = code == CLEAT_OK && s->on_message(m, s->arg);
		cleat_pb_free(m);
		if (!more) {
			s->ended_here = code == CLEAT_OK;
			grpc_call_cancel(s->a.call, NULL);
			return code;
		}
	}
	return CLEAT_OK;
}

static enum cleat_code run(struct stream *s, struct cleat_error *err)
{
	struct cleat_error late = CLEAT_ERROR_INIT;
	grpc_op ops[4], status;
	size_t n = cleat_rt_attempt_send_ops(&s->a, ops);

	cleat_rt_attempt_status_op(&s->a, &status);
	if (!cleat_rt_attempt_start(&s->a, &status, 1, &s->status_tag))
		return cleat_rt_attempt_result(&s->a, err);
	enum cleat_code code = CLEAT_OK;
	if (cleat_rt_attempt_start(&s->a, ops, n, &s->a)) {
		code = deliver(s, err);
		cleat_rt_attempt_wait(&s->a, &s->a);
	} else { /* nothing was sent, and nothing will come */
		grpc_call_cancel(s->a.call, NULL);
	}
	cleat_rt_attempt_wait(&s->a, &s->status_tag);
	enum cleat_code status_code = cleat_rt_attempt_result(&s->a, &late);
	if (code != CLEAT_OK || s->ended_here)
		return code;
	if (status_code != CLEAT_OK && err)
		*err = late;
	return status_code;
}

enum cleat_code cleat_rpc_client_stream(struct cleat_rpc_client *c, const ProtobufCServiceDescriptor *service,
					const char *method, const ProtobufCMessage *in,
					const struct cleat_rpc_options *options,
					cleat_rpc_message_fn on_message, void *arg, struct cleat_error *err)
{
	struct stream s = { .on_message = on_message, .arg = arg };
	struct cleat_error last = CLEAT_ERROR_INIT;
	struct rpc_target t;
	bool retry = false;
	enum cleat_code code = cleat_rt_target_init(&t, c, service, method, in, options, err);

	if (code != CLEAT_OK)
		return code;
	for (int tries = 0; tries == 0 || (retry && tries == 1); tries++) {
		last = (struct cleat_error)CLEAT_ERROR_INIT;
		cleat_rt_attempt_init(&s.a, &t);
		code = run(&s, &last);
		retry = cleat_rt_attempt_retry(&s.a) && !s.ended_here;
		cleat_rt_attempt_done(&s.a);
	}
	cleat_rt_target_done(&t);
	if (code != CLEAT_OK && err)
		*err = last; /* that of a try which another one made good is nobody's */
	return code;
}
