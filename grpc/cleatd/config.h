/* config.h - cleatd's configuration: read from YAML, checked whole, with every error named by file and line.
 *
 * The key tables below are the only truth about what may be written: parsing, --help-config, the manual page
 * and the reload all go by them.  Keys of a pool that belong to its backend come from the backend's own
 * table.
 */
#ifndef CLEATD_CONFIG_H
#define CLEATD_CONFIG_H

#include "cleatd/report.h"
#include "util/log.h"

#include <cleat/volume.h>
#include <stddef.h>
#include <sys/types.h>

#define CLEATD_MAX_POOLS 64
#define CLEATD_MAX_PREFIXES 64

enum cleatd_key_type {
	CLEATD_KEY_TEXT,    /* char *: any text up to 255 bytes */
	CLEATD_KEY_NODE,    /* char *: 1..128 bytes of [A-Za-z0-9._-] */
	CLEATD_KEY_NAME,    /* char *: a pool's or backend's name, 1..31 of [a-z0-9-] */
	CLEATD_KEY_PATH,    /* char *: absolute */
	CLEATD_KEY_SOCKET,  /* char *: absolute, at most 107 bytes */
	CLEATD_KEY_PATHS,   /* char **: a list of absolute paths, NULL-terminated */
	CLEATD_KEY_ADDRESS, /* char *: host:port */
	CLEATD_KEY_DRIVER,  /* char *: a CSI plugin's name */
	CLEATD_KEY_BOOL,    /* bool */
	CLEATD_KEY_MODE,    /* mode_t: octal permissions */
	CLEATD_KEY_THREADS, /* unsigned: 1..64 */
	CLEATD_KEY_COUNT,   /* unsigned: 0..65535 */
	CLEATD_KEY_LEVEL,   /* enum cleat_log_level */
	CLEATD_KEY_FORMAT,  /* enum cleat_log_format */
	CLEATD_KEY_PAIRS,   /* struct cleat_kvs: a pool's topology */
};

struct cleatd_key {
	const char *name; /* dotted: "socket.mode" */
	enum cleatd_key_type type;
	size_t offset;	  /* in struct cleatd_config, or in struct cleat_pool_config */
	const char *def;  /* the default as it would be written; "(...)" describes one that is worked out */
	bool reload;	  /* a change takes effect on SIGHUP; else at the next start */
	const char *text; /* one sentence */
};

extern const struct cleatd_key cleatd_config_keys[]; /* ends with a NULL name */
extern const struct cleatd_key cleatd_pool_keys[];   /* below pools.<name>, beside the backend's own */
/* "absolute path", "true or false" ...: what a value of that type is, for people. */
const char *cleatd_key_type_text(enum cleatd_key_type type);

struct cleatd_config {
	char *node; /* NULL: the host's name */
	char *state_dir;
	char *runtime_dir;
	char *socket_path;
	mode_t socket_mode;
	char *socket_group; /* NULL: "cleat" if there is such a group, else root's */
	enum cleat_log_level log_level;
	enum cleat_log_format log_format;
	char **target_prefixes; /* NULL: the built-in rule */
	char *default_pool; /* NULL: the one named default, or the only one */
	bool any_namespace;
	char *listen_address; /* NULL: no TCP listener; else the three below are set, too */
	char *listen_cert;
	char *listen_key;
	char *listen_client_ca;
	char *csi_socket; /* NULL: CSI is not served */
	mode_t csi_mode;
	char *csi_driver_name;
	unsigned csi_max_volumes;
	bool csi_attach;
	bool csi_local_multi_node;
	bool csi_node_expand;
	bool csi_stage;
	struct cleat_pool_config *pools;
	size_t pool_count;
};

/* A configuration with every default that is a constant. */
enum cleat_code cleatd_config_init(struct cleatd_config *config, struct cleat_error *err) CLEAT_MUST_CHECK;
void cleatd_config_done(struct cleatd_config *config);

/* Reads n bytes over what is in config (from cleatd_config_init).  False when something was reported; the
 * config is then good for cleatd_config_done() only. */
bool cleatd_config_parse(struct cleatd_config *config, const char *bytes, size_t n,
			 struct cleatd_report *report);
/* The same from a file of at most CLEATD_YAML_MAX_BYTES. */
bool cleatd_config_load(struct cleatd_config *config, const char *path, struct cleatd_report *report);
/* Sets one key from text, as a command line does.  False and an error text when the value is not acceptable.
 */
bool cleatd_config_set(struct cleatd_config *config, const char *name, const char *value,
		       struct cleat_error *err);
/* Works out what depends on something else: the socket's path, the embedded default pool.  After parsing and
 * options. */
enum cleat_code cleatd_config_finish(struct cleatd_config *config, struct cleat_error *err) CLEAT_MUST_CHECK;

/* Names of the keys whose values differ, to fn, with whether a reload is enough; pools are compared by the
 * engine. */
void cleatd_config_compare(const struct cleatd_config *a, const struct cleatd_config *b,
			   void (*fn)(const struct cleatd_key *key, void *arg), void *arg);
/* Exchanges the values of the keys that take effect at the next start only: what a reload must leave as it
 * runs. */
void cleatd_config_swap_fixed(struct cleatd_config *a, struct cleatd_config *b);

/* Prints the tables, with the pool keys of every backend. */
void cleatd_config_print_keys(void);

#endif
