/* pool_show.c - `cleat pool show`: one pool with its capabilities, space and what runs in it. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static void show_capabilities(const Cleat__V1__Pool *p)
{
	char text[CLI_SAFE_BYTES] = "", word[CLI_WORD_BYTES];

	for (size_t i = 0; i < p->n_capabilities; i++) {
		size_t used = strlen(text);
		snprintf(text + used, sizeof(text) - used, "%s%s", used ? ", " : "",
			 cli_word(&cleat__v1__capability__descriptor, (int)p->capabilities[i], word));
	}
	cli_field("can", text);
}

static void show_space(const Cleat__V1__Space *s)
{
	if (!s)
		return;
	cli_field_size("total", s->total_bytes);
	cli_field_size("used", s->used_bytes);
	cli_field_size("promised", s->promised_bytes);
	cli_field_size("available", s->available_bytes);
	if (s->max_volume_bytes)
		cli_field_size("largest volume", s->max_volume_bytes);
	if (s->min_volume_bytes)
		cli_field_size("least volume", s->min_volume_bytes);
	if (s->age_ms >= 0)
		cli_fieldf("looked at", "%.1f s ago", (double)s->age_ms / 1000.0);
}

static void show(const Cleat__V1__Pool *p)
{
	const char *state = !p->online ? "offline" : p->read_only ? "read-only" : "online";

	cli_fieldf("pool", "%s%s", p->name, p->is_default ? " (the default)" : "");
	cli_field("ids begin with", p->stored_name);
	cli_field("uuid", p->uuid);
	cli_field("backend", p->backend);
	cli_field("scope", p->shared ? "shared" : "node");
	cli_fieldf("state", "%s%s%s", state, *p->reason ? ": " : "", p->reason);
	cli_field("space", p->space && p->space->low ? "low: the watermark is passed" : NULL);
	show_capabilities(p);
	show_space(p->space);
	cli_fieldf("volumes", "%llu (%llu broken)", (unsigned long long)p->volume_count,
		   (unsigned long long)p->broken_count);
	cli_fieldf("snapshots", "%llu", (unsigned long long)p->snapshot_count);
	cli_fieldf("operations", "%u (%u stuck)", p->running_count, p->stuck_count);
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__GetPoolRequest req = CLEAT__V1__GET_POOL_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetPoolResponse *res = NULL;

	req.pool = cli_text(cli->v.arg[0]);
	req.refresh = cli->v.refresh;
	if (cli_change(cli, "GetPool", &req.base, req.pool, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	if (res->pool)
		show(res->pool);
	return CLEAT_OK;
}

static const struct cli_use options[] = { { CLI_OPT_REFRESH, NULL }, { CLI_OPT_END, NULL } };

const struct cli_verb cli_pool_show = {
	.noun = "pool",
	.name = "show",
	.args = "[POOL]",
	.max_args = 1,
	.summary = "Show one pool: what it can do, its space, what runs",
	.more = "Without POOL the default pool.\n\nExample: cleat pool show fast --refresh",
	.options = options,
	.run = run,
};
