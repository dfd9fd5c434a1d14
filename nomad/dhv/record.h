/* record.h - what the plugin remembers of a volume that it has handed to Nomad.
 *
 * The volume itself says whose it is, by labels that are stored with its data.  The record, a file in Nomad's
 * directory of host volumes, is for moments in which the volume cannot be asked: the daemon is not up, or the
 * pool is not there.  Then it tells a volume that is handed out again, after a restart of the agent, from a
 * new one.
 */
#ifndef CLEAT_DHV_RECORD_H
#define CLEAT_DHV_RECORD_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "dhv/request.h"
#include "util/kv.h"

#define DHV_RECORD_FORMAT 1
#define DHV_RECORD_MAX_BYTES 262144

struct dhv_record {
	unsigned format;
	char *volume, *scope, *name, *path; /* the volume's id in Cleat, the namespace, the volume's name in
					       Nomad, and what Nomad was given */
	uint64_t bytes;
	/* The request that was last fulfilled. */
	uint64_t min_bytes, max_bytes;
	struct cleat_kvs params;
};

/* NOT_FOUND: there is none; DATA_LOSS: it cannot be read. */
enum cleat_code dhv_record_load(const struct dhv_request *r, struct dhv_record *out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* Replaces the record of this volume: it is there whole or not at all. */
enum cleat_code dhv_record_save(const struct dhv_request *r, const struct dhv_record *rec,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* Removes the record of the volume with this id of Nomad; none is fine. */
enum cleat_code dhv_record_remove(const char *volumes_dir, const char *id,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
void dhv_record_done(struct dhv_record *rec);

/* Whether the request is the one that was last fulfilled: then nothing may change, only be there again. */
bool dhv_record_is_of(const struct dhv_record *rec, const struct dhv_request *r);

/* The text of a record and back, as it is in the file; the text is freed by the caller. */
enum cleat_code dhv_record_parse(const char *text, size_t n, struct dhv_record *out,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
char *dhv_record_format(const struct dhv_record *rec); /* NULL: out of memory */

#endif
