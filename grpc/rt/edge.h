/* edge.h - tells ThreadSanitizer about the ordering that the gRPC core gives between starting an operation
 * and getting its event; the distribution's library is not instrumented. */
#ifndef CLEAT_RT_EDGE_H
#define CLEAT_RT_EDGE_H

#if defined(__SANITIZE_THREAD__)
#define CLEAT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CLEAT_TSAN 1
#endif
#endif

#ifdef CLEAT_TSAN
#include <sanitizer/tsan_interface.h>
#define EDGE_OUT(tag) __tsan_release(tag)
#define EDGE_IN(tag) __tsan_acquire(tag)
#else
#define EDGE_OUT(tag) ((void)(tag))
#define EDGE_IN(tag) ((void)(tag))
#endif

#endif
