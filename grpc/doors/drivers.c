/* drivers.c - see drivers.h. */
#include "doors/drivers.h"

#include "cleatd/yaml.h"
#include "util/mem.h"
#include "util/size.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)
#define NAME_MAX_BYTES 128
#define PATH_MAX_BYTES 1024
#define OPTION_MAX_BYTES 64

/* Options as REX-Ray and those after it have them; their plain sizes are GiB.  Nobody is asked to overwrite
 * what may be data. */
static const char *const known_options[][2] = {
	{ "fstype", "fs" },	      { "newfstype", "fs" },	  { "overwritefs", "" },
	{ "snapshotname", "source" }, { "volumename", "source" }, { "volumetype", "type" },
};

static const struct cleat_door_driver unknown_driver = { .size_unit_bytes = GIB, .create = true };
/* Our own name is no other driver's: its options are in our own words. */
static const struct cleat_door_driver own_driver = { .size_unit_bytes = 1, .create = true };

static void driver_done(struct cleat_door_driver *d)
{
	free(d->name);
	free(d->pool);
	free(d->host_path);
	cleat_kv_done(&d->options);
	cleat_kv_done(&d->params);
}

void cleat_door_drivers_done(struct cleat_door_drivers *t)
{
	for (size_t i = 0; i < t->count; i++)
		driver_done(&t->items[i]);
	free(t->items);
	*t = (struct cleat_door_drivers){ 0 };
}

const struct cleat_door_driver *cleat_door_driver_find(const struct cleat_door_drivers *t, const char *name)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->items[i].name, name) == 0)
			return &t->items[i];
	return strcmp(name, "cleat") == 0 ? &own_driver : &unknown_driver;
}

/* ---- reading the file ---- */

struct reader {
	struct cleatd_report report;
	struct cleat_door_drivers *table;
};

static void bad(struct reader *r, const struct cleatd_yaml *at, const char *what)
{
	cleatd_report_add(&r->report, at->line, "'%s' %s", at->key ? at->key : "the file", what);
}

static bool is_map(struct reader *r, const struct cleatd_yaml *n)
{
	if (n->kind != CLEATD_YAML_MAP && !n->empty)
		bad(r, n, "must be a mapping");
	return n->kind == CLEATD_YAML_MAP;
}

static bool is_text(struct reader *r, const struct cleatd_yaml *n, size_t max_bytes)
{
	if (n->kind == CLEATD_YAML_SCALAR && strlen(n->text) <= max_bytes)
		return true;
	bad(r, n, n->kind == CLEATD_YAML_SCALAR ? "is too long" : "must be a single value");
	return false;
}

static void out_of_memory(struct reader *r)
{
	cleatd_report_add(&r->report, 0, "out of memory");
}

static void take_text(struct reader *r, const struct cleatd_yaml *n, size_t max_bytes, char **out)
{
	if (!is_text(r, n, max_bytes))
		return;
	if (!*n->text)
		bad(r, n, "must not be empty");
	else if (!(*out = strdup(n->text)))
		out_of_memory(r);
}

static void take_size(struct reader *r, const struct cleatd_yaml *n, uint64_t least, uint64_t *out)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char unit[OPTION_MAX_BYTES + 1];

	if (!is_text(r, n, OPTION_MAX_BYTES - 1))
		return;
	/* "GiB" alone is one of it. */
	snprintf(unit, sizeof(unit), "%s%s", isdigit((unsigned char)n->text[0]) ? "" : "1", n->text);
	if (cleat_size_parse(unit, out, &err) || *out < least)
		bad(r, n, "is no size, like 16GiB");
}

static void take_bool(struct reader *r, const struct cleatd_yaml *n, bool *out)
{
	if (!is_text(r, n, OPTION_MAX_BYTES))
		return;
	*out = strcmp(n->text, "true") == 0;
	if (!*out && strcmp(n->text, "false") != 0)
		bad(r, n, "must be true or false");
}

static bool lower(const char *text, char out[OPTION_MAX_BYTES + 1])
{
	size_t n = strlen(text);

	if (n == 0 || n > OPTION_MAX_BYTES)
		return false;
	for (size_t i = 0; i <= n; i++)
		out[i] = (char)tolower((unsigned char)text[i]);
	return true;
}

static void take_pairs(struct reader *r, const struct cleatd_yaml *n, bool lower_keys, struct cleat_kvs *out)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char name[OPTION_MAX_BYTES + 1];

	if (!is_map(r, n))
		return;
	for (const struct cleatd_yaml *c = n->first; c; c = c->next) {
		if (!is_text(r, c, PATH_MAX_BYTES))
			continue;
		if (!lower(c->key, name))
			bad(r, c, "is no name of an option");
		else if (cleat_kv_set(out, lower_keys ? name : c->key, c->empty ? "" : c->text, &err))
			cleatd_report_add(&r->report, c->line, "%s", err.msg);
	}
}

