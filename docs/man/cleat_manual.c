/* cleat_manual.c - prints the parts of the manual pages that come from tables, while the tree is built. */
#include "mdoc.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} parts[] = {
		{ "commands", manual_commands },
		{ "daemon-keys", manual_daemon_keys },
		{ "parameters", manual_parameters },
	};

	for (size_t i = 0; argc == 2 && i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(argv[1], parts[i].name) == 0) {
			parts[i].print();
			return fflush(stdout) == 0 ? 0 : 1;
		}
	fprintf(stderr, "usage: cleat_manual commands|daemon-keys|parameters\n");
	return 2;
}
