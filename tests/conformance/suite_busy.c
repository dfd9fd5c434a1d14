/* suite_busy.c - many calls at once, calls that join, wait and give up, and storage that hangs or fails.
 *
 * These run on the fault layer with rules of their own.  Counts of calls and the order of callbacks come from
 * the engine; nothing here waits for a time to pass and hopes.
 */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "layers/layer.h"
#include "util/clock.h"

#define CALLS_MAX 128
#define PATIENCE_MS 30000

struct one {
	enum cleat_code code;
	char msg[CLEAT_ERROR_TEXT_BYTES];
	char id[CLEAT_ID_MAX_BYTES + 1]; /* of the first volume of the answer */
	int64_t took_ms;
	bool done;
};

/* Calls that run at once, and their answers. */
struct crowd {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct one calls[CALLS_MAX];
	size_t count, done;
	int64_t since_ms;
};

struct place {
	struct crowd *crowd;
	size_t number;
};

static void answered(const struct cleat_error *err, const struct cleat_result *result, void *arg)
{
	struct place *place = arg;
	struct crowd *crowd = place->crowd;
	struct one *one = &crowd->calls[place->number];

	pthread_mutex_lock(&crowd->lock);
	one->code = err->code;
	memcpy(one->msg, err->msg, sizeof(one->msg));
	if (result && result->volume_count)
		memcpy(one->id, result->volumes[0].id, sizeof(one->id));
	one->took_ms = cleat_time_mono_ms() - crowd->since_ms;
	one->done = true;
	crowd->done++;
	pthread_cond_broadcast(&crowd->cond);
	pthread_mutex_unlock(&crowd->lock);
	free(place);
}

static struct crowd *crowd_new(void)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));

	assert_non_null(crowd);
	pthread_mutex_init(&crowd->lock, NULL);
	pthread_cond_init(&crowd->cond, NULL);
	crowd->since_ms = cleat_time_mono_ms();
	return crowd;
}

static size_t submit(struct world *w, struct crowd *crowd, const struct cleat_request *req)
{
	struct place *place = malloc(sizeof(*place));

	assert_true(place && crowd->count < CALLS_MAX);
	*place = (struct place){ crowd, crowd->count++ };
	size_t number = place->number;
	cleat_engine_submit(w->e, req, answered, place);
	return number;
}

/* Waits until `count` calls have been answered; fails the test when they are not in time. */
static void crowd_wait(struct crowd *crowd, size_t count)
{
	struct timespec end;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_MS / 1000;
	pthread_mutex_lock(&crowd->lock);
	while (crowd->done < count && rc == 0)
		rc = pthread_cond_timedwait(&crowd->cond, &crowd->lock, &end);
	size_t done = crowd->done;
	pthread_mutex_unlock(&crowd->lock);
	if (done < count)
		fail_msg("only %zu of %zu calls have been answered after %d ms", done, count, PATIENCE_MS);
}

static void crowd_free(struct crowd *crowd)
{
	pthread_cond_destroy(&crowd->cond);
	pthread_mutex_destroy(&crowd->lock);
	free(crowd);
}

/* ---- rules, and the file that holds a slot up --------------------------------------------------------- */

static void rules(const char *text)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (cleat_layer_fault_set(text, &err) != CLEAT_OK)
		fail_msg("%s", err.msg);
}

static void hold(struct world *w, const char *slot, unsigned limit_ms)
{
	char text[400], path[200];

	snprintf(path, sizeof(path), "%s/hold", w->dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	snprintf(text, sizeof(text), "%s=hang:%s:%u", slot, path, limit_ms);
	rules(text);
}

static void let_go(struct world *w)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/hold", w->dir);
	unlink(path);
	rules("");
}

/* Waits until an operation runs in the step that the fault layer announces; asserts that it comes to that. */
static void wait_held(struct world *w, struct cleat_operation *out)
{
	const int64_t end = cleat_time_mono_ms() + PATIENCE_MS;
	struct cleat_operation ops[64];

	while (cleat_time_mono_ms() < end) {
		size_t n = cleat_operation_list(w->e, ops, 64);

		for (size_t i = 0; i < n && i < 64; i++) {
			if (strstr(ops[i].step, "held by the fault layer")) {
				*out = ops[i];
				return;
			}
		}
		usleep(2000);
	}
	fail_msg("no operation is held by the fault layer");
}

