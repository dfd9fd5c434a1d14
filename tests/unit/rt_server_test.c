/* rt_server_test.c - what a caller gets in each case, and what handlers and the on_done hook see of it. */
#include "rt_lab.h"
#include "rt_raw.h"

#include "google/rpc/status.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "util/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define PING "/cleat.test.v1.Lab/Ping"
#define ECHO "/cleat.test.v1.Lab/Echo"
#define CHAT "/cleat.test.v1.Lab/Chat"

static struct lab lab;

static int up(void **state)
{
	(void)state;
	lab_up(&lab, NULL);
	return 0;
}

static int down(void **state)
{
	(void)state;
	lab_down(&lab);
	return 0;
}

/* The code of a raw call with one message. */
static int raw_code(const char *path, const void *p, size_t n, const struct raw_options *o)
{
	struct raw_bytes message = { p, n };
	struct raw_reply reply;

	raw_call(lab.target, path, &message, 1, o, &reply);
	int code = reply.code;
	raw_reply_done(&reply);
	return code;
}

/* ---- answers to bad calls ---- */

static void test_server__unknown_methods_are_unimplemented(void **state)
{
	static const char *const paths[] = {
		"/cleat.test.v1.Lab/Pin",
		"/cleat.test.v1.Lab/Pingg",
		"/cleat.test.v1.Lab/",
		"/cleat.test.v1.La/Ping",
		"/cleat.test.v1.Lab/NotWritten",
		"/x",
		"/",
	};

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(paths); i++)
		assert_int_equal(raw_code(paths[i], "", 0, NULL), CLEAT_UNIMPLEMENTED);
	assert_int_equal(raw_code(PING, "", 0, NULL), CLEAT_OK);
}

