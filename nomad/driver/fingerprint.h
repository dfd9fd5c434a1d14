/* fingerprint.h - what the node is told about this driver: its health, which is the daemon's, and what
 * volumes there are.
 *
 * Two threads: one follows the daemon's events, the other asks for pools and volumes when something has
 * changed, or now and then.
 */
#ifndef CLEAT_DRIVER_FINGERPRINT_H
#define CLEAT_DRIVER_FINGERPRINT_H

#include "driver/daemon.h"
#include "driver/run.h"
#include "rt/call.h"

struct driver_fingerprint;

struct driver_fingerprint *driver_fingerprint_new(void); /* NULL without memory */
/* From now on it is known what to look at; daemon may be NULL: no volumes. Both are borrowed until the free.
 */
enum cleat_code driver_fingerprint_start(struct driver_fingerprint *f, struct driver_daemon *daemon,
					 const struct run_env *run, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Sends what is known to the call of Fingerprint, and each change from then on. */
void driver_fingerprint_attach(struct driver_fingerprint *f, struct cleat_rpc_call *call);
/* Ends the streams. */
void driver_fingerprint_stop(struct driver_fingerprint *f);
void driver_fingerprint_free(struct driver_fingerprint *f);

#endif
