/* check.c - `check`: what is wrong with this machine's setup, told to people: the agent's flags, its list of
 * modules, the daemon's socket, the table of drivers. */
#include "helper/agent.h"
#include "helper/helper.h"

#include "module/module.h"
#include "module/settings.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MODULE "org_cleat_VolumeIsolator"
#define OLD_MODULE "com_emccode_mesos_DockerVolumeDriverIsolator"
#define LIBRARY "libcleat_mesos-"
#define MAX_PARAMETERS 64

struct check {
	const struct helper_args *args;
	struct helper_agent agent;
	struct mesos_settings settings;	 /* of the manifest; all NULL when there is none */
	const char *isolation, *modules; /* as given, or the agent's; "" */
	unsigned problems;
};

/* ---- telling ---- */

static void ok(const char *fmt, ...) CLEAT_PRINTF(1, 2);
static void note(const char *fmt, ...) CLEAT_PRINTF(1, 2);
static void bad(struct check *c, const char *fmt, ...) CLEAT_PRINTF(2, 3);

static void tell(const char *word, const char *fmt, va_list args)
{
	struct cleat_error line; /* makes one line without control characters */

	cleat_error_vset(&line, CLEAT_UNKNOWN, fmt, args);
	printf("%-8s %s\n", word, line.msg);
}

static void ok(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tell("ok", fmt, args);
	va_end(args);
}

static void note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tell("note", fmt, args);
	va_end(args);
}

static void bad(struct check *c, const char *fmt, ...)
{
	va_list args;

	c->problems++;
	va_start(args, fmt);
	tell("PROBLEM", fmt, args);
	va_end(args);
}

/* ---- the agent ---- */

static void look_at_agent(struct check *c)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	const struct helper_agent *a = &c->agent;

	if (helper_agent_find(&c->agent, &err))
		bad(c, "the agent: %s", err.msg);
	else if (!a->pid && !c->args->isolation)
		note("no mesos-agent runs here: --isolation and --modules tell what its flags will be");
	else if (a->pid)
		ok("the agent is process %d%s%s", (int)a->pid, *a->version ? ", Mesos " : "", a->version);
	if (a->own_mounts)
		bad(c,
		    "the agent has a mount namespace of its own and will not see the daemon's mounts: take "
		    "PrivateTmp=, PrivateMounts= and Protect*= out of its unit");
	if (a->launcher && strcmp(a->launcher, "posix") == 0)
		bad(c,
		    "the agent has --launcher=posix, which gives containers no mount namespace: use linux");
	if (a->containerizers && *a->containerizers && !strstr(a->containerizers, "mesos"))
		bad(c, "the agent has --containerizers=%s: volumes are for the containerizer 'mesos' only",
		    a->containerizers);
	c->isolation = c->args->isolation ? c->args->isolation : a->isolation ? a->isolation : "";
	c->modules = c->args->modules ? c->args->modules : a->modules ? a->modules : "";
}

/* Whether the comma-separated list has the word. */
static bool has_word(const char *list, const char *word)
{
	const size_t n = strlen(word);

	for (const char *at = list; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
		at += strspn(at, " ");
		if (strncmp(at, word, n) == 0 && (at[n] == ',' || at[n] == ' ' || at[n] == '\0'))
			return true;
	}
	return false;
}

/* The program that isolator docker/volume finds when the agent starts. */
static void look_at_dvdcli(struct check *c)
{
	cleat_autofree char *path = strdup(c->agent.path && *c->agent.path ? c->agent.path : getenv("PATH"));
	char file[CLEAT_DOOR_PATH_BYTES];
	char *rest = NULL;

	for (char *dir = path ? strtok_r(path, ":", &rest) : NULL; dir; dir = strtok_r(NULL, ":", &rest)) {
		snprintf(file, sizeof(file), "%s/dvdcli", dir);
		if (access(file, X_OK))
			continue;
		ok("--isolation has docker/volume, which will run '%s'", file);
		return;
	}
	bad(c, "--isolation has docker/volume, but no dvdcli is in the agent's PATH");
}

/* False: the module is not asked for, so that its manifest need not be looked at. */
static bool look_at_isolation(struct check *c)
{
	const bool ours = has_word(c->isolation, MODULE), docker = has_word(c->isolation, "docker/volume");

	if (!c->agent.pid && !c->args->isolation)
		return *c->modules;
	if (has_word(c->isolation, OLD_MODULE))
		bad(c, "--isolation has " OLD_MODULE ": take it out, it would mount the same volumes");
	if (ours)
		ok("--isolation has " MODULE);
	if (docker)
		look_at_dvdcli(c);
	if (has_word(c->isolation, "volume/csi"))
		ok("--isolation has volume/csi: its configuration must name our socket as unix:///PATH");
	if (!ours && !docker && !has_word(c->isolation, "volume/csi"))
		bad(c, "--isolation=%s has neither " MODULE " nor docker/volume: no container gets a volume",
		    c->isolation);
	if (ours && docker)
		note("both " MODULE " and docker/volume are on: volumes of driver 'cleat' belong to both");
	if (!has_word(c->isolation, "filesystem/linux"))
		note("--isolation lacks filesystem/linux: containers with an image, or with volumes in their "
		     "ContainerInfo, are refused by Mesos");
	return ours;
}

