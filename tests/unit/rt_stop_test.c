/* rt_stop_test.c - the end of a server: what runs is finished, what is new is refused, nothing aborts. */
#include "rt_lab.h"

#include "grpc/health/v1/health.pb-c.h"
#include "util/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

extern char **environ;

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

/* ---- running calls ---- */

struct napper {
	pthread_t thread;
	const char *method;
	unsigned ms;
	enum cleat_code code;
};

static void *nap_thread(void *arg)
{
	struct napper *n = arg;

	n->code = lab_nap(lab.client, n->method, n->ms, NULL, NULL);
	return NULL;
}

/* A nap that has begun. */
static void start_napper(struct napper *n, const char *method, unsigned ms)
{
	unsigned before = atomic_load(&lab_seen.naps_started);

	*n = (struct napper){ .method = method, .ms = ms };
	assert_int_equal(pthread_create(&n->thread, NULL, nap_thread, n), 0);
	lab_wait_for(&lab_seen.naps_started, before + 1);
}

static void test_stop__running_calls_get_their_answers(void **state)
{
	static const char *const methods[] = { "Nap", "Later", "Stubborn" };
	struct napper n[3];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		start_napper(&n[i], methods[i], 150);
	lab_stop_server(&lab, 20000);
	for (size_t i = 0; i < 3; i++) {
		pthread_join(n[i].thread, NULL);
		assert_int_equal(n[i].code, CLEAT_OK);
	}
}

static void test_stop__after_the_grace_calls_are_cancelled(void **state)
{
	static const char *const methods[] = { "Nap", "Later" };
	unsigned before = atomic_load(&lab_seen.naps_cancelled);
	struct napper n[2];
	uint64_t start = lab_now_ms();

	(void)state;
	for (size_t i = 0; i < 2; i++)
		start_napper(&n[i], methods[i], 60000);
	lab_stop_server(&lab, 50);
	assert_in_range(lab_now_ms() - start, 50, 10000);
	for (size_t i = 0; i < 2; i++) {
		pthread_join(n[i].thread, NULL);
		assert_int_equal(n[i].code, CLEAT_UNAVAILABLE);
	}
	assert_int_equal(atomic_load(&lab_seen.naps_cancelled), before + 2);
}

static void *stop_thread(void *arg)
{
	lab_stop_server(arg, 20000);
	return NULL;
}

static void test_stop__new_calls_are_refused_while_old_ones_finish(void **state)
{
	unsigned started = atomic_load(&lab_seen.naps_started);
	struct napper n;
	pthread_t thread;
	uint64_t until = lab_now_ms() + 10000;

	(void)state;
	start_napper(&n, "Later", 500);
	assert_int_equal(pthread_create(&thread, NULL, stop_thread, &lab), 0);
	while (lab_ping(lab.client, NULL, NULL) == CLEAT_OK)
		assert_true(lab_now_ms() < until);
	assert_int_equal(lab_nap(lab.client, "Nap", 1, NULL, NULL), CLEAT_UNAVAILABLE);
	pthread_join(thread, NULL);
	pthread_join(n.thread, NULL);
	assert_int_equal(n.code, CLEAT_OK);
	assert_int_equal(atomic_load(&lab_seen.naps_started), started + 1);
}

/* ---- streams that never end by themselves ---- */

struct watch {
	pthread_t thread;
	atomic_uint n;
	atomic_int last;
	enum cleat_code code;
};

static bool on_status(const ProtobufCMessage *message, void *arg)
{
	struct watch *w = arg;

	w->last = (int)((const Grpc__Health__V1__HealthCheckResponse *)message)->status;
	atomic_fetch_add(&w->n, 1);
	return true;
}

static void *watch_thread(void *arg)
{
	Grpc__Health__V1__HealthCheckRequest in = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	struct watch *w = arg;

	w->code = cleat_rpc_client_stream(lab.client, &grpc__health__v1__health__descriptor, "Watch",
					  &in.base, NULL, on_status, w, NULL);
	return NULL;
}

