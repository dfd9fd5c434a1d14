/* keys.c - the tables of configuration keys and what a value of each type must look like.  See config.h. */
#include "cleatd/keys.h"

#include "cleatd/config.h"
#include "util/mem.h"

#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct cleatd_config, field)
#define POOL_AT(field) offsetof(struct cleat_pool_config, field)

const struct cleatd_key cleatd_config_keys[] = {
	{ "node", CLEATD_KEY_NODE, AT(node), "(the host's name)", false,
	  "This node's id in attachments; it must stay the same for as long as volumes are attached." },
	{ "state_dir", CLEATD_KEY_PATH, AT(state_dir), "/var/lib/cleat", false,
	  "Directory for what must survive a reboot, and for pools without a path of their own." },
	{ "runtime_dir", CLEATD_KEY_PATH, AT(runtime_dir), "/run/cleat", false,
	  "Directory for the socket, the stages and the claims; on a tmpfs, and a shared mount." },
	{ "socket.path", CLEATD_KEY_SOCKET, AT(socket_path), "(<runtime_dir>/cleat.sock)", false,
	  "Unix socket of the API." },
	{ "socket.mode", CLEATD_KEY_MODE, AT(socket_mode), "0660", false,
	  "Permissions of the socket: whoever may connect can do what root can." },
	{ "socket.group", CLEATD_KEY_TEXT, AT(socket_group), "(cleat, where that group exists)", false,
	  "Group of the socket." },
	{ "log.level", CLEATD_KEY_LEVEL, AT(log_level), "info", true, "Least severe lines that are logged." },
	{ "log.format", CLEATD_KEY_FORMAT, AT(log_format), "text", false, "How a line is written." },
	{ "target_prefixes", CLEATD_KEY_PATHS, AT(target_prefixes),
	  "(any existing directory outside the system's own, for callers with uid 0)", true,
	  "Directories below which volumes may be published." },
	{ "default_pool", CLEATD_KEY_NAME, AT(default_pool), "(the pool named default, or the only one)", true,
	  "The pool that is meant where none is named." },
	{ "any_namespace", CLEATD_KEY_BOOL, AT(any_namespace), "false", false,
	  "Serve although the daemon's mount namespace is not that of process 1." },
	{ "listen.address", CLEATD_KEY_ADDRESS, AT(listen_address), "(no TCP listener)", false,
	  "Address of a TCP listener, which exists only with mutual TLS." },
	{ "listen.cert", CLEATD_KEY_PATH, AT(listen_cert), NULL, false,
	  "The listener's certificate chain, PEM." },
	{ "listen.key", CLEATD_KEY_PATH, AT(listen_key), NULL, false, "The certificate's private key, PEM." },
	{ "listen.client_ca", CLEATD_KEY_PATH, AT(listen_client_ca), NULL, false,
	  "Authorities whose client certificates are accepted, PEM." },
	{ "csi.socket", CLEATD_KEY_SOCKET, AT(csi_socket), "(CSI is not served)", false,
	  "Unix socket on which CSI is served; CSI_ENDPOINT in the environment goes before it." },
	{ "csi.mode", CLEATD_KEY_MODE, AT(csi_mode), "0660", false,
	  "Permissions of the CSI socket; its group is socket.group." },
	{ "csi.driver_name", CLEATD_KEY_DRIVER, AT(csi_driver_name), "csi.cleat", false,
	  "The plugin's name, by which Kubernetes knows it." },
	{ "csi.max_volumes", CLEATD_KEY_COUNT, AT(csi_max_volumes), "0", false,
	  "Most volumes that may be attached to this node; 0 for no limit." },
	{ "csi.attach", CLEATD_KEY_BOOL, AT(csi_attach), "true", false,
	  "Ask for ControllerPublishVolume, so that a volume is known to be one node's." },
	{ "csi.stage", CLEATD_KEY_BOOL, AT(csi_stage), "true", false,
	  "Ask for NodeStageVolume; kubelet must not be asked, or it never lets go of a volume." },
	{ "csi.local_multi_node", CLEATD_KEY_BOOL, AT(csi_local_multi_node), "false", false,
	  "Take the MULTI_NODE_ access modes for volumes of this node only: its tasks may share them." },
	{ "csi.node_expand", CLEATD_KEY_BOOL, AT(csi_node_expand), "false", false,
	  "Let NodeExpandVolume do all of the growing, for Kubernetes, whose resizer reaches any node." },
	{ NULL, CLEATD_KEY_TEXT, 0, NULL, false, NULL },
};

