/* daemon_test.c - the real cleatd: start, service, reload, refusals and orderly ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon.h"

#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "util/clock.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIR_POOL "pools:\n  default:\n    backend: dir\n"

static struct test_daemon d;

static int set_up(void **state)
{
	(void)state;
	test_daemon_init(&d);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	test_daemon_done(&d);
	return 0;
}

static enum cleat_code health_of(const char *service, bool *serving_out)
{
	Grpc__Health__V1__HealthCheckRequest in = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS };
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char name[64];

	snprintf(name, sizeof(name), "%s", service);
	in.service = name;
	if (cleat_rpc_client_call(d.client, &grpc__health__v1__health__descriptor, "Check", &in.base,
				  &options, &out, &err))
		return err.code;
	*serving_out = ((Grpc__Health__V1__HealthCheckResponse *)(void *)out)->status ==
		       GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	return CLEAT_OK;
}

static void test_daemon__serves_with_defaults_and_ends_in_good_order(void **state)
{
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	bool serving = false;

	(void)state;
	test_daemon_start(&d, NULL);
	assert_int_equal(health_of("", &serving), CLEAT_OK);
	assert_true(serving);
	serving = false;
	assert_int_equal(health_of("cleat.v1.Volumes", &serving), CLEAT_OK);
	assert_true(serving);
	assert_int_equal(health_of("no.such.Service", &serving), CLEAT_NOT_FOUND);
	assert_int_equal(test_daemon_call(&d, "GetInfo", &in.base, &out, &err), CLEAT_OK);
	const Cleat__V1__GetInfoResponse *info = (const void *)out;
	assert_string_equal(info->default_pool, "default");
	assert_string_not_equal(info->version, "");
	assert_string_not_equal(info->epoch, "");
	assert_string_not_equal(info->node, "");
	test_daemon_signal(&d, SIGTERM);
	test_daemon_expect_notify(&d, "STOPPING=1");
	assert_int_equal(test_daemon_wait(&d), 0);
	assert_int_equal(access(d.socket, F_OK), -1);
	assert_true(test_daemon_logged(&d, "cleatd has ended in good order"));
}

static void test_daemon__socket_has_mode_and_group_from_the_start(void **state)
{
	const struct group *g = getgrnam("cleat");
	struct stat st;

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	assert_int_equal(stat(d.socket, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, g ? g->gr_gid : getegid());
	test_daemon_stop(&d);
	test_daemon_config(&d, "socket: {mode: '0600', group: daemon}\n" DIR_POOL);
	test_daemon_start(&d, NULL);
	assert_int_equal(stat(d.socket, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_gid, getgrnam("daemon")->gr_gid);
	test_daemon_stop(&d);
}

/* ---- refusals ---- */

static void test_daemon__second_on_the_same_state_is_refused_with_the_holder(void **state)
{
	struct test_daemon second = d;
	char wanted[160];

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	second.pid = 0;
	snprintf(second.socket, sizeof(second.socket), "%.40s/other.sock", d.dir);
	snprintf(second.run, sizeof(second.run), "%.40s/other", d.dir);
	test_daemon_spawn(&second, NULL);
	assert_int_equal(test_daemon_wait(&second), 3);
	snprintf(wanted, sizeof(wanted), "process %d, socket %s", (int)d.pid, d.socket);
	assert_true(test_daemon_logged(&d, wanted));
	test_daemon_stop(&d);
}

static void test_daemon__wrong_configuration_is_refused_before_anything_starts(void **state)
{
	char wanted[128];

	(void)state;
	test_daemon_config(&d, "nod: x\nlog:\n  level: loud\n");
	test_daemon_spawn(&d, NULL);
	assert_int_equal(test_daemon_wait(&d), 4);
	snprintf(wanted, sizeof(wanted), "cleatd: %s:1: unknown key 'nod'\n", d.conf);
	assert_true(test_daemon_logged(&d, wanted));
	snprintf(wanted, sizeof(wanted),
		 "cleatd: %s:3: log.level: 'loud' is not debug, info, warn or error\n", d.conf);
	assert_true(test_daemon_logged(&d, wanted));
	assert_int_equal(access(d.state, F_OK), -1);
	assert_int_equal(access(d.run, F_OK), -1);
}

