/* http_http_test.c - the HTTP room against a real server (tests/lib/http_peer.py): limits, repeats, kept
 * connections, sockets, TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http/bucket.h"
#include "http/http.h"
#include "http/json.h"
#include "http/xml.h"
#include "peer.h"
#include "util/clock.h"
#include "util/log.h"

static char folder[64];
static struct peer peer = { .stdin_fd = -1, .stdout_fd = -1 };
static int port, tls_port;

static int group_setup(void **state)
{
	char line[64], command[512];

	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/cleat-http.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(command, sizeof(command), "%s/key.pem", folder);
	char cert[128];
	snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
	const char *const make[] = { "sh",
				     "-c",
				     "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
				     "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout \"$0\" -out "
				     "\"$1\" 2>/dev/null && echo made",
				     command,
				     cert,
				     NULL };
	struct peer maker;
	assert_true(peer_start(&maker, make, 60000, line, sizeof(line)));
	peer_stop(&maker);
	const char *const argv[] = { "python3", CLEAT_TESTS_LIB "/http_peer.py", folder, NULL };
	if (!peer_start(&peer, argv, 20000, line, sizeof(line)) ||
	    sscanf(line, "%d %d", &port, &tls_port) != 2)
		return -1;
	return 0;
}

static int group_teardown(void **state)
{
	static const char *const files[] = { "key.pem", "cert.pem", "socket", "log" };
	char path[128];

	(void)state;
	peer_stop(&peer);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
		unlink(path);
	}
	rmdir(folder);
	return 0;
}

static struct cleat_http *client(const struct cleat_http_options *opts)
{
	struct cleat_http *http = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (cleat_http_new(opts, &http, &err))
		fail_msg("%s", err.msg);
	return http;
}

/* Short pauses, so that the tests are quick. */
static const struct cleat_http_options quick = { .retry_first_ms = 1, .retry_most_ms = 5, .direct = true };

static const char *url(const char *path)
{
	static char text[256];

	snprintf(text, sizeof(text), "http://127.0.0.1:%d%s", port, path);
	return text;
}

static enum cleat_code get(struct cleat_http *http, const char *path, struct cleat_http_answer *answer,
			   struct cleat_error *err)
{
	const struct cleat_http_request req = { .url = url(path), .idempotent = true };

	*err = (struct cleat_error)CLEAT_ERROR_INIT;
	return cleat_http_call(http, &req, answer, err);
}

static int calls_of(struct cleat_http *http, const char *path)
{
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err;
	char text[200];

	snprintf(text, sizeof(text), "/calls%s", path);
	assert_int_equal(get(http, text, &answer, &err), CLEAT_OK);
	return atoi(cleat_buf_text(&answer.body));
}

static void test_http__answers_are_given_whatever_their_status(void **state)
{
	cleat_autohttp struct cleat_http *http = client(&quick);
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err;

	(void)state;
	assert_int_equal(get(http, "/ok", &answer, &err), CLEAT_OK);
	assert_int_equal(answer.status, 200);
	assert_string_equal(cleat_buf_text(&answer.body), "ok");
	assert_string_equal(answer.content_type, "text/plain");
	assert_int_equal(get(http, "/nothing", &answer, &err), CLEAT_OK);
	assert_int_equal(answer.status, 404);
	/* Redirects are not followed: a signature would not fit, and a secret would go elsewhere. */
	assert_int_equal(get(http, "/elsewhere", &answer, &err), CLEAT_OK);
	assert_int_equal(answer.status, 302);
}

static void test_http__connections_are_kept(void **state)
{
	cleat_autohttp struct cleat_http *http = client(&quick);
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_http_counters count;
	struct cleat_error err;

	(void)state;
	for (int i = 0; i < 20; i++)
		assert_int_equal(get(http, "/ok", &answer, &err), CLEAT_OK);
	cleat_http_counters(http, &count);
	assert_int_equal(count.attempts, 20);
	assert_int_equal(count.connections, 1);
}

