/* words.c - small texts and what they stand for: enum words, durations, exit codes. */
#include "cli/cli.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* The API's enum values are named after their type: ACCESS_MODE_SINGLE_NODE_WRITER of AccessMode.  How long
 * that prefix is, with its last underscore. */
static size_t prefix_length(const ProtobufCEnumDescriptor *d)
{
	size_t n = 0;

	for (const char *p = d->short_name; *p; p++)
		n += isupper((unsigned char)*p) && p > d->short_name ? 2 : 1;
	return n + 1;
}

const char *cli_word(const ProtobufCEnumDescriptor *d, int number, char buf[CLI_WORD_BYTES])
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, number);

	if (!v || strlen(v->name) <= prefix_length(d)) {
		snprintf(buf, CLI_WORD_BYTES, "%d", number);
		return buf;
	}
	snprintf(buf, CLI_WORD_BYTES, "%s", v->name + prefix_length(d));
	for (char *p = buf; *p; p++)
		*p = *p == '_' ? '-' : (char)tolower((unsigned char)*p);
	return buf;
}

enum cleat_code cli_word_parse(const ProtobufCEnumDescriptor *d, const char *word, int *number_out,
			       struct cleat_error *err)
{
	char known[CLI_WORD_BYTES];
	char all[400] = "";

	for (unsigned i = 0; i < d->n_values; i++) {
		if (d->values[i].value == 0) /* unspecified: what leaving the option out means */
			continue;
		cli_word(d, d->values[i].value, known);
		if (strcmp(known, word) == 0) {
			*number_out = d->values[i].value;
			return CLEAT_OK;
		}
		size_t used = strlen(all);
		snprintf(all + used, sizeof(all) - used, "%s%s", used ? ", " : "", known);
	}
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is none of: %s", word, all);
}

enum cleat_code cli_duration_parse(const char *text, int64_t *ms_out, struct cleat_error *err)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = { { "", 1000 }, { "s", 1000 }, { "ms", 1 }, { "m", 60000 }, { "h", 3600000 } };
	const int64_t day_ms = 24 * 3600000;
	size_t digits = strspn(text, "0123456789");

	for (size_t i = 0; digits > 0 && digits < 10 && i < CLEAT_COUNT(units); i++) {
		if (strcmp(text + digits, units[i].unit) != 0)
			continue;
		int64_t ms = strtoll(text, NULL, 10) * units[i].ms;
		if (ms < 1 || ms > day_ms)
			break;
		*ms_out = ms;
		return CLEAT_OK;
	}
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
			       "'%s' is no time between 1ms and 24h, like 30s, 500ms or 5m", text);
}

enum cli_exit cli_exit_of(enum cleat_code code)
{
	switch (code) {
	case CLEAT_OK:
		return CLI_EXIT_OK;
	case CLEAT_INVALID_ARGUMENT:
		return CLI_EXIT_USAGE;
	case CLEAT_NOT_FOUND:
		return CLI_EXIT_NOT_FOUND;
	case CLEAT_FAILED_PRECONDITION:
		return CLI_EXIT_IN_USE;
	case CLEAT_ALREADY_EXISTS:
		return CLI_EXIT_EXISTS;
	case CLEAT_DEADLINE_EXCEEDED:
	case CLEAT_ABORTED:
	case CLEAT_UNAVAILABLE: /* answered by the daemon, e.g. a pool that is offline: see cli_explain() for
				   the other */
		return CLI_EXIT_RETRY;
	case CLEAT_RESOURCE_EXHAUSTED:
		return CLI_EXIT_NO_SPACE;
	default:
		return CLI_EXIT_FAILURE;
	}
}
