/* internal.h - what the files of this folder share; everybody else includes driver/run.h.
 *
 * What a task's directory holds:
 *   lock           taken by whoever starts or destroys the task, for as long as that takes
 *   alive          locked by conmon (and by what makes the container) as long as it lives: tells whether a
 * start is still under way task.json      written before anything is started: what has to be removed some
 * time started.json   appears when the task's program runs: pids and when they began ended.json     how it
 * ended, once somebody has looked exit/<id>      the exit code, from conmon config.json, rootfs/, files/ the
 * bundle; process.json for further processes
 */
#ifndef CLEAT_DRIVER_RUN_INTERNAL_H
#define CLEAT_DRIVER_RUN_INTERNAL_H

#include "driver/run.h"

#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#define RUN_ID_MAX_BYTES 128
#define RUN_NOTES_BYTES 1024
#define RUN_CRUN_ROOT ".crun" /* in the directory of tasks: crun's own state */

/* ---- spec.c: what a job may ask for ---- */

/* INVALID_ARGUMENT unless the id can be a file name, and an argument that is no option. */
enum cleat_code run_check_id(const char *id, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Everything that can be told without looking at the machine. */
enum cleat_code run_check_spec(const struct run_spec *spec, struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- tools.c: programs ---- */

/* Of programs and of our own directory.  Less than the system allows: many threads have them on their stacks.
 */
#define RUN_TOOL_PATH_BYTES 512

struct run_tools {
	char crun[RUN_TOOL_PATH_BYTES], conmon[RUN_TOOL_PATH_BYTES];
	char helper[RUN_TOOL_PATH_BYTES]; /* "": crun makes containers here without help */
	char root[RUN_TOOL_PATH_BYTES];	  /* of crun's state */
};
enum cleat_code run_tools_find(const struct run_env *env, struct run_tools *out,
			       struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- child.c: starting programs ---- */

#define RUN_CHILD_MAX_FDS 8
struct run_child {
	const char *const *argv;     /* argv[0] is an absolute path; NULL-terminated */
	int in, out, err;	     /* borrowed; -1: /dev/null */
	int more[RUN_CHILD_MAX_FDS]; /* what it gets as descriptor 3, 4 ... ; borrowed */
	size_t more_count;
	const char *variable; /* one more "NAME=value" beside PATH and LC_ALL, or NULL: nothing of our own
				 environment is handed on */
	bool session;	      /* of its own */
	const char *dir; /* absolute, where it works; NULL: /, so that nothing is held that somebody may want
			    to unmount */
};
/* posix_spawn(3): empty signal mask, default actions. */
enum cleat_code run_child_start(const struct run_child *child, pid_t *pid_out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* Waits for a child of ours, at most limit_ms (-1: for ever); then it is killed: DEADLINE_EXCEEDED.
 * *status_out as from waitpid(2). */
enum cleat_code run_child_wait(pid_t pid, const char *name, int64_t limit_ms, int *status_out,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
/* Runs crun with its state's place, and these arguments (NULL-terminated).  INTERNAL with its own words when
 * it fails. */
enum cleat_code run_crun(const struct run_tools *tools, const char *const *args,
			 struct cleat_error *err) CLEAT_MUST_CHECK;
/* The last of what crun logged as JSON lines, or what there is; false when there is nothing. */
bool run_log_words(int fd, char *words, size_t bytes);
/* The code that fits what crun said of a command that could not be started: NOT_FOUND, INVALID_ARGUMENT, else
 * INTERNAL. */
enum cleat_code run_words_code(const char *words);

/* ---- process.c: processes that are not children of ours ---- */

/* When it began, in clock ticks since boot (proc(5)); 0: there is none. */
uint64_t run_process_start(pid_t pid);
/* A pidfd of the process with this number that began then; -1: it is gone. */
int run_process_open(pid_t pid, uint64_t start);
/* Whether what the pidfd means has ended; waits up to timeout_ms. -1 counts as ended. */
bool run_process_ended(int pid_fd, int timeout_ms);
/* 0 or an errno value. */
int run_process_signal(int pid_fd, int signal);
int run_process_session(pid_t pid); /* 0: gone */
/* Whether the kernel would drop this signal because its receiver is first in its namespace and has no
 * handler, while it would have ended any other process. */
bool run_process_withholds(pid_t pid, int signal);

#define RUN_BOOT_ID_BYTES 40
void run_boot_id(char id[RUN_BOOT_ID_BYTES]);

/* ---- place.c, state.c: a task's directory and what is written there ---- */

struct run_place {
	char *path;  /* absolute */
	int fd;	     /* -1: not open */
	int lock_fd; /* -1: not held */
};
#define RUN_PLACE_INIT                                                                                       \
	{                                                                                                    \
		NULL, -1, -1                                                                                 \
	}
void run_place_done(struct run_place *place);
/* Makes and locks the directory of a new task. */
enum cleat_code run_place_make(const struct run_env *env, const char *id, struct run_place *out,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
/* NOT_FOUND: there is none.  With lock: waits up to limit_ms for whoever has it, then UNAVAILABLE. */
enum cleat_code run_place_open(const struct run_env *env, const char *id, bool lock, int64_t limit_ms,
			       struct run_place *out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Whether somebody is starting or destroying the task. */
bool run_place_is_busy(const struct run_place *place);
/* Replaces a file, without waiting for the disk: after a crash of the machine no task is left that it could
 * tell of. */
enum cleat_code run_put_file(int dirfd, const char *name, const void *bytes, size_t n, mode_t mode,
			     struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code run_put_json(int dirfd, const char *name, const json_t *json,
			     struct cleat_error *err) CLEAT_MUST_CHECK;
/* NOT_FOUND when absent, DATA_LOSS when it is no JSON object. */
enum cleat_code run_get_json(int dirfd, const char *name, json_t **out,
			     struct cleat_error *err) CLEAT_MUST_CHECK;
/* A number that stands in a file by itself (pid files, exit files); false when there is none. */
bool run_get_number(int dirfd, const char *path, long *out);

struct run_plan {     /* task.json */
	char *cgroup; /* below each controller's (or the one) mount */
	char notes[RUN_NOTES_BYTES];
};
void run_plan_done(struct run_plan *plan);
enum cleat_code run_plan_write(int dirfd, const struct run_plan *plan,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code run_plan_read(int dirfd, struct run_plan *out, struct cleat_error *err) CLEAT_MUST_CHECK;

struct run_birth { /* started.json */
	pid_t pid, conmon;
	uint64_t pid_start, conmon_start;
	int64_t started_ms;
	char boot_id[RUN_BOOT_ID_BYTES];
};
enum cleat_code run_birth_write(int dirfd, const struct run_birth *birth,
				struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code run_birth_read(int dirfd, struct run_birth *out, struct cleat_error *err) CLEAT_MUST_CHECK;

enum cleat_code run_end_write(int dirfd, const struct run_exit *end,
			      struct cleat_error *err) CLEAT_MUST_CHECK;
bool run_end_read(int dirfd, struct run_exit *out);

/* ---- cgroup.c ---- */

#define RUN_CGROUP_ROOT "/sys/fs/cgroup"
enum run_cgroup_mode {
	RUN_CGROUP_NONE,
	RUN_CGROUP_V1,
	RUN_CGROUP_V2,
};
enum run_cgroup_mode run_cgroup_mode(void);
/* Whether crun 1.8 refuses to make containers here, because cgroup2 owns a controller beside cgroup v1. */
bool run_cgroup_is_mixed(void);
/* Fills cgroup. */
enum cleat_code run_cgroup_plan(const struct run_spec *spec, struct run_plan *plan,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* SIGKILL to all in it, also where it is frozen. */
void run_cgroup_kill(const char *cgroup);
/* Makes the directories above it that are not there, and remembers in them that they are ours. */
void run_cgroup_make_parents(const char *cgroup);
/* Removes it from every hierarchy, waiting up to limit_ms for processes that are just ending. */
enum cleat_code run_cgroup_remove(const char *cgroup, int64_t limit_ms,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* Removes the directories above it that are ours and empty. */
void run_cgroup_prune(const char *cgroup);
/* How many processes in it the kernel has killed for its memory limit. */
uint64_t run_cgroup_oom_kills(const char *cgroup);
/* Whether swap can be limited here. */
bool run_cgroup_limits_swap(const char *cgroup);
/* Calls fn for each process in the cgroup and below it until it returns false. */
void run_cgroup_each(const char *cgroup, bool (*fn)(pid_t pid, void *arg), void *arg);

/* ---- numbers.c: reading small files of numbers ---- */

bool run_number_file(const char *root, const char *controller, const char *cgroup, const char *file,
		     uint64_t *out);
/* The value in the line "<key> <value>". */
bool run_number_key(const char *text, const char *key, uint64_t *out);
/* The whole small file; false when it cannot be read. */
bool run_small_file(const char *path, char *text, size_t bytes);

/* ---- stats.c ---- */

enum cleat_code run_stats_v1(const char *root, const char *cgroup, struct run_stats *out,
			     struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code run_stats_v2(const char *root, const char *cgroup, struct run_stats *out,
			     struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- user.c ---- */

#define RUN_MAX_GROUPS 256
struct run_user {
	uid_t uid;
	gid_t gid;
	gid_t groups[RUN_MAX_GROUPS]; /* without gid */
	size_t group_count;
	char home[PATH_MAX];
};
enum cleat_code run_user_find(const struct run_spec *spec, struct run_user *out,
			      struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- the bundle: json.c, bundle.c, rootfs.c, mounts.c, network.c, devices.c, limits.c, caps.c, seccomp.c,
 * relabel.c ---- */

/* Writes into the bundle; the first trouble stays. */
struct run_bundle {
	const struct run_spec *spec;
	const struct run_place *place;
	struct run_plan *plan; /* notes are added */
	struct run_user user;
	json_t *mounts, *devices, *device_rules; /* arrays, owned */
	bool unruled;	      /* no rules for devices can be set here, so that no nodes may be made */
	enum cleat_code code; /* OK: no trouble so far */
	struct cleat_error *err;
};
/* The value, put under its key: both may be NULL when memory was short, or a text no UTF-8, which the bundle
 * remembers. */
void run_json_put(struct run_bundle *b, json_t *object, const char *key, json_t *value);
void run_json_add(struct run_bundle *b, json_t *array, json_t *value);
/* A list of texts up to NULL; list may be NULL: empty. */
json_t *run_json_list(struct run_bundle *b, const char *const *list);
json_t *run_json_text(struct run_bundle *b, const char *text);
void run_note(struct run_plan *plan, const char *fmt, ...) CLEAT_PRINTF(2, 3);

enum cleat_code run_bundle_write(const struct run_spec *spec, const struct run_place *place,
				 struct run_plan *plan, struct cleat_error *err) CLEAT_MUST_CHECK;
/* One mount; options separated by commas; NULL texts are left out. */
void run_mount_add(struct run_bundle *b, const char *type, const char *source, const char *target,
		   const char *options);
/* A bind with the restrictions that the source has itself (crun would lose them). */
void run_bind_add(struct run_bundle *b, const char *source, const char *target, bool read_only,
		  const char *propagation);
/* The directories of the root file system, and the binds of the host's system directories. */
void run_rootfs_add(struct run_bundle *b, char *root_path, size_t root_bytes);
/* FAILED_PRECONDITION when the container's root is the host's and the path would have to be made in a
 * directory of the host. */
enum cleat_code run_rootfs_check(const struct run_spec *spec, const char *path, const char *what,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* What the job mounts, outer before inner. */
void run_mounts_add(struct run_bundle *b, const char **propagation_out);
void run_devices_add(struct run_bundle *b);
/* A node for a block or character device; mode as asked for, owned by the task's user. */
void run_device_add(struct run_bundle *b, const char *source, const char *target, const char *permissions);
/* /etc/resolv.conf, /etc/hosts, /etc/hostname. */
void run_network_files_add(struct run_bundle *b);
json_t *run_limits_json(struct run_bundle *b);
json_t *run_caps_json(struct run_bundle *b);
json_t *run_seccomp_json(struct run_bundle *b);
bool run_has_cap(const struct run_spec *spec, const char *name);
/* Whether a limit or capability can be given away by this process. */
enum cleat_code run_limits_check(const struct run_spec *spec, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code run_caps_check(const struct run_spec *spec, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The label of what is at path and below it, on the same file system. */
enum cleat_code run_relabel(const char *path, const char *label, struct cleat_error *err) CLEAT_MUST_CHECK;
bool run_selinux_is_on(void);
bool run_path_is_beneath(const char *path, const char *dir); /* or the same; both absolute and tidy */

/* ---- start.c, handle.c, destroy.c ---- */

struct run_handle {
	atomic_uint refs;
	char *id;
	char *crun, *crun_root; /* for further processes in it; the paths alone: there are many handles */
	struct run_place place; /* not locked */
	struct run_plan plan;
	struct run_birth birth;
	int pid_fd, conmon_fd; /* -1: already gone when this handle was made */
	pthread_mutex_t lock;  /* of what follows */
	bool ended;
	struct run_exit end;
};
/* Makes a handle of an open place, which it takes over on success. */
enum cleat_code run_handle_new(const struct run_env *env, const char *id, struct run_place *place,
			       struct run_handle **out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* What run_destroy() does once it has the lock. */
enum cleat_code run_destroy_locked(const struct run_tools *tools, const char *id, struct run_place *place,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* Held (shared) while a cgroup is made, so that its parents are not pruned meanwhile; a descriptor to close,
 * or negative. */
int run_prune_hold(const struct run_tools *tools);
/* The same exclusively; negative when others kept making cgroups for seconds. */
int run_prune_begin(const struct run_tools *tools);

/* ---- exec.c, console.c ---- */

/* A socket on which crun delivers the master of the terminal it makes. */
struct run_console {
	int fd;
	char name[40]; /* in the task's directory */
	char path[64]; /* for crun, short enough for any directory */
};
enum cleat_code run_console_open(int dirfd, struct run_console *out,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Waits for the terminal, or until the process behind pid_fd has ended (CANCELLED). */
enum cleat_code run_console_accept(struct run_console *console, int pid_fd, int64_t limit_ms, int *master_out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
void run_console_close(int dirfd, struct run_console *console);

#endif
