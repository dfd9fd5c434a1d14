/* run.h - runs a program as a scheduler does: an argument vector, /dev/null as stdin, both outputs caught. */
#ifndef CLEAT_TESTS_RUN_H
#define CLEAT_TESTS_RUN_H

#include <sys/types.h>

struct test_run {
	pid_t pid; /* 0: ended and looked at */
	int out_fd, err_fd;
	int code;	 /* exit code, or 1000 + signal */
	char *out, *err; /* NUL-terminated; owned */
};

/* Starts argv[0] (a path) in a process group of its own, with this environment; NULL: that of the test. */
void test_run_start(struct test_run *r, const char *const *argv, const char *const *env);
/* Reads to the end of both outputs and waits for the program, a minute at most; asserts that it ends. */
void test_run_wait(struct test_run *r);
/* SIGKILL to its process group, and waits. */
void test_run_kill(struct test_run *r);
void test_run_done(struct test_run *r);
/* Both, one after the other. */
void test_run(struct test_run *r, const char *const *argv, const char *const *env);

#endif
