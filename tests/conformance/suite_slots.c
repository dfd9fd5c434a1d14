/* suite_slots.c - the contract of <cleat/backend.h> itself: the slots of the table, called without an engine.
 */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/mount.h"
#include "util/ids.h"
#include "util/kv.h"

/* An open pool and what it was opened with. */
struct bare {
	const struct cleat_backend *b;
	void *pool;
	struct cleat_pool_identity id;
	struct cleat_kvs config;
	struct cleat_pool_options opts;
};

static void must(enum cleat_code code, const struct cleat_error *err, const char *what)
{
	if (code != CLEAT_OK)
		fail_msg("%s: %s: %s", what, cleat_code_name(code), err->msg);
}

static void bare_open(struct world *w, struct bare *s, const char *expect_uuid)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (!s->b) {
		must(cleat_backend_load(w->fx->backend, &s->b, &err), &err, "load");
		if (w->fx->sim)
			fixture_far_config(suite_dir, 0, set_far, &s->config);
		else
			assert_int_equal(cleat_kv_set(&s->config, "path", w->pool_path, NULL), CLEAT_OK);
		for (unsigned k = 0; w->fx->config[k]; k += 2)
			assert_int_equal(
				cleat_kv_set(&s->config, w->fx->config[k], w->fx->config[k + 1], NULL),
				CLEAT_OK);
		s->opts = (struct cleat_pool_options){ .name = POOL,
						       .state_dir = w->state_dir,
						       .runtime_dir = w->run_dir,
						       .config = &s->config,
						       .node = "node-1" };
		mkdir(w->state_dir, 0700);
		mkdir(w->run_dir, 0755);
	}
	s->opts.expect_uuid = expect_uuid;
	must(s->b->open(&s->opts, &s->pool, &s->id, &err), &err, "open");
}

static void bare_close(struct bare *s)
{
	s->b->close(s->pool);
	s->pool = NULL;
	cleat_kv_done(&s->config);
}

static struct cleat_record *wish(struct world *w, const char *name)
{
	struct cleat_record *rec = cleat_record_new(CLEAT_KIND_VOLUME);
	char key[CLEAT_ID_KEY_BYTES];

	assert_non_null(rec);
	cleat_id_new_key(key);
	assert_int_equal(cleat_record_set(&rec->key, key, NULL), CLEAT_OK);
	assert_int_equal(cleat_record_set(&rec->name, name, NULL), CLEAT_OK);
	if (cleat_backend_find(w->fx->backend)->uses_fs) /* loaded by now */
		assert_int_equal(cleat_record_set(&rec->fs, "ext4", NULL), CLEAT_OK);
	rec->format = CLEAT_RECORD_FORMAT;
	rec->capacity_bytes = w->fx->volume_bytes;
	rec->access_type = CLEAT_ACCESS_MOUNT;
	rec->created_ms = 1700000000000;
	return rec;
}

/* A slot that says "not yet" is called again, as the engine would; for ten seconds. */
#define AGAIN(call)                                                                                          \
	({                                                                                                   \
		enum cleat_code code_ = (call);                                                              \
		for (int i_ = 0; code_ == CLEAT_ABORTED && i_ < 1000; i_++) {                                \
			usleep(10000);                                                                       \
			err = (struct cleat_error)CLEAT_ERROR_INIT;                                          \
			code_ = (call);                                                                      \
		}                                                                                            \
		code_;                                                                                       \
	})

static struct cleat_record *create(struct bare *s, struct cleat_record *rec)
{
	struct cleat_record *made = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	must(AGAIN(s->b->create(s->pool, NULL, rec, NULL, &(struct cleat_where){ 0 }, &made, &err)), &err, "create");
	assert_non_null(made);
	if (suite_fixture->sim) /* the far side gives keys of its own */
		assert_int_equal(cleat_record_set(&rec->key, made->key, NULL), CLEAT_OK);
	assert_string_equal(made->key, rec->key);
	assert_string_equal(made->name, rec->name);
	return made;
}

struct scanned {
	size_t count, broken;
	char names[8][64];
};

static bool count_record(struct cleat_record *rec, const char *broken, void *arg)
{
	struct scanned *s = arg;

	if (s->count < CLEAT_COUNT(s->names))
		snprintf(s->names[s->count], sizeof(s->names[0]), "%s", rec->name);
	s->count++;
	s->broken += broken != NULL;
	return true;
}

static struct scanned scan(struct bare *s)
{
	struct scanned seen = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;

	must(s->b->scan(s->pool, count_record, &seen, &err), &err, "scan");
	return seen;
}

static bool in_use_none(const char *key, void *arg)
{
	(void)key;
	(void)arg;
	return false;
}

static void count_line(const char *line, void *arg)
{
	assert_true(strlen(line) > 4 && !strchr(line, '\n'));
	(*(unsigned *)arg)++;
}

static unsigned recover(struct bare *s)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	unsigned lines = 0;

	if (s->b->recover)
		must(s->b->recover(s->pool, in_use_none, count_line, &lines, &err), &err, "recover");
	return lines;
}

