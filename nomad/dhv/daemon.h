/* daemon.h - the daemon as the plugin's client: calls that wait for a daemon that is just starting, and that
 * end before Nomad's own limits do. */
#ifndef CLEAT_DHV_DAEMON_H
#define CLEAT_DHV_DAEMON_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "cleat/v1/volumes.pb-c.h"
#include "rt/client.h"

struct dhv_daemon {
	const char *socket; /* borrowed */
	struct cleat_rpc_client *client;
	int64_t patience_until_ms; /* monotonic: until then a call that cannot be made yet is made again */
	int64_t end_ms;		   /* monotonic: no call goes on after this */
	bool needs_no_space;	   /* RESOURCE_EXHAUSTED is a crowd, not a full pool: worth another try */
	bool unreachable;	   /* the last error means that nobody serves the socket */
};

/* Nothing is sent yet.  Both times count from now. */
enum cleat_code dhv_daemon_open(const char *socket, int64_t patience_ms, int64_t limit_ms,
				struct dhv_daemon *out, struct cleat_error *err) CLEAT_MUST_CHECK;
void dhv_daemon_close(struct dhv_daemon *d);

/* One call of cleat.v1.Volumes, all of which may be repeated; *out belongs to the caller: cleat_autopb. */
enum cleat_code dhv_daemon_call(struct dhv_daemon *d, const char *method, const ProtobufCMessage *in,
				void *out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Waits a little for things to become better; false when there is no time left for another try. */
bool dhv_daemon_wait(const struct dhv_daemon *d);

#endif
