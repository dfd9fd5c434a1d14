/* util_text_test.c - which bytes may be shown. */
#include "util/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/mem.h"

static void test_text__clean_is_utf8_without_controls(void **state)
{
	static const char *const clean[] = { "",
					     "plain",
					     "with space",
					     "\xc3\xa4\xc3\xb6",
					     "\xe2\x82\xac",
					     "\xf0\x9f\x90\xa7",
					     "\xf4\x8f\xbf\xbf",
					     "\xc2\xa0" };
	static const char *const dirty[] = {
		"a\nb",
		"\t",
		"\x1b[0m",
		"\x7f",	    /* controls */
		"\xc2\x85", /* C1: next line */
		"\xff",
		"\x80",
		"\xc3",
		"\xe2\x82",
		"\xf0\x9f\x90", /* cut short */
		"\xc0\xaf",
		"\xe0\x80\xaf",
		"\xf0\x80\x80\xaf", /* overlong */
		"\xed\xa0\x80",	    /* surrogate */
		"\xf4\x90\x80\x80",
		"\xf8\x88\x80\x80\x80",
		"\xc3\x28", /* out of range, five bytes, no continuation */
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(clean); i++)
		assert_true(cleat_text_is_clean(clean[i], strlen(clean[i])));
	for (size_t i = 0; i < CLEAT_COUNT(dirty); i++)
		assert_false(cleat_text_is_clean(dirty[i], strlen(dirty[i])));
	assert_false(cleat_text_is_clean("a\0b", 3));
}

static void test_text__cut_keeps_characters_whole(void **state)
{
	(void)state;
	assert_int_equal(cleat_text_cut("abc", 10), 3);
	assert_int_equal(cleat_text_cut("abc", 2), 2);
	assert_int_equal(cleat_text_cut("", 2), 0);
	assert_int_equal(cleat_text_cut("a\xe2\x82\xac", 4), 4);
	assert_int_equal(cleat_text_cut("a\xe2\x82\xac", 3), 1);
	assert_int_equal(cleat_text_cut("a\xe2\x82\xac", 2), 1);
	assert_int_equal(cleat_text_cut("a\xe2\x82\xac", 1), 1);
	assert_int_equal(cleat_text_cut("\xe2\x82\xac", 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text__clean_is_utf8_without_controls),
		cmocka_unit_test(test_text__cut_keeps_characters_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
