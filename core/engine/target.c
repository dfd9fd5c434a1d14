/* target.c - where a volume may be published: the rules that keep a target where the operator allows it.
 *
 * A target lies below an allowed prefix.  The prefix is resolved once and may be reached through symlinks; below it no symlink is
 * followed, so that whoever owns a directory on the way cannot point elsewhere.
 */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "sys/file.h"

/* Built-in rule, for callers with uid 0: any existing directory outside of these. */
static const char *const forbidden[] = { "/bin",   "/boot",   "/dev",  "/etc",  "/lib", "/lib32", "/lib64",
					 "/libx32", "/proc", "/sbin", "/sys", "/usr" };

enum cleat_code target_canonical(const char *path, char out[CLEAT_TARGET_MAX_BYTES], struct cleat_error *err)
{
	size_t n = 0;

	if (path[0] != '/')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "target '%.200s' is not an absolute path", path);
	if (strnlen(path, CLEAT_TARGET_MAX_BYTES) >= CLEAT_TARGET_MAX_BYTES - 1)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "target is longer than %d bytes", CLEAT_TARGET_MAX_BYTES - 2);
	for (const char *at = path; *at;) {
		at += strspn(at, "/");
		size_t part = strcspn(at, "/");
		if (part == 0)
			break;
		if (part > 255)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a part of target '%.200s' is longer than 255 bytes", path);
		if (part == 2 && memcmp(at, "..", 2) == 0)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "target '%.200s' contains '..'", path);
		if (!(part == 1 && *at == '.')) {
			out[n++] = '/';
			memcpy(out + n, at, part);
			n += part;
		}
		at += part;
	}
	out[n] = '\0';
	if (n == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "target '/' is the root of the machine");
	return CLEAT_OK;
}

static bool below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	while (n > 1 && prefix[n - 1] == '/')
		n--;
	return strncmp(path, prefix, n) == 0 && path[n] == '/';
}

static bool is_system_path(const char *path)
{
	for (size_t i = 0; i < CLEAT_COUNT(forbidden); i++)
		if (strcmp(path, forbidden[i]) == 0 || below(path, forbidden[i]))
			return true;
	return false;
}

static int open_beneath(int dirfd, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, dirfd, *path ? path : ".", &how, sizeof(how));

	return (int)fd;
}

/* Opens the directory that holds the target; `rest` is the target's path below prefix. */
static enum cleat_code open_parent(const char *prefix, const char *rest, struct target *out, struct cleat_error *err)
{
	cleat_autoclose int top = open(prefix, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char parent[CLEAT_TARGET_MAX_BYTES];
	const char *slash = strrchr(rest, '/');

	if (top < 0)
		return cleat_error_errno(err, errno, "open '%s'", prefix);
	snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - rest) : 0, rest);
	snprintf(out->name, sizeof(out->name), "%s", slash ? slash + 1 : rest);
	out->parent_fd = open_beneath(top, parent);
	if (out->parent_fd >= 0)
		return CLEAT_OK;
	if (errno == ELOOP)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "target '%s' goes through a symlink below '%s': give the real path", out->path, prefix);
	if (errno == ENOENT || errno == ENOTDIR)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "the directory of target '%s' does not exist", out->path);
	return cleat_error_errno(err, errno, "open the directory of target '%s'", out->path);
}

static enum cleat_code check_prefixes(struct cleat_engine *e, struct target *out, struct cleat_error *err)
{
	for (size_t i = 0; e->prefixes[i]; i++)
		if (below(out->path, e->prefixes[i]))
			return open_parent(e->prefixes[i], out->path + strlen(e->prefixes[i]) + 1, out, err);
	return cleat_error_set(err, CLEAT_PERMISSION_DENIED, "target '%s' is below none of the configured target_prefixes", out->path);
}

static enum cleat_code check_builtin(struct cleat_engine *e, const struct cleat_request *req, struct target *out,
				     struct cleat_error *err)
{
	if (req->caller_uid != 0 && !req->caller_trusted)
		return cleat_error_set(err, CLEAT_PERMISSION_DENIED,
				       "target '%s': only uid 0 may choose targets unless target_prefixes is configured", out->path);
	if (is_system_path(out->path))
		return cleat_error_set(err, CLEAT_PERMISSION_DENIED, "target '%s' is in a directory of the system", out->path);
	if (below(out->path, e->state_dir) || below(out->path, e->runtime_dir))
		return cleat_error_set(err, CLEAT_PERMISSION_DENIED, "target '%s' is in the daemon's own directory", out->path);
	return open_parent("/", out->path + 1, out, err);
}

/* On success parent_fd is open; the target itself need not exist. */
enum cleat_code target_check(struct cleat_engine *e, const struct cleat_request *req, struct target *out, struct cleat_error *err)
{
	out->parent_fd = -1;
	if (target_canonical(req->target, out->path, err))
		return err->code;
	return e->prefixes ? check_prefixes(e, out, err) : check_builtin(e, req, out, err);
}

enum cleat_code path_remove(const char *path, int flags, struct cleat_error *err)
{
	char parent[CLEAT_TARGET_MAX_BYTES];
	const char *slash = strrchr(path, '/');
	cleat_autoclose int fd = -1;

	snprintf(parent, sizeof(parent), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	enum cleat_code code = cleat_sys_open_root(parent, &fd, err);
	if (code)
		return code == CLEAT_NOT_FOUND ? CLEAT_OK : code;
	return cleat_sys_unlink_at(fd, slash + 1, flags, err);
}
