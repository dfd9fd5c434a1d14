/* mesos_reply_test.c - the answers of cleat-mesos, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/reply.h"

#include "util/mem.h"

#include <string.h>

static void test_reply__success_with_lists(void **state)
{
	static const char json[] =
		"{\"ok\": true, \"paths\": [\"/r/a/0\", \"/r/\\u00e4\\\"\\ud83d\\ude00\"], "
		"\"kept\":[],\"number\":-12,"
		"\"other\": [\"x\"], \"text\": \"y\", \"released\":[\"k\"],\"failed\" : []}\n";
	struct mesos_reply r;

	(void)state;
	assert_int_equal(mesos_reply_read(json, strlen(json), &r, NULL), CLEAT_OK);
	assert_true(r.ok);
	assert_int_equal(r.paths.count, 2);
	assert_string_equal(r.paths.items[1], "/r/\xc3\xa4\"\xf0\x9f\x98\x80");
	assert_int_equal(r.kept.count, 0);
	assert_string_equal(r.released.items[0], "k");
	mesos_reply_done(&r);
}

static void test_reply__failure_has_code_text_and_retry(void **state)
{
	static const char json[] =
		"{\"ok\":false,\"code\":\"UNAVAILABLE\",\"error\":\"no daemon at '/x'\",\"retry\":true}";
	struct mesos_reply r;

	(void)state;
	assert_int_equal(mesos_reply_read(json, strlen(json), &r, NULL), CLEAT_OK);
	assert_false(r.ok);
	assert_int_equal(r.err.code, CLEAT_UNAVAILABLE);
	assert_string_equal(r.err.msg, "no daemon at '/x'");
	assert_true(r.err.retry);
	mesos_reply_done(&r);
}

static void test_reply__failure_is_never_without_code_and_text(void **state)
{
	static const char *const bare[] = { "{\"ok\":false}", "{\"ok\":false,\"code\":\"OK\",\"error\":\"\"}",
					    "{\"ok\":false,\"code\":\"WHATEVER\"}" };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bare); i++) {
		struct mesos_reply r;

		assert_int_equal(mesos_reply_read(bare[i], strlen(bare[i]), &r, NULL), CLEAT_OK);
		assert_int_equal(r.err.code, CLEAT_UNKNOWN);
		assert_true(*r.err.msg);
		mesos_reply_done(&r);
	}
}

static void test_reply__anything_else_is_no_answer(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"}",
		"{}",
		"[]",
		"true",
		"{\"ok\"}",
		"{\"ok\":}",
		"{\"ok\":1}",
		"{\"ok\":true",
		"{\"ok\":true,}",
		"{\"ok\":true}x",
		"{\"ok\":true,\"paths\":[\"a\"",
		"{\"ok\":true,\"paths\":[1]}",
		"{\"ok\":true,\"paths\":\"a\"}",
		"{\"ok\":true,\"x\":{\"y\":1}}",
		"{\"ok\":true,\"x\":1.5}",
		"{\"ok\":true,\"x\":\"\\u0000\"}",
		"{\"ok\":true,\"x\":\"\\ud800\"}",
		"{\"ok\":true,\"x\":\"\\q\"}",
		"{\"ok\":true,\"x\":\"a\nb\"}",
		"{\"ok\":true,\"x\":\"\\",
		"{\"ok\":true,\"x\":1234567890123456789}",
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		struct mesos_reply r;

		if (mesos_reply_read(bad[i], strlen(bad[i]), &r, NULL) != CLEAT_INTERNAL)
			fail_msg("taken: %s", bad[i]);
		assert_null(r.paths.items);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply__success_with_lists),
		cmocka_unit_test(test_reply__failure_has_code_text_and_retry),
		cmocka_unit_test(test_reply__failure_is_never_without_code_and_text),
		cmocka_unit_test(test_reply__anything_else_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
