/* fsctl.c - see fsctl.h. */
#include "sys/fsctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sys/hook.h"
#include "sys/internal.h"
#include "util/mem.h"

/* ext4's and XFS's own requests; their numbers and structures are kernel interface (fs/ext4/ext4.h,
 * fs/xfs/libxfs/xfs_fs.h), but the header of ext4 is not exported and that of XFS belongs to a package of its
 * own. */
#define IOC_EXT4_RESIZE_FS _IOW('f', 16, uint64_t)

struct xfs_geometry_v1 {
	uint32_t blocksize, rtextsize, agblocks, agcount, logblocks, sectsize, inodesize, imaxpct;
	uint64_t datablocks, rtblocks, rtextents, logstart;
	unsigned char uuid[16];
	uint32_t sunit, swidth;
	int32_t version;
	uint32_t flags, logsectsize, rtsectsize, dirblocksize;
};

struct xfs_grow_data {
	uint64_t newblocks;
	uint32_t imaxpct;
};

#define IOC_XFS_GEOMETRY_V1 _IOR('X', 100, struct xfs_geometry_v1)
#define IOC_XFS_GROW_DATA _IOW('X', 110, struct xfs_grow_data)

#define EXTENTS_AT_ONCE 128

enum cleat_code cleat_sys_grow_ext4(int mount_fd, uint64_t bytes, const char *what, bool *allowed_out,
				    struct cleat_error *err)
{
	uint64_t blocks = 0;
	int block_bytes = 0;
	int e = cleat_sys_step("ioctl EXT4_IOC_RESIZE_FS", what);

	if (!e)
		e = ioctl(mount_fd, FIGETBSZ, &block_bytes) ? errno : 0;
	if (!e && block_bytes <= 0)
		e = EINVAL;
	if (!e) {
		blocks = bytes / (uint64_t)block_bytes;
		e = ioctl(mount_fd, IOC_EXT4_RESIZE_FS, &blocks) ? errno : 0;
	}
	if (e && e != EPERM && e != EOPNOTSUPP && e != EROFS)
		return cleat_error_errno(err, e, "grow ext4 at '%s' to %llu bytes", what,
					 (unsigned long long)bytes);
	*allowed_out = e == 0;
	return CLEAT_OK;
}

enum cleat_code cleat_sys_grow_xfs(int mount_fd, uint64_t bytes, const char *what, struct cleat_error *err)
{
	struct xfs_geometry_v1 geometry;
	int e = cleat_sys_step("ioctl XFS_IOC_FSGROWFSDATA", what);

	memset(&geometry, 0, sizeof(geometry));
	if (!e)
		e = ioctl(mount_fd, IOC_XFS_GEOMETRY_V1, &geometry) ? errno : 0;
	if (!e && geometry.blocksize == 0)
		e = EINVAL;
	if (!e) {
		struct xfs_grow_data grow = { bytes / geometry.blocksize, geometry.imaxpct };
		e = ioctl(mount_fd, IOC_XFS_GROW_DATA, &grow) ? errno : 0;
	}
	if (e)
		return cleat_error_errno(err, e, "grow xfs at '%s' to %llu bytes", what,
					 (unsigned long long)bytes);
	return CLEAT_OK;
}

enum cleat_code cleat_sys_grow_btrfs(int mount_fd, const char *what, struct cleat_error *err)
{
	struct btrfs_ioctl_vol_args args;
	int e = cleat_sys_step("ioctl BTRFS_IOC_RESIZE", what);

	memset(&args, 0, sizeof(args));
	memcpy(args.name, "max", sizeof("max"));
	if (!e)
		e = ioctl(mount_fd, BTRFS_IOC_RESIZE, &args) ? errno : 0;
	if (e)
		return cleat_error_errno(err, e, "grow btrfs at '%s'", what);
	return CLEAT_OK;
}

enum cleat_code cleat_sys_open_path(const char *path, int flags, int *fd_out, struct cleat_error *err)
{
	int e = flags & (O_CREAT | O_TRUNC) ? cleat_sys_step("open", path) : 0;
	int fd = e ? -1 : open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);

	if (fd < 0)
		return cleat_sys_path_error(err, e ? e : errno, "open", path);
	*fd_out = fd;
	return CLEAT_OK;
}

enum cleat_code cleat_sys_read_at(int fd, void *out, size_t n, uint64_t offset, const char *what,
				  struct cleat_error *err)
{
	char *to = out;

	while (n > 0) {
		ssize_t got = pread(fd, to, n, (off_t)offset);
		int e = got < 0 ? errno : 0;
		if (e == EINTR)
			continue;
		if (e)
			return cleat_error_errno(err, e, "read '%s'", what);
		if (got == 0)
			return cleat_error_set(err, CLEAT_DATA_LOSS, "read '%s': it ends at byte %llu", what,
					       (unsigned long long)offset);
		to += got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return CLEAT_OK;
}

enum cleat_code cleat_sys_write_at(int fd, const void *bytes, size_t n, uint64_t offset, const char *what,
				   struct cleat_error *err)
{
	const char *from = bytes;
	int e = cleat_sys_step("pwrite", what);

