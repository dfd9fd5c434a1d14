/* spawn.c - see spawn.h. */
#include "sys/spawn.h"

#include "sys/hook.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define DEFAULT_LIMIT_MS (10 * 60 * 1000)
#define TAIL_BYTES 240	 /* last bytes of stderr and of stdout that an error tells */
#define LOOK_EVERY_MS 20 /* where the kernel gives no descriptor for a process */
#define FIRST_FREE_FD 10 /* our own descriptors stay clear of 0..3, which the child's are put on */
#define MAX_ENVIRON 4096
#define PATH_VALUE_BYTES 4096

/* ---- finding the tool ---- */

static const char *const more_dirs[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
					 "/usr/bin",	    "/sbin",	      "/bin" };

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool try_dir(const char *dir, size_t n, const char *name, char path[PATH_MAX])
{
	if (n == 0 || dir[0] != '/') /* "here" is no place for the tools of root */
		return false;
	int length = snprintf(path, PATH_MAX, "%.*s/%s", (int)n, dir, name);
	return length > 0 && length < PATH_MAX && is_program(path);
}

static bool find_tool(const char *name, char path[PATH_MAX])
{
	const char *dirs = getenv("PATH");

	if (strchr(name, '/')) {
		snprintf(path, PATH_MAX, "%s", name);
		return strlen(name) < PATH_MAX && is_program(path);
	}
	while (dirs && *dirs) {
		size_t n = strcspn(dirs, ":");
		if (n < PATH_MAX && try_dir(dirs, n, name, path))
			return true;
		dirs += n + (dirs[n] == ':');
	}
	for (size_t i = 0; i < CLEAT_COUNT(more_dirs); i++)
		if (try_dir(more_dirs[i], strlen(more_dirs[i]), name, path))
			return true;
	return false;
}

bool cleat_sys_have_tool(const char *name)
{
	char path[PATH_MAX];

	return find_tool(name, path);
}

/* ---- what the child gets ---- */

/* The environment of the child: ours, but for the language and the places of tools. */
struct environment {
	char path[PATH_VALUE_BYTES];
	char **items; /* owned; the texts are borrowed */
};

static bool make_environment(struct environment *e)
{
	static char language[] = "LC_ALL=C";
	const char *path = getenv("PATH");
	size_t n = 0, used = 0;

	while (environ[n] && n < MAX_ENVIRON)
		n++;
	e->items = calloc(n + 3, sizeof(*e->items));
	if (!e->items)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "PATH=", 5) != 0 && strncmp(environ[i], "LC_ALL=", 7) != 0)
			e->items[used++] = environ[i];
	int length = path && *path ? snprintf(e->path, sizeof(e->path), "PATH=%s:/usr/sbin:/sbin", path) : -1;
	if (length < 0 || length >= (int)sizeof(e->path))
		snprintf(e->path, sizeof(e->path),
			 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	e->items[used++] = e->path;
	e->items[used] = language;
	return true;
}

/* One pipe from the child. */
struct stream {
	int fd;		       /* -1 once it has ended; owned by struct child */
	char tail[TAIL_BYTES]; /* the last bytes */
	size_t tail_len;
	char *out;		  /* the first bytes, NULL: not wanted; borrowed */
	size_t out_len, out_room; /* room: without the NUL */
};

/* A tool that runs. */
struct child {
	const char *tool; /* last part of its path */
	pid_t pid;
	int pid_fd;		  /* -1 where the kernel gives none */
	struct stream streams[2]; /* stdout, stderr */
	bool killed;		  /* it ran too long */
};

static void child_done(struct child *c)
{
	for (size_t i = 0; i < CLEAT_COUNT(c->streams); i++)
		if (c->streams[i].fd >= 0)
			close(c->streams[i].fd);
	if (c->pid_fd >= 0)
		close(c->pid_fd);
}

/* The ends of the pipes that the child gets, and its copy of keep_fd, all clear of descriptors 0..3 (which
 * may be free in this process, and would then be written over one by another). */
struct handed {
	int out, err, keep;
};

static void handed_done(struct handed *h)
{
	cleat_cleanup_close(&h->out);
	cleat_cleanup_close(&h->err);
	cleat_cleanup_close(&h->keep);
}

static int make_pipe(int *read_out, int *write_out)
{
	cleat_autoclose int low_write = -1;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return errno;
	*read_out = ends[0];
	low_write = ends[1];
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
		return errno;
	*write_out = fcntl(low_write, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	return *write_out < 0 ? errno : 0;
}

static int prepare(struct child *c, struct handed *h, int keep_fd)
{
	int e = make_pipe(&c->streams[0].fd, &h->out);

	if (e == 0)
		e = make_pipe(&c->streams[1].fd, &h->err);
	if (e || keep_fd < 0)
		return e;
	h->keep = fcntl(keep_fd, F_DUPFD_CLOEXEC,
			FIRST_FREE_FD); /* the same open file: a lock on it stays one lock */
	return h->keep < 0 ? errno : 0;
}

static int add_actions(posix_spawn_file_actions_t *actions, const struct handed *h)
{
	int e = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);

	if (e == 0)
		e = posix_spawn_file_actions_adddup2(actions, h->out, 1);
	if (e == 0)
		e = posix_spawn_file_actions_adddup2(actions, h->err, 2);
	if (e == 0 && h->keep >= 0)
		e = posix_spawn_file_actions_adddup2(actions, h->keep, 3);
	if (e == 0)
		e = posix_spawn_file_actions_addclosefrom_np(actions, h->keep >= 0 ? 4 : 3);
	return e;
}

