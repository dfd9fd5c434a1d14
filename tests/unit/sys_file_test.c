/* Tests of core/sys/file.c, copy.c and tree.c on real files. */
#include "sys_lab.h"

#include "sys/file.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- opening ---- */

static void test_file__open_root_follows_configured_links_and_wants_a_directory(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoclose int fd = -1;

	lab_mkdir(lab, "real");
	lab_write(lab, "file", "x");
	assert_int_equal(symlinkat("real", lab->fd, "link"), 0);
	lab_ok(cleat_sys_open_root(lab_join(lab, "link"), &fd, &err), &err);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	int before = fd;
	lab_expect(cleat_sys_open_root(lab_join(lab, "file"), &fd, &err), &err, CLEAT_FAILED_PRECONDITION,
		   "Not a directory");
	lab_expect(cleat_sys_open_root(lab_join(lab, "none"), &fd, &err), &err, CLEAT_NOT_FOUND, "none'");
	lab_expect(cleat_sys_open_root("tmp", &fd, &err), &err, CLEAT_INVALID_ARGUMENT, "absolute");
	assert_int_equal(fd, before); /* an output is not touched on failure */
}

static void test_file__open_at_stays_beneath_and_follows_no_link(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	int fd = -1;

	lab_mkdir(lab, "a");
	lab_mkdir(lab, "a/b");
	lab_write(lab, "a/b/file", "deep");
	assert_int_equal(symlinkat("b", lab->fd, "a/link"), 0);
	assert_int_equal(symlinkat("/etc/passwd", lab->fd, "out"), 0);
	lab_ok(cleat_sys_open_at(lab->fd, "a/b/file", O_RDONLY, 0, &fd, &err), &err);
	close(fd);
	static const struct {
		const char *path;
		enum cleat_code code;
		const char *words;
	} bad[] = {
		{ "a/link/file", CLEAT_FAILED_PRECONDITION, "symbolic link" },
		{ "out", CLEAT_FAILED_PRECONDITION, "symbolic link" },
		{ "..", CLEAT_INVALID_ARGUMENT, "leads out" },
		{ "a/../../etc", CLEAT_INVALID_ARGUMENT, "leads out" },
		{ "/etc/passwd", CLEAT_INVALID_ARGUMENT, "leads out" },
		{ "a/none", CLEAT_NOT_FOUND, "a/none" },
		{ "a/b/file/x", CLEAT_FAILED_PRECONDITION, "Not a directory" },
		{ "", CLEAT_NOT_FOUND, "No such file" },
	};
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++)
		lab_expect(cleat_sys_open_at(lab->fd, bad[i].path, O_RDONLY, 0, &fd, &err), &err, bad[i].code,
			   bad[i].words);
	lab_ok(cleat_sys_open_at(lab->fd, "a", O_PATH | O_DIRECTORY, 0, &fd, &err), &err);
	close(fd);
}

static void test_file__open_at_makes_files_with_their_mode(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct stat st;
	int fd = -1;

	lab_inject("open", 0, 0);
	lab_ok(cleat_sys_open_at(lab->fd, "new", O_RDWR | O_CREAT | O_EXCL, 0640, &fd, &err), &err);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	assert_int_equal(lab_steps("open"), 1);
	/* reading changes nothing and is no step */
	lab_ok(cleat_sys_open_at(lab->fd, "new", O_RDONLY, 0644, &fd, &err), &err);
	close(fd);
	assert_int_equal(lab_steps("open"), 1);
	lab_expect(cleat_sys_open_at(lab->fd, "new", O_RDWR | O_CREAT | O_EXCL, 0640, &fd, &err), &err,
		   CLEAT_ALREADY_EXISTS, "new");
	lab_inject_off();
}

/* ---- directories and names ---- */