static void test_daemon__check_config_starts_nothing(void **state)
{
	static const char *const check[] = { "--check-config", NULL };

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_spawn(&d, check);
	assert_int_equal(test_daemon_wait(&d), 0);
	test_daemon_config(&d, "pools: {p: {backend: dir, nonsense: 1}}\n");
	test_daemon_spawn(&d, check);
	assert_int_equal(test_daemon_wait(&d), 4);
	assert_true(test_daemon_logged(&d, "nonsense"));
	assert_int_equal(access(d.state, F_OK), -1);
}

static void test_daemon__command_line_errors_are_code_2(void **state)
{
	static const char *const wrong[][2] = { { "--no-such-option", NULL },
						{ "--log-level=loud", NULL },
						{ "word", NULL } };
	static const char *const version[] = { "--version", NULL };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(wrong); i++) {
		test_daemon_spawn(&d, wrong[i]);
		assert_int_equal(test_daemon_wait(&d), 2);
	}
	assert_true(test_daemon_logged(&d, "log.level: 'loud' is not debug, info, warn or error"));
	test_daemon_spawn(&d, version);
	assert_int_equal(test_daemon_wait(&d), 0);
	assert_true(test_daemon_logged(&d, "cleatd 0.1.0\n"));
}

static void test_daemon__help_lists_the_keys_of_every_backend(void **state)
{
	static const char *const help[] = { "--help-config", NULL };

	(void)state;
	test_daemon_spawn(&d, help);
	assert_int_equal(test_daemon_wait(&d), 0);
	assert_true(test_daemon_logged(&d, "  state_dir "));
	assert_true(test_daemon_logged(&d, "Keys of a pool with backend loop"));
	assert_true(test_daemon_logged(&d, "Keys of a pool with backend dir"));
}

static void test_daemon__the_command_line_goes_before_the_file(void **state)
{
	static const char *const options[] = { "--node=from-options", "--log-level=error", NULL };
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	test_daemon_config(&d, "node: from-file\nlog: {level: debug}\nstate_dir: /nonexistent/x\n" DIR_POOL);
	test_daemon_start(&d, options);
	assert_int_equal(test_daemon_call(&d, "GetInfo", &in.base, &out, &err), CLEAT_OK);
	assert_string_equal(((const Cleat__V1__GetInfoResponse *)(const void *)out)->node, "from-options");
	test_daemon_signal(&d, SIGHUP);
	test_daemon_expect_notify(&d, "READY=1");
	test_daemon_stop(&d);
	cleat_autofree char *log = test_daemon_log(&d);
	assert_string_equal(log, "");
}

/* ---- what is logged ---- */

static void test_daemon__each_call_is_logged_once_with_its_peer(void **state)
{
	Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char wanted[256], name[] = "default/no-such", *at;

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	in.volume = name;
	if (test_daemon_call(&d, "GetVolume", &in.base, NULL, &err) != CLEAT_NOT_FOUND)
		fail_msg("%s: %s", cleat_code_name(err.code), err.msg);
	test_daemon_stop(&d);
	cleat_autofree char *log = test_daemon_log(&d);
	snprintf(wanted, sizeof(wanted),
		 " uid=%u pid=%d role=api method=/cleat.v1.Volumes/GetVolume volume=default/no-such "
		 "code=NOT_FOUND ms=",
		 (unsigned)getuid(), (int)getpid());
	at = strstr(log, wanted);
	if (!at)
		fail_msg("'%s' is not in the log:\n%s", wanted, log);
	assert_null(strstr(at + 1, wanted));
}

static void test_daemon__parameters_and_mount_options_are_not_logged(void **state)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	Cleat__V1__CreateVolumeRequest__ParamsEntry
		param = CLEAT__V1__CREATE_VOLUME_REQUEST__PARAMS_ENTRY__INIT,
		*params = &param;
	Cleat__V1__CreateVolumeRequest__LabelsEntry
		label = CLEAT__V1__CREATE_VOLUME_REQUEST__LABELS_ENTRY__INIT,
		*labels = &label;
	static const char *const debug[] = { "--log-level=debug", "--log-format=json", NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;
	char name[] = "v", uid[] = "uid", seven[] = "424242", key[] = "password", value[] = "hunter2";

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, debug);
	in.name = name;
	param.key = uid;
	param.value = seven;
	in.params = &params;
	in.n_params = 1;
	label.key = key;
	label.value = value;
	in.labels = &labels;
	in.n_labels = 1;
	assert_int_equal(test_daemon_call(&d, "CreateVolume", &in.base, NULL, &err), CLEAT_OK);
	test_daemon_stop(&d);
	assert_true(test_daemon_logged(&d, "\"method\":\"/cleat.v1.Volumes/CreateVolume\",\"volume\":\"v\""));
	assert_false(test_daemon_logged(&d, "hunter2"));
	assert_false(test_daemon_logged(&d, "424242"));
}

