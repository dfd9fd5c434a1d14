/* csi_list.c - what CSI adds to the native API when volumes are made and deleted, and whether a page of
 * ListVolumes depends on how many volumes there are.
 *
 * The page is read from the middle of the list, so that finding its place is part of the cost.  The reference
 * driver reads its first page, because it cannot find the place of a later one.
 */
#include "bench.h"

#define ROUNDS 8
#define ROUND_SECONDS 0.3
#define FILL_WORKERS 16
#define PAGE 30
#define REFERENCE_VOLUMES 1000
#define PAGES_PER_SECOND 5000
#define SAME_RATE 0.95 /* "as fast as": what rounds differ by anyway */
#define SAME_COST 1.2

static const uint64_t totals[] = { 10, 1000, 10000 };
#define TOTALS 3

struct lister {
	struct bench_csi_plugin plugin;
	struct bench_daemon daemon;
	uint64_t filled;
	char token[BENCH_TOKEN_BYTES]; /* of the page that is read */
	size_t entries;		       /* of that page */
};

/* ---- volumes ---- */

static enum cleat_code fill_one(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	struct lister *l = arg;
	char name[32], id[CLEAT_ID_MAX_BYTES + 1];

	(void)worker;
	snprintf(name, sizeof(name), "filled-%06llu", (unsigned long long)number);
	return bench_csi_create(l->plugin.client, l->plugin.pool, name, 0, id, err);
}

static enum cleat_code fill(struct lister *l, uint64_t total, struct cleat_error *err)
{
	bench_say("csi: making %llu volumes", (unsigned long long)total);
	l->filled = total;
	return bench_do_all(FILL_WORKERS, total, fill_one, l, err);
}

/* ---- pages ---- */

static enum cleat_code cycle_page(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	const struct lister *l = arg;
	char token[BENCH_TOKEN_BYTES];
	size_t count;

	(void)worker;
	(void)number;
	snprintf(token, sizeof(token), "%s", l->token);
	if (bench_csi_list(l->plugin.client, PAGE, token, &count, err))
		return err->code;
	return count == l->entries ? CLEAT_OK
				   : cleat_error_set(err, CLEAT_INTERNAL, "a page of %zu volumes", count);
}

/* Goes to the middle of the list, unless the first page is all there is. */
static enum cleat_code find_middle(struct lister *l, struct cleat_error *err)
{
	size_t count;

	l->entries = l->filled < PAGE ? (size_t)l->filled : PAGE;
	for (uint64_t i = 0; i < l->filled / PAGE / 2; i++)
		if (bench_csi_list(l->plugin.client, PAGE, l->token, &count, err))
			return err->code;
	return CLEAT_OK;
}

static void print_pages(const struct lister *l, const struct bench_side *ours, const struct bench_side *peer)
{
	struct bench_row row = { .group = "csi",
				 .unit = "/s",
				 .ours = ours->rate,
				 .peer = peer ? peer->rate : -1,
				 .ratio = bench_rate_ratio(ours, peer),
				 .target = BENCH_OURS_AT_LEAST,
				 .limit = PAGES_PER_SECOND };

	snprintf(row.measure, sizeof(row.measure), "CSI: ListVolumes, %zu of %llu, %u at once: pages",
		 l->entries, (unsigned long long)l->filled, ours->workers);
	bench_row(&row);
}

static void print_cost(const struct bench_side *many, const struct bench_side *some)
{
	struct bench_row row = { .group = "csi",
				 .unit = "us",
				 .ours = many->cpu_us,
				 .peer = some->cpu_us,
				 .ratio = bench_cpu_ratio(many, some),
				 .target = BENCH_RATIO_AT_MOST,
				 .limit = SAME_COST };

	snprintf(row.measure, sizeof(row.measure),
		 "CSI: ListVolumes, %d of 10000 (peer: ours, of 1000), %u at once: CPU per page", PAGE,
		 many->workers);
	bench_row(&row);
}

static enum cleat_code compare_pages(const struct bench *b, struct lister *ours, struct lister *reference,
				     unsigned workers, struct cleat_error *err)
{
	const struct bench_plan plan = { ROUNDS, ROUND_SECONDS };
	struct bench_side sides[TOTALS + 1] = { 0 };
	const size_t n = TOTALS + (reference != NULL);

	for (size_t i = 0; i < n; i++) {
		struct lister *l = i < TOTALS ? &ours[i] : reference;
		sides[i] = (struct bench_side){
			.cycle = cycle_page, .arg = l, .workers = workers, .pid = l->plugin.pid
		};
	}
	if (bench_take_turns(b, &plan, sides, n, err))
		return err->code;
	for (size_t i = 0; i < TOTALS; i++)
		print_pages(&ours[i], &sides[i],
			    reference && ours[i].filled == reference->filled ? &sides[TOTALS] : NULL);
	print_cost(&sides[2], &sides[1]);
	return CLEAT_OK;
}

