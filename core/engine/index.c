/* index.c - the records of one pool in memory: ordered by key for paging, hashed by name for finding. */
#include "engine/engine.h"

#include <string.h>

#include "util/ids.h"

size_t index_position(const struct index *ix, const char *key, bool *found_out)
{
	size_t lo = 0, hi = ix->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = strcmp(key, ix->by_key[mid]->rec->key);
		if (d == 0) {
			*found_out = true;
			return mid;
		}
		if (d < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	*found_out = false;
	return lo;
}

struct entry *index_by_key(const struct index *ix, const char *key)
{
	bool found;
	size_t at = index_position(ix, key, &found);

	return found ? ix->by_key[at] : NULL;
}

static size_t bucket_of(const struct index *ix, enum cleat_kind kind, const char *scope, const char *name)
{
	uint64_t h = cleat_id_hash(scope, strlen(scope) + 1, (uint64_t)kind);

	return (size_t)(cleat_id_hash(name, strlen(name), h) & (ix->name_buckets - 1));
}

struct entry *index_by_name(const struct index *ix, enum cleat_kind kind, const char *scope, const char *name)
{
	if (!ix->name_buckets)
		return NULL;
	for (struct entry *en = ix->names[bucket_of(ix, kind, scope, name)]; en; en = en->name_next)
		if (en->rec->kind == kind && strcmp(en->rec->name, name) == 0 && strcmp(en->rec->scope, scope) == 0)
			return en;
	return NULL;
}

static void link_name(struct index *ix, struct entry *en)
{
	struct entry **head = &ix->names[bucket_of(ix, en->rec->kind, en->rec->scope, en->rec->name)];

	en->name_next = *head;
	*head = en;
}

static void unlink_name(struct index *ix, struct entry *en)
{
	struct entry **at = &ix->names[bucket_of(ix, en->rec->kind, en->rec->scope, en->rec->name)];

	while (*at && *at != en)
		at = &(*at)->name_next;
	if (*at)
		*at = en->name_next;
	en->name_next = NULL;
}

static bool grow_names(struct index *ix)
{
	size_t want = ix->name_buckets ? ix->name_buckets : 64;

	while (want < ix->count + 1)
		want *= 2;
	if (want == ix->name_buckets)
		return true;
	struct entry **names = calloc(want, sizeof(struct entry *));
	if (!names)
		return false;
	free(ix->names);
	ix->names = names;
	ix->name_buckets = want;
	for (size_t i = 0; i < ix->count; i++)
		link_name(ix, ix->by_key[i]);
	return true;
}

static bool grow_keys(struct index *ix)
{
	if (ix->count < ix->room)
		return true;
	size_t room = ix->room ? ix->room + ix->room / 2 : 32;
	struct entry **grown = realloc(ix->by_key, room * sizeof(struct entry *));
	if (!grown)
		return false;
	ix->by_key = grown;
	ix->room = room;
	return true;
}

static void count(struct index *ix, const struct entry *en, bool add)
{
	size_t *counter = en->broken			    ? &ix->broken_count
			  : en->rec->kind == CLEAT_KIND_VOLUME ? &ix->volume_count
								    : &ix->snapshot_count;

	*counter = add ? *counter + 1 : *counter - 1;
	if (en->rec->kind != CLEAT_KIND_VOLUME)
		return;
	uint64_t bytes = en->rec->capacity_bytes;
	ix->promised_bytes = add ? ix->promised_bytes + bytes : ix->promised_bytes - bytes;
}

static void entry_free(struct entry *en)
{
	if (!en)
		return;
	cleat_record_unref(en->rec);
	free(en->broken);
	free(en);
}

static enum cleat_code out_of_memory(struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static struct entry *entry_new(struct cleat_record *rec, const char *broken)
{
	struct entry *en = calloc(1, sizeof(*en));

	if (!en)
		return NULL;
	en->rec = cleat_record_ref(rec);
	if (broken && !(en->broken = strdup(broken))) {
		entry_free(en);
		return NULL;
	}
	return en;
}

enum cleat_code index_put(struct index *ix, struct cleat_record *rec, const char *broken, struct cleat_error *err)
{
	bool found;
	size_t at = index_position(ix, rec->key, &found);
	struct entry *en = entry_new(rec, broken);

	if (!en)
		return out_of_memory(err);
	if (found) {
		struct entry *old = ix->by_key[at];
		en->stuck_since_ms = old->stuck_since_ms;
		unlink_name(ix, old);
		count(ix, old, false);
		entry_free(old);
		ix->by_key[at] = en;
	} else {
		if (!grow_keys(ix) || !grow_names(ix)) {
			entry_free(en);
			return out_of_memory(err);
		}
		memmove(ix->by_key + at + 1, ix->by_key + at, (ix->count - at) * sizeof(struct entry *));
		ix->by_key[at] = en;
		ix->count++;
	}
	link_name(ix, en);
	count(ix, en, true);
	return CLEAT_OK;
}

void index_remove(struct index *ix, const char *key)
{
	bool found;
	size_t at = index_position(ix, key, &found);

	if (!found)
		return;
	struct entry *en = ix->by_key[at];
	unlink_name(ix, en);
	count(ix, en, false);
	memmove(ix->by_key + at, ix->by_key + at + 1, (ix->count - at - 1) * sizeof(struct entry *));
	ix->count--;
	entry_free(en);
}

void index_clear(struct index *ix)
{
	for (size_t i = 0; i < ix->count; i++)
		entry_free(ix->by_key[i]);
	free(ix->by_key);
	free(ix->names);
	*ix = (struct index){ 0 };
}
