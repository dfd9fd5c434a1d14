/* volume_list.c - `cleat volume list`: all pages of them. */
#include "cli/cli.h"

#include <libsmartcols/libsmartcols.h>
#include <stdio.h>

#define PAGE 200

static enum cleat_code get_page(struct cli *cli, Cleat__V1__ListVolumesRequest *req, struct libscols_table *t,
				struct json_t **all, struct cleat_error *err)
{
	cleat_autopb Cleat__V1__ListVolumesResponse *res = NULL;

	if (cli_read(cli, "ListVolumes", &req->base, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json && cli_json_page(all, &res->base, "volumes", err) != CLEAT_OK)
		return err->code;
	if (!cli->v.json)
		cli_table_volumes(res->volumes, res->n_volumes, t, false);
	req->page_token = cli_keep(cli, res->next_page_token);
	return CLEAT_OK;
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__ListVolumesRequest req = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;
	struct libscols_table *t = cli_table_volumes_new(false);
	struct json_t *all = NULL;

	req.pool = cli_text(cli->v.pool);
	req.scope = cli_text(cli->v.scope);
	req.any_scope = cli->v.all_scopes;
	req.name = cli_text(cli->v.name);
	req.page_size = PAGE;
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

const struct cli_verb cli_volume_list = {
	.noun = "volume",
	.name = "list",
	.summary = "List volumes",
	.more = "Examples:\n"
		"  cleat volume list --all-scopes\n"
		"  cleat --json volume list --pool fast | jq -r '.volumes[].id'",
	.options = options,
	.run = run,
};
