/* volume.h - the engine: pools, volumes, snapshots, claims, and every operation on them.
 *
 * Reading functions (list, get, claims, events) answer from memory and never touch storage.  Changing calls are requests that the
 * engine carries out in the lane of the pool: cleat_engine_submit() returns at once and calls back, cleat_engine_call() waits.  A request that
 * equals a running one joins it; another request for the same volume waits, up to its deadline and at most ten seconds, and then gets ABORTED
 * with what runs and since when.  Giving up waiting neither stops nor undoes an operation.
 */
#ifndef CLEAT_VOLUME_H
#define CLEAT_VOLUME_H

#include <cleat/backend.h>
#include <cleat/error.h>
#include <cleat/record.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLEAT_TARGET_MAX_BYTES 4096
#define CLEAT_PAGE_MAX 1000 /* most entries of one page; also the default when 0 is asked for */
#define CLEAT_GROUP_MAX 32 /* volumes of one group snapshot */

struct cleat_engine;

/* ---- opening ------------------------------------------------------------------------------------------------------------- */

struct cleat_pool_config {
	char *name; /* 1..31 of [a-z0-9-], unique */
	char *backend;
	struct cleat_kvs config; /* pool parameters of the backend */
	bool cross_scope; /* volumes of this pool may be used from any scope */
	unsigned lane_threads; /* most operations at once; 0: eight */
	/* From where the pool can be reached, as pairs that front doors tell schedulers, e.g. "zone" = "a"; see cleat_pool_check_topology().  A key
	 * that several pools have must have one value in all of them: a node is in one place. */
	struct cleat_kvs topology;
	/* Test layers around the backend, e.g. "fault"; NULL in production.  Their settings are read from the environment variable CLEAT_FAULT. */
	char *layer;
};

struct cleat_engine_config {
	size_t size; /* sizeof(struct cleat_engine_config): lets later releases add fields */
	const char *state_dir; /* absolute; created 0700 */
	const char *runtime_dir; /* absolute; created 0755; on tmpfs on real nodes */
	const char *node; /* this node's id, 1..128 bytes; NULL: the host's name */
	const struct cleat_pool_config *pools;
	size_t pool_count;
	const char *const *target_prefixes; /* NULL-terminated absolute paths below which targets may lie; NULL: the built-in rule */
	bool any_namespace; /* serve although the mount namespace is not that of process 1 */
	int64_t wait_ms; /* longest wait for another operation; 0: 10 000 */
	/* Called with one line for everything that start-up found, finished or undid; may be NULL.  Called from several threads, also at once,
	 * and for as long as the engine lives: a pool may come later. */
	void (*report)(const char *line, void *arg);
	void *report_arg;
	const char *default_pool; /* the one that is meant where none is named; NULL: the one called "default", else the only one */
};

/* Opens state and runtime directories (a second engine on the same state directory is FAILED_PRECONDITION), the pools (one that cannot be
 * opened is offline, not an error, unless its configuration is wrong), and recovers what was cut off.  Blocks for seconds at most: pools
 * that hang are left to their lanes. */
