/* volume_expand.c - `cleat volume expand`. */
#include "cli/cli.h"

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__ExpandVolumeRequest req = CLEAT__V1__EXPAND_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__ExpandVolumeResponse *res = NULL;
	char size[CLEAT_SIZE_TEXT_BYTES];

	if (cleat_size_parse(cli->v.arg[1], &req.capacity_bytes, err) != CLEAT_OK ||
	    cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	req.limit_bytes = cli->v.limit_bytes;
	if (cli_change(cli, "ExpandVolume", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	if (res->volume)
		cli_say(cli, "'%s/%s' has %s%s", res->volume->pool, res->volume->name,
			cleat_size_format(res->volume->capacity_bytes, size),
			res->grows_at_next_stage
				? "; its file system grows at next stage: when it is next mounted"
				: "");
	return CLEAT_OK;
}

static const struct cli_use options[] = { { CLI_OPT_LIMIT, NULL },
					  { CLI_OPT_SCOPE, NULL },
					  { CLI_OPT_END, NULL } };

const struct cli_verb cli_volume_expand = {
	.noun = "volume",
	.name = "expand",
	.args = "VOLUME SIZE",
	.min_args = 2,
	.max_args = 2,
	.summary = "Make a volume larger",
	.more = "SIZE is the new size in all. A volume never becomes smaller; one that is large enough stays "
		"as it is. A file system "
		"that cannot grow while it is mounted grows when it is next mounted, and the answer says "
		"so.\n\n"
		"Example: cleat volume expand db 20GiB",
	.options = options,
	.run = run,
};