static int add_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int e;

	sigemptyset(&none);
	sigfillset(&all);
	/* A daemon ignores SIGPIPE, and so must its tools: should it be killed, a resize or repair that then
	 * writes to its pipe has to go on, not to end in the middle. */
	sigdelset(&all, SIGPIPE);
	e = posix_spawnattr_setsigmask(attr, &none);
	if (e == 0)
		e = posix_spawnattr_setsigdefault(attr, &all);
	if (e == 0)
		e = posix_spawnattr_setpgroup(attr, 0);
	if (e == 0)
		e = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
							   POSIX_SPAWN_SETPGROUP);
	return e;
}

/* posix_spawn(3) with everything in place; 0 or an errno value. */
static int spawn(const char *path, const char *const *argv, const struct handed *h, pid_t *pid_out)
{
	struct environment environment = { .items = NULL };
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
	e = add_actions(&actions, h);
	if (e == 0)
		e = add_attributes(&attr);
	if (e == 0 && !make_environment(&environment))
		e = ENOMEM;
	if (e == 0) /* posix_spawn does not write to argv (POSIX says so of exec) */
		e = posix_spawn(pid_out, path, &actions, &attr, (char *const *)(uintptr_t)argv,
				environment.items);
	free(environment.items);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return e;
}

/* ---- while it runs ---- */

static void take(struct stream *s, const char *bytes, size_t n)
{
	size_t first = s->out_room - s->out_len < n ? s->out_room - s->out_len : n;

	if (s->out && first > 0) {
		memcpy(s->out + s->out_len, bytes, first);
		s->out_len += first;
	}
	if (n > TAIL_BYTES) {
		bytes += n - TAIL_BYTES;
		n = TAIL_BYTES;
	}
	size_t keep = s->tail_len + n > TAIL_BYTES ? TAIL_BYTES - n : s->tail_len;
	memmove(s->tail, s->tail + s->tail_len - keep, keep);
	memcpy(s->tail + keep, bytes, n);
	s->tail_len = keep + n;
}

/* Reads what is there; not for ever, should somebody write as fast as we read.  A pipe holds 64 KiB
 * (pipe(7)). */
static void drain(struct stream *s)
{
	char chunk[8192];

	for (int i = 0; s->fd >= 0 && i < 16; i++) {
		ssize_t got = read(s->fd, chunk, sizeof(chunk));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			close(s->fd);
			s->fd = -1;
			return;
		}
		take(s, chunk, (size_t)got);
	}
}

static void open_pid(struct child *c)
{
	int e = cleat_sys_step("pidfd_open", c->tool);

	c->pid_fd = e ? -1 : (int)syscall(SYS_pidfd_open, c->pid, 0);
}

