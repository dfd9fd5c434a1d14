/* driver_run_parts_test.c - parts of running a task that need no container: what is read from files, what is
 * refused; and tasks where only cgroup v2 is mounted. */
#include "run_lab.h"

#include "driver/run/internal.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void make_dirs(const struct run_lab *lab, const char *const *names)
{
	for (; *names; names++)
		assert_int_equal(mkdir(run_lab_join(lab, *names), 0755), 0);
}

static int open_lab(const struct run_lab *lab)
{
	int fd = open(lab->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* ---- numbers ---- */

static void test_number__is_the_whole_of_its_line(void **state)
{
	static const char text[] = "anon 1\nfile 22\nfile_mapped 333\nbad x\nlast 4444";
	uint64_t n = 0;

	(void)state;
	assert_true(run_number_key(text, "file", &n) && n == 22);
	assert_true(run_number_key(text, "last", &n) && n == 4444);
	assert_false(run_number_key(text, "fil", &n));
	assert_false(run_number_key(text, "mapped", &n));
	assert_false(run_number_key(text, "bad", &n));
	assert_false(run_number_key("", "anon", &n));
}

static void test_stats__of_cgroup_v1(void **state)
{
	const struct run_lab *lab = *state;
	static const char *const dirs[] = {
		"memory", "cpu", "cpuacct", "memory/t", "cpu/t", "cpuacct/t", NULL
	};
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_stats s;

	make_dirs(lab, dirs);
	run_lab_write(lab, "memory/t/memory.stat", "cache 1000\nrss 2000\nswap 30\ntotal_rss 5\n");
	run_lab_write(lab, "memory/t/memory.usage_in_bytes", "3100\n");
	run_lab_write(lab, "memory/t/memory.max_usage_in_bytes", "4000\n");
	run_lab_write(lab, "memory/t/memory.kmem.usage_in_bytes", "70\n");
	run_lab_write(lab, "cpuacct/t/cpuacct.usage", "5000000001\n");
	run_lab_write(lab, "cpuacct/t/cpuacct.stat", "user 300\nsystem 200\n");
	run_lab_write(lab, "cpu/t/cpu.stat", "nr_periods 9\nnr_throttled 3\nthrottled_time 77\n");
	run_lab_ok(run_stats_v1(lab->path, "/t", &s, &err), &err);
	assert_true(s.memory_cache == 1000 && s.memory_rss == 2000 && s.memory_swap == 30 &&
		    s.memory_usage == 3100);
	assert_true(s.has_max && s.memory_max == 4000 && s.has_kernel && s.memory_kernel == 70);
	assert_true(s.cpu_total_ns == 5000000001);
	assert_true(s.cpu_user_ns * 2 == s.cpu_system_ns * 3 &&
		    s.cpu_user_ns == 300 * (1000000000ULL / (uint64_t)sysconf(_SC_CLK_TCK)));
	assert_true(s.throttled_periods == 3 && s.throttled_ns == 77);
	run_lab_expect(run_stats_v1(lab->path, "/gone", &s, &err), &err, CLEAT_NOT_FOUND, "'/gone' is gone");
}

static void test_stats__of_cgroup_v2(void **state)
{
	const struct run_lab *lab = *state;
	static const char *const dirs[] = { "t", NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_stats s;

	make_dirs(lab, dirs);
	run_lab_write(lab, "t/cpu.stat",
		      "usage_usec 500\nuser_usec 300\nsystem_usec 200\nnr_periods 9\nnr_throttled "
		      "4\nthrottled_usec 7\n");
	run_lab_ok(run_stats_v2(lab->path, "/t", &s, &err), &err);
	assert_true(s.cpu_total_ns == 500000 && s.cpu_user_ns == 300000 && s.cpu_system_ns == 200000);
	assert_true(s.throttled_periods == 4 && s.throttled_ns == 7000);
	assert_true(!s.has_max && !s.has_kernel && s.memory_usage == 0); /* no controller for memory */
	run_lab_write(lab, "t/memory.stat", "anon 2000\nfile 1000\nkernel_stack 5\npagetables 6\nslab 60\n");
	run_lab_write(lab, "t/memory.current", "3100\n");
	run_lab_write(lab, "t/memory.swap.current", "30\n");
	run_lab_ok(run_stats_v2(lab->path, "/t", &s, &err), &err);
	assert_true(s.memory_rss == 2000 && s.memory_cache == 1000 && s.memory_usage == 3100 &&
		    s.memory_swap == 30);
	assert_true(!s.has_max && s.has_kernel && s.memory_kernel == 71);
	run_lab_write(lab, "t/memory.stat", "anon 2000\nfile 1000\nkernel 80\nslab 60\n");
	run_lab_write(lab, "t/memory.peak", "4000\n");
	run_lab_ok(run_stats_v2(lab->path, "/t", &s, &err), &err);
	assert_true(s.has_max && s.memory_max == 4000 && s.memory_kernel == 80);
	run_lab_expect(run_stats_v2(lab->path, "/gone", &s, &err), &err, CLEAT_NOT_FOUND, "'/gone' is gone");
}

/* ---- users ---- */

static void test_user__files_are_those_of_the_root_whatever_links_say(void **state)
{
	const struct run_lab *lab = *state;
	static const char *const dirs[] = { "root", "root/etc", "root/real", NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_spec spec = RUN_SPEC_INIT;
	struct run_user user;

	make_dirs(lab, dirs);
	run_lab_write(lab, "root/real/passwd",
		      "inside:x:500:501::/in:/bin/sh\nnumbers-only\n:::::\nbig:x:99999999999:1::/:\n");
	run_lab_write(lab, "outside", "outside:x:600:601::/out:/bin/sh\n");
	assert_int_equal(symlink("/real/passwd", run_lab_join(lab, "root/etc/passwd")), 0);
	assert_int_equal(symlink("../../outside", run_lab_join(lab, "root/etc/group")), 0);
	run_lab_text(&spec.rootfs, run_lab_join(lab, "root"));
	run_lab_text(&spec.user, "inside");
	run_lab_ok(run_user_find(&spec, &user, &err), &err);
	assert_true(user.uid == 500 && user.gid == 501 && user.group_count == 0);
	assert_string_equal(user.home, "/in");
	static const char *const bad[] = {
		"outside", "big", "", ":", "inside:", ":1", "-1", "inside:-1", NULL
	};
	for (const char *const *p = bad; *p; p++) {
		run_lab_text(&spec.user, *p);
		enum cleat_code code = run_user_find(&spec, &user, &err);
		if (**p == '\0') /* as good as none: root */
			assert_true(code == CLEAT_OK && user.uid == 0);
		else
			assert_true(code == CLEAT_NOT_FOUND || code == CLEAT_INVALID_ARGUMENT);
	}
	run_spec_done(&spec);
}

/* ---- what others wrote down ---- */

static void test_plan__comes_back_as_it_was(void **state)
{
	const struct run_lab *lab = *state;
	struct run_plan plan = { .cgroup = strdup("/a/b") }, back;
	struct cleat_error err = CLEAT_ERROR_INIT;
	int fd = open_lab(lab);

	run_note(&plan, "note %d", 1);
	run_note(&plan, "note %d", 2);
	run_lab_ok(run_plan_write(fd, &plan, &err), &err);
	run_lab_ok(run_plan_read(fd, &back, &err), &err);
	assert_string_equal(back.cgroup, "/a/b");
	assert_string_equal(back.notes, "note 1\nnote 2");
	run_plan_done(&plan);
	run_plan_done(&back);
	close(fd);
}

static void test_plan__that_is_damaged_or_leads_elsewhere_is_not_believed(void **state)
{
	const struct run_lab *lab = *state;
	static const char *const bad[] = {
		"",
		"[]",
		"{\"format\":1",
		"{\"format\":2,\"cgroup\":\"/a\",\"notes\":\"\"}",
		"{\"format\":1,\"notes\":\"\"}",
		"{\"format\":1,\"cgroup\":\"/\",\"notes\":\"\"}",
		"{\"format\":1,\"cgroup\":\"a\",\"notes\":\"\"}",
		"{\"format\":1,\"cgroup\":\"/a/../..\",\"notes\":\"\"}",
		"{\"format\":1,\"cgroup\":\"/a/\",\"notes\":\"\"}",
	};
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_plan plan;
	int fd = open_lab(lab);

	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		run_lab_write(lab, "task.json", bad[i]);
		if (run_plan_read(fd, &plan, &err) != CLEAT_DATA_LOSS)
			fail_msg("believed: %s", bad[i]);
	}
	close(fd);
}

static void test_destroy__of_a_damaged_task_removes_what_it_can(void **state)
{
	const struct run_lab *lab = *state;
	static const char *const dirs[] = { "tasks", "tasks/t1", "tasks/t2", NULL };

	make_dirs(lab, dirs);
	run_lab_write(lab, "tasks/t1/task.json", "no JSON");
	run_lab_destroy(lab, "t1");
	run_lab_destroy(lab, "t2"); /* nothing but a directory */
	assert_true(run_lab_is_clean(lab));
}

static void test_end__comes_back_as_it_was(void **state)
{
	const struct run_lab *lab = *state;
	const struct run_exit end = {
		.code = 137, .signal = 9, .oom_killed = true, .message = "why", .finished_ms = 1700000000123
	};
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_exit back;
	int fd = open_lab(lab);

	assert_false(run_end_read(fd, &back));
	run_lab_ok(run_end_write(fd, &end, &err), &err);
	assert_true(run_end_read(fd, &back));
	assert_true(back.code == 137 && back.signal == 9 && back.oom_killed &&
		    back.finished_ms == 1700000000123);
	assert_string_equal(back.message, "why");
	close(fd);
}

/* ---- what is refused ---- */

static void test_spec__bad_values_are_named(void **state)
{
	const struct run_lab *lab = *state;
	static const char *const ids[] = { "", ".", "..", ".a", "-a", "a/b", "a b", "a\n", NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char longest[140];

	for (const char *const *p = ids; *p; p++)
		assert_int_equal(run_check_id(*p, &err), CLEAT_INVALID_ARGUMENT);
	memset(longest, 'x', sizeof(longest));
	longest[128] = '\0';
	run_lab_ok(run_check_id(longest, &err), &err);
	longest[128] = 'x';
	longest[129] = '\0';
	assert_int_equal(run_check_id(longest, &err), CLEAT_INVALID_ARGUMENT);
	struct run_spec spec = run_lab_spec(lab, "t1", "");
	run_lab_ok(run_check_spec(&spec, &err), &err);
	spec.memory_bytes = -1;
	run_lab_expect(run_check_spec(&spec, &err), &err, CLEAT_INVALID_ARGUMENT, "negative");
	spec.memory_bytes = 0;
	spec.cpuset = strdup("0-1;rm");
	run_lab_expect(run_check_spec(&spec, &err), &err, CLEAT_INVALID_ARGUMENT,
		       "'0-1;rm' is no list of cores");
	run_lab_text(&spec.cpuset, "0-1,3");
	run_lab_text(&spec.cwd, "not/absolute");
	run_lab_expect(run_check_spec(&spec, &err), &err, CLEAT_INVALID_ARGUMENT,
		       "working directory 'not/absolute'");
	run_lab_text(&spec.cwd, "/");
	run_lab_env(&spec, "A=B", "");
	run_lab_expect(run_check_spec(&spec, &err), &err, CLEAT_INVALID_ARGUMENT, "'A=B' is no name");
	run_lab_text(&spec.env.items[0].key, "A");
	run_lab_ok(run_check_spec(&spec, &err), &err);
	free(spec.argv[0]);
	spec.argv[0] = strdup("");
	run_lab_expect(run_check_spec(&spec, &err), &err, CLEAT_INVALID_ARGUMENT, "no command");
	run_spec_done(&spec);
}

static void test_cgroup__parent_stays_below_the_mount(void **state)
{
	const struct run_lab *lab = *state;
	static const char *const bad[] = {
		"/", "..", "/a/../../b", "a//b", "a/./b", "/sys/fs/cgroup", "/sys/fs/cgroup/", "a/..", NULL
	};
	struct run_spec spec = run_lab_spec(lab, "t1", "");
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_plan plan = { .cgroup = NULL };

	for (const char *const *p = bad; *p; p++) {
		run_lab_text(&spec.cgroup_parent, *p);
		if (run_cgroup_plan(&spec, &plan, &err) != CLEAT_INVALID_ARGUMENT)
			fail_msg("accepted: %s", *p);
	}
	run_lab_text(&spec.cgroup_parent, "/sys/fs/cgroup/nomad.slice/share.slice/a.t.scope/");
	run_lab_ok(run_cgroup_plan(&spec, &plan, &err), &err);
	assert_string_equal(plan.cgroup, "/nomad.slice/share.slice/a.t.scope/t1");
	run_plan_done(&plan);
	free(spec.cgroup_parent);
	spec.cgroup_parent = NULL;
	run_lab_ok(run_cgroup_plan(&spec, &plan, &err), &err);
	assert_string_equal(plan.cgroup, "/cleat/t1");
	run_plan_done(&plan);
	run_spec_done(&spec);
}

static void test_check__says_what_is_missing(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_env env = { .dir = lab->tasks };

	run_lab_ok(run_check(&env, &err), &err);
	env.crun = "crun-of-no-kind";
	run_lab_expect(run_check(&env, &err), &err, CLEAT_FAILED_PRECONDITION,
		       "crun-of-no-kind is not installed");
	env.crun = NULL;
	env.conmon = "/no/such/conmon";
	run_lab_expect(run_check(&env, &err), &err, CLEAT_FAILED_PRECONDITION,
		       "no program '/no/such/conmon'");
	env.conmon = "/bin/false";
	run_lab_expect(run_check(&env, &err), &err, CLEAT_INTERNAL, "false: exit 1");
	env.conmon = NULL;
	env.helper = "/no/such/helper";
	if (run_cgroup_is_mixed())
		run_lab_expect(run_check(&env, &err), &err, CLEAT_FAILED_PRECONDITION, "'/no/such/helper'");
}

static void test_log__last_words_are_found(void **state)
{
	const struct run_lab *lab = *state;
	char words[100];

	run_lab_write(lab, "log",
		      "{\"msg\":\"unknown call ignored\",\"level\":\"warning\"}\n{\"msg\":\"it "
		      "\\\"broke\\\"\",\"level\":\"error\"}\n");
	int fd = open(run_lab_join(lab, "log"), O_RDONLY | O_CLOEXEC);
	assert_true(run_log_words(fd, words, sizeof(words)));
	assert_string_equal(words, "it \"broke\"");
	run_lab_write(lab, "log", "plain words\n\n");
	assert_true(run_log_words(fd, words, sizeof(words)));
	assert_string_equal(words, "plain words");
	run_lab_write(lab, "log", "");
	assert_false(run_log_words(fd, words, sizeof(words)));
	close(fd);
}

/* ---- where cgroup v2 is alone ---- */

/* In a mount namespace of its own, with cgroup2 where a machine without v1 has it.  What controllers there
 * are is up to the machine. */
static int be_alone_with_v2(const char *path)
{
	struct run_lab lab = { .path = "" };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char *argv[] = { "/bin/sh", "-c", "exit 6", NULL };
	struct run_handle *h = NULL;
	struct run_exec *x = NULL;
	struct run_stats stats;
	struct run_exec_io io;
	struct run_exit end;
	bool ended;

	snprintf(lab.path, sizeof(lab.path), "%s", path);
	snprintf(lab.tasks, sizeof(lab.tasks), "%s/tasks", path);
	lab.env.dir = lab.tasks;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL) < 0)
		return 77;
	if (run_cgroup_mode() != RUN_CGROUP_V2)
		return 10;
	struct run_spec spec =
		run_lab_spec(&lab, "t1", "cat /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.procs; sleep 1000");
	enum cleat_code code = run_start(&lab.env, &spec, &h, &err);
	run_spec_done(&spec);
	if (code == CLEAT_OK)
		run_lab_await(&lab, "t1.out", "cgroup.procs");
	if (code == CLEAT_OK)
		code = run_exec_start(h, argv, false, &x, &io, &err);
	if (code == CLEAT_OK)
		code = run_exec_wait(x, 20000, NULL, NULL, &end, &err);
	if (code == CLEAT_OK && end.code != 6)
		return 11;
	if (code == CLEAT_OK)
		code = run_stats(h, &stats, &err);
	if (code == CLEAT_OK && stats.cpu_total_ns == 0)
		return 12;
	if (code == CLEAT_OK)
		code = run_stop(h, SIGTERM, 0, &err);
	if (code == CLEAT_OK)
		code = run_wait(h, NULL, NULL, &ended, &end, &err);
	if (code == CLEAT_OK)
		code = run_destroy(&lab.env, "t1", &err);
	run_exec_free(x);
	run_unref(h);
	if (code != CLEAT_OK)
		fprintf(stderr, "%s\n", err.msg);
	return code == CLEAT_OK && end.code == 137 ? 0 : 13;
}

static void test_v2__alone_works(void **state)
{
	const struct run_lab *lab = *state;
	char path[64];
	pid_t pid;
	int status;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)getpid());
	char *argv[] = { path, (char *)(uintptr_t)lab->path, NULL };
	assert_int_equal(posix_spawn(&pid, path, NULL, NULL, argv, environ), 0);
	assert_int_equal(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("cgroup2 cannot be mounted here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_non_null(strstr(run_lab_read(lab, "t1.out"), "0::/\n/sys/fs/cgroup/cgroup.procs\n"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RUN_TEST(test_number__is_the_whole_of_its_line),
		RUN_TEST(test_stats__of_cgroup_v1),
		RUN_TEST(test_stats__of_cgroup_v2),
		RUN_TEST(test_user__files_are_those_of_the_root_whatever_links_say),
		RUN_TEST(test_plan__comes_back_as_it_was),
		RUN_TEST(test_plan__that_is_damaged_or_leads_elsewhere_is_not_believed),
		RUN_TEST(test_destroy__of_a_damaged_task_removes_what_it_can),
		RUN_TEST(test_end__comes_back_as_it_was),
		RUN_TEST(test_spec__bad_values_are_named),
		RUN_TEST(test_cgroup__parent_stays_below_the_mount),
		RUN_TEST(test_check__says_what_is_missing),
		RUN_TEST(test_log__last_words_are_found),
		RUN_TEST(test_v2__alone_works),
	};

	if (argc == 2)
		return be_alone_with_v2(argv[1]);
	int skip = run_lab_need();
	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
