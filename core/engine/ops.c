/* ops.c - operations: joining identical calls, waiting for others, running in the pool's lane, giving up waiting. */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "util/buf.h"

#define ANNOUNCE_AFTER_MS 300
#define ANNOUNCE_EVERY_MS 500
#define TICK_MS 1000

const char *cleat_verb_name(enum cleat_verb verb)
{
	static const char *const names[] = {
		[CLEAT_VERB_CREATE] = "create volume",
		[CLEAT_VERB_ADOPT] = "adopt volume",
		[CLEAT_VERB_DELETE] = "delete volume",
		[CLEAT_VERB_EXPAND] = "expand volume",
		[CLEAT_VERB_MODIFY] = "modify volume",
		[CLEAT_VERB_SNAPSHOT] = "create snapshot",
		[CLEAT_VERB_GROUP_SNAPSHOT] = "create group snapshot",
		[CLEAT_VERB_DELETE_SNAPSHOT] = "delete snapshot",
		[CLEAT_VERB_ATTACH] = "attach volume",
		[CLEAT_VERB_DETACH] = "detach volume",
		[CLEAT_VERB_STAGE] = "stage volume",
		[CLEAT_VERB_UNSTAGE] = "unstage volume",
		[CLEAT_VERB_PUBLISH] = "publish volume",
		[CLEAT_VERB_UNPUBLISH] = "unpublish volume",
		[CLEAT_VERB_RELEASE] = "release claim",
		[CLEAT_VERB_USAGE] = "read usage",
		[CLEAT_VERB_HEALTH] = "check health",
		[CLEAT_VERB_POOL_SPACE] = "read pool space",
		[CLEAT_VERB_DOCTOR] = "doctor",
	};
	const int v = (int)verb;

	if (v == VERB_OPEN_POOL)
		return "open pool";
	if (v == VERB_PROBE_POOL)
		return "probe pool";
	if (v == VERB_RECONCILE)
		return "reconcile claims";
	if (v == VERB_EXAMINE_POOL)
		return "examine pool";
	return v > 0 && v < CLEAT_VERB_COUNT && names[v] ? names[v] : "unknown operation";
}

/* ---- the list ----------------------------------------------------------------------------------------------------------------- */

static void link_op(struct cleat_engine *e, struct op *op)
{
	op->prev = e->ops_last;
	op->next = NULL;
	if (e->ops_last)
		e->ops_last->next = op;
	else
		e->ops = op;
	e->ops_last = op;
	e->op_count++;
	op->number = ++e->next_number;
}

static void unlink_op(struct cleat_engine *e, struct op *op)
{
	if (op->prev)
		op->prev->next = op->next;
	else
		e->ops = op->next;
	if (op->next)
		op->next->prev = op->prev;
	else
		e->ops_last = op->prev;
	e->op_count--;
	if (op->phase == OP_WAITING)
		e->waiting_count--;
	pthread_cond_broadcast(&e->quiet);
}

static void op_free(struct op *op)
{
	if (!op)
		return;
	request_done(&op->req);
	cleat_engine_result_done(&op->result);
	free(op->canon);
	free(op);
}

static struct op *op_new(struct cleat_engine *e, int verb)
{
	struct op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->e = e;
	op->verb = verb;
	op->phase = OP_WAITING;
	op->since_ms = cleat_time_wall_ms();
	op->since_mono_ms = cleat_time_mono_ms();
	op->announce_at_ms = op->since_mono_ms + ANNOUNCE_AFTER_MS;
	return op;
}

/* ---- who waits ------------------------------------------------------------------------------------------------------------------ */

static struct waiter *waiter_new(cleat_done_fn done, void *arg, int64_t deadline_ms)
{
	struct waiter *w = malloc(sizeof(*w));

	if (w)
		*w = (struct waiter){ NULL, done, arg, deadline_ms, cleat_time_mono_ms() };
	return w;
}

/* Without the lock: tells everybody in the list and frees it. */
static void tell(struct waiter *list, const struct cleat_error *err, const struct cleat_result *result)
{
	while (list) {
		struct waiter *w = list;
		list = w->next;
		w->done(err, err->code == CLEAT_OK ? result : NULL, w->arg);
		free(w);
	}
}

