/* topology.c - from where pools can be reached, as their configuration says it.  The engine passes it on and draws nothing from it. */
#include "engine/engine.h"

#include <string.h>

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define WORD_MAX_BYTES 63

static bool is_word(const char *text, size_t n)
{
	return n >= 1 && n <= WORD_MAX_BYTES && strspn(text, ALNUM "._-") >= n && strchr(ALNUM, text[0]) && strchr(ALNUM, text[n - 1]);
}

static bool is_topology_key(const char *key)
{
	const char *slash = strchr(key, '/');

	if (slash && !is_word(key, (size_t)(slash - key)))
		return false;
	const char *name = slash ? slash + 1 : key;
	return is_word(name, strlen(name));
}

enum cleat_code cleat_pool_check_topology(const struct cleat_kvs *topology, struct cleat_error *err)
{
	if (topology->count > CLEAT_TOPOLOGY_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "more than %d keys", CLEAT_TOPOLOGY_MAX);
	for (size_t i = 0; i < topology->count; i++) {
		const struct cleat_kv *kv = &topology->items[i];
		if (!is_topology_key(kv->key))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "'%.140s' is no key, which is 1 to 63 of [A-Za-z0-9._-], also after a domain and '/'",
					       kv->key);
		if (!is_word(kv->value, strlen(kv->value)))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "'%.140s' is no value for '%s', which is 1 to 63 of [A-Za-z0-9._-]", kv->value,
					       kv->key);
	}
	return CLEAT_OK;
}

/* Adds one pool's pairs to those of the node; another value for a key is refused. */
static enum cleat_code add_place(struct cleat_kvs *node, const struct cleat_pool_config *cfg, struct cleat_error *err)
{
	for (size_t i = 0; i < cfg->topology.count; i++) {
		const struct cleat_kv *kv = &cfg->topology.items[i];
		const char *has = cleat_kv_get(node, kv->key);
		if (has && strcmp(has, kv->value) != 0)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "pool '%s': topology: '%s' is '%s', but '%s' in another pool: a node is in one place",
					       cfg->name, kv->key, kv->value, has);
		if (!has && cleat_kv_set(node, kv->key, kv->value, err))
			return err->code;
	}
	return CLEAT_OK;
}

enum cleat_code pool_check_places(const struct cleat_pool_config *pools, size_t n, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs node = { 0 };

	for (size_t i = 0; i < n; i++)
		if (add_place(&node, &pools[i], err))
			return err->code;
	if (node.count > 2 * CLEAT_TOPOLOGY_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "topology: more than %d keys in all pools", 2 * CLEAT_TOPOLOGY_MAX);
	return CLEAT_OK;
}

enum cleat_code cleat_pool_topology(struct cleat_engine *e, const char *name, struct cleat_kvs *out, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	enum cleat_code code = CLEAT_OK;

	if (!err)
		err = &own;
	pthread_mutex_lock(&e->lock);
	const struct pool *only = name ? pool_by_name(e, name) : NULL;
	if (name && !only)
		code = cleat_error_set(err, CLEAT_NOT_FOUND, "this node has no pool '%s'", name);
	for (size_t i = 0; code == CLEAT_OK && i < e->pool_count; i++) {
		const struct cleat_kvs *of = &e->pools[i]->cfg.topology;
		for (size_t k = 0; (!only || only == e->pools[i]) && code == CLEAT_OK && k < of->count; k++)
			code = cleat_kv_set(out, of->items[k].key, of->items[k].value, err);
	}
	pthread_mutex_unlock(&e->lock);
	if (code)
		cleat_kv_done(out);
	return code;
}

void cleat_pool_topology_done(struct cleat_kvs *topology)
{
	cleat_kv_done(topology);
}
