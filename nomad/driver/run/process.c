/* process.c - processes that are not children of this one: they are known by their number and when they
 * began, held by a pidfd. */
#include "driver/run/internal.h"

#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

bool run_small_file(const char *path, char *text, size_t bytes)
{
	cleat_autoclose int fd = (int)TEMP_FAILURE_RETRY(open(path, O_RDONLY | O_CLOEXEC));
	size_t n = 0;

	while (fd >= 0 && n < bytes - 1) {
		ssize_t got = TEMP_FAILURE_RETRY(read(fd, text + n, bytes - 1 - n));
		if (got < 0)
			return false;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	text[n] = '\0';
	return fd >= 0;
}

/* What follows the name in /proc/<pid>/stat; the name may hold anything, so its end is looked for from
 * behind. */
static bool read_stat(pid_t pid, char *text, size_t bytes, const char **rest_out)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid <= 0 || !run_small_file(path, text, bytes))
		return false;
	const char *end = strrchr(text, ')');
	*rest_out = end ? end + 1 : NULL;
	return end;
}

uint64_t run_process_start(pid_t pid)
{
	unsigned long long start = 0;
	char text[1024], state;
	const char *rest;

	if (!read_stat(pid, text, sizeof(text), &rest) ||
	    sscanf(rest, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		   &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

int run_process_session(pid_t pid)
{
	char text[1024];
	const char *rest;
	int session;

	if (!read_stat(pid, text, sizeof(text), &rest) || sscanf(rest, " %*c %*d %*d %d", &session) != 1)
		return 0;
	return session;
}

int run_process_open(pid_t pid, uint64_t start)
{
	cleat_autoclose int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	/* Looked at after it was opened: should the number have been given away before, it shows. */
	if (fd < 0 || start == 0 || run_process_start(pid) != start)
		return -1;
	return cleat_steal_fd(&fd);
}

bool run_process_ended(int pid_fd, int timeout_ms)
{
	struct pollfd p = { .fd = pid_fd, .events = POLLIN };

	return pid_fd < 0 || (poll(&p, 1, timeout_ms) > 0 && p.revents != 0);
}

int run_process_signal(int pid_fd, int signal)
{
	if (pid_fd < 0)
		return ESRCH;
	return syscall(SYS_pidfd_send_signal, pid_fd, signal, NULL, 0) < 0 ? errno : 0;
}

static bool mask_has(const char *status, const char *key, int signal)
{
	const char *line = strstr(status, key);

	return line && (strtoull(line + strlen(key), NULL, 16) >> (signal - 1) & 1);
}

static bool ends_by_default(int signal)
{
	static const int harmless[] = { SIGCHLD, SIGCONT, SIGURG,  SIGWINCH, SIGSTOP,
					SIGTSTP, SIGTTIN, SIGTTOU, SIGKILL };

	for (size_t i = 0; i < CLEAT_COUNT(harmless); i++)
		if (harmless[i] == signal)
			return false;
	return signal > 0 && signal < 32;
}

bool run_process_withholds(pid_t pid, int signal)
{
	char path[64], status[4096];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (!ends_by_default(signal) || !run_small_file(path, status, sizeof(status)))
		return false;
	/* A blocked one may be waited for with sigwait(3) or signalfd(2). */
	return !mask_has(status, "\nSigCgt:", signal) && !mask_has(status, "\nSigIgn:", signal) &&
	       !mask_has(status, "\nSigBlk:", signal);
}

void run_boot_id(char id[RUN_BOOT_ID_BYTES])
{
	id[0] = '\0';
	if (run_small_file("/proc/sys/kernel/random/boot_id", id, RUN_BOOT_ID_BYTES))
		id[strcspn(id, "\n")] = '\0';
}
