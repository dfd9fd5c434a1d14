/* exit.h - with which codes cleatd ends; documented in cleatd(8). */
#ifndef CLEATD_EXIT_H
#define CLEATD_EXIT_H

enum cleatd_exit {
	CLEATD_EXIT_OK = 0,
	CLEATD_EXIT_FAILURE = 1,
	CLEATD_EXIT_USAGE = 2,
	CLEATD_EXIT_RUNNING = 3, /* another cleatd serves this state directory */
	CLEATD_EXIT_CONFIG = 4,
};

#endif
