/* driver_run_mounts_test.c - what a job mounts into its task: directories, files, block devices, propagation,
 * labels. */
#include "run_lab.h"

#include "driver/run/internal.h"
#include "sys/spawn.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *say(const struct run_lab *lab, struct run_spec *spec)
{
	char out[64], err[64];

	snprintf(out, sizeof(out), "%s.out", spec->id);
	snprintf(err, sizeof(err), "%s.err", spec->id);
	struct run_exit end = run_lab_run(lab, spec);
	if (end.code != 0)
		fail_msg("exit %d: %s", end.code, run_lab_read(lab, err));
	return run_lab_read(lab, out);
}

static void make_dir(const struct run_lab *lab, const char *name)
{
	assert_int_equal(mkdir(run_lab_join(lab, name), 0755), 0);
}

/* A tmpfs at a directory of the lab. */
static void mount_at(const struct run_lab *lab, const char *name, unsigned long flags)
{
	make_dir(lab, name);
	assert_int_equal(mount("tmpfs", run_lab_join(lab, name), "tmpfs", flags, NULL), 0);
}

static void unmount_at(const struct run_lab *lab, const char *name)
{
	assert_int_equal(umount2(run_lab_join(lab, name), 0), 0);
}

/* ---- directories and files ---- */

static void test_mount__is_writable_or_not(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1",
					    "cat /data/f /ro/f /srv/motd; echo new > /data/new; touch /ro/x "
					    "2>/dev/null && echo writable; touch "
					    "/ro/below/x 2>/dev/null && echo writable below; exit 0");

	make_dir(lab, "data");
	run_lab_write(lab, "data/f", "data\n");
	mount_at(lab, "data/below", 0);
	run_lab_write(lab, "file", "file\n");
	run_lab_mount(&spec, run_lab_join(lab, "data"), "/data", false, NULL);
	run_lab_mount(&spec, run_lab_join(lab, "data"), "/ro", true, "rprivate");
	run_lab_mount(&spec, run_lab_join(lab, "file"), "/srv/motd", true, NULL);
	assert_string_equal(say(lab, &spec), "data\ndata\nfile\n");
	assert_string_equal(run_lab_read(lab, "data/new"), "new\n");
	unmount_at(lab, "data/below");
}

static void test_mount__inner_ones_come_after_outer_ones(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "cat /a/f /a/b/f /a/b/c/f /tmp/t/f");

	for (const char *const *p = (const char *const[]){ "one", "two", "three", NULL }; *p; p++) {
		char name[32], text[16];
		make_dir(lab, *p);
		snprintf(name, sizeof(name), "%s/f", *p);
		snprintf(text, sizeof(text), "%s\n", *p);
		run_lab_write(lab, name, text);
	}
	run_lab_mount(&spec, run_lab_join(lab, "three"), "/a/b/c", true, NULL);
	run_lab_mount(&spec, run_lab_join(lab, "two"), "/a/b", false, NULL);
	run_lab_mount(&spec, run_lab_join(lab, "one"), "/a", false, NULL);
	run_lab_mount(&spec, run_lab_join(lab, "one"), "/tmp/t", false, NULL);
	assert_string_equal(say(lab, &spec), "one\ntwo\nthree\none\n");
}

static void test_mount__keeps_the_restrictions_of_its_source(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(
		lab, "t1",
		"grep ' /data ' /proc/self/mountinfo | cut -d' ' -f6; touch /fixed/x 2>&1 | grep -o "
		"Read-only; exit 0");

	mount_at(lab, "data", MS_NOSUID | MS_NODEV | MS_NOEXEC);
	mount_at(lab, "fixed", MS_RDONLY);
	run_lab_mount(&spec, run_lab_join(lab, "data"), "/data", false, NULL);
	run_lab_mount(&spec, run_lab_join(lab, "fixed"), "/fixed", false, NULL);
	assert_string_equal(say(lab, &spec), "rw,nosuid,nodev,noexec,relatime\nRead-only\n");
	unmount_at(lab, "data");
	unmount_at(lab, "fixed");
}

/* In how many mount namespaces there is something mounted at this path. */
static int count_in_namespaces(const char *target)
{
	DIR *dir = opendir("/proc");
	char path[300], line[4096];
	int count = 0;

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));) {
		snprintf(path, sizeof(path), "/proc/%s/mountinfo", d->d_name);
		FILE *f = d->d_name[0] >= '1' && d->d_name[0] <= '9' ? fopen(path, "re") : NULL;
		while (f && fgets(line, sizeof(line), f))
			count += strstr(line, target) != NULL;
		if (f)
			fclose(f);
	}
	closedir(dir);
	return count;
}

