/* publish.c - claims: a volume made visible at a target, admitted by access mode and target alone, and released again. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/file.h"
#include "sys/loop.h"
#include "sys/mount.h"
#include "util/buf.h"

#define BIND_LIMIT_MS 60000
#define UNMOUNT_LIMIT_MS 60000
#define MAX_STACKED 16 /* mounts of one volume over each other at one target */

static struct cleat_op *handle(struct op *op)
{
	return (struct cleat_op *)op;
}

static void target_done(struct target *t)
{
	if (t->parent_fd >= 0)
		close(t->parent_fd);
	t->parent_fd = -1;
}
#define autotarget __attribute__((cleanup(target_done)))

/* ---- what is mounted where ------------------------------------------------------------------------------------------------------------ */

static bool device_number(const char *path, dev_t *out)
{
	struct stat st;

	if (stat(path, &st) || !S_ISBLK(st.st_mode))
		return false;
	*out = st.st_rdev;
	return true;
}

enum cleat_code claim_is_mounted(struct cleat_engine *e, const char *id, const char *path, bool *mounted_out, bool *ours_out,
				 struct cleat_error *err)
{
	struct cleat_sys_place place;
	struct where_text text;
	dev_t device;

	*mounted_out = *ours_out = false;
	if (cleat_sys_look(AT_FDCWD, path, &place, err))
		return err ? err->code : CLEAT_INTERNAL;
	if (!place.exists || !place.is_mount_root)
		return CLEAT_OK;
	*mounted_out = true;
	stage_is_mounted(e, id); /* fills in dev and ino after a restart */
	struct cleat_where where = stage_where(e, id, &text);
	if (S_ISBLK(place.mode)) {
		*ours_out = where.device && device_number(where.device, &device) && device == place.rdev;
		return CLEAT_OK;
	}
	pthread_mutex_lock(&e->lock);
	struct node_volume *nv = node_find(e, id);
	/* Without a stage to compare with, the record of the claim itself is what we go by. */
	*ours_out = nv && (nv->dev == 0 || (nv->dev == place.dev && nv->ino == place.ino));
	pthread_mutex_unlock(&e->lock);
	return CLEAT_OK;
}

static uint64_t start_ticks_of(int64_t pid)
{
	char path[64], text[1024];
	unsigned long long ticks = 0;

	snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* proc(5): the name in field 2 may hold anything, so count from its closing parenthesis; field 22 is the start time. */
	const char *at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, " %llu", &ticks) == 1 ? ticks : 0;
}

bool witness_gone(const struct claim *c)
{
	if (c->pid && start_ticks_of(c->pid) != c->start_ticks)
		return true;
	return c->cgroup && access(c->cgroup, F_OK) != 0 && errno == ENOENT;
}

/* ---- looking at claims of the operation's volume --------------------------------------------------------------------------------------- */

/* A copy of what matters of a claim, so that it can be looked at without the lock. */
struct claim_view {
	char *target, *owner, *options;
	enum cleat_access_mode mode;
	bool read_only, staging, made_target;
	int64_t since_ms;
	bool witness_gone;
};

static void view_done(struct claim_view *v)
{
	free(v->target);
	free(v->owner);
	free(v->options);
}

struct views {
	struct claim_view *items;
	size_t count;
};

static void views_done(struct views *v)
{
	for (size_t i = 0; i < v->count; i++)
		view_done(&v->items[i]);
	free(v->items);
}
#define autoviews __attribute__((cleanup(views_done)))

static void view_of(const struct claim *c, struct claim_view *out)
{
	*out = (struct claim_view){ .target = strdup(c->target),
				    .owner = strdup(c->owner),
				    .options = strdup(c->options),
				    .mode = c->mode,
				    .read_only = c->read_only,
				    .staging = c->staging,
				    .made_target = c->made_target,
				    .since_ms = c->since_ms,
				    .witness_gone = witness_gone(c) };
}

