/* streams.h - the open calls of one server-streaming method: who listens, and who has gone. */
#ifndef CLEAT_DRIVER_STREAMS_H
#define CLEAT_DRIVER_STREAMS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "rt/call.h"

#define DRIVER_STREAMS_MAX 64

struct driver_streams {
	pthread_mutex_t lock;				  /* outside of every call's own lock */
	struct cleat_rpc_call *calls[DRIVER_STREAMS_MAX]; /* held */
	size_t count;
	bool stopped;
};

void driver_streams_init(struct driver_streams *s);
void driver_streams_done(struct driver_streams *s);
/* Holds the call until its caller goes or driver_streams_stop(); `first` (may be NULL) is sent to it with the
 * lock held, before anything else.  Fails the call when there are too many. */
void driver_streams_add(struct driver_streams *s, struct cleat_rpc_call *call,
			void (*first)(struct cleat_rpc_call *call, void *arg), void *arg);
/* Sends one message to all; returns how many there were. */
size_t driver_streams_send(struct driver_streams *s, const ProtobufCMessage *m);
void driver_streams_stop(struct driver_streams *s);

#endif
