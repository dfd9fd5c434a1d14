/* call.c - the life of a call object, and what handlers may ask about it. */
#include "rt/internal.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_SECOND INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

struct cleat_rpc_call *cleat_rt_call_new(struct cleat_rpc_role *role)
{
	struct cleat_rpc_server *s = role->server;
	struct cleat_rpc_call *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	memset(c, 0, offsetof(struct cleat_rpc_call, arena));
	c->on_new.done = cleat_rt_call_accepted;
	c->on_message.done = cleat_rt_call_received;
	c->on_close.done = cleat_rt_call_closed;
	c->on_sent.done = cleat_rt_call_sent;
	c->on_turn.done = cleat_rt_call_turn;
	atomic_init(&c->refs, 1);
	atomic_init(&c->users, 1);
	c->role = role;
	grpc_call_details_init(&c->details);
	grpc_metadata_array_init(&c->headers);
	cleat_pb_arena_init(&c->arena, s->config.max_unpacked_bytes);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->drained, NULL);
	c->out_tail = &c->out;
	c->text_slice = grpc_empty_slice();
	pthread_mutex_lock(&s->objects.lock);
	s->objects.count++;
	pthread_mutex_unlock(&s->objects.lock);
	return c;
}

static void free_content(struct cleat_rpc_call *c)
{
	if (c->free_data)
		c->free_data(c->data);
	if (c->payload)
		grpc_byte_buffer_destroy(c->payload);
	for (struct rpc_out *o = c->out, *next; o; o = next) {
		next = o->next;
		grpc_byte_buffer_destroy(o->bytes);
		free(o);
	}
	for (size_t i = 0; i < c->n_trailers; i++) {
		grpc_slice_unref(c->trailers[i].key);
		grpc_slice_unref(c->trailers[i].value);
	}
	grpc_slice_unref(c->text_slice);
	cleat_pb_arena_reset(&c->arena);
	free(c->unknown_method);
}

static void call_free(struct cleat_rpc_call *c)
{
	struct cleat_rpc_server *s = c->role->server;

	free_content(c);
	if (c->core) {
		grpc_call_unref(c->core);
		atomic_fetch_sub(&s->live, 1);
	}
	grpc_call_details_destroy(&c->details);
	grpc_metadata_array_destroy(&c->headers);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->drained);
	free(c);
	/* Under the lock to the end: the server may be freed as soon as the count is seen to be 0. */
	pthread_mutex_lock(&s->objects.lock);
	if (--s->objects.count == 0)
		pthread_cond_broadcast(&s->objects.none);
	pthread_mutex_unlock(&s->objects.lock);
}

void cleat_rt_call_ref(struct cleat_rpc_call *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void cleat_rt_call_unref(struct cleat_rpc_call *c)
{
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		call_free(c);
}

bool cleat_rt_call_start(struct cleat_rpc_call *c, const grpc_op *ops, size_t n, struct rpc_op *tag)
{
	cleat_rt_call_ref(c);
	EDGE_OUT(tag);
	if (grpc_call_start_batch(c->core, ops, n, tag, NULL) == GRPC_CALL_OK)
		return true;
	cleat_rt_call_unref(c);
	return false;
}

/* ---- holding ---- */

void cleat_rpc_call_keep(struct cleat_rpc_call *c)
{
	atomic_fetch_add_explicit(&c->users, 1, memory_order_relaxed);
}

void cleat_rpc_call_hold(struct cleat_rpc_call *c)
{
	cleat_rpc_call_keep(c);
	pthread_mutex_lock(&c->lock);
	cleat_rt_call_watch_close(c);
	pthread_mutex_unlock(&c->lock);
}

void cleat_rpc_call_drop(struct cleat_rpc_call *c)
{
	if (atomic_fetch_sub_explicit(&c->users, 1, memory_order_acq_rel) != 1)
		return;
	cleat_rt_call_finish(c, CLEAT_INTERNAL, "the handler gave no answer"); /* nothing if there was one */
	cleat_rt_call_unref(c);
}

/* ---- the caller goes away ---- */

void cleat_rt_call_watch_close(struct cleat_rpc_call *c)
{
	grpc_op op = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER };

	if (c->watching || c->finished)
		return;
	op.data.recv_close_on_server.cancelled = &c->close_flag;
	c->watching = cleat_rt_call_start(c, &op, 1, &c->on_close);
}

