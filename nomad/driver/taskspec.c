/* taskspec.c - see taskspec.h. */
#include "driver/taskspec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/caps.h"
#include "driver/state.h"
#include "util/mem.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define FIXED_MOUNTS 3 /* /alloc, /local, /secrets */
#define MAX_ENV 8192
#define MIB (1024 * 1024)

static enum cleat_code out_of_memory(struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code copy_text(char **out, const char *text, struct cleat_error *err)
{
	*out = text ? strdup(text) : NULL;
	return *out || !text ? CLEAT_OK : out_of_memory(err);
}

static const char *or_null(const char *text)
{
	return text && *text ? text : NULL;
}

/* ---- cgroups ---- */

/* Nomad hands over one path, that of the cpuset: with the unified hierarchy the task's own scope; with the
 * old ones the directory of a partition, beside which each controller has "nomad/<allocation>.<task>". */
static const char *cpuset_cgroup(const Nomad__TaskConfig *task)
{
	const Nomad__LinuxResources *r = task->resources ? task->resources->linux_resources : NULL;

	return r ? r->cpuset_cgroup : "";
}

static bool is_scope(const char *path)
{
	size_t n = strlen(path);

	return path[0] == '/' && n > 6 && strcmp(path + n - 6, ".scope") == 0;
}

void driver_task_cgroup(const Nomad__TaskConfig *task, char *out, size_t room)
{
	const char *path = cpuset_cgroup(task);
	int n = 0;

	if (is_scope(path))
		n = snprintf(out, room, "%s", path);
	else if (*path)
		n = snprintf(out, room, "/sys/fs/cgroup/freezer/nomad/%s.%s", task->alloc_id, task->name);
	if (n <= 0 || (size_t)n >= room || access(out, F_OK))
		out[0] = '\0';
}

static enum cleat_code put_cgroup(const Nomad__TaskConfig *task, struct run_spec *out,
				  struct cleat_error *err)
{
	const char *path = cpuset_cgroup(task);

	if (!*path)
		return CLEAT_OK;
	if (is_scope(path))
		return copy_text(&out->cgroup_parent, path, err);
	if (asprintf(&out->cgroup_parent, "nomad/%s.%s", task->alloc_id, task->name) < 0) {
		out->cgroup_parent = NULL;
		return out_of_memory(err);
	}
	/* Without reserved cores the task shares what the others leave, which changes: only a reservation is
	 * a fixed set. */
	return strstr(path, "/reserve")
		       ? copy_text(&out->cpuset, or_null(task->resources->linux_resources->cpuset_cpus), err)
		       : CLEAT_OK;
}

static enum cleat_code put_resources(const struct driver_settings *settings, const Nomad__TaskConfig *task,
				     const struct driver_job_config *job, struct run_spec *out,
				     struct cleat_error *err)
{
	const Nomad__LinuxResources *r = task->resources ? task->resources->linux_resources : NULL;
	const Nomad__AllocatedTaskResources *a =
		task->resources ? task->resources->allocated_resources : NULL;

	out->pids_max = job->pids_limit >= 0 ? job->pids_limit : settings->pids_limit;
	if (r) {
		out->cpu_shares = r->cpu_shares > 0 ? r->cpu_shares : 0;
		out->memory_bytes = r->memory_limit_bytes > 0 ? r->memory_limit_bytes : 0;
	}
	if (a && a->memory && a->memory->memory_max_mb > a->memory->memory_mb && a->memory->memory_mb > 0)
		out->memory_low_bytes = a->memory->memory_mb * MIB;
	return put_cgroup(task, out, err);
}

/* ---- command and environment ---- */

static enum cleat_code put_argv(const struct driver_job_config *job, struct run_spec *out,
				struct cleat_error *err)
{
	size_t n = 0;

	while (job->args && job->args[n])
		n++;
	out->argv = calloc(n + 2, sizeof(*out->argv));
	if (!out->argv || copy_text(&out->argv[0], job->command, err))
		return out_of_memory(err);
	for (size_t i = 0; i < n; i++)
		if (copy_text(&out->argv[i + 1], job->args[i], err))
			return err->code;
	return CLEAT_OK;
}

/* The limits of cleat_kv_set() are those of parameters; a task's environment may be larger. */
static enum cleat_code add_env(struct cleat_kvs *env, const char *key, const char *value,
			       struct cleat_error *err)
{
	if (!*key || strchr(key, '='))
		return CLEAT_OK; /* no program could see it */
	struct cleat_kv *kv = &env->items[env->count];
	kv->key = strdup(key);
	kv->value = strdup(value);
	env->count++;
	return kv->key && kv->value ? CLEAT_OK : out_of_memory(err);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct cleat_kv *)a)->key, ((const struct cleat_kv *)b)->key);
}

