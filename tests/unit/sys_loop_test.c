/* Tests of core/sys/loop.c with real loop devices. */
#include "sys_lab.h"

#include "sys/file.h"
#include "sys/hook.h"
#include "sys/loop.h"
#include "sys/mount.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void bind_ok(int image_fd, const char *path, unsigned flags, struct cleat_loop *loop)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_ok(cleat_sys_loop_bind(image_fd, path, flags, 4096, loop, &err), &err);
}

static bool is_found(int image_fd, struct cleat_loop *loop)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	bool found = false;

	lab_ok(cleat_sys_loop_find(image_fd, false, loop, &found, &err), &err);
	assert_int_equal(loop->fd, -1);
	return found;
}

/* A value of /sys/block/loop<number>/<name>. */
static void read_sysfs(const struct cleat_loop *loop, const char *name, char *text, size_t room)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/block/loop%d/%s", loop->number, name);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(text, (int)room, f));
	text[strcspn(text, "\n")] = '\0';
	fclose(f);
}

static void test_loop__a_bound_image_is_found_and_goes_with_its_last_user(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop, again;
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);
	char text[512];
	struct stat st;
	bool found = true;

	assert_false(is_found(fd, &again));
	bind_ok(fd, lab_join(lab, "image"), CLEAT_LOOP_AUTOCLEAR, &loop);
	assert_true(loop.fd >= 0 && (fcntl(loop.fd, F_GETFD) & FD_CLOEXEC));
	assert_true(loop.autoclear && !loop.read_only);
	assert_int_equal(fstat(loop.fd, &st), 0);
	assert_true(S_ISBLK(st.st_mode) && st.st_rdev == loop.dev);
	snprintf(text, sizeof(text), "/dev/loop%d", loop.number);
	assert_string_equal(loop.path, text);
	read_sysfs(&loop, "loop/backing_file", text, sizeof(text));
	assert_string_equal(text, lab_join(lab, "image"));
	read_sysfs(&loop, "queue/logical_block_size", text, sizeof(text));
	assert_string_equal(text, "4096");

	assert_true(is_found(fd, &again));
	assert_int_equal(again.number, loop.number);
	assert_true(again.dev == loop.dev && again.autoclear);
	lab_ok(cleat_sys_loop_find(fd, true, &again, &found, &err), &err);
	assert_true(found && again.fd >= 0);
	close(loop.fd);
	assert_int_equal(pwrite(again.fd, "hello", 5, 4096), 5); /* open for writing */
	assert_int_equal(fsync(again.fd), 0);
	assert_int_equal(pread(fd, text, 5, 4096), 5);
	assert_memory_equal(text, "hello", 5);
	close(again.fd);
	assert_true(lab_no_loops(lab));
	assert_false(is_found(fd, &again));
}

static void test_loop__binding_again_gives_the_same_device(void **state)
{
	const struct lab *lab = *state;
	struct cleat_loop first, second;
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);

	bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR, &first);
	int other = openat(lab->fd, "image", O_RDWR | O_CLOEXEC);
	bind_ok(other, "image", CLEAT_LOOP_AUTOCLEAR, &second);
	assert_int_equal(first.number, second.number);
	assert_int_not_equal(first.fd, second.fd);
	assert_int_equal(lab_count_loops(lab), 1);
	close(other);
	close(first.fd);
	close(second.fd);
}

static void test_loop__an_image_is_known_after_rename_and_unlink(void **state)
{
	const struct lab *lab = *state;
	struct cleat_loop loop, again;
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);
	int other = lab_sparse(lab, "other", 8 * LAB_MIB);

	bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR, &loop);
	assert_int_equal(renameat(lab->fd, "image", lab->fd, "renamed"), 0);
	assert_int_equal(renameat(lab->fd, "other", lab->fd, "image"),
			 0); /* another file under the old name */
	assert_true(is_found(fd, &again));
	assert_false(is_found(other, &again));
	assert_int_equal(unlinkat(lab->fd, "renamed", 0), 0);
	assert_true(is_found(fd, &again));
	assert_int_equal(again.number, loop.number);
	close(other);
	close(loop.fd);
}

