/* volume.c - volumes at EC2: made, adopted, changed, grown, removed. */
#include "backends/ebs/ebs.h"

#include <stdio.h>
#include <string.h>

#include "fs/fs.h"
#include "sys/probe.h"
#include "util/clock.h"
#include "util/ids.h"

#define VISIBLE_MS 60000 /* a volume that is still unknown after that long is gone, not late */

static bool state_is(const struct ebs_thing *t, const char *state)
{
	return strcmp(t->state, state) == 0;
}

static bool is_going(const struct ebs_thing *t)
{
	return state_is(t, "deleting") || state_is(t, "deleted");
}

static enum cleat_code record_out(const struct ebs_pool *pool, const struct ebs_thing *t,
				  struct cleat_record **out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	const char *broken = NULL;

	if (ebs_record_of(pool, t, &rec, &broken, err))
		return err->code;
	if (broken)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "the record of '%s' cannot be used: %s", t->id,
				       broken);
	*out = cleat_steal(rec);
	return CLEAT_OK;
}

/* ---- create ---- */

/* What is begun is remembered under kind, scope and name, which the engine lets only one operation hold. */
static void creation_key(const char *what, const struct cleat_record *rec, char key[320])
{
	snprintf(key, 320, "%s %.128s/%.128s", what, rec->scope, rec->name);
}

/* The n-th try of this name: a token that was used for a volume which is gone, or for another wish, is of no
 * use any more. */
static unsigned attempt_number(struct ebs_pool *pool, const struct cleat_record *rec)
{
	char key[320], note[CLEAT_PENDING_NOTE_BYTES];

	creation_key("attempt", rec, key);
	return cleat_pending_note(&pool->pending, key, note) ? (unsigned)strtoul(note, NULL, 10) : 0;
}

static enum cleat_code next_attempt(struct ebs_pool *pool, const struct cleat_record *rec,
				    struct cleat_error *err)
{
	char key[320], note[16];

	creation_key("attempt", rec, key);
	snprintf(note, sizeof(note), "%u", attempt_number(pool, rec) + 1);
	return cleat_pending_put_note(&pool->pending, key, note, err);
}

static void client_token(struct ebs_pool *pool, const struct cleat_record *rec, char token[64])
{
	uint64_t a = cleat_id_hash(pool->uuid, sizeof(pool->uuid), 0), b;

	a = cleat_id_hash(rec->scope, strlen(rec->scope) + 1, a);
	a = cleat_id_hash(rec->name, strlen(rec->name), a);
	b = cleat_id_hash(rec->name, strlen(rec->name), ~a);
	snprintf(token, 64, "cleat-%016llx%016llx-%u", (unsigned long long)a, (unsigned long long)b,
		 attempt_number(pool, rec));
}

static uint64_t wished_gib(const struct ebs_pool *pool, const struct cleat_record *rec)
{
	uint64_t bytes = rec->capacity_bytes;

	if (!bytes)
		bytes = cleat_param_number(ebs_pool_params, pool->config, "default_size");
	return (bytes + EBS_GIB - 1) / EBS_GIB;
}

static const char *param(const struct ebs_pool *pool, const struct cleat_record *rec, const char *key)
{
	const char *value = cleat_kv_get(&rec->params, key);

	return value ? value : cleat_param_text(ebs_pool_params, pool->config, key);
}

static void add_performance(struct cleat_buf *form, const struct cleat_record *rec, const char *type)
{
	const char *iops = cleat_kv_get(&rec->params, "iops"),
		   *throughput = cleat_kv_get(&rec->params, "throughput");

	cleat_http_form_add(form, "VolumeType", type);
	if (iops)
		cleat_http_form_add(form, "Iops", iops);
	if (throughput)
		cleat_http_form_add(form, "Throughput", throughput);
}

static bool is_true(const char *text)
{
	return strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "1") == 0;
}

/* As it will be: with the size and the access that EC2 gives it. */
static enum cleat_code wish_as_stored(const struct ebs_pool *pool, const struct cleat_record *rec,
				      const char *snapshot, struct cleat_record **out,
				      struct cleat_error *err)
{
	struct cleat_record *copy = cleat_record_copy(rec);

