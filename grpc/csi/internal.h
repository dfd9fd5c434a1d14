/* internal.h - what the files of csi/ share. */
#ifndef CLEAT_CSI_INTERNAL_H
#define CLEAT_CSI_INTERNAL_H

#include "csi/csi.h"
#include "csi/v1/csi.pb-c.h"
#include "service/convert.h"
#include "service/gate.h"
#include "service/pending.h"
#include "service/reply.h"
#include "util/kv.h"
#include "util/mem.h"

#include <string.h>

#define CSI_TEXT_MAX_BYTES 128 /* csi.md, "Size Limits": of a text for which nothing else is said */
#define CSI_NODE_MAX_BYTES 128
#define CSI_FLAGS_MAX_BYTES 4096 /* of all mount flags together */

struct cleat_csi {
	Csi__V1__Identity_Service identity;
	Csi__V1__Controller_Service controller;
	Csi__V1__GroupController_Service group;
	Csi__V1__Node_Service node;
	struct cleat_engine *engine; /* borrowed */
	struct cleat_gate *gate;
	struct csi_whereabouts *whereabouts;
	char driver_name[64];
	unsigned max_volumes;
	bool attach, stage, local_multi_node, node_expand;
};

static inline struct cleat_csi *csi_of_identity(Csi__V1__Identity_Service *base)
{
	return CLEAT_CONTAINER(base, struct cleat_csi, identity);
}

static inline struct cleat_csi *csi_of_controller(Csi__V1__Controller_Service *base)
{
	return CLEAT_CONTAINER(base, struct cleat_csi, controller);
}

static inline struct cleat_csi *csi_of_group(Csi__V1__GroupController_Service *base)
{
	return CLEAT_CONTAINER(base, struct cleat_csi, group);
}

static inline struct cleat_csi *csi_of_node(Csi__V1__Node_Service *base)
{
	return CLEAT_CONTAINER(base, struct cleat_csi, node);
}

/* The handlers, by file. */
void csi_set_identity(Csi__V1__Identity_Service *base);		   /* identity.c */
void csi_set_controller(Csi__V1__Controller_Service *base);	   /* controller.c */
void csi_set_lists(Csi__V1__Controller_Service *base);		   /* lists.c */
void csi_set_snapshots(Csi__V1__Controller_Service *base);	   /* snapshots.c */
void csi_set_validate(Csi__V1__Controller_Service *base);	   /* validate.c */
void csi_set_group(Csi__V1__GroupController_Service *base);	   /* group.c */
void csi_set_node(Csi__V1__Node_Service *base);			   /* node.c */
void csi_set_node_look(Csi__V1__Node_Service *base);		   /* node_look.c */
void csi_set_controller_health(Csi__V1__Controller_Service *base); /* health.c */
void csi_set_node_health(Csi__V1__Node_Service *base);		   /* health.c */

/* ---- fields ---- */

/* True when a required text is empty: the call has then been answered.  Every required field is looked at
 * before anything else, as csi-sanity wants it. */
