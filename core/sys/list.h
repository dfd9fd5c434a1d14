/* list.h - what a directory holds, and what an open descriptor is called. */
#ifndef CLEAT_SYS_LIST_H
#define CLEAT_SYS_LIST_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>

/* Calls fn for each entry of the directory `name` in dirfd ("." for dirfd itself), "." and ".." left out,
 * until fn returns false. type is one of DT_* (readdir(3)), DT_UNKNOWN where the file system does not tell.
 * fn may remove the entry that it is given. */
typedef bool (*cleat_sys_list_fn)(const char *name, unsigned char type, void *arg);
enum cleat_code cleat_sys_list(int dirfd, const char *name, cleat_sys_list_fn fn, void *arg,
			       struct cleat_error *err) CLEAT_MUST_CHECK;

/* The absolute path of an open directory, without symlinks, as seen from this process's root (/proc/self/fd).
 * NOT_FOUND when it was removed. */
enum cleat_code cleat_sys_path_of(int fd, char *path, size_t path_bytes,
				  struct cleat_error *err) CLEAT_MUST_CHECK;

/* The name of a file system by the magic number that fd's one answers with (statfs(2)): "ext4", "xfs",
 * "btrfs", "tmpfs", "overlay", "nfs", or "another file system".  Static storage. */
const char *cleat_sys_fs_name(int fd);

#endif
