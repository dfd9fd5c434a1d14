/* pending.h - what a far side has been asked for and has not finished: how often it was looked at, and when
 * to look again.
 *
 * A slot that waits for a far side returns cleat_pending_wait() each time, so that no thread sleeps; the
 * engine calls it again, and it finds here what it had begun.  Kept in memory only: after a restart the far
 * side itself says how far things are.
 */
#ifndef CLEAT_REMOTE_PENDING_H
#define CLEAT_REMOTE_PENDING_H

#include <cleat/backend.h>
#include <cleat/error.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define CLEAT_PENDING_NOTE_BYTES 128

struct cleat_pending {
	pthread_mutex_t lock; /* innermost; guards the list */
	struct cleat_pending_entry *first;
	size_t count;
};

/* How to wait: the first pause, each further one longer by percent/100 up to the longest, and when to give
 * up. */
struct cleat_pending_rule {
	int64_t first_ms, most_ms, limit_ms;
	unsigned percent; /* 150: each pause is half as long again */
};

void cleat_pending_init(struct cleat_pending *p);
void cleat_pending_free(struct cleat_pending *p); /* the entries; not p */

/* Ends this call with "not yet" (see cleat_op_again()); the pauses grow from call to call with the same key.
 * DEADLINE_EXCEEDED "<what>: not done after N s" when the limit has passed since the first of them, after
 * which the key is forgotten.  The engine shows `what` as the step. */
enum cleat_code cleat_pending_wait(struct cleat_pending *p, struct cleat_op *op, const char *key,
				   const char *what, const struct cleat_pending_rule *rule,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* It is done, or failed: forgets the key and its note. */
void cleat_pending_done(struct cleat_pending *p, const char *key);
/* A short text that is kept with the key (the far side's id of what was begun); false: none. */
enum cleat_code cleat_pending_put_note(struct cleat_pending *p, const char *key, const char *note,
				       struct cleat_error *err) CLEAT_MUST_CHECK;
bool cleat_pending_note(struct cleat_pending *p, const char *key, char note_out[CLEAT_PENDING_NOTE_BYTES]);
/* Since when the key is waited for, milliseconds; 0: it is not. */
int64_t cleat_pending_age_ms(struct cleat_pending *p, const char *key);
/* Calls fn with every key and note; fn must not call back. */
void cleat_pending_each(struct cleat_pending *p, void (*fn)(const char *key, const char *note, void *arg),
			void *arg);

#endif