enum cleat_code cleat_engine_open(const struct cleat_engine_config *config, struct cleat_engine **out, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Checks a configuration as cleat_engine_open() would, touching nothing. */
enum cleat_code cleat_engine_check(const struct cleat_engine_config *config, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Adds new pools and changes what may change in old ones; refuses (changing nothing) what would need a restart, naming it. */
enum cleat_code cleat_engine_reload(struct cleat_engine *e, const struct cleat_engine_config *config, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Refuses new requests, waits up to grace_ms for running ones, and frees the engine.  Published volumes stay as they are.  False: some thread
 * is stuck in the kernel; the engine is left alone and the process should exit. */
bool cleat_engine_close(struct cleat_engine *e, int64_t grace_ms);
/* Node id and epoch of this run; borrowed for the engine's life. */
const char *cleat_engine_node(const struct cleat_engine *e);
const char *cleat_engine_epoch(const struct cleat_engine *e);
const char *cleat_version(void);

/* ---- requests ---------------------------------------------------------------------------------------------------------------- */

enum cleat_verb {
	CLEAT_VERB_CREATE = 1, /* pool, name, scope, capacity, access_type, params, labels, source -> volume */
	CLEAT_VERB_ADOPT, /* pool, name, scope, what, params, labels -> volume */
	CLEAT_VERB_DELETE, /* volume */
	CLEAT_VERB_EXPAND, /* volume, capacity -> volume, grows_at_next_stage */
	CLEAT_VERB_MODIFY, /* volume, params (changeable ones), labels (value "" removes), allow_scopes via label-free params -> volume */
	CLEAT_VERB_SNAPSHOT, /* volume, name, labels -> snapshot */
	CLEAT_VERB_GROUP_SNAPSHOT, /* volumes, name (of the group), labels -> snapshots */
	CLEAT_VERB_DELETE_SNAPSHOT, /* volume (id of a snapshot, or pool/name) */
	CLEAT_VERB_ATTACH, /* volume, node, mode, read_only, node_limit */
	CLEAT_VERB_DETACH, /* volume, node ("" = all) */
	CLEAT_VERB_STAGE, /* volume, target (staging path, "" = internal mount only), mount_options, mode, read_only */
	CLEAT_VERB_UNSTAGE, /* volume, target */
	CLEAT_VERB_PUBLISH, /* volume, target ("" = chosen), mode, read_only, mount_options, owner, witness -> target */
	CLEAT_VERB_UNPUBLISH, /* volume, target ("" = the chosen one); owner: if given, must match nothing: it never decides */
	CLEAT_VERB_RELEASE, /* an operator releases a claim: volume, target, force */
	CLEAT_VERB_USAGE, /* volume, target ("", or where a block volume's device must be: NOT_FOUND) -> usage */
	CLEAT_VERB_HEALTH, /* volume -> healthy, health_text, health_reason, health_code */
	CLEAT_VERB_POOL_SPACE, /* pool -> space */
	CLEAT_VERB_DOCTOR, /* fix -> findings */
	CLEAT_VERB_COUNT
};

/* A claim may name a process or a cgroup: when that is gone, the claim is stale. */
struct cleat_witness {
	int64_t pid; /* 0: none */
	uint64_t start_ticks; /* field 22 of /proc/<pid>/stat; 0: read now */
	const char *cgroup; /* absolute path below /sys/fs/cgroup; NULL: none */
};

/* One request; fields a verb does not list are ignored.  Texts may be NULL for "". */
struct cleat_request {
	size_t size; /* sizeof(struct cleat_request) */
	enum cleat_verb verb;
	const char *pool; /* configured name; "" = the default pool */
	const char *volume; /* id "<stored pool>.<key>" or "<pool>/<name>" */
	const char *const *volumes; /* group snapshot */
	size_t volume_count;
	const char *name;
	const char *scope;
	const char *what; /* adopt */
	uint64_t capacity_bytes; /* least wanted; 0: the backend's default */
	uint64_t limit_bytes; /* most wanted; 0: no limit */
	enum cleat_access_type access_type; /* 0 = mount */
	const struct cleat_kvs *params;
	const struct cleat_kvs *labels;
	const struct cleat_kvs *mount_options;
	const char *source; /* id or pool/name of a volume or snapshot to clone */
	const char *node; /* "" = this node */
	unsigned node_limit; /* attach: RESOURCE_EXHAUSTED when that many volumes of this node's pools are attached to `node` already; 0: none */
	const char *target;
	enum cleat_access_mode mode; /* 0 = single node writer, or reader only with read_only */
	bool read_only;
	const char *owner; /* for people: "alloc 3f2a task db" */
	struct cleat_witness witness;
	bool force; /* release: also a busy mount, by order of an operator */
	bool fix; /* doctor */
	bool hard_size; /* create: refuse when the pool cannot enforce the size */
	int64_t deadline_ms; /* of the monotonic clock (cleat_time_mono_ms); 0: none */
	unsigned caller_uid; /* which target rule applies: 0 may use any directory outside the system's own */
	bool caller_trusted; /* skip the target rule for callers in this process */
};

struct cleat_finding {
	char *subject; /* "volume default-1a2b3c4d.xyz", "loop device /dev/loop3" */
	char *problem;
	char *remedy; /* what --fix did or would do; "" when only a person can */
	bool fixable, fixed;
};

struct cleat_volume_state {
	struct cleat_record *record; /* one reference, owned by whoever holds the struct */
	char id[CLEAT_ID_MAX_BYTES + 1];
	char pool[CLEAT_POOL_NAME_MAX_BYTES + 1]; /* configured name */
	unsigned claim_count;
	bool staged;
	int64_t stuck_since_ms; /* wall clock; 0: not stuck */
	char problem[160]; /* "" when none: broken or newer record, image missing */
};

/* Result of a request; free with cleat_engine_result_done().  Valid only when the code is CLEAT_OK. */
struct cleat_result {
	struct cleat_volume_state *volumes; /* the volume, snapshot or snapshots the verb gives */
	size_t volume_count;
	char *target; /* publish */
	bool grows_at_next_stage;
	bool already; /* nothing had to be done */
	struct cleat_usage usage;
	struct cleat_pool_space space;
	bool healthy;
	char *health_text;
	const char *health_reason; /* one word in CamelCase, static; "" when healthy */
	enum cleat_code health_code; /* DATA_LOSS: damage; UNAVAILABLE: out of reach; FAILED_PRECONDITION: can be read only */
	struct cleat_finding *findings;
	size_t finding_count;
};
void cleat_engine_result_done(struct cleat_result *r);

/* Called once, from an engine thread, or from within cleat_engine_submit() when the request is refused at once.  result is borrowed for the call
 * (NULL unless err->code is CLEAT_OK). */
typedef void (*cleat_done_fn)(const struct cleat_error *err, const struct cleat_result *result, void *arg);

/* Takes a copy of the request, so that everything in it may go when this returns.  Never blocks. */
void cleat_engine_submit(struct cleat_engine *e, const struct cleat_request *req, cleat_done_fn done, void *arg);
/* Submits and waits.  Returns the code; on success *result_out belongs to the caller. */
enum cleat_code cleat_engine_call(struct cleat_engine *e, const struct cleat_request *req, struct cleat_result *result_out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- reading: from memory, never blocking on storage --------------------------------------------------------------------------- */

struct cleat_pool_state {
	char name[CLEAT_POOL_NAME_MAX_BYTES + 1]; /* configured */
	char stored_name[CLEAT_POOL_NAME_MAX_BYTES + 1]; /* "" while never opened */
	char uuid[37];
	char backend[32];
	char fs[16]; /* file system of volumes that name none; "" where they are directories */
	bool shared, online, opening, read_only, is_default; /* opening: not yet known whether it is there */
	char reason[CLEAT_ERROR_TEXT_BYTES]; /* why offline or read-only */
	unsigned capabilities; /* enum cleat_capability */
	struct cleat_pool_space space; /* as last looked at */
	int64_t space_age_ms; /* -1: never */
	size_t volume_count, snapshot_count, broken_count;
	unsigned running_count, stuck_count; /* operations */
};
/* Fills at most `room` entries, returns how many pools there are. */
size_t cleat_pool_list(struct cleat_engine *e, struct cleat_pool_state *out, size_t room);
enum cleat_code cleat_pool_get(struct cleat_engine *e, const char *name, struct cleat_pool_state *out, struct cleat_error *err)
	CLEAT_MUST_CHECK;

/* What the pool's configuration says of its topology; name NULL: what those of all pools say.  out must be empty; free with
 * cleat_pool_topology_done(). */
enum cleat_code cleat_pool_topology(struct cleat_engine *e, const char *name, struct cleat_kvs *out, struct cleat_error *err)
	CLEAT_MUST_CHECK;
void cleat_pool_topology_done(struct cleat_kvs *topology);
/* Whether the pairs may be a pool's topology: at most CLEAT_TOPOLOGY_MAX; keys 1..63 bytes of [A-Za-z0-9._-] with a letter or digit at either
 * end, which may follow a domain name of at most 63 bytes and '/'; values like keys without that. */
#define CLEAT_TOPOLOGY_MAX 8
enum cleat_code cleat_pool_check_topology(const struct cleat_kvs *topology, struct cleat_error *err) CLEAT_MUST_CHECK;

struct cleat_list_query {
	enum cleat_kind kind;
	const char *pool; /* NULL or "": all */
	const char *scope; /* NULL: all scopes */
	const char *name; /* NULL: all */
	const char *source; /* snapshots of this volume (id or pool/name); NULL: all */
	const char *token; /* of the page before; NULL or "": the first */
	size_t page; /* 0: CLEAT_PAGE_MAX */
};
struct cleat_volume_list {
	struct cleat_volume_state *items;
	size_t count;
	char next_token[128]; /* "" at the end */
};
/* Ordered by id.  A token stays good whatever is created or deleted meanwhile; one that was never given out is ABORTED (CSI ListVolumes). */
enum cleat_code cleat_volume_list(struct cleat_engine *e, const struct cleat_list_query *query, struct cleat_volume_list *out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_volume_list_done(struct cleat_volume_list *list);
/* By id or pool/name.  kind 0: a volume, else a snapshot. */
enum cleat_code cleat_volume_get(struct cleat_engine *e, const char *volume, const char *scope, enum cleat_kind kind,
				 struct cleat_volume_state *out, struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_volume_state_done(struct cleat_volume_state *v);
/* Whether Stage and Publish would take these mount options for a volume whose file system is `fs`, "" for a directory: INVALID_ARGUMENT or
 * PERMISSION_DENIED that names the option. */
enum cleat_code cleat_volume_check_mount_options(const char *fs, const struct cleat_kvs *options, struct cleat_error *err) CLEAT_MUST_CHECK;

enum cleat_claim_state {
	CLEAT_CLAIM_ACTIVE = 1,
	CLEAT_CLAIM_STALE = 2, /* target no longer mounted, or witness gone */
};
struct cleat_claim {
	char volume[CLEAT_ID_MAX_BYTES + 1];
	char *target;
	char *owner;
	char *witness; /* "pid 123", "cgroup /...", "" */
	enum cleat_access_mode mode;
	bool read_only;
	bool staging; /* a staging path rather than a consumer's target */
	enum cleat_claim_state state;
	int64_t since_ms; /* wall clock */
};
struct cleat_claim_list {
	struct cleat_claim *items;
	size_t count;
	char next_token[CLEAT_TARGET_MAX_BYTES + CLEAT_ID_MAX_BYTES + 16];
};
/* Ordered by (volume, target).  volume NULL or "": all. */
enum cleat_code cleat_claim_list(struct cleat_engine *e, const char *volume, const char *token, size_t page,
				 struct cleat_claim_list *out, struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_claim_list_done(struct cleat_claim_list *list);

struct cleat_operation {
	uint64_t number;
	enum cleat_verb verb;
	char subject[CLEAT_ID_MAX_BYTES + CLEAT_NAME_MAX_BYTES + 2]; /* id, or pool/name while there is none */
	char step[64];
	uint64_t done, total; /* progress of the step; total 0: unknown */
	int64_t since_ms; /* wall clock */
	bool waiting, stuck;
};
/* Fills at most `room`, returns how many there are. */
size_t cleat_operation_list(struct cleat_engine *e, struct cleat_operation *out, size_t room);
const char *cleat_verb_name(enum cleat_verb verb); /* "create volume" ... */

/* ---- events ------------------------------------------------------------------------------------------------------------------------ */

enum cleat_event_kind {
	CLEAT_EVENT_VOLUME_CREATED = 1,
	CLEAT_EVENT_VOLUME_DELETED,
	CLEAT_EVENT_VOLUME_CHANGED, /* expanded, modified */
	CLEAT_EVENT_SNAPSHOT_CREATED,
	CLEAT_EVENT_SNAPSHOT_DELETED,
	CLEAT_EVENT_STAGED,
	CLEAT_EVENT_UNSTAGED,
	CLEAT_EVENT_PUBLISHED,
	CLEAT_EVENT_UNPUBLISHED,
	CLEAT_EVENT_CLAIM_STALE,
	CLEAT_EVENT_POOL_ONLINE,
	CLEAT_EVENT_POOL_OFFLINE,
	CLEAT_EVENT_POOL_LOW, /* watermark */
	CLEAT_EVENT_OPERATION, /* started, next step, progress, ended */
	CLEAT_EVENT_STUCK,
	CLEAT_EVENT_ATTACHED,
	CLEAT_EVENT_DETACHED,
};
struct cleat_event {
	uint64_t number; /* rises by one within an epoch, from 1 */
	enum cleat_event_kind kind;
	int64_t time_ms; /* wall clock */
	const char *pool, *volume, *name, *text; /* "" where it does not apply; text: target, step, reason */
	uint64_t operation; /* number, for OPERATION and STUCK */
	uint64_t done, total;
	bool ended; /* OPERATION: the last one */
	enum cleat_code code; /* OPERATION ended: how */
};
/* Called in order, from engine threads, with no engine lock that a reading function needs; must not block.  Event borrowed for the call. */
typedef void (*cleat_event_fn)(const struct cleat_event *event, void *arg);
struct cleat_events_sub;
/* Delivers events after number `after` (0: from now on; the last 4096 are kept).  epoch NULL or "" with after 0; an unknown epoch, or events no
 * longer kept, are OUT_OF_RANGE: list again.  Kept events are delivered from within this call. */
enum cleat_code cleat_events_subscribe(struct cleat_engine *e, const char *epoch, uint64_t after, cleat_event_fn fn, void *arg,
				       struct cleat_events_sub **out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* After this returns fn is not running and will not be called again.  NULL is fine.  Not from within fn. */
void cleat_events_unsubscribe(struct cleat_events_sub *sub);
uint64_t cleat_events_last(struct cleat_engine *e);

#ifdef __cplusplus
}
#endif
#endif
