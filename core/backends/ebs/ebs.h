/* ebs.h - what the files of the ebs backend share.
 *
 *   ebs.c         the table, parameters, opening and closing
 *   metadata.c    the instance's metadata service, version 2
 *   credentials.c who signs: configured, environment, file, or the instance's role
 *   ec2.c         one signed call of the EC2 query API, its errors, describing with pages
 *   look.c        what EC2 knows of one volume; looks that come together become one call
 *   tags.c        records as tags
 *   volume.c      create, adopt, update, remove, expand, health
 *   attach.c      attach, detach, map, unmap, and whom a policy evicts
 *   snapshot.c    snapshots, and the passing ones that clones need
 *   recover.c     listing at open, scan, recover, leftovers, find_mount
 *
 * Locks: each of pool.lock, look.lock and credentials.lock is innermost and never held during a call over the
 * network, nor together with another.
 */
#ifndef CLEAT_BACKENDS_EBS_H
#define CLEAT_BACKENDS_EBS_H

#include <cleat/backend.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "http/http.h"
#include "http/xml.h"
#include "remote/disk.h"
#include "remote/pending.h"
#include "util/kv.h"
#include "util/mem.h"

#define EBS_GIB (1024ULL * 1024 * 1024)
#define EBS_ID_BYTES 32	       /* "vol-" and 17 digits, "i-" ...; with room */
#define EBS_WORD_BYTES 40      /* states, types, zones, regions */
#define EBS_ATTACHMENTS_MAX 16 /* Multi-Attach: 16 instances */
#define EBS_STEP_MS 120000     /* one call with its repeats */

#define EBS_TAG_POOL "cleat:pool"
#define EBS_TAG_NAME "cleat:name"
#define EBS_TAG_SCOPE "cleat:scope"
#define EBS_TAG_RECORD "cleat:record" /* head; pieces are cleat:record.0 ... */
#define EBS_TAG_EVICTED "cleat:evicted"
#define EBS_TAG_DISTINCT                                                                                     \
	"cleat:distinct"		/* the file system's own id must be changed before the first mount */
#define EBS_TAG_PASSING "cleat:passing" /* node that made a snapshot only to clone from it */
#define EBS_TAG_NODE "cleat:node"	/* of instances: their node id */

/* ---- credentials ---- */

struct ebs_key {
	char id[160], *secret, *token; /* secret and token are wiped when freed; token may be NULL */
};
void ebs_key_done(struct ebs_key *key);

struct ebs_metadata; /* client of the metadata service */

struct ebs_credentials {
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	bool fetching; /* somebody asks; others use the old ones as long as they are good */
	struct ebs_key key;
	int64_t refresh_at_ms, expires_at_ms; /* wall clock; 0: no key yet */
};

/* ---- the pool ---- */

struct ebs_attachment {
	char instance[EBS_ID_BYTES], device[EBS_WORD_BYTES], state[EBS_WORD_BYTES];
};

/* A volume or snapshot as EC2 describes it. */
struct ebs_thing {
	char id[EBS_ID_BYTES];
	bool snapshot;
	char state[EBS_WORD_BYTES], zone[EBS_WORD_BYTES], type[EBS_WORD_BYTES];
	char source[EBS_ID_BYTES]; /* a snapshot's volume; a volume's snapshot */
	uint64_t gib;
	uint64_t iops, throughput;
	bool encrypted;
	struct ebs_attachment attachments[EBS_ATTACHMENTS_MAX];
	size_t attachment_count;
	struct cleat_kvs tags;
};
void ebs_thing_done(struct ebs_thing *t);
#define ebs_autothing __attribute__((cleanup(ebs_thing_done)))

struct ebs_things {
	struct ebs_thing *items;
	size_t count, room;
};
void ebs_things_done(struct ebs_things *list);
#define ebs_autothings __attribute__((cleanup(ebs_things_done)))

struct ebs_look; /* somebody who waits for a look */

/* Device names in the order in which they were last tried: a name that was just used may leave an attachment
 * "attaching" for ever. */
#define EBS_NAMES 52 /* /dev/xvda[a-z], /dev/xvdb[a-z] */

struct ebs_pool {
	struct cleat_http *http;
	struct ebs_metadata *metadata;
	struct ebs_credentials credentials;
	const struct cleat_kvs *config; /* owned copy below */
	struct cleat_kvs config_copy;
	char *endpoint, *node, *far_name;
	char region[EBS_WORD_BYTES], zone[EBS_WORD_BYTES], instance[EBS_ID_BYTES],
		instance_type[EBS_WORD_BYTES];
	char uuid[37], stored_name[CLEAT_POOL_NAME_MAX_BYTES + 1];
	struct cleat_disk_roots roots;
	struct cleat_pending pending;
	struct cleat_pending_rule create_rule, attach_rule, modify_rule, busy_rule;

