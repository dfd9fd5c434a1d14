/* pieces.c - see pieces.h. */
#include "remote/pieces.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/pooldir.h"
#include "util/buf.h"
#include "util/ids.h"
#include "util/text.h"

/* How much of the text goes into the next piece: whole characters, and where that is possible no blank at either side of the cut, because such
 * might get lost on the way. */
static int piece_bytes(const char *text)
{
	const int most = cleat_text_cut(text, CLEAT_PIECE_BYTES);
	int n = most;

	while (n > most / 2 && text[n] && (text[n - 1] == ' ' || text[n] == ' '))
		n = cleat_text_cut(text, n - 1);
	return n > most / 2 ? n : most;
}

enum cleat_code cleat_pieces_make(const struct cleat_record *rec, struct cleat_pieces *out,
				  struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);

	if (cleat_record_encode(rec, &text, err))
		return err ? err->code : CLEAT_INVALID_ARGUMENT;
	out->count = 0;
	for (const char *at = cleat_buf_text(&text); *at; out->count++) {
		if (out->count == CLEAT_PIECES_MAX)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "the record of '%s' has %zu bytes: too much for the storage's "
					       "tags (fewer or shorter labels)",
					       rec->name, text.len);
		const int n = piece_bytes(at);
		snprintf(out->text[out->count], sizeof(out->text[0]), "%.*s", n, at);
		at += n;
	}
	snprintf(out->head, sizeof(out->head), "1:%zu:%016llx", out->count,
		 (unsigned long long)cleat_id_hash(cleat_buf_text(&text), text.len, 0));
	return CLEAT_OK;
}

size_t cleat_pieces_count(const char *head)
{
	char *end;

	if (strncmp(head, "1:", 2) != 0 || head[2] < '1' || head[2] > '9')
		return 0;
	const unsigned long n = strtoul(head + 2, &end, 10);
	return *end == ':' && n <= CLEAT_PIECES_MAX ? n : 0;
}

enum cleat_code cleat_pieces_join(const char *head, const char *const *pieces, struct cleat_record **out,
				  struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(CLEAT_RECORD_MAX_BYTES);
	const size_t n = cleat_pieces_count(head);
	char hash[20];

	if (!n)
		return cleat_error_set(err, CLEAT_DATA_LOSS, "its tags are not understood");
	for (size_t i = 0; i < n; i++)
		cleat_buf_adds(&text, pieces[i] ? pieces[i] : "");
	if (!cleat_buf_ok(&text))
		return cleat_error_set(err, CLEAT_DATA_LOSS, "its tags are too long");
	snprintf(hash, sizeof(hash), "%016llx",
		 (unsigned long long)cleat_id_hash(cleat_buf_text(&text), text.len, 0));
	if (strcmp(strrchr(head, ':') + 1, hash) != 0)
		return cleat_error_set(err, CLEAT_ABORTED, "its tags are just being changed");
	return cleat_record_decode(cleat_buf_text(&text), text.len, out, err);
}
