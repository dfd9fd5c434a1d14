/* service.h - cleat.v1.Volumes as a service of the runtime: every call becomes a request to the engine, or is
 *read from its memory.
 *
 *	cleat_service_new -> cleat_service_add (per role) -> cleat_rpc_server_start -> ... ->
 *cleat_rpc_server_stop -> cleat_rpc_server_free -> cleat_service_free -> cleat_engine_close
 *
 * No handler blocks: changing calls are submitted to the engine and answered from its threads.
 */
#ifndef CLEAT_SERVICE_SERVICE_H
#define CLEAT_SERVICE_SERVICE_H

#include "rt/server.h"

#include <cleat/volume.h>

#define CLEAT_SERVICE_NAME "cleat.v1.Volumes"

struct cleat_service;

/* The engine is borrowed.  The server ends the watchers when it stops. */
enum cleat_code cleat_service_new(struct cleat_engine *engine, struct cleat_rpc_server *server,
				  struct cleat_service **service_out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* Adds the service to a role; it may go into several. */
enum cleat_code cleat_service_add(struct cleat_service *s, struct cleat_rpc_role *role,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* After the server was freed (or never started); NULL is fine. */
void cleat_service_free(struct cleat_service *s);

#endif
