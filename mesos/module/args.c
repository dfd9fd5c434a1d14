/* args.c - see args.h. */
#include "module/args.h"

#include "util/buf.h"
#include "util/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES (1u << 20)

void mesos_args_done(struct mesos_args *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->items[i]);
	free(a->items);
	*a = (struct mesos_args){ 0 };
}

static void add_owned(struct mesos_args *a, char *text)
{
	char **more = text && !a->failed && a->count < MESOS_MAX_ARGS
			      ? realloc(a->items, (a->count + 2) * sizeof(*more))
			      : NULL;

	if (!more) {
		a->failed = true;
		free(text);
		return;
	}
	a->items = more;
	more[a->count++] = text;
	more[a->count] = NULL;
}

void mesos_args_add(struct mesos_args *a, const char *text)
{
	add_owned(a, strdup(text));
}

void mesos_args_addf(struct mesos_args *a, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	add_owned(a, text);
}

void mesos_args_option(struct mesos_args *a, const char *option, const char *text)
{
	if (!text)
		return;
	mesos_args_add(a, option);
	mesos_args_add(a, text);
}

enum cleat_code mesos_args_check(const struct mesos_args *a, struct cleat_error *err)
{
	return a->failed ? cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for an argument vector")
			 : CLEAT_OK;
}

enum cleat_code mesos_args_join(const struct mesos_args *a, char **out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf b = CLEAT_BUF_INIT(LINE_MAX_BYTES);

	for (size_t i = 0; i < a->count; i++)
		cleat_buf_addf(&b, "%s%s", i ? " " : "", a->items[i]);
	if (!(*out = cleat_buf_steal(&b)))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "a command line has more than %u bytes",
				       LINE_MAX_BYTES);
	return CLEAT_OK;
}
