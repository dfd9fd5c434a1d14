/* device.c - images and their loop devices: binding, finding again, giving back.
 *
 * The device of a volume with a file system is bound with autoclear: its mount keeps it, and nothing has to
 * be undone.  A raw block volume has no mount that would keep it, so its device stays until unmap() or
 * recover() takes it away.
 */
#include "backends/loop/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/file.h"
#include "sys/mount.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/kv.h"
#include "util/mem.h"

#define SYNC_LIMIT_MS (10 * 60 * 1000)

static bool is_block(const struct cleat_record *rec)
{
	return rec->access_type == CLEAT_ACCESS_BLOCK;
}

static uint32_t sector_bytes(const struct cleat_record *rec)
{
	const char *text = cleat_kv_get(&rec->attributes, LOOP_ATTR_SECTOR);

	return text && strcmp(text, "512") == 0 ? 512 : LOOP_BLOCK_BYTES;
}

/* ---- mapping ---- */

/* A tool that was started on the device holds the lock that it inherited, even when the daemon that started
 * it is gone.  Whoever looks at a device that was bound just now (udev does) may hold a lock of its own for a
 * moment: that is no reason to refuse. */
static enum cleat_code check_no_tool(const struct cleat_record *rec, const struct cleat_loop *loop,
				     bool fresh, struct cleat_error *err)
{
	enum cleat_code code = is_block(rec) ? CLEAT_OK : cleat_sys_lock(loop->fd, loop->path, NULL);

	if (code == CLEAT_OK || fresh)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_ABORTED,
			       "an earlier e2fsck or resize2fs is still running on '%s' (%s)", rec->name,
			       loop->path);
}

/* A raw device on its way out would vanish under its next user. */
static enum cleat_code check_staying(const struct cleat_record *rec, const struct cleat_loop *loop,
				     struct cleat_error *err)
{
	if (!is_block(rec) || !loop->autoclear)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_ABORTED, "%s of '%s' goes away when its last user closes it",
			       loop->path, rec->name);
}

static enum cleat_code bind_image(const struct loop_pool *pool, const struct cleat_record *rec,
				  bool read_only, int image_fd, struct cleat_loop *loop,
				  struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf path = CLEAT_BUF_INIT(4096);
	bool image_read_only = rec->kind == CLEAT_KIND_SNAPSHOT || pool->dir.id.read_only;
	unsigned flags = (pool->direct_io ? CLEAT_LOOP_DIRECT_IO : 0) |
			 (is_block(rec) ? 0 : CLEAT_LOOP_AUTOCLEAR) |
			 (image_read_only ? CLEAT_LOOP_READ_ONLY : 0);
	cleat_buf_addf(&path, "%s/volumes/%s/%s", pool->data_path, rec->key, LOOP_IMAGE);
	enum cleat_code code = cleat_sys_loop_bind(image_fd, cleat_buf_text(&path), flags, sector_bytes(rec),
						   loop, err);
	const bool found = !code && loop->was_bound;
	if (found)
		code = check_staying(rec, loop, err);
	if (!code)
		code = check_no_tool(rec, loop, !found, err);
	/* A raw device is read-only while it was last asked for so; below a file system the mount says it. */
	if (!code && is_block(rec) && !image_read_only && (found || read_only))
		code = cleat_sys_block_set_read_only(loop->path, read_only, err);
	return code;
}

enum cleat_code loop_map(void *arg, struct cleat_op *op, const struct cleat_record *rec, bool read_only,
			 struct cleat_source *source_out, struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	cleat_autoclose int image = -1;
	struct cleat_loop loop = { .fd = -1 };
	bool fixed = rec->kind == CLEAT_KIND_SNAPSHOT || pool->dir.id.read_only;
	enum cleat_code code;

	cleat_op_step(op, "bind loop device", LOOP_STEP_MS);
	code = loop_open_image(pool, rec, fixed ? O_RDONLY : O_RDWR, &image, err);
	if (!code)
		code = bind_image(pool, rec, read_only, image, &loop, err);
	if (code) {
		if (loop.fd >= 0)
			close(loop.fd);
		return code;
	}
	*source_out = (struct cleat_source){
		.kind = CLEAT_SOURCE_DEVICE,
		.fd = loop.fd,
		.read_only = read_only || fixed,
	};
	snprintf(source_out->path, sizeof(source_out->path), "%s", loop.path);
	return CLEAT_OK;
}

