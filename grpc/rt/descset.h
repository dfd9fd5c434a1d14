/* descset.h - looks things up in a serialized google.protobuf.FileDescriptorSet without unpacking it.
 *
 * The sets are embedded in the program and looked into a few times a day, so they are walked each time: no
 * index, no memory, no generated code for descriptors.
 */
#ifndef CLEAT_RT_DESCSET_H
#define CLEAT_RT_DESCSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cleat_span {
	const uint8_t *p;
	size_t n;
};

/* True when the bytes are a sequence of files that have names. */
bool cleat_descset_valid(struct cleat_span set);
/* The serialized FileDescriptorProto of a file, by the name that others import. */
bool cleat_descset_file(struct cleat_span set, const char *name, struct cleat_span *file_out);
/* The file that declares a fully qualified message, enum, enum value, service, method, field, oneof or
 * extension. */
bool cleat_descset_symbol(struct cleat_span set, const char *symbol, struct cleat_span *file_out);

#endif
