/* volume_adopt.c - `cleat volume adopt`: takes existing data into a pool without formatting it. */
#include "cli/cli.h"

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	const struct cli_values *v = &cli->v;
	Cleat__V1__AdoptVolumeRequest req = CLEAT__V1__ADOPT_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__AdoptVolumeResponse *res = NULL;

	if (cli_place(cli, v->arg[1], &req.pool, &req.name, err) != CLEAT_OK)
		return err->code;
	req.what = v->arg[0];
	req.scope = cli_text(v->scope);
	req.params = cli_map(cli, &v->params, &cleat__v1__adopt_volume_request__params_entry__descriptor,
			     &req.n_params);
	req.labels = cli_map(cli, &v->labels, &cleat__v1__adopt_volume_request__labels_entry__descriptor,
			     &req.n_labels);
	if (cli_change(cli, "AdoptVolume", &req.base, v->arg[1], &res, err) != CLEAT_OK)
		return err->code;
	if (v->json)
		return cli_json_print(&res->base, err);
	if (res->volume)
		cli_say(cli, "%s '%s' as '%s/%s': id %s", res->already ? "had adopted" : "adopted", v->arg[0],
			res->volume->pool, res->volume->name, res->volume->id);
	return CLEAT_OK;
}

static const struct cli_use options[] = {
	{ CLI_OPT_POOL, NULL },	 { CLI_OPT_SCOPE, NULL }, { CLI_OPT_PARAM, NULL },
	{ CLI_OPT_LABEL, NULL }, { CLI_OPT_END, NULL },
};

const struct cli_verb cli_volume_adopt = {
	.noun = "volume",
	.name = "adopt",
	.args = "WHAT NAME|POOL/NAME",
	.min_args = 2,
	.max_args = 2,
	.summary = "Take existing data into a pool, without formatting it",
	.more = "WHAT is named as the backend does: a path for local pools.\n\n"
		"Example: cleat volume adopt /srv/old/db.img default/db",
	.options = options,
	.run = run,
};