static void test_loop__read_only_bindings(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop, again;
	int fd = lab_sparse(lab, "image", 8 * LAB_MIB);
	bool found = false;

	bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_READ_ONLY, &loop);
	assert_true(loop.read_only);
	lab_ok(cleat_sys_loop_find(fd, true, &again, &found, &err), &err);
	assert_true(found && again.read_only);
	close(loop.fd);
	close(again.fd);
	close(fd);
	assert_true(lab_no_loops(lab));
	/* an image that is only open for reading makes a read-only device by itself */
	fd = openat(lab->fd, "image", O_RDONLY | O_CLOEXEC);
	bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR, &loop);
	assert_true(loop.read_only);
	close(loop.fd);
	close(fd);
}

static void test_loop__direct_io_falls_back_to_buffered(void **state)
{
	const struct lab *lab = *state;
	struct cleat_loop loop;
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);
	char text[16];

	bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, &loop);
	read_sysfs(&loop, "loop/dio", text, sizeof(text));
	int direct =
		openat(lab->fd, "image", O_RDONLY | O_DIRECT | O_CLOEXEC); /* older tmpfs has no direct I/O */
	assert_string_equal(text, direct >= 0 ? "1" : "0");
	if (direct >= 0)
		close(direct);
	close(loop.fd);
	assert_true(lab_no_loops(lab));
	lab_inject("ioctl(LOOP_CONFIGURE)", 1, EINVAL);
	bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, &loop);
	assert_int_equal(lab_steps("ioctl(LOOP_CONFIGURE)"), 2);
	lab_inject_off();
	read_sysfs(&loop, "loop/dio", text, sizeof(text));
	assert_string_equal(text, "0");
	assert_true(loop.autoclear);
	close(loop.fd);
	assert_true(lab_no_loops(lab));
	/* a file system that may have none: it must bind all the same */
	lab_mkdir(lab, "m");
	assert_int_equal(mount("lab", lab_join(lab, "m"), "tmpfs", 0, "size=16m"), 0);
	int in_memory = lab_sparse(lab, "m/image", 4 * LAB_MIB);
	bind_ok(in_memory, "image", CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, &loop);
	close(loop.fd);
	close(in_memory);
	assert_true(lab_no_loops(lab));
	assert_int_equal(umount2(lab_join(lab, "m"), 0), 0);
}

/* ---- steps that fail ---- */

static void test_loop__a_device_somebody_else_took_is_passed_over(void **state)
{
	static const int taken[] = { EBUSY, ENXIO, ENODEV };
	const struct lab *lab = *state;
	struct cleat_loop loop;
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);

	for (size_t i = 0; i < CLEAT_COUNT(taken); i++) {
		lab_inject("ioctl(LOOP_CONFIGURE)", 1, taken[i]);
		bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR, &loop);
		assert_int_equal(lab_steps("ioctl(LOOP_CTL_GET_FREE)"), 2);
		lab_inject_off();
		close(loop.fd);
		assert_true(lab_no_loops(lab));
	}
}

static int always_busy(const char *call, const char *what, void *arg)
{
	(void)what;
	*(int *)arg += strcmp(call, "ioctl(LOOP_CONFIGURE)") == 0;
	return strcmp(call, "ioctl(LOOP_CONFIGURE)") == 0 ? EBUSY : 0;
}