static enum cleat_code views_take(struct op *op, struct views *out, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	pthread_mutex_lock(&op->e->lock);
	struct node_volume *nv = node_find(op->e, op->id);
	size_t n = node_claim_total(nv, true);
	out->items = calloc(n + 1, sizeof(*out->items));
	if (!out->items)
		code = cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	for (const struct claim *c = nv && out->items ? nv->claims : NULL; c; c = c->next)
		view_of(c, &out->items[out->count++]);
	pthread_mutex_unlock(&op->e->lock);
	for (size_t i = 0; code == CLEAT_OK && i < out->count; i++)
		if (!out->items[i].target || !out->items[i].owner || !out->items[i].options)
			code = cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return code;
}

static enum cleat_code say_in_use(const struct op *op, const struct claim_view *v, struct cleat_error *err)
{
	char since[32];
	time_t seconds = (time_t)(v->since_ms / 1000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "volume '%s' is in use: %s at '%.160s' by '%.120s' since %s", op->id,
			       v->staging ? "staged" : "published", v->target, *v->owner ? v->owner : "unknown", since);
}

/* Releases the claim when it is stale; *stale_out tells. */
static enum cleat_code drop_if_stale(struct op *op, const struct claim_view *v, bool *stale_out, struct cleat_error *err)
{
	bool mounted, ours, found;

	*stale_out = false;
	if (claim_is_mounted(op->e, op->id, v->target, &mounted, &ours, err))
		return err->code;
	if (ours && !v->witness_gone)
		return CLEAT_OK;
	if (claim_release(op, v->target, false, &found, err))
		return err->code;
	*stale_out = true;
	report_line(op->e, "claim of '%s' at '%s' by '%s' was stale (%s): released", op->id, v->target, v->owner,
		    v->witness_gone ? "its holder is gone" : "no longer mounted");
	return CLEAT_OK;
}

enum cleat_code claims_release_stale(struct op *op, struct cleat_error *err)
{
	autoviews struct views views = { 0 };
	bool stale;

	if (views_take(op, &views, err))
		return err->code;
	for (size_t i = 0; i < views.count; i++)
		if (drop_if_stale(op, &views.items[i], &stale, err))
			return err->code;
	return CLEAT_OK;
}

enum cleat_code claims_check_unused(struct op *op, struct cleat_error *err)
{
	autoviews struct views views = { 0 };

	if (claims_release_stale(op, err) || views_take(op, &views, err))
		return err->code;
	if (views.count)
		return say_in_use(op, &views.items[0], err);
	pthread_mutex_lock(&op->e->lock);
	struct node_volume *nv = node_find(op->e, op->id);
	bool staged = nv && nv->explicit_stage;
	pthread_mutex_unlock(&op->e->lock);
	if (staged)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "volume '%s' is in use: it is staged on node '%s'", op->id,
				       op->e->node);
	return CLEAT_OK;
}

static bool is_exclusive(enum cleat_access_mode mode)
{
	return mode == CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER;
}

/* Whether the wished claim and the present one exclude each other.  Block devices are read-only as a whole or not at all. */
static bool conflicts(const struct claim_view *v, enum cleat_access_mode mode, bool read_only, bool block)
{
	return is_exclusive(mode) || is_exclusive(v->mode) || (block && v->read_only != read_only);
}

static enum cleat_code admit(struct op *op, const char *path, enum cleat_access_mode mode, bool read_only, bool block,
			     struct cleat_error *err)
{
	autoviews struct views views = { 0 };
	bool stale;

	if (op->verb == CLEAT_VERB_STAGE)
		return CLEAT_OK;
	if (views_take(op, &views, err))
		return err->code;
	for (size_t i = 0; i < views.count; i++) {
		const struct claim_view *v = &views.items[i];
		if (v->staging || strcmp(v->target, path) == 0 || !conflicts(v, mode, read_only, block))
			continue;
		if (drop_if_stale(op, v, &stale, err))
			return err->code;
		if (!stale)
			return say_in_use(op, v, err);
	}
	return CLEAT_OK;
}

