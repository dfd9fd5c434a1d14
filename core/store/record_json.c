/* record_json.c - the stored form of a record: one compact JSON object with its members in a fixed order.
 *
 * Only what differs from the default is written, so small records are small files.  Reading believes nothing:
 * size, nesting, types, lengths and counts are checked, and a member that this format does not have is
 * refused, because writing the record back would lose it.
 */
#include "store/pooldir.h"

#include "util/buf.h"
#include "util/kv.h"
#include "util/text.h"

#include <jansson.h>
#include <string.h>

#define MAX_DEPTH                                                                                            \
	4 /* object, list of attachments, attachment: three, and one to say which member is wrong            \
	   */
#define NODE_MAX_BYTES 128
#define FS_MAX_BYTES 32

enum member_type {
	MEMBER_TEXT,
	MEMBER_BYTES, /* uint64_t, stored as a number up to 2^63-1 */
	MEMBER_TIME,  /* int64_t */
	MEMBER_BOOL,
	MEMBER_KIND,
	MEMBER_ACCESS,
	MEMBER_PAIRS,
	MEMBER_ATTACHMENTS,
};

struct member {
	const char *name;
	enum member_type type;
	size_t offset;
	size_t max_bytes; /* of a text */
	bool required;
};

#define MEMBER(name, type, max, required)                                                                    \
	{                                                                                                    \
#name, type, offsetof(struct cleat_record, name), max, required                              \
	}

/* The order is that of the file; people read it. */
static const struct member members[] = {
	MEMBER(kind, MEMBER_KIND, 0, true),
	MEMBER(key, MEMBER_TEXT, CLEAT_KEY_MAX_BYTES, true),
	MEMBER(name, MEMBER_TEXT, CLEAT_NAME_MAX_BYTES, true),
	MEMBER(scope, MEMBER_TEXT, CLEAT_SCOPE_MAX_BYTES, false),
	MEMBER(capacity_bytes, MEMBER_BYTES, 0, false),
	MEMBER(fs_bytes, MEMBER_BYTES, 0, false),
	MEMBER(access_type, MEMBER_ACCESS, 0, true),
	MEMBER(fs, MEMBER_TEXT, FS_MAX_BYTES, false),
	MEMBER(formatted, MEMBER_BOOL, 0, false),
	MEMBER(clone, MEMBER_BOOL, 0, false),
	MEMBER(adopted, MEMBER_BOOL, 0, false),
	MEMBER(source, MEMBER_TEXT, CLEAT_ID_MAX_BYTES, false),
	MEMBER(group, MEMBER_TEXT, CLEAT_NAME_MAX_BYTES, false),
	MEMBER(created_ms, MEMBER_TIME, 0, false),
	MEMBER(params, MEMBER_PAIRS, 0, false),
	MEMBER(labels, MEMBER_PAIRS, 0, false),
	MEMBER(attributes, MEMBER_PAIRS, 0, false),
	MEMBER(attachments, MEMBER_ATTACHMENTS, 0, false),
};

static const char *const kind_words[] = { NULL, "volume", "snapshot" };
static const char *const access_words[] = { NULL, "mount", "block" };

static bool is_key(const char *text)
{
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

	return n > 0 && n <= CLEAT_KEY_MAX_BYTES && text[n] == '\0';
}

/* ---- writing --------------------------------------------------------------------------------- */

/* What could not be read back is not written. */
static json_t *text_to_json(const char *text, size_t max_bytes)
{
	size_t n = strlen(text);

	return n <= max_bytes && cleat_text_is_clean(text, n) ? json_stringn(text, n) : NULL;
}

