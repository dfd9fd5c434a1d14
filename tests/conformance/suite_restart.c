/* suite_restart.c - the daemon comes back: under published volumes, without its state, under another boot. */
#include "suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void check_published(struct world *w, const char *volume, const char *t, unsigned seed)
{
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, volume);
	struct cleat_result res;

	assert_true(is_mounted(t));
	assert_true(has_file(t, "f", 50000, seed));
	put_file(t, "f", 50000, seed + 1);
	req.target = t;
	req.owner = "test";
	ok_call(w, &req, &res);
	assert_true(res.already);
	cleat_engine_result_done(&res);
	assert_int_equal(count_claims(w, volume), 1);
}

static void test_restart__keeps_published_volumes(void **state)
{
	struct world *w = *state;
	char t[256], id[CLEAT_ID_MAX_BYTES + 1];
	struct cleat_claim_list before, after;

	world_open(w);
	ok_create(w, "db", id);
	ok_publish(w, id, "t", t);
	put_file(t, "f", 50000, 1);
	assert_int_equal(cleat_claim_list(w->e, id, NULL, 0, &before, NULL), CLEAT_OK);
	world_close(w);
	/* Nobody serves it, and it goes on. */
	assert_true(has_file(t, "f", 50000, 1));
	put_file(t, "f", 50000, 2);
	world_open(w);
	assert_int_equal(cleat_claim_list(w->e, id, NULL, 0, &after, NULL), CLEAT_OK);
	assert_int_equal(after.count, 1);
	assert_string_equal(after.items[0].owner, before.items[0].owner);
	assert_int_equal(after.items[0].since_ms, before.items[0].since_ms);
	cleat_claim_list_done(&before);
	cleat_claim_list_done(&after);
	check_published(w, id, t, 2);
	struct cleat_request del = req_for(CLEAT_VERB_DELETE, id);
	refused(w, &del, CLEAT_FAILED_PRECONDITION, "test");
	ok_unpublish(w, id, t);
	ok_publish(w, id, "t", t);
	assert_true(has_file(t, "f", 50000, 3));
	world_tidy(w);
}