void cleat_rt_call_closed(struct rpc_op *op, bool ok)
{
	struct cleat_rpc_call *c = CLEAT_CONTAINER(op, struct cleat_rpc_call, on_close);
	void (*fn)(struct cleat_rpc_call *, void *) = NULL;

	(void)ok;
	if (c->close_flag) {
		pthread_mutex_lock(&c->lock);
		atomic_store(&c->cancelled, true);
		c->dead = true;
		fn = c->close_fn;
		pthread_cond_broadcast(&c->drained);
		pthread_mutex_unlock(&c->lock);
	}
	if (fn)
		fn(c, c->close_arg);
	cleat_rt_call_unref(c);
}

void cleat_rpc_call_on_close(struct cleat_rpc_call *c, void (*fn)(struct cleat_rpc_call *c, void *arg),
			     void *arg)
{
	pthread_mutex_lock(&c->lock);
	bool gone = atomic_load(&c->cancelled);
	if (!gone) {
		c->close_fn = fn;
		c->close_arg = arg;
		cleat_rt_call_watch_close(c);
	}
	pthread_mutex_unlock(&c->lock);
	if (gone)
		fn(c, arg);
}

/* Nanoseconds until the deadline, negative when it has passed; INT64_MAX for none. */
static int64_t time_left_ns(const struct cleat_rpc_call *c)
{
	gpr_timespec deadline = gpr_convert_clock_type(c->details.deadline, GPR_CLOCK_MONOTONIC);

	if (gpr_time_cmp(deadline, gpr_inf_future(GPR_CLOCK_MONOTONIC)) == 0)
		return INT64_MAX;
	gpr_timespec left = gpr_time_sub(deadline, gpr_now(GPR_CLOCK_MONOTONIC));
	if (left.tv_sec > INT64_MAX / NS_PER_SECOND - 1)
		return INT64_MAX;
	return left.tv_sec * NS_PER_SECOND + left.tv_nsec;
}

bool cleat_rpc_call_cancelled(const struct cleat_rpc_call *c)
{
	return atomic_load(&c->cancelled) || time_left_ns(c) <= 0;
}

int64_t cleat_rpc_call_time_left_ms(const struct cleat_rpc_call *c)
{
	int64_t left = time_left_ns(c);

	if (left <= 0)
		return 0;
	return left == INT64_MAX ? left : (left - 1) / NS_PER_MS + 1; /* 0 means that it has passed */
}

/* ---- accessors ---- */

uint64_t cleat_rpc_call_id(const struct cleat_rpc_call *c)
{
	return c->id;
}

const char *cleat_rpc_call_method(const struct cleat_rpc_call *c)
{
	if (c->method)
		return c->method->path;
	return c->unknown_method ? c->unknown_method : "?";
}

const struct cleat_rpc_role *cleat_rpc_call_role(const struct cleat_rpc_call *c)
{
	return c->role;
}

struct cleat_rpc_peer cleat_rpc_call_peer(const struct cleat_rpc_call *c)
{
	return c->peer;
}

bool cleat_rpc_call_metadata(const struct cleat_rpc_call *c, const char *key, char *buf, size_t room)
{
	for (size_t i = 0; i < c->headers.count; i++) {
		const grpc_metadata *m = &c->headers.metadata[i];
		if (grpc_slice_str_cmp(m->key, key) != 0)
			continue;
		snprintf(buf, room, "%.*s", (int)GRPC_SLICE_LENGTH(m->value),
			 (const char *)GRPC_SLICE_START_PTR(m->value));
		return true;
	}
	return false;
}

void cleat_rpc_call_set_data(struct cleat_rpc_call *c, void *data, void (*free_data)(void *))
{
	c->data = data;
	c->free_data = free_data;
}

void *cleat_rpc_call_data(const struct cleat_rpc_call *c)
{
	return c->data;
}

grpc_call *cleat_rpc_call_core(const struct cleat_rpc_call *c)
{
	return c->core;
}

const grpc_metadata_array *cleat_rpc_call_headers(const struct cleat_rpc_call *c)
{
	return &c->headers;
}