static void test_loop__a_failed_bind_leaves_nothing(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop = { .fd = 77 };
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);
	int tries = 0;

	lab_inject("ioctl(LOOP_CTL_GET_FREE)", 1, ENOMEM);
	lab_expect(cleat_sys_loop_bind(fd, "image", CLEAT_LOOP_AUTOCLEAR, 4096, &loop, &err), &err,
		   CLEAT_RESOURCE_EXHAUSTED, "'image'");
	lab_inject("ioctl(LOOP_CONFIGURE)", 1, EPERM);
	lab_expect(cleat_sys_loop_bind(fd, "image", CLEAT_LOOP_AUTOCLEAR, 4096, &loop, &err), &err,
		   CLEAT_PERMISSION_DENIED, "'image'");
	lab_inject_off();
	cleat_sys_hook_set(always_busy, &tries); /* must end some time */
	lab_expect(cleat_sys_loop_bind(fd, "image", CLEAT_LOOP_AUTOCLEAR, 4096, &loop, &err), &err,
		   CLEAT_FAILED_PRECONDITION, "'image'");
	cleat_sys_hook_set(NULL, NULL);
	assert_in_range(tries, 2, 1000);
	lab_expect(cleat_sys_loop_bind(fd, "image", CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, 12345, &loop,
				       &err),
		   &err, CLEAT_INVALID_ARGUMENT, "'image'"); /* a block size that is none */
	lab_expect(cleat_sys_loop_bind(lab->fd, "dir", CLEAT_LOOP_AUTOCLEAR, 4096, &loop, &err), &err,
		   CLEAT_INVALID_ARGUMENT, "'dir'");
	lab_expect(cleat_sys_loop_bind(-1, "none", CLEAT_LOOP_AUTOCLEAR, 4096, &loop, &err), &err,
		   CLEAT_INTERNAL, "'none'");
	assert_int_equal(loop.fd, 77); /* an output is not touched on failure */
	assert_int_equal(lab_count_loops(lab), 0);
}

static void test_loop__injected_errors_look_like_the_kernels(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;

	lab_image(lab, "image", NULL, 8 * LAB_MIB, &loop);
	lab_inject("ioctl(LOOP_CLR_FD)", 1, EIO);
	lab_expect(cleat_sys_loop_detach(loop.path, &err), &err, CLEAT_INTERNAL, loop.path);
	lab_inject("ioctl(LOOP_SET_CAPACITY)", 1, EIO);
	lab_expect(cleat_sys_loop_update_size(loop.path, &err), &err, CLEAT_INTERNAL, loop.path);
	lab_inject("ioctl(BLKROSET)", 1, EIO);
	lab_expect(cleat_sys_block_set_read_only(loop.path, true, &err), &err, CLEAT_INTERNAL, loop.path);
	lab_inject_off();
	assert_int_equal(lab_count_loops(lab), 1);
	close(loop.fd);
}

/* ---- two bindings of one image ---- */

/* Binds without asking who has the image: what the code under test never does. */
static int bind_raw(int image_fd)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = { .fd = (uint32_t)image_fd, .info = { .lo_flags = LO_FLAGS_AUTOCLEAR } };
	char path[32];
	int fd = -1;

	assert_true(control >= 0);
	for (int i = 0; i < 20 && fd < 0; i++) {
		snprintf(path, sizeof(path), "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
			close(fd);
			fd = -1;
		}
	}
	assert_true(fd >= 0);
	close(control);
	return fd;
}

static void test_loop__two_bindings_of_one_image_are_data_loss(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop, untouched = { .fd = 77, .number = 77 };
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);
	bool found = false;

	bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR, &loop);
	int raw = bind_raw(fd);
	lab_expect(cleat_sys_loop_find(fd, true, &untouched, &found, &err), &err, CLEAT_DATA_LOSS,
		   "2 devices");
	assert_non_null(strstr(err.msg, loop.path));
	assert_int_equal(untouched.fd, 77);
	lab_expect(cleat_sys_loop_bind(fd, "image", CLEAT_LOOP_AUTOCLEAR, 4096, &untouched, &err), &err,
		   CLEAT_DATA_LOSS, "'image'");
	assert_int_equal(lab_count_loops(lab), 2);
	close(raw);
	close(loop.fd);
}

/* ---- images on other file systems ---- */

