/* backend.h - the contract between the engine and a storage backend; for authors of backends.
 *
 * A backend is one constant table.  The engine calls its slots from the pool's own lane of worker threads, so every slot but
 * `find_mount` may block, within the limit it announced with cleat_op_step().  The engine never makes two calls at once for one volume;
 * calls for different volumes of a pool do run at once, so an instance guards what its volumes share.
 *
 * Every slot is idempotent and may have been cut off at any point before: done already is OK, done differently is ALREADY_EXISTS, gone
 * already is OK.  A slot that is empty answers UNIMPLEMENTED.  Records given to a slot are borrowed and must not be changed; records
 * marked `rec_out` are the backend's to fill and belong to the caller afterwards.
 *
 * A backend does not see the engine, another backend or a door: only this header, <cleat/record.h>, <cleat/error.h> and core/{util,sys,store,fs}.
 */
#ifndef CLEAT_BACKEND_H
#define CLEAT_BACKEND_H

#include <cleat/error.h>
#include <cleat/record.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLEAT_BACKEND_VERSION 1

/* ---- parameters ----------------------------------------------------------------------------------------------------- */

enum cleat_param_type {
	CLEAT_PARAM_TEXT,
	CLEAT_PARAM_BOOL, /* true/false, yes/no, 1/0 */
	CLEAT_PARAM_SIZE, /* bytes, with units */
	CLEAT_PARAM_UINT,
	CLEAT_PARAM_MODE, /* octal file mode, 0..07777 */
	CLEAT_PARAM_CHOICE,
	CLEAT_PARAM_PATH, /* absolute */
	CLEAT_PARAM_DECIMAL, /* 1.5 */
	CLEAT_PARAM_SECRET, /* a reference: file:PATH or env:NAME; prints as *** */
};

/* One key; from these tables come parsing, --help and the manual.  A table ends with key NULL. */
struct cleat_param {
	const char *key;
	enum cleat_param_type type;
	const char *unit; /* "bytes", "uid" ...; NULL without */
	const char *def; /* default as text; NULL: none */
	const char *const *choices; /* CHOICE: NULL-terminated */
	uint64_t min, max; /* UINT and SIZE; max 0: no limit */
	const char *text; /* one sentence */
	bool changeable; /* may be changed after creation (volume) or by a reload (pool) */
};

