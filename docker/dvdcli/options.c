/* options.c - the command line of dvdcli, as Go's pflag would read it. */
#include "dvdcli/dvdcli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/mem.h"

#define OPTION_MAX_BYTES 4096

enum flag {
	DRIVER,
	NAME,
	OPTIONS,
	EXPLICIT_CREATE,
	SOCKET,
	CONFIG,
	TIMEOUT,
	HELP,
	VERSION,
};

struct flag_row {
	/* Found in any case: callers write --explicitCreate as well as --explicitcreate. */
	struct dvdcli_word word;
	enum flag flag;
	bool is_bool;
};

static const struct flag_row rows[] = {
	{ { "volumedriver", "DRIVER", "Volume driver: which pool the volume is in" }, DRIVER, false },
	{ { "volumename", "NAME", "Name of the volume" }, NAME, false },
	{ { "volumeopts", "KEY=VALUE[,...]", "Options of a new volume; repeatable" }, OPTIONS, false },
	{ { "explicitcreate", NULL, "mount: do not create a volume that does not exist" },
	  EXPLICIT_CREATE,
	  true },
	{ { "socket", "PATH", "Socket of the daemon (else $CLEAT_SOCKET, else " CLEAT_DOOR_SOCKET ")" },
	  SOCKET,
	  false },
	{ { "config", "FILE", "Table of drivers (else $CLEAT_DRIVERS, else " CLEAT_DOOR_DRIVERS_FILE ")" },
	  CONFIG,
	  false },
	{ { "timeout", "SECONDS", "Give up after that long (default 110)" }, TIMEOUT, false },
	{ { "help", NULL, "Show this help" }, HELP, true },
	{ { "version", NULL, "Show the version" }, VERSION, true },
};

const struct dvdcli_word dvdcli_commands[] = {
	{ "create", NULL, "Create a volume; one that exists is left as it is" },
	{ "remove", NULL, "Delete a volume" },
	{ "mount", NULL, "Mount a volume, which is created if it does not exist, and print its path" },
	{ "unmount", NULL, "Unmount a volume, however often it was mounted" },
	{ "path", NULL, "Print the path of a mounted volume" },
	{ "get", NULL, "Print the name of a volume that exists" },
	{ "list", NULL, "Print the names of a driver's volumes" },
	{ "version", NULL, "Print the version" },
	{ NULL, NULL, NULL },
};

const struct dvdcli_word *dvdcli_flag_at(size_t i)
{
	return i < CLEAT_COUNT(rows) ? &rows[i].word : NULL;
}

void dvdcli_help(void)
{
	const struct dvdcli_word *w;
	char form[64];

	printf("Usage: dvdcli COMMAND [FLAG...]\n\n"
	       "Volumes by the name of a Docker volume driver, with the command line that Mesos's isolator\n"
	       "docker/volume and mesos-module-dvdi use. cleat(1) is the command for everything else.\n\n"
	       "Commands:\n");
	for (w = dvdcli_commands; w->name; w++)
		printf("  %-8s %s\n", w->name, w->text);
	printf("\nFlags, before or after the command:\n");
	for (size_t i = 0; (w = dvdcli_flag_at(i)); i++) {
		snprintf(form, sizeof(form), "--%s%s%s", w->name, w->value ? "=" : "",
			 w->value ? w->value : "");
		printf("  %-28s  %s\n", form, w->text);
	}
}

/* ---- values ---- */

/* The words that Go takes for a truth value. */
static enum cleat_code take_bool(const char *name, const char *value, bool *out, struct cleat_error *err)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
	static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };

	for (size_t i = 0; i < CLEAT_COUNT(yes); i++) {
		if (!value || strcmp(value, yes[i]) == 0) {
			*out = true;
			return CLEAT_OK;
		}
		if (strcmp(value, no[i]) == 0) {
			*out = false;
			return CLEAT_OK;
		}
	}
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "flag '--%s': '%s' is neither true nor false",
			       name, value);
}

static enum cleat_code take_option(struct dvdcli *c, const char *text, size_t n, struct cleat_error *err)
{
	char pair[OPTION_MAX_BYTES];
	char *equals;