static json_t *pairs_to_json(const struct cleat_kvs *kvs)
{
	json_t *object = json_object();

	for (size_t i = 0; object && i < kvs->count; i++) {
		const char *key = kvs->items[i].key;
		if (!cleat_text_is_clean(key, strlen(key)) ||
		    json_object_set_new(object, key, json_string(kvs->items[i].value))) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *attachments_to_json(const struct cleat_record *r)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < r->attachment_count; i++) {
		const struct cleat_attachment *a = &r->attachments[i];
		if (json_array_append_new(list, json_pack("{s:s,s:i,s:b}", "node", a->node, "mode",
							  (int)a->mode, "read_only", (int)a->read_only))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* What the member looks like in the file; *skip_out when it has its default and is left out.  NULL: it cannot
 * be written. */
static json_t *member_to_json(const struct cleat_record *r, const struct member *m, bool *skip_out)
{
	const void *field = (const char *)r + m->offset;
	const char *text;
	uint64_t number;

	*skip_out = false;
	switch (m->type) {
	case MEMBER_TEXT:
		text = *(char *const *)field;
		*skip_out = !*text && !m->required;
		return text_to_json(text, m->max_bytes);
	case MEMBER_BYTES:
		number = *(const uint64_t *)field;
		*skip_out = number == 0;
		return number > INT64_MAX ? NULL : json_integer((json_int_t)number);
	case MEMBER_TIME:
		*skip_out = *(const int64_t *)field == 0;
		return json_integer(*(const int64_t *)field);
	case MEMBER_BOOL:
		*skip_out = !*(const bool *)field;
		return json_true();
	case MEMBER_KIND:
		number = *(const enum cleat_kind *)field;
		return number == 1 || number == 2 ? json_string(kind_words[number]) : NULL;
	case MEMBER_ACCESS:
		number = *(const enum cleat_access_type *)field;
		return number == 1 || number == 2 ? json_string(access_words[number]) : NULL;
	case MEMBER_PAIRS:
		*skip_out = ((const struct cleat_kvs *)field)->count == 0;
		return pairs_to_json(field);
	case MEMBER_ATTACHMENTS:
		*skip_out = r->attachment_count == 0;
		return attachments_to_json(r);
	}
	return NULL;
}

static int add_bytes(const char *bytes, size_t n, void *buf)
{
	cleat_buf_add(buf, bytes, n);
	return cleat_buf_ok(buf) ? 0 : -1;
}

static enum cleat_code write_object(json_t *object, struct cleat_buf *out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES - 1);

	if (json_dump_callback(object, add_bytes, &text, JSON_COMPACT))
		return cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"the record would be larger than %d bytes: fewer or shorter labels and parameters",
			CLEAT_RECORD_MAX_BYTES);
	cleat_buf_add(out, text.data, text.len);
	cleat_buf_adds(out, "\n");
	if (!cleat_buf_ok(out))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return CLEAT_OK;
}

enum cleat_code cleat_record_encode(const struct cleat_record *r, struct cleat_buf *out,
				    struct cleat_error *err)
{
	json_t *object = json_pack("{s:I}", "format", (json_int_t)CLEAT_RECORD_FORMAT);
	enum cleat_code code = CLEAT_OK;

	if (r->format > CLEAT_RECORD_FORMAT)
		code = cleat_error_set(
			err, CLEAT_FAILED_PRECONDITION,
			"the record of '%s' has format %u, this release writes %d: it is read-only", r->name,
			r->format, CLEAT_RECORD_FORMAT);
	else if (!is_key(r->key) || !*r->name)
		code = cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a record needs a key and a name");
	for (size_t i = 0; !code && i < sizeof(members) / sizeof(members[0]); i++) {
		bool skip = false;
		json_t *value = member_to_json(r, &members[i], &skip);
		if (skip)
			json_decref(value);
		else if (json_object_set_new(object, members[i].name, value))
			code = cleat_error_set(
				err, CLEAT_INVALID_ARGUMENT,
				"'%s' of the record cannot be stored (not UTF-8, or out of range)",
				members[i].name);
	}
	if (!code)
		code = write_object(object, out, err);
	json_decref(object);
	return code;
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum cleat_code damaged(struct cleat_error *err, const char *member, const char *why)
{
	return cleat_error_set(err, CLEAT_DATA_LOSS, "record: '%s' %s", member, why);
}

/* The parser recurses, so nesting is counted before it runs. */
static bool is_shallow(const char *bytes, size_t n)
{
	int depth = 0;
	bool in_text = false;

	for (size_t i = 0; i < n; i++) {
		char c = bytes[i];
		if (in_text) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_text = false;
		} else if (c == '"') {
			in_text = true;
		} else if (c == '{' || c == '[') {
			if (++depth > MAX_DEPTH)
				return false;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return true;
}

static enum cleat_code read_text(const json_t *value, const char *member, size_t max_bytes, char **field,
				 struct cleat_error *err)
{
	if (!json_is_string(value))
		return damaged(err, member, "is not a text");
	if (json_string_length(value) > max_bytes)
		return damaged(err, member, "is too long");
	if (!cleat_text_is_clean(json_string_value(value), json_string_length(value)))
		return damaged(err, member, "has control characters");
	return cleat_record_set(field, json_string_value(value), err);
}

static enum cleat_code read_number(const json_t *value, const char *member, int64_t least, int64_t *out,
				   struct cleat_error *err)
{
	if (!json_is_integer(value))
		return damaged(err, member, "is not a whole number");
	if (json_integer_value(value) < least)
		return damaged(err, member, "is negative");
	*out = json_integer_value(value);
	return CLEAT_OK;
}

static enum cleat_code read_word(const json_t *value, const char *member, const char *const words[3],
				 unsigned *out, struct cleat_error *err)
{
	for (unsigned i = 1; json_is_string(value) && i < 3; i++) {
		if (strcmp(json_string_value(value), words[i]) == 0) {
			*out = i;
			return CLEAT_OK;
		}
	}
	return damaged(err, member, "is none of its words");
}

static enum cleat_code read_pairs(json_t *value, const char *member, struct cleat_kvs *kvs,
				  struct cleat_error *err)
{
	const char *key;
	json_t *item;

	if (!json_is_object(value))
		return damaged(err, member, "is not an object");
	json_object_foreach(value, key, item)
	{
		if (!json_is_string(item))
			return damaged(err, member, "has a value that is not a text");
		if (!cleat_text_is_clean(key, strlen(key)))
			return damaged(err, member, "has a key with control characters");
		if (cleat_kv_set(kvs, key, json_string_value(item), err))
			return damaged(err, member, "has too many pairs, or one that is too long");
	}
	return CLEAT_OK;
}

static enum cleat_code read_attachment(json_t *value, struct cleat_attachment *out, struct cleat_error *err)
{
	const json_t *node = json_object_get(value, "node"), *read_only = json_object_get(value, "read_only");
	int64_t mode = 0;

	if (json_object_size(value) != 3 || !json_is_boolean(read_only))
		return damaged(err, "attachments", "has an entry that is not one");
	if (read_number(json_object_get(value, "mode"), "attachments", 0, &mode, err))
		return err->code;
	if (mode > CLEAT_MODE_SINGLE_NODE_MULTI_WRITER)
		return damaged(err, "attachments", "has an unknown access mode");
	if (read_text(node, "attachments", NODE_MAX_BYTES, &out->node, err))
		return err->code;
	if (!*out->node)
		return damaged(err, "attachments", "has an entry without a node");
	out->mode = (enum cleat_access_mode)mode;
	out->read_only = json_is_true(read_only);
	return CLEAT_OK;
}

static enum cleat_code read_attachments(json_t *value, struct cleat_record *r, struct cleat_error *err)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value))
		return damaged(err, "attachments", "is not a list");
	if (count > CLEAT_ATTACHMENTS_MAX)
		return damaged(err, "attachments", "is too long");
	if (count == 0)
		return CLEAT_OK;
	r->attachments = calloc(count, sizeof(*r->attachments));
	if (!r->attachments)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	for (size_t i = 0; i < count; i++) {
		r->attachment_count = i + 1; /* counted before it is read, so that a half-read one is freed */
		if (read_attachment(json_array_get(value, i), &r->attachments[i], err))
			return err->code;
	}
	return CLEAT_OK;
}

