/* util_ids_test.c - keys, UUIDs and the hash. */
#include "util/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MANY 2000

static void test_ids__keys_have_sixteen_characters_and_differ(void **state)
{
	static char keys[MANY][CLEAT_ID_KEY_BYTES];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		cleat_id_new_key(keys[i]);
		assert_int_equal(strspn(keys[i], "abcdefghijklmnopqrstuvwxyz234567"), 16);
		assert_int_equal(keys[i][16], '\0');
		for (int j = 0; j < i; j++)
			assert_string_not_equal(keys[i], keys[j]);
	}
}

/* With 2000 keys every character has come up at every place, or the generator is broken (chance below
 * 10^-20). */
static void test_ids__keys_use_their_whole_alphabet(void **state)
{
	unsigned seen[16][256] = { 0 };
	char key[CLEAT_ID_KEY_BYTES];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		cleat_id_new_key(key);
		for (int at = 0; at < 16; at++)
			seen[at][(unsigned char)key[at]]++;
	}
	for (int at = 0; at < 16; at++)
		for (const char *c = "abcdefghijklmnopqrstuvwxyz234567"; *c; c++)
			assert_true(seen[at][(unsigned char)*c] > 0);
}

static void test_ids__uuids_are_version_four(void **state)
{
	char a[CLEAT_ID_UUID_BYTES], b[CLEAT_ID_UUID_BYTES];

	(void)state;
	cleat_id_new_uuid(a);
	cleat_id_new_uuid(b);
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 36);
	for (int i = 0; i < 36; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23)
			assert_int_equal(a[i], '-');
		else
			assert_non_null(strchr("0123456789abcdef", a[i]));
	}
	assert_int_equal(a[14], '4');
	assert_non_null(strchr("89ab", a[19]));
}

/* Values published with the algorithm (draft-eastlake-fnv, appendix C). */
static void test_ids__hash_is_fnv1a(void **state)
{
	(void)state;
	assert_int_equal(cleat_id_hash("", 0, 0), UINT64_C(0xcbf29ce484222325));
	assert_int_equal(cleat_id_hash("a", 1, 0), UINT64_C(0xaf63dc4c8601ec8c));
	assert_int_equal(cleat_id_hash("foobar", 6, 0), UINT64_C(0x85944171f73967e8));
	assert_int_equal(cleat_id_hash("bar", 3, cleat_id_hash("foo", 3, 0)), cleat_id_hash("foobar", 6, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids__keys_have_sixteen_characters_and_differ),
		cmocka_unit_test(test_ids__keys_use_their_whole_alphabet),
		cmocka_unit_test(test_ids__uuids_are_version_four),
		cmocka_unit_test(test_ids__hash_is_fnv1a),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
