/* spawn.h - running a tool: an argument vector, never a shell; output bounded, time limited. */
#ifndef CLEAT_SYS_SPAWN_H
#define CLEAT_SYS_SPAWN_H

#include <cleat/error.h>
#include <stddef.h>
#include <stdint.h>

struct cleat_spawn {
	const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH plus /usr/sbin and /sbin */
	int keep_fd; /* inherited by the child as descriptor 3 (a locked image: the lock lives as long as the child), or -1 */
	int64_t limit_ms; /* SIGKILL after that; 0: ten minutes */
	int ok_status_max; /* exit statuses up to this are success (e2fsck: 1 means "repaired") */
};

/* Runs the tool and waits.  Failure is INTERNAL "<tool>: exit 1: <last words of its stderr and stdout>", FAILED_PRECONDITION "<tool> is not
 * installed" when it cannot be found, DEADLINE_EXCEEDED past the limit.  out (may be NULL) receives up to out_bytes-1 of its stdout.
 * The child has an empty signal mask, default signal actions (but SIGPIPE as it is here: a daemon that ignores it may be killed, and its
 * tools finish all the same), /dev/null as stdin, LC_ALL=C, and its own process group.  Only the child's own end is waited for: what it
 * started and left behind stays, unless the limit passes, which the whole group does not survive. */
enum cleat_code cleat_sys_spawn(const struct cleat_spawn *how, char *out, size_t out_bytes, int *status_out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* Whether a tool can be found; for `check` slots. */
bool cleat_sys_have_tool(const char *name);

#endif
