/* drivers_fuzz.c - arbitrary bytes as the table of Docker volume drivers: refused with a reason, or what came
 * out can be relied on. */
#include "fuzz.h"

#include "doors/drivers.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			abort();                                                                             \
	} while (0)

static void check_options(const struct cleat_door_driver *d)
{
	struct cleat_kv pairs[] = { { (char *)(uintptr_t) "VolumeType", (char *)(uintptr_t) "x" },
				    { (char *)(uintptr_t) "size", (char *)(uintptr_t) "7" } };
	const struct cleat_kvs options = { pairs, 2 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_door_options o;

	if (cleat_door_options_take(d, &options, &o, &err)) {
		MUST(err.msg[0]);
		return;
	}
	MUST(o.params.count <= d->params.count + 2);
	cleat_door_options_done(&o);
}

static void check_driver(const struct cleat_door_driver *d)
{
	char path[64];
	struct cleat_error err = CLEAT_ERROR_INIT;

	MUST(d->name && *d->name && d->size_unit_bytes > 0);
	MUST(!d->pool || *d->pool);
	MUST(!d->host_path || (d->host_path[0] == '/' && strstr(d->host_path, "%n")));
	if (cleat_door_host_path(d, "/f/%n", "pool", "name", path, sizeof(path), &err) == CLEAT_OK)
		MUST(path[0] == '/' && memchr(path, '\0', sizeof(path)) && strstr(path, "name"));
	check_options(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_door_drivers t;

	if (cleat_door_drivers_parse(&t, "fuzz", (const char *)data, n, &err)) {
		MUST(err.code == CLEAT_INVALID_ARGUMENT && strncmp(err.msg, "fuzz", 4) == 0);
		MUST(t.count == 0 && !t.items);
		return 0;
	}
	MUST(t.count <= CLEAT_DOOR_DRIVERS_MAX);
	for (size_t i = 0; i < t.count; i++)
		check_driver(&t.items[i]);
	cleat_door_drivers_done(&t);
	return 0;
}
