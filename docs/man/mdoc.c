/* mdoc.c - see mdoc.h. */
#include "mdoc.h"

#include <stdio.h>
#include <string.h>

void mdoc_escape(const char *text, size_t n)
{
	if (n > 0 && (text[0] == '.' || text[0] == '\'')) /* would be a request */
		fputs("\\&", stdout);
	for (size_t i = 0; i < n; i++) {
		switch (text[i]) {
		case '\\':
			fputs("\\e", stdout);
			break;
		case '\'':
			fputs("\\(aq", stdout);
			break;
		case '`':
			fputs("\\(ga", stdout);
			break;
		case '-': /* something to type, not a hyphen to break at */
			fputs("\\-", stdout);
			break;
		default:
			putchar(text[i]);
		}
	}
}

void mdoc_line(const char *text)
{
	mdoc_escape(text, strlen(text));
	putchar('\n');
}

static void literal(const char *from, const char *to)
{
	puts(".Bd -literal -offset indent");
	while (from < to) {
		size_t n = strcspn(from, "\n");
		size_t skip = strspn(from, " ");
		mdoc_escape(from + skip, n - skip);
		putchar('\n');
		from += n + (from[n] == '\n');
	}
	puts(".Ed");
}

static void paragraph(const char *from, const char *to)
{
	static const char one[] = "Example: ", many[] = "Examples:\n";

	if (strncmp(from, one, sizeof(one) - 1) == 0) {
		literal(from + sizeof(one) - 1, to);
	} else if (strncmp(from, many, sizeof(many) - 1) == 0) {
		literal(from + sizeof(many) - 1, to);
	} else {
		puts(".Pp");
		mdoc_escape(from, (size_t)(to - from));
		putchar('\n');
	}
}

void mdoc_prose(const char *text)
{
	while (text && *text) {
		const char *end = strstr(text, "\n\n");
		if (!end)
			end = text + strlen(text);
		paragraph(text, end);
		text = end + strspn(end, "\n");
	}
}