static void test_table__is_whole(void **state)
{
	struct world *w = *state;
	const struct cleat_backend *b = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	must(cleat_backend_load(w->fx->backend, &b, &err), &err, "load");
	assert_int_equal(b->version, CLEAT_BACKEND_VERSION);
	assert_true(b->open && b->close && b->probe && b->capabilities && b->space && b->scan && b->recover);
	assert_true(b->create && b->remove && b->update && b->map && b->find_mount);
	for (const struct cleat_param *const *t =
		     (const struct cleat_param *const[]){ b->pool_params, b->volume_params,
							  cleat_param_common, NULL };
	     *t; t++) {
		for (const struct cleat_param *p = *t; p->key; p++) {
			assert_true(p->text && strlen(p->text) > 10);
			assert_true(p->type != CLEAT_PARAM_CHOICE || (p->choices && p->choices[0]));
		}
	}
}

static void test_slots__create_is_idempotent_by_key(void **state)
{
	struct world *w = *state;
	struct bare s = { 0 };
	struct cleat_record *made = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	bare_open(w, &s, NULL);
	recover(&s);
	cleat_autorecord struct cleat_record *rec = wish(w, "db");
	cleat_autorecord struct cleat_record *first = create(&s, rec);
	cleat_autorecord struct cleat_record *second = create(&s, rec);
	assert_int_equal(first->capacity_bytes, second->capacity_bytes);
	cleat_autorecord struct cleat_record *other = wish(w, "other");
	assert_int_equal(cleat_record_set(&other->key, rec->key, NULL), CLEAT_OK);
	other->capacity_bytes = 4 * w->fx->volume_bytes;
	assert_int_equal(s.b->create(s.pool, NULL, other, NULL, &(struct cleat_where){ 0 }, &made, &err),
			 CLEAT_ALREADY_EXISTS);
	assert_null(made); /* outputs are not touched on failure */
	assert_int_equal(scan(&s).count, 1);
	for (int i = 0; i < 2; i++)
		must(AGAIN(s.b->remove(s.pool, NULL, rec, &err)), &err, "remove");
	assert_int_equal(scan(&s).count, 0);
	bare_close(&s);
}

static void test_slots__map_gives_the_same_again(void **state)
{
	struct world *w = *state;
	struct bare s = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_source a = { .fd = -1 }, b = { .fd = -1 };

	bare_open(w, &s, NULL);
	recover(&s);
	cleat_autorecord struct cleat_record *rec = wish(w, "db");
	cleat_autorecord struct cleat_record *made = create(&s, rec);
	must(AGAIN(s.b->map(s.pool, NULL, made, false, &a, &err)), &err, "map");
	/* As after the mount: the descriptor is closed, and something holds the device. */
	cleat_autoclose int held = open(a.path, O_RDONLY | O_CLOEXEC);
	assert_true(held >= 0);
	if (a.fd >= 0)
		close(a.fd);
	must(AGAIN(s.b->map(s.pool, NULL, made, false, &b, &err)), &err, "map again");
	assert_string_equal(a.path, b.path);
	assert_int_equal(a.kind, b.kind);
	assert_int_equal(a.kind, s.b->uses_fs ? CLEAT_SOURCE_DEVICE : CLEAT_SOURCE_DIRECTORY);
	if (a.kind == CLEAT_SOURCE_DEVICE) {
		/* While somebody holds the device, the data stays. */
		assert_int_equal(s.b->remove(s.pool, NULL, made, &err), CLEAT_FAILED_PRECONDITION);
		assert_int_equal(scan(&s).count, 1);
	}
	if (b.fd >= 0)
		close(b.fd);
	close(held);
	held = -1;
	for (int i = 0; i < 2 && s.b->unmap; i++)
		must(AGAIN(s.b->unmap(s.pool, NULL, made, &err)), &err, "unmap");
	must(AGAIN(s.b->remove(s.pool, NULL, made, &err)), &err, "remove");
	bare_close(&s);
	assert_int_equal(loops_left(w->pool_path, NULL), 0);
}

static void test_slots__update_is_what_scan_gives(void **state)
{
	struct world *w = *state;
	struct bare s = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;

	bare_open(w, &s, NULL);
	recover(&s);
	cleat_autorecord struct cleat_record *rec = wish(w, "db");
	cleat_autorecord struct cleat_record *made = create(&s, rec);
	cleat_autorecord struct cleat_record *changed = cleat_record_copy(made);
	assert_int_equal(cleat_record_set(&changed->name, "renamed", NULL), CLEAT_OK);
	must(AGAIN(s.b->update(s.pool, NULL, changed, &err)), &err, "update");
	assert_string_equal(scan(&s).names[0], "renamed");
	/* And with the pool closed and opened again, by its UUID. */
	char uuid[37];
	memcpy(uuid, s.id.uuid, sizeof(uuid));
	s.b->close(s.pool);
	bare_open(w, &s, uuid);
	assert_string_equal(s.id.uuid, uuid);
	assert_string_equal(scan(&s).names[0], "renamed");
	must(AGAIN(s.b->remove(s.pool, NULL, changed, &err)), &err, "remove");
	must(AGAIN(s.b->remove(s.pool, NULL, changed, &err)), &err, "remove again");
	/* What does not exist cannot be changed. */
	assert_true(s.b->update(s.pool, NULL, changed, &err) != CLEAT_OK);
	assert_int_equal(scan(&s).count, 0);
	bare_close(&s);
}

