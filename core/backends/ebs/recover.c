/* recover.c - what is there when a pool opens: one listing for the mount table, for recovery and for the
 * scan. */
#include "backends/ebs/ebs.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "sys/mount.h"

static bool is_going(const struct ebs_thing *t)
{
	return strcmp(t->state, "deleting") == 0 || strcmp(t->state, "deleted") == 0;
}

/* ---- listing ---- */

static enum cleat_code fetch_list(struct ebs_pool *pool, bool snapshots, struct ebs_things *out,
				  struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf filters = CLEAT_BUF_INIT(1024);

	ebs_filter(&filters, 1, "tag:" EBS_TAG_POOL, pool->stored_name);
	return ebs_describe(pool, NULL, snapshots, &filters, out, err);
}

static enum cleat_code append(struct ebs_things *to, struct ebs_things *from, struct cleat_error *err)
{
	if (!from->count)
		return CLEAT_OK;
	struct ebs_thing *grown = realloc(to->items, (to->count + from->count) * sizeof(*grown));
	if (!grown)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	memcpy(grown + to->count, from->items, from->count * sizeof(*grown));
	to->items = grown;
	to->room = to->count += from->count;
	free(from->items);
	*from = (struct ebs_things){ NULL, 0, 0 };
	return CLEAT_OK;
}

enum cleat_code ebs_list(struct ebs_pool *pool, struct cleat_error *err)
{
	ebs_autothings struct ebs_things list = { NULL, 0, 0 }, snapshots = { NULL, 0, 0 };

	if (fetch_list(pool, false, &list, err) || fetch_list(pool, true, &snapshots, err) ||
	    append(&list, &snapshots, err))
		return err->code;
	pthread_mutex_lock(&pool->lock);
	struct ebs_things old = pool->listed;
	pool->listed = list;
	pool->listed_is_news = true;
	pthread_mutex_unlock(&pool->lock);
	list = old;
	return CLEAT_OK;
}

void ebs_changes(struct ebs_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->listed_is_news = false;
	pthread_mutex_unlock(&pool->lock);
}

/* The listing for the caller alone: nobody else changes it while a pool is being opened or examined. */
static struct ebs_things *listed(struct ebs_pool *pool)
{
	return &pool->listed;
}

enum cleat_code ebs_scan(void *arg, cleat_scan_fn fn, void *fn_arg, struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	pthread_mutex_lock(&pool->lock);
	const bool news = pool->listed_is_news;
	pthread_mutex_unlock(&pool->lock);
	if (!news && ebs_list(pool, err))
		return err->code;
	const struct ebs_things *list = listed(pool);
	ebs_changes(pool);
	for (size_t i = 0; i < list->count; i++) {
		cleat_autorecord struct cleat_record *rec = NULL;
		const char *broken = NULL;
		if (is_going(&list->items[i]))
			continue;
		if (ebs_record_of(pool, &list->items[i], &rec, &broken, err))
			return err->code;
		if (!fn(rec, broken, fn_arg))
			break;
	}
	return CLEAT_OK;
}

enum cleat_code ebs_find(void *arg, struct cleat_op *op, enum cleat_kind kind, const char *key,
			 const char *scope, const char *name, struct cleat_record **rec_out,
			 struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	ebs_autothings struct ebs_things list = { NULL, 0, 0 };
	cleat_autobuf struct cleat_buf filters = CLEAT_BUF_INIT(1024);
	cleat_autorecord struct cleat_record *rec = NULL;
	const char *broken = NULL;
	bool found = false;

	if (!*key) {
		if (ebs_find_named(pool, op, kind == CLEAT_KIND_SNAPSHOT, scope, name, &t, &found, err))
			return err->code;
	} else if (ebs_is_id(key, "vol-")) {
		if (ebs_look_at(pool, op, key, &t, &found, err))
			return err->code;
	} else if (ebs_is_id(key, "snap-")) {
		ebs_filter(&filters, 1, "snapshot-id", key);
		if (ebs_describe(pool, op, true, &filters, &list, err))
			return err->code;
		found = list.count > 0;
		if (found) {
			t = list.items[0];
			list.items[0].tags = (struct cleat_kvs){ NULL, 0 };
		}
	}
	if (!found || is_going(&t) || !ebs_is_ours(pool, &t))
		return CLEAT_OK;
	if (ebs_record_of(pool, &t, &rec, &broken, err))
		return err->code;
	if (broken)
		return cleat_error_set(err, strstr(broken, "just being") ? CLEAT_ABORTED : CLEAT_DATA_LOSS,
				       "the record of '%s' cannot be used: %s", t.id, broken);
	*rec_out = cleat_steal(rec);
	return CLEAT_OK;
}

/* ---- recovery ---- */

struct recovery {
	struct ebs_pool *pool;
	bool (*in_use)(const char *key, void *arg);
	cleat_report_fn report;
	void *arg;
	bool change;
};

static bool somebody_asked(const struct ebs_pool *pool, const struct ebs_thing *t)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	const char *broken = NULL;
	bool asked = false;

	if (ebs_record_of(pool, t, &rec, &broken, NULL) || broken)
		return true; /* not known: it stays */
	for (size_t i = 0; i < rec->attachment_count && !asked; i++)
		asked = strcmp(rec->attachments[i].node, pool->node) == 0 ||
			strcmp(rec->attachments[i].node, pool->instance) == 0;
	return asked;
}

