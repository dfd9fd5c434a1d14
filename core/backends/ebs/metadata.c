/* metadata.c - the instance's metadata service, version 2 only: a token is asked for first and shown with
 * every question. */
#include "backends/ebs/ebs.h"

#include <stdio.h>
#include <string.h>

#include "util/clock.h"

#define TOKEN_SECONDS 21600
#define MAX_BYTES 16384

struct ebs_metadata {
	struct cleat_http *http;
	char *endpoint;
	pthread_mutex_t lock; /* guards the token; not held during calls */
	char token[256];
	int64_t token_until_ms; /* monotonic */
};

enum cleat_code ebs_metadata_new(const char *endpoint, struct ebs_metadata **out, struct cleat_error *err)
{
	const struct cleat_http_options opts = {
		.connect_ms = 1000, .total_ms = 3000, .max_body_bytes = MAX_BYTES, .direct = true
	};
	struct ebs_metadata *m = calloc(1, sizeof(*m));

	if (!m || !(m->endpoint = strdup(endpoint)) || cleat_http_new(&opts, &m->http, err)) {
		if (m)
			free(m->endpoint);
		free(m);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	pthread_mutex_init(&m->lock, NULL);
	*out = m;
	return CLEAT_OK;
}

void ebs_metadata_free(struct ebs_metadata *m)
{
	if (!m)
		return;
	cleat_http_free(m->http);
	pthread_mutex_destroy(&m->lock);
	explicit_bzero(m->token, sizeof(m->token));
	free(m->endpoint);
	free(m);
}

static enum cleat_code not_there(struct cleat_error *err)
{
	return cleat_error_wrap(err, "metadata service of this instance");
}

static enum cleat_code fetch_token(struct ebs_metadata *m, char token[256], struct cleat_error *err)
{
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	const char *const headers[] = { "X-aws-ec2-metadata-token-ttl-seconds: 21600", NULL };
	char url[256];

	snprintf(url, sizeof(url), "%.200s/latest/api/token", m->endpoint);
	const struct cleat_http_request req = {
		.method = "PUT", .url = url, .headers = headers, .body = "", .idempotent = true
	};
	if (cleat_http_call(m->http, &req, &answer, err))
		return not_there(err);
	const char *text = cleat_buf_text(&answer.body);
	if (answer.status != 200 || !*text || strlen(text) > 255 || strpbrk(text, "\r\n"))
		return cleat_error_set(err, CLEAT_UNAVAILABLE,
				       "metadata service of this instance: no token (status %ld)",
				       answer.status);
	snprintf(token, 256, "%s", text);
	pthread_mutex_lock(&m->lock);
	memcpy(m->token, token, sizeof(m->token));
	m->token_until_ms = cleat_time_mono_ms() + (TOKEN_SECONDS - 300) * 1000LL;
	pthread_mutex_unlock(&m->lock);
	return CLEAT_OK;
}

static enum cleat_code get_token(struct ebs_metadata *m, char token[256], struct cleat_error *err)
{
	pthread_mutex_lock(&m->lock);
	const bool good = m->token[0] && cleat_time_mono_ms() < m->token_until_ms;
	memcpy(token, m->token, sizeof(m->token));
	pthread_mutex_unlock(&m->lock);
	return good ? CLEAT_OK : fetch_token(m, token, err);
}

static enum cleat_code ask(struct ebs_metadata *m, const char *path, const char *token,
			   struct cleat_http_answer *answer, struct cleat_error *err)
{
	char url[512], header[320];
	const char *const headers[] = { header, NULL };

	snprintf(url, sizeof(url), "%.200s/latest/%.250s", m->endpoint, path);
	snprintf(header, sizeof(header), "X-aws-ec2-metadata-token: %s", token);
	const struct cleat_http_request req = { .url = url, .headers = headers, .idempotent = true };
	enum cleat_code code = cleat_http_call(m->http, &req, answer, err);
	return code ? not_there(err) : CLEAT_OK;
}

enum cleat_code ebs_metadata_get(struct ebs_metadata *m, const char *path, struct cleat_buf *out,
				 struct cleat_error *err)
{
	cleat_autoanswer struct cleat_http_answer answer = CLEAT_HTTP_ANSWER_INIT;
	char token[256];

	if (get_token(m, token, err) || ask(m, path, token, &answer, err))
		return err->code;
	/* The service was started anew and knows our token no longer. */
	if (answer.status == 401 && (fetch_token(m, token, err) || ask(m, path, token, &answer, err)))
		return err->code;
	explicit_bzero(token, sizeof(token));
	if (answer.status != 200)
		return cleat_error_set(err, answer.status == 404 ? CLEAT_NOT_FOUND : CLEAT_UNAVAILABLE,
				       "metadata service of this instance: '%s': status %ld", path,
				       answer.status);
	size_t n = answer.body.len;
	while (n && (answer.body.data[n - 1] == '\n' || answer.body.data[n - 1] == '\r'))
		n--;
	cleat_buf_add(out, cleat_buf_text(&answer.body), n);
	return cleat_buf_ok(out)
		       ? CLEAT_OK
		       : cleat_error_set(err, CLEAT_INTERNAL, "metadata service: '%s' is too long", path);
}

enum cleat_code ebs_metadata_word(struct ebs_metadata *m, const char *path, char *out, size_t room,
				  struct cleat_error *err)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(MAX_BYTES);

	if (ebs_metadata_get(m, path, &text, err))
		return err->code;
	const char *word = cleat_buf_text(&text);
	if (!*word || strlen(word) >= room ||
	    strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._") != strlen(word))
		return cleat_error_set(err, CLEAT_INTERNAL, "metadata service: '%s' is not understood", path);
	snprintf(out, room, "%s", word);
	return CLEAT_OK;
}
