/* guardian.h - freezing several file systems at once without the danger that they stay frozen.
 *
 * A freeze outlives the process that made it, and would hang every task on the volume.  So a small program of its own (cleat-thaw) freezes,
 * and thaws when it is told to, when this process is gone, or when the time is over.
 */
#ifndef CLEAT_SYS_GUARDIAN_H
#define CLEAT_SYS_GUARDIAN_H

#include <cleat/error.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cleat_guardian {
	pid_t pid;
	int fd; /* our end of the line to it */
	const int *mounts; /* borrowed until cleat_sys_guardian_thaw() */
	size_t count;
};

/* Starts the program at `path`, which freezes the `count` file systems that `mounts` are open directories of, and returns when all are
 * frozen.  After limit_ms they are thawed, come what may.  On failure none is frozen. */
enum cleat_code cleat_sys_guardian_freeze(const char *path, const int *mounts, size_t count, int64_t limit_ms,
					  struct cleat_guardian *out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Thaws all, and ends the guardian.  ABORTED when they were not frozen all the time up to this call. */
enum cleat_code cleat_sys_guardian_thaw(struct cleat_guardian *g, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
