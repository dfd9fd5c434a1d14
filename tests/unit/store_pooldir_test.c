/* store_pooldir_test.c - pool directories: first opening, being offline, durability, what is cut off. */
#include "sys_lab.h"

#include "store/pooldir.h"
#include "sys/hook.h"
#include "util/buf.h"
#include "util/kv.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A configuration for a pool in the lab's "pool". */
struct setup {
	struct cleat_kvs config;
	struct cleat_pool_options opts;
	struct cleat_pooldir dir;
	struct cleat_error err;
};

static void setup_init(struct setup *s, const struct lab *lab)
{
	*s = (struct setup){ .dir = { -1, -1, -1, -1, -1, NULL, { { 0 }, { 0 }, 0, false, false } } };
	if (!lab_exists(lab, "pool"))
		lab_mkdir(lab, "pool");
	lab_ok(cleat_kv_set(&s->config, "path", lab_join(lab, "pool"), &s->err), &s->err);
	s->opts = (struct cleat_pool_options){ .name = "fast",
					       .state_dir = lab->path,
					       .runtime_dir = lab->path,
					       .config = &s->config,
					       .node = "node-1" };
}

static void setup_done(struct setup *s)
{
	cleat_pooldir_close(&s->dir);
	cleat_kv_done(&s->config);
}
#define auto_setup __attribute__((cleanup(setup_done)))

static void open_ok(struct setup *s)
{
	lab_ok(cleat_pooldir_open(&s->opts, "loop", &s->dir, &s->err), &s->err);
}

static void open_fails(struct setup *s, const char *words)
{
	enum cleat_code code = cleat_pooldir_open(&s->opts, "loop", &s->dir, &s->err);

	lab_expect(code, &s->err, CLEAT_UNAVAILABLE, words);
	assert_true(s->err.retry);
	s->err = (struct cleat_error)CLEAT_ERROR_INIT;
}

static struct cleat_record *record(const char *key, const char *name)
{
	struct cleat_record *r = cleat_record_new(CLEAT_KIND_VOLUME);

	assert_non_null(r);
	assert_int_equal(cleat_record_set(&r->key, key, NULL), CLEAT_OK);
	assert_int_equal(cleat_record_set(&r->name, name, NULL), CLEAT_OK);
	r->capacity_bytes = 4096;
	return r;
}

static enum cleat_code try_make(struct setup *s, const char *key, const char *name, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = record(key, name);
	cleat_autofree char *attempt = NULL;
	cleat_autoclose int fd = -1;
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	if (cleat_pooldir_begin(&s->dir, key, &attempt, &fd, err))
		return err->code;
	enum cleat_code code = cleat_pooldir_commit(&s->dir, attempt, fd, rec, err);
	if (code)
		cleat_pooldir_abandon(&s->dir, attempt);
	return code;
}

static void make(struct setup *s, const char *key, const char *name)
{
	lab_ok(try_make(s, key, name, &s->err), &s->err);
}

static int entries(const struct lab *lab, const char *path)
{
	struct dirent **list = NULL;
	int count = scandir(lab_join(lab, path), &list, NULL, NULL);

	for (int i = 0; i < count; i++)
		free(list[i]);
	free(list);
	return count - 2;
}

static void add_line(const char *line, void *arg)
{
	cleat_buf_addf(arg, "%s\n", line);
}

/* Runs fn(s) in a child that ends without warning at its n-th step; false when it came to its end before
 * that. */
static int steps_left;

static int die_at_step(const char *call, const char *what, void *arg)
{
	(void)call;
	(void)what;
	(void)arg;
	if (--steps_left == 0)
		_exit(99);
	return 0;
}

