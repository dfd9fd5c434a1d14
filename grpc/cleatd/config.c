/* config.c - from a tree of YAML to struct cleatd_config: every key is known, every value fits, or it is
 * reported.  See config.h. */
#include "cleatd/config.h"

#include "cleatd/keys.h"
#include "cleatd/yaml.h"
#include "util/kv.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- life ---- */

static void pool_done(struct cleat_pool_config *pool)
{
	free(pool->name);
	free(pool->backend);
	free(pool->layer);
	cleat_kv_done(&pool->config);
	cleat_kv_done(&pool->topology);
}

static void list_free(char **list)
{
	for (char **p = list; p && *p; p++)
		free(*p);
	free(list);
}

void cleatd_config_done(struct cleatd_config *config)
{
	for (const struct cleatd_key *k = cleatd_config_keys; k->name; k++) {
		void *at = (char *)config + k->offset;

		if (k->type == CLEATD_KEY_PATHS)
			list_free(*(char ***)at);
		else if (k->type < CLEATD_KEY_BOOL)
			free(*(char **)at);
	}
	for (size_t i = 0; i < config->pool_count; i++)
		pool_done(&config->pools[i]);
	free(config->pools);
	*config = (struct cleatd_config){ 0 };
}

enum cleat_code cleatd_config_init(struct cleatd_config *config, struct cleat_error *err)
{
	*config = (struct cleatd_config){ 0 };
	for (const struct cleatd_key *k = cleatd_config_keys; k->name; k++) {
		if (!k->def || k->def[0] == '(')
			continue;
		if (!cleatd_key_put(k, config, k->def)) {
			cleatd_config_done(config);
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		}
	}
	return CLEAT_OK;
}

/* ---- single values ---- */

static const struct cleatd_key *find_key(const struct cleatd_key *table, const char *name)
{
	for (const struct cleatd_key *k = table; k->name; k++)
		if (strcmp(k->name, name) == 0)
			return k;
	return NULL;
}

bool cleatd_config_set(struct cleatd_config *config, const char *name, const char *value,
		       struct cleat_error *err)
{
	const struct cleatd_key *k = find_key(cleatd_config_keys, name);

	if (k && cleatd_key_put(k, config, value))
		return true;
	cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: '%s' is not %s", name, value,
			k ? cleatd_key_type_text(k->type) : "a key");
	return false;
}

static const char *kind_text(const struct cleatd_yaml *node)
{
	if (node->kind == CLEATD_YAML_SCALAR)
		return node->empty ? "nothing" : "a text";
	return node->kind == CLEATD_YAML_MAP ? "a mapping" : "a list";
}

/* Whether a node is of the wanted kind and not "key:" with nothing behind it; reports when not. */
static bool expect(const struct cleatd_yaml *node, enum cleatd_yaml_kind kind, const char *name,
		   const char *wanted, struct cleatd_report *report)
{
	if (node->kind == kind && !node->empty)
		return true;
	cleatd_report_add(report, node->line, "%s must be %s, here is %s", name, wanted, kind_text(node));
	return false;
}

static void take_scalar(const struct cleatd_key *k, void *base, const struct cleatd_yaml *node,
			const char *name, struct cleatd_report *report)
{
	if (!expect(node, CLEATD_YAML_SCALAR, name, cleatd_key_type_text(k->type), report))
		return;
	if (!cleatd_key_put(k, base, node->text))
		cleatd_report_add(report, node->line, "%s: '%s' is not %s", name, node->text,
				  cleatd_key_type_text(k->type));
}

static void take_paths(const struct cleatd_key *k, void *base, const struct cleatd_yaml *node,
		       struct cleatd_report *report)
{
	const struct cleatd_key one = { .name = k->name, .type = CLEATD_KEY_PATH, .offset = 0 };
	char **list = calloc(CLEATD_MAX_PREFIXES + 1, sizeof(*list));
	size_t n = 0;

	if (!list) {
		cleatd_report_add(report, node->line, "out of memory");
		return;
	}
	*(char ***)(void *)((char *)base + k->offset) = list;
	for (const struct cleatd_yaml *c = node->first; c; c = c->next) {
		if (n == CLEATD_MAX_PREFIXES) {
			cleatd_report_add(report, c->line, "%s: more than %u entries", k->name,
					  CLEATD_MAX_PREFIXES);
			return;
		}
		take_scalar(&one, &list[n], c, k->name, report);
		if (list[n])
			n++;
	}
}

/* Each pair is checked by itself, so that the error has its line; that they are too many shows with the
 * last. */
