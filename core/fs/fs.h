/* fs.h - the file systems that Cleat makes, mounts and grows on block devices and image files.
 *
 * One constant table per file system; nothing here knows pools or volumes.  Backends with devices and the engine's staging share it.
 */
#ifndef CLEAT_FS_FS_H
#define CLEAT_FS_FS_H

#include <cleat/backend.h>
#include <cleat/error.h>
#include <cleat/record.h>

struct cleat_fs {
	const char *name; /* as in a record and in mount(2) */
	uint64_t min_bytes; /* smallest volume that mkfs makes something useful of */
	uint64_t max_bytes;
	/* Creation keys a user may give, e.g. "ext4.inode_size"; each becomes arguments of mkfs by its own rule. */
	const struct cleat_param *make_params;
	/* Mount option keys a user may give ("noatime", "commit" ...). */
	const struct cleat_param *mount_params;
	bool grows_online; /* tried online first; ext4 may answer EPERM */
	bool grows_only_mounted; /* xfs, btrfs */
};

/* NULL when there is no such file system.  cleat_fs_list() is NULL-terminated, ext4 first. */
const struct cleat_fs *cleat_fs_find(const char *name);
const struct cleat_fs *const *cleat_fs_list(void);

/* Whether params (only the keys that belong to fs) and mount options are acceptable: INVALID_ARGUMENT naming the key otherwise. */
enum cleat_code cleat_fs_check_mount_options(const struct cleat_fs *fs, const struct cleat_kvs *options,
					     struct cleat_error *err) CLEAT_MUST_CHECK;

struct cleat_fs_make_opts {
	const char *path; /* device or image, `bytes` long already */
	uint64_t bytes;
	const struct cleat_kvs *params; /* the record's; keys that do not belong to fs are ignored here */
	int keep_fd; /* see cleat_spawn */
	const char *uuid; /* of the new file system; NULL: mkfs chooses */
	bool discard; /* device that is not freshly sparse: let mkfs discard */
	bool thick; /* the target's blocks are reserved: nothing may be left for the kernel to punch out later */
};
/* Runs mkfs with 4096-byte sectors and lazy initialisation.  The caller vouches that the target may be overwritten. */
enum cleat_code cleat_fs_make(const struct cleat_fs *fs, const struct cleat_fs_make_opts *how, struct cleat_error *err)
	CLEAT_MUST_CHECK;

/* Mounts with what the file system always needs (xfs: nouuid when clone) plus the user's mount keys.  flags: enum cleat_mount_flags. */
enum cleat_code cleat_fs_mount(const struct cleat_fs *fs, const char *device, const char *target,
			       const struct cleat_kvs *options, unsigned flags, bool clone, struct cleat_error *err)
	CLEAT_MUST_CHECK;

/* Grows the mounted file system at mount_path to fill its device.  *grown_out false with CLEAT_OK: the kernel does not let us now
 * (ext4 without CAP_SYS_RESOURCE), it must be done while unmounted. */
enum cleat_code cleat_fs_grow_mounted(const struct cleat_fs *fs, const char *mount_path, const char *device,
				      bool *grown_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* ext4: e2fsck -fp and resize2fs on an unmounted device or image. UNIMPLEMENTED for those that grow only mounted. */
enum cleat_code cleat_fs_grow_unmounted(const struct cleat_fs *fs, const char *path, int keep_fd, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* Repairs what the file system itself has marked as damaged, without risk: ext4 e2fsck -p, only if its super block says so (no child
 * process otherwise); nothing for xfs and btrfs.  What a crash of the node left is replayed from the journal by the mount. */
enum cleat_code cleat_fs_check_unmounted(const struct cleat_fs *fs, const char *path, int keep_fd, struct cleat_error *err)
	CLEAT_MUST_CHECK;

/* Gives a copied, unmounted image (open read-write) what must differ from its original before both can be mounted on one node: a new
 * fsid for btrfs.  Nothing for ext4, which does not care, and xfs, whose clones are mounted with nouuid. */
enum cleat_code cleat_fs_make_distinct(const struct cleat_fs *fs, int fd, const char *what, struct cleat_error *err)
	CLEAT_MUST_CHECK;
/* The sector size a device must have to mount what is on fd: 4096, or 512 for file systems made elsewhere with smaller sectors or blocks.
 * DATA_LOSS when the super block is not that of fs. */
enum cleat_code cleat_fs_sector_bytes(const struct cleat_fs *fs, int fd, const char *what, uint32_t *out,
				      struct cleat_error *err) CLEAT_MUST_CHECK;
/* Size in bytes that the file system on fd says it fills; DATA_LOSS as above. */
enum cleat_code cleat_fs_filled_bytes(const struct cleat_fs *fs, int fd, const char *what, uint64_t *out,
				      struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