static void test_http__what_is_sent(void **state)
{
	cleat_autohttp struct cleat_http *http = client(&quick);
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	cleat_autojson json_t *echo = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	const char *const headers[] = { "X-One: 1", NULL };
	const struct cleat_http_request req = { .method = "PUT",
						.url = url("/echo"),
						.headers = headers,
						.content_type = "application/json",
						.body = "{}",
						.body_bytes = 2,
						.user = "",
						.password = "token" };

	(void)state;
	assert_int_equal(cleat_http_call(http, &req, &answer, &err), CLEAT_OK);
	assert_int_equal(cleat_json_parse(answer.body.data, answer.body.len, &echo, &err), CLEAT_OK);
	assert_string_equal(cleat_json_text(echo, "method"), "PUT");
	assert_string_equal(cleat_json_text(echo, "body"), "{}");
	const json_t *got = json_object_get(echo, "headers");
	assert_string_equal(cleat_json_text(got, "X-One"), "1");
	assert_string_equal(cleat_json_text(got, "Content-Type"), "application/json");
	assert_string_equal(cleat_json_text(got, "Authorization"), "Basic OnRva2Vu"); /* ":token" */
	assert_null(json_object_get(got, "Expect"));
	const char *const broken[] = { "X-One: 1\r\nX-Two: 2", NULL };
	const struct cleat_http_request bad = { .url = url("/echo"), .headers = broken };
	assert_int_equal(cleat_http_call(http, &bad, &answer, &err), CLEAT_INVALID_ARGUMENT);
}

static void test_http__limits_of_time_hold(void **state)
{
	struct cleat_http_options opts = quick;
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	opts.total_ms = 100;
	cleat_autohttp struct cleat_http *http = client(&opts);
	const int64_t begin = cleat_time_mono_ms();
	assert_int_equal(get(http, "/slow", &answer, &err), CLEAT_DEADLINE_EXCEEDED);
	assert_true(cleat_time_mono_ms() - begin < 1400);
	assert_int_equal(answer.attempts, 3);
	assert_non_null(strstr(err.msg, "no answer"));
	assert_true(err.retry);
	/* What may have been carried out is not sent a second time. */
	const struct cleat_http_request once = {
		.method = "POST", .url = url("/slow/once"), .body = "x", .body_bytes = 1
	};
	assert_int_equal(cleat_http_call(http, &once, &answer, &err), CLEAT_DEADLINE_EXCEEDED);
	assert_int_equal(answer.attempts, 1);
}

static void test_http__nobody_there_is_unavailable(void **state)
{
	cleat_autohttp struct cleat_http *http = client(&quick);
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	/* It surely did not arrive: repeated although it is not idempotent. */
	const struct cleat_http_request req = {
		.method = "POST", .url = "http://127.0.0.1:1/", .body = "x", .body_bytes = 1
	};

	(void)state;
	assert_int_equal(cleat_http_call(http, &req, &answer, &err), CLEAT_UNAVAILABLE);
	assert_int_equal(answer.attempts, 3);
	assert_null(strstr(err.msg, "no answer"));
	const struct cleat_http_request file = { .url = "file:///etc/passwd" };
	assert_int_equal(cleat_http_call(http, &file, &answer, &err), CLEAT_INVALID_ARGUMENT);
}

static void test_http__busy_answers_are_asked_again(void **state)
{
	cleat_autohttp struct cleat_http *http = client(&quick);
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	assert_int_equal(get(http, "/busy/503/2/a", &answer, &err), CLEAT_OK);
	assert_int_equal(answer.status, 200);
	assert_string_equal(cleat_buf_text(&answer.body), "call 3");
	assert_int_equal(get(http, "/busy/500/9/b", &answer, &err), CLEAT_OK);
	assert_int_equal(answer.status, 500); /* in the end the answer is given as it is */
	assert_int_equal(calls_of(http, "/busy/500/9/b"), 3);
	assert_int_equal(get(http, "/busy/400/9/c", &answer, &err), CLEAT_OK);
	assert_int_equal(calls_of(http, "/busy/400/9/c"), 1);
	const struct cleat_http_request post = {
		.method = "POST", .url = url("/busy/503/2/d"), .body = "x", .body_bytes = 1
	};
	assert_int_equal(cleat_http_call(http, &post, &answer, &err), CLEAT_OK);
	assert_int_equal(answer.status, 503);
	assert_int_equal(calls_of(http, "/busy/503/2/d"), 1);
}

