/* ebs.c - the ebs backend's table, its parameters, and opening and closing a pool. */
#include "backends/ebs/ebs.h"

#include <stdio.h>
#include <string.h>

#include "util/ids.h"
#include "util/text.h"

static const char *const fs_choices[] = { "ext4", "xfs", "btrfs", NULL };
static const char *const types[] = { "gp3", "gp2", "io1", "io2", "st1", "sc1", "standard", NULL };
static const char *const preempt_choices[] = { "never", "stopped", "always", NULL };

#define END                                                                                                  \
	{                                                                                                    \
		NULL, CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, NULL, false                                  \
	}

const struct cleat_param ebs_pool_params[] = {
	{ "pool", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0,
	  "Name of the pool at EC2 (tag cleat:pool), the same on all nodes that share it; the pool's own "
	  "name without it.",
	  false },
	{ "region", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, "AWS region; that of this instance without it.",
	  false },
	{ "zone", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0,
	  "Availability zone of new volumes; that of this instance without it.", false },
	{ "instance", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0,
	  "Id of this instance; asked of the metadata service without it.  none: this node is no instance "
	  "and attaches nothing.",
	  false },
	{ "access_key_id", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0,
	  "Key id to sign with.  Without one: AWS_ACCESS_KEY_ID of the environment, a credentials file, or "
	  "the role of the instance.",
	  true },
	{ "secret_access_key", CLEAT_PARAM_SECRET, NULL, NULL, NULL, 0, 0, "Where the secret of that key is.",
	  true },
	{ "session_token", CLEAT_PARAM_SECRET, NULL, NULL, NULL, 0, 0,
	  "Where the session token of a temporary key is.", true },
	{ "credentials_file", CLEAT_PARAM_PATH, NULL, NULL, NULL, 0, 0,
	  "AWS credentials file (INI), which others must not be able to read.", true },
	{ "profile", CLEAT_PARAM_TEXT, NULL, "default", NULL, 0, 0, "Section of that file.", true },
	{ "type", CLEAT_PARAM_CHOICE, NULL, "gp3", types, 0, 0,
	  "Volume type of volumes that do not name one.", true },
	{ "encrypted", CLEAT_PARAM_BOOL, NULL, "false", NULL, 0, 0, "Encrypt new volumes.", true },
	{ "kms_key", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0,
	  "KMS key that encrypts new volumes; the account's default without it.", true },
	{ "tags", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0,
	  "Further tags of all volumes and snapshots: key=value,key=value.", true },
	{ "fs", CLEAT_PARAM_CHOICE, NULL, "ext4", fs_choices, 0, 0,
	  "File system of volumes that do not name one.", false },
	{ "default_size", CLEAT_PARAM_SIZE, "bytes", "8GiB", NULL, EBS_GIB, 0,
	  "Size of volumes that do not name one.", false },
	{ "attach_limit", CLEAT_PARAM_UINT, "volumes", "0", NULL, 0, 512,
	  "Most volumes attached to an instance, its root among them; 0: what its type allows.", true },
	{ "preempt", CLEAT_PARAM_CHOICE, NULL, "never", preempt_choices, 0, 0,
	  "Whether a volume that is attached to another instance may be taken away from it by force: never; "
	  "stopped, when that instance is "
	  "stopped or terminated; always.",
	  true },
	{ "endpoint", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0,
	  "URL of the EC2 API; AWS's own for the region without it.", false },
	{ "metadata", CLEAT_PARAM_TEXT, NULL, "http://169.254.169.254", NULL, 0, 0,
	  "URL of the instance metadata service.", false },
	{ "ca_file", CLEAT_PARAM_PATH, NULL, NULL, NULL, 0, 0,
	  "PEM file of the authorities to believe instead of the system's.", false },
	{ "calls_per_second", CLEAT_PARAM_UINT, "calls", "20", NULL, 0, 1000,
	  "Most calls to EC2 over time; fewer by itself when EC2 asks for that.  0: no limit.", true },
	{ "poll", CLEAT_PARAM_UINT, "ms", "500", NULL, 10, 60000,
	  "First pause before EC2 is asked whether something that takes time is done; longer from time to "
	  "time.",
	  true },
	{ "dev", CLEAT_PARAM_PATH, NULL, "/dev", NULL, 0, 0, "Where device nodes are.", false },
	{ "sys", CLEAT_PARAM_PATH, NULL, "/sys", NULL, 0, 0, "Where sysfs is mounted.", false },
	END,
};

