/* doors_drivers_test.c - the table of Docker volume drivers: what may be written, what is refused with its
 * line, what options come to mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "doors/drivers.h"

#include "util/mem.h"

#include <stdio.h>
#include <string.h>

static enum cleat_code parse(struct cleat_door_drivers *t, const char *text, struct cleat_error *err)
{
	return cleat_door_drivers_parse(t, "table", text, strlen(text), err);
}

static void test_drivers__an_empty_file_is_an_empty_table(void **state)
{
	static const char *const empty[] = { "", "# nothing\n", "drivers:\n", "drivers: {}\n" };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(empty); i++) {
		cleat_autodrivers struct cleat_door_drivers t = { 0 };
		struct cleat_error err = CLEAT_ERROR_INIT;

		assert_int_equal(parse(&t, empty[i], &err), CLEAT_OK);
		assert_int_equal(t.count, 0);
		assert_true(cleat_door_driver_find(&t, "rexray")->create);
		assert_null(cleat_door_driver_find(&t, "rexray")->pool);
	}
}

static void test_drivers__every_key_is_read(void **state)
{
	cleat_autodrivers struct cleat_door_drivers t = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	const struct cleat_door_driver *d;

	(void)state;
	assert_int_equal(
		parse(&t,
		      "drivers:\n"
		      "  rexray: {pool: ebs1, options: {VolumeType: type, drop: ''}, params: {fs: xfs},\n"
		      "           size: 16GiB, size_unit: MiB, create: false, host_path: /v/%p/%n/data}\n"
		      "  plain:\n",
		      &err),
		CLEAT_OK);
	assert_int_equal(t.count, 2);
	d = cleat_door_driver_find(&t, "rexray");
	assert_string_equal(d->pool, "ebs1");
	assert_string_equal(cleat_kv_get(&d->options, "volumetype"), "type");
	assert_string_equal(cleat_kv_get(&d->options, "drop"), "");
	assert_string_equal(cleat_kv_get(&d->params, "fs"), "xfs");
	assert_int_equal(d->size_bytes, UINT64_C(16) << 30);
	assert_int_equal(d->size_unit_bytes, 1 << 20);
	assert_false(d->create);
	d = cleat_door_driver_find(&t, "plain");
	assert_string_equal(d->name, "plain");
	assert_int_equal(d->size_unit_bytes, 1 << 30);
	assert_true(d->create);
}

static void test_drivers__what_is_wrong_is_named_with_its_line(void **state)
{
	static const char *const wrong[][2] = {
		{ "- a\n", "table:1: 'the file' must be a mapping" },
		{ "pools: {}\n", "table:1: 'pools' is unknown here" },
		{ "drivers: [a]\n", "table:1: 'drivers' must be a mapping" },
		{ "drivers:\n  a: b\n", "table:2: 'a' must be a mapping" },
		{ "drivers:\n  a:\n    pools: b\n", "table:3: 'pools' is unknown" },
		{ "drivers:\n  a: {pool: ''}\n", "table:2: 'pool' must not be empty" },
		{ "drivers:\n  a: {pool: [b]}\n", "table:2: 'pool' must be a single value" },
		{ "drivers:\n  a: {create: yes}\n", "table:2: 'create' must be true or false" },
		{ "drivers:\n  a: {size: big}\n", "table:2: 'size' is no size" },
		{ "drivers:\n  a: {size_unit: 0}\n", "table:2: 'size_unit' is no size" },
		{ "drivers:\n  a: {options: [b]}\n", "table:2: 'options' must be a mapping" },
		{ "drivers:\n  a: {options: {'': b}}\n", "table:2: '' is no name of an option" },
		{ "drivers:\n  a: {options: {b: [c]}}\n", "table:2: 'b' must be a single value" },
		{ "drivers:\n  a: {host_path: v/%n}\n", "table:2: 'host_path' must be an absolute path" },
		{ "drivers:\n  a: {host_path: /v}\n", "table:2: 'host_path' must be an absolute path" },
		{ "drivers:\n  a: {host_path: /v/%s/%n}\n", "table:2: 'host_path' may hold %n" },
		{ "drivers:\n  a: {host_path: /v/%n%}\n", "table:2: 'host_path' may hold %n" },
		{ "drivers:\n  a: {}\n  a: {}\n", "table:3: 'a' is given twice" },
		{ "drivers: {a: {pool: \"b\n", "table:" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(wrong); i++) {
		cleat_autodrivers struct cleat_door_drivers t = { 0 };
		struct cleat_error err = CLEAT_ERROR_INIT;

		assert_int_equal(parse(&t, wrong[i][0], &err), CLEAT_INVALID_ARGUMENT);
		if (!strstr(err.msg, wrong[i][1]))
			fail_msg("'%s' instead of '%s'", err.msg, wrong[i][1]);
		assert_int_equal(t.count, 0);
	}
}

static void test_drivers__more_than_fit_are_refused(void **state)
{
	cleat_autodrivers struct cleat_door_drivers t = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char text[4096] = "drivers:\n";
	size_t n = strlen(text);

	(void)state;
	for (int i = 0; i < CLEAT_DOOR_DRIVERS_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "  d%d: {pool: p}\n", i);
	assert_int_equal(parse(&t, text, &err), CLEAT_OK);
	assert_int_equal(t.count, CLEAT_DOOR_DRIVERS_MAX);
	cleat_door_drivers_done(&t);
	snprintf(text + n, sizeof(text) - n, "  more: {pool: p}\n");
	assert_int_equal(parse(&t, text, &err), CLEAT_INVALID_ARGUMENT);
	assert_non_null(strstr(err.msg, "too many"));
}

static void take(const struct cleat_door_driver *d, const char *key, const char *value,
		 struct cleat_door_options *out)
{
	cleat_autokvs struct cleat_kvs options = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;

	assert_int_equal(cleat_kv_set(&options, key, value, &err), CLEAT_OK);
	assert_int_equal(cleat_door_options_take(d, &options, out, &err), CLEAT_OK);
}

static void test_options__words_of_other_drivers_are_known(void **state)
{
	const struct cleat_door_drivers none = { 0 };
	const struct cleat_door_driver *rexray = cleat_door_driver_find(&none, "rexray"),
				       *own = cleat_door_driver_find(&none, "cleat");
	static const char *const known[][3] = { { "newFsType", "xfs", "fs" },
						{ "volumetype", "gp2", "type" },
						{ "IOPS", "100", "iops" },
						{ "ext4.inode_size", "256", "ext4.inode_size" } };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(known); i++) {
		cleat_autodooroptions struct cleat_door_options o = { 0 };

		take(rexray, known[i][0], known[i][1], &o);
		assert_int_equal(o.params.count, 1);
		assert_string_equal(cleat_kv_get(&o.params, known[i][2]), known[i][1]);
	}
	cleat_autodooroptions struct cleat_door_options o = { 0 };
	take(rexray, "size", "5", &o);
	assert_int_equal(o.size_bytes, UINT64_C(5) << 30);
	cleat_door_options_done(&o);
	take(rexray, "size", "5GB", &o);
	assert_int_equal(o.size_bytes, 5000000000);
	cleat_door_options_done(&o);
	take(rexray, "overwritefs", "true", &o);
	assert_int_equal(o.params.count, 0);
	cleat_door_options_done(&o);
	take(rexray, "snapshotName", "monday", &o);
	assert_string_equal(o.source, "monday");
	cleat_door_options_done(&o);
	/* Ours are not in anybody else's words. */
	take(own, "size", "4096", &o);
	assert_int_equal(o.size_bytes, 4096);
	cleat_door_options_done(&o);
	take(own, "volumetype", "gp2", &o);
	assert_string_equal(cleat_kv_get(&o.params, "volumetype"), "gp2");
}

