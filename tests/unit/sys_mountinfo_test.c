/* Tests of core/sys/mountinfo.c: tables as kernels write them, damaged ones, and the real one. */
#include "sys_lab.h"

#include "sys/mount.h"
#include "util/buf.h"
#include "util/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Writes each entry as "id parent major:minor root|target|fstype|source[ ro]" and a line end. */
static bool print_entry(const struct cleat_mount_entry *e, void *arg)
{
	cleat_buf_addf(arg, "%llu %llu %u:%u %s|%s|%s|%s%s\n", (unsigned long long)e->id,
		       (unsigned long long)e->parent, major(e->dev), minor(e->dev), e->root, e->target,
		       e->fstype, e->source, e->read_only ? " ro" : "");
	return true;
}

static void expect_table(const char *table, size_t n, const char *expected)
{
	cleat_autobuf struct cleat_buf out = CLEAT_BUF_INIT(1 << 20);
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_ok(cleat_sys_mounts_parse(table, n, print_entry, &out, &err), &err);
	assert_string_equal(cleat_buf_text(&out), expected);
}

static void test_mountinfo__reads_what_kernels_write(void **state)
{
	static const char table[] =
		"22 28 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw\n"
		"28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro\n"
		"47 28 0:40 / /run/user/0 ro,nosuid,nodev shared:25 master:3 propagate_from:2 unbindable - "
		"tmpfs tmpfs "
		"rw,size=100k\n"
		"98 28 0:45 /vol/@a /mnt/b rw,relatime - btrfs /dev/loop3 "
		"rw,space_cache=v2,subvolid=256,subvol=/vol/@a\n"
		"99 28 0:4 net:[4026532196] /run/netns/x rw shared:9 - nsfs nsfs rw\n"
		"100 28 0:46 / /mnt/ssh rw,nosuid,nodev - fuse.sshfs user@host:/path "
		"rw,user_id=0,group_id=0\n"
		"18446744073709551615 0 4095:1048575 / /x rw - xfs /dev/sda rw";
	static const char expected[] = "22 28 0:21 /|/sys|sysfs|sysfs\n"
				       "28 1 254:0 /|/|ext4|/dev/vda\n"
				       "47 28 0:40 /|/run/user/0|tmpfs|tmpfs ro\n"
				       "98 28 0:45 /vol/@a|/mnt/b|btrfs|/dev/loop3\n"
				       "99 28 0:4 net:[4026532196]|/run/netns/x|nsfs|nsfs\n"
				       "100 28 0:46 /|/mnt/ssh|fuse.sshfs|user@host:/path\n"
				       "18446744073709551615 0 4095:1048575 /|/x|xfs|/dev/sda\n";

	(void)state;
	expect_table(table, sizeof(table) - 1, expected);
}

static void test_mountinfo__decodes_escapes_and_leaves_other_backslashes(void **state)
{
	static const char table[] = "1 0 0:1 /a\\040b /t\\011\\012\\134\\043x rw - tmpfs s\\040p\\134040 rw\n"
				    "2 0 0:1 / /\\134 rw - tmpfs \\\\host\\share rw\n"
				    "3 0 0:1 / /\\000\\400\\08\\1 rw - tmpfs \\ rw\n"
				    "4 0 0:1 / /\\303\\244\\377 rw - tmpfs x rw\n";

	(void)state;
	expect_table(table, sizeof(table) - 1,
		     "1 0 0:1 /a b|/t\t\n\\#x|tmpfs|s p\\040\n"
		     "2 0 0:1 /|/\\|tmpfs|\\\\host\\share\n"
		     "3 0 0:1 /|/\\000\\400\\08\\1|tmpfs|\\\n"
		     "4 0 0:1 /|/\303\244\377|tmpfs|x\n");
}

static void test_mountinfo__knows_empty_sources_and_read_only_mounts(void **state)
{
	static const char table[] = "1 0 0:1 / /a rw - tmpfs  rw\n" /* mount -t tmpfs '' /a */
				    "2 0 0:1 / /b ro - tmpfs x rw\n"
				    "3 0 0:1 / /c rw,ro - tmpfs x rw\n"
				    "4 0 0:1 / /d ro,rw - tmpfs x rw\n"
				    "5 0 0:1 / /e rw,errors=ro2,roo,xro - tmpfs x ro\n"
				    "6 0 0:1 / /f rw - tmpfs - \n";

	(void)state;
	expect_table(table, sizeof(table) - 1,
		     "1 0 0:1 /|/a|tmpfs|\n"
		     "2 0 0:1 /|/b|tmpfs|x ro\n"
		     "3 0 0:1 /|/c|tmpfs|x ro\n"
		     "4 0 0:1 /|/d|tmpfs|x ro\n"
		     "5 0 0:1 /|/e|tmpfs|x\n"
		     "6 0 0:1 /|/f|tmpfs|-\n");
	expect_table("", 0, "");
}