/* ---- starting and ending ---------------------------------------------------------------------------------------------------------- */

static bool overlap(const struct op *a, const struct op *b)
{
	for (size_t i = 0; i < a->resource_count; i++)
		for (size_t k = 0; k < b->resource_count; k++)
			if (a->resources[i] == b->resources[k])
				return true;
	return false;
}

static bool needs_pool_alone(const struct op *op)
{
	return op->verb == VERB_OPEN_POOL || op->verb == VERB_EXAMINE_POOL;
}

/* Opening a pool needs it alone: whatever has begun there must end first, and nothing begins meanwhile.  A pool that waits to be opened
 * again keeps nobody off: what can be done without it (releases) goes on. */
static bool excludes(const struct op *op, const struct op *other, bool earlier)
{
	if (!op->pool || other->pool != op->pool)
		return false;
	if (needs_pool_alone(op))
		return earlier || other->phase != OP_WAITING;
	return earlier && needs_pool_alone(other) && other->phase != OP_WAITING;
}

/* The operation that keeps op from starting, or NULL. */
static struct op *blocker(struct op *op)
{
	bool earlier = true;

	for (struct op *other = op->e->ops; other; other = other->next) {
		if (other == op)
			earlier = false;
		else if ((earlier && overlap(op, other)) || excludes(op, other, earlier))
			return other;
	}
	return NULL;
}

static bool may_start(struct op *op)
{
	if (op->pool->phase == POOL_OPENING && op->verb != VERB_OPEN_POOL)
		return false;
	return !blocker(op);
}

/* Operations that have ended, with those to be told, and lanes that got work; collected under the lock, told and woken without it, because
 * whoever wakes up takes the lock first. */
struct ended {
	struct op *ops[64];
	size_t count;
	struct lane *wake[64]; /* one entry for each new operation */
	size_t wake_count;
};

static void wake_later(struct lane *lane, struct ended *ended)
{
	if (ended->wake_count < CLEAT_COUNT(ended->wake))
		ended->wake[ended->wake_count++] = lane;
	else
		pthread_cond_signal(&lane->work);
}

static void end_locked(struct op *op, struct ended *ended)
{
	unlink_op(op->e, op);
	ended->ops[ended->count++] = op;
}

static void tell_ended(struct ended *ended)
{
	for (size_t i = 0; i < ended->wake_count; i++)
		pthread_cond_signal(&ended->wake[i]->work);
	ended->wake_count = 0;
	for (size_t i = 0; i < ended->count; i++) {
		struct op *op = ended->ops[i];
		if (op->announced) {
			const struct cleat_event event = { .kind = CLEAT_EVENT_OPERATION,
							   .pool = op->pool ? op->pool->name : "",
							   .volume = op->id,
							   .name = op->subject,
							   .text = op->err.code ? op->err.msg : "done",
							   .operation = op->number,
							   .ended = true,
							   .code = op->err.code };
			events_emit(op->e, &event);
		}
		tell(op->waiters, &op->err, &op->result);
		op->waiters = NULL;
		op_free(op);
	}
	ended->count = 0;
}

static bool full(const struct ended *ended)
{
	return ended->count == CLEAT_COUNT(ended->ops);
}

/* Plans op again and starts it when nothing earlier is in its way. */
static void try_start(struct op *op, struct ended *ended)
{
	if (plan(op, &op->err)) {
		end_locked(op, ended);
		return;
	}
	if (!may_start(op))
		return;
	op->phase = OP_QUEUED;
	op->e->waiting_count--;
	if (lane_push(op->pool, op, &op->err)) {
		op->e->waiting_count++;
		op->phase = OP_WAITING;
		end_locked(op, ended);
		return;
	}
	wake_later(&op->pool->lane, ended);
}

/* With the lock: starts every waiting operation that can start now.  False: there is more, come again. */
static bool schedule(struct cleat_engine *e, struct ended *ended)
{
	for (struct op *op = e->ops, *next; op && e->waiting_count; op = next) {
		next = op->next;
		if (full(ended))
			return false;
		if (op->phase == OP_WAITING)
			try_start(op, ended);
	}
	return true;
}

