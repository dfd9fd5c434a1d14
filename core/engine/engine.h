/* engine.h - the engine's own structures; seen by core/engine only.
 *
 * Locks, outer first:
 *   1. engine.lock    everything below unless a field says otherwise; never held across a call that can block
 *   2. facts.lock     the SQLite handle; inside facts.c only, never together with engine.lock
 *   3. events.lock    ring and subscribers; inside events.c only, never together with engine.lock
 *
 * An operation holds named resources (an id, a name) for as long as it runs, so what belongs to a volume is changed only by the operation
 * that holds it; engine.lock then only makes the change visible at once.
 */
#ifndef CLEAT_ENGINE_ENGINE_H
#define CLEAT_ENGINE_ENGINE_H

#include <cleat/volume.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/clock.h"
#include "util/kv.h"
#include "util/mem.h"

#define MAX_POOLS 64
#define MAX_WAITING 1024 /* operations that wait for another one */
#define MAX_LANE_QUEUE 1024 /* operations that wait for a thread of their pool */
#define MAX_LEFT_BEHIND 16 /* stuck threads of one pool before it refuses more */
#define DEFAULT_LANE_THREADS 8
#define DEFAULT_STEP_LIMIT_MS 60000
#define PROBE_EVERY_MS 5000
#define RECONCILE_EVERY_MS 30000

struct pool;
struct op;

/* ---- index: the records of a pool ------------------------------------------------------------------------------------------ */

struct entry {
	struct cleat_record *rec; /* one reference */
	struct entry *name_next; /* chain of the name hash */
	char *broken; /* why the record cannot be used; NULL when it can */
	int64_t stuck_since_ms;
};

struct index {
	struct entry **by_key; /* sorted by record key */
	size_t count, room;
	struct entry **names;
	size_t name_buckets;
	size_t volume_count, snapshot_count, broken_count;
	uint64_t promised_bytes;
};

/* Position of key, or where it would be inserted (*found_out false). */
size_t index_position(const struct index *ix, const char *key, bool *found_out);
struct entry *index_by_key(const struct index *ix, const char *key);
struct entry *index_by_name(const struct index *ix, enum cleat_kind kind, const char *scope, const char *name);
/* Inserts or replaces; takes a reference of its own.  broken may be NULL. */
enum cleat_code index_put(struct index *ix, struct cleat_record *rec, const char *broken, struct cleat_error *err);
void index_remove(struct index *ix, const char *key);
void index_clear(struct index *ix);

/* ---- pools and lanes ------------------------------------------------------------------------------------------------------- */

enum pool_phase {
	POOL_OPENING, /* an open operation is queued or runs; other operations wait */
	POOL_ONLINE,
	POOL_OFFLINE,
};

/* A creation that failed may have been carried out all the same (its answer was lost): who asks again gets the same key, so that the
 * backend can tell. */
struct unfinished {
	struct unfinished *next;
	enum cleat_kind kind;
	char *scope, *name;
	char key[CLEAT_KEY_MAX_BYTES + 1];
};

struct lane {
	struct op *head, **tail; /* waiting for a thread */
	unsigned queued, threads, idle, busy, left_behind;
	pthread_cond_t work;
};

struct pool {
	struct cleat_engine *e;
	char *name;
	struct cleat_pool_config cfg; /* owned copy */
	const struct cleat_backend *backend;
	char *backend_name; /* as configured, also when a layer is around it */
	unsigned max_threads;

	enum pool_phase phase;
	bool ever_opened; /* the instance exists; records are known */
	void *instance; /* set by the open operation, constant while ever_opened and not reopened */
	struct cleat_pool_identity id;
	unsigned capabilities;
	char reason[CLEAT_ERROR_TEXT_BYTES];
	int64_t retry_at_ms; /* monotonic; next attempt to open while offline */
	int64_t probe_at_ms; /* monotonic; next look whether it is still there */
	int64_t looked_at_ms; /* monotonic; when one of the two last ended */
	struct unfinished *unfinished; /* creations whose outcome is not known */
	size_t unfinished_count;
	bool probing;
	struct index index;
	struct cleat_pool_space space;
	int64_t space_at_ms; /* monotonic; -1 never */
	struct lane lane;
};

