/* core.c - bringing the gRPC core up, and what it has to say into our log. */
#include "rt/core.h"

#include "util/log.h"

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <stddef.h>

/* What the core calls an error is a peer that misbehaves or a handshake that failed; its lower levels are for
 * its developers, and off unless GRPC_VERBOSITY asks for them. */
static void log_line(gpr_log_func_args *line)
{
	enum cleat_log_level level =
		line->severity == GPR_LOG_SEVERITY_ERROR ? CLEAT_LOG_WARN : CLEAT_LOG_DEBUG;

	cleat_log(level, NULL, "grpc: %s", line->message);
}

static void set_log(void)
{
	gpr_set_log_function(log_line);
}

void cleat_rt_core_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, set_log);
	grpc_init();
}

void cleat_rt_core_shutdown(void)
{
	grpc_shutdown_blocking();
}
