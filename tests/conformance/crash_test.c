/* crash_test.c - the crash enumeration: kill -9 at every single step of every operation.
 *
 *   crash --backend NAME [--op NAME] [--every N]
 *
 * For each operation and n = 1, 2, ...: a child process opens the engine, prepares, arms the hook that all
 * changing system calls of core/ pass, and calls the operation; at the n-th call it kills itself.  This
 * process then opens the engine again, checks that nothing acknowledged is lost and that what was published
 * stayed mounted and writable, makes the same call once more, checks its result, deletes everything and looks
 * for what is left over.  The enumeration ends with the n that the operation no longer reaches.  --every N
 * takes each N-th step only.
 *
 * A second round lets the recovery itself be killed: of the start after a kill in the middle, at every step.
 * A third one kills the daemon while a tool (mke2fs, e2fsck, resize2fs) is at work, and has the next daemon
 * there before the tool has ended.
 */
#include "world.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/hook.h"
#include "util/clock.h"
#include "util/kv.h"
#include "util/log.h"

#define MOST_STEPS 2000
#define FILE_BYTES 100000
#define CHILDREN_END_MS 10000
#define RETRY_MS 15000
#define EXIT_DONE 0 /* the operation was through before the n-th step */
#define EXIT_FAILED 3

extern char **environ;

/* ---- the hook of the child ---- */

static atomic_int armed; /* steps until the end; 0: not counting */

static int count_down(const char *what_is_called, const char *what, void *arg)
{
	(void)what_is_called;
	(void)what;
	(void)arg;
	if (atomic_load(&armed) > 0 && atomic_fetch_sub(&armed, 1) == 1)
		kill(getpid(), SIGKILL);
	return 0;
}

/* ---- what every operation starts from ---- */

/* Volume "base" is published at targets/base with a file in it: it must stay mounted and writable whatever
 * happens. */
static void prepare_base(struct world *w)
{
	char target[256];

	ok_create(w, "base", NULL);
	ok_publish(w, POOL "/base", "base", target);
	put_file(target, "f", FILE_BYTES, 1);
}

static void check_base(struct world *w, const char *file)
{
	char target[256];

	target_path(w, "base", false, target);
	if (!is_mounted(target))
		fail_msg("the published volume is no longer mounted");
	assert_true(has_file(target, "f", FILE_BYTES, 1));
	put_file(target, file, 4096, 2);
}

static struct cleat_request req_size(enum cleat_verb verb, const char *volume, uint64_t bytes)
{
	struct cleat_request req = req_for(verb, volume);

	req.capacity_bytes = bytes;
	return req;
}

/* The same call until it ends in something that asking again does not change: an earlier child may still hold
 * the image. */
static void ok_again(struct world *w, const struct cleat_request *req)
{
	const int64_t end = cleat_time_mono_ms() + RETRY_MS;
	struct cleat_result res = { 0 };
	struct cleat_error err;
	enum cleat_code code;

	do {
		err = (struct cleat_error)CLEAT_ERROR_INIT;
		code = cleat_engine_call(w->e, req, &res, &err);
		if (code && err.retry)
			usleep(50000);
	} while (code && err.retry && cleat_time_mono_ms() < end);
	if (code)
		fail_msg("%s again: %s: %s", cleat_verb_name(req->verb), cleat_code_name(code), err.msg);
	cleat_engine_result_done(&res);
}

/* ---- the operations ---- */

struct op {
	const char *name;
	unsigned caps;						  /* the pool must be able to */
	void (*prepare)(struct world *w);			  /* before the hook is armed; may be NULL */
	void (*make)(struct world *w, struct cleat_request *req); /* the call itself */
	void (*check)(struct world *w);				  /* after the repeated call */
};

static void check_usable(struct world *w, const char *volume, const char *file)
{
	char t[256];

	ok_publish(w, volume, "check", t);
	if (file)
		assert_true(has_file(t, file, FILE_BYTES, 1));
	put_file(t, "new", FILE_BYTES, 5);
	assert_true(has_file(t, "new", FILE_BYTES, 5));
	ok_unpublish(w, volume, t);
}

