/* loop.h - loop devices: bound once per image, found again after a restart by device and inode, never removed (loop(4)). */
#ifndef CLEAT_SYS_LOOP_H
#define CLEAT_SYS_LOOP_H

#include <cleat/error.h>
#include <stdint.h>
#include <sys/types.h>

#define CLEAT_LOOP_PATH_BYTES 32

enum cleat_loop_flags {
	CLEAT_LOOP_READ_ONLY = 1 << 0,
	CLEAT_LOOP_DIRECT_IO = 1 << 1, /* falls back to buffered when the file system refuses it */
	CLEAT_LOOP_AUTOCLEAR = 1 << 2, /* the device goes when its last user goes */
};

struct cleat_loop {
	char path[CLEAT_LOOP_PATH_BYTES]; /* "/dev/loop7" */
	int fd; /* open read-write (or read-only), owned by whoever asked; -1 if none */
	int number;
	dev_t dev; /* of the block device */
	bool autoclear;
	bool read_only;
	bool was_bound; /* by cleat_sys_loop_bind(): the image had this device before */
};

/* Finds the device that image (an open descriptor) is bound to, by st_dev and st_ino over /sys/block.  found_out says whether there is
 * one; loop_out->fd stays -1 unless open_it.  Several bindings of one image: DATA_LOSS that names them. */
enum cleat_code cleat_sys_loop_find(int image_fd, bool open_it, struct cleat_loop *loop_out, bool *found_out,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* Binds image to a free device (LOOP_CTL_GET_FREE + LOOP_CONFIGURE; EBUSY takes the next), sector size block_bytes.  If the image is
 * bound already, that device is returned instead: never a second binding. */
enum cleat_code cleat_sys_loop_bind(int image_fd, const char *image_path, unsigned flags, uint32_t block_bytes,
				    struct cleat_loop *loop_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* LOOP_CLR_FD; a device that is not bound is OK; in use: the kernel clears it when the last user goes. */
enum cleat_code cleat_sys_loop_detach(const char *path, struct cleat_error *err) CLEAT_MUST_CHECK;
/* LOOP_SET_CAPACITY after the image was made larger. */
enum cleat_code cleat_sys_loop_update_size(const char *path, struct cleat_error *err) CLEAT_MUST_CHECK;
/* BLKROSET. */
enum cleat_code cleat_sys_block_set_read_only(const char *path, bool read_only, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Whether something has the block device to itself (open(2), O_EXCL): a mount of it in any mount namespace, or another tool. */
enum cleat_code cleat_sys_block_in_use(const char *path, bool *out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* BLKGETSIZE64. */
enum cleat_code cleat_sys_block_size(const char *path, uint64_t *bytes_out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Every bound loop device: fn gets its number, the backing file's dev and inode, whether autoclear is set; until it returns false. */
typedef bool (*cleat_loop_fn)(const struct cleat_loop *loop, dev_t image_dev, ino_t image_ino, void *arg);
enum cleat_code cleat_sys_loop_each(cleat_loop_fn fn, void *arg, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The same of one device, by its number. */
enum cleat_code cleat_sys_loop_get(int number, struct cleat_loop *loop_out, dev_t *image_dev_out, ino_t *image_ino_out,
				   bool *found_out, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
