/* suite_doctor.c - the doctor: finds what does not fit together, mends what is safe to mend, and finds
 * nothing where all is well. */
#include "suite.h"

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static struct cleat_result examine(struct world *w, bool fix)
{
	struct cleat_request req = req_for(CLEAT_VERB_DOCTOR, NULL);
	struct cleat_result res = { 0 };

	req.fix = fix;
	ok_call(w, &req, &res);
	return res;
}

/* What is found about a thing whose name holds `subject`; fails the test when there is nothing. */
static const struct cleat_finding *about(const struct cleat_result *res, const char *subject)
{
	for (size_t i = 0; i < res->finding_count; i++)
		if (strstr(res->findings[i].subject, subject))
			return &res->findings[i];
	fail_msg("%zu findings, none about '%s'", res->finding_count, subject);
	return NULL;
}

static void finds_nothing(struct world *w)
{
	struct cleat_result res = examine(w, false);

	for (size_t i = 0; i < res.finding_count; i++)
		print_message("found: %s: %s\n", res.findings[i].subject, res.findings[i].problem);
	assert_int_equal(res.finding_count, 0);
	cleat_engine_result_done(&res);
}

/* The finding whose problem holds these words. */
static const struct cleat_finding *about_problem(const struct cleat_result *res, const char *words)
{
	for (size_t i = 0; i < res->finding_count; i++)
		if (strstr(res->findings[i].problem, words))
			return &res->findings[i];
	fail_msg("nothing is said about '%s'", words);
	return NULL;
}

static void test_doctor__finds_nothing_where_all_is_well(void **state)
{
	struct world *w = *state;
	char t[256];

	world_open(w);
	finds_nothing(w);
	ok_create(w, "db", NULL);
	ok_create(w, "idle", NULL);
	ok_publish(w, POOL "/db", "t", t);
	finds_nothing(w);
	world_close(w);
	world_open(w);
	finds_nothing(w);
	world_tidy(w);
}

static void test_doctor__releases_what_is_no_longer_mounted(void **state)
{
	struct world *w = *state;
	struct cleat_result res;
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	assert_int_equal(umount(t), 0);
	res = examine(w, false);
	const struct cleat_finding *f = about(&res, t);
	assert_true(f->fixable && !f->fixed && strlen(f->problem) > 8 && strlen(f->remedy) > 3);
	cleat_engine_result_done(&res);
	assert_int_equal(count_claims(w, NULL), 1); /* looking changes nothing */
	res = examine(w, true);
	assert_true(about(&res, t)->fixed);
	cleat_engine_result_done(&res);
	assert_int_equal(count_claims(w, NULL), 0);
	finds_nothing(w);
	world_tidy(w);
}

static void test_doctor__releases_what_a_dead_holder_left(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	struct cleat_result res;
	char *const argv[] = { (char *)(uintptr_t) "sleep", (char *)(uintptr_t) "1000", NULL };
	char t[256];
	pid_t task;

	world_open(w);
	ok_create(w, "db", NULL);
	assert_int_equal(posix_spawnp(&task, "sleep", NULL, NULL, argv, environ), 0);
	req.target = target_path(w, "t", true, t);
	req.witness.pid = task;
	ok_call(w, &req, NULL);
	finds_nothing(w);
	kill(task, SIGKILL);
	waitpid(task, NULL, 0);
	res = examine(w, true);
	assert_true(about(&res, t)->fixed);
	cleat_engine_result_done(&res);
	assert_false(is_mounted(t));
	finds_nothing(w);
	world_tidy(w);
}

/* What a killed creation leaves is told, and taken away when that is asked for, without a restart. */
static void test_doctor__takes_away_what_was_cut_off(void **state)
{
	struct world *w = *state;
	struct cleat_result res;
	char path[512];

	world_open(w);
	ok_create(w, "db", NULL);
	volume_path(w, POOL "/db", "", path);
	char *cut = strstr(path, "/volumes/");
	assert_non_null(cut);
	strcpy(cut, "/new/cutoff.attempt");
	assert_int_equal(mkdir(path, 0700), 0);
	res = examine(w, false);
	const struct cleat_finding *f = about_problem(&res, "cutoff.attempt");
	assert_true(f->fixable && !f->fixed);
	cleat_engine_result_done(&res);
	assert_int_equal(access(path, F_OK), 0);
	res = examine(w, true);
	assert_true(about_problem(&res, "cutoff.attempt")->fixed);
	cleat_engine_result_done(&res);
	assert_int_not_equal(access(path, F_OK), 0);
	finds_nothing(w);
	world_tidy(w);
}

static void test_doctor__leaves_to_people_what_may_cost_data(void **state)
{
	struct world *w = *state;
	struct cleat_result res;
	char id[CLEAT_ID_MAX_BYTES + 1], record[512], aside[600];

	world_open(w);
	ok_create(w, "db", id);
	ok_create(w, "other", NULL);
	volume_path(w, id, "record.json", record);
	snprintf(aside, sizeof(aside), "%s.aside", record);
	assert_int_equal(rename(record, aside), 0);
	int fd = open(record, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && write(fd, "rubbish", 7) == 7);
	close(fd);
	world_close(w);
	world_open(w);
	res = examine(w, true);
	const struct cleat_finding *f = about(&res, id);
	assert_false(f->fixed || f->fixable);
	cleat_engine_result_done(&res);
	assert_int_equal(rename(aside, record), 0);
	world_close(w);
	world_open(w);
	finds_nothing(w);
	world_tidy(w);
}

const struct suite_case suite_doctor[] = {
	CASE(test_doctor__finds_nothing_where_all_is_well, IN_QUICK, 0, 0),
	CASE(test_doctor__releases_what_is_no_longer_mounted, NEEDS_BARE, 0, 0),
	CASE(test_doctor__releases_what_a_dead_holder_left, NEEDS_BARE, 0, 0),
	CASE(test_doctor__takes_away_what_was_cut_off, NEEDS_BARE, 0, IN_DIRECTORY),
	CASE(test_doctor__leaves_to_people_what_may_cost_data, 0, 0, IN_DIRECTORY),
	{ 0 },
};