/* ---- reload ---- */

static size_t count_pools(void)
{
	Cleat__V1__ListPoolsRequest in = CLEAT__V1__LIST_POOLS_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	assert_int_equal(test_daemon_call(&d, "ListPools", &in.base, &out, &err), CLEAT_OK);
	return ((const Cleat__V1__ListPoolsResponse *)(const void *)out)->n_pools;
}

static void reload(void)
{
	test_daemon_signal(&d, SIGHUP);
	test_daemon_expect_notify(&d, "RELOADING=1\nMONOTONIC_USEC=");
	test_daemon_expect_notify(&d, "READY=1");
}

static void test_daemon__reload_takes_what_is_safe_and_names_the_rest(void **state)
{
	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	assert_int_equal(count_pools(), 1);
	test_daemon_config(&d, "node: other\nlog: {level: debug}\n" DIR_POOL "  more: {backend: dir}\n");
	reload();
	assert_int_equal(count_pools(), 2);
	assert_true(test_daemon_logged(&d, "reload: changed key=log.level"));
	assert_true(test_daemon_logged(&d, "reload: takes effect at the next start only\" key=node") ||
		    test_daemon_logged(&d, "reload: takes effect at the next start only key=node"));
	assert_true(test_daemon_logged(&d, "reloaded"));
	test_daemon_create(&d, "more", "v");
	test_daemon_stop(&d);
}

static void test_daemon__reload_of_a_wrong_file_changes_nothing(void **state)
{
	bool serving = false;

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	test_daemon_config(&d, "log: {level: debug}\n" DIR_POOL "  more: {backend: dir}\nnonsense: 1\n");
	reload();
	assert_true(test_daemon_logged(&d, ":6: unknown key 'nonsense'"));
	assert_true(test_daemon_logged(&d, "reload refused, everything stays as it was"));
	assert_int_equal(count_pools(), 1);
	test_daemon_config(&d, "pools:\n  default: {backend: loop}\n");
	reload();
	assert_int_equal(count_pools(), 1);
	assert_int_equal(health_of("", &serving), CLEAT_OK);
	assert_true(serving);
	test_daemon_stop(&d);
}

static void test_daemon__reload_without_change_is_quiet(void **state)
{
	(void)state;
	test_daemon_config(&d, "target_prefixes: [/srv]\n" DIR_POOL);
	test_daemon_start(&d, NULL);
	reload();
	assert_true(test_daemon_logged(&d, "reloaded"));
	assert_false(test_daemon_logged(&d, "reload: "));
	test_daemon_stop(&d);
}

/* ---- sockets from outside ---- */

