/* dir.c - the backend `dir`: a volume is a directory.  See README.md for what it promises and what it does
 * not.
 *
 * Which medium carries the trees is decided when the pool is opened, by trying: subvolumes on btrfs, project
 * quotas where they limit, plain directories elsewhere.
 */
#include "backends/dir/dir_int.h"

#include "sys/btrfs.h"
#include "util/log.h"

#include <stdlib.h>
#include <string.h>

static const char *const enforce_choices[] = { "auto", "never", NULL };

static const struct cleat_param pool_params[] = {
	CLEAT_POOLDIR_PARAMS,
	{ "enforce", CLEAT_PARAM_CHOICE, NULL, "auto", enforce_choices, 0, 0,
	  "Whether sizes are enforced where the file system can (btrfs, project quota): auto or never.",
	  false },
	CLEAT_TREE_PARAMS,
	{ NULL, CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, NULL, false },
};

static const struct cleat_param volume_params[] = {
	{ NULL, CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, NULL, false },
};

static bool is_never(const struct cleat_pool_options *opts)
{
	return strcmp(cleat_param_text(pool_params, opts->config, "enforce"), "never") == 0;
}

/* Not being able to enforce is no error: the pool says so in its capabilities, and every volume in its
 * attributes. */
static void choose_medium(struct cleat_tree *t, bool never)
{
	struct cleat_error why = CLEAT_ERROR_INIT;

	t->soft = never;
	if (cleat_sys_is_btrfs(t->dir.root_fd)) {
		t->medium = &cleat_tree_subvolumes;
		if (!t->dir.id.read_only &&
		    cleat_tree_subvolumes_quota(t, never ? CLEAT_TREE_QUOTA_NONE : CLEAT_TREE_QUOTA_AUTO,
						&why))
			cleat_debug("pool '%s' enforces no sizes: %s", t->dir.id.stored_name, why.msg);
		return;
	}
	t->medium = &cleat_dir_plain;
	if (never || t->dir.id.read_only)
		return;
	if (cleat_dir_project_works(t, &why)) {
		t->medium = &cleat_dir_project;
		t->enforces = true;
	} else {
		cleat_debug("pool '%s' enforces no sizes: %s", t->dir.id.stored_name, why.msg);
	}
}

static enum cleat_code dir_open(const struct cleat_pool_options *opts, void **pool_out,
				struct cleat_pool_identity *id_out, struct cleat_error *err)
{
	struct cleat_tree *t = calloc(1, sizeof(*t));
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	if (!t)
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "out of memory");
	if (cleat_pooldir_open(opts, "dir", &t->dir, err)) {
		free(t);
		return err->code;
	}
	if (cleat_tree_init(t, (unsigned)cleat_param_number(pool_params, opts->config, "low_percent"), err)) {
		cleat_tree_close(t);
		return err->code;
	}
	choose_medium(t, is_never(opts));
	*id_out = t->dir.id;
	*pool_out = t;
	return CLEAT_OK;
}

const struct cleat_backend cleat_backend_dir = {
	.version = CLEAT_BACKEND_VERSION,
	.name = "dir",
	.summary = "a directory per volume; sizes are enforced only where the file system can",
	.pool_params = pool_params,
	.volume_params = volume_params,
	.uses_fs = false,
	.open = dir_open,
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