/* ---- making and deleting ---- */

static enum cleat_code cycle_create(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	const struct lister *l = arg;
	char name[64], id[CLEAT_ID_MAX_BYTES + 1];

	snprintf(name, sizeof(name), "csi-%u-%llu", worker, (unsigned long long)number);
	if (bench_csi_create(l->plugin.client, l->plugin.pool, name, 0, id, err))
		return err->code;
	return bench_csi_delete(l->plugin.client, id, err);
}

static enum cleat_code cycle_native(void *arg, unsigned worker, uint64_t number, struct cleat_error *err)
{
	const struct lister *l = arg;
	char name[64], id[CLEAT_ID_MAX_BYTES + 1];

	snprintf(name, sizeof(name), "native-%u-%llu", worker, (unsigned long long)number);
	if (bench_create(l->daemon.client, l->plugin.pool, name, 0, id, err))
		return err->code;
	return bench_delete(l->daemon.client, id, err);
}

static void print_create(const struct bench_side *csi, const struct bench_side *peer, const char *whom)
{
	struct bench_row row = { .group = "csi",
				 .unit = "/s",
				 .ours = csi->rate,
				 .peer = peer->rate,
				 .ratio = bench_rate_ratio(csi, peer),
				 .target = BENCH_RATIO_AT_LEAST,
				 .limit = SAME_RATE };

	if (peer->cycle == cycle_create) /* the reference: nothing synced, so it is told, not judged */
		row.target = BENCH_NO_TARGET;
	snprintf(row.measure, sizeof(row.measure), "CSI: create + delete, dir, %u at once (peer: %s)",
		 csi->workers, whom);
	bench_row(&row);
}

static enum cleat_code compare_create(const struct bench *b, struct lister *ours, struct lister *reference,
				      unsigned workers, struct cleat_error *err)
{
	const struct bench_plan plan = { ROUNDS, ROUND_SECONDS };
	struct bench_side sides[] = {
		{ .cycle = cycle_create, .arg = ours, .workers = workers, .pid = ours->plugin.pid },
		{ .cycle = cycle_native, .arg = ours, .workers = workers, .pid = ours->plugin.pid },
		{ .cycle = cycle_create,
		  .arg = reference,
		  .workers = workers,
		  .pid = reference ? reference->plugin.pid : 0 },
	};

	if (bench_take_turns(b, &plan, sides, 2 + (reference != NULL), err))
		return err->code;
	print_create(&sides[0], &sides[1], "native API");
	if (reference)
		print_create(&sides[0], &sides[2], "reference, unsynced");
	return CLEAT_OK;
}

/* ---- all of it ---- */

static enum cleat_code start(const struct bench *b, struct lister *ours, struct lister *reference,
			     struct cleat_error *err)
{
	if (bench_csi_reference_start(b, &reference->plugin, err))
		return err->code;
	for (size_t i = 0; i < TOTALS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "csi%llu", (unsigned long long)totals[i]);
		if (bench_csi_daemon_start(b, name, "  many: {backend: dir}\n", &ours[i].daemon,
					   &ours[i].plugin, err))
			return err->code;
		ours[i].plugin.pool = "many";
	}
	return CLEAT_OK;
}

/* Creation is compared before the lists are filled: the reference slows down with every volume it has. */
static enum cleat_code measure(const struct bench *b, struct lister *ours, struct lister *reference,
			       struct cleat_error *err)
{
	bench_say("csi: create + delete");
	if (compare_create(b, ours, reference, 1, err) || compare_create(b, ours, reference, 8, err) ||
	    compare_create(b, ours, reference, 64, err))
		return err->code;
	for (size_t i = 0; i < TOTALS; i++)
		if (fill(&ours[i], totals[i], err) || find_middle(&ours[i], err))
			return err->code;
	if (reference && fill(reference, REFERENCE_VOLUMES, err))
		return err->code;
	if (reference)
		reference->entries = PAGE;
	bench_say("csi: ListVolumes");
	return compare_pages(b, ours, reference, 1, err) ? err->code
							 : compare_pages(b, ours, reference, 8, err);
}

enum cleat_code bench_run_csi_list(struct bench *b, struct cleat_error *err)
{
	struct lister ours[TOTALS] = { 0 }, reference = { 0 };
	enum cleat_code code = start(b, ours, &reference, err);

	if (code == CLEAT_OK)
		code = measure(b, ours, b->reference ? &reference : NULL, err);
	for (size_t i = 0; i < TOTALS; i++)
		bench_csi_daemon_stop(b, &ours[i].daemon, &ours[i].plugin);
	bench_csi_reference_stop(b, &reference.plugin);
	return code;
}
