/* parse.c - the command line, by argp: options before the first word, and those of one verb.
 *
 * argp reports errors itself, as text, and ends the program; here they must become one error like any other
 * (JSON when asked for), so it is told to keep quiet and the reason is worked out from the argument it
 * stopped at.
 */
#include "cli/cli.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>

#define COMMON_COUNT 6
#define TABLE_MAX (CLI_OPTIONS_MAX + COMMON_COUNT + 2)
#define GROUP_VERB 0
#define GROUP_COMMON 1

struct parse {
	struct cli *cli;
	const struct cli_verb *verb; /* NULL: only common options, up to the first word */
	struct cleat_error *err;
	int stop; /* index of the first word; -1: none yet */
	const struct argp_option *table;
};

static struct argp_option table_row(const struct cli_option *o, const char *doc, int group)
{
	return (struct argp_option){ .name = o->name,
				     .key = (int)o->opt,
				     .arg = o->value,
				     .doc = doc ? doc : o->doc,
				     .group = group };
}

/* The options of a verb and the common ones, as argp wants them. */
static void table_fill(struct argp_option table[TABLE_MAX], const struct cli_use *uses)
{
	unsigned n = 0;

	for (const struct cli_use *u = uses; u && u->opt != CLI_OPT_END && n < CLI_OPTIONS_MAX; u++)
		table[n++] = table_row(cli_option_find(u->opt), u->doc, GROUP_VERB);
	table[n++] = (struct argp_option){ .doc = "Common options:", .group = GROUP_COMMON };
	const struct cli_option *o;
	for (unsigned i = 0; (o = cli_option_at(i)) && cli_option_is_common(o->opt); i++)
		table[n++] = table_row(o, NULL, GROUP_COMMON);
	table[n] = (struct argp_option){ 0 };
}

static const struct argp_option *table_find(const struct argp_option *table, const char *name, size_t n)
{
	for (; table->name || table->doc; table++)
		if (table->name && strncmp(table->name, name, n) == 0 && table->name[n] == '\0')
			return table;
	return NULL;
}

/* What is wrong with the option that getopt stopped at. */
static enum cleat_code bad_option(struct parse *p, const struct argp_state *state)
{
	int at = state->next > 1 ? state->next - 1 : 1;
	const char *text = at < state->argc ? state->argv[at] : "";

	if (text[0] != '-' && at + 1 < state->argc) /* inside a cluster of short options */
		text = state->argv[at + 1];
	if (strncmp(text, "--", 2) == 0) {
		size_t n = strcspn(text + 2, "=");
		const struct argp_option *o = table_find(p->table, text + 2, n);
		if (o && o->arg)
			return cleat_error_set(p->err, CLEAT_INVALID_ARGUMENT,
					       "option '--%s' needs a value: %s", o->name, o->arg);
		if (o)
			return cleat_error_set(p->err, CLEAT_INVALID_ARGUMENT, "option '--%s' takes no value",
					       o->name);
	}
	return cleat_error_set(p->err, CLEAT_INVALID_ARGUMENT, "unknown or ambiguous option '%s'", text);
}

static error_t take_argument(struct parse *p, char *arg, struct argp_state *state)
{
	struct cli_values *v = &p->cli->v;

	if (!p->verb) {
		p->stop = state->next - 1;
		state->next = state->argc;
		return 0;
	}
	if (v->arg_count >= p->verb->max_args || v->arg_count >= CLI_ARGS_MAX) {
		cleat_error_set(p->err, CLEAT_INVALID_ARGUMENT, "too many arguments: '%s'", arg);
		return EINVAL;
	}
	v->arg[v->arg_count++] = arg;
	return 0;
}

static error_t take(int key, char *arg, struct argp_state *state)
{
	struct parse *p = state->input;

	if (key == ARGP_KEY_ARG)
		return take_argument(p, arg, state);
	if (key == ARGP_KEY_ERROR && p->err->code == CLEAT_OK)
		bad_option(p, state);
	if (!cli_option_find((enum cli_opt)key))
		return ARGP_ERR_UNKNOWN;
	return cli_option_set(&p->cli->v, (enum cli_opt)key, arg, p->err) == CLEAT_OK ? 0 : EINVAL;
}

static enum cleat_code run_argp(struct parse *p, int argc, char **argv, unsigned flags)
{
	struct argp_option table[TABLE_MAX];
	const struct argp argp = { .options = table, .parser = take };

	table_fill(table, p->verb ? p->verb->options : NULL);
	p->table = table;
	int e = argp_parse(&argp, argc, argv, flags | ARGP_NO_ERRS | ARGP_NO_HELP, NULL, p);
	if (e && p->err->code == CLEAT_OK)
		return cleat_error_errno(p->err, e, "read the command line");
	return e ? p->err->code : CLEAT_OK;
}

enum cleat_code cli_parse_verb(struct cli *cli, const struct cli_verb *verb, int argc, char **argv,
			       struct cleat_error *err)
{
	struct parse p = { .cli = cli, .verb = verb, .err = err, .stop = -1 };

	if (run_argp(&p, argc, argv, 0) != CLEAT_OK)
		return err->code;
	if (!cli->v.help && !cli->v.version && cli->v.arg_count < verb->min_args)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "needs %s", verb->args);
	return CLEAT_OK;
}

enum cleat_code cli_parse_common(struct cli *cli, int argc, char **argv, int *next_out,
				 struct cleat_error *err)
{
	struct parse p = { .cli = cli, .err = err, .stop = -1 };

	if (run_argp(&p, argc, argv, ARGP_IN_ORDER) != CLEAT_OK)
		return err->code;
	*next_out = p.stop < 0 ? argc : p.stop;
	return CLEAT_OK;
}

/* ---- help ---- */

void cli_help_verb(const struct cli_verb *verb)
{
	struct argp_option table[TABLE_MAX];
	char name[64], doc[4096];

	table_fill(table, verb->options);
	snprintf(doc, sizeof(doc), "%s.\v%s", verb->summary, verb->more ? verb->more : "");
	const struct argp argp = { .options = table, .args_doc = verb->args, .doc = doc };
	snprintf(name, sizeof(name), "cleat %s%s%s", verb->noun ? verb->noun : "", verb->noun ? " " : "",
		 verb->name);
	argp_help(&argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
}

void cli_help_noun(const char *noun, FILE *to)
{
	struct argp_option table[TABLE_MAX];
	char left[64];

	fprintf(to, "Usage: cleat [OPTION...] %s VERB [ARGUMENT...]\n\n", noun ? noun : "NOUN");
	for (unsigned i = 0; cli_verbs[i]; i++) {
		const struct cli_verb *v = cli_verbs[i];
		if (noun && (!v->noun || strcmp(noun, v->noun) != 0))
			continue;
		snprintf(left, sizeof(left), "%s%s%s", v->noun ? v->noun : "", v->noun ? " " : "", v->name);
		fprintf(to, "  %-20s %s\n", left, v->summary);
	}
	fprintf(to, "\nEach has its own help: cleat %s VERB --help\n\n", noun ? noun : "NOUN");
	table_fill(table, NULL);
	const struct argp argp = { .options = table };
	argp_help(&argp, to, ARGP_HELP_LONG, (char *)(uintptr_t) "cleat");
}
