/* pooldir.h - the directory in which a local pool keeps its volumes: marker, lock, records, attempts, trash.
 *
 *   <path>/cleat-pool.json    the marker: UUID, stored name, format, scope, backend
 *   <path>/lock               held with flock while a daemon serves the pool
 *   <path>/volumes/<key>/     one directory per volume or snapshot: record.json and whatever the backend keeps beside it
 *   <path>/new/<key>.<rand>   attempts at creation (directories) or at changing a record (files); appear in volumes/ by rename
 *   <path>/trash/<key>.<rand>/ what is being deleted
 *
 * Used by backends whose volumes live in a directory (dir, loop, btrfs); knows no backend.
 */
#ifndef CLEAT_STORE_POOLDIR_H
#define CLEAT_STORE_POOLDIR_H

#include <cleat/backend.h>
#include <cleat/error.h>
#include <cleat/record.h>

struct cleat_buf;

#define CLEAT_POOL_FORMAT 1
#define CLEAT_RECORD_FILE "record.json"
#define CLEAT_RECORD_MAX_BYTES (64 * 1024)

struct cleat_pooldir {
	int root_fd, volumes_fd, new_fd, trash_fd; /* -1 when closed */
	int lock_fd;
	char *path; /* as configured, for messages and tools */
	struct cleat_pool_identity id;
};

/* Opens the pool at opts->config["path"], or <state_dir>/pools/<name> without one, which is created with its parents.  An empty directory
 * without marker becomes a new pool, unless opts->expect_uuid is set or the key "init" is "never": then UNAVAILABLE "offline".  A
 * non-empty directory without marker, or a marker of another backend or another UUID, is UNAVAILABLE as well and says so; a directory that
 * another daemon serves is UNAVAILABLE and names the lock's holder if known.  A newer format opens read-only. */
