/* spec.c - what a job may ask for: checks that need no look at the machine, and freeing. */
#include "driver/run/internal.h"

#include "util/mem.h"

#include <ctype.h>
#include <string.h>

#define MAX_TEXTS 4096		    /* arguments, variables */
#define MAX_TEXT_BYTES (128 * 1024) /* execve(2): MAX_ARG_STRLEN */
#define MAX_THINGS 256		    /* mounts, devices, limits */

enum cleat_code run_check_id(const char *id, struct cleat_error *err)
{
	size_t n = id ? strnlen(id, RUN_ID_MAX_BYTES + 1) : 0;

	if (n == 0 || n > RUN_ID_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a task's id has 1 to %d characters",
				       RUN_ID_MAX_BYTES);
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)id[i]) && !strchr(i ? "_.-" : "_", id[i]))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "a task's id has only letters, digits, '_', '.' and '-', and "
					       "begins with none of the last two");
	return CLEAT_OK;
}

static enum cleat_code check_list(char *const *list, const char *what, struct cleat_error *err)
{
	size_t n = 0;

	for (; list && list[n]; n++) {
		if (n == MAX_TEXTS)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "more than %d %ss", MAX_TEXTS,
					       what);
		if (strnlen(list[n], MAX_TEXT_BYTES) == MAX_TEXT_BYTES)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s %zu is longer than %d bytes",
					       what, n + 1, MAX_TEXT_BYTES);
	}
	return CLEAT_OK;
}

static enum cleat_code check_env(const struct cleat_kvs *env, struct cleat_error *err)
{
	if (env->count > MAX_TEXTS)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "more than %d environment variables",
				       MAX_TEXTS);
	for (size_t i = 0; i < env->count; i++) {
		const struct cleat_kv *kv = &env->items[i];
		if (!kv->key[0] || strchr(kv->key, '='))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "'%.60s' is no name of an environment variable", kv->key);
		if (strnlen(kv->key, MAX_TEXT_BYTES) + strnlen(kv->value, MAX_TEXT_BYTES) + 2 >
		    MAX_TEXT_BYTES)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "environment variable '%.60s' is longer than %d bytes",
					       kv->key, MAX_TEXT_BYTES);
	}
	return CLEAT_OK;
}

/* Absolute, without empty, "." and ".." components: what is above what can then be seen from the text. */
static enum cleat_code check_path(const char *path, const char *what, struct cleat_error *err)
{
	if (!path || path[0] != '/')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s '%.200s' is not an absolute path",
				       what, path ? path : "");
	if (strnlen(path, PATH_MAX) == PATH_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s is longer than %d bytes", what,
				       PATH_MAX - 1);
	for (const char *p = path + 1; *p; p += strcspn(p, "/"), p += *p == '/') {
		size_t n = strcspn(p, "/");
		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "%s '%.200s' has an empty part, '.' or '..'", what, path);
	}
	return CLEAT_OK;
}

bool run_path_is_beneath(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static enum cleat_code check_target(const char *target, const char *what, struct cleat_error *err)
{
	enum cleat_code code = check_path(target, what, err);

	if (code != CLEAT_OK)
		return code;
	if (strcmp(target, "/") == 0 || run_path_is_beneath(target, "/proc"))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s '%.200s': nothing may be put there",
				       what, target);
	return CLEAT_OK;
}

static enum cleat_code check_mounts(const struct run_spec *spec, struct cleat_error *err)
{
	static const char *const propagations[] = { "", "rprivate", "rslave", "rshared" };
	enum cleat_code code = CLEAT_OK;

	for (size_t i = 0; code == CLEAT_OK && i < spec->mount_count; i++) {
		const struct run_mount *m = &spec->mounts[i];
		const char *propagation = m->propagation ? m->propagation : "";
		size_t known = 0;
		while (known < CLEAT_COUNT(propagations) && strcmp(propagation, propagations[known]) != 0)
			known++;
		if (known == CLEAT_COUNT(propagations))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "propagation '%.40s' is none of rprivate, rslave, rshared",
					       propagation);
		code = check_path(m->source, "mount source", err);
		if (code == CLEAT_OK)
			code = check_target(m->target, "mount target", err);
	}
	return code;
}