static void take_host_path(struct reader *r, const struct cleatd_yaml *n, char **out)
{
	take_text(r, n, PATH_MAX_BYTES, out);
	if (!*out)
		return;
	for (const char *p = strchr(*out, '%'); p; p = strchr(p + 2, '%'))
		if (p[1] != 'n' && p[1] != 'p') {
			bad(r, n, "may hold %n, the volume's name, and %p, its pool, and no other '%'");
			return;
		}
	if (**out != '/' || !strstr(*out, "%n"))
		bad(r, n, "must be an absolute path that has %n, the volume's name, in it");
}

const struct cleat_door_driver_key cleat_door_driver_keys[] = {
	{ "pool", "The pool that the driver's volumes are in. Default: the pool of the driver's name if "
		  "there is one, else "
		  "the default pool." },
	{ "options", "A mapping from names of options, in any case, to parameters of a volume; 'size' is the "
		     "size, 'source' the "
		     "volume or snapshot to begin with, and '' ignores the option." },
	{ "params", "A mapping: parameters of new volumes unless an option says otherwise." },
	{ "size", "The size of new volumes without an option for it. Default: the backend's own." },
	{ "size_unit", "What one is in a size without unit. Default: GiB." },
	{ "create", "Whether volumes that do not exist are created: true (the default) or false." },
	{ "host_path", "For containers that name no path of their own: the path of the host at which they "
		       "find the volume. "
		       "Absolute; %n is the volume's name and must be there, %p its pool." },
	{ NULL, NULL },
};

static void take_known_key(struct reader *r, const struct cleatd_yaml *n, const char *name,
			   struct cleat_door_driver *d)
{
	if (strcmp(name, "pool") == 0)
		take_text(r, n, NAME_MAX_BYTES, &d->pool);
	else if (strcmp(name, "options") == 0)
		take_pairs(r, n, true, &d->options);
	else if (strcmp(name, "params") == 0)
		take_pairs(r, n, false, &d->params);
	else if (strcmp(name, "size") == 0)
		take_size(r, n, 0, &d->size_bytes);
	else if (strcmp(name, "size_unit") == 0)
		take_size(r, n, 1, &d->size_unit_bytes);
	else if (strcmp(name, "create") == 0)
		take_bool(r, n, &d->create);
	else
		take_host_path(r, n, &d->host_path);
}

static void take_key(struct reader *r, const struct cleatd_yaml *n, struct cleat_door_driver *d)
{
	for (const struct cleat_door_driver_key *k = cleat_door_driver_keys; k->name; k++) {
		if (strcmp(k->name, n->key) != 0)
			continue;
		take_known_key(r, n, k->name, d);
		return;
	}
	bad(r, n, "is unknown: see drivers.conf(5)");
}

static void take_driver(struct reader *r, const struct cleatd_yaml *n)
{
	struct cleat_door_driver *d = &r->table->items[r->table->count];

	*d = unknown_driver;
	if (!*n->key || strlen(n->key) > NAME_MAX_BYTES) {
		bad(r, n, "is no name of a driver");
		return;
	}
	if (!(d->name = strdup(n->key))) {
		out_of_memory(r);
		return;
	}
	r->table->count++;
	if (!is_map(r, n))
		return;
	for (const struct cleatd_yaml *c = n->first; c; c = c->next)
		take_key(r, c, d);
}

static void take_drivers(struct reader *r, const struct cleatd_yaml *n)
{
	if (!is_map(r, n))
		return;
	if (!(r->table->items = calloc(CLEAT_DOOR_DRIVERS_MAX, sizeof(*r->table->items)))) {
		out_of_memory(r);
		return;
	}
	for (const struct cleatd_yaml *c = n->first; c; c = c->next) {
		if (r->table->count == CLEAT_DOOR_DRIVERS_MAX) {
			bad(r, n, "has too many drivers");
			return;
		}
		take_driver(r, c);
	}
}

static void take_root(struct reader *r, const struct cleatd_yaml *root)
{
	if (!is_map(r, root))
		return;
	for (const struct cleatd_yaml *c = root->first; c; c = c->next) {
		if (strcmp(c->key, "drivers") == 0)
			take_drivers(r, c);
		else
			bad(r, c, "is unknown here: the file has 'drivers' only");
	}
}

/* The first line of the report; whoever writes such a file sees the rest one after the other. */
static enum cleat_code first_of(const struct cleatd_report *report, struct cleat_error *err)
{
	const char *text = cleatd_report_text(report);

	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%.*s", (int)strcspn(text, "\n"), text);
}

enum cleat_code cleat_door_drivers_parse(struct cleat_door_drivers *t, const char *file, const char *bytes,
					 size_t n, struct cleat_error *err)
{
	struct reader r = { .table = t };

	*t = (struct cleat_door_drivers){ 0 };
	cleatd_report_init(&r.report, file);
	struct cleatd_yaml *root = cleatd_yaml_parse(bytes, n, &r.report);
	if (root)
		take_root(&r, root);
	cleatd_yaml_free(root);
	enum cleat_code code = r.report.count ? first_of(&r.report, err) : CLEAT_OK;
	cleatd_report_done(&r.report);
	if (code)
		cleat_door_drivers_done(t);
	return code;
}

