/* release.c - `release` and `recover`: what a container holds is given back. */
#include "helper/helper.h"

#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define BUSY_MS 15000	  /* a process that is just being killed may still use the mount */
#define BUSY_HOST_MS 2000 /* the same of a path of the host: others wait for its lock */

/* ---- claims ---- */

struct below {
	char prefix[HELPER_CONTAINER_BYTES + 1]; /* ends in a slash */
	struct helper_items *items;
	struct cleat_error *err;
};

static bool add_claim(const Cleat__V1__Claim *claim, void *arg)
{
	struct below *b = arg;

	if (strncmp(claim->target, b->prefix, strlen(b->prefix)) != 0 ||
	    strlen(claim->volume) >= CLEAT_DOOR_ID_BYTES)
		return true;
	return helper_items_add(b->items, claim->volume, claim->target, NULL, b->err) == CLEAT_OK;
}

enum cleat_code helper_claims_of(struct helper *h, const char *key, struct helper_items *l,
				 struct cleat_error *err)
{
	struct below b = { .items = l, .err = err };

	snprintf(b.prefix, sizeof(b.prefix), "%s/%.*s/", h->root, CLEAT_MESOS_KEY_MAX_BYTES, key);
	(void)!cleat_door_claims(h->door, "", add_claim, &b, err);
	return err->code;
}

/* ---- paths of the host that several containers share ---- */

struct others {
	const struct helper *h;
	const char *key, *host; /* whose intent does not count; what is looked for */
	bool found;
	struct cleat_error *err;
};

static void look_at_other(const char *key, void *arg)
{
	struct others *o = arg;
	helper_autoitems struct helper_items l = { 0 };
	bool found;

	if (o->found || o->err->code || strcmp(key, o->key) == 0 ||
	    helper_intent_read(o->h->root_fd, key, &l, &found, o->err))
		return;
	for (size_t i = 0; i < l.count; i++)
		o->found |= l.items[i].host && strcmp(l.items[i].host, o->host) == 0;
}

/* Whoever publishes there has written down its intent before, and publishes under the same lock.  Of two that
 * release at once the second must see that the first one does not intend it any more. */
static enum cleat_code release_host(struct helper *h, const struct helper_container *c,
				    struct helper_items *l, size_t i, struct cleat_error *err)
{
	struct helper_item *item = &l->items[i];
	struct others o = { .h = h, .key = c->key, .host = item->host, .err = err };
	cleat_autoclose int lock = -1;

	if (helper_root_lock(h, &lock, err) || helper_keys(h, look_at_other, &o, err) || err->code)
		return err->code;
	if (!o.found && cleat_door_unpublish(h->door, item->id, item->host, BUSY_HOST_MS, err))
		return err->code;
	free(item->host);
	item->host = NULL;
	return helper_intent_write(c, l, err);
}

enum cleat_code helper_release_item(struct helper *h, const struct helper_container *c,
				    struct helper_items *l, size_t i, struct cleat_error *err)
{
	struct cleat_error host = CLEAT_ERROR_INIT;
	const struct helper_item *item = &l->items[i];

	if (item->host)
		(void)!release_host(h, c, l, i, &host);
	if (cleat_door_unpublish(h->door, item->id, item->target, BUSY_MS, err) == CLEAT_OK && host.code)
		*err = host;
	return err->code ? cleat_error_wrap(err, "volume '%s'", item->id) : CLEAT_OK;
}

/* ---- one container ---- */

/* Everything is tried; the first failure is what is told. */
static enum cleat_code release_items(struct helper *h, const struct helper_container *c,
				     struct helper_items *l, const char *list, struct cleat_error *err)
{
	for (size_t i = 0; i < l->count; i++) {
		struct cleat_error one = CLEAT_ERROR_INIT;

		if (helper_release_item(h, c, l, i, &one) == CLEAT_OK) {
			if (list)
				helper_answer_add(h->answer, list, l->items[i].id);
		} else if (err->code == CLEAT_OK) {
			*err = one;
		}
	}
	return err->code;
}

/* list: of the answer, gets the volumes' ids; NULL: none. */
static enum cleat_code release_container(struct helper *h, const char *key, const char *list,
					 struct cleat_error *err)
{
	helper_autocontainer struct helper_container c = { .fd = -1 };
	helper_autoitems struct helper_items l = { 0 };
	bool found;

