/* snapshot_delete.c - `cleat snapshot delete`. */
#include "cli/cli.h"

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__DeleteSnapshotRequest req = CLEAT__V1__DELETE_SNAPSHOT_REQUEST__INIT;
	cleat_autopb Cleat__V1__DeleteSnapshotResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.snapshot, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	if (cli_change(cli, "DeleteSnapshot", &req.base, req.snapshot, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	cli_say(cli, "%s '%s'", res->already ? "was gone already:" : "deleted", req.snapshot);
	return CLEAT_OK;
}

static const struct cli_use options[] = { { CLI_OPT_SCOPE, NULL }, { CLI_OPT_END, NULL } };

const struct cli_verb cli_snapshot_delete = {
	.noun = "snapshot",
	.name = "delete",
	.args = "SNAPSHOT",
	.min_args = 1,
	.max_args = 1,
	.summary = "Delete a snapshot",
	.more = "Volumes that were made from it stay. A snapshot that is gone already is not an error.",
	.options = options,
	.run = run,
};
