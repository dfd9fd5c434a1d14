/* tree.h - volumes that are directory trees in a pool directory: volumes/<key>/data is the volume.
 *
 * The verbs are the same wherever such a tree lies; how one is made, copied, limited and removed depends on the file system and is in a
 * medium (plain directories, project quotas, btrfs subvolumes).  Backends put the verbs into their tables and choose the medium when they
 * open a pool.  The slots' contract is in <cleat/backend.h>; `pool` is a struct cleat_tree.
 *
 * Sizes: where the medium enforces them, capacity_bytes is the limit (rounded up to whole 4 KiB blocks) and the attribute enforces_size is
 * "true".  Otherwise capacity_bytes is 0, enforces_size is "false" and requested_bytes remembers the wish.
 */
#ifndef CLEAT_STORE_TREE_H
#define CLEAT_STORE_TREE_H

#include <cleat/backend.h>
#include <pthread.h>
#include <stdatomic.h>

#include "store/pooldir.h"

#define CLEAT_TREE_DATA "data"
#define CLEAT_TREE_MIN_BYTES (1024 * 1024) /* a limit below this leaves no room for a subvolume's own metadata */

#define CLEAT_TREE_STALE_MAX 512 /* what is beyond is found at the next start */

/* Attributes of records. */
#define CLEAT_TREE_ENFORCES "enforces_size"
#define CLEAT_TREE_REQUESTED "requested_bytes"
#define CLEAT_TREE_ADOPTED_FROM "adopted_from"

struct cleat_tree;

/* How trees lie on one sort of file system.  rec may be changed where it is not const: attributes are the medium's to add. */
struct cleat_tree_medium {
	const char *name; /* for people: "plain directories" */
	unsigned capabilities; /* enum cleat_capability, besides those that all trees have */
	/* Makes an empty tree "data" in the attempt, with rec->capacity_bytes as its limit (0: none). */
	enum cleat_code (*make)(struct cleat_tree *t, int attempt_fd, struct cleat_record *rec, struct cleat_error *err);
	/* Makes "data" in the attempt from the tree source_fd; read-only when rec is a snapshot.  in_use: something may be writing there. */
	enum cleat_code (*copy)(struct cleat_tree *t, struct cleat_op *op, int source_fd, bool in_use, int attempt_fd,
				struct cleat_record *rec, struct cleat_error *err);
	/* Whether this tree can have a limit at all (adopted ones may not). */
	bool (*can_limit)(const struct cleat_tree *t, int data_fd, const struct cleat_record *rec);
	/* Sets the limit (0: none); repeating it must be cheap, because it is done at every map. */
	enum cleat_code (*limit)(struct cleat_tree *t, int data_fd, const struct cleat_record *rec, uint64_t bytes,
				 struct cleat_error *err);
	/* Bytes used by the tree; UNIMPLEMENTED when only counting could tell. */
	enum cleat_code (*used)(struct cleat_tree *t, int data_fd, const struct cleat_record *rec, uint64_t *used_out,
				struct cleat_error *err);
	/* Removes an entry of new/ or trash/ with the tree that may be in it.  Gone is OK. */
	enum cleat_code (*remove)(struct cleat_tree *t, int parent_fd, const char *name, struct cleat_error *err);
	/* Looks for what removals that were cut off have left outside of the pool directory; after new/ and trash/ were swept.  May be NULL. */
	void (*recover)(struct cleat_tree *t);
	/* Finishes what removals had to leave for later; called now and then, must be cheap.  May be NULL. */
	void (*tidy)(struct cleat_tree *t);
};

/* Where the pool lies in the mount table, so that mounts of its volumes are recognised by text alone.  Paths end without "/": "" is the root. */
struct cleat_tree_place {
	uint64_t mount_id;
	dev_t dev; /* as the mount table shows it; on btrfs not that of stat(2) */
	char *mount_root; /* path inside the file system of what is mounted */
	char *mount_target; /* where */
	char *source; /* mount source: a device for most file systems */
	char *path; /* of the pool from this process's root, without symlinks */
	char *inside; /* of the pool inside its file system */
};

