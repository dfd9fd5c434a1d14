/* cli.h - what the verbs of the command `cleat` share: options, the connection, output.
 *
 * Each verb is one constant table in a file of its own (volume_create.c is `cleat volume create`): which
 * arguments and options it takes, and a function that makes the call and prints the answer.  Parsing, help,
 * errors and exit codes are the same for all.
 */
#ifndef CLEAT_CLI_CLI_H
#define CLEAT_CLI_CLI_H

#include "cleat/v1/volumes.pb-c.h"
#include "rt/client.h"
#include "rt/pb.h"
#include "util/kv.h"
#include "util/mem.h"
#include "util/size.h"

#include <cleat/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_DEFAULT_SOCKET "/run/cleat/cleat.sock"
#define CLI_ARGS_MAX 40		     /* more than a group snapshot may take */
#define CLI_OPTIONS_MAX 24	     /* of one verb, the common ones not counted */
#define CLI_READ_TIMEOUT_MS 30000    /* for calls that answer from memory */
#define CLI_CHANGE_TIMEOUT_MS 600000 /* for calls that touch storage */

/* Exit codes: part of the interface, documented in cleat(1). */
enum cli_exit {
	CLI_EXIT_OK = 0,
	CLI_EXIT_FAILURE = 1,
	CLI_EXIT_USAGE = 2, /* the command line, or an argument the daemon calls invalid */
	CLI_EXIT_NOT_FOUND = 3,
	CLI_EXIT_IN_USE = 4,	  /* in use, or not in the state that the verb needs */
	CLI_EXIT_EXISTS = 5,	  /* exists already, and differs from what was asked for */
	CLI_EXIT_UNREACHABLE = 6, /* nobody serves the socket */
	CLI_EXIT_RETRY = 7, /* out of time, or something else is running: the same command may work later */
	CLI_EXIT_NO_SPACE = 8, /* the pool (or another resource) is used up */
};

/* Every option of every verb; options.c has names, texts and where the value goes. */
enum cli_opt {
	CLI_OPT_END = 0,
	CLI_OPT_QUIET = 'q',
	CLI_OPT_HELP = 'h',
	CLI_OPT_VERSION = 'V',
	CLI_OPT_SOCKET = 256,
	CLI_OPT_JSON,
	CLI_OPT_TIMEOUT,
	CLI_OPT_POOL,
	CLI_OPT_SCOPE,
	CLI_OPT_ALL_SCOPES,
	CLI_OPT_NAME,
	CLI_OPT_SIZE,
	CLI_OPT_LIMIT,
	CLI_OPT_HARD_SIZE,
	CLI_OPT_FROM,
	CLI_OPT_ACCESS,
	CLI_OPT_PARAM,
	CLI_OPT_FS,
	CLI_OPT_UID,
	CLI_OPT_GID,
	CLI_OPT_MODE,
	CLI_OPT_THICK,
	CLI_OPT_LABEL,
	CLI_OPT_REMOVE_LABEL,
	CLI_OPT_ACCESS_MODE,
	CLI_OPT_READ_ONLY,
	CLI_OPT_OPTION,
	CLI_OPT_OWNER,
	CLI_OPT_PID,
	CLI_OPT_CGROUP,
	CLI_OPT_NODE,
	CLI_OPT_GROUP,
	CLI_OPT_FORCE,
	CLI_OPT_FIX,
	CLI_OPT_REFRESH,
	CLI_OPT_AFTER,
	CLI_OPT_COUNT,
};

/* Where parsed options and arguments end up.  Texts are borrowed from argv; lists are owned. */
struct cli_values {
	char *arg[CLI_ARGS_MAX];
	unsigned arg_count;
	char *socket, *pool, *scope, *name, *from, *owner, *cgroup, *node, *group, *after;
	bool json, quiet, help,
		version; /* json: set before parsing already when argv has it, so that every error obeys */
	bool all_scopes, hard_size, read_only, force, fix, refresh;
	int64_t timeout_ms; /* 0: the verb's own */
	uint64_t size_bytes, limit_bytes, pid, count;
	int access, access_mode; /* numbers of the API's enums; 0: not given */
	struct cleat_kvs params, labels, mount_options;
};

