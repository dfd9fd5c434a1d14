/* volumes.c - the verbs that change what is stored: create, adopt, delete, expand, modify, snapshots, attachments; and those that look. */
#include "engine/engine.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fs/fs.h"
#include "sys/file.h"
#include "sys/mount.h"

#define CREATE_LIMIT_MS 600000
#define REMOVE_LIMIT_MS 600000
#define SNAPSHOT_LIMIT_MS 600000
#define LOOK_LIMIT_MS 60000

static struct cleat_op *handle(struct op *op)
{
	return (struct cleat_op *)op;
}

static enum cleat_code no_memory(struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code not_able(const struct op *op, const char *what, struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "pool '%s' (%s) cannot %s", op->pool->name, op->pool->backend_name, what);
}

enum cleat_code op_add_result(struct op *op, struct pool *p, const char *key, struct cleat_error *err)
{
	struct cleat_result *r = &op->result;
	struct cleat_volume_state *grown = realloc(r->volumes, (r->volume_count + 1) * sizeof(*grown));

	if (!grown)
		return no_memory(err);
	r->volumes = grown;
	pthread_mutex_lock(&op->e->lock);
	struct entry *en = index_by_key(&p->index, key);
	if (en)
		state_fill(op->e, p, en, &r->volumes[r->volume_count++]);
	pthread_mutex_unlock(&op->e->lock);
	return en ? CLEAT_OK : cleat_error_set(err, CLEAT_INTERNAL, "record '%s' vanished", key);
}

/* ---- create ------------------------------------------------------------------------------------------------------------------------------ */

static const char *wished_fs(const struct op *op)
{
	const struct pool *p = op->pool;
	const char *fs = cleat_kv_get(op->req.params, "fs");

	if (!p->backend->uses_fs || op->req.access_type == CLEAT_ACCESS_BLOCK)
		return "";
	if (fs)
		return fs;
	return pool_default_fs(p);
}

static enum cleat_code check_params(const struct op *op, const struct cleat_fs *fs, struct cleat_error *err)
{
	const struct cleat_param *tables[] = { op->pool->backend->volume_params, cleat_param_common,
					       fs ? fs->make_params : NULL };

	if (op->req.access_type == CLEAT_ACCESS_BLOCK && cleat_kv_get(op->req.params, "fs"))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "parameter 'fs' makes no sense for block access");
	return cleat_param_check(tables, CLEAT_COUNT(tables), op->req.params, err);
}

static enum cleat_code check_wish(struct op *op, const char *fs_name, struct cleat_error *err)
{
	const struct cleat_fs *fs = *fs_name ? cleat_fs_find(fs_name) : NULL;
	const unsigned can = op->pool->capabilities;

	if (*fs_name && !fs)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "parameter 'fs': '%s' is none of ext4, xfs, btrfs", fs_name);
	if (check_params(op, fs, err))
		return err->code;
	if (op->req.access_type == CLEAT_ACCESS_BLOCK && !(can & CLEAT_CAN_BLOCK))
		return not_able(op, "give block access", err);
	if (op->req.hard_size && !(can & CLEAT_CAN_ENFORCE_SIZE))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "pool '%s' (%s) cannot enforce sizes, and a hard size was asked for", op->pool->name,
				       op->pool->backend_name);
	return CLEAT_OK;
}

/* Name and scope decide on the key: see pool_key_take(). */
static enum cleat_code set_identity(struct cleat_record *rec, const struct op *op, const char *name, struct cleat_error *err)
{
	char key[CLEAT_KEY_MAX_BYTES + 1];

	if (cleat_record_set(&rec->name, name, err) || cleat_record_set(&rec->scope, op->req.scope, err) ||
	    pool_key_take(op->pool, rec, key, err))
		return err->code;
	return cleat_record_set(&rec->key, key, err);
}

static enum cleat_code set_texts(struct cleat_record *rec, const struct op *op, const char *fs, struct cleat_error *err)
{
	if (set_identity(rec, op, op->req.name, err) || cleat_record_set(&rec->fs, fs, err))
		return err->code;
	if (cleat_kv_copy(op->req.params, &rec->params, err) || cleat_kv_copy(op->req.labels, &rec->labels, err))
		return err->code;
	return CLEAT_OK;
}

/* Without a size the pool's default is meant, or what the limit leaves of it. */
static uint64_t wished_bytes(const struct op *op)
{
	const struct cleat_param *table = op->pool->backend->pool_params;

	if (op->req.capacity_bytes || !op->req.limit_bytes)
		return op->req.capacity_bytes;
	uint64_t def = cleat_param_number(table, &op->pool->cfg.config, "default_size");
	/* Whole blocks, so that rounding up does not pass the limit. */
	return def > op->req.limit_bytes ? op->req.limit_bytes & ~UINT64_C(4095) : 0;
}

