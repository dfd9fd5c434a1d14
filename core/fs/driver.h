/* driver.h - what one file system tells fs.c about itself; seen by core/fs only. */
#ifndef CLEAT_FS_DRIVER_H
#define CLEAT_FS_DRIVER_H

#include "fs/fs.h"

#define CLEAT_FS_ARGS_MAX 40
#define CLEAT_FS_ARGS_TEXT_BYTES 1024

/* An argument vector that grows within its own bounds; too much of anything is remembered in `full`. */
struct cleat_fs_args {
	const char *items[CLEAT_FS_ARGS_MAX + 1]; /* NULL-terminated */
	size_t count;
	char text[CLEAT_FS_ARGS_TEXT_BYTES]; /* of the formatted ones */
	size_t used;
	bool full;
};

void cleat_fs_args_add(struct cleat_fs_args *a, const char *literal);
void cleat_fs_args_addf(struct cleat_fs_args *a, const char *fmt, ...) CLEAT_PRINTF(2, 3);

struct cleat_fs_driver {
	struct cleat_fs pub;
	/* Writes the command line of mkfs up to, not including, the path. */
	void (*make_args)(struct cleat_fs_args *a, const struct cleat_fs_make_opts *how);
	enum cleat_code (*grow)(int mount_fd, uint64_t device_bytes, const char *what, bool *grown_out,
				struct cleat_error *err);
	/* Reads sector size and filled size out of the super block; DATA_LOSS when it is not one. */
	enum cleat_code (*read_super)(int fd, const char *what, uint32_t *sector_bytes_out,
				      uint64_t *filled_bytes_out, struct cleat_error *err);
	/* These may be NULL: nothing to do. */
	enum cleat_code (*grow_unmounted)(const char *path, int keep_fd, struct cleat_error *err);
	enum cleat_code (*check_unmounted)(const char *path, int keep_fd, struct cleat_error *err);
	enum cleat_code (*make_distinct)(int fd, const char *what, struct cleat_error *err);
	void (*mounted)(int mount_fd); /* after a mount that is not read-only */
	const char *clone_option;      /* mount flag that clones need */
};

extern const struct cleat_fs_driver cleat_fs_driver_ext4;
extern const struct cleat_fs_driver cleat_fs_driver_xfs;
extern const struct cleat_fs_driver cleat_fs_driver_btrfs;

/* Mount keys of every file system; they become flags of the mount, not options of the super block. */
#define CLEAT_FS_COMMON_MOUNT_PARAMS                                                                           \
	{ "noatime", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0, "Do not record access times.", true },          \
		{ "nodiratime",                                                                                \
		  CLEAT_PARAM_BOOL,                                                                            \
		  NULL,                                                                                        \
		  NULL,                                                                                        \
		  NULL,                                                                                        \
		  0,                                                                                           \
		  0,                                                                                           \
		  "Do not record access times of directories.",                                                \
		  true },                                                                                      \
		{ "relatime",                                                                                  \
		  CLEAT_PARAM_BOOL,                                                                            \
		  NULL,                                                                                        \
		  NULL,                                                                                        \
		  NULL,                                                                                        \
		  0,                                                                                           \
		  0,                                                                                           \
		  "Record access times once a day and after changes; this is what happens anyhow.",            \
		  true },                                                                                      \
		{ "noexec", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0, "Programs on the volume cannot be run.", \
		  true },                                                                                      \
		{ "nosuid", CLEAT_PARAM_BOOL,                                                                  \
		  NULL,	    NULL,                                                                              \
		  NULL,	    0,                                                                                 \
		  0,	    "Set-user-ID bits have no effect; this is so anyhow.",                             \
		  true },                                                                                      \
		{ "nodev", CLEAT_PARAM_BOOL,                                                                   \
		  NULL,	   NULL,                                                                               \
		  NULL,	   0,                                                                                  \
		  0,	   "Device nodes have no effect; this is so anyhow.",                                  \
		  true },                                                                                      \
	{                                                                                                      \
		"discard", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0,                                           \
			"Give freed blocks back to the pool at once.", true                                    \
	}

#define CLEAT_FS_PARAMS_END                                                                                  \
	{                                                                                                    \
		NULL, CLEAT_PARAM_TEXT, NULL, NULL, NULL, 0, 0, NULL, false                                  \
	}

#define CLEAT_KIB UINT64_C(1024)
#define CLEAT_MIB (1024 * CLEAT_KIB)
#define CLEAT_GIB (1024 * CLEAT_MIB)
#define CLEAT_TIB (1024 * CLEAT_GIB)

#endif
