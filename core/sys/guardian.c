/* guardian.c - see guardian.h; the other end is backends/loop/guardian/cleat-thaw.c. */
#include "sys/guardian.h"

#include "sys/hook.h"
#include "sys/mount.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_MOUNTS 64
#define FIRST_MOUNT_FD 3 /* where the guardian finds them */
#define MORE_MS 60000	 /* a freeze writes everything out first, and the guardian can only thaw after that */

/* Copies of the descriptors that the guardian gets, clear of the numbers they are put on there. */
struct handed {
	int line;
	int mounts[MAX_MOUNTS];
	size_t count;
};

static void handed_done(struct handed *h)
{
	cleat_cleanup_close(&h->line);
	for (size_t i = 0; i < h->count; i++)
		cleat_cleanup_close(&h->mounts[i]);
}

static int hand_over(struct handed *h, int line, const int *mounts, size_t count)
{
	const int clear = FIRST_MOUNT_FD + MAX_MOUNTS;

	h->line = fcntl(line, F_DUPFD_CLOEXEC, clear);
	if (h->line < 0)
		return errno;
	for (size_t i = 0; i < count; i++) {
		h->mounts[i] = fcntl(mounts[i], F_DUPFD_CLOEXEC, clear);
		if (h->mounts[i] < 0)
			return errno;
		h->count++;
	}
	return 0;
}

static int add_actions(posix_spawn_file_actions_t *actions, const struct handed *h)
{
	int e = posix_spawn_file_actions_adddup2(actions, h->line, 0);

	if (e == 0)
		e = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
	if (e == 0)
		e = posix_spawn_file_actions_adddup2(actions, 1, 2);
	for (size_t i = 0; e == 0 && i < h->count; i++)
		e = posix_spawn_file_actions_adddup2(actions, h->mounts[i], FIRST_MOUNT_FD + (int)i);
	if (e == 0)
		e = posix_spawn_file_actions_addclosefrom_np(actions, FIRST_MOUNT_FD + (int)h->count);
	return e;
}

/* A session of its own: what ends the daemon's must not end the guardian. */
static int add_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int e;

	sigemptyset(&none);
	sigfillset(&all);
	e = posix_spawnattr_setsigmask(attr, &none);
	if (e == 0)
		e = posix_spawnattr_setsigdefault(attr, &all);
	if (e == 0)
		e = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
							   POSIX_SPAWN_SETSID);
	return e;
}

static int spawn(const char *path, int64_t limit_ms, const struct handed *h, pid_t *pid_out)
{
	char limit[24], count[24], *argv[] = { (char *)(uintptr_t)path, limit, count, NULL },
				   *environment[] = { NULL };
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
	snprintf(limit, sizeof(limit), "%lld", (long long)limit_ms);
	snprintf(count, sizeof(count), "%zu", h->count);
	e = add_actions(&actions, h);
	if (e == 0)
		e = add_attributes(&attr);
	if (e == 0)
		e = posix_spawn(pid_out, path, &actions, &attr, argv, environment);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return e;
}

static int start(const char *path, const int *mounts, size_t count, int64_t limit_ms,
		 struct cleat_guardian *out)
{
	struct handed handed = { .line = -1 };
	int ends[2];
	int e = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) ? errno : 0;

	if (e)
		return e;
	e = hand_over(&handed, ends[1], mounts, count);
	close(ends[1]);
	if (e == 0)
		e = cleat_sys_step("posix_spawn", path);
	if (e == 0)
		e = spawn(path, limit_ms, &handed, &out->pid);
	handed_done(&handed);
	if (e)
		close(ends[0]);
	else
		out->fd = ends[0];
	return e;
}

/* The guardian's next word: one byte, and after 'E' a text.  0 when it is gone or says nothing. */
static char hear(int fd, int64_t limit_ms, char *text, size_t text_bytes)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char word[256] = "";

	if (TEMP_FAILURE_RETRY(poll(&p, 1, (int)limit_ms)) <= 0)
		return 0;
	ssize_t n = TEMP_FAILURE_RETRY(read(fd, word, sizeof(word) - 1));
	if (n <= 0)
		return 0;
	if (text)
		snprintf(text, text_bytes, "%.*s", (int)n - 1, word + 1);
	return word[0];
}

/* When the guardian was ended by force, what it froze is thawed here. */
static void bury(struct cleat_guardian *g, bool thaw)
{
	int status = 0;

	close(g->fd);
	g->fd = -1;
	if (TEMP_FAILURE_RETRY(waitpid(g->pid, &status, 0)) == g->pid && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0)
		return;
	for (size_t i = 0; thaw && i < g->count; i++)
		if (cleat_sys_thaw(g->mounts[i], "frozen volume", NULL))
			continue;
}

enum cleat_code cleat_sys_guardian_freeze(const char *path, const int *mounts, size_t count, int64_t limit_ms,
					  struct cleat_guardian *out, struct cleat_error *err)
{
	struct cleat_guardian g = { -1, -1, mounts, count };
	char why[200] = "";

	if (count == 0 || count > MAX_MOUNTS)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "freeze %zu file systems at once", count);
	int e = start(path, mounts, count, limit_ms, &g);
	if (e)
		return cleat_error_errno(err, e, "start '%s'", path);
	char word = hear(g.fd, limit_ms + MORE_MS, why, sizeof(why));
	if (word == 'F') {
		*out = g;
		return CLEAT_OK;
	}
	if (word != 'E')
		snprintf(why, sizeof(why), "it took too long");
	bury(&g, true);
	return cleat_error_set(err, CLEAT_ABORTED, "freeze %zu file systems: %s", count, why);
}

enum cleat_code cleat_sys_guardian_thaw(struct cleat_guardian *g, struct cleat_error *err)
{
	char answer = 0;

	if (send(g->fd, "T", 1, MSG_NOSIGNAL) == 1)
		answer = hear(g->fd, MORE_MS, NULL, 0);
	bury(g, true);
	if (answer == 'T')
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_ABORTED,
			       "the volumes were not frozen long enough: too much had to be done meanwhile");
}