static enum cleat_code wished_record(const struct op *op, const struct cleat_record *source, const char *fs,
				     struct cleat_record **out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = cleat_record_new(CLEAT_KIND_VOLUME);

	if (!rec)
		return no_memory(err);
	if (set_texts(rec, op, source ? source->fs : fs, err))
		return err->code;
	rec->capacity_bytes = wished_bytes(op);
	rec->access_type = op->req.access_type ? op->req.access_type : CLEAT_ACCESS_MOUNT;
	rec->created_ms = cleat_time_wall_ms();
	if (source) {
		if (cleat_record_set(&rec->source, op->id, err))
			return err->code;
		rec->clone = true;
		rec->formatted = source->formatted;
		rec->fs_bytes = source->fs_bytes;
		if (rec->capacity_bytes < source->capacity_bytes)
			rec->capacity_bytes = source->capacity_bytes;
	}
	*out = cleat_steal(rec);
	return CLEAT_OK;
}

/* Whether every parameter that was asked for is what the volume has. */
static bool params_fit(const struct cleat_kvs *wanted, const struct cleat_record *rec)
{
	for (size_t i = 0; i < wanted->count; i++) {
		const struct cleat_kv *kv = &wanted->items[i];
		const char *has = strcmp(kv->key, "fs") == 0 ? rec->fs : cleat_kv_get(&rec->params, kv->key);
		if (!has || strcmp(has, kv->value) != 0)
			return false;
	}
	return true;
}

static const char *misfit(const struct op *op, const struct cleat_record *rec)
{
	const struct cleat_request *req = &op->req;

	/* A pool that enforces no sizes remembers the wish as an attribute. */
	const char *wish = cleat_kv_get(&rec->attributes, "requested_bytes");
	uint64_t size = rec->capacity_bytes ? rec->capacity_bytes : wish ? strtoull(wish, NULL, 10) : 0;
	if (size < req->capacity_bytes)
		return "is smaller";
	if (req->limit_bytes && size > req->limit_bytes)
		return "is larger than the limit";
	if (rec->access_type != (req->access_type ? req->access_type : CLEAT_ACCESS_MOUNT))
		return "has another access type";
	if (strcmp(rec->source, *req->source ? op->id : "") != 0)
		return "was made from another source";
	if (!params_fit(req->params, rec))
		return "has other parameters";
	return NULL;
}

/* A volume of that name, if there is one: the answer, or what differs. */
static enum cleat_code answer_existing(struct op *op, bool *found_out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	char broken[128] = "";

	pthread_mutex_lock(&op->e->lock);
	struct entry *en = index_by_name(&op->pool->index, CLEAT_KIND_VOLUME, op->req.scope, op->req.name);
	if (en) {
		rec = cleat_record_ref(en->rec);
		snprintf(broken, sizeof(broken), "%s", en->broken ? en->broken : "");
	}
	pthread_mutex_unlock(&op->e->lock);
	*found_out = rec != NULL;
	if (!rec)
		return CLEAT_OK;
	if (*broken)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "volume '%s' exists but cannot be used: %s", op->subject, broken);
	const char *why = misfit(op, rec);
	if (why)
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "volume '%s' exists and %s than what was asked for", op->subject,
				       why);
	op->result.already = true;
	return op_add_result(op, op->pool, rec->key, err);
}

/* Makes a stored record visible, and answers with it. */
static enum cleat_code publish_record(struct op *op, struct cleat_record *stored, enum cleat_event_kind kind,
				      struct cleat_error *err)
{
	char id[CLEAT_ID_MAX_BYTES + 1];

	pool_key_done(op->pool, stored);
	if (pool_put(op->pool, stored, err))
		return err->code;
	pool_make_id(op->pool, stored->key, id);
	emit_volume(op->e, kind, op->pool, id, stored->name, "");
	return op_add_result(op, op->pool, stored->key, err);
}

static enum cleat_code over_limit(struct op *op, struct cleat_record *stored, struct cleat_error *err)
{
	struct cleat_error second = CLEAT_ERROR_INIT;

	if (!op->req.limit_bytes || stored->capacity_bytes <= op->req.limit_bytes)
		return CLEAT_OK;
	cleat_error_set(err, CLEAT_OUT_OF_RANGE, "pool '%s' would make it %llu bytes, more than the limit of %llu", op->pool->name,
			(unsigned long long)stored->capacity_bytes, (unsigned long long)op->req.limit_bytes);
	if (op->pool->backend->remove(op->pool->instance, handle(op), stored, &second) == CLEAT_OK)
		pool_key_done(op->pool, stored);
	return err->code;
}

static enum cleat_code check_source(const struct op *op, const struct cleat_record *source, const char *fs, struct cleat_error *err)
{
	const enum cleat_access_type access = op->req.access_type ? op->req.access_type : CLEAT_ACCESS_MOUNT;

