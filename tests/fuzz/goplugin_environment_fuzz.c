/* goplugin_environment_fuzz.c - arbitrary text as the environment that a host sets: refused with a reason, or
 * answered with one handshake line of six or seven fields.
 *
 * The input is lines of NAME=value; the cookie is always right.
 */
#include "fuzz.h"

#include "goplugin/environment.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			abort();                                                                             \
	} while (0)

static const unsigned versions[] = { 2, 5 };
static const struct cleat_goplugin_config config = {
	.program = "p",
	.host = "h",
	.cookie_key = "COOKIE",
	.cookie_value = "magic",
	.versions = versions,
	.version_count = 2,
};

/* The input as a text of lines that are cut apart with NULs. */
struct lines {
	char *text;
	size_t n;
};

static const char *get(const char *name, void *arg)
{
	const struct lines *l = arg;
	size_t length = strlen(name);

	if (strcmp(name, "COOKIE") == 0)
		return "magic";
	for (const char *p = l->text; p < l->text + l->n; p += strlen(p) + 1)
		if (strncmp(p, name, length) == 0 && p[length] == '=')
			return p + length + 1;
	return NULL;
}

static void check_line(const struct goplugin_env *env, const char *line)
{
	size_t n = strlen(line), bars = 0;

	MUST(n && line[n - 1] == '\n' && strchr(line, '\n') == line + n - 1);
	for (const char *p = line; *p; p++)
		bars += *p == '|';
	MUST(bars == (env->asks_multiplex ? 6u : 5u));
	MUST(strncmp(line, "1|2|unix|/", 10) == 0 || strncmp(line, "1|5|unix|/", 10) == 0);
}

static void check(const struct goplugin_env *env)
{
	char socket[GOPLUGIN_SOCKET_BYTES], line[GOPLUGIN_SOCKET_BYTES + 64];

	MUST(env->version == 2 || env->version == 5);
	MUST(env->tls == (env->client_cert != NULL));
	MUST(env->socket_dir[0] == '/' && strlen(env->socket_dir) + 8 < sizeof(socket));
	strcpy(socket, env->socket_dir);
	strcat(socket, "/p");
	MUST(goplugin_handshake(env, socket, NULL, line, sizeof(line), NULL) == CLEAT_OK);
	check_line(env, line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct lines l = { malloc(n + 1), n };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct goplugin_env env;

	MUST(l.text);
	if (n)
		memcpy(l.text, data, n);
	l.text[n] = '\0';
	for (size_t i = 0; i < n; i++)
		if (l.text[i] == '\n')
			l.text[i] = '\0';
	if (goplugin_env_read(&config, get, &l, &env, &err) == CLEAT_OK)
		check(&env);
	else
		MUST(err.code == CLEAT_INVALID_ARGUMENT && err.msg[0]);
	free(l.text);
	return 0;
}
