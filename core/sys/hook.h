/* hook.h - the one seam between this tree and the kernel: every changing system call of core/ passes here first.
 *
 * A test sets a hook that counts the calls, ends the process at the n-th, or makes one fail; the crash enumeration is
 * built on that.  Without a hook a step costs one load.
 */
#ifndef CLEAT_SYS_HOOK_H
#define CLEAT_SYS_HOOK_H

#include <cleat/error.h>

/* Called before the system call `call` is made on `what` (a path, a device; may be "").  Returns 0 to go on, or an errno
 * value with which the call is to fail instead.  May be called from several threads at once. */
typedef int (*cleat_sys_hook_fn)(const char *call, const char *what, void *arg);

/* Set before any thread of the library runs, and not changed while one does; NULL takes it away. */
void cleat_sys_hook_set(cleat_sys_hook_fn hook, void *arg);

/* For the functions of core/sys (and SQLite's commit points): 0, or the errno value to fail with. */
int cleat_sys_step(const char *call, const char *what);

#endif
