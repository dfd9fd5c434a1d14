/* jobconfig.c - see jobconfig.h. */
#include "driver/jobconfig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/caps.h"
#include "util/kv.h"
#include "util/mem.h"
#include "util/size.h"

#define ALLOC_ID_BYTES 37 /* a dash and a UUID, which the name of an allocation's volume gets */
#define PATH_MAX_BYTES 1024

#define AT(field) offsetof(struct driver_volume_config, field)
static const struct driver_key volume_keys[] = {
	{ "name", DRIVER_KEY_TEXT, true, NULL, AT(name), 0, 0, NULL, 0,
	  "Name of the volume in its pool and in the job's namespace." },
	{ "destination", DRIVER_KEY_TEXT, true, NULL, AT(destination), 0, 0, NULL, 0,
	  "Absolute path in the task where it is mounted." },
	{ "pool", DRIVER_KEY_TEXT, false, NULL, AT(pool), 0, 0, NULL, 0,
	  "Pool; without it the plugin's default_pool." },
	{ "create", DRIVER_KEY_BOOL, false, "false", AT(create), 0, 0, NULL, 0,
	  "Whether the volume is created when it does not exist. Otherwise a missing volume is an error." },
	{ "size", DRIVER_KEY_TEXT, false, NULL, AT(size), 0, 0, NULL, 0,
	  "Size when it is created, as 10GiB; an existing volume that is smaller is grown to it, one that is "
	  "larger stays as it is." },
	{ "fs", DRIVER_KEY_TEXT, false, NULL, AT(fs), 0, 0, NULL, 0,
	  "File system of a volume that is created; one that exists must have it." },
	{ "read_only", DRIVER_KEY_BOOL, false, "false", AT(read_only), 0, 0, NULL, 0,
	  "Whether the task may only read." },
	{ "access_mode", DRIVER_KEY_TEXT, false, "\"single-node-single-writer\"", AT(access_mode), 0, 0, NULL,
	  0,
	  "single-node-single-writer (nobody else may use it meanwhile), single-node-writer, "
	  "single-node-reader-only, "
	  "single-node-multi-writer, multi-node-reader-only, multi-node-single-writer or "
	  "multi-node-multi-writer." },
	{ "options", DRIVER_KEY_MAP, false, NULL, AT(options), 0, 0, NULL, 0,
	  "Parameters of a volume that is created: uid, gid and mode of its root, and what backend and file "
	  "system take." },
	{ "mount_options", DRIVER_KEY_MAP, false, NULL, AT(mount_options), 0, 0, NULL, 0,
	  "Mount options that the file system takes; one that needs no value has \"\"." },
	{ "lifetime", DRIVER_KEY_TEXT, false, "\"volume\"", AT(lifetime), 0, 0, NULL, 0,
	  "volume: it stays until somebody deletes it. allocation: it is created for this allocation, its "
	  "name is followed by the "
	  "allocation's id, and it is deleted once the allocation's directory is gone." },
	{ NULL, DRIVER_KEY_TEXT, false, NULL, 0, 0, 0, NULL, 0, NULL },
};
#undef AT

