/* mounts.c - what the job mounts into the task: directories, files and block devices of the host. */
#include "driver/run/internal.h"

#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether what is mounted at the mount that holds path is shared with others (proc(5), mountinfo: "shared:"
 * among the optional fields). */
static bool is_shared(const char *path)
{
	struct statx st = { .stx_mnt_id = 0 };
	bool shared = false;
	char *line = NULL;
	size_t room = 0;

	if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st) < 0 || !(st.stx_mask & STATX_MNT_ID))
		return true; /* cannot be told: no reason to complain */
	FILE *table = fopen("/proc/self/mountinfo", "re");
	while (table && getline(&line, &room, table) > 0) {
		if (strtoull(line, NULL, 10) != st.stx_mnt_id)
			continue;
		char *end = strstr(line, " - ");
		if (end)
			*end = '\0';
		shared = strstr(line, " shared:");
		break;
	}
	free(line);
	if (table)
		fclose(table);
	return shared;
}

/* "rslave" and "rshared" need something to be propagated from and to. */
static const char *propagation_of(struct run_bundle *b, const struct run_mount *m)
{
	const char *asked = m->propagation && *m->propagation ? m->propagation : "rprivate";

	if (strcmp(asked, "rprivate") != 0 && !is_shared(m->source))
		run_note(b->plan,
			 "mount '%.100s': propagation %s has no effect, because the mount that '%.100s' is "
			 "on is not shared",
			 m->target, asked, m->source);
	return asked;
}

static void relabel(struct run_bundle *b, const struct run_mount *m)
{
	if (!m->selinux_label || !*m->selinux_label || !run_selinux_is_on())
		return;
	/* "z" and "Z" are what volume drivers call "with the label of containers". */
	bool usual = strcasecmp(m->selinux_label, "z") == 0;
	b->code = run_relabel(m->source, usual ? "system_u:object_r:container_file_t:s0" : m->selinux_label,
			      b->err);
}

/* A block device becomes a node of the task's own where that is possible: then it can belong to the task's
 * user. */
static void add_block(struct run_bundle *b, const struct run_mount *m)
{
	run_device_add(b, m->source, m->target, m->read_only ? "r" : "rwm");
	if (!run_path_is_beneath(m->target, "/dev"))
		run_bind_add(b, m->source, m->target, false, "rprivate");
}

static void add_mount(struct run_bundle *b, const struct run_mount *m)
{
	struct stat st;

	if (b->code == CLEAT_OK)
		b->code = run_rootfs_check(b->spec, m->target, "mount target", b->err);
	if (b->code == CLEAT_OK && stat(m->source, &st) < 0)
		b->code = cleat_error_errno(b->err, errno, "mount source '%.200s'", m->source);
	if (b->code != CLEAT_OK)
		return;
	if (S_ISBLK(st.st_mode)) {
		add_block(b, m);
		return;
	}
	relabel(b, m);
	run_bind_add(b, m->source, m->target, m->read_only, propagation_of(b, m));
}

static size_t depth(const char *path)
{
	size_t n = 0;

	for (; *path; path++)
		n += *path == '/' && path[1] != '\0';
	return n;
}

void run_mounts_add(struct run_bundle *b, const char **propagation_out)
{
	const struct run_spec *spec = b->spec;
	size_t added = 0;

	/* The outer ones first, or they would hide the inner. */
	for (size_t level = 1; added < spec->mount_count; level++)
		for (size_t i = 0; i < spec->mount_count; i++)
			if (depth(spec->mounts[i].target) == level) {
				add_mount(b, &spec->mounts[i]);
				added++;
			}
	/* crun cuts the task's mounts off from the host's unless it is told otherwise. */
	*propagation_out = NULL;
	for (size_t i = 0; i < spec->mount_count; i++) {
		const char *asked = spec->mounts[i].propagation;
		if (asked && strcmp(asked, "rshared") == 0)
			*propagation_out = "shared";
		else if (asked && strcmp(asked, "rslave") == 0 && !*propagation_out)
			*propagation_out = "rslave";
	}
}
