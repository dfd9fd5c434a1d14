/* group.c - several snapshots that appear together or not at all, and the program that guards their freeze.
 *
 * Renames are one at a time.  What is to appear is written down first, durably; a start that finds such a
 * note finishes it.
 */
#include "backends/loop/loop.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "sys/file.h"
#include "sys/list.h"
#include "util/buf.h"
#include "util/ids.h"
#include "util/mem.h"

/* Keys have no dots, attempts one: no attempt has such a name. */
#define NOTE "group..intent."
#define NOTE_MAX_BYTES ((size_t)LOOP_GROUP_MAX * 128)

/* ---- appearing together ---- */

static enum cleat_code prepare(struct loop_pool *pool, struct loop_attempt *a, const struct cleat_record *rec,
			       struct cleat_error *err)
{
	enum cleat_code code = cleat_sys_fsync(a->image_fd, rec->name, err);

	return code ? code : cleat_pooldir_prepare(&pool->dir, a->dir_fd, rec, err);
}

static enum cleat_code write_note(const struct loop_pool *pool, const char *name,
				  const struct loop_attempt *attempts, struct cleat_record *const *recs,
				  size_t count, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(NOTE_MAX_BYTES);

	for (size_t i = 0; i < count; i++)
		cleat_buf_addf(&text, "%s %s\n", attempts[i].name, recs[i]->key);
	if (!cleat_buf_ok(&text))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return cleat_sys_replace_file(pool->dir.new_fd, name, text.data, text.len, 0600, true, err);
}

/* After a failure in this process, which is still here to undo: what has appeared goes again. */
static void withdraw(struct loop_pool *pool, struct cleat_record *const *recs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		cleat_autofree char *trash = NULL;
		loop_book_remove(&pool->book, recs[i]->key);
		if (cleat_pooldir_discard(&pool->dir, recs[i]->key, &trash, NULL) == CLEAT_OK && trash &&
		    cleat_pooldir_purge(&pool->dir, trash, NULL))
			continue; /* the next start sweeps it */
	}
}

static enum cleat_code appear(struct loop_pool *pool, struct loop_attempt *a, const struct cleat_record *rec,
			      struct cleat_error *err)
{
	enum cleat_code code = loop_book_put(&pool->book, rec, err);

	if (!code)
		code = cleat_pooldir_appear(&pool->dir, a->name, rec->key, err);
	if (code)
		return code;
	free(cleat_steal(a->name));
	return CLEAT_OK;
}

static enum cleat_code appear_all(struct loop_pool *pool, struct loop_attempt *attempts,
				  struct cleat_record *const *recs, size_t count, struct cleat_error *err)
{
	char key[CLEAT_ID_KEY_BYTES], note[sizeof(NOTE) + sizeof(key)];
	size_t shown = 0;

	cleat_id_new_key(key);
	snprintf(note, sizeof(note), "%s%s", NOTE, key);
	enum cleat_code code = count > 1 ? write_note(pool, note, attempts, recs, count, err) : CLEAT_OK;
	for (; shown < count && !code; shown++)
		code = appear(pool, &attempts[shown], recs[shown], err);
	if (count > 1 && cleat_sys_unlink_at(pool->dir.new_fd, note, 0, NULL) && !code)
		return CLEAT_OK; /* all are there; the note says so, too */
	if (code)
		withdraw(pool, recs, shown);
	return code;
}

enum cleat_code loop_group_commit(struct loop_pool *pool, struct loop_attempt *attempts,
				  struct cleat_record *const *recs, size_t count, struct cleat_error *err)
{
	enum cleat_code code = CLEAT_OK;

	for (size_t i = 0; i < count && !code; i++)
		code = prepare(pool, &attempts[i], recs[i], err);
	return code ? code : appear_all(pool, attempts, recs, count, err);
}

/* ---- finishing after a crash ---- */

struct finish {
	struct loop_pool *pool;
	cleat_report_fn report;
	void *arg;
	enum cleat_code code;
	struct cleat_error *err;
};

/* "<attempt> <key>": whatever has not appeared yet does so now. */
static enum cleat_code finish_line(const struct loop_pool *pool, char *line, struct cleat_error *err)
{
	struct cleat_error inner = CLEAT_ERROR_INIT;
	char *space = strchr(line, ' ');

