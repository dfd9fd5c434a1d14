/* bucket.c - see bucket.h. */
#include "http/bucket.h"

#define SLOW_RATE 5.0 /* a second: where one without a limit begins when it is told to slow down */
#define LEAST_RATE 0.2
#define FREE_RATE 50.0 /* one without a limit has none again from here on */

void bucket_init(struct bucket *b, double rate_per_s, unsigned burst, int64_t now_ms)
{
	*b = (struct bucket){ .rate_per_s = rate_per_s,
			      .full_rate_per_s = rate_per_s,
			      .burst = burst ? burst : 1,
			      .tokens = burst ? burst : 1,
			      .at_ms = now_ms };
}

static void refill(struct bucket *b, int64_t now_ms)
{
	b->tokens += (double)(now_ms - b->at_ms) / 1000.0 * b->rate_per_s;
	if (b->tokens > b->burst)
		b->tokens = b->burst;
	b->at_ms = now_ms;
}

int64_t bucket_take(struct bucket *b, int64_t now_ms)
{
	if (b->rate_per_s <= 0)
		return 0;
	refill(b, now_ms);
	b->tokens -= 1;
	return b->tokens >= 0 ? 0 : (int64_t)(-b->tokens / b->rate_per_s * 1000.0) + 1;
}

void bucket_slow_down(struct bucket *b, int64_t now_ms)
{
	if (b->rate_per_s <= 0) {
		b->rate_per_s = SLOW_RATE;
		b->at_ms = now_ms;
	} else {
		refill(b, now_ms);
		b->rate_per_s = b->rate_per_s / 2 > LEAST_RATE ? b->rate_per_s / 2 : LEAST_RATE;
	}
	if (b->tokens > 0)
		b->tokens = 0;
}

void bucket_speed_up(struct bucket *b)
{
	if (b->rate_per_s <= 0 || b->rate_per_s == b->full_rate_per_s)
		return;
	b->rate_per_s *= 1.1;
	if (b->full_rate_per_s > 0 ? b->rate_per_s >= b->full_rate_per_s : b->rate_per_s >= FREE_RATE)
		b->rate_per_s = b->full_rate_per_s;
}