bool csi_lacks(struct cleat_rpc_call *call, const char *text, const char *field);
/* True when max_entries is negative: the call has then been answered. */
bool csi_negative(struct cleat_rpc_call *call, int32_t max_entries);
/* Required and limit as the engine takes them; range may be NULL. */
enum cleat_code csi_take_range(const Csi__V1__CapacityRange *range, uint64_t *bytes_out, uint64_t *limit_out,
			       struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- names.c: what COs call things, and what the engine takes for a name ---- */

struct csi_name {
	char text[CLEAT_NAME_MAX_BYTES + 1]; /* for the engine */
	bool same;			     /* as the CO said it */
};
/* CSI names may hold '/', tabs and more that the engine refuses: such bytes become %XX, and what gets too
 * long by that (over max_bytes) a hash.  INVALID_ARGUMENT: empty, too long, or characters that CSI forbids.
 */
enum cleat_code csi_name_take(const char *name, const char *what, size_t max_bytes, struct csi_name *out,
			      struct cleat_error *err) CLEAT_MUST_CHECK;
/* The label that remembers what the CO said, where that is not the name itself. */
#define CSI_NAME_LABEL "csi.name"

/* ---- ids.c: which volume is meant ---- */

/* What a call says about the place of the volume that it names. */
struct csi_hint {
	const char *context; /* `node` of its volume_context, which is ours: true; NULL: none came along */
	const char *node_id; /* where the CO wants it, or has it: likely; NULL: not said */
};
#define CSI_NO_HINT ((struct csi_hint){ 0 })
/* Finds a volume or snapshot by its id, and by nothing else: what looks like no id of ours is NOT_FOUND; one
 * that lies in a pool of another node is FAILED_PRECONDITION, with that node's name as well as it is known;
 * UNAVAILABLE while its pool has never been opened.  On OK free with cleat_volume_state_done(). */
enum cleat_code csi_find(struct cleat_csi *c, const char *id, enum cleat_kind kind, struct csi_hint hint,
			 struct cleat_volume_state *out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The same; on failure the call has been answered. */
bool csi_found(struct cleat_csi *c, struct cleat_rpc_call *call, const char *id, enum cleat_kind kind,
	       struct csi_hint hint, struct cleat_volume_state *out);
/* Whether the text has the form of an id: pool and key. */
bool csi_is_id(const char *text);
/* The pool that the id names, which begins it. */
void csi_pool_of_id(const char *id, char pool_out[CLEAT_ID_MAX_BYTES + 1]);

/* To a CO a name is one volume's (or snapshot's) in all pools: ALREADY_EXISTS when another pool has it. */
enum cleat_code csi_check_other_pools(struct cleat_csi *c, enum cleat_kind kind, const char *name,
				      const char *pool, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The pool of that name, or the default one; INVALID_ARGUMENT: there is none. */
enum cleat_code csi_pool_get(struct cleat_csi *c, const char *name, struct cleat_pool_state *out,
			     struct cleat_error *err) CLEAT_MUST_CHECK;
/* For the log of a call that named no id. */
static inline void csi_note_id(struct cleat_pending *p, const struct cleat_volume_state *v)
{
	memcpy(p->note.id, v->id, sizeof(p->note.id));
}

/* ---- access.c: volume capabilities ---- */

struct csi_access {
	enum cleat_access_type type;
	enum cleat_access_mode mode;
	const char *fs;		/* "" without a wish; belongs to the message */
	struct cleat_kvs flags; /* of the mount; owned */
};
#define csi_autoaccess __attribute__((cleanup(csi_access_done)))
void csi_access_done(struct csi_access *a);
/* INVALID_ARGUMENT: missing, unknown, or beyond the limits.  out must be zeroed. */
enum cleat_code csi_access_take(const Csi__V1__VolumeCapability *cap, struct csi_access *out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* Whether the pool can do that; code is what it fails with. */
enum cleat_code csi_access_possible(const struct cleat_csi *c, const struct csi_access *a,
				    const struct cleat_pool_state *pool, enum cleat_code code,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* Whether the volume is of that sort, and would take those mount flags. */
enum cleat_code csi_access_fits(const struct csi_access *a, const struct cleat_volume_state *v,
				enum cleat_code code, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Both. */
enum cleat_code csi_access_check(struct cleat_csi *c, const struct csi_access *a,
				 const struct cleat_volume_state *v, enum cleat_code code,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Answers with an error of a call that carries mount flags: their values are taken out of the text, and a
 * text that speaks of options at all does not get into the log.  The call's data is NULL or a cleat_pending.
 */
void csi_fail_quietly(struct cleat_rpc_call *call, const struct csi_access *a, const struct cleat_error *err);

/* ---- params.c ---- */

#define CSI_KUBERNETES_PREFIX "csi.storage.k8s.io/"

struct csi_params {
	const char *pool; /* "" for the default; belongs to the message */
	bool hard_size;
	struct cleat_kvs params; /* for the engine; owned */
	struct cleat_kvs labels; /* owned */
};
#define csi_autoparams __attribute__((cleanup(csi_params_done)))
void csi_params_done(struct csi_params *p);
/* parameters of a class: `pool`, `hard_size`, what Kubernetes adds, and the pool's own keys, which the engine
 * checks.  out must be zeroed. */
enum cleat_code csi_params_take(ProtobufCMessage **entries, size_t n, struct csi_params *out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* mutable_parameters, into the same list: only keys that the backend can change later. */
enum cleat_code csi_params_take_mutable(ProtobufCMessage **entries, size_t n, const char *backend,
					struct cleat_kvs *params, struct cleat_error *err) CLEAT_MUST_CHECK;
/* parameters of snapshots: none but what Kubernetes adds. */
enum cleat_code csi_params_take_snapshot(ProtobufCMessage **entries, size_t n, struct csi_params *out,
					 struct cleat_error *err) CLEAT_MUST_CHECK;
bool csi_is_changeable(const char *backend, const char *key);
/* The value of a map's key, or NULL. */
const char *csi_map_get(ProtobufCMessage **entries, size_t n, const char *key);

/* ---- topology.c ---- */

/* RESOURCE_EXHAUSTED when volumes of the pool can be reached from none of the requisite topologies. */
enum cleat_code csi_topology_check(const struct cleat_csi *c, const Csi__V1__TopologyRequirement *want,
				   const struct cleat_pool_state *pool,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
bool csi_topology_is_here(const struct cleat_csi *c, const struct cleat_pool_state *pool,
			  const Csi__V1__Topology *t);
/* From where volumes of that pool can be reached, NULL for everywhere; and where this node is.  False without
 * memory. */
bool csi_topology_of_pool(const struct cleat_csi *c, struct cleat_pb_arena *a, const char *pool, bool shared,
			  Csi__V1__Topology **out);
bool csi_topology_of_node(const struct cleat_csi *c, struct cleat_pb_arena *a, Csi__V1__Topology **out);
/* Whether any pool's configuration says something of it. */
bool csi_topology_is_declared(const struct cleat_csi *c);

/* ---- wire.c: NULL or false without memory ---- */

/* What one answer remembers of the pool it looked at last; zeroed at first. */
struct csi_pool_memo {
	char name[CLEAT_POOL_NAME_MAX_BYTES + 1];
	bool shared;
	Csi__V1__Topology *place; /* in the answer's arena; NULL: everywhere */
};
Csi__V1__Volume *csi_wire_volume(struct cleat_csi *c, struct cleat_pb_arena *a,
				 const struct cleat_volume_state *v, struct csi_pool_memo *memo);
Csi__V1__Snapshot *csi_wire_snapshot(struct cleat_csi *c, struct cleat_pb_arena *a,
				     const struct cleat_volume_state *v, struct csi_pool_memo *memo);
bool csi_wire_nodes(struct cleat_pb_arena *a, const struct cleat_volume_state *v, size_t *n_out,
		    char ***nodes_out);
bool csi_wire_time(struct cleat_pb_arena *a, int64_t ms, Google__Protobuf__Timestamp **out);
char *csi_wire_copy(struct cleat_pb_arena *a, const char *text);

/* ---- group.c ---- */

#define CSI_GROUP_ID_BYTES (CLEAT_ID_MAX_BYTES + 1)
/* The id of the group that a snapshot is a member of: the pool's stored name and a hash of the group's. */
void csi_group_id(const char *snapshot_id, const char *group, char id_out[CSI_GROUP_ID_BYTES]);

/* ---- capabilities.c: what the pools really have ---- */

struct csi_abilities {
	bool snapshot, clone, expand, expand_online, group;
	bool placed; /* some volumes cannot be reached from everywhere */
};
struct csi_abilities csi_abilities(struct cleat_csi *c);

/* ---- whereabouts.c: which node has the pools that are not ours ---- */

struct csi_whereabouts;
struct csi_whereabouts *csi_whereabouts_new(void);
void csi_whereabouts_free(struct csi_whereabouts *w);
/* A volume context said that the pool of that stored name is on that node. */
void csi_whereabouts_learn(struct csi_whereabouts *w, const char *stored_name, const char *node);
/* False: nobody has said so far. */
bool csi_whereabouts_get(struct csi_whereabouts *w, const char *stored_name,
			 char node_out[CSI_NODE_MAX_BYTES + 1]);

#endif
