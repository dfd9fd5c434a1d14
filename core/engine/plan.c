/* plan.c - what a request means now: which pool and volume it names, and which resources it needs for itself.
 *
 * Planned again each time a waiting operation is looked at, because names may have come and gone meanwhile.  Everything here wants
 * engine.lock held.
 */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "util/ids.h"

static enum cleat_code check_scope(const struct pool *p, const struct entry *en, const char *scope, struct cleat_error *err)
{
	const char *allowed = cleat_kv_get(&en->rec->params, "allow_scopes");

	if (!scope || !*scope || strcmp(scope, en->rec->scope) == 0 || p->cfg.cross_scope)
		return CLEAT_OK;
	const size_t n = strlen(scope);
	for (const char *at = allowed; at && *at;) {
		size_t word = strcspn(at, ",");
		if ((word == 1 && *at == '*') || (word == n && memcmp(at, scope, n) == 0))
			return CLEAT_OK;
		at += word + (at[word] == ',');
	}
	return cleat_error_set(err, CLEAT_PERMISSION_DENIED, "'%s' belongs to scope '%s' and is not allowed in scope '%s'",
			       en->rec->name, en->rec->scope, scope);
}

static enum cleat_code finish(struct pool *p, struct entry *en, const char *scope, struct pool **pool_out,
			      struct entry **entry_out, struct cleat_error *err)
{
	if (en && check_scope(p, en, scope, err))
		return CLEAT_PERMISSION_DENIED;
	*pool_out = p;
	*entry_out = en;
	return CLEAT_OK;
}

static enum cleat_code resolve_name(struct cleat_engine *e, const char *ref, const char *slash, const char *scope,
				    enum cleat_kind kind, struct pool **pool_out, struct entry **entry_out,
				    struct cleat_error *err)
{
	char pool_name[CLEAT_POOL_NAME_MAX_BYTES + 1] = "";
	const char *name = slash ? slash + 1 : ref;

	if (slash)
		snprintf(pool_name, sizeof(pool_name), "%.*s", (int)(slash - ref), ref);
	struct pool *p = pool_by_name(e, pool_name);
	if (!p && slash)
		p = pool_by_stored_name(e, ref, (size_t)(slash - ref));
	if (!p)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "'%s': this node has no pool '%s'", ref, pool_name);
	struct entry *en = index_by_name(&p->index, kind, scope ? scope : "", name);
	if (!en && scope && *scope)
		en = index_by_name(&p->index, kind, "", name);
	return finish(p, en, scope, pool_out, entry_out, err);
}

enum cleat_code resolve_volume(struct cleat_engine *e, const char *ref, const char *scope, enum cleat_kind kind,
			       struct pool **pool_out, struct entry **entry_out, struct cleat_error *err)
{
	const char *slash = strchr(ref, '/'), *dot = strchr(ref, '.');

	*pool_out = NULL;
	*entry_out = NULL;
	if (slash || !dot)
		return resolve_name(e, ref, slash, scope, kind, pool_out, entry_out, err);
	struct pool *p = pool_by_stored_name(e, ref, (size_t)(dot - ref));
	if (!p) {
		/* A plain name in the default pool may hold a dot. */
		p = pool_by_name(e, "");
		struct entry *en = p ? index_by_name(&p->index, kind, scope ? scope : "", ref) : NULL;
		if (en)
			return finish(p, en, scope, pool_out, entry_out, err);
		return cleat_error_set(err, CLEAT_NOT_FOUND, "'%s': this node ('%s') serves no pool '%.*s'", ref, e->node,
				       (int)(dot - ref), ref);
	}
	struct entry *en = index_by_key(&p->index, dot + 1);
	if (en && en->rec->kind != kind)
		en = NULL;
	return finish(p, en, scope, pool_out, entry_out, err);
}

/* ---- resources ---------------------------------------------------------------------------------------------------------------- */

static void need(struct op *op, uint64_t hash)
{
	if (op->resource_count < MAX_RESOURCES)
		op->resources[op->resource_count++] = hash;
}

