/* cli_parse_test.c - command lines, words, exit codes and texts made safe for a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/verbs.h"

#include <string.h>

#define LINE(...)                                                                                            \
	(char *[])                                                                                           \
	{                                                                                                    \
		text("verb"), __VA_ARGS__, NULL                                                              \
	}

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static struct cli cli;
static struct cleat_error err;

static int set_up(void **state)
{
	(void)state;
	memset(&cli, 0, sizeof(cli));
	err = (struct cleat_error)CLEAT_ERROR_INIT;
	cleat_pb_arena_init(&cli.scratch, (size_t)1 << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	cli_values_done(&cli.v);
	cleat_pb_arena_reset(&cli.scratch);
	return 0;
}

static enum cleat_code parse(const struct cli_verb *verb, char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	return cli_parse_verb(&cli, verb, argc, argv, &err);
}

static void refused(const struct cli_verb *verb, char **argv, const char *why)
{
	set_up(NULL);
	assert_int_equal(parse(verb, argv), CLEAT_INVALID_ARGUMENT);
	if (!strstr(err.msg, why)) {
		print_error("'%s' does not say '%s'\n", err.msg, why);
		fail();
	}
	tear_down(NULL);
}

static void test_parse__options_land_where_they_belong(void **state)
{
	(void)state;
	assert_int_equal(parse(&cli_volume_create,
			       LINE(text("fast/db"), text("--size"), text("1.5GiB"), text("--limit=2GiB"),
				    text("--fs"), text("xfs"), text("--param"), text("xfs.a=b=c"),
				    text("--label=team=search"), text("--uid=5"), text("--thick"),
				    text("--access=block"), text("-q"), text("--timeout"), text("2m"))),
			 CLEAT_OK);
	assert_string_equal(cli.v.arg[0], "fast/db");
	assert_int_equal(cli.v.size_bytes, 1536ull << 20);
	assert_int_equal(cli.v.limit_bytes, 2ull << 30);
	assert_string_equal(cleat_kv_get(&cli.v.params, "fs"), "xfs");
	assert_string_equal(cleat_kv_get(&cli.v.params, "xfs.a"), "b=c");
	assert_string_equal(cleat_kv_get(&cli.v.params, "uid"), "5");
	assert_string_equal(cleat_kv_get(&cli.v.params, "thick"), "true");
	assert_string_equal(cleat_kv_get(&cli.v.labels, "team"), "search");
	assert_int_equal(cli.v.access, CLEAT__V1__ACCESS_TYPE__ACCESS_TYPE_BLOCK);
	assert_true(cli.v.quiet);
	assert_int_equal(cli.v.timeout_ms, 120000);
}

static void test_parse__options_and_arguments_may_mix(void **state)
{
	(void)state;
	assert_int_equal(parse(&cli_volume_publish, LINE(text("db"), text("--read-only"), text("/srv/db"),
							 text("--option"), text("noatime"), text("--"))),
			 CLEAT_OK);
	assert_int_equal(cli.v.arg_count, 2);
	assert_string_equal(cli.v.arg[1], "/srv/db");
	assert_true(cli.v.read_only);
	assert_string_equal(cleat_kv_get(&cli.v.mount_options, "noatime"), "");
}

static void test_parse__a_double_dash_ends_options(void **state)
{
	(void)state;
	assert_int_equal(parse(&cli_volume_show, LINE(text("--"), text("-odd"))), CLEAT_OK);
	assert_string_equal(cli.v.arg[0], "-odd");
}

static void test_parse__what_is_wrong_is_named(void **state)
{
	(void)state;
	refused(&cli_volume_create, LINE(text("a"), text("--nonsense")), "'--nonsense'");
	refused(&cli_volume_create, LINE(text("a"), text("-z")), "'-z'");
	refused(&cli_volume_create, LINE(text("a"), text("-qz")), "'-qz'");
	refused(&cli_volume_create, LINE(text("a"), text("--size")), "'--size' needs a value");
	refused(&cli_volume_create, LINE(text("a"), text("--thick=1")), "'--thick' takes no value");
	refused(&cli_volume_create, LINE(text("a"), text("--l")), "ambiguous");
	refused(&cli_volume_create, LINE(text("a"), text("--size=-1")), "--size");
	refused(&cli_volume_create, LINE(text("a"), text("--size=9999999999999999999999")), "--size");
	refused(&cli_volume_create, LINE(text("a"), text("--label=x")), "KEY=VALUE");
	refused(&cli_volume_create, LINE(text("a"), text("--label==x")), "KEY=VALUE");
	refused(&cli_volume_create, LINE(text("a"), text("--access=file")), "mount, block");
	refused(&cli_volume_create, LINE(text("a"), text("b")), "'b'");
	refused(&cli_volume_create, LINE(text("--thick")), "NAME");
	refused(&cli_volume_clone, LINE(text("a")), "SOURCE");
	refused(&cli_volume_publish, LINE(text("a"), text("--pid=-3")), "--pid");
	refused(&cli_volume_publish, LINE(text("a"), text("--pid=3x")), "--pid");
	refused(&cli_volume_publish, LINE(text("a"), text("--size=1GiB")),
		"'--size=1GiB'"); /* another verb's */
}

