/* table.h - the containers that have, or may have, volumes. */
#ifndef CLEAT_MESOS_TABLE_H
#define CLEAT_MESOS_TABLE_H

#include "module/args.h"
#include "module/helper.h"

struct mesos_entry {
	struct mesos_entry *next;
	char key[CLEAT_MESOS_KEY_MAX_BYTES + 1];
	bool recovered;		  /* told by the agent after its restart; it may turn out to have nothing */
	bool leaving;		  /* being cleaned up: nobody's any more, but for the release */
	struct mesos_args queues; /* its volumes' names; empty for a recovered one */
};

/* The caller locks. */
struct mesos_table {
	struct mesos_entry *first;
	size_t count;
};

void mesos_table_done(struct mesos_table *t);
struct mesos_entry *mesos_table_find(const struct mesos_table *t, const char *key);
/* key must not be there; NULL without memory. */
struct mesos_entry *mesos_table_add(struct mesos_table *t, const char *key);
void mesos_table_remove(struct mesos_table *t, const char *key);

#endif
