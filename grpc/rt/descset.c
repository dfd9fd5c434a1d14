/* descset.c - see descset.h.  Field numbers are those of google/protobuf/descriptor.proto. */
#include "rt/descset.h"

#include "util/mem.h"

#include <string.h>

enum { SET_FILE = 1 };
enum {
	FILE_NAME = 1,
	FILE_PACKAGE = 2,
	FILE_MESSAGE = 4,
	FILE_ENUM = 5,
	FILE_SERVICE = 6,
	FILE_EXTENSION = 7
};
enum { MESSAGE_FIELD = 2, MESSAGE_MESSAGE = 3, MESSAGE_ENUM = 4, MESSAGE_EXTENSION = 6, MESSAGE_ONEOF = 8 };
enum { ENUM_VALUE = 2, SERVICE_METHOD = 2 };
enum { NAME = 1 }; /* of everything that has one */

/* Nothing is nested deeper in schemas that people write. */
#define MAX_DEPTH 32

/* ---- the wire ---- */

static bool take_varint(struct cleat_span *s, uint64_t *value_out)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && s->n; shift += 7) {
		uint8_t byte = *s->p++;
		s->n--;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*value_out = value;
			return true;
		}
	}
	return false;
}

static bool take_bytes(struct cleat_span *s, uint64_t n, struct cleat_span *out)
{
	if (n > s->n)
		return false;
	*out = (struct cleat_span){ s->p, (size_t)n };
	s->p += n;
	s->n -= (size_t)n;
	return true;
}

/* Takes one field of any type; *content_out is empty for numbers.  False at the end and on malformed bytes:
 * the former leaves nothing. */
static bool take_field(struct cleat_span *s, unsigned *number_out, struct cleat_span *content_out)
{
	uint64_t key = 0, value = 0;

	*content_out = (struct cleat_span){ NULL, 0 };
	if (!take_varint(s, &key))
		return false;
	*number_out = (unsigned)(key >> 3);
	switch (key & 7) {
	case 0:
		return take_varint(s, &value);
	case 1:
		return take_bytes(s, 8, content_out);
	case 2:
		return take_varint(s, &value) && take_bytes(s, value, content_out);
	case 5:
		return take_bytes(s, 4, content_out);
	default:
		return false;
	}
}

static struct cleat_span first_field(struct cleat_span s, unsigned wanted)
{
	struct cleat_span content;
	unsigned number = 0;

	while (take_field(&s, &number, &content))
		if (number == wanted)
			return content;
	return (struct cleat_span){ NULL, 0 };
}

static bool is(struct cleat_span s, const char *text)
{
	return s.p && s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

/* What follows "<name>." in text, NULL when text does not start so. */
static const char *below(struct cleat_span name, const char *text)
{
	if (!name.p || strlen(text) <= name.n || memcmp(name.p, text, name.n) != 0 || text[name.n] != '.')
		return NULL;
	return text + name.n + 1;
}

/* ---- declarations ---- */

enum kind {
	LEAF, /* has a name only */
	MESSAGE,
	ENUM,
	SERVICE,
	FILE_SCOPE,
};

/* What a field of a scope declares. */
struct rule {
	enum kind scope;
	unsigned number;
	enum kind declares;
};

static const struct rule rules[] = {
	{ FILE_SCOPE, FILE_MESSAGE, MESSAGE }, { FILE_SCOPE, FILE_ENUM, ENUM },
	{ FILE_SCOPE, FILE_SERVICE, SERVICE }, { FILE_SCOPE, FILE_EXTENSION, LEAF },
	{ MESSAGE, MESSAGE_FIELD, LEAF },      { MESSAGE, MESSAGE_MESSAGE, MESSAGE },
	{ MESSAGE, MESSAGE_ENUM, ENUM },       { MESSAGE, MESSAGE_EXTENSION, LEAF },
	{ MESSAGE, MESSAGE_ONEOF, LEAF },      { SERVICE, SERVICE_METHOD, LEAF },
};

static const struct rule *rule_of(enum kind scope, unsigned number)
{
	for (size_t i = 0; i < CLEAT_COUNT(rules); i++)
		if (rules[i].scope == scope && rules[i].number == number)
			return &rules[i];
	return NULL;
}

/* The values of an enum are named beside it, not below it. */
static bool has_value(struct cleat_span declared, const char *name)
{
	struct cleat_span content;
	unsigned number = 0;

	while (take_field(&declared, &number, &content))
		if (number == ENUM_VALUE && is(first_field(content, NAME), name))
			return true;
	return false;
}

static bool scope_declares(struct cleat_span scope, enum kind kind, const char *name, unsigned depth)
{
	struct cleat_span content;
	unsigned number = 0;

	while (depth < MAX_DEPTH && take_field(&scope, &number, &content)) {
		const struct rule *rule = rule_of(kind, number);
		if (!rule)
			continue;
		struct cleat_span declared = first_field(content, NAME);
		if (is(declared, name) || (rule->declares == ENUM && has_value(content, name)))
			return true;
		const char *inner = below(declared, name);
		if (inner && scope_declares(content, rule->declares, inner, depth + 1))
			return true;
	}
	return false;
}

static bool file_declares(struct cleat_span file, const char *symbol)
{
	struct cleat_span package = first_field(file, FILE_PACKAGE);
	const char *name = package.n ? below(package, symbol) : symbol;

	return name && scope_declares(file, FILE_SCOPE, name, 0);
}

/* ---- sets ---- */

bool cleat_descset_valid(struct cleat_span set)
{
	struct cleat_span content;
	unsigned number = 0;

	while (set.n) {
		if (!take_field(&set, &number, &content) || number != SET_FILE ||
		    first_field(content, FILE_NAME).n == 0)
			return false;
	}
	return true;
}

bool cleat_descset_file(struct cleat_span set, const char *name, struct cleat_span *file_out)
{
	struct cleat_span file;
	unsigned number = 0;

	while (take_field(&set, &number, &file)) {
		if (number == SET_FILE && is(first_field(file, FILE_NAME), name)) {
			*file_out = file;
			return true;
		}
	}
	return false;
}

bool cleat_descset_symbol(struct cleat_span set, const char *symbol, struct cleat_span *file_out)
{
	struct cleat_span file;
	unsigned number = 0;

	while (take_field(&set, &number, &file)) {
		if (number == SET_FILE && file_declares(file, symbol)) {
			*file_out = file;
			return true;
		}
	}
	return false;
}
