/* Making, mounting and growing file systems by their tables; copies that must be told apart. */
#include "loop_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/loop.h"
#include "sys/mount.h"
#include "sys/probe.h"

/* mkfs in its place is a script that writes down what it was called with. */
static const char *recorded(const struct lab *lab, const char *tool, const struct cleat_fs *fs,
			    uint64_t bytes, const struct cleat_kvs *params, bool thick, bool discard)
{
	static char text[1024];
	struct cleat_error err = CLEAT_ERROR_INIT;
	const struct cleat_fs_make_opts how = { .path = "/images/x",
						.bytes = bytes,
						.params = params,
						.keep_fd = -1,
						.thick = thick,
						.discard = discard };
	char script[256];

	snprintf(script, sizeof(script), "#!/bin/sh\necho \"${0##*/} $*\" > %s/argv\n", lab->path);
	lab_write(lab, tool, script);
	assert_int_equal(fchmodat(lab->fd, tool, 0755, 0), 0);
	assert_int_equal(setenv("PATH", lab->path, 1), 0);
	enum cleat_code code = cleat_fs_make(fs, &how, &err);
	assert_int_equal(setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1), 0);
	lab_ok(code, &err);
	lab_read(lab, "argv", text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void set(struct cleat_kvs *kvs, const char *key, const char *value)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_ok(cleat_kv_set(kvs, key, value, &err), &err);
}

static void test_make__ext4_has_this_command_line(void **state)
{
	const struct cleat_fs *fs = cleat_fs_find("ext4");
	cleat_autokvs struct cleat_kvs params = { NULL, 0 };

	assert_string_equal(recorded(*state, "mke2fs", fs, LAB_GIB, NULL, false, false),
			    "mke2fs -q -F -t ext4 -b 4096 -m 0 -I 256 -E "
			    "nodiscard,lazy_itable_init=1,lazy_journal_init=1 /images/x");
	assert_string_equal(recorded(*state, "mke2fs", fs, 2048 * LAB_GIB, NULL, false, false),
			    "mke2fs -q -F -t ext4 -b 4096 -m 0 -I 256 -E "
			    "nodiscard,lazy_itable_init=1,lazy_journal_init=1 -i 65536 /images/x");
	set(&params, "ext4.bytes_per_inode", "32KiB");
	set(&params, "ext4.journal_size", "128MiB");
	set(&params, "ext4.fast_commit", "yes");
	set(&params, "ext4.reserved_percent", "3");
	set(&params, "ext4.inode_size", "512");
	set(&params, "uid", "3");
	set(&params, "xfs.reflink", "false");
	assert_string_equal(
		recorded(*state, "mke2fs", fs, 2048 * LAB_GIB, &params, true, true),
		"mke2fs -q -F -t ext4 -b 4096 -m 3 -I 512 -E discard,lazy_itable_init=0,lazy_journal_init=1 "
		"-i 32768 -J size=128 -O fast_commit /images/x");
}

static void test_make__xfs_has_this_command_line(void **state)
{
	const struct cleat_fs *fs = cleat_fs_find("xfs");
	cleat_autokvs struct cleat_kvs params = { NULL, 0 };

	assert_string_equal(
		recorded(*state, "mkfs.xfs", fs, LAB_GIB, NULL, false, false),
		"mkfs.xfs -q -f -K -s size=4096 -l size=65536k -m reflink=1 -i size=512 /images/x");
	set(&params, "xfs.reflink", "false");
	set(&params, "xfs.inode_size", "1024");
	set(&params, "xfs.inode_percent", "5");
	set(&params, "xfs.log_size", "256MiB");
	assert_string_equal(recorded(*state, "mkfs.xfs", fs, LAB_GIB, &params, false, true),
			    "mkfs.xfs -q -f -s size=4096 -l size=262144k -m reflink=0 -i size=1024 -i "
			    "maxpct=5 /images/x");
}