/* ---- the list of modules ---- */

static void look_at_library(struct check *c, const char *file)
{
	cleat_autoclose int fd = open(file, O_RDONLY | O_CLOEXEC);
	const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
	const size_t n = strlen(c->agent.version ? c->agent.version : "");
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || st.st_size == 0) {
		bad(c, "the library '%s': %s", file, fd < 0 ? strerror(errno) : "is empty");
		return;
	}
	void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED || !memmem(bytes, (size_t)st.st_size, MODULE, strlen(MODULE)))
		bad(c, "the library '%s' does not hold " MODULE, file);
	else if (n && strncmp(name, LIBRARY, strlen(LIBRARY)) == 0 &&
		 (strncmp(name + strlen(LIBRARY), c->agent.version, n) != 0 ||
		  strcmp(name + strlen(LIBRARY) + n, ".so") != 0))
		bad(c, "the library '%s' is not for the agent's Mesos %s: use " LIBRARY "%s.so", file,
		    c->agent.version, c->agent.version);
	else
		ok("the library '%s'", file);
	if (bytes != MAP_FAILED)
		munmap(bytes, (size_t)st.st_size);
	if (c->agent.pid && !*c->agent.module)
		bad(c,
		    "the agent has not loaded it: restart the agent, and look at the first lines of its log");
}

static void look_at_parameters(struct check *c, const json_t *module)
{
	struct cleat_mesos_parameter params[MAX_PARAMETERS];
	struct cleat_error err = CLEAT_ERROR_INIT;
	const json_t *one;
	size_t i, n = 0;

	json_array_foreach(json_object_get(module, "parameters"), i, one)
	{
		params[n].key = json_string_value(json_object_get(one, "key"));
		params[n].value = json_string_value(json_object_get(one, "value"));
		if (!params[n].key || !params[n].value || n + 1 == MAX_PARAMETERS) {
			bad(c,
			    "the module's parameters must be at most %d pairs of texts, \"key\" and "
			    "\"value\"",
			    MAX_PARAMETERS - 1);
			return;
		}
		n++;
	}
	if (mesos_settings_read(params, n, &c->settings, &err))
		bad(c, "the module will refuse its parameters: %s", err.msg);
	else
		ok("the module's parameters: socket '%s', root '%s', timeout %d s", c->settings.socket,
		   c->settings.root, c->settings.timeout_s);
}

static void look_at_manifest(struct check *c)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	json_t *root = NULL, *library = NULL, *module = NULL;
	const char *file;

	if (!*c->modules && c->agent.modules_dir && *c->agent.modules_dir) {
		note("the agent reads its modules from directory '%s': give the file as --modules",
		     c->agent.modules_dir);
		return;
	}
	if (!*c->modules) {
		bad(c, "the agent has no --modules: see docs/mesos.md for a modules.json");
		return;
	}
	if (helper_manifest_find(c->modules, MODULE, &root, &library, &module, &err)) {
		bad(c, "the list of modules: %s", err.msg);
	} else if (!library) {
		bad(c, "the list of modules does not name " MODULE);
	} else {
		file = json_string_value(json_object_get(library, "file"));
		if (file)
			look_at_library(c, file);
		else
			note("the library is given by \"name\": which file that is, the agent's linker "
			     "decides");
		look_at_parameters(c, module);
	}
	json_decref(root);
}

/* ---- the daemon ---- */

/* The daemon's process, as the kernel knows it of the socket. */
static pid_t peer_of(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	cleat_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred who = { 0 };
	socklen_t n = sizeof(who);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n))
		return 0;
	return who.pid;
}

static void look_at_namespaces(struct check *c, const char *socket)
{
	char path[64], theirs[128] = "", agents[128] = "";
	const pid_t peer = peer_of(socket);

	/* A socket that systemd opened names process 1, which is where the daemon's mounts should be. */
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)peer);
	if (!peer || readlink(path, theirs, sizeof(theirs) - 1) <= 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", c->agent.pid ? (int)c->agent.pid : (int)getpid());
	if (readlink(path, agents, sizeof(agents) - 1) > 0 && strcmp(theirs, agents) != 0)
		bad(c,
		    "%s does not see the mounts of the daemon, process %d: they are in different mount "
		    "namespaces",
		    c->agent.pid ? "the agent" : "this program", (int)peer);
}

