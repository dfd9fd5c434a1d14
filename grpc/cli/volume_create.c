/* volume_create.c - `cleat volume create` and `cleat volume clone`: both are one call, with or without a
 * source. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static void report(const struct cli *cli, const Cleat__V1__CreateVolumeResponse *res)
{
	const Cleat__V1__Volume *v = res->volume;
	char size[CLEAT_SIZE_TEXT_BYTES];

	if (cli->v.quiet) {
		printf("%s\n", v->id);
		return;
	}
	cli_say(cli, "%s '%s/%s': id %s, %s%s%s", res->already ? "exists as asked for" : "created", v->pool,
		v->name, v->id,
		v->capacity_bytes ? cleat_size_format(v->capacity_bytes, size) : "size not enforced",
		*v->fs ? ", " : "", v->fs);
}

static enum cleat_code create(struct cli *cli, char *place, char *source, struct cleat_error *err)
{
	const struct cli_values *v = &cli->v;
	Cleat__V1__CreateVolumeRequest req = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__CreateVolumeResponse *res = NULL;

	if (cli_place(cli, place, &req.pool, &req.name, err) != CLEAT_OK ||
	    (source && cli_ref(cli, source, &req.source, err) != CLEAT_OK))
		return err->code;
	req.scope = cli_text(v->scope);
	req.capacity_bytes = v->size_bytes;
	req.limit_bytes = v->limit_bytes;
	req.access_type = (Cleat__V1__AccessType)v->access;
	req.params = cli_map(cli, &v->params, &cleat__v1__create_volume_request__params_entry__descriptor,
			     &req.n_params);
	req.labels = cli_map(cli, &v->labels, &cleat__v1__create_volume_request__labels_entry__descriptor,
			     &req.n_labels);
	req.hard_size = v->hard_size;
	if (cli_change(cli, "CreateVolume", &req.base, place, &res, err) != CLEAT_OK)
		return err->code;
	if (v->json)
		return cli_json_print(&res->base, err);
	if (res->volume)
		report(cli, res);
	return CLEAT_OK;
}

static enum cleat_code run_create(struct cli *cli, struct cleat_error *err)
{
	return create(cli, cli->v.arg[0], cli->v.from, err);
}

static enum cleat_code run_clone(struct cli *cli, struct cleat_error *err)
{
	return create(cli, cli->v.arg[1], cli->v.arg[0], err);
}

static const struct cli_use create_options[] = {
	{ CLI_OPT_SIZE, NULL },	  { CLI_OPT_LIMIT, NULL }, { CLI_OPT_HARD_SIZE, NULL },
	{ CLI_OPT_POOL, NULL },	  { CLI_OPT_SCOPE, NULL }, { CLI_OPT_FS, NULL },
	{ CLI_OPT_ACCESS, NULL }, { CLI_OPT_PARAM, NULL }, { CLI_OPT_LABEL, NULL },
	{ CLI_OPT_UID, NULL },	  { CLI_OPT_GID, NULL },   { CLI_OPT_MODE, NULL },
	{ CLI_OPT_THICK, NULL },  { CLI_OPT_FROM, NULL },  { CLI_OPT_END, NULL },
};

const struct cli_verb cli_volume_create = {
	.noun = "volume",
	.name = "create",
	.args = "NAME|POOL/NAME",
	.min_args = 1,
	.max_args = 1,
	.summary = "Create a volume",
	.more = "Creating again what exists as asked for succeeds; existing differently is exit code 5.\n\n"
		"Examples:\n"
		"  cleat volume create db --size 10GiB\n"
		"  cleat volume create fast/db --size 10GiB --fs xfs --uid 999 --mode 0750\n"
		"  cleat volume create raw --size 1GiB --access block --thick",
	.options = create_options,
	.run = run_create,
};

static const struct cli_use clone_options[] = {
	{ CLI_OPT_SIZE, "Size of the clone, at least that of the source (default: the same)" },
	{ CLI_OPT_LIMIT, NULL },
	{ CLI_OPT_HARD_SIZE, NULL },
	{ CLI_OPT_POOL, NULL },
	{ CLI_OPT_SCOPE, NULL },
	{ CLI_OPT_PARAM, NULL },
	{ CLI_OPT_LABEL, NULL },
	{ CLI_OPT_END, NULL },
};

const struct cli_verb cli_volume_clone = {
	.noun = "volume",
	.name = "clone",
	.args = "SOURCE NAME|POOL/NAME",
	.min_args = 2,
	.max_args = 2,
	.summary = "Make a new volume from a volume or a snapshot",
	.more = "SOURCE is a volume or a snapshot of the same pool, by id or POOL/NAME. This is also how a "
		"snapshot is restored.\n\n"
		"Example: cleat volume clone default/db-monday db-restored",
	.options = clone_options,
	.run = run_clone,
};
