/* main.c - cleat-dhv: a plugin that gives Nomad's dynamic host volumes what Cleat has.
 *
 * Nomad runs it for each operation: the operation's name is the argument, everything else is in the
 * environment. Standard output carries the answer, one JSON object; standard error goes to the agent's log.
 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dhv/request.h"
#include "dhv/settings.h"
#include "dhv/verbs.h"
#include "dhv/wish.h"
#include "util/mem.h"

#define PROGRAM "cleat-dhv"

/* As those of the command `cleat`; Nomad knows only 0 and the others. */
enum dhv_exit {
	EXIT_GOOD = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_FOUND = 3,
	EXIT_IN_USE = 4,
	EXIT_EXISTS = 5,
	EXIT_UNREACHABLE = 6,
	EXIT_RETRY = 7,
	EXIT_NO_SPACE = 8,
};

static enum dhv_exit exit_of(enum cleat_code code)
{
	switch (code) {
	case CLEAT_OK:
		return EXIT_GOOD;
	case CLEAT_INVALID_ARGUMENT:
		return EXIT_USAGE;
	case CLEAT_NOT_FOUND:
		return EXIT_NOT_FOUND;
	case CLEAT_FAILED_PRECONDITION:
		return EXIT_IN_USE;
	case CLEAT_ALREADY_EXISTS:
		return EXIT_EXISTS;
	case CLEAT_ABORTED:
	case CLEAT_DEADLINE_EXCEEDED:
	case CLEAT_UNAVAILABLE:
		return EXIT_RETRY;
	case CLEAT_RESOURCE_EXHAUSTED:
		return EXIT_NO_SPACE;
	default:
		return EXIT_FAILED;
	}
}

/* ---- help ---- */

static void help(void)
{
	printf("Usage: %s fingerprint | create | delete\n\n"
	       "A plugin for Nomad's dynamic host volumes: they get a size that holds, a file system, "
	       "snapshots and\n"
	       "growth from cleatd. Copy this program into the host_volume_plugin_dir of the agent; volume\n"
	       "specifications name it by its file name: plugin_id = \"%s\". Nomad runs it, with the "
	       "operation as\n"
	       "argument and the rest in variables DHV_*.\n\n"
	       "  --help      this text\n"
	       "  --version   the version\n\n"
	       "Beside it may lie a file with the same name and \".conf\", lines of \"key: value\": socket "
	       "(of the\n"
	       "daemon, else " DHV_DEFAULT_SOCKET
	       "), and defaults for the parameters of a volume specification.\n"
	       "Those are the parameters of the volume, as fs, uid, gid, mode (`cleat params` lists them), "
	       "and\n\n",
	       PROGRAM, PROGRAM);
	for (const struct dhv_word *w = dhv_words; w->key; w++)
		printf("  %-14s %s\n%17s%s\n", w->key, w->values, "", w->text);
	printf("\nSee cleat-dhv(8).\n");
}

static enum dhv_exit usage(const char *word)
{
	fprintf(stderr, "%s: %s%s%s: see %s --help\n", PROGRAM, word ? "unknown operation '" : "what to do?",
		word ? word : "", word ? "'" : "", PROGRAM);
	return EXIT_USAGE;
}

/* ---- answers ---- */

/* Takes the object over.  The whole line, or a failure: half an answer would leave a volume that Nomad does
 * not know. */
static bool print_json(json_t *object)
{
	cleat_autofree char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text && printf("%s\n", text) > 0 && fflush(stdout) == 0;
}

/* Nomad shows the user what is in "error", and its log what is on standard error. */
static enum dhv_exit fail(const char *operation, const struct cleat_error *err, bool unreachable)
{
	fprintf(stderr, "%s: %s: %s\n", PROGRAM, operation, err->msg);
	(void)!print_json(json_pack("{s:s}", "error", err->msg));
	return unreachable ? EXIT_UNREACHABLE : exit_of(err->code);
}

static void warn(const char *line)
{
	fprintf(stderr, "%s: %s\n", PROGRAM, line);
}

/* ---- operations ---- */

static enum dhv_exit run(const char *operation, struct dhv_context *c)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct dhv_answer answer = { 0 };
	json_t *object = NULL;

	if (strcmp(operation, "create") == 0) {
		if (dhv_create(c, &answer, &err) == CLEAT_OK)
			object = json_pack("{s:s, s:I}", "path", answer.path, "bytes",
					   (json_int_t)answer.bytes);
	} else if (dhv_delete(c, &err) == CLEAT_OK) {
		object = json_object();
	}
	free(answer.path);
	if (err.code)
		return fail(operation, &err, c->unreachable);
	return print_json(object) ? EXIT_GOOD : EXIT_FAILED;
}

static enum dhv_exit operate(const char *operation, const char *program)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct dhv_settings settings = { 0 };
	struct dhv_request request = { 0 };
	const char *plugin_dir = getenv("DHV_PLUGIN_DIR");
	char path[DHV_PATH_BYTES];
	enum dhv_exit code;

	dhv_settings_path(program, plugin_dir ? plugin_dir : "", path);
	if (dhv_request_read(strcmp(operation, "create") == 0, &request, &err) ||
	    dhv_settings_load(path, &settings, &err)) {
		code = fail(operation, &err, false);
	} else {
		struct dhv_context c = {
			.request = &request, .settings = &settings, .limits = &dhv_limits, .warn = warn
		};
		code = run(operation, &c);
	}
	dhv_settings_done(&settings);
	dhv_request_done(&request);
	return code;
}

/* Nomad has one second for this, at the start of the agent, when the machine is busy: nothing is asked.  An
 * answer without a version would end the agent. */
static enum dhv_exit fingerprint(void)
{
	return printf("{\"version\":\"%s\"}\n", CLEAT_VERSION) > 0 && fflush(stdout) == 0 ? EXIT_GOOD
											  : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	signal(SIGPIPE, SIG_IGN);
	close_range(STDERR_FILENO + 1, ~0U,
		    0); /* descriptors that a careless agent leaves open are not ours to keep */
	if (argc != 2)
		return usage(argc > 2 ? argv[2] : NULL);
	if (strcmp(word, "--help") == 0 || strcmp(word, "--version") == 0) {
		if (word[2] == 'h')
			help();
		else
			printf("%s %s\n", PROGRAM, CLEAT_VERSION);
		return fflush(stdout) ? EXIT_FAILED : EXIT_GOOD;
	}
	if (strcmp(word, "fingerprint") == 0)
		return fingerprint();
	if (strcmp(word, "create") == 0 || strcmp(word, "delete") == 0)
		return operate(word, argv[0]);
	return usage(word);
}
