/* thread.c - see thread.h. */
#include "driver/thread.h"

#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define STACK_BYTES (256 * 1024)
#define STACK_KEPT_BYTES 8192

enum cleat_code driver_thread(void *(*run)(void *arg), void *arg, pthread_t *thread_out,
			      struct cleat_error *err)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (!thread_out)
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int e = pthread_create(&thread, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (e)
		return cleat_error_errno(err, e, "start a thread");
	if (thread_out)
		*thread_out = thread;
	return CLEAT_OK;
}

void driver_thread_trim_stack(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t used = (uintptr_t)__builtin_frame_address(0);
	pthread_attr_t attr;
	void *lowest;
	size_t bytes;

	if (pthread_getattr_np(pthread_self(), &attr))
		return;
	if (pthread_attr_getstack(&attr, &lowest, &bytes) == 0) {
		/* With room for the calls below this one. */
		uintptr_t end = (used - STACK_KEPT_BYTES) & ~(page - 1);
		if (end > (uintptr_t)lowest && used < (uintptr_t)lowest + bytes)
			madvise(lowest, end - (uintptr_t)lowest, MADV_DONTNEED);
	}
	pthread_attr_destroy(&attr);
}

void driver_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
}

void driver_cond_wait_ms(pthread_cond_t *c, pthread_mutex_t *lock, int64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(c, lock, &until);
}