static void schedule_and_unlock(struct cleat_engine *e, struct ended *ended)
{
	bool all = schedule(e, ended);

	pthread_mutex_unlock(&e->lock);
	tell_ended(ended);
	while (!all) {
		pthread_mutex_lock(&e->lock);
		all = schedule(e, ended);
		pthread_mutex_unlock(&e->lock);
		tell_ended(ended);
	}
}

/* ---- running ---------------------------------------------------------------------------------------------------------------------- */

/* Whoever asks for the space wants to know whether the pool is there at all: an open directory tells its space long after it was moved away. */
static enum cleat_code run_space(struct op *op, struct cleat_error *err)
{
	if (pool_run_probe(op, err))
		return err->code;
	op->result.space = op->pool->space;
	return CLEAT_OK;
}

static enum cleat_code run_verb(struct op *op, struct cleat_error *err)
{
	static enum cleat_code (*const verbs[])(struct op *, struct cleat_error *) = {
		[CLEAT_VERB_CREATE] = verb_create,
		[CLEAT_VERB_ADOPT] = verb_adopt,
		[CLEAT_VERB_DELETE] = verb_delete,
		[CLEAT_VERB_EXPAND] = verb_expand,
		[CLEAT_VERB_MODIFY] = verb_modify,
		[CLEAT_VERB_SNAPSHOT] = verb_snapshot,
		[CLEAT_VERB_GROUP_SNAPSHOT] = verb_group_snapshot,
		[CLEAT_VERB_DELETE_SNAPSHOT] = verb_delete,
		[CLEAT_VERB_ATTACH] = verb_attach,
		[CLEAT_VERB_DETACH] = verb_detach,
		[CLEAT_VERB_STAGE] = verb_stage,
		[CLEAT_VERB_UNSTAGE] = verb_unstage,
		[CLEAT_VERB_PUBLISH] = verb_publish,
		[CLEAT_VERB_UNPUBLISH] = verb_unpublish,
		[CLEAT_VERB_RELEASE] = verb_release,
		[CLEAT_VERB_USAGE] = verb_usage,
		[CLEAT_VERB_HEALTH] = verb_health,
		[CLEAT_VERB_POOL_SPACE] = run_space,
		[CLEAT_VERB_DOCTOR] = verb_doctor,
		[VERB_OPEN_POOL] = pool_run_open,
		[VERB_PROBE_POOL] = pool_run_probe,
		[VERB_RECONCILE] = verb_reconcile,
		[VERB_EXAMINE_POOL] = doctor_examine_pool,
	};

	return verbs[op->verb](op, err);
}

/* With the lock: op has come back from a step that was over its limit. */
static void unstick(struct op *op)
{
	if (!op->stuck)
		return;
	op->stuck = false;
	op->pool->lane.left_behind--;
	const char *key = strchr(op->id, '.');
	struct entry *en = key ? index_by_key(&op->pool->index, key + 1) : NULL;
	if (en)
		en->stuck_since_ms = 0;
}

/* With the lock: what the request means may be another volume now, which the operation does not hold yet; so it waits for its turn again, behind
 * whatever runs there. */
static void replan(struct op *op)
{
	struct cleat_engine *e = op->e;
	const uint64_t number = op->number;

	unlink_op(e, op);
	link_op(e, op);
	op->number = number;
	op->phase = OP_WAITING;
	e->waiting_count++;
}

/* Asks for the record anew where other nodes may have changed it.  True: the operation goes on later. */
static bool run_refresh(struct op *op, struct cleat_error *err)
{
	struct cleat_engine *e = op->e;
	struct ended ended = { .count = 0 };

	if (!refresh_is_due(op) || refresh_record(op, err))
		return false;
	pthread_mutex_lock(&e->lock);
	unstick(op);
	replan(op);
	schedule_and_unlock(e, &ended);
	return true;
}

