/* reflection.c - see reflection.h.  Both versions of the protocol agree on the wire, so one service answers
 * under two names. */
#include "rt/reflection.h"

#include "cleat_rt.descset.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "rt/descset.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

#define MAX_SETS 16
#define MAX_SERVICES 128
#define ALPHA_NAME "grpc.reflection.v1alpha.ServerReflection"

typedef Grpc__Reflection__V1__ServerReflectionRequest request;
typedef Grpc__Reflection__V1__ServerReflectionResponse response;
#define ASKS(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##what
#define ANSWERS(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##what

struct cleat_rpc_reflection {
	Grpc__Reflection__V1__ServerReflection_Service service; /* first: handlers get its address */
	struct cleat_span sets[MAX_SETS];
	size_t n_sets;
};

static void answer_error(struct cleat_rpc_call *call, response *out, enum cleat_code code, const char *text)
{
	Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;

	error.error_code = (int32_t)code;
	error.error_message = (char *)(uintptr_t)text;
	out->message_response_case = ANSWERS(ERROR_RESPONSE);
	out->error_response = &error;
	cleat_rpc_call_reply(call, &out->base);
}

static void answer_file(struct cleat_rpc_call *call, response *out, struct cleat_span file)
{
	Grpc__Reflection__V1__FileDescriptorResponse files =
		GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
	ProtobufCBinaryData one = { file.n, (uint8_t *)(uintptr_t)file.p };

	files.n_file_descriptor_proto = 1;
	files.file_descriptor_proto = &one;
	out->message_response_case = ANSWERS(FILE_DESCRIPTOR_RESPONSE);
	out->file_descriptor_response = &files;
	cleat_rpc_call_reply(call, &out->base);
}

typedef bool (*find_fn)(struct cleat_span set, const char *name, struct cleat_span *file_out);

static void answer_lookup(const struct cleat_rpc_reflection *r, struct cleat_rpc_call *call, response *out,
			  find_fn find, const char *name)
{
	struct cleat_span file;

	for (size_t i = 0; i < r->n_sets; i++) {
		if (find(r->sets[i], name, &file)) {
			answer_file(call, out, file);
			return;
		}
	}
	answer_error(call, out, CLEAT_NOT_FOUND, "not known here");
}

/* ---- the list of services ---- */

struct service_list {
	size_t n;
	Grpc__Reflection__V1__ServiceResponse services[MAX_SERVICES];
	Grpc__Reflection__V1__ServiceResponse *pointers[MAX_SERVICES];
};

static void add_service(const char *name, void *arg)
{
	struct service_list *list = arg;
	char *copy = list->n < MAX_SERVICES ? strdup(name) : NULL;

	if (!copy)
		return;
	Grpc__Reflection__V1__ServiceResponse *s = &list->services[list->n];
	grpc__reflection__v1__service_response__init(s);
	s->name = copy;
	list->pointers[list->n++] = s;
}

static void answer_services(struct cleat_rpc_call *call, response *out)
{
	Grpc__Reflection__V1__ListServiceResponse listed = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
	struct service_list *list = calloc(1, sizeof(*list));

	if (!list) {
		answer_error(call, out, CLEAT_RESOURCE_EXHAUSTED, "no memory for the list of services");
		return;
	}
	cleat_rpc_role_services(cleat_rpc_call_role(call), add_service, list);
	listed.n_service = list->n;
	listed.service = list->pointers;
	out->message_response_case = ANSWERS(LIST_SERVICES_RESPONSE);
	out->list_services_response = &listed;
	cleat_rpc_call_reply(call, &out->base);
	while (list->n)
		free(list->services[--list->n].name);
	free(list);
}

/* ---- the stream ---- */

static void answer(const struct cleat_rpc_reflection *r, struct cleat_rpc_call *call, const request *in)
{
	response out = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;

	out.valid_host = in->host;
	out.original_request = (request *)(uintptr_t)in;
	switch (in->message_request_case) {
	case ASKS(FILE_BY_FILENAME):
		answer_lookup(r, call, &out, cleat_descset_file, in->file_by_filename);
		break;
	case ASKS(FILE_CONTAINING_SYMBOL):
		answer_lookup(r, call, &out, cleat_descset_symbol, in->file_containing_symbol);
		break;
	case ASKS(LIST_SERVICES):
		answer_services(call, &out);
		break;
	case ASKS(FILE_CONTAINING_EXTENSION):
	case ASKS(ALL_EXTENSION_NUMBERS_OF_TYPE):
		answer_error(call, &out, CLEAT_NOT_FOUND, "proto3 services have no extensions");
		break;
	default:
		answer_error(call, &out, CLEAT_INVALID_ARGUMENT, "the request asks for nothing");
	}
}

static void on_message(ProtobufCService *svc, struct cleat_rpc_call *call, const ProtobufCMessage *m)
{
	const struct cleat_rpc_reflection *r =
		CLEAT_CONTAINER(svc, struct cleat_rpc_reflection, service.base);

	if (m)
		answer(r, call, (const request *)m);
	else
		cleat_rpc_call_end(call);
}

/* ---- for the program ---- */

enum cleat_code cleat_rpc_reflection_new(struct cleat_rpc_reflection **reflection_out,
					 struct cleat_error *err)
{
	struct cleat_rpc_reflection *r = calloc(1, sizeof(*r));

	if (!r)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for the reflection service");
	r->service.base = (ProtobufCService){ &grpc__reflection__v1__server_reflection__descriptor,
					      protobuf_c_service_invoke_internal, NULL };
	enum cleat_code code = cleat_rpc_reflection_add_set(r, cleat_rt_descset, cleat_rt_descset_len, err);
	if (code != CLEAT_OK)
		free(r);
	else
		*reflection_out = r;
	return code;
}

void cleat_rpc_reflection_free(struct cleat_rpc_reflection *r)
{
	free(r);
}

enum cleat_code cleat_rpc_reflection_add_set(struct cleat_rpc_reflection *r, const unsigned char *bytes,
					     size_t len, struct cleat_error *err)
{
	struct cleat_span set = { bytes, len };

	if (!cleat_descset_valid(set))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%zu bytes are not a FileDescriptorSet",
				       len);
	if (r->n_sets == MAX_SETS)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "at most %d descriptor sets", MAX_SETS);
	r->sets[r->n_sets++] = set;
	return CLEAT_OK;
}

enum cleat_code cleat_rpc_reflection_add(struct cleat_rpc_reflection *r, struct cleat_rpc_role *role,
					 struct cleat_error *err)
{
	static const struct cleat_rpc_method methods[] = {
		{ .name = "ServerReflectionInfo", .kind = CLEAT_RPC_BIDI, .on_message = on_message },
	};
	ProtobufCService *svc = &r->service.base;
	enum cleat_code code = cleat_rpc_role_add(role, svc, methods, CLEAT_COUNT(methods), err);

	if (code == CLEAT_OK)
		code = cleat_rpc_role_add_as(role, ALPHA_NAME, svc, methods, CLEAT_COUNT(methods), err);
	return code;
}
