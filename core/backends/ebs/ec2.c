/* ec2.c - calls of the EC2 query API: a form in a signed POST, XML back; errors in our words; pages followed
 * to the end. */
#include "backends/ebs/ebs.h"

#include <stdio.h>
#include <string.h>

#include "sys/hook.h"
#include "util/text.h"

#define API_VERSION "2016-11-15"
#define PAGE "500"
#define MAX_PAGES 1000

struct cleat_buf ebs_form(const char *action)
{
	struct cleat_buf form = CLEAT_BUF_INIT(EBS_FORM_BYTES);

	cleat_http_form_add(&form, "Action", action);
	cleat_http_form_add(&form, "Version", API_VERSION);
	return form;
}

bool ebs_why_is(const struct ebs_why *why, const char *code)
{
	return strcmp(why->code, code) == 0;
}

bool ebs_is_id(const char *text, const char *prefix)
{
	const size_t n = strlen(prefix);

	if (strncmp(text, prefix, n) != 0)
		return false;
	const size_t digits = strspn(text + n, "0123456789abcdef");
	return digits >= 8 && digits <= 17 && !text[n + digits];
}

/* ---- errors ---- */

static const struct {
	const char *part; /* of EC2's code */
	enum cleat_code code;
} meanings[] = {
	{ ".NotFound", CLEAT_NOT_FOUND },
	{ "RequestLimitExceeded", CLEAT_UNAVAILABLE },
	{ "Throttl", CLEAT_UNAVAILABLE },
	{ "RequestThrottled", CLEAT_UNAVAILABLE },
	{ "Unavailable", CLEAT_UNAVAILABLE },
	{ "InternalError", CLEAT_UNAVAILABLE },
	{ "InternalFailure", CLEAT_UNAVAILABLE },
	{ "AuthFailure", CLEAT_UNAUTHENTICATED },
	{ "SignatureDoesNotMatch", CLEAT_UNAUTHENTICATED },
	{ "InvalidClientTokenId", CLEAT_UNAUTHENTICATED },
	{ "UnrecognizedClient", CLEAT_UNAUTHENTICATED },
	{ "Expired", CLEAT_UNAUTHENTICATED },
	{ "UnauthorizedOperation", CLEAT_PERMISSION_DENIED },
	{ "AccessDenied", CLEAT_PERMISSION_DENIED },
	{ "OptInRequired", CLEAT_PERMISSION_DENIED },
	{ "LimitExceeded", CLEAT_RESOURCE_EXHAUSTED },
	{ "RateExceeded", CLEAT_RESOURCE_EXHAUSTED },
	{ "InsufficientVolumeCapacity", CLEAT_RESOURCE_EXHAUSTED },
	{ "VolumeInUse", CLEAT_FAILED_PRECONDITION },
	{ "IncorrectState", CLEAT_FAILED_PRECONDITION },
	{ "IncorrectModificationState", CLEAT_FAILED_PRECONDITION },
	{ ".InUse", CLEAT_FAILED_PRECONDITION },
	{ ".ZoneMismatch", CLEAT_FAILED_PRECONDITION },
	{ "InvalidParameter", CLEAT_INVALID_ARGUMENT },
	{ "MissingParameter", CLEAT_INVALID_ARGUMENT },
	{ "UnknownParameter", CLEAT_INVALID_ARGUMENT },
	{ "Malformed", CLEAT_INVALID_ARGUMENT },
	{ "InvalidZone", CLEAT_INVALID_ARGUMENT },
};

static enum cleat_code meaning(const char *code, long status)
{
	for (size_t i = 0; i < CLEAT_COUNT(meanings); i++)
		if (strstr(code, meanings[i].part))
			return meanings[i].code;
	return status >= 500 ? CLEAT_UNAVAILABLE : CLEAT_INTERNAL;
}

static bool is_throttled(const struct ebs_why *why)
{
	return strstr(why->code, "RequestLimitExceeded") || strstr(why->code, "Throttl");
}

static bool is_expired(const struct ebs_why *why)
{
	return strstr(why->code, "Expired") != NULL;
}

static void action_of(const struct cleat_buf *form, char action[48])
{
	const char *text = cleat_buf_text(form) + strlen("Action=");

	snprintf(action, 48, "%.*s", (int)strcspn(text, "&"), text);
}

static enum cleat_code explain(const struct cleat_buf *form, const struct cleat_http_answer *answer,
			       struct ebs_why *why, struct cleat_error *err)
{
	cleat_autoxml struct cleat_xml *doc = NULL;
	struct cleat_error ignored =
		CLEAT_ERROR_INIT; /* an error that is no XML comes from something on the way */
	const struct cleat_xml_node *error = NULL;
	char action[48];

