/* btrfs.c - the backend `btrfs`: a volume is a subvolume, its size the limit of its quota group.  See
 * README.md. */
#include <cleat/backend.h>

#include "store/tree.h"
#include "sys/btrfs.h"
#include "sys/list.h"
#include "util/text.h"

#include <stdlib.h>
#include <string.h>

static const char *const quota_choices[] = { "auto", "simple", "qgroup", "none", NULL };

static const struct cleat_param pool_params[] = {
	CLEAT_POOLDIR_PARAMS,
	{ "quota", CLEAT_PARAM_CHOICE, NULL, "auto", quota_choices, 0, 0,
	  "What enforces sizes: simple (Linux 6.7), qgroup, none, or auto: what is on already, else simple, "
	  "else qgroup.",
	  false },
	CLEAT_TREE_PARAMS,
	{ NULL, CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, NULL, false },
};

static const struct cleat_param volume_params[] = {
	{ NULL, CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, NULL, false },
};

static enum cleat_tree_quota wanted_quota(const struct cleat_pool_options *opts)
{
	const char *word = cleat_param_text(pool_params, opts->config, "quota");

	if (strcmp(word, "simple") == 0)
		return CLEAT_TREE_QUOTA_SIMPLE;
	if (strcmp(word, "qgroup") == 0)
		return CLEAT_TREE_QUOTA_FULL;
	return strcmp(word, "none") == 0 ? CLEAT_TREE_QUOTA_NONE : CLEAT_TREE_QUOTA_AUTO;
}

/* Asked before anything is made: an empty directory on another file system is most likely a mount point
 * without its mount. */
static enum cleat_code fits(int root_fd, const char *path, void *arg, struct cleat_error *err)
{
	(void)arg;
	if (cleat_sys_is_btrfs(root_fd))
		return CLEAT_OK;
	return cleat_error_set(
		err, CLEAT_UNAVAILABLE,
		"pool directory '%.*s' is on %s, and this backend needs btrfs (is its file system mounted?)",
		cleat_text_cut(path, 200), path, cleat_sys_fs_name(root_fd));
}

/* A mode that the file system does not have is a matter of configuration; what else can go wrong may pass. */
static enum cleat_code switch_quota(struct cleat_tree *t, const struct cleat_pool_options *opts,
				    struct cleat_error *err)
{
	if (t->dir.id.read_only)
		return CLEAT_OK;
	enum cleat_code code = cleat_tree_subvolumes_quota(t, wanted_quota(opts), err);
	if (code == CLEAT_OK)
		return CLEAT_OK;
	cleat_error_wrap(err, "pool '%s': quota", opts->name);
	if (code == CLEAT_UNIMPLEMENTED || code == CLEAT_FAILED_PRECONDITION)
		return code;
	err->code = CLEAT_UNAVAILABLE;
	err->retry = true;
	return CLEAT_UNAVAILABLE;
}

static enum cleat_code btrfs_open(const struct cleat_pool_options *opts, void **pool_out,
				  struct cleat_pool_identity *id_out, struct cleat_error *err)
{
	struct cleat_tree *t = calloc(1, sizeof(*t));
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	if (!t)
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "out of memory");
	t->medium = &cleat_tree_subvolumes;
	t->subvolumes_only = true;
	if (cleat_pooldir_open_on(opts, "btrfs", fits, NULL, &t->dir, err)) {
		free(t);
		return err->code;
	}
	if (cleat_tree_init(t, (unsigned)cleat_param_number(pool_params, opts->config, "low_percent"), err) ||
	    switch_quota(t, opts, err)) {
		cleat_tree_close(t);
		return err->code;
	}
	*id_out = t->dir.id;
	*pool_out = t;
	return CLEAT_OK;
}

const struct cleat_backend cleat_backend_btrfs = {
	.version = CLEAT_BACKEND_VERSION,
	.name = "btrfs",
	.summary =
		"a btrfs subvolume per volume, with native snapshots and clones, limited by its quota group",
	.pool_params = pool_params,
	.volume_params = volume_params,
	.uses_fs = false,
	.open = btrfs_open,
	.close = cleat_tree_close,
	.probe = cleat_tree_probe,
	.capabilities = cleat_tree_capabilities,
	.space = cleat_tree_space,
	.scan = cleat_tree_scan,
	.recover = cleat_tree_recover,
	.leftovers = cleat_tree_leftovers,
	.create = cleat_tree_create,
	.adopt = cleat_tree_adopt,
	.update = cleat_tree_update,
	.remove = cleat_tree_remove,
	.expand = cleat_tree_expand,
	.snapshot = cleat_tree_snapshot,
	.map = cleat_tree_map,
	.unmap = cleat_tree_unmap,
	.usage = cleat_tree_usage,
	.health = cleat_tree_health,
	.find_mount = cleat_tree_find_mount,
};