/* On btrfs st_dev belongs to the subvolume, and a snapshot has the same inode numbers. */
static void test_loop__images_in_btrfs_subvolumes_are_told_apart(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop outer, first, second, again;

	lab_image(lab, "outer", "btrfs", 256 * LAB_MIB, &outer);
	lab_mkdir(lab, "m");
	lab_ok(cleat_sys_mount_device("btrfs", outer.path, NULL, 0, lab_join(lab, "m"), &err), &err);
	close(outer.fd);
	LAB_RUN("btrfs", "subvolume", "create", lab_join(lab, "m/vol"));
	int a = lab_sparse(lab, "m/vol/image", 8 * LAB_MIB);
	assert_int_equal(fsync(a), 0);
	LAB_RUN("btrfs", "subvolume", "snapshot", lab_join(lab, "m/vol"), lab_join(lab, "m/snap"));
	int b = openat(lab->fd, "m/snap/image", O_RDWR | O_CLOEXEC);
	struct stat of_a, of_b;
	assert_true(fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0);
	assert_true(of_a.st_ino == of_b.st_ino && of_a.st_dev != of_b.st_dev);

	bind_ok(a, "a", CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, &first);
	assert_true(is_found(a, &again));
	assert_int_equal(again.number, first.number);
	assert_false(is_found(b, &again));
	bind_ok(b, "b", CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, &second);
	assert_int_not_equal(first.number, second.number);
	assert_true(is_found(b, &again));
	assert_int_equal(again.number, second.number);
	bind_ok(a, "a", CLEAT_LOOP_AUTOCLEAR, &again);
	assert_int_equal(again.number, first.number);
	close(again.fd);
	close(first.fd);
	close(second.fd);
	close(a);
	close(b);
	lab_ok(cleat_sys_unmount(lab_join(lab, "m"), &err), &err);
}

static void test_loop__an_image_in_an_image_in_an_overlay_is_found(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop outer, inner, again;
	char options[512];

	lab_image(lab, "outer", "xfs", 320 * LAB_MIB, &outer);
	lab_mkdir(lab, "m");
	lab_ok(cleat_sys_mount_device("xfs", outer.path, NULL, 0, lab_join(lab, "m"), &err), &err);
	close(outer.fd);
	int image = lab_sparse(lab, "m/image", 8 * LAB_MIB);
	bind_ok(image, "image", CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, &inner);
	assert_true(is_found(image, &again));
	assert_int_equal(again.number, inner.number);
	close(inner.fd);
	close(image);

	lab_mkdir(lab, "m/up");
	lab_mkdir(lab, "m/work");
	lab_mkdir(lab, "low");
	lab_mkdir(lab, "o");
	snprintf(options, sizeof(options), "lowerdir=%s/low,upperdir=%s/m/up,workdir=%s/m/work", lab->path,
		 lab->path, lab->path);
	if (mount("overlay", lab_join(lab, "o"), "overlay", 0, options) == 0) {
		image = lab_sparse(lab, "o/image", 8 * LAB_MIB);
		bind_ok(image, "image", CLEAT_LOOP_AUTOCLEAR, &inner);
		assert_true(is_found(image, &again));
		assert_int_equal(again.number, inner.number);
		close(inner.fd);
		close(image);
		assert_true(is_found(lab->fd, &again) == false);
		lab_ok(cleat_sys_unmount(lab_join(lab, "o"), &err), &err);
	} else {
		print_message("there is no overlay here: that part was left out\n");
	}
	lab_ok(cleat_sys_unmount(lab_join(lab, "m"), &err), &err);
}

/* ---- detaching, sizes ---- */

static void test_loop__detach_frees_and_may_come_twice(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop, again;
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);

	bind_ok(fd, "image", 0, &loop);
	assert_false(loop.autoclear);
	close(loop.fd);
	assert_true(is_found(fd, &again)); /* it stays without a user */
	assert_int_equal(lab_count_loops(lab), 1);
	lab_ok(cleat_sys_loop_detach(loop.path, &err), &err);
	assert_true(lab_no_loops(lab));
	lab_ok(cleat_sys_loop_detach(loop.path, &err), &err);
	lab_ok(cleat_sys_loop_detach("/dev/loop99999999", &err), &err);
}

