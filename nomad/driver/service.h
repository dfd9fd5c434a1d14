/* service.h - the two services that the host calls: BasePlugin and Driver. */
#ifndef CLEAT_DRIVER_SERVICE_H
#define CLEAT_DRIVER_SERVICE_H

#include "driver/driver.h"
#include "rt/server.h"

/* Adds both to a role; `d` is borrowed for the life of the server. */
enum cleat_code driver_service_add(struct driver *d, struct cleat_rpc_role *role,
				   struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