/* create */
static void make_create(struct world *w, struct cleat_request *req)
{
	*req = req_size(CLEAT_VERB_CREATE, NULL, w->fx->volume_bytes);
	req->name = "new";
}

static void check_create(struct world *w)
{
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 2);
	check_usable(w, POOL "/new", NULL);
}

/* create with owner and mode: they are applied at the first stage */
static void prepare_owned(struct world *w)
{
	struct cleat_kvs params = kv_one("uid", "999");
	struct cleat_request req = req_size(CLEAT_VERB_CREATE, NULL, w->fx->volume_bytes);

	assert_int_equal(cleat_kv_set(&params, "mode", "0710", NULL), CLEAT_OK);
	req.name = "new";
	req.params = &params;
	ok_create_with(w, &req, NULL);
	cleat_kv_done(&params);
}

static void make_publish_new(struct world *w, struct cleat_request *req)
{
	static char path[256];

	*req = req_for(CLEAT_VERB_PUBLISH, POOL "/new");
	req->target = target_path(w, "new", false, path);
	req->owner = "test";
}

static void check_owned(struct world *w)
{
	char path[256];
	struct stat st;

	target_path(w, "new", false, path);
	assert_true(is_mounted(path));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 999);
	assert_int_equal(st.st_mode & 07777, 0710);
	ok_unpublish(w, POOL "/new", path);
	if (access(path, F_OK) == 0)
		fail_msg("the directory that was made for the target is left");
}

/* clone of a volume in use, and from a snapshot */
static void make_clone(struct world *w, struct cleat_request *req)
{
	make_create(w, req);
	req->capacity_bytes = 0;
	req->source = POOL "/base";
}

static void prepare_snapshot(struct world *w)
{
	ok_snapshot(w, POOL "/base", "snap", NULL);
}

static void make_restore(struct world *w, struct cleat_request *req)
{
	make_create(w, req);
	req->capacity_bytes = 0;
	req->source = POOL "/snap";
}

static void check_clone(struct world *w)
{
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 2);
	check_usable(w, POOL "/new", "f");
}

/* a volume that nobody uses, with the file in it: for what is possible only then */
static void prepare_idle(struct world *w)
{
	char t[256];

	ok_create(w, "new", NULL);
	ok_publish(w, POOL "/new", "idle", t);
	put_file(t, "f", FILE_BYTES, 1);
	ok_unpublish(w, POOL "/new", t);
}

static void make_clone_idle(struct world *w, struct cleat_request *req)
{
	make_create(w, req);
	req->name = "copy";
	req->capacity_bytes = 0;
	req->source = POOL "/new";
}

static void check_clone_idle(struct world *w)
{
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 3);
	check_usable(w, POOL "/copy", "f");
	check_usable(w, POOL "/new", "f");
}

/* snapshot */
static void make_snapshot(struct world *w, struct cleat_request *req)
{
	(void)w;
	*req = req_for(CLEAT_VERB_SNAPSHOT, POOL "/base");
	req->name = "snap";
}

static void check_snapshot(struct world *w)
{
	assert_int_equal(count_volumes(w, CLEAT_KIND_SNAPSHOT), 1);
	ok_clone(w, POOL "/snap", "new", 0, NULL);
	check_usable(w, POOL "/new", "f");
}

static void make_group(struct world *w, struct cleat_request *req)
{
	static const char *const members[] = { POOL "/base", POOL "/new" };

	(void)w;
	*req = req_for(CLEAT_VERB_GROUP_SNAPSHOT, NULL);
	req->name = "group";
	req->volumes = members;
	req->volume_count = CLEAT_COUNT(members);
}

static void check_group(struct world *w)
{
	assert_int_equal(count_volumes(w, CLEAT_KIND_SNAPSHOT), 2);
	ok_clone(w, POOL "/group-1", "copy", 0, NULL);
	check_usable(w, POOL "/copy", "f");
}

static void make_delete_snapshot(struct world *w, struct cleat_request *req)
{
	(void)w;
	*req = req_for(CLEAT_VERB_DELETE_SNAPSHOT, POOL "/snap");
}

static void check_no_snapshot(struct world *w)
{
	assert_int_equal(count_volumes(w, CLEAT_KIND_SNAPSHOT), 0);
}

