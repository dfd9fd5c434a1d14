/* dhv_record_test.c - what the plugin remembers: whole or not at all, and not believed when it is damaged. */
#include "dhv/files.h"
#include "dhv/record.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/mem.h"

#define ID "0a1b2c3d-1111-2222-3333-444455556666"
#define FILE_NAME ID ".cleat.json"

static char dir[64];
static char vol[] = "default-1a2b3c4d.abcdefgh", scope[] = "default", name[] = "pg \"data\" \xc3\xa9",
	    path[] = "/run/cleat/mnt/published/default-1a2b3c4d.abcdefgh";

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/cleat-dhv-record-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

/* Removes the files of the directory, and says how many there were. */
static unsigned empty_dir(void)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.') {
			assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
			n++;
		}
	closedir(d);
	return n;
}

static int remove_dir(void **state)
{
	(void)state;
	empty_dir();
	return rmdir(dir);
}

static struct dhv_request request_of(struct cleat_kvs *params)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	assert_int_equal(cleat_kv_set(params, "fs", "xfs", &err), CLEAT_OK);
	return (struct dhv_request){ .id = ID,
				     .name = name,
				     .namespace = scope,
				     .volumes_dir = dir,
				     .node = "n1",
				     .min_bytes = 1,
				     .max_bytes = INT64_MAX,
				     .params = *params };
}

static struct dhv_record record_of(const struct dhv_request *r)
{
	return (struct dhv_record){ .format = DHV_RECORD_FORMAT,
				    .volume = vol,
				    .scope = scope,
				    .name = name,
				    .path = path,
				    .bytes = 4096,
				    .min_bytes = r->min_bytes,
				    .max_bytes = r->max_bytes,
				    .params = r->params };
}

static void test_record__comes_back(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autokvs struct cleat_kvs params = { 0 };
	struct dhv_request r = request_of(&params);
	struct dhv_record rec = record_of(&r), got;

	(void)state;
	assert_int_equal(dhv_record_load(&r, &got, &err), CLEAT_NOT_FOUND);
	err = (struct cleat_error)CLEAT_ERROR_INIT;
	assert_int_equal(dhv_record_save(&r, &rec, &err), CLEAT_OK);
	rec.bytes = 8192;
	assert_int_equal(dhv_record_save(&r, &rec, &err), CLEAT_OK);
	assert_int_equal(dhv_record_load(&r, &got, &err), CLEAT_OK);
	assert_string_equal(got.volume, vol);
	assert_string_equal(got.scope, scope);
	assert_string_equal(got.name, name);
	assert_string_equal(got.path, path);
	assert_int_equal(got.bytes, 8192);
	assert_true(dhv_record_is_of(&got, &r));
	r.min_bytes++;
	assert_false(dhv_record_is_of(&got, &r));
	r.min_bytes--;
	r.params.count = 0;
	assert_false(dhv_record_is_of(&got, &r));
	dhv_record_done(&got);
	assert_int_equal(empty_dir(), 1);
}

static void test_record__the_directory_may_be_missing(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autokvs struct cleat_kvs params = { 0 };
	struct dhv_request r = request_of(&params);
	struct dhv_record rec = record_of(&r), got;
	char missing[80];

	(void)state;
	snprintf(missing, sizeof(missing), "%s/vols", dir);
	r.volumes_dir = missing;
	assert_int_equal(dhv_record_load(&r, &got, &err), CLEAT_NOT_FOUND);
	err = (struct cleat_error)CLEAT_ERROR_INIT;
	assert_int_equal(dhv_record_remove(missing, ID, &err), CLEAT_OK);
	assert_int_equal(dhv_record_save(&r, &rec, &err), CLEAT_OK);
	assert_int_equal(dhv_record_load(&r, &got, &err), CLEAT_OK);
	dhv_record_done(&got);
	assert_int_equal(dhv_record_remove(missing, ID, &err), CLEAT_OK);
	assert_int_equal(rmdir(missing), 0);
}