/* ---- what this node has made of a volume ------------------------------------------------------------------------------------ */

struct claim {
	struct claim *next;
	char *target;
	char *owner;
	char *options; /* canonical text of the mount options it was made with */
	enum cleat_access_mode mode;
	bool read_only;
	bool staging; /* a caller's staging path */
	bool made_target; /* we made the directory or file, we remove it */
	bool stale;
	int64_t since_ms;
	int64_t pid; /* witness; 0 none */
	uint64_t start_ticks;
	char *cgroup; /* witness; NULL none */
};

/* Exists while the volume is staged or claimed on this node. */
struct node_volume {
	struct node_volume *next; /* chain of the hash */
	char id[CLEAT_ID_MAX_BYTES + 1];
	bool staged;
	bool explicit_stage; /* somebody asked for the internal mount itself (Stage without a path) */
	bool block; /* access type */
	char device[64]; /* "" when there is none (directories) */
	char *options; /* super block options of the internal mount */
	dev_t dev; /* of the root of the internal mount, 0 while not looked at */
	ino_t ino;
	struct claim *claims; /* sorted by target */
};

#define NODE_BUCKETS 1024

/* ---- operations -------------------------------------------------------------------------------------------------------------- */

enum inner_verb { /* besides enum cleat_verb */
	VERB_OPEN_POOL = CLEAT_VERB_COUNT + 1,
	VERB_PROBE_POOL,
	VERB_RECONCILE,
	VERB_EXAMINE_POOL, /* pool, fix -> findings: what was left over; alone on its pool, like the opening */
};

struct waiter {
	struct waiter *next;
	cleat_done_fn done;
	void *arg;
	int64_t deadline_ms; /* monotonic; 0: none */
	int64_t joined_ms;
};

enum op_phase {
	OP_WAITING, /* for resources */
	OP_QUEUED, /* for a thread */
	OP_RUNNING,
	OP_AGAIN, /* for a moment: resources are held */
};

#define MAX_RESOURCES (CLEAT_GROUP_MAX + 3)

struct op {
	struct op *prev, *next; /* all operations, in order of submission */
	struct op *lane_next;
	struct cleat_engine *e;
	struct pool *pool; /* NULL: runs in the engine's own lane */
	uint64_t number;
	int verb; /* enum cleat_verb or enum inner_verb */
	struct cleat_request req; /* owned deep copy */
	char *canon; /* equal canon: identical call */
	char subject[CLEAT_ID_MAX_BYTES + CLEAT_NAME_MAX_BYTES + 2];
	enum op_phase phase;
	struct waiter *waiters;
	uint64_t resources[MAX_RESOURCES]; /* hashes of what it holds or waits for; equal hashes exclude each other */
	size_t resource_count;
	int64_t since_ms, since_mono_ms;
	char step[64];
	int64_t step_since_ms, step_limit_ms; /* monotonic */
	uint64_t done, total;
	bool stuck, announced; /* announced: an OPERATION event was sent */
	int64_t announce_at_ms;
	int64_t again_ms; /* set by cleat_op_again() during a run */
	int64_t again_at_ms;
	bool refreshed; /* the record has been asked for anew; see refresh.c */
	/* Filled by planning, under the lock: what the request's volume reference means now. */
	char id[CLEAT_ID_MAX_BYTES + 1]; /* "" when there is no such volume */
	struct cleat_error err;
	struct cleat_result result;
};

struct events;
struct facts;

struct cleat_engine {
	pthread_mutex_t lock;
	char *state_dir, *runtime_dir, *node, *stage_dir, *publish_dir;
	char epoch[40];
	char **prefixes; /* NULL-terminated, or NULL */
	char default_pool[CLEAT_POOL_NAME_MAX_BYTES + 1]; /* "": none is named; changes with the lock only */
	int64_t wait_ms;
	int state_lock_fd, runtime_lock_fd;
	void (*report)(const char *line, void *arg);
	void *report_arg;

