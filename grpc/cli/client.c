/* client.c - the connection to the daemon: which socket, how long to wait, and what to say when nobody
 * answers. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include <sys/un.h>
#include <unistd.h>

#define REPLY_MAX_BYTES (64u << 20) /* a page of volumes with all their labels */

const char *cli_socket(const struct cli *cli)
{
	const char *env = getenv("CLEAT_SOCKET");

	if (cli->v.socket)
		return cli->v.socket;
	return env && *env ? env : CLI_DEFAULT_SOCKET;
}

enum cleat_code cli_connect(struct cli *cli, struct cleat_error *err)
{
	char target[sizeof(struct sockaddr_un) + 8];
	const char *path = cli_socket(cli);

	if (cli->client)
		return CLEAT_OK;
	if (!*path || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "socket path '%s' is empty or longer than 107 bytes", path);
	snprintf(target, sizeof(target), "unix:%s", path);
	struct cleat_rpc_client_config config = { .target = target, .max_reply_bytes = REPLY_MAX_BYTES };
	return cleat_rpc_client_new(&config, &cli->client, err);
}

/* gRPC's own text for a dead socket speaks of subchannels; people need to know which socket, and what to do.
 */
enum cleat_code cli_explain(struct cli *cli, struct cleat_error *err)
{
	const char *path = cli_socket(cli);

	if (err->code != CLEAT_UNAVAILABLE)
		return err->code;
	int e = cleat_rpc_try_socket(path);
	if (e == 0) /* somebody is there: the answer was the daemon's own */
		return err->code;
	cli->unreachable = true;
	const char *advice = e == EACCES ? "only root and the members of the socket's group may use it"
					 : "is cleatd running? See --socket";
	cleat_error_set(err, CLEAT_UNAVAILABLE, "no daemon at '%s': %s (%s)", path, strerror(e), advice);
	return err->code;
}

static enum cleat_code call(struct cli *cli, const char *method, const ProtobufCMessage *request,
			    int64_t timeout_ms, void *response_out, struct cleat_error *err)
{
	struct cleat_rpc_options options = {
		.timeout_ms = (unsigned)(cli->v.timeout_ms ? cli->v.timeout_ms : timeout_ms),
		.idempotent = true, /* every call of the API is */
	};

	if (cli_connect(cli, err) != CLEAT_OK)
		return err->code;
	const int64_t begin = cleat_time_mono_ms();
	if (cleat_rpc_client_call(cli->client, &cleat__v1__volumes__descriptor, method, request, &options,
				  response_out, err) == CLEAT_OK)
		return CLEAT_OK;
	/* The daemon may say so itself, of an operation that is stuck: then its own words count. */
	if (err->code == CLEAT_DEADLINE_EXCEEDED && cleat_time_mono_ms() - begin >= options.timeout_ms)
		return cleat_error_set(err, CLEAT_DEADLINE_EXCEEDED,
				       "no answer within %.1f s; what was begun goes on in the daemon",
				       options.timeout_ms / 1000.0);
	return cli_explain(cli, err);
}

enum cleat_code cli_read(struct cli *cli, const char *method, const ProtobufCMessage *request,
			 void *response_out, struct cleat_error *err)
{
	return call(cli, method, request, CLI_READ_TIMEOUT_MS, response_out, err);
}

enum cleat_code cli_change(struct cli *cli, const char *method, const ProtobufCMessage *request,
			   const char *subject, void *response_out, struct cleat_error *err)
{
	if (cli_connect(cli, err) != CLEAT_OK)
		return err->code;
	struct cli_progress *p = cli_progress_start(cli, subject);
	call(cli, method, request, CLI_CHANGE_TIMEOUT_MS, response_out, err);
	cli_progress_stop(p);
	return err->code;
}
