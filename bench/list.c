/* list.c - pages of volumes: what a page costs must not depend on how many volumes there are.
 *
 * The full pages of the list are visited in turn, so that finding the place of a token is part of the cost.
 */
#include "bench.h"

#define ROUNDS 8
#define ROUND_SECONDS 0.4
#define COST_RATIO 1.5 /* a cost that follows the total would be ten times or more; so much are caches */

struct walk {
	struct bench_daemon *daemon;
	unsigned page;
	uint64_t seen; /* pages of this walk through the list */
	char token[BENCH_TOKEN_BYTES];
};

static enum cleat_code next_page(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	struct walk *w = arg;
	size_t count;

	(void)worker;
	(void)number;
	if (bench_list(w->daemon->client, w->page, w->token, &count, NULL, err))
		return err->code;
	if (count != w->page)
		return cleat_error_set(err, CLEAT_INTERNAL, "a page of %zu volumes instead of %u", count,
				       w->page);
	if (++w->seen == w->daemon->filled / w->page) {
		w->seen = 0;
		w->token[0] = '\0';
	}
	return CLEAT_OK;
}

static void print_rows(unsigned page, const struct walk *few, const struct walk *many,
		       const struct bench_side *sides)
{
	struct bench_row row = { .group = "list",
				 .unit = "us",
				 .ours = sides[1].cpu_us,
				 .peer = sides[0].cpu_us,
				 .target = BENCH_RATIO_AT_MOST,
				 .limit = COST_RATIO };

	snprintf(row.measure, sizeof(row.measure), "page of %u, %llu volumes (peer: %llu): server CPU", page,
		 (unsigned long long)many->daemon->filled, (unsigned long long)few->daemon->filled);
	bench_row(&row);
	row.ours = sides[1].p50_us;
	row.peer = sides[0].p50_us;
	row.target = BENCH_NO_TARGET;
	snprintf(row.measure, sizeof(row.measure), "page of %u, %llu volumes (peer: %llu): median", page,
		 (unsigned long long)many->daemon->filled, (unsigned long long)few->daemon->filled);
	bench_row(&row);
}

static enum cleat_code compare(struct bench *b, unsigned page, uint64_t few_count, uint64_t many_count,
			       struct cleat_error *err)
{
	const struct bench_plan plan = { 1, ROUNDS, ROUND_SECONDS };
	struct walk few = { .page = page }, many = { .page = page };

	if (bench_daemon_filled(b, few_count, &few.daemon, err) ||
	    bench_daemon_filled(b, many_count, &many.daemon, err))
		return err->code;
	struct bench_side sides[] = { { .cycle = next_page, .arg = &few, .pid = few.daemon->pid },
				      { .cycle = next_page, .arg = &many, .pid = many.daemon->pid } };
	if (bench_take_turns(b, &plan, sides, 2, err))
		return err->code;
	print_rows(page, &few, &many, sides);
	return CLEAT_OK;
}

enum cleat_code bench_run_list(struct bench *b, struct cleat_error *err)
{
	return compare(b, 30, 100, 10000, err) ? err->code : compare(b, 1000, 1000, 10000, err);
}
