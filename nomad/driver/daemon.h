/* daemon.h - the volume daemon as the driver's client: one connection, calls with time limits, and what its
 * absence is called. */
#ifndef CLEAT_DRIVER_DAEMON_H
#define CLEAT_DRIVER_DAEMON_H

#include <cleat/error.h>

#include "cleat/v1/volumes.pb-c.h"
#include "rt/client.h"

#define DRIVER_DAEMON_QUICK_MS 10000 /* what answers from memory */
#define DRIVER_DAEMON_LONG_MS 600000 /* mkfs, fsck, resize */

struct driver_daemon;

/* Nothing is sent yet: a daemon that is not there shows with the first call. */
enum cleat_code driver_daemon_new(const char *socket, struct driver_daemon **out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
void driver_daemon_free(struct driver_daemon *d);
const char *driver_daemon_socket(const struct driver_daemon *d);

/* One call of cleat.v1.Volumes; *out as in cleat_rpc_client_call().  With `patient` a daemon that just
 * restarts is waited for, some seconds; UNAVAILABLE names the socket. */
enum cleat_code driver_daemon_call(struct driver_daemon *d, const char *method, const ProtobufCMessage *in,
				   unsigned timeout_ms, bool patient, void *out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* Its events from now on, until it goes away, on_message returns false or driver_daemon_cancel(); blocks. */
enum cleat_code driver_daemon_watch(struct driver_daemon *d, cleat_rpc_message_fn on_message, void *arg,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* Ends the watch, for good. */
void driver_daemon_cancel(struct driver_daemon *d);

/* Whether repeating the call later may help without anybody changing the job. */
bool driver_daemon_may_recover(enum cleat_code code);

#endif
