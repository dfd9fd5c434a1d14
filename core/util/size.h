/* size.h - sizes for people and back. */
#ifndef CLEAT_UTIL_SIZE_H
#define CLEAT_UTIL_SIZE_H

#include <cleat/error.h>
#include <stddef.h>
#include <stdint.h>

/* Reads "64MiB", "1GiB", "1.5GiB", "1GB", "1G" (= GiB), "4096", "4096B".  Binary units KiB..EiB (also K..E), decimal units
 * kB/KB..EB; a fraction is allowed with a unit.  Zero is accepted here; negative, empty, trailing garbage and values over
 * 2^63-1 are INVALID_ARGUMENT. */
enum cleat_code cleat_size_parse(const char *text, uint64_t *bytes_out, struct cleat_error *err) CLEAT_MUST_CHECK;

#define CLEAT_SIZE_TEXT_BYTES 24
/* Writes "10 GiB", "1.5 GiB", "512 B": at most one decimal.  Returns text. */
char *cleat_size_format(uint64_t bytes, char text[CLEAT_SIZE_TEXT_BYTES]);

#endif
