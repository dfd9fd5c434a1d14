/* mesos_helper_test.c - cleat-mesos against a real daemon, started as the isolator module starts it: every
 * verb of the contract in mesos/module/helper.h, repeated, at once, out of time, and killed at the worst
 * moment. */
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
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define POOLS "pools: {default: {backend: dir}, ebs1: {backend: dir}, fast: {backend: dir}}\n"
#define FAULTY "pools: {default: {backend: dir, layer: fault}, fast: {backend: dir}}\n"
#define MAX_WORDS 80

static struct test_daemon d;
static struct test_run r;
static char root[80], drivers[80];
static json_t *answer; /* of the last run */

static int setup(void **state)
{
	(void)state;
	test_daemon_init(&d);
	snprintf(root, sizeof(root), "%s/root", d.dir);
	snprintf(drivers, sizeof(drivers), "%s/drivers.conf", d.dir);
	FILE *f = fopen(drivers, "we");
	assert_non_null(f);
	fprintf(f,
		"drivers:\n"
		"  rexray: {pool: ebs1, options: {volumetype: mode}, params: {uid: 77}, host_path: "
		"'%s/rexray/%%n/data'}\n"
		"  strict: {pool: fast, create: false}\n"
		"  cleat:  {host_path: '%s/host/%%p/%%n'}\n",
		d.dir, d.dir);
	assert_int_equal(fclose(f), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	test_run_done(&r);
	json_decref(answer);
	answer = NULL;
	test_daemon_done(&d);
	return 0;
}

static void start(const char *config)
{
	test_daemon_config(&d, "%s", config);
	test_daemon_start(&d, NULL);
}

/* ---- running ---- */

/* As the module does it: its own environment, and the options before the verb. */
static void begin(struct test_run *run, const char *timeout, const char *const *words)
{
	static const char *const env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL
	};
	const char *argv[MAX_WORDS] = { HELPER_PATH, "--socket", d.socket,    "--config", drivers,
					"--root",    root,	 "--timeout", timeout };
	size_t n = 9;

	while (*words && n < MAX_WORDS - 1)
		argv[n++] = *words++;
	assert_null(*words);
	argv[n] = NULL;
	test_run_start(run, argv, env);
}

/* One line, one object, no nesting: what the module's reader takes. */
static json_t *parse(const struct test_run *run)
{
	const char *newline = strchr(run->out, '\n'), *key;
	json_error_t where;
	json_t *json, *value, *one;
	size_t i;

	if (!newline || newline[1])
		fail_msg("not one line: '%s', '%s'", run->out, run->err);
	json = json_loads(run->out, JSON_REJECT_DUPLICATES, &where);
	assert_non_null(json);
	json_object_foreach(json, key, value)
	{
		json_array_foreach(value, i, one)
		{
			assert_true(json_is_string(one));
		}
		assert_false(json_is_object(value));
	}
	return json;
}

static void run_for(const char *timeout, const char *const *words)
{
	test_run_done(&r);
	begin(&r, timeout, words);
	test_run_wait(&r);
	json_decref(answer);
	answer = parse(&r);
}

static void expect_ok(void)
{
	if (r.code != 0 || !json_is_true(json_object_get(answer, "ok")))
		fail_msg("exit code %d: %s%s", r.code, r.out, r.err);
}

static void expect_error(int exit_code, const char *code, const char *text, bool retry)
{
	const char *c = json_string_value(json_object_get(answer, "code"));
	const char *e = json_string_value(json_object_get(answer, "error"));

	if (r.code != exit_code || !json_is_false(json_object_get(answer, "ok")) || !c ||
	    strcmp(c, code) != 0 || !e || !strstr(e, text) ||
	    json_is_true(json_object_get(answer, "retry")) != retry)
		fail_msg("exit code %d, wanted %s '%s': %s%s", r.code, code, text, r.out, r.err);
}

#define RUN(...) run_for("60", (const char *const[]){ __VA_ARGS__, NULL })
#define RUN_OK(...)                                                                                          \
	do {                                                                                                 \
		RUN(__VA_ARGS__);                                                                            \
		expect_ok();                                                                                 \
	} while (0)

static const char *item(const char *list, size_t i)
{
	const char *text = json_string_value(json_array_get(json_object_get(answer, list), i));

	return text ? text : "(none)";
}

static size_t count(const char *list)
{
	assert_true(json_is_array(json_object_get(answer, list)));
	return json_array_size(json_object_get(answer, list));
}

static bool has(const char *list, const char *text)
{
	for (size_t i = 0; i < count(list); i++)
		if (strcmp(item(list, i), text) == 0)
			return true;
	return false;
}

/* ---- looking ---- */

static const char *path_of(const char *key, unsigned n)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s/%s/%u", root, key, n);
	return path;
}

static void write_file(const char *dir, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		fail_msg("cannot write '%s'", path);
	close(fd);
}

