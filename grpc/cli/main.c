/* main.c - the command `cleat`: finds the verb, runs it, reports how it ended. */
#include "cli/cli.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void print_error(const struct cli *cli, const struct cleat_error *err)
{
	const struct cli_verb *verb = cli->verb;
	char safe[CLI_SAFE_BYTES];

	if (cli->v.json) {
		cli_json_error(cli, err);
		return;
	}
	fprintf(stderr, "cleat: ");
	if (verb)
		fprintf(stderr, "%s%s%s: ", verb->noun ? verb->noun : "", verb->noun ? " " : "", verb->name);
	fprintf(stderr, "%s\n", cli_safe(err->msg, safe));
}

static enum cli_exit finish(const struct cli *cli, struct cleat_error *err)
{
	if (fflush(stdout) != 0 && err->code == CLEAT_OK)
		cleat_error_set(err, CLEAT_UNKNOWN, "cannot write the answer to standard output");
	if (err->code == CLEAT_OK)
		return CLI_EXIT_OK;
	print_error(cli, err);
	return cli->unreachable ? CLI_EXIT_UNREACHABLE : cli_exit_of(err->code);
}

/* The words before the verb's own arguments; *used_out counts them. */
static enum cleat_code find_verb(struct cli *cli, int argc, char **argv, int *used_out,
				 struct cleat_error *err)
{
	cli->verb = cli_verb_find(NULL, argv[0]);
	*used_out = 1;
	if (cli->verb)
		return CLEAT_OK;
	if (!cli_noun_exists(argv[0]))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "unknown command '%s': see cleat --help",
				       argv[0]);
	*used_out = 2;
	if (argc < 2)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' needs a verb: see cleat %s --help",
				       argv[0], argv[0]);
	cli->verb = cli_verb_find(argv[0], argv[1]);
	if (!cli->verb)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "unknown verb '%s %s': see cleat %s --help", argv[0], argv[1],
				       argv[0]);
	return CLEAT_OK;
}

static enum cleat_code show_version(struct cleat_error *err)
{
	(void)err;
	printf("cleat %s\n", CLEAT_VERSION);
	return CLEAT_OK;
}

static enum cleat_code run(struct cli *cli, int argc, char **argv, struct cleat_error *err)
{
	int used = 0;
	const char *noun = argc > 0 && cli_noun_exists(argv[0]) ? argv[0] : NULL;

	if (cli->v.version)
		return show_version(err);
	if (cli->v.help || (noun && argc == 2 && strcmp(argv[1], "--help") == 0)) {
		cli_help_noun(noun, stdout);
		return CLEAT_OK;
	}
	if (argc < 1)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "what to do? See cleat --help");
	if (find_verb(cli, argc, argv, &used, err) != CLEAT_OK ||
	    cli_parse_verb(cli, cli->verb, argc - used + 1, argv + used - 1, err) != CLEAT_OK)
		return err->code;
	if (cli->v.version)
		return show_version(err);
	if (cli->v.help) {
		cli_help_verb(cli->verb);
		return CLEAT_OK;
	}
	return cli->verb->run(cli, err);
}

/* So that errors of the command line itself obey --json wherever it stands. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct cli cli = { .verb = NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;
	int next = argc;

	setlocale(LC_ALL, "");
	signal(SIGPIPE, SIG_IGN);
	cleat_pb_arena_init(&cli.scratch, (size_t)4 << 20);
	cli.v.json = wants_json(argc, argv);
	if (cli_parse_common(&cli, argc, argv, &next, &err) == CLEAT_OK)
		err.code = run(&cli, argc - next, argv + next, &err);
	enum cli_exit code = finish(&cli, &err);
	cleat_rpc_client_free(cli.client);
	cli_values_done(&cli.v);
	cleat_pb_arena_reset(&cli.scratch);
	return (int)code;
}