static bool killed_at(int n, void (*fn)(struct setup *s), struct setup *s)
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		steps_left = n;
		cleat_sys_hook_set(die_at_step, NULL);
		fn(s);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 99 || WEXITSTATUS(status) == 0);
	return WEXITSTATUS(status) == 99;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void test_pooldir__empty_directory_becomes_a_pool_once(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	struct cleat_pool_identity first;

	setup_init(&s, lab);
	lab_mkdir(lab, "pool/lost+found");
	open_ok(&s);
	first = s.dir.id;
	assert_int_equal(strlen(first.uuid), 36);
	assert_true(strncmp(first.stored_name, "fast-", 5) == 0 &&
		    strncmp(first.stored_name + 5, first.uuid, 8) == 0);
	assert_int_equal(first.format, CLEAT_POOL_FORMAT);
	assert_false(first.shared || first.read_only);
	cleat_pooldir_close(&s.dir);
	s.opts.expect_uuid = first.uuid;
	s.opts.name = "renamed";
	open_ok(&s);
	assert_string_equal(s.dir.id.uuid, first.uuid);
	assert_string_equal(s.dir.id.stored_name, first.stored_name);
}

static void test_pooldir__is_served_by_one_at_a_time(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s, other;
	char holder[64];

	setup_init(&s, lab);
	setup_init(&other, lab);
	open_ok(&s);
	snprintf(holder, sizeof(holder), "process %ld on node 'node-1'", (long)getpid());
	open_fails(&other, holder);
	cleat_pooldir_close(&s.dir);
	open_ok(&other);
}

static void test_pooldir__lost_pool_is_offline_never_empty(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;

	setup_init(&s, lab);
	s.opts.expect_uuid = "11111111-2222-4333-8444-555555555555";
	open_fails(&s, "offline");
	assert_int_equal(entries(lab, "pool"), 0);
	s.opts.expect_uuid = NULL;
	lab_ok(cleat_kv_set(&s.config, "init", "never", NULL), &s.err);
	open_fails(&s, "init is 'never'");
	assert_int_equal(entries(lab, "pool"), 0);
	assert_int_equal(rmdir(lab_join(lab, "pool")), 0);
	open_fails(&s, "No such file");
	assert_false(lab_exists(lab, "pool"));
}

static void test_pooldir__does_not_touch_what_is_not_its_own(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;

	setup_init(&s, lab);
	lab_write(lab, "pool/letter.txt", "dear");
	open_fails(&s, "letter.txt");
	assert_int_equal(entries(lab, "pool"), 1);
	assert_int_equal(unlinkat(lab->fd, "pool/letter.txt", 0), 0);
	lab_mkdir(lab, "pool/volumes");
	lab_mkdir(lab, "pool/volumes/abc");
	open_fails(&s, "not empty");
	assert_int_equal(entries(lab, "pool"), 1);
}

static void test_pooldir__checks_the_marker(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;

	setup_init(&s, lab);
	open_ok(&s);
	cleat_pooldir_close(&s.dir);
	s.opts.expect_uuid = "11111111-2222-4333-8444-555555555555";
	open_fails(&s, "not 11111111-2222-4333-8444-555555555555");
	s.opts.expect_uuid = NULL;
	lab_expect(cleat_pooldir_open(&s.opts, "btrfs", &s.dir, &s.err), &s.err, CLEAT_UNAVAILABLE,
		   "backend 'loop', not 'btrfs'");
	static const char *const damaged[] = {
		"",
		"{",
		"[]",
		"{\"format\":1}",
		"{\"format\":1,\"uuid\":\"short\",\"name\":\"x\",\"backend\":\"loop\",\"scope\":\"node\"}",
		"{\"format\":1,\"uuid\":\"11111111-2222-4333-8444-555555555555\",\"name\":\"a/"
		"b\",\"backend\":\"loop\",\"scope\":\"node\"}",
		"{\"format\":1,\"uuid\":\"11111111-2222-4333-8444-555555555555\",\"name\":\"x\",\"backend\":"
		"\"loop\",\"scope\":\"?\"}",
	};
	for (size_t i = 0; i < CLEAT_COUNT(damaged); i++) {
		lab_write(lab, "pool/cleat-pool.json", damaged[i]);
		open_fails(&s, "damaged");
	}
}

