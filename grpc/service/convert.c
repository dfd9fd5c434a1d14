/* convert.c - see convert.h. */
#include "service/convert.h"

#include "util/mem.h"

#include <string.h>

#define MAX_KEY_BYTES 128
#define MAX_VALUE_BYTES 4096

/* The numbers of the wire are those of the library, so that nothing has to be translated. */
#define SAME(wire, ours) _Static_assert((int)(wire) == (int)(ours), #ours)
SAME(CLEAT__V1__ACCESS_TYPE__ACCESS_TYPE_MOUNT, CLEAT_ACCESS_MOUNT);
SAME(CLEAT__V1__ACCESS_TYPE__ACCESS_TYPE_BLOCK, CLEAT_ACCESS_BLOCK);
SAME(CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_WRITER, CLEAT_MODE_SINGLE_NODE_WRITER);
SAME(CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_READER_ONLY, CLEAT_MODE_SINGLE_NODE_READER_ONLY);
SAME(CLEAT__V1__ACCESS_MODE__ACCESS_MODE_MULTI_NODE_READER_ONLY, CLEAT_MODE_MULTI_NODE_READER_ONLY);
SAME(CLEAT__V1__ACCESS_MODE__ACCESS_MODE_MULTI_NODE_SINGLE_WRITER, CLEAT_MODE_MULTI_NODE_SINGLE_WRITER);
SAME(CLEAT__V1__ACCESS_MODE__ACCESS_MODE_MULTI_NODE_MULTI_WRITER, CLEAT_MODE_MULTI_NODE_MULTI_WRITER);
SAME(CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER, CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER);
SAME(CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_MULTI_WRITER, CLEAT_MODE_SINGLE_NODE_MULTI_WRITER);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_VOLUME_CREATED, CLEAT_EVENT_VOLUME_CREATED);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_VOLUME_DELETED, CLEAT_EVENT_VOLUME_DELETED);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_VOLUME_CHANGED, CLEAT_EVENT_VOLUME_CHANGED);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_SNAPSHOT_CREATED, CLEAT_EVENT_SNAPSHOT_CREATED);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_SNAPSHOT_DELETED, CLEAT_EVENT_SNAPSHOT_DELETED);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_STAGED, CLEAT_EVENT_STAGED);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_UNSTAGED, CLEAT_EVENT_UNSTAGED);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_PUBLISHED, CLEAT_EVENT_PUBLISHED);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_UNPUBLISHED, CLEAT_EVENT_UNPUBLISHED);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_CLAIM_STALE, CLEAT_EVENT_CLAIM_STALE);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_POOL_ONLINE, CLEAT_EVENT_POOL_ONLINE);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_POOL_OFFLINE, CLEAT_EVENT_POOL_OFFLINE);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_POOL_LOW, CLEAT_EVENT_POOL_LOW);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_OPERATION, CLEAT_EVENT_OPERATION);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_STUCK, CLEAT_EVENT_STUCK);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_ATTACHED, CLEAT_EVENT_ATTACHED);
SAME(CLEAT__V1__EVENT_KIND__EVENT_KIND_DETACHED, CLEAT_EVENT_DETACHED);

/* ---- from the wire ---- */

/* Text field `i` of a map entry.  All entry types look alike, but each is a type of its own: go by the
 * descriptor. */
static char *entry_text(const ProtobufCMessage *entry, unsigned i)
{
	return *(char *const *)(const void *)((const char *)entry + entry->descriptor->fields[i].offset);
}

static enum cleat_code take_entry(const ProtobufCMessage *entry, const char *what, struct cleat_wire_kvs *out,
				  struct cleat_error *err)
{
	char *key = entry_text(entry, 0), *value = entry_text(entry, 1);

	if (!key[0])
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: a key is empty", what);
	if (strlen(key) > MAX_KEY_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "%s: key '%.32s...' is longer than %d bytes", what, key,
				       MAX_KEY_BYTES);
	if (strlen(value) > MAX_VALUE_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "%s: the value of '%s' is longer than %d bytes", what, key,
				       MAX_VALUE_BYTES);
	out->room[out->kvs.count++] = (struct cleat_kv){ key, value };
	return CLEAT_OK;
}

enum cleat_code cleat_wire_kvs(ProtobufCMessage **entries, size_t n, const char *what,
			       struct cleat_wire_kvs *out, struct cleat_error *err)
{
	out->kvs = (struct cleat_kvs){ out->room, 0 };
	if (n == 0)
		return CLEAT_OK;
	if (cleat_pb_map_last_wins(entries, &n, err))
		return err->code;
	if (n > CLEAT_KV_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: %zu keys are more than %d", what, n,
				       CLEAT_KV_MAX);
	for (size_t i = 0; i < n; i++)
		if (take_entry(entries[i], what, out, err))
			return err->code;
	return CLEAT_OK;
}

