/* doors.c - see doors.h. */
#include "cleatd/doors.h"

#include "cleat_csi.descset.h"
#include "cleat_volumes.descset.h"
#include "cleatd/tls.h"
#include "csi/csi.h"
#include "rt/activation.h"
#include "rt/health.h"
#include "rt/reflection.h"
#include "rt/server.h"
#include "service/calllog.h"
#include "service/service.h"
#include "util/mem.h"

#include <grp.h>
#include <grpc/support/log.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_GROUP "cleat"
#define AFTER_GRACE_MS 5000 /* for cancelled calls to be noticed */

struct cleatd_doors {
	struct cleat_rpc_server *server;
	struct cleat_rpc_health *health;
	struct cleat_rpc_reflection *reflection;
	struct cleat_service *volumes;
	struct cleat_csi *csi; /* NULL: not served */
};

/* The core writes to stderr by itself; its lines belong into the log like all others. */
static void log_core(gpr_log_func_args *args)
{
	cleat_log(args->severity == GPR_LOG_SEVERITY_ERROR ? CLEAT_LOG_WARN : CLEAT_LOG_DEBUG, NULL,
		  "gRPC core: %s", args->message);
}

static enum cleat_code make_services(struct cleatd_doors *d, struct cleat_engine *engine,
				     struct cleat_error *err)
{
	const struct cleat_rpc_server_config config = { .on_done = cleat_call_log };

	if (cleat_rpc_server_new(&config, &d->server, err) ||
	    cleat_rpc_health_new(d->server, &d->health, err) ||
	    cleat_rpc_reflection_new(&d->reflection, err) ||
	    cleat_rpc_reflection_add_set(d->reflection, cleat_volumes_descset, cleat_volumes_descset_len,
					 err) ||
	    cleat_service_new(engine, d->server, &d->volumes, err))
		return err->code;
	return CLEAT_OK;
}

/* A role with the native API and the standard services. */
static enum cleat_code add_api_role(struct cleatd_doors *d, const char *name,
				    struct cleat_rpc_role **role_out, struct cleat_error *err)
{
	if (cleat_rpc_role_new(d->server, name, role_out, err) ||
	    cleat_service_add(d->volumes, *role_out, err) ||
	    cleat_rpc_health_add(d->health, *role_out, err) ||
	    cleat_rpc_reflection_add(d->reflection, *role_out, err))
		return err->code;
	return CLEAT_OK;
}

/* ---- listeners ---- */

/* The socket's group: the configured one, which must exist, or "cleat" where it does, or none. */
static enum cleat_code find_group(const struct cleatd_config *config, struct cleat_rpc_unix *where,
				  struct cleat_error *err)
{
	const struct group *g = getgrnam(config->socket_group ? config->socket_group : DEFAULT_GROUP);

	if (!g && config->socket_group)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "socket.group: there is no group '%s'",
				       config->socket_group);
	if (g) {
		where->set_group = true;
		where->group = g->gr_gid;
	}
	return CLEAT_OK;
}

enum cleat_code cleatd_doors_check(const struct cleatd_config *config, struct cleat_error *err)
{
	struct cleat_rpc_unix where = { 0 };

	if (find_group(config, &where, err))
		return err->code;
	return cleatd_tls_check(config, err);
}

/* ---- CSI ---- */

static int activated_csi_fd(void)
{
	static const char *const names[] = { "cleat-csi", "cleatd-csi.socket" };
	int fd = -1;

	for (size_t i = 0; i < CLEAT_COUNT(names) && fd < 0; i++)
		fd = cleat_rpc_activation_fd(names[i]);
	return fd;
}

static enum cleat_code add_csi_role(struct cleatd_doors *d, const struct cleatd_config *config,
				    struct cleat_engine *engine, struct cleat_rpc_role **role_out,
				    struct cleat_error *err)
{
	const struct cleat_csi_config csi = {
		.driver_name = config->csi_driver_name,
		.max_volumes = config->csi_max_volumes,
		.attach = config->csi_attach,
		.local_multi_node = config->csi_local_multi_node,
		.node_expand = config->csi_node_expand,
		.stage = config->csi_stage,
	};

	if (cleat_csi_new(engine, d->server, &csi, &d->csi, err) ||
	    cleat_rpc_reflection_add_set(d->reflection, cleat_csi_descset, cleat_csi_descset_len, err) ||
	    cleat_rpc_role_new(d->server, "csi", role_out, err) || cleat_csi_add(d->csi, *role_out, err) ||
	    cleat_rpc_health_add(d->health, *role_out, err) ||
	    cleat_rpc_reflection_add(d->reflection, *role_out, err))
		return err->code;
	return CLEAT_OK;
}

/* A socket of its own, with CSI and nothing else. */
static enum cleat_code listen_csi(struct cleatd_doors *d, const struct cleatd_config *config,
				  struct cleat_engine *engine, struct cleat_error *err)
{
	struct cleat_rpc_unix where = { .path = config->csi_socket, .mode = config->csi_mode };
	struct cleat_rpc_admission who = { 0 };
	int fd = activated_csi_fd();