static enum cleat_code read_member(json_t *value, const struct member *m, struct cleat_record *r,
				   struct cleat_error *err)
{
	void *field = (char *)r + m->offset;
	unsigned word = 0;
	int64_t number = 0;

	switch (m->type) {
	case MEMBER_TEXT:
		return read_text(value, m->name, m->max_bytes, field, err);
	case MEMBER_BYTES:
		if (read_number(value, m->name, 0, &number, err))
			return err->code;
		*(uint64_t *)field = (uint64_t)number;
		return CLEAT_OK;
	case MEMBER_TIME:
		return read_number(value, m->name, INT64_MIN, field, err);
	case MEMBER_BOOL:
		if (!json_is_boolean(value))
			return damaged(err, m->name, "is neither true nor false");
		*(bool *)field = json_is_true(value);
		return CLEAT_OK;
	case MEMBER_KIND:
		if (read_word(value, m->name, kind_words, &word, err))
			return err->code;
		*(enum cleat_kind *)field = (enum cleat_kind)word;
		return CLEAT_OK;
	case MEMBER_ACCESS:
		if (read_word(value, m->name, access_words, &word, err))
			return err->code;
		*(enum cleat_access_type *)field = (enum cleat_access_type)word;
		return CLEAT_OK;
	case MEMBER_PAIRS:
		return read_pairs(value, m->name, field, err);
	case MEMBER_ATTACHMENTS:
		return read_attachments(value, r, err);
	}
	return CLEAT_OK;
}

