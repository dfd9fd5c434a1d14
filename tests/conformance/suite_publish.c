/* suite_publish.c - stage, publish and back, in every order. */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/kv.h"

extern char **environ;

static void test_publish__data_stays(void **state)
{
	struct world *w = *state;
	char a[256], b[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "a", a);
	assert_true(is_mounted(a));
	put_file(a, "f", 100000, 1);
	/* The same mount at a second target shows the same files. */
	ok_publish(w, POOL "/db", "b", b);
	assert_true(has_file(b, "f", 100000, 1));
	ok_unpublish(w, POOL "/db", a);
	assert_true(has_file(b, "f", 100000, 1));
	ok_unpublish(w, POOL "/db", b);
	assert_false(has_file(b, "f", 100000, 1));
	ok_publish(w, POOL "/db", "a", a);
	assert_true(has_file(a, "f", 100000, 1));
	world_tidy(w);
}

static void test_publish__twice_at_one_target_is_one_mount(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	struct cleat_result res;
	char target[256];

	world_open(w);
	ok_create(w, "db", NULL);
	req.target = target_path(w, "t", true, target);
	ok_call(w, &req, NULL);
	unsigned before = mounts_below(w->targets, NULL, false);
	ok_call(w, &req, &res);
	assert_true(res.already);
	assert_string_equal(res.target, target);
	cleat_engine_result_done(&res);
	assert_int_equal(before, 1);
	assert_int_equal(mounts_below(w->targets, NULL, false), 1);
	assert_int_equal(count_claims(w, POOL "/db"), 1);
	/* Differently at the same target is another thing. */
	req.read_only = true;
	refused(w, &req, CLEAT_ALREADY_EXISTS, NULL);
	world_tidy(w);
}

static void test_publish__without_a_target_chooses_one(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	struct cleat_result first, second;

	world_open(w);
	ok_create(w, "db", NULL);
	ok_call(w, &req, &first);
	assert_true(first.target && is_mounted(first.target));
	put_file(first.target, "f", 1000, 3);
	ok_call(w, &req, &second);
	assert_string_equal(first.target, second.target);
	req.verb = CLEAT_VERB_UNPUBLISH;
	ok_call(w, &req, NULL);
	assert_false(is_mounted(first.target));
	ok_call(w, &req, NULL);
	cleat_engine_result_done(&first);
	cleat_engine_result_done(&second);
	world_tidy(w);
}

/* Modes 6 and 2 with their meaning from CSI v1; 1 and 7 take any number of targets on one node. */
static void test_publish__the_access_mode_decides_on_a_second_target(void **state)
{
	struct world *w = *state;
	static const struct {
		enum cleat_access_mode mode;
		bool read_only;
		bool second;
	} modes[] = {
		{ CLEAT_MODE_SINGLE_NODE_WRITER, false, true },
		{ CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER, false, false },
		{ CLEAT_MODE_SINGLE_NODE_MULTI_WRITER, false, true },
		{ CLEAT_MODE_SINGLE_NODE_READER_ONLY, true, true },
	};
	char a[256], b[256];

	world_open(w);
	ok_create(w, "db", NULL);
	for (size_t i = 0; i < CLEAT_COUNT(modes); i++) {
		struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");

		req.mode = modes[i].mode;
		req.read_only = modes[i].read_only;
		req.owner = "alloc 3f2a task db";
		req.target = target_path(w, "a", true, a);
		ok_call(w, &req, NULL);
		req.target = target_path(w, "b", true, b);
		if (modes[i].second)
			ok_call(w, &req, NULL);
		else
			refused(w, &req, CLEAT_FAILED_PRECONDITION, "alloc 3f2a task db");
		assert_int_equal(mounts_below(w->targets, NULL, false), modes[i].second ? 2 : 1);
		ok_unpublish(w, POOL "/db", a);
		ok_unpublish(w, POOL "/db", b);
	}
	world_tidy(w);
}

/* A single writer asks for a volume that somebody else already uses otherwise. */
static void test_publish__a_single_writer_shares_with_nobody(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	char a[256], b[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "a", a);
	req.mode = CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER;
	req.target = target_path(w, "b", true, b);
	refused(w, &req, CLEAT_FAILED_PRECONDITION, a);
	ok_unpublish(w, POOL "/db", a);
	ok_call(w, &req, NULL);
	world_tidy(w);
}

