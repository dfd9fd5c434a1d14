/* volume_health.c - `cleat volume health`: whether the stored volume is sound. */
#include "cli/cli.h"

#include <stdio.h>

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__GetHealthRequest req = CLEAT__V1__GET_HEALTH_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetHealthResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	if (cli_change(cli, "GetHealth", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json && cli_json_print(&res->base, err) != CLEAT_OK)
		return err->code;
	if (!res->healthy)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'%s' is not sound: %s", req.volume, res->text);
	cli_say(cli, "'%s' is sound", req.volume);
	return CLEAT_OK;
}

static const struct cli_use options[] = { { CLI_OPT_SCOPE, NULL }, { CLI_OPT_END, NULL } };

const struct cli_verb cli_volume_health = {
	.noun = "volume",
	.name = "health",
	.args = "VOLUME",
	.min_args = 1,
	.max_args = 1,
	.summary = "Check whether the stored volume is sound",
	.more = "Exit code 1 when it is not.",
	.options = options,
	.run = run,
};
