/* report.c - see report.h. */
#include "cleatd/report.h"

#include <stdarg.h>
#include <stdio.h>

#define MAX_BYTES (32u << 10)

void cleatd_report_init(struct cleatd_report *r, const char *file)
{
	*r = (struct cleatd_report){ .file = file, .lines = CLEAT_BUF_INIT(MAX_BYTES) };
}

void cleatd_report_done(struct cleatd_report *r)
{
	cleat_buf_done(&r->lines);
}

void cleatd_report_add(struct cleatd_report *r, unsigned line, const char *fmt, ...)
{
	struct cleat_error text; /* makes one line without control characters of whatever was in the file */
	va_list args;

	if (++r->count > CLEATD_REPORT_MAX) {
		if (r->count == CLEATD_REPORT_MAX + 1)
			cleat_buf_addf(&r->lines, "%s: more errors are left out\n", r->file);
		return;
	}
	va_start(args, fmt);
	cleat_error_vset(&text, CLEAT_INVALID_ARGUMENT, fmt, args);
	va_end(args);
	if (line)
		cleat_buf_addf(&r->lines, "%s:%u: %s\n", r->file, line, text.msg);
	else
		cleat_buf_addf(&r->lines, "%s: %s\n", r->file, text.msg);
}

const char *cleatd_report_text(const struct cleatd_report *r)
{
	return cleat_buf_text(&r->lines);
}
