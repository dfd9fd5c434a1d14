/* error.c - filling, wrapping and naming errors. */
#include <cleat/error.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool code_is_retryable(enum cleat_code code)
{
	return code == CLEAT_ABORTED || code == CLEAT_UNAVAILABLE || code == CLEAT_RESOURCE_EXHAUSTED ||
	       code == CLEAT_DEADLINE_EXCEEDED;
}

/* An error is one line for people: tools' own words may hold line breaks. */
static void flatten(char *text)
{
	size_t n = strlen(text);

	while (n > 0 && (unsigned char)text[n - 1] <= ' ')
		text[--n] = '\0';
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
}

enum cleat_code cleat_error_vset(struct cleat_error *err, enum cleat_code code, const char *fmt,
				 va_list args)
{
	if (!err)
		return code;
	err->code = code;
	err->retry = code_is_retryable(code);
	vsnprintf(err->msg, sizeof(err->msg), fmt, args);
	flatten(err->msg);
	return code;
}

enum cleat_code cleat_error_set(struct cleat_error *err, enum cleat_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	cleat_error_vset(err, code, fmt, args);
	va_end(args);
	return code;
}

static enum cleat_code code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
		return CLEAT_NOT_FOUND;
	case EEXIST:
		return CLEAT_ALREADY_EXISTS;
	case EBUSY:
	case ETXTBSY:
		return CLEAT_FAILED_PRECONDITION;
	case ENOSPC:
	case EDQUOT:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return CLEAT_RESOURCE_EXHAUSTED;
	case EINVAL:
	case ENAMETOOLONG:
		return CLEAT_INVALID_ARGUMENT;
	case EPERM:
	case EACCES:
	case EROFS:
		return CLEAT_PERMISSION_DENIED;
	case ETIMEDOUT:
		return CLEAT_DEADLINE_EXCEEDED;
	case EOPNOTSUPP:
	case ENOSYS:
		return CLEAT_UNIMPLEMENTED;
	default:
		return CLEAT_INTERNAL;
	}
}

enum cleat_code cleat_error_errno(struct cleat_error *err, int errnum, const char *fmt, ...)
{
	enum cleat_code code = code_of_errno(errnum);
	char reason[128];
	va_list args;

	if (!err)
		return code;
	va_start(args, fmt);
	cleat_error_vset(err, code, fmt, args);
	va_end(args);
	size_t used = strlen(err->msg);
	snprintf(err->msg + used, sizeof(err->msg) - used, ": %s",
		 strerror_r(errnum, reason, sizeof(reason)));
	return code;
}

enum cleat_code cleat_error_wrap(struct cleat_error *err, const char *fmt, ...)
{
	char inner[CLEAT_ERROR_TEXT_BYTES];
	va_list args;

	if (!err)
		return CLEAT_UNKNOWN;
	memcpy(inner, err->msg, sizeof(inner));
	va_start(args, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, args);
	va_end(args);
	size_t used = strlen(err->msg);
	snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", inner);
	flatten(err->msg);
	return err->code;
}

const char *cleat_code_name(enum cleat_code code)
{
	static const char *const names[] = {
		"OK",
		"CANCELLED",
		"UNKNOWN",
		"INVALID_ARGUMENT",
		"DEADLINE_EXCEEDED",
		"NOT_FOUND",
		"ALREADY_EXISTS",
		"PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED",
		"FAILED_PRECONDITION",
		"ABORTED",
		"OUT_OF_RANGE",
		"UNIMPLEMENTED",
		"INTERNAL",
		"UNAVAILABLE",
		"DATA_LOSS",
		"UNAUTHENTICATED",
	};
	unsigned i = (unsigned)code;

	return i < sizeof(names) / sizeof(names[0]) ? names[i] : "UNKNOWN";
}
