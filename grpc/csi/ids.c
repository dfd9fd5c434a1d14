/* ids.c - from the text that a CO says to the volume that it means, and to no other. */
#include "csi/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
#define UUID_PART_BYTES 9 /* "-1a2b3c4d", at the end of a node pool's stored name */

bool csi_is_id(const char *text)
{
	size_t pool = strspn(text, ID_CHARACTERS);
	size_t key = text[pool] == '.' ? strspn(text + pool + 1, ID_CHARACTERS) : 0;

	return pool > 0 && key > 0 && text[pool + 1 + key] == '\0' && pool + 1 + key <= CLEAT_ID_MAX_BYTES;
}

void csi_pool_of_id(const char *id, char pool_out[CLEAT_ID_MAX_BYTES + 1])
{
	snprintf(pool_out, CLEAT_ID_MAX_BYTES + 1, "%.*s", (int)strcspn(id, "."), id);
}

/* A pool that was never opened does not know its stored name; it begins with the configured one. */
static bool may_be(const struct cleat_pool_state *p, const char *stored)
{
	size_t n = strlen(p->name);

	return !p->stored_name[0] && strncmp(p->name, stored, n) == 0 &&
	       (!stored[n] || (stored[n] == '-' && strlen(stored + n) == UUID_PART_BYTES));
}

/* Whether the text could be a node's name; it comes from outside, and goes into messages. */
static bool is_node(const char *text)
{
	size_t n = text ? strlen(text) : 0;

	return n >= 1 && n <= CSI_NODE_MAX_BYTES && strspn(text, ID_CHARACTERS ".") == n;
}

/* The pool is none of ours.  What contexts say is remembered, for calls that carry none. */
static enum cleat_code send_elsewhere(struct cleat_csi *c, const char *id, const char *what,
				      struct csi_hint hint, struct cleat_error *err)
{
	const char *own = cleat_engine_node(c->engine), *node = hint.context;
	char stored[CLEAT_ID_MAX_BYTES + 1], learned[CSI_NODE_MAX_BYTES + 1];

	csi_pool_of_id(id, stored);
	if (is_node(node))
		csi_whereabouts_learn(c->whereabouts, stored, node);
	else
		node = csi_whereabouts_get(c->whereabouts, stored, learned) ? learned : hint.node_id;
	if (is_node(node) && strcmp(node, own) != 0)
		return cleat_error_set(
			err, CLEAT_FAILED_PRECONDITION,
			"%s '%s' lies in pool '%s', which this node ('%s') does not have: ask the daemon of "
			"node '%s'",
			what, id, stored, own, node);
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
			       "%s '%s' lies in pool '%s', which this node ('%s') does not have: ask the "
			       "daemon of the node that has",
			       what, id, stored, own);
}

/* Why there is nothing under an id that has the form of one. */
static enum cleat_code say_why(struct cleat_csi *c, const char *id, const char *what, struct csi_hint hint,
			       struct cleat_error *err)
{
	size_t room = cleat_pool_list(c->engine, NULL, 0), n;
	cleat_autofree struct cleat_pool_state *pools = calloc(room + 1, sizeof(*pools));
	char stored[CLEAT_ID_MAX_BYTES + 1];

	if (!pools)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	csi_pool_of_id(id, stored);
	n = cleat_pool_list(c->engine, pools, room);
	for (size_t i = 0; i < n && i < room; i++) {
		if (strcmp(pools[i].stored_name, stored) == 0)
			return cleat_error_set(err, CLEAT_NOT_FOUND, "%s '%s' does not exist", what, id);
		if (may_be(&pools[i], stored))
			return cleat_error_set(err, CLEAT_UNAVAILABLE, "%s '%s': pool '%s' is offline: %s",
					       what, id, pools[i].name, pools[i].reason);
	}
	return send_elsewhere(c, id, what, hint, err);
}

enum cleat_code csi_find(struct cleat_csi *c, const char *id, enum cleat_kind kind, struct csi_hint hint,
			 struct cleat_volume_state *out, struct cleat_error *err)
{
	const char *what = kind == CLEAT_KIND_SNAPSHOT ? "snapshot" : "volume";
	struct cleat_error inner = CLEAT_ERROR_INIT;

	if (!csi_is_id(id))
		return cleat_error_set(err, CLEAT_NOT_FOUND, "%s '%.*s' does not exist", what,
				       CLEAT_ID_MAX_BYTES, id);
	enum cleat_code code = cleat_volume_get(c->engine, id, NULL, kind, out, &inner);
	if (code == CLEAT_OK && strcmp(out->id, id) == 0)
		return CLEAT_OK;
	if (code == CLEAT_OK) /* a volume that is called like that */
		cleat_volume_state_done(out);
	if (code == CLEAT_OK || code == CLEAT_NOT_FOUND)
		return say_why(c, id, what, hint, err);
	*err = inner;
	return code;
}

bool csi_found(struct cleat_csi *c, struct cleat_rpc_call *call, const char *id, enum cleat_kind kind,
	       struct csi_hint hint, struct cleat_volume_state *out)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (csi_find(c, id, kind, hint, out, &err) == CLEAT_OK)
		return true;
	cleat_rpc_call_fail_error(call, &err);
	return false;
}

enum cleat_code csi_check_other_pools(struct cleat_csi *c, enum cleat_kind kind, const char *name,
				      const char *pool, struct cleat_error *err)
{
	size_t room = cleat_pool_list(c->engine, NULL, 0), n;
	cleat_autofree struct cleat_pool_state *pools = NULL;
	char ref[CLEAT_POOL_NAME_MAX_BYTES + CLEAT_NAME_MAX_BYTES + 2];
	struct cleat_volume_state v;

	if (room < 2)
		return CLEAT_OK;
	if (!(pools = calloc(room, sizeof(*pools))))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	n = cleat_pool_list(c->engine, pools, room);
	for (size_t i = 0; i < n && i < room; i++) {
		snprintf(ref, sizeof(ref), "%s/%s", pools[i].name, name);
		if (strcmp(pools[i].name, pool) == 0 ||
		    cleat_volume_get(c->engine, ref, NULL, kind, &v, NULL))
			continue;
		cleat_volume_state_done(&v);
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "%s '%s' exists in pool '%s', not in '%s'",
				       kind == CLEAT_KIND_SNAPSHOT ? "snapshot" : "volume", name,
				       pools[i].name, pool);
	}
	return CLEAT_OK;
}

enum cleat_code csi_pool_get(struct cleat_csi *c, const char *name, struct cleat_pool_state *out,
			     struct cleat_error *err)
{
	if (cleat_pool_get(c->engine, name, out, err) == CLEAT_OK)
		return CLEAT_OK;
	if (err->code != CLEAT_NOT_FOUND)
		return err->code;
	if (!name[0])
		return cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"parameter 'pool' is missing, and no pool of this node is the default");
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "parameter 'pool': this node has no pool '%.*s'",
			       CSI_TEXT_MAX_BYTES, name);
}