static void test_make__btrfs_has_this_command_line(void **state)
{
	const struct cleat_fs *fs = cleat_fs_find("btrfs");
	cleat_autokvs struct cleat_kvs params = { NULL, 0 };

	assert_string_equal(recorded(*state, "mkfs.btrfs", fs, LAB_GIB, NULL, false, false),
			    "mkfs.btrfs -q -f -K -s 4096 -n 16384 -m dup -d single /images/x");
	set(&params, "btrfs.metadata", "single");
	set(&params, "btrfs.node_size", "32768");
	assert_string_equal(recorded(*state, "mkfs.btrfs", fs, LAB_GIB, &params, false, true),
			    "mkfs.btrfs -q -f -s 4096 -n 32768 -m single -d single /images/x");
}

static void test_make__wrong_parameters_are_refused_by_name(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autokvs struct cleat_kvs params = { NULL, 0 };
	const struct cleat_fs_make_opts how = {
		.path = "/nowhere", .bytes = LAB_GIB, .params = &params, .keep_fd = -1
	};
	const struct cleat_fs_make_opts tiny = { .path = "/nowhere", .bytes = LAB_MIB, .keep_fd = -1 };

	(void)state;
	lab_expect(cleat_fs_make(cleat_fs_find("ext4"), &tiny, &err), &err, CLEAT_OUT_OF_RANGE, "ext4");
	set(&params, "ext4.inode_size", "300");
	lab_expect(cleat_fs_make(cleat_fs_find("ext4"), &how, &err), &err, CLEAT_INVALID_ARGUMENT,
		   "'ext4.inode_size'");
	set(&params, "ext4.inode_size", "256");
	set(&params, "ext4.features", "bigalloc");
	lab_expect(cleat_fs_make(cleat_fs_find("ext4"), &how, &err), &err, CLEAT_INVALID_ARGUMENT,
		   "'ext4.features'");
}

static void test_make__tables_have_text_and_own_prefix(void **state)
{
	const struct cleat_fs *const *all = cleat_fs_list();

	(void)state;
	assert_string_equal(all[0]->name, "ext4");
	assert_null(cleat_fs_find("vfat"));
	for (; *all; all++) {
		size_t n = strlen((*all)->name);
		for (const struct cleat_param *p = (*all)->make_params; p->key; p++) {
			assert_memory_equal(p->key, (*all)->name, n);
			assert_true(p->key[n] == '.' && p->text && *p->text);
			assert_true(p->type != CLEAT_PARAM_TEXT && p->type != CLEAT_PARAM_PATH);
		}
		for (const struct cleat_param *p = (*all)->mount_params; p->key; p++)
			assert_true(p->type != CLEAT_PARAM_TEXT && p->text && *p->text);
	}
}

/* ---- mounting ---- */

/* An image of the lab with this file system, bound; returns the device's descriptor. */
static int bound(const struct lab *lab, const char *name, const char *fs, uint64_t bytes,
		 char device[CLEAT_LOOP_PATH_BYTES])
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop = { .fd = -1 };
	const struct cleat_fs_make_opts how = { .path = lab_join(lab, name), .bytes = bytes, .keep_fd = -1 };
	int fd = lab_exists(lab, name) ? open(lab_join(lab, name), O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0) {
		fd = lab_sparse(lab, name, bytes);
		lab_ok(cleat_fs_make(cleat_fs_find(fs), &how, &err), &err);
	}
	lab_ok(cleat_sys_loop_bind(fd, lab_join(lab, name), CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, 4096,
				   &loop, &err),
	       &err);
	close(fd);
	snprintf(device, CLEAT_LOOP_PATH_BYTES, "%s", loop.path);
	return loop.fd;
}

static bool shows(const char *target, const char *words)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096];
	bool found = false;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		found = found || (strstr(line, target) && strstr(line, words));
	fclose(f);
	return found;
}

