/* engine.c - opening, reloading and closing the engine. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/file.h"
#include "sys/mount.h"

const char *cleat_version(void)
{
	return CLEAT_VERSION;
}

const char *cleat_engine_node(const struct cleat_engine *e)
{
	return e->node;
}

const char *cleat_engine_epoch(const struct cleat_engine *e)
{
	return e->epoch;
}

/* ---- checking ---------------------------------------------------------------------------------------------------------------------------- */

static enum cleat_code check_directory(const char *what, const char *path, struct cleat_error *err)
{
	char canonical[CLEAT_TARGET_MAX_BYTES];

	if (!path || target_canonical(path, canonical, NULL))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s '%s' is not an absolute path without '..'", what,
				       path ? path : "");
	if (strlen(canonical) > 200)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s is longer than 200 bytes", what);
	return CLEAT_OK;
}

static enum cleat_code check_pools(const struct cleat_engine_config *c, struct cleat_error *err)
{
	if (c->pool_count == 0 || c->pool_count > MAX_POOLS)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%zu pools: there must be 1 to %d", c->pool_count, MAX_POOLS);
	for (size_t i = 0; i < c->pool_count; i++) {
		if (pool_check_config(&c->pools[i], err))
			return err->code;
		for (size_t k = 0; k < i; k++)
			if (strcmp(c->pools[i].name, c->pools[k].name) == 0)
				return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "pool '%s' is configured twice",
						       c->pools[i].name);
	}
	return pool_check_places(c->pools, c->pool_count, err);
}

static enum cleat_code check_default_pool(const struct cleat_engine_config *c, struct cleat_error *err)
{
	if (!c->default_pool)
		return CLEAT_OK;
	for (size_t i = 0; i < c->pool_count; i++)
		if (strcmp(c->pools[i].name, c->default_pool) == 0)
			return CLEAT_OK;
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "default_pool: there is no pool '%s'", c->default_pool);
}

enum cleat_code cleat_engine_check(const struct cleat_engine_config *c, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;

	if (!err)
		err = &own;
	if (c->size != sizeof(*c))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "configuration of %zu bytes: made for another release", c->size);
	if (check_directory("state_dir", c->state_dir, err) || check_directory("runtime_dir", c->runtime_dir, err))
		return err->code;
	if (c->node && check_name("node", c->node, 128, false, err))
		return err->code;
	for (size_t i = 0; c->target_prefixes && c->target_prefixes[i]; i++)
		if (check_directory("target prefix", c->target_prefixes[i], err))
			return err->code;
	return check_pools(c, err) ? err->code : check_default_pool(c, err);
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------------------- */

static char *join(const char *a, const char *b)
{
	char *out = NULL;

	return asprintf(&out, "%s%s", a, b) < 0 ? NULL : out;
}

static char *canonical_copy(const char *path)
{
	char canonical[CLEAT_TARGET_MAX_BYTES];

	return target_canonical(path, canonical, NULL) ? NULL : strdup(canonical);
}

static enum cleat_code copy_prefixes(struct cleat_engine *e, const char *const *prefixes, struct cleat_error *err)
{
	size_t n = 0;

	if (!prefixes)
		return CLEAT_OK;
	while (prefixes[n])
		n++;
	e->prefixes = calloc(n + 1, sizeof(char *));
	for (size_t i = 0; e->prefixes && i < n; i++)
		if (!(e->prefixes[i] = canonical_copy(prefixes[i])))
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return e->prefixes ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code copy_config(struct cleat_engine *e, const struct cleat_engine_config *c, struct cleat_error *err)
{
	char host[129] = "localhost";

	gethostname(host, sizeof(host) - 1);
	e->state_dir = canonical_copy(c->state_dir);
	e->runtime_dir = canonical_copy(c->runtime_dir);
	e->node = strdup(c->node ? c->node : host);
	snprintf(e->default_pool, sizeof(e->default_pool), "%s", c->default_pool ? c->default_pool : "");
	e->wait_ms = c->wait_ms ? c->wait_ms : 10000;
	e->report = c->report;
	e->report_arg = c->report_arg;
	if (!e->state_dir || !e->runtime_dir || !e->node)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	e->stage_dir = join(e->runtime_dir, "/mnt/stage");
	e->publish_dir = join(e->runtime_dir, "/mnt/published");
	if (!e->stage_dir || !e->publish_dir)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return copy_prefixes(e, c->target_prefixes, err);
}

/* The lock file says who has it, for the one who is refused. */
static enum cleat_code take_lock(const char *dir, int *fd_out, struct cleat_error *err)
{
	cleat_autofree char *path = join(dir, "/lock");
	char text[32] = "";

