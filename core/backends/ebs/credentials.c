/* credentials.c - who signs: the pool's own key, the environment's, that of a credentials file, or the role
 * of the instance; the first that is there. */
#include "backends/ebs/ebs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http/json.h"
#include "sys/file.h"
#include "sys/secret.h"
#include "util/clock.h"

#define REFRESH_BEFORE_MS (5 * 60 * 1000LL)
#define FILE_AGE_MS (5 * 60 * 1000LL) /* a file may be replaced at any time */
#define RETRY_MS (30 * 1000LL)	      /* a refresh that failed while the old key is still good */
#define NEVER_MS (INT64_MAX / 2)

void ebs_key_done(struct ebs_key *key)
{
	cleat_sys_secret_free(key->secret);
	cleat_sys_secret_free(key->token);
	*key = (struct ebs_key){ .secret = NULL };
}

void ebs_credentials_init(struct ebs_credentials *c)
{
	*c = (struct ebs_credentials){ .fetching = false };
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
}

void ebs_credentials_done(struct ebs_credentials *c)
{
	ebs_key_done(&c->key);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
}

static enum cleat_code no_memory(struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code key_set(struct ebs_key *key, const char *id, const char *secret, const char *token,
			       struct cleat_error *err)
{
	if (!*id || strlen(id) >= sizeof(key->id) || !*secret)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "the AWS access key is incomplete");
	snprintf(key->id, sizeof(key->id), "%s", id);
	key->secret = strdup(secret);
	key->token = token && *token ? strdup(token) : NULL;
	return key->secret && (key->token || !token || !*token) ? CLEAT_OK : no_memory(err);
}

/* ---- where they may come from ---- */

static enum cleat_code from_config(struct ebs_pool *pool, struct ebs_key *key, bool *found,
				   struct cleat_error *err)
{
	const char *id = cleat_kv_get(pool->config, "access_key_id");
	const char *secret_ref = cleat_kv_get(pool->config, "secret_access_key"),
		   *token_ref = cleat_kv_get(pool->config, "session_token");
	cleat_autosecret char *secret = NULL, *token = NULL;

	if (!id && !secret_ref)
		return CLEAT_OK;
	if (!id || !secret_ref)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'access_key_id' and 'secret_access_key' go together");
	if (cleat_sys_secret_read(secret_ref, &secret, err) ||
	    (token_ref && cleat_sys_secret_read(token_ref, &token, err)))
		return err->code;
	*found = true;
	return key_set(key, id, secret, token, err);
}

static enum cleat_code from_environment(struct ebs_key *key, bool *found, struct cleat_error *err)
{
	const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");

	if (!id || !secret)
		return CLEAT_OK;
	*found = true;
	return key_set(key, id, secret, getenv("AWS_SESSION_TOKEN"), err);
}

/* One "name = value" line of an INI file; false for others. */
static bool take_line(char *line, const char **name_out, char **value_out)
{
	char *equals = strchr(line, '=');

	line += strspn(line, " \t");
	if (!equals || *line == '#' || *line == ';')
		return false;
	char *value = equals + 1 + strspn(equals + 1, " \t");
	for (size_t n = strlen(value); n && strchr(" \t\r", value[n - 1]); n--)
		value[n - 1] = '\0';
	for (*equals = '\0'; equals > line && strchr(" \t", equals[-1]); equals--)
		equals[-1] = '\0';
	*name_out = line;
	*value_out = value;
	return true;
}

static bool is_section(const char *line, const char *profile)
{
	const size_t n = strlen(profile);

	return line[0] == '[' && strncmp(line + 1, profile, n) == 0 && line[1 + n] == ']';
}

static enum cleat_code parse_file(char *text, const char *profile, struct ebs_key *key, bool *found,
				  struct cleat_error *err)
{
	const char *id = "", *secret = "", *token = NULL, *name;
	char *rest = NULL, *value;
	bool in_section = false;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (line[0] == '[')
			in_section = is_section(line, profile);
		else if (!in_section || !take_line(line, &name, &value))
			continue;
		else if (strcmp(name, "aws_access_key_id") == 0)
			id = value;
		else if (strcmp(name, "aws_secret_access_key") == 0)
			secret = value;
		else if (strcmp(name, "aws_session_token") == 0)
			token = value;
	}
	if (!*id && !*secret)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "the credentials file has no profile '%s'", profile);
	*found = true;
	return key_set(key, id, secret, token, err);
}

static enum cleat_code from_file(struct ebs_pool *pool, struct ebs_key *key, bool *found,
				 struct cleat_error *err)
{
	const char *path = cleat_kv_get(pool->config, "credentials_file"),
		   *env = getenv("AWS_SHARED_CREDENTIALS_FILE");
	cleat_autosecret char *text = NULL;
	char ref[4096 + 8];

	path = path ? path : env;
	if (!path)
		return CLEAT_OK;
	snprintf(ref, sizeof(ref), "file:%.4096s", path);
	if (cleat_sys_secret_read(ref, &text, err))
		return err->code;
	return parse_file(text, cleat_param_text(ebs_pool_params, pool->config, "profile"), key, found, err);
}

