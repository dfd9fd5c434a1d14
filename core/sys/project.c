/* project.c - see project.h. */
#include "sys/project.h"

#include "sys/hook.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PRJQUOTA
#define PRJQUOTA 2
#endif
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif

#define QUOTA_BLOCK_BYTES 1024 /* QIF_DQBLKSIZE: the unit of limits on every file system */

static enum cleat_code refuse(struct cleat_error *err, int e, const char *what)
{
	/* What a file system without projects, or with quotas switched off, answers. */
	if (e == ENOTTY || e == EOPNOTSUPP || e == ENOSYS || e == EINVAL || e == ESRCH || e == ENOTBLK ||
	    e == ENODEV)
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED, "%s: no project quotas here", what);
	return cleat_error_errno(err, e, "%s", what);
}

enum cleat_code cleat_sys_project_get(int fd, uint32_t *id_out, struct cleat_error *err)
{
	struct fsxattr attr = { 0 };

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0)
		return refuse(err, errno, "read the project id");
	*id_out = attr.fsx_projid;
	return CLEAT_OK;
}

enum cleat_code cleat_sys_project_set(int fd, uint32_t id, const char *what, struct cleat_error *err)
{
	struct fsxattr attr = { 0 };

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0)
		return refuse(err, errno, "read the project id");
	attr.fsx_projid = id;
	attr.fsx_xflags |= FS_XFLAG_PROJINHERIT;
	int e = cleat_sys_step("ioctl(FS_IOC_FSSETXATTR)", what);
	if (e == 0 && ioctl(fd, FS_IOC_FSSETXATTR, &attr) < 0)
		e = errno;
	return e ? refuse(err, e, "set the project id") : CLEAT_OK;
}

static int control(int fd, const char *device, int command, uint32_t id, struct dqblk *block)
{
	unsigned request = QCMD((unsigned)command, (unsigned)PRJQUOTA);

	if (syscall(SYS_quotactl_fd, fd, request, id, block) == 0)
		return 0;
	if (errno != ENOSYS)
		return errno;
	return syscall(SYS_quotactl, request, device, id, block) == 0 ? 0 : errno;
}

enum cleat_code cleat_sys_project_quota(int fd, const char *device, uint32_t id,
					struct cleat_sys_project_quota *out, struct cleat_error *err)
{
	struct dqblk block = { 0 };
	int e = control(fd, device, Q_GETQUOTA, id, &block);

	if (e == ENOENT) /* xfs: this project has nothing yet */
		block = (struct dqblk){ 0 };
	else if (e)
		return refuse(err, e, "read the project quota");
	*out = (struct cleat_sys_project_quota){
		.used_bytes = block.dqb_curspace,
		.limit_bytes = block.dqb_bhardlimit * QUOTA_BLOCK_BYTES,
		.used_inodes = block.dqb_curinodes,
		.limit_inodes = block.dqb_ihardlimit,
	};
	return CLEAT_OK;
}

enum cleat_code cleat_sys_project_limit(int fd, const char *device, uint32_t id, uint64_t bytes,
					struct cleat_error *err)
{
	struct dqblk block = { 0 };

	block.dqb_bhardlimit = bytes / QUOTA_BLOCK_BYTES;
	block.dqb_valid = QIF_BLIMITS;
	int e = cleat_sys_step("quotactl(Q_SETQUOTA)", "");
	if (e == 0)
		e = control(fd, device, Q_SETQUOTA, id, &block);
	return e ? refuse(err, e, "set the project quota") : CLEAT_OK;
}