	if (!space)
		return CLEAT_OK;
	*space = '\0';
	enum cleat_code code = cleat_pooldir_appear(&pool->dir, line, space + 1, &inner);
	if (code == CLEAT_NOT_FOUND || code == CLEAT_ALREADY_EXISTS)
		return CLEAT_OK;
	if (code && err)
		*err = inner;
	return code;
}

static enum cleat_code finish_note(const struct finish *f, const char *name, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(NOTE_MAX_BYTES);
	char line[160], *save = NULL;
	enum cleat_code code = cleat_sys_read_file(f->pool->dir.new_fd, name, NOTE_MAX_BYTES - 1, &text, err);

	for (char *at = text.data ? strtok_r(text.data, "\n", &save) : NULL; at && !code;
	     at = strtok_r(NULL, "\n", &save))
		code = finish_line(f->pool, at, err);
	if (!code)
		code = cleat_sys_unlink_at(f->pool->dir.new_fd, name, 0, err);
	if (code)
		return code;
	snprintf(line, sizeof(line), "group snapshot %.60s finished", name + strlen(NOTE));
	if (f->report)
		f->report(line, f->arg);
	return CLEAT_OK;
}

static bool is_note(const char *name)
{
	size_t n = strlen(name);

	/* cleat_sys_replace_file() that was cut off leaves "<name>.<random>.tmp", which the sweep takes. */
	return strncmp(name, NOTE, strlen(NOTE)) == 0 && (n < 4 || strcmp(name + n - 4, ".tmp") != 0);
}

static bool finish_one(const char *name, unsigned char type, void *arg)
{
	struct finish *f = arg;

	(void)type;
	if (is_note(name))
		f->code = finish_note(f, name, f->err);
	return f->code == CLEAT_OK;
}

enum cleat_code loop_group_recover(struct loop_pool *pool, cleat_report_fn report, void *arg,
				   struct cleat_error *err)
{
	struct finish f = { pool, report, arg, CLEAT_OK, err };
	enum cleat_code code;

	if (pool->dir.id.read_only)
		return CLEAT_OK;
	code = cleat_sys_list(pool->dir.new_fd, ".", finish_one, &f, err);
	return code ? code : f.code;
}

/* ---- the guardian ---- */

#define GUARDIAN "cleat-thaw"

static bool try_path(char *path, size_t path_bytes, const char *dir, size_t n, const char *below)
{
	int length = snprintf(path, path_bytes, "%.*s%s/%s", (int)n, dir, below, GUARDIAN);

	return length > 0 && (size_t)length < path_bytes && access(path, X_OK) == 0;
}

/* Seen from the library or program that this code is part of: a build folder, or an installed tree. */
static bool find_beside_us(char *path, size_t path_bytes)
{
	static const char *const below[] = { "", "/../bin", "/../libexec/cleat", "/../../libexec/cleat" };
	char program[CLEAT_ERROR_TEXT_BYTES] = "";
	Dl_info info;
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	const char *places[] = { length > 0 ? program : NULL,
				 dladdr((const void *)&cleat_backend_loop, &info) ? info.dli_fname : NULL };

	for (size_t p = 0; p < CLEAT_COUNT(places); p++) {
		const char *slash = places[p] ? strrchr(places[p], '/') : NULL;
		for (size_t i = 0; slash && i < CLEAT_COUNT(below); i++)
			if (try_path(path, path_bytes, places[p], (size_t)(slash - places[p]), below[i]))
				return true;
	}
	return false;
}

enum cleat_code loop_guardian_path(char *path, size_t path_bytes, struct cleat_error *err)
{
	const char *dir = getenv("CLEAT_LIBEXEC");

	if (dir && *dir == '/' && try_path(path, path_bytes, dir, strlen(dir), ""))
		return CLEAT_OK;
	if (find_beside_us(path, path_bytes))
		return CLEAT_OK;
	if (try_path(path, path_bytes, CLEAT_LIBEXEC_DIR, strlen(CLEAT_LIBEXEC_DIR), ""))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
			       "'%s', which group snapshots need, is neither in '%s' nor beside the library",
			       GUARDIAN, CLEAT_LIBEXEC_DIR);
}