static int listening_socket(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(at.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void test_daemon__serves_a_socket_that_was_passed_in_and_leaves_it(void **state)
{
	bool serving = false;

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	d.pass_fd = listening_socket(d.socket);
	for (int round = 0; round < 2;
	     round++) { /* the socket outlives the daemon, so a restart refuses nobody */
		test_daemon_start(&d, NULL);
		assert_int_equal(health_of("", &serving), CLEAT_OK);
		test_daemon_stop(&d);
		assert_int_equal(access(d.socket, F_OK), 0);
	}
	assert_true(test_daemon_logged(&d, "serving the socket that was passed in"));
}

static void test_daemon__takes_over_a_dead_socket_but_not_a_live_one(void **state)
{
	bool serving = false;
	int fd;

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	test_daemon_signal(&d, SIGKILL);
	assert_int_equal(test_daemon_wait(&d), 1000 + SIGKILL);
	assert_int_equal(access(d.socket, F_OK), 0);
	test_daemon_start(&d, NULL);
	assert_int_equal(health_of("", &serving), CLEAT_OK);
	test_daemon_stop(&d);
	fd = listening_socket(d.socket);
	test_daemon_spawn(&d, NULL);
	assert_int_equal(test_daemon_wait(&d), 1);
	assert_true(test_daemon_logged(&d, "another server listens on"));
	close(fd);
}

/* ---- reflection ---- */

static bool look_for_service(const ProtobufCMessage *m, void *arg)
{
	const Grpc__Reflection__V1__ServerReflectionResponse *r = (const void *)m;
	bool *found = arg;

	if (r->message_response_case !=
	    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE)
		return true;
	for (size_t i = 0; i < r->list_services_response->n_service; i++)
		*found |= strcmp(r->list_services_response->service[i]->name, "cleat.v1.Volumes") == 0;
	return true;
}

static bool look_for_file(const ProtobufCMessage *m, void *arg)
{
	const Grpc__Reflection__V1__ServerReflectionResponse *r = (const void *)m;
	bool *found = arg;

	if (r->message_response_case !=
	    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE)
		return true;
	for (size_t i = 0; i < r->file_descriptor_response->n_file_descriptor_proto; i++) {
		const ProtobufCBinaryData *b = &r->file_descriptor_response->file_descriptor_proto[i];
		*found |= memmem(b->data, b->len, "PublishVolumeRequest", 20) != NULL;
	}
	return true;
}

static void test_daemon__reflection_knows_the_api(void **state)
{
	typedef Grpc__Reflection__V1__ServerReflectionRequest request;
	request in = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS };
	const ProtobufCServiceDescriptor *service = &grpc__reflection__v1__server_reflection__descriptor;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char empty[] = "", symbol[] = "cleat.v1.Volumes";
	bool found = false;

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	in.message_request_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
	in.list_services = empty;
	assert_int_equal(cleat_rpc_client_stream(d.client, service, "ServerReflectionInfo", &in.base,
						 &options, look_for_service, &found, &err),
			 CLEAT_OK);
	assert_true(found);
	found = false;
	in.message_request_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
	in.file_containing_symbol = symbol;
	assert_int_equal(cleat_rpc_client_stream(d.client, service, "ServerReflectionInfo", &in.base,
						 &options, look_for_file, &found, &err),
			 CLEAT_OK);
	assert_true(found);
	test_daemon_stop(&d);
}

/* ---- the beginning ---- */

static enum cleat_code list_volumes(size_t *n_out)
{
	Cleat__V1__ListVolumesRequest in = CLEAT__V1__LIST_VOLUMES_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (test_daemon_call(&d, "ListVolumes", &in.base, &out, &err))
		return err.code;
	*n_out = ((const Cleat__V1__ListVolumesResponse *)(const void *)out)->n_volumes;
	return CLEAT_OK;
}

static void test_daemon__reads_wait_for_the_pools_and_health_does_not(void **state)
{
	bool serving = false;
	size_t n = 0;

	(void)state;
	d.fault = "open=delay:700";
	test_daemon_config(&d, "pools:\n  default:\n    backend: dir\n    layer: fault\n");
	test_daemon_start(&d, NULL);
	test_daemon_create(&d, "", "v"); /* waits for the pool, too */
	test_daemon_stop(&d);
	test_daemon_start(&d, NULL);
	int64_t since_ms = cleat_time_mono_ms();
	assert_int_equal(health_of("", &serving), CLEAT_OK);
	assert_true(serving);
	int64_t health_ms = cleat_time_mono_ms() - since_ms;
	assert_int_equal(list_volumes(&n), CLEAT_OK);
	assert_int_equal(n, 1);
	assert_true(health_ms < cleat_time_mono_ms() - since_ms);
	test_daemon_stop(&d);
}

static void test_daemon__single_reads_wait_for_the_pools_too(void **state)
{
	Cleat__V1__GetVolumeRequest volume = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	Cleat__V1__GetSnapshotRequest snapshot = CLEAT__V1__GET_SNAPSHOT_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char name[] = "default/v";

	(void)state;
	d.fault = "open=delay:700";
	test_daemon_config(&d, "pools:\n  default:\n    backend: dir\n    layer: fault\n");
	test_daemon_start(&d, NULL);
	test_daemon_create(&d, "", "v");
	test_daemon_stop(&d);
	/* Each is the first call of its daemon, which therefore parks it. */
	test_daemon_start(&d, NULL);
	volume.volume = name;
	assert_int_equal(test_daemon_call(&d, "GetVolume", &volume.base, &out, &err), CLEAT_OK);
	test_daemon_stop(&d);
	test_daemon_start(&d, NULL);
	snapshot.snapshot = name;
	cleat_autopb ProtobufCMessage *none = NULL;
	assert_int_equal(test_daemon_call(&d, "GetSnapshot", &snapshot.base, &none, &err), CLEAT_NOT_FOUND);
	test_daemon_stop(&d); /* in good order: it is still there */
}

static void test_daemon__a_pool_that_hangs_at_the_start_does_not_hold_up_lists(void **state)
{
	static char rule[128], file[80];
	bool serving = false;
	size_t n = 0;

	(void)state;
	test_daemon_config(&d, DIR_POOL "  bad:\n    backend: dir\n    layer: fault\n");
	snprintf(file, sizeof(file), "%.40s/hang", d.dir);
	snprintf(rule, sizeof(rule), "open=hang:%s:60000", file);
	d.fault = rule;
	FILE *f = fopen(file, "we");
	assert_non_null(f);
	fclose(f);
	test_daemon_start(&d, NULL);
	test_daemon_create(&d, "", "v");
	assert_int_equal(list_volumes(&n), CLEAT_OK);
	assert_int_equal(n, 1);
	assert_int_equal(health_of("", &serving), CLEAT_OK);
	assert_true(serving);
	assert_int_equal(count_pools(), 2);
	assert_int_equal(unlink(file), 0);
	test_daemon_stop(&d);
}

/* ---- TLS ---- */

/* Runs openssl in the test's directory; the words are separated by blanks. */
static bool run_openssl(const char *words)
{
	char line[512], *argv[40] = { NULL }, *rest = line;
	size_t n = 0;
	int status = 0;

	snprintf(line, sizeof(line), "openssl %s", words);
	while (n < CLEAT_COUNT(argv) - 1 && (argv[n] = strsep(&rest, " ")))
		n++;
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (chdir(d.dir) == 0 && dup2(null, 1) == 1 && dup2(null, 2) == 2)
			execvp(argv[0], argv);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void write_file(const char *name, const char *text)
{
	char path[80];

	snprintf(path, sizeof(path), "%.40s/%s", d.dir, name);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* An authority, a certificate for the daemon, one for a client, and one that nobody vouches for. */
static bool make_certificates(void)
{
	static const char *const steps[] = {
		"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out "
		"ca.pem -subj /CN=ca -days 2",
		"req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout s.key -out s.csr -subj "
		"/CN=daemon",
		"x509 -req -in s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out s.pem -days 2 -extfile "
		"san",
		"req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout c.key -out c.csr -subj "
		"/CN=client",
		"x509 -req -in c.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out c.pem -days 2",
		"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout o.key -out o.pem "
		"-subj /CN=other -days 2",
	};

	write_file("san", "subjectAltName=IP:127.0.0.1\n");
	for (size_t i = 0; i < CLEAT_COUNT(steps); i++)
		if (!run_openssl(steps[i]))
			return false;
	return true;
}

static char *read_file(const char *name)
{
	struct test_daemon at = d;

	snprintf(at.log, sizeof(at.log), "%.40s/%s", d.dir, name);
	return test_daemon_log(&at);
}

/* What a client with this certificate (NULL: none) gets. */
static enum cleat_code call_with(const char *port, const char *key_file, const char *cert_file)
{
	cleat_autofree char *ca = read_file("ca.pem"), *key = key_file ? read_file(key_file) : NULL,
			    *cert = cert_file ? read_file(cert_file) : NULL;
	grpc_ssl_pem_key_cert_pair pair = { .private_key = key, .cert_chain = cert };
	grpc_channel_credentials *creds = grpc_ssl_credentials_create(ca, key ? &pair : NULL, NULL, NULL);
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS };
	struct cleat_rpc_client_config config = { .creds = creds };
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_rpc_client *client = NULL;
	char target[64];

	snprintf(target, sizeof(target), "127.0.0.1:%s", port);
	config.target = target;
	assert_int_equal(cleat_rpc_client_new(&config, &client, &err), CLEAT_OK);
	enum cleat_code code = cleat_rpc_client_call(client, &cleat__v1__volumes__descriptor, "GetInfo",
						     &in.base, &options, &out, &err);
	cleat_rpc_client_free(client);
	grpc_channel_credentials_release(creds);
	return code;
}

static void test_daemon__tcp_is_for_those_with_a_certificate(void **state)
{
	char port[8] = "";

	(void)state;
	if (!make_certificates()) {
		print_message("skipped: openssl does not make certificates here\n");
		skip();
	}
	test_daemon_config(&d,
			   "listen: {address: '127.0.0.1:0', cert: %s/s.pem, key: %s/s.key, client_ca: "
			   "%s/ca.pem}\n" DIR_POOL,
			   d.dir, d.dir, d.dir);
	test_daemon_start(&d, NULL);
	cleat_autofree char *log = test_daemon_log(&d);
	const char *at = strstr(log, " port=");
	assert_non_null(at);
	assert_int_equal(sscanf(at, " port=%7[0-9]", port), 1);
	assert_int_equal(call_with(port, "c.key", "c.pem"), CLEAT_OK);
	assert_int_equal(call_with(port, "o.key", "o.pem"), CLEAT_UNAVAILABLE);
	assert_int_equal(call_with(port, NULL, NULL), CLEAT_UNAVAILABLE);
	test_daemon_stop(&d);
	assert_true(test_daemon_logged(&d, " uid=unknown role=tls method=/cleat.v1.Volumes/GetInfo code=OK"));
}

static void test_daemon__what_the_listeners_need_is_checked_before_the_start(void **state)
{
	(void)state;
	test_daemon_config(
		&d, "listen: {address: '127.0.0.1:0', cert: /etc/passwd, key: /k, client_ca: /c}\n" DIR_POOL);
	test_daemon_spawn(&d, NULL);
	assert_int_equal(test_daemon_wait(&d), 4);
	assert_true(test_daemon_logged(&d, "listen: '/etc/passwd' is not PEM"));
	test_daemon_config(&d, "socket: {group: no-such-group}\n" DIR_POOL);
	test_daemon_spawn(&d, NULL);
	assert_int_equal(test_daemon_wait(&d), 4);
	assert_true(test_daemon_logged(&d, "socket.group: there is no group 'no-such-group'"));
	assert_int_equal(access(d.state, F_OK), -1);
}

/* ---- the end ---- */

struct load {
	atomic_bool stop;
	atomic_uint next;
	atomic_bool created[4096]; /* by number: creation was acknowledged, and deletion not asked for */
	atomic_uint ok, unexpected;
};

/* Creates volumes until the daemon refuses. */
static void *create_until_refused(void *arg)
{
	struct load *load = arg;

	while (!atomic_load(&load->stop)) {
		Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
		struct cleat_error err = CLEAT_ERROR_INIT;
		unsigned n = atomic_fetch_add(&load->next, 1);
		char name[32];

		if (n >= CLEAT_COUNT(load->created))
			break;
		snprintf(name, sizeof(name), "v%u", n);
		in.name = name;
		in.capacity_bytes = 1 << 20;
		switch (test_daemon_call(&d, "CreateVolume", &in.base, NULL, &err)) {
		case CLEAT_OK:
			atomic_store(&load->created[n], true);
			atomic_fetch_add(&load->ok, 1);
			break;
		case CLEAT_UNAVAILABLE:
		case CLEAT_CANCELLED:
			return NULL;
		default:
			fprintf(stderr, "unexpected: %s\n", err.msg);
			atomic_fetch_add(&load->unexpected, 1);
			return NULL;
		}
	}
	return NULL;
}

static void test_daemon__sigterm_under_load_loses_nothing_acknowledged(void **state)
{
	static struct load load;
	pthread_t threads[8];
	unsigned kept = 0;

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	for (size_t i = 0; i < CLEAT_COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, create_until_refused, &load), 0);
	while (atomic_load(&load.ok) < 50 && !atomic_load(&load.unexpected))
		poll(NULL, 0, 5);
	test_daemon_signal(&d, SIGTERM);
	assert_int_equal(test_daemon_wait(&d), 0);
	atomic_store(&load.stop, true);
	for (size_t i = 0; i < CLEAT_COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&load.unexpected), 0);
	test_daemon_start(&d, NULL);
	for (size_t i = 0; i < CLEAT_COUNT(load.created); i++) {
		Cleat__V1__GetVolumeRequest in = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
		struct cleat_error err = CLEAT_ERROR_INIT;
		char name[32];

		if (!atomic_load(&load.created[i]))
			continue;
		snprintf(name, sizeof(name), "default/v%zu", i);
		in.volume = name;
		if (test_daemon_call(&d, "GetVolume", &in.base, NULL, &err))
			fail_msg("'%s' was acknowledged and is gone: %s", name, err.msg);
		kept++;
	}
	assert_true(kept >= 50);
	test_daemon_stop(&d);
}

