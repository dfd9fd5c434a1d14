/* node_test.c - volumes on the node: targets, options, read-only, statistics, growth, restarts, and the wrong
 * order. */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/major.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static Csi__V1__VolumeCapability *writer(struct lab *l)
{
	return cap_mount(l, MODE(SINGLE_NODE_WRITER), "", NULL);
}

static Csi__V1__VolumeCapability *writers(struct lab *l)
{
	return cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "", NULL);
}

static void ok_node_unpublish(struct lab *l, const char *id, const char *target)
{
	Csi__V1__NodeUnpublishVolumeRequest in = CSI__V1__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;

	in.volume_id = keep(l, id);
	in.target_path = keep(l, target);
	OK(l, node, "NodeUnpublishVolume", in);
}

static enum cleat_code unstage(struct lab *l, const char *id, const char *name)
{
	Csi__V1__NodeUnstageVolumeRequest in = CSI__V1__NODE_UNSTAGE_VOLUME_REQUEST__INIT;

	in.volume_id = keep(l, id);
	in.staging_target_path = keepf(l, "%s/%s.stage", l->work, name);
	return CODE(l, node, "NodeUnstageVolume", in);
}

/* ---- targets ---- */

static void test_publish__the_same_again_is_done_and_another_is_refused(void **state)
{
	struct lab *l = *state;
	char *id;

	lab_start(l);
	id = ok_volume(l, "db");
	char *target = ok_publish(l, id, "t", writers(l));
	Csi__V1__NodePublishVolumeRequest *in = publish_request(l, id, "t", writers(l));
	OK(l, node, "NodePublishVolume", *in);
	put_file(target, "f", "text");
	in->readonly = true;
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_ALREADY_EXISTS, target);
	in->readonly = false;
	in->volume_capability = cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "", "noatime");
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_ALREADY_EXISTS, target);
	in->volume_capability = cap_block(l, MODE(SINGLE_NODE_MULTI_WRITER));
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_FAILED_PRECONDITION, "mount access");
	in->volume_capability = cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "ext4", NULL);
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_FAILED_PRECONDITION, "xfs");
	/* Many writers of one node, at another target. */
	Csi__V1__NodePublishVolumeRequest *second = publish_request(l, id, "t", writers(l));
	second->target_path = target_of(l, "t2");
	OK(l, node, "NodePublishVolume", *second);
	assert_true(has_file(second->target_path, "f", "text"));
	put_file(second->target_path, "g", "other");
	assert_true(has_file(target, "g", "other"));
	assert_true(is_mounted(target));
	ok_node_unpublish(l, id, second->target_path);
	assert_int_equal(access(second->target_path, F_OK), -1);
	ok_unpublish(l, id, "t");
	ok_unpublish(l, id, "t");
	assert_int_equal(access(target, F_OK), -1);
	ok_delete(l, id);
	lab_stop(l);
}

static void test_publish__a_single_writer_is_at_one_target(void **state)
{
	static const Csi__V1__VolumeCapability__AccessMode__Mode single[] = {
		MODE(SINGLE_NODE_WRITER), MODE(SINGLE_NODE_SINGLE_WRITER)
	};
	struct lab *l = *state;

	lab_start(l);
	for (size_t i = 0; i < CLEAT_COUNT(single); i++) {
		char *name = keepf(l, "v%zu", i), *id = ok_volume(l, name);
		Csi__V1__VolumeCapability *cap = cap_mount(l, single[i], "", NULL);
		char *target = ok_publish(l, id, name, cap);
		Csi__V1__NodePublishVolumeRequest *in = publish_request(l, id, name, cap);

		OK(l, node, "NodePublishVolume", *in);
		in->target_path = target_of(l, "elsewhere");
		REFUSED(l, node, "NodePublishVolume", *in, CLEAT_FAILED_PRECONDITION, target);
		assert_int_equal(access(in->target_path, F_OK), -1);
		/* Its mount is gone, so nobody is there: the next one gets it. */
		assert_int_equal(umount2(target, UMOUNT_NOFOLLOW), 0);
		OK(l, node, "NodePublishVolume", *in);
		ok_node_unpublish(l, id, in->target_path);
		ok_unpublish(l, id, name);
		ok_delete(l, id);
	}
	/* Readers harm nobody. */
	char *id = ok_volume(l, "read");
	Csi__V1__VolumeCapability *cap = cap_mount(l, MODE(SINGLE_NODE_READER_ONLY), "", NULL);
	ok_publish(l, id, "r", cap);
	Csi__V1__NodePublishVolumeRequest *in = publish_request(l, id, "r", cap);
	in->target_path = target_of(l, "r2");
	OK(l, node, "NodePublishVolume", *in);
	ok_node_unpublish(l, id, in->target_path);
	ok_unpublish(l, id, "r");
	lab_stop(l);
}

