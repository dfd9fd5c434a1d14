/* engine_index_test.c - the index of a pool's records against a plain list. */
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cleat_record *record(const char *key, const char *name, enum cleat_kind kind)
{
	struct cleat_record *r = cleat_record_new(kind);

	assert_non_null(r);
	assert_int_equal(cleat_record_set(&r->key, key, NULL), CLEAT_OK);
	assert_int_equal(cleat_record_set(&r->name, name, NULL), CLEAT_OK);
	r->capacity_bytes = 10;
	return r;
}

static void put(struct index *ix, const char *key, const char *name, const char *broken)
{
	cleat_autorecord struct cleat_record *r = record(key, name, CLEAT_KIND_VOLUME);

	assert_int_equal(index_put(ix, r, broken, NULL), CLEAT_OK);
}

static void test_index__finds_by_key_and_by_name(void **state)
{
	struct index ix = { 0 };

	(void)state;
	put(&ix, "bbb", "two", NULL);
	put(&ix, "aaa", "one", NULL);
	assert_string_equal(index_by_key(&ix, "aaa")->rec->name, "one");
	assert_string_equal(index_by_name(&ix, CLEAT_KIND_VOLUME, "", "two")->rec->key, "bbb");
	assert_null(index_by_name(&ix, CLEAT_KIND_SNAPSHOT, "", "two"));
	assert_null(index_by_name(&ix, CLEAT_KIND_VOLUME, "other", "two"));
	assert_null(index_by_key(&ix, "abc"));
	index_clear(&ix);
}

static void test_index__replacing_moves_the_name_and_the_counts(void **state)
{
	struct index ix = { 0 };

	(void)state;
	put(&ix, "aaa", "one", NULL);
	put(&ix, "aaa", "uno", "unreadable");
	assert_int_equal(ix.count, 1);
	assert_int_equal(ix.volume_count, 0);
	assert_int_equal(ix.broken_count, 1);
	assert_null(index_by_name(&ix, CLEAT_KIND_VOLUME, "", "one"));
	assert_non_null(index_by_name(&ix, CLEAT_KIND_VOLUME, "", "uno"));
	assert_int_equal(ix.promised_bytes, 10);
	index_remove(&ix, "aaa");
	assert_int_equal(ix.broken_count, 0);
	assert_int_equal(ix.promised_bytes, 0);
	index_clear(&ix);
}

/* A fixed sequence, so that a failure can be seen again. */
static unsigned next_random(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 8;
}

static void test_index__agrees_with_a_plain_list_over_many_changes(void **state)
{
	enum { KEYS = 700, CHANGES = 20000 };
	static bool there[KEYS];
	struct index ix = { 0 };
	unsigned seed = 7, expected = 0;
	char key[16], name[16];

	(void)state;
	for (int i = 0; i < CHANGES; i++) {
		unsigned k = next_random(&seed) % KEYS;
		snprintf(key, sizeof(key), "k%05u", k * 7919u % 65536u);
		snprintf(name, sizeof(name), "name-%u", k);
		if (next_random(&seed) % 2) {
			put(&ix, key, name, NULL);
			expected += !there[k];
			there[k] = true;
		} else {
			index_remove(&ix, key);
			expected -= there[k];
			there[k] = false;
		}
		assert_int_equal(ix.count, expected);
		assert_int_equal(index_by_name(&ix, CLEAT_KIND_VOLUME, "", name) != NULL, there[k]);
		assert_int_equal(index_by_key(&ix, key) != NULL, there[k]);
	}
	for (size_t i = 1; i < ix.count; i++)
		assert_true(strcmp(ix.by_key[i - 1]->rec->key, ix.by_key[i]->rec->key) < 0);
	index_clear(&ix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index__finds_by_key_and_by_name),
		cmocka_unit_test(test_index__replacing_moves_the_name_and_the_counts),
		cmocka_unit_test(test_index__agrees_with_a_plain_list_over_many_changes),
	};

	return cmocka_run_group_tests_name("engine_index", tests, NULL, NULL);
}
