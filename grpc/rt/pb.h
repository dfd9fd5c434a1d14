/* pb.h - a safety layer around protobuf-c for messages that come from a peer.
 *
 * protobuf-c 1.4 has no limit on nesting (1.5 kB of input can end a thread with a small stack) or on memory
 * (two bytes of input can become a 264-byte struct), takes any bytes for text and silently cuts strings at a
 * NUL, so that a check sees another string than the one acted on.  Here the bytes are walked against the
 * descriptor first, and unpacking draws from a budget.
 *
 * What a handler may rely on afterwards: strings are never NULL, are UTF-8 and hold no control-character NUL;
 * sub-messages that were not sent are NULL; enum fields may hold numbers the schema does not name; of a oneof
 * only the member its case names may be looked at; the entries of a map may repeat a key (the last one is
 * meant: see cleat_pb_map_last_wins()) and may lack their value.
 */
#ifndef CLEAT_RT_PB_H
#define CLEAT_RT_PB_H

#include <cleat/error.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Deepest nesting of messages accepted; a level costs protobuf-c about 1 kB of stack. */
#define CLEAT_PB_MAX_DEPTH 32

/* Memory for one message: grows in blocks, is given back all at once, never passes its budget. */
struct cleat_pb_arena {
	ProtobufCAllocator allocator;  /* what protobuf-c draws from */
	struct cleat_pb_block *blocks; /* owned; the newest first */
	unsigned char *next;	       /* free bytes of the current block: next..end */
	unsigned char *end;
	size_t used_bytes;
	size_t limit_bytes;
	bool exhausted;			       /* an allocation was refused */
	_Alignas(16) unsigned char first[768]; /* small messages need no malloc at all */
};

void cleat_pb_arena_init(struct cleat_pb_arena *a, size_t limit_bytes);
/* Frees everything that was drawn; the arena can be used again. */
void cleat_pb_arena_reset(struct cleat_pb_arena *a);
/* n bytes aligned to 16, or NULL when the budget (or memory) is used up. */
void *cleat_pb_arena_get(struct cleat_pb_arena *a, size_t n);

/* Walks n bytes on the wire against descriptor d without allocating.  INVALID_ARGUMENT: truncated, a field
 * number out of range, a wire type that proto3 does not use, text that is not UTF-8 or holds a NUL, nesting
 * deeper than max_depth. */
enum cleat_code cleat_pb_check(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n,
			       unsigned max_depth, struct cleat_error *err);

/* cleat_pb_check(), then unpacks into the arena, which then owns *message_out.  Also INVALID_ARGUMENT: a
 * field with another wire type than its own; RESOURCE_EXHAUSTED: the arena's budget does not suffice. */
enum cleat_code cleat_pb_parse(const ProtobufCMessageDescriptor *d, struct cleat_pb_arena *a,
			       const uint8_t *p, size_t n, ProtobufCMessage **message_out,
			       struct cleat_error *err);

/* The same into ordinary memory; *message_out belongs to the caller: cleat_pb_free(). */
enum cleat_code cleat_pb_unpack(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n,
				size_t limit_bytes, ProtobufCMessage **message_out, struct cleat_error *err);
/* Frees what cleat_pb_unpack() or a client call returned; NULL is fine. */
void cleat_pb_free(ProtobufCMessage *message);

static inline void cleat_cleanup_pb(void *where)
{
	cleat_pb_free(*(ProtobufCMessage **)where);
}
/* A local that owns a message of any generated type. */
#define cleat_autopb __attribute__((cleanup(cleat_cleanup_pb)))

/* ---- filling messages ---- */

struct cleat_kvs;

/* A text for a message, which wants it without const and never changes it; borrowed.  NULL becomes "". */
char *cleat_pb_text(const char *text);
/* The pairs (NULL: none) as entries of a generated map field from text to text, in the arena, with the pairs'
 * own texts; `entry` is its XEntry descriptor, entries_out the field.  RESOURCE_EXHAUSTED without memory. */
enum cleat_code cleat_pb_map(struct cleat_pb_arena *a, const struct cleat_kvs *kvs,
			     const ProtobufCMessageDescriptor *entry, size_t *n_out, void *entries_out,
			     struct cleat_error *err) CLEAT_MUST_CHECK;

/* protobuf says that of map entries with one key the last one counts; protobuf-c hands all of them over.
 * Sorts the entries (generated XEntry messages, whose first field is a string key) by key and keeps the last
 * of each; *n is the number that stays.  O(n log n), so that a hostile map costs nothing special.
 * RESOURCE_EXHAUSTED when there is no memory for n pointers. */
enum cleat_code cleat_pb_map_last_wins(ProtobufCMessage **entries, size_t *n, struct cleat_error *err);

#endif
