/* world.c - the world of one test, and the short ways to call the engine. */
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layers/layer.h"
#include "util/clock.h"
#include "util/kv.h"
#include "util/mem.h"

#define OPEN_LIMIT_MS 20000
#define FLAKY_TRIES 8

const struct fixture *suite_fixture;
char suite_dir[96];
bool suite_flaky;

/* Each slot's first call is put off, its second fails before the backend sees it; the calls of the node's own
 * half lose their first answer, too. */
static const char flaky_rules[] = "create=again:5:1\ncreate=error:UNAVAILABLE:1\n"
				  "update=delay:5:3\nupdate=late:UNAVAILABLE:1\n"
				  "remove=again:5:1\nremove=late:UNAVAILABLE:1\n"
				  "expand=again:5:1\nexpand=late:UNAVAILABLE:1\n"
				  "snapshot=again:5:1\nsnapshot=error:UNAVAILABLE:1\n"
				  "map=again:5:1\nmap=late:UNAVAILABLE:1\n"
				  "unmap=delay:5:2\nunmap=late:UNAVAILABLE:1\n"
				  "usage=error:UNAVAILABLE:1\nhealth=again:5:1\nspace=delay:5:2\n"
				  "adopt=again:5:1";

static void nap(unsigned ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

/* ---- the world ---------------------------------------------------------------------------------------- */

int world_setup(void **state)
{
	static unsigned number;
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		return -1;
	number++;
	w->fx = suite_fixture;
	w->pool_count = 1;
	w->report = (struct cleat_buf)CLEAT_BUF_INIT(64 * 1024);
	snprintf(w->dir, sizeof(w->dir), "%s/t%u", suite_dir, number);
	snprintf(w->state_dir, sizeof(w->state_dir), "%s/state", w->dir);
	snprintf(w->run_dir, sizeof(w->run_dir), "%s/run", w->dir);
	snprintf(w->targets, sizeof(w->targets), "%s/targets", w->dir);
	if (w->fx->sim)
		snprintf(w->pool_path, sizeof(w->pool_path), "%s/base/far", suite_dir);
	else
		snprintf(w->pool_path, sizeof(w->pool_path), "%s/base/p%u", suite_dir, number);
	if (mkdir(w->dir, 0755) != 0 || mkdir(w->targets, 0755) != 0 ||
	    (!w->fx->sim && mkdir(w->pool_path, 0755) != 0))
		return -1;
	fixture_forget();
	*state = w;
	return cleat_layer_fault_set(suite_flaky ? flaky_rules : "", NULL) == CLEAT_OK ? 0 : -1;
}

int world_teardown(void **state)
{
	struct world *w = *state;
	char path[200];
	enum cleat_code code = cleat_layer_fault_set("", NULL);

	(void)code;
	if (w->e)
		cleat_engine_close(w->e, 5000);
	clear_below(w->dir);
	fixture_forget();
	for (unsigned i = 0; i < POOLS_MAX && !w->fx->sim; i++) {
		snprintf(path, sizeof(path), i ? "%s-%u" : "%s", w->pool_path, i + 1);
		clear_below(path);
		remove_all(path);
	}
	remove_all(w->dir);
	cleat_buf_done(&w->report);
	free(w);
	return 0;
}

/* Lines come from every thread that opens a pool. */
static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;

static void add_report(const char *line, void *arg)
{
	struct world *w = arg;

	pthread_mutex_lock(&report_lock);
	cleat_buf_addf(&w->report, "%s\n", line);
	pthread_mutex_unlock(&report_lock);
}

bool reported(struct world *w, const char *words)
{
	pthread_mutex_lock(&report_lock);
	const bool found = strstr(cleat_buf_text(&w->report), words) != NULL;
	pthread_mutex_unlock(&report_lock);
	if (!found)
		print_message("reported: %s", cleat_buf_text(&w->report));
	return found;
}

static void set(struct cleat_kvs *kvs, const char *key, const char *value)
{
	assert_int_equal(cleat_kv_set(kvs, key, value, NULL), CLEAT_OK);
}

void set_far(const char *key, const char *value, void *arg)
{
	set(arg, key, value);
}

/* A path that needs the backend to remove a subvolume is left to the backend: everything here is plain
 * directories. */
static void config_pool(struct world *w, struct world_config *c, unsigned i)
{
	struct cleat_pool_config *p = &c->pools[i];
	char name[16];

	snprintf(name, sizeof(name), i ? POOL "%u" : POOL, i + 1);
	snprintf(c->paths[i], sizeof(c->paths[i]), i ? "%s-%u" : "%s", w->pool_path, i + 1);
	if (i && !w->fx->sim && mkdir(c->paths[i], 0755) != 0 && errno != EEXIST)
		fail_msg("mkdir %s: %s", c->paths[i], strerror(errno));
	p->name = strdup(name);
	p->backend = strdup(w->fx->backend);
	if (w->fx->sim)
		fixture_far_config(suite_dir, i, set_far, &p->config);
	else
		set(&p->config, "path", c->paths[i]);
	for (unsigned k = 0; w->fx->config[k]; k += 2)
		set(&p->config, w->fx->config[k], w->fx->config[k + 1]);
	for (unsigned k = 0; k + 1 < CLEAT_COUNT(w->extra_config) && w->extra_config[k]; k += 2)
		set(&p->config, w->extra_config[k], w->extra_config[k + 1]);
	const char *layer = w->layers[i] ? w->layers[i] : w->layer;
	if (!layer && suite_flaky)
		layer = "fault";
	p->layer = layer ? strdup(layer) : NULL;
	p->cross_scope = w->cross_scope;
}

void config_make(struct world *w, struct world_config *out)
{
	*out = (struct world_config){ 0 };
	for (unsigned i = 0; i < w->pool_count; i++)
		config_pool(w, out, i);
	out->prefixes[0] = w->targets;
	out->engine = (struct cleat_engine_config){
		.size = sizeof(out->engine),
		.state_dir = w->state_dir,
		.runtime_dir = w->runtime_dir ? w->runtime_dir : w->run_dir,
		.node = "node-1",
		.pools = out->pools,
		.pool_count = w->pool_count,
		.target_prefixes = w->builtin_prefixes ? NULL : out->prefixes,
		.any_namespace = true,
		.wait_ms = w->wait_ms,
		.report = add_report,
		.report_arg = w,
	};
}

void config_done(struct world_config *c)
{
	for (unsigned i = 0; i < POOLS_MAX; i++) {
		free(c->pools[i].name);
		free(c->pools[i].backend);
		free(c->pools[i].layer);
		cleat_kv_done(&c->pools[i].config);
	}
}

static bool pool_is(struct world *w, const char *pool, bool online, struct cleat_pool_state *out)
{
	assert_int_equal(cleat_pool_get(w->e, pool, out, NULL), CLEAT_OK);
	return out->online == online && (online || out->reason[0]);
}

/* Asking for its space makes the engine look whether the pool is there, sooner than it would by itself. */
static void look_now(struct world *w, const char *pool)
{
	struct cleat_request req = req_for(CLEAT_VERB_POOL_SPACE, NULL);
	struct cleat_result res = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;

	req.pool = pool;
	if (cleat_engine_call(w->e, &req, &res, &err) == CLEAT_OK)
		cleat_engine_result_done(&res);
}

void wait_online(struct world *w, const char *pool, bool online)
{
	struct cleat_pool_state st;
	const int64_t end = cleat_time_mono_ms() + OPEN_LIMIT_MS;

	while (!pool_is(w, pool, online, &st)) {
		look_now(w, pool);
		if (cleat_time_mono_ms() > end)
			fail_msg("pool '%s' is not %s after %d ms: %s", pool, online ? "online" : "offline",
				 OPEN_LIMIT_MS, st.reason);
		nap(5);
	}
}

void world_open(struct world *w)
{
	struct world_config c;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pool_state st;

	cleat_buf_clear(&w->report);
	config_make(w, &c);
	enum cleat_code code = cleat_engine_open(&c.engine, &w->e, &err);
	config_done(&c);
	if (code != CLEAT_OK)
		fail_msg("open engine: %s: %s", cleat_code_name(code), err.msg);
	wait_online(w, POOL, true);
	assert_int_equal(cleat_pool_get(w->e, POOL, &st, NULL), CLEAT_OK);
	w->caps = st.capabilities;
}

void world_open_refused(struct world *w, enum cleat_code code, const char *words)
{
	struct world_config c;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_engine *e = NULL;

	config_make(w, &c);
	enum cleat_code got = cleat_engine_open(&c.engine, &e, &err);
	config_done(&c);
	if (got == CLEAT_OK)
		cleat_engine_close(e, 5000);
	if (got != code || !strstr(err.msg, words))
		fail_msg("open engine: %s '%s', wanted %s with '%s'", cleat_code_name(got), err.msg,
			 cleat_code_name(code), words);
}

void world_close(struct world *w)
{
	if (w->e)
		assert_true(cleat_engine_close(w->e, 10000));
	w->e = NULL;
}

static void release_all(struct world *w)
{
	struct cleat_claim_list claims;

	assert_int_equal(cleat_claim_list(w->e, NULL, NULL, 0, &claims, NULL), CLEAT_OK);
	for (size_t i = 0; i < claims.count; i++) {
		const struct cleat_claim *c = &claims.items[i];
		struct cleat_request req =
			req_for(c->staging ? CLEAT_VERB_UNSTAGE : CLEAT_VERB_UNPUBLISH, c->volume);

		req.target = c->target;
		ok_call(w, &req, NULL);
	}
	cleat_claim_list_done(&claims);
}

static void delete_all(struct world *w, enum cleat_kind kind)
{
	const struct cleat_list_query q = { .kind = kind };
	struct cleat_volume_list list;

	assert_int_equal(cleat_volume_list(w->e, &q, &list, NULL), CLEAT_OK);
	for (size_t i = 0; i < list.count; i++) {
		struct cleat_request req = req_for(CLEAT_VERB_UNSTAGE, list.items[i].id);

		if (kind == CLEAT_KIND_VOLUME)
			ok_call(w, &req, NULL);
		req.verb = kind == CLEAT_KIND_VOLUME ? CLEAT_VERB_DELETE : CLEAT_VERB_DELETE_SNAPSHOT;
		ok_call(w, &req, NULL);
	}
	cleat_volume_list_done(&list);
}

static void check_no_entries(struct world *w)
{
	for (const char *const *sub = (const char *const[]){ "volumes", "new", "trash", NULL }; *sub; sub++)
		if (pool_entries(w, *sub))
			fail_msg("%zu entries are left in %s/%s", pool_entries(w, *sub), w->pool_path, *sub);
}

unsigned loops_left(const char *path, const char *skip)
{
	for (int i = 0; i < 300 && loops_below(path, skip, false); i++)
		nap(10);
	return loops_below(path, skip, true);
}

unsigned volume_loops(struct world *w, bool settle)
{
	if (settle)
		return loops_left(w->pool_path, pool_file(w)) + loops_left(w->dir, NULL);
	return loops_below(w->pool_path, pool_file(w), false) + loops_below(w->dir, NULL, false);
}

static void check_nothing_mounted(struct world *w)
{
	char skip[256];

	/* The engine's directory stays a shared mount of its own, so that a restart keeps what is below it.
	 */
	snprintf(skip, sizeof(skip), "%s", w->runtime_dir ? w->runtime_dir : w->run_dir);
	if (mounts_below(w->dir, skip, true) || loops_left(w->dir, NULL) || loops_left(w->pool_path, NULL))
		fail_msg("mounts or loop devices are left over");
}

void world_tidy(struct world *w)
{
	if (!w->e)
		world_open(w);
	release_all(w);
	delete_all(w, CLEAT_KIND_VOLUME);
	delete_all(w, CLEAT_KIND_SNAPSHOT);
	assert_int_equal(count_claims(w, NULL), 0);
	check_no_entries(w);
	world_close(w);
	check_nothing_mounted(w);
}

/* ---- calling ------------------------------------------------------------------------------------------ */

struct cleat_request req_for(enum cleat_verb verb, const char *volume)
{
	return (struct cleat_request){
		.size = sizeof(struct cleat_request), .verb = verb, .pool = POOL, .volume = volume
	};
}

enum cleat_code call(struct world *w, const struct cleat_request *req, struct cleat_result *out,
		     struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	for (int i = 0; i < (suite_flaky ? FLAKY_TRIES : 1); i++) {
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
		code = cleat_engine_call(w->e, req, out, err);
		if (code != CLEAT_UNAVAILABLE)
			break;
	}
	return code;
}

void ok_call(struct world *w, const struct cleat_request *req, struct cleat_result *res)
{
	struct cleat_result own = { 0 };
	struct cleat_error err;
	enum cleat_code code = call(w, req, &own, &err);

	if (code != CLEAT_OK)
		fail_msg("%s '%s': %s: %s", cleat_verb_name(req->verb), req->volume ? req->volume : req->name,
			 cleat_code_name(code), err.msg);
	if (res)
		*res = own;
	else
		cleat_engine_result_done(&own);
}

void refused_any(struct world *w, const struct cleat_request *req, unsigned codes, const char *words)
{
	struct cleat_result res = { 0 };
	struct cleat_error err;
	enum cleat_code code = call(w, req, &res, &err);

	if (code == CLEAT_OK) {
		cleat_engine_result_done(&res);
		fail_msg("%s '%s' succeeded, it should be refused (%s)", cleat_verb_name(req->verb),
			 req->volume ? req->volume : req->name, words ? words : "");
	}
	if (!(codes & CODE(code)) || (words && !strstr(err.msg, words)))
		fail_msg("%s: refused with %s '%s', wanted codes 0x%x and '%s'", cleat_verb_name(req->verb),
			 cleat_code_name(code), err.msg, codes, words ? words : "");
	assert_int_equal(err.code, code);
	if (strlen(err.msg) < 8 || strchr(err.msg, '\n'))
		fail_msg("'%s' is no sentence for people", err.msg);
}

void refused(struct world *w, const struct cleat_request *req, enum cleat_code code, const char *words)
{
	refused_any(w, req, CODE(code), words);
}

void ok_create_with(struct world *w, const struct cleat_request *req, char id_out[CLEAT_ID_MAX_BYTES + 1])
{
	struct cleat_result res;

	ok_call(w, req, &res);
	assert_int_equal(res.volume_count, 1);
	if (id_out)
		memcpy(id_out, res.volumes[0].id, CLEAT_ID_MAX_BYTES + 1);
	cleat_engine_result_done(&res);
}

void ok_create(struct world *w, const char *name, char id_out[CLEAT_ID_MAX_BYTES + 1])
{
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

	req.name = name;
	req.capacity_bytes = w->fx->volume_bytes;
	ok_create_with(w, &req, id_out);
}

void ok_delete(struct world *w, const char *volume)
{
	struct cleat_request req = req_for(CLEAT_VERB_DELETE, volume);

	ok_call(w, &req, NULL);
}

char *target_path(struct world *w, const char *leaf, bool make, char out[256])
{
	assert_true(snprintf(out, 256, "%s/%s", w->targets, leaf) < 256);
	if (make && mkdir(out, 0755) != 0 && errno != EEXIST)
		fail_msg("mkdir %s: %s", out, strerror(errno));
	return out;
}

void ok_publish(struct world *w, const char *volume, const char *leaf, char target_out[256])
{
	struct cleat_request req = req_for(CLEAT_VERB_PUBLISH, volume);
	struct cleat_result res;
	char path[256];

	req.target = target_path(w, leaf, true, path);
	req.owner = "test";
	ok_call(w, &req, &res);
	assert_string_equal(res.target, path);
	cleat_engine_result_done(&res);
	if (target_out)
		memcpy(target_out, path, sizeof(path));
}

void ok_unpublish(struct world *w, const char *volume, const char *target)
{
	struct cleat_request req = req_for(CLEAT_VERB_UNPUBLISH, volume);

	req.target = target;
	ok_call(w, &req, NULL);
	if (target && *target && is_mounted(target))
		fail_msg("'%s' is still mounted after unpublish", target);
}

void ok_snapshot(struct world *w, const char *volume, const char *name, char id_out[CLEAT_ID_MAX_BYTES + 1])
{
	struct cleat_request req = req_for(CLEAT_VERB_SNAPSHOT, volume);

	req.name = name;
	ok_create_with(w, &req, id_out);
}

void ok_delete_snapshot(struct world *w, const char *snapshot)
{
	struct cleat_request req = req_for(CLEAT_VERB_DELETE_SNAPSHOT, snapshot);

	ok_call(w, &req, NULL);
}

void ok_clone(struct world *w, const char *source, const char *name, uint64_t bytes,
	      char id_out[CLEAT_ID_MAX_BYTES + 1])
{
	struct cleat_request req = req_for(CLEAT_VERB_CREATE, NULL);

	req.name = name;
	req.source = source;
	req.capacity_bytes = bytes;
	ok_create_with(w, &req, id_out);
}

void ok_get(struct world *w, const char *volume, enum cleat_kind kind, struct cleat_volume_state *out)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (cleat_volume_get(w->e, volume, NULL, kind, out, &err) != CLEAT_OK)
		fail_msg("get '%s': %s", volume, err.msg);
}