	if (!copy)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	copy->capacity_bytes = wished_gib(pool, rec) * EBS_GIB;
	if (*snapshot && !*rec->source) { /* one from elsewhere: it holds data, so it is never formatted, and
					     may have to grow */
		copy->formatted = true;
		copy->fs_bytes = 1;
	}
	*out = copy;
	return CLEAT_OK;
}

static bool wants_owner(const struct cleat_record *rec)
{
	return cleat_kv_get(&rec->params, "uid") || cleat_kv_get(&rec->params, "gid") ||
	       cleat_kv_get(&rec->params, "mode");
}

static enum cleat_code create_form(struct ebs_pool *pool, const struct cleat_record *rec,
				   const char *snapshot, struct cleat_buf *form, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *wish = NULL;
	const char *key_id = param(pool, rec, "kms_key"), *encrypted = param(pool, rec, "encrypted");
	const char *zone = cleat_kv_get(&rec->params, "zone");
	char token[64];

	if (wish_as_stored(pool, rec, snapshot, &wish, err))
		return err->code;
	if (wants_owner(wish) && wish->access_type == CLEAT_ACCESS_MOUNT &&
	    cleat_kv_set(&wish->attributes, "owner_pending", "true", err))
		return err->code;
	client_token(pool, rec, token);
	cleat_http_form_add(form, "ClientToken", token);
	cleat_http_form_add(form, "AvailabilityZone", zone ? zone : pool->zone);
	cleat_http_form_addf(form, "Size", "%llu", (unsigned long long)(wish->capacity_bytes / EBS_GIB));
	add_performance(form, rec, param(pool, rec, "type"));
	if (*snapshot)
		cleat_http_form_add(form, "SnapshotId", snapshot);
	if (is_true(encrypted) || (key_id && *key_id))
		cleat_http_form_add(form, "Encrypted", "true");
	if (key_id && *key_id)
		cleat_http_form_add(form, "KmsKeyId", key_id);
	return ebs_tags_add(pool, "volume", wish, form, err);
}

/* Begins it: the id is noted, and from here on the far side knows. */
static enum cleat_code begin_create(struct ebs_pool *pool, struct cleat_op *op,
				    const struct cleat_record *rec, const char *snapshot, const char *key,
				    struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form("CreateVolume");
	cleat_autoxml struct cleat_xml *doc = NULL;
	struct ebs_why why;

	cleat_op_step(op, "create the volume", EBS_STEP_MS);
	if (create_form(pool, rec, snapshot, &form, err))
		return err->code;
	if (ebs_call(pool, op, &form, true, &doc, &why, err)) {
		/* This token made a volume of another wish, earlier. */
		if (!ebs_why_is(&why, "IdempotentParameterMismatch"))
			return err->code;
		return next_attempt(pool, rec, err) ? err->code : cleat_op_again(op, 1, err);
	}
	const char *id = cleat_xml_get(cleat_xml_root(doc), "volumeId");
	if (!ebs_is_id(id, "vol-"))
		return cleat_error_set(err, CLEAT_INTERNAL, "EC2 CreateVolume: the answer holds no id");
	return cleat_pending_put_note(&pool->pending, key, id, err);
}

/* The token's volume is gone: begin anew with the next one. */
static enum cleat_code begin_again(struct ebs_pool *pool, struct cleat_op *op, const struct cleat_record *rec,
				   const char *key, struct cleat_error *err)
{
	cleat_pending_done(&pool->pending, key);
	return next_attempt(pool, rec, err) ? err->code : cleat_op_again(op, 1, err);
}

static enum cleat_code finish_create(struct ebs_pool *pool, struct cleat_op *op,
				     const struct cleat_record *rec, const char *key, const char *id,
				     struct cleat_record **rec_out, struct cleat_error *err)
{
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	bool found = false;

	if (ebs_look_at(pool, op, id, &t, &found, err))
		return err->code;
	if ((found && is_going(&t)) || (!found && cleat_pending_age_ms(&pool->pending, key) > VISIBLE_MS))
		return begin_again(pool, op, rec, key, err);
	if (!found || state_is(&t, "creating"))
		return cleat_pending_wait(&pool->pending, op, key, "wait for the new volume",
					  &pool->create_rule, err);
	if (state_is(&t, "error")) {
		cleat_pending_done(&pool->pending, key);
		return cleat_error_set(
			err, CLEAT_INTERNAL,
			"EC2 could not create volume '%s' (%s): a wrong KMS key, or too little capacity",
			rec->name, id);
	}
	if (record_out(pool, &t, rec_out, err))
		return err->code;
	cleat_pending_done(&pool->pending, key);
	return CLEAT_OK;
}