/* "2026-01-02T03:04:05Z", milliseconds since 1970; 0 when it is not understood. */
static int64_t parse_time(const char *text)
{
	struct tm tm = { .tm_isdst = 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	return end && *end == 'Z' ? (int64_t)timegm(&tm) * 1000 : 0;
}

static enum cleat_code from_role(struct ebs_pool *pool, struct ebs_key *key, int64_t *expires_ms,
				 struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(16384);
	cleat_autojson json_t *json = NULL;
	char role[128], path[256];

	if (ebs_metadata_word(pool->metadata, "meta-data/iam/security-credentials/", role, sizeof(role), err))
		return cleat_error_wrap(err,
					"no AWS credentials are configured, and the instance has no role");
	snprintf(path, sizeof(path), "meta-data/iam/security-credentials/%s", role);
	if (ebs_metadata_get(pool->metadata, path, &text, err))
		return err->code;
	enum cleat_code code = cleat_json_parse(text.data, text.len, &json, err);
	explicit_bzero(text.data, text.len);
	if (code)
		return code;
	*expires_ms = parse_time(cleat_json_text(json, "Expiration"));
	return key_set(key, cleat_json_text(json, "AccessKeyId"), cleat_json_text(json, "SecretAccessKey"),
		       cleat_json_text(json, "Token"), err);
}

static enum cleat_code fetch(struct ebs_pool *pool, struct ebs_key *key, int64_t *expires_ms,
			     int64_t *refresh_ms, struct cleat_error *err)
{
	const int64_t now = cleat_time_wall_ms();
	bool found = false;

	*expires_ms = *refresh_ms = NEVER_MS;
	if (from_config(pool, key, &found, err))
		return err->code;
	if (!found && from_environment(key, &found, err))
		return err->code;
	if (found) {
		*refresh_ms = now + FILE_AGE_MS;
		return CLEAT_OK;
	}
	if (from_file(pool, key, &found, err))
		return err->code;
	if (found) {
		*refresh_ms = now + FILE_AGE_MS;
		return CLEAT_OK;
	}
	if (from_role(pool, key, expires_ms, err))
		return err->code;
	*refresh_ms =
		*expires_ms - REFRESH_BEFORE_MS > now ? *expires_ms - REFRESH_BEFORE_MS : now + RETRY_MS;
	return CLEAT_OK;
}

/* ---- the one in use ---- */

/* With the lock. */
static enum cleat_code copy_key(const struct ebs_credentials *c, struct ebs_key *out, struct cleat_error *err)
{
	*out = (struct ebs_key){ .secret = strdup(c->key.secret),
				 .token = c->key.token ? strdup(c->key.token) : NULL };
	memcpy(out->id, c->key.id, sizeof(out->id));
	if (out->secret && (out->token || !c->key.token))
		return CLEAT_OK;
	ebs_key_done(out);
	return no_memory(err);
}

/* With the lock, which is given up meanwhile.  Others go on with the old key as long as that is good. */
static enum cleat_code refresh(struct ebs_pool *pool, struct cleat_error *err)
{
	struct ebs_credentials *c = &pool->credentials;
	struct ebs_key key = { .secret = NULL };
	int64_t expires_ms = 0, refresh_ms = 0;

	c->fetching = true;
	pthread_mutex_unlock(&c->lock);
	enum cleat_code code = fetch(pool, &key, &expires_ms, &refresh_ms, err);
	pthread_mutex_lock(&c->lock);
	c->fetching = false;
	pthread_cond_broadcast(&c->changed);
	if (code) {
		ebs_key_done(&key);
		c->refresh_at_ms = cleat_time_wall_ms() + RETRY_MS;
		return code;
	}
	ebs_key_done(&c->key);
	c->key = key;
	c->refresh_at_ms = refresh_ms;
	c->expires_at_ms = expires_ms;
	return CLEAT_OK;
}

enum cleat_code ebs_credentials_get(struct ebs_pool *pool, struct ebs_key *out, struct cleat_error *err)
{
	struct ebs_credentials *c = &pool->credentials;
	enum cleat_code code = CLEAT_OK;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		const int64_t now = cleat_time_wall_ms();
		const bool good = c->key.secret && now < c->expires_at_ms;
		struct cleat_error own = CLEAT_ERROR_INIT;
		if (good && (now < c->refresh_at_ms || c->fetching))
			break;
		if (c->fetching) {
			pthread_cond_wait(&c->changed, &c->lock);
			continue;
		}
		code = refresh(pool, &own);
		if (code && good)
			code = CLEAT_OK;
		if (code && err)
			*err = own;
		break;
	}
	if (code == CLEAT_OK)
		code = copy_key(c, out, err);
	pthread_mutex_unlock(&c->lock);
	return code;
}

void ebs_credentials_forget(struct ebs_pool *pool)
{
	struct ebs_credentials *c = &pool->credentials;

	pthread_mutex_lock(&c->lock);
	c->expires_at_ms = c->refresh_at_ms = 0;
	pthread_mutex_unlock(&c->lock);
}
