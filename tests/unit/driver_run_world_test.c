/* driver_run_world_test.c - what a task sees: root file system, users, privileges, devices, network. */
#include "run_lab.h"

#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* What the script printed, if it ended well. */
static const char *say(const struct run_lab *lab, struct run_spec *spec)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.err", spec->id);
	struct run_exit end = run_lab_run(lab, spec);
	if (end.code != 0)
		fail_msg("exit %d: %s", end.code, run_lab_read(lab, name));
	name[strlen(name) - 3] = '\0';
	strcat(name, "out");
	return run_lab_read(lab, name);
}

static void refuse(const struct run_lab *lab, struct run_spec *spec, enum cleat_code code, const char *words)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_handle *h = NULL;

	run_lab_expect(run_start(&lab->env, spec, &h, &err), &err, code, words);
	assert_null(h);
	run_spec_done(spec);
}

/* A root of its own: its own /etc, and the host's programs bound into it. */
static void make_root(const struct run_lab *lab, struct run_spec *spec)
{
	static const char *const links[][2] = { { "usr/bin", "root/bin" },
						{ "usr/sbin", "root/sbin" },
						{ "usr/lib", "root/lib" },
						{ "usr/lib64", "root/lib64" } };

	assert_int_equal(mkdir(run_lab_join(lab, "root"), 0755), 0);
	assert_int_equal(mkdir(run_lab_join(lab, "root/etc"), 0755), 0);
	for (size_t i = 0; i < CLEAT_COUNT(links); i++)
		assert_int_equal(symlink(links[i][0], run_lab_join(lab, links[i][1])), 0);
	run_lab_write(lab, "root/etc/passwd",
		      "root:x:0:0::/root:/bin/sh\nwriter:x:1234:1235:A "
		      "Writer:/home/writer:/bin/sh\nbroken:x:abc:1::/:\n");
	run_lab_write(lab, "root/etc/group",
		      "root:x:0:\nwriter:x:1235:\nmore:x:1300:other,writer\nlast:x:1301:\n");
	run_lab_text(&spec->rootfs, run_lab_join(lab, "root"));
	run_lab_mount(spec, "/usr", "/usr", true, NULL);
}

/* ---- the root file system ---- */

static void test_root__is_the_hosts_and_read_only(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(
		lab, "t1",
		"for d in / /usr /etc /bin /lib /sbin /proc/sys /sys /root /home /var/lib; do\n"
		"  touch $d/x 2>/dev/null && echo $d is writable\n"
		"done\n"
		"for d in /tmp /var/tmp /run /dev/shm; do touch $d/x || echo $d is not writable; done\n"
		"ls /home /root /opt /mnt /srv /tmp /var/lib; cd /; echo * | sed 's/ lib[0-9x]*//g'");

	assert_string_equal(
		say(lab, &spec),
		"/home:\n\n/mnt:\n\n/opt:\n\n/root:\n\n/srv:\n\n/tmp:\nx\n\n/var/lib:\nbin dev etc home "
		"mnt opt proc root run sbin srv sys tmp usr var\n");
	assert_int_not_equal(access("/tmp/x", F_OK), 0);
}

static void test_root__secrets_of_the_host_are_hidden(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(
		lab, "t1",
		"wc -c < /etc/shadow; cat /proc/kcore | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | "
		"grep -v : | tr -d '\\n' | wc -c; cat /proc/keys | wc -c; set -- /proc/[0-9]*; echo $#");

	/* The shell alone. */
	assert_string_equal(say(lab, &spec), "0\n0\n0\n0\n1\n");
}

