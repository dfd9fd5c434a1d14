/* tools.c - where crun, conmon and our helper are, and whether this machine can run tasks at all. */
#include "driver/run/internal.h"

#include "sys/spawn.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELPER "cleat-run-helper"

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool try_dir(const char *dir, size_t n, const char *name, char path[RUN_TOOL_PATH_BYTES])
{
	if (n == 0 || dir[0] != '/')
		return false;
	int length = snprintf(path, RUN_TOOL_PATH_BYTES, "%.*s/%s", (int)n, dir, name);
	return length > 0 && length < RUN_TOOL_PATH_BYTES && is_program(path);
}

static bool find_in(const char *dirs, const char *name, char path[RUN_TOOL_PATH_BYTES])
{
	while (dirs && *dirs) {
		size_t n = strcspn(dirs, ":");
		if (n < RUN_TOOL_PATH_BYTES && try_dir(dirs, n, name, path))
			return true;
		dirs += n + (dirs[n] == ':');
	}
	return false;
}

static enum cleat_code find(const char *given, const char *name, char path[RUN_TOOL_PATH_BYTES],
			    struct cleat_error *err)
{
	if (!given || !*given)
		given = name;
	if (given[0] == '/') {
		snprintf(path, RUN_TOOL_PATH_BYTES, "%s", given);
		if (strlen(given) < RUN_TOOL_PATH_BYTES && is_program(path))
			return CLEAT_OK;
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "there is no program '%s'", given);
	}
	if (!strchr(given, '/') &&
	    (find_in(getenv("PATH"), given, path) ||
	     find_in("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", given, path)))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "%s is not installed", given);
}

/* In a build folder, or in an installed tree, seen from this program. */
static bool find_beside_us(char path[RUN_TOOL_PATH_BYTES])
{
	static const char *const below[] = { "", "/../bin", "/../libexec/cleat", "/../../libexec/cleat" };
	char program[RUN_TOOL_PATH_BYTES / 2], dir[RUN_TOOL_PATH_BYTES];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (length <= 0)
		return false;
	program[length] = '\0';
	char *slash = strrchr(program, '/');
	if (!slash)
		return false;
	*slash = '\0';
	for (size_t i = 0; i < CLEAT_COUNT(below); i++) {
		snprintf(dir, sizeof(dir), "%s%s", program, below[i]);
		if (try_dir(dir, strlen(dir), HELPER, path))
			return true;
	}
	return false;
}

static enum cleat_code find_helper(const struct run_env *env, char path[RUN_TOOL_PATH_BYTES],
				   struct cleat_error *err)
{
	const char *dir = getenv("CLEAT_LIBEXEC");

	if (env->helper)
		return find(env->helper, HELPER, path, err);
	if (dir && try_dir(dir, strlen(dir), HELPER, path))
		return CLEAT_OK;
	if (find_beside_us(path) || try_dir(CLEAT_LIBEXEC_DIR, strlen(CLEAT_LIBEXEC_DIR), HELPER, path))
		return CLEAT_OK;
	return cleat_error_set(
		err, CLEAT_FAILED_PRECONDITION,
		"'" HELPER
		"', which is needed where cgroup2 owns controllers beside cgroup v1, is neither in '%s' nor "
		"beside this program",
		CLEAT_LIBEXEC_DIR);
}

enum cleat_code run_tools_find(const struct run_env *env, struct run_tools *out, struct cleat_error *err)
{
	enum cleat_code code = find(env->crun, "crun", out->crun, err);

	out->helper[0] = '\0';
	if (code == CLEAT_OK)
		code = find(env->conmon, "conmon", out->conmon, err);
	if (code == CLEAT_OK && run_cgroup_is_mixed())
		code = find_helper(env, out->helper, err);
	if (code != CLEAT_OK)
		return code;
	int length = snprintf(out->root, sizeof(out->root), "%s/" RUN_CRUN_ROOT, env->dir);
	if (env->dir[0] != '/' || length < 0 || length >= (int)sizeof(out->root))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "directory for tasks '%.200s' is no absolute path, or too long",
				       env->dir);
	return CLEAT_OK;
}

static enum cleat_code check_runs(const char *path, struct cleat_error *err)
{
	const char *argv[] = { path, "--version", NULL };
	const struct cleat_spawn how = { .argv = argv, .keep_fd = -1, .limit_ms = 10000 };

	return cleat_sys_spawn(&how, NULL, 0, NULL, err);
}

enum cleat_code run_check(const struct run_env *env, struct cleat_error *err)
{
	struct run_tools tools;

	if (geteuid() != 0)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "tasks can be run by root only");
	if (run_cgroup_mode() == RUN_CGROUP_NONE)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "no cgroups are mounted at " RUN_CGROUP_ROOT);
	enum cleat_code code = run_tools_find(env, &tools, err);
	if (code == CLEAT_OK)
		code = check_runs(tools.crun, err);
	return code == CLEAT_OK ? check_runs(tools.conmon, err) : code;
}
