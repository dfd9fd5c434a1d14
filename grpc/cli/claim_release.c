/* claim_release.c - `cleat claim release`: an operator ends a claim whose holder will not. */
#include "cli/cli.h"

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__ReleaseClaimRequest req = CLEAT__V1__RELEASE_CLAIM_REQUEST__INIT;
	cleat_autopb Cleat__V1__ReleaseClaimResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	req.target = cli->v.arg[1];
	req.force = cli->v.force;
	if (cli_change(cli, "ReleaseClaim", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	cli_say(cli, "released '%s' at '%s'", req.volume, req.target);
	return CLEAT_OK;
}

static const struct cli_use options[] = { { CLI_OPT_FORCE, NULL },
					  { CLI_OPT_SCOPE, NULL },
					  { CLI_OPT_END, NULL } };

const struct cli_verb cli_claim_release = {
	.noun = "claim",
	.name = "release",
	.args = "VOLUME TARGET",
	.min_args = 2,
	.max_args = 2,
	.summary = "End a claim whose holder will not",
	.more = "Unmounts TARGET and drops the claim. A busy mount is refused unless --force is given.\n\n"
		"Example: cleat claim release db /srv/db",
	.options = options,
	.run = run,
};
