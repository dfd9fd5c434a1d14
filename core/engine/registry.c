/* registry.c - the table of backends; the only file of the engine that names any. */
#include <cleat/backend.h>

#include <string.h>

#include "util/mem.h"

#define MAX_BACKENDS 32

extern const struct cleat_backend cleat_backend_loop;
extern const struct cleat_backend cleat_backend_dir;
extern const struct cleat_backend cleat_backend_btrfs;

/* Frozen before threads start: backends are registered before an engine is opened. */
static const struct cleat_backend *backends[MAX_BACKENDS] = {
	&cleat_backend_loop,
	&cleat_backend_dir,
	&cleat_backend_btrfs,
};

const struct cleat_backend *cleat_backend_at(size_t i)
{
	return i < MAX_BACKENDS ? backends[i] : NULL;
}

const struct cleat_backend *cleat_backend_find(const char *name)
{
	for (size_t i = 0; i < MAX_BACKENDS && backends[i]; i++)
		if (strcmp(backends[i]->name, name) == 0)
			return backends[i];
	return NULL;
}

static bool has_required_slots(const struct cleat_backend *b)
{
	return b->name && b->summary && b->open && b->close && b->capabilities && b->scan && b->create && b->remove &&
	       b->update && b->map;
}

enum cleat_code cleat_backend_register(const struct cleat_backend *backend, struct cleat_error *err)
{
	if (backend->version != CLEAT_BACKEND_VERSION)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "backend has contract version %u, this library %d",
				       backend->version, CLEAT_BACKEND_VERSION);
	if (!has_required_slots(backend))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "backend '%s' lacks a required slot",
				       backend->name ? backend->name : "");
	if (cleat_backend_find(backend->name))
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "backend '%s' is registered already", backend->name);
	for (size_t i = 0; i < MAX_BACKENDS; i++) {
		if (!backends[i]) {
			backends[i] = backend;
			return CLEAT_OK;
		}
	}
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "more than %d backends", MAX_BACKENDS);
}
