/* service_convert_test.c - between wire messages and the library's structs, with the limits of what comes
 * from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/convert.h"
#include "util/kv.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

typedef Cleat__V1__CreateVolumeRequest__LabelsEntry entry;

struct entries {
	entry of[80];
	ProtobufCMessage *list[80];
	size_t n;
};

static void add(struct entries *e, const char *key, const char *value)
{
	entry *at = &e->of[e->n];

	cleat__v1__create_volume_request__labels_entry__init(at);
	at->key = cleat_pb_text(key);
	at->value = cleat_pb_text(value);
	e->list[e->n++] = &at->base;
}

static enum cleat_code convert(struct entries *e, struct cleat_wire_kvs *out, struct cleat_error *err)
{
	return cleat_wire_kvs(e->list, e->n, "labels", out, err);
}

static void test_convert__pairs_are_sorted_and_the_last_of_equal_keys_counts(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_wire_kvs out;
	struct entries e = { .n = 0 };

	(void)state;
	assert_int_equal(convert(&e, &out, &err), CLEAT_OK);
	assert_int_equal(out.kvs.count, 0);
	add(&e, "b", "1");
	add(&e, "a", "2");
	add(&e, "b", "3");
	add(&e, "a", "4");
	add(&e, "c", "");
	assert_int_equal(convert(&e, &out, &err), CLEAT_OK);
	assert_int_equal(out.kvs.count, 3);
	assert_string_equal(out.kvs.items[0].key, "a");
	assert_string_equal(out.kvs.items[0].value, "4");
	assert_string_equal(out.kvs.items[1].key, "b");
	assert_string_equal(out.kvs.items[1].value, "3");
	assert_string_equal(cleat_kv_get(&out.kvs, "c"), "");
}

static void test_convert__limits_of_pairs_are_invalid_argument(void **state)
{
	static char key[130], value[4098];
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_wire_kvs out;
	struct entries e = { .n = 0 };

	(void)state;
	add(&e, "", "x");
	assert_int_equal(convert(&e, &out, &err), CLEAT_INVALID_ARGUMENT);
	assert_string_equal(err.msg, "labels: a key is empty");
	memset(key, 'k', 129);
	e.n = 0;
	add(&e, key, "x");
	assert_int_equal(convert(&e, &out, &err), CLEAT_INVALID_ARGUMENT);
	key[128] = '\0';
	assert_int_equal(convert(&e, &out, &err), CLEAT_OK);
	memset(value, 'v', 4097);
	e.n = 0;
	add(&e, "k", value);
	assert_int_equal(convert(&e, &out, &err), CLEAT_INVALID_ARGUMENT);
	assert_string_equal(err.msg, "labels: the value of 'k' is longer than 4096 bytes");
	value[4096] = '\0';
	assert_int_equal(convert(&e, &out, &err), CLEAT_OK);
}

static void test_convert__the_number_of_pairs_is_limited_after_duplicates_went(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char keys[70][8];
	struct cleat_wire_kvs out;
	struct entries e = { .n = 0 };

	(void)state;
	for (int i = 0; i < 70; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%d", i % CLEAT_KV_MAX);
		add(&e, keys[i], "x");
	}
	assert_int_equal(convert(&e, &out, &err), CLEAT_OK);
	assert_int_equal(out.kvs.count, CLEAT_KV_MAX);
	snprintf(keys[0], sizeof(keys[0]), "other");
	e.n = 0;
	for (int i = 0; i < 70; i++)
		add(&e, keys[i], "x");
	assert_int_equal(convert(&e, &out, &err), CLEAT_INVALID_ARGUMENT);
	assert_string_equal(err.msg, "labels: 65 keys are more than 64");
}

static void test_convert__unknown_enum_numbers_are_refused(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	enum cleat_access_type type;
	enum cleat_access_mode mode;

	(void)state;
	assert_int_equal(cleat_wire_access_type(CLEAT__V1__ACCESS_TYPE__ACCESS_TYPE_BLOCK, &type, &err),
			 CLEAT_OK);
	assert_int_equal(type, CLEAT_ACCESS_BLOCK);
	assert_int_equal(cleat_wire_access_type((Cleat__V1__AccessType)3, &type, &err),
			 CLEAT_INVALID_ARGUMENT);
	assert_int_equal(cleat_wire_access_type((Cleat__V1__AccessType)-1, &type, &err),
			 CLEAT_INVALID_ARGUMENT);
	assert_int_equal(cleat_wire_mode((Cleat__V1__AccessMode)7, &mode, &err), CLEAT_OK);
	assert_int_equal(mode, CLEAT_MODE_SINGLE_NODE_MULTI_WRITER);
	assert_int_equal(cleat_wire_mode((Cleat__V1__AccessMode)8, &mode, &err), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(cleat_wire_mode((Cleat__V1__AccessMode)-5, &mode, &err), CLEAT_INVALID_ARGUMENT);
}

static struct cleat_record *new_record(void)
{
	static struct cleat_attachment attachment = { .mode = CLEAT_MODE_SINGLE_NODE_WRITER,
						      .read_only = true };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *r = cleat_record_new(CLEAT_KIND_VOLUME);

	assert_non_null(r);
	attachment.node = cleat_pb_text("n1");
	assert_int_equal(cleat_record_set(&r->name, "db", &err), CLEAT_OK);
	assert_int_equal(cleat_record_set(&r->fs, "xfs", &err), CLEAT_OK);
	assert_int_equal(cleat_kv_set(&r->params, "uid", "7", &err), CLEAT_OK);
	assert_int_equal(cleat_kv_set(&r->labels, "app", "shop", &err), CLEAT_OK);
	assert_int_equal(cleat_kv_set(&r->labels, "tier", "1", &err), CLEAT_OK);
	assert_int_equal(cleat_kv_set(&r->attributes, "enforces_size", "true", &err), CLEAT_OK);
	r->capacity_bytes = 1u << 30;
	r->access_type = CLEAT_ACCESS_MOUNT;
	r->created_ms = 1234;
	r->attachments = malloc(sizeof(*r->attachments));
	r->attachments[0] = attachment;
	r->attachments[0].node = strdup("n1");
	r->attachment_count = 1;
	return r;
}

/* Through the wire and back, as a client sees it. */
static Cleat__V1__Volume *over_the_wire(const Cleat__V1__Volume *v)
{
	size_t n = cleat__v1__volume__get_packed_size(v);
	cleat_autofree uint8_t *bytes = malloc(n);

	cleat__v1__volume__pack(v, bytes);
	return cleat__v1__volume__unpack(NULL, n, bytes);
}

