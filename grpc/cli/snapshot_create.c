/* snapshot_create.c - `cleat snapshot create`: of one volume, or of a group at one point in time. */
#include "cli/cli.h"

#include <stdio.h>

static void report(const struct cli *cli, const Cleat__V1__Volume *s, bool already)
{
	if (cli->v.quiet)
		printf("%s\n", s->id);
	cli_say(cli, "%s '%s/%s' of %s: id %s", already ? "exists as asked for:" : "took", s->pool, s->name,
		s->source, s->id);
}

static enum cleat_code one(struct cli *cli, struct cleat_error *err)
{
	const struct cli_values *v = &cli->v;
	Cleat__V1__CreateSnapshotRequest req = CLEAT__V1__CREATE_SNAPSHOT_REQUEST__INIT;
	cleat_autopb Cleat__V1__CreateSnapshotResponse *res = NULL;

	if (v->arg_count != 2)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "needs VOLUME NAME, or --group NAME VOLUME...");
	if (cli_ref(cli, v->arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.name = v->arg[1];
	req.scope = cli_text(v->scope);
	req.labels = cli_map(cli, &v->labels, &cleat__v1__create_snapshot_request__labels_entry__descriptor,
			     &req.n_labels);
	if (cli_change(cli, "CreateSnapshot", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (v->json)
		return cli_json_print(&res->base, err);
	if (res->snapshot)
		report(cli, res->snapshot, res->already);
	return CLEAT_OK;
}

static enum cleat_code group(struct cli *cli, struct cleat_error *err)
{
	const struct cli_values *v = &cli->v;
	Cleat__V1__CreateGroupSnapshotRequest req = CLEAT__V1__CREATE_GROUP_SNAPSHOT_REQUEST__INIT;
	cleat_autopb Cleat__V1__CreateGroupSnapshotResponse *res = NULL;
	char *refs[CLI_ARGS_MAX];

	for (unsigned i = 0; i < v->arg_count; i++)
		if (cli_ref(cli, v->arg[i], &refs[i], err) != CLEAT_OK)
			return err->code;
	req.n_volumes = v->arg_count;
	req.volumes = refs;
	req.name = v->group;
	req.scope = cli_text(v->scope);
	req.labels =
		cli_map(cli, &v->labels, &cleat__v1__create_group_snapshot_request__labels_entry__descriptor,
			&req.n_labels);
	if (cli_change(cli, "CreateGroupSnapshot", &req.base, refs[0], &res, err) != CLEAT_OK)
		return err->code;
	if (v->json)
		return cli_json_print(&res->base, err);
	for (size_t i = 0; i < res->n_snapshots; i++)
		report(cli, res->snapshots[i], res->already);
	return CLEAT_OK;
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	return cli->v.group ? group(cli, err) : one(cli, err);
}

static const struct cli_use options[] = { { CLI_OPT_GROUP,
					    "Take all volumes at one point in time, under this name" },
					  { CLI_OPT_SCOPE, NULL },
					  { CLI_OPT_LABEL, NULL },
					  { CLI_OPT_END, NULL } };

const struct cli_verb cli_snapshot_create = {
	.noun = "snapshot",
	.name = "create",
	.args = "VOLUME NAME\n--group NAME VOLUME...",
	.min_args = 1,
	.max_args = 32,
	.summary = "Take a snapshot of a volume, or of several at one point in time",
	.more = "A volume may be in use meanwhile where the pool says so: see cleat pool show.\n\n"
		"Examples:\n"
		"  cleat snapshot create db db-monday\n"
		"  cleat snapshot create --group nightly db logs",
	.options = options,
	.run = run,
};