/* Sorts, and drops all but the first of each key; qsort() may swap equal ones, so duplicates are dropped
 * before. */
static void settle_env(struct cleat_kvs *env)
{
	size_t kept = 0;

	qsort(env->items, env->count, sizeof(*env->items), by_key);
	for (size_t i = 0; i < env->count; i++) {
		if (kept && strcmp(env->items[kept - 1].key, env->items[i].key) == 0) {
			free(env->items[i].key);
			free(env->items[i].value);
			continue;
		}
		env->items[kept++] = env->items[i];
	}
	env->count = kept;
}

static bool has_env(const Nomad__TaskConfig *task, const char *key)
{
	for (size_t i = 0; i < task->n_env; i++)
		if (strcmp(task->env[i]->key, key) == 0)
			return true;
	return false;
}

static enum cleat_code put_env(const Nomad__TaskConfig *task, struct run_spec *out, struct cleat_error *err)
{
	size_t n = task->n_env + task->n_device_env;

	if (n > MAX_ENV)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "env: %zu variables are more than %d", n,
				       MAX_ENV);
	out->env.items = calloc(n + 1, sizeof(*out->env.items));
	if (!out->env.items)
		return out_of_memory(err);
	for (size_t i = 0; i < task->n_env; i++)
		if (add_env(&out->env, task->env[i]->key, task->env[i]->value, err))
			return err->code;
	for (size_t i = 0; i < task->n_device_env; i++)
		if (!has_env(task, task->device_env[i]->key) &&
		    add_env(&out->env, task->device_env[i]->key, task->device_env[i]->value, err))
			return err->code;
	if (!has_env(task, "PATH") && add_env(&out->env, "PATH", DEFAULT_PATH, err))
		return err->code;
	settle_env(&out->env);
	return CLEAT_OK;
}

/* ---- user and rights ---- */

/* "nomad-<uid>": a dynamic workload user, who is in no passwd file. */
static bool is_dynamic_user(const char *user, uid_t *uid_out)
{
	char *end;

	if (strncmp(user, "nomad-", 6) != 0 || user[6] < '0' || user[6] > '9')
		return false;
	unsigned long uid = strtoul(user + 6, &end, 10);
	if (*end || uid == 0 || uid >= (uid_t)-1)
		return false;
	*uid_out = (uid_t)uid;
	return true;
}

static bool lies_below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	while (n > 1 && prefix[n - 1] == '/')
		n--;
	return strncmp(path, prefix, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1);
}

/* Symlinks are resolved first, so that what is compared is what will be used. */
static enum cleat_code put_rootfs(const struct driver_settings *settings, const char *rootfs,
				  struct run_spec *out, struct cleat_error *err)
{
	if (!rootfs)
		return CLEAT_OK;
	out->rootfs = realpath(rootfs, NULL);
	if (!out->rootfs)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "config: rootfs: '%.200s' does not exist on this node", rootfs);
	for (char **p = settings->allow_rootfs; p && *p; p++) {
		cleat_autofree char *prefix = realpath(*p, NULL);

		if (prefix && lies_below(out->rootfs, prefix))
			return CLEAT_OK;
	}
	return cleat_error_set(
		err, CLEAT_PERMISSION_DENIED,
		"config: rootfs: '%.200s' does not lie below a directory of the plugin's allow_rootfs",
		rootfs);
}

static enum cleat_code put_rights(const struct driver_settings *settings, const Nomad__TaskConfig *task,
				  const struct driver_job_config *job, struct run_spec *out,
				  struct cleat_error *err)
{
	out->no_new_privileges = job->no_new_privileges;
	out->seccomp = !job->seccomp || strcmp(job->seccomp, "unconfined") != 0;
	if (!out->seccomp && !settings->allow_unconfined)
		return cleat_error_set(
			err, CLEAT_PERMISSION_DENIED,
			"config: seccomp: 'unconfined' is not permitted by the plugin's allow_unconfined");
	if (driver_caps_choose(settings->allow_caps, job->cap_add, job->cap_drop, &out->caps, err) ||
	    put_rootfs(settings, job->rootfs, out, err))
		return err->code;
	if (is_dynamic_user(task->user, &out->dynamic_uid))
		return CLEAT_OK;
	out->dynamic_uid = (uid_t)-1;
	return copy_text(&out->user, or_null(task->user), err);
}

