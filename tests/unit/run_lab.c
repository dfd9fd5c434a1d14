/* run_lab.c - see run_lab.h.  Looks with its own few lines, not with the code under test. */
#include "run_lab.h"

#include "sys/spawn.h"
#include "util/clock.h"
#include "util/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = -1; /* the one that reads the directory */

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));)
		count += d->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void pause_ms(long ms)
{
	const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&pause, NULL);
}

/* ---- what is left over ---- */

/* Processes, but for those that are dead already and wait for init, whose command line names the lab. */
static int count_processes(const struct run_lab *lab, bool kill_them)
{
	DIR *dir = opendir("/proc");
	int count = 0;

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));) {
		char path[300], line[4096];
		snprintf(path, sizeof(path), "/proc/%s/cmdline", d->d_name);
		FILE *f = d->d_name[0] >= '1' && d->d_name[0] <= '9' ? fopen(path, "re") : NULL;
		if (!f)
			continue;
		size_t n = fread(line, 1, sizeof(line), f);
		fclose(f);
		if (!memmem(line, n, lab->path, strlen(lab->path)) || atoi(d->d_name) == getpid())
			continue;
		count++;
		if (kill_them)
			kill(atoi(d->d_name), SIGKILL);
	}
	closedir(dir);
	return count;
}

static const char *searched; /* nftw(3) hands nothing on */
static int found_dirs;

static int look_at_cgroup(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	if (kind == FTW_D && strcmp(path + where->base, searched) == 0)
		found_dirs++;
	return 0;
}

/* Directories of cgroups that are called as a task of this lab would be. */
static int count_cgroups(const struct run_lab *lab)
{
	DIR *dir = opendir(lab->tasks);
	char parent[128];

	found_dirs = 0;
	for (const struct dirent *d; dir && (d = readdir(dir));) {
		if (d->d_name[0] == '.')
			continue;
		searched = d->d_name;
		nftw("/sys/fs/cgroup", look_at_cgroup, 16, FTW_PHYS);
	}
	if (dir)
		closedir(dir);
	/* The tests' own parent, see run_lab_spec(). */
	snprintf(parent, sizeof(parent), "%s", strrchr(lab->path, '/') + 1);
	searched = parent;
	nftw("/sys/fs/cgroup", look_at_cgroup, 16, FTW_PHYS);
	return found_dirs;
}

static int count_mounts(const struct run_lab *lab, bool unmount)
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char line[4096], target[2048];
	int count = 0;

	assert_non_null(table);
	while (fgets(line, sizeof(line), table)) {
		if (sscanf(line, "%*s %*s %*s %*s %2047s", target) != 1 ||
		    strncmp(target, lab->path, strlen(lab->path)) != 0)
			continue;
		count++;
		if (unmount)
			umount2(target, MNT_DETACH);
	}
	fclose(table);
	return count;
}