/* An option as one verb uses it. */
struct cli_use {
	enum cli_opt opt;
	const char *doc; /* NULL: the option's general text */
};

struct cli;

struct cli_verb {
	const char *noun; /* NULL: a command of one word, e.g. `cleat watch` */
	const char *name;
	const char *args;    /* as the usage line shows them */
	const char *summary; /* one line */
	const char *more;    /* rules and examples for --help; NULL without */
	unsigned min_args, max_args;
	const struct cli_use *options; /* ends with CLI_OPT_END; NULL without */
	/* Makes the call and prints the answer.  On failure the caller prints err. */
	enum cleat_code (*run)(struct cli *cli, struct cleat_error *err);
};

struct cli {
	const struct cli_verb *verb; /* NULL while not known */
	struct cli_values v;
	struct cleat_rpc_client *client; /* NULL before the first call */
	struct cleat_pb_arena scratch;	 /* what requests are built from; freed at the end */
	bool unreachable;		 /* the last error means that nobody serves the socket */
};

/* ---- parsing (parse.c, options.c, words.c) ---- */

extern const struct cli_verb *const cli_verbs[]; /* ends with NULL */
const struct cli_verb *cli_verb_find(const char *noun, const char *name);
bool cli_noun_exists(const char *noun);

/* Parses argv[1..] for one verb into cli->v, and checks the number of arguments.  INVALID_ARGUMENT says what
 * is wrong. */
