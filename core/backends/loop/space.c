/* space.c - how much the pool can still promise, and making promises good. */
#include "backends/loop/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/file.h"
#include "sys/fsctl.h"
#include "sys/list.h"
#include "util/mem.h"
#include "util/size.h"

/* ext4 with blocks of 4096 bytes cannot hold a larger file. */
#define EXT4_FILE_MAX_BYTES (16 * LOOP_TIB - LOOP_BLOCK_BYTES)

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

uint64_t loop_allocated(const struct loop_pool *pool, const char *key)
{
	char path[CLEAT_KEY_MAX_BYTES + sizeof("/" LOOP_IMAGE)];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", key, LOOP_IMAGE);
	if (fstatat(pool->dir.volumes_fd, path, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return 0;
	return (uint64_t)st.st_blocks * 512;
}

/* Blocks that the pool file has from the disk but does not use now, because what was deleted inside has not
 * been given back yet, count as free: the next image inside takes them first. */
static enum cleat_code file_room(const struct loop_pool *pool, struct loop_room *room,
				 struct cleat_error *err)
{
	struct cleat_sys_space inner;
	struct stat st;
	enum cleat_code code = cleat_sys_space(pool->data_fd, pool->mount_path, &inner, err);

	if (code)
		return code;
	if (fstat(pool->file_fd, &st))
		return cleat_error_set(err, CLEAT_INTERNAL, "look at the pool file of '%s'", pool->name);
	uint64_t size = (uint64_t)st.st_size;
	uint64_t idle = less((uint64_t)st.st_blocks * 512, less(size, inner.free_bytes));
	room->free_bytes += idle;
	room->used_bytes = less(room->used_bytes, idle);
	if (room->free_bytes > inner.available_bytes)
		room->free_bytes = inner.available_bytes;
	if (room->total_bytes > size)
		room->total_bytes = size;
	return CLEAT_OK;
}

enum cleat_code loop_room(const struct loop_pool *pool, struct loop_room *out, struct cleat_error *err)
{
	struct cleat_sys_space host;
	enum cleat_code code = cleat_sys_space(pool->dir.root_fd, pool->dir.path, &host, err);

	if (code)
		return code;
	struct loop_room room = { host.total_bytes, host.available_bytes,
				  less(host.total_bytes, host.free_bytes) };
	if (pool->file_fd >= 0)
		code = file_room(pool, &room, err);
	if (!code)
		*out = room;
	return code;
}

/* ---- promises ---- */

static bool put_record(struct cleat_record *rec, const char *broken, void *arg)
{
	struct loop_pool *pool = arg;

	return broken || loop_book_put(&pool->book, rec, NULL) == CLEAT_OK;
}

/* The engine scans after opening; who asks earlier pays for a scan here. */
static enum cleat_code complete_book(struct loop_pool *pool, struct cleat_error *err)
{
	pthread_mutex_lock(&pool->book.lock);
	bool complete = pool->book.complete;
	pthread_mutex_unlock(&pool->book.lock);
	if (complete)
		return CLEAT_OK;
	enum cleat_code code = cleat_pooldir_scan(&pool->dir, put_record, pool, err);
	if (code)
		return code;
	pthread_mutex_lock(&pool->book.lock);
	pool->book.complete = true;
	pthread_mutex_unlock(&pool->book.lock);
	return CLEAT_OK;
}

/* What existing images may still allocate. */
static uint64_t outstanding(const struct loop_pool *pool, const struct loop_promises *all)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < all->count; i++) {
		const struct loop_promise *p = &all->list[i];
		sum += p->shared ? p->bytes : less(p->bytes, loop_allocated(pool, p->key));
	}
	return sum;
}

/* overcommit times what is free: all that may be promised beyond what images have already. */
static uint64_t budget(const struct loop_pool *pool, const struct loop_room *room)
{
	double bytes = (double)room->free_bytes * pool->overcommit;

	return bytes >= 0x1p62 ? UINT64_C(1) << 62 : (uint64_t)bytes;
}

/* Takes `bytes` if they fit below `limit` together with what was promised and reserved since `seen`. */
static bool try_reserve(struct loop_book *book, uint64_t bytes, uint64_t limit, uint64_t seen)
{
	pthread_mutex_lock(&book->lock);
	uint64_t since = less(book->promised_bytes + book->reserved_bytes, seen);
	bool fits = bytes <= limit && since <= limit - bytes;
	if (fits)
		book->reserved_bytes += bytes;
	pthread_mutex_unlock(&book->lock);
	return fits;
}

