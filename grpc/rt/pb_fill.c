/* pb_fill.c - filling messages: see pb.h. */
#include "rt/pb.h"

#include "util/kv.h"

char *cleat_pb_text(const char *text)
{
	union {
		const char *from;
		char *to;
	} u = { .from = text ? text : "" };

	return u.to;
}

enum cleat_code cleat_pb_map(struct cleat_pb_arena *a, const struct cleat_kvs *kvs,
			     const ProtobufCMessageDescriptor *entry, size_t *n_out, void *entries_out,
			     struct cleat_error *err)
{
	const size_t n = kvs ? kvs->count : 0;
	ProtobufCMessage **list = cleat_pb_arena_get(a, (n + 1) * sizeof(*list));

	for (size_t i = 0; list && i < n; i++) {
		if (!(list[i] = cleat_pb_arena_get(a, entry->sizeof_message))) {
			list = NULL;
			break;
		}
		protobuf_c_message_init(entry, list[i]); /* its fields are key and value, in this order */
		*(char **)(void *)((char *)list[i] + entry->fields[0].offset) = kvs->items[i].key;
		*(char **)(void *)((char *)list[i] + entry->fields[1].offset) = kvs->items[i].value;
	}
	if (!list)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	*n_out = n;
	*(ProtobufCMessage ***)entries_out = list;
	return CLEAT_OK;
}