enum cleat_code cleat_wire_access_type(Cleat__V1__AccessType type, enum cleat_access_type *out,
				       struct cleat_error *err)
{
	if ((int)type < 0 || (int)type > CLEAT_ACCESS_BLOCK)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "unknown access type %d", (int)type);
	*out = (enum cleat_access_type)type;
	return CLEAT_OK;
}

enum cleat_code cleat_wire_mode(Cleat__V1__AccessMode mode, enum cleat_access_mode *out,
				struct cleat_error *err)
{
	if ((int)mode < 0 || (int)mode > CLEAT_MODE_SINGLE_NODE_MULTI_WRITER)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "unknown access mode %d", (int)mode);
	*out = (enum cleat_access_mode)mode;
	return CLEAT_OK;
}

/* ---- to the wire ---- */

/* A secret parameter holds a reference to a secret, file:PATH or env:NAME; it is not shown all the same. */
static bool is_secret(const struct cleat_kv *kv)
{
	const struct cleat_backend *b;

	if (strncmp(kv->value, "file:", 5) != 0 && strncmp(kv->value, "env:", 4) != 0)
		return false;
	for (size_t i = 0; (b = cleat_backend_at(i)); i++)
		for (const struct cleat_param *p = b->volume_params; p && p->key; p++)
			if (p->type == CLEAT_PARAM_SECRET && strcmp(p->key, kv->key) == 0)
				return true;
	return false;
}

bool cleat_wire_map(struct cleat_pb_arena *a, const struct cleat_kvs *kvs,
		    const ProtobufCMessageDescriptor *entry, bool hide_secrets, size_t *n_out,
		    ProtobufCMessage ***entries_out)
{
	ProtobufCMessage **list;

	if (kvs->count == 0)
		return true;
	list = cleat_pb_arena_get(a, kvs->count * sizeof(*list));
	if (!list)
		return false;
	for (size_t i = 0; i < kvs->count; i++) {
		const struct cleat_kv *kv = &kvs->items[i];

		list[i] = cleat_pb_arena_get(a, entry->sizeof_message);
		if (!list[i])
			return false;
		protobuf_c_message_init(entry, list[i]);
		*(char **)(void *)((char *)list[i] + entry->fields[0].offset) = cleat_pb_text(kv->key);
		*(char **)(void *)((char *)list[i] + entry->fields[1].offset) =
			cleat_pb_text(hide_secrets && is_secret(kv) ? "***" : kv->value);
	}
	*n_out = kvs->count;
	*entries_out = list;
	return true;
}

static bool put_maps(struct cleat_pb_arena *a, const struct cleat_record *r, Cleat__V1__Volume *out)
{
	ProtobufCMessage **params = NULL, **labels = NULL, **attributes = NULL;

	if (!cleat_wire_map(a, &r->params, &cleat__v1__volume__params_entry__descriptor, true, &out->n_params,
			    &params) ||
	    !cleat_wire_map(a, &r->labels, &cleat__v1__volume__labels_entry__descriptor, false,
			    &out->n_labels, &labels) ||
	    !cleat_wire_map(a, &r->attributes, &cleat__v1__volume__attributes_entry__descriptor, false,
			    &out->n_attributes, &attributes))
		return false;
	out->params = (void *)params;
	out->labels = (void *)labels;
	out->attributes = (void *)attributes;
	return true;
}

static bool put_attachments(struct cleat_pb_arena *a, const struct cleat_record *r, Cleat__V1__Volume *out)
{
	Cleat__V1__Attachment *at, **list;

	if (r->attachment_count == 0)
		return true;
	at = cleat_pb_arena_get(a, r->attachment_count * sizeof(*at));
	list = cleat_pb_arena_get(a, r->attachment_count * sizeof(*list));
	if (!at || !list)
		return false;
	for (size_t i = 0; i < r->attachment_count; i++) {
		cleat__v1__attachment__init(&at[i]);
		at[i].node = cleat_pb_text(r->attachments[i].node);
		at[i].mode = (Cleat__V1__AccessMode)r->attachments[i].mode;
		at[i].read_only = r->attachments[i].read_only;
		list[i] = &at[i];
	}
	out->n_attachments = r->attachment_count;
	out->attachments = list;
	return true;
}

static void put_record(const struct cleat_record *r, Cleat__V1__Volume *out)
{
	out->name = cleat_pb_text(r->name);
	out->scope = cleat_pb_text(r->scope);
	out->capacity_bytes = r->capacity_bytes;
	out->access_type = (Cleat__V1__AccessType)r->access_type;
	out->fs = cleat_pb_text(r->fs);
	out->source = cleat_pb_text(r->source);
	out->group = cleat_pb_text(r->group);
	out->created_ms = r->created_ms;
	out->adopted = r->adopted;
}

