/* layer.h - wrappers around any backend: a table that looks like the backend and passes each call on to it.
 *
 * Layers are for tests; a production configuration names none.  A layer sees only the contract of backends,
 * util and sys.
 */
#ifndef CLEAT_LAYERS_LAYER_H
#define CLEAT_LAYERS_LAYER_H

#include <cleat/backend.h>
#include <cleat/error.h>

/* The layer called `name` ("fault") around inner; NULL when there is no such layer or no room for another
 * table.  The same inner gives the same table, which lives as long as the process. */
const struct cleat_backend *cleat_layer_find(const char *name, const struct cleat_backend *inner);

/* The layer that makes things go wrong.  Its rules are separated by commas or line breaks:
 *
 *   <slot>=error:<CODE>[:<times>]    the call fails with that code and never reaches the backend
 *   <slot>=late:<CODE>[:<times>]     the backend does its work, and then the call fails: the answer was lost
 *   <slot>=delay:<ms>[:<times>]      the call begins that much later
 *   <slot>=hang:<file>[:<limit ms>]  the call waits while the file exists, in a step with that limit (1000
 * without one) <slot>=crash:<n>                 the process kills itself with SIGKILL when the slot is called
 * for the n-th time <slot>=again:<ms>:<times>        "not yet, ask again after so many milliseconds"; only
 * for slots that work on a volume
 *
 * A slot is named as in struct cleat_backend, "*" stands for each one that works on a volume.  times 0 or
 * left out: always.  Rules apply in the order they are written.  They come from the file that the environment
 * variable CLEAT_FAULT_FILE names, read anew at each call (counts begin again when its text changes), or else
 * from CLEAT_FAULT, or from cleat_layer_fault_set(). */
const struct cleat_backend *cleat_layer_fault(const struct cleat_backend *inner);
/* Sets the rules from within the process, in place of the environment's; "" sets none, NULL goes back to the
 * environment. INVALID_ARGUMENT names a rule that is not understood, and leaves the old ones. */
enum cleat_code cleat_layer_fault_set(const char *rules, struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