static void need_id(struct op *op, const char *id)
{
	need(op, cleat_id_hash(id, strlen(id), 1));
}

static void need_name(struct op *op, const struct pool *p, enum cleat_kind kind, const char *scope, const char *name)
{
	uint64_t h = cleat_id_hash(p->name, strlen(p->name) + 1, 2 + (uint64_t)kind);

	h = cleat_id_hash(scope, strlen(scope) + 1, h);
	need(op, cleat_id_hash(name, strlen(name), h));
}

static void subject(struct op *op, const char *a, const char *b)
{
	snprintf(op->subject, sizeof(op->subject), "%s%s%s", a, *b ? "/" : "", b);
}

/* Verbs that only take away what is on this node: they must work while the pool is offline. */
static bool only_releases(int verb)
{
	return verb == CLEAT_VERB_UNPUBLISH || verb == CLEAT_VERB_UNSTAGE || verb == CLEAT_VERB_RELEASE ||
	       verb == VERB_RECONCILE || verb == VERB_PROBE_POOL || verb == VERB_OPEN_POOL;
}

static bool changes_storage(int verb)
{
	switch (verb) {
	case CLEAT_VERB_CREATE:
	case CLEAT_VERB_ADOPT:
	case CLEAT_VERB_DELETE:
	case CLEAT_VERB_EXPAND:
	case CLEAT_VERB_MODIFY:
	case CLEAT_VERB_SNAPSHOT:
	case CLEAT_VERB_GROUP_SNAPSHOT:
	case CLEAT_VERB_DELETE_SNAPSHOT:
		return true;
	default:
		return false;
	}
}

static enum cleat_code check_pool(const struct op *op, struct cleat_error *err)
{
	struct pool *p = op->pool;

	if (p == op->e->own || only_releases(op->verb) || p->phase == POOL_OPENING)
		return CLEAT_OK; /* opening: blocker() makes the operation wait */
	if (p->phase == POOL_OFFLINE)
		pool_hurry(p); /* somebody wants it: look sooner whether it is back */
	if (p->phase == POOL_OFFLINE)
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "pool '%s' is offline: %s", p->name, p->reason);
	if (p->id.read_only && changes_storage(op->verb))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "pool '%s' is read-only: %s", p->name, p->reason);
	return CLEAT_OK;
}

static enum cleat_code plan_new(struct op *op, enum cleat_kind kind, struct cleat_error *err)
{
	const struct cleat_request *req = &op->req;
	struct pool *source_pool;
	struct entry *source;

	op->pool = pool_by_name(op->e, req->pool);
	if (!op->pool)
		return cleat_error_set(err, CLEAT_NOT_FOUND, *req->pool ? "this node has no pool '%s'" : "this node has no pool%s",
				       req->pool);
	subject(op, op->pool->name, req->name);
	need_name(op, op->pool, kind, req->scope, req->name);
	if (!*req->source || op->pool->phase == POOL_OPENING)
		return CLEAT_OK;
	if (resolve_volume(op->e, req->source, req->scope, CLEAT_KIND_SNAPSHOT, &source_pool, &source, err) == CLEAT_OK &&
	    !source &&
	    resolve_volume(op->e, req->source, req->scope, CLEAT_KIND_VOLUME, &source_pool, &source, err))
		return err->code;
	if (!source) {
		if (err->code == CLEAT_PERMISSION_DENIED)
			return err->code;
		if (op->pool->id.shared && op->pool->backend->find && !op->refreshed)
			return *err = (struct cleat_error)CLEAT_ERROR_INIT, CLEAT_OK; /* another node may have made it: see refresh.c */
		return cleat_error_set(err, CLEAT_NOT_FOUND, "source '%s' does not exist", req->source);
	}
	if (source_pool != op->pool)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "source '%s' is in pool '%s', not in '%s'", req->source,
				       source_pool->name, op->pool->name);
	pool_make_id(source_pool, source->rec->key, op->id);
	need_id(op, op->id);
	return CLEAT_OK;
}