Cleat__V1__Volume *cleat_wire_volume(struct cleat_pb_arena *a, const struct cleat_volume_state *v)
{
	Cleat__V1__Volume *out = cleat_pb_arena_get(a, sizeof(*out));

	if (!out)
		return NULL;
	cleat__v1__volume__init(out);
	out->id = cleat_pb_text(v->id);
	out->pool = cleat_pb_text(v->pool);
	out->claim_count = v->claim_count;
	out->staged = v->staged;
	out->stuck_since_ms = v->stuck_since_ms;
	out->problem = cleat_pb_text(v->problem);
	if (!v->record)
		return out;
	put_record(v->record, out);
	return put_maps(a, v->record, out) && put_attachments(a, v->record, out) ? out : NULL;
}

static const struct {
	unsigned ours;
	Cleat__V1__Capability wire;
} capabilities[] = {
	{ CLEAT_CAN_MOUNT, CLEAT__V1__CAPABILITY__CAPABILITY_MOUNT },
	{ CLEAT_CAN_BLOCK, CLEAT__V1__CAPABILITY__CAPABILITY_BLOCK },
	{ CLEAT_CAN_ENFORCE_SIZE, CLEAT__V1__CAPABILITY__CAPABILITY_ENFORCE_SIZE },
	{ CLEAT_CAN_SNAPSHOT, CLEAT__V1__CAPABILITY__CAPABILITY_SNAPSHOT },
	{ CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY, CLEAT__V1__CAPABILITY__CAPABILITY_SNAPSHOT_OFFLINE_ONLY },
	{ CLEAT_CAN_GROUP_SNAPSHOT, CLEAT__V1__CAPABILITY__CAPABILITY_GROUP_SNAPSHOT },
	{ CLEAT_CAN_CLONE, CLEAT__V1__CAPABILITY__CAPABILITY_CLONE },
	{ CLEAT_CAN_EXPAND, CLEAT__V1__CAPABILITY__CAPABILITY_EXPAND },
	{ CLEAT_CAN_EXPAND_ONLINE, CLEAT__V1__CAPABILITY__CAPABILITY_EXPAND_ONLINE },
	{ CLEAT_CAN_ADOPT, CLEAT__V1__CAPABILITY__CAPABILITY_ADOPT },
	{ CLEAT_CAN_ATTACH, CLEAT__V1__CAPABILITY__CAPABILITY_ATTACH },
	{ CLEAT_CAN_MULTI_NODE, CLEAT__V1__CAPABILITY__CAPABILITY_MULTI_NODE },
	{ CLEAT_CAN_USAGE_OFFLINE, CLEAT__V1__CAPABILITY__CAPABILITY_USAGE_OFFLINE },
};

static bool put_capabilities(struct cleat_pb_arena *a, unsigned can, Cleat__V1__Pool *out)
{
	out->capabilities = cleat_pb_arena_get(a, CLEAT_COUNT(capabilities) * sizeof(*out->capabilities));
	if (!out->capabilities)
		return false;
	for (size_t i = 0; i < CLEAT_COUNT(capabilities); i++)
		if (can & capabilities[i].ours)
			out->capabilities[out->n_capabilities++] = capabilities[i].wire;
	return true;
}

static Cleat__V1__Space *new_space(struct cleat_pb_arena *a, const struct cleat_pool_space *s, int64_t age_ms)
{
	Cleat__V1__Space *out = cleat_pb_arena_get(a, sizeof(*out));

	if (!out)
		return NULL;
	cleat__v1__space__init(out);
	out->total_bytes = s->total_bytes;
	out->available_bytes = s->available_bytes;
	out->used_bytes = s->used_bytes;
	out->promised_bytes = s->promised_bytes;
	out->max_volume_bytes = s->max_volume_bytes;
	out->min_volume_bytes = s->min_volume_bytes;
	out->low = s->low;
	out->age_ms = age_ms;
	return out;
}

static void put_pool(const struct cleat_pool_state *p, Cleat__V1__Pool *out)
{
	out->name = cleat_pb_text(p->name);
	out->stored_name = cleat_pb_text(p->stored_name);
	out->uuid = cleat_pb_text(p->uuid);
	out->backend = cleat_pb_text(p->backend);
	out->shared = p->shared;
	out->online = p->online;
	out->read_only = p->read_only;
	out->reason = cleat_pb_text(p->reason);
	out->volume_count = p->volume_count;
	out->snapshot_count = p->snapshot_count;
	out->broken_count = p->broken_count;
	out->running_count = p->running_count;
	out->stuck_count = p->stuck_count;
	out->is_default = p->is_default;
}

