/* clock.h - the two clocks in the units the tree uses. */
#ifndef CLEAT_UTIL_CLOCK_H
#define CLEAT_UTIL_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds of the monotonic clock: for durations and deadlines. */
static inline int64_t cleat_time_mono_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Milliseconds since 1970 (UTC): for records and people. */
static inline int64_t cleat_time_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#endif
