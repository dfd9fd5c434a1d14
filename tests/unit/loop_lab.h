/* loop_lab.h - what the tests of the loop backend share: pools of each layout inside a lab, and volumes in
 * them. */
#ifndef CLEAT_TEST_LOOP_LAB_H
#define CLEAT_TEST_LOOP_LAB_H

#include "sys_lab.h"

#include <cleat/backend.h>

#include "fs/fs.h"
#include "util/kv.h"

extern const struct cleat_backend cleat_backend_loop;

#define LAB_GIB (UINT64_C(1) << 30)

/* A pool that is served. */
struct bench {
	struct lab *lab;
	const struct cleat_backend *b;
	void *pool;
	struct cleat_pool_identity id;
	struct cleat_kvs config;
	char path[LAB_PATH_BYTES + 16]; /* of the pool's directory */
	char runtime[LAB_PATH_BYTES + 16];
	char host[LAB_PATH_BYTES + 16]; /* mount point of a file system made for the pool; "" none */
	char found[2048];		/* what recover() told */
};

/* The pool's directory lies on the lab's own file system ("") or on one made for it: "xfs" or "btrfs" (both
 * can share blocks) or "ext4". */
void bench_open(struct bench *bench, struct lab *lab, const char *host_fs, uint64_t host_bytes,
		const char *pool_file);
/* Opens again after bench_close(), or after bench_kill(). */
enum cleat_code bench_reopen(struct bench *bench, struct cleat_error *err);
void bench_close(struct bench *bench);
/* Closes and takes the host's file system away. */
void bench_done(struct bench *bench);
void bench_set(struct bench *bench, const char *key,
	       const char *value); /* configuration, before opening again */
/* A directory's path below the pool's data. */
const char *bench_data(const struct bench *bench, const char *below);

struct cleat_record *wish(const struct bench *bench, const char *key, const char *fs, uint64_t bytes);
void wish_param(struct cleat_record *rec, const char *key, const char *value);
struct cleat_record *made(const struct bench *bench, const struct cleat_record *wish);
struct cleat_record *cloned(const struct bench *bench, const char *key, const struct cleat_record *source,
			    const char *stage);
struct cleat_record *snapped(const struct bench *bench, const char *key, const struct cleat_record *source,
			     const char *stage);
void removed(const struct bench *bench, const struct cleat_record *rec);
/* Maps and mounts at <lab>/<name>, which is made; returns the path. */
const char *mounted(const struct bench *bench, const struct cleat_record *rec, const char *name);
void unmounted(const struct bench *bench, const struct cleat_record *rec, const char *name);
/* The device of a block volume. */
void mapped(const struct bench *bench, const struct cleat_record *rec, bool read_only, char *device,
	    size_t room);
/* Waits until exactly that many loop devices are bound to files of the lab: others that look at a device
 * delay its going. */
void expect_loops(const struct bench *bench, int count);
void put_file(const char *dir, const char *name, const char *text);
void expect_file(const char *dir, const char *name, const char *text);
bool has_file(const char *dir, const char *name);

#endif
