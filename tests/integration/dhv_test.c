/* dhv_test.c - cleat-dhv as Nomad runs it, against a real daemon: with nothing but DHV_* in its environment,
 * twice, at once, killed, without a daemon, after a reboot.
 *
 * One daemon serves all tests; each leaves nothing behind.  Waits that a machine at its start may need are
 * tried in this process, with shorter limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon.h"
#include "dhv/files.h"
#include "dhv/verbs.h"
#include "run.h"

#include "util/clock.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define CROWD 8
#define MANY 40

static struct test_daemon d;
static char program[64], vols[64]; /* the plugin as Nomad has it, and Nomad's directory of host volumes */

/* ---- running it ---- */

/* A volume specification; zeros and NULLs are the usual things. */
struct spec {
	const char *id, *name, *params, *namespace;
	uint64_t min_bytes, max_bytes;
};

#define ID(n) #n "a1b2c3d-1111-2222-3333-444455556666"

struct answer {
	char path[256], error[600];
	uint64_t bytes;
};

struct call {
	struct test_run run;
	char text[12][512];
	const char *env[13];
	const char *argv[3];
	char *params;
};

static void start_call(struct call *c, const char *operation, const struct spec *s)
{
	const bool fingerprint = strcmp(operation, "fingerprint") == 0;
	size_t n = 0;

	assert_true(asprintf(&c->params, "DHV_PARAMETERS=%s", s->params ? s->params : "null") > 0);
#define PUT(...) snprintf(c->text[n++], sizeof(c->text[0]), __VA_ARGS__)
	PUT("DHV_OPERATION=%s", operation);
	if (!fingerprint) {
		PUT("DHV_VOLUMES_DIR=%s", vols);
		PUT("DHV_PLUGIN_DIR=%.40s", d.dir);
		PUT("DHV_NAMESPACE=%s", s->namespace ? s->namespace : "default");
		PUT("DHV_NODE_POOL=default");
		PUT("DHV_NODE_ID=node-1");
		PUT("DHV_VOLUME_NAME=%s", s->name ? s->name : "pgdata");
		PUT("DHV_VOLUME_ID=%s", s->id);
		PUT("DHV_CREATED_PATH=");
		PUT("DHV_CAPACITY_MIN_BYTES=%llu", (unsigned long long)s->min_bytes);
		PUT("DHV_CAPACITY_MAX_BYTES=%llu", (unsigned long long)s->max_bytes);
		c->env[n] = c->params;
	}
#undef PUT
	for (size_t i = 0; i < n; i++)
		c->env[i] = c->text[i];
	c->argv[0] = program;
	c->argv[1] = operation;
	test_run_start(&c->run, c->argv, c->env);
}

static void end_call(struct call *c)
{
	test_run_done(&c->run);
	free(c->params);
	memset(c, 0, sizeof(*c));
}

/* What the plugin has said: standard output is one JSON object and nothing else. */
static void read_answer(const struct call *c, struct answer *out)
{
	json_error_t why;
	json_t *root = json_loads(c->run.out ? c->run.out : "", 0, &why);
	const json_t *path = json_object_get(root, "path"), *error = json_object_get(root, "error");

	if (!json_is_object(root))
		fail_msg("code %d: no JSON: '%s' '%s'", c->run.code, c->run.out, c->run.err);
	*out = (struct answer){ .bytes = (uint64_t)json_integer_value(json_object_get(root, "bytes")) };
	if (path)
		snprintf(out->path, sizeof(out->path), "%s", json_string_value(path));
	if (error)
		snprintf(out->error, sizeof(out->error), "%s", json_string_value(error));
	json_decref(root);
}

static int run_it(const char *operation, const struct spec *s, struct answer *out)
{
	struct call c = { 0 };

	start_call(&c, operation, s);
	test_run_wait(&c.run);
	read_answer(&c, out);
	const int code = c.run.code;
	if (code && !strstr(c.run.err, out->error))
		fail_msg("standard error is '%s', the answer '%s'", c.run.err, out->error);
	end_call(&c);
	return code;
}

static struct answer ok_create(const struct spec *s)
{
	struct answer a;
	int code = run_it("create", s, &a);

	if (code)
		fail_msg("create: exit %d: %s", code, a.error);
	assert_int_equal(a.path[0], '/');
	assert_true(dhv_is_mounted(a.path));
	return a;
}

static void ok_delete(const struct spec *s)
{
	struct answer a;
	int code = run_it("delete", s, &a);

	if (code)
		fail_msg("delete: exit %d: %s", code, a.error);
}

/* Both words must be in the error. */
static void refused(const char *operation, const struct spec *s, int code, const char *word,
		    const char *other)
{
	struct answer a;
	int got = run_it(operation, s, &a);

	if (got != code || !strstr(a.error, word) || !strstr(a.error, other))
		fail_msg("%s: exit %d instead of %d, '%s' lacks '%s' or '%s'", operation, got, code, a.error,
			 word, other);
}

/* ---- looking ---- */

static char *t(const char *text)
{
	union {
		const char *from;
		char *to;
	} u = { .from = text };

	return u.to;
}

#define ASK(type, var, method, in)                                                                           \
	cleat_autopb type *var = NULL;                                                                       \
	ask(method, &(in).base, (ProtobufCMessage **)(void *)&(var))

static void ask(const char *method, const ProtobufCMessage *in, ProtobufCMessage **out)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (test_daemon_call(&d, method, in, out, &err))
		fail_msg("%s: %s", method, err.msg);
}

static size_t volume_count(void)
{
	Cleat__V1__ListVolumesRequest in = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;

	in.any_scope = true;
	ASK(Cleat__V1__ListVolumesResponse, list, "ListVolumes", in);
	return list->n_volumes;
}

static size_t claim_count(void)
{
	Cleat__V1__ListClaimsRequest in = CLEAT__V1__LIST_CLAIMS_REQUEST__INIT;

	ASK(Cleat__V1__ListClaimsResponse, list, "ListClaims", in);
	return list->n_claims;
}

