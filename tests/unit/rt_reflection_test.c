/* rt_reflection_test.c - lookups in descriptor sets, and the reflection service as a generic client sees it.
 */
#include "rt_lab.h"
#include "rt_raw.h"

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "lab.descset.h"
#include "rt/descset.h"
#include "rt/reflection.h"
#include "util/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define V1 "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define V1ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

static struct lab lab;
static struct cleat_rpc_reflection *reflection;

static int up(void **state)
{
	(void)state;
	lab_prepare(&lab);
	lab_make_server(&lab, NULL);
	assert_int_equal(cleat_rpc_reflection_new(&reflection, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_reflection_add_set(reflection, lab_descset, lab_descset_len, NULL),
			 CLEAT_OK);
	assert_int_equal(cleat_rpc_reflection_add(reflection, lab.role, NULL), CLEAT_OK);
	lab_start_server(&lab);
	return 0;
}

static int down(void **state)
{
	(void)state;
	lab_down(&lab);
	cleat_rpc_reflection_free(reflection);
	return 0;
}

/* ---- sets ---- */

static const char *file_of(const char *symbol)
{
	struct cleat_span set = { lab_descset, lab_descset_len }, file;
	static char name[128];

	if (!cleat_descset_symbol(set, symbol, &file))
		return NULL;
	/* a file begins with its name: key, length, bytes */
	assert_int_equal(file.p[0], 0x0a);
	snprintf(name, sizeof(name), "%.*s", file.p[1], (const char *)file.p + 2);
	return name;
}

static void test_descset__finds_every_kind_of_symbol(void **state)
{
	static const char *const symbols[] = {
		"cleat.test.v1.Lab",
		"cleat.test.v1.Lab.Ping",
		"cleat.test.v1.Everything",
		"cleat.test.v1.Everything.text",
		"cleat.test.v1.Everything.ParamsEntry",
		"cleat.test.v1.Everything.ParamsEntry.key",
		"cleat.test.v1.Everything.kind",
		"cleat.test.v1.Color",
		"cleat.test.v1.COLOR_RED",
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(symbols); i++)
		assert_string_equal(file_of(symbols[i]), "cleat/test/v1/lab.proto");
	assert_string_equal(file_of("google.protobuf.Timestamp"), "google/protobuf/timestamp.proto");
}

static void test_descset__does_not_find_what_is_not_there(void **state)
{
	static const char *const symbols[] = {
		"",
		".",
		"cleat",
		"cleat.test.v1",
		"cleat.test.v1.",
		"cleat.test.v1.La",
		"cleat.test.v1.Labs",
		"cleat.test.v1.Lab.Ping.x",
		"cleat.test.v1.Color.COLOR_RED",
		"Lab",
		"test.v1.Lab",
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(symbols); i++)
		assert_null(file_of(symbols[i]));
}

static void test_descset__a_cut_set_is_refused(void **state)
{
	unsigned valid = 0;

	(void)state;
	assert_true(cleat_descset_valid((struct cleat_span){ lab_descset, lab_descset_len }));
	for (size_t n = 1; n < lab_descset_len; n++) {
		cleat_autofree uint8_t *cut = malloc(n);
		struct cleat_span set = { cut, n }, file;
		assert_non_null(cut);
		memcpy(cut, lab_descset, n);
		valid += cleat_descset_valid(set);
		cleat_descset_symbol(set, "cleat.test.v1.Lab.NotWritten", &file);
		cleat_descset_file(set, "cleat/test/v1/lab.proto", &file);
	}
	assert_int_equal(valid, 3); /* between its four files */
	assert_int_equal(cleat_rpc_reflection_add_set(reflection, lab_descset, 7, NULL),
			 CLEAT_INVALID_ARGUMENT);
}

/* ---- the service ---- */

typedef Grpc__Reflection__V1__ServerReflectionRequest request;
typedef Grpc__Reflection__V1__ServerReflectionResponse response;

/* Asks once; the answer is the caller's. */
static response *ask(const char *path, request *in)
{
	uint8_t bytes[512];
	struct raw_bytes message = { bytes, protobuf_c_message_pack(&in->base, bytes) };
	struct raw_reply reply;

	raw_call(lab.target, path, &message, 1, NULL, &reply);
	assert_int_equal(reply.code, CLEAT_OK);
	assert_int_equal(reply.n_replies, 1);
	response *out = grpc__reflection__v1__server_reflection_response__unpack(NULL, reply.reply_bytes[0],
										 reply.replies[0]);
	raw_reply_done(&reply);
	assert_non_null(out);
	assert_string_equal(out->valid_host, in->host);
	assert_int_equal(out->original_request->message_request_case, in->message_request_case);
	return out;
}

static response *ask_text(const char *path, int what, const char *text)
{
	request in = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;

	in.host = (char *)(uintptr_t) "here";
	in.message_request_case = what;
	in.list_services = (char *)(uintptr_t)text; /* the text members share their place */
	return ask(path, &in);
}

#define BY_NAME GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME
#define BY_SYMBOL GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL
#define LIST GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES
#define NUMBERS GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE

static void check_list(const char *path)
{
	static const char *const names[] = {
		"cleat.test.v1.Lab",
		"grpc.health.v1.Health",
		"grpc.reflection.v1.ServerReflection",
		"grpc.reflection.v1alpha.ServerReflection",
	};
	cleat_autopb response *out = ask_text(path, LIST, "");

	assert_int_equal(out->list_services_response->n_service, CLEAT_COUNT(names));
	for (size_t i = 0; i < CLEAT_COUNT(names); i++)
		assert_string_equal(out->list_services_response->service[i]->name, names[i]);
}

static void test_reflection__lists_the_services_in_both_versions(void **state)
{
	(void)state;
	check_list(V1);
	check_list(V1ALPHA);
}

static void check_file(int what, const char *text, const char *name)
{
	struct cleat_span set, file;
	cleat_autopb response *out = ask_text(V1, what, text);

	assert_int_equal(
		out->message_response_case,
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE);
	assert_int_equal(out->file_descriptor_response->n_file_descriptor_proto, 1);
	ProtobufCBinaryData got = out->file_descriptor_response->file_descriptor_proto[0];
	file = (struct cleat_span){ got.data, got.len };
	assert_int_equal(file.p[1], strlen(name));
	assert_memory_equal(file.p + 2, name, strlen(name));
	set = (struct cleat_span){ lab_descset, lab_descset_len };
	if (cleat_descset_file(set, name, &file)) {
		assert_int_equal(file.n, got.len);
		assert_memory_equal(file.p, got.data, got.len);
	}
}

static void test_reflection__describes_every_service_it_lists(void **state)
{
	(void)state;
	check_file(BY_SYMBOL, "cleat.test.v1.Lab", "cleat/test/v1/lab.proto");
	check_file(BY_SYMBOL, "grpc.health.v1.Health.Check", "grpc/health/v1/health.proto");
	check_file(BY_SYMBOL, "grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto");
	check_file(BY_SYMBOL, "grpc.reflection.v1alpha.ServerReflection",
		   "grpc/reflection/v1alpha/reflection.proto");
	check_file(BY_NAME, "google/protobuf/wrappers.proto", "google/protobuf/wrappers.proto");
}

static void check_error(int what, const char *text, enum cleat_code code)
{
	cleat_autopb response *out = ask_text(V1ALPHA, what, text);

	assert_int_equal(out->message_response_case,
			 GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE);
	assert_int_equal(out->error_response->error_code, code);
}

static void test_reflection__says_what_it_does_not_know(void **state)
{
	request extension = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
	Grpc__Reflection__V1__ExtensionRequest which = GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;

	(void)state;
	check_error(BY_SYMBOL, "no.such.Thing", CLEAT_NOT_FOUND);
	check_error(BY_NAME, "no/such.proto", CLEAT_NOT_FOUND);
	check_error(NUMBERS, "cleat.test.v1.Leaf", CLEAT_NOT_FOUND);
	check_error(0, NULL, CLEAT_INVALID_ARGUMENT);
	extension.message_request_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION;
	extension.file_containing_extension = &which;
	cleat_autopb response *out = ask(V1, &extension);
	assert_int_equal(out->error_response->error_code, CLEAT_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_descset__finds_every_kind_of_symbol),
		cmocka_unit_test(test_descset__does_not_find_what_is_not_there),
		cmocka_unit_test(test_descset__a_cut_set_is_refused),
		cmocka_unit_test(test_reflection__lists_the_services_in_both_versions),
		cmocka_unit_test(test_reflection__describes_every_service_it_lists),
		cmocka_unit_test(test_reflection__says_what_it_does_not_know),
	};

	return cmocka_run_group_tests(tests, up, down);
}
