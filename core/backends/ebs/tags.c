/* tags.c - records as tags: which are ours, what is written, what is read back.
 *
 * What EC2 itself says (id, size, type, zone ...) is not written but filled in when a record is read, so that
 * it cannot contradict the volume.
 */
#include "backends/ebs/ebs.h"

#include <stdio.h>
#include <string.h>

#include "remote/pieces.h"

#define KEY_TO_COME "vol" /* stands in records that are written before EC2 has given an id */

/* Attributes that come from EC2. */
static const char *const derived[] = { "zone", "type", "iops", "throughput", "encrypted", "evicted" };

static const char *tag(const struct ebs_thing *t, const char *key)
{
	const char *value = cleat_kv_get(&t->tags, key);

	return value ? value : "";
}

bool ebs_is_ours(const struct ebs_pool *pool, const struct ebs_thing *t)
{
	return strcmp(tag(t, EBS_TAG_POOL), pool->stored_name) == 0;
}

/* ---- writing ---- */

typedef enum cleat_code (*tag_fn)(const char *key, const char *value, void *arg, struct cleat_error *err);

/* Each pair of "key=value,key=value". */
static enum cleat_code each_user_tag(const char *text, tag_fn fn, void *arg, struct cleat_error *err)
{
	cleat_autofree char *copy = strdup(text ? text : "");
	char *rest = NULL;

	for (char *pair = copy ? strtok_r(copy, ",", &rest) : NULL; pair; pair = strtok_r(NULL, ",", &rest)) {
		char *equals = strchr(pair, '=');
		if (!equals || equals == pair || equals - pair > 127 || strlen(equals + 1) > 255)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "parameter 'tags': '%.60s' is not key=value", pair);
		if (strncmp(pair, "cleat:", 6) == 0 || strncmp(pair, "aws:", 4) == 0)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "parameter 'tags': '%.60s' is not yours to set", pair);
		*equals = '\0';
		if (fn(pair, equals + 1, arg, err))
			return err->code;
	}
	return copy ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code accept(const char *key, const char *value, void *arg, struct cleat_error *err)
{
	(void)key;
	(void)value;
	(void)arg;
	(void)err;
	return CLEAT_OK;
}

enum cleat_code ebs_tags_check(const char *text, struct cleat_error *err)
{
	return each_user_tag(text, accept, NULL, err);
}

static enum cleat_code put(const char *key, const char *value, void *arg, struct cleat_error *err)
{
	return cleat_kv_set(arg, key, value, err);
}

static struct cleat_record *stripped(const struct cleat_record *rec)
{
	struct cleat_record *copy = cleat_record_copy(rec);

	for (size_t i = 0; copy && i < CLEAT_COUNT(derived); i++)
		cleat_kv_remove(&copy->attributes, derived[i]);
	if (copy && cleat_record_set(&copy->key, KEY_TO_COME, NULL)) {
		cleat_record_unref(copy);
		return NULL;
	}
	return copy;
}

/* Everything that is written for a record. */
static enum cleat_code tags_of(const struct ebs_pool *pool, const struct cleat_record *rec, bool new,
			       struct cleat_kvs *out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *plain = stripped(rec);
	cleat_autofree struct cleat_pieces *pieces = malloc(sizeof(*pieces));
	char key[40];

	if (!plain || !pieces)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (cleat_pieces_make(plain, pieces, err) || cleat_kv_set(out, "Name", rec->name, err) ||
	    each_user_tag(cleat_kv_get(pool->config, "tags"), put, out, err) ||
	    each_user_tag(cleat_kv_get(&rec->params, "tags"), put, out, err) ||
	    cleat_kv_set(out, EBS_TAG_POOL, pool->stored_name, err) ||
	    cleat_kv_set(out, EBS_TAG_NAME, rec->name, err) ||
	    cleat_kv_set(out, EBS_TAG_RECORD, pieces->head, err))
		return err->code;
	if (*rec->scope && cleat_kv_set(out, EBS_TAG_SCOPE, rec->scope, err))
		return err->code;
	/* ext4 does not mind a twin, XFS is mounted with nouuid. */
	if (new && rec->clone && strcmp(rec->fs, "btrfs") == 0 &&
	    cleat_kv_set(out, EBS_TAG_DISTINCT, "pending", err))
		return err->code;
	for (size_t i = 0; i < pieces->count; i++) {
		snprintf(key, sizeof(key), EBS_TAG_RECORD ".%zu", i);
		if (cleat_kv_set(out, key, pieces->text[i], err))
			return err->code;
	}
	return CLEAT_OK;
}