	if (!(op->pool->capabilities & CLEAT_CAN_CLONE))
		return not_able(op, "clone", err);
	if (source->access_type != access)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "source '%s' has %s access", op->id,
				       source->access_type == CLEAT_ACCESS_BLOCK ? "block" : "mount");
	if (cleat_kv_get(op->req.params, "fs") && strcmp(source->fs, fs) != 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "source '%s' has the file system '%s', not '%s'", op->id,
				       source->fs, fs);
	if (op->req.limit_bytes && source->capacity_bytes > op->req.limit_bytes)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE, "source '%s' has %llu bytes, more than the limit of %llu", op->id,
				       (unsigned long long)source->capacity_bytes, (unsigned long long)op->req.limit_bytes);
	return CLEAT_OK;
}

enum cleat_code verb_create(struct op *op, struct cleat_error *err)
{
	const struct cleat_backend *b = op->pool->backend;
	cleat_autorecord struct cleat_record *source = NULL, *wish = NULL, *stored = NULL;
	struct where_text text;
	struct cleat_where where = { NULL, NULL };
	const char *fs = wished_fs(op);
	bool found;

	if (answer_existing(op, &found, err))
		return err->code;
	if (found)
		return CLEAT_OK;
	if (check_wish(op, fs, err))
		return err->code;
	if (*op->req.source) {
		if (pool_take(op, &source, err) || check_source(op, source, fs, err))
			return err->code;
		where = stage_where(op->e, op->id, &text);
	}
	if (wished_record(op, source, fs, &wish, err))
		return err->code;
	cleat_op_step(handle(op), "create", CREATE_LIMIT_MS);
	if (b->create(op->pool->instance, handle(op), wish, source, &where, &stored, err) || over_limit(op, stored, err))
		return err->code;
	return publish_record(op, stored, CLEAT_EVENT_VOLUME_CREATED, err);
}

enum cleat_code verb_adopt(struct op *op, struct cleat_error *err)
{
	const struct cleat_backend *b = op->pool->backend;
	cleat_autorecord struct cleat_record *wish = NULL, *stored = NULL, *old = NULL;

	if (!b->adopt || !(op->pool->capabilities & CLEAT_CAN_ADOPT))
		return not_able(op, "adopt", err);
	if (!*op->req.what)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "what to adopt is missing");
	if (check_params(op, cleat_fs_find(wished_fs(op)), err))
		return err->code;
	pthread_mutex_lock(&op->e->lock);
	struct entry *en = index_by_name(&op->pool->index, CLEAT_KIND_VOLUME, op->req.scope, op->req.name);
	if (en)
		old = cleat_record_ref(en->rec);
	pthread_mutex_unlock(&op->e->lock);
	if (old) {
		const char *from = cleat_kv_get(&old->attributes, "adopted_from");
		if (!from || strcmp(from, op->req.what) != 0)
			return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "volume '%s' exists and was not adopted from '%s'",
					       op->subject, op->req.what);
		op->result.already = true;
		return op_add_result(op, op->pool, old->key, err);
	}
	if (wished_record(op, NULL, "", &wish, err))
		return err->code;
	wish->adopted = true;
	cleat_op_step(handle(op), "adopt", CREATE_LIMIT_MS);
	if (b->adopt(op->pool->instance, handle(op), wish, op->req.what, &stored, err))
		return err->code;
	return publish_record(op, stored, CLEAT_EVENT_VOLUME_CREATED, err);
}

/* ---- delete -------------------------------------------------------------------------------------------------------------------------------- */

static enum cleat_code check_attachments(const struct op *op, const struct cleat_record *rec, struct cleat_error *err)
{
	if (rec->attachment_count == 0)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "volume '%s' is in use: attached to node '%s'", op->id,
			       rec->attachments[0].node);
}

enum cleat_code verb_delete(struct op *op, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	const bool snapshot = op->verb == CLEAT_VERB_DELETE_SNAPSHOT;

	if (op->pool == op->e->own || !op->id[0])
		return op->result.already = true, CLEAT_OK;
	enum cleat_code code = pool_take(op, &rec, err);
	if (code == CLEAT_NOT_FOUND) {
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
		op->result.already = true;
		return CLEAT_OK;
	}
	if (code)
		return code;
	if (!snapshot && (claims_check_unused(op, err) || check_attachments(op, rec, err) || stage_drop_if_unused(op, err)))
		return err->code;
	cleat_op_step(handle(op), "remove", REMOVE_LIMIT_MS);
	if (op->pool->backend->remove(op->pool->instance, handle(op), rec, err))
		return err->code;
	pthread_mutex_lock(&op->e->lock);
	index_remove(&op->pool->index, rec->key);
	pthread_mutex_unlock(&op->e->lock);
	emit_volume(op->e, snapshot ? CLEAT_EVENT_SNAPSHOT_DELETED : CLEAT_EVENT_VOLUME_DELETED, op->pool, op->id, rec->name, "");
	return CLEAT_OK;
}

/* ---- expand -------------------------------------------------------------------------------------------------------------------------------- */

