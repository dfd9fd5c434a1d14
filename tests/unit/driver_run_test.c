/* driver_run_test.c - tasks in real containers: start, output, exit, signals, limits, removal. */
#include "run_lab.h"

#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Threads of a program have started by then: a FIFO's readers come and go as a log collector does. */
static void read_until(int fd, const char *text)
{
	char seen[4096] = "";
	size_t n = 0;

	for (struct pollfd p = { .fd = fd, .events = POLLIN }; !strstr(seen, text);) {
		assert_true(poll(&p, 1, 10000) > 0);
		ssize_t got = read(fd, seen + n, sizeof(seen) - 1 - n);
		assert_true(got > 0);
		n += (size_t)got;
		seen[n] = '\0';
	}
}

static void test_run__reader_of_a_fifo_may_come_and_go(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1",
					    "echo one; while [ ! -e /go/a ]; do sleep .01; done; echo two; "
					    "echo three; while [ ! -e /go/b ]; "
					    "do sleep .01; done; echo four");
	char rest[64];

	assert_int_equal(mkfifo(spec.stdout_path, 0600), 0);
	assert_int_equal(mkfifo(spec.stderr_path, 0600), 0);
	assert_int_equal(mkdir(run_lab_join(lab, "go"), 0755), 0);
	run_lab_mount(&spec, run_lab_join(lab, "go"), "/go", true, NULL);
	struct run_handle *h = run_lab_start(lab, &spec);
	int fd = open(run_lab_join(lab, "t1.out"), O_RDONLY | O_CLOEXEC);
	read_until(fd, "one\n");
	close(fd);
	run_lab_write(lab, "go/a", ""); /* what is written now waits for the next reader */
	fd = open(run_lab_join(lab, "t1.out"), O_RDONLY | O_CLOEXEC);
	read_until(fd, "two\nthree\n");
	run_lab_write(lab, "go/b", "");
	read_until(fd, "four\n");
	assert_int_equal(run_lab_end(h).code, 0);
	/* conmon is gone, so that the reader sees the end. */
	assert_int_equal(read(fd, rest, sizeof(rest)), 0);
	close(fd);
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

static void test_run__task_can_only_write_to_its_output(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "cat <&1 && exit 1; ls /proc/self/fd >&2; exit 0");

	assert_int_equal(mkfifo(spec.stdout_path, 0600), 0);
	assert_int_equal(run_lab_run(lab, &spec).code, 0);
	/* And it has nothing else of ours: 3 is ls's own. */
	assert_non_null(strstr(run_lab_read(lab, "t1.err"), "0\n1\n2\n3\n"));
}

static void test_run__no_output_wanted_is_fine(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "echo out && echo err >&2 && exit 5");

	free(spec.stdout_path);
	spec.stdout_path = NULL;
	run_lab_text(&spec.stderr_path, "/dev/null");
	assert_int_equal(run_lab_run(lab, &spec).code, 5);
}

/* ---- what cannot be started ---- */

static void refuse(const struct run_lab *lab, struct run_spec *spec, enum cleat_code code, const char *words)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_handle *h = NULL;

	run_lab_expect(run_start(&lab->env, spec, &h, &err), &err, code, words);
	assert_null(h);
	run_spec_done(spec);
	assert_true(run_lab_is_clean(lab));
}

static void test_run__what_cannot_start_leaves_nothing(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "");

	run_lab_text(&spec.argv[0], "/no/such/program");
	refuse(lab, &spec, CLEAT_NOT_FOUND, "/no/such/program");
	spec = run_lab_spec(lab, "t1", "");
	run_lab_text(&spec.argv[0], "/etc/passwd");
	refuse(lab, &spec, CLEAT_INVALID_ARGUMENT, "ermission denied");
	spec = run_lab_spec(lab, "t1", "");
	run_lab_mount(&spec, "/no/such/place", "/data", false, NULL);
	refuse(lab, &spec, CLEAT_NOT_FOUND, "mount source '/no/such/place'");
	spec = run_lab_spec(lab, "t1", "");
	run_lab_text(&spec.user, "nobody-of-that-name");
	refuse(lab, &spec, CLEAT_NOT_FOUND, "no user 'nobody-of-that-name'");
	spec = run_lab_spec(lab, "t1", "");
	run_lab_text(&spec.stdout_path, "/no/such/dir/out");
	refuse(lab, &spec, CLEAT_NOT_FOUND, "'/no/such/dir/out'");
	spec = run_lab_spec(lab, "t1", "");
	spec.netns = strdup("/run/netns/no-such");
	refuse(lab, &spec, CLEAT_NOT_FOUND, "network namespace '/run/netns/no-such'");
	spec = run_lab_spec(lab, "t1", "");
	spec.rootfs = strdup("/no/such/root");
	refuse(lab, &spec, CLEAT_NOT_FOUND, "root file system '/no/such/root'");
	spec = run_lab_spec(lab, "t1", "\xff");
	refuse(lab, &spec, CLEAT_INVALID_ARGUMENT, "is not UTF-8");
}

