/* whereabouts.c - which node has the pools that are not ours, as far as volume contexts have told: most calls
 * that reach the wrong daemon carry no context, but COs send one when a volume is attached or published. Kept
 * in memory only, and bounded: it makes refusals more helpful, and nothing depends on it. */
#include "csi/internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PLACES 64 /* of so many pools; then the oldest is forgotten */

struct place {
	char pool[CLEAT_POOL_NAME_MAX_BYTES + 1]; /* stored name; "": free */
	char node[CSI_NODE_MAX_BYTES + 1];
};

struct csi_whereabouts {
	pthread_mutex_t lock; /* of all below; a leaf */
	struct place places[MAX_PLACES];
	size_t next; /* to be overwritten */
};

struct csi_whereabouts *csi_whereabouts_new(void)
{
	struct csi_whereabouts *w = calloc(1, sizeof(*w));

	if (w)
		pthread_mutex_init(&w->lock, NULL);
	return w;
}

void csi_whereabouts_free(struct csi_whereabouts *w)
{
	if (!w)
		return;
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static struct place *find(struct csi_whereabouts *w, const char *stored_name)
{
	for (size_t i = 0; i < MAX_PLACES; i++)
		if (strcmp(w->places[i].pool, stored_name) == 0)
			return &w->places[i];
	return NULL;
}

void csi_whereabouts_learn(struct csi_whereabouts *w, const char *stored_name, const char *node)
{
	if (!stored_name[0] || strlen(stored_name) > CLEAT_POOL_NAME_MAX_BYTES ||
	    strlen(node) > CSI_NODE_MAX_BYTES)
		return; /* none that a daemon would give */
	pthread_mutex_lock(&w->lock);
	struct place *p = find(w, stored_name);
	if (!p) {
		p = &w->places[w->next];
		w->next = (w->next + 1) % MAX_PLACES;
	}
	snprintf(p->pool, sizeof(p->pool), "%s", stored_name);
	snprintf(p->node, sizeof(p->node), "%s", node);
	pthread_mutex_unlock(&w->lock);
}

bool csi_whereabouts_get(struct csi_whereabouts *w, const char *stored_name,
			 char node_out[CSI_NODE_MAX_BYTES + 1])
{
	pthread_mutex_lock(&w->lock);
	const struct place *p = stored_name[0] ? find(w, stored_name) : NULL;
	if (p)
		snprintf(node_out, CSI_NODE_MAX_BYTES + 1, "%s", p->node);
	pthread_mutex_unlock(&w->lock);
	return p;
}
