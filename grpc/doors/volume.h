/* volume.h - a volume as somebody names it who knows no ids: found or made, made visible, released. */
#ifndef CLEAT_DOORS_VOLUME_H
#define CLEAT_DOORS_VOLUME_H

#include "doors/daemon.h"
#include "doors/drivers.h"

#define CLEAT_DOOR_POOL_BYTES 41
#define CLEAT_DOOR_NAME_BYTES 129
#define CLEAT_DOOR_ID_BYTES 65
#define CLEAT_DOOR_PATH_BYTES 4096

/* A volume in its pool. */
struct cleat_door_place {
	char pool[CLEAT_DOOR_POOL_BYTES];
	char name[CLEAT_DOOR_NAME_BYTES];
	char ref[CLEAT_DOOR_POOL_BYTES + CLEAT_DOOR_NAME_BYTES]; /* pool/name */
};

/* The place of a driver's volume: in the pool of the entry, or the pool of the driver's name, or the default
 * one.  Asks the daemon for its pools where the entry has none. */
enum cleat_code cleat_door_place_by_driver(struct cleat_door *d, const struct cleat_door_driver *entry,
					   const char *driver, const char *name, struct cleat_door_place *out,
					   struct cleat_error *err) CLEAT_MUST_CHECK;
/* The place in a pool; NULL or "": the default one. */
enum cleat_code cleat_door_place_by_pool(struct cleat_door *d, const char *pool, const char *name,
					 struct cleat_door_place *out,
					 struct cleat_error *err) CLEAT_MUST_CHECK;
/* The pool of a driver as above. */
enum cleat_code cleat_door_pool_of(struct cleat_door *d, const struct cleat_door_driver *entry,
				   const char *driver, char pool[CLEAT_DOOR_POOL_BYTES],
				   struct cleat_error *err) CLEAT_MUST_CHECK;

/* The volume's id; NOT_FOUND when there is none. */
enum cleat_code cleat_door_find(struct cleat_door *d, const struct cleat_door_place *place, const char *scope,
				char id[CLEAT_DOOR_ID_BYTES], struct cleat_error *err) CLEAT_MUST_CHECK;
/* Makes the volume if it does not exist; one that exists is taken as it is, whatever the options say. */
enum cleat_code cleat_door_ensure(struct cleat_door *d, const struct cleat_door_place *place,
				  const char *scope, const struct cleat_door_options *o,
				  char id[CLEAT_DOOR_ID_BYTES], struct cleat_error *err) CLEAT_MUST_CHECK;

/* "rw", "ro", or a word of the API's AccessMode ("multi-node-multi-writer"). */
enum cleat_code cleat_door_mode_parse(const char *word, int *mode_out, bool *read_only_out,
				      struct cleat_error *err) CLEAT_MUST_CHECK;

struct cleat_door_publish {
	const char *volume; /* id or pool/name */
	const char *scope;
	const char *target; /* NULL: the daemon chooses */
	const char *owner;  /* for people */
	int mode;	    /* of the API's AccessMode */
	bool read_only;
	int64_t witness_pid; /* 0: none */
};
/* path (CLEAT_DOOR_PATH_BYTES; may be NULL) is where it is. */
enum cleat_code cleat_door_publish(struct cleat_door *d, const struct cleat_door_publish *p, char *path,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* target NULL: the path that the daemon chose.  What is not published, or does not exist, is done.  A mount
 * that is busy, and a volume that another operation holds, are tried again for busy_ms within the limit. */
enum cleat_code cleat_door_unpublish(struct cleat_door *d, const char *volume, const char *target,
				     int64_t busy_ms, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Calls fn for each claim of the volume, or of all for "", staging paths left out; stops when it returns
 * false. */
typedef bool (*cleat_door_claim_fn)(const Cleat__V1__Claim *claim, void *arg);
enum cleat_code cleat_door_claims(struct cleat_door *d, const char *volume, cleat_door_claim_fn fn, void *arg,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
/* The same for the volumes of a pool in a scope. */
typedef bool (*cleat_door_volume_fn)(const Cleat__V1__Volume *volume, void *arg);
enum cleat_code cleat_door_volumes(struct cleat_door *d, const char *pool, const char *scope,
				   cleat_door_volume_fn fn, void *arg,
				   struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
