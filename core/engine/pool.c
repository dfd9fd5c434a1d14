/* pool.c - pools: checking their configuration, opening, watching, and the index of what they hold. */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "layers/layer.h"
#include "sys/file.h"
#include "util/buf.h"
#include "util/ids.h"

#define OPEN_LIMIT_MS 120000
#define SCAN_LIMIT_MS 120000
#define SPACE_LIMIT_MS 10000
#define PROBE_LIMIT_MS 10000
#define HURRY_MS 1000
#define MAX_UNFINISHED 256

/* ---- configuration ---------------------------------------------------------------------------------------------------------------- */

static bool is_pool_name(const char *name)
{
	size_t n = name ? strlen(name) : 0;

	return n >= 1 && n <= 31 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n && name[0] != '-';
}

enum cleat_code pool_check_config(const struct cleat_pool_config *cfg, struct cleat_error *err)
{
	if (!is_pool_name(cfg->name))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "pool name '%s': use 1 to 31 of a-z, 0-9 and '-'",
				       cfg->name ? cfg->name : "");
	const struct cleat_backend *b = NULL;
	if (cleat_backend_load(cfg->backend ? cfg->backend : "", &b, err))
		return cleat_error_wrap(err, "pool '%s'", cfg->name);
	if (cfg->layer && *cfg->layer && strcmp(cfg->layer, "fault") != 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "pool '%s': there is no layer '%s'", cfg->name, cfg->layer);
	if (cfg->lane_threads > 256)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "pool '%s': lane_threads is %u, at most 256", cfg->name,
				       cfg->lane_threads);
	const struct cleat_param *tables[] = { b->pool_params };
	if (cleat_param_check(tables, 1, &cfg->config, err))
		return cleat_error_wrap(err, "pool '%s'", cfg->name);
	if (cleat_pool_check_topology(&cfg->topology, err))
		return cleat_error_wrap(err, "pool '%s': topology", cfg->name);
	return CLEAT_OK;
}

static char *copy_text(const char *text)
{
	return strdup(text ? text : "");
}

struct pool *pool_new(struct cleat_engine *e, const struct cleat_pool_config *cfg, struct cleat_error *err)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p) {
		cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		return NULL;
	}
	p->e = e;
	p->phase = POOL_OPENING;
	p->space_at_ms = -1;
	p->max_threads = cfg->lane_threads ? cfg->lane_threads : DEFAULT_LANE_THREADS;
	lane_init(&p->lane);
	p->cfg = (struct cleat_pool_config){ .name = copy_text(cfg->name),
					     .backend = copy_text(cfg->backend),
					     .cross_scope = cfg->cross_scope,
					     .lane_threads = cfg->lane_threads,
					     .layer = copy_text(cfg->layer) };
	p->name = p->cfg.name;
	p->backend_name = p->cfg.backend;
	if (!p->name || !p->backend_name || !p->cfg.layer || cleat_kv_copy(&cfg->config, &p->cfg.config, err) ||
	    cleat_kv_copy(&cfg->topology, &p->cfg.topology, err)) {
		cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		pool_free(p);
		return NULL;
	}
	if (*p->backend_name) {
		p->backend = cleat_backend_find(p->backend_name);
		if (strcmp(p->cfg.layer, "fault") == 0)
			p->backend = cleat_layer_fault(p->backend);
	}
	return p;
}

static void drop_unfinished(struct pool *p, struct unfinished **at)
{
	struct unfinished *u = *at;

	*at = u->next;
	p->unfinished_count--;
	free(u->scope);
	free(u->name);
	free(u);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	if (p->instance)
		p->backend->close(p->instance);
	index_clear(&p->index);
	while (p->unfinished)
		drop_unfinished(p, &p->unfinished);
	pthread_cond_destroy(&p->lane.work);
	free(p->cfg.name);
	free(p->cfg.backend);
	free(p->cfg.layer);
	cleat_kv_done(&p->cfg.config);
	cleat_kv_done(&p->cfg.topology);
	free(p);
}

/* ---- finding ------------------------------------------------------------------------------------------------------------------------- */

struct pool *pool_by_name(struct cleat_engine *e, const char *name)
{
	const bool any = !name || !*name;

	if (any)
		name = e->default_pool[0] ? e->default_pool : "default";
	for (size_t i = 0; i < e->pool_count; i++)
		if (strcmp(e->pools[i]->name, name) == 0)
			return e->pools[i];
	return any && e->pool_count == 1 ? e->pools[0] : NULL;
}

