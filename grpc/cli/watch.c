/* watch.c - `cleat watch`: events as they happen. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct watch {
	const struct cli *cli;
	uint64_t left; /* events still wanted; 0: no end */
	struct cleat_error *err;
};

static void print_event(const Cleat__V1__Event *e)
{
	char time[CLI_TIME_BYTES], kind[CLI_WORD_BYTES], line[CLI_SAFE_BYTES], safe[CLI_SAFE_BYTES];
	const char *how = e->ended ? cleat_code_name((enum cleat_code)e->code) : "";

	snprintf(line, sizeof(line), "%s  %-17s %s%s%s%s%s%s%s%s%s", cli_time(e->time_ms, time),
		 cli_word(&cleat__v1__event_kind__descriptor, (int)e->kind, kind), e->pool,
		 *e->name ? "/" : "", e->name, *e->volume ? " " : "", e->volume, *e->text ? ": " : "",
		 e->text, *how ? " ended " : "", how);
	printf("%s\n", cli_safe(line, safe));
}

static bool take(const ProtobufCMessage *m, void *arg)
{
	struct watch *w = arg;

	if (!w->cli->v.json)
		print_event((const Cleat__V1__Event *)(const void *)m);
	else if (cli_json_print_value(cli_json_of(m), false, w->err) != CLEAT_OK)
		return false;
	if (fflush(stdout) != 0) /* nobody reads any more */
		return false;
	return w->left == 0 || --w->left > 0;
}

/* "EPOCH:NUMBER", as the events carry them. */
static enum cleat_code parse_after(struct cli *cli, Cleat__V1__WatchRequest *req, struct cleat_error *err)
{
	char *colon = strrchr(cli->v.after, ':');
	char *end = NULL;

	errno = 0;
	if (colon)
		req->after = strtoull(colon + 1, &end, 10);
	if (!colon || errno || end == colon + 1 || *end || colon[1] == '-')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "--after: '%s' is not EPOCH:NUMBER",
				       cli->v.after);
	size_t n = (size_t)(colon - cli->v.after);
	req->epoch = cli_scratch(cli, n + 1);
	memcpy(req->epoch, cli->v.after, n);
	return CLEAT_OK;
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__WatchRequest req = CLEAT__V1__WATCH_REQUEST__INIT;
	struct cleat_rpc_options options = { .timeout_ms = (unsigned)cli->v.timeout_ms };
	struct watch w = { cli, cli->v.count, err };

	req.scope = cli_text(cli->v.scope);
	if ((cli->v.after && parse_after(cli, &req, err) != CLEAT_OK) ||
	    (cli->v.arg[0] && cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK) ||
	    cli_connect(cli, err) != CLEAT_OK)
		return err->code;
	if (cleat_rpc_client_stream(cli->client, &cleat__v1__volumes__descriptor, "Watch", &req.base,
				    &options, take, &w, err) == CLEAT_OK)
		return err->code;
	if (err->code == CLEAT_DEADLINE_EXCEEDED && cli->v.timeout_ms) { /* as long as was asked for */
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
		return CLEAT_OK;
	}
	return cli_explain(cli, err);
}

static const struct cli_use options[] = { { CLI_OPT_AFTER, NULL },
					  { CLI_OPT_COUNT, NULL },
					  { CLI_OPT_SCOPE,
					    "Scope of VOLUME's name (default: the empty one)" },
					  { CLI_OPT_END, NULL } };

const struct cli_verb cli_watch = {
	.name = "watch",
	.args = "[VOLUME]",
	.max_args = 1,
	.summary = "Print events as they happen",
	.more = "Runs until it is stopped, or for --timeout. With --json each event is one line. --after "
		"goes on where an earlier "
		"watch ended; when the daemon no longer has those events, the exit code is 1: list again.\n\n"
		"Example: cleat --json watch | jq -r 'select(.kind == \"claim-stale\")'",
	.options = options,
	.run = run,
};