/* A device with autoclear goes with its last user: the mount, or a tool. */
enum cleat_code loop_unmap(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			   struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	cleat_autoclose int image = -1;
	struct cleat_error inner = CLEAT_ERROR_INIT;
	struct cleat_loop loop = { .fd = -1 };
	bool found = false;

	cleat_op_step(op, "free loop device", LOOP_STEP_MS);
	enum cleat_code code = loop_open_image(pool, rec, O_RDONLY, &image, &inner);
	if (code == CLEAT_NOT_FOUND || code == CLEAT_DATA_LOSS)
		return CLEAT_OK;
	if (!code)
		code = cleat_sys_loop_find(image, false, &loop, &found, &inner);
	if (!code && found && !loop.autoclear)
		code = cleat_sys_loop_detach(loop.path, &inner);
	if (code && err)
		*err = inner;
	return code;
}

/* ---- who uses it ---- */

/* Somebody who has the device to himself (a mount, e2fsck) keeps others from that.  Without such a user it is
 * ours to free. */
static bool is_idle(const struct cleat_loop *loop)
{
	int fd = open(loop->path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* Whoever looks through all loop devices (losetup(8), udev, another daemon) has each open for a moment, and an
 * autoclear device goes only when the last one closes it. */
#define FREE_LIMIT_MS 3000
#define BUSY_LIMIT_MS 5000 /* for one that somebody has to himself: a mount stays, a task that is just being started does not */
#define FREE_NAP_US 5000

enum cleat_code loop_free_device(const struct loop_pool *pool, const struct cleat_record *rec, int image_fd,
				 struct cleat_error *err)
{
	const int64_t begin = cleat_time_mono_ms();
	struct cleat_loop loop = { .fd = -1 };
	bool found = false;

	(void)pool;
	for (;;) {
		enum cleat_code code = cleat_sys_loop_find(image_fd, false, &loop, &found, err);
		if (code || !found)
			return code;
		const bool idle = is_idle(&loop);
		if (cleat_time_mono_ms() - begin > (idle ? FREE_LIMIT_MS : BUSY_LIMIT_MS))
			break;
		if (idle && !loop.autoclear && (code = cleat_sys_loop_detach(loop.path, err)))
			return code;
		usleep(FREE_NAP_US);
	}
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' is in use: %s still has its image",
			       rec->name, loop.path);
}

/* ---- before a copy is made ---- */

static enum cleat_code sync_mount(const char *path, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	enum cleat_code code = cleat_sys_open_root(path, &fd, err);

	return code ? code : cleat_sys_syncfs(fd, path, err);
}

/* What a raw device's users wrote through its page cache. */
static enum cleat_code sync_device(int image_fd, struct cleat_error *err)
{
	struct cleat_loop loop = { .fd = -1 };
	bool found = false;
	enum cleat_code code = cleat_sys_loop_find(image_fd, true, &loop, &found, err);

	if (code || !found)
		return code;
	code = cleat_sys_fsync(loop.fd, loop.path, err);
	close(loop.fd);
	return code;
}

static enum cleat_code check_unused(const struct cleat_record *source, const struct cleat_where *where,
				    int image_fd, struct cleat_error *err)
{
	struct cleat_loop loop = { .fd = -1 };
	bool found = false;
	enum cleat_code code = cleat_sys_loop_find(image_fd, false, &loop, &found, err);

	if (code || (!found && !(where && where->stage_path)))
		return code;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
			       "'%s' is in use: this pool's file system cannot share blocks, so a copy can "
			       "only be made while the "
			       "volume is unpublished",
			       source->name);
}

