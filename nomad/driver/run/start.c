/* start.c - starting a task: directory, bundle, conmon (which has crun make the container), then crun start.
 *
 * conmon goes into the background by itself: it becomes a child of init in a session of its own, waits for
 * the task and writes its exit code. Its first process tells over a pipe when the container is there; only
 * then does it make sense to start what is in it.
 */
#include "driver/run/internal.h"

#include "sys/file.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CREATE_LIMIT_MS 60000
#define ANSWER_BYTES 4096
#define WORDS_BYTES 300

/* What conmon and the task get. */
struct inheritance {
	int out, err;		/* -1: /dev/null */
	int keep_out, keep_err; /* the other ends of FIFOs: while conmon has them, a reader may come and go;
				   -1: no FIFO */
	int alive;		/* locked as long as conmon lives */
	int sync, answer;	/* the pipe to us: its end, our end */
};

static void inheritance_done(struct inheritance *in)
{
	cleat_cleanup_close(&in->out);
	cleat_cleanup_close(&in->err);
	cleat_cleanup_close(&in->keep_out);
	cleat_cleanup_close(&in->keep_err);
	cleat_cleanup_close(&in->alive);
	cleat_cleanup_close(&in->sync);
	cleat_cleanup_close(&in->answer);
}

/* A file or FIFO that the task writes to.  A FIFO is opened for both directions first, so that nobody has to
 * wait for a reader and none is missed when it goes; the task itself gets an end that it can only write to.
 */
static enum cleat_code open_output(const char *path, int *fd_out, int *keep_out, struct cleat_error *err)
{
	cleat_autoclose int fd = -1, keep = -1;
	struct stat st;

	if (!path || strcmp(path, "/dev/null") == 0)
		return CLEAT_OK;
	bool fifo = lstat(path, &st) == 0 && S_ISFIFO(st.st_mode);
	if (fifo)
		keep = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (!fifo || keep >= 0)
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0600);
	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%.200s' for the task's output", path);
	*fd_out = cleat_steal_fd(&fd);
	*keep_out = cleat_steal_fd(&keep);
	return CLEAT_OK;
}

static enum cleat_code open_inheritance(const struct run_spec *spec, const struct run_place *place,
					struct inheritance *in, struct cleat_error *err)
{
	int ends[2];
	enum cleat_code code = open_output(spec->stdout_path, &in->out, &in->keep_out, err);

	if (code == CLEAT_OK)
		code = open_output(spec->stderr_path, &in->err, &in->keep_err, err);
	if (code == CLEAT_OK)
		code = cleat_sys_open_at(place->fd, "alive", O_RDWR | O_CREAT | O_NOFOLLOW, 0600, &in->alive,
					 err);
	if (code == CLEAT_OK)
		code = cleat_sys_lock(in->alive, "alive", err);
	if (code == CLEAT_OK && pipe2(ends, O_CLOEXEC) < 0)
		return cleat_error_errno(err, errno, "pipe");
	if (code == CLEAT_OK) {
		in->answer = ends[0];
		in->sync = ends[1];
	}
	return code;
}

/* ---- conmon ---- */

#define WORD_BYTES (RUN_TOOL_PATH_BYTES + RUN_ID_MAX_BYTES + 64)

struct conmon_words {
	char pid_file[WORD_BYTES], conmon_pid_file[WORD_BYTES], exit_dir[WORD_BYTES], log[WORD_BYTES],
		root[WORD_BYTES];
};

static bool say(char *text, size_t bytes, const char *before, const char *dir, const char *after)
{
	int n = snprintf(text, bytes, "%s%s%s", before, dir, after);

	return n > 0 && n < (int)bytes;
}

