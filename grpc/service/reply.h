/* reply.h - bounds of an answer while it is put together and on the wire. */
#ifndef CLEAT_SERVICE_REPLY_H
#define CLEAT_SERVICE_REPLY_H

#include "rt/call.h"
#include "rt/pb.h"

/* Most memory of one answer while it is put together, and most bytes of it on the wire: clients accept 4 MiB
 * unless told otherwise. */
#define CLEAT_REPLY_ARENA_BYTES (64u << 20)
#define CLEAT_REPLY_MAX_BYTES (3u << 20)

/* An arena for one answer. */
#define cleat_autoarena __attribute__((cleanup(cleat_pb_arena_reset)))

/* The answer could not be put together. */
static inline void cleat_reply_no_memory(struct cleat_rpc_call *call)
{
	cleat_rpc_call_fail(call, CLEAT_RESOURCE_EXHAUSTED, "no memory for the answer");
}

/* Answers when the message is complete. */
static inline void cleat_reply_if(struct cleat_rpc_call *call, bool complete, const ProtobufCMessage *out)
{
	if (complete)
		cleat_rpc_call_reply(call, out);
	else
		cleat_reply_no_memory(call);
}

/* How many entries to ask for instead, when `count` of them took `bytes`: 0 when they are few enough. */
static inline size_t cleat_reply_smaller_page(size_t count, size_t bytes)
{
	size_t fewer;

	if (bytes <= CLEAT_REPLY_MAX_BYTES || count <= 1)
		return 0;
	fewer = (size_t)((uint64_t)count * CLEAT_REPLY_MAX_BYTES / bytes);
	return fewer ? fewer : 1;
}

#endif
