/* freeze.c - see mount.h: freezing, thawing and trimming a file system.  Apart from mount.c because
 * <linux/fs.h> and <sys/mount.h> define the same names (glibc 2.36). */
#include "sys/mount.h"

#include "sys/hook.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum cleat_code cleat_sys_freeze(int fd, const char *what, struct cleat_error *err)
{
	int e = cleat_sys_step("ioctl(FIFREEZE)", what);

	if (e == 0 && ioctl(fd, FIFREEZE, 0) < 0)
		e = errno;
	if (e == 0 || e == EBUSY) /* EBUSY: frozen already */
		return CLEAT_OK;
	return cleat_error_errno(err, e, "freeze '%s'", what);
}

enum cleat_code cleat_sys_thaw(int fd, const char *what, struct cleat_error *err)
{
	int e = cleat_sys_step("ioctl(FITHAW)", what);

	if (e == 0 && ioctl(fd, FITHAW, 0) < 0)
		e = errno;
	if (e == 0 || e == EINVAL) /* EINVAL: not frozen */
		return CLEAT_OK;
	return cleat_error_errno(err, e, "thaw '%s'", what);
}

enum cleat_code cleat_sys_trim(int fd, const char *what, struct cleat_error *err)
{
	struct fstrim_range all = { .start = 0, .len = UINT64_MAX, .minlen = 0 };
	int e = cleat_sys_step("ioctl(FITRIM)", what);

	if (e == 0 && TEMP_FAILURE_RETRY(ioctl(fd, FITRIM, &all)) < 0)
		e = errno;
	if (e == ENOTTY)
		e = EOPNOTSUPP;
	return e == 0 ? CLEAT_OK : cleat_error_errno(err, e, "trim '%s'", what);
}