/* What of the pool is mounted, as hashes of keys: reading the whole table at every deletion would cost more than the deletion. */
struct cleat_tree_held {
	pthread_mutex_t lock; /* of all below; held while /proc is read, never while storage is touched */
	int watch_fd; /* of mountwatch.h */
	bool fresh; /* keys were read since the table changed last */
	uint64_t *keys; /* sorted; owned */
	size_t count, room;
};

struct cleat_tree {
	struct cleat_pooldir dir;
	struct cleat_tree_place place;
	struct cleat_tree_held held;
	const struct cleat_tree_medium *medium;
	bool enforces; /* limits are set; constant while open */
	bool soft; /* by configuration no limit is ever set, not even a recorded one */
	bool subvolumes_only; /* adopt: plain directories are refused */
	unsigned low_percent;
	_Atomic uint64_t promised_bytes; /* as of the last scan, kept up since */
	pthread_mutex_t lock; /* of the two lists below, each one medium's own; never held across a call that can block */
	uint32_t busy_projects[64]; /* project ids being given out; 0: free */
	uint64_t stale_groups[CLEAT_TREE_STALE_MAX]; /* of deleted subvolumes, which the kernel does not let go yet */
	size_t stale_count;
};

/* Finishes opening: t->dir is open (closed by cleat_tree_close() also after a failure); finds the place in the mount table. */
enum cleat_code cleat_tree_init(struct cleat_tree *t, unsigned low_percent, struct cleat_error *err) CLEAT_MUST_CHECK;

/* For pool_params, after CLEAT_POOLDIR_PARAMS. */
#define CLEAT_TREE_PARAMS                                                                                               \
	{ "low_percent", CLEAT_PARAM_UINT, "percent", "10", NULL, 0, 100,                                               \
	  "The pool counts as low when less than this part of its file system is free.", false }

/* ---- slots ------------------------------------------------------------------------------------------------------------------ */

void cleat_tree_close(void *pool); /* frees it */
enum cleat_code cleat_tree_probe(void *pool, struct cleat_error *err);
unsigned cleat_tree_capabilities(void *pool);
enum cleat_code cleat_tree_space(void *pool, struct cleat_pool_space *out, struct cleat_error *err);
enum cleat_code cleat_tree_scan(void *pool, cleat_scan_fn fn, void *arg, struct cleat_error *err);
enum cleat_code cleat_tree_leftovers(void *pool, bool (*in_use)(const char *key, void *arg), cleat_report_fn report, void *arg,
				     struct cleat_error *err);
enum cleat_code cleat_tree_recover(void *pool, bool (*in_use)(const char *key, void *arg), cleat_report_fn report, void *arg,
				   struct cleat_error *err);
enum cleat_code cleat_tree_create(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				  const struct cleat_record *source, const struct cleat_where *where,
				  struct cleat_record **rec_out, struct cleat_error *err);
enum cleat_code cleat_tree_adopt(void *pool, struct cleat_op *op, const struct cleat_record *rec, const char *what,
				 struct cleat_record **rec_out, struct cleat_error *err);
enum cleat_code cleat_tree_update(void *pool, struct cleat_op *op, const struct cleat_record *rec, struct cleat_error *err);
enum cleat_code cleat_tree_remove(void *pool, struct cleat_op *op, const struct cleat_record *rec, struct cleat_error *err);
enum cleat_code cleat_tree_expand(void *pool, struct cleat_op *op, const struct cleat_record *rec, uint64_t bytes,
				  const struct cleat_where *where, struct cleat_record **rec_out, struct cleat_error *err);
/* One volume only: UNIMPLEMENTED for a group. */
enum cleat_code cleat_tree_snapshot(void *pool, struct cleat_op *op, const struct cleat_record *const *sources,
				    const struct cleat_where *wheres, const struct cleat_record *const *recs, size_t count,
				    struct cleat_record **recs_out, struct cleat_error *err);
enum cleat_code cleat_tree_map(void *pool, struct cleat_op *op, const struct cleat_record *rec, bool read_only,
			       struct cleat_source *source_out, struct cleat_error *err);
