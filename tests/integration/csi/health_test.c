/* health_test.c - that the health calls tell the truth: of volumes, of pools, and of those that are well. */
#include "lab.h"

#include "util/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STATUS(name) CSI__V1__VOLUME_HEALTH_ERROR_TYPE__##name

static const Csi__V1__VolumeHealth *health_of(struct lab *l, const char *id)
{
	Csi__V1__ControllerGetVolumeHealthRequest in = CSI__V1__CONTROLLER_GET_VOLUME_HEALTH_REQUEST__INIT;
	Csi__V1__NodeGetVolumeHealthRequest node = CSI__V1__NODE_GET_VOLUME_HEALTH_REQUEST__INIT;

	in.volume_id = node.volume_id = keep(l, id);
	const Csi__V1__ControllerGetVolumeHealthResponse *out =
		OK(l, controller, "ControllerGetVolumeHealth", in);
	const Csi__V1__NodeGetVolumeHealthResponse *same = OK(l, node, "NodeGetVolumeHealth", node);
	assert_string_equal(out->volume_health->volume_id, id);
	assert_int_equal(out->volume_health->n_health_statuses, same->volume_health->n_health_statuses);
	return out->volume_health;
}

static void assert_well(struct lab *l, const char *id)
{
	const Csi__V1__VolumeHealth *h = health_of(l, id);

	if (h->n_health_statuses)
		fail_msg("'%s' should be well: %s: %s", id, h->health_statuses[0]->reason,
			 h->health_statuses[0]->message);
}

static void assert_ill(struct lab *l, const char *id, Csi__V1__VolumeHealthErrorType status,
		       const char *reason, const char *words)
{
	const Csi__V1__VolumeHealth *h = health_of(l, id);

	for (size_t i = 0; i < h->n_health_statuses; i++) {
		if (strcmp(h->health_statuses[i]->reason, reason) != 0)
			continue;
		assert_int_equal(h->health_statuses[i]->status, status);
		if (!strstr(h->health_statuses[i]->message, words))
			fail_msg("'%s' has no '%s'", h->health_statuses[i]->message, words);
		return;
	}
	fail_msg("'%s' has %zu statuses, none with the reason %s", id, h->n_health_statuses, reason);
}

/* Ids of all that are ill, in pages of `page`, separated by blanks. */
static char *all_ill(struct lab *l, int32_t page)
{
	Csi__V1__ControllerListVolumeHealthRequest in = CSI__V1__CONTROLLER_LIST_VOLUME_HEALTH_REQUEST__INIT;
	const Csi__V1__ControllerListVolumeHealthResponse *out;
	char *all = keep(l, "");

	in.max_entries = page;
	do {
		out = OK(l, controller, "ControllerListVolumeHealth", in);
		assert_true(page == 0 || out->n_entries <= (size_t)page);
		for (size_t i = 0; i < out->n_entries; i++)
			all = keepf(l, "%s%s ", all, out->entries[i]->volume_id);
		in.starting_token = out->next_token;
	} while (out->next_token[0]);
	return all;
}

static const Csi__V1__NodeGetStorageHealthResponse *storage(struct lab *l)
{
	Csi__V1__NodeGetStorageHealthRequest in = CSI__V1__NODE_GET_STORAGE_HEALTH_REQUEST__INIT;

	return OK(l, node, "NodeGetStorageHealth", in);
}

static void test_health__a_missing_image_is_data_loss(void **state)
{
	struct lab *l = *state;
	Csi__V1__ControllerGetVolumeHealthRequest in = CSI__V1__CONTROLLER_GET_VOLUME_HEALTH_REQUEST__INIT;

	lab_start(l);
	char *ids[5];
	for (size_t i = 0; i < CLEAT_COUNT(ids); i++)
		ids[i] = ok_volume(l, keepf(l, "v%zu", i));
	assert_well(l, ids[0]);
	assert_string_equal(all_ill(l, 0), "");
	char *image = keepf(l, "%s/volumes/%s/image", l->base, strchr(ids[2], '.') + 1);
	char *away = keepf(l, "%s.away", image);
	assert_int_equal(rename(image, away), 0);
	assert_ill(l, ids[2], STATUS(DATA_LOSS), "DataDamaged", "image");
	assert_well(l, ids[3]);
	char *ill = keepf(l, "%s ", ids[2]);
	assert_string_equal(all_ill(l, 0), ill);
	assert_string_equal(all_ill(l, 1), ill);
	assert_string_equal(all_ill(l, 2), ill);
	/* Cut short is damage as well. */
	assert_int_equal(rename(away, image), 0);
	assert_well(l, ids[2]);
	assert_int_equal(truncate(image, XFS_BYTES / 2), 0);
	assert_ill(l, ids[2], STATUS(DATA_LOSS), "DataDamaged", "bytes");
	in.volume_id = keep(l, "no-such-volume");
	REFUSED(l, controller, "ControllerGetVolumeHealth", in, CLEAT_NOT_FOUND, "does not exist");
	ok_delete(l, ids[2]);
	assert_string_equal(all_ill(l, 0), "");
	lab_stop(l);
}

static void test_health__a_lost_mount_is_inaccessible(void **state)
{
	struct lab *l = *state;

	lab_start(l);
	char *id = ok_volume(l, "db");
	char *target = ok_publish(l, id, "t", cap_mount(l, MODE(SINGLE_NODE_WRITER), "", NULL));
	char *stage = keepf(l, "%s/mnt/stage/%s", l->d.run, id);
	assert_well(l, id);
	assert_int_equal(umount2(target, UMOUNT_NOFOLLOW), 0);
	assert_int_equal(umount2(target_of(l, "t.stage"), UMOUNT_NOFOLLOW), 0);
	assert_int_equal(umount2(stage, UMOUNT_NOFOLLOW), 0);
	assert_ill(l, id, STATUS(INACCESSIBLE), "MountLost", stage);
	assert_string_equal(all_ill(l, 0), keepf(l, "%s ", id));
	ok_unpublish(l, id, "t");
	assert_well(l, id);
	ok_delete(l, id);
	lab_stop(l);
}