static void test_root__has_the_usual_devices_and_no_others(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "");
	struct stat st;

	/* The device under the host's root. */
	assert_int_equal(stat("/", &st), 0);
	char number[40];
	snprintf(number, sizeof(number), "%u %u", major(st.st_dev), minor(st.st_dev));
	free(spec.argv[2]);
	assert_true(asprintf(&spec.argv[2],
			     "cd /dev; echo *; echo x > null; head -c 3 zero | wc -c; head -c 3 urandom | wc "
			     "-c; dd if=zero of=full count=1 2>&1 | "
			     "grep -c space; mount -o remount,dev /tmp 2>/dev/null; mknod /dev/d b %s && cat "
			     "/dev/d 2>&1 > /dev/null | grep -o "
			     "'Operation not permitted'",
			     number) > 0);
	assert_string_equal(
		say(lab, &spec),
		"core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero\n3\n3\n1\n"
		"Operation not permitted\n");
}

static void test_root__of_the_job_has_its_own_files(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec =
		run_lab_spec(lab, "t1", "cat /etc/passwd; ls /; echo made > /made; test -w /dev/null");

	make_root(lab, &spec);
	const char *out = say(lab, &spec);
	assert_non_null(strstr(out, "A Writer"));
	assert_null(strstr(out, "\nhome\n"));
	assert_string_equal(run_lab_read(lab, "root/made"), "made\n");
}

static void test_root__nothing_is_made_in_the_hosts_directories(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "exit 0");

	run_lab_mount(&spec, lab->path, "/usr/cleat-no-such-dir", false, NULL);
	refuse(lab, &spec, CLEAT_FAILED_PRECONDITION, "mount target '/usr/cleat-no-such-dir'");
	spec = run_lab_spec(lab, "t1", "exit 0");
	run_lab_mount(&spec, lab->path, "/lib/cleat-no-such-dir", false, NULL);
	refuse(lab, &spec, CLEAT_FAILED_PRECONDITION, "mount target '/lib/cleat-no-such-dir'");
	spec = run_lab_spec(lab, "t1", "exit 0");
	run_lab_text(&spec.cwd, "/etc/cleat-no-such-dir");
	refuse(lab, &spec, CLEAT_FAILED_PRECONDITION, "working directory '/etc/cleat-no-such-dir'");
	assert_int_not_equal(access("/usr/cleat-no-such-dir", F_OK), 0);
	assert_int_not_equal(access("/etc/cleat-no-such-dir", F_OK), 0);
	/* What is there can be covered, and what is the task's own can be made. */
	spec = run_lab_spec(lab, "t1", "cat /usr/local/f; pwd");
	run_lab_write(lab, "f", "covered\n");
	run_lab_mount(&spec, lab->path, "/usr/local", true, NULL);
	run_lab_text(&spec.cwd, "/var/lib/of/its/own");
	assert_string_equal(say(lab, &spec), "covered\n/var/lib/of/its/own\n");
}

/* ---- environment and users ---- */

static void test_env__is_the_jobs_with_a_path_and_a_home(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec =
		run_lab_spec(lab, "t1", "env | grep -v -e ^_= -e ^PWD= -e ^OLDPWD= -e ^SHLVL= | sort");

	for (const char *const *p = (const char *const[]){ "A", "1", "TWO", "words and\tblanks = \"quotes\"",
							   "HOME", "/elsewhere", NULL };
	     *p; p += 2)
		run_lab_env(&spec, p[0], p[1]);
	assert_string_equal(
		say(lab, &spec),
		"A=1\nHOME=/elsewhere\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
		"TWO=words and\tblanks = \"quotes\"\n");
}

static void try_user(const struct run_lab *lab, const char *user, const char *expected)
{
	struct run_spec spec = run_lab_spec(lab, "t1", "echo $(id -u) $(id -g) $(id -G) $HOME; umask");
	char whole[200];

	run_lab_text(&spec.rootfs, run_lab_join(lab, "root"));
	run_lab_mount(&spec, "/usr", "/usr", true, NULL);
	if (user)
		run_lab_text(&spec.user, user);
	snprintf(whole, sizeof(whole), "%s\n0022\n", expected);
	unlink(run_lab_join(lab, "t1.out")); /* it belongs to the last user */
	unlink(run_lab_join(lab, "t1.err"));
	assert_string_equal(say(lab, &spec), whole);
}

