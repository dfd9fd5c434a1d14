/* rootfs.c - the root file system: the job's directory, or one of our own with the host's system directories
 * in it, read-only.
 *
 * crun makes mount points and the working directory before it makes anything read-only.  So whatever lies in
 * a directory of the host has to be there already, or the task's start would leave things on the host.
 */
#include "driver/run/internal.h"

#include "sys/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const of_host[] = { "bin", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr" };

/* Directories that are there and empty; "" ends. */
static const struct {
	const char *path;
	mode_t mode;
} empty[] = {
	{ "dev", 0755 },     { "home", 0755 },	  { "mnt", 0755 },	{ "opt", 0755 },
	{ "proc", 0555 },    { "root", 0700 },	  { "run", 0755 },	{ "srv", 0755 },
	{ "sys", 0555 },     { "tmp", 01777 },	  { "var", 0755 },	{ "var/cache", 0755 },
	{ "var/lib", 0755 }, { "var/log", 0755 }, { "var/tmp", 01777 },
};

static bool is_of_host(const char *path)
{
	for (size_t i = 0; i < CLEAT_COUNT(of_host); i++)
		if (run_path_is_beneath(path + 1, of_host[i]))
			return true;
	return false;
}

enum cleat_code run_rootfs_check(const struct run_spec *spec, const char *path, const char *what,
				 struct cleat_error *err)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	cleat_autoclose int root = -1, fd = -1;

	if (spec->rootfs || !is_of_host(path))
		return CLEAT_OK;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = root >= 0 ? (int)syscall(SYS_openat2, root, path, &how, sizeof(how)) : -1;
	if (fd >= 0)
		return CLEAT_OK;
	return cleat_error_set(
		err, CLEAT_FAILED_PRECONDITION,
		"%s '%.200s' does not exist in the host's own directories, which tasks have read-only", what,
		path);
}

/* ---- mounts ---- */

void run_mount_add(struct run_bundle *b, const char *type, const char *source, const char *target,
		   const char *options)
{
	json_t *mount = json_object(), *list = json_array();
	char option[128];

	for (const char *p = options; *p; p += strcspn(p, ","), p += *p == ',') {
		snprintf(option, sizeof(option), "%.*s", (int)strcspn(p, ","), p);
		run_json_add(b, list, json_string(option));
	}
	run_json_put(b, mount, "destination", run_json_text(b, target));
	run_json_put(b, mount, "type", json_string(type));
	run_json_put(b, mount, "source", run_json_text(b, source));
	run_json_put(b, mount, "options", list);
	run_json_add(b, b->mounts, mount);
}

/* mount_setattr(2) makes what is mounted below read-only too; Linux 5.12. */
static bool has_recursive_ro(void)
{
	return syscall(SYS_mount_setattr, -1, NULL, 0, NULL, 0) < 0 && errno != ENOSYS;
}

void run_bind_add(struct run_bundle *b, const char *source, const char *target, bool read_only,
		  const char *propagation)
{
	struct statvfs fs = { .f_flag = 0 };
	char options[256];
	struct stat st;

	if (b->code == CLEAT_OK && (stat(source, &st) < 0 || statvfs(source, &fs) < 0))
		b->code = cleat_error_errno(b->err, errno, "mount source '%.200s'", source);
	if (b->code != CLEAT_OK)
		return;
	read_only = read_only || (fs.f_flag & ST_RDONLY);
	snprintf(options, sizeof(options), "rbind,%s%s%s%s%s%s%s%s", propagation, read_only ? ",ro" : ",rw",
		 read_only && S_ISDIR(st.st_mode) && has_recursive_ro() ? ",rro" : "",
		 fs.f_flag & ST_NOSUID ? ",nosuid" : "", fs.f_flag & ST_NODEV ? ",nodev" : "",
		 fs.f_flag & ST_NOEXEC ? ",noexec" : "", fs.f_flag & ST_NOATIME ? ",noatime" : "",
		 fs.f_flag & ST_NODIRATIME ? ",nodiratime" : "");
	run_mount_add(b, "bind", source, target, options);
}

static bool is_mounted_by_job(const struct run_spec *spec, const char *target)
{
	for (size_t i = 0; i < spec->mount_count; i++)
		if (strcmp(spec->mounts[i].target, target) == 0)
			return true;
	return false;
}

