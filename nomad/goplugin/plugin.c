/* plugin.c - see plugin.h. */
#include "goplugin/plugin.h"

#include "goplugin/goplugin.pb-c.h"
#include "cleat_goplugin.descset.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "goplugin/certificate.h"
#include "goplugin/environment.h"
#include "goplugin/stdio.h"
#include "rt/health.h"
#include "rt/reflection.h"
#include "util/ids.h"
#include "util/mem.h"

/* The host kills us two seconds after it asked for the end. */
#define GRACE_MS 300
#define HARD_MS 1200

struct cleat_goplugin {
	Plugin__GRPCController_Service controller; /* first: its handler finds us by it */
	Plugin__GRPCBroker_Service broker;
	struct cleat_goplugin_config config;
	struct goplugin_env env;
	struct goplugin_certificate certificate;
	grpc_server_credentials *credentials;
	char socket[GOPLUGIN_SOCKET_BYTES];
	struct cleat_rpc_server *server;
	struct cleat_rpc_role *role;
	struct cleat_rpc_health *health;
	struct cleat_rpc_reflection *reflection;
	struct goplugin_stdio *stdio;
	pthread_t main_thread; /* waits for SIGTERM in serve() */
	atomic_bool serving;
};

struct cleat_rpc_server *cleat_goplugin_server(struct cleat_goplugin *p)
{
	return p->server;
}

struct cleat_rpc_role *cleat_goplugin_role(struct cleat_goplugin *p)
{
	return p->role;
}

unsigned cleat_goplugin_version(const struct cleat_goplugin *p)
{
	return p->env.version;
}

enum cleat_code cleat_goplugin_describe(struct cleat_goplugin *p, const unsigned char *descriptor_set, size_t len,
					struct cleat_error *err)
{
	return cleat_rpc_reflection_add_set(p->reflection, descriptor_set, len, err);
}

/* ---- the services ---------------------------------------------------------------------------------------------------------------------- */

static void controller_shutdown(Plugin__GRPCController_Service *service, const Google__Protobuf__Empty *in,
				Google__Protobuf__Empty_Closure done, void *call)
{
	struct cleat_goplugin *p = (struct cleat_goplugin *)service;
	Google__Protobuf__Empty out = GOOGLE__PROTOBUF__EMPTY__INIT;

	(void)in;
	done(&out, call);
	if (atomic_load(&p->serving))
		pthread_kill(p->main_thread, SIGTERM);
}

/* Hosts open this stream and keep it; what could be announced on it has no use here. */
static void broker_message(ProtobufCService *service, struct cleat_rpc_call *call, const ProtobufCMessage *m)
{
	(void)service;
	if (!m)
		cleat_rpc_call_end(call);
}

static enum cleat_code add_services(struct cleat_goplugin *p, struct cleat_error *err)
{
	static const struct cleat_rpc_method inline_unary[] = { { .lane = CLEAT_RPC_INLINE } };
	static const struct cleat_rpc_method bidi[] = { { .lane = CLEAT_RPC_INLINE,
							  .kind = CLEAT_RPC_BIDI,
							  .on_message = broker_message } };

	plugin__grpccontroller__init(&p->controller, NULL);
	p->controller.shutdown = controller_shutdown;
	plugin__grpcbroker__init(&p->broker, NULL);
	if (cleat_rpc_role_add(p->role, &p->controller.base, inline_unary, 1, err) ||
	    cleat_rpc_role_add(p->role, &p->broker.base, bidi, 1, err) || goplugin_stdio_new(&p->stdio, err) ||
	    goplugin_stdio_add(p->stdio, p->role, err))
		return err->code;
	if (cleat_rpc_health_new(p->server, &p->health, err) || cleat_rpc_health_add(p->health, p->role, err) ||
	    cleat_rpc_health_set(p->health, "", true, err) || cleat_rpc_health_set(p->health, "plugin", true, err))
		return err->code;
	if (cleat_rpc_reflection_new(&p->reflection, err) ||
	    cleat_rpc_reflection_add_set(p->reflection, cleat_goplugin_descset, cleat_goplugin_descset_len, err))
		return err->code;
	return cleat_rpc_reflection_add(p->reflection, p->role, err);
}

static void stop_begins(void *arg)
{
	struct cleat_goplugin *p = arg;

	if (p->config.stopping)
		p->config.stopping(p->config.stopping_arg);
	goplugin_stdio_end(p->stdio);
}

/* ---- the socket -------------------------------------------------------------------------------------------------------------------------- */

static enum cleat_code group_of(const char *text, gid_t *out, struct cleat_error *err)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);
	struct group entry, *found = NULL;
	char room[4096];

	if (*text && *end == '\0') {
		*out = (gid_t)number;
		return CLEAT_OK;
	}
	if (getgrnam_r(text, &entry, room, sizeof(room), &found) || !found)
		return cleat_error_set(err, CLEAT_NOT_FOUND, "PLUGIN_UNIX_SOCKET_GROUP names the group '%.64s', which does not exist",
				       text);
	*out = entry.gr_gid;
	return CLEAT_OK;
}

