/* sys_lab.h - what the tests of core/sys share: a directory of their own, errors injected by the hook, and
 * the proof that nothing is left behind. */
#ifndef CLEAT_TEST_SYS_LAB_H
#define CLEAT_TEST_SYS_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include <cleat/error.h>

#define LAB_PATH_BYTES 64
#define LAB_MIB (UINT64_C(1) << 20)

/* A test's own place, passed as *state. */
struct lab {
	char path[LAB_PATH_BYTES]; /* "/tmp/cleat-sys-...", or below $TMPDIR */
	int fd;			   /* of that directory */
	int fds_before;		   /* descriptors this process had before the test */
};

/* For cmocka_unit_test_setup_teardown: makes the place; tears it down and fails when the test has left a
 * descriptor, a mount, a loop device or a hook behind (and then removes what it left). */
int lab_setup(void **state);
int lab_teardown(void **state);
#define LAB_TEST(function) cmocka_unit_test_setup_teardown(function, lab_setup, lab_teardown)

/* For main(): 77 with a printed reason when this machine cannot run the tests, else 0. */
int lab_need_root(void);
int lab_need_loop(void);
int lab_need_tools(const char *const *names);

/* "<lab>/<name>" in a buffer that the tenth later call uses again. */
const char *lab_join(const struct lab *lab, const char *name);

/* Makes the n-th next step named call (1: the next) fail with errnum; 0 as errnum only counts.  NULL as call:
 * any. */
void lab_inject(const char *call, int n, int errnum);
void lab_inject_off(void);
/* How often call was stepped since lab_inject(). */
int lab_steps(const char *call);

/* The code must be `code`, and the text must contain `words`. */
void lab_expect(enum cleat_code got, const struct cleat_error *err, enum cleat_code code, const char *words);
/* The call must have worked; prints the error when not. */
void lab_ok(enum cleat_code got, const struct cleat_error *err);

/* Writes a file with this text, makes a directory, makes a sparse file. */
void lab_write(const struct lab *lab, const char *name, const char *text);
void lab_mkdir(const struct lab *lab, const char *name);
int lab_sparse(const struct lab *lab, const char *name, uint64_t bytes); /* open read-write */
bool lab_exists(const struct lab *lab, const char *name);
void lab_read(const struct lab *lab, const char *name, char *text, size_t room);
/* Makes a sparse image "<name>", formats it ("ext4", "xfs", "btrfs"; NULL: not) and binds it; loop_out->fd is
 * the test's to close. */
struct cleat_loop;
void lab_image(const struct lab *lab, const char *name, const char *fs, uint64_t bytes,
	       struct cleat_loop *loop_out);
/* Runs a tool and fails the test when it fails. */
void lab_run(const char *const *argv);
#define LAB_RUN(...) lab_run((const char *const[]){ __VA_ARGS__, NULL })

int lab_count_fds(void);
int lab_count_mounts(const struct lab *lab); /* below the lab */
int lab_count_loops(const struct lab *lab);  /* bound to files of the lab */
/* Waits until no loop device is bound to a file of the lab: other programs may hold one open for a moment. */
bool lab_no_loops(const struct lab *lab);

#endif
