/* dhv_request_test.c - what the agent says, what a volume specification may say, and the file beside the
 * program. */
#include "dhv/request.h"
#include "dhv/settings.h"
#include "dhv/wish.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cleat/v1/volumes.pb-c.h"
#include "util/mem.h"

#define ID "0a1b2c3d-1111-2222-3333-444455556666"

/* ---- the environment ---- */

static const char *const variables[] = {
	"DHV_VOLUME_ID", "DHV_VOLUME_NAME",	   "DHV_NAMESPACE",	     "DHV_VOLUMES_DIR",
	"DHV_NODE_ID",	 "DHV_CAPACITY_MIN_BYTES", "DHV_CAPACITY_MAX_BYTES", "DHV_PARAMETERS"
};

static int good_environment(void **state)
{
	static const char *const values[] = { ID,   "pgdata", "default", "/opt/nomad/vols",
					      "n1", "1000",   "2000",	 "{\"fs\":\"xfs\"}" };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(variables); i++)
		assert_int_equal(setenv(variables[i], values[i], 1), 0);
	return 0;
}

static void test_request__of_create(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct dhv_request r;

	(void)state;
	assert_int_equal(dhv_request_read(true, &r, &err), CLEAT_OK);
	assert_string_equal(r.id, ID);
	assert_string_equal(r.name, "pgdata");
	assert_string_equal(r.namespace, "default");
	assert_string_equal(r.volumes_dir, "/opt/nomad/vols");
	assert_string_equal(r.node, "n1");
	assert_int_equal(r.min_bytes, 1000);
	assert_int_equal(r.max_bytes, 2000);
	assert_string_equal(cleat_kv_get(&r.params, "fs"), "xfs");
	dhv_request_done(&r);
}

/* As the agent deletes a volume that it could not note down: no name, no namespace, no capacity. */
static void test_request__of_delete_needs_the_id_only(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct dhv_request r;

	(void)state;
	setenv("DHV_VOLUME_NAME", "", 1);
	setenv("DHV_NAMESPACE", "", 1);
	setenv("DHV_PARAMETERS", "null", 1);
	unsetenv("DHV_CAPACITY_MIN_BYTES");
	unsetenv("DHV_CAPACITY_MAX_BYTES");
	assert_int_equal(dhv_request_read(false, &r, &err), CLEAT_OK);
	assert_string_equal(r.id, ID);
	assert_string_equal(r.namespace, "");
	dhv_request_done(&r);
}

