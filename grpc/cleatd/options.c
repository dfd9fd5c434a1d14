/* options.c - see options.h. */
#include "cleatd/options.h"

#include "cleatd/config.h"
#include "cleatd/exit.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPT_STATE_DIR = 0x100,
	OPT_RUNTIME_DIR,
	OPT_SOCKET,
	OPT_CSI_SOCKET,
	OPT_NODE,
	OPT_LOG_LEVEL,
	OPT_LOG_FORMAT,
	OPT_ANY_NAMESPACE,
	OPT_CHECK_CONFIG,
	OPT_HELP_CONFIG,
};

static const struct argp_option option_table[] = {
	{ "config", 'c', "FILE", 0,
	  "Configuration file; without it, one pool named default under the state directory", 0 },
	{ "state-dir", OPT_STATE_DIR, "DIR", 0, "What must survive a reboot (/var/lib/cleat)", 0 },
	{ "runtime-dir", OPT_RUNTIME_DIR, "DIR", 0, "Socket, stages and claims (/run/cleat)", 0 },
	{ "socket", OPT_SOCKET, "PATH", 0, "Unix socket of the API (<runtime-dir>/cleat.sock)", 0 },
	{ "csi-socket", OPT_CSI_SOCKET, "PATH", 0,
	  "Unix socket of CSI (none; CSI_ENDPOINT in the environment does the same)", 0 },
	{ "node", OPT_NODE, "ID", 0, "This node's id (the host's name)", 0 },
	{ "log-level", OPT_LOG_LEVEL, "LEVEL", 0, "debug, info, warn or error (info)", 0 },
	{ "log-format", OPT_LOG_FORMAT, "FORMAT", 0, "text or json (text)", 0 },
	{ "any-namespace", OPT_ANY_NAMESPACE, NULL, 0,
	  "Serve although the mount namespace is not that of process 1", 0 },
	{ "check-config", OPT_CHECK_CONFIG, NULL, 0, "Check the configuration, start nothing", 0 },
	{ "help-config", OPT_HELP_CONFIG, NULL, 0, "Print the keys of the configuration file", 0 },
	{ 0 },
};

static const char doc[] =
	"Serves persistent volumes over gRPC."
	"\vWhat the command line says goes before the configuration file.\n\n"
	"Exit codes: 0 ended in good order, 1 failure, 2 wrong command line, 3 another cleatd serves this "
	"state directory, 4 wrong configuration.\n\n"
	"SIGTERM and SIGINT end it in good order, SIGHUP reads the configuration again.  See cleatd(8) and "
	"cleatd.conf(5).";

/* Checks the value at once, so that a wrong one is an error of the command line. */
static void override(struct cleatd_options *o, const char *key, const char *value, struct argp_state *state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleatd_config scratch = { 0 };

	if (!cleatd_config_set(&scratch, key, value, &err))
		argp_error(state, "%s", err.msg);
	cleatd_config_done(&scratch);
	if (o->override_count == CLEATD_MAX_OVERRIDES)
		argp_error(state, "too many options");
	o->overrides[o->override_count].key = key;
	o->overrides[o->override_count++].value = value;
}

static const char *key_of(int option)
{
	switch (option) {
	case OPT_STATE_DIR:
		return "state_dir";
	case OPT_RUNTIME_DIR:
		return "runtime_dir";
	case OPT_SOCKET:
		return "socket.path";
	case OPT_CSI_SOCKET:
		return "csi.socket";
	case OPT_NODE:
		return "node";
	case OPT_LOG_LEVEL:
		return "log.level";
	case OPT_LOG_FORMAT:
		return "log.format";
	case OPT_ANY_NAMESPACE:
		return "any_namespace";
	default:
		return NULL;
	}
}

static error_t take_option(int option, char *arg, struct argp_state *state)
{
	struct cleatd_options *o = state->input;
	const char *key = key_of(option);

	if (key) {
		override(o, key, arg ? arg : "true", state);
		return 0;
	}
	switch (option) {
	case 'c':
		o->config_file = arg;
		return 0;
	case OPT_CHECK_CONFIG:
		o->check_only = true;
		return 0;
	case OPT_HELP_CONFIG:
		o->print_keys = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument '%s'", arg);
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void print_version(FILE *to, struct argp_state *state)
{
	(void)state;
	fprintf(to, "cleatd %s\n", cleat_version());
}

void cleatd_options_parse(struct cleatd_options *options, int argc, char **argv)
{
	static const struct argp parser = { option_table, take_option, NULL, doc, NULL, NULL, NULL };

	*options = (struct cleatd_options){ 0 };
	argp_program_version_hook = print_version;
	argp_err_exit_status = CLEATD_EXIT_USAGE;
	argp_parse(&parser, argc, argv, 0, NULL, options);
}

/* The standard's way to tell a plugin its socket: "unix:///path", or the bare path. */
static enum cleat_code apply_endpoint(struct cleatd_config *config, struct cleat_error *err)
{
	const char *value = getenv("CSI_ENDPOINT");
	const char *path = value;

	if (!value || !value[0])
		return CLEAT_OK;
	if (strncmp(path, "unix:", 5) == 0)
		path += strncmp(path, "unix://", 7) == 0 ? 7 : 5;
	if (cleatd_config_set(config, "csi.socket", path, err))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "CSI_ENDPOINT: '%s' is not unix:///path", value);
}

enum cleat_code cleatd_options_apply(const struct cleatd_options *options, struct cleatd_config *config,
				     struct cleat_error *err)
{
	if (apply_endpoint(config, err))
		return err->code;
	for (size_t i = 0; i < options->override_count; i++)
		if (!cleatd_config_set(config, options->overrides[i].key, options->overrides[i].value, err))
			return err->code;
	return CLEAT_OK;
}