static void test_file__mkdir_path_makes_what_is_missing(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct stat st;

	lab_inject("mkdir", 0, 0);
	lab_ok(cleat_sys_mkdir_path(lab_join(lab, "x/y//z/"), 0750, &err), &err);
	assert_int_equal(lab_steps("mkdir"), 3);
	lab_ok(cleat_sys_mkdir_path(lab_join(lab, "x/y/z"), 0700, &err), &err);
	assert_int_equal(lab_steps("mkdir"), 3);
	assert_int_equal(stat(lab_join(lab, "x/y/z"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	lab_write(lab, "file", "");
	lab_expect(cleat_sys_mkdir_path(lab_join(lab, "file/sub"), 0750, &err), &err,
		   CLEAT_FAILED_PRECONDITION, "Not a directory");
	lab_expect(cleat_sys_mkdir_path("relative", 0750, &err), &err, CLEAT_INVALID_ARGUMENT, "absolute");
	lab_inject("mkdir", 2, ENOSPC);
	lab_expect(cleat_sys_mkdir_path(lab_join(lab, "p/q/r"), 0750, &err), &err, CLEAT_RESOURCE_EXHAUSTED,
		   "p/q'");
	lab_inject_off();
	assert_true(lab_exists(lab, "p"));
	assert_false(lab_exists(lab, "p/q"));
}

static void test_file__mkdir_at_takes_an_existing_directory_only_when_told(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_ok(cleat_sys_mkdir_at(lab->fd, "d", 0700, false, &err), &err);
	lab_ok(cleat_sys_mkdir_at(lab->fd, "d", 0700, true, &err), &err);
	lab_expect(cleat_sys_mkdir_at(lab->fd, "d", 0700, false, &err), &err, CLEAT_ALREADY_EXISTS, "'d'");
	lab_write(lab, "f", "");
	assert_int_equal(symlinkat("d", lab->fd, "l"), 0);
	lab_expect(cleat_sys_mkdir_at(lab->fd, "f", 0700, true, &err), &err, CLEAT_ALREADY_EXISTS, "'f'");
	lab_expect(cleat_sys_mkdir_at(lab->fd, "l", 0700, true, &err), &err, CLEAT_ALREADY_EXISTS, "'l'");
}

static void test_file__names_are_single_components(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "/", "a/" };
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		const enum cleat_code want = CLEAT_INVALID_ARGUMENT;
		assert_int_equal(cleat_sys_mkdir_at(lab->fd, bad[i], 0700, true, &err), want);
		assert_int_equal(cleat_sys_unlink_at(lab->fd, bad[i], 0, &err), want);
		assert_int_equal(cleat_sys_rename_at(lab->fd, bad[i], lab->fd, "x", false, &err), want);
		assert_int_equal(cleat_sys_rename_at(lab->fd, "x", lab->fd, bad[i], false, &err), want);
		assert_int_equal(cleat_sys_remove_tree(lab->fd, bad[i], &err), want);
		assert_int_equal(cleat_sys_replace_file(lab->fd, bad[i], "", 0, 0600, false, &err), want);
	}
}

static void test_file__unlink_of_what_is_gone_is_ok(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_write(lab, "f", "");
	lab_mkdir(lab, "d");
	lab_mkdir(lab, "d/in");
	lab_ok(cleat_sys_unlink_at(lab->fd, "f", 0, &err), &err);
	lab_ok(cleat_sys_unlink_at(lab->fd, "f", 0, &err), &err);
	lab_expect(cleat_sys_unlink_at(lab->fd, "d", 0, &err), &err, CLEAT_FAILED_PRECONDITION,
		   "Is a directory");
	lab_expect(cleat_sys_unlink_at(lab->fd, "d", AT_REMOVEDIR, &err), &err, CLEAT_FAILED_PRECONDITION,
		   "not empty");
	assert_int_equal(unlinkat(lab->fd, "d/in", AT_REMOVEDIR), 0);
	lab_ok(cleat_sys_unlink_at(lab->fd, "d", AT_REMOVEDIR, &err), &err);
	lab_ok(cleat_sys_unlink_at(lab->fd, "d", AT_REMOVEDIR, &err), &err);
}

static void test_file__rename_without_replacing_keeps_the_target(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char text[16];

	lab_write(lab, "a", "A");
	lab_write(lab, "b", "B");
	lab_expect(cleat_sys_rename_at(lab->fd, "a", lab->fd, "b", true, &err), &err, CLEAT_ALREADY_EXISTS,
		   "'a' to 'b'");
	lab_read(lab, "b", text, sizeof(text));
	assert_string_equal(text, "B");
	lab_ok(cleat_sys_rename_at(lab->fd, "a", lab->fd, "b", false, &err), &err);
	lab_read(lab, "b", text, sizeof(text));
	assert_string_equal(text, "A");
	lab_expect(cleat_sys_rename_at(lab->fd, "a", lab->fd, "b", false, &err), &err, CLEAT_NOT_FOUND,
		   "'a'");
	lab_mkdir(lab, "d");
	lab_mkdir(lab, "e");
	lab_write(lab, "e/full", "");
	lab_expect(cleat_sys_rename_at(lab->fd, "d", lab->fd, "e", false, &err), &err,
		   CLEAT_FAILED_PRECONDITION, "not empty");
	lab_expect(cleat_sys_rename_at(lab->fd, "d", lab->fd, "e", true, &err), &err, CLEAT_ALREADY_EXISTS,
		   "'e'");
}

/* ---- reading and writing ---- */

static void test_file__read_file_is_bounded_and_leaves_the_buffer_alone_on_failure(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autobuf struct cleat_buf buf = CLEAT_BUF_INIT(100000);

	lab_write(lab, "ten", "0123456789");
	lab_mkdir(lab, "d");
	assert_int_equal(mkfifoat(lab->fd, "pipe", 0600), 0);
	cleat_buf_adds(&buf, "before ");
	lab_ok(cleat_sys_read_file(lab->fd, "ten", 10, &buf, &err), &err);
	assert_string_equal(cleat_buf_text(&buf), "before 0123456789");
	lab_expect(cleat_sys_read_file(lab->fd, "ten", 9, &buf, &err), &err, CLEAT_DATA_LOSS,
		   "larger than 9");
	lab_expect(cleat_sys_read_file(lab->fd, "none", 9, &buf, &err), &err, CLEAT_NOT_FOUND, "none");
	lab_expect(cleat_sys_read_file(lab->fd, "d", 9, &buf, &err), &err, CLEAT_FAILED_PRECONDITION,
		   "regular");
	lab_expect(cleat_sys_read_file(lab->fd, "pipe", 9, &buf, &err), &err, CLEAT_FAILED_PRECONDITION,
		   "regular");
	assert_string_equal(cleat_buf_text(&buf), "before 0123456789");
}

static void test_file__read_file_reads_more_than_one_chunk(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autobuf struct cleat_buf buf = CLEAT_BUF_INIT(200000);
	char *text = malloc(100001);

	memset(text, 'x', 100000);
	text[100000] = '\0';
	text[99999] = 'y';
	lab_write(lab, "big", text);
	lab_ok(cleat_sys_read_file(lab->fd, "big", 100000, &buf, &err), &err);
	assert_int_equal(buf.len, 100000);
	assert_string_equal(buf.data, text);
	free(text);
}

/* Every step of replacing fails once: the old content stays, and no temporary file does. */
static void test_file__replace_file_is_all_or_nothing(void **state)
{
	static const struct {
		const char *call;
		enum cleat_code code;
	} steps[] = { { "open", CLEAT_RESOURCE_EXHAUSTED },
		      { "write", CLEAT_RESOURCE_EXHAUSTED },
		      { "fsync", CLEAT_RESOURCE_EXHAUSTED },
		      { "renameat2", CLEAT_RESOURCE_EXHAUSTED } };
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char text[16];

	lab_mkdir(lab, "d");
	int fd = openat(lab->fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lab_ok(cleat_sys_replace_file(fd, "f", "old", 3, 0600, true, &err), &err);
	for (size_t i = 0; i < CLEAT_COUNT(steps); i++) {
		lab_inject(steps[i].call, 1, ENOSPC);
		assert_int_equal(cleat_sys_replace_file(fd, "f", "new", 3, 0600, true, &err), steps[i].code);
		lab_inject_off();
		lab_read(lab, "d/f", text, sizeof(text));
		assert_string_equal(text, "old");
		assert_int_equal(unlinkat(fd, "f", 0), 0);
		assert_int_equal(unlinkat(lab->fd, "d", AT_REMOVEDIR),
				 0); /* so there was nothing else in it */
		lab_mkdir(lab, "d");
		close(fd);
		fd = openat(lab->fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		lab_ok(cleat_sys_replace_file(fd, "f", "old", 3, 0600, false, &err), &err);
	}
	/* the directory's own fsync comes after the rename: the new file is there, but not promised */
	lab_inject("fsync", 2, EIO);
	lab_expect(cleat_sys_replace_file(fd, "f", "new", 3, 0600, true, &err), &err, CLEAT_INTERNAL,
		   "fsync 'f'");
	lab_read(lab, "d/f", text, sizeof(text));
	assert_string_equal(text, "new");
	lab_inject("fsync", 0, 0);
	lab_ok(cleat_sys_replace_file(fd, "f", "newer", 5, 0600, false, &err), &err);
	assert_int_equal(lab_steps("fsync"), 1);
	lab_inject_off();
	close(fd);
}

static void *write_to_pipe(void *arg)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	int fd = *(int *)arg;
	char *bytes = malloc(1 << 20);

	memset(bytes, 'w', 1 << 20);
	enum cleat_code code = cleat_sys_write(fd, bytes, 1 << 20, "pipe", &err);
	close(fd);
	free(bytes);
	return code == CLEAT_OK ? arg : NULL;
}

static void test_file__write_goes_on_after_short_writes(void **state)
{
	char chunk[7777];
	size_t total = 0;
	pthread_t thread;
	void *ok = NULL;
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0); /* takes 64 KiB at a time */
	assert_int_equal(pthread_create(&thread, NULL, write_to_pipe, &ends[1]), 0);
	for (ssize_t got; (got = read(ends[0], chunk, sizeof(chunk))) > 0;)
		total += (size_t)got;
	pthread_join(thread, &ok);
	close(ends[0]);
	assert_non_null(ok);
	assert_int_equal(total, 1 << 20);
}

static void test_file__sizes_are_set_allocated_and_checked(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoclose int fd = lab_sparse(lab, "f", 0);
	struct stat st;

	lab_ok(cleat_sys_truncate(fd, 3 * LAB_MIB, "f", &err), &err);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 3 * LAB_MIB);
	assert_true((uint64_t)st.st_blocks * 512 < LAB_MIB);
	lab_ok(cleat_sys_allocate(fd, 2 * LAB_MIB, "f", &err), &err);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= 2 * LAB_MIB);
	assert_int_equal(st.st_size, 3 * LAB_MIB);
	lab_ok(cleat_sys_allocate(fd, 0, "f", &err), &err);
	lab_expect(cleat_sys_truncate(fd, UINT64_MAX, "f", &err), &err, CLEAT_INVALID_ARGUMENT, "too large");
	lab_expect(cleat_sys_allocate(fd, UINT64_MAX, "f", &err), &err, CLEAT_INVALID_ARGUMENT, "too large");
	lab_ok(cleat_sys_fsync(fd, "f", &err), &err);
	lab_ok(cleat_sys_syncfs(fd, "f", &err), &err);
	lab_expect(cleat_sys_fsync(-1, "f", &err), &err, CLEAT_INTERNAL, "fsync 'f': Bad file descriptor");
}

