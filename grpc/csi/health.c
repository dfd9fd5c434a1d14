/* health.c - what is wrong with volumes and pools, as it is found when somebody asks. */
#include "csi/internal.h"

#include "util/clock.h"
#include "util/size.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES 4 /* of one volume */
#define TEXT_BYTES 600
#define LIST_PAGE 64	   /* volumes looked at in one ControllerListVolumeHealth */
#define LIST_WAIT_MS 10000 /* longest that one of them may keep the answer */

/* All that is wrong with one volume. */
struct ailments {
	Csi__V1__VolumeHealth__VolumeHealthEntry entries[MAX_ENTRIES], *list[MAX_ENTRIES];
	char texts[MAX_ENTRIES][TEXT_BYTES];
	size_t n;
};

static void add(struct ailments *a, Csi__V1__VolumeHealthErrorType status, const char *reason,
		const char *text)
{
	if (a->n == MAX_ENTRIES)
		return;
	Csi__V1__VolumeHealth__VolumeHealthEntry *e = &a->entries[a->n];
	csi__v1__volume_health__volume_health_entry__init(e);
	snprintf(a->texts[a->n], TEXT_BYTES, "%s", text);
	e->status = status;
	e->reason = cleat_pb_text(reason);
	e->message = a->texts[a->n];
	a->list[a->n++] = e;
}

/* All of its blocks are its own already. */
static bool is_thick(const struct cleat_record *r)
{
	const char *thick = cleat_kv_get(&r->params, "thick");

	return thick && strcmp(thick, "true") == 0;
}

/* What the pool says about all of its volumes. */
static void add_pool(struct cleat_csi *c, struct ailments *a, const struct cleat_volume_state *v)
{
	struct cleat_pool_state pool;
	char text[TEXT_BYTES], size[CLEAT_SIZE_TEXT_BYTES];

	if (cleat_pool_get(c->engine, v->pool, &pool, NULL))
		return;
	if (!pool.online) {
		snprintf(text, sizeof(text), "pool '%s' is offline: %s", pool.name, pool.reason);
		add(a, CSI__V1__VOLUME_HEALTH_ERROR_TYPE__INACCESSIBLE, "PoolOffline", text);
	} else if (pool.space.low && !is_thick(v->record)) {
		snprintf(text, sizeof(text),
			 "pool '%s' has little space left (%s for new volumes): writes may fail", pool.name,
			 cleat_size_format(pool.space.available_bytes, size));
		add(a, CSI__V1__VOLUME_HEALTH_ERROR_TYPE__DEGRADED, "PoolLow", text);
	}
}

/* What is known without looking at the storage. */
static void add_known(struct cleat_csi *c, struct ailments *a, const struct cleat_volume_state *v)
{
	char text[TEXT_BYTES];

	if (v->stuck_since_ms) {
		snprintf(text, sizeof(text), "an operation on it has been stuck for %lld s",
			 (long long)((cleat_time_wall_ms() - v->stuck_since_ms) / 1000));
		add(a, CSI__V1__VOLUME_HEALTH_ERROR_TYPE__INACCESSIBLE, "OperationStuck", text);
	}
	add_pool(c, a, v);
}

static Csi__V1__VolumeHealthErrorType status_of(enum cleat_code code)
{
	switch (code) {
	case CLEAT_DATA_LOSS:
		return CSI__V1__VOLUME_HEALTH_ERROR_TYPE__DATA_LOSS;
	case CLEAT_FAILED_PRECONDITION:
		return CSI__V1__VOLUME_HEALTH_ERROR_TYPE__DEGRADED;
	default:
		return CSI__V1__VOLUME_HEALTH_ERROR_TYPE__INACCESSIBLE;
	}
}

static void add_found(struct ailments *a, const struct cleat_result *result)
{
	if (!result->healthy)
		add(a, status_of(result->health_code), result->health_reason, result->health_text);
}

static bool is_stuck(const struct ailments *a)
{
	return a->n && strcmp(a->entries[0].reason, "OperationStuck") == 0;
}

