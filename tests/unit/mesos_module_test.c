/* mesos_module_test.c - the module's thread: what runs beside what, in which order, for how long, and what
 * becomes of programs that do not answer as they should.  The program here is a script of the test's own,
 * because the real one always answers; with the real one and a daemon the module runs in tests/mesos.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/module.h"

#include "util/clock.h"
#include "util/mem.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 60000

static const char script[] =
	"#!/bin/sh\n"
	"dir=${0%/*} options=$*\n"
	"while [ \"${1#--}\" != \"$1\" ]; do shift 2; done\n"
	"verb=$1 key=$2\n"
	"echo \"$verb $key\" >>\"$dir/log\"\n"
	"meet() { : >\"$dir/met-$1\"; n=0; until [ -e \"$dir/met-$2\" ]; do n=$((n + 1)); [ $n -lt 3000 ] || "
	"exit 9; sleep 0.01; done; }\n"
	"case \"$options\" in\n"
	"*'--volume serial'*) mkdir \"$dir/busy\" || exit 9; sleep 0.02; rmdir \"$dir/busy\" ;;\n"
	"*'--volume meet1'*) meet 1 2 ;;\n"
	"*'--volume meet2'*) meet 2 1 ;;\n"
	"*'--volume hang'*) sleep 1000 & wait ;;\n"
	"*'--volume garbage'*) echo hello; exit 0 ;;\n"
	"*'--volume silent'*) exit 0 ;;\n"
	"*'--volume opening'*) mkdir \"$dir/asked\" && {\n"
	"	echo '{\"ok\":false,\"code\":\"UNAVAILABLE\",\"error\":\"opening\",\"retry\":true}'; exit 1; "
	"} ;;\n"
	"*'--volume closed'*) echo "
	"'{\"ok\":false,\"code\":\"UNAVAILABLE\",\"error\":\"closed\",\"retry\":true}'; exit 1 ;;\n"
	"*'--volume big'*) head -c 2000000 /dev/zero | tr '\\0' x; exit 0 ;;\n"
	"*'--volume killed'*) kill -9 $$ ;;\n"
	"*'--volume refused'*) echo '{\"ok\":false,\"code\":\"FAILED_PRECONDITION\",\"error\":\"in use by "
	"somebody\"}'; exit 1 ;;\n"
	"*'--volume liar'*) echo '{\"ok\":true,\"paths\":[\"/x\"]}'; exit 1 ;;\n"
	"*'--volume few'*) echo '{\"ok\":true,\"paths\":[]}'; exit 0 ;;\n"
	"esac\n"
	"[ $verb != release ] || [ ! -e \"$dir/refuse\" ] || { echo "
	"'{\"ok\":false,\"code\":\"UNAVAILABLE\",\"error\":\"away\"}'; exit 1; }\n"
	"[ $verb != recover ] || { echo \"keeps $*\" >>\"$dir/log\"; echo "
	"'{\"ok\":true,\"kept\":[\"old\"],\"released\":[]}'; exit 0; }\n"
	"echo '{\"ok\":true,\"paths\":[\"/r/0\"]}'\n";

static char dir[64];
static struct cleat_mesos *m;

/* ---- waiting for answers ---- */