static bool has_file(const char *dir, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* How many claims the daemon has, staging paths left out. */
static size_t claims(void)
{
	Cleat__V1__ListClaimsRequest in = CLEAT__V1__LIST_CLAIMS_REQUEST__INIT;
	cleat_autopb Cleat__V1__ListClaimsResponse *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (test_daemon_call(&d, "ListClaims", &in.base, (ProtobufCMessage **)&out, &err))
		fail_msg("%s", err.msg);
	return out->n_claims;
}

static bool volume_exists(const char *ref)
{
	Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char text[200];

	snprintf(text, sizeof(text), "%s", ref);
	in.volume = text;
	return test_daemon_call(&d, "GetVolume", &in.base, NULL, &err) == CLEAT_OK;
}

static size_t mounts_below(const char *dir)
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char line[4096], target[2048];
	size_t n = 0;

	assert_non_null(table);
	while (fgets(line, sizeof(line), table))
		n += sscanf(line, "%*s %*s %*s %*s %2047s", target) == 1 &&
		     strncmp(target, dir, strlen(dir)) == 0 && target[strlen(dir)] == '/';
	fclose(table);
	return n;
}

static void expect_nothing_left(const char *key)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", root, key);
	if (exists(path))
		fail_msg("'%s' is left", path);
	assert_int_equal(mounts_below(path), 0);
}

/* ---- one container ---- */

static void test_publish__all_volumes_in_order_and_released(void **state)
{
	struct statvfs fs;

	(void)state;
	start(POOLS);
	RUN_OK("publish", "c1", "--owner", "mesos container c1", "--volume", "a", "--volume", "b", "--pool",
	       "fast", "--mode", "ro");
	assert_int_equal(count("paths"), 2);
	assert_string_equal(item("paths", 0), path_of("c1", 0));
	assert_string_equal(item("paths", 1), path_of("c1", 1));
	assert_string_equal(item("hosts", 0), "");
	assert_string_equal(item("hosts", 1), "");
	assert_true(volume_exists("default/a"));
	assert_true(volume_exists("fast/b"));
	write_file(path_of("c1", 0), "file");
	assert_int_equal(statvfs(path_of("c1", 1), &fs), 0);
	assert_true(fs.f_flag & ST_RDONLY);
	assert_int_equal(claims(), 2);
	/* Again, as after an answer that was lost. */
	RUN_OK("publish", "c1", "--owner", "mesos container c1", "--volume", "a", "--volume", "b", "--pool",
	       "fast", "--mode", "ro");
	assert_int_equal(claims(), 2);
	RUN_OK("release", "c1");
	assert_int_equal(count("released"), 2);
	assert_int_equal(claims(), 0);
	expect_nothing_left("c1");
	RUN_OK("release", "c1");
	assert_int_equal(count("released"), 0);
	/* The data stays. */
	RUN_OK("publish", "c2", "--owner", "x", "--volume", "a");
	assert_true(has_file(path_of("c2", 0), "file"));
	RUN_OK("release", "c2");
	test_daemon_stop(&d);
}

static void test_publish__one_that_fails_takes_all_back(void **state)
{
	(void)state;
	start(POOLS);
	test_daemon_create(&d, "", "held");
	RUN_OK("publish", "first", "--owner", "the first one", "--volume", "held", "--mode",
	       "single-node-single-writer");
	/* One that cannot be found: nothing was published yet. */
	RUN("publish", "c", "--owner", "x", "--volume", "a", "--volume", "absent", "--no-create");
	expect_error(1, "NOT_FOUND", "volume 'absent': ", false);
	expect_nothing_left("c");
	/* One that somebody else has: the one before it is taken back. */
	RUN("publish", "c", "--owner", "x", "--volume", "a", "--volume", "held", "--volume", "b");
	expect_error(1, "FAILED_PRECONDITION", "volume 'held': ", false);
	assert_non_null(strstr(r.out, "the first one"));
	expect_nothing_left("c");
	assert_int_equal(claims(), 1);
	/* A volume that it had from an earlier call stays. */
	RUN_OK("publish", "c", "--owner", "x", "--volume", "a");
	RUN("publish", "c", "--owner", "x", "--volume", "a", "--volume", "held");
	expect_error(1, "FAILED_PRECONDITION", "volume 'held': ", false);
	assert_int_equal(claims(), 2);
	RUN_OK("release", "c");
	assert_int_equal(count("released"), 2); /* the one that was intended as well */
	expect_nothing_left("c");
	RUN_OK("release", "first");
	test_daemon_stop(&d);
}

