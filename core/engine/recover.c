/* recover.c - comparing what is recorded with what is mounted: at start, when a pool opens, and now and then. */
#include "engine/engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sys/file.h"
#include "sys/mount.h"
#include "util/log.h"

void report_line(struct cleat_engine *e, const char *fmt, ...)
{
	char line[CLEAT_ERROR_TEXT_BYTES + 256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	cleat_debug("%s", line);
	if (e->report)
		e->report(line, e->report_arg);
}

/* ---- the mount table as a sorted set of targets ------------------------------------------------------------------------------------------ */

struct targets {
	char **items;
	size_t count, room;
	bool failed;
};

static bool add_target(const struct cleat_mount_entry *entry, void *arg)
{
	struct targets *t = arg;

	if (t->count == t->room) {
		size_t room = t->room ? t->room * 2 : 256;
		char **grown = realloc(t->items, room * sizeof(char *));
		if (!grown)
			return !(t->failed = true);
		t->items = grown;
		t->room = room;
	}
	t->items[t->count] = strdup(entry->target);
	if (!t->items[t->count])
		return !(t->failed = true);
	t->count++;
	return true;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void targets_done(struct targets *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->items[i]);
	free(t->items);
}
#define autotargets __attribute__((cleanup(targets_done)))

static enum cleat_code targets_read(struct targets *t, struct cleat_error *err)
{
	if (cleat_sys_mounts(add_target, t, err))
		return err->code;
	if (t->failed)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (t->count)
		qsort(t->items, t->count, sizeof(char *), by_text);
	return CLEAT_OK;
}

static bool is_target(const struct targets *t, const char *path)
{
	return t->count && bsearch(&path, t->items, t->count, sizeof(char *), by_text);
}

/* ---- at start: recorded facts against the mount table ---------------------------------------------------------------------------------- */

struct loading {
	struct cleat_engine *e;
	const struct targets *mounted;
	struct {
		char id[CLEAT_ID_MAX_BYTES + 1];
		char *target; /* NULL: the stage */
	} *lost;
	size_t lost_count, lost_room;
};

static void note_lost(struct loading *l, const char *id, const char *target)
{
	if (l->lost_count == l->lost_room) {
		size_t room = l->lost_room ? l->lost_room * 2 : 16;
		void *grown = realloc(l->lost, room * sizeof(*l->lost));
		if (!grown)
			return; /* the row stays, and is looked at again at the next start */
		l->lost = grown;
		l->lost_room = room;
	}
	snprintf(l->lost[l->lost_count].id, sizeof(l->lost[0].id), "%s", id);
	l->lost[l->lost_count++].target = target ? strdup(target) : NULL;
}

static void load_stage(struct node_volume *from, void *arg)
{
	struct loading *l = arg;
	char path[CLEAT_TARGET_MAX_BYTES];

	snprintf(path, sizeof(path), "%s/%s", l->e->stage_dir, from->id);
	if (!from->block && !is_target(l->mounted, path)) {
		note_lost(l, from->id, NULL);
	} else {
		struct node_volume *nv = node_get(l->e, from->id);
		if (nv) {
			nv->staged = true;
			nv->explicit_stage = from->explicit_stage;
			nv->block = from->block;
			nv->options = cleat_steal(from->options);
			memcpy(nv->device, from->device, sizeof(nv->device));
		}
	}
	free(from->options);
	free(from);
}

static void load_claim(const char *id, struct claim *c, void *arg)
{
	struct loading *l = arg;
	struct node_volume *nv;

	if (!is_target(l->mounted, c->target)) {
		note_lost(l, id, c->target);
		report_line(l->e, "claim of '%s' at '%s' by '%s': no longer mounted, released", id, c->target, c->owner);
		if (c->made_target && rmdir(c->target) != 0 && errno == ENOTDIR)
			unlink(c->target);
		claim_free(c);
	} else if ((nv = node_get(l->e, id))) {
		claim_insert(l->e, nv, c);
	} else {
		claim_free(c);
	}
}

static void drop_lost(struct loading *l)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT; /* looked at again at the next start */

	for (size_t i = 0; i < l->lost_count; i++) {
		if (l->lost[i].target)
			(void)!facts_drop_claim(l->e->facts, l->lost[i].id, l->lost[i].target, &ignored);
		else
			(void)!facts_drop_stage(l->e->facts, l->lost[i].id, &ignored);
		free(l->lost[i].target);
	}
	free(l->lost);
}