/* The file system of a staged volume, if it has one that can follow now. */
static enum cleat_code grow_staged(struct op *op, struct cleat_record *stored, const struct cleat_where *where,
				   struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *changed = NULL;
	bool grown = false;

	if (!*stored->fs || stored->fs_bytes >= stored->capacity_bytes || stored->access_type == CLEAT_ACCESS_BLOCK)
		return CLEAT_OK;
	if (where->stage_path) {
		cleat_op_step(handle(op), "grow the file system", CREATE_LIMIT_MS);
		if (cleat_fs_grow_mounted(cleat_fs_find(stored->fs), where->stage_path, where->device, &grown, err))
			return err->code;
	}
	op->result.grows_at_next_stage = !grown;
	if (!grown)
		return CLEAT_OK;
	if (!(changed = cleat_record_copy(stored)))
		return no_memory(err);
	changed->fs_bytes = stored->capacity_bytes;
	return store_record(op, changed, err);
}

static uint64_t size_of(const struct cleat_record *rec)
{
	const char *wish = cleat_kv_get(&rec->attributes, "requested_bytes");

	return rec->capacity_bytes ? rec->capacity_bytes : wish ? strtoull(wish, NULL, 10) : 0;
}

enum cleat_code verb_expand(struct op *op, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL, *stored = NULL;
	struct where_text text;

	if (pool_take(op, &rec, err))
		return err->code;
	if (!op->pool->backend->expand || !(op->pool->capabilities & CLEAT_CAN_EXPAND))
		return not_able(op, "expand", err);
	/* A stage of which only memory knows is none. */
	struct cleat_where where = stage_where(op->e, op->id, &text);
	if (where.stage_path && !stage_is_mounted(op->e, op->id))
		where.stage_path = NULL;
	if (op->req.capacity_bytes > size_of(rec)) {
		cleat_op_step(handle(op), "expand", CREATE_LIMIT_MS);
		if (op->pool->backend->expand(op->pool->instance, handle(op), rec, op->req.capacity_bytes, &where, &stored, err))
			return err->code;
		if (pool_put(op->pool, stored, err))
			return err->code;
		emit_volume(op->e, CLEAT_EVENT_VOLUME_CHANGED, op->pool, op->id, rec->name, "expanded");
	} else {
		if (op->req.limit_bytes && size_of(rec) > op->req.limit_bytes)
			return cleat_error_set(err, CLEAT_OUT_OF_RANGE, "volume '%s' has %llu bytes already", op->id,
					       (unsigned long long)size_of(rec));
		stored = cleat_record_ref(rec);
		op->result.already = true;
	}
	if (grow_staged(op, stored, &where, err))
		return err->code;
	return op_add_result(op, op->pool, rec->key, err);
}

/* ---- modify -------------------------------------------------------------------------------------------------------------------------------- */

static const struct cleat_param *find_param(const struct cleat_param *table, const char *key)
{
	for (; table && table->key; table++)
		if (strcmp(table->key, key) == 0)
			return table;
	return NULL;
}

static enum cleat_code check_changeable(const struct op *op, const char *key, struct cleat_error *err)
{
	const struct cleat_param *param = find_param(op->pool->backend->volume_params, key);

	if (!param)
		param = find_param(cleat_param_common, key);
	if (param && param->changeable)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "parameter '%s' cannot be changed after creation", key);
}

enum cleat_code verb_modify(struct op *op, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL, *changed = NULL;

	if (pool_take(op, &rec, err))
		return err->code;
	const struct cleat_fs *fs = *rec->fs ? cleat_fs_find(rec->fs) : NULL;
	if (check_params(op, fs, err))
		return err->code;
	if (!(changed = cleat_record_copy(rec)))
		return no_memory(err);
	for (size_t i = 0; i < op->req.params->count; i++) {
		const struct cleat_kv *kv = &op->req.params->items[i];
		const char *has = cleat_kv_get(&rec->params, kv->key);
		if (has && strcmp(has, kv->value) == 0)
			continue;
		if (check_changeable(op, kv->key, err) || cleat_kv_set(&changed->params, kv->key, kv->value, err))
			return err->code;
	}
	for (size_t i = 0; i < op->req.labels->count; i++) {
		const struct cleat_kv *kv = &op->req.labels->items[i];
		if (!*kv->value)
			cleat_kv_remove(&changed->labels, kv->key);
		else if (cleat_kv_set(&changed->labels, kv->key, kv->value, err))
			return err->code;
	}
	op->result.already = cleat_kv_equal(&rec->params, &changed->params) && cleat_kv_equal(&rec->labels, &changed->labels);
	if (!op->result.already) {
		if (store_record(op, changed, err))
			return err->code;
		emit_volume(op->e, CLEAT_EVENT_VOLUME_CHANGED, op->pool, op->id, rec->name, "modified");
	}
	return op_add_result(op, op->pool, rec->key, err);
}

/* ---- snapshots ------------------------------------------------------------------------------------------------------------------------------ */

