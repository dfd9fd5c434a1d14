/* form.c - text that goes into forms and paths, escaped as RFC 3986 wants it (and Signature Version 4 with
 * it). */
#include "http/http.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void add_escaped(struct cleat_buf *out, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	while (*text) {
		const size_t n = strspn(text, plain);
		cleat_buf_add(out, text, n);
		text += n;
		if (*text)
			cleat_buf_addf(out, "%%%02X", (unsigned)(unsigned char)*text++);
	}
}

void cleat_http_form_add(struct cleat_buf *form, const char *key, const char *value)
{
	if (form->len)
		cleat_buf_adds(form, "&");
	add_escaped(form, key);
	cleat_buf_adds(form, "=");
	add_escaped(form, value);
}

void cleat_http_form_addf(struct cleat_buf *form, const char *key, const char *fmt, ...)
{
	char value[512];
	va_list args;

	va_start(args, fmt);
	const int n = vsnprintf(value, sizeof(value), fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(value))
		form->failed = true;
	else
		cleat_http_form_add(form, key, value);
}

void cleat_http_path_add(struct cleat_buf *path, const char *segment)
{
	add_escaped(path, segment);
}
