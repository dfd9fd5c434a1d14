/* lock.h - one daemon per state directory, and who it is. */
#ifndef CLEATD_LOCK_H
#define CLEATD_LOCK_H

#include <cleat/error.h>

/* Makes state_dir (0700) where it is missing and locks <state_dir>/cleatd.lock until *fd_out is closed or the
 * process ends; the file then says who holds it.  FAILED_PRECONDITION with that text when another process has
 * it. */
enum cleat_code cleatd_lock(const char *state_dir, const char *socket_path, int *fd_out,
			    struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
