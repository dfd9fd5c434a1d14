/* agent.c - see agent.h. */
#include "helper/agent.h"

#include "util/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROC_MAX_BYTES (4u << 20)

void helper_agent_done(struct helper_agent *a)
{
	free(a->isolation);
	free(a->modules);
	free(a->modules_dir);
	free(a->launcher);
	free(a->containerizers);
	free(a->path);
	free(a->version);
	free(a->module);
	*a = (struct helper_agent){ 0 };
}

/* ---- /proc ---- */

static enum cleat_code read_file(const char *path, struct cleat_buf *out, struct cleat_error *err)
{
	char part[4096];
	ssize_t n = -1;
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && (n = read(fd, part, sizeof(part))) > 0)
		cleat_buf_add(out, part, (size_t)n);
	if (n < 0)
		return cleat_error_errno(err, errno, "read '%s'", path);
	return cleat_buf_ok(out) ? CLEAT_OK
				 : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "'%s' is too large", path);
}

static enum cleat_code read_proc(pid_t pid, const char *name, struct cleat_buf *out, struct cleat_error *err)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return read_file(path, out, err);
}

/* The value behind `before` in a block of texts that each end in NUL; the last one counts. */
static const char *find_value(const struct cleat_buf *block, const char *before)
{
	const size_t n = strlen(before);
	const char *found = NULL, *text = cleat_buf_text(block);

	for (size_t at = 0; at < block->len; at += strlen(text + at) + 1)
		if (strncmp(text + at, before, n) == 0)
			found = text + at + n;
	return found;
}

static char *flag_of(const struct cleat_buf *cmdline, const struct cleat_buf *environment, const char *name)
{
	char flag[64], variable[64];
	const char *value;
	size_t n;

	snprintf(flag, sizeof(flag), "--%s=", name);
	n = (size_t)snprintf(variable, sizeof(variable), "MESOS_%s=", name);
	for (size_t i = 0; i < n && i < sizeof(variable); i++)
		variable[i] = (char)toupper((unsigned char)variable[i]);
	value = find_value(cmdline, flag);
	if (!value)
		value = find_value(environment, variable);
	return strdup(value ? value : "");
}

static bool is_agent(pid_t pid)
{
	static const char *const names[] = { "mesos-agent\n", "mesos-slave\n", "lt-mesos-agent\n",
					     "lt-mesos-slave\n" };
	cleat_autobuf struct cleat_buf comm = CLEAT_BUF_INIT(256);
	struct cleat_error ignored = CLEAT_ERROR_INIT;

	if (read_proc(pid, "comm", &comm, &ignored))
		return false;
	for (size_t i = 0; i < CLEAT_COUNT(names); i++)
		if (strcmp(cleat_buf_text(&comm), names[i]) == 0)
			return true;
	return false;
}

static pid_t find_pid(void)
{
	DIR *dir = opendir("/proc");
	pid_t found = 0;

	for (struct dirent *e; dir && !found && (e = readdir(dir));)
		if (isdigit((unsigned char)e->d_name[0]) && is_agent((pid_t)atoi(e->d_name)))
			found = (pid_t)atoi(e->d_name);
	if (dir)
		closedir(dir);
	return found;
}

/* ---- what it has mapped ---- */

/* From "... /usr/lib/libmesos-1.11.0.so\n" the part between before and ".so". */
static char *mapped_part(const char *maps, const char *before)
{
	for (const char *at = strstr(maps, before); at; at = strstr(at + 1, before)) {
		const char *part = at + strlen(before);
		size_t n = strspn(part, "0123456789.");

		if (n > 3 && strncmp(part + n - 1, ".so", 3) == 0)
			return strndup(part, n - 1);
	}
	return strdup("");
}

/* The whole path that ends in libcleat_mesos-<version>.so. */
static char *mapped_module(const char *maps)
{
	const char *at = strstr(maps, "/libcleat_mesos-"), *begin = at;

	if (!at)
		return strdup("");
	while (begin > maps && begin[-1] != ' ' && begin[-1] != '\n')
		begin--;
	return strndup(begin, (size_t)(at - begin) + strcspn(at, "\n"));
}

static bool has_own_mounts(pid_t pid)
{
	char path[64], mine[128] = "", first[128] = "";

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	return readlink(path, mine, sizeof(mine) - 1) > 0 &&
	       readlink("/proc/1/ns/mnt", first, sizeof(first) - 1) > 0 && strcmp(mine, first) != 0;
}

enum cleat_code helper_agent_find(struct helper_agent *out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf cmdline = CLEAT_BUF_INIT(PROC_MAX_BYTES);
	cleat_autobuf struct cleat_buf environment = CLEAT_BUF_INIT(PROC_MAX_BYTES);
	cleat_autobuf struct cleat_buf maps = CLEAT_BUF_INIT(PROC_MAX_BYTES);
	const char *path;

	*out = (struct helper_agent){ .pid = find_pid() };
	if (out->pid &&
	    (read_proc(out->pid, "cmdline", &cmdline, err) ||
	     read_proc(out->pid, "environ", &environment, err) || read_proc(out->pid, "maps", &maps, err)))
		return err->code;
	path = find_value(&environment, "PATH=");
	out->isolation = flag_of(&cmdline, &environment, "isolation");
	out->modules = flag_of(&cmdline, &environment, "modules");
	out->modules_dir = flag_of(&cmdline, &environment, "modules_dir");
	out->launcher = flag_of(&cmdline, &environment, "launcher");
	out->containerizers = flag_of(&cmdline, &environment, "containerizers");
	out->path = strdup(path ? path : "");
	out->version = mapped_part(cleat_buf_text(&maps), "/libmesos-");
	out->module = mapped_module(cleat_buf_text(&maps));
	out->own_mounts = out->pid && has_own_mounts(out->pid);
	if (out->isolation && out->modules && out->modules_dir && out->launcher && out->containerizers &&
	    out->path && out->version && out->module)
		return CLEAT_OK;
	helper_agent_done(out);
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

/* ---- the list of modules ---- */

static enum cleat_code load_manifest(const char *modules, json_t **out, struct cleat_error *err)
{
	const char *path = strncmp(modules, "file://", 7) == 0 ? modules + 7 : modules;
	const bool is_file = *path == '/';
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(PROC_MAX_BYTES);
	json_error_t where;

	if (is_file && read_file(path, &text, err))
		return err->code;
	*out = json_loads(is_file ? cleat_buf_text(&text) : modules, JSON_REJECT_DUPLICATES, &where);
	if (!*out)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s', line %d: %s",
				       is_file ? path : "--modules", where.line, where.text);
	return CLEAT_OK;
}

enum cleat_code helper_manifest_find(const char *modules, const char *name, json_t **root_out,
				     json_t **library_out, json_t **module_out, struct cleat_error *err)
{
	json_t *library, *module;
	size_t i, k;

	*root_out = *library_out = *module_out = NULL;
	if (load_manifest(modules, root_out, err))
		return err->code;
	json_array_foreach(json_object_get(*root_out, "libraries"), i, library)
	{
		json_array_foreach(json_object_get(library, "modules"), k, module)
		{
			const char *its = json_string_value(json_object_get(module, "name"));

			if (!its || strcmp(its, name) != 0)
				continue;
			*library_out = library;
			*module_out = module;
			return CLEAT_OK;
		}
	}
	return CLEAT_OK;
}