static void test_stop__watchers_do_not_use_up_the_grace(void **state)
{
	struct watch w = { 0 };
	uint64_t start = lab_now_ms();

	(void)state;
	assert_int_equal(cleat_rpc_health_set(lab.health, "", true, NULL), CLEAT_OK);
	assert_int_equal(pthread_create(&w.thread, NULL, watch_thread, &w), 0);
	lab_wait_for(&w.n, 1);
	assert_int_equal(w.last, 1);
	lab_stop_server(&lab, 60000);
	assert_true(lab_now_ms() - start < 20000);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.n, 2);
	assert_int_equal(w.last, 2); /* NOT_SERVING */
	assert_int_equal(w.code, CLEAT_UNAVAILABLE);
}

/* A client that is idle does not look at its socket, so it does not see that it should leave. */
static void test_stop__idle_connections_do_not_use_up_the_grace(void **state)
{
	static const char greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleat_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t start = lab_now_ms();
	char settings;

	(void)state;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", lab.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(write(fd, greeting, sizeof(greeting) - 1), sizeof(greeting) - 1);
	assert_int_equal(read(fd, &settings, 1), 1);
	lab_stop_server(&lab, 60000);
	assert_true(lab_now_ms() - start < 20000);
}

/* ---- half-made servers ---- */

