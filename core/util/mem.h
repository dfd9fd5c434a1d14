/* mem.h - cleanup attributes, stealing and overflow-free arithmetic; knows no volume words. */
#ifndef CLEAT_UTIL_MEM_H
#define CLEAT_UTIL_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEAT_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CLEAT_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void cleat_cleanup_free(void *where)
{
	free(*(void **)where);
}

static inline void cleat_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Locals that own: `cleat_autofree char *s = NULL;`, `cleat_autoclose int fd = -1;`. */
#define cleat_autofree __attribute__((cleanup(cleat_cleanup_free)))
#define cleat_autoclose __attribute__((cleanup(cleat_cleanup_close)))

/* Hand an owned local over: the local is emptied, so its cleanup does nothing. */
static inline void *cleat_steal_ptr(void *where)
{
	void *p = *(void **)where;

	*(void **)where = NULL;
	return p;
}
#define cleat_steal(local) ((__typeof__(local))cleat_steal_ptr(&(local)))

static inline int cleat_steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
