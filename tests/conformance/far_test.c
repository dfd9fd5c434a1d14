/* far_test.c - what only backends of a far side have: two nodes on one storage, dead nodes, slow and
 * forgetful answers, throttling, limits, and how many calls it all takes.
 *
 *   far [--only PATTERN]
 *
 * Two engines of this process are two nodes: instances i-...1 and i-...2 of the simulator (tests/sim/ec2.py).
 */
#include "world.h"

#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim.h"
#include "util/clock.h"
#include "util/kv.h"
#include "util/log.h"

#define NODE_1 "i-00000000000000001"
#define NODE_2 "i-00000000000000002"

/* ---- the simulator ---- */

static void sim(const char *what, const char *json)
{
	if (!sim_call(fixture_port(), what, json, NULL, 0))
		fail_msg("the simulator refuses '%s'", what);
}

static const char *sim_state(void)
{
	static char text[1024 * 1024];

	assert_true(sim_call(fixture_port(), "state", NULL, text, sizeof(text)));
	return text;
}

static bool sim_says(const char *words)
{
	const bool said = strstr(sim_state(), words) != NULL;

	if (!said)
		print_message("%s\n", sim_state());
	return said;
}

/* Calls of that action so far; "" for all of them. */
static unsigned calls_made(const char *action)
{
	char text[4096], key[64];
	unsigned total = 0;

	assert_true(sim_call(fixture_port(), "stats", NULL, text, sizeof(text)));
	snprintf(key, sizeof(key), "\"%s\": ", action);
	const char *at = *action ? strstr(text, key) : NULL;
	if (*action)
		return at ? (unsigned)atoi(at + strlen(key)) : 0;
	for (at = text; (at = strstr(at, "\": ")); at += 3)
		total += (unsigned)atoi(at + 3);
	return total;
}

/* ---- the other node ---- */

static struct world other;

static void set_config(struct cleat_kvs *kvs, const char *key, const char *value)
{
	assert_int_equal(cleat_kv_set(kvs, key, value, NULL), CLEAT_OK);
}

/* Opens an engine for the second instance on the same storage. */
static struct world *open_other(struct world *w)
{
	struct world_config c;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char text[256];

	other = *w;
	other.e = NULL;
	other.report = (struct cleat_buf)CLEAT_BUF_INIT(64 * 1024);
	snprintf(other.state_dir, sizeof(other.state_dir), "%s/state2", w->dir);
	snprintf(other.run_dir, sizeof(other.run_dir), "%s/run2", w->dir);
	snprintf(other.targets, sizeof(other.targets), "%s/targets2", w->dir);
	mkdir(other.targets, 0755);
	config_make(&other, &c);
	c.engine.node = "node-2";
	snprintf(text, sizeof(text), "http://127.0.0.1:%d/imds/" NODE_2, fixture_port());
	set_config(&c.pools[0].config, "metadata", text);
	snprintf(text, sizeof(text), "%s/node2/dev", suite_dir);
	set_config(&c.pools[0].config, "dev", text);
	snprintf(text, sizeof(text), "%s/node2/sys", suite_dir);
	set_config(&c.pools[0].config, "sys", text);
	if (cleat_engine_open(&c.engine, &other.e, &err))
		fail_msg("%s", err.msg);
	config_done(&c);
	wait_online(&other, POOL, true);
	return &other;
}

static void close_other(void)
{
	if (other.e)
		assert_true(cleat_engine_close(other.e, 10000));
	other.e = NULL;
	cleat_buf_done(&other.report);
}

static void tidy_both(struct world *w)
{
	close_other();
	world_tidy(w);
}

static void ok_create_params(struct world *w, const char *name, const struct cleat_kvs *params)
{
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

	req.name = name;
	req.params = params;
	req.capacity_bytes = w->fx->volume_bytes;
	ok_create_with(w, &req, NULL);
}

static const char *attribute(struct world *w, const char *volume, const char *key, char out[300])
{
	struct cleat_volume_state v;

	ok_get(w, volume, CLEAT_KIND_VOLUME, &v);
	const char *value = cleat_kv_get(&v.record->attributes, key);
	snprintf(out, 300, "%s", value ? value : "");
	cleat_volume_state_done(&v);
	return out;
}