static void test_publish__fields_are_looked_at_before_anything_else(void **state)
{
	struct lab *l = *state;
	Csi__V1__NodePublishVolumeRequest *in;
	Csi__V1__NodeStageVolumeRequest stage = CSI__V1__NODE_STAGE_VOLUME_REQUEST__INIT;

	lab_start(l);
	char *id = ok_volume(l, "db");
	in = publish_request(l, id, "t", writer(l));
	in->staging_target_path = keep(l, "");
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_FAILED_PRECONDITION, "staging_target_path");
	in = publish_request(l, "default-00000000.nothing", "t", writer(l));
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_FAILED_PRECONDITION, "node-a");
	in->volume_id = keepf(l, "%.*s.nothing", (int)strcspn(id, "."), id);
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_NOT_FOUND, "does not exist");
	in = publish_request(l, id, "t", writer(l));
	in->target_path = keep(l, "relative/path");
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_INVALID_ARGUMENT, "absolute");
	in->target_path = keepf(l, "%s/missing/t", l->work);
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_FAILED_PRECONDITION, "does not exist");
	in->target_path = keep(l, "/usr/share/t");
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_PERMISSION_DENIED, "/usr/share/t");
	stage.volume_id = id;
	stage.volume_capability = writer(l);
	REFUSED(l, node, "NodeStageVolume", stage, CLEAT_INVALID_ARGUMENT, "staging_target_path");
	assert_int_equal(mounts_below(l->work), 0);
	lab_stop(l);
}

/* Nomad takes whatever is mounted at a target for the volume, so nothing else may ever be there. */
static void test_publish__a_mount_that_is_not_the_volumes_is_neither_taken_nor_covered(void **state)
{
	struct lab *l = *state;
	Csi__V1__NodeUnpublishVolumeRequest off = CSI__V1__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;

	lab_start(l);
	char *a = ok_volume(l, "a"), *b = ok_volume(l, "b");
	char *target = ok_publish(l, a, "t", writer(l));
	put_file(target, "f", "of a");
	ok_attach_and_stage(l, b, "u", writer(l));
	Csi__V1__NodePublishVolumeRequest *in = publish_request(l, b, "u", writer(l));
	in->target_path = target;
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_FAILED_PRECONDITION, target);
	assert_true(has_file(target, "f", "of a"));
	/* Something foreign. */
	char *foreign = in->target_path = target_of(l, "foreign");
	assert_int_equal(mkdir(foreign, 0755), 0);
	assert_int_equal(mount("none", foreign, "tmpfs", 0, "size=64k"), 0);
	put_file(foreign, "f", "foreign");
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_FAILED_PRECONDITION, foreign);
	/* On top of what is ours: it hides the volume, and is not taken away with it. */
	assert_int_equal(mount("none", target, "tmpfs", 0, "size=64k"), 0);
	off.volume_id = a;
	off.target_path = target;
	assert_int_not_equal(CODE(l, node, "NodeUnpublishVolume", off), CLEAT_OK);
	assert_true(has_file(foreign, "f", "foreign"));
	assert_int_equal(umount2(target, UMOUNT_NOFOLLOW), 0);
	assert_true(has_file(target, "f", "of a"));
	OK(l, node, "NodeUnpublishVolume", off);
	off.volume_id = b;
	off.target_path = foreign; /* b was never there: done, and the other stays */
	OK(l, node, "NodeUnpublishVolume", off);
	assert_true(has_file(foreign, "f", "foreign"));
	assert_int_equal(umount2(foreign, UMOUNT_NOFOLLOW), 0);
	OK(l, node, "NodePublishVolume", *in);
	ok_node_unpublish(l, b, foreign);
	ok_unpublish(l, a, "t");
	ok_unpublish(l, b, "u");
	lab_stop(l);
}

static void test_unpublish__what_is_gone_is_done(void **state)
{
	struct lab *l = *state;
	Csi__V1__NodeUnpublishVolumeRequest in = CSI__V1__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;

	lab_start(l);
	char *id = ok_volume(l, "db");
	in.target_path = target_of(l, "t");
	in.volume_id = id;
	OK(l, node, "NodeUnpublishVolume", in); /* never published */
	ok_delete(l, id);
	OK(l, node, "NodeUnpublishVolume", in);
	assert_int_equal(unstage(l, id, "t"), CLEAT_OK);
	in.volume_id = keep(l, "elsewhere-12345678.abcdefghijklmnop");
	OK(l, node, "NodeUnpublishVolume", in);
	assert_int_equal(unstage(l, in.volume_id, "t"), CLEAT_OK);
	in.volume_id = keep(l, "no id at all");
	REFUSED(l, node, "NodeUnpublishVolume", in, CLEAT_NOT_FOUND, "no id at all");
	lab_stop(l);
}

