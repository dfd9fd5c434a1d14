/* tree_adopt.c - taking an existing directory into a pool, by renaming it to volumes/<key>/data.
 *
 * The user's data must survive whatever cuts this off.  So the attempt first gets its record, durably, which
 * says where the directory comes from; then the directory moves in; then the attempt appears as a volume.
 * Whoever finds an attempt with a record of an adoption and a directory in it moves the directory back
 * (recovery, or the failed call itself) before the attempt is removed.
 */
#include "store/tree.h"

#include "sys/file.h"
#include "sys/list.h"
#include "sys/btrfs.h"
#include "sys/mount.h"
#include "util/buf.h"
#include "util/kv.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* A directory to adopt, found but not touched. */
struct candidate {
	int parent_fd;	  /* owned */
	char *path;	  /* real path of the directory, owned */
	const char *base; /* its last component, in path */
	bool exists;
	struct cleat_sys_place look;
};

static void candidate_done(struct candidate *c)
{
	cleat_cleanup_close(&c->parent_fd);
	free(c->path);
}
#define auto_candidate __attribute__((cleanup(candidate_done)))

/* ---- finding it ------------------------------------------------------------------------------ */

static enum cleat_code refuse(const char *path, const char *why, struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "adopt '%.*s': %s", cleat_text_cut(path, 200),
			       path, why);
}

/* Splits "/a/b/" into "/a" and "b". */
static enum cleat_code split(const char *what, char parent[PATH_MAX], char base[NAME_MAX + 1],
			     struct cleat_error *err)
{
	size_t n = strlen(what);

	if (what[0] != '/' || n >= PATH_MAX || !cleat_text_is_clean(what, n))
		return cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"adopt: an absolute path of a directory is wanted (UTF-8, no control characters)");
	memcpy(parent, what, n + 1);
	while (n > 1 && parent[n - 1] == '/')
		parent[--n] = '\0';
	char *slash = strrchr(parent, '/');
	size_t length = strlen(slash + 1);
	if (length == 0 || length > NAME_MAX || strcmp(slash + 1, ".") == 0 || strcmp(slash + 1, "..") == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "adopt '%.*s': not the name of a directory", cleat_text_cut(what, 200),
				       what);
	memcpy(base, slash + 1, length + 1);
	slash[slash == parent] = '\0'; /* the parent of "/a" is "/" */
	return CLEAT_OK;
}

static enum cleat_code open_parent(const char *parent, int *fd_out, struct cleat_error *err)
{
	struct cleat_error inner = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_sys_open_root(parent, fd_out, &inner);

	if (code && code != CLEAT_NOT_FOUND)
		*err = inner;
	return code == CLEAT_NOT_FOUND ? CLEAT_OK : code;
}

/* Not finding it is no error: c->exists is false then, and c->path is what it would be called. */
static enum cleat_code find(const char *what, struct candidate *c, struct cleat_error *err)
{
	char parent[PATH_MAX], real[PATH_MAX], base[NAME_MAX + 1];

	if (split(what, parent, base, err) || open_parent(parent, &c->parent_fd, err))
		return err->code;
	bool there = c->parent_fd >= 0;
	if (there && cleat_sys_path_of(c->parent_fd, real, sizeof(real), err))
		return err->code;
	if (asprintf(&c->path, "%s/%s", !there ? parent : strcmp(real, "/") == 0 ? "" : real, base) < 0) {
		c->path = NULL;
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	c->base = strrchr(c->path, '/') + 1;
	enum cleat_code code = there ? cleat_sys_look(c->parent_fd, base, &c->look, err) : CLEAT_OK;
	c->exists = there && !code && c->look.exists;
	return code;
}

/* Directories that keep the machine running, or hold what belongs to everybody, are nobody's volume. */
static bool is_system(const char *path)
{
	static const char *const trees[] = { "/bin",   "/boot",	  "/dev",  "/etc",  "/lib", "/lib32",
					     "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr" };
	static const char *const single[] = { "/home", "/media", "/mnt", "/opt",     "/root",	 "/run",
					      "/srv",  "/tmp",	 "/var", "/var/lib", "/var/log", "/var/tmp" };

	for (size_t i = 0; i < CLEAT_COUNT(trees); i++)
		if (cleat_tree_is_below(path, trees[i]))
			return true;
	for (size_t i = 0; i < CLEAT_COUNT(single); i++)
		if (strcmp(path, single[i]) == 0)
			return true;
	return false;
}

static enum cleat_code check_candidate(const struct cleat_tree *t, const struct candidate *c,
				       struct cleat_error *err)
{
	if (!S_ISDIR(c->look.mode))
		return refuse(c->path, "it is not a directory", err);
	if (is_system(c->path))
		return refuse(c->path, "it belongs to the system", err);
	if (c->look.is_mount_root)
		return refuse(c->path, "it is a mount point: a directory is taken in by renaming it", err);
	if (cleat_tree_is_below(c->path, t->place.path))
		return refuse(c->path, "it is inside the pool", err);
	if (cleat_tree_is_below(t->place.path, c->path))
		return refuse(c->path, "the pool is inside it", err);
	if (c->look.mount_id != t->place.mount_id)
		return refuse(c->path,
			      "it is not on the pool's file system: a directory is taken in by renaming it",
			      err);
	return cleat_tree_check_no_mounts(t, c->path, err);
}

/* ---- repeating a call that was done ---------------------------------------------------------- */

static bool is_from(const struct cleat_record *rec, const char *path)
{
	const char *from = cleat_kv_get(&rec->attributes, CLEAT_TREE_ADOPTED_FROM);

	return from && strcmp(from, path) == 0;
}

struct done_before {
	const struct cleat_record *wish;
	const char *path;
	struct cleat_record *found; /* one reference */
};

static bool look_done(struct cleat_record *rec, const char *broken, void *arg)
{
	struct done_before *d = arg;

	if (broken || strcmp(rec->name, d->wish->name) != 0 || strcmp(rec->scope, d->wish->scope) != 0 ||
	    !is_from(rec, d->path))
		return true;
	d->found = cleat_record_ref(rec);
	return false;
}

/* The directory is gone: perhaps because a former call took it in, under another key. */
static enum cleat_code find_done(struct cleat_tree *t, const struct cleat_record *wish, const char *path,
				 struct cleat_record **out, struct cleat_error *err)
{
	struct done_before d = { wish, path, NULL };
	enum cleat_code code = cleat_pooldir_scan(&t->dir, look_done, &d, err);

