/* console.c - receiving the terminal that crun makes for a further process: crun connects to a socket and
 * sends the master over it. */
#include "driver/run/internal.h"

#include "util/ids.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum cleat_code run_console_open(int dirfd, struct run_console *out, struct cleat_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleat_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char key[CLEAT_ID_KEY_BYTES];

	cleat_id_new_key(key);
	snprintf(out->name, sizeof(out->name), ".tty-%s", key);
	/* A socket's name has 107 bytes at most; by way of our descriptor it is short wherever the directory
	 * is. */
	snprintf(out->path, sizeof(out->path), "/proc/%d/fd/%d/%.30s", (int)getpid(), dirfd, out->name);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", out->path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
		return cleat_error_errno(err, errno, "socket for a terminal");
	out->fd = cleat_steal_fd(&fd);
	return CLEAT_OK;
}

void run_console_close(int dirfd, struct run_console *console)
{
	if (console->fd < 0)
		return;
	unlinkat(dirfd, console->name, 0);
	close(console->fd);
	console->fd = -1;
}

/* The descriptor that comes with the message; -1 when there is none. */
static int receive(int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char text[256];
	struct iovec part = { text, sizeof(text) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int got = -1;

	if (TEMP_FAILURE_RETRY(recvmsg(fd, &message, MSG_CMSG_CLOEXEC)) < 0)
		return -1;
	const struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&got, CMSG_DATA(c), sizeof(got));
	return got;
}

/* True once fd can be read; false when the process has ended or the time is over. */
static bool wait_for(int fd, int pid_fd, int64_t limit_ms, bool *ended_out)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = pid_fd, .events = POLLIN } };
	int n = (int)TEMP_FAILURE_RETRY(poll(p, 2, (int)limit_ms));

	*ended_out = n > 0 && p[1].revents;
	return n > 0 && p[0].revents;
}

enum cleat_code run_console_accept(struct run_console *console, int pid_fd, int64_t limit_ms, int *master_out,
				   struct cleat_error *err)
{
	bool ended = false;
	cleat_autoclose int peer = wait_for(console->fd, pid_fd, limit_ms, &ended)
					   ? accept4(console->fd, NULL, NULL, SOCK_CLOEXEC)
					   : -1;
	int master = peer >= 0 && wait_for(peer, pid_fd, limit_ms, &ended) ? receive(peer) : -1;

	if (master >= 0) {
		*master_out = master;
		return CLEAT_OK;
	}
	if (ended)
		return cleat_error_set(err, CLEAT_CANCELLED, "crun ended before it had a terminal");
	return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED, "crun made no terminal within %lld ms",
			       (long long)limit_ms);
}
