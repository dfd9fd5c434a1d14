/* store_record_test.c - records in memory and in their stored form. */
#include "store/pooldir.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "util/buf.h"
#include "util/kv.h"
#include "util/mem.h"

static void set(char **field, const char *text)
{
	assert_int_equal(cleat_record_set(field, text, NULL), CLEAT_OK);
}

static void pair(struct cleat_kvs *kvs, const char *key, const char *value)
{
	assert_int_equal(cleat_kv_set(kvs, key, value, NULL), CLEAT_OK);
}

static struct cleat_record *small(void)
{
	struct cleat_record *r = cleat_record_new(CLEAT_KIND_VOLUME);

	assert_non_null(r);
	set(&r->key, "abc");
	set(&r->name, "db");
	return r;
}

static struct cleat_record *full(void)
{
	struct cleat_record *r = cleat_record_new(CLEAT_KIND_SNAPSHOT);

	assert_non_null(r);
	set(&r->key, "k_9-Z");
	set(&r->name, "w\xc3\xb6rter \"und\" \\mehr");
	set(&r->scope, "prod");
	set(&r->fs, "xfs");
	set(&r->source, "pool-1234.key");
	set(&r->group, "nightly");
	r->capacity_bytes = INT64_MAX;
	r->fs_bytes = 4096;
	r->access_type = CLEAT_ACCESS_BLOCK;
	r->formatted = r->clone = r->adopted = true;
	r->created_ms = -5;
	pair(&r->params, "uid", "7");
	pair(&r->labels, "team", "storage\nwith a second line");
	pair(&r->labels, "app", "");
	pair(&r->attributes, "enforces_size", "false");
	r->attachments = calloc(2, sizeof(*r->attachments));
	assert_non_null(r->attachments);
	r->attachment_count = 2;
	set(&r->attachments[0].node, "node-a");
	set(&r->attachments[1].node, "node-b");
	r->attachments[0].mode = CLEAT_MODE_MULTI_NODE_READER_ONLY;
	r->attachments[1].mode = CLEAT_MODE_SINGLE_NODE_MULTI_WRITER;
	r->attachments[0].read_only = true;
	return r;
}

static void assert_same(const struct cleat_record *a, const struct cleat_record *b)
{
	assert_int_equal(a->format, b->format);
	assert_int_equal(a->kind, b->kind);
	assert_string_equal(a->key, b->key);
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->scope, b->scope);
	assert_string_equal(a->fs, b->fs);
	assert_string_equal(a->source, b->source);
	assert_string_equal(a->group, b->group);
	assert_int_equal(a->capacity_bytes, b->capacity_bytes);
	assert_int_equal(a->fs_bytes, b->fs_bytes);
	assert_int_equal(a->access_type, b->access_type);
	assert_int_equal(a->formatted, b->formatted);
	assert_int_equal(a->clone, b->clone);
	assert_int_equal(a->adopted, b->adopted);
	assert_int_equal(a->created_ms, b->created_ms);
	assert_true(cleat_kv_equal(&a->params, &b->params));
	assert_true(cleat_kv_equal(&a->labels, &b->labels));
	assert_true(cleat_kv_equal(&a->attributes, &b->attributes));
	assert_int_equal(a->attachment_count, b->attachment_count);
	for (size_t i = 0; i < a->attachment_count; i++) {
		assert_string_equal(a->attachments[i].node, b->attachments[i].node);
		assert_int_equal(a->attachments[i].mode, b->attachments[i].mode);
		assert_int_equal(a->attachments[i].read_only, b->attachments[i].read_only);
	}
}

/* ---- in memory ------------------------------------------------------------------------------- */

static void test_record__copy_is_deep(void **state)
{
	cleat_autorecord struct cleat_record *a = full();
	cleat_autorecord struct cleat_record *b = cleat_record_copy(a);

	(void)state;
	assert_non_null(b);
	assert_same(a, b);
	set(&b->name, "other");
	set(&b->attachments[0].node, "other");
	pair(&b->labels, "team", "other");
	assert_string_equal(a->attachments[0].node, "node-a");
	assert_string_not_equal(a->name, b->name);
	assert_string_not_equal(cleat_kv_get(&a->labels, "team"), "other");
}

