/* driver_run_exec_test.c - further processes in a running task, with and without a terminal. */
#include "run_lab.h"

#include "util/clock.h"
#include "util/mem.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A task to run things in, and one thing that runs there. */
struct session {
	const struct run_lab *lab;
	struct run_handle *task;
	struct run_exec *exec;
	struct run_exec_io io;
	char seen[16384]; /* what came on stdout */
	size_t seen_len;
};

static void start_task(struct session *s, const struct run_lab *lab, struct run_spec *spec)
{
	*s = (struct session){ .lab = lab, .io = { -1, -1, -1 } };
	s->task = run_lab_start(lab, spec);
	run_lab_await(lab, "t1.out", "ready");
}

static void start_sleeper(struct session *s, const struct run_lab *lab)
{
	struct run_spec spec = run_lab_spec(lab, "t1", "echo ready; exec sleep 1000");

	start_task(s, lab, &spec);
}

static void start_exec(struct session *s, const char *script, bool tty)
{
	char *argv[] = { "/bin/sh", "-c", (char *)(uintptr_t)script, NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;

	run_lab_ok(run_exec_start(s->task, argv, tty, &s->exec, &s->io, &err), &err);
	s->seen_len = 0;
	s->seen[0] = '\0';
}

/* Reads stdout until the text has come (NULL: until the end). */
static void read_until(struct session *s, const char *text)
{
	struct pollfd p = { .fd = s->io.stdout_fd, .events = POLLIN };

	while (!text || !strstr(s->seen, text)) {
		if (poll(&p, 1, 20000) <= 0)
			fail_msg("nothing more came after: %s", s->seen);
		ssize_t n = read(s->io.stdout_fd, s->seen + s->seen_len, sizeof(s->seen) - 1 - s->seen_len);
		if (n <= 0) { /* of a terminal the end is EIO */
			if (text)
				fail_msg("it ended before '%s' came: %s", text, s->seen);
			return;
		}
		s->seen_len += (size_t)n;
		s->seen[s->seen_len] = '\0';
	}
}

static void type(struct session *s, const char *text)
{
	assert_int_equal(write(s->io.stdin_fd, text, strlen(text)), strlen(text));
}

static void close_io(struct session *s)
{
	cleat_cleanup_close(&s->io.stdin_fd);
	cleat_cleanup_close(&s->io.stdout_fd);
	cleat_cleanup_close(&s->io.stderr_fd);
	s->io = (struct run_exec_io){ -1, -1, -1 };
}

static struct run_exit end_exec(struct session *s)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_exit end;

	run_lab_ok(run_exec_wait(s->exec, 20000, NULL, NULL, &end, &err), &err);
	close_io(s);
	run_exec_free(s->exec);
	s->exec = NULL;
	return end;
}

static void end_task(struct session *s)
{
	run_unref(s->task);
	run_lab_destroy(s->lab, "t1");
}

/* How many processes have this word among their arguments. */
static int count_running(const char *word)
{
	DIR *dir = opendir("/proc");
	char path[300], line[1024];
	int count = 0;

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));) {
		snprintf(path, sizeof(path), "/proc/%s/cmdline", d->d_name);
		FILE *f = d->d_name[0] >= '1' && d->d_name[0] <= '9' ? fopen(path, "re") : NULL;
		size_t n = f ? fread(line, 1, sizeof(line), f) : 0;
		if (f)
			fclose(f);
		count += memmem(line, n, word, strlen(word)) != NULL;
	}
	closedir(dir);
	return count;
}

static void expect_gone(const char *word)
{
	const struct timespec pause = { .tv_nsec = 10000000 };

	for (int64_t end_ms = cleat_time_mono_ms() + 10000; count_running(word) > 0; nanosleep(&pause, NULL))
		if (cleat_time_mono_ms() > end_ms)
			fail_msg("'%s' still runs", word);
}

/* ---- without a terminal ---- */

static void test_exec__output_input_and_code(void **state)
{
	struct session s;
	char text[64] = "";

	start_sleeper(&s, *state);
	start_exec(&s, "cat; echo err >&2; tty; exit 9", false);
	type(&s, "some input\n");
	close(s.io.stdin_fd);
	s.io.stdin_fd = -1;
	read_until(&s, NULL);
	assert_string_equal(s.seen, "some input\nnot a tty\n");
	assert_int_equal(read(s.io.stderr_fd, text, sizeof(text) - 1), 4);
	assert_string_equal(text, "err\n");
	struct run_exit end = end_exec(&s);
	assert_int_equal(end.code, 9);
	assert_int_equal(end.signal, 0);
	assert_string_equal(end.message, "");
	start_exec(&s, "kill -TERM $$", false);
	end = end_exec(&s);
	assert_int_equal(end.code, 128 + SIGTERM);
	assert_int_equal(end.signal, SIGTERM);
	end_task(&s);
}

