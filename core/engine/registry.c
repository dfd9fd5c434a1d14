/* registry.c - the table of backends; the only file of the engine that names any.
 *
 * Built-in backends are there from the start.  Those that need large libraries are modules: shared objects called <name>.so that are loaded
 * when a configuration first names them, and stay.  They lie in the folder that the environment variable CLEAT_MODULE_DIR names, or else in
 * cleat/ beside libcleat.so, or else where the installation put them.
 */
#include <cleat/backend.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "util/mem.h"

#define MAX_BACKENDS 32
#define MODULE_SYMBOL "cleat_backend_module"

extern const struct cleat_backend cleat_backend_loop;
extern const struct cleat_backend cleat_backend_dir;
extern const struct cleat_backend cleat_backend_btrfs;

/* A module may be found under further names (links to its file): those have entries of their own. */
struct known {
	const char *name;
	const struct cleat_backend *backend;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the table; entries are added, never changed or removed */
static struct known known[MAX_BACKENDS] = {
	{ "loop", &cleat_backend_loop },
	{ "dir", &cleat_backend_dir },
	{ "btrfs", &cleat_backend_btrfs },
};

const struct cleat_backend *cleat_backend_at(size_t i)
{
	const struct cleat_backend *found = NULL;

	pthread_mutex_lock(&lock);
	for (size_t k = 0; k < MAX_BACKENDS && known[k].name && !found; k++)
		if (strcmp(known[k].name, known[k].backend->name) == 0 && i-- == 0)
			found = known[k].backend;
	pthread_mutex_unlock(&lock);
	return found;
}

/* With the lock. */
static const struct cleat_backend *find(const char *name)
{
	for (size_t i = 0; i < MAX_BACKENDS && known[i].name; i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].backend;
	return NULL;
}

const struct cleat_backend *cleat_backend_find(const char *name)
{
	pthread_mutex_lock(&lock);
	const struct cleat_backend *found = find(name);
	pthread_mutex_unlock(&lock);
	return found;
}

static bool has_required_slots(const struct cleat_backend *b)
{
	return b->name && b->summary && b->open && b->close && b->capabilities && b->scan && b->create && b->remove &&
	       b->update && b->map;
}

/* With the lock. */
static enum cleat_code add(const char *name, const struct cleat_backend *backend, struct cleat_error *err)
{
	if (backend->version != CLEAT_BACKEND_VERSION)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "backend has contract version %u, this library %d",
				       backend->version, CLEAT_BACKEND_VERSION);
	if (!has_required_slots(backend))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "backend '%s' lacks a required slot",
				       backend->name ? backend->name : "");
	if (find(name))
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "backend '%s' is registered already", name);
	for (size_t i = 0; i < MAX_BACKENDS; i++) {
		if (!known[i].name) {
			known[i] = (struct known){ name, backend };
			return CLEAT_OK;
		}
	}
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "more than %d backends", MAX_BACKENDS);
}

enum cleat_code cleat_backend_register(const struct cleat_backend *backend, struct cleat_error *err)
{
	pthread_mutex_lock(&lock);
	enum cleat_code code = add(backend->name ? backend->name : "", backend, err);
	pthread_mutex_unlock(&lock);
	return code;
}

/* ---- modules ---- */

static bool is_module_name(const char *name)
{
	const size_t n = strlen(name);

	return n > 0 && n <= 31 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n && name[0] != '-';
}

static bool exists(const char *dir, int dir_bytes, const char *name, char path[4096])
{
	return snprintf(path, 4096, "%.*s/%s.so", dir_bytes, dir, name) < 4096 && access(path, F_OK) == 0;
}

static bool module_path(const char *name, char path[4096])
{
	const char *dir = secure_getenv("CLEAT_MODULE_DIR");
	char beside[4096];
	Dl_info info;

	if (dir && *dir)
		return exists(dir, (int)strlen(dir), name, path);
	const char *self = dladdr(known, &info) && info.dli_fname ? info.dli_fname : "";
	const char *slash = strrchr(self, '/');
	if (slash && snprintf(beside, sizeof(beside), "%.*s/cleat", (int)(slash - self), self) < (int)sizeof(beside) &&
	    exists(beside, (int)strlen(beside), name, path))
		return true;
	return exists(CLEAT_MODULE_DIR, (int)strlen(CLEAT_MODULE_DIR), name, path);
}

/* With the lock: loading the same module twice at once would register it twice. */
static enum cleat_code load(const char *name, const struct cleat_backend **out, struct cleat_error *err)
{
	char path[4096];

	if (!is_module_name(name) || !module_path(name, path))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "there is no backend '%s'", name);
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct cleat_backend *backend = module ? dlsym(module, MODULE_SYMBOL) : NULL;
	if (!backend) {
		const char *why = dlerror();
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "backend '%s' cannot be loaded: %s", name, why ? why : path);
	}
	/* By another name than its own: under that one it is found from now on, too. */
	char *copy = strdup(name);
	if (!copy)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (add(copy, backend, err) ||
	    (strcmp(name, backend->name) != 0 && !find(backend->name) && add(backend->name, backend, err))) {
		if (find(name) != backend)
			free(copy);
		return cleat_error_wrap(err, "%s", path);
	}
	*out = backend;
	return CLEAT_OK;
}

enum cleat_code cleat_backend_load(const char *name, const struct cleat_backend **out, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	pthread_mutex_lock(&lock);
	const struct cleat_backend *found = find(name);
	if (!found)
		code = load(name, &found, err);
	pthread_mutex_unlock(&lock);
	if (code == CLEAT_OK && out)
		*out = found;
	return code;
}