static void *create_slow(void *arg)
{
	Cleat__V1__CreateVolumeRequest in = CLEAT__V1__CREATE_VOLUME_REQUEST__INIT;
	char name[] = "slow";
	struct cleat_error *err = arg;

	in.name = name;
	in.capacity_bytes = 1 << 20;
	test_daemon_call(&d, "CreateVolume", &in.base, NULL, err);
	return NULL;
}

static size_t count_operations(void)
{
	Cleat__V1__GetInfoRequest in = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	size_t n = 0;

	assert_int_equal(test_daemon_call(&d, "GetInfo", &in.base, &out, &err), CLEAT_OK);
	const Cleat__V1__GetInfoResponse *info = (const void *)out;
	for (size_t i = 0; i < info->n_operations; i++)
		n += strcmp(info->operations[i]->verb, "create volume") == 0;
	return n;
}

static void test_daemon__sigterm_lets_a_running_operation_finish(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	pthread_t thread;

	(void)state;
	d.fault = "create=delay:1500";
	test_daemon_config(&d, "pools:\n  default:\n    backend: dir\n    layer: fault\n");
	test_daemon_start(&d, NULL);
	assert_int_equal(pthread_create(&thread, NULL, create_slow, &err), 0);
	while (count_operations() == 0)
		poll(NULL, 0, 5);
	test_daemon_signal(&d, SIGTERM);
	assert_int_equal(test_daemon_wait(&d), 0);
	pthread_join(thread, NULL);
	assert_int_equal(err.code, CLEAT_OK);
}

