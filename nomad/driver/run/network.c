/* network.c - name resolution in the task: resolv.conf(5), hosts(5), hostname(5), as files of its own. */
#include "driver/run/internal.h"

#include "sys/file.h"
#include "util/buf.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES (256 << 10)
#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLVED_CONF                                                                                        \
	"/run/systemd/resolve/resolv.conf" /* the servers behind the one that listens on the host's loopback \
					    */

static bool is_any(char *const *list)
{
	return list && *list;
}

static bool read_host_file(const char *path, struct cleat_buf *out)
{
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char chunk[8192];
	ssize_t got = -1;

	while (fd >= 0 && (got = TEMP_FAILURE_RETRY(read(fd, chunk, sizeof(chunk)))) > 0)
		cleat_buf_add(out, chunk, (size_t)got);
	return got == 0 && cleat_buf_ok(out);
}

/* Whether every server in it is on the loopback of the host, where a task with a network of its own does not
 * get. */
static bool only_loopback(const char *text)
{
	bool any = false;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (strncmp(line, "nameserver", 10) != 0)
			continue;
		const char *server = line + 10 + strspn(line + 10, " \t");
		if (strncmp(server, "127.", 4) != 0 && strncmp(server, "::1", 3) != 0)
			return false;
		any = true;
	}
	return any;
}

static void add_lines(struct cleat_buf *out, const char *word, char *const *list)
{
	for (; list && *list; list++)
		cleat_buf_addf(out, "%s %s\n", word, *list);
}

static void add_line(struct cleat_buf *out, const char *word, char *const *list)
{
	if (!is_any(list))
		return;
	cleat_buf_adds(out, word);
	for (; *list; list++)
		cleat_buf_addf(out, " %s", *list);
	cleat_buf_adds(out, "\n");
}

/* False: the task needs no file of its own. */
static bool make_resolv_conf(const struct run_spec *spec, struct cleat_buf *out)
{
	struct stat st;

	if (is_any(spec->dns_servers) || is_any(spec->dns_searches) || is_any(spec->dns_options)) {
		add_lines(out, "nameserver", spec->dns_servers);
		add_line(out, "search", spec->dns_searches);
		add_line(out, "options", spec->dns_options);
		return true;
	}
	if (lstat(RESOLV_CONF, &st) < 0 || !read_host_file(RESOLV_CONF, out))
		return false;
	if ((spec->netns || spec->private_net) && only_loopback(cleat_buf_text(out)) &&
	    access(RESOLVED_CONF, R_OK) == 0) {
		cleat_buf_clear(out);
		return read_host_file(RESOLVED_CONF, out);
	}
	/* With the host's /etc the task sees a file there; where a link leads out of /etc, it does not. */
	return spec->rootfs || !S_ISREG(st.st_mode);
}

/* Whether a file can be put there without making anything in the host's /etc. */
static bool can_cover(const struct run_spec *spec, const char *path)
{
	char to[PATH_MAX];
	struct stat st;

	if (spec->rootfs)
		return true;
	if (lstat(path, &st) < 0)
		return false;
	ssize_t n = S_ISLNK(st.st_mode) ? readlink(path, to, sizeof(to) - 1) : -1;
	if (n <= 0)
		return S_ISREG(st.st_mode);
	to[n] = '\0';
	/* Out of /etc and into a directory of the task's own, or to something that is there. */
	return strncmp(to, "/run/", 5) == 0 || strncmp(to, "../run/", 7) == 0 ||
	       strncmp(to, "/var/run/", 9) == 0 || access(path, F_OK) == 0;
}

static void cover(struct run_bundle *b, int dir, const char *name, const char *text)
{
	char source[PATH_MAX], target[64];

	snprintf(target, sizeof(target), "/etc/%s", name);
	if (!can_cover(b->spec, target)) {
		run_note(b->plan, "the host has no '%s', so the task has none of its own", target);
		return;
	}
	if (b->code == CLEAT_OK)
		b->code = run_put_file(dir, name, text, strlen(text), 0644, b->err);
	if (b->code != CLEAT_OK)
		return;
	if (snprintf(source, sizeof(source), "%s/files/%s", b->place->path, name) < (int)sizeof(source))
		run_mount_add(b, "bind", source, target, "bind,rprivate,rw,nosuid,nodev");
}

void run_network_files_add(struct run_bundle *b)
{
	cleat_autobuf struct cleat_buf resolv = CLEAT_BUF_INIT(FILE_MAX_BYTES);
	char hostname[300] = "";
	cleat_autoclose int dir = -1;

	if (b->code == CLEAT_OK)
		b->code = cleat_sys_mkdir_at(b->place->fd, "files", 0755, false, b->err);
	if (b->code == CLEAT_OK)
		b->code = cleat_sys_open_at(b->place->fd, "files", O_RDONLY | O_DIRECTORY, 0, &dir, b->err);
	if (b->code != CLEAT_OK)
		return;
	if (make_resolv_conf(b->spec, &resolv))
		cover(b, dir, "resolv.conf", cleat_buf_text(&resolv));
	if (b->spec->hosts)
		cover(b, dir, "hosts", b->spec->hosts);
	if (b->spec->hostname && *b->spec->hostname) {
		snprintf(hostname, sizeof(hostname), "%s\n", b->spec->hostname);
		cover(b, dir, "hostname", hostname);
	}
}
