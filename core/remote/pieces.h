/* pieces.h - a record as a handful of short texts, for far sides that keep tags or attributes rather than
 * files.
 *
 * "1:<pieces>:<hash>" is the head, which is written with the pieces in one call: a reader that sees an old
 * piece beside a new head (such tags are eventually consistent) notices by the hash, and reads again.
 */
#ifndef CLEAT_REMOTE_PIECES_H
#define CLEAT_REMOTE_PIECES_H

#include <cleat/error.h>
#include <cleat/record.h>
#include <stddef.h>

#define CLEAT_PIECES_MAX 38   /* EC2 allows 50 tags a resource; some are for other things */
#define CLEAT_PIECE_BYTES 240 /* EC2 allows 256 characters a value; pieces end between characters */

struct cleat_pieces {
	char head[64];
	size_t count;
	char text[CLEAT_PIECES_MAX][CLEAT_PIECE_BYTES + 1];
};

/* INVALID_ARGUMENT when the record is too long. */
enum cleat_code cleat_pieces_make(const struct cleat_record *rec, struct cleat_pieces *out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* How many pieces the head announces; 0: it is none of ours. */
size_t cleat_pieces_count(const char *head);
/* The record again.  ABORTED (retry) when pieces and head do not belong together; DATA_LOSS when together
 * they are no record. */
enum cleat_code cleat_pieces_join(const char *head, const char *const *pieces, struct cleat_record **out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
