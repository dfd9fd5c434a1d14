/* json.c - see json.h. */
#include "http/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 32

static bool too_deep(const json_t *json, unsigned depth)
{
	const char *key;
	json_t *value;
	size_t i;

	if (depth > MAX_DEPTH)
		return true;
	if (json_is_object(json)) {
		json_object_foreach((json_t *)(uintptr_t)json, key,
				    value) if (too_deep(value, depth + 1)) return true;
	} else if (json_is_array(json)) {
		json_array_foreach(json, i, value) if (too_deep(value, depth + 1)) return true;
	}
	return false;
}

enum cleat_code cleat_json_parse(const char *bytes, size_t n, json_t **out, struct cleat_error *err)
{
	json_error_t why;
	cleat_autojson json_t *json = json_loadb(bytes, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);

	if (!json)
		return cleat_error_set(err, CLEAT_INTERNAL, "the answer is no JSON: %s", why.text);
	if (too_deep(json, 1))
		return cleat_error_set(err, CLEAT_INTERNAL, "the JSON answer is nested too deep");
	*out = json;
	json = NULL;
	return CLEAT_OK;
}

const char *cleat_json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

int64_t cleat_json_number(const json_t *object, const char *key, int64_t fallback)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);
	char *end = NULL;

	if (json_is_integer(value))
		return json_integer_value(value);
	if (!text || !*text)
		return fallback;
	errno = 0;
	const long long number = strtoll(text, &end, 10);
	return errno || *end ? fallback : (int64_t)number;
}

bool cleat_json_bool(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_true(value) || strcmp(cleat_json_text(object, key), "true") == 0 ||
	       json_integer_value(value) == 1;
}
