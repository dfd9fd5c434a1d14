/* facts.c - what this node has made of volumes (stages, claims), kept in SQLite in the runtime directory.
 *
 * Nothing here is synced: after a crash of the machine the mounts are gone as well, and the stamp says so.  After a crash of the
 * process the write-ahead log has every committed change.
 */
#include "engine/engine.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "sys/hook.h"

#define FACTS_FORMAT 1

enum { PUT_STAGE, DROP_STAGE, PUT_CLAIM, DROP_CLAIM, STATEMENT_COUNT };

static const char *const statement_text[STATEMENT_COUNT] = {
	[PUT_STAGE] = "INSERT OR REPLACE INTO stage(volume, device, options, block, explicit) VALUES(?,?,?,?,?)",
	[DROP_STAGE] = "DELETE FROM stage WHERE volume=?",
	[PUT_CLAIM] = "INSERT OR REPLACE INTO claim(volume, target, owner, options, mode, read_only, staging, made, since,"
		      " pid, start, cgroup) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
	[DROP_CLAIM] = "DELETE FROM claim WHERE volume=? AND target=?",
};

static const char schema[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
	"CREATE TABLE stage(volume TEXT PRIMARY KEY, device TEXT, options TEXT, block INT, explicit INT) WITHOUT ROWID;"
	"CREATE TABLE claim(volume TEXT, target TEXT, owner TEXT, options TEXT, mode INT, read_only INT, staging INT, made INT,"
	" since INT, pid INT, start INT, cgroup TEXT, PRIMARY KEY(volume, target)) WITHOUT ROWID;";

struct facts {
	pthread_mutex_t lock; /* engine.h: number 2 */
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENT_COUNT];
};

static enum cleat_code fail(struct facts *f, const char *doing, struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_INTERNAL, "node facts: %s: %s", doing, f->db ? sqlite3_errmsg(f->db) : "out of memory");
}

