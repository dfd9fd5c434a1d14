/* tree_lab.c - see tree_lab.h. */
#include "tree_lab.h"

#include "sys/hook.h"
#include "sys/loop.h"
#include "util/kv.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the place ------------------------------------------------------------------------------- */

static struct tree_lab *setup(void **state)
{
	struct tree_lab *t = calloc(1, sizeof(*t));
	void *lab = NULL;

	assert_non_null(t);
	assert_int_equal(lab_setup(&lab), 0);
	t->lab = lab;
	t->report = (struct cleat_buf)CLEAT_BUF_INIT(1 << 20);
	lab_mkdir(t->lab, "fs");
	*state = t;
	return t;
}

int tree_setup_plain(void **state)
{
	struct tree_lab *t = setup(state);

	lab_mkdir(t->lab, "fs/pool");
	return 0;
}

static int setup_image(void **state, const char *fs, uint64_t bytes, const char *options)
{
	struct tree_lab *t = setup(state);
	struct cleat_loop loop = { .fd = -1 };

	lab_image(t->lab, "image", fs, bytes, &loop);
	if (strcmp(fs, "ext4") == 0 && strstr(options, "prjquota"))
		LAB_RUN("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "quota,project", "-E",
			"quotatype=prjquota", loop.path);
	assert_int_equal(mount(loop.path, lab_join(t->lab, "fs"), fs, 0, options), 0);
	t->mounted = true;
	close(loop.fd);
	lab_mkdir(t->lab, "fs/pool");
	return 0;
}

int tree_setup_btrfs(void **state)
{
	/* Nobody pulls the plug here, so flushing the disk at every commit would only cost time. */
	return setup_image(state, "btrfs", 512 * TREE_MIB, "nobarrier");
}

int tree_setup_ext4_project(void **state)
{
	return setup_image(state, "ext4", 256 * TREE_MIB, "prjquota");
}

int tree_setup_xfs_project(void **state)
{
	return setup_image(state, "xfs", 320 * TREE_MIB, "prjquota");
}

int tree_teardown(void **state)
{
	struct tree_lab *t = *state;
	void *lab = t->lab;

	tree_close(t);
	cleat_kv_done(&t->config);
	cleat_buf_done(&t->report);
	if (t->mounted)
		umount2(lab_join(t->lab, "fs"), 0);
	free(t);
	return lab_teardown(&lab);
}

/* ---- the pool -------------------------------------------------------------------------------- */

enum cleat_code tree_try_open(struct tree_lab *t, const struct cleat_backend *b, const char *const *more)
{
	const struct cleat_param *tables[] = { b->pool_params };

	cleat_kv_done(&t->config);
	lab_ok(cleat_kv_set(&t->config, "path", lab_join(t->lab, "fs/pool"), &t->err), &t->err);
	for (; more && *more; more += 2)
		lab_ok(cleat_kv_set(&t->config, more[0], more[1], &t->err), &t->err);
	lab_ok(cleat_param_check(tables, 1, &t->config, &t->err), &t->err);
	t->b = b;
	t->opts = (struct cleat_pool_options){ .name = "pool",
					       .state_dir = t->lab->path,
					       .runtime_dir = t->lab->path,
					       .config = &t->config,
					       .node = "node-1" };
	return b->open(&t->opts, &t->pool, &t->id, &t->err);
}

void tree_open(struct tree_lab *t, const struct cleat_backend *b, const char *const *more)
{
	lab_ok(tree_try_open(t, b, more), &t->err);
}

void tree_close(struct tree_lab *t)
{
	if (t->pool)
		t->b->close(t->pool);
	t->pool = NULL;
}

static bool not_in_use(const char *key, void *arg)
{
	(void)key;
	(void)arg;
	return false;
}

static void add_line(const char *line, void *arg)
{
	cleat_buf_addf(arg, "%s\n", line);
}

void tree_recover(struct tree_lab *t)
{
	cleat_buf_clear(&t->report);
	lab_ok(t->b->recover(t->pool, not_in_use, add_line, &t->report, &t->err), &t->err);
}

/* ---- volumes --------------------------------------------------------------------------------- */

struct cleat_record *tree_wish(const char *key, const char *name, uint64_t bytes, const char *const *params)
{
	struct cleat_record *rec = cleat_record_new(CLEAT_KIND_VOLUME);

	assert_non_null(rec);
	assert_int_equal(cleat_record_set(&rec->key, key, NULL), CLEAT_OK);
	assert_int_equal(cleat_record_set(&rec->name, name, NULL), CLEAT_OK);
	rec->capacity_bytes = bytes;
	for (; params && *params; params += 2)
		assert_int_equal(cleat_kv_set(&rec->params, params[0], params[1], NULL), CLEAT_OK);
	return rec;
}

