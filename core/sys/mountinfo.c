/* mountinfo.c - see mount.h: /proc/self/mountinfo as entries. */
#include "sys/mount.h"

#include "sys/internal.h"
#include "util/buf.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MAX_TABLE_BYTES (64U << 20)
#define MAX_READS 5 /* of a table that changes while it is read */

/* The next field of a line, which ends at a space; fields may be empty ("mount -t tmpfs '' /x").  NULL at the
 * end. */
static char *next_field(char **rest)
{
	char *field = *rest;
	char *end = field ? strchr(field, ' ') : NULL;

	if (end)
		*end++ = '\0';
	*rest = end;
	return field;
}

static bool is_octal(char c, char most)
{
	return c >= '0' && c <= most;
}

/* The kernel writes blanks, line ends and backslashes as "\ooo"; a backslash before anything else stands for
 * itself. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && is_octal(from[1], '3') && is_octal(from[2], '7') &&
		    is_octal(from[3], '7') && strncmp(from + 1, "000", 3) != 0) {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

static bool parse_number(const char *text, uint64_t most, uint64_t *out)
{
	uint64_t value = 0;

	if (!text || *text == '\0')
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		uint64_t digit = (uint64_t)(*text - '0');
		if (value > (most - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

static bool parse_dev(char *text, dev_t *out)
{
	char *colon = text ? strchr(text, ':') : NULL;
	uint64_t major_number = 0, minor_number = 0;

	if (!colon)
		return false;
	*colon = '\0';
	if (!parse_number(text, UINT32_MAX, &major_number) ||
	    !parse_number(colon + 1, UINT32_MAX, &minor_number))
		return false;
	*out = makedev((unsigned)major_number, (unsigned)minor_number);
	return true;
}

/* Whether the comma-separated options hold "ro". */
static bool says_read_only(const char *options)
{
	for (const char *p = options; p; p = strchr(p, ',')) {
		if (*p == ',')
			p++;
		if (p[0] == 'r' && p[1] == 'o' && (p[2] == ',' || p[2] == '\0'))
			return true;
	}
	return false;
}

/* One line without its line end:
 * 36 35 98:0 /root /target rw,noatime shared:1 - ext3 /dev/root rw,errors=continue */
static bool parse_line(char *line, struct cleat_mount_entry *entry)
{
	char *rest = line;
	char *id = next_field(&rest), *parent = next_field(&rest), *dev = next_field(&rest);
	char *root = next_field(&rest), *target = next_field(&rest), *options = next_field(&rest);

	if (!options || !parse_number(id, UINT64_MAX, &entry->id) ||
	    !parse_number(parent, UINT64_MAX, &entry->parent) || !parse_dev(dev, &entry->dev))
		return false;
	for (char *field = next_field(&rest); !field || strcmp(field, "-") != 0; field = next_field(&rest))
		if (!field)
			return false;
	char *fstype = next_field(&rest), *source = next_field(&rest);
	if (!source || !rest || *root == '\0' || *target == '\0' || *fstype == '\0')
		return false;
	unescape(root);
	unescape(target);
	unescape(fstype);
	unescape(source);
	entry->root = root;
	entry->target = target;
	entry->fstype = fstype;
	entry->source = source;
	entry->read_only = says_read_only(options);
	return true;
}

/* The same on a table that may be written to; table[n] is ours, too. */
static enum cleat_code parse_table(char *table, size_t n, cleat_mount_fn fn, void *arg,
				   struct cleat_error *err)
{
	size_t number = 1;

	for (char *line = table, *end = table + n; line < end; number++) {
		char *stop = memchr(line, '\n', (size_t)(end - line));
		struct cleat_mount_entry entry;

		if (!stop)
			stop = end;
		*stop = '\0';
		if (strlen(line) != (size_t)(stop - line) || !parse_line(line, &entry))
			return cleat_error_set(err, CLEAT_DATA_LOSS,
					       "line %zu of the mount table makes no sense", number);
		if (!fn(&entry, arg))
			break;
		line = stop + 1;
	}
	return CLEAT_OK;
}

enum cleat_code cleat_sys_mounts_parse(const char *bytes, size_t n, cleat_mount_fn fn, void *arg,
				       struct cleat_error *err)
{
	if (n > MAX_TABLE_BYTES)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED,
				       "the mount table is larger than %u bytes", MAX_TABLE_BYTES);
	cleat_autofree char *table = malloc(n + 1);
	if (!table)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (n > 0)
		memcpy(table, bytes, n);
	return parse_table(table, n, fn, arg, err);
}

/* The kernel gives the table out a page at a time, and what is mounted meanwhile may be missed; poll(2)
 * tells. */
static bool has_changed(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLPRI | POLLERR));
}

static enum cleat_code read_table(const char *path, struct cleat_buf *table, bool *changed_out,
				  struct cleat_error *err)
{
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	char chunk[16384];
	ssize_t got = -1;

	if (fd >= 0)
		while ((got = TEMP_FAILURE_RETRY(read(fd, chunk, sizeof(chunk)))) > 0)
			cleat_buf_add(table, chunk, (size_t)got);
	if (got < 0)
		return cleat_error_errno(err, errno, "read '%s'", path);
	if (!cleat_buf_ok(table))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED,
				       "no room for the mount table (at most %u bytes)", MAX_TABLE_BYTES);
	*changed_out = has_changed(fd);
	return CLEAT_OK;
}

enum cleat_code cleat_sys_mounts_at(const char *path, cleat_mount_fn fn, void *arg, struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf table = CLEAT_BUF_INIT(MAX_TABLE_BYTES);
	bool changed = true;

	for (int i = 0; changed && i < MAX_READS; i++) {
		cleat_buf_clear(&table);
		enum cleat_code code = read_table(path, &table, &changed, err);
		if (code != CLEAT_OK)
			return code;
	}
	return table.data ? parse_table(table.data, table.len, fn, arg, err) : CLEAT_OK;
}

enum cleat_code cleat_sys_mounts(cleat_mount_fn fn, void *arg, struct cleat_error *err)
{
	return cleat_sys_mounts_at("/proc/self/mountinfo", fn, arg, err);
}