struct pool *pool_by_stored_name(struct cleat_engine *e, const char *stored, size_t n)
{
	for (size_t i = 0; i < e->pool_count; i++) {
		const char *own = e->pools[i]->id.stored_name;
		if (strlen(own) == n && n > 0 && memcmp(own, stored, n) == 0)
			return e->pools[i];
	}
	return NULL;
}

void pool_make_id(const struct pool *p, const char *key, char id[CLEAT_ID_MAX_BYTES + 1])
{
	snprintf(id, CLEAT_ID_MAX_BYTES + 1, "%.*s.%.*s", CLEAT_POOL_NAME_MAX_BYTES, p->id.stored_name,
		 CLEAT_ID_MAX_BYTES - CLEAT_POOL_NAME_MAX_BYTES - 1 > CLEAT_KEY_MAX_BYTES
			 ? CLEAT_KEY_MAX_BYTES
			 : CLEAT_ID_MAX_BYTES - CLEAT_POOL_NAME_MAX_BYTES - 1,
		 key);
}

/* ---- records --------------------------------------------------------------------------------------------------------------------------- */

enum cleat_code pool_put(struct pool *p, struct cleat_record *rec, struct cleat_error *err)
{
	pthread_mutex_lock(&p->e->lock);
	enum cleat_code code = index_put(&p->index, rec, NULL, err);
	pthread_mutex_unlock(&p->e->lock);
	return code;
}

static struct unfinished **find_unfinished(struct pool *p, const struct cleat_record *rec)
{
	struct unfinished **at = &p->unfinished;

	while (*at && ((*at)->kind != rec->kind || strcmp((*at)->name, rec->name) != 0 || strcmp((*at)->scope, rec->scope) != 0))
		at = &(*at)->next;
	return at;
}

static struct unfinished *remember(struct pool *p, const struct cleat_record *wish)
{
	struct unfinished *u = calloc(1, sizeof(*u));

	if (!u || !(u->name = strdup(wish->name)) || !(u->scope = strdup(wish->scope))) {
		if (u)
			free(u->name);
		free(u);
		return NULL;
	}
	u->kind = wish->kind;
	cleat_id_new_key(u->key);
	u->next = p->unfinished;
	p->unfinished = u;
	p->unfinished_count++;
	return u;
}

/* The oldest are at the end. */
static void forget_oldest(struct pool *p)
{
	struct unfinished **at = &p->unfinished;

	if (p->unfinished_count <= MAX_UNFINISHED)
		return;
	while ((*at)->next)
		at = &(*at)->next;
	drop_unfinished(p, at);
}

enum cleat_code pool_key_take(struct pool *p, const struct cleat_record *wish, char key[CLEAT_KEY_MAX_BYTES + 1],
			      struct cleat_error *err)
{
	pthread_mutex_lock(&p->e->lock);
	struct unfinished *u = *find_unfinished(p, wish);
	if (!u)
		u = remember(p, wish);
	if (u)
		snprintf(key, CLEAT_KEY_MAX_BYTES + 1, "%s", u->key);
	forget_oldest(p);
	pthread_mutex_unlock(&p->e->lock);
	return u ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

void pool_key_done(struct pool *p, const struct cleat_record *stored)
{
	pthread_mutex_lock(&p->e->lock);
	struct unfinished **at = find_unfinished(p, stored);
	if (*at)
		drop_unfinished(p, at);
	pthread_mutex_unlock(&p->e->lock);
}

static const char *op_key(const struct op *op)
{
	const char *dot = strchr(op->id, '.');

	return dot ? dot + 1 : "";
}

static bool changes_record(const struct op *op)
{
	return op->verb == CLEAT_VERB_EXPAND || op->verb == CLEAT_VERB_MODIFY || op->verb == CLEAT_VERB_DELETE ||
	       op->verb == CLEAT_VERB_DELETE_SNAPSHOT || op->verb == CLEAT_VERB_ATTACH || op->verb == CLEAT_VERB_DETACH;
}

/* An id names a volume or a snapshot; only a creation takes either, as its source. */
static bool is_of_kind(const struct op *op, const struct cleat_record *rec)
{
	if (op->verb == CLEAT_VERB_CREATE)
		return true;
	return rec->kind == (op->verb == CLEAT_VERB_DELETE_SNAPSHOT ? CLEAT_KIND_SNAPSHOT : CLEAT_KIND_VOLUME);
}

static enum cleat_code judge(const struct op *op, const struct entry *en, struct cleat_error *err)
{
	if (!en || !is_of_kind(op, en->rec))
		return cleat_error_set(err, CLEAT_NOT_FOUND, "%s '%s' does not exist",
				       op->verb == CLEAT_VERB_DELETE_SNAPSHOT ? "snapshot" : "volume", op->subject);
	if (en->broken && op->verb != CLEAT_VERB_HEALTH)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "the record of '%s' cannot be used: %s", op->id, en->broken);
	if (en->rec->format > CLEAT_RECORD_FORMAT && changes_record(op))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "the record of '%s' has format %u, newer than this release's %d: it is read-only", op->id,
				       en->rec->format, CLEAT_RECORD_FORMAT);
	return CLEAT_OK;
}

