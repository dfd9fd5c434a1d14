/* rt_raw.h - calls with arbitrary bytes, paths and headers, straight through the core: what no decent client
 * does. */
#ifndef CLEAT_TESTS_RT_RAW_H
#define CLEAT_TESTS_RT_RAW_H

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAW_MAX_REPLIES 16

struct raw_bytes {
	const void *p;
	size_t n;
};

struct raw_options {
	const char *authority; /* NULL: the core's own */
	bool gzip;
	bool leave; /* cancel instead of half-closing */
	int fd;	    /* a connected socket to use instead of the target; 0: none; taken over */
};

struct raw_reply {
	int code;
	char text[512];
	char trailer[64]; /* of key x-lab */
	size_t n_replies;
	uint8_t *replies[RAW_MAX_REPLIES]; /* owned */
	size_t reply_bytes[RAW_MAX_REPLIES];
};

/* Sends each message and waits for one reply to each, then half-closes and waits for the status (10 s). */
void raw_call(const char *target, const char *path, const struct raw_bytes *messages, size_t n,
	      const struct raw_options *o, struct raw_reply *reply);
void raw_reply_done(struct raw_reply *reply);

#endif
