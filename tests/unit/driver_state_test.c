/* driver_state_test.c - the driver's records: names, bytes, files, and when an allocation counts as gone. */
#include "driver/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "rt/pb.h"
#include "util/mem.h"

struct room {
	char dir[64];
	struct driver_state *state;
};

static int set_up(void **state)
{
	struct room *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	strcpy(r->dir, "/tmp/cleat-driver-state-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	assert_int_equal(driver_state_open(r->dir, &r->state, NULL), CLEAT_OK);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct room *r = *state;
	char command[128];

	driver_state_close(r->state);
	snprintf(command, sizeof(command), "rm -rf %s", r->dir);
	assert_int_equal(system(command), 0);
	free(r);
	return 0;
}

static char *text(const char *t)
{
	union {
		const char *from;
		char *to;
	} u = { .from = t };

	return u.to;
}

static State__Task task_named(const char *container)
{
	State__Task t = STATE__TASK__INIT;

	t.format = DRIVER_STATE_FORMAT;
	t.id = text("a/t/1");
	t.container = text(container);
	t.name = text("t");
	t.alloc_id = text("a");
	t.alloc_dir = text("/alloc");
	return t;
}

/* ---- names ---- */

static void test_name__is_readable_and_unique(void **state)
{
	char a[DRIVER_CONTAINER_BYTES], b[DRIVER_CONTAINER_BYTES];

	(void)state;
	driver_container_name("0123456789-abc/web/deadbeef", a);
	assert_int_equal(strncmp(a, "01234567-web-", 13), 0);
	driver_container_name("0123456789-abc/web/deadbee0", b);
	assert_string_not_equal(a, b);
	assert_int_equal(strncmp(a, b, strlen(a) - 16), 0); /* all starts of one task share it */
}

static void test_name__holds_whatever_comes(void **state)
{
	static const char *const ids[] = {
		"",
		"/",
		"//",
		"a",
		"../../etc",
		"a/b c\n/x",
		"\xc3\xa4/\xc3\xb6/\xc3\xbc",
		"a/very-long-name-of-a-task-that-goes-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on/x"
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(ids); i++) {
		char name[DRIVER_CONTAINER_BYTES];

		driver_container_name(ids[i], name);
		assert_true(strlen(name) >= 17);
		assert_int_equal(
			strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"),
			strlen(name));
	}
}

/* ---- bytes ---- */

static void refuse(State__Task *t, enum cleat_code expected)
{
	cleat_autofree uint8_t *bytes = NULL;
	cleat_autopb State__Task *back = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	size_t n;

	assert_int_equal(driver_state_encode(&t->base, &bytes, &n, &err), CLEAT_OK);
	assert_int_equal(driver_state_decode_task(bytes, n, &back, &err), expected);
	assert_null(back);
}

static void test_decode__refuses_what_leads_astray(void **state)
{
	State__Volume v = STATE__VOLUME__INIT, *volumes[] = { &v };
	State__Task t = task_named("c-1");

	(void)state;
	t.format = 0;
	refuse(&t, CLEAT_INVALID_ARGUMENT);
	t.format = DRIVER_STATE_FORMAT + 1;
	refuse(&t, CLEAT_FAILED_PRECONDITION);
	t = task_named("../x");
	refuse(&t, CLEAT_INVALID_ARGUMENT);
	t = task_named(".hidden");
	refuse(&t, CLEAT_INVALID_ARGUMENT);
	t = task_named("--option");
	refuse(&t, CLEAT_INVALID_ARGUMENT);
	t = task_named("c");
	t.alloc_dir = text("relative");
	refuse(&t, CLEAT_INVALID_ARGUMENT);
	t = task_named("c");
	t.n_volumes = 1;
	t.volumes = volumes;
	v.volume = text("p/n");
	v.target = text("/mounts/../../etc");
	refuse(&t, CLEAT_INVALID_ARGUMENT);
	v.target = text("");
	refuse(&t, CLEAT_INVALID_ARGUMENT);
	v.target = text("/m");
	v.volume = text("");
	refuse(&t, CLEAT_INVALID_ARGUMENT);
}

/* ---- files ---- */

static void test_task__is_there_again(void **state)
{
	struct room *r = *state;
	cleat_autopb State__Task *back = NULL;
	cleat_autofree char *target = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	State__Task t = task_named("c-1");
	State__Volume v = STATE__VOLUME__INIT, *volumes[] = { &v };
	struct stat st;

	assert_int_equal(driver_state_load_task(r->state, "c-1", &back, &err), CLEAT_NOT_FOUND);
	assert_int_equal(driver_state_make_target(r->state, "c-1", 0, &target, NULL), CLEAT_OK);
	v.volume = text("default/pg");
	v.scope = text("ns");
	v.target = target;
	t.n_volumes = 1;
	t.volumes = volumes;
	t.phase = STATE__PHASE__STARTED;
	assert_int_equal(driver_state_save_task(r->state, &t, NULL), CLEAT_OK);
	assert_int_equal(driver_state_load_task(r->state, "c-1", &back, NULL), CLEAT_OK);
	assert_string_equal(back->volumes[0]->volume, "default/pg");
	assert_string_equal(back->volumes[0]->target, target);
	assert_int_equal(back->phase, STATE__PHASE__STARTED);
	assert_int_equal(stat(target, &st), 0);
	assert_int_equal(driver_state_forget_task(r->state, &t, NULL), CLEAT_OK);
	assert_int_not_equal(stat(target, &st), 0);
	assert_int_equal(driver_state_forget_task(r->state, &t, NULL), CLEAT_OK); /* gone is fine */
}

static void test_task__with_something_at_its_target_is_not_forgotten(void **state)
{
	struct room *r = *state;
	cleat_autofree char *target = NULL;
	cleat_autopb State__Task *back = NULL;
	State__Task t = task_named("c-2");
	State__Volume v = STATE__VOLUME__INIT, *volumes[] = { &v };
	char file[256];

	assert_int_equal(driver_state_make_target(r->state, "c-2", 0, &target, NULL), CLEAT_OK);
	v.volume = text("p/n");
	v.target = target;
	t.n_volumes = 1;
	t.volumes = volumes;
	assert_int_equal(driver_state_save_task(r->state, &t, NULL), CLEAT_OK);
	snprintf(file, sizeof(file), "%s/data", target);
	FILE *f = fopen(file, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_not_equal(driver_state_forget_task(r->state, &t, NULL), CLEAT_OK);
	assert_int_equal(access(file, F_OK), 0);
	assert_int_equal(driver_state_load_task(r->state, "c-2", &back, NULL), CLEAT_OK);
}

static void test_list__is_sorted_and_without_remains(void **state)
{
	struct room *r = *state;
	char **names, path[128];
	State__Task b = task_named("b"), a = task_named("a");

	assert_int_equal(driver_state_save_task(r->state, &b, NULL), CLEAT_OK);
	assert_int_equal(driver_state_save_task(r->state, &a, NULL), CLEAT_OK);
	snprintf(path, sizeof(path), "%s/records/.c.torn", r->dir);
	FILE *f = fopen(path, "w"); /* what a killed writer leaves */
	assert_non_null(f);
	fclose(f);
	assert_int_equal(driver_state_list_tasks(r->state, &names, NULL), CLEAT_OK);
	assert_string_equal(names[0], "a");
	assert_string_equal(names[1], "b");
	assert_null(names[2]);
	driver_state_free_names(names);
}

static void test_alloc__is_there_again(void **state)
{
	struct room *r = *state;
	cleat_autopb State__Allocation *back = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	State__Allocation a = STATE__ALLOCATION__INIT;
	State__Volume v = STATE__VOLUME__INIT, *volumes[] = { &v };

	v.volume = text("p/n-a");
	v.scope = text("ns");
	a.format = DRIVER_STATE_FORMAT;
	a.id = text("a-1");
	a.dir = text("/allocs/a-1");
	a.root_inode = 7;
	a.n_volumes = 1;
	a.volumes = volumes;
	assert_int_equal(driver_state_save_alloc(r->state, &a, NULL), CLEAT_OK);
	assert_int_equal(driver_state_load_alloc(r->state, "a-1", &back, NULL), CLEAT_OK);
	assert_string_equal(back->volumes[0]->volume, "p/n-a");
	assert_true(back->root_inode == 7);
	assert_int_equal(driver_state_forget_alloc(r->state, "a-1", NULL), CLEAT_OK);
	cleat_pb_free(&back->base);
	back = NULL;
	assert_int_equal(driver_state_load_alloc(r->state, "a-1", &back, &err), CLEAT_NOT_FOUND);
}

/* ---- who cleans up, and when ---- */

static void test_lead__is_one_process(void **state)
{
	struct room *r = *state;
	struct driver_state *second;

	assert_int_equal(driver_state_open(r->dir, &second, NULL), CLEAT_OK);
	assert_true(driver_state_lead(r->state));
	assert_true(driver_state_lead(r->state));
	assert_false(driver_state_lead(second)); /* flock: another open file is another holder */
	driver_state_close(r->state);
	r->state = second;
	assert_true(driver_state_lead(second));
}

static void test_gone__needs_the_same_parent(void **state)
{
	struct room *r = *state;
	char root[128], dir[160];

	snprintf(root, sizeof(root), "%s/allocs-of-host", r->dir);
	snprintf(dir, sizeof(dir), "%s/a-1", root);
	assert_int_equal(mkdir(root, 0700), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	uint64_t inode = driver_state_root_inode(dir);
	assert_true(inode != 0);
	assert_false(driver_state_dir_is_gone(dir, inode)); /* it is there */
	assert_int_equal(rmdir(dir), 0);
	assert_true(driver_state_dir_is_gone(dir, inode));
	assert_false(driver_state_dir_is_gone(
		dir, inode + 1)); /* another parent: a file system that is not mounted */
	assert_false(driver_state_dir_is_gone(dir, 0)); /* never known */
	assert_int_equal(rmdir(root), 0);
	assert_false(driver_state_dir_is_gone(dir, inode)); /* no parent at all */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name__is_readable_and_unique),
		cmocka_unit_test(test_name__holds_whatever_comes),
		cmocka_unit_test(test_decode__refuses_what_leads_astray),
		cmocka_unit_test_setup_teardown(test_task__is_there_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_task__with_something_at_its_target_is_not_forgotten,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_list__is_sorted_and_without_remains, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_alloc__is_there_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lead__is_one_process, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gone__needs_the_same_parent, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