/* expand: in use, and idle (the file system then grows at the next stage) */
static void make_expand(struct world *w, struct cleat_request *req)
{
	*req = req_size(CLEAT_VERB_EXPAND, POOL "/base", w->fx->volume_bytes * 2);
}

static uint64_t size_of(struct world *w, const char *volume)
{
	struct cleat_volume_state v;

	ok_get(w, volume, CLEAT_KIND_VOLUME, &v);
	const char *wish = cleat_kv_get(&v.record->attributes, "requested_bytes");
	uint64_t bytes = v.record->capacity_bytes ? v.record->capacity_bytes
			 : wish			  ? strtoull(wish, NULL, 10)
						  : 0;
	cleat_volume_state_done(&v);
	return bytes;
}

static void check_expand(struct world *w)
{
	assert_int_equal(size_of(w, POOL "/base"), w->fx->volume_bytes * 2);
}

static void make_expand_idle(struct world *w, struct cleat_request *req)
{
	*req = req_size(CLEAT_VERB_EXPAND, POOL "/new", w->fx->volume_bytes * 2);
}

static void check_expand_idle(struct world *w)
{
	char t[256];

	assert_int_equal(size_of(w, POOL "/new"), w->fx->volume_bytes * 2);
	ok_publish(w, POOL "/new", "check", t);
	assert_true(has_file(t, "f", FILE_BYTES, 1));
	if (w->fx->traits & SHOWS_SIZE_IN_DF)
		assert_true(df_total(t) > w->fx->volume_bytes);
	ok_unpublish(w, POOL "/new", t);
}

/* the growth that was put off, done by the next publish */
static void prepare_grown(struct world *w)
{
	struct cleat_request req;

	prepare_idle(w);
	make_expand_idle(w, &req);
	ok_call(w, &req, NULL);
}

static void check_grown(struct world *w)
{
	char path[256];

	target_path(w, "new", false, path);
	assert_true(is_mounted(path) && has_file(path, "f", FILE_BYTES, 1));
	if (w->fx->traits & SHOWS_SIZE_IN_DF)
		assert_true(df_total(path) > w->fx->volume_bytes);
	ok_unpublish(w, POOL "/new", path);
}

/* publish: the first one of a volume, and a further target of one in use */
static void prepare_new(struct world *w)
{
	ok_create(w, "new", NULL);
}

static void check_published(struct world *w)
{
	char path[256];

	target_path(w, "new", false, path);
	assert_true(is_mounted(path));
	put_file(path, "g", FILE_BYTES, 7);
	assert_int_equal(count_claims(w, POOL "/new"), 1);
	ok_unpublish(w, POOL "/new", path);
	if (access(path, F_OK) == 0)
		fail_msg("the directory that was made for the target is left");
}

static void make_publish_further(struct world *w, struct cleat_request *req)
{
	static char path[256];

	*req = req_for(CLEAT_VERB_PUBLISH, POOL "/base");
	req->target = target_path(w, "further", true, path);
	req->read_only = true;
}

static void check_further(struct world *w)
{
	char path[256];

	target_path(w, "further", false, path);
	assert_true(has_file(path, "f", FILE_BYTES, 1));
	assert_true(has_mount_option(path, "ro"));
	assert_int_equal(count_claims(w, POOL "/base"), 2);
}

/* publish where the daemon chooses */
static void make_publish_chosen(struct world *w, struct cleat_request *req)
{
	(void)w;
	*req = req_for(CLEAT_VERB_PUBLISH, POOL "/new");
}

static void check_chosen(struct world *w)
{
	assert_int_equal(count_claims(w, POOL "/new"), 1);
	ok_unpublish(w, POOL "/new", "");
	assert_int_equal(count_claims(w, POOL "/new"), 0);
}

/* unpublish: the last target, and one of two */
static void prepare_published(struct world *w)
{
	struct cleat_request req;

	prepare_idle(w);
	make_publish_new(w, &req);
	ok_call(w, &req, NULL);
}

static void make_unpublish(struct world *w, struct cleat_request *req)
{
	static char path[256];

	*req = req_for(CLEAT_VERB_UNPUBLISH, POOL "/new");
	req->target = target_path(w, "new", false, path);
}