static enum cleat_code read_all(const char *path, char *bytes, size_t room, size_t *n_out,
				struct cleat_error *err)
{
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = 0;

	*n_out = 0;
	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%s'", path);
	while (*n_out < room && (n = read(fd, bytes + *n_out, room - *n_out)) != 0) {
		if (n > 0)
			*n_out += (size_t)n;
		else if (errno != EINTR)
			return cleat_error_errno(err, errno, "read '%s'", path);
	}
	return CLEAT_OK; /* one byte more than is allowed: the parser says so */
}

enum cleat_code cleat_door_drivers_load(struct cleat_door_drivers *t, const char *path,
					struct cleat_error *err)
{
	const char *env = getenv("CLEAT_DRIVERS");
	const bool named = path || (env && *env);
	cleat_autofree char *bytes = malloc(CLEATD_YAML_MAX_BYTES + 1);
	size_t n;

	*t = (struct cleat_door_drivers){ 0 };
	if (!bytes)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (!path)
		path = named ? env : CLEAT_DOOR_DRIVERS_FILE;
	if (!named && access(path, F_OK) != 0 && errno == ENOENT)
		return CLEAT_OK;
	if (read_all(path, bytes, CLEATD_YAML_MAX_BYTES + 1, &n, err))
		return err->code;
	return cleat_door_drivers_parse(t, path, bytes, n, err);
}

/* ---- options ---- */

/* What the option is called here: "" for one that means nothing. */
static const char *here(const struct cleat_door_driver *d, const char *option)
{
	char name[OPTION_MAX_BYTES + 1];
	const char *to;

	if (!lower(option, name))
		return option; /* too long for any: the daemon says so */
	if ((to = cleat_kv_get(&d->options, name)))
		return to;
	for (size_t i = 0; d != &own_driver && i < CLEAT_COUNT(known_options); i++)
		if (strcmp(known_options[i][0], name) == 0)
			return known_options[i][1];
	return strcmp(name, "size") == 0 ? "size" : strcmp(name, "iops") == 0 ? "iops" : option;
}

static enum cleat_code parse_size(const struct cleat_door_driver *d, const char *option, const char *value,
				  uint64_t *out, struct cleat_error *err)
{
	size_t digits = strspn(value, "0123456789");

	if (cleat_size_parse(value, out, err))
		return cleat_error_wrap(err, "option '%s'", option);
	if (!value[digits]) {
		if (*out > INT64_MAX / d->size_unit_bytes)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "option '%s': '%s' is too large",
					       option, value);
		*out *= d->size_unit_bytes;
	}
	return CLEAT_OK;
}

static enum cleat_code take_option(const struct cleat_door_driver *d, const struct cleat_kv *kv,
				   struct cleat_door_options *out, struct cleat_error *err)
{
	const char *to = here(d, kv->key);

	if (!*to)
		return CLEAT_OK;
	if (strcmp(to, "size") == 0)
		return parse_size(d, kv->key, kv->value, &out->size_bytes, err);
	if (strcmp(to, "source") != 0)
		return cleat_kv_set(&out->params, to, kv->value, err);
	free(out->source);
	out->source = strdup(kv->value);
	return out->source ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

enum cleat_code cleat_door_options_take(const struct cleat_door_driver *d, const struct cleat_kvs *options,
					struct cleat_door_options *out, struct cleat_error *err)
{
	*out = (struct cleat_door_options){ .size_bytes = d->size_bytes };
	enum cleat_code code = cleat_kv_copy(&d->params, &out->params, err);

	for (size_t i = 0; code == CLEAT_OK && i < options->count; i++)
		code = take_option(d, &options->items[i], out, err);
	if (code)
		cleat_door_options_done(out);
	return code;
}

void cleat_door_options_done(struct cleat_door_options *o)
{
	cleat_kv_done(&o->params);
	free(o->source);
	*o = (struct cleat_door_options){ 0 };
}

/* ---- the path on the host ---- */

static bool add(char *out, size_t room, size_t *n, const char *text)
{
	size_t bytes = strlen(text);

	if (bytes >= room - *n)
		return false;
	memcpy(out + *n, text, bytes + 1);
	*n += bytes;
	return true;
}

static bool fill_path(const char *form, const char *pool, const char *name, char *out, size_t room)
{
	size_t n = 0;

	for (const char *p = form; *p; p++) {
		const char one[2] = { *p, '\0' };
		bool place = *p == '%';

		if (!add(out, room, &n, !place ? one : p[1] == 'n' ? name : pool))
			return false;
		p += place;
	}
	return true;
}

enum cleat_code cleat_door_host_path(const struct cleat_door_driver *d, const char *fallback,
				     const char *pool, const char *name, char *out, size_t room,
				     struct cleat_error *err)
{
	const char *form = d->host_path ? d->host_path : fallback;

	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' cannot be part of a path", name);
	if (!fill_path(form, pool, name, out, room))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "the path '%s' of volume '%s' is too long", form, name);
	return CLEAT_OK;
}
