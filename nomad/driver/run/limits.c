/* limits.c - resource limits of the task's processes (setrlimit(2)). */
#include "driver/run/internal.h"

#include "util/mem.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

static const struct limit_name {
	const char *name, *oci;
	__rlimit_resource_t resource;
} names[] = {
	{ "as", "RLIMIT_AS", RLIMIT_AS },
	{ "core", "RLIMIT_CORE", RLIMIT_CORE },
	{ "cpu", "RLIMIT_CPU", RLIMIT_CPU },
	{ "data", "RLIMIT_DATA", RLIMIT_DATA },
	{ "fsize", "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "locks", "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "memlock", "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "msgqueue", "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "nice", "RLIMIT_NICE", RLIMIT_NICE },
	{ "nofile", "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "nproc", "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "rss", "RLIMIT_RSS", RLIMIT_RSS },
	{ "rtprio", "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "rttime", "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "sigpending", "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "stack", "RLIMIT_STACK", RLIMIT_STACK },
};

static const struct limit_name *find(const char *name)
{
	for (size_t i = 0; name && i < CLEAT_COUNT(names); i++)
		if (strcasecmp(name, names[i].name) == 0)
			return &names[i];
	return NULL;
}

bool run_limit_known(const char *name)
{
	return find(name);
}

/* nofile has a second bound that no capability lifts. */
static uint64_t most_files(void)
{
	char text[32];

	return run_small_file("/proc/sys/fs/nr_open", text, sizeof(text)) ? strtoull(text, NULL, 10)
									  : UINT64_MAX;
}

static enum cleat_code check_one(const struct run_limit *limit, bool may_raise, struct cleat_error *err)
{
	const struct limit_name *known = find(limit->name);
	struct rlimit now;

	if (!known)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "there is no limit '%.40s'",
				       limit->name ? limit->name : "");
	if (limit->soft > limit->hard)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "limit '%s': the soft limit is above the hard one", known->name);
	if (known->resource == RLIMIT_NOFILE && limit->hard > most_files())
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "limit 'nofile': %llu is above what fs.nr_open allows (%llu)",
				       (unsigned long long)limit->hard, (unsigned long long)most_files());
	if (may_raise || getrlimit(known->resource, &now) < 0 || now.rlim_max == RLIM_INFINITY ||
	    limit->hard <= now.rlim_max)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
			       "limit '%s': %llu is above %llu, which only a process with CAP_SYS_RESOURCE "
			       "may raise, and this one has not",
			       known->name, (unsigned long long)limit->hard,
			       (unsigned long long)now.rlim_max);
}

enum cleat_code run_limits_check(const struct run_spec *spec, struct cleat_error *err)
{
	bool may_raise = run_has_cap(NULL, "CAP_SYS_RESOURCE");
	enum cleat_code code = CLEAT_OK;

	for (size_t i = 0; code == CLEAT_OK && i < spec->limit_count; i++)
		code = check_one(&spec->limits[i], may_raise, err);
	return code;
}

/* Numbers of this library end at 2^63-1; the runtime reads those that stand for none at all as strtoull(3)
 * does. */
static json_t *value(uint64_t limit)
{
	if (limit == UINT64_MAX)
		return json_integer(-1);
	return json_integer(limit > INT64_MAX ? INT64_MAX : (json_int_t)limit);
}

json_t *run_limits_json(struct run_bundle *b)
{
	json_t *list = json_array();

	for (size_t i = 0; i < b->spec->limit_count; i++) {
		const struct run_limit *limit = &b->spec->limits[i];
		const struct limit_name *known = find(limit->name);
		json_t *one = json_object();
		run_json_put(b, one, "type", known ? json_string(known->oci) : NULL);
		run_json_put(b, one, "soft", value(limit->soft));
		run_json_put(b, one, "hard", value(limit->hard));
		run_json_add(b, list, one);
	}
	return list;
}
