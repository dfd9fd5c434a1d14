/* pending.c - see pending.h. */
#include "remote/pending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/clock.h"

#define MAX_ENTRIES 4096 /* far above the operations that a pool runs at once; the oldest goes */

struct cleat_pending_entry {
	struct cleat_pending_entry *next;
	char *key;
	char note[CLEAT_PENDING_NOTE_BYTES];
	int64_t since_ms; /* first wait; 0: only a note so far */
	int64_t pause_ms; /* the last one */
};

void cleat_pending_init(struct cleat_pending *p)
{
	*p = (struct cleat_pending){ .first = NULL };
	pthread_mutex_init(&p->lock, NULL);
}

static void drop(struct cleat_pending *p, struct cleat_pending_entry **at)
{
	struct cleat_pending_entry *e = *at;

	*at = e->next;
	p->count--;
	free(e->key);
	free(e);
}

void cleat_pending_free(struct cleat_pending *p)
{
	while (p->first)
		drop(p, &p->first);
	pthread_mutex_destroy(&p->lock);
}

static struct cleat_pending_entry **find(struct cleat_pending *p, const char *key)
{
	struct cleat_pending_entry **at = &p->first;

	while (*at && strcmp((*at)->key, key) != 0)
		at = &(*at)->next;
	return at;
}

static void drop_oldest(struct cleat_pending *p)
{
	struct cleat_pending_entry **at = &p->first;

	while ((*at)->next)
		at = &(*at)->next;
	drop(p, at);
}

/* With the lock.  NULL without memory. */
static struct cleat_pending_entry *get(struct cleat_pending *p, const char *key)
{
	struct cleat_pending_entry *e = *find(p, key);

	if (e)
		return e;
	if (p->count >= MAX_ENTRIES)
		drop_oldest(p);
	e = calloc(1, sizeof(*e));
	if (!e || !(e->key = strdup(key))) {
		free(e);
		return NULL;
	}
	e->next = p->first;
	p->first = e;
	p->count++;
	return e;
}

/* With the lock: the next pause, or -1 when the limit has passed. */
static int64_t next_pause(struct cleat_pending_entry *e, const struct cleat_pending_rule *rule)
{
	const int64_t now = cleat_time_mono_ms();

	if (!e->since_ms)
		e->since_ms = now;
	if (now - e->since_ms >= rule->limit_ms)
		return -1;
	e->pause_ms = e->pause_ms ? e->pause_ms * rule->percent / 100 : rule->first_ms;
	if (e->pause_ms > rule->most_ms)
		e->pause_ms = rule->most_ms;
	return e->pause_ms;
}

enum cleat_code cleat_pending_wait(struct cleat_pending *p, struct cleat_op *op, const char *key,
				   const char *what, const struct cleat_pending_rule *rule,
				   struct cleat_error *err)
{
	pthread_mutex_lock(&p->lock);
	struct cleat_pending_entry *e = get(p, key);
	const int64_t pause = e ? next_pause(e, rule) : 0;
	const int64_t waited = e ? cleat_time_mono_ms() - e->since_ms : 0;
	if (pause < 0)
		drop(p, find(p, key));
	pthread_mutex_unlock(&p->lock);
	if (!e)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (pause < 0)
		return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED, "%s: not done after %.1f s", what,
				       (double)waited / 1000);
	cleat_op_step(op, what, rule->most_ms + 60000);
	return cleat_op_again(op, pause, err);
}

void cleat_pending_done(struct cleat_pending *p, const char *key)
{
	pthread_mutex_lock(&p->lock);
	struct cleat_pending_entry **at = find(p, key);
	if (*at)
		drop(p, at);
	pthread_mutex_unlock(&p->lock);
}

enum cleat_code cleat_pending_put_note(struct cleat_pending *p, const char *key, const char *note,
				       struct cleat_error *err)
{
	pthread_mutex_lock(&p->lock);
	struct cleat_pending_entry *e = get(p, key);
	if (e)
		snprintf(e->note, sizeof(e->note), "%s", note);
	pthread_mutex_unlock(&p->lock);
	return e ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

bool cleat_pending_note(struct cleat_pending *p, const char *key, char note_out[CLEAT_PENDING_NOTE_BYTES])
{
	pthread_mutex_lock(&p->lock);
	const struct cleat_pending_entry *e = *find(p, key);
	if (e)
		memcpy(note_out, e->note, CLEAT_PENDING_NOTE_BYTES);
	pthread_mutex_unlock(&p->lock);
	return e && *note_out;
}

int64_t cleat_pending_age_ms(struct cleat_pending *p, const char *key)
{
	pthread_mutex_lock(&p->lock);
	const struct cleat_pending_entry *e = *find(p, key);
	const int64_t since = e ? e->since_ms : 0;
	pthread_mutex_unlock(&p->lock);
	return since ? cleat_time_mono_ms() - since + 1 : 0;
}

void cleat_pending_each(struct cleat_pending *p, void (*fn)(const char *key, const char *note, void *arg),
			void *arg)
{
	pthread_mutex_lock(&p->lock);
	for (const struct cleat_pending_entry *e = p->first; e; e = e->next)
		fn(e->key, e->note, arg);
	pthread_mutex_unlock(&p->lock);
}