/* ---- options ---- */

static void test_flags__are_honoured_or_refused_and_never_logged(void **state)
{
	struct lab *l = *state;
	Csi__V1__NodePublishVolumeRequest *in;

	lab_start(l);
	char *id = ok_volume(l, "db");
	char *target = ok_publish(
		l, id, "t", cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "xfs", "noatime,noexec,logbufs=4"));
	assert_non_null(strstr(mount_line(l, target), "noatime"));
	assert_non_null(strstr(mount_line(l, target), "noexec"));
	assert_non_null(strstr(mount_line(l, target), "nosuid")); /* always */
	assert_non_null(strstr(mount_line(l, target), "logbufs=4"));
	in = publish_request(l, id, "t",
			     cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "", "noatime,logbufs=8"));
	in->target_path = target_of(l, "t2");
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_FAILED_PRECONDITION,
		"options"); /* the super block has others */
	in->volume_capability = cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "", "suid");
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_PERMISSION_DENIED, "suid");
	in->volume_capability = cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "", "passphrase=hunter2");
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_INVALID_ARGUMENT, "passphrase");
	assert_null(strstr(l->err.msg, "hunter2"));
	in->volume_capability = cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "", "logbufs=971000179");
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_INVALID_ARGUMENT, "logbufs");
	assert_null(strstr(l->err.msg, "971000179"));
	char *flood = keep_bytes(l, 5000);
	memset(flood, 'x', 4999);
	in->volume_capability = cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "", NULL);
	in->volume_capability->mount->mount_flags = &flood;
	in->volume_capability->mount->n_mount_flags = 1;
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_INVALID_ARGUMENT, "4096");
	assert_int_equal(access(in->target_path, F_OK), -1);
	ok_unpublish(l, id, "t");
	static const char *const secret[] = { "hunter2", "passphrase", "logbufs", "noatime",
					      "noexec",	 "971000179",  "xxxx" };
	for (size_t i = 0; i < CLEAT_COUNT(secret); i++)
		assert_false(test_daemon_logged(&l->d, secret[i]));
	assert_true(test_daemon_logged(&l->d, "NodePublishVolume")); /* but that it failed is */
	assert_true(test_daemon_logged(&l->d, "not logged"));
	lab_stop(l);
}

static void test_secrets__are_never_logged(void **state)
{
	struct lab *l = *state;
	Csi__V1__CreateVolumeRequest *in = create_request(l, "db");
	Csi__V1__NodePublishVolumeRequest *publish;

	lab_start(l);
	in->secrets = map_of(l, &csi__v1__create_volume_request__secrets_entry__descriptor, &in->n_secrets,
			     "user", "tiger7", "password", "scott7", NULL);
	char *id = keep(l, ok_create(l, in)->volume_id);
	in->name = keep(l, "bad"); /* and in a call that fails */
	PARAMS(l, in, "colour", "x");
	REFUSED(l, controller, "CreateVolume", *in, CLEAT_INVALID_ARGUMENT, "colour");
	publish = publish_request(l, id, "t", writer(l));
	publish->secrets = map_of(l, &csi__v1__node_publish_volume_request__secrets_entry__descriptor,
				  &publish->n_secrets, "password", "scott7", NULL);
	publish->target_path = keep(l, "nowhere");
	REFUSED(l, node, "NodePublishVolume", *publish, CLEAT_INVALID_ARGUMENT, "nowhere");
	assert_false(test_daemon_logged(&l->d, "tiger7"));
	assert_false(test_daemon_logged(&l->d, "scott7"));
	ok_delete(l, id);
	lab_stop(l);
}

static bool can_write(const char *dir)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/probe", dir);
	cleat_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0 || errno == EROFS);
	return fd >= 0;
}

