/* client_call.c - one try of a call, step by step, and the unary call made of such tries. */
#include "rt/client_internal.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <string.h>

/* ---- where it goes ---- */

static grpc_slice path_of(const ProtobufCServiceDescriptor *service, const char *method)
{
	char text[256];

	snprintf(text, sizeof(text), "/%s/%s", service->name, method);
	return grpc_slice_from_copied_string(text);
}

static gpr_timespec deadline_after(unsigned timeout_ms)
{
	if (timeout_ms == 0)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_millis((int64_t)timeout_ms, GPR_TIMESPAN));
}

static enum cleat_code check_headers(const struct cleat_rpc_options *o, struct cleat_error *err)
{
	if (o->n_headers > CLEAT_RPC_MAX_HEADERS)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a call has at most %d headers",
				       CLEAT_RPC_MAX_HEADERS);
	for (size_t i = 0; i < o->n_headers; i++) {
		const struct cleat_rpc_header *h = &o->headers[i];
		if (!grpc_header_key_is_legal(grpc_slice_from_static_string(h->key)) ||
		    !grpc_header_nonbin_value_is_legal(grpc_slice_from_static_string(h->value)))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "header '%s' is not legal",
					       h->key);
	}
	return CLEAT_OK;
}

enum cleat_code cleat_rt_target_init(struct rpc_target *t, struct cleat_rpc_client *c,
				     const ProtobufCServiceDescriptor *service, const char *method,
				     const ProtobufCMessage *in, const struct cleat_rpc_options *options,
				     struct cleat_error *err)
{
	static const struct cleat_rpc_options plain;
	const ProtobufCMethodDescriptor *m =
		protobuf_c_service_descriptor_get_method_by_name(service, method);

	if (!m)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "service '%s' has no method '%s'",
				       service->name, method);
	t->client = c;
	t->method = m;
	t->options = options ? options : &plain;
	enum cleat_code code = check_headers(t->options, err);
	if (code != CLEAT_OK)
		return code;
	t->path = path_of(service, method);
	t->deadline = deadline_after(t->options->timeout_ms);
	t->in = in;
	return CLEAT_OK;
}

void cleat_rt_target_done(struct rpc_target *t)
{
	grpc_slice_unref(t->path);
}

/* ---- one try ---- */

static grpc_byte_buffer *pack(const ProtobufCMessage *m)
{
	grpc_slice body = grpc_slice_malloc(protobuf_c_message_get_packed_size(m));

	protobuf_c_message_pack(m, GRPC_SLICE_START_PTR(body));
	grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&body, 1);
	grpc_slice_unref(body);
	return bytes;
}

static void enter_canceller(struct rpc_attempt *a)
{
	struct cleat_rpc_canceller *k = a->options->canceller;

	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->call = a->call;
	if (k->cancelled)
		grpc_call_cancel(a->call, NULL);
	pthread_mutex_unlock(&k->lock);
}

static void leave_canceller(struct rpc_attempt *a)
{
	struct cleat_rpc_canceller *k = a->options->canceller;

	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->call = NULL;
	a->cancelled = k->cancelled;
	pthread_mutex_unlock(&k->lock);
}

void cleat_rt_attempt_init(struct rpc_attempt *a, const struct rpc_target *t)
{
	memset(a, 0, sizeof(*a));
	a->client = t->client;
	a->method = t->method;
	a->options = t->options;
	a->status = GRPC_STATUS_INTERNAL; /* until there is one */
	a->status_text = grpc_empty_slice();
	grpc_metadata_array_init(&a->leading);
	grpc_metadata_array_init(&a->trailing);
	a->request = pack(t->in);
	a->queue = cleat_rt_client_take_queue(a->client);
	a->call = grpc_channel_create_call(a->client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, a->queue,
					   t->path, NULL, t->deadline, NULL);
	enter_canceller(a);
}

void cleat_rt_attempt_done(struct rpc_attempt *a)
{
	grpc_metadata_array_destroy(&a->leading);
	grpc_metadata_array_destroy(&a->trailing);
	grpc_slice_unref(a->status_text);
	if (a->reply)
		grpc_byte_buffer_destroy(a->reply);
	grpc_byte_buffer_destroy(a->request);
	grpc_call_unref(a->call);
	cleat_rt_client_give_queue(a->client, a->queue);
}

static size_t fill_headers(struct rpc_attempt *a)
{
	const struct cleat_rpc_options *o = a->options;
	size_t n = 0;

	for (; n < o->n_headers; n++) {
		a->headers[n].key = grpc_slice_from_static_string(o->headers[n].key);
		a->headers[n].value = grpc_slice_from_static_string(o->headers[n].value);
	}
	return n;
}

size_t cleat_rt_attempt_send_ops(struct rpc_attempt *a, grpc_op *ops)
{
	memset(ops, 0, 4 * sizeof(*ops));
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[0].data.send_initial_metadata.count = fill_headers(a);
	ops[0].data.send_initial_metadata.metadata = a->headers;
	if (a->options->wait_for_ready)
		ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
			       GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = a->request;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &a->leading;
	return 4;
}

void cleat_rt_attempt_status_op(struct rpc_attempt *a, grpc_op *op)
{
	memset(op, 0, sizeof(*op));
	op->op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	op->data.recv_status_on_client.trailing_metadata = &a->trailing;
	op->data.recv_status_on_client.status = &a->status;
	op->data.recv_status_on_client.status_details = &a->status_text;
}