/* Each of the simple calls fails as its injected errno says, names itself, and did nothing. */
static void test_file__injected_errors_look_like_the_kernels(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoclose int fd = lab_sparse(lab, "f", 10);
	struct stat st;

#define FAILS(call, expression, words)                                                                       \
	do {                                                                                                 \
		lab_inject(call, 1, EDQUOT);                                                                 \
		lab_expect(expression, &err, CLEAT_RESOURCE_EXHAUSTED, words);                               \
		assert_true(err.retry);                                                                      \
		assert_non_null(strstr(err.msg, "Disk quota exceeded"));                                     \
		lab_inject_off();                                                                            \
	} while (0)
	FAILS("mkdirat", cleat_sys_mkdir_at(lab->fd, "n", 0700, true, &err), "mkdir 'n'");
	FAILS("unlinkat", cleat_sys_unlink_at(lab->fd, "f", 0, &err), "remove 'f'");
	FAILS("unlinkat", cleat_sys_remove_tree(lab->fd, "f", &err), "remove 'f'");
	FAILS("renameat2", cleat_sys_rename_at(lab->fd, "f", lab->fd, "g", false, &err), "rename 'f' to 'g'");
	FAILS("open", cleat_sys_open_at(lab->fd, "n", O_WRONLY | O_CREAT, 0600, &fd, &err), "open 'n'");
	FAILS("open", cleat_sys_open_at(lab->fd, "f", O_WRONLY | O_TRUNC, 0600, &fd, &err), "open 'f'");
	FAILS("fsync", cleat_sys_fsync(fd, "f", &err), "fsync 'f'");
	FAILS("syncfs", cleat_sys_syncfs(fd, "f", &err), "syncfs 'f'");
	FAILS("write", cleat_sys_write(fd, "x", 1, "f", &err), "write 'f'");
	FAILS("ftruncate", cleat_sys_truncate(fd, 5, "f", &err), "truncate 'f' to 5 bytes");
	FAILS("fallocate", cleat_sys_allocate(fd, 5000000, "f", &err), "allocate 5000000 bytes for 'f'");
	FAILS("ioctl(FICLONE)", cleat_sys_clone_file(fd, fd, "f", &err), "clone 'f'");
	FAILS("ftruncate", cleat_sys_copy_file(fd, fd, "f", NULL, NULL, &err), "truncate 'f'");
	FAILS("fchownat", cleat_sys_set_owner(fd, 1, 1, 0777, "f", &err), "owner of 'f'");
	FAILS("fchmod", cleat_sys_set_owner(fd, (uid_t)-1, (gid_t)-1, 0777, "f", &err), "mode of 'f'");
	FAILS("flock", cleat_sys_lock(fd, "f", &err), "lock 'f'");
#undef FAILS
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 10);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, 0);
	assert_false(lab_exists(lab, "n"));
	assert_true(lab_exists(lab, "f"));
	assert_int_equal(cleat_sys_fsync(-1, "f", NULL), CLEAT_INTERNAL); /* an error may be NULL */
}