static void test_pooldir__newer_format_is_read_only(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	cleat_autorecord struct cleat_record *rec = record("abc", "db"), *found = NULL;
	cleat_autofree char *trash = NULL;

	setup_init(&s, lab);
	open_ok(&s);
	make(&s, "abc", "db");
	cleat_pooldir_close(&s.dir);
	lab_write(lab, "pool/cleat-pool.json",
		  "{\"format\":2,\"uuid\":\"11111111-2222-4333-8444-555555555555\",\"name\":\"x\","
		  "\"backend\":\"loop\",\"scope\":\"shared\","
		  "\"more\":[1]}");
	open_ok(&s);
	assert_true(s.dir.id.read_only && s.dir.id.shared);
	assert_int_equal(s.dir.id.format, 2);
	lab_ok(cleat_pooldir_read(&s.dir, "abc", &found, &s.err), &s.err);
	lab_expect(try_make(&s, "new", "x", &s.err), &s.err, CLEAT_FAILED_PRECONDITION, "read-only");
	lab_expect(cleat_pooldir_update(&s.dir, rec, &s.err), &s.err, CLEAT_FAILED_PRECONDITION, "read-only");
	lab_expect(cleat_pooldir_discard(&s.dir, "abc", &trash, &s.err), &s.err, CLEAT_FAILED_PRECONDITION,
		   "read-only");
	lab_ok(cleat_pooldir_sweep(&s.dir, NULL, NULL, NULL, NULL, &s.err), &s.err);
}

static void test_pooldir__makes_its_default_place_only_the_first_time(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;

	setup_init(&s, lab);
	cleat_kv_remove(&s.config, "path");
	s.opts.expect_uuid = "11111111-2222-4333-8444-555555555555";
	open_fails(&s, "No such file");
	assert_false(lab_exists(lab, "pools"));
	s.opts.expect_uuid = NULL;
	open_ok(&s);
	assert_string_equal(s.dir.path, lab_join(lab, "pools/fast"));
	assert_true(lab_exists(lab, "pools/fast/cleat-pool.json"));
}

static enum cleat_code fits_not(int root_fd, const char *path, void *arg, struct cleat_error *err)
{
	assert_true(fcntl(root_fd, F_GETFD) >= 0);
	assert_non_null(strstr(path, "/pool"));
	*(int *)arg += 1;
	return cleat_error_set(err, CLEAT_UNAVAILABLE, "wrong file system");
}

static void test_pooldir__asks_whether_the_place_fits_before_making_anything(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	int asked = 0;

	setup_init(&s, lab);
	lab_expect(cleat_pooldir_open_on(&s.opts, "btrfs", fits_not, &asked, &s.dir, &s.err), &s.err,
		   CLEAT_UNAVAILABLE, "wrong file system");
	assert_int_equal(asked, 1);
	assert_int_equal(entries(lab, "pool"), 0);
}

static void open_and_leave(struct setup *s)
{
	if (cleat_pooldir_open(&s->opts, "loop", &s->dir, &s->err))
		_exit(1);
}

static void test_pooldir__first_opening_may_be_cut_off_anywhere(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	bool killed = true;
	int n;

	setup_init(&s, lab);
	for (n = 1; killed; n++) {
		killed = killed_at(n, open_and_leave, &s);
		open_ok(&s);
		assert_true(entries(lab, "pool") == 5);
		cleat_pooldir_close(&s.dir);
		LAB_RUN("rm", "-rf", lab_join(lab, "pool"));
		lab_mkdir(lab, "pool");
	}
	assert_true(n > 8);
}

