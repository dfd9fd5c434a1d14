/* cleatd_notify_test.c - what a service manager gets, at a path and at an abstract address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cleatd/notify.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int listen_at(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	size_t n = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(at.sun_path, name, n);
	if (name[0] == '@')
		at.sun_path[0] = '\0';
	assert_true(fd >= 0);
	assert_int_equal(
		bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)), 0);
	return fd;
}

static void expect_message(int fd, const char *wanted)
{
	char got[512] = "";

	assert_true(recv(fd, got, sizeof(got) - 1, 0) >= 0);
	assert_string_equal(got, wanted);
}

static void test_notify__reaches_both_kinds_of_address(void **state)
{
	char path[64], abstract[64];
	const char *const names[] = { path, abstract };

	(void)state;
	snprintf(path, sizeof(path), "/tmp/cleatd-notify-%d", (int)getpid());
	snprintf(abstract, sizeof(abstract), "@cleatd-notify-%d", (int)getpid());
	unlink(path);
	for (size_t i = 0; i < CLEAT_COUNT(names); i++) {
		cleat_autoclose int fd = listen_at(names[i]);

		setenv("NOTIFY_SOCKET", names[i], 1);
		cleatd_notify("READY=1\nSTATUS=%s", "here");
		expect_message(fd, "READY=1\nSTATUS=here");
		char got[128] = "";
		cleatd_notify_reloading();
		assert_true(recv(fd, got, sizeof(got) - 1, 0) > 0);
		assert_int_equal(strncmp(got, "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
		assert_true(strtoull(got + 27, NULL, 10) > 0);
	}
	unlink(path);
}

static void test_notify__without_a_manager_nothing_happens(void **state)
{
	static const char *const names[] = { "", "/", "relative", "/no/such/socket" };

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	cleatd_notify("READY=1");
	for (size_t i = 0; i < CLEAT_COUNT(names); i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		cleatd_notify("READY=1");
	}
	unsetenv("NOTIFY_SOCKET");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notify__reaches_both_kinds_of_address),
		cmocka_unit_test(test_notify__without_a_manager_nothing_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
