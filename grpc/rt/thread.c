/* thread.c - threads and waiting: all signals blocked, small stacks, the monotonic clock. */
#include "rt/internal.h"

#include <signal.h>
#include <time.h>

/* protobuf-c needs about 1 kB per level of nesting, and handlers format log lines on the stack. */
#define STACK_BYTES ((size_t)512 * 1024)

enum cleat_code cleat_rt_thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *arg,
				      struct cleat_error *err)
{
	sigset_t all, before;
	pthread_attr_t attr;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int e = pthread_create(thread, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (e)
		return cleat_error_errno(err, e, "start thread '%s'", name);
	pthread_setname_np(*thread, name);
	return CLEAT_OK;
}

enum cleat_code cleat_rt_cond_init(pthread_cond_t *cond, struct cleat_error *err)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	int e = pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	return e ? cleat_error_errno(err, e, "make a condition variable") : CLEAT_OK;
}

uint64_t cleat_rt_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

struct timespec cleat_rt_after_ms(unsigned ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += (time_t)(ms / 1000);
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}