static void test_exec__has_what_the_task_has(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "echo ready; exec sleep 1000");
	struct session s;

	spec.user = strdup("1234:1235");
	spec.cwd = strdup("/var/lib");
	spec.caps = run_lab_list("CAP_NET_ADMIN", NULL);
	spec.memory_bytes = 100 << 20;
	run_lab_env(&spec, "COLOUR", "green");
	start_task(&s, lab, &spec);
	start_exec(&s,
		   "id -u; id -g; pwd; echo $COLOUR; grep -e CapBnd -e Seccomp: -e NoNewPrivs "
		   "/proc/self/status; ls /proc | grep -c '^1$'; "
		   "cat /proc/self/cgroup > /tmp/mine; cmp /tmp/mine /proc/1/cgroup && echo same cgroups",
		   false);
	read_until(&s, NULL);
	assert_string_equal(
		s.seen,
		"1234\n1235\n/var/"
		"lib\ngreen\nCapBnd:\t0000000000001000\nNoNewPrivs:\t1\nSeccomp:\t2\n1\nsame cgroups\n");
	assert_int_equal(end_exec(&s).code, 0);
	end_task(&s);
}

static void test_exec__what_is_not_there_is_told(void **state)
{
	struct session s;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char *missing[] = { "/no/such/program", NULL }, *no_program[] = { "/etc/passwd", NULL },
	     *none[] = { NULL };

	start_sleeper(&s, *state);
	for (int tty = 0; tty < 2; tty++) {
		run_lab_expect(run_exec_start(s.task, missing, tty, &s.exec, &s.io, &err), &err,
			       CLEAT_NOT_FOUND, "/no/such/program");
		run_lab_expect(run_exec_start(s.task, no_program, tty, &s.exec, &s.io, &err), &err,
			       CLEAT_INVALID_ARGUMENT, "ermission denied");
	}
	run_lab_expect(run_exec_start(s.task, none, false, &s.exec, &s.io, &err), &err,
		       CLEAT_INVALID_ARGUMENT, "no command");
	run_lab_destroy(s.lab, "t1");
	run_lab_expect(run_exec_start(s.task, missing, false, &s.exec, &s.io, &err), &err,
		       CLEAT_FAILED_PRECONDITION, "'t1' has ended");
	run_unref(s.task);
}

static void test_exec__that_takes_too_long_is_killed_with_its_children(void **state)
{
	struct session s;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_exit end;

	start_sleeper(&s, *state);
	start_exec(&s, "sleep 4321 & echo started; trap '' TERM HUP; sleep 4321", false);
	read_until(&s, "started");
	int64_t began_ms = cleat_time_mono_ms();
	run_lab_expect(run_exec_wait(s.exec, 200, NULL, NULL, &end, &err), &err, CLEAT_DEADLINE_EXCEEDED,
		       "killed after 200 ms");
	assert_true(cleat_time_mono_ms() - began_ms >= 200);
	assert_int_equal(end.code, 128 + SIGKILL);
	expect_gone("4321");
	assert_true(run_pid(s.task) > 0);
	run_lab_ok(run_exec_wait(s.exec, 0, NULL, NULL, &end, &err), &err); /* once more: the same */
	assert_int_equal(end.code, 128 + SIGKILL);
	close_io(&s);
	run_exec_free(s.exec);
	end_task(&s);
}

static bool give_up(void *arg)
{
	return ++*(int *)arg > 1;
}

static void test_exec__is_killed_when_nobody_waits_any_more(void **state)
{
	struct session s;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_exit end;
	int asked = 0;

	start_sleeper(&s, *state);
	start_exec(&s, "echo started; exec sleep 4321", false);
	read_until(&s, "started");
	run_lab_expect(run_exec_wait(s.exec, 0, give_up, &asked, &end, &err), &err, CLEAT_CANCELLED,
		       "nobody waits");
	expect_gone("4321");
	close_io(&s);
	run_exec_free(s.exec);
	start_exec(&s, "sleep 4321 & echo started; exec sleep 4321", true);
	read_until(&s, "started");
	run_exec_free(s.exec); /* a client that is cut off */
	close_io(&s);
	expect_gone("4321");
	end_task(&s);
}

static void test_exec__ends_with_its_task(void **state)
{
	struct session s;

	start_sleeper(&s, *state);
	start_exec(&s, "echo started; exec sleep 1000", false);
	read_until(&s, "started");
	run_lab_destroy(s.lab, "t1");
	assert_int_equal(end_exec(&s).code, 128 + SIGKILL);
	run_unref(s.task);
}

/* ---- with a terminal ---- */

