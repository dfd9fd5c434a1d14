/* operation_list.c - `cleat operation list`: what the daemon is doing now. */
#include "cli/cli.h"

#include <libsmartcols/libsmartcols.h>
#include <stdio.h>

static const struct cli_column columns[] = { { "NUMBER", true }, { "VERB", false },  { "SUBJECT", false },
					     { "STEP", false },	 { "STATE", false }, { "SINCE", false } };

static void add_row(struct libscols_table *t, const Cleat__V1__Operation *o)
{
	char number[24], since[CLI_TIME_BYTES];
	const char *state = o->stuck ? "stuck" : o->waiting ? "waiting" : "running";

	snprintf(number, sizeof(number), "%llu", (unsigned long long)o->number);
	const char *cells[] = { number, o->verb, o->subject, o->step, state, cli_time(o->since_ms, since) };
	cli_table_row(t, cells, CLEAT_COUNT(cells));
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__GetInfoRequest req = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetInfoResponse *info = NULL;

	if (cli_read(cli, "GetInfo", &req.base, &info, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&info->base, err);
	struct libscols_table *t = cli_table_new(columns, CLEAT_COUNT(columns));
	for (size_t i = 0; i < info->n_operations; i++)
		add_row(t, info->operations[i]);
	cli_table_print(t);
	return CLEAT_OK;
}

const struct cli_verb cli_operation_list = {
	.noun = "operation",
	.name = "list",
	.summary = "List what the daemon is doing now, and what is stuck",
	.run = run,
};
