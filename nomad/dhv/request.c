/* request.c - see request.h. */
#include "dhv/request.h"

#include <jansson.h>
#include <string.h>

#include "util/mem.h"
#include "util/text.h"

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

static enum cleat_code bad(const char *name, const char *value, const char *what, struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: '%.*s' %s", name, cleat_text_cut(value, 100),
			       value, what);
}

/* ---- parameters ---- */

static enum cleat_code take_pair(const char *key, const json_t *value, struct cleat_kvs *out,
				 struct cleat_error *err)
{
	if (!cleat_text_is_clean(key, strlen(key)))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "parameters: a key has control characters: '%.*s'",
				       cleat_text_cut(key, 40), key);
	if (!json_is_string(value))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "parameter '%.*s': its value is not text",
				       cleat_text_cut(key, 100), key);
	if (cleat_kv_set(out, key, json_string_value(value), err))
		return cleat_error_wrap(err, "parameter '%.*s'", cleat_text_cut(key, 100), key);
	return CLEAT_OK;
}

static enum cleat_code take_object(json_t *object, struct cleat_kvs *out, struct cleat_error *err)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) if (take_pair(key, value, out, err))
	{
		cleat_kv_done(out);
		return err->code;
	}
	return CLEAT_OK;
}

enum cleat_code dhv_params_read(const char *json, struct cleat_kvs *out, struct cleat_error *err)
{
	const size_t n = strlen(json);
	json_error_t why;

	*out = (struct cleat_kvs){ 0 };
	if (n == 0)
		return CLEAT_OK;
	if (n > DHV_PARAMETERS_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "DHV_PARAMETERS: %zu bytes are more than %d", n,
				       DHV_PARAMETERS_MAX_BYTES);
	json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!root)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "DHV_PARAMETERS: '%.*s' is no JSON: %s",
				       cleat_text_cut(json, 100), json, why.text);
	if (json_is_object(root))
		take_object(root, out, err);
	else if (!json_is_null(root))
		bad("DHV_PARAMETERS", json, "is no JSON object", err);
	json_decref(root);
	return err->code;
}

/* ---- the rest ---- */

bool dhv_is_id(const char *text)
{
	if (strlen(text) != DHV_ID_BYTES - 1)
		return false;
	for (int i = 0; i < DHV_ID_BYTES - 1; i++) {
		const bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !strchr("0123456789abcdef", text[i]))
			return false;
	}
	return true;
}

static enum cleat_code read_bytes(const char *name, uint64_t *out, struct cleat_error *err)
{
	const char *value = variable(name);
	const size_t n = strspn(value, "0123456789");

	*out = 0;
	if (value[n] || n > 19)
		return bad(name, value, "is no number of bytes", err);
	*out = n ? strtoull(value, NULL, 10) : 0;
	return *out <= INT64_MAX ? CLEAT_OK : bad(name, value, "is more than 2^63-1 bytes", err);
}

static enum cleat_code read_sizes(struct dhv_request *r, struct cleat_error *err)
{
	if (read_bytes("DHV_CAPACITY_MIN_BYTES", &r->min_bytes, err) ||
	    read_bytes("DHV_CAPACITY_MAX_BYTES", &r->max_bytes, err))
		return err->code;
	if (r->max_bytes && r->max_bytes < r->min_bytes)
		return bad("DHV_CAPACITY_MAX_BYTES", variable("DHV_CAPACITY_MAX_BYTES"),
			   "is less than DHV_CAPACITY_MIN_BYTES", err);
	return CLEAT_OK;
}

static enum cleat_code check_place(const struct dhv_request *r, bool create, struct cleat_error *err)
{
	if (!*r->id)
		return cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"DHV_VOLUME_ID is not set: Nomad runs this program, see cleat-dhv --help");
	if (!dhv_is_id(r->id))
		return bad("DHV_VOLUME_ID", r->id, "is no UUID", err);
	if (r->volumes_dir[0] != '/')
		return bad("DHV_VOLUMES_DIR", r->volumes_dir, "is no absolute path", err);
	if (create && !*r->name)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "DHV_VOLUME_NAME is not set");
	if (!cleat_text_is_clean(r->name, strlen(r->name)))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "DHV_VOLUME_NAME has control characters");
	return CLEAT_OK;
}

enum cleat_code dhv_request_read(bool create, struct dhv_request *out, struct cleat_error *err)
{
	struct dhv_request r = {
		.id = variable("DHV_VOLUME_ID"),
		.name = variable("DHV_VOLUME_NAME"),
		.namespace = variable("DHV_NAMESPACE"),
		.volumes_dir = variable("DHV_VOLUMES_DIR"),
		.node = variable("DHV_NODE_ID"),
	};

	if (check_place(&r, create, err) || (create && read_sizes(&r, err)) ||
	    dhv_params_read(variable("DHV_PARAMETERS"), &r.params, err))
		return err->code;
	*out = r;
	return CLEAT_OK;
}

void dhv_request_done(struct dhv_request *r)
{
	cleat_kv_done(&r->params);
}