/* ---- two nodes ---- */

static void test_nodes__a_volume_is_handed_over(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	char t1[256], t2[256];

	world_open(w);
	struct world *b = open_other(w);
	/* Made after the other had opened the pool: it is asked for. */
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t1);
	put_file(t1, "f", 100000, 1);
	req.target = target_path(b, "t", true, t2);
	refused(b, &req, CLEAT_FAILED_PRECONDITION, "attached to node 'node-1'");
	ok_unpublish(w, POOL "/db", t1);
	ok_publish(b, POOL "/db", "t", t2);
	assert_true(has_file(t2, "f", 100000, 1));
	req.target = target_path(w, "t", true, t1);
	refused(w, &req, CLEAT_FAILED_PRECONDITION, "attached to node 'node-2'");
	ok_unpublish(b, POOL "/db", t2);
	assert_true(sim_says("\"attachments\": []"));
	/* Deleted there: gone here, too. */
	ok_delete(b, POOL "/db");
	refused(w, &req, CLEAT_NOT_FOUND, "does not exist");
	tidy_both(w);
}

static void test_nodes__a_name_made_anew_elsewhere_is_the_new_volume(void **state)
{
	struct world *w = *state;
	char first[CLEAT_ID_MAX_BYTES + 1], second[CLEAT_ID_MAX_BYTES + 1], t[256];

	world_open(w);
	struct world *b = open_other(w);
	ok_create(w, "db", first);
	ok_delete(b, POOL "/db");
	ok_create(b, "db", second);
	assert_string_not_equal(first, second);
	ok_publish(w, POOL "/db", "t", t);
	assert_true(exists(w, second, CLEAT_KIND_VOLUME));
	assert_false(exists(w, first, CLEAT_KIND_VOLUME));
	ok_unpublish(w, POOL "/db", t);
	tidy_both(w);
}

