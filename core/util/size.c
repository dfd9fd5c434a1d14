/* size.c - see size.h.  All arithmetic is in integers, so no rounding surprises a person who counts bytes. */
#include "util/size.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char prefixes[] = "KMGTPE";

/* Digits of a fraction that can matter: one EiB is below 10^19. */
#define FRACTION_MAX_DIGITS 18

static enum cleat_code refuse(const char *text, const char *why, struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "size '%.64s': %s", text, why);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "" and "B" are 1, "K" and "KiB" 1024, "KB" and "kB" 1000 and so on; 0 for anything else. */
static uint64_t unit_bytes(const char *unit)
{
	uint64_t bytes = 1;

	if (strcmp(unit, "") == 0 || strcmp(unit, "B") == 0)
		return 1;
	const char *prefix =
		unit[0] == 'k' ? (strcmp(unit, "kB") == 0 ? prefixes : NULL) : strchr(prefixes, unit[0]);
	if (!prefix)
		return 0;
	bool decimal = strcmp(unit + 1, "B") == 0;
	if (!decimal && strcmp(unit + 1, "") != 0 && strcmp(unit + 1, "iB") != 0)
		return 0;
	for (const char *p = prefixes; p <= prefix; p++)
		bytes *= decimal ? 1000 : 1024;
	return bytes;
}

enum cleat_code cleat_size_parse(const char *text, uint64_t *bytes_out, struct cleat_error *err)
{
	const char *p = text;
	uint64_t whole = 0, fraction = 0, scale = 1;
	int digits = 0;

	if (*p == '-')
		return refuse(text, "must not be negative", err);
	if (!is_digit(*p))
		return refuse(text, *p ? "must begin with a digit" : "is empty", err);
	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(whole, 10U, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			return refuse(text, "is too large", err);
	bool dotted = *p == '.';
	if (dotted) {
		for (p++; is_digit(*p); p++) {
			if (++digits > FRACTION_MAX_DIGITS)
				return refuse(text, "has too many digits", err);
			fraction = fraction * 10 + (uint64_t)(*p - '0');
			scale *= 10;
		}
		if (digits == 0)
			return refuse(text, "needs a digit after the point", err);
	}
	if (p[0] == ' ' && p[1] != '\0')
		p++;
	uint64_t unit = unit_bytes(p);
	if (unit == 0)
		return refuse(text, "unknown unit; use B, KiB .. EiB (or K .. E), or kB .. EB", err);
	if (dotted && unit == 1)
		return refuse(text, "a fraction of a byte", err);
	unsigned __int128 total = (unsigned __int128)whole * unit +
				  (unsigned __int128)fraction * unit / (unsigned __int128)scale;
	if (total > INT64_MAX)
		return refuse(text, "is too large", err);
	*bytes_out = (uint64_t)total;
	return CLEAT_OK;
}

char *cleat_size_format(uint64_t bytes, char text[CLEAT_SIZE_TEXT_BYTES])
{
	unsigned power = 0;
	uint64_t unit = 1, tenths;

	while (power < 6 && bytes >> (10 * (power + 1)))
		power++;
	unit <<= 10 * power;
	if (power == 0) {
		snprintf(text, CLEAT_SIZE_TEXT_BYTES, "%u B", (unsigned)bytes);
		return text;
	}
	tenths = (uint64_t)(((unsigned __int128)bytes * 10 + unit / 2) / unit);
	if (tenths >= 10240 && power < 6) { /* 1023.96 MiB: the next unit says it shorter */
		tenths = 10;
		power++;
	}
	unsigned whole = (unsigned)(tenths / 10), rest = (unsigned)(tenths % 10);
	if (rest)
		snprintf(text, CLEAT_SIZE_TEXT_BYTES, "%u.%u %ciB", whole, rest, prefixes[power - 1]);
	else
		snprintf(text, CLEAT_SIZE_TEXT_BYTES, "%u %ciB", whole, prefixes[power - 1]);
	return text;
}
