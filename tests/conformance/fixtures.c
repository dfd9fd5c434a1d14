/* fixtures.c - base file systems for the suite, and the search for what a test left behind. */
#include "fixtures.h"

#include <cleat/backend.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/loop.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "sim.h"
#include "util/mem.h"

extern char **environ;

#define LOOP_CAN                                                                                             \
	(CLEAT_CAN_MOUNT | CLEAT_CAN_BLOCK | CLEAT_CAN_ENFORCE_SIZE | CLEAT_CAN_SNAPSHOT |                   \
	 CLEAT_CAN_GROUP_SNAPSHOT | CLEAT_CAN_CLONE | CLEAT_CAN_EXPAND | CLEAT_CAN_EXPAND_ONLINE |           \
	 CLEAT_CAN_ADOPT | CLEAT_CAN_USAGE_OFFLINE)
#define LOOP_TRAITS                                                                                          \
	(ADMITS_BY_SPACE | COUNTS_PROMISES | SHOWS_SIZE_IN_DF | KEEPS_IMAGE | FS_GROWS_LATER_OK |            \
	 SNAPSHOTS_IN_USE | IN_DIRECTORY)
#define FAR_CAN                                                                                              \
	(CLEAT_CAN_MOUNT | CLEAT_CAN_BLOCK | CLEAT_CAN_ENFORCE_SIZE | CLEAT_CAN_SNAPSHOT | CLEAT_CAN_CLONE | \
	 CLEAT_CAN_EXPAND | CLEAT_CAN_EXPAND_ONLINE | CLEAT_CAN_ADOPT | CLEAT_CAN_ATTACH)
#define TREE_CAN                                                                                             \
	(CLEAT_CAN_MOUNT | CLEAT_CAN_CLONE | CLEAT_CAN_EXPAND | CLEAT_CAN_EXPAND_ONLINE | CLEAT_CAN_ADOPT)
#define QUOTA_CAN (TREE_CAN | CLEAT_CAN_ENFORCE_SIZE | CLEAT_CAN_USAGE_OFFLINE)

static const struct fixture fixtures[] = {
	{
		.name = "loop-xfs",
		.backend = "loop",
		.base = "xfs",
		.base_bytes = 4 * GIB,
		.has = LOOP_CAN,
		.traits = LOOP_TRAITS,
		.volume_bytes = 32 * MIB,
	},
	{
		.name = "loop-ext4",
		.backend = "loop",
		.base = "ext4",
		.base_bytes = 4 * GIB,
		.config = { "pool_file", "auto", NULL },
		.has = LOOP_CAN,
		.traits = LOOP_TRAITS,
		.volume_bytes = 32 * MIB,
	},
	{
		.name = "loop-never",
		.backend = "loop",
		.base = "ext4",
		.base_bytes = 4 * GIB,
		.config = { "pool_file", "never", NULL },
		.has = LOOP_CAN | CLEAT_CAN_SNAPSHOT_OFFLINE_ONLY,
		.traits = LOOP_TRAITS & ~(unsigned)SNAPSHOTS_IN_USE,
		.volume_bytes = 32 * MIB,
	},
	{
		.name = "dir-ext4",
		.backend = "dir",
		.base = "ext4",
		.base_bytes = 1 * GIB,
		.has = TREE_CAN,
		.traits = IN_DIRECTORY,
		.volume_bytes = 16 * MIB,
	},
	{
		.name = "dir-btrfs",
		.backend = "dir",
		.base = "btrfs",
		.base_bytes = 1 * GIB,
		.has = QUOTA_CAN | CLEAT_CAN_SNAPSHOT,
		.traits = SNAPSHOTS_IN_USE | ADMITS_BY_SPACE | IN_DIRECTORY,
		.volume_bytes = 16 * MIB,
	},
	/* These two need a kernel with project quotas: tests/uml has one. */
	{
		.name = "dir-prjquota",
		.backend = "dir",
		.base = "ext4-prjquota",
		.base_bytes = 1 * GIB,
		.has = QUOTA_CAN,
		.traits = SHOWS_SIZE_IN_DF | ADMITS_BY_SPACE | IN_DIRECTORY,
		.volume_bytes = 16 * MIB,
	},
	{
		.name = "dir-xfsquota",
		.backend = "dir",
		.base = "xfs-prjquota",
		.base_bytes = 1 * GIB,
		.has = QUOTA_CAN,
		.traits = SHOWS_SIZE_IN_DF | ADMITS_BY_SPACE | IN_DIRECTORY,
		.volume_bytes = 16 * MIB,
	},
	{
		.name = "btrfs",
		.backend = "btrfs",
		.base = "btrfs",
		.base_bytes = 1 * GIB,
		.has = QUOTA_CAN | CLEAT_CAN_SNAPSHOT,
		.traits = SNAPSHOTS_IN_USE | ADMITS_BY_SPACE | IN_DIRECTORY,
		.volume_bytes = 16 * MIB,
	},
	/* Its disks are sparse files on XFS, whose snapshots are reflinks: one moment each. */
	{
		.name = "ebs",
		.backend = "ebs",
		.base = "xfs",
		.base_bytes = 24 * GIB,
		.sim = "ec2.py",
		.config = { "poll", "10", "calls_per_second", "0", "default_size", "1GiB", NULL },
		.has = FAR_CAN,
		.traits = SHOWS_SIZE_IN_DF | FS_GROWS_LATER_OK | SNAPSHOTS_IN_USE,
		.volume_bytes = 1 * GIB,
	},
};