static void test_user__is_looked_up_in_the_tasks_root(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = RUN_SPEC_INIT;

	make_root(lab, &spec);
	run_spec_done(&spec);
	try_user(lab, NULL, "0 0 0 /root");
	try_user(lab, "writer", "1234 1235 1235 1300 /home/writer");
	try_user(lab, "1234", "1234 1235 1235 1300 /home/writer");
	try_user(lab, "777", "777 0 0 /");
	try_user(lab, "777:778", "777 778 778 /");
	try_user(lab, "writer:last", "1234 1301 1301 /home/writer");
	spec = run_lab_spec(lab, "t1", "exit 0");
	run_lab_text(&spec.rootfs, run_lab_join(lab, "root"));
	run_lab_text(&spec.user, "broken");
	refuse(lab, &spec, CLEAT_NOT_FOUND, "no user 'broken'");
	spec = run_lab_spec(lab, "t1", "exit 0");
	run_lab_text(&spec.user, "0:no-such-group");
	refuse(lab, &spec, CLEAT_NOT_FOUND, "no group 'no-such-group'");
	spec = run_lab_spec(lab, "t1", "exit 0");
	run_lab_text(&spec.user, "4294967295");
	refuse(lab, &spec, CLEAT_NOT_FOUND, "no user '4294967295'");
}

static void test_user__of_a_dynamic_workload_needs_no_entry(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(
		lab, "t1", "id -u; id -g; echo $HOME; grep CapEff /proc/self/status; touch /tmp/mine");

	spec.dynamic_uid = 80123;
	assert_string_equal(say(lab, &spec), "80123\n80123\n/nonexistent\nCapEff:\t0000000000000000\n");
}

/* ---- privileges ---- */

static const char *const status = "grep -e ^CapEff -e ^CapBnd -e ^NoNewPrivs -e ^Seccomp: /proc/self/status";

static void test_caps__default_is_what_containers_have(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", status);

	assert_string_equal(
		say(lab, &spec),
		"CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n");
}

static void test_caps__are_the_set_of_the_job(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec none = run_lab_spec(lab, "t1", status), one = run_lab_spec(lab, "t2", status);

	none.caps = calloc(1, sizeof(*none.caps));
	none.no_new_privileges = none.seccomp = false;
	assert_string_equal(
		say(lab, &none),
		"CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t0\n");
	one.caps = run_lab_list("CAP_NET_ADMIN", NULL);
	assert_string_equal(
		say(lab, &one),
		"CapEff:\t0000000000001000\nCapBnd:\t0000000000001000\nNoNewPrivs:\t1\nSeccomp:\t2\n");
	one = run_lab_spec(lab, "t2", status);
	one.caps = run_lab_list("CAP_OF_NO_KIND", NULL);
	refuse(lab, &one, CLEAT_INVALID_ARGUMENT, "no capability 'CAP_OF_NO_KIND'");
	assert_true(run_cap_known("CAP_NET_ADMIN") && !run_cap_known("NET_ADMIN"));
}

static void test_seccomp__refuses_what_reaches_the_machine(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec
		with = run_lab_spec(
			lab, "t1",
			"unshare -m true 2>&1 | grep -o 'Operation not permitted'; unshare -r true 2>&1 | "
			"grep -c "
			"'Operation not permitted'; setarch linux32 true && dmesg 2>&1 | grep -c ermitted"),
		without = run_lab_spec(lab, "t2", "unshare -r id -u"),
		admin = run_lab_spec(lab, "t3", "unshare -m true && echo fine");

	assert_string_equal(say(lab, &with), "Operation not permitted\n1\n1\n");
	without.seccomp = false;
	without.user = strdup("12345");
	assert_string_equal(say(lab, &without), "0\n");
	admin.caps = run_lab_list("CAP_SYS_ADMIN", NULL);
	assert_string_equal(say(lab, &admin), "fine\n");
}

static void add_limit(struct run_spec *spec, const char *name, uint64_t soft, uint64_t hard)
{
	spec->limits = calloc(1, sizeof(*spec->limits));
	spec->limits[0] = (struct run_limit){ strdup(name), soft, hard };
	spec->limit_count = 1;
}

