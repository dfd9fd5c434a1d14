/* goplugin_test.c - the example plugin, started as a go-plugin host starts one: environment, handshake line,
 * the services that each host expects, its own service, orderly end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "goplugin/goplugin.pb-c.h"
#include "greeter.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "rt/client.h"
#include "run.h"
#include "util/mem.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COOKIE "GREETER_PLUGIN=0e1f2a3b"
#define PATIENCE_MS 20000

struct host {
	struct test_run plugin;
	char dir[64];	/* where its socket is */
	char line[512]; /* the handshake */
	char socket[256];
	struct cleat_rpc_client *client;
};

static void start(struct host *h, const char *const *more)
{
	const char *const argv[] = { GREETER_PATH, NULL };
	char socket_dir[128];
	const char *env[16] = { socket_dir };

	snprintf(socket_dir, sizeof(socket_dir), "PLUGIN_UNIX_SOCKET_DIR=%s", h->dir);
	for (size_t i = 0; more[i]; i++)
		env[i + 1] = more[i];
	test_run_start(&h->plugin, argv, env);
}

/* The first line of stdout, and nothing before it. */
static void read_handshake(struct host *h)
{
	size_t n = 0;

	while (n == 0 || h->line[n - 1] != '\n') {
		struct pollfd p = { .fd = h->plugin.out_fd, .events = POLLIN };

		assert_true(n < sizeof(h->line) - 1);
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_int_equal(read(h->plugin.out_fd, h->line + n, 1), 1);
		n++;
	}
	h->line[n - 1] = '\0';
}

static void connect_to(struct host *h)
{
	char target[300];
	const struct cleat_rpc_client_config config = { .target = target };

	assert_int_equal(sscanf(h->line, "1|1|unix|%255[^|]|grpc", h->socket), 1);
	snprintf(target, sizeof(target), "unix:%s", h->socket);
	assert_int_equal(access(h->socket, F_OK), 0);
	assert_int_equal(cleat_rpc_client_new(&config, &h->client, NULL), CLEAT_OK);
}

static const char *const usual[] = { COOKIE, "PLUGIN_PROTOCOL_VERSIONS=1,2", "PLUGIN_MIN_PORT=10000",
				     "PLUGIN_MAX_PORT=25000", NULL };

