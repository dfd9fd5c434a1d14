/* thread.h - threads of the services. */
#ifndef CLEAT_SERVICE_THREAD_H
#define CLEAT_SERVICE_THREAD_H

#include <cleat/error.h>
#include <pthread.h>

/* A thread with a small stack that takes no signals. */
enum cleat_code cleat_service_thread(pthread_t *thread, void *(*fn)(void *), void *arg,
				     struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
