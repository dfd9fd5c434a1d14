/* daemon.c - see daemon.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon.h"

#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGS 40
#define MAX_LOG_BYTES (4u << 20)

extern char **environ;

static void open_notify(struct test_daemon *d)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	d->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(d->notify_fd >= 0);
	memcpy(at.sun_path, d->notify, strlen(d->notify));
	assert_int_equal(bind(d->notify_fd, (struct sockaddr *)&at, sizeof(at)), 0);
}

void test_daemon_init(struct test_daemon *d)
{
	*d = (struct test_daemon){ .pass_fd = -1, .notify_fd = -1 };
	snprintf(d->dir, sizeof(d->dir), "/tmp/cleat-daemon-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	snprintf(d->state, sizeof(d->state), "%.40s/state", d->dir);
	snprintf(d->run, sizeof(d->run), "%.40s/run", d->dir);
	snprintf(d->conf, sizeof(d->conf), "%.40s/conf", d->dir);
	snprintf(d->log, sizeof(d->log), "%.40s/log", d->dir);
	snprintf(d->socket, sizeof(d->socket), "%.40s/cleat.sock", d->dir);
	snprintf(d->notify, sizeof(d->notify), "%.40s/notify.sock", d->dir);
	open_notify(d);
}

/* ---- tidying up ---- */