static void test_nodes__snapshots_of_others_can_be_restored(void **state)
{
	struct world *w = *state;
	char t[256];

	world_open(w);
	struct world *b = open_other(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", 5000, 3);
	ok_snapshot(w, POOL "/db", "snap", NULL);
	ok_clone(b, POOL "/snap", "copy", 0, NULL);
	ok_publish(b, POOL "/copy", "t", t);
	assert_true(has_file(t, "f", 5000, 3));
	ok_unpublish(b, POOL "/copy", t);
	target_path(w, "t", false, t);
	ok_unpublish(w, POOL "/db", t);
	close_other();
	world_close(w);
	world_tidy(w);
}

/* A node that died: its daemon is gone, its mounts are not. */
static void die(struct world *w, const char *how)
{
	char text[96];

	world_close(w);
	snprintf(text, sizeof(text), "{\"id\": \"" NODE_1 "\", \"state\": \"%s\"}", how);
	sim("instance", text);
}

static void bury(struct world *w)
{
	sim("instance", "{\"id\": \"" NODE_1 "\", \"state\": \"running\"}");
	clear_below(w->targets);
	clear_below(w->run_dir);
}

static void test_nodes__a_dead_one_is_evicted_only_by_policy(void **state)
{
	struct world *w = *state;
	struct cleat_kvs params = kv_one("preempt", "stopped");
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	char t[256], text[300];

	world_open(w);
	ok_create_params(w, "db", &params);
	ok_create(w, "firm", NULL);
	ok_publish(w, POOL "/db", "t", t);
	ok_publish(w, POOL "/firm", "u", t);
	struct world *b = open_other(w);
	req.target = target_path(b, "t", true, t);
	refused(b, &req, CLEAT_FAILED_PRECONDITION, "node-1"); /* it is running */
	die(w, "stopped");
	ok_call(b, &req, NULL);
	attribute(b, POOL "/db", "evicted", text);
	if (!*text) { /* told with the next look at the record */
		const struct cleat_request health = req_for(CLEAT_VERB_HEALTH, POOL "/db");
		ok_call(b, &health, NULL);
		attribute(b, POOL "/db", "evicted", text);
	}
	assert_non_null(strstr(text, NODE_1));
	assert_non_null(strstr(text, "node-1"));
	assert_non_null(strstr(text, "policy stopped"));
	/* Without a policy a dead node keeps what it has, until somebody gives the order. */
	req.volume = POOL "/firm";
	req.target = target_path(b, "u", true, t);
	refused(b, &req, CLEAT_FAILED_PRECONDITION, "stopped");
	struct cleat_request order = req_for(CLEAT_VERB_DETACH, POOL "/firm");
	order.force = true;
	ok_call(b, &order, NULL);
	ok_call(b, &req, NULL);
	assert_non_null(strstr(attribute(b, POOL "/firm", "evicted", text), "by order"));
	ok_unpublish(b, POOL "/firm", t);
	ok_unpublish(b, POOL "/db", target_path(b, "t", false, t));
	cleat_kv_done(&params);
	bury(w);
	tidy_both(w);
}

static void test_nodes__always_means_that_the_last_one_wins(void **state)
{
	struct world *w = *state;
	struct cleat_kvs params = kv_one("preempt", "always");
	char t1[256], t2[256];

	world_open(w);
	ok_create_params(w, "db", &params);
	ok_publish(w, POOL "/db", "t", t1);
	struct world *b = open_other(w);
	ok_publish(b, POOL "/db", "t", t2);
	assert_true(sim_says(NODE_2));
	assert_null(strstr(sim_state(), "[\"" NODE_1));
	ok_unpublish(b, POOL "/db", t2);
	ok_unpublish(w, POOL "/db", t1);
	cleat_kv_done(&params);
	tidy_both(w);
}

static void test_nodes__attachments_that_were_asked_for_stay(void **state)
{
	struct world *w = *state;
	struct cleat_request attach = req_for(CLEAT_VERB_ATTACH, POOL "/db"),
			     detach = req_for(CLEAT_VERB_DETACH, POOL "/db");
	char t[256];

	world_open(w);
	struct world *b = open_other(w);
	ok_create(w, "db", NULL);
	/* The controller is one node, the volume goes to the other. */
	attach.node = "node-2";
	ok_call(w, &attach, NULL);
	assert_true(sim_says("[\"" NODE_2));
	ok_publish(b, POOL "/db", "t", t);
	ok_unpublish(b, POOL "/db", t);
	assert_true(sim_says("[\"" NODE_2)); /* nobody has detached it yet */
	attach.node = "node-1";
	refused(w, &attach, CLEAT_FAILED_PRECONDITION, "node-2");
	detach.node = "node-2";
	ok_call(w, &detach, NULL);
	assert_true(sim_says("\"attachments\": []"));
	ok_call(w, &attach, NULL);
	detach.node = "node-1";
	ok_call(b, &detach, NULL);
	assert_true(sim_says("\"attachments\": []"));
	detach.node = "nobody";
	ok_call(w, &detach, NULL);
	attach.node = "nobody";
	refused(w, &attach, CLEAT_NOT_FOUND, "nobody");
	tidy_both(w);
}

/* ---- slow and forgetful ---- */

static void test_far__everything_may_be_late(void **state)
{
	struct world *w = *state;
	char t[256];

	world_open(w);
	sim("set", "{\"create\": 0.2, \"late\": 0.15, \"attach\": 0.2, \"device\": 0.2, \"detach\": 0.2, "
		   "\"modify\": 0.2, \"snapshot\": 0.3}");
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", 1000, 1);
	struct cleat_request grow = req_for(CLEAT_VERB_EXPAND, POOL "/db");
	grow.capacity_bytes = 2 * GIB;
	ok_call(w, &grow, NULL);
	ok_snapshot(w, POOL "/db", "snap", NULL);
	ok_clone(w, POOL "/snap", "copy", 0, NULL);
	ok_clone(w, POOL "/db", "twin", 0, NULL);
	ok_unpublish(w, POOL "/db", t);
	ok_publish(w, POOL "/twin", "t", t);
	assert_true(has_file(t, "f", 1000, 1));
	ok_unpublish(w, POOL "/twin", t);
	assert_int_equal(calls_made("CreateVolume"), 3);
	world_tidy(w);
}

static void test_far__a_lost_answer_makes_nothing_twice(void **state)
{
	struct world *w = *state;
	struct cleat_request snap = req_for(CLEAT_VERB_SNAPSHOT, POOL "/db");
	struct cleat_result res;
	struct cleat_error err;
	char t[256];

	world_open(w);
	sim("fault", "{\"action\": \"CreateVolume\", \"late\": true, \"code\": \"x\"}");
	ok_create(w, "db", NULL);
	assert_int_equal(fixture_far_count(), 1);
	sim("fault", "{\"action\": \"AttachVolume\", \"late\": true, \"code\": \"x\"}");
	ok_publish(w, POOL "/db", "t", t);
	sim("fault", "{\"action\": \"DetachVolume\", \"late\": true, \"code\": \"x\"}");
	ok_unpublish(w, POOL "/db", t);
	sim("fault", "{\"action\": \"CreateSnapshot\", \"late\": true, \"code\": \"x\"}");
	snap.name = "snap";
	if (call(w, &snap, &res, &err) == CLEAT_OK)
		cleat_engine_result_done(&res);
	ok_snapshot(w, POOL "/db", "snap", NULL);
	assert_int_equal(fixture_far_count(), 2);
	sim("fault", "{\"action\": \"DeleteVolume\", \"late\": true, \"code\": \"x\"}");
	ok_delete(w, POOL "/db");
	world_tidy(w);
}

static void test_far__names_are_used_again(void **state)
{
	struct world *w = *state;
	char ids[3][CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	for (int i = 0; i < 3; i++) {
		ok_create(w, "db", ids[i]);
		ok_delete(w, POOL "/db");
		/* A new daemon begins to count its attempts anew, and its first token was used before. */
		world_close(w);
		world_open(w);
	}
	assert_string_not_equal(ids[0], ids[1]);
	assert_string_not_equal(ids[1], ids[2]);
	/* A token that was used for another wish. */
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	req.name = "db";
	req.capacity_bytes = 3 * GIB;
	ok_create_with(w, &req, NULL);
	assert_int_equal(fixture_far_count(), 1);
	world_tidy(w);
}

struct many {
	struct world *w;
	unsigned left;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct cleat_error err;
};

static void one_done(const struct cleat_error *err, const struct cleat_result *result, void *arg)
{
	struct many *m = arg;

	(void)result;
	pthread_mutex_lock(&m->lock);
	if (err->code)
		m->err = *err;
	m->left--;
	pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->lock);
}

static void create_many(struct world *w, unsigned count)
{
	struct many m = {
		.w = w, .left = count, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER
	};
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
		snprintf(name, sizeof(name), "v%u", i);
		req.name = name;
		req.capacity_bytes = GIB;
		cleat_engine_submit(w->e, &req, one_done, &m);
	}
	pthread_mutex_lock(&m.lock);
	while (m.left)
		pthread_cond_wait(&m.cond, &m.lock);
	pthread_mutex_unlock(&m.lock);
	if (m.err.code)
		fail_msg("%s: %s", cleat_code_name(m.err.code), m.err.msg);
}

