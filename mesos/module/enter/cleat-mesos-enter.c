/* cleat-mesos-enter - makes published volumes visible in a Mesos container: run by Mesos itself in the
 * container's new mount namespace, as the agent's user, before anything changes the root.
 *
 * Everything that touches a path which a task may have chosen, or may be changing at this moment, happens
 * here: such paths are opened step by step without leaving their base, and mounted on by descriptor.  Nothing
 * is mounted where the host would see it.  No library but the C library is used: the container has its own
 * environment.
 *
 *   cleat-mesos-enter --not-ns DEV:INO [--user NAME] [--rootfs DIR --sandbox-at PATH] MOUNT...
 *   MOUNT is five words: FLAGS SOURCE KIND BASE PATH
 *     FLAGS  rw, ro, or rw,own: the volume's root gets owner and mode of what is at its target
 *     KIND   host: PATH of the host; it exists, or is below /tmp and is made
 *            rootfs: PATH as the container sees it, whose root file system is BASE; made when missing
 *            sandbox: PATH below BASE, no link is followed; made when missing; also visible in the root file
 * system
 *                     (--rootfs) at PATH below --sandbox-at, where Mesos has put the sandbox
 * DEV:INO is the agent's mount namespace, which this must not be.  In every word %XX stands for a byte, so
 * that Mesos may pass the words through a shell (before 1.0 it has nothing else).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define NEW_DIRECTORY_MODE 0755
#define WORDS_PER_MOUNT 5

/* What glibc's and the kernel's headers may lack or define twice. */
#define ENTER_TREE_CLONE 1u
#define ENTER_TREE_CLOEXEC ((unsigned)O_CLOEXEC)
#define ENTER_RECURSIVE 0x8000u /* AT_RECURSIVE */
#define ENTER_FROM_EMPTY 0x4u	/* MOVE_MOUNT_F_EMPTY_PATH */
#define ENTER_TO_EMPTY 0x40u	/* MOVE_MOUNT_T_EMPTY_PATH */
#define ENTER_ATTR_MOUNT_ROOT 0x2000u

struct settings {
	const char *rootfs, *sandbox_at;
	uid_t uid; /* of directories that are made */
	gid_t gid;
};

struct volume {
	bool read_only, own;
	const char *source, *kind, *base, *path;
};

static bool fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static bool fail(const char *fmt, ...)
{
	va_list args;

	fputs("cleat-mesos-enter: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

static bool fail_errno(const char *what, const char *path)
{
	return fail("%s '%s': %s", what, path, strerror(errno));
}

/* ---- opening without going astray ---- */

static int open_within(int base, const char *path, uint64_t resolve)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = resolve | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, base, path, &how, sizeof(how));
}

/* Makes one directory in `parent` for the container's user; one that is there already is fine. */
static bool make_one(int parent, const char *name, const struct settings *s)
{
	if (mkdirat(parent, name, NEW_DIRECTORY_MODE))
		return errno == EEXIST;
	return fchownat(parent, name, s->uid, s->gid, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Opens the directory `path` below base, making what is missing of it.  Every step is opened from base again,
 * so that the rules of `resolve` hold for the whole path. */
static int open_or_make(int base, const char *path, uint64_t resolve, const struct settings *s)
{
	char prefix[PATH_MAX] = "", name[NAME_MAX + 1];
	int at = open_within(base, ".", resolve);

	while (at >= 0 && *(path += strspn(path, "/"))) {
		const size_t n = strcspn(path, "/"), used = strlen(prefix);
		const int parent = at;

		if (n > NAME_MAX || used + n + 2 > sizeof(prefix)) {
			close(parent);
			errno = ENAMETOOLONG;
			return -1;
		}
		snprintf(name, sizeof(name), "%.*s", (int)n, path);
		snprintf(prefix + used, sizeof(prefix) - used, "%s%s", used ? "/" : "", name);
		at = open_within(base, prefix, resolve);
		if (at < 0 && errno == ENOENT && make_one(parent, name, s))
			at = open_within(base, prefix, resolve);
		const int kept = errno;
		close(parent);
		errno = kept;
		path += n;
	}
	return at;
}

/* ---- mounts ---- */

/* The id of the mount that fd is in, or -1 without /proc. */
static long mount_id(int fd)
{
	char path[64], line[256];
	long id = -1;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "mnt_id: %ld", &id) == 1)
			break;
	if (f)
		fclose(f);
	return id;
}

