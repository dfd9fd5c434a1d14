/* gate.c - in the first moments of a daemon, calls that read volumes wait until the pools have been looked
 * at.
 *
 * The socket opens before that, so that health answers at once; a list that lacks a pool only because nobody
 * has read it yet would tell its caller that volumes are gone.  The wait is short and ends for all calls
 * together: pools that hang hold up nobody for longer.
 */
#include "service/internal.h"

#include "util/clock.h"

#include <stdlib.h>

#define GATE_MS 2000 /* longest wait, counted from the start of the service */
#define MAX_PARKED 256
#define MAX_POOLS_SEEN 64

struct parked {
	struct parked *next;
	struct cleat_rpc_call *call; /* held */
	const ProtobufCMessage *in;  /* of the call */
	const char *method;	     /* in Volumes */
};

/* A pool that is neither online nor has been given up yet. */
static bool still_opening(struct cleat_service *s)
{
	struct cleat_pool_state *pools = calloc(MAX_POOLS_SEEN, sizeof(*pools));
	size_t n = pools ? cleat_pool_list(s->engine, pools, MAX_POOLS_SEEN) : 0;
	bool opening = false;

	for (size_t i = 0; i < n && i < MAX_POOLS_SEEN; i++)
		opening |= pools[i].opening;
	free(pools);
	return opening;
}

static void on_event(const struct cleat_event *event, void *arg)
{
	struct cleat_service *s = arg;

	if (event->kind != CLEAT_EVENT_POOL_ONLINE && event->kind != CLEAT_EVENT_POOL_OFFLINE)
		return;
	pthread_mutex_lock(&s->gate_lock);
	s->gate_news = true;
	pthread_cond_signal(&s->gate_wake);
	pthread_mutex_unlock(&s->gate_lock);
}

/* Returns when there is news of a pool, or the time is over. */
static bool wait_for_news(struct cleat_service *s, const struct timespec *until)
{
	bool go_on;

	pthread_mutex_lock(&s->gate_lock);
	while (!s->gate_news && !s->gate_quit)
		if (pthread_cond_timedwait(&s->gate_wake, &s->gate_lock, until))
			break;
	go_on = s->gate_news && !s->gate_quit;
	s->gate_news = false;
	pthread_mutex_unlock(&s->gate_lock);
	return go_on;
}

static void run(struct cleat_service *s, const struct parked *p)
{
	const ProtobufCMethodDescriptor *m =
		protobuf_c_service_descriptor_get_method_by_name(s->base.base.descriptor, p->method);

	s->base.base.invoke(&s->base.base, (unsigned)(m - s->base.base.descriptor->methods), p->in, NULL,
			    p->call);
	cleat_rpc_call_drop(p->call);
}

/* From here on nobody waits any more. */
static void open_gate(struct cleat_service *s)
{
	struct parked *list;

	pthread_mutex_lock(&s->gate_lock);
	atomic_store(&s->gate_open, true);
	list = s->parked;
	s->parked = NULL;
	pthread_mutex_unlock(&s->gate_lock);
	while (list) {
		struct parked *next = list->next;

		run(s, list);
		free(list);
		list = next;
	}
}

static void *run_gate(void *arg)
{
	struct cleat_service *s = arg;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_events_sub *sub = NULL;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += GATE_MS / 1000;
	if (cleat_events_subscribe(s->engine, NULL, 0, on_event, s, &sub, &err) == CLEAT_OK)
		while (still_opening(s) && wait_for_news(s, &until))
			;
	open_gate(s);
	cleat_events_unsubscribe(sub);
	return NULL;
}

bool service_gate(struct cleat_service *s, struct cleat_rpc_call *call, const ProtobufCMessage *in,
		  const char *method)
{
	struct parked *p;
	bool wait;

	if (atomic_load_explicit(&s->gate_open, memory_order_acquire))
		return false;
	p = malloc(sizeof(*p));
	if (!p)
		return false;
	pthread_mutex_lock(&s->gate_lock);
	wait = !atomic_load(&s->gate_open) && s->parked_count < MAX_PARKED;
	if (wait) {
		cleat_rpc_call_hold(call);
		*p = (struct parked){ s->parked, call, in, method };
		s->parked = p;
		s->parked_count++;
	}
	pthread_mutex_unlock(&s->gate_lock);
	if (!wait)
		free(p);
	return wait;
}

static void stop_waiting(void *arg)
{
	struct cleat_service *s = arg;

	pthread_mutex_lock(&s->gate_lock);
	s->gate_quit = true;
	pthread_cond_signal(&s->gate_wake);
	pthread_mutex_unlock(&s->gate_lock);
}

enum cleat_code service_gate_init(struct cleat_service *s, struct cleat_rpc_server *server,
				  struct cleat_error *err)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&s->gate_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->gate_wake, &attr);
	pthread_condattr_destroy(&attr);
	enum cleat_code code = cleat_rpc_server_on_stop(server, stop_waiting, s, err);
	if (code == CLEAT_OK)
		code = service_thread(&s->gate, run_gate, s, err);
	s->gating = code == CLEAT_OK;
	return code;
}

void service_gate_done(struct cleat_service *s)
{
	if (s->gating) {
		stop_waiting(s);
		pthread_join(s->gate, NULL);
	}
	pthread_cond_destroy(&s->gate_wake);
	pthread_mutex_destroy(&s->gate_lock);
}
