/* keys.h - setting and comparing single values by the tables of config.h; for config.c only. */
#ifndef CLEATD_KEYS_H
#define CLEATD_KEYS_H

#include <stdbool.h>

struct cleatd_key;

/* Sets the field of base that key describes from text.  False when the value is not acceptable (or memory is
 * short). */
bool cleatd_key_put(const struct cleatd_key *key, void *base, const char *value);
bool cleatd_key_equal(const struct cleatd_key *key, const void *a_base, const void *b_base);

#endif
