/* record_fuzz.c - arbitrary bytes as a volume record: refused with DATA_LOSS and a reason, or read; what was
 * read in our format can be written and read again and is then the same. */
#include "fuzz.h"

#include "store/pooldir.h"
#include "util/buf.h"
#include "util/text.h"

#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_limits(const struct cleat_record *r)
{
	require(strlen(r->key) <= CLEAT_KEY_MAX_BYTES && strlen(r->name) <= CLEAT_NAME_MAX_BYTES);
	require(!strchr(r->key, '/') && !strchr(r->key, '.'));
	require(cleat_text_is_clean(r->name, strlen(r->name)));
	require(r->params.count <= CLEAT_KV_MAX && r->labels.count <= CLEAT_KV_MAX);
	require(r->attachment_count <= CLEAT_ATTACHMENTS_MAX);
	require(r->format <= CLEAT_RECORD_FORMAT ? *r->key && *r->name : true);
	for (size_t i = 0; r->format <= CLEAT_RECORD_FORMAT && i < r->attachment_count; i++)
		require(*r->attachments[i].node);
}

/* Writing may fail only because our text would be longer than the one that was read. */
static void check_round_trip(const struct cleat_record *r, size_t n)
{
	cleat_autobuf struct cleat_buf first = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);
	cleat_autobuf struct cleat_buf second = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);
	cleat_autorecord struct cleat_record *again = NULL;

	enum cleat_code code = cleat_record_encode(r, &first, NULL);
	if (r->format > CLEAT_RECORD_FORMAT) {
		require(code == CLEAT_FAILED_PRECONDITION);
		return;
	}
	if (code && n > CLEAT_RECORD_MAX_BYTES / 8)
		return;
	require(code == CLEAT_OK);
	require(cleat_record_decode(first.data, first.len, &again, NULL) == CLEAT_OK);
	require(cleat_record_encode(again, &second, NULL) == CLEAT_OK);
	require(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleat_autorecord struct cleat_record *r = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_record_decode((const char *)data, n, &r, &err);

	if (code) {
		require(code == CLEAT_DATA_LOSS && err.code == code && err.msg[0] && !r);
		return 0;
	}
	require(err.code == CLEAT_OK && r);
	check_limits(r);
	check_round_trip(r, n);
	return 0;
}