static void test_mount__is_free_again_when_the_task_runs_on_elsewhere(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_spec spec = run_lab_spec(lab, "t1", "exec sleep 100"),
			user = run_lab_spec(lab, "t2", "exec sleep 100");
	struct run_exec *exec = NULL;
	struct run_exec_io io;
	char *argv[] = { "/bin/cat", NULL };

	/* Mounted before the other task and its further process start: neither they nor what watches them may
	 * hold it. */
	mount_at(lab, "data", 0);
	struct run_handle *other = run_lab_start(lab, &spec);
	run_lab_ok(run_exec_start(other, argv, false, &exec, &io, &err), &err);
	run_lab_mount(&user, run_lab_join(lab, "data"), "/data", false, NULL);
	run_unref(run_lab_start(lab, &user));
	run_lab_destroy(lab, "t2");
	unmount_at(lab, "data");
	assert_int_equal(count_in_namespaces(run_lab_join(lab, "data")), 0);
	close(io.stdin_fd);
	close(io.stdout_fd);
	close(io.stderr_fd);
	run_exec_free(exec);
	run_unref(other);
	run_lab_destroy(lab, "t1");
}

static void test_mount__bad_ones_are_refused(void **state)
{
	const struct run_lab *lab = *state;
	static const struct {
		const char *source, *target, *propagation, *words;
	} bad[] = {
		{ "relative", "/data", NULL, "mount source 'relative' is not an absolute path" },
		{ "/tmp", "data", NULL, "mount target 'data' is not an absolute path" },
		{ "/tmp", "/data/../../x", NULL, "'..'" },
		{ "/tmp", "/", NULL, "nothing may be put there" },
		{ "/tmp", "/proc/self", NULL, "nothing may be put there" },
		{ "/tmp", "/data", "private", "propagation 'private'" },
	};

	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		struct run_spec spec = run_lab_spec(lab, "t1", "exit 0");
		struct cleat_error err = CLEAT_ERROR_INIT;
		struct run_handle *h = NULL;
		run_lab_mount(&spec, bad[i].source, bad[i].target, false, bad[i].propagation);
		run_lab_expect(run_start(&lab->env, &spec, &h, &err), &err, CLEAT_INVALID_ARGUMENT,
			       bad[i].words);
		run_spec_done(&spec);
	}
}

/* ---- propagation ---- */

static void test_propagation__is_as_asked_for(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1",
					    "mkdir /both/inner && mount -t tmpfs inner /both/inner && echo "
					    "inner > /both/inner/f && echo ready; while [ ! -e "
					    "/both/go ]; do sleep .02; done; cat /slave/later/f "
					    "/both/later/f; cat /private/later/f 2>/dev/null; umount "
					    "/both/inner; exit 0");

	mount_at(lab, "shared", 0);
	assert_int_equal(mount(NULL, run_lab_join(lab, "shared"), NULL, MS_SHARED, NULL), 0);
	run_lab_mount(&spec, run_lab_join(lab, "shared"), "/slave", false, "rslave");
	run_lab_mount(&spec, run_lab_join(lab, "shared"), "/both", false, "rshared");
	run_lab_mount(&spec, run_lab_join(lab, "shared"), "/private", false, "rprivate");
	spec.caps = run_lab_list("CAP_SYS_ADMIN", NULL);
	struct run_handle *h = run_lab_start(lab, &spec);
	assert_string_equal(run_notes(h), "");
	run_lab_await(lab, "t1.out", "ready");
	assert_string_equal(run_lab_read(lab, "shared/inner/f"), "inner\n"); /* from the task to the host */
	mount_at(lab, "shared/later", 0);
	run_lab_write(lab, "shared/later/f", "later\n");
	run_lab_write(lab, "shared/go", "");
	assert_int_equal(run_lab_end(h).code, 0);
	assert_string_equal(run_lab_read(lab, "t1.out"), "ready\nlater\nlater\n");
	assert_string_equal(run_lab_read(lab, "shared/inner/f"), ""); /* and away again */
	run_unref(h);
	run_lab_destroy(lab, "t1");
	unmount_at(lab, "shared/later");
	unmount_at(lab, "shared");
}

static void test_propagation__that_cannot_be_is_noted(void **state)
{
	const struct run_lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_spec spec = run_lab_spec(lab, "t1", "cat /data/f");

	mount_at(lab, "alone", 0);
	assert_int_equal(mount(NULL, run_lab_join(lab, "alone"), NULL, MS_PRIVATE, NULL), 0);
	run_lab_write(lab, "alone/f", "alone\n");
	run_lab_mount(&spec, run_lab_join(lab, "alone"), "/data", false, "rslave");
	struct run_handle *h = run_lab_start(lab, &spec);
	assert_int_equal(run_lab_end(h).code, 0);
	assert_non_null(strstr(run_notes(h), "mount '/data': propagation rslave has no effect"));
	run_unref(h);
	run_lab_ok(run_attach(&lab->env, "t1", &h, &err), &err);
	assert_non_null(strstr(run_notes(h), "mount '/data': propagation rslave has no effect"));
	run_unref(h);
	run_lab_destroy(lab, "t1");
	unmount_at(lab, "alone");
}

