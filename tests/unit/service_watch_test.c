/* service_watch_test.c - a watcher that does not read is ended, and holds up neither the engine nor other
 * watchers.
 *
 * Built with a small CLEAT_WATCH_MAX_UNREAD.  Engine, server and client are the real ones, in one process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cleat/v1/volumes.pb-c.h"
#include "rt/client.h"
#include "rt/server.h"
#include "service/service.h"
#include "util/kv.h"
#include "util/mem.h"

#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

/* More events than a connection buffers by itself (64 KiB of at least 40 bytes), and the queue. */
#define EVENTS 4000

static char dir[48];
static struct cleat_engine *engine;
static struct cleat_rpc_server *server;
static struct cleat_service *service;
static struct cleat_rpc_client *client;

static void open_engine(void)
{
	static char state[64], run[64], name[] = "default", backend[] = "dir";
	static struct cleat_pool_config pool = { .name = name, .backend = backend };
	struct cleat_engine_config config = { .size = sizeof(config),
					      .state_dir = state,
					      .runtime_dir = run,
					      .pools = &pool,
					      .pool_count = 1,
					      .any_namespace = true };
	struct cleat_error err = CLEAT_ERROR_INIT;

	snprintf(state, sizeof(state), "%s/state", dir);
	snprintf(run, sizeof(run), "%s/run", dir);
	if (cleat_engine_open(&config, &engine, &err))
		fail_msg("%s", err.msg);
}

static int set_up(void **state)
{
	const struct cleat_rpc_server_config config = { 0 };
	struct cleat_rpc_admission who = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char path[64], target[80];

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/cleat-watch-XXXXXX");
	assert_non_null(mkdtemp(dir));
	open_engine();
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(cleat_rpc_server_new(&config, &server, &err), CLEAT_OK);
	assert_int_equal(cleat_service_new(engine, server, &service, &err), CLEAT_OK);
	assert_int_equal(cleat_rpc_role_new(server, "api", &who.role, &err), CLEAT_OK);
	assert_int_equal(cleat_service_add(service, who.role, &err), CLEAT_OK);
	assert_int_equal(cleat_rpc_listen_unix(server, &(struct cleat_rpc_unix){ .path = path }, &who, &err),
			 CLEAT_OK);
	assert_int_equal(cleat_rpc_server_start(server, &err), CLEAT_OK);
	snprintf(target, sizeof(target), "unix:%s", path);
	assert_int_equal(
		cleat_rpc_client_new(&(struct cleat_rpc_client_config){ .target = target }, &client, &err),
		CLEAT_OK);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
	return remove(path);
}

static int tear_down(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	cleat_rpc_client_free(client);
	assert_int_equal(cleat_rpc_server_stop(server, 1000, 10000, &err), CLEAT_OK);
	cleat_rpc_server_free(server);
	cleat_service_free(service);
	assert_true(cleat_engine_close(engine, 10000));
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

/* ---- watchers ---- */

struct reader {
	struct cleat_rpc_canceller canceller;
	pthread_mutex_t lock;
	pthread_cond_t released;
	bool hold; /* stop reading at the first event until released */
	atomic_uint got;
	atomic_bool gap; /* events came out of order, or some are missing */
	_Atomic uint64_t last;
	enum cleat_code code;
	char text[CLEAT_ERROR_TEXT_BYTES];
	pthread_t thread;
};

static bool on_event(const ProtobufCMessage *m, void *arg)
{
	const Cleat__V1__Event *e = (const void *)m;
	struct reader *r = arg;

	uint64_t before = atomic_exchange(&r->last, e->number);
	if (before && e->number != before + 1)
		atomic_store(&r->gap, true);
	atomic_fetch_add(&r->got, 1);
	pthread_mutex_lock(&r->lock);
	while (r->hold)
		pthread_cond_wait(&r->released, &r->lock);
	pthread_mutex_unlock(&r->lock);
	return true;
}

static void *run_reader(void *arg)
{
	Cleat__V1__WatchRequest in = CLEAT__V1__WATCH_REQUEST__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct reader *r = arg;
	const struct cleat_rpc_options options = { .timeout_ms = 110000, .canceller = &r->canceller };

	r->code = cleat_rpc_client_stream(client, &cleat__v1__volumes__descriptor, "Watch", &in.base,
					  &options, on_event, r, &err);
	memcpy(r->text, err.msg, sizeof(r->text));
	return NULL;
}

static void reader_start(struct reader *r, bool hold)
{
	*r = (struct reader){ .canceller = CLEAT_RPC_CANCELLER_INIT, .hold = hold };
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->released, NULL);
	assert_int_equal(pthread_create(&r->thread, NULL, run_reader, r), 0);
}

