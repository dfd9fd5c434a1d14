/* request.h - what the agent says in the environment: which volume, how large, with which parameters.
 *
 * Nomad runs the plugin with nothing but variables DHV_* in its environment; each operation has its own set
 * of them.
 */
#ifndef CLEAT_DHV_REQUEST_H
#define CLEAT_DHV_REQUEST_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/kv.h"

#define DHV_ID_BYTES 37		       /* a UUID as text */
#define DHV_PARAMETERS_MAX_BYTES 65536 /* of the JSON text; Nomad itself has no limit */

/* Texts are borrowed from the environment, and never NULL. */
struct dhv_request {
	const char *id;		       /* of the volume in Nomad: a UUID in lower case */
	const char *name;	       /* "" only when an agent deletes what it could not note down */
	const char *namespace;	       /* the same */
	const char *volumes_dir;       /* absolute; where the plugin's records are */
	const char *node;	       /* Nomad's id of the node */
	uint64_t min_bytes, max_bytes; /* create; 0: not asked for */
	struct cleat_kvs params;       /* as the volume specification has them */
};

/* Reads and checks the variables of create, or of delete.  INVALID_ARGUMENT names variable and value.  On
 * success the request is freed with dhv_request_done(). */
enum cleat_code dhv_request_read(bool create, struct dhv_request *out,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
void dhv_request_done(struct dhv_request *r);

/* A UUID in lower case: what may be part of a file's name. */
bool dhv_is_id(const char *text);
/* A JSON object of texts, or null: what DHV_PARAMETERS holds. */
enum cleat_code dhv_params_read(const char *json, struct cleat_kvs *out,
				struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