static void check_options(const struct lab *lab, const char *fs, uint64_t bytes, const char *key,
			  const char *value, const char *shown)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autokvs struct cleat_kvs options = { NULL, 0 };
	char device[CLEAT_LOOP_PATH_BYTES];
	int fd = bound(lab, fs, fs, bytes, device);
	const char *target = lab_join(lab, "mnt");

	if (!lab_exists(lab, "mnt"))
		lab_mkdir(lab, "mnt");
	set(&options, key, value);
	lab_ok(cleat_fs_check_mount_options(cleat_fs_find(fs), &options, &err), &err);
	lab_ok(cleat_fs_mount(cleat_fs_find(fs), device, target, &options, 0, false, &err), &err);
	if (!shows(target, shown))
		fail_msg("%s %s=%s: mountinfo has no '%s'", fs, key, value, shown);
	assert_true(shows(target, "nosuid,nodev"));
	lab_ok(cleat_sys_unmount(target, &err), &err);
	close(fd);
}

static void test_mount__keys_become_options(void **state)
{
	check_options(*state, "ext4", 32 * LAB_MIB, "commit", "17", "commit=17");
	check_options(*state, "ext4", 32 * LAB_MIB, "noatime", "", "noatime");
	check_options(*state, "ext4", 32 * LAB_MIB, "noexec", "true", "noexec");
	check_options(*state, "ext4", 32 * LAB_MIB, "discard", "", "discard");
	check_options(*state, "ext4", 32 * LAB_MIB, "data", "journal", "data=journal");
	check_options(*state, "ext4", 32 * LAB_MIB, "discard", "false", "relatime");
	check_options(*state, "xfs", 320 * LAB_MIB, "logbufs", "4", "logbufs=4");
	check_options(*state, "xfs", 320 * LAB_MIB, "logbsize", "64k", "logbsize=64k");
	check_options(*state, "xfs", 320 * LAB_MIB, "largeio", "", "largeio");
	check_options(*state, "btrfs", 256 * LAB_MIB, "compress", "zstd", "compress=zstd");
	check_options(*state, "btrfs", 256 * LAB_MIB, "commit", "9", "commit=9");
}

static void refuse_option(const char *fs, const char *key, const char *value)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autokvs struct cleat_kvs options = { NULL, 0 };

	set(&options, key, value);
	lab_expect(cleat_fs_check_mount_options(cleat_fs_find(fs), &options, &err), &err,
		   CLEAT_INVALID_ARGUMENT, key);
}

static void test_mount__other_keys_are_refused_by_name(void **state)
{
	(void)state;
	refuse_option("ext4", "suid", "");
	refuse_option("ext4", "dev", "");
	refuse_option("ext4", "nobarrier", "");
	refuse_option("ext4", "data", "writeback");
	refuse_option("ext4", "commit", "0");
	refuse_option("ext4", "errors", "panic");
	refuse_option("xfs", "nouuid", "");
	refuse_option("xfs", "norecovery", "");
	refuse_option("btrfs", "compress", "zstd,suid");
	refuse_option("btrfs", "subvolid", "5");
}

static void test_mount__ext4_volume_is_empty_and_what_was_found_stays(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char device[CLEAT_LOOP_PATH_BYTES];
	int fd = bound(lab, "a", "ext4", 32 * LAB_MIB, device);
	const char *target = lab_join(lab, "mnt");

	lab_mkdir(lab, "mnt");
	lab_ok(cleat_fs_mount(cleat_fs_find("ext4"), device, target, NULL, CLEAT_MOUNT_READ_ONLY, false,
			      &err),
	       &err);
	assert_true(has_file(target, "lost+found"));
	lab_ok(cleat_sys_unmount(target, &err), &err);
	lab_ok(cleat_fs_mount(cleat_fs_find("ext4"), device, target, NULL, 0, false, &err), &err);
	assert_false(has_file(target, "lost+found"));
	lab_mkdir(lab, "mnt/lost+found");
	lab_write(lab, "mnt/lost+found/file", "recovered");
	lab_ok(cleat_sys_unmount(target, &err), &err);
	lab_ok(cleat_fs_mount(cleat_fs_find("ext4"), device, target, NULL, 0, false, &err), &err);
	expect_file(target, "lost+found/file", "recovered");
	lab_ok(cleat_sys_unmount(target, &err), &err);
	close(fd);
}

/* ---- checking ---- */

static void poke(const char *path, uint64_t offset, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, n, (off_t)offset), n);
	close(fd);
}