enum cleat_code pool_take(struct op *op, struct cleat_record **out, struct cleat_error *err)
{
	pthread_mutex_lock(&op->e->lock);
	struct entry *en = op->id[0] ? index_by_key(&op->pool->index, op_key(op)) : NULL;
	enum cleat_code code = judge(op, en, err);
	if (code == CLEAT_OK)
		*out = cleat_record_ref(en->rec);
	pthread_mutex_unlock(&op->e->lock);
	return code;
}

/* ---- opening ----------------------------------------------------------------------------------------------------------------------------- */

/* The UUID each pool had when it was last seen, one small file per pool, so that a pool directory whose storage is not mounted is noticed. */
static void known_path(const struct pool *p, char *out, size_t out_bytes)
{
	snprintf(out, out_bytes, "%s/known", p->e->state_dir);
}

static char *read_known(const struct pool *p)
{
	char path[CLEAT_TARGET_MAX_BYTES];
	cleat_autobuf struct cleat_buf b = CLEAT_BUF_INIT(64);
	cleat_autoclose int fd = -1;

	known_path(p, path, sizeof(path));
	if (cleat_sys_open_root(path, &fd, NULL) || cleat_sys_read_file(fd, p->name, 63, &b, NULL) || b.len != 36)
		return NULL;
	return cleat_buf_steal(&b);
}

static enum cleat_code write_known(const struct pool *p, struct cleat_error *err)
{
	char path[CLEAT_TARGET_MAX_BYTES];
	cleat_autoclose int fd = -1;

	known_path(p, path, sizeof(path));
	if (cleat_sys_mkdir_path(path, 0700, err) || cleat_sys_open_root(path, &fd, err))
		return err->code;
	return cleat_sys_replace_file(fd, p->name, p->id.uuid, strlen(p->id.uuid), 0600, true, err);
}

struct scan {
	struct pool *p;
	struct index index;
	struct cleat_error err;
};

static bool add_scanned(struct cleat_record *rec, const char *broken, void *arg)
{
	struct scan *s = arg;
	const char *why = broken;

	if (!why && *rec->name && index_by_name(&s->index, rec->kind, rec->scope, rec->name))
		why = "another record of this pool has the same name";
	return index_put(&s->index, rec, why, &s->err) == CLEAT_OK;
}

static enum cleat_code scan(struct pool *p, struct cleat_error *err)
{
	struct scan s = { .p = p, .err = CLEAT_ERROR_INIT };
	enum cleat_code code = p->backend->scan(p->instance, add_scanned, &s, err);

	if (code == CLEAT_OK && s.err.code) {
		*err = s.err;
		code = s.err.code;
	}
	if (code) {
		index_clear(&s.index);
		return code;
	}
	pthread_mutex_lock(&p->e->lock);
	struct index old = p->index;
	p->index = s.index;
	pthread_mutex_unlock(&p->e->lock);
	index_clear(&old);
	return CLEAT_OK;
}

bool pool_key_in_use(const char *key, void *arg)
{
	struct pool *p = arg;
	char id[CLEAT_ID_MAX_BYTES + 1];

	pool_make_id(p, key, id);
	pthread_mutex_lock(&p->e->lock);
	bool used = node_find(p->e, id) != NULL;
	pthread_mutex_unlock(&p->e->lock);
	return used;
}

static void report_recovered(const char *line, void *arg)
{
	struct pool *p = arg;

	report_line(p->e, "pool '%s': %s", p->name, line);
}

static enum cleat_code check_identity(struct pool *p, const struct cleat_pool_identity *id, struct cleat_error *err)
{
	for (size_t i = 0; i < p->e->pool_count; i++) {
		struct pool *other = p->e->pools[i];
		if (other != p && strcmp(other->id.stored_name, id->stored_name) == 0)
			return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "pool '%s' serves the same storage", other->name);
	}
	return CLEAT_OK;
}

