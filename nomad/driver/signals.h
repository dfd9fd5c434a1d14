/* signals.h - names of signals, as jobs write them. */
#ifndef CLEAT_DRIVER_SIGNALS_H
#define CLEAT_DRIVER_SIGNALS_H

/* "SIGHUP", "hup", "1", "SIGRTMIN+3"; 0 when it is none. */
int driver_signal_number(const char *name);

#endif
