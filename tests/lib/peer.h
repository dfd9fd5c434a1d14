/* peer.h - programs that stand for a far side in tests: started with a pipe as standard input, ended by
 * closing it. */
#ifndef TESTS_LIB_PEER_H
#define TESTS_LIB_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct peer {
	pid_t pid;
	int stdin_fd, stdout_fd;
};

/* Starts argv (looked up in PATH) and reads its first line, without the line break, into line: by then it is
 * ready.  False, with the reason on stderr, when it ends before or says nothing for `limit_ms`. */
bool peer_start(struct peer *p, const char *const argv[], int limit_ms, char *line, size_t line_bytes);
/* Closes its standard input and waits; kills it after five seconds.  Fine for one that never started. */
void peer_stop(struct peer *p);

#endif