static void test_record__set_replaces_and_takes_null(void **state)
{
	cleat_autorecord struct cleat_record *r = cleat_record_new(CLEAT_KIND_VOLUME);

	(void)state;
	assert_non_null(r);
	assert_string_equal(r->name, "");
	set(&r->name, "one");
	set(&r->name, r->name);
	assert_string_equal(r->name, "one");
	set(&r->name, NULL);
	assert_string_equal(r->name, "");
	set(&r->name, "");
	set(&r->name, "two");
	assert_string_equal(r->name, "two");
}

#define TAKERS 4

static void *take_and_drop(void *arg)
{
	for (int i = 0; i < 20000; i++)
		cleat_record_unref(cleat_record_ref(arg));
	cleat_record_unref(arg);
	return NULL;
}

static void test_record__references_are_counted_across_threads(void **state)
{
	struct cleat_record *r = full();
	pthread_t threads[TAKERS];

	(void)state;
	for (int i = 0; i < TAKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_drop, cleat_record_ref(r)), 0);
	for (int i = 0; i < TAKERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(r->refs, 1);
	cleat_record_unref(r);
	cleat_record_unref(NULL);
}

/* ---- stored ---------------------------------------------------------------------------------- */

static void test_record__small_ones_are_small_texts(void **state)
{
	cleat_autorecord struct cleat_record *r = small();
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);

	(void)state;
	assert_int_equal(cleat_record_encode(r, &text, NULL), CLEAT_OK);
	assert_string_equal(cleat_buf_text(&text), "{\"format\":1,\"kind\":\"volume\",\"key\":\"abc\","
						   "\"name\":\"db\",\"access_type\":\"mount\"}\n");
}

static void test_record__reads_back_what_it_writes(void **state)
{
	struct cleat_record *(*const makers[])(void) = { small, full };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(makers); i++) {
		cleat_autorecord struct cleat_record *r = makers[i]();
		cleat_autorecord struct cleat_record *back = NULL;
		cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);
		cleat_autobuf struct cleat_buf again = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);
		assert_int_equal(cleat_record_encode(r, &text, NULL), CLEAT_OK);
		assert_int_equal(cleat_record_decode(text.data, text.len, &back, NULL), CLEAT_OK);
		assert_same(r, back);
		assert_int_equal(cleat_record_encode(back, &again, NULL), CLEAT_OK);
		assert_string_equal(text.data, again.data);
	}
}

static void expect_no_write(struct cleat_record *r, enum cleat_code code, const char *words)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);
	struct cleat_error err = CLEAT_ERROR_INIT;

	assert_int_equal(cleat_record_encode(r, &text, &err), code);
	if (!strstr(err.msg, words))
		fail_msg("no '%s' in: %s", words, err.msg);
	cleat_record_unref(r);
}

static void test_record__refuses_to_write_what_it_could_not_read(void **state)
{
	struct cleat_record *r = small();
	char big[4000];

	(void)state;
	r->format = CLEAT_RECORD_FORMAT + 1;
	expect_no_write(r, CLEAT_FAILED_PRECONDITION, "read-only");
	r = small();
	set(&r->key, "a/b");
	expect_no_write(r, CLEAT_INVALID_ARGUMENT, "key");
	r = small();
	set(&r->name, "");
	expect_no_write(r, CLEAT_INVALID_ARGUMENT, "name");
	r = small();
	set(&r->name, "a\nb");
	expect_no_write(r, CLEAT_INVALID_ARGUMENT, "'name'");
	r = small();
	pair(&r->labels, "x", "\xff");
	expect_no_write(r, CLEAT_INVALID_ARGUMENT, "'labels'");
	r = small();
	r->capacity_bytes = UINT64_MAX;
	expect_no_write(r, CLEAT_INVALID_ARGUMENT, "'capacity_bytes'");
	r = small();
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	for (char key[8] = "k0"; key[1] <= 'J'; key[1]++)
		pair(&r->labels, key, big);
	expect_no_write(r, CLEAT_INVALID_ARGUMENT, "larger than 65536 bytes");
}

