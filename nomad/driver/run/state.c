/* state.c - what is written into a task's directory for whoever comes after us.  What is read may be of
 * another release, or damaged. */
#include "driver/run/internal.h"

#include "util/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FORMAT 1

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}
#define autojson __attribute__((cleanup(cleanup_json)))

static enum cleat_code write_and_free(int dirfd, const char *name, json_t *json, struct cleat_error *err)
{
	enum cleat_code code =
		json ? run_put_json(dirfd, name, json, err)
		     : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory for '%s'", name);

	json_decref(json);
	return code;
}

static enum cleat_code read_known(int dirfd, const char *name, json_t **out, struct cleat_error *err)
{
	json_t *json = NULL;
	enum cleat_code code = run_get_json(dirfd, name, &json, err);

	if (code != CLEAT_OK)
		return code;
	if (json_integer_value(json_object_get(json, "format")) != FORMAT) {
		json_decref(json);
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'%s' of the task is of another release", name);
	}
	*out = json;
	return CLEAT_OK;
}

/* ---- task.json ---- */

void run_plan_done(struct run_plan *plan)
{
	free(plan->cgroup);
	*plan = (struct run_plan){ .cgroup = NULL };
}

enum cleat_code run_plan_write(int dirfd, const struct run_plan *plan, struct cleat_error *err)
{
	return write_and_free(
		dirfd, "task.json",
		json_pack("{si ss ss}", "format", FORMAT, "cgroup", plan->cgroup, "notes", plan->notes), err);
}

/* "/a/b" without "..": what is below it will be killed and removed. */
static bool is_cgroup(const char *path)
{
	return path && path[0] == '/' && path[1] != '\0' && strlen(path) < PATH_MAX / 2 &&
	       !strstr(path, "/../") && !strstr(path, "//") && strcmp(strrchr(path, '/'), "/..") != 0 &&
	       strrchr(path, '/')[1] != '\0';
}

enum cleat_code run_plan_read(int dirfd, struct run_plan *out, struct cleat_error *err)
{
	autojson json_t *json = NULL;
	enum cleat_code code = read_known(dirfd, "task.json", &json, err);

	if (code != CLEAT_OK)
		return code;
	const char *cgroup = json_string_value(json_object_get(json, "cgroup"));
	const char *notes = json_string_value(json_object_get(json, "notes"));
	if (!is_cgroup(cgroup))
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'task.json' of the task is damaged");
	out->cgroup = strdup(cgroup);
	if (!out->cgroup)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	snprintf(out->notes, sizeof(out->notes), "%s", notes ? notes : "");
	return CLEAT_OK;
}

void run_note(struct run_plan *plan, const char *fmt, ...)
{
	size_t used = strlen(plan->notes);
	va_list args;

	if (used > 0 && used < sizeof(plan->notes) - 1)
		plan->notes[used++] = '\n';
	va_start(args, fmt);
	vsnprintf(plan->notes + used, sizeof(plan->notes) - used, fmt, args);
	va_end(args);
}

/* ---- started.json ---- */

enum cleat_code run_birth_write(int dirfd, const struct run_birth *b, struct cleat_error *err)
{
	return write_and_free(dirfd, "started.json",
			      json_pack("{si si sI si sI sI ss}", "format", FORMAT, "pid", (int)b->pid,
					"pid_start", (json_int_t)b->pid_start, "conmon", (int)b->conmon,
					"conmon_start", (json_int_t)b->conmon_start, "started_ms",
					(json_int_t)b->started_ms, "boot_id", b->boot_id),
			      err);
}

static json_int_t number(const json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

enum cleat_code run_birth_read(int dirfd, struct run_birth *out, struct cleat_error *err)
{
	autojson json_t *json = NULL;
	enum cleat_code code = read_known(dirfd, "started.json", &json, err);

	if (code != CLEAT_OK)
		return code;
	const char *boot_id = json_string_value(json_object_get(json, "boot_id"));
	json_int_t pid = number(json, "pid"), conmon = number(json, "conmon");
	if (pid < 0 || pid > INT_MAX || conmon < 0 || conmon > INT_MAX || !boot_id)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'started.json' of the task is damaged");
	*out = (struct run_birth){ .pid = (pid_t)pid,
				   .conmon = (pid_t)conmon,
				   .pid_start = (uint64_t)number(json, "pid_start"),
				   .conmon_start = (uint64_t)number(json, "conmon_start"),
				   .started_ms = number(json, "started_ms") };
	snprintf(out->boot_id, sizeof(out->boot_id), "%s", boot_id);
	return CLEAT_OK;
}

/* ---- ended.json ---- */

enum cleat_code run_end_write(int dirfd, const struct run_exit *end, struct cleat_error *err)
{
	return write_and_free(dirfd, "ended.json",
			      json_pack("{si si si sb ss sI}", "format", FORMAT, "code", end->code, "signal",
					end->signal, "oom_killed", (int)end->oom_killed, "message",
					end->message, "finished_ms", (json_int_t)end->finished_ms),
			      err);
}

bool run_end_read(int dirfd, struct run_exit *out)
{
	autojson json_t *json = NULL;

	if (read_known(dirfd, "ended.json", &json, NULL) != CLEAT_OK)
		return false;
	const char *message = json_string_value(json_object_get(json, "message"));
	*out = (struct run_exit){ .code = (int)number(json, "code"),
				  .signal = (int)number(json, "signal"),
				  .oom_killed = json_is_true(json_object_get(json, "oom_killed")),
				  .finished_ms = number(json, "finished_ms") };
	snprintf(out->message, sizeof(out->message), "%s", message ? message : "");
	return true;
}
