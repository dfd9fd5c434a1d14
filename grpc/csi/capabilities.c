/* capabilities.c - what the pools really have; of a pool that was never opened, what its backend can have. */
#include "csi/internal.h"

#include <stdlib.h>

static unsigned of_backend(const char *name)
{
	const struct cleat_backend *b = cleat_backend_find(name);
	unsigned can = 0;

	if (b && b->snapshot)
		can |= CLEAT_CAN_SNAPSHOT | CLEAT_CAN_CLONE;
	if (b && b->expand)
		can |= CLEAT_CAN_EXPAND;
	return can;
}

static void add(struct csi_abilities *all, const struct cleat_pool_state *p)
{
	const unsigned can = p->capabilities ? p->capabilities : of_backend(p->backend);

	all->snapshot |=
		(can & (CLEAT_CAN_SNAPSHOT | CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY)) && (can & CLEAT_CAN_CLONE);
	all->clone |= !!(can & CLEAT_CAN_CLONE);
	all->expand |= !!(can & CLEAT_CAN_EXPAND);
	all->group |= !!(can & CLEAT_CAN_GROUP_SNAPSHOT);
	all->placed |= !p->shared;
	/* One word for all pools: what only some can do online is not promised. */
	if ((can & CLEAT_CAN_EXPAND) && !(can & CLEAT_CAN_EXPAND_ONLINE))
		all->expand_online = false;
}

struct csi_abilities csi_abilities(struct cleat_csi *c)
{
	size_t room = cleat_pool_list(c->engine, NULL, 0), n;
	cleat_autofree struct cleat_pool_state *pools = calloc(room + 1, sizeof(*pools));
	struct csi_abilities all = { .expand_online = true };

	n = pools ? cleat_pool_list(c->engine, pools, room) : 0;
	for (size_t i = 0; i < n && i < room; i++)
		add(&all, &pools[i]);
	all.placed |= csi_topology_is_declared(c);
	return all;
}
