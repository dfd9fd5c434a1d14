/* share.c - mounts whose changes reach the containers that hold copies of them. */
#include "helper/helper.h"

#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* proc(5): the optional fields are between the mount's options and a single "-". */
static bool line_is_shared(const char *line)
{
	const char *end = strstr(line, " - "), *tag = strstr(line, " shared:");

	return end && tag && tag < end;
}

enum cleat_code helper_is_shared(const char *dir, bool *shared_out, struct cleat_error *err)
{
	cleat_autofree char *line = NULL;
	struct statx stx;
	size_t room = 0;
	bool found = false;

	if (statx(AT_FDCWD, dir, AT_STATX_DONT_SYNC, STATX_MNT_ID, &stx))
		return cleat_error_errno(err, errno, "look at '%s'", dir);
	FILE *table = fopen("/proc/self/mountinfo", "re");
	if (!table)
		return cleat_error_errno(err, errno, "open the table of mounts");
	while (!found && getline(&line, &room, table) > 0)
		found = strtoull(line, NULL, 10) == stx.stx_mnt_id;
	*shared_out = found && line_is_shared(line);
	fclose(table);
	return CLEAT_OK;
}

enum cleat_code helper_share(const char *dir, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	bool shared;

	if (helper_is_shared(dir, &shared, err) || shared)
		return err->code;
	/* Not twice: another program may be at the same. */
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX))
		return cleat_error_errno(err, errno, "lock '%s'", dir);
	if (helper_is_shared(dir, &shared, err) || shared)
		return err->code;
	if (mount(dir, dir, NULL, MS_BIND | MS_REC, NULL) || mount(NULL, dir, NULL, MS_SHARED, NULL))
		return cleat_error_errno(err, errno, "make '%s' a shared mount", dir);
	return CLEAT_OK;
}
