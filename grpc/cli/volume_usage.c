/* volume_usage.c - `cleat volume usage`: how full a volume is. */
#include "cli/cli.h"

#include <libsmartcols/libsmartcols.h>
#include <stdio.h>

static const struct cli_column columns[] = {
	{ "", false }, { "TOTAL", true }, { "USED", true }, { "AVAILABLE", true }, { "USE%", true }
};

static void percent(uint64_t used, uint64_t available, char buf[16])
{
	if (used + available == 0)
		snprintf(buf, 16, "-");
	else
		snprintf(buf, 16, "%.0f%%", 100.0 * (double)used / (double)(used + available));
}

static void print_table(const Cleat__V1__GetUsageResponse *u)
{
	char a[CLEAT_SIZE_TEXT_BYTES], b[CLEAT_SIZE_TEXT_BYTES], c[CLEAT_SIZE_TEXT_BYTES], d[16];
	struct libscols_table *t = cli_table_new(columns, CLEAT_COUNT(columns));

	percent(u->used_bytes, u->available_bytes, d);
	const char *bytes[] = { "bytes", cleat_size_format(u->total_bytes, a),
				cleat_size_format(u->used_bytes, b), cleat_size_format(u->available_bytes, c),
				d };
	cli_table_row(t, bytes, CLEAT_COUNT(bytes));
	if (u->total_inodes) {
		snprintf(a, sizeof(a), "%llu", (unsigned long long)u->total_inodes);
		snprintf(b, sizeof(b), "%llu", (unsigned long long)u->used_inodes);
		snprintf(c, sizeof(c), "%llu", (unsigned long long)u->available_inodes);
		percent(u->used_inodes, u->available_inodes, d);
		const char *inodes[] = { "inodes", a, b, c, d };
		cli_table_row(t, inodes, CLEAT_COUNT(inodes));
	}
	cli_table_print(t);
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__GetUsageRequest req = CLEAT__V1__GET_USAGE_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetUsageResponse *res = NULL;

	if (cli_ref(cli, cli->v.arg[0], &req.volume, err) != CLEAT_OK)
		return err->code;
	req.scope = cli_text(cli->v.scope);
	if (cli_change(cli, "GetUsage", &req.base, req.volume, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	print_table(res);
	return CLEAT_OK;
}

static const struct cli_use options[] = { { CLI_OPT_SCOPE, NULL }, { CLI_OPT_END, NULL } };

const struct cli_verb cli_volume_usage = {
	.noun = "volume",
	.name = "usage",
	.args = "VOLUME",
	.min_args = 1,
	.max_args = 1,
	.summary = "Show how full a volume is",
	.more = "Some backends know it only while the volume is mounted: exit code 4 then.",
	.options = options,
	.run = run,
};
