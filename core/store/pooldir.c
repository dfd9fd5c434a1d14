/* pooldir.c - opening the directory of a local pool: marker, lock, first initialisation.  Volumes are in
 * pooldir_volumes.c. */
#include "store/pooldir.h"

#include "sys/file.h"
#include "sys/list.h"
#include "util/buf.h"
#include "util/ids.h"
#include "util/kv.h"
#include "util/mem.h"
#include "util/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define MARKER "cleat-pool.json"
#define LOCK "lock"
#define MARKER_MAX_BYTES 4096
#define LOCK_TEXT_MAX_BYTES 256
#define CONFIGURED_NAME_MAX_BYTES 31

const char *const cleat_pooldir_init_choices[] = { "auto", "never", NULL };

struct marker {
	struct cleat_pool_identity id;
	char backend[32];
};

/* Whatever keeps a pool from opening may pass, unless it is the configuration. */
static enum cleat_code offline(struct cleat_error *err, const char *path)
{
	cleat_error_wrap(err, "pool directory '%.*s'", cleat_text_cut(path, 200), path);
	err->code = CLEAT_UNAVAILABLE;
	err->retry = true;
	return CLEAT_UNAVAILABLE;
}

/* ---- marker ---------------------------------------------------------------------------------- */

static bool copy_member(const json_t *object, const char *member, char *out, size_t room)
{
	const json_t *value = json_object_get(object, member);
	const char *text = json_string_value(value);

	if (!text || !*text || json_string_length(value) >= room || !cleat_text_is_clean(text, strlen(text)))
		return false;
	memcpy(out, text, strlen(text) + 1);
	return true;
}

static bool is_stored_name(const char *name)
{
	return name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
}

static bool take_marker(const json_t *object, struct marker *out)
{
	char scope[8] = "";
	json_int_t format = json_integer_value(json_object_get(object, "format"));

	if (format < 1 || format > INT32_MAX)
		return false;
	out->id.format = (uint32_t)format;
	out->id.read_only = format > CLEAT_POOL_FORMAT;
	if (!copy_member(object, "uuid", out->id.uuid, sizeof(out->id.uuid)) || strlen(out->id.uuid) != 36 ||
	    !copy_member(object, "name", out->id.stored_name, sizeof(out->id.stored_name)) ||
	    !is_stored_name(out->id.stored_name) ||
	    !copy_member(object, "backend", out->backend, sizeof(out->backend)) ||
	    !copy_member(object, "scope", scope, sizeof(scope)))
		return false;
	out->id.shared = strcmp(scope, "shared") == 0;
	return out->id.shared || strcmp(scope, "node") == 0;
}

/* NOT_FOUND when there is none. */
static enum cleat_code read_marker(int root_fd, struct marker *out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(MARKER_MAX_BYTES);
	struct marker found = { 0 };
	json_error_t reason;

	if (cleat_sys_read_file(root_fd, MARKER, MARKER_MAX_BYTES, &text, err))
		return err->code;
	json_t *object = json_loadb(cleat_buf_text(&text), text.len, JSON_REJECT_DUPLICATES, &reason);
	bool good = json_is_object(object) && take_marker(object, &found);
	json_decref(object);
	if (!good)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "its marker '%s' is damaged", MARKER);
	*out = found;
	return CLEAT_OK;
}

static enum cleat_code write_marker(int root_fd, const struct marker *m, struct cleat_error *err)
{
	char text[512];
	int n = snprintf(
		text, sizeof(text),
		"{\"format\":%u,\"uuid\":\"%s\",\"name\":\"%s\",\"backend\":\"%s\",\"scope\":\"%s\"}\n",
		m->id.format, m->id.uuid, m->id.stored_name, m->backend, m->id.shared ? "shared" : "node");

	return cleat_sys_replace_file(root_fd, MARKER, text, (size_t)n, 0600, true, err);
}

/* ---- first initialisation -------------------------------------------------------------------- */

struct contents {
	int root_fd;
	bool foreign;	  /* holds something that an interrupted initialisation does not leave */
	char example[64]; /* of what is foreign */
};

static bool note_any(const char *name, unsigned char type, void *arg)
{
	(void)name;
	(void)type;
	*(bool *)arg = true;
	return false;
}

