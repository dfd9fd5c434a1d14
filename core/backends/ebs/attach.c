/* attach.c - attachments: asked of EC2, never remembered; a device name for each; the disk found by the
 * volume's id in its serial number.
 *
 * `map` attaches to this instance and `unmap` detaches again, unless the record says that somebody asked for
 * the attachment itself (Attach).
 */
#include "backends/ebs/ebs.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fs/fs.h"
#include "util/clock.h"

/* ---- looking at what is described ---- */

bool ebs_is_attached(const struct ebs_attachment *a)
{
	return *a->state && strcmp(a->state, "detached") != 0;
}

static const struct ebs_attachment *attached_to(const struct ebs_thing *t, const char *instance)
{
	for (size_t i = 0; i < t->attachment_count; i++)
		if (ebs_is_attached(&t->attachments[i]) && strcmp(t->attachments[i].instance, instance) == 0)
			return &t->attachments[i];
	return NULL;
}

const struct ebs_attachment *ebs_attached_here(const struct ebs_pool *pool, const struct ebs_thing *t)
{
	return *pool->instance ? attached_to(t, pool->instance) : NULL;
}

static const struct ebs_attachment *attached_elsewhere(const struct ebs_thing *t, const char *instance)
{
	for (size_t i = 0; i < t->attachment_count; i++)
		if (ebs_is_attached(&t->attachments[i]) && strcmp(t->attachments[i].instance, instance) != 0)
			return &t->attachments[i];
	return NULL;
}

/* ---- the disk ---- */

static bool serial_fits(const char *serial, const char *id)
{
	return strncmp(serial, "vol", 3) == 0 && strcmp(serial + 3, id + 4) == 0;
}

enum cleat_code ebs_disk(struct ebs_pool *pool, const char *id, const char *device, struct cleat_disk *out,
			 bool *found_out, struct cleat_error *err)
{
	char serial[EBS_ID_BYTES], link[96];

	snprintf(serial, sizeof(serial), "vol%s", id + 4);
	if (cleat_disk_find(&pool->roots, CLEAT_DISK_SERIAL, serial, out, found_out, err))
		return err->code;
	if (*found_out)
		return CLEAT_OK;
	/* The link of udev, where sysfs shows no serial number; it may be stale. */
	snprintf(link, sizeof(link), "nvme-Amazon_Elastic_Block_Store_%s", serial);
	if (cleat_disk_find(&pool->roots, CLEAT_DISK_LINK, link, out, found_out, err))
		return err->code;
	if (*found_out && (!out->serial[0] || serial_fits(out->serial, id)))
		return CLEAT_OK;
	/* Xen: the disk has the name that was asked for. */
	const char *name = device ? strrchr(device, '/') : NULL;
	*found_out = false;
	if (name && cleat_disk_find(&pool->roots, CLEAT_DISK_NAME, name + 1, out, found_out, err))
		return err->code;
	*found_out = *found_out && !out->serial[0];
	return CLEAT_OK;
}

/* ---- nodes and instances ---- */

static enum cleat_code describe_instances(struct ebs_pool *pool, struct cleat_op *op, const char *filter,
					  const char *value, struct cleat_xml **doc, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form("DescribeInstances");

	ebs_filter(&form, 1, filter, value);
	return ebs_call(pool, op, &form, true, doc, NULL, err);
}

static const struct cleat_xml_node *first_instance(const struct cleat_xml *doc)
{
	const struct cleat_xml_node *r = cleat_xml_child(cleat_xml_root(doc), "reservationSet/item");

	for (; r; r = cleat_xml_next(r)) {
		const struct cleat_xml_node *i = cleat_xml_child(r, "instancesSet/item");
		if (i)
			return i;
	}
	return NULL;
}

