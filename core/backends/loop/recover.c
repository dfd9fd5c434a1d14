/* recover.c - what a killed daemon may have left in a pool: attempts, trash, frozen file systems, devices
 * that nobody uses. */
#include "backends/loop/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/file.h"
#include "sys/list.h"
#include "sys/mount.h"
#include "util/mem.h"

struct recovery {
	struct loop_pool *pool;
	bool (*in_use)(const char *key, void *arg);
	cleat_report_fn report;
	void *arg;
	bool only_look;
	/* The device that is looked at. */
	const struct cleat_loop *loop;
	ino_t image_ino;
	dev_t image_dev;
	char key[CLEAT_KEY_MAX_BYTES + 1]; /* of the volume that has that image; "" none */
	bool mounted;
};

static void tell(const struct recovery *r, const char *line)
{
	if (r->report)
		r->report(line, r->arg);
}

/* ---- frozen file systems ---- */

/* A group snapshot freezes its volumes; whoever froze them may be gone.  Thawing what is not frozen does
 * nothing. */
static bool thaw_ours(const struct cleat_mount_entry *entry, void *arg)
{
	const struct recovery *r = arg;
	char key[CLEAT_KEY_MAX_BYTES + 1];
	cleat_autoclose int fd = -1;

	if (strncmp(entry->source, "/dev/loop", 9) != 0 || !loop_find_mount(r->pool, entry, key))
		return true;
	if (cleat_sys_open_root(entry->target, &fd, NULL) == CLEAT_OK &&
	    cleat_sys_thaw(fd, entry->target, NULL))
		tell(r, "a volume's file system could not be thawed");
	return true;
}

/* ---- devices that nobody uses ---- */

static bool same_image(const char *name, unsigned char type, void *arg)
{
	struct recovery *r = arg;
	char path[CLEAT_KEY_MAX_BYTES + sizeof("/" LOOP_IMAGE)];
	struct stat st;

	(void)type;
	if (strlen(name) > CLEAT_KEY_MAX_BYTES)
		return true;
	snprintf(path, sizeof(path), "%s/%s", name, LOOP_IMAGE);
	if (fstatat(r->pool->dir.volumes_fd, path, &st, AT_SYMLINK_NOFOLLOW) || st.st_ino != r->image_ino ||
	    st.st_dev != r->image_dev)
		return true;
	snprintf(r->key, sizeof(r->key), "%s", name);
	return false;
}

static bool is_of_device(const struct cleat_mount_entry *entry, void *arg)
{
	struct recovery *r = arg;
	char root[CLEAT_LOOP_PATH_BYTES];

	snprintf(root, sizeof(root), "/loop%d", r->loop->number);
	if (strcmp(entry->source, r->loop->path) == 0 || entry->dev == r->loop->dev ||
	    strcmp(entry->root, root) == 0)
		r->mounted = true;
	return !r->mounted;
}

static void free_one(const struct recovery *r)
{
	const bool freed = !r->only_look && cleat_sys_loop_detach(r->loop->path, NULL) == CLEAT_OK;
	char line[160];

	snprintf(line, sizeof(line), "%s, which holds volume '%s' for nobody, %s", r->loop->path, r->key,
		 r->only_look ? "is left"
		 : freed      ? "freed"
			      : "cannot be freed");
	tell(r, line);
}

/* Only raw devices can be left over: the others go by themselves. */
static bool free_unused(const struct cleat_loop *loop, dev_t image_dev, ino_t image_ino, void *arg)
{
	struct recovery *r = arg;
	struct stat st;

	if (loop->autoclear || fstat(r->pool->data_fd, &st) || st.st_dev != image_dev)
		return true;
	r->loop = loop;
	r->image_dev = image_dev;
	r->image_ino = image_ino;
	r->key[0] = '\0';
	r->mounted = false;
	if (cleat_sys_list(r->pool->dir.volumes_fd, ".", same_image, r, NULL) || !r->key[0] ||
	    r->in_use(r->key, r->arg))
		return true;
	if (cleat_sys_mounts(is_of_device, r, NULL) || r->mounted)
		return true;
	free_one(r);
	return true;
}

enum cleat_code loop_recover(void *arg, bool (*in_use)(const char *key, void *arg), cleat_report_fn report,
			     void *report_arg, struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	struct recovery r = { .pool = pool, .in_use = in_use, .report = report, .arg = report_arg };
	enum cleat_code code = cleat_sys_mounts(thaw_ours, &r, err);

	if (!code)
		code = loop_group_recover(pool, report, report_arg, err);
	if (!code)
		code = cleat_pooldir_sweep(&pool->dir, NULL, NULL, report, report_arg, err);
	if (!code)
		code = cleat_sys_loop_each(free_unused, &r, err);
	return code;
}

enum cleat_code loop_leftovers(void *arg, bool (*in_use)(const char *key, void *arg), cleat_report_fn report,
			       void *report_arg, struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	struct recovery r = {
		.pool = pool, .in_use = in_use, .report = report, .arg = report_arg, .only_look = true
	};
	enum cleat_code code = cleat_pooldir_leftovers(&pool->dir, report, report_arg, err);

	return code ? code : cleat_sys_loop_each(free_unused, &r, err);
}
