/* ids.h - random keys and UUIDs, and hashing of text. */
#ifndef CLEAT_UTIL_IDS_H
#define CLEAT_UTIL_IDS_H

#include <cleat/error.h>
#include <stddef.h>
#include <stdint.h>

#define CLEAT_ID_KEY_BYTES 17 /* sixteen characters and the NUL */
#define CLEAT_ID_UUID_BYTES 37

/* Sixteen random characters of [a-z2-7] (80 bits); never fails: aborts only if the kernel has no random numbers at all. */
void cleat_id_new_key(char key[CLEAT_ID_KEY_BYTES]);
/* A version 4 UUID in lower case (RFC 4122 section 4.4). */
void cleat_id_new_uuid(char uuid[CLEAT_ID_UUID_BYTES]);
/* FNV-1a, 64 bits; seed 0 starts, a former result continues.  Not for untrusted-collision uses. */
uint64_t cleat_id_hash(const void *bytes, size_t n, uint64_t seed);

#endif