	if (code)
		return code;
	if (!d.found)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "adopt '%.*s': there is no such directory",
				       cleat_text_cut(path, 200), path);
	*out = d.found;
	return CLEAT_OK;
}

static enum cleat_code confirm(struct cleat_tree *t, const struct cleat_record *draft, const char *path,
			       struct cleat_record **out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *stored = NULL;
	enum cleat_code code = cleat_tree_confirm(t, draft, &stored, err);

	if (code || !stored)
		return code;
	if (!is_from(stored, path))
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS,
				       "'%s' exists and was not adopted from '%.*s'", stored->name,
				       cleat_text_cut(path, 200), path);
	*out = stored;
	stored = NULL;
	return CLEAT_OK;
}

/* ---- undoing --------------------------------------------------------------------------------- */

/* The record of an attempt that is an adoption, else NULL. */
static struct cleat_record *read_adoption(int attempt_fd)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);
	cleat_autorecord struct cleat_record *rec = NULL;

	if (cleat_sys_read_file(attempt_fd, CLEAT_RECORD_FILE, CLEAT_RECORD_MAX_BYTES, &text, NULL) ||
	    cleat_record_decode(cleat_buf_text(&text), text.len, &rec, NULL))
		return NULL; /* the record is complete before a directory moves in */
	if (!rec->adopted || !cleat_kv_get(&rec->attributes, CLEAT_TREE_ADOPTED_FROM))
		return NULL;
	return cleat_steal(rec);
}

static enum cleat_code move_back(int attempt_fd, const char *path, struct cleat_error *err)
{
	auto_candidate struct candidate c = { .parent_fd = -1 };

	if (find(path, &c, err))
		return err->code;
	if (c.parent_fd < 0)
		return refuse(path, "its parent directory is gone, so it cannot be put back", err);
	if (cleat_sys_rename_at(attempt_fd, CLEAT_TREE_DATA, c.parent_fd, c.base, true, err) ||
	    cleat_sys_fsync(c.parent_fd, path, err))
		return cleat_error_wrap(err, "put '%.*s' back", cleat_text_cut(path, 200), path);
	return CLEAT_OK;
}

enum cleat_code cleat_tree_adopt_undo(struct cleat_tree *t, const char *name, char **from_out,
				      struct cleat_error *err)
{
	cleat_autoclose int attempt_fd = -1, data_fd = -1;

	if (cleat_sys_open_at(t->dir.new_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &attempt_fd,
			      NULL) ||
	    cleat_tree_open_made(attempt_fd, &data_fd, NULL))
		return CLEAT_OK; /* gone, a file, or nothing moved in */
	cleat_autorecord struct cleat_record *rec = read_adoption(attempt_fd);
	if (!rec)
		return CLEAT_OK;
	cleat_autofree char *from = strdup(cleat_kv_get(&rec->attributes, CLEAT_TREE_ADOPTED_FROM));
	if (!from)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (rec->capacity_bytes && t->medium->limit(t, data_fd, rec, 0, NULL))
		cleat_debug("adoption of '%s' undone, its size limit stays", from);
	enum cleat_code code = move_back(attempt_fd, from, err);
	if (!code)
		*from_out = cleat_steal(from);
	return code;
}

/* Undoes a failed adoption; when even that fails, the attempt stays with everything in it and the next start
 * tries again. */
static void give_up(struct cleat_tree *t, const char *attempt)
{
	cleat_autofree char *from = NULL;
	struct cleat_error ignored = CLEAT_ERROR_INIT;

	if (cleat_tree_adopt_undo(t, attempt, &from, &ignored) == CLEAT_OK)
		cleat_tree_abandon(t, attempt);
}

