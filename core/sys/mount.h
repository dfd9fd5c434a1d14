/* mount.h - mounting with the descriptor-based calls (fsopen, open_tree, move_mount, mount_setattr), and reading the mount table.
 *
 * mount_setattr is newer (5.12) than the floor (5.10): where it is missing, the remount of mount(2) is used.  statmount is never needed.
 */
#ifndef CLEAT_SYS_MOUNT_H
#define CLEAT_SYS_MOUNT_H

#include <cleat/error.h>
#include <cleat/record.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum cleat_mount_flags {
	CLEAT_MOUNT_READ_ONLY = 1 << 0,
	CLEAT_MOUNT_NOEXEC = 1 << 1,
	CLEAT_MOUNT_NOATIME = 1 << 2,
	CLEAT_MOUNT_ALLOW_SUID = 1 << 3, /* default is nosuid */
	CLEAT_MOUNT_ALLOW_DEV = 1 << 4, /* default is nodev */
	CLEAT_MOUNT_NODIRATIME = 1 << 5,
};

/* Mounts device as fstype on the directory target (absolute).  options are fsconfig strings (value "" = flag).  The kernel's own words
 * (read from the fs context) become part of the error. */
enum cleat_code cleat_sys_mount_device(const char *fstype, const char *device, const struct cleat_kvs *options,
				       unsigned flags, const char *target, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Binds what source_fd refers to (an O_PATH descriptor of a directory or file) onto target_fd (O_PATH descriptor of a directory or file
 * of the same sort): a clone of that mount, not recursive, with private propagation off (it stays shared if its parent is). */
enum cleat_code cleat_sys_bind(int source_fd, int target_fd, unsigned flags, const char *what, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* umount2(target, UMOUNT_NOFOLLOW): never lazy, never forced.  "Not mounted" and "does not exist" are OK; EBUSY is
 * FAILED_PRECONDITION with retry set. */
enum cleat_code cleat_sys_unmount(const char *target, struct cleat_error *err) CLEAT_MUST_CHECK;
/* umount2(MNT_FORCE | MNT_DETACH) on an operator's order only. */
enum cleat_code cleat_sys_unmount_force(const char *target, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Makes path a mount of its own (bind on itself, unless it is one already) with shared propagation. */
enum cleat_code cleat_sys_make_shared(const char *path, struct cleat_error *err) CLEAT_MUST_CHECK;

/* What is at an absolute path now, without following a final symlink and without triggering automounts: one statx(2). */
struct cleat_sys_place {
	bool exists;
	bool is_mount_root; /* STATX_ATTR_MOUNT_ROOT */
	mode_t mode;
	dev_t dev, rdev;
	ino_t ino;
	uint64_t mount_id;
};
enum cleat_code cleat_sys_look(int dirfd, const char *path, struct cleat_sys_place *out, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* True when the mount at path is read-only (ST_RDONLY of statvfs). */
enum cleat_code cleat_sys_mount_is_read_only(const char *path, bool *out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* One line of /proc/self/mountinfo (proc(5)); texts are unescaped and valid during the call only. */
struct cleat_mount_entry {
	uint64_t id, parent;
	dev_t dev;
	const char *root; /* path of the mount's root inside its file system */
	const char *target;
	const char *fstype;
	const char *source;
	bool read_only; /* of this mount */
};
/* Calls fn for each entry until it returns false.  The parser works on bytes, so that it can be fuzzed. */
typedef bool (*cleat_mount_fn)(const struct cleat_mount_entry *entry, void *arg);
enum cleat_code cleat_sys_mounts_parse(const char *bytes, size_t n, cleat_mount_fn fn, void *arg, struct cleat_error *err)
	CLEAT_MUST_CHECK;
enum cleat_code cleat_sys_mounts(cleat_mount_fn fn, void *arg, struct cleat_error *err) CLEAT_MUST_CHECK;

/* FIFREEZE / FITHAW of the file system at fd.  Already frozen / not frozen is OK. */
enum cleat_code cleat_sys_freeze(int fd, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code cleat_sys_thaw(int fd, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;
/* FITRIM of the whole file system at fd. */
enum cleat_code cleat_sys_trim(int fd, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;

#define CLEAT_STAMP_BYTES 64
/* "<boot id>:<mount namespace inode>" of this process: what node facts are stamped with. */
enum cleat_code cleat_sys_stamp(char stamp[CLEAT_STAMP_BYTES], struct cleat_error *err) CLEAT_MUST_CHECK;
/* Whether this process's mount namespace is that of process 1. */
enum cleat_code cleat_sys_in_init_namespace(bool *out, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
