/* remote_remote_test.c - what backends of far sides share: records in pieces, waiting without a thread, disks
 * found in sysfs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remote/disk.h"
#include "remote/pending.h"
#include "remote/pieces.h"
#include "util/kv.h"
#include "util/mem.h"

static struct cleat_record *record(const char *label)
{
	struct cleat_record *rec = cleat_record_new(CLEAT_KIND_VOLUME);

	assert_non_null(rec);
	rec->format = CLEAT_RECORD_FORMAT;
	rec->access_type = CLEAT_ACCESS_MOUNT;
	rec->capacity_bytes = 1 << 30;
	assert_int_equal(cleat_record_set(&rec->key, "vol-1", NULL), CLEAT_OK);
	assert_int_equal(cleat_record_set(&rec->name, "db", NULL), CLEAT_OK);
	assert_int_equal(cleat_kv_set(&rec->labels, "text", label, NULL), CLEAT_OK);
	return rec;
}

static void test_pieces__come_together_again(void **state)
{
	cleat_autofree struct cleat_pieces *p = malloc(sizeof(*p));
	const char *texts[CLEAT_PIECES_MAX];
	struct cleat_error err = CLEAT_ERROR_INIT;
	char label[3001];

	(void)state;
	/* Characters of two bytes, and blanks, at every place where a piece may end. */
	for (size_t shift = 0; shift < 4; shift++) {
		size_t n = 0;
		while (n < shift)
			label[n++] = 'x';
		while (n < 2990) {
			memcpy(label + n, "\xc3\xa9\xc3\xa9 ", 5);
			n += 5;
		}
		label[n] = '\0';
		cleat_autorecord struct cleat_record *rec = record(label), *back = NULL;
		assert_int_equal(cleat_pieces_make(rec, p, &err), CLEAT_OK);
		assert_int_equal(cleat_pieces_count(p->head), p->count);
		for (size_t i = 0; i < p->count; i++) {
			texts[i] = p->text[i];
			assert_true(strlen(texts[i]) <= CLEAT_PIECE_BYTES);
			assert_true(texts[i][0] != ' ' && texts[i][strlen(texts[i]) - 1] != ' ');
			assert_true(((unsigned char)texts[i][0] & 0xc0) != 0x80); /* no character is cut */
		}
		assert_int_equal(cleat_pieces_join(p->head, texts, &back, &err), CLEAT_OK);
		assert_string_equal(cleat_kv_get(&back->labels, "text"), label);
	}
}

static void test_pieces__of_blanks_alone_are_whole_too(void **state)
{
	cleat_autofree struct cleat_pieces *p = malloc(sizeof(*p));
	const char *texts[CLEAT_PIECES_MAX];
	struct cleat_error err = CLEAT_ERROR_INIT;
	char label[2001];

	(void)state;
	memset(label, ' ', 2000);
	label[2000] = '\0';
	cleat_autorecord struct cleat_record *rec = record(label), *back = NULL;
	assert_int_equal(cleat_pieces_make(rec, p, &err), CLEAT_OK);
	assert_true(p->count <= 12);
	for (size_t i = 0; i < p->count; i++)
		texts[i] = p->text[i];
	assert_int_equal(cleat_pieces_join(p->head, texts, &back, &err), CLEAT_OK);
	assert_string_equal(cleat_kv_get(&back->labels, "text"), label);
}