	action_of(form, action);
	if (cleat_xml_parse(cleat_buf_text(&answer->body), answer->body.len, &doc, &ignored) == CLEAT_OK)
		error = cleat_xml_child(cleat_xml_root(doc), "Errors/Error");
	const char *code = cleat_xml_get(error, "Code"), *message = cleat_xml_get(error, "Message");
	snprintf(why->code, sizeof(why->code), "%.*s", (int)sizeof(why->code) - 1, code);
	if (!*code)
		return cleat_error_set(err, answer->status >= 500 ? CLEAT_UNAVAILABLE : CLEAT_INTERNAL,
				       "EC2 %s: status %ld", action, answer->status);
	return cleat_error_set(err, meaning(code, answer->status), "EC2 %s: %s: %.*s", action, why->code,
			       cleat_text_cut(message, 300), message);
}

/* ---- one call ---- */

static void set_doubt(struct ebs_pool *pool, bool doubt)
{
	pthread_mutex_lock(&pool->lock);
	pool->doubt = doubt;
	pthread_mutex_unlock(&pool->lock);
}

static enum cleat_code post(struct ebs_pool *pool, const struct cleat_buf *form, bool idempotent,
			    struct cleat_http_answer *answer, struct cleat_error *err)
{
	__attribute__((cleanup(ebs_key_done))) struct ebs_key key = { .secret = NULL };

	if (ebs_credentials_get(pool, &key, err))
		return err->code;
	const struct cleat_http_sigv4 sig = { .region = pool->region,
					      .service = "ec2",
					      .key_id = key.id,
					      .secret = key.secret,
					      .session_token = key.token };
	const struct cleat_http_request req = { .method = "POST",
						.url = pool->endpoint,
						.content_type =
							"application/x-www-form-urlencoded; charset=utf-8",
						.body = cleat_buf_text(form),
						.body_bytes = form->len,
						.sigv4 = &sig,
						.idempotent = idempotent };
	enum cleat_code code = cleat_http_call(pool->http, &req, answer, err);
	set_doubt(pool, code != CLEAT_OK);
	return code;
}

/* Too many calls: the bucket gets slower, and this operation waits without a thread. */
static enum cleat_code back_off(struct ebs_pool *pool, struct cleat_op *op, struct cleat_error *err)
{
	char key[40];

	cleat_http_slow_down(pool->http);
	if (!op)
		return err->code;
	snprintf(key, sizeof(key), "busy %p", (void *)op);
	return cleat_pending_wait(&pool->pending, op, key, "EC2 is asked too often", &pool->busy_rule, err);
}

static void calm_down(struct ebs_pool *pool, struct cleat_op *op)
{
	char key[40];

	if (!op)
		return;
	snprintf(key, sizeof(key), "busy %p", (void *)op);
	cleat_pending_done(&pool->pending, key);
}

/* What changes something there passes the hook of all changing calls, before it is sent and after it was
 * answered. */
static enum cleat_code take_step(const struct cleat_buf *form, const char *when, struct cleat_error *err)
{
	char action[48];

	action_of(form, action);
	if (strncmp(action, "Describe", 8) == 0)
		return CLEAT_OK;
	const int errnum = cleat_sys_step(action, when);
	return errnum ? cleat_error_errno(err, errnum, "EC2 %s", action) : CLEAT_OK;
}

enum cleat_code ebs_call(struct ebs_pool *pool, struct cleat_op *op, const struct cleat_buf *form,
			 bool idempotent, struct cleat_xml **doc, struct ebs_why *why,
			 struct cleat_error *err)
{
	struct ebs_why own = { "" };
	struct cleat_error own_err = CLEAT_ERROR_INIT;

	why = why ? why : &own;
	err = err ? err : &own_err;
	why->code[0] = '\0';
	if (!cleat_buf_ok(form))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the call to EC2 gets too long");
	if (take_step(form, "begin", err))
		return err->code;
	for (int tries = 0;; tries++) {
		cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
		if (post(pool, form, idempotent, &answer, err))
			return err->code;
		if (answer.status == 200) {
			calm_down(pool, op);
			if (take_step(form, "answered", err))
				return err->code;
			return doc ? cleat_xml_parse(cleat_buf_text(&answer.body), answer.body.len, doc, err)
				   : CLEAT_OK;
		}
		explain(form, &answer, why, err);
		if (!is_expired(why) || tries)
			break;
		ebs_credentials_forget(pool);
	}
	return is_throttled(why) ? back_off(pool, op, err) : err->code;
}

void ebs_filter(struct cleat_buf *form, unsigned n, const char *name, const char *value)
{
	char key[32];

	snprintf(key, sizeof(key), "Filter.%u.Name", n);
	cleat_http_form_add(form, key, name);
	snprintf(key, sizeof(key), "Filter.%u.Value.1", n);
	cleat_http_form_add(form, key, value);
}

/* ---- reading what is described ---- */

static void word(char *out, size_t room, const char *text)
{
	snprintf(out, room, "%.*s", (int)room - 1, text);
}

static void parse_attachments(const struct cleat_xml_node *node, struct ebs_thing *t)
{
	const struct cleat_xml_node *item = cleat_xml_child(node, "attachmentSet/item");

	for (; item && t->attachment_count < EBS_ATTACHMENTS_MAX; item = cleat_xml_next(item)) {
		struct ebs_attachment *a = &t->attachments[t->attachment_count++];
		word(a->instance, sizeof(a->instance), cleat_xml_get(item, "instanceId"));
		word(a->device, sizeof(a->device), cleat_xml_get(item, "device"));
		word(a->state, sizeof(a->state), cleat_xml_get(item, "status"));
	}
}

