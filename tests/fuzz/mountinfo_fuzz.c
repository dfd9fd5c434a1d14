/* mountinfo_fuzz.c - arbitrary bytes as a mount table: whatever is accepted, written down again as the kernel
 * would and read again, must be the same entries. */
#include "fuzz.h"

#include "sys/mount.h"
#include "util/buf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#define MAX_TEXT_BYTES ((size_t)64 << 20)

/* As seq_file writes names: blanks, line ends and backslashes in octal. */
static void add_escaped(struct cleat_buf *b, const char *text)
{
	for (; *text; text++) {
		if (strchr(" \t\n\\", *text))
			cleat_buf_addf(b, "\\%03o", (unsigned)(unsigned char)*text);
		else
			cleat_buf_add(b, text, 1);
	}
}

static bool write_entry(const struct cleat_mount_entry *e, void *arg)
{
	struct cleat_buf *b = arg;

	cleat_buf_addf(b, "%llu %llu %u:%u ", (unsigned long long)e->id, (unsigned long long)e->parent,
		       major(e->dev), minor(e->dev));
	add_escaped(b, e->root);
	cleat_buf_adds(b, " ");
	add_escaped(b, e->target);
	cleat_buf_adds(b, e->read_only ? " ro,relatime shared:1 - " : " rw,relatime shared:1 - ");
	add_escaped(b, e->fstype);
	cleat_buf_adds(b, " ");
	add_escaped(b, e->source);
	cleat_buf_adds(b, " rw\n");
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleat_autobuf struct cleat_buf first = CLEAT_BUF_INIT(MAX_TEXT_BYTES),
				       second = CLEAT_BUF_INIT(MAX_TEXT_BYTES);
	struct cleat_error err = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_sys_mounts_parse((const char *)data, n, write_entry, &first, &err);

	if (code != CLEAT_OK && code != CLEAT_DATA_LOSS)
		abort();
	/* What came before a bad line counts, too. */
	code = cleat_sys_mounts_parse(cleat_buf_text(&first), first.len, write_entry, &second, &err);
	if (code != CLEAT_OK || first.len != second.len ||
	    memcmp(cleat_buf_text(&first), cleat_buf_text(&second), first.len) != 0)
		abort();
	return 0;
}
