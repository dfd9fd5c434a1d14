/* buf.h - a growable text buffer with a maximum that is given when it is made.
 *
 * Appending past the maximum, or running out of memory, marks the buffer as failed and drops what does not
 * fit; check once at the end with cleat_buf_ok().
 */
#ifndef CLEAT_UTIL_BUF_H
#define CLEAT_UTIL_BUF_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>

struct cleat_buf {
	char *data; /* always NUL-terminated once something was appended; owned */
	size_t len; /* bytes without the NUL */
	size_t room; /* bytes allocated */
	size_t max_bytes; /* longest text accepted */
	bool failed;
};

#define CLEAT_BUF_INIT(max) { NULL, 0, 0, (max), false }
#define cleat_autobuf __attribute__((cleanup(cleat_buf_done)))

void cleat_buf_done(struct cleat_buf *b);
void cleat_buf_add(struct cleat_buf *b, const void *bytes, size_t n);
void cleat_buf_adds(struct cleat_buf *b, const char *text);
void cleat_buf_addf(struct cleat_buf *b, const char *fmt, ...) CLEAT_PRINTF(2, 3);
void cleat_buf_clear(struct cleat_buf *b); /* empties, keeps the memory, forgets a failure */
bool cleat_buf_ok(const struct cleat_buf *b);
const char *cleat_buf_text(const struct cleat_buf *b); /* never NULL */
/* The text, now owned by the caller (free()); NULL when the buffer has failed.  The buffer is empty after. */
char *cleat_buf_steal(struct cleat_buf *b);

#endif
