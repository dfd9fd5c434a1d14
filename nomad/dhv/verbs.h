/* verbs.h - what Nomad asks of the plugin: create, which is also restore and update, and delete. */
#ifndef CLEAT_DHV_VERBS_H
#define CLEAT_DHV_VERBS_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "dhv/request.h"
#include "dhv/settings.h"

/* Nomad gives a create 60 s, and a restart of its agent 50 s for all volumes together: a refusal in words
 * must come before that, because a plugin that is killed has said nothing. */
struct dhv_limits {
	int64_t whole_ms; /* everything */
	int64_t new_ms;	  /* longest wait for the daemon when nothing is known of the volume, and at delete */
	int64_t known_ms; /* when the volume was handed out before: the machine may be just starting */
	int64_t mounted_ms; /* when it is still mounted, so that there is an answer without the daemon */
};
extern const struct dhv_limits dhv_limits;

struct dhv_answer {
	char *path; /* owned */
	uint64_t bytes;
};

/* Something that went another way than asked, but not wrong: one line for the log. */
typedef void (*dhv_warn_fn)(const char *line);

struct dhv_context {
	const struct dhv_request *request;
	const struct dhv_settings *settings;
	const struct dhv_limits *limits;
	dhv_warn_fn warn;
	bool unreachable; /* result: the error means that nobody serves the socket */
};

/* The volume is there and mounted: made, found again, or grown.  On success answer->path belongs to the
 * caller. */
enum cleat_code dhv_create(struct dhv_context *c, struct dhv_answer *answer,
			   struct cleat_error *err) CLEAT_MUST_CHECK;
/* The standing claim is released, and the volume deleted or kept; what is gone is gone. */
enum cleat_code dhv_delete(struct dhv_context *c, struct cleat_error *err) CLEAT_MUST_CHECK;

void dhv_warn(const struct dhv_context *c, const char *fmt, ...) CLEAT_PRINTF(2, 3);

#endif