	cleat_autoclose int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%s/lock'", dir);
	if (cleat_sys_lock(fd, path, err)) {
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' is served by another daemon already (process %s)", dir,
				       *text ? text : "unknown");
	}
	int n = snprintf(text, sizeof(text), "%lld\n", (long long)getpid());
	if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n)
		return cleat_error_errno(err, errno, "write '%s'", path);
	*fd_out = cleat_steal_fd(&fd);
	return CLEAT_OK;
}

static enum cleat_code check_namespace(const struct cleat_engine_config *c, struct cleat_error *err)
{
	bool ours = true;

	if (c->any_namespace)
		return CLEAT_OK;
	if (cleat_sys_in_init_namespace(&ours, err))
		return err->code;
	if (!ours)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "this mount namespace is not that of process 1: nobody else would see the mounts"
				       " (any_namespace allows it)");
	return CLEAT_OK;
}

static enum cleat_code prepare_directories(struct cleat_engine *e, const struct cleat_engine_config *c, struct cleat_error *err)
{
	cleat_autofree char *mnt = join(e->runtime_dir, "/mnt");

	if (!mnt)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (cleat_sys_mkdir_path(e->state_dir, 0700, err) || cleat_sys_mkdir_path(e->runtime_dir, 0755, err))
		return err->code;
	if (take_lock(e->state_dir, &e->state_lock_fd, err) || take_lock(e->runtime_dir, &e->runtime_lock_fd, err))
		return err->code;
	if (check_namespace(c, err))
		return err->code;
	if (cleat_sys_mkdir_path(mnt, 0755, err) || cleat_sys_make_shared(mnt, err))
		return err->code;
	if (cleat_sys_mkdir_path(e->stage_dir, 0700, err) || cleat_sys_mkdir_path(e->publish_dir, 0755, err))
		return err->code;
	return CLEAT_OK;
}

static enum cleat_code open_facts(struct cleat_engine *e, struct cleat_error *err)
{
	cleat_autofree char *path = join(e->runtime_dir, "/facts.db");
	char stamp[CLEAT_STAMP_BYTES];
	uint64_t start = 0;

	if (!path)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (cleat_sys_stamp(stamp, err) || facts_open(path, stamp, &e->facts, &e->facts_fresh, &start, err))
		return err->code;
	/* After a lost database the count begins again, so the time of this start is part of the epoch too. */
	snprintf(e->epoch, sizeof(e->epoch), "%.8s-%llx-%llx", stamp, (unsigned long long)start,
		 (unsigned long long)cleat_time_wall_ms());
	if (e->facts_fresh)
		report_line(e, "nothing was recorded for this boot and mount namespace: the mount table decides");
	return recover_facts(e, err);
}

static enum cleat_code make_pools(struct cleat_engine *e, const struct cleat_engine_config *c, struct cleat_error *err)
{
	const struct cleat_pool_config own = { .name = (char *)(uintptr_t) "", .backend = (char *)(uintptr_t) "", .lane_threads = 2 };

	if (!(e->own = pool_new(e, &own, err)))
		return err->code;
	e->own->phase = POOL_ONLINE;
	for (size_t i = 0; i < c->pool_count; i++) {
		if (!(e->pools[i] = pool_new(e, &c->pools[i], err)))
			return err->code;
		e->pool_count = i + 1;
	}
	return CLEAT_OK;
}

static struct cleat_engine *engine_new(void)
{
	struct cleat_engine *e = calloc(1, sizeof(*e));
	pthread_condattr_t attr;