	struct pool *pools[MAX_POOLS];
	size_t pool_count;
	struct pool *own; /* lane for requests without a pool: doctor */
	struct node_volume *nodes[NODE_BUCKETS];
	size_t claim_count;

	struct op *ops, *ops_last;
	size_t op_count, waiting_count;
	uint64_t next_number;
	bool closing;
	unsigned thread_count; /* lane threads and timer */
	pthread_cond_t quiet; /* an operation or thread has gone */
	pthread_cond_t timer_wake;
	int64_t reconcile_at_ms;

	struct events *events;
	struct facts *facts;
	bool facts_fresh; /* nothing was known of this boot and namespace: stages and claims come from the mount table */
};

/* ops.c */
void ops_submit_inner(struct cleat_engine *e, struct pool *pool, int verb, const char *volume);
/* plan.c: with the lock.  What the request means now: pool, volume, resources.  Not OK: the operation ends with that. */
enum cleat_code plan(struct op *op, struct cleat_error *err);
int64_t ops_expire(struct cleat_engine *e); /* timer, without the lock: deadlines, limits; returns when to come again (monotonic) */
/* refresh.c: without the lock */
bool refresh_is_due(const struct op *op);
enum cleat_code refresh_record(struct op *op, struct cleat_error *err);
/* request.c */
enum cleat_code request_copy(const struct cleat_request *from, struct cleat_request *to, struct cleat_error *err);
void request_done(struct cleat_request *req);
char *request_canon(const struct cleat_request *req);
enum cleat_code request_check(struct cleat_engine *e, const struct cleat_request *req, struct cleat_error *err);
enum cleat_code check_name(const char *what, const char *name, size_t max_bytes, bool may_be_empty, struct cleat_error *err);
/* lane.c */
enum cleat_code lane_push(struct pool *pool, struct op *op, struct cleat_error *err); /* with the lock; the caller signals lane.work */
void lane_fill(struct pool *pool); /* with the lock: starts threads for what is queued */
void lane_init(struct lane *lane);
void ops_run(struct op *op); /* ops.c, called by lane threads */
/* pool.c */
struct pool *pool_by_name(struct cleat_engine *e, const char *name); /* with the lock; "" = default */
struct pool *pool_by_stored_name(struct cleat_engine *e, const char *stored, size_t n);
struct pool *pool_new(struct cleat_engine *e, const struct cleat_pool_config *cfg, struct cleat_error *err);
void pool_free(struct pool *p);
enum cleat_code pool_check_places(const struct cleat_pool_config *pools, size_t n, struct cleat_error *err); /* their topologies together */
enum cleat_code pool_check_config(const struct cleat_pool_config *cfg, struct cleat_error *err);
enum cleat_code pool_run_open(struct op *op, struct cleat_error *err);
/* doctor.c: what recovery would take away, or with fix takes away. */
enum cleat_code doctor_examine_pool(struct op *op, struct cleat_error *err);
bool pool_key_in_use(const char *key, void *pool);
enum cleat_code pool_run_probe(struct op *op, struct cleat_error *err);
enum cleat_code pool_refresh_space(struct op *op, struct cleat_error *err);
/* With the lock: the next probe or attempt to open is due at once, though not more than once a second. */
void pool_hurry(struct pool *p);
/* The key for a new volume or snapshot of that name: a new one, or that of a creation which may have been carried out. */
enum cleat_code pool_key_take(struct pool *p, const struct cleat_record *wish, char key[CLEAT_KEY_MAX_BYTES + 1],
			      struct cleat_error *err);
