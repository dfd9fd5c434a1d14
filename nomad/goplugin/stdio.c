/* stdio.c - see stdio.h. */
#include "goplugin/stdio.h"

#include "goplugin/goplugin.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/mem.h"

#define CHUNK_BYTES 1024
#define MAX_UNSENT 64 /* chunks for a slow host; beyond that output is thrown away */

struct goplugin_stdio {
	Plugin__GRPCStdio_Service service; /* first: the handler finds us by it */
	pthread_mutex_t lock;
	struct cleat_rpc_call *call; /* held; NULL without a listener */
	int pipe_fd; /* reading end */
	pthread_t thread;
	bool running;
};

/* With the lock: the call is no longer ours; the caller ends and drops it. */
static struct cleat_rpc_call *take(struct goplugin_stdio *s, const struct cleat_rpc_call *only)
{
	struct cleat_rpc_call *c = s->call;

	if (only && c != only)
		return NULL;
	s->call = NULL;
	return c;
}

static void host_gone(struct cleat_rpc_call *call, void *arg)
{
	struct goplugin_stdio *s = arg;

	pthread_mutex_lock(&s->lock);
	struct cleat_rpc_call *c = take(s, call);
	pthread_mutex_unlock(&s->lock);
	if (!c)
		return;
	cleat_rpc_call_end(c);
	cleat_rpc_call_drop(c);
}

static void stream_stdio(Plugin__GRPCStdio_Service *service, const Google__Protobuf__Empty *in, Plugin__StdioData_Closure done,
			 void *call)
{
	struct goplugin_stdio *s = (struct goplugin_stdio *)service;

	(void)in;
	(void)done;
	pthread_mutex_lock(&s->lock);
	const bool taken = s->call != NULL;
	if (!taken) {
		cleat_rpc_call_hold(call);
		s->call = call;
	}
	pthread_mutex_unlock(&s->lock);
	if (taken)
		cleat_rpc_call_fail(call, CLEAT_FAILED_PRECONDITION, "the output is being read already");
	else
		cleat_rpc_call_on_close(call, host_gone, s);
}

static void *pump(void *arg)
{
	struct goplugin_stdio *s = arg;
	uint8_t bytes[CHUNK_BYTES];

	for (;;) {
		ssize_t n = read(s->pipe_fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		Plugin__StdioData data = PLUGIN__STDIO_DATA__INIT;
		data.channel = PLUGIN__STDIO_DATA__CHANNEL__STDOUT;
		data.data = (ProtobufCBinaryData){ (size_t)n, bytes };
		pthread_mutex_lock(&s->lock);
		if (s->call && cleat_rpc_call_unsent(s->call) < MAX_UNSENT)
			(void)!cleat_rpc_call_reply(s->call, &data.base);
		pthread_mutex_unlock(&s->lock);
	}
}

enum cleat_code goplugin_stdio_new(struct goplugin_stdio **out, struct cleat_error *err)
{
	struct goplugin_stdio *s = calloc(1, sizeof(*s));

	if (!s)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	pthread_mutex_init(&s->lock, NULL);
	s->pipe_fd = -1;
	plugin__grpcstdio__init(&s->service, NULL);
	s->service.stream_stdio = stream_stdio;
	*out = s;
	return CLEAT_OK;
}

enum cleat_code goplugin_stdio_add(struct goplugin_stdio *s, struct cleat_rpc_role *role, struct cleat_error *err)
{
	static const struct cleat_rpc_method methods[] = { { .lane = CLEAT_RPC_INLINE, .kind = CLEAT_RPC_SERVER_STREAM } };

	return cleat_rpc_role_add(role, &s->service.base, methods, CLEAT_COUNT(methods), err);
}

enum cleat_code goplugin_stdio_redirect(struct goplugin_stdio *s, struct cleat_error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return cleat_error_errno(err, errno, "make a pipe for stdout");
	s->pipe_fd = ends[0];
	int rc = dup2(ends[1], STDOUT_FILENO) < 0 ? errno : pthread_create(&s->thread, NULL, pump, s);
	close(ends[1]);
	if (rc)
		return cleat_error_errno(err, rc, "give stdout to the host");
	s->running = true;
	return CLEAT_OK;
}

void goplugin_stdio_end(struct goplugin_stdio *s)
{
	pthread_mutex_lock(&s->lock);
	struct cleat_rpc_call *c = take(s, NULL);
	pthread_mutex_unlock(&s->lock);
	if (!c)
		return;
	cleat_rpc_call_end(c);
	cleat_rpc_call_drop(c);
}

void goplugin_stdio_free(struct goplugin_stdio *s)
{
	if (!s)
		return;
	if (s->running) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		if (null >= 0)
			dup2(null, STDOUT_FILENO); /* closes the pipe's last writing end: the pump ends */
		else
			close(STDOUT_FILENO);
		if (null >= 0)
			close(null);
		pthread_join(s->thread, NULL);
	}
	if (s->pipe_fd >= 0)
		close(s->pipe_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
