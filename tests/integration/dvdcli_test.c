/* dvdcli_test.c - the command dvdcli against a real daemon, word for word as Mesos's isolator docker/volume
 * and mesos-module-dvdi start it: exit code, stdout and stderr byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon.h"
#include "run.h"

#include "util/clock.h"
#include "util/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define POOLS "pools: {default: {backend: dir}, ebs1: {backend: dir}, fast: {backend: dir}}\n"
#define MESOS(...)                                                                                           \
	(const char *const[])                                                                                \
	{                                                                                                    \
		DVDCLI_PATH, __VA_ARGS__, NULL                                                               \
	}

static struct test_daemon d;
static struct test_run r;
static char drivers[80];

static int setup(void **state)
{
	(void)state;
	test_daemon_init(&d);
	snprintf(drivers, sizeof(drivers), "%s/drivers.conf", d.dir);
	setenv("CLEAT_SOCKET", d.socket, 1);
	unsetenv("CLEAT_DRIVERS");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	test_run_done(&r);
	test_daemon_done(&d);
	return 0;
}

static void start(const char *config)
{
	test_daemon_config(&d, "%s", config);
	test_daemon_start(&d, NULL);
}

static void set_drivers(const char *text)
{
	FILE *f = fopen(drivers, "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	setenv("CLEAT_DRIVERS", drivers, 1);
}

/* ---- running ---- */

static void run(const char *const *argv)
{
	test_run_done(&r);
	test_run(&r, argv, NULL);
}

static void expect(int code, const char *out, const char *err)
{
	if (r.code != code || strcmp(r.out, out) != 0 || strcmp(r.err, err) != 0)
		fail_msg("exit code %d, not %d; said '%s', not '%s'; complained '%s', not '%s'", r.code, code,
			 r.out, out, r.err, err);
}

/* A failure: nothing on stdout, one line that contains the text on stderr. */
static void expect_failure(const char *text)
{
	const char *newline = strchr(r.err, '\n');

	if (r.code != 1 || *r.out || strncmp(r.err, "dvdcli: ", 8) != 0 || !strstr(r.err, text) || !newline ||
	    newline[1])
		fail_msg("exit code %d; said '%s'; complained '%s', not '%s'", r.code, r.out, r.err, text);
}

/* Whether something is there; the path ends in a line break, as the program printed it. */
static bool is_there(const char *line)
{
	char path[512];

	snprintf(path, sizeof(path), "%.*s", (int)strcspn(line, "\n"), line);
	return access(path, F_OK) == 0;
}

static Cleat__V1__Volume *look(const char *ref, Cleat__V1__GetVolumeResponse **out)
{
	Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char text[200];

	snprintf(text, sizeof(text), "%s", ref);
	in.volume = text;
	*out = NULL;
	if (test_daemon_call(&d, "GetVolume", &in.base, (ProtobufCMessage **)out, &err) == CLEAT_NOT_FOUND)
		return NULL;
	assert_int_equal(err.code, CLEAT_OK);
	return (*out)->volume;
}

static bool exists(const char *ref)
{
	cleat_autopb Cleat__V1__GetVolumeResponse *out = NULL;

	return look(ref, &out) != NULL;
}

static size_t claims_of(const char *ref)
{
	cleat_autopb Cleat__V1__GetVolumeResponse *out = NULL;
	Cleat__V1__Volume *v = look(ref, &out);

	assert_non_null(v);
	return v->claim_count;
}

/* The path that the daemon gives volume `ref`, with a line break. */
static const char *path_line(const char *ref)
{
	static char line[512];
	cleat_autopb Cleat__V1__GetVolumeResponse *out = NULL;
	Cleat__V1__Volume *v = look(ref, &out);

	assert_non_null(v);
	snprintf(line, sizeof(line), "%s/mnt/published/%s\n", d.run, v->id);
	return line;
}

/* ---- as Mesos starts it ---- */

