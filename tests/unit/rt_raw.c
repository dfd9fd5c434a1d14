/* rt_raw.c - see rt_raw.h. */
#include "rt_raw.h"

#include "rt/edge.h"
#include "util/mem.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/compression.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MS 10000

struct raw {
	grpc_channel *channel;
	grpc_completion_queue *queue;
	grpc_call *call;
	grpc_metadata_array leading, trailing;
	grpc_byte_buffer *reply;
	struct raw_reply *out;
	bool asked_leading; /* the core tells no status before the leading headers were asked for */
};

static grpc_channel *open_channel(const char *target, const struct raw_options *o)
{
	grpc_arg args[] = {
		{ .type = GRPC_ARG_INTEGER,
		  .key = (char *)(uintptr_t)GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
		  .value.integer = o->gzip ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_NONE },
		/* a channel of its own, not a pooled connection of an earlier test */
		{ .type = GRPC_ARG_INTEGER,
		  .key = (char *)(uintptr_t)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
		  .value.integer = 1 },
	};
	grpc_channel_args all = { CLEAT_COUNT(args), args };
	grpc_channel_credentials *creds = grpc_insecure_credentials_create();
	grpc_channel *channel = o->fd ? grpc_channel_create_from_fd("lab", o->fd, creds, &all)
				      : grpc_channel_create(target, creds, &all);

	grpc_channel_credentials_release(creds);
	return channel;
}

static bool batch(struct raw *r, const grpc_op *ops, size_t n)
{
	EDGE_OUT(r);
	if (grpc_call_start_batch(r->call, ops, n, r, NULL) != GRPC_CALL_OK)
		return false;
	bool ok = grpc_completion_queue_pluck(r->queue, r, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).success;
	EDGE_IN(r);
	return ok;
}

static bool send_headers(struct raw *r)
{
	grpc_op op = { .op = GRPC_OP_SEND_INITIAL_METADATA };

	return batch(r, &op, 1);
}

static void keep_reply(struct raw *r)
{
	grpc_byte_buffer_reader reader;

	if (!r->reply || !grpc_byte_buffer_reader_init(&reader, r->reply))
		return;
	grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
	size_t n = GRPC_SLICE_LENGTH(all);
	uint8_t *copy = malloc(n + 1);
	if (copy) {
		memcpy(copy, GRPC_SLICE_START_PTR(all), n);
		r->out->replies[r->out->n_replies] = copy;
		r->out->reply_bytes[r->out->n_replies++] = n;
	}
	grpc_slice_unref(all);
	grpc_byte_buffer_reader_destroy(&reader);
	grpc_byte_buffer_destroy(r->reply);
	r->reply = NULL;
}

/* Adds the wish for the leading headers, once; how many operations that makes. */
static size_t ask_leading(struct raw *r, grpc_op *op)
{
	if (r->asked_leading)
		return 0;
	op->op = GRPC_OP_RECV_INITIAL_METADATA;
	op->data.recv_initial_metadata.recv_initial_metadata = &r->leading;
	r->asked_leading = true;
	return 1;
}

/* One message there, one back; false when nothing came back. */
static bool exchange(struct raw *r, const struct raw_bytes *message)
{
	grpc_op ops[3] = { { .op = GRPC_OP_SEND_MESSAGE }, { .op = GRPC_OP_RECV_MESSAGE } };
	grpc_slice body = grpc_slice_from_copied_buffer(message->p, message->n);
	grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&body, 1);
	size_t before = r->out->n_replies;

	ops[0].data.send_message.send_message = bytes;
	ops[1].data.recv_message.recv_message = &r->reply;
	batch(r, ops, 2 + ask_leading(r, &ops[2]));
	grpc_byte_buffer_destroy(bytes);
	grpc_slice_unref(body);
	keep_reply(r);
	return r->out->n_replies > before;
}

static void copy_slice(char *to, size_t room, grpc_slice s)
{
	snprintf(to, room, "%.*s", (int)GRPC_SLICE_LENGTH(s), (const char *)GRPC_SLICE_START_PTR(s));
}

static void finish(struct raw *r)
{
	grpc_op ops[3] = { { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
			   { .op = GRPC_OP_RECV_STATUS_ON_CLIENT } };
	grpc_status_code code = GRPC_STATUS_UNKNOWN;
	grpc_slice text = grpc_empty_slice();

	ops[1].data.recv_status_on_client.trailing_metadata = &r->trailing;
	ops[1].data.recv_status_on_client.status = &code;
	ops[1].data.recv_status_on_client.status_details = &text;
	batch(r, ops, 2 + ask_leading(r, &ops[2]));
	r->out->code = (int)code;
	copy_slice(r->out->text, sizeof(r->out->text), text);
	grpc_slice_unref(text);
	for (size_t i = 0; i < r->trailing.count; i++)
		if (grpc_slice_str_cmp(r->trailing.metadata[i].key, "x-lab") == 0)
			copy_slice(r->out->trailer, sizeof(r->out->trailer), r->trailing.metadata[i].value);
}

static grpc_call *new_call(struct raw *r, const char *path, const struct raw_options *o)
{
	gpr_timespec deadline =
		gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(LIMIT_MS, GPR_TIMESPAN));
	grpc_slice method = grpc_slice_from_copied_string(path);
	grpc_slice host = grpc_slice_from_copied_string(o->authority ? o->authority : "");
	grpc_call *call = grpc_channel_create_call(r->channel, NULL, GRPC_PROPAGATE_DEFAULTS, r->queue,
						   method, o->authority ? &host : NULL, deadline, NULL);

	grpc_slice_unref(method);
	grpc_slice_unref(host);
	return call;
}

void raw_call(const char *target, const char *path, const struct raw_bytes *messages, size_t n,
	      const struct raw_options *o, struct raw_reply *reply)
{
	static const struct raw_options plain;
	struct raw r = { .out = reply };

	memset(reply, 0, sizeof(*reply));
	grpc_init();
	r.channel = open_channel(target, o ? o : &plain);
	r.queue = grpc_completion_queue_create_for_pluck(NULL);
	r.call = new_call(&r, path, o ? o : &plain);
	grpc_metadata_array_init(&r.leading);
	grpc_metadata_array_init(&r.trailing);
	bool go_on = send_headers(&r);
	for (size_t i = 0; i < n && i < RAW_MAX_REPLIES && go_on; i++)
		go_on = exchange(&r, &messages[i]);
	if (o && o->leave)
		grpc_call_cancel(r.call, NULL);
	finish(&r);
	grpc_metadata_array_destroy(&r.leading);
	grpc_metadata_array_destroy(&r.trailing);
	grpc_call_unref(r.call);
	grpc_completion_queue_shutdown(r.queue);
	grpc_completion_queue_pluck(r.queue, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	grpc_completion_queue_destroy(r.queue);
	grpc_channel_destroy(r.channel);
	grpc_shutdown_blocking();
}

void raw_reply_done(struct raw_reply *reply)
{
	while (reply->n_replies)
		free(reply->replies[--reply->n_replies]);
}
