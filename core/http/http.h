/* http.h - the one HTTP room: calls to the services of storage systems, over TLS, plain TCP or a Unix socket.
 *
 * A client belongs to one far side and keeps its connections.  A call may take long (its own limit bounds it)
 * and holds no lock while it does; as many run at once as threads make them.  Nothing here is logged but
 * method, host, path, status and duration: no header, no body. Waiting for something to become true is not
 * this room's business: see cleat_op_again().
 *
 * Linked into the modules that need it, never into libcleat, so that a node without such pools carries no
 * libcurl.
 */
#ifndef CLEAT_HTTP_HTTP_H
#define CLEAT_HTTP_HTTP_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

struct cleat_http;

/* Zero means the default everywhere; texts are borrowed for the call of cleat_http_new() and copied. */
struct cleat_http_options {
	const char *unix_socket; /* path of a socket to talk through; NULL: as the URL says */
	const char *ca_file;	 /* PEM file of the authorities to believe instead of the system's */
	const char *pinned_key;	 /* "sha256//<base64>" of the far side's public key, checked besides the
				    certificate (CURLOPT_PINNEDPUBLICKEY) */
	bool direct;		 /* never through a proxy that the environment names */
	int64_t connect_ms;	 /* longest time to get a connection; 5 000 */
	int64_t total_ms;	 /* longest time of one attempt, connection and body included; 30 000 */
	size_t max_body_bytes;	 /* of an answer; 8 MiB */
	unsigned tries;		 /* attempts of a call that may be repeated; 3 */
	int64_t retry_first_ms, retry_most_ms; /* pause before the second attempt, doubled each time, with
						  full jitter; 100, 2 000 */
	double rate_per_s;		       /* token bucket: calls a second over time; 0: no bucket */
	unsigned burst;			       /* ... and at once; 10 */
};

enum cleat_code cleat_http_new(const struct cleat_http_options *opts, struct cleat_http **out,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
/* No call may be running.  NULL is fine. */
void cleat_http_free(struct cleat_http *http);
static inline void cleat_http_cleanup(struct cleat_http **http)
{
	cleat_http_free(*http);
}
#define cleat_autohttp __attribute__((cleanup(cleat_http_cleanup)))

/* Signs with AWS Signature Version 4.  libcurl does not sort query parameters, so only calls without a query
 * (POST bodies) are signed right; others are INVALID_ARGUMENT. */
struct cleat_http_sigv4 {
	const char *region, *service; /* "eu-central-1", "ec2" */
	const char *key_id, *secret;
	const char *session_token; /* "" or NULL: none */
};

/* One call; everything is borrowed until it returns. */
struct cleat_http_request {
	const char *method; /* "GET", "POST", "PUT", "DELETE", "HEAD"; NULL: GET, or POST with a body */
	const char *url;    /* http:// or https://; redirects are not followed */
	const char *const *headers; /* NULL-terminated "Name: value", or NULL */
	const char *content_type;   /* of the body */
	const char *body;	    /* NULL: none */
	size_t body_bytes;
	const char *user, *password; /* Basic authentication when user is not NULL; "" is a user, too */
	const char *bearer;	     /* token of "Authorization: Bearer", or NULL */
	const struct cleat_http_sigv4 *sigv4; /* or NULL */
	/* The call may be carried out twice without harm.  Else it is repeated only when it surely did not
	 * arrive, or when the far side said that it did nothing (429, or `busy`). */
	bool idempotent;
	unsigned tries;	       /* instead of the client's; 1: never repeated */
	int64_t total_ms;      /* instead of the client's */
	size_t max_body_bytes; /* instead of the client's */
};

struct cleat_http_answer {
	long status; /* 0 while there is none */
	char content_type[64];
	int64_t retry_after_ms; /* of a Retry-After header; 0 without */
	unsigned attempts;	/* how often the call was made */
	struct cleat_buf body;	/* NUL-terminated text, never longer than the limit */
};
#define CLEAT_HTTP_ANSWER_INIT                                                                               \
	{                                                                                                    \
		0, "", 0, 0,                                                                                 \
		{                                                                                            \
			NULL, 0, 0, 0, false                                                                 \
		}                                                                                            \
	}
void cleat_http_answer_done(struct cleat_http_answer *answer);
#define cleat_autoanswer __attribute__((cleanup(cleat_http_answer_done)))

/* Makes the call.  CLEAT_OK for every complete answer, whatever its status: what 404 means is the caller's
 * business.  Answers 429, 500, 502, 503, 504 are tried again as the request allows, then given as they are.
 * UNAVAILABLE: no connection, or it broke (the text says whether the call may have arrived: "no answer" when
 * so, or the body was cut short); DEADLINE_EXCEEDED: a limit passed; UNAUTHENTICATED: the far side's
 * certificate is not believed; INTERNAL: the body is longer than the limit. */
enum cleat_code cleat_http_call(struct cleat_http *http, const struct cleat_http_request *req,
				struct cleat_http_answer *answer, struct cleat_error *err) CLEAT_MUST_CHECK;

/* The far side says it is asked too often, in a way that only the caller understands: halves the rate of the
 * bucket (of one with rate 0: sets it to five a second).  It recovers by itself with answers that come
 * through. */
void cleat_http_slow_down(struct cleat_http *http);

/* How many attempts were made and how many connections were opened, since cleat_http_new(). */
struct cleat_http_counters {
	uint64_t attempts, connections, throttled;
};
void cleat_http_counters(struct cleat_http *http, struct cleat_http_counters *out);

/* ---- bodies ---- */

/* "key=value&..." of application/x-www-form-urlencoded: appends one pair with everything but unreserved
 * characters escaped (RFC 3986 2.3). */
void cleat_http_form_add(struct cleat_buf *form, const char *key, const char *value);
void cleat_http_form_addf(struct cleat_buf *form, const char *key, const char *fmt, ...) CLEAT_PRINTF(3, 4);
/* Appends text as one segment of a path, escaped. */
void cleat_http_path_add(struct cleat_buf *path, const char *segment);

#endif
