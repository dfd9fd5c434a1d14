/* layers_fault_test.c - the fault layer's rules: from text, variable and file, applied as often as they say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "layers/layer.h"
#include "layers/rules.h"
#include "util/clock.h"

static int clear(void **state)
{
	(void)state;
	unsetenv("CLEAT_FAULT");
	unsetenv("CLEAT_FAULT_FILE");
	return cleat_layer_fault_set("", NULL) == CLEAT_OK && cleat_layer_fault_set(NULL, NULL) == CLEAT_OK
		       ? 0
		       : -1;
}

static enum cleat_code before(const char *slot)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_rules_before(slot, NULL, &err);

	assert_int_equal(code, err.code);
	return code;
}

static void set(const char *rules)
{
	assert_int_equal(cleat_layer_fault_set(rules, NULL), CLEAT_OK);
}

static void test_rules__an_error_comes_as_often_as_it_says(void **state)
{
	(void)state;
	set("create=error:UNAVAILABLE:2,remove=error:INTERNAL");
	assert_int_equal(before("create"), CLEAT_UNAVAILABLE);
	assert_int_equal(before("create"), CLEAT_UNAVAILABLE);
	assert_int_equal(before("create"), CLEAT_OK);
	for (int i = 0; i < 5; i++)
		assert_int_equal(before("remove"), CLEAT_INTERNAL);
	assert_int_equal(before("map"), CLEAT_OK);
}

static void test_rules__a_lost_answer_comes_after_the_work(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	set("map=late:UNAVAILABLE:1");
	assert_int_equal(before("map"), CLEAT_OK);
	assert_int_equal(cleat_rules_after("map", CLEAT_INTERNAL, &err),
			 CLEAT_INTERNAL); /* a failure stays what it is */
	assert_int_equal(cleat_rules_after("map", CLEAT_OK, &err), CLEAT_UNAVAILABLE);
	assert_int_equal(err.code, CLEAT_UNAVAILABLE);
	assert_int_equal(cleat_rules_after("map", CLEAT_OK, &err), CLEAT_OK);
}

static void test_rules__a_star_is_every_slot_of_a_volume(void **state)
{
	(void)state;
	set("*=error:ABORTED");
	assert_int_equal(before("create"), CLEAT_ABORTED);
	assert_int_equal(before("usage"), CLEAT_ABORTED);
	assert_int_equal(before("probe"), CLEAT_OK);
	assert_int_equal(before("open"), CLEAT_OK);
}

static void test_rules__a_delay_takes_its_time(void **state)
{
	const int64_t since = cleat_time_mono_ms();

	(void)state;
	set("scan=delay:30:1");
	assert_int_equal(before("scan"), CLEAT_OK);
	assert_true(cleat_time_mono_ms() - since >= 29);
}

static void test_rules__a_crash_comes_at_the_nth_call(void **state)
{
	int status = 0;

	(void)state;
	set("update=crash:3");
	pid_t pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 2; i++)
			if (before("update") != CLEAT_OK)
				_exit(1);
		(void)!before("update");
		_exit(2);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void test_rules__the_variable_counts_until_rules_are_set(void **state)
{
	(void)state;
	setenv("CLEAT_FAULT", "health=error:DATA_LOSS", 1);
	assert_int_equal(before("health"), CLEAT_DATA_LOSS);
	set("");
	assert_int_equal(before("health"), CLEAT_OK);
	set(NULL);
	assert_int_equal(before("health"), CLEAT_DATA_LOSS);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void test_rules__the_file_is_read_anew_at_each_call(void **state)
{
	char path[] = "/tmp/cleat-fault-test.XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	setenv("CLEAT_FAULT_FILE", path, 1);
	assert_int_equal(before("create"), CLEAT_OK);
	write_file(path, "create=error:INTERNAL:1\nmap=error:INTERNAL:1\n");
	assert_int_equal(before("create"), CLEAT_INTERNAL);
	assert_int_equal(before("create"), CLEAT_OK);
	write_file(path, "create=error:UNAVAILABLE:1");
	assert_int_equal(before("create"), CLEAT_UNAVAILABLE);
	assert_int_equal(before("map"), CLEAT_OK);
	unlink(path);
	assert_int_equal(before("create"), CLEAT_OK);
}

/* A test that misspells its rules must not pass because nothing goes wrong. */
static void test_rules__a_wrong_variable_fails_every_slot(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	setenv("CLEAT_FAULT", "create=explode", 1);
	assert_int_equal(cleat_rules_before("probe", NULL, &err), CLEAT_INVALID_ARGUMENT);
	assert_non_null(strstr(err.msg, "create=explode"));
	setenv("CLEAT_FAULT", "", 1);
	assert_int_equal(before("probe"), CLEAT_OK);
}

static void test_layer__keeps_empty_slots_empty(void **state)
{
	static struct cleat_backend inner;
	const struct cleat_backend *wrapped;

	(void)state;
	inner = *cleat_backend_at(0);
	inner.usage = NULL;
	inner.attach = NULL;
	wrapped = cleat_layer_find("fault", &inner);
	assert_non_null(wrapped);
	assert_ptr_equal(wrapped, cleat_layer_fault(&inner));
	assert_string_equal(wrapped->name, inner.name);
	assert_null(wrapped->usage);
	assert_null(wrapped->attach);
	assert_true(wrapped->create && wrapped->create != inner.create);
	assert_true(wrapped->open != inner.open);
	assert_null(cleat_layer_find("nothing", &inner));
}

static void test_layer__has_room_for_so_many(void **state)
{
	static struct cleat_backend inner[32];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < 32; i++) {
		inner[i] = *cleat_backend_at(0);
		n += cleat_layer_fault(&inner[i]) != NULL;
	}
	assert_true(n >= 4 && n < 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rules__an_error_comes_as_often_as_it_says, clear, clear),
		cmocka_unit_test_setup_teardown(test_rules__a_lost_answer_comes_after_the_work, clear, clear),
		cmocka_unit_test_setup_teardown(test_rules__a_star_is_every_slot_of_a_volume, clear, clear),
		cmocka_unit_test_setup_teardown(test_rules__a_delay_takes_its_time, clear, clear),
		cmocka_unit_test_setup_teardown(test_rules__a_crash_comes_at_the_nth_call, clear, clear),
		cmocka_unit_test_setup_teardown(test_rules__the_variable_counts_until_rules_are_set, clear,
						clear),
		cmocka_unit_test_setup_teardown(test_rules__the_file_is_read_anew_at_each_call, clear, clear),
		cmocka_unit_test_setup_teardown(test_rules__a_wrong_variable_fails_every_slot, clear, clear),
		cmocka_unit_test_setup_teardown(test_layer__keeps_empty_slots_empty, clear, clear),
		cmocka_unit_test_setup_teardown(test_layer__has_room_for_so_many, clear, clear),
	};

	return cmocka_run_group_tests_name("layers_fault", tests, NULL, NULL);
}
