/* Tests of core/sys/spawn.c.  The tool that is run is this program itself: "sys_spawn_test child <what to
 * do>". */
#include "sys_lab.h"

#include "sys/file.h"
#include "sys/hook.h"
#include "sys/spawn.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char self[4096];

#define SELF(...) ((const char *const[]){ self, "child", __VA_ARGS__, NULL })

static enum cleat_code run(const char *const *argv, int64_t limit_ms, char *out, size_t out_bytes,
			   struct cleat_error *err)
{
	return cleat_sys_spawn(&(struct cleat_spawn){ .argv = argv, .keep_fd = -1, .limit_ms = limit_ms },
			       out, out_bytes, NULL, err);
}

/* ---- the child ---- */

static void put(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		_exit(99);
}

static void put_many(int fd, size_t n, char c)
{
	char chunk[1000];

	memset(chunk, c, sizeof(chunk));
	for (; n > sizeof(chunk); n -= sizeof(chunk))
		if (write(fd, chunk, sizeof(chunk)) < 0)
			_exit(99);
	if (write(fd, chunk, n) < 0)
		_exit(99);
}

/* What a tool finds when it starts, in one line of short words. */
static int tell_facts(void)
{
	sigset_t mask;
	int blocked = 0, handled = 0;
	struct stat in, null;
	DIR *dir = opendir("/proc/self/fd");

	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int s = 1; s < SIGRTMIN; s++) {
		struct sigaction action;
		blocked += sigismember(&mask, s) == 1;
		if (s == SIGINT || s == SIGHUP || s == SIGCHLD || s == SIGUSR1 || s == SIGTERM)
			handled += sigaction(s, NULL, &action) == 0 && action.sa_handler != SIG_DFL;
	}
	printf("blocked=%d handled=%d", blocked, handled);
	printf(" null=%d", fstat(0, &in) == 0 && stat("/dev/null", &null) == 0 && in.st_rdev == null.st_rdev);
	printf(" group=%d", getpgrp() == getpid());
	printf(" lc=%s", getenv("LC_ALL"));
	printf(" mine=%s", getenv("CLEAT_TEST_MINE") ? getenv("CLEAT_TEST_MINE") : "?");
	printf(" sbin=%d", strstr(getenv("PATH"), ":/usr/sbin:/sbin") != NULL);
	printf(" fds=");
	for (const struct dirent *d; (d = readdir(dir));)
		if (d->d_name[0] != '.' && atoi(d->d_name) != dirfd(dir))
			printf("%s,", d->d_name);
	closedir(dir);
	puts("");
	return 0;
}

/* Leaves a process behind that has everything we have, and tells its number. */
static int leave_one_behind(bool stay)
{
	char text[32];
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	snprintf(text, sizeof(text), "%d\n", (int)pid);
	put(1, text);
	while (stay)
		pause();
	return 0;
}

static int wait_for_word(const char *fifo)
{
	int fd = open(fifo, O_RDONLY);
	char c;

	return fd >= 0 && read(fd, &c, 1) == 1 ? 0 : 1;
}

/* Starts, and once the word comes writes far more than a pipe holds, to nobody, before it does its work. */
static int outlive(const char *dir)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/fifo", dir);
	if (wait_for_word(path) != 0)
		return 1;
	for (int i = 0; i < 1000; i++) {
		ssize_t ignored = write(1, path, sizeof(path));
		(void)ignored;
	}
	snprintf(path, sizeof(path), "%s/done", dir);
	return mkdir(path, 0700);
}

static int child(const char *what, const char *arg)
{
	signal(SIGALRM, SIG_DFL);
	alarm(60); /* should the test die */
	if (strcmp(what, "facts") == 0)
		return tell_facts();
	if (strcmp(what, "echo") == 0) {
		put(1, arg);
		return 0;
	}
	if (strcmp(what, "much") == 0) {
		put(1, "first");
		put_many(1, 1000000, 'x');
		put_many(2, 1000000, 'e');
		put(1, "last");
		return 0;
	}
	if (strcmp(what, "fail") == 0) {
		put(2, "cannot do it:\n  the cause\t\n\n");
		put(1, "progress 10%\rprogress 100%\r\ndetails\n");
		return atoi(arg);
	}
	if (strcmp(what, "long") == 0) {
		put_many(2, 1000, 'e');
		put(2, " the very end");
		return 1;
	}
	if (strcmp(what, "bytes") == 0) {
		put(2, "bad \xff\xfe bytes \033[1mbold");
		return 1;
	}
	if (strcmp(what, "letters") == 0) { /* two bytes each: a cut at an odd place goes through one */
		for (int i = 0; i < 400; i++)
			put(2, "\303\244");
		put(2, "!");
		return 1;
	}
	if (strcmp(what, "signal") == 0) {
		signal(atoi(arg), SIG_DFL); /* a sanitizer has its own idea of a crash */
		put(2, "about to die");
		raise(atoi(arg));
		return 98;
	}
	if (strcmp(what, "spam") == 0)
		for (;;)
			put_many(1, 100000, 's');
	if (strcmp(what, "wait") == 0)
		return wait_for_word(arg);
	if (strcmp(what, "outlive") == 0)
		return outlive(arg);
	if (strcmp(what, "leave") == 0)
		return leave_one_behind(false);
	if (strcmp(what, "family") == 0)
		return leave_one_behind(true);
	put(2, "started, and waits");
	for (;;)
		pause();
}