static void test_server__undecodable_messages_are_invalid(void **state)
{
	static uint8_t deep[60000];

	(void)state;
	assert_int_equal(raw_code(ECHO, "\x0a\x05hi", 4, NULL), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(raw_code(ECHO, "\x0b\x0c", 2, NULL), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(raw_code(ECHO, "\x08\x01", 2, NULL), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(raw_code(ECHO, "\x0a\x01\xff", 3, NULL), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(raw_code(ECHO,
				  "\x0a\x03"
				  "a\0b",
				  5, NULL),
			 CLEAT_INVALID_ARGUMENT);
	/* 20 000 times the start of a nested message that claims all the rest */
	for (size_t i = 0; i + 2 < sizeof(deep); i += 3)
		memcpy(deep + i, "\x3a\xff\x7f", 3);
	assert_int_equal(raw_code(ECHO, deep, sizeof(deep), NULL), CLEAT_INVALID_ARGUMENT);
}

static void test_server__too_much_is_exhausted(void **state)
{
	size_t n = (size_t)5 << 20;
	cleat_autofree uint8_t *bytes = malloc(n);

	(void)state;
	assert_non_null(bytes);
	for (size_t i = 0; i < n; i += 2)
		memcpy(bytes + i, "\x7a\x00",
		       2); /* children: empty messages, 150 times their size in memory */
	assert_int_equal(raw_code(ECHO, bytes, (size_t)2 << 20, NULL), CLEAT_RESOURCE_EXHAUSTED);
	assert_int_equal(raw_code(ECHO, bytes, n, NULL), CLEAT_RESOURCE_EXHAUSTED);
	assert_int_equal(lab_ping(lab.client, NULL, NULL), CLEAT_OK);
}

static void test_server__compressed_messages_are_refused(void **state)
{
	static uint8_t bytes[20000] = "\x12\x9a\x9c\x01"; /* blob of 19994 zeros */
	struct raw_options gzip = { .gzip = true };

	(void)state;
	assert_int_equal(raw_code(ECHO, bytes, 19998, NULL), CLEAT_OK);
	assert_int_equal(raw_code(ECHO, bytes, 19998, &gzip), CLEAT_UNIMPLEMENTED);
}

static void test_server__any_authority_is_accepted(void **state)
{
	static const char *const names[] = { "localhost",	"unused", "/run/cleat/x.sock",
					     "%2Frun%2Fx.sock", "@x",	  "a b" };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(names); i++) {
		struct raw_options o = { .authority = names[i] };
		assert_int_equal(raw_code(PING, "", 0, &o), CLEAT_OK);
	}
}

static void test_server__a_forgotten_answer_is_internal(void **state)
{
	(void)state;
	assert_int_equal(raw_code("/cleat.test.v1.Lab/Forget", "", 0, NULL), CLEAT_INTERNAL);
}

/* ---- echo ---- */

static void test_server__messages_survive_the_round_trip(void **state)
{
	Cleat__Test__V1__Everything in = CLEAT__TEST__V1__EVERYTHING__INIT,
				    child = CLEAT__TEST__V1__EVERYTHING__INIT;
	Cleat__Test__V1__Everything *children[] = { &child };
	uint32_t numbers[] = { 1, 300, UINT32_MAX };
	cleat_autofree char *large = malloc(300001);
	cleat_autopb Cleat__Test__V1__Everything *out = NULL;

	(void)state;
	assert_non_null(large);
	memset(large, 'x', 300000); /* arrives in several slices */
	large[300000] = '\0';
	in.text = large;
	in.kind_case = CLEAT__TEST__V1__EVERYTHING__KIND_NUMBER;
	in.number = -5;
	in.n_packed = 3;
	in.packed = numbers;
	child.text = (char *)(uintptr_t) "gr\xc3\xbc\xc3\x9f";
	in.n_children = 1;
	in.children = children;
	assert_int_equal(cleat_rpc_client_call(lab.client, LAB_SERVICE, "Echo", &in.base, NULL,
					       (ProtobufCMessage **)&out, NULL),
			 CLEAT_OK);
	assert_string_equal(out->text, large);
	assert_int_equal(out->number, -5);
	assert_int_equal(out->n_packed, 3);
	assert_int_equal(out->packed[2], UINT32_MAX);
	assert_string_equal(out->children[0]->text, child.text);
}

/* ---- errors ---- */

static void test_server__errors_carry_code_text_and_details(void **state)
{
	Cleat__Test__V1__FailRequest in = CLEAT__TEST__V1__FAIL_REQUEST__INIT;
	uint8_t details[CLEAT_RPC_MAX_DETAILS_BYTES];
	size_t len = 0;
	struct cleat_rpc_options o = { .details = details, .details_len = &len };
	cleat_autopb ProtobufCMessage *out = NULL;
	cleat_autopb Google__Rpc__Status *status = NULL;
	struct cleat_error err;

	(void)state;
	in.code = CLEAT_FAILED_PRECONDITION;
	in.text = (char *)(uintptr_t) "100 % t\xc3\xbc"
				      "chtig\nzweite Zeile";
	in.detail = (char *)(uintptr_t) "type.example/why";
	assert_int_equal(cleat_rpc_client_call(lab.client, LAB_SERVICE, "Fail", &in.base, &o, &out, &err),
			 CLEAT_FAILED_PRECONDITION);
	assert_null(out);
	assert_string_equal(err.msg, "100 % t\xc3\xbc"
				     "chtig zweite Zeile");
	status = google__rpc__status__unpack(NULL, len, details);
	assert_non_null(status);
	assert_int_equal(status->code, CLEAT_FAILED_PRECONDITION);
	assert_string_equal(status->details[0]->type_url, "type.example/why");
}

static void test_server__trailers_arrive(void **state)
{
	struct raw_bytes message = { "\x08\x05\x12\x02no", 6 };
	struct raw_reply reply;

	(void)state;
	raw_call(lab.target, "/cleat.test.v1.Lab/Fail", &message, 1, NULL, &reply);
	assert_int_equal(reply.code, CLEAT_NOT_FOUND);
	assert_string_equal(reply.text, "no");
	assert_string_equal(reply.trailer, "trailer");
	raw_reply_done(&reply);
	assert_int_equal(atomic_load(&lab_seen.wrong), 0);
}

/* ---- deadlines and cancelling ---- */

static void check_deadline(const char *method)
{
	struct cleat_rpc_options o = { .timeout_ms = 80 };
	unsigned before = atomic_load(&lab_seen.naps_cancelled);
	uint64_t start = lab_now_ms();

	assert_int_equal(lab_nap(lab.client, method, 60000, &o, NULL), CLEAT_DEADLINE_EXCEEDED);
	assert_in_range(lab_now_ms() - start, 75, 5000);
	lab_wait_for(&lab_seen.naps_cancelled, before + 1);
}

static void test_server__deadlines_reach_caller_and_handler(void **state)
{
	(void)state;
	check_deadline("Nap");
	check_deadline("Later");
}

struct canceller_at {
	struct cleat_rpc_canceller *k;
	unsigned naps;
};

static void *cancel_when_started(void *arg)
{
	struct canceller_at *at = arg;

	lab_wait_for(&lab_seen.naps_started, at->naps);
	cleat_rpc_cancel(at->k);
	return NULL;
}

static void check_cancel(const char *method)
{
	struct cleat_rpc_canceller k = CLEAT_RPC_CANCELLER_INIT;
	struct cleat_rpc_options o = { .canceller = &k };
	struct canceller_at at = { &k, atomic_load(&lab_seen.naps_started) + 1 };
	unsigned before = atomic_load(&lab_seen.naps_cancelled);
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, cancel_when_started, &at), 0);
	assert_int_equal(lab_nap(lab.client, method, 60000, &o, NULL), CLEAT_CANCELLED);
	pthread_join(thread, NULL);
	lab_wait_for(&lab_seen.naps_cancelled, before + 1);
}

static void test_server__a_caller_that_leaves_is_noticed(void **state)
{
	(void)state;
	check_cancel("Nap");
	check_cancel("Later");
}

/* ---- what a handler knows ---- */

static Cleat__Test__V1__WhoAmIResponse *whoami(const struct cleat_rpc_options *o)
{
	Cleat__Test__V1__PingRequest in = CLEAT__TEST__V1__PING_REQUEST__INIT;
	ProtobufCMessage *out = NULL;

	assert_int_equal(cleat_rpc_client_call(lab.client, LAB_SERVICE, "WhoAmI", &in.base, o, &out, NULL),
			 CLEAT_OK);
	return (Cleat__Test__V1__WhoAmIResponse *)out;
}

static void test_server__handlers_know_peer_deadline_and_headers(void **state)
{
	struct cleat_rpc_header header = { "x-lab", "seen" };
	struct cleat_rpc_options o = { .timeout_ms = 5000, .headers = &header, .n_headers = 1 };
	cleat_autopb Cleat__Test__V1__WhoAmIResponse *timed = whoami(&o);
	cleat_autopb Cleat__Test__V1__WhoAmIResponse *plain = whoami(NULL);

	(void)state;
	assert_true(timed->known);
	assert_int_equal(timed->uid, geteuid());
	assert_int_equal(timed->gid, getegid());
	assert_int_equal(timed->pid, getpid());
	assert_string_equal(timed->role, "lab");
	assert_string_equal(timed->header, "seen");
	assert_in_range(timed->time_left_ms, 1, 5100); /* the wire has a coarser unit */
	assert_int_equal(plain->time_left_ms, -1);
	assert_string_equal(plain->header, "");
	assert_true(plain->id > timed->id);
}

static void test_server__each_call_is_reported_once(void **state)
{
	(void)state;
	lab_settle(&lab);
	unsigned done = atomic_load(&lab_seen.done), ok = atomic_load(&lab_seen.done_code[CLEAT_OK]);
	unsigned unknown = atomic_load(&lab_seen.done_code[CLEAT_UNIMPLEMENTED]),
		 lost = atomic_load(&lab_seen.lost);

	assert_int_equal(lab_ping(lab.client, NULL, NULL), CLEAT_OK);
	assert_int_equal(lab_nap(lab.client, "Nap", 1, NULL, NULL), CLEAT_OK);
	assert_int_equal(lab_nap(lab.client, "Later", 1, NULL, NULL), CLEAT_OK);
	assert_int_equal(raw_code("/no/such", "", 0, NULL), CLEAT_UNIMPLEMENTED);
	lab_settle(&lab);
	assert_int_equal(atomic_load(&lab_seen.done), done + 4);
	assert_int_equal(atomic_load(&lab_seen.done_code[CLEAT_OK]), ok + 3);
	assert_int_equal(atomic_load(&lab_seen.done_code[CLEAT_UNIMPLEMENTED]), unknown + 1);
	assert_int_equal(atomic_load(&lab_seen.lost), lost);
	check_cancel("Nap");
	lab_settle(&lab);
	assert_int_equal(atomic_load(&lab_seen.lost), lost + 1);
	assert_int_equal(atomic_load(&lab_seen.done), done + 5);
}

static void test_server__callers_that_leave_are_reported_as_lost(void **state)
{
	struct raw_options leave = { .leave = true };
	struct raw_reply reply;

	(void)state;
	lab_settle(&lab);
	unsigned done = atomic_load(&lab_seen.done), lost = atomic_load(&lab_seen.lost);

	raw_call(lab.target, PING, NULL, 0, NULL, &reply);
	assert_int_equal(reply.code, CLEAT_INVALID_ARGUMENT);
	assert_string_equal(reply.text, "the request message is missing");
	lab_settle(&lab);
	assert_int_equal(atomic_load(&lab_seen.done), done + 1);
	assert_int_equal(atomic_load(&lab_seen.lost), lost);
	struct raw_bytes first = { "", 0 };
	raw_call(lab.target, CHAT, &first, 1, &leave, &reply);
	raw_reply_done(&reply);
	lab_wait_for(&lab_seen.done, done + 2);
	assert_int_equal(atomic_load(&lab_seen.lost), lost + 1);
}

/* ---- full queues ---- */

struct napper {
	pthread_t thread;
	const char *method;
	unsigned ms, timeout_ms;
	enum cleat_code code;
};

static void *nap_thread(void *arg)
{
	struct napper *n = arg;
	struct cleat_rpc_options o = { .timeout_ms = n->timeout_ms };

	n->code = lab_nap(lab.client, n->method, n->ms, &o, NULL);
	return NULL;
}

static void start_napper(struct napper *n, const char *method, unsigned ms, unsigned timeout_ms)
{
	*n = (struct napper){ .method = method, .ms = ms, .timeout_ms = timeout_ms };
	assert_int_equal(pthread_create(&n->thread, NULL, nap_thread, n), 0);
}

static unsigned join_nappers(struct napper *n, size_t count, enum cleat_code code)
{
	unsigned matching = 0;

	for (size_t i = 0; i < count; i++) {
		pthread_join(n[i].thread, NULL);
		matching += n[i].code == code;
	}
	return matching;
}

static int up_narrow(void **state)
{
	struct cleat_rpc_server_config config = { .max_workers = 2, .max_queued = 3, .max_calls = 8 };

	(void)state;
	lab_up(&lab, &config);
	return 0;
}

static void test_server__a_full_queue_refuses_at_once(void **state)
{
	enum { CALLS = 7 }; /* 2 run, 3 wait, 2 are refused; max_calls is not reached */
	struct napper n[CALLS];

	(void)state;
	lab_settle(&lab);
	unsigned refused = atomic_load(&lab_seen.done_code[CLEAT_RESOURCE_EXHAUSTED]);
	for (int i = 0; i < CALLS; i++)
		start_napper(&n[i], "Nap", 300, 0);
	lab_wait_for(&lab_seen.done_code[CLEAT_RESOURCE_EXHAUSTED], refused + 2);
	/* others are answered meanwhile */
	uint64_t start = lab_now_ms();
	assert_int_equal(lab_ping(lab.client, NULL, NULL), CLEAT_OK);
	assert_true(lab_now_ms() - start < 250);
	assert_int_equal(join_nappers(n, CALLS, CLEAT_OK), 5);
	assert_int_equal(atomic_load(&lab_seen.done_code[CLEAT_RESOURCE_EXHAUSTED]), refused + 2);
}

static void test_server__too_many_held_calls_are_refused(void **state)
{
	enum { CALLS = 12 };
	struct napper n[CALLS];

	(void)state;
	lab_settle(&lab);
	for (int i = 0; i < CALLS; i++)
		start_napper(&n[i], "Later", 500, 0);
	assert_int_equal(join_nappers(n, CALLS, CLEAT_OK), 8);
	assert_int_equal(lab_ping(lab.client, NULL, NULL), CLEAT_OK);
}

static void test_server__a_call_that_expires_in_the_queue_is_not_started(void **state)
{
	struct napper busy[2], late[2];

	(void)state;
	lab_settle(&lab);
	unsigned started = atomic_load(&lab_seen.naps_started), done = atomic_load(&lab_seen.done);
	for (int i = 0; i < 2; i++)
		start_napper(&busy[i], "Nap", 400, 0);
	lab_wait_for(&lab_seen.naps_started, started + 2);
	for (int i = 0; i < 2; i++)
		start_napper(&late[i], "Nap", 1, 50);
	assert_int_equal(join_nappers(late, 2, CLEAT_DEADLINE_EXCEEDED), 2);
	assert_int_equal(join_nappers(busy, 2, CLEAT_OK), 2);
	lab_settle(&lab);
	assert_int_equal(atomic_load(&lab_seen.done), done + 4);
	assert_int_equal(atomic_load(&lab_seen.naps_started), started + 2);
}

/* ---- streams ---- */

struct counted {
	unsigned n, stop_after;
	bool in_order;
	unsigned pause_ms;
};

static bool count_message(const ProtobufCMessage *message, void *arg)
{
	const Cleat__Test__V1__CountResponse *m = (const Cleat__Test__V1__CountResponse *)message;
	struct counted *c = arg;

	c->in_order &= m->i == c->n;
	c->n++;
	if (c->pause_ms)
		nanosleep(&(struct timespec){ 0, (long)c->pause_ms * 1000000 }, NULL);
	return c->n != c->stop_after;
}

static enum cleat_code count(const char *method, unsigned n, unsigned bytes, struct counted *c,
			     struct cleat_error *err)
{
	Cleat__Test__V1__CountRequest in = CLEAT__TEST__V1__COUNT_REQUEST__INIT;

	in.n = n;
	in.bytes = bytes;
	c->in_order = true;
	return cleat_rpc_client_stream(lab.client, LAB_SERVICE, method, &in.base, NULL, count_message, c,
				       err);
}

static void test_server__streams_are_complete_and_in_order(void **state)
{
	struct counted waiting = { 0 }, flooded = { 0 }, empty = { 0 };

	(void)state;
	assert_int_equal(count("Count", 1000, 1000, &waiting, NULL), CLEAT_OK);
	assert_int_equal(waiting.n, 1000);
	assert_true(waiting.in_order);
	assert_int_equal(count("Flood", 1000, 1000, &flooded, NULL), CLEAT_OK);
	assert_int_equal(flooded.n, 1000);
	assert_true(flooded.in_order);
	assert_int_equal(count("Count", 0, 0, &empty, NULL), CLEAT_OK);
	assert_int_equal(empty.n, 0);
}

static void test_server__a_slow_reader_slows_a_waiting_handler(void **state)
{
	struct counted c = { .pause_ms = 2 };

	(void)state;
	assert_int_equal(count("Count", 100, 100000, &c, NULL), CLEAT_OK);
	assert_int_equal(c.n, 100);
	assert_true(c.in_order);
}

static void test_server__a_flooded_reader_is_cut_off(void **state)
{
	struct counted c = { 0 };
	struct cleat_error err;

	(void)state;
	/* 20 MB at once, of which 8 MiB may wait: the poller cannot send while the handler runs */
	assert_int_equal(count("Flood", 200, 100000, &c, &err), CLEAT_RESOURCE_EXHAUSTED);
	assert_string_equal(err.msg, "the reader is too slow for this stream");
	assert_in_range(c.n, 83, 90);
	assert_true(c.in_order);
}

static void test_server__a_stream_that_is_left_stops(void **state)
{
	unsigned before = atomic_load(&lab_seen.counts_cut);
	struct counted c = { .stop_after = 5 };

	(void)state;
	assert_int_equal(count("Count", 100000, 10000, &c, NULL), CLEAT_OK);
	assert_int_equal(c.n, 5);
	lab_wait_for(&lab_seen.counts_cut, before + 1);
}

static bool take_first(const ProtobufCMessage *message, void *arg)
{
	(void)message;
	(void)arg;
	return false;
}

static void test_server__a_parked_stream_learns_that_its_reader_left(void **state)
{
	Cleat__Test__V1__PingRequest in = CLEAT__TEST__V1__PING_REQUEST__INIT;
	unsigned before = atomic_load(&lab_seen.parked_closed);

	(void)state;
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(cleat_rpc_client_stream(lab.client, LAB_SERVICE, "Park", &in.base, NULL,
							 take_first, NULL, NULL),
				 CLEAT_OK);
		lab_wait_for(&lab_seen.parked_closed, before + i);
	}
}