const struct cleat_param ebs_volume_params[] = {
	{ "fs", CLEAT_PARAM_CHOICE, NULL, NULL, fs_choices, 0, 0,
	  "File system of the volume; the pool's without it.", false },
	{ "type", CLEAT_PARAM_CHOICE, NULL, NULL, types, 0, 0, "Volume type; the pool's without it.", true },
	{ "iops", CLEAT_PARAM_UINT, "operations a second", NULL, NULL, 100, 256000,
	  "Provisioned operations (gp3, io1, io2).", true },
	{ "throughput", CLEAT_PARAM_UINT, "MiB a second", NULL, NULL, 125, 2000,
	  "Provisioned throughput (gp3).", true },
	{ "encrypted", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0, "Encrypt the volume.", false },
	{ "kms_key", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, "KMS key that encrypts it.", false },
	{ "zone", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, "Availability zone; the pool's without it.",
	  false },
	{ "snapshot", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0,
	  "Id of an EBS snapshot, also one that is not of this pool, to make the volume from; it is never "
	  "formatted.",
	  false },
	{ "tags", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0,
	  "Further tags of the volume: key=value,key=value.", true },
	{ "preempt", CLEAT_PARAM_CHOICE, NULL, NULL, preempt_choices, 0, 0,
	  "As of the pool, for this volume: never, stopped or always.", true },
	END,
};

/* ---- opening ---- */

static void close_pool(void *arg)
{
	struct ebs_pool *pool = arg;

	if (!pool)
		return;
	cleat_http_free(pool->http);
	ebs_metadata_free(pool->metadata);
	ebs_credentials_done(&pool->credentials);
	cleat_pending_free(&pool->pending);
	ebs_things_done(&pool->listed);
	cleat_kv_done(&pool->config_copy);
	pthread_mutex_destroy(&pool->lock);
	pthread_mutex_destroy(&pool->look_lock);
	pthread_cond_destroy(&pool->looked);
	free(pool->endpoint);
	free(pool->node);
	free(pool->far_name);
	free(pool);
}

static void close_pool_cleanup(struct ebs_pool **pool)
{
	close_pool(*pool);
}

static struct ebs_pool *new_pool(void)
{
	struct ebs_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_mutex_init(&pool->look_lock, NULL);
	pthread_cond_init(&pool->looked, NULL);
	ebs_credentials_init(&pool->credentials);
	cleat_pending_init(&pool->pending);
	pool->config = &pool->config_copy;
	return pool;
}

static const char *config(const struct ebs_pool *pool, const char *key)
{
	const char *text = cleat_param_text(ebs_pool_params, pool->config, key);

	return text ? text : "";
}

/* A word of the configuration, or what the metadata service says. */
static enum cleat_code take_word(struct ebs_pool *pool, const char *key, const char *path, char *out,
				 size_t room, struct cleat_error *err)
{
	const char *text = config(pool, key);

	if (!*text)
		return ebs_metadata_word(pool->metadata, path, out, room, err);
	if (strlen(text) >= room || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(text))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is no word for '%s'", text, key);
	snprintf(out, room, "%s", text);
	return CLEAT_OK;
}

/* Where this node is.  Without a metadata service everything must be configured. */
static enum cleat_code place(struct ebs_pool *pool, struct cleat_error *err)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT; /* the limit of the type is then asked of EC2 */

	if (take_word(pool, "region", "meta-data/placement/region", pool->region, sizeof(pool->region),
		      err) ||
	    take_word(pool, "instance", "meta-data/instance-id", pool->instance, sizeof(pool->instance), err))
		return cleat_error_wrap(err, "without 'region' and 'instance' in the configuration");
	if (strcmp(pool->instance, "none") == 0) {
		pool->instance[0] = '\0';
		snprintf(pool->zone, sizeof(pool->zone), "%.39s", config(pool, "zone"));
		return CLEAT_OK;
	}
	if (!ebs_is_id(pool->instance, "i-"))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is no instance id", pool->instance);
	if (!*config(pool, "instance"))
		(void)!ebs_metadata_word(pool->metadata, "meta-data/instance-type", pool->instance_type,
					 sizeof(pool->instance_type), &ignored);
	return take_word(pool, "zone", "meta-data/placement/availability-zone", pool->zone,
			 sizeof(pool->zone), err);
}

