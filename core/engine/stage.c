/* stage.c - the one internal mount of a volume on this node: made when somebody first needs it, gone when the last one has left. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/fs.h"
#include "sys/file.h"
#include "sys/loop.h"
#include "sys/mount.h"
#include "sys/probe.h"
#include "util/buf.h"
#include "util/ids.h"

#define MAP_LIMIT_MS 60000
#define MOUNT_LIMIT_MS 120000
#define MKFS_LIMIT_MS 600000
#define GROW_LIMIT_MS 1800000
#define FORMATTING "formatting" /* attribute: UUID of the file system that is being made */

static void source_done(struct cleat_source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}
#define autosource __attribute__((cleanup(source_done)))

static struct cleat_op *handle(struct op *op)
{
	return (struct cleat_op *)op;
}

static void stage_text(const struct cleat_engine *e, const char *id, char out[CLEAT_TARGET_MAX_BYTES])
{
	snprintf(out, CLEAT_TARGET_MAX_BYTES, "%s/%s", e->stage_dir, id);
}

/* ---- mount options -------------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *key;
	unsigned flag;
	bool refused;
} mount_flag_keys[] = {
	{ "ro", CLEAT_MOUNT_READ_ONLY, false }, { "rw", 0, false },	       { "noexec", CLEAT_MOUNT_NOEXEC, false },
	{ "exec", 0, false },			{ "noatime", CLEAT_MOUNT_NOATIME, false },
	{ "nodiratime", CLEAT_MOUNT_NODIRATIME, false },
	{ "relatime", 0, false },		{ "nosuid", 0, false },	       { "nodev", 0, false },
	{ "suid", 0, true },			{ "dev", 0, true },
};

/* True when the key is one of the mount's own flags rather than the file system's. */
static bool take_flag(const struct cleat_kv *kv, unsigned *flags, struct cleat_error *err)
{
	for (size_t i = 0; i < CLEAT_COUNT(mount_flag_keys); i++) {
		if (strcmp(kv->key, mount_flag_keys[i].key) != 0)
			continue;
		if (mount_flag_keys[i].refused)
			cleat_error_set(err, CLEAT_PERMISSION_DENIED, "mount option '%s' is not allowed", kv->key);
		else if (*kv->value)
			cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "mount option '%s' takes no value", kv->key);
		*flags |= mount_flag_keys[i].flag;
		return true;
	}
	return false;
}

/* The flags of one mount, and what is left for the super block. */
enum cleat_code split_mount_options(const struct cleat_kvs *options, bool read_only, struct mount_flags *out,
				    struct cleat_error *err)
{
	*out = (struct mount_flags){ .flags = read_only ? CLEAT_MOUNT_READ_ONLY : 0 };
	for (size_t i = 0; options && i < options->count; i++) {
		if (take_flag(&options->items[i], &out->flags, err)) {
			if (err->code)
				return err->code;
		} else if (cleat_kv_set(&out->super, options->items[i].key, options->items[i].value, err)) {
			return err->code;
		}
	}
	return CLEAT_OK;
}

char *mount_options_text(const struct cleat_kvs *options)
{
	cleat_autobuf struct cleat_buf b = CLEAT_BUF_INIT(65536);

	for (size_t i = 0; options && i < options->count; i++)
		cleat_buf_addf(&b, "%s%s%s%s", i ? "," : "", options->items[i].key, *options->items[i].value ? "=" : "",
			       options->items[i].value);
	return cleat_buf_steal(&b);
}

static enum cleat_code check_super_options(const char *fs_name, const struct cleat_kvs *super, struct cleat_error *err)
{
	const struct cleat_fs *fs = *fs_name ? cleat_fs_find(fs_name) : NULL;

	if (!super || super->count == 0)
		return CLEAT_OK;
	if (fs)
		return cleat_fs_check_mount_options(fs, super, err);
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "mount option '%s' is not known for this volume", super->items[0].key);
}

enum cleat_code cleat_volume_check_mount_options(const char *fs, const struct cleat_kvs *options, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct mount_flags flags = { 0 };

	if (split_mount_options(options, false, &flags, &own) == CLEAT_OK)
		(void)!check_super_options(fs, &flags.super, &own);
	cleat_kv_done(&flags.super);
	if (own.code && err)
		*err = own;
	return own.code;
}

/* ---- what is there now -------------------------------------------------------------------------------------------------------------------- */

struct cleat_where stage_where(struct cleat_engine *e, const char *id, struct where_text *text)
{
	struct cleat_where where = { NULL, NULL };

