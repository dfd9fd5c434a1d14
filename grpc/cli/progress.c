/* progress.c - what a long call is doing, as one line on the terminal that goes away with the call.
 *
 * A thread asks the daemon for its running operations (answered from memory) a few times a second.  Asking
 * shows the step of an operation that was running before, which this call has joined; a stream of events
 * would begin with the next step.
 */
#include "cli/cli.h"

#include "util/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define QUIET_MS 400 /* calls shorter than this show nothing */
#define POLL_MS 250
#define ASK_TIMEOUT_MS 2000

struct cli_progress {
	struct cleat_rpc_client *client;
	char *subject; /* what the user wrote; owned */
	char *id;      /* its id, once known; owned */
	pthread_t thread;
	pthread_mutex_t lock; /* guards stopping */
	pthread_cond_t wake;
	bool stopping;
	bool shown; /* thread only: there is a line to wipe */
	struct cleat_rpc_canceller canceller;
};

/* Sleeps; false once the call has ended. */
static bool pause_ms(struct cli_progress *p, int64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	int64_t ns = until.tv_nsec + ms % 1000 * 1000000;
	until.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
	until.tv_nsec = (long)(ns % 1000000000);
	pthread_mutex_lock(&p->lock);
	while (!p->stopping && pthread_cond_timedwait(&p->wake, &p->lock, &until) == 0)
		;
	bool go_on = !p->stopping;
	pthread_mutex_unlock(&p->lock);
	return go_on;
}

static enum cleat_code ask(struct cli_progress *p, const char *method, const ProtobufCMessage *request,
			   void *out)
{
	struct cleat_rpc_options options = { .timeout_ms = ASK_TIMEOUT_MS, .canceller = &p->canceller };
	struct cleat_error ignored = CLEAT_ERROR_INIT; /* progress is a courtesy: the call itself reports */

	return cleat_rpc_client_call(p->client, &cleat__v1__volumes__descriptor, method, request, &options,
				     out, &ignored);
}

/* Operations are named by id where there is one; people mostly write names. */
static void learn_id(struct cli_progress *p)
{
	Cleat__V1__GetVolumeRequest req = CLEAT__V1__GET_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetVolumeResponse *res = NULL;

	req.volume = p->subject;
	if (ask(p, "GetVolume", &req.base, &res) == CLEAT_OK && res->volume)
		p->id = strdup(res->volume->id);
}

/* A name without a pool, as `volume create NAME` has it, fits in any pool: this is for the eyes only. */
static bool is_ours(const struct cli_progress *p, const Cleat__V1__Operation *o)
{
	const char *slash = strchr(o->subject, '/');

	if (slash && !strchr(p->subject, '/') && strcmp(slash + 1, p->subject) == 0)
		return true;
	return strcmp(o->subject, p->subject) == 0 || (p->id && strcmp(o->subject, p->id) == 0);
}

static void draw(struct cli_progress *p, const Cleat__V1__Operation *o)
{
	char safe[CLI_SAFE_BYTES], part[32] = "";
	int64_t s = (cleat_time_wall_ms() - o->since_ms) / 1000;

	if (o->total > 0)
		snprintf(part, sizeof(part), " %u %%",
			 (unsigned)(100.0 * (double)o->done / (double)o->total));
	const char *step = o->waiting ? "waiting for another operation" : *o->step ? o->step : o->verb;
	fprintf(stderr, "\r\033[K%.60s ...%s %lld s%s", cli_safe(step, safe), part,
		(long long)(s < 0 ? 0 : s), o->stuck ? " (stuck)" : "");
	fflush(stderr);
	p->shown = true;
}

static void look(struct cli_progress *p)
{
	Cleat__V1__GetInfoRequest req = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetInfoResponse *info = NULL;

	if (ask(p, "GetInfo", &req.base, &info) != CLEAT_OK)
		return;
	for (size_t i = 0; i < info->n_operations; i++)
		if (is_ours(p, info->operations[i])) {
			draw(p, info->operations[i]);
			return;
		}
}

static void *show(void *arg)
{
	struct cli_progress *p = arg;

	if (pause_ms(p, QUIET_MS)) {
		learn_id(p);
		do
			look(p);
		while (pause_ms(p, POLL_MS));
	}
	if (p->shown)
		fprintf(stderr, "\r\033[K");
	return NULL;
}

struct cli_progress *cli_progress_start(struct cli *cli, const char *subject)
{
	pthread_condattr_t attr;

	if (cli->v.quiet || cli->v.json || !isatty(STDERR_FILENO))
		return NULL;
	struct cli_progress *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->client = cli->client;
	p->subject = strdup(subject);
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->canceller.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (p->subject && pthread_create(&p->thread, NULL, show, p) == 0)
		return p;
	free(p->subject);
	free(p);
	return NULL;
}

void cli_progress_stop(struct cli_progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	cleat_rpc_cancel(&p->canceller);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->canceller.lock);
	free(p->subject);
	free(p->id);
	free(p);
}
