/* args.c - the command line of cleat-mesos: the words of module/helper.h. */
#include "helper/helper.h"

#include "util/mem.h"
#include "util/size.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MAX_S 86400

enum where {
	BEFORE = 1, /* the verb */
	PUBLISH = 2,
	VOLUME = 4, /* after --volume */
	RECOVER = 8,
	CHECK = 16,
};

enum kind {
	TEXT, /* const char * */
	FLAG, /* bool */
	OWN,  /* by its function */
};

struct option {
	struct helper_word word;
	unsigned where;
	enum kind kind;
	size_t offset; /* in struct helper_args, or in the volume's own for those that come after --volume */
	enum cleat_code (*take)(struct helper_args *a, const char *value, struct cleat_error *err);
};

static struct helper_volume *last_volume(struct helper_args *a)
{
	return &a->volumes[a->volume_count - 1];
}

static enum cleat_code refuse(const char *option, const char *value, const char *what,
			      struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "--%s: '%.100s' %s", option, value, what);
}

static enum cleat_code take_number(const char *option, const char *value, int64_t most, int64_t *out,
				   struct cleat_error *err)
{
	char *end;
	long long n = strtoll(value, &end, 10);

	if (*end || end == value || n < 1 || n > most)
		return refuse(option, value, "is not a number in its range", err);
	*out = n;
	return CLEAT_OK;
}

/* ---- options whose value is looked at ---- */

static enum cleat_code take_root(struct helper_args *a, const char *value, struct cleat_error *err)
{
	a->root = value;
	return *value == '/' ? CLEAT_OK : refuse("root", value, "is no absolute path", err);
}

static enum cleat_code take_require(struct helper_args *a, const char *value, struct cleat_error *err)
{
	last_volume(a)->require = value;
	return *value == '/' ? CLEAT_OK : refuse("require", value, "is no absolute path", err);
}

static enum cleat_code take_timeout(struct helper_args *a, const char *value, struct cleat_error *err)
{
	int64_t seconds = 0;

	if (take_number("timeout", value, TIMEOUT_MAX_S, &seconds, err))
		return err->code;
	a->timeout_ms = seconds * 1000;
	return CLEAT_OK;
}

static enum cleat_code take_volume(struct helper_args *a, const char *value, struct cleat_error *err)
{
	if (a->volume_count == CLEAT_MESOS_MAX_VOLUMES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "more than %d volumes",
				       CLEAT_MESOS_MAX_VOLUMES);
	a->volumes[a->volume_count++] = (struct helper_volume){ .name = value };
	return CLEAT_OK;
}

static enum cleat_code take_opt(struct helper_args *a, const char *value, struct cleat_error *err)
{
	const char *equals = strchr(value, '=');
	cleat_autofree char *key = equals ? strndup(value, (size_t)(equals - value)) : NULL;

	if (!equals || equals == value)
		return refuse("opt", value, "is not KEY=VALUE", err);
	if (!key)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return cleat_kv_set(&last_volume(a)->options, key, equals + 1, err);
}

static enum cleat_code take_size(struct helper_args *a, const char *value, struct cleat_error *err)
{
	uint64_t bytes;

	last_volume(a)->size = value;
	return cleat_size_parse(value, &bytes, err) ? cleat_error_wrap(err, "--size") : CLEAT_OK;
}

static enum cleat_code take_mode(struct helper_args *a, const char *value, struct cleat_error *err)
{
	struct helper_volume *v = last_volume(a);

	return cleat_door_mode_parse(value, &v->mode, &v->read_only, err) ? cleat_error_wrap(err, "--mode")
									  : CLEAT_OK;
}

static enum cleat_code take_keep(struct helper_args *a, const char *value, struct cleat_error *err)
{
	const char **grown;

	if (!helper_is_key(value))
		return refuse("keep", value, "is no container's key", err);
	if (!(grown = realloc(a->keep, (a->keep_count + 1) * sizeof(*grown))))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	a->keep = grown;
	a->keep[a->keep_count++] = value;
	return CLEAT_OK;
}

#define ALL(field) offsetof(struct helper_args, field)
#define ONE(field) offsetof(struct helper_volume, field)

