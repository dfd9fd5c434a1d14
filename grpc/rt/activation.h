/* activation.h - sockets that systemd (or another supervisor) has opened for us: LISTEN_FDS,
 * sd_listen_fds(3). */
#ifndef CLEAT_RT_ACTIVATION_H
#define CLEAT_RT_ACTIVATION_H

/* The descriptor that was passed under a name (FileDescriptorName= of the socket unit), -1 if none was.  name
 * NULL takes the first.  Unnamed descriptors have the name "unknown".  The descriptor becomes close-on-exec
 * and belongs to the caller.  Call before threads start. */
int cleat_rpc_activation_fd(const char *name);

/* Removes the variables, so that children do not take them for theirs. */
void cleat_rpc_activation_forget(void);

#endif
