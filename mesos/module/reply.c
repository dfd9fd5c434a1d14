/* reply.c - reading a flat JSON object: texts, true, false, whole numbers and lists of texts.  Nothing more
 * is wanted, so the agent needs no JSON library of ours. */
#include "module/reply.h"

#include "util/buf.h"
#include "util/mem.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX_BYTES 65536
#define DIGITS_MAX 18

struct reader {
	const char *at, *end;
};

static void skip_space(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static bool take(struct reader *r, char c)
{
	skip_space(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool take_word(struct reader *r, const char *word)
{
	const size_t n = strlen(word);

	skip_space(r);
	if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
		return false;
	r->at += n;
	return true;
}

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static bool take_unit(struct reader *r, unsigned *out)
{
	*out = 0;
	if (r->end - r->at < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		const int digit = hex(*r->at++);

		if (digit < 0)
			return false;
		*out = *out << 4 | (unsigned)digit;
	}
	return true;
}

static void add_utf8(struct cleat_buf *b, unsigned c)
{
	char bytes[4];
	size_t n = 0;

	if (c < 0x80) {
		bytes[n++] = (char)c;
	} else if (c < 0x800) {
		bytes[n++] = (char)(0xc0 | c >> 6);
	} else if (c < 0x10000) {
		bytes[n++] = (char)(0xe0 | c >> 12);
		bytes[n++] = (char)(0x80 | (c >> 6 & 0x3f));
	} else {
		bytes[n++] = (char)(0xf0 | c >> 18);
		bytes[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		bytes[n++] = (char)(0x80 | (c >> 6 & 0x3f));
	}
	if (c >= 0x80)
		bytes[n++] = (char)(0x80 | (c & 0x3f));
	cleat_buf_add(b, bytes, n);
}

/* After "\u": one unit, or two that form a pair. */
static bool take_unicode(struct reader *r, struct cleat_buf *b)
{
	unsigned c, low;

	if (!take_unit(r, &c) || c == 0 || (c >= 0xdc00 && c < 0xe000))
		return false;
	if (c >= 0xd800 && c < 0xdc00) {
		if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
			return false;
		r->at += 2;
		if (!take_unit(r, &low) || low < 0xdc00 || low >= 0xe000)
			return false;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	add_utf8(b, c);
	return true;
}

static bool take_escape(struct reader *r, struct cleat_buf *b)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

	if (r->at == r->end)
		return false;
	const char c = *r->at++;
	const char *found = c ? strchr(from, c) : NULL;

	if (c == 'u')
		return take_unicode(r, b);
	if (found)
		cleat_buf_add(b, &to[found - from], 1);
	return found;
}

/* A text, owned by the caller; NULL when there is none. */
static char *take_text(struct reader *r)
{
	cleat_autobuf struct cleat_buf b = CLEAT_BUF_INIT(TEXT_MAX_BYTES);

	if (!take(r, '"'))
		return NULL;
	cleat_buf_adds(&b, "");
	while (r->at < r->end && *r->at != '"') {
		const char c = *r->at++;

		if ((unsigned char)c < 0x20)
			return NULL;
		if (c != '\\')
			cleat_buf_add(&b, &c, 1);
		else if (!take_escape(r, &b))
			return NULL;
	}
	if (r->at++ >= r->end)
		return NULL;
	return b.len ? cleat_buf_steal(&b) : strdup("");
}

static void list_done(struct mesos_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct mesos_list){ 0 };
}

static bool list_add(struct mesos_list *list, char *text)
{
	if (!text)
		return false;
	char **more = list->count < MESOS_REPLY_MAX_LIST
			      ? realloc(list->items, (list->count + 1) * sizeof(*more))
			      : NULL;
	if (!more) {
		free(text);
		return false;
	}
	list->items = more;
	more[list->count++] = text;
	return true;
}

static bool take_list(struct reader *r, struct mesos_list *out)
{
	list_done(out);
	if (!take(r, '['))
		return false;
	if (take(r, ']'))
		return true;
	do {
		if (!list_add(out, take_text(r)))
			return false;
	} while (take(r, ','));
	return take(r, ']');
}

static bool take_bool(struct reader *r, bool *out)
{
	*out = take_word(r, "true");
	return *out || take_word(r, "false");
}

static bool skip_number(struct reader *r)
{
	size_t digits = 0;

	take(r, '-');
	for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
		digits++;
	return digits > 0 && digits <= DIGITS_MAX;
}

/* A value whose key means nothing here. */
static bool skip_value(struct reader *r)
{
	struct mesos_list list = { 0 };
	bool truth, good;

	skip_space(r);
	if (r->at < r->end && *r->at == '"') {
		cleat_autofree char *text = take_text(r);

		return text;
	}
	if (r->at == r->end || *r->at != '[')
		return take_bool(r, &truth) || skip_number(r);
	good = take_list(r, &list);
	list_done(&list);
	return good;
}

struct words {
	char *code, *error;
	bool has_ok, retry;
};

static bool replace(char **field, char *text)
{
	free(*field);
	*field = text;
	return text;
}

static bool take_member(struct reader *r, struct mesos_reply *out, struct words *w)
{
	cleat_autofree char *key = take_text(r);

	if (!key || !take(r, ':'))
		return false;
	if (strcmp(key, "ok") == 0)
		return w->has_ok = take_bool(r, &out->ok);
	if (strcmp(key, "retry") == 0)
		return take_bool(r, &w->retry);
	if (strcmp(key, "code") == 0)
		return replace(&w->code, take_text(r));
	if (strcmp(key, "error") == 0)
		return replace(&w->error, take_text(r));
	if (strcmp(key, "paths") == 0)
		return take_list(r, &out->paths);
	if (strcmp(key, "kept") == 0)
		return take_list(r, &out->kept);
	if (strcmp(key, "released") == 0)
		return take_list(r, &out->released);
	if (strcmp(key, "failed") == 0)
		return take_list(r, &out->failed);
	return skip_value(r);
}

static bool take_object(struct reader *r, struct mesos_reply *out, struct words *w)
{
	if (!take(r, '{'))
		return false;
	if (!take(r, '}')) {
		do {
			if (!take_member(r, out, w))
				return false;
		} while (take(r, ','));
		if (!take(r, '}'))
			return false;
	}
	skip_space(r);
	return r->at == r->end && w->has_ok;
}

static enum cleat_code code_of(const char *name)
{
	for (int code = CLEAT_CANCELLED; code <= CLEAT_UNAUTHENTICATED; code++)
		if (name && strcmp(name, cleat_code_name((enum cleat_code)code)) == 0)
			return (enum cleat_code)code;
	return CLEAT_UNKNOWN;
}

void mesos_reply_done(struct mesos_reply *r)
{
	list_done(&r->paths);
	list_done(&r->kept);
	list_done(&r->released);
	list_done(&r->failed);
	*r = (struct mesos_reply){ 0 };
}

enum cleat_code mesos_reply_read(const char *bytes, size_t n, struct mesos_reply *out,
				 struct cleat_error *err)
{
	struct reader r = { bytes, bytes + n };
	struct words w = { 0 };
	enum cleat_code code = CLEAT_OK;

	*out = (struct mesos_reply){ 0 };
	if (!n || !take_object(&r, out, &w)) {
		mesos_reply_done(out);
		code = cleat_error_set(err, CLEAT_INTERNAL,
				       "cleat-mesos gave no answer that can be understood");
	} else if (!out->ok) {
		cleat_error_set(&out->err, code_of(w.code), "%s",
				w.error && *w.error ? w.error : "it does not say why");
		out->err.retry = w.retry;
	}
	free(w.code);
	free(w.error);
	return code;
}