static void check_unpublished(struct world *w)
{
	char path[256];

	target_path(w, "new", false, path);
	assert_false(is_mounted(path));
	if (access(path, F_OK) == 0)
		fail_msg("the directory that was made for the target is left");
	assert_int_equal(count_claims(w, POOL "/new"), 0);
	check_usable(w, POOL "/new", "f");
}

static void prepare_further(struct world *w)
{
	struct cleat_request req;

	make_publish_further(w, &req);
	ok_call(w, &req, NULL);
}

static void make_unpublish_further(struct world *w, struct cleat_request *req)
{
	static char path[256];

	*req = req_for(CLEAT_VERB_UNPUBLISH, POOL "/base");
	req->target = target_path(w, "further", false, path);
}

static void check_unpublished_further(struct world *w)
{
	char path[256];

	target_path(w, "further", false, path);
	assert_false(is_mounted(path));
	assert_int_equal(count_claims(w, POOL "/base"), 1);
}

/* stage and unstage */
static void make_stage(struct world *w, struct cleat_request *req)
{
	static char path[256];

	*req = req_for(CLEAT_VERB_STAGE, POOL "/new");
	req->target = target_path(w, "stage", true, path);
}

static void prepare_staged(struct world *w)
{
	struct cleat_request req;

	prepare_idle(w);
	make_stage(w, &req);
	ok_call(w, &req, NULL);
}

static void make_unstage(struct world *w, struct cleat_request *req)
{
	make_stage(w, req);
	req->verb = CLEAT_VERB_UNSTAGE;
}

static void check_staged(struct world *w)
{
	struct cleat_request req;

	make_stage(w, &req);
	assert_true(has_file(req.target, "f", FILE_BYTES, 1));
	req.verb = CLEAT_VERB_UNSTAGE;
	ok_call(w, &req, NULL);
	assert_false(is_mounted(req.target));
}

static void check_unstaged(struct world *w)
{
	struct cleat_request req;

	make_stage(w, &req);
	assert_false(is_mounted(req.target));
	check_usable(w, POOL "/new", "f");
}

/* delete, modify, attach */
static void make_delete(struct world *w, struct cleat_request *req)
{
	(void)w;
	*req = req_for(CLEAT_VERB_DELETE, POOL "/new");
}

static void check_deleted(struct world *w)
{
	assert_false(exists(w, POOL "/new", CLEAT_KIND_VOLUME));
	assert_int_equal(pool_entries(w, "volumes"), 1);
}

static void make_modify(struct world *w, struct cleat_request *req)
{
	static struct cleat_kv pair = { (char *)(uintptr_t) "tier", (char *)(uintptr_t) "gold" };
	static const struct cleat_kvs labels = { &pair, 1 };

	(void)w;
	*req = req_for(CLEAT_VERB_MODIFY, POOL "/base");
	req->labels = &labels;
}

static void check_modified(struct world *w)
{
	struct cleat_volume_state v;

	ok_get(w, POOL "/base", CLEAT_KIND_VOLUME, &v);
	assert_string_equal(cleat_kv_get(&v.record->labels, "tier"), "gold");
	cleat_volume_state_done(&v);
}

static void make_attach(struct world *w, struct cleat_request *req)
{
	(void)w;
	*req = req_for(CLEAT_VERB_ATTACH, POOL "/new");
}

static void check_attached(struct world *w)
{
	struct cleat_request req = req_for(CLEAT_VERB_DETACH, POOL "/new");
	struct cleat_volume_state v;

	ok_get(w, POOL "/new", CLEAT_KIND_VOLUME, &v);
	assert_int_equal(v.record->attachment_count, 1);
	cleat_volume_state_done(&v);
	ok_call(w, &req, NULL);
}

/* adopt: a directory or an image that lies beside the pool */
static void adoptee(struct world *w, char path[256])
{
	snprintf(path, 256, "%s-adoptee", w->pool_path);
}