static void test_mesos__many_mounts_and_one_unmount(void **state)
{
	(void)state;
	start(POOLS);
	run(MESOS("mount", "--volumedriver=rexray", "--volumename=vol1", "--volumeopts=size=1"));
	expect(0, path_line("default/vol1"), "");
	assert_true(is_there(r.out));
	/* The second container, whose options come in another order of the hash map. */
	run(MESOS("mount", "--volumedriver=rexray", "--volumename=vol1", "--volumeopts=overwritefs=true",
		  "--volumeopts=size=1"));
	expect(0, path_line("default/vol1"), "");
	assert_int_equal(claims_of("default/vol1"), 1);
	/* The last container has gone. */
	run(MESOS("unmount", "--volumedriver=rexray", "--volumename=vol1"));
	expect(0, "", "");
	assert_false(is_there(path_line("default/vol1")));
	assert_int_equal(claims_of("default/vol1"), 0);
	/* After an agent that was killed in between: the same again. */
	run(MESOS("unmount", "--volumedriver=rexray", "--volumename=vol1"));
	expect(0, "", "");
	test_daemon_stop(&d);
}

static void test_mesos__cleanup_of_what_never_was_succeeds(void **state)
{
	(void)state;
	start(POOLS);
	/* It writes its checkpoint before it mounts, so after a crash it unmounts what does not exist. */
	run(MESOS("unmount", "--volumedriver=fast", "--volumename=never"));
	expect(0, "", "");
	test_daemon_stop(&d);
}

static void test_mesos__a_failed_mount_is_one_line_for_the_task(void **state)
{
	(void)state;
	start(POOLS);
	run(MESOS("mount", "--volumedriver=fast", "--volumename=v", "--volumeopts=iops=100"));
	expect_failure("unknown parameter 'iops'");
	assert_false(exists("fast/v"));
	run(MESOS("mount", "--volumedriver=fast", "--volumename=a/b"));
	expect_failure("'a/b'");
	run(MESOS("mount", "--volumedriver=fast", "--volumename=two\nlines"));
	expect_failure("control character");
	run(MESOS("mount", "--volumedriver=fast", "--volumename=v", "--volumeopts=size=many"));
	expect_failure("option 'size'");
	run(MESOS("mount", "--volumedriver=fast", "--volumename=v", "--volumeopts=size=99999999999"));
	expect_failure("too large");
	test_daemon_stop(&d);
}

static void test_mesos__data_stays_and_an_existing_volume_is_adopted(void **state)
{
	cleat_autopb Cleat__V1__GetVolumeResponse *out = NULL;
	char path[512], file[600];

	(void)state;
	start(POOLS);
	test_daemon_create(&d, "ebs1", "old");
	run(MESOS("mount", "--volumedriver=ebs1", "--volumename=old", "--volumeopts=size=5",
		  "--volumeopts=iops=9"));
	expect(0, path_line("ebs1/old"), ""); /* options that a new one could not have do not matter */
	assert_int_equal(look("ebs1/old", &out)->capacity_bytes, 0); /* a plain directory has no size */
	snprintf(path, sizeof(path), "%.*s", (int)strcspn(r.out, "\n"), r.out);
	snprintf(file, sizeof(file), "%s/file", path);
	int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	run(MESOS("unmount", "--volumedriver=ebs1", "--volumename=old"));
	assert_int_equal(access(file, F_OK), -1);
	run(MESOS("mount", "--volumedriver=ebs1", "--volumename=old"));
	assert_int_equal(access(file, F_OK), 0);
	run(MESOS("unmount", "--volumedriver=ebs1", "--volumename=old"));
	test_daemon_stop(&d);
}

static void test_mesos__busy_is_waited_for_and_then_told(void **state)
{
	char path[512];
	struct test_run holder;

	(void)state;
	start(POOLS);
	run(MESOS("mount", "--volumedriver=fast", "--volumename=v"));
	snprintf(path, sizeof(path), "%.*s", (int)strcspn(r.out, "\n"), r.out);
	/* A process of a container that has no mount namespace, one second from its end. */
	char script[600];
	snprintf(script, sizeof(script), "cd '%s' && echo there && sleep 1", path);
	test_run_start(&holder, (const char *const[]){ "/bin/sh", "-c", script, NULL }, NULL);
	struct pollfd p = { .fd = holder.out_fd, .events = POLLIN };
	assert_int_equal(poll(&p, 1, TEST_WAIT_MS), 1);
	run(MESOS("unmount", "--volumedriver=fast", "--volumename=v"));
	expect(0, "", "");
	test_run_wait(&holder);
	test_run_done(&holder);
	/* One that stays. */
	run(MESOS("mount", "--volumedriver=fast", "--volumename=v"));
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	run(MESOS("unmount", "--volumedriver=fast", "--volumename=v", "--timeout=2"));
	expect_failure("busy");
	assert_int_equal(claims_of("fast/v"), 1);
	close(fd);
	run(MESOS("unmount", "--volumedriver=fast", "--volumename=v"));
	expect(0, "", "");
	test_daemon_stop(&d);
}