static void test_mountinfo__damaged_lines_are_named(void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"1",
		"1 2",
		"1 2 0:1",
		"1 2 0:1 /",
		"1 2 0:1 / /t",
		"1 2 0:1 / /t rw",
		"1 2 0:1 / /t rw -",
		"1 2 0:1 / /t rw - ext4",
		"1 2 0:1 / /t rw - ext4 src",
		"1 2 0:1 / /t rw ext4 src rw",
		"1 2 0:1 / /t rw shared:1 ext4 src rw",
		"1 2 0:1 / /t rw - - ",
		"a 2 0:1 / /t rw - ext4 src rw",
		"-1 2 0:1 / /t rw - ext4 src rw",
		"1 +2 0:1 / /t rw - ext4 src rw",
		"1 2 0 / /t rw - ext4 src rw",
		"1 2 0: / /t rw - ext4 src rw",
		"1 2 :1 / /t rw - ext4 src rw",
		"1 2 0:x / /t rw - ext4 src rw",
		"1 2 4294967296:1 / /t rw - ext4 src rw",
		"18446744073709551616 2 0:1 / /t rw - ext4 src rw",
		"99999999999999999999999999 2 0:1 / /t rw - ext4 src rw",
		"1 2 0:1  /t rw - ext4 src rw",
		"1 2 0:1 /  rw - ext4 src rw",
		"1 2 0:1 / /t rw -  src rw",
		" 1 2 0:1 / /t rw - ext4 src rw",
	};
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		cleat_autobuf struct cleat_buf out = CLEAT_BUF_INIT(4096);
		char table[256];
		int n = snprintf(table, sizeof(table), "9 0 0:1 / /good rw - tmpfs x rw\n%s\n", bad[i]);
		enum cleat_code code = cleat_sys_mounts_parse(table, (size_t)n, print_entry, &out, &err);
		if (code != CLEAT_DATA_LOSS)
			fail_msg("'%s' was taken", bad[i]);
		lab_expect(code, &err, CLEAT_DATA_LOSS, "line 2 of the mount table");
		assert_string_equal(cleat_buf_text(&out), "9 0 0:1 /|/good|tmpfs|x\n");
	}
	/* a NUL would end a text early */
	lab_expect(cleat_sys_mounts_parse("1 0 0:1 / /a rw - tmpfs x\0y rw\n", 31, print_entry, NULL, &err),
		   &err, CLEAT_DATA_LOSS, "line 1");
}

static bool count_two(const struct cleat_mount_entry *e, void *arg)
{
	(void)e;
	return ++*(int *)arg < 2;
}

static void test_mountinfo__stops_when_told(void **state)
{
	static const char table[] = "1 0 0:1 / /a rw - t x rw\n2 0 0:1 / /b rw - t x rw\nbroken\n";
	struct cleat_error err = CLEAT_ERROR_INIT;
	int count = 0;

	(void)state;
	lab_ok(cleat_sys_mounts_parse(table, sizeof(table) - 1, count_two, &count, &err), &err);
	assert_int_equal(count, 2);
}

struct expected_length {
	size_t target, source;
	int count;
};

static bool check_length(const struct cleat_mount_entry *e, void *arg)
{
	struct expected_length *expected = arg;

	assert_int_equal(strlen(e->target), expected->target);
	assert_int_equal(strlen(e->source), expected->source);
	assert_int_equal(e->target[expected->target - 1], ' ');
	return ++expected->count > 0;
}