static int set_up(void **state)
{
	struct host *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	snprintf(h->dir, sizeof(h->dir), "/tmp/cleat-goplugin-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct host *h = *state;

	cleat_rpc_client_free(h->client);
	if (h->plugin.pid)
		test_run_kill(&h->plugin);
	test_run_done(&h->plugin);
	int left = rmdir(h->dir); /* fails when the socket was left */
	free(h);
	return left;
}

static enum cleat_code call(struct host *h, const ProtobufCServiceDescriptor *service, const char *method,
			    const ProtobufCMessage *in, ProtobufCMessage **out, struct cleat_error *err)
{
	const struct cleat_rpc_options options = { .timeout_ms = PATIENCE_MS };

	return cleat_rpc_client_call(h->client, service, method, in, &options, out, err);
}

static void shut_down(struct host *h)
{
	Google__Protobuf__Empty in = GOOGLE__PROTOBUF__EMPTY__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;

	assert_int_equal(call(h, &plugin__grpccontroller__descriptor, "Shutdown", &in.base, &out, NULL),
			 CLEAT_OK);
	test_run_wait(&h->plugin);
	assert_int_equal(h->plugin.code, 0);
	assert_int_equal(access(h->socket, F_OK), -1);
}

static enum cleat_code greet(struct host *h, const char *name, char *text, size_t room,
			     struct cleat_error *err)
{
	Example__V1__GreetRequest in = EXAMPLE__V1__GREET_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;
	char copy[64];

	snprintf(copy, sizeof(copy), "%s", name);
	in.name = copy;
	enum cleat_code code = call(h, &example__v1__greeter__descriptor, "Greet", &in.base, &out, err);
	if (code == CLEAT_OK)
		snprintf(text, room, "%s", ((Example__V1__GreetResponse *)out)->text);
	return code;
}

static void test_goplugin__serves_a_host(void **state)
{
	struct host *h = *state;
	Grpc__Health__V1__HealthCheckRequest in = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *health = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char text[64], service[] = "plugin";

	start(h, usual);
	read_handshake(h);
	connect_to(h);
	in.service = service;
	assert_int_equal(call(h, &grpc__health__v1__health__descriptor, "Check", &in.base, &health, NULL),
			 CLEAT_OK);
	assert_int_equal(((Grpc__Health__V1__HealthCheckResponse *)health)->status,
			 GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
	assert_int_equal(greet(h, "world", text, sizeof(text), NULL), CLEAT_OK);
	assert_string_equal(text, "Hello, world!");
	assert_int_equal(greet(h, "", text, sizeof(text), &err), CLEAT_INVALID_ARGUMENT);
	assert_string_equal(err.msg, "name: is empty");
	shut_down(h);
	/* The log is one JSON object a line, on stderr; nothing more came on stdout. */
	assert_non_null(strstr(h->plugin.err, "\"@message\":\"greeting\""));
	assert_non_null(strstr(h->plugin.err, "\"name\":\"world\""));
	assert_string_equal(h->plugin.out, "");
}

/* ---- what the plugin prints ---- */

struct listener {
	struct host *host;
	struct cleat_rpc_canceller canceller;
	char heard[64];
};

static bool hear(const ProtobufCMessage *message, void *arg)
{
	const Plugin__StdioData *data = (const Plugin__StdioData *)message;
	struct listener *l = arg;
	size_t used = strlen(l->heard);

	assert_int_equal(data->channel, PLUGIN__STDIO_DATA__CHANNEL__STDOUT);
	snprintf(l->heard + used, sizeof(l->heard) - used, "%.*s", (int)data->data.len,
		 (const char *)data->data.data);
	return !strchr(l->heard, '\n');
}

static void *listen_to(void *arg)
{
	struct listener *l = arg;
	Google__Protobuf__Empty in = GOOGLE__PROTOBUF__EMPTY__INIT;
	const struct cleat_rpc_options options = { .timeout_ms = PATIENCE_MS, .canceller = &l->canceller };

	(void)cleat_rpc_client_stream(l->host->client, &plugin__grpcstdio__descriptor, "StreamStdio",
				      &in.base, &options, hear, l, NULL);
	return NULL;
}

/* What is printed before the host listens is thrown away, so that the plugin never blocks: printed until
 * something is heard. */
static void test_goplugin__gives_what_it_prints_to_the_host(void **state)
{
	struct host *h = *state;
	struct listener l = { .host = h, .canceller = CLEAT_RPC_CANCELLER_INIT };
	pthread_t thread;
	char text[64];

	start(h, usual);
	read_handshake(h);
	connect_to(h);
	assert_int_equal(pthread_create(&thread, NULL, listen_to, &l), 0);
	for (int tries = 0; tries < 2000 && pthread_tryjoin_np(thread, NULL); tries++) {
		assert_int_equal(greet(h, "reader", text, sizeof(text), NULL), CLEAT_OK);
		usleep(5000);
		if (tries == 1999)
			fail_msg("nothing was heard");
	}
	assert_non_null(strstr(l.heard, "greeting reader\n"));
	shut_down(h);
}

static void test_goplugin__tells_a_person_to_go_away(void **state)
{
	struct host *h = *state;
	const char *const nothing[] = { NULL };

	start(h, nothing);
	test_run_wait(&h->plugin);
	assert_int_equal(h->plugin.code, 1);
	assert_string_equal(h->plugin.out, "");
	assert_non_null(strstr(h->plugin.err, "is a plugin of the greeting host"));
}

static void test_goplugin__answers_about_multiplexing_only_when_asked(void **state)
{
	struct host *h = *state;
	const char *const asks[] = { COOKIE, "PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_MULTIPLEX_GRPC=true",
				     NULL };

	start(h, asks);
	read_handshake(h);
	connect_to(h);
	assert_string_equal(strstr(h->line, "|grpc"), "|grpc||false");
	shut_down(h);
}

static void test_goplugin__survives_the_terminal_of_its_host(void **state)
{
	struct host *h = *state;
	char text[64];

	start(h, usual);
	read_handshake(h);
	connect_to(h);
	assert_int_equal(kill(h->plugin.pid, SIGINT), 0);
	assert_int_equal(greet(h, "still here", text, sizeof(text), NULL), CLEAT_OK);
	assert_int_equal(kill(h->plugin.pid, SIGTERM), 0);
	test_run_wait(&h->plugin);
	assert_int_equal(h->plugin.code, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_goplugin__serves_a_host, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_goplugin__gives_what_it_prints_to_the_host, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_goplugin__tells_a_person_to_go_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_goplugin__answers_about_multiplexing_only_when_asked,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_goplugin__survives_the_terminal_of_its_host, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
