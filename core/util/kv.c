/* kv.c - see kv.h.  A pair is one block of memory: the key, its NUL, the value; so many small pairs cost
 * little. */
#include "util/kv.h"

#include <stdlib.h>
#include <string.h>

#define KEY_MAX_BYTES 128
#define VALUE_MAX_BYTES 4096

void cleat_kv_done(struct cleat_kvs *kvs)
{
	for (size_t i = 0; i < kvs->count; i++)
		free(kvs->items[i].key);
	free(kvs->items);
	kvs->items = NULL;
	kvs->count = 0;
}

/* Where key is, or where it would go. */
static size_t position(const struct cleat_kvs *kvs, const char *key, bool *found_out)
{
	size_t low = 0, high = kvs->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(kvs->items[middle].key, key);
		if (order == 0) {
			*found_out = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found_out = false;
	return low;
}

static bool make_pair(const char *key, size_t key_len, const char *value, size_t value_len,
		      struct cleat_kv *out)
{
	char *block = malloc(key_len + value_len + 2);

	if (!block)
		return false;
	memcpy(block, key, key_len + 1);
	memcpy(block + key_len + 1, value, value_len + 1);
	*out = (struct cleat_kv){ block, block + key_len + 1 };
	return true;
}

static bool insert(struct cleat_kvs *kvs, size_t at, struct cleat_kv pair)
{
	struct cleat_kv *grown = realloc(kvs->items, (kvs->count + 1) * sizeof(*grown));

	if (!grown)
		return false;
	memmove(grown + at + 1, grown + at, (kvs->count - at) * sizeof(*grown));
	grown[at] = pair;
	kvs->items = grown;
	kvs->count++;
	return true;
}

enum cleat_code cleat_kv_set(struct cleat_kvs *kvs, const char *key, const char *value,
			     struct cleat_error *err)
{
	size_t key_len = strlen(key), value_len = strlen(value);
	bool found = false;
	struct cleat_kv pair;

	if (key_len == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a key is empty");
	if (key_len > KEY_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "key '%.40s...' is longer than %d bytes",
				       key, KEY_MAX_BYTES);
	if (value_len > VALUE_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "value of '%s' is longer than %d bytes",
				       key, VALUE_MAX_BYTES);
	size_t at = position(kvs, key, &found);
	if (!found && kvs->count >= CLEAT_KV_MAX)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "'%s' would be one more than %d keys",
				       key, CLEAT_KV_MAX);
	if (!make_pair(key, key_len, value, value_len, &pair))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (found) {
		free(kvs->items[at].key);
		kvs->items[at] = pair;
		return CLEAT_OK;
	}
	if (!insert(kvs, at, pair)) {
		free(pair.key);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	return CLEAT_OK;
}

const char *cleat_kv_get(const struct cleat_kvs *kvs, const char *key)
{
	bool found = false;
	size_t at = position(kvs, key, &found);

	return found ? kvs->items[at].value : NULL;
}

void cleat_kv_remove(struct cleat_kvs *kvs, const char *key)
{
	bool found = false;
	size_t at = position(kvs, key, &found);

	if (!found)
		return;
	free(kvs->items[at].key);
	memmove(kvs->items + at, kvs->items + at + 1, (kvs->count - at - 1) * sizeof(*kvs->items));
	if (--kvs->count == 0)
		cleat_kv_done(kvs);
}

enum cleat_code cleat_kv_copy(const struct cleat_kvs *from, struct cleat_kvs *to, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs copy = { NULL, 0 };

	if (from->count > 0) {
		copy.items = calloc(from->count, sizeof(*copy.items));
		if (!copy.items)
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	for (; copy.count < from->count; copy.count++) {
		const struct cleat_kv *pair = &from->items[copy.count];
		if (!make_pair(pair->key, strlen(pair->key), pair->value, strlen(pair->value),
			       &copy.items[copy.count]))
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	cleat_kv_done(to);
	*to = copy;
	copy = (struct cleat_kvs){ NULL, 0 };
	return CLEAT_OK;
}

bool cleat_kv_equal(const struct cleat_kvs *a, const struct cleat_kvs *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i].key, b->items[i].key) != 0 ||
		    strcmp(a->items[i].value, b->items[i].value) != 0)
			return false;
	return true;
}
