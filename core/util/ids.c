/* ids.c - see ids.h. */
#include "util/ids.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* getrandom(2) up to 256 bytes is never short and never interrupted once the kernel's pool is ready; before
 * that it may be. */
static void random_bytes(void *out, size_t n)
{
	ssize_t got;

	do
		got = getrandom(out, n, 0);
	while (got < 0 && errno == EINTR);
	if (got != (ssize_t)n)
		abort();
}

void cleat_id_new_key(char key[CLEAT_ID_KEY_BYTES])
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	unsigned char bytes[CLEAT_ID_KEY_BYTES - 1];

	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		key[i] = alphabet[bytes[i] & 31];
	key[sizeof(bytes)] = '\0';
}

void cleat_id_new_uuid(char uuid[CLEAT_ID_UUID_BYTES])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char bytes[16];
	char *p = uuid;

	random_bytes(bytes, sizeof(bytes));
	bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[bytes[i] >> 4];
		*p++ = hex[bytes[i] & 15];
	}
	*p = '\0';
}

uint64_t cleat_id_hash(const void *bytes, size_t n, uint64_t seed)
{
	const unsigned char *p = bytes;
	uint64_t hash = seed ? seed : UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}
