/* keys.c - see keys.h: from a table of keys to the schema, and from msgpack into the struct that the table
 * describes. */
#include "driver/keys.h"

#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/buf.h"
#include "util/kv.h"
#include "util/mem.h"

/* ---- the schema ---- */

static char *text_in(struct cleat_pb_arena *a, const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = cleat_pb_arena_get(a, n);

	return copy ? memcpy(copy, text, n) : NULL;
}

static void *message_in(struct cleat_pb_arena *a, const ProtobufCMessageDescriptor *d)
{
	ProtobufCMessage *m = cleat_pb_arena_get(a, d->sizeof_message);

	if (m)
		protobuf_c_message_init(d, m);
	return m;
}

static Hcl__Spec *spec_in(struct cleat_pb_arena *a, Hcl__Spec__BlockCase which, void *part)
{
	Hcl__Spec *spec = part ? message_in(a, &hcl__spec__descriptor) : NULL;

	if (!spec)
		return NULL;
	spec->block_case = which;
	spec->object = part; /* the members of the union are all pointers */
	return spec;
}

static Hcl__Spec *attr_spec(struct cleat_pb_arena *a, const struct driver_key *k)
{
	static const char *const types[] = { [DRIVER_KEY_TEXT] = "string",
					     [DRIVER_KEY_BOOL] = "bool",
					     [DRIVER_KEY_NUMBER] = "number",
					     [DRIVER_KEY_LIST] = "list(string)" };
	Hcl__Attr *attr = message_in(a, &hcl__attr__descriptor);

	if (!attr)
		return NULL;
	attr->name = text_in(a, k->name);
	attr->type = text_in(a, types[k->type]);
	attr->required = k->required;
	return attr->name && attr->type ? spec_in(a, HCL__SPEC__BLOCK_ATTR, attr) : NULL;
}

static Hcl__Spec *map_spec(struct cleat_pb_arena *a, const struct driver_key *k)
{
	Hcl__BlockAttrs *attrs = message_in(a, &hcl__block_attrs__descriptor);

	if (!attrs)
		return NULL;
	attrs->name = text_in(a, k->name);
	attrs->type = text_in(a, "string");
	attrs->required = k->required;
	return attrs->name && attrs->type ? spec_in(a, HCL__SPEC__BLOCK_BLOCK_ATTRS, attrs) : NULL;
}

static Hcl__Spec *block_spec(struct cleat_pb_arena *a, const struct driver_key *k)
{
	Hcl__Block *block = message_in(a, &hcl__block__descriptor);

	if (!block)
		return NULL;
	block->name = text_in(a, k->name);
	block->required = k->required;
	block->nested = driver_keys_schema(k->nested, a);
	return block->name && block->nested ? spec_in(a, HCL__SPEC__BLOCK_BLOCK_VALUE, block) : NULL;
}

static Hcl__Spec *blocks_spec(struct cleat_pb_arena *a, const struct driver_key *k)
{
	Hcl__BlockList *list = message_in(a, &hcl__block_list__descriptor);

	if (!list)
		return NULL;
	list->name = text_in(a, k->name);
	list->min_items = k->required ? 1 : 0;
	list->nested = driver_keys_schema(k->nested, a);
	return list->name && list->nested ? spec_in(a, HCL__SPEC__BLOCK_BLOCK_LIST, list) : NULL;
}

static Hcl__Spec *literal_spec(struct cleat_pb_arena *a, const char *text)
{
	Hcl__Literal *literal = message_in(a, &hcl__literal__descriptor);

	if (!literal)
		return NULL;
	literal->value = text_in(a, text);
	return literal->value ? spec_in(a, HCL__SPEC__BLOCK_LITERAL, literal) : NULL;
}

static Hcl__Spec *key_spec(struct cleat_pb_arena *a, const struct driver_key *k)
{
	switch (k->type) {
	case DRIVER_KEY_MAP:
		return map_spec(a, k);
	case DRIVER_KEY_BLOCK:
		return block_spec(a, k);
	case DRIVER_KEY_BLOCKS:
		return blocks_spec(a, k);
	default:
		break;
	}
	Hcl__Spec *attr = attr_spec(a, k);
	if (!attr || !k->fallback)
		return attr;
	Hcl__Default *with = message_in(a, &hcl__default__descriptor);
	if (!with)
		return NULL;
	with->primary = attr;
	with->default_ = literal_spec(a, k->fallback);
	return with->default_ ? spec_in(a, HCL__SPEC__BLOCK_DEFAULT, with) : NULL;
}

static size_t count_of(const struct driver_key *keys)
{
	size_t n = 0;

	while (keys[n].name)
		n++;
	return n;
}

