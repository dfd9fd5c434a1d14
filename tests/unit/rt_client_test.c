/* rt_client_test.c - the client against servers that are absent, late, restarted, slow, large or wrong. */
#include "rt_lab.h"

#include "util/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <cmocka.h>

static struct lab lab;

static int up(void **state)
{
	(void)state;
	lab_up(&lab, NULL);
	return 0;
}

static int prepare(void **state)
{
	(void)state;
	lab_prepare(&lab);
	return 0;
}

static int down(void **state)
{
	(void)state;
	lab_down(&lab);
	return 0;
}

static struct cleat_rpc_client *client_with(bool watch, uint32_t max_reply_bytes)
{
	struct cleat_rpc_client_config config = {
		.target = lab.target,
		.watch = watch,
		.max_reply_bytes = max_reply_bytes,
	};
	struct cleat_rpc_client *c = NULL;

	assert_int_equal(cleat_rpc_client_new(&config, &c, NULL), CLEAT_OK);
	return c;
}

#define autoclient __attribute__((cleanup(cleat_cleanup_rpc_client)))

/* ---- without a server ---- */

static void test_client__no_server_is_unavailable_at_once(void **state)
{
	autoclient struct cleat_rpc_client *c = client_with(false, 0);
	struct cleat_rpc_options o = { .timeout_ms = 20000, .idempotent = true };
	struct cleat_error err;
	uint64_t start = lab_now_ms();

	(void)state;
	assert_int_equal(lab_ping(c, &o, &err), CLEAT_UNAVAILABLE);
	assert_true(lab_now_ms() - start < 10000);
	assert_true(err.retry);
	assert_string_not_equal(err.msg, "");
}

static void test_client__waiting_ends_with_the_time_limit(void **state)
{
	autoclient struct cleat_rpc_client *c = client_with(false, 0);
	struct cleat_rpc_options o = { .timeout_ms = 150, .wait_for_ready = true };
	uint64_t start = lab_now_ms();

	(void)state;
	assert_int_equal(lab_ping(c, &o, NULL), CLEAT_DEADLINE_EXCEEDED);
	assert_in_range(lab_now_ms() - start, 145, 10000);
}

static void *ping_patiently(void *arg)
{
	struct cleat_rpc_options o = { .timeout_ms = 20000, .wait_for_ready = true };
	enum cleat_code code = lab_ping(arg, &o, NULL);

	return (void *)(uintptr_t)code;
}

static void test_client__waiting_succeeds_when_the_server_comes(void **state)
{
	autoclient struct cleat_rpc_client *c = client_with(false, 0);
	pthread_t thread;
	void *code = NULL;

	(void)state;
	assert_int_equal(lab_ping(c, NULL, NULL), CLEAT_UNAVAILABLE);
	assert_int_equal(pthread_create(&thread, NULL, ping_patiently, c), 0);
	lab_make_server(&lab, NULL);
	lab_start_server(&lab);
	pthread_join(thread, &code);
	assert_int_equal((uintptr_t)code, CLEAT_OK);
	lab_stop_server(&lab, 0);
}

static void *ping_once(void *arg)
{
	struct cleat_rpc_options o = { .timeout_ms = 20000 };
	enum cleat_code code = lab_ping(arg, &o, NULL);

	return (void *)(uintptr_t)code;
}

