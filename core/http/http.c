/* http.c - calls with libcurl: idle connections kept, time limits, bounded bodies, what is tried again and
 * when. */
#include "http/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "http/bucket.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

#define MAX_IDLE 16 /* handles with their connections; more calls at once make handles of their own */
#define CONNECT_MS 5000
#define TOTAL_MS 30000
#define MAX_BODY_BYTES (8u * 1024 * 1024)
#define TRIES 3
#define RETRY_FIRST_MS 100
#define RETRY_MOST_MS 2000
#define BURST 10
#define RETRY_AFTER_MOST_MS 10000 /* longer pauses are the caller's: it gets the answer as it is */
#define IDLE_CONNECTION_S 50L

struct cleat_http {
	pthread_mutex_t lock; /* guards idle, bucket and counters; never held during a call or a pause */
	CURL *idle[MAX_IDLE];
	size_t idle_count;
	struct bucket bucket;
	struct cleat_http_counters counters;
	/* constant */
	char *unix_socket, *ca_file, *pinned_key;
	bool direct;
	int64_t connect_ms, total_ms, retry_first_ms, retry_most_ms;
	size_t max_body_bytes;
	unsigned tries;
};

/* ---- clients ---- */

static char *copy(const char *text, bool *failed)
{
	char *made = text ? strdup(text) : NULL;

	*failed = *failed || (text && !made);
	return made;
}

static int64_t or_default(int64_t value, int64_t def)
{
	return value > 0 ? value : def;
}

enum cleat_code cleat_http_new(const struct cleat_http_options *opts, struct cleat_http **out,
			       struct cleat_error *err)
{
	cleat_autohttp struct cleat_http *http = calloc(1, sizeof(*http));
	bool failed = !http;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return cleat_error_set(err, CLEAT_INTERNAL, "libcurl cannot be set up");
	if (failed)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	pthread_mutex_init(&http->lock, NULL);
	http->unix_socket = copy(opts->unix_socket, &failed);
	http->ca_file = copy(opts->ca_file, &failed);
	http->pinned_key = copy(opts->pinned_key, &failed);
	if (failed)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	http->direct = opts->direct;
	http->connect_ms = or_default(opts->connect_ms, CONNECT_MS);
	http->total_ms = or_default(opts->total_ms, TOTAL_MS);
	http->retry_first_ms = or_default(opts->retry_first_ms, RETRY_FIRST_MS);
	http->retry_most_ms = or_default(opts->retry_most_ms, RETRY_MOST_MS);
	http->max_body_bytes = opts->max_body_bytes ? opts->max_body_bytes : MAX_BODY_BYTES;
	http->tries = opts->tries ? opts->tries : TRIES;
	bucket_init(&http->bucket, opts->rate_per_s, opts->burst ? opts->burst : BURST, cleat_time_mono_ms());
	*out = cleat_steal(http);
	return CLEAT_OK;
}

void cleat_http_free(struct cleat_http *http)
{
	if (!http)
		return;
	while (http->idle_count)
		curl_easy_cleanup(http->idle[--http->idle_count]);
	pthread_mutex_destroy(&http->lock);
	free(http->unix_socket);
	free(http->ca_file);
	free(http->pinned_key);
	free(http);
}

void cleat_http_answer_done(struct cleat_http_answer *answer)
{
	cleat_buf_done(&answer->body);
}

/* The handle that was used last has the connection that lives longest. */
static CURL *take_handle(struct cleat_http *http)
{
	CURL *curl = NULL;

	pthread_mutex_lock(&http->lock);
	if (http->idle_count)
		curl = http->idle[--http->idle_count];
	pthread_mutex_unlock(&http->lock);
	return curl ? curl : curl_easy_init();
}

static void give_handle(struct cleat_http *http, CURL *curl)
{
	curl_easy_reset(curl); /* keeps its connections, forgets the call and its secrets */
	pthread_mutex_lock(&http->lock);
	const bool keep = http->idle_count < MAX_IDLE;
	if (keep)
		http->idle[http->idle_count++] = curl;
	pthread_mutex_unlock(&http->lock);
	if (!keep)
		curl_easy_cleanup(curl);
}

/* ---- one attempt ---- */

struct attempt {
	struct cleat_http *http;
	const struct cleat_http_request *req;
	struct cleat_http_answer *answer;
	CURL *curl;
	struct curl_slist *headers;
	char error[CURL_ERROR_SIZE];
	bool too_long;
	bool sent; /* the call may have reached the far side */
};

