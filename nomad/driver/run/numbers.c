/* numbers.c - small files of numbers, as cgroups have them. */
#include "driver/run/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

bool run_number_file(const char *root, const char *controller, const char *cgroup, const char *file,
		     uint64_t *out)
{
	char path[PATH_MAX], text[64], *end;
	int n = snprintf(path, sizeof(path), "%s%s%s%s/%s", root, *controller ? "/" : "", controller, cgroup,
			 file);

	if (n < 0 || n >= (int)sizeof(path) || !run_small_file(path, text, sizeof(text)) ||
	    !isdigit((unsigned char)text[0]))
		return false;
	*out = strtoull(text, &end, 10);
	return *end == '\n' || *end == '\0';
}

bool run_number_key(const char *text, const char *key, uint64_t *out)
{
	size_t n = strlen(key);

	for (const char *line = text; *line;) {
		if (strncmp(line, key, n) == 0 && line[n] == ' ' && isdigit((unsigned char)line[n + 1])) {
			*out = strtoull(line + n + 1, NULL, 10);
			return true;
		}
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return false;
}