/* A volume of that name is there although the engine does not know it: begun before a crash, or made by
 * another node. */
static enum cleat_code confirm(struct ebs_pool *pool, const struct cleat_record *rec,
			       const struct ebs_thing *t, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *has = NULL;

	if (record_out(pool, t, &has, err))
		return err->code;
	const char *why = has->capacity_bytes < wished_gib(pool, rec) * EBS_GIB ? "is smaller"
			  : has->access_type != rec->access_type		? "has another access type"
			  : strcmp(has->fs, rec->fs) != 0			? "has another file system"
			  : strcmp(has->source, rec->source) != 0	? "was made from another source"
			  : !cleat_kv_equal(&has->params, &rec->params) ? "has other parameters"
									: NULL;
	if (!why)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_ALREADY_EXISTS,
			       "volume '%s' exists (%s) and %s than what was asked for", rec->name, t->id,
			       why);
}

static enum cleat_code check_wish(const struct ebs_pool *pool, const struct cleat_record *rec,
				  struct cleat_error *err)
{
	const char *zone = cleat_kv_get(&rec->params, "zone"),
		   *snapshot = cleat_kv_get(&rec->params, "snapshot");

	if (!zone && !*pool->zone)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "the zone is not known: set 'zone' of the pool or of the volume");
	if (snapshot && !ebs_is_id(snapshot, "snap-"))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "parameter 'snapshot': '%s' is no snapshot id", snapshot);
	if (snapshot && *rec->source)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "parameter 'snapshot' and a source exclude each other");
	return ebs_tags_check(cleat_kv_get(&rec->params, "tags"), err);
}

enum cleat_code ebs_create(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			   const struct cleat_record *source, const struct cleat_where *where,
			   struct cleat_record **rec_out, struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	const char *from = cleat_kv_get(&rec->params, "snapshot");
	char key[320], id[CLEAT_PENDING_NOTE_BYTES], snapshot[EBS_ID_BYTES] = "";
	bool found = false;

	ebs_changes(pool);
	if (check_wish(pool, rec, err))
		return err->code;
	creation_key("create", rec, key);
	if (!cleat_pending_note(&pool->pending, key, id)) {
		if (ebs_find_named(pool, op, false, rec->scope, rec->name, &t, &found, err) ||
		    (found && confirm(pool, rec, &t, err)))
			return err->code;
		if (found && cleat_pending_put_note(&pool->pending, key, t.id, err))
			return err->code;
		if (!found && source && ebs_clone_source(pool, op, key, source, where, snapshot, err))
			return err->code;
		if (!found && !source)
			snprintf(snapshot, sizeof(snapshot), "%s", from ? from : "");
		if (!found && begin_create(pool, op, rec, snapshot, key, err))
			return err->code;
		if (!cleat_pending_note(&pool->pending, key, id))
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	if (finish_create(pool, op, rec, key, id, rec_out, err))
		return err->code;
	ebs_clone_made(pool, key);
	return CLEAT_OK;
}

/* ---- adopt ---- */

/* What is on its device: attached here for a moment, unless it is already. */
static enum cleat_code probe_contents(struct ebs_pool *pool, struct cleat_op *op, struct cleat_record *rec,
				      struct cleat_error *err)
{
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	struct cleat_source source = { .fd = -1 };
	struct cleat_sys_content content;
	struct cleat_disk disk;

	if (ebs_bring_here(pool, op, rec, &t, &disk, err) || cleat_disk_open(&disk, rec, true, &source, err))
		return err->code;
	enum cleat_code code = cleat_sys_probe(source.fd, source.path, &content, err);
	const struct cleat_fs *fs = code == CLEAT_OK ? cleat_fs_find(content.type) : NULL;
	if (code == CLEAT_OK && content.empty)
		code = cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'%s' is empty: only a volume with a file system can be adopted",
				       rec->key);
	else if (code == CLEAT_OK && !fs)
		code = cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'%s' holds '%s', which is not mounted here", rec->key, content.type);
	else if (code == CLEAT_OK)
		code = cleat_fs_filled_bytes(fs, source.fd, source.path, &rec->fs_bytes, err);
	close(source.fd);
	if (code == CLEAT_OK)
		code = cleat_record_set(&rec->fs, fs->name, err);
	return code;
}

