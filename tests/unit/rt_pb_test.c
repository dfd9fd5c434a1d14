/* rt_pb_test.c - the wire check, the budgets and the maps of rt/pb.h. */
#include "cleat/test/v1/lab.pb-c.h"
#include "rt/pb.h"
#include "util/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define BUDGET ((size_t)1 << 20)
#define EVERYTHING (&cleat__test__v1__everything__descriptor)

static enum cleat_code parse_into(struct cleat_pb_arena *a, const void *bytes, size_t n,
				  ProtobufCMessage **out)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_pb_parse(EVERYTHING, a, bytes, n, out, &err);

	assert_int_equal(code, err.code);
	assert_int_equal(code == CLEAT_OK, err.msg[0] == '\0');
	return code;
}

/* The verdict on some bytes, the same from the arena and from the heap. */
static enum cleat_code verdict(const void *bytes, size_t n)
{
	struct cleat_pb_arena a;
	ProtobufCMessage *m = NULL;
	cleat_autopb ProtobufCMessage *heap = NULL;
	struct cleat_error err;

	cleat_pb_arena_init(&a, BUDGET);
	enum cleat_code code = parse_into(&a, bytes, n, &m);
	cleat_pb_arena_reset(&a);
	assert_int_equal(cleat_pb_unpack(EVERYTHING, bytes, n, BUDGET, &heap, &err), code);
	return code;
}

#define VERDICT(literal) verdict(literal, sizeof(literal) - 1)

static void test_pb__accepts_what_is_valid(void **state)
{
	(void)state;
	assert_int_equal(verdict("", 0), CLEAT_OK);
	assert_int_equal(VERDICT("\x0a\x02hi"), CLEAT_OK);
	assert_int_equal(VERDICT("\x0a\x00"), CLEAT_OK);
	assert_int_equal(VERDICT("\x0a\x02\xc3\xbc"), CLEAT_OK);	 /* two bytes */
	assert_int_equal(VERDICT("\x0a\x03\xe2\x82\xac"), CLEAT_OK);	 /* three */
	assert_int_equal(VERDICT("\x0a\x04\xf0\x9f\x98\x80"), CLEAT_OK); /* four */
	assert_int_equal(VERDICT("\x12\x02\xff\x00"), CLEAT_OK);	 /* bytes may hold anything */
	assert_int_equal(VERDICT("\x60\x63"), CLEAT_OK);		 /* an enum number without a name */
	assert_int_equal(VERDICT("\xf8\xff\xff\xff\x0f\x01"), CLEAT_OK); /* unknown field, highest number */
	assert_int_equal(VERDICT("\x6a\x03\x01\x02\x03\x68\x04"), CLEAT_OK); /* packed and not */
}