/* An id that is none of ours at all ("gone is done" for releases and deletions), or the error of resolve_volume(). */
static bool is_no_id(const char *ref)
{
	return !strchr(ref, '.') && !strchr(ref, '/');
}

static bool gone_is_done(int verb)
{
	return verb == CLEAT_VERB_DELETE || verb == CLEAT_VERB_DELETE_SNAPSHOT || verb == CLEAT_VERB_UNPUBLISH ||
	       verb == CLEAT_VERB_UNSTAGE || verb == CLEAT_VERB_DETACH || verb == VERB_RECONCILE || verb == CLEAT_VERB_RELEASE;
}

static enum cleat_code plan_volume(struct op *op, struct cleat_error *err)
{
	const struct cleat_request *req = &op->req;
	const enum cleat_kind kind = op->verb == CLEAT_VERB_DELETE_SNAPSHOT ? CLEAT_KIND_SNAPSHOT : CLEAT_KIND_VOLUME;
	struct entry *en;

	subject(op, req->volume, "");
	enum cleat_code code = resolve_volume(op->e, req->volume, req->scope, kind, &op->pool, &en, err);
	if (code == CLEAT_NOT_FOUND && gone_is_done(op->verb) && (is_no_id(req->volume) || node_find(op->e, req->volume)))
		op->pool = op->e->own;
	else if (code)
		return code;
	if (op->pool == op->e->own && is_no_id(req->volume) && op->pool->phase == POOL_ONLINE)
		return CLEAT_OK;
	if (en) {
		pool_make_id(op->pool, en->rec->key, op->id);
		need_id(op, op->id);
		need_name(op, op->pool, en->rec->kind, en->rec->scope, en->rec->name);
		subject(op, op->id, "");
		return CLEAT_OK;
	}
	/* By id: what is still staged or claimed here although the record is gone. */
	if (strchr(req->volume, '.') && !strchr(req->volume, '/') && strlen(req->volume) <= CLEAT_ID_MAX_BYTES) {
		snprintf(op->id, sizeof(op->id), "%s", req->volume);
		need_id(op, op->id);
	} else {
		const char *slash = strchr(req->volume, '/');
		need_name(op, op->pool, kind, req->scope, slash ? slash + 1 : req->volume);
	}
	return CLEAT_OK;
}

static enum cleat_code plan_snapshot(struct op *op, struct cleat_error *err)
{
	if (plan_volume(op, err))
		return err->code;
	if (op->pool != op->e->own)
		need_name(op, op->pool, CLEAT_KIND_SNAPSHOT, op->req.scope, op->req.name);
	return CLEAT_OK;
}

static enum cleat_code plan_group(struct op *op, struct cleat_error *err)
{
	const struct cleat_request *req = &op->req;

	for (size_t i = 0; i < req->volume_count; i++) {
		struct pool *p;
		struct entry *en;
		char id[CLEAT_ID_MAX_BYTES + 1];
		if (resolve_volume(op->e, req->volumes[i], req->scope, CLEAT_KIND_VOLUME, &p, &en, err))
			return err->code;
		if (op->pool && p != op->pool)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "a group snapshot takes volumes of one pool: '%s' is in '%s', not in '%s'",
					       req->volumes[i], p->name, op->pool->name);
		op->pool = p;
		if (!en && p->phase == POOL_ONLINE)
			return cleat_error_set(err, CLEAT_NOT_FOUND, "volume '%s' does not exist", req->volumes[i]);
		if (!en)
			continue;
		pool_make_id(p, en->rec->key, id);
		need_id(op, id);
	}
	subject(op, op->pool->name, req->name);
	need(op, cleat_id_hash(op->subject, strlen(op->subject), 9));
	return CLEAT_OK;
}

/* Attaching under a limit needs the node for itself, so that two do not take its last place. */
static enum cleat_code plan_attach(struct op *op, struct cleat_error *err)
{
	const char *node = *op->req.node ? op->req.node : op->e->node;

	if (plan_volume(op, err))
		return err->code;
	if (op->req.node_limit)
		need(op, cleat_id_hash(node, strlen(node), 10));
	return CLEAT_OK;
}

