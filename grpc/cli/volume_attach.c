/* volume_attach.c - `cleat volume attach` and `detach`: which nodes may use a volume. */
#include "cli/cli.h"

static enum cleat_code attach(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__AttachVolumeRequest req = CLEAT__V1__ATTACH_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__AttachVolumeResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	req.node = cli_text(cli->v.node);
	req.mode = (Cleat__V1__AccessMode)cli->v.access_mode;
	req.read_only = cli->v.read_only;
	if (cli_change(cli, "AttachVolume", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	cli_say(cli, "attached '%s'", req.volume);
	return CLEAT_OK;
}

static enum cleat_code detach(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__DetachVolumeRequest req = CLEAT__V1__DETACH_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__DetachVolumeResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	req.node = cli_text(cli->v.node);
	req.force = cli->v.force;
	if (cli_change(cli, "DetachVolume", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	cli_say(cli, "detached '%s'", req.volume);
	return CLEAT_OK;
}

static const struct cli_use attach_options[] = { { CLI_OPT_NODE, NULL },
						 { CLI_OPT_ACCESS_MODE, NULL },
						 { CLI_OPT_READ_ONLY, "The node may only read" },
						 { CLI_OPT_SCOPE, NULL },
						 { CLI_OPT_END, NULL } };

const struct cli_verb cli_volume_attach = {
	.noun = "volume",
	.name = "attach",
	.args = "VOLUME",
	.min_args = 1,
	.max_args = 1,
	.summary = "Let a node use a volume: its device reaches it",
	.more = "Publishing on this node needs no attach before it.",
	.options = attach_options,
	.run = attach,
};

static const struct cli_use detach_options[] = { { CLI_OPT_NODE, "Node (default: every node)" },
						 { CLI_OPT_FORCE, "Evict a node that is dead or does not let go, where the "
								  "storage keeps attachments; what it has not "
								  "written yet may be lost" },
						 { CLI_OPT_SCOPE, NULL },
						 { CLI_OPT_END, NULL } };

const struct cli_verb cli_volume_detach = {
	.noun = "volume",
	.name = "detach",
	.args = "VOLUME",
	.min_args = 1,
	.max_args = 1,
	.summary = "Undo attach, for one node or all",
	.more = "What is not attached is not an error.",
	.options = detach_options,
	.run = detach,
};