static void prepare_adoptee(struct world *w)
{
	char path[256], size[32];

	adoptee(w, path);
	if (!(w->fx->traits & KEEPS_IMAGE)) {
		const char *const subvolume[] = { "btrfs", "-q", "subvolume", "create", path, NULL };
		if (strcmp(w->fx->backend, "btrfs") == 0)
			assert_int_equal(run_tool(subvolume), 0);
		else if (mkdir(path, 0755) != 0)
			fail_msg("mkdir %s: %s", path, strerror(errno));
		put_file(path, "f", FILE_BYTES, 1);
		return;
	}
	snprintf(size, sizeof(size), "%lluK", (unsigned long long)(w->fx->volume_bytes / 1024));
	const char *const mkfs[] = { "mke2fs", "-q", "-F", "-t", "ext4", path, size, NULL };
	assert_int_equal(run_tool(mkfs), 0);
}

static void make_adopt(struct world *w, struct cleat_request *req)
{
	static char path[256];

	adoptee(w, path);
	*req = req_for(CLEAT_VERB_ADOPT, NULL);
	req->name = "new";
	req->what = path;
}

static void check_adopted(struct world *w)
{
	char path[256];

	adoptee(w, path);
	assert_int_equal(count_volumes(w, CLEAT_KIND_VOLUME), 2);
	check_usable(w, POOL "/new", w->fx->traits & KEEPS_IMAGE ? NULL : "f");
	remove_all(path);
}

/* block access */
static void prepare_block(struct world *w)
{
	struct cleat_request req = req_size(CLEAT_VERB_CREATE, NULL, w->fx->volume_bytes);

	req.name = "new";
	req.access_type = CLEAT_ACCESS_BLOCK;
	ok_create_with(w, &req, NULL);
}

static void check_block(struct world *w)
{
	char path[256];
	struct stat st;

	target_path(w, "new", false, path);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISBLK(st.st_mode));
	ok_unpublish(w, POOL "/new", path);
	if (access(path, F_OK) == 0)
		fail_msg("the file that was made for the target is left");
}

static const struct op ops[] = {
	{ "create", 0, NULL, make_create, check_create },
	{ "first-publish", 0, prepare_owned, make_publish_new, check_owned },
	{ "clone", CLEAT_CAN_CLONE | CLEAT_CAN_SNAPSHOT, NULL, make_clone, check_clone },
	{ "clone-idle", CLEAT_CAN_CLONE, prepare_idle, make_clone_idle, check_clone_idle },
	{ "restore", CLEAT_CAN_CLONE | CLEAT_CAN_SNAPSHOT, prepare_snapshot, make_restore, check_clone },
	{ "snapshot", CLEAT_CAN_SNAPSHOT, NULL, make_snapshot, check_snapshot },
	{ "group-snapshot", CLEAT_CAN_GROUP_SNAPSHOT, prepare_published, make_group, check_group },
	{ "delete-snapshot", CLEAT_CAN_SNAPSHOT, prepare_snapshot, make_delete_snapshot, check_no_snapshot },
	{ "expand", CLEAT_CAN_EXPAND_ONLINE, NULL, make_expand, check_expand },
	{ "expand-idle", CLEAT_CAN_EXPAND, prepare_idle, make_expand_idle, check_expand_idle },
	{ "publish-grown", CLEAT_CAN_EXPAND, prepare_grown, make_publish_new, check_grown },
	{ "publish", 0, prepare_new, make_publish_new, check_published },
	{ "publish-further", 0, NULL, make_publish_further, check_further },
	{ "publish-chosen", 0, prepare_new, make_publish_chosen, check_chosen },
	{ "unpublish", 0, prepare_published, make_unpublish, check_unpublished },
	{ "unpublish-further", 0, prepare_further, make_unpublish_further, check_unpublished_further },
	{ "stage", 0, prepare_idle, make_stage, check_staged },
	{ "unstage", 0, prepare_staged, make_unstage, check_unstaged },
	{ "delete", 0, prepare_idle, make_delete, check_deleted },
	{ "modify", 0, NULL, make_modify, check_modified },
	{ "attach", 0, prepare_new, make_attach, check_attached },
	{ "adopt", CLEAT_CAN_ADOPT, prepare_adoptee, make_adopt, check_adopted },
	{ "publish-block", CLEAT_CAN_BLOCK, prepare_block, make_publish_new, check_block },
};

/* ---- the child ---- */