Hcl__Spec *driver_keys_schema(const struct driver_key *keys, struct cleat_pb_arena *a)
{
	size_t n = count_of(keys);
	Hcl__Object *object = message_in(a, &hcl__object__descriptor);
	Hcl__Object__AttributesEntry **entries = cleat_pb_arena_get(a, (n + 1) * sizeof(*entries));

	if (!object || !entries)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		entries[i] = message_in(a, &hcl__object__attributes_entry__descriptor);
		if (!entries[i])
			return NULL;
		entries[i]->key = text_in(a, keys[i].name);
		entries[i]->value = key_spec(a, &keys[i]);
		if (!entries[i]->key || !entries[i]->value)
			return NULL;
	}
	object->n_attributes = n;
	object->attributes = entries;
	return spec_in(a, HCL__SPEC__BLOCK_OBJECT, object);
}

/* ---- decoding ---- */

/* A value as a person would write it, cut; for errors. */
static const char *shown(const msgpack_object *v, char room[64])
{
	switch (v->type) {
	case MSGPACK_OBJECT_NIL:
		return "nothing";
	case MSGPACK_OBJECT_BOOLEAN:
		return v->via.boolean ? "true" : "false";
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		snprintf(room, 64, "%llu", (unsigned long long)v->via.u64);
		return room;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		snprintf(room, 64, "%lld", (long long)v->via.i64);
		return room;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		snprintf(room, 64, "%g", v->via.f64);
		return room;
	case MSGPACK_OBJECT_STR:
		snprintf(room, 64, "'%.*s'", (int)(v->via.str.size < 48 ? v->via.str.size : 48),
			 v->via.str.ptr);
		return room;
	case MSGPACK_OBJECT_ARRAY:
		return "a list";
	case MSGPACK_OBJECT_MAP:
		return "a map";
	default:
		return "something else";
	}
}

static enum cleat_code wrong(const struct driver_key *k, const msgpack_object *v, const char *want,
			     struct cleat_error *err)
{
	char room[64];

	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: %s is not %s", k->name, shown(v, room),
			       want);
}

static char *text_of(const msgpack_object *v)
{
	return strndup(v->via.str.ptr, v->via.str.size);
}

static enum cleat_code out_of_memory(struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code take_text(const struct driver_key *k, const msgpack_object *v, char **out,
				 struct cleat_error *err)
{
	if (v->type != MSGPACK_OBJECT_STR)
		return wrong(k, v, "a text", err);
	*out = text_of(v);
	return *out ? CLEAT_OK : out_of_memory(err);
}

/* Whole numbers come as integers, but beyond 64 bits, or with a fraction, as floats or as text. */
static bool whole(const msgpack_object *v, int64_t *out)
{
	char text[32], *end;

	switch (v->type) {
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		*out = (int64_t)v->via.u64;
		return v->via.u64 <= INT64_MAX;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		*out = v->via.i64;
		return true;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		if (!(v->via.f64 >= -9e18 && v->via.f64 <= 9e18) || trunc(v->via.f64) != v->via.f64)
			return false;
		*out = (int64_t)v->via.f64;
		return true;
	case MSGPACK_OBJECT_STR:
		if (v->via.str.size == 0 || v->via.str.size > 20)
			return false;
		memcpy(text, v->via.str.ptr, v->via.str.size);
		text[v->via.str.size] = '\0';
		if (strspn(text, "-0123456789") != v->via.str.size)
			return false;
		long long n = strtoll(text, &end, 10);
		*out = n;
		return *end == '\0' && n != INT64_MAX && n != INT64_MIN;
	default:
		return false;
	}
}

static enum cleat_code take_number(const struct driver_key *k, const msgpack_object *v, int64_t *out,
				   struct cleat_error *err)
{
	char room[64];
	int64_t n;

	if (!whole(v, &n))
		return wrong(k, v, "a whole number", err);
	if ((k->min || k->max) && (n < k->min || n > k->max))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: %s is not between %lld and %lld",
				       k->name, shown(v, room), (long long)k->min, (long long)k->max);
	*out = n;
	return CLEAT_OK;
}

static void free_list(char **list)
{
	for (char **p = list; p && *p; p++)
		free(*p);
	free(list);
}

static enum cleat_code take_list(const struct driver_key *k, const msgpack_object *v, char ***out,
				 struct cleat_error *err)
{
	if (v->type != MSGPACK_OBJECT_ARRAY)
		return wrong(k, v, "a list", err);
	char **list = calloc((size_t)v->via.array.size + 1, sizeof(*list));
	if (!list)
		return out_of_memory(err);
	for (uint32_t i = 0; i < v->via.array.size; i++)
		if (take_text(k, &v->via.array.ptr[i], &list[i], err)) {
			free_list(list);
			return err->code;
		}
	*out = list;
	return CLEAT_OK;
}