	if (helper_container_open(h, key, false, &c, err) ||
	    helper_intent_read(h->root_fd, key, &l, &found, err) || helper_claims_of(h, key, &l, err) ||
	    release_items(h, &c, &l, list, err))
		return err->code;
	if (c.fd >= 0)
		helper_container_remove(h, &c);
	return CLEAT_OK;
}

enum cleat_code helper_release(struct helper *h, struct cleat_error *err)
{
	struct stat st;

	helper_answer_list(h->answer, "released");
	if (helper_root_open(h, false, err))
		return err->code;
	/* Without its directory a container cannot have a mount in it; most have none, and must end although
	 * no daemon is there. */
	if (h->root_fd < 0 ||
	    (fstatat(h->root_fd, h->args->key, &st, AT_SYMLINK_NOFOLLOW) && errno == ENOENT))
		return CLEAT_OK;
	return release_container(h, h->args->key, "released", err);
}

/* ---- all that are not kept ---- */

static void add_key(const char *key, void *arg)
{
	json_object_set_new(arg, key, json_true());
}

struct found {
	json_t *keys;
	char prefix[HELPER_ROOT_BYTES + 1];
};

static bool add_key_of_claim(const Cleat__V1__Claim *claim, void *arg)
{
	struct found *f = arg;
	char key[CLEAT_MESOS_KEY_MAX_BYTES + 1];
	const char *rest = claim->target + strlen(f->prefix);

	if (strncmp(claim->target, f->prefix, strlen(f->prefix)) != 0)
		return true;
	size_t n = strcspn(rest, "/");
	if (rest[n] != '/' || n >= sizeof(key))
		return true;
	snprintf(key, sizeof(key), "%.*s", (int)n, rest);
	if (helper_is_key(key))
		add_key(key, f->keys);
	return true;
}

static bool is_kept(const struct helper_args *a, const char *key)
{
	for (size_t i = 0; i < a->keep_count; i++)
		if (strcmp(a->keep[i], key) == 0)
			return true;
	return false;
}

/* Moves the keys that are to be kept from the set into the answer. */
static void set_kept_aside(struct helper *h, json_t *keys)
{
	const char *key;
	void *next;
	json_t *value;

	json_object_foreach_safe(keys, next, key, value)
	{
		if (!is_kept(h->args, key))
			continue;
		helper_answer_add(h->answer, "kept", key);
		json_object_del(keys, key);
	}
}

/* One container that cannot be released must not take the time of the others. */
static enum cleat_code release_all(struct helper *h, json_t *keys, struct cleat_error *err)
{
	const char *key;
	json_t *value;
	size_t left = json_object_size(keys);

	json_object_foreach(keys, key, value)
	{
		struct cleat_error one = CLEAT_ERROR_INIT;
		const int64_t left_ms = h->end_ms - cleat_time_mono_ms();

		cleat_door_set_limit(h->door, left_ms > 0 ? left_ms / (int64_t)left-- : 0);
		release_container(h, key, NULL, &one);
		helper_answer_add(h->answer, one.code ? "failed" : "released", key);
		if (one.code && err->code == CLEAT_OK) {
			*err = one;
			cleat_error_wrap(err, "container '%s'", key);
		}
	}
	return err->code;
}

enum cleat_code helper_recover(struct helper *h, struct cleat_error *err)
{
	struct found f = { .keys = json_object() };

	helper_answer_list(h->answer, "kept");
	helper_answer_list(h->answer, "released");
	helper_answer_list(h->answer, "failed");
	if (helper_root_open(h, true, err) || helper_keys(h, add_key, f.keys, err))
		goto out;
	if (json_object_size(f.keys) ==
	    0) /* nothing can be mounted there, whether the daemon answers or not */
		goto out;
	snprintf(f.prefix, sizeof(f.prefix), "%s/", h->root);
	if (cleat_door_claims(h->door, "", add_key_of_claim, &f, err))
		goto out;
	set_kept_aside(h, f.keys);
	release_all(h, f.keys, err);
out:
	json_decref(f.keys);
	return err->code;
}