static const struct option options[] = {
	{ { "socket", "PATH", "The daemon's socket (default " CLEAT_MESOS_DEFAULT_SOCKET ")" },
	  BEFORE,
	  TEXT,
	  ALL(socket),
	  NULL },
	{ { "config", "FILE", "Table of drivers (default " CLEAT_MESOS_DEFAULT_CONFIG ")" },
	  BEFORE,
	  TEXT,
	  ALL(config),
	  NULL },
	{ { "root", "DIR", "Where volumes are mounted (default " CLEAT_MESOS_DEFAULT_ROOT ")" },
	  BEFORE,
	  OWN,
	  0,
	  take_root },
	{ { "timeout", "SECONDS", "End within that time (default 120)" }, BEFORE, OWN, 0, take_timeout },
	{ { "help", NULL, "Show this help" }, BEFORE, FLAG, ALL(help), NULL },
	{ { "version", NULL, "Show the version" }, BEFORE, FLAG, ALL(version), NULL },
	{ { "owner", "TEXT", "publish: who holds the claims, for people" }, PUBLISH, TEXT, ALL(owner), NULL },
	{ { "scope", "SCOPE", "publish: scope of the volumes' names" }, PUBLISH, TEXT, ALL(scope), NULL },
	{ { "volume", "NAME", "publish: a volume; the options after it are its own" },
	  PUBLISH,
	  OWN,
	  0,
	  take_volume },
	{ { "driver", "DRIVER", "Docker volume driver: the table gives pool and words" },
	  VOLUME,
	  TEXT,
	  ONE(driver),
	  NULL },
	{ { "pool", "POOL", "Pool (default: the default one)" }, VOLUME, TEXT, ONE(pool), NULL },
	{ { "opt", "KEY=VALUE", "Option in the driver's words, or parameter" }, VOLUME, OWN, 0, take_opt },
	{ { "size", "SIZE", "Size of a new volume: 10GiB, 500M, or bytes" }, VOLUME, OWN, 0, take_size },
	{ { "fs", "FS", "File system of a new volume" }, VOLUME, TEXT, ONE(fs), NULL },
	{ { "mode", "MODE", "rw (default), ro, or an access mode" }, VOLUME, OWN, 0, take_mode },
	{ { "no-create", NULL, "The volume must exist" }, VOLUME, FLAG, ONE(no_create), NULL },
	{ { "user", "NAME", "Owner of a new volume" }, VOLUME, TEXT, ONE(user), NULL },
	{ { "require", "DIR", "A directory of the host that must exist" }, VOLUME, OWN, 0, take_require },
	{ { "host", NULL, "Show it at a path of the host as well" }, VOLUME, FLAG, ONE(host), NULL },
	{ { "keep", "KEY", "recover: a container that lives; repeatable" }, RECOVER, OWN, 0, take_keep },
	{ { "modules", "FILE", "check: the agent's --modules (default: of the running agent)" },
	  CHECK,
	  TEXT,
	  ALL(modules),
	  NULL },
	{ { "isolation", "TEXT", "check: the agent's --isolation (default: likewise)" },
	  CHECK,
	  TEXT,
	  ALL(isolation),
	  NULL },
};

/* ---- the verbs ---- */

struct verb {
	struct helper_word word;
	unsigned words; /* KEY, PID */
	unsigned where;
};

static const struct verb verbs[] = {
	{ { "publish", "KEY --owner TEXT --volume NAME...",
	    "Make all volumes of a container visible, or none" },
	  1,
	  PUBLISH },
	{ { "witness", "KEY PID", "Tie the container's claims to a process" }, 2, 0 },
	{ { "release", "KEY", "Release everything of a container" }, 1, 0 },
	{ { "recover", "[--keep KEY]...", "Release everything of all other containers" }, 0, RECOVER },
	{ { "check", "[--modules FILE] [--isolation TEXT]", "Tell what is wrong with this machine's setup" },
	  0,
	  CHECK },
};

const struct helper_word *helper_verb_at(size_t i)
{
	return i < CLEAT_COUNT(verbs) ? &verbs[i].word : NULL;
}

const struct helper_word *helper_option_at(size_t i)
{
	return i < CLEAT_COUNT(options) ? &options[i].word : NULL;
}

void helper_help(void)
{
	const struct helper_word *w;
	char form[64];

	printf("Usage: cleat-mesos [OPTION...] VERB ...\n\n"
	       "The volume daemon's client for the isolator module of Mesos, which runs it for every call; "
	       "the\n"
	       "verb `check` is for people.\n\nVerbs:\n");
	for (size_t i = 0; (w = helper_verb_at(i)); i++)
		printf("  %-8s %-36s %s\n", w->name, w->value, w->text);
	printf("\nOptions; those of a volume come after its --volume:\n");
	for (size_t i = 0; (w = helper_option_at(i)); i++) {
		snprintf(form, sizeof(form), "--%s%s%s", w->name, w->value ? " " : "",
			 w->value ? w->value : "");
		printf("  %-20s %s\n", form, w->text);
	}
}

/* ---- parsing ---- */

