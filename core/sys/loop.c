/* loop.c - see loop.h.
 *
 * A device's image is known by st_dev and st_ino of LOOP_GET_STATUS64; names mean nothing (they follow
 * renames, end in
 * "(deleted)", and lo_file_name is cut at 64 bytes).
 */
#include "sys/loop.h"

#include "sys/hook.h"
#include "util/buf.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MAX_TRIES 64 /* to get a free device before somebody else has it */

/* Held while devices are looked through, bound or cleared, and while nothing else is called.  It makes "find,
 * else bind" one step, so that two threads never bind one image twice; and a scan, which holds each device
 * open for a moment, cannot make a device of another thread look in use. */
static pthread_mutex_t scan_lock = PTHREAD_MUTEX_INITIALIZER;

static void unlock_cleanup(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

static pthread_mutex_t *take_scan_lock(void)
{
	pthread_mutex_lock(&scan_lock);
	return &scan_lock;
}
#define with_scan_lock __attribute__((cleanup(unlock_cleanup), unused))

/* ---- one device ---- */

/* The number and nothing after it of "loop7"; false for every other name. */
static bool parse_name(const char *name, int *number_out)
{
	int number = 0;

	if (strncmp(name, "loop", 4) != 0 || name[4] == '\0')
		return false;
	for (const char *p = name + 4; *p; p++) {
		if (*p < '0' || *p > '9' || number > 100000000)
			return false;
		number = number * 10 + (*p - '0');
	}
	*number_out = number;
	return true;
}

/* Where the links in /sys/block lead to.  Whoever looks at each of hundreds of devices begins there, instead
 * of following links and whole paths. */
#define DEVICES "/sys/devices/virtual/block"

/* devices_fd: DEVICES. */
static bool is_bound_in(int devices_fd, int number)
{
	char path[64];

	snprintf(path, sizeof(path), "loop%d/loop/backing_file", number);
	return faccessat(devices_fd, path, F_OK, 0) == 0;
}

static bool is_bound(int number)
{
	char path[64];

	snprintf(path, sizeof(path), DEVICES "/loop%d/loop/backing_file", number);
	return access(path, F_OK) == 0;
}

/* Where /dev is no devtmpfs nobody makes the node of a new device. */
static int make_node(int number, const char *path)
{
	char name[64], text[32] = "";
	unsigned major_number, minor_number;

	snprintf(name, sizeof(name), "/sys/block/loop%d/dev", number);
	cleat_autoclose int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (read(fd, text, sizeof(text) - 1) < 0)
		return errno;
	if (sscanf(text, "%u:%u", &major_number, &minor_number) != 2)
		return EIO;
	int e = cleat_sys_step("mknod", path);
	if (e == 0 && mknod(path, S_IFBLK | 0660, makedev(major_number, minor_number)) < 0)
		e = errno;
	return e == EEXIST ? 0 : e;
}

/* Opens /dev/loop<number>, whose path it writes; a descriptor or a negative errno value. */
static int open_number(int number, int flags, char path[CLEAT_LOOP_PATH_BYTES])
{
	snprintf(path, CLEAT_LOOP_PATH_BYTES, "/dev/loop%d", number);
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		int e = make_node(number, path);
		if (e)
			return -e;
		fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
	}
	return fd < 0 ? -errno : fd;
}

/* What a bound device tells of itself. */
struct status {
	struct cleat_loop loop; /* fd -1 */
	dev_t image_dev;
	ino_t image_ino;
};

/* 0, ENXIO for a device that is not bound, or another errno value. */
static int read_status(int fd, int number, const char *path, struct status *out)
{
	struct loop_info64 info;
	struct stat st;

	if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return errno;
	if (fstat(fd, &st) < 0)
		return errno;
	if (info.lo_number != (unsigned)number) /* the node belongs to another device */
		return EIO;
	*out = (struct status){
		.loop = {
			.fd = -1,
			.number = number,
			.dev = st.st_rdev,
			.autoclear = (info.lo_flags & LO_FLAGS_AUTOCLEAR) != 0,
			.read_only = (info.lo_flags & LO_FLAGS_READ_ONLY) != 0,
		},
		/* The kernel's encoding of 12 bits major and 20 bits minor is that of the lower half of glibc's. */
		.image_dev = makedev(major((dev_t)info.lo_device), minor((dev_t)info.lo_device)),
		.image_ino = info.lo_inode,
	};
	snprintf(out->loop.path, sizeof(out->loop.path), "%s", path);
	return 0;
}

/* As read_status() for a number, opening the device for a moment. */
static int ask_number(int number, struct status *out)
{
	char path[CLEAT_LOOP_PATH_BYTES];
	cleat_autoclose int fd = open_number(number, O_RDONLY, path);

	return fd < 0 ? -fd : read_status(fd, number, path, out);
}