static void test_http__retry_after_is_obeyed(void **state)
{
	cleat_autohttp struct cleat_http *http = client(&quick);
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_http_counters count;
	const int64_t begin = cleat_time_mono_ms();

	(void)state;
	/* 429 says that nothing was done. */
	const struct cleat_http_request post = {
		.method = "POST", .url = url("/later/a"), .body = "x", .body_bytes = 1
	};
	assert_int_equal(cleat_http_call(http, &post, &answer, &err), CLEAT_OK);
	assert_string_equal(cleat_buf_text(&answer.body), "call 2");
	assert_true(cleat_time_mono_ms() - begin >= 1000);
	cleat_http_counters(http, &count);
	assert_int_equal(count.throttled, 1);
}

static void test_http__cut_bodies_are_no_answers(void **state)
{
	cleat_autohttp struct cleat_http *http = client(&quick);
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	assert_int_equal(get(http, "/cut", &answer, &err), CLEAT_UNAVAILABLE);
	assert_int_equal(answer.attempts, 3);
	assert_int_equal(get(http, "/drop", &answer, &err), CLEAT_UNAVAILABLE);
	const struct cleat_http_request post = {
		.method = "POST", .url = url("/drop/once"), .body = "x", .body_bytes = 1
	};
	assert_int_equal(cleat_http_call(http, &post, &answer, &err), CLEAT_UNAVAILABLE);
	assert_int_equal(calls_of(http, "/drop/once"), 1);
}

static void test_http__long_bodies_are_refused(void **state)
{
	struct cleat_http_options opts = quick;
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	opts.max_body_bytes = 1000000;
	cleat_autohttp struct cleat_http *http = client(&opts);
	assert_int_equal(get(http, "/big", &answer, &err), CLEAT_OK);
	assert_int_equal(answer.body.len, 1000000);
	const struct cleat_http_request less = { .url = url("/big"),
						 .max_body_bytes = 999999,
						 .idempotent = true };
	assert_int_equal(cleat_http_call(http, &less, &answer, &err), CLEAT_INTERNAL);
	assert_int_equal(get(http, "/forever", &answer, &err), CLEAT_INTERNAL);
	assert_true(answer.body.room < 4000000);
	/* And the client is as good as before. */
	assert_int_equal(get(http, "/ok", &answer, &err), CLEAT_OK);
}

static void test_http__unix_sockets(void **state)
{
	struct cleat_http_options opts = quick;
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/socket", folder);
	opts.unix_socket = path;
	cleat_autohttp struct cleat_http *http = client(&opts);
	const struct cleat_http_request req = { .url = "http://plugin/ok" };
	assert_int_equal(cleat_http_call(http, &req, &answer, &err), CLEAT_OK);
	assert_string_equal(cleat_buf_text(&answer.body), "ok");
	opts.unix_socket = "/nowhere/at/all";
	cleat_autohttp struct cleat_http *none = client(&opts);
	assert_int_equal(cleat_http_call(none, &req, &answer, &err), CLEAT_UNAVAILABLE);
}

