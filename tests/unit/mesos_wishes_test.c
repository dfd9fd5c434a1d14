/* mesos_wishes_test.c - from a container's environment and volumes to the command lines of cleat-mesos and
 * cleat-mesos-enter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/plan.h"
#include "module/request.h"

#include "util/mem.h"

#include <stdio.h>
#include <string.h>

static struct cleat_mesos_request *r;
static struct mesos_wishes w;
static struct cleat_error err;

static struct cleat_mesos_text text(const char *from)
{
	return (struct cleat_mesos_text){ from, strlen(from) };
}

static int setup(void **state)
{
	(void)state;
	r = cleat_mesos_request_new();
	cleat_mesos_request_id(r, text("c1"));
	cleat_mesos_request_sandbox(r, text("/var/lib/mesos/box"));
	err = (struct cleat_error)CLEAT_ERROR_INIT;
	return r ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	mesos_wishes_done(&w);
	cleat_mesos_request_free(r);
	return 0;
}

static void set(const char *name, const char *value)
{
	cleat_mesos_request_variable(r, text(name), text(value));
}

static void reads(size_t count)
{
	if (mesos_wishes_read(r, &w, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(w.count, count);
}

/* It is refused, and the text says `part`. */
static void refused(const char *part)
{
	assert_int_equal(mesos_wishes_read(r, &w, &err), CLEAT_INVALID_ARGUMENT);
	if (!strstr(err.msg, part))
		fail_msg("'%s' does not say '%s'", err.msg, part);
	mesos_wishes_done(&w);
	err = (struct cleat_error)CLEAT_ERROR_INIT;
}

static const struct mesos_settings settings = {
	.helper = (char *)(uintptr_t) "/h",
	.enter = (char *)(uintptr_t) "/e",
	.socket = (char *)(uintptr_t) "/s",
	.root = (char *)(uintptr_t) "/r",
	.scope = (char *)(uintptr_t) "",
	.sandbox_directory = (char *)(uintptr_t) "/mnt/mesos/sandbox",
	.timeout_s = 9,
};

static void publishes(const char *line)
{
	struct mesos_args args = { 0 };
	cleat_autofree char *joined = NULL;

	mesos_plan_publish(&args, &settings, r, &w, "c1");
	assert_int_equal(mesos_args_join(&args, &joined, &err), CLEAT_OK);
	mesos_args_done(&args);
	assert_string_equal(joined, line);
}

static void enters(const char *line)
{
	struct mesos_args args = { 0 };
	cleat_autofree char *joined = NULL;
	char *paths[] = { (char *)(uintptr_t) "/r/c1/0", (char *)(uintptr_t) "/r/c1/1" };

	mesos_plan_enter(&args, &settings, r, &w, paths, 4, 5);
	assert_int_equal(mesos_args_join(&args, &joined, &err), CLEAT_OK);
	mesos_args_done(&args);
	assert_string_equal(joined, line);
}

/* ---- dvdi's words ---- */

static void test_wishes__dvdi_volume_has_dvdis_defaults(void **state)
{
	(void)state;
	set("DVDI_VOLUME_NAME", "db");
	reads(1);
	publishes("/h --socket /s --root /r --timeout 9 publish c1 --owner mesos container c1 --volume db "
		  "--driver rexray --host");
	assert_false(mesos_plan_enters(&w));
}

static void test_wishes__dvdi_volume_with_all_words(void **state)
{
	(void)state;
	set("DVDI_VOLUME_NAME3", "db");
	set("DVDI_VOLUME_DRIVER3", "platform");
	set("DVDI_VOLUME_OPTS3", "size=5,iops=150,,volumetype=io1");
	set("DVDI_VOLUME_CONTAINERPATH3", "/data");
	set("DVDI_VOLUME_EXPLICITCREATE3", "true");
	reads(1);
	publishes("/h --socket /s --root /r --timeout 9 publish c1 --owner mesos container c1 --volume db "
		  "--driver platform "
		  "--opt size=5 --opt iops=150 --opt volumetype=io1 --no-create --require /data");
	enters("/e --not-ns 4:5 rw,own /r/c1/0 host / /data");
}

static void test_wishes__dvdi_knows_ten_slots_of_which_zero_is_the_bare_word(void **state)
{
	char name[32];

	(void)state;
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "DVDI_VOLUME_NAME%d", i);
		set(name, name + 5);
	}
	set("DVDI_VOLUME_OPTS", "a=b"); /* of slot 0, as its name is */
	reads(10);
	assert_string_equal(w.items[0].name, "VOLUME_NAME0");
	assert_int_equal(w.items[0].opt_count, 1);
	assert_int_equal(w.items[1].opt_count, 0);
}

static void test_wishes__dvdi_slot_without_name_is_unused(void **state)
{
	(void)state;
	set("DVDI_VOLUME_DRIVER", "x;y");
	set("DVDI_VOLUME_NAME1", "");
	set("DVDI_VOLUME_OTHER", "is nobody's");
	set("DVDI_VOLUMES", "neither");
	reads(0);
}

