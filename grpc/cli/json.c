/* json.c - any message of the API as JSON, by walking its descriptor.
 *
 * The form is part of the command's interface (cleat(1), "JSON"): field names as in the .proto, every field
 * always there, enums as short words, 64-bit numbers as integers, maps as objects.  A moment in milliseconds
 * since 1970 gets an ISO 8601 companion without
 * "_ms"; both are null when it is unset.
 */
#include "cli/cli.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Fields that are a moment, not a duration. */
static bool is_moment(const ProtobufCFieldDescriptor *f)
{
	static const char *const names[] = { "created_ms", "since_ms", "stuck_since_ms", "time_ms" };

	for (size_t i = 0; i < CLEAT_COUNT(names); i++)
		if (f->type == PROTOBUF_C_TYPE_INT64 && strcmp(f->name, names[i]) == 0)
			return true;
	return false;
}

/* protobuf-c does not mark map entries; the generated ones are called XEntry and have exactly key and value.
 */
static bool is_map(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;

	if (f->type != PROTOBUF_C_TYPE_MESSAGE || f->label != PROTOBUF_C_LABEL_REPEATED || d->n_fields != 2)
		return false;
	size_t n = strlen(d->short_name);
	return n > 5 && strcmp(d->short_name + n - 5, "Entry") == 0 &&
	       strcmp(d->fields[0].name, "key") == 0 && strcmp(d->fields[1].name, "value") == 0;
}

/* jansson has no unsigned 64-bit numbers; nothing the API counts comes near 2^63, and "no limit" saturates
 * there. */
static json_t *from_unsigned(uint64_t n)
{
	return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

static json_t *from_text(const char *s)
{
	json_t *j = json_string(s ? s : "");

	return j ? j : json_string("(not UTF-8)"); /* cannot come over the wire, which is checked */
}

static json_t *from_enum(const ProtobufCEnumDescriptor *d, int number)
{
	char word[CLI_WORD_BYTES];

	if (!protobuf_c_enum_descriptor_get_value(d, number)) /* of a newer daemon */
		return json_integer(number);
	return json_string(cli_word(d, number, word));
}

static json_t *from_bytes(const ProtobufCBinaryData *b)
{
	json_t *list = json_array();

	for (size_t i = 0; i < b->len; i++)
		json_array_append_new(list, json_integer(b->data[i]));
	return list;
}

/* One value at p; size_out says how far the next one of a repeated field is. */
static json_t *from_value(const ProtobufCFieldDescriptor *f, const void *p, size_t *size_out)
{
	*size_out = 8;
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return json_integer(*(const int64_t *)p);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return from_unsigned(*(const uint64_t *)p);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)p);
	case PROTOBUF_C_TYPE_STRING:
		*size_out = sizeof(char *);
		return from_text(*(const char *const *)p);
	case PROTOBUF_C_TYPE_BYTES:
		*size_out = sizeof(ProtobufCBinaryData);
		return from_bytes(p);
	case PROTOBUF_C_TYPE_MESSAGE:
		*size_out = sizeof(void *);
		return *(const void *const *)p ? cli_json_of(*(const ProtobufCMessage *const *)p)
					       : json_null();
	default:
		break;
	}
	*size_out = 4;
	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		*size_out = sizeof(protobuf_c_boolean);
		return json_boolean(*(const protobuf_c_boolean *)p);
	case PROTOBUF_C_TYPE_ENUM:
		return from_enum(f->descriptor, *(const int *)p);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real((double)*(const float *)p);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return from_unsigned(*(const uint32_t *)p);
	default: /* INT32, SINT32, SFIXED32 */
		return json_integer(*(const int32_t *)p);
	}
}

static json_t *from_map(const ProtobufCFieldDescriptor *f, void *const *entries, size_t n)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;
	json_t *object = json_object();
	size_t ignored;

	for (size_t i = 0; i < n; i++) {
		const char *base = entries[i];
		const char *key = *(const char *const *)(const void *)(base + d->fields[0].offset);
		json_object_set_new(object, key ? key : "",
				    from_value(&d->fields[1], base + d->fields[1].offset, &ignored));
	}
	return object;
}

static json_t *from_repeated(const ProtobufCFieldDescriptor *f, const char *items, size_t n)
{
	json_t *list = json_array();
	size_t step = 0;

	for (size_t i = 0; i < n; i++) {
		json_array_append_new(list, from_value(f, items, &step));
		items += step;
	}
	return list;
}

static void add_moment(json_t *object, const char *name, int64_t ms)
{
	char bare[64], iso[CLI_TIME_BYTES];

	snprintf(bare, sizeof(bare), "%.*s", (int)(strlen(name) - 3), name);
	json_object_set_new(object, name, ms ? json_integer(ms) : json_null());
	json_object_set_new(object, bare, ms ? json_string(cli_time_iso(ms, iso)) : json_null());
}

static void add_field(json_t *object, const ProtobufCFieldDescriptor *f, const char *base)
{
	const void *at = base + f->offset;
	size_t ignored;

	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		if (*(const unsigned *)(const void *)(base + f->quantifier_offset) != f->id)
			return;
	} else if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t n = *(const size_t *)(const void *)(base + f->quantifier_offset);
		void *const *items = *(void *const *const *)at;
		json_object_set_new(object, f->name,
				    is_map(f) ? from_map(f, items, n)
					      : from_repeated(f, (const char *)items, n));
		return;
	}
	if (is_moment(f))
		add_moment(object, f->name, *(const int64_t *)at);
	else
		json_object_set_new(object, f->name, from_value(f, at, &ignored));
}

json_t *cli_json_of(const ProtobufCMessage *m)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < m->descriptor->n_fields; i++)
		add_field(object, &m->descriptor->fields[i], (const char *)m);
	return object;
}

enum cleat_code cli_json_print_value(json_t *value, bool indent, struct cleat_error *err)
{
	int e = json_dumpf(value, stdout, indent ? JSON_INDENT(2) : JSON_COMPACT);

	json_decref(value);
	if (e != 0 || putchar('\n') == EOF)
		return cleat_error_set(err, CLEAT_UNKNOWN, "cannot write the answer to standard output");
	return CLEAT_OK;
}

enum cleat_code cli_json_print(const ProtobufCMessage *m, struct cleat_error *err)
{
	return cli_json_print_value(cli_json_of(m), true, err);
}

enum cleat_code cli_json_page(json_t **all, const ProtobufCMessage *m, const char *field,
			      struct cleat_error *err)
{
	json_t *page = cli_json_of(m);

	if (!*all) {
		json_object_del(page, "next_page_token");
		*all = page;
		return CLEAT_OK;
	}
	int e = json_array_extend(json_object_get(*all, field), json_object_get(page, field));
	json_decref(page);
	return e ? cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for the list") : CLEAT_OK;
}

void cli_json_error(const struct cli *cli, const struct cleat_error *err)
{
	const struct cli_verb *verb = cli->verb;
	char command[64] = "";

	if (verb)
		snprintf(command, sizeof(command), "%s%s%s", verb->noun ? verb->noun : "",
			 verb->noun ? " " : "", verb->name);
	json_t *j = json_pack("{s:{s:s, s:i, s:s, s:o, s:b}}", "error", "code", cleat_code_name(err->code),
			      "exit_code",
			      cli->unreachable ? (int)CLI_EXIT_UNREACHABLE : (int)cli_exit_of(err->code),
			      "command", command, "message", from_text(err->msg), "retry", (int)err->retry);
	json_dumpf(j, stderr, JSON_COMPACT);
	fputc('\n', stderr);
	json_decref(j);
}
