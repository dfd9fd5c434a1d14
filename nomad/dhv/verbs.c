/* verbs.c - see verbs.h: what both verbs share. */
#include "dhv/verbs.h"

#include <stdarg.h>

/* Below Nomad's 60 s, and below the 50 s that it has for all volumes at its start; a boot may take most of
 * that. */
const struct dhv_limits dhv_limits = {
	.whole_ms = 45000, .new_ms = 15000, .known_ms = 40000, .mounted_ms = 3000
};

void dhv_warn(const struct dhv_context *c, const char *fmt, ...)
{
	struct cleat_error line = CLEAT_ERROR_INIT; /* for its making of one clean line */
	va_list args;

	va_start(args, fmt);
	cleat_error_vset(&line, CLEAT_UNKNOWN, fmt, args);
	va_end(args);
	c->warn(line.msg);
}