static void test_wishes__dvdi_words_go_on_with_one_digit_at_most(void **state)
{
	static const char *const bad[] = { "DVDI_VOLUME_NAMES", "DVDI_VOLUME_NAME10", "DVDI_VOLUME_OPTS_",
					   "DVDI_VOLUME_DVDCLI22" };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		set(bad[i], "x");
		refused(bad[i]);
		teardown(NULL);
		setup(NULL);
	}
}

static void test_wishes__dvdi_never_lets_a_task_choose_a_program(void **state)
{
	(void)state;
	set("DVDI_VOLUME_NAME", "db");
	set("DVDI_VOLUME_DVDCLI", "/tmp/evil");
	reads(1);
	publishes("/h --socket /s --root /r --timeout 9 publish c1 --owner mesos container c1 --volume db "
		  "--driver rexray --host");
}

static void test_wishes__names_have_no_character_of_dvdis_list(void **state)
{
	(void)state;
	for (const char *c = "%/:;<>|\\`$'?^& {\"}[]\n\t\v\b\r"; *c; c++) {
		const char name[] = { 'a', *c, 'b', '\0' };

		set("DVDI_VOLUME_NAME", name);
		refused("not allowed");
		teardown(NULL);
		setup(NULL);
	}
	set("DVDI_VOLUME_NAME", "a");
	set("DVDI_VOLUME_OPTS", "x=`id`");
	refused("not allowed");
}

static void test_wishes__nul_is_refused(void **state)
{
	char key[CLEAT_MESOS_KEY_MAX_BYTES + 1];

	(void)state;
	cleat_mesos_request_variable(r, text("DVDI_VOLUME_NAME"), (struct cleat_mesos_text){ "a\0b", 3 });
	assert_int_equal(mesos_key(r, key, &err), CLEAT_INVALID_ARGUMENT);
	assert_non_null(strstr(err.msg, "NUL"));
}

static void test_wishes__dvdi_twice_the_same_is_one_unless_it_has_a_path(void **state)
{
	(void)state;
	set("DVDI_VOLUME_NAME", "Vol");
	set("DVDI_VOLUME_NAME1", "vol");
	set("DVDI_VOLUME_NAME2", "vol");
	set("DVDI_VOLUME_DRIVER2", "other");
	reads(2);
	mesos_wishes_done(&w);
	set("DVDI_VOLUME_CONTAINERPATH1", "/data");
	refused("asked for twice");
}

/* ---- our own words ---- */

static void test_wishes__cleat_volume_with_all_words(void **state)
{
	(void)state;
	cleat_mesos_request_user(r, text("app"));
	set("CLEAT_VOLUME_NAME", "db");
	set("CLEAT_VOLUME_POOL", "fast");
	set("CLEAT_VOLUME_SIZE", "10GiB");
	set("CLEAT_VOLUME_FS", "xfs");
	set("CLEAT_VOLUME_MODE", "ro");
	set("CLEAT_VOLUME_OPTS", "thick=true");
	set("CLEAT_VOLUME_CONTAINERPATH", "a/b");
	reads(1);
	publishes("/h --socket /s --root /r --timeout 9 publish c1 --owner mesos container c1 --volume db "
		  "--pool fast --size 10GiB "
		  "--fs xfs --mode ro --opt thick=true --user app");
	enters("/e --not-ns 4:5 --user app ro /r/c1/0 sandbox /var/lib/mesos/box a/b");
}

static void test_wishes__cleat_words_are_all_known(void **state)
{
	static const char *const bad[] = { "CLEAT_VOLUME_PATH", "CLEAT_VOLUME_DRIVER", "CLEAT_VOLUME_DVDCLI",
					   "CLEAT_VOLUME_NAME_", "CLEAT_VOLUME_" };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		set(bad[i], "x");
		refused(bad[i]);
		teardown(NULL);
		setup(NULL);
	}
}

static void test_wishes__two_volumes_have_two_paths(void **state)
{
	(void)state;
	set("CLEAT_VOLUME_NAME", "a");
	set("CLEAT_VOLUME_CONTAINERPATH", "d");
	set("CLEAT_VOLUME_NAME1", "b");
	set("CLEAT_VOLUME_CONTAINERPATH1", "d");
	refused("same container path");
}

static void test_wishes__paths_that_climb_are_refused(void **state)
{
	static const char *const bad[] = { "..", "a/../b", "/..", ".", "/", "//", "a\nb" };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		set("CLEAT_VOLUME_NAME", "a");
		set("CLEAT_VOLUME_CONTAINERPATH", bad[i]);
		refused("not allowed");
		teardown(NULL);
		setup(NULL);
	}
	set("CLEAT_VOLUME_NAME", "a");
	set("CLEAT_VOLUME_CONTAINERPATH", "a..b/.c/..d");
	reads(1);
}