static void test_limits__are_set_or_refused(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "ulimit -Sn; ulimit -Hn");
	struct rlimit files;

	add_limit(&spec, "nofile", 123, 456);
	assert_string_equal(say(lab, &spec), "123\n456\n");
	spec = run_lab_spec(lab, "t1", "exit 0");
	add_limit(&spec, "files", 1, 1);
	refuse(lab, &spec, CLEAT_INVALID_ARGUMENT, "no limit 'files'");
	spec = run_lab_spec(lab, "t1", "exit 0");
	add_limit(&spec, "nofile", 2, 1);
	refuse(lab, &spec, CLEAT_INVALID_ARGUMENT, "soft limit is above");
	spec = run_lab_spec(lab, "t1", "exit 0");
	add_limit(&spec, "nofile", 1, (uint64_t)1 << 40);
	refuse(lab, &spec, CLEAT_FAILED_PRECONDITION, "fs.nr_open");
	/* Above our own: that needs a capability that this machine may not give us. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	spec = run_lab_spec(lab, "t1", "ulimit -Hn");
	add_limit(&spec, "nofile", files.rlim_max + 1, files.rlim_max + 1);
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct run_handle *h = NULL;
	if (run_start(&lab->env, &spec, &h, &err) == CLEAT_OK) {
		assert_int_equal(run_lab_end(h).code, 0);
		assert_int_equal(strtoull(run_lab_read(lab, "t1.out"), NULL, 10), files.rlim_max + 1);
		run_unref(h);
		run_lab_destroy(lab, "t1");
	} else {
		run_lab_expect(err.code, &err, CLEAT_FAILED_PRECONDITION, "CAP_SYS_RESOURCE");
	}
	run_spec_done(&spec);
	assert_true(run_limit_known("nofile") && run_limit_known("MEMLOCK") && !run_limit_known("files"));
}

static void test_limits__unlimited_is_as_good_as_that(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "ulimit -Hf");

	add_limit(&spec, "fsize", UINT64_MAX, UINT64_MAX);
	assert_string_equal(say(lab, &spec), "unlimited\n");
}

/* ---- network ---- */

static void test_network__of_its_own_has_only_loopback(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1",
					    "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat "
					    "/sys/class/net/lo/flags; exec sleep 100"),
			other = run_lab_spec(lab, "t2", "readlink /proc/self/ns/net"),
			hosts = run_lab_spec(lab, "t3", "readlink /proc/self/ns/net");
	char path[64], ours[64] = "", theirs[64] = "";

	spec.private_net = true;
	struct run_handle *h = run_lab_start(lab, &spec);
	run_lab_await(lab, "t1.out", "0x");
	assert_string_equal(run_lab_read(lab, "t1.out"), "lo\n0x9\n"); /* up */
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)run_pid(h));
	assert_true(readlink(path, theirs, sizeof(theirs) - 2) > 0);
	assert_true(readlink("/proc/self/ns/net", ours, sizeof(ours) - 2) > 0);
	strcat(ours, "\n");
	strcat(theirs, "\n");
	other.netns = strdup(path);
	assert_string_equal(say(lab, &other), theirs);
	assert_string_equal(say(lab, &hosts), ours);
	run_unref(h);
	run_lab_destroy(lab, "t1");
}

static void ask_for_dns(struct run_spec *spec)
{
	spec->dns_servers = run_lab_list("192.0.2.1", "192.0.2.2", NULL);
	spec->dns_searches = run_lab_list("a.example", "b.example", NULL);
	spec->dns_options = run_lab_list("ndots:2", "rotate", NULL);
	spec->hosts = strdup("192.0.2.7 seven\n");
	spec->hostname = strdup("of-the-job");
}

static const char *const look_at_names =
	"cat /etc/resolv.conf /etc/hosts; hostname; cat /etc/hostname 2>/dev/null || hostname";
static const char *const names =
	"nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch a.example b.example\noptions ndots:2 rotate\n"
	"192.0.2.7 seven\nof-the-job\nof-the-job\n";