/* Only the core's listener can do TLS; it has no mode argument, so the umask is set around it. */
static enum cleat_code listen_tls(struct cleat_goplugin *p, struct cleat_error *err)
{
	char address[GOPLUGIN_SOCKET_BYTES + 8];

	if (goplugin_certificate_make(&p->certificate, err))
		return err->code;
	grpc_ssl_pem_key_cert_pair pair = { p->certificate.key_pem, p->certificate.cert_pem };
	p->credentials = grpc_ssl_server_credentials_create_ex(
		p->env.client_cert, &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
	if (!p->credentials)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "PLUGIN_CLIENT_CERT is no certificate that can be used");
	snprintf(address, sizeof(address), "unix:%s", p->socket);
	mode_t before = umask(0177);
	enum cleat_code code = cleat_rpc_listen_core(p->server, address, p->credentials, p->role, NULL, err);
	umask(before);
	return code;
}

static enum cleat_code listen_plain(struct cleat_goplugin *p, struct cleat_error *err)
{
	struct cleat_rpc_unix where = { .path = p->socket, .mode = 0600 };
	const struct cleat_rpc_admission who = { .role = p->role };

	if (p->env.socket_group) {
		where.mode = 0660;
		where.set_group = true;
		if (group_of(p->env.socket_group, &where.group, err))
			return err->code;
	}
	return cleat_rpc_listen_unix(p->server, &where, &who, err);
}

static enum cleat_code start_listening(struct cleat_goplugin *p, struct cleat_error *err)
{
	char key[CLEAT_ID_KEY_BYTES];

	cleat_id_new_key(key);
	int n = snprintf(p->socket, sizeof(p->socket), "%s/plugin-%s", p->env.socket_dir, key);
	if (n < 0 || (size_t)n >= sizeof(p->socket))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "the path of the socket is too long");
	return p->env.tls ? listen_tls(p, err) : listen_plain(p, err);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------ */

static const char *from_process(const char *name, void *arg)
{
	(void)arg;
	return getenv(name);
}

static void set_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

enum cleat_code cleat_goplugin_open(const struct cleat_goplugin_config *config, struct cleat_goplugin **out, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct cleat_goplugin *p = calloc(1, sizeof(*p));

	if (!err)
		err = &own;
	if (!p)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	p->config = *config;
	if (goplugin_env_read(config, from_process, NULL, &p->env, err)) {
		free(p);
		return err->code;
	}
	set_signals();
	if (cleat_rpc_server_new(&config->server, &p->server, err) || cleat_rpc_role_new(p->server, "host", &p->role, err) ||
	    add_services(p, err) || start_listening(p, err) || cleat_rpc_server_on_stop(p->server, stop_begins, p, err)) {
		cleat_goplugin_free(p);
		return err->code;
	}
	*out = p;
	return CLEAT_OK;
}

static enum cleat_code write_line(int fd, const char *line, struct cleat_error *err)
{
	size_t n = strlen(line);

	while (n) {
		ssize_t k = write(fd, line, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return cleat_error_errno(err, errno, "write the handshake");
		line += k;
		n -= (size_t)k;
	}
	return CLEAT_OK;
}

static void wait_for_end(void)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	while (sigwait(&set, &sig))
		;
}

/* The host reads the first line of stdout and dials at once: by then the socket must be served, and what handlers print must go where it is
 * meant to.  So nothing but the line itself is written to the stdout that the host made. */
static enum cleat_code shake_hands(struct cleat_goplugin *p, struct cleat_error *err)
{
	char line[GOPLUGIN_SOCKET_BYTES + 4096];

	if (goplugin_handshake(&p->env, p->socket, p->certificate.cert_base64, line, sizeof(line), err))
		return err->code;
	cleat_autoclose int host = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (host < 0)
		return cleat_error_errno(err, errno, "keep the host's end of stdout");
	if (goplugin_stdio_redirect(p->stdio, err) || cleat_rpc_server_start(p->server, err))
		return err->code;
	return write_line(host, line, err);
}

enum cleat_code cleat_goplugin_serve(struct cleat_goplugin *p, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT, second = CLEAT_ERROR_INIT;

	if (!err)
		err = &own;
	p->main_thread = pthread_self();
	atomic_store(&p->serving, true);
	enum cleat_code code = shake_hands(p, err);
	if (code == CLEAT_OK)
		wait_for_end();
	atomic_store(&p->serving, false);
	enum cleat_code stopped = cleat_rpc_server_stop(p->server, GRACE_MS, HARD_MS, code ? &second : err);
	if (p->env.tls)
		unlink(p->socket);
	return code ? code : stopped;
}

void cleat_goplugin_free(struct cleat_goplugin *p)
{
	if (!p)
		return;
	cleat_rpc_server_free(p->server);
	cleat_rpc_health_free(p->health);
	cleat_rpc_reflection_free(p->reflection);
	goplugin_stdio_free(p->stdio);
	if (p->credentials)
		grpc_server_credentials_release(p->credentials);
	goplugin_certificate_done(&p->certificate);
	free(p);
}
