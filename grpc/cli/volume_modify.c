/* volume_modify.c - `cleat volume modify`: labels, and parameters that may change. */
#include "cli/cli.h"

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	const struct cli_values *v = &cli->v;
	Cleat__V1__ModifyVolumeRequest req = CLEAT__V1__MODIFY_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__ModifyVolumeResponse *res = NULL;

	if (v->params.count + v->labels.count == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "nothing to change: needs --param, --label or --remove-label");
	if (cli_ref(cli, v->arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(v->scope);
	req.params = cli_map(cli, &v->params, &cleat__v1__modify_volume_request__params_entry__descriptor,
			     &req.n_params);
	req.labels = cli_map(cli, &v->labels, &cleat__v1__modify_volume_request__labels_entry__descriptor,
			     &req.n_labels);
	if (cli_change(cli, "ModifyVolume", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (v->json)
		return cli_json_print(&res->base, err);
	cli_say(cli, "changed '%s'", req.volume);
	return CLEAT_OK;
}

static const struct cli_use options[] = {
	{ CLI_OPT_LABEL, "Set a label; an empty value removes it; repeatable" },
	{ CLI_OPT_REMOVE_LABEL, NULL },
	{ CLI_OPT_PARAM, "Set a parameter that may change (see cleat params); repeatable" },
	{ CLI_OPT_SCOPE, NULL },
	{ CLI_OPT_END, NULL }
};

const struct cli_verb cli_volume_modify = {
	.noun = "volume",
	.name = "modify",
	.args = "VOLUME",
	.min_args = 1,
	.max_args = 1,
	.summary = "Change labels, and those parameters that may change",
	.more = "Example: cleat volume modify db --label team=search --remove-label old",
	.options = options,
	.run = run,
};
