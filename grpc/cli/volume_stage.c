/* volume_stage.c - `cleat volume stage` and `unstage`: the one mount of a volume on this node. */
#include "cli/cli.h"

static enum cleat_code stage(struct cli *cli, struct cleat_error *err)
{
	const struct cli_values *v = &cli->v;
	Cleat__V1__StageVolumeRequest req = CLEAT__V1__STAGE_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__StageVolumeResponse *res = NULL;

	if (cli_ref(cli, v->arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(v->scope);
	req.path = cli_text(v->arg[1]);
	req.mode = (Cleat__V1__AccessMode)v->access_mode;
	req.read_only = v->read_only;
	req.mount_options = cli_map(cli, &v->mount_options,
				    &cleat__v1__stage_volume_request__mount_options_entry__descriptor,
				    &req.n_mount_options);
	req.owner = cli_text(v->owner);
	if (cli_change(cli, "StageVolume", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (v->json)
		return cli_json_print(&res->base, err);
	cli_say(cli, "staged '%s'", req.volume);
	return CLEAT_OK;
}

static enum cleat_code unstage(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__UnstageVolumeRequest req = CLEAT__V1__UNSTAGE_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__UnstageVolumeResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	req.path = cli_text(cli->v.arg[1]);
	if (cli_change(cli, "UnstageVolume", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	cli_say(cli, "unstaged '%s'", req.volume);
	return CLEAT_OK;
}

static const struct cli_use stage_options[] = { { CLI_OPT_READ_ONLY, NULL }, { CLI_OPT_ACCESS_MODE, NULL },
						{ CLI_OPT_OPTION, NULL },    { CLI_OPT_OWNER, NULL },
						{ CLI_OPT_SCOPE, NULL },     { CLI_OPT_END, NULL } };

const struct cli_verb cli_volume_stage = {
	.noun = "volume",
	.name = "stage",
	.args = "VOLUME [PATH]",
	.min_args = 1,
	.max_args = 2,
	.summary = "Mount a volume on this node, without a consumer yet",
	.more = "Publishing stages by itself; this is for schedulers that stage first. With PATH the volume "
		"is also visible there.",
	.options = stage_options,
	.run = stage,
};

static const struct cli_use unstage_options[] = { { CLI_OPT_SCOPE, NULL }, { CLI_OPT_END, NULL } };

const struct cli_verb cli_volume_unstage = {
	.noun = "volume",
	.name = "unstage",
	.args = "VOLUME [PATH]",
	.min_args = 1,
	.max_args = 2,
	.summary = "Undo stage",
	.more = "While the volume is still published it stays mounted, and goes with the last unpublish.",
	.options = unstage_options,
	.run = unstage,
};
