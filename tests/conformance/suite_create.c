/* suite_create.c - creating, finding, listing, changing and deleting volumes. */
#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "util/kv.h"

static struct cleat_request create_req(const struct world *w, const char *name)
{
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

	req.name = name;
	req.capacity_bytes = w->fx->volume_bytes;
	return req;
}

static void test_create__gives_what_was_asked(void **state)
{
	struct world *w = *state;
	cleat_autokvs struct cleat_kvs labels = kv_one("team", "blue");
	struct cleat_request req = create_req(w, "database-1");
	struct cleat_pool_state pool;
	struct cleat_volume_state v;
	char id[CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	req.labels = &labels;
	ok_create_with(w, &req, id);
	assert_int_equal(cleat_pool_get(w->e, POOL, &pool, NULL), CLEAT_OK);
	/* "<stored pool>.<key>", and neither shows the user's name. */
	assert_memory_equal(id, pool.stored_name, strlen(pool.stored_name));
	assert_int_equal(id[strlen(pool.stored_name)], '.');
	assert_null(strstr(id, "database-1"));
	assert_int_equal(pool.volume_count, 1);
	ok_get(w, id, CLEAT_KIND_VOLUME, &v);
	assert_string_equal(v.record->name, "database-1");
	assert_string_equal(v.record->scope, "");
	assert_string_equal(v.pool, POOL);
	assert_string_equal(v.problem, "");
	assert_string_equal(cleat_kv_get(&v.record->labels, "team"), "blue");
	assert_int_equal(v.record->access_type, CLEAT_ACCESS_MOUNT);
	assert_true(v.record->created_ms > 1600000000000);
	if (can(w, CLEAT_CAN_ENFORCE_SIZE))
		assert_true(v.record->capacity_bytes >= w->fx->volume_bytes);
	cleat_volume_state_done(&v);
	ok_get(w, POOL "/database-1", CLEAT_KIND_VOLUME, &v);
	assert_string_equal(v.id, id);
	cleat_volume_state_done(&v);
	world_tidy(w);
}

static void test_create__twice_gives_the_same_volume(void **state)
{
	struct world *w = *state;
	struct cleat_request req = create_req(w, "db");
	struct cleat_result res;
	char first[CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	ok_create_with(w, &req, first);
	ok_call(w, &req, &res);
	assert_string_equal(res.volumes[0].id, first);
	assert_true(res.already);
	cleat_engine_result_done(&res);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 1);
	assert_int_equal(pool_entries(w, "new"), 0);
	world_tidy(w);
}

static void test_create__differently_is_refused(void **state)
{
	struct world *w = *state;
	cleat_autokvs struct cleat_kvs params = kv_one("mode", "0700");
	struct cleat_request req = create_req(w, "db");

	world_open(w);
	ok_create(w, "db", NULL);
	req.capacity_bytes = w->fx->volume_bytes * 4;
	refused(w, &req, CLEAT_ALREADY_EXISTS, "db");
	req = create_req(w, "db");
	req.params = &params;
	refused(w, &req, CLEAT_ALREADY_EXISTS, "db");
	req = create_req(w, "db");
	req.access_type = CLEAT_ACCESS_BLOCK;
	refused_any(w, &req, CODE(CLEAT_ALREADY_EXISTS) | CODE(CLEAT_UNIMPLEMENTED), NULL);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 1);
	world_tidy(w);
}