static enum cleat_code snapshot_record(const struct op *op, const struct cleat_record *source, const char *source_id,
				       const char *name, const char *group, struct cleat_record **out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = cleat_record_new(CLEAT_KIND_SNAPSHOT);

	if (!rec)
		return no_memory(err);
	if (set_identity(rec, op, name, err) || cleat_record_set(&rec->fs, source->fs, err) ||
	    cleat_record_set(&rec->source, source_id, err) || cleat_record_set(&rec->group, group, err) ||
	    cleat_kv_copy(op->req.labels, &rec->labels, err))
		return err->code;
	rec->capacity_bytes = source->capacity_bytes;
	rec->fs_bytes = source->fs_bytes;
	rec->access_type = source->access_type;
	rec->formatted = source->formatted;
	rec->created_ms = cleat_time_wall_ms();
	*out = cleat_steal(rec);
	return CLEAT_OK;
}

static enum cleat_code check_can_snapshot(struct op *op, bool in_use, struct cleat_error *err)
{
	const unsigned can = op->pool->capabilities;

	if (!op->pool->backend->snapshot || !(can & (CLEAT_CAN_SNAPSHOT | CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY)))
		return not_able(op, "take snapshots", err);
	if ((can & CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY) && in_use)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "pool '%s' can snapshot '%s' only while it is not in use on this node", op->pool->name, op->id);
	return CLEAT_OK;
}

enum cleat_code verb_snapshot(struct op *op, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *source = NULL, *wish = NULL, *stored = NULL, *old = NULL;
	struct where_text text;

	if (pool_take(op, &source, err))
		return err->code;
	pthread_mutex_lock(&op->e->lock);
	struct entry *en = index_by_name(&op->pool->index, CLEAT_KIND_SNAPSHOT, op->req.scope, op->req.name);
	if (en)
		old = cleat_record_ref(en->rec);
	pthread_mutex_unlock(&op->e->lock);
	if (old) {
		if (strcmp(old->source, op->id) != 0)
			return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "snapshot '%s' exists, of volume '%s'", op->req.name,
					       old->source);
		op->result.already = true;
		return op_add_result(op, op->pool, old->key, err);
	}
	struct cleat_where where = stage_where(op->e, op->id, &text);
	if (check_can_snapshot(op, where.stage_path || where.device, err) ||
	    snapshot_record(op, source, op->id, op->req.name, "", &wish, err))
		return err->code;
	const struct cleat_record *sources[] = { source }, *wishes[] = { wish };
	cleat_op_step(handle(op), "snapshot", SNAPSHOT_LIMIT_MS);
	if (op->pool->backend->snapshot(op->pool->instance, handle(op), sources, &where, wishes, 1, &stored, err))
		return err->code;
	return publish_record(op, stored, CLEAT_EVENT_SNAPSHOT_CREATED, err);
}

/* Everything about the members of a group; freed as a whole. */
struct group {
	size_t count;
	char ids[CLEAT_GROUP_MAX][CLEAT_ID_MAX_BYTES + 1];
	struct cleat_record *sources[CLEAT_GROUP_MAX], *wishes[CLEAT_GROUP_MAX], *stored[CLEAT_GROUP_MAX];
	struct where_text texts[CLEAT_GROUP_MAX];
	struct cleat_where wheres[CLEAT_GROUP_MAX];
};

static void group_free(struct group **g)
{
	for (size_t i = 0; *g && i < CLEAT_GROUP_MAX; i++) {
		cleat_record_unref((*g)->sources[i]);
		cleat_record_unref((*g)->wishes[i]);
		cleat_record_unref((*g)->stored[i]);
	}
	free(*g);
}
#define autogroup __attribute__((cleanup(group_free)))

static enum cleat_code group_sources(struct op *op, struct group *g, struct cleat_error *err)
{
	g->count = op->req.volume_count;
	for (size_t i = 0; i < g->count; i++) {
		struct pool *p;
		struct entry *en;
		pthread_mutex_lock(&op->e->lock);
		enum cleat_code code = resolve_volume(op->e, op->req.volumes[i], op->req.scope, CLEAT_KIND_VOLUME, &p, &en, err);
		if (code == CLEAT_OK && (!en || en->broken))
			code = cleat_error_set(err, CLEAT_NOT_FOUND, "volume '%s' %s", op->req.volumes[i],
					       en ? "cannot be used" : "does not exist");
		if (code == CLEAT_OK) {
			g->sources[i] = cleat_record_ref(en->rec);
			pool_make_id(p, en->rec->key, g->ids[i]);
		}
		pthread_mutex_unlock(&op->e->lock);
		if (code)
			return code;
		for (size_t k = 0; k < i; k++)
			if (strcmp(g->ids[i], g->ids[k]) == 0)
				return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "volume '%s' is named twice", g->ids[i]);
		g->wheres[i] = stage_where(op->e, g->ids[i], &g->texts[i]);
	}
	return CLEAT_OK;
}

static enum cleat_code group_wishes(struct op *op, struct group *g, struct cleat_error *err)
{
	char name[CLEAT_NAME_MAX_BYTES + 8];