/* A node is this one, or an instance id, or the name in the tag that every daemon gives its own instance. */
static enum cleat_code instance_of(struct ebs_pool *pool, struct cleat_op *op, const char *node,
				   char out[EBS_ID_BYTES], struct cleat_error *err)
{
	cleat_autoxml struct cleat_xml *doc = NULL;
	const bool own = !*node || strcmp(node, pool->node) == 0;

	if (own && *pool->instance) {
		snprintf(out, EBS_ID_BYTES, "%s", pool->instance);
		return CLEAT_OK;
	}
	if (ebs_is_id(node, "i-")) {
		snprintf(out, EBS_ID_BYTES, "%s", node);
		return CLEAT_OK;
	}
	if (own)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "this node is no EC2 instance (set 'instance' if it is)");
	if (describe_instances(pool, op, "tag:" EBS_TAG_NODE, node, &doc, err))
		return err->code;
	const char *id = cleat_xml_get(first_instance(doc), "instanceId");
	if (!ebs_is_id(id, "i-"))
		return cleat_error_set(err, CLEAT_NOT_FOUND,
				       "no EC2 instance is node '%s' (tag " EBS_TAG_NODE ")", node);
	snprintf(out, EBS_ID_BYTES, "%s", id);
	return CLEAT_OK;
}

struct other {
	char node[129], state[EBS_WORD_BYTES];
};

/* Who an instance is, as far as EC2 tells; an instance that it does not know is terminated for good. */
static enum cleat_code who_is(struct ebs_pool *pool, struct cleat_op *op, const char *instance,
			      struct other *out, struct cleat_error *err)
{
	cleat_autoxml struct cleat_xml *doc = NULL;

	*out = (struct other){ "", "terminated" };
	if (describe_instances(pool, op, "instance-id", instance, &doc, err))
		return err->code;
	const struct cleat_xml_node *i = first_instance(doc);
	if (!i)
		return CLEAT_OK;
	snprintf(out->state, sizeof(out->state), "%.30s", cleat_xml_get(i, "instanceState/name"));
	for (const struct cleat_xml_node *t = cleat_xml_child(i, "tagSet/item"); t; t = cleat_xml_next(t))
		if (strcmp(cleat_xml_get(t, "key"), EBS_TAG_NODE) == 0)
			snprintf(out->node, sizeof(out->node), "%.128s", cleat_xml_get(t, "value"));
	return CLEAT_OK;
}

/* ---- detaching ---- */

static void detach_key(const char *id, char key[48])
{
	snprintf(key, 48, "detach %s", id);
}

static enum cleat_code detach_call(struct ebs_pool *pool, struct cleat_op *op, const char *id,
				   const char *instance, bool force, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form("DetachVolume");
	struct ebs_why why;

	cleat_http_form_add(&form, "VolumeId", id);
	cleat_http_form_add(&form, "InstanceId", instance);
	if (force)
		cleat_http_form_add(&form, "Force", "true");
	cleat_op_step(op, force ? "detach by force" : "detach", EBS_STEP_MS);
	if (ebs_call(pool, op, &form, true, NULL, &why, err) == CLEAT_OK)
		return CLEAT_OK;
	/* It is detached, or on its way: the next look tells. */
	if (!ebs_why_is(&why, "IncorrectState") && !ebs_why_is(&why, "InvalidAttachment.NotFound") &&
	    !ebs_why_is(&why, "InvalidVolume.NotFound"))
		return err->code;
	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return CLEAT_OK;
}

/* Somebody may have it for a moment: a task that is just being started holds copies of all mounts until it
 * has its own.  A mount stays, and after some seconds that is said. */
static enum cleat_code check_idle_here(struct ebs_pool *pool, struct cleat_op *op, const char *id,
				       const char *name, const struct ebs_attachment *a,
				       struct cleat_error *err)
{
	static const struct cleat_pending_rule rule = { 20, 500, 5000, 150 };
	struct cleat_error busy = CLEAT_ERROR_INIT;
	struct cleat_disk disk;
	bool found = false;
	char key[48];

	snprintf(key, sizeof(key), "busy here %s", id);
	if (ebs_disk(pool, id, a->device, &disk, &found, err))
		return err->code;
	if (!found || cleat_disk_check_idle(&disk, name, &busy) == CLEAT_OK) {
		cleat_pending_done(&pool->pending, key);
		return CLEAT_OK;
	}
	if (cleat_pending_wait(&pool->pending, op, key, "wait for whoever has the device open", &rule, err) ==
	    CLEAT_DEADLINE_EXCEEDED)
		*err = busy;
	return err->code;
}

