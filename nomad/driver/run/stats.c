/* stats.c - what a task has used, from the files of its cgroups. */
#include "driver/run/internal.h"

#include "util/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STAT_BYTES 8192

static bool read_text(const char *root, const char *controller, const char *cgroup, const char *file,
		      char text[STAT_BYTES])
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s%s%s%s/%s", root, *controller ? "/" : "", controller, cgroup,
			 file);

	return n > 0 && n < (int)sizeof(path) && run_small_file(path, text, STAT_BYTES);
}

/* ---- cgroup v1 ---- */

static void read_cpu_v1(const char *root, const char *cgroup, struct run_stats *out)
{
	uint64_t user = 0, system = 0, tick_ns = 1000000000ULL / (uint64_t)sysconf(_SC_CLK_TCK);
	char text[STAT_BYTES];

	run_number_file(root, "cpuacct", cgroup, "cpuacct.usage", &out->cpu_total_ns);
	if (read_text(root, "cpuacct", cgroup, "cpuacct.stat", text)) {
		run_number_key(text, "user", &user);
		run_number_key(text, "system", &system);
		out->cpu_user_ns = user * tick_ns;
		out->cpu_system_ns = system * tick_ns;
	}
	if (read_text(root, "cpu", cgroup, "cpu.stat", text)) {
		run_number_key(text, "nr_throttled", &out->throttled_periods);
		run_number_key(text, "throttled_time", &out->throttled_ns);
	}
}

enum cleat_code run_stats_v1(const char *root, const char *cgroup, struct run_stats *out,
			     struct cleat_error *err)
{
	char text[STAT_BYTES];

	*out = (struct run_stats){ .time_ms = cleat_time_wall_ms() };
	if (!read_text(root, "memory", cgroup, "memory.stat", text))
		return cleat_error_set(err, CLEAT_NOT_FOUND, "cgroup '%.200s' is gone", cgroup);
	run_number_key(text, "rss", &out->memory_rss);
	run_number_key(text, "cache", &out->memory_cache);
	run_number_key(text, "swap", &out->memory_swap);
	run_number_file(root, "memory", cgroup, "memory.usage_in_bytes", &out->memory_usage);
	out->has_max = run_number_file(root, "memory", cgroup, "memory.max_usage_in_bytes", &out->memory_max);
	out->has_kernel =
		run_number_file(root, "memory", cgroup, "memory.kmem.usage_in_bytes", &out->memory_kernel);
	read_cpu_v1(root, cgroup, out);
	return CLEAT_OK;
}

/* ---- cgroup v2 ---- */

static void read_memory_v2(const char *root, const char *cgroup, struct run_stats *out)
{
	uint64_t slab = 0, stack = 0, tables = 0;
	char text[STAT_BYTES];

	if (!read_text(root, "", cgroup, "memory.stat", text))
		return;
	run_number_key(text, "anon", &out->memory_rss);
	run_number_key(text, "file", &out->memory_cache);
	out->has_kernel = run_number_key(text, "kernel", &out->memory_kernel); /* Linux 5.18 */
	if (!out->has_kernel && run_number_key(text, "slab", &slab)) {
		run_number_key(text, "kernel_stack", &stack);
		run_number_key(text, "pagetables", &tables);
		out->memory_kernel = slab + stack + tables;
		out->has_kernel = true;
	}
	run_number_file(root, "", cgroup, "memory.current", &out->memory_usage);
	run_number_file(root, "", cgroup, "memory.swap.current", &out->memory_swap);
	out->has_max = run_number_file(root, "", cgroup, "memory.peak", &out->memory_max); /* Linux 5.19 */
}

enum cleat_code run_stats_v2(const char *root, const char *cgroup, struct run_stats *out,
			     struct cleat_error *err)
{
	uint64_t total = 0, user = 0, system = 0, throttled = 0;
	char text[STAT_BYTES];

	*out = (struct run_stats){ .time_ms = cleat_time_wall_ms() };
	if (!read_text(root, "", cgroup, "cpu.stat", text)) /* there even where the controller is not */
		return cleat_error_set(err, CLEAT_NOT_FOUND, "cgroup '%.200s' is gone", cgroup);
	run_number_key(text, "usage_usec", &total);
	run_number_key(text, "user_usec", &user);
	run_number_key(text, "system_usec", &system);
	run_number_key(text, "nr_throttled", &out->throttled_periods);
	run_number_key(text, "throttled_usec", &throttled);
	out->cpu_total_ns = total * 1000;
	out->cpu_user_ns = user * 1000;
	out->cpu_system_ns = system * 1000;
	out->throttled_ns = throttled * 1000;
	read_memory_v2(root, cgroup, out);
	return CLEAT_OK;
}

enum cleat_code run_stats(struct run_handle *h, struct run_stats *out, struct cleat_error *err)
{
	return run_cgroup_mode() == RUN_CGROUP_V2 ? run_stats_v2(RUN_CGROUP_ROOT, h->plan.cgroup, out, err)
						  : run_stats_v1(RUN_CGROUP_ROOT, h->plan.cgroup, out, err);
}