static bool note_status(const ProtobufCMessage *m, void *arg)
{
	const Grpc__Health__V1__HealthCheckResponse *r = (const void *)m;
	atomic_int *last = arg;

	atomic_store(last, (int)r->status);
	return true;
}

static void *watch_health(void *arg)
{
	Grpc__Health__V1__HealthCheckRequest in = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS };
	struct cleat_error err = CLEAT_ERROR_INIT;

	cleat_rpc_client_stream(d.client, &grpc__health__v1__health__descriptor, "Watch", &in.base, &options,
				note_status, arg, &err);
	return NULL;
}

static void test_daemon__health_says_when_the_end_begins(void **state)
{
	atomic_int last = 0;
	pthread_t thread;

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	assert_int_equal(pthread_create(&thread, NULL, watch_health, &last), 0);
	while (atomic_load(&last) != GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING)
		poll(NULL, 0, 5);
	test_daemon_stop(&d);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&last),
			 GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
}

/* ---- watching ---- */

struct watch {
	struct cleat_rpc_canceller canceller;
	char wanted[64]; /* name of the volume to see created */
	atomic_bool seen;
	bool stop_when_seen;
	enum cleat_code code;
};

static bool on_event(const ProtobufCMessage *m, void *arg)
{
	const Cleat__V1__Event *e = (const void *)m;
	struct watch *w = arg;

	if (e->kind == CLEAT__V1__EVENT_KIND__EVENT_KIND_VOLUME_CREATED && strcmp(e->name, w->wanted) == 0)
		atomic_store(&w->seen, true);
	return !(w->stop_when_seen && atomic_load(&w->seen));
}

