/* suite_pool.c - pools that vanish, records that cannot be read, storage that holds what it should not. */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/kv.h"

static void test_pool__says_what_it_can(void **state)
{
	struct world *w = *state;
	struct cleat_pool_state st;
	const struct cleat_backend *b = cleat_backend_find(w->fx->backend);
	struct cleat_error err = CLEAT_ERROR_INIT;

	assert_non_null(b);
	assert_true(!b->check || b->check(&err) == CLEAT_OK);
	world_open(w);
	assert_int_equal(cleat_pool_get(w->e, POOL, &st, NULL), CLEAT_OK);
	assert_int_equal(st.capabilities, w->fx->has);
	assert_string_equal(st.backend, w->fx->backend);
	assert_string_equal(st.name, POOL);
	assert_int_equal(strlen(st.uuid), 36);
	/* A node pool's stored name ends in "-" and eight hex digits of its UUID. */
	assert_int_equal(st.shared, w->fx->sim != NULL);
	if (!st.shared)
		assert_memory_equal(st.stored_name + strlen(st.stored_name) - 8, st.uuid, 8);
	assert_true(st.online && st.is_default && !st.read_only);
	assert_int_equal(cleat_pool_get(w->e, "elsewhere", &st, &err), CLEAT_NOT_FOUND);
	world_tidy(w);
}

static void test_pool__unknown_parameters_are_refused_by_name(void **state)
{
	struct world *w = *state;

	w->extra_config[0] = "colour";
	w->extra_config[1] = "red";
	world_open_refused(w, CLEAT_INVALID_ARGUMENT, "colour");
}

static void test_pool__wrong_configurations_are_refused_before_anything_starts(void **state)
{
	struct world *w = *state;
	struct world_config c;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct stat st;

	config_make(w, &c);
	free(c.pools[0].backend);
	c.pools[0].backend = strdup("ntfs");
	assert_int_equal(cleat_engine_check(&c.engine, &err), CLEAT_INVALID_ARGUMENT);
	assert_non_null(strstr(err.msg, "ntfs"));
	config_done(&c);
	w->pool_count = 2;
	config_make(w, &c);
	free(c.pools[1].name);
	c.pools[1].name = strdup(POOL);
	assert_int_equal(cleat_engine_check(&c.engine, &err), CLEAT_INVALID_ARGUMENT);
	assert_non_null(strstr(err.msg, POOL));
	free(c.pools[1].name);
	c.pools[1].name = strdup("../x");
	assert_int_equal(cleat_engine_check(&c.engine, &err), CLEAT_INVALID_ARGUMENT);
	config_done(&c);
	assert_int_equal(stat(w->state_dir, &st), -1);
	assert_int_equal(stat(w->run_dir, &st), -1);
}

/* ---- offline, never empty ----------------------------------------------------------------------------- */

static void hide_pool(struct world *w, bool hide)
{
	char aside[200];

	snprintf(aside, sizeof(aside), "%s-aside", w->pool_path);
	assert_int_equal(hide ? rename(w->pool_path, aside) : rename(aside, w->pool_path), 0);
}

