/* bundle.c - config.json of the OCI runtime specification: the process, its namespaces and its limits. */
#include "driver/run/internal.h"

#include "util/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define UMASK 022
#define CPU_LEAST 2 /* what the kernel takes */

/* What a task may not look at, and not change: the machine's own affairs in /proc and /sys. */
static const char *const masked[] = { "/proc/acpi",	   "/proc/asound",    "/proc/interrupts",
				      "/proc/kcore",	   "/proc/keys",      "/proc/latency_stats",
				      "/proc/sched_debug", "/proc/scsi",      "/proc/timer_list",
				      "/proc/timer_stats", "/sys/dev/block",  "/sys/devices/virtual/powercap",
				      "/sys/firmware",	   "/sys/fs/selinux", NULL };
static const char *const read_only[] = { "/proc/bus",		"/proc/fs", "/proc/irq", "/proc/sys",
					 "/proc/sysrq-trigger", NULL };

/* And in the host's own /etc: who else has an account here, and what services of the machine keep there. */
static const char *const masked_of_host[] = { "/etc/shadow",
					      "/etc/shadow-",
					      "/etc/gshadow",
					      "/etc/gshadow-",
					      "/etc/security/opasswd",
					      "/etc/ssl/private",
					      "/etc/sudoers",
					      "/etc/sudoers.d",
					      "/etc/ssh/ssh_host_rsa_key",
					      "/etc/ssh/ssh_host_ecdsa_key",
					      "/etc/ssh/ssh_host_ed25519_key",
					      "/etc/cleat",
					      "/etc/nomad",
					      "/etc/nomad.d",
					      "/etc/consul.d",
					      "/etc/vault.d",
					      NULL };

/* ---- process ---- */

static void add_variable(struct run_bundle *b, json_t *env, const char *name, const char *value)
{
	cleat_autofree char *text = NULL;

	if (asprintf(&text, "%s=%s", name, value) < 0)
		text = NULL;
	run_json_add(b, env, text ? run_json_text(b, text) : NULL);
}

