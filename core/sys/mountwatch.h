/* mountwatch.h - whether the mount table has changed, without reading it (proc(5): mountinfo can be polled). */
#ifndef CLEAT_SYS_MOUNTWATCH_H
#define CLEAT_SYS_MOUNTWATCH_H

#include <cleat/error.h>
#include <stdbool.h>

/* A descriptor to ask with; the caller closes it. */
enum cleat_code cleat_sys_mountwatch_open(int *fd_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Whether anything was mounted, unmounted or moved since the last time this was asked (since the opening, the first time).  So: ask, then
 * read; what changes while it is read shows at the next question.  One system call that does not block. */
bool cleat_sys_mountwatch_changed(int fd);

#endif