static void test_wishes__dvdi_paths_are_absolute(void **state)
{
	(void)state;
	set("DVDI_VOLUME_NAME", "a");
	set("DVDI_VOLUME_CONTAINERPATH", "data");
	refused("begin with '/'");
}

static void test_wishes__too_many_volumes_are_refused(void **state)
{
	char name[32];

	(void)state;
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "DVDI_VOLUME_NAME%d", i);
		set(name, name);
		snprintf(name, sizeof(name), "CLEAT_VOLUME_NAME%d", i);
		set(name, name);
	}
	for (int i = 0; i < 13; i++) {
		snprintf(name, sizeof(name), "v%d", i);
		cleat_mesos_request_volume(r, text("cleat"), text(name), text(name), false);
	}
	refused("more than 32");
}

/* ---- ContainerInfo ---- */

static void test_wishes__docker_volume_of_ours(void **state)
{
	(void)state;
	cleat_mesos_request_rootfs(r, text("/img"));
	cleat_mesos_request_volume(r, text("rexray"), text("x"), text("x"), false);
	cleat_mesos_request_option(r, text("size"), text("other"));
	cleat_mesos_request_volume(r, text("cleat"), text("v"), text("/srv/it's here"), true);
	cleat_mesos_request_option(r, text("pool"), text("p"));
	cleat_mesos_request_option(r, text("size"), text("1G"));
	cleat_mesos_request_option(r, text("thick"), text("true"));
	reads(1);
	publishes("/h --socket /s --root /r --timeout 9 publish c1 --owner mesos container c1 --volume v "
		  "--pool p --size 1G --mode ro "
		  "--opt thick=true");
	/* Nothing in it means anything to a shell. */
	enters("/e --not-ns 4:5 --rootfs /img --sandbox-at /mnt/mesos/sandbox ro /r/c1/0 rootfs /img "
	       "/srv/it%27s%20here");
}

static void test_wishes__image_needs_a_path(void **state)
{
	(void)state;
	cleat_mesos_request_rootfs(r, text("/img"));
	set("DVDI_VOLUME_NAME", "a");
	refused("needs a container path");
}

static void test_wishes__hidden_image_takes_no_path(void **state)
{
	(void)state;
	cleat_mesos_request_hidden_rootfs(r);
	set("DVDI_VOLUME_NAME", "a");
	set("DVDI_VOLUME_CONTAINERPATH", "/data");
	refused("does not tell a module");
}

/* ---- keys and nested containers ---- */

static void test_key__is_the_whole_chain(void **state)
{
	char key[CLEAT_MESOS_KEY_MAX_BYTES + 1];

	(void)state;
	cleat_mesos_request_id(r, text("in.ner/x"));
	assert_int_equal(mesos_key(r, key, &err), CLEAT_OK);
	assert_string_equal(key, "c1.in%2Ener%2Fx");
}

static void test_key__has_its_bounds(void **state)
{
	char key[CLEAT_MESOS_KEY_MAX_BYTES + 1], id[CLEAT_MESOS_KEY_MAX_BYTES] = "";

	(void)state;
	memset(id, 'x', CLEAT_MESOS_KEY_MAX_BYTES - 3);
	cleat_mesos_request_id(r, text(id));
	assert_int_equal(mesos_key(r, key, &err), CLEAT_OK);
	assert_int_equal(strlen(key), CLEAT_MESOS_KEY_MAX_BYTES);
	cleat_mesos_request_id(r, text("y"));
	assert_int_equal(mesos_key(r, key, &err), CLEAT_INVALID_ARGUMENT);
}

static void test_plan__nested_sandbox_is_marked_where_tasks_can_write(void **state)
{
	(void)state;
	cleat_mesos_request_id(r, text("in"));
	cleat_mesos_request_id(r, text("deep"));
	cleat_mesos_request_sandbox(r, text("/var//box/containers/in/containers/deep/"));
	set("CLEAT_VOLUME_NAME", "a");
	set("CLEAT_VOLUME_CONTAINERPATH", "d");
	reads(1);
	enters("/e --not-ns 4:5 rw /r/c1/0 sandbox /var/box//containers/in/containers/deep d");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_wishes__dvdi_volume_has_dvdis_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__dvdi_volume_with_all_words, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_wishes__dvdi_knows_ten_slots_of_which_zero_is_the_bare_word, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__dvdi_slot_without_name_is_unused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_wishes__dvdi_words_go_on_with_one_digit_at_most, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_wishes__dvdi_never_lets_a_task_choose_a_program, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_wishes__names_have_no_character_of_dvdis_list, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_wishes__nul_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__dvdi_twice_the_same_is_one_unless_it_has_a_path,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__cleat_volume_with_all_words, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__cleat_words_are_all_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__two_volumes_have_two_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__paths_that_climb_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__dvdi_paths_are_absolute, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__too_many_volumes_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__docker_volume_of_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__image_needs_a_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes__hidden_image_takes_no_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key__is_the_whole_chain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key__has_its_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plan__nested_sandbox_is_marked_where_tasks_can_write,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