bool helper_is_key(const char *key)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.%";
	const size_t n = strlen(key);

	return n >= 1 && n <= CLEAT_MESOS_KEY_MAX_BYTES && key[0] != '.' && strspn(key, allowed) == n;
}

static unsigned where_now(const struct helper_args *a, const struct verb *verb)
{
	if (!verb)
		return BEFORE;
	return verb->where | (a->volume_count ? VOLUME : 0);
}

static const struct option *find_option(const char *name, size_t n)
{
	for (size_t i = 0; i < CLEAT_COUNT(options); i++)
		if (strncmp(options[i].word.name, name, n) == 0 && options[i].word.name[n] == '\0')
			return &options[i];
	return NULL;
}

static enum cleat_code put(struct helper_args *a, const struct option *o, const char *value,
			   struct cleat_error *err)
{
	char *base = o->where == VOLUME ? (char *)last_volume(a) : (char *)a;

	if (o->kind == OWN)
		return o->take(a, value, err);
	if (o->kind == FLAG)
		*(bool *)(void *)(base + o->offset) = true;
	else
		*(const char **)(void *)(base + o->offset) = value;
	return CLEAT_OK;
}

/* "--name value" or "--name=value"; *at moves on when the value is the next word. */
static enum cleat_code take_option(struct helper_args *a, const struct verb *verb, int argc, char **argv,
				   int *at, struct cleat_error *err)
{
	const char *name = argv[*at] + 2, *equals = strchr(name, '=');
	const size_t n = equals ? (size_t)(equals - name) : strlen(name);
	const struct option *o = find_option(name, n);
	const char *value = equals ? equals + 1 : NULL;

	if (!o || !(o->where & where_now(a, verb)))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "option '--%.*s' is %s", (int)n, name,
				       o ? "out of place" : "unknown");
	if (o->word.value && !value && ++*at >= argc)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "option '--%s' needs a value",
				       o->word.name);
	if (!o->word.value && value)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "option '--%s' takes no value",
				       o->word.name);
	return put(a, o, value ? value : argv[*at], err);
}

static enum cleat_code take_verb(struct helper_args *a, const char *word, const struct verb **out,
				 struct cleat_error *err)
{
	for (size_t i = 0; i < CLEAT_COUNT(verbs); i++)
		if (strcmp(verbs[i].word.name, word) == 0)
			*out = &verbs[i];
	if (!*out)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "unknown verb '%s'", word);
	a->verb = word;
	return CLEAT_OK;
}

static enum cleat_code take_word(struct helper_args *a, const struct verb *verb, const char *word,
				 struct cleat_error *err)
{
	if (verb->words >= 1 && !a->key) {
		a->key = word;
		return helper_is_key(word) ? CLEAT_OK
					   : cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
							     "'%.100s' is no container's key", word);
	}
	if (verb->words >= 2 && !a->pid)
		return take_number("pid", word, INT32_MAX, &a->pid, err);
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%.100s' is one word too many", word);
}

static enum cleat_code check_whole(const struct helper_args *a, const struct verb *verb,
				   struct cleat_error *err)
{
	if (a->help || a->version)
		return CLEAT_OK;
	if (!verb)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "a verb is missing: see cleat-mesos --help");
	if ((verb->words >= 1 && !a->key) || (verb->words >= 2 && !a->pid))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s: a word is missing: %s",
				       verb->word.name, verb->word.value);
	if (verb->where == PUBLISH && (!a->owner || a->volume_count == 0))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "publish: --owner or --volume is missing");
	for (size_t i = 0; i < a->volume_count; i++)
		if (a->volumes[i].driver && a->volumes[i].pool)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "volume '%.100s': --driver and --pool exclude each other",
					       a->volumes[i].name);
	return CLEAT_OK;
}

enum cleat_code helper_args_parse(struct helper_args *a, int argc, char **argv, struct cleat_error *err)
{
	const struct verb *verb = NULL;
	enum cleat_code code = CLEAT_OK;

	*a = (struct helper_args){ .timeout_ms = CLEAT_MESOS_DEFAULT_TIMEOUT_S * 1000, .scope = "" };
	for (int i = 1; i < argc && code == CLEAT_OK; i++) {
		if (strncmp(argv[i], "--", 2) == 0)
			code = take_option(a, verb, argc, argv, &i, err);
		else if (!verb)
			code = take_verb(a, argv[i], &verb, err);
		else
			code = take_word(a, verb, argv[i], err);
	}
	return code ? code : check_whole(a, verb, err);
}

void helper_args_done(struct helper_args *a)
{
	for (size_t i = 0; i < a->volume_count; i++)
		cleat_kv_done(&a->volumes[i].options);
	free(a->keep);
}
