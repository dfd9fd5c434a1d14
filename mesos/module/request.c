/* request.c - building a request part by part, and a container's key. */
#include "module/request.h"

#include "util/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct cleat_mesos_request *cleat_mesos_request_new(void)
{
	return calloc(1, sizeof(struct cleat_mesos_request));
}

static void free_volume(struct mesos_docker_volume *v)
{
	free(v->driver);
	free(v->name);
	free(v->path);
	for (size_t i = 0; i < v->opt_count; i++) {
		free(v->opts[i].key);
		free(v->opts[i].value);
	}
}

void cleat_mesos_request_free(struct cleat_mesos_request *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->id_count; i++)
		free(r->ids[i]);
	for (size_t i = 0; i < r->var_count; i++) {
		free(r->vars[i].key);
		free(r->vars[i].value);
	}
	for (size_t i = 0; i < r->volume_count; i++)
		free_volume(&r->volumes[i]);
	free(r->vars);
	free(r->volumes);
	free(r->sandbox);
	free(r->rootfs);
	free(r->user);
	free(r);
}

static void fail(struct cleat_mesos_request *r, const char *what, const char *why)
{
	if (!r->err.code)
		cleat_error_set(&r->err, CLEAT_INVALID_ARGUMENT, "%s %s", what, why);
}

/* A copy, or NULL and the request's error. */
static char *copy(struct cleat_mesos_request *r, const char *what, struct cleat_mesos_text text)
{
	if (text.bytes > MESOS_MAX_TEXT_BYTES)
		fail(r, what, "is too long");
	else if (text.bytes && memchr(text.data, 0, text.bytes))
		fail(r, what, "holds a NUL byte");
	else {
		char *made = strndup(text.bytes ? text.data : "", text.bytes);

		if (!made && !r->err.code)
			cleat_error_set(&r->err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		return made;
	}
	return NULL;
}

static void set(struct cleat_mesos_request *r, char **field, const char *what, struct cleat_mesos_text text)
{
	if (!r || !text.bytes)
		return;
	free(*field);
	*field = copy(r, what, text);
}

void cleat_mesos_request_id(struct cleat_mesos_request *r, struct cleat_mesos_text id)
{
	if (!r)
		return;
	if (r->id_count == MESOS_MAX_IDS) {
		fail(r, "the container", "is nested too deeply");
		return;
	}
	if ((r->ids[r->id_count] = copy(r, "the container's id", id)))
		r->id_count++;
}

void cleat_mesos_request_sandbox(struct cleat_mesos_request *r, struct cleat_mesos_text path)
{
	if (r)
		set(r, &r->sandbox, "the path of the sandbox", path);
}

void cleat_mesos_request_rootfs(struct cleat_mesos_request *r, struct cleat_mesos_text path)
{
	if (r)
		set(r, &r->rootfs, "the path of the root file system", path);
}

void cleat_mesos_request_hidden_rootfs(struct cleat_mesos_request *r)
{
	if (r)
		r->hidden_rootfs = true;
}

void cleat_mesos_request_debug(struct cleat_mesos_request *r)
{
	if (r)
		r->debug = true;
}

void cleat_mesos_request_user(struct cleat_mesos_request *r, struct cleat_mesos_text name)
{
	if (r)
		set(r, &r->user, "the user's name", name);
}

static bool starts_with(struct cleat_mesos_text text, const char *prefix)
{
	return text.bytes >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

void cleat_mesos_request_variable(struct cleat_mesos_request *r, struct cleat_mesos_text name,
				  struct cleat_mesos_text value)
{
	if (!r || (!starts_with(name, "DVDI_VOLUME_") && !starts_with(name, "CLEAT_VOLUME_")))
		return;
	if (r->var_count == MESOS_MAX_VARIABLES) {
		fail(r, "the environment", "has too many variables");
		return;
	}
	struct mesos_pair *more = realloc(r->vars, (r->var_count + 1) * sizeof(*more));
	if (!more) {
		cleat_error_set(&r->err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	r->vars = more;
	more[r->var_count] = (struct mesos_pair){ copy(r, "the name of a variable", name), NULL };
	more[r->var_count++].value = copy(r, "the value of a variable", value);
}

void cleat_mesos_request_volume(struct cleat_mesos_request *r, struct cleat_mesos_text driver,
				struct cleat_mesos_text name, struct cleat_mesos_text path, bool read_only)
{
	if (!r || (r->in_other_volume = driver.bytes != 5 || !starts_with(driver, "cleat")))
		return;
	if (!r->volumes)
		r->volumes = calloc(CLEAT_MESOS_MAX_VOLUMES, sizeof(*r->volumes));
	if (!r->volumes || r->volume_count == CLEAT_MESOS_MAX_VOLUMES) {
		r->in_other_volume = true;
		fail(r, "the container", "has too many volumes");
		return;
	}
	struct mesos_docker_volume *v = &r->volumes[r->volume_count++];
	v->driver = copy(r, "the driver of a volume", driver);
	v->name = copy(r, "the name of a volume", name);
	v->path = copy(r, "a container path", path);
	v->read_only = read_only;
}

void cleat_mesos_request_option(struct cleat_mesos_request *r, struct cleat_mesos_text key,
				struct cleat_mesos_text value)
{
	if (!r || r->in_other_volume || !r->volume_count)
		return;
	struct mesos_docker_volume *v = &r->volumes[r->volume_count - 1];
	if (v->opt_count == MESOS_MAX_OPTS) {
		fail(r, "a volume", "has too many options");
		return;
	}
	v->opts[v->opt_count++] = (struct mesos_pair){ copy(r, "the name of an option", key),
						       copy(r, "the value of an option", value) };
}

/* ---- the key ---- */

static size_t escape(const char *text, char *out, size_t room)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t n = 0;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		const bool plain = *p < 0x80 && (isalnum(*p) || *p == '-' || *p == '_');

		if (n + (plain ? 1 : 3) > room)
			return room + 1;
		if (plain) {
			out[n++] = (char)*p;
			continue;
		}
		out[n++] = '%';
		out[n++] = digits[*p >> 4];
		out[n++] = digits[*p & 15];
	}
	return n;
}

enum cleat_code mesos_key(const struct cleat_mesos_request *r, char out[CLEAT_MESOS_KEY_MAX_BYTES + 1],
			  struct cleat_error *err)
{
	size_t n = 0;

	if (!r)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (r->err.code) {
		if (err)
			*err = r->err;
		return r->err.code;
	}
	for (size_t i = 0; i < r->id_count; i++) {
		if (i && n < CLEAT_MESOS_KEY_MAX_BYTES)
			out[n++] = '.';
		n += escape(r->ids[i], out + n, CLEAT_MESOS_KEY_MAX_BYTES - n);
		if (!*r->ids[i] || n > CLEAT_MESOS_KEY_MAX_BYTES)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "the container's id is %s: it must have 1 to %d bytes",
					       *r->ids[i] ? "too long" : "empty", CLEAT_MESOS_KEY_MAX_BYTES);
	}
	if (!n)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the container has no id");
	out[n] = '\0';
	return CLEAT_OK;
}