bool exists(struct world *w, const char *volume, enum cleat_kind kind)
{
	struct cleat_volume_state st;
	struct cleat_error err = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_volume_get(w->e, volume, NULL, kind, &st, &err);

	if (code == CLEAT_OK)
		cleat_volume_state_done(&st);
	else if (code != CLEAT_NOT_FOUND)
		fail_msg("get '%s': %s: %s", volume, cleat_code_name(code), err.msg);
	return code == CLEAT_OK;
}

size_t count_volumes(struct world *w, enum cleat_kind kind)
{
	const struct cleat_list_query q = { .kind = kind };
	struct cleat_volume_list list;
	size_t n;

	assert_int_equal(cleat_volume_list(w->e, &q, &list, NULL), CLEAT_OK);
	assert_string_equal(list.next_token, "");
	n = list.count;
	cleat_volume_list_done(&list);
	return n;
}

size_t count_claims(struct world *w, const char *volume)
{
	struct cleat_claim_list list;
	size_t n;

	assert_int_equal(cleat_claim_list(w->e, volume, NULL, 0, &list, NULL), CLEAT_OK);
	n = list.count;
	cleat_claim_list_done(&list);
	return n;
}

bool can(const struct world *w, unsigned caps)
{
	return (w->caps & caps) == caps;
}

