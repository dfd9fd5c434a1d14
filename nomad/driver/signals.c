/* signals.c - see signals.h. */
#include "driver/signals.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LAST_NAMED 31

static int in_range(long n, long first, long last)
{
	return n >= first && n <= last ? (int)n : 0;
}

static int whole_number(const char *text, long first, long last)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text >= '0' && *text <= '9' && *end == '\0' ? in_range(n, first, last) : 0;
}

int driver_signal_number(const char *name)
{
	int n = whole_number(name, 1, SIGRTMAX);

	if (n)
		return n;
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	for (n = 1; n <= LAST_NAMED; n++) {
		const char *known = sigabbrev_np(n);
		if (known && strcasecmp(name, known) == 0)
			return n;
	}
	if (strcasecmp(name, "IOT") == 0)
		return SIGABRT;
	if (strcasecmp(name, "RTMIN") == 0)
		return SIGRTMIN;
	if (strncasecmp(name, "RTMIN+", 6) == 0)
		return whole_number(name + 6, 1, SIGRTMAX - SIGRTMIN) ? SIGRTMIN + atoi(name + 6) : 0;
	return strcasecmp(name, "RTMAX") == 0 ? SIGRTMAX : 0;
}