static void *watch(void *arg)
{
	Cleat__V1__WatchRequest in = CLEAT__V1__WATCH_REQUEST__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct watch *w = arg;
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS, .canceller = &w->canceller };

	w->code = cleat_rpc_client_stream(d.client, &cleat__v1__volumes__descriptor, "Watch", &in.base,
					  &options, on_event, w, &err);
	return NULL;
}

static void test_daemon__watchers_see_events_and_end_with_the_daemon(void **state)
{
	struct watch w = { .canceller = CLEAT_RPC_CANCELLER_INIT, .wanted = "seen" };
	pthread_t thread;
	char name[32];

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
	/* When the watch begins is not told: make volumes until one shows. */
	snprintf(w.wanted, sizeof(w.wanted), "seen");
	for (int i = 0; !atomic_load(&w.seen) && i < 1000; i++) {
		Cleat__V1__DeleteVolumeRequest del = CLEAT__V1__DELETE_VOLUME_REQUEST__INIT;
		struct cleat_error err = CLEAT_ERROR_INIT;

		test_daemon_create(&d, "", "seen");
		snprintf(name, sizeof(name), "default/seen");
		del.volume = name;
		assert_int_equal(test_daemon_call(&d, "DeleteVolume", &del.base, NULL, &err), CLEAT_OK);
	}
	assert_true(atomic_load(&w.seen));
	test_daemon_stop(&d);
	pthread_join(thread, NULL);
	assert_int_equal(w.code, CLEAT_UNAVAILABLE);
}

