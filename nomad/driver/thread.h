/* thread.h - threads that end by themselves: for what must wait without holding up anybody. */
#ifndef CLEAT_DRIVER_THREAD_H
#define CLEAT_DRIVER_THREAD_H

#include <cleat/error.h>
#include <pthread.h>
#include <stdint.h>

/* A thread with a small stack and all signals blocked; detached when thread_out is NULL. */
enum cleat_code driver_thread(void *(*run)(void *arg), void *arg, pthread_t *thread_out,
			      struct cleat_error *err) CLEAT_MUST_CHECK;

/* Gives back the pages of this thread's stack that deep calls have used and that nothing is on any more: a
 * worker keeps its thread for the next call, perhaps for hours.  Not for the main thread. */
void driver_thread_trim_stack(void);

/* A condition on the monotonic clock, and waiting on it for some time; the lock is held. */
void driver_cond_init(pthread_cond_t *c);
void driver_cond_wait_ms(pthread_cond_t *c, pthread_mutex_t *lock, int64_t ms);

#endif
