/* book.c - the sizes that are promised, and which images may share blocks: what admission counts with.
 *
 * An image that shares blocks needs new ones when it is written to, so it may still come to need its full
 * size.  Who shares with whom is known by lineage: snapshots and clones carry the key of the image that they
 * stem from, so images share only as long as two of a lineage exist.
 */
#include "backends/loop/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/ids.h"
#include "util/kv.h"

struct loop_entry {
	struct loop_entry *next;
	uint64_t promised_bytes;  /* 0 for snapshots: they do not grow */
	struct loop_group *group; /* the lineage it was made into; NULL for a volume made afresh */
	char key[];
};

/* Records that stem from one image, without that image itself. */
struct loop_group {
	struct loop_group *next;
	size_t members;
	char key[]; /* of the first image */
};

void loop_book_init(struct loop_book *book)
{
	memset(book, 0, sizeof(*book));
	pthread_mutex_init(&book->lock, NULL);
}

void loop_book_done(struct loop_book *book)
{
	for (size_t i = 0; i < LOOP_BUCKETS; i++) {
		for (struct loop_entry *e = book->entries[i], *next; e; e = next) {
			next = e->next;
			free(e);
		}
		for (struct loop_group *g = book->groups[i], *next; g; g = next) {
			next = g->next;
			free(g);
		}
	}
	pthread_mutex_destroy(&book->lock);
}

static size_t bucket(const char *key)
{
	return cleat_id_hash(key, strlen(key), 0) % LOOP_BUCKETS;
}

static struct loop_entry **find_entry(struct loop_book *book, const char *key)
{
	struct loop_entry **at = &book->entries[bucket(key)];

	while (*at && strcmp((*at)->key, key) != 0)
		at = &(*at)->next;
	return at;
}

static struct loop_group **find_group(struct loop_book *book, const char *key)
{
	struct loop_group **at = &book->groups[bucket(key)];

	while (*at && strcmp((*at)->key, key) != 0)
		at = &(*at)->next;
	return at;
}

static struct loop_group *join_group(struct loop_book *book, const char *key)
{
	struct loop_group **at = find_group(book, key);

	if (!*at) {
		struct loop_group *g = calloc(1, sizeof(*g) + strlen(key) + 1);
		if (!g)
			return NULL;
		memcpy(g->key, key, strlen(key) + 1);
		*at = g;
	}
	(*at)->members++;
	return *at;
}

static void leave_group(struct loop_book *book, struct loop_group *group)
{
	if (--group->members > 0)
		return;
	struct loop_group **at = find_group(book, group->key);
	*at = group->next;
	free(group);
}

static void drop(struct loop_book *book, const char *key)
{
	struct loop_entry **at = find_entry(book, key);
	struct loop_entry *e = *at;

	if (!e)
		return;
	*at = e->next;
	book->promised_bytes -= e->promised_bytes;
	book->count--;
	if (e->group)
		leave_group(book, e->group);
	free(e);
}

static struct loop_entry *make_entry(struct loop_book *book, const struct cleat_record *rec)
{
	const char *lineage = cleat_kv_get(&rec->attributes, LOOP_ATTR_LINEAGE);
	struct loop_entry *e = calloc(1, sizeof(*e) + strlen(rec->key) + 1);

	if (!e)
		return NULL;
	memcpy(e->key, rec->key, strlen(rec->key) + 1);
	e->promised_bytes = rec->kind == CLEAT_KIND_SNAPSHOT ? 0 : rec->capacity_bytes;
	if (!lineage)
		return e;
	e->group = join_group(book, lineage);
	if (e->group)
		return e;
	free(e);
	return NULL;
}

enum cleat_code loop_book_put(struct loop_book *book, const struct cleat_record *rec, struct cleat_error *err)
{
	pthread_mutex_lock(&book->lock);
	struct loop_entry *e = make_entry(book, rec);
	if (e) {
		drop(book, rec->key);
		struct loop_entry **at = &book->entries[bucket(rec->key)];
		e->next = *at;
		*at = e;
		book->promised_bytes += e->promised_bytes;
		book->count++;
	}
	pthread_mutex_unlock(&book->lock);
	return e ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

void loop_book_remove(struct loop_book *book, const char *key)
{
	pthread_mutex_lock(&book->lock);
	drop(book, key);
	pthread_mutex_unlock(&book->lock);
}

static bool is_shared(struct loop_book *book, const struct loop_entry *e)
{
	const struct loop_group *group = e->group ? e->group : *find_group(book, e->key);

	if (!group)
		return false;
	return group->members + (*find_entry(book, group->key) ? 1 : 0) > 1;
}

bool loop_book_shared(struct loop_book *book, const char *key)
{
	pthread_mutex_lock(&book->lock);
	struct loop_entry *e = *find_entry(book, key);
	bool shared = e && is_shared(book, e);
	pthread_mutex_unlock(&book->lock);
	return shared;
}

enum cleat_code loop_book_promises(struct loop_book *book, struct loop_promises *out, struct cleat_error *err)
{
	size_t n = 0;

	pthread_mutex_lock(&book->lock);
	struct loop_promise *list = calloc(book->count + 1, sizeof(*list));
	for (size_t i = 0; list && i < LOOP_BUCKETS; i++) {
		for (struct loop_entry *e = book->entries[i]; e; e = e->next) {
			if (e->promised_bytes == 0)
				continue;
			snprintf(list[n].key, sizeof(list[n].key), "%s", e->key);
			list[n].bytes = e->promised_bytes;
			list[n++].shared = is_shared(book, e);
		}
	}
	const struct loop_promises all = { list, n, book->promised_bytes, book->reserved_bytes };
	pthread_mutex_unlock(&book->lock);
	if (!list)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	*out = all;
	return CLEAT_OK;
}