static void test_http__certificates_are_checked(void **state)
{
	struct cleat_http_options opts = quick;
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char ca[128], text[128], other[128];

	(void)state;
	snprintf(ca, sizeof(ca), "%s/cert.pem", folder);
	snprintf(text, sizeof(text), "https://127.0.0.1:%d/ok", tls_port);
	snprintf(other, sizeof(other), "https://127.0.0.2:%d/ok", tls_port);
	const struct cleat_http_request req = { .url = text, .idempotent = true },
					elsewhere = { .url = other, .idempotent = true };
	cleat_autohttp struct cleat_http *stranger = client(&opts);
	assert_int_equal(cleat_http_call(stranger, &req, &answer, &err), CLEAT_UNAUTHENTICATED);
	assert_int_equal(answer.attempts, 1);
	opts.ca_file = ca;
	cleat_autohttp struct cleat_http *http = client(&opts);
	assert_int_equal(cleat_http_call(http, &req, &answer, &err), CLEAT_OK);
	/* Right authority, wrong name: there is nobody at that address, or somebody else. */
	assert_true(cleat_http_call(http, &elsewhere, &answer, &err) != CLEAT_OK);
	opts.pinned_key = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	cleat_autohttp struct cleat_http *pinned = client(&opts);
	assert_int_equal(cleat_http_call(pinned, &req, &answer, &err), CLEAT_UNAUTHENTICATED);
}

static void test_http__no_secret_is_logged(void **state)
{
	cleat_autohttp struct cleat_http *http = client(&quick);
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char path[128], log[4096] = "";

	(void)state;
	snprintf(path, sizeof(path), "%s/log", folder);
	FILE *f = fopen(path, "w+");
	assert_non_null(f);
	cleat_log_setup(CLEAT_LOG_DEBUG, CLEAT_LOG_TEXT, fileno(f));
	const struct cleat_http_request req = { .method = "POST",
						.url = url("/echo?word=sesame"),
						.body = "sesame",
						.body_bytes = 6,
						.bearer = "sesame" };
	assert_int_equal(cleat_http_call(http, &req, &answer, &err), CLEAT_OK);
	cleat_log_setup(CLEAT_LOG_ERROR, CLEAT_LOG_TEXT, 2);
	assert_true(pread(fileno(f), log, sizeof(log) - 1, 0) > 0);
	fclose(f);
	if (!strstr(log, "/echo: 404"))
		fail_msg("logged: %s", log);
	assert_null(strstr(log, "sesame"));
}

static void test_http__bucket_slows_down_and_recovers(void **state)
{
	struct bucket b;
	int64_t now = 1000, waited = 0;

	(void)state;
	bucket_init(&b, 10, 3, now);
	for (int i = 0; i < 3; i++)
		assert_int_equal(bucket_take(&b, now), 0);
	for (int i = 0; i < 10; i++)
		waited = bucket_take(&b, now);
	assert_in_range(waited, 990, 1010); /* the tenth after the burst: one second at ten a second */
	now += 100000;
	bucket_slow_down(&b, now);
	assert_true(b.rate_per_s == 5);
	assert_true(bucket_take(&b, now) > 0);
	for (int i = 0; i < 100; i++)
		bucket_speed_up(&b);
	assert_true(b.rate_per_s == 10);
	bucket_init(&b, 0, 0, now);
	assert_int_equal(bucket_take(&b, now), 0);
	bucket_slow_down(&b, now);
	assert_true(b.rate_per_s > 0);
	for (int i = 0; i < 100; i++)
		bucket_speed_up(&b);
	assert_true(b.rate_per_s == 0);
}

static void test_http__rate_is_kept(void **state)
{
	struct cleat_http_options opts = quick;
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	opts.rate_per_s = 20;
	opts.burst = 1;
	cleat_autohttp struct cleat_http *http = client(&opts);
	const int64_t begin = cleat_time_mono_ms();
	for (int i = 0; i < 6; i++)
		assert_int_equal(get(http, "/ok", &answer, &err), CLEAT_OK);
	assert_true(cleat_time_mono_ms() - begin >= 240); /* five pauses of 50 ms, less rounding */
}

static void test_form__escapes_everything_else(void **state)
{
	cleat_autobuf struct cleat_buf form = CLEAT_BUF_INIT(1000);

	(void)state;
	cleat_http_form_add(&form, "Action", "a b&c=d/e~f_g-h.i");
	cleat_http_form_addf(&form, "N.1", "%d+%s", 7, "\xc3\xa9*");
	assert_string_equal(cleat_buf_text(&form), "Action=a%20b%26c%3Dd%2Fe~f_g-h.i&N.1=7%2B%C3%A9%2A");
}

