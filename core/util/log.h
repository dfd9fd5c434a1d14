/* log.h - one process-wide sink for structured log lines: key=value text or JSON, one line each.
 *
 * Code under core/ logs at debug level only; it returns errors.  Doors log each failure once.
 */
#ifndef CLEAT_UTIL_LOG_H
#define CLEAT_UTIL_LOG_H

#include <cleat/error.h>
#include <stdbool.h>

enum cleat_log_level {
	CLEAT_LOG_DEBUG,
	CLEAT_LOG_INFO,
	CLEAT_LOG_WARN,
	CLEAT_LOG_ERROR,
};

enum cleat_log_format {
	CLEAT_LOG_TEXT, /* "2026-01-01T00:00:00.000Z INFO  message key=value" */
	CLEAT_LOG_JSON, /* {"time":...,"level":"info","msg":...,"key":"value"} */
	CLEAT_LOG_HCLOG, /* {"@timestamp":...,"@level":"info","@message":...,"key":"value"}: hashicorp go-plugin */
};

/* One key and its value; a list ends with a NULL key.  Values are text and borrowed for the call. */
struct cleat_log_field {
	const char *key;
	const char *value; /* NULL leaves the field out */
};

/* Sets level, format and descriptor (borrowed) of the process's log.  Call before threads start. */
void cleat_log_setup(enum cleat_log_level least, enum cleat_log_format format, int fd);
/* Level may change at any time (reload). */
void cleat_log_set_level(enum cleat_log_level least);
bool cleat_log_enabled(enum cleat_log_level level);
/* "debug", "info", "warn", "error"; false when the word is none of them. */
bool cleat_log_parse_level(const char *word, enum cleat_log_level *level_out);

void cleat_log(enum cleat_log_level level, const struct cleat_log_field *fields, const char *fmt, ...)
	CLEAT_PRINTF(3, 4);

/* cleat_log_kv(CLEAT_LOG_INFO, "volume created", "volume", id, "pool", pool); values are char pointers. */
#define cleat_log_kv(level, msg, ...) cleat_log_pairs((level), (msg), __VA_ARGS__, (char *)NULL)
void cleat_log_pairs(enum cleat_log_level level, const char *msg, ...);

#define cleat_debug(...) cleat_log(CLEAT_LOG_DEBUG, NULL, __VA_ARGS__)

#endif