	if (fd < 0 && !config->csi_socket)
		return CLEAT_OK;
	if (add_csi_role(d, config, engine, &who.role, err)) {
		if (fd >= 0)
			close(fd);
		return err->code;
	}
	if (fd >= 0)
		return cleat_rpc_listen_fd(d->server, fd, &who, err);
	if (find_group(config, &where, err) || cleat_rpc_listen_unix(d->server, &where, &who, err))
		return err->code;
	cleat_log_kv(CLEAT_LOG_INFO, "serving CSI", "socket", config->csi_socket, "driver",
		     config->csi_driver_name);
	return CLEAT_OK;
}

/* The socket that a service manager opened for us, under the name our unit gives it, or the unit's own, or
 * none. */
static int activated_fd(void)
{
	static const char *const names[] = { "cleat", "cleatd.socket", "unknown" };
	int fd = -1;

	for (size_t i = 0; i < CLEAT_COUNT(names) && fd < 0; i++)
		fd = cleat_rpc_activation_fd(names[i]);
	return fd;
}

static enum cleat_code listen_unix(struct cleatd_doors *d, const struct cleatd_config *config,
				   struct cleat_error *err)
{
	struct cleat_rpc_unix where = { .path = config->socket_path, .mode = config->socket_mode };
	struct cleat_rpc_admission who = { 0 };
	int fd = activated_fd();

	cleat_rpc_activation_forget();
	if (add_api_role(d, "api", &who.role, err))
		return err->code;
	if (fd >= 0) {
		cleat_log_kv(CLEAT_LOG_INFO, "serving the socket that was passed in", "socket", "activated");
		return cleat_rpc_listen_fd(d->server, fd, &who, err);
	}
	if (find_group(config, &where, err) || cleat_rpc_listen_unix(d->server, &where, &who, err))
		return err->code;
	cleat_log_kv(CLEAT_LOG_INFO, "serving", "socket", config->socket_path);
	return CLEAT_OK;
}

static enum cleat_code listen_tls(struct cleatd_doors *d, const struct cleatd_config *config,
				  struct cleat_error *err)
{
	grpc_server_credentials *creds;
	struct cleat_rpc_role *role;
	int port = 0;

	if (!config->listen_address)
		return CLEAT_OK;
	if (add_api_role(d, "tls", &role, err) || cleatd_tls_credentials(config, &creds, err))
		return err->code;
	enum cleat_code code =
		cleat_rpc_listen_core(d->server, config->listen_address, creds, role, &port, err);
	grpc_server_credentials_release(creds);
	if (code == CLEAT_OK) {
		char text[12];

		snprintf(text, sizeof(text), "%d", port);
		cleat_log_kv(CLEAT_LOG_INFO, "serving with mutual TLS", "address", config->listen_address,
			     "port", text);
	}
	return code;
}

/* ---- life ---- */

static void set_health(struct cleatd_doors *d, bool serving)
{
	const char *const names[] = { "", CLEAT_SERVICE_NAME, CLEAT_CSI_IDENTITY_NAME };
	struct cleat_error err = CLEAT_ERROR_INIT;

	for (size_t i = 0; i < CLEAT_COUNT(names) - !d->csi; i++)
		if (cleat_rpc_health_set(d->health, names[i], serving, &err))
			cleat_log_kv(CLEAT_LOG_WARN, "health status not set", "error", err.msg);
}

/* In the order that the parts allow: the server first, then what its calls used. */
static void free_doors(struct cleatd_doors *d)
{
	cleat_rpc_server_free(d->server);
	cleat_service_free(d->volumes);
	cleat_csi_free(d->csi);
	cleat_rpc_health_free(d->health);
	cleat_rpc_reflection_free(d->reflection);
	free(d);
}

enum cleat_code cleatd_doors_open(const struct cleatd_config *config, struct cleat_engine *engine,
				  struct cleatd_doors **doors_out, struct cleat_error *err)
{
	struct cleatd_doors *d = calloc(1, sizeof(*d));

	if (!d)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	gpr_set_log_function(log_core);
	if (make_services(d, engine, err) || listen_csi(d, config, engine, err) ||
	    listen_unix(d, config, err) || listen_tls(d, config, err) ||
	    cleat_rpc_server_start(d->server, err)) {
		free_doors(d);
		return err->code;
	}
	set_health(d, true);
	*doors_out = d;
	return CLEAT_OK;
}

enum cleat_code cleatd_doors_close(struct cleatd_doors *d, unsigned grace_ms, struct cleat_error *err)
{
	set_health(d, false);
	if (cleat_rpc_server_stop(d->server, grace_ms, AFTER_GRACE_MS, err))
		return err->code;
	free_doors(d);
	return CLEAT_OK;
}
