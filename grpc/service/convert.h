/* convert.h - between the messages of cleat.v1 and the structs of libcleat.
 *
 * Towards the engine nothing is copied: what is built refers to the message, which lives as long as its call.
 * Towards the wire, messages are built in an arena and refer to the texts of the structs they are made from;
 * pack them before those go.
 */
#ifndef CLEAT_SERVICE_CONVERT_H
#define CLEAT_SERVICE_CONVERT_H

#include "cleat/v1/volumes.pb-c.h"
#include "rt/pb.h"

#include <cleat/error.h>
#include <cleat/volume.h>

/* ---- from the wire ---- */

struct cleat_wire_kvs {
	struct cleat_kvs kvs; /* sorted by key, each once; texts belong to the message */
	struct cleat_kv room[CLEAT_KV_MAX];
};
/* entries: a map<string, string> as protobuf-c hands it over; is sorted in place, the last of equal keys
 * counts.  what: for the error. INVALID_ARGUMENT: more than CLEAT_KV_MAX keys, an empty key or one over 128
 * bytes, a value over 4096 bytes. */
enum cleat_code cleat_wire_kvs(ProtobufCMessage **entries, size_t n, const char *what,
			       struct cleat_wire_kvs *out, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code cleat_wire_access_type(Cleat__V1__AccessType type, enum cleat_access_type *out,
				       struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code cleat_wire_mode(Cleat__V1__AccessMode mode, enum cleat_access_mode *out,
				struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- to the wire: NULL without memory (the arena's budget) ---- */

/* The pairs as entries of a map, whose type `entry` describes; secret parameters as "***" with hide_secrets.
 * False without memory; nothing is set for an empty list. */
bool cleat_wire_map(struct cleat_pb_arena *a, const struct cleat_kvs *kvs,
		    const ProtobufCMessageDescriptor *entry, bool hide_secrets, size_t *n_out,
		    ProtobufCMessage ***entries_out);
Cleat__V1__Volume *cleat_wire_volume(struct cleat_pb_arena *a, const struct cleat_volume_state *v);
Cleat__V1__Pool *cleat_wire_pool(struct cleat_pb_arena *a, const struct cleat_pool_state *p);
Cleat__V1__Claim *cleat_wire_claim(struct cleat_pb_arena *a, const struct cleat_claim *c);
Cleat__V1__Operation *cleat_wire_operation(struct cleat_pb_arena *a, const struct cleat_operation *o);
Cleat__V1__Finding *cleat_wire_finding(struct cleat_pb_arena *a, const struct cleat_finding *f);
Cleat__V1__Parameter *cleat_wire_parameter(struct cleat_pb_arena *a, const struct cleat_param *p);
/* Borrows everything. */
void cleat_wire_event(const struct cleat_event *from, const char *epoch, Cleat__V1__Event *out);

#endif
