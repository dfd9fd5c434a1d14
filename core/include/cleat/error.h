/* error.h - the one error object that every fallible function of Cleat fills.
 *
 * The caller makes it (on its stack), the callee fills it; nothing is allocated, so an error can be
 * copied and kept freely.  On success it is not touched.
 */
#ifndef CLEAT_ERROR_H
#define CLEAT_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Codes carry the numbers of gRPC's canonical status codes, so that no door has to translate. */
enum cleat_code {
	CLEAT_OK = 0,
	CLEAT_CANCELLED = 1,
	CLEAT_UNKNOWN = 2,
	CLEAT_INVALID_ARGUMENT = 3,
	CLEAT_DEADLINE_EXCEEDED = 4,
	CLEAT_NOT_FOUND = 5,
	CLEAT_ALREADY_EXISTS = 6,
	CLEAT_PERMISSION_DENIED = 7,
	CLEAT_RESOURCE_EXHAUSTED = 8,
	CLEAT_FAILED_PRECONDITION = 9,
	CLEAT_ABORTED = 10,
	CLEAT_OUT_OF_RANGE = 11,
	CLEAT_UNIMPLEMENTED = 12,
	CLEAT_INTERNAL = 13,
	CLEAT_UNAVAILABLE = 14,
	CLEAT_DATA_LOSS = 15,
	CLEAT_UNAUTHENTICATED = 16,
};

#define CLEAT_ERROR_TEXT_BYTES 512

struct cleat_error {
	enum cleat_code code;
	bool retry; /* the same call may succeed later without anybody changing anything */
	char msg[CLEAT_ERROR_TEXT_BYTES]; /* one line, no trailing newline; cut at the end if too long */
};

#define CLEAT_ERROR_INIT { CLEAT_OK, false, { 0 } }
#define CLEAT_MUST_CHECK __attribute__((warn_unused_result))
#define CLEAT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Fills err (which may be NULL) with a code and one formatted line, and returns code, so that
 * `return cleat_error_set(err, CLEAT_NOT_FOUND, ...)` reads well.  `retry` becomes true for ABORTED,
 * UNAVAILABLE, RESOURCE_EXHAUSTED and DEADLINE_EXCEEDED.  Line breaks and control characters in the
 * result are replaced by spaces. */
enum cleat_code cleat_error_set(struct cleat_error *err, enum cleat_code code, const char *fmt, ...)
	CLEAT_PRINTF(3, 4);
enum cleat_code cleat_error_vset(struct cleat_error *err, enum cleat_code code, const char *fmt,
				 va_list args) CLEAT_PRINTF(3, 0);

/* As cleat_error_set() with the code that fits errno value `errnum` best (ENOENT: NOT_FOUND, EEXIST:
 * ALREADY_EXISTS, EBUSY: FAILED_PRECONDITION, ENOSPC/EDQUOT/ENOMEM/EMFILE: RESOURCE_EXHAUSTED, EINVAL:
 * INVALID_ARGUMENT, EPERM/EACCES: PERMISSION_DENIED, ETIMEDOUT: DEADLINE_EXCEEDED, EOPNOTSUPP/ENOSYS:
 * UNIMPLEMENTED, anything else: INTERNAL); ": " and the system's text are appended. */
enum cleat_code cleat_error_errno(struct cleat_error *err, int errnum, const char *fmt, ...)
	CLEAT_PRINTF(3, 4);

/* Puts "<formatted>: " before the text that is already there; the code stays.  Returns err->code. */
enum cleat_code cleat_error_wrap(struct cleat_error *err, const char *fmt, ...) CLEAT_PRINTF(2, 3);

/* "INVALID_ARGUMENT" and so on; "UNKNOWN" for numbers that are none of the codes.  Static storage. */
const char *cleat_code_name(enum cleat_code code);

#ifdef __cplusplus
}
#endif
#endif