static void test_check__starts_e2fsck_only_for_a_marked_file_system(void **state)
{
	const struct lab *lab = *state;
	const struct cleat_fs *fs = cleat_fs_find("ext4");
	struct cleat_error err = CLEAT_ERROR_INIT;
	char device[CLEAT_LOOP_PATH_BYTES], words[64];
	const char *image = lab_join(lab, "a");

	close(bound(lab, "a", "ext4", 32 * LAB_MIB, device));
	assert_true(lab_no_loops(lab));
	lab_inject("posix_spawn", 0, 0);
	lab_ok(cleat_fs_check_unmounted(fs, image, -1, &err), &err);
	assert_int_equal(lab_steps("posix_spawn"), 0);
	/* As the kernel does when it finds an error. */
	LAB_RUN("debugfs", "-w", "-R", "ssv state 2", image);
	lab_inject("posix_spawn", 0, 0);
	lab_ok(cleat_fs_check_unmounted(fs, image, -1, &err), &err);
	assert_int_equal(lab_steps("posix_spawn"), 1);
	lab_inject("posix_spawn", 0, 0);
	lab_ok(cleat_fs_check_unmounted(fs, image, -1, &err), &err);
	assert_int_equal(lab_steps("posix_spawn"), 0);
	lab_inject_off();
	memset(words, 0, sizeof(words));
	poke(image, 1024 + 0x38, words, 2);
	lab_expect(cleat_fs_check_unmounted(fs, image, -1, &err), &err, CLEAT_DATA_LOSS,
		   "no ext4 super block");
	lab_ok(cleat_fs_check_unmounted(cleat_fs_find("xfs"), image, -1, &err), &err);
	lab_expect(cleat_fs_grow_unmounted(cleat_fs_find("xfs"), image, -1, &err), &err, CLEAT_UNIMPLEMENTED,
		   "only while");
}

static void test_super__tells_sectors_and_size(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	uint32_t sector = 0;
	uint64_t bytes = 0;
	int small = lab_sparse(lab, "small", 64 * LAB_MIB), old = lab_sparse(lab, "old", 320 * LAB_MIB);
	int new = lab_sparse(lab, "new", 256 * LAB_MIB);

	LAB_RUN("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", lab_join(lab, "small"));
	LAB_RUN("mkfs.xfs", "-q", "-s", "size=512", lab_join(lab, "old"));
	LAB_RUN("mkfs.btrfs", "-q", lab_join(lab, "new"));
	lab_ok(cleat_fs_sector_bytes(cleat_fs_find("ext4"), small, "small", &sector, &err), &err);
	assert_int_equal(sector, 512);
	lab_ok(cleat_fs_filled_bytes(cleat_fs_find("ext4"), small, "small", &bytes, &err), &err);
	assert_int_equal(bytes, 64 * LAB_MIB);
	lab_ok(cleat_fs_sector_bytes(cleat_fs_find("xfs"), old, "old", &sector, &err), &err);
	assert_int_equal(sector, 512);
	lab_ok(cleat_fs_filled_bytes(cleat_fs_find("xfs"), old, "old", &bytes, &err), &err);
	assert_int_equal(bytes, 320 * LAB_MIB);
	lab_ok(cleat_fs_sector_bytes(cleat_fs_find("btrfs"), new, "new", &sector, &err), &err);
	assert_int_equal(sector, 4096);
	lab_ok(cleat_fs_filled_bytes(cleat_fs_find("btrfs"), new, "new", &bytes, &err), &err);
	assert_int_equal(bytes, 256 * LAB_MIB);
	for (const struct cleat_fs *const *fs = cleat_fs_list(); *fs; fs++) {
		int other = strcmp((*fs)->name, "ext4") == 0 ? old : small;
		lab_expect(cleat_fs_filled_bytes(*fs, other, "other", &bytes, &err), &err, CLEAT_DATA_LOSS,
			   "super block");
	}
	close(small);
	close(old);
	close(new);
}

/* ---- copies ---- */