static enum cleat_code refuse(const struct loop_pool *pool, const char *name, uint64_t bytes, uint64_t limit,
			      struct cleat_error *err)
{
	char wanted[CLEAT_SIZE_TEXT_BYTES], left[CLEAT_SIZE_TEXT_BYTES];

	return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED,
			       "'%s' needs %s, but pool '%s' has only %s left to promise (overcommit %g)",
			       name, cleat_size_format(bytes, wanted), pool->name,
			       cleat_size_format(limit, left), pool->overcommit);
}

enum cleat_code loop_admit(struct loop_pool *pool, const char *name, uint64_t bytes, struct cleat_error *err)
{
	struct loop_room room;
	struct loop_promises all = { NULL, 0, 0, 0 };
	enum cleat_code code = complete_book(pool, err);

	if (!code)
		code = loop_room(pool, &room, err);
	if (code)
		return code;
	uint64_t whole = budget(pool, &room);
	/* If it fits although nothing were written anywhere yet, there is no need to look at every image. */
	if (try_reserve(&pool->book, bytes, whole, 0))
		return CLEAT_OK;
	code = loop_book_promises(&pool->book, &all, err);
	if (code)
		return code;
	uint64_t limit = less(whole, outstanding(pool, &all) + all.reserved_bytes);
	free(all.list);
	if (try_reserve(&pool->book, bytes, limit, all.promised_bytes + all.reserved_bytes))
		return CLEAT_OK;
	return refuse(pool, name, bytes, limit, err);
}

void loop_release(struct loop_pool *pool, uint64_t bytes)
{
	pthread_mutex_lock(&pool->book.lock);
	pool->book.reserved_bytes -= bytes;
	pthread_mutex_unlock(&pool->book.lock);
}

enum cleat_code loop_space(void *arg, struct cleat_pool_space *out, struct cleat_error *err)
{
	struct loop_pool *pool = arg;
	struct loop_room room;
	struct loop_promises all = { NULL, 0, 0, 0 };
	const struct cleat_fs *fs = cleat_fs_find(pool->fs);
	enum cleat_code code = complete_book(pool, err);

	if (!code)
		code = loop_room(pool, &room, err);
	if (!code)
		code = loop_book_promises(&pool->book, &all, err);
	if (code)
		return code;
	uint64_t left = less(budget(pool, &room), outstanding(pool, &all) + all.reserved_bytes);
	free(all.list);
	uint64_t most = strcmp(cleat_sys_fs_name(pool->data_fd), "ext4") == 0 ? EXT4_FILE_MAX_BYTES : 0;
	left -= left % LOOP_BLOCK_BYTES;
	*out = (struct cleat_pool_space){
		.total_bytes = room.total_bytes,
		.available_bytes = most && left > most ? most : left,
		.used_bytes = room.used_bytes,
		.promised_bytes = all.promised_bytes,
		.max_volume_bytes = most,
		.min_volume_bytes = fs ? fs->min_bytes : LOOP_BLOCK_BYTES,
		.low = (double)room.free_bytes < (double)room.total_bytes * (double)pool->low_percent / 100,
	};
	return CLEAT_OK;
}

/* ---- thick volumes ---- */

struct backing {
	const struct loop_pool *pool;
	const char *name;
	struct cleat_error *err;
	enum cleat_code code;
};

static bool back_extent(uint64_t physical, uint64_t bytes, void *arg)
{
	struct backing *b = arg;

	b->code = cleat_sys_allocate_range(b->pool->file_fd, physical, bytes, b->name, b->err);
	return b->code == CLEAT_OK;
}

/* Inside a pool file it is not enough to reserve the image's blocks in the XFS there: those are places in a
 * sparse file, and are reserved in turn on the file system that the pool file lies on. */
enum cleat_code loop_reserve_blocks(const struct loop_pool *pool, int image_fd, uint64_t bytes,
				    const char *name, struct cleat_error *err)
{
	struct backing b = { pool, name, err, CLEAT_OK };
	enum cleat_code code = cleat_sys_allocate(image_fd, bytes, name, err);

	if (code || pool->file_fd < 0)
		return code;
	code = cleat_sys_extents(image_fd, name, back_extent, &b, err);
	return code ? code : b.code;
}
