/* claim_list.c - `cleat claim list`: who uses which volume, and since when. */
#include "cli/cli.h"

#include <libsmartcols/libsmartcols.h>

#define PAGE 500

static const struct cli_column columns[] = { { "VOLUME", false }, { "TARGET", false }, { "MODE", false },
					     { "STATE", false },  { "SINCE", false },  { "OWNER", false } };

static void add_row(struct libscols_table *t, const Cleat__V1__Claim *c)
{
	char mode[CLI_WORD_BYTES], since[CLI_TIME_BYTES];
	const char *state = c->stale	   ? "stale"
			    : c->staging   ? "staged"
			    : c->read_only ? "read-only"
					   : "active";
	const char *cells[] = { c->volume,
				c->target,
				cli_word(&cleat__v1__access_mode__descriptor, (int)c->mode, mode),
				state,
				cli_time(c->since_ms, since),
				*c->owner ? c->owner : c->witness };

	cli_table_row(t, cells, CLEAT_COUNT(cells));
}

static enum cleat_code get_page(struct cli *cli, Cleat__V1__ListClaimsRequest *req, struct libscols_table *t,
				struct json_t **all, struct cleat_error *err)
{
	cleat_autopb Cleat__V1__ListClaimsResponse *res = NULL;

	if (cli_read(cli, "ListClaims", &req->base, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json && cli_json_page(all, &res->base, "claims", err) != CLEAT_OK)
		return err->code;
	for (size_t i = 0; i < res->n_claims; i++)
		add_row(t, res->claims[i]);
	req->page_token = cli_keep(cli, res->next_page_token);
	return CLEAT_OK;
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__ListClaimsRequest req = CLEAT__V1__LIST_CLAIMS_REQUEST__INIT;
	struct json_t *all = NULL;

	if (cli->v.arg[0] && cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	req.page_size = PAGE;
	struct libscols_table *t = cli_table_new(columns, CLEAT_COUNT(columns));
	do
		get_page(cli, &req, t, &all, err);
	while (err->code == CLEAT_OK && *req.page_token);
	return cli_list_finish(cli, t, all, err);
}

static const struct cli_use options[] = {
	{ CLI_OPT_SCOPE, "Scope of VOLUME's name (default: the empty one)" }, { CLI_OPT_END, NULL }
};

const struct cli_verb cli_claim_list = {
	.noun = "claim",
	.name = "list",
	.args = "[VOLUME]",
	.max_args = 1,
	.summary = "List who uses which volume, where, and since when",
	.more = "A claim is stale when its target is no longer mounted, or the process or cgroup it named is "
		"gone.",
	.options = options,
	.run = run,
};