static void test_publish__read_only_really_is(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	char rw[256], ro[256], path[300];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "rw", rw);
	put_file(rw, "f", 5000, 9);
	req.read_only = true;
	req.target = target_path(w, "ro", true, ro);
	ok_call(w, &req, NULL);
	assert_true(has_file(ro, "f", 5000, 9));
	snprintf(path, sizeof(path), "%s/g", ro);
	assert_int_equal(open(path, O_CREAT | O_WRONLY, 0600), -1);
	assert_int_equal(errno, EROFS);
	/* The writer beside it goes on. */
	put_file(rw, "g", 10, 1);
	ok_unpublish(w, POOL "/db", rw);
	ok_unpublish(w, POOL "/db", ro);
	/* Read-only alone, with a reader's mode. */
	req.mode = CLEAT_MODE_SINGLE_NODE_READER_ONLY;
	ok_call(w, &req, NULL);
	assert_true(has_file(ro, "f", 5000, 9));
	assert_int_equal(open(path, O_CREAT | O_WRONLY, 0600), -1);
	assert_int_equal(errno, EROFS);
	world_tidy(w);
}

static void test_publish__mounts_are_nosuid_and_nodev(void **state)
{
	struct world *w = *state;
	cleat_autokvs struct cleat_kvs options = kv_one("noexec", "");
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	char target[256];

	world_open(w);
	ok_create(w, "db", NULL);
	req.target = target_path(w, "t", true, target);
	req.mount_options = &options;
	ok_call(w, &req, NULL);
	assert_true(has_mount_option(target, "nosuid"));
	assert_true(has_mount_option(target, "nodev"));
	assert_true(has_mount_option(target, "noexec"));
	world_tidy(w);
}

static void test_publish__unknown_mount_options_are_refused_by_name(void **state)
{
	struct world *w = *state;
	static const char *const bad[] = { "suid", "dev", "colour", "noexec,suid", "data=journal,x" };
	char target[256];

	world_open(w);
	ok_create(w, "db", NULL);
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		cleat_autokvs struct cleat_kvs options = kv_one(bad[i], "");
		struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");

		req.target = target_path(w, "t", true, target);
		req.mount_options = &options;
		refused_any(w, &req, CODE(CLEAT_INVALID_ARGUMENT) | CODE(CLEAT_PERMISSION_DENIED), bad[i]);
		assert_false(is_mounted(target));
	}
	assert_int_equal(count_claims(w, NULL), 0);
	world_tidy(w);
}

/* ---- stages ------------------------------------------------------------------------------------------- */

static void stage(struct world *w, enum cleat_verb verb, const char *path)
{
	struct cleat_request req = req_for(verb, POOL "/db");

	req.target = path;
	ok_call(w, &req, NULL);
}

static bool is_staged(struct world *w)
{
	struct cleat_volume_state v;
	bool staged;

	ok_get(w, POOL "/db", CLEAT_KIND_VOLUME, &v);
	staged = v.staged;
	cleat_volume_state_done(&v);
	return staged;
}

static void test_stage__goes_with_the_last_that_needs_it(void **state)
{
	struct world *w = *state;
	char a[256], b[256], t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	target_path(w, "stage-a", true, a);
	target_path(w, "stage-b", true, b);
	stage(w, CLEAT_VERB_STAGE, a);
	stage(w, CLEAT_VERB_STAGE, a);
	stage(w, CLEAT_VERB_STAGE, b);
	assert_true(is_mounted(a) && is_mounted(b));
	put_file(a, "f", 100, 4);
	ok_publish(w, POOL "/db", "t", t);
	assert_true(has_file(t, "f", 100, 4));
	stage(w, CLEAT_VERB_UNSTAGE, a);
	assert_false(is_mounted(a));
	assert_true(is_mounted(b) && is_mounted(t));
	stage(w, CLEAT_VERB_UNSTAGE, b);
	assert_true(is_mounted(t) && is_staged(w));
	ok_unpublish(w, POOL "/db", t);
	assert_false(is_staged(w));
	assert_int_equal(volume_loops(w, true), 0);
	world_tidy(w);
}