static void open_held(struct world *w)
{
	w->layer = "fault";
	world_open(w);
}

static struct cleat_request create_req(struct world *w, const char *name)
{
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

	req.name = name;
	req.capacity_bytes = w->fx->volume_bytes;
	return req;
}

/* ---- joining and waiting ------------------------------------------------------------------------------ */

static void test_calls__that_are_the_same_join(void **state)
{
	struct world *w = *state;
	struct crowd *crowd = crowd_new();
	struct cleat_operation op;

	open_held(w);
	struct cleat_request req = create_req(w, "db");
	hold(w, "create", 60000);
	for (int i = 0; i < 16; i++)
		submit(w, crowd, &req);
	wait_held(w, &op);
	struct cleat_operation ops[32];
	assert_int_equal(cleat_operation_list(w->e, ops, 32), 1);
	assert_int_equal(op.verb, CLEAT_VERB_CREATE);
	assert_int_equal(crowd->done, 0);
	let_go(w);
	crowd_wait(crowd, 16);
	for (size_t i = 0; i < 16; i++) {
		assert_int_equal(crowd->calls[i].code, CLEAT_OK);
		assert_string_equal(crowd->calls[i].id, crowd->calls[0].id);
	}
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 1);
	crowd_free(crowd);
	world_tidy(w);
}

static void test_calls__that_differ_wait_and_are_told_for_whom(void **state)
{
	struct world *w = *state;
	struct crowd *crowd = crowd_new();
	struct cleat_operation op;

	w->wait_ms = 200;
	open_held(w);
	ok_create(w, "db", NULL);
	hold(w, "remove", 60000);
	struct cleat_request req = req_for(CLEAT_VERB_DELETE, POOL "/db");
	submit(w, crowd, &req);
	wait_held(w, &op);
	req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	submit(w, crowd, &req);
	crowd_wait(crowd, 1);
	assert_false(crowd->calls[0].done);
	assert_int_equal(crowd->calls[1].code, CLEAT_ABORTED);
	assert_true(crowd->calls[1].took_ms >= 150);
	assert_non_null(strstr(crowd->calls[1].msg, "delete volume"));
	let_go(w);
	crowd_wait(crowd, 2);
	assert_int_equal(crowd->calls[0].code, CLEAT_OK);
	crowd_free(crowd);
	world_tidy(w);
}

static void test_calls__have_their_turn_when_the_first_is_done(void **state)
{
	struct world *w = *state;
	struct crowd *crowd = crowd_new();
	struct cleat_operation op;

	open_held(w);
	hold(w, "create", 60000);
	struct cleat_request req = create_req(w, "db");
	submit(w, crowd, &req);
	wait_held(w, &op);
	/* By its name, while it does not exist yet. */
	req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	submit(w, crowd, &req);
	let_go(w);
	crowd_wait(crowd, 2);
	assert_int_equal(crowd->calls[0].code, CLEAT_OK);
	if (crowd->calls[1].code != CLEAT_OK)
		fail_msg("publish after create: %s", crowd->calls[1].msg);
	crowd_free(crowd);
	world_tidy(w);
}

static void test_calls__that_give_up_stop_nothing(void **state)
{
	struct world *w = *state;
	struct crowd *crowd = crowd_new();
	struct cleat_operation op;

	open_held(w);
	hold(w, "create", 60000);
	struct cleat_request req = create_req(w, "db");
	req.deadline_ms = cleat_time_mono_ms() + 150;
	submit(w, crowd, &req);
	wait_held(w, &op);
	crowd_wait(crowd, 1);
	assert_true(crowd->calls[0].code == CLEAT_DEADLINE_EXCEEDED || crowd->calls[0].code == CLEAT_ABORTED);
	assert_true(crowd->calls[0].took_ms < 5000);
	/* The same call again joins what still runs, and gets its answer. */
	req.deadline_ms = 0;
	submit(w, crowd, &req);
	let_go(w);
	crowd_wait(crowd, 2);
	assert_int_equal(crowd->calls[1].code, CLEAT_OK);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 1);
	crowd_free(crowd);
	world_tidy(w);
}