/* ---- releasing -------------------------------------------------------------------------------------------------------------------------- */

static enum cleat_code unmount_target(struct op *op, const char *path, bool force, struct cleat_error *err)
{
	bool mounted, ours;

	for (int i = 0; i < MAX_STACKED; i++) {
		if (claim_is_mounted(op->e, op->id, path, &mounted, &ours, err))
			return err->code;
		if (!mounted)
			return CLEAT_OK;
		if (!ours && !force) {
			struct cleat_error busy = CLEAT_ERROR_INIT;
			cleat_error_set(&busy, CLEAT_FAILED_PRECONDITION, "target '%s' is covered by a mount of something else", path);
			busy.retry = true;
			*err = busy;
			return err->code;
		}
		cleat_op_step(handle(op), "unmount", UNMOUNT_LIMIT_MS);
		if (force ? cleat_sys_unmount_force(path, err) : cleat_sys_unmount(path, err))
			return err->code;
	}
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "target '%s' is still mounted after %d unmounts", path, MAX_STACKED);
}

/* Removes the directory or file that was made for the claim; somebody may have put something there since, which stays. */
static void remove_target(const char *path, bool made)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT;
	struct stat st;

	if (!made || lstat(path, &st))
		return;
	if (S_ISDIR(st.st_mode))
		(void)!path_remove(path, AT_REMOVEDIR, &ignored);
	else if (S_ISREG(st.st_mode) && st.st_size == 0)
		(void)!path_remove(path, 0, &ignored);
}

static void forget_claim(struct cleat_engine *e, const char *id, const char *target)
{
	pthread_mutex_lock(&e->lock);
	struct node_volume *nv = node_find(e, id);
	struct claim *c = claim_find(nv, target);
	if (c)
		claim_remove(e, nv, c);
	if (nv)
		node_drop_if_idle(e, nv);
	pthread_mutex_unlock(&e->lock);
}

enum cleat_code claim_release(struct op *op, const char *target, bool force, bool *found_out, struct cleat_error *err)
{
	pthread_mutex_lock(&op->e->lock);
	struct claim *c = claim_find(node_find(op->e, op->id), target);
	const bool made = c && c->made_target, staging = c && c->staging;
	pthread_mutex_unlock(&op->e->lock);
	*found_out = c != NULL;
	if (!c)
		return CLEAT_OK;
	if (unmount_target(op, target, force, err))
		return err->code;
	remove_target(target, made);
	if (facts_drop_claim(op->e->facts, op->id, target, err))
		return err->code;
	forget_claim(op->e, op->id, target);
	emit_volume(op->e, staging ? CLEAT_EVENT_UNSTAGED : CLEAT_EVENT_UNPUBLISHED, op->pool, op->id, "", target);
	return CLEAT_OK;
}

/* ---- publishing ------------------------------------------------------------------------------------------------------------------------- */

struct wish {
	const struct cleat_record *rec;
	struct target target;
	struct mount_flags flags;
	char *options;
	enum cleat_access_mode mode;
	bool read_only, block, staging;
};

static void wish_done(struct wish *w)
{
	target_done(&w->target);
	cleat_kv_done(&w->flags.super);
	free(w->options);
}
#define autowish __attribute__((cleanup(wish_done)))

static enum cleat_code choose_target(struct op *op, struct target *out, struct cleat_error *err)
{
	if (cleat_sys_mkdir_path(op->e->publish_dir, 0755, err))
		return err->code;
	snprintf(out->path, sizeof(out->path), "%s/%s", op->e->publish_dir, op->id);
	snprintf(out->name, sizeof(out->name), "%s", op->id);
	out->parent_fd = open(op->e->publish_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return out->parent_fd >= 0 ? CLEAT_OK : cleat_error_errno(err, errno, "open '%s'", op->e->publish_dir);
}

/* A claim whose witness is not there would be stale from the start. */
static enum cleat_code check_witness(const struct cleat_witness *w, struct cleat_error *err)
{
	const uint64_t ticks = w->pid ? start_ticks_of(w->pid) : 0;

