/* mount.c - see mount.h: making and taking away mounts, and what is at a path.  The mount table is read in
 * mountinfo.c, freezing and trimming are in freeze.c. */
#include "sys/mount.h"

#include "sys/hook.h"
#include "sys/internal.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define WORDS_BYTES 256 /* of the kernel's own message */
#define MAX_MESSAGES 32 /* read from one file system context */

/* ---- mounting a device ---- */

/* One mount under way. */
struct request {
	const char *fstype, *device, *target;
	const struct cleat_kvs *options; /* may be NULL */
	unsigned flags;
	char words[WORDS_BYTES]; /* what the kernel says besides its errno; "" for nothing */
};

/* Reads what the kernel says of a file system context: one message a read, "e <text>" for errors.  The first
 * error is the cause; those after it follow from it. */
static void read_words(struct request *r, int fs_fd)
{
	char line[WORDS_BYTES];
	ssize_t got;

	for (int i = 0; i < MAX_MESSAGES && (got = read(fs_fd, line, sizeof(line) - 1)) > 0; i++) {
		while (got > 0 && (line[got - 1] == '\n' || line[got - 1] == '\0'))
			got--;
		line[got] = '\0';
		if (r->words[0] == '\0' && strncmp(line, "e ", 2) == 0)
			snprintf(r->words, sizeof(r->words), "%s", line + 2);
	}
}

/* The answer for errno value e; what a damaged file system, and one of another type, are called is not
 * errno's business. */
static enum cleat_code mount_error(const struct request *r, int e, struct cleat_error *err)
{
	struct cleat_error plain = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_error_errno(&plain, e, "mount %s '%s' on '%s'%s%s", r->fstype, r->device,
						 r->target, r->words[0] ? ": " : "", r->words);

	if (e == EUCLEAN || e == EBADMSG)
		code = CLEAT_DATA_LOSS;
	else if (e == ENOTBLK || e == ENOTDIR)
		code = CLEAT_FAILED_PRECONDITION;
	return cleat_error_set(err, code, "%s", plain.msg);
}

static int set_option(int fs_fd, const char *key, const char *value)
{
	int rc = value[0] ? fsconfig(fs_fd, FSCONFIG_SET_STRING, key, value, 0)
			  : fsconfig(fs_fd, FSCONFIG_SET_FLAG, key, NULL, 0);

	return rc < 0 ? errno : 0;
}

static enum cleat_code configure(struct request *r, int fs_fd, struct cleat_error *err)
{
	int e = set_option(fs_fd, "source", r->device);

	if (e == 0 && (r->flags & CLEAT_MOUNT_READ_ONLY))
		e = set_option(fs_fd, "ro", "");
	for (size_t i = 0; e == 0 && r->options && i < r->options->count; i++) {
		const struct cleat_kv *option = &r->options->items[i];
		e = set_option(fs_fd, option->key, option->value);
		if (e) {
			read_words(r, fs_fd);
			if (r->words[0] == '\0')
				snprintf(r->words, sizeof(r->words), "option '%s'", option->key);
		}
	}
	return e == 0 ? CLEAT_OK : mount_error(r, e, err);
}

/* EINVAL where no argument of the caller is to blame: by what is on the device, or at the target. */
static enum cleat_code state_error(const struct request *r, int e, struct cleat_error *err)
{
	enum cleat_code code = mount_error(r, e, err);

	if (e != EINVAL)
		return code;
	if (err)
		err->code = CLEAT_FAILED_PRECONDITION;
	return CLEAT_FAILED_PRECONDITION;
}

static enum cleat_code create_superblock(struct request *r, int fs_fd, struct cleat_error *err)
{
	int e = cleat_sys_step("fsconfig", r->device);

	if (e == 0 && fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		e = errno;
	if (e == 0)
		return CLEAT_OK;
	read_words(r, fs_fd);
	if (e == EINVAL && r->words[0] == '\0')
		snprintf(r->words, sizeof(r->words),
			 "it holds no such file system, or an option does not fit it");
	return state_error(r, e, err);
}

static unsigned attributes(unsigned flags)
{
	unsigned attr = 0;

	if (flags & CLEAT_MOUNT_READ_ONLY)
		attr |= MOUNT_ATTR_RDONLY;
	if (flags & CLEAT_MOUNT_NOEXEC)
		attr |= MOUNT_ATTR_NOEXEC;
	if (flags & CLEAT_MOUNT_NOATIME)
		attr |= MOUNT_ATTR_NOATIME;
	if (flags & CLEAT_MOUNT_NODIRATIME)
		attr |= MOUNT_ATTR_NODIRATIME;
	if (!(flags & CLEAT_MOUNT_ALLOW_SUID))
		attr |= MOUNT_ATTR_NOSUID;
	if (!(flags & CLEAT_MOUNT_ALLOW_DEV))
		attr |= MOUNT_ATTR_NODEV;
	return attr;
}

/* Makes a mount of the created file system and puts it on the target. */
static enum cleat_code attach(struct request *r, int fs_fd, struct cleat_error *err)
{
	cleat_autoclose int mount_fd = -1;
	int e = cleat_sys_step("fsmount", r->device);

