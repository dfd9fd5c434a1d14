/* driver.c - see driver.h. */
#include "driver/driver.h"

#include <stdlib.h>

#include "driver/janitor.h"
#include "util/log.h"

enum cleat_code driver_init(struct driver *d, struct cleat_error *err)
{
	*d = (struct driver){ .config_lock = PTHREAD_MUTEX_INITIALIZER };
	d->events = driver_events_new();
	d->fingerprint = driver_fingerprint_new();
	return d->events && d->fingerprint ? CLEAT_OK
					   : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static void set_log_level(const struct driver_settings *s)
{
	enum cleat_log_level level = CLEAT_LOG_INFO;

	if (cleat_log_parse_level(s->log_level, &level))
		cleat_log_set_level(level);
}

static enum cleat_code make_parts(struct driver *d, struct cleat_error *err)
{
	const struct driver_settings *s = &d->settings;

	if (driver_state_open(s->state_dir, &d->state, err))
		return err->code;
	d->run = (struct run_env){ .dir = driver_state_tasks_dir(d->state),
				   .crun = s->crun,
				   .conmon = s->conmon,
				   .helper = s->helper };
	if ((s->volumes && driver_daemon_new(s->socket, &d->daemon, err)) || driver_tasks_new(&d->tasks, err))
		return err->code;
	d->stats = driver_stats_new(d->tasks);
	if (!d->stats)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	d->volumes = (struct driver_volumes){ d->daemon, d->events, d->state, s->default_pool,
					      PTHREAD_MUTEX_INITIALIZER };
	return CLEAT_OK;
}

/* What a failed attempt leaves is not undone: the host gives up this process then. */
static enum cleat_code apply(struct driver *d, struct driver_settings *settings, struct cleat_error *err)
{
	if (atomic_load(&d->ready)) {
		cleat_log_kv(CLEAT_LOG_WARN, "configured again: the first configuration stays", "socket",
			     d->settings.socket);
		driver_settings_done(settings);
		return CLEAT_OK;
	}
	d->settings = *settings;
	set_log_level(&d->settings);
	if (make_parts(d, err) || driver_janitor_start(d, &d->janitor, err) ||
	    driver_fingerprint_start(d->fingerprint, d->daemon, &d->run, err))
		return err->code;
	atomic_store(&d->ready, true);
	return CLEAT_OK;
}

enum cleat_code driver_configure(struct driver *d, const uint8_t *bytes, size_t n, bool takes_effect,
				 struct cleat_error *err)
{
	struct driver_settings settings = { 0 };
	enum cleat_code code = driver_settings_read(bytes, n, &settings, err);

	if (code)
		return code;
	if (!takes_effect) {
		driver_settings_done(&settings);
		return CLEAT_OK;
	}
	pthread_mutex_lock(&d->config_lock);
	code = apply(d, &settings, err);
	pthread_mutex_unlock(&d->config_lock);
	return code;
}

void driver_stop(struct driver *d)
{
	driver_events_stop(d->events);
	driver_fingerprint_stop(d->fingerprint);
	if (!atomic_load(&d->ready))
		return;
	driver_tasks_stop_all(d->tasks);
	driver_stats_stop(d->stats);
	driver_janitor_stop(d->janitor);
}

enum cleat_code driver_host_code(enum cleat_code code)
{
	return code == CLEAT_UNAVAILABLE || code == CLEAT_CANCELLED || code == CLEAT_OK ? CLEAT_INTERNAL
											: code;
}

bool driver_is_ready(struct driver *d, struct cleat_rpc_call *call)
{
	if (atomic_load(&d->ready))
		return true;
	cleat_rpc_call_fail(call, CLEAT_FAILED_PRECONDITION, "the driver is not configured yet");
	return false;
}
