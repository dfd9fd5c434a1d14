/* pb_arena.c - memory for unpacked messages: the budgeted arena and the budgeted heap of pb.h. */
#include "rt/pb.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 4096
#define ALIGNMENT 16

struct cleat_pb_block {
	struct cleat_pb_block *older;
	_Alignas(ALIGNMENT) unsigned char data[];
};

static void *arena_alloc(void *arena, size_t n)
{
	return cleat_pb_arena_get(arena, n);
}

static void arena_free(void *arena, void *p)
{
	(void)arena;
	(void)p; /* goes with the arena */
}

void cleat_pb_arena_init(struct cleat_pb_arena *a, size_t limit_bytes)
{
	a->allocator = (ProtobufCAllocator){ arena_alloc, arena_free, a };
	a->blocks = NULL;
	a->next = a->first;
	a->end = a->first + sizeof(a->first);
	a->used_bytes = 0;
	a->limit_bytes = limit_bytes;
	a->exhausted = false;
}

void cleat_pb_arena_reset(struct cleat_pb_arena *a)
{
	for (struct cleat_pb_block *b = a->blocks, *older; b; b = older) {
		older = b->older;
		free(b);
	}
	cleat_pb_arena_init(a, a->limit_bytes);
}

static struct cleat_pb_block *add_block(struct cleat_pb_arena *a, size_t n)
{
	struct cleat_pb_block *b = malloc(sizeof(*b) + n);

	if (!b)
		return NULL;
	b->older = a->blocks;
	a->blocks = b;
	return b;
}

/* A piece too large for a common block gets its own; the current block goes on being filled. */
static void *get_large(struct cleat_pb_arena *a, size_t n)
{
	struct cleat_pb_block *b = add_block(a, n);

	return b ? b->data : NULL;
}

static void *get_small(struct cleat_pb_arena *a, size_t n)
{
	if ((size_t)(a->end - a->next) < n) {
		struct cleat_pb_block *b = add_block(a, BLOCK_BYTES);
		if (!b)
			return NULL;
		a->next = b->data;
		a->end = b->data + BLOCK_BYTES;
	}
	void *p = a->next;
	a->next += n;
	return p;
}

void *cleat_pb_arena_get(struct cleat_pb_arena *a, size_t n)
{
	void *p = NULL;

	if (n <= a->limit_bytes && a->used_bytes <= a->limit_bytes - n) {
		n = n ? (n + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1) : ALIGNMENT;
		p = n > BLOCK_BYTES ? get_large(a, n) : get_small(a, n);
	}
	if (p)
		a->used_bytes += n;
	else
		a->exhausted = true;
	return p;
}

static enum cleat_code unpack_failed(bool exhausted, struct cleat_error *err)
{
	if (exhausted)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "the message needs too much memory");
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "not a valid protobuf message of its type");
}

enum cleat_code cleat_pb_parse(const ProtobufCMessageDescriptor *d, struct cleat_pb_arena *a,
			       const uint8_t *p, size_t n, ProtobufCMessage **message_out,
			       struct cleat_error *err)
{
	enum cleat_code code = cleat_pb_check(d, p, n, CLEAT_PB_MAX_DEPTH, err);

	if (code != CLEAT_OK)
		return code;
	ProtobufCMessage *m = protobuf_c_message_unpack(d, &a->allocator, n, p);
	if (!m)
		return unpack_failed(a->exhausted, err);
	*message_out = m;
	return CLEAT_OK;
}

/* Ordinary memory, drawn until the budget is used up.  What protobuf-c frees on the way is not counted back:
 * a message that needs it stays within the same order of size. */
struct budget {
	size_t left;
	bool exhausted;
};

static void *budget_alloc(void *arg, size_t n)
{
	struct budget *b = arg;
	void *p = n <= b->left ? malloc(n ? n : 1) : NULL;

	if (p)
		b->left -= n;
	else
		b->exhausted = true;
	return p;
}

static void budget_free(void *arg, void *p)
{
	(void)arg;
	free(p);
}

enum cleat_code cleat_pb_unpack(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n,
				size_t limit_bytes, ProtobufCMessage **message_out, struct cleat_error *err)
{
	enum cleat_code code = cleat_pb_check(d, p, n, CLEAT_PB_MAX_DEPTH, err);
	struct budget budget = { limit_bytes, false };
	ProtobufCAllocator allocator = { budget_alloc, budget_free, &budget };

	if (code != CLEAT_OK)
		return code;
	ProtobufCMessage *m = protobuf_c_message_unpack(d, &allocator, n, p);
	if (!m)
		return unpack_failed(budget.exhausted, err);
	*message_out = m;
	return CLEAT_OK;
}

void cleat_pb_free(ProtobufCMessage *message)
{
	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
}