void ops_run(struct op *op)
{
	struct cleat_engine *e = op->e;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct ended ended = { .count = 0 };

	pthread_mutex_lock(&e->lock);
	op->phase = OP_RUNNING;
	op->again_ms = 0;
	op->step_since_ms = cleat_time_mono_ms();
	op->step_limit_ms = DEFAULT_STEP_LIMIT_MS;
	pthread_mutex_unlock(&e->lock);

	if (run_refresh(op, &err))
		return;
	enum cleat_code code = err.code ? err.code : run_verb(op, &err);

	pthread_mutex_lock(&e->lock);
	unstick(op);
	op->err = err;
	op->err.code = code;
	if (code == CLEAT_UNAVAILABLE && op->pool->phase == POOL_ONLINE)
		pool_hurry(op->pool); /* is it still there? */
	/* "Not yet" of something that was undone after a failure is not the operation's: that one has failed. */
	if (code == CLEAT_ABORTED && op->again_ms > 0 && !e->closing) {
		op->phase = OP_AGAIN;
		op->again_at_ms = cleat_time_mono_ms() + op->again_ms;
		pthread_cond_signal(&e->timer_wake);
		pthread_mutex_unlock(&e->lock);
		return;
	}
	end_locked(op, &ended);
	schedule_and_unlock(e, &ended);
}

void cleat_op_step(struct cleat_op *handle, const char *step, int64_t limit_ms)
{
	struct op *op = (struct op *)handle;

	if (!op)
		return;
	pthread_mutex_lock(&op->e->lock);
	snprintf(op->step, sizeof(op->step), "%s", step);
	op->step_since_ms = cleat_time_mono_ms();
	op->step_limit_ms = limit_ms;
	op->done = op->total = 0;
	pthread_mutex_unlock(&op->e->lock);
}

void cleat_op_progress(struct cleat_op *handle, uint64_t done, uint64_t total)
{
	struct op *op = (struct op *)handle;

	if (!op)
		return;
	pthread_mutex_lock(&op->e->lock);
	op->done = done;
	op->total = total;
	pthread_mutex_unlock(&op->e->lock);
}

enum cleat_code cleat_op_again(struct cleat_op *handle, int64_t after_ms, struct cleat_error *err)
{
	struct op *op = (struct op *)handle;

	if (op)
		op->again_ms = after_ms > 0 ? after_ms : 1;
	return cleat_error_set(err, CLEAT_ABORTED, "the storage is not ready yet, ask again in %lld ms", (long long)after_ms);
}

/* ---- submitting -------------------------------------------------------------------------------------------------------------------- */

static void refuse(cleat_done_fn done, void *arg, const struct cleat_error *err)
{
	done(err, NULL, arg);
}

/* With the lock: the running or waiting operation that is this very call, unless something else on its volume came in between. */
static struct op *find_same(struct cleat_engine *e, const struct op *op)
{
	for (struct op *other = e->ops_last; other; other = other->prev) {
		if (other->verb == op->verb && other->canon && strcmp(other->canon, op->canon) == 0)
			return other->stuck ? NULL : other;
		if (overlap(op, other))
			return NULL;
	}
	return NULL;
}

static void add_waiter(struct op *op, struct waiter *w)
{
	w->next = op->waiters;
	op->waiters = w;
	if (w->deadline_ms && w->deadline_ms < cleat_time_mono_ms() + TICK_MS)
		pthread_cond_signal(&op->e->timer_wake);
}

/* With the lock.  Takes op and w over in every case; what cannot be taken is ended. */
static void enter(struct cleat_engine *e, struct op *op, struct waiter *w, struct ended *ended)
{
	op->waiters = w;
	if (e->closing || e->waiting_count >= MAX_WAITING) {
		cleat_error_set(&op->err, e->closing ? CLEAT_UNAVAILABLE : CLEAT_RESOURCE_EXHAUSTED,
				e->closing ? "shutting down" : "too many operations are waiting");
		ended->ops[ended->count++] = op;
		return;
	}
	if (plan(op, &op->err)) {
		ended->ops[ended->count++] = op;
		return;
	}
	struct op *same = op->canon ? find_same(e, op) : NULL;
	if (same) {
		op->waiters = NULL;
		add_waiter(same, w);
		op_free(op);
		return;
	}
	link_op(e, op);
	e->waiting_count++;
	try_start(op, ended);
	if (ended->count == 0 && op->phase == OP_WAITING)
		pthread_cond_signal(&e->timer_wake);
}