	pthread_mutex_lock(&e->lock);
	struct node_volume *nv = node_find(e, id);
	if (nv && nv->staged) {
		snprintf(text->device, sizeof(text->device), "%s", nv->device);
		where.device = *nv->device ? text->device : NULL;
		if (!nv->block) {
			stage_text(e, id, text->stage);
			where.stage_path = text->stage;
		}
	}
	pthread_mutex_unlock(&e->lock);
	return where;
}

/* Compares with what was mounted there; fills that in when it is not known (after a restart). */
bool stage_is_mounted(struct cleat_engine *e, const char *id)
{
	char path[CLEAT_TARGET_MAX_BYTES];
	struct cleat_sys_place place;

	stage_text(e, id, path);
	if (cleat_sys_look(AT_FDCWD, path, &place, NULL) || !place.exists || !place.is_mount_root)
		return false;
	pthread_mutex_lock(&e->lock);
	struct node_volume *nv = node_find(e, id);
	bool same = nv && nv->staged && (nv->dev == 0 || (nv->dev == place.dev && nv->ino == place.ino));
	if (same) {
		nv->dev = place.dev;
		nv->ino = place.ino;
	}
	pthread_mutex_unlock(&e->lock);
	return same;
}

/* ---- the record after mounting ------------------------------------------------------------------------------------------------------------ */

enum cleat_code store_record(struct op *op, struct cleat_record *rec, struct cleat_error *err)
{
	cleat_op_step(handle(op), "store record", MAP_LIMIT_MS);
	if (op->pool->backend->update(op->pool->instance, handle(op), rec, err))
		return err->code;
	return pool_put(op->pool, rec, err);
}

static bool owner_is_pending(const struct cleat_record *rec)
{
	return cleat_kv_get(&rec->attributes, "owner_pending") != NULL;
}

static bool must_grow(const struct cleat_record *rec)
{
	return *rec->fs && rec->access_type == CLEAT_ACCESS_MOUNT && rec->fs_bytes && rec->fs_bytes < rec->capacity_bytes;
}

static enum cleat_code apply_owner(const struct cleat_record *rec, const char *path, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	const struct cleat_kvs *kvs = &rec->params;
	const bool uid = cleat_kv_get(kvs, "uid"), gid = cleat_kv_get(kvs, "gid"), mode = cleat_kv_get(kvs, "mode");

	if (cleat_sys_open_root(path, &fd, err))
		return err->code;
	return cleat_sys_set_owner(fd, uid ? (uid_t)cleat_param_number(cleat_param_common, kvs, "uid") : (uid_t)-1,
				   gid ? (gid_t)cleat_param_number(cleat_param_common, kvs, "gid") : (gid_t)-1,
				   mode ? (mode_t)cleat_param_number(cleat_param_common, kvs, "mode") : (mode_t)-1, path, err);
}

/* What can only be done to a mounted volume and has not been done yet: its growth, its owner.  Done again after a crash, because the
 * record still says so. */
static enum cleat_code finish_stage(struct op *op, const struct cleat_record *rec, const char *path, const char *device,
				    struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *changed = NULL;
	bool grown = false;

	if ((!must_grow(rec) && !owner_is_pending(rec)) || rec->format > CLEAT_RECORD_FORMAT)
		return CLEAT_OK;
	if (!(changed = cleat_record_copy(rec)))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (must_grow(rec)) {
		cleat_op_step(handle(op), "grow the file system", GROW_LIMIT_MS);
		if (cleat_fs_grow_mounted(cleat_fs_find(rec->fs), path, device, &grown, err))
			return err->code;
		if (grown)
			changed->fs_bytes = rec->capacity_bytes;
	}
	if (owner_is_pending(rec)) {
		if (apply_owner(rec, path, err))
			return err->code;
		cleat_kv_remove(&changed->attributes, "owner_pending");
	}
	if (!grown && !owner_is_pending(rec))
		return CLEAT_OK;
	return store_record(op, changed, err);
}

/* ---- making it ------------------------------------------------------------------------------------------------------------------------------ */

/* Puts a changed copy in the record's place, here and in the storage. */
static enum cleat_code replace_record(struct op *op, struct cleat_record **rec, struct cleat_record *changed, struct cleat_error *err)
{
	cleat_record_unref(*rec);
	*rec = changed;
	return store_record(op, changed, err);
}