	if (e == 0) {
		mount_fd = fsmount(fs_fd, FSMOUNT_CLOEXEC, attributes(r->flags));
		e = mount_fd < 0 ? errno : 0;
	}
	if (e) {
		read_words(r, fs_fd);
		return mount_error(r, e, err);
	}
	e = cleat_sys_step("move_mount", r->target);
	if (e == 0 && move_mount(mount_fd, "", AT_FDCWD, r->target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		e = errno;
	if (e == 0)
		return CLEAT_OK;
	snprintf(r->words, sizeof(r->words), "the target takes no mount");
	return state_error(r, e, err);
}

enum cleat_code cleat_sys_mount_device(const char *fstype, const char *device,
				       const struct cleat_kvs *options, unsigned flags, const char *target,
				       struct cleat_error *err)
{
	struct request r = {
		.fstype = fstype, .device = device, .target = target, .options = options, .flags = flags
	};

	if (target[0] != '/')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not an absolute path", target);
	cleat_autoclose int fs_fd = fsopen(fstype, FSOPEN_CLOEXEC);
	if (fs_fd < 0 && errno == ENODEV)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "mount '%s': this kernel has no file system '%s'", device, fstype);
	if (fs_fd < 0)
		return mount_error(&r, errno, err);
	enum cleat_code code = configure(&r, fs_fd, err);
	if (code == CLEAT_OK)
		code = create_superblock(&r, fs_fd, err);
	if (code == CLEAT_OK)
		code = attach(&r, fs_fd, err);
	return code;
}

/* ---- binding ---- */

/* The flags that mount(2) has for the attributes of mount_setattr(2). */
static unsigned long old_flags(unsigned attr)
{
	return ((attr & MOUNT_ATTR_RDONLY) ? MS_RDONLY : 0UL) |
	       ((attr & MOUNT_ATTR_NOSUID) ? MS_NOSUID : 0UL) | ((attr & MOUNT_ATTR_NODEV) ? MS_NODEV : 0UL) |
	       ((attr & MOUNT_ATTR_NOEXEC) ? MS_NOEXEC : 0UL) |
	       ((attr & MOUNT_ATTR_NOATIME) ? MS_NOATIME : 0UL) |
	       ((attr & MOUNT_ATTR_NODIRATIME) ? MS_NODIRATIME : 0UL);
}

/* What the mount of fd has already: a remount by mount(2) replaces all flags, and a bind must never lift one.
 */
static int present_flags(int fd, unsigned long *flags_out)
{
	struct statvfs fs;

	if (fstatvfs(fd, &fs) < 0)
		return errno;
	*flags_out = ((fs.f_flag & ST_NOSUID) ? MS_NOSUID : 0UL) | ((fs.f_flag & ST_NODEV) ? MS_NODEV : 0UL) |
		     ((fs.f_flag & ST_NOEXEC) ? MS_NOEXEC : 0UL) |
		     ((fs.f_flag & ST_NOATIME) ? MS_NOATIME : 0UL) |
		     ((fs.f_flag & ST_NODIRATIME) ? MS_NODIRATIME : 0UL) |
		     ((fs.f_flag & ST_RDONLY) ? MS_RDONLY : 0UL);
	return 0;
}

static int set_attributes(int tree_fd, unsigned attr, const char *what)
{
	struct mount_attr want = {
		.attr_set = attr,
		/* The kinds of atime are one field: it must be cleared to be set. */
		.attr_clr = (attr & MOUNT_ATTR_NOATIME) ? MOUNT_ATTR__ATIME : 0,
	};
	int e = cleat_sys_step("mount_setattr", what);

	if (e == 0 && mount_setattr(tree_fd, "", AT_EMPTY_PATH, &want, sizeof(want)) < 0)
		e = errno;
	return e;
}

/* For kernels before 5.12: only a mount that has its place can be remounted. */
static int set_attributes_attached(int tree_fd, unsigned attr, const char *what)
{
	unsigned long flags = 0;
	char link[32];
	int e = present_flags(tree_fd, &flags);

	snprintf(link, sizeof(link), "/proc/self/fd/%d", tree_fd);
	if (e == 0)
		e = cleat_sys_step("mount(MS_REMOUNT)", what);
	if (e == 0 && mount(NULL, link, NULL, MS_REMOUNT | MS_BIND | flags | old_flags(attr), NULL) < 0)
		e = errno;
	/* Nobody was told of this mount yet; tree_fd keeps it busy, so it is detached and goes with tree_fd.
	 */
	if (e && cleat_sys_step("umount2", what) == 0)
		umount2(link, MNT_DETACH);
	return e;
}

static int place_tree(int tree_fd, int target_fd, const char *what)
{
	int e = cleat_sys_step("move_mount", what);

	if (e == 0 &&
	    move_mount(tree_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		e = errno;
	return e;
}

/* What is bound, and whether it fits its target; sets is_device_out for a block device. */
static enum cleat_code check_sorts(int source_fd, int target_fd, const char *what, bool *is_device_out,
				   struct cleat_error *err)
{
	struct stat source, target;

	if (fstat(source_fd, &source) < 0)
		return cleat_error_errno(err, errno, "bind '%s': stat the source", what);
	if (fstat(target_fd, &target) < 0)
		return cleat_error_errno(err, errno, "bind '%s': stat the target", what);
	if (S_ISDIR(source.st_mode) != S_ISDIR(target.st_mode))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "bind '%s': one is a directory, the other is not", what);
	*is_device_out = S_ISBLK(source.st_mode);
	return CLEAT_OK;
}

enum cleat_code cleat_sys_bind(int source_fd, int target_fd, unsigned flags, const char *what,
			       struct cleat_error *err)
{
	unsigned attr = attributes(flags);
	bool is_device = false;
	enum cleat_code code = check_sorts(source_fd, target_fd, what, &is_device, err);

	if (code != CLEAT_OK)
		return code;
	if (is_device) /* a device that may not be opened would be of no use */
		attr &= ~(unsigned)MOUNT_ATTR_NODEV;
	cleat_autoclose int tree_fd =
		open_tree(source_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (tree_fd < 0)
		return cleat_error_errno(err, errno, "bind '%s'", what);
	int e = attr ? set_attributes(tree_fd, attr, what) : 0;
	bool old_kernel = e == ENOSYS;
	if (e == 0 || old_kernel)
		e = place_tree(tree_fd, target_fd, what);
	if (e == 0 && old_kernel)
		e = set_attributes_attached(tree_fd, attr, what);
	return e == 0 ? CLEAT_OK : cleat_error_errno(err, e, "bind '%s'", what);
}

/* ---- taking away ---- */

/* EINVAL is "not a mount", but also a mount that this mount namespace may not undo. */
static bool is_still_mounted(const char *target)
{
	struct cleat_sys_place place;

	return cleat_sys_look(AT_FDCWD, target, &place, NULL) == CLEAT_OK && place.exists &&
	       place.is_mount_root;
}

static enum cleat_code unmount(const char *target, int flags, struct cleat_error *err)
{
	int e = cleat_sys_step("umount2", target);
	bool injected = e != 0;

	if (e == 0 && umount2(target, flags) < 0)
		e = errno;
	if (e == 0 || e == ENOENT || e == ENOTDIR)
		return CLEAT_OK;
	if (e == EINVAL && (injected || !is_still_mounted(target)))
		return CLEAT_OK;
	if (e == EINVAL)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "unmount '%s': this mount namespace may not undo it", target);
	enum cleat_code code = cleat_error_errno(err, e, "unmount '%s'", target);
	if (err && e == EBUSY)
		err->retry = true;
	return code;
}

enum cleat_code cleat_sys_unmount(const char *target, struct cleat_error *err)
{
	return unmount(target, UMOUNT_NOFOLLOW, err);
}

enum cleat_code cleat_sys_unmount_force(const char *target, struct cleat_error *err)
{
	return unmount(target, MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW, err);
}

/* ---- a shared mount of our own ---- */

static int old_mount(const char *source, const char *path, unsigned long flags)
{
	int e = cleat_sys_step("mount", path);

	return e == 0 && mount(source, path, NULL, flags, NULL) < 0 ? errno : e;
}

/* The bind of a directory in a shared mount joins the peers of that mount, and whatever is mounted below
 * would appear a second time underneath it: so it leaves them first, and then becomes shared by itself. */
static int bind_on_itself(const char *path)
{
	int e = old_mount(path, path, MS_BIND | MS_REC);

	if (e)
		return e;
	e = old_mount(NULL, path, MS_PRIVATE);
	if (e == 0)
		e = old_mount(NULL, path, MS_SHARED);
	if (e && cleat_sys_step("umount2", path) == 0)
		umount2(path, MNT_DETACH); /* made here, and nobody was told of it */
	return e;
}

enum cleat_code cleat_sys_make_shared(const char *path, struct cleat_error *err)
{
	struct statx x;
	int e;

	if (statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_TYPE, &x) < 0)
		return cleat_error_errno(err, errno, "make '%s' a shared mount", path);
	if (x.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		e = old_mount(NULL, path, MS_SHARED);
	else
		e = bind_on_itself(path);
	return e == 0 ? CLEAT_OK : cleat_error_errno(err, e, "make '%s' a shared mount", path);
}

/* ---- looking ---- */

enum cleat_code cleat_sys_look(int dirfd, const char *path, struct cleat_sys_place *out,
			       struct cleat_error *err)
{
	/* What is known without asking a far side is enough, and does not wait for one that is gone. */
	const int flags =
		AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC | (path[0] ? 0 : AT_EMPTY_PATH);
	struct statx x;

	if (statx(dirfd, path, flags, STATX_BASIC_STATS | STATX_MNT_ID, &x) < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return cleat_error_errno(err, errno, "look at '%s'", path);
		*out = (struct cleat_sys_place){ .exists = false };
		return CLEAT_OK;
	}
	*out = (struct cleat_sys_place){
		.exists = true,
		.is_mount_root = (x.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0,
		.mode = x.stx_mode,
		.dev = makedev(x.stx_dev_major, x.stx_dev_minor),
		.rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor),
		.ino = x.stx_ino,
		.mount_id = x.stx_mnt_id,
	};
	return CLEAT_OK;
}

enum cleat_code cleat_sys_mount_is_read_only(const char *path, bool *out, struct cleat_error *err)
{
	struct statvfs fs;

	if (TEMP_FAILURE_RETRY(statvfs(path, &fs)) < 0)
		return cleat_error_errno(err, errno, "statvfs '%s'", path);
	*out = (fs.f_flag & ST_RDONLY) != 0;
	return CLEAT_OK;
}

/* ---- where this process is ---- */

static enum cleat_code read_boot_id(char id[37], struct cleat_error *err)
{
	const char *path = "/proc/sys/kernel/random/boot_id";
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : TEMP_FAILURE_RETRY(read(fd, id, 36));

	if (got < 0)
		return cleat_error_errno(err, errno, "read '%s'", path);
	if (got != 36)
		return cleat_error_set(err, CLEAT_INTERNAL, "read '%s': it is too short", path);
	id[36] = '\0';
	return CLEAT_OK;
}

enum cleat_code cleat_sys_stamp(char stamp[CLEAT_STAMP_BYTES], struct cleat_error *err)
{
	char boot_id[37];
	struct stat ns;
	enum cleat_code code = read_boot_id(boot_id, err);

	if (code != CLEAT_OK)
		return code;
	if (stat("/proc/self/ns/mnt", &ns) < 0)
		return cleat_error_errno(err, errno, "stat '/proc/self/ns/mnt'");
	snprintf(stamp, CLEAT_STAMP_BYTES, "%s:%llu", boot_id, (unsigned long long)ns.st_ino);
	return CLEAT_OK;
}

static bool take_id(const struct cleat_mount_entry *entry, void *arg)
{
	*(uint64_t *)arg = entry->id;
	return false;
}

/* One mount id to be found in another table. */
struct wanted {
	uint64_t id;
	bool found;
};

static bool match_id(const struct cleat_mount_entry *entry, void *arg)
{
	struct wanted *wanted = arg;

	wanted->found = entry->id == wanted->id;
	return !wanted->found;
}

/* Not everybody may look at process 1's namespaces, but its mount table is open to all, and a mount id
 * belongs to one namespace alone. */
static enum cleat_code compare_tables(bool *out, struct cleat_error *err)
{
	struct wanted wanted = { 0, false };
	enum cleat_code code = cleat_sys_mounts(take_id, &wanted.id, err);

	if (code == CLEAT_OK && wanted.id != 0)
		code = cleat_sys_mounts_at("/proc/1/mountinfo", match_id, &wanted, err);
	if (code == CLEAT_OK)
		*out = wanted.found;
	return code;
}

enum cleat_code cleat_sys_in_init_namespace(bool *out, struct cleat_error *err)
{
	struct stat ours, first;

	if (stat("/proc/self/ns/mnt", &ours) < 0)
		return cleat_error_errno(err, errno, "stat '/proc/self/ns/mnt'");
	if (stat("/proc/1/ns/mnt", &first) < 0) /* ptrace(2), access mode checks */
		return compare_tables(out, err);
	*out = ours.st_dev == first.st_dev && ours.st_ino == first.st_ino;
	return CLEAT_OK;
}