static void test_publish__a_volume_in_several_containers(void **state)
{
	(void)state;
	start(POOLS);
	RUN_OK("publish", "parent", "--owner", "x", "--volume", "a");
	RUN_OK("publish", "parent.child", "--owner", "x", "--volume", "a", "--mode", "ro");
	RUN_OK("publish", "other%2Fone", "--owner", "x", "--volume", "a");
	assert_int_equal(claims(), 3);
	write_file(path_of("parent", 0), "file");
	assert_true(has_file(path_of("parent.child", 0), "file"));
	RUN_OK("release", "parent"); /* not what only begins like it */
	assert_int_equal(claims(), 2);
	assert_true(has_file(path_of("other%2Fone", 0), "file"));
	RUN_OK("release", "parent.child");
	RUN_OK("release", "other%2Fone");
	assert_int_equal(claims(), 0);
	test_daemon_stop(&d);
}

static void test_publish__drivers_options_owner_and_required_directory(void **state)
{
	struct stat st;

	(void)state;
	start(POOLS);
	RUN_OK("publish", "c", "--owner", "x", "--volume", "a", "--driver", "rexray", "--opt",
	       "volumetype=0711", "--opt", "overwritefs=true", "--volume", "b", "--driver", "fast",
	       "--volume", "c", "--driver", "convoy", "--user", "daemon", "--volume", "d", "--pool", "fast",
	       "--opt", "mode=0700", "--user", "daemon", "--opt", "uid=5");
	assert_true(volume_exists("ebs1/a"));
	assert_true(volume_exists("fast/b"));
	assert_true(volume_exists("default/c"));
	assert_int_equal(stat(path_of("c", 0), &st), 0);
	assert_int_equal(st.st_uid, 77);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_int_equal(stat(path_of("c", 2), &st), 0);
	assert_int_equal(st.st_uid, 1); /* daemon, on Debian */
	assert_int_equal(st.st_gid, 1);
	assert_int_equal(stat(path_of("c", 3), &st), 0);
	assert_int_equal(st.st_uid, 5);
	assert_int_equal(st.st_gid, 1);
	assert_int_equal(st.st_mode & 07777, 0700);
	RUN_OK("release", "c");
	RUN("publish", "c", "--owner", "x", "--volume", "z", "--driver", "strict");
	expect_error(1, "NOT_FOUND", "volume 'z': it is not to be created", false);
	RUN("publish", "c", "--owner", "x", "--volume", "z", "--user", "no-such-user-here");
	expect_error(1, "INVALID_ARGUMENT", "'no-such-user-here'", false);
	RUN("publish", "c", "--owner", "x", "--volume", "y", "--volume", "z", "--require",
	    "/nonexistent/dir");
	expect_error(1, "FAILED_PRECONDITION",
		     "container path '/nonexistent/dir' of volume 'z' does not exist", false);
	assert_false(volume_exists("default/y"));
	RUN_OK("publish", "c", "--owner", "x", "--volume", "y", "--require", d.dir);
	RUN_OK("release", "c");
	RUN("publish", "c", "--owner", "x", "--volume", "a/b");
	expect_error(1, "INVALID_ARGUMENT", "'a/b'", false);
	expect_nothing_left("c");
	test_daemon_stop(&d);
}

static void test_publish__scopes_keep_names_apart(void **state)
{
	(void)state;
	start(POOLS);
	RUN_OK("publish", "c1", "--owner", "x", "--scope", "blue", "--volume", "a");
	RUN_OK("publish", "c2", "--owner", "x", "--scope", "red", "--volume", "a");
	write_file(path_of("c1", 0), "file");
	assert_false(has_file(path_of("c2", 0), "file"));
	RUN_OK("release", "c1");
	RUN_OK("release", "c2");
	assert_int_equal(claims(), 0);
	test_daemon_stop(&d);
}

/* ---- paths of the host ---- */

static void test_host__is_shared_and_goes_with_the_last(void **state)
{
	char host[120];

	(void)state;
	start(POOLS);
	snprintf(host, sizeof(host), "%s/rexray/a/data", d.dir);
	RUN_OK("publish", "c1", "--owner", "x", "--volume", "a", "--driver", "rexray", "--host");
	assert_string_equal(item("hosts", 0), host);
	write_file(host, "file");
	assert_true(has_file(path_of("c1", 0), "file"));
	RUN_OK("publish", "c2", "--owner", "x", "--volume", "a", "--driver", "rexray", "--host");
	assert_string_equal(item("hosts", 0), host);
	assert_int_equal(claims(), 3);
	RUN_OK("release", "c1");
	assert_true(has_file(host, "file"));
	assert_int_equal(claims(), 2);
	RUN_OK("release", "c2");
	assert_false(has_file(host, "file"));
	assert_int_equal(claims(), 0);
	expect_nothing_left("c1");
	expect_nothing_left("c2");
	/* Two volumes cannot have one path. */
	RUN_OK("publish", "c1", "--owner", "x", "--volume", "a", "--driver", "rexray", "--host");
	RUN("publish", "c2", "--owner", "x", "--volume", "..", "--driver", "rexray", "--host");
	expect_error(1, "INVALID_ARGUMENT", "volume '..'", false);
	RUN_OK("release", "c1");
	test_daemon_stop(&d);
}

