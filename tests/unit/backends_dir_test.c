/* backends_dir_test.c - the dir backend where nothing enforces sizes: plain directories on the machine's own
 * file system. */
#include "tree_lab.h"

#include "sys/mount.h"
#include "util/kv.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

extern const struct cleat_backend cleat_backend_dir;

#define TREE_TEST(function) cmocka_unit_test_setup_teardown(function, tree_setup_plain, tree_teardown)

static void open_pool(struct tree_lab *t)
{
	tree_open(t, &cleat_backend_dir, NULL);
}

static enum cleat_code try_create(struct tree_lab *t, const struct cleat_record *wish,
				  const struct cleat_record *source, const struct cleat_where *where)
{
	cleat_autorecord struct cleat_record *rec = NULL;

	return t->b->create(t->pool, NULL, wish, source, where, &rec, &t->err);
}

/* ---- what it promises ------------------------------------------------------------------------ */

static void test_dir__promises_no_size(void **state)
{
	struct tree_lab *t = *state;

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", TREE_SIZE + 1);
	cleat_autorecord struct cleat_record *none = tree_make(t, "def", 0);
	struct cleat_usage usage;
	struct cleat_pool_space space;

	assert_int_equal(t->b->capabilities(t->pool), CLEAT_CAN_MOUNT | CLEAT_CAN_CLONE | CLEAT_CAN_EXPAND |
							      CLEAT_CAN_EXPAND_ONLINE | CLEAT_CAN_ADOPT);
	assert_int_equal(rec->capacity_bytes, 0);
	assert_string_equal(tree_attribute(rec, "enforces_size"), "false");
	assert_string_equal(tree_attribute(rec, "requested_bytes"), "16777217");
	assert_string_equal(tree_attribute(none, "requested_bytes"), "");
	assert_true(rec->created_ms > 0);
	lab_expect(t->b->usage(t->pool, NULL, rec, NULL, &usage, &t->err), &t->err, CLEAT_UNIMPLEMENTED,
		   "nothing counts");
	lab_ok(t->b->space(t->pool, &space, &t->err), &t->err);
	assert_int_equal(space.promised_bytes, 0);
	assert_true(space.available_bytes > 0 && space.available_bytes <= space.total_bytes);
}

