/* secret.c - see secret.h. */
#include "sys/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/mem.h"

void cleat_sys_secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static enum cleat_code keep(const char *ref, const char *text, size_t n, char **out, struct cleat_error *err)
{
	while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	if (n == 0 || n > CLEAT_SECRET_MAX_BYTES || memchr(text, '\0', n))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "secret '%s' is empty, too long or no text", ref);
	char *copy = strndup(text, n);
	if (!copy)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	*out = copy;
	return CLEAT_OK;
}

static enum cleat_code read_secret_file(const char *ref, const char *path, char **out,
					struct cleat_error *err)
{
	char text[CLEAT_SECRET_MAX_BYTES + 2];
	struct stat st;
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0 || fstat(fd, &st) < 0)
		return cleat_error_errno(err, errno, "secret '%s'", ref);
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0007))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "secret '%s': %s", ref,
				       S_ISREG(st.st_mode) ? "others may read or write this file"
							   : "not a file");
	const ssize_t n = TEMP_FAILURE_RETRY(read(fd, text, sizeof(text)));
	if (n < 0)
		return cleat_error_errno(err, errno, "secret '%s'", ref);
	enum cleat_code code = keep(ref, text, (size_t)n, out, err);
	explicit_bzero(text, sizeof(text));
	return code;
}

enum cleat_code cleat_sys_secret_read(const char *ref, char **out, struct cleat_error *err)
{
	if (strncmp(ref, "file:/", 6) == 0)
		return read_secret_file(ref, ref + 5, out, err);
	if (strncmp(ref, "env:", 4) != 0 || !ref[4])
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "a secret is given as file:/PATH or env:NAME");
	const char *value = getenv(ref + 4);
	if (!value)
		return cleat_error_set(err, CLEAT_NOT_FOUND,
				       "secret '%s': the environment has no such variable", ref);
	return keep(ref, value, strlen(value), out, err);
}