	pthread_mutex_t look_lock;
	pthread_cond_t looked;
	struct ebs_look *waiting;
	bool looking;

	pthread_mutex_t lock;	       /* guards what follows */
	bool doubt;		       /* the last call did not get through */
	uint64_t name_used[EBS_NAMES]; /* a count that rises; 0: never */
	uint64_t name_count;
	struct ebs_things listed; /* of the last listing: what find_mount believes to be ours */
	bool listed_is_news;	  /* nobody has scanned it yet */
};

extern const struct cleat_param ebs_pool_params[], ebs_volume_params[];

/* ---- metadata.c ---- */

enum cleat_code ebs_metadata_new(const char *endpoint, struct ebs_metadata **out,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
void ebs_metadata_free(struct ebs_metadata *m);
/* GET /latest/<path>; the text without the line break at its end. */
enum cleat_code ebs_metadata_get(struct ebs_metadata *m, const char *path, struct cleat_buf *out,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code ebs_metadata_word(struct ebs_metadata *m, const char *path, char *out, size_t room,
				  struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- credentials.c ---- */

void ebs_credentials_init(struct ebs_credentials *c);
void ebs_credentials_done(struct ebs_credentials *c);
/* A copy of the key to sign with now, refreshed five minutes before it expires. */
enum cleat_code ebs_credentials_get(struct ebs_pool *pool, struct ebs_key *out,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* The far side says that this one has expired. */
void ebs_credentials_forget(struct ebs_pool *pool);

/* ---- ec2.c ---- */

#define EBS_FORM_BYTES (64 * 1024)
#define ebs_autoform cleat_autobuf struct cleat_buf

struct ebs_why {
	char code[96]; /* EC2's own: "InvalidVolume.NotFound"; "" when it was no answer of EC2 */
};
bool ebs_why_is(const struct ebs_why *why, const char *code);

struct cleat_buf ebs_form(const char *action);
/* One call.  Errors of EC2 become codes of ours with "<action>: <code>: <message>", and *why (may be NULL)
 * tells EC2's code.  Asked too often: "not yet" where op is not NULL.  doc may be NULL. */
enum cleat_code ebs_call(struct ebs_pool *pool, struct cleat_op *op, const struct cleat_buf *form,
			 bool idempotent, struct cleat_xml **doc, struct ebs_why *why,
			 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Adds Filter.<n>.Name and its one value. */
void ebs_filter(struct cleat_buf *form, unsigned n, const char *name, const char *value);
/* All pages of DescribeVolumes or DescribeSnapshots with these filters. */
enum cleat_code ebs_describe(struct ebs_pool *pool, struct cleat_op *op, bool snapshots,
			     const struct cleat_buf *filters, struct ebs_things *out,
			     struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code ebs_parse_thing(const struct cleat_xml_node *node, bool snapshot, struct ebs_thing *out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
bool ebs_is_id(const char *text, const char *prefix); /* "vol-" and 8..17 hexadecimal digits */

/* ---- look.c ---- */

/* What EC2 says now; *found_out false when it knows no such volume (yet, or no longer). */
enum cleat_code ebs_look_at(struct ebs_pool *pool, struct cleat_op *op, const char *id, struct ebs_thing *out,
			    bool *found_out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- tags.c ---- */

/* The record with key, capacity and attributes as EC2 says; *broken_out (static) says why it cannot be read,
 * when rec has only a key. */
enum cleat_code ebs_record_of(const struct ebs_pool *pool, const struct ebs_thing *thing,
			      struct cleat_record **out, const char **broken_out,
			      struct cleat_error *err) CLEAT_MUST_CHECK;
/* TagSpecification.1 with the record's tags and those of the user, for creations. */
enum cleat_code ebs_tags_add(const struct ebs_pool *pool, const char *resource_type,
			     const struct cleat_record *rec, struct cleat_buf *form,
			     struct cleat_error *err) CLEAT_MUST_CHECK;
/* CreateTags with the record's. */
enum cleat_code ebs_tags_store(struct ebs_pool *pool, struct cleat_op *op, const char *id,
			       const struct cleat_record *rec, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code ebs_tag_set(struct ebs_pool *pool, struct cleat_op *op, const char *id, const char *key,
			    const char *value, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code ebs_tag_remove(struct ebs_pool *pool, struct cleat_op *op, const char *id, const char *key,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
bool ebs_is_ours(const struct ebs_pool *pool, const struct ebs_thing *thing);
/* Whether "key=value,..." may be the user's own tags. */
enum cleat_code ebs_tags_check(const char *text, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The one of that kind, name and scope which is not being deleted; several: the oldest id wins everywhere. */
enum cleat_code ebs_find_named(struct ebs_pool *pool, struct cleat_op *op, bool snapshot, const char *scope,
			       const char *name, struct ebs_thing *out, bool *found_out,
			       struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- attach.c, used by others ---- */

/* "vol0123..." as the NVMe controller tells it, and the disk if it is there. */
enum cleat_code ebs_disk(struct ebs_pool *pool, const char *id, const char *device, struct cleat_disk *out,
			 bool *found_out, struct cleat_error *err) CLEAT_MUST_CHECK;
const struct ebs_attachment *ebs_attached_here(const struct ebs_pool *pool, const struct ebs_thing *thing);
bool ebs_is_attached(const struct ebs_attachment *a); /* in any state but detached */
/* Attached to this instance with its disk there; or "not yet". */
enum cleat_code ebs_bring_here(struct ebs_pool *pool, struct cleat_op *op, const struct cleat_record *rec,
			       struct ebs_thing *thing_out, struct cleat_disk *disk_out,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
/* Not attached to that instance ("": to none) any more, or "not yet".  Refuses while the disk is used here,
 * unless force. */
enum cleat_code ebs_take_away(struct ebs_pool *pool, struct cleat_op *op, const char *id, const char *name,
			      const char *instance, bool force, struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- snapshot.c, used by others ---- */

/* A completed snapshot to make a clone of source from: the snapshot itself, or a passing one of a volume
 * (remembered under key). */
enum cleat_code ebs_clone_source(struct ebs_pool *pool, struct cleat_op *op, const char *key,
				 const struct cleat_record *source, const struct cleat_where *where,
				 char snapshot_out[EBS_ID_BYTES], struct cleat_error *err) CLEAT_MUST_CHECK;
/* The clone is made: a passing snapshot goes. */
void ebs_clone_made(struct ebs_pool *pool, const char *key);

/* ---- slots ---- */

enum cleat_code ebs_create(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			   const struct cleat_record *source, const struct cleat_where *where,
			   struct cleat_record **rec_out, struct cleat_error *err);
enum cleat_code ebs_adopt(void *pool, struct cleat_op *op, const struct cleat_record *rec, const char *what,
			  struct cleat_record **rec_out, struct cleat_error *err);
enum cleat_code ebs_update(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			   struct cleat_error *err);
enum cleat_code ebs_remove(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			   struct cleat_error *err);
enum cleat_code ebs_expand(void *pool, struct cleat_op *op, const struct cleat_record *rec, uint64_t bytes,
			   const struct cleat_where *where, struct cleat_record **rec_out,
			   struct cleat_error *err);
enum cleat_code ebs_health(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			   struct cleat_error *err);
enum cleat_code ebs_snapshot(void *pool, struct cleat_op *op, const struct cleat_record *const *sources,
			     const struct cleat_where *wheres, const struct cleat_record *const *recs,
			     size_t count, struct cleat_record **recs_out, struct cleat_error *err);
enum cleat_code ebs_remove_snapshot(struct ebs_pool *pool, struct cleat_op *op,
				    const struct cleat_record *rec, struct cleat_error *err);
enum cleat_code ebs_attach(void *pool, struct cleat_op *op, const struct cleat_record *rec, const char *node,
			   bool read_only, struct cleat_error *err);
enum cleat_code ebs_detach(void *pool, struct cleat_op *op, const struct cleat_record *rec, const char *node,
			   struct cleat_error *err);
enum cleat_code ebs_evict(void *pool, struct cleat_op *op, const struct cleat_record *rec, const char *node,
			  struct cleat_error *err);
enum cleat_code ebs_map(void *pool, struct cleat_op *op, const struct cleat_record *rec, bool read_only,
			struct cleat_source *source_out, struct cleat_error *err);
enum cleat_code ebs_unmap(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			  struct cleat_error *err);
enum cleat_code ebs_find(void *pool, struct cleat_op *op, enum cleat_kind kind, const char *key,
			 const char *scope, const char *name, struct cleat_record **rec_out,
			 struct cleat_error *err);
enum cleat_code ebs_list(struct ebs_pool *pool, struct cleat_error *err); /* at open */
void ebs_changes(struct ebs_pool *pool); /* something is about to change: the listing is no news any more */
enum cleat_code ebs_scan(void *pool, cleat_scan_fn fn, void *arg, struct cleat_error *err);
enum cleat_code ebs_recover(void *pool, bool (*in_use)(const char *key, void *arg), cleat_report_fn report,
			    void *arg, struct cleat_error *err);
enum cleat_code ebs_leftovers(void *pool, bool (*in_use)(const char *key, void *arg), cleat_report_fn report,
			      void *arg, struct cleat_error *err);
bool ebs_find_mount(void *pool, const struct cleat_mount_entry *entry, char key_out[CLEAT_KEY_MAX_BYTES + 1]);

#endif
