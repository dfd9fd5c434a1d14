/* bucket.h - a token bucket whose rate falls when the far side complains and rises again while it answers;
 * not locked. */
#ifndef CLEAT_HTTP_BUCKET_H
#define CLEAT_HTTP_BUCKET_H

#include <stdint.h>

struct bucket {
	double rate_per_s;	/* now; 0: no limit */
	double full_rate_per_s; /* as configured; 0: no limit */
	double burst;
	double tokens; /* may be negative: calls that wait have taken theirs already */
	int64_t at_ms; /* when tokens was right */
};

void bucket_init(struct bucket *b, double rate_per_s, unsigned burst, int64_t now_ms);
/* Takes one token and tells how long to wait for it. */
int64_t bucket_take(struct bucket *b, int64_t now_ms);
void bucket_slow_down(struct bucket *b, int64_t now_ms);
void bucket_speed_up(struct bucket *b);

#endif