	if (w->pid && (ticks == 0 || (w->start_ticks && w->start_ticks != ticks)))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the witness, process %lld, does not run", (long long)w->pid);
	if (*w->cgroup && access(w->cgroup, F_OK))
		return cleat_error_errno(err, errno, "the witness, cgroup '%s'", w->cgroup);
	return CLEAT_OK;
}

static enum cleat_code make_wish(struct op *op, const struct cleat_record *rec, struct wish *w, struct cleat_error *err)
{
	const struct cleat_request *req = &op->req;

	w->rec = rec;
	w->staging = op->verb == CLEAT_VERB_STAGE;
	w->block = rec->access_type == CLEAT_ACCESS_BLOCK;
	w->read_only = req->read_only || req->mode == CLEAT_MODE_SINGLE_NODE_READER_ONLY ||
		       req->mode == CLEAT_MODE_MULTI_NODE_READER_ONLY;
	w->mode = req->mode	   ? req->mode
		  : w->read_only ? CLEAT_MODE_SINGLE_NODE_READER_ONLY
				   : CLEAT_MODE_SINGLE_NODE_WRITER;
	if (check_witness(&req->witness, err))
		return err->code;
	if (*req->target ? target_check(op->e, req, &w->target, err) : choose_target(op, &w->target, err))
		return err->code;
	if (w->block && req->mount_options->count)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "mount options make no sense for block access");
	if (split_mount_options(req->mount_options, w->read_only, &w->flags, err))
		return err->code;
	w->read_only = w->flags.flags & CLEAT_MOUNT_READ_ONLY;
	if (!(w->options = mount_options_text(req->mount_options)))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return CLEAT_OK;
}

/* The consumer's process or cgroup is often known only after the volume is there: publishing again names it. */
static enum cleat_code set_witness(struct op *op, const char *target, struct cleat_error *err)
{
	const struct cleat_witness *w = &op->req.witness;
	cleat_autofree char *cgroup = *w->cgroup ? strdup(w->cgroup) : NULL;
	struct claim next = { 0 };

	if (!w->pid && !*w->cgroup)
		return CLEAT_OK;
	if (*w->cgroup && !cgroup)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	pthread_mutex_lock(&op->e->lock);
	struct claim *c = claim_find(node_find(op->e, op->id), target);
	if (c)
		next = *c; /* its texts stay: whoever would free them needs the volume, which is this operation's */
	pthread_mutex_unlock(&op->e->lock);
	if (!c)
		return CLEAT_OK;
	next.pid = w->pid;
	next.start_ticks = w->pid && !w->start_ticks ? start_ticks_of(w->pid) : w->start_ticks;
	next.cgroup = cgroup;
	if (facts_put_claim(op->e->facts, op->id, &next, err))
		return err->code;
	pthread_mutex_lock(&op->e->lock);
	c->pid = next.pid;
	c->start_ticks = next.start_ticks;
	free(c->cgroup);
	c->cgroup = cleat_steal(cgroup);
	pthread_mutex_unlock(&op->e->lock);
	return CLEAT_OK;
}

/* What is claimed at this very target already: *done_out when the call has nothing left to do. */
static enum cleat_code look_at_present(struct op *op, const struct wish *w, bool *done_out, struct cleat_error *err)
{
	autoviews struct views views = { 0 };
	const struct claim_view *v = NULL;
	bool mounted, ours, found;

