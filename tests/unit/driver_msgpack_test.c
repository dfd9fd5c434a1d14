/* driver_msgpack_test.c - what Nomad's encoder sends, byte for byte, and what nobody should send. */
#include "driver/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/kv.h"
#include "util/mem.h"

struct inner {
	char *name;
	int64_t n;
};

struct outer {
	char *s;
	bool b;
	int64_t n, small;
	char **list;
	struct cleat_kvs map;
	struct inner block;
	struct driver_blocks blocks;
};

static const struct driver_key inner_keys[] = {
	{ "name", DRIVER_KEY_TEXT, true, NULL, offsetof(struct inner, name), 0, 0, NULL, 0, "" },
	{ "n", DRIVER_KEY_NUMBER, false, NULL, offsetof(struct inner, n), 0, 0, NULL, 0, "" },
	{ .name = NULL },
};

static const struct driver_key keys[] = {
	{ "s", DRIVER_KEY_TEXT, false, NULL, offsetof(struct outer, s), 0, 0, NULL, 0, "" },
	{ "b", DRIVER_KEY_BOOL, false, NULL, offsetof(struct outer, b), 0, 0, NULL, 0, "" },
	{ "n", DRIVER_KEY_NUMBER, false, NULL, offsetof(struct outer, n), 0, 0, NULL, 0, "" },
	{ "small", DRIVER_KEY_NUMBER, false, NULL, offsetof(struct outer, small), 1, 9, NULL, 0, "" },
	{ "list", DRIVER_KEY_LIST, false, NULL, offsetof(struct outer, list), 0, 0, NULL, 0, "" },
	{ "map", DRIVER_KEY_MAP, false, NULL, offsetof(struct outer, map), 0, 0, NULL, 0, "" },
	{ "block", DRIVER_KEY_BLOCK, false, NULL, offsetof(struct outer, block), 0, 0, inner_keys,
	  sizeof(struct inner), "" },
	{ "blocks", DRIVER_KEY_BLOCKS, false, NULL, offsetof(struct outer, blocks), 0, 2, inner_keys,
	  sizeof(struct inner), "" },
	{ .name = NULL },
};

/* "82 a3 666f6f" and so on, spaces are free. */
static size_t bytes_of(const char *hex, uint8_t out[256])
{
	size_t n = 0;

	for (const char *p = hex; *p;) {
		unsigned value;
		if (*p == ' ') {
			p++;
			continue;
		}
		assert_int_equal(sscanf(p, "%2x", &value), 1);
		out[n++] = (uint8_t)value;
		p += 2;
	}
	return n;
}

static enum cleat_code decode(const char *hex, struct outer *out, struct cleat_error *err)
{
	uint8_t bytes[256];
	size_t n = bytes_of(hex, bytes);
	/* Exactly as long as it is, so that a reader that goes too far is seen. */
	cleat_autofree uint8_t *exact = malloc(n ? n : 1);

	assert_non_null(exact);
	memcpy(exact, bytes, n);
	*out = (struct outer){ 0 };
	return driver_keys_decode(keys, exact, n, out, err);
}

static void test_msgpack__takes_numbers_in_every_form(void **state)
{
	static const struct {
		const char *hex;
		int64_t n;
	} good[] = {
		{ "81 a16e 05", 5 },
		{ "81 a16e cc80", 128 },
		{ "81 a16e cd0100", 256 },
		{ "81 a16e ce00010000", 65536 },
		{ "81 a16e cf0000000100000000", INT64_C(4294967296) },
		{ "81 a16e ff", -1 },
		{ "81 a16e d080", -128 },
		{ "81 a16e d18000", -32768 },
		{ "81 a16e d280000000", INT32_MIN },
		{ "81 a16e d38000000000000000", INT64_MIN },
		{ "81 a16e ca40a00000", 5 },	     /* 5.0f */
		{ "81 a16e cb4014000000000000", 5 }, /* 5.0 */
		{ "81 a16e a131", 1 },		     /* "1" */
		{ "81 a16e a42d313237", -127 },
		{ "81 a16e b3 39323233333732303336383534373735383036", INT64_MAX - 1 },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(good); i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		struct outer o;

		if (decode(good[i].hex, &o, &err))
			fail_msg("%s: %s", good[i].hex, err.msg);
		assert_true(o.n == good[i].n);
		driver_keys_done(keys, &o);
	}
}

static void refused(const char *hex, const char *words)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct outer o;

	if (decode(hex, &o, &err) != CLEAT_INVALID_ARGUMENT)
		fail_msg("%s was taken", hex);
	if (!strstr(err.msg, words))
		fail_msg("%s: '%s' does not say '%s'", hex, err.msg, words);
	/* What failed owns nothing. */
	assert_null(o.s);
	assert_null(o.list);
	assert_null(o.blocks.items);
}

