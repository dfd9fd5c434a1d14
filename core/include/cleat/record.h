/* record.h - what is known of a volume or snapshot and is stored with its data.
 *
 * A record is immutable once it is shared: whoever changes something makes a copy, changes that, stores it and then
 * replaces the pointer.  References are counted, so readers need no lock while they look at one.
 */
#ifndef CLEAT_RECORD_H
#define CLEAT_RECORD_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLEAT_RECORD_FORMAT 1 /* newest record format this release writes */
#define CLEAT_NAME_MAX_BYTES 128 /* CSI v1 "Size limits": volume and snapshot names */
#define CLEAT_SCOPE_MAX_BYTES 128
#define CLEAT_ID_MAX_BYTES 64 /* of "<pool>.<key>" */
#define CLEAT_POOL_NAME_MAX_BYTES 40 /* of a pool's stored name */
#define CLEAT_KEY_MAX_BYTES 32
#define CLEAT_KV_MAX 64 /* pairs in one list */
#define CLEAT_ATTACHMENTS_MAX 32

struct cleat_kv {
	char *key;
	char *value;
};

/* Sorted by key; each key once. */
struct cleat_kvs {
	struct cleat_kv *items;
	size_t count;
};

enum cleat_kind {
	CLEAT_KIND_VOLUME = 1,
	CLEAT_KIND_SNAPSHOT = 2,
};

enum cleat_access_type {
	CLEAT_ACCESS_MOUNT = 1, /* a directory with a file system below it */
	CLEAT_ACCESS_BLOCK = 2, /* a block device */
};

/* The numbers are those of CSI v1 VolumeCapability.AccessMode.Mode. */
enum cleat_access_mode {
	CLEAT_MODE_UNKNOWN = 0,
	CLEAT_MODE_SINGLE_NODE_WRITER = 1, /* one node; any number of targets there */
	CLEAT_MODE_SINGLE_NODE_READER_ONLY = 2,
	CLEAT_MODE_MULTI_NODE_READER_ONLY = 3,
	CLEAT_MODE_MULTI_NODE_SINGLE_WRITER = 4,
	CLEAT_MODE_MULTI_NODE_MULTI_WRITER = 5,
	CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER = 6, /* one node and one target */
	CLEAT_MODE_SINGLE_NODE_MULTI_WRITER = 7, /* one node; any number of targets */
};

/* A node that was told it may use the volume (Attach).  Local backends keep it here; for remote ones the far side knows. */
struct cleat_attachment {
	char *node; /* node id */
	enum cleat_access_mode mode;
	bool read_only;
};

struct cleat_record {
	unsigned refs; /* use cleat_record_ref() / cleat_record_unref() */
	uint32_t format; /* format this record was read in; above CLEAT_RECORD_FORMAT: read-only, fields may be missing */
	enum cleat_kind kind;
	char *key; /* unique in its pool, opaque: sixteen generated characters, or the far side's own id */
	char *name; /* 1..128 bytes, unique among records of its kind in (pool, scope) */
	char *scope; /* "" by default */
	uint64_t capacity_bytes; /* usable size promised; 0: the pool enforces none */
	uint64_t fs_bytes; /* size the file system was last known to fill; below capacity: grow at next stage */
	enum cleat_access_type access_type;
	char *fs; /* "ext4", "xfs", "btrfs"; "" for block access and for directories */
	bool formatted; /* false: never formatted, mkfs is allowed when libblkid finds the device empty */
	bool clone; /* made from another one: XFS needs nouuid until its UUID is its own */
	bool adopted;
	char *source; /* id of the volume or snapshot this was made from, or of a snapshot's volume; "" without */
	char *group; /* snapshots taken together share it; "" without */
	int64_t created_ms; /* since 1970, UTC */
	struct cleat_kvs params; /* backend and fs parameters given at creation, defaults not filled in */
	struct cleat_kvs labels; /* the user's own */
	struct cleat_kvs attributes; /* what the backend wants to tell or remember, e.g. enforces_size=false */
	struct cleat_attachment *attachments;
	size_t attachment_count;
};

/* A new empty record with one reference and all text fields "", or NULL without memory. */
struct cleat_record *cleat_record_new(enum cleat_kind kind);
/* A deep copy with one reference that the caller may change, or NULL without memory. */
struct cleat_record *cleat_record_copy(const struct cleat_record *r);
/* One more reference; the same pointer.  Thread-safe. */
struct cleat_record *cleat_record_ref(const struct cleat_record *r);
/* Drops a reference; the last one frees.  NULL is fine.  Thread-safe. */
void cleat_record_unref(struct cleat_record *r);
/* Replaces a text field (copies text, NULL counts as "").  RESOURCE_EXHAUSTED without memory. */
enum cleat_code cleat_record_set(char **field, const char *text, struct cleat_error *err) CLEAT_MUST_CHECK;

static inline void cleat_record_cleanup(struct cleat_record **r)
{
	cleat_record_unref(*r);
}
#define cleat_autorecord __attribute__((cleanup(cleat_record_cleanup)))

#ifdef __cplusplus
}
#endif
#endif