static Cleat__V1__GetVolumeResponse *volume(const char *ref, const char *scope)
{
	Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	Cleat__V1__GetVolumeResponse *out = NULL;

	in.volume = t(ref);
	in.scope = t(scope);
	ask("GetVolume", &in.base, (ProtobufCMessage **)(void *)&out);
	return out;
}

static const char *label(const Cleat__V1__Volume *v, const char *key)
{
	for (size_t i = 0; i < v->n_labels; i++)
		if (strcmp(v->labels[i]->key, key) == 0)
			return v->labels[i]->value;
	return "";
}

/* A volume that somebody made by hand. */
static void make(const char *name, const char *scope)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;

	in.name = t(name);
	in.scope = t(scope);
	in.capacity_bytes = 32 * MIB;
	ask("CreateVolume", &in.base, NULL);
}

static void unmake(const char *ref, const char *scope)
{
	Cleat__V1__DeleteVolumeRequest in = CLEAT__V1__DELETE_VOLUME_REQUEST__INIT;

	in.volume = t(ref);
	in.scope = t(scope);
	ask("DeleteVolume", &in.base, NULL);
}

static unsigned record_count(void)
{
	DIR *dir = opendir(vols);
	unsigned n = 0;

	for (struct dirent *e; dir && (e = readdir(dir));)
		n += e->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

static void put_file(const char *path, const char *text)
{
	char name[300];

	snprintf(name, sizeof(name), "%.256s/file", path);
	cleat_autoclose int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void check_file(const char *path, const char *text)
{
	char name[300], got[64] = "";

	snprintf(name, sizeof(name), "%.256s/file", path);
	cleat_autoclose int fd = open(name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, got, sizeof(got) - 1) >= 0);
	assert_string_equal(got, text);
}

static uint64_t size_of(const char *path)
{
	struct statvfs st;

	assert_int_equal(statvfs(path, &st), 0);
	return (uint64_t)st.f_blocks * st.f_frsize;
}

/* ---- the lab ---- */

static void start_daemon(void)
{
	test_daemon_start(&d, NULL);
}

static void crash_daemon(void)
{
	test_daemon_signal(&d, SIGKILL);
	assert_int_equal(test_daemon_wait(&d), 1000 + SIGKILL);
}

static void configure(const char *default_pool, bool disk_is_new)
{
	test_daemon_config(&d,
			   "default_pool: %s\n"
			   "pools:\n  default: {backend: loop}\n  plain: {backend: dir}\n"
			   "  disk: {backend: dir, path: %s/disk, init: %s}\n",
			   default_pool, d.dir, disk_is_new ? "auto" : "never");
}

static int open_lab(void **state)
{
	char conf[80], disk[64];

	(void)state;
	test_daemon_init(&d);
	snprintf(program, sizeof(program), "%.40s/cleat-dhv", d.dir);
	snprintf(vols, sizeof(vols), "%.40s/vols", d.dir);
	snprintf(conf, sizeof(conf), "%s.conf", program);
	snprintf(disk, sizeof(disk), "%.40s/disk", d.dir);
	assert_int_equal(mkdir(disk, 0755), 0);
	assert_int_equal(symlink(CLEAT_DHV_PATH, program), 0);
	FILE *f = fopen(conf, "we");
	assert_non_null(f);
	fprintf(f, "# of the test\nsocket: %s\n", d.socket);
	assert_int_equal(fclose(f), 0);
	configure("default", true);
	start_daemon();
	Cleat__V1__GetPoolRequest in = CLEAT__V1__GET_POOL_REQUEST__INIT;
	in.pool = t("disk");
	in.refresh = true; /* it is there when this has an answer */
	ask("GetPool", &in.base, NULL);
	configure("default", false); /* from its next start on */
	return 0;
}

static int close_lab(void **state)
{
	(void)state;
	if (d.pid)
		test_daemon_stop(&d);
	test_daemon_done(&d);
	return 0;
}

/* Whatever went wrong in a test, the next one begins with a daemon that has its usual configuration. */
static int begin(void **state)
{
	(void)state;
	if (!d.pid) {
		configure("default", false);
		start_daemon();
	}
	return 0;
}

/* So that one failed test is one. */
static void take_away(void)
{
	Cleat__V1__ListVolumesRequest in = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;
	DIR *dir = opendir(vols);

	in.any_scope = true;
	ASK(Cleat__V1__ListVolumesResponse, list, "ListVolumes", in);
	for (size_t i = 0; i < list->n_volumes; i++) {
		Cleat__V1__UnpublishVolumeRequest no_more = CLEAT__V1__UNPUBLISH_VOLUME_REQUEST__INIT;

		no_more.volume = list->volumes[i]->id;
		no_more.scope = list->volumes[i]->scope;
		ask("UnpublishVolume", &no_more.base, NULL);
		unmake(list->volumes[i]->id, list->volumes[i]->scope);
	}
	for (struct dirent *e; dir && (e = readdir(dir));)
		if (e->d_name[0] != '.')
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
}

static int nothing_left(void **state)
{
	const size_t volumes = volume_count(), claims = claim_count(), records = record_count();

	(void)state;
	if (volumes + claims + records == 0)
		return 0;
	take_away();
	printf("left over: %zu volumes, %zu claims, %zu records\n", volumes, claims, records);
	return -1;
}

/* ---- the other verbs ---- */

static void test_fingerprint__tells_the_version_and_asks_nobody(void **state)
{
	struct call c = { 0 };

	(void)state;
	crash_daemon();
	const int64_t begin_ms = cleat_time_mono_ms();
	start_call(&c, "fingerprint", &(struct spec){ 0 });
	test_run_wait(&c.run);
	assert_int_equal(c.run.code, 0);
	assert_string_equal(c.run.out, "{\"version\":\"" CLEAT_VERSION "\"}\n");
	assert_true(!c.run.err || !*c.run.err);
	assert_true(cleat_time_mono_ms() - begin_ms < 1000);
	end_call(&c);
	start_daemon();
}

static void test_words__help_version_and_mistakes(void **state)
{
	static const struct {
		const char *word;
		int code;
		const char *out, *err;
	} words[] = {
		{ "--help", 0, "on_delete", NULL },
		{ "--version", 0, "cleat-dhv " CLEAT_VERSION "\n", NULL },
		{ "resize", 2, NULL, "unknown operation 'resize'" },
		{ NULL, 2, NULL, "--help" },
		{ "create", 2, "DHV_VOLUME_ID is not set", "DHV_VOLUME_ID is not set" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(words); i++) {
		const char *const argv[] = { program, words[i].word, NULL }, *const env[] = { NULL };
		struct test_run r;

		test_run(&r, argv, env);
		assert_int_equal(r.code, words[i].code);
		assert_true(!words[i].out || strstr(r.out, words[i].out));
		assert_true(!words[i].err || strstr(r.err, words[i].err));
		test_run_done(&r);
	}
}

/* ---- create ---- */

static void test_create__a_mounted_file_system_of_that_size(void **state)
{
	const struct spec s = { .id = ID(0),
				.min_bytes = 40 * MIB,
				.max_bytes = 80 * MIB,
				.params =
					"{\"fs\":\"ext4\",\"uid\":\"70\",\"gid\":\"71\",\"mode\":\"0750\"}" };
	struct stat st;

	(void)state;
	const struct answer a = ok_create(&s);
	assert_in_range(a.bytes, 40 * MIB, 80 * MIB);
	assert_in_range(size_of(a.path), 30 * MIB, a.bytes);
	assert_int_equal(stat(a.path, &st), 0);
	assert_int_equal(st.st_uid, 70);
	assert_int_equal(st.st_gid, 71);
	assert_int_equal(st.st_mode & 07777, 0750);
	cleat_autopb Cleat__V1__GetVolumeResponse *v = volume("default/pgdata", "default");
	assert_string_equal(label(v->volume, "nomad.volume"), ID(0));
	assert_string_equal(label(v->volume, "nomad.node_id"), "node-1");
	assert_string_equal(label(v->volume, "nomad.unfinished"), "");
	assert_int_equal(v->volume->claim_count, 1);
	Cleat__V1__ListClaimsRequest in = CLEAT__V1__LIST_CLAIMS_REQUEST__INIT;
	ASK(Cleat__V1__ListClaimsResponse, claims, "ListClaims", in);
	assert_string_equal(claims->claims[0]->target, a.path);
	assert_non_null(strstr(claims->claims[0]->owner, "'pgdata' (namespace default, id " ID(0)));
	ok_delete(&s);
	assert_int_not_equal(access(a.path, F_OK), 0);
	ok_delete(&s);
}

static void test_create__without_a_size_the_pools_default_holds(void **state)
{
	const struct spec s = { .id = ID(0) },
			  limited = { .id = ID(1), .name = "small", .max_bytes = 48 * MIB };

	(void)state;
	assert_int_equal(ok_create(&s).bytes, 1024 * MIB);
	assert_true(ok_create(&limited).bytes <= 48 * MIB);
	ok_delete(&limited);
	ok_delete(&s);
}

static void test_create__twice_and_all_at_once(void **state)
{
	const struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 64 * MIB };
	struct call calls[CROWD] = { 0 };
	struct answer first, a;

	(void)state;
	for (size_t i = 0; i < CROWD; i++)
		start_call(&calls[i], "create", &s);
	for (size_t i = 0; i < CROWD; i++) {
		test_run_wait(&calls[i].run);
		read_answer(&calls[i], &a);
		if (calls[i].run.code)
			fail_msg("%s", a.error);
		if (i == 0)
			first = a;
		assert_string_equal(a.path, first.path);
		assert_int_equal(a.bytes, first.bytes);
		end_call(&calls[i]);
	}
	assert_int_equal(volume_count(), 1);
	assert_int_equal(claim_count(), 1);
	assert_int_equal(record_count(), 1);
	put_file(first.path, "kept");
	check_file(ok_create(&s).path, "kept");
	for (size_t i = 0; i < CROWD; i++)
		start_call(&calls[i], "delete", &s);
	for (size_t i = 0; i < CROWD; i++) {
		test_run_wait(&calls[i].run);
		if (calls[i].run.code)
			fail_msg("%s", calls[i].run.err);
		end_call(&calls[i]);
	}
}

/* One name in two namespaces, and one name that something else has already. */
static void test_create__of_one_name_are_different_volumes(void **state)
{
	const struct spec one = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB },
			  two = { .id = ID(1),
				  .min_bytes = 32 * MIB,
				  .max_bytes = 32 * MIB,
				  .namespace = "other" },
			  three = { .id = ID(2), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB };

	(void)state;
	const struct answer a = ok_create(&one), b = ok_create(&two), c = ok_create(&three);
	assert_string_not_equal(a.path, b.path);
	assert_string_not_equal(a.path, c.path);
	put_file(a.path, "one");
	put_file(b.path, "two");
	put_file(c.path, "three");
	cleat_autopb Cleat__V1__GetVolumeResponse *v = volume("default/pgdata.2a1b2c3d", "default");
	assert_string_equal(label(v->volume, "nomad.volume"), ID(2));
	assert_string_equal(ok_create(&three).path, c.path);
	ok_delete(&three);
	check_file(a.path, "one");
	check_file(b.path, "two");
	ok_delete(&one);
	check_file(ok_create(&two).path, "two");
	ok_delete(&two);
}