static bool is_leftover(const char *name)
{
	return strncmp(name, MARKER ".", sizeof(MARKER ".") - 1) == 0; /* of cleat_sys_replace_file() */
}

/* A fresh file system's own directory and what an initialisation that was cut off may have left do not make a
 * directory non-empty. */
static bool note_foreign(const char *name, unsigned char type, void *arg)
{
	struct contents *c = arg;
	bool filled = false;

	(void)type;
	if (strcmp(name, "lost+found") == 0 || strcmp(name, LOCK) == 0 || is_leftover(name))
		return true;
	if (strcmp(name, "volumes") == 0 || strcmp(name, "new") == 0 || strcmp(name, "trash") == 0) {
		if (cleat_sys_list(c->root_fd, name, note_any, &filled, NULL) == CLEAT_OK && !filled)
			return true;
	}
	c->foreign = true;
	snprintf(c->example, sizeof(c->example), "%s", name);
	return false;
}

/* Whether a new pool may be made here; nothing is changed. */
static enum cleat_code may_initialise(const struct cleat_pool_options *opts, int root_fd,
				      struct cleat_error *err)
{
	struct contents c = { root_fd, false, "" };
	const char *init = cleat_kv_get(opts->config, "init");

	if (opts->expect_uuid)
		return cleat_error_set(
			err, CLEAT_UNAVAILABLE,
			"offline: the marker of pool %s is not there (is its file system mounted?)",
			opts->expect_uuid);
	if (init && strcmp(init, "never") == 0)
		return cleat_error_set(err, CLEAT_UNAVAILABLE,
				       "offline: no pool is there, and init is 'never'");
	if (cleat_sys_list(root_fd, ".", note_foreign, &c, err))
		return err->code;
	if (c.foreign)
		return cleat_error_set(
			err, CLEAT_UNAVAILABLE,
			"no pool is there and it is not empty (it holds '%.*s'): not made a pool",
			cleat_text_cut(c.example, 60), c.example);
	return CLEAT_OK;
}

static bool remove_leftover(const char *name, unsigned char type, void *arg)
{
	(void)type;
	if (is_leftover(name) && cleat_sys_unlink_at(*(int *)arg, name, 0, NULL))
		return true; /* harmless; the next start tries again */
	return true;
}

static enum cleat_code initialise(const struct cleat_pool_options *opts, const char *backend, int root_fd,
				  struct marker *out, struct cleat_error *err)
{
	static const char *const rooms[] = { "volumes", "new", "trash" };
	struct marker m = { 0 };

	m.id.format = CLEAT_POOL_FORMAT;
	cleat_id_new_uuid(m.id.uuid);
	snprintf(m.id.stored_name, sizeof(m.id.stored_name), "%.*s-%.8s", CONFIGURED_NAME_MAX_BYTES,
		 opts->name, m.id.uuid);
	snprintf(m.backend, sizeof(m.backend), "%s", backend);
	for (size_t i = 0; i < CLEAT_COUNT(rooms); i++)
		if (cleat_sys_mkdir_at(root_fd, rooms[i], 0700, true, err))
			return err->code;
	if (write_marker(root_fd, &m, err))
		return err->code;
	*out = m;
	return cleat_sys_list(root_fd, ".", remove_leftover, &root_fd, err);
}

/* ---- lock ------------------------------------------------------------------------------------ */

static enum cleat_code refuse_second(int root_fd, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf holder = CLEAT_BUF_INIT(LOCK_TEXT_MAX_BYTES);

	if (cleat_sys_read_file(root_fd, LOCK, LOCK_TEXT_MAX_BYTES, &holder, NULL) || holder.len == 0 ||
	    !cleat_text_is_clean(holder.data, holder.len - 1))
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "another daemon serves it");
	return cleat_error_set(err, CLEAT_UNAVAILABLE, "another daemon serves it: %s", holder.data);
}

