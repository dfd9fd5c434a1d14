/* health.c - see health.h.  A few names in an array and the calls that watch them, under one lock. */
#include "rt/health.h"

#include "grpc/health/v1/health.pb-c.h"
#include "util/mem.h"

#include <pthread.h>
#include <string.h>

#define MAX_NAMES 64
#define MAX_WATCHERS 64

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;
#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct watcher {
	struct cleat_rpc_call *call; /* held; NULL: free place */
	char *service;		     /* owned */
};

struct cleat_rpc_health {
	Grpc__Health__V1__Health_Service service; /* first: handlers get its address */
	pthread_mutex_t lock;			  /* outside of every call's own lock */
	struct {
		char *name; /* owned */
		serving_status status;
	} names[MAX_NAMES];
	size_t n_names;
	struct watcher watchers[MAX_WATCHERS];
	bool stopping;
};

static struct cleat_rpc_health *health_of(Grpc__Health__V1__Health_Service *service)
{
	return CLEAT_CONTAINER(service, struct cleat_rpc_health, service);
}

/* With the lock held; SERVICE_UNKNOWN for a name that was never set. */
static serving_status status_of(const struct cleat_rpc_health *h, const char *name)
{
	for (size_t i = 0; i < h->n_names; i++)
		if (strcmp(h->names[i].name, name) == 0)
			return h->names[i].status;
	return STATUS(SERVICE_UNKNOWN);
}

static void send_status(struct cleat_rpc_call *call, serving_status status)
{
	Grpc__Health__V1__HealthCheckResponse out = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	out.status = status;
	cleat_rpc_call_reply(call, &out.base);
}

static void on_check(Grpc__Health__V1__Health_Service *service,
		     const Grpc__Health__V1__HealthCheckRequest *in,
		     Grpc__Health__V1__HealthCheckResponse_Closure done, void *call)
{
	struct cleat_rpc_health *h = health_of(service);

	(void)done;
	pthread_mutex_lock(&h->lock);
	serving_status status = status_of(h, in->service);
	pthread_mutex_unlock(&h->lock);
	if (status == STATUS(SERVICE_UNKNOWN))
		cleat_rpc_call_fail(call, CLEAT_NOT_FOUND, "unknown service '%s'", in->service);
	else
		send_status(call, status);
}

/* ---- Watch ---- */

/* With the lock held: empties the place. */
static struct cleat_rpc_call *take_out(struct watcher *w)
{
	struct cleat_rpc_call *call = w->call;

	free(w->service);
	*w = (struct watcher){ NULL, NULL };
	return call;
}

static void watcher_gone(struct cleat_rpc_call *call, void *arg)
{
	struct cleat_rpc_health *h = arg;
	struct cleat_rpc_call *mine = NULL;

	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < MAX_WATCHERS && !mine; i++)
		if (h->watchers[i].call == call)
			mine = take_out(&h->watchers[i]);
	pthread_mutex_unlock(&h->lock);
	if (!mine) /* the stop has ended it */
		return;
	cleat_rpc_call_end(mine);
	cleat_rpc_call_drop(mine);
}

static enum cleat_code add_watcher(struct cleat_rpc_health *h, struct cleat_rpc_call *call,
				   const char *service, struct cleat_error *err)
{
	if (h->stopping)
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "shutting down");
	for (size_t i = 0; i < MAX_WATCHERS; i++) {
		struct watcher *w = &h->watchers[i];
		if (w->call)
			continue;
		w->service = strdup(service);
		if (!w->service)
			break;
		cleat_rpc_call_hold(call);
		w->call = call;
		send_status(call, status_of(h, service));
		return CLEAT_OK;
	}
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "too many callers watch the health");
}