/* As under socket activation: somebody listens, but the server takes its time to accept. */
static void test_client__a_slow_start_is_waited_for(void **state)
{
	autoclient struct cleat_rpc_client *c = client_with(false, 0);
	struct cleat_rpc_admission who = { 0 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_t thread;
	void *code = NULL;

	(void)state;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", lab.path);
	assert_int_equal(bind(listening, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listening, 8), 0);
	assert_int_equal(pthread_create(&thread, NULL, ping_once, c), 0);
	nanosleep(&(struct timespec){ 0, 500000000 }, NULL);
	lab_make_server(&lab, NULL);
	who.role = lab.role;
	assert_int_equal(cleat_rpc_listen_fd(lab.server, listening, &who, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_server_start(lab.server, NULL), CLEAT_OK);
	pthread_join(thread, &code);
	assert_int_equal((uintptr_t)code, CLEAT_OK);
	lab_stop_server(&lab, 0);
	unlink(lab.path);
}

/* ---- restarts ---- */

static void restart(void)
{
	lab_stop_server(&lab, 1000);
	lab_make_server(&lab, NULL);
	lab_start_server(&lab);
}

static void test_client__idempotent_calls_survive_a_restart(void **state)
{
	autoclient struct cleat_rpc_client *c = client_with(false, 0);
	struct cleat_rpc_options o = { .timeout_ms = 10000, .idempotent = true };
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(lab_ping(c, &o, &err), CLEAT_OK);
		restart();
	}
	assert_int_equal(lab_ping(c, &o, &err), CLEAT_OK);
}

static void test_client__a_try_that_is_made_good_leaves_no_error(void **state)
{
	Cleat__Test__V1__FailRequest in = CLEAT__TEST__V1__FAIL_REQUEST__INIT;
	struct cleat_rpc_options once = { .timeout_ms = 10000 },
				 twice = { .timeout_ms = 10000, .idempotent = true };
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autopb ProtobufCMessage *out = NULL, *other = NULL;
	static char text[] = "not yet";

	(void)state;
	in.code = CLEAT_UNAVAILABLE;
	in.text = text;
	in.first = true;
	assert_int_equal(cleat_rpc_client_call(lab.client, LAB_SERVICE, "Fail", &in.base, &twice, &out, &err),
			 CLEAT_OK);
	assert_int_equal(err.code, CLEAT_OK);
	assert_string_equal(err.msg, "");
	/* And that of the last try is told. */
	assert_int_equal(
		cleat_rpc_client_call(lab.client, LAB_SERVICE, "Fail", &in.base, &once, &other, &err),
		CLEAT_UNAVAILABLE);
	assert_string_equal(err.msg, text);
	in.first = false;
	assert_int_equal(
		cleat_rpc_client_call(lab.client, LAB_SERVICE, "Fail", &in.base, &twice, &other, &err),
		CLEAT_UNAVAILABLE);
	assert_string_equal(err.msg, text);
}

/* With a watcher the dead connection is noticed, and replaced, while nobody calls: then a call that may be
 * sent only once succeeds as well. */
static void test_client__a_watcher_notices_a_restart(void **state)
{
	autoclient struct cleat_rpc_client *c = client_with(true, 0);
	struct cleat_rpc_options patient = { .timeout_ms = 10000, .wait_for_ready = true };

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(lab_ping(c, &patient, NULL), CLEAT_OK);
		restart();
		/* a second client, without any state, tells how long a fresh connection takes at most */
		autoclient struct cleat_rpc_client *other = client_with(false, 0);
		assert_int_equal(lab_ping(other, &patient, NULL), CLEAT_OK);
		uint64_t until = lab_now_ms() + 10000;
		while (lab_ping(c, NULL, NULL) != CLEAT_OK)
			assert_true(lab_now_ms() < until);
	}
}

static void test_client__watched_clients_come_and_go(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		autoclient struct cleat_rpc_client *c = client_with(true, 0);
		if (i % 2)
			assert_int_equal(lab_ping(c, NULL, NULL), CLEAT_OK);
	}
}

/* ---- answers ---- */

static enum cleat_code echo_blob(struct cleat_rpc_client *c, size_t n, struct cleat_error *err)
{
	Cleat__Test__V1__Everything in = CLEAT__TEST__V1__EVERYTHING__INIT;
	cleat_autofree uint8_t *blob = calloc(1, n);
	cleat_autopb Cleat__Test__V1__Everything *out = NULL;

	assert_non_null(blob);
	blob[n - 1] = 7;
	in.blob = (ProtobufCBinaryData){ n, blob };
	enum cleat_code code =
		cleat_rpc_client_call(c, LAB_SERVICE, "Echo", &in.base, NULL, (ProtobufCMessage **)&out, err);
	if (code == CLEAT_OK) {
		assert_int_equal(out->blob.len, n);
		assert_int_equal(out->blob.data[n - 1], 7);
	}
	return code;
}

static bool add_up(const ProtobufCMessage *message, void *arg)
{
	*(size_t *)arg += ((const Cleat__Test__V1__CountResponse *)message)->filling.len;
	return true;
}

static enum cleat_code one_large(struct cleat_rpc_client *c, uint32_t bytes, size_t *total,
				 struct cleat_error *err)
{
	Cleat__Test__V1__CountRequest in = CLEAT__TEST__V1__COUNT_REQUEST__INIT;

	in.n = 1;
	in.bytes = bytes;
	*total = 0;
	return cleat_rpc_client_stream(c, LAB_SERVICE, "Count", &in.base, NULL, add_up, total, err);
}

static void test_client__reply_size_is_configurable(void **state)
{
	autoclient struct cleat_rpc_client *common = client_with(false, 0);
	autoclient struct cleat_rpc_client *large = client_with(false, 32u << 20);
	size_t total = 0;
	struct cleat_error err;

	(void)state;
	assert_int_equal(echo_blob(common, (size_t)3 << 20, &err), CLEAT_OK);
	assert_int_equal(one_large(common, 12u << 20, &total, &err), CLEAT_RESOURCE_EXHAUSTED);
	assert_int_equal(total, 0);
	assert_int_equal(one_large(large, 12u << 20, &total, &err), CLEAT_OK);
	assert_int_equal(total, (size_t)12 << 20);
}

static void test_client__an_invalid_answer_is_internal(void **state)
{
	Cleat__Test__V1__PingRequest in = CLEAT__TEST__V1__PING_REQUEST__INIT;
	struct cleat_rpc_options o = { .idempotent = true };
	ProtobufCMessage *out = NULL;
	struct cleat_error err;

	(void)state;
	assert_int_equal(cleat_rpc_client_call(lab.client, LAB_SERVICE, "Lie", &in.base, &o, &out, &err),
			 CLEAT_INTERNAL);
	assert_int_equal(err.code, CLEAT_INTERNAL);
	assert_null(out);
}