static void test_convert__a_volume_arrives_whole(void **state)
{
	struct cleat_volume_state v = { .id = "default-1a2b3c4d.k",
					.pool = "default",
					.claim_count = 2,
					.staged = true,
					.problem = "none really" };
	struct cleat_pb_arena a;

	(void)state;
	v.record = new_record();
	cleat_pb_arena_init(&a, 1 << 20);
	Cleat__V1__Volume *got = over_the_wire(cleat_wire_volume(&a, &v));
	cleat_pb_arena_reset(&a);
	assert_non_null(got);
	assert_string_equal(got->id, "default-1a2b3c4d.k");
	assert_string_equal(got->pool, "default");
	assert_string_equal(got->name, "db");
	assert_string_equal(got->fs, "xfs");
	assert_int_equal(got->capacity_bytes, 1u << 30);
	assert_int_equal(got->n_params, 1);
	assert_string_equal(got->params[0]->key, "uid");
	assert_string_equal(got->params[0]->value, "7");
	assert_int_equal(got->n_labels, 2);
	assert_string_equal(got->labels[1]->key, "tier");
	assert_string_equal(got->attributes[0]->value, "true");
	assert_int_equal(got->n_attachments, 1);
	assert_string_equal(got->attachments[0]->node, "n1");
	assert_true(got->attachments[0]->read_only);
	assert_int_equal(got->claim_count, 2);
	assert_true(got->staged);
	assert_string_equal(got->problem, "none really");
	cleat__v1__volume__free_unpacked(got, NULL);
	cleat_record_unref(v.record);
}