/* Opens the instance, or leaves none. */
static enum cleat_code open_instance(struct pool *p, struct cleat_error *err)
{
	cleat_autofree char *known = read_known(p);
	struct cleat_pool_identity id = { .format = 0 };
	void *instance = NULL;
	const struct cleat_pool_options opts = { .name = p->name,
						 .state_dir = p->e->state_dir,
						 .runtime_dir = p->e->runtime_dir,
						 .config = &p->cfg.config,
						 .expect_uuid = known,
						 .node = p->e->node };

	if (p->backend->check && p->backend->check(err))
		return err->code;
	if (p->backend->open(&opts, &instance, &id, err))
		return err->code;
	pthread_mutex_lock(&p->e->lock);
	enum cleat_code code = check_identity(p, &id, err);
	if (code == CLEAT_OK) {
		p->instance = instance;
		p->id = id;
		p->capabilities = p->backend->capabilities(instance);
	}
	pthread_mutex_unlock(&p->e->lock);
	if (code) {
		p->backend->close(instance);
		return code;
	}
	return known && strcmp(known, id.uuid) == 0 ? CLEAT_OK : write_known(p, err);
}

static void close_instance(struct pool *p)
{
	pthread_mutex_lock(&p->e->lock);
	void *instance = p->instance;
	p->instance = NULL;
	pthread_mutex_unlock(&p->e->lock);
	if (instance)
		p->backend->close(instance);
}

static enum cleat_code open_all(struct op *op, struct cleat_error *err)
{
	struct pool *p = op->pool;
	struct cleat_op *handle = (struct cleat_op *)op;

	cleat_op_step(handle, "open pool", OPEN_LIMIT_MS);
	close_instance(p);
	if (open_instance(p, err))
		return err->code;
	cleat_op_step(handle, "recover", OPEN_LIMIT_MS);
	if (recover_pool_mounts(op, p, err))
		return err->code;
	if (p->backend->recover && p->backend->recover(p->instance, pool_key_in_use, report_recovered, p, err))
		return err->code;
	cleat_op_step(handle, "read records", SCAN_LIMIT_MS);
	return scan(p, err);
}

static void set_phase(struct pool *p, enum pool_phase phase, const char *reason)
{
	pthread_mutex_lock(&p->e->lock);
	const bool changed = p->phase != phase;
	p->phase = phase;
	p->ever_opened = p->ever_opened || phase == POOL_ONLINE;
	p->looked_at_ms = cleat_time_mono_ms();
	p->retry_at_ms = p->probe_at_ms = p->looked_at_ms + PROBE_EVERY_MS;
	snprintf(p->reason, sizeof(p->reason), "%s", reason);
	pthread_mutex_unlock(&p->e->lock);
	if (!changed)
		return;
	if (phase == POOL_OFFLINE)
		report_line(p->e, "pool '%s' is offline: %s", p->name, reason);
	else
		report_line(p->e, "pool '%s' is online%s%s", p->name, *reason ? ", read-only: " : "", reason);
	emit_volume(p->e, phase == POOL_ONLINE ? CLEAT_EVENT_POOL_ONLINE : CLEAT_EVENT_POOL_OFFLINE, p, "", "", reason);
}

enum cleat_code pool_run_open(struct op *op, struct cleat_error *err)
{
	struct pool *p = op->pool;

	if (open_all(op, err)) {
		close_instance(p);
		set_phase(p, POOL_OFFLINE, err->msg);
		return err->code;
	}
	char reason[128] = "";
	if (p->id.read_only)
		snprintf(reason, sizeof(reason), "its format %u is newer than this release's", p->id.format);
	set_phase(p, POOL_ONLINE, reason);
	struct cleat_error ignored = CLEAT_ERROR_INIT; /* the pool is online; its space is asked for again */
	(void)!pool_refresh_space(op, &ignored);
	return CLEAT_OK;
}

void pool_hurry(struct pool *p)
{
	const int64_t soon = p->looked_at_ms + HURRY_MS;

	if (soon < p->retry_at_ms)
		p->retry_at_ms = soon;
	if (soon < p->probe_at_ms)
		p->probe_at_ms = soon;
	pthread_cond_signal(&p->e->timer_wake);
}

enum cleat_code pool_run_probe(struct op *op, struct cleat_error *err)
{
	struct pool *p = op->pool;
	struct cleat_op *handle = (struct cleat_op *)op;

