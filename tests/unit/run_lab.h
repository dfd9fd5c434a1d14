/* run_lab.h - what the tests of running tasks share: a place of their own, tasks made of a line of shell, and
 * a look at what is left over. */
#ifndef RUN_LAB_H
#define RUN_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/run.h"

struct run_lab {
	char path[64]; /* below /tmp */
	char tasks[80];
	struct run_env env;
	int fds_before;
};

#define RUN_TEST(test) cmocka_unit_test_setup_teardown(test, run_lab_setup, run_lab_teardown)
/* Setup and teardown of cmocka; the teardown removes tasks that a failed test has left, and fails when
 * anything is left over. */
int run_lab_setup(void **state);
int run_lab_teardown(void **state);
/* 77 with a reason when crun or conmon is not installed, or this is not root; else 0. */
int run_lab_need(void);

/* Below the lab; of the last few calls. */
const char *run_lab_join(const struct run_lab *lab, const char *name);
void run_lab_write(const struct run_lab *lab, const char *name, const char *text);
/* The whole file, "" when there is none; of the last few calls. */
const char *run_lab_read(const struct run_lab *lab, const char *name);

/* A task that runs `sh -c script`, its output in the files "<id>.out" and "<id>.err" of the lab. */
struct run_spec run_lab_spec(const struct run_lab *lab, const char *id, const char *script);
void run_lab_text(char **field, const char *text);
char **run_lab_list(const char *first, ...) __attribute__((sentinel));
void run_lab_env(struct run_spec *spec, const char *key, const char *value);
void run_lab_mount(struct run_spec *spec, const char *source, const char *target, bool read_only,
		   const char *propagation);

/* Starts it and frees the spec. */
struct run_handle *run_lab_start(const struct run_lab *lab, struct run_spec *spec);
/* As far as the exit code. */
struct run_exit run_lab_end(struct run_handle *h);
/* Starts, waits, destroys; its output is in the files. */
struct run_exit run_lab_run(const struct run_lab *lab, struct run_spec *spec);
void run_lab_destroy(const struct run_lab *lab, const char *id);
/* Waits until the file has the text in it, ten seconds at most. */
void run_lab_await(const struct run_lab *lab, const char *name, const char *text);
void run_lab_expect(enum cleat_code got, const struct cleat_error *err, enum cleat_code code,
		    const char *words);
void run_lab_ok(enum cleat_code got, const struct cleat_error *err);
/* Waits until there is nothing left of the lab's tasks: processes, cgroups, mounts, directories; false after
 * ten seconds. */
bool run_lab_is_clean(const struct run_lab *lab);

#endif
