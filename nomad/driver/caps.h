/* caps.h - names of Linux capabilities, and the set that a task gets. */
#ifndef CLEAT_DRIVER_CAPS_H
#define CLEAT_DRIVER_CAPS_H

#include <cleat/error.h>
#include <stdbool.h>

/* A capability in any spelling ("net_raw", "CAP_NET_RAW"), or "all". */
bool driver_cap_known(const char *name);

/* The safe default as a new list of short names, NULL-terminated; NULL without memory. */
char **driver_caps_default(void);

/* What a task gets: the default set that `allow` permits, and `add`, without `drop`; as "CAP_..." in a new
 * NULL-terminated list. PERMISSION_DENIED names what `add` wants and `allow` does not have; INVALID_ARGUMENT
 * names what is no capability.  Lists may be NULL. */
enum cleat_code driver_caps_choose(char *const *allow, char *const *add, char *const *drop, char ***out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;

void driver_caps_free(char **list);

#endif
