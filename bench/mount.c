/* mount.c - a new ext4 volume of 10 GiB in a `loop` pool, from nothing to mounted at a target, beside mke2fs
 * and the bare system calls on the same file system.
 *
 * A pool on a file system that cannot share blocks keeps its images in a pool file; the peer's image then
 * lies in that as well.  The same is measured again with the images in plain directories.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define VOLUME_BYTES (10ull << 30)
#define TIMES 20
#define TIME_RATIO 1.2
#define LOOP_TRIES 16

/* ---- ours ---- */

struct place {
	struct bench_daemon *daemon;
	const char *images; /* where the peer's image lies */
	char target[BENCH_PATH_BYTES];
};

static enum cleat_code once_ours(const struct place *p, unsigned number, double *ms_out,
				 struct cleat_error *err)
{
	char name[32], id[CLEAT_ID_MAX_BYTES + 1];
	const double begin_ms = bench_now_ms();

	snprintf(name, sizeof(name), "volume-%u", number);
	if (bench_create(p->daemon->client, "loop", name, VOLUME_BYTES, id, err) ||
	    bench_publish(p->daemon->client, id, p->target, err))
		return err->code;
	*ms_out = bench_now_ms() - begin_ms;
	if (bench_unpublish(p->daemon->client, id, p->target, err))
		return err->code;
	return bench_delete(p->daemon->client, id, err);
}

/* ---- mke2fs and the bare system calls ---- */

static enum cleat_code failed(struct cleat_error *err, const char *what)
{
	return cleat_error_errno(err, errno, "%s", what);
}

static enum cleat_code mke2fs(const char *image, struct cleat_error *err)
{
	const char *argv[] = { "mke2fs",
			       "-q",
			       "-F",
			       "-t",
			       "ext4",
			       "-b",
			       "4096",
			       "-m",
			       "0",
			       "-I",
			       "256",
			       "-E",
			       "nodiscard,lazy_itable_init=1,lazy_journal_init=1",
			       image,
			       NULL };
	pid_t pid;
	int status;
	int rc = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ);

	if (rc)
		return cleat_error_errno(err, rc, "start mke2fs");
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		return cleat_error_set(err, CLEAT_INTERNAL, "mke2fs failed");
	return CLEAT_OK;
}

static enum cleat_code make_image(const char *image, int *fd_out, struct cleat_error *err)
{
	cleat_autoclose int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)VOLUME_BYTES) < 0)
		return failed(err, "make the image");
	if (mke2fs(image, err))
		return err->code;
	*fd_out = cleat_steal_fd(&fd);
	return CLEAT_OK;
}

static enum cleat_code bind_loop(int image, char device[32], int *fd_out, struct cleat_error *err)
{
	const struct loop_config config = { .fd = (__u32)image,
					    .block_size = 4096,
					    .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO };
	cleat_autoclose int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	for (int i = 0; control >= 0 && i < LOOP_TRIES; i++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(device, 32, "/dev/loop%d", n);
		cleat_autoclose int fd = open(device, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
			*fd_out = cleat_steal_fd(&fd);
			return CLEAT_OK;
		}
		if (fd >= 0 && errno != EBUSY)
			break;
	}
	return failed(err, "bind a loop device");
}

static enum cleat_code mount_ext4(const char *device, const char *stage, struct cleat_error *err)
{
	cleat_autoclose int fs = fsopen("ext4", FSOPEN_CLOEXEC);

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", device, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return failed(err, "make the superblock");
	cleat_autoclose int made = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (made < 0 || mkdir(stage, 0700) < 0 ||
	    move_mount(made, "", AT_FDCWD, stage, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return failed(err, "mount");
	return CLEAT_OK;
}

static enum cleat_code bind_target(const char *stage, const char *target, struct cleat_error *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	cleat_autoclose int fd = open_tree(AT_FDCWD, stage, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ||
	    mkdir(target, 0755) < 0 || move_mount(fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return failed(err, "bind");
	return CLEAT_OK;
}

static enum cleat_code make_mounted(const char *image, const char *stage, const char *target,
				    struct cleat_error *err)
{
	cleat_autoclose int fd = -1, loop = -1;
	char device[32];

	if (make_image(image, &fd, err) || bind_loop(fd, device, &loop, err) ||
	    mount_ext4(device, stage, err))
		return err->code;
	return bind_target(stage, target, err);
}

static enum cleat_code once_bare(const struct place *p, double *ms_out, struct cleat_error *err)
{
	char image[2 * BENCH_PATH_BYTES], stage[2 * BENCH_PATH_BYTES];
	const double begin_ms = bench_now_ms();

	snprintf(image, sizeof(image), "%s/bare.img", p->images);
	snprintf(stage, sizeof(stage), "%s/bare-stage", p->daemon->targets);
	enum cleat_code code = make_mounted(image, stage, p->target, err);
	*ms_out = bench_now_ms() - begin_ms;
	umount2(p->target, UMOUNT_NOFOLLOW);
	rmdir(p->target);
	umount2(stage, UMOUNT_NOFOLLOW);
	rmdir(stage);
	unlink(image);
	return code;
}

/* ---- rows ---- */

static enum cleat_code measure(const struct place *p, const char *layout, struct cleat_error *err)
{
	double ours[TIMES], bare[TIMES], ratios[TIMES];
	double ignored;

	if (once_ours(p, TIMES, &ignored, err) || once_bare(p, &ignored, err))
		return err->code;
	for (unsigned i = 0; i < TIMES; i++) {
		if (once_ours(p, i, &ours[i], err) || once_bare(p, &bare[i], err))
			return err->code;
		ratios[i] = ours[i] / bare[i];
	}
	struct bench_row row = { .group = "mount",
				 .unit = "ms",
				 .ours = bench_median(ours, TIMES),
				 .peer = bench_median(bare, TIMES),
				 .ratio = bench_median(ratios, TIMES),
				 .target = BENCH_RATIO_AT_MOST,
				 .limit = TIME_RATIO };
	snprintf(row.measure, sizeof(row.measure), "loop, ext4 of 10 GiB, %s: create to mounted", layout);
	bench_row(&row);
	return CLEAT_OK;
}

static enum cleat_code run_layout(const struct bench *b, const char *name, const char *layout,
				  const char *pools, struct cleat_error *err)
{
	struct bench_daemon d;
	char pool_mount[2 * BENCH_PATH_BYTES];
	enum cleat_code code = bench_daemon_start(b, name, pools, &d, err);

	snprintf(pool_mount, sizeof(pool_mount), "%s/pool/loop", d.runtime);
	if (code == CLEAT_OK) {
		struct place p = { .daemon = &d,
				   .images = access(pool_mount, F_OK) == 0 ? pool_mount : d.dir };
		snprintf(p.target, sizeof(p.target), "%.480s/target", d.targets);
		code = measure(&p, layout, err);
	}
	bench_daemon_stop(b, &d);
	return code;
}

enum cleat_code bench_run_mount(struct bench *b, struct cleat_error *err)
{
	if (run_layout(b, "mount", "as by default", "  loop: {backend: loop, overcommit: 100}\n", err))
		return err->code;
	return run_layout(b, "plain", "without pool file",
			  "  loop: {backend: loop, overcommit: 100, pool_file: never}\n", err);
}
