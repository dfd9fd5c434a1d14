/* backends_project_test.c - the dir backend with project quotas, on ext4 and xfs.  Needs a kernel that has
 * them; tests/uml runs this under one. */
#include "tree_lab.h"

#include "sys/loop.h"
#include "sys/project.h"
#include "util/clock.h"
#include "util/kv.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

extern const struct cleat_backend cleat_backend_dir;

#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif
#ifndef PRJQUOTA
#define PRJQUOTA 2
#endif

#define EXT4_TEST(function)                                                                                  \
	{                                                                                                    \
#function "@ext4", function, tree_setup_ext4_project, tree_teardown, NULL                  \
	}
#define XFS_TEST(function)                                                                                   \
	{                                                                                                    \
#function "@xfs", function, tree_setup_xfs_project, tree_teardown, NULL                    \
	}

static void open_pool(struct tree_lab *t)
{
	tree_open(t, &cleat_backend_dir, NULL);
	assert_true(t->b->capabilities(t->pool) & CLEAT_CAN_ENFORCE_SIZE);
}

static uint32_t project_of(struct tree_lab *t, const char *path)
{
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint32_t id = 0;

	assert_true(fd >= 0);
	lab_ok(cleat_sys_project_get(fd, &id, &t->err), &t->err);
	return id;
}

