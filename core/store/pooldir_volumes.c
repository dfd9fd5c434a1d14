/* pooldir_volumes.c - volumes of a pool directory: they appear by rename, change by rename, and go by rename.
 *
 * Syncs per operation are the fewest that POSIX promises to be enough: creation syncs the record, the attempt
 * and volumes/; a change syncs the record and the volume's directory; deletion syncs volumes/.  A crash of
 * the machine then shows the old state or the new one.
 */
#include "store/pooldir.h"

#include "sys/file.h"
#include "sys/list.h"
#include "util/buf.h"
#include "util/ids.h"
#include "util/kv.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

#define ROOM_NAME_BYTES (CLEAT_KEY_MAX_BYTES + CLEAT_ID_KEY_BYTES + 1) /* "<key>.<rand>" */
#define RECORD_PATH_BYTES (CLEAT_KEY_MAX_BYTES + sizeof(CLEAT_RECORD_FILE) + 1)

static bool is_key(const char *key)
{
	size_t n = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

	return n > 0 && n <= CLEAT_KEY_MAX_BYTES && key[n] == '\0';
}

static enum cleat_code check_key(const char *key, struct cleat_error *err)
{
	if (is_key(key))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a key has 1..%d characters of [A-Za-z0-9_-]",
			       CLEAT_KEY_MAX_BYTES);
}

static enum cleat_code check_writable(const struct cleat_pooldir *dir, const char *key,
				      struct cleat_error *err)
{
	if (dir->id.read_only)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "pool '%s' has format %u, this release knows %d: it is read-only",
				       dir->id.stored_name, dir->id.format, CLEAT_POOL_FORMAT);
	return check_key(key, err);
}

static void room_name(char name[ROOM_NAME_BYTES + 1], const char *key)
{
	char rand[CLEAT_ID_KEY_BYTES];

	cleat_id_new_key(rand);
	snprintf(name, ROOM_NAME_BYTES + 1, "%.*s.%s", CLEAT_KEY_MAX_BYTES, key, rand);
}

/* ---- creation -------------------------------------------------------------------------------- */

enum cleat_code cleat_pooldir_begin(const struct cleat_pooldir *dir, const char *key, char **attempt_out,
				    int *fd_out, struct cleat_error *err)
{
	cleat_autofree char *name = malloc(ROOM_NAME_BYTES + 1);
	enum cleat_code code = check_writable(dir, key, err);

	if (code)
		return code;
	if (!name)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	room_name(name, key);
	code = cleat_sys_mkdir_at(dir->new_fd, name, 0700, false, err);
	if (code)
		return code;
	code = cleat_sys_open_at(dir->new_fd, name, O_RDONLY | O_DIRECTORY, 0, fd_out, err);
	if (code) {
		cleat_pooldir_abandon(dir, name);
		return code;
	}
	*attempt_out = cleat_steal(name);
	return CLEAT_OK;
}

/* Writes rec as a new file beneath dirfd and syncs it. */
static enum cleat_code write_record(int dirfd, const char *name, const struct cleat_record *rec,
				    struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);
	cleat_autoclose int fd = -1;
	enum cleat_code code = cleat_record_encode(rec, &text, err);

	if (!code)
		code = cleat_sys_open_at(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, err);
	if (!code)
		code = cleat_sys_write(fd, text.data, text.len, name, err);
	if (!code)
		code = cleat_sys_fsync(fd, name, err);
	return code;
}

enum cleat_code cleat_pooldir_prepare(const struct cleat_pooldir *dir, int attempt_fd,
				      const struct cleat_record *rec, struct cleat_error *err)
{
	enum cleat_code code = check_writable(dir, rec->key, err);

	if (!code)
		code = write_record(attempt_fd, CLEAT_RECORD_FILE, rec, err);
	if (!code)
		code = cleat_sys_fsync(attempt_fd, "attempt", err);
	return code;
}

