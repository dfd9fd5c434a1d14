/* internal.h - what the files of service/ share. */
#ifndef CLEAT_SERVICE_INTERNAL_H
#define CLEAT_SERVICE_INTERNAL_H

#include "service/calllog.h"
#include "service/convert.h"
#include "service/gate.h"
#include "service/pending.h"
#include "service/reply.h"
#include "service/service.h"
#include "service/thread.h"
#include "util/mem.h"

#include <pthread.h>
#include <stdatomic.h>

struct watcher;

struct cleat_service {
	Cleat__V1__Volumes_Service base; /* first: handlers get its address */
	struct cleat_engine *engine;	 /* borrowed */
	struct cleat_gate *gate;

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

/* The handlers, by file. */
void service_set_changing(Cleat__V1__Volumes_Service *base); /* volumes.c */
void service_set_reading(Cleat__V1__Volumes_Service *base);  /* read.c */
void service_on_list_parameters(Cleat__V1__Volumes_Service *base, const Cleat__V1__ListParametersRequest *in,
				Cleat__V1__ListParametersResponse_Closure done, void *call); /* params.c */
void service_on_watch(Cleat__V1__Volumes_Service *base, const Cleat__V1__WatchRequest *in,
		      Cleat__V1__Event_Closure done, void *call); /* watch.c */

/* True: the call waits, and the method will be invoked anew; the handler must return at once. */
static inline bool service_gate(struct cleat_service *s, struct cleat_rpc_call *call,
				const ProtobufCMessage *in, const char *method)
{
	return cleat_gate_wait(s->gate, call, &s->base.base, in, method);
}

/* watch.c */

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