static void on_watch(Grpc__Health__V1__Health_Service *service,
		     const Grpc__Health__V1__HealthCheckRequest *in,
		     Grpc__Health__V1__HealthCheckResponse_Closure done, void *call)
{
	struct cleat_rpc_health *h = health_of(service);
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)done;
	pthread_mutex_lock(&h->lock);
	enum cleat_code code = add_watcher(h, call, in->service, &err);
	pthread_mutex_unlock(&h->lock);
	if (code != CLEAT_OK)
		cleat_rpc_call_fail_error(call, &err);
	else
		cleat_rpc_call_on_close(call, watcher_gone, h);
}

/* A watcher never ends by itself and would use up the stop's grace. */
static void end_watchers(void *arg)
{
	struct cleat_rpc_health *h = arg;

	pthread_mutex_lock(&h->lock);
	h->stopping = true;
	for (size_t i = 0; i < MAX_WATCHERS; i++) {
		struct cleat_rpc_call *call = take_out(&h->watchers[i]);
		if (!call)
			continue;
		send_status(call, STATUS(NOT_SERVING));
		cleat_rpc_call_fail(call, CLEAT_UNAVAILABLE, "shutting down");
		cleat_rpc_call_drop(call);
	}
	pthread_mutex_unlock(&h->lock);
}

/* ---- for the program ---- */

enum cleat_code cleat_rpc_health_new(struct cleat_rpc_server *s, struct cleat_rpc_health **health_out,
				     struct cleat_error *err)
{
	struct cleat_rpc_health *h = calloc(1, sizeof(*h));

	if (!h)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for the health service");
	h->service = (Grpc__Health__V1__Health_Service){
		.base = { &grpc__health__v1__health__descriptor, protobuf_c_service_invoke_internal, NULL },
		.check = on_check,
		.watch = on_watch,
	};
	pthread_mutex_init(&h->lock, NULL);
	enum cleat_code code = cleat_rpc_health_set(h, "", false, err);
	if (code == CLEAT_OK)
		code = cleat_rpc_server_on_stop(s, end_watchers, h, err);
	if (code != CLEAT_OK)
		cleat_rpc_health_free(h);
	else
		*health_out = h;
	return code;
}

void cleat_rpc_health_free(struct cleat_rpc_health *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n_names; i++)
		free(h->names[i].name);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

enum cleat_code cleat_rpc_health_add(struct cleat_rpc_health *h, struct cleat_rpc_role *role,
				     struct cleat_error *err)
{
	static const struct cleat_rpc_method methods[] = {
		{ .name = "Check", .lane = CLEAT_RPC_INLINE, .kind = CLEAT_RPC_UNARY },
		{ .name = "Watch", .lane = CLEAT_RPC_INLINE, .kind = CLEAT_RPC_SERVER_STREAM },
	};

	return cleat_rpc_role_add(role, &h->service.base, methods, CLEAT_COUNT(methods), err);
}

/* With the lock held. */
static enum cleat_code set_name(struct cleat_rpc_health *h, const char *service, serving_status status,
				struct cleat_error *err)
{
	for (size_t i = 0; i < h->n_names; i++) {
		if (strcmp(h->names[i].name, service) == 0) {
			h->names[i].status = status;
			return CLEAT_OK;
		}
	}
	char *name = h->n_names < MAX_NAMES ? strdup(service) : NULL;
	if (!name)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no room for the health of '%s'",
				       service);
	h->names[h->n_names].name = name;
	h->names[h->n_names++].status = status;
	return CLEAT_OK;
}

enum cleat_code cleat_rpc_health_set(struct cleat_rpc_health *h, const char *service, bool serving,
				     struct cleat_error *err)
{
	serving_status status = serving ? STATUS(SERVING) : STATUS(NOT_SERVING);

	pthread_mutex_lock(&h->lock);
	serving_status before = status_of(h, service);
	enum cleat_code code = set_name(h, service, status, err);
	for (size_t i = 0; i < MAX_WATCHERS && code == CLEAT_OK && before != status; i++) {
		struct watcher *w = &h->watchers[i];
		if (w->call && strcmp(w->service, service) == 0)
			send_status(w->call, status);
	}
	pthread_mutex_unlock(&h->lock);
	return code;
}
