/* internal.h - what the files of service/ share. */
#ifndef CLEAT_SERVICE_INTERNAL_H
#define CLEAT_SERVICE_INTERNAL_H

#include "service/calllog.h"
#include "service/convert.h"
#include "service/service.h"
#include "util/mem.h"

#include <pthread.h>
#include <stdatomic.h>

/* Most memory of one answer while it is put together, and most bytes of it on the wire: clients accept 4 MiB
 * unless told otherwise. */
#define REPLY_ARENA_BYTES (64u << 20)
#define REPLY_MAX_BYTES (3u << 20)

struct watcher;
struct parked;

struct cleat_service {
	Cleat__V1__Volumes_Service base; /* first: handlers get its address */
	struct cleat_engine *engine;	 /* borrowed */

	/* Of gate.c.  The lock is inside the engine's event lock and outside every call's. */
	pthread_mutex_t gate_lock;
	pthread_cond_t gate_wake;
	struct parked *parked; /* calls that wait */
	unsigned parked_count;
	atomic_bool gate_open; /* set once, with the lock; read without */
	bool gate_news;	       /* a pool came or was given up */
	bool gate_quit;
	pthread_t gate;
	bool gating; /* the thread was started */

	/* Of watch.c.  The lock is inside the engine's event lock and outside every call's. */
	pthread_mutex_t watch_lock;
	pthread_cond_t watch_wake;
	struct watcher *watchers; /* every one that is not reaped */
	struct watcher *ended;	  /* to be reaped */
	pthread_t reaper;
	bool reaping;		   /* the thread runs */
	bool stopping;		   /* no new watchers */
	bool quit;		   /* the reaper is to end */
	atomic_uint watcher_count; /* of those whose calls still exist */
};

static inline struct cleat_service *service_of(Cleat__V1__Volumes_Service *base)
{
	return CLEAT_CONTAINER(base, struct cleat_service, base);
}

/* An arena for one answer. */
#define autoarena __attribute__((cleanup(cleat_pb_arena_reset)))

/* The answer could not be put together. */
static inline void reply_no_memory(struct cleat_rpc_call *call)
{
	cleat_rpc_call_fail(call, CLEAT_RESOURCE_EXHAUSTED, "no memory for the answer");
}

/* The handlers, by file. */
void service_set_changing(Cleat__V1__Volumes_Service *base); /* volumes.c */
void service_set_reading(Cleat__V1__Volumes_Service *base);  /* read.c */
void service_on_list_parameters(Cleat__V1__Volumes_Service *base, const Cleat__V1__ListParametersRequest *in,
				Cleat__V1__ListParametersResponse_Closure done, void *call); /* params.c */
void service_on_watch(Cleat__V1__Volumes_Service *base, const Cleat__V1__WatchRequest *in,
		      Cleat__V1__Event_Closure done, void *call); /* watch.c */

/* service.c: a thread with a small stack that takes no signals. */
enum cleat_code service_thread(pthread_t *thread, void *(*fn)(void *), void *arg, struct cleat_error *err);

/* gate.c */
enum cleat_code service_gate_init(struct cleat_service *s, struct cleat_rpc_server *server,
				  struct cleat_error *err);
void service_gate_done(struct cleat_service *s);
/* True: the call waits, and the method will be invoked anew; the handler must return at once. */
bool service_gate(struct cleat_service *s, struct cleat_rpc_call *call, const ProtobufCMessage *in,
		  const char *method);

/* watch.c */
enum cleat_code service_watch_init(struct cleat_service *s, struct cleat_rpc_server *server,
				   struct cleat_error *err);
void service_watch_done(struct cleat_service *s);

#endif
