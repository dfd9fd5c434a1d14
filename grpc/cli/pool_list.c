/* pool_list.c - `cleat pool list`: every pool, whether it works, and its space. */
#include "cli/cli.h"

#include <libsmartcols/libsmartcols.h>
#include <stdio.h>

static const struct cli_column columns[] = { { "POOL", false },	  { "BACKEND", false },	 { "STATE", false },
					     { "TOTAL", true },	  { "AVAILABLE", true }, { "PROMISED", true },
					     { "VOLUMES", true }, { "SNAPSHOTS", true } };

static const char *state_of(const Cleat__V1__Pool *p)
{
	if (!p->online)
		return "offline";
	if (p->read_only)
		return "read-only";
	return p->space && p->space->low ? "low" : "online";
}

static void add_row(struct libscols_table *t, const Cleat__V1__Pool *p)
{
	char total[CLEAT_SIZE_TEXT_BYTES], available[CLEAT_SIZE_TEXT_BYTES], promised[CLEAT_SIZE_TEXT_BYTES];
	char name[CLI_SAFE_BYTES], volumes[24], snapshots[24];
	const Cleat__V1__Space *s = p->space;

	snprintf(name, sizeof(name), "%s%s", p->name, p->is_default ? " (default)" : "");
	snprintf(volumes, sizeof(volumes), "%llu", (unsigned long long)p->volume_count);
	snprintf(snapshots, sizeof(snapshots), "%llu", (unsigned long long)p->snapshot_count);
	const char *cells[] = { name,
				p->backend,
				state_of(p),
				cli_size(s ? s->total_bytes : 0, total),
				cli_size(s ? s->available_bytes : 0, available),
				cli_size(s ? s->promised_bytes : 0, promised),
				volumes,
				snapshots };
	cli_table_row(t, cells, CLEAT_COUNT(cells));
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__ListPoolsRequest req = CLEAT__V1__LIST_POOLS_REQUEST__INIT;
	cleat_autopb Cleat__V1__ListPoolsResponse *res = NULL;

	if (cli_read(cli, "ListPools", &req.base, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	struct libscols_table *t = cli_table_new(columns, CLEAT_COUNT(columns));
	for (size_t i = 0; i < res->n_pools; i++)
		add_row(t, res->pools[i]);
	cli_table_print(t);
	return CLEAT_OK;
}

const struct cli_verb cli_pool_list = {
	.noun = "pool",
	.name = "list",
	.summary = "List the pools and their space",
	.more = "AVAILABLE is the largest volume that would be admitted now; PROMISED is the sum of the "
		"volumes' sizes.",
	.run = run,
};