static size_t take_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct attempt *a = arg;

	cleat_buf_add(&a->answer->body, bytes, size * n);
	a->too_long = !cleat_buf_ok(&a->answer->body);
	return a->too_long ? 0 : size * n;
}

static bool is_one_line(const char *text)
{
	return !strpbrk(text, "\r\n");
}

static enum cleat_code add_header(struct attempt *a, const char *name, const char *value,
				  struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf line = CLEAT_BUF_INIT(16384);

	cleat_buf_addf(&line, "%s%s%s", name, *name ? ": " : "", value);
	if (!cleat_buf_ok(&line) || !is_one_line(cleat_buf_text(&line)))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "header '%.64s' is too long or not one line", *name ? name : "");
	struct curl_slist *grown = curl_slist_append(a->headers, cleat_buf_text(&line));
	explicit_bzero(line.data, line.len); /* it may be a token */
	if (!grown)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	a->headers = grown;
	return CLEAT_OK;
}

static enum cleat_code set_headers(struct attempt *a, struct cleat_error *err)
{
	const struct cleat_http_request *req = a->req;
	const struct cleat_http_sigv4 *sig = req->sigv4;

	for (size_t i = 0; req->headers && req->headers[i]; i++)
		if (add_header(a, "", req->headers[i], err))
			return err->code;
	if (req->content_type && add_header(a, "Content-Type", req->content_type, err))
		return err->code;
	if (sig && sig->session_token && *sig->session_token &&
	    add_header(a, "X-Amz-Security-Token", sig->session_token, err))
		return err->code;
	/* Without this libcurl waits a second for "100 Continue" before it sends a longer body.  It would be signed as a header that is never sent, and
	 * bodies that are signed are short. */
	return sig ? CLEAT_OK : add_header(a, "", "Expect:", err);
}

static enum cleat_code set_identity(struct attempt *a, struct cleat_error *err)
{
	const struct cleat_http_request *req = a->req;
	const struct cleat_http_sigv4 *sig = req->sigv4;
	char scope[192];

	if (sig) {
		if (strchr(req->url, '?'))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "a call with a query cannot be signed");
		snprintf(scope, sizeof(scope), "aws:amz:%.64s:%.64s", sig->region, sig->service);
		curl_easy_setopt(a->curl, CURLOPT_AWS_SIGV4, scope);
		curl_easy_setopt(a->curl, CURLOPT_USERNAME, sig->key_id);
		curl_easy_setopt(a->curl, CURLOPT_PASSWORD, sig->secret);
	} else if (req->user) {
		curl_easy_setopt(a->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(a->curl, CURLOPT_USERNAME, req->user);
		curl_easy_setopt(a->curl, CURLOPT_PASSWORD, req->password ? req->password : "");
	} else if (req->bearer) {
		curl_easy_setopt(a->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
		curl_easy_setopt(a->curl, CURLOPT_XOAUTH2_BEARER, req->bearer);
	}
	return CLEAT_OK;
}

static void set_method(struct attempt *a)
{
	const struct cleat_http_request *req = a->req;
	const char *method = req->method ? req->method : req->body ? "POST" : "GET";

	if (req->body) {
		curl_easy_setopt(a->curl, CURLOPT_POST, 1L);
		curl_easy_setopt(a->curl, CURLOPT_POSTFIELDS, req->body);
		curl_easy_setopt(a->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_bytes);
	} else if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(a->curl, CURLOPT_NOBODY, 1L);
	}
	curl_easy_setopt(a->curl, CURLOPT_CUSTOMREQUEST, method);
}

