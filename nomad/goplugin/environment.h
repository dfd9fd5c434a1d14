/* environment.h - what the host tells its plugin through environment variables, and the line that answers it. */
#ifndef CLEAT_GOPLUGIN_ENVIRONMENT_H
#define CLEAT_GOPLUGIN_ENVIRONMENT_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>

#include "goplugin/plugin.h"

#define GOPLUGIN_SOCKET_BYTES 108 /* unix(7): sun_path */
#define GOPLUGIN_LIST_MAX_BYTES 1024 /* longest list of versions that is looked at */
#define GOPLUGIN_CERT_MAX_BYTES (64 * 1024)

struct goplugin_env {
	unsigned version; /* highest that both know; the lowest of ours when there is none (the host then refuses) */
	bool tls; /* the host gave a certificate: AutoMTLS */
	const char *client_cert; /* PEM, borrowed from the environment; NULL without tls */
	bool asks_multiplex; /* the seventh field is wanted */
	const char *socket_dir; /* absolute; borrowed */
	const char *socket_group; /* name or number; NULL: leave it */
};

/* getenv(3), or a stand-in. */
typedef const char *(*goplugin_getenv_fn)(const char *name, void *arg);

/* FAILED_PRECONDITION when the cookie is not the host's; INVALID_ARGUMENT for values that cannot be used. */
enum cleat_code goplugin_env_read(const struct cleat_goplugin_config *config, goplugin_getenv_fn get, void *arg,
				  struct goplugin_env *out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* "1|2|unix|/tmp/plugin|grpc|" plus certificate and multiplexing field when asked for, with its newline.  cert_base64 may be NULL.
 * RESOURCE_EXHAUSTED when it does not fit. */
enum cleat_code goplugin_handshake(const struct goplugin_env *env, const char *socket, const char *cert_base64, char *out,
				   size_t out_bytes, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
