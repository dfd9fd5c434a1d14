/* snapshot.c - snapshots at EC2, which knows no token for them: a name is looked for before one is made. */
#include "backends/ebs/ebs.h"

#include <stdio.h>
#include <string.h>

#include <fcntl.h>

#include "sys/file.h"

static void passing_key(const char *key, char out[360])
{
	snprintf(out, 360, "passing %.340s", key);
}

/* What its users have written so far goes to the volume; the snapshot is then as good as a crash, which
 * journals are made for. */
static enum cleat_code sync_source(struct cleat_op *op, const struct cleat_where *where,
				   struct cleat_error *err)
{
	cleat_autoclose int fd = -1;

	if (!where)
		return CLEAT_OK;
	cleat_op_step(op, "sync source", EBS_STEP_MS * 5);
	if (where->stage_path) {
		if (cleat_sys_open_root(where->stage_path, &fd, err))
			return err->code;
		return cleat_sys_syncfs(fd, where->stage_path, err);
	}
	if (!where->device)
		return CLEAT_OK;
	fd = open(where->device, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? CLEAT_OK : cleat_sys_fsync(fd, where->device, err);
}

/* Not repeated by itself: a second call would make a second snapshot. */
static enum cleat_code create_snapshot(struct ebs_pool *pool, struct cleat_op *op, const char *volume,
				       const struct cleat_record *rec, char id_out[EBS_ID_BYTES],
				       struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form("CreateSnapshot");
	cleat_autoxml struct cleat_xml *doc = NULL;

	cleat_http_form_add(&form, "VolumeId", volume);
	if (rec) {
		if (ebs_tags_add(pool, "snapshot", rec, &form, err))
			return err->code;
	} else {
		cleat_http_form_add(&form, "TagSpecification.1.ResourceType", "snapshot");
		cleat_http_form_add(&form, "TagSpecification.1.Tag.1.Key", EBS_TAG_PASSING);
		cleat_http_form_add(&form, "TagSpecification.1.Tag.1.Value", pool->node);
		cleat_http_form_add(&form, "TagSpecification.1.Tag.2.Key", "cleat:passing-pool");
		cleat_http_form_add(&form, "TagSpecification.1.Tag.2.Value", pool->stored_name);
	}
	cleat_op_step(op, "create the snapshot", EBS_STEP_MS);
	if (ebs_call(pool, op, &form, false, &doc, NULL, err))
		return err->code;
	const char *id = cleat_xml_get(cleat_xml_root(doc), "snapshotId");
	if (!ebs_is_id(id, "snap-"))
		return cleat_error_set(err, CLEAT_INTERNAL, "EC2 CreateSnapshot: the answer holds no id");
	snprintf(id_out, EBS_ID_BYTES, "%s", id);
	return CLEAT_OK;
}

static enum cleat_code look_at_snapshot(struct ebs_pool *pool, struct cleat_op *op, const char *id,
					struct ebs_thing *out, bool *found_out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf filters = CLEAT_BUF_INIT(1024);
	ebs_autothings struct ebs_things list = { NULL, 0, 0 };

	ebs_filter(&filters, 1, "snapshot-id", id);
	if (ebs_describe(pool, op, true, &filters, &list, err))
		return err->code;
	*found_out = list.count > 0;
	if (list.count) {
		*out = list.items[0];
		list.items[0].tags = (struct cleat_kvs){ NULL, 0 };
	}
	return CLEAT_OK;
}

static enum cleat_code delete_snapshot(struct ebs_pool *pool, struct cleat_op *op, const char *id,
				       struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form("DeleteSnapshot");
	struct ebs_why why;

	cleat_http_form_add(&form, "SnapshotId", id);
	cleat_op_step(op, "delete the snapshot", EBS_STEP_MS);
	if (ebs_call(pool, op, &form, true, NULL, &why, err) == CLEAT_OK)
		return CLEAT_OK;
	if (!ebs_why_is(&why, "InvalidSnapshot.NotFound"))
		return err->code;
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return CLEAT_OK;
}

/* ---- clones ---- */

static enum cleat_code wait_completed(struct ebs_pool *pool, struct cleat_op *op, const char *key,
				      const char *id, struct cleat_error *err)
{
	ebs_autothing struct ebs_thing t = { .snapshot = true };
	bool found = false;

	if (look_at_snapshot(pool, op, id, &t, &found, err))
		return err->code;
	if (found && strcmp(t.state, "completed") == 0)
		return CLEAT_OK;
	if (found && strcmp(t.state, "error") == 0)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "EC2 says that snapshot '%s' has failed", id);
	/* Without a limit that counts: a large first snapshot takes hours. */
	return cleat_pending_wait(&pool->pending, op, key, "wait for the snapshot to be complete",
				  &pool->modify_rule, err);
}

