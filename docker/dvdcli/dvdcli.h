/* dvdcli.h - the command `dvdcli`: volumes by the name of a Docker volume driver, for callers that know that
 * command line and no other.
 *
 * Mesos's own isolator docker/volume (1.0 on) and mesos-module-dvdi run it: flags as Go's pflag takes them,
 * in any place; the path of a mounted volume alone on stdout; messages on stderr; exit code 1 for every
 * failure. It counts nothing: a volume is mounted or it is not.  Mesos mounts once for each container and
 * unmounts after the last one, so that one unmount must undo any number of mounts.
 */
#ifndef CLEAT_DVDCLI_DVDCLI_H
#define CLEAT_DVDCLI_DVDCLI_H

#include "doors/daemon.h"
#include "doors/drivers.h"

#include <stdbool.h>
#include <stdint.h>

/* Mesos kills it after two minutes, and then has nobody's words to tell. */
#define DVDCLI_TIMEOUT_S 110
#define DVDCLI_TIMEOUT_MAX_S 86400

struct dvdcli {
	const char *command; /* NULL: none was given */
	const char *driver, *name;
	const char *socket, *config; /* NULL: not given */
	struct cleat_kvs options;    /* --volumeopts, owned */
	int64_t timeout_ms;
	bool explicit_create; /* mount: the volume must exist */
	bool help, version;
};

/* Reads the words of the command line, which are borrowed.  INVALID_ARGUMENT says what is wrong. */
enum cleat_code dvdcli_parse(struct dvdcli *c, int argc, char **argv,
			     struct cleat_error *err) CLEAT_MUST_CHECK;
void dvdcli_done(struct dvdcli *c);
void dvdcli_help(void);

/* A flag or a command as the help and the manual show it. */
struct dvdcli_word {
	const char *name, *value; /* value: of a flag that takes one */
	const char *text;	  /* one sentence without a full stop */
};
extern const struct dvdcli_word dvdcli_commands[];  /* end with a NULL name */
const struct dvdcli_word *dvdcli_flag_at(size_t i); /* NULL past the end */

/* Does what the command says; the answer goes to stdout. */
enum cleat_code dvdcli_run(const struct dvdcli *c, struct cleat_error *err) CLEAT_MUST_CHECK;
bool dvdcli_is_command(const char *word);

#endif
