/* state.h - what the driver remembers on disk, so that another process can go on where this one was killed.
 *
 *	<state_dir>/lock                held by the process that cleans up
 *	<state_dir>/tasks/<container>/  run.h: bundle, pids, exit
 *	<state_dir>/records/<container> State.Task; written before anything is done for the task, removed when
 *nothing is left of it <state_dir>/mounts/<container>/ where the task's volumes are published, one directory
 *each <state_dir>/allocs/<alloc id>   State.Allocation: volumes that go with the allocation
 *
 * Opening it changes nothing that another process relies on: during an agent's start several plugin processes
 *may have it open.
 */
#ifndef CLEAT_DRIVER_STATE_H
#define CLEAT_DRIVER_STATE_H

#include <cleat/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleat/nomad/v1/state.pb-c.h"

#define DRIVER_STATE_FORMAT 1
#define DRIVER_STATE_MAX_BYTES (256 * 1024)
#define DRIVER_CONTAINER_BYTES 80 /* of a container's name with its NUL */

/* From the host's task id, "<alloc id>/<task>/<8 hex digits>": eight characters of the allocation, the task,
 * and a hash of it all; readable, unique, and nothing but [A-Za-z0-9_-].  Ids of another form get a name as
 * well. */
void driver_container_name(const char *task_id, char out[DRIVER_CONTAINER_BYTES]);

/* ---- bytes ---- */

/* INVALID_ARGUMENT for what is no record, or one that could lead out of the state directory;
 * FAILED_PRECONDITION for a newer format.  Free with cleat_pb_free(). */
enum cleat_code driver_state_decode_task(const uint8_t *bytes, size_t n, State__Task **out,
					 struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code driver_state_decode_alloc(const uint8_t *bytes, size_t n, State__Allocation **out,
					  struct cleat_error *err) CLEAT_MUST_CHECK;
/* The packed message; free(). */
enum cleat_code driver_state_encode(const ProtobufCMessage *m, uint8_t **bytes_out, size_t *n_out,
				    struct cleat_error *err) CLEAT_MUST_CHECK;

/* ---- files ---- */

struct driver_state;

enum cleat_code driver_state_open(const char *dir, struct driver_state **out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
void driver_state_close(struct driver_state *s);
const char *driver_state_tasks_dir(const struct driver_state *s);
/* Becomes the one that cleans up; true when it is already.  False while another process is. */
bool driver_state_lead(struct driver_state *s);

enum cleat_code driver_state_save_task(struct driver_state *s, const State__Task *t,
				       struct cleat_error *err) CLEAT_MUST_CHECK;
/* NOT_FOUND when there is none. */
enum cleat_code driver_state_load_task(struct driver_state *s, const char *container, State__Task **out,
				       struct cleat_error *err) CLEAT_MUST_CHECK;
/* Removes the record, and the directories of its mounts, which must be unmounted.  Gone is fine. */
enum cleat_code driver_state_forget_task(struct driver_state *s, const State__Task *t,
					 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Makes <mounts>/<container>/<index> and returns its path (free()). */
enum cleat_code driver_state_make_target(struct driver_state *s, const char *container, unsigned index,
					 char **path_out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* The names of all records, sorted; NULL-terminated, free with driver_state_free_names(). */
enum cleat_code driver_state_list_tasks(struct driver_state *s, char ***names_out,
					struct cleat_error *err) CLEAT_MUST_CHECK;

enum cleat_code driver_state_save_alloc(struct driver_state *s, const State__Allocation *a,
					struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code driver_state_load_alloc(struct driver_state *s, const char *id, State__Allocation **out,
					struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code driver_state_forget_alloc(struct driver_state *s, const char *id,
					  struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code driver_state_list_allocs(struct driver_state *s, char ***names_out,
					 struct cleat_error *err) CLEAT_MUST_CHECK;
void driver_state_free_names(char **names);

/* The inode of the directory that `dir` is in; 0 when that is not there. */
uint64_t driver_state_root_inode(const char *dir);
/* Whether an allocation's directory was removed: it is not there, but the directory it was in still is the
 * same one.  (When the file system that holds both is not mounted, the mount point has another inode.) */
bool driver_state_dir_is_gone(const char *dir, uint64_t root_inode);

#endif
