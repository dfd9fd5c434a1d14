/* doors.h - the daemon's gRPC server: which services, in which roles, on which sockets.  A further door adds
 * its role here. */
#ifndef CLEATD_DOORS_H
#define CLEATD_DOORS_H

#include "cleatd/config.h"

struct cleatd_doors;

/* What the doors need from outside the configuration: the socket's group, the files of the TLS listener. */
enum cleat_code cleatd_doors_check(const struct cleatd_config *config,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* Makes everything, listens and serves.  The engine is borrowed until cleatd_doors_close(). */
enum cleat_code cleatd_doors_open(const struct cleatd_config *config, struct cleat_engine *engine,
				  struct cleatd_doors **doors_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Health turns to NOT_SERVING, new calls are refused, running ones may finish for grace_ms, then they are
 * cancelled.  DEADLINE_EXCEEDED when calls are stuck even so: nothing is freed, and the process should end.
 */
enum cleat_code cleatd_doors_close(struct cleatd_doors *doors, unsigned grace_ms,
				   struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