enum cleat_code cleat_pooldir_appear(const struct cleat_pooldir *dir, const char *attempt, const char *key,
				     struct cleat_error *err)
{
	enum cleat_code code = check_writable(dir, key, err);

	if (!code)
		code = cleat_sys_rename_at(dir->new_fd, attempt, dir->volumes_fd, key, true, err);
	if (!code)
		code = cleat_sys_fsync(dir->volumes_fd, "volumes", err);
	return code;
}

enum cleat_code cleat_pooldir_commit(const struct cleat_pooldir *dir, const char *attempt, int attempt_fd,
				     const struct cleat_record *rec, struct cleat_error *err)
{
	enum cleat_code code = cleat_pooldir_prepare(dir, attempt_fd, rec, err);

	if (!code)
		code = cleat_pooldir_appear(dir, attempt, rec->key, err);
	if (code == CLEAT_ALREADY_EXISTS)
		cleat_pooldir_abandon(dir, attempt);
	return code;
}

void cleat_pooldir_abandon(const struct cleat_pooldir *dir, const char *attempt)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT;

	if (cleat_sys_remove_tree(dir->new_fd, attempt, &ignored))
		return; /* the sweep at the next start removes it */
}

/* ---- reading --------------------------------------------------------------------------------- */

enum cleat_code cleat_pooldir_open_volume(const struct cleat_pooldir *dir, const char *key, int *fd_out,
					  struct cleat_error *err)
{
	enum cleat_code code = check_key(key, err);

	return code ? code
		    : cleat_sys_open_at(dir->volumes_fd, key, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, fd_out,
					err);
}

/* text: a buffer to use again and again. */
static enum cleat_code read_record(const struct cleat_pooldir *dir, const char *key, struct cleat_buf *text,
				   struct cleat_record **out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = NULL;
	char path[RECORD_PATH_BYTES];

	snprintf(path, sizeof(path), "%.*s/%s", CLEAT_KEY_MAX_BYTES, key, CLEAT_RECORD_FILE);
	cleat_buf_clear(text);
	enum cleat_code code = cleat_sys_read_file(dir->volumes_fd, path, CLEAT_RECORD_MAX_BYTES, text, err);
	if (!code)
		code = cleat_record_decode(cleat_buf_text(text), text->len, &rec, err);
	if (!code && !*rec->key) /* a newer format without a key we can read */
		code = cleat_record_set(&rec->key, key, err);
	if (code)
		return code;
	if (strcmp(rec->key, key) != 0)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "record: is that of key '%s'", rec->key);
	*out = rec;
	rec = NULL;
	return CLEAT_OK;
}

enum cleat_code cleat_pooldir_read(const struct cleat_pooldir *dir, const char *key,
				   struct cleat_record **out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);
	enum cleat_code code = check_key(key, err);

	return code ? code : read_record(dir, key, &text, out, err);
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* The first thing in which they differ, NULL when in none that counts.  Labels and attachments change over
 * time and do not count. */
static const char *difference(const struct cleat_record *a, const struct cleat_record *b)
{
	if (a->kind != b->kind)
		return "kind";
	if (!same_text(a->name, b->name))
		return "name";
	if (!same_text(a->scope, b->scope))
		return "scope";
	if (a->access_type != b->access_type)
		return "access type";
	if (!same_text(a->fs, b->fs))
		return "file system";
	if (!same_text(a->source, b->source))
		return "source";
	if (!cleat_kv_equal(&a->params, &b->params))
		return "parameters";
	if (a->capacity_bytes && b->capacity_bytes && a->capacity_bytes != b->capacity_bytes)
		return "capacity";
	return NULL;
}