static void test_network__names_are_those_of_the_job(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", look_at_names),
			rooted = run_lab_spec(lab, "t2", look_at_names);

	ask_for_dns(&spec);
	assert_string_equal(say(lab, &spec), names);
	make_root(lab, &rooted);
	/* As systems with systemd-resolved have it: the link leads to what is not there. */
	assert_int_equal(
		symlink("../run/systemd/resolve/stub-resolv.conf", run_lab_join(lab, "root/etc/resolv.conf")),
		0);
	ask_for_dns(&rooted);
	assert_string_equal(say(lab, &rooted), names);
}

static void test_network__names_are_the_hosts_otherwise(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1", "cat /etc/resolv.conf"),
			rooted = run_lab_spec(lab, "t2", "cat /etc/resolv.conf");
	char text[8192];
	FILE *f = fopen("/etc/resolv.conf", "re");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = '\0';
	if (f)
		fclose(f);
	else
		skip(); /* this machine resolves no names */
	assert_string_equal(say(lab, &spec), text);
	make_root(lab, &rooted);
	assert_string_equal(say(lab, &rooted), text);
}

/* ---- devices ---- */

static void add_device(struct run_spec *spec, const char *source, const char *target, const char *permissions)
{
	spec->devices = calloc(1, sizeof(*spec->devices));
	spec->devices[0] = (struct run_device){ strdup(source), target ? strdup(target) : NULL,
						permissions ? strdup(permissions) : NULL };
	spec->device_count = 1;
}

static void test_devices__are_there_as_permitted(void **state)
{
	const struct run_lab *lab = *state;
	struct run_spec spec = run_lab_spec(lab, "t1",
					    "ls -l /dev/kernel-log | cut -c1-10; id -u; head -c 0 "
					    "/dev/kernel-log && echo readable; "
					    "sh -c 'echo > /dev/kernel-log' 2>/dev/null || echo read-only"),
			file = run_lab_spec(lab, "t2", "exit 0"),
			outside = run_lab_spec(lab, "t3", "head -c 3 /data/zero | wc -c");

	add_device(&spec, "/dev/kmsg", "/dev/kernel-log", "r");
	spec.user = strdup("4321:4321");
	spec.caps = run_lab_list("CAP_SYSLOG", NULL);
	assert_non_null(strstr(say(lab, &spec), "crw-rw"));
	assert_non_null(strstr(run_lab_read(lab, "t1.out"), "read-only\n"));
	add_device(&file, "/etc/passwd", NULL, NULL);
	refuse(lab, &file, CLEAT_INVALID_ARGUMENT, "'/etc/passwd' is not a device");
	add_device(&outside, "/dev/zero", "/data/zero", "rw");
	assert_string_equal(say(lab, &outside), "3\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_TEST(test_root__is_the_hosts_and_read_only),
		RUN_TEST(test_root__secrets_of_the_host_are_hidden),
		RUN_TEST(test_root__has_the_usual_devices_and_no_others),
		RUN_TEST(test_root__of_the_job_has_its_own_files),
		RUN_TEST(test_root__nothing_is_made_in_the_hosts_directories),
		RUN_TEST(test_env__is_the_jobs_with_a_path_and_a_home),
		RUN_TEST(test_user__is_looked_up_in_the_tasks_root),
		RUN_TEST(test_user__of_a_dynamic_workload_needs_no_entry),
		RUN_TEST(test_caps__default_is_what_containers_have),
		RUN_TEST(test_caps__are_the_set_of_the_job),
		RUN_TEST(test_seccomp__refuses_what_reaches_the_machine),
		RUN_TEST(test_limits__are_set_or_refused),
		RUN_TEST(test_limits__unlimited_is_as_good_as_that),
		RUN_TEST(test_network__of_its_own_has_only_loopback),
		RUN_TEST(test_network__names_are_those_of_the_job),
		RUN_TEST(test_network__names_are_the_hosts_otherwise),
		RUN_TEST(test_devices__are_there_as_permitted),
	};
	int skip = run_lab_need();

	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