/* ---- one volume ---- */

struct look {
	struct cleat_pending p; /* first */
	char id[CLEAT_ID_MAX_BYTES + 1];
	struct ailments found;
};

/* Both calls answer with the same field under the same number. */
static void reply(struct look *l)
{
	Csi__V1__NodeGetVolumeHealthResponse out = CSI__V1__NODE_GET_VOLUME_HEALTH_RESPONSE__INIT;
	Csi__V1__VolumeHealth health = CSI__V1__VOLUME_HEALTH__INIT;

	health.volume_id = l->id;
	health.health_statuses = l->found.list;
	health.n_health_statuses = l->found.n;
	out.volume_health = &health;
	cleat_rpc_call_reply(l->p.call, &out.base);
}

static void answer_look(struct cleat_pending *p, struct cleat_rpc_call *call,
			const struct cleat_result *result)
{
	struct look *l = (struct look *)p;

	(void)call;
	add_found(&l->found, result);
	reply(l);
}

/* A pool that went away meanwhile is the answer, not a failure. */
static void refuse_look(struct cleat_pending *p, struct cleat_rpc_call *call, const struct cleat_error *err)
{
	struct look *l = (struct look *)p;

	if (err->code != CLEAT_UNAVAILABLE) {
		cleat_rpc_call_fail_error(call, err);
		return;
	}
	if (l->found.n == 0)
		add(&l->found, CSI__V1__VOLUME_HEALTH_ERROR_TYPE__INACCESSIBLE, "PoolOffline", err->msg);
	reply(l);
}

static void do_look(struct cleat_csi *c, struct cleat_rpc_call *call, const ProtobufCMessage *in,
		    const char *id)
{
	struct cleat_request r = cleat_pending_request(call, CLEAT_VERB_HEALTH);
	struct cleat_volume_state v;
	struct look *l;

	if (!csi_found(c, call, id, CLEAT_KIND_VOLUME, CSI_NO_HINT, &v))
		return;
	if (!(l = cleat_pending_new(call, sizeof(*l), c, in, answer_look))) {
		cleat_volume_state_done(&v);
		return;
	}
	memcpy(l->id, v.id, sizeof(l->id));
	l->p.refuse = refuse_look;
	add_known(c, &l->found, &v);
	cleat_volume_state_done(&v);
	r.volume = l->id;
	if (is_stuck(&l->found))
		reply(l); /* asking would wait for what does not end */
	else
		cleat_pending_submit(&l->p, c->engine, &r);
}

static void on_controller_get_volume_health(Csi__V1__Controller_Service *base,
					    const Csi__V1__ControllerGetVolumeHealthRequest *in,
					    Csi__V1__ControllerGetVolumeHealthResponse_Closure done,
					    void *call)
{
	struct cleat_csi *c = csi_of_controller(base);

	(void)done;
	if (!cleat_gate_wait(c->gate, call, &base->base, &in->base, "ControllerGetVolumeHealth") &&
	    !csi_lacks(call, in->volume_id, "volume_id"))
		do_look(c, call, &in->base, in->volume_id);
}

static void on_node_get_volume_health(Csi__V1__Node_Service *base,
				      const Csi__V1__NodeGetVolumeHealthRequest *in,
				      Csi__V1__NodeGetVolumeHealthResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_node(base);

	(void)done;
	if (!cleat_gate_wait(c->gate, call, &base->base, &in->base, "NodeGetVolumeHealth") &&
	    !csi_lacks(call, in->volume_id, "volume_id"))
		do_look(c, call, &in->base, in->volume_id);
}

/* ---- all volumes ---- */

struct round;

struct patient {
	struct round *round;
	char id[CLEAT_ID_MAX_BYTES + 1];
	struct ailments found;
};

/* One page of volumes, all looked at together.  Freed by whoever finishes last. */
struct round {
	struct cleat_rpc_call *call; /* held */
	char next_token[128];
	pthread_mutex_t lock; /* of `left` */
	size_t left, count;
	struct patient patients[LIST_PAGE];
};

