/* world.h - what a test of the suite lives in: an empty pool on the fixture, an engine over it, targets, and
 * short ways to call.
 *
 * <dir>/state, <dir>/run, <dir>/targets belong to the engine of one test; the pool lies on the fixture's file
 * system.  Helpers whose names begin with `ok_` fail the test when the call fails; `refused` fails it when
 * the call does not fail as it should.
 */
#ifndef TESTS_CONFORMANCE_WORLD_H
#define TESTS_CONFORMANCE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cleat/volume.h>

#include "fixtures.h"
#include "util/buf.h"
#include "util/mem.h"

#define POOL "pool"
#define POOLS_MAX 3

struct world {
	const struct fixture *fx;
	char dir[128]; /* of this test */
	char run_dir[160], state_dir[160], targets[160];
	char pool_path[160];	 /* the pool's directory on the fixture's file system */
	struct cleat_engine *e;	 /* NULL while closed */
	unsigned caps;		 /* of the pool, as it says itself */
	struct cleat_buf report; /* lines of the last start */
	/* May be changed before world_open(). */
	const char *layer;
	int64_t wait_ms;
	unsigned pool_count;	       /* further pools are called pool2, pool3 and lie beside the first */
	const char *layers[POOLS_MAX]; /* of each pool; layer is that of all when set */
	bool cross_scope;	       /* of every pool */
	bool builtin_prefixes;	       /* no target prefixes: the built-in rule */
	const char *runtime_dir;       /* instead of run_dir */
	const char *extra_config[6];   /* key, value, ... added to every pool */
};

/* Group set-up and tear-down are in suite.c; these are a test's own. */
int world_setup(void **state);
int world_teardown(void **state);
/* Opens the engine (again) and waits until its pools have opened. */
void world_open(struct world *w);
/* As world_open(), but expects the engine not to open; the code and text are those given. */
void world_open_refused(struct world *w, enum cleat_code code, const char *words);
void world_close(struct world *w);
/* Whether the last start said so in one of its lines; shows them when not. */
bool reported(struct world *w, const char *words);
/* The engine's configuration over this world, for tests that open engines of their own.  Free with
 * config_done(). */
struct world_config {
	struct cleat_engine_config engine;
	struct cleat_pool_config pools[POOLS_MAX];
	char paths[POOLS_MAX][200];
	const char *prefixes[2];
};
void config_make(struct world *w, struct world_config *out);
void config_done(struct world_config *c);
/* For fixture_far_config(): adds a pair to the struct cleat_kvs that arg is. */
void set_far(const char *key, const char *value, void *arg);
/* Deletes everything through the engine, closes it, and fails the test when mounts, loop devices or files are
 * left. */
void world_tidy(struct world *w);
/* Waits until the pool is online or offline; fails the test after ten seconds. */
void wait_online(struct world *w, const char *pool, bool online);

/* ---- calling ---- */

struct cleat_request req_for(enum cleat_verb verb, const char *volume);
/* The code of one call; asks again while the error says that it may succeed later, when the fault layer plays
 * its games. */
enum cleat_code call(struct world *w, const struct cleat_request *req, struct cleat_result *out,
		     struct cleat_error *err);
/* res may be NULL; else free it with cleat_engine_result_done(). */
void ok_call(struct world *w, const struct cleat_request *req, struct cleat_result *res);
/* Fails unless the call ends with this code and a text that holds words (NULL: any).  Text and code are
 * checked to be fit for people. */
void refused(struct world *w, const struct cleat_request *req, enum cleat_code code, const char *words);
/* As refused(), for rules that leave a choice of codes: a mask of (1u << code). */
void refused_any(struct world *w, const struct cleat_request *req, unsigned codes, const char *words);
#define CODE(code) (1u << (code))

/* The usual volume (fixture's size) with that name; id_out may be NULL. */
void ok_create(struct world *w, const char *name, char id_out[CLEAT_ID_MAX_BYTES + 1]);
void ok_create_with(struct world *w, const struct cleat_request *req, char id_out[CLEAT_ID_MAX_BYTES + 1]);
void ok_delete(struct world *w, const char *volume);
/* Publishes at <targets>/<leaf> (made as a directory) and returns that path in target_out. */
void ok_publish(struct world *w, const char *volume, const char *leaf, char target_out[256]);
void ok_unpublish(struct world *w, const char *volume, const char *target);
void ok_snapshot(struct world *w, const char *volume, const char *name, char id_out[CLEAT_ID_MAX_BYTES + 1]);
void ok_delete_snapshot(struct world *w, const char *snapshot);
/* A new volume from a volume or snapshot. */
void ok_clone(struct world *w, const char *source, const char *name, uint64_t bytes,
	      char id_out[CLEAT_ID_MAX_BYTES + 1]);
bool exists(struct world *w, const char *volume, enum cleat_kind kind);
/* The volume's state; free with cleat_volume_state_done(). */
void ok_get(struct world *w, const char *volume, enum cleat_kind kind, struct cleat_volume_state *out);
size_t count_volumes(struct world *w, enum cleat_kind kind);
size_t count_claims(struct world *w, const char *volume);
bool can(const struct world *w, unsigned caps);
/* <targets>/<leaf>, made as a directory when make is set. */
char *target_path(struct world *w, const char *leaf, bool make, char out[256]);
/* A list of one pair. */
struct cleat_kvs kv_one(const char *key, const char *value);

/* ---- files ---- */

/* Writes `bytes` of a pattern that seed decides, and syncs. */
void put_file(const char *dir, const char *name, size_t bytes, unsigned seed);
/* Whether the file is there with just that content. */
bool has_file(const char *dir, const char *name, size_t bytes, unsigned seed);
/* Everything written to the file system of that directory is on its disk afterwards. */
void sync_fs(const char *dir);
bool is_mounted(const char *path);
/* Whether the mount at path has that option in /proc/self/mountinfo (of the mount or of the file system). */
bool has_mount_option(const char *path, const char *option);
/* Writes a file until the disk is full or `most` bytes are there; returns how many bytes went in, *errnum_out
 * what stopped it (0: most). */
uint64_t fill(const char *dir, const char *name, uint64_t most, int *errnum_out);
uint64_t df_total(const char *dir);
/* Entries of <pool>/<sub> ("volumes", "new", "trash"); 0 where there is no such folder. */
size_t pool_entries(struct world *w, const char *sub);
/* Loop devices with files below path but for skip, once they had time to go: a device stays until whoever only looked at it (another test
 * beside this one) has closed it, too. */
unsigned loops_left(const char *path, const char *skip);
/* Loop devices of this world's volumes, in the pool's directory or inside its pool file; with settle after the kernel had time to let go. */
unsigned volume_loops(struct world *w, bool settle);
/* Path of a file beside the volume's record, which must be there; also where the volumes lie inside a pool
 * file (while the engine is open). */
void volume_path(struct world *w, const char *volume, const char *file, char out[512]);
/* The pool file of the pool, where it has one: a loop device that is no volume's.  NULL without. */
const char *pool_file(struct world *w);
/* Tells why, and ends the test as skipped. */
void skip_because(const char *why);

/* The world of the running fixture, set by suite.c. */
extern const struct fixture *suite_fixture;
extern char suite_dir[96]; /* <suite_dir>/base is the fixture's file system */
extern bool suite_flaky;   /* the fault layer loses, delays and refuses each slot's first calls */

#endif