void cleat_engine_submit(struct cleat_engine *e, const struct cleat_request *req, cleat_done_fn done, void *arg)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct ended ended = { .count = 0 };

	if (req->size != sizeof(*req)) {
		cleat_error_set(&err, CLEAT_INVALID_ARGUMENT, "request of %zu bytes: made for another release", req->size);
		refuse(done, arg, &err);
		return;
	}
	if (request_check(e, req, &err)) {
		refuse(done, arg, &err);
		return;
	}
	struct op *op = op_new(e, (int)req->verb);
	struct waiter *w = waiter_new(done, arg, req->deadline_ms);
	if (!op || !w || request_copy(req, &op->req, &err) || !(op->canon = request_canon(&op->req))) {
		cleat_error_set(&err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		free(w);
		op_free(op);
		refuse(done, arg, &err);
		return;
	}
	pthread_mutex_lock(&e->lock);
	enter(e, op, w, &ended);
	pthread_mutex_unlock(&e->lock);
	tell_ended(&ended);
}

/* Work of the engine's own: nobody waits for it, and a second one of the same kind on the same thing is not queued. */
void ops_submit_inner(struct cleat_engine *e, struct pool *pool, int verb, const char *volume)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_request req = { .size = sizeof(req), .volume = volume, .caller_trusted = true };
	struct ended ended = { .count = 0 };
	struct op *op = op_new(e, verb);

	if (!op || request_copy(&req, &op->req, &err)) {
		op_free(op);
		return;
	}
	op->pool = pool;
	pthread_mutex_lock(&e->lock);
	for (struct op *other = e->ops; other; other = other->next) {
		if (other->verb == verb && other->pool == pool && strcmp(other->req.volume, op->req.volume) == 0) {
			pthread_mutex_unlock(&e->lock);
			op_free(op);
			return;
		}
	}
	enter(e, op, NULL, &ended);
	pthread_mutex_unlock(&e->lock);
	tell_ended(&ended);
}

/* ---- waiting in this thread ------------------------------------------------------------------------------------------------------------ */

struct call {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool finished;
	struct cleat_error *err;
	struct cleat_result *out;
};

/* A result belongs to the operation, which others may have joined: what the caller keeps is a copy. */
static enum cleat_code result_copy(const struct cleat_result *from, struct cleat_result *to)
{
	*to = *from;
	to->volumes = NULL;
	to->target = to->health_text = NULL;
	to->findings = NULL;
	to->volume_count = to->finding_count = 0;
	if (from->target && !(to->target = strdup(from->target)))
		return CLEAT_RESOURCE_EXHAUSTED;
	if (from->health_text && !(to->health_text = strdup(from->health_text)))
		return CLEAT_RESOURCE_EXHAUSTED;
	if (from->volume_count && !(to->volumes = calloc(from->volume_count, sizeof(*to->volumes))))
		return CLEAT_RESOURCE_EXHAUSTED;
	for (; to->volume_count < from->volume_count; to->volume_count++) {
		to->volumes[to->volume_count] = from->volumes[to->volume_count];
		cleat_record_ref(to->volumes[to->volume_count].record);
	}
	if (from->finding_count && !(to->findings = calloc(from->finding_count, sizeof(*to->findings))))
		return CLEAT_RESOURCE_EXHAUSTED;
	for (; to->finding_count < from->finding_count; to->finding_count++) {
		const struct cleat_finding *f = &from->findings[to->finding_count];
		to->findings[to->finding_count] = (struct cleat_finding){ strdup(f->subject), strdup(f->problem),
									  strdup(f->remedy), f->fixable, f->fixed };
	}
	return CLEAT_OK;
}

