/* suite_claims.c - who holds a volume, since when, and what happens when the holder is gone; events. */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"

extern char **environ;

static struct cleat_request publish_req(struct world *w, const char *volume, const char *leaf,
					char target[256])
{
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, volume);

	req.target = target_path(w, leaf, true, target);
	return req;
}

static void test_claims__name_holder_and_since(void **state)
{
	struct world *w = *state;
	struct cleat_claim_list list;
	char t[256], id[CLEAT_ID_MAX_BYTES + 1];
	const int64_t before = cleat_time_wall_ms();

	world_open(w);
	ok_create(w, "db", id);
	struct cleat_request req = publish_req(w, id, "t", t);
	req.owner = "alloc 3f2a task db";
	req.mode = CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER;
	ok_call(w, &req, NULL);
	assert_int_equal(cleat_claim_list(w->e, POOL "/db", NULL, 0, &list, NULL), CLEAT_OK);
	assert_int_equal(list.count, 1);
	const struct cleat_claim *c = &list.items[0];
	assert_string_equal(c->volume, id);
	assert_string_equal(c->target, t);
	assert_string_equal(c->owner, "alloc 3f2a task db");
	assert_int_equal(c->mode, CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER);
	assert_false(c->read_only || c->staging);
	assert_int_equal(c->state, CLEAT_CLAIM_ACTIVE);
	assert_true(c->since_ms >= before && c->since_ms <= cleat_time_wall_ms());
	cleat_claim_list_done(&list);
	world_tidy(w);
}

static void test_claims__come_in_pages(void **state)
{
	struct world *w = *state;
	struct cleat_claim_list list;
	char t[256], leaf[16], token[128] = "", last[400] = "";
	size_t seen = 0;

	world_open(w);
	ok_create(w, "a", NULL);
	ok_create(w, "b", NULL);
	for (unsigned i = 0; i < 7; i++) {
		snprintf(leaf, sizeof(leaf), "t%u", i);
		ok_publish(w, i % 2 ? POOL "/a" : POOL "/b", leaf, t);
	}
	do {
		assert_int_equal(cleat_claim_list(w->e, "", token, 2, &list, NULL), CLEAT_OK);
		assert_true(list.count <= 2);
		for (size_t i = 0; i < list.count; i++) {
			char now[400];

			snprintf(now, sizeof(now), "%s %s", list.items[i].volume, list.items[i].target);
			assert_true(strcmp(last, now) < 0);
			memcpy(last, now, sizeof(last));
			seen++;
		}
		memcpy(token, list.next_token, sizeof(token));
		cleat_claim_list_done(&list);
	} while (token[0]);
	assert_int_equal(seen, 7);
	world_tidy(w);
}

/* ---- stale claims ------------------------------------------------------------------------------------- */

static pid_t start_task(void)
{
	char *const argv[] = { (char *)(uintptr_t) "sleep", (char *)(uintptr_t) "1000", NULL };
	pid_t pid;

	assert_int_equal(posix_spawnp(&pid, "sleep", NULL, NULL, argv, environ), 0);
	return pid;
}