/* ---- owner, lock, space ---- */

static void test_file__set_owner_is_exact(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct stat st;
	mode_t mask = umask(0077);

	lab_mkdir(lab, "d");
	cleat_autoclose int by_path = openat(lab->fd, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleat_autoclose int fd = openat(lab->fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lab_ok(cleat_sys_set_owner(fd, 1234, 2345, 06775, "d", &err), &err);
	umask(mask);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 2345);
	assert_int_equal(st.st_mode & 07777, 06775); /* chown takes the set-uid bit, chmod comes after */
	lab_ok(cleat_sys_set_owner(by_path, (uid_t)-1, 99, 0700, "d", &err), &err);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 99);
	assert_int_equal(st.st_mode & 07777, 0700);
	lab_inject(NULL, 0, 0);
	lab_ok(cleat_sys_set_owner(fd, (uid_t)-1, (gid_t)-1, (mode_t)-1, "d", &err), &err);
	assert_int_equal(lab_steps("fchownat") + lab_steps("fchmod"), 0);
	lab_inject_off();
}

static void test_file__lock_is_of_the_open_file_and_refused_to_others(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoclose int fd = lab_sparse(lab, "f", 0);
	int other = openat(lab->fd, "f", O_RDONLY | O_CLOEXEC);

	lab_ok(cleat_sys_lock(fd, "f", &err), &err);
	lab_ok(cleat_sys_lock(fd, "f", &err), &err);
	lab_expect(cleat_sys_lock(other, "f", &err), &err, CLEAT_FAILED_PRECONDITION,
		   "held by another process");
	int twin = dup(fd);
	close(fd);
	fd = -1;
	assert_int_equal(cleat_sys_lock(other, "f", &err),
			 CLEAT_FAILED_PRECONDITION); /* the twin still has it */
	close(twin);
	lab_ok(cleat_sys_lock(other, "f", &err), &err);
	close(other);
}