static enum cleat_code set_endpoint(struct ebs_pool *pool, struct cleat_error *err)
{
	const char *url = config(pool, "endpoint");
	int n;

	if (*url)
		n = asprintf(&pool->endpoint, "%s%s", url, url[strlen(url) - 1] == '/' ? "" : "/");
	else
		n = asprintf(&pool->endpoint, "https://ec2.%s.amazonaws.com%s/", pool->region,
			     strncmp(pool->region, "cn-", 3) == 0 ? ".cn" : "");
	if (n >= 0)
		return CLEAT_OK;
	pool->endpoint = NULL;
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

/* EC2 has no object that a pool would be: its identity is its name in its region, so every node comes to the
 * same. */
static enum cleat_code set_identity(struct ebs_pool *pool, const struct cleat_pool_options *opts,
				    struct cleat_error *err)
{
	const char *name = *config(pool, "pool") ? config(pool, "pool") : opts->name;
	uint64_t a = cleat_id_hash("cleat ebs", 10, 0), b;

	if (strlen(name) > 31 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(name) ||
	    !*name)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "parameter 'pool': '%.60s': use 1 to 31 of a-z, 0-9 and '-'", name);
	a = cleat_id_hash(pool->region, strlen(pool->region) + 1, a);
	a = cleat_id_hash(name, strlen(name), a);
	b = cleat_id_hash(name, strlen(name), ~a);
	snprintf(pool->uuid, sizeof(pool->uuid), "%08x-%04x-8%03x-8%03x-%012llx", (unsigned)(a >> 32),
		 (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff, (unsigned)(b >> 52) & 0xfff,
		 (unsigned long long)(b & 0xffffffffffff));
	snprintf(pool->stored_name, sizeof(pool->stored_name), "%s", name);
	if (opts->expect_uuid && strcmp(opts->expect_uuid, pool->uuid) != 0)
		return cleat_error_set(err, CLEAT_UNAVAILABLE,
				       "pool '%s' was another one when it was last seen here: its region or "
				       "its name at EC2 has changed",
				       opts->name);
	return CLEAT_OK;
}

static void set_rules(struct ebs_pool *pool)
{
	const int64_t poll = (int64_t)cleat_param_number(ebs_pool_params, pool->config, "poll");

	pool->create_rule = (struct cleat_pending_rule){ poll, poll * 20, 300000, 150 };
	pool->attach_rule = (struct cleat_pending_rule){ poll, poll * 20, 300000, 150 };
	pool->modify_rule = (struct cleat_pending_rule){ poll, poll * 60, 4 * 3600000LL, 150 };
	pool->busy_rule = (struct cleat_pending_rule){ poll * 2, poll * 60, 300000, 200 };
}

static enum cleat_code new_client(struct ebs_pool *pool, struct cleat_error *err)
{
	const struct cleat_http_options opts = {
		.ca_file = cleat_kv_get(pool->config, "ca_file"),
		.rate_per_s = (double)cleat_param_number(ebs_pool_params, pool->config, "calls_per_second"),
		.burst = 40,
	};

	return cleat_http_new(&opts, &pool->http, err);
}

static enum cleat_code configure(struct ebs_pool *pool, const struct cleat_pool_options *opts,
				 struct cleat_error *err)
{
	if (cleat_kv_copy(opts->config, &pool->config_copy, err))
		return err->code;
	pool->node = strdup(opts->node);
	if (!pool->node)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	pool->roots = (struct cleat_disk_roots){ config(pool, "sys"), config(pool, "dev") };
	set_rules(pool);
	if (ebs_tags_check(config(pool, "tags"), err) ||
	    ebs_metadata_new(config(pool, "metadata"), &pool->metadata, err) || place(pool, err) ||
	    set_endpoint(pool, err) || set_identity(pool, opts, err))
		return err->code;
	return new_client(pool, err);
}

/* So that other nodes find this instance by the node's name; who may not do that names instances by their
 * ids. */
static void tag_instance(struct ebs_pool *pool)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT;