	cleat_op_step(handle, "probe", PROBE_LIMIT_MS);
	if (p->instance && p->backend->probe && p->backend->probe(p->instance, err)) {
		set_phase(p, POOL_OFFLINE, err->msg);
		return err->code;
	}
	pthread_mutex_lock(&p->e->lock);
	p->looked_at_ms = cleat_time_mono_ms();
	p->probe_at_ms = p->looked_at_ms + PROBE_EVERY_MS;
	pthread_mutex_unlock(&p->e->lock);
	return p->instance ? pool_refresh_space(op, err) : CLEAT_OK;
}

enum cleat_code pool_refresh_space(struct op *op, struct cleat_error *err)
{
	struct pool *p = op->pool;
	struct cleat_pool_space space = { 0 };

	if (!p->backend->space)
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "backend '%s' does not tell its space", p->backend_name);
	cleat_op_step((struct cleat_op *)op, "read space", SPACE_LIMIT_MS);
	if (p->backend->space(p->instance, &space, err))
		return err->code;
	pthread_mutex_lock(&p->e->lock);
	const bool newly_low = space.low && !p->space.low;
	space.promised_bytes = p->index.promised_bytes;
	p->space = space;
	p->space_at_ms = cleat_time_mono_ms();
	pthread_mutex_unlock(&p->e->lock);
	if (newly_low) {
		char text[96];
		snprintf(text, sizeof(text), "%llu of %llu bytes available", (unsigned long long)space.available_bytes,
			 (unsigned long long)space.total_bytes);
		emit_volume(p->e, CLEAT_EVENT_POOL_LOW, p, "", "", text);
	}
	return CLEAT_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------------------- */

static void count_operations(const struct pool *p, struct cleat_pool_state *out)
{
	for (const struct op *op = p->e->ops; op; op = op->next) {
		if (op->pool != p)
			continue;
		out->running_count += op->phase == OP_RUNNING && !op->stuck;
		out->stuck_count += op->stuck;
	}
}

const char *pool_default_fs(const struct pool *p)
{
	if (!p->backend->uses_fs)
		return "";
	for (const struct cleat_param *param = p->backend->pool_params; param && param->key; param++)
		if (strcmp(param->key, "fs") == 0)
			return cleat_param_text(p->backend->pool_params, &p->cfg.config, "fs");
	return "ext4";
}

void pool_state_fill(const struct pool *p, struct cleat_pool_state *out)
{
	memset(out, 0, sizeof(*out));
	snprintf(out->name, sizeof(out->name), "%s", p->name);
	snprintf(out->stored_name, sizeof(out->stored_name), "%s", p->id.stored_name);
	snprintf(out->uuid, sizeof(out->uuid), "%s", p->id.uuid);
	snprintf(out->backend, sizeof(out->backend), "%s", p->backend_name);
	snprintf(out->reason, sizeof(out->reason), "%s", p->phase == POOL_OPENING ? "still opening" : p->reason);
	snprintf(out->fs, sizeof(out->fs), "%s", pool_default_fs(p));
	out->shared = p->id.shared;
	out->online = p->phase == POOL_ONLINE;
	out->opening = p->phase == POOL_OPENING;
	out->read_only = p->id.read_only;
	out->is_default = pool_by_name(p->e, "") == p;
	out->capabilities = p->capabilities;
	out->space = p->space;
	out->space_age_ms = p->space_at_ms < 0 ? -1 : cleat_time_mono_ms() - p->space_at_ms;
	out->volume_count = p->index.volume_count;
	out->snapshot_count = p->index.snapshot_count;
	out->broken_count = p->index.broken_count;
	count_operations(p, out);
}

size_t cleat_pool_list(struct cleat_engine *e, struct cleat_pool_state *out, size_t room)
{
	pthread_mutex_lock(&e->lock);
	size_t n = e->pool_count;
	for (size_t i = 0; i < n && i < room; i++)
		pool_state_fill(e->pools[i], &out[i]);
	pthread_mutex_unlock(&e->lock);
	return n;
}

enum cleat_code cleat_pool_get(struct cleat_engine *e, const char *name, struct cleat_pool_state *out, struct cleat_error *err)
{
	pthread_mutex_lock(&e->lock);
	struct pool *p = pool_by_name(e, name);
	if (p)
		pool_state_fill(p, out);
	pthread_mutex_unlock(&e->lock);
	if (!p)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "this node has no pool '%s'", name ? name : "");
	return CLEAT_OK;
}