/* Nomad does send this: unstage while something is still published keeps the stage, and takes effect with the
 * last unpublish. */
static void test_stage__unstage_under_a_published_volume_waits(void **state)
{
	struct world *w = *state;
	char a[256], t[256], u[256];

	world_open(w);
	ok_create(w, "db", NULL);
	target_path(w, "stage-a", true, a);
	stage(w, CLEAT_VERB_STAGE, a);
	ok_publish(w, POOL "/db", "t", t);
	ok_publish(w, POOL "/db", "u", u);
	stage(w, CLEAT_VERB_UNSTAGE, a);
	put_file(t, "f", 100, 5);
	assert_true(has_file(u, "f", 100, 5));
	ok_unpublish(w, POOL "/db", t);
	assert_true(is_staged(w));
	assert_true(has_file(u, "f", 100, 5));
	ok_unpublish(w, POOL "/db", u);
	assert_false(is_staged(w));
	world_tidy(w);
}

static void test_stage__without_a_path_is_the_internal_mount(void **state)
{
	struct world *w = *state;
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	stage(w, CLEAT_VERB_STAGE, "");
	assert_true(is_staged(w));
	ok_publish(w, POOL "/db", "t", t);
	ok_unpublish(w, POOL "/db", t);
	/* It was asked for, so it stays until somebody takes it back. */
	assert_true(is_staged(w));
	stage(w, CLEAT_VERB_UNSTAGE, "");
	assert_false(is_staged(w));
	stage(w, CLEAT_VERB_UNSTAGE, "");
	world_tidy(w);
}

static void test_release__of_what_is_gone_is_done(void **state)
{
	struct world *w = *state;
	static const enum cleat_verb verbs[] = { CLEAT_VERB_UNPUBLISH, CLEAT_VERB_UNSTAGE,
						 CLEAT_VERB_DETACH };
	char never[256], id[CLEAT_ID_MAX_BYTES + 1];

	world_open(w);
	ok_create(w, "db", id);
	target_path(w, "never", false, never);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < CLEAT_COUNT(verbs); i++) {
			struct cleat_request req = req_for(verbs[i], id);

			req.target = never;
			ok_call(w, &req, NULL);
			req.target = "";
			ok_call(w, &req, NULL);
		}
		ok_delete(w, id); /* the second round is about a volume that no longer exists */
	}
	world_tidy(w);
}

static void test_delete__of_a_published_volume_names_the_holder(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, POOL "/db");
	struct cleat_request del = req_for(CLEAT_VERB_DELETE, POOL "/db");
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	req.owner = "alloc 3f2a task db";
	req.target = target_path(w, "t", true, t);
	ok_call(w, &req, NULL);
	put_file(t, "f", 100, 6);
	refused(w, &del, CLEAT_FAILED_PRECONDITION, "alloc 3f2a task db");
	assert_true(has_file(t, "f", 100, 6));
	put_file(t, "g", 100, 7);
	/* The same when only a stage holds it. */
	ok_unpublish(w, POOL "/db", t);
	stage(w, CLEAT_VERB_STAGE, t);
	refused(w, &del, CLEAT_FAILED_PRECONDITION, NULL);
	assert_true(has_file(t, "g", 100, 7));
	stage(w, CLEAT_VERB_UNSTAGE, t);
	ok_call(w, &del, NULL);
	world_tidy(w);
}

static void test_unpublish__never_under_a_running_task(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_UNPUBLISH, POOL "/db");
	struct cleat_error err;
	struct cleat_result res;
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", 100, 8);
	int held = open(t, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(held >= 0);
	req.target = t;
	enum cleat_code code = call(w, &req, &res, &err);
	assert_int_equal(code, CLEAT_FAILED_PRECONDITION);
	assert_true(err.retry);
	assert_true(has_file(t, "f", 100, 8));
	assert_int_equal(count_claims(w, NULL), 1);
	close(held);
	ok_call(w, &req, NULL);
	assert_false(is_mounted(t));
	world_tidy(w);
}

/* ---- block devices and file systems ------------------------------------------------------------------- */