/* The creation is done: the next one of that name is another. */
void pool_key_done(struct pool *p, const struct cleat_record *stored);
void pool_make_id(const struct pool *p, const char *key, char id[CLEAT_ID_MAX_BYTES + 1]);
/* File system of volumes that name none; "" where they are directories. */
const char *pool_default_fs(const struct pool *p);
void pool_state_fill(const struct pool *p, struct cleat_pool_state *out); /* with the lock */
/* Replaces the indexed record after the backend stored it. */
enum cleat_code pool_put(struct pool *p, struct cleat_record *rec, struct cleat_error *err);
/* The record of the operation's volume with a reference of its own; NOT_FOUND, or DATA_LOSS when broken. */
enum cleat_code pool_take(struct op *op, struct cleat_record **out, struct cleat_error *err);
/* resolve.c: with the lock.  What a reference means: *pool_out may be set although *entry_out is NULL ("gone").  NOT_FOUND only for pools that are
 * not served here or names without a pool. */
enum cleat_code resolve_volume(struct cleat_engine *e, const char *ref, const char *scope, enum cleat_kind kind,
			       struct pool **pool_out, struct entry **entry_out, struct cleat_error *err);
void state_fill(struct cleat_engine *e, struct pool *p, struct entry *en, struct cleat_volume_state *out); /* with the lock */
/* node.c: with the lock */
struct node_volume *node_find(struct cleat_engine *e, const char *id);
struct node_volume *node_get(struct cleat_engine *e, const char *id); /* makes it; NULL without memory */
void node_drop_if_idle(struct cleat_engine *e, struct node_volume *nv);
struct claim *claim_find(struct node_volume *nv, const char *target);
void claim_insert(struct cleat_engine *e, struct node_volume *nv, struct claim *c);
void claim_remove(struct cleat_engine *e, struct node_volume *nv, struct claim *c); /* frees it */
void claim_free(struct claim *c);
void nodes_clear(struct cleat_engine *e);
size_t node_claim_total(const struct node_volume *nv, bool staging_too);
struct claim *claim_by_target(struct cleat_engine *e, const char *target, struct node_volume **nv_out);
/* verbs: run in a lane, without the lock */
enum cleat_code verb_create(struct op *op, struct cleat_error *err);
enum cleat_code verb_adopt(struct op *op, struct cleat_error *err);
enum cleat_code verb_delete(struct op *op, struct cleat_error *err); /* volumes and snapshots */
enum cleat_code verb_expand(struct op *op, struct cleat_error *err);
enum cleat_code verb_modify(struct op *op, struct cleat_error *err);
enum cleat_code verb_snapshot(struct op *op, struct cleat_error *err);
enum cleat_code verb_group_snapshot(struct op *op, struct cleat_error *err);
enum cleat_code verb_attach(struct op *op, struct cleat_error *err);
enum cleat_code verb_detach(struct op *op, struct cleat_error *err);
enum cleat_code verb_stage(struct op *op, struct cleat_error *err);
enum cleat_code verb_unstage(struct op *op, struct cleat_error *err);
enum cleat_code verb_publish(struct op *op, struct cleat_error *err);
enum cleat_code verb_unpublish(struct op *op, struct cleat_error *err);
enum cleat_code verb_release(struct op *op, struct cleat_error *err);
enum cleat_code verb_usage(struct op *op, struct cleat_error *err);
enum cleat_code verb_health(struct op *op, struct cleat_error *err);
enum cleat_code verb_doctor(struct op *op, struct cleat_error *err);
enum cleat_code verb_reconcile(struct op *op, struct cleat_error *err);
enum cleat_code op_add_result(struct op *op, struct pool *p, const char *key, struct cleat_error *err);
/* stage.c */
/* Where the op's volume is on this node, for a backend: texts are copied into the buffers. */
struct where_text {
	char stage[CLEAT_TARGET_MAX_BYTES];
	char device[64];
};
struct cleat_where stage_where(struct cleat_engine *e, const char *id, struct where_text *text);
enum cleat_code stage_ensure(struct op *op, const struct cleat_kvs *super_options, struct cleat_error *err);
/* Takes the internal mount away when nothing refers to it any more; busy is an error. */
enum cleat_code stage_drop_if_unused(struct op *op, struct cleat_error *err);
/* Whether the internal mount is really there (one statx). */
bool stage_is_mounted(struct cleat_engine *e, const char *id);
struct mount_flags {
	unsigned flags; /* enum cleat_mount_flags */
	struct cleat_kvs super; /* options of the super block */
};
/* Sorted "key=value" text of the options, to be freed; NULL without memory. */
char *mount_options_text(const struct cleat_kvs *options);
/* Replaces the stored and the indexed record. */
enum cleat_code store_record(struct op *op, struct cleat_record *rec, struct cleat_error *err);
enum cleat_code split_mount_options(const struct cleat_kvs *options, bool read_only, struct mount_flags *out,
				    struct cleat_error *err);
