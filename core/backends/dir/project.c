/* project.c - trees with a project id each: the file system's project quota limits them (ext4, xfs).
 *
 * An id is derived from the pool and the key, and taken only when the quota knows no use and no limit of it;
 * a tree that has it counts as a use at once, so neither our own volumes nor anybody else's projects can
 * collide, and no list of ids is kept.
 */
#include "backends/dir/dir_int.h"

#include "sys/file.h"
#include "sys/project.h"
#include "util/ids.h"
#include "util/kv.h"
#include "util/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROJECT_ID "project_id" /* attribute */
#define LOWEST_ID 0x10000000U	/* people number their projects from the other end */
#define ID_COUNT 0x60000000U
#define MAX_TRIES 1000
#define PROBE_LIMIT_BYTES (1024 * 1024)

/* ---- ids ------------------------------------------------------------------------------------- */

/* Keeps other threads from taking the id until our tree has it.  False: one of them has it in hand, or all
 * places are taken. */
static bool reserve(struct cleat_tree *t, uint32_t id)
{
	uint32_t *place = NULL;
	bool taken = false;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < CLEAT_COUNT(t->busy_projects); i++) {
		if (t->busy_projects[i] == id)
			taken = true;
		else if (t->busy_projects[i] == 0)
			place = &t->busy_projects[i];
	}
	if (!taken && place)
		*place = id;
	pthread_mutex_unlock(&t->lock);
	return !taken && place;
}

static void release(struct cleat_tree *t, uint32_t id)
{
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < CLEAT_COUNT(t->busy_projects); i++)
		if (t->busy_projects[i] == id)
			t->busy_projects[i] = 0;
	pthread_mutex_unlock(&t->lock);
}

static bool is_free(const struct cleat_sys_project_quota *q)
{
	return q->used_bytes == 0 && q->used_inodes == 0 && q->limit_bytes == 0 && q->limit_inodes == 0;
}

/* Reserves a free id for the key. */
static enum cleat_code choose(struct cleat_tree *t, const char *key, uint32_t *id_out,
			      struct cleat_error *err)
{
	uint64_t hash =
		cleat_id_hash(key, strlen(key), cleat_id_hash(t->dir.id.uuid, sizeof(t->dir.id.uuid), 0));
	struct cleat_sys_project_quota quota;

	for (unsigned i = 0; i < MAX_TRIES; i++, hash = cleat_id_hash(&i, sizeof(i), hash)) {
		uint32_t id = LOWEST_ID + (uint32_t)(hash % ID_COUNT);
		if (!reserve(t, id))
			continue;
		enum cleat_code code =
			cleat_sys_project_quota(t->dir.root_fd, t->place.source, id, &quota, err);
		if (!code && is_free(&quota)) {
			*id_out = id;
			return CLEAT_OK;
		}
		release(t, id);
		if (code)
			return code;
	}
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no free project id was found in %d tries",
			       MAX_TRIES);
}

/* Gives the open directory an id of its own. */
static enum cleat_code assign(struct cleat_tree *t, int data_fd, const char *key, uint32_t *id_out,
			      struct cleat_error *err)
{
	uint32_t id = 0;

	if (choose(t, key, &id, err))
		return err->code;
	enum cleat_code code = cleat_sys_project_set(data_fd, id, key, err);
	release(t, id);
	*id_out = id;
	return code;
}

static uint32_t recorded_id(const struct cleat_record *rec)
{
	const char *text = cleat_kv_get(&rec->attributes, PROJECT_ID);
	unsigned long id = text ? strtoul(text, NULL, 10) : 0;

	return id >= LOWEST_ID && id < LOWEST_ID + ID_COUNT ? (uint32_t)id : 0;
}

/* ---- the medium ------------------------------------------------------------------------------ */

static enum cleat_code make(struct cleat_tree *t, int attempt_fd, struct cleat_record *rec,
			    struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	char text[16];
	uint32_t id = 0;

	if (cleat_dir_make(t, attempt_fd, rec, err) || cleat_tree_open_made(attempt_fd, &fd, err) ||
	    assign(t, fd, rec->key, &id, err))
		return err->code;
	snprintf(text, sizeof(text), "%u", id);
	if (cleat_kv_set(&rec->attributes, PROJECT_ID, text, err))
		return err->code;
	if (rec->capacity_bytes == 0)
		return CLEAT_OK;
	return cleat_sys_project_limit(fd, t->place.source, id, rec->capacity_bytes, err);
}

static enum cleat_code copy(struct cleat_tree *t, struct cleat_op *op, int source_fd, bool in_use,
			    int attempt_fd, struct cleat_record *rec, struct cleat_error *err)
{
	enum cleat_code code = make(t, attempt_fd, rec, err);

	return code ? code : cleat_dir_copy_into(op, source_fd, in_use, attempt_fd, rec, err);
}

/* Adopted directories have files of other projects, or of none, in them: they get no id and no limit. */
static bool can_limit(const struct cleat_tree *t, int data_fd, const struct cleat_record *rec)
{
	(void)t;
	(void)data_fd;
	return recorded_id(rec) != 0;
}