enum cleat_code cleat_pooldir_confirm(const struct cleat_pooldir *dir, const struct cleat_record *wish,
				      struct cleat_record **out, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *stored = NULL;
	struct cleat_error inner = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_pooldir_read(dir, wish->key, &stored, &inner);

	*out = NULL;
	if (code == CLEAT_NOT_FOUND)
		return CLEAT_OK;
	if (code) {
		if (err)
			*err = inner;
		return code;
	}
	const char *what = difference(stored, wish);
	if (what)
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "'%s' exists with another %s", stored->name,
				       what);
	code = cleat_sys_fsync(dir->volumes_fd, "volumes", err);
	if (code)
		return code;
	*out = stored;
	stored = NULL;
	return CLEAT_OK;
}

/* ---- changing -------------------------------------------------------------------------------- */

/* The new text is written in new/, not beside the old one: if this is cut off, the sweep finds it without
 * opening every volume. */
enum cleat_code cleat_pooldir_update(const struct cleat_pooldir *dir, const struct cleat_record *rec,
				     struct cleat_error *err)
{
	cleat_autoclose int volume_fd = -1;
	char name[ROOM_NAME_BYTES + 1];
	enum cleat_code code = check_writable(dir, rec->key, err);

	if (!code)
		code = cleat_pooldir_open_volume(dir, rec->key, &volume_fd, err);
	if (code)
		return code;
	room_name(name, rec->key);
	code = write_record(dir->new_fd, name, rec, err);
	if (!code)
		code = cleat_sys_rename_at(dir->new_fd, name, volume_fd, CLEAT_RECORD_FILE, false, err);
	if (code) {
		cleat_pooldir_abandon(dir, name);
		return code;
	}
	return cleat_sys_fsync(volume_fd, rec->key, err);
}

enum cleat_code cleat_pooldir_discard(const struct cleat_pooldir *dir, const char *key, char **trash_out,
				      struct cleat_error *err)
{
	cleat_autofree char *name = malloc(ROOM_NAME_BYTES + 1);
	struct cleat_error inner = CLEAT_ERROR_INIT;
	enum cleat_code code = check_writable(dir, key, err);

	if (code)
		return code;
	if (!name)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	room_name(name, key);
	code = cleat_sys_rename_at(dir->volumes_fd, key, dir->trash_fd, name, true, &inner);
	bool gone = code == CLEAT_NOT_FOUND;
	if (code && !gone) {
		if (err)
			*err = inner;
		return code;
	}
	code = cleat_sys_fsync(dir->volumes_fd, "volumes", err);
	if (code)
		return code;
	*trash_out = gone ? NULL : cleat_steal(name);
	return CLEAT_OK;
}

enum cleat_code cleat_pooldir_purge(const struct cleat_pooldir *dir, const char *trash,
				    struct cleat_error *err)
{
	return cleat_sys_remove_tree(dir->trash_fd, trash, err);
}

/* ---- all of them ----------------------------------------------------------------------------- */

struct scan {
	const struct cleat_pooldir *dir;
	cleat_scan_fn fn;
	void *arg;
	struct cleat_buf text;
	enum cleat_code code;
	struct cleat_error *err;
};

/* A record that cannot be read still has its key, so that people can be told which one it is. */
static bool scan_broken(struct scan *s, const char *key, const char *why)
{
	cleat_autorecord struct cleat_record *rec = cleat_record_new(CLEAT_KIND_VOLUME);

	if (!rec || cleat_record_set(&rec->key, key, NULL)) {
		s->code = cleat_error_set(s->err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		return false;
	}
	return s->fn(rec, why, s->arg);
}

static bool is_gone(const struct cleat_pooldir *dir, const char *key)
{
	cleat_autoclose int fd = -1;

	return cleat_pooldir_open_volume(dir, key, &fd, NULL) == CLEAT_NOT_FOUND;
}

static bool scan_entry(const char *name, unsigned char type, void *arg)
{
	struct scan *s = arg;
	cleat_autorecord struct cleat_record *rec = NULL;
	struct cleat_error inner = CLEAT_ERROR_INIT;

	(void)type;
	if (!is_key(name)) /* somebody put it there; it can be no volume, because no id could name it */
		return true;
	enum cleat_code code = read_record(s->dir, name, &s->text, &rec, &inner);
	if (code == CLEAT_OK)
		return s->fn(rec, NULL, s->arg);
	if (code == CLEAT_RESOURCE_EXHAUSTED) {
		if (s->err)
			*s->err = inner;
		s->code = code;
		return false;
	}
	if (code == CLEAT_NOT_FOUND && is_gone(s->dir, name)) /* deleted while we were looking */
		return true;
	return scan_broken(s, name, inner.msg);
}

enum cleat_code cleat_pooldir_scan(const struct cleat_pooldir *dir, cleat_scan_fn fn, void *arg,
				   struct cleat_error *err)
{
	struct scan s = { dir, fn, arg, CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES), CLEAT_OK, err };
	enum cleat_code code = cleat_sys_list(dir->volumes_fd, ".", scan_entry, &s, err);

	cleat_buf_done(&s.text);
	return code ? code : s.code;
}