/* ---- all devices ---- */

/* Calls fn for every bound device, under the scan lock that the caller holds; fn returns false to stop. */
static enum cleat_code scan(bool (*fn)(const struct status *s, void *arg), void *arg, struct cleat_error *err)
{
	cleat_autoclose int devices_fd = -1;
	DIR *dir = opendir("/sys/block");
	enum cleat_code code = CLEAT_OK;
	const struct dirent *d;

	if (!dir)
		return cleat_error_errno(err, errno, "open '/sys/block'");
	devices_fd = open(DEVICES, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (devices_fd < 0 && errno != ENOENT) /* ENOENT: no such device was ever made */
		code = cleat_error_errno(err, errno, "open '" DEVICES "'");
	while (devices_fd >= 0 && (d = readdir(dir))) {
		struct status s;
		int number = 0;
		if (!parse_name(d->d_name, &number) || !is_bound_in(devices_fd, number))
			continue;
		int e = ask_number(number, &s);
		if (e == ENXIO || e == ENODEV) /* cleared or removed since we saw it */
			continue;
		if (e) {
			/* A device that cannot be asked could be the one looked for: nothing may be bound
			 * then. */
			code = cleat_error_errno(err, e, "ask '/dev/loop%d' for its image", number);
			break;
		}
		if (!fn(&s, arg))
			break;
	}
	closedir(dir);
	return code;
}

/* The search for one image. */
struct search {
	dev_t dev;
	ino_t ino;
	int count;
	struct status first;
	struct cleat_buf names; /* of all that were found */
};

static bool compare(const struct status *s, void *arg)
{
	struct search *search = arg;

	if (s->image_dev != search->dev || s->image_ino != search->ino)
		return true;
	cleat_buf_addf(&search->names, "%s%s", search->count > 0 ? ", " : "", s->loop.path);
	if (search->count++ == 0)
		search->first = *s;
	return true;
}

/* Opens the device found, and makes sure that it is still bound to the same image. */
static int reopen(struct search *search)
{
	struct cleat_loop *loop = &search->first.loop;
	char path[CLEAT_LOOP_PATH_BYTES];
	struct status now;
	cleat_autoclose int fd = open_number(loop->number, loop->read_only ? O_RDONLY : O_RDWR, path);

	if (fd < 0)
		return -fd;
	int e = read_status(fd, loop->number, path, &now);
	if (e == 0 && (now.image_dev != search->dev || now.image_ino != search->ino))
		e = ENXIO;
	if (e == 0)
		loop->fd = cleat_steal_fd(&fd);
	return e;
}

static enum cleat_code find_locked(int image_fd, bool open_it, struct cleat_loop *loop_out, bool *found_out,
				   struct cleat_error *err)
{
	struct search search = { .names = CLEAT_BUF_INIT(256) };
	enum cleat_code code;
	struct stat st;
	int e = 0;

	if (fstat(image_fd, &st) < 0)
		return cleat_error_errno(err, errno, "stat the image");
	search.dev = st.st_dev;
	search.ino = st.st_ino;
	code = scan(compare, &search, err);
	if (code == CLEAT_OK && search.count > 1)
		code = cleat_error_set(err, CLEAT_DATA_LOSS, "one image is bound to %d devices: %s",
				       search.count, cleat_buf_text(&search.names));
	cleat_buf_done(&search.names);
	if (code == CLEAT_OK && search.count == 1 && open_it)
		e = reopen(&search);
	if (e && e != ENXIO && e != ENODEV)
		return cleat_error_errno(err, e, "open '%s'", search.first.loop.path);
	if (code != CLEAT_OK)
		return code;
	*found_out = search.count == 1 && e == 0;
	if (*found_out)
		*loop_out = search.first.loop;
	else
		*loop_out = (struct cleat_loop){ .fd = -1, .number = -1 };
	return CLEAT_OK;
}

enum cleat_code cleat_sys_loop_find(int image_fd, bool open_it, struct cleat_loop *loop_out, bool *found_out,
				    struct cleat_error *err)
{
	with_scan_lock pthread_mutex_t *lock = take_scan_lock();

