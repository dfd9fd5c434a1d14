/* activation.c - see activation.h. */
#include "rt/activation.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define MAX_FDS 64

/* A positive decimal number from the environment, 0 for anything else. */
static long number_from(const char *variable)
{
	const char *text = getenv(variable);
	char *end = NULL;

	if (!text || !*text)
		return 0;
	long value = strtol(text, &end, 10);
	return *end || value < 0 ? 0 : value;
}

/* How many were passed to this very process: the variables are inherited by children as well. */
static int passed(void)
{
	long n = number_from("LISTEN_FDS");

	if (number_from("LISTEN_PID") != (long)getpid() || n > MAX_FDS)
		return 0;
	return (int)n;
}

/* The position of a name in the colon-separated list, -1 if it is not there. */
static int position_of(const char *name, int n)
{
	const char *names = getenv("LISTEN_FDNAMES");

	for (int i = 0; i < n; i++) {
		size_t len = names ? strcspn(names, ":") : 0;
		const char *is = len ? names : "unknown";
		size_t is_len = len ? len : strlen("unknown");
		if (strlen(name) == is_len && memcmp(is, name, is_len) == 0)
			return i;
		if (names)
			names = names[len] ? names + len + 1 : NULL;
	}
	return -1;
}

int cleat_rpc_activation_fd(const char *name)
{
	int n = passed();
	int position = name ? position_of(name, n) : (n > 0 ? 0 : -1);

	if (position < 0 || fcntl(FIRST_FD + position, F_SETFD, FD_CLOEXEC))
		return -1;
	return FIRST_FD + position;
}

void cleat_rpc_activation_forget(void)
{
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}