static void test_mesos__many_containers_at_once(void **state)
{
	struct test_run many[12];
	char size[40];

	(void)state;
	start(POOLS);
	for (size_t i = 0; i < CLEAT_COUNT(many); i++) {
		snprintf(size, sizeof(size), "--volumeopts=size=%zu", i / 4 + 1); /* and they do not agree */
		test_run_start(&many[i], MESOS("mount", "--volumedriver=fast", "--volumename=v", size), NULL);
	}
	for (size_t i = 0; i < CLEAT_COUNT(many); i++) {
		test_run_wait(&many[i]);
		assert_string_equal(many[i].err, "");
		assert_int_equal(many[i].code, 0);
		assert_string_equal(many[i].out, path_line("fast/v"));
		test_run_done(&many[i]);
	}
	assert_int_equal(claims_of("fast/v"), 1);
	run(MESOS("unmount", "--volumedriver=fast", "--volumename=v"));
	expect(0, "", "");
	test_daemon_stop(&d);
}

static void test_mesos__killed_at_its_limit_and_called_again(void **state)
{
	(void)state;
	d.fault = "create=delay:1500:1";
	start("pools: {default: {backend: dir, layer: fault}}\n");
	test_run_start(&r, MESOS("mount", "--volumedriver=x", "--volumename=v"), NULL);
	/* Not before the daemon works on it. */
	for (const int64_t until_ms = cleat_time_mono_ms() + TEST_WAIT_MS;;) {
		Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
		cleat_autopb Cleat__V1__GetInfoResponse *info = NULL;
		struct cleat_error err = CLEAT_ERROR_INIT;

		assert_int_equal(test_daemon_call(&d, "GetInfo", &in.base, (ProtobufCMessage **)&info, &err),
				 0);
		if (info->n_operations)
			break;
		assert_true(cleat_time_mono_ms() < until_ms);
		poll(NULL, 0, 10);
	}
	test_run_kill(&r);
	assert_int_equal(r.code, 1009);
	run(MESOS("mount", "--volumedriver=x", "--volumename=v"));
	expect(0, path_line("default/v"), "");
	run(MESOS("unmount", "--volumedriver=x", "--volumename=v"));
	expect(0, "", "");
	test_daemon_stop(&d);
}

static void test_mesos__a_daemon_that_restarts_is_waited_for(void **state)
{
	(void)state;
	start(POOLS);
	test_daemon_create(&d, "fast", "v");
	test_daemon_stop(&d);
	test_run_start(&r, MESOS("mount", "--volumedriver=fast", "--volumename=v"), NULL);
	test_daemon_start(&d, NULL);
	test_run_wait(&r);
	expect(0, path_line("fast/v"), "");
	test_daemon_stop(&d);
	test_daemon_start(&d, NULL); /* the mount outlives daemons */
	run(MESOS("path", "--volumedriver=fast", "--volumename=v"));
	expect(0, path_line("fast/v"), "");
	run(MESOS("unmount", "--volumedriver=fast", "--volumename=v"));
	expect(0, "", "");
	test_daemon_stop(&d);
	run(MESOS("mount", "--volumedriver=fast", "--volumename=v", "--timeout=1"));
	expect_failure(d.socket);
	assert_non_null(strstr(r.err, "is cleatd running?"));
}

/* ---- as mesos-module-dvdi starts it: through a shell, with a flag that dvdcli did not know ---- */

static void run_shell(const char *words)
{
	char line[1024];

	snprintf(line, sizeof(line), "%s %s", DVDCLI_PATH, words);
	run((const char *const[]){ "/bin/sh", "-c", line, NULL });
}