/* CSI CreateVolume: a volume between "required" and "limit" fits. */
static void test_create__again_with_a_fitting_range_is_the_same(void **state)
{
	struct world *w = *state;
	struct cleat_request req = create_req(w, "db");
	char first[CLEAT_ID_MAX_BYTES + 1], second[CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	ok_create_with(w, &req, first);
	req.limit_bytes = w->fx->volume_bytes * 2;
	ok_create_with(w, &req, second);
	assert_string_equal(first, second);
	world_tidy(w);
}

static void test_create__the_same_name_in_two_scopes_is_two_volumes(void **state)
{
	struct world *w = *state;
	struct cleat_request req = create_req(w, "db");
	struct cleat_volume_state v;
	struct cleat_error err;
	char a[CLEAT_ID_MAX_BYTES + 1], b[CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	req.scope = "red";
	ok_create_with(w, &req, a);
	req.scope = "green";
	ok_create_with(w, &req, b);
	assert_string_not_equal(a, b);
	assert_int_equal(cleat_volume_get(w->e, POOL "/db", "green", CLEAT_KIND_VOLUME, &v, &err), CLEAT_OK);
	assert_string_equal(v.id, b);
	cleat_volume_state_done(&v);
	/* By its id from another scope it is refused, and named. */
	struct cleat_request other = req_for(CLEAT_VERB_HEALTH, a);
	other.scope = "green";
	refused(w, &other, CLEAT_PERMISSION_DENIED, "red");
	other.verb = CLEAT_VERB_DELETE;
	refused(w, &other, CLEAT_PERMISSION_DENIED, "red");
	other.scope = "red";
	ok_call(w, &other, NULL);
	world_tidy(w);
}

static void test_scope__may_be_opened_by_volume_or_pool(void **state)
{
	struct world *w = *state;
	cleat_autokvs struct cleat_kvs params = kv_one("allow_scopes", "green,blue");
	struct cleat_request req = create_req(w, "db");
	struct cleat_request look = req_for(CLEAT_VERB_HEALTH, NULL);
	char id[CLEAT_ID_MAX_BYTES + 1], closed[CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	req.scope = "red";
	req.params = &params;
	ok_create_with(w, &req, id);
	req.name = "closed";
	req.params = NULL;
	ok_create_with(w, &req, closed);
	look.volume = id;
	look.scope = "blue";
	ok_call(w, &look, NULL);
	look.scope = "blu";
	refused(w, &look, CLEAT_PERMISSION_DENIED, "blu");
	look.volume = closed;
	look.scope = "blue";
	refused(w, &look, CLEAT_PERMISSION_DENIED, "blue");
	world_close(w);
	w->cross_scope = true;
	world_open(w);
	ok_call(w, &look, NULL);
	world_tidy(w);
}

static void test_requests__that_make_no_sense_are_refused(void **state)
{
	struct world *w = *state;
	struct cleat_request req = create_req(w, "db");

	world_open(w);
	req.size = 8;
	refused(w, &req, CLEAT_INVALID_ARGUMENT, NULL);
	req = create_req(w, "db");
	req.access_type = (enum cleat_access_type)7;
	refused(w, &req, CLEAT_INVALID_ARGUMENT, "7");
	req = req_for((enum cleat_verb)99, POOL "/db");
	refused(w, &req, CLEAT_UNIMPLEMENTED, NULL);
	ok_create(w, "db", NULL);
	req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	req.mode = (enum cleat_access_mode)42;
	refused(w, &req, CLEAT_INVALID_ARGUMENT, "42");
	req = req_for(CLEAT_VERB_PUBLISH, NULL);
	refused(w, &req, CLEAT_INVALID_ARGUMENT, NULL);
	assert_int_equal(count_claims(w, NULL), 0);
	world_tidy(w);
}

static void test_delete__is_done_when_gone(void **state)
{
	struct world *w = *state;
	char id[CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	ok_create(w, "db", id);
	ok_delete(w, id);
	assert_false(exists(w, id, CLEAT_KIND_VOLUME));
	ok_delete(w, id);
	ok_delete(w, POOL "/db");
	ok_delete(w, POOL "/never-was");
	/* The name is free again, for another volume. */
	struct cleat_request req = create_req(w, "db");
	char again[CLEAT_ID_MAX_BYTES + 1];
	ok_create_with(w, &req, again);
	assert_string_not_equal(id, again);
	world_tidy(w);
}

static void test_create__unknown_parameters_are_refused_by_name(void **state)
{
	struct world *w = *state;
	static const char *const bad[][2] = {
		{ "colour", "red" }, { "uid", "minus one" }, { "mode", "0999" }, { "gid", "-1" }
	};
	struct cleat_request req = create_req(w, "db");

	world_open(w);
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		cleat_autokvs struct cleat_kvs params = kv_one(bad[i][0], bad[i][1]);

		req.params = &params;
		refused(w, &req, CLEAT_INVALID_ARGUMENT, bad[i][0]);
	}
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 0);
	world_tidy(w);
}

static void test_create__in_no_pool_is_refused(void **state)
{
	struct world *w = *state;
	struct cleat_request req = create_req(w, "db");

	world_open(w);
	req.pool = "elsewhere";
	refused(w, &req, CLEAT_NOT_FOUND, "elsewhere");
	world_tidy(w);
}

static void test_create__owner_and_mode_are_exact(void **state)
{
	struct world *w = *state;
	cleat_autokvs struct cleat_kvs params = kv_one("mode", "2751");
	struct cleat_request req = create_req(w, "db");
	char target[256];
	struct stat st;
	mode_t old = umask(077);

	world_open(w);
	assert_int_equal(cleat_kv_set(&params, "uid", "1234", NULL), CLEAT_OK);
	assert_int_equal(cleat_kv_set(&params, "gid", "2345", NULL), CLEAT_OK);
	req.params = &params;
	ok_create_with(w, &req, NULL);
	ok_publish(w, POOL "/db", "t", target);
	umask(old);
	assert_int_equal(stat(target, &st), 0);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 2345);
	assert_int_equal(st.st_mode & 07777, 02751);
	world_tidy(w);
}

/* ---- lists -------------------------------------------------------------------------------------------- */

struct pages {
	char seen[32][CLEAT_ID_MAX_BYTES + 1];
	size_t count;
	char token[128];
};

static void next_page(struct world *w, struct pages *p, size_t page)
{
	const struct cleat_list_query q = { .kind = CLEAT_KIND_VOLUME, .token = p->token, .page = page };
	struct cleat_volume_list list;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (cleat_volume_list(w->e, &q, &list, &err) != CLEAT_OK)
		fail_msg("list after '%s': %s", p->token, err.msg);
	assert_true(list.count <= page);
	for (size_t i = 0; i < list.count; i++) {
		for (size_t k = 0; k < p->count; k++)
			assert_string_not_equal(p->seen[k], list.items[i].id);
		if (p->count)
			assert_true(strcmp(p->seen[p->count - 1], list.items[i].id) < 0);
		memcpy(p->seen[p->count++], list.items[i].id, CLEAT_ID_MAX_BYTES + 1);
	}
	memcpy(p->token, list.next_token, sizeof(p->token));
	cleat_volume_list_done(&list);
}

static bool was_seen(const struct pages *p, const char *id)
{
	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->seen[i], id) == 0)
			return true;
	return false;
}