#define GOOD "\"format\":1,\"kind\":\"volume\",\"key\":\"abc\",\"name\":\"db\",\"access_type\":\"mount\""

static void test_record__refuses_to_read_what_is_none(void **state)
{
	static const char *const bad[][2] = {
		{ "", "not JSON" },
		{ "{", "not JSON" },
		{ "[]", "not a JSON object" },
		{ "null", "not" },
		{ "{}", "'format'" },
		{ "{" GOOD "} x", "not JSON" },
		{ "{" GOOD ",\"name\":\"twice\"}", "not JSON" },
		{ "{\"format\":0}", "'format'" },
		{ "{\"format\":\"1\"}", "'format'" },
		{ "{\"format\":1.0}", "'format'" },
		{ "{\"format\":99999999999}", "'format' is out of range" },
		{ "{" GOOD ",\"colour\":\"red\"}", "'colour' is not a member" },
		{ "{\"format\":1,\"kind\":\"volume\",\"key\":\"abc\",\"access_type\":\"mount\"}",
		  "'name' is missing" },
		{ "{\"format\":1,\"kind\":\"volume\",\"key\":\"abc\",\"name\":\"\",\"access_type\":"
		  "\"mount\"}",
		  "'name' is empty" },
		{ "{\"format\":1,\"kind\":\"volume\",\"key\":\"..\",\"name\":\"x\",\"access_type\":"
		  "\"mount\"}",
		  "'key'" },
		{ "{\"format\":1,\"kind\":\"volume\",\"key\":\"\",\"name\":\"x\",\"access_type\":\"mount\"}",
		  "'key'" },
		{ "{\"format\":1,\"kind\":\"thing\",\"key\":\"a\",\"name\":\"x\",\"access_type\":\"mount\"}",
		  "'kind'" },
		{ "{\"format\":1,\"kind\":2,\"key\":\"a\",\"name\":\"x\",\"access_type\":\"mount\"}",
		  "'kind'" },
		{ "{" GOOD ",\"scope\":7}", "'scope' is not a text" },
		{ "{" GOOD ",\"scope\":\"a\\u0000b\"}", "not JSON" },
		{ "{" GOOD ",\"scope\":\"a\\nb\"}", "'scope' has control" },
		{ "{" GOOD ",\"scope\":\"\xff\"}", "not JSON" },
		{ "{" GOOD ",\"fs\":\"a file system with far too long a name\"}", "'fs' is too long" },
		{ "{" GOOD ",\"capacity_bytes\":-1}", "'capacity_bytes' is negative" },
		{ "{" GOOD ",\"capacity_bytes\":1e3}", "'capacity_bytes'" },
		{ "{" GOOD ",\"capacity_bytes\":9223372036854775808}", "not JSON" },
		{ "{" GOOD ",\"formatted\":1}", "'formatted'" },
		{ "{" GOOD ",\"labels\":[]}", "'labels' is not an object" },
		{ "{" GOOD ",\"labels\":{\"a\":1}}", "'labels'" },
		{ "{" GOOD ",\"labels\":{\"\":\"x\"}}", "'labels'" },
		{ "{" GOOD ",\"labels\":{\"a\\tb\":\"x\"}}", "'labels'" },
		{ "{" GOOD ",\"attachments\":{}}", "'attachments' is not a list" },
		{ "{" GOOD ",\"attachments\":[7]}", "'attachments'" },
		{ "{" GOOD ",\"attachments\":[{\"node\":\"n\",\"mode\":1}]}", "'attachments'" },
		{ "{" GOOD ",\"attachments\":[{\"node\":\"n\",\"mode\":8,\"read_only\":true}]}",
		  "unknown access mode" },
		{ "{" GOOD ",\"attachments\":[{\"node\":\"\",\"mode\":1,\"read_only\":true}]}",
		  "without a node" },
		{ "{" GOOD ",\"labels\":{\"a\":[[[[1]]]]}}", "nested too deeply" },
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		struct cleat_record *r = NULL;
		struct cleat_error err = CLEAT_ERROR_INIT;
		enum cleat_code code = cleat_record_decode(bad[i][0], strlen(bad[i][0]), &r, &err);
		if (code != CLEAT_DATA_LOSS || err.code != code || r || !strstr(err.msg, bad[i][1]))
			fail_msg("%s: %s, not DATA_LOSS with '%s': %s", bad[i][0], cleat_code_name(code),
				 bad[i][1], err.msg);
	}
}

