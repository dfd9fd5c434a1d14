/* Tests of core/sys/probe.c on images that the real tools made, and on broken ones. */
#include "sys_lab.h"

#include "sys/loop.h"
#include "sys/probe.h"
#include "util/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void probe_ok(int fd, struct cleat_sys_content *content)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	memset(content, 0x55, sizeof(*content));
	lab_ok(cleat_sys_probe(fd, "image", content, &err), &err);
}

static void test_probe__nothing_is_empty(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 100, 511, 4096, 8 * LAB_MIB, UINT64_C(2) << 40 };
	const struct lab *lab = *state;
	struct cleat_sys_content content;

	for (size_t i = 0; i < CLEAT_COUNT(sizes); i++) {
		int fd = lab_sparse(lab, "image", sizes[i]);
		probe_ok(fd, &content);
		if (!content.empty)
			fail_msg("%llu bytes of nothing are called '%s'", (unsigned long long)sizes[i],
				 content.type);
		assert_string_equal(content.type, "");
		assert_string_equal(content.uuid, "");
		assert_string_equal(content.label, "");
		close(fd);
		assert_int_equal(unlinkat(lab->fd, "image", 0), 0);
	}
}

#define UUID "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

static void check(const struct lab *lab, const char *type, const char *label)
{
	struct cleat_sys_content content;
	int fd = openat(lab->fd, "image", O_RDONLY | O_CLOEXEC);

	probe_ok(fd, &content);
	assert_false(content.empty);
	assert_string_equal(content.type, type);
	assert_string_equal(content.uuid, UUID);
	assert_string_equal(content.label, label);
	close(fd);
	assert_int_equal(unlinkat(lab->fd, "image", 0), 0);
}

static void test_probe__file_systems_have_type_uuid_and_label(void **state)
{
	const struct lab *lab = *state;
	const char *image = lab_join(lab, "image");

	close(lab_sparse(lab, "image", 64 * LAB_MIB));
	LAB_RUN("mke2fs", "-q", "-F", "-t", "ext4", "-U", UUID, "-L", "sixteen letters!", image);
	check(lab, "ext4", "sixteen letters!");
	close(lab_sparse(lab, "image", 320 * LAB_MIB));
	LAB_RUN("mkfs.xfs", "-q", "-f", "-K", "-m", "uuid=" UUID, "-L", "label", image);
	check(lab, "xfs", "label");
	close(lab_sparse(lab, "image", 256 * LAB_MIB));
	LAB_RUN("mkfs.btrfs", "-q", "-f", "-K", "-U", UUID, image);
	check(lab, "btrfs", "");
}

static void test_probe__a_device_is_probed_like_its_image(void **state)
{
	const struct lab *lab = *state;
	struct cleat_sys_content content;
	struct cleat_loop loop;

	lab_image(lab, "bare", NULL, 8 * LAB_MIB, &loop);
	probe_ok(loop.fd, &content);
	assert_true(content.empty);
	close(loop.fd);
	lab_image(lab, "full", "ext4", 64 * LAB_MIB, &loop);
	probe_ok(loop.fd, &content);
	assert_false(content.empty);
	assert_string_equal(content.type, "ext4");
	close(loop.fd);
}

static void patch(const struct lab *lab, off_t at, const void *bytes, size_t n)
{
	int fd = openat(lab->fd, "image", O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, bytes, n, at), n);
	close(fd);
}

static void expect_type(const struct lab *lab, const char *type)
{
	struct cleat_sys_content content;
	int fd = openat(lab->fd, "image", O_RDONLY | O_CLOEXEC);

	probe_ok(fd, &content);
	assert_false(content.empty);
	assert_string_equal(content.type, type);
	close(fd);
	assert_int_equal(unlinkat(lab->fd, "image", 0), 0);
}

static void test_probe__what_is_no_file_system_is_not_empty_either(void **state)
{
	const struct lab *lab = *state;

	/* a partition table with one Linux partition */
	static const unsigned char entry[] = { 0, 0, 2, 0, 0x83, 0, 9, 0, 8, 0, 0, 0, 0, 8, 0, 0 };
	close(lab_sparse(lab, "image", 8 * LAB_MIB));
	patch(lab, 446, entry, sizeof(entry));
	patch(lab, 510, "\x55\xaa", 2);
	expect_type(lab, "dos");
	/* LUKS version 1 */
	close(lab_sparse(lab, "image", 8 * LAB_MIB));
	patch(lab, 0, "LUKS\xba\xbe\0\1", 8);
	patch(lab, 168, UUID, 36);
	expect_type(lab, "crypto_LUKS");
	/* swap, 4096-byte pages */
	close(lab_sparse(lab, "image", 8 * LAB_MIB));
	patch(lab, 1024, "\1\0\0\0\377\7\0\0\0\0\0\0", 12);
	patch(lab, 4086, "SWAPSPACE2", 10);
	expect_type(lab, "swap");
}