Cleat__V1__Pool *cleat_wire_pool(struct cleat_pb_arena *a, const struct cleat_pool_state *p)
{
	Cleat__V1__Pool *out = cleat_pb_arena_get(a, sizeof(*out));

	if (!out)
		return NULL;
	cleat__v1__pool__init(out);
	put_pool(p, out);
	out->space = new_space(a, &p->space, p->space_age_ms);
	return out->space && put_capabilities(a, p->capabilities, out) ? out : NULL;
}

Cleat__V1__Claim *cleat_wire_claim(struct cleat_pb_arena *a, const struct cleat_claim *c)
{
	Cleat__V1__Claim *out = cleat_pb_arena_get(a, sizeof(*out));

	if (!out)
		return NULL;
	cleat__v1__claim__init(out);
	out->volume = cleat_pb_text(c->volume);
	out->target = cleat_pb_text(c->target);
	out->owner = cleat_pb_text(c->owner);
	out->witness = cleat_pb_text(c->witness);
	out->mode = (Cleat__V1__AccessMode)c->mode;
	out->read_only = c->read_only;
	out->staging = c->staging;
	out->stale = c->state == CLEAT_CLAIM_STALE;
	out->since_ms = c->since_ms;
	return out;
}

Cleat__V1__Operation *cleat_wire_operation(struct cleat_pb_arena *a, const struct cleat_operation *o)
{
	Cleat__V1__Operation *out = cleat_pb_arena_get(a, sizeof(*out));

	if (!out)
		return NULL;
	cleat__v1__operation__init(out);
	out->number = o->number;
	out->verb = cleat_pb_text(cleat_verb_name(o->verb));
	out->subject = cleat_pb_text(o->subject);
	out->step = cleat_pb_text(o->step);
	out->done = o->done;
	out->total = o->total;
	out->since_ms = o->since_ms;
	out->waiting = o->waiting;
	out->stuck = o->stuck;
	return out;
}

Cleat__V1__Finding *cleat_wire_finding(struct cleat_pb_arena *a, const struct cleat_finding *f)
{
	Cleat__V1__Finding *out = cleat_pb_arena_get(a, sizeof(*out));

	if (!out)
		return NULL;
	cleat__v1__finding__init(out);
	out->subject = cleat_pb_text(f->subject);
	out->problem = cleat_pb_text(f->problem);
	out->remedy = cleat_pb_text(f->remedy);
	out->fixable = f->fixable;
	out->fixed = f->fixed;
	return out;
}

static const char *const param_types[] = {
	[CLEAT_PARAM_TEXT] = "text", [CLEAT_PARAM_BOOL] = "bool",	[CLEAT_PARAM_SIZE] = "size",
	[CLEAT_PARAM_UINT] = "uint", [CLEAT_PARAM_MODE] = "mode",	[CLEAT_PARAM_CHOICE] = "choice",
	[CLEAT_PARAM_PATH] = "path", [CLEAT_PARAM_DECIMAL] = "decimal", [CLEAT_PARAM_SECRET] = "secret",
};

static bool put_choices(struct cleat_pb_arena *a, const struct cleat_param *p, Cleat__V1__Parameter *out)
{
	size_t n = 0;

	while (p->choices && p->choices[n])
		n++;
	if (n == 0)
		return true;
	out->choices = cleat_pb_arena_get(a, n * sizeof(*out->choices));
	if (!out->choices)
		return false;
	for (; out->n_choices < n; out->n_choices++)
		out->choices[out->n_choices] = cleat_pb_text(p->choices[out->n_choices]);
	return true;
}

Cleat__V1__Parameter *cleat_wire_parameter(struct cleat_pb_arena *a, const struct cleat_param *p)
{
	Cleat__V1__Parameter *out = cleat_pb_arena_get(a, sizeof(*out));

	if (!out)
		return NULL;
	cleat__v1__parameter__init(out);
	out->key = cleat_pb_text(p->key);
	out->type = cleat_pb_text(param_types[p->type]);
	out->unit = cleat_pb_text(p->unit);
	out->default_value = cleat_pb_text(p->def);
	out->text = cleat_pb_text(p->text);
	out->changeable = p->changeable;
	return put_choices(a, p, out) ? out : NULL;
}

void cleat_wire_event(const struct cleat_event *from, const char *epoch, Cleat__V1__Event *out)
{
	cleat__v1__event__init(out);
	out->epoch = cleat_pb_text(epoch);
	out->number = from->number;
	out->kind = (Cleat__V1__EventKind)from->kind;
	out->time_ms = from->time_ms;
	out->pool = cleat_pb_text(from->pool);
	out->volume = cleat_pb_text(from->volume);
	out->name = cleat_pb_text(from->name);
	out->text = cleat_pb_text(from->text);
	out->operation = from->operation;
	out->done = from->done;
	out->total = from->total;
	out->ended = from->ended;
	out->code = (int32_t)from->code;
}