static void look_at_pools(struct check *c, struct cleat_door *door)
{
	Cleat__V1__ListPoolsRequest in = CLEAT__V1__LIST_POOLS_REQUEST__INIT;
	cleat_autopb Cleat__V1__ListPoolsResponse *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (cleat_door_call(door, "ListPools", &in.base, &out, &err)) {
		bad(c, "the daemon: %s", err.msg);
		return;
	}
	for (size_t i = 0; i < out->n_pools; i++) {
		const Cleat__V1__Pool *p = out->pools[i];

		if (p->online)
			ok("pool '%s'%s", p->name, p->is_default ? ", the default one" : "");
		else
			bad(c, "pool '%s' is offline: %s", p->name, p->reason);
	}
}

static bool has_pool(struct cleat_door *door, const char *name)
{
	Cleat__V1__GetPoolRequest in = CLEAT__V1__GET_POOL_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetPoolResponse *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	in.pool = cleat_pb_text(name);
	return cleat_door_call(door, "GetPool", &in.base, &out, &err) != CLEAT_NOT_FOUND;
}

static void look_at_drivers(struct check *c, struct cleat_door *door)
{
	cleat_autodrivers struct cleat_door_drivers t = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (cleat_door_drivers_load(&t, c->args->config ? c->args->config : c->settings.config, &err)) {
		bad(c, "the table of drivers: %s", err.msg);
		return;
	}
	for (size_t i = 0; i < t.count; i++) {
		if (t.items[i].pool && door && !has_pool(door, t.items[i].pool))
			bad(c, "driver '%s' is in pool '%s', which the daemon does not have", t.items[i].name,
			    t.items[i].pool);
		else
			ok("driver '%s'%s%s", t.items[i].name, t.items[i].pool ? " is in pool " : "",
			   t.items[i].pool ? t.items[i].pool : "");
	}
	if (t.count == 0)
		note("the table of drivers is empty: a driver's name is the name of a pool, or means the "
		     "default "
		     "one");
}

static void look_at_daemon(struct check *c)
{
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetInfoResponse *info = NULL;
	cleat_autodoor struct cleat_door *door = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	const char *socket = c->args->socket	  ? c->args->socket
			     : c->settings.socket ? c->settings.socket
						  : CLEAT_MESOS_DEFAULT_SOCKET;

	if (cleat_door_open(socket, c->args->timeout_ms, 0, &door, &err) ||
	    cleat_door_call(door, "GetInfo", &in.base, &info, &err)) {
		bad(c, "the daemon: %s", err.msg);
		look_at_drivers(c, NULL);
		return;
	}
	ok("cleatd %s serves node '%s' at '%s'", info->version, info->node, socket);
	if (strcmp(info->version, CLEAT_VERSION) != 0)
		note("this program is of version %s", CLEAT_VERSION);
	look_at_namespaces(c, socket);
	look_at_pools(c, door);
	look_at_drivers(c, door);
}

/* ---- ROOT ---- */

static void look_at_root(struct check *c)
{
	const char *path = c->args->root      ? c->args->root
			   : c->settings.root ? c->settings.root
					      : CLEAT_MESOS_DEFAULT_ROOT;
	struct helper_args args = { .root = path };
	struct helper h = { .args = &args, .root_fd = -1 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	bool shared;

	if (helper_root_open(&h, false, &err)) {
		bad(c, "the module's root: %s", err.msg);
		return;
	}
	if (h.root_fd < 0) {
		ok("the module's root '%s' will be made when it is needed", path);
		return;
	}
	close(h.root_fd);
	if (helper_is_shared(h.root, &shared, &err))
		bad(c, "the module's root: %s", err.msg);
	else
		ok("the module's root '%s'%s", path,
		   shared ? "" : " will be made a shared mount when it is needed");
}

int helper_check(const struct helper_args *args)
{
	struct check c = { .args = args };

	if (geteuid() != 0)
		bad(&c, "only root can look at the agent and use volumes");
	look_at_agent(&c);
	if (look_at_isolation(&c))
		look_at_manifest(&c);
	look_at_daemon(&c);
	look_at_root(&c);
	if (c.problems)
		printf("%u problem%s\n", c.problems, c.problems == 1 ? "" : "s");
	else
		printf("no problems\n");
	mesos_settings_done(&c.settings);
	helper_agent_done(&c.agent);
	return fflush(stdout) == 0 && c.problems == 0 ? 0 : 1;
}