	return find_locked(image_fd, open_it, loop_out, found_out, err);
}

/* The devices seen by one scan, to be told when the lock is free again. */
struct seen {
	struct status *items; /* owned */
	size_t count, room;
	bool no_memory;
};

static bool collect(const struct status *s, void *arg)
{
	struct seen *seen = arg;

	if (seen->count == seen->room) {
		size_t room = seen->room ? seen->room * 2 : 16;
		struct status *grown = realloc(seen->items, room * sizeof(*grown));
		if (!grown) {
			seen->no_memory = true;
			return false;
		}
		seen->items = grown;
		seen->room = room;
	}
	seen->items[seen->count++] = *s;
	return true;
}

static enum cleat_code collect_all(struct seen *seen, struct cleat_error *err)
{
	with_scan_lock pthread_mutex_t *lock = take_scan_lock();
	enum cleat_code code = scan(collect, seen, err);

	if (code == CLEAT_OK && seen->no_memory)
		code = cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return code;
}

enum cleat_code cleat_sys_loop_each(cleat_loop_fn fn, void *arg, struct cleat_error *err)
{
	struct seen seen = { NULL, 0, 0, false };
	enum cleat_code code = collect_all(&seen, err);

	for (size_t i = 0; code == CLEAT_OK && i < seen.count; i++)
		if (!fn(&seen.items[i].loop, seen.items[i].image_dev, seen.items[i].image_ino, arg))
			break;
	free(seen.items);
	return code;
}

enum cleat_code cleat_sys_loop_get(int number, struct cleat_loop *loop_out, dev_t *image_dev_out,
				   ino_t *image_ino_out, bool *found_out, struct cleat_error *err)
{
	with_scan_lock pthread_mutex_t *lock = take_scan_lock();
	struct status s;
	int e = is_bound(number) ? ask_number(number, &s) : ENXIO;

	if (e && e != ENXIO && e != ENODEV)
		return cleat_error_errno(err, e, "ask '/dev/loop%d' for its image", number);
	*found_out = e == 0;
	if (e == 0) {
		*loop_out = s.loop;
		*image_dev_out = s.image_dev;
		*image_ino_out = s.image_ino;
	}
	return CLEAT_OK;
}

/* ---- binding ---- */

/* One binding under way. */
struct binding {
	int control_fd, image_fd;
	const char *image_path;
	unsigned flags; /* enum cleat_loop_flags */
	uint32_t block_bytes;
};

static int configure(const struct binding *b, int fd, const char *path)
{
	struct loop_config config = { .fd = (uint32_t)b->image_fd, .block_size = b->block_bytes };
	uint32_t flags = ((b->flags & CLEAT_LOOP_READ_ONLY) ? (uint32_t)LO_FLAGS_READ_ONLY : 0) |
			 ((b->flags & CLEAT_LOOP_DIRECT_IO) ? (uint32_t)LO_FLAGS_DIRECT_IO : 0) |
			 ((b->flags & CLEAT_LOOP_AUTOCLEAR) ? (uint32_t)LO_FLAGS_AUTOCLEAR : 0);

	config.info.lo_flags = flags;
	/* For people who list the devices; the kernel keeps 63 bytes. */
	snprintf((char *)config.info.lo_file_name, sizeof(config.info.lo_file_name), "%s", b->image_path);
	int e = cleat_sys_step("ioctl(LOOP_CONFIGURE)", path);
	if (e == 0 && ioctl(fd, LOOP_CONFIGURE, &config) < 0)
		e = errno;
	if (e != EINVAL || !(b->flags & CLEAT_LOOP_DIRECT_IO))
		return e;
	/* Most kernels fall back by themselves; the others say EINVAL where direct I/O cannot be had. */
	struct binding buffered = *b;
	buffered.flags &= ~(unsigned)CLEAT_LOOP_DIRECT_IO;
	return configure(&buffered, fd, path);
}

/* What BLKROSET once said of a device stays when its image goes, and would make the next one read-only. */
static int forget_read_only(int fd, const char *path)
{
	int read_only = 0;

	if (ioctl(fd, BLKROGET, &read_only) < 0)
		return errno;
	if (!read_only)
		return 0;
	int e = cleat_sys_step("ioctl(BLKROSET)", path);
	read_only = 0;
	return e == 0 && ioctl(fd, BLKROSET, &read_only) < 0 ? errno : e;
}

/* Binds the image to the device that is free now.  EBUSY, ENXIO, ENODEV, ENOENT: somebody else has it, take
 * the next. */
static int bind_next(const struct binding *b, struct cleat_loop *loop_out)
{
	char path[CLEAT_LOOP_PATH_BYTES];
	struct status s;
	int number = -1;
	int e = cleat_sys_step("ioctl(LOOP_CTL_GET_FREE)", "/dev/loop-control");

	if (e)
		return e;
	number = ioctl(b->control_fd, LOOP_CTL_GET_FREE);
	if (number < 0)
		return errno;
	cleat_autoclose int fd =
		open_number(number, (b->flags & CLEAT_LOOP_READ_ONLY) ? O_RDONLY : O_RDWR, path);
	if (fd < 0)
		return -fd;
	e = configure(b, fd, path);
	if (e)
		return e;
	e = read_status(fd, number, path, &s);
	if (e == 0 && !s.loop.read_only)
		e = forget_read_only(fd, path);
	if (e) { /* nobody was told of the binding: it must not stay */
		if (cleat_sys_step("ioctl(LOOP_CLR_FD)", path) == 0)
			ioctl(fd, LOOP_CLR_FD, 0);
		return e;
	}
	*loop_out = s.loop;
	loop_out->fd = cleat_steal_fd(&fd);
	return 0;
}

static bool is_taken(int e)
{
	return e == EBUSY || e == ENXIO || e == ENODEV || e == ENOENT;
}

static enum cleat_code bind_locked(struct binding *b, struct cleat_loop *loop_out, struct cleat_error *err)
{
	cleat_autoclose int control_fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int e = EBUSY;