static void test_run__an_id_is_used_once(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_spec spec = run_lab_spec(lab, "t1", "exec sleep 100"),
			second = run_lab_spec(lab, "t1", "exit 0");
	struct run_handle *h = run_lab_start(lab, &spec), *none = NULL;

	run_lab_expect(run_start(&lab->env, &second, &none, &err), &err, CLEAT_ALREADY_EXISTS,
		       "a task 't1' already");
	run_spec_done(&second);
	assert_true(run_pid(h) > 0);
	assert_false(run_ended(h, NULL));
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

static void test_run__environment_of_a_service_does_not_reach_the_runtime(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "env; test -z \"$NOTIFY_SOCKET$LISTEN_FDS\"");

	setenv("NOTIFY_SOCKET", run_lab_join(lab, "notify"), 1);
	setenv("LISTEN_FDS", "3", 1);
	setenv("CLEAT_SECRET", "of the service", 1);
	struct run_exit end = run_lab_run(lab, &spec);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("LISTEN_FDS");
	unsetenv("CLEAT_SECRET");
	assert_int_equal(end.code, 0);
	assert_null(strstr(run_lab_read(lab, "t1.out"), "CLEAT_SECRET"));
}

/* ---- signals ---- */

static void test_signal__reaches_the_first_process(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_spec spec = run_lab_spec(
		lab, "t1", "trap 'echo hup; exit 7' HUP; echo ready; while :; do sleep .02; done");
	struct run_handle *h = run_lab_start(lab, &spec);

	run_lab_await(lab, "t1.out", "ready");
	run_lab_ok(run_signal(h, SIGHUP, &err), &err);
	assert_int_equal(run_lab_end(h).code, 7);
	run_lab_expect(run_signal(h, SIGHUP, &err), &err, CLEAT_NOT_FOUND, "'t1' has ended");
	assert_int_equal(run_pid(h), 0);
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

static void test_signal__that_kills_is_told(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_spec spec = run_lab_spec(lab, "t1", "exec sleep 100");
	struct run_handle *h = run_lab_start(lab, &spec);

	run_lab_ok(run_signal(h, SIGKILL, &err), &err);
	struct run_exit end = run_lab_end(h);
	assert_int_equal(end.code, 128 + SIGKILL);
	assert_int_equal(end.signal, SIGKILL);
	assert_false(end.oom_killed);
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

/* Stops the task and tells how long that took. */
static int64_t stop(struct run_handle *h, int64_t timeout_ms)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	int64_t began_ms = cleat_time_mono_ms();

	run_lab_ok(run_stop(h, SIGTERM, timeout_ms, &err), &err);
	assert_true(run_ended(h, NULL));
	run_lab_ok(run_stop(h, SIGTERM, timeout_ms, &err), &err);
	return cleat_time_mono_ms() - began_ms;
}

static void test_stop__lets_the_task_end_in_its_own_way(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(
		lab, "t1",
		"trap 'sleep .2; echo done; exit 3' TERM; echo ready; while :; do sleep .02; done");
	struct run_handle *h = run_lab_start(lab, &spec);

	run_lab_await(lab, "t1.out", "ready");
	assert_true(stop(h, 20000) < 10000);
	assert_int_equal(run_lab_end(h).code, 3);
	assert_string_equal(run_lab_read(lab, "t1.out"), "ready\ndone\n");
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

static void test_stop__kills_what_ignores_its_signal(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec =
		run_lab_spec(lab, "t1", "trap '' TERM; echo ready; sleep 100 & wait; sleep 100");
	struct run_handle *h = run_lab_start(lab, &spec);

	run_lab_await(lab, "t1.out", "ready");
	assert_true(stop(h, 300) >= 300);
	assert_int_equal(run_lab_end(h).code, 128 + SIGKILL);
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

/* The kernel gives no signal to the first process of a namespace that has no handler for it: there is nothing
 * to wait for. */
static void test_stop__does_not_wait_for_what_will_not_come(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "echo ready; exec sleep 100");
	struct run_handle *h = run_lab_start(lab, &spec);

	run_lab_await(lab, "t1.out", "ready");
	assert_true(stop(h, 60000) < 20000);
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

static bool yes(void *arg)
{
	(*(int *)arg)++;
	return *(int *)arg > 2;
}

static void test_wait__can_be_given_up(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_spec spec = run_lab_spec(lab, "t1", "exec sleep 100");
	struct run_handle *h = run_lab_start(lab, &spec);
	struct run_exit end;
	bool ended = true;
	int asked = 0;

	run_lab_ok(run_wait(h, yes, &asked, &ended, &end, &err), &err);
	assert_false(ended);
	assert_int_equal(asked, 3);
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

static void test_end__without_conmon_is_told_as_unknown(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_spec spec =
		run_lab_spec(lab, "t1", "echo ready; while [ ! -e /go/a ]; do sleep .02; done; exit 3");

	assert_int_equal(mkdir(run_lab_join(lab, "go"), 0755), 0);
	run_lab_mount(&spec, run_lab_join(lab, "go"), "/go", true, NULL);
	struct run_handle *h = run_lab_start(lab, &spec);
	run_lab_await(lab, "t1.out", "ready");
	assert_int_equal(kill(atoi(run_lab_read(lab, "tasks/t1/conmon.pid")), SIGKILL), 0);
	assert_false(run_ended(h, NULL)); /* it does not need conmon to go on */
	assert_true(run_pid(h) > 0);
	run_lab_write(lab, "go/a", "");
	struct run_exit end = run_lab_end(h);
	assert_non_null(strstr(end.message, "conmon"));
	assert_int_not_equal(end.code, 0);
	run_unref(h);
	run_lab_ok(run_attach(&lab->env, "t1", &h, &err), &err);
	assert_true(run_ended(h, &end));
	assert_non_null(strstr(end.message, "conmon"));
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

/* ---- resources ---- */

static void test_memory__limit_holds_and_its_end_is_told(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "exec tail /dev/zero");

	spec.memory_bytes = 32 << 20;
	struct run_exit end = run_lab_run(lab, &spec);
	assert_int_equal(end.code, 128 + SIGKILL);
	assert_int_equal(end.signal, SIGKILL);
	assert_true(end.oom_killed);
	/* conmon notes it where it is started: in the task's directory. */
	assert_int_not_equal(access("oom", F_OK), 0);
}

static void test_memory__child_that_was_killed_counts_if_the_task_fails(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "tail /dev/zero; exit 9"),
			well = run_lab_spec(lab, "t2", "tail /dev/zero; exit 0");

	spec.memory_bytes = well.memory_bytes = 32 << 20;
	struct run_exit end = run_lab_run(lab, &spec);
	assert_int_equal(end.code, 9);
	assert_true(end.oom_killed);
	end = run_lab_run(lab, &well);
	assert_int_equal(end.code, 0);
	assert_false(end.oom_killed);
}

static void test_resources__are_set(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(
		lab, "t1",
		"cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes "
		"cpu/cpu.shares pids/pids.max cpuset/cpuset.cpus 2>/dev/null || cat memory.max memory.low "
		"cpu.weight pids.max cpuset.cpus");
	bool v1 = access("/sys/fs/cgroup/memory", F_OK) == 0;

	spec.memory_bytes = 64 << 20;
	spec.memory_low_bytes = 48 << 20;
	spec.cpu_shares = 1024;
	spec.pids_max = 33;
	spec.cpuset = strdup("0");
	assert_int_equal(run_lab_run(lab, &spec).code, 0);
	assert_string_equal(run_lab_read(lab, "t1.out"),
			    v1 ? "67108864\n50331648\n1024\n33\n0\n" : "67108864\n50331648\n39\n33\n0\n");
}

static void test_stats__tell_what_was_used(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_spec spec = run_lab_spec(lab, "t1",
					    "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 20m "
					    "/dev/zero > /tmp/f; echo ready; "
					    "exec sleep 100");
	struct run_handle *h = run_lab_start(lab, &spec);
	struct run_stats stats;

	run_lab_await(lab, "t1.out", "ready");
	run_lab_ok(run_stats(h, &stats, &err), &err);
	assert_true(stats.cpu_total_ns > 20000000);
	assert_true(stats.cpu_user_ns + stats.cpu_system_ns > 0);
	assert_true(stats.memory_usage >= 20 << 20);
	assert_true(stats.memory_cache >= 20 << 20);
	assert_true(!stats.has_max || stats.memory_max >= stats.memory_usage);
	assert_true(llabs(stats.time_ms - cleat_time_wall_ms()) < 5000);
	run_lab_destroy(lab, "t1");
	run_lab_expect(run_stats(h, &stats, &err), &err, CLEAT_NOT_FOUND, "is gone");
	run_unref(h);
}

/* ---- removing ---- */

static void test_destroy__takes_a_running_task_and_may_be_repeated(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "trap '' TERM; sleep 1000 & sleep 1000 & wait");
	struct run_handle *h = run_lab_start(lab, &spec);
	struct run_exit end;

	run_lab_destroy(lab, "t1");
	assert_true(run_lab_is_clean(lab));
	assert_true(run_ended(h, &end));
	assert_int_equal(end.code, 128 + SIGKILL);
	run_unref(h);
	run_lab_destroy(lab, "t1");
	run_lab_destroy(lab, "never-was-there");
}

static void test_destroy__works_when_crun_and_conmon_are_gone_already(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "exec sleep 1000");
	struct run_handle *h = run_lab_start(lab, &spec);

	assert_int_equal(kill(atoi(run_lab_read(lab, "tasks/t1/conmon.pid")), SIGKILL), 0);
	run_lab_write(lab, "tasks/.crun/t1/status", "{ no JSON");
	run_lab_destroy(lab, "t1");
	run_unref(h);
	assert_true(run_lab_is_clean(lab));
}

static void test_destroy__goes_on_where_another_was_cut_off(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "exit 0");
	struct run_handle *h = run_lab_start(lab, &spec);
	char from[256];

	run_lab_end(h);
	run_unref(h);
	snprintf(from, sizeof(from), "%s", run_lab_join(lab, "tasks/t1/rootfs"));
	assert_int_equal(mkdir(run_lab_join(lab, "tasks/.gone-t1"), 0700), 0);
	assert_int_equal(rename(from, run_lab_join(lab, "tasks/.gone-t1/rootfs")), 0);
	run_lab_destroy(lab, "t1");
	assert_true(run_lab_is_clean(lab));
}