static void test_far__throttling_slows_down_and_loses_nothing(void **state)
{
	struct world *w = *state;

	world_open(w);
	sim("set", "{\"rate\": 20, \"burst\": 5}");
	create_many(w, 12);
	assert_true(calls_made("throttled") > 0);
	sim("set", "{\"rate\": 0}");
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 12);
	assert_int_equal(fixture_far_count(), 12);
	world_tidy(w);
}

static void test_far__looks_that_come_together_are_one_call(void **state)
{
	struct world *w = *state;

	world_open(w);
	sim("set", "{\"create\": 0.3}");
	sim("uncount", NULL);
	create_many(w, 40);
	const unsigned looks = calls_made("DescribeVolumes");
	print_message("40 creations beside each other: %u calls, %u of them DescribeVolumes\n",
		      calls_made(""), looks);
	assert_true(looks < 40 * 7);
	world_tidy(w);
}

static void test_far__lists_come_in_pages(void **state)
{
	struct world *w = *state;

	world_open(w);
	create_many(w, 12);
	world_close(w);
	sim("set", "{\"page\": 5}");
	sim("uncount", NULL);
	world_open(w);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 12);
	assert_int_equal(calls_made("DescribeVolumes"), 3);
	sim("set", "{\"page\": 1000}");
	world_tidy(w);
}

