/* process.c - see process.h.  A descriptor of the process tells its end: the agent has children of its own,
 * which nobody may wait for here, and a signal handler is not ours to set. */
#include "module/process.h"

#include "module/helper.h"

#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static const char *const environment[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL
};

static int spawn_with(const char *const *env, char *const *argv, int out_fd, pid_t *pid_out)
{
	union {
		const char *const *ours;
		char *const *theirs;
	} e = { .ours = env };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr,
				 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
	const int rc = posix_spawn(pid_out, argv[0], &actions, &attr, argv, e.theirs);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return rc;
}

enum cleat_code mesos_process_start(struct mesos_process *p, char *const *argv, int64_t limit_ms,
				    struct cleat_error *err)
{
	cleat_autoclose int write_fd = -1;
	int ends[2];

	*p = (struct mesos_process){ .pid_fd = -1,
				     .out_fd = -1,
				     .out = CLEAT_BUF_INIT(CLEAT_MESOS_ANSWER_MAX_BYTES) };
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return cleat_error_errno(err, errno, "make a pipe");
	p->out_fd = ends[0];
	write_fd = ends[1];
	/* The program's end blocks as everywhere; O_NONBLOCK belongs to the open file, of which each end has
	 * its own. */
	const int flags = fcntl(write_fd, F_GETFL);
	const int rc = flags < 0 || fcntl(write_fd, F_SETFL, flags & ~O_NONBLOCK)
			       ? errno
			       : spawn_with(environment, argv, write_fd, &p->pid);
	if (!rc)
		p->pid_fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (rc || p->pid_fd < 0) {
		cleat_error_errno(err, rc ? rc : errno, "start '%s'", argv[0]);
		if (!rc) {
			kill(-p->pid, SIGKILL);
			waitpid(p->pid, NULL, 0);
		}
		close(p->out_fd);
		*p = (struct mesos_process){ .pid_fd = -1, .out_fd = -1 };
		return err->code;
	}
	p->deadline_ms = cleat_time_mono_ms() + limit_ms;
	return CLEAT_OK;
}

static void close_out(struct mesos_process *p)
{
	if (p->out_fd >= 0)
		close(p->out_fd);
	p->out_fd = -1;
}

static void read_out(struct mesos_process *p)
{
	char bytes[16384];

	while (p->out_fd >= 0) {
		const ssize_t n = read(p->out_fd, bytes, sizeof(bytes));

		if (n > 0)
			cleat_buf_add(&p->out, bytes, (size_t)n);
		else if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		else
			close_out(p);
	}
}

bool mesos_process_look(struct mesos_process *p)
{
	if (p->out.failed)
		mesos_process_kill(p);

	const pid_t ended = p->pid_fd >= 0 ? waitpid(p->pid, &p->status, WNOHANG) : 0;

	p->lost = p->lost || (ended < 0 && errno == ECHILD);
	if (ended == p->pid || (p->pid_fd >= 0 && p->lost)) {
		read_out(p); /* what it wrote before its end; whoever still holds the pipe has nothing to say
			      */
		close_out(p);
		close(p->pid_fd);
		p->pid_fd = -1;
	}
	read_out(p);
	return p->pid_fd < 0;
}

void mesos_process_kill(struct mesos_process *p)
{
	if (p->pid_fd >= 0 && !p->killed)
		kill(-p->pid, SIGKILL);
	p->killed = true;
}

static enum cleat_code explain(const struct mesos_process *p, struct cleat_error *err)
{
	if (p->out.failed)
		return cleat_error_set(err, CLEAT_INTERNAL, "cleat-mesos: its answer is too long");
	if (p->killed)
		return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED,
				       "cleat-mesos gave no answer in time and was ended");
	if (WIFSIGNALED(p->status))
		return cleat_error_set(err, CLEAT_INTERNAL, "cleat-mesos was ended by signal %d",
				       WTERMSIG(p->status));
	return cleat_error_set(err, CLEAT_INTERNAL,
			       "cleat-mesos: exit %d without an answer that can be understood",
			       WEXITSTATUS(p->status));
}

void mesos_process_finish(struct mesos_process *p, struct mesos_reply *out)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	const bool ended =
		!p->out.failed && (p->lost || (WIFEXITED(p->status) && WEXITSTATUS(p->status) <= 2));

	if (!ended || mesos_reply_read(cleat_buf_text(&p->out), p->out.len, out, &err) ||
	    (!p->lost && out->ok != (WEXITSTATUS(p->status) == 0))) {
		if (ended && !err.code)
			mesos_reply_done(out);
		*out = (struct mesos_reply){ 0 };
		explain(p, &out->err);
	}
	cleat_buf_done(&p->out);
	*p = (struct mesos_process){ .pid_fd = -1, .out_fd = -1 };
}
