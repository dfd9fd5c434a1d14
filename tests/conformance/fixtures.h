/* fixtures.h - what each backend of the suite needs: a file system of the right sort, and the configuration
 * of a pool on it.
 *
 * A fixture is made once per run; every test gets an empty pool of its own on it.
 */
#ifndef TESTS_CONFORMANCE_FIXTURES_H
#define TESTS_CONFORMANCE_FIXTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIB (1024ULL * 1024)
#define GIB (1024ULL * MIB)

enum fixture_trait {
	ADMITS_BY_SPACE = 1 << 0, /* refuses a volume that is larger than what the pool has left */
	COUNTS_PROMISES =
		1 << 5, /* ... or than what is left of it when all others are as large as they may get */
	SHOWS_SIZE_IN_DF = 1 << 1,  /* statfs of a mounted volume shows its own size */
	KEEPS_IMAGE = 1 << 2,	    /* the data is one image file: <volumes>/<key>/image */
	FS_GROWS_LATER_OK = 1 << 3, /* the file system may have to wait for the next stage to grow */
	SNAPSHOTS_IN_USE = 1 << 4,  /* a volume that is being written can be snapshot */
	IN_DIRECTORY = 1 << 6, /* the pool is a directory with a marker, records and attempts; else it is a far side */
};

struct fixture {
	const char *name; /* of --backend */
	const char *backend;
	const char
		*base; /* "ext4", "xfs", "btrfs", "ext4-prjquota", "xfs-prjquota": made in a sparse image */
	uint64_t base_bytes;
	const char *config[9]; /* further pool parameters: key, value, ..., NULL */
	const char *sim; /* the far side: a program below tests/sim, which keeps its disks in <dir>/base/far; NULL: none */
	unsigned has; /* the capabilities that the pool must tell: these and no others (enum cleat_capability)
		       */
	unsigned traits;
	uint64_t volume_bytes; /* a small volume */
};

/* NULL when there is none of that name. */
const struct fixture *fixture_find(const char *name);
/* The i-th, NULL past the end. */
const struct fixture *fixture_at(unsigned i);

/* Makes the base file system in <dir>/base.img and mounts it at <dir>/base.  False, with the reason on
 * stderr, when it cannot. */
bool fixture_up(const struct fixture *fx, const char *dir);
/* A far side's port, 0 without one; also in the environment of children. */
int fixture_port(void);
/* Begins anew at the far side: nothing is stored there. */
void fixture_forget(void);
/* How many volumes and snapshots of the world's first pool the far side holds. */
size_t fixture_far_count(void);
/* What a far side's pool needs besides its fixture's config: calls set for each key and value.  i: which pool of the world. */
void fixture_far_config(const char *dir, unsigned i, void (*set)(const char *key, const char *value, void *arg), void *arg);

/* Unmounts and removes everything below dir, whatever state it is in, and dir itself. */
void fixture_down(const char *dir);

/* ---- looking for what is left over ---- */

/* Number of mounts at or below path; `skip` (may be NULL) is a path that does not count itself.  Prints each
 * when loud. */
unsigned mounts_below(const char *path, const char *skip, bool loud);
/* Number of loop devices whose backing file lies below path, but for `skip` itself. */
unsigned loops_below(const char *path, const char *skip, bool loud);
/* Number of processes other than this one and its parent that hold a file below path open, or name it in
 * their arguments. */
unsigned processes_below(const char *path, bool loud);
/* Unmounts everything below path (deepest first, lazily if need be), frees loop devices with files below it.
 */
void clear_below(const char *path);
/* Unmounts the mounts below path whose mount point ends in "/<leaf>". */
void clear_mounts(const char *path, const char *leaf);
/* Runs an argument vector, output to /dev/null unless it fails; the exit status. */
int run_tool(const char *const argv[]);
/* rm -rf, staying on each file system. */
void remove_all(const char *path);

#endif
