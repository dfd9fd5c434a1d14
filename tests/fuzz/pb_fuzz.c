/* pb_fuzz.c - arbitrary bytes as messages of several types: the wire check, the arena and the heap must
 * agree, what is accepted must survive being packed again, and running out of memory anywhere must do no
 * harm.
 *
 * The first byte chooses the type, the second the size of a budget that is likely too small. */
#include "fuzz.h"

#include "cleat/test/v1/lab.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "rt/pb.h"
#include "util/mem.h"

#include <stdlib.h>
#include <string.h>

#define BUDGET ((size_t)8 << 20)

static const ProtobufCMessageDescriptor *const types[] = {
	&cleat__test__v1__everything__descriptor,
	&google__rpc__status__descriptor,
	&grpc__health__v1__health_check_request__descriptor,
	&grpc__reflection__v1__server_reflection_request__descriptor,
	&grpc__reflection__v1__server_reflection_response__descriptor,
};

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* What was accepted is packed and accepted again, and the second packing is the same as the first. */
static void check_round_trip(const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	cleat_autofree uint8_t *first = malloc(n + 1), *second = malloc(n + 1);
	cleat_autopb ProtobufCMessage *again = NULL;

	require(first && second);
	require(protobuf_c_message_pack(m, first) == n);
	require(cleat_pb_unpack(m->descriptor, first, n, 4 * BUDGET, &again, NULL) == CLEAT_OK);
	require(protobuf_c_message_get_packed_size(again) == n);
	protobuf_c_message_pack(again, second);
	require(memcmp(first, second, n) == 0);
}

/* Each key stays once, with the value that came last. */
static void check_map(ProtobufCMessage *m)
{
	if (m->descriptor != &cleat__test__v1__everything__descriptor)
		return;
	Cleat__Test__V1__Everything *e = (Cleat__Test__V1__Everything *)m;
	size_t n = e->n_params;
	require(cleat_pb_map_last_wins((ProtobufCMessage **)e->params, &n, NULL) == CLEAT_OK);
	require((n == 0) == (e->n_params == 0) && n <= e->n_params);
	for (size_t i = 1; i < n; i++)
		require(strcmp(e->params[i - 1]->key, e->params[i]->key) < 0);
}

static void check_small_budget(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n, size_t budget)
{
	ProtobufCMessage *heap = NULL, *arena = NULL;
	struct cleat_pb_arena a;

	cleat_pb_unpack(d, p, n, budget, &heap, NULL);
	cleat_pb_free(heap);
	cleat_pb_arena_init(&a, budget);
	cleat_pb_parse(d, &a, p, n, &arena, NULL);
	require(a.used_bytes <= budget + 16);
	cleat_pb_arena_reset(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleat_autopb ProtobufCMessage *heap = NULL;
	ProtobufCMessage *m = NULL;
	struct cleat_pb_arena a;
	struct cleat_error err;

	if (n < 2)
		return 0;
	const ProtobufCMessageDescriptor *d = types[data[0] % CLEAT_COUNT(types)];
	size_t budget = (size_t)data[1] * 16;
	data += 2;
	n -= 2;
	cleat_pb_arena_init(&a, BUDGET);
	enum cleat_code code = cleat_pb_parse(d, &a, data, n, &m, &err);
	enum cleat_code heap_code = cleat_pb_unpack(d, data, n, BUDGET, &heap, &err);
	require(code == heap_code || code == CLEAT_RESOURCE_EXHAUSTED ||
		heap_code == CLEAT_RESOURCE_EXHAUSTED);
	if (code == CLEAT_OK) {
		require(cleat_pb_check(d, data, n, CLEAT_PB_MAX_DEPTH, &err) == CLEAT_OK);
		check_round_trip(m);
		check_map(m);
	}
	cleat_pb_arena_reset(&a);
	check_small_budget(d, data, n, budget);
	return 0;
}
