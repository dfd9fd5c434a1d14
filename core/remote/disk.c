/* disk.c - see disk.h. */
#include "remote/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sys/file.h"
#include "sys/loop.h"
#include "util/mem.h"

#define SECTOR_BYTES 512u /* what "size" in sysfs counts in, whatever the disk's own sectors are */

/* One attribute, without blanks around it; false when there is none. */
static bool attribute(int dir, const char *path, char *out, size_t room)
{
	cleat_autoclose int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? TEMP_FAILURE_RETRY(read(fd, out, room - 1)) : -1;

	out[n > 0 ? n : 0] = '\0';
	while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == ' '))
		out[--n] = '\0';
	const size_t blanks = strspn(out, " ");
	memmove(out, out + blanks, strlen(out + blanks) + 1);
	return n > 0;
}

static void find_node(const struct cleat_disk_roots *roots, struct cleat_disk *disk)
{
	struct stat st;

	snprintf(disk->path, sizeof(disk->path), "%s/%s", roots->dev, disk->name);
	if (stat(disk->path, &st) != 0 || !S_ISBLK(st.st_mode) || st.st_rdev != disk->dev)
		disk->path[0] = '\0'; /* udev has not made it yet, or it is another disk's */
}

static bool is_name(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/') &&
	       strlen(name) < sizeof(((struct cleat_disk *)0)->name);
}

static bool read_disk(const struct cleat_disk_roots *roots, const char *name, struct cleat_disk *out)
{
	char path[256], text[64];
	unsigned major_number, minor_number;
	struct cleat_disk disk = { .bytes = 0 };

	if (!is_name(name))
		return false;
	snprintf(path, sizeof(path), "%s/block/%s", roots->sys, name);
	cleat_autoclose int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || !attribute(dir, "dev", text, sizeof(text)) ||
	    sscanf(text, "%u:%u", &major_number, &minor_number) != 2)
		return false;
	snprintf(disk.name, sizeof(disk.name), "%s", name);
	disk.dev = makedev(major_number, minor_number);
	if (attribute(dir, "size", text, sizeof(text)))
		disk.bytes = strtoull(text, NULL, 10) * SECTOR_BYTES;
	if (!attribute(dir, "device/serial", disk.serial, sizeof(disk.serial)))
		attribute(dir, "serial", disk.serial, sizeof(disk.serial));
	find_node(roots, &disk);
	*out = disk;
	return true;
}

enum cleat_code cleat_disk_each(const struct cleat_disk_roots *roots,
				bool (*fn)(const struct cleat_disk *disk, void *arg), void *arg,
				struct cleat_error *err)
{
	char path[256];
	struct cleat_disk disk;
	bool more = true;

	snprintf(path, sizeof(path), "%s/block", roots->sys);
	DIR *d = opendir(path);
	if (!d)
		return cleat_error_errno(err, errno, "open '%s'", path);
	for (struct dirent *de; more && (de = readdir(d));)
		if (read_disk(roots, de->d_name, &disk))
			more = fn(&disk, arg);
	closedir(d);
	return CLEAT_OK;
}

struct search {
	const char *serial;
	dev_t dev;
	struct cleat_disk *out;
	bool found;
};

static bool fits(const struct cleat_disk *disk, void *arg)
{
	struct search *s = arg;

	if (s->serial ? strcmp(disk->serial, s->serial) != 0 : disk->dev != s->dev)
		return true;
	*s->out = *disk;
	s->found = true;
	return false;
}

static bool find_link(const struct cleat_disk_roots *roots, const char *link, struct cleat_disk *out)
{
	char path[256], target[256];

	if (strchr(link, '/') ||
	    snprintf(path, sizeof(path), "%s/disk/by-id/%s", roots->dev, link) >= (int)sizeof(path))
		return false;
	const ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	const char *slash = strrchr(target, '/');
	return read_disk(roots, slash ? slash + 1 : target, out);
}

enum cleat_code cleat_disk_find(const struct cleat_disk_roots *roots, enum cleat_disk_key by,
				const char *what, struct cleat_disk *out, bool *found_out,
				struct cleat_error *err)
{
	struct search s = { .serial = what, .out = out };

	if (by == CLEAT_DISK_SERIAL) {
		if (cleat_disk_each(roots, fits, &s, err))
			return err ? err->code : CLEAT_INTERNAL;
		*found_out = s.found;
	} else {
		*found_out =
			by == CLEAT_DISK_NAME ? read_disk(roots, what, out) : find_link(roots, what, out);
	}
	return CLEAT_OK;
}

enum cleat_code cleat_disk_find_dev(const struct cleat_disk_roots *roots, dev_t dev, struct cleat_disk *out,
				    bool *found_out, struct cleat_error *err)
{
	struct search s = { .dev = dev, .out = out };
	enum cleat_code code = cleat_disk_each(roots, fits, &s, err);

	if (code == CLEAT_OK)
		*found_out = s.found;
	return code;
}

/* A tool holds the lock that it inherited, even when the daemon that started it is gone. */
static enum cleat_code check_no_tool(int fd, const struct cleat_disk *disk, const struct cleat_record *rec,
				     struct cleat_error *err)
{
	if (rec->access_type == CLEAT_ACCESS_BLOCK || cleat_sys_lock(fd, disk->path, NULL) == CLEAT_OK)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_ABORTED,
			       "a tool that an earlier daemon started is still running on '%s' (%s)",
			       rec->name, disk->path);
}

enum cleat_code cleat_disk_open(const struct cleat_disk *disk, const struct cleat_record *rec, bool read_only,
				struct cleat_source *source_out, struct cleat_error *err)
{
	const bool block = rec->access_type == CLEAT_ACCESS_BLOCK;
	cleat_autoclose int fd =
		open(disk->path, (read_only && !block ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return cleat_error_errno(err, errno, "open '%s'", disk->path);
	if (check_no_tool(fd, disk, rec, err))
		return err ? err->code : CLEAT_ABORTED;
	/* Below a file system the mount says it; a raw device has only its own flag. */
	if (block && cleat_sys_block_set_read_only(disk->path, read_only, err))
		return err ? err->code : CLEAT_INTERNAL;
	*source_out = (struct cleat_source){ .kind = CLEAT_SOURCE_DEVICE,
					     .fd = cleat_steal_fd(&fd),
					     .read_only = read_only };
	snprintf(source_out->path, sizeof(source_out->path), "%s", disk->path);
	return CLEAT_OK;
}

enum cleat_code cleat_disk_check_idle(const struct cleat_disk *disk, const char *name,
				      struct cleat_error *err)
{
	bool in_use = false;

	if (!disk->path[0])
		return CLEAT_OK;
	if (cleat_sys_block_in_use(disk->path, &in_use, err))
		return err ? err->code : CLEAT_INTERNAL;
	if (!in_use)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' is in use: something has %s open", name,
			       disk->path);
}
