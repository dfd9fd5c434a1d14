/* util_size_test.c - sizes for people and back. */
#include "util/size.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/mem.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define TIB (GIB * 1024)

static void test_size__parses_every_unit(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "4096B", 4096 },
		{ "1KiB", KIB },
		{ "1K", KIB },
		{ "64MiB", 64 * MIB },
		{ "64M", 64 * MIB },
		{ "1GiB", GIB },
		{ "1G", GIB },
		{ "1 GiB", GIB },
		{ "1.5GiB", GIB + GIB / 2 },
		{ "0.25KiB", 256 },
		{ "2T", 2 * TIB },
		{ "1PiB", TIB * 1024 },
		{ "7EiB", 7 * TIB * MIB },
		{ "1kB", 1000 },
		{ "1KB", 1000 },
		{ "1GB", 1000000000 },
		{ "1.5GB", 1500000000 },
		{ "1EB", UINT64_C(1000000000000000000) },
		{ "9223372036854775807", INT64_MAX },
		{ "0.000001GB", 1000 },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(good); i++) {
		uint64_t bytes = 99;
		assert_int_equal(cleat_size_parse(good[i].text, &bytes, NULL), CLEAT_OK);
		assert_int_equal(bytes, good[i].bytes);
	}
}

static void test_size__refuses_what_is_none(void **state)
{
	static const char *const bad[] = {
		"",	 " ",	   "-1",	"-1GiB",
		"+1",	 "GiB",	   "1X",	"1GiBs",
		"1Gi",	 "1 ",	   "1  GiB",	"1.GiB",
		".5GiB", "1.5",	   "1.5B",	"1,5GiB",
		"0x10",	 "1e9",	   "8EiB",	"9223372036854775808",
		"1gib",	 "1kiB",   "1k",	"99999999999999999999",
		"nan",	 "1GiB\n", "1\tGiB",	"0.0000000000000000001GiB",
		"10EB",	 "1 2GiB", "1GiB 1GiB", "18446744073709551616GiB",
	};
	struct cleat_error err = CLEAT_ERROR_INIT;
	uint64_t bytes = 99;

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		if (cleat_size_parse(bad[i], &bytes, &err) != CLEAT_INVALID_ARGUMENT)
			fail_msg("'%s' was taken as %llu", bad[i], (unsigned long long)bytes);
		assert_int_equal(bytes, 99);
		assert_non_null(strstr(err.msg, "size '"));
	}
}

static void test_size__formats_with_at_most_one_decimal(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 512, "512 B" },
		{ 1023, "1023 B" },
		{ KIB, "1 KiB" },
		{ KIB + KIB / 2, "1.5 KiB" },
		{ 10 * GIB, "10 GiB" },
		{ GIB - 1, "1 GiB" },
		{ GIB + GIB / 4, "1.3 GiB" },
		{ 7 * TIB * MIB, "7 EiB" },
		{ UINT64_MAX, "16 EiB" },
	};
	char text[CLEAT_SIZE_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(cases); i++)
		assert_string_equal(cleat_size_format(cases[i].bytes, text), cases[i].text);
}

static void test_size__reads_back_what_it_formats(void **state)
{
	char text[CLEAT_SIZE_TEXT_BYTES];

	(void)state;
	for (uint64_t bytes = 1; bytes < UINT64_C(1) << 62; bytes *= 2) {
		uint64_t back = 0;
		assert_int_equal(cleat_size_parse(cleat_size_format(bytes, text), &back, NULL), CLEAT_OK);
		assert_int_equal(back, bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size__parses_every_unit),
		cmocka_unit_test(test_size__refuses_what_is_none),
		cmocka_unit_test(test_size__formats_with_at_most_one_decimal),
		cmocka_unit_test(test_size__reads_back_what_it_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