static void end_task(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_claims__a_witness_that_is_gone_frees_the_volume(void **state)
{
	struct world *w = *state;
	char a[256], b[256];
	pid_t task = start_task();

	world_open(w);
	ok_create(w, "db", NULL);
	struct cleat_request req = publish_req(w, POOL "/db", "a", a);
	req.mode = CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER;
	req.owner = "first task";
	req.witness.pid = task;
	ok_call(w, &req, NULL);
	put_file(a, "f", 100, 1);
	struct cleat_request next = publish_req(w, POOL "/db", "b", b);
	next.mode = CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER;
	refused(w, &next, CLEAT_FAILED_PRECONDITION, "first task");
	end_task(task);
	ok_call(w, &next, NULL);
	assert_true(has_file(b, "f", 100, 1));
	assert_false(is_mounted(a));
	assert_int_equal(count_claims(w, NULL), 1);
	world_tidy(w);
}

/* Schedulers know a container's process only after they have made its mounts. */
static void test_claims__a_witness_may_be_named_later(void **state)
{
	struct world *w = *state;
	char a[256], b[256];
	pid_t task = start_task(), second = start_task();

	world_open(w);
	ok_create(w, "db", NULL);
	struct cleat_request req = publish_req(w, POOL "/db", "a", a);
	req.mode = CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER;
	ok_call(w, &req, NULL);
	req.witness.pid = second;
	ok_call(w, &req, NULL);
	req.witness.pid = task;
	ok_call(w, &req, NULL);
	req.witness.pid = 0; /* and leaving it out leaves it */
	ok_call(w, &req, NULL);
	assert_int_equal(count_claims(w, NULL), 1);
	world_close(w);
	world_open(w);
	struct cleat_request next = publish_req(w, POOL "/db", "b", b);
	next.mode = CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER;
	end_task(second);
	refused(w, &next, CLEAT_FAILED_PRECONDITION, "in use");
	end_task(task);
	ok_call(w, &next, NULL);
	assert_int_equal(count_claims(w, NULL), 1);
	world_tidy(w);
}

static void test_claims__a_witness_that_never_was_is_refused(void **state)
{
	struct world *w = *state;
	char a[256];
	pid_t task = start_task();

	end_task(task);
	world_open(w);
	ok_create(w, "db", NULL);
	struct cleat_request req = publish_req(w, POOL "/db", "a", a);
	req.witness.pid = task;
	refused_any(w, &req,
		    CODE(CLEAT_FAILED_PRECONDITION) | CODE(CLEAT_INVALID_ARGUMENT) | CODE(CLEAT_NOT_FOUND),
		    NULL);
	assert_false(is_mounted(a));
	assert_int_equal(count_claims(w, NULL), 0);
	world_tidy(w);
}

/* Somebody unmounted the target behind the daemon's back: the claim is stale, and the next claimant gets the
 * volume. */
static void test_claims__an_unmounted_target_is_stale(void **state)
{
	struct world *w = *state;
	char a[256], b[256];

	world_open(w);
	ok_create(w, "db", NULL);
	struct cleat_request req = publish_req(w, POOL "/db", "a", a);
	req.mode = CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER;
	ok_call(w, &req, NULL);
	assert_int_equal(umount(a), 0);
	struct cleat_request next = publish_req(w, POOL "/db", "b", b);
	next.mode = CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER;
	ok_call(w, &next, NULL);
	assert_true(is_mounted(b));
	assert_int_equal(umount(b), 0);
	/* The same target again mounts it again. */
	ok_call(w, &next, NULL);
	assert_true(is_mounted(b));
	ok_unpublish(w, POOL "/db", b);
	world_tidy(w);
}

static void test_claims__an_operator_can_release_one(void **state)
{
	struct world *w = *state;
	char a[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "a", a);
	int held = open(a, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(held >= 0);
	struct cleat_request req = req_for(CLEAT_VERB_RELEASE, POOL "/db");
	req.target = a;
	refused(w, &req, CLEAT_FAILED_PRECONDITION, NULL);
	assert_true(is_mounted(a));
	req.force = true;
	ok_call(w, &req, NULL);
	assert_false(is_mounted(a));
	assert_int_equal(count_claims(w, NULL), 0);
	close(held);
	/* What was taken away by force goes for good when its last user has gone, and the kernel takes its
	 * time for that. */
	for (int i = 0; i < 1000 && volume_loops(w, false); i++)
		usleep(5000);
	world_tidy(w);
}

/* ---- events ------------------------------------------------------------------------------------------- */

struct heard {
	pthread_mutex_t lock;
	unsigned kinds; /* mask */
	uint64_t last;
	bool in_order;
	unsigned count;
};

static void hear(const struct cleat_event *event, void *arg)
{
	struct heard *h = arg;

	pthread_mutex_lock(&h->lock);
	h->kinds |= 1u << event->kind;
	if (h->last && event->number != h->last + 1)
		h->in_order = false;
	h->last = event->number;
	h->count++;
	pthread_mutex_unlock(&h->lock);
}

static void test_events__tell_what_happened_in_order(void **state)
{
	struct world *w = *state;
	struct heard h = { .lock = PTHREAD_MUTEX_INITIALIZER, .in_order = true };
	struct heard again = { .lock = PTHREAD_MUTEX_INITIALIZER, .in_order = true };
	struct cleat_events_sub *sub = NULL, *late = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char t[256];

	world_open(w);
	assert_int_equal(cleat_events_subscribe(w->e, NULL, 0, hear, &h, &sub, &err), CLEAT_OK);
	const uint64_t from = cleat_events_last(w->e);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	ok_unpublish(w, POOL "/db", t);
	ok_delete(w, POOL "/db");
	cleat_events_unsubscribe(sub);
	const unsigned wanted = 1u << CLEAT_EVENT_VOLUME_CREATED | 1u << CLEAT_EVENT_STAGED |
				1u << CLEAT_EVENT_PUBLISHED | 1u << CLEAT_EVENT_UNPUBLISHED |
				1u << CLEAT_EVENT_UNSTAGED | 1u << CLEAT_EVENT_VOLUME_DELETED;
	assert_int_equal(h.kinds & wanted, wanted);
	assert_true(h.in_order);
	/* Who comes later with the epoch gets the same ones. */
	if (from > 0) {
		assert_int_equal(cleat_events_subscribe(w->e, cleat_engine_epoch(w->e), from, hear, &again,
							&late, &err),
				 CLEAT_OK);
		assert_int_equal(again.count, h.count);
		cleat_events_unsubscribe(late);
	}
	assert_int_equal(cleat_events_subscribe(w->e, "another epoch", 1, hear, &again, &late, &err),
			 CLEAT_OUT_OF_RANGE);
	assert_int_equal(cleat_events_subscribe(w->e, cleat_engine_epoch(w->e), UINT64_MAX - 1, hear, &again,
						&late, &err),
			 CLEAT_OUT_OF_RANGE);
	cleat_events_unsubscribe(NULL);
	world_tidy(w);
}

static void test_events__epochs_differ_between_runs(void **state)
{
	struct world *w = *state;
	char first[64];

	world_open(w);
	snprintf(first, sizeof(first), "%s", cleat_engine_epoch(w->e));
	assert_string_not_equal(first, "");
	assert_string_equal(cleat_engine_node(w->e), "node-1");
	world_close(w);
	world_open(w);
	assert_string_not_equal(first, cleat_engine_epoch(w->e));
	world_tidy(w);
}

const struct suite_case suite_claims[] = {
	CASE(test_claims__name_holder_and_since, IN_QUICK, 0, 0),
	CASE(test_claims__come_in_pages, 0, 0, 0),
	CASE(test_claims__a_witness_that_is_gone_frees_the_volume, 0, 0, 0),
	CASE(test_claims__a_witness_may_be_named_later, 0, 0, 0),
	CASE(test_claims__a_witness_that_never_was_is_refused, 0, 0, 0),
	CASE(test_claims__an_unmounted_target_is_stale, 0, 0, 0),
	CASE(test_claims__an_operator_can_release_one, 0, 0, 0),
	CASE(test_events__tell_what_happened_in_order, 0, 0, 0),
	CASE(test_events__epochs_differ_between_runs, 0, 0, 0),
	{ 0 },
};
