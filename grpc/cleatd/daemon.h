/* daemon.h - the life of the daemon: configuration, lock, engine, doors, signals, and back. */
#ifndef CLEATD_DAEMON_H
#define CLEATD_DAEMON_H

#include "cleatd/exit.h"
#include "cleatd/options.h"

/* Serves until it is told to end.  The calling thread takes the signals. */
enum cleatd_exit cleatd_run(const struct cleatd_options *options);

#endif
