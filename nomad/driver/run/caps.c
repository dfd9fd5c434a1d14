/* caps.c - capabilities (capabilities(7)): what there is, what a task has by default, what this process can
 * give. */
#include "driver/run/internal.h"

#include "util/mem.h"

#include <linux/capability.h>
#include <stdio.h>
#include <string.h>

const char *const run_default_caps[] = {
	"CAP_AUDIT_WRITE", "CAP_CHOWN",	  "CAP_DAC_OVERRIDE",	  "CAP_FOWNER",	    "CAP_FSETID",
	"CAP_KILL",	   "CAP_MKNOD",	  "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",    "CAP_SETFCAP",
	"CAP_SETGID",	   "CAP_SETPCAP", "CAP_SETUID",		  "CAP_SYS_CHROOT", NULL
};

/* In the order of their numbers. */
static const char *const names[] = { "CAP_CHOWN",
				     "CAP_DAC_OVERRIDE",
				     "CAP_DAC_READ_SEARCH",
				     "CAP_FOWNER",
				     "CAP_FSETID",
				     "CAP_KILL",
				     "CAP_SETGID",
				     "CAP_SETUID",
				     "CAP_SETPCAP",
				     "CAP_LINUX_IMMUTABLE",
				     "CAP_NET_BIND_SERVICE",
				     "CAP_NET_BROADCAST",
				     "CAP_NET_ADMIN",
				     "CAP_NET_RAW",
				     "CAP_IPC_LOCK",
				     "CAP_IPC_OWNER",
				     "CAP_SYS_MODULE",
				     "CAP_SYS_RAWIO",
				     "CAP_SYS_CHROOT",
				     "CAP_SYS_PTRACE",
				     "CAP_SYS_PACCT",
				     "CAP_SYS_ADMIN",
				     "CAP_SYS_BOOT",
				     "CAP_SYS_NICE",
				     "CAP_SYS_RESOURCE",
				     "CAP_SYS_TIME",
				     "CAP_SYS_TTY_CONFIG",
				     "CAP_MKNOD",
				     "CAP_LEASE",
				     "CAP_AUDIT_WRITE",
				     "CAP_AUDIT_CONTROL",
				     "CAP_SETFCAP",
				     "CAP_MAC_OVERRIDE",
				     "CAP_MAC_ADMIN",
				     "CAP_SYSLOG",
				     "CAP_WAKE_ALARM",
				     "CAP_BLOCK_SUSPEND",
				     "CAP_AUDIT_READ",
				     "CAP_PERFMON",
				     "CAP_BPF",
				     "CAP_CHECKPOINT_RESTORE" };

static int number_of(const char *name)
{
	for (size_t i = 0; name && i < CLEAT_COUNT(names); i++)
		if (strcmp(name, names[i]) == 0)
			return (int)i;
	return -1;
}

bool run_cap_known(const char *name)
{
	return number_of(name) >= 0;
}

static const char *const *list_of(const struct run_spec *spec)
{
	return spec->caps ? (const char *const *)spec->caps : run_default_caps;
}

/* What this process has itself, as a mask of numbers. */
static uint64_t own_caps(void)
{
	char status[4096];
	const char *line = run_small_file("/proc/self/status", status, sizeof(status))
				   ? strstr(status, "\nCapEff:")
				   : NULL;

	return line ? strtoull(line + strlen("\nCapEff:"), NULL, 16) : 0;
}

/* Whether the task (spec NULL: this process) has the capability. */
bool run_has_cap(const struct run_spec *spec, const char *name)
{
	if (!spec)
		return own_caps() >> number_of(name) & 1;
	for (const char *const *p = list_of(spec); *p; p++)
		if (strcmp(*p, name) == 0)
			return true;
	return false;
}

static bool is_default(const char *name)
{
	for (const char *const *p = run_default_caps; *p; p++)
		if (strcmp(*p, name) == 0)
			return true;
	return false;
}

enum cleat_code run_caps_check(const struct run_spec *spec, struct cleat_error *err)
{
	uint64_t own = own_caps();

	for (const char *const *p = list_of(spec); *p; p++) {
		int number = number_of(*p);
		if (number < 0)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "there is no capability '%.60s'",
					       *p);
		/* Nobody has asked for those that every task has. */
		if (!(own >> number & 1) && !is_default(*p))
			return cleat_error_set(
				err, CLEAT_FAILED_PRECONDITION,
				"capability '%s' cannot be given to the task: this process does not have it",
				*p);
	}
	return CLEAT_OK;
}

/* What of them there is to give. */
static json_t *given(struct run_bundle *b)
{
	uint64_t own = own_caps();
	json_t *list = json_array();

	for (const char *const *p = list_of(b->spec); *p; p++)
		if ((own >> number_of(*p) & 1) && !(b->unruled && strcmp(*p, "CAP_MKNOD") == 0))
			run_json_add(b, list, json_string(*p));
	return list;
}

json_t *run_caps_json(struct run_bundle *b)
{
	json_t *caps = json_object();

	/* Not inheritable and not ambient: a program run by another user than root starts without. */
	run_json_put(b, caps, "bounding", given(b));
	run_json_put(b, caps, "effective", given(b));
	run_json_put(b, caps, "permitted", given(b));
	return caps;
}
