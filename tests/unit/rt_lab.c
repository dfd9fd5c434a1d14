/* rt_lab.c - see rt_lab.h. */
#include "rt_lab.h"

#include "google/rpc/status.pb-c.h"
#include "util/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define WAIT_MS 10000
#define STOP_HARD_MS 5000
#define UNUSED __attribute__((unused))

struct lab_seen lab_seen;

uint64_t lab_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void pause_ms(unsigned ms)
{
	struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

void lab_wait_for(atomic_uint *counter, unsigned n)
{
	uint64_t until = lab_now_ms() + WAIT_MS;

	while (atomic_load(counter) < n) {
		assert_true(lab_now_ms() < until);
		pause_ms(1);
	}
}

void lab_on_done(const struct cleat_rpc_call *call, const struct cleat_rpc_done *done, void *arg UNUSED)
{
	if ((unsigned)done->code < CLEAT_COUNT(lab_seen.done_code))
		atomic_fetch_add(&lab_seen.done_code[done->code], 1);
	if (done->lost)
		atomic_fetch_add(&lab_seen.lost, 1);
	atomic_store(&lab_seen.last_id, cleat_rpc_call_id(call));
	atomic_fetch_add(&lab_seen.done, 1);
}

/* ---- handlers ---- */

typedef Cleat__Test__V1__Lab_Service lab_service;

static void on_ping(lab_service *s UNUSED, const Cleat__Test__V1__PingRequest *in UNUSED,
		    Cleat__Test__V1__PingResponse_Closure done, void *call)
{
	Cleat__Test__V1__PingResponse out = CLEAT__TEST__V1__PING_RESPONSE__INIT;

	done(&out, call);
}

static void on_echo(lab_service *s UNUSED, const Cleat__Test__V1__Everything *in,
		    Cleat__Test__V1__Everything_Closure done, void *call)
{
	done(in, call);
}

/* Sleeps for a while, less when the caller goes away, and answers. */
static void nap_and_answer(struct cleat_rpc_call *call, unsigned ms)
{
	Cleat__Test__V1__NapResponse out = CLEAT__TEST__V1__NAP_RESPONSE__INIT;
	uint64_t until = lab_now_ms() + ms;

	while (lab_now_ms() < until && !cleat_rpc_call_cancelled(call))
		pause_ms(2);
	if (!cleat_rpc_call_cancelled(call)) {
		cleat_rpc_call_reply(call, &out.base);
		return;
	}
	bool late = cleat_rpc_call_time_left_ms(call) == 0;
	cleat_rpc_call_fail(call, late ? CLEAT_DEADLINE_EXCEEDED : CLEAT_CANCELLED, "woken");
	atomic_fetch_add(&lab_seen.naps_cancelled, 1);
}

static void on_nap(lab_service *s UNUSED, const Cleat__Test__V1__NapRequest *in,
		   Cleat__Test__V1__NapResponse_Closure done UNUSED, void *call)
{
	atomic_fetch_add(&lab_seen.naps_started, 1);
	nap_and_answer(call, in->millis);
}

struct later {
	struct cleat_rpc_call *call;
	const Cleat__Test__V1__NapRequest *in; /* valid while the call is held */
};

static void *answer_later(void *arg)
{
	cleat_autofree struct later *l = arg;

	nap_and_answer(l->call, l->in->millis);
	cleat_rpc_call_drop(l->call);
	return NULL;
}

static void on_later(lab_service *s UNUSED, const Cleat__Test__V1__NapRequest *in,
		     Cleat__Test__V1__NapResponse_Closure done UNUSED, void *call)
{
	struct later *l = malloc(sizeof(*l));
	pthread_t thread;

	if (!l)
		return;
	*l = (struct later){ call, in };
	cleat_rpc_call_hold(call);
	atomic_fetch_add(&lab_seen.naps_started, 1);
	if (pthread_create(&thread, NULL, answer_later, l)) {
		cleat_rpc_call_drop(call);
		free(l);
		return;
	}
	pthread_detach(thread);
}

static void add_detail(struct cleat_rpc_call *call, const Cleat__Test__V1__FailRequest *in)
{
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT, *list[] = { &any };
	Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;

	any.type_url = in->detail;
	status.code = (int32_t)in->code;
	status.message = in->text;
	status.n_details = 1;
	status.details = list;
	cleat_rpc_call_set_details(call, &status.base);
}

static void on_fail(lab_service *s UNUSED, const Cleat__Test__V1__FailRequest *in,
		    Cleat__Test__V1__PingResponse_Closure done, void *call)
{
	static atomic_uint calls;
	Cleat__Test__V1__PingResponse good = CLEAT__TEST__V1__PING_RESPONSE__INIT;

	if (in->first && atomic_fetch_add(&calls, 1) % 2) {
		done(&good, call);
		return;
	}
	if (in->detail[0])
		add_detail(call, in);
	if (!cleat_rpc_call_add_trailer(call, "x-lab", "trailer") ||
	    cleat_rpc_call_add_trailer(call, "Not Legal", "x") || cleat_rpc_call_add_trailer(call, "x", "\n"))
		atomic_fetch_add(&lab_seen.wrong, 1);
	cleat_rpc_call_fail(call, (enum cleat_code)in->code, "%s", in->text);
}

static void on_whoami(lab_service *s UNUSED, const Cleat__Test__V1__PingRequest *in UNUSED,
		      Cleat__Test__V1__WhoAmIResponse_Closure done, void *call)
{
	Cleat__Test__V1__WhoAmIResponse out = CLEAT__TEST__V1__WHO_AM_IRESPONSE__INIT;
	struct cleat_rpc_peer peer = cleat_rpc_call_peer(call);
	int64_t left = cleat_rpc_call_time_left_ms(call);
	char role[32], header[64];

	snprintf(role, sizeof(role), "%s", cleat_rpc_role_name(cleat_rpc_call_role(call)));
	out.known = peer.known;
	out.uid = peer.uid;
	out.gid = peer.gid;
	out.pid = peer.pid;
	out.role = role;
	out.time_left_ms = left == INT64_MAX ? -1 : left;
	if (cleat_rpc_call_metadata(call, "x-lab", header, sizeof(header)))
		out.header = header;
	out.id = cleat_rpc_call_id(call);
	done(&out, call);
}

static void send_count(struct cleat_rpc_call *call, unsigned i, size_t n, uint8_t *filling)
{
	Cleat__Test__V1__CountResponse out = CLEAT__TEST__V1__COUNT_RESPONSE__INIT;

	out.i = i;
	out.filling = (ProtobufCBinaryData){ n, filling };
	cleat_rpc_call_reply(call, &out.base);
}

static void on_count(lab_service *s UNUSED, const Cleat__Test__V1__CountRequest *in,
		     Cleat__Test__V1__CountResponse_Closure done, void *call)
{
	cleat_autofree uint8_t *filling = calloc(1, in->bytes + 1);
	unsigned i = 0;

	while (i < in->n && cleat_rpc_call_wait(call, 4))
		send_count(call, i++, in->bytes, filling);
	if (i < in->n)
		atomic_fetch_add(&lab_seen.counts_cut, 1);
	done(NULL, call);
}

static void on_flood(lab_service *s UNUSED, const Cleat__Test__V1__CountRequest *in,
		     Cleat__Test__V1__CountResponse_Closure done, void *call)
{
	cleat_autofree uint8_t *filling = calloc(1, in->bytes + 1);

	for (unsigned i = 0; i < in->n; i++)
		send_count(call, i, in->bytes, filling);
	done(NULL, call);
}

static void parked_closed(struct cleat_rpc_call *call, void *arg UNUSED)
{
	atomic_fetch_add(&lab_seen.parked_closed, 1);
	cleat_rpc_call_end(call);
	cleat_rpc_call_drop(call);
}

static void on_park(lab_service *s UNUSED, const Cleat__Test__V1__PingRequest *in UNUSED,
		    Cleat__Test__V1__PingResponse_Closure done, void *call)
{
	Cleat__Test__V1__PingResponse out = CLEAT__TEST__V1__PING_RESPONSE__INIT;

	done(&out, call);
	cleat_rpc_call_hold(call);
	atomic_fetch_add(&lab_seen.parked, 1);
	cleat_rpc_call_on_close(call, parked_closed, NULL);
}

static void on_chat(ProtobufCService *svc UNUSED, struct cleat_rpc_call *call, const ProtobufCMessage *m)
{
	if (m) {
		cleat_rpc_call_reply(call, m);
		return;
	}
	atomic_fetch_add(&lab_seen.chats_ended, 1);
	cleat_rpc_call_end(call);
}

static void on_forget(lab_service *s UNUSED, const Cleat__Test__V1__PingRequest *in UNUSED,
		      Cleat__Test__V1__PingResponse_Closure done UNUSED, void *call UNUSED)
{
}

static void on_lie(lab_service *s UNUSED, const Cleat__Test__V1__PingRequest *in UNUSED,
		   Cleat__Test__V1__ChatMessage_Closure done UNUSED, void *call)
{
	send_count(call, 1, 0, NULL); /* field 1 is a number here, a text there */
}

static void on_stubborn(lab_service *s UNUSED, const Cleat__Test__V1__NapRequest *in,
			Cleat__Test__V1__NapResponse_Closure done, void *call)
{
	Cleat__Test__V1__NapResponse out = CLEAT__TEST__V1__NAP_RESPONSE__INIT;

	atomic_fetch_add(&lab_seen.naps_started, 1);
	pause_ms(in->millis);
	done(&out, call);
}

static lab_service lab_handlers = {
	.base = { &cleat__test__v1__lab__descriptor, protobuf_c_service_invoke_internal, NULL },
	.ping = on_ping,
	.echo = on_echo,
	.nap = on_nap,
	.later = on_later,
	.fail = on_fail,
	.who_am_i = on_whoami,
	.count = on_count,
	.flood = on_flood,
	.park = on_park,
	.forget = on_forget,
	.lie = on_lie,
	.stubborn = on_stubborn,
};

void lab_add(struct cleat_rpc_role *role)
{
	static const struct cleat_rpc_method methods[] = {
		{ .lane = CLEAT_RPC_INLINE },
		{ .name = "Echo", .lane = CLEAT_RPC_WORKER },
		{ .name = "Nap", .lane = CLEAT_RPC_WORKER },
		{ .name = "Stubborn", .lane = CLEAT_RPC_WORKER },
		{ .name = "Count", .lane = CLEAT_RPC_WORKER, .kind = CLEAT_RPC_SERVER_STREAM },
		{ .name = "Flood", .lane = CLEAT_RPC_INLINE, .kind = CLEAT_RPC_SERVER_STREAM },
		{ .name = "Park", .lane = CLEAT_RPC_INLINE, .kind = CLEAT_RPC_SERVER_STREAM },
		{ .name = "Chat", .kind = CLEAT_RPC_BIDI, .on_message = on_chat },
	};
	struct cleat_error err;

	assert_int_equal(cleat_rpc_role_add(role, &lab_handlers.base, methods, CLEAT_COUNT(methods), &err),
			 CLEAT_OK);
}

/* ---- up and down ---- */

void lab_prepare(struct lab *lab)
{
	*lab = (struct lab){ .dir = "/tmp/cleat-lab-XXXXXX" };
	assert_non_null(mkdtemp(lab->dir));
	snprintf(lab->path, sizeof(lab->path), "%s/lab.sock", lab->dir);
	snprintf(lab->target, sizeof(lab->target), "unix:%s", lab->path);
	signal(SIGPIPE, SIG_IGN);
}

void lab_make_server(struct lab *lab, const struct cleat_rpc_server_config *config)
{
	struct cleat_rpc_server_config used = { 0 };
	struct cleat_error err;

	if (config)
		used = *config;
	used.on_done = lab_on_done;
	assert_int_equal(cleat_rpc_server_new(&used, &lab->server, &err), CLEAT_OK);
	assert_int_equal(cleat_rpc_role_new(lab->server, "lab", &lab->role, &err), CLEAT_OK);
	assert_int_equal(cleat_rpc_health_new(lab->server, &lab->health, &err), CLEAT_OK);
	assert_int_equal(cleat_rpc_health_add(lab->health, lab->role, &err), CLEAT_OK);
	lab_add(lab->role);
}

void lab_start_server(struct lab *lab)
{
	struct cleat_rpc_unix where = { .path = lab->path };
	struct cleat_rpc_admission who = { .role = lab->role };
	struct cleat_error err;

	assert_int_equal(cleat_rpc_listen_unix(lab->server, &where, &who, &err), CLEAT_OK);
	assert_int_equal(cleat_rpc_server_start(lab->server, &err), CLEAT_OK);
}

void lab_settle(struct lab *lab)
{
	uint64_t until = lab_now_ms() + WAIT_MS;

	while (cleat_rpc_server_calls(lab->server)) {
		assert_true(lab_now_ms() < until);
		pause_ms(1);
	}
}

void lab_stop_server(struct lab *lab, unsigned grace_ms)
{
	struct cleat_error err;

	assert_int_equal(cleat_rpc_server_stop(lab->server, grace_ms, STOP_HARD_MS, &err), CLEAT_OK);
	cleat_rpc_server_free(lab->server);
	cleat_rpc_health_free(lab->health);
	lab->server = NULL;
	lab->health = NULL;
}

void lab_make_client(struct lab *lab)
{
	struct cleat_rpc_client_config config = { .target = lab->target };
	struct cleat_error err;

	assert_int_equal(cleat_rpc_client_new(&config, &lab->client, &err), CLEAT_OK);
}

void lab_up(struct lab *lab, const struct cleat_rpc_server_config *config)
{
	lab_prepare(lab);
	lab_make_server(lab, config);
	lab_start_server(lab);
	lab_make_client(lab);
}

void lab_down(struct lab *lab)
{
	cleat_rpc_client_free(lab->client);
	if (lab->server)
		lab_stop_server(lab, 1000);
	unlink(lab->path);
	assert_int_equal(rmdir(lab->dir), 0);
}

/* ---- calls ---- */

enum cleat_code lab_ping(struct cleat_rpc_client *c, const struct cleat_rpc_options *o,
			 struct cleat_error *err)
{
	Cleat__Test__V1__PingRequest in = CLEAT__TEST__V1__PING_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;

	return cleat_rpc_client_call(c, LAB_SERVICE, "Ping", &in.base, o, &out, err);
}

enum cleat_code lab_nap(struct cleat_rpc_client *c, const char *method, unsigned ms,
			const struct cleat_rpc_options *o, struct cleat_error *err)
{
	Cleat__Test__V1__NapRequest in = CLEAT__TEST__V1__NAP_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;

	in.millis = ms;
	return cleat_rpc_client_call(c, LAB_SERVICE, method, &in.base, o, &out, err);
}