static bool collect(const char *id, void *arg)
{
	char *seen = arg;

	strncat(seen, id, 10);
	strncat(seen, " ", 2);
	return true;
}

static void test_list__names_what_has_a_directory(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_spec spec = run_lab_spec(lab, "t1", "exit 0");
	char seen[64] = "";

	run_lab_ok(run_list(&lab->env, collect, seen, &err), &err);
	assert_string_equal(seen, "");
	run_unref(run_lab_start(lab, &spec));
	run_lab_ok(run_list(&lab->env, collect, seen, &err), &err);
	assert_string_equal(seen, "t1 ");
	run_lab_destroy(lab, "t1");
}

static void test_cgroup__parents_that_were_there_stay(void **state)
{
	const struct run_lab *lab = *state;
	bool v1 = access("/sys/fs/cgroup/memory", F_OK) == 0;
	struct run_spec spec = run_lab_spec(lab, "t1", "exit 0");
	char made[256], inner[300];

	/* As Nomad does with cgroup v1: some of the hierarchies have the parent, others not. */
	snprintf(made, sizeof(made), "/sys/fs/cgroup/%scleat-test-%d", v1 ? "memory/" : "", (int)getpid());
	snprintf(inner, sizeof(inner), "%s/alloc.task", made);
	assert_int_equal(mkdir(made, 0755), 0);
	assert_int_equal(mkdir(inner, 0755), 0);
	snprintf(inner, sizeof(inner), "%scleat-test-%d/alloc.task", v1 ? "" : "/sys/fs/cgroup/",
		 (int)getpid());
	run_lab_text(&spec.cgroup_parent, inner);
	int code = run_lab_run(lab, &spec).code;
	snprintf(inner, sizeof(inner), "%s/alloc.task", made);
	int inner_is_there = rmdir(inner), outer_is_there = rmdir(made);
	assert_int_equal(code, 0);
	assert_int_equal(inner_is_there, 0);
	assert_int_equal(outer_is_there, 0);
	snprintf(made, sizeof(made), "/sys/fs/cgroup/pids/cleat-test-%d", (int)getpid());
	assert_int_not_equal(access(made, F_OK), 0);
}

