/* commands.c - the commands of cleat(1), from the tables that parse them. */
#include "mdoc.h"

#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static void head(const struct cli_verb *v, const char *args, size_t n, const char *request)
{
	printf("%s \"cleat %s%s%s ", request, v->noun ? v->noun : "", v->noun ? " " : "", v->name);
	if (v->options)
		fputs("[option ...] ", stdout);
	mdoc_escape(args, n);
	puts("\"");
}

/* Each line of the usage is a head of its own. */
static void heads(const struct cli_verb *v)
{
	const char *args = v->args ? v->args : "";

	do {
		size_t n = strcspn(args, "\n");
		head(v, args, n, ".It");
		args += n + (args[n] == '\n');
	} while (*args);
}

static void options(const struct cli_verb *v)
{
	if (!v->options)
		return;
	puts(".Bl -tag -width Ds -compact");
	for (const struct cli_use *u = v->options; u->opt != CLI_OPT_END; u++) {
		const struct cli_option *o = cli_option_find(u->opt);
		printf(".It Fl Fl %s", o->name);
		if (o->value)
			printf(" Ar %s", o->value);
		putchar('\n');
		mdoc_line(u->doc ? u->doc : o->doc);
	}
	puts(".El");
}

void manual_commands(void)
{
	for (size_t i = 0; cli_verbs[i]; i++) {
		const struct cli_verb *v = cli_verbs[i];
		const char *before = i && cli_verbs[i - 1]->noun ? cli_verbs[i - 1]->noun : "";
		if (i == 0 || strcmp(before, v->noun ? v->noun : "") != 0)
			printf("%s.Ss %s\n.Bl -tag -width Ds\n", i ? ".El\n" : "",
			       v->noun ? v->noun : "others");
		heads(v);
		printf("%s.\n", v->summary);
		options(v);
		mdoc_prose(v->more);
	}
	puts(".El");
}