static json_t *env_json(struct run_bundle *b)
{
	const struct cleat_kvs *given = &b->spec->env;
	json_t *env = json_array();
	bool path = false, home = false;

	for (size_t i = 0; i < given->count; i++) {
		path = path || strcmp(given->items[i].key, "PATH") == 0;
		home = home || strcmp(given->items[i].key, "HOME") == 0;
		add_variable(b, env, given->items[i].key, given->items[i].value);
	}
	if (!path)
		add_variable(b, env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (!home)
		add_variable(b, env, "HOME", b->user.home);
	return env;
}

static json_t *user_json(struct run_bundle *b)
{
	json_t *user = json_object(), *groups = json_array();

	for (size_t i = 0; i < b->user.group_count; i++)
		run_json_add(b, groups, json_integer(b->user.groups[i]));
	run_json_put(b, user, "uid", json_integer(b->user.uid));
	run_json_put(b, user, "gid", json_integer(b->user.gid));
	run_json_put(b, user, "umask", json_integer(UMASK));
	run_json_put(b, user, "additionalGids", groups);
	return user;
}

static json_t *process_json(struct run_bundle *b)
{
	json_t *process = json_object();

	run_json_put(b, process, "terminal", json_false());
	run_json_put(b, process, "user", user_json(b));
	run_json_put(b, process, "args", run_json_list(b, (const char *const *)b->spec->argv));
	run_json_put(b, process, "env", env_json(b));
	run_json_put(b, process, "cwd", run_json_text(b, b->spec->cwd ? b->spec->cwd : "/"));
	run_json_put(b, process, "capabilities", run_caps_json(b));
	run_json_put(b, process, "noNewPrivileges", json_boolean(b->spec->no_new_privileges));
	if (b->spec->limit_count > 0)
		run_json_put(b, process, "rlimits", run_limits_json(b));
	return process;
}

/* ---- linux ---- */

static void add_namespace(struct run_bundle *b, json_t *list, const char *type, const char *path)
{
	json_t *one = json_object();

	run_json_put(b, one, "type", json_string(type));
	if (path)
		run_json_put(b, one, "path", run_json_text(b, path));
	run_json_add(b, list, one);
}

/* With cgroup v1 the task sees only its own directories of each hierarchy anyway, and hosts look whether /proc/self/cgroup names theirs; with
 * v2 the whole tree would be visible without a namespace. */
static json_t *namespaces_json(struct run_bundle *b)
{
	static const char *const own[] = { "pid", "ipc", "uts", "mount" };
	json_t *list = json_array();

	for (size_t i = 0; i < CLEAT_COUNT(own); i++)
		add_namespace(b, list, own[i], NULL);
	if (run_cgroup_mode() == RUN_CGROUP_V2)
		add_namespace(b, list, "cgroup", NULL);
	if (b->spec->netns || b->spec->private_net)
		add_namespace(b, list, "network", b->spec->netns);
	return list;
}

static void put_memory(struct run_bundle *b, json_t *resources)
{
	const struct run_spec *spec = b->spec;
	json_t *memory = json_object();

	if (spec->memory_bytes > 0) {
		run_json_put(b, memory, "limit", json_integer(spec->memory_bytes));
		/* Memory and swap together: no swap beside the limit. */
		if (run_cgroup_limits_swap(b->plan->cgroup))
			run_json_put(b, memory, "swap", json_integer(spec->memory_bytes));
	}
	if (spec->memory_low_bytes > 0)
		run_json_put(b, memory, "reservation", json_integer(spec->memory_low_bytes));
	run_json_put(b, resources, "memory", memory);
}

static void put_cpu(struct run_bundle *b, json_t *resources)
{
	const struct run_spec *spec = b->spec;
	json_t *cpu = json_object();

	if (spec->cpu_shares > 0)
		run_json_put(b, cpu, "shares",
			     json_integer(spec->cpu_shares < CPU_LEAST ? CPU_LEAST : spec->cpu_shares));
	if (spec->cpuset && *spec->cpuset)
		run_json_put(b, cpu, "cpus", run_json_text(b, spec->cpuset));
	run_json_put(b, resources, "cpu", cpu);
}

static json_t *resources_json(struct run_bundle *b)
{
	json_t *resources = json_object();

	if (!b->unruled)
		run_json_put(b, resources, "devices", json_incref(b->device_rules));
	if (b->spec->memory_bytes > 0 || b->spec->memory_low_bytes > 0)
		put_memory(b, resources);
	if (b->spec->cpu_shares > 0 || (b->spec->cpuset && *b->spec->cpuset))
		put_cpu(b, resources);
	if (b->spec->pids_max > 0)
		run_json_put(b, resources, "pids", json_pack("{sI}", "limit", (json_int_t)b->spec->pids_max));
	return resources;
}

static json_t *linux_json(struct run_bundle *b, const char *propagation)
{
	json_t *on = json_object(), *hidden = run_json_list(b, masked);

	for (const char *const *p = masked_of_host; !b->spec->rootfs && *p; p++)
		run_json_add(b, hidden, json_string(*p));
	run_json_put(b, on, "cgroupsPath", run_json_text(b, b->plan->cgroup));
	run_json_put(b, on, "namespaces", namespaces_json(b));
	run_json_put(b, on, "resources", resources_json(b));
	run_json_put(b, on, "devices", json_incref(b->devices));
	run_json_put(b, on, "maskedPaths", hidden);
	run_json_put(b, on, "readonlyPaths", run_json_list(b, read_only));
	if (propagation)
		run_json_put(b, on, "rootfsPropagation", json_string(propagation));
	if (b->spec->seccomp)
		run_json_put(b, on, "seccomp", run_seccomp_json(b));
	return on;
}

/* ---- all of it ---- */

static json_t *config_json(struct run_bundle *b)
{
	json_t *config = json_object(), *root = json_object();
	const char *propagation = NULL;
	char root_path[PATH_MAX] = "";

	run_rootfs_add(b, root_path, sizeof(root_path));
	run_network_files_add(b);
	run_devices_add(b);
	run_mounts_add(b, &propagation);
	run_json_put(b, root, "path", run_json_text(b, root_path));
	run_json_put(b, root, "readonly", json_boolean(!b->spec->rootfs));
	run_json_put(b, config, "ociVersion", json_string("1.0.2"));
	run_json_put(b, config, "process", process_json(b));
	run_json_put(b, config, "root", root);
	if (b->spec->hostname && *b->spec->hostname)
		run_json_put(b, config, "hostname", run_json_text(b, b->spec->hostname));
	run_json_put(b, config, "mounts", json_incref(b->mounts));
	run_json_put(b, config, "linux", linux_json(b, propagation));
	return config;
}

static enum cleat_code write_config(struct run_bundle *b)
{
	json_t *config = config_json(b);

	if (b->code == CLEAT_OK)
		b->code = run_put_json(b->place->fd, "process.json", json_object_get(config, "process"),
				       b->err);
	if (b->code == CLEAT_OK)
		b->code = run_put_json(b->place->fd, "config.json", config, b->err);
	json_decref(config);
	return b->code;
}

/* With cgroup v2 they are a program in the kernel, for which crun lifts a limit that not everybody may lift.
 */
static bool can_rule_devices(void)
{
	struct rlimit limit;

	return run_cgroup_mode() != RUN_CGROUP_V2 || run_has_cap(NULL, "CAP_SYS_RESOURCE") ||
	       (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_max == RLIM_INFINITY);
}

/* A root file system that is there, and a working directory that need not be made in the host's. */
static enum cleat_code check_root(const struct run_spec *spec, struct cleat_error *err)
{
	struct stat st;

	if (spec->rootfs && stat(spec->rootfs, &st) < 0)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "root file system '%.200s' does not exist",
				       spec->rootfs);
	if (spec->rootfs && !S_ISDIR(st.st_mode))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "root file system '%.200s' is not a directory", spec->rootfs);
	if (spec->netns && stat(spec->netns, &st) < 0)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "network namespace '%.200s' does not exist",
				       spec->netns);
	return spec->cwd ? run_rootfs_check(spec, spec->cwd, "working directory", err) : CLEAT_OK;
}

enum cleat_code run_bundle_write(const struct run_spec *spec, const struct run_place *place,
				 struct run_plan *plan, struct cleat_error *err)
{
	struct run_bundle b = { .spec = spec, .place = place, .plan = plan, .err = err };
	enum cleat_code code = check_root(spec, err);

	if (code == CLEAT_OK)
		code = run_limits_check(spec, err);
	if (code == CLEAT_OK)
		code = run_caps_check(spec, err);
	if (code == CLEAT_OK)
		code = run_user_find(spec, &b.user, err);
	if (code != CLEAT_OK)
		return code;
	b.unruled = !can_rule_devices();
	if (b.unruled)
		run_note(plan, "the task cannot make device nodes, because their use cannot be limited here "
			       "(no CAP_SYS_RESOURCE)");
	b.mounts = json_array();
	b.devices = json_array();
	b.device_rules = json_pack("[{sb ss}]", "allow", 0, "access", "rwm");
	code = b.mounts && b.devices && b.device_rules
		       ? write_config(&b)
		       : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	json_decref(b.mounts);
	json_decref(b.devices);
	json_decref(b.device_rules);
	return code;
}
