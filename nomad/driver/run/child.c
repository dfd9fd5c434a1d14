/* child.c - starting crun, conmon and our helper: posix_spawn of an argument vector, with an environment of
 * our own making.
 *
 * Nothing of this process's environment is handed on: crun would take NOTIFY_SOCKET or LISTEN_FDS of a
 * service for the task's.
 */
#include "driver/run/internal.h"

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
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLEAR_FD                                                                                             \
	(3 + RUN_CHILD_MAX_FDS) /* copies stay clear of the numbers that they are put on in the child */
#define TOOL_LIMIT_MS 60000
#define WORDS_BYTES 300

/* Copies of the descriptors that the child gets: 0, 1, 2 and more. */
struct handed {
	int fds[3 + RUN_CHILD_MAX_FDS];
	size_t count;
};

static void handed_done(struct handed *h)
{
	for (size_t i = 0; i < h->count; i++)
		cleat_cleanup_close(&h->fds[i]);
}

static int hand(struct handed *h, int fd)
{
	int copy = -1;

	if (fd >= 0) {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, CLEAR_FD);
		if (copy < 0)
			return errno;
	}
	h->fds[h->count++] = copy;
	return 0;
}

static int hand_all(struct handed *h, const struct run_child *child)
{
	int e = hand(h, child->in);

	if (e == 0)
		e = hand(h, child->out);
	if (e == 0)
		e = hand(h, child->err);
	for (size_t i = 0; e == 0 && i < child->more_count; i++)
		e = hand(h, child->more[i]);
	return e;
}

static int add_actions(posix_spawn_file_actions_t *actions, const struct handed *h, const char *dir)
{
	int e = posix_spawn_file_actions_addchdir_np(actions, dir ? dir : "/");

	for (size_t i = 0; e == 0 && i < h->count; i++) {
		if (h->fds[i] >= 0)
			e = posix_spawn_file_actions_adddup2(actions, h->fds[i], (int)i);
		else
			e = posix_spawn_file_actions_addopen(actions, (int)i, "/dev/null",
							     i ? O_WRONLY : O_RDONLY, 0);
	}
	return e ? e : posix_spawn_file_actions_addclosefrom_np(actions, (int)h->count);
}

static int add_attributes(posix_spawnattr_t *attr, bool session)
{
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	int e = posix_spawnattr_setsigmask(attr, &none);
	if (e == 0)
		e = posix_spawnattr_setsigdefault(attr, &all);
	if (e == 0) /* in a group of its own at least: what a terminal sends to ours is not meant for it */
		e = posix_spawnattr_setpgroup(attr, 0);
	flags |= session ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP;
	return e ? e : posix_spawnattr_setflags(attr, flags);
}

static int spawn(const struct run_child *child, const struct handed *h, pid_t *pid_out)
{
	const char *env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
			      child->variable, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int e = posix_spawn_file_actions_init(&actions);

	if (e)
		return e;
	e = posix_spawnattr_init(&attr);
	if (e) {
		posix_spawn_file_actions_destroy(&actions);
		return e;
	}
	e = add_actions(&actions, h, child->dir);
	if (e == 0)
		e = add_attributes(&attr, child->session);
	if (e == 0) /* posix_spawn writes to neither list */
		e = posix_spawn(pid_out, child->argv[0], &actions, &attr,
				(char *const *)(uintptr_t)child->argv, (char *const *)(uintptr_t)env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return e;
}

enum cleat_code run_child_start(const struct run_child *child, pid_t *pid_out, struct cleat_error *err)
{
	struct handed handed = { .count = 0 };
	int e = hand_all(&handed, child);

	if (e == 0)
		e = cleat_sys_step("posix_spawn", child->argv[0]);
	if (e == 0)
		e = spawn(child, &handed, pid_out);
	handed_done(&handed);
	if (e == EAGAIN)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "start '%s': too many processes",
				       child->argv[0]);
	return e ? cleat_error_errno(err, e, "start '%s'", child->argv[0]) : CLEAT_OK;
}

/* ---- waiting ---- */