static void put(const char *file, const char *text)
{
	char where[256];

	snprintf(where, sizeof(where), "%s/%s", dir, file);
	cleat_autoclose int fd = open(where, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* With the record goes what a killed writer left; what belongs to other volumes stays. */
static void test_record__removal_takes_attempts_along(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	put(FILE_NAME, "{}");
	put(FILE_NAME ".abcdefgh", "{");
	put("1a1b2c3d-1111-2222-3333-444455556666.cleat.json", "{}");
	put(ID, "of another plugin");
	assert_int_equal(dhv_record_remove(dir, ID, &err), CLEAT_OK);
	assert_int_equal(dhv_record_remove(dir, ID, &err), CLEAT_OK);
	assert_int_equal(empty_dir(), 2);
}

static void test_record__damage_is_told(void **state)
{
	static const char *const wrong[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"format\":0}",
		"{\"format\":1,\"volume\":\"a.b\",\"scope\":\"\",\"name\":\"n\",\"path\":\"x\",\"bytes\":1,"
		"\"min_bytes\":0,"
		"\"max_bytes\":0,\"params\":{}}",
		"{\"format\":1,\"volume\":\"ab\",\"scope\":\"\",\"name\":\"n\",\"path\":\"/"
		"x\",\"bytes\":1,\"min_bytes\":0,"
		"\"max_bytes\":0,\"params\":{}}",
		"{\"format\":1,\"volume\":\"a.b\",\"scope\":\"\",\"name\":\"n\",\"path\":\"/"
		"x\",\"bytes\":-1,\"min_bytes\":0,"
		"\"max_bytes\":0,\"params\":{}}",
		"{\"format\":1,\"volume\":\"a.b\",\"scope\":\"\",\"name\":\"n\",\"path\":\"/"
		"x\",\"bytes\":1,\"min_bytes\":0,"
		"\"max_bytes\":0,\"params\":{\"a\":1}}",
		"{\"format\":1,\"volume\":\"a.b\",\"scope\":\"\",\"name\":\"n\",\"path\":\"/"
		"x\",\"bytes\":1,\"min_bytes\":0,"
		"\"max_bytes\":0}",
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(wrong); i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		struct dhv_record rec;

		assert_int_equal(dhv_record_parse(wrong[i], strlen(wrong[i]), &rec, &err), CLEAT_DATA_LOSS);
		assert_non_null(strstr(err.msg, "damaged"));
	}
}

/* A newer release may add what this one does not know. */
static void test_record__of_a_newer_release_is_understood(void **state)
{
	static const char text[] =
		"{\"format\":2,\"volume\":\"a.b\",\"scope\":\"s\",\"name\":\"n\",\"path\":\"/x\",\"bytes\":1,"
		"\"min_bytes\":0,\"max_bytes\":0,\"params\":{},\"colour\":\"blue\"}";
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct dhv_record rec;

	(void)state;
	assert_int_equal(dhv_record_parse(text, strlen(text), &rec, &err), CLEAT_OK);
	assert_int_equal(rec.format, 2);
	assert_string_equal(rec.path, "/x");
	dhv_record_done(&rec);
}

/* Whoever reads while others write sees one of the records, whole. */
static void test_record__is_never_seen_half(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autokvs struct cleat_kvs params = { 0 };
	struct dhv_request r = request_of(&params);
	struct dhv_record rec = record_of(&r), got;

	(void)state;
	assert_int_equal(dhv_record_save(&r, &rec, &err), CLEAT_OK);
	pid_t writer = fork();
	assert_true(writer >= 0);
	if (writer == 0) {
		for (unsigned i = 0; i < 50; i++) {
			rec.bytes = i;
			if (dhv_record_save(&r, &rec, &err))
				_exit(1);
		}
		_exit(0);
	}
	int status;
	do {
		assert_int_equal(dhv_record_load(&r, &got, &err), CLEAT_OK);
		dhv_record_done(&got);
	} while (waitpid(writer, &status, WNOHANG) == 0);
	assert_int_equal(status, 0);
	assert_int_equal(dhv_record_load(&r, &got, &err), CLEAT_OK);
	assert_int_equal(got.bytes, 49);
	dhv_record_done(&got);
	assert_int_equal(empty_dir(), 1);
}

static void test_files__mounted_or_not(void **state)
{
	(void)state;
	assert_true(dhv_is_mounted("/proc"));
	assert_false(dhv_is_mounted("/proc/self"));
	assert_false(dhv_is_mounted("/proc/no-such-thing"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record__comes_back),
		cmocka_unit_test(test_record__the_directory_may_be_missing),
		cmocka_unit_test(test_record__removal_takes_attempts_along),
		cmocka_unit_test(test_record__damage_is_told),
		cmocka_unit_test(test_record__of_a_newer_release_is_understood),
		cmocka_unit_test(test_record__is_never_seen_half),
		cmocka_unit_test(test_files__mounted_or_not),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
