/* main.c - nomad-driver-cleat: the plugin process that a Nomad agent starts. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleat_nomad.descset.h"
#include "driver/driver.h"
#include "driver/jobconfig.h"
#include "driver/service.h"
#include "goplugin/plugin.h"
#include "util/log.h"
#include "util/mem.h"

#define PROGRAM "nomad-driver-cleat"
/* Starts and ends of tasks at once: more are no faster, and each costs memory. */
#define WORKERS 16
#define QUEUED 1024

static const unsigned versions[] = { 2 };

static struct driver driver;

static void stopping(void *arg)
{
	driver_stop(arg);
}

/* What the agent asked, for who debugs: with log_level = "debug". */
static void log_call(const struct cleat_rpc_call *call, const struct cleat_rpc_done *done, void *arg)
{
	char duration[32];

	(void)call;
	(void)arg;
	if (!cleat_log_enabled(CLEAT_LOG_DEBUG))
		return;
	snprintf(duration, sizeof(duration), "%.1f", (double)done->duration_us / 1000);
	cleat_log_kv(CLEAT_LOG_DEBUG, "call", "method", done->method, "ms", duration, "code",
		     done->code ? cleat_code_name(done->code) : NULL, "error",
		     done->code ? done->text : NULL);
}

static const struct cleat_goplugin_config config = {
	.program = PROGRAM,
	.host = "Nomad",
	.cookie_key = "NOMAD_PLUGIN_MAGIC_COOKIE",
	.cookie_value = "e4327c2e01eabfd75a8a67adb114fb34a757d57eee7728d857a8cec6e91a7255",
	.versions = versions,
	.version_count = CLEAT_COUNT(versions),
	.server = { .max_workers = WORKERS, .max_queued = QUEUED, .max_fd = 4096, .on_done = log_call },
	.stopping = stopping,
	.stopping_arg = &driver,
};

static void help(void)
{
	printf("Usage: plugin \"%s\" { config { ... } } in a Nomad agent's configuration\n\n"
	       "A task driver: tasks run in containers and get volumes of cleatd that are created, mounted "
	       "and released with them.\n"
	       "Put this program, under its own name, into the agent's plugin_dir. Jobs name the driver "
	       "\"" DRIVER_NAME "\".\n\n"
	       "      --help           Give this help list\n"
	       "      --help-config    Print the keys of the plugin's and of a task's config { }\n"
	       "  -V, --version        Print program version\n\n"
	       "See nomad-driver-cleat(8).\n",
	       PROGRAM);
}

static void help_config(void)
{
	printf("Keys of the config { } in the agent's  plugin \"%s\" { }:\n", PROGRAM);
	driver_keys_print(driver_settings_keys, "");
	printf("\nKeys of the config { } of a task (a dot stands for a block inside):\n");
	driver_keys_print(driver_job_keys, "");
}

static bool answer(const char *arg)
{
	if (strcmp(arg, "--help") == 0)
		help();
	else if (strcmp(arg, "--help-config") == 0)
		help_config();
	else if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0)
		printf("%s %s\n", PROGRAM, CLEAT_VERSION);
	else
		return false;
	return true;
}

/* The agent hands over whatever its configuration says as arguments: what is none of these means nothing. */
static bool answered(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (answer(argv[i]))
			return true;
	return false;
}

/* Descriptors that a careless agent leaves open are not ours to keep. */
static void close_strays(void)
{
	close_range(STDERR_FILENO + 1, ~0U, 0);
}

/* Many short-lived buffers in many threads: few arenas keep the process small, and what is freed is given
 * back. */
static void tune_memory(void)
{
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_TRIM_THRESHOLD, 128 * 1024);
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
}

/* A connection, a process watch and pipes for each task: more than the usual 1024 may be needed.  Children
 * get limits of their own. */
static void raise_file_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < 65536 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max < 65536 ? r.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static enum cleat_code run(struct cleat_goplugin *plugin, struct cleat_error *err)
{
	if (driver_init(&driver, err) || driver_service_add(&driver, cleat_goplugin_role(plugin), err) ||
	    cleat_goplugin_describe(plugin, cleat_nomad_descset, cleat_nomad_descset_len, err))
		return err->code;
	return cleat_goplugin_serve(plugin, err);
}

int main(int argc, char **argv)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_goplugin *plugin = NULL;

	if (answered(argc, argv))
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	close_strays();
	tune_memory();
	raise_file_limit();
	cleat_log_setup(CLEAT_LOG_INFO, CLEAT_LOG_HCLOG, STDERR_FILENO);
	if (cleat_goplugin_open(&config, &plugin, &err)) {
		if (err.code == CLEAT_FAILED_PRECONDITION) /* by hand */
			fprintf(stderr, "%s: see --help\n", err.msg);
		else
			fprintf(stderr, "%s: %s\n", PROGRAM, err.msg);
		return EXIT_FAILURE;
	}
	enum cleat_code code = run(plugin, &err);
	if (code)
		cleat_log_kv(CLEAT_LOG_ERROR, "the plugin ends", "error", err.msg);
	/* Threads may still wait for the daemon: they end with the process, and the janitor of the next one
	 * goes on. */
	fflush(stderr);
	_exit(code ? EXIT_FAILURE : EXIT_SUCCESS);
}
