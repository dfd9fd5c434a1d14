/* janitor.h - takes back what was left: tasks of a plugin that was killed, claims of a time without daemon,
 * volumes of allocations that are gone.
 *
 * One thread, in the one process that holds the state directory's lock.  It never touches a task that this
 * process looks after, and never deletes anything but the volumes of an allocation whose directory has been
 * removed.
 */
#ifndef CLEAT_DRIVER_JANITOR_H
#define CLEAT_DRIVER_JANITOR_H

#include "driver/driver.h"

enum cleat_code driver_janitor_start(struct driver *d, struct driver_janitor **out,
				     struct cleat_error *err) CLEAT_MUST_CHECK;
/* There is something to do now. */
void driver_janitor_wake(struct driver_janitor *j);
void driver_janitor_stop(struct driver_janitor *j); /* begins the end */
void driver_janitor_free(struct driver_janitor *j);

#endif