static void test_read_only__is_read_only_there_and_only_there(void **state)
{
	struct lab *l = *state;

	lab_start(l);
	char *id = ok_volume(l, "db");
	char *target = ok_publish(l, id, "t", writers(l));
	put_file(target, "f", "text");
	Csi__V1__NodePublishVolumeRequest *in = publish_request(l, id, "t", writers(l));
	in->target_path = target_of(l, "ro");
	in->readonly = true;
	OK(l, node, "NodePublishVolume", *in);
	assert_true(has_file(in->target_path, "f", "text"));
	assert_false(can_write(in->target_path));
	assert_true(can_write(target));
	Csi__V1__NodePublishVolumeRequest *reader =
		publish_request(l, id, "t", cap_mount(l, MODE(SINGLE_NODE_READER_ONLY), "", NULL));
	reader->target_path = target_of(l, "reader");
	OK(l, node, "NodePublishVolume", *reader);
	assert_false(can_write(reader->target_path));
	Csi__V1__NodePublishVolumeRequest *flag =
		publish_request(l, id, "t", cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "", "ro"));
	flag->target_path = target_of(l, "flag");
	OK(l, node, "NodePublishVolume", *flag);
	assert_false(can_write(flag->target_path));
	ok_node_unpublish(l, id, in->target_path);
	ok_node_unpublish(l, id, reader->target_path);
	ok_node_unpublish(l, id, flag->target_path);
	ok_unpublish(l, id, "t");
	lab_stop(l);
}

/* ---- the wrong order ---- */

static bool node_stages(struct lab *l)
{
	Csi__V1__NodeGetCapabilitiesRequest ask = CSI__V1__NODE_GET_CAPABILITIES_REQUEST__INIT;
	const Csi__V1__NodeGetCapabilitiesResponse *out = OK(l, node, "NodeGetCapabilities", ask);

	for (size_t i = 0; i < out->n_capabilities; i++)
		if (out->capabilities[i]->rpc->type ==
		    CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__STAGE_UNSTAGE_VOLUME)
			return true;
	return false;
}

/* As kubelet has it: no staging path, nothing attached, and nothing stays when the last target is gone. */
static void test_stage__is_not_needed_where_so_configured(void **state)
{
	struct lab *l = *state;
	Csi__V1__NodePublishVolumeRequest *in;
	Csi__V1__DeleteVolumeRequest del = CSI__V1__DELETE_VOLUME_REQUEST__INIT;

	lab_start(l);
	assert_true(node_stages(l));
	lab_stop(l);
	l->csi = "  stage: false\n  attach: false\n";
	lab_start(l);
	assert_false(node_stages(l));
	char *id = ok_volume(l, "db"), *stages = keepf(l, "%s/mnt/stage", l->d.run);
	char *first = target_of(l, "t"), *second = target_of(l, "u");
	in = publish_request(l, id, "t", cap_mount(l, MODE(SINGLE_NODE_MULTI_WRITER), "xfs", NULL));
	in->staging_target_path = keep(l, "");
	OK(l, node, "NodePublishVolume", *in);
	OK(l, node, "NodePublishVolume", *in);
	put_file(first, "f", "text");
	in->target_path = second;
	OK(l, node, "NodePublishVolume", *in);
	assert_true(has_file(second, "f", "text"));
	ok_unpublish(l, id, "t");
	del.volume_id = id;
	REFUSED(l, controller, "DeleteVolume", del, CLEAT_FAILED_PRECONDITION, "in use");
	assert_int_equal(mounts_below(stages), 1);
	ok_unpublish(l, id, "u");
	assert_int_equal(mounts_below(stages), 0);
	OK(l, controller, "DeleteVolume", del);
	lab_stop(l);
}

static void test_unstage__while_published_waits_for_the_last_one(void **state)
{
	struct lab *l = *state;

	lab_start(l);
	char *id = ok_volume(l, "db"), *stages = keepf(l, "%s/mnt/stage", l->d.run);
	char *target = ok_publish(l, id, "t", writers(l));
	Csi__V1__NodePublishVolumeRequest *in = publish_request(l, id, "t", writers(l));
	in->target_path = target_of(l, "t2");
	OK(l, node, "NodePublishVolume", *in);
	assert_int_equal(mounts_below(stages), 1);
	ok_node_unpublish(l, id, target);
	/* Nomad does that under the other allocation. */
	assert_int_equal(unstage(l, id, "t"), CLEAT_OK);
	assert_int_equal(unstage(l, id, "t"), CLEAT_OK);
	put_file(in->target_path, "f", "still here");
	assert_true(has_file(in->target_path, "f", "still here"));
	ok_node_unpublish(l, id, in->target_path);
	assert_int_equal(mounts_below(stages), 0); /* the stage went with the last one */
	assert_int_equal(mounts_below(l->work), 0);
	ok_unpublish(l, id, "t");
	target = ok_publish(l, id, "t", writers(l));
	assert_true(has_file(target, "f", "still here"));
	ok_unpublish(l, id, "t");
	lab_stop(l);
}

