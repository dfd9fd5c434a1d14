/* main.c - cleat-mesos: the daemon's client for the isolator module of Mesos; see module/helper.h. */
#include "helper/helper.h"

#include "util/clock.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 8000 /* a daemon restarts well within it */
#define LAST_RESORT_S 3	 /* past the limit: something hangs that has no limit of its own */

static enum cleat_code run_verb(struct helper *h, struct cleat_error *err)
{
	static const struct {
		const char *name;
		enum cleat_code (*run)(struct helper *h, struct cleat_error *err);
	} verbs[] = {
		{ "publish", helper_publish },
		{ "release", helper_release },
		{ "recover", helper_recover },
		{ "witness", helper_witness },
	};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, h->args->verb) == 0)
			return verbs[i].run(h, err);
	return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "'%s'", h->args->verb);
}

static int run(const struct helper_args *args)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct helper h = { .args = args, .root_fd = -1, .answer = json_object() };

	h.end_ms = cleat_time_mono_ms() + args->timeout_ms;
	alarm((unsigned)(args->timeout_ms / 1000) + LAST_RESORT_S);
	if (cleat_door_open(args->socket ? args->socket : CLEAT_MESOS_DEFAULT_SOCKET, args->timeout_ms,
			    PATIENCE_MS, &h.door, &err) == CLEAT_OK)
		(void)!run_verb(&h, &err);
	int code = helper_answer(h.answer, &err, false);
	cleat_door_close(h.door);
	json_decref(h.answer);
	if (h.root_fd >= 0)
		close(h.root_fd);
	return code;
}

/* A command line that is wrong is answered in the same form. */
static int refuse(const struct cleat_error *err)
{
	json_t *answer = json_object();
	int code = helper_answer(answer, err, true);

	fprintf(stderr, "cleat-mesos: %s\n", err->msg);
	json_decref(answer);
	return code;
}

int main(int argc, char **argv)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct helper_args args;
	int code = 0;

	signal(SIGPIPE, SIG_IGN);
	if (helper_args_parse(&args, argc, argv, &err))
		code = refuse(&err);
	else if (args.help)
		helper_help();
	else if (args.version)
		printf("cleat-mesos %s\n", CLEAT_VERSION);
	else if (strcmp(args.verb, "check") == 0)
		code = helper_check(&args);
	else
		code = run(&args);
	helper_args_done(&args);
	return code;
}
