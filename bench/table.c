/* table.c - rows of the table, as text with tabs between the fields: run.sh makes a table of them.  See
 * bench.h. */
#include "bench.h"

#include <stdarg.h>

/* Three digits that mean something, whatever the size. */
static void number_text(double value, const char *unit, char *out, size_t room)
{
	const int digits = value >= 100 || value == 0 ? 0 : value >= 10 ? 1 : 2;

	snprintf(out, room, "%.*f%s%s", digits, value, *unit && *unit != '/' ? " " : "", unit);
}

static void target_text(const struct bench_row *row, char *out, size_t room)
{
	static const char *const signs[] = {
		[BENCH_OURS_AT_MOST] = "≤ ",
		[BENCH_OURS_AT_LEAST] = "≥ ",
		[BENCH_RATIO_AT_MOST] = "ratio ≤ ",
		[BENCH_RATIO_AT_LEAST] = "ratio ≥ ",
	};
	const bool of_ratio = row->target == BENCH_RATIO_AT_MOST || row->target == BENCH_RATIO_AT_LEAST;
	char limit[48];

	if (row->target == BENCH_NO_TARGET) {
		snprintf(out, room, "-");
		return;
	}
	number_text(row->limit, of_ratio ? "" : row->unit, limit, sizeof(limit));
	snprintf(out, room, "%s%s", signs[row->target], limit);
}

static double ratio_of(const struct bench_row *row)
{
	return row->peer <= 0 ? -1 : row->ratio != 0 ? row->ratio : row->ours / row->peer;
}

static const char *met_text(const struct bench_row *row)
{
	const double ratio = ratio_of(row);

	switch (row->target) {
	case BENCH_OURS_AT_MOST:
		return row->ours <= row->limit ? "yes" : "NO";
	case BENCH_OURS_AT_LEAST:
		return row->ours >= row->limit ? "yes" : "NO";
	case BENCH_RATIO_AT_MOST:
		return ratio < 0 ? "no peer" : ratio <= row->limit ? "yes" : "NO";
	case BENCH_RATIO_AT_LEAST:
		return ratio < 0 ? "no peer" : ratio >= row->limit ? "yes" : "NO";
	case BENCH_NO_TARGET:
	default:
		return "-";
	}
}

void bench_row(const struct bench_row *row)
{
	char ours[48], peer[48] = "-", ratio[48] = "-", target[64];

	number_text(row->ours, row->unit, ours, sizeof(ours));
	if (row->peer >= 0)
		number_text(row->peer, row->unit, peer, sizeof(peer));
	if (ratio_of(row) >= 0)
		snprintf(ratio, sizeof(ratio), "%.2f", ratio_of(row));
	target_text(row, target, sizeof(target));
	printf("%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row->group, row->measure, ours, peer, ratio, target,
	       met_text(row));
	fflush(stdout);
}

void bench_say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("bench: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
}