static void test_delete__of_a_published_volume_is_refused_with_its_holder(void **state)
{
	struct lab *l = *state;
	Csi__V1__DeleteVolumeRequest del = CSI__V1__DELETE_VOLUME_REQUEST__INIT;
	Csi__V1__ControllerUnpublishVolumeRequest detach = CSI__V1__CONTROLLER_UNPUBLISH_VOLUME_REQUEST__INIT;

	lab_start(l);
	del.volume_id = detach.volume_id = ok_volume(l, "db");
	char *dir = keepf(l, "%s/per-alloc", l->work);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(mkdir(keepf(l, "%s/3f2a77", dir), 0755), 0);
	ok_attach_and_stage(l, del.volume_id, "t", writer(l));
	Csi__V1__NodePublishVolumeRequest *in = publish_request(l, del.volume_id, "t", writer(l));
	in->target_path = keepf(l, "%s/3f2a77/db", dir);
	OK(l, node, "NodePublishVolume", *in);
	put_file(in->target_path, "f", "precious");
	OK(l, controller, "ControllerUnpublishVolume", detach);
	REFUSED(l, controller, "DeleteVolume", del, CLEAT_FAILED_PRECONDITION, "alloc 3f2a77");
	assert_true(has_file(in->target_path, "f", "precious"));
	ok_node_unpublish(l, del.volume_id, in->target_path);
	REFUSED(l, controller, "DeleteVolume", del, CLEAT_FAILED_PRECONDITION, "staged");
	ok_unpublish(l, del.volume_id, "t");
	OK(l, controller, "DeleteVolume", del);
	lab_stop(l);
}

static void test_stage__with_another_capability_is_another(void **state)
{
	struct lab *l = *state;
	Csi__V1__NodeStageVolumeRequest in = CSI__V1__NODE_STAGE_VOLUME_REQUEST__INIT;

	lab_start(l);
	in.volume_id = ok_volume(l, "db");
	ok_attach_and_stage(l, in.volume_id, "t", writer(l));
	in.staging_target_path = target_of(l, "t.stage");
	in.volume_capability = writer(l);
	OK(l, node, "NodeStageVolume", in);
	in.volume_capability = cap_mount(l, MODE(SINGLE_NODE_READER_ONLY), "", NULL);
	REFUSED(l, node, "NodeStageVolume", in, CLEAT_ALREADY_EXISTS, "t.stage");
	in.volume_capability = cap_block(l, MODE(SINGLE_NODE_WRITER));
	REFUSED(l, node, "NodeStageVolume", in, CLEAT_FAILED_PRECONDITION, "mount access");
	ok_unpublish(l, in.volume_id, "t");
	lab_stop(l);
}

/* ---- sizes and statistics ---- */

/* Writes until the volume is full; how many bytes went in. */
static uint64_t fill(const char *dir)
{
	static char block[1 << 20];
	uint64_t total = 0;
	char path[300];

	memset(block, 'x', sizeof(block));
	snprintf(path, sizeof(path), "%s/filler", dir);
	cleat_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	for (;;) {
		ssize_t n = write(fd, block, sizeof(block));

		if (n <= 0)
			break;
		total += (uint64_t)n;
	}
	assert_int_equal(errno, ENOSPC);
	return total;
}

static const Csi__V1__NodeGetVolumeStatsResponse *stats_of(struct lab *l, const char *id, const char *path)
{
	Csi__V1__NodeGetVolumeStatsRequest in = CSI__V1__NODE_GET_VOLUME_STATS_REQUEST__INIT;

	in.volume_id = keep(l, id);
	in.volume_path = keep(l, path);
	return OK(l, node, "NodeGetVolumeStats", in);
}

static void test_size__is_the_size_and_statistics_are_the_volumes(void **state)
{
	struct lab *l = *state;
	Csi__V1__NodeGetVolumeStatsRequest in = CSI__V1__NODE_GET_VOLUME_STATS_REQUEST__INIT;
	const Csi__V1__NodeGetVolumeStatsResponse *out;
	struct statvfs st;

	lab_start(l);
	in.volume_id = ok_volume(l, "db");
	char *target = ok_publish(l, in.volume_id, "t", writer(l));
	uint64_t size = df_total(target);
	assert_true(size <= XFS_BYTES && size >= XFS_BYTES * 7 / 10); /* XFS keeps its log for itself */
	uint64_t written = fill(target);
	assert_true(written <= XFS_BYTES && written >= XFS_BYTES * 6 / 10);
	assert_int_equal(statvfs(target, &st), 0);
	out = stats_of(l, in.volume_id, target);
	assert_int_equal(out->n_usage, 2);
	assert_int_equal(out->usage[0]->unit, CSI__V1__VOLUME_USAGE__UNIT__BYTES);
	assert_int_equal(out->usage[0]->total, size);
	assert_true(out->usage[0]->used >= (int64_t)written && out->usage[0]->used <= (int64_t)size);
	assert_true(out->usage[0]->available < (int64_t)MIB);
	assert_int_equal(out->usage[1]->unit, CSI__V1__VOLUME_USAGE__UNIT__INODES);
	assert_int_equal(out->usage[1]->total, st.f_files);
	stats_of(l, in.volume_id, keepf(l, "%s//", target));
	stats_of(l, in.volume_id, target_of(l, "t.stage"));
	in.volume_path = l->work;
	REFUSED(l, node, "NodeGetVolumeStats", in, CLEAT_NOT_FOUND, "is not at");
	in.volume_path = keep(l, "some/path");
	REFUSED(l, node, "NodeGetVolumeStats", in, CLEAT_NOT_FOUND, "is not at");
	in.volume_path = keepf(l, "%sx", target);
	REFUSED(l, node, "NodeGetVolumeStats", in, CLEAT_NOT_FOUND, "is not at");
	ok_unpublish(l, in.volume_id, "t");
	in.volume_path = target;
	REFUSED(l, node, "NodeGetVolumeStats", in, CLEAT_NOT_FOUND, "is not at");
	lab_stop(l);
}

