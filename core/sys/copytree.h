/* copytree.h - copying a whole directory tree, faithfully, within one file system or between two. */
#ifndef CLEAT_SYS_COPYTREE_H
#define CLEAT_SYS_COPYTREE_H

#include <cleat/error.h>
#include <stdint.h>

/* Copies everything in the directory from_fd, and the attributes of from_fd itself, to the empty directory to_fd: contents (sharing blocks
 * where the file system can, else keeping holes), owners, modes, times, extended attributes with ACLs, symlinks, hard links, devices, pipes.
 * Not copied: file attributes of chattr(1) and project ids.  The tree must not change meanwhile.  A mount point
 * inside is FAILED_PRECONDITION, as is a depth of more than 128 directories.  Nothing is synced.  progress (may be NULL) is called with the
 * bytes done so far. */
enum cleat_code cleat_sys_copy_tree(int from_fd, int to_fd, void (*progress)(uint64_t done_bytes, void *arg), void *arg,
				    struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