/* The id that the file system will have is stored before it is made: if we are killed while mkfs runs, or before it is noted that it has run,
 * what lies on the device is known to be ours, and is made anew. */
static enum cleat_code intend_format(struct op *op, struct cleat_record **rec, struct cleat_error *err)
{
	char uuid[CLEAT_ID_UUID_BYTES];

	if (cleat_kv_get(&(*rec)->attributes, FORMATTING))
		return CLEAT_OK;
	struct cleat_record *changed = cleat_record_copy(*rec);
	cleat_id_new_uuid(uuid);
	if (!changed || cleat_kv_set(&changed->attributes, FORMATTING, uuid, err)) {
		cleat_record_unref(changed);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	return replace_record(op, rec, changed, err);
}

/* A device that was never formatted gets its file system here, if libblkid finds nothing on it but what we had begun. */
static enum cleat_code format_first(struct op *op, struct cleat_record **rec, const struct cleat_source *source,
				    struct cleat_error *err)
{
	const struct cleat_fs *fs = cleat_fs_find((*rec)->fs);
	const char *begun = cleat_kv_get(&(*rec)->attributes, FORMATTING);
	struct cleat_sys_content content;

	if (cleat_sys_probe(source->fd, source->path, &content, err))
		return err->code;
	if (!content.empty && !(begun && strcmp(content.uuid, begun) == 0))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'%s' was never formatted by us but its device '%s' holds %s: not touched", op->id,
				       source->path, *content.type ? content.type : "data");
	if (intend_format(op, rec, err))
		return err->code;
	struct cleat_fs_make_opts how = { .path = source->path,
					  .params = &(*rec)->params,
					  .keep_fd = source->fd,
					  .uuid = cleat_kv_get(&(*rec)->attributes, FORMATTING),
					  .discard = true };
	if (cleat_sys_block_size(source->path, &how.bytes, err))
		return err->code;
	cleat_op_step(handle(op), "make the file system", MKFS_LIMIT_MS);
	if (cleat_fs_make(fs, &how, err))
		return err->code;
	struct cleat_record *changed = cleat_record_copy(*rec);
	if (!changed)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	changed->formatted = true;
	changed->fs_bytes = how.bytes;
	cleat_kv_remove(&changed->attributes, FORMATTING);
	return replace_record(op, rec, changed, err);
}

static enum cleat_code grow_first(struct op *op, struct cleat_record **rec, const struct cleat_source *source,
				  struct cleat_error *err)
{
	const struct cleat_fs *fs = cleat_fs_find((*rec)->fs);
	bool in_use = false;

	if (!must_grow(*rec) || !fs || fs->grows_only_mounted || (*rec)->format > CLEAT_RECORD_FORMAT)
		return CLEAT_OK;
	cleat_op_step(handle(op), "grow the file system", GROW_LIMIT_MS);
	/* A child that outlived a killed daemon still holds this lock. */
	if (source->fd >= 0 && cleat_sys_lock(source->fd, source->path, err)) {
		err->code = CLEAT_ABORTED;
		err->retry = true;
		return cleat_error_wrap(err, "an earlier resize of '%s' still runs", op->id);
	}
	/* A mount that outlived ours in somebody's mount namespace: one more mount of the device is safe, growing it is not.  Later, then. */
	if (cleat_sys_block_in_use(source->path, &in_use, err))
		return err->code;
	if (in_use)
		return CLEAT_OK;
	if (cleat_fs_grow_unmounted(fs, source->path, source->fd, err))
		return err->code;
	struct cleat_record *changed = cleat_record_copy(*rec);
	if (!changed)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	changed->fs_bytes = changed->capacity_bytes;
	cleat_record_unref(*rec);
	*rec = changed;
	return store_record(op, changed, err);
}