static void test_request__says_variable_and_value(void **state)
{
	static const struct {
		const char *variable, *value, *text;
	} wrong[] = {
		{ "DHV_VOLUME_ID", "", "DHV_VOLUME_ID is not set" },
		{ "DHV_VOLUME_ID", "../../etc/passwd", "DHV_VOLUME_ID: '../../etc/passwd'" },
		{ "DHV_VOLUME_ID", "0a1b2c3d-1111-2222-3333-44445555666/", "DHV_VOLUME_ID: '0a1b2c3d" },
		{ "DHV_VOLUME_ID", "0A1B2C3D-1111-2222-3333-444455556666", "DHV_VOLUME_ID: '0A1B" },
		{ "DHV_VOLUME_NAME", "", "DHV_VOLUME_NAME" },
		{ "DHV_VOLUME_NAME", "a\nb", "DHV_VOLUME_NAME" },
		{ "DHV_VOLUMES_DIR", "vols", "DHV_VOLUMES_DIR: 'vols'" },
		{ "DHV_VOLUMES_DIR", "", "DHV_VOLUMES_DIR: ''" },
		{ "DHV_CAPACITY_MIN_BYTES", "-1", "DHV_CAPACITY_MIN_BYTES: '-1'" },
		{ "DHV_CAPACITY_MIN_BYTES", "10MiB", "DHV_CAPACITY_MIN_BYTES: '10MiB'" },
		{ "DHV_CAPACITY_MAX_BYTES", "9999999999999999999",
		  "DHV_CAPACITY_MAX_BYTES: '9999999999999999999'" },
		{ "DHV_CAPACITY_MAX_BYTES", "999", "DHV_CAPACITY_MAX_BYTES: '999' is less" },
		{ "DHV_PARAMETERS", "[]", "DHV_PARAMETERS: '[]' is no JSON object" },
		{ "DHV_PARAMETERS", "{\"a\":", "DHV_PARAMETERS: '{\"a\":' is no JSON" },
		{ "DHV_PARAMETERS", "{\"uid\":7}", "parameter 'uid': its value is not text" },
		{ "DHV_PARAMETERS", "{\"a\":\"1\",\"a\":\"2\"}", "DHV_PARAMETERS" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(wrong); i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		struct dhv_request r;

		good_environment(NULL);
		setenv(wrong[i].variable, wrong[i].value, 1);
		assert_int_equal(dhv_request_read(true, &r, &err), CLEAT_INVALID_ARGUMENT);
		if (!strstr(err.msg, wrong[i].text))
			fail_msg("%s='%s' gives: %s", wrong[i].variable, wrong[i].value, err.msg);
	}
}

static void test_params__are_bounded(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autofree char *text = malloc(DHV_PARAMETERS_MAX_BYTES + 2);
	struct cleat_kvs kvs;

	(void)state;
	memset(text, ' ', DHV_PARAMETERS_MAX_BYTES + 1);
	memcpy(text, "null", 4);
	text[DHV_PARAMETERS_MAX_BYTES] = '\0';
	assert_int_equal(dhv_params_read(text, &kvs, &err), CLEAT_OK);
	text[DHV_PARAMETERS_MAX_BYTES] = ' ';
	text[DHV_PARAMETERS_MAX_BYTES + 1] = '\0';
	assert_int_equal(dhv_params_read(text, &kvs, &err), CLEAT_INVALID_ARGUMENT);
}

/* ---- the words ---- */

static enum cleat_code read_wish(const char *json, const char *defaults, struct dhv_wish *out,
				 struct cleat_kvs kvs[2], struct cleat_error *err)
{
	assert_int_equal(dhv_params_read(json, &kvs[0], err), CLEAT_OK);
	assert_int_equal(dhv_params_read(defaults, &kvs[1], err), CLEAT_OK);
	return dhv_wish_read(&kvs[0], &kvs[1], out, err);
}

static void test_wish__words_and_the_rest(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_kvs kvs[2];
	struct dhv_wish w;

	(void)state;
	assert_int_equal(read_wish("{\"pool\":\"fast\",\"fs\":\"xfs\",\"uid\":\"70\",\"mode\":\"0750\","
				   "\"hard_size\":\"true\",\"read_only\":\"false\",\"on_delete\":\"keep\","
				   "\"access_mode\":\"single-node-single-writer\",\"source\":\"fast/snap\","
				   "\"options\":\"thick=true, "
				   "xfs.log_size=64MiB\",\"mount_options\":\"noatime,logbufs=8\"}",
				   "null", &w, kvs, &err),
			 CLEAT_OK);
	assert_string_equal(w.pool, "fast");
	assert_string_equal(w.source, "fast/snap");
	assert_null(w.volume);
	assert_true(w.hard_size && !w.read_only && w.on_delete_given && w.keep);
	assert_int_equal(w.access_mode, CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER);
	assert_int_equal(w.params.count, 5);
	assert_string_equal(cleat_kv_get(&w.params, "uid"), "70");
	assert_string_equal(cleat_kv_get(&w.params, "xfs.log_size"), "64MiB");
	assert_int_equal(w.mount_options.count, 2);
	assert_string_equal(cleat_kv_get(&w.mount_options, "noatime"), "");
	assert_string_equal(cleat_kv_get(&w.mount_options, "logbufs"), "8");
	dhv_wish_done(&w);
	cleat_kv_done(&kvs[0]);
}

static void test_wish__defaults_stand_behind(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_kvs kvs[2];
	struct dhv_wish w;

	(void)state;
	assert_int_equal(read_wish("{\"fs\":\"ext4\"}",
				   "{\"fs\":\"xfs\",\"pool\":\"fast\",\"mode\":\"0700\"}", &w, kvs, &err),
			 CLEAT_OK);
	assert_string_equal(cleat_kv_get(&w.params, "fs"), "ext4");
	assert_string_equal(cleat_kv_get(&w.params, "mode"), "0700");
	assert_string_equal(w.pool, "fast");
	dhv_wish_done(&w);
	cleat_kv_done(&kvs[0]);
	cleat_kv_done(&kvs[1]);
}

static void test_wish__says_parameter_and_value(void **state)
{
	static const struct {
		const char *json, *key, *value;
	} wrong[] = {
		{ "{\"pool\":\"\"}", "'pool'", "''" },
		{ "{\"hard_size\":\"yes\"}", "'hard_size'", "'yes'" },
		{ "{\"read_only\":\"1\"}", "'read_only'", "'1'" },
		{ "{\"access_mode\":\"rwx\"}", "'access_mode'", "'rwx'" },
		{ "{\"on_delete\":\"burn\"}", "'on_delete'", "'burn'" },
		{ "{\"options\":\"thick\"}", "'options'", "'thick'" },
		{ "{\"options\":\"a=1,,b=2\"}", "'options'", "''" },
		{ "{\"options\":\"=1\"}", "'options'", "'=1'" },
		{ "{\"options\":\"a=1,a=2\"}", "'options'", "'a'" },
		{ "{\"mount_options\":\"noatime,noatime\"}", "'mount_options'", "'noatime'" },
		{ "{\"options\":\"uid=1\",\"uid\":\"2\"}", "'uid'", "'2'" },
		{ "{\"volume\":\"a\",\"source\":\"b\"}", "'source'", "'b'" },
		{ "{\"mode\":\"07\\u000150\"}", "'mode'", "control" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(wrong); i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		struct cleat_kvs kvs[2];
		struct dhv_wish w;

		assert_int_equal(read_wish(wrong[i].json, "null", &w, kvs, &err), CLEAT_INVALID_ARGUMENT);
		if (!strstr(err.msg, wrong[i].key) || !strstr(err.msg, wrong[i].value))
			fail_msg("%s gives: %s", wrong[i].json, err.msg);
		cleat_kv_done(&kvs[0]);
	}
}

/* ---- the file beside the program ---- */

static enum cleat_code parse(const char *text, struct dhv_settings *out, struct cleat_error *err)
{
	return dhv_settings_parse(text, strlen(text), out, err);
}

static void test_settings__lines(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct dhv_settings s;

	(void)state;
	assert_int_equal(parse("---\n# where\nsocket:   /srv/x.sock  \r\n\npool: fast\nmode: \"0750\"\n"
			       "source: 'a/b'\n\txfs.log_size: 64MiB",
			       &s, &err),
			 CLEAT_OK);
	assert_string_equal(s.socket, "/srv/x.sock");
	assert_int_equal(s.defaults.count, 4);
	assert_string_equal(cleat_kv_get(&s.defaults, "mode"), "0750");
	assert_string_equal(cleat_kv_get(&s.defaults, "source"), "a/b");
	assert_string_equal(cleat_kv_get(&s.defaults, "xfs.log_size"), "64MiB");
	dhv_settings_done(&s);
	assert_int_equal(parse("", &s, &err), CLEAT_OK);
	assert_string_equal(s.socket, DHV_DEFAULT_SOCKET);
	dhv_settings_done(&s);
}

static void test_settings__say_the_line(void **state)
{
	static const struct {
		const char *text, *says;
	} wrong[] = {
		{ "pool: a\nfast\n", "line 2: 'fast'" },
		{ "\n\nsocket: x.sock\n", "line 3: socket: 'x.sock'" },
		{ "pool: a\npool: b\n", "line 2: 'pool'" },
		{ ": a\n", "line 1" },
		{ "pool: \x01\n", "line 1" },
		{ "pool: \xff\n", "line 1" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(wrong); i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		struct dhv_settings s;

		assert_int_equal(parse(wrong[i].text, &s, &err), CLEAT_INVALID_ARGUMENT);
		if (!strstr(err.msg, wrong[i].says))
			fail_msg("'%s' gives: %s", wrong[i].text, err.msg);
	}
}

static void test_settings__lie_beside_the_program(void **state)
{
	char path[DHV_PATH_BYTES];

	(void)state;
	dhv_settings_path("/opt/plugins/cleat-fast", "/elsewhere", path);
	assert_string_equal(path, "/opt/plugins/cleat-fast.conf");
	dhv_settings_path("cleat-dhv", "/opt/plugins", path);
	assert_string_equal(path, "/opt/plugins/cleat-dhv.conf");
	dhv_settings_path("cleat-dhv", "", path);
	assert_string_equal(path, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_request__of_create, good_environment),
		cmocka_unit_test_setup(test_request__of_delete_needs_the_id_only, good_environment),
		cmocka_unit_test(test_request__says_variable_and_value),
		cmocka_unit_test(test_params__are_bounded),
		cmocka_unit_test(test_wish__words_and_the_rest),
		cmocka_unit_test(test_wish__defaults_stand_behind),
		cmocka_unit_test(test_wish__says_parameter_and_value),
		cmocka_unit_test(test_settings__lines),
		cmocka_unit_test(test_settings__say_the_line),
		cmocka_unit_test(test_settings__lie_beside_the_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