const struct cleatd_key cleatd_pool_keys[] = {
	{ "backend", CLEATD_KEY_NAME, POOL_AT(backend), NULL, false,
	  "Where the volumes are kept; required." },
	{ "cross_scope", CLEATD_KEY_BOOL, POOL_AT(cross_scope), "false", true,
	  "Volumes of this pool may be used from any scope." },
	{ "lane_threads", CLEATD_KEY_THREADS, POOL_AT(lane_threads), "8", false, "Most operations at once." },
	{ "topology", CLEATD_KEY_PAIRS, POOL_AT(topology), "(none)", true,
	  "From where the pool can be reached, beside the node, e.g. {zone: a}; CSI tells it schedulers, "
	  "which ask once: a change needs the node's plugins to register again." },
	{ "layer", CLEATD_KEY_NAME, POOL_AT(layer), "(none)", false,
	  "Test layer around the backend, for example fault; never in production." },
	{ NULL, CLEATD_KEY_TEXT, 0, NULL, false, NULL },
};

const char *cleatd_key_type_text(enum cleatd_key_type type)
{
	static const char *const texts[] = {
		[CLEATD_KEY_TEXT] = "text of 1 to 255 bytes",
		[CLEATD_KEY_NODE] = "1 to 128 characters of [A-Za-z0-9._-]",
		[CLEATD_KEY_NAME] = "1 to 31 characters of [a-z0-9-]",
		[CLEATD_KEY_PATH] = "an absolute path",
		[CLEATD_KEY_SOCKET] = "an absolute path of at most 107 bytes",
		[CLEATD_KEY_PATHS] = "a list of absolute paths",
		[CLEATD_KEY_ADDRESS] = "host:port",
		[CLEATD_KEY_DRIVER] = "2 to 63 characters of [A-Za-z0-9.-], a letter first and last",
		[CLEATD_KEY_BOOL] = "true or false",
		[CLEATD_KEY_MODE] = "octal permissions, 0000 to 0777",
		[CLEATD_KEY_THREADS] = "a number from 1 to 64",
		[CLEATD_KEY_COUNT] = "a number from 0 to 65535",
		[CLEATD_KEY_LEVEL] = "debug, info, warn or error",
		[CLEATD_KEY_FORMAT] = "text or json",
		[CLEATD_KEY_PAIRS] = "a mapping of keys and values",
	};

	return texts[type];
}