/* Whether a mount made at fd would appear in other namespaces too; when that cannot be found out it would. */
static bool is_shared(int fd)
{
	const long id = mount_id(fd);
	FILE *f = id < 0 ? NULL : fopen("/proc/self/mountinfo", "re");
	bool found = false, shared = true;
	char *line = NULL;
	size_t room = 0;

	while (f && !found && getline(&line, &room, f) > 0) {
		char *fields = strstr(line, " - ");

		if (!fields || atol(line) != id)
			continue;
		*fields = '\0';
		found = true;
		shared = strstr(line, " shared:");
	}
	free(line);
	if (f)
		fclose(f);
	return shared;
}

/* Mesos makes nothing a slave before 1.5 unless filesystem/linux is in use.  The volumes' own place is shared
 * by the host, so what happened to it here would happen there. */
static bool keep_from_host(const char *source, int target)
{
	const int at = open_within(AT_FDCWD, source, 0);
	const bool shared = at < 0 || is_shared(at) || is_shared(target);

	if (at >= 0)
		close(at);
	if (shared && mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL))
		return fail_errno("make all mounts slaves below", "/");
	return true;
}

static bool is_mount_point(const char *path)
{
	struct statx st;

	if (syscall(SYS_statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st))
		return fail_errno("look at", path);
	return st.stx_attributes & ENTER_ATTR_MOUNT_ROOT ? true
							 : fail("the volume is not mounted at '%s'", path);
}

/* Flags of the mount at "." that a remount must repeat. */
static unsigned long present_flags(void)
{
	static const struct {
		unsigned long st, ms;
	} pairs[] = { { ST_NOSUID, MS_NOSUID },		{ ST_NODEV, MS_NODEV },
		      { ST_NOEXEC, MS_NOEXEC },		{ ST_NOATIME, MS_NOATIME },
		      { ST_NODIRATIME, MS_NODIRATIME }, { ST_RELATIME, MS_RELATIME } };
	struct statvfs st;
	unsigned long flags = 0;

	if (statvfs(".", &st))
		return 0;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
		flags |= st.f_flag & pairs[i].st ? pairs[i].ms : 0;
	return flags;
}

/* The volume's root is the current directory: owner and mode as in `like`. */
static bool own_root(const struct volume *v, const struct stat *like)
{
	struct stat now;

	if (stat(".", &now))
		return fail_errno("look at", v->source);
	if ((now.st_uid != like->st_uid || now.st_gid != like->st_gid) &&
	    lchown(".", like->st_uid, like->st_gid))
		return fail_errno("change the owner of", v->source);
	if ((now.st_mode & 07777) != (like->st_mode & 07777) && chmod(".", like->st_mode & 07777))
		return fail_errno("change the mode of", v->source);
	return true;
}

/* The new mount is the current directory. */
static bool finish(const struct volume *v, const struct stat *like)
{
	if (mount(NULL, ".", NULL, MS_PRIVATE | MS_REC, NULL))
		return fail_errno("make private the mount of", v->source);
	if (v->own && !v->read_only && !own_root(v, like))
		return false;
	if (v->read_only && mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | present_flags(), NULL))
		return fail_errno("make read-only the mount of", v->source);
	return true;
}

static bool bind_at(const struct volume *v, int target)
{
	struct stat like;
	const int tree =
		(int)syscall(SYS_open_tree, AT_FDCWD, v->source,
			     ENTER_TREE_CLONE | ENTER_TREE_CLOEXEC | ENTER_RECURSIVE | AT_SYMLINK_NOFOLLOW);
	bool good = true;

	if (tree < 0)
		return fail_errno("take the mount", v->source);
	if (fstat(target, &like))
		good = fail_errno("look at", v->path);
	else if (!keep_from_host(v->source, target))
		good = false;
	else if (syscall(SYS_move_mount, tree, "", target, "", ENTER_FROM_EMPTY | ENTER_TO_EMPTY))
		good = fail_errno("mount at", v->path);
	else if (fchdir(tree))
		good = fail_errno("enter", v->path);
	else
		good = finish(v, &like);
	if (chdir("/"))
		good = fail_errno("enter", "/");
	close(tree);
	return good;
}