static void test_dvdi__mount_and_unmount(void **state)
{
	(void)state;
	start(POOLS);
	run_shell("mount --volumedriver=rexray --volumename=v1 --volumeopts=size=5 --volumeopts=iops=150 "
		  "--explicitCreate=true");
	expect_failure("default/v1 is not to be created");
	assert_false(exists("default/v1"));
	run_shell("mount --volumedriver=rexray --volumename=v1 --volumeopts=size=5 "
		  "--volumeopts=newfstype=ext4 --explicitCreate=false");
	expect_failure("fs"); /* of a pool of directories */
	run_shell("mount --volumedriver=rexray --volumename=v1 --volumeopts=size=5 "
		  "--volumeopts=overwritefs=false");
	expect(0, path_line("default/v1"), "");
	run_shell("mount --volumedriver=rexray --volumename=v1 --explicitCreate=true");
	expect(0, path_line("default/v1"), "");
	run_shell("unmount --volumedriver=rexray --volumename=v1");
	expect(0, "", "");
	test_daemon_stop(&d);
}

/* ---- by hand: every command, every spelling ---- */

static void test_commands__print_what_dvdcli_prints(void **state)
{
	(void)state;
	start(POOLS);
	run(MESOS("create", "--volumedriver=fast", "--volumename=b"));
	expect(0, "", "");
	run(MESOS("create", "--volumedriver=fast", "--volumename=b", "--volumeopts=size=3"));
	expect(0, "", "");
	run(MESOS("--volumedriver", "fast", "create", "--volumename", "a"));
	expect(0, "", "");
	run(MESOS("get", "--volumedriver=fast", "--volumename=a"));
	expect(0, "a\n", "");
	run(MESOS("get", "--volumedriver=fast", "--volumename=c"));
	expect_failure("'fast/c' does not exist");
	run(MESOS("path", "--volumedriver=fast", "--volumename=a"));
	expect(0, "", "");
	run(MESOS("path", "--volumedriver=fast", "--volumename=c"));
	expect_failure("'fast/c' does not exist");
	run(MESOS("mount", "--volumedriver=fast", "--volumename=a"));
	expect(0, path_line("fast/a"), "");
	run(MESOS("path", "--volumedriver=fast", "--volumename=a"));
	expect(0, path_line("fast/a"), "");
	run(MESOS("remove", "--volumedriver=fast", "--volumename=a"));
	expect_failure("in use");
	run(MESOS("unmount", "--volumedriver=fast", "--volumename=a"));
	run(MESOS("list", "--volumedriver=fast"));
	assert_true(strcmp(r.out, "a\nb\n") == 0 || strcmp(r.out, "b\na\n") == 0);
	expect(0, r.out, "");
	run(MESOS("list", "--volumedriver=ebs1"));
	expect(0, "", "");
	run(MESOS("remove", "--volumedriver=fast", "--volumename=a"));
	expect(0, "", "");
	run(MESOS("remove", "--volumedriver=fast", "--volumename=a")); /* gone is done */
	expect(0, "", "");
	assert_false(exists("fast/a"));
	test_daemon_stop(&d);
}

static void test_commands__flags_in_every_spelling(void **state)
{
	static const char *const spellings[] = { "--explicitcreate", "--explicitCreate",
						 "--explicitcreate=true", "--explicitCreate=1",
						 "--explicitCreate=T" };
	static const char *const off[] = { "--explicitcreate=false", "--explicitCreate=0",
					   "--explicitCreate=F" };

	(void)state;
	start(POOLS);
	for (size_t i = 0; i < CLEAT_COUNT(spellings); i++) {
		run(MESOS("mount", "--volumeDriver=fast", "--volumeName=v", spellings[i]));
		expect_failure("fast/v is not to be created");
	}
	for (size_t i = 0; i < CLEAT_COUNT(off); i++) {
		run(MESOS(off[i], "--volumeName=v", "--volumeOpts=uid=12,gid=13", "--volumeOpts", "mode=0700",
			  "mount", "--volumeDriver=fast"));
		expect(0, path_line("fast/v"), "");
	}
	cleat_autofree char *path = strndup(r.out, strcspn(r.out, "\n"));
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 12);
	assert_int_equal(st.st_gid, 13);
	assert_int_equal(st.st_mode & 07777, 0700);
	run(MESOS("unmount", "--volumedriver=fast", "--volumename=v"));
	test_daemon_stop(&d);
}

