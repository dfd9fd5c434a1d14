/* snapshot_list.c - `cleat snapshot list`: all pages of them. */
#include "cli/cli.h"

#include <libsmartcols/libsmartcols.h>
#include <stdio.h>

#define PAGE 200

static enum cleat_code get_page(struct cli *cli, Cleat__V1__ListSnapshotsRequest *req,
				struct libscols_table *t, struct json_t **all, struct cleat_error *err)
{
	cleat_autopb Cleat__V1__ListSnapshotsResponse *res = NULL;

	if (cli_read(cli, "ListSnapshots", &req->base, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json && cli_json_page(all, &res->base, "snapshots", err) != CLEAT_OK)
		return err->code;
	if (!cli->v.json)
		cli_table_volumes(res->snapshots, res->n_snapshots, t, true);
	req->page_token = cli_keep(cli, res->next_page_token);
	return CLEAT_OK;
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__ListSnapshotsRequest req = CLEAT__V1__LIST_SNAPSHOTS_REQUEST__INIT;
	struct json_t *all = NULL;

	if (cli->v.arg[0] && cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.pool = cli_text(cli->v.pool);
	req.scope = cli_text(cli->v.scope);
	req.any_scope = cli->v.all_scopes;
	req.name = cli_text(cli->v.name);
	req.page_size = PAGE;
	struct libscols_table *t = cli_table_volumes_new(true);
	do
		get_page(cli, &req, t, &all, err);
	while (err->code == CLEAT_OK && *req.page_token);
	return cli_list_finish(cli, t, all, err);
}

static const struct cli_use options[] = {
	{ CLI_OPT_POOL, "Only of this pool" },
	{ CLI_OPT_SCOPE, "Only of this scope (default: the empty one)" },
	{ CLI_OPT_ALL_SCOPES, NULL },
	{ CLI_OPT_NAME, NULL },
	{ CLI_OPT_END, NULL },
};

const struct cli_verb cli_snapshot_list = {
	.noun = "snapshot",
	.name = "list",
	.args = "[VOLUME]",
	.max_args = 1,
	.summary = "List snapshots, of one volume or all",
	.more = "Example: cleat snapshot list default/db",
	.options = options,
	.run = run,
};