static enum cleat_code mount_source(struct op *op, struct cleat_record **rec, struct cleat_source *source,
				    const struct cleat_kvs *super, const char *path, struct cleat_error *err)
{
	cleat_autoclose int target = -1;

	if (cleat_sys_mkdir_path(path, 0700, err))
		return err->code;
	if (source->kind == CLEAT_SOURCE_DIRECTORY) {
		cleat_op_step(handle(op), "bind", MOUNT_LIMIT_MS);
		if ((target = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
			return cleat_error_errno(err, errno, "open '%s'", path);
		return cleat_sys_bind(source->fd, target, source->read_only ? CLEAT_MOUNT_READ_ONLY : 0, path, err);
	}
	const struct cleat_fs *fs = cleat_fs_find((*rec)->fs);
	if (!fs)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' has the file system '%s', which is not known here",
				       op->id, (*rec)->fs);
	if (!(*rec)->formatted && format_first(op, rec, source, err))
		return err->code;
	if (grow_first(op, rec, source, err))
		return err->code;
	cleat_op_step(handle(op), "mount", MOUNT_LIMIT_MS);
	return cleat_fs_mount(fs, source->path, path, super, source->read_only ? CLEAT_MOUNT_READ_ONLY : 0, (*rec)->clone, err);
}

/* Records the intention first, so that whatever a crash leaves behind is known to be ours. */
static enum cleat_code note_stage(struct op *op, const struct cleat_record *rec, const struct cleat_source *source,
				  const char *options, struct cleat_error *err)
{
	struct cleat_engine *e = op->e;
	enum cleat_code code = CLEAT_OK;

	pthread_mutex_lock(&e->lock);
	struct node_volume *nv = node_get(e, op->id);
	char *copy = strdup(options);
	if (!nv || !copy) {
		free(copy);
		code = cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	} else {
		free(nv->options);
		nv->options = copy;
		nv->block = rec->access_type == CLEAT_ACCESS_BLOCK;
		nv->dev = 0;
		snprintf(nv->device, sizeof(nv->device), "%.*s", (int)sizeof(nv->device) - 1,
			 source->kind == CLEAT_SOURCE_DEVICE ? source->path : "");
	}
	pthread_mutex_unlock(&e->lock);
	/* Only this operation touches nv: it holds the volume. */
	return code ? code : facts_put_stage(e->facts, nv, err);
}

static void set_staged(struct op *op, bool staged)
{
	struct cleat_engine *e = op->e;

	pthread_mutex_lock(&e->lock);
	struct node_volume *nv = node_find(e, op->id);
	if (nv) {
		nv->staged = staged;
		if (!staged)
			nv->explicit_stage = false;
		node_drop_if_idle(e, nv);
	}
	pthread_mutex_unlock(&e->lock);
}

static enum cleat_code take_down(struct op *op, struct cleat_error *err)
{
	char path[CLEAT_TARGET_MAX_BYTES];
	cleat_autorecord struct cleat_record *rec = NULL;
	struct cleat_error ignored = CLEAT_ERROR_INIT;

	stage_text(op->e, op->id, path);
	cleat_op_step(handle(op), "unmount", MOUNT_LIMIT_MS);
	if (cleat_sys_unmount(path, err))
		return err->code;
	if (path_remove(path, AT_REMOVEDIR, err))
		return err->code;
	if (op->pool->instance && op->pool->backend->unmap && pool_take(op, &rec, &ignored) == CLEAT_OK &&
	    op->pool->backend->unmap(op->pool->instance, handle(op), rec, err))
		return err->code;
	if (facts_drop_stage(op->e->facts, op->id, err))
		return err->code;
	set_staged(op, false);
	return CLEAT_OK;
}

/* After a failure: nothing may be left that nobody knows of; the first error is the one that counts. */
static enum cleat_code undo(struct op *op, struct cleat_error *err)
{
	struct cleat_error second = CLEAT_ERROR_INIT;

	set_staged(op, true);
	(void)!take_down(op, &second);
	return err->code;
}

static enum cleat_code make_stage(struct op *op, struct cleat_record **rec, const struct cleat_kvs *super, const char *options,
				  struct cleat_error *err)
{
	struct pool *p = op->pool;
	autosource struct cleat_source source = { .fd = -1 };
	char path[CLEAT_TARGET_MAX_BYTES];

	stage_text(op->e, op->id, path);
	cleat_op_step(handle(op), "map", MAP_LIMIT_MS);
	if (p->backend->map(p->instance, handle(op), *rec, false, &source, err))
		return err->code;
	if (note_stage(op, *rec, &source, options, err))
		return undo(op, err);
	if ((*rec)->access_type == CLEAT_ACCESS_MOUNT) {
		if (mount_source(op, rec, &source, super, path, err) || finish_stage(op, *rec, path, source.path, err))
			return undo(op, err);
	}
	set_staged(op, true);
	if ((*rec)->access_type == CLEAT_ACCESS_MOUNT && !stage_is_mounted(op->e, op->id)) {
		cleat_error_set(err, CLEAT_INTERNAL, "'%s' is not mounted at '%s' although mounting succeeded", op->id, path);
		return undo(op, err);
	}
	emit_volume(op->e, CLEAT_EVENT_STAGED, p, op->id, (*rec)->name, path);
	return CLEAT_OK;
}

/* Whether the stage that memory knows is still usable. */
static bool is_staged(struct op *op, bool block)
{
	pthread_mutex_lock(&op->e->lock);
	struct node_volume *nv = node_find(op->e, op->id);
	bool staged = nv && nv->staged;
	pthread_mutex_unlock(&op->e->lock);
	return staged && (block || stage_is_mounted(op->e, op->id));
}

static enum cleat_code check_same_options(struct op *op, const char *options, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	if (!*options)
		return CLEAT_OK; /* no wish of its own: what is there will do */
	pthread_mutex_lock(&op->e->lock);
	struct node_volume *nv = node_find(op->e, op->id);
	if (nv && strcmp(nv->options ? nv->options : "", options) != 0)
		code = cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' is mounted already with the options '%s', not '%s'",
				       op->id, nv->options ? nv->options : "", options);
	pthread_mutex_unlock(&op->e->lock);
	return code;
}

