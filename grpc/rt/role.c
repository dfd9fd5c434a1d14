/* role.c - roles and their tables of methods. */
#include "rt/internal.h"

#include <grpc/slice.h>
#include <stdio.h>
#include <string.h>

enum cleat_code cleat_rpc_role_new(struct cleat_rpc_server *s, const char *name,
				   struct cleat_rpc_role **role_out, struct cleat_error *err)
{
	struct cleat_rpc_role *role = calloc(1, sizeof(*role));

	if (role)
		role->name = strdup(name);
	if (!role || !role->name) {
		free(role);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for role '%s'", name);
	}
	role->server = s;
	role->next = s->roles;
	s->roles = role;
	*role_out = role;
	return CLEAT_OK;
}

void cleat_rt_role_free(struct cleat_rpc_role *role)
{
	for (size_t i = 0; i < role->n_methods; i++)
		free(role->methods[i].path);
	free(role->methods);
	free(role->name);
	free(role);
}

const char *cleat_rpc_role_name(const struct cleat_rpc_role *role)
{
	return role->name;
}

/* ---- adding services ---- */

static enum cleat_code check_names(const ProtobufCServiceDescriptor *d,
				   const struct cleat_rpc_method *methods, size_t n_methods,
				   struct cleat_error *err)
{
	for (size_t i = 0; i < n_methods; i++) {
		const char *name = methods[i].name;
		if (name && !protobuf_c_service_descriptor_get_method_by_name(d, name))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "service '%s' has no method '%s'",
					       d->name, name);
		if (methods[i].kind == CLEAT_RPC_BIDI && !methods[i].on_message)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "method '%s' of service '%s' streams, but has no on_message",
					       name ? name : "*", d->name);
	}
	return CLEAT_OK;
}

static const struct cleat_rpc_method *options_of(const char *name, const struct cleat_rpc_method *methods,
						 size_t n_methods)
{
	static const struct cleat_rpc_method plain = { .lane = CLEAT_RPC_WORKER, .kind = CLEAT_RPC_UNARY };
	const struct cleat_rpc_method *found = &plain;

	for (size_t i = 0; i < n_methods; i++) {
		if (!methods[i].name)
			found = &methods[i];
		else if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	}
	return found;
}

/* Generated services are the base followed by one pointer per method; protobuf-c's invoke does not look
 * whether it is NULL. */
static bool has_handler(ProtobufCService *svc, unsigned index)
{
	return ((void (**)(void))(svc + 1))[index] != NULL;
}

static bool has_path(const struct cleat_rpc_role *role, const char *path)
{
	for (size_t i = 0; i < role->n_methods; i++)
		if (strcmp(role->methods[i].path, path) == 0)
			return true;
	return false;
}

static enum cleat_code add_method(struct cleat_rpc_role *role, const char *service, ProtobufCService *svc,
				  unsigned index, const struct cleat_rpc_method *options,
				  struct cleat_error *err)
{
	const ProtobufCMethodDescriptor *d = &svc->descriptor->methods[index];
	cleat_autofree char *path = NULL;

	if (options->kind != CLEAT_RPC_BIDI && !has_handler(svc, index))
		return CLEAT_OK;
	if (asprintf(&path, "/%s/%s", service, d->name) < 0) {
		path = NULL;
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for method '%s'", d->name);
	}
	if (has_path(role, path))
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "role '%s' has method '%s' already",
				       role->name, path);
	role->methods[role->n_methods++] = (struct rpc_method){
		.path = cleat_steal(path),
		.svc = svc,
		.index = index,
		.lane = options->lane,
		.kind = options->kind,
		.on_message = options->on_message,
		.input = d->input,
	};
	return CLEAT_OK;
}

enum cleat_code cleat_rpc_role_add_as(struct cleat_rpc_role *role, const char *name, ProtobufCService *svc,
				      const struct cleat_rpc_method *methods, size_t n_methods,
				      struct cleat_error *err)
{
	const ProtobufCServiceDescriptor *d = svc->descriptor;
	enum cleat_code code = check_names(d, methods, n_methods, err);

	if (code != CLEAT_OK)
		return code;
	struct rpc_method *grown =
		realloc(role->methods, (role->n_methods + d->n_methods + 1) * sizeof(*role->methods));
	if (!grown)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for service '%s'", name);
	role->methods = grown;
	for (unsigned i = 0; i < d->n_methods && code == CLEAT_OK; i++)
		code = add_method(role, name, svc, i, options_of(d->methods[i].name, methods, n_methods),
				  err);
	return code;
}

enum cleat_code cleat_rpc_role_add(struct cleat_rpc_role *role, ProtobufCService *svc,
				   const struct cleat_rpc_method *methods, size_t n_methods,
				   struct cleat_error *err)
{
	return cleat_rpc_role_add_as(role, svc->descriptor->name, svc, methods, n_methods, err);
}

/* ---- finding methods ---- */

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct rpc_method *)a)->path, ((const struct rpc_method *)b)->path);
}

void cleat_rt_role_sort(struct cleat_rpc_role *role)
{
	if (role->n_methods)
		qsort(role->methods, role->n_methods, sizeof(*role->methods), by_path);
}

/* Not grpc_slice_str_cmp(): that one orders by length first. */
static int compare_path(grpc_slice a, const char *b)
{
	size_t na = GRPC_SLICE_LENGTH(a), nb = strlen(b);
	int order = memcmp(GRPC_SLICE_START_PTR(a), b, na < nb ? na : nb);

	return order ? order : (na > nb) - (na < nb);
}

const struct rpc_method *cleat_rt_role_find(const struct cleat_rpc_role *role, grpc_slice path)
{
	size_t low = 0, high = role->n_methods;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = compare_path(path, role->methods[middle].path);
		if (order == 0)
			return &role->methods[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

void cleat_rpc_role_services(const struct cleat_rpc_role *role, void (*fn)(const char *name, void *arg),
			     void *arg)
{
	cleat_autofree char *last = NULL;

	for (size_t i = 0; i < role->n_methods; i++) {
		const char *path = role->methods[i].path + 1;
		size_t n = strcspn(path, "/");
		if (last && strlen(last) == n && strncmp(last, path, n) == 0)
			continue;
		free(last);
		last = strndup(path, n);
		if (last)
			fn(last, arg);
	}
}