static void test_client__unknown_methods_and_headers_are_invalid(void **state)
{
	Cleat__Test__V1__PingRequest in = CLEAT__TEST__V1__PING_REQUEST__INIT;
	struct cleat_rpc_header bad = { "Not Legal", "x" };
	struct cleat_rpc_options o = { .headers = &bad, .n_headers = 1 };
	ProtobufCMessage *out = NULL;
	size_t total = 0;

	(void)state;
	assert_int_equal(cleat_rpc_client_call(lab.client, LAB_SERVICE, "Pong", &in.base, NULL, &out, NULL),
			 CLEAT_INVALID_ARGUMENT);
	assert_int_equal(lab_ping(lab.client, &o, NULL), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(
		cleat_rpc_client_stream(lab.client, LAB_SERVICE, "Park", &in.base, &o, add_up, &total, NULL),
		CLEAT_INVALID_ARGUMENT);
}

/* ---- cancelling ---- */

static void test_client__a_cancelled_canceller_stops_calls_to_come(void **state)
{
	struct cleat_rpc_canceller k = CLEAT_RPC_CANCELLER_INIT;
	struct cleat_rpc_options o = { .canceller = &k, .idempotent = true };

	(void)state;
	assert_int_equal(lab_ping(lab.client, &o, NULL), CLEAT_OK);
	cleat_rpc_cancel(&k);
	assert_int_equal(lab_ping(lab.client, &o, NULL), CLEAT_CANCELLED);
}

static void *cancel_parked(void *arg)
{
	lab_wait_for(&lab_seen.parked, 1);
	cleat_rpc_cancel(arg);
	return NULL;
}

static bool keep_on(const ProtobufCMessage *message, void *arg)
{
	(void)message;
	++*(unsigned *)arg;
	return true;
}

static void test_client__a_stream_is_cancelled_from_another_thread(void **state)
{
	Cleat__Test__V1__PingRequest in = CLEAT__TEST__V1__PING_REQUEST__INIT;
	struct cleat_rpc_canceller k = CLEAT_RPC_CANCELLER_INIT;
	struct cleat_rpc_options o = { .canceller = &k };
	pthread_t thread;
	unsigned n = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, cancel_parked, &k), 0);
	assert_int_equal(
		cleat_rpc_client_stream(lab.client, LAB_SERVICE, "Park", &in.base, &o, keep_on, &n, NULL),
		CLEAT_CANCELLED);
	pthread_join(thread, NULL);
	assert_in_range(n, 0, 1);
	lab_wait_for(&lab_seen.parked_closed, 1);
}

static void test_client__streams_have_time_limits(void **state)
{
	Cleat__Test__V1__PingRequest in = CLEAT__TEST__V1__PING_REQUEST__INIT;
	struct cleat_rpc_options o = { .timeout_ms = 100 };
	unsigned n = 0;

	(void)state;
	assert_int_equal(
		cleat_rpc_client_stream(lab.client, LAB_SERVICE, "Park", &in.base, &o, keep_on, &n, NULL),
		CLEAT_DEADLINE_EXCEEDED);
	assert_int_equal(n, 1);
}

/* ---- many at once ---- */

static void *ping_a_lot(void *arg)
{
	uintptr_t failed = 0;

	(void)arg;
	for (int i = 0; i < 50; i++)
		failed += lab_ping(lab.client, NULL, NULL) != CLEAT_OK;
	return (void *)failed;
}

static void test_client__threads_share_a_client(void **state)
{
	pthread_t threads[32];

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ping_a_lot, NULL), 0);
	for (size_t i = 0; i < CLEAT_COUNT(threads); i++) {
		void *failed = NULL;
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
}

int main(void)
{
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(test_client__no_server_is_unavailable_at_once),
		cmocka_unit_test(test_client__waiting_ends_with_the_time_limit),
		cmocka_unit_test(test_client__waiting_succeeds_when_the_server_comes),
		cmocka_unit_test(test_client__a_slow_start_is_waited_for),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client__idempotent_calls_survive_a_restart),
		cmocka_unit_test(test_client__a_try_that_is_made_good_leaves_no_error),
		cmocka_unit_test(test_client__a_watcher_notices_a_restart),
		cmocka_unit_test(test_client__watched_clients_come_and_go),
		cmocka_unit_test(test_client__reply_size_is_configurable),
		cmocka_unit_test(test_client__an_invalid_answer_is_internal),
		cmocka_unit_test(test_client__unknown_methods_and_headers_are_invalid),
		cmocka_unit_test(test_client__a_cancelled_canceller_stops_calls_to_come),
		cmocka_unit_test(test_client__a_stream_is_cancelled_from_another_thread),
		cmocka_unit_test(test_client__streams_have_time_limits),
		cmocka_unit_test(test_client__threads_share_a_client),
	};
	int failed = cmocka_run_group_tests(alone, prepare, down);

	return failed + cmocka_run_group_tests(tests, up, down);
}
