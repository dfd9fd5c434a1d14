/* driver_run_attach_test.c - tasks outlive whoever started them, who may be killed at any moment; what comes
 * after finds all of them. */
#include "run_lab.h"

#include "sys/hook.h"
#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* ---- the other process: this program once more ---- */

static int die_at, steps; /* the step before which it kills itself; 0: none */

static int step(const char *call, const char *what, void *arg)
{
	(void)call;
	(void)what;
	(void)arg;
	if (++steps == die_at)
		kill(getpid(), SIGKILL);
	return 0;
}

/* start|destroy <lab> <id> <script> <memory> <step>: does it, says so, and waits to be killed. */
static _Noreturn void be_the_other(char **argv)
{
	struct run_lab lab = { .path = "" };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_handle *h = NULL;

	snprintf(lab.path, sizeof(lab.path), "%s", argv[2]);
	snprintf(lab.tasks, sizeof(lab.tasks), "%s/tasks", lab.path);
	lab.env.dir = lab.tasks;
	die_at = atoi(argv[6]);
	cleat_sys_hook_set(step, NULL);
	struct run_spec spec = run_lab_spec(&lab, argv[3], argv[4]);
	spec.memory_bytes = atol(argv[5]);
	enum cleat_code code = strcmp(argv[1], "start") == 0 ? run_start(&lab.env, &spec, &h, &err)
							     : run_destroy(&lab.env, argv[3], &err);
	printf("%s\n", code == CLEAT_OK ? "done" : err.msg);
	fflush(stdout);
	for (;;)
		pause();
}

struct other {
	pid_t pid;
	int out;
};