/* ---- many at once ------------------------------------------------------------------------------------- */

static void submit_conflict(struct world *w, struct crowd *crowd, unsigned i, char (*targets)[256])
{
	static const enum cleat_verb verbs[] = { CLEAT_VERB_PUBLISH, CLEAT_VERB_UNPUBLISH, CLEAT_VERB_CREATE,
						 CLEAT_VERB_DELETE,  CLEAT_VERB_STAGE,	   CLEAT_VERB_UNSTAGE,
						 CLEAT_VERB_USAGE,   CLEAT_VERB_HEALTH };
	struct cleat_request req = req_for(verbs[(i * 5) % 8], POOL "/db");

	if (req.verb == CLEAT_VERB_CREATE)
		req = create_req(w, "db");
	if (req.verb == CLEAT_VERB_PUBLISH || req.verb == CLEAT_VERB_UNPUBLISH)
		req.target = targets[i % 3];
	if (req.verb == CLEAT_VERB_STAGE || req.verb == CLEAT_VERB_UNSTAGE)
		req.target = targets[3];
	submit(w, crowd, &req);
}

static void test_calls__sixty_four_conflicting_ones_leave_order(void **state)
{
	struct world *w = *state;
	char targets[4][256], leaf[8];
	const unsigned allowed = CODE(CLEAT_OK) | CODE(CLEAT_ABORTED) | CODE(CLEAT_FAILED_PRECONDITION) |
				 CODE(CLEAT_NOT_FOUND);

	open_held(w);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(leaf, sizeof(leaf), "t%u", i);
		target_path(w, leaf, true, targets[i]);
	}
	for (unsigned round = 0; round < 3; round++) {
		struct crowd *crowd = crowd_new();

		ok_create(w, "db", NULL);
		for (unsigned i = 0; i < 64; i++)
			submit_conflict(w, crowd, i + round, targets);
		crowd_wait(crowd, 64);
		for (size_t i = 0; i < 64; i++)
			if (!(allowed & CODE(crowd->calls[i].code)))
				fail_msg("one of 64: %s: %s", cleat_code_name(crowd->calls[i].code),
					 crowd->calls[i].msg);
		crowd_free(crowd);
		assert_true(count_volumes(w, CLEAT_KIND_VOLUME) <= 1);
		assert_int_equal(mounts_below(w->targets, NULL, false), count_claims(w, NULL));
		struct cleat_operation ops[4];
		assert_int_equal(cleat_operation_list(w->e, ops, 4), 0);
	}
	world_tidy(w);
}

static void test_calls__for_many_volumes_run_beside_each_other(void **state)
{
	struct world *w = *state;
	struct crowd *crowd = crowd_new();
	struct cleat_request req;
	char name[16], ref[32], target[256];

	open_held(w);
	for (unsigned i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "v%u", i);
		req = create_req(w, name);
		submit(w, crowd, &req);
	}
	crowd_wait(crowd, 12);
	for (unsigned i = 0; i < 12; i++) {
		snprintf(ref, sizeof(ref), POOL "/v%u", i);
		snprintf(name, sizeof(name), "t%u", i);
		req = req_for(CLEAT_VERB_PUBLISH, ref);
		req.target = target_path(w, name, true, target);
		submit(w, crowd, &req);
	}
	crowd_wait(crowd, 24);
	for (size_t i = 0; i < 24; i++)
		if (crowd->calls[i].code != CLEAT_OK)
			fail_msg("%s: %s", cleat_code_name(crowd->calls[i].code), crowd->calls[i].msg);
	assert_int_equal(mounts_below(w->targets, NULL, false), 12);
	crowd_free(crowd);
	world_tidy(w);
}

/* Sixteen threads that really call at once, each for its own volume and one for all. */
struct caller {
	pthread_t thread;
	struct world *w;
	unsigned number, failures;
	char msg[CLEAT_ERROR_TEXT_BYTES];
};

