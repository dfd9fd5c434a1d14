/* drivers.h - the table that tells what Docker volume drivers, and the options in their words, mean here.
 *
 * Applications that were written for another volume driver name it ("rexray") and use its options
 * ("volumetype=gp2").  The table says which pool such a driver's volumes are in, and what its options are
 * called there.  Without an entry the driver's name is the pool's name, if there is such a pool, and else the
 * default pool is meant; a few options that many drivers share are known without any entry.
 *
 * The file is YAML:
 *
 *   drivers:
 *     rexray:
 *       pool: ebs1                  # default: the pool of the driver's name, else the default pool
 *       options:                    # option -> parameter of the volume, "size", "source", or "" for nothing
 *         volumetype: type
 *       params: { fs: ext4 }        # what new volumes get unless an option says otherwise
 *       size: 16GiB                 # of new volumes without an option for it
 *       size_unit: GiB              # what a plain number as size means
 *       create: true                # false: volumes must exist
 *       host_path: /var/lib/rexray/volumes/%n/data     # %n the volume's name, %p its pool
 */
#ifndef CLEAT_DOORS_DRIVERS_H
#define CLEAT_DOORS_DRIVERS_H

#include "util/kv.h"

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLEAT_DOOR_DRIVERS_FILE "/etc/cleat/drivers.conf"
#define CLEAT_DOOR_DRIVERS_MAX 64

struct cleat_door_driver {
	char *name;
	char *pool;		  /* NULL: not said */
	char *host_path;	  /* NULL: not said; absolute, with %n in it */
	struct cleat_kvs options; /* names in lower case */
	struct cleat_kvs params;
	uint64_t size_bytes;	  /* 0: the backend's default */
	uint64_t size_unit_bytes; /* never 0 */
	bool create;
};

struct cleat_door_drivers {
	struct cleat_door_driver *items;
	size_t count;
};

/* Reads the file; path NULL: $CLEAT_DRIVERS, or else CLEAT_DOOR_DRIVERS_FILE, which need not exist.
 * INVALID_ARGUMENT has the first thing that is wrong, with file and line. */
enum cleat_code cleat_door_drivers_load(struct cleat_door_drivers *t, const char *path,
					struct cleat_error *err) CLEAT_MUST_CHECK;
/* The same from n bytes; `file` is for the error. */
enum cleat_code cleat_door_drivers_parse(struct cleat_door_drivers *t, const char *file, const char *bytes,
					 size_t n, struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_door_drivers_done(struct cleat_door_drivers *t);
#define cleat_autodrivers __attribute__((cleanup(cleat_door_drivers_done)))

/* What an entry may hold, for people; ends with a NULL name. */
struct cleat_door_driver_key {
	const char *name, *text;
};
extern const struct cleat_door_driver_key cleat_door_driver_keys[];

/* The entry of that name, or one that says nothing.  Borrowed. */
const struct cleat_door_driver *cleat_door_driver_find(const struct cleat_door_drivers *t, const char *name);

/* What options in a driver's words mean for a new volume. */
struct cleat_door_options {
	uint64_t size_bytes;	 /* 0: not said */
	struct cleat_kvs params; /* of CreateVolume */
	char *source;		 /* volume or snapshot of the same pool to start from; NULL: empty */
};
enum cleat_code cleat_door_options_take(const struct cleat_door_driver *d, const struct cleat_kvs *options,
					struct cleat_door_options *out,
					struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_door_options_done(struct cleat_door_options *o);
#define cleat_autodooroptions __attribute__((cleanup(cleat_door_options_done)))

/* host_path with its places filled; fallback when the table has none.  INVALID_ARGUMENT when a name cannot be
 * part of a path, or the whole is too long. */
enum cleat_code cleat_door_host_path(const struct cleat_door_driver *d, const char *fallback,
				     const char *pool, const char *name, char *out, size_t room,
				     struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