/* Attached to this instance by a `map` whose daemon was killed before anybody used it. */
static void free_volume(struct recovery *r, const struct ebs_thing *t)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char line[256];

	if (t->snapshot || !ebs_attached_here(r->pool, t) || r->in_use(t->id, r->arg) ||
	    somebody_asked(r->pool, t))
		return;
	if (!r->change) {
		snprintf(line, sizeof(line), "volume '%s' is attached here and nobody uses it", t->id);
	} else {
		/* "not yet" is what a detachment that has begun answers: it ends without us. */
		enum cleat_code code =
			ebs_take_away(r->pool, NULL, t->id, t->id, r->pool->instance, false, &err);
		if (code == CLEAT_OK || code == CLEAT_ABORTED)
			snprintf(line, sizeof(line),
				 "volume '%s' was attached here and nobody used it: detached", t->id);
		else
			snprintf(line, sizeof(line),
				 "volume '%s' is attached here and nobody uses it, but: %.150s", t->id,
				 err.msg);
	}
	r->report(line, r->arg);
}

static void drop_passing(struct recovery *r, const struct ebs_thing *t)
{
	cleat_autobuf struct cleat_buf form = ebs_form("DeleteSnapshot");
	struct cleat_error err = CLEAT_ERROR_INIT;
	char line[256];

	cleat_http_form_add(&form, "SnapshotId", t->id);
	if (r->change && ebs_call(r->pool, NULL, &form, true, NULL, NULL, &err))
		snprintf(line, sizeof(line),
			 "snapshot '%s' was made for a clone that was cut off, but: %.150s", t->id, err.msg);
	else
		snprintf(line, sizeof(line), "snapshot '%s' was made for a clone that was cut off%s", t->id,
			 r->change ? ": removed" : "");
	r->report(line, r->arg);
}

static enum cleat_code sweep(struct recovery *r, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf filters = CLEAT_BUF_INIT(1024);
	ebs_autothings struct ebs_things passing = { NULL, 0, 0 };
	const struct ebs_things *list = listed(r->pool);

	for (size_t i = 0; i < list->count; i++)
		free_volume(r, &list->items[i]);
	ebs_filter(&filters, 1, "tag:" EBS_TAG_PASSING, r->pool->node);
	ebs_filter(&filters, 2, "tag:cleat:passing-pool", r->pool->stored_name);
	if (ebs_describe(r->pool, NULL, true, &filters, &passing, err))
		return err->code;
	for (size_t i = 0; i < passing.count; i++)
		drop_passing(r, &passing.items[i]);
	return CLEAT_OK;
}

static enum cleat_code recover(struct recovery *r, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	pthread_mutex_lock(&r->pool->lock);
	const bool news = r->pool->listed_is_news;
	pthread_mutex_unlock(&r->pool->lock);
	if (!news && ebs_list(r->pool, err))
		return err->code;
	return sweep(r, err);
}

enum cleat_code ebs_recover(void *arg, bool (*in_use)(const char *key, void *arg), cleat_report_fn report,
			    void *report_arg, struct cleat_error *err)
{
	struct recovery r = { arg, in_use, report, report_arg, true };

	return recover(&r, err);
}

enum cleat_code ebs_leftovers(void *arg, bool (*in_use)(const char *key, void *arg), cleat_report_fn report,
			      void *report_arg, struct cleat_error *err)
{
	struct recovery r = { arg, in_use, report, report_arg, false };
	struct ebs_pool *pool = arg;

	ebs_changes(pool); /* what is there now, not what was there when the pool was opened */
	return recover(&r, err);
}

/* ---- the mount table ---- */

/* The device of a mounted file system, or the one that was bound for block access: by number where the mount
 * has one, else by its source. */
static bool disk_of(struct ebs_pool *pool, const struct cleat_mount_entry *entry, struct cleat_disk *out)
{
	struct stat st;
	bool found = false;

	if (cleat_disk_find_dev(&pool->roots, entry->dev, out, &found, NULL) == CLEAT_OK && found)
		return true;
	if (entry->source[0] == '/' && stat(entry->source, &st) == 0 && S_ISBLK(st.st_mode) &&
	    cleat_disk_find_dev(&pool->roots, st.st_rdev, out, &found, NULL) == CLEAT_OK && found)
		return true;
	const char *name = strrchr(entry->root, '/');
	if (!name || !name[1] || stat(entry->target, &st) != 0 || !S_ISBLK(st.st_mode))
		return false;
	return cleat_disk_find_dev(&pool->roots, st.st_rdev, out, &found, NULL) == CLEAT_OK && found;
}

bool ebs_find_mount(void *arg, const struct cleat_mount_entry *entry, char key_out[CLEAT_KEY_MAX_BYTES + 1])
{
	struct ebs_pool *pool = arg;
	struct cleat_disk disk;
	char id[80];
	bool ours = false;

	if (!disk_of(pool, entry, &disk) || strncmp(disk.serial, "vol", 3) != 0)
		return false;
	snprintf(id, sizeof(id), "vol-%.60s", disk.serial + 3);
	pthread_mutex_lock(&pool->lock);
	for (size_t i = 0; i < pool->listed.count && !ours; i++)
		ours = strcmp(pool->listed.items[i].id, id) == 0;
	pthread_mutex_unlock(&pool->lock);
	if (ours)
		snprintf(key_out, CLEAT_KEY_MAX_BYTES + 1, "%.*s", CLEAT_KEY_MAX_BYTES, id);
	return ours;
}
