/* service.c - see service.h. */
#include "service/internal.h"

#include <signal.h>
#include <stdlib.h>

#define STACK_BYTES (256u << 10)

enum cleat_code cleat_service_thread(pthread_t *thread, void *(*fn)(void *), void *arg,
				     struct cleat_error *err)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int e;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(thread, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return e ? cleat_error_errno(err, e, "start a thread of the service") : CLEAT_OK;
}

enum cleat_code cleat_service_new(struct cleat_engine *engine, struct cleat_rpc_server *server,
				  struct cleat_service **service_out, struct cleat_error *err)
{
	struct cleat_service *s = calloc(1, sizeof(*s));

	if (!s)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for the service");
	s->engine = engine;
	s->base.base = (ProtobufCService){ &cleat__v1__volumes__descriptor,
					   protobuf_c_service_invoke_internal, NULL };
	service_set_changing(&s->base);
	service_set_reading(&s->base);
	s->base.list_parameters = service_on_list_parameters;
	s->base.watch = service_on_watch;
	/* Both, so that both can be undone. */
	enum cleat_code watch = service_watch_init(s, server, err);
	enum cleat_code gate = cleat_gate_new(engine, server, &s->gate, watch == CLEAT_OK ? err : NULL);
	if (watch != CLEAT_OK || gate != CLEAT_OK) {
		cleat_service_free(s);
		return watch != CLEAT_OK ? watch : gate;
	}
	*service_out = s;
	return CLEAT_OK;
}

enum cleat_code cleat_service_add(struct cleat_service *s, struct cleat_rpc_role *role,
				  struct cleat_error *err)
{
	static const struct cleat_rpc_method methods[] = {
		{ .name = NULL, .lane = CLEAT_RPC_INLINE, .kind = CLEAT_RPC_UNARY },
		/* Hands over up to some thousand kept events before it returns: not on the poller. */
		{ .name = "Watch", .lane = CLEAT_RPC_WORKER, .kind = CLEAT_RPC_SERVER_STREAM },
	};

	return cleat_rpc_role_add(role, &s->base.base, methods, CLEAT_COUNT(methods), err);
}

void cleat_service_free(struct cleat_service *s)
{
	if (!s)
		return;
	cleat_gate_free(s->gate);
	service_watch_done(s);
	free(s);
}