/* publish.c */
/* Whether what is mounted at path is the volume; false with CLEAT_OK as well when nothing is. */
enum cleat_code claim_is_mounted(struct cleat_engine *e, const char *id, const char *path, bool *mounted_out, bool *ours_out,
				 struct cleat_error *err);
/* Takes a claim away with its mount and the target that was made for it.  Busy is an error, unless force. */
enum cleat_code claim_release(struct op *op, const char *target, bool force, bool *found_out, struct cleat_error *err);
/* Releases what is stale among the claims of the operation's volume. */
enum cleat_code claims_release_stale(struct op *op, struct cleat_error *err);
/* FAILED_PRECONDITION that names the holder, when anything but staging by nobody holds the volume. */
enum cleat_code claims_check_unused(struct op *op, struct cleat_error *err);
/* target.c */
struct target {
	char path[CLEAT_TARGET_MAX_BYTES]; /* canonical */
	int parent_fd;
	char name[256];
};
enum cleat_code target_check(struct cleat_engine *e, const struct cleat_request *req, struct target *out,
			     struct cleat_error *err);
enum cleat_code target_canonical(const char *path, char out[CLEAT_TARGET_MAX_BYTES], struct cleat_error *err);
/* Removes what is at a canonical absolute path (flags as for unlinkat(2)); gone is OK. */
enum cleat_code path_remove(const char *path, int flags, struct cleat_error *err);
/* recover.c */
enum cleat_code recover_facts(struct cleat_engine *e, struct cleat_error *err);
enum cleat_code recover_pool_mounts(struct op *op, struct pool *p, struct cleat_error *err);
void reconcile_start(struct cleat_engine *e); /* timer, without the lock */
bool witness_gone(const struct claim *c);
void report_line(struct cleat_engine *e, const char *fmt, ...) CLEAT_PRINTF(2, 3);
/* facts.c */
enum cleat_code facts_open(const char *path, const char *stamp, struct facts **out, bool *fresh_out, uint64_t *start_out,
			   struct cleat_error *err);
void facts_close(struct facts *f);
enum cleat_code facts_put_stage(struct facts *f, const struct node_volume *nv, struct cleat_error *err);
enum cleat_code facts_drop_stage(struct facts *f, const char *id, struct cleat_error *err);
enum cleat_code facts_put_claim(struct facts *f, const char *id, const struct claim *c, struct cleat_error *err);
enum cleat_code facts_drop_claim(struct facts *f, const char *id, const char *target, struct cleat_error *err);
/* Calls back with objects that the callee takes over. */
enum cleat_code facts_load(struct facts *f, void (*stage)(struct node_volume *nv, void *arg),
			   void (*claim)(const char *id, struct claim *c, void *arg), void *arg, struct cleat_error *err);
/* events.c */
struct events *events_new(void);
void events_free(struct events *ev);
/* Without engine.lock.  number and time are filled in here. */
void events_emit(struct cleat_engine *e, const struct cleat_event *event);
void emit_volume(struct cleat_engine *e, enum cleat_event_kind kind, const struct pool *p, const char *id, const char *name,
		 const char *text);
/* timer.c */
enum cleat_code timer_start(struct cleat_engine *e, struct cleat_error *err);

#endif