enum cleat_code ebs_take_away(struct ebs_pool *pool, struct cleat_op *op, const char *id, const char *name,
			      const char *instance, bool force, struct cleat_error *err)
{
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	const struct ebs_attachment *a = NULL;
	struct cleat_disk disk;
	bool found = false, disk_there = false;
	char key[48];

	detach_key(id, key);
	if (ebs_look_at(pool, op, id, &t, &found, err))
		return err->code;
	if (found)
		a = *instance ? attached_to(&t, instance) : attached_elsewhere(&t, "");
	if (!a) {
		/* The kernel takes the disk away a moment later; whoever attaches next must not find the old
		 * one. */
		if (strcmp(instance, pool->instance) == 0 &&
		    (ebs_disk(pool, id, NULL, &disk, &disk_there, err)))
			return err->code;
		if (disk_there)
			return cleat_pending_wait(&pool->pending, op, key, "wait for the device to go",
						  &pool->attach_rule, err);
		cleat_pending_done(&pool->pending, key);
		return CLEAT_OK;
	}
	if (strcmp(a->state, "detaching") != 0) {
		const bool here = strcmp(a->instance, pool->instance) == 0;
		if (here && !force && check_idle_here(pool, op, id, name, a, err))
			return err->code;
		if (detach_call(pool, op, id, a->instance, force, err))
			return err->code;
	}
	return cleat_pending_wait(&pool->pending, op, key, "wait for the volume to be detached",
				  &pool->attach_rule, err);
}

/* ---- who has it, and whether that one is evicted ---- */

static const char *policy(const struct ebs_pool *pool, const struct cleat_record *rec)
{
	const char *own = cleat_kv_get(&rec->params, "preempt");

	return own ? own : cleat_param_text(ebs_pool_params, pool->config, "preempt");
}

static bool is_dead(const struct other *o)
{
	return strcmp(o->state, "stopped") == 0 || strcmp(o->state, "terminated") == 0;
}

/* Written down before it is done, so that it is known whatever happens then. */
static enum cleat_code note_eviction(struct ebs_pool *pool, struct cleat_op *op,
				     const struct cleat_record *rec, const struct ebs_attachment *a,
				     const struct other *o, const char *by, struct cleat_error *err)
{
	char text[256], when[24];
	const time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	snprintf(text, sizeof(text), "%s %s %.60s (%.10s) for %.60s by %s", when, a->instance, o->node,
		 o->state, pool->node, by);
	return ebs_tag_set(pool, op, rec->key, EBS_TAG_EVICTED, text, err);
}

static enum cleat_code evict(struct ebs_pool *pool, struct cleat_op *op, const struct cleat_record *rec,
			     const struct ebs_attachment *a, const char *by, struct cleat_error *err)
{
	struct other o;
	char key[48];

	snprintf(key, sizeof(key), "evict %s", rec->key);
	if (!cleat_pending_age_ms(&pool->pending, key)) {
		if (who_is(pool, op, a->instance, &o, err) || note_eviction(pool, op, rec, a, &o, by, err) ||
		    cleat_pending_put_note(&pool->pending, key, a->instance, err) ||
		    detach_call(pool, op, rec->key, a->instance, !is_dead(&o), err))
			return err->code;
	}
	return cleat_pending_wait(&pool->pending, op, key, "wait for the evicted node's attachment to go",
				  &pool->attach_rule, err);
}

/* The volume is another instance's: refused, unless its policy says otherwise. */
static enum cleat_code held_elsewhere(struct ebs_pool *pool, struct cleat_op *op,
				      const struct cleat_record *rec, const struct ebs_attachment *a,
				      struct cleat_error *err)
{
	const char *rule = policy(pool, rec);
	struct other o;

	if (who_is(pool, op, a->instance, &o, err))
		return err->code;
	if (strcmp(rule, "always") == 0 || (strcmp(rule, "stopped") == 0 && is_dead(&o)))
		return evict(pool, op, rec, a,
			     strcmp(rule, "always") == 0 ? "policy always" : "policy stopped", err);
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
			       "volume '%s' is in use: attached to node '%s' (instance %s, %s)", rec->name,
			       *o.node ? o.node : a->instance, a->instance,
			       *o.state ? o.state : "state unknown");
}

/* ---- attaching ---- */

