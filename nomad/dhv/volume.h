/* volume.h - the volumes of Cleat as the plugin sees them, and what it does with one. */
#ifndef CLEAT_DHV_VOLUME_H
#define CLEAT_DHV_VOLUME_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "dhv/daemon.h"
#include "dhv/request.h"
#include "dhv/wish.h"

/* Labels, stored with the volume, that tell whose it is. */
#define DHV_LABEL_VOLUME "nomad.volume" /* Nomad's id of the volume */
#define DHV_LABEL_NODE "nomad.node_id"
/* Until Nomad has been given the volume: one that bears it and is found again was never used by anybody. */
#define DHV_LABEL_UNFINISHED "nomad.unfinished"
/* It was there before, and named by the parameter `volume`. */
#define DHV_LABEL_TAKEN "nomad.taken"

#define DHV_NAME_BYTES 129

struct dhv_volume {
	char id[72], pool[64], name[DHV_NAME_BYTES], fs[32];
	char scope[DHV_NAME_BYTES];	    /* that it is asked for in */
	char owner[DHV_ID_BYTES], node[64]; /* from the labels; "" when there are none */
	bool unfinished, taken;
	uint64_t bytes; /* as promised; what was asked for where the pool enforces nothing */
	unsigned claim_count;
	struct cleat_kvs params;
};

void dhv_volume_done(struct dhv_volume *v);
#define dhv_autovolume __attribute__((cleanup(dhv_volume_done)))

/* By id or pool/name. */
enum cleat_code dhv_volume_get(struct dhv_daemon *d, const char *ref, const char *scope,
			       struct dhv_volume *out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The volume with this id, of which it is known that it was there; without an id, the one that bears r's
 * label. NOT_FOUND is certain: its pool can be seen, or all can, and it is not there.  A pool that is away is
 * waited for, as the daemon is: UNAVAILABLE. */
enum cleat_code dhv_volume_find(struct dhv_daemon *d, const struct dhv_request *r, const char *id,
				const char *scope, struct dhv_volume *out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
/* The same by the label, of a volume that may well be new: pools that are away are not waited for. */
enum cleat_code dhv_volume_find_label(struct dhv_daemon *d, const struct dhv_request *r,
				      struct dhv_volume *out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The name of the daemon's default pool. */
enum cleat_code dhv_default_pool(struct dhv_daemon *d, char out[64],
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Creates it under this name, with r's labels and the mark that it is unfinished. */
enum cleat_code dhv_volume_create(struct dhv_daemon *d, const struct dhv_request *r, const struct dhv_wish *w,
				  const char *pool, const char *name, struct dhv_volume *out,
				  bool *already_out, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code dhv_volume_delete(struct dhv_daemon *d, const struct dhv_volume *v,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* Grows it to min_bytes; OUT_OF_RANGE when it has more than max_bytes (0: no limit) already. */
enum cleat_code dhv_volume_expand(struct dhv_daemon *d, struct dhv_volume *v, uint64_t min_bytes,
				  uint64_t max_bytes, bool *at_next_stage_out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* Sets parameters and labels (NULL: none); a label with an empty value goes. */
enum cleat_code dhv_volume_modify(struct dhv_daemon *d, struct dhv_volume *v, const struct cleat_kvs *params,
				  const struct cleat_kvs *labels, struct cleat_error *err) CLEAT_MUST_CHECK;

/* The standing claim: *path_out, to be freed, is where the daemon has mounted the volume. */
enum cleat_code dhv_volume_publish(struct dhv_daemon *d, const struct dhv_volume *v,
				   const struct dhv_request *r, const struct dhv_wish *w, char **path_out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code dhv_volume_unpublish(struct dhv_daemon *d, const struct dhv_volume *v,
				     struct cleat_error *err) CLEAT_MUST_CHECK;
/* Looks through the claims of the volume.  *path_out (may be NULL): where the standing one is, to be freed,
 * NULL without.  *others_out (may be NULL): the owner of another one, to be freed, NULL without. */
enum cleat_code dhv_volume_claims(struct dhv_daemon *d, const struct dhv_volume *v, char **path_out,
				  char **others_out, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