static void set_limits(struct attempt *a)
{
	const struct cleat_http *http = a->http;
	const int64_t total = or_default(a->req->total_ms, http->total_ms);

	curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(a->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(a->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(a->curl, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)(http->connect_ms < total ? http->connect_ms : total));
	curl_easy_setopt(a->curl, CURLOPT_TIMEOUT_MS, (long)total);
	curl_easy_setopt(a->curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(a->curl, CURLOPT_MAXAGE_CONN, IDLE_CONNECTION_S);
	/* A connection that was kept may be closed just now, and libcurl would then send the call a second
	 * time by itself. */
	curl_easy_setopt(a->curl, CURLOPT_FRESH_CONNECT, a->req->idempotent ? 0L : 1L);
}

static void set_far_side(struct attempt *a)
{
	const struct cleat_http *http = a->http;

	curl_easy_setopt(a->curl, CURLOPT_URL, a->req->url);
	if (http->unix_socket)
		curl_easy_setopt(a->curl, CURLOPT_UNIX_SOCKET_PATH, http->unix_socket);
	if (http->direct || http->unix_socket)
		curl_easy_setopt(a->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(a->curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(a->curl, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(a->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (http->ca_file)
		curl_easy_setopt(a->curl, CURLOPT_CAINFO, http->ca_file);
	if (http->pinned_key)
		curl_easy_setopt(a->curl, CURLOPT_PINNEDPUBLICKEY, http->pinned_key);
}

static enum cleat_code set_up(struct attempt *a, struct cleat_error *err)
{
	set_far_side(a);
	set_limits(a);
	set_method(a);
	curl_easy_setopt(a->curl, CURLOPT_USERAGENT, "cleat/" CLEAT_VERSION);
	curl_easy_setopt(a->curl, CURLOPT_ERRORBUFFER, a->error);
	curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, a);
	if (set_headers(a, err) || set_identity(a, err))
		return err->code;
	curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, a->headers);
	return CLEAT_OK;
}

/* "host/path" for people: no scheme, no query. */
static const char *place(const struct cleat_http_request *req, int *n_out)
{
	const char *at = strstr(req->url, "://");

	at = at ? at + 3 : req->url;
	*n_out = (int)strcspn(at, "?#");
	*n_out = *n_out > 200 ? 200 : *n_out;
	return at;
}

static enum cleat_code explain(const struct attempt *a, CURLcode rc, struct cleat_error *err)
{
	const char *text = *a->error ? a->error : curl_easy_strerror(rc);
	enum cleat_code code = CLEAT_UNAVAILABLE;
	int n;
	const char *where = place(a->req, &n);

	if (a->too_long)
		return cleat_error_set(err, CLEAT_INTERNAL, "%.*s: the answer is longer than %zu bytes", n,
				       where, a->answer->body.max_bytes);
	if (rc == CURLE_OPERATION_TIMEDOUT)
		code = CLEAT_DEADLINE_EXCEEDED;
	else if (rc == CURLE_PEER_FAILED_VERIFICATION || rc == CURLE_SSL_PINNEDPUBKEYNOTMATCH ||
		 rc == CURLE_SSL_ISSUER_ERROR)
		code = CLEAT_UNAUTHENTICATED;
	else if (rc == CURLE_URL_MALFORMAT || rc == CURLE_UNSUPPORTED_PROTOCOL)
		code = CLEAT_INVALID_ARGUMENT;
	else if (rc == CURLE_SSL_CACERT_BADFILE)
		code = CLEAT_FAILED_PRECONDITION;
	return cleat_error_set(err, code, "%.*s: %s%s", n, where, a->sent ? "no answer: " : "", text);
}

static void count(struct attempt *a)
{
	long connects = 0, sent_bytes = 0;

	curl_easy_getinfo(a->curl, CURLINFO_NUM_CONNECTS, &connects);
	curl_easy_getinfo(a->curl, CURLINFO_REQUEST_SIZE, &sent_bytes);
	a->sent = sent_bytes > 0;
	pthread_mutex_lock(&a->http->lock);
	a->http->counters.attempts++;
	a->http->counters.connections += (uint64_t)connects;
	pthread_mutex_unlock(&a->http->lock);
}

static void take_answer(struct attempt *a)
{
	struct cleat_http_answer *answer = a->answer;
	const char *type = NULL;
	curl_off_t after = 0;

	curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &answer->status);
	curl_easy_getinfo(a->curl, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(a->curl, CURLINFO_RETRY_AFTER, &after);
	snprintf(answer->content_type, sizeof(answer->content_type), "%s", type ? type : "");
	answer->retry_after_ms = after > 0 && after < 86400 ? (int64_t)after * 1000 : 0;
}

static enum cleat_code perform(struct attempt *a, struct cleat_error *err)
{
	const struct cleat_http_request *req = a->req;
	const int64_t begin = cleat_time_mono_ms();
	int n;

	cleat_buf_clear(&a->answer->body);
	if (set_up(a, err))
		return err->code;
	const CURLcode rc = curl_easy_perform(a->curl);
	count(a);
	if (rc != CURLE_OK)
		explain(a, rc, err);
	else
		take_answer(a);
	const char *where = place(req, &n);
	cleat_debug("http %s %.*s: %s%ld in %lld ms",
		    req->method ? req->method
		    : req->body ? "POST"
				: "GET",
		    n, where, rc ? "failed " : "", rc ? (long)rc : a->answer->status,
		    (long long)(cleat_time_mono_ms() - begin));
	return rc != CURLE_OK ? err->code : CLEAT_OK;
}

static enum cleat_code attempt(struct cleat_http *http, const struct cleat_http_request *req,
			       struct cleat_http_answer *answer, bool *sent_out, struct cleat_error *err)
{
	struct attempt a = { .http = http, .req = req, .answer = answer, .curl = take_handle(http) };

	*sent_out = false;
	if (!a.curl)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	enum cleat_code code = perform(&a, err);
	give_handle(http, a.curl);
	curl_slist_free_all(a.headers);
	*sent_out = a.sent;
	return code;
}

/* ---- trying again ---- */

static void nap(int64_t ms)
{
	const struct timespec t = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	if (ms > 0)
		nanosleep(&t, NULL);
}

/* Full jitter: anything between nothing and the doubled pause, so that many nodes do not come back together.
 */
static int64_t pause_before(const struct cleat_http *http, unsigned attempt_number)
{
	uint32_t dice = 0;
	int64_t most = http->retry_first_ms;

	for (unsigned i = 1; i < attempt_number && most < http->retry_most_ms; i++)
		most *= 2;
	if (most > http->retry_most_ms)
		most = http->retry_most_ms;
	if (getrandom(&dice, sizeof(dice), 0) != sizeof(dice))
		dice = (uint32_t)cleat_time_wall_ms();
	return (int64_t)(dice % (uint64_t)(most + 1));
}

static bool asks_again(const struct cleat_http_answer *answer)
{
	return answer->status == 429 || answer->status == 500 || answer->status == 502 ||
	       answer->status == 503 || answer->status == 504;
}

/* Whether what happened may be tried again: it did not arrive, or twice does no harm. */
static bool may_repeat(const struct cleat_http_request *req, enum cleat_code code,
		       const struct cleat_http_answer *answer, bool sent)
{
	if (code == CLEAT_OK)
		return asks_again(answer) && (req->idempotent || answer->status == 429) &&
		       answer->retry_after_ms <= RETRY_AFTER_MOST_MS;
	return (code == CLEAT_UNAVAILABLE || code == CLEAT_DEADLINE_EXCEEDED) && (req->idempotent || !sent);
}

static void wait_for_token(struct cleat_http *http)
{
	pthread_mutex_lock(&http->lock);
	const int64_t ms = bucket_take(&http->bucket, cleat_time_mono_ms());
	pthread_mutex_unlock(&http->lock);
	nap(ms);
}

static void note_answer(struct cleat_http *http, const struct cleat_http_answer *answer)
{
	if (answer->status == 429) {
		cleat_http_slow_down(http);
	} else if (answer->status && answer->status < 500) {
		pthread_mutex_lock(&http->lock);
		bucket_speed_up(&http->bucket);
		pthread_mutex_unlock(&http->lock);
	}
}

enum cleat_code cleat_http_call(struct cleat_http *http, const struct cleat_http_request *req,
				struct cleat_http_answer *answer, struct cleat_error *err)
{
	const unsigned tries = req->tries ? req->tries : http->tries;
	struct cleat_error own = CLEAT_ERROR_INIT;
	enum cleat_code code;

	answer->body.max_bytes = req->max_body_bytes ? req->max_body_bytes : http->max_body_bytes;
	for (answer->attempts = 1;; answer->attempts++) {
		bool sent = false;
		answer->status = 0;
		answer->retry_after_ms = 0;
		own = (struct cleat_error)CLEAT_ERROR_INIT;
		wait_for_token(http);
		code = attempt(http, req, answer, &sent, &own);
		if (code == CLEAT_OK)
			note_answer(http, answer);
		if (answer->attempts >= tries || !may_repeat(req, code, answer, sent))
			break;
		const int64_t pause = pause_before(http, answer->attempts);
		nap(pause > answer->retry_after_ms ? pause : answer->retry_after_ms);
	}
	if (code && err)
		*err = own;
	return code;
}

void cleat_http_slow_down(struct cleat_http *http)
{
	pthread_mutex_lock(&http->lock);
	bucket_slow_down(&http->bucket, cleat_time_mono_ms());
	http->counters.throttled++;
	pthread_mutex_unlock(&http->lock);
}

void cleat_http_counters(struct cleat_http *http, struct cleat_http_counters *out)
{
	pthread_mutex_lock(&http->lock);
	*out = http->counters;
	pthread_mutex_unlock(&http->lock);
}