static enum cleat_code check_id(int data_fd, const struct cleat_record *rec, uint32_t *id_out,
				struct cleat_error *err)
{
	uint32_t id = 0;

	if (cleat_sys_project_get(data_fd, &id, err))
		return err->code;
	*id_out = recorded_id(rec);
	if (id == 0 || id != *id_out)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'%s' should have project id %u and has %u", rec->name, *id_out, id);
	return CLEAT_OK;
}

static enum cleat_code limit(struct cleat_tree *t, int data_fd, const struct cleat_record *rec,
			     uint64_t bytes, struct cleat_error *err)
{
	struct cleat_sys_project_quota quota;
	uint32_t id = 0;

	if (check_id(data_fd, rec, &id, err) ||
	    cleat_sys_project_quota(data_fd, t->place.source, id, &quota, err))
		return err->code;
	if (quota.limit_bytes == bytes)
		return CLEAT_OK;
	return cleat_sys_project_limit(data_fd, t->place.source, id, bytes, err);
}

static enum cleat_code used(struct cleat_tree *t, int data_fd, const struct cleat_record *rec,
			    uint64_t *used_out, struct cleat_error *err)
{
	struct cleat_sys_project_quota quota;
	uint32_t id = 0;

	if (recorded_id(rec) == 0)
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED,
				       "'%s' was adopted: nothing counts what it uses", rec->name);
	if (check_id(data_fd, rec, &id, err) ||
	    cleat_sys_project_quota(data_fd, t->place.source, id, &quota, err))
		return err->code;
	*used_out = quota.used_bytes;
	return CLEAT_OK;
}

/* The limit goes before the data: as long as there is data its id is found on it, also after having been cut
 * off. */
static enum cleat_code clear_limit(struct cleat_tree *t, int parent_fd, const char *name,
				   struct cleat_error *err)
{
	cleat_autoclose int entry_fd = -1, fd = -1;
	uint32_t id = 0;

	if (cleat_sys_open_at(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &entry_fd, NULL) ||
	    cleat_tree_open_made(entry_fd, &fd, NULL))
		return CLEAT_OK; /* a file, or without data */
	if (cleat_sys_project_get(fd, &id, err))
		return err->code;
	if (id < LOWEST_ID || id >= LOWEST_ID + ID_COUNT)
		return CLEAT_OK; /* none of ours */
	return cleat_sys_project_limit(fd, t->place.source, id, 0, err);
}

static enum cleat_code remove_entry(struct cleat_tree *t, int parent_fd, const char *name,
				    struct cleat_error *err)
{
	enum cleat_code code = clear_limit(t, parent_fd, name, err);

	return code ? code : cleat_sys_remove_tree(parent_fd, name, err);
}

const struct cleat_tree_medium cleat_dir_project = {
	.name = "directories with project quota",
	.capabilities = 0,
	.make = make,
	.copy = copy,
	.can_limit = can_limit,
	.limit = limit,
	.used = used,
	.remove = remove_entry,
};

/* ---- trying it ------------------------------------------------------------------------------- */

/* True when a file in the directory cannot grow past the limit.  (ext4 lets a process with CAP_SYS_RESOURCE
 * pass.) */
static bool write_is_stopped(int dir_fd)
{
	cleat_autoclose int fd = -1;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (cleat_sys_open_at(dir_fd, "fill", O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, &err))
		return false;
	return cleat_sys_allocate(fd, 4 * PROBE_LIMIT_BYTES, "fill", &err) == CLEAT_RESOURCE_EXHAUSTED;
}

static bool limit_is_shown(int dir_fd)
{
	struct cleat_sys_space space;

	return cleat_sys_space(dir_fd, "probe", &space, NULL) == CLEAT_OK &&
	       space.total_bytes == PROBE_LIMIT_BYTES;
}

static enum cleat_code try_limit(struct cleat_tree *t, int attempt_fd, struct cleat_error *err)
{
	cleat_autorecord struct cleat_record *rec = cleat_record_new(CLEAT_KIND_VOLUME);
	cleat_autoclose int fd = -1;

	if (!rec || cleat_record_set(&rec->key, "probe", NULL))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	rec->capacity_bytes = PROBE_LIMIT_BYTES;
	if (make(t, attempt_fd, rec, err) || cleat_tree_open_made(attempt_fd, &fd, err))
		return err->code;
	if (limit_is_shown(fd) || write_is_stopped(fd))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "a project quota can be set, but it limits nothing");
}

bool cleat_dir_project_works(struct cleat_tree *t, struct cleat_error *err)
{
	cleat_autofree char *attempt = NULL;
	cleat_autoclose int fd = -1;
	struct cleat_error ignored = CLEAT_ERROR_INIT;

	if (cleat_pooldir_begin(&t->dir, "probe", &attempt, &fd, err))
		return false;
	enum cleat_code code = try_limit(t, fd, err);
	if (remove_entry(t, t->dir.new_fd, attempt,
			 &ignored)) /* no projects at all: just the directory, then */
		cleat_pooldir_abandon(&t->dir, attempt);
	return code == CLEAT_OK;
}