static int count_tasks(const struct run_lab *lab)
{
	DIR *dir = opendir(lab->tasks);
	int count = 0;

	for (const struct dirent *d; dir && (d = readdir(dir));)
		count += d->d_name[0] != '.' || strncmp(d->d_name, ".gone", 5) == 0;
	if (dir)
		closedir(dir);
	dir = opendir(run_lab_join(lab, "tasks/.crun"));
	for (const struct dirent *d; dir && (d = readdir(dir));)
		count += d->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

bool run_lab_is_clean(const struct run_lab *lab)
{
	int processes, cgroups, mounts, tasks;

	for (int64_t end_ms = cleat_time_mono_ms() + 10000;; pause_ms(20)) {
		processes = count_processes(lab, false);
		cgroups = count_cgroups(lab);
		mounts = count_mounts(lab, false);
		tasks = count_tasks(lab);
		if (!processes && !cgroups && !mounts && !tasks)
			return true;
		if (cleat_time_mono_ms() > end_ms)
			break;
	}
	print_error("left over: %d processes, %d cgroups, %d mounts, %d tasks\n", processes, cgroups, mounts,
		    tasks);
	return false;
}

/* ---- the place ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	remove(path);
	return 0;
}

int run_lab_setup(void **state)
{
	struct run_lab *lab = calloc(1, sizeof(*lab));

	assert_non_null(lab);
	lab->fds_before = count_fds();
	snprintf(lab->path, sizeof(lab->path), "/tmp/cleat-run-XXXXXX");
	assert_non_null(mkdtemp(lab->path));
	assert_int_equal(chmod(lab->path, 0755), 0);
	snprintf(lab->tasks, sizeof(lab->tasks), "%s/tasks", lab->path);
	lab->env.dir = lab->tasks;
	*state = lab;
	return 0;
}

static bool destroy_one(const char *id, void *arg)
{
	const struct run_lab *lab = arg;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (run_destroy(&lab->env, id, &err) != CLEAT_OK)
		print_error("%s\n", err.msg);
	return true;
}

int run_lab_teardown(void **state)
{
	struct run_lab *lab = *state;
	int tasks = count_tasks(lab);

	if (run_list(&lab->env, destroy_one, lab, NULL) != CLEAT_OK)
		print_error("tasks cannot be listed\n");
	bool clean = run_lab_is_clean(lab);
	count_processes(lab, true);
	for (int i = 0; i < 8 && count_mounts(lab, true) > 0; i++)
		;
	nftw(lab->path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	int fds = count_fds() - lab->fds_before;
	free(lab);
	if (tasks || !clean || fds)
		print_error("left behind: %d tasks, %d descriptors, clean: %d\n", tasks, fds, clean);
	return tasks || !clean || fds ? -1 : 0;
}

int run_lab_need(void)
{
	static const char *const tools[] = { "crun", "conmon" };

	for (size_t i = 0; i < CLEAT_COUNT(tools); i++)
		if (!cleat_sys_have_tool(tools[i])) {
			printf("skipped: %s is not installed\n", tools[i]);
			return 77;
		}
	if (geteuid() == 0)
		return 0;
	printf("skipped: tasks are run by root\n");
	return 77;
}

/* ---- files ---- */

const char *run_lab_join(const struct run_lab *lab, const char *name)
{
	static _Thread_local char paths[16][256];
	static _Thread_local unsigned next;
	char *path = paths[next++ % CLEAT_COUNT(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", lab->path, name);
	return path;
}

void run_lab_write(const struct run_lab *lab, const char *name, const char *text)
{
	FILE *f = fopen(run_lab_join(lab, name), "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

const char *run_lab_read(const struct run_lab *lab, const char *name)
{
	static _Thread_local char texts[4][65536];
	static _Thread_local unsigned next;
	char *text = texts[next++ % CLEAT_COUNT(texts)];
	FILE *f = fopen(run_lab_join(lab, name), "re");
	size_t n = f ? fread(text, 1, sizeof(texts[0]) - 1, f) : 0;

	text[n] = '\0';
	if (f)
		fclose(f);
	return text;
}

void run_lab_await(const struct run_lab *lab, const char *name, const char *text)
{
	for (int64_t end_ms = cleat_time_mono_ms() + 10000; !strstr(run_lab_read(lab, name), text);
	     pause_ms(5))
		if (cleat_time_mono_ms() > end_ms)
			fail_msg("'%s' has no '%s' in it but: %s", name, text, run_lab_read(lab, name));
}

/* ---- tasks ---- */

void run_lab_text(char **field, const char *text)
{
	free(*field);
	*field = strdup(text);
	assert_non_null(*field);
}

char **run_lab_list(const char *first, ...)
{
	char **list = calloc(16, sizeof(*list));
	va_list args;
	size_t n = 0;

	assert_non_null(list);
	va_start(args, first);
	for (const char *text = first; text; text = va_arg(args, const char *)) {
		assert_true(n < 15);
		list[n++] = strdup(text);
	}
	va_end(args);
	return list;
}

struct run_spec run_lab_spec(const struct run_lab *lab, const char *id, const char *script)
{
	struct run_spec spec = RUN_SPEC_INIT;
	char name[200];

	run_lab_text(&spec.id, id);
	/* A parent of the lab's own, so that labs do not see each other's. */
	run_lab_text(&spec.cgroup_parent, strrchr(lab->path, '/') + 1);
	spec.argv = run_lab_list("/bin/sh", "-c", script, NULL);
	snprintf(name, sizeof(name), "%s.out", id);
	run_lab_text(&spec.stdout_path, run_lab_join(lab, name));
	snprintf(name, sizeof(name), "%s.err", id);
	run_lab_text(&spec.stderr_path, run_lab_join(lab, name));
	return spec;
}

void run_lab_env(struct run_spec *spec, const char *key, const char *value)
{
	struct cleat_kv *items = realloc(spec->env.items, (spec->env.count + 1) * sizeof(*items));

	assert_non_null(items);
	spec->env.items = items;
	items[spec->env.count++] = (struct cleat_kv){ strdup(key), strdup(value) };
}

void run_lab_mount(struct run_spec *spec, const char *source, const char *target, bool read_only,
		   const char *propagation)
{
	struct run_mount *m = realloc(spec->mounts, (spec->mount_count + 1) * sizeof(*m));

	assert_non_null(m);
	spec->mounts = m;
	m[spec->mount_count] = (struct run_mount){ .read_only = read_only };
	run_lab_text(&m[spec->mount_count].source, source);
	run_lab_text(&m[spec->mount_count].target, target);
	if (propagation)
		run_lab_text(&m[spec->mount_count].propagation, propagation);
	spec->mount_count++;
}

struct run_handle *run_lab_start(const struct run_lab *lab, struct run_spec *spec)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_handle *h = NULL;

	run_lab_ok(run_start(&lab->env, spec, &h, &err), &err);
	run_spec_done(spec);
	return h;
}

static bool is_late(void *arg)
{
	return cleat_time_mono_ms() > *(const int64_t *)arg;
}

struct run_exit run_lab_end(struct run_handle *h)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	int64_t end_ms = cleat_time_mono_ms() + 30000;
	struct run_exit end = { .code = -1 };
	bool ended = false;

	run_lab_ok(run_wait(h, is_late, &end_ms, &ended, &end, &err), &err);
	assert_true(ended);
	return end;
}

struct run_exit run_lab_run(const struct run_lab *lab, struct run_spec *spec)
{
	char *id = strdup(spec->id);
	struct run_handle *h = run_lab_start(lab, spec);
	struct run_exit end = run_lab_end(h);

	run_unref(h);
	run_lab_destroy(lab, id);
	free(id);
	return end;
}

void run_lab_destroy(const struct run_lab *lab, const char *id)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	run_lab_ok(run_destroy(&lab->env, id, &err), &err);
}

void run_lab_expect(enum cleat_code got, const struct cleat_error *err, enum cleat_code code,
		    const char *words)
{
	if (got != code || err->code != code || !strstr(err->msg, words))
		fail_msg("expected %s with '%s', got %s/%s: %s", cleat_code_name(code), words,
			 cleat_code_name(got), cleat_code_name(err->code), err->msg);
}

void run_lab_ok(enum cleat_code got, const struct cleat_error *err)
{
	if (got != CLEAT_OK)
		fail_msg("%s: %s", cleat_code_name(got), err->msg);
}