static void test_file__space_tells_what_statfs_tells(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_sys_space space;

	lab_mkdir(lab, "m");
	assert_int_equal(mount("lab", lab_join(lab, "m"), "tmpfs", 0, "size=8m,nr_inodes=100"), 0);
	int fd = openat(lab->fd, "m", O_PATH | O_DIRECTORY | O_CLOEXEC);
	lab_ok(cleat_sys_space(fd, "m", &space, &err), &err);
	assert_int_equal(space.total_bytes, 8 * LAB_MIB);
	assert_int_equal(space.available_bytes, 8 * LAB_MIB);
	assert_int_equal(space.total_inodes, 100);
	assert_int_equal(space.free_inodes, 99);
	assert_false(space.read_only);
	lab_write(lab, "m/f", "some");
	assert_int_equal(mount(NULL, lab_join(lab, "m"), NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	lab_ok(cleat_sys_space(fd, "m", &space, &err), &err);
	assert_true(space.free_bytes < 8 * LAB_MIB);
	assert_true(space.read_only);
	close(fd);
	assert_int_equal(umount2(lab_join(lab, "m"), 0), 0);
	lab_expect(cleat_sys_space(-1, "m", &space, &err), &err, CLEAT_INTERNAL, "statfs 'm'");
}

/* ---- copying ---- */

struct told {
	uint64_t done, total;
	int calls;
	bool backwards;
};

static void tell(uint64_t done, uint64_t total, void *arg)
{
	struct told *told = arg;

	told->backwards |= done < told->done;
	told->done = done;
	told->total = total;
	told->calls++;
}

static void fill(int fd, off_t at, size_t n, char byte)
{
	char *bytes = malloc(n);

	memset(bytes, byte, n);
	assert_int_equal(pwrite(fd, bytes, n, at), n);
	free(bytes);
}

static bool same_content(int a, int b)
{
	char x[65536], y[65536];
	off_t at = 0;

	for (;;) {
		ssize_t m = pread(a, x, sizeof(x), at), n = pread(b, y, sizeof(y), at);
		if (m != n || memcmp(x, y, (size_t)m) != 0)
			return false;
		if (m == 0)
			return true;
		at += m;
	}
}

static void test_file__copy_keeps_holes_and_tells_its_progress(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoclose int from = lab_sparse(lab, "from", 300 * LAB_MIB + 5);
	cleat_autoclose int to =
		lab_sparse(lab, "to", 1000); /* with old content where the source has a hole */
	struct told told = { 0, 0, 0, false };
	struct stat st;

	fill(to, 0, 1000, 'o');
	fill(from, 10 * LAB_MIB, 40 * LAB_MIB, 'a');
	fill(from, 200 * LAB_MIB + 123, 5000, 'b');
	fill(from, 300 * LAB_MIB, 5, 'c');
	lab_ok(cleat_sys_copy_file(from, to, "f", tell, &told, &err), &err);
	assert_true(same_content(from, to));
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 300 * LAB_MIB + 5);
	assert_true((uint64_t)st.st_blocks * 512 < 45 * LAB_MIB);
	assert_int_equal(told.done, 300 * LAB_MIB + 5);
	assert_int_equal(told.total, told.done);
	assert_true(told.calls >= 5);
	assert_false(told.backwards);
}

static void test_file__copy_by_hand_where_the_kernel_cannot(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoclose int from = lab_sparse(lab, "from", 9 * LAB_MIB);

	fill(from, 0, 3 * LAB_MIB + 17, 'a');
	fill(from, 6 * LAB_MIB, 100, 'b');
	for (int e = EXDEV; e; e = e == EXDEV ? EOPNOTSUPP : e == EOPNOTSUPP ? EINVAL : 0) {
		cleat_autoclose int to = lab_sparse(lab, "to", 0);
		struct stat st;
		lab_inject("copy_file_range", 1, e);
		lab_ok(cleat_sys_copy_file(from, to, "f", NULL, NULL, &err), &err);
		assert_int_equal(lab_steps("copy_file_range"), 1);
		assert_true(lab_steps("pwrite") >= 4);
		lab_inject_off();
		assert_true(same_content(from, to));
		assert_int_equal(fstat(to, &st), 0);
		assert_true((uint64_t)st.st_blocks * 512 < 5 * LAB_MIB);
		assert_int_equal(unlinkat(lab->fd, "to", 0), 0);
	}
	cleat_autoclose int to = lab_sparse(lab, "to", 0);
	lab_inject("copy_file_range", 1, EIO);
	lab_expect(cleat_sys_copy_file(from, to, "f", NULL, NULL, &err), &err, CLEAT_INTERNAL, "copy 'f'");
	lab_inject_off();
}

static void test_file__copy_of_nothing_and_of_one_hole(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autoclose int from = lab_sparse(lab, "from", 0);
	cleat_autoclose int to = lab_sparse(lab, "to", 77);
	struct stat st;

	lab_ok(cleat_sys_copy_file(from, to, "f", NULL, NULL, &err), &err);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(ftruncate(from, (off_t)(100 * LAB_MIB)), 0);
	lab_ok(cleat_sys_copy_file(from, to, "f", NULL, NULL, &err), &err);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 100 * LAB_MIB);
	assert_int_equal(st.st_blocks, 0);
}