static void device_name(unsigned i, char out[16])
{
	snprintf(out, 16, "/dev/xvd%c%c", i < 26 ? 'a' : 'b', (char)('a' + i % 26));
}

static bool is_taken(const struct ebs_things *attached, const char *instance, const char *name)
{
	for (size_t i = 0; i < attached->count; i++) {
		const struct ebs_attachment *a = attached_to(&attached->items[i], instance);
		if (a && strcmp(a->device, name) == 0)
			return true;
	}
	return false;
}

/* The free name that was not tried for the longest time; it is marked as tried. */
static bool choose_name(struct ebs_pool *pool, const struct ebs_things *attached, const char *instance,
			char out[16])
{
	int best = -1;

	pthread_mutex_lock(&pool->lock);
	for (unsigned i = 0; i < EBS_NAMES; i++) {
		char name[16];
		device_name(i, name);
		if (!is_taken(attached, instance, name) &&
		    (best < 0 || pool->name_used[i] < pool->name_used[best]))
			best = (int)i;
	}
	if (best >= 0)
		pool->name_used[best] = ++pool->name_count;
	pthread_mutex_unlock(&pool->lock);
	if (best >= 0)
		device_name((unsigned)best, out);
	return best >= 0;
}

/* Volumes an instance can have, its root among them.  Nitro instances share 28 places between volumes,
 * network cards and instance stores (the EC2 user guide, "Amazon EBS volume limits for EC2 instances"), bare
 * metal ones have 31; those on Xen take 40. */
static unsigned limit_of_type(const char *type)
{
	static const char *const xen[] = { "t1.", "t2.", "m1.",	 "m2.", "m3.", "m4.", "c1.",  "c3.",
					   "c4.", "r3.", "r4.",	 "d2.", "i2.", "x1.", "x1e.", "h1.",
					   "g2.", "g3.", "g3s.", "p2.", "p3.", "f1." };

	if (strstr(type, ".metal"))
		return 31;
	for (size_t i = 0; i < CLEAT_COUNT(xen); i++)
		if (strncmp(type, xen[i], strlen(xen[i])) == 0)
			return 40;
	return 28;
}

static enum cleat_code type_of(struct ebs_pool *pool, struct cleat_op *op, const char *instance,
			       char out[EBS_WORD_BYTES], struct cleat_error *err)
{
	cleat_autoxml struct cleat_xml *doc = NULL;

	snprintf(out, EBS_WORD_BYTES, "%s", strcmp(instance, pool->instance) == 0 ? pool->instance_type : "");
	if (*out)
		return CLEAT_OK;
	if (describe_instances(pool, op, "instance-id", instance, &doc, err))
		return err->code;
	snprintf(out, EBS_WORD_BYTES, "%.30s", cleat_xml_get(first_instance(doc), "instanceType"));
	return CLEAT_OK;
}

static enum cleat_code check_limit(struct ebs_pool *pool, struct cleat_op *op, const char *instance,
				   const struct ebs_things *attached, struct cleat_error *err)
{
	uint64_t limit = cleat_param_number(ebs_pool_params, pool->config, "attach_limit");
	char type[EBS_WORD_BYTES] = "";

	if (!limit && type_of(pool, op, instance, type, err))
		return err->code;
	if (!limit)
		limit = limit_of_type(type);
	if (attached->count < limit)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED,
			       "instance '%s'%s%s has %zu volumes attached, and can have %llu", instance,
			       *type ? " of type " : "", type, attached->count, (unsigned long long)limit);
}

static enum cleat_code list_attached(struct ebs_pool *pool, struct cleat_op *op, const char *instance,
				     struct ebs_things *out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf filters = CLEAT_BUF_INIT(1024);

	ebs_filter(&filters, 1, "attachment.instance-id", instance);
	return ebs_describe(pool, op, false, &filters, out, err);
}