static void test_expand__reaches_the_file_system_in_use(void **state)
{
	struct lab *l = *state;
	Csi__V1__ControllerExpandVolumeRequest grow = CSI__V1__CONTROLLER_EXPAND_VOLUME_REQUEST__INIT;
	Csi__V1__NodeExpandVolumeRequest node = CSI__V1__NODE_EXPAND_VOLUME_REQUEST__INIT;
	const uint64_t larger = XFS_BYTES + 128 * MIB;

	lab_start(l);
	grow.volume_id = node.volume_id = ok_volume(l, "db");
	char *target = ok_publish(l, grow.volume_id, "t", writer(l));
	put_file(target, "f", "text");
	uint64_t before = df_total(target);
	node.volume_path = target;
	node.capacity_range = range_of(l, larger, 0);
	REFUSED(l, node, "NodeExpandVolume", node, CLEAT_OUT_OF_RANGE, "ControllerExpandVolume");
	grow.capacity_range = range_of(l, larger, 0);
	const Csi__V1__ControllerExpandVolumeResponse *out =
		OK(l, controller, "ControllerExpandVolume", grow);
	assert_int_equal(out->capacity_bytes, larger);
	const Csi__V1__NodeExpandVolumeResponse *grown = OK(l, node, "NodeExpandVolume", node);
	assert_int_equal(grown->capacity_bytes, larger);
	OK(l, node, "NodeExpandVolume", node);
	assert_true(df_total(target) >= before + 120 * MIB);
	assert_true(has_file(target, "f", "text"));
	assert_int_equal(stats_of(l, grow.volume_id, target)->usage[0]->total, df_total(target));
	node.volume_path = keep(l, "elsewhere");
	REFUSED(l, node, "NodeExpandVolume", node, CLEAT_NOT_FOUND, "is not at");
	ok_unpublish(l, grow.volume_id, "t");
	/* While nobody has it: its file system follows when it is staged next. */
	grow.capacity_range = range_of(l, larger + 64 * MIB, 0);
	out = OK(l, controller, "ControllerExpandVolume", grow);
	assert_false(out->node_expansion_required);
	before = larger;
	target = ok_publish(l, grow.volume_id, "t", writer(l));
	assert_true(df_total(target) >= before);
	ok_unpublish(l, grow.volume_id, "t");
	lab_stop(l);
}

static bool controller_grows(struct lab *l)
{
	Csi__V1__ControllerGetCapabilitiesRequest ask = CSI__V1__CONTROLLER_GET_CAPABILITIES_REQUEST__INIT;
	const Csi__V1__ControllerGetCapabilitiesResponse *out =
		OK(l, controller, "ControllerGetCapabilities", ask);

	for (size_t i = 0; i < out->n_capabilities; i++)
		if (out->capabilities[i]->rpc->type ==
		    CSI__V1__CONTROLLER_SERVICE_CAPABILITY__RPC__TYPE__EXPAND_VOLUME)
			return true;
	return false;
}