static void test_file__clone_without_reflinks_is_unimplemented(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "m");
	assert_int_equal(mount("lab", lab_join(lab, "m"), "tmpfs", 0, "size=8m"), 0);
	int from = lab_sparse(lab, "m/from", 4096), to = lab_sparse(lab, "m/to", 0);
	lab_expect(cleat_sys_clone_file(from, to, "f", &err), &err, CLEAT_UNIMPLEMENTED, "clone 'f'");
	close(from);
	close(to);
	assert_int_equal(umount2(lab_join(lab, "m"), 0), 0);
}

/* ---- trees ---- */

static void test_file__remove_tree_takes_all_and_follows_nothing(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "keep");
	lab_write(lab, "keep/file", "x");
	lab_mkdir(lab, "t");
	lab_mkdir(lab, "t/a");
	lab_mkdir(lab, "t/a/b");
	lab_write(lab, "t/a/b/f", "x");
	lab_write(lab, "t/.hidden", "x");
	lab_mkdir(lab, "t/..twodots");
	assert_int_equal(symlinkat("../keep", lab->fd, "t/link"), 0);
	assert_int_equal(symlinkat("../../keep/file", lab->fd, "t/a/link"), 0);
	assert_int_equal(mkfifoat(lab->fd, "t/pipe", 0600), 0);
	assert_int_equal(fchmodat(lab->fd, "t/a", 0, 0), 0);
	lab_ok(cleat_sys_remove_tree(lab->fd, "t", &err), &err);
	assert_false(lab_exists(lab, "t"));
	assert_true(lab_exists(lab, "keep/file"));
	lab_ok(cleat_sys_remove_tree(lab->fd, "t", &err), &err); /* gone is OK */
	assert_int_equal(symlinkat("keep", lab->fd, "l"), 0);
	lab_ok(cleat_sys_remove_tree(lab->fd, "l", &err), &err); /* the link, not what it names */
	assert_false(lab_exists(lab, "l"));
	assert_true(lab_exists(lab, "keep/file"));
	lab_ok(cleat_sys_remove_tree(lab->fd, "keep", &err), &err);
}