static void test_create__what_is_wrong_is_named_and_leaves_nothing(void **state)
{
	static const struct {
		const char *params;
		int code;
		const char *key, *value;
	} wrong[] = {
		{ "{\"colour\":\"blue\"}", 2, "'colour'", "'blue'" },
		{ "{\"fs\":\"ntfs\"}", 2, "'fs'", "'ntfs'" },
		{ "{\"uid\":\"root\"}", 2, "'uid'", "'root'" },
		{ "{\"mode\":\"rwx\"}", 2, "'mode'", "'rwx'" },
		{ "{\"pool\":\"nowhere\"}", 3, "pool", "'nowhere'" },
		{ "{\"hard_size\":\"maybe\"}", 2, "'hard_size'", "'maybe'" },
		{ "{\"pool\":\"plain\",\"hard_size\":\"true\"}", 4, "'plain'", "size" },
		{ "{\"options\":\"thick=perhaps\"}", 2, "'thick'", "'perhaps'" },
		{ "{\"mount_options\":\"suid\"}", 1, "mount option", "'suid'" },
		{ "{\"mount_options\":\"commit=never\"}", 2, "commit", "never" },
		{ "{\"source\":\"default/none\"}", 3, "source", "'default/none'" },
		{ "{\"volume\":\"default/none\"}", 3, "'volume'", "'default/none'" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(wrong); i++) {
		const struct spec s = {
			.id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 64 * MIB, .params = wrong[i].params
		};
		refused("create", &s, wrong[i].code, wrong[i].key, wrong[i].value);
		assert_int_equal(nothing_left(NULL), 0);
	}
	const struct spec huge = { .id = ID(0),
				   .min_bytes = UINT64_C(1) << 50,
				   .max_bytes = UINT64_C(1) << 50 };
	refused("create", &huge, 8, "'default'", "promise");
	const struct spec slash = { .id = ID(0), .name = "a/b" };
	refused("create", &slash, 2, "name", "'a/b'");
}

static void test_create__an_answer_that_nobody_gets_is_a_failure(void **state)
{
	const struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB };
	struct call c = { 0 };
	struct test_run r;

	(void)state;
	start_call(&c, "create", &s); /* for its environment */
	test_run_wait(&c.run);
	const char *const argv[] = { "/bin/sh", "-c", "exec \"$0\" create >/dev/full", program, NULL };
	test_run(&r, argv, c.env);
	assert_int_equal(r.code, 1);
	test_run_done(&r);
	end_call(&c);
	ok_delete(&s);
}

