/* snapshot_show.c - `cleat snapshot show`: everything known about one snapshot. */
#include "cli/cli.h"

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__GetSnapshotRequest req = CLEAT__V1__GET_SNAPSHOT_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetSnapshotResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.snapshot, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	if (cli_read(cli, "GetSnapshot", &req.base, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	if (res->snapshot)
		cli_show_volume(res->snapshot, true);
	return CLEAT_OK;
}

static const struct cli_use options[] = { { CLI_OPT_SCOPE, NULL }, { CLI_OPT_END, NULL } };

const struct cli_verb cli_snapshot_show = {
	.noun = "snapshot",
	.name = "show",
	.args = "SNAPSHOT",
	.min_args = 1,
	.max_args = 1,
	.summary = "Show everything known about a snapshot",
	.more = "SNAPSHOT is an id, POOL/NAME, or the name of a snapshot in the default pool.",
	.options = options,
	.run = run,
};
