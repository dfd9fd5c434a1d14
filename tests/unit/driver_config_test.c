/* driver_config_test.c - schemas of plugin and job as Nomad gets them, and what is refused in both
 * configurations. */
#include "driver/caps.h"
#include "driver/jobconfig.h"
#include "driver/settings.h"
#include "driver/signals.h"

#include <msgpack.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/kv.h"
#include "util/mem.h"

/* ---- schemas ---- */

static const Hcl__Spec *attribute(const Hcl__Spec *object, const char *name)
{
	assert_int_equal(object->block_case, HCL__SPEC__BLOCK_OBJECT);
	for (size_t i = 0; i < object->object->n_attributes; i++)
		if (strcmp(object->object->attributes[i]->key, name) == 0)
			return object->object->attributes[i]->value;
	return NULL;
}

/* What Nomad's converter demands of every spec: a name below a default, nested specs in blocks. */
static void check_spec(const Hcl__Spec *spec)
{
	assert_non_null(spec);
	switch (spec->block_case) {
	case HCL__SPEC__BLOCK_OBJECT:
		for (size_t i = 0; i < spec->object->n_attributes; i++)
			check_spec(spec->object->attributes[i]->value);
		break;
	case HCL__SPEC__BLOCK_ATTR:
		assert_true(*spec->attr->name && *spec->attr->type);
		break;
	case HCL__SPEC__BLOCK_DEFAULT:
		assert_int_equal(spec->default_->primary->block_case, HCL__SPEC__BLOCK_ATTR);
		assert_false(spec->default_->primary->attr->required);
		assert_int_equal(spec->default_->default_->block_case, HCL__SPEC__BLOCK_LITERAL);
		check_spec(spec->default_->primary);
		break;
	case HCL__SPEC__BLOCK_BLOCK_ATTRS:
		assert_true(*spec->block_attrs->name && *spec->block_attrs->type);
		break;
	case HCL__SPEC__BLOCK_BLOCK_LIST:
		check_spec(spec->block_list->nested);
		break;
	default:
		fail_msg("unexpected spec %d", (int)spec->block_case);
	}
}

static void test_schema__of_the_job(void **state)
{
	struct cleat_pb_arena arena;

	(void)state;
	cleat_pb_arena_init(&arena, 64 * 1024);
	const Hcl__Spec *spec = driver_keys_schema(driver_job_keys, &arena);
	check_spec(spec);
	assert_true(attribute(spec, "command")->attr->required);
	const Hcl__Spec *volume = attribute(spec, "volume");
	assert_int_equal(volume->block_case, HCL__SPEC__BLOCK_BLOCK_LIST);
	assert_string_equal(volume->block_list->name, "volume");
	const Hcl__Spec *mode = attribute(volume->block_list->nested, "access_mode");
	assert_string_equal(mode->default_->default_->literal->value, "\"single-node-single-writer\"");
	assert_int_equal(attribute(volume->block_list->nested, "options")->block_case,
			 HCL__SPEC__BLOCK_BLOCK_ATTRS);
	cleat_pb_arena_reset(&arena);
}

/* A key without a default would end the agent of somebody who has no  plugin  block. */
static void test_schema__of_the_plugin_needs_nothing(void **state)
{
	struct cleat_pb_arena arena;

	(void)state;
	for (const struct driver_key *k = driver_settings_keys; k->name; k++)
		assert_false(k->required);
	cleat_pb_arena_init(&arena, 64 * 1024);
	check_spec(driver_keys_schema(driver_settings_keys, &arena));
	cleat_pb_arena_reset(&arena);
}

static void test_schema__without_memory_is_none(void **state)
{
	struct cleat_pb_arena arena;

	(void)state;
	for (size_t limit = 0; limit < 4096; limit += 64) {
		cleat_pb_arena_init(&arena, limit);
		Hcl__Spec *spec = driver_keys_schema(driver_job_keys, &arena);
		if (spec)
			check_spec(spec);
		else
			assert_true(arena.exhausted);
		cleat_pb_arena_reset(&arena);
	}
}

