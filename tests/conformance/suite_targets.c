/* suite_targets.c - where a volume may be published, and where not. */
#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static struct cleat_request publish_at(const char *target)
{
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");

	req.target = target;
	return req;
}

/* Publishes where it is not allowed, and stages there as well. */
static void refused_at(struct world *w, const char *target, unsigned codes, const char *words)
{
	struct cleat_request req = publish_at(target);

	refused_any(w, &req, codes, words);
	req.verb = CLEAT_VERB_STAGE;
	refused_any(w, &req, codes, words);
	assert_int_equal(count_claims(w, NULL), 0);
}

#define NOT_THERE (CODE(CLEAT_PERMISSION_DENIED) | CODE(CLEAT_INVALID_ARGUMENT))

static void test_target__outside_the_prefixes_is_refused(void **state)
{
	struct world *w = *state;
	char path[256], beside[256], long_path[5000];

	world_open(w);
	ok_create(w, "db", NULL);
	snprintf(path, sizeof(path), "%s/other", w->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	refused_at(w, path, CODE(CLEAT_PERMISSION_DENIED), path);
	/* A path that only begins like the prefix is not below it. */
	snprintf(beside, sizeof(beside), "%s-beside/t", w->targets);
	refused_at(w, beside, CODE(CLEAT_PERMISSION_DENIED), NULL);
	refused_at(w, w->targets, NOT_THERE, NULL);
	snprintf(path, sizeof(path), "%s/../other", w->targets);
	refused_at(w, path, NOT_THERE, NULL);
	snprintf(path, sizeof(path), "%s/x/../../other", w->targets);
	refused_at(w, path, NOT_THERE, NULL);
	refused_at(w, "relative/path", CODE(CLEAT_INVALID_ARGUMENT), "absolute");
	refused_at(w, "/", NOT_THERE, NULL);
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[0] = '/';
	long_path[sizeof(long_path) - 1] = '\0';
	refused_at(w, long_path, CODE(CLEAT_INVALID_ARGUMENT), NULL);
	world_tidy(w);
}

static void test_target__through_a_symlink_is_refused(void **state)
{
	struct world *w = *state;
	char outside[256], link[256], below[300];

	world_open(w);
	ok_create(w, "db", NULL);
	snprintf(outside, sizeof(outside), "%s/outside", w->dir);
	assert_int_equal(mkdir(outside, 0755), 0);
	snprintf(below, sizeof(below), "%s/outside/deep", w->dir);
	assert_int_equal(mkdir(below, 0755), 0);
	target_path(w, "link", false, link);
	assert_int_equal(symlink(outside, link), 0);
	refused_at(w, link, NOT_THERE | CODE(CLEAT_FAILED_PRECONDITION), NULL);
	snprintf(below, sizeof(below), "%s/deep", link);
	refused_at(w, below, NOT_THERE | CODE(CLEAT_FAILED_PRECONDITION), NULL);
	snprintf(below, sizeof(below), "%s/outside/deep", w->dir);
	assert_false(is_mounted(outside));
	assert_false(is_mounted(below));
	world_tidy(w);
}

static void test_target__a_prefix_may_itself_be_reached_by_a_symlink(void **state)
{
	struct world *w = *state;
	char real[256], t[256], behind[300];

	snprintf(real, sizeof(real), "%s/real", w->dir);
	assert_int_equal(mkdir(real, 0755), 0);
	assert_int_equal(rmdir(w->targets), 0);
	assert_int_equal(symlink(real, w->targets), 0);
	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	snprintf(behind, sizeof(behind), "%s/t", real);
	assert_true(is_mounted(behind));
	ok_unpublish(w, POOL "/db", t);
	assert_false(is_mounted(behind));
	world_tidy(w);
}

static void test_target__that_is_taken_is_refused(void **state)
{
	struct world *w = *state;
	char t[256], foreign[256], file[256];
	struct cleat_request req;

	world_open(w);
	ok_create(w, "db", NULL);
	ok_create(w, "other", NULL);
	target_path(w, "t", true, t);
	req = req_for(CLEAT_VERB_PUBLISH, POOL "/other");
	req.target = t;
	req.owner = "alloc 77 task web";
	ok_call(w, &req, NULL);
	req = publish_at(t);
	refused_any(w, &req, CODE(CLEAT_FAILED_PRECONDITION) | CODE(CLEAT_ALREADY_EXISTS),
		    "alloc 77 task web");
	/* Something that is none of ours is mounted there. */
	target_path(w, "foreign", true, foreign);
	assert_int_equal(mount("none", foreign, "tmpfs", 0, NULL), 0);
	req = publish_at(foreign);
	refused_any(w, &req, CODE(CLEAT_FAILED_PRECONDITION) | CODE(CLEAT_ALREADY_EXISTS), foreign);
	assert_int_equal(umount(foreign), 0);
	/* A file where a directory is wanted. */
	put_file(w->targets, "file", 1, 1);
	req = publish_at(target_path(w, "file", false, file));
	refused_any(w, &req, CODE(CLEAT_FAILED_PRECONDITION) | CODE(CLEAT_INVALID_ARGUMENT), NULL);
	assert_true(has_file(w->targets, "file", 1, 1));
	assert_int_equal(count_claims(w, POOL "/db"), 0);
	world_tidy(w);
}

/* CSI NodePublishVolume: the plugin makes the target; the place it is in must be there. */
static void test_target__is_made_and_removed_again(void **state)
{
	struct world *w = *state;
	char t[256], deep[256];
	struct stat st;

	world_open(w);
	ok_create(w, "db", NULL);
	struct cleat_request req = publish_at(target_path(w, "made", false, t));
	ok_call(w, &req, NULL);
	assert_true(is_mounted(t));
	ok_unpublish(w, POOL "/db", t);
	assert_int_equal(stat(t, &st), -1);
	/* One that was there before stays. */
	target_path(w, "made", true, t);
	ok_call(w, &req, NULL);
	ok_unpublish(w, POOL "/db", t);
	assert_int_equal(stat(t, &st), 0);
	req = publish_at(target_path(w, "no/such/place", false, deep));
	refused_any(w, &req, CODE(CLEAT_FAILED_PRECONDITION) | CODE(CLEAT_NOT_FOUND), NULL);
	world_tidy(w);
}

static void test_target__the_built_in_rule_keeps_the_system_out(void **state)
{
	struct world *w = *state;
	static const char *const system_places[] = { "/etc/x", "/usr/lib/x", "/proc/1", "/sys/kernel",
						     "/dev/x", "/boot/x",    "/bin/x" };
	char t[256];

	w->builtin_prefixes = true;
	world_open(w);
	ok_create(w, "db", NULL);
	for (size_t i = 0; i < CLEAT_COUNT(system_places); i++)
		refused_at(w, system_places[i], CODE(CLEAT_PERMISSION_DENIED), NULL);
	/* Inside the daemon's own directory. */
	snprintf(t, sizeof(t), "%s/x", w->state_dir);
	refused_at(w, t, CODE(CLEAT_PERMISSION_DENIED), NULL);
	struct cleat_request req = publish_at(target_path(w, "t", true, t));
	req.caller_uid = 1000;
	refused(w, &req, CLEAT_PERMISSION_DENIED, NULL);
	req.caller_uid = 0;
	ok_call(w, &req, NULL);
	assert_true(is_mounted(t));
	world_tidy(w);
}

static void test_target__spelled_otherwise_is_the_same(void **state)
{
	struct world *w = *state;
	char t[256], odd[300];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	snprintf(odd, sizeof(odd), "%s/./t//", w->targets);
	struct cleat_request req = publish_at(odd);
	ok_call(w, &req, NULL);
	assert_int_equal(count_claims(w, NULL), 1);
	req.verb = CLEAT_VERB_UNPUBLISH;
	ok_call(w, &req, NULL);
	assert_false(is_mounted(t));
	world_tidy(w);
}

const struct suite_case suite_targets[] = {
	CASE(test_target__outside_the_prefixes_is_refused, 0, 0, 0),
	CASE(test_target__through_a_symlink_is_refused, IN_QUICK, 0, 0),
	CASE(test_target__a_prefix_may_itself_be_reached_by_a_symlink, 0, 0, 0),
	CASE(test_target__that_is_taken_is_refused, 0, 0, 0),
	CASE(test_target__is_made_and_removed_again, 0, 0, 0),
	CASE(test_target__the_built_in_rule_keeps_the_system_out, 0, 0, 0),
	CASE(test_target__spelled_otherwise_is_the_same, 0, 0, 0),
	{ 0 },
};