static void test_loop__detach_of_a_mounted_device_waits_for_the_unmount(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;
	int fd = lab_sparse(lab, "image", 64 * LAB_MIB);

	LAB_RUN("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", lab_join(lab, "image"));
	bind_ok(fd, "image", 0, &loop);
	lab_mkdir(lab, "m");
	lab_ok(cleat_sys_mount_device("ext4", loop.path, NULL, 0, lab_join(lab, "m"), &err), &err);
	close(loop.fd);
	lab_ok(cleat_sys_loop_detach(loop.path, &err), &err);
	assert_int_equal(lab_count_loops(lab), 1);
	lab_write(lab, "m/file", "still works");
	lab_ok(cleat_sys_unmount(lab_join(lab, "m"), &err), &err);
	assert_true(lab_no_loops(lab));
	close(fd);
}

static void test_loop__the_size_follows_the_image(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);
	uint64_t bytes = 0;

	bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, &loop);
	lab_ok(cleat_sys_block_size(loop.path, &bytes, &err), &err);
	assert_int_equal(bytes, 8 * LAB_MIB);
	lab_ok(cleat_sys_truncate(fd, 20 * LAB_MIB, "image", &err), &err);
	lab_ok(cleat_sys_block_size(loop.path, &bytes, &err), &err);
	assert_int_equal(bytes, 8 * LAB_MIB);
	lab_ok(cleat_sys_loop_update_size(loop.path, &err), &err);
	lab_ok(cleat_sys_block_size(loop.path, &bytes, &err), &err);
	assert_int_equal(bytes, 20 * LAB_MIB);
	close(loop.fd);
	lab_expect(cleat_sys_block_size(lab_join(lab, "image"), &bytes, &err), &err, CLEAT_INTERNAL,
		   "size of '");
	lab_expect(cleat_sys_block_size("/dev/nosuchdevice", &bytes, &err), &err, CLEAT_NOT_FOUND,
		   "nosuchdevice");
	lab_expect(cleat_sys_loop_update_size("/dev/nosuchdevice", &err), &err, CLEAT_NOT_FOUND,
		   "nosuchdevice");
}

static void test_loop__a_device_can_be_made_read_only(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;
	char text[8];

	lab_image(lab, "image", NULL, 8 * LAB_MIB, &loop);
	lab_ok(cleat_sys_block_set_read_only(loop.path, true, &err), &err);
	read_sysfs(&loop, "ro", text, sizeof(text));
	assert_string_equal(text, "1");
	lab_ok(cleat_sys_block_set_read_only(loop.path, false, &err), &err);
	read_sysfs(&loop, "ro", text, sizeof(text));
	assert_string_equal(text, "0");
	close(loop.fd);
}

/* The kernel keeps that mark of a device when the image goes, so the next image there must not inherit it. */
static void test_loop__a_device_that_was_read_only_is_not_for_the_next_image(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);
	struct cleat_loop first, next;
	char text[8];

	for (int i = 0; i < 50; i++) {
		bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR, &first);
		lab_ok(cleat_sys_block_set_read_only(first.path, true, &err), &err);
		close(first.fd);
		assert_true(lab_no_loops(lab));
		bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR, &next);
		read_sysfs(&next, "ro", text, sizeof(text));
		assert_string_equal(text, "0");
		close(next.fd);
		if (next.number == first.number)
			return;
	}
	print_message("other programs took the freed device each time\n");
	skip();
}

/* Without autoclear nothing but the failing bind itself can free the device. */
static void test_loop__a_bind_that_fails_after_the_binding_undoes_it(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoclose int fd = lab_sparse(lab, "image", 8 * LAB_MIB);
	struct cleat_loop loop;

	for (int i = 0; i < 50; i++) {
		bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR, &loop);
		lab_ok(cleat_sys_block_set_read_only(loop.path, true, &err), &err);
		close(loop.fd);
		assert_true(lab_no_loops(lab));
		lab_inject("ioctl(BLKROSET)", 1, EIO);
		enum cleat_code code = cleat_sys_loop_bind(fd, "image", 0, 4096, &loop, &err);
		lab_inject_off();
		if (code != CLEAT_OK) {
			lab_expect(code, &err, CLEAT_INTERNAL, "'image'");
			assert_true(lab_no_loops(lab));
			bind_ok(fd, "image", CLEAT_LOOP_AUTOCLEAR, &loop); /* takes the mark away again */
			close(loop.fd);
			return;
		}
		close(loop.fd);
		lab_ok(cleat_sys_loop_detach(loop.path, &err), &err);
		assert_true(lab_no_loops(lab));
	}
	print_message("other programs took the freed device each time\n");
	skip();
}

