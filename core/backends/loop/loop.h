/* loop.h - the loop backend's own structures; seen by core/backends/loop only.
 *
 * A volume or snapshot is volumes/<key>/image, with record.json beside it (store/pooldir.h).  On a file
 * system without reflinks those directories live in one XFS inside `pool.img`, the pool file, which is
 * mounted while the pool is open.
 *
 * The one lock is book.lock; it is never held across a call that can block.
 */
#ifndef CLEAT_BACKENDS_LOOP_LOOP_H
#define CLEAT_BACKENDS_LOOP_LOOP_H

#include <cleat/backend.h>
#include <pthread.h>

#include "fs/fs.h"
#include "store/pooldir.h"
#include "sys/loop.h"

#define LOOP_BLOCK_BYTES 4096
#define LOOP_IMAGE "image"
#define LOOP_POOL_FILE "pool.img"
#define LOOP_GROUP_MAX 64

#define LOOP_MIB (UINT64_C(1) << 20)
#define LOOP_GIB (UINT64_C(1) << 30)
#define LOOP_TIB (UINT64_C(1) << 40)

/* Time limits of steps, in milliseconds. */
#define LOOP_STEP_MS 60000
#define LOOP_MKFS_MS (11 * 60 * 1000)
#define LOOP_COPY_MS (6 * 60 * 60 * 1000) /* by size, and shows progress */

/* Attributes of records that this backend writes. */
#define LOOP_ATTR_LINEAGE "lineage"	 /* key of the first image of those that may share blocks */
#define LOOP_ATTR_SECTOR "sector_bytes"	 /* sector size of the loop device; absent: 4096 */
#define LOOP_ATTR_ADOPTED "adopted_from" /* path as it was given */
#define LOOP_ATTR_OWNER "owner_pending"	 /* "true": uid, gid, mode are to be applied at the first stage */

/* ---- book.c: what is promised ---- */

struct loop_entry;
struct loop_group;

#define LOOP_BUCKETS 2048

/* What admission must know of every record.  Filled by scan, kept up to date by the verbs. */
struct loop_book {
	pthread_mutex_t lock;
	struct loop_entry *entries[LOOP_BUCKETS];
	struct loop_group *groups[LOOP_BUCKETS];
	size_t count;
	uint64_t promised_bytes; /* sizes of all volumes */
	uint64_t reserved_bytes; /* asked for by operations that run now */
	bool complete;		 /* a whole scan was seen */
};

void loop_book_init(struct loop_book *book);
void loop_book_done(struct loop_book *book);
enum cleat_code loop_book_put(struct loop_book *book, const struct cleat_record *rec,
			      struct cleat_error *err);
void loop_book_remove(struct loop_book *book, const char *key);
/* Whether the image of key may share blocks with another one. */
bool loop_book_shared(struct loop_book *book, const char *key);