/* ---- targets ---- */

static bool is_system_path(const char *path)
{
	static const char *const system[] = { "/bin",	"/boot",   "/dev",  "/etc",  "/lib", "/lib32",
					      "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr" };

	for (size_t i = 0; i < sizeof(system) / sizeof(*system); i++) {
		const size_t n = strlen(system[i]);

		if (strncmp(path, system[i], n) == 0 && (!path[n] || path[n] == '/'))
			return true;
	}
	return strcmp(path, "/") == 0;
}

/* Where fd really is: links of the operator's are fine, but none leads into the system. */
static bool check_real_path(int fd, const char *path)
{
	char link[64], real[PATH_MAX];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	const ssize_t n = readlink(link, real, sizeof(real) - 1);
	if (n < 0)
		return fail_errno("find out where is", path);
	real[n] = '\0';
	return is_system_path(real) ? fail("container path '%s' is in a directory of the system", path)
				    : true;
}

static int open_host(const struct volume *v, const struct settings *s)
{
	int fd = open_within(AT_FDCWD, v->path, 0);

	if (fd < 0 && errno == ENOENT && strncmp(v->path, "/tmp/", 5) == 0) {
		const int tmp = open_within(AT_FDCWD, "/tmp", 0);

		fd = tmp < 0 ? -1 : open_or_make(tmp, v->path + 5, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, s);
		const int kept = errno;
		if (tmp >= 0)
			close(tmp);
		errno = kept;
	}
	if (fd < 0) {
		fail_errno("container path", v->path);
	} else if (!check_real_path(fd, v->path)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int open_rootfs(const struct volume *v, const struct settings *s)
{
	const int base = open_within(AT_FDCWD, v->base, 0);
	int fd = -1;

	if (base < 0) {
		fail_errno("root file system", v->base);
		return -1;
	}
	fd = open_or_make(base, v->path, RESOLVE_IN_ROOT, s);
	if (fd < 0)
		fail_errno("container path in the image", v->path);
	close(base);
	return fd;
}

static bool same_directory(int a, int b)
{
	struct stat left, right;

	return fstat(a, &left) == 0 && fstat(b, &right) == 0 && left.st_dev == right.st_dev &&
	       left.st_ino == right.st_ino;
}

/* The sandbox as the root file system has it; -1 when there is none.  Not yet bound there, as for the
 * executor of a command task in old releases, what is mounted in the sandbox comes along later. */
static int open_sandbox_inside(const struct settings *s)
{
	const int root = s->rootfs && s->sandbox_at ? open_within(AT_FDCWD, s->rootfs, 0) : -1;
	const int fd = root < 0 ? -1 : open_within(root, s->sandbox_at, RESOLVE_IN_ROOT);

	if (root >= 0)
		close(root);
	return fd;
}

static bool enter_below(const struct volume *v, int base, const struct settings *s)
{
	const int target = open_or_make(base, v->path, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, s);

	if (target < 0)
		return fail_errno("container path in the sandbox", v->path);
	const bool good = bind_at(v, target);
	close(target);
	return good;
}

/* BASE may hold "//": what follows is below a directory that tasks can write to. */
static int open_sandbox(const char *base)
{
	const char *below = strstr(base, "//");
	char *top = below ? strndup(base, (size_t)(below - base)) : strdup(base);
	int fd = top ? open_within(AT_FDCWD, top, 0) : -1;

	free(top);
	if (fd < 0 || !below)
		return fd;
	const int inner = open_within(fd, below + 2, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
	const int kept = errno;
	close(fd);
	errno = kept;
	return inner;
}

static bool enter_sandbox(const struct volume *v, const struct settings *s)
{
	const int sandbox = open_sandbox(v->base), inside = open_sandbox_inside(s);
	bool good = sandbox >= 0 || fail_errno("sandbox", v->base);

	good = good && enter_below(v, sandbox, s);
	if (good && inside >= 0 && same_directory(sandbox, inside))
		good = enter_below(v, inside, s);
	if (sandbox >= 0)
		close(sandbox);
	if (inside >= 0)
		close(inside);
	return good;
}

static bool enter(const struct volume *v, const struct settings *s)
{
	int target = -1;

	if (!is_mount_point(v->source))
		return false;
	if (strcmp(v->kind, "sandbox") == 0)
		return enter_sandbox(v, s);
	if (strcmp(v->kind, "rootfs") == 0)
		target = open_rootfs(v, s);
	else if (strcmp(v->kind, "host") == 0)
		target = open_host(v, s);
	else
		return fail("'%s' is none of: host, rootfs, sandbox", v->kind);
	if (target < 0)
		return false;
	const bool good = bind_at(v, target);
	close(target);
	return good;
}

/* ---- the command line ---- */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place: %XX becomes the byte. */
static bool decode(char *word)
{
	char *to = word;

	for (const char *p = word; *p; p++) {
		if (*p != '%') {
			*to++ = *p;
			continue;
		}
		const int high = hex(p[1]), low = high < 0 ? -1 : hex(p[2]);
		if (low < 0 || (high == 0 && low == 0))
			return fail("'%s': %% is followed by two digits", word);
		*to++ = (char)(high << 4 | low);
		p += 2;
	}
	*to = '\0';
	return true;
}

static bool check_namespace(const char *forbidden)
{
	struct stat st;
	unsigned long dev, ino;

	if (sscanf(forbidden, "%lu:%lu", &dev, &ino) != 2)
		return fail("--not-ns '%s' is not of the form DEV:INO", forbidden);
	if (stat("/proc/self/ns/mnt", &st))
		return fail_errno("look at", "/proc/self/ns/mnt");
	if (st.st_dev == dev && st.st_ino == ino)
		return fail(
			"this container has no mount namespace of its own: the agent needs --launcher=linux");
	return true;
}

static bool find_user(const char *name, struct settings *s)
{
	const struct passwd *found = getpwnam(name);

	if (!found)
		return fail("user '%s' is not known", name);
	s->uid = found->pw_uid;
	s->gid = found->pw_gid;
	return true;
}

static bool set_option(const char *key, const char *value, struct settings *s, bool *ns_checked)
{
	if (strcmp(key, "--not-ns") == 0)
		return *ns_checked = check_namespace(value);
	if (strcmp(key, "--user") == 0)
		return find_user(value, s);
	if (strcmp(key, "--rootfs") == 0)
		s->rootfs = value;
	else if (strcmp(key, "--sandbox-at") == 0)
		s->sandbox_at = value;
	else
		return fail("option '%s' is not known", key);
	return true;
}

static bool read_volume(char **words, struct volume *v)
{
	*v = (struct volume){
		.read_only = strcmp(words[0], "ro") == 0,
		.own = strcmp(words[0], "rw,own") == 0,
		.source = words[1],
		.kind = words[2],
		.base = words[3],
		.path = words[4],
	};
	return v->read_only || v->own || strcmp(words[0], "rw") == 0 ||
	       fail("'%s' is none of: rw, ro, rw,own", words[0]);
}

int main(int argc, char **argv)
{
	struct settings s = { .uid = 0 };
	bool ns_checked = false;
	int at = 1;

	for (int i = 1; i < argc; i++)
		if (!decode(argv[i]))
			return 2;
	for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2)
		if (!set_option(argv[at], argv[at + 1], &s, &ns_checked))
			return 1;
	if (!ns_checked || at == argc || (argc - at) % WORDS_PER_MOUNT) {
		fail("usage: --not-ns DEV:INO [--user NAME] [--rootfs DIR --sandbox-at PATH] "
		     "FLAGS SOURCE KIND BASE PATH...");
		return 2;
	}
	for (; at < argc; at += WORDS_PER_MOUNT) {
		struct volume v;

		if (!read_volume(argv + at, &v) || !enter(&v, &s))
			return 1;
	}
	return 0;
}
