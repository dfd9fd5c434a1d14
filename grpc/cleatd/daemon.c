/* daemon.c - see daemon.h. */
#include "cleatd/daemon.h"

#include "cleatd/config.h"
#include "cleatd/doors.h"
#include "cleatd/lock.h"
#include "cleatd/notify.h"
#include "util/clock.h"
#include "util/mem.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define GRACE_MS 30000 /* for running calls at the end; TimeoutStopSec of the unit is longer */

struct daemon {
	const struct cleatd_options *options;
	struct cleatd_config config; /* as it runs now */
	int lock_fd;
	struct cleat_engine *engine;
	struct cleatd_doors *doors;
};

/* ---- configuration ---- */

static void say(enum cleat_log_level level, const char *what, const struct cleat_error *err)
{
	cleat_log_kv(level, what, "code", cleat_code_name(err->code), "error", err->msg);
}

static void log_line(const char *line, void *arg)
{
	(void)arg;
	cleat_log(CLEAT_LOG_INFO, NULL, "start-up: %s", line);
}

static struct cleat_engine_config engine_config(const struct cleatd_config *c)
{
	return (struct cleat_engine_config){
		.size = sizeof(struct cleat_engine_config),
		.state_dir = c->state_dir,
		.runtime_dir = c->runtime_dir,
		.node = c->node,
		.pools = c->pools,
		.pool_count = c->pool_count,
		.target_prefixes = (const char *const *)c->target_prefixes,
		.default_pool = c->default_pool,
		.any_namespace = c->any_namespace,
		.report = log_line,
	};
}

/* One message for each line of text, which ends with a line break. */
static void each_line(const char *text, void (*fn)(const char *line))
{
	char line[1024];

	for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
		snprintf(line, sizeof(line), "%.*s", (int)(end - text), text);
		fn(line);
	}
}

static void print_error(const char *line)
{
	fprintf(stderr, "cleatd: %s\n", line);
}

static void log_error(const char *line)
{
	cleat_log_kv(CLEAT_LOG_ERROR, "configuration", "error", line);
}

/* File, command line, derived values, and the engine's own checks; every error to fn. */
static bool load(const struct cleatd_options *options, struct cleatd_config *config,
		 void (*fn)(const char *line))
{
	const char *file = options->config_file ? options->config_file : "configuration";
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_engine_config ec;
	struct cleatd_report report;
	bool good;

	cleatd_report_init(&report, file);
	if (cleatd_config_init(config, &err))
		cleatd_report_add(&report, 0, "%s", err.msg);
	else if (!options->config_file || cleatd_config_load(config, file, &report))
		if (cleatd_options_apply(options, config, &err) || cleatd_config_finish(config, &err) ||
		    cleatd_doors_check(config, &err) ||
		    (ec = engine_config(config), cleat_engine_check(&ec, &err)))
			cleatd_report_add(&report, 0, "%s", err.msg);
	good = report.count == 0;
	if (!good)
		each_line(cleatd_report_text(&report), fn);
	cleatd_report_done(&report);
	return good;
}

/* ---- reload ---- */

static void say_change(const struct cleatd_key *key, void *arg)
{
	(void)arg;
	if (key->reload)
		cleat_log_kv(CLEAT_LOG_INFO, "reload: changed", "key", key->name);
	else
		cleat_log_kv(CLEAT_LOG_WARN, "reload: takes effect at the next start only", "key", key->name);
}

static bool apply(struct daemon *d, struct cleatd_config *next)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_engine_config ec;

	cleatd_config_compare(&d->config, next, say_change, NULL);
	cleatd_config_swap_fixed(&d->config, next); /* next now has what must stay as it runs */
	ec = engine_config(next);
	if (cleat_engine_reload(d->engine, &ec, &err)) {
		cleatd_config_swap_fixed(&d->config, next);
		say(CLEAT_LOG_ERROR, "reload refused, everything stays as it was", &err);
		return false;
	}
	cleat_log_set_level(next->log_level);
	cleatd_config_done(&d->config);
	d->config = *next;
	*next = (struct cleatd_config){ 0 };
	return true;
}