/* Empty directories that are no mount points go; rmdir(2) refuses all others. */
static void sweep_directory(const char *path)
{
	DIR *dir = opendir(path);
	char name[CLEAT_TARGET_MAX_BYTES];

	if (!dir)
		return;
	for (struct dirent *d; (d = readdir(dir));) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, d->d_name);
		if (rmdir(name) != 0 && errno == ENOTDIR)
			unlink(name); /* the file a block volume was bound to; busy while it is */
	}
	closedir(dir);
}

enum cleat_code recover_facts(struct cleat_engine *e, struct cleat_error *err)
{
	autotargets struct targets mounted = { 0 };
	struct loading l = { .e = e, .mounted = &mounted };

	if (targets_read(&mounted, err))
		return err->code;
	enum cleat_code code = facts_load(e->facts, load_stage, load_claim, &l, err);
	drop_lost(&l);
	sweep_directory(e->stage_dir);
	sweep_directory(e->publish_dir);
	return code;
}

/* ---- when a pool opens: mounts of its volumes that nobody recorded ------------------------------------------------------------------------- */

struct adopting {
	struct op *op;
	struct pool *p;
	enum cleat_code code;
	struct cleat_error *err;
};

static bool below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

static void adopt_stage(struct adopting *a, const char *id, const struct cleat_mount_entry *entry)
{
	struct cleat_engine *e = a->op->e;

	pthread_mutex_lock(&e->lock);
	struct node_volume *nv = node_get(e, id);
	bool news = nv && !nv->staged;
	if (news) {
		nv->staged = true;
		if (strncmp(entry->source, "/dev/", 5) == 0)
			snprintf(nv->device, sizeof(nv->device), "%s", entry->source);
	}
	pthread_mutex_unlock(&e->lock);
	if (!news)
		return;
	report_line(e, "'%s' found staged in the mount table", id);
	if (facts_put_stage(e->facts, nv, a->err))
		a->code = a->err->code;
}

static struct claim *found_claim(const struct cleat_mount_entry *entry)
{
	struct claim *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->target = strdup(entry->target);
	c->owner = strdup("found in the mount table");
	c->options = strdup(entry->read_only ? "ro" : "");
	c->mode = entry->read_only ? CLEAT_MODE_SINGLE_NODE_READER_ONLY : CLEAT_MODE_SINGLE_NODE_WRITER;
	c->read_only = entry->read_only;
	c->since_ms = cleat_time_wall_ms();
	if (c->target && c->owner && c->options)
		return c;
	claim_free(c);
	return NULL;
}

static void adopt_claim(struct adopting *a, const char *id, const struct cleat_mount_entry *entry)
{
	struct cleat_engine *e = a->op->e;
	struct claim *c = found_claim(entry);

	if (!c)
		return;
	c->made_target = below(entry->target, e->publish_dir);
	pthread_mutex_lock(&e->lock);
	struct node_volume *nv = node_get(e, id);
	const bool news = nv && !claim_find(nv, entry->target);
	pthread_mutex_unlock(&e->lock);
	if (!news) {
		claim_free(c);
		return;
	}
	report_line(e, "'%s' found published at '%s' in the mount table", id, entry->target);
	if (facts_put_claim(e->facts, id, c, a->err))
		a->code = a->err->code;
	pthread_mutex_lock(&e->lock);
	claim_insert(e, nv, c);
	pthread_mutex_unlock(&e->lock);
}