struct waiter {
	bool done;
	char error[600];
	char shell[600];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void answered(void *arg, const struct cleat_mesos_answer *answer)
{
	struct waiter *waiter = arg;

	pthread_mutex_lock(&lock);
	snprintf(waiter->error, sizeof(waiter->error), "%s", answer->error ? answer->error : "");
	snprintf(waiter->shell, sizeof(waiter->shell), "%s", answer->shell ? answer->shell : "");
	waiter->done = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void wait_for(struct waiter *waiter)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_MS / 1000;
	pthread_mutex_lock(&lock);
	while (!waiter->done)
		assert_int_equal(pthread_cond_timedwait(&changed, &lock, &until), 0);
	pthread_mutex_unlock(&lock);
}

/* ---- the world ---- */

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	cleat_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void remove_file(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(unlink(path), 0);
}

/* How often the script's log has this line. */
static int logged(const char *line)
{
	char path[128], text[1024];
	int count = 0;

	snprintf(path, sizeof(path), "%s/log", dir);
	FILE *f = fopen(path, "re");
	while (f && fgets(text, sizeof(text), f))
		count += strncmp(text, line, strlen(line)) == 0 && text[strlen(line)] == '\n';
	if (f)
		fclose(f);
	return count;
}

static void wait_logged(const char *line, int count)
{
	for (const int64_t until_ms = cleat_time_mono_ms() + WAIT_MS; logged(line) < count;) {
		assert_true(cleat_time_mono_ms() < until_ms);
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
}

static int setup(void **state)
{
	char helper[80];
	const struct cleat_mesos_parameter params[] = {
		{ "helper", helper, NULL },	  { "enter", "/bin/true", NULL }, { "root", "/r", NULL },
		{ "work_dir", "/ignored", NULL }, { "timeout", "1", NULL },
	};
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	if (geteuid() != 0)
		return 0;
	snprintf(dir, sizeof(dir), "/tmp/cleat-module-XXXXXX");
	assert_non_null(mkdtemp(dir));
	write_file("helper", script, 0755);
	snprintf(helper, sizeof(helper), "%s/helper", dir);
	if (cleat_mesos_new(params, CLEAT_COUNT(params), "1.0.4", &m, &err))
		fail_msg("%s", err.msg);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	cleat_mesos_free(m);
	m = NULL;
	if (*dir)
		nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static void need_root(void)
{
	if (geteuid() != 0) {
		print_message("skip: the module refuses to work for anybody but root\n");
		skip();
	}
}

static struct cleat_mesos_text text(const char *from)
{
	return (struct cleat_mesos_text){ from, strlen(from) };
}

static struct cleat_mesos_request *named(const char *id)
{
	struct cleat_mesos_request *r = cleat_mesos_request_new();

	cleat_mesos_request_id(r, text(id));
	cleat_mesos_request_sandbox(r, text("/box"));
	return r;
}

static void prepare(const char *id, const char *volume, struct waiter *waiter)
{
	struct cleat_mesos_request *r = named(id);

	*waiter = (struct waiter){ 0 };
	cleat_mesos_request_variable(r, text("CLEAT_VOLUME_NAME"), text(volume));
	cleat_mesos_request_variable(r, text("CLEAT_VOLUME_CONTAINERPATH"), text("d"));
	cleat_mesos_prepare(m, r, answered, waiter);
}

static void recover(const char *const *ids, size_t count)
{
	struct cleat_mesos_request *alive[4];
	struct waiter waiter = { 0 };

	for (size_t i = 0; i < count; i++)
		alive[i] = named(ids[i]);
	cleat_mesos_recover(m, alive, count, answered, &waiter);
	wait_for(&waiter);
	assert_string_equal(waiter.error, "");
}

static void cleanup(const char *id)
{
	struct waiter waiter = { 0 };

	cleat_mesos_cleanup(m, named(id), answered, &waiter);
	wait_for(&waiter);
	assert_string_equal(waiter.error, "");
}

/* ---- order ---- */

static void test_module__one_volume_is_worked_on_by_one_program(void **state)
{
	struct waiter waiters[20];
	char id[8];

	(void)state;
	need_root();
	for (size_t i = 0; i < CLEAT_COUNT(waiters); i++) {
		snprintf(id, sizeof(id), "c%zu", i);
		prepare(id, "serial", &waiters[i]);
	}
	for (size_t i = 0; i < CLEAT_COUNT(waiters); i++) {
		wait_for(&waiters[i]);
		assert_string_equal(waiters[i].error, "");
	}
}

static void test_module__different_volumes_are_worked_on_together(void **state)
{
	struct waiter one, two;

	(void)state;
	need_root();
	prepare("c1", "meet1", &one);
	prepare("c2", "meet2", &two);
	wait_for(&one);
	wait_for(&two);
	assert_string_equal(one.error, "");
	assert_string_equal(two.error, "");
	assert_non_null(strstr(one.shell, "/bin/true --not-ns "));
	assert_non_null(strstr(one.shell, " rw /r/0 sandbox /box d"));
}

static void test_module__a_second_preparation_is_refused(void **state)
{
	struct waiter one, two;

	(void)state;
	need_root();
	prepare("c1", "v", &one);
	prepare("c1", "v", &two);
	wait_for(&two);
	assert_non_null(strstr(two.error, "prepared already"));
	wait_for(&one);
	assert_string_equal(one.error, "");
}

static void test_module__containers_without_volumes_cost_no_program(void **state)
{
	struct waiter waiter = { 0 };

	(void)state;
	need_root();
	recover(NULL, 0);
	cleat_mesos_prepare(m, named("c1"), answered, &waiter);
	assert_true(waiter.done); /* at once */
	assert_string_equal(waiter.error, "");
	cleat_mesos_isolate(m, named("c1"), getpid());
	cleanup("c1");
	assert_int_equal(logged("release c1") + logged("witness c1"), 0);
}

static void test_module__isolated_container_has_a_witness(void **state)
{
	struct waiter waiter;

	(void)state;
	need_root();
	prepare("c1", "v", &waiter);
	wait_for(&waiter);
	cleat_mesos_isolate(m, named("c1"), getpid());
	wait_logged("witness c1", 1);
}

/* ---- bad answers ---- */

static void test_module__bad_answers_are_failures_with_a_text(void **state)
{
	static const struct {
		const char *volume, *part;
	} bad[] = {
		{ "garbage", "exit 0 without an answer" },
		{ "silent", "exit 0 without an answer" },
		{ "big", "too long" },
		{ "killed", "signal 9" },
		{ "liar", "exit 1 without an answer" },
		{ "few", "0 paths for 1 volumes" },
		{ "refused", "in use by somebody" },
	};

	(void)state;
	need_root();
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		struct waiter waiter;

		prepare(bad[i].volume, bad[i].volume, &waiter);
		wait_for(&waiter);
		if (!strstr(waiter.error, bad[i].part))
			fail_msg("%s: '%s'", bad[i].volume, waiter.error);
	}
}

static void test_module__a_daemon_that_is_just_starting_is_asked_again(void **state)
{
	struct waiter opening, closed;

	(void)state;
	need_root();
	prepare("c1", "opening", &opening);
	prepare("c2", "closed", &closed);
	wait_for(&opening);
	assert_string_equal(opening.error, "");
	wait_for(&closed); /* but not for ever */
	assert_string_equal(closed.error, "closed");
	assert_true(logged("publish c2") > 2);
}

static void test_module__goes_away_while_it_means_to_ask_again(void **state)
{
	struct waiter waiter;

	(void)state;
	need_root();
	prepare("c1", "closed", &waiter);
	wait_logged("publish c1", 2);
	cleat_mesos_free(m);
	m = NULL;
	assert_true(waiter.done && *waiter.error);
}

static void test_module__a_program_that_hangs_is_ended(void **state)
{
	struct waiter waiter, other;
	const int64_t since_ms = cleat_time_mono_ms();

	(void)state;
	need_root();
	prepare("c1", "hang", &waiter);
	prepare("c2", "v", &other);
	wait_for(&other); /* and stops nobody meanwhile */
	wait_for(&waiter);
	assert_non_null(strstr(waiter.error, "no answer in time"));
	assert_true(cleat_time_mono_ms() - since_ms >= 6000); /* its own limit of one second, and five more */
	cleanup("c1");
	assert_int_equal(logged("release c1"), 1);
}

/* ---- cleanup and recovery ---- */

static void test_module__a_release_that_fails_is_repeated(void **state)
{
	struct waiter waiter;

	(void)state;
	need_root();
	prepare("c1", "v", &waiter);
	wait_for(&waiter);
	write_file("refuse", "", 0600);
	cleanup("c1"); /* is no failure */
	prepare("c2", "v", &waiter);
	wait_for(&waiter); /* nor in the way of the volume's next container */
	assert_string_equal(waiter.error, "");
	remove_file("refuse");
	wait_logged("release c1", 2);
	cleanup("c1");
	recover(NULL, 0);
	assert_int_equal(logged("keeps recover --keep c2"), 1);
}

static void test_module__recovery_keeps_what_is_alive_at_that_moment(void **state)
{
	struct waiter waiter;

	(void)state;
	need_root();
	prepare("new", "v", &waiter);
	wait_for(&waiter);
	recover((const char *const[]){ "old" }, 1);
	assert_int_equal(logged("keeps recover --keep old --keep new"), 1);
	cleanup("unknown"); /* has nothing, as is known now */
	assert_int_equal(logged("release unknown"), 0);
	cleanup("old");
	assert_int_equal(logged("release old"), 1);
}

static void test_module__before_recovery_the_unknown_may_have_something(void **state)
{
	(void)state;
	need_root();
	cleanup("unknown");
	assert_int_equal(logged("release unknown"), 1);
}

static void test_module__goes_away_while_programs_run(void **state)
{
	struct waiter running, queued;

	(void)state;
	need_root();
	prepare("c1", "hang", &running);
	prepare("c2", "hang", &queued);
	wait_logged("publish c1", 1);
	cleat_mesos_free(m);
	m = NULL;
	assert_true(running.done && queued.done);
	assert_true(*running.error && *queued.error);
}

/* ---- parameters ---- */

static void test_module__parameters_are_checked(void **state)
{
	static const struct cleat_mesos_parameter bad[] = {
		{ "nonsense", "x", "'nonsense' is not known" },
		{ "root", "relative", "not an absolute path" },
		{ "timeout", "0", "no number from 1" },
		{ "timeout", "1h", "no number from 1" },
		{ "helper", "/no/such", "/no/such" },
		{ "enter", "/bin/no$HOME", "/bin/no$HOME" },
	};

	(void)state;
	need_root();
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		const struct cleat_mesos_parameter params[] = { { "helper", "/bin/true", NULL },
								{ "enter", "/bin/true", NULL },
								bad[i] };
		struct cleat_error err = CLEAT_ERROR_INIT;
		struct cleat_mesos *other = NULL;

		assert_true(cleat_mesos_new(params, CLEAT_COUNT(params), "1.0.4", &other, &err) != CLEAT_OK);
		if (!strstr(err.msg, bad[i].text))
			fail_msg("%s=%s: '%s'", bad[i].key, bad[i].value, err.msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_module__one_volume_is_worked_on_by_one_program, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_module__different_volumes_are_worked_on_together, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_module__a_second_preparation_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_module__containers_without_volumes_cost_no_program,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_module__isolated_container_has_a_witness, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_module__bad_answers_are_failures_with_a_text, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_module__a_daemon_that_is_just_starting_is_asked_again,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_module__goes_away_while_it_means_to_ask_again, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_module__a_program_that_hangs_is_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(test_module__a_release_that_fails_is_repeated, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_module__recovery_keeps_what_is_alive_at_that_moment,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_module__before_recovery_the_unknown_may_have_something,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_module__goes_away_while_programs_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_module__parameters_are_checked, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
