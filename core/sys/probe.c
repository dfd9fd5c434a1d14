/* probe.c - see probe.h. */
#include "sys/probe.h"

#include "util/text.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void probe_cleanup(blkid_probe *probe)
{
	blkid_free_probe(*probe); /* NULL is fine */
}
#define auto_probe __attribute__((cleanup(probe_cleanup)))

static void take_value(blkid_probe probe, const char *name, char *out, size_t room)
{
	const char *value = NULL;

	/* What somebody wrote on a device is shown to people only when it is text. */
	if (blkid_probe_lookup_value(probe, name, &value, NULL) == 0 && value &&
	    cleat_text_is_clean(value, strlen(value)))
		snprintf(out, room, "%.*s", cleat_text_cut(value, (int)room - 1), value);
}

/* Signatures with a wrong checksum count: something damaged is not empty. */
static int set_up(blkid_probe probe, int fd)
{
	errno = 0;
	if (blkid_probe_set_device(probe, fd, 0, 0) < 0 || blkid_probe_enable_superblocks(probe, 1) < 0 ||
	    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_UUID |
							     BLKID_SUBLKS_LABEL | BLKID_SUBLKS_BADCSUM) < 0 ||
	    blkid_probe_enable_partitions(probe, 1) < 0)
		return errno ? errno : EIO;
	return 0;
}

/* libblkid takes some failures of reading (a locked self-encrypting disk, a descriptor that cannot be read)
 * for the absence of signatures. */
static int check_readable(int fd)
{
	char byte;

	return TEMP_FAILURE_RETRY(pread(fd, &byte, 1, 0)) < 0 ? errno : 0;
}

static void take_content(blkid_probe probe, struct cleat_sys_content *content)
{
	take_value(probe, "TYPE", content->type, sizeof(content->type));
	if (content->type[0] == '\0')
		take_value(probe, "PTTYPE", content->type, sizeof(content->type));
	take_value(probe, "UUID", content->uuid, sizeof(content->uuid));
	take_value(probe, "LABEL", content->label, sizeof(content->label));
}

enum cleat_code cleat_sys_probe(int fd, const char *what, struct cleat_sys_content *out,
				struct cleat_error *err)
{
	struct cleat_sys_content content = { .empty = false };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return cleat_error_errno(err, errno, "stat '%s'", what);
	if (S_ISREG(st.st_mode) && st.st_size == 0) { /* libblkid cannot read any of it */
		*out = (struct cleat_sys_content){ .empty = true };
		return CLEAT_OK;
	}
	auto_probe blkid_probe probe = blkid_new_probe();
	if (!probe)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	int e = check_readable(fd);
	if (e == 0)
		e = set_up(probe, fd);
	if (e)
		return cleat_error_errno(err, e, "probe '%s'", what);
	errno = 0;
	int rc = blkid_do_safeprobe(probe);
	if (rc == -2)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "probe '%s': it holds contradicting signatures", what);
	if (rc < 0)
		return cleat_error_errno(err, errno ? errno : EIO, "probe '%s'", what);
	content.empty = rc == 1;
	if (!content.empty)
		take_content(probe, &content);
	*out = content;
	return CLEAT_OK;
}