static bool is_made_of(const char *value, const char *characters, size_t max)
{
	size_t n = strlen(value);

	return n >= 1 && n <= max && strspn(value, characters) == n;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789-"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_path(const char *value, size_t max)
{
	size_t n = strlen(value);

	return value[0] == '/' && n <= max && !strstr(value, "/../") &&
	       (n < 3 || strcmp(value + n - 3, "/..") != 0);
}

static bool is_port(const char *value)
{
	return is_made_of(value, "0123456789", 5) && strtoul(value, NULL, 10) <= 65535;
}

static bool is_address(const char *value)
{
	const char *colon = strrchr(value, ':');

	return colon && colon != value && strlen(value) < 256 && !strpbrk(value, " /") && is_port(colon + 1);
}

static bool is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* csi.md, GetPluginInfo, would take a digit at either end; the tools around CSI do not. */
static bool is_driver(const char *value)
{
	return strlen(value) >= 2 && is_made_of(value, LOWER UPPER ".", 63) && is_letter(value[0]) &&
	       is_letter(value[strlen(value) - 1]);
}

static bool put_text(void *at, const char *value, bool acceptable)
{
	char **field = at;
	char *copy = acceptable ? strdup(value) : NULL;

	if (!copy)
		return false;
	free(*field);
	*field = copy;
	return true;
}

static bool put_bool(bool *at, const char *value)
{
	bool yes = strcmp(value, "true") == 0 || strcmp(value, "yes") == 0;

	if (!yes && strcmp(value, "false") != 0 && strcmp(value, "no") != 0)
		return false;
	*at = yes;
	return true;
}

static bool put_mode(mode_t *at, const char *value)
{
	if (!is_made_of(value, "01234567", 5) || strtoul(value, NULL, 8) > 0777)
		return false;
	*at = (mode_t)strtoul(value, NULL, 8);
	return true;
}

static bool put_threads(unsigned *at, const char *value)
{
	unsigned long n = is_made_of(value, "0123456789", 3) ? strtoul(value, NULL, 10) : 0;

	if (n < 1 || n > 64)
		return false;
	*at = (unsigned)n;
	return true;
}

static bool put_count(unsigned *at, const char *value)
{
	if (!is_made_of(value, "0123456789", 5) || strtoul(value, NULL, 10) > 65535)
		return false;
	*at = (unsigned)strtoul(value, NULL, 10);
	return true;
}

static bool put_format(enum cleat_log_format *at, const char *value)
{
	if (strcmp(value, "text") == 0)
		*at = CLEAT_LOG_TEXT;
	else if (strcmp(value, "json") == 0)
		*at = CLEAT_LOG_JSON;
	else
		return false;
	return true;
}

bool cleatd_key_put(const struct cleatd_key *key, void *base, const char *value)
{
	void *at = (char *)base + key->offset;

	switch (key->type) {
	case CLEATD_KEY_TEXT:
		return put_text(at, value, *value && strlen(value) < 256);
	case CLEATD_KEY_NODE:
		return put_text(at, value, is_made_of(value, LOWER UPPER "._", 128));
	case CLEATD_KEY_NAME:
		return put_text(at, value, value[0] != '-' && is_made_of(value, LOWER, 31));
	case CLEATD_KEY_PATH:
		return put_text(at, value, is_path(value, 1023));
	case CLEATD_KEY_SOCKET:
		return put_text(at, value, is_path(value, 107));
	case CLEATD_KEY_ADDRESS:
		return put_text(at, value, is_address(value));
	case CLEATD_KEY_DRIVER:
		return put_text(at, value, is_driver(value));
	case CLEATD_KEY_BOOL:
		return put_bool(at, value);
	case CLEATD_KEY_MODE:
		return put_mode(at, value);
	case CLEATD_KEY_THREADS:
		return put_threads(at, value);
	case CLEATD_KEY_COUNT:
		return put_count(at, value);
	case CLEATD_KEY_LEVEL:
		return cleat_log_parse_level(value, at);
	case CLEATD_KEY_FORMAT:
		return put_format(at, value);
	case CLEATD_KEY_PATHS:
	case CLEATD_KEY_PAIRS:
		break; /* is no text: config.c */
	}
	return false;
}

static bool lists_equal(char *const *a, char *const *b)
{
	if (!a || !b)
		return a == b;
	for (; *a && *b; a++, b++)
		if (strcmp(*a, *b) != 0)
			return false;
	return *a == *b;
}

static bool texts_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool cleatd_key_equal(const struct cleatd_key *key, const void *a_base, const void *b_base)
{
	const void *a = (const char *)a_base + key->offset, *b = (const char *)b_base + key->offset;

	switch (key->type) {
	case CLEATD_KEY_PATHS:
		return lists_equal(*(char *const *const *)a, *(char *const *const *)b);
	case CLEATD_KEY_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case CLEATD_KEY_MODE:
	case CLEATD_KEY_THREADS:
	case CLEATD_KEY_COUNT:
	case CLEATD_KEY_LEVEL:
	case CLEATD_KEY_FORMAT:
		return *(const unsigned *)a == *(const unsigned *)b;
	default:
		return texts_equal(*(const char *const *)a, *(const char *const *)b);
	}
}
