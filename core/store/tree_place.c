/* tree_place.c - which mounts are of a pool's volumes.  A bind mount shows the path inside the file system
 * that it was made from, so the pool needs to know its own such path once; after that every question is a
 * comparison of texts.
 */
#include "store/tree.h"

#include "sys/list.h"
#include "sys/mount.h"
#include "sys/mountwatch.h"
#include "util/ids.h"
#include "util/mem.h"
#include "util/text.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define VOLUMES "/volumes/"

bool cleat_tree_is_below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(path, prefix, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* "/" becomes "", so that "/volumes" can be put behind. */
static char *without_slash(const char *path)
{
	return strdup(strcmp(path, "/") == 0 ? "" : path);
}

struct search {
	struct cleat_tree_place *place;
	bool found;
};

static bool take_mount(const struct cleat_mount_entry *entry, void *arg)
{
	struct search *s = arg;

	if (entry->id != s->place->mount_id)
		return true;
	s->found = true;
	s->place->dev = entry->dev;
	s->place->mount_root = without_slash(entry->root);
	s->place->mount_target = without_slash(entry->target);
	s->place->source = strdup(entry->source);
	return false;
}

enum cleat_code cleat_tree_place_find(struct cleat_tree *t, struct cleat_error *err)
{
	struct cleat_tree_place *p = &t->place;
	struct search s = { p, false };
	struct cleat_sys_place look;
	char real[PATH_MAX];

	if (cleat_sys_path_of(t->dir.root_fd, real, sizeof(real), err) ||
	    cleat_sys_look(AT_FDCWD, real, &look, err))
		return err->code;
	p->mount_id = look.mount_id;
	p->path = without_slash(real);
	if (cleat_sys_mounts(take_mount, &s, err))
		return err->code;
	if (!s.found)
		return cleat_error_set(err, CLEAT_UNAVAILABLE,
				       "pool directory '%.*s': its mount is not in the mount table",
				       cleat_text_cut(real, 200), real);
	if (!p->path || !p->mount_root || !p->mount_target || !p->source ||
	    asprintf(&p->inside, "%s%s", p->mount_root, p->path + strlen(p->mount_target)) < 0) {
		p->inside = NULL;
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	return CLEAT_OK;
}

void cleat_tree_place_done(struct cleat_tree *t)
{
	struct cleat_tree_place *p = &t->place;

	cleat_cleanup_close(&t->held.watch_fd);
	t->held.watch_fd = -1;
	free(t->held.keys);
	t->held.keys = NULL;
	free(p->mount_root);
	free(p->mount_target);
	free(p->source);
	free(p->path);
	free(p->inside);
	*p = (struct cleat_tree_place){ 0 };
}

/* ---- questions ------------------------------------------------------------------------------- */

bool cleat_tree_find_mount(void *pool, const struct cleat_mount_entry *entry,
			   char key_out[CLEAT_KEY_MAX_BYTES + 1])
{
	const struct cleat_tree *t = pool;
	size_t n = strlen(t->place.inside);

	if (entry->dev != t->place.dev || strncmp(entry->root, t->place.inside, n) != 0 ||
	    strncmp(entry->root + n, VOLUMES, sizeof(VOLUMES) - 1) != 0)
		return false;
	const char *key = entry->root + n + sizeof(VOLUMES) - 1;
	size_t key_len = strcspn(key, "/");
	if (key_len == 0 || key_len > CLEAT_KEY_MAX_BYTES || strcmp(key + key_len, "/" CLEAT_TREE_DATA) != 0)
		return false;
	memcpy(key_out, key, key_len);
	key_out[key_len] = '\0';
	return true;
}

struct holder {
	dev_t dev;
	const char *inside; /* nothing may be mounted from here or below ... */
	const char *path;   /* ... nor at here or below */
	char target[160];
	bool found;
};

static bool is_held(const struct cleat_mount_entry *entry, void *arg)
{
	struct holder *h = arg;

	if (!(entry->dev == h->dev && cleat_tree_is_below(entry->root, h->inside)) &&
	    !cleat_tree_is_below(entry->target, h->path))
		return true;
	h->found = true;
	snprintf(h->target, sizeof(h->target), "%.*s",
		 cleat_text_cut(entry->target, (int)sizeof(h->target) - 1), entry->target);
	return false;
}

static enum cleat_code check_holder(struct holder *h, const char *name, struct cleat_error *err)
{
	enum cleat_code code = cleat_sys_mounts(is_held, h, err);

	if (!code && h->found)
		code = cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%.*s' is still mounted at '%s'",
				       cleat_text_cut(name, 200), name, h->target);
	return code;
}

/* ---- which volumes are mounted at all --------------------------------------------------------- */

/* The key in a path below the pool's volumes: "<base>/volumes/<key>..."; 0 length when it is none. */
static size_t key_in(const char *path, const char *base, const char **key_out)
{
	size_t n = strlen(base);

	if (strncmp(path, base, n) != 0 || strncmp(path + n, VOLUMES, sizeof(VOLUMES) - 1) != 0)
		return 0;
	*key_out = path + n + sizeof(VOLUMES) - 1;
	return strcspn(*key_out, "/");
}

static bool hold(struct cleat_tree_held *h, const char *key, size_t n)
{
	if (h->count == h->room) {
		size_t room = h->room ? h->room * 2 : 64;
		uint64_t *grown = realloc(h->keys, room * sizeof(*grown));
		if (!grown)
			return false;
		h->keys = grown;
		h->room = room;
	}
	h->keys[h->count++] = cleat_id_hash(key, n, 0);
	return true;
}

static bool note_mount(const struct cleat_mount_entry *entry, void *arg)
{
	struct cleat_tree *t = arg;
	const char *key = NULL;
	size_t n = entry->dev == t->place.dev ? key_in(entry->root, t->place.inside, &key) : 0;

	if (n && !hold(&t->held, key, n))
		return t->held.fresh = false;
	n = key_in(entry->target, t->place.path, &key);
	if (n && !hold(&t->held, key, n))
		return t->held.fresh = false;
	return true;
}

static int compare_hashes(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Reads the table again if it has changed. */
static void refresh(struct cleat_tree *t)
{
	struct cleat_tree_held *h = &t->held;

	if (h->watch_fd < 0 && cleat_sys_mountwatch_open(&h->watch_fd, NULL)) {
		h->fresh = false;
		return;
	}
	if (!cleat_sys_mountwatch_changed(h->watch_fd) && h->fresh)
		return;
	h->count = 0;
	h->fresh = true;
	if (cleat_sys_mounts(note_mount, t, NULL))
		h->fresh = false;
	if (h->count)
		qsort(h->keys, h->count, sizeof(*h->keys), compare_hashes);
}

/* False only if it is certain that nothing of the volume is mounted. */
static bool may_be_mounted(struct cleat_tree *t, const char *key)
{
	const uint64_t hash = cleat_id_hash(key, strlen(key), 0);

	pthread_mutex_lock(&t->held.lock);
	refresh(t);
	bool may = !t->held.fresh || (t->held.count && bsearch(&hash, t->held.keys, t->held.count,
							       sizeof(hash), compare_hashes));
	pthread_mutex_unlock(&t->held.lock);
	return may;
}

enum cleat_code cleat_tree_check_unmounted(struct cleat_tree *t, const struct cleat_record *rec,
					   struct cleat_error *err)
{
	char inside[PATH_MAX + CLEAT_KEY_MAX_BYTES + sizeof(VOLUMES)], path[sizeof(inside)];
	struct holder h = { .dev = t->place.dev, .inside = inside, .path = path };

	if (!may_be_mounted(t, rec->key))
		return CLEAT_OK;
	snprintf(inside, sizeof(inside), "%s%s%s", t->place.inside, VOLUMES, rec->key);
	snprintf(path, sizeof(path), "%s%s%s", t->place.path, VOLUMES, rec->key);
	return check_holder(&h, rec->name, err);
}

enum cleat_code cleat_tree_check_no_mounts(const struct cleat_tree *t, const char *path,
					   struct cleat_error *err)
{
	char inside[2 * PATH_MAX];
	struct holder h = { .dev = t->place.dev, .inside = inside, .path = path };

	snprintf(inside, sizeof(inside), "%s%s", t->place.mount_root, path + strlen(t->place.mount_target));
	return check_holder(&h, path, err);
}
