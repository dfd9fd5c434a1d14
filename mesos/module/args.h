/* args.h - a growing argument vector. */
#ifndef CLEAT_MESOS_ARGS_H
#define CLEAT_MESOS_ARGS_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>

#define MESOS_MAX_ARGS 65536

struct mesos_args {
	char **items; /* owned; items[count] is NULL once something was added */
	size_t count;
	bool failed; /* no memory, or too many */
};

void mesos_args_done(struct mesos_args *a);
void mesos_args_add(struct mesos_args *a, const char *text);
void mesos_args_addf(struct mesos_args *a, const char *fmt, ...) CLEAT_PRINTF(2, 3);
/* "option", text; nothing when text is NULL. */
void mesos_args_option(struct mesos_args *a, const char *option, const char *text);
/* All words with a space between them; free(). */
enum cleat_code mesos_args_join(const struct mesos_args *a, char **out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code mesos_args_check(const struct mesos_args *a, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
