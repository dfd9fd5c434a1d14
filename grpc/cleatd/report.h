/* report.h - the list of what is wrong with a configuration file: "file:line: text", at most twenty kept. */
#ifndef CLEATD_REPORT_H
#define CLEATD_REPORT_H

#include "util/buf.h"

#define CLEATD_REPORT_MAX 20

struct cleatd_report {
	const char *file;	/* name to show; borrowed */
	struct cleat_buf lines; /* one per error, each ends in a line break */
	unsigned count;		/* of all errors, those that were not kept too */
};

void cleatd_report_init(struct cleatd_report *r, const char *file);
void cleatd_report_done(struct cleatd_report *r);
/* Adds one error.  line 0: the file as a whole. */
void cleatd_report_add(struct cleatd_report *r, unsigned line, const char *fmt, ...) CLEAT_PRINTF(3, 4);
/* All lines, with a last one that says how many are left out; "" when nothing is wrong. */
const char *cleatd_report_text(const struct cleatd_report *r);

#endif
