/* plugin.h - a go-plugin plugin in C: handshake, the services each host expects, orderly end.
 *
 * A program that is a plugin does, in this order:
 *
 *	cleat_goplugin_open	looks at the environment, makes the socket; adds health, controller, stdio, broker and reflection
 *	cleat_rpc_role_add	its own services, on cleat_goplugin_role()
 *	cleat_goplugin_serve	prints the handshake line, serves until the host (or a signal) ends it
 *	cleat_goplugin_free
 *
 * One thread of the program calls these; everything else happens in the server's threads.  Nothing here knows what the plugin is for.
 * Sources: go-plugin's guide for plugins in other languages, and its client (core protocol 1).
 */
#ifndef CLEAT_GOPLUGIN_PLUGIN_H
#define CLEAT_GOPLUGIN_PLUGIN_H

#include <cleat/error.h>

#include "rt/server.h"

struct cleat_goplugin;

struct cleat_goplugin_config {
	const char *program; /* for texts: "nomad-driver-cleat" */
	const char *host; /* for texts: "Nomad" */
	const char *cookie_key, *cookie_value; /* the magic cookie of the host */
	const unsigned *versions; /* app protocol versions that are served, ascending */
	size_t version_count;
	struct cleat_rpc_server_config server; /* zeros are good */
	/* Called when the end begins, whatever began it, before the server stops; may be NULL.  Must not block for long: the host kills
	 * the process two seconds after it asked. */
	void (*stopping)(void *arg);
	void *stopping_arg;
};

/* FAILED_PRECONDITION with a text for a person when this process was not started by the host; otherwise whatever keeps it from serving.
 * Blocks SIGTERM for the calling thread and those it starts, ignores SIGINT and SIGPIPE: the host's terminal and its death are not ours. */
enum cleat_code cleat_goplugin_open(const struct cleat_goplugin_config *config, struct cleat_goplugin **out,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
struct cleat_rpc_server *cleat_goplugin_server(struct cleat_goplugin *p);
struct cleat_rpc_role *cleat_goplugin_role(struct cleat_goplugin *p);
/* Describes the plugin's own services to reflection: a descriptor set made by cleat_proto_library(), borrowed until the free. */
enum cleat_code cleat_goplugin_describe(struct cleat_goplugin *p, const unsigned char *descriptor_set, size_t len,
					struct cleat_error *err) CLEAT_MUST_CHECK;
/* The app protocol version that was agreed on. */
unsigned cleat_goplugin_version(const struct cleat_goplugin *p);
/* Writes the handshake line to stdout, gives what is written to stdout from then on to the host's stdio stream, and returns when the host
 * has asked for the end or SIGTERM came, and the server has stopped.  DEADLINE_EXCEEDED: calls are stuck, end the process. */
enum cleat_code cleat_goplugin_serve(struct cleat_goplugin *p, struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_goplugin_free(struct cleat_goplugin *p);

#endif
