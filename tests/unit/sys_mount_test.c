/* Tests of core/sys/mount.c and freeze.c with real file systems on loop devices. */
#include "sys_lab.h"

#include "sys/file.h"
#include "sys/hook.h"
#include "sys/loop.h"
#include "sys/mount.h"
#include "util/kv.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long flags_of(const char *path)
{
	struct statvfs fs;

	assert_int_equal(statvfs(path, &fs), 0);
	return fs.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_NOATIME | ST_NODIRATIME);
}

static void unmount_ok(const char *path)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_ok(cleat_sys_unmount(path, &err), &err);
}

/* The words between target and " - " of the mount at path ("shared:5"), and how many mounts are there. */
static int peers_of(const char *path, char *text, size_t room)
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, where[300];
	size_t bytes = 0;
	int count = 0;

	assert_non_null(table);
	snprintf(where, sizeof(where), " %s ", path);
	while (getline(&line, &bytes, table) > 0) {
		char *at = strstr(line, where), *end = strstr(line, " - ");
		if (!at || !end)
			continue;
		count++;
		*end = '\0';
		snprintf(text, room, "%s", at + strlen(where));
	}
	free(line);
	fclose(table);
	return count;
}

/* ---- devices ---- */

static void check_file_system(const struct lab *lab, const char *fs, uint64_t bytes)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;
	char text[32];

	lab_image(lab, "image", fs, bytes, &loop);
	lab_mkdir(lab, "m");
	lab_ok(cleat_sys_mount_device(fs, loop.path, NULL, 0, lab_join(lab, "m"), &err), &err);
	assert_int_equal(close(loop.fd), 0); /* the mount holds the device now */
	lab_write(lab, "m/file", fs);
	assert_int_equal(flags_of(lab_join(lab, "m")), ST_NOSUID | ST_NODEV);
	unmount_ok(lab_join(lab, "m"));
	assert_true(lab_no_loops(lab));
	assert_false(lab_exists(lab, "m/file"));

	int fd = openat(lab->fd, "image", O_RDWR | O_CLOEXEC);
	lab_ok(cleat_sys_loop_bind(fd, "image", CLEAT_LOOP_AUTOCLEAR, 4096, &loop, &err), &err);
	close(fd);
	unsigned flags = CLEAT_MOUNT_READ_ONLY | CLEAT_MOUNT_NOEXEC | CLEAT_MOUNT_NOATIME |
			 CLEAT_MOUNT_NODIRATIME | CLEAT_MOUNT_ALLOW_SUID | CLEAT_MOUNT_ALLOW_DEV;
	lab_ok(cleat_sys_mount_device(fs, loop.path, NULL, flags, lab_join(lab, "m"), &err), &err);
	lab_read(lab, "m/file", text, sizeof(text));
	assert_string_equal(text, fs);
	assert_int_equal(flags_of(lab_join(lab, "m")), ST_RDONLY | ST_NOEXEC | ST_NOATIME | ST_NODIRATIME);
	assert_int_equal(openat(lab->fd, "m/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), -1);
	assert_int_equal(errno, EROFS);
	unmount_ok(lab_join(lab, "m"));
	close(loop.fd);
}

static void test_mount__ext4(void **state)
{
	check_file_system(*state, "ext4", 64 * LAB_MIB);
}

static void test_mount__xfs(void **state)
{
	check_file_system(*state, "xfs", 320 * LAB_MIB);
}

static void test_mount__btrfs(void **state)
{
	check_file_system(*state, "btrfs", 256 * LAB_MIB);
}

static void test_mount__options_reach_the_file_system(void **state)
{
	const struct lab *lab = *state;
	cleat_autokvs struct cleat_kvs options = { NULL, 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;
	char *line = NULL;
	size_t room = 0;
	bool seen = false;

	lab_image(lab, "image", "ext4", 64 * LAB_MIB, &loop);
	lab_mkdir(lab, "m");
	lab_ok(cleat_kv_set(&options, "commit", "17", &err), &err);
	lab_ok(cleat_kv_set(&options, "nodelalloc", "", &err), &err);
	lab_ok(cleat_sys_mount_device("ext4", loop.path, &options, 0, lab_join(lab, "m"), &err), &err);
	FILE *table = fopen("/proc/self/mountinfo", "re");
	while (getline(&line, &room, table) > 0)
		seen |= strstr(line, lab->path) && strstr(line, "nodelalloc") && strstr(line, "commit=17");
	free(line);
	fclose(table);
	assert_true(seen);
	unmount_ok(lab_join(lab, "m"));
	close(loop.fd);
}

static void test_mount__errors_carry_the_kernels_words(void **state)
{
	const struct lab *lab = *state;
	cleat_autokvs struct cleat_kvs options = { NULL, 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop ext4, bare;
	const char *m = lab_join(lab, "m");

	lab_image(lab, "ext4", "ext4", 64 * LAB_MIB, &ext4);
	lab_image(lab, "bare", NULL, 64 * LAB_MIB, &bare);
	lab_mkdir(lab, "m");
	lab_write(lab, "file", "");
	lab_ok(cleat_kv_set(&options, "nosuchoption", "", &err), &err);
	lab_expect(cleat_sys_mount_device("ext4", ext4.path, &options, 0, m, &err), &err,
		   CLEAT_INVALID_ARGUMENT, "nosuchoption");
	assert_non_null(strstr(err.msg, "mount ext4 '/dev/loop"));
	assert_null(strstr(err.msg, ": : "));
	print_message("%s\n", err.msg);
	lab_expect(cleat_sys_mount_device("nosuchfs", ext4.path, NULL, 0, m, &err), &err,
		   CLEAT_FAILED_PRECONDITION, "no file system 'nosuchfs'");
	print_message("%s\n", err.msg);
	for (int i = 0; i < 3; i++) {
		const char *fs = i == 0 ? "ext4" : i == 1 ? "xfs" : "btrfs";
		lab_expect(cleat_sys_mount_device(fs, bare.path, NULL, 0, m, &err), &err,
			   CLEAT_FAILED_PRECONDITION, bare.path);
		print_message("%s\n", err.msg);
	}
	lab_expect(cleat_sys_mount_device("ext4", "/dev/nosuchdevice", NULL, 0, m, &err), &err,
		   CLEAT_NOT_FOUND, "/dev/nosuchdevice");
	lab_expect(cleat_sys_mount_device("ext4", lab_join(lab, "file"), NULL, 0, m, &err), &err,
		   CLEAT_FAILED_PRECONDITION, "Block device required");
	lab_expect(cleat_sys_mount_device("ext4", ext4.path, NULL, 0, lab_join(lab, "none"), &err), &err,
		   CLEAT_NOT_FOUND, "the target takes no mount");
	print_message("%s\n", err.msg);
	lab_expect(cleat_sys_mount_device("ext4", ext4.path, NULL, 0, lab_join(lab, "file"), &err), &err,
		   CLEAT_FAILED_PRECONDITION, "the target takes no mount");
	lab_expect(cleat_sys_mount_device("ext4", ext4.path, NULL, 0, "m", &err), &err,
		   CLEAT_INVALID_ARGUMENT, "absolute");
	assert_int_equal(lab_count_mounts(lab), 0);
	close(ext4.fd);
	close(bare.fd);
}

/* A target reached through a symlink in its last component would be somebody else's choice of place. */
static void test_mount__does_not_follow_a_link_at_the_target(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;

	lab_image(lab, "image", "ext4", 64 * LAB_MIB, &loop);
	lab_mkdir(lab, "m");
	assert_int_equal(symlinkat("m", lab->fd, "link"), 0);
	assert_int_not_equal(cleat_sys_mount_device("ext4", loop.path, NULL, 0, lab_join(lab, "link"), &err),
			     CLEAT_OK);
	assert_int_equal(lab_count_mounts(lab), 0);
	close(loop.fd);
}

static void test_mount__a_failed_step_leaves_nothing(void **state)
{
	static const char *const steps[] = { "fsconfig", "fsmount", "move_mount" };
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;

	lab_image(lab, "image", "ext4", 64 * LAB_MIB, &loop);
	lab_mkdir(lab, "m");
	for (size_t i = 0; i < CLEAT_COUNT(steps); i++) {
		lab_inject(steps[i], 1, ENOSPC);
		lab_expect(cleat_sys_mount_device("ext4", loop.path, NULL, 0, lab_join(lab, "m"), &err), &err,
			   CLEAT_RESOURCE_EXHAUSTED, "No space left");
		assert_int_equal(lab_steps(steps[i]), 1);
		lab_inject_off();
		assert_int_equal(lab_count_mounts(lab), 0);
	}
	lab_inject("fsconfig", 1, EUCLEAN);
	lab_expect(cleat_sys_mount_device("ext4", loop.path, NULL, 0, lab_join(lab, "m"), &err), &err,
		   CLEAT_DATA_LOSS, "needs cleaning");
	lab_inject_off();
	/* and nothing holds the device */
	close(loop.fd);
	assert_true(lab_no_loops(lab));
}

static void test_mount__a_damaged_file_system_is_data_loss(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;
	unsigned char byte;

	lab_image(lab, "image", "xfs", 320 * LAB_MIB, &loop);
	close(loop.fd);
	assert_true(lab_no_loops(lab));
	int fd = openat(lab->fd, "image", O_RDWR | O_CLOEXEC);
	/* the first byte of the superblock's UUID, which its checksum covers */
	assert_int_equal(pread(fd, &byte, 1, 32), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 32), 1);
	lab_mkdir(lab, "m");
	lab_ok(cleat_sys_loop_bind(fd, "image", CLEAT_LOOP_AUTOCLEAR, 4096, &loop, &err), &err);
	close(fd);
	lab_expect(cleat_sys_mount_device("xfs", loop.path, NULL, 0, lab_join(lab, "m"), &err), &err,
		   CLEAT_DATA_LOSS, "mount xfs '/dev/loop");
	print_message("%s\n", err.msg);
	close(loop.fd);
}

/* ---- unmounting ---- */

static void mount_tmpfs(const char *path, unsigned long flags)
{
	assert_int_equal(mount("lab", path, "tmpfs", flags, "size=1m"), 0);
}

static void test_mount__unmount_of_what_is_none_is_ok(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "m");
	lab_write(lab, "f", "");
	assert_int_equal(symlinkat("m", lab->fd, "link"), 0);
	lab_ok(cleat_sys_unmount(lab_join(lab, "m"), &err), &err);
	lab_ok(cleat_sys_unmount(lab_join(lab, "f"), &err), &err);
	lab_ok(cleat_sys_unmount(lab_join(lab, "none"), &err), &err);
	lab_ok(cleat_sys_unmount(lab_join(lab, "none/below"), &err), &err);
	lab_ok(cleat_sys_unmount(lab_join(lab, "f/below"), &err), &err);
	mount_tmpfs(lab_join(lab, "m"), 0);
	lab_ok(cleat_sys_unmount(lab_join(lab, "link"), &err),
	       &err); /* a link is no mount, whatever it names */
	assert_int_equal(lab_count_mounts(lab), 1);
	mount_tmpfs(lab_join(lab, "m"), 0);
	unmount_ok(lab_join(lab, "m"));
	assert_int_equal(lab_count_mounts(lab), 1); /* one call, one mount */
	unmount_ok(lab_join(lab, "m"));
}

static void test_mount__unmount_of_what_is_busy_can_be_tried_again(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "m");
	mount_tmpfs(lab_join(lab, "m"), 0);
	int fd = openat(lab->fd, "m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lab_expect(cleat_sys_unmount(lab_join(lab, "m"), &err), &err, CLEAT_FAILED_PRECONDITION, "busy");
	assert_true(err.retry);
	close(fd);
	unmount_ok(lab_join(lab, "m"));
	assert_int_equal(lab_count_mounts(lab), 0);

	mount_tmpfs(lab_join(lab, "m"), 0);
	fd = openat(lab->fd, "m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lab_ok(cleat_sys_unmount_force(lab_join(lab, "m"), &err), &err);
	assert_int_equal(lab_count_mounts(lab), 0);
	close(fd);
	lab_ok(cleat_sys_unmount_force(lab_join(lab, "m"), &err), &err);

	mount_tmpfs(lab_join(lab, "m"), 0);
	lab_inject("umount2", 1, EIO);
	lab_expect(cleat_sys_unmount(lab_join(lab, "m"), &err), &err, CLEAT_INTERNAL, "unmount '");
	lab_inject("umount2", 1, EBUSY);
	lab_expect(cleat_sys_unmount_force(lab_join(lab, "m"), &err), &err, CLEAT_FAILED_PRECONDITION,
		   "unmount '");
	lab_inject_off();
	assert_int_equal(lab_count_mounts(lab), 1);
	unmount_ok(lab_join(lab, "m"));
}

/* In a mount namespace of a lesser user namespace, what was mounted before is locked, and umount2 says
 * EINVAL. */
static int unmount_locked(const char *target)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return 77;
	return cleat_sys_unmount(target, &err) == CLEAT_FAILED_PRECONDITION && strstr(err.msg, "may not undo")
		       ? 0
		       : 1;
}

static void test_mount__unmount_of_a_locked_mount_is_not_called_done(void **state)
{
	const struct lab *lab = *state;
	int status = 0;

	lab_mkdir(lab, "m");
	mount_tmpfs(lab_join(lab, "m"), 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(unmount_locked(lab_join(lab, "m")));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unmount_ok(lab_join(lab, "m"));
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("SKIPPED BECAUSE: a user namespace cannot be made here, or not by a program with "
			      "threads\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- binding ---- */

static enum cleat_code bind_path(const struct lab *lab, const char *from, const char *to, unsigned flags,
				 struct cleat_error *err)
{
	int source = openat(lab->fd, from, O_PATH | O_CLOEXEC),
	    target = openat(lab->fd, to, O_PATH | O_CLOEXEC);

	assert_true(source >= 0 && target >= 0);
	enum cleat_code code = cleat_sys_bind(source, target, flags, to, err);
	close(source);
	close(target);
	return code;
}

static void check_binds(const struct lab *lab, bool old_kernel)
{
	static const struct {
		unsigned flags;
		unsigned long seen;
	} cases[] = {
		{ 0, ST_NOSUID | ST_NODEV },
		{ CLEAT_MOUNT_READ_ONLY, ST_RDONLY | ST_NOSUID | ST_NODEV },
		{ CLEAT_MOUNT_NOEXEC | CLEAT_MOUNT_NOATIME, ST_NOEXEC | ST_NOATIME | ST_NOSUID | ST_NODEV },
		{ CLEAT_MOUNT_ALLOW_SUID | CLEAT_MOUNT_NODIRATIME, ST_NODIRATIME | ST_NODEV },
		{ CLEAT_MOUNT_ALLOW_DEV, ST_NOSUID },
		{ CLEAT_MOUNT_ALLOW_DEV | CLEAT_MOUNT_ALLOW_SUID, 0 },
	};
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "source");
	lab_mkdir(lab, "t");
	mount_tmpfs(lab_join(lab, "source"), 0);
	lab_mkdir(lab, "source/dir");
	lab_write(lab, "source/dir/file", "bound");
	lab_write(lab, "target-file", "");
	for (size_t i = 0; i < CLEAT_COUNT(cases); i++) {
		if (old_kernel)
			lab_inject("mount_setattr", 1, ENOSYS);
		lab_ok(bind_path(lab, "source/dir", "t", cases[i].flags, &err), &err);
		assert_int_equal(flags_of(lab_join(lab, "t")), cases[i].seen);
		assert_true(lab_exists(lab, "t/file"));
		int fd = openat(lab->fd, "t/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_int_equal(fd < 0, (cases[i].seen & ST_RDONLY) != 0);
		if (fd >= 0)
			close(fd);
		assert_int_equal(flags_of(lab_join(lab, "source")), 0); /* the other mount is as it was */
		lab_inject_off();
		unmount_ok(lab_join(lab, "t"));
	}
	/* one file onto one file, and the wrong sorts */
	if (old_kernel)
		lab_inject("mount_setattr", 1, ENOSYS);
	lab_ok(bind_path(lab, "source/dir/file", "target-file", CLEAT_MOUNT_READ_ONLY, &err), &err);
	lab_inject_off();
	assert_int_equal(openat(lab->fd, "target-file", O_WRONLY | O_CLOEXEC), -1);
	assert_int_equal(errno, EROFS);
	unmount_ok(lab_join(lab, "target-file"));
	lab_expect(bind_path(lab, "source/dir", "target-file", 0, &err), &err, CLEAT_FAILED_PRECONDITION,
		   "directory");
	lab_expect(bind_path(lab, "source/dir/file", "t", 0, &err), &err, CLEAT_FAILED_PRECONDITION,
		   "directory");
	unmount_ok(lab_join(lab, "source"));
}

static void test_mount__bind_sets_its_flags(void **state)
{
	check_binds(*state, false);
}

static void test_mount__bind_without_mount_setattr_does_the_same(void **state)
{
	check_binds(*state, true);
}

static void check_never_lifts(const struct lab *lab, bool old_kernel)
{
	const unsigned long all = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "source");
	lab_mkdir(lab, "t");
	mount_tmpfs(lab_join(lab, "source"), 0);
	assert_int_equal(mount(NULL, lab_join(lab, "source"), NULL,
			       MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL),
			 0);
	for (unsigned more = 0; more < 2; more++) { /* with nothing to set, and with something */
		if (old_kernel)
			lab_inject("mount_setattr", 1, ENOSYS);
		lab_ok(bind_path(lab, "source", "t",
				 CLEAT_MOUNT_ALLOW_DEV | CLEAT_MOUNT_ALLOW_SUID |
					 (more ? CLEAT_MOUNT_NOATIME : 0),
				 &err),
		       &err);
		lab_inject_off();
		assert_int_equal(flags_of(lab_join(lab, "t")), all | (more ? ST_NOATIME : 0));
		unmount_ok(lab_join(lab, "t"));
	}
	unmount_ok(lab_join(lab, "source"));
}

static void test_mount__bind_never_lifts_what_the_source_forbids(void **state)
{
	check_never_lifts(*state, false);
}

static void test_mount__bind_without_mount_setattr_never_lifts_either(void **state)
{
	check_never_lifts(*state, true);
}

static void test_mount__a_bound_device_node_can_be_opened(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;
	struct stat st;

	lab_image(lab, "image", NULL, 8 * LAB_MIB, &loop);
	lab_write(lab, "node", "");
	for (int old_kernel = 0; old_kernel < 2; old_kernel++) {
		int source = open(loop.path, O_PATH | O_CLOEXEC);
		int target = openat(lab->fd, "node", O_PATH | O_CLOEXEC);
		if (old_kernel)
			lab_inject("mount_setattr", 1, ENOSYS);
		lab_ok(cleat_sys_bind(source, target, CLEAT_MOUNT_NOEXEC, "node", &err), &err);
		lab_inject_off();
		close(source);
		close(target);
		int fd = openat(lab->fd, "node", O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_true(S_ISBLK(st.st_mode) && st.st_rdev == loop.dev);
		assert_int_equal(pwrite(fd, "x", 1, 0), 1);
		close(fd);
		assert_true(flags_of(lab_join(lab, "node")) & ST_NOSUID);
		unmount_ok(lab_join(lab, "node"));
	}
	close(loop.fd);
}

static void test_mount__bind_that_fails_leaves_nothing(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "source");
	lab_mkdir(lab, "t");
	lab_inject("mount_setattr", 1, EPERM);
	lab_expect(bind_path(lab, "source", "t", 0, &err), &err, CLEAT_PERMISSION_DENIED, "bind 't'");
	lab_inject("move_mount", 1, ENOMEM);
	lab_expect(bind_path(lab, "source", "t", 0, &err), &err, CLEAT_RESOURCE_EXHAUSTED, "bind 't'");
	lab_inject_off();
	assert_int_equal(lab_count_mounts(lab), 0);
	lab_expect(cleat_sys_bind(-1, lab->fd, 0, "t", &err), &err, CLEAT_INTERNAL, "stat the source");
}

/* Two steps fail at once: the newer call is missing, and so is what should replace it. */
static int old_and_broken(const char *call, const char *what, void *arg)
{
	(void)what;
	(void)arg;
	return strcmp(call, "mount_setattr") == 0	? ENOSYS
	       : strcmp(call, "mount(MS_REMOUNT)") == 0 ? EPERM
							: 0;
}

static void test_mount__bind_without_mount_setattr_is_undone_when_the_remount_fails(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "source");
	lab_mkdir(lab, "t");
	cleat_sys_hook_set(old_and_broken, NULL);
	enum cleat_code code = bind_path(lab, "source", "t", CLEAT_MOUNT_READ_ONLY, &err);
	cleat_sys_hook_set(NULL, NULL);
	lab_expect(code, &err, CLEAT_PERMISSION_DENIED, "bind 't'");
	assert_int_equal(lab_count_mounts(lab), 0);
}

static void test_mount__bind_is_not_recursive(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "source");
	lab_mkdir(lab, "t");
	mount_tmpfs(lab_join(lab, "source"), 0);
	lab_mkdir(lab, "source/sub");
	mount_tmpfs(lab_join(lab, "source/sub"), 0);
	lab_write(lab, "source/sub/inner", "");
	lab_ok(bind_path(lab, "source", "t", 0, &err), &err);
	assert_true(lab_exists(lab, "t/sub"));
	assert_false(lab_exists(lab, "t/sub/inner"));
	unmount_ok(lab_join(lab, "t"));
	unmount_ok(lab_join(lab, "source/sub"));
	unmount_ok(lab_join(lab, "source"));
}

/* ---- a shared mount ---- */

static void test_mount__make_shared_makes_a_mount_with_peers_of_its_own(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char above[256] = "", below[256] = "";

	lab_mkdir(lab, "above");
	mount_tmpfs(lab_join(lab, "above"), 0);
	assert_int_equal(mount(NULL, lab_join(lab, "above"), NULL, MS_SHARED, NULL), 0);
	lab_mkdir(lab, "above/run");
	lab_mkdir(lab, "above/run/v");
	lab_ok(cleat_sys_make_shared(lab_join(lab, "above/run"), &err), &err);
	assert_int_equal(peers_of(lab_join(lab, "above"), above, sizeof(above)), 1);
	assert_int_equal(peers_of(lab_join(lab, "above/run"), below, sizeof(below)), 1);
	assert_non_null(strstr(below, "shared:"));
	assert_string_not_equal(above, below);
	/* so what is mounted below is there once, not again underneath */
	mount_tmpfs(lab_join(lab, "above/run/v"), 0);
	assert_int_equal(peers_of(lab_join(lab, "above/run/v"), below, sizeof(below)), 1);
	unmount_ok(lab_join(lab, "above/run/v"));
	/* again: nothing more */
	lab_ok(cleat_sys_make_shared(lab_join(lab, "above/run"), &err), &err);
	assert_int_equal(peers_of(lab_join(lab, "above/run"), below, sizeof(below)), 1);
	unmount_ok(lab_join(lab, "above/run"));
	unmount_ok(lab_join(lab, "above"));
}

static void test_mount__make_shared_takes_a_private_mount_as_it_is(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char peers[256] = "";

	lab_mkdir(lab, "m");
	mount_tmpfs(lab_join(lab, "m"), 0);
	assert_int_equal(mount(NULL, lab_join(lab, "m"), NULL, MS_PRIVATE, NULL), 0);
	lab_ok(cleat_sys_make_shared(lab_join(lab, "m"), &err), &err);
	assert_int_equal(peers_of(lab_join(lab, "m"), peers, sizeof(peers)), 1);
	assert_non_null(strstr(peers, "shared:"));
	unmount_ok(lab_join(lab, "m"));
	lab_expect(cleat_sys_make_shared(lab_join(lab, "none"), &err), &err, CLEAT_NOT_FOUND, "none");
	for (int step = 1; step <= 3; step++) {
		lab_inject("mount", step, EPERM);
		lab_expect(cleat_sys_make_shared(lab_join(lab, "m"), &err), &err, CLEAT_PERMISSION_DENIED,
			   "shared");
		lab_inject_off();
		assert_int_equal(lab_count_mounts(lab), 0);
	}
}

/* ---- looking ---- */

static void test_mount__look_sees_what_is_there_and_follows_nothing(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_sys_place place, inside;
	struct stat st;

	lab_mkdir(lab, "m");
	lab_write(lab, "f", "");
	assert_int_equal(symlinkat("m", lab->fd, "link"), 0);
	lab_ok(cleat_sys_look(AT_FDCWD, lab_join(lab, "none"), &place, &err), &err);
	assert_false(place.exists);
	lab_ok(cleat_sys_look(AT_FDCWD, lab_join(lab, "f/none"), &place, &err), &err);
	assert_false(place.exists);
	lab_ok(cleat_sys_look(lab->fd, "link", &place, &err), &err);
	assert_true(place.exists && S_ISLNK(place.mode));
	lab_ok(cleat_sys_look(lab->fd, "m", &place, &err), &err);
	assert_true(place.exists && S_ISDIR(place.mode) && !place.is_mount_root);
	assert_int_equal(fstatat(lab->fd, "m", &st, 0), 0);
	assert_true(place.dev == st.st_dev && place.ino == st.st_ino);
	mount_tmpfs(lab_join(lab, "m"), 0);
	lab_mkdir(lab, "m/sub");
	lab_ok(cleat_sys_look(AT_FDCWD, lab_join(lab, "m"), &place, &err), &err);
	assert_true(place.is_mount_root);
	assert_int_equal(fstatat(lab->fd, "m", &st, 0), 0);
	assert_int_equal(place.dev, st.st_dev);
	lab_ok(cleat_sys_look(lab->fd, "m/sub", &inside, &err), &err);
	assert_false(inside.is_mount_root);
	assert_int_equal(inside.mount_id, place.mount_id);
	lab_ok(cleat_sys_look(lab->fd, "", &inside, &err), &err);
	assert_true(inside.exists && inside.mount_id != place.mount_id);
	lab_ok(cleat_sys_look(AT_FDCWD, "/dev/loop-control", &place, &err), &err);
	assert_true(S_ISCHR(place.mode) && major(place.rdev) == 10);
	unmount_ok(lab_join(lab, "m"));
}

static bool find_id(const struct cleat_mount_entry *e, void *arg)
{
	struct cleat_sys_place *place = arg;

	if (e->id != place->mount_id)
		return true;
	place->exists = false;
	return false;
}

static void test_mount__the_mount_id_is_that_of_the_table(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_sys_place place;

	lab_mkdir(lab, "m");
	mount_tmpfs(lab_join(lab, "m"), 0);
	lab_ok(cleat_sys_look(lab->fd, "m", &place, &err), &err);
	lab_ok(cleat_sys_mounts(find_id, &place, &err), &err);
	assert_false(place.exists); /* find_id has met it */
	unmount_ok(lab_join(lab, "m"));
}

static void test_mount__read_only_is_of_the_mount(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	bool read_only = true;

	lab_mkdir(lab, "m");
	mount_tmpfs(lab_join(lab, "m"), 0);
	lab_ok(cleat_sys_mount_is_read_only(lab_join(lab, "m"), &read_only, &err), &err);
	assert_false(read_only);
	assert_int_equal(mount(NULL, lab_join(lab, "m"), NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	lab_ok(cleat_sys_mount_is_read_only(lab_join(lab, "m"), &read_only, &err), &err);
	assert_true(read_only);
	unmount_ok(lab_join(lab, "m"));
	lab_expect(cleat_sys_mount_is_read_only(lab_join(lab, "none"), &read_only, &err), &err,
		   CLEAT_NOT_FOUND, "none");
	assert_true(read_only);
}

/* ---- freezing, trimming ---- */

#define RAW_FIFREEZE _IOWR('X', 119, int)

static void test_mount__freeze_and_thaw_may_come_twice(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;

	lab_image(lab, "image", "ext4", 64 * LAB_MIB, &loop);
	lab_mkdir(lab, "m");
	lab_ok(cleat_sys_mount_device("ext4", loop.path, NULL, 0, lab_join(lab, "m"), &err), &err);
	close(loop.fd);
	int fd = openat(lab->fd, "m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum cleat_code first = cleat_sys_freeze(fd, "m", &err);
	int raw = ioctl(fd, RAW_FIFREEZE, 0) < 0 ? errno : 0; /* the kernel's word that it is frozen */
	enum cleat_code second = cleat_sys_freeze(fd, "m", &err);
	enum cleat_code third = cleat_sys_thaw(fd, "m", &err);
	enum cleat_code fourth = cleat_sys_thaw(fd, "m", &err);
	assert_int_equal(first, CLEAT_OK);
	assert_int_equal(raw, EBUSY);
	assert_int_equal(second, CLEAT_OK);
	assert_int_equal(third, CLEAT_OK);
	assert_int_equal(fourth, CLEAT_OK);
	lab_write(lab, "m/file", "after"); /* would wait for ever otherwise */
	lab_inject("ioctl(FIFREEZE)", 1, EIO);
	lab_expect(cleat_sys_freeze(fd, "m", &err), &err, CLEAT_INTERNAL, "freeze 'm'");
	lab_inject("ioctl(FITHAW)", 1, EIO);
	lab_expect(cleat_sys_thaw(fd, "m", &err), &err, CLEAT_INTERNAL, "thaw 'm'");
	lab_inject_off();
	close(fd);
	unmount_ok(lab_join(lab, "m"));
}

static uint64_t blocks_of(const struct lab *lab, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(lab->fd, name, &st, 0), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void test_mount__trim_gives_the_space_back(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_loop loop;

	lab_image(lab, "image", "ext4", 128 * LAB_MIB, &loop);
	lab_mkdir(lab, "m");
	lab_ok(cleat_sys_mount_device("ext4", loop.path, NULL, 0, lab_join(lab, "m"), &err), &err);
	close(loop.fd);
	int dir = openat(lab->fd, "m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int file = lab_sparse(lab, "m/file", 0);
	lab_ok(cleat_sys_allocate(file, 40 * LAB_MIB, "file", &err), &err);
	char *bytes = malloc(LAB_MIB);
	memset(bytes, 'x', LAB_MIB);
	for (int i = 0; i < 40; i++)
		assert_int_equal(pwrite(file, bytes, LAB_MIB, (off_t)i * (off_t)LAB_MIB), LAB_MIB);
	free(bytes);
	lab_ok(cleat_sys_syncfs(dir, "m", &err), &err);
	close(file);
	assert_true(blocks_of(lab, "image") > 40 * LAB_MIB);
	assert_int_equal(unlinkat(dir, "file", 0), 0);
	lab_ok(cleat_sys_syncfs(dir, "m", &err), &err);
	lab_ok(cleat_sys_trim(dir, "m", &err), &err);
	lab_ok(cleat_sys_syncfs(dir, "m", &err), &err);
	assert_true(blocks_of(lab, "image") < 20 * LAB_MIB);
	lab_inject("ioctl(FITRIM)", 1, EIO);
	lab_expect(cleat_sys_trim(dir, "m", &err), &err, CLEAT_INTERNAL, "trim 'm'");
	lab_inject_off();
	close(dir);
	unmount_ok(lab_join(lab, "m"));
	/* where there is nothing to trim */
	mount_tmpfs(lab_join(lab, "m"), 0);
	dir = openat(lab->fd, "m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lab_expect(cleat_sys_trim(dir, "m", &err), &err, CLEAT_UNIMPLEMENTED, "trim 'm'");
	close(dir);
	unmount_ok(lab_join(lab, "m"));
}

/* Reflinks: what FICLONE makes is the same file in other blocks' clothes. */
static void test_mount__clone_file_on_xfs_and_btrfs(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "m");
	for (int i = 0; i < 2; i++) {
		const char *fs = i ? "btrfs" : "xfs";
		struct cleat_loop loop;
		char text[16];
		lab_image(lab, fs, fs, 320 * LAB_MIB, &loop);
		lab_ok(cleat_sys_mount_device(fs, loop.path, NULL, 0, lab_join(lab, "m"), &err), &err);
		close(loop.fd);
		lab_write(lab, "m/from", "content");
		int from = openat(lab->fd, "m/from", O_RDONLY | O_CLOEXEC), to = lab_sparse(lab, "m/to", 0);
		int outside = lab_sparse(lab, "outside", 0);
		lab_ok(cleat_sys_clone_file(from, to, "from", &err), &err);
		lab_read(lab, "m/to", text, sizeof(text));
		assert_string_equal(text, "content");
		lab_expect(cleat_sys_clone_file(from, outside, "from", &err), &err, CLEAT_UNIMPLEMENTED,
			   "clone 'from'");
		close(from);
		close(to);
		close(outside);
		assert_int_equal(unlinkat(lab->fd, "outside", 0), 0);
		unmount_ok(lab_join(lab, "m"));
	}
}

/* ---- where this process is ---- */

static int compare_in_other_namespace(const char *stamp)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char other[CLEAT_STAMP_BYTES];
	bool init = true;

	if (unshare(CLONE_NEWNS) < 0 || cleat_sys_stamp(other, &err) != CLEAT_OK ||
	    cleat_sys_in_init_namespace(&init, &err) != CLEAT_OK)
		return 1;
	/* the same boot, another namespace */
	return strncmp(stamp, other, 37) == 0 && strcmp(stamp, other) != 0 && !init ? 0 : 2;
}

static void test_mount__the_stamp_tells_boot_and_namespace(void **state)
{
	char stamp[CLEAT_STAMP_BYTES], again[CLEAT_STAMP_BYTES];
	struct cleat_error err = CLEAT_ERROR_INIT;
	bool init = false;
	int status = 0;

	(void)state;
	lab_ok(cleat_sys_in_init_namespace(&init, &err), &err);
	struct stat ours, first;
	if (stat("/proc/self/ns/mnt", &ours) == 0 && stat("/proc/1/ns/mnt", &first) == 0)
		assert_int_equal(init, ours.st_ino == first.st_ino);
	lab_ok(cleat_sys_stamp(stamp, &err), &err);
	lab_ok(cleat_sys_stamp(again, &err), &err);
	assert_string_equal(stamp, again);
	assert_int_equal(strcspn(stamp, ":"), 36);
	assert_true(strlen(stamp) > 37);
	pid_t pid = fork();
	if (pid == 0)
		_exit(compare_in_other_namespace(stamp));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	static const char *const tools[] = { "mke2fs", "mkfs.xfs", "mkfs.btrfs", NULL };
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_mount__ext4),
		LAB_TEST(test_mount__xfs),
		LAB_TEST(test_mount__btrfs),
		LAB_TEST(test_mount__options_reach_the_file_system),
		LAB_TEST(test_mount__errors_carry_the_kernels_words),
		LAB_TEST(test_mount__does_not_follow_a_link_at_the_target),
		LAB_TEST(test_mount__a_failed_step_leaves_nothing),
		LAB_TEST(test_mount__a_damaged_file_system_is_data_loss),
		LAB_TEST(test_mount__unmount_of_what_is_none_is_ok),
		LAB_TEST(test_mount__unmount_of_what_is_busy_can_be_tried_again),
		LAB_TEST(test_mount__unmount_of_a_locked_mount_is_not_called_done),
		LAB_TEST(test_mount__bind_sets_its_flags),
		LAB_TEST(test_mount__bind_without_mount_setattr_does_the_same),
		LAB_TEST(test_mount__bind_never_lifts_what_the_source_forbids),
		LAB_TEST(test_mount__bind_without_mount_setattr_never_lifts_either),
		LAB_TEST(test_mount__a_bound_device_node_can_be_opened),
		LAB_TEST(test_mount__bind_that_fails_leaves_nothing),
		LAB_TEST(test_mount__bind_without_mount_setattr_is_undone_when_the_remount_fails),
		LAB_TEST(test_mount__bind_is_not_recursive),
		LAB_TEST(test_mount__make_shared_makes_a_mount_with_peers_of_its_own),
		LAB_TEST(test_mount__make_shared_takes_a_private_mount_as_it_is),
		LAB_TEST(test_mount__look_sees_what_is_there_and_follows_nothing),
		LAB_TEST(test_mount__the_mount_id_is_that_of_the_table),
		LAB_TEST(test_mount__read_only_is_of_the_mount),
		LAB_TEST(test_mount__freeze_and_thaw_may_come_twice),
		LAB_TEST(test_mount__trim_gives_the_space_back),
		LAB_TEST(test_mount__clone_file_on_xfs_and_btrfs),
		LAB_TEST(test_mount__the_stamp_tells_boot_and_namespace),
	};
	int skip = lab_need_loop();

	if (skip == 0)
		skip = lab_need_tools(tools);
	return skip ? skip : cmocka_run_group_tests_name("sys_mount", tests, NULL, NULL);
}