/* The holder's name in the file is for people; the lock itself is flock's and goes with the process. */
static enum cleat_code take_lock(const struct cleat_pool_options *opts, int root_fd, int *fd_out,
				 struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	char text[LOCK_TEXT_MAX_BYTES];

	if (cleat_sys_open_at(root_fd, LOCK, O_RDWR | O_CREAT, 0600, &fd, err))
		return err->code;
	if (cleat_sys_lock(fd, LOCK, err))
		return err->code == CLEAT_FAILED_PRECONDITION ? refuse_second(root_fd, err) : err->code;
	int n = snprintf(text, sizeof(text), "process %ld on node '%.128s'\n", (long)getpid(),
			 opts->node ? opts->node : "");
	if (cleat_sys_truncate(fd, 0, LOCK, err) || cleat_sys_write(fd, text, (size_t)n, LOCK, err))
		return err->code;
	*fd_out = cleat_steal_fd(&fd);
	return CLEAT_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum cleat_code check_marker(const struct cleat_pool_options *opts, const char *backend,
				    const struct marker *m, struct cleat_error *err)
{
	if (opts->expect_uuid && strcmp(opts->expect_uuid, m->id.uuid) != 0)
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "holds pool %s, not %s as before", m->id.uuid,
				       opts->expect_uuid);
	if (strcmp(backend, m->backend) != 0)
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "holds a pool of backend '%s', not '%s'",
				       m->backend, backend);
	return CLEAT_OK;
}

/* Reads the marker, or makes sure that one may be written. */
static enum cleat_code look_for_marker(const struct cleat_pool_options *opts, const char *backend,
				       int root_fd, struct marker *out, bool *found_out,
				       struct cleat_error *err)
{
	struct cleat_error inner = CLEAT_ERROR_INIT;
	enum cleat_code code = read_marker(root_fd, out, &inner);

	*found_out = code == CLEAT_OK;
	if (code == CLEAT_OK)
		return check_marker(opts, backend, out, err);
	if (code == CLEAT_NOT_FOUND)
		return may_initialise(opts, root_fd, err);
	*err = inner;
	return code;
}

static enum cleat_code open_rooms(struct cleat_pooldir *dir, struct cleat_error *err)
{
	const int flags = O_RDONLY | O_DIRECTORY;

	if (cleat_sys_open_at(dir->root_fd, "volumes", flags, 0, &dir->volumes_fd, err))
		return err->code;
	if (dir->id.read_only)
		return CLEAT_OK;
	if (cleat_sys_mkdir_at(dir->root_fd, "new", 0700, true, err) ||
	    cleat_sys_mkdir_at(dir->root_fd, "trash", 0700, true, err) ||
	    cleat_sys_open_at(dir->root_fd, "new", flags, 0, &dir->new_fd, err) ||
	    cleat_sys_open_at(dir->root_fd, "trash", flags, 0, &dir->trash_fd, err))
		return err->code;
	return CLEAT_OK;
}

static enum cleat_code open_at_path(const struct cleat_pool_options *opts, const char *backend,
				    struct cleat_pooldir *dir, struct cleat_error *err)
{
	struct marker m = { 0 };
	bool found = false;

	/* Looked at before the lock, so that no file is made in a directory that is not ours, and again under
	 * it. */
	if (look_for_marker(opts, backend, dir->root_fd, &m, &found, err) ||
	    take_lock(opts, dir->root_fd, &dir->lock_fd, err) ||
	    look_for_marker(opts, backend, dir->root_fd, &m, &found, err))
		return err->code;
	if (!found && initialise(opts, backend, dir->root_fd, &m, err))
		return err->code;
	dir->id = m.id;
	return open_rooms(dir, err);
}

static enum cleat_code find_path(const struct cleat_pool_options *opts, char **path_out, bool *own_out,
				 struct cleat_error *err)
{
	const char *path = cleat_kv_get(opts->config, "path");

	*own_out = !path;
	if (path)
		*path_out = strdup(path);
	else if (asprintf(path_out, "%s/pools/%s", opts->state_dir, opts->name) < 0)
		*path_out = NULL;
	return *path_out ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static void init(struct cleat_pooldir *dir)
{
	*dir = (struct cleat_pooldir){
		.root_fd = -1, .volumes_fd = -1, .new_fd = -1, .trash_fd = -1, .lock_fd = -1
	};
}

enum cleat_code cleat_pooldir_open_on(const struct cleat_pool_options *opts, const char *backend,
				      cleat_pooldir_fits_fn fits, void *fits_arg, struct cleat_pooldir *out,
				      struct cleat_error *err)
{
	__attribute__((cleanup(cleat_pooldir_close))) struct cleat_pooldir dir;
	struct cleat_error own = CLEAT_ERROR_INIT;
	bool is_default = false;

