/* probe.h - what is on a device or image, as libblkid sees it. */
#ifndef CLEAT_SYS_PROBE_H
#define CLEAT_SYS_PROBE_H

#include <cleat/error.h>
#include <stdbool.h>

struct cleat_sys_content {
	bool empty; /* no signature of any file system, raid, LVM or partition table */
	char type[32]; /* "ext4", "xfs", "crypto_LUKS", "dos" ...; "" when empty or unclear */
	char uuid[64];
	char label[64];
};

/* Probes an open device or file.  Contradicting signatures are FAILED_PRECONDITION: never "empty". */
enum cleat_code cleat_sys_probe(int fd, const char *what, struct cleat_sys_content *out, struct cleat_error *err)
	CLEAT_MUST_CHECK;

#endif
