/* table.c - see table.h. */
#include "module/table.h"

#include "util/mem.h"

#include <stdio.h>
#include <string.h>

static void entry_free(struct mesos_entry *e)
{
	mesos_args_done(&e->queues);
	free(e);
}

void mesos_table_done(struct mesos_table *t)
{
	while (t->first) {
		struct mesos_entry *e = t->first;

		t->first = e->next;
		entry_free(e);
	}
	t->count = 0;
}

struct mesos_entry *mesos_table_find(const struct mesos_table *t, const char *key)
{
	struct mesos_entry *e = t->first;

	while (e && strcmp(e->key, key) != 0)
		e = e->next;
	return e;
}

struct mesos_entry *mesos_table_add(struct mesos_table *t, const char *key)
{
	struct mesos_entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	snprintf(e->key, sizeof(e->key), "%s", key);
	e->next = t->first;
	t->first = e;
	t->count++;
	return e;
}

void mesos_table_remove(struct mesos_table *t, const char *key)
{
	for (struct mesos_entry **at = &t->first; *at; at = &(*at)->next) {
		struct mesos_entry *e = *at;

		if (strcmp(e->key, key) != 0)
			continue;
		*at = e->next;
		t->count--;
		entry_free(e);
		return;
	}
}
