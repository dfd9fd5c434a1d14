/* ext4.c - ext4: made by mke2fs, grown online where the kernel lets us and by resize2fs otherwise. */
#include "fs/driver.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>

#include "sys/file.h"
#include "sys/fsctl.h"
#include "sys/spawn.h"
#include "util/mem.h"

/* A smaller one has no room for a journal worth having. */
#define MIN_BYTES (16 * CLEAT_MIB)
#define MAX_BYTES (UINT64_C(1) << 60)
/* Above this, one inode for 16 KiB makes mke2fs and e2fsck slow: one for 64 KiB will do (10 TiB: 1.3 s to 0.5
 * s). */
#define BIG_BYTES CLEAT_TIB
/* A file system of many TiB takes long to walk through. */
#define CHECK_LIMIT_MS (30 * 60 * 1000)

static const char *const inode_sizes[] = { "256", "512", "1024", "2048", NULL };
static const char *const data_modes[] = { "ordered", "journal", NULL };

static const struct cleat_param make_params[] = {
	{ "ext4.inode_size", CLEAT_PARAM_CHOICE, "bytes", "256", inode_sizes, 0, 0,
	  "Size of an inode; larger ones hold more extended attributes.", false },
	{ "ext4.bytes_per_inode", CLEAT_PARAM_SIZE, "bytes", NULL, NULL, 4 * CLEAT_KIB, 64 * CLEAT_MIB,
	  "One inode is made for this much space: the number of files is fixed by it.", false },
	{ "ext4.reserved_percent", CLEAT_PARAM_UINT, "percent", "0", NULL, 0, 50,
	  "Share of the space that only root may fill.", false },
	{ "ext4.journal_size", CLEAT_PARAM_SIZE, "bytes", NULL, NULL, 4 * CLEAT_MIB, 40 * CLEAT_GIB,
	  "Size of the journal.", false },
	{ "ext4.fast_commit", CLEAT_PARAM_BOOL, NULL, "false", NULL, 0, 0,
	  "Make fsync cheaper by logging changes in short form.", false },
	CLEAT_FS_PARAMS_END,
};

static const struct cleat_param mount_params[] = {
	CLEAT_FS_COMMON_MOUNT_PARAMS,
	{ "commit", CLEAT_PARAM_UINT, "seconds", NULL, NULL, 1, 300,
	  "Longest time until what was written without fsync is safe.", true },
	{ "data", CLEAT_PARAM_CHOICE, NULL, NULL, data_modes, 0, 0,
	  "Whether file contents go through the journal, too.", true },
	{ "lazytime", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0, "Write changed times late.", true },
	{ "nodelalloc", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0,
	  "Give files their blocks when they are written, not when they are flushed.", true },
	CLEAT_FS_PARAMS_END,
};

static void add_make_params(struct cleat_fs_args *a, const struct cleat_fs_make_opts *how)
{
	uint64_t per_inode = cleat_param_number(make_params, how->params, "ext4.bytes_per_inode");
	uint64_t journal = cleat_param_number(make_params, how->params, "ext4.journal_size");

	if (per_inode == 0 && how->bytes > BIG_BYTES)
		per_inode = 65536;
	if (per_inode) {
		cleat_fs_args_add(a, "-i");
		cleat_fs_args_addf(a, "%llu", (unsigned long long)per_inode);
	}
	if (journal) {
		cleat_fs_args_add(a, "-J");
		cleat_fs_args_addf(a, "size=%llu", (unsigned long long)(journal / CLEAT_MIB));
	}
	if (cleat_param_bool(make_params, how->params, "ext4.fast_commit")) {
		cleat_fs_args_add(a, "-O");
		cleat_fs_args_add(a, "fast_commit");
	}
}

/* Without lazy initialisation the whole journal is written (529 MiB at 100 GiB).  With it the kernel zeroes
 * the inode tables after the first mount, by punching holes into the image: a reserved image must not have
 * that. */
static void make_args(struct cleat_fs_args *a, const struct cleat_fs_make_opts *how)
{
	static const char *const fixed[] = { "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m" };

	for (size_t i = 0; i < CLEAT_COUNT(fixed); i++)
		cleat_fs_args_add(a, fixed[i]);
	cleat_fs_args_addf(
		a, "%llu",
		(unsigned long long)cleat_param_number(make_params, how->params, "ext4.reserved_percent"));
	cleat_fs_args_add(a, "-I");
	cleat_fs_args_addf(a, "%s", cleat_param_text(make_params, how->params, "ext4.inode_size"));
	cleat_fs_args_add(a, "-E");
	cleat_fs_args_addf(a, "%sdiscard,lazy_itable_init=%d,lazy_journal_init=1", how->discard ? "" : "no",
			   how->thick ? 0 : 1);
	if (how->uuid) {
		cleat_fs_args_add(a, "-U");
		cleat_fs_args_addf(a, "%s", how->uuid);
	}
	add_make_params(a, how);
}