/* ---- many at once ---- */

#define CONTAINERS 24
#define VOLUMES 6

static void begin_publish(struct test_run *run, unsigned i)
{
	char key[16], one[16], two[16];

	snprintf(key, sizeof(key), "c%u", i);
	snprintf(one, sizeof(one), "v%u", i % VOLUMES);
	snprintf(two, sizeof(two), "v%u", (i + 1) % VOLUMES);
	begin(run, "60",
	      (const char *const[]){ "publish", key, "--owner", "x", "--volume", one, "--volume", two,
				     "--driver", "cleat", "--host", NULL });
}

static void expect_all_end_well(struct test_run *many)
{
	for (unsigned i = 0; i < CONTAINERS; i++) {
		test_run_wait(&many[i]);
		if (many[i].code != 0)
			fail_msg("%u: %s%s", i, many[i].out, many[i].err);
		test_run_done(&many[i]);
	}
}

static void test_many__containers_at_once_on_few_volumes(void **state)
{
	static struct test_run many[CONTAINERS];
	char key[16];

	(void)state;
	start(POOLS);
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < CONTAINERS; i++)
			begin_publish(&many[i], i);
		expect_all_end_well(many);
		assert_int_equal(claims(), 2 * CONTAINERS + VOLUMES); /* and one at each path of the host */
		for (unsigned i = 0; i < CONTAINERS; i++) {
			snprintf(key, sizeof(key), "c%u", i);
			begin(&many[i], "60", (const char *const[]){ "release", key, NULL });
		}
		expect_all_end_well(many);
		assert_int_equal(claims(), 0);
		assert_int_equal(mounts_below(root), 0);
	}
	test_daemon_stop(&d);
}

/* ---- recovery ---- */

static void test_recover__keeps_what_lives_and_releases_the_rest(void **state)
{
	(void)state;
	start(POOLS);
	RUN_OK("recover");
	assert_int_equal(count("kept") + count("released") + count("failed"), 0);
	RUN_OK("publish", "lives", "--owner", "x", "--volume", "a");
	RUN_OK("publish", "lives.child", "--owner", "x", "--volume", "a");
	RUN_OK("publish", "gone", "--owner", "x", "--volume", "a", "--volume", "b");
	RUN_OK("publish", "gone.too", "--owner", "x", "--volume", "c", "--driver", "cleat", "--host");
	RUN_OK("recover", "--keep", "lives", "--keep", "lives.child", "--keep", "never-had-any");
	assert_int_equal(count("kept"), 2);
	assert_true(has("kept", "lives") && has("kept", "lives.child"));
	assert_int_equal(count("released"), 2);
	assert_true(has("released", "gone") && has("released", "gone.too"));
	assert_int_equal(count("failed"), 0);
	assert_int_equal(claims(), 2);
	expect_nothing_left("gone");
	expect_nothing_left("gone.too");
	/* A daemon that was restarted meanwhile, and an intent that was lost. */
	char intent[200];
	snprintf(intent, sizeof(intent), "%s/lives/intent", root);
	assert_int_equal(unlink(intent), 0);
	test_daemon_signal(&d, SIGKILL);
	assert_int_equal(test_daemon_wait(&d), 1009);
	test_daemon_start(&d, NULL);
	RUN_OK("recover");
	assert_int_equal(count("released"), 2);
	assert_int_equal(claims(), 0);
	expect_nothing_left("lives");
	test_daemon_stop(&d);
}

