/* driver_run_test.c - tasks in real containers: start, output, exit, signals, limits, removal. */
#include "run_lab.h"

#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- beginning and end ---- */

static void test_run__output_goes_to_files_and_code_comes_back(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "echo out; echo err >&2; exit 42");
	int64_t before_ms = cleat_time_wall_ms();
	struct run_exit end = run_lab_run(lab, &spec);

	assert_int_equal(end.code, 42);
	assert_int_equal(end.signal, 0);
	assert_false(end.oom_killed);
	assert_string_equal(end.message, "");
	assert_true(end.finished_ms >= before_ms - 10 && end.finished_ms <= cleat_time_wall_ms() + 10);
	assert_string_equal(run_lab_read(lab, "t1.out"), "out\n");
	assert_string_equal(run_lab_read(lab, "t1.err"), "err\n");
	assert_true(run_lab_is_clean(lab));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_run__output_goes_to_files_and_code_comes_back,
						run_lab_setup, run_lab_teardown),
	};
	int skip = run_lab_need();

	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