static void test_expand__is_all_the_nodes_where_so_configured(void **state)
{
	struct lab *l = *state;
	Csi__V1__NodeExpandVolumeRequest node = CSI__V1__NODE_EXPAND_VOLUME_REQUEST__INIT;
	const Csi__V1__NodeExpandVolumeResponse *grown;
	const uint64_t larger = XFS_BYTES + 128 * MIB;

	lab_start(l);
	assert_true(controller_grows(l));
	lab_stop(l);
	l->csi = "  node_expand: true\n";
	lab_start(l);
	assert_false(controller_grows(l));
	node.volume_id = ok_volume(l, "db");
	char *target = ok_publish(l, node.volume_id, "t", writer(l));
	uint64_t before = df_total(target);
	node.volume_path = target;
	node.capacity_range = range_of(l, larger, 0);
	grown = OK(l, node, "NodeExpandVolume", node);
	assert_int_equal(grown->capacity_bytes, larger);
	assert_true(df_total(target) >= before + 120 * MIB);
	/* Less, or nothing, asks for no change. */
	node.capacity_range = range_of(l, XFS_BYTES, 0);
	grown = OK(l, node, "NodeExpandVolume", node);
	assert_int_equal(grown->capacity_bytes, larger);
	node.capacity_range = NULL;
	grown = OK(l, node, "NodeExpandVolume", node);
	assert_int_equal(grown->capacity_bytes, larger);
	ok_unpublish(l, node.volume_id, "t");
	lab_stop(l);
}

/* ---- block ---- */