/* ---- restore ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

/* Nothing is mounted any more, and the runtime directory has gone with its tmpfs. */
static void reboot(void)
{
	crash_daemon();
	for (bool found = true; found;) {
		FILE *table = fopen("/proc/self/mountinfo", "re");
		char line[4096], target[2048], last[2048] = "";

		found = false;
		while (table && fgets(line, sizeof(line), table))
			if (sscanf(line, "%*s %*s %*s %*s %2047s", target) == 1 &&
			    strncmp(target, d.run, strlen(d.run)) == 0)
				snprintf(last, sizeof(last), "%s", target);
		if (table)
			fclose(table);
		if (last[0]) {
			assert_int_equal(umount2(last, UMOUNT_NOFOLLOW), 0);
			found = true;
		}
	}
	assert_int_equal(nftw(d.run, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT), 0);
}

static void test_restore__after_a_reboot_path_and_data_are_the_same(void **state)
{
	const struct spec s = { .id = ID(0),
				.min_bytes = 32 * MIB,
				.max_bytes = 64 * MIB,
				.params = "{\"mode\":\"0700\"}" },
			  plain = { .id = ID(1), .name = "plain", .params = "{\"pool\":\"plain\"}" };
	struct call calls[2] = { 0 };
	struct answer again;

	(void)state;
	const struct answer a = ok_create(&s), b = ok_create(&plain);
	put_file(a.path, "before");
	put_file(b.path, "also");
	reboot();
	assert_int_not_equal(access(a.path, F_OK), 0);
	/* The agent is up before the daemon: it waits. */
	start_call(&calls[0], "create", &s);
	start_call(&calls[1], "create", &plain);
	start_daemon();
	for (size_t i = 0; i < 2; i++) {
		test_run_wait(&calls[i].run);
		read_answer(&calls[i], &again);
		if (calls[i].run.code)
			fail_msg("%s", again.error);
		assert_string_equal(again.path, i == 0 ? a.path : b.path);
		assert_int_equal(again.bytes, i == 0 ? a.bytes : b.bytes);
		end_call(&calls[i]);
	}
	check_file(a.path, "before");
	check_file(b.path, "also");
	ok_delete(&s);
	ok_delete(&plain);
}

/* All volumes of a node are asked for at once, while the daemon opens its pools. */
static void test_restore__of_many_after_a_reboot(void **state)
{
	static struct call calls[MANY];
	static struct answer first[MANY];
	static char ids[MANY][40], names[MANY][16];
	struct spec specs[MANY];
	struct answer a;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MANY; i++) {
			snprintf(ids[i], sizeof(ids[i]), "%08d-1111-2222-3333-444455556666", i);
			snprintf(names[i], sizeof(names[i]), "many-%d", i);
			specs[i] = (struct spec){
				.id = ids[i], .name = names[i], .min_bytes = 32 * MIB, .max_bytes = 32 * MIB
			};
			start_call(&calls[i], round == 2 ? "delete" : "create", &specs[i]);
		}
		if (round == 1)
			start_daemon();
		for (int i = 0; i < MANY; i++) {
			test_run_wait(&calls[i].run);
			read_answer(&calls[i], &a);
			if (calls[i].run.code)
				fail_msg("round %d, volume %d: %s", round, i, a.error);
			if (round == 0)
				first[i] = a;
			else if (round == 1)
				assert_string_equal(a.path, first[i].path);
			end_call(&calls[i]);
		}
		if (round == 0)
			reboot();
	}
}

static void test_restore__needs_no_daemon_while_it_is_mounted(void **state)
{
	const struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 64 * MIB };
	struct call c = { 0 };
	struct answer b;

	(void)state;
	const struct answer a = ok_create(&s);
	crash_daemon();
	const int64_t begin_ms = cleat_time_mono_ms();
	start_call(&c, "create", &s);
	test_run_wait(&c.run);
	read_answer(&c, &b);
	assert_int_equal(c.run.code, 0);
	assert_string_equal(b.path, a.path);
	assert_int_equal(b.bytes, a.bytes);
	assert_non_null(strstr(c.run.err, "is mounted"));
	assert_non_null(strstr(c.run.err, d.socket));
	assert_true(cleat_time_mono_ms() - begin_ms < 20000);
	end_call(&c);
	start_daemon();
	assert_string_equal(ok_create(&s).path, a.path);
	ok_delete(&s);
}

/* ---- in this process, with shorter limits ---- */

