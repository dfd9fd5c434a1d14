/* settings.c - see settings.h. */
#include "module/settings.h"

#include "module/helper.h"
#include "module/plan.h"

#include "util/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x
#define TIMEOUT_MAX_S 3600

const struct cleat_mesos_parameter cleat_mesos_parameters[] = {
	{ "helper", CLEAT_MESOS_HELPER_PATH, "the program cleat-mesos, which talks to the daemon" },
	{ "enter", CLEAT_MESOS_ENTER_PATH,
	  "the program cleat-mesos-enter, which Mesos runs in each container with volumes" },
	{ "socket", CLEAT_MESOS_DEFAULT_SOCKET, "the daemon's socket" },
	{ "config", CLEAT_MESOS_DEFAULT_CONFIG, "the table of Docker volume drivers" },
	{ "root", CLEAT_MESOS_DEFAULT_ROOT,
	  "where containers' volumes are mounted on the host; one of its own for each agent on a machine" },
	{ "scope", "", "the scope of all volumes" },
	{ "sandbox_directory", "/mnt/mesos/sandbox", "what the agent's flag --sandbox_directory says" },
	{ "timeout", TEXT(CLEAT_MESOS_DEFAULT_TIMEOUT_S),
	  "seconds after which a container's volumes are given up" },
	{ "work_dir", "", "taken and not used: mesos-module-dvdi needed it" },
	{ NULL, NULL, NULL },
};

static const char *value_of(const struct cleat_mesos_parameter *params, size_t count, const char *key,
			    bool *given_out)
{
	const char *value = NULL;

	for (size_t i = 0; i < count; i++)
		if (strcmp(params[i].key, key) == 0)
			value = params[i].value;
	*given_out = value;
	for (const struct cleat_mesos_parameter *p = cleat_mesos_parameters; p->key && !value; p++)
		if (strcmp(p->key, key) == 0)
			value = p->value;
	return value;
}

static enum cleat_code check_names(const struct cleat_mesos_parameter *params, size_t count,
				   struct cleat_error *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct cleat_mesos_parameter *p = cleat_mesos_parameters;

		while (p->key && strcmp(p->key, params[i].key) != 0)
			p++;
		if (!p->key)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "parameter '%.64s' is not known",
					       params[i].key);
	}
	return CLEAT_OK;
}

static enum cleat_code read_path(const struct cleat_mesos_parameter *params, size_t count, const char *key,
				 char **out, struct cleat_error *err)
{
	bool given;
	const char *value = value_of(params, count, key, &given);

	if (*value != '/' || strlen(value) > 1024)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "parameter %s: '%.64s' is not an absolute path", key, value);
	if (!(*out = strdup(value)))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return CLEAT_OK;
}

static enum cleat_code read_timeout(const char *value, int *out, struct cleat_error *err)
{
	const size_t digits = strspn(value, "0123456789");

	*out = digits && digits < 6 && !value[digits] ? atoi(value) : 0;
	if (*out < 1 || *out > TIMEOUT_MAX_S)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "parameter timeout: '%.64s' is no number from 1 to %d", value,
				       TIMEOUT_MAX_S);
	return CLEAT_OK;
}

static enum cleat_code check_program(const char *key, const char *path, struct cleat_error *err)
{
	if (access(path, X_OK))
		return cleat_error_errno(err, errno, "parameter %s: program '%s'", key, path);
	return CLEAT_OK;
}

/* Old releases of Mesos give it to a shell. */
static enum cleat_code check_plain(const char *path, struct cleat_error *err)
{
	for (const char *p = path; *p; p++)
		if (!mesos_plan_is_plain((unsigned char)*p))
			return cleat_error_set(
				err, CLEAT_INVALID_ARGUMENT,
				"parameter enter: '%s' has a character that means something to a shell",
				path);
	return CLEAT_OK;
}

static enum cleat_code read_all(const struct cleat_mesos_parameter *params, size_t count,
				struct mesos_settings *s, struct cleat_error *err)
{
	bool given;

	if (check_names(params, count, err) || read_path(params, count, "helper", &s->helper, err) ||
	    read_path(params, count, "enter", &s->enter, err) ||
	    read_path(params, count, "socket", &s->socket, err) ||
	    read_path(params, count, "root", &s->root, err) ||
	    read_path(params, count, "sandbox_directory", &s->sandbox_directory, err) ||
	    read_timeout(value_of(params, count, "timeout", &given), &s->timeout_s, err) ||
	    check_program("helper", s->helper, err) || check_program("enter", s->enter, err) ||
	    check_plain(s->enter, err))
		return err->code;
	/* A table that was not asked for may be missing; one that was may not. */
	value_of(params, count, "config", &given);
	if (given && read_path(params, count, "config", &s->config, err))
		return err->code;
	if (!(s->scope = strdup(value_of(params, count, "scope", &given))))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return CLEAT_OK;
}

enum cleat_code mesos_settings_read(const struct cleat_mesos_parameter *params, size_t count,
				    struct mesos_settings *out, struct cleat_error *err)
{
	*out = (struct mesos_settings){ 0 };
	if (read_all(params, count, out, err))
		mesos_settings_done(out);
	return out->helper ? CLEAT_OK : err->code;
}

void mesos_settings_done(struct mesos_settings *s)
{
	free(s->helper);
	free(s->enter);
	free(s->socket);
	free(s->config);
	free(s->root);
	free(s->scope);
	free(s->sandbox_directory);
	*s = (struct mesos_settings){ 0 };
}