static void test_pooldir__probe_sees_what_went_away(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;

	setup_init(&s, lab);
	open_ok(&s);
	lab_ok(cleat_pooldir_probe(&s.dir, &s.err), &s.err);
	assert_int_equal(renameat(lab->fd, "pool/cleat-pool.json", lab->fd, "kept"), 0);
	lab_expect(cleat_pooldir_probe(&s.dir, &s.err), &s.err, CLEAT_UNAVAILABLE, "marker is gone");
	assert_int_equal(renameat(lab->fd, "kept", lab->fd, "pool/cleat-pool.json"), 0);
	lab_ok(cleat_pooldir_probe(&s.dir, &s.err), &s.err);
	assert_int_equal(renameat(lab->fd, "pool", lab->fd, "elsewhere"), 0);
	lab_expect(cleat_pooldir_probe(&s.dir, &s.err), &s.err, CLEAT_UNAVAILABLE, "No such file");
	LAB_RUN("cp", "-r", lab_join(lab, "elsewhere"), lab_join(lab, "pool"));
	lab_expect(cleat_pooldir_probe(&s.dir, &s.err), &s.err, CLEAT_UNAVAILABLE, "another directory");
	lab_write(lab, "pool/cleat-pool.json",
		  "{\"format\":1,\"uuid\":\"11111111-2222-4333-8444-555555555555\",\"name\":\"x\","
		  "\"backend\":\"loop\",\"scope\":\"node\"}");
	lab_expect(cleat_pooldir_probe(&s.dir, &s.err), &s.err, CLEAT_UNAVAILABLE, "holds pool 11111111");
}

/* ---- volumes --------------------------------------------------------------------------------- */

static void test_pooldir__creation_costs_three_syncs(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	cleat_autorecord struct cleat_record *found = NULL;

	setup_init(&s, lab);
	open_ok(&s);
	lab_inject(NULL, 0, 0);
	make(&s, "abc", "db");
	assert_int_equal(lab_steps("fsync"), 3);
	assert_int_equal(lab_steps("mkdirat"), 1);
	assert_int_equal(lab_steps("write"), 1);
	assert_int_equal(lab_steps("renameat2"), 1);
	assert_int_equal(lab_steps("unlinkat"), 0);
	lab_inject_off();
	lab_ok(cleat_pooldir_read(&s.dir, "abc", &found, &s.err), &s.err);
	assert_string_equal(found->name, "db");
	assert_int_equal(entries(lab, "pool/new"), 0);
}

static void test_pooldir__taken_key_is_refused_and_leaves_nothing(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	cleat_autorecord struct cleat_record *found = NULL;

	setup_init(&s, lab);
	open_ok(&s);
	make(&s, "abc", "db");
	assert_int_equal(try_make(&s, "abc", "other", NULL), CLEAT_ALREADY_EXISTS);
	assert_int_equal(entries(lab, "pool/new"), 0);
	lab_ok(cleat_pooldir_read(&s.dir, "abc", &found, &s.err), &s.err);
	assert_string_equal(found->name, "db");
}

static void test_pooldir__confirm_tells_same_from_different(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	cleat_autorecord struct cleat_record *wish = record("abc", "db"), *found = NULL;

	setup_init(&s, lab);
	open_ok(&s);
	lab_ok(cleat_pooldir_confirm(&s.dir, wish, &found, &s.err), &s.err);
	assert_null(found);
	make(&s, "abc", "db");
	lab_ok(cleat_kv_set(&wish->labels, "labels", "do not count", NULL), &s.err);
	lab_ok(cleat_pooldir_confirm(&s.dir, wish, &found, &s.err), &s.err);
	assert_string_equal(found->name, "db");
	lab_ok(cleat_kv_set(&wish->params, "uid", "7", NULL), &s.err);
	cleat_record_unref(found);
	lab_expect(cleat_pooldir_confirm(&s.dir, wish, &found, &s.err), &s.err, CLEAT_ALREADY_EXISTS,
		   "parameters");
	assert_null(found);
	cleat_kv_remove(&wish->params, "uid");
	wish->capacity_bytes = 8192;
	lab_expect(cleat_pooldir_confirm(&s.dir, wish, &found, &s.err), &s.err, CLEAT_ALREADY_EXISTS,
		   "capacity");
}