static struct cleat_sys_project_quota quota_of(struct tree_lab *t, uint32_t id)
{
	cleat_autoclose int fd = open(tree_path(t, ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct cleat_sys_project_quota quota = { 0 };

	assert_true(fd >= 0);
	lab_ok(cleat_sys_project_quota(fd, "none", id, &quota, &t->err), &t->err);
	return quota;
}

struct projects {
	int limited, used;
};

/* Projects above 0x10000000, by the kernel's own list. */
static struct projects count_projects(const struct tree_lab *t)
{
	cleat_autoclose int fd = open(tree_path(t, ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct projects count = { 0, 0 };
	struct if_nextdqblk next;

	assert_true(fd >= 0);
	for (uint32_t id = 0x10000000;; id = next.dqb_id + 1) {
		memset(&next, 0, sizeof(next));
		if (syscall(SYS_quotactl_fd, fd, (unsigned)QCMD(Q_GETNEXTQUOTA, PRJQUOTA), id, &next) != 0)
			return count;
		count.limited += next.dqb_bhardlimit != 0;
		count.used += next.dqb_curinodes || next.dqb_curspace;
	}
}

/* xfs takes removed files out of the count in the background, and ext4's list is of what has been written. */
static void expect_projects(const struct tree_lab *t, int limited, int used)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	cleat_autoclose int fd = open(tree_path(t, ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct projects count = count_projects(t);

	for (int64_t end = cleat_time_mono_ms() + 30000;
	     cleat_time_mono_ms() < end && (count.limited != limited || count.used != used);
	     count = count_projects(t)) {
		syncfs(fd);
		nanosleep(&pause, NULL);
	}
	assert_int_equal(count.limited, limited);
	assert_int_equal(count.used, used);
}

/* As a task would: ext4 lets a process with CAP_SYS_RESOURCE pass every limit. */
static uint64_t fill_as_task(const char *path, uint64_t bytes)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	int ends[2], status = 0;
	uint64_t done = 0;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t child = fork();
	if (child == 0) {
		if (syscall(SYS_capget, &head, data) != 0)
			_exit(1);
		data[CAP_SYS_RESOURCE / 32].effective &= ~(1U << (CAP_SYS_RESOURCE % 32));
		if (syscall(SYS_capset, &head, data) != 0)
			_exit(1);
		done = tree_fill(path, bytes);
		_exit(write(ends[1], &done, sizeof(done)) == sizeof(done) ? 0 : 1);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &done, sizeof(done)), sizeof(done));
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	return done;
}

static void test_project__limits_and_shows_the_limit(void **state)
{
	struct tree_lab *t = *state;
	struct cleat_usage usage;
	struct statfs st;
	cleat_autorecord struct cleat_record *grown = NULL;

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", TREE_SIZE);
	assert_int_equal(rec->capacity_bytes, TREE_SIZE);
	assert_string_equal(tree_attribute(rec, "enforces_size"), "true");
	assert_int_equal(statfs(tree_data(t, "abc", ""), &st), 0);
	assert_int_equal((uint64_t)st.f_blocks * (uint64_t)st.f_bsize, TREE_SIZE);
	uint64_t first = fill_as_task(tree_data(t, "abc", "fill"), 2 * TREE_SIZE);
	assert_true(first > TREE_SIZE / 2 && first <= TREE_SIZE);
	lab_ok(t->b->usage(t->pool, NULL, rec, NULL, &usage, &t->err), &t->err);
	assert_true(usage.used_bytes >= first && usage.used_bytes <= TREE_SIZE);
	assert_int_equal(usage.total_bytes, TREE_SIZE);
	lab_ok(t->b->expand(t->pool, NULL, rec, 2 * TREE_SIZE, NULL, &grown, &t->err), &t->err);
	assert_true(fill_as_task(tree_data(t, "abc", "more"), TREE_SIZE) > TREE_SIZE / 2);
	tree_remove(t, grown);
	expect_projects(t, 0, 0);
}

static void test_project__ids_collide_with_nobody(void **state)
{
	struct tree_lab *t = *state;

	open_pool(t);
	cleat_autorecord struct cleat_record *a = tree_make(t, "a", TREE_SIZE), *b = tree_make(t, "b", 0);
	uint32_t id = project_of(t, tree_data(t, "a", ""));
	assert_true(id >= 0x10000000 && id != project_of(t, tree_data(t, "b", "")));
	assert_int_equal(strtoul(tree_attribute(a, "project_id"), NULL, 10), id);
	assert_int_equal(quota_of(t, id).limit_bytes, TREE_SIZE);
	tree_remove(t, a);
	tree_remove(t, b);
	expect_projects(t, 0, 0);
	/* Somebody else's directory has that id now. */
	lab_mkdir(t->lab, "fs/foreign");
	cleat_autoclose int fd = open(tree_path(t, "foreign"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lab_ok(cleat_sys_project_set(fd, id, "foreign", &t->err), &t->err);
	cleat_autorecord struct cleat_record *again = tree_make(t, "a", TREE_SIZE);
	assert_int_not_equal(project_of(t, tree_data(t, "a", "")), id);
	assert_int_equal(quota_of(t, id).limit_bytes, 0);
	tree_remove(t, again);
	assert_int_equal(quota_of(t, id).used_inodes, 1);
}

static void test_project__clones_count_for_themselves(void **state)
{
	struct tree_lab *t = *state;
	struct cleat_usage usage;

	open_pool(t);
	cleat_autorecord struct cleat_record *a = tree_make(t, "a", TREE_SIZE);
	tree_fill(tree_data(t, "a", "file"), TREE_MIB);
	cleat_autorecord struct cleat_record *b = tree_clone(t, a, "b", 0);
	assert_int_equal(b->capacity_bytes, TREE_SIZE);
	assert_int_not_equal(project_of(t, tree_data(t, "a", "")), project_of(t, tree_data(t, "b", "")));
	assert_int_equal(project_of(t, tree_data(t, "b", "")), project_of(t, tree_data(t, "b", "file")));
	lab_ok(t->b->usage(t->pool, NULL, b, NULL, &usage, &t->err), &t->err);
	assert_true(usage.used_bytes >= TREE_MIB);
	tree_remove(t, a);
	tree_remove(t, b);
	expect_projects(t, 0, 0);
}

static void test_project__map_renews_the_limit_or_says_why_not(void **state)
{
	struct tree_lab *t = *state;
	struct cleat_source source = { .fd = -1 };

	open_pool(t);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", TREE_SIZE);
	uint32_t id = project_of(t, tree_data(t, "abc", ""));
	cleat_autoclose int fd = open(tree_data(t, "abc", ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lab_ok(cleat_sys_project_limit(fd, "none", id, 0, &t->err), &t->err);
	tree_map_ok(t, rec);
	assert_int_equal(quota_of(t, id).limit_bytes, TREE_SIZE);
	lab_ok(cleat_sys_project_set(fd, 7, "abc", &t->err), &t->err);
	lab_expect(t->b->map(t->pool, NULL, rec, false, &source, &t->err), &t->err, CLEAT_FAILED_PRECONDITION,
		   "project id");
}

static void test_project__adopted_directories_have_no_limit(void **state)
{
	struct tree_lab *t = *state;
	cleat_autorecord struct cleat_record *wish = tree_wish("abc", "abc", TREE_SIZE, NULL), *rec = NULL;

	open_pool(t);
	lab_mkdir(t->lab, "fs/old");
	tree_put(tree_path(t, "old/letter"), "dear");
	lab_ok(t->b->adopt(t->pool, NULL, wish, tree_path(t, "old"), &rec, &t->err), &t->err);
	assert_int_equal(rec->capacity_bytes, 0);
	assert_string_equal(tree_attribute(rec, "enforces_size"), "false");
	assert_string_equal(tree_attribute(rec, "requested_bytes"), "16777216");
	tree_map_ok(t, rec);
	tree_remove(t, rec);
}

static void test_project__is_left_alone_when_told_so(void **state)
{
	static const char *const never[] = { "enforce", "never", NULL };
	struct tree_lab *t = *state;

	tree_open(t, &cleat_backend_dir, never);
	assert_false(t->b->capabilities(t->pool) & CLEAT_CAN_ENFORCE_SIZE);
	cleat_autorecord struct cleat_record *rec = tree_make(t, "abc", TREE_SIZE);
	assert_int_equal(project_of(t, tree_data(t, "abc", "")), 0);
	assert_int_equal(rec->capacity_bytes, 0);
}

static void live(struct tree_lab *t)
{
	tree_open(t, &cleat_backend_dir, NULL);
	cleat_autorecord struct cleat_record *from = tree_make(t, "from", TREE_SIZE), *grown = NULL;
	tree_put(tree_data(t, "from", "file"), "hello");
	cleat_autorecord struct cleat_record *to = tree_clone(t, from, "to", 0);
	lab_ok(t->b->expand(t->pool, NULL, to, 2 * TREE_SIZE, NULL, &grown, &t->err), &t->err);
	tree_remove(t, from);
	tree_remove(t, grown);
	tree_close(t);
}

struct found {
	struct cleat_record *recs[4];
	int count;
};

static bool collect(struct cleat_record *rec, const char *broken, void *arg)
{
	struct found *f = arg;

	assert_null(broken);
	assert_true(f->count < 4);
	f->recs[f->count++] = cleat_record_ref(rec);
	return true;
}

static void test_project__may_be_cut_off_anywhere(void **state)
{
	struct tree_lab *t = *state;
	bool killed = true;
	int n;

	for (n = 1; killed; n++) {
		struct found f = { .count = 0 };
		killed = tree_killed_at(n, live, t);
		open_pool(t);
		tree_recover(t);
		lab_ok(t->b->scan(t->pool, collect, &f, &t->err), &t->err);
		tree_expect_tidy(t, f.count);
		expect_projects(t, f.count, f.count);
		for (int i = 0; i < f.count; i++) {
			tree_map_ok(t, f.recs[i]);
			tree_remove(t, f.recs[i]);
			cleat_record_unref(f.recs[i]);
		}
		expect_projects(t, 0, 0);
		tree_close(t);
	}
	assert_true(n > 60);
}

#define WORKERS 4

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

	for (int i = 0; i < 5 && !w->err.code; i++) {
		snprintf(key, sizeof(key), "w%d-%d", w->number, i);
		cleat_autorecord struct cleat_record *wish = tree_wish(key, key, TREE_SIZE, NULL);
		cleat_autorecord struct cleat_record *rec = NULL;
		if (b->create(w->t->pool, NULL, wish, NULL, NULL, &rec, &w->err) ||
		    b->remove(w->t->pool, NULL, rec, &w->err))
			break;
	}
	return NULL;
}

static void test_project__volumes_do_not_disturb_each_other(void **state)
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
	expect_projects(t, 0, 0);
}

/* Whether this kernel mounts a file system with project quotas. */
static int need_projects(void)
{
	static const char *const tools[] = { "mke2fs", "mkfs.xfs", NULL };
	int skip_code = lab_need_loop();
	void *state = NULL;

	if (skip_code || (skip_code = lab_need_tools(tools)))
		return skip_code;
	assert_int_equal(tree_setup_plain(&state), 0);
	struct tree_lab *t = state;
	bool works = false;
	struct cleat_loop loop = { .fd = -1 };
	lab_image(t->lab, "image", NULL, 64 * TREE_MIB, &loop);
	LAB_RUN("mke2fs", "-q", "-F", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota",
		loop.path);
	if (mount(loop.path, lab_join(t->lab, "fs"), "ext4", 0, "prjquota") == 0) {
		works = true;
		t->mounted = true;
	}
	close(loop.fd);
	assert_int_equal(tree_teardown(&state), 0);
	if (!works)
		printf("skipped: this kernel has no project quota\n");
	return works ? 0 : 77;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EXT4_TEST(test_project__limits_and_shows_the_limit),
		XFS_TEST(test_project__limits_and_shows_the_limit),
		EXT4_TEST(test_project__ids_collide_with_nobody),
		XFS_TEST(test_project__ids_collide_with_nobody),
		EXT4_TEST(test_project__clones_count_for_themselves),
		EXT4_TEST(test_project__map_renews_the_limit_or_says_why_not),
		EXT4_TEST(test_project__adopted_directories_have_no_limit),
		EXT4_TEST(test_project__is_left_alone_when_told_so),
		EXT4_TEST(test_project__may_be_cut_off_anywhere),
		XFS_TEST(test_project__may_be_cut_off_anywhere),
		EXT4_TEST(test_project__volumes_do_not_disturb_each_other),
	};
	int skip_code = need_projects();

	return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
