/* run.c - see run.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "run.h"

#include "util/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 60000
#define OUTPUT_MAX_BYTES (1u << 20)

extern char **environ;

void test_run_start(struct test_run *r, const char *const *argv, const char *const *env)
{
	union {
		const char *const *ours;
		char *const *theirs;
	} args = { .ours = argv }, vars = { .ours = env };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int out[2], err[2];

	*r = (struct test_run){ .out_fd = -1, .err_fd = -1 };
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr,
				 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	posix_spawn_file_actions_adddup2(&actions, err[1], 2);
	assert_int_equal(
		posix_spawn(&r->pid, argv[0], &actions, &attr, args.theirs, env ? vars.theirs : environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	close(out[1]);
	close(err[1]);
	r->out_fd = out[0];
	r->err_fd = err[0];
}

/* Appends what there is; false at the end. */
static bool take(int fd, char **text, size_t *n)
{
	char *grown = realloc(*text, *n + 4097);
	ssize_t got;

	assert_non_null(grown);
	*text = grown;
	got = read(fd, grown + *n, 4096);
	*n += got > 0 ? (size_t)got : 0;
	grown[*n] = '\0';
	assert_true(*n < OUTPUT_MAX_BYTES);
	return got > 0;
}

void test_run_wait(struct test_run *r)
{
	const int64_t until_ms = cleat_time_mono_ms() + WAIT_MS;
	size_t n_out = 0, n_err = 0;
	int status;

	while (r->out_fd >= 0 || r->err_fd >= 0) {
		struct pollfd p[2] = { { .fd = r->out_fd, .events = POLLIN },
				       { .fd = r->err_fd, .events = POLLIN } };
		int64_t left_ms = until_ms - cleat_time_mono_ms();

		if (left_ms <= 0 || poll(p, 2, (int)left_ms) <= 0)
			break;
		if (p[0].revents && !take(r->out_fd, &r->out, &n_out)) {
			close(r->out_fd);
			r->out_fd = -1;
		}
		if (p[1].revents && !take(r->err_fd, &r->err, &n_err)) {
			close(r->err_fd);
			r->err_fd = -1;
		}
	}
	if (r->out_fd >= 0 || r->err_fd >= 0) {
		kill(-r->pid, SIGKILL);
		fail_msg("the program does not end; it said: %s%s", r->out ? r->out : "",
			 r->err ? r->err : "");
	}
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	r->pid = 0;
	r->code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void test_run_kill(struct test_run *r)
{
	assert_int_equal(kill(-r->pid, SIGKILL), 0);
	test_run_wait(r);
}

void test_run_done(struct test_run *r)
{
	if (r->pid > 0) {
		kill(-r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
	}
	if (r->out_fd >= 0)
		close(r->out_fd);
	if (r->err_fd >= 0)
		close(r->err_fd);
	free(r->out);
	free(r->err);
	*r = (struct test_run){ .out_fd = -1, .err_fd = -1 };
}

void test_run(struct test_run *r, const char *const *argv, const char *const *env)
{
	test_run_start(r, argv, env);
	test_run_wait(r);
}
