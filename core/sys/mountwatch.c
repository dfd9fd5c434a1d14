/* mountwatch.c - see mountwatch.h. */
#include "sys/mountwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

enum cleat_code cleat_sys_mountwatch_open(int *fd_out, struct cleat_error *err)
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return cleat_error_errno(err, errno, "open '/proc/self/mountinfo'");
	*fd_out = fd;
	return CLEAT_OK;
}

bool cleat_sys_mountwatch_changed(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };

	/* Not being able to tell counts as a change. */
	return poll(&p, 1, 0) != 0;
}
