/* answer.c - the one line of JSON that the program answers with. */
#include "helper/helper.h"

#include <jansson.h>
#include <stdio.h>

void helper_answer_list(json_t *answer, const char *list)
{
	if (!json_object_get(answer, list))
		json_object_set_new(answer, list, json_array());
}

void helper_answer_add(json_t *answer, const char *list, const char *text)
{
	json_t *value = json_string(text);

	helper_answer_list(answer, list);
	json_array_append_new(json_object_get(answer, list), value ? value : json_string("(not UTF-8)"));
}

static void put_error(json_t *answer, const struct cleat_error *err)
{
	json_t *text = json_string(err->msg); /* NULL when words of somebody's were no UTF-8 */

	json_object_set_new(answer, "code", json_string(cleat_code_name(err->code)));
	json_object_set_new(answer, "error", text ? text : json_string("the error's text is not UTF-8"));
	json_object_set_new(answer, "retry", json_boolean(err->retry));
}

int helper_answer(json_t *answer, const struct cleat_error *err, bool usage)
{
	json_object_set_new(answer, "ok", json_boolean(err->code == CLEAT_OK));
	if (err->code)
		put_error(answer, err);
	if (json_dumpf(answer, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF || fflush(stdout) != 0) {
		fprintf(stderr, "cleat-mesos: cannot write the answer to standard output\n");
		return 1;
	}
	if (err->code == CLEAT_OK)
		return 0;
	return usage ? 2 : 1;
}