static void test_far__nothing_is_asked_while_nothing_happens(void **state)
{
	struct world *w = *state;
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	sim("uncount", NULL);
	sleep(7); /* more than one probe of the pool */
	assert_int_equal(calls_made(""), 0);
	ok_unpublish(w, POOL "/db", t);
	world_tidy(w);
}

static void test_far__out_of_reach_is_offline_and_comes_back(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

	world_open(w);
	ok_create(w, "db", NULL);
	sim("fault",
	    "{\"action\": \"*\", \"code\": \"ServiceUnavailable\", \"status\": 503, \"times\": 1000}");
	req.name = "new";
	refused(w, &req, CLEAT_UNAVAILABLE, "ServiceUnavailable");
	sim("fault", "{\"forget\": true}");
	ok_create(w, "new", NULL);
	world_tidy(w);
}

/* ---- attaching ---- */

static void test_attach__names_in_use_are_passed_over(void **state)
{
	struct world *w = *state;
	char t[256];

	world_open(w);
	sim("set", "{\"used_names\": \"/dev/xvdaa /dev/xvdab\"}");
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	assert_true(sim_says("/dev/xvdac"));
	ok_unpublish(w, POOL "/db", t);
	ok_publish(w, POOL "/db", "t", t);
	assert_true(sim_says("/dev/xvdad")); /* the name of a moment ago is not taken again */
	ok_unpublish(w, POOL "/db", t);
	world_tidy(w);
}

static void test_attach__no_more_than_the_instance_can_have(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/b");
	char t[256], u[256];

	w->extra_config[0] = "attach_limit";
	w->extra_config[1] = "1";
	world_open(w);
	ok_create(w, "a", NULL);
	ok_create(w, "b", NULL);
	ok_publish(w, POOL "/a", "t", t);
	req.target = target_path(w, "u", true, u);
	refused(w, &req, CLEAT_RESOURCE_EXHAUSTED, "has 1 volumes attached, and can have 1");
	ok_unpublish(w, POOL "/a", t);
	ok_call(w, &req, NULL);
	ok_unpublish(w, POOL "/b", u);
	world_tidy(w);
}

static void test_attach__what_a_killed_daemon_left_is_detached(void **state)
{
	struct world *w = *state;
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	world_close(w);
	/* As after a reboot: nothing is mounted, nothing is recorded, but EC2 remembers. */
	clear_below(w->targets);
	clear_below(w->run_dir);
	remove_all(w->run_dir);
	world_open(w);
	assert_true(reported(w, "attached here and nobody used it"));
	ok_publish(w, POOL "/db", "t", t);
	ok_unpublish(w, POOL "/db", t);
	world_tidy(w);
}

/* ---- parameters ---- */

static void test_params__reach_ec2(void **state)
{
	struct world *w = *state;
	struct cleat_kvs params = kv_one("iops", "4000");
	char text[300];

	world_open(w);
	set_config(&params, "throughput", "250");
	set_config(&params, "encrypted", "true");
	set_config(&params, "tags", "team=red,cost=7");
	ok_create_params(w, "db", &params);
	assert_true(sim_says("\"type\": \"gp3\", \"iops\": 4000, \"throughput\": 250, \"encrypted\": true"));
	assert_true(sim_says("\"team\": \"red\""));
	assert_true(sim_says("\"Name\": \"db\""));
	assert_string_equal(attribute(w, POOL "/db", "zone", text), "eu-test-1a");
	struct cleat_kvs changed = kv_one("iops", "5000");
	struct cleat_request req = req_for(CLEAT_VERB_MODIFY, POOL "/db");
	req.params = &changed;
	ok_call(w, &req, NULL);
	assert_true(sim_says("\"iops\": 5000"));
	set_config(&changed, "iops", "99999"); /* more than gp3 has */
	refused(w, &req, CLEAT_INVALID_ARGUMENT, "iops");
	cleat_kv_done(&changed);
	cleat_kv_done(&params);
	struct cleat_kvs wrong = kv_one("tags", "cleat:pool=x");
	struct cleat_request bad = req_for(CLEAT_VERB_CREATE, NULL);
	bad.name = "bad";
	bad.params = &wrong;
	refused(w, &bad, CLEAT_INVALID_ARGUMENT, "not yours to set");
	cleat_kv_done(&wrong);
	world_tidy(w);
}