static void test_server__bidi_answers_each_message(void **state)
{
	static const struct raw_bytes messages[] = { { "\x0a\x03one", 5 },
						     { "", 0 },
						     { "\x0a\x05three", 7 } };
	unsigned before = atomic_load(&lab_seen.chats_ended);
	struct raw_reply reply;

	(void)state;
	raw_call(lab.target, CHAT, messages, 3, NULL, &reply);
	assert_int_equal(reply.code, CLEAT_OK);
	assert_int_equal(reply.n_replies, 3);
	assert_memory_equal(reply.replies[0], messages[0].p, 5);
	assert_memory_equal(reply.replies[2], messages[2].p, 7);
	raw_reply_done(&reply);
	lab_wait_for(&lab_seen.chats_ended, before + 1);
}

static void test_server__bidi_ends_at_a_bad_message(void **state)
{
	static const struct raw_bytes messages[] = { { "\x0a\x03one", 5 }, { "\x0a\xff", 2 }, { "", 0 } };
	unsigned before = atomic_load(&lab_seen.chats_ended);
	struct raw_reply reply;

	(void)state;
	raw_call(lab.target, CHAT, messages, 3, NULL, &reply);
	assert_int_equal(reply.code, CLEAT_INVALID_ARGUMENT);
	assert_int_equal(reply.n_replies, 1);
	raw_reply_done(&reply);
	lab_wait_for(&lab_seen.chats_ended, before + 1);
}

