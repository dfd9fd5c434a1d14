/* doctor.c - compares records, node facts, mount table and storage, explains what does not fit, and repairs what is safe to repair. */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "util/buf.h"

#define DOCTOR_LIMIT_MS 60000
#define HEALTH_LIMIT_MS 5000 /* for one volume; a pool over that is not asked further */
#define REPAIR_LIMIT_MS 10000

static enum cleat_code add_finding(struct op *op, bool fixable, bool fixed, const char *subject, const char *problem,
				   const char *remedy, struct cleat_error *err)
{
	struct cleat_result *r = &op->result;
	struct cleat_finding *grown = realloc(r->findings, (r->finding_count + 1) * sizeof(*grown));

	if (!grown)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	r->findings = grown;
	struct cleat_finding *f = &grown[r->finding_count];
	*f = (struct cleat_finding){ strdup(subject), strdup(problem), strdup(remedy), fixable, fixed };
	if (!f->subject || !f->problem || !f->remedy) {
		free(f->subject);
		free(f->problem);
		free(f->remedy);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	r->finding_count++;
	return CLEAT_OK;
}

/* What one pool tells, gathered under the lock. */
struct list {
	char (*ids)[CLEAT_ID_MAX_BYTES + 1];
	char **texts;
	size_t count;
};

static void list_done(struct list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->texts[i]);
	free(l->texts);
	free(l->ids);
}
#define autolist __attribute__((cleanup(list_done)))

static enum cleat_code list_room(struct list *l, size_t room, struct cleat_error *err)
{
	l->ids = calloc(room + 1, sizeof(*l->ids));
	l->texts = calloc(room + 1, sizeof(char *));
	return l->ids && l->texts ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static void list_add(struct list *l, const char *id, const char *text)
{
	snprintf(l->ids[l->count], sizeof(l->ids[0]), "%s", id);
	l->texts[l->count++] = strdup(text ? text : "");
}

/* ---- pools and records ---------------------------------------------------------------------------------------------------------------------- */

/* The pool's records with the reason why one cannot be used, or an empty text. */
static enum cleat_code gather_records(struct cleat_engine *e, struct pool *p, struct list *l, struct cleat_error *err)
{
	char id[CLEAT_ID_MAX_BYTES + 1];

	pthread_mutex_lock(&e->lock);
	enum cleat_code code = list_room(l, p->index.count, err);
	for (size_t i = 0; code == CLEAT_OK && i < p->index.count; i++) {
		const struct entry *en = p->index.by_key[i];
		pool_make_id(p, en->rec->key, id);
		if (en->broken || en->rec->kind == CLEAT_KIND_VOLUME)
			list_add(l, id, en->broken);
	}
	pthread_mutex_unlock(&e->lock);
	return code;
}

/* An operation of its own in the pool's lane, like any other, so that a pool that hangs costs the doctor one time limit. */
static enum cleat_code check_health(struct op *op, const char *id, bool *hangs_out, struct cleat_error *err)
{
	struct cleat_request req = { .size = sizeof(req),
				     .verb = CLEAT_VERB_HEALTH,
				     .volume = id,
				     .deadline_ms = cleat_time_mono_ms() + HEALTH_LIMIT_MS };
	struct cleat_result result = { 0 };
	struct cleat_error found = CLEAT_ERROR_INIT;
	char subject[CLEAT_ID_MAX_BYTES + 16];
	enum cleat_code code = CLEAT_OK;

	cleat_op_step((struct cleat_op *)op, "check volumes", DOCTOR_LIMIT_MS);
	snprintf(subject, sizeof(subject), "volume %s", id);
	switch (cleat_engine_call(op->e, &req, &result, &found)) {
	case CLEAT_OK:
		if (!result.healthy)
			code = add_finding(op, false, false, subject, result.health_text, "", err);
		break;
	case CLEAT_NOT_FOUND: /* deleted meanwhile */
	case CLEAT_ABORTED: /* busy: it is being worked on */
		break;
	case CLEAT_DEADLINE_EXCEEDED:
		*hangs_out = true;
		/* fall through */
	default:
		code = add_finding(op, false, false, subject, found.msg, "", err);
	}
	cleat_engine_result_done(&result);
	return code;
}

static enum cleat_code look_at_records(struct op *op, struct pool *p, struct cleat_error *err)
{
	autolist struct list records = { 0 };
	char subject[CLEAT_ID_MAX_BYTES + 16];
	bool hangs = false;

