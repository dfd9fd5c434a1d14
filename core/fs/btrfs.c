/* btrfs.c - btrfs on one device: made by mkfs.btrfs, grown while mounted; a clone gets an fsid of its own. */
#include "fs/driver.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>

#include "sys/fsctl.h"
#include "util/mem.h"

/* mkfs.btrfs would do with 109 MB, but the kernel grows no btrfs to less than this (fs/btrfs/ioctl.c,
 * btrfs_ioctl_resize). */
#define MIN_BYTES (256 * CLEAT_MIB)
#define MAX_BYTES (UINT64_C(1) << 60)

static const char *const node_sizes[] = { "4096", "16384", "32768", "65536", NULL };
static const char *const profiles[] = { "single", "dup", NULL };
static const char *const compressions[] = { "no", "zlib", "lzo", "zstd", NULL };

static const struct cleat_param make_params[] = {
	{ "btrfs.node_size", CLEAT_PARAM_CHOICE, "bytes", "16384", node_sizes, 0, 0, "Size of a tree node.",
	  false },
	{ "btrfs.metadata", CLEAT_PARAM_CHOICE, NULL, "dup", profiles, 0, 0, "Copies of metadata.", false },
	{ "btrfs.data", CLEAT_PARAM_CHOICE, NULL, "single", profiles, 0, 0, "Copies of data.", false },
	CLEAT_FS_PARAMS_END,
};

static const struct cleat_param mount_params[] = {
	CLEAT_FS_COMMON_MOUNT_PARAMS,
	{ "commit", CLEAT_PARAM_UINT, "seconds", NULL, NULL, 1, 300,
	  "Longest time until what was written without fsync is safe.", true },
	{ "compress", CLEAT_PARAM_CHOICE, NULL, NULL, compressions, 0, 0, "Compress what is written.", true },
	{ "autodefrag", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0, "Defragment small random writes.", true },
	{ "nodiscard", CLEAT_PARAM_BOOL, NULL, NULL, NULL, 0, 0,
	  "Do not give freed blocks back to the pool by oneself.", true },
	CLEAT_FS_PARAMS_END,
};

static void add_choice(struct cleat_fs_args *a, const char *option, const struct cleat_kvs *params,
		       const char *key)
{
	cleat_fs_args_add(a, option);
	cleat_fs_args_addf(a, "%s", cleat_param_text(make_params, params, key));
}

static void make_args(struct cleat_fs_args *a, const struct cleat_fs_make_opts *how)
{
	cleat_fs_args_add(a, "mkfs.btrfs");
	cleat_fs_args_add(a, "-q");
	cleat_fs_args_add(a, "-f");
	if (!how->discard)
		cleat_fs_args_add(a, "-K");
	cleat_fs_args_add(a, "-s");
	cleat_fs_args_add(a, "4096");
	if (how->uuid) {
		cleat_fs_args_add(a, "-U");
		cleat_fs_args_addf(a, "%s", how->uuid);
	}
	add_choice(a, "-n", how->params, "btrfs.node_size");
	add_choice(a, "-m", how->params, "btrfs.metadata");
	add_choice(a, "-d", how->params, "btrfs.data");
}

static enum cleat_code grow(int mount_fd, uint64_t device_bytes, const char *what, bool *grown_out,
			    struct cleat_error *err)
{
	if (device_bytes < MIN_BYTES)
		return cleat_error_set(err, CLEAT_OUT_OF_RANGE,
				       "'%s': a btrfs cannot be grown to less than 256 MiB", what);
	*grown_out = true;
	return cleat_sys_grow_btrfs(mount_fd, what, err);
}

/* ---- the super block (btrfs on-disk format, struct btrfs_super_block), little-endian, with copies
 * ------------------ */

#define SUPER_BYTES 4096
#define AT_FSID 0x20
#define AT_BYTENR 0x30
#define AT_FLAGS 0x38
#define AT_MAGIC 0x40
#define AT_TOTAL_BYTES 0x70
#define AT_DEVICES 0x88
#define AT_SECTOR 0x90
#define AT_INCOMPAT 0xbc
#define AT_CSUM_TYPE 0xc4
#define AT_METADATA_UUID 0x23b
#define UUID_BYTES 16
#define MAGIC UINT64_C(0x4d5f53665248425f)
#define CSUM_CRC32C 0
#define INCOMPAT_METADATA_UUID UINT64_C(0x400)
#define FLAGS_CHANGING_FSID (UINT64_C(3) << 35)

static const uint64_t super_places[] = { UINT64_C(1) << 16, UINT64_C(1) << 26, UINT64_C(1) << 38 };

static uint64_t get64(const unsigned char *super, size_t at)
{
	uint64_t v;

	memcpy(&v, super + at, sizeof(v));
	return le64toh(v);
}

static void put64(unsigned char *super, size_t at, uint64_t v)
{
	v = htole64(v);
	memcpy(super + at, &v, sizeof(v));
}

