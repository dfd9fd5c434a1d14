/* sys_lab.c - see sys_lab.h.  Counts with its own few lines, not with the code under test. */
#include "sys_lab.h"

#include "sys/file.h"
#include "sys/hook.h"
#include "sys/loop.h"
#include "sys/spawn.h"
#include "util/clock.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/loop.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- injected errors ---- */

#define MAX_CALLS 64

static struct {
	pthread_mutex_t lock;
	char call[48]; /* "": any */
	int n, errnum;
	struct {
		char name[48];
		int count;
	} calls[MAX_CALLS];
	bool on;
} injected = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int hook(const char *call, const char *what, void *arg)
{
	int e = 0, i = 0;

	(void)what;
	(void)arg;
	pthread_mutex_lock(&injected.lock);
	while (i < MAX_CALLS - 1 && injected.calls[i].count > 0 && strcmp(injected.calls[i].name, call) != 0)
		i++;
	snprintf(injected.calls[i].name, sizeof(injected.calls[i].name), "%s", call);
	injected.calls[i].count++;
	if ((injected.call[0] == '\0' || strcmp(injected.call, call) == 0) && injected.n > 0 &&
	    --injected.n == 0)
		e = injected.errnum;
	pthread_mutex_unlock(&injected.lock);
	return e;
}

void lab_inject(const char *call, int n, int errnum)
{
	lab_inject_off();
	snprintf(injected.call, sizeof(injected.call), "%s", call ? call : "");
	injected.n = n;
	injected.errnum = errnum;
	memset(injected.calls, 0, sizeof(injected.calls));
	injected.on = true;
	cleat_sys_hook_set(hook, NULL);
}

void lab_inject_off(void)
{
	cleat_sys_hook_set(NULL, NULL);
	injected.on = false;
}

int lab_steps(const char *call)
{
	for (int i = 0; i < MAX_CALLS && injected.calls[i].count > 0; i++)
		if (strcmp(injected.calls[i].name, call) == 0)
			return injected.calls[i].count;
	return 0;
}

/* ---- counting ---- */

int lab_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = -1; /* the one that reads the directory */

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));)
		count += d->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* Calls fn for each mount point below the lab. */
static int each_mount(const struct lab *lab, void (*fn)(const char *target))
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	size_t prefix = strlen(lab->path);
	char *line = NULL;
	size_t room = 0;
	int count = 0;

	assert_non_null(table);
	while (getline(&line, &room, table) > 0) {
		char *save = NULL, *target = strtok_r(line, " ", &save);
		for (int i = 0; i < 4 && target; i++)
			target = strtok_r(NULL, " ", &save);
		if (!target || strncmp(target, lab->path, prefix) != 0 ||
		    (target[prefix] && target[prefix] != '/'))
			continue;
		count++;
		if (fn)
			fn(target);
	}
	free(line);
	fclose(table);
	return count;
}

int lab_count_mounts(const struct lab *lab)
{
	return each_mount(lab, NULL);
}

/* Calls fn for each loop device that is bound to a file of the lab. */
static int each_loop(const struct lab *lab, void (*fn)(const char *device))
{
	DIR *dir = opendir("/sys/block");
	size_t prefix = strlen(lab->path);
	int count = 0;

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));) {
		char name[320], text[4096] = "";
		snprintf(name, sizeof(name), "/sys/block/%s/loop/backing_file", d->d_name);
		FILE *f = fopen(name, "re");
		if (!f)
			continue;
		bool ours = fgets(text, sizeof(text), f) && strncmp(text, lab->path, prefix) == 0 &&
			    text[prefix] == '/';
		fclose(f);
		if (!ours)
			continue;
		count++;
		snprintf(name, sizeof(name), "/dev/%s", d->d_name);
		if (fn)
			fn(name);
	}
	closedir(dir);
	return count;
}

int lab_count_loops(const struct lab *lab)
{
	return each_loop(lab, NULL);
}

bool lab_no_loops(const struct lab *lab)
{
	const struct timespec pause = { .tv_nsec = 5000000 };

	for (int64_t end = cleat_time_mono_ms() + 5000; lab_count_loops(lab) > 0; nanosleep(&pause, NULL))
		if (cleat_time_mono_ms() > end)
			return false;
	return true;
}

/* ---- the place ---- */

static void detach_mount(const char *target)
{
	umount2(target, MNT_DETACH);
}

static void clear_loop(const char *device)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		ioctl(fd, LOOP_CLR_FD, 0);
		close(fd);
	}
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	remove(path);
	return 0;
}

