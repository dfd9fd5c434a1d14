/* keys.h - tables of configuration keys: one table gives the schema that Nomad checks jobs against, the
 * decoding of what Nomad then sends, and the text for people.
 *
 * What comes is msgpack in the form that Nomad's encoder gives it: a map with all keys of the schema, absent
 * ones nil; numbers as any kind of integer, as a float, or (beyond 64 bits, or not representable in binary)
 * as text; lists as arrays; single blocks as maps.
 */
#ifndef CLEAT_DRIVER_KEYS_H
#define CLEAT_DRIVER_KEYS_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nomad/hclspec.pb-c.h"
#include "rt/pb.h"

#define DRIVER_CONFIG_MAX_BYTES (1024 * 1024) /* longest configuration that is looked at */
#define DRIVER_CONFIG_MAX_DEPTH 16

enum driver_key_type {
	DRIVER_KEY_TEXT,   /* char *, NULL when absent */
	DRIVER_KEY_BOOL,   /* bool */
	DRIVER_KEY_NUMBER, /* int64_t, whole; within min..max */
	DRIVER_KEY_LIST,   /* char **, NULL-terminated; NULL when absent */
	DRIVER_KEY_MAP,	   /* struct cleat_kvs */
	DRIVER_KEY_BLOCK,  /* a struct, described by `nested`; untouched when absent */
	DRIVER_KEY_BLOCKS, /* struct driver_blocks, each item described by `nested` */
};

struct driver_blocks {
	void *items; /* array of structs, owned */
	size_t count;
};

/* A table ends with a NULL name. */
struct driver_key {
	const char *name;
	enum driver_key_type type;
	bool required;
	const char *fallback; /* as HCL text ("\"ext4\"", "true", "5"); NULL: none */
	size_t offset;	      /* of the field in the struct */
	int64_t min, max;     /* of a number; both 0: any; of blocks: max is the most that are taken */
	const struct driver_key *nested;
	size_t nested_bytes; /* size of the nested struct */
	const char *text;    /* for people: one sentence */
};

/* The schema of a table, in the arena; NULL without memory. */
Hcl__Spec *driver_keys_schema(const struct driver_key *keys, struct cleat_pb_arena *arena);

/* Fills the struct at `out`, which must be zeroed.  INVALID_ARGUMENT names the key ("config: volume 2: size:
 * ...") and shows the value; keys that the table does not have are refused, so that a schema of another
 * version is noticed.  n 0 is a map without keys.  Required keys are checked here too.  On failure nothing
 * has to be freed. */
enum cleat_code driver_keys_decode(const struct driver_key *keys, const uint8_t *bytes, size_t n, void *out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* Frees what the fields own; the struct may be zeroed. */
void driver_keys_done(const struct driver_key *keys, void *in);

/* What a key takes, for people. */
const char *driver_key_type_text(enum driver_key_type type);
/* The table for people, to standard output; `before` stands in front of each name. */
void driver_keys_print(const struct driver_key *keys, const char *before);

/* The n bytes are one msgpack value, with nothing after it, that stays within the limits above, and in which
 * every text is UTF-8 without control characters but tab and line break.  Only then may it be unpacked:
 * msgpack-c believes the counts it reads.  */
enum cleat_code driver_msgpack_check(const uint8_t *bytes, size_t n,
				     struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