static void call_quietly(struct caller *c, const struct cleat_request *req)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_result res = { 0 };
	enum cleat_code code = CLEAT_ABORTED;

	/* ABORTED: on a slow machine the turn may not come within the longest wait; the caller asks again, as
	 * it should. */
	for (int i = 0; i < 10 && code == CLEAT_ABORTED; i++)
		code = cleat_engine_call(c->w->e, req, &res, &err);
	if (code == CLEAT_OK) {
		cleat_engine_result_done(&res);
	} else {
		c->failures++;
		memcpy(c->msg, err.msg, sizeof(c->msg));
	}
}

static void *call_on(void *arg)
{
	struct caller *c = arg;
	char name[16], ref[32];
	struct cleat_request req;

	snprintf(name, sizeof(name), "c%u", c->number);
	snprintf(ref, sizeof(ref), POOL "/%s", name);
	for (int i = 0; i < 3; i++) {
		req = create_req(c->w, name);
		call_quietly(c, &req);
		req = req_for(CLEAT_VERB_PUBLISH, ref);
		call_quietly(c, &req);
		req = req_for(CLEAT_VERB_HEALTH, POOL "/shared");
		call_quietly(c, &req);
		req = req_for(CLEAT_VERB_UNPUBLISH, ref);
		call_quietly(c, &req);
		req = req_for(CLEAT_VERB_DELETE, ref);
		call_quietly(c, &req);
	}
	return NULL;
}

static void test_calls__from_many_threads(void **state)
{
	struct world *w = *state;
	struct caller callers[16];

	open_held(w);
	ok_create(w, "shared", NULL);
	for (unsigned i = 0; i < 16; i++) {
		callers[i] = (struct caller){ .w = w, .number = i };
		assert_int_equal(pthread_create(&callers[i].thread, NULL, call_on, &callers[i]), 0);
	}
	for (unsigned i = 0; i < 16; i++)
		pthread_join(callers[i].thread, NULL);
	for (unsigned i = 0; i < 16; i++)
		if (callers[i].failures)
			fail_msg("caller %u: %u failures: %s", i, callers[i].failures, callers[i].msg);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 1);
	world_tidy(w);
}

/* ---- storage that hangs ------------------------------------------------------------------------------- */

static void test_hang__of_one_pool_is_no_other_pools_trouble(void **state)
{
	struct world *w = *state;
	struct crowd *crowd = crowd_new();
	struct cleat_request req;
	struct cleat_operation op;
	struct cleat_pool_state pools[4];
	char name[16], t[256];

	w->pool_count = 2;
	w->layers[0] = "fault";
	world_open(w);
	wait_online(w, POOL "2", true);
	ok_create(w, "db", NULL);
	hold(w, "*", 300);
	/* More calls than the lane has threads. */
	for (unsigned i = 0; i < 24; i++) {
		snprintf(name, sizeof(name), "h%u", i);
		req = create_req(w, name);
		submit(w, crowd, &req);
	}
	wait_held(w, &op);
	/* The other pool: a whole life. */
	req = create_req(w, "free");
	req.pool = POOL "2";
	ok_call(w, &req, NULL);
	ok_publish(w, POOL "2/free", "t", t);
	put_file(t, "f", 1000, 1);
	ok_unpublish(w, POOL "2/free", t);
	ok_delete(w, POOL "2/free");
	/* Reading answers for the hanging pool as well. */
	assert_true(exists(w, POOL "/db", CLEAT_KIND_VOLUME));
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 1);
	assert_int_equal(count_claims(w, NULL), 0);
	assert_int_equal(cleat_pool_list(w->e, pools, 4), 2);
	let_go(w);
	crowd_wait(crowd, 24);
	crowd_free(crowd);
	world_tidy(w);
}