static void call_done(const struct cleat_error *err, const struct cleat_result *result, void *arg)
{
	struct call *call = arg;

	pthread_mutex_lock(&call->lock);
	*call->err = *err;
	if (result && result_copy(result, call->out)) {
		cleat_engine_result_done(call->out);
		cleat_error_set(call->err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	call->finished = true;
	pthread_cond_signal(&call->cond);
	pthread_mutex_unlock(&call->lock);
}

enum cleat_code cleat_engine_call(struct cleat_engine *e, const struct cleat_request *req, struct cleat_result *result_out,
				  struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct cleat_result result = { 0 };
	struct call call = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, &own, &result };

	cleat_engine_submit(e, req, call_done, &call);
	pthread_mutex_lock(&call.lock);
	while (!call.finished)
		pthread_cond_wait(&call.cond, &call.lock);
	pthread_mutex_unlock(&call.lock);
	if (own.code) {
		if (err)
			*err = own;
		return own.code;
	}
	if (result_out)
		*result_out = result;
	else
		cleat_engine_result_done(&result);
	return CLEAT_OK;
}

void cleat_engine_result_done(struct cleat_result *r)
{
	for (size_t i = 0; i < r->volume_count; i++)
		cleat_record_unref(r->volumes[i].record);
	free(r->volumes);
	for (size_t i = 0; i < r->finding_count; i++) {
		free(r->findings[i].subject);
		free(r->findings[i].problem);
		free(r->findings[i].remedy);
	}
	free(r->findings);
	free(r->target);
	free(r->health_text);
	memset(r, 0, sizeof(*r));
}

/* ---- the timer's part ----------------------------------------------------------------------------------------------------------------- */

/* Waiters taken out of operations under the lock, each with its own error. */
struct expired {
	struct {
		struct waiter *w;
		struct cleat_error err;
	} list[16];
	size_t count;
	struct cleat_event events[16]; /* texts point into `text` */
	char text[16][3][CLEAT_ID_MAX_BYTES + CLEAT_NAME_MAX_BYTES + 128];
	size_t event_count;
};

static void say_blocked(struct op *op, struct cleat_error *err)
{
	struct op *by = blocker(op);
	const double since = by ? (double)(cleat_time_mono_ms() - by->since_mono_ms) / 1000.0 : 0;

	if (!by)
		cleat_error_set(err, CLEAT_ABORTED, "'%s': pool '%s' is still opening", op->subject, op->pool->name);
	else
		cleat_error_set(err, CLEAT_ABORTED, "'%s': '%s' of '%s' has been running for %.1f s%s%s%s", op->subject,
				cleat_verb_name((enum cleat_verb)by->verb), by->subject, since, by->step[0] ? " (" : "",
				by->step, by->step[0] ? (by->stuck ? ", stuck)" : ")") : "");
}

static int64_t waiter_end(const struct cleat_engine *e, const struct op *op, const struct waiter *w)
{
	int64_t end = op->phase == OP_WAITING ? w->joined_ms + e->wait_ms : INT64_MAX;

	return w->deadline_ms && w->deadline_ms < end ? w->deadline_ms : end;
}

static void expire_waiters(struct cleat_engine *e, struct op *op, bool all, int64_t now, struct expired *x)
{
	for (struct waiter **at = &op->waiters; *at && x->count < CLEAT_COUNT(x->list);) {
		struct waiter *w = *at;
		if (!all && waiter_end(e, op, w) > now) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = NULL;
		x->list[x->count].w = w;
		struct cleat_error *err = &x->list[x->count++].err;
		if (op->phase == OP_WAITING)
			say_blocked(op, err);
		else
			cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED, "'%s': '%s' goes on%s%s%s", op->subject,
					cleat_verb_name((enum cleat_verb)op->verb), op->step[0] ? " (" : "", op->step,
					op->step[0] ? (op->stuck ? ", stuck)" : ")") : "");
	}
}

static void add_event(struct expired *x, struct op *op, enum cleat_event_kind kind)
{
	if (x->event_count == CLEAT_COUNT(x->events))
		return;
	char(*text)[CLEAT_ID_MAX_BYTES + CLEAT_NAME_MAX_BYTES + 128] = x->text[x->event_count];
	snprintf(text[0], sizeof(text[0]), "%s", op->id);
	snprintf(text[1], sizeof(text[1]), "%s", op->subject);
	snprintf(text[2], sizeof(text[2]), "%s: %s", cleat_verb_name((enum cleat_verb)op->verb), op->step);
	x->events[x->event_count++] = (struct cleat_event){ .kind = kind,
							    .pool = op->pool ? op->pool->name : "",
							    .volume = text[0],
							    .name = text[1],
							    .text = text[2],
							    .operation = op->number,
							    .done = op->done,
							    .total = op->total };
}