static void test_list__tokens_survive_inserts_and_deletes(void **state)
{
	struct world *w = *state;
	char ids[7][CLEAT_ID_MAX_BYTES + 1];
	struct pages p = { .count = 0 };
	char name[16];

	world_open(w);
	for (unsigned i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "v%u", i);
		ok_create(w, name, ids[i]);
	}
	next_page(w, &p, 2);
	assert_int_equal(p.count, 2);
	assert_string_not_equal(p.token, "");
	/* The very volume that the token was made from goes, and another comes. */
	ok_delete(w, p.seen[1]);
	ok_create(w, "late", ids[6]);
	while (p.token[0])
		next_page(w, &p, 2);
	for (unsigned i = 0; i < 6; i++)
		assert_true(was_seen(&p, ids[i]));
	/* The late one is there exactly when its place is behind the first page. */
	assert_int_equal(was_seen(&p, ids[6]), strcmp(ids[6], p.seen[1]) > 0);
	world_tidy(w);
}

static void test_list__a_token_never_given_out_is_aborted(void **state)
{
	struct world *w = *state;
	static const char *const bad[] = { "x", "00000000:nothing", "ffffffff", ":", "%s%s%n", "0" };

	world_open(w);
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		const struct cleat_list_query q = { .kind = CLEAT_KIND_VOLUME, .token = bad[i] };
		struct cleat_volume_list list;
		struct cleat_claim_list claims;
		struct cleat_error err = CLEAT_ERROR_INIT;

		assert_int_equal(cleat_volume_list(w->e, &q, &list, &err), CLEAT_ABORTED);
		assert_int_equal(err.code, CLEAT_ABORTED);
		assert_int_equal(cleat_claim_list(w->e, NULL, bad[i], 0, &claims, &err), CLEAT_ABORTED);
	}
	world_tidy(w);
}

