/* table.c - tables for people, by libsmartcols, which also makes control characters harmless. */
#include "cli/cli.h"

#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>

static void no_memory(void)
{
	fprintf(stderr, "cleat: out of memory\n");
	exit(CLI_EXIT_FAILURE);
}

struct libscols_table *cli_table_new(const struct cli_column *columns, unsigned count)
{
	struct libscols_table *t = scols_new_table();

	if (!t)
		no_memory();
	scols_table_enable_maxout(t, 0);
	for (unsigned i = 0; i < count; i++)
		if (!scols_table_new_column(t, columns[i].head, 0, columns[i].right ? SCOLS_FL_RIGHT : 0))
			no_memory();
	return t;
}

void cli_table_row(struct libscols_table *t, const char *const *cells, unsigned count)
{
	struct libscols_line *line = scols_table_new_line(t, NULL);

	if (!line)
		no_memory();
	for (unsigned i = 0; i < count; i++)
		if (scols_line_set_data(line, i, cells[i] ? cells[i] : "") != 0)
			no_memory();
}

void cli_table_print(struct libscols_table *t)
{
	scols_print_table(t);
	scols_unref_table(t);
}