	if (!err)
		err = &own;
	init(&dir);
	if (find_path(opts, &dir.path, &is_default, err))
		return err->code;
	/* Only a pool that was never seen gets its directory made: a lost one must not come back empty. */
	if (is_default && !opts->expect_uuid && cleat_sys_mkdir_path(dir.path, 0700, err))
		return offline(err, dir.path);
	if (cleat_sys_open_root(dir.path, &dir.root_fd, err))
		return offline(err, dir.path);
	if (fits && fits(dir.root_fd, dir.path, fits_arg, err))
		return err->code;
	if (open_at_path(opts, backend, &dir, err))
		return offline(err, dir.path);
	*out = dir;
	init(&dir);
	return CLEAT_OK;
}

enum cleat_code cleat_pooldir_open(const struct cleat_pool_options *opts, const char *backend,
				   struct cleat_pooldir *out, struct cleat_error *err)
{
	return cleat_pooldir_open_on(opts, backend, NULL, NULL, out, err);
}

void cleat_pooldir_close(struct cleat_pooldir *dir)
{
	int *fds[] = { &dir->volumes_fd, &dir->new_fd, &dir->trash_fd, &dir->root_fd, &dir->lock_fd };

	for (size_t i = 0; i < CLEAT_COUNT(fds); i++) {
		cleat_cleanup_close(fds[i]);
		*fds[i] = -1;
	}
	free(dir->path);
	dir->path = NULL;
}

enum cleat_code cleat_pooldir_move_data(struct cleat_pooldir *dir, int data_fd, struct cleat_error *err)
{
	__attribute__((cleanup(cleat_pooldir_close))) struct cleat_pooldir data;
	struct cleat_error own = CLEAT_ERROR_INIT;

	if (!err)
		err = &own;
	init(&data);
	data.id = dir->id;
	if (!dir->id.read_only && cleat_sys_mkdir_at(data_fd, "volumes", 0700, true, err))
		return err->code;
	if (cleat_sys_open_at(data_fd, ".", O_RDONLY | O_DIRECTORY, 0, &data.root_fd, err) ||
	    open_rooms(&data, err))
		return err->code;
	int *from[] = { &data.volumes_fd, &data.new_fd, &data.trash_fd };
	int *to[] = { &dir->volumes_fd, &dir->new_fd, &dir->trash_fd };
	for (size_t i = 0; i < CLEAT_COUNT(from); i++) {
		cleat_cleanup_close(to[i]);
		*to[i] = cleat_steal_fd(from[i]);
	}
	return CLEAT_OK;
}

enum cleat_code cleat_pooldir_probe(const struct cleat_pooldir *dir, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct marker m;
	struct stat held, there;

	if (!err)
		err = &own;
	if (cleat_sys_open_root(dir->path, &fd, err))
		return offline(err, dir->path);
	if (read_marker(fd, &m, err)) {
		if (err->code == CLEAT_NOT_FOUND)
			cleat_error_set(err, CLEAT_NOT_FOUND, "the pool's marker is gone");
		return offline(err, dir->path);
	}
	if (strcmp(m.id.uuid, dir->id.uuid) != 0) {
		cleat_error_set(err, CLEAT_UNAVAILABLE, "holds pool %s now, not %s", m.id.uuid, dir->id.uuid);
		return offline(err, dir->path);
	}
	/* A copy, or the same pool mounted anew, is not what our descriptors refer to. */
	if (fstat(fd, &there) || fstat(dir->root_fd, &held) || there.st_dev != held.st_dev ||
	    there.st_ino != held.st_ino) {
		cleat_error_set(err, CLEAT_UNAVAILABLE, "is another directory than the one that was opened");
		return offline(err, dir->path);
	}
	return CLEAT_OK;
}