static void test_health__a_file_system_that_stopped_writing_is_degraded(void **state)
{
	struct lab *l = *state;

	lab_start(l);
	char *id = ok_volume(l, "db");
	ok_publish(l, id, "t", cap_mount(l, MODE(SINGLE_NODE_WRITER), "", NULL));
	char *stage = keepf(l, "%s/mnt/stage/%s", l->d.run, id);
	/* As the kernel does it after an error: the super block, not the mount. */
	assert_int_equal(mount(NULL, stage, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_ill(l, id, STATUS(DEGRADED), "FileSystemReadOnly", "read-only");
	assert_int_equal(mount(NULL, stage, NULL, MS_REMOUNT, NULL), 0);
	assert_well(l, id);
	ok_unpublish(l, id, "t");
	lab_stop(l);
}

/* Takes all but about two percent of the file system. */
static void take_space(const char *dir, const char *file)
{
	struct statvfs st;

	assert_int_equal(statvfs(dir, &st), 0);
	cleat_autoclose int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0,
					 (off_t)((uint64_t)st.f_bavail * st.f_frsize -
						 (uint64_t)st.f_blocks * st.f_frsize / 50)),
			 0);
}

static void test_health__a_full_pool_is_told_of_those_that_may_need_more(void **state)
{
	struct lab *l = *state;
	Csi__V1__CreateVolumeRequest *in = create_request(l, "thick");
	Csi__V1__GetCapacityRequest ask = CSI__V1__GET_CAPACITY_REQUEST__INIT;

	lab_start(l);
	char *thin = ok_volume(l, "thin");
	PARAMS(l, in, "fs", "xfs", "thick", "true");
	char *thick = keep(l, ok_create(l, in)->volume_id);
	assert_int_equal(storage(l)->n_backend_health, 0);
	char *hog = keepf(l, "%s/hog", l->base);
	take_space(l->base, hog);
	OK(l, controller, "GetCapacity", ask); /* looks at the space anew */
	assert_ill(l, thin, STATUS(DEGRADED), "PoolLow", "default");
	assert_well(l, thick);
	const Csi__V1__NodeGetStorageHealthResponse *out = storage(l);
	assert_int_equal(out->n_backend_health, 1);
	assert_int_equal(out->backend_health[0]->status,
			 CSI__V1__STORAGE_HEALTH_ERROR_TYPE__STORAGE_DEGRADED);
	assert_string_equal(out->backend_health[0]->reason, "PoolLow");
	assert_non_null(strstr(out->backend_health[0]->message, "default"));
	assert_int_equal(unlink(hog), 0);
	/* XFS gives back the blocks of a deleted file in the background. */
	for (int64_t until_ms = cleat_time_mono_ms() + TEST_WAIT_MS; health_of(l, thin)->n_health_statuses;) {
		assert_true(cleat_time_mono_ms() < until_ms);
		OK(l, controller, "GetCapacity", ask);
	}
	assert_int_equal(storage(l)->n_backend_health, 0);
	lab_stop(l);
}

static void test_health__a_pool_that_is_away_is_told_and_nothing_waits_for_it(void **state)
{
	struct lab *l = *state;
	Csi__V1__ProbeRequest probe = CSI__V1__PROBE_REQUEST__INIT;
	Csi__V1__GetCapacityRequest ask = CSI__V1__GET_CAPACITY_REQUEST__INIT;
	Csi__V1__DeleteVolumeRequest del = CSI__V1__DELETE_VOLUME_REQUEST__INIT;

	lab_start(l);
	del.volume_id = ok_volume(l, "db");
	assert_int_equal(umount2(l->base, MNT_DETACH), 0);
	/* The next look at the pool, which the first of these makes, finds it gone. */
	while (storage(l)->n_backend_health == 0)
		(void)CODE(l, controller, "GetCapacity", ask);
	const Csi__V1__NodeGetStorageHealthResponse *out = storage(l);
	assert_int_equal(out->backend_health[0]->status,
			 CSI__V1__STORAGE_HEALTH_ERROR_TYPE__STORAGE_UNREACHABLE);
	assert_string_equal(out->backend_health[0]->reason, "PoolOffline");
	assert_ill(l, del.volume_id, STATUS(INACCESSIBLE), "PoolOffline", "default");
	REFUSED(l, controller, "DeleteVolume", del, CLEAT_UNAVAILABLE, "offline"); /* and not "gone" */
	const Csi__V1__GetCapacityResponse *room = OK(l, controller, "GetCapacity", ask);
	assert_int_equal(room->available_capacity, 0);
	const Csi__V1__ProbeResponse *ready = OK(l, identity, "Probe", probe);
	assert_true(ready->ready->value); /* what is published must be released all the same */
	test_daemon_stop(&l->d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define LAB(test) cmocka_unit_test_setup_teardown(test, lab_setup, lab_teardown)
		LAB(test_health__a_missing_image_is_data_loss),
		LAB(test_health__a_lost_mount_is_inaccessible),
		LAB(test_health__a_file_system_that_stopped_writing_is_degraded),
		LAB(test_health__a_full_pool_is_told_of_those_that_may_need_more),
		LAB(test_health__a_pool_that_is_away_is_told_and_nothing_waits_for_it),
	};

	return lab_run("csi_health_test", tests, CLEAT_COUNT(tests));
}
