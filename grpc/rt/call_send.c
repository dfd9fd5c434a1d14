/* call_send.c - the answering side of a call: messages wait in a queue, one batch is in flight at a time, the
 * status goes out with the last one. */
#include "rt/internal.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the queue; all with call.lock held ---- */

static void free_out(struct rpc_out *o)
{
	grpc_byte_buffer_destroy(o->bytes);
	free(o);
}

static struct rpc_out *pop_out(struct cleat_rpc_call *c)
{
	struct rpc_out *o = c->out;

	c->out = o->next;
	if (!c->out)
		c->out_tail = &c->out;
	return o;
}

/* While no message is in flight. */
static void drop_queue(struct cleat_rpc_call *c)
{
	while (c->out)
		free_out(pop_out(c));
	c->n_out = 0;
	c->out_bytes = 0;
}

static void set_status(struct cleat_rpc_call *c, enum cleat_code code, const char *text)
{
	c->finishing = true;
	c->code = code;
	snprintf(c->text, sizeof(c->text), "%s", text);
}

static size_t status_ops(struct cleat_rpc_call *c, grpc_op *ops)
{
	size_t n = 0;

	c->text_slice = grpc_slice_from_copied_string(c->text);
	ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[n].data.send_status_from_server.status = (grpc_status_code)c->code;
	ops[n].data.send_status_from_server.status_details = c->text[0] ? &c->text_slice : NULL;
	ops[n].data.send_status_from_server.trailing_metadata = c->trailers;
	ops[n++].data.send_status_from_server.trailing_metadata_count = c->n_trailers;
	if (!c->watching) { /* short calls save an event by asking only now */
		ops[n].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
		ops[n++].data.recv_close_on_server.cancelled = &c->close_flag;
	}
	c->finished = true;
	return n;
}

/* Starts whatever can be sent next.  True when the call has ended without an event to come. */
static bool pump(struct cleat_rpc_call *c)
{
	grpc_op ops[4];
	size_t n = 0;
	struct rpc_out *o = NULL;

	if (c->sending || c->finished)
		return false;
	if (c->dead)
		drop_queue(c);
	memset(ops, 0, sizeof(ops));
	if (!c->headers_sent && (c->out || c->finishing)) {
		ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
		c->headers_sent = true;
	}
	if (c->out) {
		o = pop_out(c);
		ops[n].op = GRPC_OP_SEND_MESSAGE;
		ops[n++].data.send_message.send_message = o->bytes;
		c->sending_message = true;
		c->sending_bytes = o->n_bytes;
	}
	if (c->finishing && !c->out)
		n += status_ops(c, ops + n);
	if (n) {
		c->sending = cleat_rt_call_start(c, ops, n, &c->on_sent);
		c->dead |= !c->sending;
	}
	if (o) /* the core has taken its own reference to the bytes */
		free_out(o);
	return n && !c->sending && c->finished;
}

static void report_done(struct cleat_rpc_call *c)
{
	const struct cleat_rpc_server_config *config = &c->role->server->config;

	if (!config->on_done)
		return;
	struct cleat_rpc_done done = {
		.method = cleat_rpc_call_method(c),
		.code = c->code,
		.text = c->text,
		.duration_us = cleat_rt_now_us() - c->arrived_us,
		.lost = c->dead || atomic_load(&c->cancelled),
	};
	config->on_done(c, &done, config->done_arg);
}

/* What other threads answer is sent by a poller.  Were they to start the batch themselves, they and the poller
 * would contend for the connection, and the core would hand the rest of the work to a thread of its own, at
 * twice the number of wake-ups.  A batch without operations is done at once: its tag is the message to the
 * poller. */
static bool leave_to_poller(struct cleat_rpc_call *c)
{
	if (c->sending || c->finished || cleat_rt_is_poller(c->role->server))
		return false;
	if (!c->turn_posted)
		c->turn_posted = cleat_rt_call_start(c, NULL, 0, &c->on_turn);
	return c->turn_posted;
}

static void pump_and_unlock(struct cleat_rpc_call *c)
{
	bool ended = !leave_to_poller(c) && pump(c);

	pthread_mutex_unlock(&c->lock);
	if (ended)
		report_done(c);
}

void cleat_rt_call_turn(struct rpc_op *op, bool ok)
{
	struct cleat_rpc_call *c = CLEAT_CONTAINER(op, struct cleat_rpc_call, on_turn);

	(void)ok;
	pthread_mutex_lock(&c->lock);
	c->turn_posted = false;
	pump_and_unlock(c);
	cleat_rt_call_unref(c);
}

void cleat_rt_call_sent(struct rpc_op *op, bool ok)
{
	struct cleat_rpc_call *c = CLEAT_CONTAINER(op, struct cleat_rpc_call, on_sent);

	pthread_mutex_lock(&c->lock);
	c->sending = false;
	if (c->sending_message) {
		c->sending_message = false;
		c->n_out--;
		c->out_bytes -= c->sending_bytes;
		c->sending_bytes = 0;
	}
	c->dead |= !ok || (c->finished && !c->watching && c->close_flag);
	if (c->finished) {
		pthread_mutex_unlock(&c->lock);
		report_done(c);
	} else {
		pthread_cond_broadcast(&c->drained);
		pump_and_unlock(c);
	}
	cleat_rt_call_unref(c);
}