static void test_pool__that_vanishes_is_offline_not_empty(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	char id[CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	ok_create(w, "db", id);
	hide_pool(w, true);
	req.name = "more";
	req.capacity_bytes = w->fx->volume_bytes;
	wait_online(w, POOL, false);
	refused(w, &req, CLEAT_UNAVAILABLE, POOL);
	/* What was known is still known. */
	assert_true(exists(w, id, CLEAT_KIND_VOLUME));
	/* Nothing was made in its place. */
	assert_int_equal(access(w->pool_path, F_OK), -1);
	hide_pool(w, false);
	wait_online(w, POOL, true);
	assert_true(exists(w, id, CLEAT_KIND_VOLUME));
	ok_create_with(w, &req, NULL);
	world_tidy(w);
}

/* The disk is not mounted: the engine sees the empty directory below. */
static void test_pool__whose_disk_is_not_mounted_is_offline(void **state)
{
	struct world *w = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	struct world_config c;
	char id[CLEAT_ID_MAX_BYTES + 1], t[256];

	world_open(w);
	ok_create(w, "db", id);
	ok_publish(w, id, "t", t);
	put_file(t, "f", 1000, 1);
	ok_unpublish(w, id, t);
	world_close(w);
	hide_pool(w, true);
	assert_int_equal(mkdir(w->pool_path, 0755), 0);
	config_make(w, &c);
	assert_int_equal(cleat_engine_open(&c.engine, &w->e, &err), CLEAT_OK);
	config_done(&c);
	wait_online(w, POOL, false);
	req.name = "db";
	req.capacity_bytes = w->fx->volume_bytes;
	refused(w, &req, CLEAT_UNAVAILABLE, POOL);
	/* A volume of an offline pool is not "gone", so its deletion is not "done". */
	req = req_for(CLEAT_VERB_DELETE, id);
	refused_any(w, &req, CODE(CLEAT_UNAVAILABLE) | CODE(CLEAT_NOT_FOUND), NULL);
	assert_int_equal(rmdir(w->pool_path), 0); /* still empty */
	hide_pool(w, false);
	wait_online(w, POOL, true);
	ok_publish(w, id, "t", t);
	assert_true(has_file(t, "f", 1000, 1));
	world_tidy(w);
}

static void test_pool__published_volumes_can_be_released_while_it_is_offline(void **state)
{
	struct world *w = *state;
	char id[CLEAT_ID_MAX_BYTES + 1], t[256];

	world_open(w);
	ok_create(w, "db", id);
	ok_publish(w, id, "t", t);
	hide_pool(w, true);
	wait_online(w, POOL, false);
	put_file(t, "f", 1000, 1);
	ok_unpublish(w, id, t);
	assert_int_equal(count_claims(w, NULL), 0);
	hide_pool(w, false);
	wait_online(w, POOL, true);
	world_tidy(w);
}

static void test_pool__a_directory_with_other_things_does_not_become_one(void **state)
{
	struct world *w = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct world_config c;

	put_file(w->pool_path, "holiday.jpg", 1000, 1);
	config_make(w, &c);
	assert_int_equal(cleat_engine_open(&c.engine, &w->e, &err), CLEAT_OK);
	config_done(&c);
	wait_online(w, POOL, false);
	assert_true(has_file(w->pool_path, "holiday.jpg", 1000, 1));
	world_close(w);
}

static void test_pool__init_never_does_not_begin_one(void **state)
{
	struct world *w = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct world_config c;

	w->extra_config[0] = "init";
	w->extra_config[1] = "never";
	config_make(w, &c);
	assert_int_equal(cleat_engine_open(&c.engine, &w->e, &err), CLEAT_OK);
	config_done(&c);
	wait_online(w, POOL, false);
	world_close(w);
}

/* ---- records ------------------------------------------------------------------------------------------ */

static void write_over(const char *path, const char *text)
{
	cleat_autoclose int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void edit_record(const char *path, const char *key, json_t *value)
{
	json_t *root = json_load_file(path, 0, NULL);

	assert_non_null(root);
	assert_non_null(json_object_get(root, key));
	assert_int_equal(json_object_set_new(root, key, value), 0);
	assert_int_equal(json_dump_file(root, path, 0), 0);
	json_decref(root);
}

/* The volume is listed with its problem, the others work, nothing of it is lost by being looked at. */
static void check_one_is_broken(struct world *w, const char *id, enum cleat_code code)
{
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, id);
	struct cleat_volume_state v;
	struct cleat_pool_state st;
	char t[256];

	world_close(w);
	world_open(w);
	ok_get(w, id, CLEAT_KIND_VOLUME, &v);
	assert_string_not_equal(v.problem, "");
	cleat_volume_state_done(&v);
	assert_int_equal(cleat_pool_get(w->e, POOL, &st, NULL), CLEAT_OK);
	assert_int_equal(st.broken_count, 1);
	req.target = target_path(w, "broken", true, t);
	refused(w, &req, code, NULL);
	req.verb = CLEAT_VERB_DELETE;
	refused_any(w, &req, CODE(code) | CODE(CLEAT_FAILED_PRECONDITION), NULL);
	ok_publish(w, POOL "/good", "good", t);
	assert_true(has_file(t, "f", 1000, 1));
	ok_unpublish(w, POOL "/good", t);
	ok_create(w, "another", NULL);
}

static void make_good_and_bad(struct world *w, char id[CLEAT_ID_MAX_BYTES + 1], char record[512])
{
	char t[256];

	world_open(w);
	ok_create(w, "good", NULL);
	ok_create(w, "bad", id);
	ok_publish(w, POOL "/good", "good", t);
	put_file(t, "f", 1000, 1);
	ok_unpublish(w, POOL "/good", t);
	ok_publish(w, POOL "/bad", "bad", t);
	put_file(t, "f", 1000, 2);
	ok_unpublish(w, POOL "/bad", t);
	volume_path(w, id, "record.json", record);
}

static char *read_text(const char *path)
{
	char *text = calloc(1, 70000);
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(text && fd >= 0 && read(fd, text, 69999) > 0);
	return text;
}

static void check_healed(struct world *w, const char *id, const char *record, const char *text)
{
	char t[256];

	write_over(record, text);
	world_close(w);
	world_open(w);
	ok_publish(w, id, "bad", t);
	assert_true(has_file(t, "f", 1000, 2));
	world_tidy(w);
}

static void test_record__a_corrupt_one_is_reported_and_the_others_work(void **state)
{
	struct world *w = *state;
	char id[CLEAT_ID_MAX_BYTES + 1], record[512];

	make_good_and_bad(w, id, record);
	cleat_autofree char *text = read_text(record);
	write_over(record, "{ \"format\": 1, \"name\": \"ba");
	check_one_is_broken(w, id, CLEAT_DATA_LOSS);
	check_healed(w, id, record, text);
}

static void test_record__an_empty_one_is_reported_and_the_others_work(void **state)
{
	struct world *w = *state;
	char id[CLEAT_ID_MAX_BYTES + 1], record[512];

	make_good_and_bad(w, id, record);
	cleat_autofree char *text = read_text(record);
	write_over(record, "");
	check_one_is_broken(w, id, CLEAT_DATA_LOSS);
	check_healed(w, id, record, text);
}

/* Going forward and back: a record of a later release can be read and used, never changed. */
static void test_record__a_newer_one_is_read_only(void **state)
{
	struct world *w = *state;
	struct cleat_request req;
	struct cleat_volume_state v;
	cleat_autokvs struct cleat_kvs labels = kv_one("a", "b");
	char id[CLEAT_ID_MAX_BYTES + 1], record[512];

	make_good_and_bad(w, id, record);
	cleat_autofree char *text = read_text(record);
	edit_record(record, "format", json_integer(CLEAT_RECORD_FORMAT + 1));
	cleat_autofree char *newer = read_text(record);
	world_close(w);
	world_open(w);
	ok_get(w, id, CLEAT_KIND_VOLUME, &v);
	assert_string_not_equal(v.problem, "");
	assert_int_equal(v.record->format, CLEAT_RECORD_FORMAT + 1);
	cleat_volume_state_done(&v);
	req = req_for(CLEAT_VERB_MODIFY, id);
	req.labels = &labels;
	refused(w, &req, CLEAT_FAILED_PRECONDITION, NULL);
	req = req_for(CLEAT_VERB_EXPAND, id);
	req.capacity_bytes = 4 * w->fx->volume_bytes;
	refused_any(w, &req, CODE(CLEAT_FAILED_PRECONDITION) | CODE(CLEAT_UNIMPLEMENTED), NULL);
	req = req_for(CLEAT_VERB_DELETE, id);
	refused(w, &req, CLEAT_FAILED_PRECONDITION, NULL);
	cleat_autofree char *after = read_text(record);
	assert_string_equal(newer, after);
	ok_create(w, "another", NULL);
	check_healed(w, id, record, text);
}

/* ---- what holds data is not formatted ----------------------------------------------------------------- */

static void test_image__that_holds_data_is_never_formatted(void **state)
{
	struct world *w = *state;
	struct cleat_request req;
	char id[CLEAT_ID_MAX_BYTES + 1], record[512], t[256];

	make_good_and_bad(w, id, record);
	cleat_autofree char *text = read_text(record);
	edit_record(record, "formatted", json_false());
	world_close(w);
	world_open(w);
	req = req_for(CLEAT_VERB_PUBLISH, id);
	req.target = target_path(w, "bad", true, t);
	refused(w, &req, CLEAT_FAILED_PRECONDITION, "ext4");
	check_healed(w, id, record, text);
}

static void test_image__that_is_gone_is_unhealthy(void **state)
{
	struct world *w = *state;
	struct cleat_request req;
	struct cleat_result res = { 0 };
	struct cleat_error err;
	char id[CLEAT_ID_MAX_BYTES + 1], record[512], image[512], aside[600];
	bool healthy = true;

	make_good_and_bad(w, id, record);
	volume_path(w, id, w->fx->traits & KEEPS_IMAGE ? "image" : "data", image);
	snprintf(aside, sizeof(aside), "%s-aside", image);
	assert_int_equal(rename(image, aside), 0);
	req = req_for(CLEAT_VERB_HEALTH, id);
	enum cleat_code code = call(w, &req, &res, &err);
	if (code == CLEAT_OK) {
		healthy = res.healthy;
		assert_true(res.health_text && strlen(res.health_text) > 8);
		cleat_engine_result_done(&res);
	} else {
		assert_int_equal(code, CLEAT_DATA_LOSS);
		healthy = false;
	}
	assert_false(healthy);
	req = req_for(CLEAT_VERB_PUBLISH, id);
	refused_any(w, &req, CODE(CLEAT_DATA_LOSS) | CODE(CLEAT_NOT_FOUND) | CODE(CLEAT_FAILED_PRECONDITION),
		    NULL);
	/* Nothing was made in its place; with it back, all is well. */
	assert_int_equal(rename(aside, image), 0);
	req = req_for(CLEAT_VERB_HEALTH, id);
	ok_call(w, &req, &res);
	assert_true(res.healthy);
	cleat_engine_result_done(&res);
	world_tidy(w);
}

static void test_pool__reload_adds_and_refuses(void **state)
{
	struct world *w = *state;
	struct world_config c;
	struct cleat_error err = CLEAT_ERROR_INIT;

	world_open(w);
	ok_create(w, "db", NULL);
	w->pool_count = 2;
	config_make(w, &c);
	assert_int_equal(cleat_engine_reload(w->e, &c.engine, &err), CLEAT_OK);
	wait_online(w, POOL "2", true);
	/* Another path for a pool that is served would need a restart. */
	assert_int_equal(cleat_kv_set(&c.pools[0].config, "path", "/elsewhere", NULL), CLEAT_OK);
	assert_true(cleat_engine_reload(w->e, &c.engine, &err) != CLEAT_OK);
	assert_non_null(strstr(err.msg, POOL));
	config_done(&c);
	assert_true(exists(w, POOL "/db", CLEAT_KIND_VOLUME));
	world_tidy(w);
}

const struct suite_case suite_pool[] = {
	CASE(test_pool__says_what_it_can, IN_QUICK, 0, 0),
	CASE(test_pool__unknown_parameters_are_refused_by_name, 0, 0, 0),
	CASE(test_pool__wrong_configurations_are_refused_before_anything_starts, 0, 0, 0),
	CASE(test_pool__that_vanishes_is_offline_not_empty, IN_QUICK, 0, IN_DIRECTORY),
	CASE(test_pool__whose_disk_is_not_mounted_is_offline, 0, 0, IN_DIRECTORY),
	CASE(test_pool__published_volumes_can_be_released_while_it_is_offline, 0, 0, IN_DIRECTORY),
	CASE(test_pool__a_directory_with_other_things_does_not_become_one, 0, 0, IN_DIRECTORY),
	CASE(test_pool__init_never_does_not_begin_one, 0, 0, IN_DIRECTORY),
	CASE(test_record__a_corrupt_one_is_reported_and_the_others_work, IN_QUICK, 0, IN_DIRECTORY),
	CASE(test_record__an_empty_one_is_reported_and_the_others_work, 0, 0, IN_DIRECTORY),
	CASE(test_record__a_newer_one_is_read_only, 0, 0, IN_DIRECTORY),
	CASE(test_image__that_holds_data_is_never_formatted, IN_QUICK, 0, KEEPS_IMAGE),
	CASE(test_image__that_is_gone_is_unhealthy, 0, 0, IN_DIRECTORY),
	CASE(test_pool__reload_adds_and_refuses, 0, 0, 0),
	{ 0 },
};
