/* gate.h - in the first moments of a daemon, calls that read volumes wait until the pools have been looked
 * at.
 *
 * The socket opens before that, so that health answers at once; a list that lacks a pool only because nobody
 * has read it yet would tell its caller that volumes are gone.  The wait is short and ends for all calls
 * together: pools that hang hold up nobody for longer.
 */
#ifndef CLEAT_SERVICE_GATE_H
#define CLEAT_SERVICE_GATE_H

#include "rt/server.h"

#include <cleat/volume.h>

struct cleat_gate;

/* The engine is borrowed.  The server opens the gate when it stops. */
enum cleat_code cleat_gate_new(struct cleat_engine *engine, struct cleat_rpc_server *server,
			       struct cleat_gate **gate_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* After the server was freed (or never started); NULL is fine. */
void cleat_gate_free(struct cleat_gate *g);

bool cleat_gate_is_open(const struct cleat_gate *g);
/* True: the call waits, and the method of svc will be invoked anew; the handler must return at once. */
bool cleat_gate_wait(struct cleat_gate *g, struct cleat_rpc_call *call, ProtobufCService *svc,
		     const ProtobufCMessage *in, const char *method);

#endif