/* ---- values: pairs of key and value, "" ends; a value beginning with '#' is a bool, with '@' a list of one
 * ---- */

static void pack_value(msgpack_packer *p, const char *value)
{
	if (value[0] == '#') {
		(void)(value[1] == 't' ? msgpack_pack_true(p) : msgpack_pack_false(p));
		return;
	}
	if (value[0] == '@') {
		msgpack_pack_array(p, 1);
		value++;
	}
	msgpack_pack_str_with_body(p, value, strlen(value));
}

static void pack_pairs(msgpack_packer *p, const char *const *pairs)
{
	size_t n = 0;

	while (pairs[n])
		n++;
	msgpack_pack_map(p, n / 2);
	for (size_t i = 0; i < n; i += 2) {
		msgpack_pack_str_with_body(p, pairs[i], strlen(pairs[i]));
		pack_value(p, pairs[i + 1]);
	}
}

static enum cleat_code read_settings(const char *const *pairs, struct driver_settings *out,
				     struct cleat_error *err)
{
	msgpack_sbuffer buf;
	msgpack_packer p;

	msgpack_sbuffer_init(&buf);
	msgpack_packer_init(&p, &buf, msgpack_sbuffer_write);
	pack_pairs(&p, pairs);
	enum cleat_code code = driver_settings_read((uint8_t *)buf.data, buf.size, out, err);
	msgpack_sbuffer_destroy(&buf);
	return code;
}

/* A job with a command and these volumes. */
static enum cleat_code read_job(const char *const *job, const char *const *const *volumes,
				struct driver_job_config *out, struct cleat_error *err)
{
	msgpack_sbuffer buf;
	msgpack_packer p;
	size_t n = 0;

	msgpack_sbuffer_init(&buf);
	msgpack_packer_init(&p, &buf, msgpack_sbuffer_write);
	msgpack_pack_map(&p, 3);
	msgpack_pack_str_with_body(&p, "command", 7);
	pack_value(&p, "/bin/true");
	msgpack_pack_str_with_body(&p, job[0], strlen(job[0]));
	pack_value(&p, job[1]);
	msgpack_pack_str_with_body(&p, "volume", 6);
	while (volumes[n])
		n++;
	msgpack_pack_array(&p, n);
	for (size_t i = 0; i < n; i++)
		pack_pairs(&p, volumes[i]);
	enum cleat_code code = driver_job_read((uint8_t *)buf.data, buf.size, out, err);
	msgpack_sbuffer_destroy(&buf);
	return code;
}

static const char *const plain[] = { "hostname", "h" };

static void test_settings__have_defaults(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct driver_settings s;

	(void)state;
	assert_int_equal(driver_settings_read(NULL, 0, &s, &err), CLEAT_OK);
	assert_string_equal(s.socket, "/run/cleat/cleat.sock");
	assert_true(s.volumes);
	assert_false(s.allow_unconfined);
	assert_false(s.dynamic_users);
	assert_string_equal(s.crun, "crun");
	assert_non_null(s.allow_caps[0]);
	assert_null(s.default_pool);
	driver_settings_done(&s);
}

