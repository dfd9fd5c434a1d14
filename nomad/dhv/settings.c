/* settings.c - see settings.h. */
#include "dhv/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "dhv/files.h"
#include "util/mem.h"
#include "util/text.h"

void dhv_settings_path(const char *program, const char *plugin_dir, char out[DHV_PATH_BYTES])
{
	const char *slash = strrchr(program, '/');
	int n;

	if (slash)
		n = snprintf(out, DHV_PATH_BYTES, "%s.conf", program);
	else
		n = snprintf(out, DHV_PATH_BYTES, "%s/%s.conf", plugin_dir, program);
	if (n < 0 || n >= DHV_PATH_BYTES || (!slash && !*plugin_dir))
		out[0] = '\0';
}

/* Without the blanks around it; cuts in place. */
static char *trim(char *text)
{
	text += strspn(text, " \t\r");
	for (size_t n = strlen(text); n && strchr(" \t\r", text[n - 1]); n--)
		text[n - 1] = '\0';
	return text;
}

/* A value may stand in quotes, as YAML writes a mode: mode: "0750". */
static char *unquote(char *text)
{
	const size_t n = strlen(text);

	if (n < 2 || (text[0] != '"' && text[0] != '\'') || text[n - 1] != text[0])
		return text;
	text[n - 1] = '\0';
	return text + 1;
}

static enum cleat_code take_socket(const char *path, struct dhv_settings *out, struct cleat_error *err)
{
	if (path[0] != '/' || strlen(path) >= sizeof(out->socket))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "socket: '%.*s' is no absolute path of at most %zu bytes",
				       cleat_text_cut(path, 120), path, sizeof(out->socket) - 1);
	snprintf(out->socket, sizeof(out->socket), "%s", path);
	return CLEAT_OK;
}

/* One line without its end; ": " parts key and value, so that keys may hold a dot and values a colon. */
static enum cleat_code take_line(char *line, struct dhv_settings *out, struct cleat_error *err)
{
	char *colon;

	line = trim(line);
	if (!*line || *line == '#' || strcmp(line, "---") == 0)
		return CLEAT_OK;
	colon = strchr(line, ':');
	if (!colon || colon == line)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%.*s' is not 'key: value'",
				       cleat_text_cut(line, 100), line);
	*colon = '\0';
	const char *key = trim(line), *value = unquote(trim(colon + 1));
	if (!cleat_text_is_clean(key, strlen(key)) || !cleat_text_is_clean(value, strlen(value)))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "control characters, or not UTF-8");
	if (strcmp(key, "socket") == 0)
		return take_socket(value, out, err);
	if (cleat_kv_get(&out->defaults, key))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%.*s' is there twice",
				       cleat_text_cut(key, 100), key);
	return cleat_kv_set(&out->defaults, key, value, err);
}

enum cleat_code dhv_settings_parse(const char *text, size_t n, struct dhv_settings *out,
				   struct cleat_error *err)
{
	struct dhv_settings s = { .socket = DHV_DEFAULT_SOCKET };
	const char *end = text + n;

	for (unsigned number = 1; text < end; number++) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		const size_t length = (size_t)((stop ? stop : end) - text);
		cleat_autofree char *line = strndup(text, length);

		if (!line || strlen(line) != length)
			cleat_error_set(err, CLEAT_INVALID_ARGUMENT, line ? "a NUL" : "out of memory");
		if (err->code || take_line(line, &s, err)) {
			dhv_settings_done(&s);
			return cleat_error_wrap(err, "line %u", number);
		}
		text += length + 1;
	}
	*out = s;
	return CLEAT_OK;
}

enum cleat_code dhv_settings_load(const char *path, struct dhv_settings *out, struct cleat_error *err)
{
	const char *socket = getenv("CLEAT_SOCKET");
	cleat_autofree char *text = NULL;
	size_t n = 0;

	if (*path && dhv_file_read(AT_FDCWD, path, DHV_SETTINGS_MAX_BYTES, &text, &n, err)) {
		if (err->code != CLEAT_NOT_FOUND)
			return err->code;
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
	}
	if (dhv_settings_parse(text ? text : "", n, out, err))
		return cleat_error_wrap(err, "'%s'", path);
	if (socket && *socket && take_socket(socket, out, err)) {
		dhv_settings_done(out);
		return cleat_error_wrap(err, "CLEAT_SOCKET");
	}
	return CLEAT_OK;
}

void dhv_settings_done(struct dhv_settings *s)
{
	cleat_kv_done(&s->defaults);
}