static void test_pb__refuses_malformed_bytes(void **state)
{
	(void)state;
	assert_int_equal(VERDICT("\x0a"), CLEAT_INVALID_ARGUMENT);	 /* no length */
	assert_int_equal(VERDICT("\x0a\x05hi"), CLEAT_INVALID_ARGUMENT); /* too short */
	assert_int_equal(VERDICT("\x60"), CLEAT_INVALID_ARGUMENT);	 /* no number */
	assert_int_equal(VERDICT("\x60\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(VERDICT("\x99\x01\x01\x02\x03"), CLEAT_INVALID_ARGUMENT); /* 64 bits cut off */
	assert_int_equal(VERDICT("\x7d\x01\x02"), CLEAT_INVALID_ARGUMENT);	   /* 32 bits cut off */
	assert_int_equal(VERDICT("\x0b\x0c"), CLEAT_INVALID_ARGUMENT);		   /* group */
	assert_int_equal(VERDICT("\x0e"), CLEAT_INVALID_ARGUMENT);		   /* wire type 6 */
	assert_int_equal(VERDICT("\x08\x01"), CLEAT_INVALID_ARGUMENT); /* a number where text belongs */
	assert_int_equal(VERDICT("\x02\x00"), CLEAT_INVALID_ARGUMENT); /* field number 0 */
	assert_int_equal(VERDICT("\xf8\xff\xff\xff\x1f\x01"), CLEAT_INVALID_ARGUMENT); /* number too high */
	assert_int_equal(VERDICT("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), CLEAT_INVALID_ARGUMENT);
}

static void test_pb__refuses_what_is_not_text(void **state)
{
	(void)state;
	assert_int_equal(VERDICT("\x0a\x03"
				 "a\0b"),
			 CLEAT_INVALID_ARGUMENT);
	assert_int_equal(VERDICT("\x0a\x01\xff"), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(VERDICT("\x0a\x01\x80"), CLEAT_INVALID_ARGUMENT); /* continuation alone */
	assert_int_equal(VERDICT("\x0a\x01\xc3"), CLEAT_INVALID_ARGUMENT); /* cut off */
	assert_int_equal(VERDICT("\x0a\x02\xc3("), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(VERDICT("\x0a\x02\xc0\xaf"), CLEAT_INVALID_ARGUMENT); /* overlong '/' */
	assert_int_equal(VERDICT("\x0a\x03\xe0\x80\xaf"), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(VERDICT("\x0a\x03\xed\xa0\x80"), CLEAT_INVALID_ARGUMENT);     /* surrogate */
	assert_int_equal(VERDICT("\x0a\x04\xf4\x90\x80\x80"), CLEAT_INVALID_ARGUMENT); /* above U+10FFFF */
	/* also in a map's value, and three levels down */
	assert_int_equal(VERDICT("\x22\x06\x0a\x01k\x12\x01\xff"), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(VERDICT("\x3a\x05\x3a\x03\x0a\x01\xff"), CLEAT_INVALID_ARGUMENT);
}

/* A message nested `depth` levels below the outermost, in field 7; built from the inside. */
static size_t nest(uint8_t *to, size_t room, unsigned depth)
{
	size_t n = 0;

	while (depth--) {
		uint8_t head[6] = { 0x3a };
		size_t h = 1;
		for (size_t len = n; len >= 0x80; len >>= 7)
			head[h++] = (uint8_t)(len | 0x80);
		size_t last = n;
		while (last >= 0x80)
			last >>= 7;
		head[h++] = (uint8_t)last;
		assert_true(n + h <= room);
		memmove(to + h, to, n);
		memcpy(to, head, h);
		n += h;
	}
	return n;
}

static void test_pb__limits_the_nesting(void **state)
{
	static uint8_t bytes[40000];

	(void)state;
	assert_int_equal(verdict(bytes, nest(bytes, sizeof(bytes), CLEAT_PB_MAX_DEPTH - 1)), CLEAT_OK);
	assert_int_equal(verdict(bytes, nest(bytes, sizeof(bytes), CLEAT_PB_MAX_DEPTH)),
			 CLEAT_INVALID_ARGUMENT);
	assert_int_equal(verdict(bytes, nest(bytes, sizeof(bytes), 9000)), CLEAT_INVALID_ARGUMENT);
}

static void test_pb__limits_the_memory(void **state)
{
	size_t n = (size_t)2 << 20;
	cleat_autofree uint8_t *bytes = malloc(n);

	(void)state;
	assert_non_null(bytes);
	for (size_t i = 0; i < n; i += 2) {
		bytes[i] = 0x7a; /* children: an empty message each */
		bytes[i + 1] = 0;
	}
	assert_int_equal(verdict(bytes, n), CLEAT_RESOURCE_EXHAUSTED);
	assert_int_equal(verdict(bytes, 2000), CLEAT_OK);
}

static void test_pb__a_message_cut_anywhere_is_refused_or_valid(void **state)
{
	static const uint8_t whole[] =
		"\x0a\x05hello\x12\x02\xff\x01\x22\x06\x0a\x01k\x12\x01v\x3a\x04\x0a\x02in\x60\x07"
		"\x6a\x03\x01\x02\x03\x8a\x01\x04word\x99\x01\x01\x02\x03\x04\x05\x06\x07\x08";
	size_t accepted = 0;

	(void)state;
	for (size_t n = 0; n < sizeof(whole); n++) {
		/* exactly n bytes, so that a sanitizer sees a read past them */
		cleat_autofree uint8_t *cut = malloc(n + !n);
		assert_non_null(cut);
		memcpy(cut, whole, n);
		enum cleat_code code = verdict(cut, n);
		assert_true(code == CLEAT_OK || code == CLEAT_INVALID_ARGUMENT);
		accepted += code == CLEAT_OK;
	}
	assert_int_equal(accepted, 9); /* at the border of each field, and nothing at all */
}

static void test_pb__strings_are_never_null(void **state)
{
	struct cleat_pb_arena a;
	ProtobufCMessage *m = NULL;

	(void)state;
	cleat_pb_arena_init(&a, BUDGET);
	assert_int_equal(parse_into(&a, "\x3a\x00", 2, &m), CLEAT_OK);
	const Cleat__Test__V1__Everything *e = (const Cleat__Test__V1__Everything *)m;
	assert_string_equal(e->text, "");
	assert_int_equal(e->kind_case, CLEAT__TEST__V1__EVERYTHING__KIND_NESTED);
	assert_string_equal(e->nested->text, "");
	assert_null(e->at);
	cleat_pb_arena_reset(&a);
}

static void test_pb__arena_gives_aligned_disjoint_pieces(void **state)
{
	struct cleat_pb_arena a;
	static const size_t sizes[] = { 0, 1, 15, 16, 17, 700, 4000, 4096, 4097, 100000, 3 };
	unsigned char *pieces[CLEAT_COUNT(sizes)];

	(void)state;
	cleat_pb_arena_init(&a, BUDGET);
	for (size_t i = 0; i < CLEAT_COUNT(sizes); i++) {
		pieces[i] = cleat_pb_arena_get(&a, sizes[i]);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % 16, 0);
		memset(pieces[i], (int)i, sizes[i]);
	}
	for (size_t i = 0; i < CLEAT_COUNT(sizes); i++)
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(pieces[i][k], i);
	assert_null(cleat_pb_arena_get(&a, BUDGET));
	assert_null(cleat_pb_arena_get(&a, SIZE_MAX));
	assert_true(a.exhausted);
	cleat_pb_arena_reset(&a);
	assert_false(a.exhausted);
	assert_non_null(cleat_pb_arena_get(&a, BUDGET));
	cleat_pb_arena_reset(&a);
}

static void test_pb__the_last_of_equal_map_keys_wins(void **state)
{
	static const char bytes[] = "\x22\x06\x0a\x01"
				    "b\x12\x01"
				    "1"
				    "\x22\x06\x0a\x01"
				    "a\x12\x01"
				    "2"
				    "\x22\x06\x0a\x01"
				    "b\x12\x01"
				    "3"
				    "\x22\x03\x0a\x01"
				    "b" /* without a value: empty */
				    "\x22\x03\x12\x01"
				    "4"; /* without a key: the key is empty */
	struct cleat_pb_arena a;
	ProtobufCMessage *m = NULL;

	(void)state;
	cleat_pb_arena_init(&a, BUDGET);
	assert_int_equal(parse_into(&a, bytes, sizeof(bytes) - 1, &m), CLEAT_OK);
	Cleat__Test__V1__Everything *e = (Cleat__Test__V1__Everything *)m;
	size_t n = e->n_params;
	assert_int_equal(n, 5);
	assert_int_equal(cleat_pb_map_last_wins((ProtobufCMessage **)e->params, &n, NULL), CLEAT_OK);
	assert_int_equal(n, 3);
	assert_string_equal(e->params[0]->key, "");
	assert_string_equal(e->params[0]->value, "4");
	assert_string_equal(e->params[1]->key, "a");
	assert_string_equal(e->params[1]->value, "2");
	assert_string_equal(e->params[2]->key, "b");
	assert_string_equal(e->params[2]->value, "");
	cleat_pb_arena_reset(&a);
}

static void test_pb__a_hostile_map_costs_little(void **state)
{
	enum { ENTRIES = 200000 };
	struct cleat_pb_arena a;
	ProtobufCMessage *m = NULL;
	cleat_autofree uint8_t *bytes = malloc(ENTRIES * 2);

	(void)state;
	assert_non_null(bytes);
	for (size_t i = 0; i < ENTRIES; i++)
		memcpy(bytes + 2 * i, "\x22", 2); /* an empty entry */
	cleat_pb_arena_init(&a, (size_t)64 << 20);
	assert_int_equal(parse_into(&a, bytes, ENTRIES * 2, &m), CLEAT_OK);
	Cleat__Test__V1__Everything *e = (Cleat__Test__V1__Everything *)m;
	size_t n = e->n_params;
	assert_int_equal(n, ENTRIES);
	assert_int_equal(cleat_pb_map_last_wins((ProtobufCMessage **)e->params, &n, NULL), CLEAT_OK);
	assert_int_equal(n, 1);
	cleat_pb_arena_reset(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pb__accepts_what_is_valid),
		cmocka_unit_test(test_pb__refuses_malformed_bytes),
		cmocka_unit_test(test_pb__refuses_what_is_not_text),
		cmocka_unit_test(test_pb__limits_the_nesting),
		cmocka_unit_test(test_pb__limits_the_memory),
		cmocka_unit_test(test_pb__a_message_cut_anywhere_is_refused_or_valid),
		cmocka_unit_test(test_pb__strings_are_never_null),
		cmocka_unit_test(test_pb__arena_gives_aligned_disjoint_pieces),
		cmocka_unit_test(test_pb__the_last_of_equal_map_keys_wins),
		cmocka_unit_test(test_pb__a_hostile_map_costs_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
