/* suite.c - the program of the suite: makes a fixture, chooses the tests that are meant for it, runs them.
 *
 *   conformance --backend NAME [--flaky] [--quick] [--only PATTERN] [--keep]
 *
 * --flaky puts the fault layer around the backend and lets each slot lose, delay or refuse its first calls.
 * --quick runs the short selection for slow machines.  Exit code 77: cannot run here, the reason is printed.
 */
#include "suite.h"

#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/log.h"

#define TESTS_MAX 256
#define SKIPPED 77

struct choice {
	const struct fixture *fx;
	bool quick, keep;
	const char *only;
};

static const struct suite_case *const groups[] = { suite_slots,	  suite_create, suite_names,  suite_publish,
						   suite_targets, suite_claims, suite_data,   suite_snapshots,
						   suite_restart, suite_pool,	suite_doctor, suite_busy };

static bool is_chosen(const struct choice *c, const struct suite_case *one)
{
	if (suite_flaky && (one->flags & NEEDS_BARE))
		return false;
	if (c->quick && !(one->flags & IN_QUICK))
		return false;
	if ((one->caps & ~c->fx->has) || (one->traits & ~c->fx->traits))
		return false;
	return !c->only || fnmatch(c->only, one->name, 0) == 0;
}

static size_t choose(const struct choice *c, struct CMUnitTest *out)
{
	size_t n = 0;

	for (size_t g = 0; g < CLEAT_COUNT(groups); g++)
		for (const struct suite_case *one = groups[g]; one->name; one++)
			if (is_chosen(c, one) && n < TESTS_MAX)
				out[n++] = (struct CMUnitTest){ one->name, one->run, world_setup,
								world_teardown, NULL };
	return n;
}

static int usage(void)
{
	fprintf(stderr,
		"conformance --backend NAME [--flaky] [--quick] [--only PATTERN] [--keep]; backends:");
	for (unsigned i = 0; fixture_at(i); i++)
		fprintf(stderr, " %s", fixture_at(i)->name);
	fprintf(stderr, "\n");
	return 2;
}

static bool read_options(int argc, char **argv, struct choice *c)
{
	static const struct option options[] = {
		{ "backend", required_argument, NULL, 'b' }, { "flaky", no_argument, NULL, 'f' },
		{ "quick", no_argument, NULL, 'q' },	     { "only", required_argument, NULL, 'o' },
		{ "keep", no_argument, NULL, 'k' },	     { 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'b')
			c->fx = fixture_find(optarg);
		else if (option == 'f')
			suite_flaky = true;
		else if (option == 'q')
			c->quick = true;
		else if (option == 'o')
			c->only = optarg;
		else if (option == 'k')
			c->keep = true;
		else
			return false;
	}
	return c->fx != NULL;
}

static bool make_dir(const struct choice *c)
{
	const char *top = getenv("TMPDIR");

	snprintf(suite_dir, sizeof(suite_dir), "%s/cleat-suite.XXXXXX",
		 top && *top && strlen(top) < 60 ? top : "/tmp");
	if (!mkdtemp(suite_dir) || chmod(suite_dir, 0755) != 0) {
		fprintf(stderr, "%s: %s\n", suite_dir, strerror(errno));
		return false;
	}
	suite_fixture = c->fx;
	return fixture_up(c->fx, suite_dir);
}

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[TESTS_MAX];
	struct choice c = { 0 };
	char name[64];

	if (!read_options(argc, argv, &c))
		return usage();
	if (geteuid() != 0) {
		printf("SKIPPED BECAUSE: mounts and loop devices need root\n");
		return SKIPPED;
	}
	cleat_log_setup(CLEAT_LOG_ERROR, CLEAT_LOG_TEXT, STDERR_FILENO);
	size_t count = choose(&c, tests);
	if (count == 0)
		return usage();
	if (!make_dir(&c)) {
		fixture_down(suite_dir);
		return 1;
	}
	snprintf(name, sizeof(name), "%s%s", c.fx->name, suite_flaky ? "-flaky" : "");
	int failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
	if (!c.keep)
		fixture_down(suite_dir);
	return failed ? 1 : 0;
}