static void test_slots__open_with_another_uuid_is_offline(void **state)
{
	struct world *w = *state;
	struct bare s = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pool_identity id;
	void *pool = NULL;

	bare_open(w, &s, NULL);
	/* Served already: a second opening is refused, and the first is not harmed. */
	assert_int_equal(s.b->open(&s.opts, &pool, &id, &err), CLEAT_UNAVAILABLE);
	assert_null(pool);
	must(s.b->probe(s.pool, &err), &err, "probe");
	s.b->close(s.pool);
	s.opts.expect_uuid = "00000000-0000-4000-8000-000000000000";
	assert_int_equal(s.b->open(&s.opts, &pool, &id, &err), CLEAT_UNAVAILABLE);
	bare_open(w, &s, NULL);
	bare_close(&s);
}

static void test_slots__recover_sweeps_what_was_cut_off(void **state)
{
	struct world *w = *state;
	struct bare s = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char path[512];

	bare_open(w, &s, NULL);
	recover(&s);
	cleat_autorecord struct cleat_record *rec = wish(w, "db");
	cleat_autorecord struct cleat_record *made = create(&s, rec);
	/* Attempts and trash as a killed daemon leaves them. */
	const char *top = access(w->pool_path, F_OK) == 0 ? w->pool_path : "";
	snprintf(path, sizeof(path), "%s/pool.img", top);
	if (access(path, F_OK) == 0)
		snprintf(path, sizeof(path), "%s/pool/" POOL, w->run_dir);
	else
		snprintf(path, sizeof(path), "%s", top);
	for (const char *const *sub = (const char *const[]){ "new", "trash", NULL }; *sub; sub++) {
		char dir[600];

		snprintf(dir, sizeof(dir), "%s/%s/%s.x7x7x7x7", path, *sub, rec->key);
		assert_int_equal(mkdir(dir, 0700), 0);
		put_file(dir, "image", 100000, 1);
		put_file(dir, "record.json", 10, 1);
	}
	assert_true(recover(&s) >= 2);
	assert_int_equal(pool_entries(w, "new"), 0);
	assert_int_equal(pool_entries(w, "trash"), 0);
	assert_int_equal(scan(&s).count, 1);
	must(AGAIN(s.b->remove(s.pool, NULL, made, &err)), &err, "remove");
	bare_close(&s);
}

static void test_slots__space_counts_promises(void **state)
{
	struct world *w = *state;
	struct bare s = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_pool_space before, after;

	bare_open(w, &s, NULL);
	recover(&s);
	scan(&s);
	must(s.b->space(s.pool, &before, &err), &err, "space");
	assert_true(before.total_bytes > 0 && before.available_bytes <= before.total_bytes);
	cleat_autorecord struct cleat_record *rec = wish(w, "db");
	cleat_autorecord struct cleat_record *made = create(&s, rec);
	must(s.b->space(s.pool, &after, &err), &err, "space");
	if (w->fx->traits & COUNTS_PROMISES) {
		assert_true(after.available_bytes + w->fx->volume_bytes / 2 <= before.available_bytes);
		assert_int_equal(after.promised_bytes, before.promised_bytes + made->capacity_bytes);
	}
	must(AGAIN(s.b->remove(s.pool, NULL, made, &err)), &err, "remove");
	bare_close(&s);
}

static void test_slots__find_mount_knows_only_its_own(void **state)
{
	struct world *w = *state;
	struct bare s = { 0 };
	char key[CLEAT_KEY_MAX_BYTES + 1];
	const struct cleat_mount_entry foreign = {
		.id = 1, .parent = 1, .dev = 1, .root = "/", .target = "/", .fstype = "proc", .source = "proc"
	};

	bare_open(w, &s, NULL);
	recover(&s);
	assert_false(s.b->find_mount(s.pool, &foreign, key));
	bare_close(&s);
}

const struct suite_case suite_slots[] = {
	CASE(test_table__is_whole, NEEDS_BARE, 0, 0),
	CASE(test_slots__create_is_idempotent_by_key, NEEDS_BARE, 0, IN_DIRECTORY),
	CASE(test_slots__map_gives_the_same_again, NEEDS_BARE, 0, 0),
	CASE(test_slots__update_is_what_scan_gives, NEEDS_BARE, 0, 0),
	CASE(test_slots__open_with_another_uuid_is_offline, NEEDS_BARE, 0, IN_DIRECTORY),
	CASE(test_slots__recover_sweeps_what_was_cut_off, NEEDS_BARE | IN_QUICK, 0, IN_DIRECTORY),
	CASE(test_slots__space_counts_promises, NEEDS_BARE, 0, 0),
	CASE(test_slots__find_mount_knows_only_its_own, NEEDS_BARE, 0, 0),
	{ 0 },
};