enum cleat_code run_child_wait(pid_t pid, const char *name, int64_t limit_ms, int *status_out,
			       struct cleat_error *err)
{
	cleat_autoclose int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int64_t deadline_ms = cleat_time_mono_ms() + limit_ms;
	struct pollfd p = { .fd = pid_fd, .events = POLLIN };
	bool killed = false;

	while (limit_ms >= 0 && pid_fd >= 0) {
		int64_t left_ms = deadline_ms - cleat_time_mono_ms();
		int n = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
		if (n > 0 || (n < 0 && errno != EINTR))
			break;
		if (cleat_time_mono_ms() >= deadline_ms) {
			kill(pid, SIGKILL); /* not waited for yet, so the number is still its own */
			killed = true;
			break;
		}
	}
	if (TEMP_FAILURE_RETRY(waitpid(pid, status_out, 0)) < 0)
		return cleat_error_errno(err, errno, "wait for '%s'", name);
	if (killed)
		return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED, "%s: killed after %lld ms", name,
				       (long long)limit_ms);
	return CLEAT_OK;
}

/* ---- what a tool said ---- */

/* The "msg" of a line of crun's JSON log, or the line itself. */
static void read_line(const char *line, size_t n, char *words, size_t bytes)
{
	json_t *json = json_loadb(line, n, 0, NULL);
	const char *message = json_string_value(json_object_get(json, "msg"));

	if (message)
		snprintf(words, bytes, "%s", message);
	else
		snprintf(words, bytes, "%.*s", (int)n, line);
	json_decref(json);
}

bool run_log_words(int fd, char *words, size_t bytes)
{
	char text[4096], line_words[WORDS_BYTES];
	off_t end = lseek(fd, 0, SEEK_END);
	off_t from = end > (off_t)sizeof(text) - 1 ? end - (off_t)sizeof(text) + 1 : 0;
	ssize_t got = end > 0 ? pread(fd, text, sizeof(text) - 1, from) : 0;

	words[0] = '\0';
	text[got > 0 ? got : 0] = '\0';
	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n");
		if (n > 0) {
			read_line(line, n, line_words, sizeof(line_words));
			/* A warning comes before what went wrong. */
			if (line_words[0])
				snprintf(words, bytes, "%s", line_words);
		}
		line += n + (line[n] == '\n');
	}
	return words[0] != '\0';
}

enum cleat_code run_words_code(const char *words)
{
	static const struct {
		const char *part;
		enum cleat_code code;
	} known[] = {
		{ "executable file", CLEAT_NOT_FOUND },
		{ "No such file or directory", CLEAT_NOT_FOUND },
		{ "Permission denied", CLEAT_INVALID_ARGUMENT },
		{ "Exec format error", CLEAT_INVALID_ARGUMENT },
		{ "Not a directory", CLEAT_INVALID_ARGUMENT },
		{ "Operation not permitted", CLEAT_FAILED_PRECONDITION },
	};

	for (size_t i = 0; i < CLEAT_COUNT(known); i++)
		if (strstr(words, known[i].part))
			return known[i].code;
	return CLEAT_INTERNAL;
}

enum cleat_code run_crun(const struct run_tools *tools, const char *const *args, struct cleat_error *err)
{
	char root[PATH_MAX + 16], words[WORDS_BYTES];
	const char *argv[16] = { tools->crun, root, "--cgroup-manager=cgroupfs" };
	cleat_autoclose int said = memfd_create("crun", MFD_CLOEXEC);
	size_t n = 3;
	int status = 0;
	pid_t pid;

	if (said < 0)
		return cleat_error_errno(err, errno, "memfd_create");
	snprintf(root, sizeof(root), "--root=%s", tools->root);
	for (; *args && n < CLEAT_COUNT(argv) - 1; args++)
		argv[n++] = *args;
	const struct run_child child = { .argv = argv, .in = -1, .out = -1, .err = said };
	enum cleat_code code = run_child_start(&child, &pid, err);
	if (code == CLEAT_OK)
		code = run_child_wait(pid, "crun", TOOL_LIMIT_MS, &status, err);
	if (code != CLEAT_OK || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return code;
	run_log_words(said, words, sizeof(words));
	return cleat_error_set(err, CLEAT_INTERNAL, "crun %s: %s", argv[3],
			       words[0] ? words : "it failed and does not say why");
}