	if (n >= sizeof(pair))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "an option is longer than %zu bytes",
				       sizeof(pair) - 1);
	memcpy(pair, text, n);
	pair[n] = '\0';
	equals = strchr(pair, '=');
	if (!equals || equals == pair)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "volume option '%s' is not KEY=VALUE",
				       pair);
	*equals = '\0';
	return cleat_kv_set(&c->options, pair, equals + 1, err);
}

/* One flag may hold several options, with commas between them. */
static enum cleat_code take_options(struct dvdcli *c, const char *value, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	while (*value && code == CLEAT_OK) {
		size_t n = strcspn(value, ",");

		if (n > 0)
			code = take_option(c, value, n, err);
		value += n + (value[n] == ',');
	}
	return code;
}

static enum cleat_code take_timeout(struct dvdcli *c, const char *value, struct cleat_error *err)
{
	char *end;
	long seconds = strtol(value, &end, 10);

	if (*end || end == value || seconds < 1 || seconds > DVDCLI_TIMEOUT_MAX_S)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "flag '--timeout': '%s' is no number of seconds up to a day", value);
	c->timeout_ms = seconds * 1000;
	return CLEAT_OK;
}

static enum cleat_code take_flag(struct dvdcli *c, const struct flag_row *row, const char *value,
				 struct cleat_error *err)
{
	switch (row->flag) {
	case DRIVER:
		c->driver = value;
		return CLEAT_OK;
	case NAME:
		c->name = value;
		return CLEAT_OK;
	case SOCKET:
		c->socket = value;
		return CLEAT_OK;
	case CONFIG:
		c->config = value;
		return CLEAT_OK;
	case OPTIONS:
		return take_options(c, value, err);
	case TIMEOUT:
		return take_timeout(c, value, err);
	case EXPLICIT_CREATE:
		return take_bool(row->word.name, value, &c->explicit_create, err);
	case HELP:
		return take_bool(row->word.name, value, &c->help, err);
	case VERSION:
		return take_bool(row->word.name, value, &c->version, err);
	}
	return CLEAT_OK;
}

/* ---- words ---- */

static const struct flag_row *find_row(const char *name, size_t n)
{
	for (size_t i = 0; i < CLEAT_COUNT(rows); i++)
		if (strncasecmp(rows[i].word.name, name, n) == 0 && rows[i].word.name[n] == '\0')
			return &rows[i];
	return NULL;
}

/* A word that begins with "--"; *at is its index and moves on when the value is the next word. */
static enum cleat_code take_long(struct dvdcli *c, int argc, char **argv, int *at, struct cleat_error *err)
{
	const char *name = argv[*at] + 2, *equals = strchr(name, '=');
	const size_t n = equals ? (size_t)(equals - name) : strlen(name);
	const struct flag_row *row = find_row(name, n);
	const char *value = equals ? equals + 1 : NULL;

	if (!row)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "unknown flag '--%.*s': see dvdcli --help", (int)n, name);
	if (!value && !row->is_bool) {
		if (*at + 1 >= argc)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "flag '--%s' needs a value",
					       row->word.name);
		value = argv[++*at];
	}
	return take_flag(c, row, value, err);
}

static enum cleat_code take_word(struct dvdcli *c, const char *word, struct cleat_error *err)
{
	if (c->command)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "one command at a time: '%s' after '%s'",
				       word, c->command);
	if (!dvdcli_is_command(word))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "unknown command '%s': see dvdcli --help",
				       word);
	c->command = word;
	return CLEAT_OK;
}

enum cleat_code dvdcli_parse(struct dvdcli *c, int argc, char **argv, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	*c = (struct dvdcli){ .timeout_ms = DVDCLI_TIMEOUT_S * 1000 };
	for (int i = 1; i < argc && code == CLEAT_OK; i++) {
		if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "-?") == 0)
			c->help = true;
		else if (strncmp(argv[i], "--", 2) == 0)
			code = take_long(c, argc, argv, &i, err);
		else
			code = take_word(c, argv[i], err);
	}
	return code;
}

void dvdcli_done(struct dvdcli *c)
{
	cleat_kv_done(&c->options);
}
