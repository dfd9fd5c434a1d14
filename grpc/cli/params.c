/* params.c - `cleat params`: what each backend can be told, from its own key tables. */
#include "cli/cli.h"

#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <string.h>

static const struct cli_column columns[] = { { "KEY", false },
					     { "TYPE", false },
					     { "DEFAULT", false },
					     { "CHANGEABLE", false },
					     { "MEANING", false } };

/* "choice" says little without the choices, and a number little without its unit. */
static void type_text(const Cleat__V1__Parameter *p, char buf[200])
{
	size_t used = (size_t)snprintf(buf, 200, "%s%s%s", p->type, *p->unit ? " " : "", p->unit);

	for (size_t i = 0; i < p->n_choices && used < 200; i++)
		used += (size_t)snprintf(buf + used, 200 - used, "%s%s", i ? "|" : ": ", p->choices[i]);
}

static void print_table(const char *title, Cleat__V1__Parameter *const *params, size_t n)
{
	struct libscols_table *t;
	char type[200];

	if (n == 0)
		return;
	printf("\n%s:\n", title);
	t = cli_table_new(columns, CLEAT_COUNT(columns));
	for (size_t i = 0; i < n; i++) {
		type_text(params[i], type);
		const char *cells[] = { params[i]->key, type, params[i]->default_value,
					params[i]->changeable ? "yes" : "no", params[i]->text };
		cli_table_row(t, cells, CLEAT_COUNT(cells));
	}
	fflush(stdout);
	cli_table_print(t);
}

static void print_all(const Cleat__V1__ListParametersResponse *res)
{
	char name[CLI_SAFE_BYTES];

	for (size_t i = 0; i < res->n_backends; i++) {
		const Cleat__V1__BackendParameters *b = res->backends[i];
		printf("%s%s: %s\n", i ? "\n" : "", b->backend, b->summary);
		print_table("of a pool, in the configuration", b->pool, b->n_pool);
		print_table("of a volume, with --param", b->volume, b->n_volume);
	}
	for (size_t i = 0; i < res->n_file_systems; i++) {
		const Cleat__V1__FileSystemParameters *f = res->file_systems[i];
		printf("\nfile system %s:\n", cli_safe(f->fs, name));
		print_table("of a volume, with --param", f->make, f->n_make);
		print_table("of a mount, with --option", f->mount, f->n_mount);
	}
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__ListParametersRequest req = CLEAT__V1__LIST_PARAMETERS_REQUEST__INIT;
	cleat_autopb Cleat__V1__ListParametersResponse *res = NULL;

	req.backend = cli_text(cli->v.arg[0]);
	if (cli_read(cli, "ListParameters", &req.base, &res, err) != CLEAT_OK)
		return err->code;
	if (cli->v.json)
		return cli_json_print(&res->base, err);
	print_all(res);
	return CLEAT_OK;
}

const struct cli_verb cli_params = {
	.name = "params",
	.args = "[BACKEND]",
	.max_args = 1,
	.summary = "List the parameters of pools and volumes",
	.more = "Example: cleat params loop",
	.run = run,
};