static uint64_t number(const struct cleat_xml_node *node, const char *name)
{
	return strtoull(cleat_xml_get(node, name), NULL, 10);
}

enum cleat_code ebs_parse_thing(const struct cleat_xml_node *node, bool snapshot, struct ebs_thing *out,
				struct cleat_error *err)
{
	struct ebs_thing t = { .snapshot = snapshot };

	word(t.id, sizeof(t.id), cleat_xml_get(node, snapshot ? "snapshotId" : "volumeId"));
	word(t.source, sizeof(t.source), cleat_xml_get(node, snapshot ? "volumeId" : "snapshotId"));
	word(t.state, sizeof(t.state), cleat_xml_get(node, "status"));
	word(t.zone, sizeof(t.zone), cleat_xml_get(node, "availabilityZone"));
	word(t.type, sizeof(t.type), cleat_xml_get(node, "volumeType"));
	t.gib = number(node, snapshot ? "volumeSize" : "size");
	t.iops = number(node, "iops");
	t.throughput = number(node, "throughput");
	t.encrypted = strcmp(cleat_xml_get(node, "encrypted"), "true") == 0;
	parse_attachments(node, &t);
	if (!ebs_is_id(t.id, snapshot ? "snap-" : "vol-"))
		return cleat_error_set(err, CLEAT_INTERNAL, "EC2's answer holds no id");
	const struct cleat_xml_node *tag = cleat_xml_child(node, "tagSet/item");
	for (; tag && t.tags.count < CLEAT_KV_MAX; tag = cleat_xml_next(tag)) {
		if (cleat_kv_set(&t.tags, cleat_xml_get(tag, "key"), cleat_xml_get(tag, "value"), err)) {
			ebs_thing_done(&t);
			return err ? err->code : CLEAT_RESOURCE_EXHAUSTED;
		}
	}
	*out = t;
	return CLEAT_OK;
}

void ebs_thing_done(struct ebs_thing *t)
{
	cleat_kv_done(&t->tags);
}

void ebs_things_done(struct ebs_things *list)
{
	for (size_t i = 0; i < list->count; i++)
		ebs_thing_done(&list->items[i]);
	free(list->items);
	*list = (struct ebs_things){ NULL, 0, 0 };
}

static enum cleat_code add_thing(struct ebs_things *list, const struct cleat_xml_node *node, bool snapshot,
				 struct cleat_error *err)
{
	if (list->count == list->room) {
		const size_t room = list->room ? list->room * 2 : 8;
		struct ebs_thing *grown = realloc(list->items, room * sizeof(*grown));
		if (!grown)
			return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
		list->items = grown;
		list->room = room;
	}
	if (ebs_parse_thing(node, snapshot, &list->items[list->count], err))
		return err->code;
	list->count++;
	return CLEAT_OK;
}

static enum cleat_code read_page(struct ebs_pool *pool, struct cleat_op *op, bool snapshots,
				 const struct cleat_buf *filters, struct cleat_buf *token,
				 struct ebs_things *out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf form = ebs_form(snapshots ? "DescribeSnapshots" : "DescribeVolumes");
	cleat_autoxml struct cleat_xml *doc = NULL;

	if (snapshots)
		cleat_http_form_add(&form, "Owner.1", "self");
	cleat_http_form_add(&form, "MaxResults", PAGE);
	if (token->len)
		cleat_http_form_add(&form, "NextToken", token->data);
	if (filters->len) {
		cleat_buf_adds(&form, "&");
		cleat_buf_adds(&form, filters->data);
	}
	if (ebs_call(pool, op, &form, true, &doc, NULL, err))
		return err->code;
	const struct cleat_xml_node *root = cleat_xml_root(doc), *item;
	for (item = cleat_xml_child(root, snapshots ? "snapshotSet/item" : "volumeSet/item"); item;
	     item = cleat_xml_next(item))
		if (add_thing(out, item, snapshots, err))
			return err->code;
	cleat_buf_clear(token);
	cleat_buf_adds(token, cleat_xml_get(root, "nextToken"));
	return CLEAT_OK;
}

enum cleat_code ebs_describe(struct ebs_pool *pool, struct cleat_op *op, bool snapshots,
			     const struct cleat_buf *filters, struct ebs_things *out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf token = CLEAT_BUF_INIT(8192);
	ebs_autothings struct ebs_things list = { NULL, 0, 0 };
	struct cleat_error own = CLEAT_ERROR_INIT;
	unsigned pages = 0;

	err = err ? err : &own;
	do {
		if (read_page(pool, op, snapshots, filters, &token, &list, err))
			return err->code;
	} while (token.len && cleat_buf_ok(&token) && ++pages < MAX_PAGES);
	*out = list;
	list = (struct ebs_things){ NULL, 0, 0 };
	return CLEAT_OK;
}