static enum cleat_code take_pair(const struct driver_key *k, const msgpack_object_kv *pair,
				 struct cleat_kvs *out, struct cleat_error *err)
{
	cleat_autofree char *key = NULL;
	cleat_autofree char *value = NULL;

	if (take_text(k, &pair->key, &key, err))
		return err->code;
	if (pair->val.type == MSGPACK_OBJECT_NIL)
		return CLEAT_OK;
	if (take_text(k, &pair->val, &value, err))
		return err->code;
	return cleat_kv_set(out, key, value, err) ? cleat_error_wrap(err, "%s", k->name) : CLEAT_OK;
}

static enum cleat_code take_map(const struct driver_key *k, const msgpack_object *v, struct cleat_kvs *out,
				struct cleat_error *err)
{
	if (v->type != MSGPACK_OBJECT_MAP)
		return wrong(k, v, "a map", err);
	for (uint32_t i = 0; i < v->via.map.size; i++)
		if (take_pair(k, &v->via.map.ptr[i], out, err)) {
			cleat_kv_done(out);
			return err->code;
		}
	return CLEAT_OK;
}

static enum cleat_code take_struct(const struct driver_key *keys, const msgpack_object *v, void *out,
				   struct cleat_error *err);

static void blocks_done(const struct driver_key *k, struct driver_blocks *blocks)
{
	for (size_t i = 0; i < blocks->count; i++)
		driver_keys_done(k->nested, (char *)blocks->items + i * k->nested_bytes);
	free(blocks->items);
	*blocks = (struct driver_blocks){ NULL, 0 };
}

static enum cleat_code take_blocks(const struct driver_key *k, const msgpack_object *v,
				   struct driver_blocks *out, struct cleat_error *err)
{
	if (v->type != MSGPACK_OBJECT_ARRAY)
		return wrong(k, v, "a list of blocks", err);
	if (k->max && v->via.array.size > (uint64_t)k->max)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: %u blocks are more than %lld",
				       k->name, v->via.array.size, (long long)k->max);
	struct driver_blocks blocks = { calloc((size_t)v->via.array.size + 1, k->nested_bytes), 0 };
	if (!blocks.items)
		return out_of_memory(err);
	for (uint32_t i = 0; i < v->via.array.size; i++) {
		if (take_struct(k->nested, &v->via.array.ptr[i], (char *)blocks.items + i * k->nested_bytes,
				err)) {
			cleat_error_wrap(err, "%s %u", k->name, i + 1);
			blocks_done(k, &blocks);
			return err->code;
		}
		blocks.count = i + 1;
	}
	*out = blocks;
	return CLEAT_OK;
}

static enum cleat_code take_value(const struct driver_key *k, const msgpack_object *v, void *out,
				  struct cleat_error *err)
{
	void *field = (char *)out + k->offset;

	switch (k->type) {
	case DRIVER_KEY_TEXT:
		return take_text(k, v, field, err);
	case DRIVER_KEY_NUMBER:
		return take_number(k, v, field, err);
	case DRIVER_KEY_LIST:
		return take_list(k, v, field, err);
	case DRIVER_KEY_MAP:
		return take_map(k, v, field, err);
	case DRIVER_KEY_BLOCKS:
		return take_blocks(k, v, field, err);
	case DRIVER_KEY_BLOCK:
		return take_struct(k->nested, v, field, err) ? cleat_error_wrap(err, "%s", k->name)
							     : CLEAT_OK;
	case DRIVER_KEY_BOOL:
		if (v->type != MSGPACK_OBJECT_BOOLEAN)
			return wrong(k, v, "true or false", err);
		*(bool *)field = v->via.boolean;
		return CLEAT_OK;
	}
	return CLEAT_OK;
}

static const struct driver_key *find_key(const struct driver_key *keys, const msgpack_object *name)
{
	for (const struct driver_key *k = keys; k->name; k++)
		if (name->type == MSGPACK_OBJECT_STR && strlen(k->name) == name->via.str.size &&
		    memcmp(k->name, name->via.str.ptr, name->via.str.size) == 0)
			return k;
	return NULL;
}

/* The defaults are applied by Nomad already; what is nil is absent. */
static enum cleat_code take_pairs(const struct driver_key *keys, const msgpack_object_map *map, void *out,
				  struct cleat_error *err)
{
	uint64_t seen = 0;
	char room[64];

