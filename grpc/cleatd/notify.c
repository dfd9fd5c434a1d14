/* notify.c - see notify.h. */
#include "cleatd/notify.h"

#include "util/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

void cleatd_notify(const char *fmt, ...)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *where = getenv("NOTIFY_SOCKET");
	cleat_autoclose int fd = -1;
	char text[512];
	va_list args;
	size_t n = where ? strlen(where) : 0;

	if (n < 2 || n >= sizeof(to.sun_path) || (where[0] != '/' && where[0] != '@'))
		return;
	memcpy(to.sun_path, where, n);
	if (where[0] == '@') /* an abstract address begins with a NUL */
		to.sun_path[0] = '\0';
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

void cleatd_notify_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	cleatd_notify("RELOADING=1\nMONOTONIC_USEC=%llu",
		      (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
}
