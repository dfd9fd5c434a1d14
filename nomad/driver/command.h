/* command.h - a command that runs in a task, with a descriptor that tells when it has ended. */
#ifndef CLEAT_DRIVER_COMMAND_H
#define CLEAT_DRIVER_COMMAND_H

#include <pthread.h>
#include <stdatomic.h>

#include "driver/run.h"

struct driver_command {
	struct run_exec *exec;
	struct run_exec_io io; /* non-blocking; ours to close */
	int ended_fd;	       /* readable once it has ended */
	pthread_t waiter;
	atomic_bool give_up; /* kill it */
	int64_t timeout_ms;
	atomic_bool ended;
	/* Valid once driver_command_ended(): */
	enum cleat_code code;
	struct cleat_error err;
	struct run_exit exit;
};

/* argv is borrowed for the call; timeout_ms 0: none. */
enum cleat_code driver_command_start(struct run_handle *run, char *const *argv, bool tty, int64_t timeout_ms,
				     struct driver_command **out, struct cleat_error *err) CLEAT_MUST_CHECK;
bool driver_command_ended(const struct driver_command *c);
/* Kills it if it runs, waits for its end, closes everything. */
void driver_command_free(struct driver_command *c);

/* A copy of the n words that execv(3) can take; NULL without memory or words. */
char **driver_command_words(char *const *words, size_t n);

#endif
