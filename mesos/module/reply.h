/* reply.h - the one line of JSON that `cleat-mesos` answers with (helper.h). */
#ifndef CLEAT_MESOS_REPLY_H
#define CLEAT_MESOS_REPLY_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>

#define MESOS_REPLY_MAX_LIST 16384

struct mesos_list {
	char **items; /* owned */
	size_t count;
};

struct mesos_reply {
	bool ok;
	struct cleat_error err; /* when not ok */
	struct mesos_list paths, kept, released, failed;
};

void mesos_reply_done(struct mesos_reply *r);
/* bytes need not end in NUL.  Failure is INTERNAL and means that this is no answer; out is then empty.  An
 * answer that says ok is false is a success of this function. */
enum cleat_code mesos_reply_read(const char *bytes, size_t n, struct mesos_reply *out,
				 struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
