/* param.c - checking and reading parameters by their key tables (backend.h).  Nothing is guessed: a value is
 * exactly of its type or refused. */
#include <cleat/backend.h>

#include "util/buf.h"
#include "util/kv.h"
#include "util/size.h"
#include "util/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES 4095
#define UINT_MAX_DIGITS 19
#define DECIMAL_MAX_DIGITS 15 /* exact in a double */

const struct cleat_param cleat_param_common[] = {
	{ "uid", CLEAT_PARAM_UINT, "uid", NULL, NULL, 0, 4294967294, "Owner of the volume's root directory.",
	  false },
	{ "gid", CLEAT_PARAM_UINT, "gid", NULL, NULL, 0, 4294967294, "Group of the volume's root directory.",
	  false },
	{ "mode", CLEAT_PARAM_MODE, "octal", NULL, NULL, 0, 0,
	  "Mode of the volume's root directory, e.g. 0750.", false },
	{ "allow_scopes", CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0,
	  "Other scopes that may use the volume, separated by commas; * for all.", true },
	{ NULL, CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, NULL, false },
};

static const char *const true_words[] = { "true", "yes", "1", NULL };
static const char *const false_words[] = { "false", "no", "0", NULL };

static bool is_one_of(const char *text, const char *const *words)
{
	for (; words && *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

static bool parse_uint(const char *text, uint64_t *out)
{
	size_t n = strspn(text, "0123456789");

	if (n == 0 || n > UINT_MAX_DIGITS || text[n])
		return false;
	*out = strtoull(text, NULL, 10);
	return true;
}

static bool parse_mode(const char *text, uint64_t *out)
{
	size_t n = strspn(text, "01234567");

	if (n == 0 || n > 5 || text[n])
		return false;
	*out = strtoull(text, NULL, 8);
	return *out <= 07777;
}

/* Digits and at most one point, independent of the locale. */
static bool parse_decimal(const char *text, double *out)
{
	double value = 0, scale = 1;
	size_t whole = strspn(text, "0123456789");
	const char *rest = text + whole;

	if (whole == 0 || whole > DECIMAL_MAX_DIGITS)
		return false;
	for (size_t i = 0; i < whole; i++)
		value = value * 10 + (text[i] - '0');
	if (*rest == '.') {
		size_t n = strspn(rest + 1, "0123456789");
		if (n == 0 || whole + n > DECIMAL_MAX_DIGITS || rest[1 + n])
			return false;
		for (size_t i = 1; i <= n; i++) {
			value = value * 10 + (rest[i] - '0');
			scale *= 10;
		}
	} else if (*rest) {
		return false;
	}
	*out = value / scale;
	return true;
}

static bool is_path(const char *text)
{
	return text[0] == '/' && strlen(text) <= PATH_MAX_BYTES;
}

static bool is_secret(const char *text)
{
	if (strncmp(text, "file:", 5) == 0)
		return is_path(text + 5);
	if (strncmp(text, "env:", 4) != 0 || (text[4] >= '0' && text[4] <= '9') || !text[4])
		return false;
	return text[4 + strspn(text + 4,
			       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
}

static void add_words(struct cleat_buf *b, const char *const *words)
{
	for (size_t i = 0; words && words[i]; i++)
		cleat_buf_addf(b, "%s'%s'", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
}

static enum cleat_code refuse(const struct cleat_param *p, const char *value, const char *wanted,
			      struct cleat_error *err)
{
	if (p->type == CLEAT_PARAM_SECRET)
		value = "***";
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "parameter '%s': value '%.*s' %s", p->key,
			       cleat_text_cut(value, 100), value, wanted);
}

static enum cleat_code check_range(const struct cleat_param *p, const char *value, uint64_t number,
				   struct cleat_error *err)
{
	char limit_text[CLEAT_SIZE_TEXT_BYTES], text[80];
	bool below = number < p->min;
	uint64_t limit = below ? p->min : p->max;

	if (!below && (p->max == 0 || number <= p->max))
		return CLEAT_OK;
	if (p->type == CLEAT_PARAM_SIZE)
		cleat_size_format(limit, limit_text);
	else
		snprintf(limit_text, sizeof(limit_text), "%llu", (unsigned long long)limit);
	snprintf(text, sizeof(text), "is %s, %s", below ? "below the least" : "above the most", limit_text);
	return refuse(p, value, text, err);
}

static enum cleat_code check_choice(const struct cleat_param *p, const char *value, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf wanted = CLEAT_BUF_INIT(300);

	if (is_one_of(value, p->choices))
		return CLEAT_OK;
	cleat_buf_adds(&wanted, "is not ");
	add_words(&wanted, p->choices);
	return refuse(p, value, cleat_buf_text(&wanted), err);
}

static enum cleat_code check_size(const struct cleat_param *p, const char *value, struct cleat_error *err)
{
	uint64_t number = 0;

	if (cleat_size_parse(value, &number, err))
		return cleat_error_wrap(err, "parameter '%s'", p->key);
	return check_range(p, value, number, err);
}

static enum cleat_code check_value(const struct cleat_param *p, const char *value, struct cleat_error *err)
{
	uint64_t number = 0;
	double decimal = 0;

	if (!cleat_text_is_clean(value, strlen(value)))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "parameter '%s': the value has control characters or is not UTF-8",
				       p->key);
	switch (p->type) {
	case CLEAT_PARAM_TEXT:
		return CLEAT_OK;
	case CLEAT_PARAM_BOOL:
		if (is_one_of(value, true_words) || is_one_of(value, false_words))
			return CLEAT_OK;
		return refuse(p, value, "is neither 'true' nor 'false'", err);
	case CLEAT_PARAM_SIZE:
		return check_size(p, value, err);
	case CLEAT_PARAM_UINT:
		if (!parse_uint(value, &number))
			return refuse(p, value, "is not a whole number", err);
		return check_range(p, value, number, err);
	case CLEAT_PARAM_MODE:
		return parse_mode(value, &number)
			       ? CLEAT_OK
			       : refuse(p, value, "is not an octal mode between 0 and 07777", err);
	case CLEAT_PARAM_CHOICE:
		return check_choice(p, value, err);
	case CLEAT_PARAM_PATH:
		return is_path(value) ? CLEAT_OK : refuse(p, value, "is not an absolute path", err);
	case CLEAT_PARAM_DECIMAL:
		return parse_decimal(value, &decimal) ? CLEAT_OK
						      : refuse(p, value, "is not a number such as 1.5", err);
	case CLEAT_PARAM_SECRET:
		return is_secret(value)
			       ? CLEAT_OK
			       : refuse(p, value, "is neither file:PATH nor env:NAME (a reference is wanted)",
					err);
	}
	return refuse(p, value, "is of a type this release does not know", err);
}

static const struct cleat_param *find(const struct cleat_param *table, const char *key)
{
	for (; table && table->key; table++)
		if (strcmp(table->key, key) == 0)
			return table;
	return NULL;
}

static enum cleat_code refuse_key(const struct cleat_param *const *tables, size_t table_count,
				  const struct cleat_kv *pair, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf known = CLEAT_BUF_INIT(340);
	const char *key = cleat_text_is_clean(pair->key, strlen(pair->key)) ? pair->key : "?";
	const char *value = cleat_text_is_clean(pair->value, strlen(pair->value)) ? pair->value : "?";

	for (size_t i = 0; i < table_count; i++)
		for (const struct cleat_param *p = tables[i]; p && p->key; p++)
			cleat_buf_addf(&known, "%s%s", known.len ? ", " : "", p->key);
	if (known.len == 0)
		cleat_buf_adds(&known, "none");
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
			       "unknown parameter '%.*s' (value '%.*s'); accepted: %s%s",
			       cleat_text_cut(key, 40), key, cleat_text_cut(value, 40), value,
			       cleat_buf_text(&known), cleat_buf_ok(&known) ? "" : ", ...");
}

enum cleat_code cleat_param_check(const struct cleat_param *const *tables, size_t table_count,
				  const struct cleat_kvs *kvs, struct cleat_error *err)
{
	for (size_t i = 0; i < kvs->count; i++) {
		const struct cleat_param *p = NULL;
		for (size_t t = 0; t < table_count && !p; t++)
			p = find(tables[t], kvs->items[i].key);
		enum cleat_code code = p ? check_value(p, kvs->items[i].value, err)
					 : refuse_key(tables, table_count, &kvs->items[i], err);
		if (code)
			return code;
	}
	return CLEAT_OK;
}

const char *cleat_param_text(const struct cleat_param *table, const struct cleat_kvs *kvs, const char *key)
{
	const char *value = cleat_kv_get(kvs, key);
	const struct cleat_param *p = find(table, key);

	return value ? value : p ? p->def : NULL;
}

bool cleat_param_bool(const struct cleat_param *table, const struct cleat_kvs *kvs, const char *key)
{
	const char *value = cleat_param_text(table, kvs, key);

	return value && is_one_of(value, true_words);
}

uint64_t cleat_param_number(const struct cleat_param *table, const struct cleat_kvs *kvs, const char *key)
{
	const struct cleat_param *p = find(table, key);
	const char *value = cleat_param_text(table, kvs, key);
	uint64_t number = 0;
	bool good;

	if (!p || !value)
		return 0;
	if (p->type == CLEAT_PARAM_SIZE)
		good = cleat_size_parse(value, &number, NULL) == CLEAT_OK;
	else
		good = p->type == CLEAT_PARAM_MODE ? parse_mode(value, &number) : parse_uint(value, &number);
	return good ? number : 0;
}

double cleat_param_decimal(const struct cleat_param *table, const struct cleat_kvs *kvs, const char *key)
{
	const char *value = cleat_param_text(table, kvs, key);
	double number = 0;

	return value && parse_decimal(value, &number) ? number : 0;
}
