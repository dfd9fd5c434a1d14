/* notify.h - tells the service manager how the daemon is doing: the protocol of sd_notify(3), without its
 * library. */
#ifndef CLEATD_NOTIFY_H
#define CLEATD_NOTIFY_H

#include <cleat/error.h>

/* Sends lines such as "READY=1\nSTATUS=..." to the datagram socket named by NOTIFY_SOCKET; nothing without
 * one.  A manager that does not listen is no reason to fail. */
void cleatd_notify(const char *fmt, ...) CLEAT_PRINTF(1, 2);
/* "RELOADING=1" with the time that Type=notify-reload wants beside it. */
void cleatd_notify_reloading(void);

#endif
