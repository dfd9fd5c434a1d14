/* call_recv.c - the receiving side of a call: its arrival, its messages, and who runs it. */
#include "rt/internal.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdio.h>
#include <string.h>

static void want_message(struct cleat_rpc_call *c)
{
	grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };

	op.data.recv_message.recv_message = &c->payload;
	cleat_rt_call_start(c, &op, 1, &c->on_message);
}

/* ---- unpacking ---- */

static enum cleat_code parse_slice(struct cleat_rpc_call *c, grpc_slice s, struct cleat_error *err)
{
	return cleat_pb_parse(c->method->input, &c->arena, GRPC_SLICE_START_PTR(s), GRPC_SLICE_LENGTH(s),
			      &c->request, err);
}

/* Most messages arrive in one piece and are parsed where they lie. */
static enum cleat_code parse_payload(struct cleat_rpc_call *c, struct cleat_error *err)
{
	size_t total = grpc_byte_buffer_length(c->payload);
	grpc_byte_buffer_reader r;
	grpc_slice *piece = NULL;
	enum cleat_code code;

	if (!grpc_byte_buffer_reader_init(&r, c->payload))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the request message cannot be read");
	if (grpc_byte_buffer_reader_peek(&r, &piece) && GRPC_SLICE_LENGTH(*piece) == total) {
		code = parse_slice(c, *piece, err);
		grpc_byte_buffer_reader_destroy(&r);
		return code;
	}
	grpc_byte_buffer_reader_destroy(&r);
	if (!grpc_byte_buffer_reader_init(&r, c->payload))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the request message cannot be read");
	grpc_slice all = grpc_byte_buffer_reader_readall(&r);
	code = parse_slice(c, all, err);
	grpc_slice_unref(all);
	grpc_byte_buffer_reader_destroy(&r);
	return code;
}

/* Turns the payload into a request; false after the call was failed. */
static bool parse(struct cleat_rpc_call *c)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	enum cleat_code code = parse_payload(c, &err);

	grpc_byte_buffer_destroy(c->payload);
	c->payload = NULL;
	if (code == CLEAT_OK)
		return true;
	cleat_error_wrap(&err, "the request");
	cleat_rpc_call_fail_error(c, &err);
	return false;
}

/* ---- dispatch ---- */

void cleat_rt_call_run(struct cleat_rpc_call *c)
{
	const struct rpc_method *m = c->method;

	m->svc->invoke(m->svc, m->index, c->request, cleat_rt_call_closure, c);
	cleat_rpc_call_drop(c);
}

/* Fails the call and gives up the runtime's own use of it. */
static void refuse(struct cleat_rpc_call *c, enum cleat_code code, const char *text)
{
	cleat_rt_call_finish(c, code, text);
	cleat_rpc_call_drop(c);
}

static void received_request(struct cleat_rpc_call *c)
{
	struct cleat_rpc_server *s = c->role->server;

	if (!c->payload) {
		refuse(c, CLEAT_INVALID_ARGUMENT, "the request message is missing");
	} else if (!parse(c)) {
		cleat_rpc_call_drop(c);
	} else if (c->method->lane == CLEAT_RPC_INLINE) {
		cleat_rt_call_run(c);
	} else if (!cleat_rt_pool_add(&s->pool, c)) {
		if (atomic_load(&s->stopping))
			refuse(c, CLEAT_UNAVAILABLE, "shutting down");
		else
			refuse(c, CLEAT_RESOURCE_EXHAUSTED, "too many calls are waiting");
	}
}

/* Parks the reading if on_message asked for it and nobody has resumed it meanwhile. */
static void read_on(struct cleat_rpc_call *c)
{
	int off = RPC_READING_OFF;

	if (!atomic_compare_exchange_strong(&c->reading, &off, RPC_READING_PARKED))
		want_message(c);
}

void cleat_rpc_call_pause(struct cleat_rpc_call *c)
{
	atomic_store(&c->reading, RPC_READING_OFF);
}

void cleat_rpc_call_resume(struct cleat_rpc_call *c)
{
	if (atomic_exchange(&c->reading, RPC_READING_ON) == RPC_READING_PARKED)
		want_message(c);
}

static void received_stream_message(struct cleat_rpc_call *c)
{
	const struct rpc_method *m = c->method;

	if (c->payload && parse(c)) {
		m->on_message(m->svc, c, c->request);
		cleat_pb_arena_reset(&c->arena);
		read_on(c);
		return;
	}
	m->on_message(m->svc, c, NULL);
	cleat_rpc_call_drop(c);
}

void cleat_rt_call_received(struct rpc_op *op, bool ok)
{
	struct cleat_rpc_call *c = CLEAT_CONTAINER(op, struct cleat_rpc_call, on_message);

	(void)ok; /* without a message there is no payload */
	if (c->method->kind == CLEAT_RPC_BIDI)
		received_stream_message(c);
	else
		received_request(c);
	cleat_rt_call_unref(c);
}

/* ---- arrival ---- */

static char *text_of(grpc_slice s)
{
	size_t n = GRPC_SLICE_LENGTH(s);

	return strndup((const char *)GRPC_SLICE_START_PTR(s),
		       n < RPC_MAX_METHOD_TEXT ? n : RPC_MAX_METHOD_TEXT - 1);
}

static void refuse_unknown(struct cleat_rpc_call *c)
{
	char text[RPC_MAX_METHOD_TEXT + 32];

	c->unknown_method = text_of(c->details.method);
	snprintf(text, sizeof(text), "no such method: %s", cleat_rpc_call_method(c));
	refuse(c, CLEAT_UNIMPLEMENTED, text);
}

static void begin(struct cleat_rpc_call *c)
{
	if (c->method->lane == CLEAT_RPC_WORKER || c->method->kind != CLEAT_RPC_UNARY) {
		pthread_mutex_lock(&c->lock);
		cleat_rt_call_watch_close(c);
		pthread_mutex_unlock(&c->lock);
	}
	want_message(c);
}

void cleat_rt_call_accepted(struct rpc_op *op, bool ok)
{
	struct cleat_rpc_call *c = CLEAT_CONTAINER(op, struct cleat_rpc_call, on_new);
	struct cleat_rpc_server *s = c->role->server;

	if (!ok) { /* the server is shutting down: no call was attached */
		c->core = NULL;
		cleat_rt_call_unref(c);
		return;
	}
	if (!atomic_load(&s->stopping))
		cleat_rt_post_accept(c->role);
	c->id = atomic_fetch_add(&s->last_id, 1) + 1;
	c->arrived_us = cleat_rt_now_us();
	c->peer = cleat_rt_peer_of(s, c->core);
	c->method = cleat_rt_role_find(c->role, c->details.method);
	unsigned before = atomic_fetch_add(&s->live, 1);
	if (!c->method)
		refuse_unknown(c);
	else if (before >= s->config.max_calls)
		refuse(c, CLEAT_RESOURCE_EXHAUSTED, "too many calls at once");
	else
		begin(c);
}

void cleat_rt_post_accept(struct cleat_rpc_role *role)
{
	struct cleat_rpc_call *c = cleat_rt_call_new(role);

	if (!c) /* one accept fewer; the others go on */
		return;
	EDGE_OUT(&c->on_new);
	if (grpc_server_request_call(role->core, &c->core, &c->details, &c->headers, role->server->queue,
				     role->server->queue, &c->on_new) != GRPC_CALL_OK) {
		c->core = NULL;
		cleat_rt_call_unref(c);
	}
}