enum cleat_code cli_parse_verb(struct cli *cli, const struct cli_verb *verb, int argc, char **argv,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
/* Parses the options before the first word; *next_out is that word's index, or argc. */
enum cleat_code cli_parse_common(struct cli *cli, int argc, char **argv, int *next_out,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
void cli_help_verb(const struct cli_verb *verb); /* to stdout */
void cli_help_noun(const char *noun, FILE *to);	 /* NULL: everything */

/* An option's fixed properties. */
struct cli_option {
	enum cli_opt opt;
	const char *name;
	const char *value; /* what the help calls its value; NULL: a flag */
	const char *doc;
};
const struct cli_option *cli_option_at(unsigned i); /* NULL past the end */
const struct cli_option *cli_option_find(enum cli_opt opt);
bool cli_option_is_common(enum cli_opt opt);
/* Puts one option's value where it belongs. */
enum cleat_code cli_option_set(struct cli_values *v, enum cli_opt opt, char *value,
			       struct cleat_error *err) CLEAT_MUST_CHECK;
void cli_values_done(struct cli_values *v);

/* "30s", "500ms", "5m", "1h", or seconds; 1 ms to 24 h. */
enum cleat_code cli_duration_parse(const char *text, int64_t *ms_out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* An enum's number as a short word ("single-node-writer") and back; buf holds what is returned. */
#define CLI_WORD_BYTES 64
const char *cli_word(const ProtobufCEnumDescriptor *d, int number, char buf[CLI_WORD_BYTES]);
enum cleat_code cli_word_parse(const ProtobufCEnumDescriptor *d, const char *word, int *number_out,
			       struct cleat_error *err) CLEAT_MUST_CHECK;

enum cli_exit cli_exit_of(enum cleat_code code);

/* ---- calling (client.c, request.c, progress.c) ---- */

/* One unary call of cleat.v1.Volumes; *response_out (a generated message) belongs to the caller:
 * cleat_autopb. */
enum cleat_code cli_read(struct cli *cli, const char *method, const ProtobufCMessage *request,
			 void *response_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The same for a call that may take long: shows the steps of the operation on `subject` on a terminal. */
enum cleat_code cli_change(struct cli *cli, const char *method, const ProtobufCMessage *request,
			   const char *subject, void *response_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The open connection. */
enum cleat_code cli_connect(struct cli *cli, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Replaces UNAVAILABLE of a socket that nobody serves by words that help, and notes it in cli->unreachable.
 */
enum cleat_code cli_explain(struct cli *cli, struct cleat_error *err);
const char *cli_socket(const struct cli *cli);

struct cli_progress;
/* Begins to show the steps of the operation on `subject` (id or pool/name); NULL when nothing is to be shown.
 */
struct cli_progress *cli_progress_start(struct cli *cli, const char *subject);
void cli_progress_stop(struct cli_progress *p); /* wipes the line; NULL is fine */

/* Memory for a request, zeroed; ends the program when there is none. */
void *cli_scratch(struct cli *cli, size_t bytes);
/* The pairs as entries of a generated map field; `entry` is its XEntry descriptor. */
void *cli_map(struct cli *cli, const struct cleat_kvs *kvs, const ProtobufCMessageDescriptor *entry,
	      size_t *count_out);
/* A text for a request: never NULL. */
char *cli_text(char *text);
/* Splits "pool/name"; a bare name goes with --pool, or "" for the default pool. */
enum cleat_code cli_place(struct cli *cli, char *arg, char **pool_out, char **name_out,
			  struct cleat_error *err) CLEAT_MUST_CHECK;
/* A volume or snapshot as the API names it: an id or "pool/name" as it is, a bare name with the default pool
 * before it. */
enum cleat_code cli_ref(struct cli *cli, char *arg, char **ref_out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- output (json.c, table.c, show.c) ---- */

/* The message as one JSON object and a line break: to stdout, or as a value that belongs to the caller. */
struct json_t;
struct libscols_table;
struct json_t *cli_json_of(const ProtobufCMessage *m);
enum cleat_code cli_json_print(const ProtobufCMessage *m, struct cleat_error *err);
enum cleat_code cli_json_print_value(struct json_t *value, bool indent,
				     struct cleat_error *err); /* takes the value over */
/* Appends the elements of message field `field` of page m to a list answer in the making; *all is created
 * when NULL. */
enum cleat_code cli_json_page(struct json_t **all, const ProtobufCMessage *m, const char *field,
			      struct cleat_error *err);
/* The end of a list: prints table or JSON, or only frees both after an error.  Returns err's code. */
enum cleat_code cli_list_finish(struct cli *cli, struct libscols_table *t, struct json_t *all,
				struct cleat_error *err);
/* A copy for a later request, in the scratch memory. */
char *cli_keep(struct cli *cli, const char *text);
void cli_json_error(const struct cli *cli, const struct cleat_error *err); /* to stderr */

struct cli_column {
	const char *head;
	bool right; /* numbers */
};
struct libscols_table *cli_table_new(const struct cli_column *columns, unsigned count);
/* One row, as many texts as there are columns (copied); NULL is "". */
void cli_table_row(struct libscols_table *t, const char *const *cells, unsigned count);
void cli_table_print(struct libscols_table *t); /* prints and frees */

/* "name:   value" for people, control characters made harmless; name NULL goes on with the field before; a
 * NULL or empty value prints nothing. */
void cli_field(const char *name, const char *value);
void cli_fieldf(const char *name, const char *fmt, ...) CLEAT_PRINTF(2, 3);
void cli_field_size(const char *name, uint64_t bytes); /* human and exact */
/* One line on stdout, unless --quiet or --json. */
void cli_say(const struct cli *cli, const char *fmt, ...) CLEAT_PRINTF(2, 3);
/* Text from outside, made safe for a terminal. */
#define CLI_SAFE_BYTES 1100
const char *cli_safe(const char *text, char buf[CLI_SAFE_BYTES]);
#define CLI_TIME_BYTES 40
const char *cli_time(int64_t ms, char buf[CLI_TIME_BYTES]);	/* local time for people; "-" for 0 */
const char *cli_time_iso(int64_t ms, char buf[CLI_TIME_BYTES]); /* UTC with milliseconds */
const char *cli_size(uint64_t bytes, char *buf);		/* CLEAT_SIZE_TEXT_BYTES; "-" for 0 */

void cli_show_volume(const Cleat__V1__Volume *v, bool snapshot);
void cli_table_volumes(Cleat__V1__Volume *const *volumes, size_t count, struct libscols_table *t,
		       bool snapshots);
struct libscols_table *cli_table_volumes_new(bool snapshots);

#endif
