/* rt_listener_test.c - sockets: who gets in with which role, modes and leftovers, running out of descriptors,
 * sockets opened by a supervisor, listeners of the core with and without TLS. */
#include "rt_lab.h"
#include "rt_raw.h"

#include "rt/activation.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

#define NOBODY 65534
#define STRANGER 65533
#define SHORT_IDLE_MS 300
#define WHOAMI "/cleat.test.v1.Lab/WhoAmI"
#define PING "/cleat.test.v1.Lab/Ping"

extern char **environ;

static struct lab lab;
static pid_t child; /* a server in a process of its own; 0: none */

static int prepare(void **state)
{
	(void)state;
	lab_prepare(&lab);
	return 0;
}

static int down(void **state)
{
	(void)state;
	if (child > 0 && kill(child, SIGKILL) == 0)
		waitpid(child, NULL, 0);
	child = 0;
	lab_down(&lab);
	return 0;
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* True when the other side closes within 5 s; what it sends before is thrown away. */
static bool is_closed(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	char sink[512];

	while (poll(&p, 1, 5000) > 0) {
		ssize_t n = read(fd, sink, sizeof(sink));
		if (n <= 0)
			return true;
	}
	return false;
}

/* A ping over a connected socket, which is taken over. */
static int ping_over(int fd)
{
	struct raw_options o = { .fd = fd };
	struct raw_bytes empty = { "", 0 };
	struct raw_reply reply;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	raw_call(NULL, PING, &empty, 1, &o, &reply);
	int code = reply.code;
	raw_reply_done(&reply);
	return code;
}

static enum cleat_code listen_on(const struct cleat_rpc_unix *where, struct cleat_error *err)
{
	struct cleat_rpc_admission who = { .role = lab.role };

	return cleat_rpc_listen_unix(lab.server, where, &who, err);
}

/* ---- the socket file ---- */

static void test_listener__mode_and_group_are_as_asked(void **state)
{
	struct cleat_rpc_unix where = { .path = lab.path, .mode = 0620, .set_group = true, .group = NOBODY };
	struct stat st;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: giving a socket to another group needs root\n");
		skip();
	}
	lab_make_server(&lab, NULL);
	assert_int_equal(listen_on(&where, NULL), CLEAT_OK);
	assert_int_equal(stat(lab.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0620);
	assert_int_equal(st.st_gid, NOBODY);
}

static void test_listener__mode_is_private_by_default(void **state)
{
	struct stat st;

	(void)state;
	lab_make_server(&lab, NULL);
	lab_start_server(&lab);
	assert_int_equal(stat(lab.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_listener__a_dead_socket_is_replaced(void **state)
{
	(void)state;
	close(listen_at(lab.path));
	lab_make_server(&lab, NULL);
	lab_start_server(&lab);
	lab_make_client(&lab);
	assert_int_equal(lab_ping(lab.client, NULL, NULL), CLEAT_OK);
}

static void test_listener__a_live_socket_is_left_alone(void **state)
{
	struct cleat_rpc_unix where = { .path = lab.path };
	cleat_autoclose int other = listen_at(lab.path);
	struct cleat_error err;
	struct stat before, after;

	(void)state;
	assert_int_equal(stat(lab.path, &before), 0);
	lab_make_server(&lab, NULL);
	assert_int_equal(listen_on(&where, &err), CLEAT_FAILED_PRECONDITION);
	assert_non_null(strstr(err.msg, "another server listens"));
	assert_int_equal(stat(lab.path, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
}

/* Its queue of connections is full: it does not answer, but it is not dead either. */
static void test_listener__a_busy_socket_is_left_alone(void **state)
{
	struct cleat_rpc_unix where = { .path = lab.path };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleat_autoclose int other = listen_at(lab.path);
	int callers[16];
	size_t n = 0;

	(void)state;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", lab.path);
	do {
		assert_true(n < CLEAT_COUNT(callers));
		callers[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	} while (connect(callers[n++], (struct sockaddr *)&addr, sizeof(addr)) == 0);
	assert_int_equal(errno, EAGAIN);
	lab_make_server(&lab, NULL);
	assert_int_equal(listen_on(&where, NULL), CLEAT_FAILED_PRECONDITION);
	assert_int_equal(access(lab.path, F_OK), 0);
	while (n)
		close(callers[--n]);
}

static void test_listener__a_file_is_left_alone(void **state)
{
	struct cleat_rpc_unix where = { .path = lab.path };
	struct stat st;

	(void)state;
	close(open(lab.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	lab_make_server(&lab, NULL);
	assert_int_equal(listen_on(&where, NULL), CLEAT_FAILED_PRECONDITION);
	assert_int_equal(stat(lab.path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void test_listener__impossible_paths_are_refused(void **state)
{
	char long_path[200];
	struct cleat_rpc_unix where = { .path = long_path };

	(void)state;
	lab_make_server(&lab, NULL);
	memset(long_path, 'x', sizeof(long_path));
	long_path[108] = '\0';
	assert_int_equal(listen_on(&where, NULL), CLEAT_INVALID_ARGUMENT);
	long_path[0] = '\0';
	assert_int_equal(listen_on(&where, NULL), CLEAT_INVALID_ARGUMENT);
	where.path = "/no/such/folder/x.sock";
	assert_int_equal(listen_on(&where, NULL), CLEAT_NOT_FOUND);
}

static void test_listener__the_stop_removes_its_socket(void **state)
{
	(void)state;
	lab_make_server(&lab, NULL);
	lab_start_server(&lab);
	assert_int_equal(access(lab.path, F_OK), 0);
	lab_stop_server(&lab, 0);
	assert_int_equal(access(lab.path, F_OK), -1);
}

static void test_listener__the_stop_leaves_a_successors_socket(void **state)
{
	struct lab successor = lab;

	(void)state;
	lab_make_server(&lab, NULL);
	lab_start_server(&lab);
	assert_int_equal(unlink(lab.path), 0);
	lab_make_server(&successor, NULL);
	lab_start_server(&successor);
	lab_stop_server(&lab, 0);
	lab_make_client(&lab);
	assert_int_equal(lab_ping(lab.client, NULL, NULL), CLEAT_OK);
	lab_stop_server(&successor, 0);
}

/* ---- roles ---- */

struct roles {
	struct cleat_rpc_role *admin, *guest;
	atomic_uint refused;
};

static struct cleat_rpc_role *admit(const struct cleat_rpc_peer *who, void *arg)
{
	struct roles *r = arg;

	if (who->uid == 0)
		return r->admin;
	if (who->uid == NOBODY)
		return r->guest;
	atomic_fetch_add(&r->refused, 1);
	return NULL;
}

struct connect_as {
	uid_t uid;
	int fd;
};

/* The kernel takes the credentials of the thread that connects; the C library's setresuid() would change all.
 */
static void *connect_thread(void *arg)
{
	struct connect_as *c = arg;

	c->fd = -1;
	if (syscall(SYS_setresgid, -1, c->uid, -1) == 0 && syscall(SYS_setresuid, -1, c->uid, -1) == 0)
		c->fd = connect_to(lab.path);
	return NULL;
}

static int connect_as(uid_t uid)
{
	struct connect_as c = { uid, -1 };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, connect_thread, &c), 0);
	pthread_join(thread, NULL);
	assert_true(c.fd >= 0);
	fcntl(c.fd, F_SETFL, O_NONBLOCK);
	return c.fd;
}

static Cleat__Test__V1__WhoAmIResponse *whoami_over(int fd)
{
	struct raw_options o = { .fd = fd };
	struct raw_bytes empty = { "", 0 };
	struct raw_reply reply;

	raw_call(NULL, WHOAMI, &empty, 1, &o, &reply);
	assert_int_equal(reply.code, CLEAT_OK);
	Cleat__Test__V1__WhoAmIResponse *out =
		cleat__test__v1__who_am_iresponse__unpack(NULL, reply.reply_bytes[0], reply.replies[0]);
	raw_reply_done(&reply);
	assert_non_null(out);
	return out;
}

static void test_listener__roles_follow_the_peer(void **state)
{
	struct roles roles = { 0 };
	struct cleat_rpc_unix where = { .path = lab.path, .mode = 0666 };
	struct cleat_rpc_admission who = { .admit = admit, .arg = &roles };

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: connecting as another user needs root\n");
		skip();
	}
	assert_int_equal(chmod(lab.dir, 0755), 0);
	lab_make_server(&lab, NULL);
	roles.admin = lab.role;
	assert_int_equal(cleat_rpc_role_new(lab.server, "guest", &roles.guest, NULL), CLEAT_OK);
	lab_add(roles.guest);
	assert_int_equal(cleat_rpc_listen_unix(lab.server, &where, &who, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_server_start(lab.server, NULL), CLEAT_OK);

	cleat_autopb Cleat__Test__V1__WhoAmIResponse *root = whoami_over(connect_as(0));
	cleat_autopb Cleat__Test__V1__WhoAmIResponse *nobody = whoami_over(connect_as(NOBODY));
	assert_string_equal(root->role, "lab");
	assert_int_equal(root->uid, 0);
	assert_string_equal(nobody->role, "guest");
	assert_int_equal(nobody->uid, NOBODY);
	assert_int_equal(nobody->gid, NOBODY);
	assert_int_equal(nobody->pid, getpid());
	cleat_autoclose int stranger = connect_as(STRANGER);
	assert_true(is_closed(stranger));
	assert_int_equal(atomic_load(&roles.refused), 1);
}

static void test_listener__each_listener_has_its_services(void **state)
{
	char path[112];
	struct cleat_rpc_unix where = { .path = path };
	struct cleat_rpc_admission who = { 0 };

	(void)state;
	snprintf(path, sizeof(path), "%s/2", lab.dir);
	lab_make_server(&lab, NULL);
	assert_int_equal(cleat_rpc_role_new(lab.server, "health only", &who.role, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_health_add(lab.health, who.role, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_listen_unix(lab.server, &where, &who, NULL), CLEAT_OK);
	lab_start_server(&lab);
	assert_int_equal(ping_over(connect_to(lab.path)), CLEAT_OK);
	assert_int_equal(ping_over(connect_to(path)), CLEAT_UNIMPLEMENTED);
	struct raw_options o = { .fd = connect_to(path) };
	struct raw_bytes empty = { "", 0 };
	struct raw_reply reply;
	fcntl(o.fd, F_SETFL, O_NONBLOCK);
	raw_call(NULL, "/grpc.health.v1.Health/Check", &empty, 1, &o, &reply);
	assert_int_equal(reply.code, CLEAT_OK);
	raw_reply_done(&reply);
}

/* ---- trouble ---- */

/* Opens /dev/null until no descriptor is left; the highest number that was got. */
static int fill_descriptors(void)
{
	int highest = -1;

	for (int fd; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;)
		highest = fd;
	assert_int_equal(errno, EMFILE);
	return highest;
}

static void test_listener__running_out_of_descriptors_is_survived(void **state)
{
	struct rlimit before, few;

	(void)state;
	lab_make_server(&lab, NULL);
	lab_start_server(&lab);
	assert_int_equal(ping_over(connect_to(lab.path)), CLEAT_OK);
	int mine = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = (rlim_t)lowest + 20;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	int highest = fill_descriptors();
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", lab.path);
	assert_int_equal(connect(mine, (struct sockaddr *)&addr, sizeof(addr)), 0);
	/* the accept fails now, again and again, until there is room */
	nanosleep(&(struct timespec){ 0, 250000000 }, NULL);
	for (int fd = lowest; fd <= highest; fd++)
		close(fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(ping_over(mine), CLEAT_OK);
}

static void test_listener__connections_beyond_the_limit_are_closed(void **state)
{
	struct cleat_rpc_server_config config = { 0 };
	int held[8];
	unsigned refused = 0;

	(void)state;
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(next);
	config.max_fd = (unsigned)next + 20;
	lab_make_server(&lab, &config);
	lab_start_server(&lab);
	int more[16];
	for (size_t i = 0; i < CLEAT_COUNT(more); i++)
		more[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < CLEAT_COUNT(held); i++)
		held[i] = connect_to(lab.path);
	for (size_t i = 0; i < CLEAT_COUNT(held); i++) {
		struct pollfd p = { held[i], POLLIN, 0 };
		char first;
		/* the server speaks first (its settings), or closes */
		assert_int_equal(poll(&p, 1, 5000), 1);
		refused += read(held[i], &first, 1) != 1;
		close(held[i]);
	}
	for (size_t i = 0; i < CLEAT_COUNT(more); i++)
		close(more[i]);
	assert_in_range(refused, 1, CLEAT_COUNT(held));
	assert_int_equal(ping_over(connect_to(lab.path)), CLEAT_OK);
}

static void test_listener__mute_connections_are_closed(void **state)
{
	struct cleat_rpc_server_config config = { .idle_ms = SHORT_IDLE_MS };
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

	(void)state;
	lab_make_server(&lab, &config);
	lab_start_server(&lab);
	cleat_autoclose int mute = connect_to(lab.path);
	cleat_autoclose int greeted = connect_to(lab.path);
	assert_int_equal(write(greeted, preface, sizeof(preface) - 1), sizeof(preface) - 1);
	assert_true(is_closed(mute));
	assert_true(is_closed(greeted));
}

static void test_listener__random_bytes_hurt_nobody(void **state)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	uint64_t random = 88172645463325252u;
	uint8_t bytes[400];

	(void)state;
	lab_make_server(&lab, NULL);
	lab_start_server(&lab);
	lab_make_client(&lab);
	for (int i = 0; i < 100; i++) {
		cleat_autoclose int fd = connect_to(lab.path);
		for (size_t k = 0; k < sizeof(bytes); k++) {
			random ^= random << 13, random ^= random >> 7, random ^= random << 17;
			bytes[k] = (uint8_t)(random >> 32);
		}
		if (i % 2 && write(fd, preface, sizeof(preface) - 1) < 0)
			continue;
		if (write(fd, bytes, sizeof(bytes)) < 0)
			continue;
	}
	assert_int_equal(lab_ping(lab.client, NULL, NULL), CLEAT_OK);
}

/* ---- sockets from outside ---- */

static void test_listener__a_given_socket_serves_earlier_connections(void **state)
{
	struct cleat_rpc_admission who = { 0 };
	int listening = listen_at(lab.path);
	int early = connect_to(lab.path);

	(void)state;
	lab_make_server(&lab, NULL);
	who.role = lab.role;
	assert_int_equal(cleat_rpc_listen_fd(lab.server, listening, &who, NULL), CLEAT_OK);
	assert_int_equal(cleat_rpc_server_start(lab.server, NULL), CLEAT_OK);
	assert_int_equal(ping_over(early), CLEAT_OK);
	lab_stop_server(&lab, 0);
	assert_int_equal(access(lab.path, F_OK), 0); /* it belongs to whoever opened it */
}

static void test_listener__only_listening_unix_sockets_are_taken(void **state)
{
	struct cleat_rpc_admission who = { 0 };
	int pair[2];

	(void)state;
	lab_make_server(&lab, NULL);
	who.role = lab.role;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(cleat_rpc_listen_fd(lab.server, pair[0], &who, NULL), CLEAT_INVALID_ARGUMENT);
	assert_int_equal(fcntl(pair[0], F_GETFD), -1); /* was closed */
	close(pair[1]);
	assert_int_equal(cleat_rpc_listen_fd(lab.server, open("/dev/null", O_RDONLY | O_CLOEXEC), &who, NULL),
			 CLEAT_INVALID_ARGUMENT);
}

/* The two programs that this one becomes: the first does what a supervisor does between fork and exec. */
static int become_activated(char **argv)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "2", 1);
	setenv("LISTEN_FDNAMES", "other:lab", 1);
	execl("/proc/self/exe", argv[0], "--activated", (char *)NULL);
	return 127;
}

static int serve_activated(void)
{
	struct cleat_rpc_admission who = { 0 };
	struct lab mine = { 0 };
	sigset_t term;
	int sig;

	if (cleat_rpc_activation_fd("nothing") != -1 || cleat_rpc_activation_fd(NULL) != 3)
		return 2;
	int fd = cleat_rpc_activation_fd("lab");
	cleat_rpc_activation_forget();
	if (fd != 4 || cleat_rpc_activation_fd("lab") != -1)
		return 3;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that was killed leaves nothing behind */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL);
	signal(SIGPIPE, SIG_IGN);
	lab_make_server(&mine, NULL);
	who.role = mine.role;
	if (cleat_rpc_listen_fd(mine.server, fd, &who, NULL) != CLEAT_OK ||
	    cleat_rpc_server_start(mine.server, NULL) != CLEAT_OK)
		return 4;
	sigwait(&term, &sig);
	lab_stop_server(&mine, 1000);
	return 0;
}

static void spawn_activated(int listening)
{
	char *argv[] = { (char *)(uintptr_t) "rt_listener_test", (char *)(uintptr_t) "--activate", NULL };
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, listening, 4);
	posix_spawn_file_actions_addopen(&actions, 3, "/dev/null", O_RDONLY, 0);
	int e = posix_spawn(&child, "/proc/self/exe", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	assert_int_equal(e, 0);
}

static void stop_child(void)
{
	pid_t pid = child;
	int status = -1;

	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	child = 0;
	assert_int_equal(status, 0);
}

/* As under systemd: the socket exists first, the daemon comes, goes and comes again, and no caller is
 * refused. */
static void test_listener__activation_hands_sockets_over(void **state)
{
	struct cleat_rpc_options o = { .timeout_ms = 20000, .idempotent = true };
	int opened = listen_at(lab.path);
	cleat_autoclose int listening = fcntl(opened, F_DUPFD_CLOEXEC, 20); /* not 4 itself: dup2 to the same
									       keeps close-on-exec */
	(void)state;
	close(opened);
	lab_make_client(&lab);
	for (int i = 0; i < 2; i++) {
		spawn_activated(listening);
		assert_int_equal(lab_ping(lab.client, &o, NULL), CLEAT_OK);
		stop_child();
		assert_int_equal(access(lab.path, F_OK), 0);
	}
}

static void test_listener__activation_of_others_is_ignored(void **state)
{
	(void)state;
	setenv("LISTEN_PID", "1", 1);
	setenv("LISTEN_FDS", "1", 1);
	assert_int_equal(cleat_rpc_activation_fd(NULL), -1);
	setenv("LISTEN_FDS", "x", 1);
	assert_int_equal(cleat_rpc_activation_fd(NULL), -1);
	cleat_rpc_activation_forget();
	assert_int_equal(cleat_rpc_activation_fd(NULL), -1);
}

/* ---- listeners of the core ---- */

static void test_listener__tcp_callers_are_unknown(void **state)
{
	Cleat__Test__V1__PingRequest in = CLEAT__TEST__V1__PING_REQUEST__INIT;
	cleat_autopb Cleat__Test__V1__WhoAmIResponse *out = NULL;
	int port = 0;

	(void)state;
	lab_make_server(&lab, NULL);
	assert_int_equal(cleat_rpc_listen_core(lab.server, "127.0.0.1:0", NULL, lab.role, &port, NULL),
			 CLEAT_OK);
	assert_int_equal(cleat_rpc_server_start(lab.server, NULL), CLEAT_OK);
	snprintf(lab.target, sizeof(lab.target), "127.0.0.1:%d", port);
	lab_make_client(&lab);
	assert_int_equal(cleat_rpc_client_call(lab.client, LAB_SERVICE, "WhoAmI", &in.base, NULL,
					       (ProtobufCMessage **)&out, NULL),
			 CLEAT_OK);
	assert_false(out->known);
	assert_string_equal(out->role, "lab");
}

static void test_listener__a_bad_address_is_refused(void **state)
{
	(void)state;
	lab_make_server(&lab, NULL);
	assert_int_equal(cleat_rpc_listen_core(lab.server, "no such address", NULL, lab.role, NULL, NULL),
			 CLEAT_UNAVAILABLE);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_listener__##name, prepare, down)
	const struct CMUnitTest tests[] = {
		TEST(mode_and_group_are_as_asked),
		TEST(mode_is_private_by_default),
		TEST(a_dead_socket_is_replaced),
		TEST(a_live_socket_is_left_alone),
		TEST(a_busy_socket_is_left_alone),
		TEST(a_file_is_left_alone),
		TEST(impossible_paths_are_refused),
		TEST(the_stop_removes_its_socket),
		TEST(the_stop_leaves_a_successors_socket),
		TEST(roles_follow_the_peer),
		TEST(each_listener_has_its_services),
		TEST(running_out_of_descriptors_is_survived),
		TEST(connections_beyond_the_limit_are_closed),
		TEST(mute_connections_are_closed),
		TEST(random_bytes_hurt_nobody),
		TEST(a_given_socket_serves_earlier_connections),
		TEST(only_listening_unix_sockets_are_taken),
		TEST(activation_hands_sockets_over),
		TEST(activation_of_others_is_ignored),
		TEST(tcp_callers_are_unknown),
		TEST(a_bad_address_is_refused),
	};

	if (argc == 2 && strcmp(argv[1], "--activate") == 0)
		return become_activated(argv);
	if (argc == 2 && strcmp(argv[1], "--activated") == 0)
		return serve_activated();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
