/* json.c - building JSON for the bundle: the first trouble is kept, so that callers need not look after each
 * value. */
#include "driver/run/internal.h"

#include <string.h>

static void short_of_memory(struct run_bundle *b)
{
	if (b->code == CLEAT_OK)
		b->code = cleat_error_set(b->err, CLEAT_RESOURCE_EXHAUSTED,
					  "out of memory for the task's configuration");
}

void run_json_put(struct run_bundle *b, json_t *object, const char *key, json_t *value)
{
	if (!value || json_object_set_new(object, key, value) < 0)
		short_of_memory(b);
}

void run_json_add(struct run_bundle *b, json_t *array, json_t *value)
{
	if (!value || json_array_append_new(array, value) < 0)
		short_of_memory(b);
}

json_t *run_json_text(struct run_bundle *b, const char *text)
{
	json_t *json = json_string(text);

	if (!json && b->code == CLEAT_OK)
		b->code = cleat_error_set(b->err, CLEAT_INVALID_ARGUMENT, "'%.60s' is not UTF-8 text", text);
	return json;
}

json_t *run_json_list(struct run_bundle *b, const char *const *list)
{
	json_t *array = json_array();

	for (; list && *list; list++)
		run_json_add(b, array, run_json_text(b, *list));
	return array;
}