static bool read_limit(const char *text, uint64_t *out, const char **rest)
{
	char *end;

	if (strncmp(text, "unlimited", 9) == 0 || strncmp(text, "-1", 2) == 0) {
		*out = UINT64_MAX;
		*rest = text + (text[0] == '-' ? 2 : 9);
		return true;
	}
	if (*text < '0' || *text > '9')
		return false;
	*out = strtoull(text, &end, 10);
	*rest = end;
	return *out != UINT64_MAX;
}

static enum cleat_code put_limit(const struct cleat_kv *kv, struct run_limit *out, struct cleat_error *err)
{
	const char *at = kv->value;

	if (copy_text(&out->name, kv->key, err))
		return err->code;
	bool good = read_limit(at, &out->soft, &at);
	out->hard = out->soft;
	if (good && *at == ':')
		good = read_limit(at + 1, &out->hard, &at);
	if (good && *at == '\0' && out->soft <= out->hard)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
			       "config: ulimit: %s: '%.64s' is no limit (as 1024 or 1024:4096)", kv->key,
			       kv->value);
}

static enum cleat_code put_limits(const struct driver_job_config *job, struct run_spec *out,
				  struct cleat_error *err)
{
	out->limits = calloc(job->ulimit.count + 1, sizeof(*out->limits));
	if (!out->limits)
		return out_of_memory(err);
	for (size_t i = 0; i < job->ulimit.count; i++) {
		out->limit_count = i + 1;
		if (put_limit(&job->ulimit.items[i], &out->limits[i], err))
			return err->code;
	}
	return CLEAT_OK;
}

/* ---- mounts and devices ---- */

static enum cleat_code add_mount(struct run_spec *out, const char *source, const char *target, bool read_only,
				 const char *propagation, const char *label, struct cleat_error *err)
{
	struct run_mount *m = &out->mounts[out->mount_count++];

	m->read_only = read_only;
	if (copy_text(&m->source, source, err) || copy_text(&m->propagation, propagation, err) ||
	    copy_text(&m->selinux_label, label, err))
		return err->code;
	if (target[0] == '/')
		return copy_text(&m->target, target, err);
	/* Jobs may give paths relative to the task's root. */
	if (asprintf(&m->target, "/%s", target) < 0) {
		m->target = NULL;
		return out_of_memory(err);
	}
	return CLEAT_OK;
}

static enum cleat_code add_fixed(struct run_spec *out, const Nomad__TaskConfig *task, const char *below,
				 const char *target, struct cleat_error *err)
{
	cleat_autofree char *source = NULL;
	int n = *below == '/' ? asprintf(&source, "%s%s", task->alloc_dir, below)
			      : asprintf(&source, "%s/%s/%s", task->alloc_dir, task->name, below);

	if (n < 0) {
		source = NULL;
		return out_of_memory(err);
	}
	return add_mount(out, source, target, false, "rprivate", "", err);
}

static const char *propagation_of(const char *mode)
{
	if (strcmp(mode, "host-to-task") == 0)
		return "rslave";
	return strcmp(mode, "bidirectional") == 0 ? "rshared" : "rprivate";
}

static enum cleat_code put_mounts(const Nomad__TaskConfig *task, struct driver_job_config *job,
				  const State__Task *record, struct run_spec *out, struct cleat_error *err)
{
	out->mounts = calloc(FIXED_MOUNTS + task->n_mounts + job->volumes.count + 1, sizeof(*out->mounts));
	if (!out->mounts)
		return out_of_memory(err);
	if (add_fixed(out, task, "/alloc", "/alloc", err) || add_fixed(out, task, "local", "/local", err) ||
	    add_fixed(out, task, "secrets", "/secrets", err))
		return err->code;
	for (size_t i = 0; i < task->n_mounts; i++) {
		const Nomad__Mount *m = task->mounts[i];

		if (add_mount(out, m->host_path, m->task_path, m->readonly,
			      propagation_of(m->propagation_mode), m->selinux_label, err))
			return err->code;
	}
	for (size_t i = 0; i < job->volumes.count && i < record->n_volumes; i++) {
		const struct driver_volume_config *v = driver_job_volume(job, i);

		if (add_mount(out, record->volumes[i]->target, v->destination, v->read_only, "rprivate", "",
			      err))
			return err->code;
	}
	return CLEAT_OK;
}

