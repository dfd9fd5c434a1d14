/* text.c - see text.h. */
#include "util/text.h"

#include <stdint.h>

/* Length of the sequence that starts at p, 0 when it is none; *point_out is the character. */
static size_t decode_one(const unsigned char *p, size_t left, uint32_t *point_out)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = p[0] < 0x80			 ? 1
		   : p[0] >= 0xf0 && p[0] < 0xf8 ? 4
		   : p[0] >= 0xe0		 ? 3
		   : p[0] >= 0xc0		 ? 2
						 : 0;

	if (n == 0 || n > left || p[0] >= 0xf8)
		return 0;
	uint32_t point = n == 1 ? p[0] : p[0] & (0x7fU >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (p[i] & 0x3fU);
	}
	if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	*point_out = point;
	return n;
}

bool cleat_text_is_clean(const char *bytes, size_t n)
{
	const unsigned char *p = (const unsigned char *)bytes;

	while (n > 0) {
		uint32_t point = 0;
		size_t used = decode_one(p, n, &point);
		if (used == 0 || point < 0x20 || (point >= 0x7f && point < 0xa0))
			return false;
		p += used;
		n -= used;
	}
	return true;
}

int cleat_text_cut(const char *text, int most)
{
	int n = 0;

	while (n < most && text[n])
		n++;
	if (text[n]) /* cut short: step back over the bytes that continue a character */
		while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--;
	return n;
}
