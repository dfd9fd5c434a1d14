/* streams.c - see streams.h. */
#include "driver/streams.h"

void driver_streams_init(struct driver_streams *s)
{
	*s = (struct driver_streams){ .lock = PTHREAD_MUTEX_INITIALIZER };
}

void driver_streams_done(struct driver_streams *s)
{
	pthread_mutex_destroy(&s->lock);
}

/* On the poller.  A call that the stop has taken out is not in the list any more. */
static void gone(struct cleat_rpc_call *call, void *arg)
{
	struct driver_streams *s = arg;
	bool mine = false;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->count && !mine; i++) {
		if (s->calls[i] != call)
			continue;
		s->calls[i] = s->calls[--s->count];
		mine = true;
	}
	pthread_mutex_unlock(&s->lock);
	if (!mine)
		return;
	cleat_rpc_call_end(call);
	cleat_rpc_call_drop(call);
}

void driver_streams_add(struct driver_streams *s, struct cleat_rpc_call *call,
			void (*first)(struct cleat_rpc_call *call, void *arg), void *arg)
{
	pthread_mutex_lock(&s->lock);
	bool full = s->stopped || s->count == DRIVER_STREAMS_MAX;
	if (!full) {
		cleat_rpc_call_hold(call);
		s->calls[s->count++] = call;
		if (first)
			first(call, arg);
	}
	pthread_mutex_unlock(&s->lock);
	if (full)
		cleat_rpc_call_fail(call, CLEAT_RESOURCE_EXHAUSTED, "too many streams, or shutting down");
	else
		cleat_rpc_call_on_close(call, gone, s);
}

size_t driver_streams_send(struct driver_streams *s, const ProtobufCMessage *m)
{
	pthread_mutex_lock(&s->lock);
	size_t n = s->count;
	for (size_t i = 0; i < n; i++)
		cleat_rpc_call_reply(s->calls[i], m);
	pthread_mutex_unlock(&s->lock);
	return n;
}

void driver_streams_stop(struct driver_streams *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopped = true;
	while (s->count) {
		struct cleat_rpc_call *call = s->calls[--s->count];
		cleat_rpc_call_end(call);
		cleat_rpc_call_drop(call);
	}
	pthread_mutex_unlock(&s->lock);
}
