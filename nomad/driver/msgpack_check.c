/* msgpack_check.c - walks msgpack before anything is allocated for it: lengths, nesting, text.
 *
 * Source: the msgpack specification (formats of one byte, then big-endian lengths).
 */
#include "driver/keys.h"

#include <string.h>

#include "util/text.h"

struct walk {
	const uint8_t *at, *end;
	struct cleat_error *err;
};

static enum cleat_code bad(struct walk *w, const char *what)
{
	return cleat_error_set(w->err, CLEAT_INVALID_ARGUMENT, "the configuration is no valid msgpack: %s",
			       what);
}

/* A big-endian number of `bytes` bytes. */
static bool take(struct walk *w, size_t bytes, uint64_t *out)
{
	uint64_t v = 0;

	if ((size_t)(w->end - w->at) < bytes)
		return false;
	for (size_t i = 0; i < bytes; i++)
		v = v << 8 | w->at[i];
	w->at += bytes;
	*out = v;
	return true;
}

static bool is_text(const uint8_t *p, size_t n)
{
	size_t start = 0;

	/* Tabs and line breaks are usual in arguments (scripts): look at what is between them. */
	for (size_t i = 0; i <= n; i++) {
		if (i < n && p[i] != '\t' && p[i] != '\n' && p[i] != '\r' && p[i] != 0x1b)
			continue;
		if (!cleat_text_is_clean((const char *)p + start, i - start))
			return false;
		start = i + 1;
	}
	return true;
}

static enum cleat_code skip_text(struct walk *w, uint64_t n)
{
	if ((uint64_t)(w->end - w->at) < n)
		return bad(w, "a text is cut off");
	if (!is_text(w->at, (size_t)n))
		return bad(w, "a text holds control characters or is not UTF-8");
	w->at += n;
	return CLEAT_OK;
}

static enum cleat_code skip_bytes(struct walk *w, uint64_t n)
{
	if ((uint64_t)(w->end - w->at) < n)
		return bad(w, "a value is cut off");
	w->at += n;
	return CLEAT_OK;
}

static enum cleat_code skip_value(struct walk *w, unsigned depth);

/* Each value has at least one byte, so a count beyond the bytes that are left is a lie. */
static enum cleat_code skip_values(struct walk *w, uint64_t count, unsigned depth)
{
	if (count > (uint64_t)(w->end - w->at))
		return bad(w, "a list is cut off");
	if (depth >= DRIVER_CONFIG_MAX_DEPTH)
		return bad(w, "it is nested too deeply");
	for (uint64_t i = 0; i < count; i++)
		if (skip_value(w, depth + 1))
			return w->err->code;
	return CLEAT_OK;
}

/* Values whose first byte is followed by a length of 1, 2 or 4 bytes, or is the whole story (0xc0 and up). */
static enum cleat_code skip_long(struct walk *w, uint8_t tag, unsigned depth)
{
	static const uint8_t fixed[] = { [0xca - 0xca] = 4, 8, 1, 2, 4, 8, 1, 2, 4, 8 }; /* 0xca .. 0xd3 */
	uint64_t n;

	if (tag == 0xc0 || tag == 0xc2 || tag == 0xc3)
		return CLEAT_OK;
	if (tag >= 0xca && tag <= 0xd3)
		return skip_bytes(w, fixed[tag - 0xca]);
	if (tag >= 0xd9 && tag <= 0xdb)
		return take(w, (size_t)1 << (tag - 0xd9), &n) ? skip_text(w, n)
							      : bad(w, "a length is cut off");
	if (tag == 0xdc || tag == 0xdd)
		return take(w, tag == 0xdc ? 2 : 4, &n) ? skip_values(w, n, depth)
							: bad(w, "a length is cut off");
	if (tag == 0xde || tag == 0xdf)
		return take(w, tag == 0xde ? 2 : 4, &n) ? skip_values(w, n * 2, depth)
							: bad(w, "a length is cut off");
	return bad(w, "binary and extension values have no place here");
}

static enum cleat_code skip_value(struct walk *w, unsigned depth)
{
	uint64_t tag;

	if (!take(w, 1, &tag))
		return bad(w, "it is cut off");
	if (tag <= 0x7f || tag >= 0xe0)
		return CLEAT_OK;
	if (tag <= 0x8f)
		return skip_values(w, (tag & 0x0f) * 2, depth);
	if (tag <= 0x9f)
		return skip_values(w, tag & 0x0f, depth);
	if (tag <= 0xbf)
		return skip_text(w, tag & 0x1f);
	return skip_long(w, (uint8_t)tag, depth);
}

enum cleat_code driver_msgpack_check(const uint8_t *bytes, size_t n, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct walk w = { bytes, bytes + n, err ? err : &own };

	if (n > DRIVER_CONFIG_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "the configuration has %zu bytes, more than %d", n,
				       DRIVER_CONFIG_MAX_BYTES);
	if (skip_value(&w, 0))
		return w.err->code;
	return w.at == w.end ? CLEAT_OK : bad(&w, "something follows it");
}
