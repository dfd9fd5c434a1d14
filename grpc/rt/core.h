/* core.h - private to rt/: the gRPC core as a whole, counted by those who use it. */
#ifndef CLEAT_RT_CORE_H
#define CLEAT_RT_CORE_H

/* Each init needs one shutdown.  The first init sends the core's messages to the process's log (util/log.h)
 * instead of standard error. */
void cleat_rt_core_init(void);
/* Blocking: after the last one none of the core's threads runs on. */
void cleat_rt_core_shutdown(void);

#endif