static void test_tty__is_one_and_has_the_size_it_is_given(void **state)
{
	struct session s;
	struct cleat_error err = CLEAT_ERROR_INIT;

	start_sleeper(&s, *state);
	start_exec(&s,
		   "read x; tty; stty size; trap 'stty size; exit 6' WINCH; echo TERM=$TERM; echo waiting; "
		   "while :; do sleep .05; done",
		   true);
	assert_int_equal(s.io.stderr_fd, -1);
	run_lab_ok(run_exec_resize(s.exec, 33, 77, &err), &err);
	type(&s, "go\n");
	read_until(&s, "waiting");
	assert_non_null(strstr(s.seen, "/dev/pts/0\r\n33 77\r\nTERM=xterm\r\n"));
	run_lab_ok(run_exec_resize(s.exec, 50, 132, &err), &err);
	read_until(&s, "50 132\r\n");
	read_until(&s, NULL);
	assert_int_equal(end_exec(&s).code, 6);
	end_task(&s);
}

static void test_tty__passes_keys(void **state)
{
	struct session s;

	start_sleeper(&s, *state);
	start_exec(&s,
		   "echo ready; cat; echo after; trap 'echo interrupted; exit 4' INT; echo again; while :; "
		   "do sleep .05; done",
		   true);
	read_until(&s, "ready\r\n");
	type(&s, "line\n\004"); /* end of file */
	read_until(&s, "again\r\n");
	assert_non_null(strstr(s.seen, "line\r\nline\r\nafter\r\n")); /* typed, and from cat */
	type(&s, "\003");
	read_until(&s, "interrupted");
	read_until(&s, NULL);
	assert_int_equal(end_exec(&s).code, 4);
	end_task(&s);
}

static void test_tty__hangs_up_what_still_runs(void **state)
{
	struct session s;

	start_sleeper(&s, *state);
	start_exec(&s, "trap 'echo hung up > /tmp/end; exit 5' HUP; echo ready; while :; do sleep .01; done",
		   true);
	read_until(&s, "ready");
	run_exec_free(s.exec);
	close_io(&s);
	start_exec(&s, "cat /tmp/end", false);
	read_until(&s, NULL);
	assert_string_equal(s.seen, "hung up\n");
	assert_int_equal(end_exec(&s).code, 0);
	end_task(&s);
}

static void test_tty__bad_sizes_are_refused(void **state)
{
	struct session s;
	struct cleat_error err = CLEAT_ERROR_INIT;

	start_sleeper(&s, *state);
	start_exec(&s, "read x", true);
	run_lab_expect(run_exec_resize(s.exec, -1, 80, &err), &err, CLEAT_INVALID_ARGUMENT, "-1 rows");
	run_lab_expect(run_exec_resize(s.exec, 1, 70000, &err), &err, CLEAT_INVALID_ARGUMENT,
		       "70000 columns");
	run_exec_free(s.exec);
	close_io(&s);
	start_exec(&s, "read x", false);
	run_lab_expect(run_exec_resize(s.exec, 20, 80, &err), &err, CLEAT_FAILED_PRECONDITION, "no terminal");
	run_exec_free(s.exec);
	close_io(&s);
	end_task(&s);
}

/* ---- many at once ---- */

static void *run_one(void *arg)
{
	struct session *s = arg;

	start_exec(s, s->seen_len ? "echo hello; exit 3" : "read x; echo $x; exit 3", s->seen_len);
	return NULL;
}

static void test_exec__many_at_once(void **state)
{
	struct session base, all[8];
	pthread_t threads[8];

	start_sleeper(&base, *state);
	for (size_t i = 0; i < CLEAT_COUNT(all); i++) {
		all[i] = base;
		all[i].seen_len = i % 2; /* every other one with a terminal */
		assert_int_equal(pthread_create(&threads[i], NULL, run_one, &all[i]), 0);
	}
	for (size_t i = 0; i < CLEAT_COUNT(all); i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < CLEAT_COUNT(all); i++) {
		if (i % 2 == 0)
			type(&all[i], "hello\n");
		read_until(&all[i], "hello");
		read_until(&all[i], NULL);
		assert_int_equal(end_exec(&all[i]).code, 3);
	}
	end_task(&base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_TEST(test_exec__output_input_and_code),
		RUN_TEST(test_exec__has_what_the_task_has),
		RUN_TEST(test_exec__what_is_not_there_is_told),
		RUN_TEST(test_exec__that_takes_too_long_is_killed_with_its_children),
		RUN_TEST(test_exec__is_killed_when_nobody_waits_any_more),
		RUN_TEST(test_exec__ends_with_its_task),
		RUN_TEST(test_tty__is_one_and_has_the_size_it_is_given),
		RUN_TEST(test_tty__passes_keys),
		RUN_TEST(test_tty__hangs_up_what_still_runs),
		RUN_TEST(test_tty__bad_sizes_are_refused),
		RUN_TEST(test_exec__many_at_once),
	};
	int skip = run_lab_need();

	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
