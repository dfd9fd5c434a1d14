/* project.h - project ids of directories and the disk quota of a project (ioctl_xfs_fsgetxattr(2), quotactl(2)), on ext4 and xfs. */
#ifndef CLEAT_SYS_PROJECT_H
#define CLEAT_SYS_PROJECT_H

#include <cleat/error.h>
#include <stdint.h>

/* The project id of an open file or directory; 0: none.  UNIMPLEMENTED where the file system has no projects. */
enum cleat_code cleat_sys_project_get(int fd, uint32_t *id_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Gives the open directory the project id; what is made below it inherits it. */
enum cleat_code cleat_sys_project_set(int fd, uint32_t id, const char *what, struct cleat_error *err) CLEAT_MUST_CHECK;

struct cleat_sys_project_quota {
	uint64_t used_bytes, limit_bytes; /* limit 0: none */
	uint64_t used_inodes, limit_inodes;
};
/* fd: any file of the file system; device: its mount source, for kernels without quotactl_fd(2) (5.14).  UNIMPLEMENTED when project
 * quotas are not switched on. */
enum cleat_code cleat_sys_project_quota(int fd, const char *device, uint32_t id, struct cleat_sys_project_quota *out,
					struct cleat_error *err) CLEAT_MUST_CHECK;
/* Sets the hard limit; 0 takes it away. */
enum cleat_code cleat_sys_project_limit(int fd, const char *device, uint32_t id, uint64_t bytes, struct cleat_error *err)
	CLEAT_MUST_CHECK;

#endif