static char warned[2048];

static void note_warning(const char *line)
{
	size_t n = strlen(warned);

	snprintf(warned + n, sizeof(warned) - n, "%s\n", line);
}

static enum cleat_code here(const char *operation, const struct spec *s, const struct dhv_limits *limits,
			    struct answer *out, bool *unreachable_out)
{
	struct dhv_settings settings = { 0 };
	struct dhv_request r = { .id = s->id,
				 .name = s->name ? s->name : "pgdata",
				 .namespace = s->namespace ? s->namespace : "default",
				 .volumes_dir = vols,
				 .node = "node-1",
				 .min_bytes = s->min_bytes,
				 .max_bytes = s->max_bytes };
	struct dhv_context c = {
		.request = &r, .settings = &settings, .limits = limits, .warn = note_warning
	};
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct dhv_answer a = { 0 };

	snprintf(settings.socket, sizeof(settings.socket), "%s", d.socket);
	assert_int_equal(dhv_params_read(s->params ? s->params : "", &r.params, &err), CLEAT_OK);
	warned[0] = '\0';
	*out = (struct answer){ 0 };
	enum cleat_code code =
		strcmp(operation, "create") == 0 ? dhv_create(&c, &a, &err) : dhv_delete(&c, &err);
	snprintf(out->error, sizeof(out->error), "%s", err.msg);
	snprintf(out->path, sizeof(out->path), "%s", a.path ? a.path : "");
	free(a.path);
	dhv_request_done(&r);
	*unreachable_out = c.unreachable;
	return code;
}

static const struct dhv_limits quick = {
	.whole_ms = 3000, .new_ms = 400, .known_ms = 800, .mounted_ms = 100
};

static void test_daemon__that_is_not_there_is_named_in_time(void **state)
{
	const struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB },
			  other = { .id = ID(1), .name = "other" };
	bool unreachable;
	struct answer a;

	(void)state;
	ok_create(&s);
	reboot();
	const int64_t begin_ms = cleat_time_mono_ms();
	assert_int_equal(here("create", &other, &quick, &a, &unreachable), CLEAT_UNAVAILABLE);
	assert_true(unreachable);
	assert_non_null(strstr(a.error, d.socket));
	assert_non_null(strstr(a.error, "is cleatd running?"));
	assert_int_equal(here("create", &s, &quick, &a, &unreachable), CLEAT_UNAVAILABLE);
	assert_true(unreachable);
	assert_int_equal(here("delete", &s, &quick, &a, &unreachable), CLEAT_UNAVAILABLE);
	assert_true(unreachable);
	assert_true(cleat_time_mono_ms() - begin_ms < 20000);
	start_daemon();
	ok_create(&s);
	ok_delete(&s);
}

/* Nomad kills what takes 60 s, and gives a restart 50 s in all. */
static void test_limits__end_before_nomads_do(void **state)
{
	(void)state;
	assert_true(dhv_limits.whole_ms < 50000);
	assert_true(dhv_limits.known_ms < dhv_limits.whole_ms && dhv_limits.new_ms < dhv_limits.known_ms);
	assert_true(dhv_limits.mounted_ms < dhv_limits.new_ms);
}

/* A daemon that takes the connection and never answers. */
static void test_daemon__that_hangs_does_not_stop_tasks(void **state)
{
	const struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB };
	bool unreachable;
	struct answer a;

	(void)state;
	const struct answer before = ok_create(&s);
	test_daemon_signal(&d, SIGSTOP);
	assert_int_equal(here("create", &s, &quick, &a, &unreachable), CLEAT_OK);
	assert_string_equal(a.path, before.path);
	assert_non_null(strstr(warned, "is mounted"));
	const int64_t begin_ms = cleat_time_mono_ms();
	assert_int_equal(here("delete", &s, &quick, &a, &unreachable), CLEAT_DEADLINE_EXCEEDED);
	assert_true(cleat_time_mono_ms() - begin_ms < 20000);
	test_daemon_signal(&d, SIGCONT);
	ok_delete(&s);
}

/* ---- what was handed out is never replaced ---- */

static void test_restore__a_volume_that_is_gone_is_not_made_anew(void **state)
{
	const struct spec s = { .id = ID(0), .params = "{\"pool\":\"plain\"}" };
	bool unreachable;
	struct answer a;

	(void)state;
	ok_create(&s);
	cleat_autopb Cleat__V1__GetVolumeResponse *v = volume("plain/pgdata", "default");
	Cleat__V1__UnpublishVolumeRequest in = CLEAT__V1__UNPUBLISH_VOLUME_REQUEST__INIT;
	in.volume = v->volume->id;
	in.scope = t("default");
	ask("UnpublishVolume", &in.base, NULL);
	unmake(v->volume->id, "default");
	assert_int_equal(here("create", &s, &quick, &a, &unreachable), CLEAT_NOT_FOUND);
	assert_non_null(strstr(a.error, v->volume->id));
	assert_non_null(strstr(a.error, "gone"));
	assert_int_equal(volume_count(), 0);
	ok_delete(&s);
}

static void test_restore__a_pool_that_is_away_is_waited_for(void **state)
{
	const struct spec s = { .id = ID(0), .params = "{\"pool\":\"disk\"}" };
	char disk[64], away[64];
	bool unreachable;
	struct answer a;

	(void)state;
	snprintf(disk, sizeof(disk), "%.40s/disk", d.dir);
	snprintf(away, sizeof(away), "%.40s/away", d.dir);
	const struct answer before = ok_create(&s);
	put_file(before.path, "kept");
	reboot();
	assert_int_equal(rename(disk, away), 0);
	start_daemon();
	assert_int_equal(here("create", &s, &quick, &a, &unreachable), CLEAT_UNAVAILABLE);
	assert_false(unreachable);
	assert_non_null(strstr(a.error, "'disk' is offline"));
	assert_int_equal(here("delete", &s, &quick, &a, &unreachable), CLEAT_UNAVAILABLE);
	assert_int_equal(rename(away, disk), 0);
	assert_string_equal(ok_create(&s).path, before.path);
	check_file(before.path, "kept");
	ok_delete(&s);
}