/* kubelet asks for the statistics of a node that it has bound from the published one. */
static void check_stats_of_a_bound_node(struct lab *l, const char *id, const char *target)
{
	Csi__V1__NodeGetVolumeStatsRequest in = CSI__V1__NODE_GET_VOLUME_STATS_REQUEST__INIT;
	char *bound = target_of(l, "bound");
	cleat_autoclose int fd = open(bound, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	in.volume_id = keep(l, id);
	in.volume_path = bound;
	REFUSED(l, node, "NodeGetVolumeStats", in, CLEAT_NOT_FOUND, "is not at");
	assert_int_equal(mount(target, bound, NULL, MS_BIND, NULL), 0);
	const Csi__V1__NodeGetVolumeStatsResponse *out = OK(l, node, "NodeGetVolumeStats", in);
	assert_int_equal(out->usage[0]->total, SMALL_BYTES);
	assert_int_equal(umount2(bound, 0), 0);
	/* Another device is another volume's. */
	assert_int_equal(unlink(bound), 0);
	assert_int_equal(mknod(bound, S_IFBLK | 0600, makedev(LOOP_MAJOR, 1048575)), 0);
	REFUSED(l, node, "NodeGetVolumeStats", in, CLEAT_NOT_FOUND, "is not at");
	in.volume_path = keep(l, "some/path");
	REFUSED(l, node, "NodeGetVolumeStats", in, CLEAT_NOT_FOUND, "is not at");
}

static void test_block__is_a_device_of_that_size(void **state)
{
	struct lab *l = *state;
	Csi__V1__VolumeCapability *cap = cap_block(l, MODE(SINGLE_NODE_MULTI_WRITER));
	Csi__V1__ControllerExpandVolumeRequest grow = CSI__V1__CONTROLLER_EXPAND_VOLUME_REQUEST__INIT;
	uint64_t bytes = 0;
	char got[8] = "";

	lab_start(l);
	char *id = ok_block(l, "raw");
	char *target = ok_publish(l, id, "t", cap);
	cleat_autoclose int fd = open(target, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, BLKGETSIZE64, &bytes), 0);
	assert_int_equal(bytes, SMALL_BYTES);
	assert_int_equal(pwrite(fd, "pattern", 7, 4096), 7);
	assert_int_equal(fsync(fd), 0);
	const Csi__V1__NodeGetVolumeStatsResponse *out = stats_of(l, id, target);
	assert_int_equal(out->n_usage, 1);
	check_stats_of_a_bound_node(l, id, target);
	assert_int_equal(out->usage[0]->total, SMALL_BYTES);
	grow.volume_id = id;
	grow.capacity_range = range_of(l, 2 * SMALL_BYTES, 0);
	OK(l, controller, "ControllerExpandVolume", grow);
	assert_int_equal(ioctl(fd, BLKGETSIZE64, &bytes), 0);
	assert_int_equal(bytes, 2 * SMALL_BYTES);
	close(fd);
	fd = -1;
	ok_unpublish(l, id, "t");
	assert_int_equal(access(target, F_OK), -1);
	/* Read-only is read-only for the whole device. */
	ok_attach_and_stage(l, id, "r", cap);
	Csi__V1__NodePublishVolumeRequest *in = publish_request(l, id, "r", cap);
	in->readonly = true;
	OK(l, node, "NodePublishVolume", *in);
	cleat_autoclose int ro =
		open(in->target_path, O_RDWR | O_CLOEXEC); /* Linux lets a device be opened so */
	assert_true(ro >= 0);
	assert_int_equal(pwrite(ro, "other", 5, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(pread(ro, got, 7, 4096), 7);
	assert_string_equal(got, "pattern");
	close(ro);
	ro = -1;
	ok_unpublish(l, id, "r");
	/* And mount access to it is none. */
	in = publish_request(l, id, "m", writers(l));
	REFUSED(l, node, "NodePublishVolume", *in, CLEAT_FAILED_PRECONDITION, "block access");
	ok_delete(l, id);
	lab_stop(l);
}

/* ---- restarts ---- */

static void test_restart__leaves_volumes_in_use_alone(void **state)
{
	struct lab *l = *state;

	lab_start(l);
	char *id = ok_volume(l, "db"), *raw = ok_block(l, "raw");
	char *target = ok_publish(l, id, "t", writer(l));
	char *device = ok_publish(l, raw, "b", cap_block(l, MODE(SINGLE_NODE_WRITER)));
	put_file(target, "before", "1");
	lab_crash(l);
	put_file(target, "after", "2");
	assert_true(is_mounted(device));
	Csi__V1__NodePublishVolumeRequest *in = publish_request(l, id, "t", writer(l));
	OK(l, node, "NodePublishVolume", *in); /* the same again, as a CO that restarted would say it */
	Csi__V1__DeleteVolumeRequest del = CSI__V1__DELETE_VOLUME_REQUEST__INIT;
	del.volume_id = id;
	assert_int_equal(CODE(l, controller, "DeleteVolume", del), CLEAT_FAILED_PRECONDITION);
	lab_crash(l);
	assert_true(has_file(target, "before", "1"));
	assert_true(has_file(target, "after", "2"));
	stats_of(l, id, target);
	ok_unpublish(l, id, "t");
	ok_unpublish(l, raw, "b");
	assert_int_equal(access(target, F_OK), -1);
	assert_int_equal(access(device, F_OK), -1);
	assert_int_equal(mounts_below(l->work), 0);
	ok_delete(l, id);
	ok_delete(l, raw);
	lab_stop(l);
}

/* A reboot: nothing is mounted any more, and the node's own memory is gone with its tmpfs. */
static void test_restart__after_a_reboot_the_volume_is_staged_anew(void **state)
{
	struct lab *l = *state;

	lab_start(l);
	char *id = ok_volume(l, "db");
	char *target = ok_publish(l, id, "t", writer(l));
	put_file(target, "f", "kept");
	test_daemon_signal(&l->d, 9);
	test_daemon_wait(&l->d);
	assert_int_equal(umount2(target, UMOUNT_NOFOLLOW), 0);
	assert_int_equal(umount2(target_of(l, "t.stage"), UMOUNT_NOFOLLOW), 0);
	assert_int_equal(umount2(keepf(l, "%s/mnt/stage/%s", l->d.run, id), UMOUNT_NOFOLLOW), 0);
	assert_int_equal(umount2(keepf(l, "%s/mnt", l->d.run), UMOUNT_NOFOLLOW), 0);
	const char *const rm[] = { "rm", "-rf", "--one-file-system", l->d.run, NULL };
	assert_int_equal(run_program(rm), 0);
	lab_reconnect(l);
	target = ok_publish(l, id, "t", writer(l));
	assert_true(has_file(target, "f", "kept"));
	ok_unpublish(l, id, "t");
	lab_stop(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define LAB(test) cmocka_unit_test_setup_teardown(test, lab_setup, lab_teardown)
		LAB(test_publish__the_same_again_is_done_and_another_is_refused),
		LAB(test_publish__a_single_writer_is_at_one_target),
		LAB(test_publish__fields_are_looked_at_before_anything_else),
		LAB(test_publish__a_mount_that_is_not_the_volumes_is_neither_taken_nor_covered),
		LAB(test_unpublish__what_is_gone_is_done),
		LAB(test_flags__are_honoured_or_refused_and_never_logged),
		LAB(test_secrets__are_never_logged),
		LAB(test_read_only__is_read_only_there_and_only_there),
		LAB(test_stage__is_not_needed_where_so_configured),
		LAB(test_unstage__while_published_waits_for_the_last_one),
		LAB(test_delete__of_a_published_volume_is_refused_with_its_holder),
		LAB(test_stage__with_another_capability_is_another),
		LAB(test_size__is_the_size_and_statistics_are_the_volumes),
		LAB(test_expand__reaches_the_file_system_in_use),
		LAB(test_expand__is_all_the_nodes_where_so_configured),
		LAB(test_block__is_a_device_of_that_size),
		LAB(test_restart__leaves_volumes_in_use_alone),
		LAB(test_restart__after_a_reboot_the_volume_is_staged_anew),
	};

	return lab_run("csi_node_test", tests, CLEAT_COUNT(tests));
}