struct sweep {
	int room_fd;
	const char *room; /* for the report */
	enum cleat_code (*remove)(int parent_fd, const char *name, void *arg, struct cleat_error *err);
	void *remove_arg;
	cleat_report_fn report;
	void *report_arg;
};

static bool sweep_entry(const char *name, unsigned char type, void *arg)
{
	const struct sweep *s = arg;
	struct cleat_error why = CLEAT_ERROR_INIT;
	char line[256];

	(void)type;
	enum cleat_code code = s->remove ? s->remove(s->room_fd, name, s->remove_arg, &why)
					 : cleat_sys_remove_tree(s->room_fd, name, &why);
	if (code)
		snprintf(line, sizeof(line), "%s '%.*s' cannot be removed: %.160s", s->room, ROOM_NAME_BYTES,
			 name, why.msg);
	else
		snprintf(line, sizeof(line), "%s '%.*s' removed", s->room, ROOM_NAME_BYTES, name);
	if (s->report)
		s->report(line, s->report_arg);
	return true;
}

enum cleat_code cleat_pooldir_sweep(const struct cleat_pooldir *dir,
				    enum cleat_code (*remove)(int parent_fd, const char *name, void *arg,
							      struct cleat_error *err),
				    void *remove_arg, cleat_report_fn report, void *report_arg,
				    struct cleat_error *err)
{
	struct sweep attempts = { dir->new_fd, "unfinished creation or change", remove, remove_arg, report,
				  report_arg };
	struct sweep trash = { dir->trash_fd, "unfinished deletion", remove, remove_arg, report, report_arg };
	enum cleat_code code = CLEAT_OK;

	if (dir->id.read_only)
		return CLEAT_OK;
	code = cleat_sys_fsync(dir->volumes_fd, "volumes", err);
	if (!code)
		code = cleat_sys_list(dir->new_fd, ".", sweep_entry, &attempts, err);
	if (!code)
		code = cleat_sys_list(dir->trash_fd, ".", sweep_entry, &trash, err);
	return code;
}

struct leftovers {
	const char *room; /* for the report */
	cleat_report_fn report;
	void *report_arg;
};

static bool report_entry(const char *name, unsigned char type, void *arg)
{
	const struct leftovers *l = arg;
	char line[256];

	(void)type;
	snprintf(line, sizeof(line), "%s '%.*s' is left", l->room, ROOM_NAME_BYTES, name);
	l->report(line, l->report_arg);
	return true;
}

enum cleat_code cleat_pooldir_leftovers(const struct cleat_pooldir *dir, cleat_report_fn report,
					void *report_arg, struct cleat_error *err)
{
	struct leftovers attempts = { "unfinished creation or change", report, report_arg };
	struct leftovers trash = { "unfinished deletion", report, report_arg };
	enum cleat_code code = cleat_sys_list(dir->new_fd, ".", report_entry, &attempts, err);

	return code ? code : cleat_sys_list(dir->trash_fd, ".", report_entry, &trash, err);
}