static void test_pieces__of_two_moments_are_noticed(void **state)
{
	cleat_autofree struct cleat_pieces *p = malloc(sizeof(*p)), *q = malloc(sizeof(*q));
	cleat_autorecord struct cleat_record *before = record("before"), *after = record("after!"),
					     *back = NULL;
	const char *texts[CLEAT_PIECES_MAX] = { NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;

	(void)state;
	assert_int_equal(cleat_pieces_make(before, p, &err), CLEAT_OK);
	assert_int_equal(cleat_pieces_make(after, q, &err), CLEAT_OK);
	texts[0] = p->text[0];
	assert_int_equal(cleat_pieces_join(q->head, texts, &back, &err), CLEAT_ABORTED);
	assert_true(err.retry);
	texts[0] = NULL;
	assert_int_equal(cleat_pieces_join(p->head, texts, &back, &err), CLEAT_ABORTED);
	assert_null(back);
	static const char *const bad[] = { "", "1:", "1:0:x", "2:1:0", "1:99:0", "1:-1:0", "1:1" };
	for (size_t i = 0; i < CLEAT_COUNT(bad); i++) {
		assert_int_equal(cleat_pieces_count(bad[i]), 0);
		assert_int_equal(cleat_pieces_join(bad[i], texts, &back, &err), CLEAT_DATA_LOSS);
	}
}

static void test_pieces__too_many_are_refused(void **state)
{
	cleat_autofree struct cleat_pieces *p = malloc(sizeof(*p));
	struct cleat_error err = CLEAT_ERROR_INIT;
	char label[4097], key[16];

	(void)state;
	memset(label, 'x', 4096);
	label[4096] = '\0';
	cleat_autorecord struct cleat_record *rec = record(label);
	for (int i = 0; i < 2; i++) {
		snprintf(key, sizeof(key), "more%d", i);
		assert_int_equal(cleat_kv_set(&rec->labels, key, label, &err), CLEAT_OK);
	}
	assert_int_equal(cleat_pieces_make(rec, p, &err), CLEAT_INVALID_ARGUMENT);
}

static void test_pending__pauses_grow_and_end(void **state)
{
	const struct cleat_pending_rule rule = { 10, 40, 100, 200 };
	struct cleat_pending p;
	struct cleat_error err = CLEAT_ERROR_INIT;
	char note[CLEAT_PENDING_NOTE_BYTES];

	(void)state;
	cleat_pending_init(&p);
	assert_int_equal(cleat_pending_age_ms(&p, "k"), 0);
	assert_false(cleat_pending_note(&p, "k", note));
	static const char *const pauses[] = { " 10 ms", " 20 ms", " 40 ms", " 40 ms" };
	for (size_t i = 0; i < CLEAT_COUNT(pauses); i++) {
		assert_int_equal(cleat_pending_wait(&p, NULL, "k", "wait", &rule, &err), CLEAT_ABORTED);
		assert_non_null(strstr(err.msg, pauses[i]));
	}
	assert_int_equal(cleat_pending_put_note(&p, "k", "vol-7", &err), CLEAT_OK);
	assert_true(cleat_pending_note(&p, "k", note));
	assert_string_equal(note, "vol-7");
	assert_true(cleat_pending_age_ms(&p, "k") > 0);
	usleep(110000);
	assert_int_equal(cleat_pending_wait(&p, NULL, "k", "wait", &rule, &err), CLEAT_DEADLINE_EXCEEDED);
	assert_non_null(strstr(err.msg, "wait: not done after 0.1 s"));
	assert_int_equal(cleat_pending_wait(&p, NULL, "k", "wait", &rule, &err),
			 CLEAT_ABORTED); /* begins anew */
	cleat_pending_done(&p, "k");
	assert_int_equal(cleat_pending_age_ms(&p, "k"), 0);
	for (int i = 0; i < 5000; i++) { /* bounded */
		char key[16];
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(cleat_pending_put_note(&p, key, "n", &err), CLEAT_OK);
	}
	assert_true(p.count <= 4096);
	assert_true(cleat_pending_note(&p, "k4999", note));
	cleat_pending_free(&p);
}

/* ---- disks ---- */

static char top[64];

static void put(const char *path, const char *text)
{
	char full[256];

	snprintf(full, sizeof(full), "%s/%s", top, path);
	for (char *slash = full + strlen(top) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	FILE *f = fopen(full, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_disk__is_found_by_serial_name_and_link(void **state)
{
	char sys[80], dev[80], link[128], command[160];
	struct cleat_disk disk;
	struct cleat_error err = CLEAT_ERROR_INIT;
	bool found = false;

	(void)state;
	snprintf(top, sizeof(top), "/tmp/cleat-disk.XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(sys, sizeof(sys), "%s/sys", top);
	snprintf(dev, sizeof(dev), "%s/dev", top);
	const struct cleat_disk_roots roots = { sys, dev };
	assert_int_equal(cleat_disk_find(&roots, CLEAT_DISK_SERIAL, "vol1", &disk, &found, &err),
			 CLEAT_NOT_FOUND);
	put("sys/block/nvme1n1/dev", "259:7\n");
	put("sys/block/nvme1n1/size", "2048\n");
	put("sys/block/nvme1n1/device/serial", "vol0123   \n");
	put("sys/block/xvdba/dev", "202:13312\n");
	put("sys/block/broken/dev", "not a number\n");
	put("dev/disk/by-id/.keep", "");
	snprintf(link, sizeof(link), "%s/dev/disk/by-id/emc-vol-1-2", top);
	assert_int_equal(symlink("../../xvdba", link), 0);
	assert_int_equal(cleat_disk_find(&roots, CLEAT_DISK_SERIAL, "vol0123", &disk, &found, &err),
			 CLEAT_OK);
	assert_true(found && disk.bytes == 1048576);
	assert_string_equal(disk.name, "nvme1n1");
	assert_string_equal(disk.path, ""); /* no node yet */
	assert_int_equal(cleat_disk_find(&roots, CLEAT_DISK_SERIAL, "vol0124", &disk, &found, &err),
			 CLEAT_OK);
	assert_false(found);
	assert_int_equal(cleat_disk_find(&roots, CLEAT_DISK_LINK, "emc-vol-1-2", &disk, &found, &err),
			 CLEAT_OK);
	assert_true(found);
	assert_string_equal(disk.name, "xvdba");
	assert_int_equal(cleat_disk_find(&roots, CLEAT_DISK_LINK, "../xvdba", &disk, &found, &err), CLEAT_OK);
	assert_false(found);
	assert_int_equal(cleat_disk_find(&roots, CLEAT_DISK_NAME, "../block/xvdba", &disk, &found, &err),
			 CLEAT_OK);
	assert_false(found);
	assert_int_equal(cleat_disk_find(&roots, CLEAT_DISK_NAME, "broken", &disk, &found, &err), CLEAT_OK);
	assert_false(found);
	/* A node of another number is another disk's. */
	snprintf(command, sizeof(command), "%s/dev/nvme1n1", top);
	put("dev/nvme1n1", "");
	assert_int_equal(cleat_disk_find(&roots, CLEAT_DISK_SERIAL, "vol0123", &disk, &found, &err),
			 CLEAT_OK);
	assert_true(found && !disk.path[0]);
	unlink(command);
	if (geteuid() == 0 && mknod(command, S_IFBLK | 0600, (259 << 8) | 7) == 0) {
		assert_int_equal(cleat_disk_find(&roots, CLEAT_DISK_SERIAL, "vol0123", &disk, &found, &err),
				 CLEAT_OK);
		assert_string_equal(disk.path, command);
	}
	snprintf(command, sizeof(command), "rm -rf --one-file-system '%s'", top);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces__come_together_again),
		cmocka_unit_test(test_pieces__of_blanks_alone_are_whole_too),
		cmocka_unit_test(test_pieces__of_two_moments_are_noticed),
		cmocka_unit_test(test_pieces__too_many_are_refused),
		cmocka_unit_test(test_pending__pauses_grow_and_end),
		cmocka_unit_test(test_disk__is_found_by_serial_name_and_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