static const struct member *find_member(const char *name)
{
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (strcmp(members[i].name, name) == 0)
			return &members[i];
	return NULL;
}

static enum cleat_code refuse_member(const char *name, struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_DATA_LOSS, "record: '%.*s' is not a member of format %d",
			       cleat_text_cut(name, 60), name, CLEAT_RECORD_FORMAT);
}

static enum cleat_code read_members(json_t *object, struct cleat_record *r, struct cleat_error *err)
{
	bool newer = r->format > CLEAT_RECORD_FORMAT;
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		const struct member *m = find_member(name);
		enum cleat_code code = CLEAT_OK;
		if (m)
			code = read_member(value, m, r, err);
		else if (strcmp(name, "format") != 0)
			code = refuse_member(name, err);
		if (code &&
		    (!newer || code != CLEAT_DATA_LOSS)) /* a newer format may mean something else by it */
			return code;
	}
	for (size_t i = 0; !newer && i < sizeof(members) / sizeof(members[0]); i++)
		if (members[i].required && !json_object_get(object, members[i].name))
			return damaged(err, members[i].name, "is missing");
	if (!newer && !*r->name)
		return damaged(err, "name", "is empty");
	if (*r->key && !is_key(r->key))
		return damaged(err, "key", "has characters that no key has");
	return *r->key || newer ? CLEAT_OK : damaged(err, "key", "is empty");
}

static enum cleat_code read_format(const json_t *object, struct cleat_record *r, struct cleat_error *err)
{
	int64_t format = 0;

	if (!json_is_object(object))
		return cleat_error_set(err, CLEAT_DATA_LOSS, "record: not a JSON object");
	if (read_number(json_object_get(object, "format"), "format", 1, &format, err))
		return err->code;
	if (format > INT32_MAX)
		return damaged(err, "format", "is out of range");
	r->format = (uint32_t)format;
	return CLEAT_OK;
}

enum cleat_code cleat_record_decode(const char *bytes, size_t n, struct cleat_record **out,
				    struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *r = NULL;
	struct cleat_error inner = CLEAT_ERROR_INIT;
	json_error_t reason;

	if (n > CLEAT_RECORD_MAX_BYTES)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "record: larger than %d bytes",
				       CLEAT_RECORD_MAX_BYTES);
	if (!is_shallow(bytes, n))
		return cleat_error_set(err, CLEAT_DATA_LOSS, "record: nested too deeply");
	r = cleat_record_new(CLEAT_KIND_VOLUME);
	if (!r)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	json_t *object = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &reason);
	if (!object)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "record: not JSON: %s (byte %d)", reason.text,
				       reason.position);
	enum cleat_code code = read_format(object, r, &inner);
	if (!code)
		code = read_members(object, r, &inner);
	json_decref(object);
	if (code) {
		if (err)
			*err = inner;
		return code;
	}
	*out = r;
	r = NULL;
	return CLEAT_OK;
}
