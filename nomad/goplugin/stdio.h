/* stdio.h - plugin.GRPCStdio: what the process writes to its stdout after the handshake, as a stream to the host. */
#ifndef CLEAT_GOPLUGIN_STDIO_H
#define CLEAT_GOPLUGIN_STDIO_H

#include "rt/server.h"

struct goplugin_stdio;

enum cleat_code goplugin_stdio_new(struct goplugin_stdio **out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Adds the service to a role, before the server starts. */
enum cleat_code goplugin_stdio_add(struct goplugin_stdio *s, struct cleat_rpc_role *role, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* From here on descriptor 1 is a pipe whose other end feeds the stream.  Without a listener what is written is thrown away, so that
 * nobody ever blocks on it. */
enum cleat_code goplugin_stdio_redirect(struct goplugin_stdio *s, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Ends the stream; for the server's stop hook. */
void goplugin_stdio_end(struct goplugin_stdio *s);
/* After the server was freed: gives descriptor 1 back (to /dev/null) and ends the thread. */
void goplugin_stdio_free(struct goplugin_stdio *s);

#endif
