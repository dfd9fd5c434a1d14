/* options.c - every option of the command: its name, its text for people, and where its value goes. */
#include "cli/cli.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum kind {
	FLAG,	    /* bool */
	TEXT,	    /* char * */
	SIZE,	    /* uint64_t bytes, with units */
	NUMBER,	    /* uint64_t */
	DURATION,   /* int64_t milliseconds */
	PAIR,	    /* key=value into a list */
	DROP,	    /* key into a list, with an empty value */
	PARAM,	    /* the value of the volume parameter of the option's own name */
	PARAM_FLAG, /* the same, "true" */
	WORD,	    /* number of an enum */
};

struct row {
	struct cli_option option;
	enum kind kind;
	size_t offset; /* in struct cli_values */
	const ProtobufCEnumDescriptor *words;
};

#define AT(member) offsetof(struct cli_values, member)

static const struct row rows[] = {
	/* Common to every verb: these come first. */
	{ { CLI_OPT_SOCKET, "socket", "PATH",
	    "Socket of the daemon (else $CLEAT_SOCKET, else " CLI_DEFAULT_SOCKET ")" },
	  TEXT,
	  AT(socket),
	  NULL },
	{ { CLI_OPT_JSON, "json", NULL, "Print the answer as JSON, and errors as JSON on stderr" },
	  FLAG,
	  AT(json),
	  NULL },
	{ { CLI_OPT_QUIET, "quiet", NULL, "No progress and no confirmation; a new volume's id only" },
	  FLAG,
	  AT(quiet),
	  NULL },
	{ { CLI_OPT_TIMEOUT, "timeout", "TIME",
	    "Give up waiting after TIME: 30s, 500ms, 5m; plain numbers are seconds" },
	  DURATION,
	  AT(timeout_ms),
	  NULL },
	{ { CLI_OPT_HELP, "help", NULL, "Show this help" }, FLAG, AT(help), NULL },
	{ { CLI_OPT_VERSION, "version", NULL, "Show the version of this command" }, FLAG, AT(version), NULL },

	{ { CLI_OPT_POOL, "pool", "POOL", "Pool, by its configured name" }, TEXT, AT(pool), NULL },
	{ { CLI_OPT_SCOPE, "scope", "SCOPE", "Scope of the names (default: the empty one)" },
	  TEXT,
	  AT(scope),
	  NULL },
	{ { CLI_OPT_ALL_SCOPES, "all-scopes", NULL, "List every scope" }, FLAG, AT(all_scopes), NULL },
	{ { CLI_OPT_NAME, "name", "NAME", "Only those with this name" }, TEXT, AT(name), NULL },
	{ { CLI_OPT_SIZE, "size", "SIZE", "Size: 64MiB, 1.5GiB, 1GB; a plain number is bytes" },
	  SIZE,
	  AT(size_bytes),
	  NULL },
	{ { CLI_OPT_LIMIT, "limit", "SIZE", "Largest acceptable size when the pool rounds up" },
	  SIZE,
	  AT(limit_bytes),
	  NULL },
	{ { CLI_OPT_HARD_SIZE, "hard-size", NULL, "Refuse when the pool cannot enforce the size" },
	  FLAG,
	  AT(hard_size),
	  NULL },
	{ { CLI_OPT_FROM, "from", "SOURCE", "Make it from this volume or snapshot" }, TEXT, AT(from), NULL },
	{ { CLI_OPT_ACCESS, "access", "TYPE", "mount (a directory, the default) or block (a device)" },
	  WORD,
	  AT(access),
	  &cleat__v1__access_type__descriptor },
	{ { CLI_OPT_PARAM, "param", "KEY=VALUE",
	    "A parameter of the backend or file system: see `cleat params`; repeatable" },
	  PAIR,
	  AT(params),
	  NULL },
	{ { CLI_OPT_FS, "fs", "FS", "File system: ext4, xfs, btrfs" }, PARAM, 0, NULL },
	{ { CLI_OPT_UID, "uid", "UID", "Owner of the volume's root directory" }, PARAM, 0, NULL },
	{ { CLI_OPT_GID, "gid", "GID", "Group of the volume's root directory" }, PARAM, 0, NULL },
	{ { CLI_OPT_MODE, "mode", "MODE", "Octal mode of the volume's root directory" }, PARAM, 0, NULL },
	{ { CLI_OPT_THICK, "thick", NULL, "Allocate all space now: a real guarantee" }, PARAM_FLAG, 0, NULL },
	{ { CLI_OPT_LABEL, "label", "KEY=VALUE", "A label of your own; repeatable" },
	  PAIR,
	  AT(labels),
	  NULL },
	{ { CLI_OPT_REMOVE_LABEL, "remove-label", "KEY", "Remove a label; repeatable" },
	  DROP,
	  AT(labels),
	  NULL },
	{ { CLI_OPT_ACCESS_MODE, "access-mode", "MODE",
	    "Who else may use it: single-node-writer (default), single-node-single-writer, ..." },
	  WORD,
	  AT(access_mode),
	  &cleat__v1__access_mode__descriptor },
	{ { CLI_OPT_READ_ONLY, "read-only", NULL, "Mount it read-only" }, FLAG, AT(read_only), NULL },
	{ { CLI_OPT_OPTION, "option", "KEY[=VALUE]",
	    "A mount option the file system allows, e.g. noatime; repeatable" },
	  PAIR,
	  AT(mount_options),
	  NULL },
	{ { CLI_OPT_OWNER, "owner", "TEXT", "Who holds the claim, in words for people" },
	  TEXT,
	  AT(owner),
	  NULL },
	{ { CLI_OPT_PID, "pid", "PID", "The claim is stale once this process is gone" },
	  NUMBER,
	  AT(pid),
	  NULL },
	{ { CLI_OPT_CGROUP, "cgroup", "PATH", "The claim is stale once this cgroup is gone" },
	  TEXT,
	  AT(cgroup),
	  NULL },
	{ { CLI_OPT_NODE, "node", "NODE", "Node (default: the daemon's own)" }, TEXT, AT(node), NULL },
	{ { CLI_OPT_GROUP, "group", "NAME", "Name of a group: all volumes at one point in time" },
	  TEXT,
	  AT(group),
	  NULL },
	{ { CLI_OPT_FORCE, "force", NULL, "Also when the mount is busy: its user may lose what is open" },
	  FLAG,
	  AT(force),
	  NULL },
	{ { CLI_OPT_FIX, "fix", NULL, "Repair what can be repaired" }, FLAG, AT(fix), NULL },
	{ { CLI_OPT_REFRESH, "refresh", NULL, "Read the space from the storage first" },
	  FLAG,
	  AT(refresh),
	  NULL },
	{ { CLI_OPT_AFTER, "after", "EPOCH:NUMBER", "Begin after this event" }, TEXT, AT(after), NULL },
	{ { CLI_OPT_COUNT, "count", "N", "Stop after N events" }, NUMBER, AT(count), NULL },
};