static void add_pairs(const char *prefix, const struct cleat_kvs *tags, struct cleat_buf *form)
{
	char key[64];

	for (size_t i = 0; i < tags->count; i++) {
		snprintf(key, sizeof(key), "%sTag.%zu.Key", prefix, i + 1);
		cleat_http_form_add(form, key, tags->items[i].key);
		snprintf(key, sizeof(key), "%sTag.%zu.Value", prefix, i + 1);
		cleat_http_form_add(form, key, tags->items[i].value);
	}
}

enum cleat_code ebs_tags_add(const struct ebs_pool *pool, const char *resource_type,
			     const struct cleat_record *rec, struct cleat_buf *form, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs tags = { NULL, 0 };

	if (tags_of(pool, rec, true, &tags, err))
		return err->code;
	cleat_http_form_add(form, "TagSpecification.1.ResourceType", resource_type);
	add_pairs("TagSpecification.1.", &tags, form);
	return CLEAT_OK;
}

static enum cleat_code create_tags(struct ebs_pool *pool, struct cleat_op *op, const char *id,
				   const struct cleat_kvs *tags, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form("CreateTags");

	cleat_http_form_add(&form, "ResourceId.1", id);
	add_pairs("", tags, &form);
	return ebs_call(pool, op, &form, true, NULL, NULL, err);
}

enum cleat_code ebs_tags_store(struct ebs_pool *pool, struct cleat_op *op, const char *id,
			       const struct cleat_record *rec, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs tags = { NULL, 0 };

	return tags_of(pool, rec, false, &tags, err) ? err->code : create_tags(pool, op, id, &tags, err);
}

enum cleat_code ebs_tag_set(struct ebs_pool *pool, struct cleat_op *op, const char *id, const char *key,
			    const char *value, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs tags = { NULL, 0 };

	return cleat_kv_set(&tags, key, value, err) ? err->code : create_tags(pool, op, id, &tags, err);
}

enum cleat_code ebs_tag_remove(struct ebs_pool *pool, struct cleat_op *op, const char *id, const char *key,
			       struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form("DeleteTags");

	cleat_http_form_add(&form, "ResourceId.1", id);
	cleat_http_form_add(&form, "Tag.1.Key", key);
	return ebs_call(pool, op, &form, true, NULL, NULL, err);
}

/* ---- reading ---- */

static enum cleat_code join(const struct ebs_thing *t, struct cleat_record **out, struct cleat_error *err)
{
	const char *head = tag(t, EBS_TAG_RECORD);
	const char *pieces[CLEAT_PIECES_MAX];
	char key[40];

	for (size_t i = 0; i < cleat_pieces_count(head); i++) {
		snprintf(key, sizeof(key), EBS_TAG_RECORD ".%zu", i);
		pieces[i] = cleat_kv_get(&t->tags, key);
	}
	return cleat_pieces_join(head, pieces, out, err);
}

static enum cleat_code set_number(struct cleat_kvs *kvs, const char *key, uint64_t value,
				  struct cleat_error *err)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return value ? cleat_kv_set(kvs, key, text, err) : CLEAT_OK;
}

static enum cleat_code fill_in(const struct ebs_thing *t, struct cleat_record *rec, struct cleat_error *err)
{
	struct cleat_kvs *a = &rec->attributes;