static enum cleat_code check_adoptee(struct ebs_pool *pool, const struct ebs_thing *t,
				     const struct cleat_record *rec, struct cleat_error *err)
{
	const char *owner = cleat_kv_get(&t->tags, EBS_TAG_POOL),
		   *name = cleat_kv_get(&t->tags, EBS_TAG_NAME);

	if (owner && strcmp(owner, pool->stored_name) != 0)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' belongs to pool '%s'", t->id,
				       owner);
	if (owner && name && strcmp(name, rec->name) != 0)
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "'%s' is volume '%s' of this pool", t->id,
				       name);
	for (size_t i = 0; i < t->attachment_count; i++)
		if (ebs_is_attached(&t->attachments[i]) &&
		    strcmp(t->attachments[i].instance, pool->instance) != 0)
			return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
					       "'%s' is attached to instance '%s'", t->id,
					       t->attachments[i].instance);
	return CLEAT_OK;
}

static enum cleat_code describe_one(struct ebs_pool *pool, struct cleat_op *op, const char *id,
				    struct ebs_thing *out, struct cleat_error *err)
{
	bool found = false;

	if (ebs_look_at(pool, op, id, out, &found, err))
		return err->code;
	if (!found || is_going(out))
		return cleat_error_set(err, CLEAT_NOT_FOUND, "EC2 has no volume '%s'", id);
	return CLEAT_OK;
}

enum cleat_code ebs_adopt(void *arg, struct cleat_op *op, const struct cleat_record *rec, const char *what,
			  struct cleat_record **rec_out, struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	ebs_autothing struct ebs_thing t = { .snapshot = false }, after = { .snapshot = false };
	cleat_autorecord struct cleat_record *made = cleat_record_copy(rec);
	struct cleat_error second = CLEAT_ERROR_INIT;

	if (!made)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	ebs_changes(pool);
	if (!ebs_is_id(what, "vol-"))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "adopt '%.64s': a volume id (vol-...) is needed", what);
	if (describe_one(pool, op, what, &t, err) || check_adoptee(pool, &t, rec, err))
		return err->code;
	made->capacity_bytes = t.gib * EBS_GIB;
	made->formatted = true;
	made->adopted = true;
	if (cleat_record_set(&made->key, what, err) ||
	    cleat_kv_set(&made->attributes, "adopted_from", what, err))
		return err->code;
	if (made->access_type == CLEAT_ACCESS_MOUNT) {
		const bool was_here = ebs_attached_here(pool, &t) != NULL;
		if (probe_contents(pool, op, made, err)) {
			if (!was_here && err->code == CLEAT_FAILED_PRECONDITION)
				(void)!ebs_take_away(pool, NULL, what, rec->name, pool->instance, false,
						     &second);
			return err->code;
		}
	}
	if (wants_owner(made) && cleat_kv_set(&made->attributes, "owner_pending", "true", err))
		return err->code;
	if (ebs_tags_store(pool, op, what, made, err) || describe_one(pool, op, what, &after, err))
		return err->code;
	if (record_out(pool, &after, rec_out, err))
		return err->code;
	/* Until somebody uses it, it needs no place here; what is not detached now, recovery or the first
	 * unmap detaches. */
	if (made->access_type == CLEAT_ACCESS_MOUNT)
		(void)!ebs_take_away(pool, NULL, what, rec->name, pool->instance, false, &second);
	return CLEAT_OK;
}

/* ---- change ---- */

static void modify_key(const char *id, char key[48])
{
	snprintf(key, 48, "modify %s", id);
}

