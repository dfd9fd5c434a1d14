/* driver_config_fuzz.c - arbitrary bytes as the msgpack of a job's or the plugin's configuration: refused
 * with a reason, or what came out can be relied on. */
#include "fuzz.h"

#include "driver/jobconfig.h"
#include "driver/settings.h"
#include "util/kv.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			abort();                                                                             \
	} while (0)

static void check_volume(const struct driver_volume_config *v)
{
	MUST(v->name && *v->name && strlen(v->name) <= CLEAT_NAME_MAX_BYTES && !strchr(v->name, '/'));
	MUST(v->destination && v->destination[0] == '/' && !strstr(v->destination, "/../"));
	MUST(v->mode >= CLEAT_MODE_SINGLE_NODE_WRITER && v->mode <= CLEAT_MODE_SINGLE_NODE_MULTI_WRITER);
	MUST(!v->size || v->size_bytes > 0);
	MUST(v->options.count <= CLEAT_KV_MAX && v->mount_options.count <= CLEAT_KV_MAX);
}

static void check_job(const uint8_t *data, size_t n)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct driver_job_config c;

	if (driver_job_read(data, n, &c, &err)) {
		MUST(err.code == CLEAT_INVALID_ARGUMENT || err.code == CLEAT_RESOURCE_EXHAUSTED);
		MUST(err.msg[0]);
		return;
	}
	MUST(c.command && *c.command);
	MUST(c.volumes.count <= DRIVER_VOLUMES_MAX);
	for (size_t i = 0; i < c.volumes.count; i++)
		check_volume(driver_job_volume(&c, i));
	driver_job_done(&c);
}

static void check_settings(const uint8_t *data, size_t n)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct driver_settings s;

	if (driver_settings_read(data, n, &s, &err)) {
		MUST(err.msg[0]);
		return;
	}
	MUST(s.socket[0] == '/' && strlen(s.socket) <= 107 && s.state_dir[0] == '/');
	MUST(s.allow_caps && s.crun && s.conmon && s.pids_limit >= 0);
	driver_settings_done(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	check_job(data, n);
	check_settings(data, n);
	return 0;
}
