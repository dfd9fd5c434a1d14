/* fs.c - what the file systems have in common: finding them, running mkfs, mounting and growing by their
 * tables. */
#include "fs/fs.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fs/driver.h"
#include "sys/file.h"
#include "sys/fsctl.h"
#include "sys/loop.h"
#include "sys/mount.h"
#include "sys/spawn.h"
#include "util/kv.h"
#include "util/mem.h"

/* mkfs writes little, but a disk that is busy can make it wait. */
#define MAKE_LIMIT_MS (10 * 60 * 1000)

static const struct cleat_fs *const all[] = {
	&cleat_fs_driver_ext4.pub,
	&cleat_fs_driver_xfs.pub,
	&cleat_fs_driver_btrfs.pub,
	NULL,
};

static const struct cleat_fs_driver *driver(const struct cleat_fs *fs)
{
	return CLEAT_CONTAINER(fs, const struct cleat_fs_driver, pub);
}

const struct cleat_fs *const *cleat_fs_list(void)
{
	return all;
}

bool cleat_param_fs_at(size_t i, const char **name_out, const struct cleat_param **make_out,
		       const struct cleat_param **mount_out)
{
	size_t count = 0;

	while (all[count])
		count++;
	if (i >= count)
		return false;
	if (name_out)
		*name_out = all[i]->name;
	if (make_out)
		*make_out = all[i]->make_params;
	if (mount_out)
		*mount_out = all[i]->mount_params;
	return true;
}

const struct cleat_fs *cleat_fs_find(const char *name)
{
	for (size_t i = 0; all[i]; i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}

/* ---- argument vectors ---- */

void cleat_fs_args_add(struct cleat_fs_args *a, const char *literal)
{
	if (a->count == CLEAT_FS_ARGS_MAX) {
		a->full = true;
		return;
	}
	a->items[a->count++] = literal;
	a->items[a->count] = NULL;
}

void cleat_fs_args_addf(struct cleat_fs_args *a, const char *fmt, ...)
{
	size_t room = sizeof(a->text) - a->used;
	char *text = a->text + a->used;
	va_list list;

	va_start(list, fmt);
	int n = vsnprintf(text, room, fmt, list);
	va_end(list);
	if (n < 0 || (size_t)n >= room) {
		a->full = true;
		return;
	}
	a->used += (size_t)n + 1;
	cleat_fs_args_add(a, text);
}

/* ---- making ---- */

/* The pairs of all that belong to the file system: "ext4.inode_size" belongs to ext4. */
static enum cleat_code own_params(const struct cleat_fs *fs, const struct cleat_kvs *params,
				  struct cleat_kvs *out, struct cleat_error *err)
{
	size_t n = strlen(fs->name);

	for (size_t i = 0; params && i < params->count; i++) {
		const struct cleat_kv *pair = &params->items[i];
		if (strncmp(pair->key, fs->name, n) != 0 || pair->key[n] != '.')
			continue;
		if (cleat_kv_set(out, pair->key, pair->value, err))
			return err ? err->code : CLEAT_RESOURCE_EXHAUSTED;
	}
	const struct cleat_param *tables[] = { fs->make_params };
	return cleat_param_check(tables, 1, out, err);
}

enum cleat_code cleat_fs_make(const struct cleat_fs *fs, const struct cleat_fs_make_opts *how,
			      struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs params = { NULL, 0 };
	struct cleat_fs_make_opts own = *how;
	struct cleat_fs_args args = { { NULL }, 0, { 0 }, 0, false };
	struct cleat_spawn run = { args.items, how->keep_fd, MAKE_LIMIT_MS, 0 };
	enum cleat_code code = own_params(fs, how->params, &params, err);

	if (code)
		return code;
	if (how->bytes < fs->min_bytes || how->bytes > fs->max_bytes)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE,
				       "make %s: %llu bytes are not between %llu and %llu", fs->name,
				       (unsigned long long)how->bytes, (unsigned long long)fs->min_bytes,
				       (unsigned long long)fs->max_bytes);
	own.params = &params;
	driver(fs)->make_args(&args, &own);
	cleat_fs_args_add(&args, how->path);
	if (args.full)
		return cleat_error_set(err, CLEAT_INTERNAL, "make %s: the command line is too long",
				       fs->name);
	return cleat_sys_spawn(&run, NULL, 0, NULL, err);
}

/* ---- mounting ---- */

static const struct cleat_param *find_param(const struct cleat_param *table, const char *key)
{
	for (; table->key; table++)
		if (strcmp(table->key, key) == 0)
			return table;
	return NULL;
}

/* A copy in which flags that were given without a value say "true", as the tables know them. */
static enum cleat_code normalise(const struct cleat_fs *fs, const struct cleat_kvs *options,
				 struct cleat_kvs *out, struct cleat_error *err)
{
	for (size_t i = 0; options && i < options->count; i++) {
		const struct cleat_kv *pair = &options->items[i];
		const struct cleat_param *p = find_param(fs->mount_params, pair->key);
		bool flag = p && p->type == CLEAT_PARAM_BOOL && pair->value[0] == '\0';
		enum cleat_code code = cleat_kv_set(out, pair->key, flag ? "true" : pair->value, err);
		if (code)
			return code;
	}
	return CLEAT_OK;
}

