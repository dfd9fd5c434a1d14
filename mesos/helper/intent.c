/* intent.c - what a container is going to claim, written down before anything is asked of the daemon.
 *
 * ROOT/KEY/intent, JSON: {"format": 1, "volumes": [{"id": ..., "target": ..., "host": ...}]}.
 */
#include "helper/helper.h"

#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT 1

/* ---- the list ---- */

void helper_items_done(struct helper_items *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->items[i].target);
		free(l->items[i].host);
	}
	free(l->items);
	*l = (struct helper_items){ 0 };
}

static bool has_target(const struct helper_items *l, const char *target)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->items[i].target, target) == 0)
			return true;
	return false;
}

enum cleat_code helper_items_add(struct helper_items *l, const char *id, const char *target, const char *host,
				 struct cleat_error *err)
{
	struct helper_item *grown, item = { .target = NULL };

	if (has_target(l, target))
		return CLEAT_OK;
	snprintf(item.id, sizeof(item.id), "%s", id);
	item.target = strdup(target);
	item.host = host ? strdup(host) : NULL;
	grown = realloc(l->items, (l->count + 1) * sizeof(*grown));
	if (grown)
		l->items = grown;
	if (!grown || !item.target || (host && !item.host)) {
		free(item.target);
		free(item.host);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	l->items[l->count++] = item;
	return CLEAT_OK;
}

/* ---- writing ---- */

static json_t *to_json(const struct helper_items *l)
{
	json_t *volumes = json_array();

	for (size_t i = 0; i < l->count; i++) {
		const struct helper_item *item = &l->items[i];
		json_t *one = json_pack("{s:s, s:s}", "id", item->id, "target", item->target);

		if (item->host)
			json_object_set_new(one, "host", json_string(item->host));
		json_array_append_new(volumes, one);
	}
	return json_pack("{s:i, s:o}", "format", FORMAT, "volumes", volumes);
}

enum cleat_code helper_intent_write(const struct helper_container *c, const struct helper_items *l,
				    struct cleat_error *err)
{
	cleat_autoclose int fd =
		openat(c->fd, "intent.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	json_t *json = to_json(l);

	if (fd < 0 || !json || json_dumpfd(json, fd, JSON_COMPACT) != 0)
		cleat_error_errno(err, fd < 0 ? errno : ENOSPC, "write '%s/intent'", c->path);
	json_decref(json);
	if (err->code == CLEAT_OK && renameat(c->fd, "intent.new", c->fd, "intent"))
		cleat_error_errno(err, errno, "write '%s/intent'", c->path);
	return err->code;
}

/* ---- reading ---- */

static enum cleat_code take_items(const json_t *json, struct helper_items *l, struct cleat_error *err)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(json, "volumes"), i, one)
	{
		const char *id = json_string_value(json_object_get(one, "id"));
		const char *target = json_string_value(json_object_get(one, "target"));

		if (!id || !target || strlen(id) >= CLEAT_DOOR_ID_BYTES)
			continue;
		if (helper_items_add(l, id, target, json_string_value(json_object_get(one, "host")), err))
			return err->code;
	}
	return CLEAT_OK;
}

enum cleat_code helper_intent_read(int root_fd, const char *key, struct helper_items *l, bool *found_out,
				   struct cleat_error *err)
{
	char name[CLEAT_MESOS_KEY_MAX_BYTES + 16];
	json_error_t where;

	*found_out = false;
	snprintf(name, sizeof(name), "%s/intent", key);
	cleat_autoclose int fd = openat(root_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return CLEAT_OK;
	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%s'", name);
	*found_out = true;
	json_t *json = json_loadfd(fd, JSON_REJECT_DUPLICATES, &where);
	enum cleat_code code = take_items(json, l, err);
	json_decref(json);
	return code;
}