static void wait_stuck(struct world *w, const char *volume, bool stuck)
{
	struct cleat_volume_state v;
	const int64_t end = cleat_time_mono_ms() + PATIENCE_MS;
	bool is = !stuck;

	while (is != stuck && cleat_time_mono_ms() < end) {
		ok_get(w, volume, CLEAT_KIND_VOLUME, &v);
		is = v.stuck_since_ms != 0;
		cleat_volume_state_done(&v);
		usleep(5000);
	}
	assert_int_equal(is, stuck);
}

static void test_hang__marks_the_volume_stuck_and_lets_go(void **state)
{
	struct world *w = *state;
	struct crowd *crowd = crowd_new();
	struct cleat_request req = req_for(CLEAT_VERB_HEALTH, POOL "/db");
	struct cleat_pool_state st;

	open_held(w);
	ok_create(w, "db", NULL);
	ok_create(w, "other", NULL);
	hold(w, "health", 200);
	submit(w, crowd, &req);
	wait_stuck(w, POOL "/db", true);
	crowd_wait(crowd, 1);
	assert_true(crowd->calls[0].code == CLEAT_DEADLINE_EXCEEDED ||
		    crowd->calls[0].code == CLEAT_UNAVAILABLE || crowd->calls[0].code == CLEAT_ABORTED);
	assert_int_equal(cleat_pool_get(w->e, POOL, &st, NULL), CLEAT_OK);
	assert_int_equal(st.stuck_count, 1);
	let_go(w);
	wait_stuck(w, POOL "/db", false);
	ok_call(w, &req, NULL);
	crowd_free(crowd);
	world_tidy(w);
}

/* ---- storage that is not ready, or fails -------------------------------------------------------------- */

static void test_again__is_asked_without_holding_a_thread(void **state)
{
	struct world *w = *state;
	struct crowd *crowd = crowd_new();
	char name[16];

	open_held(w);
	rules("create=again:50:30");
	const int64_t since = cleat_time_mono_ms();
	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "v%u", i);
		struct cleat_request req = create_req(w, name);
		submit(w, crowd, &req);
	}
	crowd_wait(crowd, 10);
	for (size_t i = 0; i < 10; i++)
		assert_int_equal(crowd->calls[i].code, CLEAT_OK);
	/* Thirty turns of 50 ms for ten volumes: none of them could come before its first had passed. */
	assert_true(cleat_time_mono_ms() - since >= 50);
	crowd_free(crowd);
	world_tidy(w);
}

static void test_errors__of_the_storage_come_through_and_leave_nothing(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *rules;
		enum cleat_verb verb;
		enum cleat_code code;
	} faults[] = {
		{ "create=error:RESOURCE_EXHAUSTED:1", CLEAT_VERB_CREATE, CLEAT_RESOURCE_EXHAUSTED },
		{ "map=error:UNAVAILABLE:1", CLEAT_VERB_PUBLISH, CLEAT_UNAVAILABLE },
		{ "remove=error:INTERNAL:1", CLEAT_VERB_DELETE, CLEAT_INTERNAL },
		{ "health=error:DATA_LOSS:1", CLEAT_VERB_HEALTH, CLEAT_DATA_LOSS },
	};
	char t[256];

	open_held(w);
	for (size_t i = 0; i < CLEAT_COUNT(faults); i++) {
		struct cleat_request req = req_for(faults[i].verb, POOL "/db");
		struct cleat_result res = { 0 };
		struct cleat_error err;

		if (faults[i].verb == CLEAT_VERB_CREATE)
			req = create_req(w, "db");
		else
			ok_create(w, "db", NULL);
		req.target = faults[i].verb == CLEAT_VERB_PUBLISH ? target_path(w, "t", true, t) : NULL;
		rules(faults[i].rules);
		enum cleat_code code = call(w, &req, &res, &err);
		if (code == CLEAT_OK) { /* a broken volume may be an answer of its own */
			assert_int_equal(faults[i].verb, CLEAT_VERB_HEALTH);
			assert_false(res.healthy);
			cleat_engine_result_done(&res);
		} else {
			assert_int_equal(code, faults[i].code);
			assert_non_null(strstr(err.msg, "was made to fail"));
		}
		assert_int_equal(mounts_below(w->targets, NULL, true), 0);
		assert_int_equal(count_claims(w, NULL), 0);
		rules("");
		ok_call(w, &req, NULL);
		rules("");
		if (faults[i].verb == CLEAT_VERB_PUBLISH)
			ok_unpublish(w, POOL "/db", t);
	}
	world_tidy(w);
}