/* ---- output and status ---- */

static void test_spawn__output_is_stdout_up_to_its_room(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char out[16];

	(void)state;
	lab_ok(run(SELF("echo", "hello"), 0, out, sizeof(out), &err), &err);
	assert_string_equal(out, "hello");
	lab_ok(run(SELF("echo", "exactly fifteen"), 0, out, sizeof(out), &err), &err);
	assert_string_equal(out, "exactly fifteen");
	lab_ok(run(SELF("much", ""), 0, out, sizeof(out), &err), &err);
	assert_string_equal(out, "firstxxxxxxxxxx");
	lab_ok(run(SELF("much", ""), 0, out, 1, &err), &err);
	assert_string_equal(out, "");
	lab_ok(run(SELF("much", ""), 0, NULL, 0, &err), &err);
	char *large = malloc(1100000);
	lab_ok(run(SELF("much", ""), 0, large, 1100000, &err), &err);
	assert_int_equal(strlen(large), 1000009);
	assert_string_equal(large + 1000005, "last");
	free(large);
}

static void test_spawn__failure_carries_status_and_last_words(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char out[64] = "untouched";
	int status = 55;

	(void)state;
	struct cleat_spawn how = { .argv = SELF("fail", "3"), .keep_fd = -1, .ok_status_max = 2 };
	lab_expect(cleat_sys_spawn(&how, out, sizeof(out), &status, &err), &err, CLEAT_INTERNAL,
		   "sys_spawn_test: exit 3: cannot do it: the cause: progress 10% progress 100% details");
	assert_int_equal(status, 55);
	assert_string_equal(out, "untouched");
	how.ok_status_max = 3;
	lab_ok(cleat_sys_spawn(&how, out, sizeof(out), &status, &err), &err);
	assert_int_equal(status, 3);
	assert_non_null(strstr(out, "details"));
	assert_int_equal(cleat_sys_spawn(&(struct cleat_spawn){ .argv = SELF("fail", "1"), .keep_fd = -1 },
					 NULL, 0, NULL, NULL),
			 CLEAT_INTERNAL);
	lab_expect(run(SELF("signal", "11"), 0, NULL, 0, &err), &err, CLEAT_INTERNAL,
		   "ended by signal 11 (SIGSEGV): about to die");
	lab_expect(run(SELF("signal", "9"), 0, NULL, 0, &err), &err, CLEAT_INTERNAL, "(SIGKILL)");
}

static void test_spawn__words_are_clean_text_and_not_too_many(void **state)
{
	static const char *const what[] = { "long", "bytes", "letters" };
	static const char *const words[] = { "eeee the very end", "bad ?? bytes [1mbold",
					     "\303\244\303\244!" };
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(what); i++) {
		lab_expect(run(SELF(what[i], ""), 0, NULL, 0, &err), &err, CLEAT_INTERNAL, words[i]);
		assert_true(cleat_text_is_clean(err.msg, strlen(err.msg)));
		assert_true(strlen(err.msg) < 400);
	}
}

/* ---- what the child gets ---- */

static void test_spawn__the_child_starts_clean(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char out[256];
	sigset_t usr1, before;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigaddset(&usr1, SIGTERM);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr1, &before), 0);
	void (*hup_before)(int) = signal(SIGHUP, SIG_IGN);
	setenv("CLEAT_TEST_MINE", "yes", 1);
	setenv("LC_ALL", "de_DE.UTF-8", 1);
	int leaky = open("/dev/null", O_RDONLY); /* a careless library's descriptor, not close-on-exec */
	enum cleat_code code = run(SELF("facts", ""), 0, out, sizeof(out), &err);
	close(leaky);
	unsetenv("LC_ALL");
	unsetenv("CLEAT_TEST_MINE");
	signal(SIGHUP, hup_before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	lab_ok(code, &err);
	assert_string_equal(out, "blocked=0 handled=0 null=1 group=1 lc=C mine=yes sbin=1 fds=0,1,2,\n");

	struct cleat_spawn how = { .argv = SELF("facts", ""), .keep_fd = lab->fd };
	lab_ok(cleat_sys_spawn(&how, out, sizeof(out), NULL, &err), &err);
	assert_non_null(strstr(out, "fds=0,1,2,3,\n"));
}