	if (!e)
		return NULL;
	e->state_lock_fd = e->runtime_lock_fd = -1;
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->quiet, &attr);
	pthread_cond_init(&e->timer_wake, &attr);
	pthread_condattr_destroy(&attr);
	e->reconcile_at_ms = cleat_time_mono_ms() + 2000; /* soon after start: leftovers of what was cut off */
	e->events = events_new();
	return e;
}

static void engine_free(struct cleat_engine *e)
{
	for (size_t i = 0; i < e->pool_count; i++)
		pool_free(e->pools[i]);
	pool_free(e->own);
	nodes_clear(e);
	facts_close(e->facts);
	events_free(e->events);
	for (size_t i = 0; e->prefixes && e->prefixes[i]; i++)
		free(e->prefixes[i]);
	free(e->prefixes);
	if (e->runtime_lock_fd >= 0)
		close(e->runtime_lock_fd);
	if (e->state_lock_fd >= 0)
		close(e->state_lock_fd);
	free(e->stage_dir);
	free(e->publish_dir);
	free(e->state_dir);
	free(e->runtime_dir);
	free(e->node);
	pthread_cond_destroy(&e->quiet);
	pthread_cond_destroy(&e->timer_wake);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

enum cleat_code cleat_engine_open(const struct cleat_engine_config *config, struct cleat_engine **out, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;

	if (!err)
		err = &own;
	if (cleat_engine_check(config, err))
		return err->code;
	struct cleat_engine *e = engine_new();
	if (!e || !e->events || copy_config(e, config, err) || prepare_directories(e, config, err) || open_facts(e, err) ||
	    make_pools(e, config, err) || timer_start(e, err)) {
		if (e)
			engine_free(e);
		return err->code ? err->code : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	for (size_t i = 0; i < e->pool_count; i++)
		ops_submit_inner(e, e->pools[i], VERB_OPEN_POOL, "");
	*out = e;
	return CLEAT_OK;
}

/* ---- reloading ------------------------------------------------------------------------------------------------------------------------------ */

static struct pool *find_pool(struct cleat_engine *e, const char *name)
{
	for (size_t i = 0; i < e->pool_count; i++)
		if (strcmp(e->pools[i]->name, name) == 0)
			return e->pools[i];
	return NULL;
}

/* Keys whose value differs must be changeable; returns the first that is not, or NULL. */
static const char *unchangeable(const struct pool *p, const struct cleat_pool_config *cfg)
{
	for (const struct cleat_param *param = p->backend->pool_params; param && param->key; param++) {
		const char *old = cleat_kv_get(&p->cfg.config, param->key), *now = cleat_kv_get(&cfg->config, param->key);
		if (strcmp(old ? old : "", now ? now : "") != 0 && !param->changeable)
			return param->key;
	}
	return NULL;
}

static enum cleat_code check_reload(struct cleat_engine *e, const struct cleat_engine_config *c, struct cleat_error *err)
{
	for (size_t i = 0; i < e->pool_count; i++) {
		const struct pool *p = e->pools[i];
		const struct cleat_pool_config *cfg = NULL;
		for (size_t k = 0; k < c->pool_count && !cfg; k++)
			cfg = strcmp(c->pools[k].name, p->name) == 0 ? &c->pools[k] : NULL;
		if (!cfg)
			return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "removing pool '%s' needs a restart", p->name);
		if (strcmp(cfg->backend, p->backend_name) != 0)
			return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "changing the backend of pool '%s' needs a restart",
					       p->name);
		const char *key = unchangeable(p, cfg);
		if (key)
			return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "changing '%s' of pool '%s' needs a restart", key,
					       p->name);
	}
	return CLEAT_OK;
}

static void swap_kvs(struct cleat_kvs *a, struct cleat_kvs *b)
{
	const struct cleat_kvs kept = *a;

	*a = *b;
	*b = kept;
}

/* A changed pool is opened again; that waits for what runs on it, and what comes waits for that. */
static enum cleat_code reload_pool(struct pool *p, const struct cleat_pool_config *cfg, bool *reopen_out, struct cleat_error *err)
{
	cleat_autokvs struct cleat_kvs config = { 0 }, topology = { 0 };