static void test_probe__a_damaged_superblock_is_not_empty(void **state)
{
	const struct lab *lab = *state;

	close(lab_sparse(lab, "image", 64 * LAB_MIB));
	LAB_RUN("mke2fs", "-q", "-F", "-t", "ext4", "-O", "metadata_csum", lab_join(lab, "image"));
	patch(lab, 1024 + 120, "changed", 7); /* the label, and the checksum is wrong now */
	expect_type(lab, "ext4");
	close(lab_sparse(lab, "image", 320 * LAB_MIB));
	LAB_RUN("mkfs.xfs", "-q", "-f", "-K", lab_join(lab, "image"));
	patch(lab, 32, "other uuid", 10);
	expect_type(lab, "xfs");
}

static void test_probe__contradicting_signatures_are_refused(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_sys_content content = { .type = "untouched" };
	char superblock[4096];

	close(lab_sparse(lab, "other", 256 * LAB_MIB));
	LAB_RUN("mkfs.btrfs", "-q", "-f", "-K", lab_join(lab, "other"));
	int fd = openat(lab->fd, "other", O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, superblock, sizeof(superblock), 65536), sizeof(superblock));
	close(fd);
	close(lab_sparse(lab, "image", 256 * LAB_MIB));
	LAB_RUN("mke2fs", "-q", "-F", "-t", "ext4", lab_join(lab, "image"));
	patch(lab, 65536, superblock, sizeof(superblock));
	fd = openat(lab->fd, "image", O_RDONLY | O_CLOEXEC);
	lab_expect(cleat_sys_probe(fd, "image", &content, &err), &err, CLEAT_FAILED_PRECONDITION,
		   "contradicting");
	assert_string_equal(content.type, "untouched");
	close(fd);
}

static void test_probe__what_cannot_be_read_is_no_answer(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_sys_content content;

	close(lab_sparse(lab, "image", 8 * LAB_MIB));
	int fd = openat(lab->fd, "image", O_WRONLY | O_CLOEXEC);
	lab_expect(cleat_sys_probe(fd, "image", &content, &err), &err, CLEAT_INTERNAL, "probe 'image'");
	close(fd);
	fd = openat(lab->fd, "image", O_PATH | O_CLOEXEC);
	lab_expect(cleat_sys_probe(fd, "image", &content, &err), &err, CLEAT_INTERNAL, "probe 'image'");
	close(fd);
	lab_expect(cleat_sys_probe(-1, "image", &content, &err), &err, CLEAT_INTERNAL, "image");
	assert_int_not_equal(cleat_sys_probe(lab->fd, "dir", &content, &err), CLEAT_OK);
}

static void test_probe__a_label_that_is_no_text_is_not_told(void **state)
{
	const struct lab *lab = *state;
	struct cleat_sys_content content;

	close(lab_sparse(lab, "image", 64 * LAB_MIB));
	LAB_RUN("mke2fs", "-q", "-F", "-t", "ext4", "-U", UUID, "-L", "\xff\xfe\x01 label",
		lab_join(lab, "image"));
	int fd = openat(lab->fd, "image", O_RDONLY | O_CLOEXEC);
	probe_ok(fd, &content);
	close(fd);
	assert_string_equal(content.label, "");
	assert_string_equal(content.type, "ext4");
	assert_string_equal(content.uuid, UUID);
}

int main(void)
{
	static const char *const tools[] = { "mke2fs", "mkfs.xfs", "mkfs.btrfs", NULL };
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_probe__nothing_is_empty),
		LAB_TEST(test_probe__file_systems_have_type_uuid_and_label),
		LAB_TEST(test_probe__a_device_is_probed_like_its_image),
		LAB_TEST(test_probe__what_is_no_file_system_is_not_empty_either),
		LAB_TEST(test_probe__a_damaged_superblock_is_not_empty),
		LAB_TEST(test_probe__contradicting_signatures_are_refused),
		LAB_TEST(test_probe__what_cannot_be_read_is_no_answer),
		LAB_TEST(test_probe__a_label_that_is_no_text_is_not_told),
	};
	int skip = lab_need_loop();

	if (skip == 0)
		skip = lab_need_tools(tools);
	return skip ? skip : cmocka_run_group_tests_name("sys_probe", tests, NULL, NULL);
}