struct cleat_kvs kv_one(const char *key, const char *value)
{
	struct cleat_kvs kvs = { 0 };

	set(&kvs, key, value);
	return kvs;
}

/* ---- files -------------------------------------------------------------------------------------------- */

static void pattern(unsigned char *block, size_t n, unsigned seed)
{
	uint32_t x = seed * 2654435761u + 1;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		block[i] = (unsigned char)(x >> 24);
	}
}

void put_file(const char *dir, const char *name, size_t bytes, unsigned seed)
{
	cleat_autofree unsigned char *data = malloc(bytes + 1);
	cleat_autofree char *path = NULL;

	assert_true(data && asprintf(&path, "%s/%s", dir, name) > 0);
	pattern(data, bytes, seed);
	cleat_autoclose int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes || fsync(fd) != 0)
		fail_msg("write %s: %s", path, strerror(errno));
}

bool has_file(const char *dir, const char *name, size_t bytes, unsigned seed)
{
	cleat_autofree unsigned char *want = malloc(bytes + 1);
	cleat_autofree unsigned char *got = malloc(bytes + 1);
	cleat_autofree char *path = NULL;

	assert_true(want && got && asprintf(&path, "%s/%s", dir, name) > 0);
	pattern(want, bytes, seed);
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, got, bytes + 1) == (ssize_t)bytes && memcmp(want, got, bytes) == 0;
}