static void test_host_path__is_filled_or_refused(void **state)
{
	const struct cleat_door_driver d = { .host_path = (char *)(uintptr_t) "/v/%p/%n/data" },
				       plain = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char path[32];

	(void)state;
	assert_int_equal(cleat_door_host_path(&d, "/f/%n", "p", "%n", path, sizeof(path), &err), CLEAT_OK);
	assert_string_equal(path, "/v/p/%n/data");
	assert_int_equal(cleat_door_host_path(&plain, "/f/%n", "p", "db", path, sizeof(path), &err),
			 CLEAT_OK);
	assert_string_equal(path, "/f/db");
	for (const char *const *name = (const char *const[]){ "", ".", "..", "a/b", NULL }; *name; name++)
		assert_int_equal(cleat_door_host_path(&plain, "/f/%n", "p", *name, path, sizeof(path), &err),
				 CLEAT_INVALID_ARGUMENT);
	assert_int_equal(cleat_door_host_path(&plain, "/f/%n", "p", "a-name-that-is-longer-than-that", path,
					      sizeof(path), &err),
			 CLEAT_INVALID_ARGUMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drivers__an_empty_file_is_an_empty_table),
		cmocka_unit_test(test_drivers__every_key_is_read),
		cmocka_unit_test(test_drivers__what_is_wrong_is_named_with_its_line),
		cmocka_unit_test(test_drivers__more_than_fit_are_refused),
		cmocka_unit_test(test_options__words_of_other_drivers_are_known),
		cmocka_unit_test(test_host_path__is_filled_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