/* Neither another default pool nor a lost record makes it another volume. */
static void test_restore__is_found_by_its_label(void **state)
{
	const struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB };
	char record[160];

	(void)state;
	const struct answer a = ok_create(&s);
	put_file(a.path, "kept");
	snprintf(record, sizeof(record), "%.60s/" ID(0) ".cleat.json", vols);
	assert_int_equal(unlink(record), 0);
	test_daemon_stop(&d);
	configure("plain", false);
	start_daemon();
	assert_string_equal(ok_create(&s).path, a.path);
	check_file(a.path, "kept");
	assert_int_equal(volume_count(), 1);
	/* A damaged one is no better than none. */
	cleat_autoclose int fd = open(record, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, "{", 1), 1);
	assert_string_equal(ok_create(&s).path, a.path);
	assert_int_equal(unlink(record), 0);
	ok_delete(&s);
	test_daemon_stop(&d);
	configure("default", false);
	start_daemon();
}

/* The mount table is all that is left of who published what, how. */
static void test_restore__a_lost_runtime_directory_changes_nothing(void **state)
{
	const struct spec s = {
		.id = ID(0),
		.min_bytes = 32 * MIB,
		.max_bytes = 32 * MIB,
		.params = "{\"access_mode\":\"single-node-single-writer\",\"mount_options\":\"noatime\"}"
	};
	char facts[128];

	(void)state;
	const struct answer a = ok_create(&s);
	put_file(a.path, "kept");
	crash_daemon();
	DIR *dir = opendir(d.run);
	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		snprintf(facts, sizeof(facts), "%.60s/%.60s", d.run, e->d_name);
		if (e->d_type == DT_REG)
			assert_int_equal(unlink(facts), 0);
	}
	closedir(dir);
	start_daemon();
	assert_string_equal(ok_create(&s).path, a.path);
	check_file(a.path, "kept");
	ok_delete(&s);
}

/* ---- update ---- */

static void grows(const char *params, uint64_t from, uint64_t to)
{
	struct spec s = { .id = ID(0), .min_bytes = from, .max_bytes = 4 * to, .params = params };

	const struct answer a = ok_create(&s);
	put_file(a.path, "kept");
	const uint64_t before = size_of(a.path);
	s.min_bytes = to;
	const struct answer b = ok_create(&s);
	assert_string_equal(b.path, a.path);
	assert_in_range(b.bytes, to, 4 * to);
	assert_true(size_of(b.path) >= before + (to - from) * 8 / 10);
	check_file(b.path, "kept");
	/* Less is no shrinking, and the same again is nothing. */
	s.min_bytes = from;
	assert_int_equal(ok_create(&s).bytes, b.bytes);
	s.min_bytes = to;
	assert_int_equal(ok_create(&s).bytes, b.bytes);
	ok_delete(&s);
}

static void test_update__grows_with_its_data(void **state)
{
	(void)state;
	grows("{\"fs\":\"ext4\"}", 32 * MIB, 96 * MIB);
	grows("{\"fs\":\"xfs\"}", 320 * MIB, 400 * MIB);
}

static void test_update__that_cannot_be_changes_nothing(void **state)
{
	struct spec s = { .id = ID(0),
			  .min_bytes = 32 * MIB,
			  .max_bytes = UINT64_C(1) << 51,
			  .params = "{\"uid\":\"7\"}" };

	(void)state;
	const struct answer a = ok_create(&s);
	s.min_bytes = UINT64_C(1) << 50;
	refused("create", &s, 8, "promise", "'default'");
	s.min_bytes = 32 * MIB;
	s.params = "{\"uid\":\"8\"}";
	refused("create", &s, 2, "'uid'", "'8'");
	s.params = "{\"uid\":\"7\",\"fs\":\"btrfs\"}";
	refused("create", &s, 2, "'fs'", "'btrfs'");
	/* As the agent has it: the request that was fulfilled last. */
	s.params = "{\"uid\":\"7\"}";
	const struct answer b = ok_create(&s);
	assert_string_equal(b.path, a.path);
	assert_int_equal(b.bytes, a.bytes);
	ok_delete(&s);
}

static void test_update__of_how_it_is_mounted(void **state)
{
	struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 64 * MIB };
	struct statvfs st;

	(void)state;
	const struct answer a = ok_create(&s);
	s.params = "{\"mount_options\":\"noexec\",\"read_only\":\"true\"}";
	const struct answer b = ok_create(&s);
	assert_string_equal(b.path, a.path);
	assert_int_equal(statvfs(b.path, &st), 0);
	assert_true((st.f_flag & ST_NOEXEC) && (st.f_flag & ST_RDONLY));
	ok_delete(&s);
}

/* ---- others ---- */

static enum cleat_code publish(const char *ref, const char *scope, const char *target,
			       struct cleat_error *err)
{
	Cleat__V1__PublishVolumeRequest in = CLEAT__V1__PUBLISH_VOLUME_REQUEST__INIT;

	in.volume = t(ref);
	in.scope = t(scope);
	in.target = t(target);
	in.owner = t("somebody else");
	return test_daemon_call(&d, "PublishVolume", &in.base, NULL, err);
}

static void unpublish(const char *ref, const char *scope, const char *target)
{
	Cleat__V1__UnpublishVolumeRequest in = CLEAT__V1__UNPUBLISH_VOLUME_REQUEST__INIT;

	in.volume = t(ref);
	in.scope = t(scope);
	in.target = t(target);
	ask("UnpublishVolume", &in.base, NULL);
}

static void test_claim__keeps_other_doors_out_when_asked_to(void **state)
{
	const struct spec s = { .id = ID(0),
				.min_bytes = 32 * MIB,
				.max_bytes = 32 * MIB,
				.params = "{\"access_mode\":\"single-node-single-writer\"}" };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char target[64];

	(void)state;
	snprintf(target, sizeof(target), "%.40s/target", d.dir);
	ok_create(&s);
	assert_int_equal(publish("default/pgdata", "default", target, &err), CLEAT_FAILED_PRECONDITION);
	assert_non_null(strstr(err.msg, "Nomad's dynamic host volume 'pgdata'"));
	ok_delete(&s);
}