	if (control_fd < 0)
		return cleat_error_errno(err, errno, "open '/dev/loop-control'");
	b->control_fd = control_fd;
	for (int i = 0; is_taken(e) && i < MAX_TRIES; i++)
		e = bind_next(b, loop_out);
	return e == 0 ? CLEAT_OK : cleat_error_errno(err, e, "bind '%s' to a loop device", b->image_path);
}

enum cleat_code cleat_sys_loop_bind(int image_fd, const char *image_path, unsigned flags,
				    uint32_t block_bytes, struct cleat_loop *loop_out,
				    struct cleat_error *err)
{
	struct binding b = {
		.image_fd = image_fd, .image_path = image_path, .flags = flags, .block_bytes = block_bytes
	};
	with_scan_lock pthread_mutex_t *lock = take_scan_lock();
	struct cleat_loop loop;
	bool found = false;

	enum cleat_code code = find_locked(image_fd, true, &loop, &found, err);
	if (code == CLEAT_OK && !found)
		code = bind_locked(&b, &loop, err);
	if (code == CLEAT_OK) {
		loop.was_bound = found;
		*loop_out = loop;
	}
	return code == CLEAT_OK ? CLEAT_OK : err ? cleat_error_wrap(err, "image '%s'", image_path) : code;
}

/* ---- changing ---- */

enum cleat_code cleat_sys_loop_detach(const char *path, struct cleat_error *err)
{
	with_scan_lock pthread_mutex_t *lock = take_scan_lock();
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		return CLEAT_OK;
	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%s'", path);
	int e = cleat_sys_step("ioctl(LOOP_CLR_FD)", path);
	if (e == 0 && ioctl(fd, LOOP_CLR_FD, 0) < 0)
		e = errno;
	if (e == 0 || e == ENXIO)
		return CLEAT_OK;
	return cleat_error_errno(err, e, "detach '%s'", path);
}

static enum cleat_code open_device(const char *path, int *fd_out, struct cleat_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%s'", path);
	*fd_out = fd;
	return CLEAT_OK;
}

enum cleat_code cleat_sys_loop_update_size(const char *path, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	enum cleat_code code = open_device(path, &fd, err);

	if (code != CLEAT_OK)
		return code;
	int e = cleat_sys_step("ioctl(LOOP_SET_CAPACITY)", path);
	if (e == 0 && ioctl(fd, LOOP_SET_CAPACITY, 0) < 0)
		e = errno;
	return e == 0 ? CLEAT_OK : cleat_error_errno(err, e, "update the size of '%s'", path);
}

enum cleat_code cleat_sys_block_set_read_only(const char *path, bool read_only, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	enum cleat_code code = open_device(path, &fd, err);
	int value = read_only;

	if (code != CLEAT_OK)
		return code;
	int e = cleat_sys_step("ioctl(BLKROSET)", path);
	if (e == 0 && ioctl(fd, BLKROSET, &value) < 0)
		e = errno;
	return e == 0 ? CLEAT_OK
		      : cleat_error_errno(err, e, "make '%s' read-%s", path, read_only ? "only" : "write");
}

enum cleat_code cleat_sys_block_in_use(const char *path, bool *out, struct cleat_error *err)
{
	cleat_autoclose int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);

	if (fd < 0 && errno != EBUSY)
		return cleat_error_errno(err, errno, "open '%s'", path);
	*out = fd < 0;
	return CLEAT_OK;
}

enum cleat_code cleat_sys_block_size(const char *path, uint64_t *bytes_out, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	enum cleat_code code = open_device(path, &fd, err);
	uint64_t bytes = 0;

	if (code != CLEAT_OK)
		return code;
	if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		return cleat_error_errno(err, errno, "size of '%s'", path);
	*bytes_out = bytes;
	return CLEAT_OK;
}