void sync_fs(const char *dir)
{
	cleat_autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0 && syncfs(fd) == 0);
}

bool is_mounted(const char *path)
{
	struct statx st;

	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) == 0 &&
	       (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* Whether the comma-separated list holds option. */
static bool list_has(const char *list, const char *option)
{
	const size_t n = strlen(option);

	for (const char *at = list; *at;) {
		size_t word = strcspn(at, ",");

		if (word == n && memcmp(at, option, n) == 0)
			return true;
		at += word + (at[word] == ',');
	}
	return false;
}

bool has_mount_option(const char *path, const char *option)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096];
	bool found = false;

	while (f && fgets(line, sizeof(line), f)) {
		char target[512], options[512], super[512] = "";
		const char *rest = strstr(line, " - ");

		if (sscanf(line, "%*s %*s %*s %*s %511s %511s", target, options) != 2 ||
		    strcmp(target, path) != 0)
			continue;
		if (rest)
			sscanf(rest, " - %*s %*s %511s", super);
		found = list_has(options, option) || list_has(super, option); /* the last one on top counts */
	}
	if (f)
		fclose(f);
	return found;
}

/* ext4 lets whoever has CAP_SYS_RESOURCE write past a project quota: this thread does without it while it
 * fills a disk. */
static uint32_t set_resource_cap(bool on, uint32_t before)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	const uint32_t had = data[0].effective;
	data[0].effective = on ? before : had & ~(1U << CAP_SYS_RESOURCE);
	assert_int_equal(syscall(SYS_capset, &header, data), 0);
	return had;
}

