/* run.h - one task in one OCI container: crun runs it, conmon watches it; both outlive this process.
 *
 * A task has a directory of its own (<state>/tasks/<name>/) with everything that another process needs to find it again: bundle, pid files,
 * exit file, the exit's description.  Nothing here knows volumes, Nomad's protocol or gRPC.  Functions block; several threads may call for
 * different tasks at once, and wait/stats/exec for the same one.
 */
#ifndef CLEAT_DRIVER_RUN_H
#define CLEAT_DRIVER_RUN_H

#include <cleat/error.h>
#include <cleat/record.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct run_mount {
	char *source; /* absolute on the host: a directory, a file or a block device */
	char *target; /* absolute in the container */
	bool read_only;
	char *propagation; /* rprivate, rslave, rshared; NULL or "": rprivate */
	char *selinux_label; /* "z", "Z" or a whole context that the source is labelled with where SELinux is on; NULL or "" without */
};

struct run_device {
	char *source, *target; /* of the host, in the container; target NULL: the same */
	char *permissions; /* some of "rwm"; NULL: all */
};

struct run_limit {
	char *name; /* nofile, memlock ... without RLIMIT_ */
	uint64_t soft, hard; /* UINT64_MAX: unlimited */
};

/* Everything about a task; plain data, owned by whoever made it. */
struct run_spec {
	char *id; /* unique, [A-Za-z0-9_][A-Za-z0-9_.-]*, at most 128 bytes: container id and name of the task's directory */
	char *rootfs; /* directory, or NULL: the host's system directories, read-only, with a private /tmp and /dev */
	char **argv; /* NULL-terminated */
	/* Key and value are allocated each by itself, unlike those of cleat_kv_set(), which would take neither so many nor such long ones.  PATH
	 * and HOME are added where missing. */
	struct cleat_kvs env;
	char *cwd; /* absolute in the container; NULL: / */
	char *user; /* name, uid, name:group or uid:gid; looked up in the container's root first; NULL: root */
	uid_t dynamic_uid; /* a workload user without a passwd entry (gid the same), instead of `user`; (uid_t)-1: none */
	char *hostname; /* NULL: the host's */
	struct run_mount *mounts;
	size_t mount_count;
	struct run_device *devices;
	size_t device_count;
	struct run_limit *limits;
	size_t limit_count;
	char **caps; /* NULL-terminated, "CAP_..."; the whole set; NULL: run_default_caps */
	bool no_new_privileges, seccomp; /* seccomp: the default profile */
	char *netns; /* path of a network namespace to join; NULL: the host's */
	bool private_net; /* a new, empty one instead */
	char **dns_servers, **dns_searches, **dns_options; /* NULL-terminated; all NULL: the host's resolv.conf */
	char *hosts; /* text for /etc/hosts; NULL: the image's or host's own */
	int64_t cpu_shares; /* 0: none */
	int64_t memory_bytes; /* hard limit; 0: none */
	int64_t memory_low_bytes; /* soft limit; 0: none */
	char *cpuset; /* "0-1"; NULL: all that the parent has */
	/* The task's cgroup is <parent>/<id>.  cgroup v2: a scope made by the host's agent, absolute with or without /sys/fs/cgroup in front; v1:
	 * the directory name below each controller ("nomad/<alloc>.<task>"), which need not exist everywhere; NULL: /cleat.  What was there
	 * before the start is left alone, what is made goes with run_destroy(). */
	char *cgroup_parent;
	int64_t pids_max; /* 0: none */
	char *stdout_path, *stderr_path; /* FIFOs or files, opened so that a reader may come and go; NULL: /dev/null */
};
/* A spec with nothing in it: dynamic_uid is none, no_new_privileges and seccomp are on. */
#define RUN_SPEC_INIT { .dynamic_uid = (uid_t)-1, .no_new_privileges = true, .seccomp = true }
void run_spec_done(struct run_spec *spec);

/* What a task may do without asking for more, as container engines have it; NULL-terminated. */
extern const char *const run_default_caps[];
/* Whether there is such a capability ("CAP_NET_ADMIN") or limit ("nofile"), for checking a job's values early. */
bool run_cap_known(const char *name);
bool run_limit_known(const char *name);

struct run_exit {
	int code; /* of the process; 128+signal when it was killed */
	int signal; /* 0: none; taken from the code (129..192), as shells do, because nothing else is recorded */
	bool oom_killed; /* the kernel killed something in the task for its memory limit, and the task failed */
	char message[256]; /* why there is no code, in the tool's words; "" when there is one */
	int64_t finished_ms; /* wall clock */
};

struct run_handle; /* one running or finished task */