	if (cleat_kv_copy(&cfg->config, &config, err) || cleat_kv_copy(&cfg->topology, &topology, err))
		return err->code;
	pthread_mutex_lock(&p->e->lock);
	p->cfg.cross_scope = cfg->cross_scope;
	p->max_threads = cfg->lane_threads ? cfg->lane_threads : DEFAULT_LANE_THREADS;
	*reopen_out = !cleat_kv_equal(&config, &p->cfg.config);
	if (*reopen_out)
		swap_kvs(&config, &p->cfg.config);
	swap_kvs(&topology, &p->cfg.topology);
	pthread_mutex_unlock(&p->e->lock);
	return CLEAT_OK;
}

static enum cleat_code add_pool(struct cleat_engine *e, const struct cleat_pool_config *cfg, struct pool **out, struct cleat_error *err)
{
	if (e->pool_count == MAX_POOLS)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "more than %d pools", MAX_POOLS);
	struct pool *p = pool_new(e, cfg, err);
	if (!p)
		return err->code;
	pthread_mutex_lock(&e->lock);
	e->pools[e->pool_count++] = p;
	pthread_mutex_unlock(&e->lock);
	*out = p;
	return CLEAT_OK;
}

enum cleat_code cleat_engine_reload(struct cleat_engine *e, const struct cleat_engine_config *c, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;

	if (!err)
		err = &own;
	if (cleat_engine_check(c, err) || check_reload(e, c, err))
		return err->code;
	for (size_t i = 0; i < c->pool_count; i++) {
		struct pool *p = find_pool(e, c->pools[i].name);
		bool reopen = true;
		if (p ? reload_pool(p, &c->pools[i], &reopen, err) : add_pool(e, &c->pools[i], &p, err))
			return err->code;
		if (reopen)
			ops_submit_inner(e, p, VERB_OPEN_POOL, "");
	}
	pthread_mutex_lock(&e->lock);
	snprintf(e->default_pool, sizeof(e->default_pool), "%s", c->default_pool ? c->default_pool : "");
	pthread_mutex_unlock(&e->lock);
	return CLEAT_OK;
}

/* ---- closing -------------------------------------------------------------------------------------------------------------------------------- */

static void wake_all(struct cleat_engine *e)
{
	for (size_t i = 0; i < e->pool_count; i++)
		pthread_cond_broadcast(&e->pools[i]->lane.work);
	pthread_cond_broadcast(&e->own->lane.work);
	pthread_cond_signal(&e->timer_wake);
}

/* With the lock: what still runs is stuck in the kernel, so waiting longer is of no use. */
static bool only_stuck_left(const struct cleat_engine *e)
{
	for (const struct op *op = e->ops; op; op = op->next)
		if (!op->stuck)
			return false;
	return e->ops != NULL;
}

bool cleat_engine_close(struct cleat_engine *e, int64_t grace_ms)
{
	const int64_t end = cleat_time_mono_ms() + grace_ms;
	const struct timespec until = { .tv_sec = end / 1000, .tv_nsec = (long)(end % 1000) * 1000000 };
	int rc = 0;

	pthread_mutex_lock(&e->lock);
	e->closing = true;
	wake_all(e);
	while ((e->op_count || e->thread_count) && rc != ETIMEDOUT && !only_stuck_left(e)) {
		rc = pthread_cond_timedwait(&e->quiet, &e->lock, &until);
		wake_all(e);
	}
	const bool quiet = !e->op_count && !e->thread_count;
	const bool idle = quiet && e->claim_count == 0;
	pthread_mutex_unlock(&e->lock);
	if (!quiet)
		return false;
	cleat_autofree char *mnt = join(e->runtime_dir, "/mnt");
	engine_free(e);
	struct cleat_error busy = CLEAT_ERROR_INIT; /* something is mounted below: it stays */
	if (idle && mnt)
		(void)!cleat_sys_unmount(mnt, &busy);
	return true;
}