uint64_t fill(const char *dir, const char *name, uint64_t most, int *errnum_out)
{
	static unsigned char block[64 * 1024];
	cleat_autofree char *path = NULL;
	uint64_t done = 0;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	pattern(block, sizeof(block), 77);
	*errnum_out = 0;
	const uint32_t caps = set_resource_cap(false, 0);
	cleat_autoclose int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		*errnum_out = errno;
	while (fd >= 0 && done < most) {
		ssize_t n = write(fd, block, sizeof(block));

		if (n < 0)
			*errnum_out = errno;
		if (n <= 0)
			break;
		done += (uint64_t)n;
		/* What was only promised in memory must be on the disk, or it counts as not written. */
		if (done % (4 * MIB) == 0 && fsync(fd) != 0) {
			*errnum_out = errno;
			break;
		}
	}
	if (fd >= 0 && fsync(fd) != 0 && !*errnum_out)
		*errnum_out = errno;
	set_resource_cap(true, caps);
	return done;
}

uint64_t df_total(const char *dir)
{
	struct statvfs st;

	assert_int_equal(statvfs(dir, &st), 0);
	return (uint64_t)st.f_blocks * st.f_frsize;
}

/* Where the pool's volumes, new and trash are now: in the pool's directory, or in its pool file while that is
 * mounted. */