/* Where tasks live, and the tools; constant for the process. */
struct run_env {
	const char *dir; /* <state>/tasks */
	const char *crun, *conmon; /* absolute, or names to be looked up; NULL: "crun", "conmon" */
	const char *helper; /* absolute path of cleat-run-helper; NULL: $CLEAT_LIBEXEC, beside this program, or where it is installed */
};
/* What is missing on this machine to run tasks at all: one line. */
enum cleat_code run_check(const struct run_env *env, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Makes the bundle, starts conmon and the task.  On failure nothing is left over: INVALID_ARGUMENT and NOT_FOUND for what the job asked for (a
 * bad value, a missing source, user or command), FAILED_PRECONDITION for what this machine does not allow, ALREADY_EXISTS for the id. */
enum cleat_code run_start(const struct run_env *env, const struct run_spec *spec, struct run_handle **out, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Finds a task that another process started, running or finished.  NOT_FOUND when there is no trace of it, or when its start was cut off (then
 * run_destroy() removes what there is); UNAVAILABLE when somebody else is starting or destroying it and is not through in two seconds. */
enum cleat_code run_attach(const struct run_env *env, const char *id, struct run_handle **out, struct cleat_error *err) CLEAT_MUST_CHECK;
struct run_handle *run_ref(struct run_handle *h);
void run_unref(struct run_handle *h);

pid_t run_pid(const struct run_handle *h); /* of the task's first process on the host; 0 once it has ended */
int64_t run_started_ms(const struct run_handle *h);
/* What could not be done as asked, though the task runs: lines for people, or "".  Valid as long as the handle. */
const char *run_notes(const struct run_handle *h);
/* Calls fn with the id of each task that has a directory, started or not, until it returns false: for finding those that nobody knows. */
enum cleat_code run_list(const struct run_env *env, bool (*fn)(const char *id, void *arg), void *arg, struct cleat_error *err)
	CLEAT_MUST_CHECK;

/* Waits until the task has ended or cancelled(arg) says so (asked several times a second); *ended_out tells. */
enum cleat_code run_wait(struct run_handle *h, bool (*cancelled)(void *arg), void *arg, bool *ended_out, struct run_exit *out,
			 struct cleat_error *err) CLEAT_MUST_CHECK;
/* The exit if the task has ended, without waiting. */
bool run_ended(struct run_handle *h, struct run_exit *out);
/* Sends a signal to the first process; a task that has ended is NOT_FOUND. */
enum cleat_code run_signal(struct run_handle *h, int signal, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Whether the kernel would withhold the signal from the first process, which has no handler for it, though it would end any other process:
 * waiting for its effect is in vain. */
bool run_withholds(struct run_handle *h, int signal);
/* Sends `signal`, waits up to timeout_ms, then kills everything in the container.  OK when it has ended, however.  The kernel withholds signals
 * without a handler from the first process of a container: one that would end any other process ends this one too. */
enum cleat_code run_stop(struct run_handle *h, int signal, int64_t timeout_ms, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Kills what still runs and removes container, cgroup and directory.  Idempotent. */
enum cleat_code run_destroy(const struct run_env *env, const char *id, struct cleat_error *err) CLEAT_MUST_CHECK;

struct run_stats {
	int64_t time_ms; /* wall clock */
	uint64_t cpu_user_ns, cpu_system_ns, cpu_total_ns; /* since start */
	uint64_t throttled_periods, throttled_ns;
	uint64_t memory_rss, memory_cache, memory_swap, memory_usage, memory_max, memory_kernel; /* bytes */
	bool has_max, has_kernel; /* some kernels do not tell these two */
};
enum cleat_code run_stats(struct run_handle *h, struct run_stats *out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* A further process in the running container, with the task's environment, user, capabilities and cgroup.  FAILED_PRECONDITION when the task
 * has ended, NOT_FOUND for a command that is not there. */
struct run_exec;
/* Our ends, the caller's to close, each once.  With a tty, stdin_fd and stdout_fd are two descriptors of the terminal's master, whose reading ends
 * with EIO, and stderr_fd is -1. */
struct run_exec_io {
	int stdin_fd, stdout_fd, stderr_fd;
};
enum cleat_code run_exec_start(struct run_handle *h, char *const *argv, bool tty, struct run_exec **out, struct run_exec_io *io_out,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code run_exec_resize(struct run_exec *x, int rows, int columns, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Waits for its end; after timeout_ms (0: none: DEADLINE_EXCEEDED) or when cancelled (CANCELLED) it is killed with all that it started.  May be
 * called again. */
enum cleat_code run_exec_wait(struct run_exec *x, int64_t timeout_ms, bool (*cancelled)(void *arg), void *arg, struct run_exit *out,
			      struct cleat_error *err) CLEAT_MUST_CHECK;
void run_exec_free(struct run_exec *x); /* kills it if it runs; closes nothing of the io */

#endif