int lab_setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	assert_non_null(lab);
	lab->fds_before = lab_count_fds();
	const char *parent = getenv("TMPDIR");
	snprintf(lab->path, sizeof(lab->path), "%s/cleat-sys-XXXXXX", parent && *parent ? parent : "/tmp");
	assert_non_null(mkdtemp(lab->path));
	lab->fd = open(lab->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(lab->fd >= 0);
	*state = lab;
	return 0;
}

int lab_teardown(void **state)
{
	struct lab *lab = *state;
	bool hooked = injected.on;
	int mounts = lab_count_mounts(lab);
	bool loops = !lab_no_loops(lab);

	lab_inject_off();
	each_loop(lab, clear_loop); /* also those whose image will have no path once its file system is detached */
	for (int i = 0; i < 8 && each_mount(lab, detach_mount) > 0; i++)
		;
	each_loop(lab, clear_loop);
	nftw(lab->path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	close(lab->fd);
	int fds = lab_count_fds() - lab->fds_before;
	free(lab);
	if (mounts || loops || fds || hooked)
		print_error("left behind: %d mounts, %d loop devices, %d descriptors, hook: %d\n", mounts,
			    loops, fds, hooked);
	return mounts || loops || fds || hooked ? -1 : 0;
}

int lab_need_root(void)
{
	if (geteuid() == 0)
		return 0;
	printf("skipped: these tests mount and need root\n");
	return 77;
}

int lab_need_loop(void)
{
	int skip = lab_need_root();

	if (skip || access("/dev/loop-control", R_OK | W_OK) == 0)
		return skip;
	printf("skipped: there is no /dev/loop-control here\n");
	return 77;
}

int lab_need_tools(const char *const *names)
{
	for (; *names; names++) {
		if (!cleat_sys_have_tool(*names)) {
			printf("skipped: %s is not installed\n", *names);
			return 77;
		}
	}
	return 0;
}

const char *lab_join(const struct lab *lab, const char *name)
{
	static char paths[10][512];
	static unsigned next;
	char *path = paths[next++ % CLEAT_COUNT(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", lab->path, name);
	return path;
}

/* ---- expecting ---- */

void lab_expect(enum cleat_code got, const struct cleat_error *err, enum cleat_code code, const char *words)
{
	if (got != code || err->code != code || !strstr(err->msg, words))
		fail_msg("expected %s with '%s', got %s/%s: %s", cleat_code_name(code), words,
			 cleat_code_name(got), cleat_code_name(err->code), err->msg);
}

void lab_ok(enum cleat_code got, const struct cleat_error *err)
{
	if (got != CLEAT_OK)
		fail_msg("%s: %s", cleat_code_name(got), err->msg);
}

/* ---- files ---- */

void lab_write(const struct lab *lab, const char *name, const char *text)
{
	int fd = openat(lab->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

void lab_mkdir(const struct lab *lab, const char *name)
{
	assert_int_equal(mkdirat(lab->fd, name, 0755), 0);
}

int lab_sparse(const struct lab *lab, const char *name, uint64_t bytes)
{
	int fd = openat(lab->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

bool lab_exists(const struct lab *lab, const char *name)
{
	struct stat st;

	return fstatat(lab->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

void lab_read(const struct lab *lab, const char *name, char *text, size_t room)
{
	int fd = openat(lab->fd, name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	ssize_t got = read(fd, text, room - 1);
	assert_true(got >= 0);
	text[got] = '\0';
	close(fd);
}

void lab_run(const char *const *argv)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	lab_ok(cleat_sys_spawn(&(struct cleat_spawn){ .argv = argv, .keep_fd = -1 }, NULL, 0, NULL, &err),
	       &err);
}

static void format(const char *fs, const char *path)
{
	if (strcmp(fs, "ext4") == 0)
		LAB_RUN("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-E",
			"nodiscard,lazy_itable_init=1,lazy_journal_init=1", path);
	else if (strcmp(fs, "xfs") == 0)
		LAB_RUN("mkfs.xfs", "-q", "-f", "-K", "-s", "size=4096", path);
	else
		LAB_RUN("mkfs.btrfs", "-q", "-f", "-K", path);
}

void lab_image(const struct lab *lab, const char *name, const char *fs, uint64_t bytes,
	       struct cleat_loop *loop_out)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	int fd = lab_sparse(lab, name, bytes);

	if (fs)
		format(fs, lab_join(lab, name));
	lab_ok(cleat_sys_loop_bind(fd, lab_join(lab, name), CLEAT_LOOP_AUTOCLEAR | CLEAT_LOOP_DIRECT_IO, 4096,
				   loop_out, &err),
	       &err);
	close(fd);
}