/* A volume that is there already, as JSON tells; its id. */
static void existing(const char *json, char id[32])
{
	char text[128];

	assert_true(sim_call(fixture_port(), "volume", json, text, sizeof(text)));
	assert_int_equal(sscanf(text, "{\"id\": \"%31[^\"]", id), 1);
}

static void test_adopt__takes_in_a_volume_and_never_formats(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_ADOPT, NULL);
	struct cleat_volume_state v;
	char id[32], empty[32], foreign[32], t[256];

	world_open(w);
	existing("{\"gib\": 1, \"fs\": \"xfs\"}", id);
	existing("{\"gib\": 1}", empty);
	existing("{\"gib\": 1, \"fs\": \"ext4\", \"tags\": {\"cleat:pool\": \"theirs\"}}", foreign);
	req.name = "db";
	req.what = id;
	ok_call(w, &req, NULL);
	ok_call(w, &req, NULL);
	ok_get(w, POOL "/db", CLEAT_KIND_VOLUME, &v);
	assert_string_equal(v.record->fs, "xfs");
	assert_string_equal(v.record->key, id);
	assert_true(v.record->adopted && v.record->formatted);
	cleat_volume_state_done(&v);
	ok_publish(w, POOL "/db", "t", t);
	ok_unpublish(w, POOL "/db", t);
	req.name = "other";
	req.what = empty;
	refused(w, &req, CLEAT_FAILED_PRECONDITION, "empty");
	req.what = foreign;
	refused(w, &req, CLEAT_FAILED_PRECONDITION, "belongs to pool 'theirs'");
	req.what = "vol-00000000deadbeef0";
	refused(w, &req, CLEAT_NOT_FOUND, "no volume");
	req.what = "/dev/sda";
	refused(w, &req, CLEAT_INVALID_ARGUMENT, "volume id");
	ok_delete(w, POOL "/db");
	assert_true(sim_says(empty) && sim_says(foreign)); /* what is not ours stays */
	assert_null(strstr(sim_state(), id));
	world_close(w);
}

static void test_adopt__a_device_with_data_is_never_formatted(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	struct cleat_volume_state v;
	char t[256], path[300];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_get(w, POOL "/db", CLEAT_KIND_VOLUME, &v);
	snprintf(path, sizeof(path), "%s/%s.img", w->pool_path, v.record->key);
	cleat_volume_state_done(&v);
	const char *const mkfs[] = { "mkfs.xfs", "-q", path, NULL };
	assert_int_equal(run_tool(mkfs), 0);
	req.target = target_path(w, "t", true, t);
	refused(w, &req, CLEAT_FAILED_PRECONDITION, "holds xfs: not touched");
	world_tidy(w);
}

/* ---- credentials ---- */

static void test_credentials__of_the_role_are_renewed(void **state)
{
	struct world *w = *state;

	sim("set", "{\"key_seconds\": 1.5}");
	world_open(w);
	for (int i = 0; i < 8; i++) {
		char name[16];
		snprintf(name, sizeof(name), "v%d", i);
		ok_create(w, name, NULL);
		usleep(500000);
	}
	sim("set", "{\"key_seconds\": 3600}");
	usleep(1600000);
	world_tidy(w);
}

static void test_credentials__come_from_a_file(void **state)
{
	struct world *w = *state;
	char path[256];

	snprintf(path, sizeof(path), "%s/credentials", w->dir);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "[default]\naws_access_key_id = nobody\naws_secret_access_key = x\n\n[cleat]\n# "
		   "ours\naws_access_key_id = AKIDEXAMPLE\n"
		   "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n");
	fclose(f);
	assert_int_equal(chmod(path, 0600), 0);
	w->extra_config[0] = "credentials_file";
	w->extra_config[1] = path;
	w->extra_config[2] = "profile";
	w->extra_config[3] = "cleat";
	world_open(w);
	ok_create(w, "db", NULL);
	world_tidy(w);
	unlink(path);
}

