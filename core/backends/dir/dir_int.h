/* dir_int.h - what the files of the dir backend share. */
#ifndef CLEAT_BACKENDS_DIR_INT_H
#define CLEAT_BACKENDS_DIR_INT_H

#include "store/tree.h"

/* Directories without any limit. */
extern const struct cleat_tree_medium cleat_dir_plain;
/* Directories with a project id each, limited by the project quota of the file system. */
extern const struct cleat_tree_medium cleat_dir_project;

/* The parts of cleat_dir_plain that the other medium builds on. */
enum cleat_code cleat_dir_make(struct cleat_tree *t, int attempt_fd, struct cleat_record *rec, struct cleat_error *err)
	CLEAT_MUST_CHECK;
enum cleat_code cleat_dir_copy_into(struct cleat_op *op, int source_fd, bool in_use, int attempt_fd,
				    const struct cleat_record *rec, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Tries in the pool's new/ whether a project quota really limits: an id, a limit, and either statfs(2) shows it or a write beyond it
 * fails.  false, with the reason in err, when it does not.  Leaves nothing behind. */
bool cleat_dir_project_works(struct cleat_tree *t, struct cleat_error *err);

#endif
