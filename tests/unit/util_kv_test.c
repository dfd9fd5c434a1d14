/* util_kv_test.c - lists of pairs: order, limits, copies. */
#include "util/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void set(struct cleat_kvs *kvs, const char *key, const char *value)
{
	assert_int_equal(cleat_kv_set(kvs, key, value, NULL), CLEAT_OK);
}

static void test_kv__keeps_keys_sorted_and_once(void **state)
{
	cleat_autokvs struct cleat_kvs kvs = { NULL, 0 };

	(void)state;
	set(&kvs, "m", "1");
	set(&kvs, "z", "2");
	set(&kvs, "a", "3");
	set(&kvs, "m", "a longer value than before");
	assert_int_equal(kvs.count, 3);
	assert_string_equal(kvs.items[0].key, "a");
	assert_string_equal(kvs.items[1].key, "m");
	assert_string_equal(kvs.items[2].key, "z");
	assert_string_equal(cleat_kv_get(&kvs, "m"), "a longer value than before");
	assert_null(cleat_kv_get(&kvs, "b"));
	assert_null(cleat_kv_get(&kvs, ""));
}

static void test_kv__remove_forgets_only_that_key(void **state)
{
	cleat_autokvs struct cleat_kvs kvs = { NULL, 0 };

	(void)state;
	set(&kvs, "a", "1");
	set(&kvs, "b", "2");
	set(&kvs, "c", "3");
	cleat_kv_remove(&kvs, "b");
	cleat_kv_remove(&kvs, "never there");
	assert_int_equal(kvs.count, 2);
	assert_null(cleat_kv_get(&kvs, "b"));
	assert_string_equal(cleat_kv_get(&kvs, "c"), "3");
	cleat_kv_remove(&kvs, "a");
	cleat_kv_remove(&kvs, "c");
	assert_int_equal(kvs.count, 0);
	assert_null(kvs.items);
}

static void test_kv__limits_are_refused_and_change_nothing(void **state)
{
	cleat_autokvs struct cleat_kvs kvs = { NULL, 0 };
	char key[16], long_key[130], long_value[4098];
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	memset(long_key, 'k', sizeof(long_key));
	memset(long_value, 'v', sizeof(long_value));
	long_key[129] = long_value[4097] = '\0';
	assert_int_equal(cleat_kv_set(&kvs, "", "x", &err), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(cleat_kv_set(&kvs, long_key, "x", &err), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(cleat_kv_set(&kvs, "k", long_value, &err), CLEAT_INVALID_ARGUMENT);
	assert_non_null(strstr(err.msg, "'k'"));
	long_key[128] = long_value[4096] = '\0';
	set(&kvs, long_key, long_value);
	for (int i = 1; i < CLEAT_KV_MAX; i++) {
		snprintf(key, sizeof(key), "key%d", i);
		set(&kvs, key, "");
	}
	assert_int_equal(cleat_kv_set(&kvs, "one more", "x", &err), CLEAT_RESOURCE_EXHAUSTED);
	assert_int_equal(kvs.count, CLEAT_KV_MAX);
	set(&kvs, "key7", "changing is no adding");
	assert_string_equal(cleat_kv_get(&kvs, "key7"), "changing is no adding");
}

static void test_kv__copy_is_equal_and_separate(void **state)
{
	cleat_autokvs struct cleat_kvs a = { NULL, 0 }, b = { NULL, 0 };

	(void)state;
	set(&a, "x", "1");
	set(&a, "y", "2");
	set(&b, "old", "content goes");
	assert_int_equal(cleat_kv_copy(&a, &b, NULL), CLEAT_OK);
	assert_true(cleat_kv_equal(&a, &b));
	set(&b, "x", "3");
	assert_string_equal(cleat_kv_get(&a, "x"), "1");
	assert_false(cleat_kv_equal(&a, &b));
	cleat_kv_remove(&b, "x");
	assert_false(cleat_kv_equal(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kv__keeps_keys_sorted_and_once),
		cmocka_unit_test(test_kv__remove_forgets_only_that_key),
		cmocka_unit_test(test_kv__limits_are_refused_and_change_nothing),
		cmocka_unit_test(test_kv__copy_is_equal_and_separate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
