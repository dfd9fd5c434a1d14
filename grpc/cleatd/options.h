/* options.h - the command line of cleatd. */
#ifndef CLEATD_OPTIONS_H
#define CLEATD_OPTIONS_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>

struct cleatd_config;

#define CLEATD_MAX_OVERRIDES 32

struct cleatd_options {
	const char *config_file; /* NULL: none, everything has its default */
	bool check_only;
	bool print_keys;
	/* Keys of the configuration that the command line sets, in its order: they go before the file. */
	struct {
		const char *key, *value; /* borrowed from the command line */
	} overrides[CLEATD_MAX_OVERRIDES];
	size_t override_count;
};

/* Parses the command line; ends the process with code 2 for a wrong one, 0 for --help and --version. */
void cleatd_options_parse(struct cleatd_options *options, int argc, char **argv);
/* Puts CSI_ENDPOINT and the overrides into a configuration. */
enum cleat_code cleatd_options_apply(const struct cleatd_options *options, struct cleatd_config *config,
				     struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
