/* volume_show.c - `cleat volume show`: everything known about one volume. */
#include "cli/cli.h"

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__GetVolumeRequest req = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetVolumeResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	if (cli_read(cli, "GetVolume", &req.base, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	if (res->volume)
		cli_show_volume(res->volume, false);
	return CLEAT_OK;
}

static const struct cli_use options[] = { { CLI_OPT_SCOPE, NULL }, { CLI_OPT_END, NULL } };

const struct cli_verb cli_volume_show = {
	.noun = "volume",
	.name = "show",
	.args = "VOLUME",
	.min_args = 1,
	.max_args = 1,
	.summary = "Show everything known about a volume",
	.more = "VOLUME is an id, POOL/NAME, or the name of a volume in the default pool.\n\n"
		"Example: cleat --json volume show db | jq .volume.capacity_bytes",
	.options = options,
	.run = run,
};