static void take_pairs(struct cleat_kvs *out, const struct cleatd_yaml *node, const char *name,
		       struct cleatd_report *report)
{
	for (const struct cleatd_yaml *c = node->first; c; c = c->next) {
		cleat_autokvs struct cleat_kvs one = { 0 };
		struct cleat_error err = CLEAT_ERROR_INIT;

		if (!expect(c, CLEATD_YAML_SCALAR, name, "texts", report))
			continue;
		if (cleat_kv_set(&one, c->key, c->text, &err) || cleat_pool_check_topology(&one, &err) ||
		    cleat_kv_set(out, c->key, c->text, &err) || cleat_pool_check_topology(out, &err)) {
			cleatd_report_add(report, c->line, "%s: %s", name, err.msg);
			cleat_kv_remove(out, c->key);
		}
	}
}

static void take_value(const struct cleatd_key *k, void *base, const struct cleatd_yaml *node,
		       const char *name, struct cleatd_report *report)
{
	if (k->type == CLEATD_KEY_PATHS) {
		if (expect(node, CLEATD_YAML_LIST, name, cleatd_key_type_text(k->type), report))
			take_paths(k, base, node, report);
	} else if (k->type == CLEATD_KEY_PAIRS) {
		if (expect(node, CLEATD_YAML_MAP, name, cleatd_key_type_text(k->type), report))
			take_pairs((void *)((char *)base + k->offset), node, name, report);
	} else {
		take_scalar(k, base, node, name, report);
	}
}

/* ---- pools ---- */

/* A key that is not cleatd's own belongs to the backend: checked at once, so that the error has the line. */
static void take_backend_key(struct cleat_pool_config *pool, const struct cleat_backend *backend,
			     const struct cleatd_yaml *node, const char *name, struct cleatd_report *report)
{
	const struct cleat_param *const tables[] = { backend->pool_params };
	cleat_autokvs struct cleat_kvs one = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (!expect(node, CLEATD_YAML_SCALAR, name, "a text", report))
		return;
	if (cleat_kv_set(&one, node->key, node->text, &err) || cleat_param_check(tables, 1, &one, &err) ||
	    cleat_kv_set(&pool->config, node->key, node->text, &err))
		cleatd_report_add(report, node->line, "%s: %s", name, err.msg);
}

static const struct cleatd_yaml *child(const struct cleatd_yaml *map, const char *key)
{
	for (const struct cleatd_yaml *c = map->first; c; c = c->next)
		if (strcmp(c->key, key) == 0)
			return c;
	return NULL;
}

static const struct cleat_backend *take_backend(const struct cleatd_yaml *node, struct cleatd_report *report)
{
	const struct cleatd_yaml *b = child(node, "backend");
	const struct cleat_backend *backend = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (!b)
		cleatd_report_add(report, node->line, "pools.%s has no backend", node->key);
	else if (b->kind == CLEATD_YAML_SCALAR && cleat_backend_load(b->text, &backend, &err))
		cleatd_report_add(report, b->line, "pools.%s.backend: %s", node->key, err.msg);
	return backend;
}

static void take_pool(struct cleat_pool_config *pool, const struct cleatd_yaml *node,
		      struct cleatd_report *report)
{
	const struct cleatd_key name_key = { .name = "pools",
					     .type = CLEATD_KEY_NAME,
					     .offset = offsetof(struct cleat_pool_config, name) };
	const struct cleat_backend *backend;
	char name[96];

	if (!cleatd_key_put(&name_key, pool, node->key)) {
		cleatd_report_add(report, node->line, "pools: '%s' is no pool name, which is %s", node->key,
				  cleatd_key_type_text(CLEATD_KEY_NAME));
		return;
	}
	snprintf(name, sizeof(name), "pools.%s", pool->name);
	if (!expect(node, CLEATD_YAML_MAP, name, "a mapping", report))
		return;
	backend = take_backend(node, report);
	for (const struct cleatd_yaml *c = node->first; c; c = c->next) {
		const struct cleatd_key *k = find_key(cleatd_pool_keys, c->key);

		snprintf(name, sizeof(name), "pools.%s.%s", pool->name, c->key);
		if (k)
			take_value(k, pool, c, name, report);
		else if (backend)
			take_backend_key(pool, backend, c, name, report);
	}
}

static void take_pools(struct cleatd_config *config, const struct cleatd_yaml *node,
		       struct cleatd_report *report)
{
	if (!expect(node, CLEATD_YAML_MAP, "pools", "a mapping", report))
		return;
	config->pools = calloc(CLEATD_MAX_POOLS, sizeof(*config->pools));
	if (!config->pools) {
		cleatd_report_add(report, node->line, "out of memory");
		return;
	}
	for (const struct cleatd_yaml *c = node->first; c; c = c->next) {
		if (config->pool_count == CLEATD_MAX_POOLS) {
			cleatd_report_add(report, c->line, "more than %u pools", CLEATD_MAX_POOLS);
			return;
		}
		take_pool(&config->pools[config->pool_count++], c, report);
	}
}