static void test_file__remove_tree_never_crosses_a_mount(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "other");
	lab_write(lab, "other/precious", "x");
	lab_mkdir(lab, "t");
	lab_mkdir(lab, "t/sub");
	lab_mkdir(lab, "t/sub/m");
	/* a bind of the same file system: the device number does not tell it */
	assert_int_equal(mount(lab_join(lab, "other"), lab_join(lab, "t/sub/m"), NULL, MS_BIND, NULL), 0);
	lab_expect(cleat_sys_remove_tree(lab->fd, "t", &err), &err, CLEAT_FAILED_PRECONDITION,
		   "'t/sub/m': something is mounted there");
	assert_true(lab_exists(lab, "other/precious"));
	assert_int_equal(umount2(lab_join(lab, "t/sub/m"), 0), 0);
	/* the top itself, and a file that is a mount point */
	assert_int_equal(mount(lab_join(lab, "other"), lab_join(lab, "t"), NULL, MS_BIND, NULL), 0);
	lab_expect(cleat_sys_remove_tree(lab->fd, "t", &err), &err, CLEAT_FAILED_PRECONDITION,
		   "'t': something is");
	assert_true(lab_exists(lab, "other/precious"));
	assert_int_equal(umount2(lab_join(lab, "t"), 0), 0);
	lab_write(lab, "t/target", "");
	assert_int_equal(
		mount(lab_join(lab, "other/precious"), lab_join(lab, "t/target"), NULL, MS_BIND, NULL), 0);
	lab_expect(cleat_sys_remove_tree(lab->fd, "t", &err), &err, CLEAT_FAILED_PRECONDITION,
		   "'t/target': something");
	assert_int_equal(umount2(lab_join(lab, "t/target"), 0), 0);
	lab_ok(cleat_sys_remove_tree(lab->fd, "t", &err), &err);
	assert_true(lab_exists(lab, "other/precious"));
}

static bool set_immutable(const struct lab *lab, const char *name, bool on)
{
	int fd = openat(lab->fd, name, O_RDONLY | O_CLOEXEC);
	int flags = 0;
	bool ok = fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;

	flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
	ok = ok && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
	close(fd);
	return ok;
}

static void test_file__remove_tree_says_what_is_immutable(void **state)
{
	static const char *const names[] = { "t/a/f", "t/a", "t" };
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_mkdir(lab, "t");
	lab_mkdir(lab, "t/a");
	lab_write(lab, "t/a/f", "x");
	if (!set_immutable(lab, "t/a/f", true)) {
		print_message("the file system of /tmp has no immutable attribute: nothing to see\n");
		lab_ok(cleat_sys_remove_tree(lab->fd, "t", &err), &err);
		skip();
	}
	set_immutable(lab, "t/a/f", false);
	for (size_t i = 0; i < CLEAT_COUNT(names); i++) {
		assert_true(set_immutable(lab, names[i], true));
		enum cleat_code code = cleat_sys_remove_tree(lab->fd, "t", &err);
		assert_true(set_immutable(lab, names[i], false));
		lab_expect(code, &err, CLEAT_FAILED_PRECONDITION, "immutable");
		assert_true(lab_exists(lab, names[i]));
	}
	lab_ok(cleat_sys_remove_tree(lab->fd, "t", &err), &err);
}