	if (gather_records(op->e, p, &records, err))
		return err->code;
	for (size_t i = 0; i < records.count && !hangs; i++) {
		if (records.texts[i] && *records.texts[i]) {
			snprintf(subject, sizeof(subject), "record %s", records.ids[i]);
			if (add_finding(op, false, false, subject, records.texts[i], "", err))
				return err->code;
		} else if (check_health(op, records.ids[i], &hangs, err)) {
			return err->code;
		}
	}
	return CLEAT_OK;
}

/* ---- what was left over in a pool ---------------------------------------------------------------------------------------------------------------- */

struct leftovers {
	struct op *op;
	struct cleat_error *err;
	enum cleat_code code;
};

static void add_leftover(const char *line, void *arg)
{
	struct leftovers *l = arg;
	char subject[64];

	snprintf(subject, sizeof(subject), "pool %s", l->op->pool->name);
	if (!l->code)
		l->code = add_finding(l->op, true, l->op->req.fix, subject, line, "remove it", l->err);
}

static bool is_in_use(const char *key, void *arg)
{
	const struct leftovers *l = arg;

	return pool_key_in_use(key, l->op->pool);
}

/* An operation of the pool's own lane. */
enum cleat_code doctor_examine_pool(struct op *op, struct cleat_error *err)
{
	const struct cleat_backend *b = op->pool->backend;
	struct leftovers l = { op, err, CLEAT_OK };

	cleat_op_step((struct cleat_op *)op, "look for what was left over", DOCTOR_LIMIT_MS);
	if (op->req.fix ? !b->recover : !b->leftovers)
		return CLEAT_OK;
	enum cleat_code code = op->req.fix ? b->recover(op->pool->instance, is_in_use, add_leftover, &l, err)
					   : b->leftovers(op->pool->instance, is_in_use, add_leftover, &l, err);
	return code ? code : l.code;
}

static enum cleat_code look_for_leftovers(struct op *op, const struct pool *p, struct cleat_error *err)
{
	struct cleat_request req = { .size = sizeof(req),
				     .verb = (enum cleat_verb)VERB_EXAMINE_POOL,
				     .pool = p->name,
				     .fix = op->req.fix,
				     .deadline_ms = cleat_time_mono_ms() + REPAIR_LIMIT_MS };
	struct cleat_result result = { 0 };
	struct cleat_error failed = CLEAT_ERROR_INIT;
	char subject[64];
	enum cleat_code code = CLEAT_OK;

	snprintf(subject, sizeof(subject), "pool %s", p->name);
	if (cleat_engine_call(op->e, &req, &result, &failed))
		return add_finding(op, false, false, subject, failed.msg, "look again when it is less busy", err);
	for (size_t i = 0; i < result.finding_count && code == CLEAT_OK; i++) {
		const struct cleat_finding *f = &result.findings[i];
		code = add_finding(op, f->fixable, f->fixed, f->subject, f->problem, f->remedy, err);
	}
	cleat_engine_result_done(&result);
	return code;
}

static enum cleat_code look_at_pool(struct op *op, struct pool *p, struct cleat_error *err)
{
	struct cleat_pool_state state;
	char subject[64];

	pthread_mutex_lock(&op->e->lock);
	pool_state_fill(p, &state);
	pthread_mutex_unlock(&op->e->lock);
	snprintf(subject, sizeof(subject), "pool %s", state.name);
	if (!state.online)
		return add_finding(op, false, false, subject, state.reason, "", err);
	if (state.stuck_count &&
	    add_finding(op, false, false, subject, "operations are stuck in its storage", "", err))
		return err->code;
	if (state.space.low && add_finding(op, false, false, subject, "less space is left than its watermark", "", err))
		return err->code;
	if (look_for_leftovers(op, p, err))
		return err->code;
	return look_at_records(op, p, err);
}

/* ---- stages and claims ------------------------------------------------------------------------------------------------------------------------ */

static bool record_exists(struct cleat_engine *e, const char *id)
{
	const char *dot = strchr(id, '.');
	struct pool *p = dot ? pool_by_stored_name(e, id, (size_t)(dot - id)) : NULL;

	/* Of a pool that is not open nothing can be said. */
	return !p || p->phase != POOL_ONLINE || index_by_key(&p->index, dot + 1);
}

static enum cleat_code gather_nodes(struct cleat_engine *e, struct list *l, struct cleat_error *err)
{
	size_t n = 0;