	*done_out = false;
	if (views_take(op, &views, err))
		return err->code;
	for (size_t i = 0; i < views.count && !v; i++)
		v = strcmp(views.items[i].target, w->target.path) == 0 ? &views.items[i] : NULL;
	if (!v)
		return CLEAT_OK;
	if (claim_is_mounted(op->e, op->id, v->target, &mounted, &ours, err))
		return err->code;
	if (!ours) /* stale: somebody unmounted it; do it again as wished now */
		return claim_release(op, v->target, false, &found, err);
	if (v->read_only != w->read_only || v->mode != w->mode || v->staging != w->staging || strcmp(v->options, w->options) != 0)
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS,
				       "volume '%s' is at '%s' already, but %s, access mode %d, options '%s', %s", op->id, v->target,
				       v->read_only ? "read-only" : "read-write", (int)v->mode, v->options,
				       v->staging ? "staged" : "published");
	*done_out = true;
	return set_witness(op, v->target, err);
}

static struct claim *claim_new(const struct op *op, const struct wish *w, bool made)
{
	struct claim *c = calloc(1, sizeof(*c));
	const struct cleat_witness *witness = &op->req.witness;

	if (!c)
		return NULL;
	c->target = strdup(w->target.path);
	c->owner = strdup(op->req.owner);
	c->options = strdup(w->options);
	c->mode = w->mode;
	c->read_only = w->read_only;
	c->staging = w->staging;
	c->made_target = made;
	c->since_ms = cleat_time_wall_ms();
	c->pid = witness->pid;
	c->start_ticks = witness->pid && !witness->start_ticks ? start_ticks_of(witness->pid) : witness->start_ticks;
	if (*witness->cgroup)
		c->cgroup = strdup(witness->cgroup);
	if (!c->target || !c->owner || !c->options || (*witness->cgroup && !c->cgroup)) {
		claim_free(c);
		return NULL;
	}
	return c;
}

static enum cleat_code say_taken(struct op *op, const char *path, struct cleat_error *err)
{
	struct node_volume *holder = NULL;
	char by[CLEAT_ID_MAX_BYTES + 160] = "";

	pthread_mutex_lock(&op->e->lock);
	const struct claim *c = claim_by_target(op->e, path, &holder);
	if (c)
		snprintf(by, sizeof(by), ", of volume '%s' by '%.120s'", holder->id, *c->owner ? c->owner : "unknown");
	pthread_mutex_unlock(&op->e->lock);
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "target '%s' is a mount point already%s", path, by);
}

static enum cleat_code check_place(struct op *op, const struct wish *w, const struct cleat_sys_place *place, struct cleat_error *err)
{
	const char *path = w->target.path;

	if (!place->exists)
		return CLEAT_OK;
	if (S_ISLNK(place->mode))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "target '%s' is a symlink: give the real path", path);
	if (place->is_mount_root)
		return say_taken(op, path, err);
	if (w->block ? S_ISDIR(place->mode) : !S_ISDIR(place->mode))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "target '%s' is %s", path,
				       w->block ? "a directory: block access needs a file" : "not a directory");
	return CLEAT_OK;
}

static enum cleat_code make_target(const struct wish *w, bool exists, int *fd_out, struct cleat_error *err)
{
	const struct target *t = &w->target;
	cleat_autoclose int made = -1;

	if (!exists && !w->block && cleat_sys_mkdir_at(t->parent_fd, t->name, 0755, true, err))
		return err->code;
	if (!exists && w->block &&
	    cleat_sys_open_at(t->parent_fd, t->name, O_CREAT | O_NOFOLLOW | O_RDONLY, 0600, &made, err))
		return err->code;
	*fd_out = openat(t->parent_fd, t->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return *fd_out >= 0 ? CLEAT_OK : cleat_error_errno(err, errno, "open target '%s'", t->path);
}

static enum cleat_code bind_target(struct op *op, const struct wish *w, bool exists, struct cleat_error *err)
{
	cleat_autoclose int target = -1, source = -1;
	struct where_text text;
	struct cleat_where where = stage_where(op->e, op->id, &text);
	const char *from = w->block ? where.device : where.stage_path;