static void data_path(struct world *w, char out[512])
{
	char file[256];

	snprintf(file, sizeof(file), "%s/pool.img", w->pool_path);
	if (access(file, F_OK) == 0)
		snprintf(out, 512, "%s/pool/" POOL, w->runtime_dir ? w->runtime_dir : w->run_dir);
	else
		snprintf(out, 512, "%s", w->pool_path);
}

void volume_path(struct world *w, const char *volume, const char *file, char out[512])
{
	struct cleat_volume_state v;
	char data[512];

	ok_get(w, volume, CLEAT_KIND_VOLUME, &v);
	data_path(w, data);
	assert_true(snprintf(out, 512, "%s/volumes/%s/%s", data, v.record->key, file) < 512);
	cleat_volume_state_done(&v);
	if (access(out, F_OK) != 0)
		fail_msg("%s: %s", out, strerror(errno));
}

size_t pool_entries(struct world *w, const char *sub)
{
	char data[512];
	char path[600];
	DIR *d;
	struct dirent *de;
	size_t n = 0;

	if (w->fx->sim)
		return strcmp(sub, "volumes") == 0 ? fixture_far_count() : 0;
	data_path(w, data);
	snprintf(path, sizeof(path), "%s/%s", data, sub);
	d = opendir(path);
	while (d && (de = readdir(d)))
		n += strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
	if (d)
		closedir(d);
	return n;
}

const char *pool_file(struct world *w)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/pool.img", w->pool_path);
	return access(path, F_OK) == 0 ? path : NULL;
}

void skip_because(const char *why)
{
	print_message("SKIPPED BECAUSE: %s\n", why);
	skip();
}
