/* volume_delete.c - `cleat volume delete`: the volume and its data. */
#include "cli/cli.h"

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__DeleteVolumeRequest req = CLEAT__V1__DELETE_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__DeleteVolumeResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	if (cli_change(cli, "DeleteVolume", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	cli_say(cli, "%s '%s'", res->already ? "was gone already:" : "deleted", req.volume);
	return CLEAT_OK;
}

static const struct cli_use options[] = { { CLI_OPT_SCOPE, NULL }, { CLI_OPT_END, NULL } };

const struct cli_verb cli_volume_delete = {
	.noun = "volume",
	.name = "delete",
	.args = "VOLUME",
	.min_args = 1,
	.max_args = 1,
	.summary = "Delete a volume and its data",
	.more = "A volume in use is refused (exit code 4), with the holder's name; one that is gone already "
		"is not an error.",
	.options = options,
	.run = run,
};