static void test_xml__elements_are_found(void **state)
{
	static const char text[] = "<?xml version=\"1.0\"?><r xmlns=\"http://x/\"><a><b>1</b></a><s> "
				   "<i><v>x&amp;y</v></i><i/><o/><i><v>z</v></i></s></r>";
	cleat_autoxml struct cleat_xml *doc = NULL, *none = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	assert_int_equal(cleat_xml_parse(text, strlen(text), &doc, &err), CLEAT_OK);
	const struct cleat_xml_node *root = cleat_xml_root(doc);
	assert_string_equal(cleat_xml_name(root), "r");
	assert_string_equal(cleat_xml_get(root, "a/b"), "1");
	assert_string_equal(cleat_xml_get(root, "a/c/d"), "");
	const struct cleat_xml_node *i = cleat_xml_child(root, "s/i");
	assert_string_equal(cleat_xml_get(i, "v"), "x&y");
	i = cleat_xml_next(cleat_xml_next(i));
	assert_string_equal(cleat_xml_get(i, "v"), "z");
	assert_null(cleat_xml_next(i));
	assert_null(cleat_xml_child(NULL, "v"));
	assert_int_equal(cleat_xml_parse("<a>", 3, &none, &err), CLEAT_INTERNAL);
	assert_int_equal(cleat_xml_parse("", 0, &none, &err), CLEAT_INTERNAL);
	static const char bomb[] = "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>";
	assert_int_equal(cleat_xml_parse(bomb, strlen(bomb), &none, &err), CLEAT_INTERNAL);
	assert_null(none);
}

static void test_json__members_are_typed(void **state)
{
	static const char text[] = "{\"t\":\"x\",\"n\":7,\"d\":\"42\",\"b\":true,\"bad\":\"4x\"}";
	cleat_autojson json_t *json = NULL, *none = NULL, *word = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char deep[200];

	(void)state;
	assert_int_equal(cleat_json_parse(text, strlen(text), &json, &err), CLEAT_OK);
	assert_string_equal(cleat_json_text(json, "t"), "x");
	assert_string_equal(cleat_json_text(json, "n"), "");
	assert_int_equal(cleat_json_number(json, "n", -1), 7);
	assert_int_equal(cleat_json_number(json, "d", -1), 42);
	assert_int_equal(cleat_json_number(json, "bad", -1), -1);
	assert_true(cleat_json_bool(json, "b"));
	assert_int_equal(cleat_json_parse("\"token\"", 7, &word, &err), CLEAT_OK);
	assert_int_equal(cleat_json_parse("{\"a\":1,\"a\":2}", 13, &none, &err), CLEAT_INTERNAL);
	memset(deep, '[', 100);
	memset(deep + 100, ']', 100);
	assert_int_equal(cleat_json_parse(deep, 200, &none, &err), CLEAT_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http__answers_are_given_whatever_their_status),
		cmocka_unit_test(test_http__connections_are_kept),
		cmocka_unit_test(test_http__what_is_sent),
		cmocka_unit_test(test_http__limits_of_time_hold),
		cmocka_unit_test(test_http__nobody_there_is_unavailable),
		cmocka_unit_test(test_http__busy_answers_are_asked_again),
		cmocka_unit_test(test_http__retry_after_is_obeyed),
		cmocka_unit_test(test_http__cut_bodies_are_no_answers),
		cmocka_unit_test(test_http__long_bodies_are_refused),
		cmocka_unit_test(test_http__unix_sockets),
		cmocka_unit_test(test_http__certificates_are_checked),
		cmocka_unit_test(test_http__no_secret_is_logged),
		cmocka_unit_test(test_http__bucket_slows_down_and_recovers),
		cmocka_unit_test(test_http__rate_is_kept),
		cmocka_unit_test(test_form__escapes_everything_else),
		cmocka_unit_test(test_xml__elements_are_found),
		cmocka_unit_test(test_json__members_are_typed),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