#define AT(field) offsetof(struct driver_job_config, field)
const struct driver_key driver_job_keys[] = {
	{ "command", DRIVER_KEY_TEXT, true, NULL, AT(command), 0, 0, NULL, 0,
	  "The program, a path in the task or a name to be looked up in PATH." },
	{ "args", DRIVER_KEY_LIST, false, NULL, AT(args), 0, 0, NULL, 0, "Its arguments." },
	{ "work_dir", DRIVER_KEY_TEXT, false, NULL, AT(work_dir), 0, 0, NULL, 0,
	  "Absolute path of its working directory; / without." },
	{ "rootfs", DRIVER_KEY_TEXT, false, NULL, AT(rootfs), 0, 0, NULL, 0,
	  "Directory that becomes the task's root. Without it the host's system directories are seen, "
	  "read-only, with a private /tmp and /dev." },
	{ "hostname", DRIVER_KEY_TEXT, false, NULL, AT(hostname), 0, 0, NULL, 0, "Host name in the task." },
	{ "cap_add", DRIVER_KEY_LIST, false, NULL, AT(cap_add), 0, 0, NULL, 0,
	  "Capabilities beyond the default set." },
	{ "cap_drop", DRIVER_KEY_LIST, false, NULL, AT(cap_drop), 0, 0, NULL, 0,
	  "Capabilities to do without. [\"all\"] leaves nothing but what cap_add names." },
	{ "no_new_privileges", DRIVER_KEY_BOOL, false, "true", AT(no_new_privileges), 0, 0, NULL, 0,
	  "Whether programs with set-user-id bits and file capabilities give nothing." },
	{ "seccomp", DRIVER_KEY_TEXT, false, "\"default\"", AT(seccomp), 0, 0, NULL, 0,
	  "default or unconfined, which the plugin must allow." },
	{ "ulimit", DRIVER_KEY_MAP, false, NULL, AT(ulimit), 0, 0, NULL, 0,
	  "Resource limits by name, as nofile = \"1024:4096\" (soft:hard) or one number for both." },
	{ "pids_limit", DRIVER_KEY_NUMBER, false, NULL, AT(pids_limit), 0, 4194304, NULL, 0,
	  "Most processes of the task; 0 is none." },
	{ "volume", DRIVER_KEY_BLOCKS, false, NULL, AT(volumes), 0, DRIVER_VOLUMES_MAX, volume_keys,
	  sizeof(struct driver_volume_config),
	  "A volume that is created when told to, mounted while the task runs, and released with it." },
	{ NULL, DRIVER_KEY_TEXT, false, NULL, 0, 0, 0, NULL, 0, NULL },
};

/* ---- checks ---- */

static enum cleat_code check_path(const char *key, const char *path, struct cleat_error *err)
{
	if (!path)
		return CLEAT_OK;
	if (path[0] != '/' || strlen(path) > PATH_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: '%.200s' is no absolute path", key,
				       path);
	for (const char *p = path; *p; p += strcspn(p, "/")) {
		p += strspn(p, "/");
		if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "%s: '%.200s' must not contain '..'", key, path);
	}
	return CLEAT_OK;
}

static const struct {
	const char *word;
	enum cleat_access_mode mode;
} modes[] = {
	{ "single-node-writer", CLEAT_MODE_SINGLE_NODE_WRITER },
	{ "single-node-reader-only", CLEAT_MODE_SINGLE_NODE_READER_ONLY },
	{ "multi-node-reader-only", CLEAT_MODE_MULTI_NODE_READER_ONLY },
	{ "multi-node-single-writer", CLEAT_MODE_MULTI_NODE_SINGLE_WRITER },
	{ "multi-node-multi-writer", CLEAT_MODE_MULTI_NODE_MULTI_WRITER },
	{ "single-node-single-writer", CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER },
	{ "single-node-multi-writer", CLEAT_MODE_SINGLE_NODE_MULTI_WRITER },
};

static enum cleat_code read_mode(struct driver_volume_config *v, struct cleat_error *err)
{
	v->mode = CLEAT_MODE_SINGLE_NODE_SINGLE_WRITER;
	if (!v->access_mode)
		return CLEAT_OK;
	for (size_t i = 0; i < CLEAT_COUNT(modes); i++)
		if (strcmp(v->access_mode, modes[i].word) == 0) {
			v->mode = modes[i].mode;
			return CLEAT_OK;
		}
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
			       "access_mode: '%.64s' is no access mode (as single-node-writer)",
			       v->access_mode);
}

static enum cleat_code read_lifetime(struct driver_volume_config *v, struct cleat_error *err)
{
	const char *word = v->lifetime ? v->lifetime : "volume";

	v->with_allocation = strcmp(word, "allocation") == 0;
	if (!v->with_allocation && strcmp(word, "volume") != 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "lifetime: '%.64s' is neither volume nor allocation", word);
	return CLEAT_OK;
}

static enum cleat_code check_name(const struct driver_volume_config *v, struct cleat_error *err)
{
	size_t most = v->with_allocation ? CLEAT_NAME_MAX_BYTES - ALLOC_ID_BYTES : CLEAT_NAME_MAX_BYTES;

