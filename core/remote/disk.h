/* disk.h - disks that a far side makes appear: found in sysfs by serial number, name or link, and given as
 * devices once they are ready.
 *
 * Everything is looked up below two roots, "/sys" and "/dev" on real nodes, so that tests can make disks
 * appear elsewhere.
 */
#ifndef CLEAT_REMOTE_DISK_H
#define CLEAT_REMOTE_DISK_H

#include <cleat/backend.h>
#include <cleat/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cleat_disk_roots {
	const char *sys, *dev;
};

struct cleat_disk {
	char name[32];	 /* as in /sys/block: "nvme1n1", "xvdba" */
	char serial[64]; /* "" when it has none */
	char path[224];	 /* device node; "" while there is none for this disk */
	dev_t dev;
	uint64_t bytes;
};

enum cleat_disk_key {
	CLEAT_DISK_NAME,
	CLEAT_DISK_SERIAL, /* device/serial, without blanks around it */
	CLEAT_DISK_LINK,   /* name of a link in <dev>/disk/by-id that leads to a disk */
};

/* The disk, if it is there.  A link alone proves nothing (it may be stale): compare the serial number where
 * there is one. */
enum cleat_code cleat_disk_find(const struct cleat_disk_roots *roots, enum cleat_disk_key by,
				const char *what, struct cleat_disk *out, bool *found_out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* The disk with that device number. */
enum cleat_code cleat_disk_find_dev(const struct cleat_disk_roots *roots, dev_t dev, struct cleat_disk *out,
				    bool *found_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Every disk, until fn returns false. */
enum cleat_code cleat_disk_each(const struct cleat_disk_roots *roots,
				bool (*fn)(const struct cleat_disk *disk, void *arg), void *arg,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* Opens the disk's node and fills a source for `map`: read-only as asked, its read-only flag set for raw
 * devices.  ABORTED while a tool (mkfs, resize2fs) that an earlier daemon started still holds it. */
enum cleat_code cleat_disk_open(const struct cleat_disk *disk, const struct cleat_record *rec, bool read_only,
				struct cleat_source *source_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* FAILED_PRECONDITION "... is in use" while somebody has the disk open for himself (a mount in any namespace)
 * or, for a raw device, open at all. */
enum cleat_code cleat_disk_check_idle(const struct cleat_disk *disk, const char *name,
				      struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