	for (size_t i = 0; i < g->count; i++) {
		snprintf(name, sizeof(name), "%s-%zu", op->req.name, i + 1);
		if (snapshot_record(op, g->sources[i], g->ids[i], name, op->req.name, &g->wishes[i], err))
			return err->code;
	}
	return CLEAT_OK;
}

/* A group of that name already: the same members in the same order, or a refusal. */
static enum cleat_code group_existing(struct op *op, const struct group *g, size_t *found_out, struct cleat_error *err)
{
	const char *keys[CLEAT_GROUP_MAX];
	size_t total = 0;
	enum cleat_code code = CLEAT_OK;

	*found_out = 0;
	pthread_mutex_lock(&op->e->lock);
	for (size_t i = 0; i < op->pool->index.count; i++) {
		const struct cleat_record *r = op->pool->index.by_key[i]->rec;
		total += r->kind == CLEAT_KIND_SNAPSHOT && strcmp(r->group, op->req.name) == 0 &&
			 strcmp(r->scope, op->req.scope) == 0;
	}
	for (size_t i = 0; i < g->count; i++) {
		const struct entry *en =
			index_by_name(&op->pool->index, CLEAT_KIND_SNAPSHOT, op->req.scope, g->wishes[i]->name);
		if (en && (strcmp(en->rec->source, g->ids[i]) != 0 || strcmp(en->rec->group, op->req.name) != 0))
			code = cleat_error_set(err, CLEAT_ALREADY_EXISTS, "snapshot '%s' exists, of volume '%s'", en->rec->name,
					       en->rec->source);
		else if (en)
			keys[(*found_out)++] = en->rec->key;
	}
	pthread_mutex_unlock(&op->e->lock);
	if (code == CLEAT_OK && total != *found_out)
		code = cleat_error_set(err, CLEAT_ALREADY_EXISTS, "group snapshot '%s' exists with %zu members", op->req.name, total);
	for (size_t i = 0; code == CLEAT_OK && *found_out == g->count && i < g->count; i++)
		code = op_add_result(op, op->pool, keys[i], err);
	return code;
}

/* A group that was cut off is no point in time: its members go, and it is taken anew. */
static enum cleat_code group_remove_partial(struct op *op, const struct group *g, struct cleat_error *err)
{
	for (size_t i = 0; i < g->count; i++) {
		cleat_autorecord struct cleat_record *rec = NULL;
		pthread_mutex_lock(&op->e->lock);
		struct entry *en = index_by_name(&op->pool->index, CLEAT_KIND_SNAPSHOT, op->req.scope, g->wishes[i]->name);
		if (en)
			rec = cleat_record_ref(en->rec);
		pthread_mutex_unlock(&op->e->lock);
		if (!rec)
			continue;
		if (op->pool->backend->remove(op->pool->instance, handle(op), rec, err))
			return err->code;
		pthread_mutex_lock(&op->e->lock);
		index_remove(&op->pool->index, rec->key);
		pthread_mutex_unlock(&op->e->lock);
	}
	return CLEAT_OK;
}

enum cleat_code verb_group_snapshot(struct op *op, struct cleat_error *err)
{
	autogroup struct group *g = calloc(1, sizeof(*g));
	size_t found;

	if (!g)
		return no_memory(err);
	if (!(op->pool->capabilities & CLEAT_CAN_GROUP_SNAPSHOT))
		return not_able(op, "take group snapshots", err);
	if (group_sources(op, g, err) || group_wishes(op, g, err) || group_existing(op, g, &found, err))
		return err->code;
	if (found == g->count)
		return op->result.already = true, CLEAT_OK;
	if (found && group_remove_partial(op, g, err))
		return err->code;
	cleat_op_step(handle(op), "group snapshot", SNAPSHOT_LIMIT_MS);
	if (op->pool->backend->snapshot(op->pool->instance, handle(op), (const struct cleat_record *const *)g->sources, g->wheres,
					(const struct cleat_record *const *)g->wishes, g->count, g->stored, err))
		return err->code;
	for (size_t i = 0; i < g->count; i++)
		if (publish_record(op, g->stored[i], CLEAT_EVENT_SNAPSHOT_CREATED, err))
			return err->code;
	return CLEAT_OK;
}

/* ---- attachments ---------------------------------------------------------------------------------------------------------------------------- */

static bool is_single_node(enum cleat_access_mode mode)
{
	return mode != CLEAT_MODE_MULTI_NODE_READER_ONLY && mode != CLEAT_MODE_MULTI_NODE_SINGLE_WRITER &&
	       mode != CLEAT_MODE_MULTI_NODE_MULTI_WRITER;
}

static struct cleat_attachment *find_attachment(const struct cleat_record *rec, const char *node)
{
	for (size_t i = 0; i < rec->attachment_count; i++)
		if (strcmp(rec->attachments[i].node, node) == 0)
			return &rec->attachments[i];
	return NULL;
}

static enum cleat_code check_node(const struct op *op, const char *node, struct cleat_error *err)
{
	if (op->pool->id.shared || strcmp(node, op->e->node) == 0)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_NOT_FOUND, "volume '%s' is local to node '%s' and cannot be attached to '%s'", op->id,
			       op->e->node, node);
}