static enum cleat_code put_devices(const Nomad__TaskConfig *task, struct run_spec *out,
				   struct cleat_error *err)
{
	out->devices = calloc(task->n_devices + 1, sizeof(*out->devices));
	if (!out->devices)
		return out_of_memory(err);
	for (size_t i = 0; i < task->n_devices; i++) {
		const Nomad__Device *from = task->devices[i];
		struct run_device *to = &out->devices[out->device_count++];

		if (copy_text(&to->source, from->host_path, err) ||
		    copy_text(&to->target, from->task_path, err) ||
		    copy_text(&to->permissions, *from->cgroup_permissions ? from->cgroup_permissions : "rwm",
			      err))
			return err->code;
	}
	return CLEAT_OK;
}

/* ---- network ---- */

static enum cleat_code put_words(char ***out, char *const *words, size_t n, struct cleat_error *err)
{
	*out = calloc(n + 1, sizeof(**out));
	if (!*out)
		return out_of_memory(err);
	for (size_t i = 0; i < n; i++)
		if (copy_text(&(*out)[i], words[i], err))
			return err->code;
	return CLEAT_OK;
}

static enum cleat_code put_dns(const Nomad__DNSConfig *dns, struct run_spec *out, struct cleat_error *err)
{
	if (!dns || (!dns->n_servers && !dns->n_searches && !dns->n_options))
		return CLEAT_OK;
	if (put_words(&out->dns_servers, dns->servers, dns->n_servers, err) ||
	    put_words(&out->dns_searches, dns->searches, dns->n_searches, err))
		return err->code;
	return put_words(&out->dns_options, dns->options, dns->n_options, err);
}

static enum cleat_code put_network(const Nomad__TaskConfig *task, const struct driver_job_config *job,
				   struct run_spec *out, struct cleat_error *err)
{
	const Nomad__NetworkIsolationSpec *n = task->network_isolation_spec;
	const Nomad__HostsConfig *hosts = n ? n->hosts_config : NULL;
	const char *hostname = job->hostname ? job->hostname : hosts ? or_null(hosts->hostname) : NULL;

	if (put_dns(task->dns, out, err) || copy_text(&out->hostname, hostname, err))
		return err->code;
	if (hosts && *hosts->hostname && *hosts->address &&
	    asprintf(&out->hosts, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n%s %s\n",
		     hosts->address, hosts->hostname) < 0) {
		out->hosts = NULL;
		return out_of_memory(err);
	}
	if (!n || n->mode == NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__HOST)
		return CLEAT_OK;
	out->private_net =
		!*n->path && n->mode == NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__NONE;
	return copy_text(&out->netns, or_null(n->path), err);
}

/* ---- all of it ---- */

static enum cleat_code put_output(const Nomad__TaskConfig *task, struct run_spec *out,
				  struct cleat_error *err)
{
	if (copy_text(&out->stdout_path, or_null(task->stdout_path), err) ||
	    copy_text(&out->stderr_path, or_null(task->stderr_path), err))
		return err->code;
	return CLEAT_OK;
}

enum cleat_code driver_taskspec(const struct driver_settings *settings, const Nomad__TaskConfig *task,
				struct driver_job_config *job, const State__Task *record,
				struct run_spec *out, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	out->dynamic_uid = (uid_t)-1;
	if (copy_text(&out->id, record->container, err) || copy_text(&out->cwd, job->work_dir, err) ||
	    put_argv(job, out, err) || put_env(task, out, err) || put_rights(settings, task, job, out, err) ||
	    put_limits(job, out, err) || put_mounts(task, job, record, out, err) ||
	    put_devices(task, out, err) || put_network(task, job, out, err) ||
	    put_resources(settings, task, job, out, err) || put_output(task, out, err)) {
		run_spec_done(out);
		*out = (struct run_spec){ 0 };
		return err->code;
	}
	return CLEAT_OK;
}