bool cleat_rt_attempt_start(struct rpc_attempt *a, const grpc_op *ops, size_t n, void *tag)
{
	EDGE_OUT(tag);
	return grpc_call_start_batch(a->call, ops, n, tag, NULL) == GRPC_CALL_OK;
}

void cleat_rt_attempt_wait(struct rpc_attempt *a, void *tag)
{
	grpc_completion_queue_pluck(a->queue, tag, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	EDGE_IN(tag);
}

enum cleat_code cleat_rt_attempt_unpack(struct rpc_attempt *a, ProtobufCMessage **out,
					struct cleat_error *err)
{
	grpc_byte_buffer_reader r;

	a->answered = true;
	if (!grpc_byte_buffer_reader_init(&r, a->reply))
		return cleat_error_set(err, CLEAT_INTERNAL, "the answer to '%s' cannot be read",
				       a->method->name);
	grpc_slice all = grpc_byte_buffer_reader_readall(&r);
	enum cleat_code code =
		cleat_pb_unpack(a->method->output, GRPC_SLICE_START_PTR(all), GRPC_SLICE_LENGTH(all),
				a->client->max_unpacked_bytes, out, err);
	grpc_slice_unref(all);
	grpc_byte_buffer_reader_destroy(&r);
	grpc_byte_buffer_destroy(a->reply);
	a->reply = NULL;
	if (code == CLEAT_OK)
		return CLEAT_OK;
	cleat_error_wrap(err, "the answer to '%s'", a->method->name);
	if (err && code == CLEAT_INVALID_ARGUMENT)
		err->code = CLEAT_INTERNAL; /* not the caller's fault */
	return code == CLEAT_INVALID_ARGUMENT ? CLEAT_INTERNAL : code;
}

static void copy_details(const struct rpc_attempt *a)
{
	if (!a->options->details_len)
		return;
	*a->options->details_len = 0;
	for (size_t i = 0; i < a->trailing.count; i++) {
		const grpc_metadata *m = &a->trailing.metadata[i];
		size_t n = GRPC_SLICE_LENGTH(m->value);
		if (grpc_slice_str_cmp(m->key, "grpc-status-details-bin") != 0 ||
		    n > CLEAT_RPC_MAX_DETAILS_BYTES)
			continue;
		memcpy(a->options->details, GRPC_SLICE_START_PTR(m->value), n);
		*a->options->details_len = n;
	}
}

static enum cleat_code code_of(grpc_status_code status)
{
	return (unsigned)status <= CLEAT_UNAUTHENTICATED ? (enum cleat_code)status : CLEAT_UNKNOWN;
}

enum cleat_code cleat_rt_attempt_result(struct rpc_attempt *a, struct cleat_error *err)
{
	enum cleat_code code = code_of(a->status);
	int n = (int)GRPC_SLICE_LENGTH(a->status_text);

	copy_details(a);
	leave_canceller(a);
	if (code == CLEAT_OK)
		return CLEAT_OK;
	if (n == 0)
		return cleat_error_set(err, code, "%s: %s", a->method->name, cleat_code_name(code));
	return cleat_error_set(err, code, "%.*s", n, (const char *)GRPC_SLICE_START_PTR(a->status_text));
}

bool cleat_rt_attempt_retry(const struct rpc_attempt *a)
{
	if (!a->options->idempotent || a->answered || a->cancelled)
		return false;
	return a->status == GRPC_STATUS_UNAVAILABLE || a->status == GRPC_STATUS_CANCELLED;
}

/* ---- unary ---- */

static enum cleat_code call_once(const struct rpc_target *t, ProtobufCMessage **out, bool *retry_out,
				 struct cleat_error *err)
{
	struct rpc_attempt a;
	grpc_op ops[6];

	cleat_rt_attempt_init(&a, t);
	size_t n = cleat_rt_attempt_send_ops(&a, ops);
	memset(&ops[n], 0, sizeof(ops[n]));
	ops[n].op = GRPC_OP_RECV_MESSAGE;
	ops[n++].data.recv_message.recv_message = &a.reply;
	cleat_rt_attempt_status_op(&a, &ops[n++]);
	if (cleat_rt_attempt_start(&a, ops, n, &a))
		cleat_rt_attempt_wait(&a, &a);
	enum cleat_code code = cleat_rt_attempt_result(&a, err);
	if (code == CLEAT_OK && a.reply)
		code = cleat_rt_attempt_unpack(&a, out, err);
	else if (code == CLEAT_OK)
		code = cleat_error_set(err, CLEAT_INTERNAL, "'%s' was answered without a message",
				       t->method->name);
	*retry_out = cleat_rt_attempt_retry(&a);
	cleat_rt_attempt_done(&a);
	return code;
}

enum cleat_code cleat_rpc_client_call(struct cleat_rpc_client *c, const ProtobufCServiceDescriptor *service,
				      const char *method, const ProtobufCMessage *in,
				      const struct cleat_rpc_options *options, ProtobufCMessage **out,
				      struct cleat_error *err)
{
	struct cleat_error first = CLEAT_ERROR_INIT; /* of a try that a second one may make good */
	struct rpc_target t;
	bool retry = false;
	enum cleat_code code = cleat_rt_target_init(&t, c, service, method, in, options, err);

	if (code != CLEAT_OK)
		return code;
	code = call_once(&t, out, &retry, &first);
	if (retry)
		code = call_once(&t, out, &retry, err);
	else if (code != CLEAT_OK && err)
		*err = first;
	cleat_rt_target_done(&t);
	return code;
}
