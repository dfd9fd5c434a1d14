/* health.h - grpc.health.v1.Health with a status per service name; Check is inline and touches nothing else.
 */
#ifndef CLEAT_RT_HEALTH_H
#define CLEAT_RT_HEALTH_H

#include "rt/server.h"

struct cleat_rpc_health;

/* Made before the server starts, freed after the server was freed.  The server as a whole (name "") begins as
 * NOT_SERVING.  Its Watch streams end when the server stops. */
enum cleat_code cleat_rpc_health_new(struct cleat_rpc_server *s, struct cleat_rpc_health **health_out,
				     struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_rpc_health_free(struct cleat_rpc_health *h);

/* Adds the service to a role; it may go into several. */
enum cleat_code cleat_rpc_health_add(struct cleat_rpc_health *h, struct cleat_rpc_role *role,
				     struct cleat_error *err) CLEAT_MUST_CHECK;

/* At any time, from any thread: sets the status of a service ("" is the server as a whole) and tells those
 * who watch it.  RESOURCE_EXHAUSTED: more than 64 names, or no memory. */
enum cleat_code cleat_rpc_health_set(struct cleat_rpc_health *h, const char *service, bool serving,
				     struct cleat_error *err);

#endif