static void test_file__remove_tree_bounds_its_depth(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	int fd = dup(lab->fd);

	for (int i = 0; i < 257; i++) {
		int next;
		assert_int_equal(mkdirat(fd, i == 0 ? "t" : "d", 0755), 0);
		next = openat(fd, i == 0 ? "t" : "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	lab_expect(cleat_sys_remove_tree(lab->fd, "t", &err), &err, CLEAT_FAILED_PRECONDITION,
		   "more than 256 deep");
	/* one level less is fine */
	assert_int_equal(renameat(lab->fd, "t/d", lab->fd, "s"), 0);
	lab_ok(cleat_sys_remove_tree(lab->fd, "s", &err), &err);
	lab_ok(cleat_sys_remove_tree(lab->fd, "t", &err), &err);
}

static void test_file__remove_tree_is_quick_with_many_files(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char name[64];
	int count = getenv("CLEAT_TEST_MANY") ? 100000 : 20000;

	lab_mkdir(lab, "t");
	for (int i = 0; i < count; i++) {
		if (i % 5000 == 0) {
			snprintf(name, sizeof(name), "t/%d", i / 5000);
			lab_mkdir(lab, name);
		}
		snprintf(name, sizeof(name), "t/%d/%d", i / 5000, i);
		int fd = openat(lab->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	int64_t start_ms = cleat_time_mono_ms();
	lab_ok(cleat_sys_remove_tree(lab->fd, "t", &err), &err);
	print_message("%d files in %lld ms\n", count, (long long)(cleat_time_mono_ms() - start_ms));
	assert_false(lab_exists(lab, "t"));
	assert_true(cleat_time_mono_ms() - start_ms < 60000);
}

static void test_file__remove_tree_stops_at_an_injected_error_and_goes_on_later(void **state)
{
	const struct lab *lab = *state;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char name[32];

	for (int fail_at = 1; fail_at <= 8; fail_at++) {
		lab_mkdir(lab, "t");
		lab_mkdir(lab, "t/d");
		for (int i = 0; i < 4; i++) {
			snprintf(name, sizeof(name), "t/%s%d", i % 2 ? "d/" : "", i);
			lab_write(lab, name, "x");
		}
		/* unlink of the top, 4 files, 2 directories: 7 steps */
		lab_inject("unlinkat", fail_at, EIO);
		enum cleat_code code = cleat_sys_remove_tree(lab->fd, "t", &err);
		int steps = lab_steps("unlinkat");
		lab_inject_off();
		assert_int_equal(code, fail_at <= 7 ? CLEAT_INTERNAL : CLEAT_OK);
		assert_int_equal(steps, fail_at <= 7 ? fail_at : 7);
		lab_ok(cleat_sys_remove_tree(lab->fd, "t", &err), &err);
		assert_false(lab_exists(lab, "t"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_file__open_root_follows_configured_links_and_wants_a_directory),
		LAB_TEST(test_file__open_at_stays_beneath_and_follows_no_link),
		LAB_TEST(test_file__open_at_makes_files_with_their_mode),
		LAB_TEST(test_file__mkdir_path_makes_what_is_missing),
		LAB_TEST(test_file__mkdir_at_takes_an_existing_directory_only_when_told),
		LAB_TEST(test_file__names_are_single_components),
		LAB_TEST(test_file__unlink_of_what_is_gone_is_ok),
		LAB_TEST(test_file__rename_without_replacing_keeps_the_target),
		LAB_TEST(test_file__read_file_is_bounded_and_leaves_the_buffer_alone_on_failure),
		LAB_TEST(test_file__read_file_reads_more_than_one_chunk),
		LAB_TEST(test_file__replace_file_is_all_or_nothing),
		LAB_TEST(test_file__write_goes_on_after_short_writes),
		LAB_TEST(test_file__sizes_are_set_allocated_and_checked),
		LAB_TEST(test_file__injected_errors_look_like_the_kernels),
		LAB_TEST(test_file__set_owner_is_exact),
		LAB_TEST(test_file__lock_is_of_the_open_file_and_refused_to_others),
		LAB_TEST(test_file__space_tells_what_statfs_tells),
		LAB_TEST(test_file__copy_keeps_holes_and_tells_its_progress),
		LAB_TEST(test_file__copy_by_hand_where_the_kernel_cannot),
		LAB_TEST(test_file__copy_of_nothing_and_of_one_hole),
		LAB_TEST(test_file__clone_without_reflinks_is_unimplemented),
		LAB_TEST(test_file__remove_tree_takes_all_and_follows_nothing),
		LAB_TEST(test_file__remove_tree_never_crosses_a_mount),
		LAB_TEST(test_file__remove_tree_says_what_is_immutable),
		LAB_TEST(test_file__remove_tree_bounds_its_depth),
		LAB_TEST(test_file__remove_tree_is_quick_with_many_files),
		LAB_TEST(test_file__remove_tree_stops_at_an_injected_error_and_goes_on_later),
	};
	int skip = lab_need_root();

	return skip ? skip : cmocka_run_group_tests_name("sys_file", tests, NULL, NULL);
}