static void test_dir__owner_is_applied_exactly(void **state)
{
	static const char *const params[] = { "uid", "1234", "gid", "4321", "mode", "02771", NULL };
	struct tree_lab *t = *state;
	mode_t before = umask(077);
	struct stat st;

	open_pool(t);
	cleat_autorecord struct cleat_record *plain = tree_make(t, "plain", 0);
	cleat_autorecord struct cleat_record *wish = tree_wish("owned", "owned", 0, params);
	lab_ok(try_create(t, wish, NULL, NULL), &t->err);
	umask(before);
	assert_int_equal(stat(tree_data(t, "plain", ""), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(stat(tree_data(t, "owned", ""), &st), 0);
	assert_int_equal(st.st_mode & 07777, 02771);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 4321);
	assert_int_equal(stat(tree_path(t, "pool/volumes/owned"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void test_dir__same_wish_is_ok_another_is_refused(void **state)
{
	static const char *const params[] = { "uid", "7", NULL };
	struct tree_lab *t = *state;

	open_pool(t);
	cleat_autorecord struct cleat_record *first = tree_make(t, "abc", TREE_SIZE);
	cleat_autorecord struct cleat_record *again = tree_make(t, "abc", TREE_SIZE);
	cleat_autorecord struct cleat_record *larger = tree_wish("abc", "abc", 2 * TREE_SIZE, NULL);
	cleat_autorecord struct cleat_record *owned = tree_wish("abc", "abc", TREE_SIZE, params);

	assert_int_equal(first->created_ms, again->created_ms);
	lab_expect(try_create(t, larger, NULL, NULL), &t->err, CLEAT_ALREADY_EXISTS, "another capacity");
	lab_expect(try_create(t, owned, NULL, NULL), &t->err, CLEAT_ALREADY_EXISTS, "another parameters");
	tree_expect_tidy(t, 1);
}

static void test_dir__refuses_what_a_directory_cannot_be(void **state)
{
	struct tree_lab *t = *state;
	const struct cleat_record *one[2];
	cleat_autorecord struct cleat_record *rec = NULL, *block = tree_wish("b", "b", 0, NULL),
					     *fs = tree_wish("f", "f", 0, NULL),
					     *huge = tree_wish("h", "h", UINT64_C(1) << 60, NULL),
					     *endless = tree_wish("e", "e", UINT64_MAX, NULL);

	open_pool(t);
	block->access_type = CLEAT_ACCESS_BLOCK;
	lab_ok(cleat_record_set(&fs->fs, "ext4", NULL), &t->err);
	lab_expect(try_create(t, block, NULL, NULL), &t->err, CLEAT_INVALID_ARGUMENT, "block access");
	lab_expect(try_create(t, fs, NULL, NULL), &t->err, CLEAT_INVALID_ARGUMENT, "'ext4'");
	lab_expect(try_create(t, huge, NULL, NULL), &t->err, CLEAT_RESOURCE_EXHAUSTED, "1 EiB are wanted");
	lab_expect(try_create(t, endless, NULL, NULL), &t->err, CLEAT_OUT_OF_RANGE, "too large");
	one[0] = one[1] = huge;
	lab_expect(t->b->snapshot(t->pool, NULL, one, NULL, one + 1, 1, &rec, &t->err), &t->err,
		   CLEAT_UNIMPLEMENTED, "plain directories");
	tree_expect_tidy(t, 0);
}

static void test_dir__expand_notes_the_wish(void **state)
{
	struct tree_lab *t = *state;
	cleat_autorecord struct cleat_record *more = NULL, *less = NULL, *stored = NULL;

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", TREE_SIZE);
	lab_ok(t->b->expand(t->pool, NULL, rec, 2 * TREE_SIZE, NULL, &more, &t->err), &t->err);
	assert_string_equal(tree_attribute(more, "requested_bytes"), "33554432");
	assert_int_equal(more->capacity_bytes, 0);
	lab_ok(t->b->expand(t->pool, NULL, more, TREE_SIZE, NULL, &less, &t->err), &t->err);
	assert_string_equal(tree_attribute(less, "requested_bytes"), "33554432");
	stored = tree_make(t, "abc", 2 * TREE_SIZE);
	assert_string_equal(tree_attribute(stored, "requested_bytes"), "33554432");
}

/* ---- on this node ---------------------------------------------------------------------------- */

static void test_dir__map_gives_the_directory(void **state)
{
	struct tree_lab *t = *state;
	struct cleat_source source = { .fd = -1 };
	struct stat by_path, by_fd;

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", 0);
	lab_ok(t->b->map(t->pool, NULL, rec, true, &source, &t->err), &t->err);
	assert_int_equal(source.kind, CLEAT_SOURCE_DIRECTORY);
	assert_true(source.read_only);
	assert_int_equal(stat(source.path, &by_path), 0);
	assert_int_equal(fstat(source.fd, &by_fd), 0);
	assert_int_equal(by_path.st_ino, by_fd.st_ino);
	assert_int_equal(fcntl(source.fd, F_GETFD), FD_CLOEXEC);
	close(source.fd);
	lab_ok(t->b->unmap(t->pool, NULL, rec, &t->err), &t->err);
}

static void test_dir__damage_is_told_not_hidden(void **state)
{
	struct tree_lab *t = *state;
	struct cleat_source source = { .fd = -1 };

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", 0);
	lab_ok(t->b->health(t->pool, NULL, rec, &t->err), &t->err);
	tree_put(tree_path(t, "pool/volumes/abc/record.json"), "{");
	lab_expect(t->b->health(t->pool, NULL, rec, &t->err), &t->err, CLEAT_DATA_LOSS,
		   "'abc': record: not JSON");
	assert_int_equal(unlink(tree_path(t, "pool/volumes/abc/record.json")), 0);
	lab_expect(t->b->health(t->pool, NULL, rec, &t->err), &t->err, CLEAT_DATA_LOSS, "'abc'");
	assert_int_equal(rmdir(tree_data(t, "abc", "")), 0);
	lab_expect(t->b->map(t->pool, NULL, rec, false, &source, &t->err), &t->err, CLEAT_DATA_LOSS,
		   "data directory is missing");
	assert_int_equal(symlink("/etc", tree_data(t, "abc", "")), 0);
	assert_int_not_equal(t->b->map(t->pool, NULL, rec, false, &source, &t->err), CLEAT_OK);
	assert_int_equal(rename(tree_path(t, "pool/volumes/abc"), tree_path(t, "away")), 0);
	lab_expect(t->b->health(t->pool, NULL, rec, &t->err), &t->err, CLEAT_NOT_FOUND, "not in the pool");
}

struct search {
	const struct tree_lab *t;
	const char *target;
	char key[CLEAT_KEY_MAX_BYTES + 1];
	bool is_ours;
};

static bool look_at(const struct cleat_mount_entry *entry, void *arg)
{
	struct search *s = arg;

	if (strcmp(entry->target, s->target) == 0)
		s->is_ours = s->t->b->find_mount(s->t->pool, entry, s->key);
	return true;
}

static void expect_mount(struct tree_lab *t, const char *target, const char *key)
{
	struct search s = { .t = t, .target = target };

	lab_ok(cleat_sys_mounts(look_at, &s, &t->err), &t->err);
	assert_int_equal(s.is_ours, key != NULL);
	if (key)
		assert_string_equal(s.key, key);
}

static void bind(const char *from, const char *to)
{
	mkdir(to, 0755);
	assert_int_equal(mount(from, to, NULL, MS_BIND, NULL), 0);
}

static void test_dir__mounts_of_volumes_are_recognised(void **state)
{
	struct tree_lab *t = *state;

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", 0);
	assert_int_equal(mkdir(tree_data(t, "abc", "sub"), 0755), 0);
	bind(tree_data(t, "abc", ""), lab_join(t->lab, "whole"));
	bind(tree_data(t, "abc", "sub"), lab_join(t->lab, "part"));
	bind(tree_path(t, "pool/volumes/abc"), lab_join(t->lab, "beside"));
	bind(tree_path(t, ""), lab_join(t->lab, "around"));
	expect_mount(t, lab_join(t->lab, "whole"), "abc");
	expect_mount(t, lab_join(t->lab, "part"), NULL);
	expect_mount(t, lab_join(t->lab, "beside"), NULL);
	expect_mount(t, lab_join(t->lab, "around"), NULL);
	expect_mount(t, "/", NULL);
	for (const char *const *m = (const char *const[]){ "whole", "part", "beside", "around", NULL }; *m;
	     m++)
		assert_int_equal(umount2(lab_join(t->lab, *m), 0), 0);
}

/* ---- removal --------------------------------------------------------------------------------- */

static void test_dir__remove_refuses_while_mounted_and_says_where(void **state)
{
	struct tree_lab *t = *state;

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", 0);
	cleat_autorecord struct cleat_record *longer = tree_make(t, "abcd", 0);
	const char *target = lab_join(t->lab, "target");
	assert_int_equal(mkdir(tree_data(t, "abc", "sub"), 0755), 0);
	bind(tree_data(t, "abc", "sub"), target);
	lab_expect(t->b->remove(t->pool, NULL, rec, &t->err), &t->err, CLEAT_FAILED_PRECONDITION, target);
	tree_remove(t, longer);
	assert_int_equal(umount2(target, 0), 0);
	bind(target, tree_data(t, "abc", "sub"));
	lab_expect(t->b->remove(t->pool, NULL, rec, &t->err), &t->err, CLEAT_FAILED_PRECONDITION, "data/sub");
	assert_int_equal(umount2(tree_data(t, "abc", "sub"), 0), 0);
	tree_remove(t, rec);
	tree_remove(t, rec);
	tree_expect_tidy(t, 0);
}

/* The mount table is not read at each deletion: what is mounted since the last one must count all the same.
 */
static void test_dir__remove_sees_mounts_made_meanwhile(void **state)
{
	struct tree_lab *t = *state;
	const char *target = lab_join(t->lab, "target");

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", 0);
	for (int i = 0; i < 3; i++) {
		cleat_autorecord struct cleat_record *other = tree_make(t, "other", 0);
		tree_remove(t, other);
		bind(tree_data(t, "abc", ""), target);
		lab_expect(t->b->remove(t->pool, NULL, rec, &t->err), &t->err, CLEAT_FAILED_PRECONDITION,
			   target);
		assert_int_equal(umount2(target, 0), 0);
	}
	tree_remove(t, rec);
	tree_expect_tidy(t, 0);
}

static bool set_immutable(const char *path, bool on)
{
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	int flags = 0;

	assert_true(fd >= 0);
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0)
		return false;
	flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

static void test_dir__remove_tells_again_what_could_not_be_freed(void **state)
{
	struct tree_lab *t = *state;
	glob_t found = { 0 };

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", 0);
	cleat_autorecord struct cleat_record *other = tree_make(t, "abc2", 0);
	tree_put(tree_data(t, "abc", "kept"), "x");
	if (!set_immutable(tree_data(t, "abc", "kept"), true)) {
		print_message("skipped: the file system of /tmp knows no immutable files\n");
		skip();
	}
	lab_expect(t->b->remove(t->pool, NULL, rec, &t->err), &t->err, CLEAT_FAILED_PRECONDITION,
		   "space is not free yet");
	assert_int_equal(tree_entries(t, "pool/volumes"), 1);
	lab_expect(t->b->remove(t->pool, NULL, rec, &t->err), &t->err, CLEAT_FAILED_PRECONDITION,
		   "immutable");
	tree_remove(t, other);
	assert_int_equal(glob(tree_path(t, "pool/trash/abc.*/data/kept"), 0, NULL, &found), 0);
	assert_true(set_immutable(found.gl_pathv[0], false));
	globfree(&found);
	tree_remove(t, rec);
	tree_expect_tidy(t, 0);
}

/* ---- clones ---------------------------------------------------------------------------------- */

static void run_in(const char *dir, const char *command)
{
	LAB_RUN("sh", "-ec", command, "sh", dir);
}

/* Something of every sort. */
static void furnish(const char *dir)
{
	run_in(dir,
	       "cd \"$1\"; mkdir -p d/e empty; echo hello > d/e/file; ln d/e/file d/link; ln -s ../nowhere "
	       "d/sym;"
	       "mkfifo d/pipe; mknod d/null c 1 3; truncate -s 5M d/holes; printf end >> d/holes;"
	       "chown 11:22 d/e/file; chmod 4751 d/e/file; chown -h 33:44 d/sym; chmod 1777 empty;"
	       "touch -d 2001-02-03T04:05:06.789 d/e/file empty d; touch -h -d 2002-02-02T02:02:02 d/sym;"
	       "printf secret > top; chmod 000 top");
}

static void same_stat(const char *a, const char *b)
{
	struct stat x, y;

	assert_int_equal(lstat(a, &x), 0);
	assert_int_equal(lstat(b, &y), 0);
	assert_int_equal(x.st_mode, y.st_mode);
	assert_int_equal(x.st_uid, y.st_uid);
	assert_int_equal(x.st_gid, y.st_gid);
	assert_int_equal(x.st_rdev, y.st_rdev);
	assert_int_equal(x.st_nlink, y.st_nlink);
	assert_int_equal(x.st_mtim.tv_sec, y.st_mtim.tv_sec);
	assert_int_equal(x.st_mtim.tv_nsec, y.st_mtim.tv_nsec);
	if (!S_ISDIR(x.st_mode))
		assert_int_equal(x.st_size, y.st_size);
}

static void test_dir__clone_is_faithful(void **state)
{
	static const char *const names[] = { "",       "d",	 "d/e",	    "d/e/file", "d/link", "d/sym",
					     "d/pipe", "d/null", "d/holes", "empty",	"top" };
	struct tree_lab *t = *state;
	struct stat holes, file, linked;
	char value[16] = "";

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "from", 0);
	furnish(tree_data(t, "from", ""));
	assert_int_equal(setxattr(tree_data(t, "from", "d/e/file"), "trusted.cleat", "kept", 4, 0), 0);
	cleat_autorecord struct cleat_record *clone = tree_clone(t, rec, "to", 0);
	assert_true(clone->clone);
	for (size_t i = 0; i < CLEAT_COUNT(names); i++)
		same_stat(tree_data(t, "from", names[i]), tree_data(t, "to", names[i]));
	assert_true(tree_holds(tree_data(t, "to", "d/e/file"), "hello\n"));
	assert_int_equal(getxattr(tree_data(t, "to", "d/e/file"), "trusted.cleat", value, sizeof(value)), 4);
	assert_int_equal(stat(tree_data(t, "to", "d/holes"), &holes), 0);
	assert_true(holes.st_blocks * 512 < 1 << 20);
	assert_int_equal(stat(tree_data(t, "to", "d/e/file"), &file), 0);
	assert_int_equal(stat(tree_data(t, "to", "d/link"), &linked), 0);
	assert_int_equal(file.st_ino, linked.st_ino);
	LAB_RUN("cmp", tree_data(t, "from", "d/holes"), tree_data(t, "to", "d/holes"));
	LAB_RUN("diff", "-r", "--no-dereference", tree_data(t, "from", "d/e"), tree_data(t, "to", "d/e"));
}

static void test_dir__clone_takes_its_own_owner(void **state)
{
	static const char *const params[] = { "uid", "99", NULL };
	struct tree_lab *t = *state;
	struct stat st;

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "from", 0);
	assert_int_equal(chmod(tree_data(t, "from", ""), 0711), 0);
	cleat_autorecord struct cleat_record *wish = tree_wish("to", "to", 0, params);
	lab_ok(try_create(t, wish, rec, NULL), &t->err);
	assert_int_equal(stat(tree_data(t, "to", ""), &st), 0);
	assert_int_equal(st.st_uid, 99);
	assert_int_equal(st.st_mode & 07777, 0711);
}

static void test_dir__clone_is_refused_while_in_use(void **state)
{
	struct tree_lab *t = *state;
	const struct cleat_where staged = { .stage_path = "/run/somewhere" };

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "from", 0),
					     *wish = tree_wish("to", "to", 0, NULL);
	lab_expect(try_create(t, wish, rec, &staged), &t->err, CLEAT_FAILED_PRECONDITION, "in use");
	tree_expect_tidy(t, 1);
}

static void test_dir__clone_stops_at_another_file_system(void **state)
{
	struct tree_lab *t = *state;

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "from", 0),
					     *wish = tree_wish("to", "to", 0, NULL);
	const char *inner = tree_data(t, "from", "inner");
	assert_int_equal(mkdir(inner, 0755), 0);
	assert_int_equal(mount("none", inner, "tmpfs", 0, "size=1M"), 0);
	lab_expect(try_create(t, wish, rec, NULL), &t->err, CLEAT_FAILED_PRECONDITION, "'inner'");
	assert_int_equal(umount2(inner, 0), 0);
	tree_expect_tidy(t, 1);
}

/* ---- adoption -------------------------------------------------------------------------------- */

static enum cleat_code try_adopt(struct tree_lab *t, const char *key, const char *name, const char *what,
				 struct cleat_record **out)
{
	cleat_autorecord struct cleat_record *wish = tree_wish(key, name, 0, NULL);

	return t->b->adopt(t->pool, NULL, wish, what, out, &t->err);
}

static void make_old(struct tree_lab *t)
{
	lab_mkdir(t->lab, "fs/old");
	tree_put(tree_path(t, "old/letter"), "dear");
}

static void test_dir__adopts_by_moving_in(void **state)
{
	static const char *const params[] = { "mode", "0700", NULL };
	struct tree_lab *t = *state;
	cleat_autorecord struct cleat_record *rec = NULL, *again = NULL, *found = NULL;
	struct stat st;

	open_pool(t);
	make_old(t);
	cleat_autorecord struct cleat_record *wish = tree_wish("abc", "mine", TREE_SIZE, params);
	lab_ok(t->b->adopt(t->pool, NULL, wish, tree_path(t, "old/"), &rec, &t->err), &t->err);
	assert_true(rec->adopted);
	assert_string_equal(tree_attribute(rec, "adopted_from"), tree_path(t, "old"));
	assert_string_equal(tree_attribute(rec, "requested_bytes"), "16777216");
	assert_true(tree_holds(tree_data(t, "abc", "letter"), "dear"));
	assert_int_equal(stat(tree_data(t, "abc", ""), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_not_equal(access(tree_path(t, "old"), F_OK), 0);
	/* Repeated: with the same key, and by a caller that knows only the name. */
	lab_ok(t->b->adopt(t->pool, NULL, wish, tree_path(t, "old"), &again, &t->err), &t->err);
	assert_string_equal(again->key, "abc");
	lab_ok(try_adopt(t, "other", "mine", tree_path(t, "old"), &found), &t->err);
	assert_string_equal(found->key, "abc");
	tree_expect_tidy(t, 1);
}

static void test_dir__adoption_refuses_by_reason(void **state)
{
	struct tree_lab *t = *state;
	cleat_autorecord struct cleat_record *rec = NULL;

	open_pool(t);
	make_old(t);
	lab_mkdir(t->lab, "fs/mnt");
	assert_int_equal(mount("none", tree_path(t, "mnt"), "tmpfs", 0, "size=1M"), 0);
	mkdir(tree_path(t, "mnt/below"), 0755);
	tree_put(tree_path(t, "file"), "x");
	assert_int_equal(symlink(tree_path(t, "old"), tree_path(t, "link")), 0);
	const struct {
		const char *what, *words;
		enum cleat_code code;
	} cases[] = {
		{ "relative", "absolute path", CLEAT_INVALID_ARGUMENT },
		{ "", "absolute path", CLEAT_INVALID_ARGUMENT },
		{ "/tmp/a\nb", "absolute path", CLEAT_INVALID_ARGUMENT },
		{ "/", "not the name", CLEAT_INVALID_ARGUMENT },
		{ "/tmp/..", "not the name", CLEAT_INVALID_ARGUMENT },
		{ tree_path(t, "missing"), "no such directory", CLEAT_NOT_FOUND },
		{ tree_path(t, "missing/deeper"), "no such directory", CLEAT_NOT_FOUND },
		{ tree_path(t, "mnt"), "mount point", CLEAT_FAILED_PRECONDITION },
		{ tree_path(t, "mnt/below"), "not on the pool's file system", CLEAT_FAILED_PRECONDITION },
		{ tree_path(t, "pool/volumes"), "inside the pool", CLEAT_FAILED_PRECONDITION },
		{ tree_path(t, "pool"), "inside the pool", CLEAT_FAILED_PRECONDITION },
		{ t->lab->path, "pool is inside it", CLEAT_FAILED_PRECONDITION },
		{ "/etc/ssl", "belongs to the system", CLEAT_FAILED_PRECONDITION },
		{ "/home", "belongs to the system", CLEAT_FAILED_PRECONDITION },
	};
	for (size_t i = 0; i < CLEAT_COUNT(cases); i++)
		lab_expect(try_adopt(t, "abc", "x", cases[i].what, &rec), &t->err, cases[i].code,
			   cases[i].words);
	lab_expect(try_adopt(t, "abc", "x", tree_path(t, "file"), &rec), &t->err, CLEAT_FAILED_PRECONDITION,
		   "");
	lab_expect(try_adopt(t, "abc", "x", tree_path(t, "link"), &rec), &t->err, CLEAT_FAILED_PRECONDITION,
		   "");
	assert_int_equal(umount2(tree_path(t, "mnt"), 0), 0);
	bind(tree_path(t, "old"), tree_path(t, "mnt"));
	lab_expect(try_adopt(t, "abc", "x", tree_path(t, "old"), &rec), &t->err, CLEAT_FAILED_PRECONDITION,
		   "still mounted at");
	assert_int_equal(umount2(tree_path(t, "mnt"), 0), 0);
	cleat_autorecord struct cleat_record *made = tree_make(t, "abc", 0);
	lab_expect(try_adopt(t, "abc", "abc", tree_path(t, "old"), &rec), &t->err, CLEAT_ALREADY_EXISTS,
		   "not adopted from");
	assert_true(tree_holds(tree_path(t, "old/letter"), "dear"));
	tree_expect_tidy(t, 1);
}

static void adopt_old(struct tree_lab *t)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	enum cleat_code code = try_adopt(t, "abc", "mine", tree_path(t, "old"), &rec);

	if (code)
		_exit(1);
}

static void test_dir__adoption_cut_off_anywhere_loses_nothing(void **state)
{
	struct tree_lab *t = *state;
	bool killed = true;
	unsigned put_back = 0, adopted = 0;
	int n;

	make_old(t);
	for (n = 1; killed; n++) {
		cleat_autorecord struct cleat_record *rec = NULL;
		open_pool(t);
		killed = tree_killed_at(n, adopt_old, t);
		tree_recover(t);
		put_back += strstr(cleat_buf_text(&t->report), "put back to") != NULL;
		bool there = tree_holds(tree_path(t, "old/letter"), "dear");
		assert_true(there != tree_holds(tree_data(t, "abc", "letter"), "dear"));
		adopted += !there;
		tree_expect_tidy(t, !there);
		lab_ok(try_adopt(t, "abc", "mine", tree_path(t, "old"), &rec), &t->err);
		assert_true(tree_holds(tree_data(t, "abc", "letter"), "dear"));
		assert_int_equal(rename(tree_data(t, "abc", ""), tree_path(t, "old")), 0);
		tree_remove(t, rec);
		tree_close(t);
	}
	assert_true(put_back >= 3);
	assert_true(adopted >= 1);
}

static void test_dir__adoption_that_fails_puts_the_directory_back(void **state)
{
	struct tree_lab *t = *state;
	bool failed = true;

	open_pool(t);
	make_old(t);
	for (int n = 1; failed; n++) {
		cleat_autorecord struct cleat_record *rec = NULL;
		lab_inject(NULL, n, EIO);
		failed = try_adopt(t, "abc", "mine", tree_path(t, "old"), &rec) != CLEAT_OK;
		lab_inject_off();
		/* The last sync failed: the volume is there, and another call says so. */
		if (failed && tree_holds(tree_data(t, "abc", "letter"), "dear")) {
			lab_ok(try_adopt(t, "abc", "mine", tree_path(t, "old"), &rec), &t->err);
			break;
		}
		assert_true(tree_holds(failed ? tree_path(t, "old/letter") : tree_data(t, "abc", "letter"),
				       "dear"));
	}
	tree_expect_tidy(t, 1);
}

/* Somebody made a new directory of the old name meanwhile: the adopted one stays where it is until there is
 * room. */
static void test_dir__adoption_that_cannot_be_undone_is_kept(void **state)
{
	struct tree_lab *t = *state;

	make_old(t);
	for (int n = 1; access(tree_path(t, "old"), F_OK) == 0; n++) {
		open_pool(t);
		tree_killed_at(n, adopt_old, t);
		if (access(tree_path(t, "old"), F_OK) == 0)
			tree_recover(t);
		tree_close(t);
	}
	lab_mkdir(t->lab, "fs/old");
	for (int i = 0; i < 2; i++) {
		open_pool(t);
		tree_recover(t);
		tree_close(t);
		assert_non_null(strstr(cleat_buf_text(&t->report), "cannot be removed: put"));
		assert_int_equal(tree_entries(t, "pool/new"), 1);
	}
	assert_int_equal(rmdir(tree_path(t, "old")), 0);
	open_pool(t);
	tree_recover(t);
	assert_true(tree_holds(tree_path(t, "old/letter"), "dear"));
	tree_expect_tidy(t, 0);
}

/* ---- being cut off --------------------------------------------------------------------------- */

static void live(struct tree_lab *t)
{
	cleat_autorecord struct cleat_record *from = tree_make(t, "from", 0);
	tree_put(tree_data(t, "from", "file"), "hello");
	assert_int_equal(symlink("x", tree_data(t, "from", "sym")), 0);
	cleat_autorecord struct cleat_record *clone = tree_clone(t, from, "to", 0);
	tree_remove(t, from);
	tree_remove(t, clone);
}

static void test_dir__life_of_a_volume_may_be_cut_off_anywhere(void **state)
{
	struct tree_lab *t = *state;
	bool killed = true;
	int n;

	for (n = 1; killed; n++) {
		open_pool(t);
		killed = tree_killed_at(n, live, t);
		tree_recover(t);
		bool from = access(tree_data(t, "from", ""), F_OK) == 0,
		     to = access(tree_data(t, "to", ""), F_OK) == 0;
		tree_expect_tidy(t, from + to);
		assert_true(!to || tree_holds(tree_data(t, "to", "file"), "hello"));
		if (from)
			LAB_RUN("rm", "-rf", tree_path(t, "pool/volumes/from"));
		if (to)
			LAB_RUN("rm", "-rf", tree_path(t, "pool/volumes/to"));
		live(t);
		tree_expect_tidy(t, 0);
		tree_close(t);
	}
	assert_true(n > 40);
}

static void test_dir__failing_creation_leaves_nothing(void **state)
{
	struct tree_lab *t = *state;
	bool failed = true;

	open_pool(t);
	cleat_autorecord struct cleat_record *wish = tree_wish("abc", "abc", TREE_SIZE, NULL);
	for (int n = 1; failed; n++) {
		lab_inject(NULL, n, ENOSPC);
		failed = try_create(t, wish, NULL, NULL) != CLEAT_OK;
		lab_inject_off();
		assert_int_equal(tree_entries(t, "pool/new"), 0);
		if (failed)
			assert_int_equal(t->err.code, CLEAT_RESOURCE_EXHAUSTED);
	}
	tree_expect_tidy(t, 1);
}

/* ---- many at once ---------------------------------------------------------------------------- */

#define WORKERS 8
#define ROUNDS 12

struct worker {
	struct tree_lab *t;
	pthread_t thread;
	int number;
	struct cleat_error err;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	const struct cleat_backend *b = w->t->b;
	char key[24];

	for (int i = 0; i < ROUNDS && !w->err.code; i++) {
		snprintf(key, sizeof(key), "w%d-%d", w->number, i);
		cleat_autorecord struct cleat_record *wish = tree_wish(key, key, TREE_SIZE, NULL);
		cleat_autorecord struct cleat_record *rec = NULL;
		struct cleat_source source = { .fd = -1 };
		if (b->create(w->t->pool, NULL, wish, NULL, NULL, &rec, &w->err) ||
		    b->update(w->t->pool, NULL, rec, &w->err) ||
		    b->map(w->t->pool, NULL, rec, false, &source, &w->err))
			break;
		close(source.fd);
		if (b->remove(w->t->pool, NULL, rec, &w->err))
			break;
	}
	return NULL;
}

static void test_dir__volumes_do_not_disturb_each_other(void **state)
{
	struct tree_lab *t = *state;
	struct worker workers[WORKERS] = { 0 };

	open_pool(t);
	for (int i = 0; i < WORKERS; i++) {
		workers[i].t = t;
		workers[i].number = i;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		lab_ok(workers[i].err.code, &workers[i].err);
	}
	tree_expect_tidy(t, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(test_dir__promises_no_size),
		TREE_TEST(test_dir__owner_is_applied_exactly),
		TREE_TEST(test_dir__same_wish_is_ok_another_is_refused),
		TREE_TEST(test_dir__refuses_what_a_directory_cannot_be),
		TREE_TEST(test_dir__expand_notes_the_wish),
		TREE_TEST(test_dir__map_gives_the_directory),
		TREE_TEST(test_dir__damage_is_told_not_hidden),
		TREE_TEST(test_dir__mounts_of_volumes_are_recognised),
		TREE_TEST(test_dir__remove_refuses_while_mounted_and_says_where),
		TREE_TEST(test_dir__remove_sees_mounts_made_meanwhile),
		TREE_TEST(test_dir__remove_tells_again_what_could_not_be_freed),
		TREE_TEST(test_dir__clone_is_faithful),
		TREE_TEST(test_dir__clone_takes_its_own_owner),
		TREE_TEST(test_dir__clone_is_refused_while_in_use),
		TREE_TEST(test_dir__clone_stops_at_another_file_system),
		TREE_TEST(test_dir__adopts_by_moving_in),
		TREE_TEST(test_dir__adoption_refuses_by_reason),
		TREE_TEST(test_dir__adoption_cut_off_anywhere_loses_nothing),
		TREE_TEST(test_dir__adoption_that_fails_puts_the_directory_back),
		TREE_TEST(test_dir__adoption_that_cannot_be_undone_is_kept),
		TREE_TEST(test_dir__life_of_a_volume_may_be_cut_off_anywhere),
		TREE_TEST(test_dir__failing_creation_leaves_nothing),
		TREE_TEST(test_dir__volumes_do_not_disturb_each_other),
	};
	int skip_code = lab_need_root();

	return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