	if (*pool->instance)
		(void)!ebs_tag_set(pool, NULL, pool->instance, EBS_TAG_NODE, pool->node, &ignored);
}

static enum cleat_code open_pool(const struct cleat_pool_options *opts, void **pool_out,
				 struct cleat_pool_identity *id_out, struct cleat_error *err)
{
	__attribute__((cleanup(close_pool_cleanup))) struct ebs_pool *pool = new_pool();
	struct cleat_error own = CLEAT_ERROR_INIT;

	err = err ? err : &own;
	if (!pool)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (configure(pool, opts, err) || ebs_list(pool, err))
		return err->code;
	tag_instance(pool);
	*id_out = (struct cleat_pool_identity){ .format = 1, .shared = true };
	memcpy(id_out->uuid, pool->uuid, sizeof(id_out->uuid));
	memcpy(id_out->stored_name, pool->stored_name, sizeof(id_out->stored_name));
	*pool_out = cleat_steal(pool);
	return CLEAT_OK;
}

/* ---- looking ---- */

/* Nothing is asked while nothing happens; after a call that did not get through, one small one. */
static enum cleat_code probe(void *arg, struct cleat_error *err)
{
	struct ebs_pool *pool = arg;
	cleat_autobuf struct cleat_buf form = ebs_form("DescribeVolumes");

	pthread_mutex_lock(&pool->lock);
	const bool doubt = pool->doubt;
	pthread_mutex_unlock(&pool->lock);
	if (!doubt)
		return CLEAT_OK;
	cleat_http_form_add(&form, "MaxResults", "5");
	ebs_filter(&form, 1, "tag:" EBS_TAG_POOL, pool->stored_name);
	if (ebs_call(pool, NULL, &form, true, NULL, NULL, err))
		return cleat_error_set(err, CLEAT_UNAVAILABLE, "%s",
				       cleat_error_wrap(err, "EC2 is out of reach") ? err->msg : "");
	return CLEAT_OK;
}

static unsigned capabilities(void *arg)
{
	(void)arg;
	return CLEAT_CAN_MOUNT | CLEAT_CAN_BLOCK | CLEAT_CAN_ENFORCE_SIZE | CLEAT_CAN_SNAPSHOT |
	       CLEAT_CAN_CLONE | CLEAT_CAN_EXPAND | CLEAT_CAN_EXPAND_ONLINE | CLEAT_CAN_ADOPT |
	       CLEAT_CAN_ATTACH;
}

/* EC2 tells no such thing: what one volume can have. */
static enum cleat_code space(void *arg, struct cleat_pool_space *out, struct cleat_error *err)
{
	const uint64_t most = 16384 * EBS_GIB;

	(void)arg;
	(void)err;
	*out = (struct cleat_pool_space){ .total_bytes = most,
					  .available_bytes = most,
					  .max_volume_bytes = most,
					  .min_volume_bytes = EBS_GIB };
	return CLEAT_OK;
}

const struct cleat_backend cleat_backend_module = {
	.version = CLEAT_BACKEND_VERSION,
	.name = "ebs",
	.summary = "Amazon EBS volumes, attached to the instance that uses them",
	.pool_params = ebs_pool_params,
	.volume_params = ebs_volume_params,
	.uses_fs = true,
	.open = open_pool,
	.close = close_pool,
	.probe = probe,
	.capabilities = capabilities,
	.space = space,
	.scan = ebs_scan,
	.find = ebs_find,
	.recover = ebs_recover,
	.leftovers = ebs_leftovers,
	.create = ebs_create,
	.adopt = ebs_adopt,
	.update = ebs_update,
	.remove = ebs_remove,
	.expand = ebs_expand,
	.snapshot = ebs_snapshot,
	.attach = ebs_attach,
	.detach = ebs_detach,
	.evict = ebs_evict,
	.map = ebs_map,
	.unmap = ebs_unmap,
	.health = ebs_health,
	.find_mount = ebs_find_mount,
};