/* ---- registration ---- */

static void no_ping(Cleat__Test__V1__Lab_Service *s, const Cleat__Test__V1__PingRequest *in,
		    Cleat__Test__V1__PingResponse_Closure done, void *call)
{
	(void)s;
	(void)in;
	done(NULL, call);
}

static void test_server__registration_is_checked(void **state)
{
	static Cleat__Test__V1__Lab_Service service = {
		.base = { &cleat__test__v1__lab__descriptor, protobuf_c_service_invoke_internal, NULL },
	};
	static const struct cleat_rpc_method typo[] = { { .name = "Pong" } };
	static const struct cleat_rpc_method mute[] = { { .name = "Chat", .kind = CLEAT_RPC_BIDI } };
	struct cleat_rpc_server_config config = { 0 };
	struct cleat_rpc_server *server = NULL;
	struct cleat_rpc_role *role = NULL;

	(void)state;
	assert_int_equal(cleat_rpc_server_new(&config, &server, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_role_new(server, "x", &role, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_role_add(role, &service.base, typo, 1, NULL), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(cleat_rpc_role_add(role, &service.base, mute, 1, NULL), CLEAT_INVALID_ARGUMENT);
	service.ping = no_ping;
	assert_int_equal(cleat_rpc_role_add(role, &service.base, NULL, 0, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_role_add(role, &service.base, NULL, 0, NULL), CLEAT_ALREADY_EXISTS);
	assert_int_equal(cleat_rpc_role_add_as(role, "another.Lab", &service.base, NULL, 0, NULL), CLEAT_OK);
	cleat_rpc_server_free(server);
}

/* ---- health ---- */

static enum cleat_code health(const char *service, int *status_out)
{
	Grpc__Health__V1__HealthCheckRequest in = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	cleat_autopb Grpc__Health__V1__HealthCheckResponse *out = NULL;

	in.service = (char *)(uintptr_t)service;
	enum cleat_code code =
		cleat_rpc_client_call(lab.client, &grpc__health__v1__health__descriptor, "Check", &in.base,
				      NULL, (ProtobufCMessage **)&out, NULL);
	if (out)
		*status_out = (int)out->status;
	return code;
}

static void test_server__health_is_what_was_set(void **state)
{
	int status = -1;

	(void)state;
	assert_int_equal(health("", &status), CLEAT_OK);
	assert_int_equal(status, 2); /* NOT_SERVING until somebody says otherwise */
	assert_int_equal(health("x", &status), CLEAT_NOT_FOUND);
	assert_int_equal(cleat_rpc_health_set(lab.health, "", true, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_health_set(lab.health, "x", false, NULL), CLEAT_OK);
	assert_int_equal(health("", &status), CLEAT_OK);
	assert_int_equal(status, 1);
	assert_int_equal(health("x", &status), CLEAT_OK);
	assert_int_equal(status, 2);
}

struct watched {
	unsigned n;
	int statuses[4];
};

/* Each status that arrives makes the next one happen. */
static bool on_status(const ProtobufCMessage *message, void *arg)
{
	struct watched *w = arg;

	w->statuses[w->n++] = (int)((const Grpc__Health__V1__HealthCheckResponse *)message)->status;
	if (w->n == 1)
		return cleat_rpc_health_set(lab.health, "w", false, NULL) == CLEAT_OK;
	if (w->n == 2) /* the first of these changes nothing */
		return cleat_rpc_health_set(lab.health, "w", false, NULL) == CLEAT_OK &&
		       cleat_rpc_health_set(lab.health, "w", true, NULL) == CLEAT_OK;
	return false;
}

static void test_server__health_can_be_watched(void **state)
{
	Grpc__Health__V1__HealthCheckRequest in = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	struct watched w = { 0 };

	(void)state;
	in.service = (char *)(uintptr_t) "w";
	assert_int_equal(cleat_rpc_client_stream(lab.client, &grpc__health__v1__health__descriptor, "Watch",
						 &in.base, NULL, on_status, &w, NULL),
			 CLEAT_OK);
	assert_int_equal(w.n, 3);
	assert_int_equal(w.statuses[0], 3); /* SERVICE_UNKNOWN */
	assert_int_equal(w.statuses[1], 2);
	assert_int_equal(w.statuses[2], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server__unknown_methods_are_unimplemented),
		cmocka_unit_test(test_server__undecodable_messages_are_invalid),
		cmocka_unit_test(test_server__too_much_is_exhausted),
		cmocka_unit_test(test_server__compressed_messages_are_refused),
		cmocka_unit_test(test_server__any_authority_is_accepted),
		cmocka_unit_test(test_server__a_forgotten_answer_is_internal),
		cmocka_unit_test(test_server__messages_survive_the_round_trip),
		cmocka_unit_test(test_server__errors_carry_code_text_and_details),
		cmocka_unit_test(test_server__trailers_arrive),
		cmocka_unit_test(test_server__deadlines_reach_caller_and_handler),
		cmocka_unit_test(test_server__a_caller_that_leaves_is_noticed),
		cmocka_unit_test(test_server__handlers_know_peer_deadline_and_headers),
		cmocka_unit_test(test_server__each_call_is_reported_once),
		cmocka_unit_test(test_server__callers_that_leave_are_reported_as_lost),
		cmocka_unit_test(test_server__streams_are_complete_and_in_order),
		cmocka_unit_test(test_server__a_slow_reader_slows_a_waiting_handler),
		cmocka_unit_test(test_server__a_flooded_reader_is_cut_off),
		cmocka_unit_test(test_server__a_stream_that_is_left_stops),
		cmocka_unit_test(test_server__a_parked_stream_learns_that_its_reader_left),
		cmocka_unit_test(test_server__bidi_answers_each_message),
		cmocka_unit_test(test_server__bidi_ends_at_a_bad_message),
		cmocka_unit_test(test_server__registration_is_checked),
		cmocka_unit_test(test_server__health_is_what_was_set),
		cmocka_unit_test(test_server__health_can_be_watched),
	};
	const struct CMUnitTest narrow[] = {
		cmocka_unit_test(test_server__a_full_queue_refuses_at_once),
		cmocka_unit_test(test_server__too_many_held_calls_are_refused),
		cmocka_unit_test(test_server__a_call_that_expires_in_the_queue_is_not_started),
	};
	int failed = cmocka_run_group_tests(tests, up, down);

	return failed + cmocka_run_group_tests(narrow, up_narrow, down);
}
