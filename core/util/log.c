/* log.c - see log.h.  A line is put together in one buffer and written with one write(2). */
#include "util/log.h"

#include "util/buf.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINE_BYTES 8192
#define MAX_FIELDS 24

static const char *const level_names[] = { "debug", "info", "warn", "error" };

static atomic_int least_level = CLEAT_LOG_WARN;
static enum cleat_log_format log_format = CLEAT_LOG_TEXT;
static int log_fd = STDERR_FILENO;

void cleat_log_setup(enum cleat_log_level least, enum cleat_log_format format, int fd)
{
	atomic_store(&least_level, (int)least);
	log_format = format;
	log_fd = fd;
}

void cleat_log_set_level(enum cleat_log_level least)
{
	atomic_store(&least_level, (int)least);
}

bool cleat_log_enabled(enum cleat_log_level level)
{
	return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

bool cleat_log_parse_level(const char *word, enum cleat_log_level *level_out)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(word, level_names[i]) == 0) {
			*level_out = (enum cleat_log_level)i;
			return true;
		}
	}
	return false;
}

static void add_time(struct cleat_buf *b)
{
	struct timespec now;
	struct tm tm;
	char text[40];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	if (log_format == CLEAT_LOG_HCLOG) /* hclog parses exactly this layout */
		cleat_buf_addf(b, "%s.%06ldZ", text, now.tv_nsec / 1000);
	else
		cleat_buf_addf(b, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

static void add_json_string(struct cleat_buf *b, const char *s)
{
	cleat_buf_adds(b, "\"");
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			cleat_buf_addf(b, "\\%c", c);
		else if (c < ' ')
			cleat_buf_addf(b, "\\u%04x", c);
		else
			cleat_buf_add(b, s, 1);
	}
	cleat_buf_adds(b, "\"");
}

/* A value with spaces, quotes or control characters is quoted, so that a line can be taken apart again. */
static void add_text_value(struct cleat_buf *b, const char *s)
{
	bool plain = *s != '\0';

	for (const char *p = s; *p && plain; p++)
		plain = (unsigned char)*p > ' ' && *p != '"' && *p != '=' && *p != '\\';
	if (plain)
		cleat_buf_adds(b, s);
	else
		add_json_string(b, s);
}

static void add_json_field(struct cleat_buf *b, const char *key, const char *value)
{
	cleat_buf_adds(b, ",");
	add_json_string(b, key);
	cleat_buf_adds(b, ":");
	add_json_string(b, value);
}

static void write_line(enum cleat_log_level level, const struct cleat_log_field *fields, const char *msg)
{
	cleat_autobuf struct cleat_buf b = CLEAT_BUF_INIT(MAX_LINE_BYTES);

	if (log_format == CLEAT_LOG_TEXT) {
		add_time(&b);
		cleat_buf_addf(&b, " %-5s ", level_names[level]);
		cleat_buf_adds(&b, msg);
	} else {
		bool hclog = log_format == CLEAT_LOG_HCLOG;
		cleat_buf_adds(&b, hclog ? "{\"@timestamp\":\"" : "{\"time\":\"");
		add_time(&b);
		cleat_buf_addf(&b, "\",\"%s\":\"%s\",\"%s\":", hclog ? "@level" : "level",
			       level_names[level], hclog ? "@message" : "msg");
		add_json_string(&b, msg);
	}
	for (; fields && fields->key; fields++) {
		if (!fields->value)
			continue;
		if (log_format == CLEAT_LOG_TEXT) {
			cleat_buf_addf(&b, " %s=", fields->key);
			add_text_value(&b, fields->value);
		} else {
			add_json_field(&b, fields->key, fields->value);
		}
	}
	cleat_buf_adds(&b, log_format == CLEAT_LOG_TEXT ? "\n" : "}\n");
	if (!cleat_buf_ok(&b)) /* too long for a line: the message alone still says what happened */
		cleat_buf_clear(&b), cleat_buf_addf(&b, "%s (log fields dropped: line too long)\n", msg);
	ssize_t done = write(log_fd, b.data, b.len);
	(void)done; /* there is nobody to tell */
}

void cleat_log(enum cleat_log_level level, const struct cleat_log_field *fields, const char *fmt, ...)
{
	char msg[1024];
	va_list args;

	if (!cleat_log_enabled(level))
		return;
	va_start(args, fmt);
	vsnprintf(msg, sizeof(msg), fmt, args);
	va_end(args);
	write_line(level, fields, msg);
}

void cleat_log_pairs(enum cleat_log_level level, const char *msg, ...)
{
	struct cleat_log_field fields[MAX_FIELDS + 1];
	size_t n = 0;
	va_list args;

	if (!cleat_log_enabled(level))
		return;
	va_start(args, msg);
	for (const char *key; n < MAX_FIELDS && (key = va_arg(args, const char *));)
		fields[n++] = (struct cleat_log_field){ key, va_arg(args, const char *) };
	va_end(args);
	fields[n] = (struct cleat_log_field){ NULL, NULL };
	write_line(level, fields, msg);
}
