/* sim.h - talking to a simulated far side (tests/sim): short HTTP calls to its own /sim/ paths. */
#ifndef TESTS_LIB_SIM_H
#define TESTS_LIB_SIM_H

#include <stdbool.h>
#include <stddef.h>

/* POST /sim/<what> with a JSON body (NULL: none) to the simulator at 127.0.0.1:port; its answer, at most room
 * - 1 bytes of it, goes to out, which may be NULL.  False when it does not answer 200. */
bool sim_call(int port, const char *what, const char *json, char *out, size_t room);

#endif