static void test_commands__what_is_wrong_is_said(void **state)
{
	(void)state;
	run(MESOS("mount", "--volumename=v"));
	expect(1, "", "dvdcli: mount 'v': --volumedriver is missing\n");
	run(MESOS("mount", "--volumedriver=fast"));
	expect(1, "", "dvdcli: mount: --volumename is missing\n");
	run(MESOS("mount", "--volumedriver=fast", "--volumename="));
	expect_failure("--volumename is missing");
	run(MESOS("mount", "--volumedriver"));
	expect(1, "", "dvdcli: mount: flag '--volumedriver' needs a value\n");
	run(MESOS("attach"));
	expect(1, "", "dvdcli: unknown command 'attach': see dvdcli --help\n");
	run(MESOS("mount", "unmount"));
	expect_failure("one command at a time");
	run(MESOS("mount", "--volume=x"));
	expect_failure("unknown flag '--volume'");
	run(MESOS("mount", "--volumeopts=size"));
	expect_failure("'size' is not KEY=VALUE");
	run(MESOS("mount", "--explicitcreate=maybe"));
	expect_failure("neither true nor false");
	run(MESOS("mount", "--timeout=0"));
	expect_failure("--timeout");
	run(MESOS("mount", "--volumedriver=fast", "--volumename=v", "--config=/nonexistent/file"));
	expect_failure("/nonexistent/file");
	run(MESOS("mount", "--volumedriver=fast", "--volumename=v", "--socket=relative"));
	expect_failure("'relative'");
}

static void test_commands__help_and_version_need_no_daemon(void **state)
{
	(void)state;
	run(MESOS("version"));
	assert_int_equal(r.code, 0);
	assert_string_equal(r.err, "");
	assert_non_null(strstr(r.out, "\nSemVer: " CLEAT_VERSION "\n"));
	assert_int_equal(strncmp(r.out, "Binary: " DVDCLI_PATH "\n", strlen("Binary: " DVDCLI_PATH "\n")), 0);
	run(MESOS("--version"));
	expect(0, "dvdcli " CLEAT_VERSION "\n", "");
	run(MESOS("mount", "--help"));
	assert_int_equal(strncmp(r.out, "Usage: dvdcli", 13), 0);
	expect(0, r.out, "");
	run((const char *const[]){ DVDCLI_PATH, NULL });
	assert_int_equal(strncmp(r.out, "Usage: dvdcli", 13), 0);
	expect(0, r.out, "");
}

/* ---- the table ---- */

static void test_drivers__pool_by_entry_by_name_or_the_default_one(void **state)
{
	(void)state;
	start(POOLS);
	set_drivers("drivers: {rexray: {pool: ebs1}}\n");
	run(MESOS("create", "--volumedriver=rexray", "--volumename=a"));
	expect(0, "", "");
	assert_true(exists("ebs1/a"));
	run(MESOS("create", "--volumedriver=fast", "--volumename=b"));
	assert_true(exists("fast/b"));
	run(MESOS("create", "--volumedriver=convoy", "--volumename=c"));
	assert_true(exists("default/c"));
	run(MESOS("list", "--volumedriver=rexray"));
	expect(0, "a\n", "");
	set_drivers("drivers: {rexray: {pool: gone}}\n");
	run(MESOS("create", "--volumedriver=rexray", "--volumename=a"));
	expect_failure("'gone'");
	test_daemon_stop(&d);
}