void facts_close(struct facts *f)
{
	if (!f)
		return;
	for (int i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(f->statements[i]);
	sqlite3_close(f->db);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static bool exec(struct facts *f, const char *sql)
{
	return sqlite3_exec(f->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static bool read_meta(struct facts *f, const char *key, char *out, size_t out_bytes)
{
	sqlite3_stmt *st = NULL;
	bool found = false;

	if (sqlite3_prepare_v2(f->db, "SELECT value FROM meta WHERE key=?", -1, &st, NULL) == SQLITE_OK) {
		sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
		found = sqlite3_step(st) == SQLITE_ROW && sqlite3_column_text(st, 0);
		if (found)
			snprintf(out, out_bytes, "%s", (const char *)sqlite3_column_text(st, 0));
	}
	sqlite3_finalize(st);
	return found;
}

static bool write_meta(struct facts *f, const char *key, const char *value)
{
	sqlite3_stmt *st = NULL;
	bool ok = false;

	if (sqlite3_prepare_v2(f->db, "INSERT OR REPLACE INTO meta VALUES(?,?)", -1, &st, NULL) == SQLITE_OK) {
		sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
		sqlite3_bind_text(st, 2, value, -1, SQLITE_STATIC);
		ok = sqlite3_step(st) == SQLITE_DONE;
	}
	sqlite3_finalize(st);
	return ok;
}

/* True when the file is a database of ours with this stamp. */
static bool is_current(struct facts *f, const char *stamp)
{
	char text[128], want[16];

	snprintf(want, sizeof(want), "%d", FACTS_FORMAT);
	return read_meta(f, "format", text, sizeof(text)) && strcmp(text, want) == 0 &&
	       read_meta(f, "stamp", text, sizeof(text)) && strcmp(text, stamp) == 0;
}

static bool open_db(struct facts *f, const char *path)
{
	return sqlite3_open_v2(path, &f->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK &&
	       exec(f, "PRAGMA locking_mode=EXCLUSIVE") && exec(f, "PRAGMA journal_mode=WAL") &&
	       exec(f, "PRAGMA synchronous=OFF") && exec(f, "PRAGMA cache_size=-256");
}

static void remove_files(const char *path)
{
	static const char *const ends[] = { "", "-wal", "-shm", "-journal" };
	char name[CLEAT_TARGET_MAX_BYTES];

	for (size_t i = 0; i < CLEAT_COUNT(ends); i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		unlink(name);
	}
}

static bool start_anew(struct facts *f, const char *path, const char *stamp)
{
	char format[16];

	sqlite3_close(f->db);
	f->db = NULL;
	remove_files(path);
	snprintf(format, sizeof(format), "%d", FACTS_FORMAT);
	return open_db(f, path) && exec(f, "BEGIN") && exec(f, schema) && write_meta(f, "format", format) &&
	       write_meta(f, "stamp", stamp) && exec(f, "COMMIT");
}

/* Counts the starts under one stamp, for epochs. */
static bool count_start(struct facts *f, uint64_t *start_out)
{
	char text[32];
	uint64_t start = 1;

	if (read_meta(f, "start", text, sizeof(text)))
		start = strtoull(text, NULL, 10) + 1;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)start);
	*start_out = start;
	return write_meta(f, "start", text);
}

enum cleat_code facts_open(const char *path, const char *stamp, struct facts **out, bool *fresh_out, uint64_t *start_out,
			   struct cleat_error *err)
{
	struct facts *f = calloc(1, sizeof(*f));

	if (!f)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	pthread_mutex_init(&f->lock, NULL);
	*fresh_out = !open_db(f, path) || !is_current(f, stamp);
	bool ok = (!*fresh_out || start_anew(f, path, stamp)) && count_start(f, start_out);
	for (int i = 0; ok && i < STATEMENT_COUNT; i++)
		ok = sqlite3_prepare_v3(f->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT, &f->statements[i], NULL) ==
		     SQLITE_OK;
	if (!ok) {
		fail(f, path, err);
		facts_close(f);
		return err ? err->code : CLEAT_INTERNAL;
	}
	*out = f;
	return CLEAT_OK;
}

/* With the lock: runs a prepared statement that gives no rows. */
static enum cleat_code run(struct facts *f, sqlite3_stmt *st, const char *doing, struct cleat_error *err)
{
	int injected = cleat_sys_step("sqlite", doing);
	int rc = injected ? SQLITE_IOERR : sqlite3_step(st);
	enum cleat_code code = CLEAT_OK;

	if (injected)
		code = cleat_error_errno(err, injected, "node facts: %s", doing);
	else if (rc != SQLITE_DONE)
		code = fail(f, doing, err);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return code;
}

static void text(sqlite3_stmt *st, int at, const char *value)
{
	sqlite3_bind_text(st, at, value ? value : "", -1, SQLITE_STATIC);
}

enum cleat_code facts_put_stage(struct facts *f, const struct node_volume *nv, struct cleat_error *err)
{
	pthread_mutex_lock(&f->lock);
	sqlite3_stmt *st = f->statements[PUT_STAGE];
	text(st, 1, nv->id);
	text(st, 2, nv->device);
	text(st, 3, nv->options);
	sqlite3_bind_int(st, 4, nv->block);
	sqlite3_bind_int(st, 5, nv->explicit_stage);
	enum cleat_code code = run(f, st, "record stage", err);
	pthread_mutex_unlock(&f->lock);
	return code;
}

enum cleat_code facts_drop_stage(struct facts *f, const char *id, struct cleat_error *err)
{
	pthread_mutex_lock(&f->lock);
	sqlite3_stmt *st = f->statements[DROP_STAGE];
	text(st, 1, id);
	enum cleat_code code = run(f, st, "drop stage", err);
	pthread_mutex_unlock(&f->lock);
	return code;
}

enum cleat_code facts_put_claim(struct facts *f, const char *id, const struct claim *c, struct cleat_error *err)
{
	pthread_mutex_lock(&f->lock);
	sqlite3_stmt *st = f->statements[PUT_CLAIM];
	text(st, 1, id);
	text(st, 2, c->target);
	text(st, 3, c->owner);
	text(st, 4, c->options);
	sqlite3_bind_int(st, 5, (int)c->mode);
	sqlite3_bind_int(st, 6, c->read_only);
	sqlite3_bind_int(st, 7, c->staging);
	sqlite3_bind_int(st, 8, c->made_target);
	sqlite3_bind_int64(st, 9, c->since_ms);
	sqlite3_bind_int64(st, 10, c->pid);
	sqlite3_bind_int64(st, 11, (sqlite3_int64)c->start_ticks);
	text(st, 12, c->cgroup);
	enum cleat_code code = run(f, st, "record claim", err);
	pthread_mutex_unlock(&f->lock);
	return code;
}

enum cleat_code facts_drop_claim(struct facts *f, const char *id, const char *target, struct cleat_error *err)
{
	pthread_mutex_lock(&f->lock);
	sqlite3_stmt *st = f->statements[DROP_CLAIM];
	text(st, 1, id);
	text(st, 2, target);
	enum cleat_code code = run(f, st, "drop claim", err);
	pthread_mutex_unlock(&f->lock);
	return code;
}

static char *column(sqlite3_stmt *st, int at)
{
	const char *value = (const char *)sqlite3_column_text(st, at);

	return strdup(value ? value : "");
}

static struct node_volume *stage_from_row(sqlite3_stmt *st)
{
	struct node_volume *nv = calloc(1, sizeof(*nv));

	if (!nv)
		return NULL;
	snprintf(nv->id, sizeof(nv->id), "%s", (const char *)sqlite3_column_text(st, 0));
	snprintf(nv->device, sizeof(nv->device), "%s", (const char *)sqlite3_column_text(st, 1));
	nv->options = column(st, 2);
	nv->block = sqlite3_column_int(st, 3);
	nv->explicit_stage = sqlite3_column_int(st, 4);
	nv->staged = true;
	return nv;
}

static struct claim *claim_from_row(sqlite3_stmt *st)
{
	struct claim *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->target = column(st, 1);
	c->owner = column(st, 2);
	c->options = column(st, 3);
	c->mode = (enum cleat_access_mode)sqlite3_column_int(st, 4);
	c->read_only = sqlite3_column_int(st, 5);
	c->staging = sqlite3_column_int(st, 6);
	c->made_target = sqlite3_column_int(st, 7);
	c->since_ms = sqlite3_column_int64(st, 8);
	c->pid = sqlite3_column_int64(st, 9);
	c->start_ticks = (uint64_t)sqlite3_column_int64(st, 10);
	char *cgroup = column(st, 11);
	if (cgroup && *cgroup)
		c->cgroup = cgroup;
	else
		free(cgroup);
	if (!c->target || !c->owner || !c->options) {
		claim_free(c);
		return NULL;
	}
	return c;
}

enum cleat_code facts_load(struct facts *f, void (*stage)(struct node_volume *nv, void *arg),
			   void (*claim)(const char *id, struct claim *c, void *arg), void *arg, struct cleat_error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(f->db, "SELECT volume, device, options, block, explicit FROM stage", -1, &st, NULL);

	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(st);
		struct node_volume *nv = rc == SQLITE_ROW ? stage_from_row(st) : NULL;
		if (nv)
			stage(nv, arg);
	}
	sqlite3_finalize(st);
	if (rc != SQLITE_DONE)
		return fail(f, "read stages", err);
	rc = sqlite3_prepare_v2(f->db,
				"SELECT volume, target, owner, options, mode, read_only, staging, made, since, pid, start, cgroup"
				" FROM claim ORDER BY volume, target",
				-1, &st, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(st);
		struct claim *c = rc == SQLITE_ROW ? claim_from_row(st) : NULL;
		if (c)
			claim((const char *)sqlite3_column_text(st, 0), c, arg);
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? CLEAT_OK : fail(f, "read claims", err);
}