/* One volume's promise, as it was when the book was looked at. */
struct loop_promise {
	char key[CLEAT_KEY_MAX_BYTES + 1];
	bool shared;
	uint64_t bytes;
};
/* All of them, and the sums at that moment; `list` is to be freed. */
struct loop_promises {
	struct loop_promise *list;
	size_t count;
	uint64_t promised_bytes, reserved_bytes;
};
enum cleat_code loop_book_promises(struct loop_book *book, struct loop_promises *out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- the pool ---- */

struct loop_pool {
	struct cleat_pooldir dir; /* root_fd is the configured directory; volumes, new, trash are there or in
				     the pool file */
	char *name;		  /* configured */
	char *mount_path;	  /* where the pool file is mounted; NULL without one */
	int file_fd;		  /* the pool file, open read-write; -1 without one */
	int data_fd;		  /* directory that holds volumes/ */
	char *data_path;
	bool reflink;	    /* images can share blocks */
	bool copy_on_write; /* the images' file system writes to new places (btrfs) */
	bool direct_io;
	char *fs; /* default file system */
	uint64_t default_bytes;
	double overcommit;
	uint64_t low_percent;
	struct loop_book book;
};

extern const struct cleat_backend cleat_backend_loop;
extern const struct cleat_param loop_pool_params[];
extern const struct cleat_param loop_volume_params[];

/* space.c */

/* What the underlying file system really has. */
struct loop_room {
	uint64_t total_bytes;
	uint64_t free_bytes; /* for images; blocks that the pool file holds without need are counted */
	uint64_t used_bytes;
};
enum cleat_code loop_room(const struct loop_pool *pool, struct loop_room *out,
			  struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code loop_space(void *pool, struct cleat_pool_space *out, struct cleat_error *err);
/* Reserves `bytes` that images may come to need, or RESOURCE_EXHAUSTED; given back with loop_release(). */
enum cleat_code loop_admit(struct loop_pool *pool, const char *name, uint64_t bytes,
			   struct cleat_error *err) CLEAT_MUST_CHECK;
void loop_release(struct loop_pool *pool, uint64_t bytes);
/* Bytes that the image of key has blocks for; 0 when it cannot be looked at. */
uint64_t loop_allocated(const struct loop_pool *pool, const char *key);
/* Makes every byte of the image really there, through the pool file down to the disk. */
enum cleat_code loop_reserve_blocks(const struct loop_pool *pool, int image_fd, uint64_t bytes,
				    const char *name, struct cleat_error *err) CLEAT_MUST_CHECK;

/* poolfile.c */

/* Decides at the first opening whether the pool has a pool file, makes it, mounts it, and points pool->dir at
 * the data. */
enum cleat_code loop_layout_open(struct loop_pool *pool, const struct cleat_pool_options *opts,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Unmounts the pool file if nothing uses it. */
void loop_layout_close(struct loop_pool *pool);
enum cleat_code loop_layout_probe(const struct loop_pool *pool, struct cleat_error *err) CLEAT_MUST_CHECK;

/* attempt.c: one image on its way into the pool */

struct loop_attempt {
	struct loop_pool *pool;
	char *name; /* in new/; NULL once it was committed or abandoned */
	int dir_fd;
	int image_fd;		 /* open read-write */
	uint64_t reserved_bytes; /* given back when done */
};
#define LOOP_ATTEMPT_INIT                                                                                    \
	{                                                                                                    \
		NULL, NULL, -1, -1, 0                                                                        \
	}
#define loop_autoattempt __attribute__((cleanup(loop_attempt_done)))

/* Reserves what the volume may come to need, and makes new/<key>.<rand>/image, empty. */
enum cleat_code loop_attempt_begin(struct loop_pool *pool, const struct cleat_record *rec,
				   uint64_t reserve_bytes, struct loop_attempt *out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* The same without the image. */
enum cleat_code loop_attempt_begin_empty(struct loop_pool *pool, const struct cleat_record *rec,
					 uint64_t reserve_bytes, struct loop_attempt *out,
					 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Path of the image, for tools. */
void loop_attempt_path(const struct loop_attempt *a, char *path, size_t path_bytes);
/* Makes the image durable and the attempt a volume. */
enum cleat_code loop_attempt_commit(struct loop_attempt *a, const struct cleat_record *rec,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* Abandons what was not committed. */
void loop_attempt_done(struct loop_attempt *a);

/* Opens volumes/<key>/image.  NOT_FOUND when the volume is gone, DATA_LOSS when only its image is. */
enum cleat_code loop_open_image(const struct loop_pool *pool, const struct cleat_record *rec, int flags,
				int *fd_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Gives the copy `rec` what all records made from `source` have: lineage, sector size, state of the file
 * system. */
enum cleat_code loop_inherit(const struct loop_pool *pool, const struct cleat_record *source,
			     struct cleat_record *rec, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Fills `to_fd` with the contents of `from_fd`: shared blocks, or a sparse copy with progress. */
enum cleat_code loop_fill(const struct loop_pool *pool, struct cleat_op *op, int from_fd, int to_fd,
			  const char *name, struct cleat_error *err) CLEAT_MUST_CHECK;

/* image.c, snapshot.c, adopt.c, device.c, recover.c: slots */
enum cleat_code loop_create(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			    const struct cleat_record *source, const struct cleat_where *where,
			    struct cleat_record **rec_out, struct cleat_error *err);
enum cleat_code loop_remove(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			    struct cleat_error *err);
enum cleat_code loop_expand(void *pool, struct cleat_op *op, const struct cleat_record *rec, uint64_t bytes,
			    const struct cleat_where *where, struct cleat_record **rec_out,
			    struct cleat_error *err);
enum cleat_code loop_usage(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			   const struct cleat_where *where, struct cleat_usage *out, struct cleat_error *err);
enum cleat_code loop_health(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			    struct cleat_error *err);
enum cleat_code loop_snapshot(void *pool, struct cleat_op *op, const struct cleat_record *const *sources,
			      const struct cleat_where *wheres, const struct cleat_record *const *recs,
			      size_t count, struct cleat_record **recs_out, struct cleat_error *err);
enum cleat_code loop_adopt(void *pool, struct cleat_op *op, const struct cleat_record *rec, const char *what,
			   struct cleat_record **rec_out, struct cleat_error *err);
enum cleat_code loop_map(void *pool, struct cleat_op *op, const struct cleat_record *rec, bool read_only,
			 struct cleat_source *source_out, struct cleat_error *err);
enum cleat_code loop_unmap(void *pool, struct cleat_op *op, const struct cleat_record *rec,
			   struct cleat_error *err);
bool loop_find_mount(void *pool, const struct cleat_mount_entry *entry,
		     char key_out[CLEAT_KEY_MAX_BYTES + 1]);
enum cleat_code loop_recover(void *pool, bool (*in_use)(const char *key, void *arg), cleat_report_fn report,
			     void *arg, struct cleat_error *err);
enum cleat_code loop_leftovers(void *pool, bool (*in_use)(const char *key, void *arg), cleat_report_fn report,
			     void *arg, struct cleat_error *err);

/* group.c */

/* Makes all images durable and all attempts snapshots, together or not at all. */
enum cleat_code loop_group_commit(struct loop_pool *pool, struct loop_attempt *attempts,
				  struct cleat_record *const *recs, size_t count,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* Finishes what a killed daemon had begun to commit. */
enum cleat_code loop_group_recover(struct loop_pool *pool, cleat_report_fn report, void *arg,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* Where the program cleat-thaw is: $CLEAT_LIBEXEC, beside this library or program, or where it is installed.
 */
enum cleat_code loop_guardian_path(char *path, size_t path_bytes, struct cleat_error *err) CLEAT_MUST_CHECK;

/* device.c */

/* Brings what was written to the source so far into its image, without a freeze.  Where blocks cannot be
 * shared, FAILED_PRECONDITION while the source is in use: a copy takes too long to be of one moment. */
enum cleat_code loop_sync_source(const struct loop_pool *pool, struct cleat_op *op,
				 const struct cleat_record *source, const struct cleat_where *where,
				 int image_fd, struct cleat_error *err) CLEAT_MUST_CHECK;
/* FAILED_PRECONDITION while a loop device has the image that something uses; an idle one of ours is freed. */
enum cleat_code loop_free_device(const struct loop_pool *pool, const struct cleat_record *rec, int image_fd,
				 struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
