/* params.c - ListParameters: the tables of keys that backends and file systems take, as they are compiled in.
 */
#include "service/internal.h"

#include <string.h>

/* Appends the keys of a table (may be NULL) to a list that grows in the arena. */
static bool put_table(struct cleat_pb_arena *a, const struct cleat_param *table, size_t *n,
		      Cleat__V1__Parameter ***list)
{
	Cleat__V1__Parameter **grown;
	size_t more = 0;

	while (table && table[more].key)
		more++;
	if (more == 0)
		return true;
	grown = cleat_pb_arena_get(a, (*n + more) * sizeof(*grown));
	if (!grown)
		return false;
	if (*n)
		memcpy(grown, *list, *n * sizeof(*grown));
	*list = grown;
	for (size_t i = 0; i < more; i++) {
		grown[*n] = cleat_wire_parameter(a, &table[i]);
		if (!grown[*n])
			return false;
		++*n;
	}
	return true;
}

static Cleat__V1__BackendParameters *wire_backend(struct cleat_pb_arena *a, const struct cleat_backend *b)
{
	Cleat__V1__BackendParameters *out = cleat_pb_arena_get(a, sizeof(*out));

	if (!out)
		return NULL;
	cleat__v1__backend_parameters__init(out);
	out->backend = cleat_pb_text(b->name);
	out->summary = cleat_pb_text(b->summary);
	out->uses_fs = b->uses_fs;
	if (!put_table(a, b->pool_params, &out->n_pool, &out->pool) ||
	    !put_table(a, b->volume_params, &out->n_volume, &out->volume) ||
	    !put_table(a, cleat_param_common, &out->n_volume, &out->volume))
		return NULL;
	return out;
}

static bool put_backends(struct cleat_pb_arena *a, const char *only, Cleat__V1__ListParametersResponse *out,
			 bool *uses_fs)
{
	const struct cleat_backend *b;
	size_t count = 0;

	while (cleat_backend_at(count))
		count++;
	out->backends = cleat_pb_arena_get(a, (count + 1) * sizeof(*out->backends));
	if (!out->backends)
		return false;
	for (size_t i = 0; (b = cleat_backend_at(i)); i++) {
		if (only[0] && strcmp(only, b->name) != 0)
			continue;
		out->backends[out->n_backends] = wire_backend(a, b);
		if (!out->backends[out->n_backends++])
			return false;
		*uses_fs |= b->uses_fs;
	}
	return true;
}

static Cleat__V1__FileSystemParameters *wire_file_system(struct cleat_pb_arena *a, size_t i)
{
	Cleat__V1__FileSystemParameters *out = cleat_pb_arena_get(a, sizeof(*out));
	const struct cleat_param *make, *mount;
	const char *name;

	if (!out || !cleat_param_fs_at(i, &name, &make, &mount))
		return NULL;
	cleat__v1__file_system_parameters__init(out);
	out->fs = cleat_pb_text(name);
	return put_table(a, make, &out->n_make, &out->make) && put_table(a, mount, &out->n_mount, &out->mount)
		       ? out
		       : NULL;
}

static bool put_file_systems(struct cleat_pb_arena *a, Cleat__V1__ListParametersResponse *out)
{
	size_t count = 0;

	while (cleat_param_fs_at(count, NULL, NULL, NULL))
		count++;
	out->file_systems = cleat_pb_arena_get(a, (count + 1) * sizeof(*out->file_systems));
	for (size_t i = 0; out->file_systems && i < count; i++) {
		out->file_systems[i] = wire_file_system(a, i);
		if (!out->file_systems[i])
			return false;
		out->n_file_systems++;
	}
	return out->file_systems;
}

void service_on_list_parameters(Cleat__V1__Volumes_Service *base, const Cleat__V1__ListParametersRequest *in,
				Cleat__V1__ListParametersResponse_Closure done, void *call)
{
	Cleat__V1__ListParametersResponse out = CLEAT__V1__LIST_PARAMETERS_RESPONSE__INIT;
	cleat_autoarena struct cleat_pb_arena a;
	bool uses_fs = false;

	(void)base;
	(void)done;
	cleat_pb_arena_init(&a, CLEAT_REPLY_ARENA_BYTES);
	if (in->backend[0] && !cleat_backend_find(in->backend)) {
		cleat_rpc_call_fail(call, CLEAT_NOT_FOUND, "there is no backend '%s'", in->backend);
		return;
	}
	if (put_backends(&a, in->backend, &out, &uses_fs) && (!uses_fs || put_file_systems(&a, &out)))
		cleat_rpc_call_reply(call, &out.base);
	else
		cleat_reply_no_memory(call);
}
