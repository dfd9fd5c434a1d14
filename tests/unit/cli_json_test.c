/* cli_json_test.c - the JSON form of API messages, which programs depend on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"

#include <jansson.h>
#include <string.h>

/* Compares with the expected text, whatever the order of its members. */
static void expect(const ProtobufCMessage *m, const char *text)
{
	json_error_t where;
	json_t *got = cli_json_of(m);
	json_t *want = json_loads(text, 0, &where);

	assert_non_null(want);
	if (!json_equal(got, want)) {
		char *dump = json_dumps(got, JSON_COMPACT);
		print_error("got %s\n", dump);
		free(dump);
		fail();
	}
	json_decref(got);
	json_decref(want);
}

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static void test_json__every_field_is_there_when_unset(void **state)
{
	Cleat__V1__Claim c = CLEAT__V1__CLAIM__INIT;

	(void)state;
	expect(&c.base,
	       "{\"volume\":\"\",\"target\":\"\",\"owner\":\"\",\"witness\":\"\",\"mode\":\"unspecified\","
	       "\"read_only\":false,\"staging\":false,\"stale\":false,\"since_ms\":null,\"since\":null}");
}

static void test_json__moments_have_an_iso_companion(void **state)
{
	Cleat__V1__Claim c = CLEAT__V1__CLAIM__INIT;

	(void)state;
	c.since_ms = 1700000000123;
	json_t *j = cli_json_of(&c.base);
	assert_int_equal(json_integer_value(json_object_get(j, "since_ms")), 1700000000123);
	assert_string_equal(json_string_value(json_object_get(j, "since")), "2023-11-14T22:13:20.123Z");
	json_decref(j);
}

static void test_json__durations_have_none(void **state)
{
	Cleat__V1__Space s = CLEAT__V1__SPACE__INIT;

	(void)state;
	s.age_ms = -1;
	json_t *j = cli_json_of(&s.base);
	assert_int_equal(json_integer_value(json_object_get(j, "age_ms")), -1);
	assert_null(json_object_get(j, "age"));
	json_decref(j);
}

static void test_json__large_numbers_are_exact_integers(void **state)
{
	Cleat__V1__GetUsageResponse u = CLEAT__V1__GET_USAGE_RESPONSE__INIT;

	(void)state;
	u.total_bytes = 9007199254740993; /* 2^53 + 1: a double cannot hold it */
	u.used_bytes = INT64_MAX;
	u.available_bytes = UINT64_MAX;
	char *dump = NULL;
	json_t *j = cli_json_of(&u.base);
	dump = json_dumps(j, JSON_COMPACT);
	assert_non_null(strstr(dump, "\"total_bytes\":9007199254740993,"));
	assert_non_null(strstr(dump, "\"used_bytes\":9223372036854775807,"));
	assert_non_null(
		strstr(dump, "\"available_bytes\":9223372036854775807,")); /* saturates, stays a number */
	free(dump);
	json_decref(j);
}

static void test_json__maps_are_objects_and_lists_are_arrays(void **state)
{
	Cleat__V1__Volume__LabelsEntry a = CLEAT__V1__VOLUME__LABELS_ENTRY__INIT, b = a;
	Cleat__V1__Volume__LabelsEntry *labels[] = { &a, &b };
	Cleat__V1__Attachment at = CLEAT__V1__ATTACHMENT__INIT;
	Cleat__V1__Attachment *attachments[] = { &at };
	Cleat__V1__Volume v = CLEAT__V1__VOLUME__INIT;

	(void)state;
	a.key = text("team"), a.value = text("s\"e\narch\xc3\xa4");
	b.key = text("a.b/c"), b.value = text("");
	v.n_labels = 2, v.labels = labels;
	at.node = text("n1"), at.mode = CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_WRITER;
	v.n_attachments = 1, v.attachments = attachments;
	json_t *j = cli_json_of(&v.base);
	json_t *l = json_object_get(j, "labels");
	assert_int_equal(json_object_size(l), 2);
	assert_string_equal(json_string_value(json_object_get(l, "team")), "s\"e\narch\xc3\xa4");
	assert_string_equal(json_string_value(json_object_get(l, "a.b/c")), "");
	assert_int_equal(json_object_size(json_object_get(j, "params")), 0);
	json_t *first = json_array_get(json_object_get(j, "attachments"), 0);
	assert_string_equal(json_string_value(json_object_get(first, "mode")), "single-node-writer");
	json_decref(j);
}

static void test_json__repeated_enums_and_texts(void **state)
{
	Cleat__V1__Capability can[] = { CLEAT__V1__CAPABILITY__CAPABILITY_MOUNT,
					CLEAT__V1__CAPABILITY__CAPABILITY_SNAPSHOT_OFFLINE_ONLY,
					(Cleat__V1__Capability)99 };
	Cleat__V1__Pool p = CLEAT__V1__POOL__INIT;
	char *names[] = { text("x"), text("y") };
	Cleat__V1__CreateGroupSnapshotRequest g = CLEAT__V1__CREATE_GROUP_SNAPSHOT_REQUEST__INIT;

	(void)state;
	p.n_capabilities = 3, p.capabilities = can;
	json_t *j = cli_json_of(&p.base);
	char *dump = json_dumps(json_object_get(j, "capabilities"), JSON_COMPACT);
	assert_string_equal(
		dump,
		"[\"mount\",\"snapshot-offline-only\",99]"); /* a newer daemon's word keeps its number */
	assert_true(json_is_null(json_object_get(j, "space")));
	free(dump);
	json_decref(j);
	g.n_volumes = 2, g.volumes = names;
	j = cli_json_of(&g.base);
	dump = json_dumps(json_object_get(j, "volumes"), JSON_COMPACT);
	assert_string_equal(dump, "[\"x\",\"y\"]");
	free(dump);
	json_decref(j);
}

static void test_json__pages_become_one_list_without_token(void **state)
{
	Cleat__V1__Claim a = CLEAT__V1__CLAIM__INIT, b = a;
	Cleat__V1__Claim *one[] = { &a }, *two[] = { &b };
	Cleat__V1__ListClaimsResponse p1 = CLEAT__V1__LIST_CLAIMS_RESPONSE__INIT, p2 = p1;
	struct cleat_error err = CLEAT_ERROR_INIT;
	json_t *all = NULL;

	(void)state;
	a.target = text("/a"), b.target = text("/b");
	p1.n_claims = 1, p1.claims = one, p1.next_page_token = text("t");
	p2.n_claims = 1, p2.claims = two;
	assert_int_equal(cli_json_page(&all, &p1.base, "claims", &err), CLEAT_OK);
	assert_int_equal(cli_json_page(&all, &p2.base, "claims", &err), CLEAT_OK);
	json_t *list = json_object_get(all, "claims");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "target")), "/b");
	assert_null(json_object_get(all, "next_page_token"));
	json_decref(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json__every_field_is_there_when_unset),
		cmocka_unit_test(test_json__moments_have_an_iso_companion),
		cmocka_unit_test(test_json__durations_have_none),
		cmocka_unit_test(test_json__large_numbers_are_exact_integers),
		cmocka_unit_test(test_json__maps_are_objects_and_lists_are_arrays),
		cmocka_unit_test(test_json__repeated_enums_and_texts),
		cmocka_unit_test(test_json__pages_become_one_list_without_token),
	};

	return cmocka_run_group_tests_name("cli_json", tests, NULL, NULL);
}