enum cleat_code loop_sync_source(const struct loop_pool *pool, struct cleat_op *op,
				 const struct cleat_record *source, const struct cleat_where *where,
				 int image_fd, struct cleat_error *err)
{
	if (source->kind == CLEAT_KIND_SNAPSHOT)
		return CLEAT_OK;
	if (!pool->reflink)
		return check_unused(source, where, image_fd, err);
	cleat_op_step(op, "sync source", SYNC_LIMIT_MS);
	if (is_block(source))
		return sync_device(image_fd, err);
	return where && where->stage_path ? sync_mount(where->stage_path, err) : CLEAT_OK;
}

/* ---- whose mount it is ---- */

static bool parse_number(const char *text, int *out)
{
	size_t n = strspn(text, "0123456789");

	if (n == 0 || n > 7 || text[n])
		return false;
	*out = (int)strtol(text, NULL, 10);
	return true;
}

/* "/dev/loop7" is the source of a mounted file system; a published raw device is a bind of "/loop7" of the
 * file system that /dev is. */
static bool loop_number(const struct cleat_mount_entry *entry, int *out)
{
	if (strncmp(entry->source, "/dev/loop", 9) == 0)
		return parse_number(entry->source + 9, out);
	return strncmp(entry->root, "/loop", 5) == 0 && parse_number(entry->root + 5, out);
}

/* The key out of ".../volumes/<key>/image", which is what sysfs tells of the device. */
static bool key_of_path(char *path, char key_out[CLEAT_KEY_MAX_BYTES + 1])
{
	static const char tail[] = "/" LOOP_IMAGE;
	size_t n = strlen(path);

	if (n < sizeof(tail) || strcmp(path + n - (sizeof(tail) - 1), tail) != 0)
		return false;
	path[n - (sizeof(tail) - 1)] = '\0';
	const char *key = strrchr(path, '/');
	if (!key || !key[1] || strlen(key + 1) > CLEAT_KEY_MAX_BYTES)
		return false;
	snprintf(key_out, CLEAT_KEY_MAX_BYTES + 1, "%s", key + 1);
	return true;
}

static bool key_of_device(int number, char key_out[CLEAT_KEY_MAX_BYTES + 1])
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(8192);
	cleat_autoclose int dir = -1;
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/loop%d", number);
	if (cleat_sys_open_root(path, &dir, NULL) ||
	    cleat_sys_read_file(dir, "loop/backing_file", 8000, &text, NULL) || !text.len)
		return false;
	if (text.data[text.len - 1] == '\n')
		text.data[text.len - 1] = '\0';
	return key_of_path(text.data, key_out);
}

/* Names in sysfs are only a hint: the image that the device really has must be ours. */
static bool is_image_of(const struct loop_pool *pool, const char *key, dev_t dev, ino_t ino)
{
	char path[CLEAT_KEY_MAX_BYTES + sizeof("/" LOOP_IMAGE)];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", key, LOOP_IMAGE);
	return fstatat(pool->dir.volumes_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == dev &&
	       st.st_ino == ino;
}

bool loop_find_mount(void *arg, const struct cleat_mount_entry *entry, char key_out[CLEAT_KEY_MAX_BYTES + 1])
{
	const struct loop_pool *pool = arg;
	char key[CLEAT_KEY_MAX_BYTES + 1];
	struct cleat_loop loop;
	dev_t dev = 0;
	ino_t ino = 0;
	bool found = false;
	int number = 0;

	if (!loop_number(entry, &number) || cleat_sys_loop_get(number, &loop, &dev, &ino, &found, NULL) ||
	    !found)
		return false;
	if (!key_of_device(number, key) || !is_image_of(pool, key, dev, ino))
		return false;
	memcpy(key_out, key, sizeof(key));
	return true;
}