static enum cleat_code check_devices(const struct run_spec *spec, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	for (size_t i = 0; code == CLEAT_OK && i < spec->device_count; i++) {
		const struct run_device *d = &spec->devices[i];
		const char *permissions = d->permissions && *d->permissions ? d->permissions : "rwm";
		if (permissions[strspn(permissions, "rwm")] != '\0')
			return cleat_error_set(
				err, CLEAT_INVALID_ARGUMENT,
				"permissions '%.20s' of device '%.200s' are not some of \"rwm\"", permissions,
				d->source);
		code = check_path(d->source, "device", err);
		if (code == CLEAT_OK && d->target)
			code = check_target(d->target, "device's path in the task", err);
	}
	return code;
}

static enum cleat_code check_numbers(const struct run_spec *spec, struct cleat_error *err)
{
	const int64_t all[] = { spec->cpu_shares, spec->memory_bytes, spec->memory_low_bytes,
				spec->pids_max };

	for (size_t i = 0; i < CLEAT_COUNT(all); i++)
		if (all[i] < 0)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a resource is negative");
	if (spec->cpuset && spec->cpuset[strspn(spec->cpuset, "0123456789,-")] != '\0')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%.60s' is no list of cores",
				       spec->cpuset);
	if (spec->mount_count > MAX_THINGS || spec->device_count > MAX_THINGS ||
	    spec->limit_count > MAX_THINGS)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "more than %d mounts, devices or limits",
				       MAX_THINGS);
	return CLEAT_OK;
}

static enum cleat_code check_paths(const struct run_spec *spec, struct cleat_error *err)
{
	const struct {
		const char *path, *what;
	} all[] = { { spec->rootfs, "root file system" },
		    { spec->cwd, "working directory" },
		    { spec->netns, "network namespace" },
		    { spec->stdout_path, "file for stdout" },
		    { spec->stderr_path, "file for stderr" } };
	enum cleat_code code = CLEAT_OK;

	for (size_t i = 0; code == CLEAT_OK && i < CLEAT_COUNT(all); i++)
		if (all[i].path)
			code = check_path(all[i].path, all[i].what, err);
	return code;
}

enum cleat_code run_check_spec(const struct run_spec *spec, struct cleat_error *err)
{
	enum cleat_code code = run_check_id(spec->id, err);

	if (code == CLEAT_OK && (!spec->argv || !spec->argv[0] || !spec->argv[0][0]))
		code = cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "there is no command");
	if (code == CLEAT_OK)
		code = check_list(spec->argv, "argument", err);
	if (code == CLEAT_OK)
		code = check_env(&spec->env, err);
	if (code == CLEAT_OK)
		code = check_paths(spec, err);
	if (code == CLEAT_OK)
		code = check_numbers(spec, err);
	if (code == CLEAT_OK)
		code = check_mounts(spec, err);
	return code == CLEAT_OK ? check_devices(spec, err) : code;
}

/* ---- freeing ---- */

static void free_list(char **list)
{
	for (char **p = list; p && *p; p++)
		free(*p);
	free(list);
}

static void free_mounts(struct run_spec *spec)
{
	for (size_t i = 0; i < spec->mount_count; i++) {
		free(spec->mounts[i].source);
		free(spec->mounts[i].target);
		free(spec->mounts[i].propagation);
		free(spec->mounts[i].selinux_label);
	}
	free(spec->mounts);
}

static void free_devices(struct run_spec *spec)
{
	for (size_t i = 0; i < spec->device_count; i++) {
		free(spec->devices[i].source);
		free(spec->devices[i].target);
		free(spec->devices[i].permissions);
	}
	free(spec->devices);
}

static void free_limits(struct run_spec *spec)
{
	for (size_t i = 0; i < spec->limit_count; i++)
		free(spec->limits[i].name);
	free(spec->limits);
}

void run_spec_done(struct run_spec *spec)
{
	char **const lists[] = { spec->argv, spec->caps, spec->dns_servers, spec->dns_searches,
				 spec->dns_options };
	char *const texts[] = { spec->id,	   spec->rootfs,     spec->cwd,
				spec->user,	   spec->hostname,   spec->netns,
				spec->hosts,	   spec->cpuset,     spec->cgroup_parent,
				spec->stdout_path, spec->stderr_path };

	for (size_t i = 0; i < CLEAT_COUNT(lists); i++)
		free_list(lists[i]);
	for (size_t i = 0; i < CLEAT_COUNT(texts); i++)
		free(texts[i]);
	free_mounts(spec);
	free_devices(spec);
	free_limits(spec);
	for (size_t i = 0; i < spec->env.count; i++) {
		free(spec->env.items[i].key);
		free(spec->env.items[i].value);
	}
	free(spec->env.items);
	*spec = (struct run_spec)RUN_SPEC_INIT;
}