enum cleat_code cleat_pooldir_open(const struct cleat_pool_options *opts, const char *backend, struct cleat_pooldir *out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* The same, for a backend that needs a certain file system below its pool: `fits` is asked about the open directory before anything is
 * made in it, and refuses with an error of its own (UNAVAILABLE when the right file system may just not be mounted). */
typedef enum cleat_code (*cleat_pooldir_fits_fn)(int root_fd, const char *path, void *arg, struct cleat_error *err);
enum cleat_code cleat_pooldir_open_on(const struct cleat_pool_options *opts, const char *backend, cleat_pooldir_fits_fn fits,
				      void *fits_arg, struct cleat_pooldir *out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Gives up the lock and every descriptor; fine for one that was never opened if its descriptors are -1. */
void cleat_pooldir_close(struct cleat_pooldir *dir);
/* Puts volumes/, new/ and trash/ into another directory (made there as needed; open, borrowed), for a backend whose volumes lie in a file
 * system of their own.  Marker and lock stay where they are.  On failure everything is as before. */
enum cleat_code cleat_pooldir_move_data(struct cleat_pooldir *dir, int data_fd, struct cleat_error *err) CLEAT_MUST_CHECK;
/* UNAVAILABLE when the directory or its marker is gone or has another UUID than the one that was opened. */
enum cleat_code cleat_pooldir_probe(const struct cleat_pooldir *dir, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Makes new/<key>.<rand>/ and returns its descriptor and name (to be freed). */
enum cleat_code cleat_pooldir_begin(const struct cleat_pooldir *dir, const char *key, char **attempt_out, int *fd_out,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* Writes the record into the attempt, fsyncs both, renames it to volumes/<key> and fsyncs that: durable and visible at once.
 * ALREADY_EXISTS when the key is taken (the attempt is removed). */
enum cleat_code cleat_pooldir_commit(const struct cleat_pooldir *dir, const char *attempt, int attempt_fd,
				     const struct cleat_record *rec, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The two halves of cleat_pooldir_commit(), for who must do something between them: record and attempt are durable after the first, the
 * volume is there after the second. */
enum cleat_code cleat_pooldir_prepare(const struct cleat_pooldir *dir, int attempt_fd, const struct cleat_record *rec,
				      struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code cleat_pooldir_appear(const struct cleat_pooldir *dir, const char *attempt, const char *key,
				     struct cleat_error *err) CLEAT_MUST_CHECK;
/* For a creation that may have been done before: when volumes/<wish->key> is there and its record says the same as the wish (kind, name,
 * scope, access type, fs, parameters, source; capacity where both know one), makes sure that it is durable and gives the stored record.
 * ALREADY_EXISTS when it says something else; CLEAT_OK with *out NULL when there is nothing. */
enum cleat_code cleat_pooldir_confirm(const struct cleat_pooldir *dir, const struct cleat_record *wish,
				      struct cleat_record **out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Removes an attempt after a failure; reports nothing (start-up sweeps what is left). */
void cleat_pooldir_abandon(const struct cleat_pooldir *dir, const char *attempt);
/* Opens volumes/<key> as a directory, for *at calls, fsync and ioctls.  NOT_FOUND when gone. */
enum cleat_code cleat_pooldir_open_volume(const struct cleat_pooldir *dir, const char *key, int *fd_out, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Replaces the record in place, durably. */
enum cleat_code cleat_pooldir_update(const struct cleat_pooldir *dir, const struct cleat_record *rec, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Renames volumes/<key> into the trash, durably: from here on the volume does not exist.  Name in the trash is returned (to be freed); NULL
 * with CLEAT_OK when there was nothing (which is durable then, too). */
enum cleat_code cleat_pooldir_discard(const struct cleat_pooldir *dir, const char *key, char **trash_out,
				      struct cleat_error *err) CLEAT_MUST_CHECK;
/* Removes trash/<name> and all below it. */
enum cleat_code cleat_pooldir_purge(const struct cleat_pooldir *dir, const char *trash, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Reads volumes/<key>/record.json. */
enum cleat_code cleat_pooldir_read(const struct cleat_pooldir *dir, const char *key, struct cleat_record **out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* Every entry of volumes/, in no order; unreadable records are passed with `broken`. */
enum cleat_code cleat_pooldir_scan(const struct cleat_pooldir *dir, cleat_scan_fn fn, void *arg, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Removes everything in new/ and trash/ with `remove` (NULL: cleat_sys_remove_tree); reports each, and goes on after one that cannot be
 * removed.  Also makes durable what volumes/ shows, because a killed daemon may have stopped between a rename and its fsync. */
enum cleat_code cleat_pooldir_sweep(const struct cleat_pooldir *dir,
				    enum cleat_code (*remove)(int parent_fd, const char *name, void *arg, struct cleat_error *err),
				    void *remove_arg, cleat_report_fn report, void *report_arg, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Reports what the sweep would remove, and changes nothing. */
enum cleat_code cleat_pooldir_leftovers(const struct cleat_pooldir *dir, cleat_report_fn report, void *report_arg,
					struct cleat_error *err) CLEAT_MUST_CHECK;
/* Pool keys that cleat_pooldir_open() reads: path, init; for a backend's pool_params table: put these first. */
#define CLEAT_POOLDIR_PARAMS                                                                                            \
	{ "path", CLEAT_PARAM_PATH, NULL, NULL, NULL, 0, 0,                                                             \
	  "Directory of the pool; without it one under the daemon's state directory.", false },                        \
	{ "init", CLEAT_PARAM_CHOICE, NULL, "auto", cleat_pooldir_init_choices, 0, 0,                                    \
	  "Whether an empty directory may become a new pool: auto or never.", false }
extern const char *const cleat_pooldir_init_choices[];

/* ---- the record's JSON form (bytes in, bytes out: also fuzzed) --------------------------------------------------------------- */

/* DATA_LOSS with the reason for anything that is not a record; a newer format is read as far as it goes and keeps its number. */
enum cleat_code cleat_record_decode(const char *bytes, size_t n, struct cleat_record **out, struct cleat_error *err)
	CLEAT_MUST_CHECK;
enum cleat_code cleat_record_encode(const struct cleat_record *r, struct cleat_buf *out, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