/* A daemon may have closed its standard descriptors, so that ours come to lie where the child's are to be. */
static int run_without_standard_descriptors(void)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char out[256];

	for (int fd = 0; fd <= 3; fd++)
		close(fd);
	int keep = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct cleat_spawn how = { .argv = SELF("facts", ""), .keep_fd = keep };
	if (keep != 0 || cleat_sys_spawn(&how, out, sizeof(out), NULL, &err) != CLEAT_OK)
		return 1;
	if (!strstr(out, "null=1") || !strstr(out, "fds=0,1,2,3,\n"))
		return 2;
	how.argv = SELF("fail", "1");
	return cleat_sys_spawn(&how, NULL, 0, NULL, &err) == CLEAT_INTERNAL && strstr(err.msg, "the cause")
		       ? 0
		       : 3;
}

static void test_spawn__works_with_standard_descriptors_closed(void **state)
{
	int status = 0;

	(void)state;
	pid_t pid = fork();
	if (pid == 0)
		_exit(run_without_standard_descriptors());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- finding tools ---- */

static void test_spawn__tools_are_found_in_path_and_sbin(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char old[8192], path[600], out[32];

	snprintf(old, sizeof(old), "%s", getenv("PATH"));
	lab_write(lab, "not-executable", "");
	lab_mkdir(lab, "a-directory");
	assert_int_equal(symlinkat(self, lab->fd, "cleat-test-tool"), 0);
	snprintf(path, sizeof(path), "::.:relative:/none:%s/", lab->path);
	setenv("PATH", path, 1);
	assert_true(cleat_sys_have_tool("cleat-test-tool"));
	assert_false(cleat_sys_have_tool("not-executable"));
	assert_false(cleat_sys_have_tool("a-directory"));
	assert_false(cleat_sys_have_tool("cleat-no-such-tool"));
	assert_true(cleat_sys_have_tool("mke2fs")); /* in /usr/sbin or /sbin */
	assert_true(cleat_sys_have_tool(self));
	assert_false(cleat_sys_have_tool(lab_join(lab, "not-executable")));
	lab_ok(run((const char *const[]){ "cleat-test-tool", "child", "echo", "found", NULL }, 0, out,
		   sizeof(out), &err),
	       &err);
	assert_string_equal(out, "found");
	lab_expect(run((const char *const[]){ "cleat-no-such-tool", NULL }, 0, NULL, 0, &err), &err,
		   CLEAT_FAILED_PRECONDITION, "cleat-no-such-tool is not installed");
	unsetenv("PATH");
	assert_true(cleat_sys_have_tool("mke2fs"));
	assert_int_equal(chdir(lab->path), 0);
	setenv("PATH", "::.", 1); /* the working directory is nobody's place for tools */
	assert_false(cleat_sys_have_tool("cleat-test-tool"));
	setenv("PATH", old, 1);
	assert_int_equal(chdir("/"), 0);
}

/* ---- time ---- */

static void test_spawn__a_tool_past_its_limit_is_killed(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	for (int pidfd = 1; pidfd >= 0; pidfd--) {
		if (!pidfd)
			lab_inject("pidfd_open", 1, ENOSYS);
		int64_t start_ms = cleat_time_mono_ms();
		lab_expect(run(SELF("stay", ""), 1500, NULL, 0, &err), &err, CLEAT_DEADLINE_EXCEEDED,
			   "killed after 1500 ms: started, and waits");
		int64_t took_ms = cleat_time_mono_ms() - start_ms;
		lab_inject_off();
		assert_in_range(took_ms, 1500, 20000);
		assert_true(err.retry);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing left to wait for */
		assert_int_equal(errno, ECHILD);
	}
	/* one that never stops writing neither fills memory nor escapes */
	char out[8];
	lab_expect(run(SELF("spam", ""), 500, out, sizeof(out), &err), &err, CLEAT_DEADLINE_EXCEEDED,
		   "killed after 500");
}

static void test_spawn__without_pidfd_all_goes_the_same(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char out[16];

	(void)state;
	lab_inject("pidfd_open", 1, ENOSYS);
	lab_ok(run(SELF("much", ""), 0, out, sizeof(out), &err), &err);
	assert_string_equal(out, "firstxxxxxxxxxx");
	lab_inject("pidfd_open", 1, ENOSYS);
	lab_expect(run(SELF("fail", "1"), 0, NULL, 0, &err), &err, CLEAT_INTERNAL, "exit 1: cannot do it");
	lab_inject_off();
}

static bool is_alive(pid_t pid)
{
	char path[64], text[256] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	bool read_it = fgets(text, sizeof(text), f) != NULL;
	fclose(f);
	const char *end = read_it ? strrchr(text, ')') : NULL;
	return end && end[1] == ' ' && end[2] != 'Z' && end[2] != 'X';
}

static bool dies(pid_t pid)
{
	const struct timespec pause = { .tv_nsec = 5000000 };

	for (int64_t end = cleat_time_mono_ms() + 10000; is_alive(pid); nanosleep(&pause, NULL))
		if (cleat_time_mono_ms() > end)
			return false;
	return true;
}

static void test_spawn__a_grandchild_that_keeps_the_pipe_does_not_hold_us(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char out[32];

	(void)state;
	int64_t start_ms = cleat_time_mono_ms();
	lab_ok(run(SELF("leave", ""), 30000, out, sizeof(out), &err), &err);
	pid_t grandchild = atoi(out);
	assert_true(cleat_time_mono_ms() - start_ms < 20000);
	assert_true(grandchild > 1 && is_alive(grandchild)); /* what a tool leaves on purpose stays */
	kill(grandchild, SIGKILL);
	assert_true(dies(grandchild));
}

static void test_spawn__the_limit_takes_the_whole_family(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	int fd = lab_sparse(lab, "image", 0), other = openat(lab->fd, "image", O_RDWR | O_CLOEXEC);

	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	struct cleat_spawn how = { .argv = SELF("family", ""), .keep_fd = fd, .limit_ms = 1500 };
	enum cleat_code code = cleat_sys_spawn(&how, NULL, 0, NULL, &err);
	close(fd);
	assert_int_equal(code, CLEAT_DEADLINE_EXCEEDED);
	pid_t grandchild = atoi(strstr(err.msg, " ms: ") + 5);
	assert_true(grandchild > 1);
	assert_true(dies(grandchild));
	/* So nobody has the image any more; a killed process gives up its descriptors a moment after the signal. */
	int held = -1;
	for (int i = 0; i < 500 && (held = flock(other, LOCK_EX | LOCK_NB)) != 0; i++)
		usleep(10000);
	assert_int_equal(held, 0);
	close(other);
}

/* ---- the lock of an image ---- */

struct runner {
	struct cleat_spawn how;
	enum cleat_code code;
	struct cleat_error err;
};

static void *run_it(void *arg)
{
	struct runner *r = arg;

	r->code = cleat_sys_spawn(&r->how, NULL, 0, NULL, &r->err);
	return NULL;
}

static void test_spawn__the_lock_of_keep_fd_lives_as_long_as_the_child(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	int fd = lab_sparse(lab, "image", 0), other = openat(lab->fd, "image", O_RDWR | O_CLOEXEC);
	pthread_t thread;
	char fifo[256];

	snprintf(fifo, sizeof(fifo), "%s/fifo", lab->path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	lab_ok(cleat_sys_lock(fd, "image", &err), &err);
	struct runner r = { .how = { .argv = SELF("wait", fifo), .keep_fd = fd } };
	assert_int_equal(pthread_create(&thread, NULL, run_it, &r), 0);
	int word = open(fifo,
			O_WRONLY | O_CLOEXEC); /* returns when the child has opened the other end: it runs */
	assert_true(word >= 0);
	close(fd);
	assert_int_equal(cleat_sys_lock(other, "image", &err), CLEAT_FAILED_PRECONDITION);
	assert_int_equal(write(word, "x", 1), 1);
	pthread_join(thread, NULL);
	close(word);
	lab_ok(r.code, &r.err);
	lab_ok(cleat_sys_lock(other, "image", &err), &err);
	close(other);
}

static void test_spawn__the_child_outlives_a_killed_daemon(void **state)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	const struct lab *lab = *state;
	char fifo[256];

	snprintf(fifo, sizeof(fifo), "%s/fifo", lab->path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	pid_t daemon = fork();
	if (daemon == 0) {
		signal(SIGPIPE, SIG_IGN);
		_exit(run(SELF("outlive", lab->path), 0, NULL, 0, NULL) == CLEAT_OK ? 0 : 1);
	}
	int word = open(fifo, O_WRONLY | O_CLOEXEC); /* returns when the tool runs */
	kill(daemon, SIGKILL);
	assert_int_equal(waitpid(daemon, NULL, 0), daemon);
	assert_int_equal(write(word, "x", 1), 1);
	close(word);
	for (int64_t end = cleat_time_mono_ms() + 20000; !lab_exists(lab, "done"); nanosleep(&pause, NULL))
		assert_true(cleat_time_mono_ms() < end);
}

/* ---- failures ---- */

static void test_spawn__what_cannot_start_is_told(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_inject("posix_spawn", 1, EAGAIN);
	lab_expect(run(SELF("echo", "x"), 0, NULL, 0, &err), &err, CLEAT_RESOURCE_EXHAUSTED,
		   "too many processes");
	lab_inject("posix_spawn", 1, ENOMEM);
	lab_expect(run(SELF("echo", "x"), 0, NULL, 0, &err), &err, CLEAT_RESOURCE_EXHAUSTED, "start '");
	lab_inject_off();
	lab_write(lab, "garbage", "\177ELF but not really");
	assert_int_equal(fchmodat(lab->fd, "garbage", 0755, 0), 0);
	const char *argv[] = { lab_join(lab, "garbage"), NULL };
	lab_expect(run(argv, 0, NULL, 0, &err), &err, CLEAT_INTERNAL, "garbage': Exec format error");
	struct cleat_spawn how = { .argv = SELF("echo", "x"), .keep_fd = 19999 };
	lab_expect(cleat_sys_spawn(&how, NULL, 0, NULL, &err), &err, CLEAT_INTERNAL, "Bad file descriptor");
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_spawn__a_status_that_somebody_else_took_is_no_success(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	void (*before)(int) = signal(SIGCHLD, SIG_IGN); /* the kernel throws statuses away */
	enum cleat_code code = run(SELF("echo", "x"), 0, NULL, 0, &err);
	signal(SIGCHLD, before);
	lab_expect(code, &err, CLEAT_INTERNAL, "wait for 'sys_spawn_test'");
}

/* ---- threads ---- */

static void *run_many(void *arg)
{
	const char *name = arg;

	for (int i = 0; i < 15; i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		char text[64], out[64];
		snprintf(text, sizeof(text), "%s-%d", name, i);
		if (run(SELF("echo", text), 0, out, sizeof(out), &err) != CLEAT_OK || strcmp(text, out) != 0)
			return NULL;
		if (run(SELF("fail", "4"), 0, NULL, 0, &err) != CLEAT_INTERNAL || !strstr(err.msg, "exit 4"))
			return NULL;
	}
	return arg;
}

static void test_spawn__threads_do_not_mix_their_tools(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	pthread_t threads[CLEAT_COUNT(names)];

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(names); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_many, (void *)(uintptr_t)names[i]), 0);
	for (size_t i = 0; i < CLEAT_COUNT(names); i++) {
		void *ok = NULL;
		pthread_join(threads[i], &ok);
		assert_ptr_equal(ok, names[i]);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_spawn__output_is_stdout_up_to_its_room),
		LAB_TEST(test_spawn__failure_carries_status_and_last_words),
		LAB_TEST(test_spawn__words_are_clean_text_and_not_too_many),
		LAB_TEST(test_spawn__the_child_starts_clean),
		LAB_TEST(test_spawn__works_with_standard_descriptors_closed),
		LAB_TEST(test_spawn__tools_are_found_in_path_and_sbin),
		LAB_TEST(test_spawn__a_tool_past_its_limit_is_killed),
		LAB_TEST(test_spawn__without_pidfd_all_goes_the_same),
		LAB_TEST(test_spawn__a_grandchild_that_keeps_the_pipe_does_not_hold_us),
		LAB_TEST(test_spawn__the_limit_takes_the_whole_family),
		LAB_TEST(test_spawn__the_lock_of_keep_fd_lives_as_long_as_the_child),
		LAB_TEST(test_spawn__the_child_outlives_a_killed_daemon),
		LAB_TEST(test_spawn__what_cannot_start_is_told),
		LAB_TEST(test_spawn__a_status_that_somebody_else_took_is_no_success),
		LAB_TEST(test_spawn__threads_do_not_mix_their_tools),
	};

	if (argc > 2 && strcmp(argv[1], "child") == 0)
		return child(argv[2], argc > 3 ? argv[3] : "");
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return 1;
	return cmocka_run_group_tests_name("sys_spawn", tests, NULL, NULL);
}