static void test_parse__common_options_stop_at_the_first_word(void **state)
{
	char *argv[] = { text("cleat"), text("--socket"), text("/x"), text("volume"),
			 text("list"),	text("--pool=p"), NULL };
	int next = 0;

	(void)state;
	assert_int_equal(cli_parse_common(&cli, 6, argv, &next, &err), CLEAT_OK);
	assert_int_equal(next, 3);
	assert_string_equal(cli.v.socket, "/x");
	assert_null(cli.v.pool);
}

static void test_parse__help_needs_no_arguments(void **state)
{
	(void)state;
	assert_int_equal(parse(&cli_volume_clone, LINE(text("--help"))), CLEAT_OK);
	assert_true(cli.v.help);
}

static void test_parse__group_takes_32_volumes_not_33(void **state)
{
	char *argv[36] = { text("create"), text("--group=g") };

	(void)state;
	for (unsigned i = 0; i < 33; i++)
		argv[2 + i] = text("v");
	argv[34] = NULL;
	assert_int_equal(parse(&cli_snapshot_create, argv), CLEAT_OK);
	argv[34] = text("v");
	refused(&cli_snapshot_create, argv, "too many");
}

static void test_verbs__each_can_be_found_and_its_options_exist(void **state)
{
	(void)state;
	for (unsigned i = 0; cli_verbs[i]; i++) {
		const struct cli_verb *v = cli_verbs[i];
		unsigned n = 0;
		assert_ptr_equal(cli_verb_find(v->noun, v->name), v);
		assert_true(v->max_args <= CLI_ARGS_MAX && v->min_args <= v->max_args);
		assert_true(v->max_args == 0 || v->args);
		for (const struct cli_use *u = v->options; u && u->opt != CLI_OPT_END; u++, n++)
			assert_non_null(cli_option_find(u->opt));
		assert_true(n <= CLI_OPTIONS_MAX);
	}
}

static void test_place__pool_and_name(void **state)
{
	char *pool, *name;

	(void)state;
	assert_int_equal(cli_place(&cli, text("db"), &pool, &name, &err), CLEAT_OK);
	assert_string_equal(pool, "");
	assert_string_equal(name, "db");
	assert_int_equal(cli_place(&cli, text("fast/db"), &pool, &name, &err), CLEAT_OK);
	assert_string_equal(pool, "fast");
	assert_string_equal(name, "db");
	cli.v.pool = text("slow");
	assert_int_equal(cli_place(&cli, text("db"), &pool, &name, &err), CLEAT_OK);
	assert_string_equal(pool, "slow");
	assert_int_equal(cli_place(&cli, text("fast/db"), &pool, &name, &err), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(cli_place(&cli, text("/db"), &pool, &name, &err), CLEAT_INVALID_ARGUMENT);
}

static void test_map__pairs_become_entries(void **state)
{
	Cleat__V1__CreateVolumeRequest req = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;

	(void)state;
	assert_int_equal(cleat_kv_set(&cli.v.labels, "b", "2", &err), CLEAT_OK);
	assert_int_equal(cleat_kv_set(&cli.v.labels, "a", "1", &err), CLEAT_OK);
	req.labels = cli_map(&cli, &cli.v.labels, &cleat__v1__create_volume_request__labels_entry__descriptor,
			     &req.n_labels);
	assert_int_equal(req.n_labels, 2);
	assert_string_equal(req.labels[0]->key, "a");
	assert_string_equal(req.labels[1]->value, "2");
	assert_true(protobuf_c_message_check(&req.base));
}

static void test_words__there_and_back(void **state)
{
	const ProtobufCEnumDescriptor *d = &cleat__v1__access_mode__descriptor;
	char word[CLI_WORD_BYTES];
	int number = 0;

	(void)state;
	for (unsigned i = 0; i < d->n_values; i++) {
		cli_word(d, d->values[i].value, word);
		if (d->values[i].value == 0)
			assert_string_equal(word, "unspecified");
		else
			assert_int_equal(cli_word_parse(d, word, &number, &err), CLEAT_OK);
		assert_int_equal(number, d->values[i].value);
	}
	assert_string_equal(cli_word(d, 77, word), "77");
	assert_int_equal(cli_word_parse(d, "unspecified", &number, &err), CLEAT_INVALID_ARGUMENT);
}

static void test_duration__units_and_limits(void **state)
{
	int64_t ms = 0;

	(void)state;
	assert_int_equal(cli_duration_parse("30", &ms, &err), CLEAT_OK);
	assert_int_equal(ms, 30000);
	assert_int_equal(cli_duration_parse("500ms", &ms, &err), CLEAT_OK);
	assert_int_equal(ms, 500);
	assert_int_equal(cli_duration_parse("24h", &ms, &err), CLEAT_OK);
	assert_int_equal(ms, 86400000);
	static const char *const bad[] = { "",	  "0", "-1", "25h", "5 m", "m", "1d", "99999999999999999999",
					   "1.5s" };
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++)
		assert_int_equal(cli_duration_parse(bad[i], &ms, &err), CLEAT_INVALID_ARGUMENT);
}