static void test_stop__servers_that_never_ran_are_freed(void **state)
{
	struct cleat_rpc_unix where = { .path = lab.path };
	struct cleat_rpc_admission who = { 0 };

	(void)state;
	lab_make_server(&lab, NULL);
	who.role = lab.role;
	assert_int_equal(cleat_rpc_listen_unix(lab.server, &where, &who, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_listen_core(lab.server, "127.0.0.1:0", NULL, lab.role, NULL, NULL),
			 CLEAT_OK);
	lab_stop_server(&lab, 0); /* nothing to stop */
	assert_int_equal(access(lab.path, F_OK), -1);
	cleat_rpc_server_free(NULL);
}

static void test_stop__a_running_server_may_be_freed(void **state)
{
	(void)state;
	lab_make_server(&lab, NULL);
	lab_start_server(&lab);
	lab_make_client(&lab);
	assert_int_equal(lab_ping(lab.client, NULL, NULL), CLEAT_OK);
	cleat_rpc_server_free(lab.server);
	cleat_rpc_health_free(lab.health);
	lab.server = NULL;
	assert_int_equal(lab_ping(lab.client, NULL, NULL), CLEAT_UNAVAILABLE);
}

static void test_stop__nothing_is_added_to_a_running_server(void **state)
{
	struct cleat_rpc_unix where = { .path = lab.path };
	struct cleat_rpc_admission who = { 0 };

	(void)state;
	lab_make_server(&lab, NULL);
	lab_start_server(&lab);
	who.role = lab.role;
	assert_int_equal(cleat_rpc_listen_unix(lab.server, &where, &who, NULL), CLEAT_FAILED_PRECONDITION);
	assert_int_equal(cleat_rpc_listen_core(lab.server, "127.0.0.1:0", NULL, lab.role, NULL, NULL),
			 CLEAT_FAILED_PRECONDITION);
	assert_int_equal(cleat_rpc_server_start(lab.server, NULL), CLEAT_FAILED_PRECONDITION);
}

/* ---- handlers that do not end; in a process of its own, since such a server stays allocated ---- */

static int stop_while_stuck(void)
{
	struct napper n;
	struct cleat_error err;

	lab_up(&lab, NULL);
	start_napper(&n, "Stubborn", 60000);
	if (cleat_rpc_server_stop(lab.server, 10, 50, &err) != CLEAT_DEADLINE_EXCEEDED)
		return 2;
	pthread_join(n.thread, NULL); /* its call was cancelled; the handler goes on */
	if (n.code != CLEAT_UNAVAILABLE)
		return 4;
	cleat_rpc_server_free(lab.server); /* must leave it alone */
	if (strstr(err.msg, "still running") == NULL)
		return 3;
	rmdir(lab.dir);
	return 0;
}

static void test_stop__a_stuck_handler_is_reported(void **state)
{
	char *argv[] = { (char *)(uintptr_t) "rt_stop_test", (char *)(uintptr_t) "--stuck", NULL };
	uint64_t start = lab_now_ms();
	int status = -1;
	pid_t pid;

	(void)state;
	assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(lab_now_ms() - start < 30000);
}

/* ---- at any moment ---- */

#define CALLERS 6
#define ROUNDS 25

static atomic_bool calling;

static uint64_t next_random(uint64_t *r)
{
	*r ^= *r << 13;
	*r ^= *r >> 7;
	*r ^= *r << 17;
	return *r >> 11;
}

static bool take_some(const ProtobufCMessage *message, void *arg)
{
	(void)message;
	return next_random(arg) % 8 != 0;
}

static void call_something(struct cleat_rpc_client *c, uint64_t *r)
{
	Cleat__Test__V1__CountRequest count = CLEAT__TEST__V1__COUNT_REQUEST__INIT;
	Cleat__Test__V1__PingRequest ping = CLEAT__TEST__V1__PING_REQUEST__INIT;
	struct cleat_rpc_options o = { .timeout_ms = 1 + (unsigned)(next_random(r) % 50) };

	count.n = 20;
	count.bytes = 5000;
	switch (next_random(r) % 6) {
	case 0:
		lab_nap(c, "Nap", 5, &o, NULL);
		break;
	case 1:
		lab_nap(c, "Later", 5, &o, NULL);
		break;
	case 2:
		cleat_rpc_client_stream(c, LAB_SERVICE, "Count", &count.base, &o, take_some, r, NULL);
		break;
	case 3:
		cleat_rpc_client_stream(c, LAB_SERVICE, "Flood", &count.base, &o, take_some, r, NULL);
		break;
	case 4:
		cleat_rpc_client_stream(c, LAB_SERVICE, "Park", &ping.base, &o, take_some, r, NULL);
		break;
	default:
		lab_ping(c, &o, NULL);
	}
}

static void *call_a_lot(void *arg)
{
	uint64_t r = (uint64_t)(uintptr_t)arg * 0x9e3779b97f4a7c15u + 1;
	struct cleat_rpc_client_config config = { .target = lab.target, .watch = r % 2 == 0 };
	struct cleat_rpc_client *c = NULL;

	if (cleat_rpc_client_new(&config, &c, NULL) != CLEAT_OK)
		return NULL;
	while (atomic_load(&calling))
		call_something(c, &r);
	cleat_rpc_client_free(c);
	return NULL;
}

static void test_stop__at_any_moment_under_load(void **state)
{
	pthread_t threads[CALLERS];
	uint64_t r = (uint64_t)time(NULL) | 1;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)r);
	atomic_store(&calling, true);
	for (uintptr_t i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_a_lot, (void *)(i + 1)), 0);
	for (int round = 0; round < ROUNDS; round++) {
		unsigned before = atomic_load(&lab_seen.done);
		lab_make_server(&lab, NULL);
		lab_start_server(&lab);
		lab_wait_for(&lab_seen.done, before + (unsigned)(next_random(&r) % 60));
		lab_stop_server(&lab, (unsigned)(next_random(&r) % 20));
	}
	atomic_store(&calling, false);
	for (size_t i = 0; i < CALLERS; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
#define LIVE(name) cmocka_unit_test_setup_teardown(test_stop__##name, up, down)
#define BARE(name) cmocka_unit_test_setup_teardown(test_stop__##name, prepare, down)
	const struct CMUnitTest tests[] = {
		LIVE(running_calls_get_their_answers),
		LIVE(after_the_grace_calls_are_cancelled),
		LIVE(new_calls_are_refused_while_old_ones_finish),
		LIVE(watchers_do_not_use_up_the_grace),
		LIVE(idle_connections_do_not_use_up_the_grace),
		BARE(servers_that_never_ran_are_freed),
		BARE(a_running_server_may_be_freed),
		BARE(nothing_is_added_to_a_running_server),
		cmocka_unit_test(test_stop__a_stuck_handler_is_reported),
		BARE(at_any_moment_under_load),
	};

	if (argc == 2 && strcmp(argv[1], "--stuck") == 0)
		_exit(stop_while_stuck());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
