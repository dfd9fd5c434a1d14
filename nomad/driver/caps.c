/* caps.c - see caps.h.  Capabilities are bits of a word, numbered as in <linux/capability.h>. */
#include "driver/caps.h"

#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/mem.h"

static const char *const names[] = {
	"chown",
	"dac_override",
	"dac_read_search",
	"fowner",
	"fsetid",
	"kill",
	"setgid",
	"setuid",
	"setpcap",
	"linux_immutable",
	"net_bind_service",
	"net_broadcast",
	"net_admin",
	"net_raw",
	"ipc_lock",
	"ipc_owner",
	"sys_module",
	"sys_rawio",
	"sys_chroot",
	"sys_ptrace",
	"sys_pacct",
	"sys_admin",
	"sys_boot",
	"sys_nice",
	"sys_resource",
	"sys_time",
	"sys_tty_config",
	"mknod",
	"lease",
	"audit_write",
	"audit_control",
	"setfcap",
	"mac_override",
	"mac_admin",
	"syslog",
	"wake_alarm",
	"block_suspend",
	"audit_read",
	"perfmon",
	"bpf",
	"checkpoint_restore",
};
_Static_assert(CLEAT_COUNT(names) == CAP_CHECKPOINT_RESTORE + 1, "one name for each capability");

#define ALL (((uint64_t)1 << CLEAT_COUNT(names)) - 1)
#define BIT(cap) ((uint64_t)1 << (cap))
/* What a container is usually given: enough for a service that starts as root and drops to a user of its own,
 * nothing about the network's raw side or the system. */
#define SAFE                                                                                                 \
	(BIT(CAP_AUDIT_WRITE) | BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | \
	 BIT(CAP_KILL) | BIT(CAP_MKNOD) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SETFCAP) | BIT(CAP_SETGID) |   \
	 BIT(CAP_SETPCAP) | BIT(CAP_SETUID) | BIT(CAP_SYS_CHROOT))

/* 0: none of them. */
static uint64_t bits_of(const char *name)
{
	if (strncasecmp(name, "cap_", 4) == 0)
		name += 4;
	if (strcasecmp(name, "all") == 0)
		return ALL;
	for (size_t i = 0; i < CLEAT_COUNT(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return BIT(i);
	return 0;
}

bool driver_cap_known(const char *name)
{
	return bits_of(name) != 0;
}

void driver_caps_free(char **list)
{
	for (char **p = list; p && *p; p++)
		free(*p);
	free(list);
}

static char **list_of(uint64_t bits, const char *prefix, bool upper)
{
	char **list = calloc(CLEAT_COUNT(names) + 1, sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; list && i < CLEAT_COUNT(names); i++) {
		char text[48];

		if (!(bits & BIT(i)))
			continue;
		snprintf(text, sizeof(text), "%s%s", prefix, names[i]);
		for (char *c = text; upper && *c; c++)
			*c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
		list[n] = strdup(text);
		if (!list[n++]) {
			driver_caps_free(list);
			return NULL;
		}
	}
	return list;
}

char **driver_caps_default(void)
{
	return list_of(SAFE, "", false);
}

static enum cleat_code bits_of_list(char *const *list, const char *key, uint64_t *out,
				    struct cleat_error *err)
{
	*out = 0;
	for (; list && *list; list++) {
		if (!bits_of(*list))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "config: %s: '%s' is no capability", key, *list);
		*out |= bits_of(*list);
	}
	return CLEAT_OK;
}

static enum cleat_code check_allowed(char *const *add, uint64_t allow, struct cleat_error *err)
{
	for (; add && *add; add++)
		if (bits_of(*add) & ~allow)
			return cleat_error_set(err, CLEAT_PERMISSION_DENIED,
					       "config: cap_add: '%s' is not among the capabilities that the "
					       "plugin's allow_caps permits",
					       *add);
	return CLEAT_OK;
}

enum cleat_code driver_caps_choose(char *const *allow, char *const *add, char *const *drop, char ***out,
				   struct cleat_error *err)
{
	uint64_t allowed, added, dropped;

	if (bits_of_list(allow, "allow_caps", &allowed, err) || bits_of_list(add, "cap_add", &added, err) ||
	    bits_of_list(drop, "cap_drop", &dropped, err) || check_allowed(add, allowed, err))
		return err->code;
	/* Dropping "all" and adding some is the usual way to name the whole set: what is added explicitly
	 * stays. */
	uint64_t set = dropped == ALL ? added : ((SAFE & allowed) | added) & ~dropped;
	*out = list_of(set, "CAP_", true);
	return *out ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}
