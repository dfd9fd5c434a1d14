/* driver_state_fuzz.c - arbitrary bytes as the driver's recorded state, which an agent hands back: refused
 * with a reason, or no path in it leads out of where it belongs, and it can be written and read again. */
#include "fuzz.h"

#include "driver/state.h"
#include "rt/pb.h"
#include "util/mem.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			abort();                                                                             \
	} while (0)

static void check_name(const char *name)
{
	MUST(*name && strlen(name) <= 128 && *name != '.' && *name != '-' && !strchr(name, '/'));
}

static void check_path(const char *path)
{
	size_t n = strlen(path);

	MUST(path[0] == '/' && !strstr(path, "/../"));
	MUST(n < 3 || strcmp(path + n - 3, "/..") != 0);
}

static void check_task(const State__Task *t)
{
	cleat_autofree uint8_t *bytes = NULL;
	cleat_autopb State__Task *again = NULL;
	size_t n;

	MUST(t->format == DRIVER_STATE_FORMAT && *t->id);
	check_name(t->container);
	check_path(t->alloc_dir);
	for (size_t i = 0; i < t->n_volumes; i++) {
		MUST(*t->volumes[i]->volume);
		check_path(t->volumes[i]->target);
	}
	MUST(driver_state_encode(&t->base, &bytes, &n, NULL) == CLEAT_OK);
	if (n <= DRIVER_STATE_MAX_BYTES)
		MUST(driver_state_decode_task(bytes, n, &again, NULL) == CLEAT_OK);
}

static void check_alloc(const State__Allocation *a)
{
	check_name(a->id);
	check_path(a->dir);
	for (size_t i = 0; i < a->n_volumes; i++)
		MUST(*a->volumes[i]->volume && !*a->volumes[i]->target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleat_autopb State__Task *task = NULL;
	cleat_autopb State__Allocation *alloc = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (driver_state_decode_task(data, n, &task, &err) == CLEAT_OK)
		check_task(task);
	else
		MUST(err.msg[0] && !task);
	err = (struct cleat_error)CLEAT_ERROR_INIT;
	if (driver_state_decode_alloc(data, n, &alloc, &err) == CLEAT_OK)
		check_alloc(alloc);
	else
		MUST(err.msg[0] && !alloc);
	return 0;
}
