/* dhv_manual.c - prints the table of cleat-dhv's own parameters while the tree is built: for the manual page,
 * and as markdown for docs/nomad-dhv.md. */
#include "mdoc.h"

#include "dhv/wish.h"

#include <stdio.h>
#include <string.h>

static void page(void)
{
	puts(".Bl -tag -width Ds");
	for (const struct dhv_word *w = dhv_words; w->key; w++) {
		printf(".It Ic %s No = Ar ", w->key);
		mdoc_escape(w->values, strlen(w->values));
		putchar('\n');
		mdoc_line(w->text);
	}
	puts(".El");
}

static void rows(void)
{
	puts("| Parameter | Values | |\n|---|---|---|");
	for (const struct dhv_word *w = dhv_words; w->key; w++)
		printf("| `%s` | %s | %s |\n", w->key, w->values, w->text);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "parameters") == 0) {
		page();
	} else if (argc == 2 && strcmp(argv[1], "parameter-rows") == 0) {
		rows();
	} else {
		fprintf(stderr, "usage: cleat_dhv_manual parameters|parameter-rows\n");
		return 2;
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