static void test_delete__is_refused_while_others_use_it(void **state)
{
	const struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char target[64];

	(void)state;
	snprintf(target, sizeof(target), "%.40s/target", d.dir);
	const struct answer a = ok_create(&s);
	put_file(a.path, "kept");
	assert_int_equal(publish("default/pgdata", "default", target, &err), CLEAT_OK);
	refused("delete", &s, 4, "in use", "somebody else");
	check_file(a.path, "kept");
	unpublish("default/pgdata", "default", target);
	{
		cleat_autoclose int busy = open(a.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(busy >= 0);
		refused("delete", &s, 4, a.path, "busy");
	}
	check_file(a.path, "kept");
	assert_string_equal(ok_create(&s).path, a.path);
	ok_delete(&s);
}

/* An agent that cannot note a new volume down deletes it, and does not say its name. */
static void test_delete__by_the_id_alone(void **state)
{
	const struct spec s = { .id = ID(0),
				.min_bytes = 32 * MIB,
				.max_bytes = 32 * MIB,
				.namespace = "web" },
			  bare = { .id = ID(0), .name = "", .namespace = "" },
			  gone = { .id = ID(1), .name = "" };
	char record[160];

	(void)state;
	ok_create(&s);
	ok_delete(&gone);
	assert_int_equal(volume_count(), 1);
	ok_delete(&bare);
	assert_int_equal(volume_count(), 0);
	ok_create(&s);
	snprintf(record, sizeof(record), "%.60s/" ID(0) ".cleat.json", vols);
	assert_int_equal(unlink(record), 0);
	ok_delete(&bare);
}

static void test_delete__keeps_when_told_to(void **state)
{
	const struct spec s = { .id = ID(0),
				.min_bytes = 32 * MIB,
				.max_bytes = 32 * MIB,
				.params = "{\"on_delete\":\"keep\"}" };

	(void)state;
	ok_create(&s);
	ok_delete(&s);
	assert_int_equal(claim_count(), 0);
	cleat_autopb Cleat__V1__GetVolumeResponse *v = volume("default/pgdata", "default");
	assert_int_equal(v->volume->n_labels, 0);
	ok_delete(&s);
	unmake("default/pgdata", "default");
}

/* ---- volumes that were there before ---- */

static void test_volume__one_that_exists_is_used_and_stays(void **state)
{
	const struct spec s = { .id = ID(0),
				.name = "web-data",
				.min_bytes = 48 * MIB,
				.max_bytes = 64 * MIB,
				.params = "{\"volume\":\"mine\"}" },
			  other = { .id = ID(1),
				    .name = "web-data",
				    .params = "{\"volume\":\"default/mine\"}" },
			  small = { .id = ID(2), .max_bytes = 16 * MIB, .params = "{\"volume\":\"mine\"}" };

	(void)state;
	make("mine", "default");
	refused("create", &small, 1, "'mine'", "capacity_max");
	const struct answer a = ok_create(&s);
	assert_in_range(a.bytes, 48 * MIB, 64 * MIB);
	put_file(a.path, "kept");
	refused("create", &other, 4, "'default/mine'", ID(0));
	reboot();
	start_daemon();
	assert_string_equal(ok_create(&s).path, a.path);
	ok_delete(&s);
	/* Nobody's again: the next one may have it. */
	check_file(ok_create(&other).path, "kept");
	ok_delete(&other);
	unmake("default/mine", "default");
}

static void test_volume__of_another_scope_needs_its_leave(void **state)
{
	const struct spec s = { .id = ID(0), .params = "{\"volume\":\"default/private\"}" };
	Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;

	(void)state;
	make("private", "secret");
	in.volume = t("default/private");
	in.scope = t("secret");
	ASK(Cleat__V1__GetVolumeResponse, v, "GetVolume", in);
	refused("create", &s, 3, "'volume'", "private");
	char params[160];
	snprintf(params, sizeof(params), "{\"volume\":\"%s\"}", v->volume->id);
	const struct spec by_id = { .id = ID(0), .params = params };
	refused("create", &by_id, 1, "'volume'", "scope");
	unmake(v->volume->id, "secret");
}

static void test_source__is_copied(void **state)
{
	const struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB },
			  copy = { .id = ID(1),
				   .name = "copy",
				   .min_bytes = 32 * MIB,
				   .max_bytes = 64 * MIB,
				   .params = "{\"source\":\"default/pgdata\"}" };

	(void)state;
	const struct answer a = ok_create(&s);
	put_file(a.path, "original");
	sync();
	const struct answer b = ok_create(&copy);
	check_file(b.path, "original");
	put_file(b.path, "changed");
	check_file(a.path, "original");
	ok_delete(&s);
	check_file(ok_create(&copy).path, "changed");
	ok_delete(&copy);
}

/* ---- killed ---- */

/* Killed at any moment, the same call again gives the right answer, and the delete leaves nothing. */
static void test_kill__of_create_then_the_same_again(void **state)
{
	(void)state;
	for (int ms = 0; ms < 60; ms += 3) {
		const struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB };
		struct call c = { 0 };

		start_call(&c, "create", &s);
		poll(NULL, 0, ms);
		kill(-c.run.pid, SIGKILL);
		test_run_wait(&c.run);
		end_call(&c);
		const struct answer a = ok_create(&s);
		assert_int_equal(volume_count(), 1);
		assert_int_equal(claim_count(), 1);
		put_file(a.path, "x");
		start_call(&c, "delete", &s);
		poll(NULL, 0, ms);
		kill(-c.run.pid, SIGKILL);
		test_run_wait(&c.run);
		end_call(&c);
		ok_delete(&s);
		assert_int_equal(nothing_left(NULL), 0);
	}
}

