/* list.c - pages of volumes: what a page costs must not depend on how many volumes there are.
 *
 * The judged row reads one page from the middle of the list again and again, so that finding its place is
 * part of the cost and the processor's caches are as warm with many volumes as with few.  The other row walks
 * through all full pages: there the records of ten thousand volumes come from memory, those of few from the
 * caches.
 */
#include "bench.h"

#define ROUNDS 8
#define ROUND_SECONDS 0.3
#define COST_RATIO 1.2 /* rounds differ by that much anyway */

struct reader {
	struct bench_daemon *daemon;
	unsigned page;
	bool walks;		       /* through the whole list */
	uint64_t seen;		       /* pages of this walk */
	char token[BENCH_TOKEN_BYTES]; /* of the next page */
};

static enum cleat_code read_page(struct reader *r, char token[BENCH_TOKEN_BYTES], struct cleat_error *err)
{
	size_t count;

	if (bench_list(r->daemon->client, r->page, token, &count, NULL, err))
		return err->code;
	if (count != r->page)
		return cleat_error_set(err, CLEAT_INTERNAL, "a page of %zu volumes instead of %u", count,
				       r->page);
	return CLEAT_OK;
}

static enum cleat_code walk_on(struct reader *r, struct cleat_error *err)
{
	if (read_page(r, r->token, err))
		return err->code;
	if (++r->seen == r->daemon->filled / r->page) {
		r->seen = 0;
		r->token[0] = '\0';
	}
	return CLEAT_OK;
}

static enum cleat_code cycle(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	struct reader *r = arg;
	char token[BENCH_TOKEN_BYTES];

	(void)worker;
	(void)number;
	if (r->walks)
		return walk_on(r, err);
	snprintf(token, sizeof(token), "%s", r->token);
	return read_page(r, token, err);
}

/* Goes to the middle of the list. */
static enum cleat_code prepare(struct bench *b, struct reader *r, uint64_t total, struct cleat_error *err)
{
	if (bench_daemon_filled(b, total, &r->daemon, err))
		return err->code;
	for (uint64_t i = 0; !r->walks && i < total / r->page / 2; i++)
		if (read_page(r, r->token, err))
			return err->code;
	return CLEAT_OK;
}

static void print_row(const struct reader *few, const struct reader *many, const struct bench_side *sides)
{
	struct bench_row row = { .group = "list",
				 .unit = "us",
				 .ours = sides[1].cpu_us,
				 .peer = sides[0].cpu_us,
				 .ratio = bench_cpu_ratio(&sides[1], &sides[0]),
				 .target = many->walks ? BENCH_NO_TARGET : BENCH_RATIO_AT_MOST,
				 .limit = COST_RATIO };

	snprintf(row.measure, sizeof(row.measure), "page of %u, %s, %llu volumes (peer: %llu): server CPU",
		 many->page, many->walks ? "all in turn" : "from the middle",
		 (unsigned long long)many->daemon->filled, (unsigned long long)few->daemon->filled);
	bench_row(&row);
}

static enum cleat_code compare(struct bench *b, unsigned page, bool walks, uint64_t few_count,
			       uint64_t many_count, struct cleat_error *err)
{
	const struct bench_plan plan = { ROUNDS, ROUND_SECONDS };
	struct reader few = { .page = page, .walks = walks }, many = few;

	if (prepare(b, &few, few_count, err) || prepare(b, &many, many_count, err))
		return err->code;
	struct bench_side sides[] = {
		{ .cycle = cycle, .arg = &few, .workers = 1, .pid = few.daemon->pid },
		{ .cycle = cycle, .arg = &many, .workers = 1, .pid = many.daemon->pid }
	};
	if (bench_take_turns(b, &plan, sides, 2, err))
		return err->code;
	print_row(&few, &many, sides);
	return CLEAT_OK;
}

enum cleat_code bench_run_list(struct bench *b, struct cleat_error *err)
{
	for (int walks = 0; walks < 2; walks++)
		if (compare(b, 30, walks, 100, 10000, err) || compare(b, 1000, walks, 1000, 10000, err))
			return err->code;
	return CLEAT_OK;
}