/* ---- the whole ---- */

/* "socket" for "socket.path" and the like: whether a key of the table lies below `name`. */
static bool is_section(const char *name)
{
	size_t n = strlen(name);

	for (const struct cleatd_key *k = cleatd_config_keys; k->name; k++)
		if (strncmp(k->name, name, n) == 0 && k->name[n] == '.')
			return true;
	return false;
}

static void take_key(struct cleatd_config *config, const struct cleatd_yaml *node, const char *name,
		     struct cleatd_report *report)
{
	const struct cleatd_key *k = find_key(cleatd_config_keys, name);

	if (k)
		take_value(k, config, node, name, report);
	else
		cleatd_report_add(report, node->line, "unknown key '%s'", name);
}

static void take_section(struct cleatd_config *config, const struct cleatd_yaml *node,
			 struct cleatd_report *report)
{
	char name[128];

	if (!expect(node, CLEATD_YAML_MAP, node->key, "a mapping", report))
		return;
	for (const struct cleatd_yaml *c = node->first; c; c = c->next) {
		snprintf(name, sizeof(name), "%s.%s", node->key, c->key);
		take_key(config, c, name, report);
	}
}

static void take_root(struct cleatd_config *config, const struct cleatd_yaml *root,
		      struct cleatd_report *report)
{
	for (const struct cleatd_yaml *c = root->first; c; c = c->next) {
		if (strcmp(c->key, "pools") == 0)
			take_pools(config, c, report);
		else if (is_section(c->key))
			take_section(config, c, report);
		else if (strchr(c->key, '.'))
			cleatd_report_add(report, c->line, "unknown key '%s'", c->key);
		else
			take_key(config, c, c->key, report);
	}
}

static void check_listen(const struct cleatd_config *config, unsigned line, struct cleatd_report *report)
{
	const char *const need[][2] = { { "listen.cert", config->listen_cert },
					{ "listen.key", config->listen_key },
					{ "listen.client_ca", config->listen_client_ca } };

	if (!config->listen_address)
		cleatd_report_add(report, line, "listen.address is missing");
	for (size_t i = 0; i < CLEAT_COUNT(need); i++)
		if (!need[i][1])
			cleatd_report_add(report, line,
					  "%s is missing: a TCP listener exists only with mutual TLS",
					  need[i][0]);
}

static bool has_pool(const struct cleatd_config *config, const char *name)
{
	for (size_t i = 0; i < config->pool_count; i++)
		if (config->pools[i].name && strcmp(config->pools[i].name, name) == 0)
			return true;
	return false;
}

/* What only shows when all keys are known; values that were reported already are not reported again. */
static void check_whole(const struct cleatd_config *config, const struct cleatd_yaml *root,
			struct cleatd_report *report)
{
	const struct cleatd_yaml *node = child(root, "listen");

	if (node && node->kind == CLEATD_YAML_MAP && report->count == 0)
		check_listen(config, node->line, report);
	node = child(root, "default_pool");
	if (node && config->default_pool && config->pool_count && !has_pool(config, config->default_pool))
		cleatd_report_add(report, node->line, "default_pool: there is no pool '%s'",
				  config->default_pool);
}

bool cleatd_config_parse(struct cleatd_config *config, const char *bytes, size_t n,
			 struct cleatd_report *report)
{
	cleatd_autoyaml struct cleatd_yaml *root = cleatd_yaml_parse(bytes, n, report);

	if (root && root->kind == CLEATD_YAML_MAP) {
		take_root(config, root, report);
		check_whole(config, root, report);
	} else if (root && !root->empty) {
		cleatd_report_add(report, root->line, "the file must be a mapping of keys, here is %s",
				  kind_text(root));
	}
	return report->count == 0;
}

static bool read_all(int fd, char *bytes, size_t room, size_t *n_out, struct cleatd_report *report)
{
	for (*n_out = 0; *n_out < room;) {
		ssize_t n = read(fd, bytes + *n_out, room - *n_out);

		if (n == 0)
			return true;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			cleatd_report_add(report, 0, "cannot be read: %m");
			return false;
		}
		*n_out += (size_t)n;
	}
	return true; /* one byte more than is allowed: the parser says so */
}

bool cleatd_config_load(struct cleatd_config *config, const char *path, struct cleatd_report *report)
{
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	cleat_autofree char *bytes = malloc(CLEATD_YAML_MAX_BYTES + 1);
	size_t n;

	if (fd < 0) {
		cleatd_report_add(report, 0, "cannot be opened: %m");
		return false;
	}
	if (!bytes) {
		cleatd_report_add(report, 0, "out of memory");
		return false;
	}
	return read_all(fd, bytes, CLEATD_YAML_MAX_BYTES + 1, &n, report) &&
	       cleatd_config_parse(config, bytes, n, report);
}