static void reload(struct daemon *d)
{
	struct cleatd_config next = { 0 };

	cleatd_notify_reloading();
	if (!load(d->options, &next, log_error))
		cleat_log(CLEAT_LOG_ERROR, NULL, "reload refused, everything stays as it was");
	else if (apply(d, &next))
		cleat_log(CLEAT_LOG_INFO, NULL, "reloaded");
	cleatd_config_done(&next);
	cleatd_notify("READY=1");
}

/* ---- life ---- */

static enum cleatd_exit start(struct daemon *d)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	const struct cleat_engine_config ec = engine_config(&d->config);

	if (cleatd_lock(d->config.state_dir, d->config.socket_path, &d->lock_fd, &err)) {
		say(CLEAT_LOG_ERROR, "cannot start", &err);
		return err.code == CLEAT_FAILED_PRECONDITION ? CLEATD_EXIT_RUNNING : CLEATD_EXIT_FAILURE;
	}
	if (cleat_engine_open(&ec, &d->engine, &err) ||
	    cleatd_doors_open(&d->config, d->engine, &d->doors, &err)) {
		say(CLEAT_LOG_ERROR, "cannot start", &err);
		return CLEATD_EXIT_FAILURE;
	}
	return CLEATD_EXIT_OK;
}

static void serve(struct daemon *d, const sigset_t *signals)
{
	cleat_log_kv(CLEAT_LOG_INFO, "cleatd is up", "version", cleat_version(), "node",
		     cleat_engine_node(d->engine));
	cleatd_notify("READY=1\nSTATUS=Serving %s", d->config.socket_path);
	for (;;) {
		int sig = sigwaitinfo(signals, NULL);

		if (sig == SIGHUP)
			reload(d);
		else if (sig > 0) {
			cleat_log_kv(CLEAT_LOG_INFO, "stopping", "signal", sigabbrev_np(sig));
			return;
		}
	}
}

/* False: something is stuck, and the process must end without tidying up; the next start does that. */
static bool stop(struct daemon *d)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	int64_t until_ms = cleat_time_mono_ms() + GRACE_MS, left_ms;

	cleatd_notify("STOPPING=1\nSTATUS=Finishing what runs");
	if (d->doors && cleatd_doors_close(d->doors, GRACE_MS, &err)) {
		say(CLEAT_LOG_ERROR, "some calls did not end; the next start finishes their work", &err);
		return false;
	}
	left_ms = until_ms - cleat_time_mono_ms();
	if (d->engine && !cleat_engine_close(d->engine, left_ms > 0 ? left_ms : 0)) {
		cleat_log(CLEAT_LOG_ERROR, NULL, "some operation is stuck; the next start finishes its work");
		return false;
	}
	return true;
}

/* Blocked in every thread, so that the main one gets them from sigwaitinfo(). */
static void block_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, signals, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static enum cleatd_exit run(struct daemon *d)
{
	enum cleatd_exit code;
	sigset_t signals;

	umask(0022); /* directories that tasks must be able to pass are made with the mode that is asked for
		      */
	block_signals(&signals);
	code = start(d);
	if (code == CLEATD_EXIT_OK)
		serve(d, &signals);
	/* From here on a second SIGTERM or SIGINT ends the process at once: nothing that was acknowledged can
	 * get lost. */
	sigdelset(&signals, SIGHUP);
	pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
	if (!stop(d)) {
		fflush(NULL);
		_exit(CLEATD_EXIT_FAILURE); /* threads are left behind: no destructor may run */
	}
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	if (code == CLEATD_EXIT_OK)
		cleat_log(CLEAT_LOG_INFO, NULL, "cleatd has ended in good order");
	return code;
}

enum cleatd_exit cleatd_run(const struct cleatd_options *options)
{
	struct daemon d = { .options = options, .lock_fd = -1 };
	enum cleatd_exit code = CLEATD_EXIT_CONFIG;

	if (load(options, &d.config, print_error)) {
		code = CLEATD_EXIT_OK;
		cleat_log_setup(d.config.log_level, d.config.log_format, STDERR_FILENO);
		if (!options->check_only)
			code = run(&d);
	}
	cleatd_config_done(&d.config);
	return code;
}
