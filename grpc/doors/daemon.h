/* daemon.h - the daemon as a program sees it that lives for one request: calls that share one time limit, and
 * words for people when nobody answers. */
#ifndef CLEAT_DOORS_DAEMON_H
#define CLEAT_DOORS_DAEMON_H

#include "cleat/v1/volumes.pb-c.h"
#include "rt/client.h"
#include "util/kv.h"

#include <cleat/error.h>

#define CLEAT_DOOR_SOCKET "/run/cleat/cleat.sock"

struct cleat_door;

/* Nothing is sent yet.  socket: the daemon's, or NULL for $CLEAT_SOCKET, or else CLEAT_DOOR_SOCKET.
 * limit_ms: for everything that is done through this door together.  patience_ms: how long a daemon that is
 * not there, because it restarts, is waited for. */
enum cleat_code cleat_door_open(const char *socket, int64_t limit_ms, int64_t patience_ms,
				struct cleat_door **out, struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_door_close(struct cleat_door *d); /* NULL is fine */
const char *cleat_door_socket(const struct cleat_door *d);
/* Everything from now on must be done within limit_ms: for what is still to be undone after the first limit.
 */
void cleat_door_set_limit(struct cleat_door *d, int64_t limit_ms);
/* Of the limit; never below 0. */
int64_t cleat_door_left_ms(const struct cleat_door *d);

/* One call of cleat.v1.Volumes, all of which may be repeated; *out as in cleat_rpc_client_call().
 * UNAVAILABLE names the socket and why it cannot be reached, if that is why.  DEADLINE_EXCEEDED: the limit
 * has passed; what was begun goes on in the daemon. */
enum cleat_code cleat_door_call(struct cleat_door *d, const char *method, const ProtobufCMessage *in,
				void *out, struct cleat_error *err) CLEAT_MUST_CHECK;

static inline void cleat_cleanup_door(struct cleat_door **d)
{
	cleat_door_close(*d);
}
#define cleat_autodoor __attribute__((cleanup(cleat_cleanup_door)))

#endif
