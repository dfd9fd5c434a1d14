/* copy.c - see file.h: the two ways to make a file's double, sharing its blocks or copying its data. */
#include "sys/file.h"

#include "sys/hook.h"
#include "util/mem.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CHUNK_BYTES (16U << 20) /* of one copy_file_range: how often progress is told */
#define BUFFER_BYTES (1U << 20) /* of one read and write, where copy_file_range does not work */

enum cleat_code cleat_sys_clone_file(int from_fd, int to_fd, const char *what, struct cleat_error *err)
{
	int e = cleat_sys_step("ioctl(FICLONE)", what);

	if (e == 0 && ioctl(to_fd, FICLONE, from_fd) < 0)
		e = errno;
	switch (e) {
	case 0:
		return CLEAT_OK;
	case EOPNOTSUPP:
	case ENOTTY:
	case ENOSYS:
	case EXDEV:  /* two file systems */
	case EINVAL: /* btrfs: one with checksums, one without */
		return cleat_error_set(err, CLEAT_UNIMPLEMENTED,
				       "clone '%s': no shared blocks between these two files", what);
	default:
		return cleat_error_errno(err, e, "clone '%s'", what);
	}
}

/* One copy under way. */
struct copy {
	int from_fd, to_fd;
	const char *what;
	bool by_hand; /* copy_file_range does not work between these two */
	char *buffer; /* BUFFER_BYTES, made when first needed; owned */
	uint64_t total;
	void (*progress)(uint64_t done, uint64_t total, void *arg);
	void *arg;
};

/* Both put the number of bytes moved into done_out and return 0, or an errno value; 0 bytes: the source has
 * ended. */
static int move_by_kernel(struct copy *c, off_t at, size_t n, size_t *done_out)
{
	off_t from = at, to = at;
	ssize_t moved = copy_file_range(c->from_fd, &from, c->to_fd, &to, n, 0);

	if (moved < 0)
		return errno;
	*done_out = (size_t)moved;
	return 0;
}

static int move_by_hand(struct copy *c, off_t at, size_t n, size_t *done_out)
{
	if (!c->buffer)
		c->buffer = malloc(BUFFER_BYTES);
	if (!c->buffer)
		return ENOMEM;
	ssize_t got = pread(c->from_fd, c->buffer, n < BUFFER_BYTES ? n : BUFFER_BYTES, at);
	if (got < 0)
		return errno;
	for (ssize_t put = 0; put < got;) {
		ssize_t done = pwrite(c->to_fd, c->buffer + put, (size_t)(got - put), at + put);
		if (done < 0 && errno != EINTR)
			return errno;
		if (done > 0)
			put += done;
	}
	*done_out = (size_t)got;
	return 0;
}

static bool kernel_cannot(int e)
{
	return e == EXDEV || e == EINVAL || e == EOPNOTSUPP || e == ENOSYS;
}

static int move_some(struct copy *c, off_t at, size_t n, size_t *done_out)
{
	int e = cleat_sys_step(c->by_hand ? "pwrite" : "copy_file_range", c->what);

	*done_out = 0;
	if (e == 0)
		e = c->by_hand ? move_by_hand(c, at, n, done_out) : move_by_kernel(c, at, n, done_out);
	/* Some kernels answer 0 where they cannot; only reading tells whether the file has really ended. */
	if (!c->by_hand && (kernel_cannot(e) || (e == 0 && *done_out == 0))) {
		c->by_hand = true;
		return move_some(c, at, n, done_out);
	}
	return e;
}

static enum cleat_code copy_range(struct copy *c, off_t at, off_t end, struct cleat_error *err)
{
	while (at < end) {
		uint64_t left = (uint64_t)(end - at);
		size_t done = 0;
		int e = move_some(c, at, left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES, &done);
		if (e == EINTR)
			continue;
		if (e)
			return cleat_error_errno(err, e, "copy '%s'", c->what);
		if (done == 0)
			return cleat_error_set(err, CLEAT_ABORTED, "copy '%s': it shrank while it was copied",
					       c->what);
		at += (off_t)done;
		if (c->progress)
			c->progress((uint64_t)at, c->total, c->arg);
	}
	return CLEAT_OK;
}

/* The next stretch of data at or after `at`: false when there is none.  Where the file system cannot tell,
 * all is data. */
static bool next_data(int fd, off_t at, off_t size, off_t *start_out, off_t *end_out)
{
	off_t start = lseek(fd, at, SEEK_DATA);

	if (start < 0 && errno == ENXIO)
		return false;
	if (start < 0)
		start = at;
	off_t end = lseek(fd, start, SEEK_HOLE);
	*start_out = start;
	*end_out = end < 0 || end > size ? size : end;
	return start < size;
}

static enum cleat_code copy_data(struct copy *c, struct cleat_error *err)
{
	off_t size = (off_t)c->total, start = 0, end = 0;

	while (end < size && next_data(c->from_fd, end, size, &start, &end)) {
		enum cleat_code code = copy_range(c, start, end, err);
		if (code != CLEAT_OK)
			return code;
	}
	if (c->progress)
		c->progress(c->total, c->total, c->arg);
	return CLEAT_OK;
}

enum cleat_code cleat_sys_copy_file(int from_fd, int to_fd, const char *what,
				    void (*progress)(uint64_t done, uint64_t total, void *arg), void *arg,
				    struct cleat_error *err)
{
	struct copy c = {
		.from_fd = from_fd, .to_fd = to_fd, .what = what, .progress = progress, .arg = arg
	};
	enum cleat_code code = CLEAT_OK;
	struct stat from, to;

	if (fstat(from_fd, &from) < 0 || fstat(to_fd, &to) < 0)
		return cleat_error_errno(err, errno, "copy '%s'", what);
	c.total = (uint64_t)from.st_size;
	if (to.st_size > 0) /* holes of the source must be holes of the copy */
		code = cleat_sys_truncate(to_fd, 0, what, err);
	if (code == CLEAT_OK)
		code = cleat_sys_truncate(to_fd, c.total, what, err);
	if (code == CLEAT_OK)
		code = copy_data(&c, err);
	free(c.buffer);
	return code;
}