enum cleat_code ebs_clone_source(struct ebs_pool *pool, struct cleat_op *op, const char *key,
				 const struct cleat_record *source, const struct cleat_where *where,
				 char snapshot_out[EBS_ID_BYTES], struct cleat_error *err)
{
	char passing[360], note[CLEAT_PENDING_NOTE_BYTES];

	passing_key(key, passing);
	if (source->kind == CLEAT_KIND_SNAPSHOT) {
		snprintf(snapshot_out, EBS_ID_BYTES, "%.31s", source->key);
		enum cleat_code code = wait_completed(pool, op, passing, snapshot_out, err);
		if (code == CLEAT_OK)
			cleat_pending_done(&pool->pending, passing);
		return code;
	}
	if (!cleat_pending_note(&pool->pending, passing, note)) {
		if (sync_source(op, where, err) ||
		    create_snapshot(pool, op, source->key, NULL, snapshot_out, err) ||
		    cleat_pending_put_note(&pool->pending, passing, snapshot_out, err))
			return err->code;
	} else {
		snprintf(snapshot_out, EBS_ID_BYTES, "%.31s", note);
	}
	return wait_completed(pool, op, passing, snapshot_out, err);
}

void ebs_clone_made(struct ebs_pool *pool, const char *key)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT; /* recovery takes what is left */
	char passing[360], note[CLEAT_PENDING_NOTE_BYTES];

	passing_key(key, passing);
	if (!cleat_pending_note(&pool->pending, passing, note))
		return;
	(void)!delete_snapshot(pool, NULL, note, &ignored);
	cleat_pending_done(&pool->pending, passing);
}

/* ---- snapshots that stay ---- */

static enum cleat_code snapshot_record(const struct ebs_pool *pool, const struct ebs_thing *t,
				       const struct cleat_record *wish, struct cleat_record **out,
				       struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	const char *broken = NULL;

	if (ebs_record_of(pool, t, &rec, &broken, err))
		return err->code;
	if (broken || strcmp(rec->source, wish->source) != 0)
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "snapshot '%s' exists (%s), %s%s",
				       wish->name, t->id, broken ? broken : "of volume ",
				       broken ? "" : rec->source);
	*out = cleat_steal(rec);
	return CLEAT_OK;
}

static enum cleat_code finish_snapshot(struct ebs_pool *pool, struct cleat_op *op, const char *key,
				       const char *id, const struct cleat_record *wish,
				       struct cleat_record **out, struct cleat_error *err)
{
	ebs_autothing struct ebs_thing t = { .snapshot = true };
	bool found = false;

	if (look_at_snapshot(pool, op, id, &t, &found, err))
		return err->code;
	if (!found)
		return cleat_pending_wait(&pool->pending, op, key, "wait for the new snapshot",
					  &pool->create_rule, err);
	if (snapshot_record(pool, &t, wish, out, err))
		return err->code;
	cleat_pending_done(&pool->pending, key);
	return CLEAT_OK;
}

enum cleat_code ebs_snapshot(void *arg, struct cleat_op *op, const struct cleat_record *const *sources,
			     const struct cleat_where *wheres, const struct cleat_record *const *recs,
			     size_t count, struct cleat_record **recs_out, struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	ebs_autothing struct ebs_thing t = { .snapshot = true };
	const struct cleat_record *rec = recs[0];
	char key[320], id[CLEAT_PENDING_NOTE_BYTES];
	bool found = false;

	ebs_changes(pool);
	if (count != 1)
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED,
				       "EBS takes snapshots of one volume at a time");
	snprintf(key, sizeof(key), "snapshot %.128s/%.128s", rec->scope, rec->name);
	if (!cleat_pending_note(&pool->pending, key, id)) {
		if (ebs_find_named(pool, op, true, rec->scope, rec->name, &t, &found, err))
			return err->code;
		if (found)
			return snapshot_record(pool, &t, rec, recs_out, err);
		if (sync_source(op, &wheres[0], err) ||
		    create_snapshot(pool, op, sources[0]->key, rec, id, err) ||
		    cleat_pending_put_note(&pool->pending, key, id, err))
			return err->code;
	}
	return finish_snapshot(pool, op, key, id, rec, recs_out, err);
}

enum cleat_code ebs_remove_snapshot(struct ebs_pool *pool, struct cleat_op *op,
				    const struct cleat_record *rec, struct cleat_error *err)
{
	ebs_autothing struct ebs_thing t = { .snapshot = true };
	bool found = false;

	if (look_at_snapshot(pool, op, rec->key, &t, &found, err))
		return err->code;
	if (!found)
		return CLEAT_OK;
	if (!ebs_is_ours(pool, &t))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'%s' is no longer marked as a snapshot of this pool: not deleted",
				       rec->key);
	return delete_snapshot(pool, op, rec->key, err);
}
