/* record.c - the life of a record in memory: made, copied, shared, freed.  Its stored form is in
 * record_json.c.
 *
 * Most text fields of most records are empty; they all point at one static "", which keeps ten thousand
 * records small.  So text fields are changed with cleat_record_set() only, never freed by hand.
 */
#include <cleat/record.h>

#include "util/kv.h"

#include <stdlib.h>
#include <string.h>

static char empty[1];

static void free_text(char *text)
{
	if (text != empty)
		free(text);
}

struct cleat_record *cleat_record_new(enum cleat_kind kind)
{
	struct cleat_record *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->refs = 1;
	r->format = CLEAT_RECORD_FORMAT;
	r->kind = kind;
	r->access_type = CLEAT_ACCESS_MOUNT;
	r->key = r->name = r->scope = r->fs = r->source = r->group = empty;
	return r;
}

static void free_record(struct cleat_record *r)
{
	char *texts[] = { r->key, r->name, r->scope, r->fs, r->source, r->group };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free_text(texts[i]);
	cleat_kv_done(&r->params);
	cleat_kv_done(&r->labels);
	cleat_kv_done(&r->attributes);
	for (size_t i = 0; i < r->attachment_count; i++)
		free_text(r->attachments[i].node);
	free(r->attachments);
	free(r);
}

enum cleat_code cleat_record_set(char **field, const char *text, struct cleat_error *err)
{
	char *copy = empty;

	if (text && *text) {
		copy = strdup(text);
		if (!copy)
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	free_text(*field);
	*field = copy;
	return CLEAT_OK;
}

static bool copy_texts(const struct cleat_record *r, struct cleat_record *copy)
{
	return !cleat_record_set(&copy->key, r->key, NULL) && !cleat_record_set(&copy->name, r->name, NULL) &&
	       !cleat_record_set(&copy->scope, r->scope, NULL) && !cleat_record_set(&copy->fs, r->fs, NULL) &&
	       !cleat_record_set(&copy->source, r->source, NULL) &&
	       !cleat_record_set(&copy->group, r->group, NULL);
}

static bool copy_lists(const struct cleat_record *r, struct cleat_record *copy)
{
	if (cleat_kv_copy(&r->params, &copy->params, NULL) ||
	    cleat_kv_copy(&r->labels, &copy->labels, NULL) ||
	    cleat_kv_copy(&r->attributes, &copy->attributes, NULL))
		return false;
	if (r->attachment_count == 0)
		return true;
	copy->attachments = calloc(r->attachment_count, sizeof(*copy->attachments));
	if (!copy->attachments)
		return false;
	for (; copy->attachment_count < r->attachment_count; copy->attachment_count++) {
		struct cleat_attachment *to = &copy->attachments[copy->attachment_count];
		const struct cleat_attachment *from = &r->attachments[copy->attachment_count];
		to->mode = from->mode;
		to->read_only = from->read_only;
		if (cleat_record_set(&to->node, from->node, NULL))
			return false;
	}
	return true;
}

struct cleat_record *cleat_record_copy(const struct cleat_record *r)
{
	struct cleat_record *copy = cleat_record_new(r->kind);

	if (!copy)
		return NULL;
	copy->format = r->format;
	copy->capacity_bytes = r->capacity_bytes;
	copy->fs_bytes = r->fs_bytes;
	copy->access_type = r->access_type;
	copy->formatted = r->formatted;
	copy->clone = r->clone;
	copy->adopted = r->adopted;
	copy->created_ms = r->created_ms;
	if (!copy_texts(r, copy) || !copy_lists(r, copy)) {
		free_record(copy);
		return NULL;
	}
	return copy;
}

struct cleat_record *cleat_record_ref(const struct cleat_record *r)
{
	/* Counting is the one change that a shared record sees. */
	struct cleat_record *counted = (struct cleat_record *)(uintptr_t)r;

	__atomic_fetch_add(&counted->refs, 1, __ATOMIC_RELAXED);
	return counted;
}

void cleat_record_unref(struct cleat_record *r)
{
	if (r && __atomic_fetch_sub(&r->refs, 1, __ATOMIC_ACQ_REL) == 1)
		free_record(r);
}
