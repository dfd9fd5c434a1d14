/* record.c - see record.h. */
#include "dhv/record.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dhv/files.h"
#include "util/mem.h"
#include "util/text.h"

#define NAME_BYTES (DHV_ID_BYTES + 16)

/* ---- as text ---- */

static enum cleat_code damaged(const char *what, struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_DATA_LOSS, "the record is damaged: %s", what);
}

static enum cleat_code take_text(const json_t *root, const char *key, char **out, struct cleat_error *err)
{
	const json_t *value = json_object_get(root, key);

	if (!json_is_string(value) ||
	    !cleat_text_is_clean(json_string_value(value), json_string_length(value)))
		return damaged(key, err);
	*out = strdup(json_string_value(value));
	return *out ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code take_number(const json_t *root, const char *key, uint64_t *out,
				   struct cleat_error *err)
{
	const json_t *value = json_object_get(root, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return damaged(key, err);
	*out = (uint64_t)json_integer_value(value);
	return CLEAT_OK;
}

static enum cleat_code take_params(json_t *root, struct cleat_kvs *out, struct cleat_error *err)
{
	json_t *params = json_object_get(root, "params"), *value;
	const char *key;

	if (!json_is_object(params))
		return damaged("params", err);
	json_object_foreach(params, key, value) if (!json_is_string(value)) return damaged("params", err);
	else if (cleat_kv_set(out, key, json_string_value(value), err)) return err->code;
	return CLEAT_OK;
}

static enum cleat_code take_all(json_t *root, struct dhv_record *rec, struct cleat_error *err)
{
	uint64_t format;

	if (take_number(root, "format", &format, err))
		return err->code;
	if (format == 0 || format > UINT32_MAX)
		return damaged("format", err);
	rec->format = (unsigned)format;
	if (take_text(root, "volume", &rec->volume, err) || take_text(root, "scope", &rec->scope, err) ||
	    take_text(root, "name", &rec->name, err) || take_text(root, "path", &rec->path, err) ||
	    take_number(root, "bytes", &rec->bytes, err) ||
	    take_number(root, "min_bytes", &rec->min_bytes, err) ||
	    take_number(root, "max_bytes", &rec->max_bytes, err) || take_params(root, &rec->params, err))
		return err->code;
	/* What is handed on must be what was once written: a path, and an id. */
	if (rec->path[0] != '/' || !strchr(rec->volume, '.'))
		return damaged(rec->path[0] != '/' ? "path" : "volume", err);
	return CLEAT_OK;
}

enum cleat_code dhv_record_parse(const char *text, size_t n, struct dhv_record *out, struct cleat_error *err)
{
	struct dhv_record rec = { 0 };
	json_error_t why;
	json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);

	if (!json_is_object(root))
		damaged(root ? "no object" : why.text, err);
	else
		take_all(root, &rec, err);
	json_decref(root);
	if (err->code)
		dhv_record_done(&rec);
	else
		*out = rec;
	return err->code;
}

static json_t *params_json(const struct cleat_kvs *kvs)
{
	json_t *object = json_object();

	for (size_t i = 0; i < kvs->count; i++)
		json_object_set_new(object, kvs->items[i].key, json_string(kvs->items[i].value));
	return object;
}

char *dhv_record_format(const struct dhv_record *rec)
{
	json_t *root =
		json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "format", (json_int_t)rec->format,
			  "volume", rec->volume, "scope", rec->scope, "name", rec->name, "path", rec->path,
			  "bytes", (json_int_t)rec->bytes, "min_bytes", (json_int_t)rec->min_bytes,
			  "max_bytes", (json_int_t)rec->max_bytes, "params", params_json(&rec->params));
	char *text = root ? json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	json_decref(root);
	return text;
}

/* ---- as a file ---- */

static void name_of(const char *id, char out[NAME_BYTES])
{
	snprintf(out, NAME_BYTES, "%s.cleat.json", id);
}

static enum cleat_code open_dir(const char *path, bool make, int *fd_out, struct cleat_error *err)
{
	/* Nomad makes it at its start, with this mode. */
	if (make && mkdir(path, 0711) && errno != EEXIST)
		return cleat_error_errno(err, errno, "make '%s'", path);
	*fd_out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd_out >= 0 ? CLEAT_OK : cleat_error_errno(err, errno, "open '%s'", path);
}

enum cleat_code dhv_record_load(const struct dhv_request *r, struct dhv_record *out, struct cleat_error *err)
{
	cleat_autoclose int dir = -1;
	cleat_autofree char *text = NULL;
	char name[NAME_BYTES];
	size_t n = 0;

	name_of(r->id, name);
	if (open_dir(r->volumes_dir, false, &dir, err) ||
	    dhv_file_read(dir, name, DHV_RECORD_MAX_BYTES, &text, &n, err))
		return err->code;
	if (dhv_record_parse(text, n, out, err))
		return cleat_error_wrap(err, "'%s/%s'", r->volumes_dir, name);
	return CLEAT_OK;
}

enum cleat_code dhv_record_save(const struct dhv_request *r, const struct dhv_record *rec,
				struct cleat_error *err)
{
	cleat_autoclose int dir = -1;
	cleat_autofree char *text = dhv_record_format(rec);
	char name[NAME_BYTES];

	if (!text)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	name_of(r->id, name);
	if (open_dir(r->volumes_dir, true, &dir, err) || dhv_file_write(dir, name, text, strlen(text), err))
		return cleat_error_wrap(err, "record in '%s'", r->volumes_dir);
	return CLEAT_OK;
}

enum cleat_code dhv_record_remove(const char *volumes_dir, const char *id, struct cleat_error *err)
{
	cleat_autoclose int dir = -1;
	char name[NAME_BYTES];

	/* Also what a writer left that was killed. */
	name_of(id, name);
	if (open_dir(volumes_dir, false, &dir, err) == CLEAT_OK)
		return dhv_files_remove(dir, name, err);
	if (err->code == CLEAT_NOT_FOUND)
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return err->code;
}

void dhv_record_done(struct dhv_record *rec)
{
	free(rec->volume);
	free(rec->scope);
	free(rec->name);
	free(rec->path);
	cleat_kv_done(&rec->params);
	*rec = (struct dhv_record){ 0 };
}

bool dhv_record_is_of(const struct dhv_record *rec, const struct dhv_request *r)
{
	return rec->min_bytes == r->min_bytes && rec->max_bytes == r->max_bytes &&
	       cleat_kv_equal(&rec->params, &r->params);
}
