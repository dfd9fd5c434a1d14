/* store_param_test.c - parameters are of their type or refused, and the refusal helps. */
#include <cleat/backend.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/kv.h"
#include "util/mem.h"

static const char *const colours[] = { "red", "green", "blue", NULL };

static const struct cleat_param table[] = {
	{ "text", CLEAT_PARAM_TEXT, NULL, "hello", NULL, 0, 0, "A text.", false },
	{ "flag", CLEAT_PARAM_BOOL, NULL, "no", NULL, 0, 0, "A flag.", false },
	{ "size", CLEAT_PARAM_SIZE, "bytes", "1MiB", NULL, 4096, 1 << 30, "A size.", false },
	{ "count", CLEAT_PARAM_UINT, NULL, "7", NULL, 1, 64, "A count.", false },
	{ "mode", CLEAT_PARAM_MODE, NULL, "0750", NULL, 0, 0, "A mode.", false },
	{ "colour", CLEAT_PARAM_CHOICE, NULL, "red", colours, 0, 0, "A choice.", false },
	{ "path", CLEAT_PARAM_PATH, NULL, NULL, NULL, 0, 0, "A path.", false },
	{ "factor", CLEAT_PARAM_DECIMAL, NULL, "1.5", NULL, 0, 0, "A decimal.", false },
	{ "token", CLEAT_PARAM_SECRET, NULL, NULL, NULL, 0, 0, "A secret.", false },
	{ NULL, CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, NULL, false },
};

static enum cleat_code check(const char *key, const char *value, struct cleat_error *err)
{
	const struct cleat_param *tables[] = { NULL, table, cleat_param_common };
	cleat_autokvs struct cleat_kvs kvs = { NULL, 0 };

	assert_int_equal(cleat_kv_set(&kvs, key, value, NULL), CLEAT_OK);
	return cleat_param_check(tables, CLEAT_COUNT(tables), &kvs, err);
}

