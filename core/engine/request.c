/* request.c - deep copies of requests, their canonical text, and the checks that need no state. */
#include "engine/engine.h"

#include <stddef.h>
#include <string.h>

#include "util/buf.h"

#define CANON_MAX_BYTES (1024 * 1024)

/* Every text field: for copying, freeing and comparing alike. */
static const size_t text_fields[] = {
	offsetof(struct cleat_request, pool),	offsetof(struct cleat_request, volume),
	offsetof(struct cleat_request, name),	offsetof(struct cleat_request, scope),
	offsetof(struct cleat_request, what),	offsetof(struct cleat_request, source),
	offsetof(struct cleat_request, node),	offsetof(struct cleat_request, target),
	offsetof(struct cleat_request, owner),	offsetof(struct cleat_request, witness.cgroup),
};
static const size_t kv_fields[] = {
	offsetof(struct cleat_request, params),
	offsetof(struct cleat_request, labels),
	offsetof(struct cleat_request, mount_options),
};

static const char **text_at(struct cleat_request *req, size_t i)
{
	return (const char **)(void *)((char *)req + text_fields[i]);
}

static const char *text_of(const struct cleat_request *req, size_t i)
{
	const char *text = *(const char *const *)(const void *)((const char *)req + text_fields[i]);

	return text ? text : "";
}

static const struct cleat_kvs **kvs_at(struct cleat_request *req, size_t i)
{
	return (const struct cleat_kvs **)(void *)((char *)req + kv_fields[i]);
}

static const struct cleat_kvs *kvs_of(const struct cleat_request *req, size_t i)
{
	return *(const struct cleat_kvs *const *)(const void *)((const char *)req + kv_fields[i]);
}

void request_done(struct cleat_request *req)
{
	for (size_t i = 0; i < CLEAT_COUNT(text_fields); i++)
		free((char *)(uintptr_t)*text_at(req, i));
	for (size_t i = 0; i < CLEAT_COUNT(kv_fields); i++) {
		struct cleat_kvs *kvs = (struct cleat_kvs *)(uintptr_t)*kvs_at(req, i);
		if (kvs)
			cleat_kv_done(kvs);
		free(kvs);
	}
	for (size_t i = 0; i < req->volume_count && req->volumes; i++)
		free((char *)(uintptr_t)req->volumes[i]);
	free((char **)(uintptr_t)req->volumes);
	memset(req, 0, sizeof(*req));
}

static enum cleat_code copy_lists(const struct cleat_request *from, struct cleat_request *to, struct cleat_error *err)
{
	for (size_t i = 0; i < CLEAT_COUNT(kv_fields); i++) {
		struct cleat_kvs *copy = calloc(1, sizeof(*copy));
		if (!copy)
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		*kvs_at(to, i) = copy;
		if (kvs_of(from, i) && cleat_kv_copy(kvs_of(from, i), copy, err))
			return err ? err->code : CLEAT_RESOURCE_EXHAUSTED;
	}
	if (from->volume_count == 0)
		return CLEAT_OK;
	const char **list = calloc(from->volume_count, sizeof(*list));
	if (!list)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	to->volumes = list;
	to->volume_count = from->volume_count;
	for (size_t i = 0; i < from->volume_count; i++)
		if (!(list[i] = strdup(from->volumes[i])))
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return CLEAT_OK;
}

/* On failure `to` is safe for request_done(). */
enum cleat_code request_copy(const struct cleat_request *from, struct cleat_request *to, struct cleat_error *err)
{
	*to = *from;
	for (size_t i = 0; i < CLEAT_COUNT(text_fields); i++)
		*text_at(to, i) = NULL;
	for (size_t i = 0; i < CLEAT_COUNT(kv_fields); i++)
		*kvs_at(to, i) = NULL;
	to->volumes = NULL;
	to->volume_count = 0;
	for (size_t i = 0; i < CLEAT_COUNT(text_fields); i++)
		if (!(*text_at(to, i) = strdup(text_of(from, i))))
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return copy_lists(from, to, err);
}

/* Two requests with the same text are the same call.  Deadlines have no part in it. */
char *request_canon(const struct cleat_request *req)
{
	cleat_autobuf struct cleat_buf b = CLEAT_BUF_INIT(CANON_MAX_BYTES);

	cleat_buf_addf(&b, "%d %llu %llu %d %d %d%d%d%d %u%d %lld %llu %u", (int)req->verb,
		       (unsigned long long)req->capacity_bytes, (unsigned long long)req->limit_bytes,
		       (int)req->access_type, (int)req->mode, req->read_only, req->force, req->fix, req->hard_size,
		       req->caller_uid, req->caller_trusted, (long long)req->witness.pid,
		       (unsigned long long)req->witness.start_ticks, req->node_limit);
	for (size_t i = 0; i < CLEAT_COUNT(text_fields); i++)
		cleat_buf_addf(&b, "\x1f%s", text_of(req, i));
	for (size_t i = 0; i < CLEAT_COUNT(kv_fields); i++) {
		const struct cleat_kvs *kvs = kvs_of(req, i);
		cleat_buf_adds(&b, "\x1e");
		for (size_t k = 0; kvs && k < kvs->count; k++)
			cleat_buf_addf(&b, "%s\x1f%s\x1f", kvs->items[k].key, kvs->items[k].value);
	}
	for (size_t i = 0; i < req->volume_count; i++)
		cleat_buf_addf(&b, "\x1d%s", req->volumes[i]);
	return cleat_buf_steal(&b);
}