static void test_list__filters_by_pool_scope_and_name(void **state)
{
	struct world *w = *state;
	struct cleat_request req = create_req(w, "a");
	struct cleat_volume_list list;
	struct cleat_error err = CLEAT_ERROR_INIT;

	world_open(w);
	ok_create_with(w, &req, NULL);
	req.scope = "red";
	ok_create_with(w, &req, NULL);
	req.name = "b";
	ok_create_with(w, &req, NULL);
	const struct {
		struct cleat_list_query q;
		size_t count;
	} asked[] = {
		{ { .kind = CLEAT_KIND_VOLUME }, 3 },
		{ { .kind = CLEAT_KIND_VOLUME, .pool = POOL }, 3 },
		{ { .kind = CLEAT_KIND_VOLUME, .scope = "" }, 1 },
		{ { .kind = CLEAT_KIND_VOLUME, .scope = "red" }, 2 },
		{ { .kind = CLEAT_KIND_VOLUME, .name = "a" }, 2 },
		{ { .kind = CLEAT_KIND_VOLUME, .scope = "red", .name = "a" }, 1 },
		{ { .kind = CLEAT_KIND_SNAPSHOT }, 0 },
	};
	for (size_t i = 0; i < CLEAT_COUNT(asked); i++) {
		assert_int_equal(cleat_volume_list(w->e, &asked[i].q, &list, &err), CLEAT_OK);
		assert_int_equal(list.count, asked[i].count);
		cleat_volume_list_done(&list);
	}
	const struct cleat_list_query wrong = { .kind = CLEAT_KIND_VOLUME, .pool = "elsewhere" };
	assert_int_equal(cleat_volume_list(w->e, &wrong, &list, &err), CLEAT_NOT_FOUND);
	world_tidy(w);
}

/* ---- changes ------------------------------------------------------------------------------------------ */

static void test_modify__labels_are_set_removed_and_kept(void **state)
{
	struct world *w = *state;
	cleat_autokvs struct cleat_kvs labels = kv_one("team", "blue");
	struct cleat_request req = req_for(CLEAT_VERB_MODIFY, POOL "/db");
	struct cleat_volume_state v;

	world_open(w);
	ok_create(w, "db", NULL);
	assert_int_equal(cleat_kv_set(&labels, "tier", "1", NULL), CLEAT_OK);
	req.labels = &labels;
	ok_call(w, &req, NULL);
	cleat_kv_done(&labels);
	labels = kv_one("tier", "");
	ok_call(w, &req, NULL);
	for (int round = 0; round < 2; round++) {
		ok_get(w, POOL "/db", CLEAT_KIND_VOLUME, &v);
		assert_int_equal(v.record->labels.count, 1);
		assert_string_equal(cleat_kv_get(&v.record->labels, "team"), "blue");
		cleat_volume_state_done(&v);
		world_close(w);
		world_open(w);
	}
	world_tidy(w);
}

static void test_modify__fixed_parameters_are_refused(void **state)
{
	struct world *w = *state;
	cleat_autokvs struct cleat_kvs params = kv_one("colour", "red");
	struct cleat_request req = req_for(CLEAT_VERB_MODIFY, POOL "/db");

	world_open(w);
	ok_create(w, "db", NULL);
	req.params = &params;
	refused(w, &req, CLEAT_INVALID_ARGUMENT, "colour");
	world_tidy(w);
}