static size_t attached_to(struct cleat_engine *e, const char *node)
{
	size_t n = 0;

	pthread_mutex_lock(&e->lock);
	for (size_t i = 0; i < e->pool_count; i++)
		for (size_t k = 0; k < e->pools[i]->index.count; k++)
			n += find_attachment(e->pools[i]->index.by_key[k]->rec, node) != NULL;
	pthread_mutex_unlock(&e->lock);
	return n;
}

static enum cleat_code check_node_limit(struct op *op, const char *node, struct cleat_error *err)
{
	if (!op->req.node_limit || attached_to(op->e, node) < op->req.node_limit)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "node '%s' has its %u volumes already", node, op->req.node_limit);
}

static enum cleat_code add_attachment(struct cleat_record *rec, const char *node, enum cleat_access_mode mode, bool read_only,
				      struct cleat_error *err)
{
	if (rec->attachment_count >= CLEAT_ATTACHMENTS_MAX)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "attached to %d nodes already", CLEAT_ATTACHMENTS_MAX);
	struct cleat_attachment *grown = realloc(rec->attachments, (rec->attachment_count + 1) * sizeof(*grown));
	if (!grown)
		return no_memory(err);
	rec->attachments = grown;
	char *copy = strdup(node);
	if (!copy)
		return no_memory(err);
	grown[rec->attachment_count++] = (struct cleat_attachment){ copy, mode, read_only };
	return CLEAT_OK;
}

static void drop_attachments(struct cleat_record *rec)
{
	while (rec->attachment_count)
		free(rec->attachments[--rec->attachment_count].node);
}

enum cleat_code verb_attach(struct op *op, struct cleat_error *err)
{
	const char *node = *op->req.node ? op->req.node : op->e->node;
	const enum cleat_access_mode mode = op->req.mode ? op->req.mode : CLEAT_MODE_SINGLE_NODE_WRITER;
	cleat_autorecord struct cleat_record *rec = NULL, *changed = NULL;

	if (pool_take(op, &rec, err) || check_node(op, node, err))
		return err->code;
	const struct cleat_attachment *old = find_attachment(rec, node);
	if (old && (old->mode != mode || old->read_only != op->req.read_only))
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "volume '%s' is attached to node '%s' with access mode %d%s",
				       op->id, node, (int)old->mode, old->read_only ? ", read-only" : "");
	if (old)
		return op->result.already = true, CLEAT_OK;
	const bool far_side_decides = (op->pool->capabilities & CLEAT_CAN_ATTACH) && !(op->pool->capabilities & CLEAT_CAN_MULTI_NODE);
	for (size_t i = 0; i < rec->attachment_count && !far_side_decides; i++)
		if (is_single_node(mode) || is_single_node(rec->attachments[i].mode))
			return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "volume '%s' is in use: attached to node '%s'",
					       op->id, rec->attachments[i].node);
	if (check_node_limit(op, node, err))
		return err->code;
	if (op->pool->backend->attach &&
	    op->pool->backend->attach(op->pool->instance, handle(op), rec, node, op->req.read_only, err))
		return err->code;
	if (!(changed = cleat_record_copy(rec)))
		return no_memory(err);
	if (far_side_decides)
		drop_attachments(changed); /* it has no other any more, or this one would have been refused */
	if (add_attachment(changed, node, mode, op->req.read_only, err) || store_record(op, changed, err))
		return err->code;
	emit_volume(op->e, CLEAT_EVENT_ATTACHED, op->pool, op->id, rec->name, node);
	return CLEAT_OK;
}

enum cleat_code verb_detach(struct op *op, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL, *changed = NULL;
	const char *node = op->req.node;

	if (op->pool == op->e->own || !op->id[0])
		return op->result.already = true, CLEAT_OK;
	enum cleat_code code = pool_take(op, &rec, err);
	if (code == CLEAT_NOT_FOUND)
		return *err = (struct cleat_error)CLEAT_ERROR_INIT, op->result.already = true, CLEAT_OK;
	if (code)
		return code;
	const bool evict = op->req.force && op->pool->backend->evict;
	if (!evict && (*node ? !find_attachment(rec, node) : rec->attachment_count == 0))
		return op->result.already = true, CLEAT_OK;
	if (evict && op->pool->backend->evict(op->pool->instance, handle(op), rec, node, err))
		return err->code;
	if (!evict && op->pool->backend->detach && op->pool->backend->detach(op->pool->instance, handle(op), rec, node, err))
		return err->code;
	if (!(changed = cleat_record_copy(rec)))
		return no_memory(err);
	size_t kept = 0;
	for (size_t i = 0; i < changed->attachment_count; i++) {
		if (*node && strcmp(changed->attachments[i].node, node) != 0)
			changed->attachments[kept++] = changed->attachments[i];
		else
			free(changed->attachments[i].node);
	}
	changed->attachment_count = kept;
	if (store_record(op, changed, err))
		return err->code;
	emit_volume(op->e, CLEAT_EVENT_DETACHED, op->pool, op->id, rec->name, node);
	return CLEAT_OK;
}

