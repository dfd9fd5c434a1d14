/* rt_lab.h - the test service Lab behind a real server on a socket in a private folder, and a client to it.
 */
#ifndef CLEAT_TESTS_RT_LAB_H
#define CLEAT_TESTS_RT_LAB_H

#include "cleat/test/v1/lab.pb-c.h"
#include "rt/client.h"
#include "rt/health.h"
#include "rt/server.h"

#include <stdatomic.h>

struct lab {
	char dir[64];
	char path[96];	  /* of the socket */
	char target[112]; /* for clients */
	struct cleat_rpc_server *server;
	struct cleat_rpc_role *role; /* "lab" */
	struct cleat_rpc_health *health;
	struct cleat_rpc_client *client;
};

/* What the handlers saw, over all servers of the program. */
struct lab_seen {
	atomic_uint naps_started, naps_cancelled, counts_cut, parked, parked_closed, chats_ended;
	atomic_uint done, lost; /* calls reported by on_done */
	atomic_uint done_code[17];
	atomic_uint wrong; /* checks that failed in a handler */
	atomic_ullong last_id;
};
extern struct lab_seen lab_seen;
/* The on_done hook that fills lab_seen. */
void lab_on_done(const struct cleat_rpc_call *call, const struct cleat_rpc_done *done, void *arg);

/* A folder with an unused socket path. */
void lab_prepare(struct lab *lab);
/* A server with the service in role "lab", not yet listening.  config may be NULL. */
void lab_make_server(struct lab *lab, const struct cleat_rpc_server_config *config);
/* Listens on lab->path and starts. */
void lab_start_server(struct lab *lab);
/* Stops it with the given grace (5 s for the rest) and frees it. */
void lab_stop_server(struct lab *lab, unsigned grace_ms);
/* Waits until every call of the server has been reported and freed; fails the test after 10 s. */
void lab_settle(struct lab *lab);
void lab_make_client(struct lab *lab);
/* All of it. */
void lab_up(struct lab *lab, const struct cleat_rpc_server_config *config);
void lab_down(struct lab *lab);

/* Adds the service to a role. */
void lab_add(struct cleat_rpc_role *role);

#define LAB_SERVICE (&cleat__test__v1__lab__descriptor)

enum cleat_code lab_ping(struct cleat_rpc_client *c, const struct cleat_rpc_options *o,
			 struct cleat_error *err);
enum cleat_code lab_nap(struct cleat_rpc_client *c, const char *method, unsigned ms,
			const struct cleat_rpc_options *o, struct cleat_error *err);

/* Waits until *counter is at least n; fails the test after 10 s. */
void lab_wait_for(atomic_uint *counter, unsigned n);
uint64_t lab_now_ms(void);

#endif