/* The thread is left behind and another may take its place; whoever waits is told. */
static void mark_stuck(struct cleat_engine *e, struct op *op, int64_t now, struct expired *x)
{
	op->stuck = true;
	op->pool->lane.left_behind++;
	const char *key = strchr(op->id, '.');
	struct entry *en = key ? index_by_key(&op->pool->index, key + 1) : NULL;
	if (en)
		en->stuck_since_ms = cleat_time_wall_ms() - (now - op->step_since_ms);
	add_event(x, op, CLEAT_EVENT_STUCK);
	lane_fill(op->pool);
	expire_waiters(e, op, true, now, x);
}

static void look_at_running(struct cleat_engine *e, struct op *op, int64_t now, struct expired *x)
{
	if (!op->stuck && now - op->step_since_ms > op->step_limit_ms)
		mark_stuck(e, op, now, x);
	else if (op->stuck)
		expire_waiters(e, op, true, now, x);
	if (op->waiters && now >= op->announce_at_ms) {
		op->announced = true;
		op->announce_at_ms = now + ANNOUNCE_EVERY_MS;
		add_event(x, op, CLEAT_EVENT_OPERATION);
	}
}

/* With the lock.  Returns true when op has been ended. */
static bool look_at(struct cleat_engine *e, struct op *op, int64_t now, struct expired *x, struct ended *ended)
{
	expire_waiters(e, op, false, now, x);
	if (op->phase == OP_WAITING && !op->waiters && op->canon) {
		end_locked(op, ended); /* nobody wants it any more, and it has not begun */
		return true;
	}
	if (op->phase == OP_RUNNING)
		look_at_running(e, op, now, x);
	if (op->phase == OP_AGAIN && op->again_at_ms <= now) {
		op->phase = OP_QUEUED;
		if (lane_push(op->pool, op, &op->err)) {
			end_locked(op, ended);
			return true;
		}
		wake_later(&op->pool->lane, ended);
	}
	return false;
}

static int64_t next_look(const struct cleat_engine *e, int64_t now)
{
	int64_t next = now + TICK_MS;

	for (const struct op *op = e->ops; op; op = op->next) {
		if (op->phase == OP_AGAIN && op->again_at_ms < next)
			next = op->again_at_ms;
		if (op->phase == OP_RUNNING && op->waiters && op->announce_at_ms < next)
			next = op->announce_at_ms;
		if (op->phase == OP_RUNNING && !op->stuck && op->step_since_ms + op->step_limit_ms + 1 < next)
			next = op->step_since_ms + op->step_limit_ms + 1;
		for (const struct waiter *w = op->waiters; w; w = w->next)
			if (waiter_end(e, op, w) < next)
				next = waiter_end(e, op, w);
	}
	return next > now ? next : now + 1;
}

int64_t ops_expire(struct cleat_engine *e)
{
	const int64_t now = cleat_time_mono_ms();
	struct ended ended = { .count = 0 };
	struct expired x;
	bool more = true;
	int64_t next = now;

	while (more) {
		x.count = x.event_count = 0;
		pthread_mutex_lock(&e->lock);
		for (struct op *op = e->ops, *following; op; op = following) {
			following = op->next;
			if (full(&ended) || x.count == CLEAT_COUNT(x.list))
				break;
			look_at(e, op, now, &x, &ended);
		}
		more = full(&ended) || x.count == CLEAT_COUNT(x.list);
		next = next_look(e, now);
		schedule_and_unlock(e, &ended);
		for (size_t i = 0; i < x.event_count; i++)
			events_emit(e, &x.events[i]);
		for (size_t i = 0; i < x.count; i++)
			tell(x.list[i].w, &x.list[i].err, NULL);
	}
	return next;
}

size_t cleat_operation_list(struct cleat_engine *e, struct cleat_operation *out, size_t room)
{
	size_t n = 0;

	pthread_mutex_lock(&e->lock);
	for (struct op *op = e->ops; op; op = op->next, n++) {
		if (n >= room)
			continue;
		out[n] = (struct cleat_operation){ .number = op->number,
						   .verb = (enum cleat_verb)op->verb,
						   .done = op->done,
						   .total = op->total,
						   .since_ms = op->since_ms,
						   .waiting = op->phase == OP_WAITING,
						   .stuck = op->stuck };
		snprintf(out[n].subject, sizeof(out[n].subject), "%s", op->subject);
		snprintf(out[n].step, sizeof(out[n].step), "%s", op->step);
	}
	pthread_mutex_unlock(&e->lock);
	return n;
}