/* The fields of struct ext4_super_block that are needed (Documentation/filesystems/ext4/super.rst). */
#define SUPER_OFFSET 1024
#define SUPER_BYTES 1024
#define AT_BLOCKS_LO 0x04
#define AT_LOG_BLOCK 0x18
#define AT_MAGIC 0x38
#define AT_STATE 0x3a
#define AT_BLOCKS_HI 0x150
#define AT_INCOMPAT 0x60
#define MAGIC 0xef53
#define STATE_ERROR 0x2
#define INCOMPAT_64BIT 0x80

static uint32_t get32(const unsigned char *super, size_t at)
{
	uint32_t v;

	memcpy(&v, super + at, sizeof(v));
	return le32toh(v);
}

static uint16_t get16(const unsigned char *super, size_t at)
{
	uint16_t v;

	memcpy(&v, super + at, sizeof(v));
	return le16toh(v);
}

static enum cleat_code load_super(int fd, const char *what, unsigned char super[SUPER_BYTES],
				  struct cleat_error *err)
{
	enum cleat_code code = cleat_sys_read_at(fd, super, SUPER_BYTES, SUPER_OFFSET, what, err);

	if (!code && (get16(super, AT_MAGIC) != MAGIC || get32(super, AT_LOG_BLOCK) > 6))
		code = cleat_error_set(err, CLEAT_DATA_LOSS, "'%s' has no ext4 super block", what);
	return code;
}

static enum cleat_code read_super(int fd, const char *what, uint32_t *sector_bytes_out,
				  uint64_t *filled_bytes_out, struct cleat_error *err)
{
	unsigned char super[SUPER_BYTES];
	enum cleat_code code = load_super(fd, what, super, err);

	if (code)
		return code;
	uint32_t log_block = get32(super, AT_LOG_BLOCK);
	uint64_t blocks = get32(super, AT_BLOCKS_LO);
	if (get32(super, AT_INCOMPAT) & INCOMPAT_64BIT)
		blocks |= (uint64_t)get32(super, AT_BLOCKS_HI) << 32;
	*sector_bytes_out = log_block < 2 ? 512 : 4096;
	*filled_bytes_out = blocks << (10 + log_block);
	return CLEAT_OK;
}

static enum cleat_code grow(int mount_fd, uint64_t device_bytes, const char *what, bool *grown_out,
			    struct cleat_error *err)
{
	return cleat_sys_grow_ext4(mount_fd, device_bytes, what, grown_out, err);
}

static enum cleat_code run_e2fsck(const char *path, int keep_fd, bool whole, struct cleat_error *err)
{
	const char *const argv[] = { "e2fsck", whole ? "-fp" : "-p", path, NULL };
	struct cleat_spawn run = { argv, keep_fd, CHECK_LIMIT_MS, 1 };

	return cleat_sys_spawn(&run, NULL, 0, NULL, err);
}

static enum cleat_code grow_unmounted(const char *path, int keep_fd, struct cleat_error *err)
{
	const char *const argv[] = { "resize2fs", path, NULL };
	struct cleat_spawn run = { argv, keep_fd, CHECK_LIMIT_MS, 0 };
	enum cleat_code code = run_e2fsck(path, keep_fd, true, err);

	return code ? code : cleat_sys_spawn(&run, NULL, 0, NULL, err);
}

/* The kernel replays the journal by itself; e2fsck is for what the kernel has marked as damaged. */
static enum cleat_code check_unmounted(const char *path, int keep_fd, struct cleat_error *err)
{
	unsigned char super[SUPER_BYTES];
	cleat_autoclose int fd = -1;
	enum cleat_code code = cleat_sys_open_path(path, O_RDONLY, &fd, err);

	if (!code)
		code = load_super(fd, path, super, err);
	if (code || !(get16(super, AT_STATE) & STATE_ERROR))
		return code;
	return run_e2fsck(path, keep_fd, false, err);
}

/* A new volume is empty, as on the other file systems: databases refuse a directory that is not.  e2fsck
 * makes lost+found anew when it needs it, and one that holds something cannot be removed by this. */
static void mounted(int mount_fd)
{
	if (cleat_sys_unlink_at(mount_fd, "lost+found", AT_REMOVEDIR, NULL))
		return;
}

const struct cleat_fs_driver cleat_fs_driver_ext4 = {
	.pub = {
		.name = "ext4",
		.min_bytes = MIN_BYTES,
		.max_bytes = MAX_BYTES,
		.make_params = make_params,
		.mount_params = mount_params,
		.grows_online = true,
		.grows_only_mounted = false,
	},
	.make_args = make_args,
	.grow = grow,
	.read_super = read_super,
	.grow_unmounted = grow_unmounted,
	.check_unmounted = check_unmounted,
	.mounted = mounted,
};
