/* command.c - see command.h. */
#include "driver/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/thread.h"
#include "util/mem.h"

static bool given_up(void *arg)
{
	return atomic_load((atomic_bool *)arg);
}

static void *wait_for_end(void *arg)
{
	struct driver_command *c = arg;
	uint64_t one = 1;

	c->code = run_exec_wait(c->exec, c->timeout_ms, given_up, &c->give_up, &c->exit, &c->err);
	atomic_store(&c->ended, true);
	while (write(c->ended_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

static void set_nonblocking(int fd)
{
	int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void close_io(struct run_exec_io *io)
{
	if (io->stdin_fd >= 0)
		close(io->stdin_fd);
	if (io->stdout_fd >= 0 && io->stdout_fd != io->stdin_fd)
		close(io->stdout_fd);
	if (io->stderr_fd >= 0 && io->stderr_fd != io->stdin_fd && io->stderr_fd != io->stdout_fd)
		close(io->stderr_fd);
	*io = (struct run_exec_io){ -1, -1, -1 };
}

enum cleat_code driver_command_start(struct run_handle *run, char *const *argv, bool tty, int64_t timeout_ms,
				     struct driver_command **out, struct cleat_error *err)
{
	struct driver_command *c = calloc(1, sizeof(*c));

	if (!c)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	c->io = (struct run_exec_io){ -1, -1, -1 };
	c->timeout_ms = timeout_ms;
	c->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->ended_fd < 0)
		cleat_error_errno(err, errno, "run a command in the task");
	else if (run_exec_start(run, argv, tty, &c->exec, &c->io, err) == CLEAT_OK &&
		 driver_thread(wait_for_end, c, &c->waiter, err) == CLEAT_OK) {
		set_nonblocking(c->io.stdin_fd);
		set_nonblocking(c->io.stdout_fd);
		set_nonblocking(c->io.stderr_fd);
		*out = c;
		return CLEAT_OK;
	}
	if (c->exec)
		run_exec_free(c->exec);
	close_io(&c->io);
	cleat_cleanup_close(&c->ended_fd);
	free(c);
	return err->code;
}

bool driver_command_ended(const struct driver_command *c)
{
	return atomic_load(&c->ended);
}

void driver_command_free(struct driver_command *c)
{
	if (!c)
		return;
	atomic_store(&c->give_up, true);
	pthread_join(c->waiter, NULL);
	run_exec_free(c->exec);
	close_io(&c->io);
	close(c->ended_fd);
	free(c);
}

char **driver_command_words(char *const *words, size_t n)
{
	char **copy = n ? calloc(n + 1, sizeof(*copy)) : NULL;

	for (size_t i = 0; copy && i < n; i++)
		copy[i] = words[i];
	return copy;
}
