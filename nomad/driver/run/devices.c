/* devices.c - device nodes of the host in the task: the node, and leave to use it. */
#include "driver/run/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define NODE_MODE 0660

static void allow(struct run_bundle *b, bool block, dev_t device, const char *permissions)
{
	run_json_add(b, b->device_rules,
		     json_pack("{sb ss si si ss}", "allow", 1, "type", block ? "b" : "c", "major",
			       (int)major(device), "minor", (int)minor(device), "access", permissions));
}

static void add_node(struct run_bundle *b, const char *target, const struct stat *st)
{
	json_t *node = json_object();

	run_json_put(b, node, "path", run_json_text(b, target));
	run_json_put(b, node, "type", json_string(S_ISBLK(st->st_mode) ? "b" : "c"));
	run_json_put(b, node, "major", json_integer(major(st->st_rdev)));
	run_json_put(b, node, "minor", json_integer(minor(st->st_rdev)));
	/* What others may do on the host, they may do here; beyond that it is for the task's user. */
	run_json_put(b, node, "fileMode", json_integer(NODE_MODE | (st->st_mode & 0006)));
	run_json_put(b, node, "uid", json_integer(b->user.uid));
	run_json_put(b, node, "gid", json_integer(b->user.gid));
	run_json_add(b, b->devices, node);
}

void run_device_add(struct run_bundle *b, const char *source, const char *target, const char *permissions)
{
	struct stat st;

	if (b->code == CLEAT_OK && stat(source, &st) < 0)
		b->code = cleat_error_errno(b->err, errno, "device '%.200s'", source);
	if (b->code == CLEAT_OK && !S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode))
		b->code = cleat_error_set(b->err, CLEAT_INVALID_ARGUMENT, "'%.200s' is not a device", source);
	if (b->code != CLEAT_OK)
		return;
	allow(b, S_ISBLK(st.st_mode), st.st_rdev, permissions);
	/* Elsewhere a node might be made in a directory of the host; it is bound then. */
	if (run_path_is_beneath(target, "/dev"))
		add_node(b, target, &st);
}

void run_devices_add(struct run_bundle *b)
{
	for (size_t i = 0; i < b->spec->device_count; i++) {
		const struct run_device *d = &b->spec->devices[i];
		const char *target = d->target && *d->target ? d->target : d->source;
		run_device_add(b, d->source, target,
			       d->permissions && *d->permissions ? d->permissions : "rwm");
		if (b->code == CLEAT_OK && !run_path_is_beneath(target, "/dev")) {
			b->code = run_rootfs_check(b->spec, target, "device's path in the task", b->err);
			run_bind_add(b, d->source, target, false, "rprivate");
		}
	}
}