static enum cleat_code attach_call(struct ebs_pool *pool, struct cleat_op *op, const char *id,
				   const char *instance, struct cleat_error *err)
{
	ebs_autothings struct ebs_things attached = { NULL, 0, 0 };
	struct ebs_why why;
	char name[16];

	cleat_op_step(op, "attach", EBS_STEP_MS);
	if (list_attached(pool, op, instance, &attached, err) ||
	    check_limit(pool, op, instance, &attached, err))
		return err->code;
	for (unsigned tries = 0; tries < EBS_NAMES; tries++) {
		cleat_autobuf struct cleat_buf form = ebs_form("AttachVolume");
		if (!choose_name(pool, &attached, instance, name))
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED,
					       "instance '%s' has no device name left", instance);
		cleat_http_form_add(&form, "VolumeId", id);
		cleat_http_form_add(&form, "InstanceId", instance);
		cleat_http_form_add(&form, "Device", name);
		if (ebs_call(pool, op, &form, true, NULL, &why, err) == CLEAT_OK)
			return CLEAT_OK;
		if (!ebs_why_is(&why, "InvalidParameterValue") || !strstr(err->msg, "already in use"))
			break; /* else another name: it has gone to the end of the list */
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
	}
	if (!ebs_why_is(&why, "VolumeInUse") && !ebs_why_is(&why, "IncorrectState"))
		return err->code;
	*err = (struct cleat_error)
		CLEAT_ERROR_INIT; /* somebody was quicker, perhaps ourselves: the next look tells */
	return CLEAT_OK;
}

/* "attaching" for too long: EC2 gave the name to somebody else, or the instance hangs.  Off with it, the next
 * try takes another name. */
static enum cleat_code attach_stuck(struct ebs_pool *pool, const char *id, const struct ebs_attachment *a,
				    const struct cleat_error *why, struct cleat_error *err)
{
	struct cleat_error second = CLEAT_ERROR_INIT;

	*err = *why;
	(void)!detach_call(pool, NULL, id, a->instance, false, &second);
	return err->code;
}

static enum cleat_code attach_to(struct ebs_pool *pool, struct cleat_op *op, const struct cleat_record *rec,
				 const char *instance, struct ebs_thing *out, struct cleat_error *err)
{
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	struct cleat_error own = CLEAT_ERROR_INIT;
	bool found = false;
	char key[80];

	snprintf(key, sizeof(key), "attach %s %s", rec->key, instance);
	if (ebs_look_at(pool, op, rec->key, &t, &found, err))
		return err->code;
	if (!found)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "EC2 has no volume '%s'", rec->key);
	const struct ebs_attachment *a = attached_to(&t, instance), *other = attached_elsewhere(&t, instance);
	if (other && strcmp(other->state, "detaching") != 0)
		return held_elsewhere(pool, op, rec, other, err);
	if (a && strcmp(a->state, "attached") == 0 && !other) {
		cleat_pending_done(&pool->pending, key);
		*out = t;
		t.tags = (struct cleat_kvs){ NULL, 0 };
		return CLEAT_OK;
	}
	if (!a && !other && strcmp(t.state, "available") == 0 &&
	    attach_call(pool, op, rec->key, instance, err))
		return err->code;
	if (cleat_pending_wait(&pool->pending, op, key, "wait for the volume to be attached",
			       &pool->attach_rule, &own) == CLEAT_DEADLINE_EXCEEDED &&
	    a && strcmp(a->state, "attaching") == 0)
		return attach_stuck(pool, rec->key, a, &own, err);
	*err = own;
	return err->code;
}

static void forget_eviction(struct ebs_pool *pool, const char *id)
{
	char key[48];

	snprintf(key, sizeof(key), "evict %s", id);
	cleat_pending_done(&pool->pending, key);
}

enum cleat_code ebs_bring_here(struct ebs_pool *pool, struct cleat_op *op, const struct cleat_record *rec,
			       struct ebs_thing *thing_out, struct cleat_disk *disk_out,
			       struct cleat_error *err)
{
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	bool found = false;
	char key[80], instance[EBS_ID_BYTES];

	if (instance_of(pool, op, "", instance, err) || attach_to(pool, op, rec, instance, &t, err))
		return err->code;
	forget_eviction(pool, rec->key);
	snprintf(key, sizeof(key), "device %s", rec->key);
	const struct ebs_attachment *here = attached_to(&t, instance);
	if (ebs_disk(pool, rec->key, here ? here->device : NULL, disk_out, &found, err))
		return err->code;
	if (!found || !disk_out->path[0])
		return cleat_pending_wait(&pool->pending, op, key, "wait for the device", &pool->attach_rule,
					  err);
	cleat_pending_done(&pool->pending, key);
	*thing_out = t;
	t.tags = (struct cleat_kvs){ NULL, 0 };
	return CLEAT_OK;
}