static void test_block__a_device_node_appears_at_the_target(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	char t[256], data[4096] = "not an ext4 super block", back[4096] = "";
	struct stat st;
	uint64_t bytes = 0;

	world_open(w);
	req.name = "raw";
	req.capacity_bytes = w->fx->volume_bytes;
	req.access_type = CLEAT_ACCESS_BLOCK;
	if (!can(w, CLEAT_CAN_BLOCK)) {
		refused_any(w, &req,
			    CODE(CLEAT_INVALID_ARGUMENT) | CODE(CLEAT_UNIMPLEMENTED) |
				    CODE(CLEAT_FAILED_PRECONDITION),
			    NULL);
		world_tidy(w);
		return;
	}
	ok_create_with(w, &req, NULL);
	req = req_for(CLEAT_VERB_PUBLISH, POOL "/raw");
	req.target = target_path(w, "dev", false, t);
	ok_call(w, &req, NULL);
	assert_int_equal(stat(t, &st), 0);
	assert_true(S_ISBLK(st.st_mode));
	int fd = open(t, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, _IOR(0x12, 114, size_t), &bytes), 0); /* BLKGETSIZE64 */
	assert_int_equal(bytes, w->fx->volume_bytes);
	assert_int_equal(pwrite(fd, data, sizeof(data), 8192), sizeof(data));
	assert_int_equal(fsync(fd), 0);
	close(fd);
	ok_unpublish(w, POOL "/raw", t);
	ok_call(w, &req, NULL);
	fd = open(t, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, back, sizeof(back), 8192), sizeof(back));
	close(fd);
	assert_memory_equal(data, back, sizeof(data));
	world_tidy(w);
}

static void test_fs__each_kind_is_made_and_mounted(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *fs;
		long magic;
		uint64_t bytes;
	} kinds[] = {
		{ "ext4", 0xef53, 32 * MIB },
		{ "xfs", 0x58465342, 320 * MIB },
		{ "btrfs", 0x9123683e, 256 * MIB },
	};
	char t[256], ref[64];

	world_open(w);
	for (size_t i = 0; i < CLEAT_COUNT(kinds); i++) {
		cleat_autokvs struct cleat_kvs params = kv_one("fs", kinds[i].fs);
		struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
		struct statfs st;

		req.name = kinds[i].fs;
		req.capacity_bytes = kinds[i].bytes;
		req.params = &params;
		ok_create_with(w, &req, NULL);
		snprintf(ref, sizeof(ref), POOL "/%s", kinds[i].fs);
		ok_publish(w, ref, "t", t);
		assert_int_equal(statfs(t, &st), 0);
		assert_int_equal(st.f_type, kinds[i].magic);
		put_file(t, "f", 300000, 1);
		ok_unpublish(w, ref, t);
		ok_publish(w, ref, "t", t);
		assert_true(has_file(t, "f", 300000, 1));
		ok_unpublish(w, ref, t);
		ok_delete(w, ref);
	}
	cleat_autokvs struct cleat_kvs params = kv_one("fs", "ntfs");
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);
	req.name = "no";
	req.capacity_bytes = 64 * MIB;
	req.params = &params;
	refused(w, &req, CLEAT_INVALID_ARGUMENT, "ntfs");
	world_tidy(w);
}

/* ---- mounts that survive elsewhere -------------------------------------------------------------------- */

/* A process with a mount namespace of its own, a copy of this one, that hears nothing of what is unmounted
 * here. */
static pid_t start_elsewhere(void)
{
	char *const argv[] = { (char *)(uintptr_t) "unshare",
			       (char *)(uintptr_t) "--mount",
			       (char *)(uintptr_t) "--propagation",
			       (char *)(uintptr_t) "private",
			       (char *)(uintptr_t) "sleep",
			       (char *)(uintptr_t) "1000",
			       NULL };
	char name[64], comm[32] = "";
	pid_t pid;

	assert_int_equal(posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ), 0);
	snprintf(name, sizeof(name), "/proc/%d/comm", (int)pid);
	/* Once it sleeps, it has its namespace. */
	for (int i = 0; i < 2000 && strcmp(comm, "sleep\n") != 0; i++) {
		cleat_autoclose int fd = open(name, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd >= 0 ? read(fd, comm, sizeof(comm) - 1) : 0;

		comm[n > 0 ? n : 0] = '\0';
		usleep(1000);
	}
	assert_string_equal(comm, "sleep\n");
	return pid;
}