static void add_kernel_mounts(struct run_bundle *b)
{
	run_mount_add(b, "proc", "proc", "/proc", "nosuid,noexec,nodev");
	if (!is_mounted_by_job(b->spec, "/dev")) {
		run_mount_add(b, "tmpfs", "tmpfs", "/dev", "nosuid,strictatime,mode=755,size=65536k");
		run_mount_add(b, "devpts", "devpts", "/dev/pts",
			      "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
		run_mount_add(b, "tmpfs", "shm", "/dev/shm", "nosuid,noexec,nodev,mode=1777,size=65536k");
		run_mount_add(b, "mqueue", "mqueue", "/dev/mqueue", "nosuid,noexec,nodev");
	}
	if (is_mounted_by_job(b->spec, "/sys"))
		return;
	run_mount_add(b, "sysfs", "sysfs", "/sys", "nosuid,noexec,nodev,ro");
	run_mount_add(b, "cgroup", "cgroup", "/sys/fs/cgroup", "nosuid,noexec,nodev,relatime,ro");
}

/* ---- our own root ---- */

static int make_dir(int root, const char *path, mode_t mode)
{
	/* The umask has a say in mkdirat(2). */
	return mkdirat(root, path, mode) < 0 || fchmodat(root, path, mode, 0) < 0 ? errno : 0;
}

/* "/lib" is a link to "usr/lib" on most machines, and then is one in the task. */
static void take_over(struct run_bundle *b, int root, const char *name)
{
	char path[32], to[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "/%s", name);
	if (lstat(path, &st) < 0)
		return;
	ssize_t n = S_ISLNK(st.st_mode) ? readlink(path, to, sizeof(to) - 1) : -1;
	if (n > 0) {
		to[n] = '\0';
		if (symlinkat(to, root, name) < 0 && b->code == CLEAT_OK)
			b->code = cleat_error_errno(b->err, errno, "make link '%s' in the task's root", name);
	} else if (S_ISDIR(st.st_mode)) {
		int e = make_dir(root, name, 0755);
		if (e && b->code == CLEAT_OK)
			b->code = cleat_error_errno(b->err, e, "make '%s' in the task's root", name);
		run_bind_add(b, path, path, true, "rprivate");
	}
}

static void fill_root(struct run_bundle *b, int root)
{
	for (size_t i = 0; i < CLEAT_COUNT(empty); i++) {
		int e = make_dir(root, empty[i].path, empty[i].mode);
		if (e && b->code == CLEAT_OK)
			b->code = cleat_error_errno(b->err, e, "make '%s' in the task's root", empty[i].path);
	}
	if (symlinkat("../run", root, "var/run") < 0 && b->code == CLEAT_OK)
		b->code = cleat_error_errno(b->err, errno, "make link 'var/run' in the task's root");
	add_kernel_mounts(b);
	for (size_t i = 0; i < CLEAT_COUNT(of_host); i++)
		take_over(b, root, of_host[i]);
	run_mount_add(b, "tmpfs", "tmpfs", "/tmp", "nosuid,nodev,mode=1777");
	run_mount_add(b, "tmpfs", "tmpfs", "/var/tmp", "nosuid,nodev,mode=1777");
	run_mount_add(b, "tmpfs", "tmpfs", "/run", "nosuid,nodev,mode=755");
}

void run_rootfs_add(struct run_bundle *b, char *root_path, size_t root_bytes)
{
	cleat_autoclose int root = -1;

	if (b->spec->rootfs) {
		snprintf(root_path, root_bytes, "%s", b->spec->rootfs);
		add_kernel_mounts(b);
		return;
	}
	if (snprintf(root_path, root_bytes, "%s/rootfs", b->place->path) >= (int)root_bytes) {
		b->code = cleat_error_set(b->err, CLEAT_INVALID_ARGUMENT,
					  "the path of the task's directory is too long");
		return;
	}
	b->code = cleat_sys_mkdir_at(b->place->fd, "rootfs", 0755, false, b->err);
	if (b->code == CLEAT_OK)
		b->code = cleat_sys_open_at(b->place->fd, "rootfs", O_RDONLY | O_DIRECTORY, 0, &root, b->err);
	if (b->code == CLEAT_OK)
		b->code = cleat_sys_set_owner(root, (uid_t)-1, (gid_t)-1, 0755, "rootfs", b->err);
	if (b->code == CLEAT_OK)
		fill_root(b, root);
}