	while (n > 0 && !e) {
		ssize_t put = pwrite(fd, from, n, (off_t)offset);
		e = put < 0 && errno != EINTR ? errno : 0;
		if (put <= 0)
			continue;
		from += put;
		n -= (size_t)put;
		offset += (uint64_t)put;
	}
	if (e)
		return cleat_error_errno(err, e, "write '%s'", what);
	return CLEAT_OK;
}

static enum cleat_code allocate(int fd, int mode, uint64_t offset, uint64_t bytes, const char *what,
				struct cleat_error *err)
{
	int e = cleat_sys_step("fallocate", what);

	while (!e) {
		e = fallocate(fd, mode, (off_t)offset, (off_t)bytes) ? errno : 0;
		if (e != EINTR)
			break;
		e = 0;
	}
	if (e)
		return cleat_error_errno(err, e, "reserve %llu bytes of '%s'", (unsigned long long)bytes, what);
	return CLEAT_OK;
}

enum cleat_code cleat_sys_allocate_range(int fd, uint64_t offset, uint64_t bytes, const char *what,
					 struct cleat_error *err)
{
	return allocate(fd, FALLOC_FL_KEEP_SIZE, offset, bytes, what, err);
}

enum cleat_code cleat_sys_unshare(int fd, uint64_t bytes, const char *what, struct cleat_error *err)
{
	return allocate(fd, FALLOC_FL_UNSHARE_RANGE, 0, bytes, what, err);
}

enum cleat_code cleat_sys_extents(int fd, const char *what, cleat_extent_fn fn, void *arg,
				  struct cleat_error *err)
{
	union {
		struct fiemap head;
		char room[sizeof(struct fiemap) + EXTENTS_AT_ONCE * sizeof(struct fiemap_extent)];
	} map;
	const uint32_t no_place = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_NOT_ALIGNED;
	uint64_t start = 0;
	bool last = false;

	while (!last) {
		memset(&map, 0, sizeof(map.head));
		map.head.fm_start = start;
		map.head.fm_length = FIEMAP_MAX_OFFSET - start;
		map.head.fm_flags = FIEMAP_FLAG_SYNC;
		map.head.fm_extent_count = EXTENTS_AT_ONCE;
		int e = ioctl(fd, FS_IOC_FIEMAP, &map) ? errno : 0;
		if (e)
			return cleat_error_errno(err, e, "read the extents of '%s'", what);
		last = map.head.fm_mapped_extents == 0;
		for (uint32_t i = 0; i < map.head.fm_mapped_extents; i++) {
			const struct fiemap_extent *extent = &map.head.fm_extents[i];
			if (!(extent->fe_flags & no_place) &&
			    !fn(extent->fe_physical, extent->fe_length, arg))
				return CLEAT_OK;
			start = extent->fe_logical + extent->fe_length;
			last = (extent->fe_flags & FIEMAP_EXTENT_LAST) != 0;
		}
	}
	return CLEAT_OK;
}

bool cleat_sys_overwrites_in_place(int fd)
{
	int flags = 0;

	return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_NOCOW_FL);
}

enum cleat_code cleat_sys_set_overwrite_in_place(int fd, const char *what, struct cleat_error *err)
{
	int flags = 0;
	int e = cleat_sys_step("ioctl FS_IOC_SETFLAGS", what);

	if (!e && ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return CLEAT_OK;
	flags |= FS_NOCOW_FL;
	if (!e)
		e = ioctl(fd, FS_IOC_SETFLAGS, &flags) ? errno : 0;
	if (e && e != EOPNOTSUPP && e != ENOTTY && e != EINVAL)
		return cleat_error_errno(err, e, "turn copy-on-write off for '%s'", what);
	return CLEAT_OK;
}

enum cleat_code cleat_sys_link(int fd, int to_dirfd, const char *name, struct cleat_error *err)
{
	char self[32];
	int e = strchr(name, '/') ? EINVAL : cleat_sys_step("linkat", name);

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (!e)
		e = linkat(AT_FDCWD, self, to_dirfd, name, AT_SYMLINK_FOLLOW) ? errno : 0;
	if (e)
		return cleat_error_errno(err, e, "link '%s'", name);
	return CLEAT_OK;
}

enum cleat_code cleat_sys_only_opener(int fd, const char *what, struct cleat_error *err)
{
	/* Somebody who opens the file while the lease is held makes the kernel send a signal: one that is
	 * ignored by default. */
	fcntl(fd, F_SETSIG, SIGURG);
	if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		return CLEAT_OK;
	}
	if (errno == EAGAIN || errno == EBUSY)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' is open in another process",
				       what);
	return CLEAT_OK;
}
