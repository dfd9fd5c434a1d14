/* tree_lab.h - what the tests of the backends dir and btrfs share: an open pool on a file system of the
 * test's own, and short forms of the slots. */
#ifndef CLEAT_TEST_TREE_LAB_H
#define CLEAT_TEST_TREE_LAB_H

#include "sys_lab.h"

#include "util/buf.h"

#include <cleat/backend.h>

#define TREE_MIB (UINT64_C(1) << 20)
#define TREE_SIZE (16 * TREE_MIB) /* of a volume, where no other is said */

/* A test's own pool, passed as *state. */
struct tree_lab {
	struct lab *lab;
	const struct cleat_backend *b;
	void *pool; /* NULL while closed */
	struct cleat_kvs config;
	struct cleat_pool_options opts;
	struct cleat_pool_identity id;
	struct cleat_error err;
	struct cleat_buf report; /* lines of recover() */
	bool mounted;		 /* <lab>/fs is a mount */
};

/* For cmocka: a lab with a pool directory fs/pool, not yet opened.  plain: fs is a directory of the machine's
 * own file system. */
int tree_setup_plain(void **state);
int tree_setup_btrfs(void **state);
/* With project quotas, which the kernel must have. */
int tree_setup_ext4_project(void **state);
int tree_setup_xfs_project(void **state);
int tree_teardown(void **state);

/* Opens fs/pool with the backend; more: key, value, ..., NULL, or NULL. */
void tree_open(struct tree_lab *t, const struct cleat_backend *b, const char *const *more);
enum cleat_code tree_try_open(struct tree_lab *t, const struct cleat_backend *b, const char *const *more);
void tree_close(struct tree_lab *t);
/* recover(), with its lines in t->report. */
void tree_recover(struct tree_lab *t);

/* A wish: size, and parameters key, value, ..., NULL (may be NULL). */
struct cleat_record *tree_wish(const char *key, const char *name, uint64_t bytes, const char *const *params);
struct cleat_record *tree_make(struct tree_lab *t, const char *key, uint64_t bytes);
struct cleat_record *tree_clone(struct tree_lab *t, const struct cleat_record *source, const char *key,
				uint64_t bytes);
struct cleat_record *tree_snapshot(struct tree_lab *t, const struct cleat_record *source, const char *key);
void tree_remove(struct tree_lab *t, const struct cleat_record *rec);
const char *tree_attribute(const struct cleat_record *rec, const char *key);
void tree_map_ok(struct tree_lab *t, const struct cleat_record *rec);

/* "<lab>/fs/<what>"; the data directory of a volume with something below it. */
const char *tree_path(const struct tree_lab *t, const char *what);
const char *tree_data(const struct tree_lab *t, const char *key, const char *below);
int tree_entries(const struct tree_lab *t, const char *what); /* of a directory below fs */
void tree_put(const char *path, const char *text);
bool tree_holds(const char *path, const char *text);
/* Writes up to `bytes` zeros and syncs; how many went in. */
uint64_t tree_fill(const char *path, uint64_t bytes);
/* Fails unless new/ and trash/ are empty and volumes/ has this many entries. */
void tree_expect_tidy(const struct tree_lab *t, int volumes);

/* Runs fn(t) in a child that ends without warning at its n-th step; false when it came to its end before
 * that. */
bool tree_killed_at(int n, void (*fn)(struct tree_lab *t), struct tree_lab *t);

#endif
