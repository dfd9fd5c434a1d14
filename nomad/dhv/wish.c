/* wish.c - see wish.h. */
#include "dhv/wish.h"

#include <string.h>

#include "cleat/v1/volumes.pb-c.h"
#include "util/mem.h"
#include "util/text.h"

const struct dhv_word dhv_words[] = {
	{ "pool", "POOL", "Pool, by its configured name; else the daemon's default pool." },
	{ "source", "VOLUME or SNAPSHOT",
	  "The new volume is a copy of this one: an id, or pool/name in the same namespace." },
	{ "volume", "VOLUME",
	  "Nothing is created: this volume of Cleat is used, an id, or a name or pool/name in the same "
	  "namespace." },
	{ "on_delete", "delete, keep",
	  "What becomes of the data when the volume is deleted in Nomad. Without it a volume that was "
	  "created goes, "
	  "and one that was named by volume stays." },
	{ "hard_size", "true, false", "Refuse pools that cannot enforce the size." },
	{ "options", "KEY=VALUE,...", "More parameters for the creation, in one text." },
	{ "mount_options", "KEY[=VALUE],...", "Mount options that the file system takes, as noatime." },
	{ "access_mode", "MODE",
	  "What other doors may do with the volume meanwhile: single-node-writer (the default) lets them use "
	  "it too, "
	  "single-node-single-writer does not." },
	{ "read_only", "true, false", "Mount it read-only." },
	{ NULL, NULL, NULL },
};

static enum cleat_code bad(const char *key, const char *value, const char *what, struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "parameter '%s': value '%.*s' %s", key,
			       cleat_text_cut(value, 100), value, what);
}

/* ---- one word each ---- */

static enum cleat_code read_bool(const char *key, const char *value, bool *out, struct cleat_error *err)
{
	*out = strcmp(value, "true") == 0;
	if (*out || strcmp(value, "false") == 0)
		return CLEAT_OK;
	return bad(key, value, "is neither 'true' nor 'false'", err);
}

static const struct {
	const char *word;
	int mode;
} modes[] = {
	{ "single-node-writer", CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_WRITER },
	{ "single-node-reader-only", CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_READER_ONLY },
	{ "single-node-single-writer", CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER },
	{ "single-node-multi-writer", CLEAT__V1__ACCESS_MODE__ACCESS_MODE_SINGLE_NODE_MULTI_WRITER },
	{ "multi-node-reader-only", CLEAT__V1__ACCESS_MODE__ACCESS_MODE_MULTI_NODE_READER_ONLY },
	{ "multi-node-single-writer", CLEAT__V1__ACCESS_MODE__ACCESS_MODE_MULTI_NODE_SINGLE_WRITER },
	{ "multi-node-multi-writer", CLEAT__V1__ACCESS_MODE__ACCESS_MODE_MULTI_NODE_MULTI_WRITER },
};

static enum cleat_code read_mode(const char *key, const char *value, int *out, struct cleat_error *err)
{
	for (size_t i = 0; i < CLEAT_COUNT(modes); i++)
		if (strcmp(value, modes[i].word) == 0) {
			*out = modes[i].mode;
			return CLEAT_OK;
		}
	return bad(key, value, "is no access mode (as single-node-writer)", err);
}

static enum cleat_code read_text(const char *key, const char *value, const char **out,
				 struct cleat_error *err)
{
	*out = value;
	return *value ? CLEAT_OK : bad(key, value, "is empty", err);
}

static enum cleat_code read_on_delete(const char *value, struct dhv_wish *w, struct cleat_error *err)
{
	w->on_delete_given = true;
	w->keep = strcmp(value, "keep") == 0;
	if (w->keep || strcmp(value, "delete") == 0)
		return CLEAT_OK;
	return bad("on_delete", value, "is neither 'delete' nor 'keep'", err);
}

/* ---- lists ---- */

/* "key=value", of which the value may be missing where it need not be there. */
static enum cleat_code take_item(const char *list, char *item, bool needs_value, struct cleat_kvs *out,
				 struct cleat_error *err)
{
	char *equals = strchr(item, '=');

	if (!*item || equals == item || (!equals && needs_value))
		return bad(list, item, needs_value ? "is not key=value" : "is not key or key=value", err);
	if (equals)
		*equals = '\0';
	if (cleat_kv_get(out, item))
		return bad(list, item, "is there twice", err);
	return cleat_kv_set(out, item, equals ? equals + 1 : "", err);
}

static enum cleat_code read_list(const char *key, const char *value, bool needs_value, struct cleat_kvs *out,
				 struct cleat_error *err)
{
	cleat_autofree char *copy = strdup(value);
	char *rest = copy;

	if (!copy)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	for (char *item; *value && (item = strsep(&rest, ","));)
		if (take_item(key, item + strspn(item, " "), needs_value, out, err))
			return err->code;
	return CLEAT_OK;
}

/* ---- all of them ---- */

static enum cleat_code take(const char *key, const char *value, struct dhv_wish *w, struct cleat_error *err)
{
	if (!cleat_text_is_clean(value, strlen(value)))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "parameter '%s': the value has control characters", key);
	if (strcmp(key, "pool") == 0)
		return read_text(key, value, &w->pool, err);
	if (strcmp(key, "volume") == 0)
		return read_text(key, value, &w->volume, err);
	if (strcmp(key, "source") == 0)
		return read_text(key, value, &w->source, err);
	if (strcmp(key, "hard_size") == 0)
		return read_bool(key, value, &w->hard_size, err);
	if (strcmp(key, "read_only") == 0)
		return read_bool(key, value, &w->read_only, err);
	if (strcmp(key, "access_mode") == 0)
		return read_mode(key, value, &w->access_mode, err);
	if (strcmp(key, "on_delete") == 0)
		return read_on_delete(value, w, err);
	if (strcmp(key, "options") == 0)
		return read_list(key, value, true, &w->params, err);
	if (strcmp(key, "mount_options") == 0)
		return read_list(key, value, false, &w->mount_options, err);
	if (cleat_kv_get(&w->params, key))
		return bad(key, value, "is given by 'options', too", err);
	return cleat_kv_set(&w->params, key, value, err);
}

static enum cleat_code take_all(const struct cleat_kvs *kvs, const struct cleat_kvs *above,
				struct dhv_wish *w, struct cleat_error *err)
{
	for (size_t i = 0; kvs && i < kvs->count; i++)
		if (!(above && cleat_kv_get(above, kvs->items[i].key)) &&
		    take(kvs->items[i].key, kvs->items[i].value, w, err))
			return err->code;
	return CLEAT_OK;
}

static enum cleat_code check(const struct dhv_wish *w, struct cleat_error *err)
{
	if (w->volume && w->source)
		return bad("source", w->source, "and parameter 'volume' exclude each other", err);
	return CLEAT_OK;
}

enum cleat_code dhv_wish_read(const struct cleat_kvs *params, const struct cleat_kvs *defaults,
			      struct dhv_wish *out, struct cleat_error *err)
{
	struct dhv_wish w = { 0 };

	if (take_all(params, NULL, &w, err) || take_all(defaults, params, &w, err) || check(&w, err)) {
		dhv_wish_done(&w);
		return err->code;
	}
	*out = w;
	return CLEAT_OK;
}

void dhv_wish_done(struct dhv_wish *w)
{
	cleat_kv_done(&w->params);
	cleat_kv_done(&w->mount_options);
}