static void test_settings__refuse_by_name(void **state)
{
	static const struct {
		const char *pairs[3];
		const char *words;
	} bad[] = {
		{ { "socket", "run/x", NULL }, "config: socket: 'run/x' is no absolute path" },
		{ { "state_dir", "", NULL }, "state_dir: '' is no absolute path" },
		{ { "allow_rootfs", "@here", NULL }, "allow_rootfs: 'here'" },
		{ { "allow_caps", "@fly", NULL }, "allow_caps: 'fly' is no capability" },
		{ { "log_level", "loud", NULL }, "log_level: 'loud'" },
		{ { "pids_limit", "-1", NULL }, "pids_limit: '-1' is not between" },
		{ { "helper", "x", NULL }, "helper: 'x'" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		struct driver_settings s;

		assert_int_equal(read_settings(bad[i].pairs, &s, &err), CLEAT_INVALID_ARGUMENT);
		if (!strstr(err.msg, bad[i].words))
			fail_msg("'%s' does not say '%s'", err.msg, bad[i].words);
	}
}

static void test_job__volumes_are_read(void **state)
{
	static const char *const one[] = { "name",   "pg",    "destination", "/var/lib/pg",
					   "size",   "10GiB", "lifetime",    "allocation",
					   "create", "#t",    "access_mode", "single-node-multi-writer",
					   NULL };
	static const char *const two[] = { "name", "x", "destination", "/x", NULL };
	static const char *const *const volumes[] = { one, two, NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct driver_job_config c;

	(void)state;
	assert_int_equal(read_job(plain, volumes, &c, &err), CLEAT_OK);
	assert_int_equal(c.volumes.count, 2);
	const struct driver_volume_config *v = driver_job_volume(&c, 0);
	assert_true(v->size_bytes == UINT64_C(10) << 30);
	assert_int_equal(v->mode, CLEAT_MODE_SINGLE_NODE_MULTI_WRITER);
	assert_true(v->with_allocation && v->create);
	v = driver_job_volume(&c, 1);
	assert_int_equal(v->mode, CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER);
	assert_false(v->with_allocation || v->create || v->read_only);
	assert_int_equal(c.pids_limit, -1);
	assert_true(c.no_new_privileges);
	driver_job_done(&c);
}

static void volume_refused(const char *const *volume, const char *words)
{
	static const char *const other[] = { "name", "other", "destination", "/taken", NULL };
	const char *const *const volumes[] = { other, volume, NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct driver_job_config c;

	assert_int_equal(read_job(plain, volumes, &c, &err), CLEAT_INVALID_ARGUMENT);
	if (!strstr(err.msg, words))
		fail_msg("'%s' does not say '%s'", err.msg, words);
}

static void test_job__volumes_are_refused_by_name(void **state)
{
	char most[130], most_of_alloc[94];

	(void)state;
	memset(most, 'v', sizeof(most));
	most[129] = '\0';
	memset(most_of_alloc, 'v', sizeof(most_of_alloc));
	most_of_alloc[92] = '\0';
#define VOLUME(...) (const char *const[]){ __VA_ARGS__, NULL }
	volume_refused(VOLUME("name", "a", "destination", "data"),
		       "volume 2 ('a'): destination: 'data' is no absolute path");
	volume_refused(VOLUME("name", "a", "destination", "/a/.."), "must not contain '..'");
	volume_refused(VOLUME("name", "a", "destination", "/"), "is the root");
	volume_refused(VOLUME("name", "a", "destination", "//taken/"), "is taken by volume 1");
	volume_refused(VOLUME("name", "a", "destination", "/d", "size", "-1"), "size: '-1' is no size");
	volume_refused(VOLUME("name", "a", "destination", "/d", "size", "0"), "size: '0' is nothing");
	volume_refused(VOLUME("name", "a/b", "destination", "/d"), "must not contain '/'");
	volume_refused(VOLUME("name", "", "destination", "/d"), "name: '' is not 1 to 128 bytes long");
	volume_refused(VOLUME("name", most, "destination", "/d"), "is not 1 to 128 bytes long");
	volume_refused(VOLUME("name", most_of_alloc, "destination", "/d", "lifetime", "allocation"),
		       "is not 1 to 91 bytes long");
	volume_refused(VOLUME("name", "a", "destination", "/d", "pool", "a/b"), "pool: 'a/b'");
	volume_refused(VOLUME("name", "a", "destination", "/d", "access_mode", "rw"), "access_mode: 'rw'");
	volume_refused(VOLUME("name", "a", "destination", "/d", "lifetime", "ever"), "lifetime: 'ever'");
	volume_refused(VOLUME("name", "a"), "volume 2: destination: is needed");
#undef VOLUME
}

static void test_job__rest_is_refused_by_name(void **state)
{
	static const char *const *const none[] = { NULL };
	static const struct {
		const char *pair[2];
		const char *words;
	} bad[] = {
		{ { "rootfs", "here" }, "rootfs: 'here' is no absolute path" },
		{ { "work_dir", "/a/../b" }, "work_dir: '/a/../b' must not contain" },
		{ { "seccomp", "off" }, "seccomp: 'off'" },
		{ { "cap_add", "@fly" }, "cap_add: 'fly' is no capability" },
		{ { "cap_drop", "@fly" }, "cap_drop: 'fly' is no capability" },
		{ { "hostname", "" }, "hostname: ''" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		struct driver_job_config c;

		assert_int_equal(read_job(bad[i].pair, none, &c, &err), CLEAT_INVALID_ARGUMENT);
		if (!strstr(err.msg, bad[i].words))
			fail_msg("'%s' does not say '%s'", err.msg, bad[i].words);
	}
}

/* ---- capabilities and signals ---- */

static bool chosen(char *const *allow, char *const *add, char *const *drop, const char *cap)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char **list = NULL;
	bool has = false;

	assert_int_equal(driver_caps_choose(allow, add, drop, &list, &err), CLEAT_OK);
	for (char **p = list; *p; p++)
		has |= strcmp(*p, cap) == 0;
	driver_caps_free(list);
	return has;
}

static void test_caps__are_chosen(void **state)
{
	char all_word[] = "all", raw_word[] = "CAP_NET_RAW", chown_word[] = "chown";
	char *all[] = { all_word, NULL }, *raw[] = { raw_word, NULL }, *only_chown[] = { chown_word, NULL };
	char **safe = driver_caps_default(), **list = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	assert_true(chosen(safe, NULL, NULL, "CAP_CHOWN"));
	assert_false(chosen(safe, NULL, NULL, "CAP_NET_RAW"));
	assert_false(chosen(safe, NULL, NULL, "CAP_SYS_ADMIN"));
	assert_false(chosen(safe, NULL, all, "CAP_CHOWN"));
	assert_false(chosen(safe, NULL, only_chown, "CAP_CHOWN"));
	assert_true(chosen(safe, only_chown, all, "CAP_CHOWN"));
	assert_false(chosen(safe, only_chown, all, "CAP_KILL"));
	assert_true(chosen(all, raw, NULL, "CAP_NET_RAW"));
	assert_false(chosen(only_chown, NULL, NULL, "CAP_KILL"));
	assert_int_equal(driver_caps_choose(safe, raw, NULL, &list, &err), CLEAT_PERMISSION_DENIED);
	assert_non_null(strstr(err.msg, "'CAP_NET_RAW'"));
	driver_caps_free(safe);
}

static void test_signals__have_names(void **state)
{
	(void)state;
	assert_int_equal(driver_signal_number("SIGHUP"), SIGHUP);
	assert_int_equal(driver_signal_number("hup"), SIGHUP);
	assert_int_equal(driver_signal_number("SIGKILL"), SIGKILL);
	assert_int_equal(driver_signal_number("9"), SIGKILL);
	assert_int_equal(driver_signal_number("SIGIOT"), SIGABRT);
	assert_int_equal(driver_signal_number("SIGRTMIN"), SIGRTMIN);
	assert_int_equal(driver_signal_number("SIGRTMIN+3"), SIGRTMIN + 3);
	static const char *const none[] = { "",	    "0",	 "SIG",		"SIGNONE", "-1",
					    "1000", "SIGRTMIN+", "SIGRTMIN+99", "9x" };
	for (size_t i = 0; i < CLEAT_COUNT(none); i++)
		assert_int_equal(driver_signal_number(none[i]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schema__of_the_job),
		cmocka_unit_test(test_schema__of_the_plugin_needs_nothing),
		cmocka_unit_test(test_schema__without_memory_is_none),
		cmocka_unit_test(test_settings__have_defaults),
		cmocka_unit_test(test_settings__refuse_by_name),
		cmocka_unit_test(test_job__volumes_are_read),
		cmocka_unit_test(test_job__volumes_are_refused_by_name),
		cmocka_unit_test(test_job__rest_is_refused_by_name),
		cmocka_unit_test(test_caps__are_chosen),
		cmocka_unit_test(test_signals__have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
