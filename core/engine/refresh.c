/* refresh.c - pools that several nodes change: before an operation on a volume, its record is asked for anew.
 *
 * Memory holds what was there when the pool was opened, and what this node did since.  Other nodes create,
 * change and delete volumes, too, so whoever names one gets what is stored now; while nobody asks for
 * anything, nothing is asked of the far side.
 */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#define FIND_LIMIT_MS 120000

/* Verbs that need the record as it is now.  Creations look for their name themselves; releases must work
 * whatever the far side does. */
static bool needs_record(const struct op *op)
{
	switch (op->verb) {
	case CLEAT_VERB_CREATE:
		return *op->req.source;
	case CLEAT_VERB_DELETE:
	case CLEAT_VERB_DELETE_SNAPSHOT:
	case CLEAT_VERB_EXPAND:
	case CLEAT_VERB_MODIFY:
	case CLEAT_VERB_SNAPSHOT:
	case CLEAT_VERB_ATTACH:
	case CLEAT_VERB_DETACH:
	case CLEAT_VERB_STAGE:
	case CLEAT_VERB_PUBLISH:
	case CLEAT_VERB_USAGE:
	case CLEAT_VERB_HEALTH:
		return true;
	default:
		return false;
	}
}

bool refresh_is_due(const struct op *op)
{
	const struct pool *p = op->pool;

	return p && p != op->e->own && !op->refreshed && p->instance && p->id.shared && p->backend->find &&
	       needs_record(op);
}

/* What the request names: a key, or "" and a name. */
static const char *reference(const struct op *op, const char **name_out)
{
	const char *ref = op->verb == CLEAT_VERB_CREATE ? op->req.source : op->req.volume;
	const char *slash = strchr(ref, '/'), *dot = strchr(ref, '.');
	const size_t stored = strlen(op->pool->id.stored_name);

	*name_out = slash ? slash + 1 : ref;
	if (slash || !dot || (size_t)(dot - ref) != stored ||
	    strncmp(ref, op->pool->id.stored_name, stored) != 0)
		return "";
	return dot + 1;
}

/* With the lock: the entry that the request meant until now. */
static struct entry *known(struct op *op, enum cleat_kind kind)
{
	const char *name, *key = reference(op, &name);
	const char *scope = op->req.scope ? op->req.scope : "";

	if (*key)
		return index_by_key(&op->pool->index, key);
	struct entry *en = index_by_name(&op->pool->index, kind, scope, name);
	return en ? en : index_by_name(&op->pool->index, kind, "", name);
}

/* What has that name in memory, if it still has it there: asked by key, because searching by name may lag
 * behind at the far side. */
static enum cleat_code find_known(struct op *op, enum cleat_kind kind, struct cleat_record **out,
				  struct cleat_error *err)
{
	struct pool *p = op->pool;
	cleat_autorecord struct cleat_record *old = NULL, *now = NULL;

	pthread_mutex_lock(&op->e->lock);
	struct entry *en = known(op, kind);
	if (en)
		old = cleat_record_ref(en->rec);
	pthread_mutex_unlock(&op->e->lock);
	if (!old)
		return CLEAT_OK;
	if (p->backend->find(p->instance, (struct cleat_op *)op, kind, old->key, "", "", &now, err))
		return err->code;
	if (now && strcmp(now->name, old->name) == 0 && strcmp(now->scope, old->scope) == 0)
		*out = cleat_steal(now);
	return CLEAT_OK;
}

static enum cleat_code find(struct op *op, enum cleat_kind kind, struct cleat_record **out,
			    struct cleat_error *err)
{
	struct pool *p = op->pool;
	struct cleat_op *handle = (struct cleat_op *)op;
	const char *name, *key = reference(op, &name);
	const char *scope = op->req.scope ? op->req.scope : "";

	cleat_op_step(handle, "ask for the record", FIND_LIMIT_MS);
	if (!*key && find_known(op, kind, out, err))
		return err->code;
	if (*out)
		return CLEAT_OK;
	if (p->backend->find(p->instance, handle, kind, key, scope, name, out, err))
		return err->code;
	if (*out || *key || !*scope)
		return CLEAT_OK;
	return p->backend->find(p->instance, handle, kind, key, "", name, out, err);
}

/* Takes over what was found.  What is gone stays known only while this node still uses it. */
static enum cleat_code take_in(struct op *op, enum cleat_kind kind, struct cleat_record *rec,
			       struct cleat_error *err)
{
	struct pool *p = op->pool;
	enum cleat_code code = CLEAT_OK;
	char id[CLEAT_ID_MAX_BYTES + 1] = "";

	pthread_mutex_lock(&op->e->lock);
	struct entry *old = known(op, kind);
	if (old && (!rec || strcmp(old->rec->key, rec->key) != 0)) {
		pool_make_id(p, old->rec->key, id);
		if (!node_find(op->e, id))
			index_remove(&p->index, old->rec->key);
		else
			id[0] = '\0';
	}
	if (rec)
		code = index_put(&p->index, rec, NULL, err);
	pthread_mutex_unlock(&op->e->lock);
	if (id[0])
		emit_volume(op->e,
			    kind == CLEAT_KIND_SNAPSHOT ? CLEAT_EVENT_SNAPSHOT_DELETED
							: CLEAT_EVENT_VOLUME_DELETED,
			    p, id, "", "by another node");
	return code;
}

enum cleat_code refresh_record(struct op *op, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	enum cleat_kind kind = op->verb == CLEAT_VERB_DELETE_SNAPSHOT || op->verb == CLEAT_VERB_CREATE
				       ? CLEAT_KIND_SNAPSHOT
				       : CLEAT_KIND_VOLUME;

	if (find(op, kind, &rec, err))
		return err->code;
	if (!rec && op->verb == CLEAT_VERB_CREATE) {
		kind = CLEAT_KIND_VOLUME;
		if (find(op, kind, &rec, err))
			return err->code;
	}
	op->refreshed = true;
	return take_in(op, kind, rec, err);
}
