/* user.c - who the task runs as: names are looked up in the container's own passwd and group files first,
 * then on the host. */
#include "driver/run/internal.h"

#include "util/buf.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_MAX_BYTES (4 << 20)
#define NAME_BYTES 256
#define NSS_BYTES 16384
#define ID_MAX (UINT32_MAX - 1) /* the last one means "no change" to chown(2) */

/* Appends a file of the container's root; links in it stay within that root. */
static bool read_in_root(const char *root, const char *path, struct cleat_buf *out)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	cleat_autoclose int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleat_autoclose int fd = dir >= 0 ? (int)syscall(SYS_openat2, dir, path, &how, sizeof(how)) : -1;
	char chunk[16384];
	ssize_t got;

	if (fd < 0)
		return false;
	while ((got = TEMP_FAILURE_RETRY(read(fd, chunk, sizeof(chunk)))) > 0 && cleat_buf_ok(out))
		cleat_buf_add(out, chunk, (size_t)got);
	return got == 0 && cleat_buf_ok(out);
}

/* The fields of a line "a:b:c"; the text is cut up.  Returns how many. */
static size_t split(char *line, char **fields, size_t room)
{
	size_t n = 0;

	for (char *rest = line; rest && n < room;)
		fields[n++] = strsep(&rest, ":");
	return n;
}

/* A whole number below 2^32-1; false when the text is none. */
static bool read_id(const char *text, uint32_t *out)
{
	char *end;

	if (!*text || text[strspn(text, "0123456789")] != '\0')
		return false;
	errno = 0;
	unsigned long long id = strtoull(text, &end, 10);
	if (errno || id > ID_MAX)
		return false;
	*out = (uint32_t)id;
	return true;
}

/* What is known of an account. */
struct account {
	char name[NAME_BYTES]; /* "" while unknown */
	uint32_t uid, gid;
	char home[PATH_MAX];
};

/* Looks for the account with this name, or (name NULL) with this uid. */
static bool find_in_passwd(char *text, const char *name, uint32_t uid, struct account *out)
{
	for (char *line; (line = strsep(&text, "\n"));) {
		char *f[7];
		uint32_t found_uid, found_gid;
		if (split(line, f, 7) < 6 || !read_id(f[2], &found_uid) || !read_id(f[3], &found_gid))
			continue;
		if (name ? strcmp(f[0], name) != 0 : found_uid != uid)
			continue;
		snprintf(out->name, sizeof(out->name), "%s", f[0]);
		snprintf(out->home, sizeof(out->home), "%s", f[5]);
		out->uid = found_uid;
		out->gid = found_gid;
		return true;
	}
	return false;
}

static bool find_on_host(const char *name, struct account *out)
{
	char *text = malloc(NSS_BYTES);
	struct passwd entry, *found = NULL;

	if (text && getpwnam_r(name, &entry, text, NSS_BYTES, &found) == 0 && found) {
		snprintf(out->name, sizeof(out->name), "%s", name);
		snprintf(out->home, sizeof(out->home), "%s", found->pw_dir);
		out->uid = found->pw_uid;
		out->gid = found->pw_gid;
	}
	free(text);
	return found;
}

static bool find_account(const char *root, const char *who, struct account *out)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(FILE_MAX_BYTES);
	bool readable = read_in_root(root, "etc/passwd", &text);
	cleat_autofree char *passwd = readable ? cleat_buf_steal(&text) : NULL;
	uint32_t uid;

	if (read_id(who, &uid)) {
		if (!passwd || !find_in_passwd(passwd, NULL, uid, out)) {
			out->uid = uid; /* needs no entry; its group is then root's, as container engines have
					   it */
			snprintf(out->home, sizeof(out->home), "/");
		}
		return true;
	}
	return (passwd && find_in_passwd(passwd, who, 0, out)) || find_on_host(who, out);
}

static bool is_member(char *members, const char *name)
{
	for (char *member; (member = strsep(&members, ","));)
		if (strcmp(member, name) == 0)
			return true;
	return false;
}

/* The groups that name the account as a member. */
static void add_groups(char *text, const char *name, struct run_user *out)
{
	for (char *line; (line = strsep(&text, "\n"));) {
		char *f[4];
		uint32_t gid;
		if (split(line, f, 4) == 4 && read_id(f[2], &gid) && gid != out->gid &&
		    is_member(f[3], name) && out->group_count < RUN_MAX_GROUPS)
			out->groups[out->group_count++] = gid;
	}
}

static bool find_group(char *text, const char *name, gid_t *gid_out)
{
	for (char *line; (line = strsep(&text, "\n"));) {
		char *f[4];
		uint32_t gid;
		if (split(line, f, 4) >= 3 && strcmp(f[0], name) == 0 && read_id(f[2], &gid)) {
			*gid_out = gid;
			return true;
		}
	}
	return false;
}

static bool find_group_on_host(const char *name, gid_t *gid_out)
{
	char *text = malloc(NSS_BYTES);
	struct group entry, *found = NULL;

	if (text && getgrnam_r(name, &entry, text, NSS_BYTES, &found) == 0 && found)
		*gid_out = found->gr_gid;
	free(text);
	return found;
}

/* The group asked for by name or number replaces all others; else those of the account are added. */
static enum cleat_code find_groups(const char *root, const char *group, const char *account,
				   struct run_user *out, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(FILE_MAX_BYTES);
	bool readable = read_in_root(root, "etc/group", &text);
	cleat_autofree char *groups = readable ? cleat_buf_steal(&text) : NULL;
	uint32_t gid;

	if (!group) {
		if (groups && *account)
			add_groups(groups, account, out);
		return CLEAT_OK;
	}
	if (read_id(group, &gid)) {
		out->gid = gid;
		return CLEAT_OK;
	}
	if ((groups && find_group(groups, group, &out->gid)) || find_group_on_host(group, &out->gid))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_NOT_FOUND, "there is no group '%.100s' in the task's file system",
			       group);
}

enum cleat_code run_user_find(const struct run_spec *spec, struct run_user *out, struct cleat_error *err)
{
	const char *root = spec->rootfs ? spec->rootfs : "/",
		   *asked = spec->user && *spec->user ? spec->user : "0";
	struct account account = { .name = "" };
	char who[NAME_BYTES];
	int n = snprintf(who, sizeof(who), "%s", asked);

	*out = (struct run_user){ .uid = 0 };
	if (spec->dynamic_uid != (uid_t)-1) {
		out->uid = spec->dynamic_uid;
		out->gid = spec->dynamic_uid;
		snprintf(out->home, sizeof(out->home), "/nonexistent");
		return CLEAT_OK;
	}
	char *group = strchr(who, ':');
	if (group)
		*group++ = '\0';
	if (n < 0 || n >= (int)sizeof(who) || !*who || (group && !*group))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "user '%.100s' is none of name, uid, name:group, uid:gid", asked);
	if (!find_account(root, who, &account))
		return cleat_error_set(err, CLEAT_NOT_FOUND,
				       "there is no user '%.100s' in the task's file system", who);
	out->uid = account.uid;
	out->gid = account.gid;
	snprintf(out->home, sizeof(out->home), "%s", account.home[0] ? account.home : "/");
	return find_groups(root, group, account.name, out, err);
}