enum cleat_code cleat_tree_unmap(void *pool, struct cleat_op *op, const struct cleat_record *rec, struct cleat_error *err);
enum cleat_code cleat_tree_usage(void *pool, struct cleat_op *op, const struct cleat_record *rec, const struct cleat_where *where,
				 struct cleat_usage *out, struct cleat_error *err);
enum cleat_code cleat_tree_health(void *pool, struct cleat_op *op, const struct cleat_record *rec, struct cleat_error *err);
bool cleat_tree_find_mount(void *pool, const struct cleat_mount_entry *entry, char key_out[CLEAT_KEY_MAX_BYTES + 1]);

/* ---- for the files of this module and for media ---------------------------------------------------------------------------- */

enum cleat_code cleat_tree_place_find(struct cleat_tree *t, struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_tree_place_done(struct cleat_tree *t);
/* FAILED_PRECONDITION that names the mount, while the volume is mounted anywhere that this process sees. */
enum cleat_code cleat_tree_check_unmounted(struct cleat_tree *t, const struct cleat_record *rec, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* The same for any directory on the pool's mount, given by its real path: nothing may be mounted at it, below it, or from it. */
enum cleat_code cleat_tree_check_no_mounts(const struct cleat_tree *t, const char *path, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Whether path is prefix or lies below it (as text); prefix ends without "/". */
bool cleat_tree_is_below(const char *path, const char *prefix);
/* Opens volumes/<key>/data with flags.  NOT_FOUND: no volume; DATA_LOSS: no data. */
enum cleat_code cleat_tree_open_data(const struct cleat_tree *t, const struct cleat_record *rec, int flags, int *fd_out,
				     struct cleat_error *err) CLEAT_MUST_CHECK;
/* Opens the directory "data" in an attempt. */
enum cleat_code cleat_tree_open_made(int attempt_fd, int *fd_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Fills capacity and the size attributes for a wish of rec->capacity_bytes. */
enum cleat_code cleat_tree_fill_size(const struct cleat_tree *t, struct cleat_record *rec, bool enforced,
				     struct cleat_error *err) CLEAT_MUST_CHECK;
/* RESOURCE_EXHAUSTED when the file system has less than `bytes` left. */
enum cleat_code cleat_tree_admit(const struct cleat_tree *t, const char *name, uint64_t bytes, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Applies the uid, gid and mode of rec's parameters to the root of the tree; default_mode where none is given, (mode_t)-1 leaves it. */
enum cleat_code cleat_tree_apply_owner(int data_fd, const struct cleat_record *rec, mode_t default_mode, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* When the attempt new/<name> holds a directory that was being adopted, puts that back to where it came from (*from_out, to be freed; NULL when
 * there was none).  An error means that it is still in the attempt, which then must not be removed. */
enum cleat_code cleat_tree_adopt_undo(struct cleat_tree *t, const char *name, char **from_out, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* The record as it is to be stored for a wish: a copy with its time of creation. */
enum cleat_code cleat_tree_draft(const struct cleat_record *wish, struct cleat_record **out, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* cleat_pooldir_confirm(), and the requested size must be the same, too. */
enum cleat_code cleat_tree_confirm(const struct cleat_tree *t, const struct cleat_record *draft, struct cleat_record **out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* Removes an attempt after a failure. */
void cleat_tree_abandon(struct cleat_tree *t, const char *attempt);

/* Trees that are btrfs subvolumes; t->enforces says whether they get quota limits. */
extern const struct cleat_tree_medium cleat_tree_subvolumes;

/* Switches on the quotas of the file system for t: AUTO takes what is on already, else simple ones where the kernel has them, else full ones.
 * FAILED_PRECONDITION when another mode is on than the one wanted. */
enum cleat_tree_quota {
	CLEAT_TREE_QUOTA_AUTO,
	CLEAT_TREE_QUOTA_SIMPLE,
	CLEAT_TREE_QUOTA_FULL,
	CLEAT_TREE_QUOTA_NONE,
};
enum cleat_code cleat_tree_subvolumes_quota(struct cleat_tree *t, enum cleat_tree_quota wanted, struct cleat_error *err)
	CLEAT_MUST_CHECK;

#endif
