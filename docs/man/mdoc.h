/* mdoc.h - text as mdoc(7) source: what the generated parts of the manual are written with. */
#ifndef CLEAT_MANUAL_MDOC_H
#define CLEAT_MANUAL_MDOC_H

#include <stddef.h>

/* n bytes of text as they are, whatever they begin with or contain; no line break after. */
void mdoc_escape(const char *text, size_t n);
/* One text line. */
void mdoc_line(const char *text);
/* Several paragraphs: "Example: X" and indented lines become literal displays. */
void mdoc_prose(const char *text);

/* The parts, see cleat_manual.c. */
void manual_commands(void);
void manual_daemon_keys(void);
void manual_parameters(void);

#endif