static void test_param__takes_values_of_their_type(void **state)
{
	static const char *const good[][2] = {
		{ "text", "any words" }, { "text", "" },	   { "flag", "true" },
		{ "flag", "no" },	 { "flag", "1" },	   { "size", "4096" },
		{ "size", "1GiB" },	 { "count", "1" },	   { "count", "64" },
		{ "mode", "0" },	 { "mode", "02775" },	   { "mode", "7777" },
		{ "colour", "green" },	 { "path", "/srv/x" },	   { "factor", "0" },
		{ "factor", "2.25" },	 { "token", "env:TOKEN" }, { "token", "file:/etc/t" },
		{ "uid", "4294967294" }, { "gid", "0" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(good); i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		if (check(good[i][0], good[i][1], &err))
			fail_msg("%s=%s: %s", good[i][0], good[i][1], err.msg);
	}
}

static void test_param__refuses_other_values_by_name(void **state)
{
	static const char *const bad[][2] = {
		{ "text", "line\nbreak" },
		{ "text", "\xff" },
		{ "flag", "maybe" },
		{ "flag", "" },
		{ "flag", "TRUE" },
		{ "size", "4095" },
		{ "size", "2GiB" },
		{ "size", "big" },
		{ "size", "-1" },
		{ "count", "0" },
		{ "count", "65" },
		{ "count", "1.5" },
		{ "count", " 7" },
		{ "count", "+7" },
		{ "count", "" },
		{ "count", "99999999999999999999" },
		{ "mode", "0888" },
		{ "mode", "10000" },
		{ "mode", "" },
		{ "mode", "rwx" },
		{ "mode", "-1" },
		{ "colour", "pink" },
		{ "colour", "re" },
		{ "path", "relative" },
		{ "path", "" },
		{ "factor", "1." },
		{ "factor", ".5" },
		{ "factor", "1e3" },
		{ "factor", "nan" },
		{ "factor", "-1" },
		{ "factor", "1,5" },
		{ "token", "env:" },
		{ "token", "env:1A" },
		{ "token", "env:A-B" },
		{ "token", "file:rel" },
		{ "uid", "4294967295" },
		{ "uid", "-1" },
		{ "gid", "root" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		if (check(bad[i][0], bad[i][1], &err) != CLEAT_INVALID_ARGUMENT)
			fail_msg("%s='%s' was taken", bad[i][0], bad[i][1]);
		assert_int_equal(err.code, CLEAT_INVALID_ARGUMENT);
		assert_non_null(strstr(err.msg, bad[i][0]));
	}
}

static void test_param__names_value_and_what_is_wanted(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	assert_int_equal(check("colour", "pink", &err), CLEAT_INVALID_ARGUMENT);
	assert_string_equal(err.msg, "parameter 'colour': value 'pink' is not 'red', 'green' or 'blue'");
	assert_int_equal(check("size", "2GiB", &err), CLEAT_INVALID_ARGUMENT);
	assert_string_equal(err.msg, "parameter 'size': value '2GiB' is above the most, 1 GiB");
	assert_int_equal(check("count", "0", &err), CLEAT_INVALID_ARGUMENT);
	assert_string_equal(err.msg, "parameter 'count': value '0' is below the least, 1");
}

static void test_param__unknown_key_lists_the_known_ones(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autokvs struct cleat_kvs kvs = { NULL, 0 };

	(void)state;
	assert_int_equal(check("colur", "red", &err), CLEAT_INVALID_ARGUMENT);
	assert_string_equal(
		err.msg,
		"unknown parameter 'colur' (value 'red'); accepted: text, flag, size, count, mode, colour, "
		"path, factor, token, uid, gid, mode, allow_scopes");
	assert_int_equal(cleat_kv_set(&kvs, "x", "y", NULL), CLEAT_OK);
	assert_int_equal(cleat_param_check(NULL, 0, &kvs, &err), CLEAT_INVALID_ARGUMENT);
	assert_non_null(strstr(err.msg, "accepted: none"));
}

static void test_param__never_shows_a_secret(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	assert_int_equal(check("token", "hunter2", &err), CLEAT_INVALID_ARGUMENT);
	assert_null(strstr(err.msg, "hunter2"));
	assert_non_null(strstr(err.msg, "***"));
}

static void test_param__reads_given_values_and_defaults(void **state)
{
	cleat_autokvs struct cleat_kvs none = { NULL, 0 }, given = { NULL, 0 };

	(void)state;
	assert_string_equal(cleat_param_text(table, &none, "text"), "hello");
	assert_null(cleat_param_text(table, &none, "path"));
	assert_null(cleat_param_text(table, &none, "not there"));
	assert_false(cleat_param_bool(table, &none, "flag"));
	assert_int_equal(cleat_param_number(table, &none, "size"), 1 << 20);
	assert_int_equal(cleat_param_number(table, &none, "mode"), 0750);
	assert_int_equal(cleat_param_number(table, &none, "path"), 0);
	assert_true(cleat_param_decimal(table, &none, "factor") == 1.5);
	assert_int_equal(cleat_kv_set(&given, "flag", "yes", NULL), CLEAT_OK);
	assert_int_equal(cleat_kv_set(&given, "mode", "02700", NULL), CLEAT_OK);
	assert_int_equal(cleat_kv_set(&given, "count", "9", NULL), CLEAT_OK);
	assert_int_equal(cleat_kv_set(&given, "factor", "0.125", NULL), CLEAT_OK);
	assert_true(cleat_param_bool(table, &given, "flag"));
	assert_int_equal(cleat_param_number(table, &given, "mode"), 02700);
	assert_int_equal(cleat_param_number(table, &given, "count"), 9);
	assert_true(cleat_param_decimal(table, &given, "factor") == 0.125);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_param__takes_values_of_their_type),
		cmocka_unit_test(test_param__refuses_other_values_by_name),
		cmocka_unit_test(test_param__names_value_and_what_is_wanted),
		cmocka_unit_test(test_param__unknown_key_lists_the_known_ones),
		cmocka_unit_test(test_param__never_shows_a_secret),
		cmocka_unit_test(test_param__reads_given_values_and_defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