static enum cleat_code checked_options(const struct cleat_fs *fs, const struct cleat_kvs *options,
				       struct cleat_kvs *out, struct cleat_error *err)
{
	const struct cleat_param *tables[] = { fs->mount_params };
	enum cleat_code code = normalise(fs, options, out, err);

	if (!code)
		code = cleat_param_check(tables, 1, out, err);
	if (code)
		cleat_error_wrap(err, "mount options of %s", fs->name);
	return code;
}

enum cleat_code cleat_fs_check_mount_options(const struct cleat_fs *fs, const struct cleat_kvs *options,
					     struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs checked = { NULL, 0 };

	return checked_options(fs, options, &checked, err);
}

/* Keys that are properties of the mount rather than of the super block; 0 for those that change nothing. */
static bool is_mount_flag(const char *key, unsigned *flag_out)
{
	static const struct {
		const char *key;
		unsigned flag;
	} known[] = {
		{ "noatime", CLEAT_MOUNT_NOATIME },
		{ "nodiratime", CLEAT_MOUNT_NODIRATIME },
		{ "noexec", CLEAT_MOUNT_NOEXEC },
		{ "relatime", 0 },
		{ "nosuid", 0 },
		{ "nodev", 0 },
	};

	for (size_t i = 0; i < CLEAT_COUNT(known); i++) {
		if (strcmp(known[i].key, key) == 0) {
			*flag_out = known[i].flag;
			return true;
		}
	}
	return false;
}

/* Splits checked user keys into mount flags and fsconfig strings; a flag that is "false" is left out. */
static enum cleat_code split_options(const struct cleat_fs *fs, const struct cleat_kvs *checked,
				     unsigned *flags, struct cleat_kvs *super, struct cleat_error *err)
{
	for (size_t i = 0; i < checked->count; i++) {
		const struct cleat_kv *pair = &checked->items[i];
		const struct cleat_param *p = find_param(fs->mount_params, pair->key);
		bool is_flag = p && p->type == CLEAT_PARAM_BOOL;
		unsigned flag = 0;
		if (is_flag && !cleat_param_bool(fs->mount_params, checked, pair->key))
			continue;
		if (is_mount_flag(pair->key, &flag)) {
			*flags |= flag;
			continue;
		}
		enum cleat_code code = cleat_kv_set(super, pair->key, is_flag ? "" : pair->value, err);
		if (code)
			return code;
	}
	return CLEAT_OK;
}

enum cleat_code cleat_fs_mount(const struct cleat_fs *fs, const char *device, const char *target,
			       const struct cleat_kvs *options, unsigned flags, bool clone,
			       struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs checked = { NULL, 0 }, super = { NULL, 0 };
	const struct cleat_fs_driver *d = driver(fs);
	cleat_autoclose int root = -1;
	enum cleat_code code = checked_options(fs, options, &checked, err);

	if (!code)
		code = split_options(fs, &checked, &flags, &super, err);
	if (!code && clone && d->clone_option)
		code = cleat_kv_set(&super, d->clone_option, "", err);
	if (!code)
		code = cleat_sys_mount_device(fs->name, device, &super, flags, target, err);
	if (code || !d->mounted || (flags & CLEAT_MOUNT_READ_ONLY))
		return code;
	if (cleat_sys_open_root(target, &root, NULL) == CLEAT_OK)
		d->mounted(root);
	return CLEAT_OK;
}

/* ---- growing and checking ---- */

enum cleat_code cleat_fs_grow_mounted(const struct cleat_fs *fs, const char *mount_path, const char *device,
				      bool *grown_out, struct cleat_error *err)
{
	cleat_autoclose int root = -1;
	bool grown = false;
	uint64_t bytes = 0;
	enum cleat_code code = cleat_sys_block_size(device, &bytes, err);

	if (!code)
		code = cleat_sys_open_root(mount_path, &root, err);
	if (!code)
		code = driver(fs)->grow(root, bytes, mount_path, &grown, err);
	if (!code)
		*grown_out = grown;
	return code;
}

enum cleat_code cleat_fs_grow_unmounted(const struct cleat_fs *fs, const char *path, int keep_fd,
					struct cleat_error *err)
{
	if (!driver(fs)->grow_unmounted)
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "%s grows only while it is mounted",
				       fs->name);
	return driver(fs)->grow_unmounted(path, keep_fd, err);
}

enum cleat_code cleat_fs_check_unmounted(const struct cleat_fs *fs, const char *path, int keep_fd,
					 struct cleat_error *err)
{
	return driver(fs)->check_unmounted ? driver(fs)->check_unmounted(path, keep_fd, err) : CLEAT_OK;
}

enum cleat_code cleat_fs_make_distinct(const struct cleat_fs *fs, int fd, const char *what,
				       struct cleat_error *err)
{
	return driver(fs)->make_distinct ? driver(fs)->make_distinct(fd, what, err) : CLEAT_OK;
}

enum cleat_code cleat_fs_sector_bytes(const struct cleat_fs *fs, int fd, const char *what, uint32_t *out,
				      struct cleat_error *err)
{
	uint64_t filled = 0;

	return driver(fs)->read_super(fd, what, out, &filled, err);
}

enum cleat_code cleat_fs_filled_bytes(const struct cleat_fs *fs, int fd, const char *what, uint64_t *out,
				      struct cleat_error *err)
{
	uint32_t sector = 0;

	return driver(fs)->read_super(fd, what, &sector, out, err);
}