/* Checks every pair of kvs against the tables (any may be NULL): unknown keys and bad values are INVALID_ARGUMENT that names key and value. */
enum cleat_code cleat_param_check(const struct cleat_param *const *tables, size_t table_count, const struct cleat_kvs *kvs,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* Typed reading of a checked list; the table's default where the key is absent. */
const char *cleat_param_text(const struct cleat_param *table, const struct cleat_kvs *kvs, const char *key);
bool cleat_param_bool(const struct cleat_param *table, const struct cleat_kvs *kvs, const char *key);
uint64_t cleat_param_number(const struct cleat_param *table, const struct cleat_kvs *kvs, const char *key); /* SIZE, UINT, MODE */
double cleat_param_decimal(const struct cleat_param *table, const struct cleat_kvs *kvs, const char *key);

/* Keys that every volume takes: uid, gid, mode, allow_scopes. (fs and thick are in the tables of those that have them.) */
extern const struct cleat_param cleat_param_common[];
/* The i-th file system that backends with devices offer (ext4 first): its name, its keys for creation, its keys for mounting; any output
 * may be NULL.  False past the end. */
bool cleat_param_fs_at(size_t i, const char **name_out, const struct cleat_param **make_out, const struct cleat_param **mount_out);

/* ---- operations ----------------------------------------------------------------------------------------------------- */

/* A running operation, as a backend sees it. */
struct cleat_op;

/* Announces the next step ("mkfs.xfs", "clone image"): it shows in progress, in ABORTED answers and in `stuck since`.  limit_ms is the
 * longest the step may take before the engine leaves its thread behind.  op may be NULL. */
void cleat_op_step(struct cleat_op *op, const char *step, int64_t limit_ms);
/* How far the step is; total 0: unknown. */
void cleat_op_progress(struct cleat_op *op, uint64_t done, uint64_t total);
/* "Not yet": the engine ends this call and makes it again after that many milliseconds, without holding a thread.  Returns ABORTED, to be
 * returned by the slot at once. */
enum cleat_code cleat_op_again(struct cleat_op *op, int64_t after_ms, struct cleat_error *err);

/* ---- what slots exchange ------------------------------------------------------------------------------------------------ */

/* The configured pool, borrowed for the life of the instance. */
struct cleat_pool_options {
	const char *name; /* configured name */
	const char *state_dir; /* the daemon's own directory: where a pool without a path of its own lives */
	const char *runtime_dir; /* where a pool may mount what it needs for itself: <runtime_dir>/pool/<name> */
	const struct cleat_kvs *config; /* checked against pool_params */
	const char *expect_uuid; /* UUID this pool had when it was last seen here; NULL: never seen */
	const char *node; /* this node's id */
};

/* Filled by `open`. */
struct cleat_pool_identity {
	char uuid[37];
	char stored_name[CLEAT_POOL_NAME_MAX_BYTES + 1]; /* first half of every id; a node pool's ends in "-" and eight hex digits of its UUID */
	uint32_t format;
	bool shared; /* scope: false = node */
	bool read_only; /* format is newer than ours */
};

enum cleat_capability {
	CLEAT_CAN_MOUNT = 1 << 0,
	CLEAT_CAN_BLOCK = 1 << 1,
	CLEAT_CAN_ENFORCE_SIZE = 1 << 2,
	CLEAT_CAN_SNAPSHOT = 1 << 3, /* of a volume in use, too, unless _OFFLINE */
	CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY = 1 << 4,
	CLEAT_CAN_GROUP_SNAPSHOT = 1 << 5,
	CLEAT_CAN_CLONE = 1 << 6,
	CLEAT_CAN_EXPAND = 1 << 7,
	CLEAT_CAN_EXPAND_ONLINE = 1 << 8, /* size known to the device at once; the file system may still wait */
	CLEAT_CAN_ADOPT = 1 << 9,
	CLEAT_CAN_ATTACH = 1 << 10, /* the far side keeps attachments; else the record does */
	CLEAT_CAN_MULTI_NODE = 1 << 11,
	CLEAT_CAN_USAGE_OFFLINE = 1 << 12, /* usage is known while unpublished */
};

struct cleat_pool_space {
	uint64_t total_bytes; /* what the pool could ever hold */
	uint64_t available_bytes; /* the largest volume that would be admitted now */
	uint64_t used_bytes;
	uint64_t promised_bytes; /* sum of the volumes' sizes */
	uint64_t max_volume_bytes, min_volume_bytes; /* 0: no limit known */
	bool low; /* the watermark is passed */
};

struct cleat_usage {
	uint64_t total_bytes, used_bytes, available_bytes;
	uint64_t total_inodes, used_inodes, available_inodes; /* 0 when unknown */
};

/* How a volume reaches this node, filled by `map`. */
enum cleat_source_kind {
	CLEAT_SOURCE_DIRECTORY, /* bind this directory */
	CLEAT_SOURCE_DEVICE, /* a block device: mount its file system, or bind the node */
};

struct cleat_source {
	enum cleat_source_kind kind;
	char path[256]; /* directory or device node */
	int fd; /* O_PATH of the directory, or an open device that must stay open until the mount is made; -1 if none; owned by the caller */
	bool read_only;
};

/* Where a volume is on this node now, given to slots that must know. */
struct cleat_where {
	const char *stage_path; /* internal mount; NULL: not staged */
	const char *device; /* device it is mapped to; NULL: none or not known */
};

enum cleat_grow_result {
	CLEAT_GROWN, /* done, visible now */
	CLEAT_GROWS_AT_NEXT_STAGE,
};

/* scan: one call per record; broken != NULL tells why a record could not be read (rec then has at least key, name may be ""). Returns false to stop. */
typedef bool (*cleat_scan_fn)(struct cleat_record *rec, const char *broken, void *arg); /* takes its own reference */
/* recover: one line per thing that was finished, undone or found odd. */
typedef void (*cleat_report_fn)(const char *line, void *arg);

struct cleat_mount_entry;

struct cleat_backend {
	uint32_t version; /* CLEAT_BACKEND_VERSION */
	const char *name;
	const char *summary; /* one line */
	const struct cleat_param *pool_params;
	const struct cleat_param *volume_params; /* besides cleat_param_common and fs parameters */
	bool uses_fs; /* takes `fs` and the fs's own parameters; mapped as a device */

	/* -- the pool -- */

	/* What this machine lacks for the backend, as one line; CLEAT_OK when nothing. */
	enum cleat_code (*check)(struct cleat_error *err);
	/* Opens the pool, initialising it the first time.  UNAVAILABLE: offline, will be tried again; anything else is a configuration
	 * error.  A pool whose UUID is expected but whose marker is missing is UNAVAILABLE, never a new pool. */
	enum cleat_code (*open)(const struct cleat_pool_options *opts, void **pool_out, struct cleat_pool_identity *id_out,
				struct cleat_error *err);
	/* Never touches volumes in use; unmounts what only the pool itself needed, if nothing is in use (busy is fine). */
	void (*close)(void *pool);
	/* CLEAT_OK while the pool is there (cheap: called every few seconds); UNAVAILABLE: it went away. */
	enum cleat_code (*probe)(void *pool, struct cleat_error *err);
	unsigned (*capabilities)(void *pool); /* enum cleat_capability; constant while open; does not block */
	enum cleat_code (*space)(void *pool, struct cleat_pool_space *out, struct cleat_error *err);
	/* Calls fn for every record (volumes and snapshots). */
	enum cleat_code (*scan)(void *pool, cleat_scan_fn fn, void *arg, struct cleat_error *err);
	/* For pools that several nodes change (shared): the record of one volume or snapshot as it is stored now, by key, or where key is "" by kind,
	 * scope and name.  CLEAT_OK with *rec_out left alone: there is none.  Empty: nobody else changes the pool while it is open. */
	enum cleat_code (*find)(void *pool, struct cleat_op *op, enum cleat_kind kind, const char *key, const char *scope,
				const char *name, struct cleat_record **rec_out, struct cleat_error *err);
	/* After open, before any volume call: removes attempts and trash, thaws, frees loop devices nobody uses. in_use(key) tells whether the
	 * node still has the volume staged or published. */
	enum cleat_code (*recover)(void *pool, bool (*in_use)(const char *key, void *arg), cleat_report_fn report, void *arg,
				   struct cleat_error *err);
	/* One line per thing that recover would take away now, changing nothing.  Called while no other operation runs on the pool. */
	enum cleat_code (*leftovers)(void *pool, bool (*in_use)(const char *key, void *arg), cleat_report_fn report, void *arg,
				     struct cleat_error *err);

	/* -- volumes -- */

	/* Makes the volume and its record, durably, appearing at once or not at all.  rec holds key, name, scope, capacity, access type, fs, params,
	 * labels; rec_out gets the record as stored (capacity rounded up, attributes).  source: NULL, or the record to clone from (volume or
	 * snapshot of the same pool); where: of the source.  An existing key with an equal record is OK. */
	enum cleat_code (*create)(void *pool, struct cleat_op *op, const struct cleat_record *rec, const struct cleat_record *source,
				  const struct cleat_where *where, struct cleat_record **rec_out, struct cleat_error *err);
	/* Takes in what is already there (`what`: backend's own notation, a path or id), without formatting it. */
	enum cleat_code (*adopt)(void *pool, struct cleat_op *op, const struct cleat_record *rec, const char *what,
				 struct cleat_record **rec_out, struct cleat_error *err);
	/* Replaces the stored record (labels, attachments, fs_bytes, formatted, changed params), durably. */
	enum cleat_code (*update)(void *pool, struct cleat_op *op, const struct cleat_record *rec, struct cleat_error *err);
	/* Removes volume or snapshot and record.  Refuses (FAILED_PRECONDITION) while anything on this node still holds the data. */
	enum cleat_code (*remove)(void *pool, struct cleat_op *op, const struct cleat_record *rec, struct cleat_error *err);
	/* Makes the volume `bytes` large (never smaller) up to and including the device; the file system is the engine's business.  rec_out: as stored. */
	enum cleat_code (*expand)(void *pool, struct cleat_op *op, const struct cleat_record *rec, uint64_t bytes,
				  const struct cleat_where *where, struct cleat_record **rec_out, struct cleat_error *err);
	/* Snapshots `count` volumes at one point in time (count 1: without a freeze); recs[i] is the wished record of sources[i]'s snapshot. */
	enum cleat_code (*snapshot)(void *pool, struct cleat_op *op, const struct cleat_record *const *sources,
				    const struct cleat_where *wheres, const struct cleat_record *const *recs, size_t count,
				    struct cleat_record **recs_out, struct cleat_error *err);

	/* -- on this node -- */

	/* Make the volume's device reach / no longer reach `node` (only with CLEAT_CAN_ATTACH).  What is attached where is the far side's to say: attach
	 * refuses (FAILED_PRECONDITION that names the holder) what is attached elsewhere for writing, unless the volume's own policy lets it evict
	 * that node.  node "": every one.  `map` attaches to this node by itself, and `unmap` detaches again unless the record holds an attachment. */
	enum cleat_code (*attach)(void *pool, struct cleat_op *op, const struct cleat_record *rec, const char *node, bool read_only,
				  struct cleat_error *err);
	enum cleat_code (*detach)(void *pool, struct cleat_op *op, const struct cleat_record *rec, const char *node,
				  struct cleat_error *err);
	/* Take the volume away from `node` ("": from whoever has it) by force, on an operator's order; who was evicted is told by an attribute of the
	 * record afterwards. */
	enum cleat_code (*evict)(void *pool, struct cleat_op *op, const struct cleat_record *rec, const char *node,
				 struct cleat_error *err);
	/* Give a directory or device for the volume here (loop: bind the image).  Mapped already: the same device again. */
	enum cleat_code (*map)(void *pool, struct cleat_op *op, const struct cleat_record *rec, bool read_only,
			       struct cleat_source *source_out, struct cleat_error *err);
	/* Undo map once nothing uses it. */
	enum cleat_code (*unmap)(void *pool, struct cleat_op *op, const struct cleat_record *rec, struct cleat_error *err);
	/* Usage where statfs of the stage would not tell the volume's own; UNIMPLEMENTED: use statfs. */
	enum cleat_code (*usage)(void *pool, struct cleat_op *op, const struct cleat_record *rec, const struct cleat_where *where,
				 struct cleat_usage *out, struct cleat_error *err);
	/* CLEAT_OK, or what is wrong with the stored volume (image missing ...): one line.  DATA_LOSS for damage. */
	enum cleat_code (*health)(void *pool, struct cleat_op *op, const struct cleat_record *rec, struct cleat_error *err);
	/* Which of this pool's volumes is mounted by this entry of the mount table; false: none.  Must not block on the storage. */
	bool (*find_mount)(void *pool, const struct cleat_mount_entry *entry, char key_out[CLEAT_KEY_MAX_BYTES + 1]);
};

/* Registers a backend before any engine is opened (built-in ones are there already).  The table must stay valid.  INVALID_ARGUMENT for a
 * wrong version or a missing required slot, ALREADY_EXISTS for a name taken. */
enum cleat_code cleat_backend_register(const struct cleat_backend *backend, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The backend of that name, if it is built in, registered or loaded already; else NULL. */
const struct cleat_backend *cleat_backend_find(const char *name);
/* As cleat_backend_find(), but loads the module <name>.so when there is one: a shared object that shows its table as the symbol
 * `const struct cleat_backend cleat_backend_module`.  It is looked for in the folder that the environment variable CLEAT_MODULE_DIR names, or
 * else in cleat/ beside libcleat.so, and never unloaded.  out may be NULL.  INVALID_ARGUMENT: there is none; FAILED_PRECONDITION: it cannot
 * be loaded, with the linker's own words (a library that is not installed). */
enum cleat_code cleat_backend_load(const char *name, const struct cleat_backend **out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The i-th backend that is built in, registered or loaded; NULL past the end. */
const struct cleat_backend *cleat_backend_at(size_t i);

#ifdef __cplusplus
}
#endif
#endif