static int poll_timeout_ms(const struct child *c, int64_t left_ms)
{
	if (c->pid_fd < 0)
		return LOOK_EVERY_MS;
	if (c->killed) /* it will end, or hang in the kernel with what it holds; then so do we */
		return -1;
	return left_ms <= 0 ? 0 : left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

/* Waits for something to happen; true once the child has ended and *status_out is its wait status. */
static bool look_after(struct child *c, int64_t left_ms, int *status_out, int *wait_error_out)
{
	struct pollfd p[] = {
		{ .fd = c->streams[0].fd, .events = POLLIN },
		{ .fd = c->streams[1].fd, .events = POLLIN },
		{ .fd = c->pid_fd, .events = POLLIN },
	};
	int n = poll(p, CLEAT_COUNT(p), poll_timeout_ms(c, left_ms));

	for (size_t i = 0; n > 0 && i < 2; i++)
		if (p[i].revents)
			drain(&c->streams[i]);
	if (c->pid_fd >= 0 && (n <= 0 || p[2].revents == 0))
		return false;
	pid_t got = (pid_t)TEMP_FAILURE_RETRY(waitpid(c->pid, status_out, WNOHANG));
	*wait_error_out = got < 0 ? errno : 0;
	return got != 0;
}

/* Returns when the child has ended, and not later: what it started may still hold the pipes.  0, or the errno
 * value of waitpid(2). */
static int supervise(struct child *c, int64_t limit_ms, int *status_out)
{
	int64_t deadline_ms = cleat_time_mono_ms() + limit_ms;
	int wait_error = 0;

	while (!look_after(c, deadline_ms - cleat_time_mono_ms(), status_out, &wait_error)) {
		if (c->killed || cleat_time_mono_ms() < deadline_ms)
			continue;
		/* Not waited for yet, so that the number is still this process's group. */
		kill(-c->pid, SIGKILL);
		kill(c->pid, SIGKILL);
		c->killed = true;
	}
	drain(&c->streams[0]);
	drain(&c->streams[1]);
	return wait_error;
}

/* ---- what came of it ---- */

/* The last bytes as one tidy piece of text: blanks and control characters become single spaces, and what is
 * no UTF-8 becomes '?'. */
static void show_tail(const struct stream *s, char text[TAIL_BYTES + 1])
{
	size_t used = 0, from = 0;

	/* A cut may have gone through a character. */
	while (s->tail_len == TAIL_BYTES && from < 4 && ((unsigned char)s->tail[from] & 0xc0) == 0x80)
		from++;
	for (size_t i = from; i < s->tail_len; i++) {
		char c = s->tail[i];
		if ((unsigned char)c <= ' ' || c == 0x7f) {
			if (used > 0 && text[used - 1] != ' ')
				text[used++] = ' ';
		} else {
			text[used++] = c;
		}
	}
	while (used > 0 && text[used - 1] == ' ')
		used--;
	text[used] = '\0';
	if (!cleat_text_is_clean(text, used))
		for (char *p = text; *p; p++)
			if ((unsigned char)*p >= 0x80)
				*p = '?';
}

/* Code, "<tool>: <how it ended>" and its last words. */
static enum cleat_code tell(const struct child *c, enum cleat_code code, const char *how,
			    struct cleat_error *err)
{
	char out[TAIL_BYTES + 1], words[TAIL_BYTES + 1];

	show_tail(&c->streams[0], out);
	show_tail(&c->streams[1], words);
	return cleat_error_set(err, code, "%s: %s%s%s%s%s", c->tool, how, *words ? ": " : "", words,
			       *out ? ": " : "", out);
}

static enum cleat_code judge(const struct child *c, const struct cleat_spawn *how, int64_t limit_ms,
			     int status, struct cleat_error *err)
{
	char text[80];

	if (c->killed) {
		snprintf(text, sizeof(text), "killed after %lld ms", (long long)limit_ms);
		return tell(c, CLEAT_DEADLINE_EXCEEDED, text, err);
	}
	if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));
		snprintf(text, sizeof(text), "ended by signal %d (SIG%s)", WTERMSIG(status),
			 name ? name : "?");
		return tell(c, CLEAT_INTERNAL, text, err);
	}
	if (WEXITSTATUS(status) <= how->ok_status_max)
		return CLEAT_OK;
	snprintf(text, sizeof(text), "exit %d", WEXITSTATUS(status));
	return tell(c, CLEAT_INTERNAL, text, err);
}

/* Starts the tool and lets it end; c gets its last words. */
static enum cleat_code run(struct child *c, const struct cleat_spawn *how, const char *path, int *status_out,
			   struct cleat_error *err)
{
	int64_t limit_ms = how->limit_ms > 0 ? how->limit_ms : DEFAULT_LIMIT_MS;
	struct handed handed = { -1, -1, -1 };
	int e = prepare(c, &handed, how->keep_fd);

	if (e == 0)
		e = cleat_sys_step("posix_spawn", c->tool);
	if (e == 0)
		e = spawn(path, how->argv, &handed, &c->pid);
	handed_done(&handed);
	if (e == EAGAIN) /* a limit on processes, as fork(2) calls it */
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "start '%s': too many processes", path);
	if (e)
		return cleat_error_errno(err, e, "start '%s'", path);
	open_pid(c);
	e = supervise(c, limit_ms, status_out);
	if (e)
		return cleat_error_errno(err, e, "wait for '%s'", c->tool);
	return judge(c, how, limit_ms, *status_out, err);
}

enum cleat_code cleat_sys_spawn(const struct cleat_spawn *how, char *out, size_t out_bytes, int *status_out,
				struct cleat_error *err)
{
	struct child c = { .pid_fd = -1, .streams = { { .fd = -1 }, { .fd = -1 } } };
	const char *slash = strrchr(how->argv[0], '/');
	cleat_autofree char *text = NULL;
	char path[PATH_MAX];
	int status = 0;

	c.tool = slash ? slash + 1 : how->argv[0];
	if (!find_tool(how->argv[0], path))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "%s is not installed", how->argv[0]);
	if (out && out_bytes > 0) {
		text = malloc(out_bytes);
		if (!text)
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		c.streams[0].out = text;
		c.streams[0].out_room = out_bytes - 1;
	}
	enum cleat_code code = run(&c, how, path, &status, err);
	child_done(&c);
	if (code != CLEAT_OK)
		return code;
	if (text) {
		memcpy(out, text, c.streams[0].out_len);
		out[c.streams[0].out_len] = '\0';
	}
	if (status_out)
		*status_out = WEXITSTATUS(status);
	return CLEAT_OK;
}
