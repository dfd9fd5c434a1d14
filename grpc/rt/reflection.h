/* reflection.h - gRPC server reflection (v1 and v1alpha), so that generic clients can explore a server.
 *
 * Answers from FileDescriptorSets embedded at build time (cmake/proto.cmake, DESCRIPTOR_SET).
 */
#ifndef CLEAT_RT_REFLECTION_H
#define CLEAT_RT_REFLECTION_H

#include "rt/server.h"

struct cleat_rpc_reflection;

/* Knows health and reflection itself from the start.  Freed after the server was freed. */
enum cleat_code cleat_rpc_reflection_new(struct cleat_rpc_reflection **reflection_out,
					 struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_rpc_reflection_free(struct cleat_rpc_reflection *r);

/* Adds a set; the bytes are borrowed until the free.  INVALID_ARGUMENT: not a FileDescriptorSet;
 * RESOURCE_EXHAUSTED: more than 16 sets. */
enum cleat_code cleat_rpc_reflection_add_set(struct cleat_rpc_reflection *r, const unsigned char *bytes,
					     size_t len, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Adds the service to a role: it lists the services of the role that asks, and describes all it has sets for.
 */
enum cleat_code cleat_rpc_reflection_add(struct cleat_rpc_reflection *r, struct cleat_rpc_role *role,
					 struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
