/* node.c - what this node has made of volumes: stages and claims in memory.  Every function wants engine.lock held. */
#include "engine/engine.h"

#include <string.h>

#include "util/ids.h"

static struct node_volume **bucket(struct cleat_engine *e, const char *id)
{
	return &e->nodes[cleat_id_hash(id, strlen(id), 0) % NODE_BUCKETS];
}

struct node_volume *node_find(struct cleat_engine *e, const char *id)
{
	struct node_volume *nv = *bucket(e, id);

	while (nv && strcmp(nv->id, id) != 0)
		nv = nv->next;
	return nv;
}

struct node_volume *node_get(struct cleat_engine *e, const char *id)
{
	struct node_volume *nv = node_find(e, id);

	if (nv)
		return nv;
	nv = calloc(1, sizeof(*nv));
	if (!nv)
		return NULL;
	strncpy(nv->id, id, sizeof(nv->id) - 1);
	struct node_volume **head = bucket(e, id);
	nv->next = *head;
	*head = nv;
	return nv;
}

static void node_free(struct node_volume *nv)
{
	while (nv->claims) {
		struct claim *c = nv->claims;
		nv->claims = c->next;
		claim_free(c);
	}
	free(nv->options);
	free(nv);
}

void node_drop_if_idle(struct cleat_engine *e, struct node_volume *nv)
{
	if (nv->staged || nv->claims)
		return;
	struct node_volume **at = bucket(e, nv->id);
	while (*at != nv)
		at = &(*at)->next;
	*at = nv->next;
	node_free(nv);
}

void nodes_clear(struct cleat_engine *e)
{
	for (size_t i = 0; i < NODE_BUCKETS; i++) {
		while (e->nodes[i]) {
			struct node_volume *nv = e->nodes[i];
			e->nodes[i] = nv->next;
			node_free(nv);
		}
	}
	e->claim_count = 0;
}

struct claim *claim_find(struct node_volume *nv, const char *target)
{
	struct claim *c = nv ? nv->claims : NULL;

	while (c && strcmp(c->target, target) != 0)
		c = c->next;
	return c;
}

void claim_insert(struct cleat_engine *e, struct node_volume *nv, struct claim *c)
{
	struct claim **at = &nv->claims;

	while (*at && strcmp((*at)->target, c->target) < 0)
		at = &(*at)->next;
	c->next = *at;
	*at = c;
	e->claim_count++;
}

void claim_remove(struct cleat_engine *e, struct node_volume *nv, struct claim *c)
{
	struct claim **at = &nv->claims;

	while (*at && *at != c)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = c->next;
	e->claim_count--;
	claim_free(c);
}

void claim_free(struct claim *c)
{
	if (!c)
		return;
	free(c->target);
	free(c->owner);
	free(c->options);
	free(c->cgroup);
	free(c);
}

size_t node_claim_total(const struct node_volume *nv, bool staging_too)
{
	size_t n = 0;

	for (const struct claim *c = nv ? nv->claims : NULL; c; c = c->next)
		n += !c->staging || staging_too;
	return n;
}

struct claim *claim_by_target(struct cleat_engine *e, const char *target, struct node_volume **nv_out)
{
	for (size_t i = 0; i < NODE_BUCKETS; i++) {
		for (struct node_volume *nv = e->nodes[i]; nv; nv = nv->next) {
			struct claim *c = claim_find(nv, target);
			if (c) {
				*nv_out = nv;
				return c;
			}
		}
	}
	return NULL;
}