/* ---- looking ---------------------------------------------------------------------------------------------------------------------------------- */

static enum cleat_code usage_of_mount(const char *path, struct cleat_usage *out, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	struct cleat_sys_space space;

	if (cleat_sys_open_root(path, &fd, err) || cleat_sys_space(fd, path, &space, err))
		return err->code;
	*out = (struct cleat_usage){ .total_bytes = space.total_bytes,
				     .used_bytes = space.total_bytes - space.free_bytes,
				     .available_bytes = space.available_bytes,
				     .total_inodes = space.total_inodes,
				     .used_inodes = space.total_inodes - space.free_inodes,
				     .available_inodes = space.free_inodes };
	return CLEAT_OK;
}

/* Some look at a block volume by a device node of their own, bound from the one that was published: kubelet does. */
static enum cleat_code check_device_at(const struct op *op, const struct cleat_where *where, struct cleat_error *err)
{
	struct cleat_sys_place at = { 0 }, device = { 0 };

	if (where->device && !cleat_sys_look(AT_FDCWD, where->device, &device, NULL) &&
	    !cleat_sys_look(AT_FDCWD, op->req.target, &at, NULL) && S_ISBLK(device.mode) && S_ISBLK(at.mode) && at.rdev == device.rdev)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_NOT_FOUND, "volume '%s' is not at '%.200s'", op->id, op->req.target);
}

enum cleat_code verb_usage(struct op *op, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	const struct cleat_backend *b = op->pool->backend;
	struct where_text text;

	if (pool_take(op, &rec, err))
		return err->code;
	struct cleat_where where = stage_where(op->e, op->id, &text);
	cleat_op_step(handle(op), "read usage", LOOK_LIMIT_MS);
	if (op->req.target[0] && rec->access_type == CLEAT_ACCESS_BLOCK && check_device_at(op, &where, err))
		return err->code;
	if (b->usage) {
		enum cleat_code code = b->usage(op->pool->instance, handle(op), rec, &where, &op->result.usage, err);
		if (code != CLEAT_UNIMPLEMENTED)
			return code;
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
	}
	if (rec->access_type == CLEAT_ACCESS_BLOCK) {
		op->result.usage.total_bytes = rec->capacity_bytes;
		return CLEAT_OK;
	}
	if (!where.stage_path || !stage_is_mounted(op->e, op->id))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "usage of '%s' is known only while it is staged here", op->id);
	return usage_of_mount(where.stage_path, &op->result.usage, err);
}

/* A file system that met an error has made itself read-only under us. */
static const char *look_at_stage(struct op *op, const struct cleat_where *where, struct cleat_error *found)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT;
	bool read_only = false;

	if (!where->stage_path)
		return "";
	if (!stage_is_mounted(op->e, op->id)) {
		cleat_error_set(found, CLEAT_UNAVAILABLE, "its mount at '%s' is lost", where->stage_path);
		return "MountLost";
	}
	if (cleat_sys_mount_is_read_only(where->stage_path, &read_only, &ignored) || !read_only)
		return "";
	cleat_error_set(found, CLEAT_FAILED_PRECONDITION, "its file system has become read-only: see the kernel's log");
	return "FileSystemReadOnly";
}

/* The first thing that is wrong, in one word and in found. */
static const char *look_at_volume(struct op *op, const struct cleat_record *rec, struct cleat_error *found)
{
	const struct cleat_backend *b = op->pool->backend;
	struct where_text text;
	struct cleat_where where = stage_where(op->e, op->id, &text);

	pthread_mutex_lock(&op->e->lock);
	struct entry *en = index_by_key(&op->pool->index, rec->key);
	if (en && en->broken)
		cleat_error_set(found, CLEAT_DATA_LOSS, "%s", en->broken);
	pthread_mutex_unlock(&op->e->lock);
	if (found->code)
		return "RecordUnreadable";
	if (b->health && b->health(op->pool->instance, handle(op), rec, found))
		return found->code == CLEAT_DATA_LOSS ? "DataDamaged" : "StorageError";
	return look_at_stage(op, &where, found);
}

enum cleat_code verb_health(struct op *op, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	struct cleat_error found = CLEAT_ERROR_INIT;

	if (pool_take(op, &rec, err))
		return err->code;
	cleat_op_step(handle(op), "check health", LOOK_LIMIT_MS);
	const char *reason = look_at_volume(op, rec, &found);
	if (found.code && op->again_ms > 0) {
		*err = found; /* "not yet" is no answer */
		return err->code;
	}
	op->result.healthy = found.code == CLEAT_OK;
	op->result.health_reason = reason;
	op->result.health_code = found.code;
	op->result.health_text = strdup(found.msg);
	return op->result.health_text ? CLEAT_OK : no_memory(err);
}
