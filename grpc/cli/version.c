/* version.c - `cleat version`: of this command and of the daemon. */
#include "cli/cli.h"

#include <jansson.h>
#include <stdio.h>

static enum cleat_code print_json(const Cleat__V1__GetInfoResponse *info, struct cleat_error *err)
{
	json_t *daemon =
		info ? json_pack("{s:s, s:s, s:s, s:s}", "version", info->version, "node", info->node,
				 "epoch", info->epoch, "default_pool", info->default_pool)
		     : json_null();
	struct cleat_error print_err = CLEAT_ERROR_INIT;
	json_t *all = json_pack("{s:{s:s}, s:o}", "client", "version", CLEAT_VERSION, "daemon", daemon);

	if (cli_json_print_value(all, true, &print_err) != CLEAT_OK && err->code == CLEAT_OK)
		*err = print_err;
	return err->code;
}

/* The client's half is printed also when nobody answers; the error then tells about the daemon. */
static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__GetInfoRequest req = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetInfoResponse *info = NULL;

	if (cli_read(cli, "GetInfo", &req.base, &info, err) != CLEAT_OK)
		info = NULL;
	if (cli->v.json)
		return print_json(info, err);
	printf("client: %s\n", CLEAT_VERSION);
	if (info) {
		printf("daemon: %s\n", info->version);
		cli_field("node", info->node);
		cli_field("default pool", info->default_pool);
	}
	return err->code;
}

const struct cli_verb cli_version = {
	.name = "version",
	.summary = "Show the versions of this command and of the daemon",
	.run = run,
};
