/* rt_server_test.c - smoke. */
#include "rt_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_server__answers(void **state)
{
	struct lab lab;
	struct cleat_error err;

	(void)state;
	lab_up(&lab, NULL);
	assert_int_equal(lab_ping(lab.client, NULL, &err), CLEAT_OK);
	assert_int_equal(lab_nap(lab.client, "Nap", 20, NULL, &err), CLEAT_OK);
	assert_int_equal(lab_nap(lab.client, "Later", 20, NULL, &err), CLEAT_OK);
	lab_down(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server__answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
