/* xfs.c - XFS: made by mkfs.xfs, grown while mounted; a clone is mounted with nouuid and keeps its UUID. */
#include "fs/driver.h"

#include <endian.h>
#include <string.h>

#include "sys/fsctl.h"
#include "util/mem.h"

/* mkfs.xfs refuses less than 300 MB and a log under 64 MiB. */
#define MIN_BYTES (300 * CLEAT_MIB)
#define MAX_BYTES (UINT64_C(1) << 60)
#define LOG_BYTES (64 * CLEAT_MIB)
#define LOG_MAX_BYTES (2000 * CLEAT_MIB)

static const char *const inode_sizes[] = { "512", "1024", "2048", NULL };
static const char *const log_buffer_sizes[] = { "16k", "32k", "64k", "128k", "256k", NULL };

static const struct cleat_param make_params[] = {
	{ "xfs.reflink", CLEAT_PARAM_BOOL, NULL, "true", NULL, 0, 0,
	  "Whether files on the volume can share blocks (cp --reflink).", false },
	{ "xfs.inode_size", CLEAT_PARAM_CHOICE, "bytes", "512", inode_sizes, 0, 0,
	  "Size of an inode; larger ones hold more extended attributes.", false },
	{ "xfs.inode_percent", CLEAT_PARAM_UINT, "percent", NULL, NULL, 1, 100,
	  "Largest share of the space that inodes may take.", false },
	{ "xfs.log_size", CLEAT_PARAM_SIZE, "bytes", "64MiB", NULL, LOG_BYTES, LOG_MAX_BYTES,
	  "Size of the log.", false },
	CLEAT_FS_PARAMS_END,
};

static const struct cleat_param mount_params[] = {
	CLEAT_FS_COMMON_MOUNT_PARAMS,
	{ "lazytime", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0, "Write changed times late.", true },
	{ "largeio", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0,
	  "Tell programs that large reads and writes are best.", true },
	{ "swalloc", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0, "Align new blocks to the stripe width.",
	  true },
	{ "inode32", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0,
	  "Keep inode numbers below 2^32, for old programs.", true },
	{ "inode64", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0, "Inodes may be anywhere; this is so anyhow.",
	  true },
	{ "filestreams", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0, "Keep the files of a directory together.",
	  true },
	{ "logbufs", CLEAT_PARAM_UINT, NULL, NULL, NULL, 2, 8, "Number of log buffers.", true },
	{ "logbsize", CLEAT_PARAM_CHOICE, "bytes", NULL, log_buffer_sizes, 0, 0, "Size of a log buffer.",
	  true },
	CLEAT_FS_PARAMS_END,
};

static void add_inode_args(struct cleat_fs_args *a, const struct cleat_kvs *params)
{
	uint64_t percent = cleat_param_number(make_params, params, "xfs.inode_percent");

	cleat_fs_args_add(a, "-i");
	cleat_fs_args_addf(a, "size=%s", cleat_param_text(make_params, params, "xfs.inode_size"));
	if (percent == 0)
		return;
	cleat_fs_args_add(a, "-i");
	cleat_fs_args_addf(a, "maxpct=%llu", (unsigned long long)percent);
}

/* Sectors of 4096 bytes, always: the loop device of a reflinked image has them, and refuses an XFS made with
 * smaller ones. */
static void make_args(struct cleat_fs_args *a, const struct cleat_fs_make_opts *how)
{
	uint64_t log = cleat_param_number(make_params, how->params, "xfs.log_size");

	cleat_fs_args_add(a, "mkfs.xfs");
	cleat_fs_args_add(a, "-q");
	cleat_fs_args_add(a, "-f");
	if (!how->discard)
		cleat_fs_args_add(a, "-K");
	cleat_fs_args_add(a, "-s");
	cleat_fs_args_add(a, "size=4096");
	cleat_fs_args_add(a, "-l");
	cleat_fs_args_addf(a, "size=%lluk", (unsigned long long)(log / 4096 * 4));
	cleat_fs_args_add(a, "-m");
	cleat_fs_args_addf(a, "reflink=%d",
			   cleat_param_bool(make_params, how->params, "xfs.reflink") ? 1 : 0);
	if (how->uuid) {
		cleat_fs_args_add(a, "-m");
		cleat_fs_args_addf(a, "uuid=%s", how->uuid);
	}
	add_inode_args(a, how->params);
}

/* The start of struct xfs_dsb (the on-disk super block), big-endian. */
#define SUPER_BYTES 512
#define AT_BLOCK_SIZE 4
#define AT_DATA_BLOCKS 8
#define AT_SECTOR_SIZE 102

static enum cleat_code read_super(int fd, const char *what, uint32_t *sector_bytes_out,
				  uint64_t *filled_bytes_out, struct cleat_error *err)
{
	unsigned char super[SUPER_BYTES];
	uint32_t block_bytes;
	uint64_t blocks;
	uint16_t sector;
	enum cleat_code code = cleat_sys_read_at(fd, super, sizeof(super), 0, what, err);

	if (code)
		return code;
	memcpy(&block_bytes, super + AT_BLOCK_SIZE, sizeof(block_bytes));
	memcpy(&blocks, super + AT_DATA_BLOCKS, sizeof(blocks));
	memcpy(&sector, super + AT_SECTOR_SIZE, sizeof(sector));
	if (memcmp(super, "XFSB", 4) != 0 || be32toh(block_bytes) < 512 || be32toh(block_bytes) > 65536)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'%s' has no XFS super block", what);
	*sector_bytes_out = be16toh(sector) < 4096 ? 512 : 4096;
	*filled_bytes_out = be64toh(blocks) * be32toh(block_bytes);
	return CLEAT_OK;
}

static enum cleat_code grow(int mount_fd, uint64_t device_bytes, const char *what, bool *grown_out,
			    struct cleat_error *err)
{
	*grown_out = true;
	return cleat_sys_grow_xfs(mount_fd, device_bytes, what, err);
}

const struct cleat_fs_driver cleat_fs_driver_xfs = {
	.pub = {
		.name = "xfs",
		.min_bytes = MIN_BYTES,
		.max_bytes = MAX_BYTES,
		.make_params = make_params,
		.mount_params = mount_params,
		.grows_online = true,
		.grows_only_mounted = true,
	},
	.make_args = make_args,
	.grow = grow,
	.read_super = read_super,
	.clone_option = "nouuid",
};