struct cleat_record *tree_make(struct tree_lab *t, const char *key, uint64_t bytes)
{
	return tree_clone(t, NULL, key, bytes);
}

struct cleat_record *tree_clone(struct tree_lab *t, const struct cleat_record *source, const char *key,
				uint64_t bytes)
{
	cleat_autorecord struct cleat_record *wish = tree_wish(key, key, bytes, NULL);
	const struct cleat_where where = { NULL, NULL };
	struct cleat_record *rec = NULL;

	lab_ok(t->b->create(t->pool, NULL, wish, source, &where, &rec, &t->err), &t->err);
	assert_non_null(rec);
	return rec;
}

struct cleat_record *tree_snapshot(struct tree_lab *t, const struct cleat_record *source, const char *key)
{
	cleat_autorecord struct cleat_record *wish = tree_wish(key, key, 0, NULL);
	const struct cleat_record *const sources[] = { source };
	const struct cleat_record *const wishes[] = { wish };
	const struct cleat_where where = { NULL, NULL };
	struct cleat_record *rec = NULL;

	wish->kind = CLEAT_KIND_SNAPSHOT;
	lab_ok(t->b->snapshot(t->pool, NULL, sources, &where, wishes, 1, &rec, &t->err), &t->err);
	assert_non_null(rec);
	assert_int_equal(rec->kind, CLEAT_KIND_SNAPSHOT);
	return rec;
}

void tree_remove(struct tree_lab *t, const struct cleat_record *rec)
{
	lab_ok(t->b->remove(t->pool, NULL, rec, &t->err), &t->err);
}

const char *tree_attribute(const struct cleat_record *rec, const char *key)
{
	const char *value = cleat_kv_get(&rec->attributes, key);

	return value ? value : "";
}

void tree_map_ok(struct tree_lab *t, const struct cleat_record *rec)
{
	struct cleat_source source = { .fd = -1 };

	lab_ok(t->b->map(t->pool, NULL, rec, false, &source, &t->err), &t->err);
	close(source.fd);
}

/* ---- files ----------------------------------------------------------------------------------- */

const char *tree_path(const struct tree_lab *t, const char *what)
{
	char name[256];

	snprintf(name, sizeof(name), "fs/%s", what);
	return lab_join(t->lab, name);
}

const char *tree_data(const struct tree_lab *t, const char *key, const char *below)
{
	char name[256];

	snprintf(name, sizeof(name), "pool/volumes/%s/data%s%s", key, *below ? "/" : "", below);
	return tree_path(t, name);
}

int tree_entries(const struct tree_lab *t, const char *what)
{
	struct dirent **list = NULL;
	int count = scandir(tree_path(t, what), &list, NULL, NULL);

	for (int i = 0; i < count; i++)
		free(list[i]);
	free(list);
	return count - 2;
}

void tree_put(const char *path, const char *text)
{
	cleat_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

bool tree_holds(const char *path, const char *text)
{
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	char found[256];
	ssize_t n = fd < 0 ? -1 : read(fd, found, sizeof(found));

	return n >= 0 && (size_t)n == strlen(text) && memcmp(found, text, (size_t)n) == 0;
}

uint64_t tree_fill(const char *path, uint64_t bytes)
{
	cleat_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	static const char block[65536] = { 1 };
	uint64_t done = 0;

	assert_true(fd >= 0);
	while (done < bytes) {
		ssize_t n = write(fd, block, sizeof(block));
		if (n <= 0)
			break;
		done += (uint64_t)n;
	}
	if (done < bytes)
		assert_true(errno == EDQUOT || errno == ENOSPC);
	if (fsync(fd) != 0)
		assert_true(errno == EDQUOT || errno == ENOSPC);
	return done;
}

void tree_expect_tidy(const struct tree_lab *t, int volumes)
{
	assert_int_equal(tree_entries(t, "pool/new"), 0);
	assert_int_equal(tree_entries(t, "pool/trash"), 0);
	assert_int_equal(tree_entries(t, "pool/volumes"), volumes);
}

/* ---- being killed ---------------------------------------------------------------------------- */

static int steps_left;

static int die_at_step(const char *call, const char *what, void *arg)
{
	(void)call;
	(void)what;
	(void)arg;
	if (--steps_left == 0)
		_exit(99);
	return 0;
}

bool tree_killed_at(int n, void (*fn)(struct tree_lab *t), struct tree_lab *t)
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		steps_left = n;
		t->err = (struct cleat_error)CLEAT_ERROR_INIT;
		cleat_sys_hook_set(die_at_step, NULL);
		fn(t);
		_exit(t->err.code ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	/* An error object that was touched although every call succeeded counts as a failure, too. */
	if (!WIFEXITED(status) || (WEXITSTATUS(status) != 99 && WEXITSTATUS(status) != 0))
		fail_msg("the child ended with status %#x", (unsigned)status);
	return WEXITSTATUS(status) == 99;
}
