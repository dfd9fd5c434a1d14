/* helper.h - the contract between the isolator module and `cleat-mesos`, the program that it starts for every
 * call of the daemon, and the module's side of it: an argument vector, and the reading of the answer.
 *
 * The module runs inside a Mesos agent, whose own gRPC and protobuf must not meet ours: so the gRPC client is
 * this separate program.  The module translates (environment and volumes of a container to words on the
 * command line); the program knows the daemon, and the table that maps a Docker volume driver to a pool.
 *
 * ---- how it is started ----
 *
 *   cleat-mesos [--socket PATH] [--config FILE] [--root DIR] [--timeout SECONDS] VERB ...
 *
 * by posix_spawn with /dev/null as stdin, as the agent's user (root), in a process group of its own, with the
 * environment PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin and LC_ALL=C and nothing else.
 *   --socket PATH      the daemon's socket                                   default /run/cleat/cleat.sock
 *   --config FILE      the table of drivers; a missing file that was not named here is an empty table
 *                                                                            default /etc/cleat/drivers.conf
 *   --root DIR         where containers' volumes are mounted, see below      default /run/cleat-mesos
 *   --timeout SECONDS  the program ends by itself within this time           default 120
 * The module kills the program's process group 5 s after --timeout has passed.
 *
 * ---- what it answers ----
 *
 * Exactly one line of JSON on stdout, at most 1 MiB, one object whose values are texts, true, false, whole
 * numbers or lists of texts; nothing is nested deeper.  Unknown keys are ignored by the module.
 *   {"ok": true, ...}                                                   exit code 0
 *   {"ok": false, "code": "UNAVAILABLE", "error": "...", "retry": true} exit code 1
 * `code` is a name of cleat_code_name(), `error` one line for people ("volume 'db': in use by ..."), `retry`
 * says that the same call may succeed later.  Exit code 2: the command line is wrong (answered in the same
 * form, code INVALID_ARGUMENT).  Anything else, no line or a line that is not such JSON is a failure of code
 * INTERNAL.  stderr is for people; the module passes it on to the agent's own stderr.
 *
 * ---- container keys and the root ----
 *
 * KEY stands for one container: the ids of its chain from the outermost on, joined by '.', where every byte
 * outside [A-Za-z0-9_-] is written %XX with upper-case digits; 1 to 200 bytes, never "." or "..".
 * The volumes of a container are published at ROOT/KEY/0, ROOT/KEY/1, ... in the order of the command line;
 * all claims below ROOT/KEY/ are that container's, and the daemon's claims are the truth about what a
 * container holds.  The program makes ROOT (0700; `publish` and `recover` make it when missing) and ROOT/KEY,
 * and removes ROOT/KEY when nothing is left in it.
 *
 * Intent before action: before it calls the daemon, `publish` writes into ROOT/KEY which volumes it is going
 * to claim, so that a later `release` can also take back a publication that the daemon still works on when
 * the program was killed (its call waits for the volume's turn in the daemon).  `publish`, `release` and
 * `recover` hold an flock() on ROOT/KEY while they work on that container, and wait for it within their
 * time limit: the program that a killed agent had started may still be running.
 *
 * The module never runs two `publish` at a time that name the same volume (same driver or pool, and name), nor
 * two programs for one container, nor anything beside `recover`; different volumes are worked on in parallel.
 * What may still meet: releases of containers that the module knew before a restart, and two drivers that the
 * table maps to one pool.  So the shared claims of --host are made, counted and released under a flock() of
 * their own, on ROOT.
 *
 * ---- verbs ----
 *
 * publish KEY --owner TEXT [--scope SCOPE] (--volume NAME [volume options])...
 *   Publishes all volumes of one container, or none: when one fails, those already published by this call
 *   are taken back, and the error names the volume that failed.  1 to 32 volumes.  TEXT describes the claims
 *   to people ("mesos container 5a3e...").  Repeating the call while the container has its volumes succeeds.
 *   The options after --volume NAME belong to that volume, until the next --volume:
 *     --driver DRIVER    the Docker volume driver that the task named; the table gives pool, names and
 *                        defaults of options; without an entry the pool of that name, else the default pool
 *     --pool POOL        instead of --driver; neither: the daemon's default pool
 *     --opt KEY=VALUE    with --driver an option in that driver's words, else a parameter of the volume
 *     --size SIZE        as text: "10GiB", "500M", ...; a plain number is bytes
 *     --fs FS            file system
 *     --mode MODE        rw (default), ro, or a word of `cleat volume publish --mode` (multi-node-multi-writer)
 *     --no-create        the volume must exist; otherwise an absent one is created, and an existing one is
 *                        taken as it is, whatever size and options say
 *     --user NAME        a volume that this call creates belongs to this user (parameters uid and gid, unless
 *                        the options give them); a user that is not known here is INVALID_ARGUMENT
 *     --require DIR      DIR must be a directory of the host, else FAILED_PRECONDITION "container path 'DIR' of
 *                        volume 'NAME' does not exist"; looked at before anything is done
 *     --host             the task named no container path: the volume is published as well at the path of the
 *                        host where everybody sees it (the table says where; default
 *                        /var/lib/cleat-mesos/volumes/NAME: the daemon keeps /var/lib/cleat for itself); that
 *                        claim is shared by all containers which ask for it, and released with the last
 *   Ownership and container paths are not this program's business: cleat-mesos-enter, which runs inside the
 *   container's mount namespace, does them.
 *   Answer: "paths": list of texts, one for each volume in order: ROOT/KEY/n; "hosts": list of texts, for each
 *   volume the path of the host, "" without --host.
 *
 * witness KEY PID
 *   Process PID is the container's first process: the claims of KEY are stale when it is gone.  A container
 *   without claims succeeds.  The module does not fail a container when this fails.
 *
 * release KEY
 *   Unpublishes everything of the container, also what an unfinished `publish` intended, removes ROOT/KEY.
 *   A container that has nothing, or is unknown, or a missing ROOT succeeds.  Everything is tried before the
 *   first failure is reported.  Answer: "released": list of texts, the volumes' ids.
 *
 * recover [--keep KEY]...
 *   After the agent's restart: every container found in claims below ROOT or in ROOT that is not named by a --keep
 *   is released as by `release`.  Answer, also when ok is false: "kept", "released", "failed": lists of KEYs;
 *   ok is false when `failed` is not empty.
 *
 * check [--modules FILE] [--isolation TEXT]
 *   For an operator, never called by the module.
 */
#ifndef CLEAT_MESOS_HELPER_H
#define CLEAT_MESOS_HELPER_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLEAT_MESOS_KEY_MAX_BYTES 200
#define CLEAT_MESOS_MAX_VOLUMES 32
#define CLEAT_MESOS_ANSWER_MAX_BYTES (1u << 20)
#define CLEAT_MESOS_DEFAULT_TIMEOUT_S 120
#define CLEAT_MESOS_KILL_AFTER_MS 5000 /* past the program's own limit */

#define CLEAT_MESOS_DEFAULT_SOCKET "/run/cleat/cleat.sock"
#define CLEAT_MESOS_DEFAULT_CONFIG "/etc/cleat/drivers.conf"
#define CLEAT_MESOS_DEFAULT_ROOT "/run/cleat-mesos"

#endif