	for (uint32_t i = 0; i < map->size; i++) {
		const struct driver_key *k = find_key(keys, &map->ptr[i].key);
		if (!k)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "%s is no key that this driver knows",
					       shown(&map->ptr[i].key, room));
		uint64_t bit = (uint64_t)1 << (k - keys);
		if (seen & bit)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: given twice", k->name);
		seen |= bit;
		if (map->ptr[i].val.type == MSGPACK_OBJECT_NIL)
			seen &= ~bit;
		else if (take_value(k, &map->ptr[i].val, out, err))
			return err->code;
	}
	for (const struct driver_key *k = keys; k->name; k++)
		if (k->required && !(seen & (uint64_t)1 << (k - keys)))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: is needed", k->name);
	return CLEAT_OK;
}

static enum cleat_code take_struct(const struct driver_key *keys, const msgpack_object *v, void *out,
				   struct cleat_error *err)
{
	if (v->type != MSGPACK_OBJECT_MAP)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "not a map of keys");
	if (take_pairs(keys, &v->via.map, out, err)) {
		driver_keys_done(keys, out);
		return err->code;
	}
	return CLEAT_OK;
}

enum cleat_code driver_keys_decode(const struct driver_key *keys, const uint8_t *bytes, size_t n, void *out,
				   struct cleat_error *err)
{
	static const uint8_t empty_map = 0x80;
	struct cleat_error own = CLEAT_ERROR_INIT;
	enum cleat_code code = CLEAT_OK;
	msgpack_unpacked unpacked;
	size_t off = 0;

	err = err ? err : &own;
	if (n == 0) {
		bytes = &empty_map;
		n = 1;
	}
	if (driver_msgpack_check(bytes, n, err))
		return err->code;
	msgpack_unpacked_init(&unpacked);
	msgpack_unpack_return ret = msgpack_unpack_next(&unpacked, (const char *)bytes, n, &off);
	if (ret != MSGPACK_UNPACK_SUCCESS && ret != MSGPACK_UNPACK_EXTRA_BYTES)
		code = cleat_error_set(err,
				       ret == MSGPACK_UNPACK_NOMEM_ERROR ? CLEAT_RESOURCE_EXHAUSTED
									 : CLEAT_INVALID_ARGUMENT,
				       "the configuration cannot be unpacked");
	else if (take_struct(keys, &unpacked.data, out, err))
		code = cleat_error_wrap(err, "config");
	msgpack_unpacked_destroy(&unpacked);
	return code;
}

/* ---- the rest ---- */

static void field_done(const struct driver_key *k, void *field)
{
	switch (k->type) {
	case DRIVER_KEY_TEXT:
		free(*(char **)field);
		*(char **)field = NULL;
		break;
	case DRIVER_KEY_LIST:
		free_list(*(char ***)field);
		*(char ***)field = NULL;
		break;
	case DRIVER_KEY_MAP:
		cleat_kv_done(field);
		break;
	case DRIVER_KEY_BLOCK:
		driver_keys_done(k->nested, field);
		break;
	case DRIVER_KEY_BLOCKS:
		blocks_done(k, field);
		break;
	case DRIVER_KEY_BOOL:
	case DRIVER_KEY_NUMBER:
		break;
	}
}

void driver_keys_done(const struct driver_key *keys, void *in)
{
	for (const struct driver_key *k = keys; k->name; k++)
		field_done(k, (char *)in + k->offset);
}

const char *driver_key_type_text(enum driver_key_type type)
{
	static const char *const texts[] = {
		[DRIVER_KEY_TEXT] = "text",
		[DRIVER_KEY_BOOL] = "true or false",
		[DRIVER_KEY_NUMBER] = "a whole number",
		[DRIVER_KEY_LIST] = "a list of texts",
		[DRIVER_KEY_MAP] = "a map of texts",
		[DRIVER_KEY_BLOCK] = "a block",
		[DRIVER_KEY_BLOCKS] = "a block, any number of times",
	};

	return texts[type];
}

void driver_keys_print(const struct driver_key *keys, const char *before)
{
	char name[64];

	for (const struct driver_key *k = keys; k->name; k++) {
		snprintf(name, sizeof(name), "%s%s", before, k->name);
		printf("  %-20s %s\n%24s %s%s%s%s\n", name, k->text, "", driver_key_type_text(k->type),
		       k->required ? "; needed" : "", k->fallback ? "; default " : "",
		       k->fallback ? k->fallback : "");
		snprintf(name, sizeof(name), "%s%s.", before, k->name);
		if (k->nested)
			driver_keys_print(k->nested, name);
	}
}
