/* publish.c - `publish`: all volumes of a container, or none.
 *
 * First every volume is found or made, then the intent is written, then they are published in order.  What
 * was published when one of them fails is taken back, within a part of the time limit that is kept for it.
 */
#include "helper/helper.h"

#include "util/clock.h"
#include "util/mem.h"
#include "util/size.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HOST_PATH "/var/lib/cleat-mesos/volumes/%n"
#define UNDO_MS 20000 /* of the limit, at most a quarter of it */

struct publish {
	struct helper *h;
	const struct cleat_door_drivers *drivers;
	struct helper_container container;
	struct helper_items want;   /* one for each volume, in order */
	struct helper_items before; /* what the container had when this call began */
};

/* ---- one volume: found or made ---- */

static enum cleat_code require(const struct helper_volume *v, struct cleat_error *err)
{
	struct stat st;

	if (!v->require || (stat(v->require, &st) == 0 && S_ISDIR(st.st_mode)))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
			       "container path '%s' of volume '%s' does not exist", v->require, v->name);
}

static enum cleat_code set_id(struct cleat_kvs *params, const char *key, unsigned id, struct cleat_error *err)
{
	char text[16];

	if (cleat_kv_get(params, key))
		return CLEAT_OK;
	snprintf(text, sizeof(text), "%u", id);
	return cleat_kv_set(params, key, text, err);
}

static enum cleat_code take_user(const char *user, struct cleat_kvs *params, struct cleat_error *err)
{
	const struct passwd *pw = getpwnam(user);

	if (!pw)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "user '%s' is not known here", user);
	return set_id(params, "uid", pw->pw_uid, err) ? err->code : set_id(params, "gid", pw->pw_gid, err);
}

static enum cleat_code take_options(const struct helper_volume *v, const struct cleat_door_driver *entry,
				    struct cleat_door_options *o, struct cleat_error *err)
{
	enum cleat_code code = v->driver ? cleat_door_options_take(entry, &v->options, o, err)
					 : cleat_kv_copy(&v->options, &o->params, err);

	if (code == CLEAT_OK && v->size)
		code = cleat_size_parse(v->size, &o->size_bytes, err);
	if (code == CLEAT_OK && v->fs)
		code = cleat_kv_set(&o->params, "fs", v->fs, err);
	if (code == CLEAT_OK && v->user)
		code = take_user(v->user, &o->params, err);
	return code;
}

static enum cleat_code find_place(struct publish *p, const struct helper_volume *v,
				  const struct cleat_door_driver *entry, struct cleat_door_place *out,
				  struct cleat_error *err)
{
	if (v->driver)
		return cleat_door_place_by_driver(p->h->door, entry, v->driver, v->name, out, err);
	return cleat_door_place_by_pool(p->h->door, v->pool, v->name, out, err);
}

static enum cleat_code find_or_make(struct publish *p, const struct helper_volume *v,
				    const struct cleat_door_driver *entry,
				    const struct cleat_door_place *place, char id[CLEAT_DOOR_ID_BYTES],
				    struct cleat_error *err)
{
	cleat_autodooroptions struct cleat_door_options o = { 0 };

	if (v->no_create || !entry->create)
		return cleat_door_find(p->h->door, place, p->h->args->scope, id, err)
			       ? cleat_error_wrap(err, "it is not to be created")
			       : CLEAT_OK;
	if (take_options(v, entry, &o, err))
		return err->code;
	return cleat_door_ensure(p->h->door, place, p->h->args->scope, &o, id, err);
}

static enum cleat_code want_volume(struct publish *p, size_t i, struct cleat_error *err)
{
	const struct helper_volume *v = &p->h->args->volumes[i];
	const struct cleat_door_driver *entry =
		cleat_door_driver_find(p->drivers, v->driver ? v->driver : "");
	char target[HELPER_CONTAINER_BYTES + 24], host[CLEAT_DOOR_PATH_BYTES], id[CLEAT_DOOR_ID_BYTES];
	struct cleat_door_place place;

	if (find_place(p, v, entry, &place, err) || find_or_make(p, v, entry, &place, id, err) ||
	    (v->host &&
	     cleat_door_host_path(entry, HOST_PATH, place.pool, place.name, host, sizeof(host), err)))
		return err->code;
	snprintf(target, sizeof(target), "%s/%zu", p->container.path, i);
	return helper_items_add(&p->want, id, target, v->host ? host : NULL, err);
}

static enum cleat_code want_all(struct publish *p, struct cleat_error *err)
{
	for (size_t i = 0; i < p->h->args->volume_count; i++)
		if (want_volume(p, i, err))
			return cleat_error_wrap(err, "volume '%s'", p->h->args->volumes[i].name);
	return CLEAT_OK;
}

/* ---- one volume: published ---- */

/* The directories above the path; the daemon makes the last one itself.  The one that all such paths have in
 * common is shared, for the reason that ROOT is. */
static enum cleat_code make_parents(const char *path, size_t common, struct cleat_error *err)
{
	char part[CLEAT_DOOR_PATH_BYTES];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (mkdir(part, 0755) && errno != EEXIST)
			return cleat_error_errno(err, errno, "make '%s'", part);
		if ((size_t)(slash - path) == common && helper_share(part, err))
			return err->code;
	}
	return CLEAT_OK;
}