static void test_daemon__watchers_that_leave_make_room_for_others(void **state)
{
	Cleat__V1__WatchRequest in = CLEAT__V1__WATCH_REQUEST__INIT;
	Cleat__V1__GetInfoRequest ask = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb ProtobufCMessage *out = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct watch w = { .canceller = CLEAT_RPC_CANCELLER_INIT, .wanted = "v", .stop_when_seen = true };
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS };

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	test_daemon_create(&d, "", "before");
	test_daemon_create(&d, "", "v");
	assert_int_equal(test_daemon_call(&d, "GetInfo", &ask.base, &out, &err), CLEAT_OK);
	const Cleat__V1__GetInfoResponse *info = (const void *)out;
	in.epoch = info->epoch;
	in.after = 1;
	assert_true(info->last_event > 1);
	/* More, one after the other, than may watch at once: each gets the kept events and leaves. */
	for (int i = 0; i < 200; i++) {
		atomic_store(&w.seen, false);
		for (int64_t until_ms = cleat_time_mono_ms() + TEST_WAIT_MS;;) {
			enum cleat_code code =
				cleat_rpc_client_stream(d.client, &cleat__v1__volumes__descriptor, "Watch",
							&in.base, &options, on_event, &w, &err);
			if (code == CLEAT_OK)
				break;
			/* The daemon notices a moment later that a caller has left. */
			assert_int_equal(code, CLEAT_RESOURCE_EXHAUSTED);
			assert_true(cleat_time_mono_ms() < until_ms);
		}
		assert_true(atomic_load(&w.seen));
	}
	test_daemon_stop(&d);
}

static void test_daemon__a_watch_from_another_epoch_is_out_of_range(void **state)
{
	Cleat__V1__WatchRequest in = CLEAT__V1__WATCH_REQUEST__INIT;
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct watch w = { .canceller = CLEAT_RPC_CANCELLER_INIT };
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS };
	char epoch[] = "long-ago", volume[] = "default/none";

	(void)state;
	test_daemon_config(&d, DIR_POOL);
	test_daemon_start(&d, NULL);
	in.epoch = epoch;
	in.after = 7;
	assert_int_equal(cleat_rpc_client_stream(d.client, &cleat__v1__volumes__descriptor, "Watch", &in.base,
						 &options, on_event, &w, &err),
			 CLEAT_OUT_OF_RANGE);
	in = (Cleat__V1__WatchRequest)CLEAT__V1__WATCH_REQUEST__INIT;
	in.volume = volume;
	assert_int_equal(cleat_rpc_client_stream(d.client, &cleat__v1__volumes__descriptor, "Watch", &in.base,
						 &options, on_event, &w, &err),
			 CLEAT_NOT_FOUND);
	test_daemon_stop(&d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_daemon__##name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(serves_with_defaults_and_ends_in_good_order),
		TEST(socket_has_mode_and_group_from_the_start),
		TEST(second_on_the_same_state_is_refused_with_the_holder),
		TEST(wrong_configuration_is_refused_before_anything_starts),
		TEST(check_config_starts_nothing),
		TEST(command_line_errors_are_code_2),
		TEST(the_command_line_goes_before_the_file),
		TEST(help_lists_the_keys_of_every_backend),
		TEST(each_call_is_logged_once_with_its_peer),
		TEST(parameters_and_mount_options_are_not_logged),
		TEST(reload_takes_what_is_safe_and_names_the_rest),
		TEST(reload_of_a_wrong_file_changes_nothing),
		TEST(reload_without_change_is_quiet),
		TEST(serves_a_socket_that_was_passed_in_and_leaves_it),
		TEST(takes_over_a_dead_socket_but_not_a_live_one),
		TEST(reflection_knows_the_api),
		TEST(reads_wait_for_the_pools_and_health_does_not),
		TEST(single_reads_wait_for_the_pools_too),
		TEST(a_pool_that_hangs_at_the_start_does_not_hold_up_lists),
		TEST(tcp_is_for_those_with_a_certificate),
		TEST(what_the_listeners_need_is_checked_before_the_start),
		TEST(sigterm_under_load_loses_nothing_acknowledged),
		TEST(sigterm_lets_a_running_operation_finish),
		TEST(health_says_when_the_end_begins),
		TEST(watchers_see_events_and_end_with_the_daemon),
		TEST(watchers_that_leave_make_room_for_others),
		TEST(a_watch_from_another_epoch_is_out_of_range),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: cleatd needs root\n");
		return 77;
	}
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