/* Starts it, and waits until its first process has put itself into the background. */
static enum cleat_code start_conmon(const struct run_tools *tools, const struct run_spec *spec,
				    const struct run_place *place, const struct inheritance *in,
				    struct cleat_error *err)
{
	struct conmon_words w;
	const char *argv[40] = { tools->conmon,
				 "--api-version",
				 "1",
				 "-c",
				 spec->id,
				 "-u",
				 spec->id,
				 "-n",
				 spec->id,
				 "-r",
				 tools->helper[0] ? tools->helper : tools->crun,
				 "-b",
				 place->path,
				 "-p",
				 w.pid_file,
				 "-P",
				 w.conmon_pid_file,
				 "--exit-dir",
				 w.exit_dir,
				 "-l",
				 "passthrough" };
	struct run_child child = { .argv = argv,
				   .in = -1,
				   .out = in->out,
				   .err = in->err,
				   .more = { in->sync, in->alive },
				   .more_count = 2,
				   .variable = "_OCI_SYNCPIPE=3",
				   .session = true,
				   .dir = place->path /* where it leaves the file "oom" */ };
	const char *runtime[] = { tools->helper[0] ? tools->crun : NULL, w.root, "--cgroup-manager=cgroupfs",
				  w.log, "--log-format=json" };
	int status = 0;
	size_t n = 21;
	pid_t pid;

	if (!say(w.pid_file, sizeof(w.pid_file), "", place->path, "/pid") ||
	    !say(w.conmon_pid_file, sizeof(w.conmon_pid_file), "", place->path, "/conmon.pid") ||
	    !say(w.exit_dir, sizeof(w.exit_dir), "", place->path, "/exit") ||
	    !say(w.log, sizeof(w.log), "--log=", place->path, "/crun.log") ||
	    !say(w.root, sizeof(w.root), "--root=", tools->root, ""))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "the path of the task's directory is too long");
	for (size_t i = 0; i < CLEAT_COUNT(runtime); i++) {
		if (!runtime[i])
			continue;
		argv[n++] = "--runtime-arg";
		argv[n++] = runtime[i];
	}
	const int keep[] = { in->keep_out, in->keep_err };
	for (size_t i = 0; i < CLEAT_COUNT(keep); i++)
		if (keep[i] >= 0)
			child.more[child.more_count++] = keep[i];
	enum cleat_code code = run_child_start(&child, &pid, err);
	return code == CLEAT_OK ? run_child_wait(pid, "conmon", CREATE_LIMIT_MS, &status, err) : code;
}

/* The one line that conmon writes: {"data": pid} or {"data": -1, "message": "..."}.  Empty when it ended
 * before. */