static void test_restart__keeps_stages_and_chosen_targets(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	struct cleat_request stage = req_for(CLEAT_VERB_STAGE, POOL "/staged");
	struct cleat_result res;
	char s[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_create(w, "staged", NULL);
	ok_call(w, &req, &res);
	stage.target = target_path(w, "s", true, s);
	ok_call(w, &stage, NULL);
	world_close(w);
	world_open(w);
	assert_true(is_mounted(res.target) && is_mounted(s));
	ok_call(w, &stage, NULL);
	req.verb = CLEAT_VERB_UNPUBLISH;
	ok_call(w, &req, NULL);
	assert_false(is_mounted(res.target));
	cleat_engine_result_done(&res);
	stage.verb = CLEAT_VERB_UNSTAGE;
	ok_call(w, &stage, NULL);
	world_tidy(w);
}

static void test_restart__a_lost_state_directory_loses_no_volume(void **state)
{
	struct world *w = *state;
	char t[256], id[CLEAT_ID_MAX_BYTES + 1], snap[CLEAT_ID_MAX_BYTES + 1] = "";

	world_open(w);
	ok_create(w, "db", id);
	ok_publish(w, id, "t", t);
	put_file(t, "f", 50000, 1);
	if (can(w, CLEAT_CAN_SNAPSHOT) && !can(w, CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY))
		ok_snapshot(w, id, "monday", snap);
	world_close(w);
	remove_all(w->state_dir);
	world_open(w);
	assert_true(exists(w, id, CLEAT_KIND_VOLUME));
	assert_true(!snap[0] || exists(w, snap, CLEAT_KIND_SNAPSHOT));
	check_published(w, id, t, 1);
	ok_unpublish(w, id, t);
	world_tidy(w);
}

/* ---- node facts --------------------------------------------------------------------------------------- */

/* The only database below the runtime directory. */
static void facts_path(struct world *w, char out[512])
{
	DIR *d = opendir(w->run_dir);
	struct dirent *de;

	out[0] = '\0';
	while (d && (de = readdir(d))) {
		const size_t n = strlen(de->d_name);

		if (n > 3 && strcmp(de->d_name + n - 3, ".db") == 0)
			snprintf(out, 512, "%s/%s", w->run_dir, de->d_name);
	}
	if (d)
		closedir(d);
	if (!out[0])
		fail_msg("no database in %s", w->run_dir);
}

static void change_stamp(struct world *w)
{
	char path[512];
	sqlite3 *db = NULL;

	facts_path(w, path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE meta SET value='another-boot:1' WHERE key='stamp'", NULL,
				      NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_changes(db), 1);
	sqlite3_close(db);
}

/* What the mount table shows is rebuilt: the volume is published at its target, only the owner's name is
 * lost. */
static void check_rebuilt(struct world *w, const char *id, const char *t)
{
	struct cleat_request del = req_for(CLEAT_VERB_DELETE, id);

	world_open(w);
	assert_true(reported(w, t)); /* it says what it found */
	assert_int_equal(count_claims(w, id), 1);
	assert_true(has_file(t, "f", 50000, 1));
	refused(w, &del, CLEAT_FAILED_PRECONDITION, t);
	put_file(t, "g", 1000, 2);
	ok_unpublish(w, id, t);
	assert_int_equal(volume_loops(w, true), 0);
	world_tidy(w);
}

static void test_restart__lost_facts_are_rebuilt_from_the_mount_table(void **state)
{
	struct world *w = *state;
	char t[256], id[CLEAT_ID_MAX_BYTES + 1], path[512];

	world_open(w);
	ok_create(w, "db", id);
	ok_publish(w, id, "t", t);
	put_file(t, "f", 50000, 1);
	facts_path(w, path);
	world_close(w);
	assert_int_equal(unlink(path), 0);
	check_rebuilt(w, id, t);
}

static void test_restart__facts_under_another_stamp_are_not_believed(void **state)
{
	struct world *w = *state;
	char t[256], gone[256], id[CLEAT_ID_MAX_BYTES + 1], rebooted[CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	ok_create(w, "db", id);
	ok_create(w, "rebooted", rebooted);
	ok_publish(w, id, "t", t);
	put_file(t, "f", 50000, 1);
	ok_publish(w, POOL "/rebooted", rebooted, gone);
	world_close(w);
	/* As after a reboot: its mounts are gone, the database says they are there, under another stamp. */
	clear_mounts(w->dir, rebooted);
	change_stamp(w);
	check_rebuilt(w, id, t);
}

static void test_restart__facts_that_are_no_database_are_rebuilt(void **state)
{
	struct world *w = *state;
	char t[256], id[CLEAT_ID_MAX_BYTES + 1], path[512];

	world_open(w);
	ok_create(w, "db", id);
	ok_publish(w, id, "t", t);
	put_file(t, "f", 50000, 1);
	facts_path(w, path);
	world_close(w);
	cleat_autoclose int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0 && write(fd, "this is no database", 19) == 19);
	check_rebuilt(w, id, t);
}

/* A target that was unmounted while nobody looked. */
static void test_restart__claims_whose_mount_went_are_stale(void **state)
{
	struct world *w = *state;
	struct cleat_claim_list list;
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	world_close(w);
	assert_int_equal(umount(t), 0);
	world_open(w);
	assert_int_equal(cleat_claim_list(w->e, NULL, NULL, 0, &list, NULL), CLEAT_OK);
	for (size_t i = 0; i < list.count; i++)
		assert_int_equal(list.items[i].state, CLEAT_CLAIM_STALE);
	assert_true(list.count || reported(w, t));
	cleat_claim_list_done(&list);
	ok_publish(w, POOL "/db", "t", t);
	assert_true(is_mounted(t));
	world_tidy(w);
}

static void test_restart__a_second_engine_is_refused(void **state)
{
	struct world *w = *state;
	struct world_config c;
	struct cleat_engine *second = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	world_open(w);
	config_make(w, &c);
	enum cleat_code code = cleat_engine_open(&c.engine, &second, &err);
	assert_int_equal(code, CLEAT_FAILED_PRECONDITION);
	assert_true(strstr(err.msg, w->state_dir) || strstr(err.msg, w->run_dir));
	config_done(&c);
	ok_create(w, "db", NULL);
	world_tidy(w);
}

/* Another daemon with directories of its own, but a pool that is served already. */
static void test_restart__a_pool_is_served_by_one_engine_only(void **state)
{
	struct world *w = *state;
	struct world_config c;
	struct cleat_engine *second = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pool_state st;
	char state2[256], run2[256];

	world_open(w);
	ok_create(w, "db", NULL);
	config_make(w, &c);
	snprintf(state2, sizeof(state2), "%s/state2", w->dir);
	snprintf(run2, sizeof(run2), "%s/run2", w->dir);
	c.engine.state_dir = state2;
	c.engine.runtime_dir = run2;
	assert_int_equal(cleat_engine_open(&c.engine, &second, &err), CLEAT_OK);
	config_done(&c);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(cleat_pool_get(second, POOL, &st, NULL), CLEAT_OK);
		if (st.online || (st.reason[0] && !st.online))
			break;
		usleep(5000);
	}
	const bool online = st.online;
	cleat_engine_close(second, 5000);
	clear_below(run2);
	assert_false(online);
	assert_string_not_equal(st.reason, "");
	assert_int_equal(st.volume_count, 0);
	world_tidy(w);
}

const struct suite_case suite_restart[] = {
	CASE(test_restart__keeps_published_volumes, IN_QUICK, 0, 0),
	CASE(test_restart__keeps_stages_and_chosen_targets, 0, 0, 0),
	CASE(test_restart__a_lost_state_directory_loses_no_volume, IN_QUICK, 0, 0),
	CASE(test_restart__lost_facts_are_rebuilt_from_the_mount_table, IN_QUICK, 0, 0),
	CASE(test_restart__facts_under_another_stamp_are_not_believed, 0, 0, 0),
	CASE(test_restart__facts_that_are_no_database_are_rebuilt, 0, 0, 0),
	CASE(test_restart__claims_whose_mount_went_are_stale, 0, 0, 0),
	CASE(test_restart__a_second_engine_is_refused, 0, 0, 0),
	CASE(test_restart__a_pool_is_served_by_one_engine_only, 0, 0, IN_DIRECTORY),
	{ 0 },
};
