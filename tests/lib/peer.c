/* peer.c - see peer.h. */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool read_line(int fd, int limit_ms, char *line, size_t room)
{
	const int64_t end = now_ms() + limit_ms;
	size_t n = 0;

	while (n + 1 < room) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		const int64_t left = end - now_ms();
		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			break;
		if (read(fd, line + n, 1) != 1)
			break;
		if (line[n] == '\n') {
			line[n] = '\0';
			return true;
		}
		n++;
	}
	line[n] = '\0';
	return false;
}

bool peer_start(struct peer *p, const char *const argv[], int limit_ms, char *line, size_t line_bytes)
{
	posix_spawn_file_actions_t actions;
	int in[2], out[2];

	*p = (struct peer){ .pid = 0, .stdin_fd = -1, .stdout_fd = -1 };
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) {
		fprintf(stderr, "pipe: %s\n", strerror(errno));
		return false;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	int rc = posix_spawnp(&p->pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	p->stdin_fd = in[1];
	p->stdout_fd = out[0];
	if (rc) {
		p->pid = 0;
		fprintf(stderr, "%s: %s\n", argv[0], strerror(rc));
	}
	if (rc || !read_line(p->stdout_fd, limit_ms, line, line_bytes)) {
		fprintf(stderr, "%s %s did not get ready in %d ms\n", argv[0], argv[1] ? argv[1] : "",
			limit_ms);
		peer_stop(p);
		return false;
	}
	return true;
}

void peer_stop(struct peer *p)
{
	if (p->stdin_fd >= 0)
		close(p->stdin_fd);
	if (p->stdout_fd >= 0)
		close(p->stdout_fd);
	p->stdin_fd = p->stdout_fd = -1;
	for (int i = 0; p->pid > 0 && i < 500; i++) {
		if (waitpid(p->pid, NULL, WNOHANG) != 0) {
			p->pid = 0;
			return;
		}
		usleep(10000);
	}
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	p->pid = 0;
}