	pthread_mutex_lock(&e->lock);
	for (size_t i = 0; i < NODE_BUCKETS; i++)
		for (struct node_volume *nv = e->nodes[i]; nv; nv = nv->next)
			n += 1 + node_claim_total(nv, true);
	enum cleat_code code = list_room(l, n, err);
	for (size_t i = 0; code == CLEAT_OK && i < NODE_BUCKETS; i++) {
		for (struct node_volume *nv = e->nodes[i]; nv; nv = nv->next) {
			list_add(l, nv->id, record_exists(e, nv->id) ? "" : "!");
			for (struct claim *c = nv->claims; c; c = c->next)
				list_add(l, nv->id, c->target);
		}
	}
	pthread_mutex_unlock(&e->lock);
	return code;
}

static bool is_explicit(struct cleat_engine *e, const char *id, bool *staged_out)
{
	pthread_mutex_lock(&e->lock);
	struct node_volume *nv = node_find(e, id);
	*staged_out = nv && nv->staged && !nv->block;
	bool kept = nv && (nv->explicit_stage || nv->claims);
	pthread_mutex_unlock(&e->lock);
	return kept;
}

/* Repairs when that is asked for, by an operation of the volume's own, behind whatever holds it now; says what became of it. */
static enum cleat_code add_repairable(struct op *op, enum cleat_verb verb, const char *id, const char *target, const char *subject,
				      const char *problem, const char *remedy, struct cleat_error *err)
{
	struct cleat_request req = { .size = sizeof(req),
				     .verb = verb,
				     .volume = id,
				     .target = target,
				     .deadline_ms = cleat_time_mono_ms() + REPAIR_LIMIT_MS };
	struct cleat_result result = { 0 };
	struct cleat_error failed = CLEAT_ERROR_INIT;
	char text[CLEAT_ERROR_TEXT_BYTES + 64];

	if (!op->req.fix)
		return add_finding(op, true, false, subject, problem, remedy, err);
	if (cleat_engine_call(op->e, &req, &result, &failed) == CLEAT_OK) {
		cleat_engine_result_done(&result);
		return add_finding(op, true, true, subject, problem, remedy, err);
	}
	snprintf(text, sizeof(text), "%s (tried: %s)", remedy, failed.msg);
	return add_finding(op, true, false, subject, problem, text, err);
}

static enum cleat_code look_at_volume(struct op *op, const char *id, bool has_record, struct cleat_error *err)
{
	char subject[CLEAT_ID_MAX_BYTES + 16];
	bool staged;
	const bool kept = is_explicit(op->e, id, &staged);

	snprintf(subject, sizeof(subject), "volume %s", id);
	if (!has_record && add_finding(op, false, false, subject, "it is in use here but its record is gone from the pool", "", err))
		return err->code;
	if (staged && !stage_is_mounted(op->e, id) &&
	    add_finding(op, false, false, subject, "its internal mount is gone", "publish it again", err))
		return err->code;
	if (staged && !kept)
		return add_repairable(op, CLEAT_VERB_UNSTAGE, id, "", subject, "it is mounted although nobody uses it", "unmount it",
				      err);
	return CLEAT_OK;
}

static enum cleat_code look_at_claim(struct op *op, const char *id, const char *target, struct cleat_error *err)
{
	struct cleat_error why = CLEAT_ERROR_INIT;
	char subject[CLEAT_ID_MAX_BYTES + CLEAT_TARGET_MAX_BYTES];
	bool mounted, ours;

	pthread_mutex_lock(&op->e->lock);
	struct claim *c = claim_find(node_find(op->e, id), target);
	const bool gone = c && witness_gone(c);
	pthread_mutex_unlock(&op->e->lock);
	if (!c)
		return CLEAT_OK;
	snprintf(subject, sizeof(subject), "claim of %s at %s", id, target);
	if (gone)
		return add_repairable(op, CLEAT_VERB_RELEASE, id, target, subject, "its holder is gone", "release it", err);
	if (claim_is_mounted(op->e, id, target, &mounted, &ours, &why))
		return add_finding(op, false, false, subject, why.msg, "", err);
	if (!mounted)
		return add_repairable(op, CLEAT_VERB_RELEASE, id, target, subject, "the volume is no longer mounted there",
				      "release it", err);
	if (!ours)
		return add_finding(op, false, false, subject, "something else is mounted there", "unmount it by hand", err);
	return CLEAT_OK;
}

static enum cleat_code look_at_nodes(struct op *op, struct cleat_error *err)
{
	autolist struct list nodes = { 0 };

	if (gather_nodes(op->e, &nodes, err))
		return err->code;
	for (size_t i = 0; i < nodes.count; i++) {
		const char *text = nodes.texts[i] ? nodes.texts[i] : "";
		enum cleat_code code = *text == '/' ? look_at_claim(op, nodes.ids[i], text, err)
						    : look_at_volume(op, nodes.ids[i], *text != '!', err);
		if (code)
			return code;
	}
	return CLEAT_OK;
}

enum cleat_code verb_doctor(struct op *op, struct cleat_error *err)
{
	for (size_t i = 0; i < op->e->pool_count; i++)
		if (look_at_pool(op, op->e->pools[i], err))
			return err->code;
	cleat_op_step((struct cleat_op *)op, "compare claims with the mount table", DOCTOR_LIMIT_MS);
	return look_at_nodes(op, err);
}
