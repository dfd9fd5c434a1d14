/* main.c - cleat-bench: runs benchmarks and prints their rows; run.sh builds, calls it and makes a table. */
#include "bench.h"

#include <argp.h>
#include <grpc/grpc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	enum cleat_code (*run)(struct bench *b, struct cleat_error *err);
} benches[] = {
	{ "call", bench_run_call }, { "publish", bench_run_publish }, { "create", bench_run_create },
	{ "flat", bench_run_flat }, { "list", bench_run_list },	      { "mount", bench_run_mount },
	{ "csi", bench_run_csi },   { "memory", bench_run_memory },   { "start", bench_run_start },
};

struct options {
	struct bench bench;
	bool wanted[CLEAT_COUNT(benches)];
	bool any;
};

static const struct argp_option option_table[] = {
	{ "work", 'w', "DIR", 0, "Empty directory on the file system to be measured", 0 },
	{ "cleatd", 'd', "PROGRAM", 0, "The daemon", 0 },
	{ "goserver", 'g', "PROGRAM", 0, "The peer of the empty call; left out without it", 0 },
	{ "reference", 'r', "PROGRAM", 0, "The peer of csi, csi-driver-host-path; left out without it", 0 },
	{ "scale", 's', "FACTOR", 0, "Length of the rounds (1)", 0 },
	{ 0 },
};

static void want(struct options *o, const char *name, struct argp_state *state)
{
	for (size_t i = 0; i < CLEAT_COUNT(benches); i++)
		if (strcmp(benches[i].name, name) == 0) {
			o->wanted[i] = o->any = true;
			return;
		}
	argp_error(state, "there is no benchmark '%s'", name);
}

static error_t take_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'w':
		o->bench.work = arg;
		return 0;
	case 'd':
		o->bench.cleatd = arg;
		return 0;
	case 'g':
		o->bench.goserver = arg;
		return 0;
	case 'r':
		o->bench.reference = arg;
		return 0;
	case 's':
		o->bench.scale = strtod(arg, NULL);
		if (!(o->bench.scale > 0))
			argp_error(state, "'%s' is no factor", arg);
		return 0;
	case ARGP_KEY_ARG:
		want(o, arg, state);
		return 0;
	case ARGP_KEY_END:
		if (!o->bench.work || !o->bench.cleatd)
			argp_error(state, "--work and --cleatd are needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int run_all(struct options *o)
{
	int failures = 0;

	for (size_t i = 0; i < CLEAT_COUNT(benches); i++) {
		struct cleat_error err = CLEAT_ERROR_INIT;
		if (o->any && !o->wanted[i])
			continue;
		bench_say("%s", benches[i].name);
		if (benches[i].run(&o->bench, &err) == CLEAT_OK)
			continue;
		bench_say("%s failed: %s", benches[i].name, err.msg);
		failures++;
	}
	bench_daemons_stop(&o->bench);
	return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct argp parser = { option_table,
					    take_option,
					    "[BENCHMARK...]",
					    "Measures cleatd.\vBenchmarks: call publish create flat list "
					    "mount csi memory start; all without one.",
					    NULL,
					    NULL,
					    NULL };
	struct options o = { .bench = { .scale = 1 } };

	argp_parse(&parser, argc, argv, 0, NULL, &o);
	signal(SIGPIPE, SIG_IGN);
	grpc_init(); /* stays for the whole run, so that no client pays for it within a measure */
	int code = run_all(&o);
	grpc_shutdown();
	return code;
}