/* Unmounts whatever is below dir, the last mounted first. */
static void unmount_below(const char *dir)
{
	size_t n = strlen(dir);

	for (bool found = true; found;) {
		FILE *table = fopen("/proc/self/mountinfo", "re");
		char line[4096], target[2048], last[2048] = "";

		found = false;
		while (table && fgets(line, sizeof(line), table))
			if (sscanf(line, "%*s %*s %*s %*s %2047s", target) == 1 &&
			    strncmp(target, dir, n) == 0)
				snprintf(last, sizeof(last), "%s", target);
		if (table)
			fclose(table);
		if (last[0])
			found = umount2(last, MNT_DETACH | UMOUNT_NOFOLLOW) == 0;
	}
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

void test_daemon_done(struct test_daemon *d)
{
	cleat_rpc_client_free(d->client);
	if (d->pid) {
		kill(d->pid, SIGKILL);
		waitpid(d->pid, NULL, 0);
	}
	if (d->notify_fd >= 0)
		close(d->notify_fd);
	if (d->pass_fd >= 0)
		close(d->pass_fd);
	unmount_below(d->dir);
	nftw(d->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	*d = (struct test_daemon){ .pass_fd = -1, .notify_fd = -1 };
}

/* ---- running ---- */

void test_daemon_config(struct test_daemon *d, const char *fmt, ...)
{
	FILE *f = fopen(d->conf, "we");
	va_list args;

	assert_non_null(f);
	va_start(args, fmt);
	vfprintf(f, fmt, args);
	va_end(args);
	assert_int_equal(fclose(f), 0);
}

/* The variables of this process and those of the test; names that the test sets come once. */
static size_t make_environment(const struct test_daemon *d, char **env, size_t room, char own[4][160])
{
	static const char *const ours[] = { "NOTIFY_SOCKET=", "CLEAT_FAULT=", "LISTEN_" };
	size_t n = 0, k = 0;

	for (char **e = environ; *e && n < room - 5; e++) {
		bool skip = false;

		for (size_t i = 0; i < CLEAT_COUNT(ours); i++)
			skip |= strncmp(*e, ours[i], strlen(ours[i])) == 0;
		if (!skip)
			env[n++] = *e;
	}
	snprintf(own[k++], 160, "NOTIFY_SOCKET=%s", d->notify);
	if (d->fault)
		snprintf(own[k++], 160, "CLEAT_FAULT=%s", d->fault);
	if (d->pass_fd >= 0) {
		snprintf(own[k++], 160, "LISTEN_FDS=1");
		snprintf(own[k++], 160, "LISTEN_FDNAMES=cleat");
	}
	for (size_t i = 0; i < k; i++)
		env[n++] = own[i];
	env[n] = NULL;
	return n;
}

static size_t make_arguments(const struct test_daemon *d, const char *const *options, const char **argv)
{
	size_t n = 0;

	if (d->pass_fd >= 0) { /* LISTEN_PID must be the daemon's own number, which is known only then */
		argv[n++] = "/bin/sh";
		argv[n++] = "-c";
		argv[n++] = "LISTEN_PID=$$ exec \"$@\"";
		argv[n++] = "sh";
	}
	argv[n++] = CLEATD_PATH;
	argv[n++] = "--any-namespace";
	argv[n++] = "--state-dir";
	argv[n++] = d->state;
	argv[n++] = "--runtime-dir";
	argv[n++] = d->run;
	argv[n++] = "--socket";
	argv[n++] = d->socket;
	if (access(d->conf, F_OK) == 0) {
		argv[n++] = "--config";
		argv[n++] = d->conf;
	}
	for (; options && *options; options++)
		argv[n++] = *options;
	argv[n] = NULL;
	assert_true(n < MAX_ARGS);
	return n;
}

void test_daemon_spawn(struct test_daemon *d, const char *const *options)
{
	union {
		const char *ours[MAX_ARGS + 1];
		char *theirs[MAX_ARGS + 1];
	} argv;
	char own[4][160], *env[512];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;

	assert_int_equal(d->pid, 0);
	make_arguments(d, options, argv.ours);
	make_environment(d, env, CLEAT_COUNT(env), own);
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, d->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_adddup2(&actions, 2, 1);
	if (d->pass_fd >= 0)
		posix_spawn_file_actions_adddup2(&actions, d->pass_fd, 3);
	assert_int_equal(posix_spawn(&d->pid, argv.theirs[0], &actions, &attr, argv.theirs, env), 0);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
}

void test_daemon_expect_notify(struct test_daemon *d, const char *text)
{
	int64_t until_ms = cleat_time_mono_ms() + TEST_WAIT_MS;
	struct pollfd p = { .fd = d->notify_fd, .events = POLLIN };

	for (int64_t left_ms; (left_ms = until_ms - cleat_time_mono_ms()) > 0;) {
		char got[512];
		ssize_t n;

		/* In short turns, so that a daemon that ended is noticed. */
		if (poll(&p, 1, left_ms < 200 ? (int)left_ms : 200) == 1) {
			n = recv(d->notify_fd, got, sizeof(got) - 1, 0);
			got[n > 0 ? n : 0] = '\0';
			if (strstr(got, text))
				return;
			continue;
		}
		siginfo_t gone = { 0 };
		if (waitid(P_PID, (id_t)d->pid, &gone, WEXITED | WNOHANG | WNOWAIT) == 0 && gone.si_pid)
			break;
	}
	cleat_autofree char *log = test_daemon_log(d);
	fail_msg("cleatd has not said '%s'; its log:\n%s", text, log);
}

/* A client that lost its server tries again a moment later: not before that is over may a test count on it.
 */
static void reconnect(struct test_daemon *d)
{
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS,
						   .wait_for_ready = true,
						   .idempotent = true };
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (cleat_rpc_client_call(d->client, &cleat__v1__volumes__descriptor, "GetInfo", &in.base, &options,
				  &out, &err))
		fail_msg("cleatd does not answer: %s", err.msg);
}

void test_daemon_start(struct test_daemon *d, const char *const *options)
{
	struct cleat_rpc_client_config config = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char target[80];

	test_daemon_spawn(d, options);
	test_daemon_expect_notify(d, "READY=1");
	snprintf(target, sizeof(target), "unix:%s", d->socket);
	config.target = target;
	if (!d->client)
		assert_int_equal(cleat_rpc_client_new(&config, &d->client, &err), CLEAT_OK);
	reconnect(d);
}

void test_daemon_signal(struct test_daemon *d, int sig)
{
	assert_true(d->pid > 0);
	assert_int_equal(kill(d->pid, sig), 0);
}

int test_daemon_wait(struct test_daemon *d)
{
	int64_t until_ms = cleat_time_mono_ms() + TEST_WAIT_MS;
	int status = 0;

	/* No descriptor tells the end of a child on every kernel this runs on: look every 20 ms. */
	while (waitpid(d->pid, &status, WNOHANG) != d->pid) {
		if (cleat_time_mono_ms() > until_ms)
			fail_msg("cleatd does not end");
		poll(NULL, 0, 20);
	}
	d->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void test_daemon_stop(struct test_daemon *d)
{
	test_daemon_signal(d, SIGTERM);
	int code = test_daemon_wait(d);
	if (code != 0) {
		cleat_autofree char *log = test_daemon_log(d);
		fail_msg("cleatd ended with %d; its log:\n%s", code, log);
	}
}

char *test_daemon_log(struct test_daemon *d)
{
	char *text = calloc(1, MAX_LOG_BYTES + 1);
	cleat_autoclose int fd = open(d->log, O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	assert_non_null(text);
	while (fd >= 0 && n < MAX_LOG_BYTES) {
		ssize_t k = read(fd, text + n, MAX_LOG_BYTES - n);
		if (k <= 0)
			break;
		n += (size_t)k;
	}
	return text;
}

bool test_daemon_logged(struct test_daemon *d, const char *text)
{
	cleat_autofree char *log = test_daemon_log(d);

	return strstr(log, text) != NULL;
}

/* ---- calls ---- */

enum cleat_code test_daemon_call(struct test_daemon *d, const char *method, const ProtobufCMessage *in,
				 ProtobufCMessage **out, struct cleat_error *err)
{
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS };
	cleat_autopb ProtobufCMessage *mine = NULL;

	return cleat_rpc_client_call(d->client, &cleat__v1__volumes__descriptor, method, in, &options,
				     out ? out : &mine, err);
}

void test_daemon_create(struct test_daemon *d, const char *pool, const char *name)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char pool_text[64], name_text[160];

	snprintf(pool_text, sizeof(pool_text), "%s", pool);
	snprintf(name_text, sizeof(name_text), "%s", name);
	in.pool = pool_text;
	in.name = name_text;
	in.capacity_bytes = 1 << 20;
	if (test_daemon_call(d, "CreateVolume", &in.base, NULL, &err)) {
		cleat_autofree char *log = test_daemon_log(d);
		fail_msg("create '%s': %s; log:\n%s", name, err.msg, log);
	}
}
