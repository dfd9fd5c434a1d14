/* files.h - small files read whole, and written so that they are there whole or not at all. */
#ifndef CLEAT_DHV_FILES_H
#define CLEAT_DHV_FILES_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>

/* The file's bytes and a NUL behind them, to be freed.  NOT_FOUND: there is none; OUT_OF_RANGE: it is longer.
 */
enum cleat_code dhv_file_read(int dir_fd, const char *name, size_t most, char **text_out, size_t *n_out,
			      struct cleat_error *err) CLEAT_MUST_CHECK;
/* Replaces the file, durably.  Whoever reads it meanwhile sees the old bytes or the new ones. */
enum cleat_code dhv_file_write(int dir_fd, const char *name, const char *text, size_t n,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
/* Removes every file of the directory whose name begins so; none is fine. */
enum cleat_code dhv_files_remove(int dir_fd, const char *prefix, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Whether something is mounted at exactly this path. */
bool dhv_is_mounted(const char *path);

#endif