/* How long the directory is that all paths of the form have in common. */
static size_t common_length(const char *form)
{
	size_t n = strcspn(form, "%");

	while (n > 0 && form[n] != '/')
		n--;
	return n;
}

static enum cleat_code publish_host(struct publish *p, struct cleat_door_publish *what,
				    const struct helper_volume *v, const char *host, struct cleat_error *err)
{
	const struct cleat_door_driver *entry =
		cleat_door_driver_find(p->drivers, v->driver ? v->driver : "");
	cleat_autoclose int lock = -1;

	what->target = host;
	what->owner = "mesos containers, at the path of the host";
	if (helper_root_lock(p->h, &lock, err) ||
	    make_parents(host, common_length(entry->host_path ? entry->host_path : HOST_PATH), err))
		return err->code;
	return cleat_door_publish(p->h->door, what, NULL, err);
}

static enum cleat_code publish_one(struct publish *p, size_t i, struct cleat_error *err)
{
	const struct helper_volume *v = &p->h->args->volumes[i];
	const struct helper_item *item = &p->want.items[i];
	struct cleat_door_publish what = {
		.volume = item->id,
		.scope = p->h->args->scope,
		.target = item->target,
		.owner = p->h->args->owner,
		.mode = v->mode,
		.read_only = v->read_only,
	};

	if (cleat_door_publish(p->h->door, &what, NULL, err) == CLEAT_OK && item->host)
		(void)!publish_host(p, &what, v, item->host, err);
	return err->code ? cleat_error_wrap(err, "volume '%s'", v->name) : CLEAT_OK;
}

static bool had(const struct publish *p, const struct helper_item *item)
{
	for (size_t i = 0; i < p->before.count; i++)
		if (strcmp(p->before.items[i].target, item->target) == 0)
			return true;
	return false;
}

/* All volumes, those too that this call did not come to: another container may have left a path of the host
 * because of what is intended here.  What cannot be taken back stays in the intent, for `release`. */
static bool take_back(struct publish *p)
{
	struct cleat_error ignored;
	bool all = true;

	for (size_t i = p->want.count; i-- > 0;) {
		ignored = (struct cleat_error)CLEAT_ERROR_INIT;
		if (!had(p, &p->want.items[i]))
			all &= helper_release_item(p->h, &p->container, &p->want, i, &ignored) == CLEAT_OK;
	}
	return all;
}

static enum cleat_code publish_all(struct publish *p, struct cleat_error *err)
{
	for (size_t i = 0; i < p->want.count; i++) {
		if (publish_one(p, i, err) == CLEAT_OK)
			continue;
		cleat_door_set_limit(p->h->door, p->h->end_ms - cleat_time_mono_ms());
		if (take_back(p) && p->before.count == 0)
			helper_container_remove(p->h, &p->container);
		return err->code;
	}
	return CLEAT_OK;
}

/* ---- all of them ---- */

/* What the container has already, from a call before this one: it is not taken back. */
static enum cleat_code look_before(struct publish *p, struct cleat_error *err)
{
	helper_autoitems struct helper_items intended = { 0 };
	bool found;

	if (helper_intent_read(p->h->root_fd, p->container.key, &intended, &found, err))
		return err->code;
	return found ? helper_claims_of(p->h, p->container.key, &p->before, err) : CLEAT_OK;
}

static enum cleat_code run(struct publish *p, struct cleat_error *err)
{
	const int64_t limit_ms = cleat_door_left_ms(p->h->door);

	cleat_door_set_limit(p->h->door, limit_ms - (limit_ms / 4 < UNDO_MS ? limit_ms / 4 : UNDO_MS));
	if (helper_root_open(p->h, true, err) ||
	    helper_container_open(p->h, p->h->args->key, true, &p->container, err) || look_before(p, err))
		return err->code;
	if (want_all(p, err) || helper_intent_write(&p->container, &p->want, err)) {
		if (p->before.count == 0)
			helper_container_remove(p->h, &p->container);
		return err->code;
	}
	return publish_all(p, err);
}

static void answer(struct helper *h, const struct helper_items *l)
{
	helper_answer_list(h->answer, "paths");
	helper_answer_list(h->answer, "hosts");
	for (size_t i = 0; i < l->count; i++) {
		helper_answer_add(h->answer, "paths", l->items[i].target);
		helper_answer_add(h->answer, "hosts", l->items[i].host ? l->items[i].host : "");
	}
}

enum cleat_code helper_publish(struct helper *h, struct cleat_error *err)
{
	cleat_autodrivers struct cleat_door_drivers drivers = { 0 };
	struct publish p = { .h = h, .drivers = &drivers, .container = { .fd = -1 } };

	for (size_t i = 0; i < h->args->volume_count; i++)
		if (require(&h->args->volumes[i], err))
			return err->code;
	if (cleat_door_drivers_load(&drivers, h->args->config, err) == CLEAT_OK && run(&p, err) == CLEAT_OK)
		answer(h, &p.want);
	helper_container_close(&p.container);
	helper_items_done(&p.want);
	helper_items_done(&p.before);
	return err->code;
}