static void test_convert__a_volume_without_memory_is_null(void **state)
{
	struct cleat_volume_state v = { .id = "p.k", .pool = "p" };
	struct cleat_pb_arena a;

	(void)state;
	v.record = new_record();
	for (size_t budget = 0; budget < 1 << 16; budget += 64) {
		cleat_pb_arena_init(&a, budget);
		bool made = cleat_wire_volume(&a, &v) != NULL;
		bool exhausted = a.exhausted;

		cleat_pb_arena_reset(&a);
		assert_int_equal(made, !exhausted);
		if (made)
			break;
	}
	cleat_record_unref(v.record);
}

static void test_convert__capabilities_become_a_list(void **state)
{
	struct cleat_pool_state p = { .name = "p",
				      .capabilities = CLEAT_CAN_MOUNT | CLEAT_CAN_USAGE_OFFLINE };
	struct cleat_pb_arena a;

	(void)state;
	cleat_pb_arena_init(&a, 1 << 20);
	p.space.low = true;
	p.space_age_ms = -1;
	const Cleat__V1__Pool *got = cleat_wire_pool(&a, &p);
	assert_int_equal(got->n_capabilities, 2);
	assert_int_equal(got->capabilities[0], CLEAT__V1__CAPABILITY__CAPABILITY_MOUNT);
	assert_int_equal(got->capabilities[1], CLEAT__V1__CAPABILITY__CAPABILITY_USAGE_OFFLINE);
	assert_true(got->space->low);
	assert_int_equal(got->space->age_ms, -1);
	cleat_pb_arena_reset(&a);
}

static void test_convert__an_event_keeps_everything(void **state)
{
	const struct cleat_event from = { .number = 9,
					  .kind = CLEAT_EVENT_OPERATION,
					  .time_ms = 5,
					  .pool = "p",
					  .volume = "p.k",
					  .name = NULL,
					  .text = "mkfs",
					  .operation = 3,
					  .done = 1,
					  .total = 2,
					  .ended = true,
					  .code = CLEAT_ABORTED };
	Cleat__V1__Event out;

	(void)state;
	cleat_wire_event(&from, "e1", &out);
	assert_string_equal(out.epoch, "e1");
	assert_int_equal(out.number, 9);
	assert_int_equal(out.kind, CLEAT__V1__EVENT_KIND__EVENT_KIND_OPERATION);
	assert_string_equal(out.volume, "p.k");
	assert_string_equal(out.name, "");
	assert_string_equal(out.text, "mkfs");
	assert_int_equal(out.operation, 3);
	assert_true(out.ended);
	assert_int_equal(out.code, CLEAT_ABORTED);
}

static void test_convert__a_parameter_shows_its_choices(void **state)
{
	static const char *const choices[] = { "a", "b", NULL };
	static const struct cleat_param p = { .key = "k",
					      .type = CLEAT_PARAM_CHOICE,
					      .def = "a",
					      .choices = choices,
					      .text = "words",
					      .changeable = true };
	struct cleat_pb_arena a;

	(void)state;
	cleat_pb_arena_init(&a, 1 << 16);
	const Cleat__V1__Parameter *got = cleat_wire_parameter(&a, &p);
	assert_string_equal(got->type, "choice");
	assert_string_equal(got->unit, "");
	assert_string_equal(got->default_value, "a");
	assert_int_equal(got->n_choices, 2);
	assert_string_equal(got->choices[1], "b");
	assert_true(got->changeable);
	cleat_pb_arena_reset(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_convert__pairs_are_sorted_and_the_last_of_equal_keys_counts),
		cmocka_unit_test(test_convert__limits_of_pairs_are_invalid_argument),
		cmocka_unit_test(test_convert__the_number_of_pairs_is_limited_after_duplicates_went),
		cmocka_unit_test(test_convert__unknown_enum_numbers_are_refused),
		cmocka_unit_test(test_convert__a_volume_arrives_whole),
		cmocka_unit_test(test_convert__a_volume_without_memory_is_null),
		cmocka_unit_test(test_convert__capabilities_become_a_list),
		cmocka_unit_test(test_convert__an_event_keeps_everything),
		cmocka_unit_test(test_convert__a_parameter_shows_its_choices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
