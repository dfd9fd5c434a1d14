/* seccomp.c - the default profile: which system calls a task may make.
 *
 * Everything that works on the task's own things is allowed.  What reaches the whole machine (modules,
 * clocks, mounts, keys, other processes' memory, namespaces) is refused with EPERM, unless the task has the
 * capability that the kernel wants for it anyway.  Calls that are not listed, among them all that will be
 * invented, get ENOSYS, so that libraries fall back to older ones.
 */
#include "driver/run/internal.h"

#include "util/mem.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#define NAMESPACES                                                                                           \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |        \
	 CLONE_NEWNET)

/* ---- allowed to everybody ---- */

static const char files[] =
	"access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 "
	"faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 "
	"fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr "
	"fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 "
	"futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init "
	"inotify_init1 inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listxattr "
	"listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat "
	"mknod mknodat name_to_handle_at newfstatat _newselect open openat openat2 pipe pipe2 "
	"pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat "
	"readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 "
	"setxattr setxattrat splice stat stat64 statfs statfs64 statmount listmount statx symlink "
	"symlinkat sync sync_file_range sync_file_range2 arm_sync_file_range syncfs tee truncate "
	"truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write "
	"writev fanotify_mark cachestat landlock_add_rule landlock_create_ruleset "
	"landlock_restrict_self";

static const char waiting[] =
	"epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait "
	"epoll_wait_old eventfd eventfd2 futex futex_requeue futex_time64 futex_wait futex_waitv "
	"futex_wake io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup "
	"io_submit pause poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd "
	"signalfd4";

static const char memory[] =
	"brk cacheflush madvise map_shadow_stack membarrier memfd_create memfd_secret mincore "
	"mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap "
	"pkey_alloc pkey_free pkey_mprotect process_madvise process_mrelease remap_file_pages "
	"swapcontext";

static const char processes[] =
	"arch_prctl arm_fadvise64_64 capget capset execve execveat exit exit_group fork getcpu "
	"getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid "
	"getpgrp getpid getppid getpriority getresgid getresgid32 getresuid getresuid32 getrlimit "
	"get_robust_list getrusage getsid get_thread_area gettid get_tls getuid getuid32 "
	"ioprio_get ioprio_set kill modify_ldt nice pidfd_open pidfd_send_signal prctl prlimit64 "
	"riscv_flush_icache rseq sched_getaffinity sched_getattr sched_getparam "
	"sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval "
	"sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
	"sched_setscheduler sched_yield seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid "
	"setgid32 setgroups setgroups32 setpgid setpriority setregid setregid32 setresgid "
	"setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid "
	"set_thread_area set_tid_address set_tls setuid setuid32 sigaltstack sysinfo ugetrlimit "
	"uname vfork wait4 waitid waitpid";

static const char signals[] =
	"restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
	"rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction signal "
	"sigpending sigprocmask sigreturn sigsuspend tgkill tkill";

static const char times[] =
	"adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 "
	"clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer "
	"gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun "
	"timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create "
	"timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times getrandom";

static const char talking[] =
	"accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr "
	"mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
	"mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd recv recvfrom recvmmsg "
	"recvmmsg_time64 recvmsg semctl semget semop semtimedop semtimedop_time64 send sendmmsg "
	"sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown socketcall socketpair";

/* The kernel checks these like signals: a task sees its own processes only. */
static const char tracing[] = "kcmp pidfd_getfd process_vm_readv process_vm_writev ptrace";

static const char *const always[] = { files, waiting, memory, processes, signals, times, talking, tracing };

/* ---- allowed with a capability, else refused ---- */

static const struct {
	const char *cap;
	const char *names;
} with_cap[] = { { "CAP_SYS_ADMIN",
		   "fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
		   "move_mount open_tree quotactl quotactl_fd setdomainname sethostname setns umount umount2 "
		   "unshare" },
		 { "CAP_SYS_BOOT", "reboot kexec_load kexec_file_load" },
		 { "CAP_SYS_CHROOT", "chroot" },
		 { "CAP_SYS_MODULE", "init_module finit_module delete_module" },
		 { "CAP_SYS_PACCT", "acct" },
		 { "CAP_SYS_RAWIO", "ioperm iopl" },
		 { "CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64" },
		 { "CAP_SYS_TTY_CONFIG", "vhangup" },
		 { "CAP_SYS_NICE",
		   "get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node" },
		 { "CAP_SYSLOG", "syslog" },
		 { "CAP_BPF", "bpf" },
		 { "CAP_PERFMON", "perf_event_open" },
		 { "CAP_DAC_READ_SEARCH", "open_by_handle_at" } };