/* ---- block devices ---- */

/* A loop device with a known text at its beginning; NULL where there are none. */
static const char *make_loop(const struct run_lab *lab)
{
	static char device[64];
	const char *make[] = { "losetup", "--find", "--show", run_lab_join(lab, "image"), NULL };
	const struct cleat_spawn how = { .argv = make, .keep_fd = -1, .limit_ms = 20000 };

	run_lab_write(lab, "image", "on the device\n");
	assert_int_equal(truncate(run_lab_join(lab, "image"), 1 << 20), 0);
	if (access("/dev/loop-control", R_OK | W_OK) < 0 ||
	    cleat_sys_spawn(&how, device, sizeof(device), NULL, NULL) != CLEAT_OK)
		return NULL;
	device[strcspn(device, "\n")] = '\0';
	return device;
}

static void free_loop(const char *device)
{
	const char *argv[] = { "losetup", "--detach", device, NULL };
	const struct cleat_spawn how = { .argv = argv, .keep_fd = -1, .limit_ms = 20000 };
	struct cleat_error err = CLEAT_ERROR_INIT;

	run_lab_ok(cleat_sys_spawn(&how, NULL, 0, NULL, &err), &err);
}

static void test_block__device_belongs_to_the_tasks_user(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1",
					    "head -n 1 /dev/mine; ls -l /dev/mine | cut -c1; echo written | "
					    "dd of=/dev/mine conv=notrunc 2>/dev/null; "
					    "head -n 1 /dev/mine");
	const char *device = make_loop(lab);

	if (!device) {
		print_message("there are no loop devices here\n");
		skip();
	}
	spec.user = strdup("1234:1234");
	run_lab_mount(&spec, device, "/dev/mine", false, NULL);
	/* Outside of /dev it is the host's node, which is for root. */
	struct run_spec root = run_lab_spec(lab, "t2", "head -n 1 /blocks/mine");
	run_lab_mount(&root, device, "/blocks/mine", false, NULL);
	assert_string_equal(say(lab, &spec), "on the device\nb\nwritten\n");
	assert_string_equal(say(lab, &root), "written\n");
	struct run_spec fixed = run_lab_spec(
		lab, "t3", "head -n 1 /dev/fixed; sh -c 'echo > /dev/fixed' 2>/dev/null || echo fixed");
	run_lab_mount(&fixed, device, "/dev/fixed", true, NULL);
	assert_string_equal(say(lab, &fixed), "written\nfixed\n");
	free_loop(device);
}

/* ---- labels ---- */

static void label_of(const struct run_lab *lab, const char *name, char label[64])
{
	ssize_t n = lgetxattr(run_lab_join(lab, name), "security.selinux", label, 63);

	label[n > 0 ? n : 0] = '\0';
}

static void test_relabel__covers_the_tree_and_not_what_is_mounted_in_it(void **state)
{
	const struct run_lab *lab = *state;
	static const char label[] = "system_u:object_r:container_file_t:s0";
	struct cleat_error err = CLEAT_ERROR_INIT;
	char found[64];

	make_dir(lab, "tree");
	make_dir(lab, "tree/dir");
	run_lab_write(lab, "tree/dir/file", "");
	run_lab_write(lab, "outside", "");
	assert_int_equal(symlink("../outside", run_lab_join(lab, "tree/link")), 0);
	mount_at(lab, "tree/mounted", 0);
	run_lab_ok(run_relabel(run_lab_join(lab, "tree"), label, &err), &err);
	for (const char *const *p = (const char *const[]){ "tree", "tree/dir", "tree/dir/file", NULL }; *p;
	     p++) {
		label_of(lab, *p, found);
		assert_string_equal(found, label);
	}
	label_of(lab, "outside", found);
	assert_string_not_equal(found, label);
	label_of(lab, "tree/mounted", found);
	assert_string_not_equal(found, label);
	unmount_at(lab, "tree/mounted");
	run_lab_expect(run_relabel(run_lab_join(lab, "gone"), label, &err), &err, CLEAT_NOT_FOUND, "gone");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_TEST(test_mount__is_writable_or_not),
		RUN_TEST(test_mount__inner_ones_come_after_outer_ones),
		RUN_TEST(test_mount__keeps_the_restrictions_of_its_source),
		RUN_TEST(test_mount__is_free_again_when_the_task_runs_on_elsewhere),
		RUN_TEST(test_mount__bad_ones_are_refused),
		RUN_TEST(test_propagation__is_as_asked_for),
		RUN_TEST(test_propagation__that_cannot_be_is_noted),
		RUN_TEST(test_block__device_belongs_to_the_tasks_user),
		RUN_TEST(test_relabel__covers_the_tree_and_not_what_is_mounted_in_it),
	};
	int skip = run_lab_need();

	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