/* ---- all devices ---- */

struct listing {
	dev_t dev; /* of the images that count */
	ino_t inodes[3];
	int seen[3];
	int total;
	int stop_after; /* 0: never */
	int image_fd;	/* to be asked for from inside, -1: none */
};

static bool note(const struct cleat_loop *loop, dev_t image_dev, ino_t image_ino, void *arg)
{
	struct listing *l = arg;
	struct cleat_loop again;

	assert_int_equal(loop->fd, -1);
	for (int i = 0; i < 3; i++)
		if (image_dev == l->dev && image_ino == l->inodes[i]) {
			l->seen[i]++;
			assert_int_equal(loop->autoclear, i != 1);
		}
	if (l->image_fd >= 0) /* fn may use this module itself */
		assert_true(is_found(l->image_fd, &again));
	return ++l->total != l->stop_after;
}

static void test_loop__each_tells_every_device_with_its_image(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loops[3];
	struct listing l = { .image_fd = -1 };
	char name[16];
	int fds[3];

	for (int i = 0; i < 3; i++) {
		struct stat st;
		snprintf(name, sizeof(name), "image%d", i);
		fds[i] = lab_sparse(lab, name, 4 * LAB_MIB);
		assert_int_equal(fstat(fds[i], &st), 0);
		l.dev = st.st_dev;
		l.inodes[i] = st.st_ino;
		bind_ok(fds[i], name, i == 1 ? 0 : CLEAT_LOOP_AUTOCLEAR, &loops[i]);
	}
	l.image_fd = fds[0];
	lab_ok(cleat_sys_loop_each(note, &l, &err), &err);
	assert_true(l.seen[0] == 1 && l.seen[1] == 1 && l.seen[2] == 1);
	l.total = 0;
	l.stop_after = 2;
	lab_ok(cleat_sys_loop_each(note, &l, &err), &err);
	assert_int_equal(l.total, 2);
	for (int i = 0; i < 3; i++) {
		close(loops[i].fd);
		close(fds[i]);
	}
	lab_ok(cleat_sys_loop_detach(loops[1].path, &err), &err);
}

/* ---- threads ---- */

#define THREADS 6

struct racer {
	const struct lab *lab;
	pthread_barrier_t *start;
	const char *name;
	int number; /* of the device it was given; -1: it failed */
	int loop_fd;
};

static void *race_to_bind(void *arg)
{
	struct racer *r = arg;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;
	int fd = openat(r->lab->fd, r->name, O_RDWR | O_CLOEXEC);

	pthread_barrier_wait(r->start);
	r->number = -1;
	if (cleat_sys_loop_bind(fd, r->name, CLEAT_LOOP_AUTOCLEAR, 4096, &loop, &err) == CLEAT_OK) {
		r->number = loop.number;
		r->loop_fd = loop.fd;
	}
	close(fd);
	return NULL;
}

