/* gate.c - see gate.h. */
#include "service/gate.h"

#include "service/thread.h"
#include "util/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define GATE_MS 2000 /* longest wait, counted from the start of the service */
#define MAX_PARKED 256
#define MAX_POOLS_SEEN 64

struct parked {
	struct parked *next;
	struct cleat_rpc_call *call; /* held */
	ProtobufCService *svc;
	const ProtobufCMessage *in; /* of the call */
	unsigned method;	    /* in svc */
};

struct cleat_gate {
	struct cleat_engine *engine; /* borrowed */
	/* Inside the engine's event lock and outside every call's. */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct parked *parked; /* calls that wait */
	unsigned parked_count;
	atomic_bool open; /* set once, with the lock; read without */
	bool news;	  /* a pool came or was given up */
	bool quit;
	pthread_t thread;
	bool running; /* the thread was started */
};

/* A pool that is neither online nor has been given up yet. */
static bool still_opening(struct cleat_gate *g)
{
	struct cleat_pool_state *pools = calloc(MAX_POOLS_SEEN, sizeof(*pools));
	size_t n = pools ? cleat_pool_list(g->engine, pools, MAX_POOLS_SEEN) : 0;
	bool opening = false;

	for (size_t i = 0; i < n && i < MAX_POOLS_SEEN; i++)
		opening |= pools[i].opening;
	free(pools);
	return opening;
}

static void on_event(const struct cleat_event *event, void *arg)
{
	struct cleat_gate *g = arg;

	if (event->kind != CLEAT_EVENT_POOL_ONLINE && event->kind != CLEAT_EVENT_POOL_OFFLINE)
		return;
	pthread_mutex_lock(&g->lock);
	g->news = true;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->lock);
}

/* Returns when there is news of a pool, or the time is over. */
static bool wait_for_news(struct cleat_gate *g, const struct timespec *until)
{
	bool go_on;

	pthread_mutex_lock(&g->lock);
	while (!g->news && !g->quit)
		if (pthread_cond_timedwait(&g->wake, &g->lock, until))
			break;
	go_on = g->news && !g->quit;
	g->news = false;
	pthread_mutex_unlock(&g->lock);
	return go_on;
}

static void run(const struct parked *p)
{
	p->svc->invoke(p->svc, p->method, p->in, NULL, p->call);
	cleat_rpc_call_drop(p->call);
}

/* From here on nobody waits any more. */
static void open_gate(struct cleat_gate *g)
{
	struct parked *list;

	pthread_mutex_lock(&g->lock);
	atomic_store(&g->open, true);
	list = g->parked;
	g->parked = NULL;
	pthread_mutex_unlock(&g->lock);
	while (list) {
		struct parked *next = list->next;

		run(list);
		free(list);
		list = next;
	}
}

static void *run_gate(void *arg)
{
	struct cleat_gate *g = arg;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_events_sub *sub = NULL;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += GATE_MS / 1000;
	if (cleat_events_subscribe(g->engine, NULL, 0, on_event, g, &sub, &err) == CLEAT_OK)
		while (still_opening(g) && wait_for_news(g, &until))
			;
	open_gate(g);
	cleat_events_unsubscribe(sub);
	return NULL;
}

bool cleat_gate_is_open(const struct cleat_gate *g)
{
	return atomic_load_explicit(&g->open, memory_order_acquire);
}

static unsigned method_index(const ProtobufCService *svc, const char *method)
{
	const ProtobufCMethodDescriptor *m =
		protobuf_c_service_descriptor_get_method_by_name(svc->descriptor, method);

	return (unsigned)(m - svc->descriptor->methods);
}

bool cleat_gate_wait(struct cleat_gate *g, struct cleat_rpc_call *call, ProtobufCService *svc,
		     const ProtobufCMessage *in, const char *method)
{
	struct parked *p;
	bool wait;

	if (cleat_gate_is_open(g))
		return false;
	p = malloc(sizeof(*p));
	if (!p)
		return false;
	pthread_mutex_lock(&g->lock);
	wait = !atomic_load(&g->open) && g->parked_count < MAX_PARKED;
	if (wait) {
		cleat_rpc_call_hold(call);
		*p = (struct parked){ g->parked, call, svc, in, method_index(svc, method) };
		g->parked = p;
		g->parked_count++;
	}
	pthread_mutex_unlock(&g->lock);
	if (!wait)
		free(p);
	return wait;
}

static void stop_waiting(void *arg)
{
	struct cleat_gate *g = arg;

	pthread_mutex_lock(&g->lock);
	g->quit = true;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->lock);
}

enum cleat_code cleat_gate_new(struct cleat_engine *engine, struct cleat_rpc_server *server,
			       struct cleat_gate **gate_out, struct cleat_error *err)
{
	struct cleat_gate *g = calloc(1, sizeof(*g));
	pthread_condattr_t attr;

	if (!g)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for the service");
	g->engine = engine;
	pthread_mutex_init(&g->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (cleat_rpc_server_on_stop(server, stop_waiting, g, err) ||
	    cleat_service_thread(&g->thread, run_gate, g, err)) {
		cleat_gate_free(g);
		return err->code;
	}
	g->running = true;
	*gate_out = g;
	return CLEAT_OK;
}

void cleat_gate_free(struct cleat_gate *g)
{
	if (!g)
		return;
	if (g->running) {
		stop_waiting(g);
		pthread_join(g->thread, NULL);
	}
	pthread_cond_destroy(&g->wake);
	pthread_mutex_destroy(&g->lock);
	free(g);
}