static void reply_round(struct round *r)
{
	Csi__V1__ControllerListVolumeHealthResponse out =
		CSI__V1__CONTROLLER_LIST_VOLUME_HEALTH_RESPONSE__INIT;
	Csi__V1__VolumeHealth health[LIST_PAGE], *list[LIST_PAGE];

	for (size_t i = 0; i < r->count; i++) {
		struct patient *p = &r->patients[i];
		Csi__V1__VolumeHealth *h = &health[out.n_entries];

		if (p->found.n == 0)
			continue;
		csi__v1__volume_health__init(h);
		h->volume_id = p->id;
		h->health_statuses = p->found.list;
		h->n_health_statuses = p->found.n;
		list[out.n_entries++] = h;
	}
	out.entries = list;
	out.next_token = r->next_token;
	cleat_rpc_call_reply(r->call, &out.base);
}

static void finish_one(struct round *r)
{
	pthread_mutex_lock(&r->lock);
	const bool last = --r->left == 0;
	pthread_mutex_unlock(&r->lock);
	if (!last)
		return;
	reply_round(r);
	cleat_rpc_call_drop(r->call);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void looked(const struct cleat_error *err, const struct cleat_result *result, void *arg)
{
	struct patient *p = arg;

	/* One that is busy, or was deleted meanwhile, is not ill for that; of an offline pool we know
	 * already. */
	if (err->code == CLEAT_OK)
		add_found(&p->found, result);
	finish_one(p->round);
}

static void take_patient(struct cleat_csi *c, struct round *r, const struct cleat_volume_state *v)
{
	struct patient *p = &r->patients[r->count++];

	p->round = r;
	memcpy(p->id, v->id, sizeof(p->id));
	add_known(c, &p->found, v);
}

static void start_round(struct cleat_csi *c, struct round *r)
{
	struct cleat_request q = cleat_pending_request(r->call, CLEAT_VERB_HEALTH);
	const int64_t until_ms = cleat_time_mono_ms() + LIST_WAIT_MS;
	const size_t count = r->count; /* r may be gone after the last one */

	if (!q.deadline_ms || q.deadline_ms > until_ms)
		q.deadline_ms = until_ms;
	r->left = count + 1; /* and this function */
	for (size_t i = 0; i < count; i++) {
		q.volume = r->patients[i].id;
		if (r->patients[i].found.n)
			finish_one(r); /* ill as far as is known: not asked */
		else
			cleat_engine_submit(c->engine, &q, looked, &r->patients[i]);
	}
	finish_one(r);
}

static void on_list_volume_health(Csi__V1__Controller_Service *base,
				  const Csi__V1__ControllerListVolumeHealthRequest *in,
				  Csi__V1__ControllerListVolumeHealthResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	struct cleat_list_query query = { .kind = CLEAT_KIND_VOLUME,
					  .token = in->starting_token,
					  .page = LIST_PAGE };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_volume_list page;
	struct round *r;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "ControllerListVolumeHealth") ||
	    csi_negative(call, in->max_entries))
		return;
	/* Among so many volumes there are at most so many ill ones. */
	if (in->max_entries && in->max_entries < LIST_PAGE)
		query.page = (size_t)in->max_entries;
	if (cleat_volume_list(c->engine, &query, &page, &err)) {
		cleat_rpc_call_fail_error(call, &err);
		return;
	}
	if (!(r = calloc(1, sizeof(*r)))) {
		cleat_volume_list_done(&page);
		cleat_reply_no_memory(call);
		return;
	}
	pthread_mutex_init(&r->lock, NULL);
	r->call = call;
	cleat_rpc_call_hold(call);
	memcpy(r->next_token, page.next_token, sizeof(r->next_token));
	for (size_t i = 0; i < page.count; i++)
		take_patient(c, r, &page.items[i]);
	cleat_volume_list_done(&page);
	start_round(c, r);
}

/* ---- the pools ---- */

#define MAX_POOLS 64