struct options {
	const struct fixture *fx;
	const char *op, *child_dir; /* child_dir: this is a child, in that world */
	int every, step, recover_step;
};

static void world_of(struct world *w, const char *dir)
{
	*w = (struct world){ .fx = suite_fixture, .pool_count = 1, .report = CLEAT_BUF_INIT(64 * 1024) };
	snprintf(w->dir, sizeof(w->dir), "%s/w", dir);
	snprintf(w->state_dir, sizeof(w->state_dir), "%s/state", w->dir);
	snprintf(w->run_dir, sizeof(w->run_dir), "%s/run", w->dir);
	snprintf(w->targets, sizeof(w->targets), "%s/targets", w->dir);
	snprintf(w->pool_path, sizeof(w->pool_path), "%s/base/%s", dir, w->fx->sim ? "far" : "pool");
}

static const struct op *find_op(const char *name)
{
	for (size_t i = 0; i < CLEAT_COUNT(ops); i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	return NULL;
}

/* Prepares, arms, calls.  Killed at the step, or ends with EXIT_DONE. */
static int child(const struct options *o)
{
	const struct op *op = find_op(o->op);
	struct cleat_request req;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct world w;

	snprintf(suite_dir, sizeof(suite_dir), "%s", o->child_dir);
	world_of(&w, o->child_dir);
	cleat_sys_hook_set(count_down, NULL);
	if (o->recover_step) { /* only the start, killed at its own step */
		atomic_store(&armed, o->recover_step);
		world_open(&w);
		usleep(20000);
		atomic_store(&armed, 0);
		return EXIT_DONE;
	}
	world_open(&w);
	prepare_base(&w);
	if (op->prepare)
		op->prepare(&w);
	op->make(&w, &req);
	const char *slow = getenv("CRASH_SLOW_PATH");
	if (slow)
		setenv("PATH", slow, 1); /* from here on */
	atomic_store(&armed, o->step);
	enum cleat_code code = cleat_engine_call(w.e, &req, NULL, &err);
	atomic_store(&armed, 0);
	if (code) {
		fprintf(stderr, "%s: %s: %s\n", op->name, cleat_code_name(code), err.msg);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

static pid_t start_child(const struct options *o, const char *op, int step, int recover_step)
{
	char step_text[16], recover_text[16];
	pid_t pid;

	snprintf(step_text, sizeof(step_text), "%d", step);
	snprintf(recover_text, sizeof(recover_text), "%d", recover_step);
	const char *argv[] = { "/proc/self/exe", "--backend", o->fx->name, "--op",    op,
			       "--child",	 suite_dir,   "--step",	   step_text, "--recover-step",
			       recover_text,	 NULL };
	int rc = posix_spawn(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ);
	if (rc)
		fail_msg("posix_spawn: %s", strerror(rc));
	return pid;
}

/* The exit code of a child with these further arguments; -1 when it was killed as it should be. */
static int run_child(const struct options *o, const char *op, int step, int recover_step)
{
	pid_t pid = start_child(o, op, step, recover_step);
	int status;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return -1;
	if (!WIFEXITED(status))
		fail_msg("the child ended with signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* ---- the enumeration ---- */

static struct options options;

/* mkfs or resize2fs of the killed daemon end by themselves. */
static void wait_for_children(void)
{
	const int64_t end = cleat_time_mono_ms() + CHILDREN_END_MS;

	while (processes_below(suite_dir, false)) {
		if (cleat_time_mono_ms() > end)
			fail_msg("%u processes are left over", processes_below(suite_dir, true));
		usleep(5000);
	}
}

static void check_after(struct world *w, const struct op *op)
{
	struct cleat_request req;

	world_open(w);
	check_base(w, "after");
	op->make(w, &req);
	ok_again(w, &req);
	check_base(w, "again");
	op->check(w);
	wait_for_children();
	world_tidy(w);
	fixture_forget(); /* client tokens, too, which would have each next daemon go through all names that were used before */
}

/* One kill and what follows; false when the operation was through before. */
static bool kill_at(struct world *w, const struct op *op, int step)
{
	int rc = run_child(&options, op->name, step, 0);

	if (rc == EXIT_FAILED || rc > 0)
		fail_msg("%s failed in the child (exit %d)", op->name, rc);
	check_after(w, op);
	return rc < 0;
}

static void enumerate(struct world *w, const struct op *op)
{
	int step = 1, kills = 0;

	while (kill_at(w, op, step)) {
		kills++;
		step += options.every;
		if (step > MOST_STEPS)
			fail_msg("%s takes more than %d steps", op->name, MOST_STEPS);
	}
	print_message("%s: killed at %d of %s%d steps\n", op->name, kills, options.every > 1 ? "about " : "",
		      step - 1);
	assert_true(kills > 0);
}

/* The start after a kill, killed at each of its own steps, until it gets through. */
static void enumerate_recovery(struct world *w, const struct op *op, int step)
{
	int at = 1, kills = 0;

	for (;; at++) {
		if (run_child(&options, op->name, step, 0) >= 0)
			fail_msg("%s does not reach step %d", op->name, step);
		int rc = run_child(&options, op->name, step, at);
		if (rc > 0)
			fail_msg("the start failed (exit %d)", rc);
		check_after(w, op);
		if (rc == EXIT_DONE)
			break;
		kills++;
	}
	print_message("start after %s was killed at step %d: killed at %d steps\n", op->name, step, kills);
}

/* ---- a tool that is still at work when the daemon is back ---- */

static const char *const slow_tools[] = { "mke2fs", "e2fsck", "resize2fs" };

/* A folder for PATH in which these tools say that they run, and take their time. */
static void make_slow_tools(char folder[256])
{
	char path[320];

	snprintf(folder, 256, "%s/slow", suite_dir);
	if (mkdir(folder, 0755) && errno != EEXIST)
		fail_msg("mkdir %s: %s", folder, strerror(errno));
	for (size_t i = 0; i < CLEAT_COUNT(slow_tools); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, slow_tools[i]);
		FILE *f = fopen(path, "we");
		assert_non_null(f);
		fprintf(f, "#!/bin/sh\n: >%s/running\nsleep 1\nexec /sbin/%s \"$@\"\n", suite_dir,
			slow_tools[i]);
		fclose(f);
		assert_int_equal(chmod(path, 0755), 0);
	}
}

static void wait_for_file(const char *path)
{
	const int64_t end = cleat_time_mono_ms() + CHILDREN_END_MS;

	while (access(path, F_OK) != 0) {
		if (cleat_time_mono_ms() > end)
			fail_msg("'%s' does not appear", path);
		usleep(2000);
	}
}

/* Kills the daemon while its tool runs; the next daemon must neither disturb the tool nor be disturbed by it.
 */
static void kill_under_tool(struct world *w, const struct op *op)
{
	char folder[256], path[1024], running[128];
	const char *before = getenv("PATH");
	int status;

	snprintf(running, sizeof(running), "%s/running", suite_dir);
	make_slow_tools(folder);
	snprintf(path, sizeof(path), "%s:%s", folder, before ? before : "/usr/sbin:/usr/bin");
	setenv("CRASH_SLOW_PATH", path, 1);
	pid_t pid = start_child(&options, op->name, 0, 0);
	unsetenv("CRASH_SLOW_PATH");
	wait_for_file(running);
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	assert_true(WIFSIGNALED(status));
	if (!processes_below(suite_dir, false))
		fail_msg("the tool ended with its daemon");
	check_after(w, op);
	unlink(running);
}

static const struct op *current;

static void test_crash__while_a_tool_runs(void **state)
{
	kill_under_tool(*state, current);
}

static void test_crash__every_step(void **state)
{
	enumerate(*state, current);
}

static void test_crash__every_step_of_the_start_after_one(void **state)
{
	/* A creation at a far side has two: the call, and its answer. */
	enumerate_recovery(*state, current, suite_fixture->sim ? 2 : 3);
}

static int setup(void **state)
{
	static struct world w;

	world_of(&w, suite_dir);
	if (mkdir(w.dir, 0755) || mkdir(w.targets, 0755) || (!w.fx->sim && mkdir(w.pool_path, 0755)))
		return -1;
	fixture_forget();
	*state = &w;
	return 0;
}

/* Whatever state a failed test leaves: the next operation begins anew. */
static int teardown(void **state)
{
	struct world *w = *state;
	char path[256];

	if (w->e)
		cleat_engine_close(w->e, 5000);
	clear_below(w->dir);
	fixture_forget();
	if (!w->fx->sim) {
		clear_below(w->pool_path);
		remove_all(w->pool_path);
		adoptee(w, path);
		remove_all(path);
	}
	remove_all(w->dir);
	cleat_buf_done(&w->report);
	return 0;
}

static unsigned caps_of_fixture(void)
{
	return suite_fixture->has;
}

static int run_op(const struct op *op, void (*test)(void **), const char *what)
{
	char name[64];
	const struct CMUnitTest tests[] = { { op->name, test, setup, teardown, NULL } };

	current = op;
	snprintf(name, sizeof(name), "%s %s%s", suite_fixture->name, op->name, what);
	return _cmocka_run_group_tests(name, tests, 1, NULL, NULL);
}

static int run_all(void)
{
	int failed = 0;

	for (size_t i = 0; i < CLEAT_COUNT(ops); i++) {
		const struct op *op = &ops[i];
		if (options.op && strcmp(options.op, op->name) != 0)
			continue;
		if (op->caps & ~caps_of_fixture())
			continue;
		if (suite_fixture->sim && (op->caps & CLEAT_CAN_ADOPT)) /* far_test.c has its own */
			continue;
		/* What can only be done to idle volumes is tried with the -idle operations. */
		if ((suite_fixture->has & CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY) && (op->caps & CLEAT_CAN_SNAPSHOT))
			continue;
		failed += run_op(op, test_crash__every_step, "");
		if (strcmp(op->name, "create") == 0 || strcmp(op->name, "publish") == 0 ||
		    strcmp(op->name, "delete") == 0)
			failed += run_op(op, test_crash__every_step_of_the_start_after_one, ", start");
		if ((suite_fixture->traits & KEEPS_IMAGE) &&
		    (strcmp(op->name, "create") == 0 || strcmp(op->name, "publish-grown") == 0))
			failed += run_op(op, test_crash__while_a_tool_runs, ", tool");
	}
	return failed;
}

/* ---- the program ---- */

static bool read_options(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "backend", required_argument, NULL, 'b' },
		{ "op", required_argument, NULL, 'o' },
		{ "every", required_argument, NULL, 'e' },
		{ "child", required_argument, NULL, 'c' },
		{ "step", required_argument, NULL, 's' },
		{ "recover-step", required_argument, NULL, 'r' },
		{ 0 },
	};
	int option;

	options.every = 1;
	while ((option = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		if (option == 'b')
			options.fx = fixture_find(optarg);
		else if (option == 'o')
			options.op = optarg;
		else if (option == 'e')
			options.every = atoi(optarg);
		else if (option == 'c')
			options.child_dir = optarg;
		else if (option == 's')
			options.step = atoi(optarg);
		else if (option == 'r')
			options.recover_step = atoi(optarg);
		else
			return false;
	}
	return options.fx && options.every > 0 && (!options.op || find_op(options.op));
}

static bool make_dir(void)
{
	const char *top = getenv("TMPDIR");

	snprintf(suite_dir, sizeof(suite_dir), "%s/cleat-crash.XXXXXX",
		 top && *top && strlen(top) < 60 ? top : "/tmp");
	return mkdtemp(suite_dir) && chmod(suite_dir, 0755) == 0 && fixture_up(options.fx, suite_dir);
}

int main(int argc, char **argv)
{
	if (!read_options(argc, argv)) {
		fprintf(stderr, "crash --backend NAME [--op NAME] [--every N]\n");
		return 2;
	}
	suite_fixture = options.fx;
	cleat_log_setup(CLEAT_LOG_ERROR, CLEAT_LOG_TEXT, STDERR_FILENO);
	if (options.child_dir)
		return child(&options);
	if (geteuid() != 0) {
		printf("SKIPPED BECAUSE: mounts and loop devices need root\n");
		return 77;
	}
	if (!make_dir()) {
		fixture_down(suite_dir);
		return 1;
	}
	int failed = run_all();
	fixture_down(suite_dir);
	return failed ? 1 : 0;
}