/* ---- many at once ---- */

#define MANY 20

struct one {
	const struct run_lab *lab;
	int number;
	int64_t start_ms;
	bool ok;
};

static void *run_one(void *arg)
{
	struct one *one = arg;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_handle *h = NULL;
	struct run_exit end = { .code = -1 };
	bool ended = false;
	char id[16];

	snprintf(id, sizeof(id), "m%d", one->number);
	struct run_spec spec = run_lab_spec(one->lab, id, "");
	snprintf(id, sizeof(id), "%d", one->number);
	run_lab_text(&spec.argv[2], "echo hello $1; exit $1");
	spec.argv[3] = strdup("sh");
	spec.argv[4] = strdup(id);
	int64_t began_ms = cleat_time_mono_ms();
	enum cleat_code code = run_start(&one->lab->env, &spec, &h, &err);
	one->start_ms = cleat_time_mono_ms() - began_ms;
	if (code == CLEAT_OK)
		code = run_wait(h, NULL, NULL, &ended, &end, &err);
	if (code == CLEAT_OK)
		code = run_destroy(&one->lab->env, spec.id, &err);
	one->ok = code == CLEAT_OK && end.code == one->number;
	if (!one->ok)
		print_error("task %d: code %d: %s\n", one->number, end.code, err.msg);
	run_unref(h);
	run_spec_done(&spec);
	return NULL;
}

