/* daemon.h - runs a real cleatd on directories of its own, for integration tests.
 *
 * Waits are for what the daemon says itself (its notify messages, its end), each with a limit; nothing here
 * sleeps and hopes.
 */
#ifndef CLEAT_TESTS_DAEMON_H
#define CLEAT_TESTS_DAEMON_H

#include "cleat/v1/volumes.pb-c.h"
#include "rt/client.h"

#include <stdbool.h>
#include <sys/types.h>

#define TEST_WAIT_MS 60000 /* longest wait for anything; sanitizers are slow */

struct test_daemon {
	char dir[48]; /* everything is below it */
	char state[64], run[64], conf[64], log[64], socket[64], notify[64];
	const char *fault; /* CLEAT_FAULT; NULL: none */
	int pass_fd;	   /* a listening socket to hand over as systemd does; -1: none */
	int notify_fd;
	pid_t pid; /* 0: not running */
	struct cleat_rpc_client *client;
};

/* Directories and sockets; asserts that all went well. */
void test_daemon_init(struct test_daemon *d);
/* Ends what runs, takes away every mount, loop device and file. */
void test_daemon_done(struct test_daemon *d);

/* Writes the configuration file; the text is a printf format. */
void test_daemon_config(struct test_daemon *d, const char *fmt, ...) CLEAT_PRINTF(2, 3);
/* Starts cleatd with the directories, the configuration file if there is one, and these further options
 * (NULL-terminated, may be NULL). Output goes to d->log (appended). */
void test_daemon_spawn(struct test_daemon *d, const char *const *options);
/* The same and waits until it says READY=1; makes the client. */
void test_daemon_start(struct test_daemon *d, const char *const *options);
/* Waits for a notify message that contains text. */
void test_daemon_expect_notify(struct test_daemon *d, const char *text);
void test_daemon_signal(struct test_daemon *d, int sig);
/* Waits for its end: the exit code, or 1000 + signal. */
int test_daemon_wait(struct test_daemon *d);
/* SIGTERM and a good end. */
void test_daemon_stop(struct test_daemon *d);
/* All that it logged so far; free(). */
char *test_daemon_log(struct test_daemon *d);
bool test_daemon_logged(struct test_daemon *d, const char *text);

/* One call of cleat.v1.Volumes; out (may be NULL) as in cleat_rpc_client_call(). */
enum cleat_code test_daemon_call(struct test_daemon *d, const char *method, const ProtobufCMessage *in,
				 ProtobufCMessage **out, struct cleat_error *err);
/* Creates a volume of 1 MiB in pool "" or pool/name; asserts success. */
void test_daemon_create(struct test_daemon *d, const char *pool, const char *name);

#endif