static void test_pooldir__update_replaces_with_two_syncs(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	cleat_autorecord struct cleat_record *rec = record("abc", "db"), *found = NULL;

	setup_init(&s, lab);
	open_ok(&s);
	lab_expect(cleat_pooldir_update(&s.dir, rec, &s.err), &s.err, CLEAT_NOT_FOUND, "abc");
	make(&s, "abc", "db");
	lab_ok(cleat_kv_set(&rec->labels, "a", "b", NULL), &s.err);
	lab_inject(NULL, 0, 0);
	lab_ok(cleat_pooldir_update(&s.dir, rec, &s.err), &s.err);
	assert_int_equal(lab_steps("fsync"), 2);
	lab_inject_off();
	lab_ok(cleat_pooldir_read(&s.dir, "abc", &found, &s.err), &s.err);
	assert_string_equal(cleat_kv_get(&found->labels, "a"), "b");
	assert_int_equal(entries(lab, "pool/volumes/abc"), 1);
	assert_int_equal(entries(lab, "pool/new"), 0);
}

static void test_pooldir__deletion_costs_one_sync_and_may_be_repeated(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	cleat_autofree char *trash = NULL, *again = NULL;

	setup_init(&s, lab);
	open_ok(&s);
	make(&s, "abc", "db");
	lab_inject(NULL, 0, 0);
	lab_ok(cleat_pooldir_discard(&s.dir, "abc", &trash, &s.err), &s.err);
	assert_int_equal(lab_steps("fsync"), 1);
	lab_inject_off();
	assert_non_null(trash);
	assert_int_equal(entries(lab, "pool/volumes"), 0);
	lab_ok(cleat_pooldir_discard(&s.dir, "abc", &again, &s.err), &s.err);
	assert_null(again);
	lab_ok(cleat_pooldir_purge(&s.dir, trash, &s.err), &s.err);
	lab_ok(cleat_pooldir_purge(&s.dir, trash, &s.err), &s.err);
	assert_int_equal(entries(lab, "pool/trash"), 0);
}

static void test_pooldir__keys_never_lead_elsewhere(void **state)
{
	static const char *const bad[] = { "",	  ".",	      "..",
					   "a/b", "../x",     "/etc",
					   "a b", "\xc3\xa4", "a234567890123456789012345678901234" };
	const struct lab *lab = *state;
	auto_setup struct setup s;
	cleat_autorecord struct cleat_record *found = NULL;
	cleat_autofree char *text = NULL;
	cleat_autoclose int fd = -1;

	setup_init(&s, lab);
	open_ok(&s);
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		assert_int_equal(cleat_pooldir_begin(&s.dir, bad[i], &text, &fd, &s.err),
				 CLEAT_INVALID_ARGUMENT);
		assert_int_equal(cleat_pooldir_read(&s.dir, bad[i], &found, &s.err), CLEAT_INVALID_ARGUMENT);
		assert_int_equal(cleat_pooldir_open_volume(&s.dir, bad[i], &fd, &s.err),
				 CLEAT_INVALID_ARGUMENT);
		assert_int_equal(cleat_pooldir_discard(&s.dir, bad[i], &text, &s.err),
				 CLEAT_INVALID_ARGUMENT);
	}
	assert_int_equal(symlinkat("/etc", lab->fd, "pool/volumes/link"), 0);
	assert_int_equal(cleat_pooldir_open_volume(&s.dir, "link", &fd, &s.err), CLEAT_FAILED_PRECONDITION);
}

/* ---- scan ------------------------------------------------------------------------------------ */

struct seen {
	struct cleat_buf lines;
	int left; /* stop after so many */
};

static bool see(struct cleat_record *rec, const char *broken, void *arg)
{
	struct seen *seen = arg;

	cleat_buf_addf(&seen->lines, "%s=%s%s%s\n", rec->key, rec->name, broken ? ": " : "",
		       broken ? broken : "");
	return --seen->left != 0;
}

static void expect_seen(const struct seen *seen, const char *line)
{
	if (!strstr(cleat_buf_text(&seen->lines), line))
		fail_msg("no '%s' in:\n%s", line, cleat_buf_text(&seen->lines));
}