static struct other start_other(const struct run_lab *lab, const char *what, const char *id,
				const char *script, long memory, int at)
{
	char memory_text[24], at_text[24], path[64];
	struct other o = { 0, -1 };
	posix_spawn_file_actions_t actions;
	int ends[2];

	snprintf(memory_text, sizeof(memory_text), "%ld", memory);
	snprintf(at_text, sizeof(at_text), "%d", at);
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)getpid());
	char *argv[] = { path,
			 (char *)(uintptr_t)what,
			 (char *)(uintptr_t)lab->path,
			 (char *)(uintptr_t)id,
			 (char *)(uintptr_t)script,
			 memory_text,
			 at_text,
			 NULL };
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[1], 1), 0);
	assert_int_equal(posix_spawn(&o.pid, path, &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	o.out = ends[0];
	return o;
}

/* What it said, "" when it was killed before it could. */
static void hear(const struct other *o, char *text, size_t bytes)
{
	struct pollfd p = { .fd = o->out, .events = POLLIN };

	assert_true(poll(&p, 1, 60000) > 0);
	ssize_t n = read(o->out, text, bytes - 1);
	text[n > 0 ? n : 0] = '\0';
}

static void kill_other(struct other *o)
{
	int status;

	kill(o->pid, SIGKILL);
	assert_int_equal(TEMP_FAILURE_RETRY(waitpid(o->pid, &status, 0)), o->pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(o->out);
}

/* Starts a task in another process and kills that. */
static void start_and_kill(const struct run_lab *lab, const char *script, long memory)
{
	struct other o = start_other(lab, "start", "t1", script, memory, 0);
	char said[600];

	hear(&o, said, sizeof(said));
	assert_string_equal(said, "done\n");
	kill_other(&o);
}

static struct run_handle *attach(const struct run_lab *lab)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_handle *h = NULL;

	run_lab_ok(run_attach(&lab->env, "t1", &h, &err), &err);
	return h;
}

/* ---- after it ---- */

static void test_attach__everything_works_on_a_task_of_somebody_else(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char *argv[] = { "/bin/sh", "-c", "echo from exec; exit 6", NULL }, text[64] = "";
	struct run_exec_io io;
	struct run_exec *x;
	struct run_stats stats;
	struct run_exit end;
	int64_t before_ms = cleat_time_wall_ms();

	start_and_kill(lab, "trap 'echo term; exit 4' TERM; echo ready; while :; do sleep .02; done", 0);
	struct run_handle *h = attach(lab);
	run_lab_await(lab, "t1.out", "ready");
	assert_true(run_pid(h) > 0);
	assert_false(run_ended(h, &end));
	assert_true(run_started_ms(h) >= before_ms && run_started_ms(h) <= cleat_time_wall_ms());
	run_lab_ok(run_stats(h, &stats, &err), &err);
	assert_true(stats.cpu_total_ns > 0);
	run_lab_ok(run_exec_start(h, argv, false, &x, &io, &err), &err);
	run_lab_ok(run_exec_wait(x, 20000, NULL, NULL, &end, &err), &err);
	assert_int_equal(end.code, 6);
	assert_int_equal(read(io.stdout_fd, text, sizeof(text) - 1), 10);
	assert_string_equal(text, "from exec\n");
	run_exec_free(x);
	close(io.stdin_fd);
	close(io.stdout_fd);
	close(io.stderr_fd);
	run_lab_ok(run_stop(h, SIGTERM, 20000, &err), &err);
	assert_int_equal(run_lab_end(h).code, 4);
	assert_string_equal(run_lab_read(lab, "t1.out"), "ready\nterm\n");
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

static void wait_for_file(const struct run_lab *lab, const char *name)
{
	const struct timespec pause = { .tv_nsec = 5000000 };

	for (int64_t end_ms = cleat_time_mono_ms() + 10000; access(run_lab_join(lab, name), F_OK) < 0;
	     nanosleep(&pause, NULL))
		if (cleat_time_mono_ms() > end_ms)
			fail_msg("there is no '%s'", name);
}

static void test_attach__end_that_nobody_saw_is_known(void **state)
{
	const struct run_lab *lab = *state;
	struct run_exit end = { .code = -1 };

	start_and_kill(lab, "exit 23", 0);
	wait_for_file(lab, "tasks/t1/exit/t1");
	struct run_handle *h = attach(lab);
	assert_int_equal(run_lab_end(h).code, 23);
	run_unref(h);
	h = attach(lab); /* and stays known */
	assert_true(run_ended(h, &end));
	assert_int_equal(end.code, 23);
	assert_int_equal(run_pid(h), 0);
	run_unref(h);
	run_lab_destroy(lab, "t1");
	start_and_kill(lab, "exec tail /dev/zero", 32 << 20);
	wait_for_file(lab, "tasks/t1/exit/t1");
	h = attach(lab);
	end = run_lab_end(h);
	assert_int_equal(end.code, 128 + SIGKILL);
	assert_true(end.oom_killed);
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

static void test_attach__what_is_not_there_is_not_found(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_handle *h = NULL;

	run_lab_expect(run_attach(&lab->env, "t1", &h, &err), &err, CLEAT_NOT_FOUND, "no task 't1'");
	run_lab_expect(run_attach(&lab->env, "../t1", &h, &err), &err, CLEAT_INVALID_ARGUMENT, "a task's id");
	assert_null(h);
}

static void test_attach__machine_that_was_restarted_is_told(void **state)
{
	const struct run_lab *lab = *state;
	struct run_exit end;
	char text[4096];

	start_and_kill(lab, "exec sleep 1000", 0);
	/* As it is found after a restart: another boot, and the same numbers may be other processes. */
	struct run_handle *h = attach(lab);
	pid_t pid = run_pid(h);
	run_unref(h);
	snprintf(text, sizeof(text), "%s", run_lab_read(lab, "tasks/t1/started.json"));
	char *boot = strstr(text, "\"boot_id\":\"");
	assert_non_null(boot);
	memset(boot + 11, '0', 8);
	run_lab_write(lab, "tasks/t1/started.json", text);
	h = attach(lab);
	assert_true(run_ended(h, &end));
	assert_non_null(strstr(end.message, "restarted"));
	assert_int_equal(run_pid(h), 0);
	run_unref(h);
	assert_int_equal(kill(pid, 0), 0); /* untouched */
	run_lab_destroy(lab, "t1");
}

/* ---- killed on the way ---- */

/* After a start that was cut off: the task is there, or not at all; and it can be removed. */
static void look_and_remove(const struct run_lab *lab, bool told)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_handle *h = NULL;
	enum cleat_code code = run_attach(&lab->env, "t1", &h, &err);

	if (code == CLEAT_OK)
		assert_true(run_pid(h) > 0);
	else if (code != CLEAT_NOT_FOUND || told)
		fail_msg("attach: %s: %s", cleat_code_name(code), err.msg);
	run_unref(h);
	run_lab_destroy(lab, "t1");
	assert_true(run_lab_is_clean(lab));
}

static void test_start__may_be_killed_before_each_step(void **state)
{
	const struct run_lab *lab = *state;
	char said[600] = "";

	for (int at = 1; said[0] == '\0'; at++) {
		struct other o = start_other(lab, "start", "t1", "exec sleep 1000", 32 << 20, at);
		hear(&o, said, sizeof(said));
		kill_other(&o);
		look_and_remove(lab, said[0] != '\0');
		assert_true(at < 1000);
	}
	assert_string_equal(said, "done\n");
}

static void test_start__may_be_killed_at_any_time(void **state)
{
	const struct run_lab *lab = *state;

	for (int ms = 2; ms < 120; ms += 5) {
		struct timespec pause = { .tv_nsec = ms * 1000000L };
		struct other o = start_other(lab, "start", "t1", "exec sleep 1000", 0, 0);
		nanosleep(&pause, NULL);
		kill_other(&o);
		look_and_remove(lab, false);
	}
}

static void test_destroy__may_be_killed_before_each_step(void **state)
{
	const struct run_lab *lab = *state;
	char said[600] = "";

	for (int at = 1; said[0] == '\0'; at++) {
		struct run_spec spec = run_lab_spec(lab, "t1", "exec sleep 1000");
		run_unref(run_lab_start(lab, &spec));
		struct other o = start_other(lab, "destroy", "t1", "", 0, at);
		hear(&o, said, sizeof(said));
		kill_other(&o);
		run_lab_destroy(lab, "t1");
		assert_true(run_lab_is_clean(lab));
		assert_true(at < 1000);
	}
	assert_string_equal(said, "done\n");
}

static void test_destroy__waits_for_a_start_that_goes_on(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_handle *h = NULL;
	char said[600];

	for (int i = 0; i < 5; i++) {
		struct timespec pause = { .tv_nsec = i * 15000000L };
		struct other o = start_other(lab, "start", "t1", "exec sleep 1000", 0, 0);
		wait_for_file(lab, "tasks/t1/lock");
		nanosleep(&pause, NULL);
		enum cleat_code code = run_attach(&lab->env, "t1", &h, &err);
		if (code == CLEAT_OK)
			run_unref(h);
		else if (code != CLEAT_UNAVAILABLE)
			fail_msg("attach: %s: %s", cleat_code_name(code), err.msg);
		run_lab_destroy(lab, "t1");
		hear(&o, said, sizeof(said));
		/* Removed before it had so much as the lock, or when it was all there. */
		if (strcmp(said, "done\n") != 0)
			assert_non_null(strstr(said, "was removed while it was being started"));
		kill_other(&o);
		assert_true(run_lab_is_clean(lab));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RUN_TEST(test_attach__everything_works_on_a_task_of_somebody_else),
		RUN_TEST(test_attach__end_that_nobody_saw_is_known),
		RUN_TEST(test_attach__what_is_not_there_is_not_found),
		RUN_TEST(test_attach__machine_that_was_restarted_is_told),
		RUN_TEST(test_start__may_be_killed_before_each_step),
		RUN_TEST(test_start__may_be_killed_at_any_time),
		RUN_TEST(test_destroy__may_be_killed_before_each_step),
		RUN_TEST(test_destroy__waits_for_a_start_that_goes_on),
	};

	if (argc == 7)
		be_the_other(argv);
	int skip = run_lab_need();
	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
