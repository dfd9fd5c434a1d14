/* engine_target_test.c - where targets may lie: canonical paths, the built-in rule, prefixes, symlinks. */
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static int make_root(void **state)
{
	char path[128];

	(void)state;
	snprintf(root, sizeof(root), "/tmp/cleat-target-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(path, sizeof(path), "%s/real", root);
	if (mkdir(path, 0755))
		return -1;
	snprintf(path, sizeof(path), "%s/link", root);
	return symlink("real", path);
}

static int remove_root(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/link", root);
	unlink(path);
	snprintf(path, sizeof(path), "%s/real", root);
	rmdir(path);
	return rmdir(root);
}

/* The code for a target that `uid` asks for; the place is closed again. */
static enum cleat_code ask(struct cleat_engine *e, const char *path, unsigned uid, struct cleat_error *err)
{
	const struct cleat_request req = { .size = sizeof(req), .target = path, .caller_uid = uid };
	struct target t;
	enum cleat_code code = target_check(e, &req, &t, err);

	if (code == CLEAT_OK)
		close(t.parent_fd);
	return code;
}

static struct cleat_engine engine(char **prefixes)
{
	static char state_dir[] = "/var/lib/cleat", runtime_dir[] = "/run/cleat";

	return (struct cleat_engine){ .state_dir = state_dir, .runtime_dir = runtime_dir, .prefixes = prefixes };
}

static void test_target__is_made_canonical(void **state)
{
	char out[CLEAT_TARGET_MAX_BYTES];
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	assert_int_equal(target_canonical("//srv/./a//b/", out, &err), CLEAT_OK);
	assert_string_equal(out, "/srv/a/b");
	assert_int_equal(target_canonical("srv/a", out, &err), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(target_canonical("/srv/../etc", out, &err), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(target_canonical("/", out, &err), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(target_canonical("/.", out, &err), CLEAT_INVALID_ARGUMENT);
}

static void test_target__built_in_rule_keeps_out_of_the_system(void **state)
{
	static const char *const refused[] = { "/etc/x", "/usr/local/x", "/lib64/x", "/dev/x", "/proc/self/x", "/bin",
					       "/run/cleat/mnt/x", "/var/lib/cleat/pools/x" };
	struct cleat_engine e = engine(NULL);
	struct cleat_error err = CLEAT_ERROR_INIT;
	char path[128];

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(refused); i++)
		assert_int_equal(ask(&e, refused[i], 0, &err), CLEAT_PERMISSION_DENIED);
	snprintf(path, sizeof(path), "%s/real/new", root);
	assert_int_equal(ask(&e, path, 0, &err), CLEAT_OK);
	assert_int_equal(ask(&e, path, 1000, &err), CLEAT_PERMISSION_DENIED);
	snprintf(path, sizeof(path), "%s/absent/new", root);
	assert_int_equal(ask(&e, path, 0, &err), CLEAT_FAILED_PRECONDITION);
}

static void test_target__follows_no_symlink(void **state)
{
	struct cleat_engine e = engine(NULL);
	struct cleat_error err = CLEAT_ERROR_INIT;
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/link/new", root);
	assert_int_equal(ask(&e, path, 0, &err), CLEAT_INVALID_ARGUMENT);
	assert_non_null(strstr(err.msg, "symlink"));
}

static void test_target__prefix_may_be_a_symlink_but_nothing_below_it(void **state)
{
	char prefix[128], path[160];
	char *prefixes[] = { prefix, NULL };
	struct cleat_engine e = engine(prefixes);
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	snprintf(prefix, sizeof(prefix), "%s/link", root);
	snprintf(path, sizeof(path), "%s/link/new", root);
	assert_int_equal(ask(&e, path, 1000, &err), CLEAT_OK);
	snprintf(path, sizeof(path), "%s/real/new", root);
	assert_int_equal(ask(&e, path, 0, &err), CLEAT_PERMISSION_DENIED);
	snprintf(path, sizeof(path), "%s/linkage/new", root);
	assert_int_equal(ask(&e, path, 0, &err), CLEAT_PERMISSION_DENIED);
	snprintf(prefix, sizeof(prefix), "%s", root);
	snprintf(path, sizeof(path), "%s/link/new", root);
	assert_int_equal(ask(&e, path, 0, &err), CLEAT_INVALID_ARGUMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_target__is_made_canonical),
		cmocka_unit_test(test_target__built_in_rule_keeps_out_of_the_system),
		cmocka_unit_test(test_target__follows_no_symlink),
		cmocka_unit_test(test_target__prefix_may_be_a_symlink_but_nothing_below_it),
	};

	return cmocka_run_group_tests_name("engine_target", tests, make_root, remove_root);
}
