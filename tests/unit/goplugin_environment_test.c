/* goplugin_environment_test.c - what a host says in its environment, and the line that answers it. */
#include "goplugin/environment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/mem.h"

static const unsigned versions[] = { 2, 3 };
static const struct cleat_goplugin_config config = {
	.program = "the-plugin",
	.host = "TheHost",
	.cookie_key = "COOKIE",
	.cookie_value = "magic",
	.versions = versions,
	.version_count = 2,
};

/* Pairs of name and value. */
static const char *get(const char *name, void *arg)
{
	for (const char *const *p = arg; *p; p += 2)
		if (strcmp(p[0], name) == 0)
			return p[1];
	return NULL;
}

#define ENV(...)                                                                                             \
	(void *)(const char *[])                                                                             \
	{                                                                                                    \
		"COOKIE", "magic", __VA_ARGS__ NULL                                                          \
	}

static enum cleat_code read_env(void *pairs, struct goplugin_env *out, struct cleat_error *err)
{
	return goplugin_env_read(&config, get, pairs, out, err);
}

static void test_environment__needs_the_cookie(void **state)
{
	const char *none[] = { NULL }, *wrong[] = { "COOKIE", "magic2", NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct goplugin_env env;

	(void)state;
	assert_int_equal(read_env(none, &env, &err), CLEAT_FAILED_PRECONDITION);
	assert_string_equal(
		err.msg,
		"the-plugin is a plugin of TheHost, which starts it; it is not meant to be run by hand");
	assert_int_equal(read_env(wrong, &env, &err), CLEAT_FAILED_PRECONDITION);
	assert_int_equal(read_env(ENV(), &env, &err), CLEAT_OK);
}

static void test_environment__agrees_on_the_highest_version(void **state)
{
	static const struct {
		const char *list;
		unsigned version;
	} cases[] = {
		{ "2", 2 },	{ "3", 3 },    { "2,3", 3 }, { "3,2", 3 },
		{ "1,2,9", 2 }, { "9", 2 },    { "", 2 },    { ",", 2 },
		{ "x,3,y", 3 }, { "3x,2", 2 }, { ",,3", 3 }, { "-1,99999999999999999999,3", 3 },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(cases); i++) {
		struct goplugin_env env;

		assert_int_equal(read_env(ENV("PLUGIN_PROTOCOL_VERSIONS", cases[i].list, ), &env, NULL),
				 CLEAT_OK);
		if (env.version != cases[i].version)
			fail_msg("'%s' gives %u", cases[i].list, env.version);
	}
}

static void test_environment__places_the_socket(void **state)
{
	char far[128];
	struct goplugin_env env;

	(void)state;
	assert_int_equal(read_env(ENV(), &env, NULL), CLEAT_OK);
	assert_string_equal(env.socket_dir, "/tmp");
	assert_null(env.socket_group);
	assert_int_equal(read_env(ENV("TMPDIR", "/var/tmp", ), &env, NULL), CLEAT_OK);
	assert_string_equal(env.socket_dir, "/var/tmp");
	assert_int_equal(read_env(ENV("TMPDIR", "/var/tmp", "PLUGIN_UNIX_SOCKET_DIR", "/run/p",
				      "PLUGIN_UNIX_SOCKET_GROUP", "staff", ),
				  &env, NULL),
			 CLEAT_OK);
	assert_string_equal(env.socket_dir, "/run/p");
	assert_string_equal(env.socket_group, "staff");
	assert_int_equal(read_env(ENV("PLUGIN_UNIX_SOCKET_DIR", "here", ), &env, NULL),
			 CLEAT_INVALID_ARGUMENT);
	assert_int_equal(read_env(ENV("PLUGIN_UNIX_SOCKET_DIR", "/a|b", ), &env, NULL),
			 CLEAT_INVALID_ARGUMENT);
	memset(far, 'x', sizeof(far) - 1);
	far[0] = '/';
	far[sizeof(far) - 1] = '\0';
	assert_int_equal(read_env(ENV("TMPDIR", far, ), &env, NULL), CLEAT_INVALID_ARGUMENT);
}

static void test_environment__has_tls_only_when_asked(void **state)
{
	struct goplugin_env env;

	(void)state;
	assert_int_equal(read_env(ENV("PLUGIN_CLIENT_CERT", "", ), &env, NULL), CLEAT_OK);
	assert_false(env.tls);
	assert_int_equal(read_env(ENV("PLUGIN_CLIENT_CERT", "pem", ), &env, NULL), CLEAT_OK);
	assert_true(env.tls);
	assert_string_equal(env.client_cert, "pem");
}

static void line_is(void *pairs, const char *cert, const char *expected)
{
	struct goplugin_env env;
	char line[256];

	assert_int_equal(read_env(pairs, &env, NULL), CLEAT_OK);
	assert_int_equal(goplugin_handshake(&env, "/tmp/s", cert, line, sizeof(line), NULL), CLEAT_OK);
	assert_string_equal(line, expected);
}

static void test_handshake__has_six_fields_or_seven(void **state)
{
	(void)state;
	line_is(ENV("PLUGIN_PROTOCOL_VERSIONS", "2", ), NULL, "1|2|unix|/tmp/s|grpc|\n");
	line_is(ENV("PLUGIN_PROTOCOL_VERSIONS", "3", "PLUGIN_CLIENT_CERT", "pem", ), "MIIB",
		"1|3|unix|/tmp/s|grpc|MIIB\n");
	line_is(ENV("PLUGIN_MULTIPLEX_GRPC", "true", ), NULL, "1|2|unix|/tmp/s|grpc||false\n");
}

static void test_handshake__is_never_cut(void **state)
{
	struct goplugin_env env = { .version = 2 };
	char line[24];

	(void)state;
	for (size_t room = 0; room < sizeof("1|2|unix|/tmp/s|grpc|\n"); room++)
		assert_int_equal(goplugin_handshake(&env, "/tmp/s", NULL, line, room, NULL),
				 CLEAT_RESOURCE_EXHAUSTED);
	assert_int_equal(
		goplugin_handshake(&env, "/tmp/s", NULL, line, sizeof("1|2|unix|/tmp/s|grpc|\n"), NULL),
		CLEAT_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_environment__needs_the_cookie),
		cmocka_unit_test(test_environment__agrees_on_the_highest_version),
		cmocka_unit_test(test_environment__places_the_socket),
		cmocka_unit_test(test_environment__has_tls_only_when_asked),
		cmocka_unit_test(test_handshake__has_six_fields_or_seven),
		cmocka_unit_test(test_handshake__is_never_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