static void test_recover__one_that_cannot_be_released_holds_up_no_other(void **state)
{
	(void)state;
	start(POOLS);
	RUN_OK("publish", "busy", "--owner", "x", "--volume", "a");
	RUN_OK("publish", "one", "--owner", "x", "--volume", "b");
	RUN_OK("publish", "two", "--owner", "x", "--volume", "a");
	int fd = open(path_of("busy", 0), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	run_for("6", (const char *const[]){ "recover", NULL });
	expect_error(1, "FAILED_PRECONDITION", "container 'busy'", false);
	assert_int_equal(count("failed"), 1);
	assert_string_equal(item("failed", 0), "busy");
	assert_int_equal(count("released"), 2);
	assert_int_equal(claims(), 1);
	close(fd);
	RUN_OK("recover");
	assert_string_equal(item("released", 0), "busy");
	assert_int_equal(claims(), 0);
	test_daemon_stop(&d);
}

/* ---- killed ---- */

/* The machine may be slow: whatever moment it is, a release sets everything right. */
static void test_killed__at_any_moment_release_sets_right(void **state)
{
	(void)state;
	d.fault = "create=delay:15,map=delay:15";
	start(FAULTY);
	for (int ms = 0; ms < 160; ms += 4) {
		test_run_done(&r);
		begin(&r, "60",
		      (const char *const[]){ "publish", "c", "--owner", "x", "--volume", "a", "--driver",
					     "cleat", "--host", "--volume", "b", "--volume", "c", NULL });
		poll(NULL, 0, ms);
		kill(-r.pid, SIGKILL);
		test_run_wait(&r);
		assert_true(r.code == 1009 || r.code == 0);
		if (ms % 8)
			RUN_OK("recover");
		else
			RUN_OK("release", "c");
		assert_int_equal(claims(), 0);
		expect_nothing_left("c");
		if (ms % 20 == 0) /* so that the next one has to create it again */
			for (const char *const *name =
				     (const char *const[]){ "default/a", "default/b", NULL };
			     *name; name++) {
				Cleat__V1__DeleteVolumeRequest in = CLEAT__V1__DELETE_VOLUME_REQUEST__INIT;
				struct cleat_error err = CLEAT_ERROR_INIT;
				char text[32];

				snprintf(text, sizeof(text), "%s", *name);
				in.volume = text;
				if (test_daemon_call(&d, "DeleteVolume", &in.base, NULL, &err))
					fail_msg("%s", err.msg);
			}
	}
	test_daemon_stop(&d);
}

static void until_running(const char *verb)
{
	const int64_t until_ms = cleat_time_mono_ms() + TEST_WAIT_MS;

	for (;;) {
		Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
		cleat_autopb Cleat__V1__GetInfoResponse *info = NULL;
		struct cleat_error err = CLEAT_ERROR_INIT;

		assert_int_equal(test_daemon_call(&d, "GetInfo", &in.base, (ProtobufCMessage **)&info, &err),
				 0);
		for (size_t i = 0; i < info->n_operations; i++)
			if (strcmp(info->operations[i]->verb, verb) == 0)
				return;
		assert_true(cleat_time_mono_ms() < until_ms);
		poll(NULL, 0, 10);
	}
}

/* A publication that the daemon cannot finish while a file is there: the path of that file. */
static const char *start_with_gate(void)
{
	static char gate[80];
	static char rule[120];

	snprintf(gate, sizeof(gate), "%s/gate", d.dir);
	snprintf(rule, sizeof(rule), "map=hang:%s:120000", gate);
	d.fault = rule;
	start(FAULTY);
	test_daemon_create(&d, "", "a");
	close(open(gate, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	return gate;
}

/* The publication outlives its program in the daemon: the release waits for it, and takes it back. */
static void test_killed__what_the_daemon_still_does_is_taken_back(void **state)
{
	struct test_run release;

	(void)state;
	const char *gate = start_with_gate();
	begin(&r, "60", (const char *const[]){ "publish", "c", "--owner", "x", "--volume", "a", NULL });
	until_running("publish volume");
	test_run_kill(&r);
	begin(&release, "60", (const char *const[]){ "release", "c", NULL });
	until_running("unpublish volume");
	assert_int_equal(unlink(gate), 0);
	test_run_wait(&release);
	if (release.code != 0)
		fail_msg("%s%s", release.out, release.err);
	test_run_done(&release);
	assert_int_equal(claims(), 0);
	expect_nothing_left("c");
	test_daemon_stop(&d);
}

static void test_limit__ends_by_itself_and_says_so(void **state)
{
	(void)state;
	const char *gate = start_with_gate();
	const int64_t begin_ms = cleat_time_mono_ms();
	run_for("2", (const char *const[]){ "publish", "c", "--owner", "x", "--volume", "a", NULL });
	expect_error(1, "DEADLINE_EXCEEDED", "volume 'a'", true);
	assert_true(cleat_time_mono_ms() - begin_ms < 15000);
	assert_int_equal(unlink(gate), 0);
	RUN_OK("release", "c");
	assert_int_equal(claims(), 0);
	expect_nothing_left("c");
	test_daemon_stop(&d);
}

static void test_lock__whoever_works_on_the_container_is_waited_for(void **state)
{
	char path[200];

	(void)state;
	start(POOLS);
	RUN_OK("publish", "c", "--owner", "x", "--volume", "a");
	snprintf(path, sizeof(path), "%s/c", root);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	run_for("1", (const char *const[]){ "release", "c", NULL });
	expect_error(1, "DEADLINE_EXCEEDED", path, true);
	run_for("5", (const char *const[]){ "release", "other", NULL }); /* is not held up */
	expect_ok();
	struct test_run waits;
	begin(&waits, "60", (const char *const[]){ "release", "c", NULL });
	close(fd);
	test_run_wait(&waits);
	assert_int_equal(waits.code, 0);
	test_run_done(&waits);
	expect_nothing_left("c");
	test_daemon_stop(&d);
}

/* ---- without a daemon ---- */

static void test_daemon_down__what_needs_it_says_so_and_nothing_else_does(void **state)
{
	(void)state;
	run_for("2", (const char *const[]){ "publish", "c", "--owner", "x", "--volume", "a", NULL });
	expect_error(1, "UNAVAILABLE", d.socket, true);
	RUN_OK("release", "c"); /* a container without volumes must be able to end */
	RUN_OK("recover");
	RUN_OK("witness", "c", "1");
	start(POOLS);
	RUN_OK("publish", "c", "--owner", "x", "--volume", "a");
	test_daemon_stop(&d);
	run_for("2", (const char *const[]){ "release", "c", NULL });
	expect_error(1, "UNAVAILABLE", d.socket, true);
	run_for("2", (const char *const[]){ "recover", "--keep", "x", NULL });
	expect_error(1, "UNAVAILABLE", d.socket, true);
	run_for("5", (const char *const[]){ "release", "other", NULL });
	expect_ok();
	/* One that comes back is waited for. */
	struct test_run waits;
	begin(&waits, "60", (const char *const[]){ "release", "c", NULL });
	test_daemon_start(&d, NULL);
	test_run_wait(&waits);
	if (waits.code != 0)
		fail_msg("%s%s", waits.out, waits.err);
	test_run_done(&waits);
	assert_int_equal(claims(), 0);
	test_daemon_stop(&d);
}

/* ---- witnesses ---- */

static void test_witness__frees_the_volumes_of_a_container_that_is_gone(void **state)
{
	struct test_run task;
	char pid[16];

	(void)state;
	start(POOLS);
	test_run_start(&task, (const char *const[]){ "/bin/sleep", "1000", NULL }, NULL);
	snprintf(pid, sizeof(pid), "%d", (int)task.pid);
	RUN_OK("publish", "c", "--owner", "x", "--volume", "a", "--volume", "b", "--mode",
	       "single-node-single-writer");
	RUN_OK("witness", "c", pid);
	RUN_OK("witness", "c", pid);
	RUN_OK("witness", "unknown", pid);
	assert_int_equal(claims(), 2);
	RUN("publish", "next", "--owner", "x", "--volume", "b");
	expect_error(1, "FAILED_PRECONDITION", "volume 'b'", false);
	test_run_kill(&task);
	test_run_done(&task);
	/* The agent never came back to release it. */
	RUN_OK("publish", "next", "--owner", "x", "--volume", "b");
	RUN_OK("witness", "next", "1");
	RUN_OK("release", "c");
	RUN_OK("release", "next");
	assert_int_equal(claims(), 0);
	RUN_OK("publish", "c", "--owner", "x", "--volume", "a");
	RUN("witness", "c", pid);
	expect_error(1, "INVALID_ARGUMENT", "does not run", false);
	RUN_OK("release", "c");
	test_daemon_stop(&d);
}

/* ---- other containers' copies of mounts ---- */

/* A container that starts has copies of all mounts there are; they must not keep a volume that is released.
 */
static void test_share__copies_go_with_the_original(void **state)
{
	char script[700];
	struct test_run other;

	(void)state;
	start(POOLS);
	RUN_OK("publish", "c", "--owner", "x", "--volume", "a", "--driver", "cleat", "--host");
	snprintf(script, sizeof(script),
		 "grep -c '%s/c/0\\|%s/host/default/a' /proc/self/mountinfo; while [ ! -e %s/go ]; do sleep "
		 "0.05; done; "
		 "grep -c '%s/c/0\\|%s/host/default/a' /proc/self/mountinfo; true",
		 root, d.dir, d.dir, root, d.dir);
	test_run_start(&other,
		       (const char *const[]){ "/usr/bin/unshare", "--mount", "--propagation", "slave",
					      "/bin/sh", "-c", script, NULL },
		       NULL);
	struct pollfd p = { .fd = other.out_fd, .events = POLLIN };
	assert_int_equal(poll(&p, 1, TEST_WAIT_MS), 1);
	RUN_OK("release", "c");
	char go[80];
	snprintf(go, sizeof(go), "%s/go", d.dir);
	close(open(go, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	test_run_wait(&other);
	assert_string_equal(other.out, "2\n0\n");
	test_run_done(&other);
	test_daemon_stop(&d);
}

/* ---- what is refused ---- */

static void test_arguments__wrong_ones_are_exit_code_2(void **state)
{
	static const char *const wrong[][6] = {
		{ "" },
		{ "attach", "c" },
		{ "publish", "c" },
		{ "publish", "c", "--owner", "x" },
		{ "publish", "--owner", "x", "--volume", "a" },
		{ "publish", "c", "--volume", "a" },
		{ "publish", "c", "--driver", "a" },
		{ "publish", "c", "--owner", "x", "--volume" },
		{ "publish", "..", "--owner=x", "--volume=a" },
		{ "publish", "a/b", "--owner=x", "--volume=a" },
		{ "publish", "c", "--owner=x", "--volume=a", "--mode=rx" },
		{ "publish", "c", "--owner=x", "--volume=a", "--size=big" },
		{ "publish", "c", "--owner=x", "--volume=a", "--opt=novalue" },
		{ "publish", "c", "--owner=x", "--volume=a", "--require=relative" },
		{ "publish", "c", "--owner=x", "--volume=a", "--no-create=1" },
		{ "publish", "c", "--owner=x", "--volume=a", "--nonsense" },
		{ "release" },
		{ "release", "c", "d" },
		{ "release", "c", "--volume=a" },
		{ "recover", "c" },
		{ "recover", "--keep", "a b" },
		{ "witness", "c" },
		{ "witness", "c", "0" },
		{ "witness", "c", "x" },
		{ "witness", "c", "1", "2" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(wrong); i++) {
		run_for("5", wrong[i]);
		if (r.code != 2)
			fail_msg("case %zu: exit code %d: %s", i, r.code, r.out);
		expect_error(2, "INVALID_ARGUMENT", "", false);
	}
	RUN("publish", "c", "--owner=x", "--volume=a", "--driver=b", "--pool=c");
	expect_error(2, "INVALID_ARGUMENT", "exclude each other", false);
	run_for("0", (const char *const[]){ "release", "c", NULL });
	expect_error(2, "INVALID_ARGUMENT", "--timeout", false);
}

static void test_root__that_others_may_write_is_refused(void **state)
{
	(void)state;
	start(POOLS);
	assert_int_equal(mkdir(root, 0700), 0);
	assert_int_equal(chmod(root, 0777), 0);
	RUN("publish", "c", "--owner", "x", "--volume", "a");
	expect_error(1, "PERMISSION_DENIED", root, false);
	assert_int_equal(chmod(root, 0700), 0);
	RUN_OK("publish", "c", "--owner", "x", "--volume", "a");
	RUN_OK("release", "c");
	test_daemon_stop(&d);
}

static void test_table__that_is_wrong_or_missing_is_named(void **state)
{
	(void)state;
	start(POOLS);
	FILE *f = fopen(drivers, "we");
	assert_non_null(f);
	fputs("drivers:\n  rexray: {pols: ebs1}\n", f);
	assert_int_equal(fclose(f), 0);
	RUN("publish", "c", "--owner", "x", "--volume", "a");
	expect_error(1, "INVALID_ARGUMENT", "drivers.conf:2: 'pols'", false);
	assert_int_equal(unlink(drivers), 0);
	RUN("publish", "c", "--owner", "x", "--volume", "a");
	expect_error(1, "NOT_FOUND", "drivers.conf", false);
	test_daemon_stop(&d);
}

/* ---- for operators ---- */

static void check(const char *const *words)
{
	const char *argv[MAX_WORDS] = { HELPER_PATH, "--socket", d.socket,    "--config", drivers,
					"--root",    root,	 "--timeout", "5",	  "check" };
	size_t n = 10;

	while (*words)
		argv[n++] = *words++;
	argv[n] = NULL;
	test_run_done(&r);
	test_run(&r, argv, NULL);
}

static void expect_line(const char *word, const char *text)
{
	for (const char *line = r.out; *line; line += strcspn(line, "\n") + 1) {
		const size_t n = strcspn(line, "\n");
		const char *at = memmem(line, n, text, strlen(text));

		if (strncmp(line, word, strlen(word)) == 0 && at)
			return;
	}
	fail_msg("no line '%s ... %s' in:\n%s%s", word, text, r.out, r.err);
}

static void write_modules(const char *path, const char *file, const char *key, const char *value)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fprintf(f,
		"{\"libraries\": [{\"file\": \"%s\", \"modules\": [{\"name\": \"org_cleat_VolumeIsolator\",\n"
		" \"parameters\": [{\"key\": \"helper\", \"value\": \"%s\"}, {\"key\": \"enter\", \"value\": "
		"\"/bin/true\"},\n"
		" {\"key\": \"%s\", \"value\": \"%s\"}]}]}]}\n",
		file, HELPER_PATH, key, value);
	assert_int_equal(fclose(f), 0);
}

static void test_check__tells_what_is_wrong(void **state)
{
	char modules[80], flag[100], library[80];

	(void)state;
	snprintf(modules, sizeof(modules), "%s/modules.json", d.dir);
	snprintf(flag, sizeof(flag), "--modules=file://%s", modules);
	snprintf(library, sizeof(library), "%s/libcleat_mesos-1.9.0.so", d.dir);
	const char *const both[] = { "--isolation=filesystem/linux,org_cleat_VolumeIsolator", flag, NULL };
	check(both);
	assert_int_equal(r.code, 1);
	expect_line("PROBLEM", "no daemon at");
	expect_line("PROBLEM", modules);
	start("pools: {default: {backend: dir}, fast: {backend: dir}}\n");
	write_modules(modules, library, "sandbox", "/x");
	check(both);
	assert_int_equal(r.code, 1);
	expect_line("ok", "cleatd " CLEAT_VERSION " serves node");
	expect_line("ok", "pool 'default', the default one");
	expect_line("PROBLEM", "driver 'rexray' is in pool 'ebs1', which the daemon does not have");
	expect_line("PROBLEM", "No such file or directory");
	expect_line("PROBLEM", "parameter 'sandbox' is not known");
	write_modules(modules, "/bin/true", "timeout", "30");
	check((const char *const[]){
		"--isolation=filesystem/posix,com_emccode_mesos_DockerVolumeDriverIsolator", flag, NULL });
	expect_line("PROBLEM", "neither org_cleat_VolumeIsolator nor docker/volume");
	expect_line("PROBLEM", "take it out");
	check(both);
	expect_line("PROBLEM", "does not hold org_cleat_VolumeIsolator");
	expect_line("ok", "timeout 30 s");
	assert_int_equal(chmod(d.dir, 0755), 0);
	/* Everything as it should be. */
	FILE *f = fopen(library, "we");
	assert_non_null(f);
	fputs("org_cleat_VolumeIsolator", f);
	assert_int_equal(fclose(f), 0);
	write_modules(modules, library, "timeout", "30");
	f = fopen(drivers, "we");
	assert_non_null(f);
	fputs("drivers: {rexray: {pool: fast}}\n", f);
	assert_int_equal(fclose(f), 0);
	check(both);
	if (r.code != 0)
		fail_msg("%s", r.out);
	expect_line("no problems", "");
	expect_line("ok", "driver 'rexray' is in pool fast");
	test_daemon_stop(&d);
}

/* The flags of the agent that runs here are found in its process; this one is an agent by its name only. */
static void test_check__looks_at_the_agent_that_runs(void **state)
{
	char script[80], modules[80], flag[100];
	struct test_run agent;

	(void)state;
	snprintf(script, sizeof(script), "%s/mesos-agent", d.dir);
	snprintf(modules, sizeof(modules), "%s/modules.json", d.dir);
	snprintf(flag, sizeof(flag), "--modules=file://%s", modules);
	FILE *f = fopen(script, "we");
	assert_non_null(f);
	fputs("#!/bin/sh\necho runs\nsleep 1000\n", f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(script, 0755), 0);
	start(POOLS);
	write_modules(modules, "/bin/true", "timeout", "30");
	test_run_start(&agent,
		       (const char *const[]){ script, "--isolation=filesystem/linux,org_cleat_VolumeIsolator",
					      flag, "--launcher=posix", NULL },
		       (const char *const[]){ "MESOS_CONTAINERIZERS=docker", "PATH=/usr/bin:/bin", NULL });
	struct pollfd p = { .fd = agent.out_fd, .events = POLLIN };
	assert_int_equal(poll(&p, 1, TEST_WAIT_MS), 1);
	check((const char *const[]){ NULL });
	expect_line("ok", "the agent is process");
	expect_line("ok", "--isolation has org_cleat_VolumeIsolator");
	expect_line("PROBLEM", "--launcher=posix");
	expect_line("PROBLEM", "--containerizers=docker");
	expect_line("PROBLEM", "does not hold org_cleat_VolumeIsolator");
	expect_line("PROBLEM", "has not loaded it: restart the agent");
	check((const char *const[]){ "--isolation=filesystem/linux,docker/volume", NULL });
	expect_line("PROBLEM", "no dvdcli is in the agent's PATH");
	test_run_kill(&agent);
	test_run_done(&agent);
	test_daemon_stop(&d);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_publish__all_volumes_in_order_and_released),
		TEST(test_publish__one_that_fails_takes_all_back),
		TEST(test_publish__a_volume_in_several_containers),
		TEST(test_publish__drivers_options_owner_and_required_directory),
		TEST(test_publish__scopes_keep_names_apart),
		TEST(test_host__is_shared_and_goes_with_the_last),
		TEST(test_many__containers_at_once_on_few_volumes),
		TEST(test_recover__keeps_what_lives_and_releases_the_rest),
		TEST(test_recover__one_that_cannot_be_released_holds_up_no_other),
		TEST(test_killed__at_any_moment_release_sets_right),
		TEST(test_killed__what_the_daemon_still_does_is_taken_back),
		TEST(test_limit__ends_by_itself_and_says_so),
		TEST(test_lock__whoever_works_on_the_container_is_waited_for),
		TEST(test_daemon_down__what_needs_it_says_so_and_nothing_else_does),
		TEST(test_witness__frees_the_volumes_of_a_container_that_is_gone),
		TEST(test_share__copies_go_with_the_original),
		TEST(test_arguments__wrong_ones_are_exit_code_2),
		TEST(test_root__that_others_may_write_is_refused),
		TEST(test_table__that_is_wrong_or_missing_is_named),
		TEST(test_check__tells_what_is_wrong),
		TEST(test_check__looks_at_the_agent_that_runs),
	};

	if (geteuid() != 0) {
		print_message("must be root to mount: skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