static void test_drivers__options_sizes_and_defaults(void **state)
{
	cleat_autopb Cleat__V1__GetVolumeResponse *out = NULL;
	Cleat__V1__Volume *v;

	(void)state;
	if (access("/dev/loop-control", W_OK) != 0) {
		print_message("no loop devices: skipped\n");
		skip();
	}
	start("pools: {default: {backend: dir}, ebs1: {backend: loop}}\n");
	set_drivers("drivers:\n"
		    "  rexray:\n"
		    "    pool: ebs1\n"
		    "    options: {IOPS: '', VolumeType: fs, wide: mode}\n"
		    "    params: {uid: 77, mode: '0750'}\n"
		    "    size: 64MiB\n"
		    "    size_unit: MiB\n");
	run(MESOS("mount", "--volumedriver=rexray", "--volumename=a", "--volumeopts=iops=150",
		  "--volumeopts=volumetype=ext4", "--volumeopts=size=32", "--volumeopts=overwriteFs=true",
		  "--volumeopts=wide=0711"));
	expect(0, path_line("ebs1/a"), "");
	cleat_autofree char *path = strndup(r.out, strcspn(r.out, "\n"));
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 77);
	assert_int_equal(st.st_mode & 07777, 0711);
	v = look("ebs1/a", &out);
	assert_int_equal(v->capacity_bytes, 32 << 20);
	assert_string_equal(v->fs, "ext4");
	run(MESOS("unmount", "--volumedriver=rexray", "--volumename=a"));
	expect(0, "", "");
	cleat_pb_free(&out->base);
	run(MESOS("create", "--volumedriver=rexray", "--volumename=b"));
	expect(0, "", "");
	v = look("ebs1/b", &out);
	assert_int_equal(v->capacity_bytes, 64 << 20);
	cleat_pb_free(&out->base);
	/* A copy of a volume, in the driver's words; and a size with its own unit. */
	run(MESOS("create", "--volumedriver=rexray", "--volumename=c", "--volumeopts=volumeName=a",
		  "--volumeopts=size=96MiB", "--volumeopts=mode=0711", "--volumeopts=volumetype=ext4"));
	expect(0, "", "");
	v = look("ebs1/c", &out);
	assert_int_equal(v->capacity_bytes, 96 << 20);
	assert_string_not_equal(v->source, "");
	for (const char *const *name = (const char *const[]){ "a", "b", "c", NULL }; *name; name++) {
		char flag[40];

		snprintf(flag, sizeof(flag), "--volumename=%s", *name);
		run(MESOS("remove", "--volumedriver=rexray", flag));
		expect(0, "", "");
	}
	test_daemon_stop(&d);
}

static void test_drivers__an_entry_may_forbid_to_create(void **state)
{
	(void)state;
	start(POOLS);
	set_drivers("drivers: {rexray: {pool: ebs1, create: false}}\n");
	run(MESOS("mount", "--volumedriver=rexray", "--volumename=v"));
	expect_failure("ebs1/v is not to be created");
	run(MESOS("create", "--volumedriver=rexray", "--volumename=v")); /* by hand it may be */
	expect(0, "", "");
	run(MESOS("mount", "--volumedriver=rexray", "--volumename=v"));
	expect(0, path_line("ebs1/v"), "");
	run(MESOS("unmount", "--volumedriver=rexray", "--volumename=v"));
	test_daemon_stop(&d);
}

static void test_drivers__a_wrong_table_is_named_with_its_line(void **state)
{
	(void)state;
	set_drivers("drivers:\n  rexray:\n    pools: ebs1\n");
	run(MESOS("mount", "--volumedriver=rexray", "--volumename=v"));
	expect_failure("drivers.conf:3: 'pools' is unknown");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mesos__many_mounts_and_one_unmount),
		TEST(test_mesos__cleanup_of_what_never_was_succeeds),
		TEST(test_mesos__a_failed_mount_is_one_line_for_the_task),
		TEST(test_mesos__data_stays_and_an_existing_volume_is_adopted),
		TEST(test_mesos__busy_is_waited_for_and_then_told),
		TEST(test_mesos__many_containers_at_once),
		TEST(test_mesos__killed_at_its_limit_and_called_again),
		TEST(test_mesos__a_daemon_that_restarts_is_waited_for),
		TEST(test_dvdi__mount_and_unmount),
		TEST(test_commands__print_what_dvdcli_prints),
		TEST(test_commands__flags_in_every_spelling),
		TEST(test_commands__what_is_wrong_is_said),
		TEST(test_commands__help_and_version_need_no_daemon),
		TEST(test_drivers__pool_by_entry_by_name_or_the_default_one),
		TEST(test_drivers__options_sizes_and_defaults),
		TEST(test_drivers__an_entry_may_forbid_to_create),
		TEST(test_drivers__a_wrong_table_is_named_with_its_line),
	};

	if (geteuid() != 0) {
		print_message("must be root to mount: skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
