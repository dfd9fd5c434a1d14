/* kv.h - small ordered lists of text keys and values (labels, parameters, mount options). */
#ifndef CLEAT_UTIL_KV_H
#define CLEAT_UTIL_KV_H

#include <cleat/record.h>

/* Lists are kept sorted by key, each key once.  struct cleat_kv and struct cleat_kvs are in <cleat/record.h>. */

void cleat_kv_done(struct cleat_kvs *kvs); /* frees the pairs, leaves an empty list */
#define cleat_autokvs __attribute__((cleanup(cleat_kv_done)))

/* Sets key to value (both copied).  RESOURCE_EXHAUSTED above CLEAT_KV_MAX pairs or without memory;
 * INVALID_ARGUMENT for an empty key, a key over 128 bytes or a value over 4096 bytes. */
enum cleat_code cleat_kv_set(struct cleat_kvs *kvs, const char *key, const char *value, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* The value of key, or NULL.  Borrowed from kvs. */
const char *cleat_kv_get(const struct cleat_kvs *kvs, const char *key);
void cleat_kv_remove(struct cleat_kvs *kvs, const char *key);
enum cleat_code cleat_kv_copy(const struct cleat_kvs *from, struct cleat_kvs *to, struct cleat_error *err)
	CLEAT_MUST_CHECK;
bool cleat_kv_equal(const struct cleat_kvs *a, const struct cleat_kvs *b);

#endif