/* Refused in any case; there is no capability that would confine them to the task. */
static const char never[] =
	"add_key keyctl request_key nfsservctl pivot_root swapoff swapon _sysctl sysfs uselib "
	"userfaultfd ustat vm86 vm86old";

/* ---- as JSON ---- */

static void add_rule(struct run_bundle *b, json_t *rules, json_t *names, const char *action, int errnum,
		     json_t *args)
{
	json_t *rule = json_object();

	if (json_array_size(names) == 0) {
		json_decref(names);
		json_decref(rule);
		return;
	}
	run_json_put(b, rule, "names", names);
	run_json_put(b, rule, "action", json_string(action));
	if (errnum)
		run_json_put(b, rule, "errnoRet", json_integer(errnum));
	if (args)
		run_json_put(b, rule, "args", args);
	run_json_add(b, rules, rule);
}

static void add_name(struct run_bundle *b, json_t *rules, const char *name, const char *action, int errnum,
		     json_t *args)
{
	json_t *names = json_array();

	run_json_add(b, names, json_string(name));
	add_rule(b, rules, names, action, errnum, args);
}

static json_t *one_arg(int index, uint32_t value, uint32_t value_two, const char *op)
{
	return json_pack("[{si sI sI ss}]", "index", index, "value", (json_int_t)value, "valueTwo",
			 (json_int_t)value_two, "op", op);
}

/* Names of calls, separated by blanks. */
static void add_names(struct run_bundle *b, json_t *list, const char *names)
{
	for (size_t n; *names; names += n + (names[n] == ' ')) {
		n = strcspn(names, " ");
		run_json_add(b, list, json_stringn(names, n));
	}
}

static void add_always(struct run_bundle *b, json_t *rules)
{
	json_t *names = json_array();

	for (size_t i = 0; i < CLEAT_COUNT(always); i++)
		add_names(b, names, always[i]);
	add_rule(b, rules, names, "SCMP_ACT_ALLOW", 0, NULL);
}

static void add_with_cap(struct run_bundle *b, json_t *rules)
{
	bool admin = run_has_cap(b->spec, "CAP_SYS_ADMIN");
	json_t *refused = json_array(), *allowed = json_array();

	for (size_t i = 0; i < CLEAT_COUNT(with_cap); i++) {
		bool has = admin || run_has_cap(b->spec, with_cap[i].cap);
		add_names(b, has ? allowed : refused, with_cap[i].names);
	}
	add_names(b, refused, never);
	add_rule(b, rules, refused, "SCMP_ACT_ERRNO", EPERM, NULL);
	add_rule(b, rules, allowed, "SCMP_ACT_ALLOW", 0, NULL);
}

/* Calls whose arguments decide. */
static void add_by_argument(struct run_bundle *b, json_t *rules)
{
	static const uint32_t personalities[] = { 0, 0x8, 0x20000, 0x20008,
						  0xffffffff }; /* Linux, Linux32, and asking */
	bool admin = run_has_cap(b->spec, "CAP_SYS_ADMIN");

	for (size_t i = 0; i < CLEAT_COUNT(personalities); i++)
		add_name(b, rules, "personality", "SCMP_ACT_ALLOW", 0,
			 one_arg(0, personalities[i], 0, "SCMP_CMP_EQ"));
	/* Virtual machine sockets know no network namespaces. */
	add_name(b, rules, "socket", "SCMP_ACT_ALLOW", 0, one_arg(0, AF_VSOCK, 0, "SCMP_CMP_NE"));
	/* The flags of clone3 lie in memory, where a filter cannot look; without it, libraries use clone. */
	add_name(b, rules, "clone", "SCMP_ACT_ALLOW", 0,
		 admin ? NULL : one_arg(0, NAMESPACES, 0, "SCMP_CMP_MASKED_EQ"));
	if (admin)
		add_name(b, rules, "clone3", "SCMP_ACT_ALLOW", 0, NULL);
}

static json_t *architectures(struct run_bundle *b)
{
#if defined(__x86_64__)
	static const char *const all[] = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", NULL };
#elif defined(__aarch64__)
	static const char *const all[] = { "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", NULL };
#else
	static const char *const all[] = { NULL }; /* the machine's own */
#endif
	return run_json_list(b, all);
}

json_t *run_seccomp_json(struct run_bundle *b)
{
	json_t *profile = json_object(), *rules = json_array();

	run_json_put(b, profile, "defaultAction", json_string("SCMP_ACT_ERRNO"));
	run_json_put(b, profile, "defaultErrnoRet", json_integer(ENOSYS));
	run_json_put(b, profile, "architectures", architectures(b));
	add_always(b, rules);
	add_with_cap(b, rules);
	add_by_argument(b, rules);
	run_json_put(b, profile, "syscalls", rules);
	return profile;
}
