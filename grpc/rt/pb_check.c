/* pb_check.c - the walk over wire bytes that comes before protobuf-c, and map clean-up after it. */
#include "rt/pb.h"

#include <stdlib.h>
#include <string.h>

#define MAX_VARINT_BYTES 10
#define MAX_FIELD_NUMBER 0x1fffffff

enum wire_type {
	WIRE_VARINT = 0,
	WIRE_64BIT = 1,
	WIRE_BYTES = 2,
	WIRE_32BIT = 5,
};

/* The length of the UTF-8 sequence that starts with byte c, its payload bits and the least value that needs
 * it; 0 for a byte that starts none. */
static unsigned sequence_length(uint8_t c, uint32_t *bits_out, uint32_t *least_out)
{
	if ((c & 0xe0) == 0xc0) {
		*bits_out = c & 0x1f;
		*least_out = 0x80;
		return 2;
	}
	if ((c & 0xf0) == 0xe0) {
		*bits_out = c & 0x0f;
		*least_out = 0x800;
		return 3;
	}
	if ((c & 0xf8) == 0xf0) {
		*bits_out = c & 0x07;
		*least_out = 0x10000;
		return 4;
	}
	return 0;
}

/* Bytes of the multi-byte character at s, 0 when it is none (overlong, surrogate, out of range, cut off). */
static unsigned wide_character(const uint8_t *s, size_t n)
{
	uint32_t value = 0, least = 0;
	unsigned length = sequence_length(s[0], &value, &least);

	if (length == 0 || n < length)
		return 0;
	for (unsigned i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (s[i] & 0x3f);
	}
	if (value < least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	return length;
}

static bool is_text(const uint8_t *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		if (s[i] == 0)
			return false;
		unsigned step = s[i] < 0x80 ? 1 : wide_character(s + i, n - i);
		if (step == 0)
			return false;
		i += step;
	}
	return true;
}

/* Reads a varint and returns the byte after it, NULL when it is cut off or too long. */
static const uint8_t *read_varint(const uint8_t *p, const uint8_t *end, uint64_t *value_out)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < MAX_VARINT_BYTES && p < end; i++, p++) {
		value |= (uint64_t)(*p & 0x7f) << (7 * i);
		if (!(*p & 0x80)) {
			*value_out = value;
			return p + 1;
		}
	}
	return NULL;
}

static const uint8_t *skip_bytes(const uint8_t *p, const uint8_t *end, size_t n)
{
	return (size_t)(end - p) < n ? NULL : p + n;
}

static enum cleat_code malformed(struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "not a valid protobuf message");
}

static enum cleat_code check_content(const ProtobufCMessageDescriptor *d, unsigned number, const uint8_t *p,
				     size_t n, unsigned depth_left, struct cleat_error *err)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(d, number);

	if (f && f->type == PROTOBUF_C_TYPE_STRING && !is_text(p, n))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "field '%s' is not UTF-8 text without NUL characters",
				       f->name ? f->name : "?");
	if (f && f->type == PROTOBUF_C_TYPE_MESSAGE)
		return cleat_pb_check(f->descriptor, p, n, depth_left - 1, err);
	return CLEAT_OK;
}

/* Checks the field at *p and moves *p behind it. */
static enum cleat_code check_field(const ProtobufCMessageDescriptor *d, const uint8_t **p, const uint8_t *end,
				   unsigned depth_left, struct cleat_error *err)
{
	uint64_t key = 0, value = 0;
	enum cleat_code code = CLEAT_OK;
	const uint8_t *at = read_varint(*p, end, &key);

	if (!at || key >> 3 == 0 || key >> 3 > MAX_FIELD_NUMBER)
		return malformed(err);
	switch (key & 7) {
	case WIRE_VARINT:
		at = read_varint(at, end, &value);
		break;
	case WIRE_64BIT:
		at = skip_bytes(at, end, 8);
		break;
	case WIRE_32BIT:
		at = skip_bytes(at, end, 4);
		break;
	case WIRE_BYTES:
		at = read_varint(at, end, &value);
		if (!at || value > (uint64_t)(end - at))
			return malformed(err);
		code = check_content(d, (unsigned)(key >> 3), at, (size_t)value, depth_left, err);
		at += value;
		break;
	default: /* groups: gone since proto3, and protobuf-c does not know them either */
		at = NULL;
	}
	if (!at)
		return malformed(err);
	*p = at;
	return code;
}

enum cleat_code cleat_pb_check(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n,
			       unsigned max_depth, struct cleat_error *err)
{
	const uint8_t *end = p + n;

	if (max_depth == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the message is nested too deeply");
	while (p < end) {
		enum cleat_code code = check_field(d, &p, end, max_depth, err);
		if (code != CLEAT_OK)
			return code;
	}
	return CLEAT_OK;
}

/* ---- maps ---- */

static const char *entry_key(const ProtobufCMessage *entry)
{
	const ProtobufCFieldDescriptor *key = &entry->descriptor->fields[0];
	const char *text = *(char *const *)(const void *)((const char *)entry + key->offset);

	return text ? text : "";
}

/* Merges the sorted runs a[0..na) and a[na..n) by way of `spare`; equal keys keep their order. */
static void merge(ProtobufCMessage **a, size_t na, size_t n, ProtobufCMessage **spare)
{
	size_t i = 0, k = na, out = 0;

	while (i < na && k < n)
		spare[out++] = strcmp(entry_key(a[i]), entry_key(a[k])) <= 0 ? a[i++] : a[k++];
	while (i < na)
		spare[out++] = a[i++];
	memcpy(a, spare, out * sizeof(*a));
}

static void sort_stably(ProtobufCMessage **a, size_t n, ProtobufCMessage **spare)
{
	if (n < 2)
		return;
	sort_stably(a, n / 2, spare);
	sort_stably(a + n / 2, n - n / 2, spare);
	merge(a, n / 2, n, spare);
}

enum cleat_code cleat_pb_map_last_wins(ProtobufCMessage **entries, size_t *n, struct cleat_error *err)
{
	size_t kept = 0;

	if (*n < 2)
		return CLEAT_OK;
	ProtobufCMessage **spare = calloc(*n, sizeof(ProtobufCMessage *));
	if (!spare)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for a map of %zu entries",
				       *n);
	sort_stably(entries, *n, spare);
	free(spare);
	for (size_t i = 0; i < *n; i++) {
		bool last = i + 1 == *n || strcmp(entry_key(entries[i]), entry_key(entries[i + 1])) != 0;
		if (last)
			entries[kept++] = entries[i];
	}
	*n = kept;
	return CLEAT_OK;
}