static void read_answer(int fd, char answer[ANSWER_BYTES])
{
	int64_t end_ms = cleat_time_mono_ms() + CREATE_LIMIT_MS;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t n = 0;

	while (n < ANSWER_BYTES - 1) {
		int64_t left_ms = end_ms - cleat_time_mono_ms();
		int ready = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
		ssize_t got = ready > 0 ? read(fd, answer + n, ANSWER_BYTES - 1 - n) : 0;
		if ((ready < 0 || got < 0) && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
		if (memchr(answer, '\n', n))
			break;
	}
	answer[n] = '\0';
}

/* What crun said when it could not make the container. */
static enum cleat_code tell_failure(const struct run_place *place, const char *answer,
				    struct cleat_error *err)
{
	cleat_autoclose int log = openat(place->fd, "crun.log", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	json_t *json = json_loads(answer, 0, NULL);
	const char *message = json_string_value(json_object_get(json, "message"));
	char words[WORDS_BYTES] = "";

	if ((log < 0 || !run_log_words(log, words, sizeof(words))) && message)
		snprintf(words, sizeof(words), "%.*s", (int)strcspn(message, "\n"), message);
	json_decref(json);
	if (!words[0])
		return cleat_error_set(err, CLEAT_INTERNAL,
				       "conmon ended, or waited too long, without a word");
	return cleat_error_set(err, run_words_code(words), "%s", words);
}

static enum cleat_code create(const struct run_tools *tools, const struct run_spec *spec,
			      const struct run_place *place, const struct run_plan *plan,
			      struct cleat_error *err)
{
	cleat_autoclose int hold = run_prune_hold(tools);
	struct inheritance in = { -1, -1, -1, -1, -1, -1, -1 };
	char answer[ANSWER_BYTES] = "";

	run_cgroup_make_parents(plan->cgroup);
	enum cleat_code code = open_inheritance(spec, place, &in, err);
	if (code == CLEAT_OK)
		code = start_conmon(tools, spec, place, &in, err);
	if (code == CLEAT_OK) {
		cleat_cleanup_close(&in.sync); /* or the pipe would never end */
		in.sync = -1;
		read_answer(in.answer, answer);
	}
	inheritance_done(&in);
	if (code != CLEAT_OK)
		return code;
	json_t *json = json_loads(answer, 0, NULL);
	bool made = json_integer_value(json_object_get(json, "data")) > 0;
	json_decref(json);
	return made ? CLEAT_OK : tell_failure(place, answer, err);
}

/* ---- the whole ---- */

static enum cleat_code read_birth(const struct run_place *place, struct run_birth *out,
				  struct cleat_error *err)
{
	long pid = 0, conmon = 0;

	if (!run_get_number(place->fd, "pid", &pid) || !run_get_number(place->fd, "conmon.pid", &conmon))
		return cleat_error_set(err, CLEAT_INTERNAL, "conmon left no pid files");
	*out = (struct run_birth){ .pid = (pid_t)pid,
				   .conmon = (pid_t)conmon,
				   .pid_start = run_process_start((pid_t)pid),
				   .conmon_start = run_process_start((pid_t)conmon) };
	run_boot_id(out->boot_id);
	return CLEAT_OK;
}

static enum cleat_code make_container(const struct run_tools *tools, const struct run_spec *spec,
				      const struct run_place *place, struct cleat_error *err)
{
	struct run_plan plan = { .cgroup = NULL };

	enum cleat_code code = run_cgroup_plan(spec, &plan, err);
	if (code == CLEAT_OK)
		code = run_bundle_write(spec, place, &plan, err);
	if (code == CLEAT_OK)
		code = cleat_sys_mkdir_at(place->fd, "exit", 0700, false, err);
	if (code == CLEAT_OK)
		code = run_plan_write(place->fd, &plan, err);
	if (code == CLEAT_OK)
		code = create(tools, spec, place, &plan, err);
	run_plan_done(&plan);
	return code;
}

static enum cleat_code start(const struct run_tools *tools, const struct run_spec *spec,
			     const struct run_place *place, struct cleat_error *err)
{
	const char *args[] = { "start", spec->id, NULL };
	struct run_birth birth;

	enum cleat_code code = make_container(tools, spec, place, err);
	if (code == CLEAT_OK)
		code = read_birth(place, &birth, err);
	if (code != CLEAT_OK)
		return code;
	birth.started_ms = cleat_time_wall_ms();
	code = run_crun(tools, args, err);
	return code == CLEAT_OK ? run_birth_write(place->fd, &birth, err) : code;
}

enum cleat_code run_start(const struct run_env *env, const struct run_spec *spec, struct run_handle **out,
			  struct cleat_error *err)
{
	struct run_place place = RUN_PLACE_INIT;
	struct cleat_error undone = CLEAT_ERROR_INIT;
	struct run_tools tools;

	enum cleat_code code = run_check_spec(spec, err);
	if (code == CLEAT_OK)
		code = run_tools_find(env, &tools, err);
	if (code == CLEAT_OK)
		code = run_place_make(env, spec->id, &place, err);
	if (code != CLEAT_OK)
		return code;
	code = start(&tools, spec, &place, err);
	if (code == CLEAT_OK)
		code = run_handle_new(env, spec->id, &place, out, err);
	/* The first error is the one to tell; what cannot be removed now, run_destroy() removes. */
	if (code != CLEAT_OK && run_destroy_locked(&tools, spec->id, &place, &undone) != CLEAT_OK)
		cleat_debug("task %s: what was begun could not be undone: %s", spec->id, undone.msg);
	run_place_done(&place);
	return code;
}