static void test_pooldir__scan_passes_good_and_broken_records(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	struct seen seen = { CLEAT_BUF_INIT(4096), 0 };

	setup_init(&s, lab);
	open_ok(&s);
	make(&s, "good1", "one");
	make(&s, "good2", "two");
	make(&s, "torn", "three");
	make(&s, "newer", "four");
	make(&s, "stray", "five");
	lab_mkdir(lab, "pool/volumes/bare");
	lab_mkdir(lab, "pool/volumes/no.key");
	lab_write(lab, "pool/volumes/torn/record.json", "{\"format\":1,\"ki");
	lab_write(lab, "pool/volumes/newer/record.json", "{\"format\":7,\"name\":\"later\"}");
	LAB_RUN("cp", lab_join(lab, "pool/volumes/good1/record.json"),
		lab_join(lab, "pool/volumes/stray/record.json"));
	lab_ok(cleat_pooldir_scan(&s.dir, see, &seen, &s.err), &s.err);
	expect_seen(&seen, "good1=one\n");
	expect_seen(&seen, "good2=two\n");
	expect_seen(&seen, "torn=: record: not JSON");
	expect_seen(&seen, "newer=later\n");
	expect_seen(&seen, "stray=: record: is that of key 'good1'");
	expect_seen(&seen, "bare=: ");
	assert_null(strstr(cleat_buf_text(&seen.lines), "no.key"));
	cleat_buf_clear(&seen.lines);
	seen.left = 1;
	lab_ok(cleat_pooldir_scan(&s.dir, see, &seen, &s.err), &s.err);
	assert_int_equal(seen.left, 0);
	cleat_buf_done(&seen.lines);
}

/* ---- being cut off --------------------------------------------------------------------------- */

static void change(struct setup *s)
{
	cleat_autorecord struct cleat_record *rec = record("old", "changed");
	cleat_autofree char *trash = NULL;

	if (cleat_pooldir_open(&s->opts, "loop", &s->dir, &s->err) || try_make(s, "new", "made", &s->err) ||
	    cleat_pooldir_update(&s->dir, rec, &s->err) ||
	    cleat_pooldir_discard(&s->dir, "gone", &trash, &s->err) ||
	    cleat_pooldir_purge(&s->dir, trash, &s->err))
		_exit(1);
}

/* Either as before or as wanted, and in the order of the calls: what a later call needs, the earlier one has
 * done. */
static void check_after_kill(struct setup *s, const struct lab *lab)
{
	cleat_autorecord struct cleat_record *old = NULL, *made = NULL;
	bool gone = !lab_exists(lab, "pool/volumes/gone");

	lab_ok(cleat_pooldir_read(&s->dir, "old", &old, &s->err), &s->err);
	bool changed = strcmp(old->name, "changed") == 0;
	assert_true(changed || strcmp(old->name, "before") == 0);
	bool is_made = cleat_pooldir_read(&s->dir, "new", &made, NULL) == CLEAT_OK;
	assert_true(is_made == lab_exists(lab, "pool/volumes/new"));
	assert_true(is_made || (!changed && !gone));
	assert_true(changed || !gone);
	assert_int_equal(entries(lab, "pool/new"), 0);
	assert_int_equal(entries(lab, "pool/trash"), 0);
	assert_int_equal(entries(lab, "pool/volumes"), 1 + is_made + !gone);
	assert_int_equal(entries(lab, "pool/volumes/old"), 1);
}

static void test_pooldir__operations_may_be_cut_off_anywhere(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	cleat_autobuf struct cleat_buf report = CLEAT_BUF_INIT(65536);
	bool killed = true;
	int n;

	setup_init(&s, lab);
	for (n = 1; killed; n++) {
		open_ok(&s);
		make(&s, "old", "before");
		make(&s, "gone", "soon");
		cleat_pooldir_close(&s.dir);
		killed = killed_at(n, change, &s);
		open_ok(&s);
		lab_ok(cleat_pooldir_sweep(&s.dir, NULL, NULL, add_line, &report, &s.err), &s.err);
		check_after_kill(&s, lab);
		cleat_pooldir_close(&s.dir);
		LAB_RUN("rm", "-rf", lab_join(lab, "pool/volumes"));
		lab_mkdir(lab, "pool/volumes");
	}
	assert_true(n > 20);
	assert_non_null(strstr(cleat_buf_text(&report), "unfinished creation or change 'new."));
	assert_non_null(strstr(cleat_buf_text(&report), "unfinished deletion 'gone."));
}

