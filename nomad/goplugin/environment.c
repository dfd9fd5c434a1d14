/* environment.c - see environment.h. */
#include "goplugin/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool serves(const struct cleat_goplugin_config *config, unsigned long version)
{
	for (size_t i = 0; i < config->version_count; i++)
		if (config->versions[i] == version)
			return true;
	return false;
}

/* The list is what the host accepts, separated by commas.  What is no number is passed over, as other plugins do. */
static unsigned choose_version(const struct cleat_goplugin_config *config, const char *list)
{
	unsigned long best = 0;

	if (!list || strnlen(list, GOPLUGIN_LIST_MAX_BYTES) >= GOPLUGIN_LIST_MAX_BYTES)
		return config->versions[0];
	for (const char *at = list; *at;) {
		char *end;
		unsigned long version = strtoul(at, &end, 10);
		if (end != at && (*end == ',' || *end == '\0') && serves(config, version) && version > best)
			best = version;
		at += strcspn(at, ",");
		at += *at == ',';
	}
	return best ? (unsigned)best : config->versions[0];
}

static const char *first_set(goplugin_getenv_fn get, void *arg, const char *const *names)
{
	for (; *names; names++) {
		const char *value = get(*names, arg);
		if (value && *value)
			return value;
	}
	return NULL;
}

static enum cleat_code read_socket_place(goplugin_getenv_fn get, void *arg, struct goplugin_env *out, struct cleat_error *err)
{
	static const char *const dirs[] = { "PLUGIN_UNIX_SOCKET_DIR", "TMPDIR", NULL };
	const char *dir = first_set(get, arg, dirs), *group = get("PLUGIN_UNIX_SOCKET_GROUP", arg);

	out->socket_dir = dir ? dir : "/tmp";
	out->socket_group = group && *group ? group : NULL;
	if (out->socket_dir[0] != '/')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "directory '%.100s' for the socket is not an absolute path",
				       out->socket_dir);
	if (strlen(out->socket_dir) > GOPLUGIN_SOCKET_BYTES - 40)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "directory '%.100s' for the socket is too long for a Unix socket",
				       out->socket_dir);
	if (strpbrk(out->socket_dir, "|\n"))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "directory for the socket holds a '|' or a line break");
	return CLEAT_OK;
}

enum cleat_code goplugin_env_read(const struct cleat_goplugin_config *config, goplugin_getenv_fn get, void *arg,
				  struct goplugin_env *out, struct cleat_error *err)
{
	const char *cookie = get(config->cookie_key, arg), *cert = get("PLUGIN_CLIENT_CERT", arg),
		   *multiplex = get("PLUGIN_MULTIPLEX_GRPC", arg);

	if (!cookie || strcmp(cookie, config->cookie_value) != 0)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "%s is a plugin of %s, which starts it; it is not meant to be run by hand", config->program,
				       config->host);
	*out = (struct goplugin_env){ .version = choose_version(config, get("PLUGIN_PROTOCOL_VERSIONS", arg)),
				      .tls = cert && *cert,
				      .client_cert = cert && *cert ? cert : NULL,
				      .asks_multiplex = multiplex && *multiplex };
	if (out->tls && strnlen(cert, GOPLUGIN_CERT_MAX_BYTES) == GOPLUGIN_CERT_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "PLUGIN_CLIENT_CERT is longer than %d bytes",
				       GOPLUGIN_CERT_MAX_BYTES);
	return read_socket_place(get, arg, out, err);
}

enum cleat_code goplugin_handshake(const struct goplugin_env *env, const char *socket, const char *cert_base64, char *out,
				   size_t out_bytes, struct cleat_error *err)
{
	/* The seventh field is a surprise to hosts that did not ask for it. */
	int n = snprintf(out, out_bytes, "1|%u|unix|%s|grpc|%s%s\n", env->version, socket, cert_base64 ? cert_base64 : "",
			 env->asks_multiplex ? "|false" : "");

	if (n < 0 || (size_t)n >= out_bytes)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "the handshake line is longer than %zu bytes", out_bytes - 1);
	return CLEAT_OK;
}
