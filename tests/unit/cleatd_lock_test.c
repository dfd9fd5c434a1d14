/* cleatd_lock_test.c - one daemon per state directory, told apart across processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cleatd/lock.h"
#include "util/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/cleatd-lock-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char path[160];

	(void)state;
	snprintf(path, sizeof(path), "%s/a/b/cleatd.lock", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/a/b", dir);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/a", dir);
	rmdir(path);
	return rmdir(dir);
}

/* The code another process gets; its error text in text. */
static enum cleat_code lock_elsewhere(const char *state_dir, char text[CLEAT_ERROR_TEXT_BYTES])
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	int ends[2], status = 0;

	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = -1;

		enum cleat_code code = cleatd_lock(state_dir, "/other.sock", &fd, &err);
		if (write(ends[1], err.msg, sizeof(err.msg)) < 0)
			_exit(99);
		_exit((int)code);
	}
	close(ends[1]);
	memset(text, 0, CLEAT_ERROR_TEXT_BYTES);
	assert_true(read(ends[0], text, CLEAT_ERROR_TEXT_BYTES) >= 0);
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return (enum cleat_code)WEXITSTATUS(status);
}

static void test_lock__second_is_refused_and_told_who_holds_it(void **state)
{
	char state_dir[96], text[CLEAT_ERROR_TEXT_BYTES], wanted[256];
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct stat st;
	int fd = -1;

	(void)state;
	snprintf(state_dir, sizeof(state_dir), "%s/a/b", dir);
	assert_int_equal(cleatd_lock(state_dir, "/run/x.sock", &fd, &err), CLEAT_OK);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(stat(state_dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(lock_elsewhere(state_dir, text), CLEAT_FAILED_PRECONDITION);
	snprintf(wanted, sizeof(wanted),
		 "state directory '%s' is served by another cleatd: process %d, socket /run/x.sock",
		 state_dir, (int)getpid());
	assert_string_equal(text, wanted);
	close(fd);
	assert_int_equal(lock_elsewhere(state_dir, text), CLEAT_OK);
}

static void test_lock__a_file_in_the_way_is_an_error(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char path[96];
	int fd = -1;

	(void)state;
	snprintf(path, sizeof(path), "%s/file", dir);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_not_equal(cleatd_lock(path, "/s", &fd, &err), CLEAT_OK);
	assert_non_null(strstr(err.msg, path));
	assert_int_equal(fd, -1);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lock__second_is_refused_and_told_who_holds_it, make_dir,
						remove_dir),
		cmocka_unit_test_setup_teardown(test_lock__a_file_in_the_way_is_an_error, make_dir,
						remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
