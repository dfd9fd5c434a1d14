/* list.c - what listing verbs share: tokens that outlive their page, and the end of a list. */
#include "cli/cli.h"

#include <jansson.h>
#include <libsmartcols/libsmartcols.h>
#include <string.h>

char *cli_keep(struct cli *cli, const char *text)
{
	size_t bytes = strlen(text) + 1;

	return memcpy(cli_scratch(cli, bytes), text, bytes);
}

enum cleat_code cli_list_finish(struct cli *cli, struct libscols_table *t, struct json_t *all,
				struct cleat_error *err)
{
	if (err->code != CLEAT_OK || cli->v.json)
		scols_unref_table(t);
	else
		cli_table_print(t);
	if (err->code != CLEAT_OK)
		json_decref(all);
	else if (cli->v.json)
		return cli_json_print_value(all, true, err);
	return err->code;
}
