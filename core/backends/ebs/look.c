/* look.c - what EC2 says of single volumes: those who ask while a call is under way share the next one. */
#include "backends/ebs/ebs.h"

#include <stdio.h>
#include <string.h>

#define MAX_BATCH 200 /* values of one filter */

struct ebs_look {
	struct ebs_look *next;
	const char *id;
	struct ebs_thing thing;
	bool found, done;
	bool busy; /* it failed because EC2 is asked too often */
	struct cleat_error err;
};

/* With the lock: up to MAX_BATCH of those who wait, as a list of their own. */
static struct ebs_look *take_batch(struct ebs_pool *pool)
{
	struct ebs_look *batch = pool->waiting, **at = &pool->waiting;

	for (size_t n = 0; *at && n < MAX_BATCH; n++)
		at = &(*at)->next;
	pool->waiting = *at;
	*at = NULL;
	return batch;
}

static void give(struct ebs_look *look, struct ebs_things *list)
{
	for (size_t i = 0; i < list->count && !look->found; i++) {
		if (strcmp(list->items[i].id, look->id) != 0)
			continue;
		look->thing = list->items[i];
		look->found = true;
		/* Two may have asked for the same: the second gets a copy of the tags. */
		list->items[i].tags = (struct cleat_kvs){ NULL, 0 };
		if (look->next && cleat_kv_copy(&look->thing.tags, &list->items[i].tags, &look->err))
			look->found = false;
	}
}

/* A filter, because a VolumeId that is not known (yet) would make the whole call fail. */
static void ask(struct ebs_pool *pool, struct ebs_look *batch)
{
	cleat_autobuf struct cleat_buf filters = CLEAT_BUF_INIT(EBS_FORM_BYTES);
	ebs_autothings struct ebs_things list = { NULL, 0, 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char key[32];
	unsigned n = 0;

	cleat_http_form_add(&filters, "Filter.1.Name", "volume-id");
	for (const struct ebs_look *l = batch; l; l = l->next) {
		snprintf(key, sizeof(key), "Filter.1.Value.%u", ++n);
		cleat_http_form_add(&filters, key, l->id);
	}
	enum cleat_code code = ebs_describe(pool, NULL, false, &filters, &list, &err);
	for (struct ebs_look *l = batch; l; l = l->next) {
		l->busy = code == CLEAT_UNAVAILABLE && strstr(err.msg, "LimitExceeded");
		if (code)
			l->err = err;
		else
			give(l, &list);
	}
}

/* With the lock: makes one call for all who wait. */
static void lead(struct ebs_pool *pool)
{
	struct ebs_look *batch = take_batch(pool);

	pool->looking = true;
	pthread_mutex_unlock(&pool->look_lock);
	ask(pool, batch);
	pthread_mutex_lock(&pool->look_lock);
	pool->looking = false;
	for (struct ebs_look *l = batch, *next; l; l = next) {
		next = l->next;
		l->done = true; /* whoever waits for it may be gone at once */
	}
	pthread_cond_broadcast(&pool->looked);
}

enum cleat_code ebs_look_at(struct ebs_pool *pool, struct cleat_op *op, const char *id, struct ebs_thing *out,
			    bool *found_out, struct cleat_error *err)
{
	struct ebs_look look = { .id = id, .err = CLEAT_ERROR_INIT };
	char key[48];

	cleat_op_step(op, "look at the volume", EBS_STEP_MS);
	pthread_mutex_lock(&pool->look_lock);
	look.next = pool->waiting;
	pool->waiting = &look;
	while (!look.done) {
		if (pool->looking)
			pthread_cond_wait(&pool->looked, &pool->look_lock);
		else
			lead(pool);
	}
	pthread_mutex_unlock(&pool->look_lock);
	snprintf(key, sizeof(key), "look %s", id);
	if (look.err.code) {
		if (err)
			*err = look.err;
		if (op &&
		    look.busy) /* whoever led had no operation that could wait: each does it for itself */
			return cleat_pending_wait(&pool->pending, op, key, "EC2 is asked too often",
						  &pool->busy_rule, err);
		return look.err.code;
	}
	cleat_pending_done(&pool->pending, key);
	if (look.found)
		*out = look.thing;
	*found_out = look.found;
	return CLEAT_OK;
}