/* ---- slots ---- */

enum cleat_code ebs_attach(void *arg, struct cleat_op *op, const struct cleat_record *rec, const char *node,
			   bool read_only, struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	char instance[EBS_ID_BYTES];

	(void)read_only; /* EC2 knows no read-only attachment: the mount, or the device's flag, says it */
	if (instance_of(pool, op, node, instance, err) || attach_to(pool, op, rec, instance, &t, err))
		return err->code;
	forget_eviction(pool, rec->key);
	return CLEAT_OK;
}

enum cleat_code ebs_detach(void *arg, struct cleat_op *op, const struct cleat_record *rec, const char *node,
			   struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	char instance[EBS_ID_BYTES] = "";

	if (*node && instance_of(pool, op, node, instance, err)) {
		if (err->code != CLEAT_NOT_FOUND)
			return err->code;
		*err = (struct cleat_error)
			CLEAT_ERROR_INIT; /* the instance is gone, and its attachments with it */
		return CLEAT_OK;
	}
	return ebs_take_away(pool, op, rec->key, rec->name, instance, false, err);
}

enum cleat_code ebs_evict(void *arg, struct cleat_op *op, const struct cleat_record *rec, const char *node,
			  struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	char instance[EBS_ID_BYTES] = "";
	bool found = false;

	if ((*node && instance_of(pool, op, node, instance, err)) ||
	    ebs_look_at(pool, op, rec->key, &t, &found, err))
		return err->code;
	const struct ebs_attachment *a = !found	     ? NULL
					 : *instance ? attached_to(&t, instance)
						     : attached_elsewhere(&t, "");
	if (!a) {
		forget_eviction(pool, rec->key);
		return CLEAT_OK;
	}
	return evict(pool, op, rec, a, "order", err);
}

/* A clone's file system needs an id of its own before it may be mounted beside its original. */
static enum cleat_code make_distinct(struct ebs_pool *pool, struct cleat_op *op,
				     const struct cleat_record *rec, const struct ebs_thing *t,
				     const struct cleat_source *source, struct cleat_error *err)
{
	const struct cleat_fs *fs = *rec->fs ? cleat_fs_find(rec->fs) : NULL;

	if (!fs || !cleat_kv_get(&t->tags, EBS_TAG_DISTINCT))
		return CLEAT_OK;
	if (cleat_fs_make_distinct(fs, source->fd, source->path, err))
		return err->code;
	return ebs_tag_remove(pool, op, rec->key, EBS_TAG_DISTINCT, err);
}

enum cleat_code ebs_map(void *arg, struct cleat_op *op, const struct cleat_record *rec, bool read_only,
			struct cleat_source *source_out, struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	ebs_autothing struct ebs_thing t = { .snapshot = false };
	struct cleat_source source = { .fd = -1 };
	struct cleat_disk disk;

	if (rec->kind == CLEAT_KIND_SNAPSHOT)
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED,
				       "EBS snapshots cannot be mapped: make a volume from '%s'", rec->name);
	if (ebs_bring_here(pool, op, rec, &t, &disk, err) ||
	    cleat_disk_open(&disk, rec, read_only, &source, err))
		return err->code;
	if (make_distinct(pool, op, rec, &t, &source, err)) {
		close(source.fd);
		return err->code;
	}
	*source_out = source;
	return CLEAT_OK;
}

static bool asked_for(const struct ebs_pool *pool, const struct cleat_record *rec)
{
	for (size_t i = 0; i < rec->attachment_count; i++)
		if (strcmp(rec->attachments[i].node, pool->node) == 0 ||
		    strcmp(rec->attachments[i].node, pool->instance) == 0)
			return true;
	return false;
}

enum cleat_code ebs_unmap(void *arg, struct cleat_op *op, const struct cleat_record *rec,
			  struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	if (!*pool->instance || asked_for(pool, rec))
		return CLEAT_OK;
	return ebs_take_away(pool, op, rec->key, rec->name, pool->instance, false, err);
}