static void test_make_distinct__btrfs_copy_is_another_file_system(void **state)
{
	const struct lab *lab = *state;
	const struct cleat_fs *fs = cleat_fs_find("btrfs");
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_sys_content first, second, third;
	char device[2][CLEAT_LOOP_PATH_BYTES];
	char one[LAB_PATH_BYTES + 8], two[LAB_PATH_BYTES + 8];

	snprintf(one, sizeof(one), "%s/one", lab->path);
	snprintf(two, sizeof(two), "%s/two", lab->path);
	lab_mkdir(lab, "one");
	lab_mkdir(lab, "two");
	int a = bound(lab, "a", "btrfs", 256 * LAB_MIB, device[0]);
	lab_ok(cleat_fs_mount(fs, device[0], one, NULL, 0, false, &err), &err);
	put_file(one, "f", "original");
	LAB_RUN("sync", "-f", one);
	LAB_RUN("cp", "--sparse=always", lab_join(lab, "a"), lab_join(lab, "b"));
	int image = open(lab_join(lab, "b"), O_RDWR | O_CLOEXEC);
	lab_ok(cleat_sys_probe(image, "b", &first, &err), &err);
	lab_ok(cleat_fs_make_distinct(fs, image, "b", &err), &err);
	lab_ok(cleat_sys_probe(image, "b", &second, &err), &err);
	/* A copy of a copy, too. */
	lab_ok(cleat_fs_make_distinct(fs, image, "b", &err), &err);
	lab_ok(cleat_sys_probe(image, "b", &third, &err), &err);
	close(image);
	assert_string_not_equal(first.uuid, second.uuid);
	assert_string_not_equal(second.uuid, third.uuid);
	LAB_RUN("btrfs", "check", "--force", lab_join(lab, "b"));
	int b = bound(lab, "b", "btrfs", 256 * LAB_MIB, device[1]);
	lab_ok(cleat_fs_mount(fs, device[1], two, NULL, 0, true, &err), &err);
	put_file(two, "f", "copy");
	expect_file(one, "f", "original");
	expect_file(two, "f", "copy");
	lab_ok(cleat_sys_unmount(one, &err), &err);
	lab_ok(cleat_sys_unmount(two, &err), &err);
	close(a);
	close(b);
}

static void test_make_distinct__refuses_what_it_does_not_know(void **state)
{
	const struct lab *lab = *state;
	const struct cleat_fs *fs = cleat_fs_find("btrfs");
	struct cleat_error err = CLEAT_ERROR_INIT;
	int fd = lab_sparse(lab, "a", 256 * LAB_MIB);

	lab_expect(cleat_fs_make_distinct(fs, fd, "a", &err), &err, CLEAT_DATA_LOSS, "no btrfs super block");
	LAB_RUN("mkfs.btrfs", "-q", "--csum", "xxhash", lab_join(lab, "a"));
	lab_expect(cleat_fs_make_distinct(fs, fd, "a", &err), &err, CLEAT_FAILED_PRECONDITION, "crc32c");
	lab_ok(cleat_fs_make_distinct(cleat_fs_find("ext4"), fd, "a", &err), &err);
	close(fd);
}

int main(void)
{
	static const char *const tools[] = { "mke2fs", "debugfs", "mkfs.xfs", "mkfs.btrfs", "btrfs", NULL };
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_make__ext4_has_this_command_line),
		LAB_TEST(test_make__xfs_has_this_command_line),
		LAB_TEST(test_make__btrfs_has_this_command_line),
		LAB_TEST(test_make__wrong_parameters_are_refused_by_name),
		LAB_TEST(test_make__tables_have_text_and_own_prefix),
		LAB_TEST(test_mount__keys_become_options),
		LAB_TEST(test_mount__other_keys_are_refused_by_name),
		LAB_TEST(test_mount__ext4_volume_is_empty_and_what_was_found_stays),
		LAB_TEST(test_check__starts_e2fsck_only_for_a_marked_file_system),
		LAB_TEST(test_super__tells_sectors_and_size),
		LAB_TEST(test_make_distinct__btrfs_copy_is_another_file_system),
		LAB_TEST(test_make_distinct__refuses_what_it_does_not_know),
	};
	int skip = lab_need_loop();

	if (!skip)
		skip = lab_need_tools(tools);
	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