/* Nomad forgets a volume whose first create failed, and the user tries again: another id, the same name. */
static void test_kill__of_create_then_another_id(void **state)
{
	(void)state;
	for (int ms = 0; ms < 60; ms += 3) {
		const struct spec killed = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB },
				  same = { .id = ID(1), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB },
				  larger = { .id = ID(1), .min_bytes = 48 * MIB, .max_bytes = 48 * MIB };
		const struct spec *next = ms % 2 ? &same : &larger;
		struct call c = { 0 };

		start_call(&c, "create", &killed);
		poll(NULL, 0, ms);
		kill(-c.run.pid, SIGKILL);
		test_run_wait(&c.run);
		const bool answered = c.run.out && *c.run.out;
		end_call(&c);
		const struct answer a = ok_create(next);
		assert_true(a.bytes >= next->min_bytes);
		ok_delete(next);
		/* Only what was as good as handed out may be left. */
		if (volume_count()) {
			cleat_autopb Cleat__V1__GetVolumeResponse *v = volume("default/pgdata", "default");
			assert_string_equal(label(v->volume, "nomad.volume"), ID(0));
			assert_string_equal(label(v->volume, "nomad.unfinished"), "");
		} else {
			assert_false(answered);
		}
		ok_delete(&killed);
		assert_int_equal(nothing_left(NULL), 0);
	}
}

/* The moment in which the daemon has made the volume, and the plugin is gone. */
static void test_left_over__is_taken_up_or_removed(void **state)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	Cleat__V1__CreateVolumeRequest__LabelsEntry labels[3],
		*entries[3] = { &labels[0], &labels[1], &labels[2] };
	static const char *const pairs[3][2] = { { "nomad.volume", ID(0) },
						 { "nomad.node_id", "node-1" },
						 { "nomad.unfinished", "true" } };

	(void)state;
	in.name = t("pgdata");
	in.scope = t("default");
	in.capacity_bytes = 32 * MIB;
	in.n_labels = 3;
	in.labels = entries;
	for (int i = 0; i < 3; i++) {
		cleat__v1__create_volume_request__labels_entry__init(&labels[i]);
		labels[i].key = t(pairs[i][0]);
		labels[i].value = t(pairs[i][1]);
	}
	for (int larger = 0; larger < 2; larger++) {
		const struct spec s = { .id = ID(1),
					.min_bytes = (larger ? 48 : 32) * MIB,
					.max_bytes = 64 * MIB };
		ask("CreateVolume", &in.base, NULL);
		ok_create(&s);
		assert_int_equal(volume_count(), 1);
		cleat_autopb Cleat__V1__GetVolumeResponse *v = volume("default/pgdata", "default");
		assert_string_equal(label(v->volume, "nomad.volume"), ID(1));
		ok_delete(&s);
	}
	/* That of another node is not ours to touch. */
	labels[1].value = t("node-2");
	const struct spec s = { .id = ID(1), .min_bytes = 32 * MIB, .max_bytes = 64 * MIB };
	ask("CreateVolume", &in.base, NULL);
	ok_create(&s);
	assert_int_equal(volume_count(), 2);
	ok_delete(&s);
	unmake("default/pgdata", "default");
}

/* The daemon dies in the middle of things and comes back: the caller sees an answer. */
static void test_kill__of_the_daemon_during_create(void **state)
{
	(void)state;
	for (int ms = 10; ms < 60; ms += 10) {
		const struct spec s = { .id = ID(0), .min_bytes = 32 * MIB, .max_bytes = 32 * MIB };
		struct call c = { 0 };
		struct answer a;

		start_call(&c, "create", &s);
		poll(NULL, 0, ms);
		crash_daemon();
		start_daemon();
		test_run_wait(&c.run);
		read_answer(&c, &a);
		if (c.run.code)
			fail_msg("%s", a.error);
		end_call(&c);
		assert_string_equal(ok_create(&s).path, a.path);
		assert_int_equal(volume_count(), 1);
		ok_delete(&s);
		assert_int_equal(nothing_left(NULL), 0);
	}
}

int main(void)
{
	if (geteuid() != 0 || access("/dev/loop-control", F_OK)) {
		printf("skipped: %s\n", geteuid() ? "must be root, volumes are mounted" : "no loop devices");
		return 77;
	}
	const struct CMUnitTest tests[] = {
#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, nothing_left)
		CASE(test_fingerprint__tells_the_version_and_asks_nobody),
		CASE(test_words__help_version_and_mistakes),
		CASE(test_create__a_mounted_file_system_of_that_size),
		CASE(test_create__without_a_size_the_pools_default_holds),
		CASE(test_create__twice_and_all_at_once),
		CASE(test_create__of_one_name_are_different_volumes),
		CASE(test_create__what_is_wrong_is_named_and_leaves_nothing),
		CASE(test_create__an_answer_that_nobody_gets_is_a_failure),
		CASE(test_restore__after_a_reboot_path_and_data_are_the_same),
		CASE(test_restore__of_many_after_a_reboot),
		CASE(test_restore__needs_no_daemon_while_it_is_mounted),
		CASE(test_daemon__that_is_not_there_is_named_in_time),
		CASE(test_limits__end_before_nomads_do),
		CASE(test_daemon__that_hangs_does_not_stop_tasks),
		CASE(test_restore__a_volume_that_is_gone_is_not_made_anew),
		CASE(test_restore__a_pool_that_is_away_is_waited_for),
		CASE(test_restore__is_found_by_its_label),
		CASE(test_restore__a_lost_runtime_directory_changes_nothing),
		CASE(test_update__grows_with_its_data),
		CASE(test_update__that_cannot_be_changes_nothing),
		CASE(test_update__of_how_it_is_mounted),
		CASE(test_claim__keeps_other_doors_out_when_asked_to),
		CASE(test_delete__is_refused_while_others_use_it),
		CASE(test_delete__by_the_id_alone),
		CASE(test_delete__keeps_when_told_to),
		CASE(test_volume__one_that_exists_is_used_and_stays),
		CASE(test_volume__of_another_scope_needs_its_leave),
		CASE(test_source__is_copied),
		CASE(test_kill__of_create_then_the_same_again),
		CASE(test_kill__of_create_then_another_id),
		CASE(test_left_over__is_taken_up_or_removed),
		CASE(test_kill__of_the_daemon_during_create),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, open_lab, close_lab);
}
