/* cleat-run-helper - runs crun where cgroup v1 is mounted together with a cgroup2 that owns controllers.
 *
 *     cleat-run-helper /path/of/crun [argument]...
 *
 * crun makes no container in sight of such a cgroup2 mount.  So it is run in a mount namespace of its own, in
 * which that mount is not; all else is as before, mounts that are shared with others stay so.  Nothing of
 * this is left when crun has made the container and ended.
 */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"
#define UNIFIED CGROUPS "/unified"

static int fail(const char *what)
{
	/* In the form that crun's own last words have. */
	fprintf(stderr, "cleat-run-helper: %s: %s\n", what, strerror(errno));
	return 1;
}

static bool answered(const char *arg)
{
	if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0)
		puts("cleat-run-helper " CLEAT_VERSION);
	else if (strcmp(arg, "--help") == 0)
		puts("Usage: cleat-run-helper /path/of/crun [argument]...\n\n"
		     "Runs crun out of sight of a cgroup2 mount that owns controllers beside cgroup v1.\n"
		     "nomad-driver-cleat starts it where that is needed: see nomad-driver-cleat(8).");
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	if (argc == 2 && answered(argv[1]))
		return fflush(stdout) ? 1 : 0;
	if (argc < 2 || argv[1][0] != '/') {
		fprintf(stderr, "usage: cleat-run-helper /path/of/crun [argument]...\n");
		return 2;
	}
	if (unshare(CLONE_NEWNS) < 0)
		return fail("new mount namespace");
	/* What is taken away below a shared mount is taken away from everybody. */
	if (mount(NULL, CGROUPS, NULL, MS_PRIVATE, NULL) < 0)
		return fail("make " CGROUPS " private");
	if (umount2(UNIFIED, MNT_DETACH) < 0 && errno != EINVAL)
		return fail("unmount " UNIFIED);
	execv(argv[1], argv + 1);
	return fail(argv[1]);
}