static void test_run__many_at_once_leave_nothing(void **state)
{
	const struct run_lab *lab = *state;
	struct one all[MANY];
	pthread_t threads[MANY];
	char name[16], expected[32];

	for (int i = 0; i < MANY; i++) {
		all[i] = (struct one){ .lab = lab, .number = i };
		assert_int_equal(pthread_create(&threads[i], NULL, run_one, &all[i]), 0);
	}
	for (int i = 0; i < MANY; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "m%d.out", i);
		snprintf(expected, sizeof(expected), "hello %d\n", i);
		assert_true(all[i].ok);
		assert_string_equal(run_lab_read(lab, name), expected);
	}
	assert_true(run_lab_is_clean(lab));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_TEST(test_run__output_goes_to_files_and_code_comes_back),
		RUN_TEST(test_run__reader_of_a_fifo_may_come_and_go),
		RUN_TEST(test_run__task_can_only_write_to_its_output),
		RUN_TEST(test_run__no_output_wanted_is_fine),
		RUN_TEST(test_run__what_cannot_start_leaves_nothing),
		RUN_TEST(test_run__an_id_is_used_once),
		RUN_TEST(test_run__environment_of_a_service_does_not_reach_the_runtime),
		RUN_TEST(test_signal__reaches_the_first_process),
		RUN_TEST(test_signal__that_kills_is_told),
		RUN_TEST(test_stop__lets_the_task_end_in_its_own_way),
		RUN_TEST(test_stop__kills_what_ignores_its_signal),
		RUN_TEST(test_stop__does_not_wait_for_what_will_not_come),
		RUN_TEST(test_wait__can_be_given_up),
		RUN_TEST(test_end__without_conmon_is_told_as_unknown),
		RUN_TEST(test_memory__limit_holds_and_its_end_is_told),
		RUN_TEST(test_memory__child_that_was_killed_counts_if_the_task_fails),
		RUN_TEST(test_resources__are_set),
		RUN_TEST(test_stats__tell_what_was_used),
		RUN_TEST(test_destroy__takes_a_running_task_and_may_be_repeated),
		RUN_TEST(test_destroy__works_when_crun_and_conmon_are_gone_already),
		RUN_TEST(test_destroy__goes_on_where_another_was_cut_off),
		RUN_TEST(test_list__names_what_has_a_directory),
		RUN_TEST(test_cgroup__parents_that_were_there_stay),
		RUN_TEST(test_run__many_at_once_leave_nothing),
	};
	int skip = run_lab_need();

	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