/* Waits until a modification has taken effect: "optimizing" is good enough. */
static enum cleat_code wait_modified(struct ebs_pool *pool, struct cleat_op *op, const char *id,
				     struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form("DescribeVolumesModifications");
	cleat_autoxml struct cleat_xml *doc = NULL;
	struct ebs_why why;
	char key[48];

	modify_key(id, key);
	cleat_http_form_add(&form, "VolumeId.1", id);
	if (ebs_call(pool, op, &form, true, &doc, &why, err)) {
		if (!ebs_why_is(&why, "InvalidVolumeModification.NotFound"))
			return err->code;
		*err = (struct cleat_error)CLEAT_ERROR_INIT; /* it was never modified */
		return CLEAT_OK;
	}
	const char *state = "";
	const struct cleat_xml_node *item =
		cleat_xml_child(cleat_xml_root(doc), "volumeModificationSet/item");
	for (; item; item = cleat_xml_next(item)) /* the newest is the one that counts */
		if (!*state || strcmp(cleat_xml_get(item, "modificationState"), "modifying") == 0)
			state = cleat_xml_get(item, "modificationState");
	if (strcmp(state, "modifying") == 0)
		return cleat_pending_wait(&pool->pending, op, key, "wait for the volume to be modified",
					  &pool->modify_rule, err);
	cleat_pending_done(&pool->pending, key);
	if (strcmp(state, "failed") == 0)
		return cleat_error_set(err, CLEAT_INTERNAL, "EC2 could not modify '%s'", id);
	return CLEAT_OK;
}

static enum cleat_code modify(struct ebs_pool *pool, struct cleat_op *op, const char *id,
			      const struct cleat_buf *changes, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form("ModifyVolume");
	struct ebs_why why;
	char key[48];

	modify_key(id, key);
	if (cleat_pending_age_ms(&pool->pending, key)) /* begun in an earlier call of this slot */
		return wait_modified(pool, op, id, err);
	cleat_http_form_add(&form, "VolumeId", id);
	cleat_buf_adds(&form, "&");
	cleat_buf_adds(&form, cleat_buf_text(changes));
	cleat_op_step(op, "modify the volume", EBS_STEP_MS);
	if (ebs_call(pool, op, &form, true, NULL, &why, err)) {
		if (ebs_why_is(&why, "VolumeModificationRateExceeded"))
			return cleat_error_wrap(err, "EC2 modifies a volume once in six hours");
		if (!ebs_why_is(&why, "IncorrectModificationState"))
			return err->code;
		/* An earlier one is under way, perhaps this very one: what it brings is seen when it is done.
		 */
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
		return cleat_pending_wait(&pool->pending, op, key, "wait for an earlier modification",
					  &pool->modify_rule, err);
	}
	return wait_modified(pool, op, id, err);
}

static bool number_differs(const struct cleat_record *rec, const char *key, uint64_t has)
{
	const char *wish = cleat_kv_get(&rec->params, key);

	return wish && strtoull(wish, NULL, 10) != has;
}

/* Type and performance, where the record says something else than the volume. */
static enum cleat_code modify_performance(struct ebs_pool *pool, struct cleat_op *op,
					  const struct cleat_record *rec, const struct ebs_thing *t,
					  struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf changes = CLEAT_BUF_INIT(1024);
	const char *type = cleat_kv_get(&rec->params, "type");
	const bool retype = type && strcmp(type, t->type) != 0;

	if (!retype && !number_differs(rec, "iops", t->iops) &&
	    !number_differs(rec, "throughput", t->throughput))
		return CLEAT_OK;
	add_performance(&changes, rec, retype ? type : t->type);
	return modify(pool, op, t->id, &changes, err);
}

enum cleat_code ebs_update(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			   struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	ebs_autothing struct ebs_thing t = { .snapshot = false };

	ebs_changes(pool);
	if (rec->kind == CLEAT_KIND_SNAPSHOT)
		return ebs_tags_store(pool, op, rec->key, rec, err);
	if (ebs_tags_check(cleat_kv_get(&rec->params, "tags"), err) ||
	    describe_one(pool, op, rec->key, &t, err) || modify_performance(pool, op, rec, &t, err))
		return err->code;
	cleat_op_step(op, "store record", EBS_STEP_MS);
	return ebs_tags_store(pool, op, rec->key, rec, err);
}

/* ---- expand ---- */

/* The kernel notices the new size by itself, a moment later. */
static enum cleat_code wait_disk_size(struct ebs_pool *pool, struct cleat_op *op, const struct ebs_thing *t,
				      uint64_t bytes, struct cleat_error *err)
{
	const struct ebs_attachment *here = ebs_attached_here(pool, t);
	struct cleat_disk disk;
	bool found = false;
	char key[48];

	modify_key(t->id, key);
	if (!here)
		return CLEAT_OK;
	if (ebs_disk(pool, t->id, here->device, &disk, &found, err))
		return err->code;
	if (found && disk.bytes < bytes)
		return cleat_pending_wait(&pool->pending, op, key, "wait for the device to grow",
					  &pool->modify_rule, err);
	cleat_pending_done(&pool->pending, key);
	return CLEAT_OK;
}