const struct cli_option *cli_option_at(unsigned i)
{
	return i < CLEAT_COUNT(rows) ? &rows[i].option : NULL;
}

static const struct row *row_find(enum cli_opt opt)
{
	for (size_t i = 0; i < CLEAT_COUNT(rows); i++)
		if (rows[i].option.opt == opt)
			return &rows[i];
	return NULL;
}

const struct cli_option *cli_option_find(enum cli_opt opt)
{
	const struct row *r = row_find(opt);

	return r ? &r->option : NULL;
}

bool cli_option_is_common(enum cli_opt opt)
{
	switch (opt) {
	case CLI_OPT_SOCKET:
	case CLI_OPT_JSON:
	case CLI_OPT_QUIET:
	case CLI_OPT_TIMEOUT:
	case CLI_OPT_HELP:
	case CLI_OPT_VERSION:
		return true;
	default:
		return false;
	}
}

static enum cleat_code parse_number(const char *text, uint64_t *out, struct cleat_error *err)
{
	char *end = NULL;

	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (errno || end == text || *end || strspn(text, "0123456789") != strlen(text) || n > INT64_MAX)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not a number", text);
	*out = n;
	return CLEAT_OK;
}

/* "key=value"; mount options may be a bare key, which is a key with an empty value. */
static enum cleat_code add_pair(struct cleat_kvs *kvs, const char *text, bool needs_value,
				struct cleat_error *err)
{
	const char *eq = strchr(text, '=');

	if (eq == text || !*text || (!eq && needs_value))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not %s", text,
				       needs_value ? "KEY=VALUE" : "KEY or KEY=VALUE");
	cleat_autofree char *key = eq ? strndup(text, (size_t)(eq - text)) : strdup(text);
	if (!key)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory");
	return cleat_kv_set(kvs, key, eq ? eq + 1 : "", err);
}

static enum cleat_code store(const struct row *r, struct cli_values *v, char *value, struct cleat_error *err)
{
	void *at = (char *)v + r->offset;

	switch (r->kind) {
	case FLAG:
		*(bool *)at = true;
		return CLEAT_OK;
	case TEXT:
		*(char **)at = value;
		return CLEAT_OK;
	case SIZE:
		return cleat_size_parse(value, at, err);
	case NUMBER:
		return parse_number(value, at, err);
	case DURATION:
		return cli_duration_parse(value, at, err);
	case PAIR:
		return add_pair(at, value, r->option.opt != CLI_OPT_OPTION, err);
	case DROP:
		return cleat_kv_set(at, value, "", err);
	case PARAM:
		return cleat_kv_set(&v->params, r->option.name, value, err);
	case PARAM_FLAG:
		return cleat_kv_set(&v->params, r->option.name, "true", err);
	case WORD:
		return cli_word_parse(r->words, value, at, err);
	}
	return CLEAT_OK;
}

enum cleat_code cli_option_set(struct cli_values *v, enum cli_opt opt, char *value, struct cleat_error *err)
{
	const struct row *r = row_find(opt);

	if (!r)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "unknown option");
	if (store(r, v, value, err) == CLEAT_OK)
		return CLEAT_OK;
	return cleat_error_wrap(err, "--%s", r->option.name);
}

void cli_values_done(struct cli_values *v)
{
	cleat_kv_done(&v->params);
	cleat_kv_done(&v->labels);
	cleat_kv_done(&v->mount_options);
}