	rec->kind = t->snapshot ? CLEAT_KIND_SNAPSHOT : CLEAT_KIND_VOLUME;
	rec->capacity_bytes = t->gib * EBS_GIB;
	if (cleat_record_set(&rec->key, t->id, err) ||
	    (t->encrypted && cleat_kv_set(a, "encrypted", "true", err)))
		return err->code;
	if (t->snapshot)
		return CLEAT_OK;
	if (cleat_kv_set(a, "zone", t->zone, err) || cleat_kv_set(a, "type", t->type, err) ||
	    set_number(a, "iops", t->iops, err) || set_number(a, "throughput", t->throughput, err))
		return err->code;
	const char *evicted = tag(t, EBS_TAG_EVICTED);
	return *evicted ? cleat_kv_set(a, "evicted", evicted, err) : CLEAT_OK;
}

enum cleat_code ebs_record_of(const struct ebs_pool *pool, const struct ebs_thing *t,
			      struct cleat_record **out, const char **broken_out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	struct cleat_error why = CLEAT_ERROR_INIT;

	*broken_out = NULL;
	if (!ebs_is_ours(pool, t)) {
		*broken_out = "its tags are not of this pool";
	} else if (join(t, &rec, &why)) {
		*broken_out = why.code == CLEAT_ABORTED ? "its tags are just being changed"
							: "its tags hold no record";
	}
	if (*broken_out) {
		rec = cleat_record_new(t->snapshot ? CLEAT_KIND_SNAPSHOT : CLEAT_KIND_VOLUME);
		if (!rec || cleat_record_set(&rec->name, tag(t, EBS_TAG_NAME), err) ||
		    cleat_record_set(&rec->scope, tag(t, EBS_TAG_SCOPE), err))
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	if (fill_in(t, rec, err))
		return err->code;
	*out = cleat_steal(rec);
	return CLEAT_OK;
}

/* ---- finding by name ---- */

static bool is_there(const struct ebs_thing *t)
{
	return strcmp(t->state, "deleting") != 0 && strcmp(t->state, "deleted") != 0 &&
	       strcmp(t->state, "error") != 0;
}

/* "*" and "?" in a filter's value stand for others, unless escaped. */
static void filter_exactly(struct cleat_buf *form, unsigned n, const char *name, const char *value)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(1024);

	for (; *value; value++)
		cleat_buf_addf(&text, strchr("*?\\", *value) ? "\\%c" : "%c", *value);
	ebs_filter(form, n, name, cleat_buf_text(&text));
}

enum cleat_code ebs_find_named(struct ebs_pool *pool, struct cleat_op *op, bool snapshot, const char *scope,
			       const char *name, struct ebs_thing *out, bool *found_out,
			       struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf filters = CLEAT_BUF_INIT(4096);
	ebs_autothings struct ebs_things list = { NULL, 0, 0 };
	struct ebs_thing *best = NULL;

	filter_exactly(&filters, 1, "tag:" EBS_TAG_POOL, pool->stored_name);
	filter_exactly(&filters, 2, "tag:" EBS_TAG_NAME, name);
	cleat_op_step(op, "look for the name", EBS_STEP_MS);
	if (ebs_describe(pool, op, snapshot, &filters, &list, err))
		return err->code;
	for (size_t i = 0; i < list.count; i++) {
		struct ebs_thing *t = &list.items[i];
		if (is_there(t) && ebs_is_ours(pool, t) && strcmp(tag(t, EBS_TAG_NAME), name) == 0 &&
		    strcmp(tag(t, EBS_TAG_SCOPE), scope) == 0 && (!best || strcmp(t->id, best->id) < 0))
			best = t;
	}
	*found_out = best != NULL;
	if (best) {
		*out = *best;
		best->tags = (struct cleat_kvs){ NULL, 0 };
	}
	return CLEAT_OK;
}
