/* names.c - names as COs give them, turned into names that the engine takes.  Nothing has to be turned back:
 * COs know volumes by id, and the label keeps the original for people. */
#include "csi/internal.h"

#include "util/ids.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#define HASH_BYTES 34 /* "%~" and 32 hex digits */

static bool is_escaped(unsigned char c)
{
	return c < ' ' || c == '/' || c == '%' || c == 0x7f;
}

/* What csi.md, "Size Limits", forbids in text; C1 controls are C2 80..9F in UTF-8. */
static bool is_forbidden(const char *at)
{
	const unsigned char c = (unsigned char)*at;

	return (c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7f ||
	       (c == 0xc2 && (unsigned char)at[1] >= 0x80 && (unsigned char)at[1] <= 0x9f);
}

static size_t escaped_bytes(const char *name)
{
	size_t n = 0;

	for (const char *p = name; *p; p++)
		n += is_escaped((unsigned char)*p) ? 3 : 1;
	return n;
}

static void escape(const char *name, char *out)
{
	for (const char *p = name; *p; p++) {
		if (is_escaped((unsigned char)*p))
			out += snprintf(out, 4, "%%%02X", (unsigned char)*p);
		else
			*out++ = *p;
	}
	*out = '\0';
}

/* The beginning, for people, and a hash of all of it.  That two names get the same is noticed by the label.
 */
static void shorten(const char *name, size_t max_bytes, char *out)
{
	char start[3 * CSI_TEXT_MAX_BYTES + 1];
	size_t n = strlen(name);
	const uint64_t h1 = cleat_id_hash(name, n, 0x6373690001ULL),
		       h2 = cleat_id_hash(name, n, 0x6373690002ULL);

	escape(name, start);
	snprintf(out, CLEAT_NAME_MAX_BYTES + 1, "%.*s%%~%016llx%016llx",
		 cleat_text_cut(start, (int)(max_bytes - HASH_BYTES)), start, (unsigned long long)h1,
		 (unsigned long long)h2);
}

enum cleat_code csi_name_take(const char *name, const char *what, size_t max_bytes, struct csi_name *out,
			      struct cleat_error *err)
{
	size_t n = strnlen(name, CSI_TEXT_MAX_BYTES + 1);

	if (n == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s is missing", what);
	if (n > CSI_TEXT_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s is longer than %d bytes", what,
				       CSI_TEXT_MAX_BYTES);
	for (const char *p = name; *p; p++)
		if (is_forbidden(p))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s has control characters",
					       what);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		snprintf(out->text, sizeof(out->text), name[1] ? "%%2E%%2E" : "%%2E");
	else if (escaped_bytes(name) <= max_bytes)
		escape(name, out->text);
	else
		shorten(name, max_bytes, out->text);
	out->same = strcmp(name, out->text) == 0;
	return CLEAT_OK;
}