	if (!*v->name || strlen(v->name) > most)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "name: '%.64s' is not 1 to %zu bytes long", v->name, most);
	if (strchr(v->name, '/'))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "name: '%.64s' must not contain '/'",
				       v->name);
	if (v->pool && (!*v->pool || strlen(v->pool) > CLEAT_POOL_NAME_MAX_BYTES || strchr(v->pool, '/')))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "pool: '%.64s' is no name of a pool",
				       v->pool);
	return CLEAT_OK;
}

static enum cleat_code read_size(struct driver_volume_config *v, struct cleat_error *err)
{
	if (!v->size)
		return CLEAT_OK;
	if (cleat_size_parse(v->size, &v->size_bytes, err))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "size: '%.64s' is no size (as 10GiB)",
				       v->size);
	if (v->size_bytes == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "size: '%.64s' is nothing", v->size);
	return CLEAT_OK;
}

static enum cleat_code check_volume(struct driver_volume_config *v, struct cleat_error *err)
{
	if (read_mode(v, err) || read_lifetime(v, err) || check_name(v, err) || read_size(v, err) ||
	    check_path("destination", v->destination, err))
		return err->code;
	if (strspn(v->destination, "/.") == strlen(v->destination))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "destination: '%.64s' is the root",
				       v->destination);
	return CLEAT_OK;
}

/* Whether two paths are the same but for repeated and trailing slashes. */
static bool same_path(const char *a, const char *b)
{
	for (;;) {
		a += strspn(a, "/");
		b += strspn(b, "/");
		size_t na = strcspn(a, "/"), nb = strcspn(b, "/");
		if (na != nb || memcmp(a, b, na) != 0)
			return false;
		if (na == 0)
			return true;
		a += na;
		b += nb;
	}
}

static enum cleat_code check_volumes(struct driver_job_config *c, struct cleat_error *err)
{
	for (size_t i = 0; i < c->volumes.count; i++) {
		struct driver_volume_config *v = driver_job_volume(c, i);

		if (check_volume(v, err))
			return cleat_error_wrap(err, "config: volume %zu ('%.64s')", i + 1, v->name);
		for (size_t j = 0; j < i; j++)
			if (same_path(v->destination, driver_job_volume(c, j)->destination))
				return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
						       "config: volume %zu ('%.64s'): destination: '%.200s' "
						       "is taken by volume %zu",
						       i + 1, v->name, v->destination, j + 1);
	}
	return CLEAT_OK;
}

static enum cleat_code check_caps(const char *key, char **list, struct cleat_error *err)
{
	for (char **p = list; p && *p; p++)
		if (!driver_cap_known(*p))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "config: %s: '%.64s' is no capability", key, *p);
	return CLEAT_OK;
}

static enum cleat_code check(struct driver_job_config *c, struct cleat_error *err)
{
	if (!*c->command)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "config: command: is empty");
	if (check_path("config: rootfs", c->rootfs, err) ||
	    check_path("config: work_dir", c->work_dir, err) || check_caps("cap_add", c->cap_add, err) ||
	    check_caps("cap_drop", c->cap_drop, err))
		return err->code;
	if (c->hostname && (!*c->hostname || strlen(c->hostname) > 63))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "config: hostname: '%.80s' is not 1 to 63 bytes long", c->hostname);
	if (c->seccomp && strcmp(c->seccomp, "default") != 0 && strcmp(c->seccomp, "unconfined") != 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "config: seccomp: '%.64s' is neither default nor unconfined",
				       c->seccomp);
	return check_volumes(c, err);
}

enum cleat_code driver_job_read(const uint8_t *bytes, size_t n, struct driver_job_config *out,
				struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct driver_job_config c = { .pids_limit = -1, .no_new_privileges = true };

	err = err ? err : &own;
	if (driver_keys_decode(driver_job_keys, bytes, n, &c, err))
		return err->code;
	if (check(&c, err)) {
		driver_job_done(&c);
		return err->code;
	}
	*out = c;
	return CLEAT_OK;
}

void driver_job_done(struct driver_job_config *c)
{
	driver_keys_done(driver_job_keys, c);
}