/* The backend has done its work, and the answer never came: the same call again finds it done. */
static void test_errors__a_lost_answer_is_found_again(void **state)
{
	struct world *w = *state;
	struct cleat_request req;
	struct cleat_result res;
	struct cleat_error err;
	char t[256];

	open_held(w);
	rules("create=late:UNAVAILABLE:1,map=late:UNAVAILABLE:1,unmap=late:UNAVAILABLE:1,remove=late:"
	      "UNAVAILABLE:1");
	req = create_req(w, "db");
	assert_int_equal(call(w, &req, &res, &err), CLEAT_UNAVAILABLE);
	ok_call(w, &req, NULL);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 1);
	assert_int_equal(pool_entries(w, "volumes"), 1);
	req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	req.target = target_path(w, "t", true, t);
	assert_int_equal(call(w, &req, &res, &err), CLEAT_UNAVAILABLE);
	assert_false(is_mounted(t));
	ok_call(w, &req, NULL);
	req.verb = CLEAT_VERB_UNPUBLISH;
	for (int i = 0; i < 2; i++)
		if (call(w, &req, &res, &err) == CLEAT_OK)
			cleat_engine_result_done(&res);
	assert_false(is_mounted(t));
	req = req_for(CLEAT_VERB_DELETE, POOL "/db");
	for (int i = 0; i < 2; i++)
		if (call(w, &req, &res, &err) == CLEAT_OK)
			cleat_engine_result_done(&res);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 0);
	rules("");
	/* A restart shows what the storage really has. */
	world_close(w);
	world_open(w);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 0);
	world_tidy(w);
}

static void test_faults__rules_that_are_not_understood_are_refused(void **state)
{
	static const char *const bad[] = { "create",
					   "nothing=delay:1",
					   "create=explode",
					   "create=error:NOPE",
					   "create=delay:x",
					   "probe=again:1:1",
					   "create=hang:file",
					   "create=crash:0",
					   "create=error:INTERNAL:1:2" };
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++)
		assert_int_equal(cleat_layer_fault_set(bad[i], &err), CLEAT_INVALID_ARGUMENT);
	assert_null(cleat_layer_find("nothing", cleat_backend_at(0)));
	assert_ptr_equal(cleat_layer_fault(cleat_backend_at(0)), cleat_layer_fault(cleat_backend_at(0)));
}

const struct suite_case suite_busy[] = {
	CASE(test_calls__that_are_the_same_join, NEEDS_BARE, 0, 0),
	CASE(test_calls__that_differ_wait_and_are_told_for_whom, NEEDS_BARE | IN_QUICK, 0, 0),
	CASE(test_calls__have_their_turn_when_the_first_is_done, NEEDS_BARE, 0, 0),
	CASE(test_calls__that_give_up_stop_nothing, NEEDS_BARE, 0, 0),
	CASE(test_calls__sixty_four_conflicting_ones_leave_order, NEEDS_BARE | IN_QUICK, 0, 0),
	CASE(test_calls__for_many_volumes_run_beside_each_other, NEEDS_BARE, 0, 0),
	CASE(test_calls__from_many_threads, NEEDS_BARE, 0, 0),
	CASE(test_hang__of_one_pool_is_no_other_pools_trouble, NEEDS_BARE | IN_QUICK, 0, 0),
	CASE(test_hang__marks_the_volume_stuck_and_lets_go, NEEDS_BARE, 0, 0),
	CASE(test_again__is_asked_without_holding_a_thread, NEEDS_BARE, 0, 0),
	CASE(test_errors__of_the_storage_come_through_and_leave_nothing, NEEDS_BARE, 0, 0),
	CASE(test_errors__a_lost_answer_is_found_again, NEEDS_BARE, 0, 0),
	CASE(test_faults__rules_that_are_not_understood_are_refused, NEEDS_BARE, 0, 0),
	{ 0 },
};
