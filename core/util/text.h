/* text.h - what may be printed: checks of text that came from outside. */
#ifndef CLEAT_UTIL_TEXT_H
#define CLEAT_UTIL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the n bytes are valid UTF-8 (RFC 3629: no overlong forms, no surrogates) without control characters
 * (C0, DEL, C1) and without NUL, so that they may stand in a line for people. */
bool cleat_text_is_clean(const char *bytes, size_t n);

/* How many bytes of text, at most `most`, can be shown without cutting a character in two; for "%.*s". */
int cleat_text_cut(const char *text, int most);

#endif
