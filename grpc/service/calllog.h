/* calllog.h - one log line per finished call, whatever door it came through.
 *
 * Every handler may leave a note with its call: which volume it is about.  Nothing else of a request is ever
 * logged, so that no parameter, mount option or secret can get into the log.
 */
#ifndef CLEAT_SERVICE_CALLLOG_H
#define CLEAT_SERVICE_CALLLOG_H

#include "rt/server.h"

#include <cleat/record.h>

/* The data of a call (cleat_rpc_call_set_data) is NULL or begins with this. */
struct cleat_call_note {
	char subject[CLEAT_ID_MAX_BYTES + CLEAT_NAME_MAX_BYTES +
		     2]; /* as the caller named it, cut to fit; "" without */
	char id[CLEAT_ID_MAX_BYTES +
		1]; /* of the volume or snapshot in the answer, where the caller named none; "" without */
	const char *text; /* static: what the log says instead of the error's text; NULL: that text */
};

/* Copies what the caller called the volume: "volume", or "pool/name" when a pool is given (neither NULL nor
 * ""). */
void cleat_call_note_subject(struct cleat_call_note *note, const char *pool, const char *volume);

/* A cleat_rpc_done_fn: info for OK, warn for anything else; the standard services (health, reflection) at
 * debug. */
void cleat_call_log(const struct cleat_rpc_call *call, const struct cleat_rpc_done *done, void *arg);

#endif