static enum cleat_code plan_pool(struct op *op, struct cleat_error *err)
{
	op->pool = pool_by_name(op->e, op->req.pool);
	if (!op->pool)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "this node has no pool '%s'", op->req.pool);
	subject(op, op->pool->name, "");
	return CLEAT_OK;
}

static enum cleat_code plan_verb(struct op *op, struct cleat_error *err)
{
	switch (op->verb) {
	case CLEAT_VERB_CREATE:
	case CLEAT_VERB_ADOPT:
		return plan_new(op, CLEAT_KIND_VOLUME, err);
	case CLEAT_VERB_SNAPSHOT:
		return plan_snapshot(op, err);
	case CLEAT_VERB_GROUP_SNAPSHOT:
		return plan_group(op, err);
	case CLEAT_VERB_ATTACH:
		return plan_attach(op, err);
	case CLEAT_VERB_POOL_SPACE:
	case VERB_EXAMINE_POOL:
		return plan_pool(op, err);
	case CLEAT_VERB_DOCTOR:
		op->pool = op->e->own;
		subject(op, "node", op->e->node);
		need(op, 3);
		return CLEAT_OK;
	case VERB_OPEN_POOL:
	case VERB_PROBE_POOL:
		subject(op, op->pool->name, "");
		return CLEAT_OK;
	default:
		return plan_volume(op, err);
	}
}

enum cleat_code plan(struct op *op, struct cleat_error *err)
{
	struct pool *inner = op->verb >= CLEAT_VERB_COUNT && op->verb != VERB_EXAMINE_POOL ? op->pool : NULL;

	op->resource_count = 0;
	op->id[0] = '\0';
	op->pool = inner;
	if (plan_verb(op, err)) {
		if (!op->pool)
			op->pool = inner;
		return err->code;
	}
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	if (check_pool(op, err))
		return err->code;
	return CLEAT_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------------- */

void state_fill(struct cleat_engine *e, struct pool *p, struct entry *en, struct cleat_volume_state *out)
{
	memset(out, 0, sizeof(*out));
	out->record = cleat_record_ref(en->rec);
	pool_make_id(p, en->rec->key, out->id);
	snprintf(out->pool, sizeof(out->pool), "%s", p->name);
	struct node_volume *nv = node_find(e, out->id);
	out->claim_count = (unsigned)node_claim_total(nv, false);
	out->staged = nv && nv->staged;
	out->stuck_since_ms = en->stuck_since_ms;
	if (en->broken)
		snprintf(out->problem, sizeof(out->problem), "%s", en->broken);
	else if (en->rec->format > CLEAT_RECORD_FORMAT)
		snprintf(out->problem, sizeof(out->problem), "its record has format %u, newer than this release's %d: read-only",
			 en->rec->format, CLEAT_RECORD_FORMAT);
}

void cleat_volume_state_done(struct cleat_volume_state *v)
{
	cleat_record_unref(v->record);
	v->record = NULL;
}

enum cleat_code cleat_volume_get(struct cleat_engine *e, const char *volume, const char *scope, enum cleat_kind kind,
				 struct cleat_volume_state *out, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct pool *p;
	struct entry *en;

	pthread_mutex_lock(&e->lock);
	enum cleat_code code = resolve_volume(e, volume, scope, kind ? kind : CLEAT_KIND_VOLUME, &p, &en, &own);
	if (code == CLEAT_OK && !en && p->phase != POOL_ONLINE && !p->ever_opened)
		code = cleat_error_set(&own, CLEAT_UNAVAILABLE, "pool '%s' is %s", p->name,
				       p->phase == POOL_OPENING ? "still opening" : "offline");
	else if (code == CLEAT_OK && !en)
		code = cleat_error_set(&own, CLEAT_NOT_FOUND, "%s '%s' does not exist",
				       kind == CLEAT_KIND_SNAPSHOT ? "snapshot" : "volume", volume);
	if (code == CLEAT_OK)
		state_fill(e, p, en, out);
	pthread_mutex_unlock(&e->lock);
	if (code && err)
		*err = own;
	return code;
}