/* Names are never part of a path, but they are shown, logged and typed: no slash (pool/name), no control characters, valid UTF-8 by
 * the door's check. */
enum cleat_code check_name(const char *what, const char *name, size_t max_bytes, bool may_be_empty, struct cleat_error *err)
{
	size_t n = name ? strnlen(name, max_bytes + 1) : 0;

	if (n == 0)
		return may_be_empty ? CLEAT_OK
				    : cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s is missing", what);
	if (n > max_bytes)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s is longer than %zu bytes", what, max_bytes);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s may not be '%s'", what, name);
	for (const char *p = name; *p; p++) {
		if (*p == '/')
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s '%s' contains a '/'", what, name);
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s contains a control character (byte 0x%02x)",
					       what, (unsigned char)*p);
	}
	return CLEAT_OK;
}

static enum cleat_code check_ref(const char *what, const char *ref, struct cleat_error *err)
{
	const size_t max = CLEAT_POOL_NAME_MAX_BYTES + 1 + CLEAT_NAME_MAX_BYTES;
	size_t n = ref ? strnlen(ref, max + 1) : 0;

	if (n == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s is missing", what);
	if (n > max)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s is longer than %zu bytes", what, max);
	for (const char *p = ref; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s contains a control character", what);
	return CLEAT_OK;
}

static enum cleat_code check_sizes(const struct cleat_request *req, struct cleat_error *err)
{
	if (req->capacity_bytes > INT64_MAX || req->limit_bytes > INT64_MAX)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE, "size of %llu bytes: more than 2^63-1",
				       (unsigned long long)(req->capacity_bytes > INT64_MAX ? req->capacity_bytes
											    : req->limit_bytes));
	if (req->limit_bytes && req->limit_bytes < req->capacity_bytes)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "limit of %llu bytes is below the size of %llu bytes",
				       (unsigned long long)req->limit_bytes, (unsigned long long)req->capacity_bytes);
	return CLEAT_OK;
}

static enum cleat_code check_modes(const struct cleat_request *req, struct cleat_error *err)
{
	if ((unsigned)req->mode > CLEAT_MODE_SINGLE_NODE_MULTI_WRITER)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "access mode %d is none of the known ones", (int)req->mode);
	if ((unsigned)req->access_type > CLEAT_ACCESS_BLOCK)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "access type %d is neither mount nor block",
				       (int)req->access_type);
	return CLEAT_OK;
}

static bool names_a_volume(enum cleat_verb verb)
{
	switch (verb) {
	case CLEAT_VERB_CREATE:
	case CLEAT_VERB_ADOPT:
	case CLEAT_VERB_GROUP_SNAPSHOT:
	case CLEAT_VERB_POOL_SPACE:
	case CLEAT_VERB_DOCTOR:
		return false;
	default:
		return true;
	}
}

static enum cleat_code check_group(const struct cleat_request *req, struct cleat_error *err)
{
	if (req->volume_count == 0 || req->volume_count > CLEAT_GROUP_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a group snapshot takes 1 to %d volumes, not %zu",
				       CLEAT_GROUP_MAX, req->volume_count);
	for (size_t i = 0; i < req->volume_count; i++)
		if (check_ref("volume", req->volumes[i], err))
			return CLEAT_INVALID_ARGUMENT;
	return CLEAT_OK;
}

static enum cleat_code check_labels(const struct cleat_kvs *labels, struct cleat_error *err)
{
	for (size_t i = 0; labels && i < labels->count; i++)
		if (check_name("label", labels->items[i].key, 128, false, err))
			return CLEAT_INVALID_ARGUMENT;
	return CLEAT_OK;
}

enum cleat_code request_check(struct cleat_engine *e, const struct cleat_request *req, struct cleat_error *err)
{
	const int verb = (int)req->verb;

	(void)e;
	if (verb <= 0 || (verb >= CLEAT_VERB_COUNT && verb != VERB_EXAMINE_POOL))
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "no such operation: %d", verb);
	if (check_sizes(req, err) || check_modes(req, err))
		return err->code;
	if (check_name("scope", req->scope, CLEAT_SCOPE_MAX_BYTES, true, err) || check_labels(req->labels, err))
		return err->code;
	if (verb < CLEAT_VERB_COUNT && names_a_volume(req->verb) && check_ref("volume", req->volume, err))
		return err->code;
	switch (req->verb) {
	case CLEAT_VERB_GROUP_SNAPSHOT:
		if (check_group(req, err))
			return err->code;
		return check_name("group name", req->name, CLEAT_NAME_MAX_BYTES - 3, false, err);
	case CLEAT_VERB_CREATE:
	case CLEAT_VERB_ADOPT:
		return check_name("volume name", req->name, CLEAT_NAME_MAX_BYTES, false, err);
	case CLEAT_VERB_SNAPSHOT:
		return check_name("snapshot name", req->name, CLEAT_NAME_MAX_BYTES, false, err);
	case CLEAT_VERB_EXPAND:
		if (req->capacity_bytes == 0)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the new size is missing");
		return CLEAT_OK;
	case CLEAT_VERB_ATTACH:
	case CLEAT_VERB_DETACH:
		return check_name("node", req->node, 128, true, err);
	default:
		return CLEAT_OK;
	}
}