/* ---- doing ----------------------------------------------------------------------------------- */

static enum cleat_code take_in(struct cleat_tree *t, const struct candidate *c, int attempt_fd,
			       const struct cleat_record *draft, struct cleat_error *err)
{
	cleat_autoclose int data_fd = -1;

	if (cleat_sys_rename_at(c->parent_fd, c->base, attempt_fd, CLEAT_TREE_DATA, true, err) ||
	    cleat_sys_fsync(c->parent_fd, c->path, err) || cleat_sys_fsync(attempt_fd, "attempt", err) ||
	    cleat_tree_open_made(attempt_fd, &data_fd, err) ||
	    cleat_tree_apply_owner(data_fd, draft, (mode_t)-1, err))
		return err->code;
	if (draft->capacity_bytes)
		return t->medium->limit(t, data_fd, draft, draft->capacity_bytes, err);
	return CLEAT_OK;
}

static enum cleat_code move_in(struct cleat_tree *t, const struct candidate *c,
			       const struct cleat_record *draft, struct cleat_error *err)
{
	cleat_autofree char *attempt = NULL;
	cleat_autoclose int attempt_fd = -1;
	enum cleat_code code = cleat_pooldir_begin(&t->dir, draft->key, &attempt, &attempt_fd, err);

	if (code)
		return code;
	code = cleat_pooldir_prepare(&t->dir, attempt_fd, draft, err);
	if (!code)
		code = take_in(t, c, attempt_fd, draft, err);
	if (!code)
		code = cleat_pooldir_appear(&t->dir, attempt, draft->key, err);
	if (code)
		give_up(t, attempt);
	return code;
}

/* Whether the directory can have a limit, and whether rename(2) can move it at all. */
static enum cleat_code inspect(const struct cleat_tree *t, const struct candidate *c,
			       const struct cleat_record *draft, bool *can_limit_out, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	struct cleat_sys_place pool;

	if (check_candidate(t, c, err) ||
	    cleat_sys_open_at(c->parent_fd, c->base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd, err) ||
	    cleat_sys_look(t->dir.root_fd, "new", &pool, err))
		return err->code;
	bool subvolume = cleat_sys_is_subvolume(fd);
	if (t->subvolumes_only && !subvolume)
		return refuse(c->path, "it is a plain directory: this pool takes subvolumes", err);
	if (!subvolume && c->look.dev != pool.dev)
		return refuse(
			c->path,
			"it lies in another subvolume than the pool: a directory is taken in by renaming it",
			err);
	*can_limit_out = t->medium->can_limit(t, fd, draft);
	return CLEAT_OK;
}

/* The record to be, as far as a volume that is there already must match it: whatever it holds, the origin is
 * what tells. */
static enum cleat_code draft_of(const struct candidate *c, const struct cleat_record *rec,
				struct cleat_record **out, struct cleat_error *err)
{
	if (cleat_tree_draft(rec, out, err))
		return err->code;
	(*out)->adopted = true;
	(*out)->capacity_bytes = 0;
	return cleat_kv_set(&(*out)->attributes, CLEAT_TREE_ADOPTED_FROM, c->path, err);
}

static enum cleat_code adopt_new(struct cleat_tree *t, const struct candidate *c, uint64_t bytes,
				 struct cleat_record **draft, struct cleat_record **out,
				 struct cleat_error *err)
{
	bool limited = false;

	if (inspect(t, c, *draft, &limited, err))
		return err->code;
	(*draft)->capacity_bytes = bytes;
	if (cleat_tree_fill_size(t, *draft, limited, err) || move_in(t, c, *draft, err))
		return err->code;
	atomic_fetch_add(&t->promised_bytes, (*draft)->capacity_bytes);
	*out = cleat_steal(*draft);
	return CLEAT_OK;
}

enum cleat_code cleat_tree_adopt(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				 const char *what, struct cleat_record **rec_out, struct cleat_error *err)
{
	struct cleat_tree *t = pool;
	auto_candidate struct candidate c = { .parent_fd = -1 };
	cleat_autorecord struct cleat_record *draft = NULL;
	cleat_autorecord struct cleat_record *stored = NULL;
	struct cleat_error own = CLEAT_ERROR_INIT;

	(void)op;
	err = err ? err : &own;
	if (rec->access_type == CLEAT_ACCESS_BLOCK || *rec->fs)
		return cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"'%s': a directory is neither a device nor has a file system of its own", rec->name);
	if (find(what, &c, err) || draft_of(&c, rec, &draft, err) || confirm(t, draft, c.path, &stored, err))
		return err->code;
	if (!stored && !c.exists && find_done(t, rec, c.path, &stored, err))
		return err->code;
	if (!stored && adopt_new(t, &c, rec->capacity_bytes, &draft, &stored, err))
		return err->code;
	*rec_out = stored;
	stored = NULL;
	return CLEAT_OK;
}
