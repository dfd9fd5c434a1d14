/* json.h - reading JSON answers with jansson: bounded depth, no duplicate keys, and short ways to typed
 * members. */
#ifndef CLEAT_HTTP_JSON_H
#define CLEAT_HTTP_JSON_H

#include <cleat/error.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void cleat_json_cleanup(json_t **json)
{
	json_decref(*json);
}
#define cleat_autojson __attribute__((cleanup(cleat_json_cleanup)))

/* Any JSON value, also a bare string.  INTERNAL when the n bytes are none, say a key twice, or are nested
 * deeper than 32. */
enum cleat_code cleat_json_parse(const char *bytes, size_t n, json_t **out,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* A member as text: "" when it is missing or no text.  Borrowed. */
const char *cleat_json_text(const json_t *object, const char *key);
/* A member that is a number, or a text of digits (storage systems send both): fallback when it is missing or
 * neither. */
int64_t cleat_json_number(const json_t *object, const char *key, int64_t fallback);
/* true, "true", 1. */
bool cleat_json_bool(const json_t *object, const char *key);

#endif
