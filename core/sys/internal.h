/* internal.h - what the files of core/sys share among themselves; nobody else includes this. */
#ifndef CLEAT_SYS_INTERNAL_H
#define CLEAT_SYS_INTERNAL_H

#include <cleat/error.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/types.h>

#include "sys/mount.h"

/* INVALID_ARGUMENT unless name is one component that stays in its directory: not empty, no "/", not "." or
 * "..". */
enum cleat_code cleat_sys_check_name(const char *name, struct cleat_error *err) CLEAT_MUST_CHECK;

/* openat2(2) beneath dirfd, without following any symlink, O_CLOEXEC added; more RESOLVE_ flags as wanted.  A
 * descriptor, or a negative errno value. */
int cleat_sys_open_beneath(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);

/* As cleat_error_errno(), with codes that fit paths: a symlink or a file where a directory is needed, a
 * directory that is not empty and one that is a mount point are FAILED_PRECONDITION; a path that leads out is
 * INVALID_ARGUMENT. */
enum cleat_code cleat_sys_path_error(struct cleat_error *err, int errnum, const char *call, const char *path);

/* As cleat_sys_mounts(), of another process's table ("/proc/1/mountinfo"). */
enum cleat_code cleat_sys_mounts_at(const char *path, cleat_mount_fn fn, void *arg, struct cleat_error *err)
	CLEAT_MUST_CHECK;

#endif