static void test_pooldir__failing_calls_leave_old_or_new(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	cleat_autorecord struct cleat_record *rec = record("old", "changed"), *after = NULL;
	bool failed = true;

	setup_init(&s, lab);
	open_ok(&s);
	make(&s, "old", "before");
	for (int n = 1; failed; n++) {
		lab_inject(NULL, n, EIO);
		failed = try_make(&s, "new", "made", NULL) != CLEAT_OK;
		lab_inject_off();
		assert_int_equal(entries(lab, "pool/new"), 0);
		LAB_RUN("rm", "-rf", lab_join(lab, "pool/volumes/new"));
	}
	failed = true;
	for (int n = 1; failed; n++) {
		lab_inject(NULL, n, ENOSPC);
		failed = cleat_pooldir_update(&s.dir, rec, &s.err) != CLEAT_OK;
		lab_inject_off();
		assert_int_equal(entries(lab, "pool/new"), 0);
	}
	lab_ok(cleat_pooldir_read(&s.dir, "old", &after, &s.err), &s.err);
	assert_string_equal(after->name, "changed");
}

static enum cleat_code refuse_some(int parent_fd, const char *name, void *arg, struct cleat_error *err)
{
	assert_true(parent_fd >= 0);
	*(int *)arg += 1;
	if (strncmp(name, "stuck.", 6) == 0)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "it is stuck");
	return unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 ? CLEAT_OK : CLEAT_INTERNAL;
}

static void test_pooldir__sweep_goes_on_after_what_cannot_be_removed(void **state)
{
	const struct lab *lab = *state;
	auto_setup struct setup s;
	cleat_autobuf struct cleat_buf report = CLEAT_BUF_INIT(4096);
	int asked = 0;

	setup_init(&s, lab);
	open_ok(&s);
	lab_mkdir(lab, "pool/new/a.x");
	lab_mkdir(lab, "pool/new/stuck.x");
	lab_mkdir(lab, "pool/trash/b.x");
	lab_ok(cleat_pooldir_sweep(&s.dir, refuse_some, &asked, add_line, &report, &s.err), &s.err);
	assert_int_equal(asked, 3);
	assert_int_equal(entries(lab, "pool/new"), 1);
	assert_int_equal(entries(lab, "pool/trash"), 0);
	assert_non_null(strstr(cleat_buf_text(&report), "'stuck.x' cannot be removed: it is stuck"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_pooldir__empty_directory_becomes_a_pool_once),
		LAB_TEST(test_pooldir__is_served_by_one_at_a_time),
		LAB_TEST(test_pooldir__lost_pool_is_offline_never_empty),
		LAB_TEST(test_pooldir__does_not_touch_what_is_not_its_own),
		LAB_TEST(test_pooldir__checks_the_marker),
		LAB_TEST(test_pooldir__newer_format_is_read_only),
		LAB_TEST(test_pooldir__makes_its_default_place_only_the_first_time),
		LAB_TEST(test_pooldir__asks_whether_the_place_fits_before_making_anything),
		LAB_TEST(test_pooldir__first_opening_may_be_cut_off_anywhere),
		LAB_TEST(test_pooldir__probe_sees_what_went_away),
		LAB_TEST(test_pooldir__creation_costs_three_syncs),
		LAB_TEST(test_pooldir__taken_key_is_refused_and_leaves_nothing),
		LAB_TEST(test_pooldir__confirm_tells_same_from_different),
		LAB_TEST(test_pooldir__update_replaces_with_two_syncs),
		LAB_TEST(test_pooldir__deletion_costs_one_sync_and_may_be_repeated),
		LAB_TEST(test_pooldir__keys_never_lead_elsewhere),
		LAB_TEST(test_pooldir__scan_passes_good_and_broken_records),
		LAB_TEST(test_pooldir__operations_may_be_cut_off_anywhere),
		LAB_TEST(test_pooldir__failing_calls_leave_old_or_new),
		LAB_TEST(test_pooldir__sweep_goes_on_after_what_cannot_be_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
