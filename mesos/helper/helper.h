/* helper.h - what the verbs of cleat-mesos share.  What the program promises to the module that starts it is
 * in module/helper.h. */
#ifndef CLEAT_MESOS_HELPER_HELPER_H
#define CLEAT_MESOS_HELPER_HELPER_H

#include "doors/daemon.h"
#include "doors/drivers.h"
#include "doors/volume.h"
#include "module/helper.h"

#include <stdbool.h>
#include <stdint.h>

struct json_t;

#define HELPER_ROOT_BYTES 1100
#define HELPER_CONTAINER_BYTES (HELPER_ROOT_BYTES + CLEAT_MESOS_KEY_MAX_BYTES + 2) /* of ROOT/KEY */

/* ---- the command line (args.c) ---- */

/* One --volume and what follows it; texts are borrowed from argv. */
struct helper_volume {
	const char *name;
	const char *driver, *pool, *size, *fs, *user, *require; /* NULL: not given */
	struct cleat_kvs options;				/* owned */
	int mode;						/* of the API's AccessMode */
	bool read_only, no_create, host;
};

struct helper_args {
	const char *socket, *config, *root; /* NULL: not given */
	const char *verb;
	int64_t timeout_ms;
	const char *key, *owner, *scope; /* "" without --scope */
	int64_t pid;
	struct helper_volume volumes[CLEAT_MESOS_MAX_VOLUMES];
	size_t volume_count;
	const char **keep; /* owned */
	size_t keep_count;
	const char *modules, *isolation; /* NULL: not given */
	bool help, version;
};

/* INVALID_ARGUMENT says what is wrong. */
enum cleat_code helper_args_parse(struct helper_args *a, int argc, char **argv,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
void helper_args_done(struct helper_args *a);
void helper_help(void);
/* A verb or an option as the help and the manual show it. */
struct helper_word {
	const char *name, *value; /* value: what follows it; NULL: nothing */
	const char *text;	  /* one sentence without a full stop */
};
const struct helper_word *helper_verb_at(size_t i);   /* NULL past the end */
const struct helper_word *helper_option_at(size_t i); /* likewise */
/* Whether it is a container's key as the contract has it. */
bool helper_is_key(const char *key);

/* ---- one run of the program ---- */

struct helper {
	const struct helper_args *args;
	struct cleat_door *door;
	char root[HELPER_ROOT_BYTES]; /* without symlinks; "" while there is none */
	int root_fd;		      /* -1: there is none */
	int64_t end_ms;		      /* of the monotonic clock: the program's own limit */
	struct json_t *answer;	      /* what is added to "ok" */
};

/* Each does what the contract says of its verb, and puts its lists into the answer, also when it fails. */
enum cleat_code helper_publish(struct helper *h, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code helper_release(struct helper *h, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code helper_recover(struct helper *h, struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code helper_witness(struct helper *h, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Prints what it finds, for people; the exit code is 1 when something is wrong. */
int helper_check(const struct helper_args *args);

/* ---- containers (container.c) ---- */

/* Opens ROOT, which is made when `make` is set.  CLEAT_OK with root_fd -1: there is none. */
enum cleat_code helper_root_open(struct helper *h, bool make, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Makes the directory a shared mount, if it does not lie on one: a container that is started has copies of
 * all mounts, and only of a shared one do they go when the original goes (share.c). */
enum cleat_code helper_share(const char *dir, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Whether the directory lies on a shared mount. */
enum cleat_code helper_is_shared(const char *dir, bool *shared_out, struct cleat_error *err) CLEAT_MUST_CHECK;

/* What a container claims, or is going to. */
struct helper_item {
	char id[CLEAT_DOOR_ID_BYTES];
	char *target; /* ROOT/KEY/n; owned */
	char *host;   /* a path of the host that it shares with others; NULL: none; owned */
};
struct helper_items {
	struct helper_item *items;
	size_t count;
};
void helper_items_done(struct helper_items *l);
#define helper_autoitems __attribute__((cleanup(helper_items_done)))
/* Copies the texts; a target that is there already is not added again. */
enum cleat_code helper_items_add(struct helper_items *l, const char *id, const char *target, const char *host,
				 struct cleat_error *err) CLEAT_MUST_CHECK;

/* ROOT/KEY while this program alone works on it. */
struct helper_container {
	char key[CLEAT_MESOS_KEY_MAX_BYTES + 1];
	char path[HELPER_CONTAINER_BYTES];
	int fd; /* locked; -1: there is no such directory */
};
/* Waits for whoever works on it, up to the program's limit.  Without `make` a directory that is not there is
 * no error: fd is -1 then. */
enum cleat_code helper_container_open(const struct helper *h, const char *key, bool make,
				      struct helper_container *out, struct cleat_error *err) CLEAT_MUST_CHECK;
void helper_container_close(struct helper_container *c);
#define helper_autocontainer __attribute__((cleanup(helper_container_close)))
/* Removes the directory and what is left of the mount points in it, if nothing is mounted there. */
void helper_container_remove(const struct helper *h, struct helper_container *c);

/* Waits for ROOT itself: shared claims are counted under it.  The descriptor is to be closed. */
enum cleat_code helper_root_lock(const struct helper *h, int *fd_out,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Calls fn for the key of each container's directory below ROOT. */
enum cleat_code helper_keys(const struct helper *h, void (*fn)(const char *key, void *arg), void *arg,
			    struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- intents (intent.c) ---- */

/* Replaces what the container is going to claim; whole or not at all. */
enum cleat_code helper_intent_write(const struct helper_container *c, const struct helper_items *l,
				    struct cleat_error *err) CLEAT_MUST_CHECK;
/* Adds it to l; a container without intent adds nothing.  One that cannot be understood adds nothing, too:
 * the daemon's claims tell the same. */
enum cleat_code helper_intent_read(int root_fd, const char *key, struct helper_items *l, bool *found_out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- claims (release.c) ---- */

/* The claims below ROOT/KEY/. */
enum cleat_code helper_claims_of(struct helper *h, const char *key, struct helper_items *l,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Unpublishes item i of the container's, and its path on the host unless another container intends it as
 * well; the item has no such path any more then, which is written into the intent. */
enum cleat_code helper_release_item(struct helper *h, const struct helper_container *c,
				    struct helper_items *l, size_t i,
				    struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- the answer (answer.c) ---- */

/* One line on stdout; returns the exit code. */
int helper_answer(struct json_t *answer, const struct cleat_error *err, bool usage);
/* Appends the text to the list of that name, which is made when it is not there. */
void helper_answer_add(struct json_t *answer, const char *list, const char *text);
void helper_answer_list(struct json_t *answer, const char *list);

#endif