struct backend_health {
	Csi__V1__NodeGetStorageHealthResponse__StorageBackendHealth entries[MAX_POOLS], *list[MAX_POOLS];
	char texts[MAX_POOLS][TEXT_BYTES];
	size_t n;
};

static void add_backend(struct backend_health *all, Csi__V1__StorageHealthErrorType status,
			const char *reason)
{
	Csi__V1__NodeGetStorageHealthResponse__StorageBackendHealth *e = &all->entries[all->n];

	csi__v1__node_get_storage_health_response__storage_backend_health__init(e);
	e->status = status;
	e->reason = cleat_pb_text(reason);
	e->message = all->texts[all->n];
	all->list[all->n++] = e;
}

static void look_at_pool(struct backend_health *all, const struct cleat_pool_state *p)
{
	char size[CLEAT_SIZE_TEXT_BYTES];
	char *text = all->texts[all->n];

	if (!p->online) {
		snprintf(text, TEXT_BYTES, "pool '%s' is %s%s", p->name,
			 p->opening ? "still opening" : "offline: ", p->reason);
		add_backend(all, CSI__V1__STORAGE_HEALTH_ERROR_TYPE__STORAGE_UNREACHABLE, "PoolOffline");
	} else if (p->stuck_count) {
		snprintf(text, TEXT_BYTES, "pool '%s': %u operations are stuck", p->name, p->stuck_count);
		add_backend(all, CSI__V1__STORAGE_HEALTH_ERROR_TYPE__STORAGE_DEGRADED, "OperationsStuck");
	} else if (p->read_only) {
		snprintf(text, TEXT_BYTES, "pool '%s' is read-only: %s", p->name, p->reason);
		add_backend(all, CSI__V1__STORAGE_HEALTH_ERROR_TYPE__STORAGE_DEGRADED, "PoolReadOnly");
	} else if (p->space.low) {
		snprintf(text, TEXT_BYTES, "pool '%s' has little space left: %s for new volumes", p->name,
			 cleat_size_format(p->space.available_bytes, size));
		add_backend(all, CSI__V1__STORAGE_HEALTH_ERROR_TYPE__STORAGE_DEGRADED, "PoolLow");
	} else if (p->broken_count) {
		snprintf(text, TEXT_BYTES,
			 "pool '%s': the records of %zu volumes or snapshots cannot be used", p->name,
			 p->broken_count);
		add_backend(all, CSI__V1__STORAGE_HEALTH_ERROR_TYPE__STORAGE_DEGRADED, "RecordsUnreadable");
	}
}

static void on_node_get_storage_health(Csi__V1__Node_Service *base,
				       const Csi__V1__NodeGetStorageHealthRequest *in,
				       Csi__V1__NodeGetStorageHealthResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_node(base);
	Csi__V1__NodeGetStorageHealthResponse out = CSI__V1__NODE_GET_STORAGE_HEALTH_RESPONSE__INIT;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "NodeGetStorageHealth"))
		return;
	cleat_autofree struct cleat_pool_state *pools = calloc(MAX_POOLS, sizeof(*pools));
	cleat_autofree struct backend_health *all = calloc(1, sizeof(*all));
	if (!pools || !all) {
		cleat_reply_no_memory(call);
		return;
	}
	size_t n = cleat_pool_list(c->engine, pools, MAX_POOLS);
	for (size_t i = 0; i < n && i < MAX_POOLS; i++)
		look_at_pool(all, &pools[i]);
	out.backend_health = all->list;
	out.n_backend_health = all->n;
	cleat_rpc_call_reply(call, &out.base);
}

void csi_set_controller_health(Csi__V1__Controller_Service *base)
{
	base->controller_get_volume_health = on_controller_get_volume_health;
	base->controller_list_volume_health = on_list_volume_health;
}

void csi_set_node_health(Csi__V1__Node_Service *base)
{
	base->node_get_volume_health = on_node_get_volume_health;
	base->node_get_storage_health = on_node_get_storage_health;
}