static void test_loop__threads_that_bind_one_image_share_one_device(void **state)
{
	const struct lab *lab = *state;
	pthread_barrier_t start;
	struct racer racers[THREADS];
	pthread_t threads[THREADS];

	close(lab_sparse(lab, "image", 4 * LAB_MIB));
	close(lab_sparse(lab, "other", 4 * LAB_MIB));
	for (int round = 0; round < 20; round++) {
		pthread_barrier_init(&start, NULL, THREADS);
		for (int i = 0; i < THREADS; i++) {
			racers[i] = (struct racer){ lab, &start, i % 2 ? "image" : "other", -1, -1 };
			assert_int_equal(pthread_create(&threads[i], NULL, race_to_bind, &racers[i]), 0);
		}
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&start);
		for (int i = 0; i < THREADS; i++) {
			assert_true(racers[i].number >= 0);
			assert_int_equal(racers[i].number, racers[i % 2].number);
		}
		assert_int_not_equal(racers[0].number, racers[1].number);
		assert_int_equal(lab_count_loops(lab), 2);
		for (int i = 0; i < THREADS; i++)
			close(racers[i].loop_fd);
		assert_true(lab_no_loops(lab));
	}
}

/* ---- a /dev that nobody fills ---- */

/* In a child with a mount namespace of its own, /dev has the control device and nothing else. */
static int bind_with_a_bare_dev(const char *image)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop, again;
	int fd = open(image, O_RDWR | O_CLOEXEC);
	bool found = false;

	if (fd < 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bare", "/dev", "tmpfs", 0, "size=1m") < 0 ||
	    mknod("/dev/loop-control", S_IFCHR | 0600, makedev(10, 237)) < 0)
		return 2;
	if (cleat_sys_loop_bind(fd, "image", CLEAT_LOOP_AUTOCLEAR, 4096, &loop, &err) != CLEAT_OK) {
		fprintf(stderr, "%s\n", err.msg);
		return 3;
	}
	if (unlink(loop.path) < 0) /* and one that vanished again */
		return 4;
	if (cleat_sys_loop_find(fd, true, &again, &found, &err) != CLEAT_OK || !found ||
	    again.number != loop.number)
		return 5;
	return access(loop.path, F_OK) == 0 ? 0 : 6;
}

static void test_loop__a_missing_device_node_is_made(void **state)
{
	const struct lab *lab = *state;
	int status = 0;

	close(lab_sparse(lab, "image", 4 * LAB_MIB));
	pid_t pid = fork();
	if (pid == 0)
		_exit(bind_with_a_bare_dev(lab_join(lab, "image")));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(lab_no_loops(lab));
}

int main(void)
{
	static const char *const tools[] = { "mke2fs", "mkfs.xfs", "mkfs.btrfs", "btrfs", NULL };
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_loop__a_bound_image_is_found_and_goes_with_its_last_user),
		LAB_TEST(test_loop__binding_again_gives_the_same_device),
		LAB_TEST(test_loop__an_image_is_known_after_rename_and_unlink),
		LAB_TEST(test_loop__read_only_bindings),
		LAB_TEST(test_loop__direct_io_falls_back_to_buffered),
		LAB_TEST(test_loop__a_device_somebody_else_took_is_passed_over),
		LAB_TEST(test_loop__a_failed_bind_leaves_nothing),
		LAB_TEST(test_loop__injected_errors_look_like_the_kernels),
		LAB_TEST(test_loop__two_bindings_of_one_image_are_data_loss),
		LAB_TEST(test_loop__images_in_btrfs_subvolumes_are_told_apart),
		LAB_TEST(test_loop__an_image_in_an_image_in_an_overlay_is_found),
		LAB_TEST(test_loop__detach_frees_and_may_come_twice),
		LAB_TEST(test_loop__detach_of_a_mounted_device_waits_for_the_unmount),
		LAB_TEST(test_loop__the_size_follows_the_image),
		LAB_TEST(test_loop__a_device_can_be_made_read_only),
		LAB_TEST(test_loop__a_device_that_was_read_only_is_not_for_the_next_image),
		LAB_TEST(test_loop__a_bind_that_fails_after_the_binding_undoes_it),
		LAB_TEST(test_loop__each_tells_every_device_with_its_image),
		LAB_TEST(test_loop__threads_that_bind_one_image_share_one_device),
		LAB_TEST(test_loop__a_missing_device_node_is_made),
	};
	int skip = lab_need_loop();

	if (skip == 0)
		skip = lab_need_tools(tools);
	return skip ? skip : cmocka_run_group_tests_name("sys_loop", tests, NULL, NULL);
}