static void test_msgpack__names_field_and_value(void **state)
{
	(void)state;
	refused("81 a16e a3302e31", "config: n: '0.1' is not a whole number");
	refused("81 a16e cb3ff8000000000000", "n: 1.5 is not a whole number");
	refused("81 a16e cfffffffffffffffff", "n: 18446744073709551615 is not a whole number");
	refused("81 a16e cb7ff8000000000000", "n: nan is not a whole number");
	refused("81 a16e cb7ff0000000000000", "n: inf is not a whole number");
	refused("81 a16e a0", "n: '' is not a whole number");
	refused("81 a5736d616c6c 0a", "small: 10 is not between 1 and 9");
	refused("81 a173 01", "s: 1 is not a text");
	refused("81 a162 a3796573", "b: 'yes' is not true or false");
	refused("81 a46c697374 a178", "list: 'x' is not a list");
	refused("81 a46c697374 9101", "list: 1 is not a text");
	refused("81 a36d6170 90", "map: a list is not a map");
	refused("81 a5626c6f636b 81 a16e 01", "block: name: is needed");
	refused("81 a6626c6f636b73 92 81a46e616d65a161 81a46e616d65c0", "blocks 2: name: is needed");
	refused("81 a6626c6f636b73 93 81a46e616d65a161 81a46e616d65a161 81a46e616d65a161",
		"blocks: 3 blocks are more than 2");
	refused("81 a3786f78 01", "'xox' is no key that this driver knows");
	refused("82 a173 a178 a173 a179", "s: given twice");
	refused("a178", "not a map of keys");
}

static void test_msgpack__nil_is_absent(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct outer o;

	(void)state;
	assert_int_equal(
		decode("87 a173c0 a162c0 a16ec0 a46c697374c0 a36d6170c0 a5626c6f636bc0 a6626c6f636b73c0", &o,
		       &err),
		CLEAT_OK);
	assert_null(o.s);
	assert_null(o.list);
	assert_int_equal(o.map.count, 0);
	assert_int_equal(o.blocks.count, 0);
	assert_int_equal(decode("", &o, &err), CLEAT_OK);
	assert_int_equal(decode("80", &o, &err), CLEAT_OK);
}

static void test_msgpack__takes_lists_maps_and_blocks(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct outer o;

	(void)state;
	assert_int_equal(decode("86 a162c3 a173a3616263 a46c697374 92a161a162 a36d6170 82a161a131a162c0 "
				"a5626c6f636b 82a46e616d65a178a16e07"
				" a6626c6f636b73 92 82a46e616d65a161a16ec0 81a46e616d65a162",
				&o, &err),
			 CLEAT_OK);
	assert_true(o.b);
	assert_string_equal(o.s, "abc");
	assert_string_equal(o.list[1], "b");
	assert_null(o.list[2]);
	assert_int_equal(o.map.count, 1); /* a value that is nil is absent */
	assert_string_equal(cleat_kv_get(&o.map, "a"), "1");
	assert_string_equal(o.block.name, "x");
	assert_int_equal(o.block.n, 7);
	assert_int_equal(o.blocks.count, 2);
	assert_string_equal(((struct inner *)o.blocks.items)[1].name, "b");
	driver_keys_done(keys, &o);
	assert_null(o.s);
	driver_keys_done(keys, &o); /* twice is fine */
}

static void test_msgpack__believes_no_count(void **state)
{
	(void)state;
	refused("dfffffffff", "cut off");
	refused("81 a46c697374 ddffffffff", "cut off");
	refused("81 a173 dbffffffff 61", "cut off");
	refused("81 a173 da00", "cut off");
	refused("81 a16e cd01", "cut off");
	refused("81", "cut off");
	refused("80 80", "something follows it");
	refused("81 a173 c40161", "binary");
	refused("81 a173 c1", "binary and extension");
	refused("81 a173 a100", "control characters");
	refused("81 a173 a2c328", "not UTF-8");
	refused("81 a173 919191919191919191919191919191919190", "nested too deeply");
}

static void test_msgpack__scripts_may_have_lines(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct outer o;

	(void)state;
	assert_int_equal(decode("81 a173 a5 610a620963", &o, &err), CLEAT_OK);
	assert_string_equal(o.s, "a\nb\tc");
	driver_keys_done(keys, &o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_msgpack__takes_numbers_in_every_form),
		cmocka_unit_test(test_msgpack__names_field_and_value),
		cmocka_unit_test(test_msgpack__nil_is_absent),
		cmocka_unit_test(test_msgpack__takes_lists_maps_and_blocks),
		cmocka_unit_test(test_msgpack__believes_no_count),
		cmocka_unit_test(test_msgpack__scripts_may_have_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
