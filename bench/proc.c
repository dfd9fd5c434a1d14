/* proc.c - processes: started, ended, and what the kernel says of them.  See bench.h. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define END_MS 10000
#define END_STEP_MS 2

/* ---- starting and ending ---- */

static void note_path(const struct bench *b, pid_t pid, char out[BENCH_PATH_BYTES])
{
	snprintf(out, BENCH_PATH_BYTES, "%.400s/pids/%d", b->work, (int)pid);
}

static void note_pid(const struct bench *b, pid_t pid)
{
	char path[BENCH_PATH_BYTES];

	note_path(b, pid, path);
	cleat_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		bench_say("'%s' cannot be made: %s", path, strerror(errno));
}

enum cleat_code bench_spawn(const struct bench *b, const char *const *argv, const char *log, pid_t *pid_out,
			    struct cleat_error *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
	/* posix_spawn's argument type is older than const. */
	int rc = posix_spawn(pid_out, argv[0], &actions, &attr, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (rc)
		return cleat_error_errno(err, rc, "start '%s'", argv[0]);
	note_pid(b, *pid_out);
	return CLEAT_OK;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

void bench_end_process(const struct bench *b, pid_t pid)
{
	const double until_ms = bench_now_ms() + END_MS;
	char path[BENCH_PATH_BYTES];
	int status;

	if (pid <= 0)
		return;
	kill(pid, SIGTERM);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (bench_now_ms() > until_ms) {
			bench_say("process %d does not end: killed", (int)pid);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
		sleep_ms(END_STEP_MS);
	}
	note_path(b, pid, path);
	unlink(path);
}

/* ---- what the kernel says ---- */

double bench_cpu_us(pid_t pid)
{
	clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
	struct timespec t;

	if (pid && clock_getcpuclockid(pid, &clock) != 0)
		return 0;
	if (clock_gettime(clock, &t) != 0)
		return 0;
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static bool read_proc(pid_t pid, const char *file, char *text, size_t room)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, room - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	return true;
}

uint64_t bench_children_faults(pid_t pid)
{
	char text[1024];
	unsigned long long faults = 0;

	if (!read_proc(pid, "stat", text, sizeof(text)))
		return 0;
	/* proc(5): the name, field 2, may hold anything; field 11 is the ninth after its parenthesis. */
	const char *at = strrchr(text, ')');
	for (int field = 2; at && field < 11; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, " %llu", &faults) == 1 ? faults : 0;
}

double bench_status_mib(pid_t pid, const char *key)
{
	char text[8192];
	const size_t n = strlen(key);

	if (!read_proc(pid, "status", text, sizeof(text)))
		return 0;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, n) == 0 && line[n] == ':')
			return strtod(line + n + 1, NULL) / 1024;
	}
	return 0;
}

/* ---- mounts ---- */

/* Field 5 of mountinfo is the target; the paths of the bench have nothing that would be escaped there. */
static bool last_mount_below(const char *path, char target[BENCH_PATH_BYTES])
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;
	bool found = false;

	while (table && getline(&line, &room, table) > 0) {
		char at[BENCH_PATH_BYTES];
		if (sscanf(line, "%*s %*s %*s %*s %511s", at) != 1 || strncmp(at, path, strlen(path)) != 0)
			continue;
		snprintf(target, BENCH_PATH_BYTES, "%s", at);
		found = true;
	}
	free(line);
	if (table)
		fclose(table);
	return found;
}

void bench_unmount_below(const char *path)
{
	char target[BENCH_PATH_BYTES], last[BENCH_PATH_BYTES] = "";

	/* Later mounts come later in the table, so the last one is covered by nothing. */
	while (last_mount_below(path, target)) {
		if (umount2(target, UMOUNT_NOFOLLOW) != 0 && strcmp(target, last) == 0) {
			bench_say("'%s' cannot be unmounted: %s", target, strerror(errno));
			return;
		}
		snprintf(last, sizeof(last), "%s", target);
	}
}
