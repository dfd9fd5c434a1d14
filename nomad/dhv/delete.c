/* delete.c - the standing claim is released, and the volume deleted or kept.
 *
 * Gone is done.  A refusal leaves everything as it was: the volume is still Nomad's, and tasks may still come
 * to use it.
 */
#include "dhv/verbs.h"

#include <stdlib.h>
#include <string.h>

#include "dhv/record.h"
#include "dhv/volume.h"
#include "dhv/wish.h"
#include "util/mem.h"

struct work {
	struct dhv_context *c;
	const struct dhv_request *r;
	struct dhv_wish wish;
	struct dhv_daemon daemon;
	struct dhv_record rec;
	struct dhv_volume v;
};

static void work_done(struct work *w)
{
	dhv_wish_done(&w->wish);
	dhv_daemon_close(&w->daemon);
	dhv_record_done(&w->rec);
	dhv_volume_done(&w->v);
}

/* By the record, else by the label. */
static enum cleat_code find(struct work *w, struct cleat_error *err)
{
	struct cleat_error ignored = CLEAT_ERROR_INIT;
	const bool known = dhv_record_load(w->r, &w->rec, &ignored) == CLEAT_OK;

	return dhv_volume_find(&w->daemon, w->r, known ? w->rec.volume : NULL, w->rec.scope, &w->v, err);
}

/* Whether the data goes: as the specification says, else what was made here goes and what was there before
 * stays. */
static bool keeps(const struct work *w)
{
	return w->wish.on_delete_given ? w->wish.keep : w->v.taken;
}

static enum cleat_code check_others(struct work *w, struct cleat_error *err)
{
	cleat_autofree char *owner = NULL;

	if (dhv_volume_claims(&w->daemon, &w->v, NULL, &owner, err))
		return err->code;
	if (!owner)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "volume '%s' of Cleat is in use by '%.200s'",
			       w->v.id, owner);
}

static enum cleat_code let_go(struct work *w, struct cleat_error *err)
{
	static const char *const keys[] = { DHV_LABEL_VOLUME, DHV_LABEL_NODE, DHV_LABEL_UNFINISHED,
					    DHV_LABEL_TAKEN };
	cleat_autokvs struct cleat_kvs labels = { 0 };

	if (dhv_volume_unpublish(&w->daemon, &w->v, err))
		return err->code;
	for (size_t i = 0; i < CLEAT_COUNT(keys); i++)
		if (cleat_kv_set(&labels, keys[i], "", err))
			return err->code;
	return dhv_volume_modify(&w->daemon, &w->v, NULL, &labels, err);
}

static enum cleat_code destroy(struct work *w, struct cleat_error *err)
{
	struct cleat_error second = CLEAT_ERROR_INIT;
	cleat_autofree char *path = NULL;

	if (check_others(w, err) || dhv_volume_unpublish(&w->daemon, &w->v, err))
		return err->code;
	if (dhv_volume_delete(&w->daemon, &w->v, err) == CLEAT_OK)
		return CLEAT_OK;
	/* Still Nomad's: mounted again, so that tasks find it. */
	if (!w->daemon.unreachable && dhv_volume_publish(&w->daemon, &w->v, w->r, &w->wish, &path, &second))
		dhv_warn(w->c, "volume '%s' could not be mounted again: %s", w->v.id, second.msg);
	return err->code;
}

static enum cleat_code release(struct work *w, struct cleat_error *err)
{
	if (strcmp(w->v.owner, w->r->id) == 0)
		return keeps(w) ? let_go(w, err) : destroy(w, err);
	dhv_warn(w->c, "volume '%s' of Cleat belongs to %s%s now: it is left alone", w->v.id,
		 *w->v.owner ? "Nomad's volume " : "no volume of Nomad", w->v.owner);
	return CLEAT_OK;
}

static enum cleat_code serve(struct work *w, struct cleat_error *err)
{
	if (find(w, err) == CLEAT_OK)
		(void)!release(w, err);
	if (err->code ==
	    CLEAT_NOT_FOUND) /* now, or since it was found: the same call may come twice at once */
		*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return err->code;
}

enum cleat_code dhv_delete(struct dhv_context *c, struct cleat_error *err)
{
	const struct dhv_limits *l = c->limits;
	struct work w = { .c = c, .r = c->request };

	if (dhv_wish_read(&c->request->params, &c->settings->defaults, &w.wish, err) == CLEAT_OK &&
	    dhv_daemon_open(c->settings->socket, l->new_ms, l->whole_ms, &w.daemon, err) == CLEAT_OK &&
	    serve(&w, err) == CLEAT_OK)
		(void)!dhv_record_remove(c->request->volumes_dir, c->request->id, err);
	c->unreachable = err->code && w.daemon.unreachable;
	work_done(&w);
	return err->code;
}