const struct fixture *fixture_at(unsigned i)
{
	return i < CLEAT_COUNT(fixtures) ? &fixtures[i] : NULL;
}

const struct fixture *fixture_find(const char *name)
{
	for (unsigned i = 0; i < CLEAT_COUNT(fixtures); i++)
		if (strcmp(fixtures[i].name, name) == 0)
			return &fixtures[i];
	return NULL;
}

/* ---- making and removing ------------------------------------------------------------------------------ */

int run_tool(const char *const argv[])
{
	posix_spawn_file_actions_t actions;
	int status = 0;
	pid_t pid;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	rc = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (rc != 0) {
		fprintf(stderr, "%s: %s\n", argv[0], strerror(rc));
		return 127;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static bool make_image(const char *path, uint64_t bytes)
{
	cleat_autoclose int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	return fd >= 0 && ftruncate(fd, (off_t)bytes) == 0;
}

static int make_fs(const char *base, const char *image)
{
	const char *const ext4[] = { "mke2fs",
				     "-q",
				     "-F",
				     "-t",
				     "ext4",
				     "-b",
				     "4096",
				     "-m",
				     "0",
				     "-E",
				     "nodiscard,lazy_itable_init=1,lazy_journal_init=1",
				     image,
				     NULL };
	const char *const quota[] = { "mke2fs",
				      "-q",
				      "-F",
				      "-t",
				      "ext4",
				      "-b",
				      "4096",
				      "-m",
				      "0",
				      "-O",
				      "quota,project",
				      "-E",
				      "quotatype=prjquota",
				      image,
				      NULL };
	const char *const xfs[] = { "mkfs.xfs",	 "-q", "-f",	    "-K",  "-s",
				    "size=4096", "-m", "reflink=1", image, NULL };
	const char *const btrfs[] = { "mkfs.btrfs", "-q", "-f", "-K", image, NULL };

	if (strncmp(base, "xfs", 3) == 0)
		return run_tool(xfs);
	if (strcmp(base, "btrfs") == 0)
		return run_tool(btrfs);
	return run_tool(strcmp(base, "ext4-prjquota") == 0 ? quota : ext4);
}

/* ---- far sides ---- */

#define NODE "i-00000000000000001"
#define OTHER_NODE "i-00000000000000002"

static struct peer far_side = { .stdin_fd = -1, .stdout_fd = -1 };

static bool far_up(const struct fixture *fx, const char *dir)
{
	char line[32], program[256], data[160], node[200], other[200];

	snprintf(program, sizeof(program), "%s/%s", CLEAT_TESTS_SIM, fx->sim);
	snprintf(data, sizeof(data), "%s/base/far", dir);
	snprintf(node, sizeof(node), NODE "=%s/node1", dir);
	snprintf(other, sizeof(other), OTHER_NODE "=%s/node2", dir);
	const char *const argv[] = { "python3", program,      "--data", data, "--instance",
				     node,	"--instance", other,	NULL };
	if (!peer_start(&far_side, argv, 20000, line, sizeof(line)))
		return false;
	return setenv("CLEAT_SIM_PORT", line, 1) == 0;
}

int fixture_port(void)
{
	const char *text = getenv("CLEAT_SIM_PORT");

	return text ? atoi(text) : 0;
}

void fixture_forget(void)
{
	if (fixture_port() && !sim_call(fixture_port(), "reset", NULL, NULL, 0))
		fprintf(stderr, "the far side does not answer\n");
}

size_t fixture_far_count(void)
{
	static char text[1024 * 1024];
	size_t n = 0;

	if (!sim_call(fixture_port(), "state", NULL, text, sizeof(text)))
		return SIZE_MAX;
	for (const char *at = text; (at = strstr(at, "pool\": \"far1\"")); at++) /* also of passing snapshots */
		n++;
	return n;
}

void fixture_far_config(const char *dir, unsigned i, void (*set)(const char *key, const char *value, void *arg),
			void *arg)
{
	char text[256];

	snprintf(text, sizeof(text), "http://127.0.0.1:%d", fixture_port());
	set("endpoint", text, arg);
	snprintf(text, sizeof(text), "http://127.0.0.1:%d/imds/" NODE, fixture_port());
	set("metadata", text, arg);
	snprintf(text, sizeof(text), "%s/node1/dev", dir);
	set("dev", text, arg);
	snprintf(text, sizeof(text), "%s/node1/sys", dir);
	set("sys", text, arg);
	snprintf(text, sizeof(text), "far%u", i + 1);
	set("pool", text, arg);
}

bool fixture_up(const struct fixture *fx, const char *dir)
{
	cleat_autofree char *image = NULL;
	cleat_autofree char *base = NULL;
	const char *options = strstr(fx->base, "prjquota") ? "loop,prjquota" : "loop";

	if (asprintf(&image, "%s/base.img", dir) < 0 || asprintf(&base, "%s/base", dir) < 0)
		return false;
	/* As under systemd: what is unmounted here goes from every mount namespace that was copied from this
	 * one, such as those of tasks that other tests start beside this one. */
	if (mount(dir, dir, NULL, MS_BIND, NULL) != 0 || mount(NULL, dir, NULL, MS_SHARED, NULL) != 0) {
		fprintf(stderr, "%s: make it a shared mount: %s\n", dir, strerror(errno));
		return false;
	}
	if (!make_image(image, fx->base_bytes) || mkdir(base, 0755) != 0) {
		fprintf(stderr, "%s: %s\n", dir, strerror(errno));
		return false;
	}
	if (make_fs(fx->base, image) != 0)
		return false;
	const char *const argv[] = { "mount", "-o", options, image, base, NULL };
	return run_tool(argv) == 0 && (!fx->sim || far_up(fx, dir));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	if (remove(path) != 0 && errno != ENOENT)
		fprintf(stderr, "left behind: %s: %s\n", path, strerror(errno));
	return 0;
}

void remove_all(const char *path)
{
	nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void fixture_down(const char *dir)
{
	peer_stop(&far_side);
	clear_below(dir);
	remove_all(dir);
}

/* ---- what is left over -------------------------------------------------------------------------------- */

static bool is_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return strncmp(path, top, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* Mount points below path, in the order of the mount table; at most room. */
static size_t list_mounts(const char *path, char (*out)[512], size_t room)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096];
	size_t n = 0;

	while (f && n < room && fgets(line, sizeof(line), f)) {
		char target[512];

		if (sscanf(line, "%*s %*s %*s %*s %511s", target) == 1 && is_below(target, path))
			memcpy(out[n++], target, sizeof(target));
	}
	if (f)
		fclose(f);
	return n;
}

#define MOUNTS_MAX 512

unsigned mounts_below(const char *path, const char *skip, bool loud)
{
	char(*list)[512] = malloc(MOUNTS_MAX * sizeof(*list));
	size_t n = list ? list_mounts(path, list, MOUNTS_MAX) : 0;
	unsigned count = 0;

	for (size_t i = 0; i < n; i++) {
		if (skip && strcmp(list[i], skip) == 0)
			continue;
		count++;
		if (loud)
			fprintf(stderr, "still mounted: %s\n", list[i]);
	}
	free(list);
	return count;
}

/* Calls fn for each loop device with a backing file below path. */
static unsigned each_loop(const char *path, const char *skip, bool loud, bool detach)
{
	DIR *d = opendir("/sys/block");
	struct dirent *de;
	unsigned count = 0;

	while (d && (de = readdir(d))) {
		char name[300];
		char file[1024] = "";

		if (strncmp(de->d_name, "loop", 4) != 0)
			continue;
		snprintf(name, sizeof(name), "/sys/block/%s/loop/backing_file", de->d_name);
		cleat_autoclose int fd = open(name, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd >= 0 ? read(fd, file, sizeof(file) - 1) : 0;
		file[n > 0 ? n - 1 : 0] = '\0';
		if (n <= 0 || (skip && strcmp(file, skip) == 0) || strncmp(file, path, strlen(path)) != 0)
			continue;
		count++;
		if (loud)
			fprintf(stderr, "still bound: /dev/%s: %s\n", de->d_name, file);
		snprintf(name, sizeof(name), "/dev/%s", de->d_name);
		cleat_autoclose int dev = detach ? open(name, O_RDONLY | O_CLOEXEC) : -1;
		if (dev >= 0)
			ioctl(dev, LOOP_CLR_FD, 0);
	}
	if (d)
		closedir(d);
	return count;
}

unsigned loops_below(const char *path, const char *skip, bool loud)
{
	return each_loop(path, skip, loud, false);
}

void clear_below(const char *path)
{
	char(*list)[512] = malloc(MOUNTS_MAX * sizeof(*list));
	size_t n = list ? list_mounts(path, list, MOUNTS_MAX) : 0;

	while (n-- > 0)
		if (umount2(list[n], UMOUNT_NOFOLLOW) != 0)
			umount2(list[n], UMOUNT_NOFOLLOW | MNT_DETACH);
	free(list);
	each_loop(path, NULL, false, true);
}

void clear_mounts(const char *path, const char *leaf)
{
	char(*list)[512] = malloc(MOUNTS_MAX * sizeof(*list));
	size_t n = list ? list_mounts(path, list, MOUNTS_MAX) : 0;

	while (n-- > 0) {
		const char *slash = strrchr(list[n], '/');

		if (slash && strcmp(slash + 1, leaf) == 0)
			umount2(list[n], UMOUNT_NOFOLLOW);
	}
	free(list);
}

/* Whether process `pid` names path in its arguments or holds a file below it open. */
static bool process_uses(const char *pid, const char *path)
{
	char name[300];
	char text[4096];
	ssize_t n;
	DIR *d;
	struct dirent *de;
	bool found = false;

	snprintf(name, sizeof(name), "/proc/%s/cmdline", pid);
	cleat_autoclose int fd = open(name, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, text, sizeof(text)) : 0;
	if (n > 0 && memmem(text, (size_t)n, path, strlen(path)))
		return true;
	snprintf(name, sizeof(name), "/proc/%s/fd", pid);
	d = opendir(name);
	while (d && !found && (de = readdir(d))) {
		n = readlinkat(dirfd(d), de->d_name, text, sizeof(text) - 1);
		text[n > 0 ? n : 0] = '\0';
		found = is_below(text, path);
	}
	if (d)
		closedir(d);
	return found;
}

unsigned processes_below(const char *path, bool loud)
{
	DIR *d = opendir("/proc");
	struct dirent *de;
	unsigned count = 0;

	while (d && (de = readdir(d))) {
		pid_t pid = (pid_t)atol(de->d_name);

		if (pid <= 0 || pid == getpid() || pid == getppid() || pid == far_side.pid ||
		    !process_uses(de->d_name, path))
			continue;
		count++;
		if (loud)
			fprintf(stderr, "still running: process %d uses %s\n", (int)pid, path);
	}
	if (d)
		closedir(d);
	return count;
}