static void test_attach__is_kept_and_goes(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_ATTACH, POOL "/db");
	struct cleat_volume_state v;

	world_open(w);
	ok_create(w, "db", NULL);
	req.node = "node-1";
	req.mode = CLEAT_MODE_SINGLE_NODE_WRITER;
	ok_call(w, &req, NULL);
	ok_call(w, &req, NULL);
	world_close(w);
	world_open(w);
	ok_get(w, POOL "/db", CLEAT_KIND_VOLUME, &v);
	assert_int_equal(v.record->attachment_count, 1);
	assert_string_equal(v.record->attachments[0].node, "node-1");
	cleat_volume_state_done(&v);
	/* A volume of this node cannot reach another one. */
	req.node = "node-2";
	refused_any(w, &req,
		    CODE(CLEAT_FAILED_PRECONDITION) | CODE(CLEAT_NOT_FOUND) | CODE(CLEAT_INVALID_ARGUMENT),
		    "node-");
	req.verb = CLEAT_VERB_DETACH;
	req.node = "";
	ok_call(w, &req, NULL);
	ok_call(w, &req, NULL);
	ok_get(w, POOL "/db", CLEAT_KIND_VOLUME, &v);
	assert_int_equal(v.record->attachment_count, 0);
	cleat_volume_state_done(&v);
	world_tidy(w);
}

static void test_attach__a_node_takes_no_more_than_its_limit(void **state)
{
	struct world *w = *state;
	char a[CLEAT_ID_MAX_BYTES + 1], b[CLEAT_ID_MAX_BYTES + 1];
	struct cleat_request req;

	world_open(w);
	ok_create(w, "a", a);
	ok_create(w, "b", b);
	req = req_for(CLEAT_VERB_ATTACH, a);
	req.node_limit = 1;
	ok_call(w, &req, NULL);
	ok_call(w, &req, NULL); /* it counts once */
	req.volume = b;
	refused(w, &req, CLEAT_RESOURCE_EXHAUSTED, "node-1");
	req = req_for(CLEAT_VERB_DETACH, a);
	ok_call(w, &req, NULL);
	req = req_for(CLEAT_VERB_ATTACH, b);
	req.node_limit = 1;
	ok_call(w, &req, NULL);
	req.verb = CLEAT_VERB_DETACH;
	ok_call(w, &req, NULL);
	world_tidy(w);
}

const struct suite_case suite_create[] = {
	CASE(test_create__gives_what_was_asked, IN_QUICK, 0, 0),
	CASE(test_create__twice_gives_the_same_volume, IN_QUICK, 0, 0),
	CASE(test_create__differently_is_refused, 0, 0, 0),
	CASE(test_create__again_with_a_fitting_range_is_the_same, 0, 0, 0),
	CASE(test_create__the_same_name_in_two_scopes_is_two_volumes, 0, 0, 0),
	CASE(test_scope__may_be_opened_by_volume_or_pool, 0, 0, 0),
	CASE(test_requests__that_make_no_sense_are_refused, 0, 0, 0),
	CASE(test_delete__is_done_when_gone, IN_QUICK, 0, 0),
	CASE(test_create__unknown_parameters_are_refused_by_name, 0, 0, 0),
	CASE(test_create__in_no_pool_is_refused, 0, 0, 0),
	CASE(test_create__owner_and_mode_are_exact, IN_QUICK, 0, 0),
	CASE(test_list__tokens_survive_inserts_and_deletes, 0, 0, 0),
	CASE(test_list__a_token_never_given_out_is_aborted, 0, 0, 0),
	CASE(test_list__filters_by_pool_scope_and_name, 0, 0, 0),
	CASE(test_modify__labels_are_set_removed_and_kept, IN_QUICK, 0, 0),
	CASE(test_modify__fixed_parameters_are_refused, 0, 0, 0),
	CASE(test_attach__is_kept_and_goes, 0, 0, 0),
	CASE(test_attach__a_node_takes_no_more_than_its_limit, 0, 0, 0),
	{ 0 },
};
