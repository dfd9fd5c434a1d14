/* plan.h - from a container's wishes to command lines: what `cleat-mesos` publishes, and what
 * `cleat-mesos-enter` mounts inside. */
#ifndef CLEAT_MESOS_PLAN_H
#define CLEAT_MESOS_PLAN_H

#include "module/args.h"
#include "module/request.h"
#include "module/settings.h"

/* The program and its options, up to the verb. */
void mesos_plan_helper(struct mesos_args *out, const struct mesos_settings *s, const char *verb);
void mesos_plan_publish(struct mesos_args *out, const struct mesos_settings *s,
			const struct cleat_mesos_request *r, const struct mesos_wishes *w, const char *key);
/* Whether a byte of a word needs no escape for cleat-mesos-enter, nor quotes for a shell. */
bool mesos_plan_is_plain(unsigned char c);
/* paths: where each volume was published, as many as there are wishes; ns_dev, ns_ino: the agent's mount
 * namespace.  Every word consists of letters, digits and characters that mean nothing to a shell. */
void mesos_plan_enter(struct mesos_args *out, const struct mesos_settings *s,
		      const struct cleat_mesos_request *r, const struct mesos_wishes *w, char *const *paths,
		      unsigned long ns_dev, unsigned long ns_ino);
/* Whether any volume has a container path: otherwise nothing is mounted inside. */
bool mesos_plan_enters(const struct mesos_wishes *w);

#endif