static void test_mountinfo__takes_lines_of_any_length(void **state)
{
	const size_t part = 300000;
	cleat_autobuf struct cleat_buf table = CLEAT_BUF_INIT(8 << 20);
	struct expected_length expected = { part + 1, part, 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char *text = malloc(4 * part + 1);

	(void)state;
	for (size_t i = 0; i < part; i++)
		memcpy(text + 4 * i, "\\040", 5);
	for (int i = 0; i < 3; i++) {
		cleat_buf_addf(&table, "%d 0 0:1 / /%s rw - tmpfs ", i, text);
		cleat_buf_add(&table, text, 4 * part);
		cleat_buf_adds(&table, " rw\n");
	}
	free(text);
	assert_true(cleat_buf_ok(&table));
	lab_ok(cleat_sys_mounts_parse(table.data, table.len, check_length, &expected, &err), &err);
	assert_int_equal(expected.count, 3);
}

static void test_mountinfo__refuses_more_than_its_limit(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	lab_expect(cleat_sys_mounts_parse("", (64U << 20) + 1, print_entry, NULL, &err), &err,
		   CLEAT_RESOURCE_EXHAUSTED, "larger than");
}

/* ---- the real table ---- */

struct found {
	char target[256];
	char source[64], fstype[16];
	dev_t dev;
	bool read_only;
	int count;
};

static bool find_target(const struct cleat_mount_entry *e, void *arg)
{
	struct found *f = arg;

	if (strcmp(e->target, f->target) != 0)
		return true;
	f->count++;
	f->dev = e->dev;
	f->read_only = e->read_only;
	snprintf(f->source, sizeof(f->source), "%s", e->source);
	snprintf(f->fstype, sizeof(f->fstype), "%s", e->fstype);
	return true;
}

static void test_mountinfo__tells_odd_names_of_real_mounts(void **state)
{
	static const char *const names[] = { "a b",  "tab\there", "line\nend", "back\\slash\\040",
					     "h#sh", "\303\244" };
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	for (size_t i = 0; i < CLEAT_COUNT(names); i++) {
		struct found f = { .count = 0 };
		struct stat st;
		lab_mkdir(lab, names[i]);
		snprintf(f.target, sizeof(f.target), "%s", lab_join(lab, names[i]));
		assert_int_equal(mount("odd source", f.target, "tmpfs", i % 2 ? MS_RDONLY : 0, NULL), 0);
		assert_int_equal(stat(f.target, &st), 0);
		lab_ok(cleat_sys_mounts(find_target, &f, &err), &err);
		assert_int_equal(f.count, 1);
		assert_string_equal(f.source, "odd source");
		assert_string_equal(f.fstype, "tmpfs");
		assert_int_equal(f.dev, st.st_dev);
		assert_int_equal(f.read_only, i % 2);
		assert_int_equal(umount2(f.target, 0), 0);
	}
}

struct churn {
	const char *target;
	atomic_bool stop;
	int rounds;
};

static void *mount_and_unmount(void *arg)
{
	struct churn *churn = arg;

	while (!atomic_load(&churn->stop)) {
		if (mount("churn", churn->target, "tmpfs", 0, "size=4k") == 0 &&
		    umount2(churn->target, 0) == 0)
			churn->rounds++;
	}
	return NULL;
}

struct seen {
	char prefix[128];
	int count;
};

static bool count_prefix(const struct cleat_mount_entry *e, void *arg)
{
	struct seen *seen = arg;

	seen->count += strncmp(e->target, seen->prefix, strlen(seen->prefix)) == 0;
	return true;
}

/* While mounts come and go in front of and behind them, those that stay are always all told. */
static void test_mountinfo__misses_nothing_while_the_table_changes(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct churn churn = { .rounds = 0 };
	struct seen seen = { .count = 0 };
	pthread_t thread;
	char name[16];

	lab_mkdir(lab, "churn");
	churn.target = lab_join(lab, "churn");
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "stay%d", i);
		lab_mkdir(lab, name);
		assert_int_equal(mount("stay", lab_join(lab, name), "tmpfs", 0, "size=4k"), 0);
	}
	/* lab_join's buffers turn round */
	char target[128];
	snprintf(target, sizeof(target), "%s/churn", lab->path);
	churn.target = target;
	snprintf(seen.prefix, sizeof(seen.prefix), "%s/stay", lab->path);
	assert_int_equal(pthread_create(&thread, NULL, mount_and_unmount, &churn), 0);
	int wrong = 0;
	for (int i = 0; i < 200; i++) {
		seen.count = 0;
		lab_ok(cleat_sys_mounts(count_prefix, &seen, &err), &err);
		wrong += seen.count != 60;
	}
	atomic_store(&churn.stop, true);
	pthread_join(thread, NULL);
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "stay%d", i);
		assert_int_equal(umount2(lab_join(lab, name), 0), 0);
	}
	assert_true(churn.rounds > 0);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mountinfo__reads_what_kernels_write),
		cmocka_unit_test(test_mountinfo__decodes_escapes_and_leaves_other_backslashes),
		cmocka_unit_test(test_mountinfo__knows_empty_sources_and_read_only_mounts),
		cmocka_unit_test(test_mountinfo__damaged_lines_are_named),
		cmocka_unit_test(test_mountinfo__stops_when_told),
		cmocka_unit_test(test_mountinfo__takes_lines_of_any_length),
		cmocka_unit_test(test_mountinfo__refuses_more_than_its_limit),
		LAB_TEST(test_mountinfo__tells_odd_names_of_real_mounts),
		LAB_TEST(test_mountinfo__misses_nothing_while_the_table_changes),
	};
	int skip = lab_need_root();

	return skip ? skip : cmocka_run_group_tests_name("sys_mountinfo", tests, NULL, NULL);
}
