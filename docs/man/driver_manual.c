/* driver_manual.c - prints the tables of the Nomad driver's keys while the tree is built: for the manual
 * page, and as markdown for docs/nomad.md. */
#include "mdoc.h"

#include "driver/jobconfig.h"
#include "driver/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the manual page ---- */

static void page(const struct driver_key *keys)
{
	puts(".Bl -tag -width Ds");
	for (const struct driver_key *k = keys; k->name; k++) {
		printf(".It Ic %s\n", k->name);
		mdoc_line(k->text);
		printf("Takes %s", driver_key_type_text(k->type));
		if (k->type == DRIVER_KEY_NUMBER && k->max)
			printf(" from %" PRId64 " to %" PRId64, k->min, k->max);
		if (k->type == DRIVER_KEY_BLOCKS && k->max)
			printf(" (up to %" PRId64 ")", k->max);
		puts(k->required ? "; needed." : ".");
		if (k->fallback) {
			fputs("Default: ", stdout);
			mdoc_escape(k->fallback, strlen(k->fallback));
			puts(".");
		}
		if (k->nested)
			page(k->nested);
	}
	puts(".El");
}

/* ---- markdown ---- */

/* A bar would end the cell. */
static void cell(const char *text)
{
	for (; *text; text++)
		printf(*text == '|' ? "\\|" : "%c", *text);
}

/* A comma without a space keeps a long list from being broken. */
static void value(const char *text)
{
	putchar('`');
	for (; *text; text++)
		printf(*text == ',' ? ", " : "%c", *text);
	putchar('`');
}

static void rows(const struct driver_key *keys)
{
	puts("| Key | Takes | Default | |\n|---|---|---|---|");
	for (const struct driver_key *k = keys; k->name; k++) {
		printf("| `%s` | %s | ", k->name, driver_key_type_text(k->type));
		if (k->fallback)
			value(k->fallback);
		else if (k->required)
			fputs("(needed)", stdout);
		fputs(" | ", stdout);
		cell(k->text);
		puts(" |");
	}
}

static const struct driver_key *volume_keys(void)
{
	for (const struct driver_key *k = driver_job_keys; k->name; k++)
		if (k->nested)
			return k->nested;
	return NULL;
}

int main(int argc, char **argv)
{
	const struct {
		const char *name;
		const struct driver_key *keys;
		void (*print)(const struct driver_key *keys);
	} parts[] = {
		{ "plugin-keys", driver_settings_keys, page }, { "task-keys", driver_job_keys, page },
		{ "plugin-rows", driver_settings_keys, rows }, { "task-rows", driver_job_keys, rows },
		{ "volume-rows", volume_keys(), rows },
	};

	for (size_t i = 0; argc == 2 && i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(argv[1], parts[i].name) == 0) {
			parts[i].print(parts[i].keys);
			return fflush(stdout) == 0 ? 0 : 1;
		}
	fprintf(stderr,
		"usage: cleat_driver_manual plugin-keys|task-keys|plugin-rows|task-rows|volume-rows\n");
	return 2;
}
