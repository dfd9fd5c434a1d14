/* main.c - cleatd: volumes over gRPC, one daemon per node. */
#include "cleatd/config.h"
#include "cleatd/daemon.h"
#include "cleatd/options.h"

#include <malloc.h>
#include <pthread.h>

#define STACK_BYTES (512u << 10)

/* A daemon that is idle most of its life should not keep what a busy moment needed: few arenas, free memory
 * goes back to the system early, and stacks too small to be backed by huge pages. */
static void be_small(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	pthread_attr_t attr;

	mallopt(M_ARENA_MAX, 2);
	mallopt(M_TRIM_THRESHOLD, 128 << 10);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
#endif
}

int main(int argc, char **argv)
{
	struct cleatd_options options;

	be_small();
	cleatd_options_parse(&options, argc, argv);
	if (options.print_keys) {
		cleatd_config_print_keys();
		return CLEATD_EXIT_OK;
	}
	return (int)cleatd_run(&options);
}