static void add_member(struct cleat_buf *b, const char *open, const char *item, unsigned count,
		       const char *close)
{
	cleat_buf_addf(b, "{" GOOD ",%s", open);
	for (unsigned i = 0; i < count; i++) {
		cleat_buf_addf(b, "%s", i ? "," : "");
		cleat_buf_addf(b,
			       strchr(item, '%') ? "\"k%u\":\"v\""
						 : "{\"node\":\"n\",\"mode\":1,\"read_only\":false}",
			       i);
	}
	cleat_buf_addf(b, "%s}", close);
}

static void test_record__counts_and_sizes_have_limits(void **state)
{
	static char large[CLEAT_RECORD_MAX_BYTES + 1];
	static const struct {
		const char *open, *item, *close;
		unsigned most;
	} lists[] = { { "\"labels\":{", "%", "}", CLEAT_KV_MAX },
		      { "\"attachments\":[", "", "]", CLEAT_ATTACHMENTS_MAX } };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_record *r = NULL;

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(lists); i++) {
		for (unsigned more = 0; more < 2; more++) {
			cleat_autobuf struct cleat_buf b = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);
			add_member(&b, lists[i].open, lists[i].item, lists[i].most + more, lists[i].close);
			assert_int_equal(cleat_record_decode(b.data, b.len, &r, &err),
					 more ? CLEAT_DATA_LOSS : CLEAT_OK);
			if (!more)
				cleat_record_unref(r);
		}
	}
	memset(large, ' ', sizeof(large));
	memcpy(large, "{" GOOD "}", sizeof("{" GOOD "}") - 1);
	assert_int_equal(cleat_record_decode(large, CLEAT_RECORD_MAX_BYTES, &r, &err), CLEAT_OK);
	cleat_record_unref(r);
	assert_int_equal(cleat_record_decode(large, sizeof(large), &r, &err), CLEAT_DATA_LOSS);
}

static void test_record__newer_format_is_read_as_far_as_it_goes(void **state)
{
	static const char text[] =
		"{\"format\":9,\"kind\":\"galaxy\",\"key\":\"abc\",\"name\":\"db\",\"scope\":[1],"
		"\"capacity_bytes\":4096,\"warp\":{\"x\":1}}";
	static const char bare[] = "{\"format\":2}";
	cleat_autorecord struct cleat_record *r = NULL, *empty = NULL;

	(void)state;
	assert_int_equal(cleat_record_decode(text, strlen(text), &r, NULL), CLEAT_OK);
	assert_int_equal(r->format, 9);
	assert_string_equal(r->key, "abc");
	assert_string_equal(r->name, "db");
	assert_string_equal(r->scope, "");
	assert_int_equal(r->capacity_bytes, 4096);
	assert_int_equal(r->kind, CLEAT_KIND_VOLUME);
	assert_int_equal(cleat_record_decode(bare, strlen(bare), &empty, NULL), CLEAT_OK);
	assert_string_equal(empty->name, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record__copy_is_deep),
		cmocka_unit_test(test_record__set_replaces_and_takes_null),
		cmocka_unit_test(test_record__references_are_counted_across_threads),
		cmocka_unit_test(test_record__small_ones_are_small_texts),
		cmocka_unit_test(test_record__reads_back_what_it_writes),
		cmocka_unit_test(test_record__refuses_to_write_what_it_could_not_read),
		cmocka_unit_test(test_record__refuses_to_read_what_is_none),
		cmocka_unit_test(test_record__counts_and_sizes_have_limits),
		cmocka_unit_test(test_record__newer_format_is_read_as_far_as_it_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