static bool adopt_mount(const struct cleat_mount_entry *entry, void *arg)
{
	struct adopting *a = arg;
	struct cleat_engine *e = a->op->e;
	char key[CLEAT_KEY_MAX_BYTES + 1], id[CLEAT_ID_MAX_BYTES + 1];

	if (!a->p->backend->find_mount(a->p->instance, entry, key))
		return true;
	pool_make_id(a->p, key, id);
	if (below(entry->target, e->stage_dir)) {
		if (strcmp(entry->target + strlen(e->stage_dir) + 1, id) == 0)
			adopt_stage(a, id, entry);
	} else if (below(entry->target, e->publish_dir) ||
		   (!below(entry->target, e->runtime_dir) && !below(entry->target, e->state_dir))) {
		adopt_claim(a, id, entry);
	}
	return a->code == CLEAT_OK;
}

enum cleat_code recover_pool_mounts(struct op *op, struct pool *p, struct cleat_error *err)
{
	struct adopting a = { .op = op, .p = p, .err = err };

	if (!op->e->facts_fresh || !p->backend->find_mount)
		return CLEAT_OK;
	if (cleat_sys_mounts(adopt_mount, &a, err))
		return err->code;
	return a.code;
}

/* ---- now and then: stale claims ------------------------------------------------------------------------------------------------------------- */

struct suspect {
	struct suspect *next;
	char id[CLEAT_ID_MAX_BYTES + 1];
	char *target;
	bool news;
};

/* With the lock: volumes with something stale, or with an internal mount that nothing refers to. */
static struct suspect *find_suspects(struct cleat_engine *e, const struct targets *mounted)
{
	struct suspect *list = NULL;

	for (size_t i = 0; i < NODE_BUCKETS; i++) {
		for (struct node_volume *nv = e->nodes[i]; nv; nv = nv->next) {
			struct claim *bad = NULL;
			for (struct claim *c = nv->claims; c && !bad; c = c->next)
				if (!is_target(mounted, c->target) || witness_gone(c))
					bad = c;
			if (!bad && (nv->claims || nv->explicit_stage))
				continue;
			struct suspect *s = calloc(1, sizeof(*s));
			if (!s)
				return list;
			memcpy(s->id, nv->id, sizeof(s->id));
			s->target = bad ? strdup(bad->target) : NULL;
			s->news = bad && !bad->stale;
			if (bad)
				bad->stale = true;
			s->next = list;
			list = s;
		}
	}
	return list;
}

static struct pool *pool_of_id(struct cleat_engine *e, const char *id)
{
	const char *dot = strchr(id, '.');

	return dot ? pool_by_stored_name(e, id, (size_t)(dot - id)) : NULL;
}

void reconcile_start(struct cleat_engine *e)
{
	autotargets struct targets mounted = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;

	pthread_mutex_lock(&e->lock);
	bool idle = true;
	for (size_t i = 0; i < NODE_BUCKETS && idle; i++)
		idle = e->nodes[i] == NULL;
	pthread_mutex_unlock(&e->lock);
	if (idle || targets_read(&mounted, &err))
		return;
	pthread_mutex_lock(&e->lock);
	struct suspect *list = find_suspects(e, &mounted);
	pthread_mutex_unlock(&e->lock);
	while (list) {
		struct suspect *s = list;
		list = s->next;
		pthread_mutex_lock(&e->lock);
		struct pool *p = pool_of_id(e, s->id);
		pthread_mutex_unlock(&e->lock);
		if (s->news)
			emit_volume(e, CLEAT_EVENT_CLAIM_STALE, p, s->id, "", s->target ? s->target : "");
		ops_submit_inner(e, p ? p : e->own, VERB_RECONCILE, s->id);
		free(s->target);
		free(s);
	}
}

enum cleat_code verb_reconcile(struct op *op, struct cleat_error *err)
{
	if (claims_release_stale(op, err))
		return err->code;
	return stage_drop_if_unused(op, err);
}
