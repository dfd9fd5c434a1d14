/* buf.c - see buf.h. */
#include "util/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cleat_buf_done(struct cleat_buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = b->room = 0;
}

static bool make_room(struct cleat_buf *b, size_t n)
{
	if (b->failed || n > b->max_bytes || b->len > b->max_bytes - n) {
		b->failed = true;
		return false;
	}
	size_t need = b->len + n + 1;
	if (need <= b->room)
		return true;
	size_t room = b->room ? b->room * 2 : 128;
	if (room < need)
		room = need;
	char *grown = realloc(b->data, room);
	if (!grown) {
		b->failed = true;
		return false;
	}
	b->data = grown;
	b->room = room;
	return true;
}

void cleat_buf_add(struct cleat_buf *b, const void *bytes, size_t n)
{
	if (!make_room(b, n))
		return;
	if (n)
		memcpy(b->data + b->len, bytes, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void cleat_buf_adds(struct cleat_buf *b, const char *text)
{
	cleat_buf_add(b, text, strlen(text));
}

void cleat_buf_addf(struct cleat_buf *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n < 0 || !make_room(b, (size_t)n)) {
		b->failed = true;
		return;
	}
	va_start(args, fmt);
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, args);
	va_end(args);
	b->len += (size_t)n;
}

void cleat_buf_clear(struct cleat_buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data)
		b->data[0] = '\0';
}

bool cleat_buf_ok(const struct cleat_buf *b)
{
	return !b->failed;
}

const char *cleat_buf_text(const struct cleat_buf *b)
{
	return b->data ? b->data : "";
}

char *cleat_buf_steal(struct cleat_buf *b)
{
	if (b->failed)
		return NULL;
	if (!b->data)
		return strdup("");
	char *text = b->data;
	b->data = NULL;
	b->len = b->room = 0;
	return text;
}