enum cleat_code stage_ensure(struct op *op, const struct cleat_kvs *super, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	cleat_autofree char *options = mount_options_text(super);

	if (!options)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (pool_take(op, &rec, err) || check_super_options(rec->fs, super, err))
		return err->code;
	if (is_staged(op, rec->access_type == CLEAT_ACCESS_BLOCK)) {
		struct where_text text;
		struct cleat_where where = stage_where(op->e, op->id, &text);
		if (check_same_options(op, options, err))
			return err->code;
		return where.stage_path ? finish_stage(op, rec, where.stage_path, where.device, err) : CLEAT_OK;
	}
	return make_stage(op, &rec, super, options, err);
}

enum cleat_code stage_drop_if_unused(struct op *op, struct cleat_error *err)
{
	pthread_mutex_lock(&op->e->lock);
	struct node_volume *nv = node_find(op->e, op->id);
	const bool drop = nv && nv->staged && !nv->claims && !nv->explicit_stage;
	pthread_mutex_unlock(&op->e->lock);
	if (!drop)
		return CLEAT_OK;
	if (take_down(op, err))
		return err->code;
	emit_volume(op->e, CLEAT_EVENT_UNSTAGED, op->pool, op->id, "", "");
	return CLEAT_OK;
}

/* ---- verbs ------------------------------------------------------------------------------------------------------------------------------------ */

static enum cleat_code set_explicit(struct op *op, bool wanted, struct cleat_error *err)
{
	pthread_mutex_lock(&op->e->lock);
	struct node_volume *nv = node_find(op->e, op->id);
	const bool change = nv && nv->explicit_stage != wanted;
	if (change)
		nv->explicit_stage = wanted;
	pthread_mutex_unlock(&op->e->lock);
	return change && nv->staged ? facts_put_stage(op->e->facts, nv, err) : CLEAT_OK;
}

static bool is_block(struct op *op)
{
	pthread_mutex_lock(&op->e->lock);
	struct node_volume *nv = node_find(op->e, op->id);
	bool block = nv && nv->block;
	pthread_mutex_unlock(&op->e->lock);
	return block;
}

/* A staging path is a claim of its own sort; a block volume has nothing to show there, so only the stage itself is noted. */
enum cleat_code verb_stage(struct op *op, struct cleat_error *err)
{
	struct mount_flags flags = { 0 };
	cleat_autorecord struct cleat_record *rec = NULL;

	if (pool_take(op, &rec, err))
		return err->code;
	if (*op->req.target && rec->access_type == CLEAT_ACCESS_MOUNT)
		return verb_publish(op, err);
	enum cleat_code code = split_mount_options(op->req.mount_options, op->req.read_only, &flags, err);
	if (code == CLEAT_OK)
		code = stage_ensure(op, &flags.super, err);
	if (code == CLEAT_OK)
		code = set_explicit(op, true, err);
	cleat_kv_done(&flags.super);
	return code;
}

enum cleat_code verb_unstage(struct op *op, struct cleat_error *err)
{
	char path[CLEAT_TARGET_MAX_BYTES];
	bool found = false;

	if (!op->id[0]) {
		op->result.already = true;
		return CLEAT_OK;
	}
	if (*op->req.target && !is_block(op)) {
		if (target_canonical(op->req.target, path, err) || claim_release(op, path, false, &found, err))
			return err->code;
		op->result.already = !found;
	} else if (set_explicit(op, false, err)) {
		return err->code;
	}
	return stage_drop_if_unused(op, err);
}