static void reader_release(struct reader *r)
{
	pthread_mutex_lock(&r->lock);
	r->hold = false;
	pthread_cond_signal(&r->released);
	pthread_mutex_unlock(&r->lock);
}

static void wait_for(struct reader *r, uint64_t number)
{
	for (int ms = 0; atomic_load(&r->last) < number; ms++) {
		assert_true(ms < 60000);
		poll(NULL, 0, 1);
	}
}

/* ---- events ---- */

static void create_volume(void)
{
	const struct cleat_request r = {
		.size = sizeof(r), .verb = CLEAT_VERB_CREATE, .name = "v", .capacity_bytes = 1 << 20
	};
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_result result;

	if (cleat_engine_call(engine, &r, &result, &err))
		fail_msg("%s", err.msg);
	cleat_engine_result_done(&result);
}

/* One event, of the change of a label. */
static void change_volume(int i)
{
	cleat_autokvs struct cleat_kvs labels = { 0 };
	struct cleat_request r = {
		.size = sizeof(r), .verb = CLEAT_VERB_MODIFY, .volume = "default/v", .labels = &labels
	};
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_result result;
	char value[16];

	snprintf(value, sizeof(value), "%d", i);
	assert_int_equal(cleat_kv_set(&labels, "round", value, &err), CLEAT_OK);
	if (cleat_engine_call(engine, &r, &result, &err))
		fail_msg("%s", err.msg);
	cleat_engine_result_done(&result);
}

static void test_watch__a_reader_that_stops_is_ended_and_others_go_on(void **state)
{
	static struct reader slow, quick;
	int i;

	(void)state;
	create_volume();
	reader_start(&slow, true);
	reader_start(&quick, false);
	/* Both watch once both have seen something. */
	for (i = 0; atomic_load(&slow.got) == 0 || atomic_load(&quick.got) == 0; i++)
		change_volume(i);
	uint64_t before = cleat_events_last(engine);
	for (int end = i + EVENTS; i < end; i++) {
		change_volume(i);
		if (i % 16 == 0) /* nobody reads faster than it is let to */
			wait_for(&quick, cleat_events_last(engine));
	}
	uint64_t last = cleat_events_last(engine);
	assert_true(last - before >= EVENTS);
	wait_for(&quick, last);
	reader_release(&slow);
	pthread_join(slow.thread, NULL);
	assert_int_equal(slow.code, CLEAT_RESOURCE_EXHAUSTED);
	assert_non_null(strstr(slow.text, "reads too slowly"));
	assert_true(atomic_load(&slow.got) < EVENTS);
	assert_false(atomic_load(&slow.gap));
	cleat_rpc_cancel(&quick.canceller);
	pthread_join(quick.thread, NULL);
	assert_int_equal(quick.code, CLEAT_CANCELLED);
	assert_int_equal(quick.last, last);
	assert_false(atomic_load(&quick.gap));
}

static void test_watch__the_stop_ends_a_reader_that_does_not_read(void **state)
{
	static struct reader slow;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	reader_start(&slow, true);
	for (int i = 0; atomic_load(&slow.got) == 0; i++)
		change_volume(i);
	assert_int_equal(cleat_rpc_server_stop(server, 100, 10000, &err), CLEAT_OK);
	reader_release(&slow);
	pthread_join(slow.thread, NULL);
	assert_int_not_equal(slow.code, CLEAT_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_watch__a_reader_that_stops_is_ended_and_others_go_on),
		cmocka_unit_test(test_watch__the_stop_ends_a_reader_that_does_not_read), /* the last: it ends
											    the server */
	};

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: the engine needs root\n");
		return 77;
	}
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