void cleat_rt_call_finish(struct cleat_rpc_call *c, enum cleat_code code, const char *text)
{
	pthread_mutex_lock(&c->lock);
	if (!c->finishing)
		set_status(c, code, text);
	pump_and_unlock(c);
}

/* ---- for handlers ---- */

static struct rpc_out *out_new(const ProtobufCMessage *m)
{
	struct rpc_out *o = malloc(sizeof(*o));

	if (!o)
		return NULL;
	o->next = NULL;
	o->n_bytes = protobuf_c_message_get_packed_size(m);
	grpc_slice body = grpc_slice_malloc(o->n_bytes);
	protobuf_c_message_pack(m, GRPC_SLICE_START_PTR(body));
	o->bytes = grpc_raw_byte_buffer_create(&body, 1);
	grpc_slice_unref(body);
	return o;
}

/* With the lock held; takes o over. */
static bool queue_message(struct cleat_rpc_call *c, struct rpc_out *o)
{
	if (c->finishing || c->dead) {
		free_out(o);
		return false;
	}
	if (c->out_bytes && c->out_bytes + o->n_bytes > c->role->server->config.max_unsent_bytes) {
		free_out(o);
		set_status(c, CLEAT_RESOURCE_EXHAUSTED, "the reader is too slow for this stream");
		return false;
	}
	*c->out_tail = o;
	c->out_tail = &o->next;
	c->n_out++;
	c->out_bytes += o->n_bytes;
	if (!c->method || c->method->kind == CLEAT_RPC_UNARY)
		set_status(c, CLEAT_OK, "");
	return true;
}

bool cleat_rpc_call_reply(struct cleat_rpc_call *c, const ProtobufCMessage *message)
{
	struct rpc_out *o = out_new(message);

	if (!o) {
		cleat_rt_call_finish(c, CLEAT_RESOURCE_EXHAUSTED, "no memory for the answer");
		return false;
	}
	pthread_mutex_lock(&c->lock);
	bool queued = queue_message(c, o);
	pump_and_unlock(c);
	return queued;
}

void cleat_rpc_call_end(struct cleat_rpc_call *c)
{
	if (c->method && c->method->kind != CLEAT_RPC_UNARY)
		cleat_rt_call_finish(c, CLEAT_OK, "");
	else
		cleat_rt_call_finish(c, CLEAT_INTERNAL, "the handler gave no answer");
}

void cleat_rt_call_closure(const ProtobufCMessage *m, void *call)
{
	if (m)
		cleat_rpc_call_reply(call, m);
	else
		cleat_rpc_call_end(call);
}

void cleat_rpc_call_fail(struct cleat_rpc_call *c, enum cleat_code code, const char *fmt, ...)
{
	struct cleat_error err;
	va_list args;

	va_start(args, fmt);
	cleat_error_vset(&err, code, fmt, args);
	va_end(args);
	cleat_rpc_call_fail_error(c, &err);
}

void cleat_rpc_call_fail_error(struct cleat_rpc_call *c, const struct cleat_error *err)
{
	if (err->code == CLEAT_OK)
		cleat_rt_call_finish(c, CLEAT_INTERNAL, "the handler failed without saying why");
	else
		cleat_rt_call_finish(c, err->code, err->msg);
}

static bool add_trailer(struct cleat_rpc_call *c, const char *key, grpc_slice value)
{
	pthread_mutex_lock(&c->lock);
	bool added = c->n_trailers < RPC_MAX_TRAILERS && !c->finishing;
	if (added) {
		grpc_metadata *t = &c->trailers[c->n_trailers++];
		memset(t, 0, sizeof(*t));
		t->key = grpc_slice_from_copied_string(key);
		t->value = value;
	}
	pthread_mutex_unlock(&c->lock);
	if (!added)
		grpc_slice_unref(value);
	return added;
}

void cleat_rpc_call_set_details(struct cleat_rpc_call *c, const ProtobufCMessage *rpc_status)
{
	grpc_slice value = grpc_slice_malloc(protobuf_c_message_get_packed_size(rpc_status));

	protobuf_c_message_pack(rpc_status, GRPC_SLICE_START_PTR(value));
	add_trailer(c, "grpc-status-details-bin", value);
}

bool cleat_rpc_call_add_trailer(struct cleat_rpc_call *c, const char *key, const char *value)
{
	grpc_slice v = grpc_slice_from_copied_string(value);

	if (!grpc_header_key_is_legal(grpc_slice_from_static_string(key)) ||
	    !grpc_header_nonbin_value_is_legal(v)) {
		grpc_slice_unref(v);
		return false;
	}
	return add_trailer(c, key, v);
}

bool cleat_rpc_call_wait(struct cleat_rpc_call *c, unsigned n)
{
	pthread_mutex_lock(&c->lock);
	while (c->n_out >= n && !c->dead && !c->finishing)
		pthread_cond_wait(&c->drained, &c->lock);
	bool alive = !c->dead && !c->finishing;
	pthread_mutex_unlock(&c->lock);
	return alive;
}

unsigned cleat_rpc_call_unsent(struct cleat_rpc_call *c)
{
	pthread_mutex_lock(&c->lock);
	unsigned n = c->n_out;
	pthread_mutex_unlock(&c->lock);
	return n;
}