	cleat_op_step(handle(op), "bind", BIND_LIMIT_MS);
	if (make_target(w, exists, &target, err))
		return err->code;
	source = open(from ? from : "", O_PATH | O_CLOEXEC);
	if (source < 0)
		return cleat_error_errno(err, errno, "open '%s'", from ? from : "the staged volume");
	if (w->block && cleat_sys_block_set_read_only(where.device, w->read_only, err))
		return err->code;
	return cleat_sys_bind(source, target, w->flags.flags, w->target.path, err);
}

/* Intention first, mount second: a crash in between leaves a claim whose target is not mounted, which start-up takes away. */
static enum cleat_code claim_and_bind(struct op *op, const struct wish *w, struct cleat_error *err)
{
	struct cleat_engine *e = op->e;
	struct cleat_sys_place place;
	struct cleat_error second = CLEAT_ERROR_INIT;

	if (cleat_sys_look(w->target.parent_fd, w->target.name, &place, err) || check_place(op, w, &place, err))
		return err->code;
	struct claim *c = claim_new(op, w, !place.exists);
	if (!c)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	enum cleat_code code = facts_put_claim(e->facts, op->id, c, err);
	if (code == CLEAT_OK)
		code = bind_target(op, w, place.exists, err);
	if (code) {
		remove_target(w->target.path, !place.exists);
		(void)!facts_drop_claim(e->facts, op->id, w->target.path, &second);
		claim_free(c);
		return code;
	}
	pthread_mutex_lock(&e->lock);
	struct node_volume *nv = node_get(e, op->id);
	if (nv)
		claim_insert(e, nv, c);
	pthread_mutex_unlock(&e->lock);
	emit_volume(e, w->staging ? CLEAT_EVENT_STAGED : CLEAT_EVENT_PUBLISHED, op->pool, op->id, w->rec->name, w->target.path);
	return CLEAT_OK;
}

static enum cleat_code give_target(struct op *op, const char *path, struct cleat_error *err)
{
	free(op->result.target);
	op->result.target = strdup(path);
	return op->result.target ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

enum cleat_code verb_publish(struct op *op, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	autowish struct wish w = { .target = { .parent_fd = -1 } };
	struct cleat_error second = CLEAT_ERROR_INIT;

	if (pool_take(op, &rec, err) || make_wish(op, rec, &w, err))
		return err->code;
	if (look_at_present(op, &w, &op->result.already, err))
		return err->code;
	if (op->result.already)
		return give_target(op, w.target.path, err);
	if (admit(op, w.target.path, w.mode, w.read_only, w.block, err) || stage_ensure(op, &w.flags.super, err))
		return err->code;
	if (claim_and_bind(op, &w, err)) {
		(void)!stage_drop_if_unused(op, &second);
		return err->code;
	}
	return give_target(op, w.target.path, err);
}

static enum cleat_code release(struct op *op, bool force, struct cleat_error *err)
{
	char path[CLEAT_TARGET_MAX_BYTES];
	struct cleat_error drop = CLEAT_ERROR_INIT;
	bool found = false;

	if (!op->id[0]) {
		op->result.already = true;
		return CLEAT_OK;
	}
	if (!*op->req.target)
		snprintf(path, sizeof(path), "%s/%s", op->e->publish_dir, op->id);
	else if (target_canonical(op->req.target, path, err))
		return err->code;
	if (claim_release(op, path, force, &found, err))
		return err->code;
	op->result.already = !found;
	/* The claim is gone; an internal mount that is busy for a moment is tried again by the reconciler.  Anything else is said, so that
	 * the same call again can finish it. */
	if (stage_drop_if_unused(op, &drop) == CLEAT_OK || drop.code == CLEAT_FAILED_PRECONDITION)
		return CLEAT_OK;
	*err = drop;
	return err->code;
}

enum cleat_code verb_unpublish(struct op *op, struct cleat_error *err)
{
	return release(op, false, err);
}

enum cleat_code verb_release(struct op *op, struct cleat_error *err)
{
	return release(op, op->req.force, err);
}