/* ---- afterwards ---- */

/* Loop devices may be missing, or kept from a container by its device rules: opening tells both. */
static bool loop_devices_work(void)
{
	cleat_autoclose int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	return fd >= 0;
}

static enum cleat_code add_embedded_pool(struct cleatd_config *config, struct cleat_error *err)
{
	free(config->pools);
	config->pools = calloc(1, sizeof(*config->pools));
	if (!config->pools)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	config->pool_count = 1;
	config->pools[0].name = strdup("default");
	config->pools[0].backend = strdup(loop_devices_work() ? "loop" : "dir");
	if (!config->pools[0].name || !config->pools[0].backend)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return CLEAT_OK;
}

enum cleat_code cleatd_config_finish(struct cleatd_config *config, struct cleat_error *err)
{
	char path[1100];

	if (!config->socket_path) {
		snprintf(path, sizeof(path), "%s/cleat.sock", config->runtime_dir);
		if (!cleatd_config_set(config, "socket.path", path, err))
			return err->code;
	}
	return config->pool_count ? CLEAT_OK : add_embedded_pool(config, err);
}

void cleatd_config_compare(const struct cleatd_config *a, const struct cleatd_config *b,
			   void (*fn)(const struct cleatd_key *key, void *arg), void *arg)
{
	for (const struct cleatd_key *k = cleatd_config_keys; k->name; k++)
		if (!cleatd_key_equal(k, a, b))
			fn(k, arg);
}

static size_t size_of(enum cleatd_key_type type)
{
	if (type < CLEATD_KEY_BOOL)
		return sizeof(char *);
	return type == CLEATD_KEY_BOOL ? sizeof(bool) : sizeof(unsigned);
}

void cleatd_config_swap_fixed(struct cleatd_config *a, struct cleatd_config *b)
{
	for (const struct cleatd_key *k = cleatd_config_keys; k->name; k++) {
		char *at_a = (char *)a + k->offset, *at_b = (char *)b + k->offset, kept[sizeof(char *)];
		size_t n = size_of(k->type);

		if (k->reload)
			continue;
		memcpy(kept, at_a, n);
		memcpy(at_a, at_b, n);
		memcpy(at_b, kept, n);
	}
}

/* ---- the tables for people ---- */

static void print_key(const char *name, const char *type, const char *def, const char *text, bool reload)
{
	printf("  %-20s %s\n", name, text);
	printf("  %-20s   %s%s%s%s\n", "", type, def ? "; default " : "", def ? def : "",
	       reload ? "; reload" : "");
}

static const char *const param_types[] = {
	[CLEAT_PARAM_TEXT] = "text",
	[CLEAT_PARAM_BOOL] = "true or false",
	[CLEAT_PARAM_SIZE] = "size",
	[CLEAT_PARAM_UINT] = "number",
	[CLEAT_PARAM_MODE] = "octal mode",
	[CLEAT_PARAM_CHOICE] = "choice",
	[CLEAT_PARAM_PATH] = "path",
	[CLEAT_PARAM_DECIMAL] = "decimal number",
	[CLEAT_PARAM_SECRET] = "secret, as file:PATH or env:NAME",
};

static void print_param(const struct cleat_param *p)
{
	cleat_autobuf struct cleat_buf type = CLEAT_BUF_INIT(512);

	if (p->type == CLEAT_PARAM_CHOICE)
		for (const char *const *c = p->choices; c && *c; c++)
			cleat_buf_addf(&type, "%s%s", c == p->choices ? "" : " | ", *c);
	else
		cleat_buf_adds(&type, param_types[p->type]);
	print_key(p->key, cleat_buf_text(&type), p->def, p->text, p->changeable);
}

void cleatd_config_print_keys(void)
{
	const struct cleat_backend *b;

	printf("Keys of the file (a dot stands for a mapping inside; 'reload': a change takes effect on "
	       "SIGHUP):\n");
	for (const struct cleatd_key *k = cleatd_config_keys; k->name; k++)
		print_key(k->name, cleatd_key_type_text(k->type), k->def, k->text, k->reload);
	printf("\nKeys of every pool (pools.NAME.KEY; without any pool there is one named default):\n");
	for (const struct cleatd_key *k = cleatd_pool_keys; k->name; k++)
		print_key(k->name, cleatd_key_type_text(k->type), k->def, k->text, k->reload);
	for (size_t i = 0; (b = cleat_backend_at(i)); i++) {
		printf("\nKeys of a pool with backend %s (%s):\n", b->name, b->summary);
		for (const struct cleat_param *p = b->pool_params; p && p->key; p++)
			print_param(p);
	}
}