static void end_elsewhere(struct world *w, pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(volume_loops(w, true), 0);
}

/* A second loop device on the same image would be mounted happily, and would destroy it. */
static void test_mounts__that_survive_elsewhere_share_the_device(void **state)
{
	struct world *w = *state;
	struct cleat_request del = req_for(CLEAT_VERB_DELETE, POOL "/db");
	char t[256], u[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", MIB, 1);
	pid_t elsewhere = start_elsewhere();
	ok_unpublish(w, POOL "/db", t);
	const unsigned bound = volume_loops(w, false);
	refused(w, &del, CLEAT_FAILED_PRECONDITION, "in use");
	ok_publish(w, POOL "/db", "u", u);
	assert_true(has_file(u, "f", MIB, 1));
	assert_int_equal(volume_loops(w, false), bound);
	assert_int_equal(bound, 1);
	put_file(u, "g", MIB, 2);
	ok_unpublish(w, POOL "/db", u);
	end_elsewhere(w, elsewhere);
	ok_publish(w, POOL "/db", "u", u);
	assert_true(has_file(u, "f", MIB, 1) && has_file(u, "g", MIB, 2));
	world_tidy(w);
}

/* What still lives elsewhere must not be resized under it; it is mounted as it is, and grows later. */
static void test_mounts__that_survive_elsewhere_put_growth_off(void **state)
{
	struct world *w = *state;
	struct cleat_request req = req_for(CLEAT_VERB_EXPAND, POOL "/db");
	char t[256];

	world_open(w);
	ok_create(w, "db", NULL);
	ok_publish(w, POOL "/db", "t", t);
	put_file(t, "f", MIB, 1);
	pid_t elsewhere = start_elsewhere();
	ok_unpublish(w, POOL "/db", t);
	req.capacity_bytes = 3 * w->fx->volume_bytes;
	ok_call(w, &req, NULL);
	ok_publish(w, POOL "/db", "t", t);
	assert_true(has_file(t, "f", MIB, 1));
	put_file(t, "g", MIB, 2);
	ok_unpublish(w, POOL "/db", t);
	end_elsewhere(w, elsewhere);
	ok_publish(w, POOL "/db", "t", t);
	assert_true(df_total(t) > 2 * w->fx->volume_bytes);
	assert_true(has_file(t, "f", MIB, 1) && has_file(t, "g", MIB, 2));
	world_tidy(w);
}

const struct suite_case suite_publish[] = {
	CASE(test_publish__data_stays, IN_QUICK, 0, 0),
	CASE(test_publish__twice_at_one_target_is_one_mount, IN_QUICK, 0, 0),
	CASE(test_publish__without_a_target_chooses_one, 0, 0, 0),
	CASE(test_publish__the_access_mode_decides_on_a_second_target, 0, 0, 0),
	CASE(test_publish__a_single_writer_shares_with_nobody, 0, 0, 0),
	CASE(test_publish__read_only_really_is, IN_QUICK, 0, 0),
	CASE(test_publish__mounts_are_nosuid_and_nodev, 0, 0, 0),
	CASE(test_publish__unknown_mount_options_are_refused_by_name, 0, 0, 0),
	CASE(test_stage__goes_with_the_last_that_needs_it, IN_QUICK, 0, 0),
	CASE(test_stage__unstage_under_a_published_volume_waits, 0, 0, 0),
	CASE(test_stage__without_a_path_is_the_internal_mount, 0, 0, 0),
	CASE(test_release__of_what_is_gone_is_done, 0, 0, 0),
	CASE(test_delete__of_a_published_volume_names_the_holder, IN_QUICK, 0, 0),
	CASE(test_unpublish__never_under_a_running_task, 0, 0, 0),
	CASE(test_block__a_device_node_appears_at_the_target, IN_QUICK, 0, 0),
	CASE(test_fs__each_kind_is_made_and_mounted, IN_QUICK, 0, KEEPS_IMAGE),
	CASE(test_mounts__that_survive_elsewhere_share_the_device, 0, 0, KEEPS_IMAGE),
	CASE(test_mounts__that_survive_elsewhere_put_growth_off, 0, CLEAT_CAN_EXPAND, KEEPS_IMAGE),
	{ 0 },
};
