/* volume_publish.c - `cleat volume publish` and `unpublish`: make a volume visible at a path, and no longer.
 */
#include "cli/cli.h"

#include <stdio.h>

static enum cleat_code publish(struct cli *cli, struct cleat_error *err)
{
	const struct cli_values *v = &cli->v;
	Cleat__V1__PublishVolumeRequest req = CLEAT__V1__PUBLISH_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__PublishVolumeResponse *res = NULL;
	char safe[CLI_SAFE_BYTES];

	if (cli_ref(cli, v->arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(v->scope);
	req.target = cli_text(v->arg[1]);
	req.mode = (Cleat__V1__AccessMode)v->access_mode;
	req.read_only = v->read_only;
	req.mount_options = cli_map(cli, &v->mount_options,
				    &cleat__v1__publish_volume_request__mount_options_entry__descriptor,
				    &req.n_mount_options);
	req.owner = cli_text(v->owner);
	req.witness_pid = (int64_t)v->pid;
	req.witness_cgroup = cli_text(v->cgroup);
	if (cli_change(cli, "PublishVolume", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (v->json)
		return cli_json_print(&res->base, err);
	printf("%s\n", cli_safe(res->target, safe));
	return CLEAT_OK;
}

static enum cleat_code unpublish(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__UnpublishVolumeRequest req = CLEAT__V1__UNPUBLISH_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__UnpublishVolumeResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	req.target = cli_text(cli->v.arg[1]);
	if (cli_change(cli, "UnpublishVolume", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	cli_say(cli, "unpublished '%s'", req.volume);
	return CLEAT_OK;
}

static const struct cli_use publish_options[] = {
	{ CLI_OPT_READ_ONLY, NULL }, { CLI_OPT_ACCESS_MODE, NULL }, { CLI_OPT_OPTION, NULL },
	{ CLI_OPT_OWNER, NULL },     { CLI_OPT_PID, NULL },	    { CLI_OPT_CGROUP, NULL },
	{ CLI_OPT_SCOPE, NULL },     { CLI_OPT_END, NULL },
};

const struct cli_verb cli_volume_publish = {
	.noun = "volume",
	.name = "publish",
	.args = "VOLUME [TARGET]",
	.min_args = 1,
	.max_args = 2,
	.summary = "Make a volume visible at a path, and record the claim",
	.more = "Prints the path. Without TARGET the daemon chooses one. TARGET is absolute and lies where "
		"the daemon allows it. "
		"Publishing again at the same path succeeds; at another path the access mode decides.\n\n"
		"Examples:\n"
		"  cleat volume publish db /srv/db --owner 'the database'\n"
		"  cd \"$(cleat volume publish db)\"",
	.options = publish_options,
	.run = publish,
};

static const struct cli_use unpublish_options[] = { { CLI_OPT_SCOPE, NULL }, { CLI_OPT_END, NULL } };

const struct cli_verb cli_volume_unpublish = {
	.noun = "volume",
	.name = "unpublish",
	.args = "VOLUME [TARGET]",
	.min_args = 1,
	.max_args = 2,
	.summary = "Undo publish: unmount the path and drop the claim",
	.more = "Without TARGET the path that the daemon chose. A busy mount is refused, never forced: stop "
		"its user first. "
		"What is not published is not an error.",
	.options = unpublish_options,
	.run = unpublish,
};