static void test_credentials__that_are_wrong_are_named_but_not_shown(void **state)
{
	struct world *w = *state;
	struct world_config c;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pool_state st = { .online = false };

	setenv("CLEAT_TEST_SECRET", "open-sesame", 1);
	w->extra_config[0] = "access_key_id";
	w->extra_config[1] = "AKIDEXAMPLE";
	w->extra_config[2] = "secret_access_key";
	w->extra_config[3] = "env:CLEAT_TEST_SECRET";
	config_make(w, &c);
	assert_int_equal(cleat_engine_open(&c.engine, &w->e, &err), CLEAT_OK);
	config_done(&c);
	for (int i = 0; i < 1000 && (i == 0 || st.opening); i++, usleep(10000))
		assert_int_equal(cleat_pool_get(w->e, POOL, &st, NULL), CLEAT_OK);
	assert_false(st.online);
	assert_non_null(strstr(st.reason, "SignatureDoesNotMatch"));
	assert_null(strstr(st.reason, "sesame"));
	world_close(w);
}

/* ---- the program ---- */

static int teardown(void **state)
{
	struct world *w = *state;

	if (other.e)
		cleat_engine_close(other.e, 5000);
	other.e = NULL;
	clear_below(w->dir);
	return world_teardown(state);
}

#define TEST(fn)                                                                                             \
	{                                                                                                    \
#fn, fn, world_setup, teardown, NULL                                                         \
	}

static const struct CMUnitTest all[] = {
	TEST(test_nodes__a_volume_is_handed_over),
	TEST(test_nodes__a_name_made_anew_elsewhere_is_the_new_volume),
	TEST(test_nodes__snapshots_of_others_can_be_restored),
	TEST(test_nodes__a_dead_one_is_evicted_only_by_policy),
	TEST(test_nodes__always_means_that_the_last_one_wins),
	TEST(test_nodes__attachments_that_were_asked_for_stay),
	TEST(test_far__everything_may_be_late),
	TEST(test_far__a_lost_answer_makes_nothing_twice),
	TEST(test_far__names_are_used_again),
	TEST(test_far__throttling_slows_down_and_loses_nothing),
	TEST(test_far__looks_that_come_together_are_one_call),
	TEST(test_far__lists_come_in_pages),
	TEST(test_far__nothing_is_asked_while_nothing_happens),
	TEST(test_far__out_of_reach_is_offline_and_comes_back),
	TEST(test_attach__names_in_use_are_passed_over),
	TEST(test_attach__no_more_than_the_instance_can_have),
	TEST(test_attach__what_a_killed_daemon_left_is_detached),
	TEST(test_params__reach_ec2),
	TEST(test_adopt__takes_in_a_volume_and_never_formats),
	TEST(test_adopt__a_device_with_data_is_never_formatted),
	TEST(test_credentials__of_the_role_are_renewed),
	TEST(test_credentials__come_from_a_file),
	TEST(test_credentials__that_are_wrong_are_named_but_not_shown),
};

int main(int argc, char **argv)
{
	static struct CMUnitTest chosen[CLEAT_COUNT(all)];
	const char *only = argc == 3 && strcmp(argv[1], "--only") == 0 ? argv[2] : "*";
	const char *top = getenv("TMPDIR");
	size_t count = 0;

	if (geteuid() != 0) {
		printf("SKIPPED BECAUSE: mounts and loop devices need root\n");
		return 77;
	}
	cleat_log_setup(CLEAT_LOG_ERROR, CLEAT_LOG_TEXT, STDERR_FILENO);
	for (size_t i = 0; i < CLEAT_COUNT(all); i++)
		if (fnmatch(only, all[i].name, 0) == 0)
			chosen[count++] = all[i];
	snprintf(suite_dir, sizeof(suite_dir), "%s/cleat-suite.XXXXXX",
		 top && *top && strlen(top) < 60 ? top : "/tmp");
	suite_fixture = fixture_find("ebs");
	if (!mkdtemp(suite_dir) || chmod(suite_dir, 0755) != 0 || !fixture_up(suite_fixture, suite_dir)) {
		fixture_down(suite_dir);
		return 1;
	}
	int failed = _cmocka_run_group_tests("far", chosen, count, NULL, NULL);
	fixture_down(suite_dir);
	return failed ? 1 : 0;
}