static void test_exit__codes_mean_something(void **state)
{
	(void)state;
	assert_int_equal(cli_exit_of(CLEAT_OK), 0);
	assert_int_equal(cli_exit_of(CLEAT_INTERNAL), 1);
	assert_int_equal(cli_exit_of(CLEAT_INVALID_ARGUMENT), 2);
	assert_int_equal(cli_exit_of(CLEAT_NOT_FOUND), 3);
	assert_int_equal(cli_exit_of(CLEAT_FAILED_PRECONDITION), 4);
	assert_int_equal(cli_exit_of(CLEAT_ALREADY_EXISTS), 5);
	assert_int_equal(cli_exit_of(CLEAT_ABORTED), 7);
	assert_int_equal(cli_exit_of(CLEAT_DEADLINE_EXCEEDED), 7);
	assert_int_equal(cli_exit_of(CLEAT_RESOURCE_EXHAUSTED), 8);
}

static void test_explain__a_dead_socket_is_told_from_a_pool_that_is_offline(void **state)
{
	(void)state;
	cli.v.socket = text("/nonexistent/cleat.sock");
	cleat_error_set(&err, CLEAT_UNAVAILABLE, "subchannel words");
	assert_int_equal(cli_explain(&cli, &err), CLEAT_UNAVAILABLE);
	assert_true(cli.unreachable);
	assert_non_null(strstr(err.msg, "/nonexistent/cleat.sock"));
	assert_null(strstr(err.msg, "subchannel"));
}

static void test_safe__control_characters_cannot_reach_the_terminal(void **state)
{
	char buf[CLI_SAFE_BYTES], longer[3 * CLI_SAFE_BYTES];

	(void)state;
	assert_string_equal(cli_safe("plain \xc3\xa4", buf), "plain \xc3\xa4");
	assert_string_equal(cli_safe("a\x1b[31mb\n", buf), "a\\x1b[31mb\\x0a");
	memset(longer, '\n', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_true(strlen(cli_safe(longer, buf)) < CLI_SAFE_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_parse__options_land_where_they_belong, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_parse__options_and_arguments_may_mix, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_parse__a_double_dash_ends_options, set_up, tear_down),
		cmocka_unit_test(test_parse__what_is_wrong_is_named),
		cmocka_unit_test_setup_teardown(test_parse__common_options_stop_at_the_first_word, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_parse__help_needs_no_arguments, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_parse__group_takes_32_volumes_not_33, set_up, tear_down),
		cmocka_unit_test(test_verbs__each_can_be_found_and_its_options_exist),
		cmocka_unit_test_setup_teardown(test_place__pool_and_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_map__pairs_become_entries, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_words__there_and_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_duration__units_and_limits, set_up, tear_down),
		cmocka_unit_test(test_exit__codes_mean_something),
		cmocka_unit_test_setup_teardown(
			test_explain__a_dead_socket_is_told_from_a_pool_that_is_offline, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_safe__control_characters_cannot_reach_the_terminal,
						set_up, tear_down),
	};

	return cmocka_run_group_tests_name("cli_parse", tests, NULL, NULL);
}