static uint32_t get32(const unsigned char *super, size_t at)
{
	uint32_t v;

	memcpy(&v, super + at, sizeof(v));
	return le32toh(v);
}

/* CRC-32C (RFC 3720 section 12.1), bit by bit: three blocks in a volume's life do not need a table. */
static uint32_t crc32c(const unsigned char *bytes, size_t n)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < n; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
	}
	return ~crc;
}

static bool is_super(const unsigned char *super, uint64_t place)
{
	return get64(super, AT_MAGIC) == MAGIC && get64(super, AT_BYTENR) == place;
}

static enum cleat_code read_super(int fd, const char *what, uint32_t *sector_bytes_out,
				  uint64_t *filled_bytes_out, struct cleat_error *err)
{
	unsigned char super[SUPER_BYTES];
	enum cleat_code code = cleat_sys_read_at(fd, super, sizeof(super), super_places[0], what, err);

	if (code)
		return code;
	if (!is_super(super, super_places[0]))
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'%s' has no btrfs super block", what);
	*sector_bytes_out = get32(super, AT_SECTOR) < 4096 ? 512 : 4096;
	*filled_bytes_out = get64(super, AT_TOTAL_BYTES);
	return CLEAT_OK;
}

/* The trees keep naming the old fsid, which moves to the field for that purpose (kernel 5.0, METADATA_UUID).
 */
static void change_fsid(unsigned char *super, const unsigned char fsid[UUID_BYTES])
{
	uint64_t incompat = get64(super, AT_INCOMPAT);

	if (!(incompat & INCOMPAT_METADATA_UUID)) {
		memcpy(super + AT_METADATA_UUID, super + AT_FSID, UUID_BYTES);
		put64(super, AT_INCOMPAT, incompat | INCOMPAT_METADATA_UUID);
	}
	memcpy(super + AT_FSID, fsid, UUID_BYTES);
	uint32_t sum = htole32(crc32c(super + AT_FSID, SUPER_BYTES - AT_FSID));
	memcpy(super, &sum, sizeof(sum));
}

static enum cleat_code new_fsid(unsigned char fsid[UUID_BYTES], const char *what, struct cleat_error *err)
{
	if (getrandom(fsid, UUID_BYTES, 0) != UUID_BYTES)
		return cleat_error_set(err, CLEAT_INTERNAL, "no random numbers for a new fsid of '%s'", what);
	fsid[6] = (unsigned char)((fsid[6] & 0x0f) | 0x40); /* RFC 4122 section 4.4 */
	fsid[8] = (unsigned char)((fsid[8] & 0x3f) | 0x80);
	return CLEAT_OK;
}

static enum cleat_code check_changeable(const unsigned char *super, const char *what, struct cleat_error *err)
{
	unsigned type = super[AT_CSUM_TYPE] | (unsigned)super[AT_CSUM_TYPE + 1] << 8;

	if (!is_super(super, super_places[0]))
		return cleat_error_set(err, CLEAT_DATA_LOSS, "'%s' has no btrfs super block", what);
	if (type != CSUM_CRC32C || get64(super, AT_DEVICES) != 1 ||
	    (get64(super, AT_FLAGS) & FLAGS_CHANGING_FSID))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "'%s' cannot be given an fsid of its own: only btrfs on one device "
				       "with crc32c checksums can",
				       what);
	return CLEAT_OK;
}

/* One copy of the super block; *there_out false: the device ends before it, or it was never written. */
static enum cleat_code load_copy(int fd, size_t i, const char *what, unsigned char super[SUPER_BYTES],
				 bool *there_out, struct cleat_error *err)
{
	struct cleat_error inner = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_sys_read_at(fd, super, SUPER_BYTES, super_places[i], what, &inner);

	*there_out = !code && is_super(super, super_places[i]);
	if (code == CLEAT_OK || (code == CLEAT_DATA_LOSS && i > 0))
		return CLEAT_OK;
	if (err)
		*err = inner;
	return code;
}

static enum cleat_code make_distinct(int fd, const char *what, struct cleat_error *err)
{
	unsigned char super[SUPER_BYTES], fsid[UUID_BYTES];
	enum cleat_code code = new_fsid(fsid, what, err);

	for (size_t i = 0; i < CLEAT_COUNT(super_places) && !code; i++) {
		bool there = false;
		code = load_copy(fd, i, what, super, &there, err);
		if (!code && i == 0)
			code = check_changeable(super, what, err);
		if (code || !there)
			break;
		change_fsid(super, fsid);
		code = cleat_sys_write_at(fd, super, sizeof(super), super_places[i], what, err);
	}
	return code;
}

const struct cleat_fs_driver cleat_fs_driver_btrfs = {
	.pub = {
		.name = "btrfs",
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
	.make_distinct = make_distinct,
};
