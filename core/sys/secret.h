/* secret.h - secrets by reference: "file:/path" or "env:NAME"; what they say is read when needed and never
 * kept in a configuration. */
#ifndef CLEAT_SYS_SECRET_H
#define CLEAT_SYS_SECRET_H

#include <cleat/error.h>

#define CLEAT_SECRET_MAX_BYTES 8192

/* Reads what ref refers to, without the line break at its end, into a text to be freed with
 * cleat_sys_secret_free().  NOT_FOUND: no such file or variable; INVALID_ARGUMENT: ref has neither form;
 * FAILED_PRECONDITION: a file that everybody may read, or an empty one.  No error text holds any of the
 * secret. */
enum cleat_code cleat_sys_secret_read(const char *ref, char **out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Overwrites and frees; NULL is fine. */
void cleat_sys_secret_free(char *secret);
static inline void cleat_sys_secret_cleanup(char **secret)
{
	cleat_sys_secret_free(*secret);
}
#define cleat_autosecret __attribute__((cleanup(cleat_sys_secret_cleanup)))

#endif