enum cleat_code ebs_expand(void *arg, struct cleat_op *op, const struct cleat_record *rec, uint64_t bytes,
			   const struct cleat_where *where, struct cleat_record **rec_out,
			   struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	cleat_autobuf struct cleat_buf changes = CLEAT_BUF_INIT(256);
	ebs_autothing struct ebs_thing t = { .snapshot = false }, after = { .snapshot = false };
	const uint64_t gib = (bytes + EBS_GIB - 1) / EBS_GIB;

	(void)where;
	if (describe_one(pool, op, rec->key, &t, err))
		return err->code;
	if (t.gib < gib) {
		cleat_http_form_addf(&changes, "Size", "%llu", (unsigned long long)gib);
		if (modify(pool, op, t.id, &changes, err))
			return err->code;
	} else if (wait_modified(pool, op, t.id, err)) {
		return err->code;
	}
	if (describe_one(pool, op, rec->key, &after, err))
		return err->code;
	if (after.gib < gib) { /* described late */
		char key[48];
		modify_key(t.id, key);
		return cleat_pending_wait(&pool->pending, op, key, "wait for the volume to be modified",
					  &pool->modify_rule, err);
	}
	if (wait_disk_size(pool, op, &after, gib * EBS_GIB, err))
		return err->code;
	return record_out(pool, &after, rec_out, err);
}

/* ---- remove ---- */

static enum cleat_code delete_volume(struct ebs_pool *pool, struct cleat_op *op,
				     const struct cleat_record *rec, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form("DeleteVolume");
	struct ebs_why why;

	cleat_http_form_add(&form, "VolumeId", rec->key);
	cleat_op_step(op, "delete the volume", EBS_STEP_MS);
	if (ebs_call(pool, op, &form, true, NULL, &why, err) && !ebs_why_is(&why, "InvalidVolume.NotFound"))
		return err->code;
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return next_attempt(pool, rec, err);
}

/* Attached anywhere, here too: somebody may have it open in a way that the kernel does not tell of.  What is
 * on its way off is waited for. */
static enum cleat_code check_not_attached(struct ebs_pool *pool, struct cleat_op *op,
					  const struct cleat_record *rec, const struct ebs_thing *t,
					  struct cleat_error *err)
{
	for (size_t i = 0; i < t->attachment_count; i++) {
		const struct ebs_attachment *a = &t->attachments[i];
		if (!ebs_is_attached(a))
			continue;
		if (strcmp(a->state, "detaching") == 0)
			return ebs_take_away(pool, op, rec->key, rec->name, a->instance, false, err);
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "volume '%s' is in use: attached to %s", rec->name,
				       strcmp(a->instance, pool->instance) == 0 ? "this node" : a->instance);
	}
	return CLEAT_OK;
}

enum cleat_code ebs_remove(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			   struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	struct cleat_error own = CLEAT_ERROR_INIT;
	bool found = false;

	err = err ? err : &own;
	ebs_changes(pool);
	if (rec->kind == CLEAT_KIND_SNAPSHOT)
		return ebs_remove_snapshot(pool, op, rec, err);
	if (ebs_look_at(pool, op, rec->key, &t, &found, err))
		return err->code;
	if (!found || is_going(&t))
		return next_attempt(pool, rec, err);
	if (!ebs_is_ours(pool, &t))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'%s' is no longer marked as a volume of this pool: not deleted",
				       rec->key);
	if (check_not_attached(pool, op, rec, &t, err))
		return err->code;
	return delete_volume(pool, op, rec, err);
}

/* ---- health ---- */

enum cleat_code ebs_health(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			   struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	bool found = false;

	if (rec->kind == CLEAT_KIND_SNAPSHOT)
		return CLEAT_OK;
	if (ebs_look_at(pool, op, rec->key, &t, &found, err))
		return err->code;
	if (!found || is_going(&t))
		return cleat_error_set(err, CLEAT_DATA_LOSS, "EC2 has no volume '%s' any more", rec->key);
	if (state_is(&t, "error"))
		return cleat_error_set(err, CLEAT_DATA_LOSS, "EC2 says that volume '%s' has failed",
				       rec->key);
	return CLEAT_OK;
}
